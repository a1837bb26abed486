/* slots.c - see slots.h. */
#include "slots.h"

#include "context.h"
#include "deadline.h"
#include "deadlock.h"
#include "fork.h"
#include "frame.h"
#include "pool.h"
#include "wait.h"

/* How often to look for a slot before a sleep, at most. That takes about as long as to sleep and be woken on another
 * core, so it costs at most as much again; if this thread slept, the workers would fall asleep too, and would have to be
 * woken. */
#define MOST_SPINS 2000

/* A thread that sleeps for a slot; on its stack. */
struct slot_sleeper {
    struct wg_waiter waiter;
    wg_observer place; /* in the queue */
    bool ahead;        /* a place ahead of the slots will do */
};

void wg_slots_init(struct wg_slots *slots, int32_t limit, int32_t ahead, const wg_pool *pool, wg_context *context) {
    *slots = (struct wg_slots){
        .limit = (uint32_t)limit, .ahead = ahead, .pool = pool, .context = context, .spins = MOST_SPINS};
}

int32_t wg_slots_limit(const struct wg_slots *slots) { return (int32_t)wg_load_relaxed32(&slots->limit); }

static struct wg_bucket *bucket_of(struct wg_slots *slots) { return wg_bucket_of(&slots->tasks); }

/* How many tasks may be in: with slots only, or with those ahead of the slots as well. */
static int32_t room(const struct wg_slots *slots, bool ahead) {
    int32_t limit = wg_slots_limit(slots), more = ahead ? slots->ahead : 0;
    return more > WG_COUNT_MAX - limit ? WG_COUNT_MAX : limit + more;
}

/* The queue. All of this is called with the lock held. */

static wg_observer *waiter_at(struct wg_link *link) { return WG_MEMBER(link, wg_observer, link_); }

static wg_observer *first_waiter(struct wg_slots *slots) { return waiter_at(wg_list_first(&slots->queue)); }

static struct slot_sleeper *sleeper_of(wg_observer *waiter) {
    return (struct slot_sleeper *)((char *)waiter - offsetof(struct slot_sleeper, place));
}

static int32_t room_for(const struct wg_slots *slots, wg_observer *waiter) {
    return room(slots, !waiter->fn_ && sleeper_of(waiter)->ahead);
}

static int32_t in_use(struct wg_slots *slots) { return wg_count(&slots->tasks) - slots->stored_count; }

static void join(struct wg_slots *slots, wg_observer *waiter) {
    wg_observer_link(bucket_of(slots), &slots->queue, waiter);
}

/* Take `waiter` out of the queue with its answer. A thread may return once its bit is set. */
static void answer(struct wg_slots *slots, wg_observer *waiter, wg_status status, struct wg_wake_q *wakes) {
    wg_observer_unlink(waiter);
    if (!waiter->fn_) {
        wg_wake_q_add(wakes, &sleeper_of(waiter)->waiter.word, status == WG_OK ? WG_ON_SUBJECT : WG_ON_DEADLOCK);
    } else {
        waiter->status_ = status;
        wg_observer_come(waiter);
        wg_observer_link(bucket_of(slots), &slots->handed, waiter);
    }
}

/* Let in whoever comes first, as long as there is room. */
static void serve(struct wg_slots *slots, struct wg_wake_q *wakes) {
    for (bool served = true; served;) {
        wg_observer *first = first_waiter(slots);
        served = first && wg_count_admit(&slots->tasks, room_for(slots, first));
        if (served)
            answer(slots, first, WG_OK, wakes);
    }
}

/* Make those stored tasks ready for which there are slots, `spare` of which are still counted as in use. What was left in
 * the parent of a fork does not start here. */
static void start_stored(struct wg_slots *slots, int32_t spare, struct wg_link *ready) {
    while (slots->stored_count > 0 && in_use(slots) - spare < wg_slots_limit(slots)) {
        struct wg_link *task = wg_list_first(&slots->stored);
        wg_list_remove(task);
        slots->stored_count--;
        if (wg_wait_look(&slots->tasks) != WG_FORKED)
            wg_list_append(ready, task);
    }
}

/* The next three are called by break_deadlock, which deadlock.c calls with its lock held. The wait of a waiter, if it is
 * published; before, it has yet to look. */
