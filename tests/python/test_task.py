"""Tasks: what became of a function."""

import threading
import time
from functools import partial

import pytest
from conftest import HANG, until
from cwaitgroup import Cancelled, DeadlockError, ErrGroup, Task


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
    g = ErrGroup()
    box.append(g.go(lambda: (until(lambda: box), box[0].result())))
    with pytest.raises(DeadlockError, match="from the task itself"):
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
