/* The end of a task: how it ended is told once, in its turn, and nobody sees the end before there is a slot. */
#include "tasks.h"

/* A task that writes down what it is told. */
struct told {
    wg_errgroup *g;
    wg_error *error;
    atomic_int runs, settles, ends; /* how often */
    wg_how how;
    unsigned long completed; /* when `ended` was called */
    int32_t held;            /* unfinished tasks when `settled` was called */
    wg_status again;         /* of a try_start from `ended` */
};

static wg_error *run(void *raw, wg_context *ctx) {
    struct told *told = raw;
    (void)ctx;
    atomic_fetch_add(&told->runs, 1);
    return told->error;
}

static void settled(void *raw, wg_how how) {
    struct told *told = raw;
    told->how = how;
    told->held = wg_count(wg_errgroup_tasks(told->g));
    REQUIRE(atomic_load(&told->ends) == 0);
    atomic_fetch_add(&told->settles, 1);
}

static void ended(void *raw) {
    struct told *told = raw;
    REQUIRE(atomic_load(&told->settles) == 1);
    atomic_fetch_add(&told->ends, 1);
}

static wg_task telling(struct told *told) {
    return (wg_task){.fn = run, .arg = told, .settled = settled, .ended = ended};
}

static void start(struct told *told) {
    wg_task task = telling(told);
    assert_status(wg_errgroup_start(told->g, &task, NULL), WG_OK);
    EVENTUALLY(atomic_load(&told->ends) == 1);
    assert_int_equal(atomic_load(&told->settles), 1);
    assert_true(told->held >= 1); /* its slot was still held */
}

static void the_owner_is_told_how_a_task_ended(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    struct told good = {.g = g}, bad = {.g = g, .error = wg_error_new(WG_ERROR_FAILURE, NULL, NULL)};
    struct told stopped = {.g = g, .error = wg_error_cancelled()};
    start(&good);
    assert_int_equal(good.how, WG_SUCCEEDED);
    start(&stopped);
    assert_int_equal(stopped.how, WG_TASK_FAILED); /* the group was not cancelled: nobody told it to stop */
    assert_int_equal(wg_errgroup_errors(g, NULL, 0), 1);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_FAILED);
    wg_errgroup_release(g);

    bad.g = g = new_group((wg_errgroup_options){0});
    start(&bad);
    assert_int_equal(bad.how, WG_TASK_FAILED);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_FAILED);
    wg_errgroup_release(g);
}

static wg_error *stop_when_cancelled(void *raw, wg_context *ctx) {
    atomic_fetch_add(&((struct told *)raw)->runs, 1);
    REQUIRE(wg_context_wait(ctx, NULL) == WG_OK);
    return wg_context_error(ctx);
}

static void a_task_that_stops_for_its_group_is_told_apart(void **state) {
    (void)state;
    struct told told = {.g = new_group((wg_errgroup_options){0})};
    wg_task task = telling(&told);
    task.fn = stop_when_cancelled;
    assert_status(wg_errgroup_start(told.g, &task, NULL), WG_OK);
    EVENTUALLY(atomic_load(&told.runs) == 1);
    assert_status(wg_errgroup_cancel(told.g, NULL), WG_OK);
    assert_status(wg_errgroup_wait(told.g, NULL, NULL), WG_OK);
    assert_int_equal(told.how, WG_TASK_STOPPED); /* stored before the wait returned */
    EVENTUALLY(atomic_load(&told.ends) == 1);
    assert_int_equal(wg_errgroup_errors(told.g, NULL, 0), 0);
    wg_errgroup_release(told.g);
}

