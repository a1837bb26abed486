/* Which tasks run, for how long; and a group in one line. */
#include "tasks.h"

struct seen {
    int n;
    char names[64][80];
    int64_t longest;
};

static void note(void *raw, const char *name, int64_t duration) {
    struct seen *seen = raw;
    strcpy(seen->names[seen->n++], name);
    seen->longest = duration > seen->longest ? duration : seen->longest;
    REQUIRE(duration >= 0);
}

static void running_tasks_are_named_in_the_order_of_starting(void **state) {
    (void)state;
    enum { TASKS = 40 };
    char names[TASKS][20];
    struct gate gate = {0};
    struct seen seen = {0};
    wg_errgroup *g = new_group((wg_errgroup_options){.track = true});
    for (int i = 0; i < TASKS; i++) {
        snprintf(names[i], sizeof names[i], "task %d", i);
        wg_task task = {.fn = pass_gate, .arg = &gate, .name = i ? names[i] : NULL};
        assert_status(wg_errgroup_start(g, &task, NULL), WG_OK);
        EVENTUALLY(atomic_load(&gate.inside) == i + 1);
    }
    assert_int_equal(wg_errgroup_running(g, NULL, NULL), TASKS);
    assert_int_equal(wg_errgroup_running(g, note, &seen), TASKS);
    assert_int_equal(seen.n, TASKS);
    assert_string_equal(seen.names[0], "");
    for (int i = 1; i < TASKS; i++)
        assert_string_equal(seen.names[i], names[i]);
    assert_true(seen.longest > 0);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(wg_errgroup_running(g, note, &seen), 0);
    wg_errgroup_release(g);
}

static void stragglers_are_known_after_the_grace_period(void **state) {
    (void)state;
    struct gate gate = {0};
    struct seen seen = {0};
    wg_errgroup *g = new_group((wg_errgroup_options){.grace = 1});
    wg_task task = {.fn = pass_gate, .arg = &gate, .name = "slow"};
    assert_status(wg_errgroup_start(g, &task, NULL), WG_OK);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
    assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(wg_errgroup_running(g, note, &seen), 1);
    assert_string_equal(seen.names[0], "slow");
    gate_open(&gate);
    EVENTUALLY(wg_count(wg_errgroup_tasks(g)) == 0);
    wg_errgroup_release(g);
}

static void nothing_is_listed_unless_asked_for(void **state) {
    (void)state;
    struct gate gate = {0};
    struct seen seen = {0};
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    go(g, pass_gate, &gate);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
    assert_int_equal(wg_errgroup_running(g, note, &seen), 0);
    assert_int_equal(wg_errgroup_running(NULL, note, &seen), 0);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

static wg_errgroup *forked;

static void use_in_child(void) {
    struct seen seen = {0};
    wg_errgroup *g;
    REQUIRE(wg_errgroup_running(forked, note, &seen) == 0); /* the threads are not here */
    REQUIRE(wg_errgroup_new(&g, &(wg_errgroup_options){.track = true}) == WG_OK);
    REQUIRE(wg_errgroup_go(g, succeed, NULL, NULL, NULL) == WG_OK);
    REQUIRE(wg_errgroup_wait(g, NULL, NULL) == WG_OK);
    wg_errgroup_release(g);
}

static wg_error *fork_inside(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    REQUIRE(in_child(use_in_child));
    return NULL;
}

static void a_child_of_a_fork_has_none_of_them(void **state) {
    (void)state;
    struct gate gate = {0};
    if (THREAD_SANITIZER)
        skip();
    forked = new_group((wg_errgroup_options){.track = true});
    for (int i = 0; i < 3; i++)
        go(forked, pass_gate, &gate);
    EVENTUALLY(atomic_load(&gate.inside) == 3);
    go(forked, fork_inside, NULL);
    EVENTUALLY(wg_errgroup_running(forked, NULL, NULL) == 3);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(forked, NULL, NULL), WG_OK);
    wg_errgroup_release(forked);
}

static void a_group_in_one_line(void **state) {
    (void)state;
    char line[400], little[20];
    struct gate gate = {0};
    wg_errgroup *g = new_group((wg_errgroup_options){.track = true, .name = "fetchers", .limit = 2, .backlog = 3});
    wg_task task = {.fn = pass_gate, .arg = &gate, .name = "fetch"};
    assert_status(wg_errgroup_start(g, &task, NULL), WG_OK);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
    size_t length = wg_errgroup_describe(g, line, sizeof line);
    assert_int_equal(length, strlen(line));
    const char *begin =
        "error group 'fetchers': 1 running, 0 pending, 0 completed, limit 2, backlog 3; running: fetch (";
    assert_memory_equal(line, begin, strlen(begin));
    assert_true(wg_errgroup_describe(g, little, sizeof little) >= strlen(begin));
    assert_string_equal(little, "error group 'fetche");
    assert_true(wg_errgroup_describe(g, NULL, 0) >= strlen(begin));
    assert_status(wg_errgroup_enter(g), WG_OK);
    assert_status(wg_errgroup_leave(g, wg_error_no_memory()), WG_OK);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_FAILED);
    wg_errgroup_describe(g, line, sizeof line);
    assert_string_equal(line,
                        "error group 'fetchers': 0 running, 0 pending, 2 completed, limit 2, backlog 3, 1 failed, "
                        "cancelled");
    wg_errgroup_describe(NULL, line, sizeof line);
    assert_string_equal(line, "no error group");
    wg_errgroup_release(g);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(running_tasks_are_named_in_the_order_of_starting),
        cmocka_unit_test(stragglers_are_known_after_the_grace_period),
        cmocka_unit_test(nothing_is_listed_unless_asked_for),
        cmocka_unit_test(a_child_of_a_fork_has_none_of_them),
        cmocka_unit_test(a_group_in_one_line),
    };
    return RUN("errgroup_running", tests);
}
