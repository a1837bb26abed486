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
    lua_Integer n = wgl_opt_integer(L, 2, WG_NO_LIMIT, 1);
    if (n <= 0 || n > WG_NO_LIMIT)
        return luaL_argerror(L, 2, lua_pushfstring(L, "a limit is a positive integer or nil, got %I", (LUAI_UACINT)n));
    wg_errgroup_set_limit(g, (int)n);
    return 0;
}

static int name(lua_State *L) {
    lua_pushstring(L, check(L, 1)->name);
    return 1;
}

/* --- waiting --- */

static const char left_behind_key; /* registry: the Lua half's function for the tasks that a grace period left behind */

/* Push the tasks left behind in words, or nil. */
static void push_left_behind(lua_State *L, const wgl_errgroup *g) {
    if (g->grace == 0 || wg_count(wg_errgroup_tasks(g->group)) == 0) {
        lua_pushnil(L);
        return;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &left_behind_key);
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
}

#define OWN_GROUP "a task waits for the error group that it belongs to"

/* Raises at `level` if `status` is none that a call returns. `deadlock`: how it would come about. */
static void check_outcome(lua_State *L, wg_status status, const char *deadlock, int level) {
    switch (status) {
    case WG_OK:
    case WG_TIMEOUT:
    case WG_CONTEXT_ENDED:
    case WG_LIMIT:
    case WG_FINISHED:
    case WG_CANCELLED:
    case WG_DEADLINE_EXCEEDED:
    case WG_FAILED: return;
    case WG_DEADLOCK: wgl_error(L, level, "deadlock: %s", deadlock); break;
    case WG_FORKED:
        wgl_error(L, level, "this error group was left behind in the parent process by a fork: make a new one");
        break;
    default: wgl_error(L, level, "%s", wg_strstatus(status));
    }
}

/* check_outcome(status, deadlock): for the Lua half, which a method in C called. */
static int check_for_method(lua_State *L) {
    check_outcome(L, (wg_status)luaL_checkinteger(L, 1), luaL_checkstring(L, 2), 3);
    return 0;
}

/* The outcome as Lua has it: true; or nil, value, traceback; or nil, word, cause. What a grace period left behind comes
 * last, and in a failure's traceback. */
static int push_outcome(lua_State *L, const wgl_errgroup *g, wg_status status, const wg_error *first, int level) {
    push_left_behind(L, g);
    int note = lua_gettop(L);
    bool has_note = !lua_isnil(L, note);
    switch (status) {
    case WG_OK:
        lua_pushboolean(L, true);
        if (!has_note)
            return 1;
        lua_pushnil(L);
        break;
    case WG_FAILED:
        lua_pushnil(L);
        wgl_push_error(L, first);
        wgl_push_traceback(L, first);
        if (has_note) {
            lua_pushfstring(L, "%s\n%s", lua_isnil(L, -1) ? "" : lua_tostring(L, -1), lua_tostring(L, note));
            lua_replace(L, -2);
        }
        return 3;
    case WG_CANCELLED:
    case WG_DEADLINE_EXCEEDED:
        lua_pushnil(L);
        lua_pushstring(L, wgl_end_word(status));
        wgl_push_cause(L, first);
        break;
    default: check_outcome(L, status, OWN_GROUP, level);
    }
    if (has_note)
        lua_pushvalue(L, note);
    return lua_gettop(L) - note;
}

/* A wait in progress: what it has on the stack. */
enum { GROUP = 1, DEADLINE, GRACE_END, CLOSES };

static int wait_on(lua_State *L, wgl_reason reason);

static int go_on_waiting(lua_State *L, int status, lua_KContext how) {
    (void)status;
    return wait_on(L, wgl_woken(L, how));
}

/* Look, and wait if there is no outcome yet; `reason` is what has just woken it, 0 at first. */
static int wait_on(lua_State *L, wgl_reason reason) {
    wgl_errgroup *g = (wgl_errgroup *)wgl_test(L, GROUP);
    int64_t deadline = lua_tointeger(L, DEADLINE), grace_end = lua_tointeger(L, GRACE_END);
    bool closes = lua_toboolean(L, CLOSES);
    wg_error *first = NULL;
    wg_status status =
        wg_errgroup_wait(g->group, &(wg_until){.deadline = WG_POLL, .context = wg_context_root()}, &first);
    if (status == WG_TIMEOUT && reason == WGL_TIMED_OUT && deadline != WG_FOREVER && deadline <= wg_now())
        return wgl_push_timeout(L);
    if (status != WG_TIMEOUT) {
        int count = push_outcome(L, g, status, first, closes ? 2 : 1);
        if (closes)
            wgl_set_closed(L);
        return count;
    }
    int context = 0;
    if (g->grace > 0 && wg_context_check(g->context->ctx) != WG_OK) {
        /* The core counts the grace from about now: look when it must be over, and then again and again. */
        grace_end = wg_after(grace_end == 0 ? g->grace : WG_MILLISECOND);
        lua_pushinteger(L, grace_end);
        lua_replace(L, GRACE_END);
        if (deadline == WG_FOREVER || (deadline != WG_POLL && grace_end < deadline))
            deadline = grace_end;
    } else if (g->grace > 0) {
        wgl_push(L, &g->context->object);
        context = lua_gettop(L);
    }
    return wgl_wait(L, GROUP, "zero", context, deadline, closes, go_on_waiting);
}

