"""A timeline: what its file tells, that it is whole whatever becomes of the program, and what the summary says."""

import json
import os
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from cwaitgroup import ErrGroup, WaitGroup, _timeline, trace

ON = {"cat": "task", "ph": "X"}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "timeline.json"


def events(file, **fields):
    """Those of the file with these fields."""
    found = json.loads(file.read_text())["traceEvents"]
    return [e for e in found if all(e.get(key) == value for key, value in fields.items())]


def tasks_of(file, group):
    """Other tests may have left some that have not ended."""
    return [e for e in events(file, **ON) if e["args"].get("group") == group]


def fail():
    raise ValueError('three "quoted" é')


# --- what is told ---


def test_tasks_are_told_by_thread_with_group_outcome_and_error(file):
    with trace(file), pytest.raises(ValueError), ErrGroup(name="squares") as g:
        g.go(pow, 2, 3)
        g.start(fail, name="the bad one")
    tasks = {e["name"]: e for e in tasks_of(file, "squares")}
    assert tasks["pow"]["args"]["group"] == "squares"
    assert tasks["pow"]["args"]["outcome"] == "succeeded"
    assert tasks["the bad one"]["args"]["error"] == 'ValueError: three "quoted" é'
    names = {e["tid"]: e["args"]["name"] for e in events(file, name="thread_name")}
    assert all(names[e["tid"]].startswith("cwaitgroup-") for e in tasks.values())
    assert names[os.getpid()] == "main"
    (mark,) = events(file, cat="cancel", name="cancelled: squares")
    assert mark["args"]["cause"] == 'ValueError: three "quoted" é'
    (group,) = events(file, cat="group", ph="b", name="squares")
    assert group["args"]["made at"].startswith("test_trace.py:")
    assert group["args"]["outcome"] == "a task failed"


def test_an_arrow_leads_from_each_go_to_its_task(file):
    with trace(file), ErrGroup(limit=2, name="arrows") as g:
        g.map(pow, range(20), [2] * 20)
    begins, ends = events(file, ph="s"), events(file, ph="f")
    assert sorted(e["id"] for e in begins) == sorted(e["id"] for e in ends)
    assert len({e["id"] for e in begins}) == 20
    tasks = {(e["tid"], e["ts"]): e for e in events(file, **ON)}
    goes = {(e["tid"], e["ts"]) for e in events(file, cat="go", ph="X")}
    begun = {e["id"]: e["ts"] for e in begins}
    for end in ends:
        task = tasks[end["tid"], end["ts"]]
        assert task["args"]["queued"] == pytest.approx(task["ts"] - begun[end["id"]], abs=0.01)
    assert all((e["tid"], e["ts"]) in goes for e in begins)


def test_slices_of_a_thread_nest(file):
    def nested(depth):
        with ErrGroup(name=f"depth {depth}") as g:
            for _ in range(2):
                g.go(nested, depth - 1) if depth else g.go(sum, range(1000))

    with trace(file):
        nested(3)
    by_thread = {}
    for e in events(file, ph="X"):
        by_thread.setdefault(e["tid"], []).append(e)
    for slices in by_thread.values():
        open_ = []
        for e in sorted(slices, key=lambda e: (e["ts"], -e["dur"])):
            while open_ and open_[-1] <= e["ts"]:
                open_.pop()
            end = e["ts"] + e["dur"]
            assert not open_ or end <= open_[-1] + 0.002, e
            open_.append(end)


def test_waits_are_told_with_what_they_are_for(file):
    gate = threading.Event()
    asleep = threading.Event()

    def go_on(g):
        asleep.set()
        g.go(int)

    with trace(file):
        wg = WaitGroup(1)
        assert not wg.wait(0.001)
        with ErrGroup(name="held", limit=1) as g:
            g.go(gate.wait)
            feeder = threading.Thread(target=go_on, args=[g], name="feeder")
            feeder.start()
            asleep.wait()
            assert not wg.wait(0.05)
            gate.set()
            feeder.join()
    told = {(e["args"]["for"], e["args"].get("outcome")) for e in events(file, cat="wait")}
    assert ("a wait group", "timeout") in told


def test_a_wait_of_the_main_thread_is_one_slice(file):
    """Though it looks for signals twice a second."""
    wg = WaitGroup(1)
    with trace(file):
        assert not wg.wait(1.2)
    (wait,) = events(file, cat="wait", tid=os.getpid())
    assert wait["dur"] >= 1.2e6
    assert wait["args"]["outcome"] == "timeout"


def test_threads_of_the_program_have_their_names(file):
    wg = WaitGroup(1)

    def wait():
        wg.wait(0.01)
        told.set()
        over.wait()

    told, over = threading.Event(), threading.Event()
    with trace(file):
        feeder = threading.Thread(target=wait, name="the feeder")
        feeder.start()
        told.wait()
    over.set()
    feeder.join()
    assert [e["args"]["name"] for e in events(file, name="thread_name", tid=feeder.native_id)][-1] == "the feeder"


