"""Tasks: what became of a function."""

import threading
import time
from functools import partial

import pytest
from conftest import HANG, until
from cwaitgroup import Cancelled, DeadlockError, ErrGroup, Task, WaitTimeout


def test_success():
    with ErrGroup() as g:
        task = g.go(divmod, 7, 2)
    assert task.result() == (3, 1) and task.result(0) == (3, 1)
    assert task.exception() is None
    assert task.done() and not task.running() and not task.cancelled()


def test_failure():
    g = ErrGroup()
    task = g.go(int, "x")
    with pytest.raises(ValueError):
        task.result()
    assert isinstance(task.exception(), ValueError)
    assert task.done() and not task.cancelled()
    with pytest.raises(ValueError):
        g.wait()


def test_states_on_the_way(gate):
    with ErrGroup() as g:
        task = g.go(gate.wait)
        until(task.running)
        assert not task.done() and not task.cancelled()
        gate.set()


def test_stopped_by_the_groups_end():
    g = ErrGroup()
    task = g.go(lambda: (g.context.wait(), g.context.check()))
    until(task.running)
    g.cancel("enough")
    with pytest.raises(Cancelled, match="enough"):
        task.result()
    with pytest.raises(Cancelled, match="enough"):
        task.exception()
    assert task.cancelled()
    with pytest.raises(Cancelled, match="enough"):
        g.wait()


def test_result_waits():
    with ErrGroup() as g:
        task = g.go(lambda: (time.sleep(0.05), "late")[1])
        assert task.result(HANG) == "late"
        assert task.done()


def test_many_threads_wait_for_one_task(gate):
    results = []
    with ErrGroup() as g:
        task = g.go(gate.wait)
        threads = [threading.Thread(target=lambda: results.append(task.result())) for _ in range(10)]
        for thread in threads:
            thread.start()
        gate.set()
    for thread in threads:
        thread.join()
    assert results == [True] * 10


def test_a_task_cannot_wait_for_itself():
    box = []
    g = ErrGroup(name="own")
    box.append(g.start(lambda: (until(lambda: box), box[0].result()), name="waits"))
    with pytest.raises(DeadlockError, match=r"Task\.result\(\): task 'waits' of group 'own' would wait for itself"):
        g.wait()


def test_names():
    def function():
        pass

    class Callable:
        def __call__(self):
            pass

    class Named:
        def method(self):
            pass

    names = {
        function: "test_names.<locals>.function",
        Named().method: "test_names.<locals>.Named.method",
        len: "len",
        int: "int",
        partial(function): "test_names.<locals>.function",
        Callable(): "Callable",
        "".join: "str.join",
    }
    with ErrGroup() as g:
        for fn, name in names.items():
            task = g.go(fn, *([()] if name in ("len", "str.join") else []))
            assert task.name.endswith(name)
            task.result()
            assert task.name.endswith(name)


def test_repr(gate):
    def work():
        gate.wait()

    g = ErrGroup()
    task = g.go(work)
    until(task.running)
    assert repr(task) == "<cwaitgroup.Task 'test_repr.<locals>.work' running>"
    gate.set()
    task.result()
    assert repr(task) == "<cwaitgroup.Task 'test_repr.<locals>.work' succeeded>"
    failed = g.go(int, "x")
    failed.exception()
    assert repr(failed) == "<cwaitgroup.Task 'int' failed: ValueError>"
    with pytest.raises(ValueError):
        g.wait()


def test_a_task_lets_go_of_its_function_and_arguments_when_it_ends():
    import weakref

    class Thing:
        def method(self):
            pass

    with ErrGroup() as g:
        thing, argument = Thing(), Thing()
        alive = [weakref.ref(thing), weakref.ref(argument)]
        task = g.go(lambda a, b: None, thing.method, b=argument)
        del thing, argument
        task.result()
        assert [ref() for ref in alive] == [None, None]
        assert task.name.endswith("<lambda>")


def test_it_is_generic_and_not_made_by_hand():
    assert Task[int].__origin__ is Task
    with pytest.raises(TypeError, match="cannot create"):
        Task()


def test_start_takes_arguments_and_options(gate):
    with ErrGroup(limit=1) as g:
        task = g.start(dict, ([("a", 1)],), {"b": 2}, name="both")
        assert task.result() == {"a": 1, "b": 2} and task.name == "both"
        assert g.start(max, [3, 5]).result() == 5
        assert g.start(int).name == "int"
        g.start(gate.wait)
        assert g.start(int, block=False) is None
        gate.set()


@pytest.mark.parametrize(
    ("args", "kwargs", "complaint"),
    [
        (("x",), {}, "args must be a tuple or a list"),
        (((), [1]), {}, "kwargs must be a dict"),
        (((), {1: 2}), {}, "keys of kwargs must be strings"),
        ((), {"name": 3}, r"ErrGroup\.start\(\): name must be a str"),
        ((), {"context": 3}, "context must be a Context"),
        ((), {"unknown": 3}, "unknown"),
    ],
)
def test_arguments_of_start_are_checked(args, kwargs, complaint):
    g = ErrGroup()
    with pytest.raises(TypeError, match=complaint):
        g.start(int, *args, **kwargs)
    assert g.completed == g.pending == 0


def test_done_callbacks(gate):
    told = []
    g = ErrGroup(limit=1)
    task = g.go(gate.wait)
    task.add_done_callback(told.append)
    task.add_done_callback(lambda task: told.append(g.try_go(int) is not None))  # the slot is free by then
    gate.set()
    until(lambda: len(told) == 2)
    assert told == [task, True]
    g.wait()
    task.add_done_callback(told.append)
    assert told == [task, True, task]
    with pytest.raises(TypeError, match="callable with the task"):
        task.add_done_callback(None)


def test_a_done_callback_that_fails_is_reported(monkeypatch, gate):
    import sys

    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: told.append(args.exc_type))
    with ErrGroup() as g:
        task = g.go(gate.wait)
        task.add_done_callback(lambda task: 1 / 0)
        gate.set()
    until(lambda: told == [ZeroDivisionError])


def test_cancel_keeps_a_task_from_starting(gate):
    g = ErrGroup()
    ran = []
    first = g.go(gate.wait)
    queued = [g.go(lambda: (ran.append(1), gate.wait())) for _ in range(500)]
    until(first.running)
    withdrawn = [task for task in queued if task.cancel()]
    assert withdrawn and all(task.cancel() for task in withdrawn)
    assert not first.cancel()
    gate.set()
    g.wait()
    assert len(ran) + len(withdrawn) == 500
    assert all(task.cancelled() and task.done() for task in withdrawn)
    with pytest.raises(Cancelled, match="cancelled by Task.cancel"):
        withdrawn[0].result()
    assert not first.cancelled() and not first.cancel() and g.errors == ()


def test_which_timeout_it_was(gate):
    def task_that_times_out():
        raise TimeoutError("mine")

    g = ErrGroup()
    slow = g.go(gate.wait)
    with pytest.raises(WaitTimeout, match="has not"):
        slow.result(0.01)
    with pytest.raises(TimeoutError) as caught:
        g.go(task_that_times_out).result()
    assert not isinstance(caught.value, WaitTimeout)
    with pytest.raises(WaitTimeout):
        g.wait(0)
    gate.set()
    with pytest.raises(TimeoutError, match="mine"):
        g.wait()
