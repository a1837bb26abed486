/* waitqueue.c - the table of buckets. */
#include "waitqueue.h"

#include <stddef.h>

#define BUCKET_BITS 7
#define BUCKETS (1 << BUCKET_BITS)
static struct wg_bucket buckets[BUCKETS];

/* One thread's round of calls. Lives on that thread's stack. */
struct wg_call {
    struct wg_bucket *bucket;
    struct wg_wake_q *wakes;
    bool begun;
    const struct wg_thread *caller;
    struct wg_link *list;   /* what the observers were taken from */
    wg_observer *running;   /* the observer whose fn runs now; it may be gone already: only compared */
    struct wg_link pending; /* observers still to be called; wg_observer_remove may take them out */
    struct wg_link link;
};

struct wg_bucket *wg_bucket_of(const void *object) {
    uint64_t h = (uint64_t)(uintptr_t)object * UINT64_C(0x9E3779B97F4A7C15);
    return &buckets[h >> (64 - BUCKET_BITS)];
}

struct wg_bucket *wg_bucket_after(struct wg_bucket *bucket) {
    bucket = bucket ? bucket + 1 : buckets;
    return bucket < buckets + BUCKETS ? bucket : NULL;
}

/* Wait entries. */

static struct wg_wait_entry *entry_of(struct wg_link *link) { return WG_MEMBER(link, struct wg_wait_entry, link); }

void wg_wait_entry_link(struct wg_bucket *bucket, struct wg_wait_entry *entry) {
    wg_list_append(&bucket->entries, &entry->link);
}

bool wg_wait_entry_unlink(struct wg_wait_entry *entry) { return wg_list_remove(&entry->link); }

/* The first one on `subject` after `link`, which may be the head. */
static struct wg_wait_entry *next_on(struct wg_bucket *bucket, struct wg_link *link, const void *subject) {
    while ((link = wg_list_after(&bucket->entries, link)))
        if (entry_of(link)->subject == subject)
            return entry_of(link);
    return NULL;
}

struct wg_wait_entry *wg_wait_entry_first(struct wg_bucket *bucket, const void *subject) {
    return next_on(bucket, &bucket->entries, subject);
}

struct wg_wait_entry *wg_wait_entry_after(struct wg_bucket *bucket, struct wg_wait_entry *entry, const void *subject) {
    return next_on(bucket, &entry->link, subject);
}

void wg_wait_entry_wake(struct wg_wait_entry *entry, uint32_t bit, struct wg_wake_q *wakes) {
    wg_a32 *word = entry->word;
    wg_wait_entry_unlink(entry);
    wg_wake_q_add(wakes, word, bit);
}

void wg_wake_q_add(struct wg_wake_q *wakes, wg_a32 *word, uint32_t bit) {
    wg_or_release32(word, bit);
    if (wakes->count < sizeof wakes->words / sizeof *wakes->words)
        wakes->words[wakes->count++] = word;
    else
        wg_unpark_one(word);
}

void wg_bucket_unlock_and_wake(struct wg_bucket *bucket, struct wg_wake_q *wakes) {
    wg_mutex_unlock(&bucket->lock);
    for (; wakes->count > 0; wakes->count--)
        wg_unpark_one(wakes->words[wakes->count - 1]);
}

void wg_wait_entries_wake(struct wg_bucket *bucket, const void *subject, struct wg_wake_q *wakes) {
    for (struct wg_wait_entry *s = wg_wait_entry_first(bucket, subject), *next; s; s = next) {
        next = wg_wait_entry_after(bucket, s, subject);
        wg_wait_entry_wake(s, s->bit, wakes);
    }
}

static void kick_all(struct wg_bucket *bucket) {
    for (struct wg_link *l = wg_list_first(&bucket->entries); l; l = wg_list_after(&bucket->entries, l)) {
        struct wg_wait_entry *s = entry_of(l);
        wg_or_release32(s->word, WG_KICKED);
        wg_unpark_one(s->word);
    }
}

