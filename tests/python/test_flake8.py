"""The flake8 plug-in: it reports the classic mistakes, and nothing else."""

import ast
import subprocess
import sys
import textwrap

import pytest
from cwaitgroup._flake8 import Checker

PREAMBLE = """
import copy, threading
import cwaitgroup
from multiprocessing import Process
from cwaitgroup import Context, ErrGroup, WaitGroup
from cwaitgroup import ErrGroup as EG
"""


def findings(code):
    tree = ast.parse(PREAMBLE + textwrap.dedent(code))
    return [found.text for found in Checker(tree).run()]


MISTAKES = {
    "add in a nested task": (
        "CWG001",
        """
        def main():
            wg = WaitGroup()
            def work():
                wg.add()
                wg.done()
            threading.Thread(target=work).start()
            wg.wait()
        """,
    ),
    "add in a task that is defined further down": (
        "CWG001",
        """
        wg = WaitGroup()
        def main(g: ErrGroup):
            g.go(work)
            wg.wait()
        def work():
            wg.add(1)
        """,
    ),
    "add in a lambda": ("CWG001", "wg = WaitGroup()\nwg.go(lambda: wg.add())\nwg.wait()"),
    "try_go ignored": ("CWG002", "with ErrGroup(limit=2) as g:\n    g.try_go(print)"),
    "start without blocking ignored": ("CWG002", "with ErrGroup() as g:\n    g.start(print, block=False)"),
    "never waited for": ("CWG003", "def f():\n    g = ErrGroup()\n    g.go(print)"),
    "never waited for, under another name": ("CWG003", "def f():\n    g = EG()\n    g.go(print)"),
    "never waited for, by the module": (
        "CWG003",
        "def f():\n    g = cwaitgroup.ErrGroup()\n    g.go(print)\n    g.cancel()",
    ),
    "never waited for, without a name": ("CWG003", "ErrGroup().go(print)"),
    "a wait group never waited for": ("CWG003", "def f():\n    wg: WaitGroup = WaitGroup()\n    wg.go(print)"),
    "copied": ("CWG004", "def f(wg: WaitGroup):\n    return copy.copy(wg)"),
    "given to another process": ("CWG004", "def f(wg: WaitGroup):\n    Process(target=print, args=(1, wg)).start()"),
    "wait in a coroutine": ("CWG005", "async def f(wg: WaitGroup):\n    wg.wait()"),
    "wait of a group in a coroutine": ("CWG005", "async def f(g: 'ErrGroup'):\n    g.wait(timeout=3)"),
    "go at a limit in a coroutine": (
        "CWG005",
        "async def f():\n    async with ErrGroup(limit=2) as g:\n        g.go(print)",
    ),
    "map in a coroutine": ("CWG005", "async def f(g: ErrGroup):\n    g.map(print, [1])"),
    "a with in a coroutine": ("CWG006", "async def f():\n    with ErrGroup() as g:\n        g.go(print)"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_reported_once(mistake):
    code, source = MISTAKES[mistake]
    assert [text[:6] for text in findings(source)] == [code]


RIGHT = {
    "the usual ways": """
        with ErrGroup(limit=2) as g:
            task = g.try_go(print)
            g.go(print)
            g.start(print)
        wg = WaitGroup()
        wg.add()
        threading.Thread(target=wg.done).start()
        wg.wait()
    """,
    "a wait group of the task's own": """
        def main():
            wg = WaitGroup()
            def work():
                wg = WaitGroup()
                wg.add()
                wg.wait()
            wg.go(work)
            wg.wait()
    """,
    "a set of the same name": "wg = WaitGroup()\ndef work(wg):\n    wg.add(1)\nwg.go(work, set())\nwg.wait()",
    "returned": "def f():\n    g = ErrGroup()\n    g.go(print)\n    return g",
    "passed on": "def f(h):\n    g = ErrGroup()\n    g.go(print)\n    h(g)",
    "stored": "def f(self):\n    g = ErrGroup()\n    g.go(print)\n    self.g = g",
    "waited for in a closure": "def f():\n    g = ErrGroup()\n    g.go(print)\n    return lambda: g.wait()",
    "managed later": "def f():\n    g = ErrGroup()\n    with g:\n        g.go(print)",
    "map waits": "def f():\n    g = ErrGroup()\n    return g.map(print, [1])",
    "awaited": "async def f():\n    wg = WaitGroup()\n    wg.go(print)\n    await wg",
    "awaited calls": "async def f(g: ErrGroup):\n    await g.wait()",
    "polled in a coroutine": "async def f(wg: WaitGroup):\n    return wg.wait(0)",
    "async with": "async def f():\n    async with ErrGroup() as g:\n        g.go(print)",
    "a thread's function in a coroutine": """
        async def f(wg: WaitGroup):
            def work():
                wg.wait()
            return work
    """,
    "other classes": """
        class Group: pass
        def f():
            g = Group()
            g.go(print)
            g.try_go(print)
            copy.copy(g)
    """,
}


@pytest.mark.parametrize("code", RIGHT)
def test_what_is_right_is_not_reported(code):
    assert findings(RIGHT[code]) == []


def test_flake8_finds_the_plug_in(tmp_path):
    pytest.importorskip("flake8")
    file = tmp_path / "program.py"
    file.write_text("from cwaitgroup import ErrGroup\n\nErrGroup().go(print)\n")
    run = [sys.executable, "-m", "flake8", "--isolated", "--select", "CWG", str(file)]
    result = subprocess.run(run, capture_output=True, text=True)
    assert result.stdout.strip() == (
        f"{file}:3:1: CWG003 ErrGroup() is never waited for, so its errors are lost:"
        " use `with ErrGroup():`, or call ErrGroup().wait()"
    )
