"""A queue.Queue whose get() and put() end with a context."""

from __future__ import annotations

import queue
import sys
import time
from collections import deque
from collections.abc import Iterator
from threading import Lock
from typing import Any, TypeVar

from cwaitgroup import _unpatched
from cwaitgroup._core import Context, WaitGroup, WaitTimeout, _end_of_wait
from cwaitgroup._uncopied import Uncopied

_T = TypeVar("_T")

if sys.version_info >= (3, 13):
    from queue import ShutDown as ShutDown
else:

    class ShutDown(Exception):
        """Raised by get() and put() of a queue that has been shut down; from Python 3.13 on it is queue.ShutDown."""


class _Condition:
    """As threading.Condition, as far as queue.Queue needs it; its wait() ends with a context, too.

    A signal handler may raise between any two steps of the main thread. So a step that comes too often does no harm,
    and one that does not come is made by the next caller: a waiter whose count is zero has been notified, wherever it
    stands.
    """

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._waiters: deque[WaitGroup] = deque()
        self.acquire, self.release = lock.acquire, lock.release

    def __enter__(self) -> bool:
        return self._lock.__enter__()

    def __exit__(self, *args: Any) -> None:
        self._lock.__exit__(*args)

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiters)

    def wait(
        self, timeout: float | None = None, context: Context | None = None, call: str = "Condition.wait()"
    ) -> bool:
        """With the lock held, which is let go meanwhile. False if the time was over first."""
        waiter = WaitGroup(1)
        notified = False
        try:
            self._waiters.append(waiter)
            notified = waiter._wait_without(self._lock, call, timeout, context)
        finally:
            if not notified:
                self._leave(waiter)
        return notified

    def _leave(self, waiter: WaitGroup) -> None:
        """This waiter no longer waits: if it was notified all the same, notify another one."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        if not waiter.count:
            self.notify()

    def notify(self, n: int = 1) -> None:
        while n > 0 and self._waiters:
            waiter = self._waiters[0]
            if waiter.count:
                waiter.done()
                n -= 1
            self._waiters.popleft()

    def notify_all(self) -> None:
        self.notify(len(self._waiters))


class Queue(Uncopied, _unpatched.Queue[_T]):
    """A queue.Queue whose get() and put() end with a context, for pipelines.

    Inside a task that is the context of the task's group, unless another one is given. So a
    stage that waits for its neighbour ends when the group is cancelled, or its time is
    over; nobody has to poll.

    >>> numbers = Queue(maxsize=2)
    >>> def produce():
    ...     for n in range(5):
    ...         numbers.put(n)
    ...     numbers.shutdown()
    >>> with ErrGroup() as g:
    ...     _ = g.go(produce)
    ...     print(g.go(sum, numbers).result())
    10

    Iterating takes items until the queue is shut down and empty. All else is as in
    queue.Queue, also queue.Empty and queue.Full when a `timeout` has passed. All methods
    may be called from any thread.
    """

    def __init__(self, maxsize: int = 0) -> None:
        if not hasattr(maxsize, "__index__"):
            raise TypeError(f"Queue(): maxsize must be an int, 0 for no limit, not {type(maxsize).__name__}")
        super().__init__(maxsize)
        self.mutex = _unpatched.new_lock()
        self.is_shutdown = False
        self.not_empty: Any = _Condition(self.mutex)
        self.not_full: Any = _Condition(self.mutex)
        self.all_tasks_done: Any = _Condition(self.mutex)

    def __repr__(self) -> str:
        with self.mutex:
            return (
                f"<cwaitgroup.Queue items={self._qsize()} maxsize={self.maxsize} unfinished={self.unfinished_tasks}"
                f" getting={len(self.not_empty)} putting={len(self.not_full)}{' shut down' * self.is_shutdown}>"
            )

    def _wait(self, condition: _Condition, call: str, end: float | None, context: Context | None) -> bool:
        """False once it is too late."""
        left = None if end is None else end - time.monotonic()
        if left is not None and left <= 0:
            return False
        condition.wait(left, context, call)
        return True

    def get(self, block: bool = True, timeout: float | None = None, *, context: Context | None = None) -> _T:
        """Take an item; wait until there is one.

        >>> q = Queue()
        >>> q.put('x')
        >>> q.get(timeout=5)
        'x'

        Raises queue.Empty when `timeout` seconds have passed, at once if not `block`;
        Cancelled or DeadlineExceeded when the context ends first; ShutDown if the queue is
        shut down and empty; ValueError for a negative timeout.
        """
        end = _end_of("Queue.get()", block, timeout, context)
        with self.mutex:
            while not self._qsize():
                if self.is_shutdown:
                    raise ShutDown
                if not self._wait(self.not_empty, "Queue.get()", end, context):
                    raise queue.Empty
            self.not_full.notify()  # first: if a signal handler raises now, that was in vain, and no wake-up is lost
            return self._get()

    def put(
        self, item: _T, block: bool = True, timeout: float | None = None, *, context: Context | None = None
    ) -> None:
        """Add an item; wait until there is room.

        >>> q = Queue(maxsize=1)
        >>> q.put('x')
        >>> q.put('y', timeout=0.01)
        Traceback (most recent call last):
        queue.Full

        Raises queue.Full when `timeout` seconds have passed, at once if not `block`;
        Cancelled or DeadlineExceeded when the context ends first; ShutDown if the queue is
        shut down; ValueError for a negative timeout.
        """
        end = _end_of("Queue.put()", block, timeout, context)
        with self.mutex:
            while not self.is_shutdown and 0 < self.maxsize <= self._qsize():
                if not self._wait(self.not_full, "Queue.put()", end, context):
                    raise queue.Full
            if self.is_shutdown:
                raise ShutDown
            self.not_empty.notify()  # first, as in get()
            self._put(item)
            self.unfinished_tasks += 1

    def task_done(self) -> None:
        """Say that an item, which get() has given, is done: for join().

        >>> q = Queue()
        >>> q.put('x')
        >>> item = q.get()
        >>> q.task_done()
        >>> q.join()

        Raises ValueError if it is called more often than there were items.
        """
        with self.mutex:
            if self.unfinished_tasks <= 0:
                raise ValueError("Queue.task_done(): called more often than there were items, all of which are done")
            if self.unfinished_tasks == 1:
                self.all_tasks_done.notify_all()  # first, as in get()
            self.unfinished_tasks -= 1

    def join(self, timeout: float | None = None, *, context: Context | None = None) -> None:
        """Wait until task_done() was called for each item.

        >>> Queue().join()

        Raises WaitTimeout when `timeout` seconds have passed; Cancelled or DeadlineExceeded
        when the context ends first; ValueError for a negative timeout.
        """
        end = _end_of("Queue.join()", True, timeout, context)
        with self.mutex:
            while self.unfinished_tasks:
                if not self._wait(self.all_tasks_done, "Queue.join()", end, context):
                    raise WaitTimeout(f"Queue.join(): {self.unfinished_tasks} items have not been done in time")

    def shutdown(self, immediate: bool = False) -> None:
        """Take no more items: put() raises ShutDown, and get() too once the queue is empty.

        With `immediate`, items that nobody has taken are dropped.

        >>> q = Queue()
        >>> q.put('last')
        >>> q.shutdown()
        >>> list(q)
        ['last']
        """
        with self.mutex:
            self.is_shutdown = True
            while immediate and self._qsize():
                self._get()
                self.unfinished_tasks = max(0, self.unfinished_tasks - 1)
            self.not_empty.notify_all()
            self.not_full.notify_all()
            if not self.unfinished_tasks:
                self.all_tasks_done.notify_all()

    def __iter__(self) -> Iterator[_T]:
        while True:
            try:
                item = self.get()
            except ShutDown:
                return
            yield item


def _end_of(call: str, block: bool, timeout: float | None, context: Context | None) -> float | None:
    """When to give up, on the clock of time.monotonic()."""
    end = _end_of_wait(call, timeout, context)
    return end if block else 0.0
