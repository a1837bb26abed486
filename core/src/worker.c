/* worker.c - see worker.h. */
#include "worker.h"

#include "fork.h"
#include "os.h"
#include "spawn.h"

#define IDLE_TIME (5 * WG_SECOND)
/* A tick is longer by this for each worker whose clock has to be read. */
#define CLOCK_COST (WG_MILLISECOND / 500)
/* For how many pauses a worker out of work looks before it sleeps. */
#define SPINS 400

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
    wg_mutex_unlock(&pool->lock);
    host_sleeps(pool, me);
    wg_parked parked = wg_park(&me->wake, 0, deadline, false);
    wg_mutex_lock(&pool->lock);
    return parked;
}

/* As the monitor. */

static void add_workers(wg_pool *pool, unsigned n) {
    for (bool spawned = true; n > 0 && spawned && pool->ring.next && !pool->stopped; n--) {
        struct wg_action action = wg_one_more(pool);
        wg_mutex_unlock(&pool->lock);
        spawned = wg_perform(pool, action);
        wg_mutex_lock(&pool->lock);
    }
}

static struct wg_load load_of(wg_pool *pool) {
    return (struct wg_load){.now = wg_now(),
                            .process_cpu = wg_cpu_time(WG_PROCESS_CLOCK),
                            .workers_cpu = wg_clocks_look(&pool->clocks),
                            .taken = pool->taken,
                            .queued = pool->ring.queued,
                            .workers = wg_workers_of(pool),
                            .cores = wg_cores_of(pool)};
}

/* `me`, which has slept without the lock of its interpreter, would it get that at once? The tasks that run compute without
 * that lock then. The pool's lock is let go meanwhile. */
static bool interpreter_is_free(wg_pool *pool, struct wg_worker *me) {
    if (!pool->host.after_sleep)
        return false;
    wg_mutex_unlock(&pool->lock);
    int64_t before = wg_now();
    host_wakes(pool, me);
    bool at_once = wg_now() - before < WG_SHORTEST_TICK / 2;
    wg_mutex_lock(&pool->lock);
    return at_once;
}

/* One tick of the searcher `me` as the monitor, while all cores are taken. */
static void monitor_tick(wg_pool *pool, struct wg_worker *me) {
    struct wg_load load;
    bool spare;
    if (wg_monitor_is_old(&pool->monitor, wg_now())) {
        load = load_of(pool);
        wg_monitor_begin(&pool->monitor, &load);
    }
    pool->monitoring = me;
    wg_store_relaxed32(&me->wake, 0);
    sleep_until(pool, me, wg_now() + pool->monitor.tick + pool->clocks.count * CLOCK_COST);
    if (pool->monitoring == me)
        pool->monitoring = NULL;
    if (wg_load_relaxed32(&me->wake) || !pool->ring.next || pool->stopped)
        return;
    load = load_of(pool);
    unsigned n = wg_monitor_missing(&pool->monitor, &load, wg_cores_of(wg_pool_or_default(NULL)), &spare);
    if (n == 0 && spare && interpreter_is_free(pool, me))
        n = 1;
    if (n > 0) {
        me->overcommit = true;
        add_workers(pool, n - 1);
    }
}

/* Without work. */

static bool nothing_comes(const wg_pool *pool) {
    return wg_load_relaxed64(&pool->offer) == WG_LOOKS && !wg_ring_waits(&pool->ring);
}

/* Look for work for a little while; the lock is let go meanwhile. */
static void spin(wg_pool *pool, struct wg_worker *me) {
    pool->searching = me->searching = true;
    wg_store_relaxed64(&pool->offer, WG_LOOKS);
    unsigned gap = pool->gap;
    wg_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < SPINS && (i % gap != 0 || nothing_comes(pool)); i++)
        wg_pause();
    wg_mutex_lock(&pool->lock);
    wg_take_offer(pool, WG_NOBODY_LOOKS);
    if (pool->ring.next && pool->gap > WG_SMALLEST_GAP)
        pool->gap /= 2;
}

