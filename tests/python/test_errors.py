"""The first error decides; all others stay available."""

import gc
import sys
import threading
import time
import traceback
import weakref

import pytest
from conftest import until
from cwaitgroup import Cancelled, Context, ErrGroup, WaitGroup


class Boom(Exception):
    pass


def raise_(error):
    raise error


def test_the_error_itself_comes_out_with_the_traceback_of_its_function():
    error = Boom("x")
    g = ErrGroup()
    task = g.go(raise_, error)
    with pytest.raises(Boom) as caught:
        g.wait()
    assert caught.value is error
    assert task.exception() is error
    assert g.errors == (error,)
    assert traceback.extract_tb(error.__traceback__)[-1].name == "raise_"
    assert error.__context__ is None and error.__cause__ is None


def test_raising_again_does_not_let_the_traceback_grow():
    g = ErrGroup()
    task = g.go(raise_, Boom())
    lengths = set()
    for call in [g.wait, task.result] * 5:
        with pytest.raises(Boom) as caught:
            call()
        lengths.add(len(traceback.extract_tb(caught.value.__traceback__)))
    assert len(lengths) == 1


def test_the_first_error_in_time_wins():
    for _ in range(100):
        first, second = Boom("first"), Boom("second")
        late_runs = threading.Event()  # a task that has not started when the first one fails never starts

        def late(g, late_runs=late_runs, second=second):
            late_runs.set()
            g.context.wait()
            raise second

        def early(late_runs=late_runs, first=first):
            late_runs.wait()
            raise first

        g = ErrGroup()
        g.go(late, g)
        g.go(early)
        with pytest.raises(Boom, match="first"):
            g.wait()
        assert g.errors == (first, second)


def test_a_siblings_cancelled_cannot_win():
    for _ in range(100):
        g = ErrGroup()
        for _ in range(4):
            g.go(lambda g=g: (g.context.wait(), g.context.check()))
        g.go(raise_, Boom())
        with pytest.raises(Boom):
            g.wait()
        assert len(g.errors) == 1


def three_failures(errors):
    """A group whose three tasks have failed for certain: all run before the first one fails."""
    g = ErrGroup(errors=errors)
    running = WaitGroup(3)

    def task(error):
        running.done()
        running.wait()
        raise error

    for error in (Boom("a"), KeyError("b"), Boom("c")):
        g.go(task, error)
    return g


def test_one_note_tells_of_the_others():
    g = three_failures("first")
    for _ in range(2):
        with pytest.raises((Boom, KeyError)) as caught:
            g.wait()
        _, second, third = g.errors
        assert caught.value is g.errors[0]
        assert caught.value.__notes__ == [f"2 other tasks of the group failed too: {second!r}, {third!r}"]


def test_all_errors_on_request():
    g = three_failures("all")
    with pytest.raises(ExceptionGroup, match="3 tasks of the group failed") as caught:
        g.wait()
    assert caught.value.exceptions == g.errors
    assert {type(e) for e in g.errors} == {Boom, KeyError}
    boom, rest = caught.value.split(Boom)
    assert len(boom.exceptions) == 2 and len(rest.exceptions) == 1


def test_one_error_of_all_is_a_group_too():
    with pytest.raises(ExceptionGroup, match="1 task of the group failed"), ErrGroup(errors="all") as g:
        g.go(raise_, Boom())


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, BaseException])
def test_any_base_exception_is_an_error(kind):
    g = ErrGroup()
    g.go(raise_, kind("x"))
    with pytest.raises(kind, match="x"):
        g.wait()
    with pytest.raises(BaseExceptionGroup) as caught, ErrGroup(errors="all") as g:
        g.go(raise_, kind("x"))
    assert type(caught.value.exceptions[0]) is kind


@pytest.mark.parametrize("errors", ["none", "First", "", None, 1, b"all"])
def test_unknown_modes_are_refused(errors):
    with pytest.raises(ValueError, match="errors must be 'first' or 'all'"):
        ErrGroup(errors=errors)


def test_an_error_cancels_the_context_with_itself_as_the_cause():
    error = Boom()
    with pytest.raises(Boom), ErrGroup() as g:
        waits = g.go(g.context.wait)
        g.go(raise_, error)
    assert waits.result() is True
    assert g.context.cause is error


def test_cancelled_before_any_cancellation_is_an_error():
    with pytest.raises(Cancelled, match="mine"), ErrGroup() as g:
        g.go(raise_, Cancelled("mine"))
    assert len(g.errors) == 1


