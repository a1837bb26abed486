"""fresh-machine with an unshare of our own: it starts nothing that outlives it."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import TOP

# It runs what the tool would run in the namespace, which is a process that does not end.
UNSHARE = 'case "$*" in *--fork*) echo $$ >"$PIDS.new"; mv "$PIDS.new" "$PIDS"; exec sleep 1000;; esac'


@pytest.fixture
def tool(tmp_path, script):
    """The tool at work on its one case, and the process that it runs in the namespace."""
    for name, text in {"id": "echo 0", "debootstrap": "", "apt-get": "", "unshare": UNSHARE}.items():
        script(f"bin/{name}", text)
    base = tmp_path / "waitgroup-fresh/trixie"
    base.mkdir(parents=True)
    (base / ".ready").touch()
    pids = tmp_path / "pids"
    environment = os.environ | {
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path),
        "PIDS": str(pids),
    }
    tool = subprocess.Popen([TOP / "tools/fresh-machine", "root:trixie"], env=environment)
    while not pids.exists():
        assert tool.poll() is None, "it ended at once"
        time.sleep(0.01)
    inside = int(pids.read_text())
    yield tool, inside
    tool.kill()
    tool.wait()
    if runs(inside):
        os.kill(inside, signal.SIGKILL)


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "XZ"


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_what_it_runs_ends_with_it(tool, kill):
    process, inside = tool
    assert runs(inside)
    process.send_signal(kill)
    process.wait(60)
    deadline = time.monotonic() + 60
    while runs(inside) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not runs(inside)
