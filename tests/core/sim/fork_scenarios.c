/* fork_scenarios.c - a fork at any step of the other threads, from any kind of thread. Each scenario goes on in the child or
 * in the parent, as the schedule chooses. */
#include "sim.h"

#include "waitgroup.h"

#define FOREVER NULL

static wg_context *new_context(wg_context *parent, int64_t deadline) {
    wg_context *made;
    SIM_EQUAL(wg_context_new(&made, parent, deadline), WG_OK);
    return made;
}

/* A word to sleep on which the library does not know of. */
static wg_a32 told;

static void tell(void *unused) {
    (void)unused;
    wg_store_release32(&told, 1);
    sim_wake_all(&told);
}

static void wait_until_told(void) {
    while (wg_load_acquire32(&told) == 0)
        sim_sleep_on(&told, 0);
}

static void work_as_ever(void);

/* Deadlines that were set before. */

static wg_context *ctx;
static wg_observer at_end;

/* The child does nothing but observe, on any kind of memory, or ask for a descriptor. */
static void deadline_from_before(void) {
    ctx = new_context(NULL, wg_after(WG_SECOND));
    wg_context *child = new_context(ctx, WG_FOREVER);
    bool is_child = sim_fork();
    SIM_EQUAL(wg_event_observe(wg_ended(child), &at_end, tell, NULL), WG_OK);
    wait_until_told();
    SIM_CHECK(wg_now() >= wg_context_deadline(ctx));
    SIM_EQUAL(wg_context_status(child), WG_DEADLINE_EXCEEDED);
    SIM_EQUAL(wg_context_status(ctx), WG_DEADLINE_EXCEEDED);
    wg_context_release(child);
    wg_context_release(ctx);
    if (is_child)
        work_as_ever();
}

/* An observer from before is called at a deadline that was not kept before the fork: the child has only to look at
 * something else, once. */
static void observer_from_before(void) {
    ctx = new_context(NULL, wg_after(WG_SECOND));
    wg_observer *observer = malloc(sizeof *observer);
    SIM_EQUAL(wg_event_observe(wg_ended(ctx), observer, tell, NULL), WG_OK);
    sim_fork();
    bool ended = wg_context_status(ctx) != WG_OK; /* then the call may have been made, or lost */
    wg_context_check(wg_context_root());
    if (!ended)
        wait_until_told();
    SIM_EQUAL(wg_context_check(ctx), WG_DEADLINE_EXCEEDED);
    wg_event_unobserve_sync(wg_ended(ctx), observer);
    free(observer);
    wg_context_release(ctx);
}

/* The thread that keeps deadlines forks, and goes on to keep them. */
static wg_context *later;

static void fork_now(void *unused) {
    (void)unused;
    if (sim_fork())
        SIM_EQUAL(wg_context_status(ctx), WG_DEADLINE_EXCEEDED);
}

static void timer_forks(void) {
    wg_observer observer;
    ctx = new_context(NULL, wg_after(WG_MILLISECOND));
    later = new_context(NULL, wg_after(WG_SECOND));
    SIM_EQUAL(wg_event_observe(wg_ended(later), &at_end, tell, NULL), WG_OK);
    SIM_EQUAL(wg_event_observe(wg_ended(ctx), &observer, fork_now, NULL), WG_OK);
    wg_context_check(ctx); /* maybe it is this thread that forks */
    wait_until_told();     /* in the child of the timer's thread, nobody is here */
    wg_event_unobserve_sync(wg_ended(ctx), &observer);
    wg_event_unobserve_sync(wg_ended(later), &at_end);
    wg_context_release(ctx);
    wg_context_release(later);
}

/* An end that another thread has begun. */

static void cancel(void *which) { wg_context_cancel(which, wg_error_no_memory()); }

static void release(void *which) { wg_context_release(which); }

