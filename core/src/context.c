/* context.c - contexts: a tree along which an end travels.
 *
 * Of a context, by who may change it and when:
 *   refs                     anybody, atomically
 *   status, inherited, cause once, under the stripe's lock of this context; status last, with release: whoever reads
 *                            status != 0 may read the other two without a lock
 *   children, observers, signal   under the stripe's lock of this context; children only while status == 0
 *   next, link               under the stripe's lock of the parent: this one among its siblings
 *   parent, deadline         never after its making; a child holds a reference to its parent, the parent none to it
 *   timer                    see timer.h
 *   ending                   by the thread that has set status
 *
 * An end takes two rounds. First all contexts below get their status, and who sleeps on them is woken; only then are
 * observers called, in no lock. So no observer, however slow, can keep a descendant from hearing of it. */
#include "context.h"

#include <stddef.h>
#include <stdlib.h>

#include "deadline.h"
#include "fork.h"
#include "frame.h"
#include "timer.h"
#include "wait.h"

struct wg_context {
    wg_a32 refs;
    wg_a32 status; /* a wg_status: WG_OK while it lives */
    bool inherited;
    bool timed; /* it has a deadline of its own, in the timer */
    bool has_signal;
    uint32_t signal_epoch; /* the process that made the signal */
    struct wg_signal signal;
    wg_error *cause;
    int64_t deadline;
    wg_context *parent, *children, *next, **link;
    wg_observer *observers;
    wg_context *ending; /* the next one in the list of those that end together */
    struct wg_timer timer;
};

static wg_context root = {.refs = 1};

wg_context *wg_context_root(void) { return &root; }

wg_context *wg_context_current(void) {
    struct wg_frame *frame = wg_self()->frame;
    return frame ? frame->ctx : NULL;
}

wg_context *wg_context_retain(wg_context *ctx) {
    if (ctx && ctx != &root)
        wg_add_relaxed32(&ctx->refs, 1);
    return ctx;
}

bool wg_context_try_retain(wg_context *ctx) {
    uint32_t refs = wg_load_relaxed32(&ctx->refs);
    while (refs > 0)
        if (wg_cas_relaxed32(&ctx->refs, &refs, refs + 1))
            return true;
    return false;
}

wg_status wg_context_status(const wg_context *ctx) { return ctx ? (wg_status)wg_load_acquire32(&ctx->status) : WG_OK; }

wg_error *wg_context_cause(const wg_context *ctx) { return wg_context_status(ctx) != WG_OK ? ctx->cause : NULL; }

bool wg_context_inherited(const wg_context *ctx) { return wg_context_status(ctx) != WG_OK && ctx->inherited; }

int64_t wg_context_deadline(const wg_context *ctx) { return ctx ? ctx->deadline : WG_FOREVER; }

wg_error *wg_context_error(const wg_context *ctx) {
    switch (wg_context_status(ctx)) {
    case WG_OK: return NULL;
    case WG_DEADLINE_EXCEEDED: return wg_error_deadline();
    default: return wg_error_cancelled();
    }
}

static void child_link(wg_context *parent, wg_context *child) {
    child->next = parent->children;
    child->link = &parent->children;
    if (child->next)
        child->next->link = &child->next;
    parent->children = child;
}

static void child_unlink(wg_context *child) {
    if (!child->link)
        return;
    *child->link = child->next;
    if (child->next)
        child->next->link = child->link;
    child->link = NULL;
}

/* A parent that lives on forgets this one. */
static void leave_parent(wg_context *ctx) {
    if (!ctx->parent || ctx->parent == &root)
        return;
    struct wg_stripe *stripe = wg_stripe_of(ctx->parent);
    wg_lock_take(&stripe->lock);
    child_unlink(ctx);
    wg_lock_give(&stripe->lock);
}

static wg_context *first_child(wg_context *ctx) {
    struct wg_stripe *stripe = wg_stripe_of(ctx);
    wg_context *child;
    wg_lock_take(&stripe->lock);
    while ((child = ctx->children)) {
        child_unlink(child);
        if (wg_context_try_retain(child))
            break; /* else its last reference has just gone */
    }
    wg_lock_give(&stripe->lock);
    return child;
}

