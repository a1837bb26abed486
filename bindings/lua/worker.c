/* worker.c - the threads that run tasks, and the Lua states they keep.
 *
 * A thread keeps one state and runs one task after the other in it. A core that lets a thread run another task inside
 * a task's wait gets a second state for it, one for each depth, so no state is ever entered twice. */
#include "wgl.h"

#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "waitgroup_lua.h"

typedef struct level {
    struct level *outer, *inner;
    lua_State *L;         /* NULL until needed */
    wgl_home *home;       /* of the state, borrowed */
    bool hosted;          /* the host prepared the state */
    bool spoiled;         /* the state has to be given up after this task */
    wgl_paths *paths;     /* that package has, with a reference; NULL: others */
    wgl_paths *kept_with; /* with which the modules were loaded that are kept, with a reference; or NULL */
    wgl_task *task;       /* that runs here */
    wg_error *error;      /* of the task that runs here, until wgl_worker_run takes it; or NULL */
    int status;           /* of its Lua code */
    int interrupts;       /* how often it has been interrupted */
} level;

static _Thread_local level *current; /* the innermost level that runs a task, or NULL */
static _Thread_local level *outermost;
static _Thread_local lua_CFunction protect, protect_with; /* pcall and xpcall */

static wg_lua_host hosting; /* under the lock of the host */

const char wgl_self_loader;
static const char traceback_key; /* registry key of the traceback of the last error */

wgl_task *wgl_worker_task(void) { return current ? current->task : NULL; }

unsigned wgl_worker_tasks_of(const wgl_object *group) {
    unsigned count = 0;
    for (const level *at = current; at; at = at->outer)
        count += at->task && &at->task->group->object == group;
    return count;
}

bool wgl_worker_is_for(const wgl_context *context) {
    for (const level *at = current; at; at = at->outer)
        if (at->task && at->task->group->context == context)
            return true;
    return false;
}

unsigned wgl_worker_depth(void) {
    unsigned count = 0;
    for (const level *at = current; at; at = at->outer)
        count += at->task != NULL;
    return count;
}

/* --- states --- */

/* What a protected call has left on top of the stack. */
static wg_error *text_error(lua_State *L) {
    return wgl_failure_text(lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "a Lua state for a thread was lost");
}

void wg_lua_set_host(const wg_lua_host *host) {
    wgl_lock(WGL_LOCK_HOST);
    hosting = host ? *host : (wg_lua_host){0};
    wgl_unlock(WGL_LOCK_HOST);
}

/* What is made here stays: the collector need not look at it. */
static int open_state(lua_State *L) {
    const wg_lua_host *host = lua_touserdata(L, 1);
    lua_gc(L, LUA_GCSTOP);
    luaL_openlibs(L);
    lua_gc(L, LUA_GCRESTART);
    lua_getglobal(L, "xpcall");
    lua_getglobal(L, "pcall");
    protect = lua_tocfunction(L, -1);
    protect_with = lua_tocfunction(L, -2);
    lua_pop(L, 2);
    if (host->prepare)
        host->prepare(L, host->data);
    bool collects = lua_gc(L, LUA_GCISRUNNING);
    lua_gc(L, LUA_GCSTOP);
    wgl_sandbox_open(L);
    if (collects)
        lua_gc(L, LUA_GCRESTART);
    return 0;
}

/* False, with the reason in *error, if there is one to tell. */
static bool new_state(level *at, wg_error **error) {
    wgl_lock(WGL_LOCK_HOST);
    wg_lua_host host = hosting;
    wgl_unlock(WGL_LOCK_HOST);
    lua_State *L = host.new_state ? host.new_state(host.data) : luaL_newstate();
    if (!L)
        return false;
    lua_pushcfunction(L, open_state);
    lua_pushlightuserdata(L, &host);
    if (lua_pcall(L, 1, 0, 0) == LUA_OK) {
        at->L = L;
        at->home = wgl_home_of(L);
        at->hosted = host.prepare != NULL;
        return true;
    }
    *error = text_error(L);
    lua_close(L);
    return false;
}

/* The next level in, with a state; NULL, with the reason as above. */
static level *push_level(wg_error **error) {
    level **slot = current ? &current->inner : &outermost;
    if (!*slot && (*slot = calloc(1, sizeof **slot)))
        (*slot)->outer = current;
    if (!*slot || !((*slot)->L || new_state(*slot, error)))
        return NULL;
    return current = *slot;
}

static void close_state(level *at) {
    if (at->L)
        lua_close(at->L);
    at->L = NULL;
    wgl_paths_release(at->paths);
    wgl_paths_release(at->kept_with);
    at->paths = at->kept_with = NULL;
}

static void close_levels(void) {
    level *at = outermost;
    outermost = NULL;
    while (at) {
        level *inner = at->inner;
        close_state(at);
        free(at);
        at = inner;
    }
}

/* --- threads --- */

static void leave(void *unused) {
    (void)unused;
    close_levels();
}

static wg_pool *the_pool;