static void end_under_way(void) {
    ctx = new_context(NULL, WG_FOREVER);
    wg_context *middle = new_context(ctx, WG_FOREVER), *leaf = new_context(middle, WG_FOREVER);
    wg_context *beside = new_context(ctx, WG_FOREVER);
    struct sim_thread *canceller = sim_go("cancel", cancel, ctx), *releaser = sim_go("release", release, beside);
    bool is_child = sim_fork();
    if (wg_context_check(ctx) != WG_OK || !is_child) {
        SIM_EQUAL(wg_context_wait(leaf, NULL), WG_OK);
        SIM_EQUAL(wg_context_status(leaf), WG_CANCELLED);
        SIM_CHECK(wg_context_inherited(leaf) && wg_context_cause(leaf) == wg_error_no_memory());
    }
    SIM_EQUAL(wg_event_observe(wg_ended(leaf), &at_end, tell, NULL), WG_OK);
    cancel(ctx);
    wait_until_told();
    if (!is_child) {
        sim_join(canceller);
        sim_join(releaser);
    }
    wg_context_release(leaf);
    wg_context_release(middle);
    wg_context_release(ctx);
}

/* An end that goes on in the child calls each observer that it has not begun to call; here it is of a child context. */
static void observers_below_an_end_under_way(void) {
    ctx = new_context(NULL, WG_FOREVER);
    wg_context *below = new_context(ctx, WG_FOREVER);
    wg_observer *observer = malloc(sizeof *observer);
    SIM_EQUAL(wg_event_observe(wg_ended(below), observer, tell, NULL), WG_OK);
    struct sim_thread *canceller = sim_go("cancel", cancel, ctx);
    bool is_child = sim_fork();
    bool begun = wg_context_status(below) != WG_OK; /* then the call may have been made, or lost */
    cancel(ctx);
    if (!begun)
        wait_until_told();
    SIM_EQUAL(wg_context_check(below), WG_CANCELLED);
    wg_event_unobserve_sync(wg_ended(below), observer);
    free(observer);
    if (!is_child)
        sim_join(canceller);
    wg_context_release(below);
    wg_context_release(ctx);
}

/* Of two observers the second one's call is still to be made when the fork comes into the first one's: it is made here. */

static wg_a32 in_first;

static void go_slowly(void *unused) {
    (void)unused;
    wg_store_release32(&in_first, 1);
    sim_yield();
    wg_store_release32(&in_first, 2);
}

static void pending_observer(void) {
    wg_observer *a = malloc(sizeof *a), *b = malloc(sizeof *b);
    ctx = new_context(NULL, WG_FOREVER);
    SIM_EQUAL(wg_event_observe(wg_ended(ctx), a, go_slowly, NULL), WG_OK);
    SIM_EQUAL(wg_event_observe(wg_ended(ctx), b, tell, NULL), WG_OK);
    struct sim_thread *canceller = sim_go("cancel", cancel, ctx);
    bool is_child = sim_fork();
    bool pending = wg_load_acquire32(&in_first) == 1;
    wg_context_check(ctx);
    if (pending)
        wait_until_told();
    if (!is_child)
        sim_join(canceller);
    wg_event_unobserve_sync(wg_ended(ctx), a);
    wg_event_unobserve_sync(wg_ended(ctx), b);
    free(a);
    free(b);
    wg_context_release(ctx);
}

/* The forking thread is inside a wait, or another thread is that waits for the same. */

static wg_waitgroup *shared;

static void wait_for_shared(void *unused) {
    (void)unused;
    SIM_EQUAL(wg_wait(shared, FOREVER), WG_OK);
}

static bool in_child;

static void fork_and_remember(void *unused) {
    (void)unused;
    in_child = sim_fork();
}

/* Whoever finds the deadline first forks: the timer's thread, or the one that waits. */
static void waiter_forks(void) {
    wg_observer observer;
    shared = malloc(sizeof *shared);
    *shared = (wg_waitgroup)WG_INIT;
    SIM_EQUAL(wg_add(shared, 1), WG_OK);
    struct sim_thread *other = sim_go("waiter", wait_for_shared, NULL);
    ctx = new_context(NULL, wg_after(WG_SECOND));
    SIM_EQUAL(wg_event_observe(wg_ended(ctx), &observer, fork_and_remember, NULL), WG_OK);
    SIM_EQUAL(wg_wait(shared, &(wg_until){.context = ctx}), WG_CONTEXT_ENDED);
    wg_event_unobserve_sync(wg_ended(ctx), &observer);
    wg_context_release(ctx);
    if (in_child) { /* of this thread: the timer's does not come here */
        SIM_EQUAL(wg_wait(shared, FOREVER), WG_FORKED);
        work_as_ever();
        return;
    }
    SIM_EQUAL(wg_done(shared), WG_OK);
    sim_join(other);
    free(shared);
}

