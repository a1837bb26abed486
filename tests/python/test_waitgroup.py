"""The count: what add() and done() allow, when wait() returns, what misuse says."""

import threading
import time

import pytest
from cwaitgroup import NegativeCounterError, WaitGroup

MAX = 2**31 - 1


def in_thread(fn, *args):
    thread = threading.Thread(target=fn, args=args, daemon=True)
    thread.start()
    return thread


def test_a_new_one_is_at_zero():
    wg = WaitGroup()
    assert wg.count == 0
    assert wg.wait() is True
    assert wg.wait(0) is True


def test_the_first_count():
    assert WaitGroup(3).count == 3
    assert WaitGroup(n=MAX).count == MAX
    with pytest.raises(NegativeCounterError):
        WaitGroup(-1)
    with pytest.raises(OverflowError):
        WaitGroup(MAX + 1)


def test_add_and_done():
    wg = WaitGroup()
    wg.add()
    wg.add(2)
    wg.add(n=3)
    assert wg.count == 6
    wg.add(-4)
    wg.done()
    wg.add(0)
    assert wg.count == 1
    assert wg.wait(0) is False


@pytest.mark.parametrize("step", [-3, -MAX, -(2**40), -(2**70)])
def test_a_step_below_zero_changes_nothing(step):
    wg = WaitGroup(2)
    with pytest.raises(NegativeCounterError, match="unchanged"):
        wg.add(step)
    assert wg.count == 2


@pytest.mark.parametrize("step", [MAX - 1, MAX, 2**40, 2**70])
def test_a_step_beyond_the_maximum_changes_nothing(step):
    wg = WaitGroup(2)
    with pytest.raises(OverflowError, match="2147483647"):
        wg.add(step)
    assert wg.count == 2


def test_too_many_done():
    wg = WaitGroup(1)
    wg.done()
    with pytest.raises(NegativeCounterError, match="more done.. than add"):
        wg.done()
    assert wg.count == 0
    assert issubclass(NegativeCounterError, ValueError)


@pytest.mark.parametrize("step", ["1", 1.0, None, [1]])
def test_a_step_is_an_int(step):
    with pytest.raises(TypeError):
        WaitGroup().add(step)
    with pytest.raises(TypeError):
        WaitGroup(step)


def test_arguments_are_checked():
    wg = WaitGroup()
    for call in (
        lambda: wg.add(1, 2),
        lambda: wg.add(m=1),
        lambda: wg.add(1, n=1),
        lambda: wg.done(1),
        lambda: wg.wait(1, 2),
        lambda: wg.wait(1, timeout=1),
        lambda: wg.wait(nonsense=1),
        lambda: wg.wait(context=1),
        lambda: WaitGroup(1, 2),
    ):
        with pytest.raises(TypeError):
            call()


def test_wait_until_done_by_another_thread():
    wg = WaitGroup(1)
    in_thread(lambda: (time.sleep(0.05), wg.done()))
    assert wg.wait(30) is True


def test_all_waiters_wake():
    wg, woke = WaitGroup(1), WaitGroup(20)
    for _ in range(20):
        in_thread(lambda: wg.wait(30) and woke.done())
    time.sleep(0.05)
    wg.done()
    assert woke.wait(30)


def test_a_waiter_belongs_to_its_generation():
    """Adding again before a slow waiter woke up is legal, and does not hold it."""
    for _ in range(50):
        wg, woke = WaitGroup(1), WaitGroup(1)
        in_thread(lambda wg=wg, woke=woke: wg.wait(30) and woke.done())
        time.sleep(0.001)
        wg.done()
        wg.add()
        wg.done()
        wg.add()
        assert woke.wait(30)
        assert wg.count == 1


def test_barrier_reused_in_rounds():
    start, end = WaitGroup(), WaitGroup()
    for _ in range(8):
        start.add(16)
        end.add(16)
        arrived = []

        def task(arrived=arrived):
            arrived.append(1)
            start.done()
            assert start.wait(30)
            assert len(arrived) == 16
            end.done()

        threads = [in_thread(task) for _ in range(16)]
        assert end.wait(30)
        for thread in threads:
            thread.join()


def test_what_was_done_before_done_is_seen_after_wait():
    for _ in range(200):
        wg, box = WaitGroup(2), {}
        in_thread(lambda wg=wg, box=box: (box.update(a=1), wg.done()))
        in_thread(lambda wg=wg, box=box: (box.update(b=2), wg.done()))
        assert wg.wait(30)
        assert box == {"a": 1, "b": 2}


def test_counts_add_up_under_contention():
    wg = WaitGroup(1)

    def task():
        for _ in range(5000):
            wg.add(2)
            wg.done()
            wg.done()

    threads = [in_thread(task) for _ in range(4)]
    for thread in threads:
        thread.join()
    assert wg.count == 1


def test_repr_tells_the_count():
    assert repr(WaitGroup(3)) == "<cwaitgroup.WaitGroup count=3>"


def test_leaving_a_block_waits():
    seen = []
    with WaitGroup() as wg:
        wg.go(lambda: (time.sleep(0.05), seen.append(1)))
    assert seen == [1]


def test_leaving_a_failed_block_waits_and_raises():
    seen = []
    with pytest.raises(KeyError), WaitGroup() as wg:
        wg.go(lambda: (time.sleep(0.05), seen.append(1)))
        raise KeyError
    assert seen == [1]
