/* slow_call.h - a call of an observer that is still running while others try to remove it. */
#ifndef SLOW_CALL_H
#define SLOW_CALL_H

#include "support.h"

static atomic_bool in_call, may_return, returned;

static inline void expect_slow_call(void) {
    atomic_store(&in_call, false);
    atomic_store(&may_return, false);
    atomic_store(&returned, false);
}

static inline void run_long(void *unused) {
    (void)unused;
    atomic_store(&in_call, true);
    EVENTUALLY(atomic_load(&may_return));
    nap();
    atomic_store(&returned, true);
}

static inline void *let_it_return(void *unused) {
    (void)unused;
    nap();
    atomic_store(&may_return, true);
    return NULL;
}

#endif