/* Observers on the stack of another thread: of the context, and of a wait group in the list that all of its bucket share. */

static wg_waitgroup gate, first, second;

static void count_up(void *raw) { wg_add_relaxed32(raw, 1); }

static void observe_from_a_stack(void *unused) {
    wg_observer a, b;
    wg_a32 calls = 0;
    (void)unused;
    SIM_EQUAL(wg_event_observe(wg_ended(ctx), &a, count_up, &calls), WG_OK);
    SIM_EQUAL(wg_event_observe(wg_zero(&first), &b, count_up, &calls), WG_OK);
    SIM_EQUAL(wg_wait(&gate, FOREVER), WG_OK);
    wg_event_unobserve_sync(wg_ended(ctx), &a);
    wg_event_unobserve_sync(wg_zero(&first), &b);
    SIM_EQUAL(wg_load_relaxed32(&calls), 2);
}

static void observers_on_other_stacks(void) {
    wg_observer mine, also_mine;
    wg_a32 calls = 0;
    ctx = new_context(NULL, WG_FOREVER);
    SIM_EQUAL(wg_add(&gate, 1), WG_OK);
    SIM_EQUAL(wg_add(&first, 1), WG_OK);
    SIM_EQUAL(wg_add(&second, 1), WG_OK);
    struct sim_thread *a = sim_go("observer", observe_from_a_stack, NULL);
    SIM_EQUAL(wg_event_observe(wg_ended(ctx), &mine, count_up, &calls), WG_OK);
    SIM_EQUAL(wg_event_observe(wg_zero(&second), &also_mine, count_up, &calls), WG_OK);
    bool is_child = sim_fork();
    SIM_EQUAL(wg_done(&first), WG_OK);
    SIM_EQUAL(wg_done(&second), WG_OK);
    cancel(ctx);
    SIM_EQUAL(wg_load_relaxed32(&calls), 2);
    SIM_EQUAL(wg_done(&gate), WG_OK);
    if (!is_child)
        sim_join(a);
    wg_context_release(ctx);
}

/* Another thread ends what this one observes, and was calling at the fork. */
static void observer_being_called(void) {
    wg_observer *a = malloc(sizeof *a), *b = malloc(sizeof *b);
    ctx = new_context(NULL, WG_FOREVER);
    SIM_EQUAL(wg_event_observe(wg_ended(ctx), a, tell, NULL), WG_OK);
    SIM_EQUAL(wg_event_observe(wg_ended(ctx), b, tell, NULL), WG_OK);
    struct sim_thread *canceller = sim_go("cancel", cancel, ctx);
    bool is_child = sim_fork();
    cancel(ctx);
    wg_event_unobserve_sync(wg_ended(ctx), a); /* does not wait for a call that is not made here */
    wg_event_unobserve_sync(wg_ended(ctx), b);
    free(a);
    free(b);
    if (!is_child)
        sim_join(canceller);
    wg_context_release(ctx);
}

/* The descriptor is the parent's: the child neither raises it nor hands it out. */
static void descriptor_of_the_parent(void) {
    int fd;
    ctx = new_context(NULL, wg_after(WG_SECOND));
    wg_context *other = new_context(NULL, WG_FOREVER);
    SIM_EQUAL(wg_context_fd(ctx, &fd), WG_OK);
    bool is_child = sim_fork();
    wg_status status = wg_context_fd(ctx, &fd);
    SIM_EQUAL(status, is_child ? WG_FORKED : WG_OK);
    SIM_EQUAL(wg_context_fd(other, &fd), WG_OK);
    cancel(ctx);
    cancel(other);
    SIM_CHECK(sim_readable(fd));
    wg_context_release(ctx);
    wg_context_release(other);
}

/* Groups. */

static wg_errgroup *g;