/* `me` has been woken. */
static void learn(wg_pool *pool, const struct wg_worker *me) {
    if (pool->ring.next)
        pool->vain = 0;
    else if (me->by_submit && pool->vain < WG_MOST_VAIN)
        pool->vain++;
}

/* `me` is about to sleep. Does it stand by? */
static bool stand_by(wg_pool *pool, struct wg_worker *me) {
    bool moves = me->seen_taken != pool->taken;
    me->seen_taken = pool->taken;
    if (!pool->standby && moves && pool->vain >= WG_MOST_VAIN)
        pool->standby = me;
    return pool->standby == me;
}

/* The standby has found work. */
static void search_after_standby(wg_pool *pool, struct wg_worker *me) {
    pool->searching = me->searching = true;
    pool->vain = 0;
}

static void end_standby(wg_pool *pool, const struct wg_worker *me) {
    if (pool->standby == me)
        pool->standby = NULL;
}

static void enter_idle(wg_pool *pool, struct wg_worker *me) {
    if (me->searching)
        pool->searching = me->searching = false;
    me->overcommit = false;
    wg_store_relaxed32(&me->wake, 0);
    me->next_idle = pool->idle;
    pool->idle = me;
}

static void leave_idle(wg_pool *pool, struct wg_worker *me) {
    struct wg_worker **link = &pool->idle;
    while (*link != me)
        link = &(*link)->next_idle;
    *link = me->next_idle;
}

/* Sleep until woken, or, standing by, until there is work. False: it has been idle for so long that it should leave. */
static bool idle(wg_pool *pool, struct wg_worker *me) {
    enter_idle(pool, me);
    int64_t leave = wg_after(pool->host.idle_time ? pool->host.idle_time : IDLE_TIME);
    while (!wg_load_acquire32(&me->wake)) {
        bool stands_by = stand_by(pool, me);
        wg_parked parked = sleep_until(pool, me, stands_by ? wg_now() + WG_SHORTEST_TICK : leave);
        end_standby(pool, me);
        bool over = stands_by ? pool->ring.next && !pool->searching : parked == WG_PARK_TIMEOUT;
        if (!over || wg_load_acquire32(&me->wake))
            continue;
        leave_idle(pool, me);
        if (stands_by)
            search_after_standby(pool, me);
        return stands_by;
    }
    learn(pool, me);
    return true;
}

/* The next work for `me`, or NULL when it should leave. Called and returns with the lock held. */
static struct wg_work *next_work(wg_pool *pool, struct wg_worker *me) {
    bool spun = wg_cores_of(pool) == 1; /* then there is nothing to see while spinning */
    while (!pool->stopped) {
        if (pool->ring.next) {
            if (!me->searching || me->overcommit || pool->computing < wg_cores_of(pool))
                return wg_take(pool, pool->ring.next);
            monitor_tick(pool, me);
        } else if (!spun && (me->searching || !pool->searching)) {
            spin(pool, me);
            spun = true;
        } else {
            if (!idle(pool, me) && !pool->ring.next)
                return NULL;
            spun = wg_cores_of(pool) == 1;
        }
    }
    return NULL;
}

/* With work. */

static void set_computing(struct wg_worker *me, bool computing) {
    me->pool->computing += computing ? 1u : UINT32_MAX;
    wg_clock_compute(&me->pool->clocks, &me->clock, computing);
}

/* Run what `me` has just taken from the queue. Called and returns with the lock held, let go meanwhile. */
static void run_taken(wg_pool *pool, struct wg_worker *me, struct wg_work *work) {
    uint32_t epoch = wg_fork_epoch();
    me->overcommit = false;
    set_computing(me, true);
    if (me->searching)
        pool->searching = me->searching = false;
    struct wg_action action = wg_ensure_searcher(pool);
    wg_mutex_unlock(&pool->lock);
    host_wakes(pool, me);
    wg_perform(pool, action);
    if (epoch == wg_fork_epoch()) /* else the host has forked: like all that was queued it stays in the parent */
        work->run(work, false);
    wg_cancel_point(); /* a thread that was cancelled during this task must not end in the next one */
    wg_mutex_lock(&pool->lock);
    set_computing(me, false);
}

