/* hope.c - loops that only tasks on other threads keep from a deadlock.
 *
 * All coroutines of a state sleep, and what they wait for can come only from a task on another thread, for instance by an
 * error that cancels a context. Nothing tells the loop that this task has ended without doing so. Therefore the loop
 * *hopes* while it sleeps, and the end of such a task rouses it: it looks again, and may find that it is stuck.
 *
 * A loop first counts as hoping, then looks, then sleeps. A task first ends, then looks whether any loop hopes. So one of
 * the two sees the other. */
#include "loop.h"

/* How many tasks were given to their groups, and how many of them have ended. Threads that start tasks write the first
 * number, workers write the second, so each has a cache line of its own. A task is counted before its group gets it, so a
 * worker never counts its end first. The second is written with release: a thread that reads it with acquire sees all
 * that the ended tasks did. */
static _Alignas(64) atomic_uint given;
static _Alignas(64) atomic_uint returned;

/* Written under the lock of homes. */
static _Alignas(64) atomic_uint hoping; /* how many homes are in the list */
static wgl_home *hopeful;               /* the list */

/* --- counting thread tasks --- */

static unsigned unfinished(void) {
    unsigned ends = atomic_load(&returned); /* first: an end is counted after its start */
    return atomic_load(&given) - ends;
}

bool wgl_thread_tasks_unfinished(void) { return unfinished() > wgl_worker_depth(); }

void wgl_thread_task_given(void) { atomic_fetch_add_explicit(&given, 1, memory_order_relaxed); }

void wgl_thread_task_returned(wgl_errgroup *group) {
    atomic_fetch_add(&returned, 1);
    wgl_hope_less(group);
}

/* --- hoping --- */

void wgl_hope_for(wgl_errgroup *group, unsigned own) {
    unsigned known = atomic_load(&group->hoped);
    while (known < own && !atomic_compare_exchange_weak(&group->hoped, &known, own)) {}
}

void wgl_hope_enter(wgl_home *home) {
    home->hope_depth = wgl_worker_depth();
    wgl_lock(WGL_LOCK_HOMES);
    home->next_hopeful = hopeful;
    hopeful = home;
    atomic_fetch_add(&hoping, 1);
    wgl_unlock(WGL_LOCK_HOMES);
}

void wgl_hope_leave(wgl_home *home) {
    wgl_lock(WGL_LOCK_HOMES);
    wgl_home **at = &hopeful;
    while (*at != home)
        at = &(*at)->next_hopeful;
    *at = home->next_hopeful;
    atomic_fetch_sub(&hoping, 1);
    wgl_unlock(WGL_LOCK_HOMES);
}

/* Rouse those that may be stuck: all of them if `of_group`. */
static void rouse(bool of_group) {
    wgl_lock(WGL_LOCK_HOMES);
    unsigned left = unfinished();
    for (wgl_home *home = hopeful; home; home = home->next_hopeful)
        if (of_group || left <= home->hope_depth)
            wgl_home_rouse(home);
    wgl_unlock(WGL_LOCK_HOMES);
}

void wgl_hope_less(wgl_errgroup *group) {
    if (atomic_load(&hoping) > 0)
        rouse((unsigned)wg_count(wg_errgroup_tasks(group->group)) <= atomic_load(&group->hoped));
}

void wgl_hope_forked(void) {
    atomic_store(&returned, atomic_load(&given) - wgl_worker_depth());
    atomic_store(&hoping, 0);
    hopeful = NULL;
}
