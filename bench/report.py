"""Turn the results of the benchmark sets into one JSON file, Markdown tables and charts.

usage: report.py SET... (reads build/bench/SET.json; `make bench` calls this)

A benchmark set writes build/bench/SET.json, a list of measurements:

    {"work": "add and done",     what was done, in words; the same text for all subjects of a comparison
     "subject": "waitgroup",     "waitgroup" for this library, else the peer's name
     "value": 12.5,              the median of the samples, in `unit`
     "unit": "ns",               a unit that ends in "/s" is a rate, of which more is better; of all others less is
     "spread": 0.8,              the interquartile range of the samples, in `unit`
     "samples": 9,               how many independent repetitions
     "target": "at most 13 ns"}  what this library should reach here, in words, or null

build/bench/growth.json, if it is there, has the curves that growth/curves.py describes. A docs/benchmarks-NAME.json,
copied from docs/benchmarks.json of another machine, gives a column beside this one.

Written are docs/benchmarks.json (the measurements and the machine), docs/benchmarks.svg (the ratio of each peer to
this library), docs/benchmarks-choices.svg (the dozen of them in README), docs/benchmarks-growth.svg, and the parts of
docs/benchmarks.md and README.md between two marks. The ratio is how many times better
this library is: below 1 the peer wins. Where its spread is more than half of it, it is called noisy, and hollow in
the chart.
"""

import json
import math
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from charts import draw_all, draw_choices, draw_growth

TOP = Path(__file__).resolve().parents[1]
DOCS = TOP / "docs"
OURS = "waitgroup"
MARKS = "<!-- results: written by bench/report.py -->", "<!-- end of results -->"
TITLES = {"core": "C", "python": "Python", "lua": "Lua", "hub": "Several languages", "examples": "Real jobs"}


class Measurement(NamedTuple):
    work: str
    subject: str
    value: float
    unit: str
    spread: float
    samples: int
    target: str | None


class Comparison(NamedTuple):
    """One kind of work, measured on this library and on its peers."""

    work: str
    ours: Measurement
    peers: list[Measurement]

    def ratio(self, peer: Measurement) -> float:
        """How many times better ours is than `peer`."""
        return self.ours.value / peer.value if peer.unit.endswith("/s") else peer.value / self.ours.value

    def ratio_spread(self, peer: Measurement) -> float:
        """The spread of the ratio, from those of its two values as if they were independent."""
        return self.ratio(peer) * math.hypot(*(m.spread / m.value for m in (self.ours, peer)))

    def noisy(self, peer: Measurement) -> bool:
        """True if the spread is so large that the ratio says little."""
        return self.ratio_spread(peer) > self.ratio(peer) / 2


def read(path: Path) -> list[Comparison]:
    """The comparisons of a set, in its order. A kind of work without a value of ours is an error."""
    return compare([Measurement(**entry) for entry in json.loads(path.read_text())], path)


def compare(measurements: list[Measurement], path: Path) -> list[Comparison]:
    comparisons = []
    for work in dict.fromkeys(m.work for m in measurements):
        of_work = [m for m in measurements if m.work == work]
        ours = [m for m in of_work if m.subject == OURS]
        if len(ours) != 1:
            raise SystemExit(f"{path}: {work!r} has {len(ours)} measurements of {OURS!r}, not one")
        for m in of_work:
            if m.unit != ours[0].unit or not m.value > 0:
                raise SystemExit(f"{path}: {work!r}, {m.subject!r}: a positive value in {ours[0].unit!r} is needed")
        comparisons.append(Comparison(work, ours[0], [m for m in of_work if m is not ours[0]]))
    return comparisons


def first_line(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "not found"


def machine() -> dict[str, str]:
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "load": f"{os.getloadavg()[0]:.2f} (one minute, at the end)",
        "compiler": first_line(os.environ.get("CC", "cc"), "--version"),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Lua": first_line("lua5.4", "-v"),
        "commit": first_line("git", "-C", str(TOP), "describe", "--always", "--dirty"),
    }


def number(value: float) -> str:
    """Three digits that mean something, without an exponent."""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{digits}f}"


