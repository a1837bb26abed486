"""Ctrl-C: every blocking call of the main thread ends at once; groups let their tasks unwind first."""

import signal
import statistics
import time

import pytest

# A program that blocks in CALL after it has said "ready", and tells how that ended. Unless PREPARE says otherwise,
# whatever is blocked on would block for ever.
PROGRAM = """
import os, signal, sys, threading, time
from cwaitgroup import *

wg, ctx, g, gate = WaitGroup(1), Context(), ErrGroup(), threading.Event()
{prepare}
try:
    print("ready", flush=True)
    {call}
except BaseException as error:
    print(type(error).__name__, flush=True)
else:
    print("nothing", flush=True)
os._exit(0)
"""

BUSY = """
def compute():
    while True:
        sum(range(1000))
for _ in range(3):
    WaitGroup().go(compute)
"""

CALLS = {
    "WaitGroup.wait": "wg.wait()",
    "WaitGroup.wait with timeout": "wg.wait(3600)",
    "WaitGroup.wait with context": "wg.wait(context=ctx)",
    "with WaitGroup": "wg.__exit__(None, None, None)",
    "Context.wait": "ctx.wait()",
    "Context.wait with timeout": "ctx.wait(3600)",
    "Task.result": "g.go(gate.wait).result()",
    "Task.exception": "g.go(gate.wait).exception(3600)",
    "ErrGroup.go at the limit": "g.limit = 1; g.go(gate.wait); g.go(gate.wait)",
    "as_completed": "next(as_completed([g.go(gate.wait)]))",
    "Queue.get": "Queue().get()",
    "Queue.put": "q = Queue(1); q.put(1); q.put(2)",
    "ErrGroup.wait": "g.go(g.context.wait); g.wait()",
    "ErrGroup.wait with timeout": "g.go(g.context.wait); g.wait(3600)",
    "ErrGroup.map": "g.map(lambda _: g.context.wait(), [1, 2])",
    "with ErrGroup": "g.go(g.context.wait); g.__exit__(None, None, None)",
}


def interrupt(child, call, prepare="", number=signal.SIGINT, pause=0.1):
    """How `call` ended, and how many seconds after the signal."""
    program = child(PROGRAM.format(call=call, prepare=prepare))
    assert program.read_line() == "ready"
    time.sleep(pause)
    start = time.monotonic()
    program.process.send_signal(number)
    end = program.read_line()
    return end, time.monotonic() - start


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("prepare", ["", BUSY], ids=["idle", "busy workers"])
def test_interrupts_at_once(child, call, prepare):
    end, seconds = interrupt(child, call, prepare)
    assert end == "KeyboardInterrupt"
    assert seconds < 10  # it would have taken for ever; how long it takes is measured in the benchmarks


def test_the_signal_itself_ends_the_sleep(child):
    """And not the look for signals that the main thread takes every half second: ours are as fast as Event.wait."""

    def is_as_fast():
        ours, theirs = [], []
        for _ in range(7):
            for call, times in (("wg.wait()", ours), ("gate.wait()", theirs)):
                end, seconds = interrupt(child, call)
                assert end == "KeyboardInterrupt"
                times.append(seconds)
        return statistics.median(ours) < statistics.median(theirs) + 0.15

    assert any(is_as_fast() for _ in range(4))  # a busy machine may disturb one trial


def test_a_signal_just_before_the_wait_is_not_lost(child):
    """Wherever the signal comes: before, in or between the calls of a loop of waits."""
    for i in range(10):
        end, _ = interrupt(child, "while True: wg.wait(0.0001)" if i % 2 else "wg.wait()", pause=i / 5000)
        assert end == "KeyboardInterrupt"


def test_a_signal_that_another_thread_received(child):
    prepare = """
def send():
    time.sleep(0.3)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
threading.Thread(target=send, daemon=True).start()
"""
    program = child(PROGRAM.format(call="wg.wait()", prepare=prepare))
    assert program.read_line() == "ready"
    assert program.read_line() == "KeyboardInterrupt"


def test_a_handler_that_raises_nothing_lets_the_wait_go_on(child):
    prepare = """
signal.signal(signal.SIGUSR1, lambda *args: threading.Timer(0.05, wg.done).start())
"""
    assert interrupt(child, "assert wg.wait(3600)", prepare, signal.SIGUSR1)[0] == "nothing"


