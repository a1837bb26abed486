"""Waiting in asyncio and trio: one wake-up of the loop for each event, whatever the number of tasks.

`observe(fn)` stands for a call that has `fn` called once, in any thread, when the event comes, and returns a function
that takes this back.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from cwaitgroup._core import Cancelled, _current_task, _root, _waiting_begin, _waiting_end, current_context

if TYPE_CHECKING:
    import asyncio
    from types import FrameType, TracebackType

    from cwaitgroup import Context, ErrGroup, Task, WaitGroup

_PACKAGE = __file__.removesuffix("_async.py")

# What anyio's part for asyncio defines last: without it no scope of anyio is around a task of asyncio.
_ANYIO_LAST = ("anyio._backends._asyncio", "backend_class")

Observe: TypeAlias = Callable[[Callable[[], object]], Callable[[], object]]


def _loaded(module: str, name: str) -> Any:
    """`name` of `module`; None if that is not imported, or another thread is just importing it: then none of its tasks
    runs in this thread. Nothing is imported here, since a fork in another thread may leave an import half done."""
    return getattr(sys.modules.get(module), name, None)


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    running: Any = _loaded("asyncio", "_get_running_loop")
    loop: asyncio.AbstractEventLoop | None = running and running()
    return loop


def _trio_task() -> Any:
    """The running trio task, or None."""
    current_task = _loaded("trio.lowlevel", "current_task")
    try:
        return current_task and current_task()
    except RuntimeError:
        return None


# What is waited for, to be told to the core: the object, and its event; for a task, the name of the call.
What: TypeAlias = tuple[Any, str]


def place_of_user() -> tuple[str, int]:
    """The file and line of the user's code that waits."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ("", 0)


def _is_doubtful(loop: Any) -> bool:
    """May something else in the loop end the wait, or the thread's task go on without it? Only if this is the loop's
    only task, and nothing is due later or polled except the loop's own pipe, it is certain that neither is so."""
    import asyncio

    selector = getattr(loop, "_selector", None)
    return (
        getattr(loop, "_scheduled", True) != []
        or len(getattr(loop, "_ready", (None,))) > 0
        or selector is None
        or len(selector.get_map()) > 1
        or len(asyncio.all_tasks(loop)) > 1
    )


def _begin(what: What | None, context: Context | None, doubtful: bool) -> object:
    return None if what is None else _waiting_begin(*what, context, doubtful, *place_of_user())


async def _wait_in_asyncio(
    loop: asyncio.AbstractEventLoop, observe: Observe, timeout: float | None, what: What | None, context: Context | None
) -> None:
    event = loop.create_future()

    def arrive() -> None:
        if not event.done():
            event.set_result(None)

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(arrive)

    told = None
    stop = observe(wake)
    timer = None if timeout is None else loop.call_later(timeout, arrive)
    try:
        told = _begin(what, context, timeout is not None or _current_task() is None or _is_doubtful(loop))
        await event
    finally:
        _waiting_end(told)
        stop()
        if timer is not None:
            timer.cancel()


async def _wait_in_trio(
    task: Any, observe: Observe, timeout: float | None, what: What | None, context: Context | None
) -> None:
    from trio import RunFinishedError, lowlevel, move_on_after

    token = lowlevel.current_trio_token()
    waiting = True

    def arrive() -> None:
        nonlocal waiting
        if waiting:
            waiting = False
            lowlevel.reschedule(task)

    def wake() -> None:
        with suppress(RunFinishedError):  # nobody waits any more
            token.run_sync_soon(arrive)

    def abort(_raise_cancel: object) -> Any:
        nonlocal waiting
        waiting = False
        return lowlevel.Abort.SUCCEEDED

    told = None
    stop = observe(wake)
    try:
        told = _begin(what, context, True)
        with move_on_after(math.inf if timeout is None else timeout):
            await lowlevel.wait_task_rescheduled(abort)
    finally:
        _waiting_end(told)
        stop()


