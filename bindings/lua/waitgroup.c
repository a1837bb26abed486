/* waitgroup.c - the wait group as Lua sees it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "task.h"

static wgl_waitgroup *check(lua_State *L) { return (wgl_waitgroup *)wgl_check(L, 1, WGL_WAITGROUP, 1); }

int wgl_waitgroup_refuse(lua_State *L, wgl_waitgroup *object, lua_Integer n, const char *call, wg_status status,
                         int level) {
    int count = wg_count(object->wg);
    if (status == WG_OVERFLOW)
        return wgl_error(L, level, "'%s' of a wait group with the count %d: %I more would pass %d, so it is unchanged",
                         call, count, (LUAI_UACINT)n, WG_COUNT_MAX);
    if (strcmp(call, "done") == 0 && count == 0)
        return wgl_error(L, level, "'done' of a wait group with the count 0: there were as many calls as were added");
    char less[24];
    snprintf(less, sizeof less, "%llu", 0 - (unsigned long long)n);
    return wgl_error(L, level, "'%s' of a wait group with the count %d: %s less would be negative, so it is unchanged",
                     call, count, less);
}

static int step(lua_State *L, wgl_waitgroup *object, lua_Integer n, const char *call) {
    wg_status status = wg_add(object->wg, n);
    return status == WG_OK ? 0 : wgl_waitgroup_refuse(L, object, n, call, status, 1);
}

static int add(lua_State *L) {
    wgl_waitgroup *wg = check(L);
    return step(L, wg, wgl_opt_integer(L, 2, 1, 1), "add");
}

static int done(lua_State *L) { return step(L, check(L), -1, "done"); }

static int count(lua_State *L) {
    lua_pushinteger(L, wg_count(check(L)->wg));
    return 1;
}

int wgl_push_watch_fd(lua_State *L, wgl_handle *handle, wg_waitgroup *wg, const char *what) {
    if (wg_wait(wg, &(wg_until){.deadline = WG_POLL}) == WG_FORKED)
        return luaL_error(
            L, "'pollfd' of %s whose tasks were left behind in the parent process by a fork: make a new one", what);
    int fd = wg_watch_fd(handle->watch);
    if (fd < 0) { /* the first call, here or in the child of a fork */
        wg_watch_free(handle->watch);
        handle->watch = NULL;
        wg_status status = wg_watch_new(&handle->watch, wg);
        if (status == WG_NO_FD)
            return luaL_error(L, "'pollfd' of %s: no file descriptor is left: close some, or raise their limit", what);
        if (status != WG_OK)
            return luaL_error(L, "not enough memory");
        fd = wg_watch_fd(handle->watch);
    }
    lua_pushinteger(L, fd);
    return 1;
}

static int pollfd(lua_State *L) {
    wgl_handle *handle = wgl_check_handle(L, 1, WGL_WAITGROUP, 1);
    wgl_foreign_serve(L, wgl_home_of(L));
    return wgl_push_watch_fd(L, handle, ((wgl_waitgroup *)handle->object)->wg, "a wait group");
}

static int tostring(lua_State *L) {
    wgl_handle *handle = luaL_checkudata(L, 1, wgl_type_name(WGL_WAITGROUP));
    const wgl_waitgroup *object = (wgl_waitgroup *)handle->object;
    if (handle->closed || !object)
        lua_pushliteral(L, "waitgroup.WaitGroup (closed)");
    else if (object->what)
        lua_pushstring(L, object->what);
    else
        lua_pushfstring(L, "waitgroup.WaitGroup (count %d)", (int)wg_count(object->wg));
    return 1;
}

static void destroy(wgl_object *object) {
    wg_shared_release(((wgl_waitgroup *)object)->shared);
    free(object);
}

wgl_object *wgl_waitgroup_wrap(wg_shared *shared) {
    wgl_waitgroup *object = malloc(sizeof *object);
    if (!object) {
        wg_shared_release(shared);
        return NULL;
    }
    object->shared = shared;
    object->wg = wg_shared_waitgroup(shared);
    object->what = NULL;
    wgl_object_init(&object->object, WGL_WAITGROUP, destroy);
    return &object->object;
}