static void a_task_that_never_starts_is_told_apart_and_never_running(void **state) {
    (void)state;
    struct gate gate = {0};
    enum { N = 20 };
    struct told told[N] = {{.g = NULL}};
    wg_pool *pool;
    assert_status(wg_pool_new(&pool, &(wg_pool_host){.cores = 1}), WG_OK);
    wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool});
    go(g, pass_gate, &gate);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
    for (int i = 0; i < N; i++) {
        told[i].g = g;
        wg_task task = telling(&told[i]);
        assert_status(wg_errgroup_start(g, &task, NULL), WG_OK);
    }
    assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
    gate_open(&gate);
    while (wg_count(wg_errgroup_tasks(g)) > 0)
        assert_true(wg_errgroup_get_counts(g).running <= N);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_counts counts = wg_errgroup_get_counts(g);
    assert_int_equal(counts.completed, N + 1);
    assert_int_equal(counts.running + counts.pending, 0);
    for (int i = 0; i < N; i++) {
        EVENTUALLY(atomic_load(&told[i].ends) == 1);
        assert_int_equal(told[i].how, atomic_load(&told[i].runs) ? WG_SUCCEEDED : WG_NEVER_STARTED);
    }
    wg_errgroup_release(g);
    wg_pool_release(pool);
}

static void a_stopped_pool_ends_its_tasks_as_never_started(void **state) {
    (void)state;
    struct gate gate = {0};
    wg_pool *pool;
    assert_status(wg_pool_new(&pool, &(wg_pool_host){.cores = 1}), WG_OK);
    wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool});
    struct told told = {.g = g};
    go(g, pass_gate, &gate);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
    wg_task task = telling(&told);
    assert_status(wg_errgroup_start(g, &task, NULL), WG_OK);
    wg_pool_stop(pool);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    EVENTUALLY(atomic_load(&told.ends) == 1);
    assert_int_equal(told.how, atomic_load(&told.runs) ? WG_SUCCEEDED : WG_NEVER_STARTED);
    assert_int_equal(wg_errgroup_get_counts(g).completed, 2);
    wg_errgroup_release(g);
    wg_pool_release(pool);
}

/* Once `ended` is called, the slot is there and the counts are right. */
static atomic_int sent;

static void told_of_end(void *raw) {
    struct told *told = raw;
    told->completed = wg_errgroup_get_counts(told->g).completed;
    told->again = wg_errgroup_enter(told->g);
    atomic_fetch_add(&told->ends, 1);
}

static void whoever_is_told_of_an_end_finds_a_slot(void **state) {
    (void)state;
    for (int i = 0; i < effort(2000); i++) {
        struct told told = {.g = new_group((wg_errgroup_options){.limit = 1})};
        wg_task task = {.fn = run, .arg = &told, .ended = told_of_end};
        assert_status(wg_errgroup_start(told.g, &task, NULL), WG_OK);
        EVENTUALLY(atomic_load(&told.ends) == 1);
        assert_status(told.again, WG_OK);
        assert_int_equal(told.completed, 1);
        wg_errgroup_leave(told.g, NULL);
        assert_status(wg_errgroup_wait(told.g, NULL, NULL), WG_OK);
        wg_errgroup_release(told.g);
    }
}

/* The same with a word that another thread looks at: a task per round, at a limit of one. */
static void note_end(void *unused) {
    (void)unused;
    atomic_fetch_add(&sent, 1);
}

static void a_task_seen_as_ended_leaves_room_and_is_counted(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1});
    wg_task task = {.fn = succeed, .ended = note_end};
    atomic_store(&sent, 0);
    for (int i = 0; i < effort(20000); i++) {
        assert_status(wg_errgroup_try_start(g, &task), WG_OK);
        while (atomic_load(&sent) == i) {}
        assert_int_equal(wg_errgroup_get_counts(g).completed, i + 1);
    }
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

/* `running` is never more than the limit, whoever looks and whenever. */
static void no_more_seem_to_run_than_the_limit_allows(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 2});
    for (int i = 0; i < effort(20000); i++) {
        go(g, succeed, NULL);
        assert_in_range(wg_errgroup_get_counts(g).running, 0, 2);
    }
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

/* The simple form destroys its argument before a wait returns. */
static void the_simple_form_destroys_before_the_task_counts_as_ended(void **state) {
    (void)state;
    for (int i = 0; i < effort(500); i++) {
        struct told told = {.ends = 0};
        wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1});
        told.settles = 1;
        assert_status(wg_errgroup_go(g, succeed, &told, ended, NULL), WG_OK);
        assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
        assert_int_equal(atomic_load(&told.ends), 1);
        wg_errgroup_release(g);
    }
}

