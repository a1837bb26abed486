/* waitgroup.c - the wait group: its word (see count.h for the invariants) and the calls on it. */
#include "count.h"

#include <stddef.h>

#include "context.h"
#include "deadlock.h"
#include "fork.h"
#include "wait.h"

_Static_assert(sizeof(wg_waitgroup) <= 16, "a wait group is small");
_Static_assert(sizeof(wg_a64) == sizeof(uint64_t), "atomics are lock-free");

/* `state` after a step of `n`. Leaving zero marks the process; reaching zero ends what was asked of the old round. */
static inline uint64_t step(uint64_t state, int64_t n) {
    uint64_t next = state + (uint64_t)n * WG_ONE;
    if (wg_count_of(state) == 0)
        next = (next & ((UINT64_C(1) << WG_EPOCH_SHIFT) - 1)) | (uint64_t)wg_epoch_now() << WG_EPOCH_SHIFT;
    else if (wg_count_of(next) == 0)
        next &= ~WG_ZERO_WAITERS;
    return next;
}

static bool closed(uint64_t state) { return wg_count_of(state) == 0 && (state & WG_ZERO_WAITERS); }

static bool from_before_fork(uint64_t state) {
    return wg_count_of(state) > 0 && (uint32_t)(state >> WG_EPOCH_SHIFT) != wg_epoch_now();
}

/* The step to zero when somebody may wait for it. Takes the lock, and returns false if the word changed meanwhile. The
 * acquire half of acq_rel hands on to the waiters what all earlier steps down released. */
static bool to_zero(wg_waitgroup *wg, uint64_t state) {
    struct wg_bucket *bucket = wg_bucket_of(wg);
    struct wg_wake_q wakes = {.count = 0};
    wg_mutex_lock(&bucket->lock);
    bool stepped = wg_cas_acq_rel64(wg_state(wg), &state, step(state, -(int64_t)wg_count_of(state)));
    if (stepped) {
        wg_wait_entries_wake(bucket, wg, &wakes);
        wg_observers_call(bucket, &bucket->observers, wg, &wakes);
    }
    wg_bucket_unlock_and_wake(bucket, &wakes);
    wg_contexts_catch_up(); /* an observer may have forked */
    return stepped;
}

wg_status wg_add(wg_waitgroup *wg, int64_t n) {
    if (!wg)
        return WG_INVALID;
    uint64_t state = wg_load_relaxed64(wg_state(wg));
    for (unsigned pauses = 0;; pauses = wg_back_off(pauses), state = wg_load_relaxed64(wg_state(wg))) {
        int64_t count = wg_count_of(state);
        if (n < -count)
            return WG_NEGATIVE;
        if (n > WG_COUNT_MAX - count)
            return WG_OVERFLOW;
        if (n == 0)
            return WG_OK;
        if (count + n == 0 && (state & WG_ZERO_WAITERS)) {
            if (to_zero(wg, state))
                return WG_OK;
        } else if (wg_cas_acq_rel64(wg_state(wg), &state, step(state, n)))
            return WG_OK;
    }
}

wg_status wg_done(wg_waitgroup *wg) { return wg_add(wg, -1); }

bool wg_count_try_done(wg_waitgroup *wg, wg_status *status) {
    uint64_t state = wg_load_relaxed64(wg_state(wg));
    while (wg_count_of(state) > 1 || !(state & WG_ZERO_WAITERS)) {
        *status = wg_count_of(state) == 0 ? WG_NEGATIVE : WG_OK;
        if (*status != WG_OK || wg_cas_acq_rel64(wg_state(wg), &state, step(state, -1)))
            return true;
    }
    return false;
}

int32_t wg_count(const wg_waitgroup *wg) { return wg ? wg_count_of(wg_load_relaxed64(wg_state(wg))) : 0; }

/* Under the bucket's lock: ask to be told of zero. False if it is zero. */
static bool ask_for_zero(wg_waitgroup *wg) {
    uint64_t state = wg_load_acquire64(wg_state(wg));
    while (wg_count_of(state) > 0 && !(state & WG_ZERO_WAITERS))
        if (wg_cas_acq_rel64(wg_state(wg), &state, state | WG_ZERO_WAITERS))
            return true;
    return wg_count_of(state) > 0;
}

wg_status wg_wait(wg_waitgroup *wg, const wg_until *until) {
    if (!wg)
        return WG_INVALID;
    if (wg_count_of(wg_load_acquire64(wg_state(wg))) == 0)
        return WG_OK;
    struct wg_wish wish = {.what = WG_FOR_ZERO, .subject = wg};
    return wg_wait_zero(wg, until, NULL, &wish);
}

