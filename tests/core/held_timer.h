/* held_timer.h - the thread that keeps deadlines is held up by a slow observer, so that nobody but the thread of a test finds a
 * deadline passed. */
#ifndef HELD_TIMER_H
#define HELD_TIMER_H

#include "slow_call.h"

static wg_context *busy;
static wg_observer slow;

static pthread_t tester;
static bool came_too_late;

static inline void hold_up_others(void *unused) {
    if (pthread_equal(pthread_self(), tester))
        came_too_late = true;
    else
        run_long(unused);
}

/* The thread that keeps deadlines is in a call that does not return. */
static inline void hold_up_the_timer(void) {
    tester = pthread_self();
    expect_slow_call();
    for (int64_t duration = SOON;; duration *= 2) { /* on a slow machine it may pass before the observer is there */
        came_too_late = false;
        assert_status(wg_context_new(&busy, wg_context_root(), wg_after(duration)), WG_OK);
        assert_status(wg_event_observe(wg_ended(busy), &slow, hold_up_others, NULL), WG_OK);
        if (!came_too_late)
            break;
        wg_context_release(busy);
    }
    EVENTUALLY(atomic_load(&in_call));
}

static inline void let_the_timer_go(void) {
    atomic_store(&may_return, true);
    wg_event_unobserve_sync(wg_ended(busy), &slow);
    wg_context_release(busy);
}

#endif