/* Its life. */

/* Count a worker among those present, and its CPU time from now on. */
static void enrol(wg_pool *pool, struct wg_worker *me) {
    wg_clock_begin(&me->clock);
    pool->present++;
}

/* A thread has come to work. One that nobody expects was started by a `start` that forked. */
static void arrive(wg_pool *pool, struct wg_worker *me) {
    if (pool->expected > 0)
        pool->expected--;
    enrol(pool, me);
    me->searching = pool->spawning;
    pool->spawning = false;
    wg_not_starved(pool);
    wg_update_needs_worker(pool);
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
    wg_mutex_lock(&pool->lock);
    if (me->clock.computing)
        set_computing(me, false);
}

/* With the lock held, which it lets go. */
static void go_home(wg_pool *pool, struct wg_worker *me) {
    if (me->searching)
        pool->searching = false;
    wg_clock_end(&pool->clocks, &me->clock);
    pool->present--;
    wg_update_needs_worker(pool);
    struct wg_action action = wg_ensure_searcher(pool);
    wg_thread()->worker = NULL;
    wg_thread()->blocks = NULL;
    wg_mutex_unlock(&pool->lock);
    host_wakes(pool, me);
    wg_perform(pool, action);
    call_host(pool, pool->host.leave);
    wg_pool_release(pool);
}

/* See wg_finish. */
static void work(void *raw) {
    struct wg_worker *me = raw;
    if (me->stage == WG_COMES) {
        me->stage = WG_WORKS;
        wg_mutex_lock(&me->pool->lock);
        take_tasks(me->pool, me);
    } else if (me->stage == WG_WORKS)
        break_off(me->pool, me);
    if (me->stage++ == WG_WORKS)
        go_home(me->pool, me);
}

/* In a wait of ours: see thread.h. */

static void begin_to_block(struct wg_worker *me) {
    wg_pool *pool = me->pool;
    wg_mutex_lock(&pool->lock);
    set_computing(me, false);
    struct wg_action action = wg_ensure_searcher(pool);
    /* There is a searcher already, and it takes one task. If more are queued, replace this worker as well: so tasks that
     * all wait for each other start as fast as threads do, and not one after the other. */
    if (action.what == WG_NOTHING && pool->ring.queued > 1 && pool->computing < wg_cores_of(pool) && !pool->stopped)
        action = wg_one_more(pool);
    wg_mutex_unlock(&pool->lock);
    wg_perform(pool, action);
}

static void end_to_block(struct wg_worker *me) {
    wg_mutex_lock(&me->pool->lock);
    set_computing(me, true);
    wg_mutex_unlock(&me->pool->lock);
}

/* A worker may block while it blocks: in what a wait calls. */
static void block(bool begins) {
    struct wg_worker *me = wg_thread()->worker;
    if (begins && me->blocked++ == 0)
        begin_to_block(me);
    else if (!begins && --me->blocked == 0)
        end_to_block(me);
}

void wg_pool_work(wg_pool *pool) {
    struct wg_worker me = {.pool = pool};
    if (!pool)
        return;
    wg_thread()->worker = &me;
    wg_thread()->blocks = block;
    wg_finish(work, &me);
}

/* It is woken for no reason, in case it was about to sleep, and finds its way from there. */
void wg_worker_forked(wg_pool *pool, struct wg_worker *me) {
    bool computing = me->clock.computing;
    me->searching = me->overcommit = false;
    wg_store_relaxed32(&me->wake, 1);
    enrol(pool, me);
    if (computing)
        set_computing(me, true);
}
