/* errgroup.h - the events of an error group, for event.c. */
#ifndef WG_ERRGROUP_H
#define WG_ERRGROUP_H

#include "waitgroup/errgroup.h"

/* Wait until a slot has been taken for the caller: as wg_errgroup_start, without a task. */
wg_status wg_errgroup_wait_for_slot(wg_errgroup *g, const wg_until *until);

/* The fields of `observer` for its function and its argument are set. */
void wg_errgroup_observe_slot(wg_errgroup *g, wg_observer *observer);
bool wg_errgroup_unobserve_slot(wg_errgroup *g, wg_observer *observer, bool sync);

void wg_errgroup_observe_outcome(wg_errgroup *g, wg_observer *observer, void (*fn)(void *arg), void *arg);
bool wg_errgroup_unobserve_outcome(wg_errgroup *g, wg_observer *observer, bool sync);

/* Is the task with this argument queued ahead of the slots? */
bool wg_errgroup_has_stored(wg_errgroup *g, const void *arg);

struct wg_slots *wg_errgroup_slots(wg_errgroup *g);

#endif
