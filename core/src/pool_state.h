/* pool_state.h - what a pool and its workers consist of, for the files that make them up. Each stands on those above it:
 *
 *   queue.c       queued work
 *   clocks.c      the CPU time of the workers
 *   monitor.c     how many workers are missing, though as many compute as there are cores
 *   searcher.c    which worker is woken for queued work, or that one is to be started
 *   pool.c        the object: making it, stopping it, its references, the list of all pools
 *   spawn.c       to start a thread, and what happens when none can be started
 *   worker.c      what a thread of a pool does
 *   submit.c      work comes in
 *   pool_fork.c   a fork
 *
 * Fields of a pool are guarded by its lock, except `ring.queues` and `needs_worker`, which are also read without; `offer`, see
 * searcher.h; and `host` and `name`, which are constant. `next` is guarded by the lock of the list of pools. The lock of a queue
 * may be taken while holding the pool's.
 *
 * In each file, "with the lock held" speaks of the pool's. */
#ifndef WG_POOL_STATE_H
#define WG_POOL_STATE_H

#include "clocks.h"
#include "monitor.h"
#include "mutex.h"
#include "os.h"
#include "pool.h"
#include "queue.h"

/* A thread in wg_pool_work; lives on its stack. Guarded by the pool's lock, except as said. */
struct wg_worker {
    wg_pool *pool;
    struct wg_worker *next_idle;
    wg_a32 wake;     /* its park word: set under the lock by whoever wakes the worker, slept on without */
    bool searching;  /* it is the one that pool->searching speaks of */
    bool overcommit; /* as the monitor it has seen that tasks are blocked: it takes work whatever the number of cores */
    bool by_submit;  /* it was woken by a thread that queued work */
    bool asleep;     /* the host's before_sleep has been called, after_sleep not yet; only by the worker itself */
    enum { WG_COMES, WG_WORKS, WG_GONE } stage; /* only by the worker itself, as is the next */
    unsigned blocked;    /* how deep in waits of ours, which may call observers that wait; only by the worker itself */
    uint64_t seen_taken; /* pool->taken when it last went to sleep */
    struct wg_clock clock; /* if it computes, it is counted in pool->computing */
};

struct wg_pool {
    wg_mutex lock;
    wg_a32 refs;
    struct wg_ring ring;
    struct wg_worker *idle;       /* the one that slept last comes first: its caches are warm */
    struct wg_worker *monitoring; /* the searcher while it sleeps through a tick */
    struct wg_worker *standby;    /* one of the idle, or about to leave them; see searcher.h */
    unsigned vain;                /* how many wakes by threads that queue work, one after the other, were in vain */
    unsigned gap;                 /* how many pauses a worker out of work makes between two looks */
    unsigned present;             /* threads in wg_pool_work */
    unsigned expected;            /* threads that were started, or are being started, and have not come yet */
    unsigned starting;            /* calls that start a thread and have not returned: it may fail */
    unsigned computing;           /* of those present, those in a task and not in a wait of ours */
    bool searching;
    bool spawning; /* the searcher is a thread that is being started */
    bool starved;  /* the last attempt to start a thread failed; see spawn.h */
    bool stopped;
    uint64_t taken; /* works, ever */
    struct wg_clocks clocks;
    struct wg_monitor monitor;
    char apart_from_workers[64];
    wg_a64 offer; /* see searcher.h */
    /* What every submit reads, apart from what every worker writes. */
    char apart[64];
    wg_a32 needs_worker; /* starved, or without any worker: a submit has to see to it */
    wg_pool_host host;
    char name[16];         /* of its threads */
    wg_pool *next;         /* among all pools */
    struct wg_queue loose; /* work of no group */
};

static inline unsigned wg_cores_of(const wg_pool *pool) { return pool->host.cores ? pool->host.cores : wg_cores(); }

/* With the lock held. */
static inline unsigned wg_workers_of(const wg_pool *pool) { return pool->present + pool->expected; }

/* With the lock held: the first work of a queue in the ring. */
static inline struct wg_work *wg_take(wg_pool *pool, struct wg_queue *queue) {
    pool->taken++;
    return wg_ring_pop(&pool->ring, queue);
}

/* Of pool.c: the pool that comes after `pool`, with a reference, in exchange for the one to `pool`; NULL at the end. The first
 * is that of the process. With no lock held. */
wg_pool *wg_pool_after(wg_pool *pool);

#endif
