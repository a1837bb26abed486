"""The plug-in for pytest fails the tests that leave tasks behind, and no others."""

import re
import subprocess
import sys
import textwrap

import pytest

TESTS = """
    import threading
    import pytest
    from cwaitgroup import Context, ErrGroup, WaitGroup, _core

    gate = threading.Event()
    kept = []

    def test_clean():
        with ErrGroup() as g:
            g.go(int)

    def test_task():
        kept.append(ErrGroup(name="forgotten"))
        kept[-1].go(gate.wait)

    def test_unwaited():
        kept.append(ErrGroup(name="unwaited"))
        kept[-1].go(int, "x")

    def test_sleeper():
        threading.Thread(target=lambda: WaitGroup(1).wait(20), daemon=True).start()
        while "waits for zero" not in _core._dump():
            pass

    @pytest.mark.leaves_tasks
    def test_on_purpose():
        kept.append(ErrGroup(name="on purpose"))
        kept[-1].go(gate.wait)

    def test_after_the_others():
        with ErrGroup() as g:
            g.map(int, ["1", "2"])

    def test_about_to_end():
        g = ErrGroup(name="late")
        g.go(threading.Event().wait, 0.2)
        kept.append(threading.Thread(target=g.wait))
        kept[-1].start()

    def test_at_last():
        gate.set()
        kept.clear()

    def test_dropped():
        g = ErrGroup(name="dropped")
        g.go(int, "x")
        while g.completed == 0:
            pass
        del g

    def test_callback():
        kept.append(Context())
        kept[-1].add_callback(print)

    def test_callback_that_goes_with_its_context():
        Context().add_callback(print)
"""


def run(tmp_path, *options):
    (tmp_path / "test_these.py").write_text(textwrap.dedent(TESTS))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "cwaitgroup._pytest", "-rA", *options]
    return subprocess.run(
        [*command, "-p", "no:cwaitgroup", "-W", "ignore", "--rootdir", tmp_path, "-c", "/dev/null", "test_these.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=100,
    ).stdout


def test_tests_that_leave_something_fail(tmp_path):
    out = run(tmp_path)
    for name in ("test_task", "test_unwaited", "test_sleeper", "test_dropped", "test_callback"):
        assert f"ERROR test_these.py::{name}" in out
    for name in (
        "clean",
        "on_purpose",
        "after_the_others",
        "about_to_end",
        "at_last",
        "callback_that_goes_with_its_context",
    ):
        assert f"ERROR test_these.py::test_{name}" not in out
    assert "11 passed, 5 errors" in out
    assert "leak: error group 'forgotten' (Python, made at test_these.py:14): 1 task has not ended" in out
    assert "task 'Event.wait' runs" in out
    assert "error group 'unwaited'" in out
    assert "and 1 of its tasks failed" in out
    assert "waits for zero of the wait group" in out
    assert re.search(
        r"error group 'dropped' \(Python, made at test_these.py:\d+\): it was given up without a wait for its tasks, "
        r"1 of which failed",
        out,
    )
    assert re.search(r"context at 0x\w+ \(Python, made at test_these.py:\d+\): 1 callback still to be called", out)


def test_an_option_turns_it_off(tmp_path):
    assert "11 passed" in run(tmp_path, "--no-cwaitgroup-leaks")


@pytest.mark.parametrize("name", ["leaves_tasks"])
def test_the_marker_is_known(name, tmp_path):
    assert name in run(tmp_path, "--markers")
