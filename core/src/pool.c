/* pool.c - the pool: one lock, a ring of lanes, idle workers on a stack, and the art of not waking anybody.
 *
 * Waking a thread costs microseconds, this lock nanoseconds. So at most one worker at a time is *looking* for work: it
 * was woken, or is being started, or it spins a little before it sleeps, or it watches (see below). Whoever queues work
 * wakes somebody only if nobody is looking. Whoever takes work as the looking one, and leaves work behind, appoints the
 * next: the wakes make a chain, one per thread needed and not one per task. A worker that has ended a task takes the
 * next itself, looking or not.
 *
 * The invariant that keeps tasks from being stranded: whenever the lock is free and a lane is in the ring, somebody is
 * looking, or starting a thread for it has failed; then the pool is *starved*, and every submit and wait tries again;
 * those that sleep already are stirred. A submit is accepted only if a worker is there or on its way for certain, or the
 * thread it started itself is. Every place that puts a lane into the ring or ends a looking upholds it by appoint().
 * Work that comes into a lane that is listed already needs no more than the lane's lock.
 *
 * While as many workers compute as there are cores, a looking worker does not take work but *watches*: it sleeps in
 * ticks and compares the CPU time that the workers have used with what the cores could have given. If they used less
 * with work queued, tasks are blocked, and it adds workers, in bursts that double. If tasks are not blocked, but other
 * threads have the cores, more workers get a larger share, and it soon stops. A worker that sleeps in a wait of
 * this library says so (wg_pool_block) and is not counted as computing, which needs no tick.
 *
 * Fields of a pool are guarded by its lock but for `lanes` and `short_handed`, which are also read without, and `host`,
 * which is constant. A lane's lock may be taken while holding the pool's: the one pair of locks in the core. */
#include "pool.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "fork.h"
#include "lock.h"
#include "os.h"
#include "stripe.h"

#define IDLE_TIME (5 * WG_SECOND)
#define SHORTEST_TICK (WG_MILLISECOND / 2)
#define LONGEST_TICK (8 * WG_MILLISECOND)
#define LARGEST_BURST 64
/* What a tick is longer by for each worker whose clock has to be read. */
#define CLOCK_COST (WG_MILLISECOND / 500)
/* Ticks without any task taken, cores busy, after which one worker is added all the same: progress for everybody. */
#define STALE_TICKS 20
/* How often a worker out of work looks at the queue before it sleeps. */
#define SPINS 400
/* How deep tasks may run inside waits on one stack. */
#define DEEPEST_HELP 64

/* A thread in wg_pool_work; lives on its stack. Guarded by the pool's lock but for `wake`. */
struct wg_worker {
    wg_pool *pool;
    struct wg_worker *next_idle;
    wg_a32 wake;  /* its park word: set under the lock by who appoints it, slept on without */
    bool looking; /* it is the one whom pool->looking means */
    bool urged;   /* it has seen that tasks are blocked, and takes work whatever the number of cores */
    bool asleep;  /* the host's before_sleep has been called, after_sleep not yet; only by the worker itself */
    enum { COMES, WORKS, GONE } stage; /* only by the worker itself, as is the next */
    unsigned blocked; /* how deep in waits of ours, which may call observers that wait; only by the worker itself */
    bool computing;   /* counted in pool->computing: in a task, and not in a wait of ours */
    int32_t clock;    /* see wg_cpu_time */
    int64_t cpu;      /* its CPU time at the last tick */
    struct wg_worker *next, **link; /* among all workers of the pool */
};

struct wg_pool {
    wg_lock lock;
    wg_a32 refs;
    wg_a32 lanes;              /* in the ring */
    unsigned long queued;      /* works in them, not counting what has come in and was not moved yet */
    struct wg_lane *ring;      /* the lane to serve next */
    struct wg_worker *idle;    /* the one that slept last comes first: its caches are warm */
    struct wg_worker *watcher; /* the looking worker while it sleeps through a tick */
    struct wg_worker *all;     /* threads in wg_pool_work */
    unsigned present;          /* the same, by number */
    unsigned expected;         /* threads that were started, or are being started, and have not come yet */
    unsigned starting;         /* calls that start a thread and have not returned: it may fail */
    unsigned computing;        /* of those present, those in a task and not in a wait of ours */
    bool looking;
    bool hiring;  /* the looking one is a thread being started */
    bool starved; /* the last attempt to start a thread failed */
    bool stopped;
    /* Of the watch: */
    int64_t tick, seen_time, seen_cpu;
    unsigned burst, stale;
    uint64_t taken, seen_taken;
    /* What every submit reads, apart from what every worker writes. */
    char apart[64];
    wg_a32 short_handed; /* starved, or without a worker that is certain: a submit has to see to it */
    wg_pool_host host;
    char name[16];        /* of its threads */
    wg_pool *next;        /* among all pools */
    struct wg_lane loose; /* work of no group */
};

