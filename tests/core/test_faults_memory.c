/* Every allocation fails in turn: a status, no leak, no lost task. */
#include "faults.h"
#include "support.h"

/* Each story makes objects and uses them. It copes with every WG_NO_MEMORY and WG_NO_THREADS, checks what must hold all
 * the same, and gives everything back. It returns false if something was refused. */

static bool refused(wg_status status) {
    REQUIRE(status == WG_OK || status == WG_NO_MEMORY || status == WG_NO_THREADS);
    return status != WG_OK;
}

static bool contexts(void) {
    wg_context *parent, *child;
    bool all = true;
    if (refused(wg_context_new(&parent, NULL, WG_FOREVER)))
        return false;
    if (refused(wg_context_new(&child, parent, wg_after(HANG))))
        all = false;
    REQUIRE(wg_context_cancel(parent, wg_error_no_memory()) == WG_OK);
    if (all) {
        REQUIRE(wg_context_status(child) == WG_CANCELLED);
        wg_context_release(child);
    }
    wg_context_release(parent);
    return all;
}

static bool watches(void) {
    wg_waitgroup wg = WG_INIT;
    wg_watch *watch;
    REQUIRE(wg_add(&wg, 1) == WG_OK);
    bool all = !refused(wg_watch_new(&watch, &wg));
    REQUIRE(wg_done(&wg) == WG_OK);
    if (all) {
        REQUIRE(readable(wg_watch_fd(watch)));
        wg_watch_free(watch);
    }
    return all;
}

static atomic_int values_destroyed;
static void destroy_value(void *unused) {
    (void)unused;
    atomic_fetch_add(&values_destroyed, 1);
}

static bool errors(void) {
    int value, before = atomic_load(&values_destroyed);
    wg_error *error = wg_error_new(WG_ERROR_STOP, &value, destroy_value);
    REQUIRE(error); /* never NULL */
    bool all = error != wg_error_no_memory();
    REQUIRE(atomic_load(&values_destroyed) == before + !all);
    wg_error_release(error);
    REQUIRE(atomic_load(&values_destroyed) == before + 1);
    return all;
}

static atomic_int ran, destroyed;
static void run_plain(void *unused) {
    (void)unused;
    atomic_fetch_add(&ran, 1);
}
static void destroy(void *unused) {
    (void)unused;
    atomic_fetch_add(&destroyed, 1);
}
static wg_error *run(void *unused, wg_context *ctx) {
    (void)ctx;
    run_plain(unused);
    return NULL;
}
static wg_error *run_and_fail(void *unused, wg_context *ctx) {
    (void)ctx;
    run_plain(unused);
    return wg_error_new(WG_ERROR_FAILURE, NULL, NULL);
}

/* More than one allocation has room for. */
#define PLAIN_TASKS 100

static bool plain_tasks(void) {
    wg_waitgroup wg = WG_INIT;
    int accepted = 0;
    atomic_store(&ran, 0);
    atomic_store(&destroyed, 0);
    for (int i = 0; i < PLAIN_TASKS; i++)
        accepted += !refused(wg_go(&wg, NULL, run_plain, NULL, destroy));
    REQUIRE(wg_wait(&wg, NULL) == WG_OK);
    REQUIRE(atomic_load(&ran) == accepted && atomic_load(&destroyed) == accepted);
    return accepted == PLAIN_TASKS;
}

static bool group_of(wg_task_fn fn, bool fails) {
    wg_errgroup *g;
    int accepted = 0;
    bool all = true;
    if (refused(wg_errgroup_new(&g, &(wg_errgroup_options){.limit = 1})))
        return false;
    atomic_store(&ran, 0);
    atomic_store(&destroyed, 0);
    for (int i = 0; i < 5; i++) {
        wg_status status = wg_errgroup_go(g, fn, NULL, destroy, NULL);
        if (fails && status == WG_CANCELLED)
            continue;
        if (refused(status))
            all = false;
        else
            accepted++;
    }
    wg_error *first = NULL;
    wg_status outcome = wg_errgroup_wait(g, NULL, &first);
    REQUIRE(outcome == (fails && accepted ? WG_FAILED : WG_OK));
    REQUIRE((first != NULL) == (outcome == WG_FAILED));
    if (first == wg_error_no_memory())
        all = false; /* the task failed for another reason, but it failed */
    REQUIRE(atomic_load(&destroyed) == accepted);
    REQUIRE(atomic_load(&ran) == (fails ? accepted > 0 : accepted));
    wg_errgroup_release(g);
    return all;
}

static bool groups(void) { return group_of(run, false); }
static bool failing_groups(void) { return group_of(run_and_fail, true); }

