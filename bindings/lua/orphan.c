/* orphan.c - error groups that nothing can wait for any more, since their last handle is gone: their tasks go on for as
 * long as the state that made the group, at most. */
#include "wgl.h"

#include <stdlib.h>

struct wgl_orphan {
    wgl_errgroup *group; /* with a reference */
    wgl_orphan *next;
};

static bool unfinished(const wgl_errgroup *group) { return wg_count(wg_errgroup_tasks(group->group)) > 0; }

/* Nothing waits for it, unless its handle has come back to life in a message to another state. */
static void abandon(wgl_errgroup *group) {
    if (atomic_load(&group->handles) == 0 && wg_context_status(group->context->ctx) == WG_OK)
        wg_errgroup_cancel(group->group, NULL);
}

/* Under the lock: take out those that have ended. Returns them. */
static wgl_orphan *take_ended(wgl_home *home) {
    wgl_orphan *taken = NULL, **link = &home->orphans;
    while (*link) {
        wgl_orphan *orphan = *link;
        if (unfinished(orphan->group)) {
            link = &orphan->next;
        } else {
            *link = orphan->next;
            orphan->next = taken;
            taken = orphan;
            home->orphans_count--;
        }
    }
    home->orphans_kept = home->orphans_count;
    return taken;
}

static void free_orphans(wgl_orphan *list) {
    while (list) {
        wgl_orphan *next = list->next;
        wgl_release(&list->group->object);
        free(list);
        list = next;
    }
}

/* False: the state is gone. */
static bool list_orphan(wgl_home *home, wgl_orphan *orphan) {
    wgl_orphan *ended = NULL;
    wgl_lock(WGL_LOCK_HOMES);
    bool closed = home->closed;
    if (!closed) {
        if (home->orphans_count > 2 * home->orphans_kept + 8)
            ended = take_ended(home);
        orphan->next = home->orphans;
        home->orphans = orphan;
        home->orphans_count++;
    }
    wgl_unlock(WGL_LOCK_HOMES);
    free_orphans(ended);
    return !closed;
}

/* It belongs to the state that made it; if that is gone, to the one that knew it last. */
void wgl_orphan_adopt(lua_State *L, wgl_errgroup *group) {
    if (!unfinished(group))
        return;
    wgl_push_home(L);
    wgl_home **box = lua_touserdata(L, -1);
    lua_pop(L, 1);
    wgl_orphan *orphan = malloc(sizeof *orphan);
    if (orphan) {
        orphan->group = group;
        wgl_retain(&group->object);
        if (list_orphan(group->home, orphan) || (*box && list_orphan(*box, orphan)))
            return;
        orphan->next = NULL;
        free_orphans(orphan);
    }
    abandon(group);
}

void wgl_orphans_abandon(wgl_home *home) {
    wgl_orphan *list = home->orphans;
    home->orphans = NULL;
    for (wgl_orphan *orphan = list; orphan; orphan = orphan->next)
        abandon(orphan->group);
    free_orphans(list);
}
