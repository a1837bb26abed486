/* At most `limit` tasks are unfinished; go waits for room and wakes when the group ends; try_go never blocks. */
#include "tasks.h"

static atomic_int active, most;

static wg_error *measure(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    int now = atomic_fetch_add(&active, 1) + 1, seen = atomic_load(&most);
    while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now)) {}
    if (now % 3 == 0)
        nap();
    atomic_fetch_sub(&active, 1);
    return NULL;
}

/* Go's TestGoLimit: 1025 tasks, limit 10, never more than 10 active. */
static void never_more_than_the_limit_are_active(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 10});
    assert_int_equal(wg_errgroup_limit(g), 10);
    atomic_store(&most, 0);
    for (int i = 0; i < 1025; i++) {
        go(g, measure, NULL);
        wg_errgroup_counts c = wg_errgroup_get_counts(g);
        assert_true(wg_count(wg_errgroup_tasks(g)) <= 10 && c.running <= 10);
    }
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_in_range(atomic_load(&most), 1, 10);
    assert_int_equal(wg_errgroup_get_counts(g).completed, 1025);
    wg_errgroup_release(g);
}

static void a_limit_of_one_is_one_after_the_other(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1});
    atomic_store(&most, 0);
    for (int i = 0; i < 500; i++)
        go(g, measure, NULL);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(atomic_load(&most), 1);
    wg_errgroup_release(g);
}

/* Go's TestTryGo: 42 fill the limit, the 43rd is refused; accepted again when there is room. */
static void try_go_is_refused_at_the_limit_and_accepted_below(void **state) {
    (void)state;
    struct gate gate = {0};
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 42});
    for (int i = 0; i < 42; i++)
        assert_status(wg_errgroup_try_go(g, pass_gate, &gate, NULL), WG_OK);
    for (int i = 0; i < 100; i++)
        assert_status(wg_errgroup_try_go(g, succeed, NULL, NULL), WG_LIMIT);
    assert_status(wg_errgroup_enter(g), WG_LIMIT);
    gate_open(&gate);
    EVENTUALLY(wg_errgroup_try_go(g, succeed, NULL, NULL) == WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(wg_errgroup_get_counts(g).completed, 43);
    wg_errgroup_release(g);
}

static void without_a_limit_all_are_taken(void **state) {
    (void)state;
    struct gate gate = {0};
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    assert_int_equal(wg_errgroup_limit(g), 0);
    for (int i = 0; i < 300; i++)
        assert_status(wg_errgroup_try_go(g, pass_gate, &gate, NULL), WG_OK);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

/* One that wants in, on a thread of its own. */
struct want {
    wg_errgroup *g;
    wg_until until;
    atomic_int ran;
    wg_status status;
    struct thread thread;
};

static void *want_in(void *raw) {
    struct want *w = raw;
    w->status = wg_errgroup_go(w->g, count, &w->ran, NULL, &w->until);
    return NULL;
}

static wg_errgroup *full_group(struct gate *gate) {
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1});
    *gate = (struct gate){0};
    go(g, pass_gate, gate);
    EVENTUALLY(atomic_load(&gate->inside) == 1);
    return g;
}

/* Three threads that want into a full group: it is that of all three. */
static void start_wanting(struct want w[3], struct gate *gate) {
    wg_errgroup *g = full_group(gate);
    for (int j = 0; j < 3; j++) {
        w[j] = (struct want){.g = g};
        thread_start(&w[j].thread, want_in, &w[j]);
    }
}

static void go_blocks_until_there_is_room(void **state) {
    (void)state;
    for (int i = 0; i < effort(20); i++) {
        struct gate gate;
        struct want w[3];
        start_wanting(w, &gate);
        let_sleep_on(wg_errgroup_context(w[0].g), 3);
        assert_int_equal(wg_errgroup_get_counts(w[0].g).completed, 0);
        gate_open(&gate);
        for (int j = 0; j < 3; j++) {
            thread_join(&w[j].thread);
            assert_status(w[j].status, WG_OK);
        }
        assert_status(wg_errgroup_wait(w[0].g, NULL, NULL), WG_OK);
        for (int j = 0; j < 3; j++)
            assert_int_equal(atomic_load(&w[j].ran), 1);
        wg_errgroup_release(w[0].g);
    }
}

