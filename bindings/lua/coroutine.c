/* coroutine.c - tasks that are coroutines of this state: they are made, run, suspended and ended here. Who wakes them is
 * written in Lua, in scheduler.lua.
 *
 * A task is a userdata with user values:
 *   FN     the function, also for its name
 *   VALUE  the coroutine while it is suspended; then its result, a table of its results, or its error. Of few tasks a
 *          table: at 1 this value, and context, scope, watch (of who waits for it), traceback, started
 *   OWNER  the handle of its error group or wait group, or nil
 *   ARGS   and further: the arguments until it starts
 * A million tasks may wait to start, and the collector passes by all of them again and again: so they are small.
 * Tasks that can run stand in a queue, a table of the state. A coroutine is never used for a second task: somebody may
 * hold it. */
#include "wgl.h"

#include <string.h>

enum { FN = 1, VALUE, OWNER, ARGS };
#define ARGUMENTS_MAX 250
#define BATCH 100

enum { UP_HOME = lua_upvalueindex(1), UP_QUEUE = lua_upvalueindex(2), UP_TYPE = lua_upvalueindex(3) };

typedef enum task_state { WAITING, RUNNING, SUCCEEDED, FAILED, STOPPED } task_state;
typedef enum task_kind { OF_GROUP, OF_WAITGROUP, OF_RUN } task_kind;

struct wgl_coroutine {
    int count;         /* of arguments; then of results */
    uint8_t state;     /* a task_state */
    uint8_t kind;      /* a task_kind */
    uint8_t reason;    /* a wgl_reason, what woke it; 0: it only let others run */
    bool extended;     /* VALUE is a table */
    bool heard;        /* the Lua half wants to hear of the end: it is in a scope, or somebody waits for it */
    bool scoped;       /* in a scope, as the tasks will be that it starts */
    bool kept;         /* its coroutine is in VALUE */
    wgl_handle *owner; /* NULL for none */
    lua_State *co;     /* NULL until it starts */
};

static const char parked;     /* what a wait yields */
static const char enlist_key; /* registry: the Lua half's function that sees to it that a waiting task is woken */
static const char wait_key;   /* registry: its function for waits in which no task can be suspended */
static const char end_key;    /* registry: the Lua half's function for ends that it wants to hear of */
static const char start_key;  /* registry: the same for new tasks */
static const char go_key;     /* registry: its function for a `go` that found no room */
static const char report_key; /* registry: its function for errors that nobody waits for */

static wgl_coroutine *task_of(lua_State *L) { return lua_touserdata(L, 1); }

static wgl_home *home_of(lua_State *L) { return wgl_home_in(L, lua_touserdata(L, UP_HOME)); }

/* --- the value of a task, and what few have --- */

static void push_value(lua_State *L, const wgl_coroutine *task, int self) {
    lua_getiuservalue(L, self, VALUE);
    if (task->extended) {
        lua_rawgeti(L, -1, 1);
        lua_remove(L, -2);
    }
}

/* What is on top; pops it. Needs no memory. */
static void set_value(lua_State *L, const wgl_coroutine *task, int self) {
    if (task->extended) {
        lua_getiuservalue(L, self, VALUE);
        lua_insert(L, -2);
        lua_rawseti(L, -2, 1);
        lua_pop(L, 1);
    } else
        lua_setiuservalue(L, self, VALUE);
}

/* Push the table in VALUE, made at the first call. */
static void push_extra(lua_State *L, int self) {
    wgl_coroutine *task = lua_touserdata(L, self);
    if (!task->extended) {
        lua_createtable(L, 1, 2);
        lua_getiuservalue(L, self, VALUE);
        lua_rawseti(L, -2, 1);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, self, VALUE);
        task->extended = true;
        lua_pop(L, 1);
    }
    lua_getiuservalue(L, self, VALUE);
}

/* --- making --- */

