"""Measure cwaitgroup and its peers side by side, print the comparison and keep the figures.

The machine may be busy with other work, so subjects take turns: in each round each does every work once, in changing
order. Figures are medians over the rounds; the spread is the interquartile range.

usage: run.py RESULT; BENCH_QUICK=1 in the environment: fewer rounds
"""

import json
import os
import platform
import statistics
import sys
from typing import Any

from works import WORKS, Work

OURS = "waitgroup"
QUICK = os.environ.get("BENCH_QUICK", "") not in ("", "0")
ROUNDS = 3 if QUICK else 9


def measure(work: Work) -> dict[str, list[float]]:
    """The samples of each subject."""
    samples: dict[str, list[float]] = {name: [] for name in work.subjects}
    names = list(work.subjects)
    for i in range(ROUNDS + 1):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            sample = work.subjects[name]()
            if i > 0:  # the first round warms up
                samples[name].append(sample)
    return samples


def entry(work: Work, subject: str, samples: list[float]) -> dict[str, Any]:
    low, _, high = statistics.quantiles(samples, n=4)
    return {
        "work": work.name,
        "subject": subject,
        "value": statistics.median(samples),
        "unit": work.unit,
        "spread": high - low,
        "samples": len(samples),
        "target": work.target if subject == OURS else None,
    }


def show(work: Work, entries: list[dict[str, Any]]) -> None:
    target = f" (target: {work.target})" if work.target else ""
    print(f"\n{work.name}{target}")
    ours = next(e["value"] for e in entries if e["subject"] == OURS)
    for e in entries:
        print(f"  {e['subject']:32} {e['value']:10.4g} {work.unit:6} ± {e['spread']:8.3g}   {e['value'] / ours:6.2f} x")


def main(path: str) -> None:
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {'with' if gil else 'without'} GIL,",
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}",
    )
    result = []
    for work in WORKS:
        entries = [entry(work, subject, samples) for subject, samples in measure(work).items()]
        show(work, entries)
        result += entries
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w") as file:
        json.dump(result, file, indent=1)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