/* What has to be done after the lock is let go. */
struct order {
    enum { NOTHING, WAKE, HIRE } what;
    const wg_a32 *word; /* of the worker to wake; the worker may be gone by then */
    uint32_t epoch;     /* the process in which it was given: in a child of that there is nothing to do any more */
};

#define THREAD_NAME "waitgroup"

static wg_pool process_pool = {.refs = 1, .short_handed = 1, .host = {.callers_help = true}, .name = THREAD_NAME};

static wg_lock pools_lock;
static wg_pool *pools;       /* all but the process's */
static wg_a32 starved_pools; /* how many there are */

static unsigned cores_of(const wg_pool *pool) {
    static wg_a32 known;
    if (pool->host.cores)
        return pool->host.cores;
    uint32_t cores = wg_load_relaxed32(&known);
    if (!cores) {
        cores = wg_cores();
        wg_store_relaxed32(&known, cores);
    }
    return cores;
}

bool wg_worth_spinning(const wg_pool *pool) { return cores_of(pool ? pool : &process_pool) > 1; }

static unsigned workers_of(const wg_pool *pool) { return pool->present + pool->expected; }

static bool work_waits(const wg_pool *pool) { return wg_load_relaxed32(&pool->lanes) > 0; }

/* Lanes. */

static void ring_insert(wg_pool *pool, struct wg_lane *lane) {
    if (!pool->ring)
        pool->ring = lane->next = lane->prev = lane;
    lane->next = pool->ring; /* behind all others */
    lane->prev = pool->ring->prev;
    lane->prev->next = lane->next->prev = lane;
    wg_store_relaxed32(&pool->lanes, wg_load_relaxed32(&pool->lanes) + 1);
}

static void ring_remove(wg_pool *pool, struct wg_lane *lane) {
    lane->prev->next = lane->next;
    lane->next->prev = lane->prev;
    if (pool->ring == lane)
        pool->ring = lane->next == lane ? NULL : lane->next;
    lane->next = lane->prev = NULL;
    wg_store_relaxed32(&pool->lanes, wg_load_relaxed32(&pool->lanes) - 1);
}

static struct wg_work *make(struct wg_slabs *memory, size_t size) {
    uint16_t place;
    struct wg_work *work = wg_slabs_take(memory, size, &place);
    if (work)
        work->place = place;
    return work;
}

struct wg_work *wg_work_new(size_t size) {
    struct wg_slabs memory = {.slab = NULL}; /* whose first slab is for one thing */
    return make(&memory, size);
}

void wg_work_free(struct wg_work *work) { wg_slab_give(work, work->place); }

void wg_lane_end(struct wg_lane *lane) { wg_slabs_end(&lane->memory); }

/* What came of letting work in. The work itself may be gone by then, and other work have come to live at its address:
 * `ticket` tells them apart. */
struct entry {
    struct wg_work *work; /* NULL: there was no memory */
    uint64_t ticket;
    bool must_list; /* the caller must list the lane */
};

/* Let a copy of work in. */
static struct entry let_in(struct wg_lane *lane, const struct wg_work *original, size_t size) {
    struct entry entry = {.work = NULL};
    wg_lock_take(&lane->lock);
    struct wg_work *work = make(&lane->memory, size);
    if (work) {
        uint16_t place = work->place;
        memcpy(work, original, size);
        work->next = NULL;
        work->place = place;
        work->ticket = ++lane->tickets & WG_TICKETS;
        entry = (struct entry){work, work->ticket, !lane->listed};
        if (lane->first_in)
            lane->last_in->next = work;
        else
            lane->first_in = work;
        lane->last_in = work;
        lane->in++;
        lane->listed = true;
    }
    wg_lock_give(&lane->lock);
    return entry;
}

/* Move what has come in to the end, now empty, from which work is taken; if there is nothing, unlist the lane. */
static bool move_in(wg_pool *pool, struct wg_lane *lane) {
    wg_lock_take(&lane->lock);
    lane->first = lane->first_in;
    lane->first_in = NULL;
    pool->queued += lane->in;
    lane->in = 0;
    lane->listed = lane->first != NULL;
    wg_lock_give(&lane->lock);
    return lane->first != NULL;
}

