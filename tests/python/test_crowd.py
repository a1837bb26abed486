"""Thousands of threads that start and wake at once: only a few of them ask for the GIL at a time."""

import sys

import pytest

# Without a GIL plain threads take four times as long for twice as many.
CROWD = 5000 if getattr(sys, "_is_gil_enabled", lambda: True)() else 1000


def test_the_main_thread_has_few_others_start_its_workers(run):
    """A thread that has made objects and ended costs a free-threaded Python a search at the start of each later one."""
    out = run("""
        import threading
        from cwaitgroup import *
        started, helpers = [], set()
        start_thread = threading.Thread.start
        def start(thread):
            if threading.get_ident() not in threading._active:
                started.append(thread)
                helpers.add(threading.get_native_id())
            start_thread(thread)
        threading.Thread.start = start
        gate = WaitGroup(1)
        g = ErrGroup()
        for _ in range(300):
            there = WaitGroup(1)
            g.go(lambda there=there: (there.done(), gate.wait()))
            there.wait()
        gate.done()
        g.wait()
        print(len(started), len(helpers))
    """)
    started, helpers = map(int, out.split())
    assert started >= 100
    assert helpers <= started / 2


@pytest.mark.parametrize("release", ["gate.done()", "g.cancel()"], ids=["by a count", "by a context"])
def test_a_crowd_is_released_as_fast_as_plain_threads(run, release):
    """Each thread that waits for the GIL asks again every 5 ms: thousands of them took twenty times as long."""
    out = run(f"""
        import threading, time
        from cwaitgroup import *
        N = {CROWD}
        threading.stack_size(256 * 1024)
        there, event = threading.Semaphore(0), threading.Event()
        def plain():
            there.release()
            event.wait()
        threads = [threading.Thread(target=plain) for _ in range(N)]
        for thread in threads: thread.start()
        for _ in range(N): there.acquire()
        start = time.monotonic()
        event.set()
        for thread in threads: thread.join()
        theirs = time.monotonic() - start
        gate, there = WaitGroup(1), WaitGroup(N)
        def task():
            there.done()
            gate.wait()
        g = ErrGroup()
        for _ in range(N): g.go(task)
        there.wait()
        start = time.monotonic()
        {release}
        try:
            g.wait(100)
        except Cancelled:
            pass
        ours = time.monotonic() - start
        print(g.completed if ours < 3 * theirs + 5 else f"{{ours}} s, and threads {{theirs}} s")
    """)
    assert out == str(CROWD)


def test_the_line_is_served_while_others_use_the_interpreter(run):
    out = run("""
        import threading
        from cwaitgroup import *
        stop, beats = threading.Event(), [0]
        def compute():
            while not stop.is_set():
                sum(range(1000))
                beats[0] += 1
        threads = [threading.Thread(target=compute) for _ in range(3)]
        for thread in threads: thread.start()
        gate = WaitGroup(1)
        with ErrGroup() as g:
            for _ in range(100):
                g.go(gate.wait)
            before = beats[0]
            gate.done()
        stop.set()
        for thread in threads: thread.join()
        print(g.completed)
    """)
    assert out == "100"
