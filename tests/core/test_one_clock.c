/* From the moment a context's deadline has passed, every call says so, though the thread that keeps deadlines has not come
 * yet; and from then on the cheap look agrees. That thread is held up by a slow observer. */
#include "held_timer.h"
#include "tasks.h"

#include <math.h>

static wg_context *with_deadline(wg_context *parent, int64_t deadline) {
    wg_context *ctx;
    assert_status(wg_context_new(&ctx, parent, deadline), WG_OK);
    return ctx;
}

static void tell(void *times) { atomic_fetch_add((atomic_int *)times, 1); }

/* One look at a context whose deadline has passed; `g` is a group with that context as its parent's. */
typedef void (*look)(wg_context *ctx, wg_errgroup *g);

static void by_check(wg_context *ctx, wg_errgroup *g) {
    (void)g;
    assert_status(wg_context_check(ctx), WG_DEADLINE_EXCEEDED);
}

static void by_cause(wg_context *ctx, wg_errgroup *g) {
    (void)g;
    assert_ptr_equal(wg_context_cause(ctx), wg_error_deadline());
}

static void by_error(wg_context *ctx, wg_errgroup *g) {
    (void)g;
    assert_ptr_equal(wg_context_error(ctx), wg_error_deadline());
}

static void by_remaining(wg_context *ctx, wg_errgroup *g) {
    (void)g;
    assert_true(wg_context_remaining(ctx) == 0);
}

static void by_inherited(wg_context *ctx, wg_errgroup *g) {
    (void)g;
    assert_false(wg_context_inherited(ctx));
}

static void by_cancel(wg_context *ctx, wg_errgroup *g) {
    (void)g;
    assert_status(wg_context_cancel(ctx, wg_error_no_memory()), WG_DEADLINE_EXCEEDED);
}

static void by_wait(wg_context *ctx, wg_errgroup *g) {
    (void)g;
    assert_status(wg_context_wait(ctx, POLL), WG_OK);
}

static void by_a_wait_for_another(wg_context *ctx, wg_errgroup *g) {
    (void)g;
    wg_context *other = with_deadline(wg_context_root(), WG_FOREVER);
    assert_status(wg_context_wait(other, &(wg_until){.deadline = WG_POLL, .context = ctx}), WG_CONTEXT_ENDED);
    wg_context_release(other);
}

static void by_a_wait_for_zero(wg_context *ctx, wg_errgroup *g) {
    (void)g;
    wg_waitgroup wg = WG_INIT;
    assert_status(wg_add(&wg, 1), WG_OK);
    assert_status(wg_wait(&wg, &(wg_until){.deadline = WG_POLL, .context = ctx}), WG_CONTEXT_ENDED);
}

static void by_observing(wg_context *ctx, wg_errgroup *g) {
    (void)g;
    wg_observer observer;
    atomic_int told = 0;
    assert_status(wg_event_observe(wg_ended(ctx), &observer, tell, &told), WG_OK);
    assert_int_equal(atomic_load(&told), 1);
}

static void by_descriptor(wg_context *ctx, wg_errgroup *g) {
    int fd;
    (void)g;
    assert_status(wg_context_fd(ctx, &fd), WG_OK);
    assert_true(readable(fd));
}

static void by_a_new_child(wg_context *ctx, wg_errgroup *g) {
    (void)g;
    wg_context *child = with_deadline(ctx, WG_FOREVER);
    assert_status(wg_context_status(child), WG_DEADLINE_EXCEEDED);
    assert_true(wg_context_inherited(child));
    assert_ptr_equal(wg_context_cause(child), wg_error_deadline());
    wg_context_release(child);
}

static void by_a_look_at_a_child(wg_context *ctx, wg_errgroup *g) {
    (void)ctx;
    assert_status(wg_context_check(wg_errgroup_context(g)), WG_DEADLINE_EXCEEDED);
    assert_true(wg_context_inherited(wg_errgroup_context(g)));
}

