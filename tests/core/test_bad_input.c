/* Misuse is a status that says which, and changes nothing. Counts are in test_count.c, deadlines in test_wait.c and
 * test_context_deadline.c, deadlocks in test_errgroup_deadlock.c, finished groups in test_errgroup_outcome.c. */
#include "tasks.h"

#include <sys/resource.h>
#include <unistd.h>

static void never(void *unused) {
    (void)unused;
    REQUIRE(false);
}
static wg_error *never_run(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    REQUIRE(false);
    return NULL;
}

static void null_in_the_place_of_a_wait_group(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    wg_observer observer;
    wg_watch *watch;
    assert_status(wg_add(NULL, 1), WG_INVALID);
    assert_status(wg_done(NULL), WG_INVALID);
    assert_status(wg_wait(NULL, NULL), WG_INVALID);
    assert_int_equal(wg_count(NULL), 0);
    assert_status(wg_event_observe(wg_zero(NULL), &observer, never, NULL), WG_INVALID);
    assert_status(wg_event_observe(wg_zero(&wg), NULL, never, NULL), WG_INVALID);
    assert_status(wg_event_observe(wg_zero(&wg), &observer, NULL, NULL), WG_INVALID);
    assert_false(wg_event_unobserve(wg_zero(NULL), &observer));
    assert_false(wg_event_unobserve(wg_zero(&wg), NULL));
    assert_false(wg_event_unobserve_sync(wg_zero(NULL), &observer));
    assert_false(wg_event_unobserve_sync(wg_zero(&wg), NULL));
    assert_status(wg_go(NULL, NULL, never, NULL, NULL), WG_INVALID);
    assert_status(wg_go(&wg, NULL, NULL, NULL, never), WG_INVALID);
    assert_int_equal(wg_count(&wg), 0);
    assert_status(wg_watch_new(NULL, &wg), WG_INVALID);
    assert_status(wg_watch_new(&watch, NULL), WG_INVALID);
    assert_int_equal(wg_watch_fd(NULL), -1);
    wg_watch_free(NULL);
}

static void null_in_the_place_of_a_context(void **state) {
    (void)state;
    wg_context *ctx;
    wg_observer observer;
    int fd = -7;
    assert_status(wg_context_new(NULL, NULL, WG_FOREVER), WG_INVALID);
    assert_null(wg_context_retain(NULL));
    wg_context_release(NULL);
    assert_status(wg_context_cancel(NULL, NULL), WG_INVALID);
    assert_status(wg_context_status(NULL), WG_OK);
    assert_null(wg_context_cause(NULL));
    assert_null(wg_context_error(NULL));
    assert_false(wg_context_inherited(NULL));
    assert_true(wg_context_deadline(NULL) == WG_FOREVER);
    assert_status(wg_context_wait(NULL, NULL), WG_INVALID);
    assert_status(wg_event_observe(wg_ended(NULL), &observer, never, NULL), WG_INVALID);
    assert_status(wg_context_fd(NULL, &fd), WG_INVALID);
    assert_status(wg_context_fd(wg_context_root(), &fd), WG_INVALID);
    assert_int_equal(fd, -7);
    assert_status(wg_context_new(&ctx, NULL, WG_FOREVER), WG_OK);
    assert_status(wg_event_observe(wg_ended(ctx), NULL, never, NULL), WG_INVALID);
    assert_status(wg_event_observe(wg_ended(ctx), &observer, NULL, NULL), WG_INVALID);
    assert_false(wg_event_unobserve(wg_ended(NULL), &observer));
    assert_false(wg_event_unobserve(wg_ended(ctx), NULL));
    assert_false(wg_event_unobserve_sync(wg_ended(NULL), &observer));
    assert_false(wg_event_unobserve_sync(wg_ended(ctx), NULL));
    assert_status(wg_context_fd(ctx, NULL), WG_INVALID);
    wg_context_release(ctx);
}

