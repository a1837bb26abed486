/* fork.h - which process this is, by generations of fork. */
#ifndef WG_FORK_H
#define WG_FORK_H

#include "atomics.h"

extern wg_a32 wg_epoch;

/* 0 in the first process, and one more in each child of a fork; of 31 bits. */
static inline uint32_t wg_fork_epoch(void) { return wg_load_relaxed32(&wg_epoch); }

#endif
