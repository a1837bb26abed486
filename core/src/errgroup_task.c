/* errgroup_task.c - see errgroup_task.h. */
#include "errgroup_task.h"

#include <stdlib.h>

#include "context.h"
#include "count.h"
#include "errgroup_queue.h"
#include "errgroup_running.h"
#include "frame.h"

/* A task from the moment that a thread takes it, on the stack of that thread, beneath all that the task calls. A step is
 * counted before it is made: if the thread ends inside one, wg_finish goes on with the next. */
struct life {
    enum { RUN, RECORD, CANCEL, TELL, COUNT, GIVE, START, RELEASE, TELL_LAST, OVER } step, end;
    bool skip;   /* it shall not start */
    bool simple; /* it is of the simple form */
    bool named;  /* it is in the list of those that run, once it runs */
    bool first;  /* its error is the group's first */
    bool last;   /* after the step GIVE: the reference of the tasks is to be given up */
    bool kept;   /* after the step GIVE: so is one that has kept the group meanwhile */
    wg_how how;  /* after the step RECORD */
    wg_errgroup *group;
    struct wg_group_task *task; /* its memory until the step RECORD; NULL if it has none */
    struct wg_task_call call;   /* copied from there */
    wg_error *error;            /* from the step RECORD on the group's, or what is to be given up */
    struct wg_frame frame;      /* from the first step until the task counts as ended: see begin() */
    bool framed;
    struct wg_traced traced;
    struct wg_running_task running;
    /* Stored tasks that may start when this one has ended: in `own`, or in that of the life in which this task is dropped. */
    struct wg_link own, *ready;
};

/* To run. */

/* Until the task counts as ended, all that is called for it is part of the task: its function, the destructor of its
 * error, observers of the end that it brings about, `settled`. For none of them can the group come to zero. */
static void begin(struct life *life) {
    const struct wg_frame *outer = wg_thread()->frame;
    life->framed = true;
    life->frame.tasks = &life->group->slots.tasks;
    life->frame.ctx = outer ? outer->ctx : NULL;
    life->frame.group = life->group;
    life->frame.arg = life->call.arg;
    wg_frame_push(&life->frame);
}

static void end_frame(struct life *life) {
    if (life->framed)
        wg_frame_pop(&life->frame);
    life->framed = false;
}

/* With which error the task ends, unless its function returns, is known before. */
static void run_function(struct life *life) {
    wg_errgroup *g = life->group;
    life->how = WG_NEVER_STARTED;
    if (life->skip || wg_context_check(g->context) != WG_OK)
        return;
    wg_add_release64(&g->started, 1);
    life->how = WG_TASK_FAILED;
    life->error = wg_error_thread_ended();
    life->frame.ctx = g->context;
    life->frame.name = g->lists ? ((struct wg_named_task *)life->task)->name : NULL;
    if (life->named)
        wg_group_list(g, &life->running, ((struct wg_named_task *)life->task)->name, &life->frame);
    life->error = life->call.fn(life->call.arg, g->context);
}

/* To end. */

/* Is it the error of a task that stopped because its group was cancelled? That is no failure. */
static bool is_echo(const wg_errgroup *g, const wg_error *error) {
    return wg_error_get_kind(error) == WG_ERROR_STOP && wg_context_check(g->context) != WG_OK;
}

/* `task` failed with `error`: it becomes the entry in the list. False if there is no memory for one. */
static bool add_failure(wg_errgroup *g, struct wg_group_task *task, wg_error *error, bool *first) {
    struct wg_bucket *bucket = wg_group_bucket(g);
    wg_mutex_lock(&bucket->lock);
    *first = g->failures == 0;
    if (!task && *first)
        task = &g->last_resort;
    if (task) {
        task->as.failed.error = error;
        task->as.failed.next = NULL;
        *g->last_failed = task;
        g->last_failed = &task->as.failed.next;
        g->failures++;
    }
    wg_mutex_unlock(&bucket->lock);
    return task != NULL;
}

