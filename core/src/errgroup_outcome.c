/* errgroup_outcome.c - how an error group ends: the grace period, the outcome, and what waits for it or observes it.
 *
 * The outcome is given once, by the first wait that finds the group at zero, or its grace period over. Under the lock it
 * closes the count, so that no task comes after, and stores the outcome; then it ends the context of the group.
 *
 * The grace period begins with the first look at the group after its context has ended, and is fixed from then on.
 *
 * Observers of the outcome are called when all tasks have ended, and when the grace period has. For that the group observes
 * its own zero, the end of its context, and then a context with the end of the grace period as its deadline: each of the three
 * only once somebody observes the outcome, and once. */
#include "errgroup.h"

#include "context.h"
#include "count.h"
#include "deadline.h"
#include "deadlock.h"
#include "errgroup_state.h"
#include "frame.h"
#include "pool.h"
#include "wait.h"

/* When the grace period ends. Later waits, and those that go on after an interruption, do not prolong it. */
static int64_t end_of_grace(wg_errgroup *g) {
    uint64_t end = wg_load_relaxed64(&g->grace_end), fresh = (uint64_t)wg_after(g->grace);
    return (int64_t)(end == 0 && wg_cas_relaxed64(&g->grace_end, &end, fresh) ? fresh : end);
}

/* The outcome. */

/* Under the lock, before the group's own end cancels the context. */
static wg_status judge(wg_errgroup *g) {
    if (g->failures > 0)
        return WG_FAILED;
    wg_status status = wg_context_status(g->context);
    return status != WG_OK && wg_context_stopped(g->context) ? WG_OK : status;
}

/* Give the outcome; false if tasks have been added meanwhile. */
static bool finish(wg_errgroup *g, bool leave_stragglers) {
    struct wg_bucket *bucket = wg_group_bucket(g);
    wg_context_check(g->context);
    wg_mutex_lock(&bucket->lock);
    bool finished = wg_load_relaxed32(&g->slots.closed), first = false;
    if (!finished && (wg_count_close(&g->slots.tasks) || leave_stragglers)) {
        g->outcome = judge(g);
        wg_store_release32(&g->slots.closed, 1);
        finished = first = true;
    }
    wg_mutex_unlock(&bucket->lock);
    if (finished)
        wg_context_close(g->context, g->failed ? g->failed->as.failed.error : NULL);
    if (first)
        wg_trace_group(&g->slots.tasks, wg_group_label(g), g->where, g->language, g->made, g->outcome);
    return finished;
}

/* To wait for it. */

static wg_status wait_for_zero(wg_errgroup *g, const wg_until *until, wg_context *context) {
    struct wg_wish wish = {.what = WG_FOR_ZERO, .subject = &g->slots.tasks, .group = g};
    return wg_wait_zero(&g->slots.tasks, until, context, &wish);
}

/* Wait for the tasks, or for the end of grace: then *grace_over. */
static wg_status wait_for_tasks(wg_errgroup *g, const wg_until *until, bool *grace_over) {
    if (g->grace == 0) {
        bool unbounded = wg_until_unbounded(until) && !until->interruptible;
        while (unbounded && wg_count(&g->slots.tasks) > 0 && wg_pool_help(g->pool, &g->queue)) {}
        return wait_for_zero(g, until, NULL);
    }
    if (wg_context_check(g->context) == WG_OK) {
        wg_status status = wait_for_zero(g, until, g->context);
        if (status != WG_CANCELLED)
            return status;
    }
    int64_t grace_end = end_of_grace(g);
    wg_until shorter = *until;
    shorter.deadline = wg_earlier(until->deadline, grace_end);
    wg_status status = wait_for_zero(g, &shorter, NULL);
    *grace_over = status == WG_TIMEOUT && wg_passed(grace_end);
    return *grace_over ? WG_OK : status;
}

/* Wait until the outcome is given. A task that waits for a group which ends with the task's own context is leaving the
 * block of that group: the group is cancelled with the context, and its tasks are waited for. */
static wg_status wait_for_outcome(wg_errgroup *g, wg_until until) {
    if (wg_load_acquire32(&g->slots.closed))
        return WG_OK;
    if (wg_runs_task_of(&g->slots.tasks)) {
        wg_own_group_describe(g, &until);
        return WG_DEADLOCK;
    }
    wg_context *bound = until.context ? NULL : wg_context_current();
    if (bound && wg_context_descends(g->context, bound))
        until.context = wg_context_root();
    wg_status status;
    bool grace_over = false;
    do
        status = wait_for_tasks(g, &until, &grace_over);
    while (status == WG_OK && !finish(g, grace_over));
    return status;
}

/* A call of wg_errgroup_wait. The thread may end in it: in a task that it runs meanwhile, or in an observer. */
struct outcome_wait {
    wg_errgroup *group; /* with a reference: giving up the last one during the wait does no harm */
    wg_until until;
    wg_error **first;
    wg_status status;
    bool begun;
};

/* The error that goes with an outcome. */
static wg_error *error_of(wg_errgroup *g, wg_status outcome) {
    if (outcome == WG_FAILED)
        return g->failed->as.failed.error;
    return outcome == WG_OK ? NULL : wg_context_cause(g->context);
}

/* See wg_finish. */
static void wait_and_release(void *raw) {
    struct outcome_wait *wait = raw;
    wg_errgroup *g = wait->group;
    if (!wait->begun) {
        wait->begun = true;
        wait->status = wait_for_outcome(g, wait->until);
    }
    if (wait->status == WG_OK) {
        wg_context_close(g->context, NULL); /* the wait that gave the outcome may be on its way there */
        wait->status = g->outcome;
        if (wait->first)
            *wait->first = error_of(g, g->outcome);
    }
    wg_errgroup_release(g);
}