/* Tasks of the caller's making. */
static void an_entered_task_is_settled_with_its_slot_held(void **state) {
    (void)state;
    wg_how how = WG_NEVER_STARTED;
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1});
    assert_status(wg_errgroup_settle(g, NULL, &how), WG_NEGATIVE);
    assert_status(wg_errgroup_settle(NULL, NULL, &how), WG_INVALID);
    assert_int_equal(how, WG_NEVER_STARTED);
    assert_status(wg_errgroup_enter(g), WG_OK);
    assert_status(wg_errgroup_settle(g, NULL, &how), WG_OK);
    assert_int_equal(how, WG_SUCCEEDED);
    assert_status(wg_errgroup_enter(g), WG_LIMIT);
    assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    assert_status(wg_errgroup_enter(g), WG_OK);
    assert_status(wg_errgroup_settle(g, wg_error_new(WG_ERROR_FAILURE, NULL, NULL), &how), WG_OK);
    assert_int_equal(how, WG_TASK_FAILED);
    assert_status(wg_context_status(wg_errgroup_context(g)), WG_CANCELLED);
    assert_status(wg_errgroup_settle(g, wg_error_cancelled(), &how), WG_OK);
    assert_int_equal(how, WG_TASK_STOPPED);
    assert_int_equal(wg_errgroup_get_counts(g).running, 1);
    assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_FAILED);
    wg_errgroup_release(g);
}

/* Tasks of one group in several pools. */
static wg_error *say_worker(void *raw, wg_context *ctx) {
    (void)ctx;
    atomic_store((atomic_int *)raw, 1);
    EVENTUALLY(atomic_load((atomic_int *)raw) == 2);
    return NULL;
}

static void tasks_of_one_group_run_in_the_pools_they_name(void **state) {
    (void)state;
    enum { POOLS = 3 };
    wg_pool *pools[POOLS];
    atomic_int words[POOLS + 1] = {0};
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = POOLS + 1});
    go(g, say_worker, &words[POOLS]);
    for (int i = 0; i < POOLS; i++) {
        assert_status(wg_pool_new(&pools[i], &(wg_pool_host){.cores = 1}), WG_OK);
        wg_task task = {.fn = say_worker, .arg = &words[i], .pool = pools[i]};
        assert_status(wg_errgroup_start(g, &task, NULL), WG_OK);
    }
    wg_task one_more = {.fn = succeed, .pool = pools[0]};
    assert_status(wg_errgroup_try_start(g, &one_more), WG_LIMIT); /* one limit for all of them */
    for (int i = 0; i <= POOLS; i++)
        EVENTUALLY(atomic_load(&words[i]) == 1);
    for (int i = 0; i < POOLS; i++)
        assert_int_equal(wg_pool_workers(pools[i]), 1);
    for (int i = 0; i <= POOLS; i++)
        atomic_store(&words[i], 2);
    for (int i = 0; i < POOLS; i++)
        wg_pool_release(pools[i]); /* the group refers to it */
    assert_status(wg_errgroup_start(g, &one_more, NULL), WG_OK);
    wg_pool_stop(pools[1]);
    one_more.pool = pools[1];
    assert_status(wg_errgroup_start(g, &one_more, NULL), WG_STOPPED);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

/* All that is called for a task before the task counts as ended is part of it: there a wait for its own group cannot end. */
static void ignore(void *unused) { (void)unused; }

static wg_errgroup *own;
static wg_waitgroup own_plain;
static atomic_int refused;

static void wait_for_own(void *unused) {
    (void)unused;
    REQUIRE(wg_errgroup_wait(own, NULL, NULL) == WG_DEADLOCK);
    atomic_fetch_add(&refused, 1);
}

static void wait_for_own_plain(void *unused) {
    (void)unused;
    REQUIRE(wg_wait(&own_plain, NULL) == WG_DEADLOCK);
    atomic_fetch_add(&refused, 1);
}

static void settled_waits_for_own(void *arg, wg_how how) {
    (void)how;
    wait_for_own(arg);
}

static void settled_waits_for_own_plain(void *arg, wg_how how) {
    (void)how;
    wait_for_own_plain(arg);
}

static wg_error *stop_with_a_destructor(void *unused, wg_context *ctx) {
    (void)unused;
    REQUIRE(wg_context_cancel(ctx, NULL) == WG_OK);
    return wg_error_new(WG_ERROR_STOP, &refused, wait_for_own);
}

