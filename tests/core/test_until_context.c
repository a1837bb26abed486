/* The context that bounds a blocking call: one rule and one status for all calls; inside a task, that of the task. */
#include "tasks.h"

/* Each blocking call, on something that does not come. */
static wg_waitgroup never;
static wg_context *alive;
static wg_errgroup *full;
static struct gate gate;

static wg_status wait_count(const wg_until *until) { return wg_wait(&never, until); }
static wg_status wait_context(const wg_until *until) { return wg_context_wait(alive, until); }
static wg_status wait_outcome(const wg_until *until) { return wg_errgroup_wait(full, until, NULL); }
static wg_status go_into_full(const wg_until *until) { return wg_errgroup_go(full, succeed, NULL, NULL, until); }
static wg_status start_in_full(const wg_until *until) {
    return wg_errgroup_start(full, &(wg_task){.fn = succeed}, until);
}

typedef wg_status (*blocking_call)(const wg_until *until);
static const blocking_call calls[] = {wait_count, wait_context, wait_outcome, go_into_full, start_in_full};
enum { CALLS = sizeof calls / sizeof *calls };

static void make_all(void) {
    never = (wg_waitgroup)WG_INIT;
    assert_status(wg_add(&never, 1), WG_OK);
    assert_status(wg_context_new(&alive, NULL, WG_FOREVER), WG_OK);
    gate = (struct gate){0};
    full = new_group((wg_errgroup_options){.limit = 1});
    go(full, pass_gate, &gate);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
}

static void end_all(void) {
    gate_open(&gate);
    assert_status(wg_errgroup_wait(full, NULL, NULL), WG_OK);
    wg_errgroup_release(full);
    wg_context_release(alive);
}

/* A context that has ended: by a call, or by its deadline. */
static wg_context *ended_context(bool by_deadline) {
    wg_context *ctx;
    assert_status(wg_context_new(&ctx, NULL, by_deadline ? WG_POLL : WG_FOREVER), WG_OK);
    wg_context_cancel(ctx, NULL);
    return ctx;
}

static void a_context_that_has_ended_ends_every_call_with_one_status(void **state) {
    (void)state;
    make_all();
    for (int by_deadline = 0; by_deadline < 2; by_deadline++) {
        wg_context *ctx = ended_context(by_deadline);
        for (int i = 0; i < CALLS; i++) {
            assert_status(calls[i](WITH(ctx)), WG_CONTEXT_ENDED);
            assert_status(calls[i](&(wg_until){.context = ctx, .deadline = WG_POLL}), WG_CONTEXT_ENDED);
        }
        wg_context_release(ctx);
    }
    end_all();
}

static void a_context_that_ends_wakes_every_call_with_one_status(void **state) {
    (void)state;
    make_all();
    for (int i = 0; i < CALLS; i++) {
        wg_context *ctx;
        assert_status(wg_context_new(&ctx, NULL, wg_after(SOON)), WG_OK);
        assert_status(calls[i](WITH(ctx)), WG_CONTEXT_ENDED);
        wg_context_release(ctx);
    }
    end_all();
}

static void what_the_call_is_about_comes_first(void **state) {
    (void)state;
    make_all();
    wg_waitgroup zero = WG_INIT;
    wg_context *ctx = ended_context(false), *late = ended_context(true);
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1}), *done = new_group((wg_errgroup_options){0});
    assert_status(wg_wait(&zero, WITH(ctx)), WG_OK);
    assert_status(wg_context_wait(late, WITH(ctx)), WG_OK);
    assert_status(wg_errgroup_wait(done, WITH(ctx), NULL), WG_OK);
    assert_status(wg_errgroup_go(g, succeed, NULL, NULL, WITH(ctx)), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_status(wg_errgroup_cancel(full, NULL), WG_OK);
    assert_status(wg_errgroup_go(full, succeed, NULL, NULL, WITH(late)), WG_CANCELLED);
    wg_errgroup_release(g);
    wg_errgroup_release(done);
    wg_context_release(ctx);
    wg_context_release(late);
    end_all();
}

/* Inside a task. */
struct inside {
    blocking_call call;
    wg_until until;
    atomic_int status; /* -1 until the call has returned */
};

