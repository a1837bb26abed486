/* An observer of a context is called once when it ends, in no lock, or is removed in time. */
#include "slow_call.h"

#include <time.h>

static wg_context *new_context(void) {
    wg_context *ctx;
    assert_status(wg_context_new(&ctx, NULL, WG_FOREVER), WG_OK);
    return ctx;
}

struct call {
    wg_observer observer;
    wg_context *ctx;
    atomic_int times;
};

static void note(void *raw) {
    struct call *c = raw;
    REQUIRE(wg_context_status(c->ctx) != WG_OK);
    atomic_fetch_add(&c->times, 1);
}

static void is_called_once_when_it_ends(void **state) {
    (void)state;
    struct call c = {.ctx = new_context()};
    assert_status(wg_event_observe(wg_ended(c.ctx), &c.observer, note, &c), WG_OK);
    assert_int_equal(c.times, 0);
    assert_status(wg_context_cancel(c.ctx, NULL), WG_OK);
    assert_int_equal(c.times, 1);
    assert_status(wg_context_cancel(c.ctx, NULL), WG_CANCELLED);
    assert_int_equal(c.times, 1);
    assert_false(wg_event_unobserve(wg_ended(c.ctx), &c.observer));
    assert_false(wg_event_unobserve_sync(wg_ended(c.ctx), &c.observer));
    wg_context_release(c.ctx);
}

static void is_called_at_once_if_it_has_ended(void **state) {
    (void)state;
    struct call c = {.ctx = new_context()};
    assert_status(wg_context_cancel(c.ctx, NULL), WG_OK);
    assert_status(wg_event_observe(wg_ended(c.ctx), &c.observer, note, &c), WG_OK);
    assert_int_equal(c.times, 1);
    assert_false(wg_event_unobserve_sync(wg_ended(c.ctx), &c.observer));
    wg_context_release(c.ctx);
}

static void is_called_when_the_deadline_passes(void **state) {
    (void)state;
    struct call c = {.times = 0};
    assert_status(wg_context_new(&c.ctx, NULL, wg_after(SOON)), WG_OK);
    assert_status(wg_event_observe(wg_ended(c.ctx), &c.observer, note, &c), WG_OK);
    EVENTUALLY(atomic_load(&c.times) == 1);
    assert_false(wg_event_unobserve_sync(wg_ended(c.ctx), &c.observer));
    wg_context_release(c.ctx);
}

static void is_called_when_an_ancestor_ends(void **state) {
    (void)state;
    wg_context *parent = new_context();
    struct call c = {.times = 0};
    assert_status(wg_context_new(&c.ctx, parent, WG_FOREVER), WG_OK);
    assert_status(wg_event_observe(wg_ended(c.ctx), &c.observer, note, &c), WG_OK);
    assert_status(wg_context_cancel(parent, NULL), WG_OK);
    assert_int_equal(c.times, 1);
    wg_context_release(c.ctx);
    wg_context_release(parent);
}

static void removed_it_is_not_called_and_the_others_are(void **state) {
    (void)state;
    wg_context *ctx = new_context();
    struct call c[4];
    for (int i = 0; i < 4; i++) {
        c[i] = (struct call){.ctx = ctx};
        assert_status(wg_event_observe(wg_ended(ctx), &c[i].observer, note, &c[i]), WG_OK);
    }
    assert_true(wg_event_unobserve(wg_ended(ctx), &c[0].observer));
    assert_true(wg_event_unobserve_sync(wg_ended(ctx), &c[2].observer));
    assert_false(wg_event_unobserve(wg_ended(ctx), &c[2].observer));
    assert_status(wg_context_cancel(ctx, NULL), WG_OK);
    assert_int_equal(c[0].times, 0);
    assert_int_equal(c[1].times, 1);
    assert_int_equal(c[2].times, 0);
    assert_int_equal(c[3].times, 1);
    wg_context_release(ctx);
}

static void of_the_root_it_is_never_called(void **state) {
    (void)state;
    struct call c = {.ctx = wg_context_root()};
    assert_status(wg_event_observe(wg_ended(c.ctx), &c.observer, note, &c), WG_OK);
    assert_true(wg_event_unobserve(wg_ended(c.ctx), &c.observer));
    assert_int_equal(c.times, 0);
}

/* What a call may do. */
static void use_everything(void *raw) {
    struct call *c = raw;
    wg_context *child;
    atomic_fetch_add(&c->times, 1);
    REQUIRE(wg_context_cancel(c->ctx, NULL) == WG_CANCELLED);
    REQUIRE(wg_context_wait(c->ctx, NULL) == WG_OK);
    REQUIRE(wg_context_new(&child, c->ctx, WG_FOREVER) == WG_OK);
    REQUIRE(wg_context_status(child) == WG_CANCELLED);
    wg_context_release(child);
    REQUIRE(!wg_event_unobserve_sync(wg_ended(c->ctx), &c->observer));
    if (c->times == 1) /* used again, on one that has ended: called at once */
        REQUIRE(wg_event_observe(wg_ended(c->ctx), &c->observer, use_everything, c) == WG_OK);
}

