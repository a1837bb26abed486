/* In the child of a fork: idle objects work, the pool starts afresh, and waiting for what was in flight in the parent is
 * a status, not a hang. */
#include "slow_call.h"
#include "tasks.h"

#include <sys/wait.h>
#include <unistd.h>

/* It cannot follow the threads of a child whose parent had threads. */
#define SKIP_UNDER_THREAD_SANITIZER                                                                                    \
    if (THREAD_SANITIZER)                                                                                              \
    skip()

static void use_everything(void) {
    wg_errgroup *g;
    wg_context *ctx;
    atomic_int ran = 0;
    REQUIRE(wg_errgroup_new(&g, &(wg_errgroup_options){.parent = wg_context_root(), .limit = 2}) == WG_OK);
    for (int i = 0; i < 20; i++)
        REQUIRE(wg_errgroup_go(g, count, &ran, NULL, NULL) == WG_OK);
    REQUIRE(wg_errgroup_wait(g, AFTER(HANG), NULL) == WG_OK);
    REQUIRE(atomic_load(&ran) == 20);
    wg_errgroup_release(g);
    REQUIRE(wg_context_new(&ctx, wg_context_root(), wg_after(WG_MILLISECOND)) == WG_OK);
    EVENTUALLY(wg_context_status(ctx) == WG_DEADLINE_EXCEEDED);
    wg_context_release(ctx);
}

/* Idle objects, made in the parent. */
static struct {
    wg_waitgroup wg;
    wg_context *ctx, *child, *late;
    wg_errgroup *g, *in_own_pool;
    wg_pool *pool;
    wg_observer observer;
    atomic_int called, ran;
} idle;

static void tell(void *times) { atomic_fetch_add((atomic_int *)times, 1); }

static void use_idle_objects(void) {
    REQUIRE(wg_wait(&idle.wg, NULL) == WG_OK);
    REQUIRE(wg_add(&idle.wg, 1) == WG_OK);
    REQUIRE(wg_wait(&idle.wg, POLL) == WG_TIMEOUT); /* of this process now */
    REQUIRE(wg_done(&idle.wg) == WG_OK);
    REQUIRE(wg_errgroup_go(idle.g, count, &idle.ran, NULL, NULL) == WG_OK);
    REQUIRE(wg_errgroup_wait(idle.g, NULL, NULL) == WG_OK);
    REQUIRE(wg_errgroup_go(idle.in_own_pool, count, &idle.ran, NULL, NULL) == WG_OK);
    REQUIRE(wg_errgroup_wait(idle.in_own_pool, NULL, NULL) == WG_OK);
    REQUIRE(atomic_load(&idle.ran) == 2);
    REQUIRE(wg_context_status(idle.ctx) == WG_OK);
    REQUIRE(wg_context_cancel(idle.ctx, NULL) == WG_OK);
    REQUIRE(wg_context_status(idle.child) == WG_CANCELLED);
    REQUIRE(atomic_load(&idle.called) == 1);
    REQUIRE(wg_context_wait(idle.late, NULL) == WG_OK);
    REQUIRE(wg_context_status(idle.late) == WG_DEADLINE_EXCEEDED);
    use_everything();
    wg_errgroup_release(idle.g);
    wg_errgroup_release(idle.in_own_pool);
    wg_context_release(idle.child);
    wg_context_release(idle.ctx);
    wg_context_release(idle.late);
    wg_pool_stop(idle.pool);
    wg_pool_release(idle.pool);
}

static uint32_t first_epoch;

static void use_idle_objects_in_the_second_child(void) {
    REQUIRE(wg_fork_epoch() == first_epoch + 2);
    use_idle_objects();
}

static void use_idle_objects_and_fork_again(void) {
    REQUIRE(wg_fork_epoch() == first_epoch + 1);
    REQUIRE(in_child(use_idle_objects_in_the_second_child));
    use_idle_objects();
}

