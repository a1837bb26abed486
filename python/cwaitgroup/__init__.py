"""Wait groups, error groups and contexts for threads.

>>> with ErrGroup(limit=4) as g:
...     tasks = [g.go(pow, 2, n) for n in range(3)]
>>> [task.result() for task in tasks]
[1, 2, 4]

WaitGroup        counts things to wait for
ErrGroup         runs functions in threads; the first error stops the rest
Task             what ErrGroup.go() returns: a result to come
as_completed     tasks, in the order in which they end
Context          says "stop now", with a cause, a deadline and children
current_context  the Context of the task that runs in this thread
dump             writes what waits for what, in a program that hangs
dump_on_signal   does so whenever a signal comes
trace            writes a timeline of tasks and waits
attach           the object with an id, made in any language of this process
progress         draws a progress bar of a group
Queue            a queue.Queue whose get() and put() end with a context

Errors: Cancelled, DeadlineExceeded, WaitTimeout, NegativeCounterError, DeadlockError,
ForeignError, ShutDown.
"""

# All modules of the package are imported here: an import under way in another thread stays half done in the child of a
# fork.
from cwaitgroup import _async as _async
from cwaitgroup import _executor as _executor
from cwaitgroup import _inspect as _inspect
from cwaitgroup import _map as _map
from cwaitgroup import _trace as _trace
from cwaitgroup._completed import as_completed
from cwaitgroup._core import (
    Cancelled,
    Context,
    DeadlineExceeded,
    DeadlockError,
    ErrGroup,
    ForeignError,
    NegativeCounterError,
    Task,
    WaitGroup,
    WaitTimeout,
    __version__,
    attach,
    current_context,
)
from cwaitgroup._inspect import dump, dump_on_signal
from cwaitgroup._progress import progress
from cwaitgroup._queue import Queue, ShutDown
from cwaitgroup._trace import trace

for _public in (as_completed, dump, dump_on_signal, trace, Queue):
    _public.__module__ = "cwaitgroup"
if ShutDown.__module__ == "cwaitgroup._queue":
    ShutDown.__module__ = "cwaitgroup"

__all__ = [
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
    "dump",
    "dump_on_signal",
    "progress",
    "trace",
]

_inspect.obey_environment()
_trace.obey_environment()
