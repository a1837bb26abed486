"""Tasks as they complete."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from cwaitgroup._async import place_of_user, wait_for_event
from cwaitgroup._core import (
    Context,
    DeadlockError,
    Task,
    WaitGroup,
    WaitTimeout,
    _current_task,
    _waiting_begin,
    _waiting_end,
    current_context,
)

_T = TypeVar("_T")


class Inbox:
    """Tasks that have ended, in the order of ending, for any number of readers; each task goes to one of them.

    A reader leaves a `wake` here, which is called once when there is something to read.
    """

    __slots__ = ("_lock", "_process", "_tasks", "_wakes")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._tasks: deque[Task[Any]] = deque()
        self._wakes: deque[Callable[[], object]] = deque()

    def put(self, task: Task[Any]) -> None:
        with self._lock:
            self._tasks.append(task)
        self._wake_one()

    def _wake_one(self) -> None:
        with self._lock:
            wake = self._wakes.popleft() if self._wakes and self._tasks else None
        if wake is not None:
            wake()

    def take(self) -> Task[Any] | None:
        with self._lock:
            return self._tasks.popleft() if self._tasks else None

    def check_process(self) -> None:
        """In the child of a fork nothing will come any more."""
        if os.getpid() != self._process:
            raise RuntimeError(
                "the tasks to wait for were left behind in the parent process by fork; make new ones here"
            )

    def observe(self, wake: Callable[[], object]) -> Callable[[], object]:
        """Call `wake` once there is a task to take; returns a function that takes this back."""

        def stop() -> None:
            with self._lock:
                if wake in self._wakes:
                    self._wakes.remove(wake)
                    return
            self._wake_one()  # it was meant for this reader, who may not have taken the task

        with self._lock:
            self._wakes.append(wake)
        self._wake_one()
        return stop

    def get(self, timeout: float | None = None, context: Context | None = None) -> Task[Any]:
        """Wait for a task and take it. Raises WaitTimeout, and what ends a wait in this place."""
        end = None if timeout is None else time.monotonic() + timeout
        while (task := self.take()) is None:
            self.check_process()
            arrived = WaitGroup(1)
            stop = self.observe(arrived.done)
            try:
                left = None if end is None else max(0.0, end - time.monotonic())
                if not arrived.wait(left, context=context):
                    raise WaitTimeout
            finally:
                stop()
        return task


class Completed(Generic[_T]):
    """What as_completed() returns: an iterator, and an asynchronous iterator, over tasks in the order of ending.

    A reader claims one of the tasks to come before it waits, so that several threads may share an iterator.
    """

    __slots__ = ("_claims", "_context", "_end", "_inbox", "_number", "_pending", "_put")

    def __init__(self, tasks: Iterable[Task[_T]], timeout: float | None, context: Context | None) -> None:
        self._pending: set[Task[_T]] = set()
        self._inbox = Inbox()
        self._put = self._inbox.put  # one object, to be taken back
        self._end = None if timeout is None else time.monotonic() + timeout
        self._context = context
        for task in set(tasks):
            if not isinstance(task, Task):
                raise TypeError(f"as_completed() takes an iterable of tasks, not of {type(task).__name__}")
            self._pending.add(task)
            task.add_done_callback(self._put)
        self._number = len(self._pending)
        self._claims = deque(range(self._number))  # its operations need no lock

    def __iter__(self) -> Completed[_T]:
        return self

    def __aiter__(self) -> Completed[_T]:
        return self

    def _claim(self) -> bool:
        try:
            self._claims.pop()
        except IndexError:
            return False
        return True

    def _time_left(self) -> float | None:
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def _before_sleep(self) -> None:
        self._inbox.check_process()
        if len(self._pending) == 1 and _current_task() in self._pending:
            raise DeadlockError(f"as_completed(): {_current_task()} would wait for itself")

    def _late(self) -> WaitTimeout:
        return WaitTimeout(f"as_completed(): {len(self._pending)} of {self._number} tasks have not ended in time")

    def _last(self) -> Task[_T] | None:
        """The task that is waited for, if there is only one."""
        return next(iter(self._pending)) if len(self._pending) == 1 else None

    def _get(self) -> Task[Any]:
        """Wait in this thread. The core knows what for if one task is left; of several, it does not know for which."""
        last, left = self._last(), self._time_left()
        if last is None or left is not None or _current_task() is None:
            return self._inbox.get(left, self._context)
        told = _waiting_begin(last, "as_completed()", self._context or current_context(), False, *place_of_user())
        try:
            return self._inbox.get(left, self._context)
        finally:
            _waiting_end(told)

    def __next__(self) -> Task[_T]:
        if not self._claim():
            raise StopIteration
        try:
            if (task := self._inbox.take()) is None:
                self._before_sleep()
                task = self._get()
        except BaseException as error:
            self._claims.append(0)
            if isinstance(error, WaitTimeout):
                raise self._late() from None
            raise
        self._pending.discard(task)
        return task

    async def __anext__(self) -> Task[_T]:
        if not self._claim():
            raise StopAsyncIteration
        try:
            while (task := self._inbox.take()) is None:
                if self._time_left() == 0:
                    raise self._late()
                self._before_sleep()
                last = self._last()
                what = None if last is None else (last, "as_completed()")
                await wait_for_event(self._inbox.observe, self._time_left(), self._context, what)
        except BaseException:
            self._claims.append(0)
            raise
        self._pending.discard(task)
        return task

    def __del__(self) -> None:
        for task in self._pending:
            task._remove_done_callback(self._put)


def as_completed(
    tasks: Iterable[Task[_T]], timeout: float | None = None, *, context: Context | None = None
) -> Completed[_T]:
    """The tasks, in the order in which they end: for a `for` or an `async for`.

    `timeout` is in seconds from this call, for all of them; None waits for ever. Each task
    comes once. The tasks may be of several groups, and are not kept once they have come.

    >>> with ErrGroup() as g:
    ...     tasks = [g.go(abs, -n) for n in range(3)]
    ...     print(sorted(task.result() for task in as_completed(tasks)))
    [0, 1, 2]

    The iteration blocks where no task has ended yet. It raises WaitTimeout when `timeout`
    has passed; Cancelled or DeadlineExceeded when `context` ends first, by default that of
    the task that iterates; DeadlockError where a task would wait for itself. Raises
    TypeError for what is not a task, ValueError for a negative or NaN timeout,
    RuntimeError in the child of a fork for tasks of the parent. Ctrl-C interrupts it at
    once.
    """
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"as_completed(): timeout must be zero or more seconds, or None for no limit; got {timeout!r}")
    return Completed(tasks, timeout, context)
