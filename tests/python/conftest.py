"""What several test files use."""

import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

# Repeated tests do more with WG_TEST_EFFORT above 1, and may take longer.
EFFORT = float(os.environ.get("WG_TEST_EFFORT", "1"))
HANG = 60 * max(1, EFFORT)  # seconds; tells a hang from a slow machine


def until(condition):
    """Wait until `condition()` is true."""
    end = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < end, f"{condition} has not come true"
        time.sleep(0.001)


class Child:
    """A Python program in a process of its own."""

    def __init__(self, code, *options, **environment):
        self.process = subprocess.Popen(
            [sys.executable, *options, "-c", textwrap.dedent(code)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def read_line(self):
        return self.process.stdout.readline().strip()

    def end(self):
        """(exit status, what it printed, what it complained of), once it has ended by itself."""
        try:
            out, err = self.process.communicate(timeout=HANG)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            pytest.fail(f"the child hangs; it printed {out!r} and {err!r}")
        return self.process.returncode, out.strip(), err.strip()


@pytest.fixture
def child():
    """child(code) starts a Child; all are gone after the test."""
    children = []

    def start(code, *options, **environment):
        children.append(Child(code, *options, **environment))
        return children[-1]

    yield start
    for each in children:
        each.process.kill()
        each.process.communicate()


@pytest.fixture
def run(child):
    """run(code) is what a child printed that ended well and without a complaint."""

    def run(code, *options, **environment):
        status, out, err = child(code, *options, **environment).end()
        assert (status, err) == (0, ""), f"exit status {status}, printed {out!r} and {err!r}"
        return out

    return run


@pytest.fixture
def gate():
    """An Event that lets tasks of a test end; it is set after the test at the latest."""
    event = threading.Event()
    yield event
    event.set()
