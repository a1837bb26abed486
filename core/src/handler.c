/* handler.c - what a signal handler may do to a wait group.
 *
 * A handler may have interrupted a thread that holds the lock which it would need. So the one step that needs a lock, that to
 * zero while somebody waits for it, is left to a thread of ours, by way of a table: the handler puts the wait group into a
 * free place, by one compare-and-swap, and calls the thread (helper.h). Those are atomic steps and a write, and nothing else.
 *
 * What is in a place is a step still to be made: so the count is above zero, and whoever waits for it keeps the memory. In the
 * child of a fork nobody waits for that any more: the steps stay in the parent. */
#include "count.h"
#include "helper.h"

#define PLACES 256
static wg_a64 places[PLACES]; /* addresses of wait groups; 0: free */
static wg_a32 used;           /* one of them was, in this process */

static void make_steps(void) {
    for (int i = 0; i < PLACES; i++) {
        uint64_t place = wg_load_acquire64(&places[i]);
        if (place != 0 && wg_cas_acq_rel64(&places[i], &place, 0))
            wg_done((wg_waitgroup *)(uintptr_t)place);
    }
}

static struct wg_helper stepper = {.name = "wg-handlers", .serve = make_steps};

wg_status wg_handlers_prepare(void) { return wg_helper_prepare(&stepper); }

void wg_handlers_reset(void) {
    for (int i = 0; i < PLACES && wg_load_relaxed32(&used); i++)
        wg_store_relaxed64(&places[i], 0);
    wg_store_relaxed32(&used, 0);
}

wg_status wg_done_in_handler(wg_waitgroup *wg) {
    wg_status status;
    if (!wg)
        return WG_INVALID;
    if (wg_count_try_done(wg, &status))
        return status;
    if (!wg_helper_is_prepared(&stepper))
        return WG_NO_THREADS;
    wg_store_relaxed32(&used, 1);
    for (int i = 0; i < PLACES; i++) {
        uint64_t free = 0;
        if (wg_load_relaxed64(&places[i]) == 0 && wg_cas_acq_rel64(&places[i], &free, (uintptr_t)wg)) {
            wg_helper_call(&stepper);
            return WG_OK;
        }
    }
    return WG_LIMIT;
}