static void idle_objects_work_in_the_child_and_in_its_child(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    use_everything(); /* so that there are threads, which the child will not have */
    assert_status(wg_add(&idle.wg, 1), WG_OK);
    assert_status(wg_done(&idle.wg), WG_OK);
    assert_status(wg_context_new(&idle.ctx, NULL, WG_FOREVER), WG_OK);
    assert_status(wg_context_new(&idle.child, idle.ctx, WG_FOREVER), WG_OK);
    assert_status(wg_context_new(&idle.late, NULL, wg_after(5 * SOON)), WG_OK);
    assert_status(wg_event_observe(wg_ended(idle.child), &idle.observer, tell, &idle.called), WG_OK);
    assert_status(wg_pool_new(&idle.pool, &(wg_pool_host){.cores = 2}), WG_OK);
    wg_waitgroup wg = WG_INIT;
    assert_status(wg_go(&wg, idle.pool, tell, &idle.called, NULL), WG_OK);
    assert_status(wg_wait(&wg, NULL), WG_OK);
    atomic_store(&idle.called, 0);
    idle.g = new_group((wg_errgroup_options){.limit = 3});
    idle.in_own_pool = new_group((wg_errgroup_options){.pool = idle.pool});
    first_epoch = wg_fork_epoch();
    assert_true(in_child(use_idle_objects_and_fork_again));
    assert_int_equal(wg_fork_epoch(), first_epoch);
    use_idle_objects(); /* and in the parent all is as it was */
}

/* Work in flight. */
static struct {
    struct gate gate;
    wg_waitgroup wg;
    wg_errgroup *g, *limited;
    wg_context *ctx;
} busy;

static void pass_busy_gate(void *unused) {
    (void)unused;
    pass_gate(&busy.gate, NULL);
}

static void meet_what_was_in_flight(void) {
    wg_error *first = wg_error_no_memory();
    REQUIRE(wg_pool_workers(NULL) == 0 && wg_pool_queued(NULL) == 0);
    REQUIRE(wg_count(&busy.wg) == 1);
    REQUIRE(wg_wait(&busy.wg, NULL) == WG_FORKED);
    REQUIRE(wg_wait(&busy.wg, POLL) == WG_FORKED);
    REQUIRE(wg_errgroup_wait(busy.g, NULL, &first) == WG_FORKED && first == wg_error_no_memory());
    REQUIRE(wg_errgroup_go(busy.g, succeed, NULL, NULL, NULL) == WG_FORKED);
    REQUIRE(wg_errgroup_try_go(busy.g, succeed, NULL, NULL) == WG_FORKED);
    REQUIRE(wg_errgroup_go(busy.limited, succeed, NULL, NULL, NULL) == WG_FORKED);
    REQUIRE(wg_errgroup_enter(busy.limited) == WG_FORKED);
    REQUIRE(wg_errgroup_wait(busy.limited, NULL, NULL) == WG_FORKED);
    REQUIRE(wg_errgroup_cancel(busy.g, NULL) == WG_OK);
    REQUIRE(wg_errgroup_wait(busy.g, NULL, NULL) == WG_FORKED);
    wg_errgroup_release(busy.g);
    wg_errgroup_release(busy.limited);
    /* The child may take the count down itself, and use the wait group again. */
    REQUIRE(wg_add(&busy.wg, 1) == WG_OK);
    REQUIRE(wg_wait(&busy.wg, NULL) == WG_FORKED);
    REQUIRE(wg_add(&busy.wg, -2) == WG_OK);
    REQUIRE(wg_wait(&busy.wg, NULL) == WG_OK);
    REQUIRE(wg_go(&busy.wg, NULL, tell, &idle.called, NULL) == WG_OK);
    REQUIRE(wg_wait(&busy.wg, NULL) == WG_OK);
    use_everything();
}

static void waiting_for_what_was_in_flight_is_a_status(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    atomic_int ran = 0;
    busy.g = new_group((wg_errgroup_options){0});
    busy.limited = new_group((wg_errgroup_options){.limit = 1});
    go(busy.g, pass_gate, &busy.gate);
    go(busy.limited, pass_gate, &busy.gate);
    assert_status(wg_go(&busy.wg, NULL, pass_busy_gate, NULL, NULL), WG_OK);
    EVENTUALLY(atomic_load(&busy.gate.inside) == 3);
    for (int i = 0; i < 5; i++)
        assert_true(in_child(meet_what_was_in_flight));
    go(busy.g, count, &ran); /* the parent does not notice */
    gate_open(&busy.gate);
    assert_status(wg_errgroup_wait(busy.g, NULL, NULL), WG_OK);
    assert_status(wg_errgroup_wait(busy.limited, NULL, NULL), WG_OK);
    assert_status(wg_wait(&busy.wg, NULL), WG_OK);
    assert_int_equal(atomic_load(&ran), 1);
    wg_errgroup_release(busy.g);
    wg_errgroup_release(busy.limited);
}

