/* A context ends with its parent, with the parent's status and cause, and a parent forgets a child that has gone. */
#include "support.h"

static wg_context *new_context(wg_context *parent) {
    wg_context *ctx;
    assert_status(wg_context_new(&ctx, parent, WG_FOREVER), WG_OK);
    return ctx;
}

/* Go's TestCause: what a grandparent, a parent and a child show after a row of steps. */
#define ALIVE                                                                                                          \
    { WG_OK, 0, false }
#define OWN(cause)                                                                                                     \
    { WG_CANCELLED, cause, false }
#define INHERITED(cause)                                                                                               \
    { WG_CANCELLED, cause, true }

static void causes_travel_down_and_only_down(void **state) {
    (void)state;
    enum { A, B, C }; /* A is the parent of B, which is the parent of C */
    struct view {
        wg_status status;
        int cause;
        bool inherited;
    };
    static const struct {
        struct {
            int whom, cause; /* a cause of 0 is none; a whom of -1 ends the list */
        } steps[4];
        struct view views[3];
    } table[] = {
        {{{-1, 0}}, {ALIVE, ALIVE, ALIVE}},
        {{{A, 0}, {-1, 0}}, {OWN(0), INHERITED(0), INHERITED(0)}},
        {{{A, 1}, {-1, 0}}, {OWN(1), INHERITED(1), INHERITED(1)}},
        {{{B, 0}, {-1, 0}}, {ALIVE, OWN(0), INHERITED(0)}},
        {{{B, 1}, {-1, 0}}, {ALIVE, OWN(1), INHERITED(1)}},
        {{{C, 0}, {-1, 0}}, {ALIVE, ALIVE, OWN(0)}},
        {{{C, 1}, {-1, 0}}, {ALIVE, ALIVE, OWN(1)}},
        {{{A, 1}, {B, 2}, {-1, 0}}, {OWN(1), INHERITED(1), INHERITED(1)}},
        {{{A, 1}, {C, 2}, {-1, 0}}, {OWN(1), INHERITED(1), INHERITED(1)}},
        {{{A, 0}, {C, 2}, {-1, 0}}, {OWN(0), INHERITED(0), INHERITED(0)}},
        {{{A, 1}, {A, 2}, {-1, 0}}, {OWN(1), INHERITED(1), INHERITED(1)}},
        {{{B, 1}, {A, 2}, {-1, 0}}, {OWN(2), OWN(1), INHERITED(1)}},
        {{{B, 1}, {C, 2}, {-1, 0}}, {ALIVE, OWN(1), INHERITED(1)}},
        {{{B, 0}, {A, 2}, {-1, 0}}, {OWN(2), OWN(0), INHERITED(0)}},
        {{{C, 1}, {B, 2}, {-1, 0}}, {ALIVE, OWN(2), OWN(1)}},
        {{{C, 1}, {A, 2}, {-1, 0}}, {OWN(2), INHERITED(2), OWN(1)}},
        {{{C, 0}, {A, 2}, {-1, 0}}, {OWN(2), INHERITED(2), OWN(0)}},
        {{{C, 1}, {B, 2}, {A, 3}, {-1, 0}}, {OWN(3), OWN(2), OWN(1)}},
        {{{A, 3}, {B, 2}, {C, 1}, {-1, 0}}, {OWN(3), INHERITED(3), INHERITED(3)}},
    };
    int numbers[4] = {0, 1, 2, 3};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        wg_context *ctx[3];
        for (int j = 0; j < 3; j++)
            ctx[j] = new_context(j ? ctx[j - 1] : NULL);
        for (int j = 0; table[i].steps[j].whom >= 0; j++) {
            int cause = table[i].steps[j].cause;
            wg_error *error = cause ? wg_error_new(WG_ERROR_FAILURE, &numbers[cause], NULL) : NULL;
            wg_context_cancel(ctx[table[i].steps[j].whom], error);
            wg_error_release(error);
        }
        for (int j = 0; j < 3; j++) {
            const struct view *view = &table[i].views[j];
            int *cause = wg_error_value(wg_context_cause(ctx[j]));
            if (wg_context_status(ctx[j]) != view->status || (cause ? *cause : 0) != view->cause ||
                wg_context_inherited(ctx[j]) != view->inherited)
                fail_msg("row %zu, context %c: %s, cause %d, inherited %d", i, "ABC"[j],
                         wg_strstatus(wg_context_status(ctx[j])), cause ? *cause : 0, wg_context_inherited(ctx[j]));
        }
        for (int j = 0; j < 3; j++)
            wg_context_release(ctx[j]);
    }
}