static void null_in_the_place_of_an_error_group(void **state) {
    (void)state;
    wg_observer observer;
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    assert_status(wg_errgroup_new(NULL, NULL), WG_INVALID);
    assert_null(wg_errgroup_retain(NULL));
    wg_errgroup_release(NULL);
    assert_status(wg_errgroup_go(NULL, never_run, NULL, never, NULL), WG_INVALID);
    assert_status(wg_errgroup_go(g, NULL, NULL, never, NULL), WG_INVALID);
    assert_status(wg_errgroup_try_go(NULL, never_run, NULL, never), WG_INVALID);
    assert_status(wg_errgroup_try_go(g, NULL, NULL, never), WG_INVALID);
    assert_status(wg_errgroup_wait(NULL, NULL, NULL), WG_INVALID);
    assert_status(wg_errgroup_cancel(NULL, NULL), WG_INVALID);
    assert_int_equal(wg_errgroup_limit(NULL), 0);
    assert_status(wg_errgroup_set_limit(NULL, 1), WG_INVALID);
    assert_null(wg_errgroup_context(NULL));
    assert_null(wg_errgroup_tasks(NULL));
    assert_int_equal(wg_errgroup_errors(NULL, NULL, 0), 0);
    assert_int_equal(wg_errgroup_errors(g, NULL, 0), 0);
    assert_int_equal(wg_errgroup_errors(NULL, NULL, 7), 0);
    wg_errgroup_counts c = wg_errgroup_get_counts(NULL);
    assert_true(c.pending == 0 && c.running == 0 && c.completed == 0);
    assert_status(wg_errgroup_enter(NULL), WG_INVALID);
    assert_status(wg_errgroup_leave(NULL, NULL), WG_INVALID);
    assert_status(wg_errgroup_leave(g, NULL), WG_NEGATIVE);
    assert_status(wg_event_observe(wg_slot(NULL), &observer, never, NULL), WG_INVALID);
    assert_status(wg_event_observe(wg_slot(g), NULL, never, NULL), WG_INVALID);
    assert_status(wg_event_observe(wg_slot(g), &observer, NULL, NULL), WG_INVALID);
    assert_false(wg_event_unobserve(wg_slot(NULL), &observer));
    assert_false(wg_event_unobserve(wg_slot(g), NULL));
    assert_false(wg_event_unobserve_sync(wg_slot(NULL), &observer));
    assert_false(wg_event_unobserve_sync(wg_slot(g), NULL));
    assert_status(wg_errgroup_enter(g), WG_OK);
    assert_status(wg_errgroup_leave(g, wg_error_no_memory()), WG_OK);
    assert_int_equal(wg_errgroup_errors(g, NULL, 7), 1);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_FAILED);
    wg_errgroup_release(g);
}

static void null_in_the_place_of_a_pool_or_an_error(void **state) {
    (void)state;
    wg_pool *pool;
    assert_status(wg_pool_new(NULL, &(wg_pool_host){0}), WG_INVALID);
    assert_status(wg_pool_new(&pool, NULL), WG_INVALID);
    assert_null(wg_pool_retain(NULL));
    wg_pool_release(NULL);
    wg_pool_stop(NULL);
    wg_pool_work(NULL);
    wg_pool_work_failed(NULL);
    assert_null(wg_error_retain(NULL));
    wg_error_release(NULL);
    assert_null(wg_error_value(NULL));
    assert_int_equal(wg_error_get_kind(NULL), WG_ERROR_FAILURE);
}

static void options_out_of_range(void **state) {
    (void)state;
    wg_errgroup *g = NULL;
    wg_pool *pool = NULL;
    assert_status(wg_errgroup_new(&g, &(wg_errgroup_options){.limit = -1}), WG_INVALID);
    assert_status(wg_errgroup_new(&g, &(wg_errgroup_options){.limit = INT32_MIN}), WG_INVALID);
    assert_status(wg_errgroup_new(&g, &(wg_errgroup_options){.grace = -1}), WG_INVALID);
    assert_status(wg_errgroup_new(&g, &(wg_errgroup_options){.grace = INT64_MIN}), WG_INVALID);
    assert_null(g);
    assert_status(wg_pool_new(&pool, &(wg_pool_host){.idle_time = -1}), WG_INVALID);
    assert_null(pool);
}

static void options_at_the_end_of_their_range(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = INT32_MAX, .grace = INT64_MAX, .deadline = INT64_MAX});
    assert_int_equal(wg_errgroup_limit(g), 0);
    go(g, until_cancelled, NULL);
    assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK); /* a grace period without end */
    wg_errgroup_release(g);
    g = new_group((wg_errgroup_options){.deadline = WG_POLL});
    assert_status(wg_errgroup_go(g, never_run, NULL, never, NULL), WG_DEADLINE_EXCEEDED);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_DEADLINE_EXCEEDED);
    wg_errgroup_release(g);
}

static void an_overflowing_count_refuses_the_task(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    assert_status(wg_add(&wg, WG_COUNT_MAX), WG_OK);
    assert_status(wg_go(&wg, NULL, never, NULL, never), WG_OVERFLOW);
    assert_int_equal(wg_count(&wg), WG_COUNT_MAX);
    assert_status(wg_add(&wg, -(int64_t)WG_COUNT_MAX), WG_OK);
}

