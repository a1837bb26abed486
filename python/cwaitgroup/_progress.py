"""A progress bar of a group, drawn by tqdm or, where that is not installed, by rich."""

import threading
import weakref
from typing import Any, Protocol

from cwaitgroup._core import ErrGroup

_TICK = 0.1  # seconds between two looks at the group; a bar need not be quicker than the eye


class _Bar(Protocol):
    def show(self, done: int, total: int | None) -> None: ...
    def close(self) -> None: ...


class _Tqdm:
    def __init__(self, description: str | None, options: dict[str, Any]) -> None:
        from tqdm.auto import tqdm  # in a notebook, the notebook's bar

        self.bar = tqdm(desc=description, **options)

    def show(self, done: int, total: int | None) -> None:
        self.bar.total = total
        self.bar.n = done
        self.bar.refresh()

    def close(self) -> None:
        self.bar.close()


class _Rich:
    def __init__(self, description: str | None, options: dict[str, Any]) -> None:
        from rich.progress import Progress

        self.bar = Progress(**options)
        self.task = self.bar.add_task(description or "tasks", total=None)
        self.bar.start()

    def show(self, done: int, total: int | None) -> None:
        self.bar.update(self.task, completed=done, total=total)

    def close(self) -> None:
        self.bar.stop()


def _bar(description: str | None, options: dict[str, Any]) -> _Bar:
    try:
        return _Tqdm(description, options)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "tqdm":
            raise
    try:
        return _Rich(description, options)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rich":
            raise
        raise ModuleNotFoundError("progress() draws with tqdm or rich: pip install tqdm", name="tqdm") from None


class Progress:
    """The bar of one group. It looks at the group's counts until the group has no unfinished task and is over."""

    def __init__(self, group: ErrGroup, total: int | None, bar: _Bar) -> None:
        self._group = weakref.ref(group)
        self._total = total
        self._bar = bar
        self._lock = threading.Lock()  # the ticking thread, the thread that ends the group, and close() draw
        self._closed = threading.Event()
        # The thread that gives the outcome draws the last state before its wait returns.
        self._forget = group.context.add_callback(self._over)
        threading.Thread(target=self._tick, name=f"progress-{group.name or 'group'}", daemon=True).start()

    def close(self) -> None:
        """Draw the last state and end the bar. A bar ends itself when its group is over. A second call does nothing."""
        self._forget()
        with self._lock:
            if not self._closed.is_set():
                self._closed.set()
                self._draw()
                self._bar.close()

    def _draw(self) -> int:
        """Show the counts; returns how many tasks are unfinished."""
        group = self._group()
        if group is None:
            return 0
        done, unfinished = group.completed, group.running + group.pending
        self._bar.show(done, done + unfinished if self._total is None else self._total)
        return unfinished

    def _tick(self) -> None:
        while not self._closed.wait(_TICK):
            with self._lock:
                if not self._closed.is_set():
                    self._draw()
            group = self._group()
            if group is None or group.context.cancelled():
                self._over()
            del group  # a group that nobody else refers to must be able to go

    def _over(self) -> None:
        """The group's context has ended. Tasks may still be unwinding; then the next tick looks again."""
        group = self._group()
        if group is None or group.running + group.pending == 0:
            self.close()


def progress(group: ErrGroup, total: int | None = None, *, description: str | None = None, **options: Any) -> Progress:
    """Show a progress bar of a group until the group is over.

    group -- the group; the bar does not keep it alive
    total -- how many tasks there will be; None: as many as have been started so far
    description -- the text beside the bar; None: the group's name
    options -- for tqdm(), or for rich.progress.Progress() where tqdm is not installed

    Returns the bar, whose close() ends it early. The bar looks at the group ten times a
    second, in a thread of its own, and draws the last state before the group's wait
    returns. May be called in any thread, also in a notebook.

    Raises ModuleNotFoundError: neither tqdm nor rich is installed.

    >>> with ErrGroup(limit=2) as g:
    ...     bar = progress(g, total=3, disable=True)
    ...     for n in range(3):
    ...         _ = g.go(pow, n, 2)
    """
    return Progress(group, total, _bar(description or group.name, options))
