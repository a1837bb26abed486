/* waiting.h - waits that take no thread: those of coroutines, of async functions, of whatever waits by an observer.
 *
 * The library sees that a thread waits in one of its calls. Told of the other waits as well, it shows them in dumps, and
 * notices the deadlocks that they are part of: see WG_DEADLOCK in until.h.
 *
 *     wg_event_observe(wg_outcome(g), &observer, wake, me);
 *     wg_status s = wg_waiting_begin(&waiting, &(wg_waiting_for){ .task = &me->task, .event = wg_outcome(g),
 *                                                                 .observer = &observer }, &report);
 *     ... if s is WG_OK, sleep until `wake` was called ...
 *     wg_waiting_end(waiting);
 *
 * Until wg_waiting_end nothing of the task may go on; so the wait ends before whatever was woken runs. */
#ifndef WAITGROUP_WAITING_H
#define WAITGROUP_WAITING_H

#include <stdbool.h>
#include <stdint.h>

#include "context.h"
#include "errgroup.h"
#include "event.h"
#include "observer.h"
#include "status.h"
#include "until.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A task of the caller's own making. What it points to is valid during its waits; the name is copied. */
typedef struct wg_waiting_task {
    wg_errgroup *group;     /* that it has entered, by wg_errgroup_enter; NULL: none */
    const wg_waitgroup *wg; /* or the wait group that counts it; NULL: none */
    const void *also;       /* an address that stands for something else which waits for the task; NULL: nothing does */
    const void *arg;        /* which task it is; not NULL */
    wg_context *context;    /* the context that it has; NULL: none */
    const char *name;       /* for people; NULL: it has none */
} wg_waiting_task;

/* wg_scope_enter, see context.h, for code of this task: it has the task's context there, and where it makes the thread wait, that is
 * a wait of the task. WG_OK; WG_INVALID: a NULL argument. */
WG_API wg_status wg_scope_enter_task(wg_scope *scope, const wg_waiting_task *task);

typedef struct wg_waiting_for {
    const wg_waiting_task
        *task;              /* that waits; NULL: the tasks that this thread runs, which goes on with other things */
    wg_event event;         /* what it waits for; zeroed: see `also` */
    const void *also;       /* the end of all tasks with this address, or with `arg`, of the one that has it */
    wg_errgroup *group;     /* with `arg`: in which the task is */
    const wg_waitgroup *wg; /* or what counts it; NULL: it has the address `also` */
    const void *arg;        /* the end of one task: that with this `arg`; NULL: it is not for a task */
    wg_observer *observer;  /* by which it is told of the event; NULL: the caller ends the wait when it comes */
    wg_context *context;    /* whose end ends the wait; NULL or the root: none */
    int64_t deadline;       /* see until.h */
    bool doubtful;          /* something else may end it: then it is shown, and part of no deadlock */
    const wg_place *place;  /* where it is; copied */
    const char *text;       /* what it waits for in words, static; NULL: the library knows */
} wg_waiting_for;

typedef struct wg_waiting wg_waiting;

/* A wait begins. The observer, if there is one, has been given to wg_event_observe before.
 * WG_OK. WG_DEADLOCK: it would never end; there is no wait, and *report is a text of its steps, for free(), or NULL without
 * memory. WG_NO_MEMORY: the library does not know of it, *out is NULL, and the caller waits all the same. WG_INVALID: a NULL
 * argument. */
WG_API wg_status wg_waiting_begin(wg_waiting **out, const wg_waiting_for *what, char **report);

/* It is over; NULL is allowed. In the same thread as its beginning, if it was for the tasks of the thread. Returns NULL, or,
 * when the observer of a slot was told of WG_DEADLOCK, a report as above. */
WG_API char *wg_waiting_end(wg_waiting *waiting);

#ifdef __cplusplus
}
#endif
#endif
