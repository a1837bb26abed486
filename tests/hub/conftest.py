"""What several test files use."""

import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TOP = HERE.parents[1]
LUA_BUILD = TOP / os.environ.get("LUA_BUILD", "build/lua")
HANG = 100  # seconds; tells a hang from a slow machine


def compiler_call(target, source=None):
    """What compiles `source`, by default tests/hub/NAME.c for a `target` that ends in NAME, and links it with this
    Python.
    """
    flags = subprocess.run([sys.executable, TOP / "tools/embed_flags.py"], check=True, capture_output=True, text=True)
    return [
        *shlex.split(os.environ.get("CC", "cc")),
        *("-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"),
        *shlex.split(os.environ.get("HUB_CFLAGS", "")),
        str(source or HERE / f"{target.name}.c"),
        *("-o", str(target)),
        *shlex.split(flags.stdout),
    ]


@pytest.fixture(scope="session")
def python_host(tmp_path_factory):
    """python_host(scenario, rounds) runs a scenario of python_host.c in a process of its own."""
    target = tmp_path_factory.mktemp("hub") / "python_host"
    subprocess.run(compiler_call(target), check=True)
    package = Path(importlib.util.find_spec("cwaitgroup").origin).parent.parent  # not imported here
    environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONHOME": sys.base_prefix}

    def run(scenario, rounds=1, **more):
        return subprocess.run(
            [target, scenario, str(rounds)],
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=HANG * float(os.environ.get("WG_TEST_EFFORT", "1")) + HANG,
        )

    return run


@pytest.fixture(scope="session")
def three_languages(tmp_path_factory):
    """three_languages(source) builds a C program with Python and Lua in it: a function that runs it with arguments."""
    package = Path(importlib.util.find_spec("cwaitgroup").origin).parent
    lua = subprocess.run(["pkg-config", "--cflags", "--libs", "lua5.4"], capture_output=True, text=True).stdout
    library = [f"-I{TOP}/core/include", *package.glob("libwaitgroup.so.*"), f"-Wl,-rpath,{package}", "-Wl,-E"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(package.parent),
        "PYTHONHOME": sys.base_prefix,
        "LUA_PATH": f"{LUA_BUILD}/?.lua;{LUA_BUILD}/?/init.lua;;",
        "LUA_CPATH": f"{LUA_BUILD}/?.so;;",
    }

    def build(source):
        target = tmp_path_factory.mktemp("hub") / source.stem
        subprocess.run([*compiler_call(target, source), *shlex.split(lua), *library], check=True)

        def run(*arguments):
            command = [target, *map(str, arguments)]
            limit = 2 * HANG * float(os.environ.get("WG_TEST_EFFORT", "1"))
            return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit)

        return run

    return build
