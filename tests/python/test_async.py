"""Awaiting in asyncio, uvloop, trio and anyio."""

import asyncio
import gc
import sys
import threading
import time

import pytest
from conftest import HANG, optional
from cwaitgroup import Cancelled, Context, DeadlineExceeded, ErrGroup, WaitGroup

anyio, trio, uvloop = map(optional, ("anyio", "trio", "uvloop"))


class Boom(Exception):
    pass


def boom():
    raise Boom


async def wait_for(awaitable):
    await awaitable


def run_in_asyncio(function):
    asyncio.run(function())


def run_in_uvloop(function):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(function())


LOOPS = {
    "asyncio": run_in_asyncio,
    "uvloop": run_in_uvloop,
    "trio": lambda function: trio.run(function),
    "anyio on asyncio": lambda function: anyio.run(function, backend="asyncio"),
    "anyio on trio": lambda function: anyio.run(function, backend="trio"),
}


def missing(loop):
    """What a loop needs and cannot be had here; anyio has the time limits that all tests use."""
    modules = {"anyio": anyio, "trio": trio, "uvloop": uvloop}
    return [name for name, module in modules.items() if module is None and (name in loop or name == "anyio")]


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.skipif(bool(missing(name)), reason=f"no {', '.join(missing(name))} here"))
        for name in LOOPS
    ]
)
def in_loop(request):
    """in_loop(function) runs an async function; time limits inside are anyio's, which work in all loops."""
    return LOOPS[request.param]


def test_wait_group(in_loop):
    async def main():
        wg = WaitGroup()
        await wg  # at zero
        wg.add(3)
        for _ in range(3):
            threading.Timer(0.02, wg.done).start()
        with anyio.fail_after(HANG):
            await wg
        assert wg.count == 0

    in_loop(main)


def test_the_loop_runs_on_while_a_group_is_awaited(in_loop):
    async def main():
        beats = 0

        async def beat():
            nonlocal beats
            while True:
                beats += 1
                await anyio.sleep(0.001)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(beat)
            async with ErrGroup() as g:
                g.go(time.sleep, 0.1)
            tasks.cancel_scope.cancel()
        assert beats > 3

    in_loop(main)


def test_outcomes(in_loop):
    async def main():
        async with ErrGroup() as g:
            task = g.go(pow, 2, 3)
        assert task.result() == 8
        with pytest.raises(Boom):
            async with ErrGroup() as g:
                g.go(g.context.wait)
                g.go(boom)
        with pytest.raises(Boom):
            await g
        g = ErrGroup(timeout=0.02)
        g.go(g.context.wait)
        with pytest.raises(DeadlineExceeded):
            await g
        with pytest.raises(ExceptionGroup):
            async with ErrGroup(errors="all") as g:
                g.go(boom)

    in_loop(main)


def test_the_body_wins(in_loop):
    async def main():
        with pytest.raises(KeyError):
            async with ErrGroup() as g:
                task = g.go(g.context.wait)
                while not task.running():
                    await anyio.sleep(0.001)
                raise KeyError
        assert task.result() is True and isinstance(g.context.cause, KeyError)

    in_loop(main)


def test_a_stop_is_no_error(in_loop):
    async def main():
        async with ErrGroup() as g:
            g.cancel()
            g.go(print, "never")
        with pytest.raises(Cancelled):
            async with ErrGroup() as g:
                g.cancel("why")

    in_loop(main)


def test_cancelling_the_awaiting_task_cancels_the_group(in_loop):
    async def main():
        for use_block in (True, False):
            ended, begun = [], threading.Event()
            g = ErrGroup()

            def task(g=g, ended=ended, begun=begun):
                begun.set()
                g.context.wait()
                time.sleep(0.05)
                ended.append(1)

            def start(g=g, task=task, begun=begun):
                g.go(task)
                begun.wait(HANG)
                return anyio.current_time() + 0.05

            with anyio.CancelScope() as scope:
                if use_block:
                    async with g:
                        scope.deadline = start()
                else:
                    scope.deadline = start()
                    await g
            assert scope.cancelled_caught
            assert g.context.cancelled() and ended == [1]  # its tasks could unwind

    in_loop(main)


def test_cancellation_in_the_body_cancels_the_group(in_loop):
    async def main():
        with anyio.move_on_after(0.02) as scope:
            async with ErrGroup() as g:
                task = g.go(g.context.wait)
                await anyio.sleep(HANG)
        assert scope.cancelled_caught and task.done()

    in_loop(main)


def registered():
    """Callbacks that something still refers to; the core does, while they may be called."""
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing).__name__ == "Callback"]


def test_a_cancelled_await_leaves_nothing_registered(in_loop):
    async def main():
        assert registered() == []
        wg, ctx = WaitGroup(1), Context()
        for awaitable in (wg, ctx):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait_for, awaitable)
                while not registered():
                    await anyio.sleep(0.001)
                assert len(registered()) == 1
                tasks.cancel_scope.cancel()
        assert registered() == []
        wg.done()
        ctx.cancel()

    in_loop(main)


