/* go.c - tasks of a plain wait group. */
#include "waitgroup/waitgroup.h"

#include "frame.h"
#include "pool.h"
#include "trace.h"

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
    const char *name; /* may be NULL */
    struct wg_traced traced;
};
WG_KEPT_IN_SLABS(struct loose_task);

/* A task from the moment that a thread takes it, on the stack of that thread, beneath all that the task calls. It has left
 * its slab: its function may take long. A step is counted before it is made: if the thread ends inside one, wg_finish goes
 * on with the next. */
struct life {
    enum { RUN, DROP, TELL, LEAVE, TELL_LAST, RELEASE, OVER } step;
    bool skip;   /* it shall not start */
    bool simple; /* it is of wg_go */
    wg_how how;
    struct loose_task task;
    wg_error *error;
    int64_t began; /* if it is traced */
    struct wg_frame frame;
};

/* How the task ends, unless its function returns, is known before. */
static void run_function(struct life *life) {
    struct loose_task *task = &life->task;
    life->how = life->skip ? WG_NEVER_STARTED : WG_TASK_FAILED;
    if (life->skip)
        return;
    if (task->traced.taken)
        life->began = wg_now();
    if (life->simple)
        task->as.simple.fn(task->arg);
    else
        life->error = task->as.whole.fn(task->arg, NULL);
    life->how = life->error ? WG_TASK_FAILED : WG_SUCCEEDED;
}

static void drop_error(struct life *life) {
    if (life->began)
        wg_trace_ended(life->task.traced, life->task.name, "", life->began, life->how, life->error);
    wg_error_release(life->error);
}

static void tell(const struct life *life) {
    const struct loose_task *task = &life->task;
    if (!life->simple && task->as.whole.settled)
        task->as.whole.settled(task->arg, life->how);
    else if (life->simple && task->as.simple.destroy)
        task->as.simple.destroy(task->arg);
}

static void tell_last(const struct life *life) {
    if (!life->simple && life->task.as.whole.ended)
        life->task.as.whole.ended(life->task.arg);
}

static void live(void *raw) {
    struct life *life = raw;
    while (life->step < OVER)
        switch (life->step++) {
        case RUN: run_function(life); break;
        case DROP: drop_error(life); break;
        case TELL: tell(life); break;
        case LEAVE:
            wg_frame_pop(&life->frame);
            wg_done(life->task.wg);
            break;
        case TELL_LAST: tell_last(life); break;
        case RELEASE: wg_pool_release(life->task.pool); break;
        case OVER: break;
        }
}

static void live_from_start(struct wg_work *work, bool skip, bool simple) {
    struct life life = {.step = RUN, .skip = skip, .simple = simple, .task = *(struct loose_task *)work};
    wg_work_free(work);
    const struct wg_frame *outer = wg_thread()->frame;
    life.frame.tasks = life.task.wg; /* all that is called for the task before it counts as done is part of it */
    life.frame.ctx = skip && outer ? outer->ctx : NULL;
    life.frame.arg = life.task.arg;
    wg_frame_push(&life.frame);
    wg_finish(live, &life);
}

static void run_simple(struct wg_work *work, bool skip) { live_from_start(work, skip, true); }
static void run_whole(struct wg_work *work, bool skip) { live_from_start(work, skip, false); }

static wg_status submit(struct loose_task *task, wg_pool *pool) {
    pool = wg_pool_or_default(pool);
    wg_status status = wg_add(task->wg, 1);
    if (status != WG_OK)
        return status;
    task->pool = wg_pool_retain(pool);
    task->traced = wg_trace_taken(task->name, "");
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
    struct loose_task loose = {.work = {.run = run_whole}, .wg = wg, .arg = task->arg, .name = task->name};
    loose.as.whole.fn = task->fn;
    loose.as.whole.settled = task->settled;
    loose.as.whole.ended = task->ended;
    return submit(&loose, task->pool);
}
