"""python -m cwaitgroup timeline FILE: a summary of a timeline, in text."""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

WIDTH = 60  # columns of the chart
ROWS = 10  # of each list

Event = dict[str, Any]


class Span(NamedTuple):
    """Something that took time, in microseconds, in a thread."""

    begin: float
    end: float
    thread: int
    name: str
    args: dict[str, Any]

    @property
    def length(self) -> float:
        return self.end - self.begin


def read(path: str) -> list[Event]:
    """The events of a file. Raises OSError, or ValueError if it holds no timeline."""
    with open(path, encoding="utf-8", errors="replace") as file:
        whole = json.load(file)
    events = whole.get("traceEvents") if isinstance(whole, dict) else whole
    if not isinstance(events, list):
        raise ValueError("no trace events in it")
    return events


def identity(event: Event) -> object:
    """By which the begin and the end of a span know each other."""
    return event.get("id") or event.get("id2", {}).get("local")


def spans(events: Iterable[Event], category: str) -> list[Span]:
    """Those of a category: complete events, and pairs of a begin and an end with one id."""
    found, open_ = [], {}
    for e in events:
        if e.get("cat") != category:
            continue
        if e["ph"] == "X":
            found.append(Span(e["ts"], e["ts"] + e["dur"], e["tid"], e["name"], e.get("args", {})))
        elif e["ph"] == "b":
            open_[identity(e)] = e
        elif e["ph"] == "e" and (b := open_.pop(identity(e), None)):
            found.append(Span(b["ts"], e["ts"], 0, b["name"], b.get("args", {})))
    return sorted(found)


def seconds(microseconds: float) -> str:
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return (
                f"{microseconds / size:.3g} {unit}"
                if microseconds < 1000 * size
                else f"{microseconds / size:.0f} {unit}"
            )
    return f"{microseconds:.3g} µs"


def overlap(a: Span, begin: float, end: float) -> float:
    return max(0.0, min(a.end, end) - max(a.begin, begin))


def outermost(spans_: Iterable[Span]) -> list[Span]:
    """Without those inside another of the same thread: a wait may run another task."""
    kept: list[Span] = []
    last: dict[int, float] = {}
    for span in sorted(spans_, key=lambda s: (s.begin, -s.end)):
        if span.thread and span.end <= last.get(span.thread, -1.0):
            continue
        last[span.thread] = span.end
        kept.append(span)
    return kept


def busy(tasks: Iterable[Span], waits: Iterable[Span], begin: float, end: float) -> list[float]:
    """How many threads worked in a task on average, in each of WIDTH parts of the time; one that waits does not."""
    step = (end - begin) / WIDTH
    parts = [0.0] * WIDTH
    for sign, each in ((1, outermost(tasks)), (-1, outermost(waits))):
        for span in each:
            first, last = int((span.begin - begin) / step), int((span.end - begin) / step)
            for i in range(max(0, first), min(WIDTH - 1, last) + 1):
                parts[i] += sign * overlap(span, begin + i * step, begin + (i + 1) * step) / step
    return [max(0.0, part) for part in parts]


def waits_in_tasks(tasks: list[Span], waits: list[Span]) -> list[tuple[Span, Span | None]]:
    """Each wait, with the innermost task of its thread that it is in."""
    pairs: list[tuple[Span, Span | None]] = []
    open_: dict[int, list[Span]] = defaultdict(list)  # the tasks of a thread that have begun, the innermost last
    both = [(s, True) for s in tasks if s.thread] + [(s, False) for s in waits]
    for span, is_task in sorted(both, key=lambda pair: (pair[0].begin, -pair[0].end)):
        around = open_[span.thread]
        while around and around[-1].end <= span.begin:
            around.pop()
        if is_task:
            around.append(span)
        else:
            pairs.append((span, around[-1] if around and span.thread else None))
    return pairs


def chart(parts: list[float], begin: float, end: float) -> list[str]:
    top = max(1, round(max(parts) + 0.499))
    rows = min(top, 8)
    lines = []
    for row in range(rows, 0, -1):
        level = top * (row - 0.5) / rows
        lines.append(f"{top * row / rows:6.3g} |" + "".join("#" if part >= level else " " for part in parts).rstrip())
    lines.append("       +" + "-" * len(parts))
    length = seconds(end - begin)
    return [*lines, f"        0{length:>{len(parts) - 1}}"]


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def outcomes(tasks: list[Span]) -> str:
    counts: dict[str, int] = defaultdict(int)
    for task in tasks:
        counts[task.args.get("outcome", "ended")] += 1
    return ", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items()))


