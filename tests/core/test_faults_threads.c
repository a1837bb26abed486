/* Threads that cannot be started, at every point in turn and for real: work goes on with those there are, or the call
 * says that there are none. No task that was taken is lost. */
#include "faults.h"
#include "support.h"

#include <sys/resource.h>
#include <unistd.h>

#include "os.h"

static bool refused(wg_status status) {
    REQUIRE(status == WG_OK || status == WG_NO_THREADS);
    return status != WG_OK;
}

static wg_pool *new_pool(void) {
    wg_pool *pool;
    REQUIRE(wg_pool_new(&pool, &(wg_pool_host){.cores = 2, .idle_time = WG_MILLISECOND}) == WG_OK);
    return pool;
}

static void end_pool(wg_pool *pool) {
    wg_pool_stop(pool);
    EVENTUALLY(wg_pool_workers(pool) == 0);
    wg_pool_release(pool);
}

static atomic_int ran;
static void run_plain(void *unused) {
    (void)unused;
    atomic_fetch_add(&ran, 1);
}
static wg_error *run(void *unused, wg_context *ctx) {
    (void)ctx;
    run_plain(unused);
    return NULL;
}
static wg_error *run_slowly(void *unused, wg_context *ctx) {
    nap();
    return run(unused, ctx);
}

static bool plain_tasks(void) {
    wg_pool *pool = new_pool();
    wg_waitgroup wg = WG_INIT;
    int accepted = 0;
    atomic_store(&ran, 0);
    for (int i = 0; i < 20; i++)
        accepted += !refused(wg_go(&wg, pool, run_plain, NULL, NULL));
    REQUIRE(wg_wait(&wg, NULL) == WG_OK);
    REQUIRE(atomic_load(&ran) == accepted);
    end_pool(pool);
    return accepted == 20;
}

static bool group_of(wg_task_fn fn, int limit) {
    wg_pool *pool = new_pool();
    wg_errgroup *g;
    int accepted = 0;
    REQUIRE(wg_errgroup_new(&g, &(wg_errgroup_options){.pool = pool, .limit = limit}) == WG_OK);
    atomic_store(&ran, 0);
    for (int i = 0; i < 20; i++)
        accepted += !refused(wg_errgroup_go(g, fn, NULL, NULL, NULL));
    REQUIRE(wg_errgroup_wait(g, NULL, NULL) == WG_OK);
    REQUIRE(atomic_load(&ran) == accepted);
    wg_errgroup_release(g);
    end_pool(pool);
    return accepted == 20;
}

static bool groups(void) { return group_of(run, 0); }
static bool slow_groups(void) { return group_of(run_slowly, 0); }
static bool groups_at_their_limit(void) { return group_of(run_slowly, 2); }

/* Several threads submit at once, while the first worker is being started. */
static wg_pool *shared;
static pthread_barrier_t all_ready;

static void *submit_some(void *accepted) {
    wg_waitgroup wg = WG_INIT;
    pthread_barrier_wait(&all_ready);
    for (int i = 0; i < 5; i++)
        if (!refused(wg_go(&wg, shared, run_plain, NULL, NULL)))
            atomic_fetch_add((atomic_int *)accepted, 1);
    REQUIRE(wg_wait(&wg, NULL) == WG_OK);
    return NULL;
}

static bool submitters(void) {
    struct thread t[3];
    atomic_int accepted = 0;
    shared = new_pool();
    atomic_store(&ran, 0);
    pthread_barrier_init(&all_ready, NULL, 4);
    int fails = atomic_exchange(&thread_fault.fails, 0); /* the threads of the test can be had */
    for (int i = 0; i < 3; i++)
        thread_start(&t[i], submit_some, &accepted);
    atomic_store(&thread_fault.fails, fails);
    pthread_barrier_wait(&all_ready);
    for (int i = 0; i < 3; i++)
        thread_join(&t[i]);
    pthread_barrier_destroy(&all_ready);
    REQUIRE(atomic_load(&ran) == atomic_load(&accepted));
    end_pool(shared);
    return atomic_load(&accepted) == 15;
}

/* Groups in tasks of groups. Their waits help: so they end even with a single thread, or none but the caller's. */
static atomic_int nodes, nodes_refused;

