/* object.c - objects counted across states, and the handles that Lua code holds. */
#include "loop.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *const type_names[WGL_KINDS] = {"waitgroup.WaitGroup", "waitgroup.ErrGroup", "waitgroup.Context",
                                                  "waitgroup.Task", "waitgroup.Channel"};
static const char handle_mark;  /* key of the kind in the metatables of handles */
static const char handle_cache; /* registry key of the weak table from objects to handles */
static const char kept_handles; /* registry key of the table of handles that were finalized and whose objects stay */

const char *wgl_type_name(wgl_kind kind) { return type_names[kind]; }

/* --- objects --- */

void wgl_object_init(wgl_object *object, wgl_kind kind, void (*destroy)(wgl_object *)) {
    atomic_init(&object->refs, 1);
    atomic_init(&object->shared, false);
    object->kind = kind;
    object->listed = false;
    object->destroy = destroy;
}

wgl_object *wgl_retain(wgl_object *object) {
    atomic_fetch_add(&object->refs, 1);
    return object;
}

void wgl_release(wgl_object *object) {
    if (!object || atomic_fetch_sub(&object->refs, 1) != 1)
        return;
    if (atomic_load(&object->shared))
        wgl_identity_end(object);
    object->destroy(object);
}

void wgl_share(wgl_object *object) {
    atomic_store(&object->shared, true);
    if (object->kind == WGL_ERRGROUP)
        atomic_store(&((wgl_errgroup *)object)->context->object.shared, true);
    else if (object->kind == WGL_CHANNEL)
        wgl_channel_share(object);
}

/* --- errors --- */

int wgl_error(lua_State *L, int level, const char *format, ...) {
    luaL_where(L, level);
    va_list arguments;
    va_start(arguments, format);
    lua_pushvfstring(L, format, arguments);
    va_end(arguments);
    lua_concat(L, 2);
    return lua_error(L);
}

/* The name under which the table on top has the function at `fn`, or NULL. Pops the table. */
static const char *key_of(lua_State *L, int fn) {
    int table = lua_gettop(L);
    const char *name = NULL;
    lua_pushnil(L);
    while (!name && lua_next(L, table)) {
        if (lua_rawequal(L, -1, fn) && lua_type(L, -2) == LUA_TSTRING)
            name = lua_tostring(L, -2);
        lua_pop(L, 1);
    }
    lua_settop(L, table - 1);
    return name;
}

/* The name that the type has for the method at `fn`, or NULL. */
static const char *method_of(lua_State *L, const char *type, int fn) {
    const char *name = NULL;
    luaL_getmetatable(L, type);
    if (lua_istable(L, -1) && lua_getfield(L, -1, "__index") == LUA_TTABLE)
        name = key_of(L, fn);
    lua_settop(L, fn);
    return name;
}

/* The function on top was called by no name: by pcall, as a tail call, or by an index. So it has the one of ours that it is.
 * Pops it. */
static void find_name(lua_State *L, lua_Debug *ar) {
    int fn = lua_gettop(L);
    const char *name = method_of(L, "waitgroup.CoroutineTask", fn);
    for (int kind = 0; !name && kind < WGL_KINDS; kind++)
        name = method_of(L, type_names[kind], fn);
    ar->namewhat = name ? "method" : "";
    if (!name && wgl_push_module(L))
        name = key_of(L, fn);
    ar->name = name;
    lua_settop(L, fn - 1);
}

void wgl_close_down_to(lua_State *L, int index) {
#if LUA_VERSION_RELEASE_NUM >= 50404
    lua_closeslot(L, index);
#else /* the headers of 5.4.0 to 5.4.3 do not tell which they are, and the first do not have it: see that the stack stays */
    luaL_checkstack(L, 2 * LUA_MINSTACK, NULL);
#endif
    lua_settop(L, index - 1);
}

