"""Workers: ordinary threads, reused, as many as needed, gone when idle."""

import sys
import threading
import time

import pytest
from conftest import HANG, until
from cwaitgroup import ErrGroup, WaitGroup, _core


def test_they_are_threads_like_any_other():
    with ErrGroup() as g:
        thread = g.go(threading.current_thread).result()
    assert type(thread) is threading.Thread
    assert thread in threading.enumerate()
    assert thread.daemon and thread is not threading.main_thread()
    assert thread.name.startswith("cwaitgroup-")


def test_their_names_tell_the_group():
    def name():
        return threading.current_thread().name

    with ErrGroup(name="fetch") as fetch, ErrGroup() as other:
        for _ in range(20):
            assert fetch.go(name).result().startswith("fetch-")
            assert other.go(name).result().startswith("cwaitgroup-")
    wg, names = WaitGroup(), []
    wg.go(lambda: names.append(name()))
    wg.wait()
    assert names[0].startswith("cwaitgroup-")


def test_few_serve_many_short_tasks(run):
    out = run("""
        import threading
        from cwaitgroup import ErrGroup
        idents = set()
        with ErrGroup() as g:
            for _ in range(20000):
                g.go(lambda: idents.add(threading.get_ident()))
        print(len(idents))
    """)
    assert 1 <= int(out) < 50


def test_thread_locals_survive_from_task_to_task(run):
    """One thread state serves all tasks of a worker."""
    out = run("""
        import threading
        from cwaitgroup import ErrGroup
        local = threading.local()
        def bump():
            local.n = getattr(local, "n", 0) + 1
            return local.n
        with ErrGroup(limit=1) as g:
            print(max(g.go(bump).result() for _ in range(1000)))
    """)
    assert int(out) > 100


@pytest.mark.parametrize("tasks", [10, 300])
def test_tasks_that_block_each_get_a_thread(tasks):
    barrier = threading.Barrier(tasks)
    with ErrGroup() as g:
        for _ in range(tasks):
            g.go(barrier.wait, HANG)


def test_tasks_that_wait_for_each_other_by_our_own_means():
    with ErrGroup() as g:
        first = g.go(lambda: "x")
        for _ in range(200):
            first = g.go(lambda before=first: before.result() + "x")
    assert len(first.result()) == 201


def test_nesting_never_runs_out_of_threads():
    def work(depth):
        if depth == 0:
            return 1
        with ErrGroup() as g:
            tasks = [g.go(work, depth - 1) for _ in range(2)]
        return sum(task.result() for task in tasks)

    assert work(7) == 128


def test_nested_limits_of_one():
    def work(depth):
        if depth:
            with ErrGroup(limit=1) as g:
                for _ in range(3):
                    g.go(work, depth - 1)

    work(4)


def test_a_task_that_computes_does_not_hold_up_others():
    stop = threading.Event()

    def compute():
        while not stop.is_set():
            sum(range(100))

    with ErrGroup() as g:
        g.go(compute)
        assert g.go(len, "x").result(HANG) == 1
        stop.set()


@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="without a GIL nobody has to let go")
def test_tasks_in_c_let_other_threads_run(run):
    """Functions written in C never give the interpreter up by themselves, so workers do between tasks."""
    out = run("""
        import sys, threading
        from cwaitgroup import ErrGroup
        beats, begin, end = [0], threading.Event(), threading.Event()
        def beat():
            begin.wait()
            while not end.is_set():
                beats[0] += 1
        def others_ran():
            with ErrGroup() as g:
                # Nobody but us should run before we wait. Who asked for the interpreter earlier may still get it, and
                # then keeps it for as long: a second, so that this ends all the same.
                sys.setswitchinterval(1)
                begin.set()
                before = g.go(beats.copy)
                for _ in range(300_000):
                    g.go(int)
                after = g.go(beats.copy)
                queued = not before.done()
                sys.setswitchinterval(0.005)
            return queued and after.result() > before.result()
        with ErrGroup() as g:
            g.go(int).result()
        thread = threading.Thread(target=beat)
        thread.start()
        # More than once: a run does not count if tasks ran before all were queued; and the worker may have the
        # interpreter back before the beating thread has woken, who asks for it only after that second.
        ran = any(others_ran() for _ in range(20))
        end.set()
        thread.join()
        print(ran)
    """)
    assert out == "True"


def test_tracing_and_profiling_see_tasks(run):
    out = run("""
        import sys, threading
        from cwaitgroup import ErrGroup
        traced, profiled = set(), set()
        def trace(frame, event, arg):
            traced.add(frame.f_code.co_name)
        def profile(frame, event, arg):
            profiled.add(frame.f_code.co_name)
        def task(): pass
        threading.settrace(trace)
        threading.setprofile(profile)
        with ErrGroup() as g:
            g.go(task)
        threading.settrace(None)
        threading.setprofile(None)
        print("task" in traced, "task" in profiled)
    """)
    assert out == "True True"


def test_idle_ones_go():
    with ErrGroup() as g:
        thread = g.go(threading.current_thread).result()
    until(lambda: not thread.is_alive() and _core._pool_counts() == (0, 0))
    with ErrGroup() as g:
        assert g.go(len, "x").result() == 1


def test_no_thread_is_made_by_an_import(run):
    assert run("import threading, cwaitgroup; print(threading.active_count())") == "1"


def test_no_thread_to_be_had(run):
    out = run("""
        import threading
        from cwaitgroup import ErrGroup, WaitGroup
        def refuse(self):
            raise RuntimeError("can't start new thread")
        start, threading.Thread.start = threading.Thread.start, refuse
        wg, g = WaitGroup(), ErrGroup()
        for go in (wg.go, g.go, g.try_go):
            try:
                go(print, "never")
            except RuntimeError as error:
                print(error)
        print(wg.count, g.pending, g.running)
        threading.Thread.start = start
        print(g.go(len, "xx").result())
        g.wait()
    """)
    assert out.splitlines() == [
        "WaitGroup.go(): no thread could be started",
        "ErrGroup.go(): no thread could be started",
        "ErrGroup.try_go(): no thread could be started",
        "0 0 0",
        "2",
    ]


def test_the_recursion_limit_of_a_task_is_its_own():
    def deep(n):
        return 0 if n == 0 else 1 + deep(n - 1)

    g = ErrGroup()
    assert g.go(deep, sys.getrecursionlimit() // 2).result()
    with pytest.raises(RecursionError):
        g.go(deep, 10**6).result()
    with pytest.raises(RecursionError):
        g.wait()


def test_a_burst_after_silence():
    for _ in range(30):
        with ErrGroup() as g:
            for _ in range(100):
                g.go(int)
        time.sleep(0.001)
