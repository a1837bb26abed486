/* A wait returns once the count has been zero, or its deadline or context has ended, and leaves nothing behind. */
#include "support.h"

#include <time.h>

static void returns_at_once_at_zero(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    assert_status(wg_wait(&wg, NULL), WG_OK);
    assert_status(wg_wait(&wg, &(wg_until){0}), WG_OK);
    assert_status(wg_wait(&wg, POLL), WG_OK);
}

/* Go's TestWaitGroup: a barrier of 16 tasks and two groups, 8 times over. */
#define TASKS 16
static wg_waitgroup wg1, wg2;
static atomic_int arrived;

static void *barrier_task(void *unused) {
    (void)unused;
    REQUIRE(wg_done(&wg1) == WG_OK);
    REQUIRE(wg_wait(&wg2, NULL) == WG_OK);
    atomic_fetch_add(&arrived, 1);
    return NULL;
}

static void is_a_barrier_that_can_be_used_again(void **state) {
    (void)state;
    for (int round = 0; round < 8; round++) {
        struct thread t[TASKS];
        atomic_store(&arrived, 0);
        assert_status(wg_add(&wg1, TASKS), WG_OK);
        assert_status(wg_add(&wg2, TASKS), WG_OK);
        for (int i = 0; i < TASKS; i++)
            thread_start(&t[i], barrier_task, NULL);
        assert_status(wg_wait(&wg1, NULL), WG_OK);
        for (int i = 0; i < TASKS; i++) {
            assert_int_equal(atomic_load(&arrived), 0);
            assert_status(wg_done(&wg2), WG_OK);
        }
        for (int i = 0; i < TASKS; i++)
            thread_join(&t[i]);
        assert_int_equal(atomic_load(&arrived), TASKS);
    }
}

/* Go's TestWaitGroupRace. */
static void *bump_and_done(void *counter) {
    atomic_fetch_add_explicit((atomic_int *)counter, 1, memory_order_relaxed);
    REQUIRE(wg_done(&wg1) == WG_OK);
    return NULL;
}

static void never_returns_early(void **state) {
    (void)state;
    for (int i = 0; i < effort(300); i++) {
        atomic_int n = 0;
        struct thread a, b;
        assert_status(wg_add(&wg1, 2), WG_OK);
        thread_start(&a, bump_and_done, &n);
        thread_start(&b, bump_and_done, &n);
        assert_status(wg_wait(&wg1, NULL), WG_OK);
        assert_int_equal(atomic_load(&n), 2);
        thread_join(&a);
        thread_join(&b);
    }
}

/* Go's NoRaceWaitGroup, Transitive, MultipleWait: all waiters see all writes, also when a task is a waiter. The
 * variables are plain, so that ThreadSanitizer says when the order is missing. */
static int written[2];
static wg_waitgroup both, one;
static atomic_int seen;

static void *write_first(void *unused) {
    (void)unused;
    written[0] = 42;
    REQUIRE(wg_done(&one) == WG_OK);
    REQUIRE(wg_done(&both) == WG_OK);
    return NULL;
}

static void *write_second(void *unused) {
    (void)unused;
    REQUIRE(wg_wait(&one, NULL) == WG_OK);
    written[1] = written[0] + 1;
    REQUIRE(wg_done(&both) == WG_OK);
    return NULL;
}

static void *read_all(void *unused) {
    (void)unused;
    REQUIRE(wg_wait(&both, NULL) == WG_OK);
    REQUIRE(written[0] == 42 && written[1] == 43);
    atomic_fetch_add(&seen, 1);
    return NULL;
}

static void all_waiters_see_all_writes(void **state) {
    (void)state;
    for (int i = 0; i < effort(100); i++) {
        struct thread t[5];
        written[0] = written[1] = 0;
        atomic_store(&seen, 0);
        assert_status(wg_add(&both, 2), WG_OK);
        assert_status(wg_add(&one, 1), WG_OK);
        thread_start(&t[0], read_all, NULL);
        thread_start(&t[1], write_second, NULL);
        thread_start(&t[2], read_all, NULL);
        thread_start(&t[3], write_first, NULL);
        thread_start(&t[4], read_all, NULL);
        for (int j = 0; j < 5; j++)
            thread_join(&t[j]);
        assert_int_equal(atomic_load(&seen), 3);
    }
}

