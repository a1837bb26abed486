/* stripe.c - the table of stripes. */
#include "stripe.h"

#include <stddef.h>

#define STRIPE_BITS 7
#define STRIPES (1 << STRIPE_BITS)
static struct wg_stripe stripes[STRIPES];

/* One thread's round of calls. Lives on that thread's stack. */
struct wg_call {
    struct wg_stripe *stripe;
    struct wg_wakes *wakes;
    bool begun;
    const struct wg_self *caller;
    struct wg_link *list;   /* what the observers were taken from */
    wg_observer *running;   /* the observer whose fn runs now; it may be gone already: only compared */
    struct wg_link pending; /* observers still to be called; wg_observer_remove may take them out */
    struct wg_link link;
};

struct wg_stripe *wg_stripe_of(const void *object) {
    uint64_t h = (uint64_t)(uintptr_t)object * UINT64_C(0x9E3779B97F4A7C15);
    return &stripes[h >> (64 - STRIPE_BITS)];
}

/* Sleepers. */

static struct wg_sleeper *sleeper_of(struct wg_link *link) { return WG_MEMBER(link, struct wg_sleeper, link); }

void wg_sleeper_link(struct wg_stripe *stripe, struct wg_sleeper *sleeper) {
    wg_list_append(&stripe->sleepers, &sleeper->link);
}

bool wg_sleeper_unlink(struct wg_sleeper *sleeper) { return wg_list_remove(&sleeper->link); }

/* The first one on `subject` after `link`, which may be the head. */
static struct wg_sleeper *next_on(struct wg_stripe *stripe, struct wg_link *link, const void *subject) {
    while ((link = wg_list_after(&stripe->sleepers, link)))
        if (sleeper_of(link)->subject == subject)
            return sleeper_of(link);
    return NULL;
}

struct wg_sleeper *wg_sleeper_first(struct wg_stripe *stripe, const void *subject) {
    return next_on(stripe, &stripe->sleepers, subject);
}

struct wg_sleeper *wg_sleeper_after(struct wg_stripe *stripe, struct wg_sleeper *sleeper, const void *subject) {
    return next_on(stripe, &sleeper->link, subject);
}

void wg_sleeper_wake(struct wg_sleeper *sleeper, uint32_t bit, struct wg_wakes *wakes) {
    wg_a32 *word = sleeper->word;
    wg_sleeper_unlink(sleeper);
    wg_wakes_add(wakes, word, bit);
}

void wg_wakes_add(struct wg_wakes *wakes, wg_a32 *word, uint32_t bit) {
    wg_or_release32(word, bit);
    if (wakes->count < sizeof wakes->words / sizeof *wakes->words)
        wakes->words[wakes->count++] = word;
    else
        wg_unpark_one(word);
}

void wg_stripe_give(struct wg_stripe *stripe, struct wg_wakes *wakes) {
    wg_lock_give(&stripe->lock);
    for (; wakes->count > 0; wakes->count--)
        wg_unpark_one(wakes->words[wakes->count - 1]);
}

void wg_sleepers_wake(struct wg_stripe *stripe, const void *subject, struct wg_wakes *wakes) {
    for (struct wg_sleeper *s = wg_sleeper_first(stripe, subject), *next; s; s = next) {
        next = wg_sleeper_after(stripe, s, subject);
        wg_sleeper_wake(s, s->bit, wakes);
    }
}

static void stir_all(struct wg_stripe *stripe) {
    for (struct wg_link *l = wg_list_first(&stripe->sleepers); l; l = wg_list_after(&stripe->sleepers, l)) {
        struct wg_sleeper *s = sleeper_of(l);
        wg_or_release32(s->word, WG_STIRRED);
        wg_unpark_one(s->word);
    }
}

void wg_sleepers_stir(void) {
    for (int i = 0; i < STRIPES; i++) {
        wg_lock_take(&stripes[i].lock);
        stir_all(&stripes[i]);
        wg_lock_give(&stripes[i].lock);
    }
}

/* Observers. */

static wg_observer *observer_of(struct wg_link *link) { return WG_MEMBER(link, wg_observer, link_); }

static wg_observer *first_observer(const struct wg_link *list) { return observer_of(wg_list_first(list)); }

void wg_observer_link(struct wg_stripe *stripe, struct wg_link *list, wg_observer *observer) {
    wg_list_append(list, &observer->link_);
    if (wg_on_stack(observer)) {
        observer->owner_ = wg_self();
        wg_list_append(&stripe->on_stacks, &observer->on_stack_);
    }
}

void wg_observer_unlink(wg_observer *observer) {
    wg_list_remove(&observer->link_);
    wg_list_remove(&observer->on_stack_);
}

