/* searcher.c - see searcher.h. */
#include "searcher.h"

bool wg_offer(wg_pool *pool, const struct wg_queue *queue) {
    uint64_t looks = WG_LOOKS;
    return wg_load_relaxed64(&pool->offer) == WG_LOOKS && wg_cas_acq_rel64(&pool->offer, &looks, (uintptr_t)queue);
}

void wg_take_offer(wg_pool *pool, uint64_t then) {
    uint64_t offered = wg_load_relaxed64(&pool->offer);
    while (!wg_cas_acq_rel64(&pool->offer, &offered, then)) {}
    if (offered > WG_LOOKS)
        wg_ring_insert(&pool->ring, (struct wg_queue *)(uintptr_t)offered);
}

struct wg_action wg_wake(struct wg_worker *worker) {
    wg_store_release32(&worker->wake, 1);
    return (struct wg_action){WG_WAKE, &worker->wake, wg_fork_epoch()};
}

struct wg_action wg_wake_idle(wg_pool *pool, bool searching) {
    struct wg_worker *worker = pool->idle;
    pool->idle = worker->next_idle;
    worker->searching = searching;
    worker->by_submit = false;
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

struct wg_action wg_searcher_for_submit(wg_pool *pool) {
    struct wg_worker *idle = pool->idle;
    if (pool->standby && !pool->searching)
        return (struct wg_action){.what = WG_NOTHING};
    struct wg_action action = wg_ensure_searcher(pool);
    if (idle && idle != pool->idle)
        idle->by_submit = true;
    return action;
}
