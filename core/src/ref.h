/* ref.h - a counted reference: how many refer to an object.
 *
 * The count starts at one, for the maker of the object. The thread that gives up the last reference frees the object; it
 * sees all that other threads did to the object before they gave up theirs. */
#ifndef WG_REF_H
#define WG_REF_H

#include "atomics.h"

static inline void wg_ref_take(wg_a32 *refs) { wg_add_relaxed32(refs, 1); }

/* True if that was the last reference. */
static inline bool wg_ref_drop(wg_a32 *refs) { return wg_sub_acq_rel32(refs, 1) == 1; }

/* A reference to an object that was found in a table or a list, which hold none: false if the last one has gone. */
static inline bool wg_ref_try_take(wg_a32 *refs) {
    uint32_t n = wg_load_relaxed32(refs);
    while (n > 0)
        if (wg_cas_relaxed32(refs, &n, n + 1))
            return true;
    return false;
}

#endif
