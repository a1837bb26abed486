/* deadlock.h - who waits for whom, and whether that can ever end.
 *
 * A wait is published from before it sleeps until it is over, if it is *certain*: made by a task, without an end of its own.
 * So are no part of a deadlock: a wait that has a deadline; that is bounded by a context which has one, itself or by an
 * ancestor; or that is bounded by a context which the task does not have anyway. The contexts that a task has anyway are
 * that of its group and the ancestors of it. Somebody may cancel them: that tells the task to stop, and does not bring what
 * the task waits for. Nor is it counted on that somebody else calls wg_done for a task, or raises a limit.
 *
 * A published wait is *stuck* if what it waits for cannot come:
 *   - zero, of a wait group: a task that counts in it is stuck;
 *   - the end of a task: that task is stuck, or is stored in a group all whose slots are held by stuck tasks;
 *   - a slot: all slots in use are held by stuck tasks.
 * A task is stuck if its thread is in a stuck wait, for a task further down on the stack cannot go on either.
 *
 * That is the largest set of waits of which all these sentences hold. Only a wait that begins can complete such a set, or
 * the end of a task at a lowered limit: there one looks. The one that looks sees all waits: they are published, looked at
 * and withdrawn under one lock. A wait in the set must not have had its wake yet: its word is zero. A word stays set once it
 * is; so when a second look, after the first has read all words, finds each of the set at zero again, and finds the same
 * reasons, then all of these waits were there at one moment, the one between the two looks. No thread that was woken can
 * have done anything, for it withdraws its wait first. So there are no false alarms, and the last of a set to publish its
 * wait misses none.
 *
 * Lock order: this lock, then that of a bucket. */
#ifndef WG_DEADLOCK_H
#define WG_DEADLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "waitgroup/errgroup.h"

#include "atomics.h"
#include "frame.h"

struct wg_slots;

/* A wait, on the stack of its thread. The owner sets the first five; what they point to is valid during the wait. */
struct wg_blocked {
    const wg_waitgroup *subject; /* whose zero; or of the slots; or what counts the task `arg` */
    struct wg_slots *slots;      /* of a wait for a slot, or for a task of an error group; else NULL */
    wg_errgroup *group;          /* of a wait for a task of an error group; else NULL */
    const void *arg;             /* of the task whose end it waits for */
    enum { WG_FOR_ZERO, WG_FOR_TASK, WG_FOR_SLOT } what;
    const wg_a32 *word; /* zero, except WG_KICKED, as long as it has to wait; NULL: it has no word */
    const wg_until *until;
    const struct wg_frame *frames; /* of the thread */
    int64_t since;
    uint32_t epoch;
    bool published;
    bool stuck; /* this and the next are for the thread that looks */
    bool found;
    struct wg_blocked *next;
};

/* Could a wait of this thread, bounded by `until` and by `other` (a context or NULL), be part of a deadlock? */
bool wg_is_certain(const wg_until *until, const wg_context *other);

/* Publish a wait of this thread, which is certain. WG_DEADLOCK: it will never end, and is not published. */
wg_status wg_blocked_begin(struct wg_blocked *me, const wg_a32 *word, const wg_until *until);
void wg_blocked_end(struct wg_blocked *me);

/* If none of the slots in use will ever be given back, call `resolve(slots)`, which gives one of those that wait its answer,
 * so that this is no longer so; return whether. Not with a lock held. */
bool wg_deadlock_break(struct wg_slots *slots, void (*resolve)(struct wg_slots *slots));
/* In `resolve`: write the report of this wait, whose thread sleeps. */
void wg_blocked_describe(struct wg_blocked *b);

/* Write the report of a wait for a group in its own task, which this thread runs. */
void wg_own_group_describe(const wg_errgroup *g, const wg_until *until);

/* For fork.c. In the child there are no waits but those of the thread that forked, and these are over. */
void wg_deadlock_lock(void);
void wg_deadlock_unlock(void);
void wg_deadlock_reset(void);

#endif
