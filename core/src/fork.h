/* fork.h - which process this is, by generations of fork. */
#ifndef WG_FORK_H
#define WG_FORK_H

#include "atomics.h"

extern wg_a32 wg_epoch;

/* 0 in the first process, and one more in each child of a fork; of 31 bits. */
static inline uint32_t wg_fork_epoch(void) { return wg_load_relaxed32(&wg_epoch); }

/* What os.h has the system call around a fork, in the thread that forks. */
void wg_before_fork(void);
void wg_after_fork_in_parent(void);
void wg_after_fork_in_child(void);

#endif
