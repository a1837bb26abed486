/* What wait says, and that it stays said: single use, cancels and their causes, parents, deadlines, counts. */
#include "tasks.h"

static wg_context *new_context(wg_context *parent, int64_t deadline) {
    wg_context *ctx;
    assert_status(wg_context_new(&ctx, parent, deadline), WG_OK);
    return ctx;
}

/* What was done to a group with one task that stops when it is told to, and what wait says. */
enum {
    NOTHING,
    CANCEL,
    CANCEL_WITH_CAUSE,
    PARENT_CANCEL,
    PARENT_CANCEL_WITH_CAUSE,
    PARENT_DEADLINE,
    DEADLINE,
    FAILURE
};

static void the_outcome_says_what_ended_the_group(void **state) {
    (void)state;
    static const struct {
        int done;
        wg_status outcome;
        bool with_cause;
    } table[] = {
        {NOTHING, WG_OK, false},
        {CANCEL, WG_OK, false}, /* a stop that the user asked for */
        {CANCEL_WITH_CAUSE, WG_CANCELLED, true},
        {PARENT_CANCEL, WG_OK, false}, /* likewise */
        {PARENT_CANCEL_WITH_CAUSE, WG_CANCELLED, true},
        {PARENT_DEADLINE, WG_DEADLINE_EXCEEDED, false},
        {DEADLINE, WG_DEADLINE_EXCEEDED, false},
        {FAILURE, WG_FAILED, true},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int value;
        wg_error *cause = wg_error_new(WG_ERROR_FAILURE, &value, NULL), *first = wg_error_no_memory();
        wg_context *parent = new_context(NULL, table[i].done == PARENT_DEADLINE ? wg_after(SOON) : WG_FOREVER);
        wg_errgroup *g = new_group((wg_errgroup_options){
            .parent = parent, .deadline = table[i].done == DEADLINE ? wg_after(SOON) : WG_FOREVER});
        wg_status status = wg_errgroup_go(g, table[i].done == NOTHING ? succeed : until_cancelled, NULL, NULL, NULL);
        assert_status(status, status == WG_OK ? WG_OK : table[i].outcome); /* the deadline may have passed already */
        switch (table[i].done) {
        case CANCEL: assert_status(wg_errgroup_cancel(g, NULL), WG_OK); break;
        case CANCEL_WITH_CAUSE: assert_status(wg_errgroup_cancel(g, cause), WG_OK); break;
        case PARENT_CANCEL: assert_status(wg_context_cancel(parent, NULL), WG_OK); break;
        case PARENT_CANCEL_WITH_CAUSE: assert_status(wg_context_cancel(parent, cause), WG_OK); break;
        case FAILURE: go(g, fail_with, &value); break;
        }
        for (int again = 0; again < 3; again++) {
            assert_status(wg_errgroup_wait(g, NULL, &first), table[i].outcome);
            assert_ptr_equal(wg_error_value(first), table[i].with_cause ? &value : NULL);
            assert_int_equal(first == wg_error_deadline(), table[i].outcome == WG_DEADLINE_EXCEEDED);
            assert_int_equal(first != NULL, table[i].with_cause || table[i].outcome == WG_DEADLINE_EXCEEDED);
        }
        assert_int_equal(wg_errgroup_errors(g, NULL, 0), table[i].done == FAILURE);
        wg_errgroup_release(g);
        wg_context_release(parent);
        wg_error_release(cause);
    }
}

static void once_given_no_more_tasks_are_taken_and_it_stays(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    go(g, succeed, NULL);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_status(wg_errgroup_go(g, succeed, NULL, NULL, NULL), WG_FINISHED);
    assert_status(wg_errgroup_try_go(g, succeed, NULL, NULL), WG_FINISHED);
    assert_status(wg_errgroup_enter(g), WG_FINISHED);
    wg_error *late = wg_error_new(WG_ERROR_FAILURE, NULL, NULL), *first = late;
    assert_status(wg_errgroup_cancel(g, late), WG_CANCELLED); /* its context ended with it */
    assert_status(wg_errgroup_wait(g, NULL, &first), WG_OK);
    assert_null(first);
    assert_status(wg_errgroup_wait(g, POLL, NULL), WG_OK);
    wg_error_release(late);
    wg_errgroup_release(g);
}

static void a_wait_that_times_out_is_no_outcome(void **state) {
    (void)state;
    struct gate gate = {0};
    atomic_int ran = 0;
    wg_context *ended = new_context(NULL, WG_POLL);
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    wg_error *first = wg_error_no_memory();
    go(g, pass_gate, &gate);
    assert_status(wg_errgroup_wait(g, POLL, &first), WG_TIMEOUT);
    assert_status(wg_errgroup_wait(g, AFTER(1000), &first), WG_TIMEOUT);
    assert_status(wg_errgroup_wait(g, WITH(ended), &first), WG_CONTEXT_ENDED);
    assert_ptr_equal(first, wg_error_no_memory()); /* untouched */
    assert_status(wg_context_status(wg_errgroup_context(g)), WG_OK);
    go(g, count, &ran);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(g, NULL, &first), WG_OK);
    assert_int_equal(atomic_load(&ran), 1);
    wg_errgroup_release(g);
    wg_context_release(ended);
}

