"""Misuse is an exception at the call that names the value and the remedy."""

import asyncio
import copy
import gc
import pickle
import weakref
from functools import partial

import cwaitgroup
import pytest
from cwaitgroup import Context, ErrGroup, Task, WaitGroup


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
