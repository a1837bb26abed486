"""The works, and how each subject does them. A subject is a function that does the work once and returns its cost."""

import asyncio
import atexit
import gc
import hashlib
import logging
import os
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_futures
from functools import cache
from pathlib import Path
from typing import NamedTuple

import aiologic
import anyio
import anyio.to_thread
import distributed
import joblib
import loky
import trio
from cwaitgroup import Context, ErrGroup, WaitGroup


class Work(NamedTuple):
    name: str
    unit: str
    target: str | None
    subjects: dict[str, Callable[[], float]]  # ours is called "waitgroup"


def seconds(function: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def nothing() -> None:
    pass


# --- many tasks of nothing ---

MANY = 100_000
FEWER = 5_000  # for subjects that take a hundred times as long; the cost of each task is the same


def by_errgroup() -> None:
    with ErrGroup() as g:
        go = g.go
        for _ in range(MANY):
            go(nothing)


def by_waitgroup() -> None:
    with WaitGroup() as wg:
        go = wg.go
        for _ in range(MANY):
            go(nothing)


def by_executor() -> None:
    with ThreadPoolExecutor(8) as executor:
        submit = executor.submit
        wait_for_futures([submit(nothing) for _ in range(MANY)])


def by_asyncio() -> None:
    async def nothing_async() -> None:
        pass

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(MANY):
                tasks.create_task(nothing_async())

    asyncio.run(main())


def by_anyio() -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(FEWER):
                tasks.start_soon(anyio.to_thread.run_sync, nothing)

    anyio.run(main)


def by_joblib() -> None:
    joblib.Parallel(n_jobs=8, backend="threading")(joblib.delayed(nothing)() for _ in range(FEWER))


def by_trio() -> None:
    async def main() -> None:
        async with trio.open_nursery() as tasks:
            for _ in range(FEWER):
                tasks.start_soon(trio.to_thread.run_sync, nothing)

    trio.run(main)


def by_loky() -> float:
    """In processes, which are there already."""
    executor = loky.get_reusable_executor(max_workers=2)
    executor.submit(nothing).result()
    return per_task(lambda: wait_for_futures([executor.submit(nothing) for _ in range(FEWER)]), FEWER)()


def per_task(function: Callable[[], object], tasks: int) -> Callable[[], float]:
    return lambda: seconds(function) / tasks * 1e6


# --- the same in other processes ---

Send = Callable[[Executor, int], object]


def in_processes(send: Send) -> Callable[[], float]:
    def cost() -> float:
        with ProcessPoolExecutor(2) as executor:
            return sending_cost(executor, send, 3_000)

    return cost


def on_loky(send: Send) -> Callable[[], float]:
    return lambda: sending_cost(loky.get_reusable_executor(max_workers=2), send, 2_000)


def on_dask(send: Send) -> Callable[[], float]:
    return lambda: sending_cost(dask_client().get_executor(pure=False), send, 200)


def on_mpi(send: Send) -> Callable[[], float]:
    """In a program of its own, as mpiexec asks for."""

    def cost() -> float:
        ran = subprocess.run(
            ["mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures", Path(__file__).with_name("mpi.py")],
            env={**os.environ, **FOR_OPEN_MPI, "SEND": send.__name__},
            stdout=subprocess.PIPE,
            check=True,
        )
        return float(ran.stdout)

    return cost


FOR_OPEN_MPI = {  # it refuses root, and more processes than cores, as containers have them
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


@cache
def dask_client() -> distributed.Client:
    client = distributed.Client(
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
        )
    )
    atexit.register(client.shutdown)
    return client


def sending_cost(executor: Executor, send: Send, tasks: int) -> float:
    executor.submit(nothing).result()  # its processes are there
    return per_task(lambda: send(executor, tasks), tasks)()


def send_by_group(executor: Executor, tasks: int, limit: int | None = None) -> None:
    with ErrGroup(limit=limit, executor=executor) as g:
        for _ in range(tasks):
            g.go(nothing)


def send_with_limit(executor: Executor, tasks: int) -> None:
    send_by_group(executor, tasks, limit=64)


def send_by_itself(executor: Executor, tasks: int) -> None:
    wait_for_futures([executor.submit(nothing) for _ in range(tasks)])


def sending(name: str, engine: Callable[[Send], Callable[[], float]], executor: str) -> Work:
    return Work(
        name,
        "µs",
        "at most 10 % more than the bare executor",
        {
            "waitgroup": engine(send_by_group),
            "waitgroup, limit=64": engine(send_with_limit),
            executor: engine(send_by_itself),
        },
    )


# --- one task there and back ---

TRIPS = 2_000


def trips(function: Callable[[], object]) -> Callable[[], float]:
    def go() -> None:
        for _ in range(TRIPS):
            function()

    return lambda: seconds(go) / TRIPS * 1e6


def trip_by_executor() -> float:
    with ThreadPoolExecutor(8) as executor:
        return trips(lambda: executor.submit(nothing).result())()


def trip_by_thread() -> None:
    thread = threading.Thread(target=nothing)
    thread.start()
    thread.join()


def trip_by_group() -> float:
    with ErrGroup() as g:
        return trips(lambda: g.go(nothing).result())()


# --- calls ---

CALLS = 200_000


def loop_cost(statement: str, **names: object) -> Callable[[], float]:
    """Nanoseconds of one `statement`, without those of the loop around it."""
    code = "def go():\n for _ in range({n}):\n  {s}\n"
    work: dict[str, Callable[[], None]] = {}
    empty: dict[str, Callable[[], None]] = {}
    exec(code.format(n=CALLS, s=statement), dict(names), work)
    exec(code.format(n=CALLS, s="pass"), {}, empty)
    return lambda: max(seconds(work["go"]) - seconds(empty["go"]), 1e-9) / CALLS * 1e9


class ConditionWaitGroup:
    """A wait group as one would write it in Python."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.count = 0

    def add(self, n: int = 1) -> None:
        with self.condition:
            self.count += n

    def done(self) -> None:
        with self.condition:
            self.count -= 1
            if self.count == 0:
                self.condition.notify_all()


# --- tasks that sleep, and tasks that hash ---

SLEEPERS, NAP = 500, 0.05


def sleep_in_group() -> None:
    with ErrGroup() as g:
        for _ in range(SLEEPERS):
            g.go(time.sleep, NAP)


def sleep_in_threads() -> None:
    threads = [threading.Thread(target=time.sleep, args=(NAP,)) for _ in range(SLEEPERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


CROWD = 1_000


def crowd_in_group() -> None:
    """All wait for one thing, and are released by it."""
    gate, arrived = WaitGroup(1), WaitGroup(CROWD)

    def arrive_and_wait() -> None:
        arrived.done()
        gate.wait()

    with ErrGroup() as g:
        for _ in range(CROWD):
            g.go(arrive_and_wait)
        arrived.wait()
        gate.done()


def crowd_in_threads() -> None:
    gate, arrived = threading.Event(), threading.Barrier(CROWD + 1)

    def arrive_and_wait() -> None:
        arrived.wait()
        gate.wait()

    threads = [threading.Thread(target=arrive_and_wait) for _ in range(CROWD)]
    for thread in threads:
        thread.start()
    arrived.wait()
    gate.set()
    for thread in threads:
        thread.join()


def real_data(size: int) -> bytes:
    """The sources of the standard library, again and again."""
    text = b"".join(path.read_bytes() for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")))
    return (text * (size // len(text) + 1))[:size]


PIECES = 8
PIECE = real_data(64 << 20)  # each of the eight is hashed whole


def digest() -> None:
    hashlib.sha256(PIECE).digest()


def hash_serially() -> None:
    for _ in range(PIECES):
        digest()


def hash_in_group() -> None:
    with ErrGroup(limit=PIECES) as g:
        for _ in range(PIECES):
            g.go(digest)


def hash_in_executor() -> None:
    with ThreadPoolExecutor(PIECES) as executor:
        wait_for_futures([executor.submit(digest) for _ in range(PIECES)])


def hash_in_two_threads() -> None:
    def half() -> None:
        for _ in range(PIECES // 2):
            digest()

    threads = [threading.Thread(target=half) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# --- memory and signals, in processes of their own ---


def child(code: str) -> float:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return float(done.stdout)


MEMORY = """
import os, threading
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from cwaitgroup import ErrGroup
def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
def nothing(): pass
gate = threading.Event()
{setup}
start, started = threading.Thread.start, threading.Event()
go(lambda: (started.set(), gate.wait()))
started.wait()
def refuse(self): raise RuntimeError("one worker is enough")
if {refuse}: threading.Thread.start = refuse
for _ in range(1000): go(nothing)
before = resident()
for _ in range(50_000): go(nothing)
print((resident() - before) / 50_000)
gate.set()
{end}
"""


def memory_of_group() -> float:
    return child(MEMORY.format(setup="g = ErrGroup(); go = g.go", end="g.wait()", refuse=True))


def memory_of_executor() -> float:
    return child(MEMORY.format(setup="e = ThreadPoolExecutor(1); go = e.submit", end="e.shutdown()", refuse=False))


RESULTS = """
import os
from collections import deque
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from cwaitgroup import ErrGroup
def peak():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) / 1024
def make(i): return b"%d" % i * 400
before = peak()
{run}
print(peak() - before)
"""


def memory_of_results_in_group() -> float:
    run = "with ErrGroup(limit=2) as g:\n  for i in range(50_000): g.go(make, i)"
    return child(RESULTS.format(run=run))


def memory_of_results_in_executor() -> float:
    run = "with ThreadPoolExecutor(2) as e:\n  for i in range(50_000): e.submit(make, i)"
    return child(RESULTS.format(run=run))


INTERRUPT = """
import os, signal, threading, time
from cwaitgroup import WaitGroup
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts its background jobs with SIGINT ignored
sent = 0.0
def send():
    global sent
    time.sleep(0.1)
    sent = time.perf_counter()
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=send).start()
try:
    {wait}
