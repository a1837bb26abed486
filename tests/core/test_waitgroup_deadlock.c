/* A task of wg_go or wg_start that waits for its own wait group, and that nothing else would wake, hears of it. */
#include "tasks.h"

static wg_waitgroup own, other;
static atomic_int heard; /* how many were told */

static void wait_for_own(void *unused) {
    (void)unused;
    if (wg_wait(&own, NULL) == WG_DEADLOCK)
        atomic_fetch_add(&heard, 1);
}

static void a_task_that_waits_for_its_own_wait_group_hears_of_it(void **state) {
    (void)state;
    atomic_store(&heard, 0);
    for (int i = 0; i < 3; i++)
        assert_status(wg_go(&own, NULL, wait_for_own, NULL, NULL), WG_OK);
    assert_status(wg_wait(&own, NULL), WG_OK);
    assert_int_equal(atomic_load(&heard), 3);
}

static wg_error *wait_as_whole_task(void *unused, wg_context *ctx) {
    REQUIRE(!ctx);
    wait_for_own(unused);
    return NULL;
}

static void so_does_one_of_wg_start(void **state) {
    (void)state;
    atomic_store(&heard, 0);
    wg_task task = {.fn = wait_as_whole_task};
    assert_status(wg_start(&own, &task), WG_OK);
    assert_status(wg_wait(&own, NULL), WG_OK);
    assert_int_equal(atomic_load(&heard), 1);
}

/* What can end is no deadlock. */
static void wait_for_own_with_an_end(void *unused) {
    (void)unused;
    wg_context *ctx;
    REQUIRE(wg_wait(&own, AFTER(1000)) == WG_TIMEOUT);
    REQUIRE(wg_wait(&own, POLL) == WG_TIMEOUT);
    REQUIRE(wg_context_new(&ctx, NULL, wg_after(1000)) == WG_OK);
    REQUIRE(wg_wait(&own, WITH(ctx)) == WG_CONTEXT_ENDED);
    wg_context_release(ctx);
    REQUIRE(wg_wait(&own, WITH(wg_context_root())) == WG_DEADLOCK);
    atomic_fetch_add(&heard, 1);
}

static void a_wait_that_can_end_is_none(void **state) {
    (void)state;
    atomic_store(&heard, 0);
    assert_status(wg_go(&own, NULL, wait_for_own_with_an_end, NULL, NULL), WG_OK);
    assert_status(wg_wait(&own, NULL), WG_OK);
    assert_int_equal(atomic_load(&heard), 1);
}

static void wait_for_other(void *unused) {
    (void)unused;
    REQUIRE(wg_wait(&other, NULL) == WG_OK);
}

static void waiting_for_another_wait_group_is_none(void **state) {
    (void)state;
    assert_status(wg_add(&other, 1), WG_OK);
    assert_status(wg_go(&own, NULL, wait_for_other, NULL, NULL), WG_OK);
    assert_status(wg_done(&other), WG_OK);
    assert_status(wg_wait(&own, NULL), WG_OK);
}

/* A task of a group inside whose wait the task of the wait group would run, and the other way round. */
static wg_error *wait_for_counted(void *g, wg_context *ctx) {
    REQUIRE(wg_wait(wg_errgroup_tasks(g), WITH(wg_context_root())) == WG_DEADLOCK);
    REQUIRE(wg_wait(wg_errgroup_tasks(g), AFTER(1000)) == WG_TIMEOUT);
    return wg_context_error(ctx);
}

static void the_count_of_an_error_group_is_known_too(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    go(g, wait_for_counted, g);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

static void run_group_inside(void *unused) {
    (void)unused;
    wg_errgroup *g;
    REQUIRE(wg_errgroup_new(&g, NULL) == WG_OK);
    for (int i = 0; i < 10; i++)
        REQUIRE(wg_errgroup_go(g, succeed, NULL, NULL, NULL) == WG_OK);
    REQUIRE(wg_errgroup_wait(g, NULL, NULL) == WG_OK);
    wg_errgroup_release(g);
    wait_for_own(NULL);
}

static void a_nested_task_on_the_same_stack_changes_nothing(void **state) {
    (void)state;
    atomic_store(&heard, 0);
    assert_status(wg_go(&own, NULL, run_group_inside, NULL, NULL), WG_OK);
    assert_status(wg_wait(&own, NULL), WG_OK);
    assert_int_equal(atomic_load(&heard), 1);
}

/* The order at the end of a task. */
static wg_how how;
static atomic_int settles, ends;

static void settled(void *unused, wg_how verdict) {
    (void)unused;
    how = verdict;
    REQUIRE(wg_count(&own) == 1);
    atomic_fetch_add(&settles, 1);
}

static void ended(void *unused) {
    (void)unused;
    REQUIRE(wg_count(&own) == 0);
    atomic_fetch_add(&ends, 1);
}

static void a_task_is_settled_then_done_then_ended(void **state) {
    (void)state;
    wg_task task = {.fn = succeed, .settled = settled, .ended = ended};
    assert_status(wg_start(&own, &task), WG_OK);
    assert_status(wg_wait(&own, NULL), WG_OK);
    assert_int_equal(atomic_load(&settles), 1);
    assert_int_equal(how, WG_SUCCEEDED);
    EVENTUALLY(atomic_load(&ends) == 1);
    task.fn = fail_with;
    assert_status(wg_start(&own, &task), WG_OK);
    assert_status(wg_wait(&own, NULL), WG_OK);
    assert_int_equal(how, WG_TASK_FAILED);
    EVENTUALLY(atomic_load(&ends) == 2);
    assert_status(wg_start(NULL, &task), WG_INVALID);
    assert_status(wg_start(&own, NULL), WG_INVALID);
    assert_status(wg_start(&own, &(wg_task){0}), WG_INVALID);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_that_waits_for_its_own_wait_group_hears_of_it),
        cmocka_unit_test(so_does_one_of_wg_start),
        cmocka_unit_test(a_wait_that_can_end_is_none),
        cmocka_unit_test(waiting_for_another_wait_group_is_none),
        cmocka_unit_test(the_count_of_an_error_group_is_known_too),
        cmocka_unit_test(a_nested_task_on_the_same_stack_changes_nothing),
        cmocka_unit_test(a_task_is_settled_then_done_then_ended),
    };
    return RUN("waitgroup_deadlock", tests);
}