def test_the_timeout_is_not_prolonged_by_signals(child):
    prepare = """
signal.signal(signal.SIGALRM, lambda *args: None)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
"""
    program = child(PROGRAM.format(call="assert not wg.wait(0.5)", prepare=prepare))
    assert program.read_line() == "ready"
    assert program.read_line() == "nothing"


ways_to_wait = pytest.mark.parametrize(
    "block",
    [
        "with g:\n        g.go(task)",
        "g.go(task)\n    g.wait()",
        "g.map(task, [1])",
        "with g:\n        g.go(task)\n        time.sleep(3600)",
    ],
    ids=["with", "wait", "map", "body"],
)


@ways_to_wait
def test_tasks_unwind_before_the_interrupt_comes_out(child, block):
    prepare = """
def task(_=None):
    g.context.wait()
    time.sleep(0.3)
    print("unwound", type(g.context.cause).__name__, flush=True)
"""
    program = child(PROGRAM.format(call=block, prepare=prepare))
    assert program.read_line() == "ready"
    time.sleep(0.2)
    program.process.send_signal(signal.SIGINT)
    assert program.read_line() == "unwound KeyboardInterrupt"
    assert program.read_line() == "KeyboardInterrupt"


@ways_to_wait
def test_a_second_interrupt_leaves_at_once(child, block):
    prepare = """
def task(_=None):
    g.context.wait()
    print("stubborn", flush=True)
    gate.wait()
"""
    program = child(PROGRAM.format(call=block, prepare=prepare))
    assert program.read_line() == "ready"
    time.sleep(0.2)
    program.process.send_signal(signal.SIGINT)
    assert program.read_line() == "stubborn"
    time.sleep(0.1)
    program.process.send_signal(signal.SIGINT)
    assert program.read_line() == "KeyboardInterrupt"


def test_another_threads_wait_is_left_alone(child):
    program = child("""
        import threading
        from cwaitgroup import *
        wg, ctx = WaitGroup(1), Context()
        def wait():
            print(wg.wait(3600), flush=True)
        thread = threading.Thread(target=wait)
        thread.start()
        print("ready", flush=True)
        try:
            ctx.wait()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            wg.done()
            thread.join()
    """)
    assert program.read_line() == "ready"
    time.sleep(0.1)
    program.process.send_signal(signal.SIGINT)
    assert program.end() == (0, "interrupted\nTrue", "")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "raised",
    ["SoftTimeLimit('soft')", 'RuntimeError("can\'t start new thread")', "MemoryError()", "KeyboardInterrupt()"],
)
@pytest.mark.parametrize("go", ["g.go", "g.try_go", "wg.go"])
def test_what_a_handler_raises_while_a_thread_is_being_started(child, go, raised, moment):
    """It comes out of the call that was interrupted, as itself; and the task is not lost."""
    program = child(f"""
import _thread, signal, threading
from cwaitgroup import *
class SoftTimeLimit(Exception): pass
def handler(*args):
    raise {raised}
signal.signal(signal.SIGUSR1, handler)
def interrupt():
    _thread.interrupt_main(signal.SIGUSR1)
    for _ in range(100):
        pass
start = threading.Thread.start
def slow_start(self):
    if {moment!r} == "before":
        interrupt()
    start(self)
    if {moment!r} == "after":
        interrupt()
threading.Thread.start = slow_start
g, wg, ran = ErrGroup(), WaitGroup(), []
try:
    {go}(ran.append, 1)
    for _ in range(100):
        pass
    print("nothing")
except BaseException as error:
    print(repr(error))
threading.Thread.start = start
g.wait()
print(wg.wait(60), ran)
""")
    assert program.end() == (0, f"{raised}\nTrue [1]", "")


def test_finalizers_and_tracing_do_not_run_inside_the_call_that_starts_a_thread(child):
    """What they raise there would be taken for a thread that could not be started."""
    program = child("""
import sys, threading
from cwaitgroup import *
def trace(frame, event, arg):
    if frame.f_code.co_name == "start":
        raise ValueError("from the tracing function")
sys.settrace(trace)
g = ErrGroup()
task = g.go(len, "xx")
sys.settrace(None)
g.wait()
print(task.result())
""")
    assert program.end() == (0, "2", "")
