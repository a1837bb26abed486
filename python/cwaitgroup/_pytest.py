"""A plug-in for pytest: a test fails that leaves tasks, groups, waits or callbacks behind.

Tasks unfinished, groups unwaited for, also if they are gone by then, threads asleep in a wait, callbacks of a context
that lives on.

It looks when a test and its fixtures are over, at the groups that were made since the test function began. A test that
leaves something on purpose is marked: `@pytest.mark.leaves_tasks`. The option --no-cwaitgroup-leaks turns it off.
"""

import gc
import time

import pytest

from cwaitgroup import _core

PATIENCE = 2.0  # seconds for tasks that are about to end
_began = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("cwaitgroup").addoption(
        "--no-cwaitgroup-leaks",
        action="store_true",
        help="do not fail tests that leave tasks or error groups of cwaitgroup behind",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "leaves_tasks: this test leaves tasks or groups of cwaitgroup on purpose")


def _leaks(since: int) -> str:
    """What is left for good: what a cycle of references keeps, or is about to end, is not."""
    end = time.monotonic() + PATIENCE
    text = _core._leaks(since)
    if text:
        gc.collect()
    while text and time.monotonic() < end:
        time.sleep(0.01)
        text = _core._leaks(since)
    return text


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    item.stash[_began] = _core._now()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> object:
    result = yield
    began = item.stash.get(_began, None)
    if began is None or item.config.getoption("no_cwaitgroup_leaks") or item.get_closest_marker("leaves_tasks"):
        return result
    if text := _leaks(began):
        pytest.fail(f"the test has left behind:\n{text}", pytrace=False)
    return result