static wg_error *do_nothing(void *unused, wg_context *context) {
    (void)unused, (void)context;
    return NULL;
}

static void feed(void *unused) {
    (void)unused;
    for (int i = 0; i < 2; i++) {
        wg_status status = wg_errgroup_go(g, do_nothing, NULL, NULL, NULL);
        SIM_CHECK(status == WG_OK || status == WG_CANCELLED || status == WG_FINISHED);
    }
}

/* A task of this thread's making fails in the child, whatever another thread was doing with the group. */
static void leave_with_an_error(void) {
    SIM_EQUAL(wg_errgroup_new(&g, NULL), WG_OK);
    SIM_EQUAL(wg_errgroup_enter(g), WG_OK);
    struct sim_thread *feeder = sim_go("feed", feed, NULL);
    bool is_child = sim_fork();
    SIM_EQUAL(wg_errgroup_leave(g, wg_error_no_memory()), WG_OK);
    SIM_EQUAL(wg_errgroup_errors(g, NULL, 0), 1);
    wg_status outcome = wg_errgroup_wait(g, FOREVER, NULL);
    SIM_CHECK(outcome == WG_FAILED || (is_child && outcome == WG_FORKED));
    if (!is_child)
        sim_join(feeder);
    else
        work_as_ever();
    wg_errgroup_release(g);
}

/* Another thread waits for the slot that this one holds. */
static void waiter_for_a_slot(void) {
    SIM_EQUAL(wg_errgroup_new(&g, &(wg_errgroup_options){.limit = 1}), WG_OK);
    SIM_EQUAL(wg_errgroup_enter(g), WG_OK);
    struct sim_thread *feeder = sim_go("feed", feed, NULL);
    bool is_child = sim_fork();
    SIM_EQUAL(wg_errgroup_leave(g, NULL), WG_OK);
    if (!is_child)
        sim_join(feeder);
    wg_status outcome = wg_errgroup_wait(g, FOREVER, NULL);
    SIM_CHECK(outcome == WG_OK || (is_child && outcome == WG_FORKED));
    wg_errgroup_release(g);
}

/* That thread runs a task of the group itself, and so holds the other slot: when this one is given back in the child, all
 * that are in use are held by one who waits for a slot, and is not here. */
static wg_error *go_on(void *unused, wg_context *context) {
    (void)context;
    wg_waitgroup *in_task = unused;
    SIM_EQUAL(wg_done(in_task), WG_OK);
    wg_status status = wg_errgroup_go(g, do_nothing, NULL, NULL, NULL);
    SIM_CHECK(status == WG_OK || status == WG_DEADLOCK || status == WG_CANCELLED);
    return NULL;
}

static void waiter_that_holds_a_slot(void) {
    wg_waitgroup in_task = WG_INIT;
    SIM_EQUAL(wg_add(&in_task, 1), WG_OK);
    SIM_EQUAL(wg_errgroup_new(&g, &(wg_errgroup_options){.limit = 2}), WG_OK);
    SIM_EQUAL(wg_errgroup_enter(g), WG_OK);
    SIM_EQUAL(wg_errgroup_go(g, go_on, &in_task, NULL, NULL), WG_OK);
    SIM_EQUAL(wg_wait(&in_task, FOREVER), WG_OK);
    bool is_child = sim_fork();
    SIM_EQUAL(wg_errgroup_leave(g, NULL), WG_OK);
    wg_status outcome = wg_errgroup_wait(g, FOREVER, NULL);
    SIM_CHECK(outcome == WG_OK || (is_child && outcome == WG_FORKED));
    wg_errgroup_release(g);
}

/* An outcome that another thread is giving: the context ends with it, here too. */
static void wait_for_the_outcome(void *unused) {
    (void)unused;
    SIM_EQUAL(wg_errgroup_wait(g, FOREVER, NULL), WG_OK);
}

static void outcome_under_way(void) {
    SIM_EQUAL(wg_errgroup_new(&g, NULL), WG_OK);
    struct sim_thread *waiter = sim_go("wait", wait_for_the_outcome, NULL);
    bool is_child = sim_fork();
    SIM_EQUAL(wg_errgroup_wait(g, FOREVER, NULL), WG_OK);
    SIM_CHECK(wg_context_status(wg_errgroup_context(g)) != WG_OK);
    if (!is_child)
        sim_join(waiter);
    wg_errgroup_release(g);
}

