"""The wait group against a model: an integer, and the generation that each waiter joined."""

import threading

import pytest
from conftest import HANG, until
from cwaitgroup import NegativeCounterError, WaitGroup
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

MAX = 2**31 - 1


class WaitGroupMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.wg = WaitGroup()
        self.count = 0
        self.generation = 0
        self.waiters = []  # (generation, thread, Event that tells of its return)

    def step(self, n):
        before, self.count = self.count, self.count + n
        if before > 0 and self.count == 0:
            self.generation += 1

    @rule(n=st.one_of(st.integers(-5, 5), st.integers(-MAX - 5, MAX + 5)))
    def add(self, n):
        if self.count + n < 0:
            with pytest.raises(NegativeCounterError):
                self.wg.add(n)
        elif self.count + n > MAX:
            with pytest.raises(OverflowError):
                self.wg.add(n)
        else:
            self.wg.add(n)
            self.step(n)

    @rule()
    def done(self):
        if self.count == 0:
            with pytest.raises(NegativeCounterError):
                self.wg.done()
        else:
            self.wg.done()
            self.step(-1)

    @rule()
    def to_zero(self):
        self.wg.add(-self.count)
        self.step(-self.count)

    @rule(timeout=st.sampled_from([0, 0.0001]))
    def wait_for_a_moment(self, timeout):
        assert self.wg.wait(timeout) is (self.count == 0)

    @rule()
    def go_and_wait(self):
        if self.count < MAX:
            ran = threading.Event()
            self.wg.go(ran.set)
            assert ran.wait(HANG)
            until(lambda: self.wg.count == self.count)
            if self.count == 0:
                self.generation += 1

    @rule()
    def wait_in_a_thread(self):
        if len(self.waiters) >= 5:
            return
        entered, returned = threading.Event(), threading.Event()

        def wait():
            entered.set()
            if self.wg.wait(HANG):
                returned.set()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        entered.wait()
        if self.count == 0:
            assert returned.wait(HANG)
        else:
            returned.wait(0.002)  # so that it is asleep most of the time
            assert not returned.is_set()
            self.waiters.append((self.generation, thread, returned))

    @invariant()
    def the_count_is_that_of_the_model(self):
        assert self.wg.count == self.count

    @invariant()
    def waiters_of_past_generations_return_and_others_do_not(self):
        for generation, _, returned in self.waiters:
            if generation == self.generation:
                assert not returned.is_set()

    @rule()
    def join(self):
        """Bring the waiters home: those that slept before the last zero come by themselves."""
        self.to_zero()
        for _, thread, returned in self.waiters:
            assert returned.wait(HANG)
            thread.join(HANG)
        self.waiters.clear()

    def teardown(self):
        self.join()


TestWaitGroup = WaitGroupMachine.TestCase
TestWaitGroup.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
