/* What is certain to hang is a status: waiting for a group in its own task; go at the limit when every slot is held by
 * a task that is blocked in it. */
#include "tasks.h"

static wg_errgroup *group;
static atomic_int deadlocks, inside;

static wg_error *wait_for_group(void *status, wg_context *ctx) {
    (void)ctx;
    REQUIRE(wg_errgroup_wait(group, NULL, NULL) == (wg_status)(intptr_t)status);
    return NULL;
}

static void waiting_for_a_group_in_its_own_task(void **state) {
    (void)state;
    group = new_group((wg_errgroup_options){0});
    for (int i = 0; i < 3; i++)
        go(group, wait_for_group, (void *)(intptr_t)WG_DEADLOCK);
    assert_status(wg_errgroup_wait(group, NULL, NULL), WG_OK);
    wg_errgroup_release(group);
}

static void waiting_for_another_group_in_a_task_is_none(void **state) {
    (void)state;
    struct gate gate = {0};
    wg_errgroup *waiting = new_group((wg_errgroup_options){0});
    group = new_group((wg_errgroup_options){0});
    go(group, pass_gate, &gate);
    go(waiting, wait_for_group, (void *)(intptr_t)WG_OK);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(waiting, NULL, NULL), WG_OK);
    wg_errgroup_release(waiting);
    wg_errgroup_release(group);
}

/* A task inside whose wait another task runs, on the same stack: the outer group is still its own. */
static wg_error *wait_in_inner_group(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    wg_errgroup *inner;
    REQUIRE(wg_errgroup_new(&inner, NULL) == WG_OK);
    for (int i = 0; i < 20; i++)
        REQUIRE(wg_errgroup_go(inner, succeed, NULL, NULL, NULL) == WG_OK);
    REQUIRE(wg_errgroup_wait(inner, NULL, NULL) == WG_OK);
    wg_errgroup_release(inner);
    REQUIRE(wg_errgroup_wait(group, NULL, NULL) == WG_DEADLOCK);
    return NULL;
}

static void the_own_group_is_known_after_a_nested_wait(void **state) {
    (void)state;
    for (int i = 0; i < effort(50); i++) {
        group = new_group((wg_errgroup_options){0});
        go(group, wait_in_inner_group, NULL);
        assert_status(wg_errgroup_wait(group, NULL, NULL), WG_OK);
        wg_errgroup_release(group);
    }
}

/* In Go a deadlock: a task at the limit starts another one. */
static wg_error *go_from_inside(void *others, wg_context *ctx) {
    (void)ctx;
    atomic_fetch_add(&inside, 1);
    EVENTUALLY(atomic_load(&inside) >= (int)(intptr_t)others);
    wg_status status = wg_errgroup_go(group, succeed, NULL, NULL, NULL);
    REQUIRE(status == WG_OK || status == WG_DEADLOCK);
    if (status == WG_DEADLOCK)
        atomic_fetch_add(&deadlocks, 1);
    return NULL;
}

static void go_at_the_limit_when_all_slots_are_held_by_blocked_tasks(void **state) {
    (void)state;
    for (int limit = 1; limit <= 4; limit++) {
        for (int i = 0; i < effort(20); i++) {
            atomic_store(&deadlocks, 0);
            atomic_store(&inside, 0);
            group = new_group((wg_errgroup_options){.limit = limit});
            for (int j = 0; j < limit; j++)
                go(group, go_from_inside, (void *)(intptr_t)limit);
            assert_status(wg_errgroup_wait(group, NULL, NULL), WG_OK);
            /* Once the last one has been told, it ends, its slot goes to another, and so on. */
            assert_int_equal(atomic_load(&deadlocks), 1);
            assert_int_equal(wg_errgroup_get_counts(group).completed, 2 * limit - 1);
            wg_errgroup_release(group);
        }
    }
}

static void it_is_none_while_one_task_is_not_blocked(void **state) {
    (void)state;
    struct gate gate = {0};
    atomic_store(&deadlocks, 0);
    atomic_store(&inside, 0);
    group = new_group((wg_errgroup_options){.limit = 3});
    go(group, pass_gate, &gate);
    go(group, go_from_inside, (void *)(intptr_t)2);
    go(group, go_from_inside, (void *)(intptr_t)2);
    EVENTUALLY(atomic_load(&inside) == 2);
    let_sleep_on(wg_errgroup_context(group), 2);
    assert_int_equal(atomic_load(&deadlocks), 0);
    gate_open(&gate); /* its slot lets the first in, and that one's end the second */
    assert_status(wg_errgroup_wait(group, NULL, NULL), WG_OK);
    assert_int_equal(atomic_load(&deadlocks), 0);
    wg_errgroup_release(group);
}

