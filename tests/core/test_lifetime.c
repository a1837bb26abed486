/* An object may be freed the moment a successful wait on it has returned, or its last reference is given up at any
 * time. The wait groups here are on the heap, and overwritten before they are freed, so that a late step is seen even
 * without a sanitizer. */
#include "support.h"

#include <time.h>

#define TASKS 3

static void *done_once(void *wg) {
    REQUIRE(wg_done(wg) == WG_OK);
    return NULL;
}

static void *done_a_little_later(void *wg) {
    for (volatile int i = rand() % 3000; i > 0; i--) {}
    REQUIRE(wg_done(wg) == WG_OK);
    return NULL;
}

static void scrap(wg_waitgroup *wg) {
    memset(wg, 0xff, sizeof *wg); /* count at its end, sleepers, gated: a step down would go through a lock */
    free(wg);
}

static void the_waiter_frees_it_at_once(void **state) {
    (void)state;
    for (int i = 0; i < effort(500); i++) {
        struct thread t[TASKS];
        wg_waitgroup *wg = calloc(1, sizeof *wg);
        REQUIRE(wg && wg_add(wg, TASKS) == WG_OK);
        for (int j = 0; j < TASKS; j++)
            thread_start(&t[j], i % 2 ? done_once : done_a_little_later, wg);
        assert_status(wg_wait(wg, NULL), WG_OK);
        scrap(wg);
        for (int j = 0; j < TASKS; j++)
            thread_join(&t[j]);
    }
}

struct shared {
    wg_waitgroup wg;
    atomic_int waiters;
};

static void *wait_and_last_frees(void *raw) {
    struct shared *s = raw;
    REQUIRE(wg_wait(&s->wg, NULL) == WG_OK);
    if (atomic_fetch_sub(&s->waiters, 1) == 1)
        free(s);
    return NULL;
}

static void the_last_of_several_waiters_frees_it(void **state) {
    (void)state;
    for (int i = 0; i < effort(300); i++) {
        struct thread t[4];
        struct shared *s = calloc(1, sizeof *s);
        REQUIRE(s && wg_add(&s->wg, 1) == WG_OK);
        atomic_store(&s->waiters, 3);
        for (int j = 0; j < 3; j++)
            thread_start(&t[j], wait_and_last_frees, s);
        thread_start(&t[3], done_a_little_later, &s->wg);
        for (int j = 0; j < 4; j++)
            thread_join(&t[j]);
    }
}

static void nothing(void *unused) { (void)unused; }

static void tasks_of_the_pool_may_outlive_it_on_their_way_out(void **state) {
    (void)state;
    for (int i = 0; i < effort(5000); i++) {
        wg_waitgroup *wg = calloc(1, sizeof *wg);
        REQUIRE(wg);
        assert_status(wg_go(wg, NULL, nothing, NULL, NULL), WG_OK);
        assert_status(wg_wait(wg, NULL), WG_OK);
        scrap(wg);
    }
}

static wg_error *succeed(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    return NULL;
}

static void an_error_group_may_be_released_when_wait_returns(void **state) {
    (void)state;
    for (int i = 0; i < effort(2000); i++) {
        wg_errgroup *g;
        assert_status(wg_errgroup_new(&g, NULL), WG_OK);
        for (int j = 0; j < TASKS; j++)
            assert_status(wg_errgroup_go(g, succeed, NULL, NULL, NULL), WG_OK);
        assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
        wg_errgroup_release(g);
    }
}

static atomic_int live;
static void *resource(void) {
    void *p = malloc(1);
    REQUIRE(p);
    atomic_fetch_add(&live, 1);
    return p;
}
static void give_up(void *p) {
    free(p);
    atomic_fetch_sub(&live, 1);
}

static wg_error *nap_and_fail(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    nap();
    return wg_error_new(WG_ERROR_FAILURE, resource(), give_up);
}

