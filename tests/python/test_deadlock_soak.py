"""Random programs: correct ones run to their end without an alarm; ones with a ring raise one, and end too.

A program is a few groups with a limit, each with a task, in an order. A task waits only for what comes later in that
order, so no ring can be, whatever the threads do; some also start another task in their group.
"""

import os
import threading
from contextlib import suppress
from dataclasses import dataclass

from cwaitgroup import DeadlockError, ErrGroup
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EFFORT = float(os.environ.get("WG_TEST_EFFORT", "1"))
HANG = 60
MOST = 6

soak = settings(
    max_examples=max(10, int(60 * EFFORT)),
    deadline=None,
    derandomize=EFFORT <= 1,
    suppress_health_check=list(HealthCheck),
)


@dataclass
class Step:
    """What a task does: it waits for the end of a later task, or of the group of a later task."""

    kind: str  # "result", "outcome", "timeout"
    target: int


@dataclass
class Program:
    """Task i is the first of group i, and starts another one in it if `extra` says so."""

    steps: list[list[Step]]
    extra: list[bool]


@st.composite
def programs(draw, closes):
    count = draw(st.integers(2, MOST))
    steps = []
    for i in range(count):
        targets = st.integers(i + 1, count - 1) if i + 1 < count else st.nothing()
        step = st.builds(Step, st.sampled_from(["result", "outcome", "timeout"]), targets)
        steps.append(draw(st.lists(step, max_size=3)) if i + 1 < count else [])
    if closes:  # a path from the first to the last, which waits for the first
        for i in range(count - 1):
            steps[i].append(Step(draw(st.sampled_from(["result", "outcome"])), i + 1))
        steps[-1].append(Step(draw(st.sampled_from(["result", "outcome"])), 0))
    return Program(steps, draw(st.lists(st.booleans(), min_size=count, max_size=count)))


def run(program):
    """Returns the alarms."""
    count = len(program.steps)
    groups = [ErrGroup(name=f"group {i}", limit=2) for i in range(count)]
    tasks, alarms = [], []
    ready = threading.Event()

    def wait(step):
        if step.kind == "result":
            tasks[step.target].result()
        elif step.kind == "outcome":
            groups[step.target].wait()
        else:
            with suppress(TimeoutError):
                groups[step.target].wait(0.0005)

    def body(i):
        ready.wait(HANG)
        try:
            if program.extra[i]:
                groups[i].try_go(len, ())
            for step in program.steps[i]:
                wait(step)
        except DeadlockError as error:
            alarms.append(str(error))

    for i in range(count):
        tasks.append(groups[i].go(body, i))
    ready.set()
    for group in groups:
        group.wait(HANG)
    return alarms


@soak
@given(programs(closes=False))
def test_correct_programs_raise_no_alarm(program):
    assert run(program) == []


@soak
@given(programs(closes=True))
def test_a_ring_is_told(program):
    alarms = run(program)  # each ends a task; others may form a smaller ring then
    assert alarms and all("wait for each other" in alarm for alarm in alarms)
