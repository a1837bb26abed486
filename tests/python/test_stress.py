"""Many threads at once, in ways that no other test combines; what must hold holds all the time."""

import contextlib
import random
import threading
import time

from conftest import HANG, until
from cwaitgroup import Cancelled, Context, ErrGroup, WaitGroup, _core, as_completed, current_context

SECONDS = 1.0


class Boom(Exception):
    pass


def run_in_threads(n, function):
    errors = []

    def guarded(i):
        try:
            function(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(i,), daemon=True) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]


def for_a_while():
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        yield


def test_groups_made_used_failed_and_cancelled_from_many_threads():
    shared = Context()

    def work(depth, choose):
        kind = choose.random()
        if kind < 0.1:
            raise Boom
        if kind < 0.2:
            current_context().check()
        if kind < 0.3:
            current_context().wait(0.0001)
        if depth and kind > 0.7:
            use_a_group(depth - 1, choose.random())

    def use_a_group(depth, seed):
        choose = random.Random(seed)
        g = ErrGroup(
            choose.choice([None, 1, 2, 5]),
            timeout=choose.choice([None, 0.001, HANG]),
            context=current_context() or shared,
            name=choose.choice([None, "x"]),
        )
        tasks = []
        try:
            with g:
                for _ in range(choose.randrange(20)):
                    task = g.try_go(work, depth, choose) if choose.random() < 0.3 else g.go(work, depth, choose)
                    if task:
                        tasks.append(task)
                    if choose.random() < 0.02:
                        g.cancel(choose.choice([None, "why"]))
                    if choose.random() < 0.1:
                        g.limit = choose.choice([None, 1, 3])
        except (Boom, Cancelled):
            pass
        assert all(task.done() for task in tasks)
        assert (g.pending, g.running, g.completed) == (0, 0, len(tasks))
        assert g.context.cancelled()
        if g.errors:
            assert any(task.exception() is g.errors[0] for task in tasks if not task.cancelled())

    def thread(i):
        for n, _ in enumerate(for_a_while()):
            use_a_group(2, i * 100_000 + n)

    run_in_threads(4, thread)
    assert not shared.cancelled()


def test_waiters_come_and_go_while_the_count_moves():
    wg, stop = WaitGroup(), threading.Event()

    def thread(i):
        if i == 0:
            for _ in for_a_while():
                wg.add(3)
                wg.add(-2)
                wg.done()
            stop.set()
        elif i < 3:
            while not stop.is_set():
                wg.wait(random.random() * 0.001)
        else:
            while not stop.is_set():
                with Context(timeout=random.random() * 0.001) as ctx, contextlib.suppress(Cancelled):
                    wg.wait(context=ctx)

    run_in_threads(5, thread)
    assert wg.count == 0 and wg.wait(0)


def test_results_are_read_while_tasks_end():
    def thread(i):
        for _ in for_a_while():
            with ErrGroup() as g:
                tasks = [g.go(abs, -n) for n in range(50)]
                repr(g), [repr(task) for task in tasks], [task.name for task in tasks]
                assert [task.result(HANG) for task in tasks] == list(range(50))
                assert len(list(as_completed(tasks))) == 50

    run_in_threads(3, thread)


def test_callbacks_and_deadlines():
    def thread(i):
        for _ in for_a_while():
            parent = Context()
            children = [Context(parent, timeout=random.random() * 0.002) for _ in range(10)]
            called = WaitGroup(10)
            stops = [child.add_callback(called.done) for child in children]
            if random.random() < 0.5:
                parent.cancel("all")
            for stop in stops[:5]:
                if stop():
                    called.done()
            assert called.wait(HANG)

    run_in_threads(3, thread)


def test_dropping_everything_while_it_runs():
    def thread(i):
        for _ in for_a_while():
            wg = WaitGroup()
            for _ in range(10):
                wg.go(time.sleep, random.random() * 0.0001)
            ctx = Context(Context(timeout=random.random() * 0.001))
            ctx.add_callback(lambda: None)
            del wg, ctx

    run_in_threads(3, thread)
    until(lambda: _core._pool_counts()[1] == 0)  # leave no work to the next test