/* The last unblocked task ends without giving its slot to anybody, since the limit has been lowered meanwhile. */
static void it_is_found_when_the_last_other_task_ends_above_a_lowered_limit(void **state) {
    (void)state;
    struct gate gate = {0};
    atomic_store(&deadlocks, 0);
    atomic_store(&inside, 0);
    group = new_group((wg_errgroup_options){.limit = 2});
    go(group, pass_gate, &gate);
    go(group, go_from_inside, (void *)(intptr_t)1);
    EVENTUALLY(atomic_load(&inside) == 1);
    let_sleep_on(wg_errgroup_context(group), 1);
    assert_status(wg_errgroup_set_limit(group, 1), WG_OK);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(group, NULL, NULL), WG_OK);
    assert_int_equal(atomic_load(&deadlocks), 1);
    wg_errgroup_release(group);
}

static void *raise_limit(void *unused) {
    (void)unused;
    nap();
    REQUIRE(wg_errgroup_set_limit(group, 3) == WG_OK);
    return NULL;
}

static wg_error *go_with_timeout(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    wg_status status = wg_errgroup_go(group, succeed, NULL, NULL, AFTER(HANG));
    REQUIRE(status == WG_DEADLOCK || status == WG_OK);
    return NULL;
}

static void a_resize_meanwhile_is_no_harm(void **state) {
    (void)state;
    for (int i = 0; i < effort(50); i++) {
        struct thread t;
        group = new_group((wg_errgroup_options){.limit = 1});
        thread_start(&t, raise_limit, NULL);
        go(group, go_with_timeout, NULL);
        thread_join(&t);
        assert_status(wg_errgroup_wait(group, NULL, NULL), WG_OK);
        wg_errgroup_release(group);
    }
}

/* A thread that is not a task may wait at the limit for ever: somebody could still enter and leave. */
static void a_caller_outside_is_never_told(void **state) {
    (void)state;
    group = new_group((wg_errgroup_options){.limit = 1});
    assert_status(wg_errgroup_enter(group), WG_OK);
    assert_status(wg_errgroup_go(group, succeed, NULL, NULL, AFTER(SOON)), WG_TIMEOUT);
    wg_errgroup_leave(group, NULL);
    assert_status(wg_errgroup_wait(group, NULL, NULL), WG_OK);
    wg_errgroup_release(group);
}

/* A task of another group that waits at the limit holds no slot of this one. */
static wg_error *go_into_the_other_group(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    REQUIRE(wg_errgroup_go(group, succeed, NULL, NULL, NULL) == WG_OK);
    return NULL;
}

static void a_task_of_another_group_is_never_told(void **state) {
    (void)state;
    struct gate gate = {0};
    wg_errgroup *other = new_group((wg_errgroup_options){.limit = 1});
    group = new_group((wg_errgroup_options){.limit = 1});
    go(group, pass_gate, &gate);
    go(other, go_into_the_other_group, NULL);
    let_sleep_on(wg_errgroup_context(group), 1);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(other, NULL, NULL), WG_OK);
    assert_status(wg_errgroup_wait(group, NULL, NULL), WG_OK);
    wg_errgroup_release(other);
    wg_errgroup_release(group);
}

/* A `go` at the limit, in the task that holds the only slot, that something else can end: no deadlock. */
static wg_context *outside;

static wg_error *go_with_an_end(void *unused, wg_context *ctx) {
    (void)unused;
    wg_until late = {.deadline = wg_after(SOON)};
    REQUIRE(wg_errgroup_go(group, succeed, NULL, NULL, &late) == WG_TIMEOUT);
    REQUIRE(wg_errgroup_go(group, succeed, NULL, NULL, WITH(outside)) == WG_CONTEXT_ENDED);
    REQUIRE(wg_errgroup_go(group, succeed, NULL, NULL, NULL) == WG_DEADLOCK);
    REQUIRE(wg_errgroup_go(group, succeed, NULL, NULL, WITH(wg_context_root())) == WG_DEADLOCK);
    REQUIRE(wg_errgroup_go(group, succeed, NULL, NULL, WITH(ctx)) == WG_DEADLOCK); /* its own, as NULL means */
    return NULL;
}

static void a_go_that_something_can_end_is_none(void **state) {
    (void)state;
    assert_status(wg_context_new(&outside, NULL, wg_after(3 * SOON)), WG_OK);
    group = new_group((wg_errgroup_options){.limit = 1});
    go(group, go_with_an_end, NULL);
    assert_status(wg_errgroup_wait(group, NULL, NULL), WG_OK);
    wg_errgroup_release(group);
    wg_context_release(outside);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(a_go_that_something_can_end_is_none),
        cmocka_unit_test(waiting_for_a_group_in_its_own_task),
        cmocka_unit_test(waiting_for_another_group_in_a_task_is_none),
        cmocka_unit_test(the_own_group_is_known_after_a_nested_wait),
        cmocka_unit_test(go_at_the_limit_when_all_slots_are_held_by_blocked_tasks),
        cmocka_unit_test(it_is_none_while_one_task_is_not_blocked),
        cmocka_unit_test(it_is_found_when_the_last_other_task_ends_above_a_lowered_limit),
        cmocka_unit_test(a_resize_meanwhile_is_no_harm),
        cmocka_unit_test(a_caller_outside_is_never_told),
        cmocka_unit_test(a_task_of_another_group_is_never_told),
    };
    return RUN("errgroup_deadlock", tests);
}
