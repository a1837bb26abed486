"""Groups whose tasks run on borrowed executors."""

import asyncio
import itertools
import multiprocessing
import os
import sys
import threading
import warnings
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from conftest import EFFORT, HANG, until
from cwaitgroup import (
    Cancelled,
    Context,
    DeadlineExceeded,
    DeadlockError,
    ErrGroup,
    WaitTimeout,
    as_completed,
    current_context,
)
from executor_work import (
    Boom,
    add,
    boom,
    map_inside,
    remaining,
    span,
    tell_and_wait_until_over,
    unique,
    unpicklable_result,
    wait_for_file,
    wait_until_over,
)


def processes(method):
    if method == "fork":
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method))


def loky():
    return pytest.importorskip("loky").get_reusable_executor(max_workers=2)


def interpreters():
    from concurrent.futures import InterpreterPoolExecutor

    # An interpreter has a sys.path of its own, without the directory of the tests.
    return InterpreterPoolExecutor(2, initializer=exec, initargs=(f"import sys; sys.path[:] = {sys.path!r}",))


ENGINES = {
    "threads": lambda: ThreadPoolExecutor(2),
    "fork": lambda: processes("fork"),
    "forkserver": lambda: processes("forkserver"),
    "spawn": lambda: processes("spawn"),
    "loky": loky,
}
if sys.version_info >= (3, 14):
    ENGINES["interpreters"] = interpreters


@pytest.fixture(scope="module", params=ENGINES)
def executor(request):
    with ENGINES[request.param]() as executor:
        executor.engine = request.param
        yield executor


@pytest.fixture
def release(tmp_path):
    """A path; wait_for_file(release) ends when release.touch() was called, after the test at the latest."""
    path = tmp_path / "release"
    yield path
    path.touch()


class ByHand(Executor):
    """Futures that the test ends."""

    def __init__(self):
        self.futures = []

    def submit(self, fn, /, *args, **kwargs):
        self.futures.append(Future())
        return self.futures[-1]


def test_results(executor):
    with ErrGroup(executor=executor, name="far") as g:
        tasks = [g.go(pow, 2, n) for n in range(20)]
        named = g.start(add, [1], {"second": 2}, name="sum")
        assert g.try_go(add, 3, second=4).result(HANG) == 7
    assert [task.result() for task in tasks] == [2**n for n in range(20)]
    assert named.result() == 3 and named.name == "sum"
    assert (g.completed, g.running, g.pending) == (22, 0, 0)
    assert g.executor is executor
    assert all(task.done() and not task.running() and not task.cancelled() for task in tasks)


def test_mixed_with_threads(executor):
    with ErrGroup() as g:
        far, near = g.start(os.getpid, executor=executor), g.go(os.getpid)
    assert near.result() == os.getpid() and g.executor is None
    assert (far.result() == near.result()) == (executor.engine in ("threads", "interpreters"))


def test_map_and_as_completed(executor):
    with ErrGroup(limit=4, executor=executor) as g:
        assert g.map(pow, [2] * 50, range(50)) == [2**n for n in range(50)]
        assert list(g.imap(abs, range(-30, 0))) == list(range(30, 0, -1))
        assert sorted(task.result() for task in as_completed([g.go(abs, -n) for n in range(9)])) == list(range(9))


def test_many(executor):
    many = int(1000 * EFFORT)
    with ErrGroup(executor=executor) as g:
        tasks = [g.go(abs, -n) for n in range(many)]
    assert sum(task.result() for task in tasks) == many * (many - 1) // 2
    with ErrGroup(limit=64, executor=executor) as g:
        assert sum(g.imap(abs, range(many))) == many * (many - 1) // 2


def test_equal_calls_are_all_run(executor):
    with ErrGroup(executor=executor) as g:
        assert len({task.result(HANG) for task in [g.go(unique) for _ in range(10)]}) == 10


