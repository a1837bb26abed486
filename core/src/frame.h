/* frame.h - which tasks a thread runs.
 *
 * A frame is on the stack of the thread that runs the task; the innermost is wg_self()->frame. A task of the caller's own
 * making (wg_errgroup_enter) has no frame. Frames belong to their thread: no other thread reads them. */
#ifndef WG_FRAME_H
#define WG_FRAME_H

#include "waitgroup/context.h"
#include "waitgroup/waitgroup.h"

#include "os.h"

struct wg_frame {
    const wg_waitgroup *tasks; /* what counts the task: a wait group, or that of its error group */
    wg_context *ctx;           /* NULL if it is a task of a plain wait group */
    struct wg_frame *outer;
};

static inline void wg_frame_push(struct wg_frame *frame, const wg_waitgroup *tasks, wg_context *ctx) {
    struct wg_self *self = wg_self();
    *frame = (struct wg_frame){.tasks = tasks, .ctx = ctx, .outer = self->frame};
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
