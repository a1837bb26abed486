/* tasks.h - tasks that the tests of error groups have in common. */
#ifndef TASKS_H
#define TASKS_H

#include "support.h"

static inline wg_errgroup *new_group(wg_errgroup_options options) {
    wg_errgroup *g;
    assert_status(wg_errgroup_new(&g, &options), WG_OK);
    return g;
}

static inline void go(wg_errgroup *g, wg_task_fn fn, void *arg) {
    assert_status(wg_errgroup_go(g, fn, arg, NULL, NULL), WG_OK);
}

static inline wg_error *succeed(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    return NULL;
}

static inline wg_error *fail_with(void *value, wg_context *ctx) {
    (void)ctx;
    return wg_error_new(WG_ERROR_FAILURE, value, NULL);
}

/* Sleeps until the group is cancelled, and says that it stopped for it. */
static inline wg_error *until_cancelled(void *unused, wg_context *ctx) {
    (void)unused;
    REQUIRE(wg_context_wait(ctx, NULL) == WG_OK);
    return wg_context_error(ctx);
}

/* Counts the task, whatever it is. */
static inline wg_error *count(void *counter, wg_context *ctx) {
    (void)ctx;
    atomic_fetch_add((atomic_int *)counter, 1);
    return NULL;
}

/* Computes until the flag is set. */
static inline wg_error *compute_until(void *flag, wg_context *ctx) {
    (void)ctx;
    while (!atomic_load((atomic_bool *)flag)) {}
    return NULL;
}

/* A gate that holds up all who come, cancelled or not, until it is opened. */
struct gate {
    atomic_int inside;
    atomic_bool open;
};

static inline wg_error *pass_gate(void *raw, wg_context *ctx) {
    struct gate *gate = raw;
    (void)ctx;
    atomic_fetch_add(&gate->inside, 1);
    EVENTUALLY(atomic_load(&gate->open));
    atomic_fetch_sub(&gate->inside, 1);
    return NULL;
}

static inline void gate_open(struct gate *gate) { atomic_store(&gate->open, true); }

#endif