static void a_child_of_an_ended_parent_is_born_ended(void **state) {
    (void)state;
    int why;
    wg_error *cause = wg_error_new(WG_ERROR_FAILURE, &why, NULL);
    wg_context *parent = new_context(NULL), *late;
    assert_status(wg_context_cancel(parent, cause), WG_OK);
    wg_context *child = new_context(parent);
    assert_status(wg_context_status(child), WG_CANCELLED);
    assert_ptr_equal(wg_context_cause(child), cause);
    assert_true(wg_context_inherited(child));
    assert_status(wg_context_new(&late, NULL, WG_POLL), WG_OK);
    wg_context *of_late = new_context(late);
    assert_status(wg_context_status(of_late), WG_DEADLINE_EXCEEDED);
    assert_true(wg_context_inherited(of_late));
    wg_context_release(child);
    wg_context_release(parent);
    wg_context_release(of_late);
    wg_context_release(late);
    wg_error_release(cause);
}

static void a_child_keeps_its_parent_alive(void **state) {
    (void)state;
    wg_context *parent = new_context(NULL), *middle = new_context(parent), *child = new_context(middle);
    wg_context_release(middle); /* giving it up does not cancel it, nor cut the line */
    assert_status(wg_context_status(child), WG_OK);
    assert_status(wg_context_cancel(parent, NULL), WG_OK);
    assert_status(wg_context_status(child), WG_CANCELLED);
    wg_context_release(parent);
    wg_context_release(child);
}

static void children_in_any_order_leave_their_parent(void **state) {
    (void)state;
    wg_context *parent = new_context(NULL), *c[5];
    static const int orders[][5] = {{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {2, 0, 4, 1, 3}, {1, 3, 0, 4, 2}};
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 5; j++)
            c[j] = new_context(parent);
        for (int j = 0; j < 5; j++) {
            wg_context *one = c[orders[i][j]];
            if ((i + j) % 2)
                assert_status(wg_context_cancel(one, NULL), WG_OK);
            wg_context_release(one);
        }
    }
    wg_context *last = new_context(parent);
    assert_status(wg_context_cancel(parent, NULL), WG_OK);
    assert_status(wg_context_status(last), WG_CANCELLED);
    wg_context_release(last);
    wg_context_release(parent);
}

static void a_long_chain_is_cancelled_and_freed_without_recursion(void **state) {
    (void)state;
    enum { LENGTH = 100000 };
    wg_context *first = new_context(NULL), *last = wg_context_retain(first);
    for (int i = 1; i < LENGTH; i++) {
        wg_context *next = new_context(last);
        wg_context_release(last);
        last = next;
    }
    assert_status(wg_context_cancel(first, NULL), WG_OK);
    assert_status(wg_context_status(last), WG_CANCELLED);
    wg_context_release(first);
    wg_context_release(last);
}

/* Go's XTestParentFinishesChild and TestInterlockedCancels: a watcher of the parent cancels the child meanwhile. */
struct pair {
    wg_context *watched, *to_cancel;
};

static void *watch_and_cancel(void *raw) {
    struct pair *p = raw;
    REQUIRE(wg_context_wait(p->watched, NULL) == WG_OK);
    wg_context_cancel(p->to_cancel, NULL);
    return NULL;
}

/* To cancel a context costs the same however deep it is: with a look at all ancestors this would take minutes. */
static void a_long_chain_is_cancelled_from_below(void **state) {
    (void)state;
    enum { LONG = 300000 };
    int length = effort(LONG) < LONG ? effort(LONG) : LONG;
    wg_context **chain = malloc((size_t)length * sizeof *chain);
    assert_non_null(chain);
    for (int i = 0; i < length; i++)
        assert_status(wg_context_new(&chain[i], i ? chain[i - 1] : wg_context_root(), WG_FOREVER), WG_OK);
    for (int i = length - 1; i >= 0; i--) {
        assert_status(wg_context_cancel(chain[i], NULL), WG_OK);
        wg_context_release(chain[i]);
    }
    free(chain);
}