/* The first work of a lane in the ring. Afterwards, if none is left, the lane is not touched again: its group may go. */
static struct wg_work *pop(wg_pool *pool, struct wg_lane *lane) {
    struct wg_work *work = lane->first;
    lane->first = work->next;
    pool->queued--;
    pool->taken++;
    if (!lane->first && !move_in(pool, lane))
        ring_remove(pool, lane);
    else if (pool->ring == lane)
        pool->ring = lane->next;
    return work;
}

/* Take the work with `ticket` out of a list; *before: what was before it. */
static bool cut(struct wg_work **list, uint64_t ticket, struct wg_work **before) {
    *before = NULL;
    for (struct wg_work **link = list; *link; *before = *link, link = &(*link)->next) {
        if ((*link)->ticket == ticket) {
            *link = (*link)->next;
            return true;
        }
    }
    return false;
}

/* Take the work with `ticket` out of its lane, if it is still there. */
static bool withdraw(wg_pool *pool, struct wg_lane *lane, uint64_t ticket) {
    struct wg_work *before;
    if (cut(&lane->first, ticket, &before)) {
        pool->queued--;
        if (!lane->first && !move_in(pool, lane))
            ring_remove(pool, lane);
        return true;
    }
    wg_lock_take(&lane->lock);
    bool last = lane->first_in && lane->last_in->ticket == ticket;
    bool there = cut(&lane->first_in, ticket, &before);
    if (there)
        lane->in--;
    if (last)
        lane->last_in = before;
    wg_lock_give(&lane->lock);
    return there;
}

/* Who looks. */

static struct order wake(struct wg_worker *worker) {
    wg_store_release32(&worker->wake, 1);
    return (struct order){WAKE, &worker->wake, wg_fork_epoch()};
}

static struct order wake_idle(wg_pool *pool, bool looking) {
    struct wg_worker *worker = pool->idle;
    pool->idle = worker->next_idle;
    worker->looking = looking;
    return wake(worker);
}

static struct order new_worker(wg_pool *pool) {
    pool->expected++;
    pool->starting++;
    return (struct order){HIRE, NULL, wg_fork_epoch()};
}

/* With the lock held: one more worker, besides the looking one. */
static struct order one_more(wg_pool *pool) { return pool->idle ? wake_idle(pool, false) : new_worker(pool); }

/* With the lock held: if work is queued, see to it that somebody looks. */
static struct order appoint(wg_pool *pool) {
    if (!pool->ring || pool->stopped)
        return (struct order){.what = NOTHING};
    if (pool->looking) {
        struct wg_worker *watcher = pool->watcher;
        if (!watcher || pool->computing >= cores_of(pool))
            return (struct order){.what = NOTHING};
        pool->watcher = NULL; /* a core is free: no need to watch any longer */
        return wake(watcher);
    }
    pool->looking = true;
    if (pool->idle)
        return wake_idle(pool, true);
    pool->hiring = true;
    return new_worker(pool);
}

static bool certain(const wg_pool *pool) { return pool->all || pool->expected > pool->starting; }

/* With the lock held, after any change of what it depends on. */
static void note_hands(wg_pool *pool) { wg_store_relaxed32(&pool->short_handed, pool->starved || !certain(pool)); }

static void work_natively(void *pool) { wg_pool_work(pool); }

static void set_starved(wg_pool *pool, bool starved) {
    if (pool->starved != starved)
        wg_add_relaxed32(&starved_pools, starved ? 1 : UINT32_MAX);
    pool->starved = starved;
}

/* A thread that was to be started, and is expected unless that was before a fork, will not come. True if that makes the pool starved: then
 * the caller has those stirred who sleep already, when the lock is let go. */
static bool count_off(wg_pool *pool) {
    bool news = !pool->starved && pool->ring && !pool->stopped;
    if (pool->expected > 0)
        pool->expected--;
    if (news)
        set_starved(pool, true);
    if (pool->hiring)
        pool->hiring = pool->looking = false;
    note_hands(pool);
    return news;
}

/* If `start` forks, the child expects nobody: the thread may have been started before or after, and if it comes it is
 * counted then. */
