/* context.h - says "stop now" to all that refer to it, with a reason, a deadline, and children that end with it.
 *
 * After Go's context. A context ends once: cancelled with an optional cause, or by its deadline. Its children end with
 * it, with its status and cause. All calls may be made from any thread.
 *
 *     wg_context *ctx;
 *     if (wg_context_new(&ctx, NULL, wg_after(3 * WG_SECOND)) == WG_OK) {
 *         while (wg_context_status(ctx) == WG_OK)
 *             work_a_little();
 *         wg_context_release(ctx);
 *     } */
#ifndef WAITGROUP_CONTEXT_H
#define WAITGROUP_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "observer.h"
#include "status.h"
#include "until.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A new context with one reference, the caller's. `parent`: ends this one with itself; NULL means the context of the
 * task that this thread runs, if it runs one; wg_context_root() detaches. `deadline`: see until.h; the parent's holds
 * if it is earlier. A deadline already past, or a parent already ended, gives a context that has ended.
 * WG_OK; WG_NO_MEMORY; WG_NO_THREADS: no thread to keep the deadline could be started; WG_INVALID: out is NULL. */
WG_API wg_status wg_context_new(wg_context **out, wg_context *parent, int64_t deadline);

/* The same, and people are shown the context: in dumps, and by checks for leaks. That costs a lock and a look at the clock.
 * Zeroed fields ask for nothing. Returns as wg_context_new does. */
typedef struct wg_context_options {
    wg_context *parent;
    int64_t deadline;
    const char *name;     /* copied */
    const char *language; /* in which it is made; static; NULL: "C" */
    const char *where;    /* where it is made, such as "fetch.py:12"; copied */
} wg_context_options;
WG_API wg_status wg_context_make(wg_context **out, const wg_context_options *options);

/* The root of all contexts: never ends, has no deadline, needs no release. As a parent it means: none. */
WG_API wg_context *wg_context_root(void);

/* The context of the task that runs in this thread, borrowed; NULL outside of any task. */
WG_API wg_context *wg_context_current(void);

/* Call `fn(arg)` in this thread as if in a task of `ctx`: there wg_context_current() is `ctx`, and every blocking call
 * without a context ends with it. For code that does a part of a task's work in a thread of its own. The end of the context
 * does not keep `fn` from being called. WG_OK; WG_INVALID: a NULL argument. */
WG_API wg_status wg_context_run(wg_context *ctx, void (*fn)(void *arg), void *arg);

/* The same for code that begins and ends apart, such as a coroutine: from wg_scope_enter to wg_scope_leave the thread is
 * in a task of `ctx`, or in none if that is NULL or the root. The caller owns the memory of the scope, and keeps `ctx`.
 * Scopes are left in the reverse order, with one exception: code on a C stack of its own may leave its scope before it
 * switches to another stack, together with all that was entered in the scope and not left, and come back to all of that by
 * wg_scope_return when it goes on, in any thread. wg_scope_enter returns WG_OK; WG_INVALID: scope is NULL, with which the others
 * do nothing. */
typedef struct wg_scope {
    void *private_[12];
} wg_scope;
WG_API wg_status wg_scope_enter(wg_scope *scope, wg_context *ctx);
WG_API void wg_scope_leave(wg_scope *scope);
WG_API void wg_scope_return(wg_scope *scope);

/* One reference more or less; NULL is allowed. A context that nobody refers to any more unlinks itself from its
 * parent; giving it up does not cancel it, nor its children, which keep it alive. */
WG_API wg_context *wg_context_retain(wg_context *ctx);
WG_API void wg_context_release(wg_context *ctx);

/* End the context and its children, wake all threads that wait for it, then call the observers; the first call wins.
 * `cause`: shared, may be NULL. WG_OK: this call did it. WG_CANCELLED, WG_DEADLINE_EXCEEDED: it had ended before, and
 * nothing changed; a deadline that has passed came first. WG_INVALID: ctx is NULL or the root. */
WG_API wg_status wg_context_cancel(wg_context *ctx, wg_error *cause);

/* WG_OK while it lives, else WG_CANCELLED or WG_DEADLINE_EXCEEDED; WG_OK of NULL. One load: cheap enough for an inner
 * loop. It does not look at the clock: a thread of the library ends a context soon after its deadline, and every other
 * call that looks at a context whose deadline has passed ends it first. In the child of a fork that thread is started
 * anew by the first call that waits, observes, or looks at a context; this one does not. */
WG_API wg_status wg_context_status(const wg_context *ctx);

/* The same by the clock: once the deadline has passed, never WG_OK, and from then on wg_context_status agrees. If that
 * thread has not come yet, this call ends the context, and so may call observers. About as much as to read the clock. */
WG_API wg_status wg_context_check(wg_context *ctx);

/* The cause it ended with, borrowed for as long as the caller refers to `ctx`: wg_error_deadline() after a deadline; NULL
 * if it was cancelled without one, or lives. By the clock, as wg_context_check. */
WG_API wg_error *wg_context_cause(wg_context *ctx);

/* True if it ended because an ancestor did, not by a call or a deadline of its own. By the clock. */
WG_API bool wg_context_inherited(wg_context *ctx);

/* The deadline, its own or an ancestor's, whichever is earlier; WG_FOREVER if there is none. Always the same number. */
WG_API int64_t wg_context_deadline(const wg_context *ctx);

/* The nanoseconds until that deadline, whether or not the context has ended before; INT64_MAX if there is none. 0: it has
 * passed, and the context has ended. After a sleep of that length wg_context_check says so. */
WG_API int64_t wg_context_remaining(wg_context *ctx);

/* What a task returns that stops because `ctx` has ended: an immortal error of kind WG_ERROR_STOP, or NULL while it
 * lives, by the clock. `return wg_context_error(ctx);` is always right at the end of a task. */
WG_API wg_error *wg_context_error(wg_context *ctx);

/* Sleep until the context ends. WG_OK: it has. WG_TIMEOUT, WG_CONTEXT_ENDED, WG_INTERRUPTED: see until.h. WG_INVALID:
 * ctx is NULL. */
WG_API wg_status wg_context_wait(wg_context *ctx, const wg_until *until);

/* A file descriptor that becomes and stays readable when the context ends: for poll, select and event loops. Made at
 * the first call, owned by the context, never to be read or closed. WG_OK; WG_NO_FD; WG_INVALID: a NULL argument or
 * the root; WG_FORKED: it was made by the parent process, which shares it. */
WG_API wg_status wg_context_fd(wg_context *ctx, int *fd);

#ifdef __cplusplus
}
#endif
#endif
