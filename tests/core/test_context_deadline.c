/* A deadline ends a context by itself, the earliest of its own and its ancestors' holds, and nothing is left over. */
#include "support.h"

static wg_context *with_deadline(wg_context *parent, int64_t deadline) {
    wg_context *ctx;
    assert_status(wg_context_new(&ctx, parent, deadline), WG_OK);
    return ctx;
}

static void ends_by_itself_not_before_its_deadline(void **state) {
    (void)state;
    int64_t deadline = wg_after(SOON);
    wg_context *ctx = with_deadline(NULL, deadline);
    assert_true(wg_context_deadline(ctx) == deadline);
    EVENTUALLY(wg_context_status(ctx) != WG_OK); /* nobody waits in the library: the timer does it */
    assert_true(wg_now() >= deadline);
    assert_status(wg_context_status(ctx), WG_DEADLINE_EXCEEDED);
    assert_ptr_equal(wg_context_error(ctx), wg_error_deadline());
    assert_ptr_equal(wg_context_cause(ctx), wg_error_deadline());
    assert_false(wg_context_inherited(ctx));
    wg_context_release(ctx);
}

static void a_deadline_in_the_past_ends_it_at_birth(void **state) {
    (void)state;
    static const int64_t past[] = {WG_POLL, -12345, INT64_MIN, 1};
    for (size_t i = 0; i < sizeof past / sizeof *past; i++) {
        wg_context *ctx = with_deadline(NULL, past[i]);
        assert_status(wg_context_status(ctx), WG_DEADLINE_EXCEEDED);
        assert_status(wg_context_wait(ctx, NULL), WG_OK);
        wg_context_release(ctx);
    }
}

static void deadlines_at_the_end_of_time_are_none(void **state) {
    (void)state;
    wg_context *ctx = with_deadline(NULL, INT64_MAX), *nearly = with_deadline(NULL, INT64_MAX - 1);
    assert_true(wg_context_deadline(ctx) == WG_FOREVER);
    assert_status(wg_context_wait(ctx, AFTER(1000)), WG_TIMEOUT);
    assert_status(wg_context_wait(nearly, AFTER(1000)), WG_TIMEOUT);
    assert_status(wg_context_status(nearly), WG_OK);
    wg_context_release(ctx);
    wg_context_release(nearly);
}

static void the_earlier_deadline_holds(void **state) {
    (void)state;
    int64_t soon = wg_after(SOON), late = wg_after(HANG);
    wg_context *parent = with_deadline(NULL, soon), *later_child = with_deadline(parent, late),
               *plain_child = with_deadline(parent, WG_FOREVER);
    assert_true(wg_context_deadline(later_child) == soon);
    assert_true(wg_context_deadline(plain_child) == soon);
    EVENTUALLY(wg_context_status(later_child) != WG_OK && wg_context_status(plain_child) != WG_OK);
    assert_status(wg_context_status(later_child), WG_DEADLINE_EXCEEDED);
    assert_true(wg_context_inherited(later_child));
    wg_context_release(parent);
    wg_context_release(later_child);
    wg_context_release(plain_child);

    parent = with_deadline(NULL, late);
    wg_context *sooner_child = with_deadline(parent, wg_after(SOON));
    assert_status(wg_context_wait(sooner_child, NULL), WG_OK);
    assert_status(wg_context_status(sooner_child), WG_DEADLINE_EXCEEDED);
    assert_false(wg_context_inherited(sooner_child));
    assert_status(wg_context_status(parent), WG_OK);
    wg_context_release(parent);
    wg_context_release(sooner_child);
}

/* Whoever notices the deadline of an ancestor first, it is the ancestor that ended. */
static void a_deadline_of_an_ancestor_is_inherited_whoever_sees_it_first(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++) {
        wg_context *parent = with_deadline(NULL, wg_after(WG_MILLISECOND)), *child = with_deadline(parent, WG_FOREVER);
        wg_context *grandchild = with_deadline(child, wg_after(HANG));
        while (wg_now() < wg_context_deadline(parent)) {}
        assert_status(wg_context_wait(grandchild, NULL), WG_OK);
        assert_true(wg_context_inherited(grandchild));
        assert_status(wg_context_wait(child, NULL), WG_OK);
        assert_true(wg_context_inherited(child));
        wg_context_release(grandchild);
        wg_context_release(child);
        wg_context_release(parent);
    }
    wg_context *past = with_deadline(NULL, WG_POLL), *child_of_past = with_deadline(past, WG_FOREVER);
    assert_true(wg_context_inherited(child_of_past));
    wg_context_release(past);
    wg_context_release(child_of_past);
}

