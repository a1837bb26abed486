/* task.c - a task on another thread, from the side of the state that starts it. */
#include "wgl.h"

#include <stdlib.h>
#include <string.h>

#include <lualib.h>

/* How many tasks were given to their groups, and how many of them have come back. The first is written by who starts
 * tasks, the other by who runs them, so they are apart. A task is counted before its group gets it, which hands that on;
 * and when it has come back, all that it did is seen by who sees the count. */
static _Alignas(64) atomic_uint given;
static _Alignas(64) atomic_uint returned;

bool wgl_tasks_unfinished(void) {
    unsigned ends = atomic_load_explicit(&returned, memory_order_acquire);
    return atomic_load_explicit(&given, memory_order_relaxed) != ends;
}

/* --- life --- */

static void destroy(wgl_object *object) {
    wgl_task *task = (wgl_task *)object;
    wgl_message_clear(&task->message);
    if (task->preload) {
        wgl_message_clear(task->preload);
        free(task->preload);
    }
    wg_error_release(task->error);
    wgl_paths_release(task->paths);
    wgl_blob_release(task->blob);
    wgl_release(&task->group->object);
    free(task);
}

/* The group has no more use for the task: it ended, or never started. */
static void ended(void *arg) {
    wgl_task *task = arg;
    if (atomic_load_explicit(&task->started, memory_order_relaxed) == 0)
        task->stopped = true;
    if (!task->succeeded)
        wgl_message_clear(&task->message);
    atomic_fetch_add_explicit(&returned, 1, memory_order_release);
    wg_done(&task->done);
    wgl_release(&task->object);
}

/* Give the task to its group, which nobody knows but its handle: with NULL it never blocks. */
static wg_status give(wgl_task *task, const wg_until *until) {
    wg_errgroup *group = task->group->group;
    atomic_fetch_add_explicit(&given, 1, memory_order_relaxed);
    atomic_store_explicit(&task->object.refs, 2, memory_order_relaxed);
    wg_status status = until ? wg_errgroup_go(group, wgl_worker_run, task, ended, until)
                             : wg_errgroup_try_go(group, wgl_worker_run, task, ended);
    if (status != WG_OK) {
        atomic_store_explicit(&task->object.refs, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&returned, 1, memory_order_relaxed);
    }
    return status;
}

/* --- making one --- */

enum {
    UP_HOME = lua_upvalueindex(1),
    UP_TYPE = lua_upvalueindex(2), /* the metatables of tasks and of error groups */
    UP_GROUP = lua_upvalueindex(3),
    UP_BLOBS = lua_upvalueindex(4),   /* see wgl_push_blob */
    UP_PACKAGE = lua_upvalueindex(5), /* the library, or nil as long as it is not there */
    UP_PRELOAD = lua_upvalueindex(6), /* the table of preloaded modules */
    UP_PATH = lua_upvalueindex(7),    /* names of fields */
    UP_CPATH = lua_upvalueindex(8)
};
static const char alone_key; /* registry: the Lua half's function that tells whether nobody else can run */
static const char rest_key;  /* registry: the Lua half's function for what goes beyond giving the task to its group */

wgl_paths *wgl_paths_retain(wgl_paths *paths) {
    atomic_fetch_add(&paths->refs, 1);
    return paths;
}

void wgl_paths_release(wgl_paths *paths) {
    if (paths && atomic_fetch_sub(&paths->refs, 1) == 1)
        free(paths);
}

/* The texts at `path` and `cpath` become those of the home, which keeps them, so that they are known by address. */
static void set_paths(lua_State *L, wgl_home *home, int path, const char *path_text, int cpath,
                      const char *cpath_text) {
    size_t length = strlen(path_text) + 1;
    wgl_paths *paths = malloc(sizeof *paths + length + strlen(cpath_text) + 1);
    if (!paths)
        luaL_error(L, "not enough memory");
    atomic_init(&paths->refs, 1);
    paths->cpath = strcpy(paths->path + length, cpath_text);
    strcpy(paths->path, path_text);
    wgl_paths_release(home->paths);
    home->paths = paths;
    home->path = path_text;
    home->cpath = cpath_text;
    lua_pushvalue(L, path);
    lua_setiuservalue(L, UP_HOME, 1);
    lua_pushvalue(L, cpath);
    lua_setiuservalue(L, UP_HOME, 2);
}

