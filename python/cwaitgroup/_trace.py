"""Timelines: trace(), and what WAITGROUP_TRACE leaves to Python."""

import atexit
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cwaitgroup import _core

ENVIRONMENT = "WAITGROUP_TRACE"


def _is_worker(thread: threading.Thread) -> bool:
    return type(getattr(thread, "_target", None)).__module__ == _core.__name__


def _name_threads() -> None:
    """Those of the program: the system may know them by no name of their own."""
    for thread in threading.enumerate():
        if thread.native_id is not None and thread is not threading.main_thread() and not _is_worker(thread):
            _core._trace_name(thread.native_id, thread.name)


@contextmanager
def trace(file: str | os.PathLike[str]) -> Iterator[None]:
    """Write the timeline of this process to `file`, as Chrome trace events.

    >>> import json, tempfile
    >>> file = tempfile.mktemp(".json")
    >>> with trace(file), ErrGroup(name="squares") as g:
    ...     tasks = g.map(pow, range(3), [2] * 3)
    >>> with open(file) as f:
    ...     events = json.load(f)["traceEvents"]
    >>> sum(event.get("cat") == "task" for event in events)
    3

    Perfetto (ui.perfetto.dev), chrome://tracing and vizviewer open it; `python -m cwaitgroup
    timeline FILE` sums it up. Each thread has a track with the tasks that it ran, with group,
    time in the queue, outcome and error; waits that slept are slices too, cancellations are
    marks. Groups, and tasks on an executor, have tracks of their own. Groups of all languages
    are there. What has not ended at the end of the block is in the file, as "unfinished".

    With WAITGROUP_TRACE=FILE in the environment, the timeline begins when the library is
    loaded, and is complete when the process exits, for programs that one cannot change.
    The child of a fork writes nothing. If another process writes the same file, this one adds
    a point and its number to the name.

    Any thread may call it. Raises RuntimeError if a timeline is being written already, and
    OSError if the file cannot be written.
    """
    path = os.fsencode(file)  # open() would take a number for a descriptor, and close it
    with open(path, "ab"):  # says what is wrong with the name
        pass
    _core._trace_start(path)
    try:
        yield
    finally:
        _name_threads()
        _core._trace_stop()


def _at_exit() -> None:
    _name_threads()
    if getattr(sys, "last_type", None) is KeyboardInterrupt:  # Python ends itself by a signal then, and not by exit()
        _core._trace_stop()


def obey_environment() -> None:
    """The core has begun; this adds the names of threads."""
    if _core._trace_on():
        atexit.register(_at_exit)
