/* count.h - the word of a wait group, and the steps that the other files may take on it.
 *
 *   bits 63..33  fork epoch   the process (see fork.h) in which the count last left zero. Changes only in that step.
 *   bit  32      slot waiters of an error group: somebody wants the next slot that a task gives back, so every step
 *                             down goes through the bucket's lock. Set and cleared only under it, set only while there
 *                             is no room. Clearing it late is legal: it costs a lock.
 *   bits 31..1   count
 *   bit  0       zero waiters with count > 0: somebody waits for zero, or did, so the step to zero goes through the
 *                             bucket's lock. Set only under it; cleared by the step to zero. Leaving it set when nobody
 *                             waits any more is legal. With count == 0: the word is closed, for good; no step up.
 *
 * Why the object may go as soon as a wait returns: the step to zero is one CAS, and nothing of the object is touched
 * after it. If `zero waiters` was not set, nobody has to be told. If it was, the CAS is made while holding the bucket's
 * lock, whoever sleeps is found in the bucket, and the lock is not in the object. A thread links its wait entry under that
 * lock, and only after it has seen count > 0 and `zero waiters` set in the same word; so none is missed, and none that
 * came for a later round, or for another object at the same address, is woken. */
#ifndef WG_COUNT_H
#define WG_COUNT_H

#include "waitgroup/waitgroup.h"

#include "waitqueue.h"

#define WG_ZERO_WAITERS UINT64_C(1)
#define WG_COUNT_SHIFT 1
#define WG_ONE (UINT64_C(1) << WG_COUNT_SHIFT)
#define WG_COUNT_MASK (UINT64_C(0x7fffffff) << WG_COUNT_SHIFT)
#define WG_SLOT_WAITERS (UINT64_C(1) << 32)
#define WG_EPOCH_SHIFT 33

static inline wg_a64 *wg_state(const wg_waitgroup *wg) { return (wg_a64 *)(uintptr_t)&wg->state_; }

static inline int32_t wg_count_of(uint64_t state) { return (int32_t)((state & WG_COUNT_MASK) >> WG_COUNT_SHIFT); }

/* One down, as wg_done, unless that needs a lock: then false, and nothing changed. */
bool wg_count_try_done(wg_waitgroup *wg, wg_status *status);

/* Call `fn(arg)` once, at zero; take that back. See observer.h. */
void wg_observe_zero(wg_waitgroup *wg, wg_observer *observer, void (*fn)(void *arg), void *arg);
bool wg_unobserve_zero(wg_waitgroup *wg, wg_observer *observer, bool sync);

/* For fork.c, in the child: what handlers have left to be done stays in the parent. */
void wg_handlers_reset(void);

/* One up: *first tells whether the count was zero. WG_OK; WG_LIMIT: gated, or `limit` is reached; WG_FINISHED: closed;
 * WG_FORKED: what is counted is in the parent process. `limit` is at most WG_COUNT_MAX. */
wg_status wg_count_enter(wg_waitgroup *wg, int32_t limit, bool *first);

/* One up under the bucket's lock, gate or no gate, for whoever waits at it. False if `limit` is reached, or it is zero. */
bool wg_count_admit(wg_waitgroup *wg, int32_t limit);

/* One down. *last tells whether it is zero now. False, and nothing changed, if it is gated. */
bool wg_count_leave(wg_waitgroup *wg, bool *last);

/* One down under the bucket's lock, gate or no gate; returns what is left. At zero it wakes the threads that wait, and calls
 * the observers with the lock released. */
int32_t wg_count_leave_locked(wg_waitgroup *wg, struct wg_bucket *bucket, struct wg_wake_q *wakes);

/* Gate it; false if there is room under `limit`. Under the bucket's lock, as is the next. */
bool wg_count_gate(wg_waitgroup *wg, int32_t limit);
void wg_count_ungate(wg_waitgroup *wg);

/* At zero, close it for good and return true. */
bool wg_count_close(wg_waitgroup *wg);

#endif