static void a_watcher_of_the_parent_may_cancel_the_child_and_the_other_way_round(void **state) {
    (void)state;
    for (int i = 0; i < effort(100); i++) {
        wg_context *parent = new_context(NULL), *child = new_context(parent);
        struct pair down = {parent, child}, up = {child, parent};
        struct thread t[2];
        thread_start(&t[0], watch_and_cancel, &down);
        thread_start(&t[1], watch_and_cancel, &up);
        assert_status(wg_context_cancel(i % 2 ? parent : child, NULL), WG_OK);
        thread_join(&t[0]);
        thread_join(&t[1]);
        assert_status(wg_context_status(parent), WG_CANCELLED);
        assert_status(wg_context_status(child), WG_CANCELLED);
        wg_context_release(parent);
        wg_context_release(child);
    }
}

/* Go's TestSimultaneousCancels: a tree of 100 nodes, cancelled by several threads in random order. */
#define NODES 100
static wg_context *tree[NODES];
static int shuffled[NODES];

static void *cancel_some(void *raw) {
    for (long i = (long)(intptr_t)raw; i < NODES; i += 4)
        wg_context_cancel(tree[shuffled[i]], NULL);
    return NULL;
}

/* Children that the end of the parent reaches one by one, the first one last. */
static void a_watcher_that_cancels_the_child_for_the_parents_end_does_not_hide_the_parents_cause(void **state) {
    (void)state;
    enum { CHILDREN = 20000 };
    static wg_context *children[CHILDREN];
    int number = 1;
    for (int round = 0; round < effort(5); round++) {
        wg_context *parent = new_context(NULL);
        for (int i = 0; i < CHILDREN; i++)
            children[i] = new_context(i == 1 ? children[0] : parent); /* one is a grandchild */
        struct pair watched = {parent, children[round % 2]};
        struct thread t;
        thread_start(&t, watch_and_cancel, &watched);
        wg_error *cause = wg_error_new(WG_ERROR_FAILURE, &number, NULL);
        assert_status(wg_context_cancel(parent, cause), WG_OK);
        thread_join(&t);
        assert_ptr_equal(wg_context_cause(watched.to_cancel), cause);
        assert_true(wg_context_inherited(watched.to_cancel));
        wg_error_release(cause);
        for (int i = CHILDREN - 1; i >= 0; i--)
            wg_context_release(children[i]);
        wg_context_release(parent);
    }
}

static void simultaneous_cancels_of_a_tree_in_random_order_end_it_all(void **state) {
    (void)state;
    unsigned seed = (unsigned)wg_now();
    print_message("seed %u\n", seed);
    for (int round = 0; round < effort(30); round++) {
        struct thread t[4];
        tree[0] = new_context(NULL);
        for (int i = 1; i < NODES; i++)
            tree[i] = new_context(tree[rand_r(&seed) % i]);
        for (int i = 0; i < NODES; i++) {
            int j = rand_r(&seed) % (i + 1);
            shuffled[i] = shuffled[j];
            shuffled[j] = i;
        }
        for (intptr_t i = 0; i < 4; i++)
            thread_start(&t[i], cancel_some, (void *)i);
        for (int i = 0; i < 4; i++)
            thread_join(&t[i]);
        for (int i = 0; i < NODES; i++) {
            assert_status(wg_context_status(tree[i]), WG_CANCELLED);
            wg_context_release(tree[i]);
        }
    }
}

/* Go's TestParentCanceledDuringCreation: a child made while its parent ends has ended too. */
static void *cancel_it(void *ctx) {
    REQUIRE(wg_context_cancel(ctx, NULL) == WG_OK);
    return NULL;
}

