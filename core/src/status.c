/* status.c - texts. */
#include "waitgroup/status.h"

const char *wg_strstatus(wg_status status) {
    switch (status) {
    case WG_OK: return "ok";
    case WG_TIMEOUT: return "timeout";
    case WG_CONTEXT_ENDED: return "the context of the call has ended";
    case WG_CANCELLED: return "cancelled";
    case WG_DEADLINE_EXCEEDED: return "deadline exceeded";
    case WG_INTERRUPTED: return "interrupted by a signal";
    case WG_FAILED: return "a task failed";
    case WG_LIMIT: return "the limit is reached";
    case WG_FINISHED: return "the group is finished; make a new one";
    case WG_DEADLOCK: return "deadlock: the call would wait for itself";
    case WG_FORKED: return "the tasks are in the parent process; make a new group after fork";
    case WG_NEGATIVE: return "negative count: more done than add";
    case WG_OVERFLOW: return "count too large";
    case WG_INVALID: return "invalid argument";
    case WG_NO_MEMORY: return "out of memory";
    case WG_NO_THREADS: return "no thread could be started";
    case WG_NO_FD: return "no file descriptor could be opened";
    case WG_STOPPED: return "the pool is stopped";
    }
    return "unknown status";
}

const char *wg_version(void) { return WG_VERSION; }
