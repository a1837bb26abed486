"""mypy --strict accepts every program in Python that the documents show."""

import os
import subprocess
import sys
from pathlib import Path

import cwaitgroup
from snippets import all_snippets

PACKAGE = Path(cwaitgroup.__file__).parent


def test_every_block_type_checks(tmp_path):
    for snippet in all_snippets("python"):
        name = f"{snippet.document.stem}_{snippet.line}.py".replace("-", "_")
        (tmp_path / name).write_text(snippet.code)
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(tmp_path / "cache"), "."],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(PACKAGE.parent)},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