void wg_waiters_kick(void) {
    for (int i = 0; i < BUCKETS; i++) {
        wg_mutex_lock(&buckets[i].lock);
        kick_all(&buckets[i]);
        wg_mutex_unlock(&buckets[i].lock);
    }
}

/* Observers. */

static wg_observer *observer_of(struct wg_link *link) { return WG_MEMBER(link, wg_observer, link_); }

static wg_observer *first_observer(const struct wg_link *list) { return observer_of(wg_list_first(list)); }

void wg_observer_link(struct wg_bucket *bucket, struct wg_link *list, wg_observer *observer) {
    wg_list_append(list, &observer->link_);
    if (wg_on_stack(observer)) {
        observer->owner_ = wg_thread();
        wg_list_append(&bucket->on_stacks, &observer->on_stack_);
    }
}

void wg_observer_unlink(wg_observer *observer) {
    wg_list_remove(&observer->link_);
    wg_list_remove(&observer->on_stack_);
}

void wg_observer_come(wg_observer *observer) { wg_store_release32((wg_a32 *)&observer->come_, 1); }

/* Those of `subject` from `list` to another, to be called. What is observed from now on is not among them. */
static void detach(struct wg_link *list, const void *subject, struct wg_link *pending) {
    for (struct wg_link *link = wg_list_first(list), *next; link; link = next) {
        next = wg_list_after(list, link);
        if (observer_of(link)->subject_ == subject) {
            wg_list_remove(link);
            wg_list_append(pending, link);
            wg_observer_come(observer_of(link));
        }
    }
}

/* With the lock held, let go meanwhile. After the call began, the observer's memory is its owner's again. */
static void call_next(struct wg_call *call) {
    wg_observer *observer = first_observer(&call->pending);
    void (*fn)(void *arg) = observer->fn_;
    void *arg = observer->arg_;
    wg_observer_unlink(observer);
    call->running = observer;
    wg_bucket_unlock_and_wake(call->bucket, call->wakes);
    int cancel = wg_cancel_forbid();
    fn(arg);
    wg_cancel_allow(cancel);
    wg_mutex_lock(&call->bucket->lock);
}

static void call_ended(struct wg_call *call) {
    call->running = NULL;
    wg_add_relaxed32(&call->bucket->calls_ended, 1);
    wg_unpark_all(&call->bucket->calls_ended);
}

/* See wg_finish. With the lock held; also at the end, unless the thread ended in a call: then nobody else would let it go. */
static void call_all(void *raw) {
    struct wg_call *call = raw;
    bool thread_ended = call->begun;
    if (thread_ended) {
        wg_mutex_lock(&call->bucket->lock);
        call_ended(call);
    } else
        wg_list_append(&call->bucket->calls, &call->link);
    call->begun = true;
    while (wg_list_first(&call->pending)) {
        call_next(call);
        call_ended(call);
    }
    wg_list_remove(&call->link);
    if (thread_ended)
        wg_mutex_unlock(&call->bucket->lock);
}

void wg_observers_call(struct wg_bucket *bucket, struct wg_link *list, const void *subject, struct wg_wake_q *wakes) {
    struct wg_call call = {.bucket = bucket, .wakes = wakes, .caller = wg_thread(), .list = list};
    detach(list, subject, &call.pending);
    if (wg_list_first(&call.pending))
        wg_finish(call_all, &call);
}

void wg_observer_settle(struct wg_bucket *bucket, struct wg_link *list, bool come, const void *subject,
                        wg_observer *observer, void (*fn)(void *arg), void *arg) {
    struct wg_link now = {NULL, NULL};
    struct wg_wake_q none = {.count = 0};
    *observer = (wg_observer){.fn_ = fn, .arg_ = arg, .subject_ = subject};
    wg_observer_link(bucket, come ? &now : list, observer);
    if (come)
        wg_observers_call(bucket, &now, subject, &none);
    wg_mutex_unlock(&bucket->lock);
}

