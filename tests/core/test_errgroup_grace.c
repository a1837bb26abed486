/* With a grace period, a wait leaves stragglers behind; they are safe until they end. Without one, it waits for all. */
#include "tasks.h"

static wg_errgroup *with_straggler(struct gate *gate, int64_t grace) {
    wg_errgroup *g = new_group((wg_errgroup_options){.grace = grace});
    *gate = (struct gate){0};
    go(g, pass_gate, gate);
    EVENTUALLY(atomic_load(&gate->inside) == 1);
    return g;
}

static void let_it_end(struct gate *gate) {
    gate_open(gate);
    EVENTUALLY(atomic_load(&gate->inside) == 0);
}

static void without_grace_wait_returns_when_every_task_has_ended(void **state) {
    (void)state;
    struct gate gate;
    wg_errgroup *g = with_straggler(&gate, 0);
    assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, AFTER(SOON), NULL), WG_TIMEOUT);
    assert_int_equal(wg_errgroup_get_counts(g).running, 1);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(atomic_load(&gate.inside), 0);
    assert_int_equal(wg_errgroup_get_counts(g).running, 0);
    wg_errgroup_release(g);
}

static void leaves_stragglers_behind_when_it_is_over(void **state) {
    (void)state;
    struct gate gate;
    wg_errgroup *g = with_straggler(&gate, SOON);
    int why;
    wg_error *cause = wg_error_new(WG_ERROR_FAILURE, &why, NULL), *first;
    int64_t cancelled_at = wg_now();
    assert_status(wg_errgroup_cancel(g, cause), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, &first), WG_CANCELLED);
    assert_true(wg_now() >= cancelled_at + SOON);
    assert_ptr_equal(first, cause);
    assert_int_equal(wg_errgroup_get_counts(g).running, 1);
    assert_status(wg_errgroup_try_go(g, succeed, NULL, NULL), WG_FINISHED);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_CANCELLED); /* the outcome stays */
    wg_errgroup_release(g);
    wg_error_release(cause);
    let_it_end(&gate);
}

static void is_for_cancelled_groups_only(void **state) {
    (void)state;
    struct gate gate;
    wg_errgroup *g = with_straggler(&gate, 1);
    assert_status(wg_errgroup_wait(g, AFTER(SOON), NULL), WG_TIMEOUT);
    assert_status(wg_context_status(wg_errgroup_context(g)), WG_OK);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

static void *cancel_it(void *g) {
    nap();
    REQUIRE(wg_errgroup_cancel(g, NULL) == WG_OK);
    return NULL;
}

static void begins_when_the_group_is_cancelled_during_the_wait(void **state) {
    (void)state;
    struct gate gate;
    wg_errgroup *g = with_straggler(&gate, SOON);
    struct thread t;
    thread_start(&t, cancel_it, g);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(wg_errgroup_get_counts(g).running, 1);
    thread_join(&t);
    wg_errgroup_release(g);
    let_it_end(&gate);
}

static void a_task_that_ends_within_it_is_waited_for(void **state) {
    (void)state;
    for (int i = 0; i < effort(50); i++) {
        wg_errgroup *g = new_group((wg_errgroup_options){.grace = HANG});
        go(g, until_cancelled, NULL);
        assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
        assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
        assert_int_equal(wg_errgroup_get_counts(g).running, 0);
        wg_errgroup_release(g);
    }
}

static void a_shorter_deadline_of_the_wait_is_a_timeout(void **state) {
    (void)state;
    struct gate gate;
    wg_errgroup *g = with_straggler(&gate, HANG);
    assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, AFTER(SOON), NULL), WG_TIMEOUT);
    assert_status(wg_errgroup_wait(g, POLL, NULL), WG_TIMEOUT);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

/* The grace period is one, however many waits it is spread over. */
static void waits_that_end_early_do_not_prolong_it(void **state) {
    (void)state;
    struct gate gate;
    wg_errgroup *g = with_straggler(&gate, SOON);
    assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
    EVENTUALLY(wg_errgroup_wait(g, AFTER(WG_MILLISECOND), NULL) == WG_OK);
    assert_int_equal(wg_errgroup_get_counts(g).running, 1);
    wg_errgroup_release(g);
    let_it_end(&gate);
}