static int start_waiting(lua_State *L, int64_t deadline, bool closes) {
    lua_settop(L, 1);
    lua_pushinteger(L, deadline);
    lua_pushinteger(L, 0);
    lua_pushboolean(L, closes);
    if (wgl_in_task_of(L, wgl_test(L, 1)))
        check_outcome(L, WG_DEADLOCK, OWN_GROUP, closes ? 2 : 1);
    return wait_on(L, 0);
}

/* g:wait([timeout]) */
static int wait(lua_State *L) {
    check(L, 1);
    return start_waiting(L, wgl_deadline(L, 2, 2, 1), false);
}

/* wait_and_close(g): for g:close, without yielding; errors are those of the Lua function that called. */
static int wait_and_close(lua_State *L) {
    check(L, 2);
    return start_waiting(L, WG_FOREVER, true);
}

static int set_left_behind(lua_State *L) {
    lua_settop(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &left_behind_key);
    return 0;
}

/* --- other event loops, and people --- */

static int pollfd(lua_State *L) {
    wgl_handle *handle = wgl_check_handle(L, 1, WGL_ERRGROUP, 1);
    wg_waitgroup *tasks = wg_errgroup_tasks(((wgl_errgroup *)handle->object)->group);
    return wgl_push_watch_fd(L, handle, tasks, "an error group");
}

static int tostring(lua_State *L) {
    wgl_handle *handle = luaL_checkudata(L, 1, wgl_type_name(WGL_ERRGROUP));
    wgl_errgroup *g = (wgl_errgroup *)handle->object;
    if (handle->closed || !g) {
        lua_pushliteral(L, "waitgroup.ErrGroup (closed)");
        return 1;
    }
    const char *space = g->name[0] ? " " : "";
    wg_errgroup_counts counts = wg_errgroup_get_counts(g->group);
    wg_status status = wg_context_check(g->context->ctx);
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
    wgl_home_release(g->home);
    free(g);
}

/* errgroup(parent, deadline, grace, limit, name, interrupt, continue_on_error): nil stands for none; grace in nanoseconds. */
static int new (lua_State *L) {
    wg_errgroup_options options = {.deadline = luaL_checkinteger(L, 2),
                                   .grace = luaL_optinteger(L, 3, 0),
                                   .limit = (int)luaL_optinteger(L, 4, 0),
                                   .continue_on_error = lua_toboolean(L, 7),
                                   .pool = wgl_pool()};
    wgl_context *parent = lua_isnil(L, 1) ? NULL : (wgl_context *)wgl_check(L, 1, WGL_CONTEXT, 2);
    if (parent)
        options.parent = parent->ctx;
    const char *text = luaL_optstring(L, 5, "");
    wgl_home *home = wgl_home_of(L);
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
    g->home = wgl_home_retain(home);
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
        group->tasks++;
    return status;
}

void wgl_leave(wgl_handle *group, wg_error *error) {
    group->tasks--;
    if (group->collected) /* it has left all tasks */
        wg_error_release(error);
    else
        wg_errgroup_leave(((wgl_errgroup *)group->object)->group, error);
}

bool wgl_has_ended(const wgl_handle *group) {
    return wg_context_check(((wgl_errgroup *)group->object)->context->ctx) != WG_OK;
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
    if (wgl_tasks_unfinished() || wg_context_deadline(context->ctx) != WG_FOREVER)
        return true;
    for (; context; context = context->parent)
        if (atomic_load(&context->object.shared))
            return true;
    return false;
}

/* Whether another thread may end one of the group's tasks, or has just done so: then the moment is on its way. */
static bool task_ended_from_outside(const wgl_errgroup *g, bool for_room, lua_Integer own) {
    int unfinished = wg_count(wg_errgroup_tasks(g->group));
    if (unfinished > own)
        return true;
    if (for_room)
        return unfinished < wg_errgroup_limit(g->group) || wg_context_check(g->context->ctx) != WG_OK;
    return unfinished == 0;
}

/* outside(handle, moment, own) -> whether the moment waited for may be brought about by anything but this state's
 * coroutines, of which `own` are unfinished tasks of the group. */
static int outside(lua_State *L) {
    wgl_object *object = wgl_test(L, 1);
    bool may = true;
    if (!object) /* its handle was finalized */
        may = true;
    else if (object->kind == WGL_WAITGROUP)
        may = atomic_load(&object->shared);
    else if (object->kind == WGL_ERRGROUP)
        may = atomic_load(&object->shared) ||
              task_ended_from_outside((wgl_errgroup *)object, strcmp(luaL_checkstring(L, 2), "room") == 0,
                                      luaL_checkinteger(L, 3));
    else if (object->kind == WGL_CONTEXT)
        may = ended_from_outside((wgl_context *)object);
    lua_pushboolean(L, may);
    return 1;
}

static const luaL_Reg methods[] = {{"running", running}, {"pending", pending},     {"completed", completed},
                                   {"errors", errors},   {"context", context},     {"limit", limit},
                                   {"name", name},       {"set_limit", set_limit}, {"wait", wait},
                                   {"pollfd", pollfd},   {"getfd", pollfd},        {NULL, NULL}};

void wgl_open_errgroup(lua_State *L) { wgl_new_type(L, WGL_ERRGROUP, methods, tostring); }

const luaL_Reg wgl_errgroup_functions[] = {{"errgroup", new},
                                           {"errgroup_open", is_open},
                                           {"wait_and_close", wait_and_close},
                                           {"check_outcome", check_for_method},
                                           {"set_left_behind", set_left_behind},
                                           {"errgroup_context", context_of_task},
                                           {"errgroup_grace", grace},
                                           {"cancelled", cancelled},
                                           {"outside", outside},
                                           {NULL, NULL}};