int wgl_argerror(lua_State *L, int level, int arg, const char *message) {
    lua_Debug ar = {.namewhat = ""};
    luaL_checkstack(L, 8, NULL);
    if (lua_getstack(L, level - 1, &ar) && lua_getinfo(L, "nf", &ar)) {
        if (!ar.name || strcmp(ar.name, "?") == 0)
            find_name(L, &ar);
        else
            lua_pop(L, 1);
    }
    const char *name = ar.name ? ar.name : "?";
    if (strcmp(ar.namewhat, "method") == 0 && --arg == 0)
        return wgl_error(L, level, "calling '%s' on bad self (%s)", name, message);
    return wgl_error(L, level, "bad argument #%d to '%s' (%s)", arg, name, message);
}

const char *wgl_push_type_name(lua_State *L, int index) {
    if (luaL_getmetafield(L, index, "__name") != LUA_TSTRING)
        lua_pushstring(L, luaL_typename(L, index));
    return lua_tostring(L, -1);
}

static int type_error(lua_State *L, int level, int arg, const char *expected) {
    return wgl_argerror(L, level, arg, lua_pushfstring(L, "%s expected, got %s", expected, wgl_push_type_name(L, arg)));
}

const char *wgl_push_shown(lua_State *L, int index) {
    switch (lua_type(L, index)) {
    case LUA_TSTRING: return lua_pushfstring(L, "'%s'", lua_tostring(L, index));
    case LUA_TNIL:
    case LUA_TBOOLEAN:
    case LUA_TNUMBER: return luaL_tolstring(L, index, NULL);
    default: return wgl_push_type_name(L, index);
    }
}

lua_Integer wgl_opt_integer(lua_State *L, int arg, lua_Integer none, int level) {
    if (lua_isnoneornil(L, arg))
        return none;
    int is_integer;
    lua_Integer n = lua_tointegerx(L, arg, &is_integer);
    if (!is_integer)
        wgl_argerror(L, level, arg, lua_pushfstring(L, "an integer expected, got %s", wgl_push_shown(L, arg)));
    return n;
}

/* --- handles --- */

static wgl_handle *test_handle(lua_State *L, int index) {
    wgl_handle *handle = lua_touserdata(L, index);
    if (!handle || lua_islightuserdata(L, index) || !lua_getmetatable(L, index))
        return NULL;
    bool ours = lua_rawgetp(L, -1, &handle_mark) == LUA_TNUMBER;
    lua_pop(L, 2);
    return ours ? handle : NULL;
}

bool wgl_is_open(lua_State *L, int index, int type) {
    bool fits = lua_type(L, index) == LUA_TUSERDATA && lua_getmetatable(L, index);
    if (!fits)
        return false;
    fits = lua_rawequal(L, -1, type);
    lua_pop(L, 1);
    const wgl_handle *handle = lua_touserdata(L, index);
    return fits && handle->object && !handle->closed;
}

wgl_object *wgl_test(lua_State *L, int index) {
    wgl_handle *handle = test_handle(L, index);
    return handle ? handle->object : NULL;
}

static wgl_handle *check_any(lua_State *L, int arg, const char *expected, int level) {
    wgl_handle *handle = test_handle(L, arg);
    if (!handle || !handle->object)
        type_error(L, level, arg, expected);
    return handle;
}

static int closed_error(lua_State *L, int level, int arg, const wgl_object *object) {
    const char *name = object->kind == WGL_ERRGROUP ? ((const wgl_errgroup *)object)->name : "";
    return wgl_argerror(
        L, level, arg,
        lua_pushfstring(L, *name ? "this %s, '%s', is closed" : "this %s%s is closed", type_names[object->kind], name));
}

wgl_handle *wgl_check_closable(lua_State *L, int arg, wgl_kind kind, int level) {
    wgl_handle *handle = check_any(L, arg, type_names[kind], level);
    if (handle->object->kind != kind)
        type_error(L, level, arg, type_names[kind]);
    return handle;
}

wgl_handle *wgl_check_handle(lua_State *L, int arg, wgl_kind kind, int level) {
    wgl_handle *handle = wgl_check_closable(L, arg, kind, level);
    if (handle->closed)
        closed_error(L, level, arg, handle->object);
    return handle;
}