static void make_pool(void) {
    wg_pool_new(&the_pool, &(wg_pool_host){.leave = leave, .own_tasks_only = true, .name = "waitgroup-lua"});
}

wg_pool *wgl_pool(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_pool);
    return the_pool;
}

/* --- running a task --- */

/* A function that is copied to a thread finds other globals there than where it was written. */
static void explain_global(lua_State *L) {
    const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : "";
    if (!strstr(text, "a nil value") || !strstr(text, "global '"))
        return; /* the words of 5.4.3 for a call are in another order */
    lua_pushliteral(
        L, ": globals do not travel to thread tasks: pass it as an upvalue or an argument, or require it there");
    lua_concat(L, 2);
}

static int on_error(lua_State *L) {
    lua_settop(L, 1);
    explain_global(L);
    luaL_traceback(L, L, NULL, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &traceback_key);
    lua_settop(L, 1);
    return 1;
}

static int execute(lua_State *L);

/* Whether the place is there in the frame of a C function, below what it calls. */
static bool has_place(lua_State *L, const lua_Debug *frame, int place) {
    bool there = lua_getlocal(L, frame, place) != NULL;
    if (there)
        lua_pop(L, 1);
    return there;
}

/* Whether code runs on L that closes variables after an error. What pcall protects lies in its second place, and while that
 * runs, its frame ends there; in that of xpcall it is the fourth. When they have caught an error, what they call is such
 * code. What closes the variables of the task itself has no caller. */
static bool cleans_up(lua_State *L) {
    lua_Debug frame;
    lua_CFunction function = NULL;
    for (int i = 0; lua_getstack(L, i, &frame); i++) {
        lua_getinfo(L, "fn", &frame);
        function = lua_tocfunction(L, -1);
        lua_pop(L, 1);
        if (frame.name && strcmp(frame.namewhat, "metamethod") == 0 && strcmp(frame.name, "close") == 0)
            return true;
        if ((function == protect && has_place(L, &frame, 2)) || (function == protect_with && has_place(L, &frame, 4)))
            return true;
    }
    return L == current->L && function != execute;
}

/* Raises in busy code once the group is cancelled, and again in code that has caught that and goes on: sooner each time, so
 * that it hits the code that catches, too. Never in code that cleans up after it. */
static void on_count(lua_State *L, lua_Debug *ar) {
    (void)ar;
    wg_status status = wg_context_check(current->task->group->context->ctx);
    if (status == WG_OK || (current->interrupts > 0 && cleans_up(L)))
        return;
    int count = current->task->group->interrupt >> (current->interrupts < 30 ? current->interrupts : 30);
    current->interrupts++;
    lua_sethook(L, on_count, LUA_MASKCOUNT, count > 0 ? count : 1);
    lua_pushstring(L, wgl_end_word(status));
    lua_error(L);
}

static int refuse_loader(lua_State *L) {
    return luaL_error(L, "this preloaded module is not here: %s", lua_tostring(L, lua_upvalueindex(1)));
}

/* Set a field of the table on top, unless it has the value already. */
static void set_text(lua_State *L, const char *field, const char *text) {
    if (lua_getfield(L, -1, field) != LUA_TSTRING || strcmp(lua_tostring(L, -1), text) != 0) {
        lua_pushstring(L, text);
        lua_setfield(L, -3, field);
    }
    lua_pop(L, 1);
}

/* Modules that were found by other paths are not those that the task wants. */
static void drop_strange_modules(level *here, const wgl_paths *paths) {
    const wgl_paths *with = here->kept_with;
    if (!with || (strcmp(with->path, paths->path) == 0 && strcmp(with->cpath, paths->cpath) == 0))
        return;
    wgl_kept_forget(here->L);
    wgl_paths_release(here->kept_with);
    here->kept_with = NULL;
}

static void set_paths(level *here, wgl_paths *paths) {
    lua_State *L = here->L;
    drop_strange_modules(here, paths);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, -1, LUA_LOADLIBNAME) == LUA_TTABLE) {
        set_text(L, "path", paths->path);
        set_text(L, "cpath", paths->cpath);
    }
    lua_pop(L, 2);
    wgl_paths_release(here->paths);
    here->paths = wgl_paths_retain(paths);
}

static void set_preload(level *here, const wgl_message *preloaded) {
    lua_State *L = here->L;
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    int preload = lua_gettop(L), count = wgl_decode(L, preloaded, NULL);
    here->home->left |= WGL_LEFT_MODULES;
    for (int i = preload + 1; i < preload + count; i += 2) {
        lua_pushvalue(L, i + 1);
        if (lua_isstring(L, -1))
            lua_pushcclosure(L, refuse_loader, 1);
        if (strcmp(lua_tostring(L, i), "waitgroup") != 0)
            lua_setfield(L, preload, lua_tostring(L, i));
        else if (lua_tocfunction(L, -1) != wgl_load_self)
            lua_rawsetp(L, LUA_REGISTRYINDEX, &wgl_self_loader);
    }
    lua_settop(L, preload - 1);
}

