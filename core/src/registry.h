/* registry.h - what objects with ids do for the registry. Each keeps its id in a wg_a64, which is 0 until it is asked for. */
#ifndef WG_REGISTRY_H
#define WG_REGISTRY_H

#include "waitgroup/registry.h"

#include "atomics.h"

/* The id of `object`, made at the first call in this process; 0 without memory. `try_retain`: see wg_id_new. */
int64_t wg_registry_id(wg_a64 *id, wg_kind kind, void *object, bool (*try_retain)(void *object));

/* Its last reference has gone: nobody finds it any more. */
void wg_registry_end(const wg_a64 *id);

/* For fork.c. */
void wg_registry_lock(void);
void wg_registry_unlock(void);

#endif
