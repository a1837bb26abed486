"""Programs in which gevent or eventlet has replaced what threading is made of, before or after the import."""

import importlib.util

import pytest

PATCH = {
    "gevent": "import gevent; from gevent import monkey; monkey.patch_all(); gevent.get_hub()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
# To run a function without blocking the hub, and to spawn and sleep in a green thread.
GREEN = {
    "gevent": "elsewhere = gevent.get_hub().threadpool.apply; spawn, nap = gevent.spawn, gevent.sleep",
    "eventlet": "from eventlet import tpool; elsewhere = lambda fn, *args: tpool.execute(fn, *args)\n"
    "spawn, nap = eventlet.spawn, eventlet.sleep",
}


@pytest.fixture(params=PATCH)
def library(request):
    if not importlib.util.find_spec(request.param):
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture(params=["patched first", "patched after the import"])
def patched(request, library, run):
    """patched(code) runs code, with what it needs imported, in a program that is patched."""
    steps = {
        "patched first": [PATCH[library], "from cwaitgroup import *"],
        "patched after the import": ["from cwaitgroup import *", PATCH[library]],
    }[request.param]

    def run_patched(code):
        return run("\n".join([*steps, GREEN[library], "import threading, time", code]), "-W", "ignore")

    return run_patched


def test_tasks_run(patched):
    out = patched("""
with ErrGroup() as g:
    g.go(int)
with ErrGroup(limit=2) as g:
    print(g.map(pow, range(5), [2] * 5))
wg = WaitGroup()
for _ in range(5):
    wg.go(int)
print(wg.wait(60))
try:
    with ErrGroup() as g:
        g.go(g.context.wait)
        g.go(int, "x")
except ValueError:
    print("ValueError")
print(Context(timeout=0.01).wait(60))
called = []
ctx = Context(timeout=0.01)
ctx.add_callback(lambda: called.append(1))
while not called:
    WaitGroup(1).wait(0.001)
""")
    assert out.splitlines() == ["[0, 1, 4, 9, 16]", "True", "ValueError", "True"]


def test_workers_are_threads_of_the_system(patched):
    out = patched("""
import os, ctypes
gettid = ctypes.CDLL(None).gettid
both = WaitGroup(2)
def task():
    both.done()
    assert both.wait(60)  # the hub would not switch here
    return gettid()
with ErrGroup() as g:
    tasks = [g.go(task) for _ in range(2)]
ids = {task.result() for task in tasks} | {os.getpid()}
print(len(ids), ids <= set(map(int, os.listdir("/proc/self/task"))))
""")
    assert out == "3 True"


def test_the_remedy_keeps_the_hub_running(patched):
    """What the guide says: wait in a thread of the library's pool."""
    out = patched("""
ticks, done = [], []
def tick():
    while not done:
        ticks.append(1)
        nap(0.001)
def work():
    seen = WaitGroup(1)
    def task():
        before = len(ticks)
        while len(ticks) < before + 3:
            seen.wait(0.001)
        return "ticked"
    with ErrGroup() as g:
        task = g.go(task)
    return task.result()
spawn(tick)
print(elsewhere(work))
done.append(1)
""")
    assert out == "ticked"


def test_tasks_may_use_what_is_patched(patched):
    out = patched("""
def task():
    time.sleep(0.001)  # in a hub of this thread
    with threading.Lock():
        return threading.current_thread() is threading.main_thread()
with ErrGroup(limit=1) as g:
    print(g.map(lambda _: task(), range(3)))
""")
    assert out == "[False, False, False]"


def test_tracing_sees_tasks(patched):
    out = patched("""
seen = set()
def trace(frame, event, arg):
    seen.add(frame.f_code.co_name)
def task(): pass
threading.settrace(trace)
with ErrGroup() as g:
    g.go(task)
print("task" in seen)
""")
    assert out == "True"


def test_queues_join_tasks(patched):
    out = patched("""
import queue
numbers, squares = Queue(2), Queue(2)
with ErrGroup(timeout=60) as g:
    g.go(lambda: ([numbers.put(n) for n in range(100)], numbers.shutdown()))
    with ErrGroup(context=g.context) as workers:
        for _ in range(3):
            workers.go(lambda: [squares.put(n * n) for n in numbers])
        total = g.go(lambda: sum(squares))
        workers.wait()
        squares.shutdown()
print(total.result())
try:
    numbers.get(timeout=0.01)
except ShutDown:
    print("shut down")
try:
    Queue().get(timeout=0.01)
except queue.Empty:
    print("empty")
print(len(list(as_completed([workers.go(int) for workers in [ErrGroup()] for _ in range(5)]))))
""")
    assert out.split("\n") == ["328350", "shut down", "empty", "5"]
