"""Measure what one of N things costs as N grows, in each language beside one peer.

Each point is the least of some runs in processes of their own, in turn: what other processes cost is no part of it.

usage: curves.py PROGRAM RESULT (the C++ program; writes a list of {"work", "of", "subject", "at": [N], "ns": [cost]};
BENCH_QUICK=1 in the environment: one run, small N)
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
TOP = HERE.parents[1]
QUICK = os.environ.get("BENCH_QUICK", "") not in ("", "0")
RUNS = 1 if QUICK else 3
HANG = 60  # seconds after which a point, and what would be larger, is left out


class Curve(NamedTuple):
    language: str
    work: str
    title: str
    of: str  # what N counts
    most: dict[str, int]  # for each subject the largest N; ours is called "waitgroup"
    counts: tuple[int, ...] = tuple(10**i for i in range(2, 8))


CROWD = (10, 100, 1_000, 3_000, 10_000)
DEPTHS = (1, 10, 100, 1_000)
CURVES = [
    Curve("C", "tasks", "an empty task", "tasks", {"waitgroup": 10**7, "GThreadPool": 10**6}),
    Curve("C", "waiters", "start a task that waits", "tasks that wait", {"waitgroup": 10**4, "threads": 10**4}, CROWD),
    Curve("C", "nested", "a group in a task of a group", "depth", {"waitgroup": 1000, "threads": 1000}, DEPTHS),
    Curve(
        "C", "contexts", "a child context, cancelled by its parent", "contexts", {"waitgroup": 10**6, "nsync": 10**4}
    ),
    Curve(
        "C",
        "threads",
        "add + done on one wait group",
        "threads",
        {"waitgroup": 32, "bare atomic add": 32},
        (1, 2, 4, 8, 16, 32),
    ),
    Curve("Python", "tasks", "an empty task", "tasks", {"waitgroup": 10**6, "ThreadPoolExecutor": 10**5}),
    Curve("Python", "waiters", "a task that waits", "tasks that wait", {"waitgroup": 3000, "threads": 3000}, CROWD),
    Curve("Python", "nested", "a group in a task of a group", "depth", {"waitgroup": 100, "threads": 100}, DEPTHS),
    Curve(
        "Python", "contexts", "a child context, cancelled", "contexts", {"waitgroup": 10**5, "a list of events": 10**5}
    ),
    Curve("Lua", "coroutines", "a coroutine task", "tasks", {"waitgroup": 10**6, "cqueues": 10**5}),
    Curve("Lua", "thread_tasks", "a task on a thread", "tasks", {"waitgroup": 10**5, "luv new_work": 10**5}),
    Curve(
        "Lua",
        "waiters",
        "a coroutine that waits",
        "coroutines that wait",
        {"waitgroup": 10**5, "cqueues condition": 10**5},
    ),
]


def command(program: str, curve: Curve, subject: str, count: int) -> list[str]:
    start = {
        "C": [program],
        "Python": [sys.executable, str(HERE / "growth.py")],
        "Lua": [str(TOP / "tools" / "in-tree-lua"), str(HERE / "growth.lua")],
    }[curve.language]
    return [*start, curve.work, subject, str(count)]


def measure(program: str, curve: Curve, subject: str, count: int) -> float | None:
    """The cost in nanoseconds, or None: it failed or took too long, and says why."""
    costs = []
    for _ in range(RUNS):
        try:
            done = subprocess.run(
                command(program, curve, subject, count), capture_output=True, text=True, timeout=HANG, check=True
            )
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            why = getattr(error, "stderr", None) or ""
            print(f"LEFT OUT: {curve.language}, {curve.title}, {subject}, {count}: {error} {why!r}")
            return None
        costs.append(float(done.stdout))
    return min(costs)


def draw(program: str, curve: Curve) -> list[dict[str, object]]:
    lines: dict[str, tuple[list[int], list[float]]] = {subject: ([], []) for subject in curve.most}
    ended: set[str] = set()
    for count in curve.counts:
        for subject, most in curve.most.items():
            if subject in ended or count > (min(most, 1000) if QUICK else most):
                continue
            cost = measure(program, curve, subject, count)
            if cost is None:
                ended.add(subject)
                continue
            lines[subject][0].append(count)
            lines[subject][1].append(cost)
            print(f"{curve.language:7} {curve.title:42} {subject:20} {count:>10,}  {cost:12,.0f} ns", flush=True)
    return [
        {"work": f"{curve.language}: {curve.title}", "of": curve.of, "subject": subject, "at": at, "ns": cost}
        for subject, (at, cost) in lines.items()
    ]


def main(program: str, result: str) -> None:
    lines = [line for curve in CURVES for line in draw(program, curve)]
    Path(result).parent.mkdir(parents=True, exist_ok=True)
    Path(result).write_text(json.dumps(lines, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
