/* pool_scenarios.c - the pool: no task is stranded, whoever goes to sleep, leaves, or cannot be started. */
#include "sim.h"

#include "slab.h"
#include "waitgroup.h"

static wg_pool *pool;
static wg_waitgroup tasks;
static wg_a32 ran;

static void count_run(void *unused) {
    (void)unused;
    wg_add_relaxed32(&ran, 1);
}

static wg_pool *new_pool(unsigned cores, int64_t idle_time) {
    wg_pool *made;
    SIM_EQUAL(wg_pool_new(&made, &(wg_pool_host){.cores = cores, .idle_time = idle_time}), WG_OK);
    return made;
}

static void go(void (*fn)(void *arg), void *arg) { SIM_EQUAL(wg_go(&tasks, pool, fn, arg, NULL), WG_OK); }

static void submit_two(void *unused) {
    (void)unused;
    go(count_run, NULL);
    go(count_run, NULL);
}

/* Two threads submit while workers start, take and go idle. */
static void submit_against_idle(void) {
    pool = new_pool(sim_pick(2) + 1, 0);
    struct sim_thread *other = sim_go("submit", submit_two, NULL);
    go(count_run, NULL);
    SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK); /* so that workers are idle, or about to be, at the next one */
    go(count_run, NULL);
    sim_join(other);
    SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&ran), 4);
    wg_pool_release(pool);
}

/* A small one, for the exhaustive search: one task after the other. */
static void one_after_the_other(void) {
    pool = new_pool(1, 1);
    for (int i = 0; i < 2; i++) {
        go(count_run, NULL);
        SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    }
    SIM_EQUAL(wg_load_relaxed32(&ran), 2);
    wg_pool_release(pool);
}

/* An idle worker is woken, and does not just come round when its time is over. */
static void idle_worker_is_woken(void) {
    pool = new_pool(sim_pick(2) + 1, 0);
    for (int i = 0; i < 3; i++) {
        go(count_run, NULL);
        SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    }
    SIM_CHECK(!sim_needed_time());
    wg_pool_release(pool);
}

/* Workers are idle for so short a time that they leave just when they are wanted. */
static void submit_against_expiry(void) {
    pool = new_pool(2, 1);
    struct sim_thread *other = sim_go("submit", submit_two, NULL);
    submit_two(NULL);
    sim_join(other);
    SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    go(count_run, NULL);
    SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&ran), 5);
    wg_pool_release(pool);
}

/* Tasks that all wait for each other, on one core: in a wait of the library, or in one that it does not see. */
static wg_waitgroup here;

static void wait_for_all(void *unused) {
    (void)unused;
    SIM_EQUAL(wg_done(&here), WG_OK);
    SIM_EQUAL(wg_wait(&here, NULL), WG_OK);
    wg_add_relaxed32(&ran, 1);
}

static void tasks_wait_for_each_other(void) {
    enum { N = 4 };
    pool = new_pool(1, 0);
    SIM_EQUAL(wg_add(&here, N), WG_OK);
    for (int i = 0; i < N; i++)
        go(wait_for_all, NULL);
    SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&ran), N);
    wg_pool_release(pool);
}

static wg_a32 flag;

static void wait_for_flag(void *unused) {
    (void)unused;
    while (wg_load_acquire32(&flag) == 0)
        sim_sleep_on(&flag, 0);
    wg_add_relaxed32(&ran, 1);
}

static void raise_flag(void *unused) {
    (void)unused;
    wg_store_release32(&flag, 1);
    sim_wake_all(&flag);
    wg_add_relaxed32(&ran, 1);
}

static void tasks_block_unseen(void) {
    pool = new_pool(1, 0);
    go(wait_for_flag, NULL);
    go(wait_for_flag, NULL);
    go(raise_flag, NULL);
    SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&ran), 3);
    wg_pool_release(pool);
}

/* While the looking worker watches, a core becomes free: it must hear of it before its tick is over, and whoever ends
 * its task must not strand what is queued. */
static void submit_in_a_task(void *unused) {
    (void)unused;
    submit_two(NULL);
}

static void tasks_submit_tasks(void) {
    pool = new_pool(1, 1);
    go(submit_in_a_task, NULL);
    go(wait_for_flag, NULL);
    go(raise_flag, NULL);
    SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&ran), 4);
    wg_pool_release(pool);
}