static void a_blocked_go_times_out_and_leaves_nothing_behind(void **state) {
    (void)state;
    struct gate gate;
    wg_errgroup *g = full_group(&gate);
    wg_context *ctx;
    assert_status(wg_context_new(&ctx, NULL, WG_FOREVER), WG_OK);
    int64_t deadline = wg_after(SOON);
    wg_until until = until_deadline(deadline);
    assert_status(wg_errgroup_go(g, succeed, NULL, NULL, POLL), WG_TIMEOUT);
    assert_status(wg_errgroup_go(g, succeed, NULL, NULL, &until), WG_TIMEOUT);
    assert_true(wg_now() >= deadline);
    until = (wg_until){.deadline = wg_after(1000), .context = ctx};
    assert_status(wg_errgroup_go(g, succeed, NULL, NULL, &until), WG_TIMEOUT);
    assert_status(wg_context_cancel(ctx, NULL), WG_OK);
    assert_status(wg_errgroup_go(g, succeed, NULL, NULL, WITH(ctx)), WG_CONTEXT_ENDED);
    gate_open(&gate); /* and the slot is not lost to one who has left */
    EVENTUALLY(wg_count(wg_errgroup_tasks(g)) == 0);
    assert_status(wg_errgroup_try_go(g, succeed, NULL, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(wg_errgroup_get_counts(g).completed, 2);
    wg_errgroup_release(g);
    wg_context_release(ctx);
}

static void a_context_that_ends_wakes_a_blocked_go(void **state) {
    (void)state;
    struct gate gate;
    wg_context *ctx;
    assert_status(wg_context_new(&ctx, NULL, WG_FOREVER), WG_OK);
    struct want w = {.g = full_group(&gate), .until = {.context = ctx}};
    thread_start(&w.thread, want_in, &w);
    let_sleep_on(wg_errgroup_context(w.g), 1);
    assert_status(wg_context_cancel(ctx, NULL), WG_OK);
    thread_join(&w.thread);
    assert_status(w.status, WG_CONTEXT_ENDED);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(w.g, NULL, NULL), WG_OK);
    assert_int_equal(atomic_load(&w.ran), 0);
    wg_errgroup_release(w.g);
    wg_context_release(ctx);
}

static void cancelling_the_group_wakes_a_blocked_go(void **state) {
    (void)state;
    for (int i = 0; i < effort(20); i++) {
        struct gate gate;
        struct want w[3];
        start_wanting(w, &gate);
        if (i % 2)
            let_sleep_on(wg_errgroup_context(w[0].g), 3);
        assert_status(wg_errgroup_cancel(w[0].g, NULL), WG_OK);
        for (int j = 0; j < 3; j++) {
            thread_join(&w[j].thread);
            assert_status(w[j].status, WG_CANCELLED);
            assert_int_equal(atomic_load(&w[j].ran), 0);
        }
        gate_open(&gate);
        assert_status(wg_errgroup_wait(w[0].g, NULL, NULL), WG_OK);
        assert_int_equal(wg_errgroup_get_counts(w[0].g).completed, 1);
        wg_errgroup_release(w[0].g);
    }
}

static wg_error *open_and_fail(void *gate, wg_context *ctx) {
    (void)ctx;
    EVENTUALLY(atomic_load(&((struct gate *)gate)->open));
    return wg_error_new(WG_ERROR_FAILURE, gate, NULL);
}

static void an_error_wakes_a_blocked_go_with_the_cause(void **state) {
    (void)state;
    for (int i = 0; i < effort(20); i++) {
        struct gate gate = {0};
        wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1});
        struct want w = {.g = g};
        go(g, open_and_fail, &gate);
        thread_start(&w.thread, want_in, &w);
        if (i % 2)
            let_sleep_on(wg_errgroup_context(g), 1);
        gate_open(&gate);
        thread_join(&w.thread);
        if (w.status != WG_OK) /* it began before the cancel, and got the slot after it: then the task is skipped */
            assert_status(w.status, WG_CANCELLED);
        assert_ptr_equal(wg_error_value(wg_context_cause(wg_errgroup_context(g))), &gate);
        assert_status(wg_errgroup_wait(g, NULL, NULL), WG_FAILED);
        assert_int_equal(atomic_load(&w.ran), 0);
        wg_errgroup_release(g);
    }
}

static void its_deadline_wakes_a_blocked_go(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1, .deadline = wg_after(SOON)});
    wg_status entered = wg_errgroup_enter(g); /* refused if the deadline has passed already */
    assert_status(wg_errgroup_go(g, succeed, NULL, NULL, NULL), WG_DEADLINE_EXCEEDED);
    if (entered == WG_OK)
        wg_errgroup_leave(g, NULL);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_DEADLINE_EXCEEDED);
    wg_errgroup_release(g);
}

/* The slot is given back before the task counts as done. */
static void after_a_wait_for_the_tasks_there_is_room(void **state) {
    (void)state;
    for (int i = 0; i < effort(2000); i++) {
        wg_errgroup *g = new_group((wg_errgroup_options){.limit = 2});
        go(g, succeed, NULL);
        go(g, succeed, NULL);
        assert_status(wg_wait(wg_errgroup_tasks(g), NULL), WG_OK);
        assert_status(wg_errgroup_try_go(g, succeed, NULL, NULL), WG_OK);
        assert_status(wg_errgroup_try_go(g, succeed, NULL, NULL), WG_OK);
        assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
        wg_errgroup_release(g);
    }
}