/* Push a new task, of the function at `fn` and all above it, in the place after the last of the queue. It is not in the
 * queue before `launch`, after which nothing can go wrong. `owner`: index of a handle, or 0. */
static wgl_coroutine *prepare(lua_State *L, wgl_home *home, task_kind kind, int owner, int fn) {
    int self = lua_gettop(L) + 1, count = self - 1 - fn;
    if (count > ARGUMENTS_MAX)
        luaL_error(L, "%d arguments are more than the %d that a task can take: use a table", count, ARGUMENTS_MAX);
    luaL_checkstack(L, 8, NULL);
    wgl_coroutine *task = lua_newuserdatauv(L, sizeof *task, OWNER + count);
    *task = (wgl_coroutine){.kind = (uint8_t)kind, .count = count};
    lua_pushvalue(L, UP_TYPE);
    lua_setmetatable(L, self);
    lua_pushvalue(L, fn);
    lua_setiuservalue(L, self, FN);
    if (owner) {
        task->owner = lua_touserdata(L, owner);
        lua_pushvalue(L, owner);
        lua_setiuservalue(L, self, OWNER);
    }
    for (int i = 0; i < count; i++) {
        lua_pushvalue(L, fn + 1 + i);
        lua_setiuservalue(L, self, ARGS + i);
    }
    lua_pushvalue(L, self);
    lua_rawseti(L, UP_QUEUE, home->tail + 1);
    return task;
}

bool wgl_in_scope(const wgl_home *home) { return home->current && home->current->scoped; }

/* The task on top, whose place in its group is taken, will run. */
static void launch(lua_State *L, wgl_home *home, bool tell) {
    home->tail++;
    home->alive++;
    if (atomic_load_explicit(&home->listening, memory_order_relaxed))
        wgl_home_wake(home);
    if (tell || wgl_in_scope(home)) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &start_key);
        lua_pushvalue(L, -2);
        lua_call(L, 1, 0);
    }
}

static void check_callable(lua_State *L, int arg) {
    if (lua_isfunction(L, arg))
        return;
    if (luaL_getmetafield(L, arg, "__call") == LUA_TNIL)
        luaL_argerror(L, arg, lua_pushfstring(L, "function expected, got %s", luaL_typename(L, arg)));
    lua_pop(L, 1);
}

static int finish_go(lua_State *L, int status, lua_KContext base) {
    (void)status;
    return lua_gettop(L) - (int)base;
}

/* Let the Lua half go on with g:go or g:try_go: status, whether to wait, g, fn, ... It may yield. */
static int go_on(lua_State *L, wg_status status, bool wait) {
    int count = lua_gettop(L);
    luaL_checkstack(L, 4, NULL);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &go_key);
    lua_pushinteger(L, status);
    lua_pushboolean(L, wait);
    lua_rotate(L, 1, 3);
    lua_callk(L, count + 2, LUA_MULTRET, 0, finish_go);
    return finish_go(L, LUA_OK, 0);
}

static int go(lua_State *L, bool wait) {
    wgl_home *home = home_of(L);
    wgl_handle *g = wgl_check_handle(L, 1, WGL_ERRGROUP, 1);
    check_callable(L, 2);
    prepare(L, home, OF_GROUP, 1, 2);
    wg_status status = wgl_enter(g);
    if (status == WG_OK) {
        launch(L, home, ((wgl_errgroup *)g->object)->grace > 0);
        return 1;
    }
    lua_pop(L, 1);
    return go_on(L, status, wait);
}

static int group_go(lua_State *L) { return go(L, true); }
static int group_try_go(lua_State *L) { return go(L, false); }

/* go_room(g, fn, ...) -> task or status: for the Lua half, when there may be room. */
static int go_room(lua_State *L) {
    wgl_home *home = home_of(L);
    wgl_handle *g = lua_touserdata(L, 1);
    prepare(L, home, OF_GROUP, 1, 2);
    wg_status status = wgl_enter(g);
    if (status == WG_OK)
        launch(L, home, ((wgl_errgroup *)g->object)->grace > 0);
    else
        lua_pushinteger(L, status);
    return 1;
}

