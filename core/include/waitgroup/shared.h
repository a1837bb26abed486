/* shared.h - a wait group in memory of its own, kept by a count of references: for those whose users do not know each
 * other, and so cannot tell whose memory it should be. */
#ifndef WAITGROUP_SHARED_H
#define WAITGROUP_SHARED_H

#include "status.h"
#include "waitgroup.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wg_shared wg_shared;

/* A new wait group at zero with one reference, the caller's. WG_OK; WG_NO_MEMORY; WG_INVALID: out is NULL. */
WG_API wg_status wg_shared_new(wg_shared **out);

/* One reference more or less, from any thread; NULL is allowed. The last one must not go while a wg_done is outstanding or
 * an observer is in place. */
WG_API wg_shared *wg_shared_retain(wg_shared *shared);
WG_API void wg_shared_release(wg_shared *shared);

/* The wait group, borrowed, for all calls of waitgroup.h. NULL of NULL. */
WG_API wg_waitgroup *wg_shared_waitgroup(wg_shared *shared);

#ifdef __cplusplus
}
#endif
#endif