static wg_error *node(void *depth, wg_context *ctx) {
    (void)ctx;
    wg_errgroup *g;
    atomic_fetch_add(&nodes, 1);
    if (depth == NULL)
        return NULL;
    REQUIRE(wg_errgroup_new(&g, &(wg_errgroup_options){.pool = shared}) == WG_OK);
    for (int i = 0; i < 2; i++)
        if (refused(wg_errgroup_go(g, node, (void *)((intptr_t)depth - 1), NULL, NULL)))
            atomic_fetch_add(&nodes_refused, 1);
    REQUIRE(wg_errgroup_wait(g, NULL, NULL) == WG_OK);
    wg_errgroup_release(g);
    return NULL;
}

static bool nested_groups(void) {
    atomic_store(&nodes, 0);
    atomic_store(&nodes_refused, 0);
    REQUIRE(wg_pool_new(&shared, &(wg_pool_host){.cores = 2, .idle_time = WG_MILLISECOND, .callers_help = true}) ==
            WG_OK);
    node((void *)(intptr_t)5, NULL);
    end_pool(shared);
    REQUIRE(atomic_load(&nodes_refused) > 0 || atomic_load(&nodes) == 63);
    return atomic_load(&nodes_refused) == 0;
}

/* For a moment, no thread can be had in the place of one that waits for its own task. Only for failures that pass. */
static wg_error *wait_for_inner_task(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    wg_waitgroup wg = WG_INIT;
    if (!refused(wg_go(&wg, shared, run_plain, NULL, NULL)))
        REQUIRE(wg_wait(&wg, AFTER(HANG)) == WG_OK);
    return NULL;
}

static bool tasks_that_wait_for_tasks(void) {
    wg_errgroup *g;
    int accepted = 0;
    shared = new_pool();
    REQUIRE(wg_errgroup_new(&g, &(wg_errgroup_options){.pool = shared}) == WG_OK);
    for (int i = 0; i < 5; i++)
        accepted += !refused(wg_errgroup_go(g, wait_for_inner_task, NULL, NULL, NULL));
    REQUIRE(wg_errgroup_wait(g, NULL, NULL) == WG_OK);
    wg_errgroup_release(g);
    end_pool(shared);
    return accepted == 5;
}

static void fail_each_in_turn(bool (*story)(void), bool and_all_after) {
    int failed = 0, before = allocations();
    for (int i = 1;; i++) {
        fault_set(&thread_fault, i, and_all_after);
        bool all = story();
        if (!fault_clear(&thread_fault)) {
            assert_true(all);
            break;
        }
        failed++;
    }
    assert_true(failed > 0);
    EVENTUALLY(allocations() <= before); /* threads on their way out may hold some for a moment */
    print_message("%d times a thread could not be started\n", failed);
}

#define ONE(name)                                                                                                      \
    static void every_thread_of_##name(void **state) {                                                                 \
        (void)state;                                                                                                   \
        fail_each_in_turn(name, false);                                                                                \
    }
#define REST(name)                                                                                                     \
    static void all_threads_after_each_of_##name(void **state) {                                                       \
        (void)state;                                                                                                   \
        fail_each_in_turn(name, true);                                                                                 \
    }
ONE(plain_tasks)
ONE(groups)
ONE(slow_groups)
ONE(groups_at_their_limit)
ONE(submitters)
ONE(nested_groups)
ONE(tasks_that_wait_for_tasks)
REST(plain_tasks)
REST(groups)
REST(slow_groups)
REST(groups_at_their_limit)
REST(submitters)
REST(nested_groups)

static void a_deadline_without_a_thread_to_keep_it_is_refused(void **state) {
    (void)state;
    wg_context *ctx, *parent;
    wg_errgroup *g;
    assert_status(wg_context_new(&parent, NULL, WG_FOREVER), WG_OK);
    fault_set(&thread_fault, 1, true);
    assert_status(wg_context_new(&ctx, parent, wg_after(HANG)), WG_NO_THREADS);
    assert_status(wg_errgroup_new(&g, &(wg_errgroup_options){.deadline = wg_after(HANG)}), WG_NO_THREADS);
    assert_status(wg_context_new(&ctx, parent, WG_POLL), WG_OK); /* a past one needs none */
    wg_context_release(ctx);
    fault_clear(&thread_fault);
    assert_status(wg_context_new(&ctx, parent, wg_after(WG_MILLISECOND)), WG_OK);
    EVENTUALLY(wg_context_status(ctx) == WG_DEADLINE_EXCEEDED);
    wg_context_release(ctx);
    wg_context_release(parent);
}