static void without_tasks_it_is_a_success(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1, .grace = 1});
    assert_status(wg_errgroup_wait(g, POLL, NULL), WG_OK);
    wg_errgroup_release(g);
}

static void *wait_for(void *g) {
    REQUIRE(wg_errgroup_wait(g, NULL, NULL) == WG_FAILED);
    return NULL;
}

static void all_who_wait_get_the_same(void **state) {
    (void)state;
    for (int i = 0; i < effort(50); i++) {
        struct gate gate = {0};
        struct thread t[4];
        int value;
        wg_errgroup *g = new_group((wg_errgroup_options){.grace = i % 2 ? HANG : 0});
        go(g, pass_gate, &gate);
        for (int j = 0; j < 4; j++)
            thread_start(&t[j], wait_for, g);
        assert_status(wg_errgroup_enter(g), WG_OK);
        wg_errgroup_leave(g, wg_error_new(WG_ERROR_FAILURE, &value, NULL));
        gate_open(&gate);
        for (int j = 0; j < 4; j++)
            thread_join(&t[j]);
        wg_errgroup_release(g);
    }
}

/* Tasks that start tasks: wait does not return between them. */
static wg_error *start_more(void *raw, wg_context *ctx) {
    wg_errgroup *g = *(wg_errgroup **)raw;
    (void)ctx;
    static atomic_int left = 100;
    if (atomic_fetch_sub(&left, 1) > 0)
        REQUIRE(wg_errgroup_go(g, start_more, raw, NULL, NULL) == WG_OK);
    return NULL;
}

static void tasks_started_by_tasks_are_waited_for(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    go(g, start_more, &g);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(wg_errgroup_get_counts(g).completed, 101);
    wg_errgroup_release(g);
}

/* A pool without a thread, until the test gives it one. */
static bool start_later(void *asked, wg_pool *pool) {
    (void)pool;
    atomic_fetch_add((atomic_int *)asked, 1);
    return true;
}

static void *work(void *pool) {
    wg_pool_work(pool);
    return NULL;
}

static wg_pool *pool_without_threads(atomic_int *asked) {
    wg_pool *pool;
    atomic_store(asked, 0);
    assert_status(wg_pool_new(&pool, &(wg_pool_host){.start = start_later, .data = asked, .idle_time = 1}), WG_OK);
    return pool;
}

static atomic_int destroyed;
static void destroy(void *unused) {
    (void)unused;
    atomic_fetch_add(&destroyed, 1);
}

static void tasks_not_started_at_the_cancel_never_start(void **state) {
    (void)state;
    atomic_int asked, ran = 0;
    struct thread worker;
    wg_pool *pool = pool_without_threads(&asked);
    wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool});
    atomic_store(&destroyed, 0);
    for (int i = 0; i < 10; i++)
        assert_status(wg_errgroup_go(g, count, &ran, destroy, NULL), WG_OK);
    assert_int_equal(atomic_load(&asked), 1);
    assert_int_equal(wg_errgroup_get_counts(g).pending, 10);
    assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
    assert_status(wg_errgroup_go(g, count, &ran, destroy, NULL), WG_CANCELLED);
    assert_int_equal(atomic_load(&destroyed), 0); /* of a call that is refused, the argument stays the caller's */
    thread_start(&worker, work, pool);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    thread_join(&worker);
    assert_int_equal(atomic_load(&ran), 0);
    assert_int_equal(atomic_load(&destroyed), 10);
    wg_errgroup_release(g);
    wg_pool_release(pool);
}

static void counts_follow_a_task_through_its_life(void **state) {
    (void)state;
    atomic_int asked;
    struct gate gate = {0};
    struct thread worker;
    wg_pool *pool = pool_without_threads(&asked);
    wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool});
    wg_errgroup_counts c = wg_errgroup_get_counts(g);
    assert_true(c.pending == 0 && c.running == 0 && c.completed == 0);
    go(g, pass_gate, &gate);
    go(g, pass_gate, &gate);
    c = wg_errgroup_get_counts(g);
    assert_true(c.pending == 2 && c.running == 0 && c.completed == 0);
    assert_int_equal(wg_count(wg_errgroup_tasks(g)), 2);
    assert_int_equal(wg_pool_queued(pool), 2);
    thread_start(&worker, work, pool);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
    c = wg_errgroup_get_counts(g);
    assert_true(c.pending == 1 && c.running == 1 && c.completed == 0);
    assert_int_equal(wg_pool_queued(pool), 1);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    c = wg_errgroup_get_counts(g);
    assert_true(c.pending == 0 && c.running == 0 && c.completed == 2);
    thread_join(&worker);
    wg_errgroup_release(g);
    wg_pool_release(pool);
}

