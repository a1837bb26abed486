"""Groups on a Dask cluster of two worker processes."""

import logging
import threading

import pytest
from conftest import EFFORT, HANG, until
from cwaitgroup import DeadlineExceeded, ErrGroup, as_completed
from executor_work import (
    Boom,
    boom,
    exit_process,
    map_inside,
    remaining,
    tell_and_wait_for_file,
    unique,
    wait_for_file,
    wait_until_over,
)

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=logging.CRITICAL
    ) as cluster:
        yield cluster


@pytest.fixture
def executor(cluster):
    with distributed.Client(cluster) as client:
        yield client.get_executor()


def test_results(executor):
    with ErrGroup(limit=4, executor=executor) as g:
        assert g.map(pow, [2] * 20, range(20)) == [2**n for n in range(20)]
        assert sorted(task.result() for task in as_completed([g.go(abs, -n) for n in range(5)])) == list(range(5))
        assert len({task.result() for task in [g.go(unique) for _ in range(5)]}) == 5  # none is taken for another
    assert g.completed == 30


def test_many(executor):
    many = int(1000 * EFFORT)
    with ErrGroup(limit=64, executor=executor) as g:
        assert sum(g.imap(abs, range(many))) == many * (many - 1) // 2


def test_the_first_error_cancels_what_has_not_started(executor, tmp_path):
    release = tmp_path / "release"
    with pytest.raises(Boom), ErrGroup(executor=executor) as g:
        g.go(boom)
        tasks = [g.start(wait_for_file, [release], name=f"wait {n}") for n in range(30) if not g.context.cancelled()]
    assert all(task.done() for task in tasks) and len(g.errors) == 1
    release.touch()
    with ErrGroup(executor=executor) as g:  # the workers do not go on with the others
        assert g.map(abs, range(-4, 0)) == [4, 3, 2, 1]


def tasks_known(dask_worker):
    """Of how many tasks a worker knows; its queue is its own, and hears later of a cancellation."""
    return len(dask_worker.state.tasks)


def test_the_scheduler_hears_of_a_cancellation_in_its_own_thread(cluster, tmp_path):
    with distributed.Client(cluster) as client:
        with ErrGroup(executor=client.get_executor()) as g:
            waiting = [g.go(tell_and_wait_for_file, tmp_path / f"running {n}", tmp_path / "release") for n in range(2)]
            until(lambda: len(list(tmp_path.glob("running*"))) == 2)  # neither worker can run another task
            marks = [g.go((tmp_path / f"mark {n}").touch) for n in range(20)]
            client.loop.add_callback(g.cancel)
            assert g.context.wait(HANG)
        assert all(task.cancelled() for task in waiting + marks)
        until(lambda: all(known <= 1 for known in client.run(tasks_known).values()))  # the one that it runs
        (tmp_path / "release").touch()
        with ErrGroup(executor=client.get_executor()) as g:
            g.map(abs, range(20))
    assert not list(tmp_path.glob("mark*"))


def test_the_deadline(executor):
    with ErrGroup(executor=executor, timeout=HANG) as g:
        assert 0 < g.go(remaining).result() <= HANG
        assert g.go(map_inside, [-1]).result()[0] == [1]
    with pytest.raises(DeadlineExceeded), ErrGroup(executor=executor, timeout=0.5) as g:
        for _ in range(4):
            g.go(wait_until_over)
    assert g.errors == ()


def test_an_argument_that_does_not_pickle(executor):
    with pytest.raises(TypeError, match="serialize|pickle"), ErrGroup(executor=executor) as g:
        g.go(abs, threading.Lock())


def test_a_killed_worker(executor):
    with pytest.raises(distributed.KilledWorker), ErrGroup(executor=executor) as g:
        g.go(exit_process)


def test_a_scheduler_that_has_gone(cluster, tmp_path):
    with distributed.Client(cluster) as client:
        g = ErrGroup(executor=client.get_executor())
        tasks = [g.go(wait_for_file, tmp_path / "release") for _ in range(10)]
    (tmp_path / "release").touch()
    with pytest.raises(Exception, match="nobody had asked"):
        g.wait(HANG)
    assert all(task.done() for task in tasks)
