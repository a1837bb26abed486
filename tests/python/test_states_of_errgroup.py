"""The error group against a model: sets of queued, running, finished and failed tasks."""

import threading

import pytest
from conftest import HANG, until
from cwaitgroup import Cancelled, ErrGroup
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule


class Boom(Exception):
    pass


class Work:
    """A task's function that runs until it is told how to end."""

    def __init__(self):
        self.begun, self.told = threading.Event(), threading.Event()
        self.error = None

    def __call__(self):
        self.begun.set()
        assert self.told.wait(HANG)
        if self.error:
            raise self.error
        return self


class ErrGroupMachine(RuleBasedStateMachine):
    @initialize(limit=st.sampled_from([None, 1, 2, 5]))
    def make(self, limit):
        self.group = ErrGroup(limit)
        self.limit = limit
        self.running, self.finished, self.failed = {}, {}, {}
        self.order_of_failing = []
        self.cancelled = False  # by the user or by an error
        self.cause = None
        self.outcome_given = False

    def has_room(self):
        return self.limit is None or len(self.running) < self.limit

    @rule()
    def try_go(self):
        work = Work()
        if self.outcome_given:
            with pytest.raises(RuntimeError):
                self.group.try_go(work)
        elif self.cancelled:
            with pytest.raises(Cancelled):
                self.group.try_go(work)
        elif not self.has_room():
            assert self.group.try_go(work) is None
        else:
            task = self.group.try_go(work)
            assert task is not None
            assert work.begun.wait(HANG)
            self.running[task] = work

    def end(self, data, error):
        task = data.draw(st.sampled_from(sorted(self.running, key=id)))
        work = self.running.pop(task)
        work.error = error
        work.told.set()
        until(task.done)
        until(lambda: self.group.running == len(self.running))
        return task, work

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def succeed(self, data):
        task, work = self.end(data, None)
        assert task.result() is work
        self.finished[task] = work

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def fail(self, data):
        error = Boom()
        task, _ = self.end(data, error)
        assert task.exception() is error
        self.failed[task] = error
        self.order_of_failing.append(error)
        if not self.cancelled:
            self.cancelled, self.cause = True, error

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def stop_as_told(self, data):
        """Raises Cancelled: an echo if the group is cancelled, else an error."""
        error = Cancelled("told")
        task, _ = self.end(data, error)
        if self.cancelled:
            assert task.cancelled()
            self.finished[task] = None
        else:
            assert task.exception() is error
            self.failed[task] = error
            self.order_of_failing.append(error)
            self.cancelled, self.cause = True, error

    @rule(cause=st.sampled_from([None, "why"]))
    def cancel(self, cause):
        self.group.cancel(cause)
        if not self.cancelled:
            self.cancelled, self.cause = True, cause

    @precondition(lambda self: not self.outcome_given)
    @rule(limit=st.sampled_from([None, 1, 3]))
    def resize(self, limit):
        self.group.limit = self.limit = limit

    @rule()
    def wait_for_a_moment(self):
        if self.running:
            with pytest.raises(TimeoutError):
                self.group.wait(0)
            return
        self.wait()

    def wait(self):
        """With nothing running, the outcome: the first error, the cause, or nothing."""
        if self.order_of_failing:
            with pytest.raises((Boom, Cancelled)) as caught:
                self.group.wait(HANG)
            assert caught.value is self.order_of_failing[0]
        elif self.cause is not None:
            with pytest.raises(Cancelled, match=self.cause):
                self.group.wait(HANG)
        else:
            self.group.wait(HANG)
        self.outcome_given = self.cancelled = True

    @invariant()
    def it_is_as_the_model_says(self):
        if not hasattr(self, "group"):
            return
        assert self.group.errors == tuple(self.order_of_failing)
        assert self.group.context.cancelled() is self.cancelled
        assert self.group.context.cause == self.cause
        assert self.group.running == len(self.running) and self.group.pending == 0
        assert self.group.completed == len(self.finished) + len(self.failed)
        assert self.group.limit == self.limit
        for task in self.running:
            assert task.running() and not task.done()

    def teardown(self):
        if not hasattr(self, "group"):
            return
        for work in self.running.values():
            work.told.set()
        self.running.clear()
        self.wait()


TestErrGroup = ErrGroupMachine.TestCase
TestErrGroup.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
