/* trace.h - the timeline of a program: which task ran in which thread, for how long, and what it waited for.
 *
 *     WAITGROUP_TRACE=timeline.json ./program
 *
 * The file holds Chrome trace events: Perfetto (ui.perfetto.dev), chrome://tracing and vizviewer open it. Each thread has a
 * track. A task is a slice of it, with its group, how long it was queued, how it ended, and the text of its error; an arrow
 * leads to it from the call that started it. What a task, or another thread, slept for in the library is a slice as well. An
 * error group, and a task that is bound to no thread, are on tracks of their own. A cancellation is a mark, with its cause.
 *
 * With WAITGROUP_TRACE in the environment, the library begins the timeline when it is loaded, and completes the file when the
 * process exits. The file is complete all the time, except for the last second or so of each thread: the program may be killed.
 * While another process writes the same file, the name gets a point and the number of this process behind it.
 *
 * The child of a fork writes nothing, unless it begins a timeline of its own. While none is written, the library asks once
 * for a task whether there is one. A timeline takes 1 MiB, whatever its length. */
#ifndef WAITGROUP_TRACE_H
#define WAITGROUP_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "errgroup.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Begin to write the timeline of this process to the file `path`, which is created or emptied. Any thread.
 * WG_OK; WG_INVALID: path is NULL; WG_TRACING: a timeline is being written already; WG_NO_FILE: the file cannot be written;
 * WG_NO_MEMORY. */
WG_API wg_status wg_trace_start(const char *path);

/* Complete the file: tasks, waits and groups that have not ended are in it, as "unfinished". Any thread.
 * WG_OK; WG_INVALID: no timeline is being written; WG_NOT_WRITTEN: a part could not be written, because the disk is full, say;
 * the file says how many events are missing. */
WG_API wg_status wg_trace_stop(void);

/* Is a timeline being written? */
WG_API bool wg_trace_on(void);

/* From now on a timeline shows this thread under `name`: of it, at most 31 bytes. Otherwise it has the name that the system
 * knows. */
WG_API void wg_trace_name_thread(const char *name);

/* The timeline that is being written shows the thread which the system knows by `number` (gettid) under `name`. */
WG_API void wg_trace_name(int32_t number, const char *name);

/* For a task of the caller's own making (wg_errgroup_enter), such as a coroutine: it has ended just now. `g`: its group, or
 * NULL; `name`, `error`: may be NULL; `taken`, `began`: when it was handed in, and when it began to run (see wg_now). It gets a
 * track of its own. Any thread; nothing happens while no timeline is written. */
WG_API void wg_trace_task(wg_errgroup *g, const char *name, int64_t taken, int64_t began, wg_how how,
                          const wg_error *error);

/* This thread has run a part of such a task, from `since` until now. */
WG_API void wg_trace_part(const char *name, int64_t since);

#ifdef __cplusplus
}
#endif
#endif
