"""python -m cwaitgroup."""

import subprocess
import sys

import cwaitgroup


def run(code=None):
    command = [sys.executable, "-m", "cwaitgroup"] if code is None else [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_it_says_what_is_here_and_that_it_works():
    ran = run()
    assert ran.returncode == 0 and ran.stderr == ""
    lines = ran.stdout.splitlines()
    assert lines[0] == f"cwaitgroup {cwaitgroup.__version__}"
    assert sys.version.split()[0] in lines[1] and "GIL" in lines[1]
    assert lines[2].split()[-1] in ("futex", "pthread")
    assert "µs a task" in lines[3]
    assert lines[-1] == "all well"


def test_it_says_what_is_wrong():
    """With a wait group whose tasks never run."""
    ran = run("""
import cwaitgroup, cwaitgroup.__main__ as check, sys
class Broken:
    go = lambda self, fn, *args: None
    wait = lambda self, timeout: False
check.WaitGroup = Broken
sys.exit(check.main())
""")
    assert ran.returncode == 1
    assert "FAILED     check_wait_group: AssertionError: a hundred tasks have not ended" in ran.stdout
    assert "all well" not in ran.stdout
