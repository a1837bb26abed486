/* lock.h - a mutex of one word, over park.h: so that the same locks run under a test's scheduler.
 *
 * word: 0 free; 1 held; 2 held, and somebody may sleep on it. Only a thread that is about to sleep sets 2, and a thread
 * that has slept keeps it at 2, since others may sleep still. Whoever takes 2 away wakes one.
 *
 * Lock order: the core never takes a second lock while it holds one, but a lane's while it holds its pool's, and calls
 * nobody else's code while it holds any. Fork.c takes all of them, in the order: timer, pools, stripes. */
#ifndef WG_LOCK_H
#define WG_LOCK_H

#include "park.h"

typedef struct wg_lock {
    wg_a32 word;
} wg_lock;

void wg_lock_contended(wg_lock *lock);

static inline void wg_lock_take(wg_lock *lock) {
    uint32_t free = 0;
    if (!wg_cas_acquire32(&lock->word, &free, 1))
        wg_lock_contended(lock);
}

/* After the swap the lock may be gone with its owner; only its address is used. */
static inline void wg_lock_give(wg_lock *lock) {
    if (wg_swap_release32(&lock->word, 0) == 2)
        wg_unpark_one(&lock->word);
}

#endif
