"""An error group from its making to its outcome."""

import threading
import time

import pytest
from conftest import until
from cwaitgroup import Cancelled, Context, DeadlineExceeded, ErrGroup, Task, current_context


class Boom(Exception):
    pass


def boom():
    raise Boom


def test_results_and_arguments():
    with ErrGroup() as g:
        task = g.go(lambda *args, **kwargs: (args, kwargs), 1, 2, a=3, fn=4)
        assert type(task) is Task
        assert task.result() == ((1, 2), {"a": 3, "fn": 4})
    assert g.completed == 1 and g.running == 0 and g.pending == 0


def test_an_empty_group():
    g = ErrGroup()
    g.wait()
    g.wait()
    assert g.context.cancelled()
    with ErrGroup():
        pass


def test_leaving_the_block_waits_for_every_task():
    seen = []
    with ErrGroup() as g:
        for i in range(20):
            g.go(lambda i=i: (time.sleep(0.01), seen.append(i)))
    assert sorted(seen) == list(range(20))


def test_the_context_ends_with_the_outcome():
    with ErrGroup() as g:
        g.go(len, "x")
        assert not g.context.cancelled()
    assert g.context.cancelled() and g.context.cause is None


def test_a_group_is_for_one_use():
    g = ErrGroup()
    g.wait()
    for call in (g.go, g.try_go):
        with pytest.raises(RuntimeError, match="finished.*make a new ErrGroup"):
            call(len, "x")
    failed = ErrGroup()
    failed.go(boom)
    for _ in range(3):
        with pytest.raises(Boom):
            failed.wait()


def test_a_block_is_entered_once():
    g = ErrGroup()
    with g:
        pass
    with pytest.raises(RuntimeError, match="only once"), g:
        pass


def test_go_after_cancel_is_refused_with_the_cause():
    g = ErrGroup()
    cause = KeyError("why")
    g.cancel(cause)
    for call in (g.go, g.try_go):
        with pytest.raises(Cancelled) as caught:
            call(len, "x")
        assert caught.value.__cause__ is cause
    with pytest.raises(Cancelled) as caught:
        g.wait()
    assert caught.value.__cause__ is cause


def test_tasks_not_started_when_the_group_is_cancelled_never_start():
    started = set()
    g = ErrGroup()

    def work(i):
        started.add(i)
        g.context.wait()

    before = set(range(300))
    tasks = [g.go(work, i) for i in before]
    g.cancel()
    g.wait()
    assert {i for i in before if not tasks[i].cancelled()} == started
    assert len(started) < 300  # they wait for ever, so that many threads cannot have been started yet
    assert all(task.done() for task in tasks)
    never = next(task for task in tasks if task.cancelled())
    with pytest.raises(Cancelled, match=r"Task\.result\(\): task '.*work' cancelled"):
        never.result()


def test_cancel_without_a_cause_is_a_stop():
    with ErrGroup() as g:
        task = g.go(lambda: (g.context.wait(), g.context.check()))
        until(task.running)
        g.cancel()
    assert task.cancelled()
    assert g.errors == ()


@pytest.mark.parametrize("cause", [Boom("x"), "reason", KeyboardInterrupt()])
def test_cancel_with_a_cause_is_the_outcome(cause):
    g = ErrGroup()
    g.cancel(cause)
    g.cancel("another")  # the first call wins
    with pytest.raises(Cancelled) as caught:
        g.wait()
    assert g.context.cause is cause
    if isinstance(cause, str):
        assert cause in str(caught.value)
    else:
        assert caught.value.__cause__ is cause


def test_a_tasks_own_error_comes_before_the_cause():
    g = ErrGroup()
    task = g.go(lambda: (g.context.wait(), boom()))
    until(task.running)
    g.cancel("stop")
    with pytest.raises(Boom):
        g.wait()


@pytest.mark.parametrize("cause", [1, b"x", KeyError, object()])
def test_a_cause_is_an_exception_or_a_str(cause):
    for cancel in (ErrGroup().cancel, Context().cancel):
        with pytest.raises(TypeError, match="cause must be"):
            cancel(cause)


def test_a_parent_cancels_with_its_cause():
    parent = Context()
    g = ErrGroup(context=parent)
    task = g.go(g.context.wait)
    until(task.running)
    parent.cancel(Boom())
    with pytest.raises(Cancelled) as caught:
        g.wait()
    assert isinstance(caught.value.__cause__, Boom)
    assert task.result() is True
    with pytest.raises(Cancelled):
        ErrGroup(context=parent).go(len, "x")


def test_groups_inside_tasks_are_children():
    def inner():
        with ErrGroup() as g:
            g.go(g.context.wait)

    outer = ErrGroup()
    task = outer.go(inner)
    until(task.running)
    outer.cancel("from above")
    with pytest.raises(Cancelled, match="from above"):
        outer.wait()
    assert task.cancelled()


def test_current_context():
    root = current_context()
    with ErrGroup() as g:
        assert g.go(current_context).result() is g.context
        assert current_context() is root

        def nested():
            with ErrGroup() as inner:
                assert inner.go(current_context).result() is inner.context
            return current_context()

        assert g.go(nested).result() is g.context