static void cancelling_twice_changes_nothing(void **state) {
    (void)state;
    int why, other;
    wg_error *first = wg_error_new(WG_ERROR_FAILURE, &why, NULL),
             *second = wg_error_new(WG_ERROR_FAILURE, &other, NULL);
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    wg_error *cause;
    assert_status(wg_errgroup_cancel(g, first), WG_OK);
    assert_status(wg_errgroup_cancel(g, second), WG_CANCELLED);
    assert_status(wg_errgroup_wait(g, NULL, &cause), WG_CANCELLED);
    assert_ptr_equal(cause, first);
    wg_error_release(first);
    wg_error_release(second);
    wg_errgroup_release(g);
}

/* No descriptor to be had. */
static void without_descriptors_the_calls_say_so(void **state) {
    (void)state;
    struct rlimit before;
    wg_waitgroup wg = WG_INIT;
    wg_context *ctx;
    wg_watch *watch;
    int fd = -7;
    assert_status(wg_context_new(&ctx, NULL, WG_FOREVER), WG_OK);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, before.rlim_max}), 0);
    wg_status of_context = wg_context_fd(ctx, &fd), of_watch = wg_watch_new(&watch, &wg);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_status(of_context, WG_NO_FD);
    assert_status(of_watch, WG_NO_FD);
    assert_int_equal(fd, -7);
    assert_status(wg_context_fd(ctx, &fd), WG_OK); /* and later it works */
    assert_status(wg_context_cancel(ctx, NULL), WG_OK);
    assert_true(readable(fd));
    wg_context_release(ctx);
}

/* Immortal errors. */
static void immortal_errors_need_no_care(void **state) {
    (void)state;
    wg_error *const all[] = {wg_error_no_memory(), wg_error_cancelled(), wg_error_deadline(), wg_error_thread_ended()};
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 10; j++)
            wg_error_release(all[i]);
        assert_ptr_equal(wg_error_retain(all[i]), all[i]);
        assert_null(wg_error_value(all[i]));
        assert_int_equal(wg_error_get_kind(all[i]), i == 0 || i == 3 ? WG_ERROR_FAILURE : WG_ERROR_STOP);
    }
}

/* Giving up the last reference during a blocking call. */
static wg_context *given_up, *ends;

static void *wait_for_given_up(void *unused) {
    (void)unused;
    REQUIRE(wg_context_wait(given_up, WITH(ends)) == WG_CONTEXT_ENDED);
    return NULL;
}

static void a_context_given_up_while_somebody_waits_for_it_stays(void **state) {
    (void)state;
    for (int i = 0; i < effort(10); i++) {
        struct thread t;
        assert_status(wg_context_new(&given_up, NULL, WG_FOREVER), WG_OK);
        assert_status(wg_context_new(&ends, NULL, WG_FOREVER), WG_OK);
        thread_start(&t, wait_for_given_up, NULL);
        let_sleep_on(given_up, 1);
        let_sleep_on(ends, 1);
        wg_context_release(given_up);
        assert_status(wg_context_cancel(ends, NULL), WG_OK);
        thread_join(&t);
        wg_context_release(ends);
    }
}

static void every_status_has_a_text_and_others_do_not(void **state) {
    (void)state;
    for (int s = WG_OK; s <= WG_NOT_WRITTEN; s++) {
        assert_non_null(wg_strstatus((wg_status)s));
        assert_string_not_equal(wg_strstatus((wg_status)s), "unknown status");
        for (int other = WG_OK; other < s; other++)
            assert_string_not_equal(wg_strstatus((wg_status)s), wg_strstatus((wg_status)other));
    }
    assert_string_equal(wg_strstatus((wg_status)(WG_NOT_WRITTEN + 1)), "unknown status");
    assert_string_equal(wg_strstatus((wg_status)-1), "unknown status");
    assert_string_equal(wg_strstatus((wg_status)12345), "unknown status");
    assert_non_null(strstr(wg_strstatus(WG_CANCELLED), "cancelled"));
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(null_in_the_place_of_a_wait_group),
        cmocka_unit_test(null_in_the_place_of_a_context),
        cmocka_unit_test(null_in_the_place_of_an_error_group),
        cmocka_unit_test(null_in_the_place_of_a_pool_or_an_error),
        cmocka_unit_test(options_out_of_range),
        cmocka_unit_test(options_at_the_end_of_their_range),
        cmocka_unit_test(an_overflowing_count_refuses_the_task),
        cmocka_unit_test(cancelling_twice_changes_nothing),
        cmocka_unit_test(without_descriptors_the_calls_say_so),
        cmocka_unit_test(immortal_errors_need_no_care),
        cmocka_unit_test(a_context_given_up_while_somebody_waits_for_it_stays),
        cmocka_unit_test(every_status_has_a_text_and_others_do_not),
    };
    return RUN("bad_input", tests);
}
