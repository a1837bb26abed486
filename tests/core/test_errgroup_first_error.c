/* The first task to fail decides: its error is there before the siblings are cancelled, and all others are kept. */
#include "tasks.h"

/* Go's TestZeroGroup: rows of results, one after the other, and the first error of each row. */
static void wait_gives_the_first_error(void **state) {
    (void)state;
    static int e1, e2;
    static int *const table[][3] = {
        {NULL, NULL, NULL}, {&e1, NULL, NULL}, {NULL, &e1, NULL}, {NULL, NULL, &e2}, {&e1, &e2, NULL}, {NULL, &e2, &e1},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1});
        int *should = NULL;
        for (int j = 0; j < 3; j++) {
            wg_status status = wg_errgroup_go(g, table[i][j] ? fail_with : succeed, table[i][j], NULL, NULL);
            assert_status(status, should ? WG_CANCELLED : WG_OK);
            if (!should && table[i][j]) {
                should = table[i][j];
                assert_status(wg_context_wait(wg_errgroup_context(g), NULL), WG_OK);
            }
        }
        wg_error *first = wg_error_no_memory();
        assert_status(wg_errgroup_wait(g, NULL, &first), should ? WG_FAILED : WG_OK);
        assert_ptr_equal(wg_error_value(first), should);
        assert_int_equal(first == NULL, should == NULL);
        wg_errgroup_release(g);
    }
}

/* Go's TestWithContext and TestCancelCause: the context ends with the group in all cases, after success and without a
 * task too; the cause is the first error, or none. */
static void the_context_ends_with_the_group_and_its_cause_is_the_first_error(void **state) {
    (void)state;
    int value;
    for (int tasks = 0; tasks < 3; tasks++) {
        for (int fails = 0; fails < 2; fails++) {
            wg_errgroup *g = new_group((wg_errgroup_options){0});
            wg_context *ctx = wg_errgroup_context(g);
            wg_error *first = NULL;
            for (int i = 0; i < tasks; i++)
                go(g, succeed, NULL);
            assert_status(wg_context_status(ctx), WG_OK);
            if (fails)
                go(g, fail_with, &value);
            assert_status(wg_errgroup_wait(g, NULL, &first), fails ? WG_FAILED : WG_OK);
            assert_status(wg_context_status(ctx), WG_CANCELLED);
            assert_ptr_equal(wg_context_cause(ctx), fails ? first : NULL);
            wg_errgroup_release(g);
        }
    }
}

static void siblings_that_stop_for_it_are_no_errors(void **state) {
    (void)state;
    for (int i = 0; i < effort(100); i++) {
        wg_errgroup *g = new_group((wg_errgroup_options){0});
        int value;
        wg_error *first, *all[8];
        for (int j = 0; j < 3; j++)
            go(g, until_cancelled, NULL);
        go(g, fail_with, &value);
        assert_status(wg_errgroup_wait(g, NULL, &first), WG_FAILED);
        assert_ptr_equal(wg_error_value(first), &value);
        assert_int_equal(wg_errgroup_errors(g, all, 8), 1);
        assert_ptr_equal(all[0], first);
        wg_errgroup_release(g);
    }
}

/* The siblings hear of the end, and fail at once with errors of their own: the first is still the first. */
static wg_errgroup *group;

static wg_error *fail_when_cancelled(void *value, wg_context *ctx) {
    REQUIRE(wg_context_wait(ctx, NULL) == WG_OK);
    REQUIRE(wg_errgroup_errors(group, NULL, 0) >= 1); /* recorded before the cancel */
    REQUIRE(wg_context_cause(ctx) != NULL);
    return wg_error_new(WG_ERROR_FAILURE, value, NULL);
}

static void it_is_recorded_before_the_siblings_hear(void **state) {
    (void)state;
    for (int i = 0; i < effort(200); i++) {
        int values[5];
        wg_error *first, *all[5];
        group = new_group((wg_errgroup_options){0});
        for (int j = 1; j < 5; j++)
            go(group, fail_when_cancelled, &values[j]);
        go(group, fail_with, &values[0]);
        assert_status(wg_errgroup_wait(group, NULL, &first), WG_FAILED);
        assert_ptr_equal(wg_error_value(first), &values[0]);
        size_t n = wg_errgroup_errors(group, all, 5);
        assert_in_range(n, 1, 5);
        assert_ptr_equal(all[0], first);
        wg_errgroup_release(group);
    }
}

