/* frame.h - which tasks a thread runs.
 *
 * A frame is on the stack of the thread that runs the task; the innermost is wg_self()->frame. A task of the caller's own
 * making (wg_errgroup_enter) has no frame. Frames belong to their thread: other threads read those of a
 * published wait (deadlock.h), and no others. */
#ifndef WG_FRAME_H
#define WG_FRAME_H

#include "waitgroup/context.h"
#include "waitgroup/errgroup.h"
#include "waitgroup/waitgroup.h"

#include "os.h"

struct wg_frame {
    const wg_waitgroup
        *tasks;      /* what counts the task: a wait group, or that of its error group; NULL: this is no task, see
                                  wg_context_run */
    wg_context *ctx; /* NULL if it is a task of a plain wait group */
    const wg_errgroup *group; /* NULL if it is a task of a plain wait group */
    const void *arg;          /* which task it is */
    struct wg_frame *outer;
    struct wg_link link;        /* this and the next belong to deadlock.c; not set before a wait is published */
    struct wg_blocked *blocked; /* the wait that this task is in */
};

/* `frame->tasks`, `ctx`, `group` and `arg` are set. */
static inline void wg_frame_push(struct wg_frame *frame) {
    struct wg_self *self = wg_self();
    frame->outer = self->frame;
    self->frame = frame;
}

static inline void wg_frame_pop(const struct wg_frame *frame) { wg_self()->frame = frame->outer; }

/* How many tasks counted by `tasks` this thread runs, one inside a wait of another. */
static inline unsigned wg_tasks_run_of(const wg_waitgroup *tasks) {
    unsigned n = 0;
    for (const struct wg_frame *frame = wg_self()->frame; frame; frame = frame->outer)
        n += frame->tasks == tasks;
    return n;
}

static inline bool wg_runs_task_of(const wg_waitgroup *tasks) { return wg_tasks_run_of(tasks) > 0; }

#endif
