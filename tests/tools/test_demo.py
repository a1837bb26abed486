"""tools/demo in a tree whose examples are scripts: what it sums up, and how it ends when one of them fails or lies."""

import shutil
import subprocess

import pytest
from conftest import TOP

SUM = "sha256sum tree.txt"
EXAMPLE = f'case "$*" in *checksum*) {SUM};; *prefix*) echo /;; *) echo "ran $*";; esac'
C_EXAMPLES = {"squares": "echo ran squares", "product": "echo ran product", "checksum": SUM, "runner": "echo ran $1"}


@pytest.fixture
def demo(tmp_path, script):
    """Runs it; `changed` are the texts of some of the programs. Gives the lines of its output and its status."""

    def run(changed: dict[str, str]) -> tuple[list[str], int]:
        programs = {".venv/bin/python": EXAMPLE, "tools/in-tree-lua": EXAMPLE}
        programs |= {f"build/examples/{name}": text for name, text in C_EXAMPLES.items()}
        for name, text in (programs | changed).items():
            script(name, text)
        (tmp_path / "tree.txt").write_text("a file of the tree\n")
        shutil.copy(TOP / "tools/demo", tmp_path / "tools/demo")
        ran = subprocess.run([tmp_path / "tools/demo"], cwd="/", capture_output=True, text=True, timeout=120)
        return ran.stdout.splitlines(), ran.returncode

    return run


def summary(lines: list[str]) -> list[str]:
    start = lines.index("==== what was shown ====") + 1
    return lines[start : lines.index("", start)]


def test_all_that_was_shown_is_in_the_summary_and_then_comes_what_to_read(demo):
    lines, status = demo({})
    shown = [line.partition(":")[0] for line in summary(lines)]
    assert (shown, status) == (["Python"] * 3 + ["Lua"] * 3 + ["C"] * 3 + ["C with Python and Lua in it"], 0)
    assert "ran examples/hub/jobs" in lines
    assert any(line.startswith("Next: README.md") for line in lines[-2:])


@pytest.mark.parametrize(
    ("program", "text", "failed"),
    [
        pytest.param("build/examples/squares", "exit 3", "C: FAILED: ten squares, added up", id="a failing example"),
        pytest.param(
            "build/examples/runner", "kill -SEGV $$", "C with Python and Lua in it: FAILED: a job runner with plug-ins",
            id="a crash",
        ),
        pytest.param(
            "build/examples/checksum", "sha256sum tree.txt; exit 1", "C: FAILED: checksums of this directory",
            id="right checksums, then a failure",
        ),
        pytest.param(
            "build/examples/checksum", f"{SUM} | tr 0-9 1-90", "C: FAILED: checksums of this directory",
            id="a wrong checksum",
        ),
        pytest.param(
            "build/examples/checksum", "true", "C: FAILED: checksums of this directory", id="no checksum at all",
        ),
    ],
)  # fmt: skip
def test_what_failed_is_named_and_the_rest_is_still_shown(demo, program, text, failed):
    lines, status = demo({program: text})
    assert [line for line in summary(lines) if "FAILED" in line] == [failed]
    assert (len(summary(lines)), status) == (10, 1)
