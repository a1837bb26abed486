/* context.c - contexts: a tree along which an end travels.
 *
 * Which thread may change which field of a context, and when:
 *   refs                     any thread, atomically
 *   status, inherited, cause once, under the bucket's lock of this context; status last, with release: whoever reads
 *                            status != 0 may read the other two without a lock
 *   children, observers, signal   under the bucket's lock of this context; children only while status == 0
 *   sibling                  under the bucket's lock of the parent: this one among its children
 *   end, ender               under the bucket's lock of this context, from the setting of status until all is done
 *   parent, deadline         never after its making; a child holds a reference to its parent, the parent none to it
 *   timer                    see timer.h
 *   goes_on                  once, by the thread that sets status, before that; read by that thread
 *   spreads                  by the thread that has set status, under the bucket's lock of this context
 *   ending                   by the thread that has set status
 *
 * An end takes two rounds. First all contexts below get their status, and the threads that sleep on them are woken; only
 * then are observers called, in no lock. So no observer, however slow, can keep a descendant from ending.
 *
 * The clock decides: a context whose deadline has passed is over, and each call except wg_context_status sees to it that
 * its status says so (wg_context_check), whether or not the timer's thread has come to it.
 *
 * A fork may come at any step of an end in another thread, which does not go on in the child. Whatever has got its status
 * and is not done yet stands in its bucket's list of ends, and whatever has not got it is still a child of such a one; so
 * the child can bring it to its end. It does so in the first call that looks at a context, waits or observes, and not
 * in the handler of fork, which runs when a program's other handlers have not put their locks in order yet. There, too,
 * the thread that keeps deadlines is started anew. */
#include "context.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deadline.h"
#include "fork.h"
#include "frame.h"
#include "helper.h"
#include "ref.h"
#include "registry.h"
#include "timer.h"
#include "trace.h"
#include "wait.h"

struct wg_context {
    wg_a32 refs;
    wg_a32 status; /* a wg_status: WG_OK while it lives */
    bool inherited;
    bool listed; /* it is in the list of its bucket, until its last reference goes: of wg_context_make */
    bool timed;  /* it has a deadline of its own, in the timer */
    bool has_signal;
    uint32_t signal_epoch; /* the process that made the signal */
    struct wg_signal signal;
    wg_error *cause;
    int64_t deadline;
    wg_context *parent;
    struct wg_link children, sibling, observers;
    struct wg_link end; /* while its end is under way: in the bucket's list */
    const struct wg_thread *ender;
    bool goes_on;       /* there is more to do for its end than to set the status; see begin_to_end */
    bool spreads;       /* it has ended, and those below it may not have; see `spreading` */
    wg_context *ending; /* the next one in the list of those that end together */
    struct wg_timer timer;
    wg_a64 id;           /* see registry.h */
    struct wg_link link; /* in the list of its bucket */
    int64_t made;
    const char *language, *where; /* the latter behind the name */
    char name[];                  /* or that of the group that it is of */
};

static wg_context root = {.refs = 1};

wg_context *wg_context_root(void) { return &root; }

wg_context *wg_context_current(void) {
    struct wg_frame *frame = wg_thread()->frame;
    return frame ? frame->ctx : NULL;
}

wg_status wg_context_run(wg_context *ctx, void (*fn)(void *arg), void *arg) {
    if (!ctx || !fn)
        return WG_INVALID;
    wg_call_in_frame((struct wg_frame){.ctx = ctx}, fn, arg);
    return WG_OK;
}

wg_status wg_scope_enter(wg_scope *scope, wg_context *ctx) {
    if (!scope)
        return WG_INVALID;
    wg_scope_enter_frame(scope, (struct wg_frame){.ctx = ctx == &root ? NULL : ctx});
    return WG_OK;
}

wg_context *wg_context_retain(wg_context *ctx) {
    if (ctx && ctx != &root)
        wg_ref_take(&ctx->refs);
    return ctx;
}

bool wg_context_try_retain(wg_context *ctx) { return wg_ref_try_take(&ctx->refs); }

static bool try_retain(void *ctx) { return ctx == &root || wg_context_try_retain(ctx); }

