"""Waiting in asyncio and trio: one wake-up of the loop for each event, whatever the number of tasks.

`observe(fn)` stands for a call that has `fn` called once, in any thread, when the event comes, and returns a function
that takes this back.
"""

import sys
from contextlib import nullcontext


def _asyncio_loop():
    asyncio = sys.modules.get("asyncio")
    return asyncio and asyncio._get_running_loop()


def _trio_task():
    """The running trio task, or None."""
    trio = sys.modules.get("trio")
    try:
        return trio and trio.lowlevel.current_task()
    except RuntimeError:
        return None


async def _wait_in_asyncio(loop, observe, timeout):
    event = loop.create_future()

    def arrive():
        if not event.done():
            event.set_result(None)

    def wake():
        try:
            loop.call_soon_threadsafe(arrive)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    stop = observe(wake)
    timer = None if timeout is None else loop.call_later(timeout, arrive)
    try:
        await event
    finally:
        stop()
        if timer is not None:
            timer.cancel()


async def _wait_in_trio(task, observe, timeout):
    import math

    from trio import RunFinishedError, lowlevel, move_on_after

    token = lowlevel.current_trio_token()
    waiting = True

    def arrive():
        nonlocal waiting
        if waiting:
            waiting = False
            lowlevel.reschedule(task)

    def wake():
        try:
            token.run_sync_soon(arrive)
        except RunFinishedError:
            pass  # nobody waits any more

    def abort(_raise_cancel):
        nonlocal waiting
        waiting = False
        return lowlevel.Abort.SUCCEEDED

    stop = observe(wake)
    try:
        with move_on_after(math.inf if timeout is None else timeout):
            await lowlevel.wait_task_rescheduled(abort)
    finally:
        stop()


async def _wait(observe, timeout=None):
    """Wait for the event, or for `timeout` seconds."""
    if (task := _trio_task()) is not None:
        await _wait_in_trio(task, observe, timeout)
    elif (loop := _asyncio_loop()) is not None:
        await _wait_in_asyncio(loop, observe, timeout)
    else:
        raise RuntimeError("await needs a running asyncio or trio event loop; elsewhere call wait()")


async def wait_for_count(wait_group):
    """`await wait_group`."""
    if not wait_group.wait(0):
        await _wait(wait_group._observe)


async def wait_for_context(context):
    """`await context`."""
    if not context.cancelled():
        await _wait(context.add_callback)


async def _wait_for_outcome(group):
    """Until the tasks have ended, or their grace period is over."""

    def observe_tasks_and_end(wake):
        stops = [group._observe(wake), group.context.add_callback(wake)]
        return lambda: [stop() for stop in stops]

    while not group._finished():
        if group._grace is None:
            await _wait(group._observe)
        elif group.context.cancelled():
            await _wait(group._observe, timeout=group._grace)
        else:
            await _wait(observe_tasks_and_end)


def _cancellation():
    """What the running loop raises in a task that is cancelled."""
    if _trio_task() is not None:
        import trio

        return trio.Cancelled
    import asyncio

    return asyncio.CancelledError


def _once_more():
    """A context manager inside which a task that has been cancelled may await again. The scopes of trio and of anyio
    would go on cancelling it."""
    library = sys.modules.get("anyio") or (_trio_task() is not None and sys.modules.get("trio"))
    return library.CancelScope(shield=True) if library else nullcontext()


async def _wait_or_cancel(group):
    """Wait for the outcome. Cancelling the waiting task cancels the group, and lets its tasks unwind first."""
    try:
        await _wait_for_outcome(group)
    except _cancellation():
        group.cancel("the task that awaits the group was cancelled")
        with _once_more():
            await _wait_for_outcome(group)
        raise


async def wait_for_group(group):
    """`await group`."""
    await _wait_or_cancel(group)
    group.wait(0)


async def enter_group(group):
    """`async with group:`, its beginning."""
    return group.__enter__()


async def leave_group(group, exception_type, exception, traceback):
    """`async with group:`, its end."""
    if exception is not None:
        group._abort(exception)
    await _wait_or_cancel(group)
    return group.__exit__(exception_type, exception, traceback)
