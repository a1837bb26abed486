"""ErrGroup.map()."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from cwaitgroup._core import current_context

if TYPE_CHECKING:
    from cwaitgroup import ErrGroup


def map_in_group(group: ErrGroup, fn: Callable[..., Any], iterables: tuple[Iterable[Any], ...]) -> list[Any]:
    """Run `fn` for each item and return the results in order, or raise the group's first error."""
    inside = current_context() is group.context  # a task of the group cannot wait for the group
    try:
        tasks = [group.go(fn, *items) for items in zip(*iterables, strict=False)]
        if all(task.exception() is None for task in tasks):
            return [task.result() for task in tasks]
    except BaseException as error:
        own = group._abort(error)
        if inside:
            raise
        if not own:  # an iterable has failed, or a signal came
            group.__exit__(type(error), error, error.__traceback__)
            raise
        group.wait()
        raise
    if inside:
        group.context.check()
    group.wait()
    raise AssertionError("a task failed, but its group did not")
