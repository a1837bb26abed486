/* context.h - what the other files may do with a context. */
#ifndef WG_CONTEXT_H
#define WG_CONTEXT_H

#include "waitgroup/context.h"

#include "waitqueue.h"

/* That of a group, which people see with the group; `name`: the group's. */
wg_status wg_context_of_group(wg_context **out, wg_context *parent, int64_t deadline, const char *name);

/* What there is to see of a context that wg_context_make has made. */
#define WG_SEEN_OF_CONTEXT 80 /* so much of a text, with its end */
struct wg_seen_context {
    const void *context; /* only compared */
    char name[WG_SEEN_OF_CONTEXT], where[WG_SEEN_OF_CONTEXT];
    const char *language;
    int64_t made, deadline;
    wg_status status;
    size_t children, callbacks; /* that have not ended; that have not been called */
};

/* The context with this link in `contexts` of its bucket, whose lock is held. */
struct wg_seen_context wg_context_look(struct wg_link *link);

/* End the context of a group that is over: as wg_context_cancel, and nobody is told that anything was cancelled. */
void wg_context_close(wg_context *ctx, wg_error *cause);

/* Sleep until it ends; false if it has. The root never does. */
bool wg_context_link(wg_context *ctx, struct wg_wait_entry *entry);
void wg_context_unlink(wg_context *ctx, struct wg_wait_entry *entry);

/* Call `fn(arg)` once, when it ends; take that back. See observer.h, as for the calls of other objects with such names. */
void wg_context_observe(wg_context *ctx, wg_observer *observer, void (*fn)(void *arg), void *arg);
bool wg_context_unobserve(wg_context *ctx, wg_observer *observer, bool sync);

/* Has it ended, or has its deadline passed? Unlike wg_context_check this calls nobody. */
bool wg_context_is_over(const wg_context *ctx);

/* Was it cancelled without a cause, or an ancestor was? A stop, not an error. */
bool wg_context_stopped(const wg_context *ctx);

/* Does `ctx` end when `ancestor` does, at the latest? */
bool wg_context_descends(const wg_context *ctx, const wg_context *ancestor);

/* A reference, unless the last one has gone already. */
bool wg_context_try_retain(wg_context *ctx);

/* In the child of a fork: go on with what the threads of the parent were doing for contexts. Called by all that look, wait
 * or observe, and after the calls of observers, not with a lock held. */
extern wg_a32 wg_contexts_behind; /* 1 if there is something to do */
void wg_contexts_go_on(void);
static inline void wg_contexts_catch_up(void) {
    if (wg_load_relaxed32(&wg_contexts_behind))
        wg_contexts_go_on();
}

/* For fork.c, in the child: note what there is to do, here and for helper.h. */
void wg_contexts_reset(void);

#endif