/* A task that blocks in the library frees its core at once: no clock has to tick for that. */
static wg_waitgroup second_ran;

static void wait_for_second(void *unused) {
    (void)unused;
    SIM_EQUAL(wg_wait(&second_ran, NULL), WG_OK);
}

static void run_second(void *unused) {
    (void)unused;
    SIM_EQUAL(wg_done(&second_ran), WG_OK);
}

static void blocked_task_frees_its_core(void) {
    pool = new_pool(1, 0);
    SIM_EQUAL(wg_add(&second_ran, 1), WG_OK);
    go(wait_for_second, NULL);
    go(run_second, NULL);
    SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    SIM_CHECK(!sim_needed_time());
    wg_pool_release(pool);
}

/* Stop: every task that was taken is run or dropped, and counted as done; the workers leave. */
static wg_a32 destroyed, accepted;

static void count_destroyed(void *unused) {
    (void)unused;
    wg_add_relaxed32(&destroyed, 1);
}

static void submit_if_possible(void *unused) {
    (void)unused;
    for (int i = 0; i < 2; i++) {
        wg_status status = wg_go(&tasks, pool, count_run, NULL, count_destroyed);
        SIM_CHECK(status == WG_OK || status == WG_STOPPED || status == WG_NO_THREADS);
        if (status == WG_OK)
            wg_add_relaxed32(&accepted, 1);
    }
}

static void stop_against_submit(void) {
    pool = new_pool(sim_pick(2) + 1, 0);
    struct sim_thread *a = sim_go("submit", submit_if_possible, NULL), *b = sim_go("submit", submit_if_possible, NULL);
    wg_pool_stop(pool);
    int64_t stopped = wg_now();
    sim_join(a);
    sim_join(b);
    SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&destroyed), wg_load_relaxed32(&accepted));
    sim_join_library();
    SIM_CHECK(wg_now() < stopped + WG_SECOND);
    SIM_EQUAL(wg_pool_workers(pool), 0);
    wg_pool_release(pool);
}

/* Threads cannot always be started: a task is refused, or it runs, also if others submit and wait at the same time. */
static void submit_and_wait(void *unused) {
    submit_if_possible(unused);
    SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
}

static void threads_fail(void) {
    pool = new_pool(sim_pick(2) + 1, 1);
    sim_threads_start(SIM_PERHAPS);
    struct sim_thread *a = sim_go("submit", submit_and_wait, NULL), *b = sim_go("submit", submit_and_wait, NULL);
    submit_and_wait(NULL);
    sim_join(a);
    sim_join(b);
    SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&ran), wg_load_relaxed32(&accepted));
    SIM_EQUAL(wg_load_relaxed32(&destroyed), wg_load_relaxed32(&accepted));
    wg_pool_release(pool);
}

/* If no thread can be had at all, every task is refused: one accepted would never run. */
static void threads_never_start(void) {
    pool = new_pool(1, 0);
    sim_threads_start(SIM_NEVER);
    struct sim_thread *a = sim_go("submit", submit_and_wait, NULL), *b = sim_go("submit", submit_and_wait, NULL);
    sim_join(a);
    sim_join(b);
    SIM_EQUAL(wg_load_relaxed32(&accepted), 0);
    SIM_EQUAL(wg_pool_workers(pool), 0);
    wg_pool_release(pool);
}

/* The last worker leaves, and no new one can be started, just when somebody who waits already had his task accepted. */
static void threads_fail_after_expiry(void) {
    pool = new_pool(sim_pick(2) + 1, 1);
    sim_threads_start(SIM_PERHAPS);
    submit_and_wait(NULL);
    struct sim_thread *a = sim_go("submit", submit_if_possible, NULL), *b = sim_go("submit", submit_if_possible, NULL);
    submit_and_wait(NULL);
    sim_join(a);
    sim_join(b);
    SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&destroyed), wg_load_relaxed32(&accepted));
    wg_pool_release(pool);
}

/* Threads that end inside a task, or when what a task leaves is destroyed: all is run, destroyed and done, and the pool has
 * as many workers as it has threads. */
static void end_thread(void *unused) {
    count_run(unused);
    sim_exit_thread();
}

static void destroy_and_end_thread(void *unused) {
    count_destroyed(unused);
    sim_exit_thread();
}

