"""Waiting in asyncio and trio: one wake-up of the loop for each event, whatever the number of tasks.

`observe(fn)` stands for a call that has `fn` called once, in any thread, when the event comes, and returns a function
that takes this back.
"""

import sys


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


async def _wait_in_asyncio(loop, observe):
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
    try:
        await event
    finally:
        stop()


async def _wait_in_trio(task, observe):
    from trio import RunFinishedError, lowlevel

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
        stop()
        return lowlevel.Abort.SUCCEEDED

    stop = observe(wake)
    await lowlevel.wait_task_rescheduled(abort)


async def _wait(observe):
    if (task := _trio_task()) is not None:
        await _wait_in_trio(task, observe)
    elif (loop := _asyncio_loop()) is not None:
        await _wait_in_asyncio(loop, observe)
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


async def _sleep(seconds):
    if _trio_task() is not None:
        import trio

        await trio.sleep(seconds)
    else:
        import asyncio

        await asyncio.sleep(seconds)
