/* pool.c - the pool as an object: its making, its references, its end, and the list of all pools. What it consists of, and which
 * file does what, is in pool_state.h. */
#include <stdlib.h>
#include <string.h>

#include "os.h"
#include "ref.h"
#include "searcher.h"

#define THREAD_NAME "waitgroup"

/* The first in the list of all pools, for good. */
static wg_pool process_pool = {
    .refs = 1, .gap = WG_SMALLEST_GAP, .needs_worker = 1, .host = {.callers_help = true}, .name = THREAD_NAME};

static wg_mutex pools_lock; /* of that list */

wg_pool *wg_pool_or_default(wg_pool *pool) { return pool ? pool : &process_pool; }

wg_pool *wg_pool_for_all(wg_pool *pool) { return pool->host.own_tasks_only ? &process_pool : pool; }

bool wg_worth_spinning(const wg_pool *pool) { return wg_cores_of(pool) > 1; }

/* The code of `host` runs in threads that may outlive whoever made the pool. */
static void keep_host_loaded(const wg_pool_host *host) {
    void (*const functions[])(void) = {(void (*)(void))host->start, (void (*)(void))host->before_sleep,
                                       (void (*)(void))host->after_sleep, (void (*)(void))host->leave};
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (functions[i])
            wg_keep_loaded(functions[i]);
}

wg_status wg_pool_new(wg_pool **out, const wg_pool_host *host) {
    if (!out || !host || host->idle_time < 0 || (host->stack_size && host->stack_size < wg_smallest_stack()))
        return WG_INVALID;
    wg_pool *pool = malloc(sizeof *pool);
    if (!pool)
        return WG_NO_MEMORY;
    *pool = (wg_pool){.refs = 1, .gap = WG_SMALLEST_GAP, .needs_worker = 1, .host = *host};
    strncpy(pool->name, host->name ? host->name : THREAD_NAME, sizeof pool->name - 1);
    pool->host.name = pool->name;
    keep_host_loaded(host);
    wg_mutex_lock(&pools_lock);
    pool->next = process_pool.next;
    process_pool.next = pool;
    wg_mutex_unlock(&pools_lock);
    *out = pool;
    return WG_OK;
}

wg_pool *wg_pool_retain(wg_pool *pool) {
    if (pool && pool != &process_pool)
        wg_ref_take(&pool->refs);
    return pool;
}

void wg_pool_release(wg_pool *pool) {
    if (!pool || pool == &process_pool || !wg_ref_drop(&pool->refs))
        return;
    wg_mutex_lock(&pools_lock);
    wg_pool **link = &process_pool.next;
    while (*link != pool)
        link = &(*link)->next;
    *link = pool->next;
    wg_mutex_unlock(&pools_lock);
    wg_not_starved(pool);
    wg_queue_end(&pool->loose);
    free(pool);
}

/* Sets all aside that is queued, under the lock, and drops it without. */
void wg_pool_stop(wg_pool *pool) {
    if (!pool)
        return;
    wg_mutex_lock(&pool->lock);
    pool->stopped = true;
    wg_take_offer(pool, WG_NOBODY_LOOKS);
    wg_not_starved(pool);
    wg_update_needs_worker(pool);
    struct wg_work *dropped = NULL, **end = &dropped;
    while (pool->ring.next) {
        *end = wg_take(pool, pool->ring.next);
        end = &(*end)->next;
        *end = NULL;
    }
    while (pool->idle)
        wg_unpark_one(wg_wake_idle(pool, false).word);
    if (pool->monitoring)
        wg_unpark_one(wg_wake(pool->monitoring).word);
    wg_mutex_unlock(&pool->lock);
    wg_works_drop(dropped);
}

unsigned wg_pool_workers(wg_pool *pool) {
    pool = wg_pool_or_default(pool);
    wg_mutex_lock(&pool->lock);
    unsigned n = wg_workers_of(pool);
    wg_mutex_unlock(&pool->lock);
    return n;
}

unsigned wg_pool_queued(wg_pool *pool) {
    pool = wg_pool_or_default(pool);
    wg_mutex_lock(&pool->lock);
    unsigned long n = wg_ring_count(&pool->ring);
    wg_mutex_unlock(&pool->lock);
    return (unsigned)n;
}

struct wg_queue *wg_pool_loose(wg_pool *pool) {
    return &pool->loose;
}

/* All pools. */

wg_pool *wg_pool_after(wg_pool *pool) {
    wg_mutex_lock(&pools_lock);
    wg_pool *next = pool->next;
    while (next && !wg_ref_try_take(&next->refs))
        next = next->next; /* its last reference has just gone */
    wg_mutex_unlock(&pools_lock);
    wg_pool_release(pool);
    return next;
}

void wg_pools_look(void (*look)(void *arg, const struct wg_pool_load *load), void *arg) {
    for (wg_pool *pool = &process_pool; pool; pool = wg_pool_after(pool)) {
        struct wg_pool_load load = {.queued = 0};
        wg_mutex_lock(&pool->lock);
        memcpy(load.name, pool->name, sizeof load.name);
        load.workers = pool->present;
        load.computing = pool->computing;
        load.queued = wg_ring_count(&pool->ring);
        load.starved = pool->starved;
        wg_mutex_unlock(&pool->lock);
        look(arg, &load);
    }
}

void wg_pools_lock(void) {
    wg_mutex_lock(&pools_lock);
    for (wg_pool *pool = &process_pool; pool; pool = pool->next)
        wg_mutex_lock(&pool->lock);
}

void wg_pools_unlock(void) {
    for (wg_pool *pool = &process_pool; pool; pool = pool->next)
        wg_mutex_unlock(&pool->lock);
    wg_mutex_unlock(&pools_lock);
}
