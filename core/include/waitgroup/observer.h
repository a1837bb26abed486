/* observer.h - a call to be made once, when an object's moment comes: a count reaching zero, a context ending, a
 * group's limit having room.
 *
 * The memory is the caller's. It belongs to the library from the observe call until the observer was called or was
 * removed in time. Just before the library calls `fn` it lets go of the observer, so `fn` may free it or use it again.
 * `fn` runs once, in no lock, in the thread that brought the moment about; it must not block for long.
 *
 * Three calls each object offers, here in the words of a wait group:
 *
 *   wg_observe(wg, observer, fn, arg)   when the moment has come already, `fn` is called before this returns
 *   wg_unobserve(wg, observer)          true: the call was prevented, and the memory is the caller's again
 *                                       false: `fn` has run, runs, or is about to: the memory is not free yet,
 *                                       unless the caller knows by other means that `fn` has returned
 *   wg_unobserve_sync(wg, observer)     as above, and when false, `fn` has returned: it waits for a running one.
 *                                       From inside `fn` itself it returns at once */
#ifndef WAITGROUP_OBSERVER_H
#define WAITGROUP_OBSERVER_H

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wg_observer {
    void (*fn_)(void *arg);
    void *arg_;
    const void *subject_;
    struct wg_observer *next_;
    struct wg_observer **link_; /* what points at this observer while it is listed; else NULL */
} wg_observer;

#ifdef __cplusplus
}
#endif
#endif