wg_status wg_errgroup_wait(wg_errgroup *g, const wg_until *until, wg_error **first) {
    static const wg_until for_ever = {0};
    if (!g)
        return WG_INVALID;
    struct outcome_wait wait = {.group = wg_errgroup_retain(g), .until = until ? *until : for_ever, .first = first};
    wait.status = WG_TIMEOUT; /* no outcome, unless there is one */
    wg_finish(wait_and_release, &wait);
    return wait.status;
}

wg_status wg_errgroup_wait_task(wg_errgroup *g, const void *arg, wg_waitgroup *ended, const wg_until *until) {
    if (!g || !ended)
        return WG_INVALID;
    struct wg_wish wish = {.what = WG_FOR_TASK, .subject = &g->slots.tasks, .group = g, .slots = &g->slots, .arg = arg};
    return wg_wait_zero(ended, until, NULL, &wish);
}

/* To observe it. */

static void tell_outcome(void *group) {
    wg_errgroup *g = group;
    struct wg_bucket *bucket = wg_group_bucket(g);
    struct wg_wake_q none = {.count = 0};
    wg_mutex_lock(&bucket->lock);
    wg_observers_call(bucket, &g->outcome_observers, g, &none);
    wg_bucket_unlock_and_wake(bucket, &none);
}

/* Set one of the flags; false if it is set already, or nobody observes the outcome. */
static bool begin_watch(wg_errgroup *g, bool *flag) {
    struct wg_bucket *bucket = wg_group_bucket(g);
    wg_mutex_lock(&bucket->lock);
    bool begin = !*flag && wg_list_first(&g->outcome_observers);
    *flag |= begin;
    wg_mutex_unlock(&bucket->lock);
    return begin;
}

/* There may be tasks again later. */
static void tell_zero(void *group) {
    wg_errgroup *g = group;
    struct wg_bucket *bucket = wg_group_bucket(g);
    wg_mutex_lock(&bucket->lock);
    g->zero_watched = false;
    wg_mutex_unlock(&bucket->lock);
    tell_outcome(g);
}

static void watch_zero(wg_errgroup *g) {
    if (begin_watch(g, &g->zero_watched))
        wg_observe_zero(&g->slots.tasks, &g->at_zero, tell_zero, g);
}

/* If the context has ended, let the timer say when the grace period is over. If it cannot, it is over at once. An observer that
 * is told may give up the last reference: nothing is left to be done then. */
static void watch_grace(void *group) {
    wg_errgroup *g = group;
    if (g->grace == 0 || wg_context_status(g->context) == WG_OK || !begin_watch(g, &g->grace_watched))
        return;
    int64_t end = end_of_grace(g);
    if (wg_context_of_group(&g->grace_timer, wg_context_root(), end, wg_group_label(g)) == WG_OK) {
        wg_context_observe(g->grace_timer, &g->at_grace_end, tell_outcome, g);
    } else {
        uint64_t old = (uint64_t)end;
        wg_cas_relaxed64(&g->grace_end, &old, (uint64_t)wg_now());
        tell_outcome(g);
    }
}

/* The release of the group waits for the call that this makes at the end of the context. */
static void watch_cancel(wg_errgroup *g) {
    if (g->grace > 0 && begin_watch(g, &g->cancel_watched))
        wg_context_observe(g->context, &g->at_cancel, watch_grace, g);
}

static bool outcome_is_ready(wg_errgroup *g) {
    bool grace_over = g->grace > 0 && wg_context_status(g->context) != WG_OK && wg_passed(end_of_grace(g));
    return grace_over || wg_load_acquire32(&g->slots.closed) || wg_count(&g->slots.tasks) == 0;
}

/* A call of wg_errgroup_observe_outcome. An observer may end the thread in each step. A step is counted before it is made; see
 * wg_finish. */
struct observing {
    enum { SETTLE, ZERO, CANCEL, GRACE, LET_GO, OVER } step;
    wg_errgroup *group; /* with a reference: the observer may give up the caller's */
    wg_observer *observer;
    void (*fn)(void *arg);
    void *arg;
};

static void settle(const struct observing *call) {
    wg_errgroup *g = call->group;
    struct wg_bucket *bucket = wg_group_bucket(g);
    wg_context_check(g->context);
    wg_mutex_lock(&bucket->lock);
    wg_observer_settle(bucket, &g->outcome_observers, outcome_is_ready(g), g, call->observer, call->fn, call->arg);
}

static void observe(void *raw) {
    struct observing *call = raw;
    while (call->step < OVER)
        switch (call->step++) {
        case SETTLE: settle(call); break;
        case ZERO: watch_zero(call->group); break;
        case CANCEL: watch_cancel(call->group); break;
        case GRACE: watch_grace(call->group); break; /* nobody may have observed the outcome when the context ended */
        case LET_GO: wg_errgroup_release(call->group); break;
        case OVER: break;
        }
}

void wg_errgroup_observe_outcome(wg_errgroup *g, wg_observer *observer, void (*fn)(void *arg), void *arg) {
    struct observing call = {.group = wg_errgroup_retain(g), .observer = observer, .fn = fn, .arg = arg};
    wg_finish(observe, &call);
}

bool wg_errgroup_unobserve_outcome(wg_errgroup *g, wg_observer *observer, bool sync) {
    return wg_observer_remove(wg_group_bucket(g), observer, sync);
}
