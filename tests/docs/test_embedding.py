"""What the page on hosts shows for Lua in C and in Python. For other hosts, tests/lua/hosts run what it shows."""

import os
import shlex
import subprocess
import sys

import pytest
from snippets import TOP, indented

BUILD = TOP / "build/lua"
EMBEDDING = TOP / "docs/embedding.md"
ENVIRONMENT = os.environ | {"LUA_PATH": f"{BUILD}/?.lua;{BUILD}/?/init.lua;;", "LUA_CPATH": f"{BUILD}/?.so;;"}


def run(command):
    return subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True, timeout=120)


def test_a_program_in_c(tmp_path):
    [program] = indented(EMBEDDING, "Lua")
    (tmp_path / "host.c").write_text(program)
    lua = shlex.split(run(["pkg-config", "--cflags", "--libs", "lua5.4"]).stdout)
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
    module = BUILD / "waitgroup/core.so"
    host = tmp_path / "host"
    run(["cc", *warnings, f"-I{TOP}/bindings/lua", tmp_path / "host.c", module, *lua, "-o", host])
    ran = run([host])
    assert (ran.stderr, ran.stdout) == ("", "42\n")


def test_lupa():
    pytest.importorskip("lupa.lua54", reason="lupa has no Lua 5.4 here")
    [program] = indented(EMBEDDING, "Lua in Python: lupa")
    ran = run([sys.executable, "-c", program])
    assert (ran.stderr, ran.stdout) == ("", "[1, 4] 42\n")
