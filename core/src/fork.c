/* fork.c - fork in the middle of work.
 *
 * The handlers hold every lock of the core across the fork, so that the child finds all lists whole. That cannot
 * deadlock: nothing is waited for, and nobody else's code is called, while one is held. Not held are the locks of queues:
 * see wg_pools_reset.
 *
 * The child has one thread, the one that forked. It may have done so in a task, in an observer, in what a host does for a
 * pool, and inside a wait; it goes on there. All other threads are gone, with what they had on their stacks. So in the
 * child pools are empty, nobody sleeps, tasks that were in flight are gone, and the words that counted them bear an
 * older epoch, by which a wait knows that it would never end.
 *
 * The handler in the child calls nobody, allocates nothing and starts no thread: it may run before the handlers of other
 * libraries have put their locks in order, and before an interpreter has. What is left to do is done by the first call
 * of the program that looks, waits or observes; see wg_contexts_catch_up. */
#include "fork.h"

#include "context.h"
#include "count.h"
#include "deadlock.h"
#include "helper.h"
#include "dropped.h"
#include "pool.h"
#include "registry.h"
#include "timer.h"
#include "trace_file.h"
#include "trace.h"
#include "waitqueue.h"

wg_a32 wg_epoch;

uint32_t wg_fork_epoch(void) { return wg_epoch_now(); }

void wg_before_fork(void) {
    wg_trace_file_lock();
    wg_dropped_lock();
    wg_helpers_lock();
    wg_registry_lock();
    wg_timer_lock();
    wg_pools_lock();
    wg_deadlock_lock();
    wg_buckets_lock();
}

void wg_after_fork_in_parent(void) {
    wg_buckets_unlock();
    wg_deadlock_unlock();
    wg_pools_unlock();
    wg_timer_unlock();
    wg_registry_unlock();
    wg_helpers_unlock();
    wg_dropped_unlock();
    wg_trace_file_unlock();
}

void wg_after_fork_in_child(void) {
    wg_store_relaxed32(&wg_epoch, (wg_epoch_now() + 1) & 0x7fffffff);
    wg_buckets_reset();
    wg_deadlock_reset();
    wg_pools_reset();
    wg_handlers_reset();
    wg_contexts_reset();
    wg_trace_reset();
    wg_after_fork_in_parent();
}
