/* status.c - texts. */
#include "waitgroup/status.h"

#include "park.h"

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
    case WG_FINISHED: return "the group is finished";
    case WG_DEADLOCK: return "deadlock: the call would wait for itself";
    case WG_FORKED: return "the tasks were left behind in the parent process by a fork";
    case WG_NEGATIVE: return "negative count: more done than add";
    case WG_OVERFLOW: return "count too large";
    case WG_INVALID: return "invalid argument";
    case WG_NO_MEMORY: return "out of memory";
    case WG_NO_THREADS: return "no thread could be started";
    case WG_NO_FD: return "no file descriptor could be opened";
    case WG_STOPPED: return "the pool is stopped";
    case WG_UNKNOWN_ID: return "no object has this id";
    case WG_ENDED_ID: return "the object with this id is gone";
    case WG_OTHER_KIND: return "the object with this id is of another kind";
    case WG_NO_FILE: return "the file cannot be written";
    case WG_TRACING: return "a timeline is being written already";
    case WG_NOT_WRITTEN: return "a part of the file could not be written";
    }
    return "unknown status";
}

const char *wg_status_remedy(wg_status status) {
    switch (status) {
    case WG_OK: return "";
    case WG_TIMEOUT: return "call again to go on waiting, or cancel what it waits for";
    case WG_CANCELLED: return "stop; the cause of the context says why";
    case WG_DEADLINE_EXCEEDED: return "stop, or give it more time";
    case WG_CONTEXT_ENDED: return "stop; the cause of that context says why";
    case WG_INTERRUPTED: return "act on the signal, then call again";
    case WG_FAILED: return "look at the first error";
    case WG_LIMIT: return "try again when a task has ended, or raise the limit";
    case WG_FINISHED: return "make a new group";
    case WG_DEADLOCK: return "wait outside of the tasks that are waited for";
    case WG_FORKED: return "make a new group in the child";
    case WG_NEGATIVE: return "call done once for each add, and add before the task starts";
    case WG_OVERFLOW: return "wait for some before adding more";
    case WG_INVALID: return "see the contract of the call";
    case WG_NO_MEMORY: return "fewer at a time";
    case WG_NO_THREADS: return "fewer at a time, smaller stacks, or a higher limit of threads or address space";
    case WG_NO_FD: return "close some, or raise the limit of open files";
    case WG_STOPPED: return "use another pool";
    case WG_UNKNOWN_ID: return "pass on what id gave, and let both sides use the same shared libwaitgroup";
    case WG_ENDED_ID: return "keep a reference until the other side has attached: an id owns nothing";
    case WG_OTHER_KIND: return "attach as what it is";
    case WG_NO_FILE: return "name a file in a directory that exists and may be written to";
    case WG_TRACING: return "end that one first";
    case WG_NOT_WRITTEN: return "see whether the disk is full";
    }
    return "";
}

const char *wg_version(void) { return WG_VERSION; }
int wg_version_number(void) { return WG_VERSION_NUMBER; }

const char *wg_parking(void) { return wg_park_name; }
