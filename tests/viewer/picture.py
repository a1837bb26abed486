"""Draw the timeline of the checksum example for docs/debugging.md: `make timeline-picture`.

usage: picture.py PNG
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import vizviewer

HOME = Path(__file__).parents[2]


def make_tree(directory: Path) -> None:
    for i in range(24):
        (directory / f"file {i:02}").write_bytes(os.urandom((1 + i * 7 % 5) << 20))


def main(png: str) -> int:
    with tempfile.TemporaryDirectory() as name:
        tree, file = Path(name) / "tree", Path(name) / "timeline.json"
        tree.mkdir()
        make_tree(tree)
        subprocess.run(
            [sys.executable, HOME / "examples/python/checksum.py", tree],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "WAITGROUP_TRACE": str(file)},
        )
        with vizviewer.shown(file, 1100, 450) as page:
            page.screenshot(path=png)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
