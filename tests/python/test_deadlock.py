"""Tasks that wait for each other: the call that closes the ring raises DeadlockError, which tells each step."""

import threading

import pytest
from cwaitgroup import DeadlockError, ErrGroup, WaitGroup

HANG = 60


def run_ring(groups, *bodies):
    """Run each of `bodies` as the first task of its group; returns the errors that they raised."""
    errors = []
    barrier = threading.Barrier(len(bodies))

    def run(body):
        barrier.wait(HANG)
        try:
            body()
        except DeadlockError as error:
            errors.append(str(error))

    for group, body in zip(groups, bodies, strict=True):
        group.go(run, body)
    for group in groups:
        group.wait(HANG)
    return errors


@pytest.mark.parametrize("size", [2, 3])
def test_groups_in_a_ring(size):
    groups = [ErrGroup(name=f"group {i}") for i in range(size)]
    bodies = [groups[(i + 1) % size].wait for i in range(size)]
    (error,) = run_ring(groups, *bodies)
    for i in range(size):
        assert f"of group 'group {i}' (Python)" in error
    assert "this call, in task " in error
    assert "has waited" in error
    assert "test_deadlock.py:" in error


def test_tasks_that_wait_for_each_others_result():
    a, b = ErrGroup(name="a"), ErrGroup(name="b")
    tasks = []
    errors = []
    ready = threading.Event()

    def wait_for(i):
        ready.wait(HANG)
        try:
            tasks[i].result()
        except DeadlockError as error:
            errors.append(str(error))

    tasks += [a.go(wait_for, 1), b.go(wait_for, 0)]
    ready.set()
    a.wait(HANG)
    b.wait(HANG)
    (error,) = errors
    assert "waits for a task of group" in error


def test_a_result_and_a_wait_of_the_group_while_others_run():
    group, other = ErrGroup(name="group"), ErrGroup(name="other")
    hold = threading.Event()
    seen = threading.Event()
    group.go(hold.wait, HANG)
    tasks = []

    def first():
        try:
            other.wait()
        except DeadlockError:
            seen.set()

    def second():
        try:
            tasks[0].result()
        except DeadlockError:
            seen.set()

    tasks.append(group.go(first))
    other.go(second)
    assert seen.wait(HANG)
    hold.set()
    group.wait(HANG)
    other.wait(HANG)


def test_a_queued_task_that_can_get_no_slot():
    group = ErrGroup(name="narrow", limit=1, backlog=1)
    errors = []

    def outer():
        task = group.go(lambda: None)
        try:
            task.result()
        except DeadlockError as error:
            errors.append(str(error))

    group.go(outer)
    group.wait(HANG)
    (error,) = errors
    assert "which can get no slot (limit 1)" in error


def test_slots_of_each_other():
    a, b = ErrGroup(name="a", limit=1), ErrGroup(name="b", limit=1)
    (error,) = run_ring([a, b], lambda: b.go(lambda: None), lambda: a.go(lambda: None))
    assert "waits for a slot of group" in error


def test_a_wait_group_that_runs_tasks():
    wg, group = WaitGroup(), ErrGroup(name="group")
    errors = []
    barrier = threading.Barrier(2)

    def run(wait):
        barrier.wait(HANG)
        try:
            wait()
        except DeadlockError as error:
            errors.append(str(error))

    wg.go(run, group.wait)
    group.go(run, wg.wait)
    group.wait(HANG)
    wg.wait(HANG)
    (error,) = errors
    assert "a wait group" in error


def test_a_wait_with_a_timeout_is_no_part():
    a, b = ErrGroup(), ErrGroup()
    errors = run_ring([a, b], lambda: pytest.raises(TimeoutError, b.wait, 0.05), a.wait)
    assert errors == []
