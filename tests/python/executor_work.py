"""What the tests have executors run: importable by the worker processes."""

import os
import threading
import time

from cwaitgroup import ErrGroup, current_context


class Boom(Exception):
    pass


def boom(*args):
    raise Boom(*args)


def span(seconds):
    """When it ran."""
    start = time.monotonic()
    time.sleep(seconds)
    return start, time.monotonic()


def unique():
    return os.urandom(8)


def remaining():
    return current_context().remaining()


def wait_until_over():
    context = current_context()
    context.wait()
    context.check()


def map_inside(numbers):
    """A group inside of the task, which has its deadline."""
    with ErrGroup() as g:
        return g.map(abs, numbers), g.context.remaining()


def unpicklable_result():
    return threading.Lock()


def exit_process():
    os._exit(3)


def wait_for_file(path):
    while not os.path.exists(path):
        time.sleep(0.005)


def tell_and_wait_for_file(started, path):
    started.touch()
    wait_for_file(path)


def tell_and_wait_until_over(started):
    started.touch()
    wait_until_over()


def add(first, second=0):
    return first + second
