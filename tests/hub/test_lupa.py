"""Lua inside CPython by lupa: one group that both feed.

Each test is a program: lupa brings a Lua of its own, which must not meet that of other tests in one process."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
LUA = TOP / "build/lua"
HANG = 100  # seconds; tells a hang from a slow machine
ENVIRONMENT = {
    "PYTHONPATH": str(Path(__file__).parent),
    "LUA_PATH": f"{LUA}/?.lua;{LUA}/?/init.lua;{TOP}/tests/lua/hosts/?.lua;;",
    "LUA_CPATH": f"{LUA}/?.so;;",
}
PREAMBLE = """
import gc
import io
import re
import sys
import threading
import time
from cwaitgroup import *
from lua_by_lupa import *
lua = new_lua()
"""

pytest.importorskip("lupa.lua54", reason="lupa has no Lua 5.4 here")


def run(program):
    """It must succeed, and write nothing to standard error."""
    ran = subprocess.run(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(program)],
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=HANG,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr
    return ran.stdout


def test_one_limit_for_the_tasks_of_both():
    run("""
        running, highest = 0, 0
        lock = threading.Lock()
        def step(by):
            global running, highest
            with lock:
                running += by
                highest = max(highest, running)
        def work(n):
            step(1)
            time.sleep(0.005)
            step(-1)
            return n * n
        with ErrGroup(limit=2) as group:
            lua.globals().work = work
            tasks = [group.go(work, n) for n in range(3)]
            lua.execute("g = w.attach(...) coroutine_task = g:go(function() return work(5) end)", group.id)
            lua.execute("thread_task = g:thread(function(n) return n * n end, 6) assert(coroutine_task:result(60))")
            tasks += [group.go(work, n) for n in range(3, 5)]
        assert [task.result() for task in tasks] == [0, 1, 4, 9, 16]
        assert lua.eval("coroutine_task:get()") == 25 and lua.eval("thread_task:get()") == 36
        assert highest <= 2 and group.completed == 7
    """)


@pytest.mark.parametrize("kind, name", [("WaitGroup", "new"), ("ErrGroup", "errgroup"), ("Context", "context")])
def test_one_object_in_both(kind, name):
    run(f"""
        thing = {kind}()
        lua.execute("thing = w.attach(...)", thing.id)
        assert attach(lua.eval("thing:id()")) is thing
        theirs = attach(lua.eval("(function() made = w.{name}() return made:id() end)()"))
        assert type(theirs) is {kind}
        lua.execute("assert(w.attach(...) == made)", theirs.id)
    """)


def test_an_exception_of_python_ends_the_group_in_lua():
    run("""
        group = ErrGroup()
        lua.execute("g = w.attach(...) stopped = g:go(function() w.sleep(1000) end)", group.id)
        def fail():
            raise ValueError("three")
        group.go(fail)
        ok, error, traceback = lua.execute("return g:wait(60)")
        assert (ok, error) == (None, "ValueError: three") and "in fail" in traceback, (error, traceback)
        assert lua.eval("stopped:cancelled()")
        try:
            group.wait(HANG)
        except ValueError as caught:
            assert str(caught) == "three"
    """)


@pytest.mark.parametrize("start", ["go", "thread"])
def test_an_error_of_lua_ends_the_group_in_python(start):
    run(f"""
        group = ErrGroup()
        sleeper = group.go(lambda: group.context.wait(1000))
        lua.execute('g = w.attach(...) g:{start}(function() error("three", 0) end)', group.id)
        lua.execute("g:wait(60)")
        try:
            group.wait(HANG)
            raise AssertionError("no error")
        except ForeignError as caught:
            assert caught.language == "Lua" and caught.message == "three", caught
            assert "stack traceback" in caught.traceback
        assert sleeper.done()
    """)


def test_an_exception_of_a_function_that_a_task_of_lua_calls():
    printed = run("""
        def fail():
            raise KeyError("three")  # whose text is in quotes
        lua.globals().fail = fail
        group = ErrGroup()
        lua.execute("g = w.attach(...) g:go(function() fail() end) g:wait(60)", group.id)
        try:
            group.wait(HANG)
        except ForeignError as caught:
            print(caught.message)
    """)
    assert printed == "'three'\n"


def test_a_deadline_ends_the_tasks_of_both():
    """On a slow machine it may have passed before they start: then they are refused."""
    run("""
        group = ErrGroup(timeout=0.2)
        python = None
        try:
            python = group.go(lambda: current_context().wait(1000))
        except DeadlineExceeded:
            pass
        lua.execute('''
            g = w.attach(...)
            task = g:go(function() w.sleep(1000) end)
            g:thread(function() require("waitgroup").current_context():wait(1000) end)
        ''', group.id)
        assert tuple(lua.execute("return g:wait(60)"))[:2] == (None, "deadline exceeded")
        try:
            group.wait(HANG)
            raise AssertionError("no error")
        except DeadlineExceeded:
            pass
        assert (python is None or python.done()) and lua.eval("task == nil or task:done()")
    """)


def test_a_wait_in_lua_lets_the_threads_of_python_go_on():
    run("""
        wg = WaitGroup(1)
        lua.globals().entered = entered = threading.Event()
        def release():
            assert entered.wait(HANG)
            wg.done()
        thread = threading.Thread(target=release)
        thread.start()
        assert lua.execute("local wg = w.attach(...) entered.set() return wg:wait(60)", wg.id)
        thread.join()
    """)


def test_a_ring_through_a_wait_of_pythons_main_thread():
    """Which looks for signals twice a second: the ring is closed after that."""
    run("""
        orders, stock = ErrGroup(name="orders"), ErrGroup(name="stock")
        asleep = re.compile("waits for the tasks of error group 'stock'.*, for (0\\\\.[6-9]|[1-9])")
        def restock():
            while True:
                dump(text := io.StringIO())
                if asleep.search(text.getvalue()):
                    break
                time.sleep(0.01)
            orders.wait()
        stock.start(restock, name="restock")
        lua.globals().wait_for_stock = stock.wait
        ok, why = lua.execute(
            "local g = w.attach(...) g:go(function() wait_for_stock() end) return g:wait()", orders.id
        )[:2]
        assert ok is None and isinstance(why, DeadlockError), why
        try:
            stock.wait()
            raise AssertionError("no deadlock")
        except DeadlockError as error:
            assert "this call, in task 'restock' of group 'stock' (Python)" in str(error), error
            assert "of group 'orders' (Python), has waited" in str(error), error
    """)


def test_all_that_the_module_does():
    assert run("print(lua.execute('local tour = require \"tour\" return tour.run(tour.threads())'))") == "ok\n"


BUSY = """
group = ErrGroup()
lua.execute('''
    g = w.attach(...)
    g:thread(function() while true do end end)
    g:go(function() w.sleep(1000) end)
    w.errgroup():thread(function() while true do end end)
''', group.id)
group.go(lambda: group.context.wait(1000))
lua.execute("w.sleep(0.01)")
"""
WAITING = "threading.Thread(target=lua.execute, args=['w.new(1):wait(1000)'], daemon=True).start()\ntime.sleep(0.01)\n"
ENDS = {
    "Python, with all alive": "",
    "the runtime, and then Python": "lua = None\ngc.collect()\n",
    "the group, the runtime, and then Python": "group.cancel()\ngroup = lua = None\ngc.collect()\n",
    "the runtime, and another one begins": "lua = None\ngc.collect()\nlua = new_lua()\nlua.execute('w.sleep(0)')\n",
    "Python, while a thread waits in Lua": WAITING,
}


@pytest.mark.parametrize("end", ENDS)
def test_ends_in_this_order_with_tasks_running(end):
    run(BUSY + ENDS[end])


def test_a_group_made_in_lua_outlives_its_state():
    run("""
        group = attach(lua.eval("(function() made = w.errgroup() return made:id() end)()"))
        held = threading.Event()
        task = group.go(held.wait, HANG)
        lua = None
        gc.collect()
        held.set()
        assert task.result(HANG) or task.cancelled()
    """)
