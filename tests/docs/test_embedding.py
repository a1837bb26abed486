"""What the page on hosts shows for Lua in Python. What it shows for other hosts runs in them: see tests/lua/hosts."""

import os
import subprocess
import sys

import pytest
from snippets import TOP, indented


def test_lupa(tmp_path):
    pytest.importorskip("lupa.lua54", reason="lupa has no Lua 5.4 here")
    [program] = indented(TOP / "docs/embedding.md", "Lua in Python: lupa")
    build = TOP / "build/lua"
    paths = {"LUA_PATH": f"{build}/?.lua;{build}/?/init.lua;;", "LUA_CPATH": f"{build}/?.so;;"}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | paths, capture_output=True, text=True, timeout=120
    )
    assert (ran.stderr, ran.stdout) == ("", "[1, 4] 42\n")