static bool hire(wg_pool *pool) {
    uint32_t epoch = wg_fork_epoch();
    bool news = false;
    wg_keep_self_loaded();
    wg_pool_retain(pool); /* for the new thread */
    wg_pool_retain(pool); /* for what follows: it may have come and gone by then */
    int cancel = wg_cancel_forbid();
    bool hired = pool->host.start ? pool->host.start(pool->host.data, pool)
                                  : wg_start_thread(pool->name, pool->host.stack_size, work_natively, pool);
    wg_cancel_allow(cancel);
    wg_lock_take(&pool->lock);
    if (epoch == wg_fork_epoch()) {
        pool->starting--;
        news = !hired && count_off(pool);
        note_hands(pool);
    }
    wg_lock_give(&pool->lock);
    if (news)
        wg_sleepers_stir();
    if (!hired)
        wg_pool_release(pool);
    wg_pool_release(pool);
    return hired;
}

void wg_pool_work_failed(wg_pool *pool) {
    wg_lock_take(&pool->lock);
    bool news = count_off(pool);
    wg_lock_give(&pool->lock);
    if (news)
        wg_sleepers_stir();
    wg_pool_release(pool);
}

/* Without the lock. False if a thread was wanted and there is none to be had. */
static bool carry_out(wg_pool *pool, struct order order) {
    if (order.what == NOTHING || order.epoch != wg_fork_epoch())
        return true;
    if (order.what == HIRE)
        return hire(pool);
    wg_unpark_one(order.word);
    return true;
}

/* See wg_finish. */
static void drop(void *raw) {
    struct wg_work **works = raw;
    while (*works) {
        struct wg_work *work = *works;
        *works = work->next;
        work->run(work, true);
    }
}

/* Run the works of a list without starting them. */
static void drop_all(struct wg_work *works) { wg_finish(drop, &works); }

/* The pool was stopped while `work`, and perhaps more after it, came into an unlisted lane: empty it. `work`, which is
 * the first since the lane was empty, is left to the caller. */
static void refuse(struct wg_lane *lane, struct wg_work *work) {
    wg_lock_take(&lane->lock);
    lane->first_in = NULL;
    lane->in = 0;
    lane->listed = false;
    wg_lock_give(&lane->lock);
    drop_all(work->next);
}

/* A reference, unless the last one has gone already. */
static bool try_retain(wg_pool *pool) {
    uint32_t refs = wg_load_relaxed32(&pool->refs);
    while (refs > 0)
        if (wg_cas_relaxed32(&pool->refs, &refs, refs + 1))
            return true;
    return false;
}

bool wg_pools_starve(void) { return wg_load_relaxed32(&starved_pools) > 0; }

/* The pool that comes after `pool`, with a reference, in exchange for the one to `pool`; NULL at the end. */
static wg_pool *next_pool(wg_pool *pool) {
    wg_lock_take(&pools_lock);
    wg_pool *next = pool == &process_pool ? pools : pool->next;
    while (next && !try_retain(next))
        next = next->next; /* its last reference has just gone */
    wg_lock_give(&pools_lock);
    wg_pool_release(pool);
    return next;
}

void wg_pools_retry(void) {
    for (wg_pool *pool = &process_pool; pool; pool = next_pool(pool)) {
        wg_lock_take(&pool->lock);
        if (!pool->ring)
            set_starved(pool, false); /* what it lacked a thread for is gone */
        note_hands(pool);
        struct order order = pool->starved ? appoint(pool) : (struct order){.what = NOTHING};
        wg_lock_give(&pool->lock);
        carry_out(pool, order);
    }
}

/* Take the work with `ticket` back out of its lane, if no worker is certain to come for it. */
static bool take_back(wg_pool *pool, struct wg_lane *lane, uint64_t ticket) {
    wg_lock_take(&pool->lock);
    bool taken_back = !certain(pool) && withdraw(pool, lane, ticket);
    wg_lock_give(&pool->lock);
    return taken_back;
}

/* With the lock held: has another thread found the lane unlisted, and is it about to list it? */
static bool being_listed(struct wg_lane *lane) {
    wg_lock_take(&lane->lock);
    bool listed = lane->listed;
    wg_lock_give(&lane->lock);
    return listed && !lane->next;
}

/* With the lock held; it is let go meanwhile. */
static void wait_a_little(wg_pool *pool) {
    wg_a32 word = 0;
    wg_lock_give(&pool->lock);
    wg_park(&word, 0, wg_after(SHORTEST_TICK), false);
    wg_lock_take(&pool->lock);
}