static bool entered_tasks(void) {
    wg_errgroup *g;
    if (refused(wg_errgroup_new(&g, NULL)))
        return false;
    wg_error *first, *errors[3];
    for (int i = 0; i < 3; i++)
        REQUIRE(wg_errgroup_enter(g) == WG_OK); /* needs no memory */
    for (int i = 0; i < 3; i++)
        wg_errgroup_leave(g, wg_error_new(WG_ERROR_FAILURE, NULL, NULL));
    REQUIRE(wg_errgroup_wait(g, NULL, &first) == WG_FAILED); /* the first error is never lost */
    size_t n = wg_errgroup_errors(g, errors, 3);
    REQUIRE(n >= 1 && n <= 3 && errors[0] == first);
    wg_errgroup_release(g);
    return n == 3;
}

static bool pools(void) {
    wg_pool *pool;
    if (refused(wg_pool_new(&pool, &(wg_pool_host){.cores = 2, .idle_time = WG_MILLISECOND})))
        return false;
    wg_waitgroup wg = WG_INIT;
    int accepted = 0;
    atomic_store(&ran, 0);
    for (int i = 0; i < 3; i++)
        accepted += !refused(wg_go(&wg, pool, run_plain, NULL, NULL));
    REQUIRE(wg_wait(&wg, NULL) == WG_OK);
    REQUIRE(atomic_load(&ran) == accepted);
    wg_pool_stop(pool);
    EVENTUALLY(wg_pool_workers(pool) == 0);
    wg_pool_release(pool);
    return accepted == 3;
}

static void fail_each_in_turn(bool (*story)(void)) {
    for (int all_after = 0; all_after < 2; all_after++) {
        story(); /* once without faults: what is made once is there */
        int before = allocations(), failed = 0;
        for (int i = 1;; i++) {
            fault_set(&malloc_fault, i, all_after);
            bool all = story();
            if (!fault_clear(&malloc_fault)) {
                assert_true(all);
                break;
            }
            failed++;
        }
        assert_true(failed > 0);
        EVENTUALLY(allocations() <= before); /* threads on their way out may hold some for a moment */
        print_message("%d allocations failed\n", failed);
    }
}

#define STORY(name)                                                                                                    \
    static void every_allocation_of_##name(void **state) {                                                             \
        (void)state;                                                                                                   \
        fail_each_in_turn(name);                                                                                       \
    }
STORY(contexts)
STORY(watches)
STORY(errors)
STORY(plain_tasks)
STORY(groups)
STORY(failing_groups)
STORY(entered_tasks)
STORY(pools)

static void the_first_error_is_kept_without_any_memory(void **state) {
    (void)state;
    wg_errgroup *g;
    wg_error *first, *all[2];
    int value;
    assert_status(wg_errgroup_new(&g, NULL), WG_OK);
    assert_status(wg_errgroup_enter(g), WG_OK);
    assert_status(wg_errgroup_enter(g), WG_OK);
    wg_error *error = wg_error_new(WG_ERROR_FAILURE, &value, NULL);
    fault_set(&malloc_fault, 1, true);
    wg_errgroup_leave(g, error);
    wg_errgroup_leave(g, wg_error_no_memory());
    fault_clear(&malloc_fault);
    assert_status(wg_errgroup_wait(g, NULL, &first), WG_FAILED);
    assert_ptr_equal(wg_error_value(first), &value);
    assert_int_equal(wg_errgroup_errors(g, all, 2), 1);
    wg_errgroup_release(g);
}

static wg_context *child_of(wg_context *parent) {
    wg_context *ctx;
    assert_status(wg_context_new(&ctx, parent, WG_FOREVER), WG_OK);
    return ctx;
}

/* Go's TestCancelRemoves: without it a finished child lives as long as a long-lived parent. */
static void a_parent_does_not_grow_by_children_that_have_gone(void **state) {
    (void)state;
    wg_context *parent = child_of(NULL);
    int before = allocations();
    for (int i = 0; i < 10000; i++) {
        wg_context *child = child_of(parent), *grandchild = child_of(child);
        if (i % 2)
            assert_status(wg_context_cancel(child, NULL), WG_OK);
        wg_context_release(child);
        wg_context_release(grandchild);
    }
    assert_int_equal(allocations(), before);
    assert_status(wg_context_cancel(parent, NULL), WG_OK);
    wg_context_release(parent);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_of_contexts),
        cmocka_unit_test(every_allocation_of_watches),
        cmocka_unit_test(every_allocation_of_errors),
        cmocka_unit_test(every_allocation_of_plain_tasks),
        cmocka_unit_test(every_allocation_of_groups),
        cmocka_unit_test(every_allocation_of_failing_groups),
        cmocka_unit_test(every_allocation_of_entered_tasks),
        cmocka_unit_test(every_allocation_of_pools),
        cmocka_unit_test(the_first_error_is_kept_without_any_memory),
        cmocka_unit_test(a_parent_does_not_grow_by_children_that_have_gone),
    };
    return RUN("faults_memory", tests);
}
