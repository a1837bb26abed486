/* Tasks that wait for each other: the call that makes it certain that none can go on returns WG_DEADLOCK, and says who
 * waits for whom. */
#include "tasks.h"

#include <string.h>

enum { GROUPS = 3 };
static wg_errgroup *groups[GROUPS];
static atomic_int alarms, ready;
static char report[2000];
static pthread_mutex_t report_lock = PTHREAD_MUTEX_INITIALIZER;

/* Status of a wait that may be the last; a report is kept. */
static bool alarmed(wg_status status, const char *text) {
    if (status != WG_DEADLOCK)
        return false;
    pthread_mutex_lock(&report_lock);
    strcpy(report, text);
    pthread_mutex_unlock(&report_lock);
    atomic_fetch_add(&alarms, 1);
    return true;
}

static void begin(void) {
    atomic_store(&alarms, 0);
    atomic_store(&ready, 0);
    report[0] = '\0';
    for (int i = 0; i < GROUPS; i++)
        groups[i] = new_group((wg_errgroup_options){.name = (const char *[]){"one", "two", "three"}[i]});
}

static void end(void) {
    for (int i = 0; i < GROUPS; i++) {
        assert_status(wg_errgroup_wait(groups[i], NULL, NULL), WG_OK);
        wg_errgroup_release(groups[i]);
    }
}

/* A task of each of `size` groups waits for the next group. */
static int size;

static wg_error *wait_for_next(void *number, wg_context *ctx) {
    char text[2000] = "";
    wg_place place = {.language = "C", .task = "waiter", .file = "ring.c", .line = 7};
    (void)ctx;
    atomic_fetch_add(&ready, 1);
    EVENTUALLY(atomic_load(&ready) >= size);
    wg_errgroup *next = groups[((intptr_t)number + 1) % size];
    wg_until until = {.place = &place, .report = text, .report_size = sizeof text};
    wg_status status = wg_errgroup_wait(next, &until, NULL);
    REQUIRE(alarmed(status, text) || status == WG_OK);
    return NULL;
}

static void groups_that_wait_for_each_other_in_a_ring(void **state) {
    (void)state;
    for (size = 2; size <= GROUPS; size++)
        for (int i = 0; i < effort(20); i++) {
            begin();
            for (intptr_t j = 0; j < size; j++)
                go(groups[j], wait_for_next, (void *)j);
            end();
            assert_int_equal(atomic_load(&alarms), 1);
        }
}

static void the_report_tells_each_step(void **state) {
    (void)state;
    size = 2;
    begin();
    go(groups[0], wait_for_next, (void *)0);
    go(groups[1], wait_for_next, (void *)1);
    end();
    assert_non_null(strstr(report, "\n  this call, in task 'waiter' of group '"));
    assert_non_null(strstr(report, "\n  in task 'waiter' of group '"));
    assert_non_null(strstr(report, " (C), waits for all tasks of group '"));
    assert_non_null(strstr(report, " s for all tasks of group '"));
    assert_non_null(strstr(report, "'one'"));
    assert_non_null(strstr(report, "'two'"));
    assert_non_null(strstr(report, ", at ring.c:7"));
}

static void a_ring_is_found_while_other_tasks_run(void **state) {
    (void)state;
    struct gate gate = {0};
    size = 2;
    begin();
    go(groups[0], pass_gate, &gate); /* in the same group, and in none of them */
    go(groups[2], pass_gate, &gate);
    go(groups[0], wait_for_next, (void *)0);
    go(groups[1], wait_for_next, (void *)1);
    EVENTUALLY(atomic_load(&alarms) == 1);
    gate_open(&gate);
    end();
    assert_int_equal(atomic_load(&alarms), 1);
}

/* What can end is no part of a ring. */
static wg_until bound;

static wg_error *wait_for_next_bounded(void *number, wg_context *ctx) {
    (void)ctx;
    atomic_fetch_add(&ready, 1);
    EVENTUALLY(atomic_load(&ready) >= 2);
    wg_errgroup *next = groups[((intptr_t)number + 1) % 2];
    wg_status status = wg_errgroup_wait(next, number ? NULL : &bound, NULL);
    REQUIRE(status == (number ? WG_OK : bound.context ? WG_CONTEXT_ENDED : WG_TIMEOUT));
    return NULL;
}

