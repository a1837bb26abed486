"""A program that hangs can be looked into, whatever it is stuck in."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from cwaitgroup import ErrGroup, WaitGroup, _core, dump, dump_on_signal
from cwaitgroup._inspect import ask


def dumped() -> str:
    text = io.StringIO()
    dump(text)
    return text.getvalue()


def dumped_with(pattern: str) -> str:
    """Look again and again until the dump says so."""
    while not re.search(pattern, text := dumped()):
        threading.Event().wait(0.005)
    return text


def test_tasks_waits_and_places_are_told():
    gate = threading.Event()

    def hold():
        gate.wait()

    def wait_for_inner():
        with ErrGroup(name="inner", limit=3) as inner:
            inner.go(hold)

    with ErrGroup(name="outer", timeout=1000) as outer:
        outer.start(wait_for_inner, name="the waiter")
        text = dumped_with(r"(?s)the waiter' waits[^\n]* in [^\n]*wait_for_inner.*hold' runs[^\n]* in Condition.wait")
        gate.set()
    assert re.search(
        r"task 'the waiter' waits for the tasks of error group 'inner', for \d+\.\d s, at .*test_dump.py:\d+; "
        r"it began .* in thread \d+ "
        r"\(0x[0-9a-f]+\) at test_dump.py:\d+ in .*wait_for_inner",
        text,
    )
    assert re.search(r"error group 'inner' \(Python, made at test_dump.py:\d+, .*\): 1 running, .*limit 3", text)
    assert re.search(r"error group 'outer' \(Python, .*deadline in \d+\.\d s", text)
    assert re.search(r"task '.*hold' runs, for \d+\.\d s, in thread .* at threading.py:\d+ in Condition.wait", text)
    assert "'MainThread': test_dump.py:" in text
    assert re.search(r"'outer'.* 0 running, 0 pending, 1 completed, waited for", dumped())


def test_a_wait_of_the_main_thread_is_told():
    wg = WaitGroup(1)
    thread = threading.Thread(target=lambda: wg.wait(1000))
    thread.start()
    text = dumped_with("waits for zero of the wait group")
    wg.done()
    thread.join()
    assert re.search(
        r"thread \d+ \(0x.*\) at .* waits for zero of the wait group at 0x.*, at most \d+\.\d s more", text
    )


def test_the_wait_of_the_main_thread_is_as_old_as_its_call():
    """Though it looks for signals twice a second."""
    with ErrGroup(name="slow") as g:
        old = r"waits for the tasks of error group 'slow'(, at [^,]*)?, for (0\.[6-9]|[1-9]\d*\.\d) s\n"
        look = g.start(dumped_with, [old], name="look")
    assert look.result()


def test_the_main_thread_keeps_its_place_among_those_that_wait_for_a_slot(gate):
    """Though it looks for signals twice a second."""
    order = []
    with ErrGroup(name="narrow", limit=1) as g:
        g.go(gate.wait)

        def come_later():
            dumped_with(r"waits for a slot of error group 'narrow'(, at [^,]*)?, for (0\.[6-9]|[1-9]\d*\.\d) s\n")
            later = threading.Thread(target=g.go, args=(order.append, "later"))
            later.start()
            dumped_with(r"(?s)waits for a slot of error group 'narrow'.*waits for a slot of error group 'narrow'")
            dumped_with(r"waits for a slot of error group 'narrow'(, at [^,]*)?, for (1\.[2-9]|[2-9]\.\d) s\n")
            gate.set()
            later.join()

        second = threading.Thread(target=come_later)
        second.start()
        g.go(order.append, "main")
        second.join()
    assert order == ["main", "later"]


def test_names_of_all_kinds_are_told():
    gate = threading.Event()
    with ErrGroup(name="größe") as g:
        for name in ("ünïcode", "'quoted'", "x" * 500, "\ud800"):
            g.start(gate.wait, name=name)
        text = dumped_with("4 running")
        gate.set()
    for said in ("'größe'", "'ünïcode'", "''quoted''", "'" + "x" * 79 + "'", "task ''"):
        assert said in text


def test_it_goes_to_standard_error_by_default(capsys):
    with ErrGroup(name="seen"):
        dump()
    assert "error group 'seen'" in capsys.readouterr().err


def test_signals_that_cannot_be_caught_are_refused():
    for signum in (signal.SIGKILL, 0, 1000, -1):
        with pytest.raises(ValueError, match="cannot be caught"):
            dump_on_signal(signum)


@contextlib.contextmanager
def hung(code: str, **environment: str):
    """A program that says "ready" and hangs, with its children."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def read_until(stream, end: str) -> str:
    """All up to a line with `end`."""
    lines = []
    while not lines or end not in lines[-1]:
        lines.append(stream.readline())
        assert lines[-1], "it has ended: " + "".join(lines)
    return "".join(lines)


