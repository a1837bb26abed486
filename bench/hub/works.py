"""What is measured of groups that several languages share: the same work in a group of one language, and in one that
another language made and this one has attached to; and errors that cross.

Lua is opened in this process by tests/hub/lua_in_python.py; the C functions are those of the library that Python has,
and tasks.c, which the Makefile builds.
"""

import contextlib
import ctypes
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cwaitgroup
from cwaitgroup import ErrGroup, attach

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/hub"))

from lua_in_python import Lua  # noqa: E402

TASKS, ERRORS = 20_000, 300
SHARED, OWN = "waitgroup", "its own group"

core = ctypes.CDLL(cwaitgroup._core.__file__)
core.wg_errgroup_id.restype = ctypes.c_int64
core.wg_errgroup_id.argtypes = core.wg_errgroup_release.argtypes = [ctypes.c_void_p]

tasks_in_c = ctypes.CDLL(TOP / "build/bench/hub_tasks.so")
tasks_in_c.hub_tasks.restype = tasks_in_c.hub_tasks_by_id.restype = ctypes.c_double
tasks_in_c.hub_tasks.argtypes = [ctypes.c_void_p, ctypes.c_int]
tasks_in_c.hub_tasks_by_id.argtypes = [ctypes.c_int64, ctypes.c_int]

lua = Lua()
lua.run(
    f"package.path = '{TOP}/build/lua/?.lua;{TOP}/build/lua/?/init.lua;' .. package.path "
    f"package.cpath = '{TOP}/build/lua/?.so;' .. package.cpath w = require 'waitgroup' "
    "function threads(g, n) local f = function() end for _ = 1, n do g:thread(f) end assert(g:wait()) end "
    "function coroutines(g, n) local f = function() end for _ = 1, n do g:go(f) end assert(g:wait()) end"
)


@dataclass
class Work:
    """A work, and what does it: each returns seconds for one piece of it, in `unit`."""

    name: str
    subjects: dict[str, Callable[[], float]]
    unit: str = "µs"
    target: str | None = "at most 1.1 of that in its own group"


def made_in_c() -> ErrGroup:
    made = ctypes.c_void_p()
    assert core.wg_errgroup_new(ctypes.byref(made), None) == 0
    group = attach(core.wg_errgroup_id(made))
    core.wg_errgroup_release(made)
    assert isinstance(group, ErrGroup)
    return group


def micros(start: float, pieces: int) -> float:
    return (time.perf_counter() - start) / pieces * 1e6


def nothing() -> None:
    pass


def python_tasks(make: Callable[[], ErrGroup]) -> Callable[[], float]:
    def run() -> float:
        group = make()
        go = group.go
        start = time.perf_counter()
        for _ in range(TASKS):
            go(nothing)
        group.wait()
        return micros(start, TASKS)

    return run


def c_tasks(make: Callable[[], ErrGroup] | None) -> Callable[[], float]:
    def run() -> float:
        group = make() if make else None
        took = tasks_in_c.hub_tasks_by_id(group.id, TASKS) if group else tasks_in_c.hub_tasks(None, TASKS)
        assert took > 0
        return float(took) / TASKS * 1e6

    return run


def lua_tasks(kind: str, make: Callable[[], ErrGroup] | None) -> Callable[[], float]:
    def run() -> float:
        group = make() if make else None
        lua.run(f"g = w.attach({group.id})" if group else "g = w.errgroup()")
        start = time.perf_counter()
        lua.run(f"{kind}(g, {TASKS})")
        return micros(start, TASKS)

    return run


def fail() -> None:
    raise ValueError("three")


def an_error_at_home() -> float:
    groups = [ErrGroup() for _ in range(ERRORS)]
    start = time.perf_counter()
    for group in groups:
        group.go(fail)
        with contextlib.suppress(ValueError):
            group.wait()
    return micros(start, ERRORS)


def an_error_that_crosses() -> float:
    groups = [ErrGroup() for _ in range(ERRORS)]
    for i, group in enumerate(groups):
        lua.run(f"all = all or {{}} all[{i}] = w.attach({group.id})")
    start = time.perf_counter()
    for i, group in enumerate(groups):
        group.go(fail)
        lua.run(f"local _, text, trace = all[{i}]:wait()")
    took = micros(start, ERRORS)
    lua.run("all = nil")
    return took


WORKS = [
    Work(
        "a task of C in a group that Python made",
        {SHARED: c_tasks(ErrGroup), OWN: c_tasks(None)},
    ),
    Work(
        "a task of Python in a group that C made",
        {SHARED: python_tasks(made_in_c), OWN: python_tasks(ErrGroup)},
    ),
    Work(
        "a thread task of Lua in a group that Python made",
        {SHARED: lua_tasks("threads", ErrGroup), OWN: lua_tasks("threads", None)},
    ),
    Work(
        "a coroutine task of Lua in a group that Python made",
        {SHARED: lua_tasks("coroutines", ErrGroup), OWN: lua_tasks("coroutines", None)},
    ),
    Work(
        "an error of Python in Lua, with its traceback",
        {SHARED: an_error_that_crosses, "in Python": an_error_at_home},
        target=None,
    ),
]