/* Threads of the parent that sleep on an object are not woken by the child, nor looked for there. */
static wg_waitgroup awaited;
static wg_context *awaited_ctx;

static void *wait_for_both(void *unused) {
    (void)unused;
    REQUIRE(wg_wait(&awaited, WITH(awaited_ctx)) == WG_OK);
    return NULL;
}

static void end_what_others_wait_for(void) {
    REQUIRE(wg_context_cancel(awaited_ctx, NULL) == WG_OK);
    REQUIRE(wg_done(&awaited) == WG_OK);
    REQUIRE(wg_wait(&awaited, NULL) == WG_OK);
    use_everything();
}

static void sleepers_stay_in_the_parent(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    struct thread t[3];
    assert_status(wg_add(&awaited, 1), WG_OK);
    assert_status(wg_context_new(&awaited_ctx, NULL, WG_FOREVER), WG_OK);
    for (int i = 0; i < 3; i++) {
        thread_start(&t[i], wait_for_both, NULL);
        let_sleep_on(&awaited, i + 1);
    }
    assert_true(in_child(end_what_others_wait_for));
    assert_int_equal(wg_count(&awaited), 1);
    assert_status(wg_done(&awaited), WG_OK);
    for (int i = 0; i < 3; i++)
        thread_join(&t[i]);
    wg_context_release(awaited_ctx);
}

/* From inside a task. */
static wg_errgroup *own_group;

static void be_a_child_in_a_task(void) {
    REQUIRE(wg_context_current() == wg_errgroup_context(own_group));
    REQUIRE(wg_errgroup_wait(own_group, NULL, NULL) == WG_DEADLOCK);
    REQUIRE(wg_errgroup_go(own_group, succeed, NULL, NULL, NULL) == WG_FORKED);
    use_everything();
    wg_waitgroup wg = WG_INIT;
    REQUIRE(wg_go(&wg, NULL, tell, &idle.called, NULL) == WG_OK);
    REQUIRE(wg_wait(&wg, AFTER(HANG)) == WG_OK); /* a worker that blocks, in the child */
}

static wg_error *fork_in_task(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    REQUIRE(in_child(be_a_child_in_a_task));
    return NULL;
}

static void a_task_may_fork(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    own_group = new_group((wg_errgroup_options){0});
    for (int i = 0; i < 4; i++)
        go(own_group, fork_in_task, NULL);
    assert_status(wg_errgroup_wait(own_group, AFTER(HANG), NULL), WG_OK); /* with a deadline: run by workers */
    wg_errgroup_release(own_group);
}

/* The task ends in the child too, and its thread goes on as the only worker there. */
static pid_t forked;

static wg_error *fork_and_return_twice(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    forked = fork();
    REQUIRE(forked >= 0);
    return NULL;
}

static void *work_and_exit_in_child(void *pool) {
    wg_pool_work(pool);
    if (forked == 0)
        end_child(wg_pool_workers(pool) == 0 ? 42 : 1);
    return NULL;
}

static bool start_worker(void *unused, wg_pool *pool) {
    pthread_t t;
    (void)unused;
    if (pthread_create(&t, NULL, work_and_exit_in_child, pool) != 0)
        return false;
    pthread_detach(t);
    return true;
}

static void a_worker_goes_on_in_the_child(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    wg_pool *pool;
    int status;
    assert_status(wg_pool_new(&pool, &(wg_pool_host){.start = start_worker, .idle_time = WG_MILLISECOND}), WG_OK);
    wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool});
    fflush(NULL);
    go(g, fork_and_return_twice, NULL);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(waitpid(forked, &status, 0), forked);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    wg_errgroup_release(g);
    EVENTUALLY(wg_pool_workers(pool) == 0);
    wg_pool_release(pool);
}

/* From inside an observer's call: in the child too, the others are called. */
static struct {
    wg_waitgroup wg;
    wg_observer observers[3];
    atomic_int called;
    bool is_child;
} calls;

static void fork_when_called(void *unused) {
    (void)unused;
    fflush(NULL);
    forked = fork();
    REQUIRE(forked >= 0);
    calls.is_child = forked == 0;
}

