/* lock.c - the locks of this binding that several threads take. All are held across a fork, so that none is left locked in
 * the child by a thread that does not exist there. At most one of them is held at a time, except by a fork. */
#include <pthread.h>

#include "wgl.h"

static pthread_mutex_t locks[WGL_LOCKS] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};

static void take_all(void) {
    for (int i = 0; i < WGL_LOCKS; i++)
        pthread_mutex_lock(&locks[i]);
}

static void give_all(void) {
    for (int i = WGL_LOCKS - 1; i >= 0; i--)
        pthread_mutex_unlock(&locks[i]);
}

static void in_child(void) {
    give_all();
    wgl_hope_forked();
}

static void watch_forks(void) { pthread_atfork(take_all, give_all, in_child); }

void wgl_lock(wgl_lock_name name) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&locks[name]);
}

void wgl_unlock(wgl_lock_name name) { pthread_mutex_unlock(&locks[name]); }