static void expect_none(wg_until until) {
    bound = until;
    begin();
    go(groups[0], wait_for_next_bounded, (void *)0);
    go(groups[1], wait_for_next_bounded, (void *)1);
    end();
}

static void a_wait_that_can_end_is_no_part(void **state) {
    (void)state;
    wg_context *outside;
    expect_none((wg_until){.deadline = wg_after(SOON)});
    assert_status(wg_context_new(&outside, NULL, wg_after(SOON)), WG_OK);
    expect_none((wg_until){.context = outside});
    wg_context_release(outside);
}

/* Nor is one in a task whose group has a deadline, its own or from above. */
static wg_error *wait_until_the_end(void *other, wg_context *ctx) {
    atomic_fetch_add(&ready, 1);
    EVENTUALLY(atomic_load(&ready) >= 2);
    REQUIRE(wg_errgroup_wait(other, NULL, NULL) != WG_DEADLOCK);
    return wg_context_error(ctx);
}

static void a_deadline_above_the_task_ends_its_waits(void **state) {
    (void)state;
    wg_context *above;
    atomic_store(&ready, 0);
    assert_status(wg_context_new(&above, NULL, wg_after(HANG)), WG_OK);
    wg_errgroup *timed = new_group((wg_errgroup_options){.parent = above});
    wg_errgroup *other = new_group((wg_errgroup_options){0});
    go(timed, wait_until_the_end, other);
    go(other, wait_until_the_end, timed);
    let_sleep_on(wg_errgroup_tasks(timed), 1);
    let_sleep_on(wg_errgroup_tasks(other), 1);
    assert_status(wg_context_cancel(above, wg_error_no_memory()), WG_OK); /* sooner than the deadline would come */
    assert_status(wg_errgroup_wait(timed, NULL, NULL), WG_CANCELLED);
    assert_status(wg_errgroup_wait(other, NULL, NULL), WG_OK);
    wg_errgroup_release(timed);
    wg_errgroup_release(other);
    wg_context_release(above);
}

/* Tasks that wait for tasks. */
struct job {
    wg_errgroup *group;
    struct job *awaited;
    wg_waitgroup ended;
};

static wg_error *wait_for_task(void *raw, wg_context *ctx) {
    struct job *job = raw;
    char text[2000] = "";
    (void)ctx;
    atomic_fetch_add(&ready, 1);
    EVENTUALLY(atomic_load(&ready) >= size);
    wg_until until = {.report = text, .report_size = sizeof text};
    wg_status status = wg_errgroup_wait_task(job->awaited->group, job->awaited, &job->awaited->ended, &until);
    REQUIRE(alarmed(status, text) || status == WG_OK);
    return NULL;
}

static void tell(void *raw) { REQUIRE(wg_done(&((struct job *)raw)->ended) == WG_OK); }

static void start(struct job *job, wg_task_fn fn) {
    wg_task task = {.fn = fn, .arg = job, .ended = tell};
    assert_status(wg_add(&job->ended, 1), WG_OK);
    assert_status(wg_errgroup_start(job->group, &task, NULL), WG_OK);
}

static void tasks_that_wait_for_each_others_end(void **state) {
    (void)state;
    size = 2;
    for (int i = 0; i < effort(20); i++) {
        struct job a = {0}, b = {.awaited = &a};
        begin();
        a = (struct job){.group = groups[0], .awaited = &b};
        b.group = i % 2 ? groups[0] : groups[1];
        start(&a, wait_for_task);
        start(&b, wait_for_task);
        end();
        assert_status(wg_wait(&a.ended, NULL), WG_OK);
        assert_status(wg_wait(&b.ended, NULL), WG_OK);
        assert_int_equal(atomic_load(&alarms), 1);
    }
}