/* wg:go(fn, ...): its task has the context of whoever starts it. */
static int waitgroup_go(lua_State *L) {
    wgl_home *home = home_of(L);
    wgl_handle *handle = wgl_check_handle(L, 1, WGL_WAITGROUP, 1);
    check_callable(L, 2);
    prepare(L, home, OF_WAITGROUP, 1, 2);
    wgl_push_context(L);
    if (!lua_isnil(L, -1)) {
        push_extra(L, lua_gettop(L) - 1);
        lua_insert(L, -2);
        lua_setfield(L, -2, "context");
    }
    lua_pop(L, 1);
    wgl_waitgroup_step(L, (wgl_waitgroup *)handle->object, 1, "go", 1);
    handle->tasks++;
    launch(L, home, false);
    return 0;
}

/* spawn(context, fn, ...) -> a task of no group */
static int spawn(lua_State *L) {
    wgl_home *home = home_of(L);
    prepare(L, home, OF_RUN, 0, 2);
    push_extra(L, lua_gettop(L));
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "context");
    lua_pop(L, 1);
    launch(L, home, false);
    return 1;
}

/* --- ending --- */

static void report(lua_State *L, int value, int traceback) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &report_key);
    lua_pushvalue(L, value);
    lua_pushvalue(L, traceback);
    lua_call(L, 2, 0);
}

/* The task at `self` has ended; what the Lua half wants to know, it is told. */
static void tell_end(lua_State *L, wgl_home *home, const wgl_coroutine *task, int self) {
    home->alive--;
    if (!task->heard && !(home->alive == 0 && home->awaited))
        return;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &end_key);
    lua_pushvalue(L, self);
    lua_call(L, 1, 0);
}

static void leave(wgl_coroutine *task) {
    if (task->kind == OF_GROUP)
        wgl_leave(task->owner, NULL);
    else if (task->kind == OF_WAITGROUP) {
        task->owner->tasks--;
        wg_done(&((wgl_waitgroup *)task->owner->object)->wg);
    }
}

static void succeed(lua_State *L, wgl_home *home, wgl_coroutine *task, int self, lua_State *co, int results) {
    task->count = results;
    task->state = SUCCEEDED;
    leave(task);
    if (results == 1) {
        lua_xmove(co, L, 1);
        set_value(L, task, self);
    } else if (results > 1) {
        lua_createtable(L, results, 0);
        for (int i = results; i > 0; i--) {
            lua_xmove(co, L, 1);
            lua_rawseti(L, -2, i);
        }
        set_value(L, task, self);
    } else if (task->kept) {
        lua_pushnil(L);
        set_value(L, task, self);
    }
    tell_end(L, home, task, self);
}

static void never_start(lua_State *L, wgl_home *home, wgl_coroutine *task, int self) {
    task->state = STOPPED;
    leave(task);
    tell_end(L, home, task, self);
}

/* Push the traceback and the error of `co`, whose error is on top of it, and close it: that runs its <close> variables,
 * whose errors replace the first, and which may wait, without yielding. */
static void close_failed(lua_State *L, lua_State *co) {
    luaL_checkstack(L, 8, NULL);
    luaL_traceback(L, co, NULL, 0);
    if (lua_resetthread(co) == LUA_OK)
        lua_pushliteral(L, "somebody else closed the coroutine of this task");
    else
        lua_xmove(co, L, 1);
}

/* The task failed; its traceback and error are on top, and popped. */
static void fail(lua_State *L, wgl_home *home, wgl_coroutine *task, int self) {
    int value = lua_gettop(L), traceback = value - 1;
    task->state = FAILED;
    lua_pushvalue(L, value);
    set_value(L, task, self);
    if (task->kind == OF_GROUP) {
        if (wgl_fail(L, task->owner, value, traceback))
            task->state = STOPPED;
    } else
        leave(task);
    tell_end(L, home, task, self);
    push_extra(L, self);
    lua_pushvalue(L, traceback);
    lua_setfield(L, -2, "traceback");
    if (task->kind == OF_WAITGROUP)
        report(L, value, traceback);
    lua_settop(L, traceback - 1);
}