/* new(n): errors are those of the Lua function that calls. */
static int new (lua_State *L) {
    lua_Integer n = 0;
    if (!lua_isnoneornil(L, 1)) {
        n = wgl_opt_integer(L, 1, 0, 2);
        if (n < 0 || n > WG_COUNT_MAX)
            return wgl_argerror(L, 2, 1,
                                lua_pushfstring(L, "a count is 0 to %d, got %I", WG_COUNT_MAX, (LUAI_UACINT)n));
    }
    wgl_handle *handle = wgl_push_empty(L, WGL_WAITGROUP);
    wg_shared *shared;
    wgl_object *object = wg_shared_new(&shared) == WG_OK ? wgl_waitgroup_wrap(shared) : NULL;
    if (!object)
        return luaL_error(L, "not enough memory");
    wg_add(((wgl_waitgroup *)object)->wg, n);
    wgl_fill(L, handle, object);
    return 1;
}

/* The context that may end the wait: the one at 2, or that of the running task. */
static wg_context *context_of_wait(lua_State *L) {
    return lua_isnil(L, 2) ? wgl_running_context(L) : wgl_opt_context(L, 2, 1);
}

static int push_outcome(lua_State *L, wg_status status) {
    if (status == WG_OK) {
        lua_pushboolean(L, true);
        return 1;
    } else if (status == WG_TIMEOUT)
        return wgl_push_timeout(L);
    else if (status == WG_FORKED)
        return luaL_error(L,
                          "'wait' of a wait group with the count %d, which was left behind in the parent process by a "
                          "fork: make a new one",
                          (int)wg_count(((wgl_waitgroup *)wgl_test(L, 1))->wg));
    return wgl_push_ended(L, context_of_wait(L));
}

static wg_status look(lua_State *L, wg_context *context) {
    return wg_wait(((wgl_waitgroup *)wgl_test(L, 1))->wg, &(wg_until){.deadline = WG_POLL, .context = context});
}

static int finish_wait(lua_State *L, int status, lua_KContext how) {
    wgl_reason reason = wgl_woken(L, status, how);
    wg_status now = look(L, context_of_wait(L));
    return push_outcome(L, reason == WGL_READY && now != WG_FORKED ? WG_OK : now);
}

/* wg:wait([timeout[, context]]) */
static int wait(lua_State *L) {
    check(L);
    int64_t deadline = wgl_deadline(L, 2, 2, 1);
    wgl_opt_context(L, 3, 1);
    lua_settop(L, 3);
    lua_remove(L, 2);
    wg_status status = look(L, context_of_wait(L));
    if (status != WG_TIMEOUT)
        return push_outcome(L, status);
    return wgl_wait(L,
                    &(wgl_wish){.event = WGL_AT_ZERO,
                                .subject = lua_touserdata(L, 1),
                                .context = lua_touserdata(L, 2),
                                .own = true,
                                .deadline = deadline},
                    finish_wait);
}

static int finish_close(lua_State *L, int status, lua_KContext how) {
    wgl_woken(L, status, how);
    lua_settop(L, 1);
    return wgl_set_closed(L);
}

/* wg:close(): waits for the count; then the handle is closed. */
static int close(lua_State *L) {
    if (wgl_check_closable(L, 1, WGL_WAITGROUP, 1)->closed)
        return 0;
    lua_settop(L, 1);
    if (look(L, wg_context_root()) != WG_TIMEOUT)
        return wgl_set_closed(L);
    return wgl_wait(L, &(wgl_wish){.event = WGL_AT_ZERO, .subject = lua_touserdata(L, 1)}, finish_close);
}

static const luaL_Reg methods[] = {{"add", add},     {"done", done},     {"count", count},  {"wait", wait},
                                   {"close", close}, {"pollfd", pollfd}, {"getfd", pollfd}, {NULL, NULL}};

void wgl_open_waitgroup(lua_State *L) {
    wgl_new_type(L, WGL_WAITGROUP, methods, tostring);
    luaL_getmetatable(L, wgl_type_name(WGL_WAITGROUP));
    lua_pushcfunction(L, close);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
}

const luaL_Reg wgl_waitgroup_functions[] = {{"waitgroup", new}, {NULL, NULL}};