static wg_error *call_inside(void *raw, wg_context *ctx) {
    struct inside *inside = raw;
    atomic_store(&inside->status,
                 (int)inside->call(inside->until.deadline || inside->until.context ? &inside->until : NULL));
    return wg_context_error(ctx);
}

static void every_call_in_a_task_ends_with_the_context_of_the_task(void **state) {
    (void)state;
    make_all();
    for (int i = 0; i < CALLS; i++)
        for (int bounded = 0; bounded < 2; bounded++)
            for (int by_deadline = 0; by_deadline < 2; by_deadline++) {
                struct inside inside = {.call = calls[i], .status = -1};
                inside.until.deadline = bounded ? wg_after(HANG) : WG_FOREVER;
                wg_errgroup *g =
                    new_group((wg_errgroup_options){.deadline = by_deadline ? wg_after(5 * SOON) : WG_FOREVER});
                go(g, call_inside, &inside);
                if (!by_deadline) {
                    let_sleep_on(wg_errgroup_context(g), 1);
                    assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
                }
                wg_status outcome = wg_errgroup_wait(g, AFTER(HANG), NULL);
                assert_status(outcome, by_deadline ? WG_DEADLINE_EXCEEDED : WG_OK);
                if (atomic_load(&inside.status) != -1 || !by_deadline) /* else it was too late to start */
                    assert_status(atomic_load(&inside.status), WG_CONTEXT_ENDED);
                wg_errgroup_release(g);
            }
    end_all();
}

