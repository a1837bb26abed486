"""ErrGroup.map() and imap(): tasks for the items of iterables, taken no faster than the results are wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from cwaitgroup._completed import Inbox
from cwaitgroup._core import current_context

if TYPE_CHECKING:
    from cwaitgroup import ErrGroup, Task

UNLIMITED_WINDOW = 32  # items that imap() takes ahead where the group has no limit


class _Started:
    """Tasks in the order of starting; get() waits for the end of the first."""

    def __init__(self) -> None:
        self._tasks: deque[Task[Any]] = deque()
        self.add = self._tasks.append

    def get(self) -> Task[Any]:
        task = self._tasks.popleft()
        task._succeeded()
        return task


class _Ended:
    """Tasks in the order of ending; get() waits for the next."""

    def __init__(self) -> None:
        inbox = Inbox()
        self.add, self.get = inbox.expect, inbox.get


class _Feed:
    """Starts a task for each item, and keeps it in `tasks` until it is taken: a result that has been handed out is not
    kept. `out` counts those that have not been taken."""

    def __init__(
        self,
        group: ErrGroup,
        fn: Callable[..., Any],
        iterators: tuple[Iterator[Any], ...],
        tasks: _Started | _Ended,
    ) -> None:
        self.group, self.fn, self.items = group, fn, zip(*iterators, strict=False)
        self.tasks = tasks
        self.out = 0

    def has_room(self, without_limit: int | None = None) -> bool:
        limit = self.group.limit
        window = without_limit if limit is None else limit + self.group.backlog
        return window is None or self.out < window

    def start(self) -> Task[Any] | None:
        """The task of the next item; None if there is none."""
        for arguments in self.items:
            task = self.group.go(self.fn, *arguments)
            self.out += 1
            self.tasks.add(task)
            return task
        return None

    def take(self) -> Task[Any]:
        """The next task; it has ended."""
        task = self.tasks.get()
        self.out -= 1
        return task


def _is_inside(group: ErrGroup) -> bool:
    """Is this a task of the group, which cannot wait for the group?"""
    return current_context() is group.context


def _fail(group: ErrGroup, failed: Task[Any]) -> None:
    """Raise what becomes of a group one of whose tasks has not succeeded."""
    if group.on_error == "continue":
        failed.result()
    if _is_inside(group):
        group.context.check()
    group._wait_for_map()
    failed.result()  # of one that Task.cancel() has kept from starting


def _give_up(group: ErrGroup, error: BaseException) -> None:
    """`error` came up while tasks were started or waited for. Return if it is to be raised; else raise the outcome."""
    own = group._abort(error)
    if _is_inside(group):
        return
    if own:  # it tells of the group's own end: the first error is what counts
        group._wait_for_map()
    else:  # an iterable has failed, or a signal came
        group.__exit__(type(error), error, error.__traceback__)


def map_in_group(group: ErrGroup, fn: Callable[..., Any], iterators: tuple[Iterator[Any], ...]) -> list[Any]:
    """Run `fn` for each item and return the results in order, or raise the group's first error."""
    feed = _Feed(group, fn, iterators, _Ended())
    tasks: list[Task[Any]] = []
    try:
        while (task := feed.start()) is not None:
            tasks.append(task)
            while not feed.has_room():
                feed.take()
        failed = [task for task in tasks if not task._succeeded()]
    except BaseException as error:
        _give_up(group, error)
        raise
    if failed:
        _fail(group, failed[0])
    return [task.result() for task in tasks]


def imap_in_group(
    group: ErrGroup, fn: Callable[..., Any], iterators: tuple[Iterator[Any], ...], ordered: bool
) -> Generator[Any, None, None]:
    """Yield the results, in the order of the items or of ending; raise the group's first error."""
    feed = _Feed(group, fn, iterators, _Started() if ordered else _Ended())
    more = True
    while more or feed.out:
        try:
            while more and feed.has_room(UNLIMITED_WINDOW):
                more = feed.start() is not None
            if not feed.out:
                return
            task = feed.take()
        except BaseException as error:
            _give_up(group, error)
            raise
        if not task._succeeded():
            _fail(group, task)
        yield task.result()
