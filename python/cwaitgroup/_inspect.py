"""Looking into a program that hangs: dump(), dump_on_signal(), WAITGROUP_DUMP, and python -m cwaitgroup dump PID."""

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TextIO

from cwaitgroup import _core

try:
    import faulthandler
except ImportError:  # in a sub-interpreter with a GIL of its own
    faulthandler = None  # type: ignore[assignment]

ENVIRONMENT = "WAITGROUP_DUMP"
_DEPTH = 4  # so many calls of a thread are shown


_OURS = {"Thread._bootstrap", "Thread._bootstrap_inner", "Thread.run"}  # beneath the function of a thread


def _calls(frame: FrameType | None) -> list[str]:
    """Where a thread is, innermost first."""
    calls = []
    while frame:
        if frame.f_code.co_qualname not in _OURS and frame.f_code.co_filename != __file__:
            calls.append(f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno} in {frame.f_code.co_qualname}")
        frame = frame.f_back
    return calls


def _with_places(text: str, places: dict[int, list[str]]) -> str:
    """Add to each thread that `text` names the line that it is at."""

    def add_place(match: re.Match[str]) -> str:
        calls = places.get(int(match[1], 16))
        return f"{match[0]} at {calls[0]}" if calls else match[0]

    return re.sub(r"\((0x[0-9a-f]+)\)", add_place, text)


def _stacks(places: dict[int, list[str]]) -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, calls in places.items():
        more = ", ..." if len(calls) > _DEPTH else ""
        name = f" '{names[ident]}'" if ident in names else ""
        yield f"    (0x{ident:x}){name}: {', called by '.join(calls[:_DEPTH]) or 'no Python code'}{more}\n"


def dump(file: TextIO | None = None) -> None:
    """Write to `file`, or to sys.stderr, what waits for what in this process.

    Each error group with its tasks, for how long they have run, in which thread, and what
    they wait for; what other threads wait for in the library; the pools; and the line that
    each Python thread is at. What is stuck comes first. Groups of all languages are there.

    >>> import io
    >>> with ErrGroup(name="fetches") as g:
    ...     dump(text := io.StringIO())
    >>> "error group 'fetches'" in text.getvalue()
    True

    Any thread may call it. Raises what file.write() raises.
    """
    stream = sys.stderr if file is None else file
    places = {ident: _calls(frame) for ident, frame in sys._current_frames().items()}
    stream.write(_with_places(_core._dump(), places) + "Python threads:\n" + "".join(_stacks(places)))
    stream.flush()


def dump_on_signal(signum: int) -> None:
    """Write what dump() tells to the standard error of the process whenever `signum` comes.

    It works whatever the program is stuck in: a wait, a busy loop, C code that holds the
    GIL. The tracebacks of Python threads come first, written by faulthandler; then the
    groups, written by a thread of the library, which needs no Python. The handler of the
    signal is replaced. With WAITGROUP_DUMP=USR1 in the environment this is done when the
    library is loaded, for programs that one cannot change.

    >>> import signal
    >>> dump_on_signal(signal.SIGUSR1)

    Any thread may call it. Raises ValueError if the signal cannot be caught, RuntimeError
    without a thread or a descriptor for it.
    """
    _core._dump_on_signal(signum, 2)
    if faulthandler is not None:
        faulthandler.register(signum, file=2, all_threads=True, chain=True)


def _signal_number(name: str) -> int:
    return int(name) if name.isdigit() else signal.Signals["SIG" + name.removeprefix("SIG")].value


def obey_environment() -> None:
    """The core has done its part when it was loaded; this adds the tracebacks."""
    name = os.environ.get(ENVIRONMENT)
    if name:
        try:
            dump_on_signal(_signal_number(name))
        except (KeyError, ValueError, RuntimeError) as error:
            print(f"cwaitgroup: {ENVIRONMENT}={name}: no such signal: {error}", file=sys.stderr)


def _catches(pid: int, signum: int) -> bool:
    """Has the process a handler for the signal? True where the system does not tell."""
    try:
        with open(f"/proc/{pid}/status") as status:
            caught = next(int(line.split()[1], 16) for line in status if line.startswith("SigCgt"))
    except (FileNotFoundError, StopIteration):
        return not os.path.isdir("/proc/self")
    return bool(caught >> (signum - 1) & 1)


def ask(arguments: list[str]) -> int:
    """python -m cwaitgroup dump PID [SIGNAL]: ask a process for a dump, which it writes to its standard error."""
    try:
        pid, signum = int(arguments[0]), _signal_number(arguments[1] if len(arguments) > 1 else "USR1")
    except (IndexError, ValueError, KeyError):
        print("usage: python -m cwaitgroup dump PID [SIGNAL]", file=sys.stderr)
        return 2
    name = signal.Signals(signum).name
    if not _catches(pid, signum):
        print(
            f"process {pid} does not catch {name}, which would end it, or there is no such process: start it with "
            f"{ENVIRONMENT}={name[3:]} in the environment, or have it call cwaitgroup.dump_on_signal(signal.{name})",
            file=sys.stderr,
        )
        return 1
    os.kill(pid, signum)
    print(f"asked process {pid} by {name}: the dump goes to its standard error")
    return 0
