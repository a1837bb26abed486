/* waits.h - waits: who waits for what, where, and since when.
 *
 * There is one record of a wait, and two that read it: the dump of a program that hangs (inspect.c), which sees all records,
 * and the search for deadlocks (deadlock.c), which sees those that are certain. A record lies on the stack of the thread
 * that sleeps, or with whatever waits without a thread (waiting.c). It is linked for exactly as long as the wait lasts, in
 * the list of the bucket of its own address, and does not change meanwhile, except for what belongs to deadlock.c: under the
 * lock of that bucket it may be read, with its frames. A path that does not sleep never comes here. */
#ifndef WG_WAITS_H
#define WG_WAITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "waitgroup/errgroup.h"

#include "atomics.h"
#include "frame.h"
#include "list.h"

struct wg_slots;

/* What is waited for. */
struct wg_wish {
    enum { WG_FOR_ZERO, WG_FOR_TASK, WG_FOR_SLOT, WG_FOR_CONTEXT } what;
    const void *subject;    /* the wait group, which may be that of an error group's tasks: whose zero; of the slots; or
                               what counts the task `arg`. Or the context */
    wg_errgroup *group;     /* whose wait group that is; NULL: none, or it is not known */
    struct wg_slots *slots; /* of a wait for a slot, or for a task of an error group; else NULL */
    const void *arg;        /* of the task whose end is waited for */
    const char *text;       /* all of this in words, if the above says too little; or NULL */
};

struct wg_wait_record {
    /* Set by the owner before the wait begins. What they point to is valid as long as the record is linked. */
    struct wg_wish wish;
    const wg_a32 *word;        /* zero, except WG_KICKED, as long as it has to wait; NULL: it has no word */
    const void *event;         /* the lock of its bucket is held where the event comes and the word is set */
    const wg_context *ends[2]; /* whose end ends the wait without a bit in the word; or NULL */
    const wg_until *until;     /* where it is, and where a report of it goes */
    wg_observer *observer;     /* of a slot that is waited for without a thread, or NULL: its `wait_` is the record */
    char **report;             /* or else an allocated one; NULL: nowhere */
    int64_t deadline;          /* when the wait ends in any case; WG_FOREVER if it may never */
    struct wg_frame *frames;   /* of the tasks that cannot go on before, the innermost first; NULL: of none */
    bool certain;              /* it can be part of a deadlock */
    bool has_thread;           /* a thread sleeps in it */
    /* Set when it begins. */
    int64_t since;
    struct wg_thread_id thread; /* in which it began */
    uint32_t epoch;             /* the process in which it began: wg_fork_epoch() */
    struct wg_link link;
    /* Of deadlock.c, under its lock. */
    bool published;
    bool stuck, found;                            /* for the thread that looks */
    struct wg_wait_record *next;                  /* the same */
    struct wg_wait_record *hindered_by, *hinders; /* see deadlock.h; or NULL */
};

/* The wait begins: WG_OK. WG_DEADLOCK: it would never end; there is a report, and no wait. */
wg_status wg_wait_begin(struct wg_wait_record *record);
void wg_wait_end(struct wg_wait_record *record);

/* In between the thread is not asleep, though the wait is not over: the wait is no part of a deadlock meanwhile. It goes on
 * as it began: WG_OK; or WG_DEADLOCK: it would never end, and there is a report. */
void wg_wait_pause(struct wg_wait_record *record);
wg_status wg_wait_resume(struct wg_wait_record *record);

#endif
