/* fork.c - fork in the middle of work.
 *
 * The handlers hold every lock of the core across the fork, so that the child finds all lists whole. That cannot
 * deadlock: nothing is waited for, and nobody else's code is called, while one is held. In the child there are no
 * threads of ours: pools are empty, nobody sleeps, tasks that were in flight are gone, and the words that counted them
 * bear an older epoch, by which a wait knows that it would never end. */
#define _POSIX_C_SOURCE 200809L
#include "fork.h"

#include <pthread.h>

#include "context.h"
#include "count.h"
#include "pool.h"
#include "stripe.h"
#include "timer.h"

wg_a32 wg_epoch;

static void before(void) {
    wg_handlers_lock();
    wg_timer_take();
    wg_pools_take();
    wg_stripes_take();
}

static void after_in_parent(void) {
    wg_stripes_give();
    wg_pools_give();
    wg_timer_give();
    wg_handlers_unlock();
}

static void after_in_child(void) {
    wg_store_relaxed32(&wg_epoch, (wg_fork_epoch() + 1) & 0x7fffffff);
    wg_stripes_reset();
    wg_pools_reset();
    wg_contexts_reset();
    after_in_parent();
}

__attribute__((constructor)) static void listen(void) { pthread_atfork(before, after_in_parent, after_in_child); }
