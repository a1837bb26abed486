/* stripe.h - the locks of all wait groups, contexts and error groups, and who sleeps on what.
 *
 * There are no locks inside objects: each object's address picks one of a fixed number of stripes. So a wait group is
 * one word, a lock outlives every object, and fork.c can take all locks there are.
 *
 * A stripe keeps, for all objects that fall to it:
 *   sleepers   threads that sleep until something happens to a subject, in the order of their coming. A sleeper lives
 *              on its thread's stack; each thread has a park word of its own. Only its owner links it. Its owner or
 *              whoever makes the thing happen unlinks it, under the lock; then, still under the lock, sets its bit in
 *              the park word. With the bit set the owner may return, so the sleeper is not touched after that. The wake
 *              goes to the word's address only, and comes when the lock has been let go, since the woken thread may
 *              want it next.
 *   observers  those of wait groups (see observer.h). A context's are in the context.
 *   calls      observers being called now, so that wg_unobserve_sync can wait for them.
 *   on_stacks  observers, of whatever list, that lie on a thread's stack: in the child of a fork, other threads' are taken
 *              out of their lists while their memory still is what it was.
 *   ends       contexts whose end is under way (see context.c): what another thread has begun at a fork, the child
 *              brings to its end. */
#ifndef WG_STRIPE_H
#define WG_STRIPE_H

#include "waitgroup/observer.h"

#include "list.h"
#include "lock.h"
#include "os.h"

struct wg_sleeper {
    const void *subject;
    wg_a32 *word; /* its thread's park word */
    uint32_t bit; /* what to set there */
    struct wg_link link;
};

struct wg_stripe {
    _Alignas(64) wg_lock lock;
    wg_a32 calls_ended; /* counts, for who waits for a call to end */
    struct wg_link sleepers, observers, calls, on_stacks, ends;
};

/* The words of threads to wake when the lock is let go. More than fit are woken at once. */
struct wg_wakes {
    const wg_a32 *words[16];
    unsigned count;
};

struct wg_stripe *wg_stripe_of(const void *object);

/* Without a lock held: have all who sleep look again, by a wake without reason. The bit is set in their words, so that
 * who is about to park does not; the owner clears it. */
#define WG_STIRRED UINT32_C(0x80000000)
void wg_sleepers_stir(void);

/* Set `bit` in the word of a thread, which may return from now on, and wake it later. */
void wg_wakes_add(struct wg_wakes *wakes, wg_a32 *word, uint32_t bit);

/* Let go of the lock and wake. */
void wg_stripe_give(struct wg_stripe *stripe, struct wg_wakes *wakes);

/* All of these are called with the stripe's lock held. */

/* Link a sleeper behind those that are there. */
void wg_sleeper_link(struct wg_stripe *stripe, struct wg_sleeper *sleeper);
/* True if it was linked until now: nothing has happened, or will, through it. */
bool wg_sleeper_unlink(struct wg_sleeper *sleeper);
/* The one that has slept longest on `subject`, and the next one after `sleeper`; NULL if there is none. */
struct wg_sleeper *wg_sleeper_first(struct wg_stripe *stripe, const void *subject);
struct wg_sleeper *wg_sleeper_after(struct wg_stripe *stripe, struct wg_sleeper *sleeper, const void *subject);
/* Unlink it, set `bit` in its word, and add that to the wakes. */
void wg_sleeper_wake(struct wg_sleeper *sleeper, uint32_t bit, struct wg_wakes *wakes);
/* The same for all who sleep on `subject`, each with its own bit. */
void wg_sleepers_wake(struct wg_stripe *stripe, const void *subject, struct wg_wakes *wakes);

/* Put an observer, whose fields are set, at the end of a list; take it out. */
void wg_observer_link(struct wg_stripe *stripe, struct wg_link *list, wg_observer *observer);
void wg_observer_unlink(wg_observer *observer);

/* Call each observer of `subject` that is in `list` now, in the order in which they were added. The lock is let go
 * during each call, with the wakes before the first, and held again at the end. If the thread ends in a call, the others
 * are made, and the lock is let go: what the caller has to do after this must be in a wg_finish of its own. */
void wg_observers_call(struct wg_stripe *stripe, struct wg_link *list, const void *subject, struct wg_wakes *wakes);

/* The end of an observe call: give the lock, with `observer` added to `list`; or, if the moment has come already, call it
 * as wg_observers_call does. */
void wg_observer_settle(struct wg_stripe *stripe, struct wg_link *list, bool come, const void *subject,
                        wg_observer *observer, void (*fn)(void *arg), void *arg);

/* The three unobserve calls of an object whose stripe this is; they take and give the lock themselves. */
bool wg_observer_remove(struct wg_stripe *stripe, wg_observer *observer, bool sync);

/* For fork.c. */
void wg_stripes_take(void);
void wg_stripes_give(void);
/* In the child: nobody sleeps, only the thread that forked calls observers, and nothing is on the stacks of others. */
void wg_stripes_reset(void);
/* In the child: `left(end)` for each in the lists of ends. */
void wg_stripes_ends(void (*left)(struct wg_link *end));

#endif