/* --- running --- */

static void enqueue(lua_State *L, wgl_home *home, int self) {
    lua_pushvalue(L, self);
    lua_rawseti(L, UP_QUEUE, home->tail + 1);
    home->tail++;
}

/* Start the task with its new coroutine on top, or go on with it: what lua_resume says. */
static int resume(lua_State *L, wgl_coroutine *task, int self, bool start, int *results) {
    lua_State *co = task->co;
    int arguments = 0;
    if (start) {
        arguments = task->count;
        task->state = RUNNING;
        lua_getiuservalue(L, self, FN);
        for (int i = 0; i < arguments; i++) {
            lua_getiuservalue(L, self, ARGS + i);
            lua_pushnil(L);
            lua_setiuservalue(L, self, ARGS + i);
        }
        lua_xmove(L, co, arguments + 1);
    } else if (task->reason) {
        lua_pushinteger(co, task->reason);
        arguments = 1;
    }
    return lua_resume(co, L, arguments, results);
}

/* The task has yielded `results` values. Its new coroutine is above it on the stack. */
static void suspend(lua_State *L, wgl_home *home, wgl_coroutine *task, int self, int results) {
    bool waits = results == 1 && lua_touserdata(task->co, -1) == &parked;
    lua_pop(task->co, results);
    if (!task->kept) {
        task->kept = true;
        lua_pushvalue(L, self + 1);
        set_value(L, task, self);
    }
    if (!waits) { /* a plain coroutine.yield lets others run */
        task->reason = 0;
        enqueue(L, home, self);
    }
}

/* Run the first in the queue until it ends or waits. */
static void run_one(lua_State *L, wgl_home *home) {
    lua_rawgeti(L, UP_QUEUE, home->head);
    int self = lua_gettop(L), results, status = LUA_OK;
    wgl_coroutine *task = lua_touserdata(L, self);
    bool start = !task->co;
    bool skip = start && task->kind == OF_GROUP && wgl_has_ended(task->owner);
    if (start && !skip) {
        if (task->kind == OF_GROUP && ((wgl_errgroup *)task->owner->object)->grace > 0) {
            push_extra(L, self);
            lua_pushinteger(L, wg_now());
            lua_setfield(L, -2, "started");
            lua_pop(L, 1);
        }
        lua_State *co = lua_newthread(L);
        if (task->count > LUA_MINSTACK / 2 && !(lua_checkstack(L, task->count) && lua_checkstack(co, task->count)))
            luaL_error(L, "not enough memory");
        task->co = co; /* nothing raises from here on, but for what the Lua half does at an end */
    }
    lua_pushnil(L);
    lua_rawseti(L, UP_QUEUE, home->head++);
    if (home->head > home->tail)
        home->head = 1, home->tail = 0;
    if (!skip) {
        wgl_coroutine *outer = home->current;
        lua_State *outer_L = home->current_L;
        int outer_index = home->current_index;
        home->current = task;
        home->current_L = L;
        home->current_index = self;
        status = resume(L, task, self, start, &results);
        if (status != LUA_OK && status != LUA_YIELD)
            close_failed(L, task->co);
        home->current = outer;
        home->current_L = outer_L;
        home->current_index = outer_index;
    }
    if (skip)
        never_start(L, home, task, self);
    else if (status == LUA_OK)
        succeed(L, home, task, self, task->co, results);
    else if (status == LUA_YIELD)
        suspend(L, home, task, self, results);
    else
        fail(L, home, task, self);
    lua_settop(L, self - 1);
}

