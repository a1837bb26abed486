"""Set one row of docs/platforms.md: what ran where, with which outcome, today.

usage: platforms.py PART PLATFORM WITH WHAT REPORT.xml...     the counts of JUnit reports, added up
       platforms.py PART PLATFORM WITH WHAT "12 passed, 1 skipped"
       platforms.py PART PLATFORM WITH WHAT "not run: REASON"

The command that ran something calls this, and nobody else writes rows. PART is core, Python, Lua or hub; PLATFORM is
such as "Linux x86-64, glibc 2.36"; WITH is the interpreter or compiler with its version; WHAT is what ran. These four
are the name of a row: a later run replaces it. What ran once and cannot be run today keeps its row.
WAITGROUP_PLATFORMS names another file, which is made if it does not exist.
"""

import datetime
import fcntl
import os
import re
import sys
from pathlib import Path

import junit

PAGE = Path(__file__).resolve().parents[1] / "docs/platforms.md"
HEAD = ["| part | platform | with | what ran | outcome | on |", "|---|---|---|---|---|---|"]
NOT_RUN = "not run: "

Row = tuple[str, ...]


def counts(text: str) -> junit.Counts:
    """The counts in a closing line such as "2 failed, 12 passed in 3 s"."""
    found = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped)", text)}
    if not found:
        raise SystemExit(f"platforms.py: {text!r} is no report, no counts, and does not begin with {NOT_RUN!r}")
    return junit.Counts(**found)


def outcome(results: list[str]) -> str:
    if results[0].startswith(NOT_RUN):
        return " ".join(results)
    total = junit.Counts()
    for result in results:
        try:
            total = total.plus(junit.read(result) if result.endswith(".xml") else counts(result))
        except junit.BadReport as bad:
            raise SystemExit(f"platforms.py: {result}: {bad}") from None
    return str(total).replace(" 0 failed,", "").removesuffix(", 0 failed")


def natural(row: Row) -> list[list[tuple[int, str]]]:
    """A key by which 3.9 comes before 3.11, and small letters are where capital ones are."""
    return [[(int(d), "") if d else (-1, t) for d, t in re.findall(r"(\d+)|(\D+)", c.lower())] for c in row]


def read(page: Path) -> tuple[str, list[Row]]:
    """What stands before the table, and its rows."""
    before, _, table = page.read_text().partition("\n".join(HEAD) + "\n")
    return before, [tuple(line.strip("| ").split(" | ")) for line in table.splitlines() if line.startswith("|")]


def with_row(rows: list[Row], new: Row) -> list[Row]:
    """Without the rows of that name, except that what ran is not replaced by what did not."""
    old = [row for row in rows if row[:4] == new[:4]]
    if new[4].startswith(NOT_RUN):
        new = next((row for row in old if not row[4].startswith(NOT_RUN)), new)
    return sorted([row for row in rows if row[:4] != new[:4]] + [new], key=natural)


def main(arguments: list[str]) -> int:
    if len(arguments) < 5:
        print(__doc__, file=sys.stderr)
        return 2
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    new = tuple(a.replace("|", "/") for a in [*arguments[:4], outcome(arguments[4:]), today])
    page = Path(os.environ.get("WAITGROUP_PLATFORMS", PAGE))
    with page.open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before, rows = read(page)
        lines = [" | ".join(row) for row in with_row(rows, new)]
        page.write_text(before + "\n".join([*HEAD, *(f"| {line} |" for line in lines), ""]))
    print("platforms:", " | ".join(new))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
