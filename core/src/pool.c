/* pool.c - the pool: which thread is woken, or started, for queued work.
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
 * starting a thread for it has failed. In the latter case the pool is *starved*: every submit and every wait tries again,
 * and those that sleep already are woken to do so. A submit is accepted only if the pool has a worker, or a thread for one
 * has been started for certain. Every place that puts a queue into the ring, or stops searching, calls ensure_searcher() to
 * keep this true. Work for a queue that is in the ring already needs no more than the lock of that queue.
 *
 * While as many workers compute as there are cores, the searcher does not take work. It is then the monitor, see monitor.h,
 * and adds workers if tasks are blocked. A worker that sleeps in a wait of this library says so (wg_thread_blocks), and is not
 * counted as computing, which needs no tick.
 *
 * Fields of a pool are guarded by its lock, except `ring.queues` and `needs_worker`, which are also read without, and `host`,
 * which is constant. The lock of a queue may be taken while holding the pool's: the one pair of locks in the core. */
#include "pool.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "fork.h"
#include "mutex.h"
#include "monitor.h"
#include "os.h"
#include "queue.h"
#include "ref.h"
#include "shortage.h"
#include "waitqueue.h"

#define IDLE_TIME (5 * WG_SECOND)
/* A tick is longer by this for each worker, since the clock of each has to be read. */
#define CLOCK_COST (WG_MILLISECOND / 500)
/* How often a worker out of work looks at the queue before it sleeps. */
#define SPINS 400
/* How deep tasks may run inside waits on one stack. */
#define DEEPEST_HELP 64

/* A thread in wg_pool_work; lives on its stack. Guarded by the pool's lock, except `wake`. */
struct wg_worker {
    wg_pool *pool;
    struct wg_worker *next_idle;
    wg_a32 wake;     /* its park word: set under the lock by whoever wakes the worker, slept on without */
    bool searching;  /* it is the one that pool->searching speaks of */
    bool overcommit; /* as the monitor it has seen that tasks are blocked: it takes work whatever the number of cores */
    bool asleep;     /* the host's before_sleep has been called, after_sleep not yet; only by the worker itself */
    enum { COMES, WORKS, GONE } stage; /* only by the worker itself, as is the next */
    unsigned blocked; /* how deep in waits of ours, which may call observers that wait; only by the worker itself */
    bool computing;   /* counted in pool->computing: in a task, and not in a wait of ours */
    int32_t clock;    /* see wg_cpu_time */
    int64_t cpu;      /* its CPU time when a tick last read its clock */
    struct wg_worker *next, **link; /* in pool->clocked; not in there while `link` is NULL */
};

struct wg_pool {
    wg_mutex lock;
    wg_a32 refs;
    struct wg_ring ring;
    struct wg_worker *idle;       /* the one that slept last comes first: its caches are warm */
    struct wg_worker *monitoring; /* the searcher while it sleeps through a tick */
    unsigned present;             /* threads in wg_pool_work */
    struct wg_worker *clocked;    /* whose clocks the next tick reads: those that have computed since the last */
    unsigned clocks;              /* the same, by number */
    unsigned expected;            /* threads that were started, or are being started, and have not come yet */
    unsigned starting;            /* calls that start a thread and have not returned: it may fail */
    unsigned computing;           /* of those present, those in a task and not in a wait of ours */
    bool searching;
    bool spawning; /* the searcher is a thread that is being started */
    bool starved;  /* the last attempt to start a thread failed */
    bool stopped;
    uint64_t taken; /* works, ever */
    struct wg_monitor monitor;
    /* What every submit reads, apart from what every worker writes. */
    char apart[64];
    wg_a32 needs_worker; /* starved, or without any worker: a submit has to see to it */
    wg_pool_host host;
    char name[16];         /* of its threads */
    wg_pool *next;         /* among all pools */
    struct wg_queue loose; /* work of no group */
};

