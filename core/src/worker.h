/* worker.h - what a thread of a pool does: take work and run it; without work search a little, sleep, and leave. */
#ifndef WG_WORKER_H
#define WG_WORKER_H

#include "pool_state.h"

/* For pool_fork.c, in the child, with the lock held: this worker has forked, in a task, in a wait inside of one, or in the host.
 * It is the only one that the pool has. */
void wg_worker_forked(wg_pool *pool, struct wg_worker *me);

#endif
