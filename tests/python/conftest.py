"""What several test files use."""

import importlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress

import pytest

# Repeated tests do more with WG_TEST_EFFORT above 1, and may take longer.
EFFORT = float(os.environ.get("WG_TEST_EFFORT", "1"))
HANG = 60 * max(1, EFFORT)  # seconds; tells a hang from a slow machine

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job of a shell; programs inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def until(condition):
    """Wait until `condition()` is true."""
    end = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < end, f"{condition} has not come true"
        time.sleep(0.001)


def optional(name):
    """A module, or None where it cannot be had: not every interpreter has them all."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def nobodys(make):
    """What make() returns. Without a GIL an object is freed by the thread that made it, when that thread gets to it;
    this one is freed by whichever thread lets go of it last, as with a GIL."""
    held, kept = [make()], []
    other = threading.Thread(target=lambda: kept.append(held[0]))
    other.start()
    other.join()
    held.clear()  # the maker lets go first, and is the owner no longer
    return kept.pop()


class Child:
    """A Python program in a process of its own. Its pipes have no buffer here, since communicate() would not look there
    for what read_line() had read too much."""

    def __init__(self, *arguments, **environment):
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            env={**os.environ, **environment},
        )

    def read_line(self):
        return self.process.stdout.readline().decode().strip()

    def end(self):
        """(exit status, what it printed, what it complained of), once it has ended by itself."""
        try:
            out, err = self.process.communicate(timeout=HANG)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            pytest.fail(f"the child hangs; it printed {out!r} and {err!r}")
        return self.process.returncode, out.decode().strip(), err.decode().strip()


@pytest.fixture
def start():
    """start(*arguments) starts a Child; all are gone after the test, with the processes that they have started."""
    children = []

    def start(*arguments, **environment):
        children.append(Child(*arguments, **environment))
        return children[-1]

    yield start
    for each in children:
        with suppress(ProcessLookupError):
            os.killpg(each.process.pid, signal.SIGKILL)
        each.process.communicate()


@pytest.fixture
def child(start):
    """child(code, *options) starts it as a Child."""
    return lambda code, *options, **environment: start(*options, "-c", textwrap.dedent(code), **environment)


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
