"""progress(): a bar that follows its group and ends with it."""

import gc
import io
import sys
import threading
import weakref

import cwaitgroup
import pytest
from conftest import until
from cwaitgroup import ErrGroup, WaitGroup, progress


def bars():
    return [t for t in threading.enumerate() if t.name.startswith("progress-")]


def shown(file):
    """The last state that was drawn."""
    return file.getvalue().rpartition("\r")[2].strip()


def test_the_last_state_is_drawn_before_the_block_is_left():
    file = io.StringIO()
    with ErrGroup(limit=2, name="squares") as g:
        progress(g, total=5, file=file, ascii=True)
        for n in range(5):
            g.go(pow, n, 2)
    assert shown(file).startswith("squares: 100%") and "5/5" in shown(file)
    until(lambda: not bars())


def test_it_follows_the_tasks_as_they_end():
    file, gate = io.StringIO(), WaitGroup(1)
    with ErrGroup() as g:
        progress(g, description="jobs", file=file, ascii=True)
        g.go(int)
        g.go(gate.wait)
        until(lambda: "1/2" in shown(file))  # without a total: of the tasks started so far
        gate.done()
    assert "2/2" in shown(file)


def test_it_ends_after_tasks_that_unwind_slowly():
    file, gate, started = io.StringIO(), threading.Event(), WaitGroup(1)

    def slow():
        started.done()
        gate.wait()

    g = ErrGroup(grace=0.01)
    progress(g, total=1, file=file, ascii=True)
    g.go(slow)
    started.wait()
    g.cancel()
    with pytest.warns(ResourceWarning, match="1 task of the group still runs"):
        g.wait()
    assert bars()
    gate.set()
    until(lambda: not bars())
    assert "1/1" in shown(file)


def test_a_group_that_is_dropped_goes_and_its_bar_with_it():
    g = ErrGroup()
    progress(g, file=io.StringIO())
    there = weakref.ref(g)
    del g
    until(lambda: gc.collect() >= 0 and there() is None)
    until(lambda: not bars())


def test_close_ends_it_early_and_twice_is_harmless():
    file = io.StringIO()
    with ErrGroup() as g:
        bar = progress(g, total=3, file=file, ascii=True)
        bar.close()
        bar.close()
        until(lambda: not bars())


def test_rich_where_tqdm_is_not_installed(monkeypatch):
    console = pytest.importorskip("rich.console")
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    file = io.StringIO()
    with ErrGroup() as g:
        progress(g, total=2, description="jobs", console=console.Console(file=file, width=80, force_terminal=True))
        g.go(int)
        g.go(int)
    assert "100%" in file.getvalue()


def test_without_either_it_says_what_to_install(monkeypatch):
    for module in ("tqdm.auto", "rich.progress"):
        monkeypatch.setitem(sys.modules, module, None)
    with ErrGroup() as g, pytest.raises(ModuleNotFoundError, match=r"pip install tqdm"):
        progress(g)


def test_it_is_public():
    assert "progress" in cwaitgroup.__all__
