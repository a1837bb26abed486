/* errgroup.h - run tasks together: wait for all, let the first error stop the rest.
 *
 * After Go's x/sync/errgroup, with what that lacks: a wait that can time out, a `go` that wakes when the group is
 * cancelled, all the errors, a limit that can change, a grace period, and a word when it would deadlock.
 *
 *     wg_errgroup *g;
 *     wg_errgroup_new(&g, &(wg_errgroup_options){ .limit = 4 });
 *     for (int i = 0; i < n && wg_errgroup_go(g, fetch, &jobs[i], NULL, NULL) == WG_OK; i++) {}
 *     wg_error *first;
 *     wg_status s = wg_errgroup_wait(g, NULL, &first);
 *     wg_errgroup_release(g);
 *
 * Single use: once wg_errgroup_wait has given the outcome, no more tasks are taken and the outcome stays. All calls may
 * be made from any thread. */
#ifndef WAITGROUP_ERRGROUP_H
#define WAITGROUP_ERRGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "error.h"
#include "pool.h"
#include "status.h"
#include "task.h"
#include "until.h"
#include "waitgroup.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wg_errgroup wg_errgroup;

/* A zeroed struct, or NULL in its place, asks for nothing special. */
typedef struct wg_errgroup_options {
    wg_context *parent; /* the group is cancelled with it; NULL and wg_context_root() as in wg_context_new */
    int64_t deadline;   /* then the group is cancelled; see until.h */
    int64_t grace;      /* nanoseconds that a wait gives the tasks to end once the group is cancelled, before it leaves
                            them behind; 0: as long as they need */
    int limit;          /* how many tasks may have a slot at once, which they need to run; 0: any number */
    int backlog;   /* how many more tasks may be queued ahead of the slots before wg_errgroup_start blocks. What never
                            blocks takes a slot or nothing. 0: none */
    wg_pool *pool; /* where tasks run that name no pool, see own_tasks_only; NULL: the pool of the process */
    const char *name;     /* for people; copied; NULL: none */
    const char *language; /* for people: in which the group was made; static; NULL: "C" */
    const char *where;    /* for people: where it was made, such as "fetch.py:12"; copied; NULL: not known */
    bool track; /* true: wg_errgroup_running knows the tasks; so it does of a group with a grace period. It costs
                               a task a lock and a look at the clock */
    bool continue_on_error; /* true: a failed task does not cancel the others. The outcome is the first error all the
                               same, and all errors are listed */
} wg_errgroup_options;

/* A new group with one reference, the caller's. WG_OK; WG_NO_MEMORY; WG_NO_THREADS: none to keep the deadline;
 * WG_INVALID: out is NULL, or limit, backlog or
 * grace negative. */
WG_API wg_status wg_errgroup_new(wg_errgroup **out, const wg_errgroup_options *options);

/* One reference more or less; NULL is allowed. Unfinished tasks refer to their group, so giving it up is safe at any
 * time; they go on. */
WG_API wg_errgroup *wg_errgroup_retain(wg_errgroup *g);
WG_API void wg_errgroup_release(wg_errgroup *g);

/* Run `task` in a worker; see task.h. Blocks at the limit until there is a slot or the group is cancelled. A task that
 * has not started when the group is cancelled never starts: it is settled as WG_NEVER_STARTED, and ends.
 * On anything but WG_OK nothing changed, and no function of the task is called:
 * WG_CANCELLED, WG_DEADLINE_EXCEEDED: the group is cancelled; see wg_context_cause. WG_FINISHED: the outcome has been
 * given. WG_DEADLOCK, WG_TIMEOUT, WG_CONTEXT_ENDED, WG_INTERRUPTED: see until.h. WG_FORKED, WG_NO_MEMORY, WG_NO_THREADS,
 * WG_OVERFLOW, WG_STOPPED, WG_INVALID. */
WG_API wg_status wg_errgroup_start(wg_errgroup *g, const wg_task *task, const wg_until *until) WG_MUST_USE;

