/* submit.c - work comes into a pool: it is queued, and accepted if there is a worker; or it is run by the thread that waits
 * for it. */
#include "os.h"
#include "spawn.h"

/* How deep tasks may run inside waits on one stack. */
#define DEEPEST_HELP 64

/* Take the work with `ticket` back out of its queue, if there is no worker to take it. */
static bool take_back(wg_pool *pool, struct wg_queue *queue, uint64_t ticket) {
    wg_mutex_lock(&pool->lock);
    bool taken_back = !wg_has_worker(pool) && wg_ring_withdraw(&pool->ring, queue, ticket);
    wg_mutex_unlock(&pool->lock);
    return taken_back;
}

/* With the lock held: has another thread found the queue not on the ring, and is it about to insert it? */
static bool being_inserted(struct wg_queue *queue) {
    wg_mutex_lock(&queue->lock);
    bool on_ring = queue->on_ring;
    wg_mutex_unlock(&queue->lock);
    return on_ring && !queue->next;
}

/* With the lock held; it is let go meanwhile. */
static void wait_a_little(wg_pool *pool) {
    wg_a32 word = 0;
    wg_mutex_unlock(&pool->lock);
    wg_park(&word, 0, wg_after(WG_SHORTEST_TICK), false);
    wg_mutex_lock(&pool->lock);
}

wg_status wg_pool_submit(wg_pool *pool, struct wg_queue *queue, const struct wg_work *original, size_t size) {
    struct wg_entry entry = wg_enqueue(queue, original, size);
    if (!entry.work)
        return WG_NO_MEMORY;
    if (!entry.must_insert && !wg_load_relaxed32(&pool->needs_worker))
        return WG_OK;
    if (entry.must_insert && wg_offer(pool, queue))
        return WG_OK;
    wg_mutex_lock(&pool->lock);
    if (entry.must_insert && pool->stopped) {
        wg_mutex_unlock(&pool->lock);
        wg_works_drop(wg_empty_inbox(queue)->next); /* what came in behind; the first is the caller's */
        wg_work_free(entry.work);
        return WG_STOPPED;
    }
    if (entry.must_insert)
        wg_ring_insert(&pool->ring, queue);
    /* Before the queue is in the ring nobody starts a thread for it, so there could be no worker. */
    while (!entry.must_insert && !wg_has_worker(pool) && being_inserted(queue))
        wait_a_little(pool);
    struct wg_action action = wg_searcher_for_submit(pool);
    if (action.what == WG_NOTHING && !wg_has_worker(pool) && pool->ring.next)
        action = wg_new_worker(pool);
    wg_mutex_unlock(&pool->lock);
    if (wg_perform(pool, action) || !take_back(pool, queue, entry.ticket))
        return WG_OK;
    wg_work_free(entry.work);
    return WG_NO_THREADS;
}

/* See wg_finish. */
static void help(void *raw) {
    struct wg_work **work = raw, *begun = *work;
    *work = NULL;
    if (begun) {
        wg_thread()->helping++;
        begun->run(begun, false);
    }
    wg_thread()->helping--;
}

/* The wait that helps is no point of cancellation, so the task is none either. */
bool wg_pool_help(wg_pool *pool, struct wg_queue *queue) {
    if (!pool->host.callers_help || wg_thread()->helping >= DEEPEST_HELP)
        return false;
    wg_mutex_lock(&pool->lock);
    if (wg_load_relaxed64(&pool->offer) == (uintptr_t)queue)
        wg_take_offer(pool, WG_LOOKS);                                 /* before the searcher has come to it */
    struct wg_work *work = queue->first ? wg_take(pool, queue) : NULL; /* that is, if it is in the ring */
    if (!work)
        pool->gap = WG_LARGEST_GAP;
    wg_mutex_unlock(&pool->lock);
    if (!work)
        return false;
    int cancel = wg_cancel_forbid();
    wg_finish(help, &work);
    wg_cancel_allow(cancel);
    return true;
}
