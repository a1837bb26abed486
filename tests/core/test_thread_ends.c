/* Threads that end inside a call of the library, in whatever of the program's code it calls: the task has failed, its end is
 * complete, and everybody else goes on. */
#include "held_timer.h"
#include "tasks.h"

#include <time.h>
#include <unistd.h>

/* Each way in which a task may end its thread. */

static _Noreturn void exits(void) { pthread_exit(NULL); }

/* At pthread_testcancel: where ThreadSanitizer stands in for a call, it does not get over the end of the thread in it. */
static _Noreturn void is_cancelled(void) {
    pthread_cancel(pthread_self());
    for (;;)
        pthread_testcancel();
}

static void (*const ways[])(void) = {exits, is_cancelled};

/* What happened to a task. */
struct task {
    void (*end_in_fn)(void), (*end_in_settled)(void), (*end_in_ended)(void); /* NULL: it returns */
    atomic_int ran, settled, ended;
    wg_how how;
};

static void count_and(atomic_int *counter, void (*end)(void)) {
    atomic_fetch_add(counter, 1);
    if (end)
        end();
}

static wg_error *run(void *raw, wg_context *ctx) {
    struct task *task = raw;
    (void)ctx;
    count_and(&task->ran, task->end_in_fn);
    return NULL;
}

static void settled(void *raw, wg_how how) {
    struct task *task = raw;
    task->how = how;
    count_and(&task->settled, task->end_in_settled);
}

static void ended(void *raw) {
    struct task *task = raw;
    count_and(&task->ended, task->end_in_ended);
}

static void run_plain(void *raw) { run(raw, NULL); }
static void destroy(void *raw) { settled(raw, WG_SUCCEEDED); }

/* A pool whose workers leave soon; what ends in them must leave it as it was. */
static atomic_int workers_left;

static void worker_leaves(void *unused) {
    (void)unused;
    atomic_fetch_add(&workers_left, 1);
}

static wg_pool *new_pool(void) {
    wg_pool *pool;
    atomic_store(&workers_left, 0);
    assert_status(wg_pool_new(&pool, &(wg_pool_host){.leave = worker_leaves, .cores = 2, .idle_time = 1}), WG_OK);
    return pool;
}

static void the_pool_is_as_it_was(wg_pool *pool) {
    EVENTUALLY(wg_pool_workers(pool) == 0);
    wg_waitgroup wg = WG_INIT;
    struct task task = {0};
    assert_int_equal(wg_pool_queued(pool), 0);
    assert_status(wg_go(&wg, pool, run_plain, &task, NULL), WG_OK);
    assert_status(wg_wait(&wg, AFTER(HANG)), WG_OK);
    EVENTUALLY(wg_pool_workers(pool) == 0);
    assert_int_equal(task.ran, 1);
    EVENTUALLY(atomic_load(&workers_left) > 0);
}

static wg_status in_a_group(wg_pool *pool, struct task *task, wg_error **first) {
    wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool, .limit = 1});
    wg_task start = {.fn = run, .arg = task, .settled = settled, .ended = ended};
    assert_status(wg_errgroup_start(g, &start, NULL), WG_OK);
    wg_status status = wg_errgroup_wait(g, AFTER(HANG), first);
    wg_errgroup_release(g);
    EVENTUALLY(atomic_load(&task->ended) == 1);
    return status;
}

static void a_task_that_ends_its_thread_has_failed(void **state) {
    (void)state;
    wg_pool *pool = new_pool();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct task task = {.end_in_fn = ways[i]};
        wg_error *first;
        assert_status(in_a_group(pool, &task, &first), WG_FAILED);
        assert_ptr_equal(first, wg_error_thread_ended());
        assert_int_equal(task.settled, 1);
        assert_int_equal(task.how, WG_TASK_FAILED);
    }
    the_pool_is_as_it_was(pool);
    wg_pool_release(pool);
}

