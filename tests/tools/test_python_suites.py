"""tools/python-suites: what could not be had is named, and is no failure; what should have run and did not is one."""

import os
import sys

import pytest


@pytest.fixture
def suites(run_tool, script, tmp_path):
    """Runs it in a world with these programs; returns its exit status, what it printed, and the page it wrote."""

    def run(*which, **programs):
        for name, text in programs.items():
            script(f"bin/{name}", text)
        ran = run_tool(
            "python-suites",
            *which,
            PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            PYTHON=sys.executable,
            WAITGROUP_ROOTS=str(tmp_path / "roots"),
            WAITGROUP_PLATFORMS=str(tmp_path / "platforms.md"),
        )
        return ran.returncode, ran.stdout, (tmp_path / "platforms.md").read_text()

    return run


@pytest.mark.parametrize("which", ["sid:python3.15", "sid:python3.15t", "trixie:python3.13:arm64"])
def test_who_is_not_root_can_make_no_root(suites, which):
    status, printed, page = suites(which, id="echo 1000\n")
    assert status == 0 and "not run: this is not root" in printed
    suite, _, python = which.partition(":")
    assert f"| Python | Debian {suite} | {python} | pip install ., tests/python | not run: this is not root |" in page


def test_a_release_that_cannot_be_had(suites):
    status, printed, page = suites("sid:python3.15", id="echo 0\n", debootstrap="echo no such mirror; exit 1\n")
    assert status == 0 and "not run: debootstrap of sid failed" in printed and "not run: debootstrap of sid" in page


def test_an_interpreter_that_is_there_and_does_not_work(suites, script):
    broken = script("bin/broken", "[ $1 = -V ] && echo Python 3.99 || exit 1\n")
    status, printed, page = suites(broken)
    assert status == 1 and "not run: it was not installed" in printed
    assert "| Python 3.99 |" in page and "broken" not in page
