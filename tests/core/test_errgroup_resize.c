/* The limit may change at any time: more room lets blocked calls in, less takes effect as tasks end. */
#include "tasks.h"

struct want {
    wg_errgroup *g;
    struct gate *gate;
    atomic_bool in;
    struct thread thread;
};

static void *want_in(void *raw) {
    struct want *w = raw;
    REQUIRE(wg_errgroup_go(w->g, pass_gate, w->gate, NULL, NULL) == WG_OK);
    atomic_store(&w->in, true);
    return NULL;
}

static void shows_the_limit(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    assert_int_equal(wg_errgroup_limit(g), 0);
    assert_status(wg_errgroup_set_limit(g, 3), WG_OK);
    assert_int_equal(wg_errgroup_limit(g), 3);
    assert_status(wg_errgroup_set_limit(g, WG_NO_LIMIT), WG_OK);
    assert_int_equal(wg_errgroup_limit(g), 0);
    wg_errgroup_release(g);
}

static void more_room_lets_blocked_calls_in(void **state) {
    (void)state;
    for (int no_limit = 0; no_limit < 2; no_limit++) {
        struct gate gate = {0};
        wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1});
        struct want w[4];
        go(g, pass_gate, &gate);
        for (int i = 0; i < 4; i++) {
            w[i] = (struct want){.g = g, .gate = &gate};
            thread_start(&w[i].thread, want_in, &w[i]);
            let_sleep_on(wg_errgroup_context(g), i + 1);
        }
        assert_status(wg_errgroup_set_limit(g, 3), WG_OK);
        EVENTUALLY(atomic_load(&gate.inside) == 3);
        assert_int_equal(wg_count(wg_errgroup_tasks(g)), 3);
        assert_status(wg_errgroup_set_limit(g, no_limit ? WG_NO_LIMIT : 5), WG_OK);
        EVENTUALLY(atomic_load(&gate.inside) == 5);
        gate_open(&gate);
        for (int i = 0; i < 4; i++)
            thread_join(&w[i].thread);
        assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
        wg_errgroup_release(g);
    }
}

/* In Go: unlimited, then a limit while tasks run, is a deadlock in their end. */
static void less_takes_effect_as_tasks_end(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    for (int i = 0; i < 5; i++)
        assert_status(wg_errgroup_enter(g), WG_OK);
    assert_status(wg_errgroup_set_limit(g, 2), WG_OK);
    for (int left = 5; left > 2; left--) {
        assert_status(wg_errgroup_enter(g), WG_LIMIT);
        assert_status(wg_errgroup_go(g, succeed, NULL, NULL, AFTER(1000)), WG_TIMEOUT);
        wg_errgroup_leave(g, NULL);
    }
    assert_status(wg_errgroup_enter(g), WG_LIMIT); /* two are left, and that is the limit */
    wg_errgroup_leave(g, NULL);
    assert_status(wg_errgroup_enter(g), WG_OK);
    assert_status(wg_errgroup_enter(g), WG_LIMIT);
    wg_errgroup_leave(g, NULL);
    wg_errgroup_leave(g, NULL);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

static void a_blocked_call_waits_for_the_lower_limit(void **state) {
    (void)state;
    struct gate gate = {.open = true};
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 3});
    struct want w = {.g = g, .gate = &gate};
    for (int i = 0; i < 3; i++)
        assert_status(wg_errgroup_enter(g), WG_OK);
    thread_start(&w.thread, want_in, &w);
    let_sleep_on(wg_errgroup_context(g), 1);
    assert_status(wg_errgroup_set_limit(g, 1), WG_OK);
    wg_errgroup_leave(g, NULL);
    wg_errgroup_leave(g, NULL);
    nap();
    assert_false(atomic_load(&w.in)); /* one is left, and that is the limit */
    wg_errgroup_leave(g, NULL);
    thread_join(&w.thread);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

static void a_refused_limit_changes_nothing(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 4});
    static const int bad[] = {0, -1, INT32_MIN};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_status(wg_errgroup_set_limit(g, bad[i]), WG_INVALID);
        assert_int_equal(wg_errgroup_limit(g), 4);
    }
    wg_errgroup_release(g);
}

static void may_change_before_during_and_after_everything(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1});
    assert_status(wg_errgroup_set_limit(g, 2), WG_OK);
    go(g, succeed, NULL);
    assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
    assert_status(wg_errgroup_set_limit(g, 1), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_status(wg_errgroup_set_limit(g, 7), WG_OK);
    assert_int_equal(wg_errgroup_limit(g), 7);
    wg_errgroup_release(g);
}

/* Told of a slot by a resize. */
static void tell(void *times) { atomic_fetch_add((atomic_int *)times, 1); }

static void an_observer_is_told_of_the_slot_of_a_larger_limit(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 2});
    wg_observer observer;
    atomic_int times = 0;
    assert_status(wg_errgroup_enter(g), WG_OK);
    assert_status(wg_errgroup_enter(g), WG_OK);
    assert_status(wg_event_observe(wg_slot(g), &observer, tell, &times), WG_OK);
    assert_status(wg_errgroup_set_limit(g, 1), WG_OK);
    assert_int_equal(atomic_load(&times), 0);
    assert_status(wg_errgroup_set_limit(g, 3), WG_OK);
    assert_int_equal(atomic_load(&times), 1);
    assert_status(wg_errgroup_enter_slot(g), WG_OK);
    for (int i = 0; i < 3; i++)
        wg_errgroup_leave(g, NULL);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_the_limit),
        cmocka_unit_test(more_room_lets_blocked_calls_in),
        cmocka_unit_test(less_takes_effect_as_tasks_end),
        cmocka_unit_test(a_blocked_call_waits_for_the_lower_limit),
        cmocka_unit_test(a_refused_limit_changes_nothing),
        cmocka_unit_test(may_change_before_during_and_after_everything),
        cmocka_unit_test(an_observer_is_told_of_the_slot_of_a_larger_limit),
    };
    return RUN("errgroup_resize", tests);
}
