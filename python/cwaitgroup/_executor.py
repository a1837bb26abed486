"""Tasks on borrowed executors: how they are sent there, how their futures end them, and how they run there.

An executor is anything with the submit() of concurrent.futures.Executor. It stays the user's: nothing here shuts it
down.
"""

from __future__ import annotations

import contextvars
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from cwaitgroup._async import What, place_of_user
from cwaitgroup._core import (
    Cancelled,
    Context,
    WaitGroup,
    _run_in_context,
    _waiting_begin,
    _waiting_end,
    attach,
    current_context,
)
from cwaitgroup._uncopied import Uncopied

if TYPE_CHECKING:
    from cwaitgroup import ErrGroup, Task


def _read_boot() -> str | None:
    """What all processes of this machine have in common since its start: for them time.monotonic() is one clock."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read()
    except OSError:
        return None


_BOOT = _read_boot()

# --- In the worker ---


def _run_before(boot: str | None, deadline: float, left: float, fn: Callable[..., Any], *args: Any) -> Any:
    """fn(*args) with a context that ends at the group's deadline; on another machine, `left` seconds from now."""
    if boot is None or boot != _BOOT:
        deadline = time.monotonic() + left
    return _run_in_context(Context(deadline=deadline), fn, args)


def _run_in_interpreter(group_context: int, fn: Callable[..., Any], *args: Any) -> Any:
    """fn(*args) in another interpreter of this process, with the group's own context."""
    return _run_in_context(cast(Context, attach(group_context)), fn, args)


def _run_in_thread(task: Task[Any], variables: contextvars.Context, fn: Callable[..., Any], *args: Any) -> Any:
    """The same in a thread of this process, where the task itself and the caller's variables are at hand."""
    return variables.run(task._run_here, fn, *args)


# --- Sending ---


def _runs_in_interpreters(executor: Any) -> bool:
    return isinstance(
        executor, getattr(sys.modules.get("concurrent.futures.interpreter"), "InterpreterPoolExecutor", ())
    )


def _is_dask(executor: Any) -> bool:
    return type(executor).__name__ == "ClientExecutor" and type(executor).__module__.startswith("distributed.")


def _options(executor: Any) -> dict[str, Any]:
    """What submit() needs to be told."""
    return {"pure": False} if _is_dask(executor) else {}  # else Dask runs equal calls once


def _was_raised_by_handler(error: BaseException) -> bool:
    """Has a signal handler raised it? A handler, and hardly anything else, is called with the frame it interrupts."""
    if threading.current_thread() is not threading.main_thread():
        return False
    traceback = error.__traceback__
    while traceback is not None:
        frame, interrupted = traceback.tb_frame, traceback.tb_frame.f_back
        arguments = frame.f_locals.values()
        if any(value is interrupted or (type(value) is tuple and interrupted in value) for value in arguments):
            return interrupted is not None
        traceback = traceback.tb_next
    return False


class Sender:
    """Of one group: sends its tasks, and has those dropped that have not started when the group is cancelled.

    One callback of the context does that, whatever the number of tasks. It refers to the context only, so that the
    group can be collected.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._futures: dict[Future[Any], Any] = {}  # those that have not ended, each with its executor
        self._broken: list[Any] = []  # executors that end all their futures by themselves
        context.add_callback(self._cancel_all)

    def send(
        self, task: Task[Any], executor: Any, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Submit the call. What the executor refuses has failed, as what fails there. What a signal handler raises is
        the caller's, and so are interrupts; then the task is withdrawn, whether or not the executor has it."""
        future = None
        try:
            future = executor.submit(
                *self._call(task, executor, partial(fn, **kwargs) if kwargs else fn), *args, **_options(executor)
            )
            task._sent(future)
            self._futures[future] = executor
            future.add_done_callback(partial(self._ended, task))
            if self._context.cancelled():
                self._cancel(future, executor)
        except BaseException as error:
            if future is None and isinstance(error, Exception) and not _was_raised_by_handler(error):
                task._fail(error)
                return
            self._futures.pop(cast(Any, future), None)
            if future is not None:
                self._cancel(future, executor)
            raise

    def _call(self, task: Task[Any], executor: Any, fn: Callable[..., Any]) -> tuple[Any, ...]:
        """What is to be called there, and its first arguments."""
        if _runs_in_interpreters(executor):
            return _run_in_interpreter, self._context.id, fn
        if isinstance(executor, ThreadPoolExecutor):
            return _run_in_thread, task, contextvars.copy_context(), fn
        left = self._context.remaining()
        if left is None:
            return (fn,)
        return _run_before, _BOOT, time.monotonic() + left, left, fn

    def _ended(self, task: Task[Any], future: Future[Any]) -> None:
        """In any thread, even inside add_done_callback(). Nobody would see an exception."""
        executor = self._futures.pop(future, None)
        try:
            if future.cancelled():
                if not task._drop():
                    task._fail(CancelledError("the executor has dropped the task, which nobody had asked for"))
            elif (error := future.exception()) is None:
                task._finish(future.result())
            else:
                if isinstance(error, BrokenExecutor):
                    self._broken.append(executor)
                task._fail(error)
        except BaseException as error:
            task._fail(error)

    def _cancel(self, future: Future[Any], executor: Any) -> None:
        """A broken executor ends its futures itself, and some versions of CPython give up if one is cancelled then."""
        if executor not in self._broken:
            with suppress(Exception):  # it cannot, such as Parsl, or the future has just ended
                future.cancel()

    def _cancel_all(self) -> None:
        futures = list(self._futures.items())[::-1]
        if any(_is_dask(executor) for _, executor in futures):
            # Dask asks the scheduler, and cannot do so in its own thread, where an error may just have come in.
            WaitGroup().go(self._cancel_each, futures)
        else:
            self._cancel_each(futures)

    def _cancel_each(self, futures: list[tuple[Future[Any], Any]]) -> None:
        for future, executor in futures:
            self._cancel(future, executor)


