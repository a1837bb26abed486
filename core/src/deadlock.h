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
 * A task is stuck if its thread is in a stuck wait, for a task further down on the stack cannot go on either. A task that
 * waits without a thread, as a coroutine does, is stuck if its wait is. And if a thread runs such tasks while it waits itself,
 * and one of them puts it to sleep, then that sleep *hinders* the thread's own wait, which is stuck as long as the sleep is.
 *
 * That is the largest set of waits of which all these sentences hold. Only a wait that begins can complete such a set, or
 * the end of a task at a lowered limit: there one looks. The one that looks sees all waits: they are published, looked at
 * and withdrawn under one lock. A wait in the set must not have had its wake yet: its word is zero, and the contexts that
 * end it have not ended. What has once been set stays so; so if one look finds all of the set without their wakes, then all of
 * these waits were there, and asleep, when that look began. Nothing that was woken can have done anything, for it withdraws
 * its wait first. So there are no false alarms, and the last of a set to publish its wait misses none.
 *
 * While the thread of a wait looks at what has interrupted it (until.h), it is not asleep, and the wait is not published.
 *
 * The count of a wait group may leave zero again before those are woken that the zero has released: the step to zero and
 * the bits in their words are of one section under the lock of the bucket. So a word is read under that lock.
 *
 * Lock order: this lock, then that of a bucket. */
#ifndef WG_DEADLOCK_H
#define WG_DEADLOCK_H

#include <stdbool.h>

#include "waits.h"

/* Could a wait of the tasks in `frames`, bounded by `until` and by `other` (a context or NULL), be part of a deadlock? */
bool wg_is_certain(struct wg_frame *frames, const wg_until *until, const wg_context *other);

/* For waits.c: publish a wait that is certain. False: it will never end, is not published, and there is a report. */
bool wg_deadlock_publish(struct wg_wait_record *record);
void wg_deadlock_withdraw(struct wg_wait_record *record);

/* If none of the slots in use will ever be given back, call `resolve(slots)`, which gives one of those that wait its answer,
 * so that this is no longer so; return whether. Not with a lock held. */
bool wg_deadlock_break(struct wg_slots *slots, void (*resolve)(struct wg_slots *slots));
/* In `resolve`: write the report of this wait, which goes on. */
void wg_deadlock_describe(struct wg_wait_record *record);

/* Write the report of a wait for a group in its own task, which this thread runs: however long it would last. */
void wg_own_group_describe(wg_errgroup *g, const wg_until *until);

/* For fork.c. In the child there are no waits but those of the thread that forked, and these are over. */
void wg_deadlock_lock(void);
void wg_deadlock_unlock(void);
void wg_deadlock_reset(void);

#endif
