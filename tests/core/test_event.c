/* Events: whatever can be waited for as one type, to block or to be told; the outcome of a group among them. */
#include "tasks.h"

static void tell(void *times) { atomic_fetch_add((atomic_int *)times, 1); }

static void an_event_without_an_object_is_refused(void **state) {
    (void)state;
    wg_observer observer;
    atomic_int times = 0;
    wg_waitgroup wg = WG_INIT;
    wg_event events[] = {wg_zero(NULL), wg_ended(NULL), wg_slot(NULL), wg_outcome(NULL), {0}};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        assert_status(wg_event_wait(events[i], POLL), WG_INVALID);
        assert_status(wg_event_observe(events[i], &observer, tell, &times), WG_INVALID);
        assert_false(wg_event_unobserve(events[i], &observer));
        assert_false(wg_event_unobserve_sync(events[i], &observer));
    }
    assert_status(wg_event_observe(wg_zero(&wg), NULL, tell, &times), WG_INVALID);
    assert_status(wg_event_observe(wg_zero(&wg), &observer, NULL, &times), WG_INVALID);
    assert_false(wg_event_unobserve(wg_zero(&wg), NULL));
    assert_status(wg_slot_status(NULL), WG_INVALID);
    assert_int_equal(atomic_load(&times), 0);
}

static void zero_and_the_end_of_a_context_are_events(void **state) {
    (void)state;
    wg_observer zero, end, dropped;
    atomic_int zeros = 0, ends = 0;
    wg_waitgroup wg = WG_INIT;
    wg_context *ctx;
    assert_status(wg_context_new(&ctx, NULL, WG_FOREVER), WG_OK);
    assert_status(wg_add(&wg, 1), WG_OK);
    assert_status(wg_event_wait(wg_zero(&wg), POLL), WG_TIMEOUT);
    assert_status(wg_event_wait(wg_ended(ctx), POLL), WG_TIMEOUT);
    assert_status(wg_event_observe(wg_zero(&wg), &zero, tell, &zeros), WG_OK);
    assert_status(wg_event_observe(wg_ended(ctx), &end, tell, &ends), WG_OK);
    assert_status(wg_event_observe(wg_ended(ctx), &dropped, tell, &ends), WG_OK);
    assert_true(wg_event_unobserve(wg_ended(ctx), &dropped));
    assert_status(wg_done(&wg), WG_OK);
    assert_status(wg_context_cancel(ctx, NULL), WG_OK);
    assert_int_equal(atomic_load(&zeros), 1);
    assert_int_equal(atomic_load(&ends), 1);
    assert_false(wg_event_unobserve_sync(wg_zero(&wg), &zero));
    assert_status(wg_event_wait(wg_zero(&wg), NULL), WG_OK);
    assert_status(wg_event_wait(wg_ended(ctx), NULL), WG_OK);
    wg_context_release(ctx);
}

static void the_outcome_comes_when_all_tasks_have_ended(void **state) {
    (void)state;
    for (int i = 0; i < effort(200); i++) {
        wg_observer observer, later;
        atomic_int times = 0;
        struct gate gate = {0};
        wg_errgroup *g = new_group((wg_errgroup_options){.grace = i % 2 ? HANG : 0});
        go(g, pass_gate, &gate);
        EVENTUALLY(atomic_load(&gate.inside) == 1);
        assert_status(wg_event_observe(wg_outcome(g), &observer, tell, &times), WG_OK);
        assert_int_equal(atomic_load(&times), 0);
        if (i % 3 == 0)
            assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
        assert_int_equal(atomic_load(&times), 0);
        gate_open(&gate);
        EVENTUALLY(atomic_load(&times) == 1);
        assert_status(wg_errgroup_wait(g, POLL, NULL), WG_OK);
        assert_status(wg_event_observe(wg_outcome(g), &later, tell, &times), WG_OK);
        assert_int_equal(atomic_load(&times), 2); /* it is there already */
        wg_errgroup_release(g);
    }
}