/* run_ready(): runs what is ready now, not what becomes ready meanwhile, and only so many that timers and other threads
 * get their turn. */
static int run_ready(lua_State *L) {
    wgl_home *home = home_of(L);
    lua_Integer left = home->tail - home->head + 1;
    luaL_checkstack(L, 16, NULL);
    for (left = left < BATCH ? left : BATCH; left > 0 && home->head <= home->tail; left--)
        run_one(L, home);
    return 0;
}

/* wake(task, reason): puts it in the queue. */
static int wake(lua_State *L) {
    task_of(L)->reason = (uint8_t)lua_tointeger(L, 2);
    enqueue(L, home_of(L), 1);
    return 0;
}

/* kill(task, error): ends a waiting task. */
static int kill(lua_State *L) {
    wgl_coroutine *task = task_of(L);
    lua_settop(L, 2);
    luaL_traceback(L, task->co, NULL, 0);
    lua_insert(L, 2);
    if (lua_resetthread(task->co) != LUA_OK) {
        lua_xmove(task->co, L, 1);
        lua_replace(L, 3);
    }
    fail(L, home_of(L), task, 1);
    return 0;
}

/* --- waiting --- */

/* Whether L is the coroutine of the running task, and may be suspended here. */
static bool can_suspend(lua_State *L, const wgl_home *home) {
    return home->current && home->current->co == L && lua_isyieldable(L);
}

/* Push what a wait is for. */
static void push_wait(lua_State *L, int object, const char *moment, int context, int64_t deadline) {
    if (object)
        lua_pushvalue(L, object);
    else
        lua_pushnil(L);
    lua_pushstring(L, moment);
    if (context)
        lua_pushvalue(L, context);
    else
        lua_pushnil(L);
    lua_pushinteger(L, deadline);
}

/* Lua code that runs on the stack of a task makes it grow, and it stays so while the task sleeps: so this runs on a stack
 * of its own. */
static void enlist(lua_State *L, wgl_home *home, int object, const char *moment, int context, int64_t deadline) {
    lua_State *clerk = home->clerk;
    if (!lua_checkstack(clerk, 8))
        luaL_error(L, "not enough memory");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &enlist_key);
    lua_pushvalue(home->current_L, home->current_index);
    lua_xmove(home->current_L, L, 1);
    push_wait(L, object, moment, context, deadline);
    lua_xmove(L, clerk, 6);
    if (lua_pcall(clerk, 5, 0, 0) != LUA_OK) {
        lua_xmove(clerk, L, 1);
        lua_error(L);
    }
}

int wgl_wait(lua_State *L, int object, const char *moment, int context, int64_t deadline, bool no_yield,
             lua_KFunction k) {
    wgl_home *home = wgl_home_of(L);
    if (object && deadline == WG_POLL && home->current) { /* a task that looks does not let others run */
        lua_pushinteger(L, WGL_TIMED_OUT);
        return k(L, LUA_OK, 0);
    }
    if (!no_yield && can_suspend(L, home)) {
        enlist(L, home, object, moment, context, deadline);
        lua_pushlightuserdata(L, (void *)&parked);
        return lua_yieldk(L, 1, WGL_SUSPENDED, k);
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &wait_key);
    push_wait(L, object, moment, context, deadline);
    lua_pushboolean(L, no_yield);
    lua_callk(L, 5, 1, 0, k);
    return k(L, LUA_OK, 0);
}

/* Others may hold the coroutine of a task, and resume it. */
static void check_resumed(lua_State *L, lua_KContext how) {
    if (how == WGL_SUSPENDED && !can_suspend(L, wgl_home_of(L)))
        luaL_error(L, "this coroutine is that of a suspended waitgroup task: only what the task waits for resumes it");
}

wgl_reason wgl_woken(lua_State *L, lua_KContext how) {
    check_resumed(L, how);
    wgl_reason reason = (wgl_reason)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return reason;
}

