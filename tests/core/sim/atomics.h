/* atomics.h - stands in for core/src/atomics.h, included ahead of every source: each operation is a step of the
 * scheduler. It also sends allocations through the tracking allocator, and lets the timeline have few and small buffers. */
#ifndef WG_ATOMICS_H
#define WG_ATOMICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h> /* before malloc is renamed */

typedef uint32_t wg_a32;
typedef uint64_t wg_a64;

/* Each order says which half it has. */
enum sim_order { SIM_RELAXED = 0, SIM_ACQUIRE = 1, SIM_RELEASE = 2, SIM_ACQ_REL = 3 };
enum sim_op { SIM_SWAP, SIM_OR, SIM_ADD, SIM_SUB };

uint64_t sim_load(const void *p, unsigned size, enum sim_order order);
void sim_store(void *p, unsigned size, uint64_t v, enum sim_order order);
uint64_t sim_rmw(void *p, unsigned size, enum sim_op op, uint64_t v, enum sim_order order);
bool sim_cas(void *p, unsigned size, void *old, uint64_t v, enum sim_order success, enum sim_order failure);
void *sim_malloc(size_t size);
void sim_free(void *p);

/* Inlined, so that the caller's address names the line of the core. */
#define SIM_INLINE static inline __attribute__((always_inline, unused))

#define SIM_LOAD(name, bits, order)                                                                                    \
    SIM_INLINE uint##bits##_t name##bits(const wg_a##bits *p) { return (uint##bits##_t)sim_load(p, bits / 8, order); }
#define SIM_STORE(name, bits, order)                                                                                   \
    SIM_INLINE void name##bits(wg_a##bits *p, uint##bits##_t v) { sim_store(p, bits / 8, v, order); }
#define SIM_RMW(name, bits, op, order)                                                                                 \
    SIM_INLINE uint##bits##_t name##bits(wg_a##bits *p, uint##bits##_t v) {                                            \
        return (uint##bits##_t)sim_rmw(p, bits / 8, op, v, order);                                                     \
    }
#define SIM_CAS(name, bits, success, failure)                                                                          \
    SIM_INLINE bool name##bits(wg_a##bits *p, uint##bits##_t *old, uint##bits##_t v) {                                 \
        return sim_cas(p, bits / 8, old, v, success, failure);                                                         \
    }

SIM_LOAD(wg_load_relaxed, 32, SIM_RELAXED)
SIM_LOAD(wg_load_acquire, 32, SIM_ACQUIRE)
SIM_STORE(wg_store_relaxed, 32, SIM_RELAXED)
SIM_STORE(wg_store_release, 32, SIM_RELEASE)
SIM_RMW(wg_swap_acquire, 32, SIM_SWAP, SIM_ACQUIRE)
SIM_RMW(wg_swap_release, 32, SIM_SWAP, SIM_RELEASE)
SIM_RMW(wg_or_release, 32, SIM_OR, SIM_RELEASE)
SIM_RMW(wg_add_relaxed, 32, SIM_ADD, SIM_RELAXED)
SIM_RMW(wg_sub_acq_rel, 32, SIM_SUB, SIM_ACQ_REL)
SIM_CAS(wg_cas_acquire, 32, SIM_ACQUIRE, SIM_RELAXED)
SIM_CAS(wg_cas_relaxed, 32, SIM_RELAXED, SIM_RELAXED)
SIM_LOAD(wg_load_relaxed, 64, SIM_RELAXED)
SIM_LOAD(wg_load_acquire, 64, SIM_ACQUIRE)
SIM_STORE(wg_store_relaxed, 64, SIM_RELAXED)
SIM_RMW(wg_add_relaxed, 64, SIM_ADD, SIM_RELAXED)
SIM_RMW(wg_add_release, 64, SIM_ADD, SIM_RELEASE)
SIM_CAS(wg_cas_relaxed, 64, SIM_RELAXED, SIM_RELAXED)
SIM_CAS(wg_cas_acq_rel, 64, SIM_ACQ_REL, SIM_ACQUIRE)

#define WG_TRACE_BUFFERS 2

#define malloc(size) sim_malloc(size)
#define free(p) sim_free(p)

#endif
