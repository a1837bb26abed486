"""After a fork: the child starts afresh, and what was left in the parent is an error there, not a hang."""

import os

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

# PARENT runs, then the child of a fork runs CHILD, and the parent CLOSING.
PROGRAM = """
import os, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of fork in a process with threads
from cwaitgroup import *
gate = threading.Event()
{parent}
pid = os.fork()
if pid == 0:
    try:
        {child}
        print("child ok", flush=True)
        os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    os._exit(1)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
gate.set()
{closing}
sys.exit(status)
"""


def indent(text, by):
    return text.strip().replace("\n", "\n" + " " * by)


@pytest.fixture
def fork(run):
    def fork(parent, child, closing=""):
        code = PROGRAM.format(parent=parent, child=indent(child, 8), closing=closing)
        return run(code, "-X", "faulthandler")

    return fork


def test_idle_objects_work_in_the_child(fork):
    fork(
        """
wg, ctx, g = WaitGroup(), Context(), ErrGroup()
with ErrGroup() as used:
    used.map(str, range(100))
""",
        """
assert wg.wait(0)
wg.go(print, "in the child")
assert wg.wait(30)
assert g.go(pow, 2, 3).result(30) == 8
g.wait()
assert not ctx.cancelled()
ctx.cancel("x")
assert ctx.cause == "x"
assert Context(timeout=0.01).wait(30)
""",
        """
assert g.go(pow, 2, 4).result(30) == 16
g.wait()
assert not ctx.cancelled()
""",
    )


def test_tasks_in_flight_stay_in_the_parent(fork):
    fork(
        """
wg, g = WaitGroup(), ErrGroup()
wg.go(gate.wait)
task = g.go(gate.wait)
while not task.running(): time.sleep(0.001)
iterator = as_completed([task])
""",
        """
def refused(call):
    try:
        call()
    except RuntimeError as error:
        assert "left behind in the parent process by fork" in str(error), error
    else:
        raise AssertionError(call)
refused(lambda: wg.wait(30))
refused(lambda: g.wait(30))
refused(lambda: task.result(30))
refused(lambda: next(as_completed([task])))
refused(lambda: next(iterator))
refused(lambda: g.go(len, "x"))
with ErrGroup() as fresh:
    assert fresh.go(pow, 2, 3).result(30) == 8
""",
        """
g.wait()
assert wg.wait(30) and task.result() is True
""",
    )


def test_a_fork_inside_a_task(run):
    out = run("""
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from cwaitgroup import *
        def task():
            pid = os.fork()
            if pid == 0:
                try:
                    with ErrGroup() as g:
                        ok = g.go(pow, 2, 3).result(30) == 8
                finally:
                    os._exit(0 if ok else 1)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with ErrGroup() as g:
            print(g.go(task).result())
    """)
    assert out == "0"


def test_forks_while_much_goes_on(run):
    out = run("""
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from cwaitgroup import *
        statuses = set()
        with ErrGroup() as g:
            for round in range(30):
                for _ in range(500):
                    g.go(int)
                pid = os.fork()
                if pid == 0:
                    ok = False
                    try:
                        wg = WaitGroup()
                        wg.go(int)
                        ok = wg.wait(30)
                    finally:
                        os._exit(0 if ok else 1)
                statuses.add(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        print(statuses, g.completed)
    """)
    assert out == "{0} 15000"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(run, tmp_path, method):
    program = tmp_path / "program.py"
    program.write_text(f"""
import multiprocessing, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from cwaitgroup import ErrGroup

def in_child(n):
    with ErrGroup() as g:
        return sum(g.map(abs, range(n)))

if __name__ == "__main__":
    with ErrGroup() as g:
        g.go(int)
    with multiprocessing.get_context("{method}").Pool(2) as pool:
        print(pool.map(in_child, [3, 4]))
""")
    assert (
        run(
            f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')"
            if method == "fork"
            else f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, {str(program)!r}]).returncode)"
        )
        == "[3, 6]"
    )


def test_a_deadline_from_before_ends_it_in_the_child(fork):
    fork(
        """
ctx = Context(timeout=0.2)
told = []
ctx.add_callback(lambda: told.append(True))
""",
        """
end = time.monotonic() + 60
while not told and time.monotonic() < end:  # nothing of ours is called here
    time.sleep(0.001)
assert told and ctx.cancelled()
assert isinstance(ctx.cause, DeadlineExceeded)
""",
    )


def test_a_deadline_from_before_ends_waits_in_asyncio(fork):
    fork(
        """
import asyncio
ctx = Context(timeout=0.2)
""",
        """
async def main():
    await ctx
asyncio.run(asyncio.wait_for(main(), 60))
assert ctx.cancelled()
""",
    )


def test_no_call_imports_anything(run):
    """In the child of a fork the import that another thread had begun stays half done, and its lock taken."""
    for module in ("anyio", "trio"):
        pytest.importorskip(module, exc_type=ImportError)
    out = run("""
        import asyncio, gc, sys, threading, trio, warnings
        import anyio._backends._asyncio, anyio._backends._trio
        from cwaitgroup import *
        async def use():
            async with ErrGroup() as g:
                for n in range(3):
                    g.go(pow, n, 2)
            h = ErrGroup(grace=0.001)
            h.go(Context(timeout=0.01).wait)
            h.cancel()
            await h
            await WaitGroup()
            await Context(timeout=0.001)
        asyncio.run(use())
        asyncio.run(asyncio.sleep(0))
        def everything():
            with ErrGroup(limit=2, timeout=60, errors="all") as g:
                g.map(abs, range(3))
                task = g.go(len, "x")
                assert task.result(60) == 1 and task.exception() is None and repr(task)
            for errors in ("first", "all"):
                try:
                    with ErrGroup(errors=errors, name="n") as g:
                        g.go(int, "x")
                        g.go(int, "y")
                except (ValueError, ExceptionGroup):
                    pass
            with WaitGroup() as wg:
                wg.go(int)
            stopped = threading.Event()
            ctx = Context(timeout=0.001)
            ctx.add_callback(stopped.set)
            assert ctx.wait(60) and stopped.wait(60)
            for call in (ctx.check, wg.done, WaitGroup(1).__reduce__, lambda: g.go(int), lambda: g.go(use)):
                try:
                    call()
                except Exception:
                    pass
            for current in (None, current_context()):
                repr(current), ctx.cause, ctx.deadline, ctx.remaining(), ctx.fileno()
        imported = []
        def hook(event, args):
            if event == "import":
                imported.append(args[0])
        sys.addaudithook(hook)
        everything()
        with ErrGroup() as g:
            g.go(everything)
        trio.run(use)
        print(imported)
    """)
    assert out == "[]"