static struct wg_wait_record *published(wg_observer *waiter) {
    struct wg_wait_record *record = waiter->fn_ ? waiter->wait_ : &sleeper_of(waiter)->waiter.record;
    return record && record->published ? record : NULL;
}

static bool holds_slot(const struct wg_slots *slots, const struct wg_wait_record *record) {
    const struct wg_frame *frame = record->frames;
    while (frame && frame->tasks != &slots->tasks)
        frame = frame->outer;
    return frame;
}

/* The waiter that gets the error of a deadlock: the last that holds a slot, or else the last that is published. */
static wg_observer *last_to_hear(struct wg_slots *slots) {
    wg_observer *last = NULL;
    bool holds = false;
    for (struct wg_link *link = wg_list_first(&slots->queue); link; link = wg_list_after(&slots->queue, link)) {
        const struct wg_wait_record *record = published(waiter_at(link));
        if (!record || (holds && !holds_slot(slots, record)))
            continue;
        last = waiter_at(link);
        holds = holds_slot(slots, record);
    }
    return last;
}

static void open_gate_if_unwanted(struct wg_slots *slots) {
    if (!first_waiter(slots) && slots->stored_count == 0)
        wg_count_ungate(&slots->tasks);
}

/* Ends each section that changes the queue: releases the lock, then wakes the threads and calls the observers that have
 * an answer. These may end the thread, so it comes last. */
static void unlock_and_tell(struct wg_slots *slots, struct wg_wake_q *wakes) {
    struct wg_bucket *bucket = bucket_of(slots);
    open_gate_if_unwanted(slots);
    wg_observers_call(bucket, &slots->handed, slots, wakes);
    wg_bucket_unlock_and_wake(bucket, wakes);
}

/* Deadlocks. */

bool wg_slots_held_by(struct wg_slots *slots, unsigned tasks) {
    struct wg_bucket *bucket = bucket_of(slots);
    wg_mutex_lock(&bucket->lock);
    bool held = in_use(slots) >= wg_slots_limit(slots) && tasks == (unsigned)in_use(slots);
    wg_mutex_unlock(&bucket->lock);
    return held;
}

/* No slot in use will be given back. An observer is called when the lock is let go, see unlock_and_tell. */
static void break_deadlock(struct wg_slots *slots) {
    struct wg_bucket *bucket = bucket_of(slots);
    struct wg_wake_q wakes = {.count = 0};
    wg_mutex_lock(&bucket->lock);
    wg_observer *last = last_to_hear(slots);
    if (last)
        wg_deadlock_describe(published(last));
    if (last) /* else they are in the parent of a fork */
        answer(slots, last, WG_DEADLOCK, &wakes);
    wg_bucket_unlock_and_wake(bucket, &wakes);
}

/* If those that wait here do so for ever, one of them gets its answer. With the lock held, let go meanwhile. */
static void look_for_deadlock(struct wg_slots *slots, struct wg_wake_q *wakes) {
    wg_bucket_unlock_and_wake(bucket_of(slots), wakes);
    wg_deadlock_break(slots, break_deadlock);
    wg_mutex_lock(&bucket_of(slots)->lock);
}

/* Giving back. */

bool wg_slots_give_quickly(struct wg_slots *slots, bool *last) { return wg_count_leave(&slots->tasks, last); }

void wg_slots_give(struct wg_slots *slots, struct wg_link *ready, bool *last) {
    struct wg_bucket *bucket = bucket_of(slots);
    struct wg_wake_q wakes = {.count = 0};
    wg_mutex_lock(&bucket->lock);
    start_stored(slots, 1, ready); /* the place ahead of the slots that this leaves free is handed on below */
    wg_observer *first = first_waiter(slots);
    bool handed = first && wg_count(&slots->tasks) <= room_for(slots, first);
    if (handed) {
        answer(slots, first, WG_OK, &wakes);
    } else {
        /* At zero it calls observers, which may end the thread: what comes after must be done before. */
        open_gate_if_unwanted(slots);
        *last = true;
        *last = wg_count_leave_locked(&slots->tasks, bucket, &wakes) == 0;
    }
    if (first_waiter(slots) && !handed)
        look_for_deadlock(slots, &wakes);
    unlock_and_tell(slots, &wakes);
}