def test_the_body_wins():
    with pytest.raises(KeyError) as caught, ErrGroup() as g:
        task = g.go(lambda: (g.context.wait(), raise_(Boom())))
        until(task.running)
        raise KeyError
    assert g.context.cause is caught.value
    assert isinstance(task.exception(), Boom)
    assert any("Boom()" in note for note in caught.value.__notes__)


def test_cancelled_from_our_own_go_gives_way_to_the_first_error():
    with pytest.raises(Boom), ErrGroup() as g:
        g.go(raise_, Boom())
        while True:
            g.go(time.sleep, 0.001)


def test_a_stop_ends_the_loop_that_feeds_the_group_and_is_no_error():
    with ErrGroup() as g:
        g.cancel()
        g.go(print, "never")
        pytest.fail("go() on a cancelled group has returned")
    assert g.errors == ()


def test_another_contexts_cancelled_in_the_body_wins():
    other = ErrGroup()
    other.cancel()
    with pytest.raises(Cancelled), ErrGroup() as g:
        other.go(len, "x")
    assert g.context.cancelled()


def test_cancelled_from_what_ended_with_us_gives_way_to_the_first_error():
    with pytest.raises(Boom), ErrGroup() as outer:
        outer.go(raise_, Boom())
        with ErrGroup(context=outer.context) as inner:
            inner.go(inner.context.wait)
    with pytest.raises(Boom), ErrGroup() as outer:
        outer.go(raise_, Boom())
        with Context(outer.context) as ctx:
            ctx.wait()
            ctx.check()


def test_cancelled_from_what_ended_before_us_wins():
    with pytest.raises(Cancelled, match="its own reason"), ErrGroup() as outer:
        task = outer.go(lambda: (outer.context.wait(), raise_(Boom())))
        until(task.running)
        with ErrGroup(context=outer.context) as inner:
            inner.cancel("its own reason")


@pytest.mark.parametrize("errors", ["first", "all"])
def test_an_error_from_wait_in_the_block_is_told_of_the_others_once(errors):
    both = threading.Barrier(2)

    def fail():
        both.wait()
        raise Boom

    with pytest.raises((Boom, ExceptionGroup)) as caught, ErrGroup(errors=errors) as g:
        g.go(fail)
        g.go(fail)
        g.wait()
    assert len(getattr(caught.value, "__notes__", [])) == (errors == "first")


def test_a_group_dropped_after_its_error_leaves_no_cycle():
    def boom():
        raise Boom

    def use_a_group():
        g = ErrGroup()
        g.go(boom)
        try:
            g.wait()
        except Boom as error:
            refs = weakref.ref(error), weakref.ref(g)
        del g  # the error's traceback keeps this frame alive
        return refs

    gc.collect()
    gc.disable()
    try:
        for alive in use_a_group():
            until(lambda: alive() is None)  # without a GIL, when the worker goes, which has made the error
    finally:
        gc.enable()


def test_the_cycle_through_the_frame_of_the_block_is_collected():
    """The frame of a with block refers to the group, and the error's traceback to the frame."""

    def use_a_block():
        with ErrGroup() as g:
            g.go(raise_, Boom())
            refs.append(weakref.ref(g))

    refs = []
    try:
        use_a_block()
    except Boom as error:
        refs.append(weakref.ref(error))
        del error
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


def test_errors_of_a_plain_wait_group_go_to_the_excepthook(monkeypatch):
    told = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    wg = WaitGroup()
    error = Boom("x")
    wg.go(raise_, error)
    assert wg.wait(60)
    [args] = told
    assert args.exc_type is Boom and args.exc_value is error and args.exc_traceback is not None
    assert isinstance(args.thread, threading.Thread)


def test_an_excepthook_that_fails_is_reported(monkeypatch):
    told = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raise_(KeyError))
    monkeypatch.setattr(sys, "unraisablehook", lambda args: told.append(args.exc_type))
    with WaitGroup() as wg:
        wg.go(raise_, Boom())
    assert told == [KeyError]


@pytest.mark.leaves_tasks
def test_a_group_with_unfinished_tasks_that_is_dropped_warns(gate):
    g = ErrGroup(name="forgotten")
    g.go(gate.wait)
    with pytest.warns(ResourceWarning, match="forgotten.*dropped with 1 unfinished"):
        del g
