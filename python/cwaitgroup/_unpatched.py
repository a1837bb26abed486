"""What gevent and eventlet replace in the standard library and this package needs as it was, since its tasks run in
threads of the system: the lock, and queue.Queue. They may have patched before the package is imported, or may do so
later."""

import queue
import sys
from _thread import allocate_lock
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queue import Queue as Queue

    new_lock: Callable[[], Lock]


def _find() -> tuple[Any, Any]:
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None and gevent.is_module_patched("threading"):
        return gevent.get_original("queue", "Queue"), gevent.get_original("_thread", "allocate_lock")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return eventlet.original("queue").Queue, eventlet.original("_thread").allocate_lock
    return queue.Queue, allocate_lock


if not TYPE_CHECKING:
    Queue, new_lock = _find()