/* From here on the group has the error of a task that failed; any other is to be given up. The memory of the task goes. */
static void record_error(struct life *life) {
    wg_errgroup *g = life->group;
    if (life->error && !is_echo(g, life->error)) {
        struct wg_group_task *entry = life->task ? life->task : (struct wg_group_task *)wg_work_new(sizeof *entry);
        if (life->how != WG_NEVER_STARTED)
            life->how = WG_TASK_FAILED;
        if (add_failure(g, entry, life->error, &life->first) && !life->first)
            life->error = NULL;
        return;
    }
    if (life->how != WG_NEVER_STARTED)
        life->how = life->error ? WG_TASK_STOPPED : WG_SUCCEEDED;
    if (life->task)
        wg_work_free(&life->task->work);
}

static void record(struct life *life) {
    const wg_error *error = life->error;
    const struct wg_frame *outer = life->frame.outer;
    const struct wg_running_task *running = &life->running;
    life->frame.ctx = outer ? outer->ctx : NULL;
    if (running->since)
        wg_group_unlist(life->group, &life->running);
    record_error(life);
    if (running->since && life->traced.taken)
        wg_trace_ended(life->traced, running->name, wg_group_label(life->group), running->since, life->how, error);
}

/* The first error cancels the group, unless it continues. */
static void cancel_or_drop(struct life *life) {
    if (!life->first)
        wg_error_release(life->error);
    else if (!life->group->continues)
        wg_context_cancel(life->group->context, life->error);
}

static void tell(const struct life *life) {
    const struct wg_task_call *call = &life->call;
    if (!life->simple && call->settled)
        call->settled(call->arg, life->how);
    else if (life->simple && call->last)
        call->last(call->arg);
}

/* The end of the task in the counts for people. After this what is called is no part of the task. */
static void count(struct life *life) {
    wg_errgroup *g = life->group;
    end_frame(life);
    wg_add_relaxed64(life->how == WG_NEVER_STARTED ? &g->never_started : &g->ended, 1);
}

/* Give the slot back, or hand it over. */
static void give(struct life *life) {
    wg_errgroup *g = life->group;
    if (wg_slots_give_quickly(&g->slots, &life->last))
        return;
    wg_errgroup_retain(g);
    life->kept = true;
    wg_slots_give(&g->slots, life->ready, &life->last);
}

/* The step that is made again if the thread ends inside: each time fewer are left. */
static void start_all(struct life *life) {
    if (life->ready != &life->own || !wg_list_first(&life->own))
        return;
    life->step = START;
    wg_group_start_ready(life->group, &life->own);
    life->step = RELEASE;
}

/* If both are to be given up, the first is not the last one that there is. */
static void release(struct life *life) {
    bool last = life->last, kept = life->kept;
    life->last = life->kept = false;
    if (last)
        wg_errgroup_release(life->group);
    if (kept)
        wg_errgroup_release(life->group);
}

static void tell_last(const struct life *life) {
    if (!life->simple && life->call.last)
        life->call.last(life->call.arg);
}

static void live(void *raw) {
    struct life *life = raw;
    if (life->step <= RECORD && !life->framed)
        begin(life);
    while (life->step < life->end)
        switch (life->step++) {
        case RUN: run_function(life); break;
        case RECORD: record(life); break;
        case CANCEL: cancel_or_drop(life); break;
        case TELL: tell(life); break;
        case COUNT: count(life); break;
        case GIVE: give(life); break;
        case START: start_all(life); break;
        case RELEASE: release(life); break;
        case TELL_LAST: tell_last(life); break;
        case OVER: break;
        }
    end_frame(life);
}

static void go_through(struct life *life) {
    if (!life->ready)
        life->ready = &life->own;
    wg_finish(live, life);
}

/* Tasks of the library's making. */

