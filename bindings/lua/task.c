/* task.c - a task on another thread, from the side of the state that starts it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lualib.h>

#include "loop.h"
#include "task.h"

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

/* The outcome is known: nothing of the call is needed any more. The slot is not given back yet. */
static void settled(void *arg, wg_how how) {
    wgl_task *task = arg;
    task->stopped = how == WG_TASK_STOPPED || how == WG_NEVER_STARTED;
    if (!task->succeeded)
        wgl_message_clear(&task->message);
    atomic_store_explicit(&task->settled, true, memory_order_release);
}

/* The group has no more use for the task. */
static void ended(void *arg) {
    wgl_task *task = arg;
    wgl_thread_task_returned(task->group);
    wg_done(&task->done);
    wgl_release(&task->object);
}

/* How to get a slot: take one if there is one, or else a place in the backlog, wait for one of them, or use the slot that was
 * taken already. */
typedef enum slot { TRY, QUEUE, BLOCK, TAKEN } slot;

static wg_status give_in(wgl_task *task, slot slot, wgl_block *block) {
    wg_errgroup *group = task->group->group;
    const wg_task work = {.fn = wgl_worker_run,
                          .arg = task,
                          .settled = settled,
                          .ended = ended,
                          .pool = wgl_pool(),
                          .name = wgl_task_name(task)};
    if (slot == TAKEN)
        return wg_errgroup_start_slot(group, &work);
    if (slot == QUEUE && task->group->backlog > 0) {
        wg_status status =
            wg_errgroup_start(group, &work, &(wg_until){.deadline = WG_POLL, .context = wg_context_root()});
        return status == WG_TIMEOUT ? WG_LIMIT : status;
    }
    /* The context of the task that this thread runs ends it. */
    return slot != BLOCK ? wg_errgroup_try_start(group, &work) : wg_errgroup_start(group, &work, &block->until);
}