static void an_observer_may_fork(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    int status;
    assert_status(wg_add(&calls.wg, 1), WG_OK);
    assert_status(wg_event_observe(wg_zero(&calls.wg), &calls.observers[0], tell, &calls.called), WG_OK);
    assert_status(wg_event_observe(wg_zero(&calls.wg), &calls.observers[1], fork_when_called, NULL), WG_OK);
    assert_status(wg_event_observe(wg_zero(&calls.wg), &calls.observers[2], tell, &calls.called), WG_OK);
    wg_status done = wg_done(&calls.wg);
    if (calls.is_child) {
        use_everything();
        end_child(done == WG_OK && atomic_load(&calls.called) == 2 ? 42 : 1);
    }
    assert_int_equal(waitpid(forked, &status, 0), forked);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    assert_int_equal(atomic_load(&calls.called), 2);
}

/* Another thread is in an observer's call: that, and the calls it would have made next, stay in the parent. */
static struct {
    wg_waitgroup wg;
    wg_observer running, pending;
    atomic_int called;
} lost;

static void *call_both(void *unused) {
    (void)unused;
    REQUIRE(wg_done(&lost.wg) == WG_OK);
    return NULL;
}

static void do_without_lost_calls(void) {
    REQUIRE(!wg_event_unobserve_sync(wg_zero(&lost.wg), &lost.running));
    REQUIRE(!wg_event_unobserve_sync(wg_zero(&lost.wg), &lost.pending));
    REQUIRE(wg_add(&lost.wg, 1) == WG_OK);
    REQUIRE(wg_event_observe(wg_zero(&lost.wg), &lost.pending, tell, &lost.called) == WG_OK);
    REQUIRE(wg_done(&lost.wg) == WG_OK);
    REQUIRE(atomic_load(&lost.called) == 1);
}

static void calls_of_other_threads_stay_in_the_parent(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    struct thread caller;
    expect_slow_call();
    assert_status(wg_add(&lost.wg, 1), WG_OK);
    assert_status(wg_event_observe(wg_zero(&lost.wg), &lost.running, run_long, NULL), WG_OK);
    assert_status(wg_event_observe(wg_zero(&lost.wg), &lost.pending, tell, &lost.called), WG_OK);
    thread_start(&caller, call_both, NULL);
    EVENTUALLY(atomic_load(&in_call));
    assert_true(in_child(do_without_lost_calls));
    atomic_store(&may_return, true);
    thread_join(&caller);
    assert_int_equal(atomic_load(&lost.called), 1);
}

/* Descriptors are shared with the parent: the child neither raises nor clears the parent's. */
static struct {
    wg_waitgroup wg;
    wg_watch *watch, *raised;
    wg_context *ctx;
    int fd;
} shared;

static void leave_descriptors_alone(void) {
    int fd = -7;
    REQUIRE(wg_context_fd(shared.ctx, &fd) == WG_FORKED && fd == -7);
    REQUIRE(wg_context_cancel(shared.ctx, NULL) == WG_OK);
    REQUIRE(wg_add(&shared.wg, 1) == WG_OK);
    REQUIRE(wg_watch_fd(shared.raised) == -1); /* at a count that is not zero, this would clear it */
    REQUIRE(wg_watch_fd(shared.watch) == -1);
    REQUIRE(wg_add(&shared.wg, -2) == WG_OK);
    wg_watch_free(shared.watch);
    wg_watch_free(shared.raised);
    wg_context_release(shared.ctx);
    REQUIRE(wg_context_new(&shared.ctx, NULL, WG_POLL) == WG_OK);
    REQUIRE(wg_context_fd(shared.ctx, &fd) == WG_OK && readable(fd));
    REQUIRE(wg_watch_new(&shared.watch, &shared.wg) == WG_OK && readable(wg_watch_fd(shared.watch)));
}

static void descriptors_of_the_parent_are_left_alone(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    assert_status(wg_watch_new(&shared.raised, &shared.wg), WG_OK);
    assert_true(readable(wg_watch_fd(shared.raised)));
    assert_status(wg_add(&shared.wg, 1), WG_OK);
    assert_status(wg_watch_new(&shared.watch, &shared.wg), WG_OK);
    assert_status(wg_context_new(&shared.ctx, NULL, WG_FOREVER), WG_OK);
    assert_status(wg_context_fd(shared.ctx, &shared.fd), WG_OK);
    int watch_fd = wg_watch_fd(shared.watch);
    assert_true(in_child(leave_descriptors_alone));
    assert_false(readable(shared.fd));
    assert_false(readable(watch_fd));
    assert_status(wg_done(&shared.wg), WG_OK);
    assert_true(readable(watch_fd));
    assert_true(readable(wg_watch_fd(shared.raised)));
    wg_watch_free(shared.watch);
    wg_watch_free(shared.raised);
    wg_context_release(shared.ctx);
}