/* Those who wait get in in the order of their coming. */
static wg_error *take_number(void *number, wg_context *ctx) {
    static atomic_int next;
    (void)ctx;
    atomic_store((atomic_int *)number, atomic_fetch_add(&next, 1));
    return NULL;
}

static void *want_number(void *raw) {
    struct want *w = raw;
    w->status = wg_errgroup_go(w->g, take_number, &w->ran, NULL, &w->until);
    return NULL;
}

static void room_goes_to_who_has_waited_longest(void **state) {
    (void)state;
    struct gate gate;
    struct want w[4] = {{.g = full_group(&gate)}};
    for (int j = 0; j < 4; j++) {
        w[j] = (struct want){.g = w[0].g};
        thread_start(&w[j].thread, want_number, &w[j]);
        let_sleep_on(wg_errgroup_context(w[0].g), j + 1);
    }
    gate_open(&gate);
    for (int j = 0; j < 4; j++)
        thread_join(&w[j].thread);
    assert_status(wg_errgroup_wait(w[0].g, NULL, NULL), WG_OK);
    for (int j = 1; j < 4; j++)
        assert_int_equal(atomic_load(&w[j].ran), atomic_load(&w[0].ran) + j);
    wg_errgroup_release(w[0].g);
}

/* A loop over try_go that sleeps until it has a slot: nothing is missed. */
static wg_waitgroup room;
static void say_slot(void *unused) {
    (void)unused;
    REQUIRE(wg_done(&room) == WG_OK);
}

static void a_loop_that_sleeps_until_it_has_a_slot_gets_all_its_tasks_in(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 2});
    atomic_int ran = 0;
    for (int i = 0; i < effort(3000);) {
        wg_status status = wg_errgroup_try_go(g, count, &ran, NULL);
        if (status == WG_OK) {
            i++;
            continue;
        }
        wg_observer observer;
        assert_status(status, WG_LIMIT);
        assert_status(wg_add(&room, 1), WG_OK);
        assert_status(wg_event_observe(wg_slot(g), &observer, say_slot, NULL), WG_OK);
        assert_status(wg_wait(&room, NULL), WG_OK);
        assert_false(wg_event_unobserve_sync(wg_slot(g), &observer));
        assert_status(wg_errgroup_start_slot(g, &(wg_task){.fn = count, .arg = &ran}), WG_OK);
        i++;
    }
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(atomic_load(&ran), effort(3000));
    wg_errgroup_release(g);
}

/* Tasks of the caller's own making. */
static void entered_tasks_take_slots_and_count(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 2});
    assert_status(wg_errgroup_enter(g), WG_OK);
    assert_status(wg_errgroup_enter(g), WG_OK);
    assert_status(wg_errgroup_enter(g), WG_LIMIT);
    assert_int_equal(wg_errgroup_get_counts(g).running, 2);
    assert_status(wg_errgroup_wait(g, POLL, NULL), WG_TIMEOUT);
    wg_errgroup_leave(g, NULL);
    assert_status(wg_errgroup_enter(g), WG_OK);
    wg_errgroup_leave(g, NULL);
    wg_errgroup_leave(g, NULL);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(wg_errgroup_get_counts(g).completed, 3);
    wg_errgroup_release(g);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(never_more_than_the_limit_are_active),
        cmocka_unit_test(a_limit_of_one_is_one_after_the_other),
        cmocka_unit_test(try_go_is_refused_at_the_limit_and_accepted_below),
        cmocka_unit_test(without_a_limit_all_are_taken),
        cmocka_unit_test(go_blocks_until_there_is_room),
        cmocka_unit_test(a_blocked_go_times_out_and_leaves_nothing_behind),
        cmocka_unit_test(a_context_that_ends_wakes_a_blocked_go),
        cmocka_unit_test(cancelling_the_group_wakes_a_blocked_go),
        cmocka_unit_test(an_error_wakes_a_blocked_go_with_the_cause),
        cmocka_unit_test(its_deadline_wakes_a_blocked_go),
        cmocka_unit_test(after_a_wait_for_the_tasks_there_is_room),
        cmocka_unit_test(room_goes_to_who_has_waited_longest),
        cmocka_unit_test(a_loop_that_sleeps_until_it_has_a_slot_gets_all_its_tasks_in),
        cmocka_unit_test(entered_tasks_take_slots_and_count),
    };
    return RUN("errgroup_limit", tests);
}
