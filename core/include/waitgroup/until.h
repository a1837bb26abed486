/* until.h - how long a blocking call may last: the one argument that every blocking call takes.
 *
 * Times are int64_t nanoseconds. Deadlines are absolute, on the clock of wg_now(), which is monotonic: changes of the
 * wall clock do not touch it. */
#ifndef WAITGROUP_UNTIL_H
#define WAITGROUP_UNTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wg_context wg_context;

#define WG_SECOND ((int64_t)1000000000)
#define WG_MILLISECOND ((int64_t)1000000)

/* No deadline. It is 0, so that a zeroed struct has none. INT64_MAX means the same. */
#define WG_FOREVER ((int64_t)0)

/* A deadline long past, as is any negative one: the call looks once and never blocks. */
#define WG_POLL ((int64_t)-1)

/* Now, in nanoseconds since an arbitrary start; always positive. */
WG_API int64_t wg_now(void);

/* The deadline `duration` nanoseconds from now, for any int64_t: a duration too long for the clock gives WG_FOREVER,
 * one that is zero or negative WG_POLL. */
WG_API int64_t wg_after(int64_t duration);

/* The same for a duration in seconds, rounded up to a nanosecond; infinity gives WG_FOREVER, not a number WG_POLL. */
WG_API int64_t wg_after_seconds(double seconds);

/* A time or a duration in seconds, and back, each to the nearest. They agree with each other: seconds that wg_seconds gave
 * out come back from wg_seconds(wg_nanoseconds(s)) the same, however often, and a later time never reads earlier. What is
 * too large for int64_t becomes the largest or the smallest; not a number becomes 0. */
WG_API double wg_seconds(int64_t nanoseconds);
WG_API int64_t wg_nanoseconds(double seconds);

/* Where in a program a wait is, for people; what is not known is NULL or 0. */
typedef struct wg_place {
    const char *language; /* such as "Python" */
    const char *task;     /* the name of the task that waits */
    const char *file;
    int line;
} wg_place;

/* Until when a call may block. A NULL pointer in its place means the same as a zeroed struct: for ever, except inside a
 * task, whose context ends the call.
 *
 *     wg_status s = wg_wait(&wg, &(wg_until){ .deadline = wg_after(5 * WG_SECOND) });
 *
 * One rule holds for every blocking call. What the call waits for comes first: if it is there, the call returns that.
 * Else, once the context has ended, the call returns WG_CONTEXT_ENDED, and once the deadline has passed, WG_TIMEOUT.
 * WG_CANCELLED and WG_DEADLINE_EXCEEDED always speak of what the call is about, never of this context.
 *
 * WG_DEADLOCK: tasks wait for each other, and the call is the last that was missing: none of them could ever go on. It is
 * certain: the tasks wait for the outcome of a group, for a wait group that counts tasks, for a task, or for a slot, each
 * without a deadline, and without a context but those that the task has anyway: that of its group, and what is above it, if
 * these have no deadline. A cancel of one of those tasks' groups by somebody else, or a higher limit, is not counted on. */
typedef struct wg_until {
    int64_t deadline; /* WG_FOREVER, WG_POLL, or absolute nanoseconds: then the call returns WG_TIMEOUT */
    /* Whose end ends the call with WG_CONTEXT_ENDED. NULL: that of the task which this thread runs, if it runs one;
     * wg_context_root(): none. */
    wg_context *context;
    bool interruptible; /* true: return WG_INTERRUPTED soon after a signal handler has run in this thread; where the
                             system does not tell (PARK=pthread), every 50 ms, since one may have run.
                             false: signals change nothing */
    /* Of an interruptible call: called in this thread, with no lock held, where the call would return WG_INTERRUPTED, and
     * about every `look_every` nanoseconds of the wait (0: only there). True: the wait goes on, in its place among those that
     * wait, and as old as it is. False: the call returns WG_INTERRUPTED, unless what it waits for has come meanwhile. It may
     * block, call the library, and fork; it must not end the thread. NULL: there is nothing to look at. */
    bool (*look)(void *arg);
    void *look_arg;
    int64_t look_every;
    /* Who waits here, for the message of a deadlock, its own or another's; valid during the call. NULL: not known. */
    const wg_place *place;
    /* Where a call that returns WG_DEADLOCK writes why, to go on from the name of the call: that it would wait for its own task,
     * or who waits for whom, a line for each. `report_size` bytes, its end included. Else it is left alone. NULL: nowhere. */
    char *report;
    size_t report_size;
} wg_until;

#ifdef __cplusplus
}
#endif
#endif
