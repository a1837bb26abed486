/* context.c - the context as Lua sees it. */
#include <stdlib.h>

#include "loop.h"
#include "task.h"

const char *wgl_end_word(wg_status status) {
    return status == WG_DEADLINE_EXCEEDED ? "deadline exceeded" : "cancelled";
}

void wgl_push_cause(lua_State *L, const wg_error *cause) {
    wgl_push_error(L, cause == wg_error_deadline() ? NULL : cause);
}

int wgl_push_ended(lua_State *L, wg_context *ctx) {
    lua_pushnil(L);
    lua_pushstring(L, wgl_end_word(wg_context_status(ctx)));
    wgl_push_cause(L, wg_context_cause(ctx));
    return 3;
}

int wgl_push_timeout(lua_State *L) {
    lua_pushnil(L);
    lua_pushliteral(L, "timeout");
    return 2;
}

static wg_context *check(lua_State *L, int level) { return ((wgl_context *)wgl_check(L, 1, WGL_CONTEXT, level))->ctx; }

wg_context *wgl_opt_context(lua_State *L, int arg, int level) {
    if (lua_isnoneornil(L, arg))
        return wg_context_root();
    wgl_object *object = wgl_test(L, arg);
    if (!object || object->kind != WGL_CONTEXT)
        wgl_check(L, arg, WGL_CONTEXT, level); /* raises */
    return ((wgl_context *)object)->ctx;
}

static int cancelled(lua_State *L) {
    lua_pushboolean(L, wg_context_status(check(L, 1)) != WG_OK);
    return 1;
}

/* ctx:err() -> nil while it lives, else "cancelled" or "deadline exceeded", cause */
static int err(lua_State *L) {
    wg_context *ctx = check(L, 1);
    if (wg_context_check(ctx) == WG_OK) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushstring(L, wgl_end_word(wg_context_status(ctx)));
    wgl_push_error(L, wg_context_cause(ctx));
    return 2;
}

/* ctx:check(): raises "cancelled" or "deadline exceeded", so that a task which ends with that error counts as stopped,
 * not as failed. */
static int check_ended(lua_State *L) {
    wg_context *ctx = check(L, 1);
    if (wg_context_check(ctx) == WG_OK)
        return 0;
    lua_pushstring(L, wgl_end_word(wg_context_status(ctx)));
    return lua_error(L);
}

static int finish_wait(lua_State *L, int status, lua_KContext how) {
    wgl_reason reason = wgl_woken(L, status, how);
    if (reason == WGL_READY || wg_context_check(wgl_context_of(lua_touserdata(L, 1))) != WG_OK) {
        lua_pushboolean(L, true);
        return 1;
    }
    return reason == WGL_TIMED_OUT ? wgl_push_timeout(L) : wgl_push_ended(L, wgl_running_context(L));
}

/* ctx:wait([timeout]) -> true; nil, "timeout"; or nil and why, if the context of the running task ends first. */
static int wait(lua_State *L) {
    wg_context *ctx = check(L, 1);
    int64_t deadline = wgl_deadline(L, 2, 2, 1);
    lua_settop(L, 1);
    if (wg_context_check(ctx) == WG_OK)
        return wgl_wait(
            L, &(wgl_wish){.event = WGL_AT_END, .subject = lua_touserdata(L, 1), .own = true, .deadline = deadline},
            finish_wait);
    lua_pushboolean(L, true);
    return 1;
}

static int remaining(lua_State *L) {
    int64_t left = wg_context_remaining(check(L, 1));
    if (left == INT64_MAX)
        lua_pushnil(L);
    else
        lua_pushnumber(L, wg_seconds(left));
    return 1;
}

static int pollfd(lua_State *L) {
    int fd;
    wg_status status = wg_context_fd(check(L, 1), &fd);
    if (status == WG_INVALID)
        return luaL_error(L, "'pollfd' of the root of all contexts: it never ends, and has no file descriptor");
    if (status == WG_FORKED)
        return luaL_error(
            L, "'pollfd' of a context whose file descriptor belongs to the parent process: make a context below it");
    if (status != WG_OK)
        return luaL_error(L, "'pollfd' of a context: no file descriptor is left: close some, or raise their limit");
    lua_pushinteger(L, fd);
    return 1;
}

static int tostring(lua_State *L) {
    wgl_handle *handle = luaL_checkudata(L, 1, wgl_type_name(WGL_CONTEXT));
    if (handle->closed || !handle->object) {
        lua_pushliteral(L, "waitgroup.Context (closed)");
        return 1;
    }
    wg_context *ctx = ((wgl_context *)handle->object)->ctx;
    wg_status status = wg_context_check(ctx);
    int64_t left = wg_context_remaining(ctx);
    if (ctx == wg_context_root())
        lua_pushliteral(L, "waitgroup.Context (root)");
    else if (status != WG_OK)
        lua_pushfstring(L, "waitgroup.Context (%s)", wgl_end_word(status));
    else if (left != INT64_MAX)
        lua_pushfstring(L, "waitgroup.Context (alive, %f s left)", wg_seconds(left));
    else
        lua_pushliteral(L, "waitgroup.Context (alive)");
    return 1;
}

