/* blocking.h - what a thread that waits tells the floor above, which runs tasks. The calls are declared here, so that a wait
 * knows nothing of pools; pool.c defines them. */
#ifndef WG_BLOCKING_H
#define WG_BLOCKING_H

#include <stdbool.h>

#include "waitgroup/pool.h"

/* Call the first before this thread sleeps in a wait of the library, and the second when it has woken: the core of a thread that
 * runs tasks is free meanwhile. */
void wg_thread_blocks(void);
void wg_thread_unblocks(void);

/* Does a pool lack a thread that could not be started? What is waited for may need that thread, so a thread that waits tries
 * again for it from time to time. */
bool wg_threads_lack(void);
void wg_threads_retry(void);

/* Is it worth spinning until another thread (of this pool, if it is not NULL) has done something? Not on one core, nor
 * under an interpreter lock. */
bool wg_worth_spinning(const wg_pool *pool);

#endif
