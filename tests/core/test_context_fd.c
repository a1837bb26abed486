/* A context is a descriptor on request: readable from its end on. */
#include "support.h"

#include <fcntl.h>
#include <poll.h>

static wg_context *new_context(wg_context *parent, int64_t deadline) {
    wg_context *ctx;
    assert_status(wg_context_new(&ctx, parent, deadline), WG_OK);
    return ctx;
}

static int fd_of(wg_context *ctx) {
    int fd = -1;
    assert_status(wg_context_fd(ctx, &fd), WG_OK);
    assert_true(fd >= 0);
    return fd;
}

static void becomes_and_stays_readable_when_it_is_cancelled(void **state) {
    (void)state;
    wg_context *ctx = new_context(NULL, WG_FOREVER);
    int fd = fd_of(ctx);
    assert_false(readable(fd));
    assert_status(wg_context_cancel(ctx, NULL), WG_OK);
    assert_true(readable(fd));
    assert_true(readable(fd));
    assert_int_equal(fd_of(ctx), fd);
    wg_context_release(ctx);
}

static void is_readable_from_the_first_if_it_has_ended(void **state) {
    (void)state;
    wg_context *ctx = new_context(NULL, WG_POLL);
    assert_true(readable(fd_of(ctx)));
    wg_context_release(ctx);
}

static void deadlines_and_ancestors_make_it_readable(void **state) {
    (void)state;
    int fds = fds_now();
    wg_context *parent = new_context(NULL, wg_after(SOON)), *child = new_context(parent, WG_FOREVER);
    struct pollfd p = {.fd = fd_of(child), .events = POLLIN};
    assert_int_equal(poll(&p, 1, -1), 1);
    assert_status(wg_context_status(child), WG_DEADLINE_EXCEEDED);
    wg_context_release(child);
    wg_context_release(parent);
    EVENTUALLY(fds_now() == fds); /* the thread of the deadlines may give up the last reference */
}

static void is_made_at_the_first_call_and_closed_at_the_last_release(void **state) {
    (void)state;
    int fds = fds_now();
    wg_context *ctx = new_context(NULL, WG_FOREVER);
    assert_int_equal(fds_now(), fds);
    fd_of(ctx);
    assert_true(fds_now() > fds);
    wg_context_retain(ctx);
    wg_context_release(ctx);
    assert_true(fds_now() > fds);
    wg_context_release(ctx);
    assert_int_equal(fds_now(), fds);
}

static void is_not_inherited_by_other_programs_and_never_blocks(void **state) {
    (void)state;
    wg_context *ctx = new_context(NULL, WG_FOREVER);
    assert_true(fcntl(fd_of(ctx), F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd_of(ctx), F_GETFL) & O_NONBLOCK);
    wg_context_release(ctx);
}

static void *cancel_it(void *ctx) {
    nap();
    REQUIRE(wg_context_cancel(ctx, NULL) == WG_OK);
    return NULL;
}

static void wakes_a_poll(void **state) {
    (void)state;
    for (int i = 0; i < effort(100); i++) {
        wg_context *ctx = new_context(NULL, WG_FOREVER);
        struct pollfd p = {.fd = fd_of(ctx), .events = POLLIN};
        struct thread t;
        thread_start(&t, cancel_it, ctx);
        assert_int_equal(poll(&p, 1, -1), 1);
        assert_status(wg_context_status(ctx), WG_CANCELLED);
        thread_join(&t);
        wg_context_release(ctx);
    }
}

/* One thread makes it while another ends the context: it is readable whoever comes first. */
static void *make_it(void *raw) {
    int fd = -1;
    REQUIRE(wg_context_fd(raw, &fd) == WG_OK && fd >= 0);
    return NULL;
}

static void made_while_it_ends_it_is_readable(void **state) {
    (void)state;
    for (int i = 0; i < effort(300); i++) {
        wg_context *ctx = new_context(NULL, WG_FOREVER);
        struct thread t;
        thread_start(&t, make_it, ctx);
        assert_status(wg_context_cancel(ctx, NULL), WG_OK);
        thread_join(&t);
        assert_true(readable(fd_of(ctx)));
        wg_context_release(ctx);
    }
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(becomes_and_stays_readable_when_it_is_cancelled),
        cmocka_unit_test(is_readable_from_the_first_if_it_has_ended),
        cmocka_unit_test(deadlines_and_ancestors_make_it_readable),
        cmocka_unit_test(is_made_at_the_first_call_and_closed_at_the_last_release),
        cmocka_unit_test(is_not_inherited_by_other_programs_and_never_blocks),
        cmocka_unit_test(wakes_a_poll),
        cmocka_unit_test(made_while_it_ends_it_is_readable),
    };
    return RUN("context_fd", tests);
}