/* module, function name or nil, arguments -> function, arguments */
static void find_function(lua_State *L) {
    lua_getglobal(L, "require");
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    int module = lua_gettop(L);
    if (!lua_isnil(L, 2)) {
        if (!lua_istable(L, module))
            luaL_error(L, "module '%s' is a %s, not a table with functions", lua_tostring(L, 1),
                       luaL_typename(L, module));
        lua_pushvalue(L, 2);
        if (lua_gettable(L, module) == LUA_TNIL)
            luaL_error(L, "module '%s' has no function '%s'", lua_tostring(L, 1), lua_tostring(L, 2));
        lua_remove(L, module);
    } else if (lua_istable(L, module) && !luaL_getmetafield(L, module, "__call"))
        luaL_error(L, "module '%s' is a table, not a function: name the function to call", lua_tostring(L, 1));
    lua_settop(L, module);
    lua_replace(L, 2);
    lua_remove(L, 1);
}

int wgl_call_by_name(lua_State *L) {
    if (lua_gettop(L) < 2)
        lua_settop(L, 2);
    find_function(L);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* Whether the task may have started something in this state that has to end. */
static bool has_to_drain(const level *here) { return here->home->left & (WGL_LEFT_MODULES | WGL_LEFT_TASKS); }

/* Take back what the task changed. */
static void clean_up(level *here) {
    if (here->home->left & WGL_LEFT_MODULES) {
        if (!here->kept_with && here->paths && wgl_kept_any(here->L))
            here->kept_with = wgl_paths_retain(here->paths);
        wgl_paths_release(here->paths);
        here->paths = NULL;
    }
    here->spoiled = !wgl_sandbox_leave(here->L, here->home, here->hosted);
}

static int execute(lua_State *L) {
    level *here = lua_touserdata(L, 1);
    wgl_task *task = here->task;
    here->home->loading = 0;
    if (task->paths && task->paths != here->paths)
        set_paths(here, task->paths);
    if (task->preload)
        set_preload(here, task->preload);
    lua_settop(L, 0);
    int count = wgl_decode(L, &task->message, task->blob);
    if (!task->blob) {
        find_function(L);
        count--;
    }
    if (task->group->interrupt > 0)
        lua_sethook(L, on_count, LUA_MASKCOUNT, task->group->interrupt);
    lua_call(L, count - 1, LUA_MULTRET);
    lua_sethook(L, NULL, 0, 0);
    wgl_message_clear(&task->message);
    wgl_refusal refusal;
    task->succeeded =
        wgl_encode(L, 1, lua_gettop(L), "result", 1, NULL, &refusal, &task->message, task->space, sizeof task->space);
    if (!task->succeeded)
        here->error = wgl_failure_text(lua_pushfstring(L, "task %s: %s", wgl_task_name(task), refusal.text));
    lua_settop(L, 0);
    if (has_to_drain(here)) {
        lua_pushcfunction(L, wgl_drain);
        lua_call(L, 0, 0);
    }
    clean_up(here);
    return 0;
}

/* execute has failed with the error at 2. */
static int recover(lua_State *L) {
    level *here = lua_touserdata(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &traceback_key);
    if (!here->error)
        here->error = wgl_failure_new(L, 2, here->status == LUA_ERRRUN ? 3 : 0, false);
    if (has_to_drain(here)) {
        lua_pushcfunction(L, wgl_drain);
        lua_pcall(L, 0, 0, 0);
    }
    clean_up(here);
    if (here->status == LUA_ERRMEM) /* a new state may have more */
        here->spoiled = true;
    return 0;
}

static void run_task(level *here) {
    lua_State *L = here->L;
    lua_pushcfunction(L, on_error);
    lua_pushcfunction(L, execute);
    lua_pushlightuserdata(L, here);
    here->status = lua_pcall(L, 1, 0, 1);
    if (here->status != LUA_OK) {
        lua_sethook(L, NULL, 0, 0);
        lua_pushcfunction(L, recover);
        lua_pushlightuserdata(L, here);
        lua_rotate(L, 2, 2);
        here->status = lua_pcall(L, 2, 0, 0);
    }
    if (here->status == LUA_OK && !here->spoiled) {
        lua_settop(L, 0);
        return;
    }
    if (here->status != LUA_OK && !here->error)
        here->error = text_error(L);
    close_state(here); /* it may be half way between two tasks */
}

wg_error *wgl_worker_run(void *arg, wg_context *ctx) {
    (void)ctx;
    wgl_task *task = arg;
    wg_error *error = NULL;
    atomic_store_explicit(&task->started, true, memory_order_relaxed);
    level *here = push_level(&error);
    if (here) {
        here->task = task;
        here->error = NULL;
        here->interrupts = 0;
        here->spoiled = false;
        run_task(here);
        error = here->error;
        here->task = NULL;
        current = here->outer;
    } else if (!error)
        error = wgl_failure_text("cannot open a Lua state for a thread: not enough memory");
    if (error) {
        task->succeeded = false; /* it may have, before what it left behind failed */
        task->error = wg_error_retain(error);
    }
    return error;
}
