/* wait.h - one thread sleeping for any of several things: a count reaching zero, contexts ending, a slot. */
#ifndef WG_WAIT_H
#define WG_WAIT_H

#include "waitgroup/context.h"
#include "waitgroup/waitgroup.h"

#include "waitqueue.h"
#include "waits.h"

/* The bits of a waiter's park word: what has happened. Each is set at most once, by the thread that made it happen. There
 * is also WG_KICKED, see waitqueue.h. When several have happened, the lowest says why the wait ended: what the call is about
 * comes before what else may end it, and the end of a group before that of a context which it may have ended. */
typedef enum wg_reason {
    WG_ON_NOTHING = 0,
    WG_ON_SUBJECT = 1,  /* what the call is about: zero, the context's end, a slot */
    WG_ON_GROUP = 2,    /* the group's own context has ended */
    WG_ON_DEADLOCK = 4, /* every slot is held by a task that waits for one */
    WG_ON_CONTEXT = 8,  /* the context that bounds the wait has ended */
} wg_reason;

/* Sleeps on one subject and up to two contexts. Lives on the stack of the thread that waits. */
struct wg_waiter {
    wg_a32 word;
    struct wg_wait_entry subject;
    struct {
        wg_context *context;
        uint32_t bit;
        struct wg_wait_entry entry;
    } ends[2];
    int contexts;
    struct wg_wait_record record; /* its owner sets what it waits for, and the event */
};

/* `other`: a context besides that of `until`, which may end the wait; or NULL. */
void wg_waiter_init(struct wg_waiter *w, const wg_until *until, const wg_context *other);

/* The context that bounds a wait: until->context, or that of the task which this thread runs; NULL if there is none. */
wg_context *wg_until_context(const wg_until *until);

/* Can nothing end the wait except what it waits for? */
bool wg_until_unbounded(const wg_until *until);

/* Sleep on `ctx` too; NULL is allowed. False: it has ended. The context that bounds the wait comes last. */
bool wg_waiter_context(struct wg_waiter *w, wg_context *ctx, uint32_t bit);

/* Sleep until a bit is set: WG_OK; or WG_TIMEOUT: until's deadline has passed, or that of a context slept on, which the
 * caller must look at, by wg_context_check, when nothing is linked any more; or WG_INTERRUPTED; or WG_FORKED: this is the
 * child of a fork that came in something the wait has called; or WG_DEADLOCK: no bit would ever be set. */
wg_status wg_waiter_sleep(struct wg_waiter *w, const wg_until *until);

/* Unlink the waiter from the contexts: before anybody else's code is called, which may end the thread. */
void wg_waiter_unlink(struct wg_waiter *w);

/* The end of a wait, whether or not it slept: unlink the waiter from the contexts, and say why the wait has ended.
 * WG_ON_NOTHING: the status of wg_waiter_sleep says why. The owner has unlinked the waiter from its subject before. Contexts
 * are looked at by the clock, which may call observers. */
wg_reason wg_waiter_finish(struct wg_waiter *w);

/* wg_wait, which returns WG_CANCELLED when `group`, a context or NULL, ends. `wish` says what the zero of `wg` means. */
wg_status wg_wait_zero(wg_waitgroup *wg, const wg_until *until, wg_context *group, const struct wg_wish *wish);

/* How the above looks at a wait group. Link: false if it is zero. Look: WG_OK, WG_FORKED, or WG_TIMEOUT. */
bool wg_wait_link(wg_waitgroup *wg, struct wg_wait_entry *entry);
wg_status wg_wait_look(const wg_waitgroup *wg);

#endif