static void destroy(wgl_object *object) {
    wg_context_release(((wgl_context *)object)->ctx);
    if (((wgl_context *)object)->parent)
        wgl_release(&((wgl_context *)object)->parent->object);
    free(object);
}

wgl_context *wgl_context_wrap(wg_context *ctx, wgl_context *parent) {
    wgl_context *object = malloc(sizeof *object);
    if (!object) {
        wg_context_release(ctx);
        return NULL;
    }
    object->ctx = ctx;
    object->parent = parent;
    if (parent)
        wgl_retain(&parent->object);
    wgl_object_init(&object->object, WGL_CONTEXT, destroy);
    return object;
}

/* context(parent, deadline): the parent is a context; nil: that of the thread's task, if any. */
static int new (lua_State *L) {
    wg_context *ctx;
    wgl_context *parent = lua_isnoneornil(L, 1) ? NULL : (wgl_context *)wgl_check(L, 1, WGL_CONTEXT, 2);
    int64_t deadline = luaL_checkinteger(L, 2);
    wgl_handle *handle = wgl_push_empty(L, WGL_CONTEXT);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, WGL_ANCHOR);
    char place[80];
    wgl_place_of_caller(L, 2, place, sizeof place);
    wg_context_options options = {
        .parent = parent ? parent->ctx : NULL, .deadline = deadline, .language = "Lua", .where = place};
    wg_status status = wg_context_make(&ctx, &options);
    wgl_context *object = status == WG_OK ? wgl_context_wrap(ctx, parent) : NULL;
    if (!object)
        return wgl_error(L, 2, "cannot make a context: %s",
                         status == WG_OK ? "not enough memory" : wg_strstatus(status));
    wgl_fill(L, handle, &object->object);
    return 1;
}

static int root(lua_State *L) {
    wgl_handle *handle = wgl_push_empty(L, WGL_CONTEXT);
    wgl_context *object = wgl_context_wrap(wg_context_root(), NULL);
    if (!object)
        return luaL_error(L, "not enough memory");
    wgl_fill(L, handle, &object->object);
    return 1;
}

void wgl_run_callbacks_now(lua_State *L) {
    wgl_home *home = wgl_home_of(L);
    wgl_collect(L, home);
    wgl_callbacks_run(L, home);
    wgl_foreign_rearm(home);
}

static bool end(lua_State *L, wg_context *ctx) {
    wg_error *cause = lua_isnoneornil(L, 2) ? NULL : wgl_failure_of(L, 2, 0);
    bool did = wg_context_cancel(ctx, cause) == WG_OK;
    wg_error_release(cause);
    wgl_run_callbacks_now(L);
    return did;
}

/* ctx:cancel([cause]): true if this call ended it. Callbacks of this state run before it returns. */
static int cancel(lua_State *L) {
    lua_settop(L, 2);
    wg_context *ctx = check(L, 1);
    if (ctx == wg_context_root())
        return luaL_error(L, "the root of all contexts cannot be cancelled: make a context below it");
    lua_pushboolean(L, end(L, ctx));
    return 1;
}

/* ctx:on_cancel(fn): call it once when the context ends. -> a function that prevents it: true if it did. */
static int on_cancel(lua_State *L) {
    lua_settop(L, 2);
    wg_context *ctx = check(L, 1);
    if (!lua_isfunction(L, 2) && luaL_getmetafield(L, 2, "__call") == LUA_TNIL)
        return wgl_argerror(L, 1, 2, lua_pushfstring(L, "function expected, got %s", wgl_push_type_name(L, 2)));
    lua_settop(L, 2);
    wgl_home *home = wgl_home_of(L);
    wgl_runner_reserve(L, home);
    wgl_callback_add(L, home);
    if (wg_context_check(ctx) != WG_OK)
        wgl_run_callbacks_now(L);
    return 1;
}

/* ctx:close([cause]): end it; then the handle is closed. */
static int close(lua_State *L) {
    lua_settop(L, 2);
    wgl_handle *handle = wgl_check_closable(L, 1, WGL_CONTEXT, 1);
    if (handle->closed)
        return 0;
    wg_context *ctx = wgl_context_of(handle);
    if (ctx != wg_context_root())
        end(L, ctx);
    return wgl_set_closed(L);
}

/* context_open(value) -> whether it is an open context */
static int is_open(lua_State *L) {
    const wgl_object *object = wgl_test(L, 1);
    const wgl_handle *handle = lua_touserdata(L, 1);
    lua_pushboolean(L, object && object->kind == WGL_CONTEXT && !handle->closed);
    return 1;
}

static const luaL_Reg methods[] = {{"cancelled", cancelled},
                                   {"err", err},
                                   {"check", check_ended},
                                   {"wait", wait},
                                   {"cancel", cancel},
                                   {"on_cancel", on_cancel},
                                   {"close", close},
                                   {"remaining", remaining},
                                   {"pollfd", pollfd},
                                   {"getfd", pollfd},
                                   {NULL, NULL}};

void wgl_open_context(lua_State *L) {
    wgl_new_type(L, WGL_CONTEXT, methods, tostring);
    luaL_getmetatable(L, wgl_type_name(WGL_CONTEXT));
    lua_pushcfunction(L, close);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
}

const luaL_Reg wgl_context_functions[] = {{"context", new}, {"root", root}, {"context_open", is_open}, {NULL, NULL}};