async def _wait(
    observe: Observe, timeout: float | None = None, what: What | None = None, context: Context | None = None
) -> None:
    """Wait for the event, or for `timeout` seconds. The core is told `what` it is, and which context ends the wait."""
    if (task := _trio_task()) is not None:
        await _wait_in_trio(task, observe, timeout, what, context)
    elif (loop := _asyncio_loop()) is not None:
        await _wait_in_asyncio(loop, observe, timeout, what, context)
    else:
        raise RuntimeError("await needs a running asyncio or trio event loop; elsewhere call wait()")


def loop_is_running() -> bool:
    """Does an event loop run in this thread?"""
    return _trio_task() is not None or _asyncio_loop() is not None


def _any_of(*observes: Observe) -> Observe:
    """The first of several events."""

    def observe(wake: Callable[[], object]) -> Callable[[], object]:
        stops = [observe(wake) for observe in observes]
        return lambda: [stop() for stop in stops]

    return observe


async def wait_for_event(
    observe: Observe, timeout: float | None = None, context: Context | None = None, what: What | None = None
) -> None:
    """Wait for the event, for `timeout` seconds, or for the end of the context, by default that of the task that runs
    in this thread. The caller looks which it was; if the context has ended, that is raised here."""
    if context is None:
        context = current_context()
    if context is _root:
        await _wait(observe, timeout, what)
    else:
        context.check()
        await _wait(_any_of(observe, context.add_callback), timeout, what, context)


async def wait_for_count(wait_group: WaitGroup) -> None:
    """`await wait_group`."""
    while not wait_group.wait(0):
        await wait_for_event(wait_group._observe, what=(wait_group, "zero"))


async def wait_for_context(context: Context) -> None:
    """`await context`."""
    while not context.cancelled():
        await wait_for_event(context.add_callback)


async def wait_for_task(task: Task[Any]) -> Any:
    """`await task`."""

    def observe_end(wake: Callable[[], object]) -> Callable[[], object]:
        def ended(_: Task[Any]) -> None:
            wake()

        task.add_done_callback(ended)
        return lambda: task._remove_done_callback(ended)

    while not task.done():
        await wait_for_event(observe_end, what=(task, "await"))
    return task.result()


# --- Starting tasks ---