wgl_object *wgl_check(lua_State *L, int arg, wgl_kind kind, int level) {
    return wgl_check_handle(L, arg, kind, level)->object;
}

wgl_handle *wgl_push_empty(lua_State *L, wgl_kind kind) {
    static const int user_values[WGL_KINDS] = {
        [WGL_CONTEXT] = WGL_CALLBACKS, [WGL_ERRGROUP] = WGL_PARENT, [WGL_WAITGROUP] = 0, [WGL_TASK] = 0};
    wgl_handle *handle = lua_newuserdatauv(L, sizeof *handle, user_values[kind]);
    *handle = (wgl_handle){0};
    luaL_setmetatable(L, type_names[kind]);
    return handle;
}

void wgl_fill(lua_State *L, wgl_handle *handle, wgl_object *object) {
    handle->object = object;
    if (object->kind == WGL_ERRGROUP)
        atomic_fetch_add(&((wgl_errgroup *)object)->handles, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &handle_cache);
    lua_pushvalue(L, -2);
    lua_rawsetp(L, -2, object);
    lua_pop(L, 1);
}

void wgl_adopt(lua_State *L, wgl_handle *handle, wgl_object *object) {
    handle->object = NULL;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &handle_cache);
    bool known = lua_rawgetp(L, -1, object) == LUA_TUSERDATA;
    lua_remove(L, -2);
    if (known) {
        lua_replace(L, -2);
        wgl_release(object);
        return;
    }
    lua_pop(L, 1);
    wgl_fill(L, handle, object);
}

void wgl_push(lua_State *L, wgl_object *object) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &handle_cache);
    bool known = lua_rawgetp(L, -1, object) == LUA_TUSERDATA;
    lua_remove(L, -2);
    if (known)
        return;
    lua_pop(L, 1);
    wgl_handle *handle = wgl_push_empty(L, object->kind);
    wgl_fill(L, handle, wgl_retain(object));
}

/* Whether the handle is still in the cache. */
static bool is_known(lua_State *L, const wgl_handle *handle) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &handle_cache);
    lua_rawgetp(L, -1, handle->object);
    bool known = lua_touserdata(L, -1) == handle;
    lua_pop(L, 2);
    return known;
}

static bool has_home(lua_State *L) {
    wgl_push_home(L);
    bool there = *(wgl_home **)lua_touserdata(L, -1) != NULL;
    lua_pop(L, 1);
    return there;
}

/* The handle at `index` gets no more calls. Its object stays until the home goes. */
static void keep(lua_State *L, int index) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_handles) != LUA_TTABLE) {
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &kept_handles);
        lua_replace(L, -2);
    }
    lua_pushvalue(L, index);
    lua_rawsetp(L, -2, lua_touserdata(L, index));
    lua_pop(L, 1);
}

void wgl_let_go_of_kept(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_handles) != LUA_TTABLE)
        return;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        wgl_handle *handle = lua_touserdata(L, -1);
        wgl_release(handle->object);
        handle->object = NULL;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* The collector takes a handle out of the cache before it finalizes the handle, except at the end of the state: there,
 * finalizers that are still to run may let tasks run that need the object. It also has tasks if a finalizer has just
 * started them, or if they were lost when memory ran out. */
static int handle_gc(lua_State *L) {
    wgl_handle *handle = test_handle(L, 1);
    if (!handle || !handle->object || handle->collected)
        return 0;
    wgl_object *object = handle->object;
    bool needed = is_known(L, handle) || handle->tasks > 0;
    handle->closed = handle->collected = true;
    if (has_home(L))
        wgl_handle_unsubscribe(wgl_home_of(L), handle, needed);
    wg_watch_free(handle->watch);
    handle->watch = NULL;
    if (object->kind == WGL_ERRGROUP) {
        wgl_errgroup *group = (wgl_errgroup *)object;
        for (unsigned i = 0; i < handle->tasks; i++)
            wg_errgroup_leave(
                group->group,
                wgl_failure_text("the group of this coroutine task was collected, or its Lua state closed"));
        if (atomic_fetch_sub(&group->handles, 1) == 1 && !group->foreign)
            wgl_orphan_adopt(L, group);
    }
    if (needed && has_home(L)) {
        keep(L, 1);
        return 0;
    }
    handle->object = NULL;
    wgl_release(object);
    return 0;
}

