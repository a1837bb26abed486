/* The count stays within 0 .. WG_COUNT_MAX; a step outside is refused and changes nothing. */
#include "support.h"

#include "count.h"

static void starts_at_zero(void **state) {
    (void)state;
    static wg_waitgroup in_static_memory;
    wg_waitgroup on_stack = WG_INIT;
    assert_int_equal(wg_count(&in_static_memory), 0);
    assert_int_equal(wg_count(&on_stack), 0);
}

static void is_at_most_16_bytes(void **state) {
    (void)state;
    assert_in_range(sizeof(wg_waitgroup), 1, 16);
}

static void adds_and_takes_away(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    assert_status(wg_add(&wg, 5), WG_OK);
    assert_int_equal(wg_count(&wg), 5);
    assert_status(wg_add(&wg, -2), WG_OK);
    assert_int_equal(wg_count(&wg), 3);
    assert_status(wg_done(&wg), WG_OK);
    assert_int_equal(wg_count(&wg), 2);
    assert_status(wg_add(&wg, 0), WG_OK);
    assert_int_equal(wg_count(&wg), 2);
    assert_status(wg_add(&wg, -2), WG_OK);
    assert_int_equal(wg_count(&wg), 0);
}

/* Go's TestWaitGroupMisuse; there the count is ruined. */
static void one_done_too_many_changes_nothing(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    assert_status(wg_add(&wg, 1), WG_OK);
    assert_status(wg_done(&wg), WG_OK);
    assert_status(wg_done(&wg), WG_NEGATIVE);
    assert_int_equal(wg_count(&wg), 0);
    assert_status(wg_wait(&wg, AFTER(HANG)), WG_OK);
    assert_status(wg_add(&wg, 1), WG_OK);
    assert_int_equal(wg_count(&wg), 1);
    assert_status(wg_done(&wg), WG_OK);
}

static void refuses_every_step_outside(void **state) {
    (void)state;
    static const struct {
        int64_t count, n;
        wg_status status;
    } table[] = {
        {0, -1, WG_NEGATIVE},
        {0, INT64_MIN, WG_NEGATIVE},
        {0, -(INT64_C(1) << 32), WG_NEGATIVE},
        {1, -2, WG_NEGATIVE},
        {5, INT64_MIN, WG_NEGATIVE},
        {5, -(INT64_C(1) << 31), WG_NEGATIVE},
        {WG_COUNT_MAX, -(int64_t)WG_COUNT_MAX - 1, WG_NEGATIVE},
        {0, (int64_t)WG_COUNT_MAX + 1, WG_OVERFLOW},
        {0, INT64_C(1) << 32, WG_OVERFLOW}, /* in Go silently nothing */
        {0, INT64_MAX, WG_OVERFLOW},
        {1, WG_COUNT_MAX, WG_OVERFLOW},
        {WG_COUNT_MAX, 1, WG_OVERFLOW},
        {WG_COUNT_MAX, INT64_MAX, WG_OVERFLOW},
        {WG_COUNT_MAX - 1, 2, WG_OVERFLOW},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        wg_waitgroup wg = WG_INIT;
        assert_status(wg_add(&wg, table[i].count), WG_OK);
        uint64_t before = wg.state_;
        assert_status(wg_add(&wg, table[i].n), table[i].status);
        assert_int_equal(wg.state_, before);
    }
}

static void goes_up_to_the_end_and_back(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    assert_status(wg_add(&wg, WG_COUNT_MAX), WG_OK);
    assert_int_equal(wg_count(&wg), WG_COUNT_MAX);
    assert_status(wg_wait(&wg, POLL), WG_TIMEOUT);
    assert_status(wg_done(&wg), WG_OK);
    assert_status(wg_add(&wg, 1), WG_OK);
    assert_status(wg_add(&wg, -(int64_t)WG_COUNT_MAX), WG_OK);
    assert_int_equal(wg_count(&wg), 0);
    assert_status(wg_wait(&wg, AFTER(HANG)), WG_OK);
}

static void refusals_keep_the_sleepers(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    assert_status(wg_add(&wg, 1), WG_OK);
    assert_status(wg_wait(&wg, AFTER(1)), WG_TIMEOUT); /* may leave the sleepers bit */
    wg.state_ |= WG_ZERO_WAITERS;
    assert_status(wg_add(&wg, -2), WG_NEGATIVE);
    assert_status(wg_add(&wg, WG_COUNT_MAX), WG_OVERFLOW);
    assert_true(wg.state_ & WG_ZERO_WAITERS);
    assert_int_equal(wg_count(&wg), 1);
    assert_status(wg_done(&wg), WG_OK);
    assert_int_equal(wg.state_ & WG_ZERO_WAITERS, 0);
}

/* Go's TestWaitGroupAlign. */
static void works_behind_a_byte(void **state) {
    (void)state;
    struct {
        char byte;
        wg_waitgroup wg;
    } x = {'x', WG_INIT};
    assert_status(wg_add(&x.wg, 1), WG_OK);
    assert_status(wg_done(&x.wg), WG_OK);
    assert_status(wg_wait(&x.wg, AFTER(HANG)), WG_OK);
    assert_int_equal(x.byte, 'x');
}

#define ADDERS 4
static wg_waitgroup shared;

static void *add_many(void *unused) {
    (void)unused;
    for (int i = 0; i < 20000; i++)
        REQUIRE(wg_add(&shared, 3) == WG_OK && wg_add(&shared, -2) == WG_OK && wg_done(&shared) == WG_OK);
    REQUIRE(wg_add(&shared, 7) == WG_OK);
    return NULL;
}

/* Go's NoRaceWaitGroupConcurrentAdd. */
static void concurrent_adds_from_zero_are_all_counted(void **state) {
    (void)state;
    struct thread t[ADDERS];
    for (int i = 0; i < ADDERS; i++)
        thread_start(&t[i], add_many, NULL);
    for (int i = 0; i < ADDERS; i++)
        thread_join(&t[i]);
    assert_int_equal(wg_count(&shared), 7 * ADDERS);
    assert_status(wg_add(&shared, -7 * ADDERS), WG_OK);
}

static atomic_int taken;

static void *take_until_refused(void *unused) {
    (void)unused;
    while (wg_done(&shared) == WG_OK)
        atomic_fetch_add(&taken, 1);
    return NULL;
}

static void surplus_dones_of_many_threads_never_pass_zero(void **state) {
    (void)state;
    struct thread t[ADDERS];
    assert_status(wg_add(&shared, 50000), WG_OK);
    for (int i = 0; i < ADDERS; i++)
        thread_start(&t[i], take_until_refused, NULL);
    for (int i = 0; i < ADDERS; i++)
        thread_join(&t[i]);
    assert_int_equal(atomic_load(&taken), 50000);
    assert_int_equal(wg_count(&shared), 0);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_at_zero),
        cmocka_unit_test(is_at_most_16_bytes),
        cmocka_unit_test(adds_and_takes_away),
        cmocka_unit_test(one_done_too_many_changes_nothing),
        cmocka_unit_test(refuses_every_step_outside),
        cmocka_unit_test(goes_up_to_the_end_and_back),
        cmocka_unit_test(refusals_keep_the_sleepers),
        cmocka_unit_test(works_behind_a_byte),
        cmocka_unit_test(concurrent_adds_from_zero_are_all_counted),
        cmocka_unit_test(surplus_dones_of_many_threads_never_pass_zero),
    };
    return RUN("count", tests);
}