static const char *text_at(lua_State *L, int index) {
    return lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "";
}

static bool find_package(lua_State *L) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    bool found = lua_getfield(L, -1, LUA_LOADLIBNAME) == LUA_TTABLE;
    if (found)
        lua_copy(L, -1, UP_PACKAGE);
    lua_pop(L, 2);
    return found;
}

/* package.path and package.cpath now: mostly the very strings that they were the last time. NULL: there is no package. */
static wgl_paths *take_paths(lua_State *L, wgl_home *home) {
    if (!lua_istable(L, UP_PACKAGE) && !find_package(L))
        return NULL;
    lua_pushvalue(L, UP_PATH);
    lua_rawget(L, UP_PACKAGE);
    lua_pushvalue(L, UP_CPATH);
    lua_rawget(L, UP_PACKAGE);
    const char *path = text_at(L, -2), *cpath = text_at(L, -1);
    if (!home->paths || path != home->path || cpath != home->cpath)
        set_paths(L, home, lua_absindex(L, -2), path, lua_absindex(L, -1), cpath);
    lua_pop(L, 2);
    return wgl_paths_retain(home->paths);
}

/* Names and loaders of package.preload. A loader that cannot cross becomes the reason, which `require` will give. */
static void take_preload(lua_State *L, wgl_task *task) {
    int top = lua_gettop(L);
    wgl_refusal refusal;
    int count = 0;
    lua_pushnil(L);
    while (lua_next(L, UP_PRELOAD)) {
        luaL_checkstack(L, 8, "too many preloaded modules");
        if (lua_type(L, -2) != LUA_TSTRING) {
            lua_pop(L, 1);
            continue;
        }
        wgl_message copy;
        if (wgl_encode_loaders(L, lua_gettop(L), 1, &refusal, &copy))
            wgl_message_clear(&copy);
        else {
            lua_pushstring(L, refusal.text);
            lua_replace(L, -2);
        }
        lua_pushvalue(L, -2); /* name, loader, name: the last goes on with the loop */
        count += 2;
    }
    if (count > 0) {
        if (!(task->preload = calloc(1, sizeof *task->preload)) ||
            !wgl_encode_loaders(L, top + 1, count, &refusal, task->preload))
            luaL_error(L, "not enough memory");
    }
    lua_settop(L, top);
}

/* The name of the function of a module. */
static const char *push_name(lua_State *L) {
    if (lua_isnil(L, 3))
        return lua_tostring(L, 2);
    if (lua_type(L, 3) != LUA_TSTRING)
        wgl_argerror(L, 1, 3,
                     lua_pushfstring(L, "the name of a function in module '%s', or nil, expected, got %s",
                                     lua_tostring(L, 2), luaL_typename(L, 3)));
    return lua_pushfstring(L, "%s.%s", lua_tostring(L, 2), lua_tostring(L, 3));
}

static void refuse(lua_State *L, const wgl_errgroup *group, const char *why) {
    if (group->name[0])
        wgl_error(L, 1, "cannot start a thread task of error group '%s': %s", group->name, why);
    wgl_error(L, 1, "cannot start a thread task: %s", why);
}

