"""Queue: a queue.Queue whose get() and put() end with a context."""

import copy
import pickle
import queue
import threading
import time
from contextlib import suppress

import pytest
from conftest import HANG, until
from cwaitgroup import Cancelled, Context, DeadlineExceeded, ErrGroup, Queue, ShutDown, WaitTimeout


def test_it_is_a_queue():
    q = Queue(2)
    assert isinstance(q, queue.Queue)
    q.put(1)
    q.put_nowait(2)
    assert (q.qsize(), q.full(), q.empty(), q.maxsize) == (2, True, False, 2)
    for put in (
        lambda: q.put_nowait(3),
        lambda: q.put(3, False),
        lambda: q.put(3, timeout=0.01),
        lambda: q.put(3, True, 0),
    ):
        with pytest.raises(queue.Full):
            put()
    assert [q.get(), q.get_nowait()] == [1, 2]
    for get in (q.get_nowait, lambda: q.get(False), lambda: q.get(timeout=0.01), lambda: q.get(True, 0)):
        with pytest.raises(queue.Empty):
            get()


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_that_cannot_be(timeout):
    for call in (Queue().get, lambda timeout: Queue().put(1, timeout=timeout)):
        with pytest.raises(ValueError, match="timeout must be"):
            call(timeout=timeout)


def test_a_pipeline():
    numbers, squares = Queue(maxsize=2), Queue(maxsize=2)

    def produce():
        for n in range(100):
            numbers.put(n)
        numbers.shutdown()

    def square():
        for n in numbers:
            squares.put(n * n)

    with ErrGroup() as g:
        g.go(produce)
        with ErrGroup() as workers:
            for _ in range(3):
                workers.go(square)
            total = g.go(lambda: sum(squares))
            workers.wait()
            squares.shutdown()
    assert total.result() == sum(n * n for n in range(100))


def test_a_failing_stage_ends_the_others():
    numbers = Queue(maxsize=1)

    def produce():
        n = 0
        while True:
            numbers.put(n)
            n += 1

    def consume():
        for n in numbers:
            if n == 10:
                raise KeyError(n)

    with pytest.raises(KeyError), ErrGroup() as g:
        producer = g.go(produce)
        g.go(consume)
    assert producer.cancelled()


def test_a_context_ends_get_and_put():
    full = Queue(1)
    full.put(1)
    for wait in (Queue().get, lambda context: full.put(2, context=context)):
        ctx = Context()
        threading.Timer(0.02, ctx.cancel, ["enough"]).start()
        with pytest.raises(Cancelled, match="enough"):
            wait(context=ctx)
        with pytest.raises(DeadlineExceeded):
            wait(context=Context(timeout=0.02))
    assert list(full.queue) == [1]


def test_waits_that_end_leave_nothing_behind_and_lose_no_item():
    q = Queue()
    got = []
    stop = Context()

    def reader():
        while not stop.cancelled():
            with suppress(DeadlineExceeded):
                got.append(q.get(context=Context(timeout=0.001)))

    with ErrGroup() as g:
        for _ in range(4):
            g.go(reader)
        for n in range(1000):
            q.put(n)
            if n % 10 == 0:
                time.sleep(0.001)
        until(lambda: len(got) == 1000)
        stop.cancel()
    assert sorted(got) == list(range(1000))
    assert not q.not_empty._waiters and not q.not_full._waiters


def test_join():
    q = Queue()
    q.put(1)
    with pytest.raises(WaitTimeout, match=r"Queue.join\(\): 1 item"):
        q.join(0.01)
    threading.Timer(0.02, q.task_done).start()
    q.join(HANG)
    with pytest.raises(ValueError):
        q.task_done()


@pytest.mark.parametrize("immediate", [False, True])
def test_shutdown(immediate):
    q = Queue(1)
    q.put("last")
    with pytest.raises(ShutDown), ErrGroup() as g:  # the error of a task is the group's
        blocked = g.go(q.put, "never")
        until(lambda: q.not_full._waiters)
        q.shutdown(immediate)
        blocked.result()
    with pytest.raises(ShutDown):
        q.put("never")
    assert list(q) == ([] if immediate else ["last"])
    with pytest.raises(ShutDown):
        q.get()


def test_shutdown_wakes_all_readers():
    q = Queue()
    with ErrGroup() as g:
        readers = [g.go(lambda: list(q)) for _ in range(5)]
        until(lambda: len(q.not_empty._waiters) == 5)
        q.shutdown()
    assert [task.result() for task in readers] == [[]] * 5


def test_it_shows_what_it_holds_and_who_waits():
    q = Queue(1)
    assert repr(q) == "<cwaitgroup.Queue items=0 maxsize=1 unfinished=0 getting=0 putting=0>"
    q.put(1)
    with pytest.raises(ShutDown), ErrGroup() as g:
        g.go(q.put, 2)
        until(lambda: repr(q) == "<cwaitgroup.Queue items=1 maxsize=1 unfinished=1 getting=0 putting=1>")
        q.shutdown()
        assert repr(q).endswith(" shut down>")


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_it_is_not_copied(copied):
    with pytest.raises(TypeError, match="share the object itself"):
        copied(Queue())
