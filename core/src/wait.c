/* wait.c - sleeping for any of several things. */
#include "wait.h"

#include <stddef.h>

#include "context.h"
#include "deadline.h"
#include "deadlock.h"
#include "fork.h"
#include "frame.h"
#include "shortage.h"
#include "trace.h"

/* How often to look before a sleep, which costs two switches: some microseconds' worth. */
#define SPINS 100

/* How long a wait sleeps before it tries again to start a thread for a pool that could not: the wait may be for a task of
 * that pool. */
#define RETRY_TIME (20 * WG_MILLISECOND)

static const wg_until for_ever = {0};

wg_context *wg_until_context(const wg_until *until) {
    wg_context *ctx = until->context ? until->context : wg_context_current();
    return ctx == wg_context_root() ? NULL : ctx;
}

bool wg_until_unbounded(const wg_until *until) {
    return wg_point(until->deadline) == INT64_MAX && !wg_until_context(until);
}

bool wg_waiter_context(struct wg_waiter *w, wg_context *ctx, uint32_t bit) {
    if (!ctx)
        return true;
    struct wg_wait_entry *entry = &w->ends[w->contexts].entry;
    *entry = (struct wg_wait_entry){.word = &w->word, .bit = bit};
    w->ends[w->contexts].context = ctx;
    w->ends[w->contexts++].bit = bit;
    return !wg_context_is_over(ctx) && wg_context_link(ctx, entry);
}

/* The earliest deadline of those that the sleep must keep. The timer keeps those of contexts too; but it may have found
 * no thread, or have been left in the parent of a fork. */
static int64_t first_deadline(const struct wg_waiter *w, int64_t deadline) {
    for (int i = 0; i < w->contexts; i++)
        deadline = wg_earlier(deadline, wg_context_deadline(w->ends[i].context));
    return deadline;
}

/* Has any of what it sleeps for come? */
static bool happened(struct wg_waiter *w) {
    uint32_t word = WG_KICKED;
    return !wg_cas_acquire32(&w->word, &word, 0) && word != 0;
}

/* The caller looks at what may have interrupted the wait, which keeps its place. */
static wg_status look(struct wg_waiter *w, const wg_until *until) {
    if (!until->look)
        return WG_INTERRUPTED;
    wg_thread_blocks(false);
    wg_wait_pause(&w->record);
    bool goes_on = until->look(until->look_arg);
    bool in_child = w->record.epoch != wg_fork_epoch();
    wg_status status = !goes_on ? WG_INTERRUPTED : in_child ? WG_FORKED : wg_wait_resume(&w->record);
    wg_thread_blocks(true);
    return status;
}

static int64_t next_look(const wg_until *until) {
    bool often = until->interruptible && until->look && until->look_every > 0;
    return often ? wg_after(until->look_every) : WG_FOREVER;
}

/* Sleep once: WG_OK, to look at the word again, or why not. *look_at: when to look for interruptions. */
static wg_status sleep_once(struct wg_waiter *w, const wg_until *until, int64_t *look_at) {
    bool starving = wg_threads_lack();
    if (starving)
        wg_threads_retry();
    if (w->record.epoch != wg_fork_epoch())
        return WG_FORKED;
    int64_t wake_up = starving ? wg_earlier(*look_at, wg_after(RETRY_TIME)) : *look_at;
    wg_parked parked = wg_park(&w->word, 0, wg_earlier(w->record.deadline, wake_up), until->interruptible);
    if (parked == WG_PARK_TIMEOUT && wg_passed(w->record.deadline))
        return WG_TIMEOUT;
    if (parked != WG_PARK_INTERRUPTED && !(parked == WG_PARK_TIMEOUT && wg_passed(*look_at)))
        return WG_OK;
    wg_status status = look(w, until);
    *look_at = next_look(until);
    return status;
}

static wg_status sleep_until(struct wg_waiter *w, const wg_until *until) {
    wg_status status = WG_OK;
    int64_t look_at = next_look(until);
    wg_thread_blocks(true);
    while (status == WG_OK && !happened(w))
        status = sleep_once(w, until, &look_at);
    wg_thread_blocks(false);
    return status;
}

