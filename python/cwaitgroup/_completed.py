"""Tasks as they complete."""

from __future__ import annotations

import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Generic, TypeVar

from cwaitgroup._async import place_of_user, wait_for_event
from cwaitgroup._core import (
    Context,
    DeadlockError,
    Task,
    WaitGroup,
    WaitTimeout,
    _current_task,
    _end_of_wait,
    _waiting_begin,
    _waiting_end,
    current_context,
)
from cwaitgroup._uncopied import Uncopied
from cwaitgroup._unpatched import new_lock

_T = TypeVar("_T")


class _Forward(weakref.ref["Inbox"]):
    """What a task calls at its end: it has the task put into an inbox that is still wanted.

    When the inbox goes, the task forgets this, with no step of Python between in which a signal handler could raise.
    """

    __slots__ = ()

    def __call__(self, task: Task[Any]) -> None:  # type: ignore[override]
        if (inbox := super().__call__()) is not None:
            inbox.put(task)


class Inbox:
    """Tasks that have ended, in the order of ending, for any number of readers; each task goes to one of them.

    A reader leaves a `wake` here, which is called once when there is something to read.
    """

    __slots__ = ("__weakref__", "_lock", "_process", "_tasks", "_wakes")

    def __init__(self) -> None:
        self._lock = new_lock()
        self._process = os.getpid()
        self._tasks: deque[Task[Any]] = deque()
        self._wakes: deque[Callable[[], object]] = deque()

    def expect(self, task: Task[Any]) -> None:
        """Have the task put here when it ends."""
        if task.done():
            self.put(task)  # here, and not in a callback, what a signal handler raises comes out
        else:
            task.add_done_callback(_Forward(self, task._remove_done_callback))

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

    def take_of(self, expected: set[Task[_T]]) -> Task[_T] | None:
        """Take a task, and out of the set first: if a signal handler raises before it has come to the caller, nobody
        waits for it in vain."""
        with self._lock:
            while self._tasks:
                task = self._tasks[0]
                known = task in expected
                expected.discard(task)
                self._tasks.popleft()
                if known:
                    return task
            return None

    def check_process(self) -> None:
        """In the child of a fork nothing will come any more."""
        if os.getpid() != self._process:
            raise RuntimeError(
                "the tasks to wait for were left behind in the parent process by fork; make new ones here"
            )

    def observe(self, wake: Callable[[], object]) -> Callable[[], object]:
        """Call `wake` once there is a task to take; returns a function that takes this back."""
        with self._lock:
            self._wakes.append(wake)
        self._wake_one()
        return partial(self._forget, wake)

    def _forget(self, wake: Callable[[], object]) -> None:
        with self._lock:
            if wake in self._wakes:
                self._wakes.remove(wake)
                return
        self._wake_one()  # it was meant for this reader, who may not have taken the task

    def wait(self, timeout: float | None = None, context: Context | None = None) -> None:
        """Wait until there may be a task to take. Raises WaitTimeout, and what ends a wait in this place."""
        self.check_process()
        arrived = WaitGroup(1)
        wake = arrived.done
        try:
            self.observe(wake)
            if not arrived.wait(timeout, context=context):
                raise WaitTimeout
        finally:
            self._forget(wake)

    def get(self) -> Task[Any]:
        """Wait for a task and take it."""
        while (task := self.take()) is None:
            self.wait()
        return task


class Completed(Uncopied, Generic[_T]):
    """What as_completed() returns: an iterator, and an asynchronous iterator, over tasks in the order of ending.

    A reader counts itself before it waits, so that several threads may share an iterator: no more wait than tasks are
    to come.
    """

    __slots__ = ("_context", "_end", "_inbox", "_number", "_pending", "_readers")

    def __init__(self, tasks: Iterable[Task[_T]], end: float | None, context: Context | None) -> None:
        self._inbox = Inbox()
        self._end = end
        self._context = context
        self._pending = _set_of_tasks(tasks)  # those that have not been handed out
        self._number = len(self._pending)
        self._readers: set[object] = set()
        for task in tuple(self._pending):
            self._inbox.expect(task)

    def __iter__(self) -> Completed[_T]:
        return self

    def __aiter__(self) -> Completed[_T]:
        return self

    def _may_read(self, reader: object) -> bool:
        """Count the reader, if there is a task to come for it."""
        with self._inbox._lock:
            if len(self._readers) >= len(self._pending):
                return False
            self._readers.add(reader)
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
        return next(iter(tuple(self._pending)), None) if len(self._pending) == 1 else None

    def _wait(self) -> None:
        """Wait in this thread. The core knows what for if one task is left; of several, it does not know for which."""
        last, left = self._last(), self._time_left()
        if last is None or left is not None or _current_task() is None:
            self._inbox.wait(left, self._context)
            return
        told = _waiting_begin(last, "as_completed()", self._context or current_context(), False, *place_of_user())
        try:
            self._inbox.wait(left, self._context)
        finally:
            _waiting_end(told)

    def __next__(self) -> Task[_T]:
        reader = object()
        try:
            if not self._may_read(reader):
                raise StopIteration
            while (task := self._inbox.take_of(self._pending)) is None:
                self._before_sleep()
                self._wait()
            return task
        except WaitTimeout:
            raise self._late() from None
        finally:
            self._readers.discard(reader)

    async def __anext__(self) -> Task[_T]:
        reader = object()
        try:
            if not self._may_read(reader):
                raise StopAsyncIteration
            while (task := self._inbox.take_of(self._pending)) is None:
                if self._time_left() == 0:
                    raise self._late()
                self._before_sleep()
                last = self._last()
                what = None if last is None else (last, "as_completed()")
                await wait_for_event(self._inbox.observe, self._time_left(), self._context, what)
            return task
        finally:
            self._readers.discard(reader)


def _set_of_tasks(tasks: Iterable[Task[_T]]) -> set[Task[_T]]:
    """TypeError for what is none."""
    if not isinstance(tasks, Iterable):
        raise TypeError(f"as_completed() takes an iterable of tasks, not {type(tasks).__name__}")
    found = set()
    for task in tasks:
        if not isinstance(task, Task):
            raise TypeError(f"as_completed() takes an iterable of tasks, not of {type(task).__name__}")
        found.add(task)
    return found


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
    return Completed(tasks, _end_of_wait("as_completed()", timeout, context), context)
