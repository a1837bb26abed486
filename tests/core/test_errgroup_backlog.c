/* backlog: so many tasks may be queued ahead of the slots before go blocks; no more run than the limit allows. */
#include "tasks.h"

static atomic_int active, most, ran;

static wg_error *measure(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    int now = atomic_fetch_add(&active, 1) + 1, seen = atomic_load(&most);
    while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now)) {}
    atomic_fetch_add(&ran, 1);
    atomic_fetch_sub(&active, 1);
    return NULL;
}

static void begin(void) {
    atomic_store(&active, 0);
    atomic_store(&most, 0);
    atomic_store(&ran, 0);
}

static void so_many_are_queued_before_go_blocks(void **state) {
    (void)state;
    struct gate gate = {0};
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 2, .backlog = 3});
    assert_int_equal(wg_errgroup_backlog(g), 3);
    begin();
    for (int i = 0; i < 2; i++)
        go(g, pass_gate, &gate);
    EVENTUALLY(atomic_load(&gate.inside) == 2);
    for (int i = 0; i < 3; i++) {
        assert_status(wg_errgroup_try_go(g, measure, NULL, NULL), WG_LIMIT); /* it takes a slot or nothing */
        assert_status(wg_errgroup_enter(g), WG_LIMIT);
        go(g, measure, NULL);
    }
    assert_status(wg_errgroup_go(g, measure, NULL, NULL, POLL), WG_TIMEOUT);
    assert_status(wg_errgroup_go(g, measure, NULL, NULL, AFTER(1000)), WG_TIMEOUT);
    wg_errgroup_counts counts = wg_errgroup_get_counts(g);
    assert_int_equal(counts.running, 2);
    assert_int_equal(counts.pending, 3);
    assert_int_equal(atomic_load(&ran), 0);
    gate_open(&gate);
    assert_status(wg_errgroup_go(g, measure, NULL, NULL, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(atomic_load(&ran), 4);
    wg_errgroup_release(g);
}

static void never_more_run_than_the_limit_allows(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 3, .backlog = 50});
    begin();
    for (int i = 0; i < effort(20000); i++) {
        go(g, measure, NULL);
        wg_errgroup_counts counts = wg_errgroup_get_counts(g);
        assert_in_range(counts.running, 0, 3);
        assert_in_range(wg_count(wg_errgroup_tasks(g)), 0, 53);
    }
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(atomic_load(&ran), effort(20000));
    assert_in_range(atomic_load(&most), 1, 3);
    wg_errgroup_release(g);
}

/* In the order of coming, though some are queued and others wait. */
static int order[20];
static atomic_int place;

static wg_error *note_order(void *number, wg_context *ctx) {
    (void)ctx;
    order[atomic_fetch_add(&place, 1)] = (int)(intptr_t)number;
    return NULL;
}

struct goer {
    wg_errgroup *g;
    intptr_t number;
    struct thread thread;
};

static void *go_in_thread(void *raw) {
    struct goer *me = raw;
    REQUIRE(wg_errgroup_go(me->g, note_order, (void *)me->number, NULL, NULL) == WG_OK);
    return NULL;
}

static void queued_tasks_start_in_the_order_of_coming(void **state) {
    (void)state;
    struct goer goers[5];
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1, .backlog = 5});
    atomic_store(&place, 0);
    assert_status(wg_errgroup_enter(g), WG_OK);
    for (intptr_t i = 0; i < 5; i++)
        assert_status(wg_errgroup_go(g, note_order, (void *)i, NULL, NULL), WG_OK);
    for (int i = 0; i < 5; i++) {
        goers[i] = (struct goer){.g = g, .number = 5 + i};
        thread_start(&goers[i].thread, go_in_thread, &goers[i]);
        let_sleep_on(wg_errgroup_context(g), i + 1);
    }
    assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    for (int i = 0; i < 5; i++)
        thread_join(&goers[i].thread);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(atomic_load(&place), 10);
    for (int i = 0; i < 5; i++)
        assert_int_equal(order[i], i);
    wg_errgroup_release(g);
}

/* Cancelled: what is queued never starts, and ends at once, whatever runs. */
static atomic_int never_started, ended;
static void settled(void *unused, wg_how how) {
    (void)unused;
    atomic_fetch_add(&never_started, how == WG_NEVER_STARTED);
}
static void count_end(void *unused) {
    (void)unused;
    atomic_fetch_add(&ended, 1);
}