/* Watching the tasks of a group through its wait group. */
static void tell(void *times) { atomic_fetch_add((atomic_int *)times, 1); }

static void its_tasks_can_be_observed_and_watched(void **state) {
    (void)state;
    struct gate gate = {0};
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    wg_observer observer;
    wg_watch *watch;
    atomic_int times = 0;
    go(g, pass_gate, &gate);
    assert_status(wg_event_observe(wg_zero(wg_errgroup_tasks(g)), &observer, tell, &times), WG_OK);
    assert_status(wg_watch_new(&watch, wg_errgroup_tasks(g)), WG_OK);
    assert_false(readable(wg_watch_fd(watch)));
    gate_open(&gate);
    EVENTUALLY(atomic_load(&times) == 1);
    EVENTUALLY(readable(wg_watch_fd(watch)));
    assert_status(wg_errgroup_wait(g, POLL, NULL), WG_OK);
    wg_watch_free(watch);
    assert_status(wg_event_observe(wg_zero(wg_errgroup_tasks(g)), &observer, tell, &times),
                  WG_OK); /* finished: at once */
    assert_int_equal(atomic_load(&times), 2);
    wg_errgroup_release(g);
}

/* A group made in a task is a child of the task's group, unless told otherwise. */
static wg_error *make_groups(void *unused, wg_context *ctx) {
    (void)unused;
    wg_errgroup *child, *detached;
    REQUIRE(wg_errgroup_new(&child, NULL) == WG_OK);
    REQUIRE(wg_errgroup_new(&detached, &(wg_errgroup_options){.parent = wg_context_root()}) == WG_OK);
    REQUIRE(wg_errgroup_go(child, until_cancelled, NULL, NULL, NULL) == WG_OK);
    REQUIRE(wg_context_cancel(ctx, NULL) == WG_OK);
    REQUIRE(wg_errgroup_wait(child, NULL, NULL) == WG_OK); /* without a cause: a stop for it too */
    REQUIRE(wg_errgroup_go(detached, succeed, NULL, NULL, NULL) == WG_OK);
    REQUIRE(wg_errgroup_wait(detached, WITH(wg_context_root()), NULL) == WG_OK);
    wg_errgroup_release(child);
    wg_errgroup_release(detached);
    return wg_context_error(ctx);
}

static void a_group_made_in_a_task_is_a_child_of_the_tasks_group(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    go(g, make_groups, NULL);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

static void a_group_of_an_ended_parent_takes_no_tasks(void **state) {
    (void)state;
    wg_context *cancelled = new_context(NULL, WG_FOREVER), *late = new_context(NULL, WG_POLL);
    assert_status(wg_context_cancel(cancelled, NULL), WG_OK);
    wg_errgroup *g = new_group((wg_errgroup_options){.parent = cancelled}),
                *h = new_group((wg_errgroup_options){.parent = late});
    assert_status(wg_errgroup_go(g, succeed, NULL, NULL, NULL), WG_CANCELLED);
    assert_status(wg_errgroup_go(h, succeed, NULL, NULL, NULL), WG_DEADLINE_EXCEEDED);
    assert_status(wg_errgroup_enter(g), WG_CANCELLED);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK); /* without a cause it was a stop */
    assert_status(wg_errgroup_wait(h, NULL, NULL), WG_DEADLINE_EXCEEDED);
    wg_errgroup_release(g);
    wg_errgroup_release(h);
    wg_context_release(cancelled);
    wg_context_release(late);
}

static wg_error *square(void *cell, wg_context *ctx) {
    (void)ctx;
    *(long *)cell *= *(long *)cell;
    return NULL;
}

static void what_many_tasks_wrote_is_there_after_wait(void **state) {
    (void)state;
    enum { N = 10000 };
    static long cells[N];
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 100});
    for (int i = 0; i < N; i++) {
        cells[i] = i;
        go(g, square, &cells[i]);
    }
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    for (int i = 0; i < N; i++)
        assert_int_equal(cells[i], (long)i * i);
    wg_errgroup_release(g);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(the_outcome_says_what_ended_the_group),
        cmocka_unit_test(once_given_no_more_tasks_are_taken_and_it_stays),
        cmocka_unit_test(a_wait_that_times_out_is_no_outcome),
        cmocka_unit_test(without_tasks_it_is_a_success),
        cmocka_unit_test(all_who_wait_get_the_same),
        cmocka_unit_test(tasks_started_by_tasks_are_waited_for),
        cmocka_unit_test(tasks_not_started_at_the_cancel_never_start),
        cmocka_unit_test(counts_follow_a_task_through_its_life),
        cmocka_unit_test(its_tasks_can_be_observed_and_watched),
        cmocka_unit_test(a_group_made_in_a_task_is_a_child_of_the_tasks_group),
        cmocka_unit_test(a_group_of_an_ended_parent_takes_no_tasks),
        cmocka_unit_test(what_many_tasks_wrote_is_there_after_wait),
    };
    return RUN("errgroup_outcome", tests);
}
