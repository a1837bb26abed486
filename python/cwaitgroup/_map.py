"""ErrGroup.map()."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cwaitgroup import ErrGroup


def map_in_group(group: ErrGroup, fn: Callable[..., Any], iterables: tuple[Iterable[Any], ...]) -> list[Any]:
    """Run `fn` for each item and return the results in order, or raise the group's first error."""
    try:
        tasks = [group.go(fn, *items) for items in zip(*iterables, strict=False)]
        if all(task.exception() is None for task in tasks):
            return [task.result() for task in tasks]
    except BaseException as error:
        if not group._abort(error):  # an iterable has failed, or a signal came
            group.__exit__(type(error), error, error.__traceback__)
            raise
        group.wait()
        raise
    group.wait()
    raise AssertionError("a task failed, but its group did not")