static void tasks_end_their_threads(void) {
    pool = new_pool(sim_pick(2) + 1, 1);
    SIM_EQUAL(wg_go(&tasks, pool, end_thread, NULL, count_destroyed), WG_OK);
    SIM_EQUAL(wg_go(&tasks, pool, count_run, NULL, destroy_and_end_thread), WG_OK);
    SIM_EQUAL(wg_go(&tasks, pool, end_thread, NULL, destroy_and_end_thread), WG_OK);
    SIM_EQUAL(wg_go(&tasks, pool, count_run, NULL, count_destroyed), WG_OK);
    SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&ran), 4);
    SIM_EQUAL(wg_load_relaxed32(&destroyed), 4);
    sim_join_library();
    SIM_EQUAL(wg_pool_workers(pool), 0);
    wg_pool_release(pool);
}

/* The core on which such a thread computed is free at once. */
static void end_of_thread_frees_its_core(void) {
    pool = new_pool(1, 0);
    go(end_thread, NULL);
    go(count_run, NULL);
    SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    SIM_CHECK(!sim_needed_time());
    wg_pool_release(pool);
}

/* A host hears of each sleep and each waking in pairs, in the worker itself. Its workers sleep also while they watch. */
static bool asleep[64];
static wg_a32 started;

static void host_worker(void *unused) {
    (void)unused;
    wg_pool_work(pool);
    SIM_CHECK(!asleep[sim_self_id()]);
}

static bool host_start(void *data, wg_pool *which) {
    (void)data;
    SIM_CHECK(which == pool);
    wg_add_relaxed32(&started, 1);
    sim_go("hosted", host_worker, NULL);
    return true;
}

static void host_before(void *data) {
    (void)data;
    SIM_CHECK(!asleep[sim_self_id()]);
    asleep[sim_self_id()] = true;
}

static void host_after(void *data) {
    (void)data;
    SIM_CHECK(asleep[sim_self_id()]);
    asleep[sim_self_id()] = false;
}

static void run_awake(void *unused) {
    (void)unused;
    SIM_CHECK(!asleep[sim_self_id()]);
    wg_add_relaxed32(&ran, 1);
}

static void hosted_workers(void) {
    wg_pool_host host = {
        .start = host_start, .before_sleep = host_before, .after_sleep = host_after, .cores = 1, .idle_time = 1};
    SIM_EQUAL(wg_pool_new(&pool, &host), WG_OK);
    for (int i = 0; i < 3; i++) {
        go(run_awake, NULL);
        go(run_awake, NULL);
        SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    }
    SIM_EQUAL(wg_load_relaxed32(&ran), 6);
    wg_pool_release(pool);
}

/* The chain: with a core for each, tasks that block unseen are all started without waiting for a tick of the clock. */
static void chain_of_wakes(void) {
    pool = new_pool(4, 0);
    go(wait_for_flag, NULL);
    go(wait_for_flag, NULL);
    go(raise_flag, NULL);
    SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&ran), 3);
    SIM_CHECK(!sim_needed_time());
    wg_pool_release(pool);
}

/* A queue is offered just when the searcher has looked for the last time, or has begun to. */
static void offers(void) {
    pool = new_pool(2, 0);
    for (int i = 0; i < 3; i++) {
        go(count_run, NULL);
        SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    }
    SIM_EQUAL(wg_load_relaxed32(&ran), 3);
    SIM_CHECK(!sim_needed_time());
    wg_pool_release(pool);
}

/* A queue is offered, or not, just when the pool stops. */
static void stop_against_offer(void) {
    pool = new_pool(2, 0);
    go(count_run, NULL);
    SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK); /* so that a worker spins, or sleeps */
    struct sim_thread *other = sim_go("submit", submit_if_possible, NULL);
    wg_pool_stop(pool);
    sim_join(other);
    SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&destroyed), wg_load_relaxed32(&accepted));
    wg_pool_release(pool);
}

static wg_error *task_of_group(void *unused, wg_context *unused_context) {
    (void)unused, (void)unused_context;
    return NULL;
}