wg_status wg_wait_task(wg_waitgroup *wg, const void *arg, wg_waitgroup *ended, const wg_until *until) {
    if (!wg || !ended)
        return WG_INVALID;
    struct wg_wish wish = {.what = WG_FOR_TASK, .subject = wg, .arg = arg};
    return wg_wait_zero(ended, until, NULL, &wish);
}

bool wg_wait_link(wg_waitgroup *wg, struct wg_wait_entry *entry) {
    struct wg_bucket *bucket = wg_bucket_of(wg);
    wg_mutex_lock(&bucket->lock);
    bool asked = ask_for_zero(wg);
    if (asked) {
        entry->subject = wg;
        wg_wait_entry_link(bucket, entry);
    }
    wg_mutex_unlock(&bucket->lock);
    return asked;
}

wg_status wg_wait_look(const wg_waitgroup *wg) {
    uint64_t state = wg_load_acquire64(wg_state(wg));
    if (wg_count_of(state) == 0)
        return WG_OK;
    return from_before_fork(state) ? WG_FORKED : WG_TIMEOUT;
}

void wg_observe_zero(wg_waitgroup *wg, wg_observer *observer, void (*fn)(void *arg), void *arg) {
    wg_contexts_catch_up();
    struct wg_bucket *bucket = wg_bucket_of(wg);
    wg_mutex_lock(&bucket->lock);
    wg_observer_settle(bucket, &bucket->observers, !ask_for_zero(wg), wg, observer, fn, arg);
    wg_contexts_catch_up();
}

bool wg_unobserve_zero(wg_waitgroup *wg, wg_observer *observer, bool sync) {
    return wg_observer_remove(wg_bucket_of(wg), observer, sync);
}

/* The steps of an error group. */

wg_status wg_count_enter(wg_waitgroup *wg, int32_t limit, bool *first) {
    uint64_t state = wg_load_relaxed64(wg_state(wg));
    for (;;) {
        int32_t count = wg_count_of(state);
        if (closed(state))
            return WG_FINISHED;
        if (from_before_fork(state))
            return WG_FORKED;
        if ((state & WG_SLOT_WAITERS) || count >= limit)
            return count == WG_COUNT_MAX ? WG_OVERFLOW : WG_LIMIT;
        if (wg_cas_acq_rel64(wg_state(wg), &state, step(state, 1))) {
            *first = count == 0;
            return WG_OK;
        }
    }
}

bool wg_count_admit(wg_waitgroup *wg, int32_t limit) {
    uint64_t state = wg_load_relaxed64(wg_state(wg));
    while (wg_count_of(state) > 0 && wg_count_of(state) < limit)
        if (wg_cas_acq_rel64(wg_state(wg), &state, step(state, 1)))
            return true;
    return false;
}

bool wg_count_leave(wg_waitgroup *wg, bool *last) {
    uint64_t state = wg_load_relaxed64(wg_state(wg));
    while (!(state & WG_SLOT_WAITERS)) {
        bool to_last = wg_count_of(state) == 1;
        if (to_last && (state & WG_ZERO_WAITERS)) {
            *last = true; /* set before: an observer may end the thread */
            if (to_zero(wg, state))
                return true;
            *last = false;
            state = wg_load_relaxed64(wg_state(wg));
        } else if (wg_cas_acq_rel64(wg_state(wg), &state, step(state, -1))) {
            *last = to_last;
            return true;
        }
    }
    return false;
}

int32_t wg_count_leave_locked(wg_waitgroup *wg, struct wg_bucket *bucket, struct wg_wake_q *wakes) {
    uint64_t state = wg_load_relaxed64(wg_state(wg));
    while (!wg_cas_acq_rel64(wg_state(wg), &state, step(state, -1))) {}
    int32_t left = wg_count_of(state) - 1;
    if (left == 0 && (state & WG_ZERO_WAITERS)) {
        wg_wait_entries_wake(bucket, wg, wakes);
        wg_observers_call(bucket, &bucket->observers, wg, wakes);
    }
    return left;
}

bool wg_count_gate(wg_waitgroup *wg, int32_t limit) {
    uint64_t state = wg_load_relaxed64(wg_state(wg));
    while (wg_count_of(state) >= limit)
        if (wg_cas_acq_rel64(wg_state(wg), &state, state | WG_SLOT_WAITERS))
            return true;
    return false;
}

void wg_count_ungate(wg_waitgroup *wg) {
    uint64_t state = wg_load_relaxed64(wg_state(wg));
    while (!wg_cas_relaxed64(wg_state(wg), &state, state & ~WG_SLOT_WAITERS)) {}
}

bool wg_count_close(wg_waitgroup *wg) {
    uint64_t state = wg_load_relaxed64(wg_state(wg));
    while (wg_count_of(state) == 0)
        if (closed(state) || wg_cas_acq_rel64(wg_state(wg), &state, state | WG_ZERO_WAITERS))
            return true;
    return false;
}
