/* continue_on_error: a failed task does not cancel the others; the outcome is the first error all the same. And names. */
#include "tasks.h"

static int values[3];

static void a_failed_task_leaves_the_others_alone(void **state) {
    (void)state;
    atomic_int ran = 0;
    wg_error *first = NULL, *all[4];
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1, .continue_on_error = true});
    for (int i = 0; i < 3; i++) {
        go(g, fail_with, &values[i]);
        go(g, count, &ran);
    }
    assert_status(wg_errgroup_wait(g, NULL, &first), WG_FAILED);
    assert_int_equal(atomic_load(&ran), 3);
    assert_ptr_equal(wg_error_value(first), &values[0]);
    assert_int_equal(wg_errgroup_errors(g, all, 4), 3);
    for (int i = 0; i < 3; i++)
        assert_ptr_equal(wg_error_value(all[i]), &values[i]);
    assert_int_equal(wg_errgroup_get_counts(g).completed, 6);
    assert_status(wg_context_status(wg_errgroup_context(g)), WG_CANCELLED); /* as after every outcome */
    assert_ptr_equal(wg_context_cause(wg_errgroup_context(g)), first);
    assert_status(wg_errgroup_go(g, count, &ran, NULL, NULL), WG_FINISHED);
    wg_errgroup_release(g);
}

static void nothing_is_cancelled_before_the_outcome(void **state) {
    (void)state;
    struct gate gate = {0};
    wg_errgroup *g = new_group((wg_errgroup_options){.continue_on_error = true});
    go(g, pass_gate, &gate);
    assert_status(wg_errgroup_enter(g), WG_OK);
    assert_status(wg_errgroup_leave(g, wg_error_new(WG_ERROR_FAILURE, &values[1], NULL)), WG_OK);
    assert_int_equal(wg_errgroup_errors(g, NULL, 0), 1);
    assert_status(wg_context_status(wg_errgroup_context(g)), WG_OK);
    assert_status(wg_errgroup_wait(g, POLL, NULL), WG_TIMEOUT);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_FAILED);
    wg_errgroup_release(g);
}

static void a_call_a_deadline_and_a_parent_still_cancel_it(void **state) {
    (void)state;
    wg_context *parent;
    assert_status(wg_context_new(&parent, NULL, WG_FOREVER), WG_OK);
    wg_errgroup *called = new_group((wg_errgroup_options){.continue_on_error = true}),
                *late = new_group((wg_errgroup_options){.continue_on_error = true, .deadline = wg_after(SOON)}),
                *child = new_group((wg_errgroup_options){.continue_on_error = true, .parent = parent});
    wg_errgroup *groups[] = {called, late, child};
    for (int i = 0; i < 3; i++)
        if (wg_errgroup_go(groups[i], until_cancelled, NULL, NULL, NULL) != WG_OK)
            assert_ptr_equal(groups[i], late);
    go(called, fail_with, &values[2]);
    EVENTUALLY(wg_errgroup_errors(called, NULL, 0) == 1);
    assert_status(wg_errgroup_cancel(called, NULL), WG_OK);
    assert_status(wg_context_cancel(parent, wg_error_no_memory()), WG_OK);
    assert_status(wg_errgroup_wait(called, NULL, NULL), WG_FAILED); /* a task's own error comes first */
    assert_status(wg_errgroup_wait(late, NULL, NULL), WG_DEADLINE_EXCEEDED);
    assert_status(wg_errgroup_wait(child, NULL, NULL), WG_CANCELLED);
    for (int i = 0; i < 3; i++)
        wg_errgroup_release(groups[i]);
    wg_context_release(parent);
}

static void a_group_keeps_its_name_and_its_grace(void **state) {
    (void)state;
    char name[] = "fetchers";
    wg_errgroup *g = new_group((wg_errgroup_options){.name = name, .grace = WG_SECOND}),
                *nameless = new_group((wg_errgroup_options){0});
    name[0] = '?';
    assert_string_equal(wg_errgroup_name(g), "fetchers");
    assert_string_equal(wg_errgroup_name(nameless), "");
    assert_string_equal(wg_errgroup_name(NULL), "");
    assert_int_equal(wg_errgroup_grace(g), WG_SECOND);
    assert_int_equal(wg_errgroup_grace(nameless), 0);
    assert_int_equal(wg_errgroup_grace(NULL), 0);
    wg_errgroup_release(g);
    wg_errgroup_release(nameless);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_task_leaves_the_others_alone),
        cmocka_unit_test(nothing_is_cancelled_before_the_outcome),
        cmocka_unit_test(a_call_a_deadline_and_a_parent_still_cancel_it),
        cmocka_unit_test(a_group_keeps_its_name_and_its_grace),
    };
    return RUN("errgroup_continue", tests);
}