# --- The other way: a group as an executor ---


class _TaskFuture(Uncopied, Future[Any]):
    """The future of a task: it cannot be cancelled once that runs. Waiting for it is a wait of this library, which ends
    with the context of the task that waits, and is an error if it could never end."""

    _task: Task[Any] | None = None

    def __init__(self, group: ErrGroup) -> None:
        super().__init__()
        self._group = group
        self._process = os.getpid()
        self._unended = WaitGroup(1)
        self.add_done_callback(lambda _: self._unended.done())

    def cancel(self) -> bool:
        task = self._task
        if task is not None and not self.done() and not task.cancel():
            return False
        return super().cancel()

    def running(self) -> bool:
        return self._task is not None and self._task.running()

    def _wait(self, call: str, timeout: float | None = None) -> None:
        """Wait for the end, or for `timeout` seconds."""
        if self.done():
            return
        if os.getpid() != self._process:
            raise RuntimeError(f"{call}: the task was left behind in the parent process by fork; submit it anew here")
        what: What = (self._group, "slot") if self._task is None else (self._task, call)
        told = _waiting_begin(*what, current_context(), timeout is not None, *place_of_user())
        try:
            self._unended.wait(timeout)
        finally:
            _waiting_end(told)

    def result(self, timeout: float | None = None) -> Any:
        self._wait("Future.result()", timeout)
        self._tell()
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._wait("Future.exception()", timeout)
        self._tell()
        return super().exception(0)

    def _tell(self) -> None:
        """Somebody is told of the error, if the task has failed."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.exception()

    def _follow(self, task: Task[Any]) -> None:
        self._task = task
        task.add_done_callback(self._end)

    def _drop(self) -> None:
        super().cancel()
        self.set_running_or_notify_cancel()

    def _end(self, task: Task[Any]) -> None:
        if task.cancelled():
            self._drop()
        elif self.set_running_or_notify_cancel():
            error = task._failure()
            if error is None:
                self.set_result(task.result())
            else:
                self.set_exception(error)


class _Queued:
    """A call for which there was no slot. It stands in the queue for one, and blocks no thread."""

    def __init__(self, group: ErrGroup, future: _TaskFuture, call: Callable[..., Any]) -> None:
        self._group, self._future, self._call = group, future, call
        self._variables = contextvars.copy_context()
        self._arrivals = count()
        self._slot = group._observe_slot(self._arrive)
        self._arrive()

    def _arrive(self) -> None:
        """Called once when there is `_slot`, and once when it has come; the second call goes on."""
        if next(self._arrivals) == 1:
            self._variables.run(self._start)

    def _start(self) -> None:
        try:
            if self._future.cancelled():
                self._slot._give_slot()
            elif (task := self._group._start_in_slot(self._slot, None, self._call)) is not None:
                self._future._follow(task)
        except Cancelled:
            self._future._drop()
        except BaseException as error:
            self._future.set_exception(error)


class GroupExecutor(Uncopied, Executor):
    """What ErrGroup.as_executor() returns."""

    def __init__(self, group: ErrGroup) -> None:
        self._group = group
        self._futures: dict[_TaskFuture, None] = {}  # those that have not ended
        self._shut = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start fn(*args, **kwargs) as a task of the group, or queue it until there is a slot; never blocks."""
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if not callable(fn):
            raise TypeError(f"submit() takes a callable and its arguments, not {type(fn).__name__}")
        call = partial(fn, *args, **kwargs)
        future = _TaskFuture(self._group)
        try:
            self._futures[future] = None
            future.add_done_callback(self._ended)
            if (task := self._group._start_now(None, call)) is not None:
                future._follow(task)
            else:
                _Queued(self._group, future, call)
        except (
            BaseException
        ):  # refused, or a signal handler has raised: then nobody has the future, and nobody waits for it
            self._ended(future)
            raise
        return future

    def _ended(self, future: Future[Any]) -> None:
        self._futures.pop(cast(_TaskFuture, future), None)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; the group goes on. With `wait`, wait for what was submitted here."""
        self._shut = True
        if cancel_futures:
            for future in list(self._futures):
                future.cancel()
        for future in list(self._futures) if wait else ():
            future._wait("Executor.shutdown()")
