/* go.c - tasks of a plain wait group. */
#include "waitgroup/waitgroup.h"

#include "frame.h"
#include "pool.h"

struct loose_task {
    struct wg_work work;
    wg_pool *pool; /* a reference: queued, it may be all that is left of the pool */
    wg_waitgroup *wg;
    union {
        struct { /* of wg_start */
            wg_task_fn fn;
            void (*settled)(void *arg, wg_how how);
            void (*ended)(void *arg);
        } whole;
        struct { /* of wg_go */
            void (*fn)(void *arg);
            void (*destroy)(void *arg);
        } simple;
    } as;
    void *arg;
};
WG_KEPT_IN_SLABS(struct loose_task);

/* The task leaves its slab before it runs: its function may take long. */
static struct loose_task take(struct wg_work *work) {
    struct loose_task task = *(struct loose_task *)work;
    wg_work_free(work);
    return task;
}

static void run_simple(struct wg_work *work, bool skip) {
    struct loose_task task = take(work);
    if (!skip) {
        struct wg_frame frame;
        wg_frame_push(&frame, task.wg, NULL);
        task.as.simple.fn(task.arg);
        wg_frame_pop(&frame);
    }
    if (task.as.simple.destroy)
        task.as.simple.destroy(task.arg);
    wg_done(task.wg);
    wg_pool_release(task.pool);
}

static wg_how run_function(const struct loose_task *task) {
    struct wg_frame frame;
    wg_frame_push(&frame, task->wg, NULL);
    wg_error *error = task->as.whole.fn(task->arg, NULL);
    wg_frame_pop(&frame);
    wg_error_release(error);
    return error ? WG_TASK_FAILED : WG_SUCCEEDED;
}

static void run_whole(struct wg_work *work, bool skip) {
    struct loose_task task = take(work);
    wg_how how = skip ? WG_NEVER_STARTED : run_function(&task);
    if (task.as.whole.settled)
        task.as.whole.settled(task.arg, how);
    wg_done(task.wg);
    if (task.as.whole.ended)
        task.as.whole.ended(task.arg);
    wg_pool_release(task.pool);
}

static wg_status submit(struct loose_task *task, wg_pool *pool) {
    pool = wg_pool_or_default(pool);
    wg_status status = wg_add(task->wg, 1);
    if (status != WG_OK)
        return status;
    task->pool = wg_pool_retain(pool);
    status = wg_pool_submit(pool, wg_pool_loose(pool), &task->work, sizeof *task);
    if (status != WG_OK) {
        wg_done(task->wg);
        wg_pool_release(pool);
    }
    return status;
}

wg_status wg_go(wg_waitgroup *wg, wg_pool *pool, void (*fn)(void *arg), void *arg, void (*destroy)(void *arg)) {
    if (!wg || !fn)
        return WG_INVALID;
    struct loose_task task = {.work = {.run = run_simple}, .wg = wg, .arg = arg};
    task.as.simple.fn = fn;
    task.as.simple.destroy = destroy;
    return submit(&task, pool);
}

wg_status wg_start(wg_waitgroup *wg, const wg_task *task) {
    if (!wg || !task || !task->fn)
        return WG_INVALID;
    struct loose_task loose = {.work = {.run = run_whole}, .wg = wg, .arg = task->arg};
    loose.as.whole.fn = task->fn;
    loose.as.whole.settled = task->settled;
    loose.as.whole.ended = task->ended;
    return submit(&loose, task->pool);
}