static void the_root_context_means_none_in_a_task_too(void **state) {
    (void)state;
    make_all();
    struct inside inside = {.call = wait_count, .status = -1};
    inside.until.context = wg_context_root();
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    go(g, call_inside, &inside);
    let_sleep_on(&never, 1);
    assert_status(wg_errgroup_cancel(g, NULL), WG_OK);
    assert_int_equal(atomic_load(&inside.status), -1);
    assert_status(wg_done(&never), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_status(atomic_load(&inside.status), WG_OK);
    wg_errgroup_release(g);
    end_all();
}

static void call_as_if_in_a_task(void *raw) {
    struct inside *inside = raw;
    assert_ptr_equal(wg_context_current(), alive);
    atomic_store(&inside->status, (int)inside->call(NULL));
}

static void a_call_as_if_in_a_task_ends_with_the_context_given(void **state) {
    (void)state;
    make_all();
    wg_context *enclosing = alive;
    for (int i = 0; i < CALLS; i++) {
        if (calls[i] == wait_context) /* which would find what it waits for */
            continue;
        struct inside inside = {.call = calls[i], .status = -1};
        assert_status(wg_context_new(&alive, NULL, wg_after(SOON)), WG_OK);
        assert_status(wg_context_run(alive, call_as_if_in_a_task, &inside), WG_OK);
        assert_status(atomic_load(&inside.status), WG_CONTEXT_ENDED);
        assert_null(wg_context_current());
        wg_context_release(alive);
    }
    alive = enclosing;
    assert_status(wg_context_run(NULL, call_as_if_in_a_task, NULL), WG_INVALID);
    assert_status(wg_context_run(alive, NULL, NULL), WG_INVALID);
    end_all();
}

/* Two coroutines, each with a context of its own, go on by turns, in one thread and then in another. */
struct coroutine {
    wg_scope scope, inner;
    wg_context *ctx;
};

static void enter_both(struct coroutine *c) {
    assert_status(wg_scope_enter(&c->scope, c->ctx), WG_OK);
    assert_ptr_equal(wg_context_current(), c->ctx);
    assert_status(wg_scope_enter(&c->inner, wg_context_root()), WG_OK);
    assert_null(wg_context_current());
}

static void *go_on_and_end(void *raw) {
    struct coroutine *c = raw;
    wg_scope_return(&c->scope);
    REQUIRE(!wg_context_current());
    wg_scope_leave(&c->inner);
    REQUIRE(wg_context_current() == c->ctx);
    REQUIRE(wg_wait(&never, NULL) == WG_CONTEXT_ENDED);
    wg_scope_leave(&c->scope);
    REQUIRE(!wg_context_current());
    return NULL;
}

static void scopes_are_left_and_come_back_to(void **state) {
    (void)state;
    make_all();
    struct coroutine one, two;
    pthread_t thread;
    wg_scope around;
    assert_status(wg_context_new(&one.ctx, NULL, wg_after(SOON)), WG_OK);
    assert_status(wg_context_new(&two.ctx, NULL, wg_after(SOON)), WG_OK);
    enter_both(&one);
    wg_scope_leave(&one.scope);
    enter_both(&two);
    wg_scope_leave(&two.scope);
    assert_null(wg_context_current());
    assert_status(wg_scope_enter(&around, alive), WG_OK);
    wg_scope_return(&one.scope);
    assert_null(wg_context_current());
    wg_scope_leave(&one.scope);
    assert_ptr_equal(wg_context_current(), alive);
    wg_scope_leave(&around);
    go_on_and_end(&one);
    assert_int_equal(pthread_create(&thread, NULL, go_on_and_end, &two), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_status(wg_scope_enter(NULL, alive), WG_INVALID);
    wg_scope_leave(NULL);
    wg_scope_return(NULL);
    wg_context_release(one.ctx);
    wg_context_release(two.ctx);
    end_all();
}

static void *run_and_end(void *ctx) {
    wg_context_run(ctx, pthread_exit, NULL);
    return ctx;
}

static void a_call_as_if_in_a_task_may_end_the_thread(void **state) {
    (void)state;
    pthread_t thread;
    void *result;
    wg_context *ctx;
    assert_status(wg_context_new(&ctx, NULL, WG_FOREVER), WG_OK);
    assert_int_equal(pthread_create(&thread, NULL, run_and_end, ctx), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_null(result);
    wg_context_release(ctx);
}

/* A group made in a task is left as a block is: it ends with the task's context, and its tasks are waited for. */
static wg_error *use_callers_stack(void *raw, wg_context *ctx) {
    REQUIRE(wg_context_wait(ctx, NULL) == WG_OK);
    nap();
    atomic_fetch_add((atomic_int *)raw, 1);
    return wg_context_error(ctx);
}

static wg_error *wait_for_own_block(void *unused, wg_context *ctx) {
    (void)unused;
    atomic_int on_stack = 0;
    wg_errgroup *inner;
    REQUIRE(wg_errgroup_new(&inner, NULL) == WG_OK);
    REQUIRE(wg_errgroup_try_go(inner, use_callers_stack, &on_stack, NULL) == WG_OK);
    wg_errgroup_counts counts;
    do
        counts = wg_errgroup_get_counts(inner);
    while (counts.running == 0);
    REQUIRE(wg_errgroup_cancel(full, NULL) == WG_OK);
    REQUIRE(wg_errgroup_wait(inner, NULL, NULL) == WG_CANCELLED || wg_context_status(ctx) == WG_CANCELLED);
    REQUIRE(atomic_load(&on_stack) == 1);
    wg_errgroup_release(inner);
    return wg_context_error(ctx);
}

static void a_group_made_in_a_task_is_waited_for_when_the_task_is_cancelled(void **state) {
    (void)state;
    make_all();
    assert_status(wg_errgroup_set_limit(full, WG_NO_LIMIT), WG_OK);
    go(full, wait_for_own_block, NULL);
    gate_open(&gate);
    end_all();
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(a_context_that_has_ended_ends_every_call_with_one_status),
        cmocka_unit_test(a_context_that_ends_wakes_every_call_with_one_status),
        cmocka_unit_test(what_the_call_is_about_comes_first),
        cmocka_unit_test(every_call_in_a_task_ends_with_the_context_of_the_task),
        cmocka_unit_test(the_root_context_means_none_in_a_task_too),
        cmocka_unit_test(a_call_as_if_in_a_task_ends_with_the_context_given),
        cmocka_unit_test(scopes_are_left_and_come_back_to),
        cmocka_unit_test(a_call_as_if_in_a_task_may_end_the_thread),
        cmocka_unit_test(a_group_made_in_a_task_is_waited_for_when_the_task_is_cancelled),
    };
    return RUN("until_context", tests);
}