int64_t wg_context_id(wg_context *ctx) { return ctx ? wg_registry_id(&ctx->id, WG_KIND_CONTEXT, ctx, try_retain) : 0; }

wg_status wg_context_status(const wg_context *ctx) { return ctx ? (wg_status)wg_load_acquire32(&ctx->status) : WG_OK; }

wg_error *wg_context_cause(wg_context *ctx) { return wg_context_check(ctx) != WG_OK ? ctx->cause : NULL; }

bool wg_context_inherited(wg_context *ctx) { return wg_context_check(ctx) != WG_OK && ctx->inherited; }

bool wg_context_stopped(const wg_context *ctx) { return wg_context_status(ctx) == WG_CANCELLED && !ctx->cause; }

int64_t wg_context_deadline(const wg_context *ctx) { return ctx ? ctx->deadline : WG_FOREVER; }

int64_t wg_context_remaining(wg_context *ctx) {
    if (!ctx || ctx->deadline == WG_FOREVER)
        return INT64_MAX;
    int64_t now = wg_now();
    if (now < ctx->deadline)
        return ctx->deadline - now;
    wg_context_check(ctx);
    return 0;
}

wg_error *wg_context_error(wg_context *ctx) {
    switch (wg_context_check(ctx)) {
    case WG_OK: return NULL;
    case WG_DEADLINE_EXCEEDED: return wg_error_deadline();
    default: return wg_error_cancelled();
    }
}

/* A parent that lives on forgets this one. */
static void leave_parent(wg_context *ctx) {
    if (!ctx->parent || ctx->parent == &root)
        return;
    struct wg_bucket *bucket = wg_bucket_of(ctx->parent);
    wg_mutex_lock(&bucket->lock);
    wg_list_remove(&ctx->sibling);
    wg_mutex_unlock(&bucket->lock);
}

static wg_context *child_of(struct wg_link *link) { return WG_MEMBER(link, wg_context, sibling); }

/* The next child that `ctx` has, with a reference, when `before` is no longer one. Until a child has ended it stays linked:
 * in the child of a fork that is how it is found. */
static wg_context *next_child(wg_context *ctx, wg_context *before) {
    struct wg_bucket *bucket = wg_bucket_of(ctx);
    wg_context *child;
    wg_mutex_lock(&bucket->lock);
    if (before)
        wg_list_remove(&before->sibling);
    while ((child = child_of(wg_list_first(&ctx->children))) && !wg_context_try_retain(child))
        wg_list_remove(&child->sibling); /* its last reference has just gone */
    wg_mutex_unlock(&bucket->lock);
    return child;
}

/* How many contexts have ended while not all below them have: set and cleared with `spreads`. Whatever has seen the status of
 * a context sees the count above zero, until all below it have a status. */
static wg_a32 spreading;

/* Under the lock, before the status is set. */
static void begin_to_spread(wg_context *ctx) {
    ctx->spreads = wg_list_first(&ctx->children) != NULL;
    if (ctx->spreads)
        wg_add_relaxed32(&spreading, 1);
}

static void has_spread(wg_context *ctx) {
    if (!ctx->spreads)
        return;
    struct wg_bucket *bucket = wg_bucket_of(ctx);
    wg_mutex_lock(&bucket->lock);
    ctx->spreads = false;
    wg_sub_acq_rel32(&spreading, 1);
    wg_mutex_unlock(&bucket->lock);
}

/* Under the lock, before the status is set. There is more to do for the end than to set the status if anything is below the
 * context, observes it or is in the timer: with the status set, none of these can come any more. */
static void begin_to_end(struct wg_bucket *bucket, wg_context *ctx) {
    ctx->goes_on = wg_list_first(&ctx->children) || wg_list_first(&ctx->observers) || ctx->timed;
    if (!ctx->goes_on)
        return;
    ctx->ender = wg_thread();
    ctx->ending = NULL;
    wg_list_append(&bucket->ends, &ctx->end);
    begin_to_spread(ctx);
}