static void a_task_that_waits_for_another_of_its_group_is_none(void **state) {
    (void)state;
    struct gate gate = {0};
    size = 1;
    begin();
    struct job b = {.group = groups[0]}, a = {.group = groups[0], .awaited = &b};
    b.ended = (wg_waitgroup)WG_INIT;
    go(groups[0], pass_gate, &gate);
    assert_status(wg_add(&b.ended, 1), WG_OK); /* ended below */
    start(&a, wait_for_task);
    EVENTUALLY(atomic_load(&ready) == 1);
    tell(&b);
    gate_open(&gate);
    end();
    assert_status(wg_wait(&a.ended, NULL), WG_OK);
    assert_int_equal(atomic_load(&alarms), 0);
}

/* The only slot is held by a task that waits for one that is queued behind it. */
static wg_error *start_and_wait(void *raw, wg_context *ctx) {
    struct job *job = raw;
    start(job->awaited, succeed);
    return wait_for_task(raw, ctx);
}

static void a_queued_task_that_can_get_no_slot(void **state) {
    (void)state;
    size = 1;
    begin();
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1, .backlog = 1, .name = "narrow"});
    struct job second = {.group = g}, first = {.group = g, .awaited = &second};
    start(&first, start_and_wait);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_status(wg_wait(&first.ended, NULL), WG_OK);
    assert_status(wg_wait(&second.ended, NULL), WG_OK);
    assert_int_equal(atomic_load(&alarms), 1);
    assert_non_null(strstr(report, "waits for a task of group 'narrow', which can get no slot (limit 1)"));
    wg_errgroup_release(g);
    end();
}

/* `go` into each other's group, whose only slots both hold. */
static wg_error *go_into(void *raw, wg_context *ctx) {
    char text[2000] = "";
    (void)ctx;
    atomic_fetch_add(&ready, 1);
    EVENTUALLY(atomic_load(&ready) >= 2);
    wg_until until = {.report = text, .report_size = sizeof text};
    wg_status status = wg_errgroup_go(raw, succeed, NULL, NULL, &until);
    REQUIRE(alarmed(status, text) || status == WG_OK);
    return NULL;
}

static void slots_of_each_other(void **state) {
    (void)state;
    for (int i = 0; i < effort(20); i++) {
        begin();
        wg_errgroup *a = new_group((wg_errgroup_options){.limit = 1, .name = "a"});
        wg_errgroup *b = new_group((wg_errgroup_options){.limit = 1, .name = "b"});
        go(a, go_into, b);
        go(b, go_into, a);
        assert_status(wg_errgroup_wait(a, NULL, NULL), WG_OK);
        assert_status(wg_errgroup_wait(b, NULL, NULL), WG_OK);
        wg_errgroup_release(a);
        wg_errgroup_release(b);
        end();
        assert_int_equal(atomic_load(&alarms), 1);
        assert_non_null(strstr(report, "a slot of group '"));
    }
}

/* One slot held by a task that waits for the group of the one that wants it. */
static wg_error *wait_for_group(void *raw, wg_context *ctx) {
    char text[2000] = "";
    (void)ctx;
    atomic_fetch_add(&ready, 1);
    EVENTUALLY(atomic_load(&ready) >= 2);
    wg_status status = wg_errgroup_wait(raw, &(wg_until){.report = text, .report_size = sizeof text}, NULL);
    REQUIRE(alarmed(status, text) || status == WG_OK);
    return NULL;
}

static void a_slot_and_an_outcome(void **state) {
    (void)state;
    for (int i = 0; i < effort(20); i++) {
        begin();
        wg_errgroup *a = new_group((wg_errgroup_options){.limit = 1});
        go(a, wait_for_group, groups[0]);
        go(groups[0], go_into, a);
        end();
        assert_status(wg_errgroup_wait(a, NULL, NULL), WG_OK);
        wg_errgroup_release(a);
        assert_int_equal(atomic_load(&alarms), 1);
    }
}

/* Plain wait groups that count tasks. */
static wg_waitgroup plain;

static void wait_for_first_group(void *unused) {
    (void)unused;
    wait_for_group(groups[0], NULL);
}

static wg_error *wait_for_plain(void *unused, wg_context *ctx) {
    (void)unused, (void)ctx;
    atomic_fetch_add(&ready, 1);
    EVENTUALLY(atomic_load(&ready) >= 2);
    wg_status status = wg_wait(&plain, NULL);
    REQUIRE(alarmed(status, "") || status == WG_OK);
    return NULL;
}

