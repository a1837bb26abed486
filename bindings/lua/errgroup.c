/* errgroup.c - the error group as Lua sees it. */
#include "wgl.h"

#include <stdlib.h>
#include <string.h>

static wgl_errgroup *check(lua_State *L, int level) { return (wgl_errgroup *)wgl_check(L, 1, WGL_ERRGROUP, level); }

/* --- what users call --- */

static int running(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)wg_errgroup_get_counts(check(L, 1)->group).running);
    return 1;
}

static int pending(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)wg_errgroup_get_counts(check(L, 1)->group).pending);
    return 1;
}

static int completed(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)wg_errgroup_get_counts(check(L, 1)->group).completed);
    return 1;
}

/* g:errors() -> the errors so far, in the order in which the tasks failed */
static int errors(lua_State *L) {
    wg_errgroup *g = check(L, 1)->group;
    size_t count = wg_errgroup_errors(g, NULL, 0);
    wg_error **list = lua_newuserdatauv(L, (count + 1) * sizeof(wg_error *), 0);
    wg_errgroup_errors(g, list, count);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        wgl_push_error(L, list[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int context(lua_State *L) {
    wgl_push(L, &check(L, 1)->context->object);
    return 1;
}

static int limit(lua_State *L) {
    int n = wg_errgroup_limit(check(L, 1)->group);
    if (n == 0)
        return 0;
    lua_pushinteger(L, n);
    return 1;
}

static int set_limit(lua_State *L) {
    wg_errgroup *g = check(L, 1)->group;
    lua_Integer n = luaL_optinteger(L, 2, WG_NO_LIMIT);
    if (n <= 0 || n > WG_NO_LIMIT)
        return luaL_argerror(L, 2, lua_pushfstring(L, "a limit is a positive integer or nil, got %I", (LUAI_UACINT)n));
    wg_errgroup_set_limit(g, (int)n);
    return 0;
}

static int name(lua_State *L) {
    lua_pushstring(L, check(L, 1)->name);
    return 1;
}

static int pollfd(lua_State *L) {
    wgl_handle *handle = wgl_check_handle(L, 1, WGL_ERRGROUP, 1);
    if (!handle->watch &&
        wg_watch_new(&handle->watch, wg_errgroup_tasks(((wgl_errgroup *)handle->object)->group)) != WG_OK)
        return luaL_error(L, "no file descriptor is left for an error group");
    lua_pushinteger(L, wg_watch_fd(handle->watch));
    return 1;
}

static int tostring(lua_State *L) {
    wgl_handle *handle = lua_touserdata(L, 1);
    wgl_errgroup *g = (wgl_errgroup *)handle->object;
    if (handle->closed || !g) {
        lua_pushliteral(L, "waitgroup.ErrGroup (closed)");
        return 1;
    }
    const char *space = g->name[0] ? " " : "";
    wg_errgroup_counts counts = wg_errgroup_get_counts(g->group);
    wg_status status = wg_context_status(g->context->ctx);
    lua_pushfstring(L, "waitgroup.ErrGroup%s%s (%d running, %d waiting, %d ended%s%s)", space, g->name,
                    (int)counts.running, (int)counts.pending, (int)counts.completed, status == WG_OK ? "" : ", ",
                    status == WG_OK ? "" : wgl_end_word(status));
    return 1;
}

/* --- what the Lua side of the module calls; errors are those of the Lua function that called --- */

static void destroy(wgl_object *object) {
    wgl_errgroup *g = (wgl_errgroup *)object;
    wgl_release(&g->context->object);
    wg_errgroup_release(g->group);
    free(g);
}

/* errgroup(parent, deadline, grace, limit, name, interrupt): nil stands for none; grace in nanoseconds. */
static int new (lua_State *L) {
    wg_errgroup_options options = {.deadline = luaL_checkinteger(L, 2),
                                   .grace = luaL_optinteger(L, 3, 0),
                                   .limit = (int)luaL_optinteger(L, 4, 0),
                                   .pool = wgl_pool()};
    wgl_context *parent = lua_isnil(L, 1) ? NULL : (wgl_context *)wgl_check(L, 1, WGL_CONTEXT, 2);
    if (parent)
        options.parent = parent->ctx;
    const char *text = luaL_optstring(L, 5, "");
    wgl_handle *handle = wgl_push_empty(L, WGL_ERRGROUP);
    wgl_errgroup *g = malloc(sizeof *g + strlen(text) + 1);
    if (!g || !options.pool) {
        free(g);
        return luaL_error(L, "not enough memory");
    }
    wg_status status = wg_errgroup_new(&g->group, &options);
    if (status != WG_OK) {
        free(g);
        return wgl_error(L, 2, "cannot make an error group: %s", wg_strstatus(status));
    }
    g->context = wgl_context_wrap(wg_context_retain(wg_errgroup_context(g->group)), parent);
    if (!g->context) {
        wg_errgroup_release(g->group);
        free(g);
        return luaL_error(L, "not enough memory");
    }
    atomic_init(&g->handles, 0);
    g->grace = options.grace;
    g->interrupt = (int)luaL_optinteger(L, 6, 0);
    strcpy(g->name, text);
    wgl_object_init(&g->object, WGL_ERRGROUP, destroy);
    wgl_fill(L, handle, &g->object);
    return 1;
}

/* The next calls are made by the scheduler, for tasks of its own making: also for a group that the user closed. */
static wgl_errgroup *group_of_task(lua_State *L) { return (wgl_errgroup *)wgl_test(L, 1); }

wg_status wgl_enter(wgl_handle *group) {
    wg_status status = wg_errgroup_enter(((wgl_errgroup *)group->object)->group);
    if (status == WG_OK)
        group->entered++;
    return status;
}

void wgl_leave(wgl_handle *group, wg_error *error) {
    group->entered--;
    wg_errgroup_leave(((wgl_errgroup *)group->object)->group, error);
}

bool wgl_has_ended(const wgl_handle *group) {
    return wg_context_status(((wgl_errgroup *)group->object)->context->ctx) != WG_OK;
}

static int new_failure(lua_State *L) {
    lua_pushlightuserdata(L, wgl_failure_new(L, 1, 2, true));
    return 1;
}

bool wgl_fail(lua_State *L, wgl_handle *group, int value, int traceback) {
    lua_pushcfunction(L, new_failure);
    lua_pushvalue(L, value);
    lua_pushvalue(L, traceback);
    wg_error *error = lua_pcall(L, 2, 1, 0) == LUA_OK ? lua_touserdata(L, -1) : wg_error_no_memory();
    lua_pop(L, 1);
    wg_error_retain(error);
    bool echo = wg_errgroup_is_echo(((wgl_errgroup *)group->object)->group, error);
    wgl_leave(group, error);
    wg_error_release(error);
    return echo;
}

/* cancelled(g): true if its context has ended */
static int cancelled(lua_State *L) {
    lua_pushboolean(L, wg_context_status(group_of_task(L)->context->ctx) != WG_OK);
    return 1;
}

/* errgroup_context(g) */
static int context_of_task(lua_State *L) {
    wgl_push(L, &group_of_task(L)->context->object);
    return 1;
}

/* errgroup_wait(g, deadline) -> status, value, traceback: blocks the thread. */
static int wait(lua_State *L) {
    wgl_errgroup *g = group_of_task(L);
    wg_until until = {.deadline = luaL_checkinteger(L, 2), .interruptible = true};
    wg_error *first = NULL;
    wg_status status = wg_errgroup_wait(g->group, &until, &first);
    lua_pushinteger(L, status);
    wgl_push_error(L, first);
    wgl_push_traceback(L, first);
    return 3;
}

/* unfinished(g) -> how many tasks wait or run */
static int unfinished(lua_State *L) {
    lua_pushinteger(L, wg_count(wg_errgroup_tasks(group_of_task(L)->group)));
    return 1;
}

/* errgroup_open(g): raises unless g is an open error group. errgroup_grace(g) -> nanoseconds */
static int is_open(lua_State *L) {
    check(L, 2);
    return 0;
}

static int grace(lua_State *L) {
    lua_pushinteger(L, group_of_task(L)->grace);
    return 1;
}

/* Whether another thread may end the context or one above it. */
static bool ended_from_outside(const wgl_context *context) {
    if (context->ctx == wg_context_root())
        return false;
    if (wgl_unfinished_tasks() > 0 || wg_context_deadline(context->ctx) != WG_FOREVER)
        return true;
    for (; context; context = context->parent)
        if (atomic_load(&context->object.shared))
            return true;
    return false;
}

/* outside(handle, own) -> whether the moment waited for may be brought about by anything but this state's coroutines, of
 * which `own` are unfinished tasks of the group. */
static int outside(lua_State *L) {
    wgl_object *object = wgl_test(L, 1);
    bool may = true;
    if (object->kind == WGL_WAITGROUP)
        may = atomic_load(&object->shared);
    else if (object->kind == WGL_ERRGROUP)
        may = atomic_load(&object->shared) ||
              wg_count(wg_errgroup_tasks(((wgl_errgroup *)object)->group)) > luaL_checkinteger(L, 2);
    else if (object->kind == WGL_CONTEXT)
        may = ended_from_outside((wgl_context *)object);
    lua_pushboolean(L, may);
    return 1;
}

static const luaL_Reg methods[] = {
    {"running", running}, {"pending", pending}, {"completed", completed}, {"errors", errors}, {"context", context},
    {"limit", limit},     {"name", name},       {"set_limit", set_limit}, {"pollfd", pollfd}, {"getfd", pollfd},
    {NULL, NULL}};

void wgl_open_errgroup(lua_State *L) { wgl_new_type(L, WGL_ERRGROUP, methods, tostring); }

const luaL_Reg wgl_errgroup_functions[] = {{"errgroup", new},
                                           {"errgroup_open", is_open},
                                           {"errgroup_wait", wait},
                                           {"errgroup_context", context_of_task},
                                           {"errgroup_grace", grace},
                                           {"cancelled", cancelled},
                                           {"unfinished", unfinished},
                                           {"outside", outside},
                                           {NULL, NULL}};
