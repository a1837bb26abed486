/* cancel.h - no cancellation of this thread (pthread_cancel) in between: for functions of the C library at which it may act,
 * called where it must not, such as under a lock. */
#ifndef WG_CANCEL_H
#define WG_CANCEL_H

#include <pthread.h>

/* Returns what wg_cancel_allow takes. They nest. */
static inline int wg_cancel_forbid(void) {
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

static inline void wg_cancel_allow(int before) { pthread_setcancelstate(before, &before); }

#endif