static void a_wait_group_that_counts_a_task(void **state) {
    (void)state;
    for (int i = 0; i < effort(20); i++) {
        begin();
        assert_status(wg_go(&plain, NULL, wait_for_first_group, NULL, NULL), WG_OK);
        go(groups[0], wait_for_plain, NULL);
        end();
        assert_status(wg_wait(&plain, NULL), WG_OK);
        assert_int_equal(atomic_load(&alarms), 1);
    }
}

/* A wait that looks for interruptions is over only when the caller says so. */
static atomic_int looks;
static struct gate in_look;
static bool goes_on;

static bool count_look(void *unused) {
    (void)unused;
    atomic_fetch_add(&looks, 1);
    return true;
}

static bool stay_in_look(void *unused) {
    (void)unused;
    pass_gate(&in_look, NULL);
    return goes_on;
}

static wg_error *wait_and_look(void *look, wg_context *ctx) {
    char text[2000] = "";
    (void)ctx;
    wg_until until = {.interruptible = true,
                      .look = *(bool (**)(void *))look,
                      .look_every = WG_MILLISECOND,
                      .report = text,
                      .report_size = sizeof text};
    wg_status status = wg_errgroup_wait(groups[1], &until, NULL);
    REQUIRE(alarmed(status, text) || status == (goes_on ? WG_OK : WG_INTERRUPTED));
    return NULL;
}

static struct gate begins;

static wg_error *wait_for_first(void *unused, wg_context *ctx) {
    char text[2000] = "";
    (void)unused;
    pass_gate(&begins, ctx);
    wg_status status = wg_errgroup_wait(groups[0], &(wg_until){.report = text, .report_size = sizeof text}, NULL);
    REQUIRE(alarmed(status, text) || status == WG_OK);
    return NULL;
}

static void a_wait_that_looks_for_interruptions_is_part(void **state) {
    (void)state;
    bool (*look)(void *) = count_look;
    goes_on = true;
    begins = (struct gate){0};
    begin();
    atomic_store(&looks, 0);
    go(groups[1], wait_for_first, NULL);
    go(groups[0], wait_and_look, &look);
    EVENTUALLY(atomic_load(&looks) > 3);
    gate_open(&begins);
    end();
    assert_int_equal(atomic_load(&alarms), 1);
}

/* What a handler of signals does may end the ring. */
static void a_wait_whose_thread_looks_is_no_part(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        bool (*look)(void *) = stay_in_look;
        goes_on = i;
        in_look = begins = (struct gate){0};
        begin();
        go(groups[1], wait_for_first, NULL);
        go(groups[0], wait_and_look, &look);
        EVENTUALLY(atomic_load(&in_look.inside) == 1);
        gate_open(&begins);
        let_sleep_on(wg_errgroup_tasks(groups[0]), 1);
        assert_int_equal(atomic_load(&alarms), 0);
        gate_open(&in_look);
        end();
        assert_int_equal(atomic_load(&alarms), goes_on);
    }
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wait_that_looks_for_interruptions_is_part),
        cmocka_unit_test(a_wait_whose_thread_looks_is_no_part),
        cmocka_unit_test(groups_that_wait_for_each_other_in_a_ring),
        cmocka_unit_test(the_report_tells_each_step),
        cmocka_unit_test(a_ring_is_found_while_other_tasks_run),
        cmocka_unit_test(a_wait_that_can_end_is_no_part),
        cmocka_unit_test(a_deadline_above_the_task_ends_its_waits),
        cmocka_unit_test(tasks_that_wait_for_each_others_end),
        cmocka_unit_test(a_task_that_waits_for_another_of_its_group_is_none),
        cmocka_unit_test(a_queued_task_that_can_get_no_slot),
        cmocka_unit_test(slots_of_each_other),
        cmocka_unit_test(a_slot_and_an_outcome),
        cmocka_unit_test(a_wait_group_that_counts_a_task),
    };
    return RUN("deadlock", tests);
}
