/* errgroup_start.c - how a task of an error group is started: take a slot, or a place ahead of the slots, and queue the task.
 *
 * Nothing is changed by a call that fails: the slot is given back. */
#include "errgroup_queue.h"
#include "errgroup_slots.h"
#include "errgroup_task.h"

#include <stdlib.h>

#include "count.h"

static const wg_until for_ever = {0};

/* The task is taken: if a timeline is written, it is traced from here on. */
static void trace(wg_errgroup *g, struct wg_traced_task *entry) {
    struct wg_work *work = &entry->named.task.work;
    entry->traced = wg_trace_taken(entry->named.name, wg_group_label(g));
    if (entry->traced.taken)
        work->run = work->run == wg_run_simple_task ? wg_run_simple_traced_task : wg_run_traced_task;
}

/* A task that has a place ahead of the slots. */
static wg_status place(wg_errgroup *g, wg_pool *pool, const struct wg_traced_task *task) {
    struct wg_stored_task *stored = wg_group_queue(g, pool) ? malloc(sizeof *stored) : NULL;
    if (!stored)
        return WG_NO_MEMORY;
    *stored = (struct wg_stored_task){.pool = pool, .task = *task};
    wg_group_store(g, stored);
    return WG_OK;
}

/* Without `until` it never blocks. */
static wg_status go(wg_errgroup *g, wg_pool *pool, struct wg_traced_task *task, const wg_until *until) {
    if (!g || !task->named.task.as.call.fn)
        return WG_INVALID;
    pool = pool ? pool : wg_pool_for_all(g->pool);
    bool placed = false;
    wg_status status = wg_group_take_slot(g);
    if (status == WG_LIMIT && until) {
        placed = g->slots.ahead > 0;
        if (placed)
            wg_group_watch_end(g);
        status = wg_group_wait_for_slot(g, until, placed);
    }
    if (status != WG_OK)
        return status;
    trace(g, task);
    status = placed ? place(g, pool, task) : wg_group_submit(g, pool, task);
    if (status != WG_OK)
        wg_group_give_slot(g);
    return status;
}

/* The simple form. */

static wg_status go_simply(wg_errgroup *g, struct wg_task_call call, const wg_until *until) {
    struct wg_traced_task task = {.named.task = {.work = {.run = wg_run_simple_task}, .group = g, .as.call = call}};
    return go(g, NULL, &task, until);
}

wg_status wg_errgroup_go(wg_errgroup *g, wg_task_fn fn, void *arg, void (*destroy)(void *arg), const wg_until *until) {
    return go_simply(g, (struct wg_task_call){fn, arg, NULL, destroy}, until ? until : &for_ever);
}

wg_status wg_errgroup_try_go(wg_errgroup *g, wg_task_fn fn, void *arg, void (*destroy)(void *arg)) {
    return go_simply(g, (struct wg_task_call){fn, arg, NULL, destroy}, NULL);
}

/* A wg_task. */

static struct wg_traced_task entry_of(wg_errgroup *g, const wg_task *task) {
    struct wg_task_call call = {task->fn, task->arg, task->settled, task->ended};
    struct wg_named_task named = {{.work = {.run = wg_run_task}, .group = g, .as.call = call}, task->name};
    return (struct wg_traced_task){.named = named};
}

static wg_status start(wg_errgroup *g, const wg_task *task, const wg_until *until) {
    if (!task)
        return WG_INVALID;
    struct wg_traced_task entry = entry_of(g, task);
    return go(g, task->pool, &entry, until);
}

wg_status wg_errgroup_start(wg_errgroup *g, const wg_task *task, const wg_until *until) {
    return start(g, task, until ? until : &for_ever);
}

wg_status wg_errgroup_try_start(wg_errgroup *g, const wg_task *task) { return start(g, task, NULL); }

/* In a slot that has been taken for the caller. */

wg_status wg_errgroup_start_slot(wg_errgroup *g, const wg_task *task) {
    if (!g)
        return WG_INVALID;
    wg_status status = wg_group_keep_slot(g, task && task->fn ? WG_OK : WG_INVALID);
    if (status != WG_OK)
        return status;
    struct wg_traced_task entry = entry_of(g, task);
    trace(g, &entry);
    status = wg_group_submit(g, task->pool ? task->pool : wg_pool_for_all(g->pool), &entry);
    if (status != WG_OK)
        wg_group_give_slot(g);
    return status;
}

wg_status wg_errgroup_enter_slot(wg_errgroup *g) {
    if (!g)
        return WG_INVALID;
    wg_status status = wg_group_keep_slot(g, WG_OK);
    if (status == WG_OK)
        wg_add_release64(&g->started, 1);
    return status;
}

wg_status wg_errgroup_give_slot(wg_errgroup *g) {
    if (!g)
        return WG_INVALID;
    if (wg_count(&g->slots.tasks) == 0)
        return WG_NEGATIVE;
    wg_group_give_slot(g);
    return WG_OK;
}

/* A task of the caller's making. */

wg_status wg_errgroup_enter(wg_errgroup *g) {
    if (!g)
        return WG_INVALID;
    wg_status status = wg_group_take_slot(g);
    if (status == WG_OK)
        wg_add_release64(&g->started, 1);
    return status;
}