static void go_and_help(void) {
    wg_errgroup *g;
    SIM_EQUAL(wg_errgroup_new(&g, &(wg_errgroup_options){.pool = pool}), WG_OK);
    SIM_EQUAL(wg_errgroup_go(g, task_of_group, NULL, NULL, NULL), WG_OK);
    SIM_EQUAL(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

/* The thread that queues tasks runs them itself, so wakes are in vain, and a worker stands by. A task that nobody helps with
 * then runs all the same, although no worker ever leaves. */
static void standby_looks(void) {
    const wg_pool_host host = {.cores = sim_pick(2) + 1, .callers_help = true, .idle_time = INT64_MAX};
    SIM_EQUAL(wg_pool_new(&pool, &host), WG_OK);
    for (int i = 0; i < 10; i++)
        go_and_help();
    go(count_run, NULL);
    SIM_EQUAL(wg_wait(&tasks, NULL), WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&ran), 1);
    wg_pool_stop(pool);
    sim_join_library();
    wg_pool_release(pool);
}

struct thing {
    uint64_t number;
};

static struct made {
    struct thing *thing;
    uint16_t place;
} made[4];

static void give(void *of) {
    const struct made *m = of;
    SIM_CHECK(m->thing->number == (uint64_t)(m - made));
    wg_slab_give(m->thing, m->place);
}

/* Two of `n` things end in threads of their own, the others here, after their source. */
static void make_and_give(size_t n) {
    struct wg_slabs slabs = {.slab = NULL};
    struct sim_thread *threads[2];
    for (size_t i = 0; i < n; i++) { /* in slabs of one, two, and four */
        made[i].thing = wg_slabs_take(&slabs, sizeof(struct thing), &made[i].place);
        made[i].thing->number = i;
    }
    for (int i = 0; i < 2; i++)
        threads[i] = sim_go("giver", give, &made[i + 1]);
    wg_slabs_end(&slabs);
    give(&made[0]);
    if (n > 3)
        give(&made[3]);
    for (int i = 0; i < 2; i++)
        sim_join(threads[i]);
}

/* The last thing to end takes its slab along, whose rest was never made. */
static void things_outlive_their_source(void) { make_and_give(4); }

/* A slab that is used up is its things' alone. */
static void source_leaves_used_up_slabs(void) { make_and_give(3); }

const struct sim_scenario pool_scenarios[] = {
    {"things_outlive_their_source", things_outlive_their_source, .cores = 1, .exhaustive = 3, .spurious = false},
    {"source_leaves_used_up_slabs", source_leaves_used_up_slabs, .cores = 1, .exhaustive = 3, .spurious = false},
    {"submit_against_idle", submit_against_idle, .cores = 1, .exhaustive = 0, .spurious = false},
    {"one_after_the_other", one_after_the_other, .cores = 1, .exhaustive = 2, .spurious = false},
    {"idle_worker_is_woken", idle_worker_is_woken, .cores = 1, .exhaustive = 1, .spurious = false},
    {"submit_against_expiry", submit_against_expiry, .cores = 1, .exhaustive = 0, .spurious = false},
    {"tasks_wait_for_each_other", tasks_wait_for_each_other, .cores = 2, .exhaustive = 0, .spurious = false},
    {"blocked_task_frees_its_core", blocked_task_frees_its_core, .cores = 1, .exhaustive = 2, .spurious = false},
    {"tasks_block_unseen", tasks_block_unseen, .cores = 1, .exhaustive = 1, .spurious = false},
    {"tasks_submit_tasks", tasks_submit_tasks, .cores = 1, .exhaustive = 1, .spurious = false},
    {"chain_of_wakes", chain_of_wakes, .cores = 1, .exhaustive = 1, .spurious = false},
    {"offers", offers, .cores = 1, .exhaustive = 2, .spurious = false},
    {"stop_against_offer", stop_against_offer, .cores = 1, .exhaustive = 2, .spurious = false},
    {"standby_looks", standby_looks, .cores = 1, .exhaustive = 0, .spurious = false},
    {"stop_against_submit", stop_against_submit, .cores = 1, .exhaustive = 1, .spurious = false},
    {"threads_fail", threads_fail, .cores = 1, .exhaustive = 2, .spurious = false},
    {"threads_never_start", threads_never_start, .cores = 1, .exhaustive = 2, .spurious = false},
    {"threads_fail_after_expiry", threads_fail_after_expiry, .cores = 1, .exhaustive = 0, .spurious = false},
    {"tasks_end_their_threads", tasks_end_their_threads, .cores = 1, .exhaustive = 1, .spurious = false},
    {"end_of_thread_frees_its_core", end_of_thread_frees_its_core, .cores = 1, .exhaustive = 1, .spurious = false},
    {"hosted_workers", hosted_workers, .cores = 1, .exhaustive = 1, .spurious = false},
    {0},
};