static void an_error_group_given_up_with_tasks_running_lives_until_they_end(void **state) {
    (void)state;
    leaves_tasks();
    for (int i = 0; i < effort(100); i++) {
        wg_errgroup *g;
        assert_status(wg_errgroup_new(&g, NULL), WG_OK);
        for (int j = 0; j < 5; j++) {
            void *mine = resource();
            wg_status status = wg_errgroup_go(g, nap_and_fail, mine, give_up, NULL);
            if (status != WG_OK) { /* one has failed already */
                assert_status(status, WG_CANCELLED);
                give_up(mine);
            }
        }
        wg_errgroup_release(g);
    }
    EVENTUALLY(atomic_load(&live) == 0);
}

/* Giving up the last reference while another thread waits does no harm: the wait keeps one. */
static wg_waitgroup hold;

static wg_error *wait_for_hold(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    REQUIRE(wg_wait(&hold, NULL) == WG_OK);
    return NULL;
}

static void *wait_for_group(void *g) {
    REQUIRE(wg_errgroup_wait(g, AFTER(HANG), NULL) == WG_OK); /* with a deadline: it runs no task itself */
    return NULL;
}

static void releasing_an_error_group_while_another_thread_waits_does_no_harm(void **state) {
    (void)state;
    for (int i = 0; i < effort(50); i++) {
        wg_errgroup *g;
        struct thread t;
        assert_status(wg_errgroup_new(&g, NULL), WG_OK);
        assert_status(wg_add(&hold, 1), WG_OK);
        assert_status(wg_errgroup_go(g, wait_for_hold, NULL, NULL, NULL), WG_OK);
        wg_errgroup_retain(g); /* so that the group is there when the thread calls */
        thread_start(&t, wait_for_group, g);
        let_sleep_on(wg_errgroup_tasks(g), 1);
        wg_errgroup_release(g);
        wg_errgroup_release(g);
        assert_status(wg_done(&hold), WG_OK);
        thread_join(&t);
    }
}

/* What a task was given is destroyed before the task counts as done. */
static wg_error *use(void *resource, wg_context *ctx) {
    (void)ctx;
    REQUIRE(resource);
    return NULL;
}
static void use_plainly(void *resource) { REQUIRE(resource); }
static void give_up_slowly(void *p) {
    nap();
    give_up(p);
}

static void arguments_are_destroyed_before_wait_returns(void **state) {
    (void)state;
    for (int i = 0; i < effort(30); i++) {
        wg_waitgroup wg = WG_INIT;
        wg_errgroup *g;
        assert_status(wg_errgroup_new(&g, NULL), WG_OK);
        for (int j = 0; j < 4; j++) {
            assert_status(wg_errgroup_go(g, use, resource(), give_up_slowly, NULL), WG_OK);
            assert_status(wg_go(&wg, NULL, use_plainly, resource(), give_up_slowly), WG_OK);
        }
        assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
        assert_status(wg_wait(&wg, NULL), WG_OK);
        assert_int_equal(atomic_load(&live), 0);
        wg_errgroup_release(g);
    }
}

static void errors_live_as_long_as_their_group(void **state) {
    (void)state;
    wg_errgroup *g;
    wg_error *first;
    assert_status(wg_errgroup_new(&g, NULL), WG_OK);
    assert_status(wg_errgroup_go(g, nap_and_fail, resource(), give_up, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, &first), WG_FAILED);
    assert_int_equal(atomic_load(&live), 1);
    wg_error_retain(first);
    wg_errgroup_release(g);
    assert_int_equal(atomic_load(&live), 1); /* ours is still there */
    wg_error_release(first);
    EVENTUALLY(atomic_load(&live) == 0); /* the worker may be on its way out with the group */
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(the_waiter_frees_it_at_once),
        cmocka_unit_test(the_last_of_several_waiters_frees_it),
        cmocka_unit_test(tasks_of_the_pool_may_outlive_it_on_their_way_out),
        cmocka_unit_test(an_error_group_may_be_released_when_wait_returns),
        cmocka_unit_test(an_error_group_given_up_with_tasks_running_lives_until_they_end),
        cmocka_unit_test(releasing_an_error_group_while_another_thread_waits_does_no_harm),
        cmocka_unit_test(arguments_are_destroyed_before_wait_returns),
        cmocka_unit_test(errors_live_as_long_as_their_group),
    };
    return RUN("lifetime", tests);
}