def test_the_event_and_the_cancellation_at_once(in_loop):
    async def main():
        for cancel_first in (True, False):
            wg = WaitGroup(1)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait_for, wg)
                await anyio.sleep(0.01)
                if cancel_first:
                    tasks.cancel_scope.cancel()
                wg.done()
                tasks.cancel_scope.cancel()
            await anyio.sleep(0.01)

    in_loop(main)


def test_context(in_loop):
    async def main():
        with anyio.fail_after(HANG):
            await Context(timeout=0.02)
            ctx = Context()
            threading.Timer(0.02, ctx.cancel).start()
            assert await ctx is None
            await ctx

    in_loop(main)


def test_many_await_one(in_loop):
    async def main():
        wg, woke = WaitGroup(1), []

        async def wait():
            await wg
            woke.append(1)

        with anyio.fail_after(HANG):
            async with anyio.create_task_group() as tasks:
                for _ in range(50):
                    tasks.start_soon(wait)
                await anyio.sleep(0.01)
                threading.Thread(target=wg.done).start()
        assert len(woke) == 50

    in_loop(main)


def test_grace(in_loop, gate):
    async def main():
        for own_cancel in (True, False):
            g = ErrGroup(grace=0.05, timeout=None if own_cancel else 1)  # time for the task to start
            task = g.go(gate.wait)
            while not task.running():
                await anyio.sleep(0.001)
            if own_cancel:
                g.cancel("stop")
            with anyio.fail_after(HANG), pytest.raises(Cancelled) as caught:
                await g
            assert any("after the grace period" in note for note in caught.value.__notes__)
        gate.set()

    in_loop(main)


def test_tasks_added_while_the_group_is_awaited(in_loop):
    async def main():
        g = ErrGroup()

        def spawn(n):
            if n:
                g.go(spawn, n - 1)

        async with g:
            g.go(spawn, 50)
        assert g.completed == 51

    in_loop(main)


def test_awaiting_a_group_from_its_own_task():
    g = ErrGroup()
    task = g.go(lambda: asyncio.run(wait_for(g)))
    with pytest.raises(RuntimeError, match="await: called from the group's own task"):
        g.wait()
    assert type(task.exception()).__name__ == "DeadlockError"


def test_one_wake_up_of_the_loop_for_many_tasks():
    async def main():
        loop = asyncio.get_running_loop()
        wakes = []
        original = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *args: (wakes.append(1), original(*args))
        async with ErrGroup() as g:
            for _ in range(1000):
                g.go(time.sleep, 0)
        assert len(wakes) <= 2

    asyncio.run(main())


def test_a_second_cancellation_leaves_at_once_in_asyncio(gate):
    async def main():
        g = ErrGroup()
        task = g.go(gate.wait)

        waiter = asyncio.create_task(wait_for(g))
        await asyncio.sleep(0.02)
        waiter.cancel()
        await asyncio.sleep(0.02)
        assert not waiter.done() and g.context.cancelled()
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert task.running()
        gate.set()
        with pytest.raises(Cancelled, match="the task that awaits the group was cancelled"):
            g.wait()

    asyncio.run(main())


def test_a_loop_that_was_closed_is_not_missed():
    async def main(wg):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait_for(wg), 0.01)

    wg = WaitGroup(1)
    asyncio.run(main(wg))
    wg.done()
    assert wg.wait(0)


def test_neither_loop_is_imported_unasked(run):
    assert run("import sys, cwaitgroup; print('asyncio' in sys.modules, 'trio' in sys.modules)") == "False False"


def test_asyncio_debug_mode_sees_no_slow_callback():
    async def main():
        async with ErrGroup() as g:
            g.go(time.sleep, 0.3)

    asyncio.run(main(), debug=True)


if sys.version_info >= (3, 12):

    def test_eager_tasks():
        async def main():
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
            async with ErrGroup() as g:
                g.go(time.sleep, 0.01)

        asyncio.run(main())


@pytest.mark.parametrize("library", ["trio", "anyio"])
def test_while_another_thread_imports_a_library(run, tmp_path, library):
    """A module that is half imported has hardly any names yet."""
    (tmp_path / library).mkdir()
    (tmp_path / library / "__init__.py").write_text("import __main__\n__main__.begun.set()\n__main__.end.wait()\n")
    out = run(f"""
        import asyncio, importlib, sys, threading
        from cwaitgroup import *
        sys.path.insert(0, {str(tmp_path)!r})
        begun, end = threading.Event(), threading.Event()
        thread = threading.Thread(target=importlib.import_module, args=({library!r},))
        thread.start()
        begun.wait()
        async def main():
            async with ErrGroup() as g:
                task = g.go(pow, 2, 3)
            await WaitGroup()
            await Context(timeout=0.001)
            return task.result()
        print(asyncio.run(main()))
        async def cancelled():
            g = ErrGroup()
            g.go(g.context.wait)
            asyncio.get_running_loop().call_later(0.01, asyncio.current_task().cancel)
            async with g:
                pass
        try:
            asyncio.run(cancelled())
        except asyncio.CancelledError:
            print("cancelled")
        end.set()
        thread.join()
    """)
    assert out.splitlines() == ["8", "cancelled"]