static void it_may_end_when_it_is_told_how_the_task_ended(void **state) {
    (void)state;
    wg_pool *pool = new_pool();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct task task = {.end_in_settled = ways[i]};
        assert_status(in_a_group(pool, &task, NULL), WG_OK);
        assert_int_equal(task.settled, 1);
        assert_int_equal(task.how, WG_SUCCEEDED);
        struct task last = {.end_in_ended = ways[i]};
        assert_status(in_a_group(pool, &last, NULL), WG_OK);
        assert_int_equal(last.settled, 1);
    }
    the_pool_is_as_it_was(pool);
    wg_pool_release(pool);
}

static void tasks_of_a_plain_wait_group_are_done(void **state) {
    (void)state;
    wg_pool *pool = new_pool();
    wg_waitgroup wg = WG_INIT;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct task in_fn = {.end_in_fn = ways[i]}, in_destroy = {.end_in_settled = ways[i]};
        struct task whole = {.end_in_fn = ways[i]}, late = {.end_in_ended = ways[i]};
        assert_status(wg_go(&wg, pool, run_plain, &in_fn, destroy), WG_OK);
        assert_status(wg_go(&wg, pool, run_plain, &in_destroy, destroy), WG_OK);
        assert_status(wg_start(&wg, &(wg_task){run, &whole, settled, ended, pool, NULL}), WG_OK);
        assert_status(wg_start(&wg, &(wg_task){run, &late, settled, ended, pool, NULL}), WG_OK);
        assert_status(wg_wait(&wg, AFTER(HANG)), WG_OK);
        EVENTUALLY(atomic_load(&whole.ended) == 1 && atomic_load(&late.ended) == 1);
        assert_int_equal(in_fn.settled, 1);
        assert_int_equal(in_destroy.settled, 1);
        assert_int_equal(whole.how, WG_TASK_FAILED);
        assert_int_equal(late.how, WG_SUCCEEDED);
    }
    the_pool_is_as_it_was(pool);
    wg_pool_release(pool);
}

/* An error's destructor, run by the worker whose task stopped as it was told to. */
static void destroy_and_exit(void *destroyed) {
    atomic_fetch_add((atomic_int *)destroyed, 1);
    pthread_exit(NULL);
}

static wg_error *stop_badly(void *destroyed, wg_context *ctx) {
    REQUIRE(wg_context_wait(ctx, NULL) == WG_OK);
    return wg_error_new(WG_ERROR_STOP, destroyed, destroy_and_exit);
}

static void it_may_end_when_an_error_is_destroyed(void **state) {
    (void)state;
    wg_pool *pool = new_pool();
    atomic_int destroyed = 0;
    wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool});
    go(g, stop_badly, &destroyed);
    EVENTUALLY(wg_errgroup_get_counts(g).running == 1);
    assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, AFTER(HANG), NULL), WG_OK);
    assert_int_equal(atomic_load(&destroyed), 1);
    wg_errgroup_release(g);
    the_pool_is_as_it_was(pool);
    wg_pool_release(pool);
}

/* A thread of the program's own that waits, and may run tasks meanwhile. */
struct waiter {
    wg_errgroup *group;
    int pipe;
    atomic_int waits;
    atomic_bool returned;
};

static void *wait_and_help(void *raw) {
    struct waiter *waiter = raw;
    wg_errgroup_wait(waiter->group, NULL, NULL);
    atomic_store(&waiter->returned, true);
    return NULL;
}

static void a_thread_that_helps_may_be_ended_by_the_task(void **state) {
    (void)state;
    wg_pool *pool;
    assert_status(wg_pool_new(&pool, &(wg_pool_host){.cores = 1, .callers_help = true, .idle_time = 1}), WG_OK);
    for (int i = 0; i < effort(50); i++) {
        struct task tasks[4] = {{.end_in_fn = exits}, {.end_in_fn = exits}, {.end_in_settled = exits}, {.ran = 0}};
        struct waiter waiter = {.group = new_group((wg_errgroup_options){.pool = pool, .continue_on_error = true})};
        struct thread t;
        for (int j = 0; j < 4; j++) {
            wg_task start = {.fn = run, .arg = &tasks[j], .settled = settled, .ended = ended};
            assert_status(wg_errgroup_start(waiter.group, &start, NULL), WG_OK);
        }
        thread_start(&t, wait_and_help, &waiter);
        assert_status(wg_errgroup_wait(waiter.group, AFTER(HANG), NULL), WG_FAILED);
        thread_join(&t);
        assert_int_equal(wg_errgroup_errors(waiter.group, NULL, 0), 2);
        for (int j = 0; j < 4; j++)
            EVENTUALLY(atomic_load(&tasks[j].ended) == 1 && atomic_load(&tasks[j].settled) == 1);
        wg_errgroup_release(waiter.group);
    }
    wg_pool_release(pool);
}