async def go_in_loop(group: ErrGroup, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Task[Any]:
    """group.go_async()."""
    return await _start_when_room(group, None, args, kwargs)


async def start_in_loop(group: ErrGroup, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Task[Any]:
    """group.start_async()."""
    return await _start(group, *args, **kwargs)


async def _start(
    group: ErrGroup, fn: Callable[..., Any], args: Any = (), kwargs: Any = None, *, name: str | None = None
) -> Task[Any]:
    if not isinstance(args, tuple | list):
        raise TypeError(f"ErrGroup.start_async(): args must be a tuple or a list, not {type(args).__name__}")
    return await _start_when_room(group, name, (fn, *args), kwargs or {})


class _Slot:
    """A slot of a group that comes in turn: no other task can take it."""

    def __init__(self, group: ErrGroup) -> None:
        self._group = group
        self._waits: Any = None

    def observe(self, wake: Callable[[], object]) -> Callable[[], object]:
        self._waits = self._group._observe_slot(wake)
        stop: Callable[[], object] = self._waits
        return stop

    def start(self, name: str | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Task[Any] | None:
        return self._group._start_in_slot(self._waits, name, *args, **kwargs)

    def give_back(self) -> None:
        if self._waits is not None:
            self._waits._give_slot()


async def _start_when_room(
    group: ErrGroup, name: str | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Task[Any]:
    task = group._start_now(name, *args, **kwargs)
    slot = _Slot(group)
    try:
        while task is None:
            await wait_for_event(slot.observe, what=(group, "slot"))
            task = slot.start(name, args, kwargs)
    finally:
        slot.give_back()
    return task


# --- The end of a group ---


async def _wait_for_outcome(group: ErrGroup, wait: Callable[..., Awaitable[None]] = wait_for_event) -> None:
    """Until the tasks have ended, or their grace period is over."""
    while not group._finished():
        await wait(group._observe, what=(group, "outcome"))


def _cancellation() -> type[BaseException]:
    """What the running loop raises in a task that is cancelled."""
    if _trio_task() is not None:
        import trio

        return trio.Cancelled
    import asyncio

    return asyncio.CancelledError


def _once_more() -> AbstractContextManager[Any]:
    """A context manager inside which a task that has been cancelled may await again. The scopes of trio and of anyio
    would go on cancelling it."""
    library = "trio" if _trio_task() is not None else "anyio" if _loaded(*_ANYIO_LAST) else None
    return _loaded(library, "CancelScope")(shield=True) if library else nullcontext()


async def _wait_or_cancel(group: ErrGroup) -> None:
    """Wait for the outcome. Cancelling the waiting task cancels the group, and lets its tasks unwind first; so does the
    end of the context of the thread's task."""
    try:
        await _wait_for_outcome(group)
    except Cancelled as error:
        group.cancel(error)
        await _wait_for_outcome(group, _wait)
        raise
    except _cancellation():
        group.cancel("the task that awaits the group was cancelled")
        with _once_more():
            await _wait_for_outcome(group, _wait)
        raise


async def wait_for_group(group: ErrGroup) -> None:
    """`await group`."""
    await _wait_or_cancel(group)
    group.wait(0)


# --- The block of a group ---


class _AsyncioBody:
    """Interrupts the body of an `async with` when the group's context ends, as asyncio.TaskGroup does."""

    def __init__(self, group: ErrGroup, loop: asyncio.AbstractEventLoop) -> None:
        import asyncio

        self._loop, self._task = loop, asyncio.current_task(loop)
        self._cancelling = (
            self._task.cancelling() if self._task is not None else 0
        )  # before; it may clean up after that
        self._over = self._interrupted = False
        self._stop = group.context.add_callback(self._wake)

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._interrupt)

    def _interrupt(self) -> None:
        if not self._over and self._task is not None:
            self._interrupted = True
            self._task.cancel()

    def leave(self, exception: BaseException | None) -> BaseException | None:
        """The body is left. What it has raised, unless that is our own interruption."""
        self._over = True
        self._stop()
        if not self._interrupted or self._task is None:
            return exception
        only_ours = self._task.uncancel() <= self._cancelling
        return None if only_ours and isinstance(exception, _cancellation()) else exception


class _TrioBody:
    """The same by a cancel scope around the body."""

    def __init__(self, group: ErrGroup) -> None:
        from trio import CancelScope, lowlevel

        self._scope = CancelScope()
        self._token = lowlevel.current_trio_token()
        self._stop = group.context.add_callback(self._wake)
        self._scope.__enter__()

    def _wake(self) -> None:
        from trio import RunFinishedError

        with suppress(RunFinishedError):
            self._token.run_sync_soon(self._scope.cancel)

    def leave(self, exception: BaseException | None) -> BaseException | None:
        self._stop()
        try:
            own = self._scope.__exit__(
                type(exception) if exception else None, exception, getattr(exception, "__traceback__", None)
            )
        except BaseException as rest:  # what is left of an ExceptionGroup
            return rest
        return None if own else exception


async def enter_group(group: ErrGroup) -> ErrGroup:
    """`async with group:`, its beginning."""
    group._enter_async()
    if _trio_task() is not None:
        group._body = _TrioBody(group)
    elif (loop := _asyncio_loop()) is not None:
        group._body = _AsyncioBody(group, loop)
    return group


async def leave_group(
    group: ErrGroup,
    exception_type: type[BaseException] | None,
    exception: BaseException | None,
    traceback: TracebackType | None,
) -> bool:
    """`async with group:`, its end."""
    body, group._body = group._body, None
    raised = body.leave(exception) if body else exception
    if raised is not None:
        group._abort(raised)
    await _wait_or_cancel(group)
    swallowed = bool(group.__exit__(type(raised) if raised else None, raised, getattr(raised, "__traceback__", None)))
    if raised is not exception and raised is not None and not swallowed:
        raise raised
    return swallowed or raised is None
