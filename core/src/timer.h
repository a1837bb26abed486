/* timer.h - the thread that ends contexts at their deadlines. It starts with the first deadline and leaves when there
 * has been none for a few seconds. */
#ifndef WG_TIMER_H
#define WG_TIMER_H

#include "waitgroup/context.h"

/* A place in the heap of deadlines: a pairing heap, so that nothing is ever allocated for it. All of it is guarded by
 * the timer's lock. */
struct wg_timer {
    wg_context *ctx;
    int64_t deadline;
    struct wg_timer *child, *next; /* its first child; the next child of its parent */
    struct wg_timer *prev;         /* the child before it, or its parent if it is the first; NULL for the root */
    bool queued;
};

/* End `ctx` at `deadline`, unless removed before. False if there is no thread to do it. */
bool wg_timer_add(struct wg_timer *timer, wg_context *ctx, int64_t deadline);
/* After this the timer is not touched. It does not wait: the context may be ending just now. */
void wg_timer_remove(struct wg_timer *timer);

/* For fork.c. */
void wg_timer_lock(void);
void wg_timer_unlock(void);
/* In the child, where there is no thread: true if there are deadlines and nobody keeps them. */
bool wg_timer_reset(void);
/* Start the thread again if need be. False if there is none to be had. */
bool wg_timer_resume(void);

#endif