static void by_go(wg_context *ctx, wg_errgroup *g) {
    (void)ctx;
    assert_status(wg_errgroup_go(g, succeed, NULL, NULL, NULL), WG_DEADLINE_EXCEEDED);
    assert_status(wg_errgroup_try_go(g, succeed, NULL, NULL), WG_DEADLINE_EXCEEDED);
}

static void by_enter(wg_context *ctx, wg_errgroup *g) {
    (void)ctx;
    assert_status(wg_errgroup_enter(g), WG_DEADLINE_EXCEEDED);
}

static void by_the_outcome(wg_context *ctx, wg_errgroup *g) {
    wg_error *first = NULL;
    (void)ctx;
    assert_status(wg_errgroup_wait(g, NULL, &first), WG_DEADLINE_EXCEEDED);
    assert_ptr_equal(first, wg_error_deadline());
}

static void every_call_agrees_with_the_clock(void **state) {
    static const look looks[] = {by_check,
                                 by_cause,
                                 by_error,
                                 by_remaining,
                                 by_inherited,
                                 by_cancel,
                                 by_wait,
                                 by_a_wait_for_another,
                                 by_a_wait_for_zero,
                                 by_observing,
                                 by_descriptor,
                                 by_a_new_child,
                                 by_a_look_at_a_child,
                                 by_go,
                                 by_enter,
                                 by_the_outcome};
    (void)state;
    hold_up_the_timer();
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
        wg_observer observer;
        atomic_int told = 0;
        wg_context *ctx = with_deadline(wg_context_root(), wg_after(SOON));
        wg_errgroup *g = new_group((wg_errgroup_options){.parent = ctx});
        assert_status(wg_event_observe(wg_ended(ctx), &observer, tell, &told), WG_OK);
        EVENTUALLY(wg_now() >= wg_context_deadline(ctx));
        assert_status(wg_context_status(ctx), WG_OK); /* nobody has told it yet */
        looks[i](ctx, g);
        assert_status(wg_context_status(ctx), WG_DEADLINE_EXCEEDED);
        assert_status(wg_context_status(wg_errgroup_context(g)), WG_DEADLINE_EXCEEDED);
        assert_int_equal(atomic_load(&told), 1); /* by this thread */
        assert_ptr_equal(wg_context_cause(wg_errgroup_context(g)), wg_error_deadline());
        wg_errgroup_release(g);
        wg_context_release(ctx);
    }
    let_the_timer_go();
}

static wg_error *wait_until_it_is_over(void *unused, wg_context *ctx) {
    (void)unused;
    EVENTUALLY(wg_now() >= wg_context_deadline(ctx));
    return wg_context_error(ctx);
}

static void a_task_that_stops_at_the_deadline_did_not_fail(void **state) {
    (void)state;
    hold_up_the_timer();
    wg_errgroup *g = new_group((wg_errgroup_options){.deadline = wg_after(SOON)});
    wg_status gone = wg_errgroup_go(g, wait_until_it_is_over, NULL, NULL, NULL);
    assert_true(gone == WG_OK || gone == WG_DEADLINE_EXCEEDED); /* on a slow machine */
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_DEADLINE_EXCEEDED);
    assert_int_equal(wg_errgroup_errors(g, NULL, 0), 0);
    wg_errgroup_release(g);
    let_the_timer_go();
}