wg_status wg_pool_submit(wg_pool *pool, struct wg_lane *lane, const struct wg_work *original, size_t size) {
    struct entry entry = let_in(lane, original, size);
    if (!entry.work)
        return WG_NO_MEMORY;
    if (!entry.must_list && !wg_load_relaxed32(&pool->short_handed))
        return WG_OK;
    wg_lock_take(&pool->lock);
    if (entry.must_list && pool->stopped) {
        wg_lock_give(&pool->lock);
        refuse(lane, entry.work);
        wg_work_free(entry.work);
        return WG_STOPPED;
    }
    if (entry.must_list) {
        move_in(pool, lane);
        ring_insert(pool, lane);
    }
    /* Before the lane is in the ring nobody starts a thread for it, so none could be certain. */
    while (!entry.must_list && !certain(pool) && being_listed(lane))
        wait_a_little(pool);
    struct order order = appoint(pool);
    if (order.what == NOTHING && !certain(pool) && pool->ring)
        order = new_worker(pool);
    wg_lock_give(&pool->lock);
    if (carry_out(pool, order) || !take_back(pool, lane, entry.ticket))
        return WG_OK;
    wg_work_free(entry.work);
    return WG_NO_THREADS;
}

/* The worker. */

/* What a worker calls of its host: the thread must not end there. */
static void call_host(const wg_pool *pool, void (*fn)(void *data)) {
    if (!fn)
        return;
    int cancel = wg_cancel_forbid();
    fn(pool->host.data);
    wg_cancel_allow(cancel);
}

static void host_sleeps(const wg_pool *pool, struct wg_worker *me) {
    if (!me->asleep)
        call_host(pool, pool->host.before_sleep);
    me->asleep = true;
}

static void host_wakes(const wg_pool *pool, struct wg_worker *me) {
    if (me->asleep)
        call_host(pool, pool->host.after_sleep);
    me->asleep = false;
}

/* Sleep on its word; the lock is let go meanwhile. */
static wg_parked sleep_until(wg_pool *pool, struct wg_worker *me, int64_t deadline) {
    wg_lock_give(&pool->lock);
    host_sleeps(pool, me);
    wg_parked parked = wg_park(&me->wake, 0, deadline, false);
    wg_lock_take(&pool->lock);
    return parked;
}

static void add_workers(wg_pool *pool, unsigned n) {
    for (bool hired = true; n > 0 && hired && pool->ring && !pool->stopped; n--) {
        struct order order = one_more(pool);
        wg_lock_give(&pool->lock);
        hired = carry_out(pool, order);
        wg_lock_take(&pool->lock);
    }
}

/* The CPU time that the workers have used since the last call. One that has left meanwhile is not counted. */
static int64_t cpu_used(wg_pool *pool) {
    int64_t used = 0;
    for (struct wg_worker *worker = pool->all; worker; worker = worker->next) {
        int64_t cpu = wg_cpu_time(worker->clock);
        used += cpu - worker->cpu;
        worker->cpu = cpu;
    }
    return used;
}

/* What happened since the last measure. CPU times are of the workers and of the whole process. */
struct measure {
    int64_t elapsed, by_workers, by_process;
    uint64_t taken;
};

static struct measure measure(wg_pool *pool) {
    int64_t now = wg_now(), cpu = wg_cpu_time(WG_PROCESS_CLOCK);
    struct measure m = {now - pool->seen_time, cpu_used(pool), cpu - pool->seen_cpu, pool->taken - pool->seen_taken};
    pool->seen_time = now;
    pool->seen_cpu = cpu;
    pool->seen_taken = pool->taken;
    return m;
}

/* How many workers the last tick says are missing. */
static unsigned missing_workers(wg_pool *pool, const struct measure *m) {
    int64_t all_cores = m->elapsed * cores_of(pool) - m->elapsed / 2;
    /* Other threads, such as one that submits, may have the cores: then it is no fault if the queue moves. */
    bool blocked = m->by_workers < all_cores && (m->by_process < all_cores || m->taken <= workers_of(pool));
    bool stale = m->taken == 0 && ++pool->stale >= STALE_TICKS;
    if (m->taken > 0 || stale)
        pool->stale = 0;
    if (!blocked) {
        pool->burst = 1;
        pool->tick = pool->tick * 2 < LONGEST_TICK ? pool->tick * 2 : LONGEST_TICK;
        return stale ? 1 : 0;
    }
    pool->tick = SHORTEST_TICK;
    unsigned n = pool->burst < pool->queued ? pool->burst : (unsigned)pool->queued;
    if (pool->burst < LARGEST_BURST)
        pool->burst *= 2;
    return n;
}

/* Of a pool under an interpreter lock, which counts one core: do its tasks compute without that lock, and leave cores of
 * the machine idle? Then `me`, that slept without it, gets it at once. The pool's lock is let go meanwhile. */