static void the_timer_brings_the_outcome_when_grace_is_over(void **state) {
    (void)state;
    for (int late = 0; late < 2; late++) {
        wg_observer observer;
        atomic_int times = 0;
        struct gate gate = {0};
        wg_errgroup *g = new_group((wg_errgroup_options){.grace = SOON});
        go(g, pass_gate, &gate);
        EVENTUALLY(atomic_load(&gate.inside) == 1);
        if (late)
            assert_status(wg_errgroup_cancel(g, wg_error_no_memory()), WG_OK);
        assert_status(wg_event_observe(wg_outcome(g), &observer, tell, &times), WG_OK);
        int64_t cancelled = wg_now();
        if (!late)
            assert_status(wg_errgroup_cancel(g, wg_error_no_memory()), WG_OK);
        EVENTUALLY(atomic_load(&times) == 1);
        assert_true(late || wg_now() - cancelled >= SOON);
        assert_int_equal(wg_count(wg_errgroup_tasks(g)), 1); /* a straggler */
        assert_status(wg_errgroup_wait(g, POLL, NULL), WG_CANCELLED);
        assert_status(wg_event_wait(wg_outcome(g), POLL), WG_OK);
        gate_open(&gate);
        EVENTUALLY(wg_count(wg_errgroup_tasks(g)) == 0);
        assert_int_equal(atomic_load(&times), 1);
        wg_errgroup_release(g);
    }
}

static void the_groups_deadline_starts_the_grace_too(void **state) {
    (void)state;
    wg_observer observer;
    atomic_int times = 0;
    struct gate gate = {0};
    wg_errgroup *g = new_group((wg_errgroup_options){.grace = SOON, .deadline = wg_after(SOON)});
    if (wg_errgroup_try_go(g, pass_gate, &gate, NULL) == WG_OK)
        assert_status(wg_event_observe(wg_outcome(g), &observer, tell, &times), WG_OK);
    else
        tell(&times);
    EVENTUALLY(atomic_load(&times) == 1);
    assert_status(wg_errgroup_wait(g, POLL, NULL), WG_DEADLINE_EXCEEDED);
    gate_open(&gate);
    EVENTUALLY(wg_count(wg_errgroup_tasks(g)) == 0);
    wg_errgroup_release(g);
}

static void an_outcome_observer_is_prevented_or_called(void **state) {
    (void)state;
    for (int i = 0; i < effort(500); i++) {
        wg_observer observer;
        atomic_int times = 0;
        wg_errgroup *g = new_group((wg_errgroup_options){.grace = HANG});
        go(g, succeed, NULL);
        assert_status(wg_event_observe(wg_outcome(g), &observer, tell, &times), WG_OK);
        bool prevented = wg_event_unobserve_sync(wg_outcome(g), &observer);
        assert_int_equal(atomic_load(&times), prevented ? 0 : 1);
        assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
        wg_errgroup_release(g);
    }
}

/* The observer gives up the last reference of the caller's. */
static void give_up(void *g) { wg_errgroup_release(g); }

static void the_observer_may_give_up_the_group(void **state) {
    (void)state;
    for (int i = 0; i < effort(500); i++) {
        wg_observer *observer = malloc(sizeof *observer);
        assert_non_null(observer);
        wg_errgroup *g = new_group((wg_errgroup_options){.grace = i % 2 ? HANG : 0});
        wg_context *ctx = wg_context_retain(wg_errgroup_context(g));
        go(g, succeed, NULL);
        wg_errgroup_retain(g);
        assert_status(wg_event_observe(wg_outcome(g), observer, give_up, g), WG_OK);
        assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
        if (wg_event_unobserve_sync(wg_outcome(g), observer))
            give_up(g);
        wg_errgroup_release(g);
        free(observer);
        wg_context_release(ctx);
    }
}

/* Added again before anybody asked: the next outcome is told too. */
static void each_round_of_tasks_is_told(void **state) {
    (void)state;
    atomic_int times = 0;
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    for (int i = 0; i < effort(300); i++) {
        wg_observer observer;
        go(g, succeed, NULL);
        assert_status(wg_event_observe(wg_outcome(g), &observer, tell, &times), WG_OK);
        EVENTUALLY(atomic_load(&times) == i + 1);
        wg_event_unobserve_sync(wg_outcome(g), &observer);
    }
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_without_an_object_is_refused),
        cmocka_unit_test(zero_and_the_end_of_a_context_are_events),
        cmocka_unit_test(the_outcome_comes_when_all_tasks_have_ended),
        cmocka_unit_test(the_timer_brings_the_outcome_when_grace_is_over),
        cmocka_unit_test(the_groups_deadline_starts_the_grace_too),
        cmocka_unit_test(an_outcome_observer_is_prevented_or_called),
        cmocka_unit_test(the_observer_may_give_up_the_group),
        cmocka_unit_test(each_round_of_tasks_is_told),
    };
    return RUN("event", tests);
}