/* Give `ctx` its status, and wake who sleeps on it. False if it has one already. */
static bool set_status(wg_context *ctx, wg_status status, wg_error *cause, bool inherited) {
    struct wg_stripe *stripe = wg_stripe_of(ctx);
    struct wg_wakes wakes = {.count = 0};
    wg_lock_take(&stripe->lock);
    bool won = wg_context_status(ctx) == WG_OK;
    if (won) {
        ctx->cause = wg_error_retain(cause);
        ctx->inherited = inherited;
        wg_store_release32(&ctx->status, status);
        if (ctx->has_signal && ctx->signal_epoch == wg_fork_epoch())
            wg_signal_raise(&ctx->signal);
        wg_sleepers_wake(stripe, ctx, &wakes);
    }
    wg_stripe_give(stripe, &wakes);
    return won;
}

/* End `ctx` and all below it. */
static bool end(wg_context *ctx, wg_status status, wg_error *cause, bool inherited) {
    if (!set_status(ctx, status, cause, inherited))
        return false;
    leave_parent(ctx);
    wg_context_retain(ctx);
    ctx->ending = NULL;
    wg_context *last = ctx, *child;
    for (wg_context *c = ctx; c; c = c->ending) {
        while ((child = first_child(c))) {
            if (!set_status(child, status, cause, true)) {
                wg_context_release(child);
                continue;
            }
            child->ending = NULL;
            last->ending = child;
            last = child;
        }
    }
    for (wg_context *c = ctx, *next; c; c = next) {
        next = c->ending;
        if (c->timed)
            wg_timer_remove(&c->timer);
        struct wg_stripe *stripe = wg_stripe_of(c);
        struct wg_wakes none = {.count = 0};
        wg_lock_take(&stripe->lock);
        wg_observers_call(stripe, &c->observers, c, &none);
        wg_lock_give(&stripe->lock);
        wg_context_release(c);
    }
    return true;
}

wg_status wg_context_cancel(wg_context *ctx, wg_error *cause) {
    if (!ctx || ctx == &root)
        return WG_INVALID;
    return end(ctx, WG_CANCELLED, cause, false) ? WG_OK : wg_context_status(ctx);
}

/* The parent may not have noticed yet that the deadline is its own, or an ancestor's. */
void wg_context_expire(wg_context *ctx) {
    if (ctx != &root && wg_passed(ctx->deadline))
        end(ctx, WG_DEADLINE_EXCEEDED, NULL, ctx->parent->deadline == ctx->deadline);
}

/* Become a child of `parent`, or end as it did. */
static void join_parent(wg_context *ctx, wg_context *parent) {
    ctx->parent = wg_context_retain(parent);
    if (parent == &root)
        return;
    struct wg_stripe *stripe = wg_stripe_of(parent);
    wg_lock_take(&stripe->lock);
    wg_status status = wg_context_status(parent);
    if (status == WG_OK)
        child_link(parent, ctx);
    wg_lock_give(&stripe->lock);
    if (status != WG_OK)
        set_status(ctx, status, parent->cause, true);
}

wg_status wg_context_new(wg_context **out, wg_context *parent, int64_t deadline) {
    if (!out)
        return WG_INVALID;
    if (!parent && !(parent = wg_context_current()))
        parent = &root;
    wg_context *ctx = malloc(sizeof *ctx);
    if (!ctx)
        return WG_NO_MEMORY;
    *ctx = (wg_context){.refs = 1, .deadline = wg_earlier(deadline, parent->deadline)};
    if (ctx->deadline == INT64_MAX)
        ctx->deadline = WG_FOREVER;
    bool past = wg_passed(ctx->deadline);
    ctx->timed = !past && wg_point(ctx->deadline) < wg_point(parent->deadline);
    join_parent(ctx, parent);
    if (past)
        wg_context_expire(ctx);
    else if (ctx->timed && wg_context_status(ctx) == WG_OK && !wg_timer_add(&ctx->timer, ctx, ctx->deadline)) {
        wg_context_release(ctx);
        return WG_NO_THREADS;
    }
    *out = ctx;
    return WG_OK;
}

void wg_context_release(wg_context *ctx) {
    /* A loop, not a recursion: chains may be long. */
    while (ctx && ctx != &root && wg_sub_acq_rel32(&ctx->refs, 1) == 1) {
        wg_context *parent = ctx->parent;
        leave_parent(ctx);
        if (ctx->timed)
            wg_timer_remove(&ctx->timer);
        if (ctx->has_signal)
            wg_signal_close(&ctx->signal);
        wg_error_release(ctx->cause);
        free(ctx);
        ctx = parent;
    }
}