static bool interpreter_is_free(wg_pool *pool, struct wg_worker *me, const struct measure *m) {
    if (!pool->host.after_sleep || m->by_process > m->elapsed * cores_of(&process_pool) - m->elapsed / 2)
        return false;
    wg_lock_give(&pool->lock);
    int64_t before = wg_now();
    host_wakes(pool, me);
    bool at_once = wg_now() - before < SHORTEST_TICK / 2;
    wg_lock_take(&pool->lock);
    return at_once;
}

/* One tick of the looking worker `me` while all cores are taken. */
static void watch(wg_pool *pool, struct wg_worker *me) {
    int64_t now = wg_now();
    if (now - pool->seen_time > 2 * LONGEST_TICK) { /* nobody watched lately: begin afresh */
        measure(pool);
        pool->tick = SHORTEST_TICK;
        pool->burst = 1;
        pool->stale = 0;
    }
    pool->watcher = me;
    wg_store_relaxed32(&me->wake, 0);
    sleep_until(pool, me, now + pool->tick + pool->present * CLOCK_COST);
    if (pool->watcher == me)
        pool->watcher = NULL;
    if (wg_load_relaxed32(&me->wake) || !pool->ring || pool->stopped)
        return;
    struct measure m = measure(pool);
    unsigned n = missing_workers(pool, &m);
    if (n == 0 && interpreter_is_free(pool, me, &m))
        n = 1;
    if (n > 0) {
        me->urged = true;
        add_workers(pool, n - 1);
    }
}

/* Look at the queue for a little while; the lock is let go meanwhile. */
static void spin(wg_pool *pool, struct wg_worker *me) {
    pool->looking = me->looking = true;
    wg_lock_give(&pool->lock);
    for (int i = 0; i < SPINS && !work_waits(pool); i++)
        wg_pause();
    wg_lock_take(&pool->lock);
}

/* Sleep until appointed. False: it has been idle for so long that it should leave. */
static bool idle(wg_pool *pool, struct wg_worker *me) {
    if (me->looking)
        pool->looking = me->looking = false;
    me->urged = false;
    wg_store_relaxed32(&me->wake, 0);
    me->next_idle = pool->idle;
    pool->idle = me;
    int64_t leave = wg_after(pool->host.idle_time ? pool->host.idle_time : IDLE_TIME);
    while (!wg_load_acquire32(&me->wake)) {
        if (sleep_until(pool, me, leave) != WG_PARK_TIMEOUT || wg_load_acquire32(&me->wake))
            continue;
        struct wg_worker **link = &pool->idle;
        while (*link != me)
            link = &(*link)->next_idle;
        *link = me->next_idle;
        return false;
    }
    return true;
}

/* The next work for `me`, or NULL when it should leave. Called and returns with the lock held. */
static struct wg_work *next_work(wg_pool *pool, struct wg_worker *me) {
    bool spun = cores_of(pool) == 1; /* then there is nothing to see while spinning */
    while (!pool->stopped) {
        if (pool->ring) {
            if (!me->looking || me->urged || pool->computing < cores_of(pool))
                return pop(pool, pool->ring);
            watch(pool, me);
        } else if (!spun && (me->looking || !pool->looking)) {
            spin(pool, me);
            spun = true;
        } else {
            if (!idle(pool, me) && !pool->ring)
                return NULL;
            spun = cores_of(pool) == 1;
        }
    }
    return NULL;
}

/* Count a worker among those present, and its CPU time from now on. */
static void enrol(wg_pool *pool, struct wg_worker *me) {
    me->clock = wg_thread_clock();
    me->cpu = wg_cpu_time(me->clock);
    me->next = pool->all;
    me->link = &pool->all;
    if (me->next)
        me->next->link = &me->next;
    pool->all = me;
    pool->present++;
}

static void leave(wg_pool *pool, struct wg_worker *me) {
    *me->link = me->next;
    if (me->next)
        me->next->link = me->link;
    pool->present--;
    note_hands(pool);
}

/* A thread has come to work. One that nobody expects was started by a `start` that forked. */
static void arrive(wg_pool *pool, struct wg_worker *me) {
    if (pool->expected > 0)
        pool->expected--;
    enrol(pool, me);
    me->looking = pool->hiring;
    pool->hiring = false;
    set_starved(pool, false);
    note_hands(pool);
}

static void set_computing(struct wg_worker *me, bool computing) {
    me->computing = computing;
    me->pool->computing += computing ? 1u : UINT32_MAX;
}

