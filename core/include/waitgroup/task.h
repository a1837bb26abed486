/* task.h - what a worker runs, and how its owner is told of its end. */
#ifndef WAITGROUP_TASK_H
#define WAITGROUP_TASK_H

#include "context.h"
#include "error.h"
#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wg_pool wg_pool;

/* The function of a task. `ctx` is the context of its group, borrowed: look at it in long loops, or sleep on it. NULL:
 * the task succeeded. Else its error, whose reference passes to the group. */
typedef wg_error *(*wg_task_fn)(void *arg, wg_context *ctx);

/* How a task ended. */
typedef enum wg_how {
    WG_SUCCEEDED,
    WG_TASK_FAILED,  /* its error is one of the group's errors */
    WG_TASK_STOPPED, /* it returned an error of kind WG_ERROR_STOP after its own group was cancelled: that is no error */
    WG_NEVER_STARTED /* its group was cancelled, or its pool stopped, before it could start */
} wg_how;

/* A task. A zeroed field asks for nothing; only `fn` is needed. The struct is copied, what it points to is not.
 *
 * A task ends in this order: its error is recorded; the context of the group is cancelled, if this is the first error;
 * `settled` is called; the slot, the counts and what waits look at are given back; `ended` is called. So whoever is told
 * by `ended` finds room in the group, and what a wait of the group returns to finds all that `settled` stored. Both
 * functions are called exactly once for a task that was accepted, in the worker or in the thread that dropped the task,
 * with no lock held. `settled` is still part of the task: there a wait for the task's own group is WG_DEADLOCK. The group may
 * be gone when `ended` runs: `ended` may use `arg` only. */
typedef struct wg_task {
    wg_task_fn fn;
    void *arg;
    void (*settled)(void *arg, wg_how how); /* store the outcome, and give up what the task referred to */
    void (*ended)(void *arg);               /* tell whoever waits for this task; the last use of `arg` */
    wg_pool *pool;    /* where it runs; NULL: in the pool of its group, if that has one which is for all tasks, else
                                               in that of the process */
    const char *name; /* for people; valid until `ended` is called; may be NULL */
} wg_task;

#ifdef __cplusplus
}
#endif
#endif
