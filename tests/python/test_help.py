"""The built-in help: every public name has a signature, and a docstring whose example works."""

import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import cwaitgroup
import pytest
from cwaitgroup import Context, ErrGroup, Queue, Task, WaitGroup

CLASSES = [WaitGroup, ErrGroup, Task, Context, Queue]


def public_members(cls):
    return [(name, member) for name, member in vars(cls).items() if not name.startswith("_")]


def documented():
    yield "cwaitgroup", cwaitgroup
    yield "current_context", cwaitgroup.current_context
    yield "progress", cwaitgroup.progress
    yield "as_completed", cwaitgroup.as_completed
    for cls in CLASSES:
        yield cls.__name__, cls
        for name, member in public_members(cls):
            yield f"{cls.__name__}.{name}", member


@pytest.mark.leaves_tasks  # that of Task.exception: what it shows needs no wait for the group
@pytest.mark.parametrize(("name", "thing"), list(documented()), ids=[name for name, _ in documented()])
def test_examples_work(name, thing):
    finder = doctest.DocTestParser()
    test = finder.get_doctest(inspect.getdoc(thing), dict(vars(cwaitgroup)), name, None, None)
    result = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL).run(test)
    assert result.failed == 0
    if callable(thing):
        assert result.attempted > 0, f"{name} has no example"


def test_signatures():
    assert str(inspect.signature(WaitGroup.add)) == "(self, /, n=1)"
    assert str(inspect.signature(WaitGroup.go)) == "(self, fn, /, *args, **kwargs)"
    assert str(inspect.signature(WaitGroup.wait)) == "(self, /, timeout=None, *, context=None)"
    assert str(inspect.signature(WaitGroup)) == "(n=0)"
    assert str(inspect.signature(Context)) == "(parent=Ellipsis, *, timeout=None, deadline=None)"
    assert list(inspect.signature(ErrGroup).parameters) == [
        "limit",
        "timeout",
        "grace",
        "context",
        "errors",
        "name",
        "on_error",
        "backlog",
        "executor",
    ]
    for cls in CLASSES:
        for name, member in public_members(cls):
            if callable(member):
                assert "self" in inspect.signature(member).parameters, name


def test_every_member_has_a_docstring_within_a_terminal():
    for name, thing in documented():
        text = inspect.getdoc(thing)
        assert text, name
        assert max(map(len, text.splitlines())) <= 88, name


def test_help_is_enough_to_use_it():
    out = subprocess.run(
        [sys.executable, "-c", "import cwaitgroup; help(cwaitgroup.ErrGroup)"],
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    for word in ("limit", "timeout", "grace", "errors", "with ErrGroup(limit=2) as g:", "imap", "Raises"):
        assert word in out


def test_public_names():
    assert set(cwaitgroup.__all__) == {
        "dump",
        "dump_on_signal",
        "Cancelled",
        "Context",
        "DeadlineExceeded",
        "DeadlockError",
        "ErrGroup",
        "ForeignError",
        "NegativeCounterError",
        "Queue",
        "ShutDown",
        "Task",
        "WaitGroup",
        "WaitTimeout",
        "__version__",
        "as_completed",
        "attach",
        "current_context",
        "progress",
        "trace",
    }
    for cls in (*CLASSES, cwaitgroup.Cancelled, cwaitgroup.DeadlockError):
        assert cls.__module__ == "cwaitgroup"


def test_the_spelling():
    top = Path(__file__).parents[2]
    for part in ("bindings/python", "python/cwaitgroup"):
        for path in (top / part).iterdir():
            if path.suffix in (".c", ".h", ".py", ".pyi"):
                assert "cancel" + "ed" not in path.read_text().lower(), path
