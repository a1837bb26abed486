/* The last reference to a group or a context may be given up anywhere, in an observer too, and with errors whose destructors
 * end the thread: all that it kept goes. */
#include "held_timer.h"
#include "tasks.h"

static bool is_gone(int64_t id, wg_kind kind) {
    void *object;
    return wg_attach(id, kind, &object) == WG_ENDED_ID;
}

static void exits(void *unused) {
    (void)unused;
    pthread_exit(NULL);
}

/* Errors. */

static void destroy_and_exit(void *destroyed) {
    atomic_fetch_add((atomic_int *)destroyed, 1);
    pthread_exit(NULL);
}

static wg_error *bad_error(atomic_int *destroyed) {
    return wg_error_new(WG_ERROR_FAILURE, destroyed, destroy_and_exit);
}

static void *release_group(void *g) {
    wg_errgroup_release(g);
    return g;
}

static void every_error_of_a_group_is_destroyed(void **state) {
    (void)state;
    leaves_tasks();
    atomic_int destroyed = 0;
    wg_context *parent;
    assert_status(wg_context_new(&parent, wg_context_root(), WG_FOREVER), WG_OK);
    wg_errgroup *g = new_group((wg_errgroup_options){.continue_on_error = true, .parent = parent});
    for (int i = 0; i < 3; i++) {
        assert_status(wg_errgroup_enter(g), WG_OK);
        assert_status(wg_errgroup_leave(g, bad_error(&destroyed)), WG_OK);
    }
    int64_t id = wg_errgroup_id(g), of_context = wg_context_id(wg_errgroup_context(g)),
            of_parent = wg_context_id(parent);
    wg_context_release(parent);
    thread_ends_in(release_group, g);
    assert_int_equal(atomic_load(&destroyed), 3);
    assert_true(is_gone(id, WG_KIND_ERRGROUP));
    assert_true(is_gone(of_context, WG_KIND_CONTEXT));
    assert_true(is_gone(of_parent, WG_KIND_CONTEXT));
}

enum { CHAIN = 4 };

static void *release_context(void *ctx) {
    wg_context_release(ctx);
    return ctx;
}

static void every_cause_in_a_chain_of_contexts_is_destroyed(void **state) {
    (void)state;
    atomic_int destroyed = 0;
    wg_context *chain[CHAIN];
    int64_t ids[CHAIN];
    for (int i = 0; i < CHAIN; i++) {
        assert_status(wg_context_new(&chain[i], i ? chain[i - 1] : wg_context_root(), WG_FOREVER), WG_OK);
        ids[i] = wg_context_id(chain[i]);
    }
    for (int i = CHAIN - 1; i >= 0; i--) {
        wg_error *cause = bad_error(&destroyed);
        assert_status(wg_context_cancel(chain[i], cause), WG_OK);
        wg_error_release(cause);
    }
    for (int i = 0; i < CHAIN - 1; i++)
        wg_context_release(chain[i]);
    thread_ends_in(release_context, chain[CHAIN - 1]);
    assert_int_equal(atomic_load(&destroyed), CHAIN);
    for (int i = 0; i < CHAIN; i++)
        assert_true(is_gone(ids[i], WG_KIND_CONTEXT));
}

/* Calls in which an observer ends the thread. */

static void *observe_outcome(void *g) {
    static wg_observer observer;
    (void)wg_event_observe(wg_outcome(g), &observer, exits, NULL);
    return g;
}

static void an_observer_of_an_outcome_that_ends_the_thread_keeps_no_group(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    int64_t id = wg_errgroup_id(g);
    thread_ends_in(observe_outcome, g);
    wg_errgroup_release(g);
    assert_true(is_gone(id, WG_KIND_ERRGROUP));
}

static void *wait_for(void *ctx) {
    (void)wg_context_wait(ctx, NULL);
    return ctx;
}

static void a_wait_that_ends_the_thread_keeps_no_context(void **state) {
    (void)state;
    wg_context *ctx;
    wg_observer ends;
    hold_up_the_timer();
    assert_status(wg_context_new(&ctx, wg_context_root(), wg_after(WG_SECOND)), WG_OK);
    assert_status(wg_event_observe(wg_ended(ctx), &ends, exits, NULL), WG_OK);
    int64_t id = wg_context_id(ctx);
    thread_ends_in(wait_for, ctx);
    let_the_timer_go();
    wg_context_release(ctx);
    EVENTUALLY(is_gone(id, WG_KIND_CONTEXT));
}

static void look_and_exit(void *times, const char *name, int64_t duration) {
    (void)name, (void)duration;
    atomic_fetch_add((atomic_int *)times, 1);
    pthread_exit(NULL);
}

struct view {
    wg_errgroup *g;
    atomic_int times;
};

static void *look(void *raw) {
    struct view *view = raw;
    (void)wg_errgroup_running(view->g, look_and_exit, &view->times);
    return view;
}

static void a_look_at_tasks_may_end_the_thread(void **state) {
    (void)state;
    struct view view = {.g = new_group((wg_errgroup_options){.track = true})};
    for (int i = 0; i < 20; i++) /* more than fit without memory */
        go(view.g, until_cancelled, NULL);
    EVENTUALLY(wg_errgroup_running(view.g, NULL, NULL) == 20);
    thread_ends_in(look, &view);
    assert_int_equal(atomic_load(&view.times), 1);
    assert_status(wg_errgroup_cancel(view.g, NULL), WG_OK);
    assert_status(wg_errgroup_wait(view.g, NULL, NULL), WG_OK);
    wg_errgroup_release(view.g);
}

/* An observer of a slot, told that there will be none, gives up all that is left of the group: AddressSanitizer sees what uses
 * the group after that. */

static void leave_and_give_up(void *g) {
    REQUIRE(wg_errgroup_leave(g, NULL) == WG_OK);
    wg_errgroup_release(g);
}

static void an_observer_of_a_slot_may_give_up_the_group(void **state) {
    (void)state;
    leaves_tasks();
    for (int i = 0; i < 4; i++) {
        wg_observer observer;
        wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1, .grace = i % 2 ? HANG : 0});
        int64_t id = wg_errgroup_id(g);
        assert_status(wg_errgroup_enter(g), WG_OK);
        assert_status(wg_event_observe(wg_slot(g), &observer, leave_and_give_up, g), WG_OK);
        assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
        assert_true(is_gone(id, WG_KIND_ERRGROUP));
    }
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_of_a_group_is_destroyed),
        cmocka_unit_test(every_cause_in_a_chain_of_contexts_is_destroyed),
        cmocka_unit_test(an_observer_of_an_outcome_that_ends_the_thread_keeps_no_group),
        cmocka_unit_test(a_wait_that_ends_the_thread_keeps_no_context),
        cmocka_unit_test(a_look_at_tasks_may_end_the_thread),
        cmocka_unit_test(an_observer_of_a_slot_may_give_up_the_group),
    };
    return RUN("last references", tests);
}
