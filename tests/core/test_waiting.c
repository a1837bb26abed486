/* Waits that take no thread, told to the library by wg_waiting_begin: coroutines that wait for each other, for threads, and
 * threads for them. */
#include "tasks.h"

#include <stdlib.h>
#include <string.h>

/* A coroutine, which is the one task of a group. */
struct coroutine {
    wg_errgroup *group;
    wg_waiting_task task;
    wg_waiting *waiting;
    wg_observer observer;
    atomic_int told;
    char *report;
};
static struct coroutine a, b;

/* Two pieces of a report, between which stands a time. */
static const char *says_after(const char *report, const char *first, const char *second) {
    const char *at = strstr(report, first);
    return at ? strstr(at, second) : NULL;
}

static void hear(void *raw) { atomic_fetch_add(&((struct coroutine *)raw)->told, 1); }

static void begin(struct coroutine *me, const char *name, wg_errgroup_options options) {
    *me = (struct coroutine){.group = NULL};
    options.name = name;
    me->group = new_group(options);
    me->task =
        (wg_waiting_task){.group = me->group, .arg = me, .context = wg_errgroup_context(me->group), .name = name};
    assert_status(wg_errgroup_enter(me->group), WG_OK);
}

static void end(struct coroutine *me) {
    assert_status(wg_errgroup_leave(me->group, NULL), WG_OK);
    assert_status(wg_errgroup_wait(me->group, NULL, NULL), WG_OK);
    wg_errgroup_release(me->group);
    free(me->report);
}

/* It waits as a coroutine does: bounded by the context that it has. */
static wg_status wait_for(struct coroutine *me, wg_waiting_for what) {
    what.task = &me->task;
    what.context = what.context ? what.context : me->task.context;
    if (what.event.subject_) {
        assert_status(wg_event_observe(what.event, &me->observer, hear, me), WG_OK);
        what.observer = &me->observer;
    }
    wg_status status = wg_waiting_begin(&me->waiting, &what, &me->report);
    if (status != WG_OK && what.event.subject_)
        assert_true(wg_event_unobserve(what.event, &me->observer));
    return status;
}

static wg_status wait_for_group(struct coroutine *me, wg_errgroup *g) {
    return wait_for(me, (wg_waiting_for){.event = wg_outcome(g)});
}

static void suspend(struct coroutine *me, wg_event event) {
    assert_null(wg_waiting_end(me->waiting));
    wg_event_unobserve_sync(event, &me->observer);
}

static void coroutines_that_wait_for_each_others_group(void **state) {
    (void)state;
    begin(&a, "first", (wg_errgroup_options){0});
    begin(&b, "second", (wg_errgroup_options){0});
    assert_status(wait_for_group(&a, b.group), WG_OK);
    assert_status(wait_for_group(&b, a.group), WG_DEADLOCK);
    assert_non_null(
        strstr(b.report, "this call, in task 'second' of group 'second' (C), waits for all tasks of group 'first'"));
    assert_non_null(says_after(b.report, "in task 'first' of group 'first' (C), has waited ",
                               " s for all tasks of group 'second'"));
    assert_null(strstr(b.report, "'first' (C), waits"));
    assert_status(wg_errgroup_leave(b.group, NULL), WG_OK); /* it goes on, and ends */
    assert_int_equal(a.told, 1);
    assert_null(wg_waiting_end(a.waiting));
    assert_status(wg_errgroup_enter(b.group), WG_OK);
    end(&a);
    end(&b);
}

static void a_coroutine_that_waits_for_its_own_group(void **state) {
    (void)state;
    begin(&a, "own", (wg_errgroup_options){0});
    assert_status(wait_for_group(&a, a.group), WG_DEADLOCK);
    end(&a);
}

static void coroutines_that_wait_for_each_others_end(void **state) {
    (void)state;
    begin(&a, "first", (wg_errgroup_options){0});
    begin(&b, "second", (wg_errgroup_options){0});
    assert_status(wait_for(&a, (wg_waiting_for){.group = b.group, .arg = &b}), WG_OK);
    assert_status(wait_for(&b, (wg_waiting_for){.group = a.group, .arg = &b}), WG_OK); /* there is no such task */
    suspend(&b, wg_outcome(a.group));
    assert_status(wait_for(&b, (wg_waiting_for){.group = a.group, .arg = &a}), WG_DEADLOCK);
    assert_null(wg_waiting_end(a.waiting));
    end(&a);
    end(&b);
}

