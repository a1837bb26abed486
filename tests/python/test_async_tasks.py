"""Tasks in event loops: awaited, started without stopping the loop; and a body that the group's end interrupts."""

import asyncio
import threading
import time
from contextlib import nullcontext

import pytest
from conftest import HANG, optional, until
from cwaitgroup import Cancelled, Context, DeadlineExceeded, ErrGroup, as_completed
from test_async import in_loop as in_loop

anyio = optional("anyio")


class Boom(Exception):
    pass


def boom():
    raise Boom


def fail_when(event):
    event.wait(HANG)
    raise Boom


def test_a_task_is_awaited(in_loop):
    async def main():
        async with ErrGroup() as g:
            assert await g.go(pow, 2, 5) == 32
            slow = g.go(time.sleep, 0.02)
            assert await slow is None and slow.done()
            assert await slow is None
        with pytest.raises(Boom):
            async with ErrGroup() as g:
                await g.go(boom)
        stopped = ErrGroup()
        task = stopped.go(stopped.context.wait)
        until(task.running)
        never = [stopped.go(stopped.context.wait) for _ in range(300)][-1]
        stopped.cancel("enough")
        assert await task is True
        with pytest.raises(Cancelled, match="enough"):
            await never
        with pytest.raises(Cancelled):
            await stopped

    in_loop(main)


def test_cancelling_the_await_leaves_the_task_alone(in_loop, gate):
    async def main():
        g = ErrGroup()
        task = g.go(gate.wait)
        with anyio.move_on_after(0.02) as scope:
            await task
        assert scope.cancelled_caught and not task.done() and not g.context.cancelled()
        gate.set()
        assert await task is True
        await g

    in_loop(main)


def test_async_for(in_loop):
    async def main():
        turns = [threading.Event() for _ in range(3)]
        async with ErrGroup() as g:
            tasks = [g.go(turn.wait) for turn in turns]
            order = []
            turns[1].set()
            async for task in as_completed(tasks):
                order.append(tasks.index(task))
                turns[2 if task is tasks[1] else 0].set()
        assert order == [1, 2, 0]

    in_loop(main)


def test_go_at_the_limit_is_an_error_with_the_remedy(in_loop, gate):
    async def main():
        async with ErrGroup(limit=2) as g:
            g.go(gate.wait)
            g.go(gate.wait)
            for go in (g.go, g.start):
                with pytest.raises(
                    RuntimeError, match=r"at the limit of 2.*stop the event loop.*await group\.go_async"
                ):
                    go(int)
            assert g.try_go(int) is None and g.start(int, block=False) is None
            gate.set()
            assert await (await g.go_async(pow, 2, exp=3)) == 8  # the remedy works
            task = await g.start_async(int, ["7"], {"base": 8}, name="seven")
            assert task.name == "seven" and await task == 7

    in_loop(main)


def test_go_waits_for_room_without_stopping_the_loop(in_loop):
    async def main():
        beats = 0

        async def beat():
            nonlocal beats
            while True:
                beats += 1
                await anyio.sleep(0.001)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(beat)
            async with ErrGroup(limit=1) as g:
                for _ in range(5):
                    await g.go_async(time.sleep, 0.02)
                assert g.completed >= 4
            tasks.cancel_scope.cancel()
        assert beats > 3

    in_loop(main)


@pytest.mark.parametrize("cause", [None, "enough"])
def test_cancellation_wakes_go_async(in_loop, gate, cause):
    async def main():
        g = ErrGroup(limit=1)
        g.go(gate.wait)
        threading.Timer(0.02, g.cancel, [cause]).start()
        with pytest.raises(Cancelled, match=cause):
            await g.go_async(int)
        gate.set()
        with nullcontext() if cause is None else pytest.raises(Cancelled):
            await g

    in_loop(main)


def test_a_plain_block_may_block_the_loop(gate):
    async def main():
        with ErrGroup(limit=1) as g:
            g.go(time.sleep, 0.02)
            g.go(int)

    asyncio.run(main())


ENDS = {
    "the first error": (lambda g, go: g.go(fail_when, go), {}, Boom),
    "the deadline": (lambda g, go: None, {"timeout": 0.05}, DeadlineExceeded),
    "a cause": (lambda g, go: threading.Timer(0.05, g.cancel, ["why"]).start(), {}, Cancelled),
    "a stop": (lambda g, go: threading.Timer(0.05, g.cancel).start(), {}, None),
}


@pytest.mark.parametrize(("start", "options", "error"), ENDS.values(), ids=ENDS.keys())
def test_the_end_of_the_group_interrupts_the_body(in_loop, start, options, error):
    async def main():
        reached, go = [], threading.Event()

        async def block():
            async with ErrGroup(**options) as g:
                start(g, go)
                go.set()
                try:
                    await anyio.sleep(HANG)
                finally:
                    reached.append("unwound")
                reached.append("too far")

        with anyio.fail_after(HANG / 2):
            if error is None:
                await block()
            else:
                with pytest.raises(error):
                    await block()
        assert reached == ["unwound"]
        await anyio.sleep(0.01)  # the task itself goes on, uncancelled

    in_loop(main)