except KeyboardInterrupt:
    print((time.perf_counter() - sent) * 1e3)
"""


def interrupt(wait: str) -> Callable[[], float]:
    return lambda: child(INTERRUPT.format(wait=wait))


wait_group, condition, countdown, lock, context, event = (
    WaitGroup(),
    ConditionWaitGroup(),
    aiologic.CountdownEvent(),
    threading.Lock(),
    Context(),
    threading.Event(),
)

WORKS = [
    Work(
        "a task of nothing, of 100,000",
        "µs",
        "25 times less than the executor, less than each other peer",
        {
            "waitgroup": per_task(by_errgroup, MANY),
            "WaitGroup.go": per_task(by_waitgroup, MANY),
            "ThreadPoolExecutor(8)": per_task(by_executor, MANY),
            "asyncio.TaskGroup": per_task(by_asyncio, MANY),
            "anyio.to_thread": per_task(by_anyio, FEWER),
            "trio.to_thread": per_task(by_trio, FEWER),
            "joblib threading": per_task(by_joblib, FEWER),
            "loky, 2 processes": by_loky,
        },
    ),
    sending("a task of nothing in 2 processes", in_processes, "ProcessPoolExecutor(2)"),
    sending("a task of nothing on loky", on_loky, "loky, 2 processes"),
    sending("a task of nothing on Dask", on_dask, "Dask, 2 processes"),
    sending("a task of nothing on MPI", on_mpi, "MPIPoolExecutor(2)"),
    Work(
        "one task there and back",
        "µs",
        None,
        {
            "waitgroup": trip_by_group,
            "ThreadPoolExecutor(8)": trip_by_executor,
            "Thread start and join": trips(trip_by_thread),
        },
    ),
    Work(
        "add and done",
        "ns",
        "5 times less than with Condition, at most twice Lock",
        {
            "waitgroup": loop_cost("wg.add(); wg.done()", wg=wait_group),
            "threading.Condition": loop_cost("wg.add(); wg.done()", wg=condition),
            "aiologic.CountdownEvent": loop_cost("c.up(); c.down()", c=countdown),
            "Lock acquire and release": loop_cost("lock.acquire(); lock.release()", lock=lock),
        },
    ),
    Work(
        "wait at zero",
        "ns",
        "at most 1.5 times an empty method",
        {
            "waitgroup": loop_cost("wg.wait()", wg=wait_group),
            "an empty method in C": loop_cost("lock.locked()", lock=lock),
        },
    ),
    Work(
        "looking for cancellation",
        "ns",
        None,
        {
            "waitgroup": loop_cost("context.cancelled()", context=context),
            "Event.is_set": loop_cost("event.is_set()", event=event),
        },
    ),
    Work(
        "500 tasks that sleep 50 ms",
        "s",
        "at most twice 500 threads",
        {
            "waitgroup": lambda: seconds(sleep_in_group),
            "500 threads": lambda: seconds(sleep_in_threads),
        },
    ),
    Work(
        "1,000 tasks that wait for one thing, and are released",
        "s",
        "at most twice 1,000 threads",
        {
            "waitgroup": lambda: seconds(crowd_in_group),
            "1,000 threads": lambda: seconds(crowd_in_threads),
        },
    ),
    Work(
        "8 tasks that hash 64 MB each",
        "s",
        "within 5 % of half the serial time, on two cores",
        {
            "waitgroup": lambda: seconds(hash_in_group),
            "half the serial time": lambda: seconds(hash_serially) / 2,
            "two threads": lambda: seconds(hash_in_two_threads),
            "ThreadPoolExecutor(8)": lambda: seconds(hash_in_executor),
        },
    ),
    Work(
        "memory of a queued task",
        "bytes",
        "at most 250 bytes",
        {
            "waitgroup": memory_of_group,
            "ThreadPoolExecutor": memory_of_executor,
        },
    ),
    Work(
        "memory of 50,000 results of 2 KB that nobody keeps, limit 2",
        "MB",
        None,
        {
            "waitgroup": memory_of_results_in_group,
            "ThreadPoolExecutor(2)": memory_of_results_in_executor,
        },
    ),
    Work(
        "from Ctrl-C to KeyboardInterrupt",
        "ms",
        "well under 500 ms",
        {
            "waitgroup": interrupt("WaitGroup(1).wait()"),
            "Event.wait": interrupt("threading.Event().wait()"),
        },
    ),
]
