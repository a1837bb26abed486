/* The pool has as many threads as its tasks need, and no more: any number of tasks may block on each other. */
#include "tasks.h"

#include <unistd.h>

static wg_waitgroup arrived, leave;

static void arrive_and_wait(void *unused) {
    (void)unused;
    REQUIRE(wg_done(&arrived) == WG_OK);
    REQUIRE(wg_wait(&leave, NULL) == WG_OK);
}

static void many_tasks_that_all_wait_for_each_other_run(void **state) {
    (void)state;
    enum { N = 300 };
    wg_waitgroup wg = WG_INIT;
    assert_status(wg_add(&arrived, N), WG_OK);
    assert_status(wg_add(&leave, 1), WG_OK);
    for (int i = 0; i < N; i++)
        assert_status(wg_go(&wg, NULL, arrive_and_wait, NULL, NULL), WG_OK);
    assert_status(wg_wait(&arrived, NULL), WG_OK);
    assert_int_equal(wg_count(&wg), N);
    assert_in_range(wg_pool_workers(NULL), N, 2 * N);
    assert_status(wg_done(&leave), WG_OK);
    assert_status(wg_wait(&wg, NULL), WG_OK);
}

/* Blocked in ways that the library cannot see. */
static int ends[2];
static atomic_int reading;

static wg_error *read_pipe(void *unused, wg_context *ctx) {
    char c;
    (void)unused;
    (void)ctx;
    atomic_fetch_add(&reading, 1);
    REQUIRE(read(ends[0], &c, 1) == 1);
    return NULL;
}

static wg_error *write_pipe(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    for (int left = atomic_load(&reading); left > 0; left--)
        REQUIRE(write(ends[1], "x", 1) == 1);
    return NULL;
}

static void tasks_blocked_in_the_system_do_not_hold_up_the_others(void **state) {
    (void)state;
    enum { N = 40 };
    assert_int_equal(pipe(ends), 0);
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    for (int i = 0; i < N; i++)
        go(g, read_pipe, NULL);
    EVENTUALLY(atomic_load(&reading) == N); /* though nobody waits in the library */
    go(g, write_pipe, NULL);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
    close(ends[0]);
    close(ends[1]);
}

/* Tasks that compute on all cores, and behind them tasks that wait for each other. */
static atomic_bool stop;

static void tasks_behind_others_that_compute_get_their_turn(void **state) {
    (void)state;
    atomic_int ran = 0;
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    for (int i = 0; i < 4; i++)
        go(g, compute_until, &stop);
    for (int i = 0; i < 3; i++)
        go(g, count, &ran);
    EVENTUALLY(atomic_load(&ran) == 3);
    atomic_store(&stop, true);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

/* In a pool of its own, so that the threads left over from other tests do not count. */
static void short_tasks_need_few_threads(void **state) {
    (void)state;
    wg_pool *pool;
    atomic_int ran = 0;
    assert_status(wg_pool_new(&pool, &(wg_pool_host){.cores = 2}), WG_OK);
    wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool});
    unsigned most = 0;
    for (int i = 0; i < 100000; i++) {
        go(g, count, &ran);
        if (i % 1000 == 0 && wg_pool_workers(pool) > most)
            most = wg_pool_workers(pool);
    }
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(atomic_load(&ran), 100000);
    print_message("at most %u threads\n", most);
    assert_in_range(most, 1, 1000); /* one a task would be far more */
    wg_errgroup_release(g);
    wg_pool_stop(pool);
    wg_pool_release(pool);
}

static void a_group_with_many_tasks_does_not_hold_up_one_with_few(void **state) {
    (void)state;
    wg_pool *pool;
    atomic_int many = 0, few = 0;
    assert_status(wg_pool_new(&pool, &(wg_pool_host){.cores = 1}), WG_OK);
    wg_errgroup *a = new_group((wg_errgroup_options){.pool = pool}),
                *b = new_group((wg_errgroup_options){.pool = pool});
    struct gate gate = {0};
    go(a, pass_gate, &gate);
    for (int i = 0; i < 100000; i++)
        go(a, count, &many);
    for (int i = 0; i < 2; i++)
        go(b, count, &few);
    gate_open(&gate);
    assert_status(wg_wait(wg_errgroup_tasks(b), NULL), WG_OK);
    print_message("%d of the many had run\n", atomic_load(&many));
    assert_status(wg_errgroup_wait(a, NULL, NULL), WG_OK);
    assert_status(wg_errgroup_wait(b, NULL, NULL), WG_OK);
    assert_int_equal(atomic_load(&many), 100000);
    assert_int_equal(atomic_load(&few), 2);
    wg_errgroup_release(a);
    wg_errgroup_release(b);
    wg_pool_stop(pool);
    wg_pool_release(pool);
}

/* Plain tasks: wg_go. */
static atomic_int ran, destroyed;
static void run(void *unused) {
    (void)unused;
    atomic_fetch_add(&ran, 1);
}
static void destroy(void *unused) {
    (void)unused;
    atomic_fetch_add(&destroyed, 1);
}

static void tasks_of_a_plain_wait_group_run_and_count(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    for (int i = 0; i < 1000; i++)
        assert_status(wg_go(&wg, NULL, run, NULL, i % 2 ? destroy : NULL), WG_OK);
    assert_status(wg_wait(&wg, NULL), WG_OK);
    assert_int_equal(atomic_load(&ran), 1000);
    assert_int_equal(atomic_load(&destroyed), 500);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(many_tasks_that_all_wait_for_each_other_run),
        cmocka_unit_test(tasks_blocked_in_the_system_do_not_hold_up_the_others),
        cmocka_unit_test(tasks_behind_others_that_compute_get_their_turn),
        cmocka_unit_test(short_tasks_need_few_threads),
        cmocka_unit_test(a_group_with_many_tasks_does_not_hold_up_one_with_few),
        cmocka_unit_test(tasks_of_a_plain_wait_group_run_and_count),
    };
    return RUN("pool_growth", tests);
}
