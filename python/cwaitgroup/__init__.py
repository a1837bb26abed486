"""Wait groups, error groups and contexts for threads.

>>> with ErrGroup(limit=4) as g:
...     tasks = [g.go(pow, 2, n) for n in range(3)]
>>> [task.result() for task in tasks]
[1, 2, 4]

WaitGroup        counts things to wait for
ErrGroup         runs functions in threads; the first error stops the rest
Task             what ErrGroup.go() returns: a result to come
Context          says "stop now", with a cause, a deadline and children
current_context  the Context of the task that runs in this thread
progress         draws a progress bar of a group

Errors: Cancelled, DeadlineExceeded, NegativeCounterError, DeadlockError.
"""

from cwaitgroup._core import (
    Cancelled,
    Context,
    DeadlineExceeded,
    DeadlockError,
    ErrGroup,
    NegativeCounterError,
    Task,
    WaitGroup,
    __version__,
    current_context,
)
from cwaitgroup._progress import progress

__all__ = [
    "Cancelled",
    "Context",
    "DeadlineExceeded",
    "DeadlockError",
    "ErrGroup",
    "NegativeCounterError",
    "Task",
    "WaitGroup",
    "__version__",
    "current_context",
    "progress",
]