/* What stands for something that has no wait group: here both wait for all that have the same address. */
static void tasks_with_an_address_of_their_own(void **state) {
    (void)state;
    int scope;
    begin(&a, "first", (wg_errgroup_options){0});
    begin(&b, "second", (wg_errgroup_options){0});
    a.task.also = &scope;
    assert_status(wait_for_group(&a, b.group), WG_OK);
    assert_status(wait_for(&b, (wg_waiting_for){.also = &scope, .text = "all of a scope"}), WG_DEADLOCK);
    assert_non_null(strstr(b.report, "waits for all of a scope"));
    assert_null(wg_waiting_end(a.waiting));
    wg_event_unobserve_sync(wg_outcome(b.group), &a.observer);
    end(&a);
    end(&b);
}

static void what_can_end_is_no_part(void **state) {
    (void)state;
    wg_context *other;
    assert_status(wg_context_new(&other, NULL, WG_FOREVER), WG_OK);
    wg_waiting_for ways[] = {{.deadline = wg_after(60 * WG_SECOND)}, {.context = other}, {.doubtful = true}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        begin(&a, "first", (wg_errgroup_options){0});
        begin(&b, "second", (wg_errgroup_options){0});
        ways[i].event = wg_outcome(b.group);
        assert_status(wait_for(&a, ways[i]), WG_OK);
        assert_status(wait_for_group(&b, a.group), WG_OK);
        suspend(&a, wg_outcome(b.group));
        suspend(&b, wg_outcome(a.group));
        end(&a);
        end(&b);
    }
    wg_context_release(other);
}

static void a_group_with_a_deadline_is_no_part(void **state) {
    (void)state;
    begin(&a, "first", (wg_errgroup_options){.deadline = wg_after(60 * WG_SECOND)});
    begin(&b, "second", (wg_errgroup_options){0});
    assert_status(wait_for_group(&a, b.group), WG_OK);
    assert_status(wait_for_group(&b, a.group), WG_OK);
    suspend(&a, wg_outcome(b.group));
    suspend(&b, wg_outcome(a.group));
    end(&a);
    end(&b);
}

/* A wait that has been ended, and was not withdrawn yet. */
static void a_wait_that_has_its_wake_is_no_part(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    assert_status(wg_add(&wg, 1), WG_OK);
    begin(&a, "first", (wg_errgroup_options){0});
    begin(&b, "second", (wg_errgroup_options){0});
    b.task = (wg_waiting_task){.wg = &wg, .arg = &b, .context = b.task.context, .name = "second"};
    assert_status(wait_for(&a, (wg_waiting_for){.event = wg_zero(&wg)}), WG_OK);
    assert_status(wg_done(&wg), WG_OK);
    assert_status(wg_add(&wg, 1), WG_OK); /* the next round, to which the first does not belong */
    assert_status(wait_for_group(&b, a.group), WG_OK);
    suspend(&a, wg_zero(&wg));
    suspend(&b, wg_outcome(a.group));
    assert_status(wg_done(&wg), WG_OK);
    end(&a);
    end(&b);
}

static void a_cancelled_wait_is_no_part(void **state) {
    (void)state;
    begin(&a, "first", (wg_errgroup_options){0});
    begin(&b, "second", (wg_errgroup_options){0});
    assert_status(wait_for_group(&a, b.group), WG_OK);
    assert_status(wg_errgroup_cancel(a.group, NULL), WG_OK);
    assert_status(wait_for_group(&b, a.group), WG_OK);
    suspend(&a, wg_outcome(b.group));
    suspend(&b, wg_outcome(a.group));
    end(&a);
    end(&b);
}

static wg_status outcome;
static char text[2000];

static wg_error *wait_for_coroutine(void *unused, wg_context *ctx) {
    (void)unused, (void)ctx;
    outcome = wg_errgroup_wait(a.group, &(wg_until){.report = text, .report_size = sizeof text}, NULL);
    return NULL;
}

static void a_coroutine_and_a_thread(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.name = "threads"});
    begin(&a, "coroutines", (wg_errgroup_options){0});
    assert_status(wg_errgroup_enter(g), WG_OK); /* so that the wait does not end before the thread has begun */
    assert_status(wait_for_group(&a, g), WG_OK);
    go(g, wait_for_coroutine, NULL);
    assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    EVENTUALLY(atomic_load(&a.told) == 1);
    assert_status(outcome, WG_DEADLOCK);
    assert_non_null(
        strstr(text, "this call, in a task of group 'threads' (C), waits for all tasks of group 'coroutines'"));
    assert_non_null(strstr(text, "in task 'coroutines' of group 'coroutines' (C), has waited"));
    assert_null(wg_waiting_end(a.waiting));
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
    end(&a);
}

