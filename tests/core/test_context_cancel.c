/* A context ends once: the first cancel wins, with its cause, and everything that waits hears of it. */
#include "support.h"

static wg_context *new_context(wg_context *parent) {
    wg_context *ctx;
    assert_status(wg_context_new(&ctx, parent, WG_FOREVER), WG_OK);
    return ctx;
}

static void lives_until_it_is_cancelled(void **state) {
    (void)state;
    wg_context *ctx = new_context(NULL);
    assert_status(wg_context_status(ctx), WG_OK);
    assert_null(wg_context_cause(ctx));
    assert_null(wg_context_error(ctx));
    assert_false(wg_context_inherited(ctx));
    assert_true(wg_context_deadline(ctx) == WG_FOREVER);
    assert_status(wg_context_cancel(ctx, NULL), WG_OK);
    assert_status(wg_context_status(ctx), WG_CANCELLED);
    assert_null(wg_context_cause(ctx));
    assert_ptr_equal(wg_context_error(ctx), wg_error_cancelled());
    assert_int_equal(wg_error_get_kind(wg_context_error(ctx)), WG_ERROR_STOP);
    assert_false(wg_context_inherited(ctx));
    wg_context_release(ctx);
}

static int destroyed;
static void count_destroyed(void *value) {
    (void)value;
    destroyed++;
}

static void the_first_cancel_wins_and_the_second_changes_nothing(void **state) {
    (void)state;
    wg_context *ctx = new_context(NULL);
    int a = 1, b = 2;
    wg_error *first = wg_error_new(WG_ERROR_FAILURE, &a, count_destroyed);
    wg_error *second = wg_error_new(WG_ERROR_FAILURE, &b, count_destroyed);
    destroyed = 0;
    assert_status(wg_context_cancel(ctx, first), WG_OK);
    assert_status(wg_context_cancel(ctx, second), WG_CANCELLED);
    assert_status(wg_context_cancel(ctx, NULL), WG_CANCELLED);
    assert_ptr_equal(wg_context_cause(ctx), first);
    assert_ptr_equal(wg_error_value(wg_context_cause(ctx)), &a);
    wg_error_release(second);
    assert_int_equal(destroyed, 1);
    wg_error_release(first); /* shared with the context, which keeps it */
    assert_int_equal(destroyed, 1);
    wg_context_release(ctx);
    assert_int_equal(destroyed, 2);
}

static void a_cancel_after_the_deadline_says_so(void **state) {
    (void)state;
    wg_context *ctx;
    assert_status(wg_context_new(&ctx, NULL, WG_POLL), WG_OK);
    assert_status(wg_context_status(ctx), WG_DEADLINE_EXCEEDED);
    assert_status(wg_context_cancel(ctx, NULL), WG_DEADLINE_EXCEEDED);
    assert_status(wg_context_status(ctx), WG_DEADLINE_EXCEEDED);
    assert_ptr_equal(wg_context_error(ctx), wg_error_deadline());
    wg_context_release(ctx);
}

static void the_root_never_ends(void **state) {
    (void)state;
    wg_context *root = wg_context_root();
    assert_status(wg_context_cancel(root, NULL), WG_INVALID);
    assert_status(wg_context_status(root), WG_OK);
    assert_true(wg_context_deadline(root) == WG_FOREVER);
    assert_ptr_equal(wg_context_retain(root), root);
    wg_context_release(root);
    wg_context_release(root);
    wg_context_release(root); /* it needs none */
    assert_status(wg_context_wait(root, AFTER(1)), WG_TIMEOUT);
    wg_context *child = new_context(root);
    assert_status(wg_context_cancel(child, NULL), WG_OK);
    wg_context_release(child);
}

/* Waiting for the end. */

static void *wait_for_end(void *ctx) {
    REQUIRE(wg_context_wait(ctx, NULL) == WG_OK);
    REQUIRE(wg_context_status(ctx) == WG_CANCELLED);
    return NULL;
}

static void wakes_all_who_wait_for_it(void **state) {
    (void)state;
    for (int i = 0; i < effort(50); i++) {
        wg_context *ctx = new_context(NULL);
        struct thread t[4];
        for (int j = 0; j < 4; j++)
            thread_start(&t[j], wait_for_end, ctx);
        if (i % 2)
            let_sleep_on(ctx, 4);
        assert_status(wg_context_cancel(ctx, NULL), WG_OK);
        for (int j = 0; j < 4; j++)
            thread_join(&t[j]);
        wg_context_release(ctx);
    }
}

static void a_wait_returns_at_once_when_it_has_ended(void **state) {
    (void)state;
    wg_context *ctx = new_context(NULL), *other = new_context(NULL);
    assert_status(wg_context_cancel(ctx, NULL), WG_OK);
    assert_status(wg_context_cancel(other, NULL), WG_OK);
    assert_status(wg_context_wait(ctx, NULL), WG_OK);
    assert_status(wg_context_wait(ctx, POLL), WG_OK);
    assert_status(wg_context_wait(ctx, WITH(other)), WG_OK); /* its own end comes first */
    wg_context_release(ctx);
    wg_context_release(other);
}

