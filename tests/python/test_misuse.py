"""Misuse is an exception at the call that names the value and the remedy."""

import asyncio
import copy
import gc
import pickle
import weakref
from functools import partial

import cwaitgroup
import pytest
from cwaitgroup import Context, ErrGroup, Task, WaitGroup, as_completed


def one_of_each():
    with ErrGroup() as g:
        task = g.go(int)
    return [WaitGroup(), Context(), g, task]


async def coroutine_function():
    pass


async def async_generator():
    yield


class AsyncCallable:
    async def __call__(self):
        pass

    async def method(self):
        pass


@pytest.mark.parametrize(
    "fn",
    [
        coroutine_function,
        async_generator,
        AsyncCallable(),
        AsyncCallable().method,
        partial(coroutine_function),
        partial(partial(AsyncCallable().method)),
    ],
)
def test_async_functions_are_refused_with_a_remedy(fn):
    g = ErrGroup()
    for go in (WaitGroup().go, g.go, g.try_go):
        with pytest.raises(TypeError, match=r"runs functions in threads.*is async.*asyncio\.run"):
            go(fn)


def test_a_coroutine_is_refused_with_a_remedy():
    coroutine = coroutine_function()
    with pytest.raises(TypeError, match=r"not a coroutine.*asyncio\.run"):
        ErrGroup().go(coroutine)
    with ErrGroup() as g:
        assert g.go(asyncio.run, coroutine).result() is None  # the remedy works


@pytest.mark.parametrize("fn", [None, 1, "x", []])
def test_what_cannot_be_called_is_refused(fn):
    for go in (WaitGroup().go, ErrGroup().go, ErrGroup().try_go):
        with pytest.raises(TypeError, match=r"go\(\) takes a callable and its arguments, not"):
            go(fn)


def test_a_function_is_needed():
    for go in (WaitGroup().go, ErrGroup().go, ErrGroup().try_go):
        with pytest.raises(TypeError, match="takes a callable"):
            go()


def test_a_refused_go_changes_nothing():
    wg, g = WaitGroup(), ErrGroup()
    for go in (wg.go, g.go):
        with pytest.raises(TypeError):
            go(None)
    assert wg.count == 0
    assert (g.pending, g.running, g.completed) == (0, 0, 0)
    g.wait()


def test_copying_and_pickling_are_refused():
    for thing in one_of_each():
        for copier in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match=r"cannot pickle 'cwaitgroup\.\w+' object.*share the object itself"):
                copier(thing)


def test_exceptions_can_be_pickled():
    for kind in (cwaitgroup.Cancelled, cwaitgroup.DeadlineExceeded, cwaitgroup.DeadlockError):
        error = pickle.loads(pickle.dumps(kind("x")))
        assert type(error) is kind and str(error) == "x"
    assert kind.__module__ == "cwaitgroup"


def test_raised_cancellations_can_be_pickled():
    """They know their Context, which cannot."""
    with pytest.raises(cwaitgroup.DeadlineExceeded) as caught:
        Context(timeout=0).check()
    caught.value.add_note("note")
    for copied in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert type(copied) is cwaitgroup.DeadlineExceeded and copied.args == caught.value.args
        assert copied.__notes__ == ["note"]


def test_subclassing_is_refused():
    for cls in (WaitGroup, ErrGroup, Task, Context):
        with pytest.raises(TypeError, match="not an acceptable base type"):
            type("Sub", (cls,), {})


def test_types_are_immutable():
    for cls in (WaitGroup, ErrGroup, Task, Context):
        with pytest.raises(TypeError, match="immutable"):
            cls.extra = 1


def test_weak_references_but_no_dict():
    for thing in one_of_each():
        assert weakref.ref(thing)() is thing
        assert not hasattr(thing, "__dict__")
        with pytest.raises(AttributeError):
            thing.extra = 1


def test_weak_references_die():
    things = one_of_each()
    refs = [weakref.ref(thing) for thing in things]
    del things
    gc.collect()
    assert [ref() for ref in refs] == [None] * 4


def test_identity_is_equality_and_all_are_true():
    a, b = WaitGroup(), WaitGroup()
    assert a != b and a == a and len({a, b, a}) == 2
    assert all(bool(thing) for thing in one_of_each())


def test_read_only_attributes():
    wg, ctx, g, task = one_of_each()
    for thing, names in (
        (wg, ["count"]),
        (ctx, ["cause", "deadline"]),
        (task, ["name"]),
        (g, ["context", "errors", "name", "running", "pending", "completed"]),
    ):
        for name in names:
            with pytest.raises(AttributeError):
                setattr(thing, name, 1)