bool wg_context_descends(const wg_context *ctx, const wg_context *ancestor) {
    while (ctx && ctx != ancestor)
        ctx = ctx->parent;
    return ctx != NULL;
}

bool wg_context_link(wg_context *ctx, struct wg_sleeper *sleeper) {
    if (ctx == &root)
        return true;
    struct wg_stripe *stripe = wg_stripe_of(ctx);
    wg_lock_take(&stripe->lock);
    bool lives = wg_context_status(ctx) == WG_OK;
    if (lives) {
        sleeper->subject = ctx;
        wg_sleeper_link(stripe, sleeper);
    }
    wg_lock_give(&stripe->lock);
    return lives;
}

void wg_context_unlink(wg_context *ctx, struct wg_sleeper *sleeper) {
    if (ctx == &root)
        return;
    struct wg_stripe *stripe = wg_stripe_of(ctx);
    wg_lock_take(&stripe->lock);
    wg_sleeper_unlink(stripe, sleeper);
    wg_lock_give(&stripe->lock);
}

wg_status wg_context_wait(wg_context *ctx, const wg_until *until) {
    static const wg_until for_ever = {0};
    if (!ctx)
        return WG_INVALID;
    if (!until)
        until = &for_ever;
    wg_context *bound = wg_until_context(until);
    if (bound == ctx)
        bound = NULL;
    bool ended = wg_context_status(bound) != WG_OK; /* read first: what is waited for may end it */
    wg_context_expire(ctx);
    if (wg_context_status(ctx) != WG_OK)
        return WG_OK;
    if (ended)
        return WG_CONTEXT_ENDED;
    if (wg_passed(until->deadline))
        return WG_TIMEOUT;

    wg_context_retain(ctx); /* giving up the last reference meanwhile does no harm */
    struct wg_waiter w = {.contexts = 0};
    wg_status status = WG_OK;
    if (wg_waiter_context(&w, ctx, WG_ON_SUBJECT) && wg_waiter_context(&w, bound, WG_ON_CONTEXT))
        status = wg_waiter_sleep(&w, until);
    wg_waiter_leave(&w);
    if (wg_context_status(ctx) != WG_OK)
        status = WG_OK;
    else if (status == WG_OK)
        status = WG_CONTEXT_ENDED;
    wg_context_release(ctx);
    return status;
}

wg_status wg_context_observe(wg_context *ctx, wg_observer *observer, void (*fn)(void *arg), void *arg) {
    if (!ctx || !observer || !fn)
        return WG_INVALID;
    struct wg_stripe *stripe = wg_stripe_of(ctx);
    wg_lock_take(&stripe->lock);
    wg_observer_settle(stripe, &ctx->observers, wg_context_status(ctx) != WG_OK, ctx, observer, fn, arg);
    return WG_OK;
}

bool wg_context_unobserve(wg_context *ctx, wg_observer *observer) {
    return ctx && observer && wg_observer_remove(wg_stripe_of(ctx), observer, false);
}

bool wg_context_unobserve_sync(wg_context *ctx, wg_observer *observer) {
    return ctx && observer && wg_observer_remove(wg_stripe_of(ctx), observer, true);
}

wg_status wg_context_fd(wg_context *ctx, int *fd) {
    if (!ctx || !fd || ctx == &root)
        return WG_INVALID;
    struct wg_stripe *stripe = wg_stripe_of(ctx);
    wg_status status = WG_OK;
    wg_lock_take(&stripe->lock);
    if (!ctx->has_signal && wg_signal_open(&ctx->signal)) {
        ctx->has_signal = true;
        ctx->signal_epoch = wg_fork_epoch();
        if (wg_context_status(ctx) != WG_OK)
            wg_signal_raise(&ctx->signal);
    }
    if (!ctx->has_signal)
        status = WG_NO_FD;
    else if (ctx->signal_epoch != wg_fork_epoch())
        status = WG_FORKED;
    else
        *fd = ctx->signal.readable;
    wg_lock_give(&stripe->lock);
    return status;
}