def of_group(task: Span) -> str:
    return f"in '{task.args['group']}'" if task.args.get("group") else "in a wait group"


def longest(tasks: list[Span]) -> list[str]:
    top = sorted(tasks, key=lambda t: -t.length)[:ROWS]
    rows = [(seconds(t.length), t.name, of_group(t), t.args.get("error") or t.args.get("outcome", "")) for t in top]
    return ["", "The longest tasks:", *table(rows)]


def queueing(tasks: list[Span]) -> list[str]:
    queued = sorted(((t.args["queued"], t) for t in tasks if "queued" in t.args), key=lambda pair: -pair[0])
    if not queued:
        return []
    times = [time for time, _ in queued]
    rows = [(seconds(time), t.name, of_group(t)) for time, t in queued[: ROWS // 2]]
    middle = seconds(times[len(times) // 2])
    return ["", f"In the queue, half of the tasks for {middle} or longer:", *table(rows)]


def waiter(wait: Span, task: Span | None, threads: dict[int, str]) -> str:
    if task:
        return f"task '{task.name}'"
    if "task" in wait.args:
        return f"task '{wait.args['task']}'"
    return f"thread '{threads.get(wait.thread, wait.thread)}'" if wait.thread else "the program"


def waiting(waits: list[tuple[Span, Span | None]], threads: dict[int, str]) -> list[str]:
    if not waits:
        return []
    sums: dict[tuple[str, str], list[float]] = defaultdict(list)
    for wait, task in waits:
        sums[waiter(wait, task, threads), wait.args.get("for", wait.name)].append(wait.length)
    top = sorted(sums.items(), key=lambda item: -sum(item[1]))[:ROWS]
    rows = [(seconds(sum(times)), f"{len(times)}x", who, f"for {what}") for (who, what), times in top]
    return ["", "What waited for what:", *table(rows)]


def cancellations(events: list[Event], begin: float) -> list[str]:
    marks = sorted((e for e in events if e.get("cat") == "cancel"), key=lambda e: float(e["ts"]))
    rows = [(f"at {seconds(e['ts'] - begin)}", e["name"], e.get("args", {}).get("cause", "")) for e in marks[:ROWS]]
    return ["", "Cancelled:", *table(rows)] if rows else []


def missing(events: list[Event]) -> list[str]:
    return [e["name"] for e in events if e.get("cat") == "missing"]


def summary(events: list[Event]) -> list[str]:
    """The lines that tell what is in a timeline."""
    tasks, waits = spans(events, "task"), spans(events, "wait")
    if not tasks:
        return ["no tasks in it"]
    threads = {e["tid"]: e["args"]["name"] for e in events if e.get("name") == "thread_name"}
    begin, end = min(s.begin for s in tasks + waits), max(s.end for s in tasks + waits)
    work = [t for t in tasks if t.thread] + spans(events, "part")
    pairs = waits_in_tasks(tasks, waits)
    parts = busy(work, [wait for wait, task in pairs if task], begin, max(end, begin + 1))
    return [
        f"{len(tasks)} tasks in {seconds(end - begin)}: {outcomes(tasks)}; {len({t.thread for t in work})} threads",
        *missing(events),
        "",
        f"Threads that work in a task, {sum(parts) / WIDTH:.2g} on average:",
        *chart(parts, begin, end),
        *longest(tasks),
        *queueing(tasks),
        *waiting(pairs, threads),
        *cancellations(events, begin),
    ]


def main(arguments: list[str]) -> int:
    """python -m cwaitgroup timeline FILE"""
    if len(arguments) != 1:
        print("usage: python -m cwaitgroup timeline FILE", file=sys.stderr)
        return 2
    try:
        events = read(arguments[0])
    except (OSError, ValueError) as error:
        print(f"cwaitgroup timeline: {arguments[0]}: {error}", file=sys.stderr)
        return 1
    print("\n".join(summary(events)))
    return 0
