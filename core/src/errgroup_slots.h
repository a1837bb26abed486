/* errgroup_slots.h - the slots of an error group, as its callers see them: to take one, to wait for one, to observe.
 *
 * The first task that takes a slot takes the reference of all tasks to the group; see errgroup_state.h. */
#ifndef WG_ERRGROUP_SLOTS_H
#define WG_ERRGROUP_SLOTS_H

#include "context.h"
#include "errgroup_state.h"

/* Take a slot without sleeping for it. WG_OK; the status of the group's context, or what wg_slots_try returns. */
static inline wg_status wg_group_take_slot(wg_errgroup *g) {
    bool first = false;
    wg_status status = wg_context_check(g->context);
    if (status == WG_OK || wg_load_acquire32(&g->slots.closed))
        status = wg_slots_try(&g->slots, &first);
    if (first)
        wg_errgroup_retain(g);
    return status;
}

/* Wait for a slot, or, if `ahead`, for a place ahead of the slots. Returns what wg_slots_wait does; with WG_OK the context of
 * the group had not ended. */
wg_status wg_group_wait_for_slot(wg_errgroup *g, const wg_until *until, bool ahead);

/* A slot has been taken for the caller. If `status` is not WG_OK, or the group has ended, it is given back, and the status
 * returned. */
wg_status wg_group_keep_slot(wg_errgroup *g, wg_status status);

/* Store a task, which has a place: it starts if a slot is free, and otherwise when it is its turn. Before the first,
 * wg_group_watch_end: then the end of the group's context drops what is stored. */
void wg_group_store(wg_errgroup *g, struct wg_stored_task *stored);
void wg_group_watch_end(wg_errgroup *g);

#endif