/* g, function | module, ...: push the handle of a new task. */
static wgl_task *make(lua_State *L, wgl_home *home, wgl_errgroup *group) {
    wgl_blob *blob = NULL;
    const char *name = NULL;
    int last = lua_gettop(L);
    if (lua_type(L, 2) == LUA_TSTRING) {
        if (last == 2)
            lua_settop(L, last = 3);
        name = push_name(L);
    } else if (lua_isfunction(L, 2) && !lua_iscfunction(L, 2))
        blob = wgl_push_blob(L, UP_BLOBS, 2);
    else
        wgl_argerror(L, 1, 2,
                     lua_pushfstring(L, "a Lua function or the name of a module expected, got %s",
                                     lua_isfunction(L, 2) ? "a C function" : luaL_typename(L, 2)));
    wgl_handle *handle = lua_newuserdatauv(L, sizeof *handle, 0);
    *handle = (wgl_handle){0};
    lua_pushvalue(L, UP_TYPE);
    lua_setmetatable(L, -2);
    wgl_task *task =
        malloc(sizeof *task + (name ? strlen(name) + 1 : 0)); /* calloc is slow: it has no thread's cache */
    if (!task)
        luaL_error(L, "not enough memory");
    *task = (wgl_task){.group = group};
    wgl_object_init(&task->object, WGL_TASK, destroy);
    wgl_retain(&group->object);
    wg_add(&task->done, 1);
    handle->object = &task->object; /* no other state gets a handle to it: this one need not be found again */
    if (blob)
        task->blob = wgl_blob_retain(blob);
    else
        strcpy(task->name, name);
    task->paths = take_paths(L, home);
    take_preload(L, task);
    wgl_refusal refusal;
    if (!wgl_encode(L, 2, last - 1, "argument", 1, blob, &refusal, &task->message, task->space, sizeof task->space))
        refuse(L, group, refusal.text);
    return task;
}

/* The handle at 1, if it has the metatable at `type`, or NULL. Cheaper than wgl_check, which finds words if it has not. */
static wgl_handle *handle_of(lua_State *L, int type) {
    bool fits = lua_type(L, 1) == LUA_TUSERDATA && lua_getmetatable(L, 1);
    if (!fits)
        return NULL;
    fits = lua_rawequal(L, -1, type);
    lua_pop(L, 1);
    return fits ? lua_touserdata(L, 1) : NULL;
}

static wgl_errgroup *check_group(lua_State *L) {
    const wgl_handle *handle = handle_of(L, UP_GROUP);
    bool open = handle && handle->object && !handle->closed;
    return (wgl_errgroup *)(open ? handle->object : wgl_check(L, 1, WGL_ERRGROUP, 1));
}

static int finish(lua_State *L, int status, lua_KContext base) {
    (void)status;
    return lua_gettop(L) - (int)base;
}

/* Whether the whole thread may wait for room, and no context ends that. Who may yield may be in a coroutine of another
 * event loop: then the Lua half has to look. */
static bool nobody_else(lua_State *L, const wgl_home *home) {
    if (lua_isyieldable(L) || home->alive > 0 || wgl_worker_task())
        return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &alone_key);
    lua_call(L, 0, 1);
    bool alone = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return alone;
}

/* g:thread and g:try_thread. The Lua half waits for room, names what is wrong, and remembers tasks in a scope or with a
 * grace period. */
static int start(lua_State *L, bool wait) {
    wgl_home *home = wgl_home_in(L, lua_touserdata(L, UP_HOME));
    wgl_errgroup *group = check_group(L);
    wgl_task *task = make(L, home, group);
    wg_status status = give(task, NULL);
    if (status == WG_LIMIT && wait && nobody_else(L, home)) {
        status = give(task, &(wg_until){.context = wg_context_root(), .interruptible = true});
        if (status == WG_INTERRUPTED)
            status = WG_LIMIT;
    }
    if (status == WG_OK && group->grace == 0 && !wgl_in_scope(home))
        return 1;
    int handle = lua_gettop(L);
    luaL_checkstack(L, 5, NULL);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &rest_key);
    lua_pushinteger(L, status);
    lua_pushboolean(L, wait);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, handle);
    lua_callk(L, 4, LUA_MULTRET, handle, finish);
    return finish(L, LUA_OK, handle);
}

static int thread(lua_State *L) { return start(L, true); }
static int try_thread(lua_State *L) { return start(L, false); }

/* set_thread_hooks(function(status, wait, g, task), which does the rest of the two; function() -> nobody else can run) */
static int set_hooks(lua_State *L) {
    lua_settop(L, 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &alone_key);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &rest_key);
    return 0;
}

/* The task at 1, which a wait goes on for: at the end of the state its handle may be gone. */
static wgl_task *task_of(lua_State *L) {
    wgl_task *task = (wgl_task *)wgl_test(L, 1);
    if (!task)
        luaL_error(L, "this task cannot be used any more: its handle was finalized");
    return task;
}

