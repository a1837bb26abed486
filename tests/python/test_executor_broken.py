"""Executors whose processes die. In a module of its own: up to CPython 3.14 a fork while there are sub-interpreters, as
there are in test_executor, crashes the child."""

from concurrent.futures import BrokenExecutor
from contextlib import suppress

import pytest
from conftest import HANG
from cwaitgroup import Cancelled, ErrGroup
from executor_work import exit_process, wait_for_file
from test_executor import ENGINES
from test_executor import release as release


@pytest.fixture(params=["fork", "forkserver", "spawn", "loky"])
def fresh(request):
    """An executor that the test may break."""
    with ENGINES[request.param]() as executor:
        yield executor


def test_a_killed_worker(fresh, release):
    with pytest.raises(BrokenExecutor), ErrGroup(executor=fresh, limit=30) as g:
        tasks = [g.go(wait_for_file, release)]
        tasks.append(g.go(exit_process))
        with suppress(Cancelled):
            for _ in range(200):
                tasks.append(g.go(wait_for_file, release))
    assert all(task.done() for task in tasks) and g.running == 0
    assert isinstance(g.errors[0], BrokenExecutor)


def test_a_broken_executor(fresh):
    with suppress(BrokenExecutor):
        fresh.submit(exit_process).result(HANG)
    with pytest.raises(BrokenExecutor), ErrGroup(executor=fresh) as g:
        g.go(abs, 1)
    with pytest.raises(BrokenExecutor):
        ErrGroup(executor=fresh).map(abs, range(10))
