"""Thousands of threads that wake at once: only a few of them ask for the GIL at a time."""

import pytest


@pytest.mark.parametrize("release", ["gate.done()", "g.cancel()"], ids=["by a count", "by a context"])
def test_a_crowd_is_released_as_fast_as_plain_threads(run, release):
    """Each thread that waits for the GIL asks again every 5 ms: 5000 of them took twenty times as long."""
    out = run(f"""
        import threading, time
        from cwaitgroup import *
        N = 5000
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
    assert out == "5000"


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
