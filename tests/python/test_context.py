"""Contexts: a tree along which an end travels, once."""

import gc
import random
import select
import selectors
import sys
import threading
import time
import weakref

import pytest
from conftest import HANG, until
from cwaitgroup import Cancelled, Context, DeadlineExceeded, ErrGroup, WaitGroup


class Boom(Exception):
    pass


def test_it_ends_once_and_the_first_call_wins():
    ctx = Context()
    assert ctx.cancelled() is False and ctx.cause is None
    ctx.check()
    first = Boom("first")
    ctx.cancel(first)
    ctx.cancel(Boom("second"))
    assert ctx.cancelled() is True and ctx.cause is first
    with pytest.raises(Cancelled, match="context cancelled because of Boom") as caught:
        ctx.check()
    assert caught.value.__cause__ is first
    assert not isinstance(caught.value, DeadlineExceeded)


@pytest.mark.parametrize(
    ("cause", "text"),
    [(None, "Context.check(): context cancelled"), ("why", "Context.check(): context cancelled: why")],
)
def test_without_an_exception_as_the_cause(cause, text):
    ctx = Context()
    ctx.cancel(cause=cause)
    assert ctx.cause == cause
    with pytest.raises(Cancelled) as caught:
        ctx.check()
    assert str(caught.value) == text and caught.value.__cause__ is None


def test_children_end_with_their_parent_and_its_cause():
    parent = Context()
    child = Context(parent)
    grandchild = Context(parent=child)
    own = Context(parent)
    own.cancel("own")
    parent.cancel("from above")
    assert (child.cause, grandchild.cause, own.cause) == ("from above", "from above", "own")
    late = Context(grandchild)
    assert late.cancelled() and late.cause == "from above"


def test_a_child_does_not_end_its_parent():
    parent = Context()
    with Context(parent) as child:
        pass
    assert child.cancelled() and not parent.cancelled()


def test_an_end_travels_through_a_context_nobody_refers_to():
    parent = Context()
    grandchild = Context(Context(parent))
    gc.collect()
    parent.cancel()
    assert grandchild.cancelled()


def test_a_finished_child_unlinks_itself():
    parent = Context()
    children = [weakref.ref(Context(parent)) for _ in range(100)]
    assert [child() for child in children] == [None] * 100
    exception = Boom()
    Context(parent).cancel(exception)
    alive = weakref.ref(exception)
    del exception
    gc.collect()
    assert alive() is None


def test_none_detaches():
    def make():
        inherited, detached = Context(), Context(None)
        return inherited, detached

    with ErrGroup() as g:
        inherited, detached = g.go(make).result()
    assert inherited.cancelled() and not detached.cancelled()


def test_deadline_turns_into_a_cancellation():
    ctx = Context(timeout=0.02)
    child = Context(ctx)
    assert child.wait(HANG) is True
    with pytest.raises(DeadlineExceeded, match="context deadline exceeded"):
        child.check()
    assert isinstance(DeadlineExceeded("x"), (Cancelled, TimeoutError))


def test_wait_is_a_sleep_that_cancellation_ends():
    ctx = Context()
    threading.Timer(0.02, ctx.cancel).start()
    assert ctx.wait(HANG) is True
    assert ctx.wait() is True and ctx.wait(0) is True


def test_a_wait_group_waits_under_a_context():
    wg, ctx = WaitGroup(1), Context()
    threading.Timer(0.02, ctx.cancel, ["stop"]).start()
    with pytest.raises(Cancelled, match="stop"):
        wg.wait(context=ctx)
    with pytest.raises(DeadlineExceeded):
        wg.wait(HANG, context=Context(timeout=0.01))
    wg.done()
    assert wg.wait(context=ctx) is True  # zero comes first
    assert wg.wait(context=None) is True


def test_callbacks_run_once_without_arguments():
    ctx, calls = Context(), []
    stop = ctx.add_callback(lambda: calls.append(threading.get_ident()))
    ctx.cancel()
    ctx.cancel()
    assert calls == [threading.get_ident()]
    assert stop() is False
    ctx.add_callback(lambda: calls.append("at once"))
    assert calls[1:] == ["at once"]


def test_stop_takes_a_callback_back():
    ctx, calls = Context(), []
    stop = ctx.add_callback(lambda: calls.append(1))
    ctx.add_callback(lambda: calls.append(2))
    assert stop() is True
    assert stop() is False
    ctx.cancel()
    assert calls == [2]


def test_a_callback_at_the_deadline_runs_in_another_thread():
    ctx, called = Context(timeout=0.02), threading.Event()
    thread = []
    ctx.add_callback(lambda: (thread.append(threading.get_ident()), called.set()))
    assert called.wait(HANG)
    assert thread != [threading.get_ident()]


