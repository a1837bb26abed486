"""Waiting in asyncio and trio: one wake-up of the loop for each event, whatever the number of tasks.

`observe(fn)` stands for a call that has `fn` called once, in any thread, when the event comes, and returns a function
that takes this back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import asyncio
    from types import TracebackType

    from cwaitgroup import Context, ErrGroup, WaitGroup

Observe: TypeAlias = Callable[[Callable[[], object]], Callable[[], object]]


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    asyncio: Any = sys.modules.get("asyncio")
    loop: asyncio.AbstractEventLoop | None = asyncio and asyncio._get_running_loop()
    return loop


def _trio_task() -> Any:
    """The running trio task, or None."""
    trio: Any = sys.modules.get("trio")
    try:
        return trio and trio.lowlevel.current_task()
    except RuntimeError:
        return None


async def _wait_in_asyncio(loop: asyncio.AbstractEventLoop, observe: Observe, timeout: float | None) -> None:
    event = loop.create_future()

    def arrive() -> None:
        if not event.done():
            event.set_result(None)

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(arrive)

    stop = observe(wake)
    timer = None if timeout is None else loop.call_later(timeout, arrive)
    try:
        await event
    finally:
        stop()
        if timer is not None:
            timer.cancel()


async def _wait_in_trio(task: Any, observe: Observe, timeout: float | None) -> None:
    import math

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

    stop = observe(wake)
    try:
        with move_on_after(math.inf if timeout is None else timeout):
            await lowlevel.wait_task_rescheduled(abort)
    finally:
        stop()


async def _wait(observe: Observe, timeout: float | None = None) -> None:
    """Wait for the event, or for `timeout` seconds."""
    if (task := _trio_task()) is not None:
        await _wait_in_trio(task, observe, timeout)
    elif (loop := _asyncio_loop()) is not None:
        await _wait_in_asyncio(loop, observe, timeout)
    else:
        raise RuntimeError("await needs a running asyncio or trio event loop; elsewhere call wait()")


async def wait_for_count(wait_group: WaitGroup) -> None:
    """`await wait_group`."""
    if not wait_group.wait(0):
        await _wait(wait_group._observe)


async def wait_for_context(context: Context) -> None:
    """`await context`."""
    if not context.cancelled():
        await _wait(context.add_callback)


async def _wait_for_outcome(group: ErrGroup) -> None:
    """Until the tasks have ended, or their grace period is over."""

    def observe_tasks_and_end(wake: Callable[[], object]) -> Callable[[], object]:
        stops = [group._observe(wake), group.context.add_callback(wake)]
        return lambda: [stop() for stop in stops]

    while not group._finished():
        if group._grace is None:
            await _wait(group._observe)
        elif group.context.cancelled():
            await _wait(group._observe, timeout=group._grace)
        else:
            await _wait(observe_tasks_and_end)


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
    library: Any = sys.modules.get("anyio") or (_trio_task() is not None and sys.modules.get("trio"))
    return library.CancelScope(shield=True) if library else nullcontext()


async def _wait_or_cancel(group: ErrGroup) -> None:
    """Wait for the outcome. Cancelling the waiting task cancels the group, and lets its tasks unwind first."""
    try:
        await _wait_for_outcome(group)
    except _cancellation():
        group.cancel("the task that awaits the group was cancelled")
        with _once_more():
            await _wait_for_outcome(group)
        raise


async def wait_for_group(group: ErrGroup) -> None:
    """`await group`."""
    await _wait_or_cancel(group)
    group.wait(0)


async def enter_group(group: ErrGroup) -> ErrGroup:
    """`async with group:`, its beginning."""
    return group.__enter__()


async def leave_group(
    group: ErrGroup,
    exception_type: type[BaseException] | None,
    exception: BaseException | None,
    traceback: TracebackType | None,
) -> bool:
    """`async with group:`, its end."""
    if exception is not None:
        group._abort(exception)
    await _wait_or_cancel(group)
    return group.__exit__(exception_type, exception, traceback)