def test_limit(executor):
    with ErrGroup(limit=1, executor=executor) as g:
        spans = sorted(g.map(span, [0.01] * 6))
        assert g.limit == 1
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_no_room(executor, release):
    with ErrGroup(limit=1, executor=executor) as g:
        g.go(wait_for_file, release)
        assert g.try_go(abs, 1) is None and g.start(abs, [1], block=False) is None
        with pytest.raises(Cancelled), Context() as given:
            given.cancel("enough")
            g.start(abs, [1], context=given)
        release.touch()
        assert g.go(abs, -1).result(HANG) == 1


def test_the_first_error_cancels_what_has_not_started(executor, release):
    with pytest.raises(Boom) as caught, ErrGroup(executor=executor) as g:
        slow = [g.go(wait_for_file, release) for _ in range(60)]
        threading.Thread(target=lambda: (g.context.wait(), release.touch())).start()
        g.start(boom, ["now"], name="failing", executor=ThreadPoolExecutor(1))
    assert caught.value.args == ("now",) and "in task 'failing'" in caught.value.__notes__
    assert g.errors == (caught.value,)
    assert sum(task.cancelled() for task in slow) > 40
    assert all(task.done() for task in slow)
    assert g.completed == 61


def test_a_remote_error_is_the_first_error(executor):
    with pytest.raises(Boom) as caught, ErrGroup(executor=executor) as g:
        task = g.go(boom, 1, "two")
    assert caught.value.args == (1, "two") and task.exception() is caught.value
    with (
        pytest.raises(ExceptionGroup) as all_of_them,
        ErrGroup(executor=executor, on_error="continue", errors="all") as g,
    ):
        for n in range(3):
            g.go(boom, n)
    assert sorted(error.args[0] for error in all_of_them.value.exceptions) == [0, 1, 2]


def test_the_deadline_reaches_the_worker(executor):
    with ErrGroup(executor=executor, timeout=HANG) as g:
        assert 0 < g.go(remaining).result() <= HANG
        results, inside = g.go(map_inside, [-1, -2]).result()
        assert results == [1, 2] and 0 < inside <= HANG
    with pytest.raises(DeadlineExceeded), ErrGroup(executor=executor, timeout=0.3) as g:
        tasks = [g.go(wait_until_over) for _ in range(2)]
    assert g.errors == () and all(task.cancelled() for task in tasks)


def test_without_a_deadline_there_is_none(executor):
    with ErrGroup(executor=executor) as g:
        assert g.go(remaining).result() is None


def test_threads_have_the_context_of_the_group_itself():
    with ThreadPoolExecutor(1) as executor, ErrGroup(executor=executor) as g:
        assert g.go(current_context).result() is g.context


@pytest.mark.parametrize("engine", ENGINES.keys() & {"threads", "interpreters"})
def test_a_cancellation_reaches_what_runs_in_this_process(engine, tmp_path):
    with ENGINES[engine]() as executor, ErrGroup(executor=executor) as g:
        waits = g.go(tell_and_wait_until_over, tmp_path / "running")
        until((tmp_path / "running").exists)
        g.cancel()
    assert waits.cancelled() and g.errors == ()


def test_grace_names_what_still_runs(executor, release):
    g = ErrGroup(executor=executor, grace=0.05)
    task = g.start(wait_for_file, [release], name="stuck")
    until(task.running)
    g.cancel("enough")
    with pytest.raises(Cancelled) as caught:
        g.wait()
    assert any("stuck" in note for note in caught.value.__notes__)
    release.touch()
    assert task.result(HANG) is None


def test_a_wait_names_what_runs(executor, release):
    g = ErrGroup(executor=executor)
    g.start(wait_for_file, [release], name="slow")
    with pytest.raises(WaitTimeout, match="1 unfinished task; running: slow"):
        g.wait(0.01)
    release.touch()
    g.wait(HANG)