/* Give `ctx` its status, and wake the threads that sleep on it. False if it has one already. */
static bool set_status(wg_context *ctx, wg_status status, wg_error *cause, bool inherited) {
    struct wg_bucket *bucket = wg_bucket_of(ctx);
    struct wg_wake_q wakes = {.count = 0};
    wg_mutex_lock(&bucket->lock);
    bool won = wg_context_status(ctx) == WG_OK;
    if (won) {
        ctx->cause = wg_error_retain(cause);
        ctx->inherited = inherited;
        begin_to_end(bucket, ctx);
        wg_store_release32(&ctx->status, status);
        if (ctx->has_signal && ctx->signal_epoch == wg_fork_epoch())
            wg_signal_raise(&ctx->signal);
        wg_wait_entries_wake(bucket, ctx, &wakes);
    }
    wg_bucket_unlock_and_wake(bucket, &wakes);
    return won;
}

/* What an end has still to do. All contexts in it have a reference. */
struct spread {
    wg_context *above; /* whose children get their status next; NULL: there is none left */
    wg_context *child; /* the next of these */
    wg_context *last;  /* of those that end together: more go behind it */
    wg_context *ctx;   /* for which the last things are done next; NULL: it is over */
    bool called;       /* its observers are being called */
};

/* End the children of s->above. To release one may end the thread: there may be a destructor of a cause. */
static void end_children(struct spread *s) {
    wg_context *above = s->above;
    if (!s->child)
        s->child = next_child(above, NULL);
    while (s->child) {
        wg_context *child = s->child;
        bool ended = set_status(child, wg_context_status(above), above->cause, true);
        s->child = next_child(above, child);
        if (ended && child->goes_on)
            s->last = s->last->ending = child;
        else
            wg_context_release(child);
    }
}

static void do_last_things(struct spread *s) {
    wg_context *ctx = s->ctx;
    struct wg_bucket *bucket = wg_bucket_of(ctx);
    struct wg_wake_q none = {.count = 0};
    if (ctx->timed && !s->called)
        wg_timer_remove(&ctx->timer);
    wg_mutex_lock(&bucket->lock);
    if (!s->called) {
        s->called = true;
        wg_observers_call(bucket, &ctx->observers, ctx, &none);
    }
    wg_list_remove(&ctx->end);
    wg_mutex_unlock(&bucket->lock);
    s->ctx = ctx->ending;
    s->called = false;
    wg_context_release(ctx);
}

/* See wg_finish. */
static void go_on(void *raw) {
    struct spread *s = raw;
    while (s->above) {
        end_children(s);
        has_spread(s->above);
        s->above = s->above->ending;
    }
    while (s->ctx)
        do_last_things(s);
}

/* Bring to its end what has begun with the contexts from `first` on. */
static void spread(wg_context *first) {
    struct spread s = {.above = first, .last = first, .ctx = first};
    while (s.last->ending)
        s.last = s.last->ending;
    wg_finish(go_on, &s);
    wg_contexts_catch_up(); /* an observer may have forked */
}

/* Why a context ends. */
enum way { OF_ITSELF, AS_ANCESTOR, AT_CLOSE };

/* End `ctx` and all below it. */
static bool end(wg_context *ctx, wg_status status, wg_error *cause, enum way way) {
    if (!set_status(ctx, status, cause, way == AS_ANCESTOR))
        return false;
    if (way == OF_ITSELF)
        wg_trace_cancelled(ctx->name, status, cause);
    leave_parent(ctx);
    if (ctx->goes_on)
        spread(wg_context_retain(ctx));
    return true;
}

/* An ancestor may have ended whose end has not come down to `ctx` yet. The thread that cancels `ctx` may do so because it
 * has seen that end: then it is the end of `ctx` too. To look at all ancestors takes the longer the deeper `ctx` is, and is
 * needed only while some end is on its way down. */
static void end_as_ancestor(wg_context *ctx) {
    if (wg_load_acquire32(&spreading) == 0)
        return;
    for (const wg_context *a = ctx->parent; a; a = a->parent) {
        wg_status status = wg_context_status(a);
        if (status != WG_OK) {
            end(ctx, status, a->cause, AS_ANCESTOR);
            return;
        }
    }
}

static wg_status cancel(wg_context *ctx, wg_error *cause, enum way way) {
    wg_status status = wg_context_check(ctx);
    if (status != WG_OK)
        return status;
    end_as_ancestor(ctx);
    return end(ctx, WG_CANCELLED, cause, way) ? WG_OK : wg_context_status(ctx);
}

