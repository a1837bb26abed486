"""A process forks, or exits, while tasks of Python and of Lua run and are queued in one group."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build/lua"
HANG = 60

# Two tasks run, one of each language, and one is queued behind them.
BEGIN = f"""
import os, sys, threading
sys.path.insert(0, {str(HERE)!r})
from lua_in_python import Lua, LuaError
from cwaitgroup import *
lua = Lua()
lua.run("package.path = '{BUILD}/?.lua;{BUILD}/?/init.lua;' .. package.path "
        "package.cpath = '{BUILD}/?.so;' .. package.cpath w = require 'waitgroup'")
group, wg = ErrGroup(limit=2, backlog=1), WaitGroup(1)
lua.run(f"g, wg = w.attach({{group.id}}), w.attach({{wg.id}})")
started = threading.Event()
group.go(lambda: (started.set(), current_context().wait()))
lua.run("t = g:thread(function(wg) wg:done() require('waitgroup').current_context():wait() end, wg)")
assert started.wait({HANG}) and wg.wait({HANG})
group.go(print, "a queued task has started")
def show(fn, *args):
    try:
        print(fn(*args))
    except Exception as error:
        print(type(error).__name__, error)
"""

# The child asks; then new objects of both languages work there, and the old ones go on in the parent.
FORK = """
number = group.id
pid = os.fork()
if pid == 0:
    for call in CALLS:
        show(eval, call)
    same = group.id != number and lua.run("return tostring(g:id())") == str(group.id)
    new = ErrGroup()
    lua.run(f"n = w.attach({new.id}) n:thread(function() error('of the child', 0) end)")
    show(new.wait, 60)
    print(same, flush=True)
    os._exit(3)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
group.cancel()
group.wait(60)
print("parent", code, group.running, lua.run("return tostring(t:done())"))
"""


def run(program):
    ran = subprocess.run([sys.executable, "-c", BEGIN + program], capture_output=True, text=True, timeout=2 * HANG)
    return ran.returncode, ran.stdout.splitlines(), ran.stderr


@pytest.mark.parametrize(
    "call, text",
    [
        ("attach(number)", "is of the process from which this one was forked"),
        ("lua.run(f'w.attach({number})')", "is of the process from which this one was forked"),
        ("group.wait()", "left behind in the parent process by fork"),
        ("group.go(int)", "left behind in the parent process by fork"),
        ("lua.run('g:wait()')", "left behind in the parent process by a fork"),
        ("lua.run('g:thread(function() end)')", "left behind in the parent process by a fork"),
        ("lua.run('g:go(function() end)')", "left behind in the parent process by a fork"),
        ("lua.run('t:result()')", "left behind in the parent process by a fork"),
    ],
)
def test_in_a_forked_child_each_says_what_was_left_behind(call, text):
    code, lines, errors = run(f"CALLS = [{call!r}]" + FORK)
    assert code == 0, errors
    assert len(lines) == 4 and text in lines[0], lines
    assert lines[1:] == ["ForeignError of the child", "True", "parent 3 0 true"]


@pytest.mark.parametrize(
    "end, code",
    [
        ("", 0),
        ("sys.exit(7)", 7),
        ("os._exit(8)", 8),
        ("lua.run('os.exit(9)')", 9),
        ("lua.run('os.exit(10, true)')", 10),
        ("lua.close()", 0),
    ],
)
def test_the_process_exits_with_tasks_of_both_languages_running_and_queued(end, code):
    assert run(end) == (code, [], "")


# The parent goes at once, and so does its child; what is left has a session of its own.
DAEMON = """
number, (readable, writable) = group.id, os.pipe()
if os.fork() == 0:
    os.close(readable)
    os.setsid()
    if os.fork() > 0:
        os._exit(0)
    os.dup2(writable, 1)
    for call in "attach(number)", "lua.run(f'w.attach({number})')", "group.wait(60)", "lua.run('t:result()')":
        show(eval, call)
    new = ErrGroup(limit=2)
    lua.run(f"n = w.attach({new.id}) task = n:thread(function() return 6 * 7 end)")
    print(new.go(pow, 2, 5).result(60), lua.run("return tostring(task:get(60))"), new.wait(60), flush=True)
    os._exit(0)
os.close(writable)
with os.fdopen(readable) as daemon:
    print(daemon.read(), end="")
group.cancel()
print(group.wait(60), lua.run("return tostring(t:done())"))
"""


def test_a_daemon_begins_anew():
    code, lines, errors = run(DAEMON)
    assert (code, errors) == (0, ""), lines
    assert len(lines) == 6, lines
    assert all("from which this one was forked" in line for line in lines[:2]), lines
    assert all("left behind in the parent process by" in line for line in lines[2:4]), lines
    assert lines[4:] == ["32 42 None", "None true"]


# Descriptors of each kind are open: of the groups, of a context, and of the loops in which both languages wait.
EXEC = """
import select
select.select([group.context], [], [], 0)
lua.run("for _, object in ipairs { g, wg, g:context(), w.channel() } do object:pollfd() end "
        "local h = w.errgroup() h:thread(function() end) h:go(w.sleep, 0.001) h:wait()")
show = "import os; print(len([fd for fd in os.listdir('/proc/self/fd') if int(fd) > 2]), 'beside the directory itself')"
os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", show])
"""


def test_another_program_inherits_no_descriptor():
    assert run(EXEC) == (0, ["1 beside the directory itself"], "")
