"""What is drawn of a timeline: `make verify-viewer`. Needs Chromium, and the extra [viewer]."""

import io
import re
import subprocess
import sys

import pytest

vizviewer = pytest.importorskip("vizviewer")
pytest.importorskip("viztracer", reason="viztracer is not installed: pip install '.[viewer]'")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[viewer]'")
pytestmark = pytest.mark.skipif(vizviewer.browser() is None, reason="there is no Chromium on this machine")

PROGRAM = """
import time
from cwaitgroup import ErrGroup, trace

def fail():
    raise ValueError("three")

with trace({file!r}):
    try:
        with ErrGroup(name="fetches", limit=2) as g:
            for name in ("alpha", "beta", "gamma"):
                g.start(time.sleep, [0.05], name=name)
            g.start(fail, name="omega")
    except ValueError:
        pass
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    file = tmp_path_factory.mktemp("viewer") / "timeline.json"
    subprocess.run([sys.executable, "-c", PROGRAM.format(file=str(file))], check=True, timeout=60)
    with vizviewer.shown(file) as page:
        yield page


def row_of(page, title):
    """The middle of the row that is drawn beside the title of a track."""
    box = page.get_by_text(re.compile(title)).first.bounding_box()
    return int(box["y"] + box["height"] / 2)


def colours_of(page, y):
    """How many pixels of the row have which colour, right of the titles."""
    image = pytest.importorskip("PIL.Image").open(io.BytesIO(page.screenshot())).convert("RGB")
    counts = {}
    for x in range(260, image.width - 20):
        counts[image.getpixel((x, y))] = counts.get(image.getpixel((x, y)), 0) + 1
    return counts


def test_each_thread_has_a_track_with_its_name(page):
    text = page.inner_text("body")
    assert re.search(r"^main \d+$", text, re.MULTILINE)
    assert re.search(r"^cwaitgroup-\d+ \d+$", text, re.MULTILINE)


def test_the_group_has_a_track(page):
    assert page.get_by_text("fetches", exact=True).count() > 0


def test_the_tasks_are_drawn(page):
    drawn = colours_of(page, row_of(page, r"^cwaitgroup-1 \d+$"))
    background = max(sum(c) for c in drawn)
    coloured = sum(n for colour, n in drawn.items() if background - sum(colour) > 100)
    assert coloured > 100, drawn


@pytest.mark.parametrize(
    ("text", "slices"),
    [
        ("alpha", 2),  # the task, and the call that started it
        ("gamma", 2),
        ("wait for a slot of 'fetches'", 1),
        ("cancelled: fetches", 1),
    ],
)
def test_tasks_waits_and_cancellations_are_found(page, text, slices):
    assert vizviewer.count_found(page, text) >= slices
