/* waitgroup.h - wait until a number of things have happened.
 *
 * After Go's sync.WaitGroup, with what that lacks: a wait that ends, safe reuse, and misuse that changes nothing.
 *
 *     wg_waitgroup wg = WG_INIT;
 *     wg_add(&wg, 2);
 *     ... two threads work, and each calls wg_done(&wg) ...
 *     wg_wait(&wg, NULL);
 *
 * All calls may be made from any thread at any time. What a thread did before wg_done is visible to whoever returns
 * from the wg_wait that it released.
 *
 * A signal handler is no thread: it may have interrupted one that holds a lock of the library. It may call
 * wg_done_in_handler, wg_add with a positive number, wg_count, wg_context_status, wg_now, wg_strstatus, and no other call
 * of the library: not wg_done, which can hang there. */
#ifndef WAITGROUP_WAITGROUP_H
#define WAITGROUP_WAITGROUP_H

#include <stdint.h>

#include "observer.h"
#include "status.h"
#include "task.h"
#include "until.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WG_COUNT_MAX INT32_MAX

/* Caller-supplied memory: static, on a stack, or inside another object. There is nothing to destroy. It may be freed
 * or reused the moment a successful wg_wait has returned, even while the last wg_done is still on its way out; with
 * several waiters, when all have returned. A wait that timed out owns nothing: the memory must outlive the
 * outstanding wg_done calls. Never copy one that is in use. */
typedef struct wg_waitgroup {
    uint64_t state_;
} wg_waitgroup;

/* clang-format off */
#define WG_INIT { 0 }
/* clang-format on */

/* Add `n` to the count; `n` may be negative. Add before starting what will call wg_done: an add inside the new thread
 * may come after the wait. Adding again before a slow waiter woke is legal: that waiter still returns.
 * WG_OK; WG_NEGATIVE, WG_OVERFLOW: the count would leave 0..WG_COUNT_MAX; WG_INVALID: wg is NULL. */
WG_API wg_status wg_add(wg_waitgroup *wg, int64_t n);

/* The same as wg_add(wg, -1). The last thing a task does: it may be the end of `wg`. */
WG_API wg_status wg_done(wg_waitgroup *wg);

/* wg_done for a signal handler. The step to zero, if somebody waits for it, is made a moment later, by a thread of the
 * library, which calls the observers too. A step too many is refused as by wg_done, except while such a step is under way:
 * then it is not noticed. WG_OK; WG_NEGATIVE; WG_NO_THREADS: nobody prepared for it in this process; WG_LIMIT: more than 256
 * steps are under way, try again later; WG_INVALID: wg is NULL. */
WG_API wg_status wg_done_in_handler(wg_waitgroup *wg);

/* Once before any handler may call wg_done_in_handler, and again in the child of a fork: starts the thread, which stays. Not
 * in a handler. WG_OK, also if there is such a thread already; WG_NO_THREADS; WG_NO_FD. */
WG_API wg_status wg_handlers_prepare(void);

/* Wait until the count has been zero at, or at any time after, this call.
 * WG_OK: it was. WG_TIMEOUT, WG_CONTEXT_ENDED, WG_INTERRUPTED: see until.h. WG_DEADLOCK: see there; a task that `wg` counts,
 * see wg_go, would wait for itself. WG_FORKED: the count is of the parent process, whose
 * threads do not exist here. WG_INVALID: wg is NULL. A wait that ends early leaves nothing behind. */
WG_API wg_status wg_wait(wg_waitgroup *wg, const wg_until *until);

/* Wait for one task: wg_wait of `ended`, which the task's `ended` function, see task.h, takes to zero. It says which task
 * that is, so that a deadlock is noticed: the one with this `arg`, which `wg` counts. No other unfinished task that `wg`
 * counts may have the same `arg`. For a task of an error group see wg_errgroup_wait_task. Returns as wg_wait does;
 * WG_INVALID: wg or ended is NULL. */
WG_API wg_status wg_wait_task(wg_waitgroup *wg, const void *arg, wg_waitgroup *ended, const wg_until *until);

/* Add one to `wg`, run `fn(arg)` in a worker of `pool` (NULL: that of the process), then `destroy(arg)` (may be NULL),
 * then wg_done. A task that never starts, because the pool stops, is destroyed and done all the same.
 * WG_OK; WG_OVERFLOW; WG_NO_MEMORY; WG_NO_THREADS; WG_STOPPED; WG_INVALID: nothing changed, `arg` stays the
 * caller's. */
WG_API wg_status wg_go(wg_waitgroup *wg, wg_pool *pool, void (*fn)(void *arg), void *arg,
                       void (*destroy)(void *arg)) WG_MUST_USE;

/* The same for a whole wg_task, see task.h: `settled` is called before wg_done, `ended` after it, when `wg` may be gone.
 * The task has no context: `fn` gets NULL. Its error is given up once `settled` was told WG_TASK_FAILED. */
WG_API wg_status wg_start(wg_waitgroup *wg, const wg_task *task) WG_MUST_USE;

/* The count just now; it may have changed by the time the caller looks. 0 of NULL. */
WG_API int32_t wg_count(const wg_waitgroup *wg);

#ifdef __cplusplus
}
#endif
#endif