static void check_refused(wg_errgroup *g, int expected, wg_status outcome) {
    assert_status(wg_errgroup_wait(g, AFTER(HANG), NULL), outcome);
    assert_int_equal(atomic_exchange(&refused, 0), expected);
    wg_errgroup_release(g);
}

static void what_is_called_for_a_task_cannot_wait_for_its_group(void **state) {
    (void)state;
    wg_task settles = {.fn = succeed, .settled = settled_waits_for_own};
    wg_observer observer;

    own = new_group((wg_errgroup_options){0});
    assert_status(wg_errgroup_start(own, &settles, NULL), WG_OK);
    assert_status(wg_errgroup_go(own, succeed, NULL, wait_for_own, NULL), WG_OK);
    check_refused(own, 2, WG_OK);

    own = new_group((wg_errgroup_options){0}); /* the destructor of an error that is given up */
    go(own, stop_with_a_destructor, NULL);
    check_refused(own, 1, WG_OK);

    own = new_group((wg_errgroup_options){0}); /* an observer of the end that the task brings about */
    assert_status(wg_event_observe(wg_ended(wg_errgroup_context(own)), &observer, wait_for_own, NULL), WG_OK);
    go(own, fail_with, NULL);
    check_refused(own, 1, WG_FAILED);

    own = new_group((wg_errgroup_options){0}); /* a task of the caller's */
    assert_status(wg_errgroup_enter(own), WG_OK);
    assert_status(wg_errgroup_cancel(own, NULL), WG_OK);
    assert_status(wg_errgroup_leave(own, wg_error_new(WG_ERROR_STOP, &refused, wait_for_own)), WG_OK);
    check_refused(own, 1, WG_OK);
}

static void what_is_called_for_a_task_that_never_starts_cannot_wait_for_its_group(void **state) {
    (void)state;
    wg_task settles = {.fn = succeed, .settled = settled_waits_for_own};
    struct gate gate = {0};
    own = new_group((wg_errgroup_options){.limit = 1, .backlog = 2});
    go(own, pass_gate, &gate);
    assert_status(wg_errgroup_start(own, &settles, NULL), WG_OK); /* they are stored */
    assert_status(wg_errgroup_go(own, succeed, NULL, wait_for_own, NULL), WG_OK);
    assert_status(wg_errgroup_cancel(own, NULL), WG_OK);
    gate_open(&gate);
    check_refused(own, 2, WG_OK);
}

static void what_is_called_for_a_task_cannot_wait_for_its_wait_group(void **state) {
    (void)state;
    wg_task settles = {.fn = succeed, .settled = settled_waits_for_own_plain};
    assert_status(wg_start(&own_plain, &settles), WG_OK);
    assert_status(wg_go(&own_plain, NULL, ignore, NULL, wait_for_own_plain), WG_OK);
    assert_status(wg_wait(&own_plain, AFTER(HANG)), WG_OK);
    assert_int_equal(atomic_exchange(&refused, 0), 2);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(the_owner_is_told_how_a_task_ended),
        cmocka_unit_test(a_task_that_stops_for_its_group_is_told_apart),
        cmocka_unit_test(a_task_that_never_starts_is_told_apart_and_never_running),
        cmocka_unit_test(a_stopped_pool_ends_its_tasks_as_never_started),
        cmocka_unit_test(whoever_is_told_of_an_end_finds_a_slot),
        cmocka_unit_test(a_task_seen_as_ended_leaves_room_and_is_counted),
        cmocka_unit_test(no_more_seem_to_run_than_the_limit_allows),
        cmocka_unit_test(the_simple_form_destroys_before_the_task_counts_as_ended),
        cmocka_unit_test(an_entered_task_is_settled_with_its_slot_held),
        cmocka_unit_test(tasks_of_one_group_run_in_the_pools_they_name),
        cmocka_unit_test(what_is_called_for_a_task_cannot_wait_for_its_group),
        cmocka_unit_test(what_is_called_for_a_task_that_never_starts_cannot_wait_for_its_group),
        cmocka_unit_test(what_is_called_for_a_task_cannot_wait_for_its_wait_group),
    };
    return RUN("task_end", tests);
}