/* A task that waits for a group whose task, run inside that wait, ends the thread: both have failed. */
static wg_errgroup *inner_group;

static wg_error *wait_for_inner(void *raw, wg_context *ctx) {
    (void)ctx;
    wg_errgroup *g;
    if (wg_errgroup_new(&g, NULL) != WG_OK)
        return wg_error_no_memory();
    struct task *inner = raw;
    REQUIRE(wg_errgroup_go(g, run, inner, NULL, NULL) == WG_OK);
    inner_group = g; /* given up by the test: this thread may end in the wait */
    wg_errgroup_wait(g, NULL, NULL);
    return NULL;
}

static void tasks_below_it_on_the_stack_have_failed_too(void **state) {
    (void)state;
    leaves_tasks();
    int both = 0;
    for (int i = 0; i < effort(200); i++) {
        struct task inner = {.end_in_fn = exits};
        wg_errgroup *outer = new_group((wg_errgroup_options){0});
        go(outer, wait_for_inner, &inner);
        wg_status status = wg_errgroup_wait(outer, AFTER(HANG), NULL);
        assert_true(status == WG_FAILED || status == WG_OK); /* OK: another worker took the inner task */
        assert_int_equal(atomic_load(&inner.ran), 1);
        both += status == WG_FAILED;
        wg_errgroup_release(outer);
        wg_errgroup_release(inner_group);
    }
    print_message("%d times both\n", both);
}

/* Cancellation acts in tasks, and in nothing of ours. */

static void *wait_in_a_cancelled_thread(void *raw) {
    struct waiter *waiter = raw;
    pthread_cancel(pthread_self());
    wg_waitgroup *tasks = wg_errgroup_tasks(waiter->group);
    REQUIRE(wg_dump(waiter->pipe) == WG_OK);
    REQUIRE(wg_leaks(waiter->pipe, 0) > 0);
    REQUIRE(wg_wait(tasks, AFTER(HANG)) == WG_OK);
    REQUIRE(wg_context_wait(wg_errgroup_context(waiter->group), POLL) == WG_TIMEOUT);
    REQUIRE(wg_errgroup_wait(waiter->group, NULL, NULL) == WG_OK);
    atomic_store(&waiter->returned, true);
    pthread_testcancel();
    return waiter;
}

static void calls_of_ours_are_no_points_of_cancellation(void **state) {
    (void)state;
    struct gate gate = {0};
    struct waiter waiter = {.group = new_group((wg_errgroup_options){0})};
    struct thread t;
    void *result;
    int fd, ends[2];
    assert_int_equal(pipe(ends), 0);
    waiter.pipe = ends[1];
    /* Whose end is told by a write. */
    assert_status(wg_context_fd(wg_errgroup_context(waiter.group), &fd), WG_OK);
    go(waiter.group, pass_gate, &gate);
    thread_start(&t, wait_in_a_cancelled_thread, &waiter);
    let_sleep_on(wg_errgroup_tasks(waiter.group), 1);
    gate_open(&gate);
    assert_int_equal(pthread_join(t.id, &result), 0);
    assert_true(atomic_load(&waiter.returned));
    assert_ptr_equal(result, PTHREAD_CANCELED);
    wg_errgroup_release(waiter.group);
    close(ends[0]);
    close(ends[1]);
}

/* Cancelled, but it never comes to a point where that acts. */
static void ignore_cancellation(void *unused) {
    (void)unused;
    pthread_cancel(pthread_self());
}

static void come_to_a_point(void *ran) {
    pthread_testcancel();
    atomic_fetch_add((atomic_int *)ran, 1);
}

