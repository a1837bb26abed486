"""run_suites.py with a script in the place of make, which gets the arguments `--no-print-directory test-SUITE`."""

import os
import time

import pytest

GOOD = """echo '<testsuite><testcase/><testcase/></testsuite>' > build/reports/${2#test-}.xml"""
BAD = """echo '<testsuite><testcase/><testcase><failure/></testcase></testsuite>' > build/reports/${2#test-}.xml"""


@pytest.fixture
def run(script, run_tool):
    """Runs suites by a fake make: its lines, the last line, and the exit status."""

    def run(make, *suites, **environment):
        ran = run_tool("run_suites.py", *suites, MAKE=str(script("make", make)), **environment)
        assert ran.stderr == ""
        return ran.stdout, ran.stdout.splitlines()[-1], ran.returncode

    return run


def test_one_line_for_all_suites(run):
    _, last, status = run(GOOD, "one", "two")
    assert (last, status) == ("4 passed, 0 failed", 0)


def test_a_failed_test_fails_and_the_other_suites_still_run(run):
    _, last, status = run(f"if [ $2 = test-one ]; then {BAD}; exit 2; else {GOOD}; fi", "one", "two")
    assert (last, status) == ("3 passed, 1 failed", 1)


def test_a_failed_test_fails_even_if_the_suite_says_success(run):
    text, last, status = run(BAD, "one")
    assert (last, status) == ("1 passed, 1 failed", 1)
    assert "ended with status 0 though tests failed" in text


@pytest.mark.parametrize(
    "make, why",
    [
        ("exit 0", "wrote no report"),
        ("kill -SEGV $$", "wrote no report"),
        ("echo nonsense > build/reports/one.xml", "not well formed"),
        ("echo '<testsuites/>' > build/reports/one.xml", "no test ran"),
    ],
)
def test_a_suite_that_does_not_report_is_a_failure(run, make, why):
    text, last, status = run(make, "one")
    assert (last, status) == ("0 passed, 1 failed", 1)
    assert why in text


def test_a_report_of_an_earlier_run_does_not_count(run):
    run(GOOD, "one")
    _, last, status = run("exit 0", "one")
    assert (last, status) == ("0 passed, 1 failed", 1)


def test_a_bad_exit_status_is_a_failure_whatever_the_report_says(run):
    text, last, status = run(f"{GOOD}; exit 3", "one")
    assert (last, status) == ("2 passed, 1 failed", 1)
    assert "status 3 though no test of its report failed" in text


def test_a_suite_that_hangs_is_ended_with_its_children_and_is_a_failure(run, tmp_path):
    text, last, status = run(f"sleep 1000 & echo $! > child; {GOOD}; wait", "one", WAITGROUP_SUITE_TIMEOUT="1")
    assert (last, status) == ("2 passed, 1 failed", 1)
    assert "did not end within 1 seconds" in text
    child = (tmp_path / "child").read_text().strip()
    with pytest.raises(ProcessLookupError):
        for _ in range(1000):  # it is gone once its new parent has seen it
            os.kill(int(child), 0)
            time.sleep(0.01)