static int finish_wait(lua_State *L, int status, lua_KContext how) {
    (void)status;
    lua_pushinteger(L, wgl_woken(L, how));
    return 1;
}

/* wait(object, moment, context, deadline) -> what woke it. The object and the context may be nil. */
static int wait(lua_State *L) {
    return wgl_wait(L, lua_isnil(L, 1) ? 0 : 1, lua_tostring(L, 2), lua_isnil(L, 3) ? 0 : 3, lua_tointeger(L, 4), false,
                    finish_wait);
}

/* How a sleep ends; the context of the running task, or nil, is on top. */
static int end_sleep(lua_State *L) {
    wg_context *ctx = wgl_opt_context(L, -1, 1);
    if (wg_context_check(ctx) != WG_OK)
        return wgl_push_ended(L, ctx);
    lua_pushboolean(L, true);
    return 1;
}

static int finish_sleep(lua_State *L, int status, lua_KContext how) {
    (void)status;
    wgl_woken(L, how);
    return end_sleep(L);
}

static int finish_yield(lua_State *L, int status, lua_KContext how) {
    (void)status;
    check_resumed(L, how);
    lua_settop(L, 0);
    wgl_push_context(L);
    return end_sleep(L);
}

/* yield(): lets others run. True, or nil and why: the context of the running task has ended. */
static int yield(lua_State *L) {
    if (can_suspend(L, wgl_home_of(L)))
        return lua_yieldk(L, 0, WGL_SUSPENDED, finish_yield);
    return wgl_wait(L, 0, NULL, 0, WG_POLL, true, finish_yield);
}

/* sleep(seconds): true, or nil and why. */
static int sleep_for(lua_State *L) {
    int64_t deadline = wgl_deadline(L, 1, 1, 1);
    lua_settop(L, 0);
    wgl_push_context(L);
    if (wg_context_check(wgl_opt_context(L, 1, 1)) != WG_OK)
        return end_sleep(L);
    if (deadline == WG_POLL)
        return yield(L);
    return wgl_wait(L, 0, NULL, lua_isnil(L, 1) ? 0 : 1, deadline, false, finish_sleep);
}

/* --- what the Lua half asks --- */

/* ready() -> whether a task can run */
static int ready(lua_State *L) {
    wgl_home *home = home_of(L);
    lua_pushboolean(L, home->head <= home->tail);
    return 1;
}

static int alive(lua_State *L) {
    lua_pushinteger(L, home_of(L)->alive);
    return 1;
}

/* await_all(yes): tell the Lua half when the last task ends. */
static int await_all(lua_State *L) {
    home_of(L)->awaited = lua_toboolean(L, 1);
    return 0;
}

/* current_task() -> the running task or nil */
static int current_task(lua_State *L) {
    wgl_home *home = home_of(L);
    if (!home->current)
        return 0;
    lua_pushvalue(home->current_L, home->current_index);
    if (home->current_L != L)
        lua_xmove(home->current_L, L, 1);
    return 1;
}

void wgl_push_context(lua_State *L) {
    const wgl_home *home = wgl_home_of(L);
    if (!home->current) {
        wgl_task *task = wgl_worker_task();
        if (task)
            wgl_push(L, &task->group->context->object);
        else
            lua_pushnil(L);
    } else if (home->current->kind == OF_GROUP)
        wgl_push(L, &((wgl_errgroup *)home->current->owner->object)->context->object);
    else {
        lua_pushvalue(home->current_L, home->current_index);
        if (home->current_L != L)
            lua_xmove(home->current_L, L, 1);
        push_extra(L, lua_gettop(L));
        lua_getfield(L, -1, "context");
        lua_replace(L, -3);
        lua_pop(L, 1);
    }
}

static int current_context(lua_State *L) {
    wgl_push_context(L);
    return 1;
}

bool wgl_in_task_of(lua_State *L, const wgl_object *group) {
    const wgl_coroutine *task = wgl_home_of(L)->current;
    return task && task->kind == OF_GROUP && task->owner->object == group;
}