/* Give the task, which only its handle knows, to its group. */
static wg_status give(wgl_task *task, slot slot, wgl_block *block) {
    wgl_thread_task_given();
    atomic_store_explicit(&task->object.refs, 2, memory_order_relaxed);
    wg_status status = give_in(task, slot, block);
    if (status != WG_OK) {
        atomic_store_explicit(&task->object.refs, 1, memory_order_relaxed);
        wgl_thread_task_returned(task->group);
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
static const char *push_name(lua_State *L, int level) {
    if (lua_isnil(L, 3))
        return lua_tostring(L, 2);
    if (lua_type(L, 3) != LUA_TSTRING)
        wgl_argerror(L, level, 3,
                     lua_pushfstring(L, "the name of a function in module '%s', or nil, expected, got %s",
                                     lua_tostring(L, 2), luaL_typename(L, 3)));
    return lua_pushfstring(L, "%s.%s", lua_tostring(L, 2), lua_tostring(L, 3));
}

static void refuse(lua_State *L, const wgl_errgroup *group, const char *why, int level) {
    if (group->name[0])
        wgl_error(L, level, "cannot start a thread task of error group '%s': %s", group->name, why);
    wgl_error(L, level, "cannot start a thread task: %s", why);
}

/* g, function | module, ...: push the handle of a new task, with the name that was given, or NULL. Errors are at `level`. */
static wgl_task *make(lua_State *L, wgl_home *home, wgl_errgroup *group, const char *given, int level) {
    wgl_blob *blob = NULL;
    const char *name = NULL;
    int last = lua_gettop(L);
    if (lua_type(L, 2) == LUA_TSTRING) {
        if (last == 2)
            lua_settop(L, last = 3);
        name = push_name(L, level);
    } else if (lua_isfunction(L, 2) && !lua_iscfunction(L, 2))
        blob = wgl_push_blob(L, UP_BLOBS, 2);
    else
        wgl_argerror(L, level, 2,
                     lua_pushfstring(L, "a Lua function or the name of a module expected, got %s",
                                     lua_isfunction(L, 2) ? "a C function" : luaL_typename(L, 2)));
    name = given ? given : name;
    wgl_handle *handle = lua_newuserdatauv(L, sizeof *handle, 0);
    *handle = (wgl_handle){0};
    lua_pushvalue(L, UP_TYPE);
    lua_setmetatable(L, -2);
    wgl_task *task =
        malloc(sizeof *task + (name ? strlen(name) + 1 : 0)); /* calloc is slow: it has no thread's cache */
    if (!task)
        luaL_error(L, "not enough memory");
    *task = (wgl_task){.group = group, .named = name != NULL};
    wgl_object_init(&task->object, WGL_TASK, destroy);
    wgl_retain(&group->object);
    wg_add(&task->done, 1);
    handle->object = &task->object; /* no other state gets a handle to it: this one need not be found again */
    if (blob)
        task->blob = wgl_blob_retain(blob);
    if (name)
        strcpy(task->name, name);
    task->paths = take_paths(L, home);
    take_preload(L, task);
    wgl_refusal refusal;
    if (!wgl_encode(L, 2, last - 1, "argument", 1, blob, &refusal, &task->message, task->space, sizeof task->space))
        refuse(L, group, refusal.text, level);
    return task;
}

static wgl_errgroup *check_group(lua_State *L) {
    const wgl_handle *handle = lua_touserdata(L, 1);
    return (wgl_errgroup *)(wgl_is_open(L, 1, UP_GROUP) ? handle->object : wgl_check(L, 1, WGL_ERRGROUP, 1));
}

/* The group has taken the task whose handle is on top. */
static int started(lua_State *L, wgl_home *home) {
    wgl_handle *handle = lua_touserdata(L, -1);
    wgl_coroutine *running = wgl_running(L, home);
    if (running && running->scope && wgl_subscribe_scope(home, handle, running->scope))
        running->scope->members++;
    wgl_tell_follower(L, false);
    return 1;
}

/* The stack: the group and the task, which has waited for its slot. */
static int go_on(lua_State *L, int status, lua_KContext how) {
    wgl_home *home = wgl_home_of(L);
    wgl_task *task = (wgl_task *)wgl_test(L, 2);
    if (wgl_woken(L, status, how) != WGL_READY)
        return wgl_push_ended(L, wgl_running_context(L));
    wg_status outcome = home->slot;
    if (outcome == WG_OK)
        outcome = give(task, TAKEN, NULL);
    return outcome == WG_OK ? started(L, home) : wgl_push_refusal(L, outcome, 1);
}

/* Wait in the core: the thread has nothing else to do. */
static wg_status give_blocking(lua_State *L, wgl_home *home, wgl_task *task) {
    wgl_place place;
    wgl_block block;
    wgl_place_find(L, NULL, &place);
    wgl_block_begin(&block, WG_FOREVER, NULL, &place);
    wg_status status;
    while ((status = give(task, BLOCK, &block)) == WG_INTERRUPTED)
        wgl_let_hooks_run(L);
    if (status == WG_DEADLOCK)
        wgl_block_report(home, &block);
    return status;
}

/* g:thread and g:try_thread. */
static int start(lua_State *L, bool wait, const char *name, int level) {
    wgl_home *home = wgl_home_in(L, lua_touserdata(L, UP_HOME));
    wgl_errgroup *group = check_group(L);
    wgl_task *task = make(L, home, group, name, level);
    wg_status status = give(task, wait ? QUEUE : TRY, NULL);
    if (status == WG_LIMIT && wait && wgl_nothing_to_drive(L, home)) {
        status = give_blocking(L, home, task);
        if (status == WG_CONTEXT_ENDED)
            return wgl_push_ended(L, wgl_running_context(L));
    } else if (status == WG_LIMIT && wait) {
        lua_replace(L, 2);
        lua_settop(L, 2);
        return wgl_wait_for_slot(L, go_on);
    }
    if (status != WG_OK)
        return wgl_push_refusal(L, status, level);
    return started(L, home);
}

static int thread(lua_State *L) { return start(L, true, NULL, 1); }
static int try_thread(lua_State *L) { return start(L, false, NULL, 1); }

/* start_thread(group, name, whether to wait, function | module, ...): errors are those of the Lua function that called. */
static int start_thread(lua_State *L) {
    bool wait = lua_toboolean(L, 3);
    return start(L, wait, wgl_take_name(L, UP_HOME), 2);
}

/* The task at 1, which a wait goes on for: at the end of the state its handle may be gone. */
static wgl_task *task_of(lua_State *L) {
    wgl_task *task = (wgl_task *)wgl_test(L, 1);
    if (!task)
        luaL_error(L, "this task cannot be used any more: its handle was finalized");
    return task;
}

/* No other handle refers to the task, and an observer of the task has a reference. */
static int finalize(lua_State *L) {
    wgl_handle *handle = lua_touserdata(L, 1);
    if (wgl_is_open(L, 1, lua_upvalueindex(1))) {
        wgl_home *home = wgl_home_or_null(L);
        if (home)
            wgl_handle_unsubscribe(home, handle, true);
        wgl_release(handle->object);
        handle->object = NULL;
    }
    return 0;
}

/* --- looking at one --- */

/* True also from the end of the group's wait on, before `ended` is called. */
static bool is_over(wgl_task *task) {
    return atomic_load_explicit(&task->settled, memory_order_acquire) &&
           wg_count(wg_errgroup_tasks(task->group->group)) == 0;
}

static wg_status poll(wgl_task *task) {
    return wg_wait(&task->done, &(wg_until){.deadline = WG_POLL, .context = wg_context_root()});
}

static bool has_ended(wgl_task *task) { return poll(task) == WG_OK || is_over(task); }

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

/* Whether the task has ended. May raise. */
static bool look(lua_State *L, wgl_task *task) {
    wg_status status = poll(task);
    if (status == WG_FORKED)
        luaL_error(L, "'result' of task %s, which was left behind in the parent process by a fork",
                   wgl_task_name(task));
    return status == WG_OK || is_over(task);
}

static int finish_result(lua_State *L, int status, lua_KContext how) {
    wgl_reason reason = wgl_woken(L, status, how);
    wgl_task *task = task_of(L);
    if (look(L, task))
        return push_result(L, task);
    return reason == WGL_ENDED ? wgl_push_ended(L, wgl_running_context(L)) : wgl_push_timeout(L);
}

/* task:result([timeout]). The task cannot be the caller: no handle to it crosses to its own thread. */
static int result(lua_State *L) {
    wgl_task *task = (wgl_task *)wgl_check(L, 1, WGL_TASK, 1);
    int64_t deadline = wgl_deadline(L, 2, 2, 1);
    if (look(L, task))
        return push_result(L, task);
    lua_settop(L, 1);
    return wgl_wait(
        L, &(wgl_wish){.event = WGL_AT_TASK_END, .subject = lua_touserdata(L, 1), .own = true, .deadline = deadline},
        finish_result);
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

const char *wgl_task_name(const wgl_task *task) { return task->named ? task->name : wgl_blob_name(task->blob); }

static int name(lua_State *L) {
    lua_pushstring(L, wgl_task_name((wgl_task *)wgl_check(L, 1, WGL_TASK, 1)));
    return 1;
}

static const char *state_of(wgl_task *task) {
    if (!has_ended(task))
        return atomic_load(&task->started) ? "running" : "waiting";
    return task->succeeded ? "ended" : task->stopped ? "cancelled" : "failed";
}

void wgl_task_push_text(lua_State *L, wgl_task *task) {
    lua_pushfstring(L, "waitgroup.Task %s (%s, thread)", wgl_task_name(task), state_of(task));
}

static int tostring(lua_State *L) {
    wgl_task *task = (wgl_task *)((wgl_handle *)luaL_checkudata(L, 1, wgl_type_name(WGL_TASK)))->object;
    if (!task) {
        lua_pushliteral(L, "waitgroup.Task (closed)");
        return 1;
    }
    wgl_task_push_text(L, task);
    return 1;
}

static const luaL_Reg methods[] = {
    {"result", result}, {"done", done}, {"cancelled", cancelled}, {"name", name}, {NULL, NULL}};

static void push_upvalues(lua_State *L) {
    wgl_push_home(L);
    luaL_getmetatable(L, wgl_type_name(WGL_TASK));
    luaL_getmetatable(L, wgl_type_name(WGL_ERRGROUP));
    wgl_push_blobs(L);
    lua_pushnil(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushliteral(L, "path");
    lua_pushliteral(L, "cpath");
}

/* With the table of core functions on top. */
void wgl_open_task(lua_State *L) {
    static const luaL_Reg group_methods[] = {{"thread", thread}, {"try_thread", try_thread}, {NULL, NULL}};
    int core = lua_gettop(L);
    wgl_new_type(L, WGL_TASK, methods, tostring);
    luaL_getmetatable(L, wgl_type_name(WGL_TASK));
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, finalize, 1);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_getmetatable(L, wgl_type_name(WGL_ERRGROUP));
    lua_getfield(L, -1, "__index");
    push_upvalues(L);
    luaL_setfuncs(L, group_methods, 8);
    lua_pop(L, 2);
    push_upvalues(L);
    lua_pushcclosure(L, start_thread, 8);
    lua_setfield(L, core, "start_thread");
}
