/* A wait group may be used again at once: a waiter belongs to the round it joined, and later rounds do not hold it. */
#include "support.h"

#include "count.h"

static wg_waitgroup wg;

static void *wait_once(void *unused) {
    (void)unused;
    REQUIRE(wg_wait(&wg, NULL) == WG_OK);
    return NULL;
}

/* The word says that somebody has linked itself for this round: see count.h. */
static bool has_sleeper(void) { return __atomic_load_n(&wg.state_, __ATOMIC_ACQUIRE) & WG_ZERO_WAITERS; }

/* Go panics in the waiter: "WaitGroup is reused before previous Wait has returned". */
static void a_slow_waiter_returns_though_the_next_round_has_begun(void **state) {
    (void)state;
    for (int i = 0; i < effort(300); i++) {
        struct thread t;
        assert_status(wg_add(&wg, 1), WG_OK);
        thread_start(&t, wait_once, NULL);
        EVENTUALLY(has_sleeper());
        assert_status(wg_done(&wg), WG_OK);
        assert_status(wg_add(&wg, 1), WG_OK); /* and stays at 1 until the waiter is back */
        thread_join(&t);
        assert_status(wg_done(&wg), WG_OK);
    }
}

static void waiters_of_two_rounds_return_each_in_its_own(void **state) {
    (void)state;
    for (int i = 0; i < effort(100); i++) {
        struct thread first, second;
        assert_status(wg_add(&wg, 1), WG_OK);
        thread_start(&first, wait_once, NULL);
        EVENTUALLY(has_sleeper());
        assert_status(wg_done(&wg), WG_OK);
        assert_status(wg_add(&wg, 2), WG_OK);
        thread_start(&second, wait_once, NULL);
        EVENTUALLY(has_sleeper());
        thread_join(&first);
        assert_status(wg_done(&wg), WG_OK);
        assert_true(has_sleeper()); /* one step down is not zero: the second is still there */
        assert_status(wg_done(&wg), WG_OK);
        thread_join(&second);
    }
}

/* Go's NoRaceWaitGroupReuse: plain variables, handed over in rounds. */
static int value;

static void *increment(void *unused) {
    (void)unused;
    value++;
    REQUIRE(wg_done(&wg) == WG_OK);
    return NULL;
}

static void each_round_hands_over_what_was_written(void **state) {
    (void)state;
    value = 0;
    for (int i = 1; i <= effort(200); i++) {
        struct thread t;
        assert_status(wg_add(&wg, 1), WG_OK);
        thread_start(&t, increment, NULL);
        assert_status(wg_wait(&wg, NULL), WG_OK);
        assert_int_equal(value, i);
        value++;
        value--;
        thread_join(&t);
    }
}

/* Go's NoRaceWaitGroupReuse2: a second waiter in each round. */
static void every_round_releases_all_its_waiters(void **state) {
    (void)state;
    for (int i = 0; i < effort(100); i++) {
        struct thread waiters[3], worker;
        assert_status(wg_add(&wg, 1), WG_OK);
        for (int j = 0; j < 3; j++)
            thread_start(&waiters[j], wait_once, NULL);
        thread_start(&worker, increment, NULL);
        assert_status(wg_wait(&wg, NULL), WG_OK);
        for (int j = 0; j < 3; j++)
            thread_join(&waiters[j]);
        thread_join(&worker);
    }
}

static void a_wait_that_timed_out_does_not_spoil_the_next_round(void **state) {
    (void)state;
    for (int i = 0; i < 50; i++) {
        assert_status(wg_add(&wg, 2), WG_OK);
        assert_status(wg_wait(&wg, AFTER(1000)), WG_TIMEOUT);
        assert_status(wg_done(&wg), WG_OK);
        assert_status(wg_wait(&wg, AFTER(1000)), WG_TIMEOUT);
        assert_status(wg_done(&wg), WG_OK);
        assert_status(wg_wait(&wg, POLL), WG_OK);
    }
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_waiter_returns_though_the_next_round_has_begun),
        cmocka_unit_test(waiters_of_two_rounds_return_each_in_its_own),
        cmocka_unit_test(each_round_hands_over_what_was_written),
        cmocka_unit_test(every_round_releases_all_its_waiters),
        cmocka_unit_test(a_wait_that_timed_out_does_not_spoil_the_next_round),
    };
    return RUN("reuse", tests);
}
