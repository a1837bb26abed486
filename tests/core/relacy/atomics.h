/* atomics.h - the operations of core/src/atomics.h on the atomics of Relacy, which gives each load every value that the C
 * memory model allows. For the sources that use only these; they are included after this header. BROKEN puts in one bug. */
#ifndef WG_ATOMICS_H
#define WG_ATOMICS_H

#include <relacy/relacy.hpp>
#include <relacy/stdlib/pthread.hpp>

typedef rl::atomic<int> wg_a32; /* int: what Relacy's futex sleeps on */

#ifndef BROKEN
#define BROKEN 0
#endif
#define ORDER_UNLESS(bug, order) (BROKEN == (bug) ? rl::mo_relaxed : (order))

static inline uint32_t wg_load_relaxed32(const wg_a32 *p) {
    return (uint32_t)(*const_cast<wg_a32 *>(p))($).load(rl::mo_relaxed);
}
static inline uint32_t wg_swap_acquire32(wg_a32 *p, uint32_t v) {
    return (uint32_t)(*p)($).exchange((int)v, ORDER_UNLESS(2, rl::mo_acquire));
}
static inline uint32_t wg_swap_release32(wg_a32 *p, uint32_t v) {
    return (uint32_t)(*p)($).exchange((int)v, ORDER_UNLESS(1, rl::mo_release));
}
static inline uint32_t wg_add_relaxed32(wg_a32 *p, uint32_t v) {
    return (uint32_t)(*p)($).fetch_add((int)v, rl::mo_relaxed);
}
static inline uint32_t wg_sub_acq_rel32(wg_a32 *p, uint32_t v) {
    return (uint32_t)(*p)($).fetch_sub((int)v, ORDER_UNLESS(4, rl::mo_acq_rel));
}
static inline bool wg_cas(wg_a32 *p, uint32_t *old, uint32_t v, rl::memory_order order) {
    int seen = (int)*old;
    bool done = (*p)($).compare_exchange_strong(seen, (int)v, order, rl::mo_relaxed);
    *old = (uint32_t)seen;
    return done;
}
static inline bool wg_cas_acquire32(wg_a32 *p, uint32_t *old, uint32_t v) {
    return wg_cas(p, old, v, ORDER_UNLESS(3, rl::mo_acquire));
}
static inline bool wg_cas_relaxed32(wg_a32 *p, uint32_t *old, uint32_t v) { return wg_cas(p, old, v, rl::mo_relaxed); }

#endif