/* Pools. */

static wg_pool *pool;
static wg_waitgroup tasks;
static wg_a32 ran;
enum { NOWHERE, BEFORE_THE_START, AFTER_THE_START, BEFORE_SLEEP, AFTER_SLEEP, TASK, DESTROY, OBSERVER, FAILED_START };
static wg_a32 place; /* where to fork */

static void pass(uint32_t here) {
    if (wg_cas_relaxed32(&place, &here, NOWHERE) && sim_fork())
        in_child = true;
}

static void host_worker(void *unused) {
    (void)unused;
    wg_pool_work(pool);
}

static bool host_start(void *data, wg_pool *which) {
    (void)data;
    pass(BEFORE_THE_START);
    SIM_CHECK(which == pool);
    sim_go("hosted", host_worker, NULL);
    pass(AFTER_THE_START);
    return true;
}

static void host_before(void *data) {
    (void)data;
    pass(BEFORE_SLEEP);
}

static void host_after(void *data) {
    (void)data;
    pass(AFTER_SLEEP);
}

static void fork_in_observer(void *unused) {
    (void)unused;
    pass(OBSERVER);
}

/* What has not started at the fork stays in the parent. */
static void run(void *of_child) {
    wg_waitgroup wg = WG_INIT;
    wg_observer observer;
    SIM_CHECK(of_child || !in_child);
    pass(TASK);
    SIM_EQUAL(wg_add(&wg, 1), WG_OK);
    SIM_EQUAL(wg_event_observe(wg_zero(&wg), &observer, fork_in_observer, NULL), WG_OK);
    SIM_EQUAL(wg_done(&wg), WG_OK);
    wg_add_relaxed32(&ran, 1);
}

static void destroy(void *unused) {
    (void)unused;
    pass(DESTROY);
}

static void count_run(void *unused) {
    (void)unused;
    wg_add_relaxed32(&ran, 1);
}

/* In a child whose main thread this is: fresh tasks run, without a tick of the clock, and the pool's numbers are right. */
static void use_the_pool_again(wg_pool *which) {
    wg_waitgroup wg = WG_INIT;
    uint32_t before = wg_load_relaxed32(&ran);
    for (int i = 0; i < 2; i++) {
        SIM_EQUAL(wg_go(&wg, which, count_run, NULL, NULL), WG_OK);
        SIM_EQUAL(wg_go(&wg, which, count_run, NULL, NULL), WG_OK);
        SIM_EQUAL(wg_wait(&wg, FOREVER), WG_OK);
    }
    SIM_CHECK(wg_load_relaxed32(&ran) >= before + 4);
    SIM_CHECK(wg_pool_workers(which) <= 4);
}

static void main_of_the_child(void *unused) {
    (void)unused;
    use_the_pool_again(pool);
    sim_join_library();
}

static void work_as_ever(void) { use_the_pool_again(NULL); }

static struct sim_thread *child_main;

/* The worker that forked goes on in the child; beside it there is a thread that uses the pool. */
static void become_main(void *unused) {
    (void)unused;
    if (in_child && !child_main)
        child_main = sim_go("main of child", main_of_the_child, NULL);
}

static void submit_all(wg_status *went) {
    for (int i = 0; i < 3; i++)
        went[i] = wg_go(&tasks, pool, run, in_child ? &in_child : NULL, destroy);
}

static void pool_forks(void) {
    static const wg_pool_host hosts[] = {
        {.start = host_start, .before_sleep = host_before, .after_sleep = host_after, .cores = 1, .idle_time = 1},
        {.start = host_start, .before_sleep = host_before, .after_sleep = host_after, .cores = 2, .idle_time = 1}};
    wg_status went[3];
    SIM_EQUAL(wg_pool_new(&pool, &hosts[sim_pick(2)]), WG_OK);
    wg_store_relaxed32(&place, sim_pick(OBSERVER) + 1);
    submit_all(went);
    wg_status waited = wg_wait(&tasks, FOREVER);
    if (in_child) { /* it was this thread that forked */
        SIM_CHECK(waited == WG_FORKED || waited == WG_OK);
        use_the_pool_again(pool);
    } else {
        SIM_EQUAL(waited, WG_OK);
        SIM_EQUAL(wg_load_relaxed32(&ran), 3);
    }
    wg_pool_release(pool);
}

