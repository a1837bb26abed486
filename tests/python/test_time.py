"""Timeouts and deadlines: what is accepted, and what a wait that ends early leaves behind."""

import math
import os
import threading
import time
from fractions import Fraction

import pytest
from conftest import until
from cwaitgroup import Context, DeadlineExceeded, ErrGroup, WaitGroup

BAD_VALUES = [-1, -0.001, math.nan, -math.inf, pytest.param(-(10**400), id="huge")]
BAD_TYPES = ["1", [], object()]


def waits(gate):
    """Every call that takes a timeout, where it would block."""
    g = ErrGroup()
    task = g.go(gate.wait)
    return g, [WaitGroup(1).wait, g.wait, Context().wait, task.result, task.exception]


@pytest.mark.parametrize("timeout", BAD_VALUES)
def test_negative_and_nan_are_refused_by_name(gate, timeout):
    g, calls = waits(gate)
    for call in calls:
        with pytest.raises(ValueError, match="timeout must be zero or more.*got"):
            call(timeout)
        with pytest.raises(ValueError, match="timeout"):
            call(timeout=timeout)
    for make in (lambda: ErrGroup(timeout=timeout), lambda: Context(timeout=timeout)):
        with pytest.raises(ValueError, match="timeout"):
            make()
    with pytest.raises(ValueError, match="grace"):
        ErrGroup(grace=timeout)
    gate.set()
    g.wait()


@pytest.mark.parametrize("timeout", BAD_TYPES)
def test_other_types_are_refused(gate, timeout):
    g, calls = waits(gate)
    for call in calls:
        with pytest.raises(TypeError, match="timeout must be a number of seconds or None"):
            call(timeout)
    gate.set()
    g.wait()


def test_zero_looks_and_short_ones_end(gate):
    g, (wait, group_wait, sleep, result, exception) = waits(gate)
    for timeout in (0, 0.0, 1e-9, 0.01, Fraction(1, 100), False):
        assert wait(timeout) is False
        assert sleep(timeout) is False
        for call in (group_wait, result, exception):
            with pytest.raises(TimeoutError):
                call(timeout)
    gate.set()
    g.wait()


def test_a_wait_takes_its_time():
    start = time.monotonic()
    assert WaitGroup(1).wait(0.05) is False
    assert Context().wait(0.05) is False
    assert time.monotonic() - start >= 0.1


@pytest.mark.parametrize("timeout", [None, math.inf, 1e300, 10**30, pytest.param(10**400, id="huge"), 2**63])
def test_for_ever(timeout):
    wg = WaitGroup(1)
    threading.Timer(0.02, wg.done).start()
    assert wg.wait(timeout) is True
    with ErrGroup(timeout=timeout, grace=timeout) as g:
        g.go(time.sleep, 0.01)
    assert Context(timeout=timeout).cancelled() is False


def test_a_group_that_is_not_done_in_time_names_what_runs(gate):
    def slow_one():
        gate.wait()

    with ErrGroup() as g:
        g.go(slow_one)
        with pytest.raises(TimeoutError, match="1 unfinished.*slow_one"):
            g.wait(0.05)
        gate.set()  # a wait that timed out is no outcome: the group goes on
        assert g.go(len, "x").result() == 1


def test_a_group_that_is_not_done_in_time_names_some_of_many(gate):
    g = ErrGroup()
    with pytest.raises(
        TimeoutError, match="50 unfinished tasks; running: Event.wait [(]for .* s[)], .*wait.*, [.]{3}$"
    ):
        for _ in range(50):
            g.go(gate.wait)
        until(lambda: g.running == 50)
        g.wait(0)
    gate.set()
    g.wait()


def test_a_task_that_is_not_done_in_time_is_named(gate):
    with ErrGroup() as g:
        task = g.go(gate.wait)
        with pytest.raises(TimeoutError, match="wait"):
            task.result(0.01)
        gate.set()


def test_deadline_of_a_group():
    g = ErrGroup(timeout=0.05)
    task = g.go(g.context.wait)
    assert task.result() is True
    with pytest.raises(DeadlineExceeded, match="group deadline exceeded"):
        g.go(len, "x")
    with pytest.raises(DeadlineExceeded) as caught:
        g.wait()
    assert isinstance(caught.value, TimeoutError)


def test_deadline_already_past():
    for ctx in (Context(timeout=0), Context(deadline=time.monotonic() - 1), Context(deadline=-(10**12))):
        assert ctx.cancelled()
        assert ctx.remaining() == 0
        with pytest.raises(DeadlineExceeded):
            ctx.check()
    g = ErrGroup(timeout=0)
    with pytest.raises(DeadlineExceeded):
        g.go(len, "x")
    with pytest.raises(DeadlineExceeded):
        g.wait()


def test_deadline_is_a_moment_of_the_monotonic_clock():
    moment = time.monotonic() + 50
    ctx = Context(deadline=moment)
    assert ctx.deadline == pytest.approx(moment, abs=0.01)
    assert 40 < ctx.remaining() <= 50
    assert Context().deadline is None and Context().remaining() is None
    assert Context(deadline=math.inf).deadline is None
    with pytest.raises(ValueError, match="deadline"):
        Context(deadline=math.nan)


