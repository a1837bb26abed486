/* identity.c - one object for what the states of this process, and other languages, know by the same id.
 *
 * The core has the ids. Here is what it cannot know: which of our objects stands for an object of the core, so that all
 * states have the same one. Listed are those whose id was asked for or that came by an id. The list owns nothing: a
 * thread that finds an object there takes a reference, unless the last one has gone; and an object is taken out before it
 * is freed. */
#include <stdlib.h>
#include <string.h>

#include "wgl.h"

#define BUCKETS 1024

static struct {
    pthread_mutex_t lock;
    wgl_object *buckets[BUCKETS]; /* linked by next_known */
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void lock(void) { pthread_mutex_lock(&known.lock); }
static void unlock(void) { pthread_mutex_unlock(&known.lock); }

/* The list stays usable in the child of a fork. */
static void at_fork(void) { pthread_atfork(lock, unlock, unlock); }

/* What an object stands for; of a channel, its id. */
static void *core_of(wgl_object *object) {
    switch (object->kind) {
    case WGL_WAITGROUP: return ((wgl_waitgroup *)object)->shared;
    case WGL_ERRGROUP: return ((wgl_errgroup *)object)->group;
    case WGL_CONTEXT: return ((wgl_context *)object)->ctx;
    default: return (void *)(uintptr_t)wgl_channel_id(object);
    }
}

/* Channels are few, and their ids change at a fork: they have one bucket. */
static wgl_object **bucket_of(wgl_kind kind, const void *core) {
    uint64_t x = kind == WGL_CHANNEL ? 0 : (uint64_t)(uintptr_t)core * UINT64_C(0x9e3779b97f4a7c15);
    return &known.buckets[x >> 32 & (BUCKETS - 1)];
}

static bool try_retain(void *raw) {
    wgl_object *object = raw;
    int refs = atomic_load(&object->refs);
    while (refs > 0 && !atomic_compare_exchange_weak(&object->refs, &refs, refs + 1)) {}
    return refs > 0;
}

/* Under the lock. */
static void list(wgl_object *object) {
    if (object->listed)
        return;
    wgl_object **bucket = bucket_of(object->kind, core_of(object));
    object->listed = true;
    object->next_known = *bucket;
    *bucket = object;
}

static void list_with_context(wgl_object *object) {
    list(object);
    if (object->kind == WGL_ERRGROUP)
        list(&((wgl_errgroup *)object)->context->object);
}

/* Under the lock: our object for `core`, with a reference, or NULL. */
static wgl_object *find(wgl_kind kind, const void *core) {
    for (wgl_object *object = *bucket_of(kind, core); object; object = object->next_known)
        if (object->kind == kind && core_of(object) == core && try_retain(object))
            return object;
    return NULL;
}

void wgl_identity_end(wgl_object *object) {
    lock();
    if (object->listed) {
        wgl_object **at = bucket_of(object->kind, core_of(object));
        while (*at != object)
            at = &(*at)->next_known;
        *at = object->next_known;
    }
    unlock();
}

/* The id in this process: an object that came through a fork gets another one. */
static lua_Integer make_id(wgl_object *object) {
    switch (object->kind) {
    case WGL_WAITGROUP: return wg_shared_id(((wgl_waitgroup *)object)->shared);
    case WGL_ERRGROUP: return wg_errgroup_id(((wgl_errgroup *)object)->group);
    case WGL_CONTEXT: return wg_context_id(((wgl_context *)object)->ctx);
    default: return wgl_channel_make_id(object, try_retain);
    }
}

lua_Integer wgl_id_of(wgl_object *object) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, at_fork);
    wgl_share(object);
    lua_Integer id = make_id(object);
    lock();
    if (id != 0)
        list_with_context(object);
    unlock();
    return id;
}

/* A new object for `core`, whose reference passes to it; NULL without memory: then the reference is given up. */
static wgl_object *wrap(wgl_home *home, wg_kind kind, void *core) {
    switch (kind) {
    case WG_KIND_WAITGROUP: return wgl_waitgroup_wrap(core);
    case WG_KIND_ERRGROUP: return wgl_errgroup_wrap(home, core);
    default: {
        wgl_context *context = wgl_context_wrap(core, NULL);
        return context ? &context->object : NULL;
    }
    }
}

static void release_core(wg_kind kind, void *core) {
    switch (kind) {
    case WG_KIND_WAITGROUP: wg_shared_release(core); break;
    case WG_KIND_ERRGROUP: wg_errgroup_release(core); break;
    default: wg_context_release(core);
    }
}

/* Our object for `core`, whose reference passes to it. If two states make one at once, the first one is it. */
static wgl_object *object_for(wgl_home *home, wg_kind kind, void *core) {
    static const wgl_kind ours[] = {
        [WG_KIND_WAITGROUP] = WGL_WAITGROUP, [WG_KIND_ERRGROUP] = WGL_ERRGROUP, [WG_KIND_CONTEXT] = WGL_CONTEXT};
    lock();
    wgl_object *object = find(ours[kind], core);
    unlock();
    if (object) {
        release_core(kind, core);
        return object;
    }
    wgl_object *fresh = wrap(home, kind, core);
    if (!fresh)
        return NULL;
    wgl_share(fresh);
    lock();
    object = find(ours[kind], core);
    if (!object)
        list_with_context(fresh);
    unlock();
    if (object)
        wgl_release(fresh);
    return object ? object : fresh;
}

static wg_status find_channel(lua_Integer id, wgl_object **object) {
    lock();
    *object = find(WGL_CHANNEL, (void *)(uintptr_t)id);
    unlock();
    return *object ? WG_OK : WG_OTHER_KIND; /* of another language */
}

wg_status wgl_find(wgl_home *home, lua_Integer id, wgl_object **object) {
    wg_kind kind;
    void *core;
    wg_status status = wg_kind_of_id(id, &kind);
    if (status == WG_OK && kind == WG_KIND_OTHER)
        return find_channel(id, object);
    if (status == WG_OK)
        status = wg_attach(id, kind, &core);
    if (status != WG_OK)
        return status;
    *object = object_for(home, kind, core);
    return *object ? WG_OK : WG_NO_MEMORY;
}

wgl_object *wgl_context_for(wg_context *ctx) { return object_for(NULL, WG_KIND_CONTEXT, wg_context_retain(ctx)); }