/* Those of `subject` from `list` to another, to be called. What is observed from now on is not among them. */
static void detach(struct wg_link *list, const void *subject, struct wg_link *pending) {
    for (struct wg_link *link = wg_list_first(list), *next; link; link = next) {
        next = wg_list_after(list, link);
        if (observer_of(link)->subject_ == subject) {
            wg_list_remove(link);
            wg_list_append(pending, link);
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
    wg_stripe_give(call->stripe, call->wakes);
    int cancel = wg_cancel_forbid();
    fn(arg);
    wg_cancel_allow(cancel);
    wg_lock_take(&call->stripe->lock);
}

static void call_ended(struct wg_call *call) {
    call->running = NULL;
    wg_add_relaxed32(&call->stripe->calls_ended, 1);
    wg_unpark_all(&call->stripe->calls_ended);
}

/* See wg_finish. With the lock held; also at the end, unless the thread ended in a call: then nobody else would let it go. */
static void call_all(void *raw) {
    struct wg_call *call = raw;
    bool thread_ended = call->begun;
    if (thread_ended) {
        wg_lock_take(&call->stripe->lock);
        call_ended(call);
    } else
        wg_list_append(&call->stripe->calls, &call->link);
    call->begun = true;
    while (wg_list_first(&call->pending)) {
        call_next(call);
        call_ended(call);
    }
    wg_list_remove(&call->link);
    if (thread_ended)
        wg_lock_give(&call->stripe->lock);
}

void wg_observers_call(struct wg_stripe *stripe, struct wg_link *list, const void *subject, struct wg_wakes *wakes) {
    struct wg_call call = {.stripe = stripe, .wakes = wakes, .caller = wg_self(), .list = list};
    detach(list, subject, &call.pending);
    if (wg_list_first(&call.pending))
        wg_finish(call_all, &call);
}

void wg_observer_settle(struct wg_stripe *stripe, struct wg_link *list, bool come, const void *subject,
                        wg_observer *observer, void (*fn)(void *arg), void *arg) {
    struct wg_link now = {NULL, NULL};
    struct wg_wakes none = {.count = 0};
    *observer = (wg_observer){.fn_ = fn, .arg_ = arg, .subject_ = subject};
    wg_observer_link(stripe, come ? &now : list, observer);
    if (come)
        wg_observers_call(stripe, &now, subject, &none);
    wg_lock_give(&stripe->lock);
}

static struct wg_call *call_of(struct wg_link *link) { return WG_MEMBER(link, struct wg_call, link); }

/* Is `observer` being called by another thread? By this one it is no use to wait. */
static bool called_elsewhere(struct wg_stripe *stripe, const wg_observer *observer) {
    for (struct wg_link *l = wg_list_first(&stripe->calls); l; l = wg_list_after(&stripe->calls, l))
        if (call_of(l)->running == observer && call_of(l)->caller != wg_self())
            return true;
    return false;
}

bool wg_observer_remove(struct wg_stripe *stripe, wg_observer *observer, bool sync) {
    wg_lock_take(&stripe->lock);
    bool prevented = wg_is_linked(&observer->link_);
    if (prevented)
        wg_observer_unlink(observer);
    else
        while (sync && called_elsewhere(stripe, observer)) {
            uint32_t ended = wg_load_relaxed32(&stripe->calls_ended);
            wg_lock_give(&stripe->lock);
            wg_park(&stripe->calls_ended, ended, WG_FOREVER, false);
            wg_lock_take(&stripe->lock);
        }
    wg_lock_give(&stripe->lock);
    return prevented;
}

/* Fork. */

void wg_stripes_take(void) {
    for (int i = 0; i < STRIPES; i++)
        wg_lock_take(&stripes[i].lock);
}

void wg_stripes_give(void) {
    for (int i = 0; i < STRIPES; i++)
        wg_lock_give(&stripes[i].lock);
}

/* That of the thread which forked too, if it did so inside a wait, in what the wait has called: the wait finds that this is
 * another process, and says so, or links it anew. */
static void forget_sleepers(struct wg_stripe *stripe) {
    while (wg_list_first(&stripe->sleepers))
        wg_list_remove(wg_list_first(&stripe->sleepers));
}

static void forget_observers_on_other_stacks(struct wg_stripe *stripe) {
    for (struct wg_link *link = wg_list_first(&stripe->on_stacks), *next; link; link = next) {
        next = wg_list_after(&stripe->on_stacks, link);
        wg_observer *observer = WG_MEMBER(link, wg_observer, on_stack_);
        if (observer->owner_ != wg_self())
            wg_observer_unlink(observer);
    }
}

/* Another thread was calling the observers of an object. Those of a wait group, whose count reached zero in the parent,
 * stay there with the call; those of an object that has its own list go back to it, to be called here. */
static void leave_call(struct wg_stripe *stripe, struct wg_call *call) {
    wg_observer *observer;
    while ((observer = first_observer(&call->pending))) {
        wg_list_remove(&observer->link_);
        if (call->list == &stripe->observers)
            wg_list_remove(&observer->on_stack_);
        else
            wg_list_append(call->list, &observer->link_);
    }
    wg_list_remove(&call->link);
}

static void keep_own_calls(struct wg_stripe *stripe) {
    for (struct wg_link *link = wg_list_first(&stripe->calls), *next; link; link = next) {
        next = wg_list_after(&stripe->calls, link);
        if (call_of(link)->caller != wg_self())
            leave_call(stripe, call_of(link));
    }
}

void wg_stripes_reset(void) {
    for (int i = 0; i < STRIPES; i++) {
        forget_sleepers(&stripes[i]);
        forget_observers_on_other_stacks(&stripes[i]);
        keep_own_calls(&stripes[i]);
    }
}

void wg_stripes_ends(void (*left)(struct wg_link *end)) {
    for (int i = 0; i < STRIPES; i++)
        for (struct wg_link *link = wg_list_first(&stripes[i].ends); link; link = wg_list_after(&stripes[i].ends, link))
            left(link);
}
