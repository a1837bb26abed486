/* errgroup_task.h - how a task of an error group runs, and how it ends.
 *
 * A task ends in this order: its error is recorded; the context of the group is cancelled, if the error is the first; the
 * task's owner is told how it ended (`settled`); the slot is given back, which counts the task as done; the owner is told that
 * this is so (`ended`). So no sibling's "cancelled" can come before the error; whatever a wait returns to finds the outcome
 * stored; and nobody can see that a task has ended before there is a slot.
 *
 * Each of these steps may end the thread, since it calls code of others. The steps that are left are made all the same. */
#ifndef WG_ERRGROUP_TASK_H
#define WG_ERRGROUP_TASK_H

#include "errgroup_state.h"

/* What a task is queued with as `run`: one of wg_errgroup_start, or of the simple form; and the same while a timeline is
 * written, which then is a struct wg_traced_task. */
void wg_run_task(struct wg_work *work, bool skip);
void wg_run_simple_task(struct wg_work *work, bool skip);
void wg_run_traced_task(struct wg_work *work, bool skip);
void wg_run_simple_traced_task(struct wg_work *work, bool skip);

/* Give back a slot that no task has any more. The group may be gone afterwards. */
void wg_group_give_slot(wg_errgroup *g);

/* Start the stored tasks of the list `ready`: a slot is free for each. One that cannot start ends. The caller refers to the
 * group; if the thread ends in this call, it calls again. */
void wg_group_start_ready(wg_errgroup *g, struct wg_link *ready);

#endif
