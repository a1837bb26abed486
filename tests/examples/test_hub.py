"""The program with Python and Lua in it, as `make demo` builds and runs it; tests/hub tries failures."""

import os
import subprocess
import sys

from conftest import HANG, TOP


def test_jobs_of_three_languages_run_in_one_group():
    environment = {
        **os.environ,
        "PYTHONHOME": sys.base_prefix,
        "PYTHONPATH": f"{TOP}/python",
        "LUA_PATH": f"{TOP}/build/lua/?.lua;{TOP}/build/lua/?/init.lua;;",
        "LUA_CPATH": f"{TOP}/build/lua/?.so;;",
    }
    command = [f"{TOP}/build/examples/runner", f"{TOP}/examples/hub/jobs"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "python: 303 primes below 2000" in ran.stdout and "lua: 9 words" in ran.stdout
    assert ran.stdout.endswith("0 running, 0 pending, 3 completed\nok\n")