/* extra(task, scoped) -> a table of the Lua half's own, after whose making it hears of the end */
static int extra(lua_State *L) {
    wgl_coroutine *task = task_of(L);
    task->heard = true;
    if (lua_toboolean(L, 2))
        task->scoped = true;
    push_extra(L, 1);
    return 1;
}

/* task_owner(task) -> its error group, or nil */
static int task_owner(lua_State *L) {
    if (task_of(L)->kind != OF_GROUP)
        return 0;
    lua_getiuservalue(L, 1, OWNER);
    return 1;
}

/* task_coroutine(task) -> of a suspended task */
static int task_coroutine(lua_State *L) {
    push_value(L, task_of(L), 1);
    return 1;
}

/* coroutine_result(task) of one that has ended: true, results; or nil, error, traceback */
static int result(lua_State *L) {
    wgl_coroutine *task = task_of(L);
    lua_settop(L, 1);
    if (task->state == STOPPED)
        return wgl_push_ended(L, ((wgl_errgroup *)task->owner->object)->context->ctx);
    if (task->state == FAILED) {
        lua_pushnil(L);
        push_value(L, task, 1);
        push_extra(L, 1);
        lua_getfield(L, -1, "traceback");
        lua_remove(L, -2);
        return 3;
    }
    lua_pushboolean(L, true);
    if (task->count == 0)
        return 1;
    push_value(L, task, 1);
    if (task->count == 1)
        return 2;
    luaL_checkstack(L, task->count, "too many results");
    for (int i = 1; i <= task->count; i++)
        lua_rawgeti(L, 3, i);
    lua_remove(L, 3);
    return 1 + task->count;
}

/* coroutine_running_for(task) -> nanoseconds since it began; nil if it does not run */
static int running_for(lua_State *L) {
    const wgl_coroutine *task = task_of(L);
    if (task->state != RUNNING)
        return 0;
    push_extra(L, 1);
    lua_getfield(L, -1, "started");
    lua_pushinteger(L, wg_now() - lua_tointeger(L, -1));
    return 1;
}

/* --- the methods of users --- */

static wgl_coroutine *check(lua_State *L) {
    wgl_coroutine *task = luaL_testudata(L, 1, "waitgroup.CoroutineTask");
    if (!task)
        luaL_typeerror(L, 1, wgl_type_name(WGL_TASK));
    return task;
}

static int finish_result(lua_State *L, int status, lua_KContext how) {
    (void)status;
    wgl_reason reason = wgl_woken(L, how);
    if (task_of(L)->state > RUNNING)
        return result(L);
    if (reason == WGL_TIMED_OUT)
        return wgl_push_timeout(L);
    return wgl_push_ended(L, wgl_opt_context(L, 2, 1));
}

/* task:result([timeout]) -> true, results; or nil and why */
static int wait_for_result(lua_State *L) {
    const wgl_coroutine *task = check(L);
    int64_t deadline = wgl_deadline(L, 2, 2, 1);
    wgl_home *home = wgl_home_of(L);
    if (home->current == task)
        return luaL_error(L, "deadlock: a task waits for its own result");
    if (task->state > RUNNING)
        return result(L);
    lua_settop(L, 1);
    wgl_push_context(L);
    return wgl_wait(L, 1, "result", lua_isnil(L, 2) ? 0 : 2, deadline, false, finish_result);
}

static void push_name(lua_State *L, int self) {
    lua_Debug ar;
    if (lua_getiuservalue(L, self, FN) != LUA_TFUNCTION) {
        lua_pushliteral(L, "?");
        return;
    }
    lua_getinfo(L, ">S", &ar);
    if (ar.linedefined > 0)
        lua_pushfstring(L, "%s:%d", ar.short_src, ar.linedefined);
    else
        lua_pushstring(L, ar.short_src);
}

static int name(lua_State *L) {
    check(L);
    push_name(L, 1);
    return 1;
}