def test_tasks_on_an_executor_have_tracks_of_their_own(file):
    with trace(file), ThreadPoolExecutor(2) as executor, ErrGroup(name="borrowed", executor=executor) as g:
        g.start(pow, [2, 3], name="elsewhere")
    (begin,) = events(file, cat="task", ph="b", name="elsewhere")
    (end,) = events(file, cat="task", ph="e", name="elsewhere")
    assert begin["id2"] == end["id2"]
    assert begin["ts"] <= end["ts"]
    assert begin["args"]["group"] == "borrowed"
    assert begin["args"]["outcome"] == "succeeded"


# --- begin and end ---


def test_what_has_not_ended_is_told_as_unfinished(file):
    gate = threading.Event()
    with ErrGroup(name="open") as g:
        begun = threading.Event()
        with trace(file):
            g.start(lambda: (begun.set(), gate.wait()), name="holder")
            begun.wait()
        gate.set()
    (task,) = tasks_of(file, "open")
    assert task["args"]["outcome"] == "unfinished"
    (group,) = events(file, cat="group", ph="b", name="open")
    assert group["args"]["outcome"] == "unfinished"


def test_there_is_one_at_a_time(file, tmp_path):
    with trace(file):
        refused = pytest.raises(
            RuntimeError, match=r"^trace\(\): a timeline is being written already: end that one first$"
        )
        with refused, trace(tmp_path / "other.json"):
            pass
        with ErrGroup(name="first") as g:
            g.go(int)
    assert len(tasks_of(file, "first")) == 1
    with trace(file), ErrGroup(name="second") as g:
        g.map(int, "123")
    assert len(tasks_of(file, "second")) == 3
    assert not tasks_of(file, "first")


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"), trace(tmp_path / "nowhere" / "t.json"):
        pass
    with pytest.raises(IsADirectoryError), trace(tmp_path):
        pass
    with pytest.raises(TypeError), trace(1.5):
        pass


def test_a_full_disk_is_told(run, tmp_path):
    out = run(f"""
        import resource, signal
        from cwaitgroup import ErrGroup, trace
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))
        try:
            with trace({str(tmp_path / "t.json")!r}), ErrGroup() as g:
                g.map(abs, range(2000))
        except OSError as error:
            print(error)
    """)
    assert out == "trace(): a part of the file could not be written: see whether the disk is full"


def test_an_error_of_the_block_comes_out_of_it(file):
    with pytest.raises(KeyError), trace(file):
        raise KeyError("x")
    assert events(file, name="process_name")


# --- processes ---

WORK = """
from cwaitgroup import *
import os, sys, threading, time
def work(n):
    with ErrGroup(name="work") as g:
        g.map(int, [1] * n)
"""


def test_it_is_complete_when_the_process_exits(child, file):
    code = WORK + "work(5); g = ErrGroup(); g.start(time.sleep, [1000], name='still there'); work(1)\n"
    status, _, err = child(code, WAITGROUP_TRACE=str(file)).end()
    assert (status, err) == (0, "")
    assert Counter(e["name"] for e in events(file, **ON)) == {"int": 6, "still there": 1}
    assert events(file, name="still there", **ON)[0]["args"]["outcome"] == "unfinished"


def test_it_is_complete_after_a_failed_task(child, file):
    status, _, err = child(WORK + "with ErrGroup() as g: g.go(int, 'x')", WAITGROUP_TRACE=str(file)).end()
    assert status == 1
    assert "ValueError" in err
    (task,) = events(file, **ON)
    assert task["args"]["error"].startswith("ValueError: invalid literal")


def test_it_is_complete_after_control_c(child, file):
    code = (
        WORK + "work(3)\nwith ErrGroup(name='long') as g:\n"
        "  g.go(lambda: (print('ready', flush=True), g.context.wait())); g.wait()"
    )
    process = child(code, WAITGROUP_TRACE=str(file))
    assert process.read_line() == "ready"
    process.process.send_signal(signal.SIGINT)
    status, _, err = process.end()
    assert status != 0
    assert "KeyboardInterrupt" in err
    assert len(events(file, **ON)) == 4
    assert any(e["name"] == "cancelled: long" for e in events(file, cat="cancel"))


def test_the_child_of_a_fork_writes_nothing_into_it(child, file):
    text = WORK + "work(3)\npid = os.fork()\nwork(100 if pid == 0 else 4)\n"
    text += "if pid == 0: sys.exit()\nos.waitpid(pid, 0)\n"
    without = "-Wignore::DeprecationWarning"  # of fork in a process with threads
    status, _, err = child(text, without, WAITGROUP_TRACE=str(file)).end()
    assert (status, err) == (0, "")
    assert len(events(file, **ON)) == 7


def test_two_processes_write_two_files(child, file):
    text = WORK + (
        "import subprocess\nwork(3)\nprint(subprocess.Popen([sys.executable, '-c', 'from cwaitgroup import *; "
        "g = ErrGroup(); g.go(int); g.wait()']).wait())\nwork(1)\n"
    )
    status, out, err = child(text, WAITGROUP_TRACE=str(file)).end()
    assert (status, out, err) == (0, "0", "")
    assert len(events(file, **ON)) == 4
    (other,) = file.parent.glob("timeline.json.*")
    assert len(events(other, **ON)) == 1