/* No other handle refers to the task, and who observes it has a reference. */
static int finalize(lua_State *L) {
    wgl_handle *handle = handle_of(L, lua_upvalueindex(1));
    if (handle) {
        wgl_release(handle->object);
        handle->object = NULL;
    }
    return 0;
}

/* submit(task, deadline, context) -> status: blocks the thread at the limit; CONTEXT_ENDED if the context ends. Without a
 * deadline it never blocks. */
static int submit(lua_State *L) {
    wgl_task *task = task_of(L);
    wg_status status;
    if (lua_isnoneornil(L, 2))
        status = give(task, NULL);
    else {
        wg_until until = {
            .deadline = luaL_checkinteger(L, 2), .context = wgl_opt_context(L, 3, 2), .interruptible = true};
        status = give(task, &until);
    }
    lua_pushinteger(L, status);
    return 1;
}

/* --- looking at one --- */

static bool has_ended(wgl_task *task) { return wg_wait(&task->done, &(wg_until){.deadline = WG_POLL}) == WG_OK; }

/* Push the result of a task that has ended: true, results; or nil, value, traceback. */
static int push_result(lua_State *L, const wgl_task *task) {
    if (task->succeeded) {
        lua_settop(L, 0);
        lua_pushboolean(L, true);
        return 1 + wgl_decode(L, &task->message, NULL);
    }
    if (task->stopped && wg_context_check(task->group->context->ctx) != WG_OK)
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

/* task:result([timeout]). The task cannot be the caller: no handle to it crosses to its own thread. */
static int result(lua_State *L) {
    wgl_task *task = (wgl_task *)wgl_check(L, 1, WGL_TASK, 1);
    int64_t deadline = wgl_deadline(L, 2, 2, 1);
    wg_status status = wg_wait(&task->done, &(wg_until){.deadline = WG_POLL});
    if (status == WG_FORKED)
        return luaL_error(L, "'result' of task %s, which was left behind in the parent process by a fork",
                          wgl_task_name(task));
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

const char *wgl_task_name(const wgl_task *task) { return task->blob ? wgl_blob_name(task->blob) : task->name; }

static int name(lua_State *L) {
    lua_pushstring(L, wgl_task_name((wgl_task *)wgl_check(L, 1, WGL_TASK, 1)));
    return 1;
}

static const char *state_of(wgl_task *task) {
    if (!has_ended(task))
        return atomic_load(&task->started) == 0 ? "waiting" : "running";
    return task->succeeded ? "ended" : task->stopped ? "cancelled" : "failed";
}

static int tostring(lua_State *L) {
    wgl_task *task = (wgl_task *)((wgl_handle *)luaL_checkudata(L, 1, wgl_type_name(WGL_TASK)))->object;
    if (!task) {
        lua_pushliteral(L, "waitgroup.Task (closed)");
        return 1;
    }
    lua_pushfstring(L, "waitgroup.Task %s (%s, thread)", wgl_task_name(task), state_of(task));
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

void wgl_open_task(lua_State *L) {
    static const luaL_Reg group_methods[] = {{"thread", thread}, {"try_thread", try_thread}, {NULL, NULL}};
    wgl_new_type(L, WGL_TASK, methods, tostring);
    luaL_getmetatable(L, wgl_type_name(WGL_TASK));
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, finalize, 1);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_getmetatable(L, wgl_type_name(WGL_ERRGROUP));
    lua_getfield(L, -1, "__index");
    wgl_push_home(L);
    luaL_getmetatable(L, wgl_type_name(WGL_TASK));
    luaL_getmetatable(L, wgl_type_name(WGL_ERRGROUP));
    wgl_push_blobs(L);
    lua_pushnil(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushliteral(L, "path");
    lua_pushliteral(L, "cpath");
    luaL_setfuncs(L, group_methods, 8);
    lua_pop(L, 2);
}

const luaL_Reg wgl_task_functions[] = {
    {"set_thread_hooks", set_hooks}, {"submit", submit}, {"task_running_for", started}, {NULL, NULL}};