/* Failing at the same moment: exactly one is the cause, and it is the first in the list. */
static atomic_int running;

static wg_error *fail_together(void *value, wg_context *ctx) {
    (void)ctx;
    atomic_fetch_add(&running, 1);
    EVENTUALLY(atomic_load(&running) == 4);
    return wg_error_new(WG_ERROR_FAILURE, value, NULL);
}

static void of_many_at_once_one_is_first_and_the_cause(void **state) {
    (void)state;
    for (int i = 0; i < effort(100); i++) {
        int values[4];
        wg_error *first, *all[4];
        atomic_store(&running, 0);
        wg_errgroup *g = new_group((wg_errgroup_options){0});
        for (int j = 0; j < 4; j++)
            go(g, fail_together, &values[j]);
        assert_status(wg_errgroup_wait(g, NULL, &first), WG_FAILED);
        assert_int_equal(wg_errgroup_errors(g, all, 4), 4);
        assert_ptr_equal(all[0], first);
        assert_ptr_equal(wg_context_cause(wg_errgroup_context(g)), first);
        wg_errgroup_release(g);
    }
}

/* All errors, in the order in which the tasks failed. */
static atomic_int started;
enum { IN_TURN = 6 };

static wg_error *fail_in_turn(void *raw, wg_context *ctx) {
    int *number = raw;
    (void)ctx;
    atomic_fetch_add(&started, 1);
    EVENTUALLY(atomic_load(&started) == IN_TURN && wg_errgroup_errors(group, NULL, 0) == (size_t)*number);
    return wg_error_new(WG_ERROR_FAILURE, number, NULL);
}

static void all_errors_are_kept_in_their_order(void **state) {
    (void)state;
    int numbers[IN_TURN];
    wg_error *all[IN_TURN];
    group = new_group((wg_errgroup_options){0});
    for (int i = IN_TURN - 1; i >= 0; i--) {
        numbers[i] = i;
        go(group, fail_in_turn, &numbers[i]);
    }
    assert_status(wg_errgroup_wait(group, NULL, NULL), WG_FAILED);
    assert_int_equal(wg_errgroup_errors(group, all, IN_TURN), IN_TURN);
    for (int i = 0; i < IN_TURN; i++)
        assert_int_equal(*(int *)wg_error_value(all[i]), i);
    all[1] = NULL;
    assert_int_equal(wg_errgroup_errors(group, all, 1), IN_TURN); /* no more than there is room for */
    assert_non_null(all[0]);
    assert_null(all[1]);
    wg_errgroup_release(group);
}

/* What counts as an echo. */
static wg_error *stop_at_once(void *unused, wg_context *ctx) {
    (void)unused;
    REQUIRE(wg_context_status(ctx) == WG_OK);
    return wg_error_cancelled();
}

static void a_task_that_stops_though_its_group_lives_has_failed(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    wg_error *first;
    go(g, stop_at_once, NULL);
    assert_status(wg_errgroup_wait(g, NULL, &first), WG_FAILED);
    assert_ptr_equal(first, wg_error_cancelled());
    wg_errgroup_release(g);
}

static wg_how how_ended(wg_errgroup *g, wg_error *error) {
    wg_how how = WG_NEVER_STARTED;
    assert_status(wg_errgroup_settle(g, error, &how), WG_OK);
    return how;
}

/* Tasks of a group that is cancelled end with `error`, and then the group. */
static void ends_as(wg_error *error, wg_how how, wg_status outcome) {
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    assert_status(wg_errgroup_enter(g), WG_OK);
    assert_status(wg_errgroup_cancel(g, wg_error_thread_ended()), WG_OK);
    assert_int_equal(how_ended(g, error), how);
    assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), outcome);
    wg_errgroup_release(g);
}

