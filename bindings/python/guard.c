/* guard.c - the locks behind guard_take() where there is no GIL: one table for all objects.
 *
 * They are mutexes of the system and not Python's: a thread that waits for one stays attached, and nobody hands one over
 * to a thread that sleeps; so no thread owns one while it is stopped. A fork holds them all, and the child finds each
 * object whole. */
#include "compat.h"

#ifdef Py_GIL_DISABLED
#include <pthread.h>
#include <stdint.h>

#define LOCKS 64

static pthread_mutex_t locks[LOCKS]; /* all zero is PTHREAD_MUTEX_INITIALIZER on every system with such builds */

static pthread_mutex_t *lock_of(const guard *g) { return &locks[(uintptr_t)g * 0x9E3779B97F4A7C15U >> 58]; }

void guard_take(guard *g) { pthread_mutex_lock(lock_of(g)); }

void guard_give(guard *g) { pthread_mutex_unlock(lock_of(g)); }

void guards_take_all(void) {
    for (int i = 0; i < LOCKS; i++)
        pthread_mutex_lock(&locks[i]);
}

void guards_give_all(void) {
    for (int i = 0; i < LOCKS; i++)
        pthread_mutex_unlock(&locks[i]);
}
#else
void guards_take_all(void) {}
void guards_give_all(void) {}
#endif