/* A wait that has nothing to do with the pool tries again for a thread that could not be had, and the host forks. */

static wg_waitgroup release_it;
static wg_a32 starts;

static void wait_for_release(void *unused) {
    tell(unused);
    wg_status status = wg_wait(&release_it, FOREVER);
    SIM_CHECK(status == WG_OK || (in_child && status == WG_FORKED)); /* it may be this one that forks */
}

static bool start_one_thread(void *data, wg_pool *which) {
    (void)data, (void)which;
    pass(AFTER_THE_START);
    if (wg_add_relaxed32(&starts, 1) > 0)
        return false;
    sim_go("hosted", host_worker, NULL);
    return true;
}

static void make_starving_pool(void) {
    SIM_EQUAL(wg_pool_new(&pool, &(wg_pool_host){.start = start_one_thread, .cores = 1, .idle_time = 1}), WG_OK);
    SIM_EQUAL(wg_add(&release_it, 1), WG_OK);
    SIM_EQUAL(wg_go(&tasks, pool, wait_for_release, NULL, NULL), WG_OK);
    wait_until_told();
    SIM_EQUAL(wg_go(&tasks, pool, count_run, NULL, NULL), WG_OK);
    wg_store_relaxed32(&place, AFTER_THE_START);
}

static void end_starving_pool(void) {
    wg_store_relaxed32(&place, NOWHERE);
    if (!in_child) {
        SIM_EQUAL(wg_done(&release_it), WG_OK);
        SIM_EQUAL(wg_wait(&tasks, FOREVER), WG_OK);
    }
    wg_pool_release(pool);
}

static void host_forks_in_a_wait(void) {
    wg_waitgroup wg = WG_INIT;
    make_starving_pool();
    SIM_EQUAL(wg_add(&wg, 1), WG_OK);
    wg_status status = wg_wait(&wg, &(wg_until){.deadline = wg_after(WG_SECOND)});
    SIM_EQUAL(status, in_child ? WG_FORKED : WG_TIMEOUT);
    end_starving_pool();
}

static void host_forks_in_a_wait_for_a_context(void) {
    make_starving_pool();
    ctx = new_context(NULL, wg_after(WG_SECOND));
    SIM_EQUAL(wg_context_wait(ctx, FOREVER), WG_OK);
    SIM_EQUAL(wg_context_status(ctx), WG_DEADLINE_EXCEEDED);
    wg_context_release(ctx);
    end_starving_pool();
}

/* A host forks, and starts no thread. Its pool is in use in the child while this thread finds its way out of the call. */
static void submit_beside(void *unused) {
    (void)unused;
    use_the_pool_again(pool);
}

static bool fail_to_start(void *data, wg_pool *which) {
    (void)data;
    if (wg_load_relaxed32(&place) != FAILED_START)
        return host_start(data, which);
    wg_store_relaxed32(&place, NOWHERE);
    in_child = sim_fork();
    if (in_child)
        sim_go("beside", submit_beside, NULL);
    return false;
}

static void host_forks_and_fails(void) {
    SIM_EQUAL(wg_pool_new(&pool, &(wg_pool_host){.start = fail_to_start, .cores = 1, .idle_time = 1}), WG_OK);
    wg_store_relaxed32(&place, FAILED_START);
    wg_status status = wg_go(&tasks, pool, count_run, NULL, NULL);
    SIM_EQUAL(status, in_child ? WG_OK : WG_NO_THREADS);
    SIM_EQUAL(wg_wait(&tasks, FOREVER), in_child ? WG_FORKED : WG_OK);
    if (!in_child)
        wg_pool_release(pool);
}

/* A worker forks in its task, or in an observer there: it is counted as computing once, and its core becomes free. */
static void fork_in_task(void *raw) {
    (void)raw;
    wg_store_relaxed32(&place, sim_pick(2) ? TASK : OBSERVER);
    run(NULL);
    become_main(NULL);
}

