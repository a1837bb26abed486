"""The stubs: they agree with the module, and say what users' type checkers need."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import cwaitgroup
import pytest

mypy_version = pytest.importorskip("mypy.version", reason="no mypy here")

PACKAGE = Path(cwaitgroup.__file__).parent


def check(*command, cwd=None):
    """The exit status of a type checker, which finds the package where we found it, and what it says."""
    environment = os.environ if "site-packages" in PACKAGE.parts else os.environ | {"MYPYPATH": str(PACKAGE.parent)}
    ran = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=300, cwd=cwd, env=environment
    )
    return ran.returncode, ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def mypy_cache(tmp_path_factory):
    """What mypy has learned of the standard library, which takes it long."""
    return tmp_path_factory.mktemp("mypy-cache")


@pytest.fixture
def mypy(tmp_path, mypy_cache):
    """mypy(code) is what mypy --strict says of it."""

    def mypy(code):
        (tmp_path / "program.py").write_text(textwrap.dedent(code))
        return check("mypy", "--strict", "--config-file=", "--cache-dir", str(mypy_cache), "program.py", cwd=tmp_path)

    return mypy


@pytest.mark.skipif(
    mypy_version.__version__.startswith("1."), reason="this mypy takes what our modules import for what they declare"
)
def test_the_stubs_agree_with_the_module(tmp_path):
    status, out = check(
        "mypy.stubtest",
        "cwaitgroup",
        "--concise",
        "--mypy-config-file",
        str(tmp_path / "none"),
    )
    assert status == 0, out


def test_the_stubs_say_what_help_says():
    script = Path(__file__).parents[2] / "tools/stub_docstrings.py"
    ran = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_types_flow(mypy):
    status, out = mypy("""
        from typing import assert_type
        from cwaitgroup import Cancelled, Context, ErrGroup, Queue, Task, WaitGroup, as_completed, current_context

        def fetch(url: str, retries: int = 3) -> bytes:
            return b""

        def scale(n: int, by: float) -> float:
            return n * by

        def use() -> None:
            with ErrGroup(limit=4, timeout=3, errors="all") as g:
                task = g.go(fetch, "x", retries=1)
                assert_type(task, Task[bytes])
                assert_type(task.result(1), bytes)
                assert_type(g.try_go(fetch, "x"), Task[bytes] | None)
                assert_type(g.map(len, ["a", "b"]), list[int])
                assert_type(g.map(scale, [1], [2.0]), list[float])
                g.limit = None
                for done in as_completed([task]):
                    assert_type(done.result(), bytes)
                assert_type(g.start(fetch, ["x"], {"retries": 1}, name="x"), Task[bytes])
                assert_type(g.start(fetch, ("x",), block=False), Task[bytes] | None)
                assert_type(list(g.imap(len, ["a"], ordered=False)), list[int])
                task.add_done_callback(lambda task: print(task.result()))
                assert_type(task.cancel(), bool)
                queue = Queue[int](3)
                queue.put(1, context=g.context)
                assert_type(queue.get(context=g.context), int)
            with WaitGroup(2) as wg:
                assert_type(wg.wait(0.5, context=g.context), bool)
            assert_type(current_context(), Context)
            current_context().check()
            assert_type(g.errors, tuple[BaseException, ...])
            ints: Task[object] = g.go(len, "x")

        def returns_in_a_block() -> list[int]:
            with ErrGroup() as g:
                return g.map(len, ["a"])

        async def use_async(ctx: Context) -> None:
            async with ErrGroup(context=ctx) as g:
                assert_type(g, ErrGroup)
                await WaitGroup()
                await ctx
            await g
            task = await g.go_async(len, "x")
            assert_type(await task, int)
            async for done in as_completed([task]):
                assert_type(done, Task[int])
    """)
    assert status == 0, out


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("g.go(fetch)", "Missing positional argument"),
        ("g.go(fetch, 1)", "incompatible type"),
        ("g.go(fetch, 'x', unknown=1)", "Unexpected keyword"),
        ("g.go(fetch, 'x').result().nothing", "has no attribute"),
        ("ErrGroup(errors='some')", "incompatible type"),
        ("wg.count = 3", "read-only"),
        ("class Mine(ErrGroup): ...", "final"),
        ("g.cancel(3)", "incompatible type"),
        ("wg.wait('x')", "incompatible type"),
    ],
)
def test_mistakes_are_found(mypy, line, complaint):
    status, out = mypy(f"""
        from cwaitgroup import *
        def fetch(url: str) -> bytes:
            return b""
        g, wg = ErrGroup(), WaitGroup()
        {line}
    """)
    assert status == 1 and complaint in out, out


def test_the_marker_is_there():
    assert (PACKAGE / "py.typed").exists()
