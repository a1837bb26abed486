/* stripe.c - the table of stripes. */
#include "stripe.h"

#include <stddef.h>

#define STRIPE_BITS 7
#define STRIPES (1 << STRIPE_BITS)
static struct wg_stripe stripes[STRIPES];

/* One thread's round of calls. Lives on that thread's stack, listed in its stripe. */
struct wg_call {
    const struct wg_self *caller;
    wg_observer *running; /* the observer whose fn runs now; it may be gone already: only compared */
    wg_observer *pending; /* still to be called; wg_observer_remove may take them out */
    struct wg_call *next;
};

struct wg_stripe *wg_stripe_of(const void *object) {
    uint64_t h = (uint64_t)(uintptr_t)object * UINT64_C(0x9E3779B97F4A7C15);
    return &stripes[h >> (64 - STRIPE_BITS)];
}

void wg_sleeper_link(struct wg_stripe *stripe, struct wg_sleeper *sleeper) {
    sleeper->next = NULL;
    sleeper->link = stripe->end ? stripe->end : &stripe->sleepers;
    *sleeper->link = sleeper;
    stripe->end = &sleeper->next;
}

bool wg_sleeper_unlink(struct wg_stripe *stripe, struct wg_sleeper *sleeper) {
    if (!sleeper->link)
        return false;
    *sleeper->link = sleeper->next;
    if (sleeper->next)
        sleeper->next->link = sleeper->link;
    else
        stripe->end = sleeper->link;
    sleeper->link = NULL;
    return true;
}

static struct wg_sleeper *first_from(struct wg_sleeper *sleeper, const void *subject) {
    while (sleeper && sleeper->subject != subject)
        sleeper = sleeper->next;
    return sleeper;
}

struct wg_sleeper *wg_sleeper_first(struct wg_stripe *stripe, const void *subject) {
    return first_from(stripe->sleepers, subject);
}

void wg_sleeper_wake(struct wg_stripe *stripe, struct wg_sleeper *sleeper, uint32_t bit, struct wg_wakes *wakes) {
    wg_a32 *word = sleeper->word;
    wg_sleeper_unlink(stripe, sleeper);
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
        next = first_from(s->next, subject);
        wg_sleeper_wake(stripe, s, s->bit, wakes);
    }
}

void wg_sleepers_stir(void) {
    for (int i = 0; i < STRIPES; i++) {
        wg_lock_take(&stripes[i].lock);
        for (struct wg_sleeper *s = stripes[i].sleepers; s; s = s->next) {
            wg_or_release32(s->word, WG_STIRRED);
            wg_unpark_one(s->word);
        }
        wg_lock_give(&stripes[i].lock);
    }
}

static void observer_push(wg_observer **list, wg_observer *observer) {
    observer->next_ = *list;
    observer->link_ = list;
    if (observer->next_)
        observer->next_->link_ = &observer->next_;
    *list = observer;
}

static void observer_unlink(wg_observer *observer) {
    *observer->link_ = observer->next_;
    if (observer->next_)
        observer->next_->link_ = observer->link_;
    observer->next_ = NULL;
    observer->link_ = NULL;
}

void wg_observer_link(wg_observer **list, const void *subject, wg_observer *observer, void (*fn)(void *arg),
                      void *arg) {
    *observer = (wg_observer){.fn_ = fn, .arg_ = arg, .subject_ = subject};
    observer_push(list, observer);
}

/* Those of `subject`, moved from `list`, where the newest is first, to `pending`, where the oldest will be. What is
 * observed from now on is not among them. */
static void detach(wg_observer **list, const void *subject, wg_observer **pending) {
    for (wg_observer *observer = *list, *next; observer; observer = next) {
        next = observer->next_;
        if (observer->subject_ == subject) {
            observer_unlink(observer);
            observer_push(pending, observer);
        }
    }
}

/* In a function of its own: compilers take it for a mistake when they see the address of a variable stored in a list that
 * outlives the variable, and do not see it taken out again. */
static void call_link(struct wg_stripe *stripe, struct wg_call *call) {
    call->next = stripe->calls;
    stripe->calls = call;
}

static void call_unlink(struct wg_stripe *stripe, struct wg_call *call) {
    for (struct wg_call **link = &stripe->calls; *link; link = &(*link)->next) {
        if (*link == call) {
            *link = call->next;
            return;
        }
    }
}

void wg_observers_call(struct wg_stripe *stripe, wg_observer **list, const void *subject, struct wg_wakes *wakes) {
    struct wg_call call = {.caller = wg_self()};
    detach(list, subject, &call.pending);
    if (!call.pending)
        return;
    call_link(stripe, &call);
    while (call.pending) {
        wg_observer *observer = call.pending;
        void (*fn)(void *arg) = observer->fn_;
        void *arg = observer->arg_;
        observer_unlink(observer);
        call.running = observer;
        wg_stripe_give(stripe, wakes);
        fn(arg);
        wg_lock_take(&stripe->lock);
        call.running = NULL;
        wg_add_relaxed32(&stripe->calls_ended, 1);
        wg_unpark_all(&stripe->calls_ended);
    }
    call_unlink(stripe, &call);
}

void wg_observer_settle(struct wg_stripe *stripe, wg_observer **list, bool come, const void *subject,
                        wg_observer *observer, void (*fn)(void *arg), void *arg) {
    wg_observer *now = NULL;
    struct wg_wakes none = {.count = 0};
    wg_observer_link(come ? &now : list, subject, observer, fn, arg);
    if (come)
        wg_observers_call(stripe, &now, subject, &none);
    wg_lock_give(&stripe->lock);
}

/* Is `observer` being called by another thread? By this one it is no use to wait. */
static bool called_elsewhere(struct wg_stripe *stripe, const wg_observer *observer) {
    for (struct wg_call *call = stripe->calls; call; call = call->next)
        if (call->running == observer && call->caller != wg_self())
            return true;
    return false;
}

bool wg_observer_remove(struct wg_stripe *stripe, wg_observer *observer, bool sync) {
    wg_lock_take(&stripe->lock);
    bool prevented = observer->link_ != NULL;
    if (prevented)
        observer_unlink(observer);
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

void wg_stripes_take(void) {
    for (int i = 0; i < STRIPES; i++)
        wg_lock_take(&stripes[i].lock);
}

void wg_stripes_give(void) {
    for (int i = 0; i < STRIPES; i++)
        wg_lock_give(&stripes[i].lock);
}

void wg_stripes_reset(void) {
    for (int i = 0; i < STRIPES; i++) {
        stripes[i].sleepers = NULL;
        stripes[i].end = NULL;
        for (struct wg_call **link = &stripes[i].calls; *link;) {
            struct wg_call *call = *link;
            if (call->caller == wg_self()) { /* it forked in an observer, and goes on here too */
                link = &call->next;
                continue;
            }
            while (call->pending)
                observer_unlink(call->pending);
            *link = call->next;
        }
    }
}
