/* watch.c - a wait group as a descriptor: an observer that makes it readable, armed again on demand. */
#include "waitgroup/watch.h"

#include <stdlib.h>

#include "count.h"
#include "fork.h"
#include "os.h"

struct wg_watch {
    wg_waitgroup *wg;
    wg_observer observer;
    struct wg_signal signal;
    wg_a32 told;    /* the observer was called, and the descriptor is readable */
    uint32_t epoch; /* the process that made the descriptor; a child shares it, and must not make it readable */
};

static void tell(void *arg) {
    struct wg_watch *watch = arg;
    if (watch->epoch == wg_fork_epoch())
        wg_signal_raise(&watch->signal);
    wg_store_release32(&watch->told, 1);
}

wg_status wg_watch_new(wg_watch **out, wg_waitgroup *wg) {
    if (!out || !wg)
        return WG_INVALID;
    struct wg_watch *watch = malloc(sizeof *watch);
    if (!watch)
        return WG_NO_MEMORY;
    *watch = (struct wg_watch){.wg = wg, .epoch = wg_fork_epoch()};
    if (!wg_signal_open(&watch->signal)) {
        free(watch);
        return WG_NO_FD;
    }
    wg_observe_zero(wg, &watch->observer, tell, watch);
    *out = watch;
    return WG_OK;
}

int wg_watch_fd(wg_watch *watch) {
    if (!watch || watch->epoch != wg_fork_epoch())
        return -1;
    if (wg_load_acquire32(&watch->told) && wg_count(watch->wg) > 0) {
        wg_unobserve_zero(watch->wg, &watch->observer, true); /* `tell` may still be on its way out */
        wg_store_relaxed32(&watch->told, 0);
        wg_signal_clear(&watch->signal);
        wg_observe_zero(watch->wg, &watch->observer, tell, watch);
    }
    return watch->signal.readable;
}

void wg_watch_free(wg_watch *watch) {
    if (!watch)
        return;
    wg_unobserve_zero(watch->wg, &watch->observer, true);
    wg_signal_close(&watch->signal);
    free(watch);
}