def test_await_outside_of_any_loop():
    for thing in (WaitGroup(1), Context()):
        with pytest.raises(RuntimeError, match="asyncio or trio"):
            thing.__await__().send(None)


class NoRepr:
    def __repr__(self):
        raise KeyError("no repr")


class NoReprStr(str):
    __repr__ = NoRepr.__repr__


class NoReprInt(int):
    __repr__ = NoRepr.__repr__


class NoReprAsync(NoRepr):
    async def __call__(self):
        pass


def refused(call, *arguments, **named):
    with pytest.raises((TypeError, ValueError)) as caught:
        call(*arguments, **named)
    return str(caught.value)


def test_what_is_refused_is_named_whatever_its_repr():
    g, ctx, queue = ErrGroup(), Context(), cwaitgroup.Queue()
    task = g.go(int)
    strange, negative = NoRepr(), NoReprInt(-1)
    for call, arguments, named in (
        (ErrGroup, (NoReprInt(0),), {}),
        (ErrGroup, (), {"errors": strange}),
        (ErrGroup, (), {"on_error": NoReprStr("x")}),
        (ErrGroup, (), {"executor": strange}),
        (g.go, (strange,), {}),
        (g.go, (NoReprAsync(),), {}),
        (g.map, (strange, []), {}),
        (g.start, (int,), {"kwargs": {strange: 1}}),
        (g.cancel, (strange,), {}),
        (WaitGroup().go, (strange,), {}),
        (ctx.cancel, (strange,), {}),
        (ctx.add_callback, (strange,), {}),
        (task.add_done_callback, (strange,), {}),
    ):
        assert "whose repr() fails>" in refused(call, *arguments, **named)
    for call in (g.wait, ctx.wait, task.result, WaitGroup(1).wait, queue.get, queue.join, partial(as_completed, [])):
        assert "timeout must be zero or more seconds" in refused(call, timeout=negative)
    named = ErrGroup(name=NoReprStr("fetch"))
    assert repr(named.start(int, name=NoReprStr("page"))) and "fetch" in repr(named)
    named.wait()
    with pytest.raises(RuntimeError, match="of group 'fetch'"):
        named.go(int)
    g.wait()


def test_a_context_or_a_time_that_is_none_is_refused_though_nothing_is_to_be_waited_for():
    queue = cwaitgroup.Queue(2)
    queue.put(1)
    for call, wait in (
        ("Queue.get()", queue.get),
        ("Queue.put()", lambda **named: queue.put(2, **named)),
        ("Queue.join()", cwaitgroup.Queue().join),
        ("as_completed()", lambda **named: as_completed([], **named)),
        ("WaitGroup.wait()", WaitGroup(1).wait),
    ):
        assert refused(wait, context=3) == f"{call}: context must be a Context or None, not int"
        text = f"{call}: timeout must be a number of seconds or None, not str"
        assert refused(wait, timeout="1") == text
    assert list(queue.queue) == [1] and queue.unfinished_tasks == 1


def test_messages_name_the_call():
    g = ErrGroup()
    for call, text in (
        (lambda: g.map(abs, 3), "ErrGroup.map() takes a callable and iterables, of which int is none"),
        (lambda: g.imap(abs, None), "ErrGroup.imap() takes a callable and iterables, of which NoneType is none"),
        (lambda: as_completed(3), "as_completed() takes an iterable of tasks, not int"),
        (lambda: g.cancel(1, 2), "ErrGroup.cancel() takes at most 1 argument (2 given)"),
        (lambda: WaitGroup().add(1, 2), "WaitGroup.add() takes one argument, n, but 2 were given"),
        (lambda: cwaitgroup.Queue("x"), "Queue(): maxsize must be an int, 0 for no limit, not str"),
        (lambda: cwaitgroup.dump_on_signal("x"), "dump_on_signal(): signum must be an int, not str"),
        (lambda: g.as_executor().submit(3), "submit() takes a callable and its arguments, not int"),
    ):
        assert refused(call) == text


def test_async_callbacks_are_refused():
    with ErrGroup() as g:
        for add in (g.context.add_callback, g.go(int).add_done_callback):
            assert "is async, and nobody would await it" in refused(add, coroutine_function)


def test_iterators_and_executors_are_not_copied():
    with ErrGroup() as g:
        task = g.go(int)
        executor = g.as_executor()
        things = [as_completed([task]), executor, executor.submit(int), g.context.add_callback(print)]
        for thing in things:
            for copier in (copy.copy, copy.deepcopy, pickle.dumps):
                assert "share the object itself" in refused(copier, thing)
        things[-1]()
