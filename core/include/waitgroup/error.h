/* error.h - a task's error: an opaque value of the caller's, carried through untouched and shared by count. */
#ifndef WAITGROUP_ERROR_H
#define WAITGROUP_ERROR_H

#include <stdbool.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wg_error wg_error;

/* What an error is, as far as the library must know. */
typedef enum wg_error_kind {
    WG_ERROR_FAILURE, /* the task failed */
    WG_ERROR_STOP     /* the task says that it stopped because it was told to: see wg_errgroup_is_echo */
} wg_error_kind;

/* A new error around `value` with one reference, the caller's. `destroy(value)` runs once, in whichever thread gives
 * up the last reference; it may be NULL. Never NULL: without memory, `value` is destroyed at once and the immortal
 * wg_error_no_memory() comes back, so an error is never lost. */
WG_API wg_error *wg_error_new(wg_error_kind kind, void *value, void (*destroy)(void *value));

/* Immortal errors without a value, for tasks that need no more than a status; retain and release are no-ops on them.
 * wg_error_cancelled() and wg_error_deadline() are of kind WG_ERROR_STOP. */
WG_API wg_error *wg_error_no_memory(void);
WG_API wg_error *wg_error_cancelled(void);
WG_API wg_error *wg_error_deadline(void);

/* One more reference; returns `error`. Any thread. NULL is allowed. */
WG_API wg_error *wg_error_retain(wg_error *error);

/* One reference less; the last one destroys the value. Any thread. NULL is allowed. */
WG_API void wg_error_release(wg_error *error);

/* The value and the kind given to wg_error_new; NULL of an immortal error, and of NULL. */
WG_API void *wg_error_value(const wg_error *error);
WG_API wg_error_kind wg_error_get_kind(const wg_error *error);

#ifdef __cplusplus
}
#endif
#endif