static void the_deadline_of_the_group_begins_it(void **state) {
    (void)state;
    struct gate gate = {0};
    wg_errgroup *g = new_group((wg_errgroup_options){.grace = SOON, .deadline = wg_after(SOON)});
    wg_status status = wg_errgroup_go(g, pass_gate, &gate, NULL, NULL);
    assert_true(status == WG_OK || status == WG_DEADLINE_EXCEEDED); /* the latter on a slow machine */
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_DEADLINE_EXCEEDED);
    wg_errgroup_release(g);
    let_it_end(&gate);
}

/* A straggler may fail, and its error is listed, but the outcome stays. */
static wg_error *fail_after_gate(void *gate, wg_context *ctx) {
    pass_gate(gate, ctx);
    return wg_error_new(WG_ERROR_FAILURE, gate, NULL);
}

static void a_late_error_is_listed_and_changes_nothing(void **state) {
    (void)state;
    struct gate gate = {0};
    wg_errgroup *g = new_group((wg_errgroup_options){.grace = WG_MILLISECOND});
    wg_error *first = wg_error_no_memory(), *all[2];
    go(g, fail_after_gate, &gate);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
    assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, &first), WG_OK);
    assert_null(first);
    gate_open(&gate);
    EVENTUALLY(wg_errgroup_get_counts(g).running == 0);
    assert_status(wg_errgroup_wait(g, NULL, &first), WG_OK);
    assert_null(first);
    assert_int_equal(wg_errgroup_errors(g, all, 2), 1);
    assert_ptr_equal(wg_error_value(all[0]), &gate);
    wg_errgroup_release(g);
}

/* The memory of stragglers: group, argument and context stay until the last has ended. */
static atomic_int destroyed;
static void destroy(void *value) {
    free(value);
    atomic_fetch_add(&destroyed, 1);
}

static atomic_bool go_on;
static wg_error *use_everything_late(void *memory, wg_context *ctx) {
    EVENTUALLY(atomic_load(&go_on));
    memset(memory, 1, 100);
    REQUIRE(wg_context_status(ctx) == WG_CANCELLED);
    return wg_error_new(WG_ERROR_FAILURE, malloc(10), destroy);
}

static void stragglers_may_use_everything_until_they_end(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.grace = WG_MILLISECOND});
    for (int i = 0; i < 3; i++)
        assert_status(wg_errgroup_go(g, use_everything_late, malloc(100), destroy, NULL), WG_OK);
    EVENTUALLY(wg_errgroup_get_counts(g).running == 3);
    assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
    assert_int_equal(atomic_load(&destroyed), 0);
    atomic_store(&go_on, true);
    EVENTUALLY(atomic_load(&destroyed) == 6);
}

/* The end of grace against a task that ends just then. */
static wg_error *end_about_then(void *delay, wg_context *ctx) {
    REQUIRE(wg_context_wait(ctx, NULL) == WG_OK);
    int64_t until = wg_now() + (intptr_t)delay;
    while (wg_now() < until) {}
    return NULL;
}

static void its_end_against_the_end_of_a_task(void **state) {
    (void)state;
    for (int i = 0; i < effort(200); i++) {
        intptr_t delay = i % 100 * 5000;
        wg_errgroup *g = new_group((wg_errgroup_options){.grace = 250000});
        go(g, end_about_then, (void *)delay);
        EVENTUALLY(wg_errgroup_get_counts(g).running == 1);
        assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
        assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
        EVENTUALLY(wg_errgroup_get_counts(g).completed == 1);
        wg_errgroup_release(g);
    }
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(without_grace_wait_returns_when_every_task_has_ended),
        cmocka_unit_test(leaves_stragglers_behind_when_it_is_over),
        cmocka_unit_test(is_for_cancelled_groups_only),
        cmocka_unit_test(begins_when_the_group_is_cancelled_during_the_wait),
        cmocka_unit_test(a_task_that_ends_within_it_is_waited_for),
        cmocka_unit_test(a_shorter_deadline_of_the_wait_is_a_timeout),
        cmocka_unit_test(waits_that_end_early_do_not_prolong_it),
        cmocka_unit_test(the_deadline_of_the_group_begins_it),
        cmocka_unit_test(a_late_error_is_listed_and_changes_nothing),
        cmocka_unit_test(stragglers_may_use_everything_until_they_end),
        cmocka_unit_test(its_end_against_the_end_of_a_task),
    };
    return RUN("errgroup_grace", tests);
}