HOLDS_THE_GIL = """
    import re
    from cwaitgroup import ErrGroup
    def search():
        print("ready", flush=True)
        re.match(r"(a+)+$", "a" * 60 + "b")  # takes years, and never gives the GIL away
    with ErrGroup(name="regexes") as g:
        g.go(search)
"""

IN_OUR_CALLS = """
    from cwaitgroup import ErrGroup, WaitGroup
    def search():
        print("ready", flush=True)
        WaitGroup(1).wait(1000)
    with ErrGroup(name="regexes") as g:
        g.go(search)
"""


@pytest.mark.parametrize("code", [HOLDS_THE_GIL, IN_OUR_CALLS])
@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal")
def test_the_environment_asks_for_a_dump_at_a_signal(code):
    with hung(code, WAITGROUP_DUMP="USR1") as process:
        os.kill(process.pid, signal.SIGUSR1)
        text = read_until(process.stderr, "pool '")
    assert "in search" in text  # by faulthandler
    assert "error group 'regexes' (Python, made at <string>:" in text
    assert "task 'search' " in text


def test_a_fork_answers_for_itself():
    code = """
        import os, signal, cwaitgroup
        cwaitgroup.dump_on_signal(signal.SIGUSR1)
        print("ready", flush=True)
        def ask():
            while "waits for the tasks of error group 'child's'" not in cwaitgroup._core._dump():
                pass
            os.kill(os.getpid(), signal.SIGUSR1)
            cwaitgroup.WaitGroup(1).wait(20)
        if os.fork() == 0:
            with cwaitgroup.ErrGroup(name="child's") as g:
                g.go(ask)
            os._exit(0)
        os.wait()
    """
    with hung(code) as process:
        read_until(process.stderr, "error group 'child's'")


def test_the_command_asks_a_process():
    with hung(IN_OUR_CALLS, WAITGROUP_DUMP="SIGUSR1") as process:
        command = [sys.executable, "-m", "cwaitgroup", "dump", str(process.pid)]
        asked = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "by SIGUSR1" in asked.stdout
        read_until(process.stderr, "error group 'regexes'")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="the system does not tell who catches what")
def test_the_command_does_not_end_a_process_that_does_not_answer(capsys):
    with hung("print('ready', flush=True); input()") as process:
        assert ask([str(process.pid)]) == 1
        assert "WAITGROUP_DUMP=USR1" in capsys.readouterr().err
        assert process.poll() is None
    assert ask([]) == 2
    assert ask(["x"]) == 2
    assert ask(["1", "NONE"]) == 2


def test_a_signal_that_does_not_exist_is_told():
    code = "import cwaitgroup"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"WAITGROUP_DUMP": "NONE"}
    )
    assert done.returncode == 0
    assert "WAITGROUP_DUMP=NONE" in done.stderr


def test_leaks_are_told():
    before = _core._now()
    g = ErrGroup(name="left")
    g.go(int)
    assert re.search(r"leak: error group 'left' \(Python, made at test_dump.py:\d+\): ", _core._leaks(before))
    g.wait()
    assert "'left'" not in _core._leaks(before)