/* The same, but never blocks: WG_LIMIT when there is no slot now. */
WG_API wg_status wg_errgroup_try_start(wg_errgroup *g, const wg_task *task) WG_MUST_USE;

/* The simple forms of the two: run `fn(arg, ctx)`, then `destroy(arg)` (may be NULL) in the place of `settled`. */
WG_API wg_status wg_errgroup_go(wg_errgroup *g, wg_task_fn fn, void *arg, void (*destroy)(void *arg),
                                const wg_until *until) WG_MUST_USE;
WG_API wg_status wg_errgroup_try_go(wg_errgroup *g, wg_task_fn fn, void *arg, void (*destroy)(void *arg)) WG_MUST_USE;

/* Wait until every task has ended, or the grace period is over, and give the outcome; the group's context ends with it.
 * `first`: NULL, or where to store, borrowed for as long as the caller refers to `g`, the error that decided (or NULL).
 * An outcome, the same at every later call:
 *   WG_OK                 all tasks succeeded, or the group, or its parent, was cancelled without a cause: a stop
 *   WG_FAILED             a task failed; *first is the first error in time
 *   WG_CANCELLED          it, or its parent, was cancelled with a cause, which *first is
 *   WG_DEADLINE_EXCEEDED  its deadline or the parent's passed; *first is the cause, if any
 * Not an outcome: WG_TIMEOUT, WG_CONTEXT_ENDED, WG_INTERRUPTED: see until.h; WG_DEADLOCK: see there, or called from a task of this
 * group, however long it would wait; WG_FORKED: tasks were left in the parent process; WG_INVALID. An outcome while wg_count of
 * wg_errgroup_tasks is not zero means that the grace period ended first; those tasks' memory stays valid until they end.
 * Inside a task, with NULL as until->context, a group that ends with the context of that task, as one does that was made
 * there, is waited for all the same: its tasks have been told to stop, and may use what the caller is about to give up.
 * A wait without deadline, context, grace and interruptible may itself run tasks of the group that have not started, if
 * the pool lets callers help; the pool of the process does. */
WG_API wg_status wg_errgroup_wait(wg_errgroup *g, const wg_until *until, wg_error **first);

/* Wait for one task: wg_wait of `ended`, which the task's `ended` function takes to zero. It says which task that is, so that
 * a deadlock is noticed: the one of `g` with this `arg`. No other unfinished task of `g` may have the same `arg`. Returns as
 * wg_wait does; WG_INVALID: g or ended is NULL. */
WG_API wg_status wg_errgroup_wait_task(wg_errgroup *g, const void *arg, wg_waitgroup *ended, const wg_until *until);

/* Cancel the group: the same as wg_context_cancel of its context. Without a cause it is a stop, not an error. */
WG_API wg_status wg_errgroup_cancel(wg_errgroup *g, wg_error *cause);

/* The limit, 0 for none; and a new one, at any time: more room lets blocked calls in, less takes effect as tasks end.
 * wg_errgroup_set_limit: WG_OK; WG_INVALID: limit is zero or negative (WG_NO_LIMIT lifts it) or g is NULL. */
#define WG_NO_LIMIT INT32_MAX
WG_API int wg_errgroup_limit(const wg_errgroup *g);
WG_API wg_status wg_errgroup_set_limit(wg_errgroup *g, int limit);

/* What it was made with: its name, "" for none, valid as long as the caller refers to `g`; its grace period; its
 * backlog. */
WG_API const char *wg_errgroup_name(const wg_errgroup *g);
WG_API int64_t wg_errgroup_grace(const wg_errgroup *g);
WG_API int wg_errgroup_backlog(const wg_errgroup *g);
WG_API bool wg_errgroup_continues(const wg_errgroup *g); /* after an error: continue_on_error */

/* The context that its tasks get, borrowed. */
WG_API wg_context *wg_errgroup_context(wg_errgroup *g);

/* Copies up to `capacity` of the errors of tasks so far into `errors` (NULL: none), in the order in which they failed, borrowed for
 * as long as the caller refers to `g`; returns how many there are. */