static int done(lua_State *L) {
    lua_pushboolean(L, check(L)->state > RUNNING);
    return 1;
}

static int cancelled(lua_State *L) {
    lua_pushboolean(L, check(L)->state == STOPPED);
    return 1;
}

static int tostring(lua_State *L) {
    static const char *const states[] = {"waiting", "running", "ended", "failed", "cancelled"};
    const wgl_coroutine *task = check(L);
    push_name(L, 1);
    lua_pushfstring(L, "waitgroup.Task %s (%s)", lua_tostring(L, -1), states[task->state]);
    return 1;
}

static const luaL_Reg methods[] = {
    {"result", wait_for_result}, {"name", name}, {"done", done}, {"cancelled", cancelled}, {NULL, NULL}};

/* Those that need the home, the queue and the type as upvalues. */
static const luaL_Reg functions[] = {{"spawn", spawn},
                                     {"go_room", go_room},
                                     {"wait", wait},
                                     {"sleep_for", sleep_for},
                                     {"yield", yield},
                                     {"run_ready", run_ready},
                                     {"wake", wake},
                                     {"kill", kill},
                                     {"ready", ready},
                                     {"alive", alive},
                                     {"await_all", await_all},
                                     {"current_task", current_task},
                                     {"current_context", current_context},
                                     {"extra", extra},
                                     {"task_owner", task_owner},
                                     {"task_coroutine", task_coroutine},
                                     {"coroutine_result", result},
                                     {"coroutine_running_for", running_for},
                                     {NULL, NULL}};
static const luaL_Reg group_methods[] = {{"go", group_go}, {"try_go", group_try_go}, {NULL, NULL}};
static const luaL_Reg waitgroup_methods[] = {{"go", waitgroup_go}, {NULL, NULL}};

/* set_hooks(started, ended, go, report) */
static int set_hooks(lua_State *L) {
    lua_settop(L, 4);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &report_key);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &go_key);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &end_key);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &start_key);
    return 0;
}

/* set_waits(enlist, wait_here) */
static int set_waits(lua_State *L) {
    lua_settop(L, 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &wait_key);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &enlist_key);
    return 0;
}

static void push_upvalues(lua_State *L, int queue) {
    wgl_push_home(L);
    lua_pushvalue(L, queue);
    luaL_getmetatable(L, "waitgroup.CoroutineTask");
}

void wgl_open_coroutines(lua_State *L) {
    static const char queue_key, clerk_key;
    int core = lua_gettop(L), queue = core + 1;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &queue_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, queue);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &queue_key);
        luaL_newmetatable(L, "waitgroup.CoroutineTask");
        lua_pushstring(L, wgl_type_name(WGL_TASK));
        lua_setfield(L, -2, "__name");
        lua_pushcfunction(L, tostring);
        lua_setfield(L, -2, "__tostring");
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
        lua_pop(L, 1);
        wgl_home_of(L)->clerk = lua_newthread(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &clerk_key);
    }
    lua_pushvalue(L, core);
    push_upvalues(L, queue);
    luaL_setfuncs(L, functions, 3);
    luaL_getmetatable(L, wgl_type_name(WGL_ERRGROUP));
    lua_getfield(L, -1, "__index");
    push_upvalues(L, queue);
    luaL_setfuncs(L, group_methods, 3);
    luaL_getmetatable(L, wgl_type_name(WGL_WAITGROUP));
    lua_getfield(L, -1, "__index");
    push_upvalues(L, queue);
    luaL_setfuncs(L, waitgroup_methods, 3);
    luaL_getmetatable(L, "waitgroup.CoroutineTask");
    lua_setfield(L, core, "CoroutineTask");
    lua_pushcfunction(L, set_hooks);
    lua_setfield(L, core, "set_hooks");
    lua_pushcfunction(L, set_waits);
    lua_setfield(L, core, "set_waits");
    lua_settop(L, core);
}
