"""The charts of the report: all ratios, the dozen of README, and cost as work grows."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from report import Comparison, Measurement

OURS = "waitgroup"

# What a user chooses by: set, work, peer, and how README calls it.
CHOICES = [
    ("python", "a task of nothing, of 100,000", "ThreadPoolExecutor(8)", "Python: a task, ThreadPoolExecutor"),
    ("python", "a task of nothing, of 100,000", "asyncio.TaskGroup", "Python: a task, asyncio.TaskGroup"),
    ("python", "a task of nothing, of 100,000", "joblib threading", "Python: a task, joblib"),
    (
        "python",
        "1,000 tasks that wait for one thing, and are released",
        "1,000 threads",
        "Python: 1,000 waiters, threads",
    ),
    ("lua", "a task on a thread, limit 2", "cqueues.thread start and join", "Lua: a thread task, cqueues"),
    ("lua", "a task on a thread, no limit", "luv new_work, 2 threads", "Lua: a thread task, luv"),
    ("lua", "a coroutine task, 1,000,000 at once", "copas.addthread (100,000)", "Lua: a coroutine task, copas"),
    ("core", "1,000,000 empty tasks, per task", "Go errgroup", "C: a million tasks, Go errgroup"),
    ("core", "1,000,000 empty tasks, per task", "TBB", "C: a million tasks, TBB"),
    ("examples", "in Python", "ThreadPoolExecutor", "Python: checksums, ThreadPoolExecutor"),
    ("examples", "in Lua", "xargs -P and openssl", "Lua: checksums, xargs openssl"),
    ("examples", "in C", "xargs -P and openssl", "C: checksums, xargs openssl"),
]


BOX = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # behind words that cross a line


def pyplot() -> Any:
    """Matplotlib, imported when it is needed: all else can do without."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    # Words as words, not as outlines: a third of the size; and the same figures give the same file.
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "waitgroup"})
    return plt


def save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})


def number(value: float) -> str:
    """Two digits that mean something, or all before the point."""
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def logarithmic(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def whole_decades(axis: Any) -> None:
    """So that a line which is flat looks flat."""
    low, high = axis.get_ylim()
    axis.set_ylim(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)))


def chosen(sets: "dict[str, list[Comparison]]") -> "list[tuple[str, Comparison, Measurement]]":
    """The dozen, or those of them that were measured."""
    return [
        (label, comparison, peer)
        for name, work, subject, label in CHOICES
        for comparison in sets.get(name, [])
        if comparison.work.endswith(work)
        for peer in comparison.peers
        if peer.subject == subject
    ]


def draw_choices(sets: "dict[str, list[Comparison]]", path: Path) -> None:
    """Bars with their labels above them, narrow and in large letters: for a phone."""
    rows = chosen(sets)
    figure, axis = pyplot().subplots(figsize=(5, 0.52 * len(rows) + 0.8), layout="constrained")
    for y, (label, comparison, peer) in enumerate(rows):
        ratio, noisy = comparison.ratio(peer), comparison.noisy(peer)
        colour = "tab:blue" if ratio >= 1 else "tab:orange"
        axis.barh(y, ratio - 1, left=1, height=0.35, color="white" if noisy else colour, edgecolor=colour)
        text = f"{label}: {number(ratio)}" + (" (noisy)" if noisy else "")
        axis.text(0.02, y - 0.28, text, transform=axis.get_yaxis_transform(), fontsize=10, va="bottom", bbox=BOX)
    axis.set_ylim(len(rows) - 0.5, -0.9)
    axis.set_yticks([])
    axis.set_xscale("log")
    logarithmic(axis.xaxis)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set_xlabel("times better than the peer (orange: the peer wins)", fontsize=10)
    save(figure, path)


def draw_growth(lines: list[dict[str, Any]], path: Path) -> None:
    """A panel for each kind of work: what one costs, of ever more."""
    works = list(dict.fromkeys(line["work"] for line in lines))
    figure, axes = pyplot().subplots(
        (len(works) + 1) // 2, 2, figsize=(8, 1.25 * (len(works) + 1)), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(works) :]:
        axis.set_visible(False)
    for axis, work in zip(axes.flat, works, strict=False):
        for line in (line for line in lines if line["work"] == work):
            ours = line["subject"] == OURS
            micros = [cost / 1000 for cost in line["ns"]]
            axis.plot(line["at"], micros, "o-" if ours else "s--", label=line["subject"], markersize=3, linewidth=1)
            axis.set_xlabel(line["of"], fontsize=7)
        axis.set_xscale("log")
        axis.set_yscale("log")
        whole_decades(axis)
        logarithmic(axis.yaxis)
        axis.set_title(work, fontsize=8, loc="left")
        axis.set_ylabel("µs each", fontsize=7)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=6)
    save(figure, path)


def draw_all(sets: "dict[str, list[Comparison]]", titles: dict[str, str], title: str, path: Path) -> None:
    """One panel for each set: the ratio of each peer for each kind of work, on a logarithmic axis."""
    rows = {name: [(c, p) for c in comparisons for p in c.peers] for name, comparisons in sets.items()}
    rows = {name: pairs for name, pairs in rows.items() if pairs}
    heights = [len(pairs) + 1.5 for pairs in rows.values()]
    figure, axes = pyplot().subplots(
        len(rows),
        1,
        figsize=(10, 0.26 * sum(heights) + 1),
        squeeze=False,
        sharex=True,
        height_ratios=heights,
        layout="constrained",
    )
    for axis, (name, pairs) in zip(axes[:, 0], rows.items(), strict=False):
        draw_panel(axis, pairs)
        axis.set_title(titles.get(name, name), fontsize=9, loc="left")
    axes[-1, 0].set_xlabel("how many times better than the peer (left of 1, in orange, the peer wins)", fontsize=8)
    figure.suptitle(title, fontsize=9)
    save(figure, path)


def draw_panel(axis: Any, pairs: "list[tuple[Comparison, Measurement]]") -> None:
    for y, (c, peer) in enumerate(pairs):
        ratio = c.ratio(peer)
        colour = "tab:blue" if ratio >= 1 else "tab:orange"
        relative = c.ratio_spread(peer) / ratio  # as a factor, which is symmetric on this axis
        error = [[ratio - ratio / (1 + relative)], [ratio * relative]]
        face = "white" if c.noisy(peer) else colour
        axis.errorbar(ratio, y, xerr=error, fmt="o", color=colour, markersize=4, elinewidth=1, mfc=face)
        axis.annotate(number(ratio), (ratio, y), xytext=(6, 3), textcoords="offset points", fontsize=7)
    axis.set_yticks(range(len(pairs)), [f"{c.work}: {peer.subject}" for c, peer in pairs], fontsize=7)
    axis.set_ylim(len(pairs) - 0.4, -0.6)
    axis.set_xscale("log")
    logarithmic(axis.xaxis)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.grid(axis="x", alpha=0.3)