/* Run what `me` has just taken from the queue. Called and returns with the lock held, let go meanwhile. */
static void run_taken(wg_pool *pool, struct wg_worker *me, struct wg_work *work) {
    uint32_t epoch = wg_fork_epoch();
    me->urged = false;
    set_computing(me, true);
    if (me->looking)
        pool->looking = me->looking = false;
    struct order order = appoint(pool);
    wg_lock_give(&pool->lock);
    host_wakes(pool, me);
    carry_out(pool, order);
    if (epoch == wg_fork_epoch()) /* else the host has forked: like all that was queued it stays in the parent */
        work->run(work, false);
    wg_cancel_point(); /* whoever was cancelled in a task that did not hear of it must not end in the next */
    wg_lock_take(&pool->lock);
    set_computing(me, false);
}

/* With the lock held, as that of next_work and run_taken: until it is idle for too long, or the pool stops. */
static void take_tasks(wg_pool *pool, struct wg_worker *me) {
    struct wg_work *work;
    arrive(pool, me);
    while ((work = next_work(pool, me)))
        run_taken(pool, me, work);
}

/* The thread ends inside a task, or inside what a task waits in: take the lock, and set right what the worker will not. */
static void break_off(wg_pool *pool, struct wg_worker *me) {
    wg_lock_take(&pool->lock);
    if (me->computing)
        set_computing(me, false);
}

/* With the lock held, which it lets go. */
static void go_home(wg_pool *pool, struct wg_worker *me) {
    if (me->looking)
        pool->looking = false;
    leave(pool, me);
    struct order order = appoint(pool);
    wg_self()->worker = NULL;
    wg_lock_give(&pool->lock);
    host_wakes(pool, me);
    carry_out(pool, order);
    call_host(pool, pool->host.leave);
    wg_pool_release(pool);
}

/* See wg_finish. */
static void work(void *raw) {
    struct wg_worker *me = raw;
    if (me->stage == COMES) {
        me->stage = WORKS;
        wg_lock_take(&me->pool->lock);
        take_tasks(me->pool, me);
    } else if (me->stage == WORKS)
        break_off(me->pool, me);
    if (me->stage++ == WORKS)
        go_home(me->pool, me);
}

void wg_pool_work(wg_pool *pool) {
    struct wg_worker me = {.pool = pool};
    wg_self()->worker = &me;
    wg_finish(work, &me);
}

void wg_pool_block(void) {
    struct wg_worker *me = wg_self()->worker;
    if (!me || me->blocked++ > 0)
        return;
    wg_pool *pool = me->pool;
    wg_lock_take(&pool->lock);
    set_computing(me, false);
    struct order order = appoint(pool);
    /* Somebody looks already. If there is more than he will take, replace this worker too: so that tasks which all wait
     * for each other are started as fast as threads are, not one at a time. */
    if (order.what == NOTHING && pool->queued > 1 && pool->computing < cores_of(pool) && !pool->stopped)
        order = one_more(pool);
    wg_lock_give(&pool->lock);
    carry_out(pool, order);
}

void wg_pool_unblock(void) {
    struct wg_worker *me = wg_self()->worker;
    if (!me || --me->blocked > 0)
        return;
    wg_lock_take(&me->pool->lock);
    set_computing(me, true);
    wg_lock_give(&me->pool->lock);
}

/* See wg_finish. */
static void help(void *raw) {
    struct wg_work **work = raw, *begun = *work;
    *work = NULL;
    if (begun) {
        wg_self()->helping++;
        begun->run(begun, false);
    }
    wg_self()->helping--;
}

/* The wait that helps is no point of cancellation, so the task is none either. */
bool wg_pool_help(wg_pool *pool, struct wg_lane *lane) {
    if (!pool->host.callers_help || wg_self()->helping >= DEEPEST_HELP)
        return false;
    wg_lock_take(&pool->lock);
    struct wg_work *work = lane->first ? pop(pool, lane) : NULL; /* that is, if it is in the ring */
    wg_lock_give(&pool->lock);
    if (!work)
        return false;
    int cancel = wg_cancel_forbid();
    wg_finish(help, &work);
    wg_cancel_allow(cancel);
    return true;
}

/* Pools. */