wg_status wg_context_cancel(wg_context *ctx, wg_error *cause) {
    return ctx && ctx != &root ? cancel(ctx, cause, OF_ITSELF) : WG_INVALID;
}

void wg_context_close(wg_context *ctx, wg_error *cause) { (void)cancel(ctx, cause, AT_CLOSE); }

/* The deadline of `ctx` has passed. If it is an ancestor's, that one ends with all below it, as if the timer had come; or it
 * has ended for whatever reason, and another thread is on its way from there. */
static void expire(wg_context *ctx) {
    wg_context *owner = ctx;
    while (wg_context_status(owner) == WG_OK && owner->parent->deadline == ctx->deadline)
        owner = owner->parent;
    end(owner, WG_DEADLINE_EXCEEDED, wg_error_deadline(), OF_ITSELF);
    if (owner != ctx)
        end(ctx, wg_context_status(owner), owner->cause, AS_ANCESTOR);
}

wg_status wg_context_check(wg_context *ctx) {
    wg_contexts_catch_up();
    if (ctx && wg_context_status(ctx) == WG_OK && wg_passed(ctx->deadline))
        expire(ctx);
    return wg_context_status(ctx);
}

bool wg_context_is_over(const wg_context *ctx) {
    return wg_context_status(ctx) != WG_OK || wg_passed(wg_context_deadline(ctx));
}

/* Become a child of `parent`, or end as it did. */
static void join_parent(wg_context *ctx, wg_context *parent) {
    ctx->parent = wg_context_retain(parent);
    if (parent == &root)
        return;
    struct wg_bucket *bucket = wg_bucket_of(parent);
    wg_mutex_lock(&bucket->lock);
    wg_status status = wg_context_status(parent);
    if (status == WG_OK)
        wg_list_append(&parent->children, &ctx->sibling);
    wg_mutex_unlock(&bucket->lock);
    if (status != WG_OK)
        end(ctx, status, parent->cause, AS_ANCESTOR);
}

/* From now on wg_context_look may be called. */
static void enrol(wg_context *ctx) {
    struct wg_bucket *bucket = wg_bucket_of(ctx);
    ctx->listed = true;
    wg_mutex_lock(&bucket->lock);
    wg_list_append(&bucket->contexts, &ctx->link);
    wg_mutex_unlock(&bucket->lock);
}

static void strike_off(wg_context *ctx) {
    if (!ctx->listed)
        return;
    struct wg_bucket *bucket = wg_bucket_of(ctx);
    wg_mutex_lock(&bucket->lock);
    wg_list_remove(&ctx->link);
    wg_mutex_unlock(&bucket->lock);
}

static wg_context *allocate(const wg_context_options *options, int64_t deadline) {
    const char *name = options->name ? options->name : "", *where = options->where ? options->where : "";
    wg_context *ctx = malloc(sizeof *ctx + strlen(name) + strlen(where) + 2);
    if (!ctx)
        return NULL;
    *ctx = (wg_context){.refs = 1,
                        .deadline = deadline == INT64_MAX ? WG_FOREVER : deadline,
                        .language = options->language ? options->language : "C"};
    ctx->where = strcpy(ctx->name, name) + strlen(name) + 1;
    strcpy(ctx->name + strlen(name) + 1, where);
    return ctx;
}

static wg_status make(wg_context **out, const wg_context_options *options) {
    wg_context *parent = options->parent ? options->parent : wg_context_current();
    if (!parent)
        parent = &root;
    int64_t deadline = wg_earlier(options->deadline, parent->deadline);
    bool past = wg_passed(deadline), earlier = wg_point(deadline) < wg_point(parent->deadline);
    /* After that look at the clock, and before there is anything to lose: an observer of the parent may end the thread. */
    wg_context_check(parent);
    wg_context *ctx = allocate(options, deadline);
    if (!ctx)
        return WG_NO_MEMORY;
    ctx->timed = !past && earlier;
    join_parent(ctx, parent);
    if (past) /* if the deadline is the parent's, that one has ended, and `ctx` with it */
        end(ctx, WG_DEADLINE_EXCEEDED, wg_error_deadline(), OF_ITSELF);
    else if (ctx->timed && wg_context_status(ctx) == WG_OK && !wg_timer_add(&ctx->timer, ctx, ctx->deadline)) {
        wg_context_release(ctx);
        return WG_NO_THREADS;
    }
    *out = ctx;
    return WG_OK;
}