void wg_waiter_init(struct wg_waiter *w, const wg_until *until, const wg_context *other) {
    struct wg_wait_record *record = &w->record;
    record->word = &w->word;
    record->until = until;
    record->frames = wg_thread()->frame;
    record->certain = wg_is_certain(record->frames, until, other);
    record->has_thread = true;
}

wg_status wg_waiter_sleep(struct wg_waiter *w, const wg_until *until) {
    w->record.deadline = first_deadline(w, until->deadline);
    wg_status status = wg_wait_begin(&w->record);
    if (status != WG_OK)
        return status;
    status = sleep_until(w, until);
    wg_wait_end(&w->record);
    wg_status outcome = wg_load_acquire32(&w->word) & ~WG_KICKED ? WG_OK : status;
    if (status != WG_FORKED)
        wg_trace_slept(&w->record, outcome);
    return outcome;
}

/* The lowest bit that is set. */
static wg_reason first_reason(uint32_t happened) { return (wg_reason)(happened & (0 - happened)); }

void wg_waiter_unlink(struct wg_waiter *w) {
    for (int i = 0; i < w->contexts; i++)
        wg_context_unlink(w->ends[i].context, &w->ends[i].entry);
}

wg_reason wg_waiter_finish(struct wg_waiter *w) {
    wg_waiter_unlink(w);
    uint32_t happened = wg_load_acquire32(&w->word) & ~WG_KICKED;
    if (happened & WG_ON_SUBJECT) /* the contexts may be gone */
        return WG_ON_SUBJECT;
    /* The last one first: it may have been ended by what the others speak of, but not before. */
    for (int i = w->contexts - 1; i >= 0; i--)
        if (wg_context_check(w->ends[i].context) != WG_OK)
            happened |= w->ends[i].bit;
    return first_reason(happened);
}

/* Look a few times before sleeping. */
static wg_status spin(const wg_waitgroup *wg) {
    wg_status status = wg_wait_look(wg);
    for (int i = 0; i < SPINS && status == WG_TIMEOUT && wg_cores() > 1; i++) {
        wg_pause();
        status = wg_wait_look(wg);
    }
    return status;
}

/* If the bit of zero is set the wait group may be gone. */
static void stop_waiting_for_zero(wg_waitgroup *wg, struct wg_waiter *w) {
    if (wg_load_acquire32(&w->word) & WG_ON_SUBJECT)
        return;
    struct wg_bucket *bucket = wg_bucket_of(wg);
    wg_mutex_lock(&bucket->lock);
    wg_wait_entry_unlink(&w->subject);
    wg_mutex_unlock(&bucket->lock);
}

wg_status wg_wait_zero(wg_waitgroup *wg, const wg_until *until, wg_context *group, const struct wg_wish *wish) {
    if (!until)
        until = &for_ever;
    wg_context *context = wg_until_context(until);
    wg_contexts_catch_up();
    /* Read before the count: a zero that came before an end is not missed for it. */
    bool ended = wg_context_check(context) != WG_OK, group_ended = wg_context_check(group) != WG_OK;
    wg_status status = wg_wait_look(wg);
    if (status == WG_OK)
        return status;
    if (ended) /* also if an observer of its end has just forked, and this is the child */
        return WG_CONTEXT_ENDED;
    if (group_ended)
        return WG_CANCELLED;
    if (status != WG_TIMEOUT)
        return status;
    if (wg_passed(until->deadline))
        return WG_TIMEOUT;
    status = spin(wg);
    if (status != WG_TIMEOUT)
        return status;

    struct wg_waiter w = {.subject = {.word = &w.word, .bit = WG_ON_SUBJECT}, .record = {.wish = *wish, .event = wg}};
    wg_waiter_init(&w, until, group);
    if (!wg_wait_link(wg, &w.subject))
        return WG_OK;
    status = WG_OK; /* if one has ended already, there is no need to sleep */
    if (wg_waiter_context(&w, group, WG_ON_GROUP) && wg_waiter_context(&w, context, WG_ON_CONTEXT))
        status = wg_waiter_sleep(&w, until);
    stop_waiting_for_zero(wg, &w);
    switch (wg_waiter_finish(&w)) {
    case WG_ON_SUBJECT: return WG_OK;
    case WG_ON_GROUP: return WG_CANCELLED;
    case WG_ON_CONTEXT: return WG_CONTEXT_ENDED;
    default: return status;
    }
}
