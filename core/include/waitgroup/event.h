/* event.h - whatever can be waited for, as one type: to block until it comes, or to have a function called.
 *
 *     wg_event event = wg_outcome(g);
 *     wg_event_wait(event, &(wg_until){ .deadline = wg_after(WG_SECOND) });
 *     wg_event_observe(event, &observer, wake_my_loop, &loop);
 *
 * An event is a small value that names an object and what may happen to it. It owns nothing: the object must be valid
 * during each call, and as long as an observer waits. All calls may be made from any thread. */
#ifndef WAITGROUP_EVENT_H
#define WAITGROUP_EVENT_H

#include <stdbool.h>

#include "context.h"
#include "errgroup.h"
#include "observer.h"
#include "status.h"
#include "until.h"
#include "waitgroup.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wg_event {
    void *subject_;
    int kind_;
} wg_event;

/* The count of `wg` is zero. A count left behind in the parent process by a fork is not told apart: look with wg_wait and
 * WG_POLL first. */
WG_API wg_event wg_zero(wg_waitgroup *wg);

/* The context has ended. */
WG_API wg_event wg_ended(wg_context *ctx);

/* A slot of the group has been taken for whoever waits, or there will be none. Threads in wg_errgroup_start and those that
 * wait for this event are served in the order of coming, and nobody can take the slot in between. Until it is used the
 * slot counts as a task that is pending: use it with wg_errgroup_enter_slot or wg_errgroup_start_slot, or give it back with
 * wg_errgroup_give_slot. Where a task waits for it, as a coroutine does, tell so by wg_waiting_begin: then a deadlock is
 * noticed. */
WG_API wg_event wg_slot(wg_errgroup *g);

/* wg_errgroup_wait would give an outcome: every task has ended, or the group was cancelled and its grace period is over. */
WG_API wg_event wg_outcome(wg_errgroup *g);

/* Block until the event comes. WG_OK: it has. Else what the call for its object says: wg_wait, wg_context_wait,
 * wg_errgroup_start (for a slot), wg_errgroup_wait (for an outcome, of whatever kind). WG_INVALID: the event has no
 * object. */
WG_API wg_status wg_event_wait(wg_event event, const wg_until *until) WG_MUST_USE;

/* Call `fn(arg)` once, when the event comes, or before this returns if it has come; see observer.h, also for the other
 * two. WG_OK; WG_INVALID. For a slot, wg_slot_status says in `fn` what came of it, and prevented means that no slot is
 * held: one that had been taken already is given back. */
WG_API wg_status wg_event_observe(wg_event event, wg_observer *observer, void (*fn)(void *arg), void *arg);
WG_API bool wg_event_unobserve(wg_event event, wg_observer *observer);
WG_API bool wg_event_unobserve_sync(wg_event event, wg_observer *observer);

/* Of an observer of a slot whose function has been called, as long as its memory is untouched: WG_OK: a slot has been taken
 * for it. Else there will be none: WG_CANCELLED, WG_DEADLINE_EXCEEDED, WG_FINISHED, WG_DEADLOCK, WG_FORKED, WG_OVERFLOW. */
WG_API wg_status wg_slot_status(const wg_observer *observer);

#ifdef __cplusplus
}
#endif
#endif