def table(comparisons: list[Comparison]) -> list[str]:
    lines = ["| work | subject | median | spread | samples | ratio |", "|---|---|---:|---:|---:|---:|"]
    for c in comparisons:
        work = f"{c.work} (target: {c.ours.target})" if c.ours.target else c.work
        for m in [c.ours, *c.peers]:
            name = f"**{m.subject}**" if m is c.ours else m.subject
            ratio = "" if m is c.ours else f"{number(c.ratio(m))} ± {number(c.ratio_spread(m))}"
            if m is not c.ours and c.noisy(m):
                ratio += " (noisy)"
            lines.append(
                f"| {work} | {name} | {number(m.value)} {m.unit} | {number(m.spread)} | {m.samples} | {ratio} |"
            )
            work = ""
    return lines


def write_between_marks(path: Path, lines: list[str]) -> None:
    text = path.read_text()
    before, found, rest = text.partition(MARKS[0])
    _, found_end, after = rest.partition(MARKS[1])
    if not found or not found_end:
        raise SystemExit(f"{path}: the marks {MARKS} are missing")
    path.write_text(before + "\n".join([MARKS[0], "", *lines, "", MARKS[1]]) + after)


def noisy_ratios(sets: dict[str, list[Comparison]]) -> list[str]:
    """Those that say little, by name."""
    named = [f"{c.work} beside {p.subject}" for cs in sets.values() for c in cs for p in c.peers if c.noisy(p)]
    return ["", "Noisy, so that they say little: " + "; ".join(named) + "."] if named else []


def ratios(sets: dict[str, list[Comparison]]) -> dict[tuple[str, str], str]:
    return {
        (c.work, p.subject): number(c.ratio(p)) + (" (noisy)" if c.noisy(p) else "")
        for comparisons in sets.values()
        for c in comparisons
        for p in c.peers
    }


def side_by_side(sets: dict[str, list[Comparison]], about: dict[str, str]) -> list[str]:
    """The ratios of this machine beside those of others, where there are any."""
    columns = {f"{about['processor']}, {about['date']}": ratios(sets)}
    for path in sorted(DOCS.glob("benchmarks-*.json")):
        other = json.loads(path.read_text())
        theirs = {name: compare([Measurement(**m) for m in ms], path) for name, ms in other["measurements"].items()}
        columns[f"{other['machine']['processor']}, {other['machine']['date']}"] = ratios(theirs)
    if len(columns) == 1:
        return []
    here = next(iter(columns.values()))
    lines = ["", "### Machines side by side, by ratio", "", "| work | peer | " + " | ".join(columns) + " |"]
    lines.append("|---|---|" + "---:|" * len(columns))
    for key in here:
        lines.append(f"| {key[0]} | {key[1]} | " + " | ".join(c.get(key, "") for c in columns.values()) + " |")
    return lines


def write_markdown(sets: dict[str, list[Comparison]], about: dict[str, str], growth: list[dict[str, Any]]) -> None:
    picture = "![the ratio of each peer to this library, for each kind of work]({})"
    lines = [picture.format("benchmarks.svg"), "", *(f"- {key}: {value}" for key, value in about.items())]
    lines += noisy_ratios(sets)
    if growth:
        lines += ["", "### Cost as work grows", "", "![what one costs, of ever more](benchmarks-growth.svg)"]
    lines += side_by_side(sets, about)
    for name, comparisons in sets.items():
        lines += ["", f"### {TITLES.get(name, name)}", "", *table(comparisons)]
    write_between_marks(DOCS / "benchmarks.md", lines)
    legend = "A ratio above 1 means that this library does better than the peer."
    write_between_marks(TOP / "README.md", [picture.format("docs/benchmarks-choices.svg"), "", legend])


def main(names: list[str]) -> None:
    if not names:
        raise SystemExit(__doc__)
    sets = {name: read(TOP / "build" / "bench" / f"{name}.json") for name in names}
    about = machine()
    grown = TOP / "build" / "bench" / "growth.json"
    growth = json.loads(grown.read_text()) if grown.exists() else []
    (DOCS / "benchmarks.json").write_text(
        json.dumps(
            {
                "machine": about,
                "measurements": {name: [m._asdict() for c in sets[name] for m in [c.ours, *c.peers]] for name in names},
                "growth": growth,
            },
            indent=1,
        )
        + "\n"
    )
    write_markdown(sets, about, growth)
    draw_all(
        sets, TITLES, f"waitgroup beside its peers: {about['processor']}, {about['date']}", DOCS / "benchmarks.svg"
    )
    draw_choices(sets, DOCS / "benchmarks-choices.svg")
    if growth:
        draw_growth(growth, DOCS / "benchmarks-growth.svg")
    for name, comparisons in sets.items():
        print(f"{TITLES.get(name, name)}:", *table(comparisons), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