def test_a_callback_that_fails_disturbs_nobody(monkeypatch):
    told, calls = [], []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: told.append(args.exc_type))
    ctx = Context()
    ctx.add_callback(lambda: calls.append(1))
    ctx.add_callback(lambda: 1 / 0)
    ctx.add_callback(lambda: calls.append(2))
    ctx.cancel()
    assert told == [ZeroDivisionError] and sorted(calls) == [1, 2]


def test_a_callback_may_use_the_context():
    ctx, seen = Context(), []
    ctx.add_callback(lambda: seen.append((ctx.cancelled(), ctx.cause, ctx.wait(0))))
    ctx.add_callback(lambda: ctx.add_callback(lambda: seen.append("nested")))
    ctx.cancel("x")
    assert (True, "x", True) in seen and "nested" in seen


def test_callbacks_of_a_dropped_context_are_dropped():
    class Token:
        def __call__(self):
            pytest.fail("called for a context that nobody refers to")

    token = Token()
    alive = weakref.ref(token)
    parent = Context()
    Context(parent).add_callback(token)
    del token
    assert alive() is None
    parent.cancel()


def test_a_cycle_through_a_callback_is_collected():
    class Holder:
        pass

    holder = Holder()
    holder.context = Context()
    holder.stop = holder.context.add_callback(lambda holder=holder: holder)
    alive = weakref.ref(holder)
    del holder
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("fn", [None, 1, "x"])
def test_a_callback_must_be_callable(fn):
    with pytest.raises(TypeError, match="callable without arguments"):
        Context().add_callback(fn)


def test_fileno_is_readable_from_the_end_on():
    ctx = Context()
    assert ctx.fileno() == ctx.fileno()
    assert select.select([ctx], [], [], 0)[0] == []
    ctx.cancel()
    for _ in range(2):
        assert select.select([ctx], [], [], HANG)[0] == [ctx]
    assert select.select([Context(timeout=0.01)], [], [], HANG)[0]


def test_fileno_in_a_selector():
    with selectors.DefaultSelector() as selector:
        ctx = Context(timeout=0.02)
        selector.register(ctx, selectors.EVENT_READ, "ended")
        [(key, _)] = selector.select(HANG)
        assert key.data == "ended"
        selector.unregister(ctx)


def test_simultaneous_cancels_of_a_tree():
    seed = random.randrange(2**32)
    print("seed", seed)
    choose = random.Random(seed)
    for _ in range(20):
        nodes = [Context()]
        for _ in range(99):
            nodes.append(Context(choose.choice(nodes)))
        order = choose.sample(nodes, 100)
        start = threading.Barrier(4)

        def cancel(part, start=start):
            start.wait()
            for node in part:
                node.cancel(str(id(node)))

        threads = [threading.Thread(target=cancel, args=(order[i::4],)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(HANG)
        assert all(node.cancelled() and node.cause for node in nodes)


def test_callbacks_stopped_while_the_context_ends():
    """Each one is called, or prevented, and never both or neither."""
    for _ in range(200):
        ctx, calls = Context(), []
        stops = [ctx.add_callback(lambda i=i: calls.append(i)) for i in range(20)]
        thread = threading.Thread(target=ctx.cancel)
        thread.start()
        prevented = [i for i, stop in enumerate(stops) if stop()]
        thread.join()
        until(lambda: len(calls) + len(prevented) == 20)
        assert sorted(calls + prevented) == list(range(20))


def test_repr():
    ctx = Context()
    assert repr(ctx) == "<cwaitgroup.Context active>"
    ctx.cancel("x")
    assert repr(ctx) == "<cwaitgroup.Context cancelled cause='x'>"
    assert repr(Context(timeout=0)) == "<cwaitgroup.Context deadline exceeded>"


def test_repr_of_a_cause_that_shows_its_context():
    ctx = Context()
    ctx.cancel(KeyError(ctx))
    assert repr(ctx) == "<cwaitgroup.Context cancelled cause=KeyError(<cwaitgroup.Context cancelled ...>)>"


@pytest.mark.parametrize("parent", [1, "x", ErrGroup])
def test_a_parent_is_a_context(parent):
    with pytest.raises(TypeError, match="parent must be a Context or None"):
        Context(parent)


def test_cancelled_is_cheap_in_a_loop_that_looks():
    ctx, rounds = Context(timeout=0.05), 0
    while not ctx.cancelled():
        rounds += 1
    assert rounds > 100
    assert time.monotonic() >= ctx.deadline
