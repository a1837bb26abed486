/* mutex.c - what wg_mutex_lock does when somebody else holds the lock. */
#include "mutex.h"

#include "os.h"

/* Critical sections are some tens of nanoseconds; a sleep costs microseconds. A model checker asks for fewer. */
#ifndef SPINS
#define SPINS 100
#endif

void wg_mutex_lock_contended(wg_mutex *lock) {
    for (int i = 0; i < SPINS; i++) {
        uint32_t word = wg_load_relaxed32(&lock->word);
        if (word == 0 && wg_cas_acquire32(&lock->word, &word, 1))
            return;
        wg_pause();
    }
    while (wg_swap_acquire32(&lock->word, 2) != 0)
        wg_park(&lock->word, 2, 0, false);
}
