/* frame.h - which tasks a thread runs.
 *
 * A frame is on the stack of the thread that runs the task; the innermost is wg_thread()->frame. Frames belong to their thread:
 * other threads read those of a published wait (waits.h), and no others. A task that waits without a thread has frames of
 * its own, with its record. */
#ifndef WG_FRAME_H
#define WG_FRAME_H

#include "waitgroup/context.h"
#include "waitgroup/errgroup.h"
#include "waitgroup/waitgroup.h"

#include "list.h"
#include "os.h"

struct wg_wait_record;

struct wg_frame {
    /* What counts the task: a wait group, or that of its error group, or whatever stands for what waits for it: only
     * compared. NULL: this is no task, see wg_context_run. */
    const void *tasks;
    wg_context *ctx;          /* NULL if it is a task of a plain wait group */
    const wg_errgroup *group; /* NULL if it is a task of a plain wait group */
    const void *arg;          /* which task it is */
    const char *name;         /* for people; NULL: not known */
    struct wg_frame *outer;
    struct wg_link link;             /* this and the next belong to deadlock.c; not set before a wait is published */
    struct wg_wait_record *waits_in; /* the wait that this task is in */
};

/* `frame->tasks`, `ctx`, `group`, `arg` and `name` are set. */
static inline void wg_frame_push(struct wg_frame *frame) {
    struct wg_thread *self = wg_thread();
    frame->outer = self->frame;
    self->frame = frame;
}

static inline void wg_frame_pop(const struct wg_frame *frame) { wg_thread()->frame = frame->outer; }

/* Call `fn(arg)` in this frame, whose first fields are set. */
void wg_call_in_frame(struct wg_frame frame, void (*fn)(void *arg), void *arg);

/* wg_scope_enter with this frame. */
void wg_scope_enter_frame(wg_scope *scope, struct wg_frame frame);

/* The innermost of `frame` and those outside of it that is a task; NULL if there is none. */
static inline struct wg_frame *wg_task_frame(struct wg_frame *frame) {
    while (frame && !frame->tasks)
        frame = frame->outer;
    return frame;
}

/* Does this thread run a task counted by `tasks`? */
static inline bool wg_runs_task_of(const void *tasks) {
    const struct wg_frame *frame = wg_thread()->frame;
    while (frame && frame->tasks != tasks)
        frame = frame->outer;
    return frame;
}

#endif
