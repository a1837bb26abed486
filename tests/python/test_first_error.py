"""The first error is the one that a block shows, whichever way it came out; and no error is lost."""

import asyncio
import gc
import sys
import threading
import time
import warnings
from contextlib import contextmanager, suppress

import pytest
from conftest import HANG, until
from cwaitgroup import Cancelled, ErrGroup, current_context


class First(Exception):
    pass


class Second(Exception):
    pass


def raise_(error):
    raise error


def first_then_second(g):
    """Two failed tasks, in this order; all run before the first one fails."""
    running = threading.Barrier(2)

    def first():
        running.wait(HANG)
        raise First

    def second():
        running.wait(HANG)
        g.context.wait()
        raise Second

    return g.go(first), g.go(second)


@pytest.mark.parametrize("ask", ["result", "wait", "exception"])
def test_result_inside_the_block(ask):
    with pytest.raises(First) as caught, ErrGroup() as g:
        _first, second = first_then_second(g)
        if ask == "result":
            second.result()
        elif ask == "wait":
            g.wait()
        else:
            raise second.exception()
    assert [type(error) for error in g.errors] == [First, Second]
    assert caught.value.__notes__ == ["1 other task of the group failed too: Second()"]


def test_with_all_errors_it_is_a_group_in_every_path():
    for ask in ("result", "wait"):
        with pytest.raises(ExceptionGroup) as caught, ErrGroup(errors="all") as g:
            _first, second = first_then_second(g)
            second.result() if ask == "result" else g.wait()
        assert [type(error) for error in caught.value.exceptions] == [First, Second]


def test_another_exception_of_the_body_still_wins():
    with pytest.raises(KeyError) as caught, ErrGroup() as g:
        _first, second = first_then_second(g)
        try:
            second.result()
        except Second as error:
            raise KeyError("mine") from error
    assert isinstance(caught.value.__cause__, Second)


def test_the_same_exception_from_another_group_is_the_bodys():
    other = ErrGroup()
    task = other.go(raise_, Second())
    with pytest.raises(Second), ErrGroup() as g:
        task.result()
    assert isinstance(g.context.cause, Second)
    with pytest.raises(Second):
        other.wait(HANG)


def test_a_siblings_own_cancelled_from_result_gives_way():
    started = threading.Event()

    def stops():
        started.set()
        g.context.wait()
        raise Cancelled("by hand")

    with pytest.raises(First), ErrGroup() as g:
        stopped = g.go(stops)
        started.wait(HANG)
        g.go(raise_, First())
        stopped.result()


def test_map_shows_the_first_error():
    def work(n):
        both.wait(HANG)
        if n == 0:
            current_context().wait()
            raise Cancelled("stopped by hand")
        raise First

    for g in (ErrGroup(), ErrGroup(limit=2)):
        both = threading.Barrier(2)
        with pytest.raises(First):
            g.map(work, range(2))
    with pytest.raises(First), ErrGroup() as g:
        both = threading.Barrier(2)
        g.map(work, range(2))
    with pytest.raises(ExceptionGroup), ErrGroup(errors="all") as g:
        both = threading.Barrier(2)
        g.map(work, range(2))


def test_map_shows_the_error_of_another_task_that_came_first():
    def work(n):
        current_context().wait()
        raise Second

    with pytest.raises(First), ErrGroup() as g:
        g.go(lambda: (time.sleep(0.02), raise_(First())))
        g.map(work, range(2))


@pytest.mark.parametrize("errors", ["first", "all"])
def test_nested_groups(errors):
    """The error of a task of the outer group comes back through an inner one."""
    with pytest.raises((First, ExceptionGroup)) as caught, ErrGroup(errors=errors) as outer:
        _first, second = first_then_second(outer)
        with ErrGroup(errors=errors) as inner:
            inner.go(second.result)
    raised = caught.value
    assert type(raised) is First if errors == "first" else type(raised.exceptions[0]) is First


def test_a_group_of_nothing_but_cancelled_is_a_stop():
    def stops():
        current_context().wait()
        raise ExceptionGroup("several", [Cancelled("a"), ExceptionGroup("more", [Cancelled("b")])])

    with ErrGroup() as g:
        task = g.go(stops)
        until(task.running)
        g.cancel()
    assert task.cancelled() and g.errors == ()


# --- No error is lost ---


@pytest.fixture
def reported(monkeypatch):
    """What sys.unraisablehook was told: pairs of an exception and what it was ignored in."""
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: told.append((args.exc_value, repr(args.object))))
    return told


@pytest.mark.leaves_tasks
def test_a_group_that_failed_and_that_nobody_waited_for(reported):
    error = First()
    g = ErrGroup(name="forgotten")
    task = g.go(raise_, error)
    until(task.done)
    del task
    with pytest.warns(ResourceWarning, match="forgotten.*dropped after a task had failed.*wait for it"):
        del g
        gc.collect()
    [(exception, where)] = reported
    assert exception is error and "forgotten" in where


