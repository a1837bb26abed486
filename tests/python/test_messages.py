"""What errors and repr() say: the call, the group with its name, the numbers, and the remedy."""

import threading

import pytest
from conftest import HANG, until
from cwaitgroup import Cancelled, Context, DeadlockError, ErrGroup, NegativeCounterError, WaitGroup, WaitTimeout


class Boom(Exception):
    pass


class Unprintable(Exception):
    def __repr__(self):
        raise KeyError("no repr")


def raise_(error):
    raise error


def message_of(kind, call):
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


COUNTS = {
    "add": (
        NegativeCounterError,
        lambda: WaitGroup(2).add(-5),
        "WaitGroup.add(-5): the count is 2, and would fall",
    ),
    "done": (
        NegativeCounterError,
        lambda: WaitGroup().done(),
        "WaitGroup.done(): the count is 0, and would fall",
    ),
    "new": (NegativeCounterError, lambda: WaitGroup(-1), "WaitGroup(-1): a count is 0 to 2147483647"),
    "too many": (OverflowError, lambda: WaitGroup(2**31 - 1).add(1), "WaitGroup.add(1): the count is 2147483647, and"),
    "new, too many": (OverflowError, lambda: WaitGroup(2**31), "WaitGroup(2147483648): a count is 0 to 2147483647"),
}


@pytest.mark.parametrize(("kind", "call", "text"), COUNTS.values(), ids=COUNTS.keys())
def test_counts(kind, call, text):
    assert message_of(kind, call).startswith(text)


def ended_task():
    with ErrGroup() as g:
        return g.go(int)


TIMEOUTS = {
    "WaitGroup.wait()": lambda t: WaitGroup(1).wait(t),
    "Context.wait()": lambda t: Context().wait(t),
    "ErrGroup.wait()": lambda t: ErrGroup().wait(t),
    "Task.result()": lambda t: ended_task().result(t),
    "Task.exception()": lambda t: ended_task().exception(t),
    "ErrGroup()": lambda t: ErrGroup(timeout=t),
    "Context()": lambda t: Context(timeout=t),
}


@pytest.mark.parametrize("value", [-1, float("nan")])
@pytest.mark.parametrize(("call", "wait"), TIMEOUTS.items(), ids=TIMEOUTS.keys())
def test_times_that_cannot_be(call, wait, value):
    text = message_of(ValueError, lambda: wait(value))
    assert text.startswith(f"{call}: timeout must be zero or more seconds, or None for no limit; got {value!r}")


def test_the_group_is_named(gate):
    g = ErrGroup(limit=1, name="fetch")
    task = g.start(gate.wait, name="page 1")
    until(task.running)
    text = message_of(WaitTimeout, lambda: g.wait(0))
    assert text.startswith("ErrGroup.wait() of group 'fetch': 1 unfinished task; running: page 1 (for ")
    late = message_of(WaitTimeout, lambda: task.result(0))
    assert late == "Task.result(): task 'page 1' of group 'fetch' has not ended in time"
    g.cancel("why")
    assert message_of(Cancelled, lambda: g.go(int)) == "ErrGroup.go(): group 'fetch' cancelled: why"
    gate.set()
    assert message_of(Cancelled, g.wait) == "ErrGroup.wait(): group 'fetch' cancelled: why"
    assert message_of(RuntimeError, lambda: g.go(int)).startswith(
        "ErrGroup.go() of group 'fetch': the group is finished"
    )


def test_deadlocks_name_the_group():
    g = ErrGroup(limit=1, name="fetch")
    box = []

    def inside():
        box.append(message_of(DeadlockError, g.wait))
        box.append(message_of(DeadlockError, lambda: g.go(int)))

    g.start(inside, name="page 1")
    g.wait()
    wait, go = box
    place = " of group 'fetch': called from the group's own task 'page 1', "
    assert wait.startswith("ErrGroup.wait()" + place + "which would wait for itself")
    assert go.startswith("ErrGroup.go()" + place + "and all tasks that the limit of 1 allows")


def test_a_wait_in_a_task_names_the_tasks_group():
    g = ErrGroup(name="fetch")
    task = g.go(WaitGroup(1).wait)
    until(task.running)
    g.cancel("why")
    with pytest.raises(Cancelled, match="why"):
        g.wait()
    assert message_of(Cancelled, task.result) == "WaitGroup.wait(): this task's group 'fetch' cancelled: why"


@pytest.mark.leaves_tasks
@pytest.mark.parametrize(("n", "text"), [(1, "1 unfinished task: wait for it"), (2, "2 unfinished tasks: wait for th")])
def test_dropped_with_tasks(gate, n, text):
    g = ErrGroup()
    for _ in range(n):
        g.go(gate.wait)
    with pytest.warns(ResourceWarning, match=text):
        del g


@pytest.mark.parametrize("errors", ["first", "all"])
def test_repr_survives_an_error_whose_repr_raises(errors):
    g = ErrGroup(errors=errors)
    both = threading.Barrier(2)
    for _ in range(2):
        g.go(lambda: (both.wait(HANG), raise_(Unprintable())))
    with pytest.raises((Unprintable, ExceptionGroup)) as caught:
        g.wait()
    assert "error=<Unprintable whose repr() fails>" in repr(g)
    if errors == "first":
        assert "1 other task of the group failed too: <Unprintable whose repr() fails>" in caught.value.__notes__
    ctx = Context()
    ctx.cancel(Unprintable())
    assert repr(ctx) == "<cwaitgroup.Context cancelled cause=<Unprintable whose repr() fails>>"


def test_an_item_that_fails_shows_its_name():
    g = ErrGroup(name="fetch")
    task = g.start(int, ["x"], name="page 7")
    with pytest.raises(ValueError) as caught:
        g.wait()
    assert caught.value.__notes__ == ["in task 'page 7' of group 'fetch'"]
    until(lambda: repr(task) == "<cwaitgroup.Task 'page 7' failed: ValueError>")  # of the group no more


async def coroutine_function():
    pass


class Awaitable:
    def __await__(self):
        yield


async def async_generator():
    yield


@pytest.mark.parametrize("make", [coroutine_function, Awaitable, async_generator])
def test_a_function_that_returns_what_nobody_awaits(make):
    g = ErrGroup()
    task = g.go(lambda: make())
    with pytest.raises(TypeError, match=r"lambda.* has returned a .*, which nobody awaits.*asyncio\.run"):
        g.wait()
    assert isinstance(task.exception(), TypeError)


def test_of_a_plain_wait_group_too(monkeypatch):
    told = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    with WaitGroup() as wg:
        wg.go(lambda: coroutine_function())
    assert [args.exc_type for args in told] == [TypeError]


def test_our_own_objects_may_be_returned():
    with ErrGroup() as g:
        results = [g.go(lambda thing=thing: thing).result() for thing in (WaitGroup(), Context(), g, ended_task())]
    assert len(results) == 4


def test_the_root_cannot_be_cancelled():
    from cwaitgroup import current_context

    root = current_context()
    assert repr(root) == "<cwaitgroup.Context root>" and not root.cancelled() and root.remaining() is None
    for call in (root.cancel, lambda: root.__exit__(None, None, None)):
        assert "this is the root" in message_of(RuntimeError, call)
    root.check()
    assert root.wait(0) is False
    stop = root.add_callback(print)
    assert stop() is True
    child = Context(root)
    child.cancel()
    assert not root.cancelled()
