/* Whoever waits for a slot is served in the order of coming, threads and observers alike, and gets a slot, not a hint. */
#include "tasks.h"

#include <stdlib.h>
#include <string.h>

/* An observer that waits for a slot: a coroutine, or a main program that may not block. */
struct seeker {
    wg_errgroup *g;
    wg_observer observer;
    atomic_int told; /* how often */
    wg_status status;
    int number; /* in the order in which slots were given */
};
static atomic_int next_number;

static void hear(void *raw) {
    struct seeker *me = raw;
    me->status = wg_slot_status(&me->observer);
    me->number = atomic_fetch_add(&next_number, 1);
    atomic_fetch_add(&me->told, 1);
}

static void seek(struct seeker *me, wg_errgroup *g) {
    *me = (struct seeker){.g = g, .number = -1};
    assert_status(wg_event_observe(wg_slot(g), &me->observer, hear, me), WG_OK);
}

/* A thread that waits in go. */
struct goer {
    wg_errgroup *g;
    wg_status status;
    atomic_int number;
    struct thread thread;
};

static wg_error *take_number(void *raw, wg_context *ctx) {
    (void)ctx;
    atomic_store(&((struct goer *)raw)->number, atomic_fetch_add(&next_number, 1));
    return NULL;
}

static void *go_in_thread(void *raw) {
    struct goer *me = raw;
    me->status = wg_errgroup_go(me->g, take_number, me, NULL, NULL);
    return NULL;
}

static void start_goer(struct goer *me, wg_errgroup *g, int already) {
    *me = (struct goer){.g = g, .number = -1};
    thread_start(&me->thread, go_in_thread, me);
    let_sleep_on(wg_errgroup_context(g), already + 1);
}

static wg_errgroup *full_group(int backlog) {
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1, .backlog = backlog});
    atomic_store(&next_number, 0);
    assert_status(wg_errgroup_enter(g), WG_OK);
    return g;
}

static void an_observer_gets_a_slot_that_nobody_can_take(void **state) {
    (void)state;
    struct seeker a, b;
    wg_errgroup *g = full_group(0);
    seek(&a, g);
    seek(&b, g);
    assert_int_equal(a.told + b.told, 0);
    assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    assert_int_equal(a.told, 1);
    assert_status(a.status, WG_OK);
    assert_int_equal(b.told, 0);
    assert_status(wg_errgroup_try_go(g, succeed, NULL, NULL), WG_LIMIT);
    assert_status(wg_errgroup_wait(g, POLL, NULL), WG_TIMEOUT); /* the slot counts */
    assert_int_equal(wg_errgroup_get_counts(g).running, 0);
    assert_int_equal(wg_errgroup_get_counts(g).pending, 1);
    assert_status(wg_errgroup_enter_slot(g), WG_OK);
    assert_int_equal(wg_errgroup_get_counts(g).running, 1);
    assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    assert_int_equal(b.told, 1);
    assert_status(wg_errgroup_give_slot(g), WG_OK); /* it has changed its mind */
    assert_status(wg_errgroup_give_slot(g), WG_NEGATIVE);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(wg_errgroup_get_counts(g).completed, 2);
    wg_errgroup_release(g);
}

static void threads_and_observers_are_served_in_the_order_of_coming(void **state) {
    (void)state;
    enum { PAIRS = 4 };
    struct seeker seekers[PAIRS];
    struct goer goers[PAIRS];
    wg_errgroup *g = full_group(0);
    for (int i = 0; i < PAIRS; i++) {
        start_goer(&goers[i], g, i);
        seek(&seekers[i], g);
    }
    assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    for (int i = 0; i < PAIRS; i++) {
        thread_join(&goers[i].thread);
        assert_status(goers[i].status, WG_OK);
        EVENTUALLY(atomic_load(&seekers[i].told) == 1);
        assert_int_equal(atomic_load(&goers[i].number), 2 * i);
        assert_int_equal(seekers[i].number, 2 * i + 1);
        if (i + 1 < PAIRS)
            assert_int_equal(atomic_load(&goers[i + 1].number), -1);
        assert_status(wg_errgroup_enter_slot(g), WG_OK);
        assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    }
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

/* The trial in which an observer starved: threads that want a slot all the time. */
static atomic_bool stop;

static void *go_all_the_time(void *g) {
    while (!atomic_load(&stop))
        REQUIRE(wg_errgroup_go(g, succeed, NULL, NULL, NULL) == WG_OK);
    return NULL;
}

static void an_observer_does_not_starve_among_threads(void **state) {
    (void)state;
    struct thread threads[4];
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 2});
    atomic_store(&stop, false);
    for (int i = 0; i < 4; i++)
        thread_start(&threads[i], go_all_the_time, g);
    for (int i = 0; i < effort(200); i++) {
        struct seeker me;
        seek(&me, g);
        EVENTUALLY(atomic_load(&me.told) == 1);
        assert_status(me.status, WG_OK);
        wg_task task = {.fn = succeed};
        assert_status(wg_errgroup_start_slot(g, &task), WG_OK);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 4; i++)
        thread_join(&threads[i]);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

static void an_observer_hears_of_the_end(void **state) {
    (void)state;
    struct seeker before, after, finished;
    wg_errgroup *g = full_group(0);
    seek(&before, g);
    assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
    assert_int_equal(before.told, 1);
    assert_status(before.status, WG_CANCELLED);
    seek(&after, g);
    assert_int_equal(after.told, 1);
    assert_status(after.status, WG_CANCELLED);
    assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    seek(&finished, g);
    assert_true(finished.status == WG_FINISHED || finished.status == WG_CANCELLED);
    assert_status(wg_errgroup_give_slot(g), WG_NEGATIVE); /* none was taken */
    wg_errgroup_release(g);
}