/* For real: no address space for another stack. */
static void leave_room_for(size_t bytes, struct rlimit *before) {
    unsigned long pages;
    FILE *f = fopen("/proc/self/statm", "r");
    REQUIRE(f && fscanf(f, "%lu", &pages) == 1);
    fclose(f);
    REQUIRE(getrlimit(RLIMIT_AS, before) == 0);
    struct rlimit after = {pages * (size_t)sysconf(_SC_PAGESIZE) + bytes, before->rlim_max};
    REQUIRE(setrlimit(RLIMIT_AS, &after) == 0);
}

static void without_room_for_a_stack(void) {
    struct rlimit before;
    wg_waitgroup wg = WG_INIT;
    wg_context *ctx;
    leave_room_for(WG_STACK_SIZE / 4, &before);
    REQUIRE(wg_go(&wg, NULL, run_plain, NULL, NULL) == WG_NO_THREADS);
    REQUIRE(wg_context_new(&ctx, NULL, wg_after(HANG)) == WG_NO_THREADS);
    REQUIRE(wg_count(&wg) == 0);
    REQUIRE(setrlimit(RLIMIT_AS, &before) == 0);
    REQUIRE(wg_go(&wg, NULL, run_plain, NULL, NULL) == WG_OK);
    REQUIRE(wg_wait(&wg, NULL) == WG_OK);
}

static void with_room_for_two_stacks(void) {
    struct rlimit before;
    wg_errgroup *g;
    atomic_store(&ran, 0);
    leave_room_for(WG_STACK_SIZE * 5 / 2, &before);
    REQUIRE(wg_errgroup_new(&g, NULL) == WG_OK);
    for (int i = 0; i < 50; i++)
        REQUIRE(wg_errgroup_go(g, run_slowly, NULL, NULL, NULL) == WG_OK);
    while (wg_pool_queued(NULL) > 0) {
        REQUIRE(threads_now() <= 3);
        nap();
    }
    REQUIRE(wg_errgroup_wait(g, NULL, NULL) == WG_OK);
    REQUIRE(atomic_load(&ran) == 50);
    wg_errgroup_release(g);
}

static void for_real_under_a_lowered_limit_of_address_space(void **state) {
    (void)state;
    if (INSTRUMENTED)
        skip();                             /* sanitizers and valgrind need address space of their own */
    EVENTUALLY(wg_pool_workers(NULL) == 0); /* so that the child inherits no cached stacks */
    assert_true(in_child(without_room_for_a_stack));
    assert_true(in_child(with_room_for_two_stacks));
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(for_real_under_a_lowered_limit_of_address_space),
        cmocka_unit_test(every_thread_of_plain_tasks),
        cmocka_unit_test(every_thread_of_groups),
        cmocka_unit_test(every_thread_of_slow_groups),
        cmocka_unit_test(every_thread_of_groups_at_their_limit),
        cmocka_unit_test(every_thread_of_submitters),
        cmocka_unit_test(every_thread_of_nested_groups),
        cmocka_unit_test(every_thread_of_tasks_that_wait_for_tasks),
        cmocka_unit_test(all_threads_after_each_of_plain_tasks),
        cmocka_unit_test(all_threads_after_each_of_groups),
        cmocka_unit_test(all_threads_after_each_of_slow_groups),
        cmocka_unit_test(all_threads_after_each_of_groups_at_their_limit),
        cmocka_unit_test(all_threads_after_each_of_submitters),
        cmocka_unit_test(all_threads_after_each_of_nested_groups),
        cmocka_unit_test(a_deadline_without_a_thread_to_keep_it_is_refused),
    };
    return RUN("faults_threads", tests);
}