def test_a_task_is_cancelled(executor, release):
    with ErrGroup(executor=executor) as g:
        running = g.go(wait_for_file, release)
        until(running.running)
        queued = [g.go(wait_for_file, release) for _ in range(30)]
        assert not running.cancel()
        assert queued[-1].cancel() and queued[-1].cancelled() and queued[-1].done()
        with pytest.raises(Cancelled, match=r"Task.cancel\(\)"):
            queued[-1].result()
        release.touch()
    assert running.result() is None and g.errors == ()


def test_what_does_not_pickle(executor):
    if executor.engine == "threads":
        pytest.skip("threads need no pickle")
    for fn, arguments in ((abs, (threading.Lock(),)), (unpicklable_result, ())):
        with pytest.raises(Exception, match="(?i)pickle|shareable|cross-interpreter"), ErrGroup(executor=executor) as g:
            g.go(fn, *arguments)
        assert len(g.errors) == 1
    with ErrGroup(executor=executor) as g:  # nothing has been broken
        assert g.go(abs, -1).result(HANG) == 1


def test_an_executor_that_was_shut_down():
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"), ErrGroup(executor=executor) as g:
        g.go(abs, 1)


def test_what_the_executor_drops_is_an_error():
    executor = ByHand()
    with pytest.raises(CancelledError, match="nobody had asked"), ErrGroup(executor=executor) as g:
        task, other = g.go(abs, 1), g.go(abs, 2)
        executor.futures[0].cancel()
    assert isinstance(task.exception(), CancelledError)
    assert other.cancelled() and executor.futures[1].cancelled()


def test_an_interrupt_in_submit_is_the_callers():
    class Interrupted(ByHand):
        def submit(self, fn, /, *args, **kwargs):
            raise KeyboardInterrupt

    g = ErrGroup(executor=Interrupted())
    with pytest.raises(KeyboardInterrupt):
        g.go(abs, 1)
    assert g.running == 0
    g.wait()


def test_a_future_that_cannot_be_cancelled():
    class Stubborn(Future):
        def cancel(self):
            raise NotImplementedError

    class AllStubborn(ByHand):
        def submit(self, fn, /, *args, **kwargs):
            self.futures.append(Stubborn())
            return self.futures[-1]

    executor = AllStubborn()
    g = ErrGroup(executor=executor)
    task = g.go(abs, 1)
    g.cancel()
    assert not task.cancel() and not task.done()
    executor.futures[0].set_result(5)
    g.wait()
    assert task.result() == 5


def test_futures_that_have_ended_before_they_are_returned():
    class AtOnce(ByHand):
        def submit(self, fn, /, *args, **kwargs):
            future = Future()
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)
            return future

    with ErrGroup(limit=1, executor=AtOnce()) as g:
        assert g.map(abs, range(-5, 0)) == [5, 4, 3, 2, 1]
    with pytest.raises(Boom), ErrGroup(executor=AtOnce()) as g:
        g.go(boom)


def test_sent_after_the_end():
    executor = ByHand()
    g = ErrGroup(executor=executor)
    g.cancel("enough")
    with pytest.raises(Cancelled):
        g.go(abs, 1)
    assert executor.futures == []

    class EndsMeanwhile(ByHand):
        def submit(self, fn, /, *args, **kwargs):
            g.cancel("meanwhile")
            return super().submit(fn, *args, **kwargs)

    executor = EndsMeanwhile()
    g = ErrGroup(executor=executor)
    task = g.go(abs, 1)
    assert executor.futures[0].cancelled() and task.cancelled()
    with pytest.raises(Cancelled, match="meanwhile"):
        g.wait()


def test_no_thread_is_made_for_a_task():
    executor = ByHand()
    before = threading.active_count()
    g = ErrGroup(executor=executor)
    tasks = [g.go(abs, n) for n in range(1000)]
    assert threading.active_count() == before
    for future in executor.futures:
        future.set_result(1)
    g.wait()
    assert all(task.result() == 1 for task in tasks)