static void a_cancelled_worker_does_not_take_the_next_task_with_it(void **state) {
    (void)state;
    wg_pool *pool = new_pool();
    wg_waitgroup wg = WG_INIT;
    atomic_int ran = 0;
    for (int i = 0; i < 100; i++) {
        assert_status(wg_go(&wg, pool, ignore_cancellation, NULL, NULL), WG_OK);
        assert_status(wg_go(&wg, pool, come_to_a_point, &ran, NULL), WG_OK);
    }
    assert_status(wg_wait(&wg, AFTER(HANG)), WG_OK);
    assert_int_equal(atomic_load(&ran), 100);
    the_pool_is_as_it_was(pool);
    wg_pool_release(pool);
}

/* A task that has everything against it: all groups end all the same, and nobody else hears of it. */
static void a_storm_of_ends_disturbs_no_other_group(void **state) {
    (void)state;
    wg_pool *pool = new_pool();
    for (int round = 0; round < effort(20); round++) {
        enum { TASKS = 40 };
        struct task bad[TASKS] = {0}, good[TASKS] = {0};
        wg_errgroup *doomed = new_group((wg_errgroup_options){.pool = pool, .limit = 3, .continue_on_error = true});
        wg_errgroup *sound = new_group((wg_errgroup_options){.pool = pool, .limit = 3});
        for (int i = 0; i < TASKS; i++) {
            void (*way)(void) = ways[i % 2];
            if (i % 4 == 0)
                bad[i].end_in_fn = way;
            else if (i % 4 == 1)
                bad[i].end_in_settled = way;
            else if (i % 4 == 2)
                bad[i].end_in_ended = way;
            wg_task task = {.fn = run, .arg = &bad[i], .settled = settled, .ended = ended};
            assert_status(wg_errgroup_start(doomed, &task, NULL), WG_OK);
            task.arg = &good[i];
            assert_status(wg_errgroup_start(sound, &task, NULL), WG_OK);
        }
        assert_status(wg_errgroup_wait(doomed, AFTER(HANG), NULL), WG_FAILED);
        assert_status(wg_errgroup_wait(sound, AFTER(HANG), NULL), WG_OK);
        assert_int_equal(wg_errgroup_errors(doomed, NULL, 0), TASKS / 4);
        for (int i = 0; i < TASKS; i++) {
            EVENTUALLY(atomic_load(&bad[i].ended) == 1 && atomic_load(&good[i].ended) == 1);
            assert_int_equal(atomic_load(&bad[i].settled) + atomic_load(&good[i].settled), 2);
        }
        wg_errgroup_release(doomed);
        wg_errgroup_release(sound);
    }
    the_pool_is_as_it_was(pool);
    wg_pool_release(pool);
}

/* Observers. */

static atomic_int called;

static void observe_and_exit(void *unused) {
    (void)unused;
    atomic_fetch_add(&called, 1);
    pthread_exit(NULL);
}

static void only_observe(void *unused) {
    (void)unused;
    atomic_fetch_add(&called, 1);
}

static void *call_done(void *wg) {
    wg_done(wg);
    return wg; /* never comes to this */
}

static void *call_cancel(void *ctx) {
    wg_context_cancel(ctx, NULL);
    return ctx;
}

static void an_observer_of_a_wait_group_may_end_the_thread(void **state) {
    (void)state;
    for (int exits_at = 0; exits_at < 3; exits_at++) {
        wg_waitgroup wg = WG_INIT;
        wg_observer observers[3];
        atomic_store(&called, 0);
        assert_status(wg_add(&wg, 1), WG_OK);
        for (int i = 0; i < 3; i++)
            assert_status(
                wg_event_observe(wg_zero(&wg), &observers[i], i == exits_at ? observe_and_exit : only_observe, NULL),
                WG_OK);
        thread_ends_in(call_done, &wg);
        assert_int_equal(atomic_load(&called), 3);
        for (int i = 0; i < 3; i++)
            assert_false(wg_event_unobserve_sync(wg_zero(&wg), &observers[i]));
        assert_status(wg_add(&wg, 1), WG_OK); /* the lock is free, and it works as ever */
        assert_status(wg_wait(&wg, AFTER(WG_MILLISECOND)), WG_TIMEOUT);
        assert_status(wg_done(&wg), WG_OK);
    }
}

