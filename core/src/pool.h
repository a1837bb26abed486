/* pool.h - what the other files may do with a pool. */
#ifndef WG_POOL_H
#define WG_POOL_H

#include "waitgroup/pool.h"

#include "queue.h"

/* NULL is the pool of the process. */
wg_pool *wg_pool_or_default(wg_pool *pool);

/* `pool`, or the pool of the process if tasks that name none do not run in it. */
wg_pool *wg_pool_for_all(wg_pool *pool);

/* The queue for work of no group. */
struct wg_queue *wg_pool_loose(wg_pool *pool);

/* Queue a copy of `work`, of `size` bytes, in `queue`. WG_OK; WG_STOPPED, WG_NO_THREADS, WG_NO_MEMORY: it is not
 * queued. */
wg_status wg_pool_submit(wg_pool *pool, struct wg_queue *queue, const struct wg_work *work, size_t size);

/* If the pool lets callers help, take the first work of `queue` and run it here. False if there was none. */
bool wg_pool_help(wg_pool *pool, struct wg_queue *queue);

/* Is it worth spinning until another thread of this pool has done something? Not on one core, nor under an interpreter
 * lock. */
bool wg_worth_spinning(const wg_pool *pool);

/* How busy a pool is, for people. */
struct wg_pool_load {
    char name[16];
    unsigned workers, computing;
    unsigned long queued;
    bool starved;
};
/* `look(arg, load)` for each pool, with no lock held. */
void wg_pools_look(void (*look)(void *arg, const struct wg_pool_load *load), void *arg);

/* For fork.c. */
void wg_pools_lock(void);
void wg_pools_unlock(void);
/* In the child: every pool is empty and has no threads, except the one that forked if it is a worker. */
void wg_pools_reset(void);

#endif
