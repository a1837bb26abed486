/* searcher.h - which worker of a pool is woken for queued work, or that one is to be started.
 *
 * The rule. A lock costs nanoseconds, waking a thread microseconds: the art is in not waking. At most one worker at a time
 * is the *searcher*: it was woken to look for work, or is being started to, or spins a little before it sleeps, or it is
 * the monitor (see below). A thread that queues work wakes a worker only if there is no searcher. The searcher that takes
 * work stops searching, and if work is left behind it makes sure that there is another searcher, before it runs what it
 * took. So the wakes make a chain: one for each thread that is needed, and not one for each task. A worker that has ended a
 * task takes the next one itself, searcher or not.
 *
 * What was rejected, and why:
 *   - To wake a worker for each task. At small tasks nearly all of these wakes are in vain: a worker that runs takes the task
 *     before the one that was woken has come to it, which then sleeps again.
 *   - To let every idle worker search for itself, by spinning. On a machine that others use too, the spinning takes the
 *     cores from the tasks; and under an interpreter lock all of them ask for it at once.
 *   - To wake nobody while any worker runs, since that one will come to the queue. It may block before it does.
 *   - A queue for each worker, and stealing: it pays where tasks start tasks on many cores. Most tasks come from threads that
 *     are no workers here. This was not measured.
 * The rule is that of Go's scheduler ("Worker thread parking/unparking" in runtime/proc.go, where a searcher is called
 * spinning), and of tokio's (idle.rs, num_searching), which allow half of the workers to search.
 *
 * The invariant, that no task is stranded: whenever the lock is free and a queue is in the ring, there is a searcher, or
 * starting a thread for it has failed. In the latter case the pool is *starved*, see spawn.h. Every place that puts a queue
 * into the ring, or stops searching, calls wg_ensure_searcher() to keep this true. Work for a queue that is in the ring already
 * needs no more than the lock of that queue.
 *
 * While as many workers compute as there are cores, the searcher does not take work. It is then the monitor, see monitor.h,
 * and adds workers if tasks are blocked. A worker that sleeps in a wait of this library says so (wg_thread_blocks), and is not
 * counted as computing, which needs no tick.
 *
 * All of this is called with the lock held. */
#ifndef WG_SEARCHER_H
#define WG_SEARCHER_H

#include "fork.h"
#include "pool_state.h"
#include "shortage.h"

/* What has to be done after the lock is let go: wg_perform(), see spawn.h. */
struct wg_action {
    enum { WG_NOTHING, WG_WAKE, WG_SPAWN } what;
    const wg_a32 *word; /* of the worker to wake; the worker may be gone by then */
    uint32_t epoch;     /* the process in which it was given: in a child of that there is nothing to do any more */
};

/* If work is queued, there must be a searcher. */
struct wg_action wg_ensure_searcher(wg_pool *pool);

/* One more worker, besides the searcher: an idle one, or else a new one. */
struct wg_action wg_one_more(wg_pool *pool);

/* A new worker is expected, from now on, whose thread the action starts. */
struct wg_action wg_new_worker(wg_pool *pool);

/* Wake this worker; the first that is idle, as the searcher or not. */
struct wg_action wg_wake(struct wg_worker *worker);
struct wg_action wg_wake_idle(wg_pool *pool, bool searching);

/* Is there a worker for certain, in the pool or started and on its way? */
static inline bool wg_has_worker(const wg_pool *pool) { return pool->present > 0 || pool->expected > pool->starting; }

/* After any change of what it depends on. */
static inline void wg_update_needs_worker(wg_pool *pool) {
    wg_store_relaxed32(&pool->needs_worker, pool->starved || !wg_has_worker(pool));
}

/* The pool lacks no thread any more. */
static inline void wg_not_starved(wg_pool *pool) {
    if (pool->starved)
        wg_shortage_ends();
    pool->starved = false;
}

#endif
