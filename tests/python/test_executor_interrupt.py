"""Ctrl-C while a group's tasks run on an executor: what has not started never does, and nothing stays behind."""

import os
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import until
from test_executor import ENGINES

PROGRAM = Path(__file__).with_name("executor_interrupted.py")
PACKAGES = {"loky": "loky", "dask": "distributed"}


def processes_of_session(session):
    """The live ones."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has just gone
            continue
        if int(of) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize("sent_to", ["the program", "all its processes"])
@pytest.mark.parametrize("engine", [*ENGINES, "dask"])
def test_ctrl_c(start, tmp_path, engine, sent_to):
    if engine in PACKAGES and not find_spec(PACKAGES[engine]):
        pytest.skip(f"needs {PACKAGES[engine]}")
    program = start(PROGRAM, engine, tmp_path, PYTHONWARNINGS="ignore")
    assert program.read_line() == "ready"
    until(lambda: len(list(tmp_path.glob("running *"))) >= 2)
    (os.kill if sent_to == "the program" else os.killpg)(program.process.pid, signal.SIGINT)
    status, out, err = program.end()
    assert (status, out) == (0, "0"), err
    until(lambda: not processes_of_session(program.process.pid))
