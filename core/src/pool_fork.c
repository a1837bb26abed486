/* pool_fork.c - pools in the child of a fork: all are empty, and the only thread is the one that forked. */
#include "os.h"
#include "searcher.h"
#include "shortage.h"
#include "worker.h"

/* No queue of a group can be left with its lock held, unless nobody will want it: outside of the pool's lock, which fork.c
 * holds, only a thread that has a slot of the group takes it; so in the child the group is of the parent for good. */
static void reset(wg_pool *pool) {
    while (pool->ring.next)
        wg_ring_forget(&pool->ring);
    pool->loose = (struct wg_queue){.first = NULL}; /* another thread may have held its lock */
    pool->ring.queued = 0;
    pool->idle = pool->monitoring = pool->standby = NULL;
    wg_store_relaxed64(&pool->offer, WG_NOBODY_LOOKS);
    pool->clocks = (struct wg_clocks){.count = 0};
    pool->present = pool->expected = pool->starting = pool->computing = 0;
    pool->searching = pool->spawning = false;
    pool->starved = false;
    pool->monitor.seen_time = 0;
    struct wg_worker *me = wg_thread()->worker;
    if (me && me->pool == pool)
        wg_worker_forked(pool, me);
    wg_update_needs_worker(pool);
}

void wg_pools_reset(void) {
    wg_shortage_reset();
    for (wg_pool *pool = wg_pool_or_default(NULL); pool; pool = pool->next)
        reset(pool);
}
