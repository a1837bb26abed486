"""Tasks that wait for each other: the call that closes the ring raises DeadlockError, which tells each step."""

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import nobodys
from cwaitgroup import Cancelled, Context, DeadlineExceeded, DeadlockError, ErrGroup, WaitGroup, as_completed

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
    both = threading.Event()
    group.go(hold.wait, HANG)
    tasks = []

    def first():
        both.wait(HANG)
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
    both.set()
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

    def wait_a_little():
        with pytest.raises(TimeoutError):
            b.wait(0.05)

    errors = run_ring([a, b], wait_a_little, a.wait)
    assert errors == []


def test_a_context_of_ones_own_is_no_part():
    a, b = ErrGroup(), ErrGroup()
    other = Context()

    def wait_in_other_context():
        threading.Timer(0.05, other.cancel).start()
        with pytest.raises(Cancelled):
            b.wait(context=other)

    assert run_ring([a, b], wait_in_other_context, a.wait) == []


def test_a_group_with_a_deadline_is_no_part():
    a, b = ErrGroup(timeout=0.05), ErrGroup()
    barrier = threading.Barrier(2)

    def wait_for(group):
        barrier.wait(HANG)
        group.wait()

    a.go(wait_for, b)
    b.go(wait_for, a)
    with pytest.raises(DeadlineExceeded):
        a.wait(HANG)
    with pytest.raises(DeadlineExceeded):
        b.wait(HANG)


# --- Tasks that a borrowed executor of threads runs ---


def test_a_task_of_an_executor_that_waits_for_its_own_group():
    with ThreadPoolExecutor(1) as pool:
        group = ErrGroup(name="borrowed", executor=pool)
        task = group.go(lambda: group.wait())
        with pytest.raises(DeadlockError, match="group 'borrowed': called from the group's own task .*wait for itself"):
            group.wait(HANG)
        assert isinstance(task.exception(), DeadlockError)


def test_tasks_of_an_executor_in_a_ring():
    with ThreadPoolExecutor(2) as pool:
        a, b = ErrGroup(name="a", executor=pool), ErrGroup(name="b")
        (error,) = run_ring([a, b], b.wait, a.wait)
        assert "of group 'a' (Python)" in error
        assert "of group 'b' (Python)" in error


# --- Tasks that run an event loop ---


async def awaited(awaitable):
    await awaitable


def in_loop(awaitable):
    """A body that awaits it in an event loop of its own."""
    return lambda: asyncio.run(awaited(awaitable))


def test_a_group_that_a_loop_in_a_task_awaits():
    a, b = ErrGroup(name="a"), ErrGroup(name="b")
    (error,) = run_ring([a, b], in_loop(b), a.wait)
    assert "test_deadlock.py:" in error
    assert "of group 'a' (Python)" in error


def test_two_tasks_whose_loops_await_each_others_group():
    a, b = ErrGroup(name="a"), ErrGroup(name="b")
    (error,) = run_ring([a, b], in_loop(b), in_loop(a))
    assert error.startswith("await: tasks wait for each other, and none can go on:")


def test_a_result_that_a_loop_in_a_task_awaits():
    a, b = ErrGroup(name="a"), ErrGroup(name="b")
    tasks = []
    errors = []
    ready = threading.Event()

    def run(body):
        ready.wait(HANG)
        try:
            body()
        except DeadlockError as error:
            errors.append(str(error))

    tasks += [a.go(run, lambda: asyncio.run(awaited(tasks[1]))), b.go(run, lambda: tasks[0].result())]
    ready.set()
    a.wait(HANG)
    b.wait(HANG)
    (error,) = errors
    assert "a task of group" in error


def test_a_slot_that_a_loop_in_a_task_awaits():
    a, b = ErrGroup(name="a", limit=1), ErrGroup(name="b", limit=1)
    (error,) = run_ring([a, b], lambda: asyncio.run(b.go_async(int)), lambda: a.go(int))
    assert "a slot of group" in error


def test_an_await_that_something_in_the_loop_can_end_is_no_part():
    async def with_timeout(group):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(awaited(group), 0.05)

    async def beside_another_task(group):
        waiting = asyncio.create_task(awaited(group))
        await asyncio.sleep(0.05)
        waiting.cancel()

    for way in (with_timeout, beside_another_task):
        a, b = ErrGroup(), ErrGroup()

        def end(a=a, b=b, way=way):
            asyncio.run(way(b))

        barrier = threading.Barrier(2)

        def run(body, barrier=barrier):
            barrier.wait(HANG)
            body()

        a.go(run, end)
        b.go(run, lambda a=a: a.wait())
        a.wait(HANG)
        with contextlib.suppress(Cancelled):  # the cancelled task has cancelled what it waited for
            b.wait(HANG)


class WaitsWhenFreed:
    """Waits for the group of the task that it is an argument of, when that task gives it up."""

    def __init__(self, wait):
        self.wait = wait

    def __del__(self):
        self.wait()


@pytest.mark.parametrize("kind", [ErrGroup, WaitGroup])
def test_an_argument_that_waits_for_the_group_of_its_task_when_it_is_freed(kind, monkeypatch):
    told = []
    monkeypatch.setattr("sys.unraisablehook", lambda args: told.append(args.exc_type))
    group, handed_over = kind(), threading.Event()
    group.go(lambda argument: handed_over.wait(HANG) and None, nobodys(lambda: WaitsWhenFreed(group.wait)))
    handed_over.set()
    group.wait(HANG)
    assert told == [DeadlockError]


def test_the_last_task_of_as_completed():
    a, b = ErrGroup(name="a"), ErrGroup(name="b")
    errors = []
    ready = threading.Event()
    tasks = []

    def wait_for(i, in_a_loop):
        async def iterate():
            async for _ in as_completed([tasks[i]]):
                pass

        ready.wait(HANG)
        try:
            if in_a_loop:
                asyncio.run(iterate())
            else:
                list(as_completed([tasks[i]]))
        except DeadlockError as error:
            errors.append(str(error))

    for in_a_loop in (False, True):
        tasks[:] = [a.go(wait_for, 1, False), b.go(wait_for, 0, in_a_loop)]
        ready.set()
        tasks[0].result(HANG)
        tasks[1].result(HANG)
        ready.clear()
    a.wait(HANG)
    b.wait(HANG)
    assert len(errors) == 2
    assert errors[0].startswith("as_completed(): tasks wait for each other")
    assert all("waits for a task of group" in error and "test_deadlock.py:" in error for error in errors)
