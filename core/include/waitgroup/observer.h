/* observer.h - a call to be made once, when an event comes: see event.h.
 *
 * The memory is the caller's. It belongs to the library from wg_event_observe until the observer was called or was
 * removed in time. Just before the library calls `fn` it lets go of the observer, so `fn` may free it or use it again.
 * `fn` runs once, in no lock, in the thread that brought the event about; it must not block for long.
 *
 * In the child of a fork, observers are called as in the parent, except those whose memory was gone at once: they lay on
 * the stack of another thread, and were made observers by that thread. They are forgotten there. So is a call that another
 * thread was making at the fork.
 *
 *   wg_event_observe(event, observer, fn, arg)  when the event has come already, `fn` is called before this returns
 *   wg_event_unobserve(event, observer)         true: the call was prevented, and the memory is the caller's again
 *                                               false: `fn` has run, runs, or is about to: the memory is not free yet,
 *                                               unless the caller knows by other means that `fn` has returned
 *   wg_event_unobserve_sync(event, observer)    as above, and when false, `fn` has returned: it waits for a running one.
 *                                               From inside `fn` itself it returns at once */
#ifndef WAITGROUP_OBSERVER_H
#define WAITGROUP_OBSERVER_H

#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct wg_link {
    struct wg_link *next_, *prev_;
};

typedef struct wg_observer {
    void (*fn_)(void *arg);
    void *arg_;
    const void *subject_;
    struct wg_link link_;         /* among the observers of its subject; zeroed while it is in no list */
    struct wg_link on_stack_;     /* among those that lie on the stack of a thread, if it does; */
    const void *owner_;           /* that thread */
    wg_status status_;            /* of one that waits for a slot: what came of that */
    uint32_t come_;               /* atomic: its event has come; set with what brought it about, in one lock */
    struct wg_wait_record *wait_; /* what wg_waiting_begin has made of it, or NULL; for deadlock.c */
} wg_observer;

#ifdef __cplusplus
}
#endif
#endif