/* What has to be done after the lock is let go. */
struct action {
    enum { NONE, WAKE, SPAWN } what;
    const wg_a32 *word; /* of the worker to wake; the worker may be gone by then */
    uint32_t epoch;     /* the process in which it was given: in a child of that there is nothing to do any more */
};

#define THREAD_NAME "waitgroup"

static wg_pool process_pool = {.refs = 1, .needs_worker = 1, .host = {.callers_help = true}, .name = THREAD_NAME};

static wg_mutex pools_lock;
static wg_pool *pools; /* all except that of the process */

static unsigned cores_of(const wg_pool *pool) { return pool->host.cores ? pool->host.cores : wg_cores(); }

bool wg_worth_spinning(const wg_pool *pool) { return cores_of(pool) > 1; }

static unsigned workers_of(const wg_pool *pool) { return pool->present + pool->expected; }

static struct wg_work *take(wg_pool *pool, struct wg_queue *queue) {
    pool->taken++;
    return wg_ring_pop(&pool->ring, queue);
}

/* The searcher. */

static struct action wake(struct wg_worker *worker) {
    wg_store_release32(&worker->wake, 1);
    return (struct action){WAKE, &worker->wake, wg_fork_epoch()};
}

static struct action wake_idle(wg_pool *pool, bool searching) {
    struct wg_worker *worker = pool->idle;
    pool->idle = worker->next_idle;
    worker->searching = searching;
    return wake(worker);
}

static struct action new_worker(wg_pool *pool) {
    pool->expected++;
    pool->starting++;
    return (struct action){SPAWN, NULL, wg_fork_epoch()};
}

/* With the lock held: one more worker, besides the searcher. */
static struct action one_more(wg_pool *pool) { return pool->idle ? wake_idle(pool, false) : new_worker(pool); }

/* With the lock held: if work is queued, there must be a searcher.
 *
 *   there is none              wake an idle worker, else start a thread
 *   it is the monitor          a core is free: it need not wait for its tick
 *   it is on its way           nothing */
static struct action ensure_searcher(wg_pool *pool) {
    if (!pool->ring.next || pool->stopped)
        return (struct action){.what = NONE};
    if (pool->searching) {
        struct wg_worker *monitor = pool->monitoring;
        if (!monitor || pool->computing >= cores_of(pool))
            return (struct action){.what = NONE};
        pool->monitoring = NULL;
        return wake(monitor);
    }
    pool->searching = true;
    if (pool->idle)
        return wake_idle(pool, true);
    pool->spawning = true;
    return new_worker(pool);
}

static bool has_worker(const wg_pool *pool) { return pool->present > 0 || pool->expected > pool->starting; }

/* With the lock held, after any change of what it depends on. */
static void update_needs_worker(wg_pool *pool) {
    wg_store_relaxed32(&pool->needs_worker, pool->starved || !has_worker(pool));
}

static void work_natively(void *pool) { wg_pool_work(pool); }

static void retry(void);

static void set_starved(wg_pool *pool, bool starved) {
    if (!pool->starved && starved)
        wg_shortage_begins(retry);
    else if (pool->starved && !starved)
        wg_shortage_ends();
    pool->starved = starved;
}

/* Undo the reservation of a worker whose thread could not be started; it is still expected, unless that was before a fork.
 * Returns true if queued work is now left without any thread: the caller must then call wg_waiters_kick(), after it has
 * released the lock. */
static bool spawn_failed(wg_pool *pool) {
    bool news = !pool->starved && pool->ring.next && !pool->stopped;
    if (pool->expected > 0)
        pool->expected--;
    if (news)
        set_starved(pool, true);
    if (pool->spawning)
        pool->spawning = pool->searching = false;
    update_needs_worker(pool);
    return news;
}

struct asked {
    wg_pool *pool;
    bool started;
};

static void ask_host(void *raw) {
    struct asked *asked = raw;
    asked->started = asked->pool->host.start(asked->pool->host.data, asked->pool);
}