def test_contextvars_are_those_of_the_caller():
    import contextvars

    var = contextvars.ContextVar("var", default=0)

    def bump():
        var.set(var.get() + 1)
        return var.get()

    var.set(10)
    with ErrGroup() as g:
        tasks = [g.go(bump) for _ in range(5)]
    assert [task.result() for task in tasks] == [11] * 5
    assert var.get() == 10


def test_map():
    with ErrGroup(limit=3) as g:
        assert g.map(pow, range(10), [2] * 10) == [n * n for n in range(10)]
        assert g.map(str, []) == []
        assert g.map(max, [1, 2, 3], (5, 0)) == [5, 2]  # as short as the shortest


def test_map_raises_the_first_error():
    def work(n):
        if n == 3:
            raise Boom
        current_context().wait()

    g = ErrGroup()
    with pytest.raises(Boom):
        g.map(work, range(5))
    with pytest.raises(Boom):
        g.wait()


def test_map_of_an_iterable_that_fails():
    def numbers():
        yield 1
        raise Boom

    g = ErrGroup()
    with pytest.raises(Boom):
        g.map(str, numbers())
    assert isinstance(g.context.cause, Boom)


def test_map_on_a_stopped_group():
    g = ErrGroup()
    g.cancel()
    with pytest.raises(Cancelled):
        g.map(str, [1])


def test_map_inside_a_task_of_the_group():
    def inside(divisor):
        return g.map(divmod, [7, 8], [divisor] * 2)

    g = ErrGroup()
    assert g.go(inside, 2).result() == [(3, 1), (4, 0)]
    task = g.go(inside, 0)
    with pytest.raises(ZeroDivisionError):
        g.wait()
    assert task.cancelled()
    assert {type(error) for error in g.errors} == {ZeroDivisionError}


def test_map_takes_items_as_fast_as_the_limit_lets_it(gate):
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    def work(_):
        gate.wait()

    g = ErrGroup(limit=2)
    thread = threading.Thread(target=g.map, args=(work, items()))
    thread.start()
    time.sleep(0.05)
    assert len(taken) <= 3
    gate.set()
    thread.join()
    assert len(taken) == 100
    g.wait()


@pytest.mark.parametrize("args", [(), (len,)])
def test_map_needs_a_function_and_an_iterable(args):
    with pytest.raises(TypeError, match="at least one iterable"):
        ErrGroup().map(*args)


def test_counts(gate):
    g = ErrGroup()
    g.go(gate.wait)
    g.go(gate.wait)
    until(lambda: g.running == 2)
    assert (g.pending, g.completed) == (0, 0)
    gate.set()
    g.wait()
    assert (g.pending, g.running, g.completed) == (0, 0, 2)


def test_repr():
    g = ErrGroup(limit=8, name="fetch")
    assert repr(g) == "<cwaitgroup.ErrGroup fetch pending=0 running=0 completed=0 limit=8>"
    g.go(boom)
    with pytest.raises(Boom):
        g.wait()
    assert repr(g) == "<cwaitgroup.ErrGroup fetch pending=0 running=0 completed=1 limit=8 error=Boom()>"
    assert g.name == "fetch" and ErrGroup().name is None


def test_repr_of_an_error_that_shows_its_group():
    g = ErrGroup()

    def fail():
        raise Boom(g)

    g.go(fail)
    with pytest.raises(Boom):
        g.wait()
    assert "error=Boom(<cwaitgroup.ErrGroup ...>)" in repr(g)


def test_waits_of_many_threads_give_the_same_outcome():
    g = ErrGroup()
    outcomes = []

    def wait():
        try:
            g.wait()
        except Boom as error:
            outcomes.append(error)

    g.go(lambda: (time.sleep(0.05), boom()))
    threads = [threading.Thread(target=wait) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 10 and len(set(map(id, outcomes))) == 1


def test_deadline_beats_nothing_but_loses_to_an_earlier_error():
    g = ErrGroup(timeout=0.02)
    g.go(boom)
    with pytest.raises(Boom):
        g.wait()
    time.sleep(0.05)
    with pytest.raises(Boom):
        g.wait()
    with pytest.raises(DeadlineExceeded), ErrGroup(timeout=0.02) as g:
        g.go(g.context.wait)


@pytest.mark.parametrize("options", [{"name": 1}, {"context": 1}, {"unknown": 1}, {"limit": "3"}, {"limit": 2.5}])
def test_options_are_checked(options):
    with pytest.raises(TypeError):
        ErrGroup(**options)


def test_a_plain_cancel_of_the_parent_is_a_stop():
    parent = Context()
    with ErrGroup(context=parent) as g:
        task = g.go(lambda: (g.context.wait(), g.context.check()))
        until(task.running)
        parent.cancel()
    assert task.cancelled() and g.errors == ()

    def inner():
        with ErrGroup() as g:
            g.go(g.context.wait)
        return "went on"

    with ErrGroup() as outer:
        task = outer.go(inner)
        until(task.running)
        outer.cancel()
    assert task.result() == "went on"
