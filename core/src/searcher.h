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
 * The offer. While the searcher spins, a thread that queues work need not take the lock of the pool: it offers the queue
 * to the searcher, in the word `offer`, and the searcher puts the queue into the ring. So the cache lines of the pool
 * stay with the workers. The word is NOBODY_LOOKS; or LOOKS, while a searcher spins; or the address of a queue that holds
 * work and is not in the ring. Without the lock there is one step, from LOOKS to a queue; all others are made with the
 * lock held, and whoever takes a queue out of the word puts it into the ring in the same section. So when the spinning is
 * over, nothing can be offered any more, and what has been offered is in the ring.
 *
 * The standby. Where a thread queues a task and then waits for it, it may run the task itself before the worker has come
 * that it has woken. After MOST_VAIN wakes in vain, one after the other, the next idle worker stands by: it looks at the
 * ring once a tick, and as long as it does, threads that queue work wake nobody. When it finds work, or nothing was taken
 * for a tick, it is over, and wakes are tried again. So it costs work a tick at most, and that as seldom as wakes are in
 * vain. A worker that leaves work behind, or blocks, wakes another as ever.
 *
 * The invariant, that no task is stranded: whenever the lock is free and a queue is in the ring or offered, there is a searcher,
 * or a standby, or starting a thread for it has failed. In the last case the pool is *starved*, see spawn.h. Every place that
 * puts a queue into the ring, or stops searching, calls wg_ensure_searcher() to keep this true. Work for a queue that is in the
 * ring already needs no more than the lock of that queue.
 *
 * While as many workers compute as there are cores, the searcher does not take work. It is then the monitor, see monitor.h,
 * and adds workers if tasks are blocked. A worker that sleeps in a wait of this library says so (wg_thread_blocks), and is not
 * counted as computing, which needs no tick.
 *
 * All of this is called with the lock held, except wg_offer. */
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

#define WG_NOBODY_LOOKS 0
#define WG_LOOKS 1
#define WG_MOST_VAIN 4 /* after so many wakes in vain, one after the other, a worker stands by */

/* How many pauses there are between two looks of a worker out of work, each of which takes a cache line from the thread that
 * queues work. A thread that wanted to help, and came too late, makes the gap large: looks that are few leave its tasks to it. */
#define WG_SMALLEST_GAP 8
#define WG_LARGEST_GAP 64

/* Offer a queue to the searcher that spins. False if there is none. */
bool wg_offer(wg_pool *pool, const struct wg_queue *queue);

/* Put the queue that is offered into the ring, if there is one; `then`: does a searcher look on? */
void wg_take_offer(wg_pool *pool, uint64_t then);

/* If work is queued, there must be a searcher. */
struct wg_action wg_ensure_searcher(wg_pool *pool);

/* The same for a thread that has queued work: it leaves that to the standby, if there is one. */
struct wg_action wg_searcher_for_submit(wg_pool *pool);

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
