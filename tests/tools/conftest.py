import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tools"))
sys.path.insert(0, str(TOP / "bench"))


@pytest.fixture
def script(tmp_path):
    """Writes an executable bash script and returns its path."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/bash\n" + text)
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def run_tool(tmp_path):
    """Runs a tool of this project in an empty directory."""

    def run(name: str, *arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
        tool = TOP / "tools" / name
        command = [sys.executable, tool] if tool.suffix == ".py" else [tool]
        return subprocess.run(
            [*command, *map(str, arguments)],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=120,
        )

    return run
