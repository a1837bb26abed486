"""Measure this library and its peers side by side, print the comparison and keep the figures.

The machine may be busy with other work, so subjects take turns: in each round each runs every work once, in a process
of its own. Figures are medians over the rounds; the spread is the distance of the quartiles, in parts of the median.

usage: run.py PROGRAM GO-DIRECTORY RESULT; BENCH_QUICK=1 in the environment: fewer and shorter rounds
"""

import json
import math
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from works import GO, WORKS, Work

OURS = "waitgroup"
QUICK = os.environ.get("BENCH_QUICK", "") not in ("", "0")
ROUNDS = 3 if QUICK else 9
SECONDS = 0.03 if QUICK else 0.1  # of one process's measuring
HANG = 120  # seconds after which a process is given up

Samples = dict[tuple[str, str], list[float]]  # by the name of the work, and subject


class Unavailable(Exception):
    """This subject cannot be measured here."""


def run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=HANG)
    except subprocess.TimeoutExpired:
        sys.exit(f"bench-core: {' '.join(command)}\ndid not end within {HANG} seconds")
    if done.returncode != 0:
        sys.exit(f"bench-core: {' '.join(command)}\nended with status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def measure_cpp(program: str, work: Work, subject: str) -> float:
    options = [] if work.single else [f"--benchmark_min_time={SECONDS}"]
    name = f"^{work.name}/{subject}(/|$)"
    output = run([program, f"--benchmark_filter={name}", "--benchmark_format=json", *options])
    (result,) = json.loads(output or '{"benchmarks": []}')["benchmarks"]
    if result.get("error_occurred"):
        raise Unavailable(result["error_message"])
    nanoseconds = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}[result["time_unit"]]
    return float(result.get("value", result["real_time"] * nanoseconds))


def measure_go(program: str, work: Work, subject: str) -> float:
    function = "Benchmark" + work.name.title().replace("_", "")
    pattern = f"^{function}$/^{subject.removeprefix(GO).replace(' ', '_')}$"
    time = "1x" if work.single else f"{SECONDS}s"
    output = run([program, "-test.run=^$", f"-test.bench={pattern}", f"-test.benchtime={time}"])
    (line,) = (line for line in output.splitlines() if line.startswith(function + "/"))
    fields = line.split()[2:]
    values = {unit: float(value) for value, unit in zip(fields[::2], fields[1::2], strict=True)}
    return values.get("value", values["ns/op"])


def build_go(directory: Path, program: Path) -> str:
    """Build Go's benchmarks. Returns why they are left out; empty if they are not."""
    if not shutil.which("go"):
        return "there is no `go` command here (in Debian: the package golang-go)"
    command = ["go", "test", "-c", "-o", str(program.absolute()), "."]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    return f"`{' '.join(command)}` in {directory} failed:\n{done.stderr.strip()}" if done.returncode else ""


def measure_all(cpp: str, go: str | None) -> tuple[Samples, dict[tuple[str, str], str]]:
    """The samples by work and subject; and why there are none, of those that cannot be measured here."""
    samples: Samples = {}
    left_out: dict[tuple[str, str], str] = {}
    for turn in range(ROUNDS):
        for work in WORKS:
            if work.once and turn > 0:
                continue
            for subject in [OURS, *work.peers]:
                key = work.name, subject
                measure, program = (measure_go, go) if subject.startswith(GO) else (measure_cpp, cpp)
                if key in left_out or program is None:
                    continue
                progress(f"round {turn + 1} of {ROUNDS}: {work.title}: {subject}")
                try:
                    value = measure(program, work, subject)
                except Unavailable as reason:
                    left_out[key] = str(reason)
                else:
                    samples.setdefault(key, []).append(value / work.scale)
    progress("")
    return samples, left_out


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def quartile_distance(samples: list[float]) -> float:
    if len(samples) < 2:
        return 0.0
    first, _, third = statistics.quantiles(samples, method="inclusive")
    return third - first


def quantity(value: float, unit: str) -> str:
    """Three digits that mean something."""
    if unit == "ns" and value >= 1000:
        value, unit = value / 1000, "µs"
    digits = 0 if value == int(value) else max(0, 2 - math.floor(math.log10(value)))
    return f"{value:,.{digits}f} {unit}"


def describe(work: Work, samples: Samples) -> list[list[str]]:
    """The rows of the printed table for one work."""
    ours = statistics.median(samples[work.name, OURS])
    rows = []
    for subject in [OURS, *work.peers]:
        of_subject = samples.get((work.name, subject))
        if not of_subject:
            continue
        median = statistics.median(of_subject)
        spread = f"±{quartile_distance(of_subject) / median:.0%}" if len(of_subject) > 1 else ""
        ratio = target = verdict = ""
        if subject == OURS:
            if work.limit is not None:
                target, verdict = f"≤ {work.limit:g} {work.unit}", judge(ours, work.limit)
        else:
            ratio = f"{ours / median:.3g}"
            if (factor := work.peers[subject]) is not None:
                target, verdict = f"≤ {factor:g}", judge(ours / median, factor)
        rows.append(["", subject, quantity(median, work.unit), spread, ratio, target, verdict])
    return rows


def judge(value: float, most: float) -> str:
    return "met" if value <= most else "MISSED"


def print_table(samples: Samples) -> None:
    rows = [["", "", "median", "spread", "ours/peer", "target", ""]]
    for work in WORKS:
        if (work.name, OURS) in samples:
            rows += [[work.title], *describe(work, samples)]
    widths = [max(len(row[i]) for row in rows if len(row) > 1) for i in range(len(rows[0]))]
    for row in rows:
        if len(row) == 1:
            print(row[0])
            continue
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        cells[1] = row[1].ljust(widths[1])
        cells[-1] = row[-1]
        print("  ".join(cells).rstrip())


def print_machine(go: bool) -> None:
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    print(
        f"{model[1] if model else platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        f"load {os.getloadavg()[0]:.2f} at the end",
        f"{platform.system()} {platform.release()}",
        run(["go", "version"]).strip() if go else "no Go",
        sep="; ",
    )
    print(f"Medians of {ROUNDS} rounds; spread: distance of the quartiles, in parts of the median.\n")


def write_json(path: Path, samples: Samples) -> None:
    """The format that bench/report.py describes."""
    measurements = [
        {
            "work": work.title,
            "subject": subject,
            "value": statistics.median(samples[work.name, subject]),
            "unit": work.unit,
            "spread": quartile_distance(samples[work.name, subject]),
            "samples": len(samples[work.name, subject]),
            "target": work.targets if subject == OURS else None,
        }
        for work in WORKS
        for subject in [OURS, *work.peers]
        if (work.name, OURS) in samples and (work.name, subject) in samples
    ]
    path.write_text(json.dumps(measurements, indent=1) + "\n")


def main(cpp: str, go_directory: str, result: str) -> None:
    go = Path(result).parent / "go.test"
    no_go = build_go(Path(go_directory), go)
    samples, left_out = measure_all(cpp, None if no_go else str(go))
    print_machine(not no_go)
    print_table(samples)
    if no_go:
        print("\nLEFT OUT: all of Go, because", no_go)
        print("These comparisons and their targets are not checked:")
        for work in WORKS:
            for peer in filter(lambda peer: peer.startswith(GO), work.peers):
                print(f"  {work.title}: {peer}")
    for (name, subject), reason in left_out.items():
        print(f"\nLEFT OUT: {name}: {subject}: {reason}")
    write_json(Path(result), samples)


if __name__ == "__main__":
    main(*sys.argv[1:])