static void a_task_that_has_not_started_by_then_never_starts(void **state) {
    (void)state;
    hold_up_the_timer();
    wg_pool *pool;
    atomic_int ran = 0;
    struct gate gate = {0};
    assert_status(wg_pool_new(&pool, &(wg_pool_host){.cores = 1, .idle_time = WG_MILLISECOND}), WG_OK);
    wg_errgroup *holds = new_group((wg_errgroup_options){.pool = pool}),
                *g = new_group((wg_errgroup_options){.pool = pool, .deadline = wg_after(5 * SOON)});
    go(holds, pass_gate, &gate);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
    wg_status gone = wg_errgroup_go(g, count, &ran, NULL, NULL);
    assert_true(gone == WG_OK || gone == WG_DEADLINE_EXCEEDED);
    EVENTUALLY(wg_now() >= wg_context_deadline(wg_errgroup_context(g)));
    bool too_early = atomic_load(&ran) > 0; /* the pool has added a worker meanwhile */
    gate_open(&gate);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_DEADLINE_EXCEEDED);
    assert_int_equal(atomic_load(&ran), too_early);
    assert_status(wg_errgroup_wait(holds, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
    wg_errgroup_release(holds);
    wg_pool_stop(pool);
    wg_pool_release(pool);
    let_the_timer_go();
}

/* Whoever sleeps for what remains finds it over. */
static void what_remains_is_enough(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++) {
        wg_context *ctx = with_deadline(wg_context_root(), wg_after(WG_MILLISECOND));
        int64_t remaining = wg_context_remaining(ctx), end = remaining + wg_now(); /* in this order */
        while (wg_now() < end) {}
        assert_status(wg_context_check(ctx), WG_DEADLINE_EXCEEDED);
        assert_true(wg_context_remaining(ctx) == 0);
        wg_context_release(ctx);
    }
    assert_true(wg_context_remaining(wg_context_root()) == INT64_MAX);
    assert_true(wg_context_remaining(NULL) == INT64_MAX);
    assert_status(wg_context_check(NULL), WG_OK);
    assert_status(wg_context_check(wg_context_root()), WG_OK);
}

/* Of a deadline that is handed down as seconds: one number, for ever. */
static void seconds_come_back_as_they_went(void **state) {
    (void)state;
    unsigned seed = (unsigned)wg_now();
    print_message("seed %u\n", seed);
    for (int i = 0; i < effort(200000); i++) {
        int64_t ns = ((int64_t)rand_r(&seed) << 31 | rand_r(&seed)) >> (rand_r(&seed) % 62);
        if (rand_r(&seed) % 8 == 0)
            ns = -ns;
        double seconds = wg_seconds(ns);
        int64_t back = wg_nanoseconds(seconds);
        assert_true(wg_seconds(back) == seconds);
        assert_true(wg_seconds(ns + 1) >= seconds); /* the later one never reads earlier */
        if (ns < (int64_t)8000000 * WG_SECOND && ns > (int64_t)-8000000 * WG_SECOND) /* up to a quarter of a year */
            assert_true(back == ns);
    }
    assert_true(wg_nanoseconds(INFINITY) == INT64_MAX && wg_nanoseconds(-INFINITY) == INT64_MIN);
    assert_true(wg_nanoseconds(1e300) == INT64_MAX && wg_nanoseconds(NAN) == 0);
}

static void seconds_from_now_are_never_too_few(void **state) {
    (void)state;
    static const double some[] = {1e-12, 1e-9, 0.1, 0.3, 1, 1.0000000001, 12345.678901234, 9e9};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        int64_t before = wg_now(), deadline = wg_after_seconds(some[i]);
        assert_true((double)(deadline - before) >= some[i] * 1e9);
    }
    assert_true(wg_after_seconds(INFINITY) == WG_FOREVER && wg_after_seconds(1e18) == WG_FOREVER);
    assert_true(wg_after_seconds(0) == WG_POLL && wg_after_seconds(-1) == WG_POLL && wg_after_seconds(NAN) == WG_POLL);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_agrees_with_the_clock),
        cmocka_unit_test(a_task_that_stops_at_the_deadline_did_not_fail),
        cmocka_unit_test(a_task_that_has_not_started_by_then_never_starts),
        cmocka_unit_test(what_remains_is_enough),
        cmocka_unit_test(seconds_come_back_as_they_went),
        cmocka_unit_test(seconds_from_now_are_never_too_few),
    };
    return RUN("one_clock", tests);
}
