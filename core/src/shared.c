/* shared.c - a wait group that is counted. */
#include "waitgroup/shared.h"

#include <stdlib.h>

#include "ref.h"
#include "registry.h"

struct wg_shared {
    wg_waitgroup wg;
    wg_a32 refs;
    wg_a64 id; /* see registry.h */
};

wg_status wg_shared_new(wg_shared **out) {
    if (!out)
        return WG_INVALID;
    wg_shared *shared = malloc(sizeof *shared);
    if (!shared)
        return WG_NO_MEMORY;
    *shared = (wg_shared){.wg = WG_INIT, .refs = 1};
    *out = shared;
    return WG_OK;
}

wg_shared *wg_shared_retain(wg_shared *shared) {
    if (shared)
        wg_ref_take(&shared->refs);
    return shared;
}

static bool try_retain(void *object) {
    wg_shared *shared = object;
    return wg_ref_try_take(&shared->refs);
}

void wg_shared_release(wg_shared *shared) {
    if (!shared || !wg_ref_drop(&shared->refs))
        return;
    wg_registry_end(&shared->id);
    free(shared);
}

wg_waitgroup *wg_shared_waitgroup(wg_shared *shared) { return shared ? &shared->wg : NULL; }

int64_t wg_shared_id(wg_shared *shared) {
    return shared ? wg_registry_id(&shared->id, WG_KIND_WAITGROUP, shared, try_retain) : 0;
}