/* A thread that waits, and runs coroutines meanwhile: one of them waits for the task of the thread. */
static wg_error *drive(void *raw, wg_context *ctx) {
    wg_errgroup *threads = raw;
    wg_waiting *driving;
    wg_waiting_for what = {.event = wg_outcome(a.group), .context = ctx};
    REQUIRE(wg_waiting_begin(&driving, &what, &(char *){NULL}) == WG_OK);
    outcome = wait_for_group(&a, threads);
    REQUIRE(wg_waiting_end(driving) == NULL);
    return NULL;
}

static void a_coroutine_that_waits_for_the_task_that_drives_it(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.name = "threads"});
    begin(&a, "coroutines", (wg_errgroup_options){0});
    go(g, drive, g);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_status(outcome, WG_DEADLOCK);
    assert_non_null(says_after(a.report, "in a task of group 'threads' (C), has waited ",
                               " s for all tasks of group 'coroutines'"));
    wg_errgroup_release(g);
    end(&a);
}

/* The same, and the coroutine puts the thread to sleep: the wait of the task goes on inside of that. */
static wg_error *drive_and_block(void *raw, wg_context *ctx) {
    wg_errgroup *threads = raw;
    wg_waiting *driving;
    wg_waiting_for what = {.event = wg_outcome(a.group), .context = ctx};
    REQUIRE(wg_waiting_begin(&driving, &what, &(char *){NULL}) == WG_OK);
    (void)threads;
    outcome = wg_errgroup_wait(b.group, &(wg_until){.report = text, .report_size = sizeof text}, NULL);
    REQUIRE(wg_waiting_end(driving) == NULL);
    return NULL;
}

static void a_sleep_inside_of_a_wait_that_drives(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.name = "threads"});
    begin(&a, "idle", (wg_errgroup_options){0});
    begin(&b, "coroutines", (wg_errgroup_options){0});
    assert_status(wait_for_group(&b, g), WG_OK); /* at zero: it is told at once, and waits for nothing */
    suspend(&b, wg_outcome(g));
    assert_status(wg_errgroup_enter(g), WG_OK);
    assert_status(wait_for_group(&b, g), WG_OK);
    go(g, drive_and_block, g);
    assert_status(wg_errgroup_leave(g, NULL), WG_OK);
    EVENTUALLY(atomic_load(&b.told) == 2);
    assert_status(outcome, WG_DEADLOCK);
    suspend(&b, wg_outcome(g));
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
    end(&a);
    end(&b);
}

static void bad_input(void **state) {
    (void)state;
    char *report;
    wg_waiting *waiting;
    assert_status(wg_waiting_begin(NULL, &(wg_waiting_for){0}, &report), WG_INVALID);
    assert_status(wg_waiting_begin(&waiting, NULL, &report), WG_INVALID);
    assert_status(wg_waiting_begin(&waiting, &(wg_waiting_for){0}, NULL), WG_INVALID);
    assert_status(wg_waiting_begin(&waiting, &(wg_waiting_for){0}, &report), WG_OK); /* for nothing, by nobody */
    assert_null(wg_waiting_end(waiting));
    assert_null(wg_waiting_end(NULL));
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(coroutines_that_wait_for_each_others_group),
        cmocka_unit_test(a_coroutine_that_waits_for_its_own_group),
        cmocka_unit_test(coroutines_that_wait_for_each_others_end),
        cmocka_unit_test(tasks_with_an_address_of_their_own),
        cmocka_unit_test(what_can_end_is_no_part),
        cmocka_unit_test(a_group_with_a_deadline_is_no_part),
        cmocka_unit_test(a_wait_that_has_its_wake_is_no_part),
        cmocka_unit_test(a_cancelled_wait_is_no_part),
        cmocka_unit_test(a_coroutine_and_a_thread),
        cmocka_unit_test(a_coroutine_that_waits_for_the_task_that_drives_it),
        cmocka_unit_test(a_sleep_inside_of_a_wait_that_drives),
        cmocka_unit_test(bad_input),
    };
    return RUN("waiting", tests);
}
