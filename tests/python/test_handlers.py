"""Signal handlers that raise at any moment, in calls that are written in Python: what they raise comes out, and what
was called works as before."""

import pytest

# Calls CALL many times, with a signal at a moment of its own in each, whose handler raises. Nothing else may come out.
PROGRAM = """
import faulthandler, queue, random, signal, sys, threading, time
from contextlib import suppress
from concurrent.futures import Executor, Future
from cwaitgroup import *
faulthandler.dump_traceback_later(55, exit=True)
class Boom(Exception): pass
armed = False
def handler(*args):
    if armed:
        raise Boom
signal.signal(signal.SIGALRM, handler)
lost = []
sys.unraisablehook = lambda args: lost.append(args.exc_type)
q, full = Queue(1), Queue(1)
full.put(0)
ended = ErrGroup()
tasks = [ended.go(int) for _ in range(5)]
ended.wait()
def call():
{call}
booms, start = 0, time.monotonic()
while not (booms and time.monotonic() > start + 2) and booms < 500:
    try:
        armed = True
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 4e-4))
        call()
        armed = False
    except Boom:
        booms += 1
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
{then}
print("well", lost)
"""

CALLS = {
    "Queue.get": (
        "    with suppress(queue.Empty):\n        q.get(timeout=0.0003)",
        "assert not q.mutex.locked() and q.empty()\n"
        "threading.Timer(0.05, q.put, [1]).start()\nassert q.get(timeout=30) == 1 and not len(q.not_empty)",
    ),
    "Queue.put": (
        "    with suppress(queue.Full):\n        full.put(1, timeout=0.0003)",
        "assert not full.mutex.locked() and full.get() == 0\nfull.put(1, timeout=30)",
    ),
    "as_completed": (
        "    with ErrGroup() as g:\n        assert len(list(as_completed([g.go(int) for _ in range(5)]))) == 5",
        "",
    ),
    "as_completed of tasks that have ended": ("    assert len(list(as_completed(tasks))) == 5", ""),
    "map": ("    with ErrGroup(limit=2) as g:\n        assert g.map(abs, range(5)) == list(range(5))", ""),
    "imap": ("    with ErrGroup(limit=2) as g:\n        assert list(g.imap(abs, range(5))) == list(range(5))", ""),
}


@pytest.mark.parametrize(("call", "then"), CALLS.values(), ids=CALLS.keys())
def test_what_a_handler_raises_comes_out_and_everything_goes_on(run, call, then):
    assert run(PROGRAM.format(call=call, then=then)) == "well []"


def test_what_a_handler_raises_inside_submit_is_the_callers(run):
    """And not the executor's refusal; the executor may have the call already, and run it when the task has ended."""
    out = run("""
        import signal, threading
        from concurrent.futures import ThreadPoolExecutor
        from cwaitgroup import *
        class Boom(Exception): pass
        def handler(signum, frame):
            raise Boom
        signal.signal(signal.SIGUSR1, handler)
        class Interrupted(ThreadPoolExecutor):
            def submit(self, fn, /, *args):
                self.future = super().submit(fn, *args)
                signal.raise_signal(signal.SIGUSR1)
        ran = []
        with Interrupted(1) as executor:
            begun, go = threading.Event(), threading.Event()
            executor._work_queue  # busy, so that the call is still to come
            ThreadPoolExecutor.submit(executor, lambda: (begun.set(), go.wait(60)))
            begun.wait(60)
            g = ErrGroup(executor=executor)
            try:
                g.go(ran.append, 1)
            except Boom:
                print("Boom", g.errors, g.running, g.pending)
            go.set()
            print(executor.future.result(60), ran)
            g.wait()
    """)
    assert out == "Boom () 0 0\nNone []"


@pytest.mark.parametrize(
    "call",
    ["ctx.add_callback(interrupt); ctx.cancel()", "g.wait(); task.add_done_callback(lambda task: interrupt())"],
    ids=["a context", "a task"],
)
def test_ctrl_c_in_a_callback_is_not_lost(run, call):
    out = run(f"""
        import signal, time
        from cwaitgroup import *
        signal.signal(signal.SIGINT, signal.default_int_handler)
        def interrupt():
            signal.raise_signal(signal.SIGINT)
        ctx, g = Context(), ErrGroup()
        task = g.go(int)
        try:
            {call}
            for _ in range(1000):
                time.sleep(0.001)
        except KeyboardInterrupt:
            print("interrupted", ctx.cancelled(), task.done())
        g.wait()
    """)
    assert out.startswith("interrupted")


def test_a_submit_that_is_interrupted_anywhere_keeps_nobody_waiting(run):
    """At each line in turn an exception comes up, as from a handler."""
    out = run("""
        import sys
        from cwaitgroup import *
        class Boom(Exception): pass
        def raise_at(line):
            seen = 0
            def trace(frame, event, arg):
                nonlocal seen
                if frame.f_code.co_name != "submit":
                    return None
                if event == "line":
                    seen += 1
                    if seen == line:
                        raise Boom
                return trace
            return trace
        lines = 0
        with ErrGroup(timeout=60) as g:
            while True:
                executor = g.as_executor()
                sys.settrace(raise_at(lines + 1))
                try:
                    executor.submit(abs, 1)
                except Boom:
                    lines += 1
                else:
                    break
                finally:
                    sys.settrace(None)
                executor.shutdown()
        print(lines > 5)
    """)
    assert out == "True"
