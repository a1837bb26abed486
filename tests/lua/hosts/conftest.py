"""Programs that have Lua inside, from Debian, and the module in them. `make verify-lua-hosts` runs this."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TOP = HERE.parents[2]
BUILD = TOP / os.environ.get("LUA_BUILD", "build/lua")
HANG = 100  # seconds; tells a hang from a slow machine
EMBEDDING = TOP / "docs/embedding.md"
LUA = os.environ.get("HOSTS_LUA", "5.4")  # for which the module was built

sys.path.append(str(TOP / "tests/docs"))  # for `snippets`

LUA_PATH = f"{HERE}/?.lua;{BUILD}/?.lua;{BUILD}/?/init.lua;;"
LUA_CPATH = f"{BUILD}/?.so;;"
ENVIRONMENT = {**os.environ, "LUA_PATH": LUA_PATH, "LUA_CPATH": LUA_CPATH}


def lua_of(program: str) -> str | None:
    """The version of the shared Lua library that the program is linked to."""
    found = re.search(r"liblua(\d\.\d)", subprocess.run(["ldd", program], capture_output=True, text=True).stdout)
    return found and found[1]


def need(name: str) -> str:
    """The path of a program with the right Lua inside; else the test is skipped."""
    program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/games")
    if not program:
        pytest.skip(f"{name} is not there")
    version = lua_of(program)
    if version != LUA:
        pytest.skip(f"{name} has {'Lua ' + version if version else 'no Lua'} inside, and the module is for Lua {LUA}")
    return program


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A host that runs until it is stopped, with its output in a file."""

    def __init__(self, command: list, directory: Path, **environment: str):
        self.output = directory / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=directory,
                env={**ENVIRONMENT, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def log(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_until(self, is_so, runs: bool = True) -> None:
        """`runs`: the server must not end meanwhile."""
        end = time.monotonic() + HANG
        while not is_so():
            assert not runs or self.process.poll() is None, self.log()
            assert time.monotonic() < end, self.log()
            time.sleep(0.02)

    def listens(self, port: int) -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=HANG).close()
        except OSError:
            return False
        return True

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Its exit status."""
        self.process.send_signal(how)
        try:
            return self.process.wait(HANG)
        finally:
            self.process.kill()


@pytest.fixture
def serve(tmp_path):
    """serve(command) starts a server, which is stopped at the end of the test."""
    servers = []

    def start(command, **environment):
        servers.append(Server(command, tmp_path, **environment))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.stop()
