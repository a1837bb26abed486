/* fork.h - which process this is, by generations of fork. */
#ifndef WG_FORK_H
#define WG_FORK_H

#include "waitgroup/fork.h"

#include "atomics.h"

/* The same as wg_fork_epoch(), without a call: for paths that every task takes. */
extern wg_a32 wg_epoch;
static inline uint32_t wg_epoch_now(void) { return wg_load_relaxed32(&wg_epoch); }

/* What os.h has the system call around a fork, in the thread that forks. */
void wg_before_fork(void);
void wg_after_fork_in_parent(void);
void wg_after_fork_in_child(void);

#endif
