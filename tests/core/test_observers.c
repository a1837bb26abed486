/* An observer of a wait group is called once when the count reaches zero, in no lock, or is removed in time. */
#include "slow_call.h"

struct call {
    wg_observer observer;
    int times;
    pthread_t by;
};

static void note(void *raw) {
    struct call *c = raw;
    c->times++;
    c->by = pthread_self();
}

static void is_called_once_at_zero_by_the_thread_that_made_it_zero(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    struct call c = {.times = 0};
    assert_status(wg_add(&wg, 2), WG_OK);
    assert_status(wg_event_observe(wg_zero(&wg), &c.observer, note, &c), WG_OK);
    assert_status(wg_done(&wg), WG_OK);
    assert_int_equal(c.times, 0);
    assert_status(wg_done(&wg), WG_OK);
    assert_int_equal(c.times, 1);
    assert_true(pthread_equal(c.by, pthread_self()));
    assert_status(wg_add(&wg, 1), WG_OK);
    assert_status(wg_done(&wg), WG_OK);
    assert_int_equal(c.times, 1);
}

static void is_called_at_once_if_it_is_zero(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    struct call c = {.times = 0};
    assert_status(wg_event_observe(wg_zero(&wg), &c.observer, note, &c), WG_OK);
    assert_int_equal(c.times, 1);
    assert_false(wg_event_unobserve(wg_zero(&wg), &c.observer));
    assert_false(wg_event_unobserve_sync(wg_zero(&wg), &c.observer));
}

static void can_be_removed_before(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    struct call c = {.times = 0};
    assert_status(wg_add(&wg, 1), WG_OK);
    assert_status(wg_event_observe(wg_zero(&wg), &c.observer, note, &c), WG_OK);
    assert_true(wg_event_unobserve(wg_zero(&wg), &c.observer));
    assert_false(wg_event_unobserve(wg_zero(&wg), &c.observer));
    assert_status(wg_event_observe(wg_zero(&wg), &c.observer, note, &c), WG_OK);
    assert_true(wg_event_unobserve_sync(wg_zero(&wg), &c.observer));
    assert_status(wg_done(&wg), WG_OK);
    assert_int_equal(c.times, 0);
}

/* Several at once. */

static char order[16];
static wg_waitgroup wg;

static struct letter {
    wg_observer observer;
    char letter;
} letters[5];

static void append(void *raw) {
    struct letter *l = raw;
    size_t n = strlen(order);
    order[n] = l->letter;
    order[n + 1] = '\0';
}

static void observe_letters(void (*fn)(void *)) {
    order[0] = '\0';
    assert_status(wg_add(&wg, 1), WG_OK);
    for (int i = 0; i < 5; i++) {
        letters[i].letter = (char)('a' + i);
        assert_status(wg_event_observe(wg_zero(&wg), &letters[i].observer, fn, &letters[i]), WG_OK);
    }
}

static void several_are_called_in_the_order_of_their_coming(void **state) {
    (void)state;
    observe_letters(append);
    assert_true(wg_event_unobserve(wg_zero(&wg), &letters[2].observer));
    assert_status(wg_done(&wg), WG_OK);
    assert_string_equal(order, "abde");
}

static void append_and_remove_the_next(void *raw) {
    struct letter *l = raw;
    append(raw);
    if (l->letter == 'b')
        REQUIRE(wg_event_unobserve(wg_zero(&wg), &letters[2].observer) &&
                wg_event_unobserve_sync(wg_zero(&wg), &letters[4].observer));
    if (l->letter == 'd')
        REQUIRE(!wg_event_unobserve(wg_zero(&wg), &letters[0].observer));
}

static void one_may_remove_others_that_have_not_been_called(void **state) {
    (void)state;
    observe_letters(append_and_remove_the_next);
    assert_status(wg_done(&wg), WG_OK);
    assert_string_equal(order, "abd");
}

static void append_and_use_the_group(void *raw) {
    struct letter *l = raw;
    append(raw);
    REQUIRE(wg_wait(&wg, POLL) == WG_OK);
    REQUIRE(wg_count(&wg) == 0);
    if (l->letter != 'b')
        return;
    REQUIRE(wg_add(&wg, 1) == WG_OK); /* the next round begins in the middle of the calls for this one */
    REQUIRE(wg_event_observe(wg_zero(&wg), &l->observer, append, l) == WG_OK);
    REQUIRE(wg_done(&wg) == WG_OK);
}

static void all_calls_are_made_in_no_lock_and_the_observer_may_be_used_again(void **state) {
    (void)state;
    observe_letters(append_and_use_the_group);
    assert_status(wg_done(&wg), WG_OK);
    assert_string_equal(order, "abbcde");
}

static void free_it(void *raw) {
    struct call *c = raw;
    memset(c, 0xff, sizeof *c);
    free(c);
}

static void the_call_may_free_the_observer(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++) {
        struct call *c = calloc(1, sizeof *c);
        REQUIRE(c);
        assert_status(wg_add(&wg, 1), WG_OK);
        assert_status(wg_event_observe(wg_zero(&wg), &c->observer, free_it, c), WG_OK);
        assert_status(wg_done(&wg), WG_OK);
    }
}

static void free_the_group(void *raw) { free(raw); }

static void the_call_may_free_the_group(void **state) {
    (void)state;
    wg_waitgroup *own = calloc(1, sizeof *own);
    wg_observer observer;
    REQUIRE(own);
    assert_status(wg_add(own, 1), WG_OK);
    assert_status(wg_event_observe(wg_zero(own), &observer, free_the_group, own), WG_OK);
    assert_status(wg_done(own), WG_OK);
}