static void *call_observe(void *wg) {
    wg_observer observer;
    wg_event_observe(wg_zero(wg), &observer, observe_and_exit, NULL);
    return wg;
}

static void an_observer_called_at_once_may_end_the_thread(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    atomic_store(&called, 0);
    thread_ends_in(call_observe, &wg);
    assert_int_equal(atomic_load(&called), 1);
    assert_status(wg_add(&wg, 1), WG_OK);
    assert_status(wg_wait(&wg, AFTER(WG_MILLISECOND)), WG_TIMEOUT);
}

enum { CONTEXTS = 4 };

/* A parent with children, each with an observer that ends the thread and one that does not. */
static void make_family(wg_context **family, wg_observer (*observers)[2], int64_t deadline) {
    for (int i = 0; i < CONTEXTS; i++) {
        assert_status(wg_context_new(&family[i], i ? family[0] : wg_context_root(), i ? WG_FOREVER : deadline), WG_OK);
        assert_status(wg_event_observe(wg_ended(family[i]), &observers[i][0], observe_and_exit, NULL), WG_OK);
        assert_status(wg_event_observe(wg_ended(family[i]), &observers[i][1], only_observe, NULL), WG_OK);
    }
}

static void an_observer_of_a_context_may_end_the_thread(void **state) {
    (void)state;
    wg_context *family[CONTEXTS];
    wg_observer observers[CONTEXTS][2];
    atomic_store(&called, 0);
    make_family(family, observers, WG_FOREVER);
    thread_ends_in(call_cancel, family[0]);
    assert_int_equal(atomic_load(&called), 2 * CONTEXTS);
    for (int i = 0; i < CONTEXTS; i++) {
        assert_status(wg_context_status(family[i]), WG_CANCELLED);
        wg_context_release(family[i]);
    }
}

static void the_thread_that_keeps_deadlines_may_be_ended(void **state) {
    (void)state;
    wg_context *family[CONTEXTS], *later;
    wg_observer observers[CONTEXTS][2], last;
    atomic_store(&called, 0);
    assert_status(wg_context_new(&later, wg_context_root(), wg_after(4 * SOON)), WG_OK);
    assert_status(wg_event_observe(wg_ended(later), &last, only_observe, NULL), WG_OK);
    make_family(family, observers, wg_after(SOON));
    EVENTUALLY(atomic_load(&called) == 2 * CONTEXTS + 1); /* nobody looks at them but that thread */
    for (int i = 0; i < CONTEXTS; i++)
        wg_context_release(family[i]);
    wg_context_release(later);
}

/* A group with one task that holds the slot, another that is stored, and two observers that wait for a slot. */
struct crowd {
    wg_errgroup *g;
    struct gate gate;
    struct task stored;
    wg_observer observers[2];
};

static void make_crowd(struct crowd *crowd, wg_pool *pool) {
    *crowd = (struct crowd){
        .g = new_group((wg_errgroup_options){.pool = pool, .limit = 1, .backlog = 1, .parent = wg_context_root()})};
    atomic_store(&called, 0);
    go(crowd->g, pass_gate, &crowd->gate);
    EVENTUALLY(atomic_load(&crowd->gate.inside) == 1);
    wg_task task = {.fn = run, .arg = &crowd->stored, .settled = settled, .ended = ended};
    assert_status(wg_errgroup_start(crowd->g, &task, NULL), WG_OK);
    for (int i = 0; i < 2; i++)
        assert_status(
            wg_event_observe(wg_slot(crowd->g), &crowd->observers[i], i ? only_observe : observe_and_exit, NULL),
            WG_OK);
}

static void *call_set_limit(void *g) {
    wg_errgroup_set_limit(g, 4);
    return g;
}

static void *call_group_cancel(void *g) {
    wg_errgroup_cancel(g, NULL);
    return g;
}

