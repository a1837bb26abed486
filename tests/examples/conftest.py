"""How to run the example NAME in each language: the fixture `example` is parametrised over the three."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
HANG = 120  # seconds; tells a hang from a slow machine
COMMANDS = {
    "python": lambda name: [sys.executable, f"{TOP}/examples/python/{name}.py"],
    "lua": lambda name: [f"{TOP}/tools/in-tree-lua", f"{TOP}/examples/lua/{name}.lua"],
    "c": lambda name: [f"{TOP}/build/examples/{name}"],
}

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job of a shell; programs inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

Command = Callable[[str], list[str]]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> Command:
    """The command line of the example of a name, in one of the languages."""
    return COMMANDS[request.param]


@pytest.fixture
def example(command: Command) -> Run:
    """Runs the example of a name with arguments in one of the languages; its exit status, output and errors."""

    def run(name: str, *arguments: str | os.PathLike[str], **options: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*command(name), *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=HANG,
            text=True,
            errors="surrogateescape",
            **options,
        )  # type: ignore[call-overload]

    return run