def test_the_earliest_deadline_holds():
    now = time.monotonic()
    assert Context(timeout=50, deadline=now + 20).deadline == pytest.approx(now + 20, abs=0.1)
    assert Context(timeout=20, deadline=now + 50).deadline == pytest.approx(now + 20, abs=5)
    parent = Context(deadline=now + 20)
    assert Context(parent, timeout=50).deadline == pytest.approx(now + 20, abs=0.1)
    assert ErrGroup(context=parent).context.deadline == pytest.approx(now + 20, abs=0.1)


def test_waits_that_end_early_leave_nothing_behind():
    def files():
        return len(os.listdir("/proc/self/fd"))

    wg, live, ended = WaitGroup(1), Context(), Context()
    ended.cancel()
    wg.wait(0.001)
    files_before, threads_before = files(), set(threading.enumerate())
    for _ in range(300):
        assert wg.wait(1e-5) is False
        assert wg.wait(1e-5, context=live) is False
        with pytest.raises(Exception, match="cancelled"):
            wg.wait(context=ended)
        assert live.wait(1e-5) is False
    assert files() == files_before
    assert set(threading.enumerate()) <= threads_before  # idle workers may leave
    wg.done()
    assert wg.wait()


@pytest.mark.parametrize("grace", [0.05, 0])
def test_grace_leaves_stragglers_behind_and_names_them(gate, grace):
    def straggler():
        gate.wait()

    def fails():
        raise ValueError("early")

    g = ErrGroup(grace=grace)
    task = g.go(straggler)
    until(task.running)
    g.go(fails)
    with pytest.raises(ValueError, match="early") as caught:
        g.wait()
    assert any("straggler (for 0." in note for note in caught.value.__notes__)
    assert task.running() and g.running == 1
    gate.set()
    assert task.result() is None
    with pytest.raises(ValueError, match="early"):  # the outcome stays
        g.wait()


def test_grace_after_a_plain_stop_warns(gate):
    g = ErrGroup(grace=0.02)
    task = g.go(gate.wait)
    until(task.running)
    g.cancel()
    with pytest.warns(ResourceWarning, match="still runs after the grace period: .*wait"):
        g.wait()


def test_grace_names_any_name(gate):
    def straggler():
        gate.wait()

    straggler.__qualname__ = "lone \ud800"  # which no encoding can tell
    g = ErrGroup(grace=0)
    until(g.go(straggler).running)
    g.cancel()
    with pytest.warns(ResourceWarning, match="after the grace period: lone \ud800"):
        g.wait()


def test_grace_counts_from_the_cancellation_not_from_each_wait(gate):
    g = ErrGroup(grace=0.2)
    task = g.go(gate.wait)
    until(task.running)
    g.cancel("enough")
    for _ in range(100_000):
        try:
            g.wait(0.01)
        except TimeoutError:
            continue
        except Exception as error:
            assert "enough" in str(error)
            break
    else:
        pytest.fail("short waits have prolonged the grace period for ever")


def test_grace_is_not_used_up_before_the_cancellation():
    with ErrGroup(grace=0) as g:
        task = g.go(time.sleep, 0.05)
    assert task.done()


def test_who_slept_for_what_remains_finds_it_over():
    for n in range(100):
        ctx = Context(timeout=0.001 + n % 7 * 1e-4)
        child = Context(ctx)
        time.sleep(ctx.remaining())
        with pytest.raises(DeadlineExceeded):
            child.check() if n % 2 else ctx.check()
        assert ctx.cancelled() and child.cancelled()
        assert ctx.remaining() == child.remaining() == 0


def test_after_a_deadline_there_is_a_cause():
    ctx = Context(timeout=0.01)
    child, g = Context(ctx), ErrGroup(context=ctx)
    time.sleep(ctx.remaining())
    for ended in (g.context, child, ctx):
        assert isinstance(ended.cause, DeadlineExceeded)
        assert str(ended.cause) == "context deadline exceeded"
        assert repr(ended) == "<cwaitgroup.Context deadline exceeded>"
    with pytest.raises(DeadlineExceeded) as caught:
        ctx.check()
    assert caught.value.__cause__ is None


def test_a_deadline_is_one_number():
    for n in range(2000):
        ctx = Context(timeout=60 + n * 0.000123457)
        deadline = ctx.deadline
        assert deadline == ctx.deadline
        child, handed = Context(ctx), Context(deadline=deadline)
        assert child.deadline == deadline
        for _ in range(5):
            assert handed.deadline == deadline
            handed = Context(handed, deadline=handed.deadline)
    for long_past in (0.0, -5.0, 1e-9):
        once = Context(deadline=long_past).deadline
        assert Context(deadline=once).deadline == once


def test_a_child_is_never_later_than_its_parent():
    for n in range(500):
        parent = Context(timeout=30 + n * 1e-9)
        assert Context(parent, timeout=30).deadline <= parent.deadline
        assert Context(parent, deadline=parent.deadline).deadline == parent.deadline
        assert ErrGroup(context=parent).context.deadline == parent.deadline
