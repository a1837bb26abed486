"""A host that owns its threads, makes interpreters, and starts Python more than once."""

import os
import sys

import pytest

EFFORT = float(os.environ.get("WG_TEST_EFFORT", "1"))


def rounds(n):
    return max(1, int(n * EFFORT))


def went_well(result):
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_threads_of_the_host_use_groups_in_interpreters_that_share_the_gil(python_host):
    went_well(python_host("shared_gil", rounds(2)))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="interpreters with a GIL of their own came with Python 3.12")
def test_threads_of_the_host_use_groups_in_interpreters_with_a_gil_of_their_own(python_host):
    went_well(python_host("own_gil", rounds(2)))


def went_well_but_for_what_failed(result):
    """An error of a group that nobody waits for is reported."""
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert "late" in result.stderr and "Fatal" not in result.stderr


def test_python_ends_and_begins_again_with_everything_alive(python_host):
    went_well_but_for_what_failed(python_host("restart", rounds(25)))


def test_interpreters_end_with_everything_alive(python_host):
    went_well_but_for_what_failed(python_host("subinterpreters_restart", rounds(10)))


def test_a_thread_that_wakes_in_the_next_python_does_not_touch_it(python_host):
    went_well(python_host("late_wakers", rounds(2)))
