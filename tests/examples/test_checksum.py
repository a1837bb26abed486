"""The checksum example against sha256sum, and its ways to stop."""

import contextlib
import os
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]


def sha256sum(*files: str, cwd: Path | None = None) -> str:
    return subprocess.run(
        ["sha256sum", *files], check=True, capture_output=True, text=True, cwd=cwd, errors="surrogateescape"
    ).stdout


@pytest.fixture
def tree(tmp_path):
    """A tree with an empty file, a big one, a link, subdirectories, hidden entries and awkward names."""
    root = tmp_path / "a tree"
    contents = {
        "empty": b"",
        "big": os.urandom(3_000_001),
        "sub/one": b"1",
        "sub/sub/two words": b"2",
        "sub-one": b"3",
        "back\\slash": b"4",
        "end of\nline": b"5",
        "return\r": b"6",
        "ünïcode": b"7",
        os.fsdecode(b"not utf-8 \xff"): b"8",
        ".hidden": b"9",
        ".git/objects": b"10",
    }
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "link").symlink_to("empty")
    (root / "link to directory").symlink_to("sub")
    os.mkfifo(root / "fifo")
    return root


def test_equals_sha256sum(example, tree):
    ran = example("checksum", tree)
    visible = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(tree)
        for name in names
        if name != "fifo" and "/." not in os.path.join(folder, name)
    ]
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert ran.stdout == sha256sum(*sorted(visible, key=os.fsencode))


def test_the_working_directory_is_the_default(example, tree):
    ran = example("checksum", cwd=tree / "sub")
    assert ran.stdout == sha256sum("./one", "./sub/two words", cwd=tree / "sub")


def test_sha256sum_accepts_it_for_the_sources_of_this_project(example):
    ran = example("checksum", TOP / "core")
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) >= len(list(TOP.glob("core/**/*.h")))
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet"], input=ran.stdout, text=True, check=True)


def test_stops_at_a_file_that_cannot_be_read(example, tree):
    (tree / "sub" / "dangling").symlink_to("nowhere")
    ran = example("checksum", tree)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.strip() == f"checksum: {tree}/sub/dangling: No such file or directory"


def test_a_directory_that_is_not_there(example, tree):
    ran = example("checksum", tree / "nowhere")
    assert ran.returncode == 1
    assert "nowhere" in ran.stderr and len(ran.stderr.strip().splitlines()) == 1


def test_an_empty_directory(example, tmp_path):
    ran = example("checksum", tmp_path)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("", "", 0)


def open_files(pid: int) -> list[str]:
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def test_ctrl_c_stops_it(command, tmp_path):
    """Files of zeros without end: only a cancelled group stops reading them."""
    for i in range(8):
        (tmp_path / f"zeros{i}").touch()
        os.truncate(tmp_path / f"zeros{i}", 1 << 42)
    process = subprocess.Popen(
        [*command("checksum"), tmp_path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        while not any(name.startswith(f"{tmp_path}/zeros") for name in open_files(process.pid)):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (stdout, stderr, process.returncode) == (b"", b"", 130)


def test_shows_progress_on_a_terminal_only(command, tree):
    terminal, its_other_side = os.openpty()
    termios.tcsetwinsize(its_other_side, (24, 80))
    with open(terminal, "rb", buffering=0) as seen:
        process = subprocess.Popen(
            [*command("checksum"), tree], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=its_other_side
        )
        os.close(its_other_side)
        stdout, _ = process.communicate(timeout=60)
        text = b""
        while True:
            try:
                text += seen.read(4096)
            except OSError:  # the terminal's end
                break
    assert process.returncode == 0
    assert stdout.count(b"\n") == 11
    assert b"11" in text and b"files" in text