static void all_calls_are_made_in_no_lock(void **state) {
    (void)state;
    struct call c = {.ctx = new_context()};
    assert_status(wg_event_observe(wg_ended(c.ctx), &c.observer, use_everything, &c), WG_OK);
    assert_status(wg_context_cancel(c.ctx, NULL), WG_OK);
    assert_int_equal(c.times, 2);
    wg_context_release(c.ctx);
}

static void release_and_free(void *raw) {
    struct call *c = raw;
    wg_context_release(c->ctx);
    memset(c, 0xff, sizeof *c);
    free(c);
}

static void the_call_may_free_observer_and_context(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++) {
        struct call *c = calloc(1, sizeof *c);
        REQUIRE(c);
        assert_status(wg_context_new(&c->ctx, NULL, i % 2 ? wg_after(1) : WG_FOREVER), WG_OK);
        wg_context *own = wg_context_retain(c->ctx);
        assert_status(wg_event_observe(wg_ended(c->ctx), &c->observer, release_and_free, c), WG_OK);
        wg_context_cancel(own, NULL);
        wg_context_release(own);
    }
}

/* Removal against a call that runs. */
static wg_context *shared;

static void *cancel_shared(void *unused) {
    (void)unused;
    REQUIRE(wg_context_cancel(shared, NULL) == WG_OK);
    return NULL;
}

static void removing_with_sync_waits_for_a_running_call(void **state) {
    (void)state;
    for (int i = 0; i < effort(50); i++) {
        wg_observer *observer = malloc(sizeof *observer);
        struct thread canceller, releaser;
        REQUIRE(observer);
        shared = new_context();
        expect_slow_call();
        assert_status(wg_event_observe(wg_ended(shared), observer, run_long, NULL), WG_OK);
        thread_start(&canceller, cancel_shared, NULL);
        EVENTUALLY(atomic_load(&in_call));
        assert_false(wg_event_unobserve(wg_ended(shared), observer));
        assert_false(atomic_load(&returned));
        thread_start(&releaser, let_it_return, NULL);
        assert_false(wg_event_unobserve_sync(wg_ended(shared), observer));
        assert_true(atomic_load(&returned));
        free(observer);
        thread_join(&canceller);
        thread_join(&releaser);
        wg_context_release(shared);
    }
}

static void count_call(void *raw) { atomic_fetch_add(&((struct call *)raw)->times, 1); }

static void removal_and_call_exclude_each_other(void **state) {
    (void)state;
    for (int i = 0; i < effort(1000); i++) {
        struct call *c = calloc(1, sizeof *c);
        struct thread t;
        REQUIRE(c);
        shared = new_context();
        assert_status(wg_event_observe(wg_ended(shared), &c->observer, count_call, c), WG_OK);
        thread_start(&t, cancel_shared, NULL);
        for (volatile int j = i % 100 * 30; j > 0; j--) {}
        bool removed = wg_event_unobserve_sync(wg_ended(shared), &c->observer);
        assert_int_equal(atomic_load(&c->times), !removed);
        free(c);
        thread_join(&t);
        wg_context_release(shared);
    }
}

/* Two observers, on two threads, each removing the other with sync while both may run. One of them is not running, or
 * they would wait for each other: they observe the same context, so one thread calls both, one after the other. */
static struct call left, right;

static void remove_right(void *unused) {
    (void)unused;
    REQUIRE(wg_event_unobserve_sync(wg_ended(shared), &right.observer));
    atomic_fetch_add(&left.times, 1);
}

static void remove_left(void *unused) {
    (void)unused;
    REQUIRE(false); /* it came second, and was removed */
}

static void one_may_remove_another_that_is_still_to_be_called(void **state) {
    (void)state;
    shared = new_context();
    assert_status(wg_event_observe(wg_ended(shared), &left.observer, remove_right, NULL), WG_OK);
    assert_status(wg_event_observe(wg_ended(shared), &right.observer, remove_left, NULL), WG_OK);
    assert_status(wg_context_cancel(shared, NULL), WG_OK);
    assert_int_equal(left.times, 1);
    wg_context_release(shared);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(is_called_once_when_it_ends),
        cmocka_unit_test(is_called_at_once_if_it_has_ended),
        cmocka_unit_test(is_called_when_the_deadline_passes),
        cmocka_unit_test(is_called_when_an_ancestor_ends),
        cmocka_unit_test(removed_it_is_not_called_and_the_others_are),
        cmocka_unit_test(of_the_root_it_is_never_called),
        cmocka_unit_test(all_calls_are_made_in_no_lock),
        cmocka_unit_test(the_call_may_free_observer_and_context),
        cmocka_unit_test(removing_with_sync_waits_for_a_running_call),
        cmocka_unit_test(removal_and_call_exclude_each_other),
        cmocka_unit_test(one_may_remove_another_that_is_still_to_be_called),
    };
    return RUN("context_observers", tests);
}