static void cancelling_first_wins_over_the_deadline(void **state) {
    (void)state;
    int why;
    wg_error *cause = wg_error_new(WG_ERROR_FAILURE, &why, NULL);
    wg_context *ctx;
    for (int64_t duration = SOON;; duration *= 2) { /* on a slow machine it may pass before the cancel */
        ctx = with_deadline(NULL, wg_after(duration));
        if (wg_context_cancel(ctx, cause) == WG_OK)
            break;
        wg_context_release(ctx);
    }
    EVENTUALLY(wg_now() > wg_context_deadline(ctx) + SOON);
    assert_status(wg_context_status(ctx), WG_CANCELLED);
    assert_ptr_equal(wg_context_cause(ctx), cause);
    wg_context_release(ctx);
    wg_error_release(cause);
}

static void many_pass_each_at_its_own_time(void **state) {
    (void)state;
    enum { N = 50 };
    wg_context *ctx[N];
    unsigned seed = (unsigned)wg_now();
    print_message("seed %u\n", seed);
    int64_t base = wg_after(SOON);
    for (int i = 0; i < N; i++)
        ctx[i] = with_deadline(NULL, i % 7 ? base + rand_r(&seed) % (2 * SOON) : wg_after(HANG));
    for (int i = 0; i < N; i += 7) /* some leave the heap from its middle */
        assert_status(wg_context_cancel(ctx[i], NULL), WG_OK);
    for (int alive = N; alive > 0; nap()) {
        alive = 0;
        for (int i = 0; i < N; i++) {
            wg_status status = wg_context_status(ctx[i]);
            alive += status == WG_OK;
            if (status == WG_DEADLINE_EXCEEDED)
                assert_true(wg_context_deadline(ctx[i]) <= wg_now());
        }
    }
    for (int i = 0; i < N; i++) {
        assert_status(wg_context_status(ctx[i]), i % 7 ? WG_DEADLINE_EXCEEDED : WG_CANCELLED);
        wg_context_release(ctx[i]);
    }
}

/* Go's random layers of cancel and timeout, with the seed printed. */
static void random_layers_of_deadlines_and_cancels(void **state) {
    (void)state;
    unsigned seed = (unsigned)wg_now();
    print_message("seed %u\n", seed);
    for (int round = 0; round < effort(20); round++) {
        enum { DEPTH = 12 };
        wg_context *layers[DEPTH];
        int ends = rand_r(&seed) % DEPTH; /* the layer that is cancelled, or has the only deadline that passes */
        bool by_deadline = rand_r(&seed) % 2;
        for (int i = 0; i < DEPTH; i++) {
            int64_t far = wg_after(HANG + rand_r(&seed));
            layers[i] = with_deadline(i ? layers[i - 1] : NULL, i == ends && by_deadline ? wg_after(WG_MILLISECOND)
                                                                : rand_r(&seed) % 2      ? far
                                                                                         : WG_FOREVER);
        }
        if (!by_deadline)
            assert_status(wg_context_cancel(layers[ends], NULL), WG_OK);
        assert_status(wg_context_wait(layers[DEPTH - 1], NULL), WG_OK);
        EVENTUALLY(wg_context_status(layers[ends]) != WG_OK);
        for (int i = 0; i < DEPTH; i++) {
            if (i < ends)
                assert_status(wg_context_status(layers[i]), WG_OK);
            else
                EVENTUALLY(wg_context_status(layers[i]) == (by_deadline ? WG_DEADLINE_EXCEEDED : WG_CANCELLED));
        }
        for (int i = 0; i < DEPTH; i++)
            wg_context_release(layers[i]);
    }
}

static void released_before_its_deadline_it_leaves_nothing_behind(void **state) {
    (void)state;
    for (int i = 0; i < 1000; i++)
        wg_context_release(with_deadline(NULL, wg_after(i % 2 ? HANG : 50000)));
    wg_context *last = with_deadline(NULL, wg_after(WG_MILLISECOND)); /* the heap is whole */
    EVENTUALLY(wg_context_status(last) == WG_DEADLINE_EXCEEDED);
    wg_context_release(last);
}

static void one_thread_keeps_all_deadlines(void **state) {
    (void)state;
    enum { N = 300 };
    wg_context *ctx[N];
    int before = threads_now();
    for (int i = 0; i < N; i++)
        ctx[i] = with_deadline(NULL, wg_after(HANG + i));
    assert_in_range(threads_now(), before, before + 1);
    for (int i = 0; i < N; i++)
        wg_context_release(ctx[i]);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(one_thread_keeps_all_deadlines),
        cmocka_unit_test(ends_by_itself_not_before_its_deadline),
        cmocka_unit_test(a_deadline_in_the_past_ends_it_at_birth),
        cmocka_unit_test(deadlines_at_the_end_of_time_are_none),
        cmocka_unit_test(the_earlier_deadline_holds),
        cmocka_unit_test(a_deadline_of_an_ancestor_is_inherited_whoever_sees_it_first),
        cmocka_unit_test(cancelling_first_wins_over_the_deadline),
        cmocka_unit_test(many_pass_each_at_its_own_time),
        cmocka_unit_test(random_layers_of_deadlines_and_cancels),
        cmocka_unit_test(released_before_its_deadline_it_leaves_nothing_behind),
    };
    return RUN("context_deadline", tests);
}