static void times_out_not_before_its_deadline(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    assert_status(wg_add(&wg, 1), WG_OK);
    int64_t deadline = wg_after(SOON);
    wg_until until = until_deadline(deadline);
    assert_status(wg_wait(&wg, &until), WG_TIMEOUT);
    assert_true(wg_now() >= deadline);
    assert_int_equal(wg_count(&wg), 1);
}

static void deadlines_at_the_ends_of_time(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    assert_status(wg_add(&wg, 1), WG_OK);
    static const int64_t past[] = {WG_POLL, -2, INT64_MIN, 1, 1000};
    for (size_t i = 0; i < sizeof past / sizeof *past; i++) {
        wg_until until = until_deadline(past[i]);
        assert_status(wg_wait(&wg, &until), WG_TIMEOUT);
    }
    assert_true(wg_after(0) == WG_POLL);
    assert_true(wg_after(-5) == WG_POLL);
    assert_true(wg_after(INT64_MIN) == WG_POLL);
    assert_true(wg_after(INT64_MAX) == WG_FOREVER);
    assert_true(wg_after(INT64_MAX - 1) == WG_FOREVER);
    int64_t before = wg_now(), in_a_second = wg_after(WG_SECOND);
    assert_true(before > 0 && in_a_second >= before + WG_SECOND && in_a_second <= wg_now() + WG_SECOND);
}

static wg_waitgroup late;

/* Thrice, since only some deadlines went wrong: those with a fraction of a second. */
static void a_wait_with_a_deadline_sleeps(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    assert_status(wg_add(&wg, 1), WG_OK);
    for (int i = 0; i < 3; i++) {
        struct timespec before, after;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
        assert_status(wg_wait(&wg, AFTER(200 * WG_MILLISECOND)), WG_TIMEOUT);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
        int64_t used = (after.tv_sec - before.tv_sec) * WG_SECOND + (after.tv_nsec - before.tv_nsec);
        assert_true(used < 50 * WG_MILLISECOND);
    }
}

static void *done_later(void *unused) {
    (void)unused;
    nanosleep(&(struct timespec){.tv_nsec = SOON}, NULL);
    REQUIRE(wg_done(&late) == WG_OK);
    return NULL;
}

static void far_deadlines_do_not_overflow(void **state) {
    (void)state;
    static const int64_t far[] = {WG_FOREVER, INT64_MAX, INT64_MAX - 1, INT64_MAX / 2};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        struct thread t;
        wg_until until = until_deadline(far[i]);
        assert_status(wg_add(&late, 1), WG_OK);
        thread_start(&t, done_later, NULL);
        assert_status(wg_wait(&late, &until), WG_OK);
        thread_join(&t);
    }
}

static void a_wait_that_ends_early_leaves_nothing_behind(void **state) {
    (void)state;
    wg_context *ctx;
    assert_status(wg_context_new(&ctx, NULL, WG_FOREVER), WG_OK);
    wg_waitgroup wg = WG_INIT;
    assert_status(wg_add(&wg, 1), WG_OK);
    int threads = threads_now(), fds = fds_now();
    for (int i = 0; i < 200; i++) {
        wg_until until = {.deadline = wg_after(10000), .context = ctx};
        assert_status(wg_wait(&wg, &until), WG_TIMEOUT);
    }
    assert_int_equal(threads_now(), threads);
    assert_int_equal(fds_now(), fds);
    assert_status(wg_done(&wg), WG_OK);
    assert_status(wg_context_cancel(ctx, NULL), WG_OK); /* would touch a sleeper that is gone */
    wg_context_release(ctx);
}