@pytest.mark.leaves_tasks
def test_all_errors_of_a_dropped_group(reported):
    g = ErrGroup(errors="all")
    for task in first_then_second(g):
        until(task.done)
    with pytest.warns(ResourceWarning):
        del g, task
        gc.collect()
    [(exception, _)] = reported
    assert [type(error) for error in exception.exceptions] == [First, Second]


@pytest.mark.leaves_tasks
@pytest.mark.parametrize("look", ["wait", "with", "result", "exception", "errors"])
def test_an_error_that_somebody_has_seen_is_not_reported(reported, look):
    g = ErrGroup()
    task = g.go(raise_, First())
    until(task.done)
    if look == "errors":
        assert len(g.errors) == 1
    elif look == "exception":
        task.exception()
    else:
        with pytest.raises(First):
            if look == "wait":
                g.wait()
            elif look == "result":
                task.result()
            else:
                with g:
                    pass
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del g, task
        gc.collect()
    assert reported == []


@pytest.mark.leaves_tasks
def test_a_task_that_fails_after_its_group_was_dropped(reported, gate):
    g = ErrGroup()
    task = g.go(lambda: (gate.wait(), raise_(First())))
    until(task.running)
    with pytest.warns(ResourceWarning, match="1 unfinished task: wait for it"):
        del g
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gate.set()
        until(lambda: reported)
    assert isinstance(reported[0][0], First)


def test_the_late_error_of_a_task_left_behind_by_grace(reported, gate):
    error = First()
    g = ErrGroup(grace=0.01, name="slow")
    task = g.start(lambda: (gate.wait(), raise_(error)), name="page 7")
    until(task.running)
    g.cancel("too late")
    with pytest.raises(Cancelled) as caught:
        g.wait()
    assert any("page 7" in note for note in caught.value.__notes__)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        gate.set()
        until(lambda: reported)
        until(task.done)
    [(exception, where)] = reported
    assert exception is error and "page 7" in where
    assert [w.category for w in warned] == [ResourceWarning] and "page 7" in str(warned[0].message)


@pytest.mark.leaves_tasks
def test_a_dropped_group_without_errors_says_nothing(reported):
    g = ErrGroup()
    task = g.go(int)
    until(task.done)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del g, task
    assert reported == []


def test_at_the_end_of_the_program(child):
    status, _, err = child("""
        import time
        from cwaitgroup import ErrGroup
        g = ErrGroup(name="background")
        task = g.go(int, "x")
        while not task.done():
            time.sleep(0.001)
        del task
    """).end()
    assert status == 0 and "ValueError: invalid literal" in err and "background" in err


def leave_generator(block):
    def generator():
        with block():
            yield

    iterator = generator()
    next(iterator)
    iterator.close()


def leave_by(error):
    def leave(block):
        with suppress(error), block():
            raise error

    return leave


def leave_task(block):
    async def main():
        async def inside():
            with block():
                await asyncio.sleep(HANG)

        task = asyncio.create_task(inside())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())


@pytest.mark.parametrize(
    ("leave", "by"),
    [
        (leave_generator, "GeneratorExit"),
        (leave_by(SystemExit), "SystemExit"),
        (leave_task, "CancelledError"),
    ],
    ids=["a generator", "sys.exit", "a cancelled coroutine"],
)
@pytest.mark.parametrize("errors", ["first", "all"])
def test_what_only_asks_to_leave_hides_no_error(reported, leave, by, errors):
    """Nobody sees the notes of such an exception."""

    @contextmanager
    def block():
        with ErrGroup(errors=errors) as g:
            until(g.go(raise_, First()).done)
            yield

    leave(block)
    ((error, place),) = reported
    assert type(error) is First and place == f"'an ErrGroup that was left by {by}'"


def test_an_error_that_the_block_has_seen_is_not_reported_again(reported):
    with suppress(SystemExit), ErrGroup() as g:
        assert type(g.go(raise_, First()).exception()) is First
        raise SystemExit
    assert reported == []


@pytest.mark.leaves_tasks
def test_the_future_of_a_group_as_an_executor_tells_nobody_by_itself(reported):
    g = ErrGroup()
    future = g.as_executor().submit(raise_, First())
    until(future.done)
    with pytest.warns(ResourceWarning):
        del g, future
        gc.collect()
    assert [type(error) for error, _ in reported] == [First]
    reported.clear()
    g = ErrGroup()
    assert type(g.as_executor().submit(raise_, First()).exception(HANG)) is First
    del g
    gc.collect()
    assert reported == []
