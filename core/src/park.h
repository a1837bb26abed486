/* park.h - how a thread sleeps on a word and how it is woken: the whole portability contract of blocking.
 *
 * One file in park/ for each way of sleeping; the build picks one. */
#ifndef WG_PARK_H
#define WG_PARK_H

#include "atomics.h"

typedef enum wg_parked { WG_PARK_WOKEN, WG_PARK_TIMEOUT, WG_PARK_INTERRUPTED } wg_parked;

/* Sleep while *word == expected, until woken or until `deadline` (see until.h). May return WG_PARK_WOKEN for no reason.
 * Only when `interruptible`, WG_PARK_INTERRUPTED says that a signal handler may have run; otherwise the caller looks at
 * its word and parks again. */
wg_parked wg_park(wg_a32 *word, uint32_t expected, int64_t deadline, bool interruptible);

/* Wake one thread, or all, that sleep on the word at this address. The word itself is not touched: it may be gone
 * already. A thread that sleeps on another word at the same address is woken spuriously. */
void wg_unpark_one(const wg_a32 *word);
void wg_unpark_all(const wg_a32 *word);

/* Around a fork, in the thread that forks: before it, nobody may be on the way into a sleep or a wake; after it, in the child,
 * nobody sleeps. */
void wg_park_before_fork(void);
void wg_park_after_fork(bool in_child);

/* The name of this way of sleeping, for people. */
extern const char wg_park_name[];

#endif