static void a_child_made_while_its_parent_ends_is_not_forgotten(void **state) {
    (void)state;
    for (int i = 0; i < effort(300); i++) {
        wg_context *parent = new_context(NULL), *children[20];
        struct thread t;
        thread_start(&t, cancel_it, parent);
        for (int j = 0; j < 20; j++)
            children[j] = new_context(parent);
        thread_join(&t);
        for (int j = 0; j < 20; j++) {
            assert_status(wg_context_status(children[j]), WG_CANCELLED);
            wg_context_release(children[j]);
        }
        wg_context_release(parent);
    }
}

/* A child whose last reference goes while its parent ends. */
static void *release_it(void *ctx) {
    wg_context_release(ctx);
    return NULL;
}

static void a_child_may_go_while_its_parent_ends(void **state) {
    (void)state;
    for (int i = 0; i < effort(300); i++) {
        wg_context *parent = new_context(NULL), *child = new_context(parent), *other = new_context(parent);
        struct thread t;
        thread_start(&t, release_it, child);
        assert_status(wg_context_cancel(parent, NULL), WG_OK);
        thread_join(&t);
        assert_status(wg_context_status(other), WG_CANCELLED);
        wg_context_release(other);
        wg_context_release(parent);
    }
}

/* No slow observer of a parent keeps a child from hearing of the end. */
static wg_context *child_of_slow;
static void look_at_child(void *unused) {
    (void)unused;
    REQUIRE(wg_context_status(child_of_slow) == WG_CANCELLED);
}

static void descendants_have_ended_when_observers_are_called(void **state) {
    (void)state;
    wg_context *parent = new_context(NULL), *middle = new_context(parent);
    child_of_slow = new_context(middle);
    wg_observer observer;
    assert_status(wg_event_observe(wg_ended(parent), &observer, look_at_child, NULL), WG_OK);
    assert_status(wg_context_cancel(parent, NULL), WG_OK);
    wg_context_release(child_of_slow);
    wg_context_release(middle);
    wg_context_release(parent);
}

/* The parent of a context made inside a task is the task's; the root detaches. */
static wg_error *make_contexts(void *unused, wg_context *ctx) {
    (void)unused;
    wg_context *of_task, *detached;
    REQUIRE(wg_context_current() == ctx);
    REQUIRE(wg_context_new(&of_task, NULL, WG_FOREVER) == WG_OK);
    REQUIRE(wg_context_new(&detached, wg_context_root(), WG_FOREVER) == WG_OK);
    REQUIRE(wg_context_cancel(ctx, NULL) == WG_OK);
    REQUIRE(wg_context_status(of_task) == WG_CANCELLED && wg_context_inherited(of_task));
    REQUIRE(wg_context_status(detached) == WG_OK);
    wg_context_release(of_task);
    wg_context_release(detached);
    return wg_context_error(ctx);
}

static void inside_a_task_the_parent_is_the_context_of_the_task(void **state) {
    (void)state;
    wg_errgroup *g;
    assert_null(wg_context_current());
    assert_status(wg_errgroup_new(&g, NULL), WG_OK);
    assert_status(wg_errgroup_go(g, make_contexts, NULL, NULL, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
    assert_null(wg_context_current());
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(causes_travel_down_and_only_down),
        cmocka_unit_test(a_child_of_an_ended_parent_is_born_ended),
        cmocka_unit_test(a_child_keeps_its_parent_alive),
        cmocka_unit_test(children_in_any_order_leave_their_parent),
        cmocka_unit_test(a_long_chain_is_cancelled_and_freed_without_recursion),
        cmocka_unit_test(a_long_chain_is_cancelled_from_below),
        cmocka_unit_test(a_watcher_of_the_parent_may_cancel_the_child_and_the_other_way_round),
        cmocka_unit_test(a_watcher_that_cancels_the_child_for_the_parents_end_does_not_hide_the_parents_cause),
        cmocka_unit_test(simultaneous_cancels_of_a_tree_in_random_order_end_it_all),
        cmocka_unit_test(a_child_made_while_its_parent_ends_is_not_forgotten),
        cmocka_unit_test(a_child_may_go_while_its_parent_ends),
        cmocka_unit_test(descendants_have_ended_when_observers_are_called),
        cmocka_unit_test(inside_a_task_the_parent_is_the_context_of_the_task),
    };
    return RUN("context_tree", tests);
}
