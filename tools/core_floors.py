"""Check that no file of the core includes a header of a floor above its own, and that no call goes up.

usage: core_floors.py       exit status 1 if one does, or if a file is on no floor

The floors are the table in docs/internals.md: the lowest first, each with its files; a name without its ending stands
for the header and the source. A call goes up if its header is on a lower floor than the source that defines it: below
the table stands through which headers that is allowed.
"""

import re
import sys
from collections.abc import Set
from pathlib import Path

HOME = Path(__file__).parents[1]


def floors(page: str) -> dict[str, int]:
    """The number of the floor of each name in the table."""
    rows = page.split("| floor | files |\n", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return {name: number for number, row in enumerate(rows) for name in re.findall(r"`([\w.]+)`", row)}


def ways_up(page: str) -> set[str]:
    """The headers through which calls may go up."""
    lines = re.findall(r"^Calls go up through: (.*)", page, re.MULTILINE)
    return {name for line in lines for name in re.findall(r"`([\w.]+)`", line)}


def declared(header: str) -> set[str]:
    """The functions that a header declares and does not define."""
    return set(re.findall(r"^[a-z][\w \*]*?\b(wg_\w+)\([^{}]*?\);", header, re.MULTILINE))


def defined(source: str) -> set[str]:
    """The functions that other files may call, and that a source defines."""
    return set(re.findall(r"^(?!static)[a-z][\w \*]*?\b(wg_\w+)\([^;{}]*?\) \{", source, re.MULTILINE))


def faults(source: Path, floor_of: dict[str, int], allowed: Set[str] = frozenset()) -> list[str]:
    """What is wrong with the files in and below `source`."""
    found = []
    declared_in: dict[str, Path] = {}

    def floor(path: Path) -> int | None:
        return floor_of.get(path.name, floor_of.get(path.stem))

    files = {path: path.read_text() for path in sorted(source.rglob("*.[ch]"))}
    for path, text in files.items():
        if path.suffix == ".h":
            declared_in |= dict.fromkeys(declared(text), path)
    for path, text in files.items():
        own = floor(path)
        if own is None:
            found.append(f"{path.name} is on no floor: name it in docs/internals.md")
            continue
        for header in re.findall(r'^#include "([^"]+)"', text, re.MULTILINE):
            above = floor(Path(header))
            if not header.startswith("waitgroup/") and above is not None and above > own:
                found.append(f"{path.name} includes {header}, which is on a floor above")
        for name in sorted(defined(text)) if path.suffix == ".c" else ():
            header_of = declared_in.get(name)
            below = floor(header_of) if header_of else None
            if header_of and below is not None and below < own and header_of.name not in allowed:
                found.append(f"{name}, which {header_of.name} declares, is defined on a floor above, in {path.name}")
    return found


def main() -> int:
    page = (HOME / "docs/internals.md").read_text()
    found = faults(HOME / "core/src", floors(page), ways_up(page))
    for fault in found:
        print(fault, file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
