/* watch.h - a wait group as a file descriptor, for poll, select and event loops. */
#ifndef WAITGROUP_WATCH_H
#define WAITGROUP_WATCH_H

#include "status.h"
#include "waitgroup.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wg_watch wg_watch;

/* A watch on `wg`, which must outlive it. WG_OK; WG_NO_MEMORY; WG_NO_FD; WG_INVALID. */
WG_API wg_status wg_watch_new(wg_watch **out, wg_waitgroup *wg);

/* Its descriptor: readable once the count has been zero, and until wg_watch_fd is called again at a count that is not
 * zero: this call arms it for the next time. Owned by the watch; never read or close it. One thread at a time; -1 of
 * NULL, and in the child of a fork, which shares the descriptor with its parent: it makes a watch of its own. */
WG_API int wg_watch_fd(wg_watch *watch);

/* Stop watching and close the descriptor. NULL is allowed. */
WG_API void wg_watch_free(wg_watch *watch);

#ifdef __cplusplus
}
#endif
#endif
