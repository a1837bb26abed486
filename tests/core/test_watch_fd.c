/* A watch makes a wait group a descriptor: readable once the count has been zero, armed again by wg_watch_fd. */
#include "support.h"

#include <fcntl.h>
#include <poll.h>

static wg_waitgroup wg;

static void is_readable_at_zero(void **state) {
    (void)state;
    wg_watch *watch;
    assert_status(wg_watch_new(&watch, &wg), WG_OK);
    assert_true(wg_watch_fd(watch) >= 0);
    assert_true(readable(wg_watch_fd(watch)));
    wg_watch_free(watch);
}

static void is_readable_once_the_count_has_been_zero(void **state) {
    (void)state;
    wg_watch *watch;
    assert_status(wg_add(&wg, 2), WG_OK);
    assert_status(wg_watch_new(&watch, &wg), WG_OK);
    int fd = wg_watch_fd(watch);
    assert_false(readable(fd));
    assert_status(wg_done(&wg), WG_OK);
    assert_false(readable(fd));
    assert_status(wg_done(&wg), WG_OK);
    assert_true(readable(fd));
    assert_true(readable(wg_watch_fd(watch))); /* at zero, asking does not arm it */
    assert_status(wg_add(&wg, 1), WG_OK);
    assert_true(readable(fd)); /* it has been zero, and nobody has armed it since */
    assert_status(wg_done(&wg), WG_OK);
    wg_watch_free(watch);
}

static void asking_again_arms_it_for_the_next_round(void **state) {
    (void)state;
    wg_watch *watch;
    assert_status(wg_watch_new(&watch, &wg), WG_OK);
    for (int i = 0; i < 20; i++) {
        assert_true(readable(wg_watch_fd(watch)));
        assert_status(wg_add(&wg, 1), WG_OK);
        assert_false(readable(wg_watch_fd(watch)));
        assert_false(readable(wg_watch_fd(watch)));
        assert_status(wg_done(&wg), WG_OK);
    }
    wg_watch_free(watch);
}

static void many_rounds_without_asking_do_not_fill_it(void **state) {
    (void)state;
    wg_watch *watch;
    assert_status(wg_watch_new(&watch, &wg), WG_OK);
    for (int i = 0; i < 100000; i++) {
        assert_status(wg_add(&wg, 1), WG_OK);
        assert_status(wg_done(&wg), WG_OK);
    }
    assert_status(wg_add(&wg, 1), WG_OK);
    assert_false(readable(wg_watch_fd(watch)));
    assert_status(wg_done(&wg), WG_OK);
    assert_true(readable(wg_watch_fd(watch)));
    wg_watch_free(watch);
}

static void freed_before_zero_it_leaves_nothing_behind(void **state) {
    (void)state;
    int fds = fds_now();
    assert_status(wg_add(&wg, 1), WG_OK);
    for (int i = 0; i < 100; i++) {
        wg_watch *watch;
        assert_status(wg_watch_new(&watch, &wg), WG_OK);
        wg_watch_free(watch);
    }
    assert_int_equal(fds_now(), fds);
    assert_status(wg_done(&wg), WG_OK); /* would touch a watch that is gone */
}

static void is_not_inherited_by_other_programs_and_never_blocks(void **state) {
    (void)state;
    wg_watch *watch;
    assert_status(wg_watch_new(&watch, &wg), WG_OK);
    assert_true(fcntl(wg_watch_fd(watch), F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(wg_watch_fd(watch), F_GETFL) & O_NONBLOCK);
    wg_watch_free(watch);
}

static void *done_soon(void *unused) {
    (void)unused;
    nap();
    REQUIRE(wg_done(&wg) == WG_OK);
    return NULL;
}

static void wakes_a_poll(void **state) {
    (void)state;
    wg_watch *watch;
    assert_status(wg_watch_new(&watch, &wg), WG_OK);
    for (int i = 0; i < effort(200); i++) {
        struct thread t;
        assert_status(wg_add(&wg, 1), WG_OK);
        struct pollfd p = {.fd = wg_watch_fd(watch), .events = POLLIN};
        thread_start(&t, done_soon, NULL);
        assert_int_equal(poll(&p, 1, -1), 1);
        assert_int_equal(wg_count(&wg), 0);
        thread_join(&t);
    }
    wg_watch_free(watch);
}

/* Rounds that come faster than the watcher asks: a zero after the last arming is never missed. */
static atomic_bool stop;

static void *rounds(void *unused) {
    (void)unused;
    while (!atomic_load(&stop)) {
        REQUIRE(wg_add(&wg, 1) == WG_OK);
        REQUIRE(wg_done(&wg) == WG_OK);
    }
    return NULL;
}

static void no_zero_after_arming_is_missed(void **state) {
    (void)state;
    wg_watch *watch;
    struct thread t;
    assert_status(wg_watch_new(&watch, &wg), WG_OK);
    thread_start(&t, rounds, NULL);
    for (int i = 0; i < effort(2000); i++) {
        struct pollfd p = {.fd = wg_watch_fd(watch), .events = POLLIN};
        assert_int_equal(poll(&p, 1, -1), 1);
    }
    atomic_store(&stop, true);
    thread_join(&t);
    wg_watch_free(watch);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(is_readable_at_zero),
        cmocka_unit_test(is_readable_once_the_count_has_been_zero),
        cmocka_unit_test(asking_again_arms_it_for_the_next_round),
        cmocka_unit_test(many_rounds_without_asking_do_not_fill_it),
        cmocka_unit_test(freed_before_zero_it_leaves_nothing_behind),
        cmocka_unit_test(is_not_inherited_by_other_programs_and_never_blocks),
        cmocka_unit_test(wakes_a_poll),
        cmocka_unit_test(no_zero_after_arming_is_missed),
    };
    return RUN("watch_fd", tests);
}
