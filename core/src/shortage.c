/* shortage.c - see shortage.h. */
#include "shortage.h"

#include "atomics.h"

static wg_a32 pools; /* how many lack a thread */
static wg_a64 retry; /* the address of what tries again; 0: none has lacked one yet */

void wg_shortage_begins(void (*again)(void)) {
    wg_store_relaxed64(&retry, (uintptr_t)again);
    wg_add_relaxed32(&pools, 1);
}

void wg_shortage_ends(void) { wg_add_relaxed32(&pools, UINT32_MAX); }

bool wg_threads_lack(void) { return wg_load_relaxed32(&pools) > 0; }

void wg_threads_retry(void) {
    void (*again)(void) = (void (*)(void))(uintptr_t)wg_load_relaxed64(&retry);
    if (again) /* else its pool has just come into need: the next time */
        again();
}

void wg_shortage_reset(void) { wg_store_relaxed32(&pools, 0); }