static bool start_thread(wg_pool *pool) {
    struct asked asked = {.pool = pool};
    if (!pool->host.start)
        return wg_start_thread(pool->name, pool->host.stack_size, work_natively, pool);
    int cancel = wg_cancel_forbid();
    wg_call_out(ask_host, &asked);
    wg_cancel_allow(cancel);
    return asked.started;
}

/* False if there is no thread to be had. If `start` forks, the child expects nobody: the thread may have been started before
 * or after, and if it comes it is counted then. Nothing failed there: what the thread was wanted for stays in the parent. */
static bool spawn(wg_pool *pool) {
    uint32_t epoch = wg_fork_epoch();
    bool news = false;
    wg_keep_self_loaded();
    wg_pool_retain(pool); /* for the new thread */
    wg_pool_retain(pool); /* for what follows: it may have come and gone by then */
    bool spawned = start_thread(pool);
    wg_mutex_lock(&pool->lock);
    bool overtaken = epoch != wg_fork_epoch();
    if (!overtaken) {
        pool->starting--;
        news = !spawned && spawn_failed(pool);
        update_needs_worker(pool);
    }
    wg_mutex_unlock(&pool->lock);
    if (news)
        wg_waiters_kick();
    if (!spawned)
        wg_pool_release(pool);
    wg_pool_release(pool);
    return spawned || overtaken;
}

void wg_pool_work_failed(wg_pool *pool) {
    if (!pool)
        return;
    wg_mutex_lock(&pool->lock);
    bool news = spawn_failed(pool);
    wg_mutex_unlock(&pool->lock);
    if (news)
        wg_waiters_kick();
    wg_pool_release(pool);
}