def test_the_parent_cancels(executor, release):
    parent = Context()
    g = ErrGroup(executor=executor, context=parent)
    tasks = [g.go(wait_for_file, release) for _ in range(30)]
    parent.cancel("parent")
    release.touch()
    with pytest.raises(Cancelled, match="parent"):
        g.wait()
    assert tasks[-1].cancelled()


def test_misuse():
    for wrong in (3, "pool", ThreadPoolExecutor, object()):
        with pytest.raises(TypeError, match="executor must be a concurrent.futures.Executor"):
            ErrGroup(executor=wrong)
    with ErrGroup(executor=ByHand()) as g:
        for call in (lambda: g.go(), lambda: g.go(3), lambda: g.start(abs, executor=3)):
            with pytest.raises(TypeError):
                call()

        async def co():
            pass

        with pytest.raises(TypeError):
            g.go(co)
    assert g.completed == 0


# --- The other way ---


def test_a_group_as_an_executor():
    with ErrGroup(limit=2) as g, g.as_executor() as executor:
        assert isinstance(executor, Executor)
        assert list(executor.map(pow, [2] * 50, range(50))) == [2**n for n in range(50)]
        assert executor.submit(add, 1, second=2).result(HANG) == 3
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, 1)


def test_submit_never_blocks(gate):
    with ErrGroup(limit=1) as g:
        executor = g.as_executor()
        running = executor.submit(gate.wait)
        queued = [executor.submit(abs, -n) for n in range(100)]
        until(running.running)
        assert not running.cancel() and not running.done()
        assert queued[7].cancel() and queued[7].cancelled()
        assert g.running == 1
        gate.set()
        executor.shutdown()
        assert [future.result() for future in queued if future is not queued[7]] == [n for n in range(100) if n != 7]


def test_its_errors_are_the_groups(gate):
    with pytest.raises(Boom), ErrGroup(limit=1) as g:
        executor = g.as_executor()
        waits = executor.submit(gate.wait)
        failed, never = executor.submit(boom), executor.submit(abs, 1)
        gate.set()
        with pytest.raises(Boom):
            failed.result(HANG)
        with pytest.raises(CancelledError):
            never.result(HANG)
    assert waits.result() is True
    with pytest.raises(RuntimeError, match="finished"):
        executor.submit(abs, 1)


def test_what_is_queued_is_cancelled_with_the_group(gate):
    with ErrGroup(limit=1) as g:
        executor = g.as_executor()
        executor.submit(gate.wait)
        queued = [executor.submit(abs, n) for n in range(20)]
        g.cancel()
        assert all(future.cancelled() for future in queued)
        gate.set()
        executor.shutdown()


def test_run_in_executor():
    async def main():
        loop = asyncio.get_running_loop()
        async with ErrGroup(limit=2) as g:
            calls = [loop.run_in_executor(g.as_executor(), pow, 2, n) for n in range(30)]
            assert await asyncio.gather(*calls) == [2**n for n in range(30)]

    asyncio.run(main())


def test_an_executor_of_a_group_on_an_executor(executor):
    with ErrGroup(limit=2, executor=executor) as g:
        assert list(g.as_executor().map(abs, range(-10, 0))) == list(range(10, 0, -1))


def test_a_wait_for_its_future_ends_with_the_tasks_group(gate):
    """Also of one that is queued."""
    with ErrGroup(limit=1) as other:
        executor = other.as_executor()
        running, queued = executor.submit(gate.wait), executor.submit(abs, 1)
        for wait in (running.result, queued.exception, executor.shutdown):
            with pytest.raises(DeadlineExceeded), ErrGroup(timeout=0.05) as g:
                waiter = g.go(wait)
            assert waiter.cancelled()
        with pytest.raises(TimeoutError):
            queued.result(timeout=0.01)
        gate.set()
        assert queued.result(HANG) == 1


def test_a_future_that_could_never_end_is_a_deadlock():
    def inside(executor):
        executor.submit(abs, 1).result()

    with pytest.raises(DeadlockError), ErrGroup(limit=1) as g:
        g.go(inside, g.as_executor())