wg_status wg_context_new(wg_context **out, wg_context *parent, int64_t deadline) {
    return out ? make(out, &(wg_context_options){.parent = parent, .deadline = deadline}) : WG_INVALID;
}

wg_status wg_context_make(wg_context **out, const wg_context_options *options) {
    wg_status status = out && options ? make(out, options) : WG_INVALID;
    if (status == WG_OK) {
        (*out)->made = wg_now();
        enrol(*out);
    }
    return status;
}

wg_status wg_context_of_group(wg_context **out, wg_context *parent, int64_t deadline, const char *name) {
    return make(out, &(wg_context_options){.parent = parent, .deadline = deadline, .name = name});
}

static void free_context(wg_context *ctx) {
    wg_registry_end(&ctx->id);
    strike_off(ctx);
    leave_parent(ctx);
    if (ctx->timed)
        wg_timer_remove(&ctx->timer);
    if (ctx->has_signal)
        wg_signal_close(&ctx->signal);
    free(ctx);
}

/* See wg_finish: to destroy a cause may end the thread. A loop, not a recursion: chains may be long. */
static void free_chain(void *raw) {
    wg_context **first = raw, *ctx;
    while ((ctx = *first)) {
        wg_context *parent = ctx->parent;
        wg_error *cause = ctx->cause;
        free_context(ctx);
        *first = parent != &root && wg_ref_drop(&parent->refs) ? parent : NULL;
        wg_error_release(cause);
    }
}

void wg_context_release(wg_context *ctx) {
    if (ctx && ctx != &root && wg_ref_drop(&ctx->refs))
        wg_finish(free_chain, &ctx);
}

bool wg_context_descends(const wg_context *ctx, const wg_context *ancestor) {
    while (ctx && ctx != ancestor)
        ctx = ctx->parent;
    return ctx != NULL;
}

bool wg_context_link(wg_context *ctx, struct wg_wait_entry *entry) {
    if (ctx == &root)
        return true;
    struct wg_bucket *bucket = wg_bucket_of(ctx);
    wg_mutex_lock(&bucket->lock);
    bool lives = wg_context_status(ctx) == WG_OK;
    if (lives) {
        entry->subject = ctx;
        wg_wait_entry_link(bucket, entry);
    }
    wg_mutex_unlock(&bucket->lock);
    return lives;
}

void wg_context_unlink(wg_context *ctx, struct wg_wait_entry *entry) {
    if (ctx == &root)
        return;
    struct wg_bucket *bucket = wg_bucket_of(ctx);
    wg_mutex_lock(&bucket->lock);
    wg_wait_entry_unlink(entry);
    wg_mutex_unlock(&bucket->lock);
}

static wg_status sleep_on(wg_context *ctx, wg_context *bound, const wg_until *until) {
    struct wg_waiter w = {.record = {.wish = {.what = WG_FOR_CONTEXT, .subject = ctx}, .event = ctx}};
    wg_waiter_init(&w, until, NULL);
    w.record.certain = false;
    wg_status status = WG_OK;
    if (wg_waiter_context(&w, ctx, WG_ON_SUBJECT) && wg_waiter_context(&w, bound, WG_ON_CONTEXT))
        status = wg_waiter_sleep(&w, until);
    wg_reason reason = wg_waiter_finish(&w);
    if (reason != WG_ON_NOTHING)
        status = reason == WG_ON_SUBJECT ? WG_OK : WG_CONTEXT_ENDED;
    return status;
}

/* A call of wg_context_wait, with a reference: giving up the last one meanwhile does no harm. */
struct wait_for_end {
    wg_context *ctx, *bound;
    const wg_until *until;
    wg_status status;
    bool begun;
};

