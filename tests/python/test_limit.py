"""The limit: how many tasks are unfinished at once, and what go() and try_go() do when there is no room."""

import threading
import time
from contextlib import nullcontext

import pytest
from conftest import HANG, nobodys, until
from cwaitgroup import Cancelled, Context, DeadlineExceeded, DeadlockError, ErrGroup


def test_never_more_than_the_limit():
    active, most, lock = 0, 0, threading.Lock()

    def task():
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        time.sleep(0.0005)
        with lock:
            active -= 1

    with ErrGroup(limit=10) as g:
        for _ in range(500):
            g.go(task)
    assert 1 < most <= 10 and g.completed == 500


def test_try_go_fills_the_limit_and_no_more(gate):
    with ErrGroup(limit=42) as g:
        tasks = [g.try_go(gate.wait) for _ in range(43)]
        assert None not in tasks[:42] and tasks[42] is None
        assert g.try_go(len, "x") is None
        gate.set()
        until(lambda: g.completed == 42)
        until(lambda: (task := g.try_go(len, "x")) is not None and task.result() == 1)


def test_go_blocks_until_there_is_room(gate):
    with ErrGroup(limit=1) as g:
        g.go(gate.wait)
        threading.Timer(0.05, gate.set).start()
        g.go(len, "x")
        assert gate.is_set()


def test_a_slot_is_free_when_its_task_is_waited_for():
    with ErrGroup(limit=1) as g:
        for _ in range(300):
            g.go(len, "x")
    assert g.completed == 300


@pytest.mark.parametrize("cause", [None, "enough"])
def test_cancellation_wakes_a_blocked_go(gate, cause):
    g = ErrGroup(limit=1)
    g.go(gate.wait)
    threading.Timer(0.05, g.cancel, [cause]).start()
    with pytest.raises(Cancelled):
        g.go(len, "x")
    gate.set()
    with nullcontext() if cause is None else pytest.raises(Cancelled):
        g.wait()


def test_an_error_wakes_a_blocked_go():
    def fail():
        time.sleep(0.02)
        raise KeyError

    with pytest.raises(KeyError), ErrGroup(limit=1) as g:
        while True:
            g.go(fail)


@pytest.mark.parametrize("limit", [0, -1, -(2**70), False])
def test_a_limit_below_one_is_refused(limit):
    with pytest.raises(ValueError, match="limit must be at least 1"):
        ErrGroup(limit)
    g = ErrGroup(3)
    with pytest.raises(ValueError, match=r"ErrGroup\.limit: limit must be at least 1; got"):
        g.limit = limit
    assert g.limit == 3


@pytest.mark.parametrize("limit", [2.0, "2", []])
def test_a_limit_of_another_type_is_refused(limit):
    with pytest.raises(TypeError, match="limit must be an int"):
        ErrGroup(limit)


def test_limit_is_shown():
    assert ErrGroup().limit is None
    assert ErrGroup(None).limit is None
    assert ErrGroup(limit=7).limit == 7
    assert ErrGroup(2**70).limit is None  # more than can ever be counted is no limit
    with pytest.raises(TypeError, match="cannot be deleted"):
        del ErrGroup(1).limit


def test_more_room_lets_blocked_calls_in(gate):
    with ErrGroup(limit=1) as g:
        g.go(gate.wait)
        ran = threading.Event()
        thread = threading.Thread(target=g.go, args=(ran.set,))
        thread.start()
        assert not ran.wait(0.02)
        g.limit = 2
        assert ran.wait(HANG)
        thread.join()
        g.limit = None
        assert g.limit is None
        for _ in range(50):
            g.go(gate.wait)
        gate.set()


def test_less_room_takes_effect_as_tasks_end(gate):
    with ErrGroup(limit=5) as g:
        for _ in range(5):
            g.go(gate.wait)
        g.limit = 2
        assert g.limit == 2
        assert g.try_go(len, "x") is None
        gate.set()
        until(lambda: g.try_go(len, "x"))


def test_resizing_while_tasks_come_and_go():
    with ErrGroup(limit=1) as g, ErrGroup() as resizers:

        def resize():
            for i in range(300):
                g.limit = None if i % 7 == 0 else i % 5 + 1

        resizers.go(resize)
        for _ in range(2000):
            g.go(int)
    assert g.completed == 2000


def test_certain_deadlock_in_go(gate):
    """All tasks that the limit allows wait in go() for room that only they could make."""
    g = ErrGroup(limit=2)
    both = threading.Barrier(2)

    def task():
        both.wait()
        g.go(len, "x")

    g.go(task)
    g.go(task)
    with pytest.raises(DeadlockError, match=r"ErrGroup.go\(\): called from the group's own task '.*task'.*limit"):
        g.wait()


def test_waiting_from_inside():
    g = ErrGroup()

    def inside():
        with pytest.raises(DeadlockError, match="ErrGroup.wait.*own task '.*inside'.*wait for itself"):
            g.wait()
        return "ok"

    task = g.go(inside)
    g.wait()
    assert task.result() == "ok"


def test_waiting_when_the_arguments_of_a_task_go():
    """Their __del__ runs when the function has returned but its task has not ended."""

    class Waits:
        def __del__(self):
            with pytest.raises(DeadlockError, match="ErrGroup.wait.*own task .*wait for itself"):
                g.wait()
            told.append(True)

    told = []
    handed_over = threading.Event()
    g = ErrGroup()
    g.go(lambda _: handed_over.wait(HANG), nobodys(Waits))
    handed_over.set()
    g.wait()
    assert told == [True]


def test_try_go_inside_a_task_is_fine():
    with ErrGroup(limit=1) as g:
        assert g.go(lambda: g.try_go(len, "x")).result() is None


def test_a_backlog_is_queued_ahead_before_go_blocks(gate):
    g = ErrGroup(limit=2, backlog=3)
    assert g.backlog == 3 and ErrGroup().backlog == 0
    for _ in range(5):
        g.go(gate.wait)
    until(lambda: g.running == 2)
    assert g.pending == 3
    assert g.try_go(int) is None  # which takes a slot or nothing
    with pytest.raises(DeadlineExceeded):
        g.start(int, context=Context(timeout=0.02))
    gate.set()
    g.wait()
    assert g.completed == 5


def test_map_takes_as_many_items_as_limit_and_backlog(gate):
    taken = []

    def items():
        for n in range(50):
            taken.append(n)
            yield n

    def work(n):
        gate.wait()
        return n

    with ErrGroup(limit=2, backlog=3) as g, ErrGroup() as caller:
        mapped = caller.go(g.map, work, items())
        until(lambda: len(taken) == 5 and g.running == 2)
        assert g.pending == 3
        gate.set()
        assert mapped.result() == list(range(50))
    assert g.completed == 50


@pytest.mark.parametrize(
    ("backlog", "kind"), [(-1, ValueError), (-(2**70), ValueError), (1.5, TypeError), (None, TypeError)]
)
def test_a_backlog_that_cannot_be(backlog, kind):
    with pytest.raises(kind, match=r"ErrGroup\(\): backlog must be"):
        ErrGroup(1, backlog=backlog)
    assert ErrGroup(1, backlog=2**70).backlog > 2**20
