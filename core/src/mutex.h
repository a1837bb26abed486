/* mutex.h - a mutex of one word, over park.h: so that the same locks run under a test's scheduler.
 *
 * word: 0 free; 1 held; 2 held, and somebody may sleep on it. Only a thread that is about to sleep sets 2, and a thread
 * that has slept keeps it at 2, since others may sleep still. Whoever takes 2 away wakes one.
 *
 * Lock order: the core never takes a second lock while it holds one, except a queue's while it holds its pool's, and a
 * bucket's while it holds that of deadlock.c, and that of a timeline's file while it holds a buffer's, and calls nobody else's
 * code while it holds any. Fork.c takes all of them, in the order: timeline, dropped groups, helpers, registry, timer, pools, deadlock.c,
 * buckets. */
#ifndef WG_MUTEX_H
#define WG_MUTEX_H

#include "park.h"

typedef struct wg_mutex {
    wg_a32 word;
} wg_mutex;

void wg_mutex_lock_contended(wg_mutex *lock);

static inline void wg_mutex_lock(wg_mutex *lock) {
    uint32_t free = 0;
    if (!wg_cas_acquire32(&lock->word, &free, 1))
        wg_mutex_lock_contended(lock);
}

/* After the swap the lock may be gone with its owner; only its address is used. */
static inline void wg_mutex_unlock(wg_mutex *lock) {
    if (wg_swap_release32(&lock->word, 0) == 2)
        wg_unpark_one(&lock->word);
}

#endif