static void a_larger_limit_starts_tasks_though_an_observer_ends_the_thread(void **state) {
    (void)state;
    struct crowd crowd;
    wg_pool *pool = new_pool();
    make_crowd(&crowd, pool);
    thread_ends_in(call_set_limit, crowd.g);
    assert_int_equal(atomic_load(&called), 2);
    EVENTUALLY(atomic_load(&crowd.stored.ended) == 1);
    for (int i = 0; i < 2; i++)
        assert_status(wg_errgroup_give_slot(crowd.g), WG_OK);
    gate_open(&crowd.gate);
    assert_status(wg_errgroup_wait(crowd.g, AFTER(HANG), NULL), WG_OK);
    wg_errgroup_release(crowd.g);
    the_pool_is_as_it_was(pool);
    wg_pool_release(pool);
}

static void the_end_of_a_group_drops_tasks_though_an_observer_ends_the_thread(void **state) {
    (void)state;
    struct crowd crowd;
    wg_pool *pool = new_pool();
    make_crowd(&crowd, pool);
    thread_ends_in(call_group_cancel, crowd.g);
    assert_int_equal(atomic_load(&called), 2);
    EVENTUALLY(atomic_load(&crowd.stored.ended) == 1);
    gate_open(&crowd.gate);
    assert_status(wg_errgroup_wait(crowd.g, AFTER(HANG), NULL), WG_OK);
    wg_errgroup_release(crowd.g);
    the_pool_is_as_it_was(pool);
    wg_pool_release(pool);
}

static void *enter_late(void *raw) {
    wg_errgroup *g = raw;
    wg_observer observer;
    assert_status(wg_event_observe(wg_slot(g), &observer, only_observe, NULL), WG_OK);
    EVENTUALLY(wg_now() > wg_context_deadline(wg_errgroup_context(g)));
    return wg_errgroup_enter_slot(g) == WG_OK ? g : NULL; /* it does not return */
}

static void a_slot_is_not_lost_with_the_thread_that_finds_its_group_ended(void **state) {
    (void)state;
    wg_observer exits;
    hold_up_the_timer();
    int64_t deadline = wg_after(WG_SECOND); /* time enough on a slow machine to observe before it has passed */
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1, .parent = wg_context_root(), .deadline = deadline});
    assert_status(wg_event_observe(wg_ended(wg_errgroup_context(g)), &exits, observe_and_exit, NULL), WG_OK);
    thread_ends_in(enter_late, g);
    EVENTUALLY(wg_count(wg_errgroup_tasks(g)) == 0);
    let_the_timer_go();
    assert_status(wg_errgroup_wait(g, AFTER(HANG), NULL), WG_DEADLINE_EXCEEDED);
    wg_errgroup_release(g);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_that_ends_its_thread_has_failed),
        cmocka_unit_test(it_may_end_when_it_is_told_how_the_task_ended),
        cmocka_unit_test(tasks_of_a_plain_wait_group_are_done),
        cmocka_unit_test(it_may_end_when_an_error_is_destroyed),
        cmocka_unit_test(a_thread_that_helps_may_be_ended_by_the_task),
        cmocka_unit_test(tasks_below_it_on_the_stack_have_failed_too),
        cmocka_unit_test(calls_of_ours_are_no_points_of_cancellation),
        cmocka_unit_test(a_cancelled_worker_does_not_take_the_next_task_with_it),
        cmocka_unit_test(a_storm_of_ends_disturbs_no_other_group),
        cmocka_unit_test(an_observer_of_a_wait_group_may_end_the_thread),
        cmocka_unit_test(an_observer_called_at_once_may_end_the_thread),
        cmocka_unit_test(an_observer_of_a_context_may_end_the_thread),
        cmocka_unit_test(the_thread_that_keeps_deadlines_may_be_ended),
        cmocka_unit_test(a_larger_limit_starts_tasks_though_an_observer_ends_the_thread),
        cmocka_unit_test(the_end_of_a_group_drops_tasks_though_an_observer_ends_the_thread),
        cmocka_unit_test(a_slot_is_not_lost_with_the_thread_that_finds_its_group_ended),
    };
    return RUN("thread ends", tests);
}