wg_pool *wg_pool_or_default(wg_pool *pool) { return pool ? pool : &process_pool; }

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
    *pool = (wg_pool){.refs = 1, .short_handed = 1, .host = *host};
    strncpy(pool->name, host->name ? host->name : THREAD_NAME, sizeof pool->name - 1);
    pool->host.name = pool->name;
    keep_host_loaded(host);
    wg_lock_take(&pools_lock);
    pool->next = pools;
    pools = pool;
    wg_lock_give(&pools_lock);
    *out = pool;
    return WG_OK;
}

wg_pool *wg_pool_retain(wg_pool *pool) {
    if (pool && pool != &process_pool)
        wg_add_relaxed32(&pool->refs, 1);
    return pool;
}

void wg_pool_release(wg_pool *pool) {
    if (!pool || pool == &process_pool || wg_sub_acq_rel32(&pool->refs, 1) != 1)
        return;
    wg_lock_take(&pools_lock);
    wg_pool **link = &pools;
    while (*link != pool)
        link = &(*link)->next;
    *link = pool->next;
    wg_lock_give(&pools_lock);
    set_starved(pool, false);
    wg_lane_end(&pool->loose);
    free(pool);
}

void wg_pool_stop(wg_pool *pool) {
    if (!pool)
        return;
    wg_lock_take(&pool->lock);
    pool->stopped = true;
    set_starved(pool, false);
    note_hands(pool);
    struct wg_work *dropped = NULL, **end = &dropped;
    while (pool->ring) {
        *end = pop(pool, pool->ring);
        end = &(*end)->next;
        *end = NULL;
    }
    while (pool->idle)
        wg_unpark_one(wake_idle(pool, false).word);
    if (pool->watcher)
        wg_unpark_one(wake(pool->watcher).word);
    wg_lock_give(&pool->lock);
    drop_all(dropped);
}

unsigned wg_pool_workers(wg_pool *pool) {
    pool = wg_pool_or_default(pool);
    wg_lock_take(&pool->lock);
    unsigned n = workers_of(pool);
    wg_lock_give(&pool->lock);
    return n;
}

unsigned wg_pool_queued(wg_pool *pool) {
    pool = wg_pool_or_default(pool);
    wg_lock_take(&pool->lock);
    unsigned long n = pool->queued;
    struct wg_lane *lane = pool->ring;
    if (lane)
        do {
            wg_lock_take(&lane->lock);
            n += lane->in;
            wg_lock_give(&lane->lock);
            lane = lane->next;
        } while (lane != pool->ring);
    wg_lock_give(&pool->lock);
    return (unsigned)n;
}

struct wg_lane *wg_pool_loose(wg_pool *pool) {
    return &pool->loose;
}

/* Fork. */

/* The worker that forked, wherever it did: in a task, in a wait inside of one, or in the host. It is woken for no
 * reason, in case it was about to sleep, and finds its way from there. */
static void keep(wg_pool *pool, struct wg_worker *me) {
    me->looking = me->urged = false;
    wg_store_relaxed32(&me->wake, 1);
    enrol(pool, me);
    pool->computing = me->computing;
}

/* No lane of a group can be left with its lock held, unless nobody will want it: outside of the pool's lock, which fork.c
 * holds, only a thread that has a slot of the group takes it; so in the child the group is of the parent for good. */
static void reset(wg_pool *pool) {
    while (pool->ring) {
        struct wg_lane *lane = pool->ring;
        ring_remove(pool, lane);
        *lane = (struct wg_lane){.first = NULL}; /* the tasks stay behind in the parent, and their memory */
    }
    pool->loose = (struct wg_lane){.first = NULL}; /* another thread may have held its lock */
    pool->queued = 0;
    pool->idle = pool->watcher = pool->all = NULL;
    pool->present = pool->expected = pool->starting = pool->computing = 0;
    pool->looking = pool->hiring = false;
    pool->starved = false;
    pool->seen_time = 0;
    struct wg_worker *me = wg_self()->worker;
    if (me && me->pool == pool)
        keep(pool, me);
    note_hands(pool);
}

void wg_pools_take(void) {
    wg_lock_take(&pools_lock);
    wg_lock_take(&process_pool.lock);
    for (wg_pool *pool = pools; pool; pool = pool->next)
        wg_lock_take(&pool->lock);
}

void wg_pools_give(void) {
    for (wg_pool *pool = pools; pool; pool = pool->next)
        wg_lock_give(&pool->lock);
    wg_lock_give(&process_pool.lock);
    wg_lock_give(&pools_lock);
}

void wg_pools_reset(void) {
    wg_store_relaxed32(&starved_pools, 0);
    reset(&process_pool);
    for (wg_pool *pool = pools; pool; pool = pool->next)
        reset(pool);
}
