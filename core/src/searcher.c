/* searcher.c - see searcher.h. */
#include "searcher.h"

struct wg_action wg_wake(struct wg_worker *worker) {
    wg_store_release32(&worker->wake, 1);
    return (struct wg_action){WG_WAKE, &worker->wake, wg_fork_epoch()};
}

struct wg_action wg_wake_idle(wg_pool *pool, bool searching) {
    struct wg_worker *worker = pool->idle;
    pool->idle = worker->next_idle;
    worker->searching = searching;
    return wg_wake(worker);
}

struct wg_action wg_new_worker(wg_pool *pool) {
    pool->expected++;
    pool->starting++;
    return (struct wg_action){WG_SPAWN, NULL, wg_fork_epoch()};
}

struct wg_action wg_one_more(wg_pool *pool) {
    return pool->idle ? wg_wake_idle(pool, false) : wg_new_worker(pool);
}

/*   there is none              wake an idle worker, else start a thread
 *   it is the monitor          a core is free: it need not wait for its tick
 *   it is on its way           nothing */
struct wg_action wg_ensure_searcher(wg_pool *pool) {
    if (!pool->ring.next || pool->stopped)
        return (struct wg_action){.what = WG_NOTHING};
    if (pool->searching) {
        struct wg_worker *monitor = pool->monitoring;
        if (!monitor || pool->computing >= wg_cores_of(pool))
            return (struct wg_action){.what = WG_NOTHING};
        pool->monitoring = NULL;
        return wg_wake(monitor);
    }
    pool->searching = true;
    if (pool->idle)
        return wg_wake_idle(pool, true);
    pool->spawning = true;
    return wg_new_worker(pool);
}
