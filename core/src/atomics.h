/* atomics.h - every atomic operation of the core, with its memory order in its name.
 *
 * This header and park.h are all that the lock-free code stands on. A test that includes another header with the same
 * guard before this one runs the real sources on its own atomics. */
#ifndef WG_ATOMICS_H
#define WG_ATOMICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic uint32_t wg_a32;
typedef _Atomic uint64_t wg_a64;

static inline uint32_t wg_load_relaxed32(const wg_a32 *p) { return atomic_load_explicit(p, memory_order_relaxed); }
static inline uint32_t wg_load_acquire32(const wg_a32 *p) { return atomic_load_explicit(p, memory_order_acquire); }
static inline void wg_store_relaxed32(wg_a32 *p, uint32_t v) { atomic_store_explicit(p, v, memory_order_relaxed); }
static inline void wg_store_release32(wg_a32 *p, uint32_t v) { atomic_store_explicit(p, v, memory_order_release); }
static inline uint32_t wg_swap_acquire32(wg_a32 *p, uint32_t v) {
    return atomic_exchange_explicit(p, v, memory_order_acquire);
}
static inline uint32_t wg_swap_release32(wg_a32 *p, uint32_t v) {
    return atomic_exchange_explicit(p, v, memory_order_release);
}
static inline uint32_t wg_or_release32(wg_a32 *p, uint32_t v) {
    return atomic_fetch_or_explicit(p, v, memory_order_release);
}
static inline uint32_t wg_add_relaxed32(wg_a32 *p, uint32_t v) {
    return atomic_fetch_add_explicit(p, v, memory_order_relaxed);
}
static inline uint32_t wg_sub_acq_rel32(wg_a32 *p, uint32_t v) {
    return atomic_fetch_sub_explicit(p, v, memory_order_acq_rel);
}
/* Each cas: on failure `*old` is what was found, read relaxed, or acquire in the acq_rel form. */
static inline bool wg_cas_acquire32(wg_a32 *p, uint32_t *old, uint32_t v) {
    return atomic_compare_exchange_strong_explicit(p, old, v, memory_order_acquire, memory_order_relaxed);
}
static inline bool wg_cas_relaxed32(wg_a32 *p, uint32_t *old, uint32_t v) {
    return atomic_compare_exchange_strong_explicit(p, old, v, memory_order_relaxed, memory_order_relaxed);
}

static inline uint64_t wg_load_relaxed64(const wg_a64 *p) { return atomic_load_explicit(p, memory_order_relaxed); }
static inline uint64_t wg_load_acquire64(const wg_a64 *p) { return atomic_load_explicit(p, memory_order_acquire); }
static inline void wg_store_relaxed64(wg_a64 *p, uint64_t v) { atomic_store_explicit(p, v, memory_order_relaxed); }
static inline uint64_t wg_add_relaxed64(wg_a64 *p, uint64_t v) {
    return atomic_fetch_add_explicit(p, v, memory_order_relaxed);
}
static inline uint64_t wg_add_release64(wg_a64 *p, uint64_t v) {
    return atomic_fetch_add_explicit(p, v, memory_order_release);
}
static inline bool wg_cas_relaxed64(wg_a64 *p, uint64_t *old, uint64_t v) {
    return atomic_compare_exchange_strong_explicit(p, old, v, memory_order_relaxed, memory_order_relaxed);
}
static inline bool wg_cas_acq_rel64(wg_a64 *p, uint64_t *old, uint64_t v) {
    return atomic_compare_exchange_strong_explicit(p, old, v, memory_order_acq_rel, memory_order_acquire);
}

#endif