int wgl_set_closed(lua_State *L) {
    wgl_handle *handle = check_any(L, 1, "a waitgroup object", 1);
    wg_watch_free(handle->watch);
    handle->watch = NULL;
    handle->closed = true;
    return 0;
}

int wgl_is_closed(lua_State *L) {
    lua_pushboolean(L, check_any(L, 1, "a waitgroup object", 2)->closed);
    return 1;
}

static int handle_id(lua_State *L) {
    wgl_handle *handle = check_any(L, 1, "a waitgroup object", 1);
    if (handle->closed)
        return closed_error(L, 1, 1, handle->object);
    lua_Integer id = wgl_id_of(handle->object);
    if (id == 0)
        return luaL_error(L, "not enough memory");
    lua_pushinteger(L, id);
    return 1;
}

static int push_no_object(lua_State *L, wg_status status) {
    lua_pushnil(L);
    if (status == WG_FORKED) {
        lua_pushliteral(L, "the object with this id is of the process from which this one was forked");
        lua_pushliteral(L, "ask the object for its id here");
    } else {
        lua_pushstring(L, wg_strstatus(status));
        lua_pushstring(L, wg_status_remedy(status));
    }
    return 3;
}

/* attach(id): the handle and the name of its type; or nil, a status in words and what to do about it. */
int wgl_attach(lua_State *L) {
    lua_Integer id = luaL_checkinteger(L, 1);
    wgl_handle *handle = wgl_push_empty(L, WGL_ERRGROUP); /* with the user values of any kind */
    wgl_object *object = NULL;
    wg_status status = wgl_find(wgl_home_of(L), id, &object);
    if (status != WG_OK)
        return push_no_object(L, status);
    luaL_setmetatable(L, type_names[object->kind]);
    wgl_adopt(L, handle, object);
    lua_pushstring(L, type_names[object->kind]);
    return 2;
}

/* What event loops ask for beside a descriptor: `events` says that only readability counts, `timeout` that there is no
 * time-out. */
static int handle_events(lua_State *L) {
    check_any(L, 1, "a waitgroup object", 1);
    lua_pushliteral(L, "r");
    return 1;
}

static int handle_timeout(lua_State *L) {
    check_any(L, 1, "a waitgroup object", 1);
    lua_pushnil(L);
    return 1;
}

static const luaL_Reg shared_methods[] = {
    {"id", handle_id}, {"events", handle_events}, {"timeout", handle_timeout}, {NULL, NULL}};

void wgl_push_weak_table(lua_State *L, const char *mode) {
    lua_newtable(L);
    lua_newtable(L);
    lua_pushstring(L, mode);
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
}

void wgl_new_type(lua_State *L, wgl_kind kind, const luaL_Reg *methods, lua_CFunction tostring) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &handle_cache) == LUA_TNIL) {
        wgl_push_weak_table(L, "v");
        lua_rawsetp(L, LUA_REGISTRYINDEX, &handle_cache);
    }
    lua_pop(L, 1);
    if (!luaL_newmetatable(L, type_names[kind])) {
        lua_getfield(L, -1, "__index");
        lua_remove(L, -2);
        return;
    }
    lua_pushinteger(L, kind);
    lua_rawsetp(L, -2, &handle_mark);
    lua_pushcfunction(L, handle_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, tostring);
    lua_setfield(L, -2, "__tostring");
    lua_newtable(L);
    if (kind != WGL_TASK)
        luaL_setfuncs(L, shared_methods, 0);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "__index");
    lua_remove(L, -2);
}