static void worker_forks(void) {
    SIM_EQUAL(wg_pool_new(&pool, &(wg_pool_host){.cores = 1, .idle_time = 1}), WG_OK);
    SIM_EQUAL(wg_go(&tasks, pool, fork_in_task, NULL, NULL), WG_OK);
    SIM_EQUAL(wg_wait(&tasks, FOREVER), WG_OK);
    wg_pool_release(pool);
}

/* Threads submit, take and go idle while this one forks. */
static void submit_two(void *unused) {
    (void)unused;
    for (int i = 0; i < 2; i++)
        SIM_EQUAL(wg_go(&tasks, pool, count_run, NULL, NULL), WG_OK);
}

static void fork_against_a_pool(void) {
    SIM_EQUAL(wg_pool_new(&pool, &(wg_pool_host){.cores = sim_pick(2) + 1, .idle_time = 1}), WG_OK);
    SIM_EQUAL(wg_go(&tasks, pool, count_run, NULL, NULL), WG_OK);
    struct sim_thread *other = sim_go("submit", submit_two, NULL);
    bool is_child = sim_fork();
    if (is_child) {
        wg_status status = wg_wait(&tasks, FOREVER);
        SIM_CHECK(status == WG_FORKED || status == WG_OK);
        use_the_pool_again(pool);
        SIM_CHECK(!sim_needed_time() || wg_pool_workers(pool) <= 2);
    } else {
        sim_join(other);
        SIM_EQUAL(wg_wait(&tasks, FOREVER), WG_OK);
        SIM_EQUAL(wg_load_relaxed32(&ran), 3);
    }
    wg_pool_release(pool);
}

const struct sim_scenario fork_scenarios[] = {
    {"deadline_from_before", deadline_from_before, .cores = 1, .exhaustive = 2, .spurious = false},
    {"observer_from_before", observer_from_before, .cores = 1, .exhaustive = 2, .spurious = false},
    {"timer_forks", timer_forks, .cores = 1, .exhaustive = 1, .spurious = false},
    {"end_under_way", end_under_way, .cores = 1, .exhaustive = 2, .spurious = false},
    {"observers_below_an_end_under_way", observers_below_an_end_under_way, .cores = 1, .exhaustive = 2,
     .spurious = false},
    {"pending_observer", pending_observer, .cores = 1, .exhaustive = 2, .spurious = false},
    {"host_forks_in_a_wait", host_forks_in_a_wait, .cores = 1, .exhaustive = 1, .spurious = false},
    {"host_forks_in_a_wait_for_a_context", host_forks_in_a_wait_for_a_context, .cores = 1, .exhaustive = 1,
     .spurious = false},
    {"waiter_forks", waiter_forks, .cores = 1, .exhaustive = 1, .spurious = false},
    {"observers_on_other_stacks", observers_on_other_stacks, .cores = 1, .exhaustive = 2, .spurious = false},
    {"observer_being_called", observer_being_called, .cores = 1, .exhaustive = 2, .spurious = false},
    {"descriptor_of_the_parent", descriptor_of_the_parent, .cores = 1, .exhaustive = 1, .spurious = false},
    {"leave_with_an_error", leave_with_an_error, .cores = 1, .exhaustive = 1, .spurious = false},
    {"waiter_for_a_slot", waiter_for_a_slot, .cores = 1, .exhaustive = 1, .spurious = false},
    {"waiter_that_holds_a_slot", waiter_that_holds_a_slot, .cores = 1, .exhaustive = 1, .spurious = false},
    {"outcome_under_way", outcome_under_way, .cores = 1, .exhaustive = 2, .spurious = false},
    {"host_forks_and_fails", host_forks_and_fails, .cores = 1, .exhaustive = 2, .spurious = false},
    {"pool_forks", pool_forks, .cores = 1, .exhaustive = 1, .spurious = false},
    {"worker_forks", worker_forks, .cores = 1, .exhaustive = 1, .spurious = false},
    {"fork_against_a_pool", fork_against_a_pool, .cores = 1, .exhaustive = 1, .spurious = false},
    {0},
};