static void an_ended_context_ends_it_at_once(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    wg_context *cancelled, *late_one;
    assert_status(wg_add(&wg, 1), WG_OK);
    assert_status(wg_context_new(&cancelled, NULL, WG_FOREVER), WG_OK);
    assert_status(wg_context_cancel(cancelled, NULL), WG_OK);
    assert_status(wg_context_new(&late_one, NULL, WG_POLL), WG_OK);
    assert_status(wg_wait(&wg, WITH(cancelled)), WG_CONTEXT_ENDED);
    assert_status(wg_wait(&wg, WITH(late_one)), WG_CONTEXT_ENDED);
    assert_status(wg_done(&wg), WG_OK);
    assert_status(wg_wait(&wg, WITH(cancelled)), WG_OK); /* zero comes first */
    wg_context_release(cancelled);
    wg_context_release(late_one);
}

static void *cancel_later(void *ctx) {
    nanosleep(&(struct timespec){.tv_nsec = SOON}, NULL);
    REQUIRE(wg_context_cancel(ctx, NULL) == WG_OK);
    return NULL;
}

static void a_context_that_ends_wakes_it(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    wg_context *ctx;
    struct thread t;
    assert_status(wg_add(&wg, 1), WG_OK);
    assert_status(wg_context_new(&ctx, NULL, WG_FOREVER), WG_OK);
    thread_start(&t, cancel_later, ctx);
    assert_status(wg_wait(&wg, WITH(ctx)), WG_CONTEXT_ENDED);
    thread_join(&t);
    wg_context_release(ctx);
    assert_status(wg_context_new(&ctx, NULL, wg_after(SOON)), WG_OK);
    assert_status(wg_wait(&wg, WITH(ctx)), WG_CONTEXT_ENDED);
    wg_context_release(ctx);
    assert_int_equal(wg_count(&wg), 1);
}

static void the_root_context_never_ends_it(void **state) {
    (void)state;
    struct thread t;
    assert_status(wg_add(&late, 1), WG_OK);
    wg_until until = {.deadline = wg_after(1), .context = wg_context_root()};
    assert_status(wg_wait(&late, &until), WG_TIMEOUT);
    thread_start(&t, done_later, NULL);
    assert_status(wg_wait(&late, WITH(wg_context_root())), WG_OK);
    thread_join(&t);
}

/* Dividing the work among waiters: some give up, and the others are still woken. */
static wg_waitgroup crowd;
static atomic_int woken, gave_up;

static void *wait_long(void *unused) {
    (void)unused;
    REQUIRE(wg_wait(&crowd, NULL) == WG_OK);
    atomic_fetch_add(&woken, 1);
    return NULL;
}

static void *wait_briefly(void *unused) {
    (void)unused;
    REQUIRE(wg_wait(&crowd, AFTER(WG_MILLISECOND)) == WG_TIMEOUT);
    atomic_fetch_add(&gave_up, 1);
    return NULL;
}

static void waiters_that_give_up_do_not_disturb_the_others(void **state) {
    (void)state;
    struct thread t[20];
    assert_status(wg_add(&crowd, 1), WG_OK);
    for (int i = 0; i < 20; i++)
        thread_start(&t[i], i % 2 ? wait_long : wait_briefly, NULL);
    EVENTUALLY(atomic_load(&gave_up) == 10);
    assert_int_equal(atomic_load(&woken), 0);
    assert_status(wg_done(&crowd), WG_OK);
    for (int i = 0; i < 20; i++)
        thread_join(&t[i]);
    assert_int_equal(atomic_load(&woken), 10);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(returns_at_once_at_zero),
        cmocka_unit_test(is_a_barrier_that_can_be_used_again),
        cmocka_unit_test(never_returns_early),
        cmocka_unit_test(all_waiters_see_all_writes),
        cmocka_unit_test(times_out_not_before_its_deadline),
        cmocka_unit_test(deadlines_at_the_ends_of_time),
        cmocka_unit_test(a_wait_with_a_deadline_sleeps),
        cmocka_unit_test(far_deadlines_do_not_overflow),
        cmocka_unit_test(a_wait_that_ends_early_leaves_nothing_behind),
        cmocka_unit_test(an_ended_context_ends_it_at_once),
        cmocka_unit_test(a_context_that_ends_wakes_it),
        cmocka_unit_test(the_root_context_never_ends_it),
        cmocka_unit_test(waiters_that_give_up_do_not_disturb_the_others),
    };
    return RUN("wait", tests);
}