static void a_cancel_ends_what_is_queued(void **state) {
    (void)state;
    struct gate gate = {0};
    wg_task task = {.fn = measure, .settled = settled, .ended = count_end};
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1, .backlog = 100});
    begin();
    atomic_store(&never_started, 0);
    atomic_store(&ended, 0);
    go(g, pass_gate, &gate);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
    for (int i = 0; i < 50; i++)
        assert_status(wg_errgroup_start(g, &task, NULL), WG_OK);
    assert_status(wg_errgroup_go(g, measure, NULL, count_end, NULL), WG_OK);
    assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
    assert_int_equal(atomic_load(&never_started), 50); /* in this thread, before the call returned */
    assert_int_equal(atomic_load(&ended), 51);
    assert_int_equal(wg_count(wg_errgroup_tasks(g)), 1);
    assert_int_equal(wg_errgroup_get_counts(g).running, 1);
    assert_int_equal(wg_errgroup_get_counts(g).completed, 51);
    assert_status(wg_errgroup_start(g, &task, NULL), WG_CANCELLED);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(atomic_load(&ran), 0);
    wg_errgroup_release(g);
}

static void a_group_given_up_runs_what_is_queued(void **state) {
    (void)state;
    leaves_tasks();
    struct gate gate = {0};
    begin();
    for (int i = 0; i < effort(200); i++) {
        wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1, .backlog = 10});
        gate = (struct gate){0};
        go(g, pass_gate, &gate);
        for (int j = 0; j < 10; j++)
            go(g, measure, NULL);
        wg_errgroup_release(g);
        gate_open(&gate);
        EVENTUALLY(atomic_load(&ran) == 10 * (i + 1));
    }
}

static void a_pool_that_stops_meanwhile_drops_what_is_queued(void **state) {
    (void)state;
    wg_pool *pool;
    assert_status(wg_pool_new(&pool, &(wg_pool_host){.cores = 1}), WG_OK);
    wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool, .limit = 1, .backlog = 20000});
    begin();
    assert_status(wg_errgroup_enter(g), WG_OK);
    for (int i = 0; i < 20000; i++)
        go(g, measure, NULL);
    wg_pool_stop(pool);
    assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK); /* and the stack has not overflowed */
    assert_int_equal(atomic_load(&ran), 0);
    assert_int_equal(wg_errgroup_get_counts(g).completed, 20001);
    wg_errgroup_release(g);
    wg_pool_release(pool);
}

static void more_slots_start_what_is_queued(void **state) {
    (void)state;
    struct gate gate = {0};
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1, .backlog = 5});
    for (int i = 0; i < 5; i++)
        go(g, pass_gate, &gate);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
    assert_int_equal(wg_errgroup_get_counts(g).pending, 4);
    assert_status(wg_errgroup_set_limit(g, 3), WG_OK);
    EVENTUALLY(atomic_load(&gate.inside) == 3);
    assert_status(wg_errgroup_try_go(g, measure, NULL, NULL), WG_LIMIT);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

static void an_observer_waits_behind_what_is_queued(void **state) {
    (void)state;
    wg_observer observer;
    struct gate gate = {0};
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1, .backlog = 1});
    assert_status(wg_errgroup_enter(g), WG_OK);
    go(g, pass_gate, &gate);
    assert_status(wg_event_observe(wg_slot(g), &observer, count_end, NULL), WG_OK);
    atomic_store(&ended, 0);
    assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
    assert_int_equal(atomic_load(&ended), 0);
    assert_status(wg_errgroup_go(g, measure, NULL, NULL, AFTER(1000)), WG_TIMEOUT); /* nobody passes it by */
    gate_open(&gate);
    EVENTUALLY(atomic_load(&ended) == 1);
    assert_status(wg_errgroup_give_slot(g), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

/* A task at the limit starts another one: with a place ahead there is no deadlock; without one more there is. */
static wg_error *start_two(void *g, wg_context *ctx) {
    (void)ctx;
    REQUIRE(wg_errgroup_go(g, measure, NULL, NULL, NULL) == WG_OK);
    REQUIRE(wg_errgroup_go(g, measure, NULL, NULL, NULL) == WG_DEADLOCK);
    return NULL;
}

static void a_place_ahead_is_no_deadlock(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1, .backlog = 1});
    begin();
    go(g, start_two, g);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(atomic_load(&ran), 1);
    assert_status(wg_errgroup_new(&g, &(wg_errgroup_options){.backlog = -1}), WG_INVALID);
    wg_errgroup_release(g);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_are_queued_before_go_blocks),
        cmocka_unit_test(never_more_run_than_the_limit_allows),
        cmocka_unit_test(queued_tasks_start_in_the_order_of_coming),
        cmocka_unit_test(a_cancel_ends_what_is_queued),
        cmocka_unit_test(a_group_given_up_runs_what_is_queued),
        cmocka_unit_test(a_pool_that_stops_meanwhile_drops_what_is_queued),
        cmocka_unit_test(more_slots_start_what_is_queued),
        cmocka_unit_test(an_observer_waits_behind_what_is_queued),
        cmocka_unit_test(a_place_ahead_is_no_deadlock),
    };
    return RUN("errgroup_backlog", tests);
}
