"""One point of a curve. usage: growth.py WORK SUBJECT N; prints nanoseconds for each of N. curves.py lists them."""

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

from cwaitgroup import Context, ErrGroup, WaitGroup


def nothing() -> None:
    pass


def tasks_ours(n: int) -> None:
    with ErrGroup() as g:
        for _ in range(n):
            g.go(nothing)


def tasks_executor(n: int) -> None:
    with ThreadPoolExecutor(8) as executor:
        wait([executor.submit(nothing) for _ in range(n)])


def waiters_ours(n: int) -> None:
    """All start, and are released."""
    gate, arrived = WaitGroup(1), WaitGroup(n)

    def arrive_and_wait() -> None:
        arrived.done()
        gate.wait()

    with ErrGroup() as g:
        for _ in range(n):
            g.go(arrive_and_wait)
        arrived.wait()
        gate.done()


def waiters_threads(n: int) -> None:
    gate, arrived = threading.Event(), threading.Barrier(n + 1)

    def arrive_and_wait() -> None:
        arrived.wait()
        gate.wait()

    threads = [threading.Thread(target=arrive_and_wait) for _ in range(n)]
    for thread in threads:
        thread.start()
    arrived.wait()
    gate.set()
    for thread in threads:
        thread.join()


def nested_ours(n: int) -> None:
    if n > 0:
        with ErrGroup() as g:
            g.go(nested_ours, n - 1)


def nested_threads(n: int) -> None:
    if n > 0:
        thread = threading.Thread(target=nested_threads, args=(n - 1,))
        thread.start()
        thread.join()


def contexts_ours(n: int) -> None:
    parent = Context()
    children = [Context(parent=parent) for _ in range(n)]
    parent.cancel()
    assert children[-1].cancelled()


def contexts_events(n: int) -> None:
    """As one would write it: a list of events that the parent sets."""
    children = [threading.Event() for _ in range(n)]
    for child in children:
        child.set()
    assert children[-1].is_set()


WORKS: dict[tuple[str, str], Callable[[int], None]] = {
    ("tasks", "waitgroup"): tasks_ours,
    ("tasks", "ThreadPoolExecutor"): tasks_executor,
    ("waiters", "waitgroup"): waiters_ours,
    ("waiters", "threads"): waiters_threads,
    ("nested", "waitgroup"): nested_ours,
    ("nested", "threads"): nested_threads,
    ("contexts", "waitgroup"): contexts_ours,
    ("contexts", "a list of events"): contexts_events,
}

if __name__ == "__main__":
    measure, count = WORKS[sys.argv[1], sys.argv[2]], int(sys.argv[3])
    start = time.perf_counter()
    measure(count)
    print((time.perf_counter() - start) / count * 1e9)
