"""as_completed(): tasks in the order in which they end, for threads and for event loops."""

import asyncio
import threading
import weakref

import pytest
from conftest import HANG, until
from cwaitgroup import Cancelled, Context, DeadlineExceeded, DeadlockError, ErrGroup, WaitTimeout, as_completed


class Boom(Exception):
    pass


def boom():
    raise Boom


def test_each_task_comes_once_in_the_order_of_ending():
    turns = [threading.Event() for _ in range(4)]
    with ErrGroup() as g:
        tasks = [g.go(turn.wait) for turn in turns]
        ended = as_completed(tasks + tasks)
        for i in (2, 0, 3, 1):
            turns[i].set()
            assert next(ended) is tasks[i]
        assert list(ended) == []


def test_tasks_of_several_groups_and_tasks_that_have_ended():
    with ErrGroup() as a, ErrGroup() as b:
        tasks = {g.go(abs, n) for g in (a, b) for n in range(50)}
        assert set(as_completed(tasks)) == tasks
    assert set(as_completed(tasks)) == tasks
    assert list(as_completed([])) == []


def test_threads_may_share_an_iterator():
    with ErrGroup() as g:
        tasks = [g.go(abs, i) for i in range(200)]
        ended = as_completed(tasks)
        with ErrGroup() as readers:
            lists = [readers.go(lambda: [task.result() for task in ended]) for _ in range(4)]
    assert sorted(n for task in lists for n in task.result()) == list(range(200))


def test_failures_and_tasks_that_never_started():
    g = ErrGroup(limit=1)
    first = g.go(boom)
    until(g.context.cancelled)
    with pytest.raises(Boom):
        g.wait()
    assert [type(task.exception()) for task in as_completed([first])] == [Boom]
    stopped = ErrGroup()
    tasks = [stopped.go(stopped.context.wait) for _ in range(300)]
    stopped.cancel()
    assert len(list(as_completed(tasks))) == 300
    assert any(task.cancelled() for task in tasks)
    stopped.wait()


@pytest.mark.parametrize("timeout", [0, 0.02])
def test_a_timeout_is_for_all_of_them_and_is_told_from_that_of_a_task(gate, timeout):
    with ErrGroup() as g:
        quick, slow = g.go(int), g.go(gate.wait)
        quick.result()
        ended = as_completed([quick, slow], timeout)
        assert next(ended) is quick
        with pytest.raises(WaitTimeout, match=r"as_completed\(\): 1 of 2 tasks have not ended in time"):
            next(ended)
        gate.set()
        assert next(as_completed([slow], HANG)) is slow


def test_a_context_ends_it(gate):
    with ErrGroup() as g:
        tasks = [g.go(gate.wait)]
        ctx = Context()
        threading.Timer(0.02, ctx.cancel, ["enough"]).start()
        with pytest.raises(Cancelled, match="enough"):
            next(as_completed(tasks, context=ctx))
        gate.set()


def test_the_context_of_the_task_that_iterates_ends_it(gate):
    with ErrGroup() as g:
        slow = g.go(gate.wait)
        with pytest.raises(DeadlineExceeded), ErrGroup(timeout=0.05) as readers:
            reader = readers.go(lambda: list(as_completed([slow])))
        assert reader.cancelled()
        gate.set()


def test_a_task_cannot_wait_for_itself():
    g = ErrGroup()
    box = []
    box.append(g.go(lambda: (until(lambda: box), list(as_completed(box)))))
    with pytest.raises(DeadlockError, match="would wait for itself"):
        g.wait()


def test_an_iterator_that_is_dropped_leaves_nothing_behind():
    gate = threading.Event()
    g = ErrGroup()
    slow = g.go(gate.wait)
    for _ in range(3):
        ended = as_completed([slow])
        with pytest.raises(WaitTimeout):
            next(as_completed([slow], 0))
        (callback,) = weakref.getweakrefs(ended._inbox)
        del ended
        assert not slow._remove_done_callback(callback)  # it has gone with the iterator
    kept = as_completed([slow])
    gate.set()
    assert list(kept) == [slow]
    g.wait()


@pytest.mark.parametrize("tasks", [[1], ["x"], [None]])
def test_only_tasks_are_taken(tasks):
    with pytest.raises(TypeError, match=r"as_completed\(\) takes an iterable of tasks"):
        as_completed(tasks)


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_that_cannot_be(timeout):
    with pytest.raises(ValueError, match=r"as_completed\(\): timeout must be"):
        as_completed([], timeout)


def test_async_for():
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
            slow = g.go(g.context.wait)
            with pytest.raises(WaitTimeout):
                async for _ in as_completed([slow], 0.01):
                    pass
            g.cancel()

    asyncio.run(main())
