/* trace.h - what happens, as events of a timeline.
 *
 * A task that is taken while a timeline is written is *traced*: where it is queued there are also its number, which the
 * arrow to it bears, and the time. So a task costs one load of `wg_trace_state` when it is taken, and nothing later. A wait
 * looks at it when it has slept; a cancellation and the end of a group when they happen.
 *
 * What is unfinished when the file is completed is told by the thread that completes it, from a snapshot (inspect.h) that
 * is taken after `wg_trace_state` has changed. A task, a wait and a group leave the lists that the snapshot is taken from
 * before they look at `wg_trace_state`: so none is told twice. */
#ifndef WG_TRACE_H
#define WG_TRACE_H

#include "waitgroup/error.h"
#include "waitgroup/task.h"

#include "atomics.h"
#include "os.h"
#include "waits.h"

#define WG_TRACE_LABEL 80 /* so much of what an object is called, with its end */

enum { WG_TRACE_OFF, WG_TRACE_ON, WG_TRACE_CHANGING };
extern wg_a32 wg_trace_state;
static inline bool wg_trace_is_on(void) { return wg_load_relaxed32(&wg_trace_state) == WG_TRACE_ON; }

/* When a task was taken, and under which number; zeroed: it is not traced. */
struct wg_traced {
    int64_t taken;
    uint64_t number;
};

/* If a timeline is written, tell that a task is taken here; `name` may be NULL. */
struct wg_traced wg_trace_taken(const char *name, const char *group);

/* The task has ended in this thread. */
void wg_trace_ended(struct wg_traced task, const char *name, const char *group, int64_t began, wg_how how,
                    const wg_error *error);

/* This thread has slept, if a timeline is written. `status`: of the wait, WG_OK if what it waited for has come. */
void wg_trace_slept(const struct wg_wait_record *record, wg_status status);

/* A wait that takes no thread is over, if a timeline is written. */
void wg_trace_waited(const struct wg_wait_record *record);

/* Something called `label`, or "", has been cancelled, or its deadline has passed. */
void wg_trace_cancelled(const char *label, wg_status status, const wg_error *cause);

/* A group, known by its address, has its outcome. */
void wg_trace_group(const void *group, const char *label, const char *where, const char *language, int64_t made,
                    wg_status outcome);

/* What has not ended: a task and a wait of a thread, a wait that takes none, and a group. */
void wg_trace_unfinished_task(struct wg_thread_id thread, const char *name, const char *group, int64_t began);
void wg_trace_unfinished_wait(struct wg_thread_id thread, const struct wg_wish *wish, int64_t began);
void wg_trace_unfinished_waiting(const char *task, const struct wg_wish *wish, int64_t began);
void wg_trace_unfinished_group(const void *group, const char *label, const char *where, const char *language,
                               int64_t made);

/* How many events could not be written: the last line of a file; returns its length. */
size_t wg_trace_missing(char *text, size_t size, unsigned long lines);

/* The first line of a new file; returns its length. From now on each thread tells its name once more. */
size_t wg_trace_first(char *line, size_t size);

/* For fork.c, in the child: no timeline is written there. */
void wg_trace_reset(void);

/* Of errgroup_look.c: what the group with this count of tasks is called; false if there is no such group. Takes the lock of its
 * bucket. */
bool wg_errgroup_label(const void *tasks, char label[WG_TRACE_LABEL]);

#endif