def test_an_exception_of_the_body_that_was_interrupted_wins(in_loop):
    async def main():
        go = threading.Event()
        with pytest.raises(KeyError):
            async with ErrGroup() as g:
                g.go(fail_when, go)
                go.set()
                try:
                    await anyio.sleep(HANG)
                finally:
                    raise KeyError

    in_loop(main)


def test_a_body_that_has_ended_is_not_interrupted(in_loop):
    async def main():
        for _ in range(50):
            with pytest.raises(Boom):
                async with ErrGroup() as g:
                    g.go(boom)
            await anyio.sleep(0)

    in_loop(main)


def test_a_parent_that_has_ended_interrupts_at_the_first_await(in_loop):
    async def main():
        parent = Context()
        parent.cancel("before")
        with anyio.fail_after(HANG / 2), pytest.raises(Cancelled, match="before"):
            async with ErrGroup(context=parent):
                await anyio.sleep(HANG)

    in_loop(main)


def test_the_error_of_a_task_in_the_body_is_the_groups(in_loop):
    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            async with ErrGroup(errors="all") as g:
                await g.go(boom)
        assert type(caught.value.exceptions[0]) is Boom

    in_loop(main)


def test_inside_asyncios_own_structures():
    async def main():
        async with asyncio.TaskGroup() as tasks:
            with pytest.raises(Boom):
                async with ErrGroup() as g:
                    g.go(boom)
                    await asyncio.sleep(HANG)
            other = tasks.create_task(asyncio.sleep(0.01, "well"))
        assert other.result() == "well" and asyncio.current_task().cancelling() == 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02), ErrGroup() as g:
                await asyncio.sleep(HANG)

    asyncio.run(main())


def test_cancelled_from_both_sides():
    """The awaiting task is cancelled while the group interrupts its body: then the cancellation goes on."""

    async def block(ready):
        async with ErrGroup() as g:
            ready.set_result(g)
            await asyncio.sleep(HANG)

    async def main():
        ready = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(block(ready))
        group = await ready
        group.cancel()
        until(group.context.cancelled)
        await asyncio.sleep(0)  # the interruption is on its way
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_go_async_is_served_in_turn(in_loop, gate):
    async def main():
        order = []
        async with ErrGroup(limit=1) as g, anyio.create_task_group() as coroutines:
            g.go(gate.wait)

            async def first():
                await g.go_async(order.append, "first")

            coroutines.start_soon(first)
            await anyio.wait_all_tasks_blocked()
            behind = threading.Thread(target=lambda: ErrGroup.go(g, order.append, "behind"))
            behind.start()
            await anyio.to_thread.run_sync(until, lambda: behind.native_id is not None)
            time.sleep(0.05)  # for the other order, if it can come about
            gate.set()
            await anyio.to_thread.run_sync(behind.join)
        assert order == ["first", "behind"]

    in_loop(main)


def test_a_slot_that_comes_as_the_await_is_cancelled_is_given_back(in_loop, gate):
    async def main():
        async with ErrGroup(limit=1) as g:
            g.go(gate.wait)
            async with anyio.create_task_group() as coroutines:
                coroutines.start_soon(g.go_async, int)
                await anyio.wait_all_tasks_blocked()
                gate.set()
                until(lambda: g.completed == 1 and g.pending == 1)  # the slot has been handed to the coroutine
                coroutines.cancel_scope.cancel()
            assert g.pending == 0
            assert g.try_go(int) is not None

    in_loop(main)


def test_an_await_hears_of_the_end_of_the_grace_period(gate):
    g = ErrGroup(grace=0.01)
    running = g.go(gate.wait)
    until(running.running)
    over = threading.Event()
    stop = g._observe(over.set)
    g.cancel("enough")
    assert over.wait(HANG)
    assert not stop() and not running.done()
    with pytest.raises(Cancelled):
        g.wait()


def test_a_block_in_a_task_that_cleans_up_after_it_was_cancelled():
    """Its own end is told from that cancellation, which came before."""

    async def clean_up(told):
        try:
            await asyncio.sleep(HANG)
        finally:
            try:
                async with ErrGroup() as g:
                    g.go(boom)
                    await asyncio.sleep(HANG)
            except Boom:
                told.append("Boom")
            async with ErrGroup() as g:
                g.cancel()
                await asyncio.sleep(HANG)
            told.append("stopped")

    async def main():
        told = []
        task = asyncio.create_task(clean_up(told))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() and told == ["Boom", "stopped"]

    asyncio.run(main())
