/* inspect.h - looking into a program that hangs, and at what a test leaves behind.
 *
 *     WAITGROUP_DUMP=USR1 ./program & kill -USR1 $!
 *
 * With WAITGROUP_DUMP in the environment, the name of a signal without SIG or its number, the library writes to the standard
 * error of the process what wg_dump tells whenever that signal comes. */
#ifndef WAITGROUP_INSPECT_H
#define WAITGROUP_INSPECT_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Write to the descriptor `fd`, for people, what the library knows of the process: each error group with its tasks, for how
 * long they have run, in which thread, and what they wait for; what other threads wait for in the library; the pools. What
 * is stuck comes first. The names of running tasks are known of groups with `track` or a grace period, and of all groups
 * that are made after wg_dump_on_signal, or with WAITGROUP_DUMP.
 * Any thread, also inside a task; not in a signal handler: see wg_dump_on_signal. No interpreter's lock is needed, and no lock
 * of the library is held while it writes. No signal comes of a write that fails. WG_OK; WG_INVALID: fd is negative, or cannot be
 * written to, or does not block and took nothing for a second; WG_NO_MEMORY: what is
 * there has been written as far as there was memory for it. */
WG_API wg_status wg_dump(int fd);

/* The same as a text, for free(). NULL: there is no memory for it. */
WG_API char *wg_dump_text(void);

/* From now on, whenever the signal `signum` comes, a thread of the library calls wg_dump(fd). The handler of the signal is
 * replaced, for the whole process. It works whatever the program's own threads do. In the child of a fork the thread is
 * started by the first call of the library that looks, waits or observes. A call for another signal adds that one; `fd` is
 * that of the last call. WG_OK; WG_INVALID: there is no such signal, it cannot be caught, or fd is negative; WG_NO_THREADS,
 * WG_NO_FD. */
WG_API wg_status wg_dump_on_signal(int signum, int fd);

/* For the end of a test. Write to `fd` what is still there of groups made at `since` (see wg_now; WG_FOREVER, which is 0: all)
 * or later, each with a line: tasks that have not ended, with where and by whom the group was made, groups with tasks that
 * were never waited for, also if they are gone by now (the last 32 of them), failed ones whose errors nobody has waited for;
 * contexts that live and still have callbacks to call; and threads that have slept in the library since then. Returns how
 * many lines that were: 0 says that nothing leaks. A negative `fd` writes nothing. Tasks may end at any time: a test for leaks
 * must look again for a while before it reports them. */
WG_API unsigned wg_leaks(int fd, int64_t since);

/* The same as a text, for free(): "" if nothing leaks. NULL: there is no memory for it. */
WG_API char *wg_leaks_text(int64_t since);

#ifdef __cplusplus
}
#endif
#endif
