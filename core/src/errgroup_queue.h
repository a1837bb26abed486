/* errgroup_queue.h - the tasks of an error group on their way to a worker: queued in a pool, or stored ahead of the slots. */
#ifndef WG_ERRGROUP_QUEUE_H
#define WG_ERRGROUP_QUEUE_H

#include "errgroup_state.h"
#include "pool.h"

/* Where the tasks of a group queue that run in a pool other than its own; NULL without memory. */
struct wg_queue *wg_group_other_queue(wg_errgroup *g, wg_pool *pool);

/* The queue of the group in `pool`; NULL without memory. */
static inline struct wg_queue *wg_group_queue(wg_errgroup *g, wg_pool *pool) {
    return pool == g->pool ? &g->queue : wg_group_other_queue(g, pool);
}

/* Queue a copy of `task`, as much of it as the group needs, in `pool`. Returns what wg_pool_submit does. */
static inline wg_status wg_group_submit(wg_errgroup *g, wg_pool *pool, const struct wg_traced_task *task) {
    struct wg_queue *queue = wg_group_queue(g, pool);
    size_t size = task->traced.taken ? sizeof *task : g->lists ? sizeof task->named : sizeof task->named.task;
    return queue ? wg_pool_submit(pool, queue, &task->named.task.work, size) : WG_NO_MEMORY;
}

/* The group is going: no task of it is queued any more. */
void wg_group_queues_end(wg_errgroup *g);

#endif
