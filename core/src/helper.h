/* helper.h - threads that do for signal handlers what these must not do themselves.
 *
 * A handler calls wg_helper_call(): a store, and a write to a descriptor. The thread of the helper sleeps on that descriptor,
 * and then calls `serve`, which does all that is due.
 *
 * Invariants:
 *   - `due` is used only in the process that made it. A child of a fork shares the descriptor with its parent and has no
 *     thread: there a call is only noted, until a thread has been started.
 *   - `state` says in one word whether there is a thread and whether it was called. So of a call and the start of a thread
 *     the later one sees the earlier one. The bit is set before the descriptor is made readable, and cleared after that has
 *     been cleared and before `serve`. So `serve` sees all that was due before a call.
 *   - Each helper has a thread of its own: what one calls may block, and must not keep a dump from being written. */
#ifndef WG_HELPER_H
#define WG_HELPER_H

#include <stdbool.h>

#include "waitgroup/status.h"

#include "atomics.h"
#include "os.h"

/* Zeroed, except the first three. */
struct wg_helper {
    const char *name;    /* of the thread */
    void (*serve)(void); /* in the thread, no lock held; may end the thread: another goes on */
    bool resumes;        /* the child of a fork starts a thread by itself, see wg_helpers_resume */
    struct wg_signal due;
    uint32_t made; /* one more than the epoch of the process that made `due`; 0: there is none. Under the lock */
    wg_a64 state;  /* the same of the process in which the thread is, times two; and 1 if it was called */
    struct wg_helper *next; /* among those that were ever prepared. Under the lock */
};

/* Have its thread started, which stays. WG_OK, also if there is one already; WG_NO_THREADS; WG_NO_FD. Not in a handler. */
wg_status wg_helper_prepare(struct wg_helper *helper);

/* In a handler: is there a thread; have it serve, now or when it has been started. */
bool wg_helper_is_prepared(struct wg_helper *helper);
void wg_helper_call(struct wg_helper *helper);

/* In the child of a fork, with no lock held: does a helper that resumes lack its thread; start it. False if none can be
 * had. */
bool wg_helpers_lack(void);
bool wg_helpers_resume(void);

/* For fork.c. */
void wg_helpers_lock(void);
void wg_helpers_unlock(void);

#endif
