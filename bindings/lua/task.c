/* task.c - a task on another thread, from the side of the state that starts it. */
#include "wgl.h"

#include <stdlib.h>
#include <string.h>

#include <lualib.h>

/* How many tasks were given to their groups, and how many of them have come back. The first is written by who starts
 * tasks, the other by who runs them, so they are apart. Relaxed will do: a task is counted before its group gets it, and
 * before it is done, and both hand on what came before. */
static _Alignas(64) atomic_uint given;
static _Alignas(64) atomic_uint returned;

bool wgl_tasks_unfinished(void) {
    unsigned ends = atomic_load_explicit(&returned, memory_order_relaxed);
    return atomic_load_explicit(&given, memory_order_relaxed) != ends;
}

/* --- life --- */

static void destroy(wgl_object *object) {
    wgl_task *task = (wgl_task *)object;
    wgl_message_free(task->call);
    wgl_message_free(task->preload);
    wgl_message_free(task->results);
    wg_error_release(task->error);
    wgl_paths_release(task->paths);
    wgl_release(&task->group->object);
    free(task);
}

static void begin(wgl_task *task) {
    atomic_fetch_add_explicit(&given, 1, memory_order_relaxed);
    wg_add(&task->done, 1);
}

static void end(wgl_task *task) {
    atomic_fetch_add_explicit(&returned, 1, memory_order_relaxed);
    wg_done(&task->done);
}

/* The group has no more use for the task: it ended, or never started. */
static void ended(void *arg) {
    wgl_task *task = arg;
    if (atomic_load(&task->started) == 0)
        task->stopped = true;
    wgl_message_free(task->call);
    task->call = NULL;
    end(task);
    wgl_release(&task->object);
}

/* --- making one --- */

wgl_paths *wgl_paths_retain(wgl_paths *paths) {
    atomic_fetch_add(&paths->refs, 1);
    return paths;
}

void wgl_paths_release(wgl_paths *paths) {
    if (paths && atomic_fetch_sub(&paths->refs, 1) == 1)
        free(paths);
}

/* The field of the table on top, as text; pushed. */
static const char *text_field(lua_State *L, const char *name) {
    return lua_getfield(L, -1, name) == LUA_TSTRING ? lua_tostring(L, -1) : "";
}

/* package.path and package.cpath now: mostly as they were the last time. */
static void take_paths(lua_State *L, wgl_home *home, wgl_task *task) {
    int top = lua_gettop(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, -1, LUA_LOADLIBNAME) == LUA_TTABLE) {
        const char *path = text_field(L, "path");
        lua_pushvalue(L, -2);
        const char *cpath = text_field(L, "cpath");
        wgl_paths *paths = home->paths;
        if (!paths || strcmp(paths->path, path) != 0 || strcmp(paths->cpath, cpath) != 0) {
            size_t length = strlen(path) + 1;
            if (!(paths = malloc(sizeof *paths + length + strlen(cpath) + 1)))
                luaL_error(L, "not enough memory");
            atomic_init(&paths->refs, 1);
            paths->cpath = strcpy(paths->path + length, cpath);
            strcpy(paths->path, path);
            wgl_paths_release(home->paths);
            home->paths = paths;
        }
        task->paths = wgl_paths_retain(paths);
    }
    lua_settop(L, top);
}

/* Names and loaders of package.preload. A loader that cannot cross becomes the reason, which `require` will give. */
static void take_preload(lua_State *L, wgl_task *task) {
    int top = lua_gettop(L);
    wgl_refusal refusal;
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushnil(L);
    int count = 0;
    while (lua_next(L, top + 1)) {
        luaL_checkstack(L, 8, "too many preloaded modules");
        if (lua_type(L, -2) != LUA_TSTRING) {
            lua_pop(L, 1);
            continue;
        }
        wgl_message *copy = wgl_encode_loaders(L, lua_gettop(L), 1, &refusal);
        wgl_message_free(copy);
        if (!copy) {
            lua_pushstring(L, refusal.text);
            lua_replace(L, -2);
        }
        lua_pushvalue(L, -2); /* name, loader, name: the last goes on with the loop */
        count += 2;
    }
    if (count > 0)
        task->preload = wgl_encode_loaders(L, top + 2, count, &refusal);
    lua_settop(L, top);
}

/* new_task(g, function | module, ...) -> task: errors are those of the Lua function that called. */
static int new (lua_State *L) {
    wgl_errgroup *group = (wgl_errgroup *)wgl_check(L, 1, WGL_ERRGROUP, 2);
    wgl_refusal refusal;
    bool by_name = lua_type(L, 2) == LUA_TSTRING;
    wgl_blob *blob = NULL;
    const char *name;
    int last;
    if (by_name) {
        if (lua_gettop(L) == 2)
            lua_pushnil(L);
        last = lua_gettop(L);
        if (!lua_isnil(L, 3) && lua_type(L, 3) != LUA_TSTRING)
            return wgl_argerror(L, 2, 3,
                                lua_pushfstring(L, "the name of a function in module '%s', or nil, expected, got %s",
                                                lua_tostring(L, 2), luaL_typename(L, 3)));
        name =
            lua_isnil(L, 3) ? lua_tostring(L, 2) : lua_pushfstring(L, "%s.%s", lua_tostring(L, 2), lua_tostring(L, 3));
    } else if (lua_isfunction(L, 2) && !lua_iscfunction(L, 2)) {
        last = lua_gettop(L);
        blob = wgl_push_blob(L, 2);
        name = wgl_blob_name(blob);
    } else
        return wgl_argerror(L, 2, 2,
                            lua_pushfstring(L, "a Lua function or the name of a module expected, got %s",
                                            lua_isfunction(L, 2) ? "a C function" : luaL_typename(L, 2)));
    wgl_handle *handle = wgl_push_empty(L, WGL_TASK);
    wgl_task *task = calloc(1, sizeof *task + strlen(name) + 1);
    if (!task)
        return luaL_error(L, "not enough memory");
    strcpy(task->name, name);
    task->by_name = by_name;
    task->group = group;
    wgl_retain(&group->object);
    wgl_object_init(&task->object, WGL_TASK, destroy);
    wgl_fill(L, handle, &task->object);
    take_paths(L, wgl_home_of(L), task);
    take_preload(L, task);
    task->call = wgl_encode(L, 2, last - 1, "argument", 1, blob, &refusal);
    if (!task->call)
        return wgl_error(L, 2, "%s", refusal.text);
    return 1;
}