static void live_from_start(struct wg_work *work, bool skip, bool simple, bool traced) {
    struct wg_group_task *task = (struct wg_group_task *)work;
    struct life life = {.step = RUN, .end = OVER, .skip = skip, .simple = simple, .group = task->group, .task = task};
    life.call = task->as.call;
    life.named = traced || task->group->lists;
    if (traced)
        life.traced = ((struct wg_traced_task *)task)->traced;
    go_through(&life);
}

void wg_run_task(struct wg_work *work, bool skip) { live_from_start(work, skip, false, false); }
void wg_run_simple_task(struct wg_work *work, bool skip) { live_from_start(work, skip, true, false); }
void wg_run_traced_task(struct wg_work *work, bool skip) { live_from_start(work, skip, false, true); }
void wg_run_simple_traced_task(struct wg_work *work, bool skip) { live_from_start(work, skip, true, true); }

static bool is_simple(const struct wg_group_task *task) {
    return task->work.run == wg_run_simple_task || task->work.run == wg_run_simple_traced_task;
}

/* End a task that was taken and cannot start. That may make others ready. */
static void drop(wg_errgroup *g, struct wg_stored_task *stored, wg_status why, struct wg_link *ready) {
    struct life life = {.step = RECORD, .end = OVER, .group = g, .how = WG_NEVER_STARTED, .ready = ready};
    life.call = stored->task.named.task.as.call;
    life.simple = is_simple(&stored->task.named.task);
    free(stored);
    if (why != WG_OK && why != WG_STOPPED)
        life.error = wg_errorf("a task that was queued ahead of the slots could not start: %s", wg_strstatus(why));
    go_through(&life);
}

/* A loop, not a recursion: there may be many. */
void wg_group_start_ready(wg_errgroup *g, struct wg_link *ready) {
    for (struct wg_link *link; (link = wg_list_first(ready));) {
        struct wg_stored_task *stored = WG_MEMBER(link, struct wg_stored_task, link);
        wg_list_remove(link);
        bool ended = wg_context_check(g->context) != WG_OK;
        wg_status status = ended ? WG_OK : wg_group_submit(g, stored->pool, &stored->task);
        if (ended || status != WG_OK)
            drop(g, stored, status, ready);
        else
            free(stored);
    }
}

void wg_group_give_slot(wg_errgroup *g) {
    struct life life = {.step = GIVE, .end = TELL_LAST, .group = g};
    go_through(&life);
}

/* Tasks of the caller's making. */

wg_status wg_errgroup_settle(wg_errgroup *g, wg_error *error, wg_how *how) {
    if (!g)
        return WG_INVALID;
    if (wg_count(&g->slots.tasks) == 0)
        return WG_NEGATIVE;
    struct life life = {.step = RECORD, .end = TELL, .group = g, .error = error, .how = WG_SUCCEEDED};
    go_through(&life);
    if (how)
        *how = life.how;
    return WG_OK;
}

/* Nothing is recorded, and nobody is told of the task: mostly one step is left. */
static void succeed(wg_errgroup *g) {
    bool last = false;
    wg_add_relaxed64(&g->ended, 1);
    if (!wg_slots_give_quickly(&g->slots, &last))
        wg_group_give_slot(g);
    else if (last)
        wg_errgroup_release(g);
}

wg_status wg_errgroup_leave(wg_errgroup *g, wg_error *error) {
    if (!g)
        return WG_INVALID;
    if (wg_count(&g->slots.tasks) == 0)
        return WG_NEGATIVE;
    if (!error) {
        succeed(g);
        return WG_OK;
    }
    struct life life = {.step = RECORD, .end = OVER, .group = g, .error = error, .how = WG_SUCCEEDED};
    go_through(&life);
    return WG_OK;
}

wg_status wg_errgroup_run(wg_errgroup *g, const void *task, void (*fn)(void *arg), void *arg) {
    if (!g || !fn)
        return WG_INVALID;
    struct wg_frame frame = {.tasks = &g->slots.tasks, .ctx = g->context, .group = g, .arg = task};
    wg_call_in_frame(frame, fn, arg);
    return WG_OK;
}
