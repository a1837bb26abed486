/* handler.c - what a signal handler may do to a wait group.
 *
 * A handler may have interrupted a thread that holds the lock which it would need. So the one step that needs a lock, that to
 * zero while somebody waits for it, is left to a thread of ours, by way of a table: the handler puts the wait group into a
 * free place, by one compare-and-swap, and makes a descriptor readable on which the thread sleeps. Those are atomic steps
 * and a write, and nothing else.
 *
 * What is in a place is a step still to be made: so the count is above zero, and whoever waits for it keeps the memory. The
 * thread clears the descriptor before it looks at the places, so no step that comes meanwhile is missed. */
#include "count.h"
#include "fork.h"
#include "os.h"

#define PLACES 256
static wg_a64 places[PLACES]; /* addresses of wait groups; 0: free */

static struct wg_signal due;
/* One more than the epoch of the process in which there is a thread, and `due` is its own; 0: there is none. */
static wg_a32 prepared;
static wg_mutex preparing;

static bool is_prepared(void) { return wg_load_acquire32(&prepared) == wg_fork_epoch() + 1; }

static void make_steps(void) {
    for (int i = 0; i < PLACES; i++) {
        uint64_t place = wg_load_acquire64(&places[i]);
        if (place != 0 && wg_cas_acq_rel64(&places[i], &place, 0))
            wg_done((wg_waitgroup *)(uintptr_t)place);
    }
}

/* See wg_finish. An observer may end the thread: whoever prepares next starts another. */
static void serve(void *raw) {
    bool *begun = raw;
    if (*begun) {
        wg_store_release32(&prepared, 0);
        wg_handlers_prepare();
        return;
    }
    *begun = true;
    for (;;) {
        wg_signal_wait(&due);
        wg_signal_clear(&due);
        make_steps();
    }
}

static void thread_main(void *unused) {
    (void)unused;
    bool begun = false;
    wg_finish(serve, &begun);
}

/* With the lock held. In the child of a fork the descriptor is shared with the parent: it gets another. A thread that starts
 * finds steps that were left behind. */
static wg_status prepare(void) {
    struct wg_signal fresh;
    if (is_prepared())
        return WG_OK;
    if (!wg_signal_open(&fresh))
        return WG_NO_FD;
    if (wg_load_relaxed32(&prepared))
        wg_signal_close(&due);
    wg_store_relaxed32(&prepared, 0);
    due = fresh;
    wg_signal_raise(&due);
    if (!wg_start_thread("wg-handlers", 0, thread_main, NULL)) {
        wg_signal_close(&fresh);
        return WG_NO_THREADS;
    }
    wg_store_release32(&prepared, wg_fork_epoch() + 1);
    return WG_OK;
}

wg_status wg_handlers_prepare(void) {
    wg_keep_self_loaded();
    wg_mutex_lock(&preparing);
    wg_status status = prepare();
    wg_mutex_unlock(&preparing);
    return status;
}

void wg_handlers_lock(void) { wg_mutex_lock(&preparing); }
void wg_handlers_unlock(void) { wg_mutex_unlock(&preparing); }

wg_status wg_done_in_handler(wg_waitgroup *wg) {
    wg_status status;
    if (!wg)
        return WG_INVALID;
    if (wg_count_try_done(wg, &status))
        return status;
    if (!is_prepared())
        return WG_NO_THREADS;
    for (int i = 0; i < PLACES; i++) {
        uint64_t free = 0;
        if (wg_load_relaxed64(&places[i]) == 0 && wg_cas_acq_rel64(&places[i], &free, (uintptr_t)wg)) {
            wg_signal_raise(&due);
            return WG_OK;
        }
    }
    return WG_LIMIT;
}