static struct wg_call *call_of(struct wg_link *link) { return WG_MEMBER(link, struct wg_call, link); }

/* Is `observer` being called by another thread? By this one it is no use to wait. */
static bool called_elsewhere(struct wg_bucket *bucket, const wg_observer *observer) {
    for (struct wg_link *l = wg_list_first(&bucket->calls); l; l = wg_list_after(&bucket->calls, l))
        if (call_of(l)->running == observer && call_of(l)->caller != wg_thread())
            return true;
    return false;
}

bool wg_observer_remove(struct wg_bucket *bucket, wg_observer *observer, bool sync) {
    wg_mutex_lock(&bucket->lock);
    bool prevented = wg_is_linked(&observer->link_);
    if (prevented)
        wg_observer_unlink(observer);
    else
        while (sync && called_elsewhere(bucket, observer)) {
            uint32_t ended = wg_load_relaxed32(&bucket->calls_ended);
            wg_mutex_unlock(&bucket->lock);
            wg_park(&bucket->calls_ended, ended, WG_FOREVER, false);
            wg_mutex_lock(&bucket->lock);
        }
    wg_mutex_unlock(&bucket->lock);
    return prevented;
}

/* Fork. */

void wg_buckets_lock(void) {
    for (int i = 0; i < BUCKETS; i++)
        wg_mutex_lock(&buckets[i].lock);
}

void wg_buckets_unlock(void) {
    for (int i = 0; i < BUCKETS; i++)
        wg_mutex_unlock(&buckets[i].lock);
}

/* That of the thread which forked too, if it did so inside a wait, in what the wait has called: the wait finds that this is
 * another process, and says so, or links it anew. */
static void forget_entries(struct wg_bucket *bucket) {
    while (wg_list_first(&bucket->entries))
        wg_list_remove(wg_list_first(&bucket->entries));
    while (wg_list_first(&bucket->waits))
        wg_list_remove(wg_list_first(&bucket->waits));
}

static void forget_observers_on_other_stacks(struct wg_bucket *bucket) {
    for (struct wg_link *link = wg_list_first(&bucket->on_stacks), *next; link; link = next) {
        next = wg_list_after(&bucket->on_stacks, link);
        wg_observer *observer = WG_MEMBER(link, wg_observer, on_stack_);
        if (observer->owner_ != wg_thread())
            wg_observer_unlink(observer);
    }
}

/* Another thread was calling the observers of an object. Those of a wait group, whose count reached zero in the parent,
 * stay there with the call; those of an object that has its own list go back to it, to be called here. */
static void leave_call(struct wg_bucket *bucket, struct wg_call *call) {
    wg_observer *observer;
    while ((observer = first_observer(&call->pending))) {
        wg_list_remove(&observer->link_);
        if (call->list == &bucket->observers)
            wg_list_remove(&observer->on_stack_);
        else
            wg_list_append(call->list, &observer->link_);
    }
    wg_list_remove(&call->link);
}

static void keep_own_calls(struct wg_bucket *bucket) {
    for (struct wg_link *link = wg_list_first(&bucket->calls), *next; link; link = next) {
        next = wg_list_after(&bucket->calls, link);
        if (call_of(link)->caller != wg_thread())
            leave_call(bucket, call_of(link));
    }
}

void wg_buckets_reset(void) {
    for (int i = 0; i < BUCKETS; i++) {
        forget_entries(&buckets[i]);
        forget_observers_on_other_stacks(&buckets[i]);
        keep_own_calls(&buckets[i]);
    }
}

void wg_buckets_ends(void (*left)(struct wg_link *end)) {
    for (int i = 0; i < BUCKETS; i++)
        for (struct wg_link *link = wg_list_first(&buckets[i].ends); link; link = wg_list_after(&buckets[i].ends, link))
            left(link);
}