static void a_wait_may_end_earlier(void **state) {
    (void)state;
    wg_context *ctx = new_context(NULL), *other = new_context(NULL), *late;
    assert_status(wg_context_wait(ctx, POLL), WG_TIMEOUT);
    int64_t deadline = wg_after(SOON);
    wg_until until = until_deadline(deadline);
    assert_status(wg_context_wait(ctx, &until), WG_TIMEOUT);
    assert_true(wg_now() >= deadline);
    assert_status(wg_context_new(&late, NULL, wg_after(SOON)), WG_OK);
    assert_status(wg_context_wait(ctx, WITH(late)), WG_CONTEXT_ENDED);
    assert_status(wg_context_cancel(other, NULL), WG_OK);
    assert_status(wg_context_wait(ctx, WITH(other)), WG_CONTEXT_ENDED);
    assert_status(wg_context_status(ctx), WG_OK);
    wg_context_release(ctx);
    wg_context_release(other);
    wg_context_release(late);
}

static wg_context *other_context;
static void *wait_with_other(void *ctx) {
    REQUIRE(wg_context_wait(ctx, WITH(other_context)) == WG_CONTEXT_ENDED);
    return NULL;
}

static void a_wait_is_woken_by_its_other_context(void **state) {
    (void)state;
    wg_context *ctx = new_context(NULL);
    struct thread t;
    other_context = new_context(NULL);
    thread_start(&t, wait_with_other, ctx);
    let_sleep_on(ctx, 1);
    assert_status(wg_context_cancel(other_context, NULL), WG_OK);
    thread_join(&t);
    assert_status(wg_context_cancel(ctx, NULL), WG_OK); /* would touch a sleeper that is gone */
    wg_context_release(ctx);
    wg_context_release(other_context);
}

static void a_wait_for_itself_with_itself_is_one_end(void **state) {
    (void)state;
    wg_context *ctx = new_context(NULL);
    wg_until until = {.deadline = wg_after(1000), .context = ctx};
    assert_status(wg_context_wait(ctx, &until), WG_TIMEOUT);
    assert_status(wg_context_cancel(ctx, NULL), WG_OK);
    assert_status(wg_context_wait(ctx, &until), WG_OK);
    wg_context_release(ctx);
}

/* Go's cause race and Err/Done race: many cancel at once, one wins, and all see the same cause from then on. */
#define CANCELLERS 4
static wg_context *contested;
static wg_error *causes[CANCELLERS];
static atomic_int winners, winner;

static void *contest(void *raw) {
    wg_error **cause = raw;
    wg_status status = wg_context_cancel(contested, *cause);
    if (status == WG_OK) {
        atomic_fetch_add(&winners, 1);
        atomic_store(&winner, (int)(cause - causes));
    } else
        REQUIRE(status == WG_CANCELLED);
    REQUIRE(wg_context_status(contested) == WG_CANCELLED);
    REQUIRE(wg_context_cause(contested) != NULL);
    return NULL;
}

static void *see_status_then_cause(void *unused) {
    (void)unused;
    while (wg_context_status(contested) == WG_OK) {}
    REQUIRE(wg_context_cause(contested) != NULL);
    REQUIRE(wg_error_value(wg_context_cause(contested)) != NULL);
    REQUIRE(wg_context_wait(contested, POLL) == WG_OK);
    return NULL;
}

static void of_many_cancels_exactly_one_wins(void **state) {
    (void)state;
    for (int i = 0; i < effort(100); i++) {
        struct thread t[CANCELLERS + 1];
        contested = new_context(NULL);
        atomic_store(&winners, 0);
        thread_start(&t[CANCELLERS], see_status_then_cause, NULL);
        for (int j = 0; j < CANCELLERS; j++) {
            causes[j] = wg_error_new(WG_ERROR_FAILURE, &causes[j], NULL);
            thread_start(&t[j], contest, &causes[j]);
        }
        for (int j = 0; j <= CANCELLERS; j++)
            thread_join(&t[j]);
        assert_int_equal(atomic_load(&winners), 1);
        assert_ptr_equal(wg_context_cause(contested), causes[atomic_load(&winner)]);
        for (int j = 0; j < CANCELLERS; j++)
            wg_error_release(causes[j]);
        wg_context_release(contested);
    }
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(lives_until_it_is_cancelled),
        cmocka_unit_test(the_first_cancel_wins_and_the_second_changes_nothing),
        cmocka_unit_test(a_cancel_after_the_deadline_says_so),
        cmocka_unit_test(the_root_never_ends),
        cmocka_unit_test(wakes_all_who_wait_for_it),
        cmocka_unit_test(a_wait_returns_at_once_when_it_has_ended),
        cmocka_unit_test(a_wait_may_end_earlier),
        cmocka_unit_test(a_wait_is_woken_by_its_other_context),
        cmocka_unit_test(a_wait_for_itself_with_itself_is_one_end),
        cmocka_unit_test(of_many_cancels_exactly_one_wins),
    };
    return RUN("context_cancel", tests);
}
