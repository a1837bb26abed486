"""Forks under load, from wherever a program may fork, with each kind of call in the child. WG_TEST_EFFORT=50 makes
thousands of them."""

import os

import pytest
from conftest import EFFORT, HANG

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

FORKS = max(1, int(20 * EFFORT))

# Threads that use everything while `fork_and_check()` forks.
LOAD = """
import asyncio, os, signal, subprocess, sys, threading, time, warnings
import multiprocessing
warnings.simplefilter("ignore")
from cwaitgroup import *

asyncio.run(asyncio.sleep(0))
stop = threading.Event()
shared, limited = ErrGroup(), ErrGroup(limit=2)

def feed():
    while not stop.is_set():
        with ErrGroup(limit=3) as g:
            g.map(abs, range(20))

def refuse():
    over = ErrGroup()
    over.cancel()
    while not stop.is_set():
        try:
            over.go(int)
        except Cancelled:
            pass

def call_back():
    while not stop.is_set():
        ctx = Context(timeout=0.0005)
        ctx.add_callback(int)
        ctx.add_callback(int)()
        ctx.wait()

def try_limited():
    while not stop.is_set():
        limited.try_go(int)
        WaitGroup(1).wait(0.0001)

def use():
    async def main():
        async with ErrGroup() as g:
            g.go(int)
        await Context(timeout=0.001)
    wg = WaitGroup()
    wg.go(int)
    assert wg.wait(60)
    with ErrGroup(limit=2, timeout=60) as g:
        assert g.map(abs, range(-3, 3)) == [3, 2, 1, 0, 1, 2]
        assert g.go(len, "x").result(60) == 1
        assert sum(task.done() for task in as_completed([g.go(int) for _ in range(3)])) == 3
    ctx, told = Context(timeout=0.001), threading.Event()
    ctx.add_callback(told.set)
    assert told.wait(60) and ctx.cancelled()
    asyncio.run(main())
    for group in (shared, limited):
        try:
            group.try_go(int)
        except RuntimeError as error:
            assert "left behind in the parent process by fork" in str(error)

def check_in_child():
    status = 1
    try:
        signal.alarm(50)  # a child that hangs is killed
        use()
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)

def fork_and_check():
    pid = os.fork()
    if pid == 0:
        check_in_child()
    assert os.waitpid(pid, 0)[1] == 0

threads = [threading.Thread(target=fn, daemon=True) for fn in (feed, refuse, call_back, try_limited)]
for thread in threads:
    thread.start()
"""

END = """
stop.set()
for thread in threads:
    thread.join()
print("ok")
"""

PLACES = {
    "the main thread": "for _ in range(FORKS): fork_and_check()",
    "a task": "with ErrGroup(limit=1) as g:\n    for _ in range(FORKS): g.go(fork_and_check)",
    "a callback": """
for _ in range(FORKS):
    ctx = Context()
    ctx.add_callback(fork_and_check)
    ctx.cancel()
""",
    "a signal handler": """
forked = []
signal.signal(signal.SIGUSR1, lambda *args: (fork_and_check(), forked.append(1)))
for _ in range(FORKS):
    before = len(forked)
    threading.Timer(0.002, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    while len(forked) == before:
        WaitGroup(1).wait(0.5)
""",
    "multiprocessing": """
context = multiprocessing.get_context("fork")
for _ in range(FORKS):
    process = context.Process(target=use)
    process.start()
    process.join(100)
    assert process.exitcode == 0, process.exitcode
""",
    "subprocess": """
for _ in range(FORKS):
    subprocess.run([sys.executable, "-c", ""], check=True, preexec_fn=use, timeout=100)
""",
}


@pytest.mark.timeout(HANG * 2)
@pytest.mark.parametrize("place", PLACES)
def test_forks_under_load(run, place):
    assert run(f"FORKS = {FORKS}\n{LOAD}\n{PLACES[place]}\n{END}") == "ok"
