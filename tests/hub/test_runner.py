"""examples/hub/runner.c: a C program with CPython and Lua in it, and one group for the jobs of all three."""

import re

import pytest
from conftest import HANG, TOP

JOBS = TOP / "examples/hub/jobs"


@pytest.fixture(scope="module")
def runner(three_languages):
    """runner(directory, limit, seconds) runs the jobs of a directory."""
    run = three_languages(TOP / "examples/hub/runner.c")
    return lambda directory, limit=3, seconds=HANG: run(directory, limit, seconds)


def write(directory, **jobs):
    for name, (ending, text) in jobs.items():
        (directory / f"{name}.{ending}").write_text(text)


WAIT = {
    "python": ("py", "from cwaitgroup import current_context\ncurrent_context().wait()\ncurrent_context().check()\n"),
    "lua": ("lua", "local ctx = require 'waitgroup'.current_context() ctx:wait() ctx:check()\n"),
}
FAIL = {
    "Python": ("py", "def deep():\n    raise ValueError('three')\ndeep()\n"),
    "Lua": ("lua", "local function deep() error('three', 0) end\ndeep()\n"),
}


def test_the_jobs_of_the_example(runner):
    ran = runner(JOBS)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "python: 303 primes below 2000" in ran.stdout and "lua: 9 words" in ran.stdout
    assert re.search(r"^0 running, 0 pending, 3 completed\nok$", ran.stdout, re.M)


@pytest.mark.parametrize("language", FAIL)
def test_a_failure_ends_the_waits_of_all_and_is_shown_with_its_traceback(runner, tmp_path, language):
    write(tmp_path, a=WAIT["python"], b=WAIT["lua"], z=FAIL[language])
    ran = runner(tmp_path, limit=4)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    text = "ValueError: three" if language == "Python" else "three"
    assert f"failed, in {language}: {text}\n" in ran.stdout
    assert "deep" in ran.stdout and "traceback" in ran.stdout.lower()
    assert ran.stderr == f"the first error was: {text}\n"


@pytest.mark.parametrize("limit", [1, 2])
def test_at_the_limit_a_failure_keeps_the_rest_from_starting(runner, tmp_path, limit):
    write(tmp_path, a=FAIL["Python"], b=FAIL["Lua"], **{f"w{i}": WAIT["python"] for i in range(5)})
    ran = runner(tmp_path, limit=limit)
    assert ran.returncode == 1 and "failed, in " in ran.stdout, ran.stdout + ran.stderr


def test_the_deadline_ends_all(runner, tmp_path):
    write(tmp_path, a=WAIT["python"], b=WAIT["lua"])
    ran = runner(tmp_path, seconds=0.5)
    assert ran.returncode == 1 and ran.stdout.endswith("deadline exceeded\n"), ran.stdout + ran.stderr
