/* shortage.h - pools that lack a thread which could not be started.
 *
 * What a thread waits for may need that thread, so whoever waits tries again for it from time to time. A wait knows no pools:
 * the pool that comes into need says how to try again. */
#ifndef WG_SHORTAGE_H
#define WG_SHORTAGE_H

#include <stdbool.h>

/* One more pool lacks a thread: `again` tries to start one for each that does, with no lock held; always the same function.
 * One less does. */
void wg_shortage_begins(void (*again)(void));
void wg_shortage_ends(void);

/* Does any pool lack a thread; try again for all. */
bool wg_threads_lack(void);
void wg_threads_retry(void);

/* For the child of a fork: none does. */
void wg_shortage_reset(void);

#endif