/* Without the lock. False if a thread was wanted and there is none to be had. */
static bool perform(wg_pool *pool, struct action action) {
    if (action.what == NONE || action.epoch != wg_fork_epoch())
        return true;
    if (action.what == SPAWN)
        return spawn(pool);
    wg_unpark_one(action.word);
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

/* The pool that comes after `pool`, with a reference, in exchange for the one to `pool`; NULL at the end. */
static wg_pool *next_pool(wg_pool *pool) {
    wg_mutex_lock(&pools_lock);
    wg_pool *next = pool == &process_pool ? pools : pool->next;
    while (next && !wg_ref_try_take(&next->refs))
        next = next->next; /* its last reference has just gone */
    wg_mutex_unlock(&pools_lock);
    wg_pool_release(pool);
    return next;
}

static void retry(void) {
    for (wg_pool *pool = &process_pool; pool; pool = next_pool(pool)) {
        wg_mutex_lock(&pool->lock);
        if (!pool->ring.next)
            set_starved(pool, false); /* what it lacked a thread for is gone */
        update_needs_worker(pool);
        struct action action = pool->starved ? ensure_searcher(pool) : (struct action){.what = NONE};
        wg_mutex_unlock(&pool->lock);
        perform(pool, action);
    }
}

/* Take the work with `ticket` back out of its queue, if there is no worker to take it. */
static bool take_back(wg_pool *pool, struct wg_queue *queue, uint64_t ticket) {
    wg_mutex_lock(&pool->lock);
    bool taken_back = !has_worker(pool) && wg_ring_withdraw(&pool->ring, queue, ticket);
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
    wg_mutex_lock(&pool->lock);
    if (entry.must_insert && pool->stopped) {
        wg_mutex_unlock(&pool->lock);
        drop_all(wg_empty_inbox(queue)->next); /* what came in behind; the first is the caller's */
        wg_work_free(entry.work);
        return WG_STOPPED;
    }
    if (entry.must_insert) {
        wg_ring_insert(&pool->ring, queue);
    }
    /* Before the queue is in the ring nobody starts a thread for it, so there could be no worker. */
    while (!entry.must_insert && !has_worker(pool) && being_inserted(queue))
        wait_a_little(pool);
    struct action action = ensure_searcher(pool);
    if (action.what == NONE && !has_worker(pool) && pool->ring.next)
        action = new_worker(pool);
    wg_mutex_unlock(&pool->lock);
    if (perform(pool, action) || !take_back(pool, queue, entry.ticket))
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
    wg_mutex_unlock(&pool->lock);
    host_sleeps(pool, me);
    wg_parked parked = wg_park(&me->wake, 0, deadline, false);
    wg_mutex_lock(&pool->lock);
    return parked;
}

static void add_workers(wg_pool *pool, unsigned n) {
    for (bool spawned = true; n > 0 && spawned && pool->ring.next && !pool->stopped; n--) {
        struct action action = one_more(pool);
        wg_mutex_unlock(&pool->lock);
        spawned = perform(pool, action);
        wg_mutex_lock(&pool->lock);
    }
}

/* Whose clocks are read. A worker that sleeps in a wait of ours, or idles, uses no CPU time: after one more look its clock is
 * left alone until it computes again. Of 10,000 workers that wait, a tick reads none. */

static void clock_it(wg_pool *pool, struct wg_worker *worker) {
    if (worker->link)
        return;
    worker->next = pool->clocked;
    worker->link = &pool->clocked;
    if (worker->next)
        worker->next->link = &worker->next;
    pool->clocked = worker;
    pool->clocks++;
}

static void leave_clock(wg_pool *pool, struct wg_worker *worker) {
    if (!worker->link)
        return;
    *worker->link = worker->next;
    if (worker->next)
        worker->next->link = worker->link;
    worker->link = NULL;
    pool->clocks--;
}

/* The CPU time that the workers have used since the last call. One that has left meanwhile is not counted. */
static int64_t cpu_used(wg_pool *pool) {
    int64_t used = 0;
    for (struct wg_worker *worker = pool->clocked, *next; worker; worker = next) {
        int64_t cpu = wg_cpu_time(worker->clock);
        next = worker->next;
        used += cpu - worker->cpu;
        worker->cpu = cpu;
        if (!worker->computing)
            leave_clock(pool, worker);
    }
    return used;
}

static struct wg_load load_of(wg_pool *pool) {
    return (struct wg_load){.now = wg_now(),
                            .process_cpu = wg_cpu_time(WG_PROCESS_CLOCK),
                            .workers_cpu = cpu_used(pool),
                            .taken = pool->taken,
                            .queued = pool->ring.queued,
                            .workers = workers_of(pool),
                            .cores = cores_of(pool)};
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
    sleep_until(pool, me, wg_now() + pool->monitor.tick + pool->clocks * CLOCK_COST);
    if (pool->monitoring == me)
        pool->monitoring = NULL;
    if (wg_load_relaxed32(&me->wake) || !pool->ring.next || pool->stopped)
        return;
    load = load_of(pool);
    unsigned n = wg_monitor_missing(&pool->monitor, &load, cores_of(&process_pool), &spare);
    if (n == 0 && spare && interpreter_is_free(pool, me))
        n = 1;
    if (n > 0) {
        me->overcommit = true;
        add_workers(pool, n - 1);
    }
}

/* Look at the queue for a little while; the lock is let go meanwhile. */
static void spin(wg_pool *pool, struct wg_worker *me) {
    pool->searching = me->searching = true;
    wg_mutex_unlock(&pool->lock);
    for (int i = 0; i < SPINS && !wg_ring_waits(&pool->ring); i++)
        wg_pause();
    wg_mutex_lock(&pool->lock);
}

/* Sleep until woken. False: it has been idle for so long that it should leave. */
static bool idle(wg_pool *pool, struct wg_worker *me) {
    if (me->searching)
        pool->searching = me->searching = false;
    me->overcommit = false;
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
        if (pool->ring.next) {
            if (!me->searching || me->overcommit || pool->computing < cores_of(pool))
                return take(pool, pool->ring.next);
            monitor_tick(pool, me);
        } else if (!spun && (me->searching || !pool->searching)) {
            spin(pool, me);
            spun = true;
        } else {
            if (!idle(pool, me) && !pool->ring.next)
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
    pool->present++;
}

static void leave(wg_pool *pool, struct wg_worker *me) {
    leave_clock(pool, me);
    pool->present--;
    update_needs_worker(pool);
}

/* A thread has come to work. One that nobody expects was started by a `start` that forked. */
static void arrive(wg_pool *pool, struct wg_worker *me) {
    if (pool->expected > 0)
        pool->expected--;
    enrol(pool, me);
    me->searching = pool->spawning;
    pool->spawning = false;
    set_starved(pool, false);
    update_needs_worker(pool);
}

static void set_computing(struct wg_worker *me, bool computing) {
    me->computing = computing;
    me->pool->computing += computing ? 1u : UINT32_MAX;
    if (computing)
        clock_it(me->pool, me);
}

/* Run what `me` has just taken from the queue. Called and returns with the lock held, let go meanwhile. */
static void run_taken(wg_pool *pool, struct wg_worker *me, struct wg_work *work) {
    uint32_t epoch = wg_fork_epoch();
    me->overcommit = false;
    set_computing(me, true);
    if (me->searching)
        pool->searching = me->searching = false;
    struct action action = ensure_searcher(pool);
    wg_mutex_unlock(&pool->lock);
    host_wakes(pool, me);
    perform(pool, action);
    if (epoch == wg_fork_epoch()) /* else the host has forked: like all that was queued it stays in the parent */
        work->run(work, false);
    wg_cancel_point(); /* a thread that was cancelled during this task must not end in the next one */
    wg_mutex_lock(&pool->lock);
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
    wg_mutex_lock(&pool->lock);
    if (me->computing)
        set_computing(me, false);
}

/* With the lock held, which it lets go. */
static void go_home(wg_pool *pool, struct wg_worker *me) {
    if (me->searching)
        pool->searching = false;
    leave(pool, me);
    struct action action = ensure_searcher(pool);
    wg_thread()->worker = NULL;
    wg_thread()->blocks = NULL;
    wg_mutex_unlock(&pool->lock);
    host_wakes(pool, me);
    perform(pool, action);
    call_host(pool, pool->host.leave);
    wg_pool_release(pool);
}

/* See wg_finish. */
static void work(void *raw) {
    struct wg_worker *me = raw;
    if (me->stage == COMES) {
        me->stage = WORKS;
        wg_mutex_lock(&me->pool->lock);
        take_tasks(me->pool, me);
    } else if (me->stage == WORKS)
        break_off(me->pool, me);
    if (me->stage++ == WORKS)
        go_home(me->pool, me);
}

static void block(bool begins);

void wg_pool_work(wg_pool *pool) {
    struct wg_worker me = {.pool = pool};
    if (!pool)
        return;
    wg_thread()->worker = &me;
    wg_thread()->blocks = block;
    wg_finish(work, &me);
}

/* See thread.h. */
static void begin_to_block(struct wg_worker *me) {
    wg_pool *pool = me->pool;
    wg_mutex_lock(&pool->lock);
    set_computing(me, false);
    struct action action = ensure_searcher(pool);
    /* There is a searcher already, and it takes one task. If more are queued, replace this worker as well: so tasks that
     * all wait for each other start as fast as threads do, and not one after the other. */
    if (action.what == NONE && pool->ring.queued > 1 && pool->computing < cores_of(pool) && !pool->stopped)
        action = one_more(pool);
    wg_mutex_unlock(&pool->lock);
    perform(pool, action);
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
    struct wg_work *work = queue->first ? take(pool, queue) : NULL; /* that is, if it is in the ring */
    wg_mutex_unlock(&pool->lock);
    if (!work)
        return false;
    int cancel = wg_cancel_forbid();
    wg_finish(help, &work);
    wg_cancel_allow(cancel);
    return true;
}

/* Pools. */

wg_pool *wg_pool_or_default(wg_pool *pool) { return pool ? pool : &process_pool; }

wg_pool *wg_pool_for_all(wg_pool *pool) { return pool->host.own_tasks_only ? &process_pool : pool; }

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
    *pool = (wg_pool){.refs = 1, .needs_worker = 1, .host = *host};
    strncpy(pool->name, host->name ? host->name : THREAD_NAME, sizeof pool->name - 1);
    pool->host.name = pool->name;
    keep_host_loaded(host);
    wg_mutex_lock(&pools_lock);
    pool->next = pools;
    pools = pool;
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
    wg_pool **link = &pools;
    while (*link != pool)
        link = &(*link)->next;
    *link = pool->next;
    wg_mutex_unlock(&pools_lock);
    set_starved(pool, false);
    wg_queue_end(&pool->loose);
    free(pool);
}

void wg_pool_stop(wg_pool *pool) {
    if (!pool)
        return;
    wg_mutex_lock(&pool->lock);
    pool->stopped = true;
    set_starved(pool, false);
    update_needs_worker(pool);
    struct wg_work *dropped = NULL, **end = &dropped;
    while (pool->ring.next) {
        *end = take(pool, pool->ring.next);
        end = &(*end)->next;
        *end = NULL;
    }
    while (pool->idle)
        wg_unpark_one(wake_idle(pool, false).word);
    if (pool->monitoring)
        wg_unpark_one(wake(pool->monitoring).word);
    wg_mutex_unlock(&pool->lock);
    drop_all(dropped);
}

unsigned wg_pool_workers(wg_pool *pool) {
    pool = wg_pool_or_default(pool);
    wg_mutex_lock(&pool->lock);
    unsigned n = workers_of(pool);
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

void wg_pools_look(void (*look)(void *arg, const struct wg_pool_load *load), void *arg) {
    for (wg_pool *pool = &process_pool; pool; pool = next_pool(pool)) {
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

struct wg_queue *wg_pool_loose(wg_pool *pool) {
    return &pool->loose;
}

/* Fork. */

/* The worker that forked, wherever it did: in a task, in a wait inside of one, or in the host. It is woken for no
 * reason, in case it was about to sleep, and finds its way from there. */
static void keep(wg_pool *pool, struct wg_worker *me) {
    me->searching = me->overcommit = false;
    wg_store_relaxed32(&me->wake, 1);
    enrol(pool, me);
    me->link = NULL; /* it was in the list of the parent */
    pool->computing = me->computing;
    if (me->computing)
        clock_it(pool, me);
}

/* No queue of a group can be left with its lock held, unless nobody will want it: outside of the pool's lock, which fork.c
 * holds, only a thread that has a slot of the group takes it; so in the child the group is of the parent for good. */
static void reset(wg_pool *pool) {
    while (pool->ring.next)
        wg_ring_forget(&pool->ring);
    pool->loose = (struct wg_queue){.first = NULL}; /* another thread may have held its lock */
    pool->ring.queued = 0;
    pool->idle = pool->monitoring = pool->clocked = NULL;
    pool->present = pool->expected = pool->starting = pool->computing = pool->clocks = 0;
    pool->searching = pool->spawning = false;
    pool->starved = false;
    pool->monitor.seen_time = 0;
    struct wg_worker *me = wg_thread()->worker;
    if (me && me->pool == pool)
        keep(pool, me);
    update_needs_worker(pool);
}

void wg_pools_lock(void) {
    wg_mutex_lock(&pools_lock);
    wg_mutex_lock(&process_pool.lock);
    for (wg_pool *pool = pools; pool; pool = pool->next)
        wg_mutex_lock(&pool->lock);
}

void wg_pools_unlock(void) {
    for (wg_pool *pool = pools; pool; pool = pool->next)
        wg_mutex_unlock(&pool->lock);
    wg_mutex_unlock(&process_pool.lock);
    wg_mutex_unlock(&pools_lock);
}

void wg_pools_reset(void) {
    wg_shortage_reset();
    reset(&process_pool);
    for (wg_pool *pool = pools; pool; pool = pool->next)
        reset(pool);
}
