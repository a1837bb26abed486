/* spawn.h - to start a thread of a pool, and what happens when none can be started.
 *
 * A worker is reserved under the lock, by wg_new_worker(): it counts as expected. Its thread is started without the lock. If
 * that fails while work is queued, the pool is *starved*: the work has no searcher, and perhaps no worker at all. What waits may
 * wait for that work, so those that sleep are woken, and each wait tries again from time to time, for all pools that are starved
 * (shortage.h). So does each submit. A pool is no longer starved when a thread of it has come, or nothing is queued any more.
 *
 * What the pool asked for before a fork stays in the parent. */
#ifndef WG_SPAWN_H
#define WG_SPAWN_H

#include "searcher.h"

/* Wake a worker, or start the thread of one. */
bool wg_wake_or_spawn(wg_pool *pool, struct wg_action action);

/* Not with the lock held: do what is to be done. False if a thread was wanted and there is none to be had. */
static inline bool wg_perform(wg_pool *pool, struct wg_action action) {
    return action.what == WG_NOTHING || wg_wake_or_spawn(pool, action);
}

#endif