/* Removal against a call that runs. */

static void *done_once(void *unused) {
    (void)unused;
    REQUIRE(wg_done(&wg) == WG_OK);
    return NULL;
}

static wg_observer *watched;

static void *observe_at_zero(void *unused) {
    (void)unused;
    REQUIRE(wg_event_observe(wg_zero(&wg), watched, run_long, NULL) == WG_OK);
    return NULL;
}

/* `call_it` makes the call of `watched` in another thread. */
static void removal_waits_for_the_call(void *(*call_it)(void *unused)) {
    struct thread caller, releaser;
    thread_start(&caller, call_it, NULL);
    EVENTUALLY(atomic_load(&in_call));
    assert_false(wg_event_unobserve(wg_zero(&wg), watched)); /* returns while the call runs */
    assert_false(atomic_load(&returned));
    thread_start(&releaser, let_it_return, NULL);
    assert_false(wg_event_unobserve_sync(wg_zero(&wg), watched));
    assert_true(atomic_load(&returned));
    free(watched);
    thread_join(&caller);
    thread_join(&releaser);
}

static void removing_with_sync_waits_for_a_running_call(void **state) {
    (void)state;
    for (int i = 0; i < effort(50); i++) {
        watched = malloc(sizeof *watched);
        REQUIRE(watched);
        expect_slow_call();
        assert_status(wg_add(&wg, 1), WG_OK);
        assert_status(wg_event_observe(wg_zero(&wg), watched, run_long, NULL), WG_OK);
        removal_waits_for_the_call(done_once);
    }
}

static void removing_with_sync_waits_for_a_call_made_at_once(void **state) {
    (void)state;
    for (int i = 0; i < effort(50); i++) {
        watched = malloc(sizeof *watched);
        REQUIRE(watched);
        expect_slow_call();
        removal_waits_for_the_call(observe_at_zero);
    }
}

static void remove_itself(void *raw) {
    struct call *c = raw;
    c->times++;
    REQUIRE(!wg_event_unobserve_sync(wg_zero(&wg), &c->observer));
}

static void removing_with_sync_from_inside_itself_returns(void **state) {
    (void)state;
    struct call c = {.times = 0};
    assert_status(wg_add(&wg, 1), WG_OK);
    assert_status(wg_event_observe(wg_zero(&wg), &c.observer, remove_itself, &c), WG_OK);
    assert_status(wg_done(&wg), WG_OK);
    assert_int_equal(c.times, 1);
}

/* What unobserve says is true: prevented or called, never both, never neither. */
struct race {
    wg_observer observer;
    atomic_int calls;
};

static void count_call(void *raw) { atomic_fetch_add(&((struct race *)raw)->calls, 1); }

static void removal_and_call_exclude_each_other(void **state) {
    (void)state;
    int prevented = 0;
    for (int i = 0; i < effort(1000); i++) {
        struct race *r = calloc(1, sizeof *r);
        struct thread t;
        REQUIRE(r);
        assert_status(wg_add(&wg, 1), WG_OK);
        assert_status(wg_event_observe(wg_zero(&wg), &r->observer, count_call, r), WG_OK);
        thread_start(&t, done_once, NULL);
        for (volatile int j = i % 100 * 30; j > 0; j--) {}
        bool removed = wg_event_unobserve_sync(wg_zero(&wg), &r->observer);
        assert_int_equal(atomic_load(&r->calls), !removed);
        prevented += removed;
        free(r);
        thread_join(&t);
        assert_int_equal(wg_count(&wg), 0);
    }
    print_message("%d of %d calls prevented\n", prevented, effort(1000));
}

/* Waiters are woken before observers are called: a slow one does not hold them up. */
static void *wait_once(void *unused) {
    (void)unused;
    REQUIRE(wg_wait(&wg, NULL) == WG_OK);
    atomic_store(&may_return, true);
    return NULL;
}

static void a_slow_call_does_not_hold_up_the_waiters(void **state) {
    (void)state;
    wg_observer observer;
    struct thread t;
    atomic_store(&may_return, false);
    assert_status(wg_add(&wg, 1), WG_OK);
    assert_status(wg_event_observe(wg_zero(&wg), &observer, run_long, NULL), WG_OK);
    thread_start(&t, wait_once, NULL);
    let_sleep_on(&wg, 1);
    assert_status(wg_done(&wg), WG_OK); /* returns only if the waiter does */
    thread_join(&t);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(is_called_once_at_zero_by_the_thread_that_made_it_zero),
        cmocka_unit_test(is_called_at_once_if_it_is_zero),
        cmocka_unit_test(can_be_removed_before),
        cmocka_unit_test(several_are_called_in_the_order_of_their_coming),
        cmocka_unit_test(one_may_remove_others_that_have_not_been_called),
        cmocka_unit_test(all_calls_are_made_in_no_lock_and_the_observer_may_be_used_again),
        cmocka_unit_test(the_call_may_free_the_observer),
        cmocka_unit_test(the_call_may_free_the_group),
        cmocka_unit_test(removing_with_sync_waits_for_a_running_call),
        cmocka_unit_test(removing_with_sync_waits_for_a_call_made_at_once),
        cmocka_unit_test(removing_with_sync_from_inside_itself_returns),
        cmocka_unit_test(removal_and_call_exclude_each_other),
        cmocka_unit_test(a_slow_call_does_not_hold_up_the_waiters),
    };
    return RUN("observers", tests);
}