WG_API size_t wg_errgroup_errors(wg_errgroup *g, wg_error **errors, size_t capacity);

/* The numbers of tasks that are queued, that run, and that have ended in whatever way. A task that never starts is never
 * counted as running, and `running` never exceeds the limit, unless that was lowered. The three numbers are read one
 * after the other, not atomically: while tasks start and end, their sum may be wrong. */
typedef struct wg_errgroup_counts {
    unsigned long pending, running, completed;
} wg_errgroup_counts;
WG_API wg_errgroup_counts wg_errgroup_get_counts(wg_errgroup *g);

/* Call `fn(arg, name, duration)` for each task of the library's making that runs now, in the order in which they started:
 * its name, "" for none, at most 79 bytes of it, and for how many nanoseconds it has run. Without any lock held; the tasks
 * may have ended by then. Only of a group with `track` or a grace period. Returns how many there were; without memory `fn` may
 * be called for the first 16 only. `fn` may be NULL. 0 of NULL. */
WG_API size_t wg_errgroup_running(wg_errgroup *g, void (*fn)(void *arg, const char *name, int64_t duration), void *arg);

/* Write what there is to know of the group to `buffer`, of `size` bytes, as one line for people, with as many of the running
 * tasks as fit. Returns how long the whole line is, without its end, as snprintf does; buffer may be NULL if size is 0. */
WG_API size_t wg_errgroup_describe(wg_errgroup *g, char *buffer, size_t size);

/* The wait group that counts unfinished tasks, borrowed: for wg_count, wg_zero and wg_watch_new only. */
WG_API wg_waitgroup *wg_errgroup_tasks(wg_errgroup *g);

/* A task of the caller's own making, such as a coroutine: it counts as a running task from wg_errgroup_enter to
 * wg_errgroup_leave. Enter returns as wg_errgroup_try_go does, without needing a thread. Leave takes the reference to
 * `error` (or NULL), with which the task ends; without memory, an error other than the first is not listed.
 * wg_errgroup_settle does the first half of that, and tells in *how (may be NULL) what wg_task.settled is told; the task
 * still counts as running, until wg_errgroup_leave(g, NULL).
 * Both: WG_OK; WG_NEGATIVE: no task is unfinished; WG_INVALID: g is NULL; then `error` stays the caller's. While other
 * tasks are unfinished, a leave too many is not noticed: it ends one of them too early. */
WG_API wg_status wg_errgroup_enter(wg_errgroup *g) WG_MUST_USE;
/* Call `fn(arg)` in this thread as the task `task` of the group, which has been entered and not left: it has the context of
 * the group there, as in wg_context_run, and its waits are those of a task, so that a deadlock is noticed. `task`: any
 * address, see wg_errgroup_wait_task. WG_OK; WG_INVALID: g or fn is NULL. */
WG_API wg_status wg_errgroup_run(wg_errgroup *g, const void *task, void (*fn)(void *arg), void *arg);
WG_API wg_status wg_errgroup_settle(wg_errgroup *g, wg_error *error, wg_how *how);
WG_API wg_status wg_errgroup_leave(wg_errgroup *g, wg_error *error);

/* What to do with a slot that has been taken for the caller: see wg_slot in event.h. Enter it with a task of the caller's own
 * making, start a task of the library's in it, or give it back. The first two return WG_OK, or what wg_errgroup_try_start
 * does except WG_LIMIT: then the slot has been given back. wg_errgroup_give_slot: WG_OK; WG_NEGATIVE: no task is unfinished;
 * WG_INVALID. */
WG_API wg_status wg_errgroup_enter_slot(wg_errgroup *g) WG_MUST_USE;
WG_API wg_status wg_errgroup_start_slot(wg_errgroup *g, const wg_task *task) WG_MUST_USE;
WG_API wg_status wg_errgroup_give_slot(wg_errgroup *g);

#ifdef __cplusplus
}
#endif
#endif