static wgl_task *task_of(lua_State *L) { return (wgl_task *)wgl_test(L, 1); }

/* submit(task, deadline, context) -> status: blocks the thread at the limit; TIMEOUT also if the context ends. Without
 * a deadline it never blocks. */
static int submit(lua_State *L) {
    wgl_task *task = task_of(L);
    wg_status status;
    begin(task);
    wgl_retain(&task->object);
    if (lua_isnoneornil(L, 2))
        status = wg_errgroup_try_go(task->group->group, wgl_worker_run, task, ended);
    else {
        wg_until until = {
            .deadline = luaL_checkinteger(L, 2), .context = wgl_opt_context(L, 3, 2), .interruptible = true};
        status = wg_errgroup_go(task->group->group, wgl_worker_run, task, ended, &until);
    }
    if (status != WG_OK) {
        end(task);
        wgl_release(&task->object);
    }
    lua_pushinteger(L, status);
    return 1;
}

/* --- looking at one --- */

static bool has_ended(wgl_task *task) { return wg_wait(&task->done, &(wg_until){.deadline = WG_POLL}) == WG_OK; }

/* Push the result of a task that has ended: true, results; or nil, value, traceback. */
static int push_result(lua_State *L, const wgl_task *task) {
    if (task->results) {
        lua_settop(L, 0);
        lua_pushboolean(L, true);
        return 1 + wgl_decode(L, task->results);
    }
    if (task->stopped && wg_context_status(task->group->context->ctx) != WG_OK)
        return wgl_push_ended(L, task->group->context->ctx);
    lua_pushnil(L);
    wgl_push_error(L, task->error ? task->error : wg_error_cancelled());
    wgl_push_traceback(L, task->error);
    return 3;
}

/* The context of the running task is at 2. */
static int finish_result(lua_State *L, int status, lua_KContext how) {
    (void)status;
    wgl_reason reason = wgl_woken(L, how);
    wgl_task *task = task_of(L);
    if (has_ended(task))
        return push_result(L, task);
    return reason == WGL_TIMED_OUT ? wgl_push_timeout(L) : wgl_push_ended(L, wgl_opt_context(L, 2, 1));
}

/* task:result([timeout]) */
static int result(lua_State *L) {
    wgl_task *task = (wgl_task *)wgl_check(L, 1, WGL_TASK, 1);
    int64_t deadline = wgl_deadline(L, 2, 2, 1);
    wg_status status = wg_wait(&task->done, &(wg_until){.deadline = WG_POLL});
    if (task == wgl_worker_task())
        return luaL_error(L, WGL_OWN_RESULT);
    if (status == WG_FORKED)
        return luaL_error(L, "this task was left behind in the parent process by a fork");
    if (status == WG_OK)
        return push_result(L, task);
    lua_settop(L, 1);
    wgl_push_context(L);
    return wgl_wait(L, 1, "task", lua_isnil(L, 2) ? 0 : 2, deadline, false, finish_result);
}

static int done(lua_State *L) {
    lua_pushboolean(L, has_ended((wgl_task *)wgl_check(L, 1, WGL_TASK, 1)));
    return 1;
}

static int cancelled(lua_State *L) {
    wgl_task *task = (wgl_task *)wgl_check(L, 1, WGL_TASK, 1);
    lua_pushboolean(L, has_ended(task) && task->stopped);
    return 1;
}

static int name(lua_State *L) {
    lua_pushstring(L, ((wgl_task *)wgl_check(L, 1, WGL_TASK, 1))->name);
    return 1;
}

static const char *state_of(wgl_task *task) {
    if (!has_ended(task))
        return atomic_load(&task->started) == 0 ? "waiting" : "running";
    return task->results ? "ended" : task->stopped ? "cancelled" : "failed";
}

static int tostring(lua_State *L) {
    wgl_task *task = task_of(L);
    if (!task) {
        lua_pushliteral(L, "waitgroup.Task (closed)");
        return 1;
    }
    lua_pushfstring(L, "waitgroup.Task %s (%s, thread)", task->name, state_of(task));
    return 1;
}

/* task_started(task) -> nanoseconds since it began to run, or nil */
static int started(lua_State *L) {
    int64_t at = atomic_load(&task_of(L)->started);
    if (at == 0)
        return 0;
    lua_pushinteger(L, wg_now() - at);
    return 1;
}

static const luaL_Reg methods[] = {
    {"result", result}, {"done", done}, {"cancelled", cancelled}, {"name", name}, {NULL, NULL}};

void wgl_open_task(lua_State *L) { wgl_new_type(L, WGL_TASK, methods, tostring); }

const luaL_Reg wgl_task_functions[] = {
    {"new_task", new}, {"submit", submit}, {"task_running_for", started}, {NULL, NULL}};