/* See wg_finish: the thread may end in an observer of what has ended. */
static void wait_and_release(void *raw) {
    struct wait_for_end *wait = raw;
    if (!wait->begun) {
        wait->begun = true;
        do
            wait->status = sleep_on(wait->ctx, wait->bound, wait->until);
        while (wait->status == WG_FORKED); /* a context is of the child too */
    }
    wg_context_release(wait->ctx);
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
    bool ended = wg_context_check(bound) != WG_OK; /* read first: what is waited for may end it */
    if (wg_context_check(ctx) != WG_OK)
        return WG_OK;
    if (ended)
        return WG_CONTEXT_ENDED;
    if (wg_passed(until->deadline))
        return WG_TIMEOUT;
    struct wait_for_end wait = {.ctx = wg_context_retain(ctx), .bound = bound, .until = until};
    wg_finish(wait_and_release, &wait);
    return wait.status;
}

void wg_context_observe(wg_context *ctx, wg_observer *observer, void (*fn)(void *arg), void *arg) {
    wg_context_check(ctx);
    struct wg_bucket *bucket = wg_bucket_of(ctx);
    wg_mutex_lock(&bucket->lock);
    wg_observer_settle(bucket, &ctx->observers, wg_context_status(ctx) != WG_OK, ctx, observer, fn, arg);
    wg_contexts_catch_up();
}

bool wg_context_unobserve(wg_context *ctx, wg_observer *observer, bool sync) {
    return wg_observer_remove(wg_bucket_of(ctx), observer, sync);
}

wg_status wg_context_fd(wg_context *ctx, int *fd) {
    if (!ctx || !fd || ctx == &root)
        return WG_INVALID;
    wg_context_check(ctx);
    struct wg_bucket *bucket = wg_bucket_of(ctx);
    wg_status status = WG_OK;
    wg_mutex_lock(&bucket->lock);
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
    wg_mutex_unlock(&bucket->lock);
    return status;
}

/* To look at. */

static size_t length_of(const struct wg_link *list) {
    size_t n = 0;
    for (const struct wg_link *link = wg_list_first(list); link; link = wg_list_after(list, link))
        n++;
    return n;
}

struct wg_seen_context wg_context_look(struct wg_link *link) {
    const wg_context *ctx = WG_MEMBER(link, wg_context, link);
    struct wg_seen_context seen = {
        .context = ctx,
        .language = ctx->language,
        .made = ctx->made,
        .deadline = ctx->deadline,
        .status = wg_context_status(ctx),
        .children = length_of(&ctx->children),
        .callbacks = length_of(&ctx->observers),
    };
    snprintf(seen.name, sizeof seen.name, "%s", ctx->name);
    snprintf(seen.where, sizeof seen.where, "%s", ctx->where);
    return seen;
}

/* Fork. */

wg_a32 wg_contexts_behind;
static wg_context *left_behind; /* ended before the fork, in a thread that the child does not have; list by `ending` */

static void leave_behind(struct wg_link *link) {
    wg_context *ctx = WG_MEMBER(link, wg_context, end);
    if (ctx->spreads)
        wg_add_relaxed32(&spreading, 1);
    if (ctx->ender == wg_thread())
        return;
    if (ctx->ender)
        wg_context_retain(ctx);
    ctx->ender = NULL;
    ctx->ending = left_behind;
    left_behind = ctx;
}

void wg_contexts_reset(void) {
    left_behind = NULL;
    wg_store_relaxed32(&spreading, 0);
    wg_buckets_ends(leave_behind);
    bool unkept = wg_timer_reset();
    wg_store_relaxed32(&wg_contexts_behind, left_behind || unkept || wg_helpers_lack());
}

static void adopt(wg_context *ctx) {
    struct wg_bucket *bucket = wg_bucket_of(ctx);
    wg_mutex_lock(&bucket->lock);
    ctx->ender = wg_thread();
    wg_mutex_unlock(&bucket->lock);
}

void wg_contexts_go_on(void) {
    uint32_t behind = 1;
    if (!wg_cas_acquire32(&wg_contexts_behind, &behind, 0))
        return;
    wg_context *first = left_behind;
    left_behind = NULL;
    if (!wg_timer_resume() || !wg_helpers_resume())
        wg_store_relaxed32(&wg_contexts_behind, 1); /* next time, perhaps */
    for (wg_context *ctx = first; ctx; ctx = ctx->ending)
        adopt(ctx);
    if (first)
        spread(first);
}
