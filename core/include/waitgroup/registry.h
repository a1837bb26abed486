/* registry.h - a number for an object, by which another language of the same process finds it.
 *
 *     int64_t id = wg_errgroup_id(g);                  ... in C; the number travels as any other ...
 *     group = cwaitgroup.attach(id)                    ... in Python
 *     local group = waitgroup.attach(id)               ... in Lua
 *
 * An id is made when it is first asked for, and is never given to another object of the process. It owns nothing: when the
 * last reference to its object goes, it stands for nothing. It is good for the process that asked for it: the child of a
 * fork asks for its own. Small numbers are never ids, and ids fit into a double. All calls may be made from any thread. */
#ifndef WAITGROUP_REGISTRY_H
#define WAITGROUP_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "context.h"
#include "errgroup.h"
#include "shared.h"
#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What an id may stand for. */
typedef enum wg_kind {
    WG_KIND_ANY,
    WG_KIND_WAITGROUP, /* a wg_shared */
    WG_KIND_ERRGROUP,  /* a wg_errgroup */
    WG_KIND_CONTEXT,   /* a wg_context */
    WG_KIND_OTHER      /* an object that only the language knows that made it, such as a channel of Lua */
} wg_kind;

/* The id of an object, the same at every call in a process. 0: the argument is NULL, or there is no memory. */
WG_API int64_t wg_shared_id(wg_shared *shared);
WG_API int64_t wg_errgroup_id(wg_errgroup *g);
WG_API int64_t wg_context_id(wg_context *ctx);

/* The object with that id, with a reference for the caller, in *object; it is of the type that `kind` names.
 * WG_UNKNOWN_ID: no object ever had it; WG_ENDED_ID: its object is gone; WG_OTHER_KIND: it is of another kind, see
 * wg_kind_of_id; WG_FORKED: it is of a process from which this one was forked; WG_INVALID: object is NULL, or kind is none of
 * these or WG_KIND_ANY. Then *object is unchanged.
 *
 *     void *g;
 *     if (wg_attach(id, WG_KIND_ERRGROUP, &g) == WG_OK) { ... wg_errgroup_release(g); } */
WG_API wg_status wg_attach(int64_t id, wg_kind kind, void **object);

/* The kind of the object with that id, in *kind. WG_OK, or what wg_attach returns. The object may be gone by then. */
WG_API wg_status wg_kind_of_id(int64_t id, wg_kind *kind);

/* True once an id was asked for in this process or one from which it was forked: until then no language can know
 * objects of another. One load. */
WG_API bool wg_ids_in_use(void);

/* For languages: ids of objects of their own, of kind WG_KIND_OTHER. `try_retain(object)` adds a reference unless the last
 * one has gone, and returns whether it did. It runs under a lock of the library: it must not block, nor call the library.
 * wg_id_new returns 0 without memory. wg_id_end comes after the last reference has gone, and before the memory does. */
WG_API int64_t wg_id_new(void *object, bool (*try_retain)(void *object));
WG_API void wg_id_end(int64_t id);

#ifdef __cplusplus
}
#endif
#endif
