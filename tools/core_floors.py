"""Check that no file of the core includes a header of a floor above its own.

usage: core_floors.py       exit status 1 if one does, or if a file is on no floor

The floors are the table in docs/internals.md: the lowest first, each with its files; a name without its ending stands for
the header and the source.
"""

import re
import sys
from pathlib import Path

HOME = Path(__file__).parents[1]


def floors(page: str) -> dict[str, int]:
    """The number of the floor of each name in the table."""
    rows = page.split("| floor | files |\n", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return {name: number for number, row in enumerate(rows) for name in re.findall(r"`([\w.]+)`", row)}


def faults(source: Path, floor_of: dict[str, int]) -> list[str]:
    """What is wrong with the files in and below `source`."""
    found = []

    def floor(path: Path) -> int | None:
        return floor_of.get(path.name, floor_of.get(path.stem))

    for path in sorted(source.rglob("*.[ch]")):
        own = floor(path)
        if own is None:
            found.append(f"{path.name} is on no floor: name it in docs/internals.md")
            continue
        for header in re.findall(r'^#include "([^"]+)"', path.read_text(), re.MULTILINE):
            above = floor(Path(header))
            if not header.startswith("waitgroup/") and above is not None and above > own:
                found.append(f"{path.name} includes {header}, which is on a floor above")
    return found


def main() -> int:
    found = faults(HOME / "core/src", floors((HOME / "docs/internals.md").read_text()))
    for fault in found:
        print(fault, file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