void wg_slots_resize(struct wg_slots *slots, int32_t limit, struct wg_link *ready) {
    struct wg_wake_q wakes = {.count = 0};
    wg_mutex_lock(&bucket_of(slots)->lock);
    wg_store_relaxed32(&slots->limit, (uint32_t)limit);
    start_stored(slots, 0, ready);
    serve(slots, &wakes);
    unlock_and_tell(slots, &wakes);
}

void wg_slots_place(struct wg_slots *slots, struct wg_link *task, struct wg_link *ready) {
    struct wg_wake_q wakes = {.count = 0};
    wg_mutex_lock(&bucket_of(slots)->lock);
    if (wg_context_status(slots->context) != WG_OK) {
        wg_list_append(ready, task); /* to be dropped */
    } else {
        wg_list_append(&slots->stored, task);
        slots->stored_count++;
        wg_count_gate(&slots->tasks, 0); /* first: a slot given back from now on is seen */
        start_stored(slots, 0, ready);
    }
    unlock_and_tell(slots, &wakes);
}

void wg_slots_end(struct wg_slots *slots, struct wg_link *ready) {
    struct wg_wake_q wakes = {.count = 0};
    wg_mutex_lock(&bucket_of(slots)->lock);
    for (struct wg_link *link; (link = wg_list_first(&slots->stored)); slots->stored_count--) {
        wg_list_remove(link);
        wg_list_append(ready, link);
    }
    for (struct wg_link *link = wg_list_first(&slots->queue), *next; link; link = next) {
        next = wg_list_after(&slots->queue, link);
        if (waiter_at(link)->fn_) /* a thread sleeps on the context as well */
            answer(slots, waiter_at(link), wg_context_status(slots->context), &wakes);
    }
    unlock_and_tell(slots, &wakes);
}

/* Taking. */

wg_status wg_slots_try(struct wg_slots *slots, bool *first) {
    *first = false;
    if (wg_load_acquire32(&slots->closed))
        return WG_FINISHED;
    return wg_count_enter(&slots->tasks, wg_slots_limit(slots), first);
}

/* Take a place ahead of the slots if there is one and nobody waits. */
static wg_status try_ahead(struct wg_slots *slots) {
    struct wg_bucket *bucket = bucket_of(slots);
    if (wg_count(&slots->tasks) >= room(slots, true))
        return WG_LIMIT;
    wg_mutex_lock(&bucket->lock);
    bool in = !first_waiter(slots) && wg_count_admit(&slots->tasks, room(slots, true));
    wg_mutex_unlock(&bucket->lock);
    return in ? WG_OK : WG_LIMIT;
}

static wg_status try_again(struct wg_slots *slots, bool ahead, bool *first) {
    wg_status status = wg_context_check(slots->context);
    if (status == WG_OK)
        status = wg_slots_try(slots, first);
    return status == WG_LIMIT && ahead && slots->ahead > 0 ? try_ahead(slots) : status;
}

/* Look for a slot for a while. Small tasks give theirs back within microseconds. If looking has been in vain so often that
 * no patience is left, it begins afresh: tasks may have become small. */
static wg_status spin(struct wg_slots *slots, bool ahead, bool *first) {
    uint32_t spins = wg_load_relaxed32(&slots->spins);
    wg_status status = WG_LIMIT;
    for (uint32_t i = 0; i < spins && status == WG_LIMIT && wg_worth_spinning(slots->pool); i++) {
        wg_pause();
        status = try_again(slots, ahead, first);
    }
    wg_store_relaxed32(&slots->spins, status != WG_LIMIT || spins == 0 ? MOST_SPINS : spins / 2);
    return status;
}

/* Stand behind the others. WG_OK; WG_LIMIT: there is room, try again. */
static wg_status join_as_thread(struct wg_slots *slots, struct slot_sleeper *me) {
    struct wg_bucket *bucket = bucket_of(slots);
    wg_status status = WG_OK;
    wg_mutex_lock(&bucket->lock);
    if (!first_waiter(slots) && !wg_count_gate(&slots->tasks, room(slots, me->ahead)))
        status = WG_LIMIT;
    else
        join(slots, &me->place);
    open_gate_if_unwanted(slots);
    wg_mutex_unlock(&bucket->lock);
    return status;
}

/* Leave the queue, if nobody did that for it. After this its word does not change. An observer that is told may end the
 * thread, but for none that has its own slot. */