def test_a_name_that_cannot_be_written_is_told_and_does_no_harm(child):
    status, out, err = child(WORK + "work(1); print('well')", WAITGROUP_TRACE="/nowhere/t.json").end()
    assert (status, out) == (0, "well")
    assert err == "waitgroup: WAITGROUP_TRACE=/nowhere/t.json: the file cannot be written"


# --- the summary ---


def span(begin, end, thread, name, cat="task", **args):
    return {"ph": "X", "cat": cat, "ts": begin, "dur": end - begin, "tid": thread, "pid": 1, "name": name, "args": args}


@pytest.fixture
def small():
    return [
        {"ph": "M", "pid": 1, "tid": 7, "name": "thread_name", "args": {"name": "main"}},
        span(0, 1000000, 8, "outer", group="a", queued=10.0, outcome="succeeded"),
        span(200000, 800000, 8, "wait for the tasks of 'b'", "wait", **{"for": "the tasks of 'b'"}),
        span(200000, 800000, 9, "inner", group="b", queued=30000.0, outcome="failed", error="ValueError: x"),
        span(100000, 1000000, 7, "wait for the tasks of 'a'", "wait", **{"for": "the tasks of 'a'"}),
        {
            "ph": "i",
            "cat": "cancel",
            "ts": 800000,
            "tid": 9,
            "name": "cancelled: b",
            "args": {"cause": "ValueError: x"},
        },
    ]


def test_the_summary_tells_what_is_in_a_timeline(small):
    text = "\n".join(_timeline.summary(small))
    assert text.startswith("2 tasks in 1 s: 1 failed, 1 succeeded; 2 threads\n")
    assert "Threads that work in a task, 1 on average:\n     1 |" + "#" * 60 + "\n" in text
    assert "\n  1 s     outer  in 'a'  succeeded\n  600 ms  inner  in 'b'  ValueError: x\n" in text
    assert (
        "In the queue, half of the tasks for 10 µs or longer:\n  30 ms  inner  in 'b'\n  10 µs  outer  in 'a'\n" in text
    )
    assert (
        "  900 ms  1x  thread 'main'  for the tasks of 'a'\n  600 ms  1x  task 'outer'   for the tasks of 'b'" in text
    )
    assert text.endswith("Cancelled:\n  at 800 ms  cancelled: b  ValueError: x")


def test_a_thread_that_waits_does_not_work(small):
    tasks, waits = _timeline.spans(small, "task"), [w for w in _timeline.spans(small, "wait") if w.thread == 8]
    parts = _timeline.busy(tasks, waits, 0, 1000000)
    assert all(part == pytest.approx(1) for part in parts)
    assert sum(_timeline.busy(tasks, [], 0, 1000000)) / 60 == pytest.approx(1.6)


def test_a_task_inside_a_wait_is_counted_once():
    tasks = [_timeline.Span(0, 100, 1, "outer", {}), _timeline.Span(20, 40, 1, "helped", {})]
    assert sum(_timeline.busy(tasks, [], 0, 100)) / 60 == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "Expecting value"), ("{}", "no trace events in it"), ('{"traceEvents": []}', "no tasks in it")],
)
def test_other_files_are_refused(file, capsys, text, told):
    file.write_text(text)
    _timeline.main([str(file)])
    out = capsys.readouterr()
    assert told in out.out + out.err


def test_the_command(child, start, file):
    assert child(WORK + "work(7)", WAITGROUP_TRACE=str(file)).end()[0] == 0
    status, out, err = start("-m", "cwaitgroup", "timeline", str(file)).end()
    assert (status, err) == (0, "")
    assert out.startswith("7 tasks in ")
    assert "in 'work'" in out
    assert start("-m", "cwaitgroup", "timeline").end()[::2] == (2, "usage: python -m cwaitgroup timeline FILE")
    status, out, err = start("-m", "cwaitgroup", "timeline", "/nowhere").end()
    assert status == 1
    assert "No such file" in err


def test_a_long_timeline_is_summed_up_in_a_moment():
    many = [span(i * 10, i * 10 + 9, i % 5 + 1, "t", group="g", queued=1.0, outcome="succeeded") for i in range(50_000)]
    many += [span(i * 10 + 1, i * 10 + 5, i % 5 + 1, "w", "wait", **{"for": "x"}) for i in range(50_000)]
    text = _timeline.summary(many)
    assert text[0].startswith("50000 tasks in 500 ms")
    assert "  200 ms  50000x  task 't'  for x" in text


def test_a_number_is_no_file_and_its_descriptor_stays_open(tmp_path):
    with open(tmp_path / "file", "w") as file:
        with pytest.raises(TypeError), trace(file.fileno()):
            pass
        os.fstat(file.fileno())
