"""bench/report.py: its arithmetic, and what it refuses."""

import importlib.util
import json
import math
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("report", Path(__file__).resolve().parents[2] / "bench" / "report.py")
report = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(report)


def entry(subject, value, unit="ns", spread=0.0, work="add"):
    return {
        "work": work,
        "subject": subject,
        "value": value,
        "unit": unit,
        "spread": spread,
        "samples": 9,
        "target": None,
    }


@pytest.fixture
def read(tmp_path):
    def read(*entries):
        (tmp_path / "set.json").write_text(json.dumps(entries))
        return report.read(tmp_path / "set.json")

    return read


@pytest.mark.parametrize("unit, ours, peer, ratio", [("ns", 10, 30, 3), ("MB/s", 10, 30, 1 / 3), ("bytes", 8, 4, 0.5)])
def test_the_ratio_says_how_many_times_better_ours_is(read, unit, ours, peer, ratio):
    [comparison] = read(entry("waitgroup", ours, unit), entry("peer", peer, unit))
    assert comparison.ratio(comparison.peers[0]) == pytest.approx(ratio)


def test_the_spread_of_a_ratio_is_that_of_both_values(read):
    [comparison] = read(entry("peer", 30, spread=3), entry("waitgroup", 10, spread=1))
    assert comparison.ratio_spread(comparison.peers[0]) == pytest.approx(3 * math.hypot(0.1, 0.1))
    assert not comparison.noisy(comparison.peers[0])


def test_a_ratio_that_says_little_is_called_noisy(read):
    comparisons = read(entry("waitgroup", 10, spread=6), entry("peer", 30))
    assert comparisons[0].noisy(comparisons[0].peers[0])
    assert report.table(comparisons)[-1].endswith("(noisy) |")


def test_each_kind_of_work_is_a_comparison(read):
    comparisons = read(entry("waitgroup", 1), entry("waitgroup", 2, work="wait"), entry("peer", 3))
    assert [(c.work, c.ours.value, len(c.peers)) for c in comparisons] == [("add", 1, 1), ("wait", 2, 0)]


@pytest.mark.parametrize(
    "entries, why",
    [
        ([entry("peer", 1)], "has 0 measurements of 'waitgroup', not one"),
        ([entry("waitgroup", 1), entry("waitgroup", 2)], "has 2 measurements of 'waitgroup', not one"),
        ([entry("waitgroup", 1), entry("peer", 2, unit="us")], "'peer': a positive value in 'ns' is needed"),
        ([entry("waitgroup", 0)], "'waitgroup': a positive value in 'ns' is needed"),
    ],
)
def test_what_cannot_be_compared_is_refused(read, entries, why):
    with pytest.raises(SystemExit, match=why):
        read(*entries)


@pytest.mark.parametrize("value, text", [(1234.5, "1,234"), (12.345, "12.3"), (0.0123456, "0.0123"), (0, "0")])
def test_numbers_keep_three_digits_that_mean_something(value, text):
    assert report.number(value) == text
