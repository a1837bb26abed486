"""Sub-interpreters: with a GIL of their own from Python 3.12 on."""

import sys

import pytest

# Runs code in a new interpreter, of the old kind, which shares the GIL, or of the new kind, which has its own; says
# what was raised there, if anything. Old ones are made as C programs make them: before Python 3.12, _xxsubinterpreters
# does not end one in which threads are left.
PROGRAM = """
import sys
try:
    import _interpreters
except ImportError:
    import _xxsubinterpreters as _interpreters
def run(code, isolated={isolated}):
    if not isolated:
        import _testcapi
        assert _testcapi.run_in_subinterp(code) == 0
        return
    interpreter = _interpreters.create()
    if sys.version_info >= (3, 13):
        error = _interpreters.exec(interpreter, code)
        if error is not None:
            print(error.formatted)
    else:
        try:
            _interpreters.run_string(interpreter, code)
        except _interpreters.RunFailedError as error:
            print(error)
    _interpreters.destroy(interpreter)
{body}
"""

USE = """
import threading, time
from cwaitgroup import *
wg = WaitGroup()
seen = []
for i in range(10):
    wg.go(seen.append, i)
assert wg.wait(60) and sorted(seen) == list(range(10))
with ErrGroup(limit=3) as g:
    assert g.map(pow, range(20), [2] * 20) == [n * n for n in range(20)]
try:
    with ErrGroup() as g:
        g.go(g.context.wait)
        g.go(int, "x")
except ValueError:
    pass
called = threading.Event()
ctx = Context(timeout=0.01)
ctx.add_callback(called.set)
assert called.wait(60)
print("ok", flush=True)
"""

ISOLATED = [False, True] if sys.version_info >= (3, 12) else [False]


@pytest.fixture(params=ISOLATED, ids=lambda isolated: "own GIL" if isolated else "shared GIL")
def interpreters(request, run):
    if not request.param:
        pytest.importorskip("_testcapi", reason="this Python comes without its test modules")
    return lambda body: run(PROGRAM.format(isolated=request.param, body=body))


def test_everything_works_there(interpreters):
    assert interpreters(f"run({USE!r})") == "ok"


def test_one_after_the_other(interpreters):
    assert interpreters(f"for _ in range(5): run({USE!r})").split() == ["ok"] * 5


def test_beside_the_main_one(interpreters):
    assert interpreters(f"exec({USE!r})\nrun({USE!r})\nexec({USE!r})").split() == ["ok"] * 3


def test_types_are_not_shared(interpreters):
    out = interpreters(
        "import cwaitgroup\nprint(id(cwaitgroup.WaitGroup))\nrun('import cwaitgroup; print(id(cwaitgroup.WaitGroup))')"
    )
    assert len(set(out.split())) == 2


def test_idle_workers_do_not_delay_its_end(interpreters):
    out = interpreters(
        f"import time\nstart = time.monotonic()\nfor _ in range(4): run({USE!r})\nprint(time.monotonic() - start < 18)"
    )  # an idle worker would stay for 5 s in each
    assert out.split()[-1] == "True"


def test_it_ends_while_tasks_wait(interpreters):
    code = "from cwaitgroup import *\nctx = Context()\nfor _ in range(5): WaitGroup().go(ctx.wait)\nprint('ok')"
    assert interpreters(f"run({code!r})") == "ok"


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="since Python 3.12 such interpreters allow threads")
def test_where_threads_are_forbidden_it_says_so(run):
    code = """
from cwaitgroup import *
wg = WaitGroup(1)
wg.done()
assert wg.wait()
try:
    wg.go(print, "never")
except RuntimeError as error:
    print(error, wg.count)
"""
    out = run(PROGRAM.format(isolated=True, body=f"run({code!r})"))
    assert out == "WaitGroup.go(): no thread could be started 0"


def test_threads_in_several_at_once(run):
    if len(ISOLATED) == 1:
        pytest.skip("needs interpreters with a GIL of their own: Python 3.12")
    body = f"""
import threading
threads = [threading.Thread(target=run, args=({USE!r},)) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    assert run(PROGRAM.format(isolated=True, body=body)).count("ok") == 4  # lines of several may be mixed
