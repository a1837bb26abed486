"""The end of the interpreter: prompt and clean, whatever is still going on."""

import sys
import time

import pytest

BEGIN = """
import atexit, sys, threading, time
from cwaitgroup import *

def compute():
    while True:
        sum(range(100))
"""

ENDS = {
    "nothing was used": "",
    "workers are idle": "with ErrGroup() as g: g.map(str, range(100))",
    "tasks sleep": "for _ in range(20): WaitGroup().go(time.sleep, 3600)",
    "tasks compute": "for _ in range(3): WaitGroup().go(compute)",
    "tasks wait for us": "g = ErrGroup()\nfor _ in range(20): g.go(g.context.wait)",
    "tasks wait for each other": "wg = WaitGroup(1)\nfor _ in range(20): wg.go(wg.wait, 3600)",
    "many tasks are queued": "wg = WaitGroup()\nfor _ in range(10000): wg.go(time.sleep, 0.01)",
    "a daemon thread waits": "threading.Thread(target=WaitGroup(1).wait, daemon=True).start()\ntime.sleep(0.05)",
    "a daemon thread feeds a group": """
def feed():
    try:
        with ErrGroup() as g:
            while True:
                g.go(int)
    except Cancelled:
        pass
threading.Thread(target=feed, daemon=True).start()
time.sleep(0.05)
""",
    "a deadline is ahead": "keep = Context(timeout=3600)",
    "deadlines pass with callbacks": """
keep = [Context(timeout=i / 2000) for i in range(200)]
for ctx in keep:
    ctx.add_callback(lambda: time.sleep(0.001))
""",
    "callbacks are registered": "keep = Context(); keep.add_callback(lambda: None); keep.fileno()",
    "an object is used by atexit": "wg = WaitGroup(); atexit.register(lambda: (wg.add(), wg.done(), wg.wait()))",
    "a cycle holds everything": "g = ErrGroup(); l = [g, g.go(len, 'x'), g.context]; l.append(l)",
}


@pytest.mark.parametrize("code", ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("options", [(), ("-X", "dev", "-W", "ignore::ResourceWarning")], ids=["", "dev"])
def test_exits_promptly(child, code, options):
    start = time.monotonic()
    status, out, err = child(BEGIN + code, *options, PYTHONMALLOC="debug").end()
    assert (status, out, err) == (0, "", "")
    assert time.monotonic() - start < 30  # not 3600


def test_exits_promptly_many_times(child):
    """Ends while threads start, sleep, wake and finish; a crash is rare here, and would be a bug."""
    code = (
        BEGIN
        + """
wg = WaitGroup()
for i in range(int(sys.argv[1])):
    wg.go(time.sleep, 0.0001)
"""
    )
    for i in range(25):
        program = child(code.replace("int(sys.argv[1])", str(i * 3)))
        assert program.end() == (0, "", "")


def test_the_exit_status_is_the_programs(child):
    assert child(BEGIN + ENDS["tasks compute"] + "\nsys.exit(7)").end() == (7, "", "")


def test_threads_that_outlive_the_main_one_can_use_groups(run):
    out = run(
        BEGIN
        + """
def later():
    time.sleep(0.3)
    try:
        threading.Thread(target=int).start()
    except RuntimeError:
        print("Python itself starts no threads any more")
    else:
        with ErrGroup() as g:
            print(g.go(pow, 2, 5).result())
threading.Thread(target=later).start()
"""
    )
    early_end = (3, 12, 0) <= sys.version_info < (3, 12, 3)  # CPython's gh-113964
    assert out == ("Python itself starts no threads any more" if early_end else "32")


def test_running_tasks_hear_of_the_exit(run):
    out = run("""
        import atexit, threading
        told = threading.Event()
        atexit.register(lambda: print(told.wait(60)))  # before the package's own, so it runs after it
        from cwaitgroup import WaitGroup, Context
        ctx = Context()
        WaitGroup().go(lambda: (ctx.wait(), told.set()))
    """)
    assert out == "True"


def test_nothing_starts_any_more_after_the_end(run):
    out = run("""
        import atexit
        def late():
            for go in (WaitGroup().go, ErrGroup().go):
                try:
                    go(print, "never")
                except (RuntimeError, Cancelled) as error:
                    print(error)
        atexit.register(late)  # before the package's own, so it runs after it
        from cwaitgroup import *
    """)
    assert out.splitlines() == [
        "WaitGroup.go(): the interpreter is shutting down and starts no more tasks",
        "ErrGroup.go(): group cancelled: the Python interpreter is shutting down",
    ]


def test_an_import_that_is_dropped_and_repeated(run):
    """Each import has its own types and pool; the older ones go on."""
    out = run("""
        import sys, gc
        import cwaitgroup as first
        g = first.ErrGroup()
        for name in [n for n in sys.modules if n.startswith("cwaitgroup")]:
            del sys.modules[name]
        import cwaitgroup as second
        print(first.ErrGroup is second.ErrGroup, g.go(len, "xx").result())
        g.wait()
        with second.ErrGroup() as h:
            print(h.go(len, "xxx").result())
        del first, g
        gc.collect()
    """)
    assert out == "False 2\n3"


def test_a_worker_may_exit_the_process(child):
    code = BEGIN + "import os\nwg = WaitGroup()\nwg.go(os._exit, 5)\nwg.wait()"
    assert child(code).end() == (5, "", "")


def test_system_exit_in_a_task_is_only_its_error(run):
    out = run(
        BEGIN
        + """
wg = WaitGroup()
wg.go(sys.exit, 3)
wg.wait()
try:
    with ErrGroup() as g:
        g.go(sys.exit, 4)
except SystemExit as error:
    print(error.code)
"""
    )
    assert out == "4"
