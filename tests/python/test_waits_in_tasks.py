"""Inside a task, every wait of ours ends when the task's context does; and every wait takes a context of its own."""

import asyncio
import threading

import pytest
from conftest import HANG, until
from cwaitgroup import (
    Cancelled,
    Context,
    DeadlineExceeded,
    ErrGroup,
    Queue,
    WaitGroup,
    as_completed,
    current_context,
)

DETACHED = current_context()  # the root


class Boom(Exception):
    pass


def never():
    """A group of nobody's, one of whose tasks never ends by itself; and that task."""
    group = ErrGroup(1, context=DETACHED)
    return group, group.go(group.context.wait)


def full_queue():
    queue = Queue(1)
    queue.put(1)
    return queue


async def wait_for(awaitable):
    await awaitable


def leave_block_of_wait_group():
    with WaitGroup(1):
        pass


WAITS = {
    "WaitGroup.wait": lambda group, task: WaitGroup(1).wait(),
    "WaitGroup.wait with a timeout": lambda group, task: WaitGroup(1).wait(HANG),
    "with WaitGroup": lambda group, task: leave_block_of_wait_group(),
    "Context.wait": lambda group, task: Context(DETACHED).wait(),
    "Task.result": lambda group, task: task.result(),
    "Task.exception": lambda group, task: task.exception(),
    "ErrGroup.wait": lambda group, task: group.wait(),
    "ErrGroup.go at the limit": lambda group, task: group.go(int),
    "ErrGroup.start at the limit": lambda group, task: group.start(int),
    "as_completed": lambda group, task: list(as_completed([task])),
    "Queue.get": lambda group, task: Queue().get(),
    "Queue.put": lambda group, task: full_queue().put(2),
    "Queue.join": lambda group, task: full_queue().join(),
    "await WaitGroup": lambda group, task: asyncio.run(wait_for(WaitGroup(1))),
    "await Context": lambda group, task: asyncio.run(wait_for(Context(DETACHED))),
    "await Task": lambda group, task: asyncio.run(wait_for(task)),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_the_deadline_of_the_group_reaches_it(wait):
    other, task = never()
    with pytest.raises(DeadlineExceeded), ErrGroup(timeout=0.1) as g:
        waiter = g.go(wait, other, task)
    assert waiter.cancelled()
    with pytest.raises(DeadlineExceeded):
        waiter.result()
    assert not other.context.cancelled()  # the group that was waited for goes on
    other.cancel()
    other.wait()


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_the_first_error_reaches_it(wait):
    other, task = never()
    started = threading.Event()

    def fail():
        started.wait(HANG)
        raise Boom

    def waits():
        started.set()
        wait(other, task)

    with pytest.raises(Boom), ErrGroup() as g:
        waiter = g.go(waits)
        g.go(fail)
    assert waiter.cancelled() and isinstance(g.context.cause, Boom)
    with pytest.raises(Cancelled) as caught:
        waiter.result()
    assert isinstance(caught.value.__cause__, Boom)
    other.cancel()
    other.wait()


BOUNDED = {
    "WaitGroup.wait": lambda group, task, ctx: WaitGroup(1).wait(context=ctx),
    "Context.wait": lambda group, task, ctx: Context().wait(context=ctx),
    "Task.result": lambda group, task, ctx: task.result(context=ctx),
    "Task.exception": lambda group, task, ctx: task.exception(context=ctx),
    "ErrGroup.wait": lambda group, task, ctx: group.wait(context=ctx),
    "ErrGroup.start at the limit": lambda group, task, ctx: group.start(int, context=ctx),
    "as_completed": lambda group, task, ctx: list(as_completed([task], context=ctx)),
    "Queue.get": lambda group, task, ctx: Queue().get(context=ctx),
    "Queue.put": lambda group, task, ctx: full_queue().put(2, context=ctx),
    "Queue.join": lambda group, task, ctx: full_queue().join(context=ctx),
}


@pytest.mark.parametrize("wait", BOUNDED.values(), ids=BOUNDED.keys())
def test_a_context_given_ends_it(wait):
    group, task = never()
    cause = Boom()
    ctx = Context()
    threading.Timer(0.02, ctx.cancel, [cause]).start()
    with pytest.raises(Cancelled, match="context cancelled because of Boom") as caught:
        wait(group, task, ctx)
    assert caught.value.__cause__ is cause and not group.context.cancelled()
    with pytest.raises(DeadlineExceeded, match="context deadline exceeded"):
        wait(group, task, Context(timeout=0.02))
    group.cancel()
    group.wait()


def test_the_root_as_the_context_shields_a_wait(gate):
    wg = WaitGroup(1)
    g = ErrGroup()
    task = g.go(lambda: wg.wait(context=DETACHED))
    until(task.running)
    g.cancel()
    threading.Timer(0.02, wg.done).start()
    g.wait()
    assert task.result() is True


def test_two_tasks_that_wait_for_each_others_result():
    tasks = []
    with pytest.raises(DeadlineExceeded), ErrGroup(timeout=0.1) as g:
        for other in (1, 0):
            tasks.append(g.go(lambda other=other: (until(lambda: len(tasks) == 2), tasks[other].result())))
    assert all(task.cancelled() for task in tasks)


@pytest.mark.parametrize("context", [None, DETACHED], ids=["a child", "nobody's"])
def test_a_block_that_is_left_cancels_its_group_and_waits_for_it(context):
    ended = []

    def outer_task():
        with ErrGroup(context=context) as inner:
            inner.go(lambda: (inner.context.wait(), ended.append(1)))
            current_context().wait()
            begun.set()

    begun = threading.Event()
    with pytest.raises(DeadlineExceeded), ErrGroup(timeout=0.1) as outer:
        task = outer.go(outer_task)
    assert ended == [1] and begun.is_set()
    with pytest.raises(DeadlineExceeded):
        task.result()


def test_a_block_of_its_own_group_may_be_left_in_async_code():
    ended = []

    async def body():
        async with ErrGroup(context=DETACHED) as inner:
            inner.go(lambda: (inner.context.wait(), ended.append(1)))

    with pytest.raises(DeadlineExceeded), ErrGroup(timeout=0.1) as outer:
        outer.go(asyncio.run, body())
    assert ended == [1]


def test_what_is_there_comes_before_the_end_of_the_context():
    done = WaitGroup()

    def after_the_end():
        context = current_context()
        context.wait()
        assert done.wait() is True and context.wait() is True
        assert finished.result() == 3 and list(as_completed([finished])) == [finished]
        assert ready.get() == 1
        return "ok"

    ready = Queue()
    ready.put(1)
    with ErrGroup() as other:
        finished = other.go(abs, -3)
    g = ErrGroup()
    task = g.go(after_the_end)
    until(task.running)
    g.cancel()
    g.wait()
    assert task.result() == "ok"