/* Other threads hold any lock there is at the fork. */
static atomic_bool stop;
static wg_waitgroup hammered;

static void *hammer(void *unused) {
    (void)unused;
    while (!atomic_load(&stop)) {
        wg_context *parent, *child;
        wg_errgroup *g;
        wg_observer observer;
        wg_waitgroup wg = WG_INIT;
        atomic_int n = 0;
        REQUIRE(wg_add(&hammered, 1) == WG_OK);
        wg_wait(&hammered, AFTER(1));
        REQUIRE(wg_done(&hammered) == WG_OK);
        REQUIRE(wg_context_new(&parent, NULL, wg_after(100000)) == WG_OK);
        REQUIRE(wg_context_new(&child, parent, WG_FOREVER) == WG_OK);
        wg_event_observe(wg_ended(child), &observer, tell, &n);
        wg_context_cancel(parent, NULL);
        wg_event_unobserve_sync(wg_ended(child), &observer);
        REQUIRE(wg_errgroup_new(&g, &(wg_errgroup_options){.limit = 1}) == WG_OK);
        for (int i = 0; i < 5; i++)
            REQUIRE(wg_errgroup_go(g, count, &n, NULL, NULL) == WG_OK);
        REQUIRE(wg_go(&wg, NULL, tell, &n, NULL) == WG_OK);
        REQUIRE(wg_errgroup_wait(g, NULL, NULL) == WG_OK);
        REQUIRE(wg_wait(&wg, NULL) == WG_OK);
        wg_errgroup_release(g);
        wg_context_release(child);
        wg_context_release(parent);
    }
    return NULL;
}

/* All in one list, so that a lock that is given back by the wrong thread does harm. */
static wg_waitgroup observed;

static void *hammer_locks(void *unused) {
    wg_observer observer;
    while (!atomic_load(&stop)) {
        wg_context *ctx;
        for (int i = 0; i < 100; i++) {
            REQUIRE(wg_event_observe(wg_zero(&observed), &observer, tell, unused) == WG_OK);
            REQUIRE(wg_event_unobserve(wg_zero(&observed), &observer));
            wg_pool_workers(NULL);
        }
        REQUIRE(wg_context_new(&ctx, NULL, wg_after(HANG)) == WG_OK);
        wg_context_release(ctx);
    }
    return NULL;
}

/* Wait groups enough for all locks that their addresses may fall to. */
static void use_every_lock(void) {
    static wg_waitgroup many[4096];
    for (int i = 0; i < 4096; i++) {
        wg_observer observer;
        REQUIRE(wg_add(&many[i], 1) == WG_OK);
        REQUIRE(wg_event_observe(wg_zero(&many[i]), &observer, tell, NULL) == WG_OK);
        REQUIRE(wg_event_unobserve(wg_zero(&many[i]), &observer));
        REQUIRE(wg_done(&many[i]) == WG_OK);
    }
    use_everything();
}

static void forks_in_the_middle_of_everything(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    if (ALLOCATOR_HANGS_IN_CHILD)
        skip();
    struct thread t[3];
    assert_status(wg_add(&observed, 1), WG_OK);
    for (int i = 0; i < 3; i++)
        thread_start(&t[i], i == 0 ? hammer : hammer_locks, NULL);
    for (int i = 0; i < effort(100); i++)
        assert_true(in_child(use_every_lock));
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++)
        thread_join(&t[i]);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_objects_work_in_the_child_and_in_its_child),
        cmocka_unit_test(waiting_for_what_was_in_flight_is_a_status),
        cmocka_unit_test(sleepers_stay_in_the_parent),
        cmocka_unit_test(a_task_may_fork),
        cmocka_unit_test(a_worker_goes_on_in_the_child),
        cmocka_unit_test(an_observer_may_fork),
        cmocka_unit_test(calls_of_other_threads_stay_in_the_parent),
        cmocka_unit_test(descriptors_of_the_parent_are_left_alone),
        cmocka_unit_test(forks_in_the_middle_of_everything),
    };
    return RUN("fork", tests);
}
