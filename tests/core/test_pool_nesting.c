/* Groups inside tasks of groups, to any depth, never deadlock for lack of threads. */
#include "tasks.h"

#include <stddef.h>

static wg_pool *pool; /* NULL: the process's */
static atomic_int leaves;

/* A binary tree of groups: each task makes a group of two below it and waits for it. */
static wg_error *node(void *depth, wg_context *ctx) {
    (void)ctx;
    if (depth == NULL) {
        atomic_fetch_add(&leaves, 1);
        return NULL;
    }
    wg_errgroup *g;
    REQUIRE(wg_errgroup_new(&g, &(wg_errgroup_options){.pool = pool}) == WG_OK);
    for (int i = 0; i < 2; i++)
        REQUIRE(wg_errgroup_go(g, node, (void *)((intptr_t)depth - 1), NULL, NULL) == WG_OK);
    REQUIRE(wg_errgroup_wait(g, NULL, NULL) == WG_OK);
    wg_errgroup_release(g);
    return NULL;
}

static void grow_tree(void) {
    atomic_store(&leaves, 0);
    wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool});
    go(g, node, (void *)(intptr_t)8);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(atomic_load(&leaves), 256);
    wg_errgroup_release(g);
}

static void a_tree_of_groups_in_the_pool_of_the_process(void **state) {
    (void)state;
    for (int i = 0; i < effort(3); i++)
        grow_tree();
}

static void a_tree_of_groups_where_callers_do_not_help(void **state) {
    (void)state;
    for (unsigned cores = 1; cores <= 4; cores += 3) {
        assert_status(wg_pool_new(&pool, &(wg_pool_host){.cores = cores}), WG_OK);
        grow_tree();
        wg_pool_stop(pool);
        wg_pool_release(pool);
    }
    pool = NULL;
}

/* A chain: each task waits with a deadline, so that it cannot run the next one itself. */
static wg_error *link(void *depth, wg_context *ctx) {
    (void)ctx;
    if (depth == NULL)
        return NULL;
    wg_errgroup *g;
    REQUIRE(wg_errgroup_new(&g, NULL) == WG_OK);
    REQUIRE(wg_errgroup_go(g, link, (void *)((intptr_t)depth - 1), NULL, NULL) == WG_OK);
    REQUIRE(wg_errgroup_wait(g, AFTER(HANG), NULL) == WG_OK);
    wg_errgroup_release(g);
    return NULL;
}

static void a_deep_chain_of_waits_with_deadlines(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    go(g, link, (void *)(intptr_t)100);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

static void a_deep_chain_of_waits_that_help(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    go(g, node, NULL);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
    g = new_group((wg_errgroup_options){0});
    for (int i = 0; i < 20; i++)
        go(g, link, (void *)(intptr_t)20);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

/* A plain wait in a task for plain tasks. */
static void leaf(void *unused) {
    (void)unused;
    atomic_fetch_add(&leaves, 1);
}

static void branch(void *unused) {
    (void)unused;
    wg_waitgroup wg = WG_INIT;
    for (int i = 0; i < 10; i++)
        REQUIRE(wg_go(&wg, NULL, leaf, NULL, NULL) == WG_OK);
    REQUIRE(wg_wait(&wg, NULL) == WG_OK);
}

static void plain_tasks_that_wait_for_plain_tasks(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    atomic_store(&leaves, 0);
    for (int i = 0; i < 100; i++)
        assert_status(wg_go(&wg, NULL, branch, NULL, NULL), WG_OK);
    assert_status(wg_wait(&wg, NULL), WG_OK);
    assert_int_equal(atomic_load(&leaves), 1000);
}

/* A limit at every level. */
static wg_error *limited(void *depth, wg_context *ctx) {
    (void)ctx;
    wg_errgroup *g;
    if (depth == NULL)
        return NULL;
    REQUIRE(wg_errgroup_new(&g, &(wg_errgroup_options){.limit = 1}) == WG_OK);
    for (int i = 0; i < 3; i++)
        REQUIRE(wg_errgroup_go(g, limited, (void *)((intptr_t)depth - 1), NULL, NULL) == WG_OK);
    REQUIRE(wg_errgroup_wait(g, NULL, NULL) == WG_OK);
    wg_errgroup_release(g);
    return NULL;
}

static void a_limit_of_one_at_every_level(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.limit = 1});
    for (int i = 0; i < 3; i++)
        go(g, limited, (void *)(intptr_t)5);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tree_of_groups_in_the_pool_of_the_process),
        cmocka_unit_test(a_tree_of_groups_where_callers_do_not_help),
        cmocka_unit_test(a_deep_chain_of_waits_with_deadlines),
        cmocka_unit_test(a_deep_chain_of_waits_that_help),
        cmocka_unit_test(plain_tasks_that_wait_for_plain_tasks),
        cmocka_unit_test(a_limit_of_one_at_every_level),
    };
    return RUN("pool_nesting", tests);
}