static void leave_as_thread(struct wg_slots *slots, struct slot_sleeper *me) {
    struct wg_wake_q wakes = {.count = 0};
    wg_waiter_unlink(&me->waiter);
    wg_mutex_lock(&bucket_of(slots)->lock);
    if (!wg_is_linked(&me->place.link_)) {
        open_gate_if_unwanted(slots);
        wg_mutex_unlock(&bucket_of(slots)->lock);
        return;
    }
    wg_observer_unlink(&me->place);
    serve(slots, &wakes); /* others may want less than it did */
    unlock_and_tell(slots, &wakes);
}

/* Sleep until a slot is handed over, or `context` ends. WG_LIMIT: try again. */
static wg_status sleep_in_queue(struct wg_slots *slots, const wg_until *until, wg_context *context, bool ahead) {
    struct slot_sleeper me = {.waiter = {.record = {.wish = wg_wish_for_slot(slots), .event = &slots->tasks}},
                              .ahead = ahead};
    wg_waiter_init(&me.waiter, until, slots->context);
    wg_status status = join_as_thread(slots, &me);
    if (status != WG_OK)
        return status;
    if (wg_waiter_context(&me.waiter, slots->context, WG_ON_GROUP) &&
        wg_waiter_context(&me.waiter, context, WG_ON_CONTEXT))
        status = wg_waiter_sleep(&me.waiter, until);
    leave_as_thread(slots, &me);
    switch (wg_waiter_finish(&me.waiter)) {
    case WG_ON_SUBJECT: return WG_OK;
    case WG_ON_GROUP: return wg_context_status(slots->context);
    case WG_ON_DEADLOCK: return WG_DEADLOCK;
    case WG_ON_CONTEXT: return WG_CONTEXT_ENDED;
    default: return status;
    }
}

wg_status wg_slots_wait(struct wg_slots *slots, const wg_until *until, bool ahead, bool *first) {
    wg_context *context = wg_until_context(until);
    for (;;) {
        bool ended = wg_context_check(context) != WG_OK; /* read first: the group's own end comes before */
        wg_status status = try_again(slots, ahead, first);
        if (status == WG_LIMIT && ended)
            return WG_CONTEXT_ENDED;
        if (status == WG_LIMIT && wg_passed(until->deadline))
            return WG_TIMEOUT;
        if (status == WG_LIMIT)
            status = spin(slots, ahead, first);
        if (status == WG_LIMIT)
            status = sleep_in_queue(slots, until, context, ahead);
        if (status != WG_LIMIT)
            return status;
    }
}

/* Observers. */

/* The answer that there is already; WG_LIMIT if it has to wait. */
static wg_status answer_now(struct wg_slots *slots, bool *first) {
    for (;;) {
        if (wg_context_status(slots->context) != WG_OK)
            return wg_context_status(slots->context);
        open_gate_if_unwanted(slots);
        wg_status status = wg_slots_try(slots, first);
        if (status != WG_LIMIT)
            return status;
        if (first_waiter(slots) || wg_count_gate(&slots->tasks, wg_slots_limit(slots)))
            return WG_LIMIT;
    }
}

void wg_slots_observe(struct wg_slots *slots, wg_observer *observer, bool *first) {
    struct wg_bucket *bucket = bucket_of(slots);
    struct wg_wake_q wakes = {.count = 0};
    observer->subject_ = slots;
    wg_mutex_lock(&bucket->lock);
    observer->status_ = answer_now(slots, first);
    if (observer->status_ == WG_LIMIT)
        join(slots, observer);
    else
        wg_observer_link(bucket, &slots->handed, observer);
    unlock_and_tell(slots, &wakes);
}

bool wg_slots_unobserve(struct wg_slots *slots, wg_observer *observer, bool sync, bool *give) {
    struct wg_wake_q wakes = {.count = 0};
    wg_mutex_lock(&bucket_of(slots)->lock);
    bool prevented = wg_is_linked(&observer->link_);
    *give = prevented && observer->status_ == WG_OK;
    if (prevented && observer->status_ == WG_LIMIT) {
        wg_observer_unlink(observer);
        serve(slots, &wakes);
    } else if (prevented) {
        wg_observer_unlink(observer);
    }
    unlock_and_tell(slots, &wakes);
    return prevented || wg_observer_remove(bucket_of(slots), observer, sync);
}
