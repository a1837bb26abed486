/* waitqueue.h - the locks of all wait groups, contexts and error groups, and which threads sleep on what.
 *
 * There are no locks inside objects: each object's address picks one of a fixed number of buckets, as in the parking lots
 * of WebKit and CPython. So a wait group is one word, a lock outlives every object, and fork.c can take all locks there are.
 *
 * A bucket keeps, for all objects that fall to it:
 *   entries    wait entries: each says that a thread sleeps until something happens to a subject; in the order of
 *              their coming. An entry lives on its thread's stack; each thread has a park word of its own. Only its
 *              owner links it. Its owner, or the thread that makes the thing happen, unlinks it under the lock, and
 *              then, still under the lock, sets its bit in the park word. With the bit set the owner may return, so the
 *              entry is not touched after that. The wake goes to the address of the word only, and comes after the lock
 *              has been released, since the woken thread may want the lock next.
 *   observers  those of wait groups (see observer.h). A context's are in the context.
 *   calls      observers being called now, so that wg_event_unobserve_sync can wait for them.
 *   on_stacks  observers, of whatever list, that lie on a thread's stack: in the child of a fork, other threads' are taken
 *              out of their lists while their memory still is what it was.
 *   waits      what waits.h tells.
 *   groups     the error groups that exist.
 *   contexts   the contexts that exist and that wg_context_make has made.
 *   ends       contexts whose end is under way (see context.c): what another thread has begun at a fork, the child
 *              brings to its end. */
#ifndef WG_WAITQUEUE_H
#define WG_WAITQUEUE_H

#include "waitgroup/observer.h"

#include "list.h"
#include "mutex.h"
#include "os.h"

struct wg_wait_entry {
    const void *subject;
    wg_a32 *word; /* its thread's park word */
    uint32_t bit; /* what to set there */
    struct wg_link link;
};

struct wg_bucket {
    _Alignas(64) wg_mutex lock;
    wg_a32 calls_ended; /* counts; a thread sleeps on it that waits for a call to end */
    struct wg_link entries, observers, calls, on_stacks, ends, waits, groups, contexts;
};

/* The words of threads to wake when the lock is let go. More than fit are woken at once. */
struct wg_wake_q {
    const wg_a32 *words[16];
    unsigned count;
};

struct wg_bucket *wg_bucket_of(const void *object);

/* All of them, one after the other: NULL comes before the first and after the last. */
struct wg_bucket *wg_bucket_after(struct wg_bucket *bucket);

/* Wake every waiter spuriously, so that it checks its condition again. Must not be called with a lock held. WG_KICKED is set
 * in each park word, so that a waiter about to park does not sleep through it; the waiter clears the bit. */
#define WG_KICKED UINT32_C(0x80000000)
void wg_waiters_kick(void);

/* Set `bit` in the word of a thread, which may return from now on, and wake it later. */
void wg_wake_q_add(struct wg_wake_q *wakes, wg_a32 *word, uint32_t bit);

/* Let go of the lock and wake. */
void wg_bucket_unlock_and_wake(struct wg_bucket *bucket, struct wg_wake_q *wakes);

/* All of these are called with the bucket's lock held. */

/* Link an entry behind those that are there. */
void wg_wait_entry_link(struct wg_bucket *bucket, struct wg_wait_entry *entry);
/* True if it was linked until now: nothing has happened, or will, through it. */
bool wg_wait_entry_unlink(struct wg_wait_entry *entry);
/* The one that has slept longest on `subject`, and the next one after `entry`; NULL if there is none. */
struct wg_wait_entry *wg_wait_entry_first(struct wg_bucket *bucket, const void *subject);
struct wg_wait_entry *wg_wait_entry_after(struct wg_bucket *bucket, struct wg_wait_entry *entry, const void *subject);
/* Unlink it, set `bit` in its word, and add that to the wakes. */
void wg_wait_entry_wake(struct wg_wait_entry *entry, uint32_t bit, struct wg_wake_q *wakes);
/* The same for all threads that sleep on `subject`, each with its own bit. */
void wg_wait_entries_wake(struct wg_bucket *bucket, const void *subject, struct wg_wake_q *wakes);

/* Its event has come. */
void wg_observer_come(wg_observer *observer);

/* Put an observer, whose fields are set, at the end of a list; take it out. */
void wg_observer_link(struct wg_bucket *bucket, struct wg_link *list, wg_observer *observer);
void wg_observer_unlink(wg_observer *observer);

/* Call each observer of `subject` that is in `list` now, in the order in which they were added. The lock is let go
 * during each call, with the wakes before the first, and held again at the end. If the thread ends in a call, the others
 * are made, and the lock is let go: what the caller has to do after this must be in a wg_finish of its own. */
void wg_observers_call(struct wg_bucket *bucket, struct wg_link *list, const void *subject, struct wg_wake_q *wakes);

/* The end of an observe call: give the lock, with `observer` added to `list`; or, if the event has come already, call it
 * as wg_observers_call does. */
void wg_observer_settle(struct wg_bucket *bucket, struct wg_link *list, bool come, const void *subject,
                        wg_observer *observer, void (*fn)(void *arg), void *arg);

/* The three unobserve calls of an object whose bucket this is; they take and give the lock themselves. */
bool wg_observer_remove(struct wg_bucket *bucket, wg_observer *observer, bool sync);

/* For fork.c. */
void wg_buckets_lock(void);
void wg_buckets_unlock(void);
/* In the child: nobody sleeps, only the thread that forked calls observers, and nothing is on the stacks of others. */
void wg_buckets_reset(void);
/* In the child: `left(end)` for each in the lists of ends. */
void wg_buckets_ends(void (*left)(struct wg_link *end));

#endif
