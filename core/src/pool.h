/* pool.h - what the other files may do with a pool. */
#ifndef WG_POOL_H
#define WG_POOL_H

#include "waitgroup/pool.h"

#include "lock.h"
#include "slab.h"

#define WG_TICKETS ((UINT64_C(1) << 48) - 1) /* so many numbers there are */

/* Something to run once. `skip`: do not start it, only end it. `run` frees it, by wg_work_free. */
struct wg_work {
    struct wg_work *next;
    uint64_t ticket : 48; /* its number in its lane, the low bits of it */
    uint64_t place : 16;  /* in its slab */
    void (*run)(struct wg_work *work, bool skip);
};

/* The queued work of one group, first come first run. The pool serves lanes in turn, so that a group with a million
 * tasks does not hold up one with two.
 *
 * A lane has two ends, apart in memory, so that who submits and who works do not pull one cache line back and forth:
 * work comes in at one, and is moved to the other, all at once, whenever that has run empty. */
struct wg_lane {
    /* Guarded by the lane's lock. */
    wg_lock lock;
    bool listed; /* in the pool's ring, or about to be put there by who has set this: then nobody else has to */
    struct wg_work *first_in, *last_in;
    unsigned long in; /* how many are between them */
    uint64_t tickets; /* how many have ever come in */
    struct wg_slabs memory;
    char apart[64];
    /* Guarded by the pool's lock. */
    struct wg_work *first;       /* not empty while in the ring */
    struct wg_lane *next, *prev; /* in the ring; else NULL */
};

/* NULL is the pool of the process. */
wg_pool *wg_pool_or_default(wg_pool *pool);

/* The lane for work of no group. */
struct wg_lane *wg_pool_loose(wg_pool *pool);

/* Memory for a work of `size` bytes that is of no lane; NULL: there is none. */
struct wg_work *wg_work_new(size_t size);
void wg_work_free(struct wg_work *work);
/* A lane that has come to its end makes no more works; those it made may still be about. */
void wg_lane_end(struct wg_lane *lane);

/* Queue a copy of `work`, of `size` bytes, in `lane`. WG_OK; WG_STOPPED, WG_NO_THREADS, WG_NO_MEMORY: it is not
 * queued. */
wg_status wg_pool_submit(wg_pool *pool, struct wg_lane *lane, const struct wg_work *work, size_t size);

/* Is there a pool that could not start a thread it needs? Whoever waits tries again for it from time to time. */
bool wg_pools_starve(void);
void wg_pools_retry(void);

/* If the pool lets callers help, take the first work of `lane` and run it here. False if there was none. */
bool wg_pool_help(wg_pool *pool, struct wg_lane *lane);

/* This thread is about to sleep in a wait of ours, and has woken: if it is a worker, its core is free meanwhile. */
void wg_pool_block(void);
void wg_pool_unblock(void);

/* Is it any use to look again and again for what another thread does, of this pool if it is not NULL? Not on one core, nor
 * under an interpreter lock. */
bool wg_worth_spinning(const wg_pool *pool);

/* For fork.c. */
void wg_pools_take(void);
void wg_pools_give(void);
/* In the child: every pool is empty and has no threads, except the one that forked if it is a worker. */
void wg_pools_reset(void);

#endif