static void an_echo_is_a_stop_of_a_group_that_is_cancelled(void **state) {
    (void)state;
    ends_as(wg_error_new(WG_ERROR_STOP, NULL, NULL), WG_TASK_STOPPED, WG_CANCELLED);
    ends_as(wg_error_deadline(), WG_TASK_STOPPED, WG_CANCELLED);
    ends_as(wg_error_new(WG_ERROR_FAILURE, NULL, NULL), WG_TASK_FAILED, WG_FAILED);
    ends_as(wg_error_no_memory(), WG_TASK_FAILED, WG_FAILED);
    ends_as(NULL, WG_SUCCEEDED, WG_CANCELLED);
}

static void an_error_after_a_cancel_is_still_the_outcome(void **state) {
    (void)state;
    int value;
    struct gate gate = {0};
    group = new_group((wg_errgroup_options){0});
    wg_error *cause = wg_error_new(WG_ERROR_FAILURE, NULL, NULL), *first;
    go(group, pass_gate, &gate);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
    assert_status(wg_errgroup_enter(group), WG_OK);
    assert_status(wg_errgroup_cancel(group, cause), WG_OK);
    wg_errgroup_leave(group, wg_error_new(WG_ERROR_FAILURE, &value, NULL));
    gate_open(&gate);
    assert_status(wg_errgroup_wait(group, NULL, &first), WG_FAILED);
    assert_ptr_equal(wg_error_value(first), &value);
    assert_ptr_equal(wg_context_cause(wg_errgroup_context(group)), cause); /* the cancel came first */
    wg_error_release(cause);
    wg_errgroup_release(group);
}

/* Errors are carried through untouched and destroyed once. */
static atomic_int destroyed;
static void destroy(void *value) {
    free(value);
    atomic_fetch_add(&destroyed, 1);
}

static wg_error *fail_with_memory(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    return wg_error_new(WG_ERROR_FAILURE, malloc(10), destroy);
}

static wg_error *stop_with_memory(void *unused, wg_context *ctx) {
    (void)unused;
    REQUIRE(wg_context_wait(ctx, NULL) == WG_OK);
    return wg_error_new(WG_ERROR_STOP, malloc(10), destroy);
}

static void every_error_is_destroyed_exactly_once(void **state) {
    (void)state;
    for (int i = 0; i < effort(100); i++) {
        atomic_store(&destroyed, 0);
        atomic_store(&running, 0);
        wg_errgroup *g = new_group((wg_errgroup_options){0});
        int accepted = 0;
        for (int j = 0; j < 3; j++)
            if (wg_errgroup_go(g, stop_with_memory, NULL, NULL, NULL) == WG_OK)
                accepted++;
        for (int j = 0; j < 3; j++)
            if (wg_errgroup_go(g, fail_with_memory, NULL, NULL, NULL) == WG_OK)
                accepted++;
        assert_status(wg_errgroup_wait(g, NULL, NULL), WG_FAILED);
        assert_true(atomic_load(&destroyed) < accepted); /* the failures are still there */
        int failures = (int)wg_errgroup_errors(g, NULL, 0), stopped = atomic_load(&destroyed);
        wg_errgroup_release(g);
        EVENTUALLY(atomic_load(&destroyed) == failures + stopped);
    }
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(wait_gives_the_first_error),
        cmocka_unit_test(the_context_ends_with_the_group_and_its_cause_is_the_first_error),
        cmocka_unit_test(siblings_that_stop_for_it_are_no_errors),
        cmocka_unit_test(it_is_recorded_before_the_siblings_hear),
        cmocka_unit_test(of_many_at_once_one_is_first_and_the_cause),
        cmocka_unit_test(all_errors_are_kept_in_their_order),
        cmocka_unit_test(a_task_that_stops_though_its_group_lives_has_failed),
        cmocka_unit_test(an_echo_is_a_stop_of_a_group_that_is_cancelled),
        cmocka_unit_test(an_error_after_a_cancel_is_still_the_outcome),
        cmocka_unit_test(every_error_is_destroyed_exactly_once),
    };
    return RUN("errgroup_first_error", tests);
}