static void an_observer_that_leaves_lets_the_next_one_in(void **state) {
    (void)state;
    struct seeker a, b, c;
    wg_errgroup *g = full_group(0);
    seek(&a, g);
    seek(&b, g);
    assert_true(wg_event_unobserve(wg_slot(g), &a.observer));
    assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    assert_int_equal(a.told, 0);
    assert_int_equal(b.told, 1);
    assert_false(wg_event_unobserve_sync(wg_slot(g), &b.observer));
    assert_status(wg_errgroup_give_slot(g), WG_OK);
    seek(&c, g); /* there is a slot: it is taken at once */
    assert_int_equal(c.told, 1);
    assert_status(c.status, WG_OK);
    assert_status(wg_errgroup_give_slot(g), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

static void a_thread_may_wait_for_a_slot_alone(void **state) {
    (void)state;
    wg_errgroup *g = full_group(0);
    assert_status(wg_event_wait(wg_slot(g), POLL), WG_TIMEOUT);
    assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    assert_status(wg_event_wait(wg_slot(g), NULL), WG_OK);
    assert_status(wg_errgroup_enter(g), WG_LIMIT);
    wg_task task = {.fn = succeed};
    assert_status(wg_errgroup_start_slot(g, &task), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_status(wg_errgroup_start_slot(NULL, &task), WG_INVALID);
    assert_status(wg_errgroup_enter_slot(NULL), WG_INVALID);
    assert_status(wg_errgroup_give_slot(NULL), WG_INVALID);
    wg_errgroup_release(g);
}

/* A task of the caller's making, such as a coroutine, that holds a slot and waits for one. */
static wg_waiting *begin_to_wait(struct seeker *me, char **report, wg_status expected) {
    wg_waiting *waiting;
    wg_waiting_task task = {.group = me->g, .arg = me, .context = wg_errgroup_context(me->g), .name = "coroutine"};
    wg_waiting_for what = {.task = &task, .event = wg_slot(me->g), .observer = &me->observer, .context = task.context};
    assert_status(wg_waiting_begin(&waiting, &what, report), expected);
    return waiting;
}

static void the_last_of_all_that_hold_and_wait_hears_of_the_deadlock(void **state) {
    (void)state;
    struct seeker a, b, outside;
    char *report;
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 2, .name = "full"});
    assert_status(wg_errgroup_enter(g), WG_OK);
    assert_status(wg_errgroup_enter(g), WG_OK);
    seek(&outside, g);
    seek(&a, g);
    wg_waiting *waiting = begin_to_wait(&a, &report, WG_OK);
    seek(&b, g);
    assert_null(begin_to_wait(&b, &report, WG_DEADLOCK));
    assert_non_null(
        strstr(report, "this call, in task 'coroutine' of group 'full' (C), waits for a slot of group 'full'"));
    free(report);
    assert_int_equal(a.told + b.told + outside.told, 0);
    assert_true(wg_event_unobserve(wg_slot(g), &b.observer));
    assert_status(wg_errgroup_leave(g, NULL), WG_OK); /* that of b, which has heard */
    assert_status(outside.status, WG_OK);
    assert_status(wg_errgroup_give_slot(g), WG_OK);
    assert_status(a.status, WG_OK);
    assert_null(wg_waiting_end(waiting));
    assert_status(wg_errgroup_give_slot(g), WG_OK);
    assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

static void the_deadlock_is_noticed_when_the_last_other_task_ends(void **state) {
    (void)state;
    struct seeker a;
    char *report;
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 2});
    assert_status(wg_errgroup_enter(g), WG_OK);
    assert_status(wg_errgroup_enter(g), WG_OK);
    assert_status(wg_errgroup_set_limit(g, 1), WG_OK); /* two run still: the end of one gives no slot */
    seek(&a, g);
    wg_waiting *waiting = begin_to_wait(&a, &report, WG_OK);
    assert_int_equal(a.told, 0);
    assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    assert_int_equal(a.told, 1);
    assert_status(a.status, WG_DEADLOCK);
    report = wg_waiting_end(waiting);
    assert_non_null(strstr(report, "task 'coroutine' of a group (C)"));
    free(report);
    assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

static void more_slots_let_observers_in(void **state) {
    (void)state;
    struct seeker a, b, c;
    wg_errgroup *g = full_group(0);
    seek(&a, g);
    seek(&b, g);
    seek(&c, g);
    assert_status(wg_errgroup_set_limit(g, 3), WG_OK);
    assert_int_equal(a.told + b.told, 2);
    assert_int_equal(c.told, 0);
    assert_true(wg_event_unobserve(wg_slot(g), &c.observer));
    assert_status(wg_errgroup_give_slot(g), WG_OK);
    assert_status(wg_errgroup_give_slot(g), WG_OK);
    assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(an_observer_gets_a_slot_that_nobody_can_take),
        cmocka_unit_test(threads_and_observers_are_served_in_the_order_of_coming),
        cmocka_unit_test(an_observer_does_not_starve_among_threads),
        cmocka_unit_test(an_observer_hears_of_the_end),
        cmocka_unit_test(an_observer_that_leaves_lets_the_next_one_in),
        cmocka_unit_test(a_thread_may_wait_for_a_slot_alone),
        cmocka_unit_test(the_last_of_all_that_hold_and_wait_hears_of_the_deadlock),
        cmocka_unit_test(the_deadlock_is_noticed_when_the_last_other_task_ends),
        cmocka_unit_test(more_slots_let_observers_in),
    };
    return RUN("errgroup_slots", tests);
}
