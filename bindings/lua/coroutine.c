/* coroutine.c - tasks that are coroutines of this state: they are made, run, suspended and ended here. What wakes them is
 * in loop.c, what runs them in runner.c.
 *
 * A task is a userdata with user values:
 *   FN       the function, also for its name
 *   VALUE    its coroutine, once that has yielded; then its result, a table of its results, or its error
 *   OWNER    the handle of its error group or wait group, or nil; when it has failed, its traceback
 *   CONTEXT  of a task of no error group: the handle of its context, or nil
 *   and the arguments until it starts
 * A million tasks may wait to start, and the collector passes by all of them again and again: so they are small.
 *
 * In a group with a backlog a task may be queued ahead of the slots: it is not counted by the core, and has a waiter for a
 * slot, which the core hands over to it. As long as something waits for a slot the count does not come to zero.
 *
 * A table holds all tasks that have not ended, by their slots. The function of a task is called by `body`, under lua_pcallk:
 * so its variables are closed in the coroutine, where that may yield, and the task ends there, whatever resumed it. A
 * coroutine is never used for a second task: something may hold it. */
#include <stdio.h>
#include <string.h>

#include "loop.h"
#include "task.h"

enum { FN = 1, VALUE, OWNER, CONTEXT };
#define ARGUMENTS_MAX 250

/* The stack of `body`; its upvalues are the home, as light userdata, and the table of tasks. */
enum { TASK = 1, TRACEBACK, HANDLER, FUNCTION };
enum { UP_BODY_HOME = lua_upvalueindex(1), UP_BODY_TASKS = lua_upvalueindex(2) };

/* Of what starts tasks: the home, the metatable of tasks, their table, and the metatable of what the tasks are started in. */
enum {
    UP_HOME = lua_upvalueindex(1),
    UP_TYPE = lua_upvalueindex(2),
    UP_TASKS = lua_upvalueindex(3),
    UP_OWNER_TYPE = lua_upvalueindex(4)
};

static const char tasks_key;    /* registry: the table of tasks */
static const char body_key;     /* registry: the closure `body` */
static const char names_key;    /* registry: the names that were given, by task, in a weak table */
static const char deadlock_key; /* registry: the report of the last deadlock */

static wgl_coroutine *task_at(lua_State *L, int index) { return lua_touserdata(L, index); }

static int first_argument(const wgl_coroutine *task) { return task->of == WGL_OF_GROUP ? CONTEXT : CONTEXT + 1; }

/* --- the table of tasks: a free slot has the number of the next free one --- */

/* Give the task on top a slot in the table at `tasks`. May raise. */
static void take_slot(lua_State *L, wgl_home *home, int tasks) {
    wgl_coroutine *task = lua_touserdata(L, -1);
    int slot = home->free_slot, next = 0;
    if (slot != 0) {
        lua_rawgeti(L, tasks, slot);
        next = (int)lua_tointeger(L, -1);
        lua_pop(L, 1);
    } else
        slot = home->slots + 1;
    lua_pushvalue(L, -1);
    lua_rawseti(L, tasks, slot);
    if (slot > home->slots)
        home->slots = slot;
    home->free_slot = next;
    task->slot = slot;
}

/* Needs no memory. `tasks`: the index of the table, not relative to the top. */
static void give_slot_in(lua_State *L, wgl_home *home, wgl_coroutine *task, int tasks) {
    lua_pushinteger(L, home->free_slot);
    lua_rawseti(L, tasks, task->slot);
    home->free_slot = task->slot;
    task->slot = 0;
}

static void give_slot(lua_State *L, wgl_home *home, wgl_coroutine *task) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &tasks_key);
    give_slot_in(L, home, task, lua_gettop(L));
    lua_pop(L, 1);
}

void wgl_coroutine_push_all(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &tasks_key); }
void wgl_coroutine_push_body(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &body_key); }

void wgl_coroutine_push(lua_State *L, const wgl_coroutine *task) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &tasks_key);
    lua_rawgeti(L, -1, task->slot);
    lua_remove(L, -2);
}

wgl_coroutine *wgl_coroutine_of_results(wgl_link **list) {
    return (wgl_coroutine *)(void *)((char *)list - offsetof(wgl_coroutine, results));
}

/* --- which task runs, and its context --- */

wgl_coroutine *wgl_running(lua_State *L, wgl_home *home) {
    if (home->foreign_tasks > 0 && !(home->current && home->current->co == L)) {
        wgl_coroutine *task = wgl_foreign_task(L);
        if (task)
            return task;
    }
    return home->current;
}

wgl_handle *wgl_coroutine_context(lua_State *L, wgl_coroutine *task) {
    if (task->of == WGL_OF_GROUP)
        return task->owner;
    wgl_coroutine_push(L, task);
    lua_getiuservalue(L, -1, CONTEXT);
    wgl_handle *handle = lua_touserdata(L, -1);
    lua_pop(L, 2);
    return handle;
}

wg_context *wgl_task_context(lua_State *L, wgl_coroutine *task) {
    return wgl_context_of(wgl_coroutine_context(L, task));
}

wg_context *wgl_context_of(const wgl_handle *handle) {
    if (!handle || !handle->object)
        return wg_context_root();
    return handle->object->kind == WGL_ERRGROUP ? ((wgl_errgroup *)handle->object)->context->ctx
                                                : ((wgl_context *)handle->object)->ctx;
}

wg_context *wgl_running_context(lua_State *L) {
    wgl_coroutine *task = wgl_running(L, wgl_home_of(L));
    if (task)
        return wgl_context_of(wgl_coroutine_context(L, task));
    wg_context *thread = wg_context_current(); /* of a thread task, or of a task of another language */
    return thread ? thread : wg_context_root();
}

/* That of a task of another language, in which this state runs. */
static void push_foreign_context(lua_State *L, wg_context *ctx) {
    wgl_handle *handle = wgl_push_empty(L, WGL_CONTEXT);
    wgl_object *object = wgl_context_for(ctx);
    if (!object)
        luaL_error(L, "not enough memory");
    wgl_adopt(L, handle, object);
}

wgl_handle *wgl_push_thread_context(lua_State *L) {
    wgl_task *task = wgl_worker_task();
    wg_context *current = wg_context_current();
    if (task && task->group->context->ctx == current)
        wgl_push(L, &task->group->context->object);
    else if (current)
        push_foreign_context(L, current);
    else
        lua_pushnil(L);
    return lua_touserdata(L, -1);
}

void wgl_push_context(lua_State *L) {
    wgl_coroutine *task = wgl_running(L, wgl_home_of(L));
    if (!task) {
        wgl_push_thread_context(L);
        return;
    }
    wgl_coroutine_push(L, task);
    lua_getiuservalue(L, -1, task->of == WGL_OF_GROUP ? OWNER : CONTEXT);
    lua_remove(L, -2);
    if (task->of == WGL_OF_GROUP)
        wgl_push_group_context(L, lua_gettop(L));
    if (task->of == WGL_OF_GROUP)
        lua_remove(L, -2);
}

bool wgl_in_task_of(lua_State *L, const wgl_object *group) {
    const wgl_coroutine *task = wgl_running(L, wgl_home_of(L));
    return task && task->of == WGL_OF_GROUP && task->owner->object == group;
}

/* --- making --- */

/* Push a new task, of the function at `fn` and all above it. `owner`, `context`: indices, or 0. It is in no group and no
 * queue before `launch`. May raise. */
static wgl_coroutine *prepare(lua_State *L, wgl_home *home, wgl_task_of of, int owner, int context, int fn) {
    int self = lua_gettop(L) + 1, count = self - 1 - fn;
    if (count > ARGUMENTS_MAX)
        luaL_error(L, "%d arguments are more than the %d that a task can take: use a table", count, ARGUMENTS_MAX);
    wgl_runner_reserve(L, home);
    wgl_coroutine *task = lua_newuserdatauv(L, sizeof *task, (of == WGL_OF_GROUP ? OWNER : CONTEXT) + count);
    *task = (wgl_coroutine){.runnable.is_task = true, .of = of, .count = count};
    lua_pushvalue(L, UP_TYPE);
    lua_setmetatable(L, self);
    lua_pushvalue(L, fn);
    lua_setiuservalue(L, self, FN);
    if (owner) {
        task->owner = lua_touserdata(L, owner);
        lua_pushvalue(L, owner);
        lua_setiuservalue(L, self, OWNER);
    }
    if (context) {
        lua_pushvalue(L, context);
        lua_setiuservalue(L, self, CONTEXT);
    }
    for (int i = 0; i < count; i++) {
        lua_pushvalue(L, fn + 1 + i);
        lua_setiuservalue(L, self, first_argument(task) + i);
    }
    return task;
}

/* The task on top is called so from now on. May raise. */
static void set_name(lua_State *L, const char *name) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &names_key);
    lua_pushvalue(L, -2);
    lua_pushstring(L, name);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    task_at(L, -1)->named = true;
}

static void enter_scope(wgl_coroutine *task, wgl_coroutine *scope) {
    task->scope = scope;
    if (scope)
        scope->members++;
}

/* It is one of those that have not ended; another event loop is to run them. */
static void count_in(lua_State *L, wgl_home *home, wgl_coroutine *task) {
    home->alive++;
    task->taken = wg_trace_on() ? wg_now() : 0;
    if (home->foreign_in_use && !home->runner)
        wgl_foreign_serve(L, home);
}

/* The task has its slot in the table, and its place in its group if it is in one. */
static void launch(lua_State *L, wgl_home *home, wgl_coroutine *task) {
    wgl_enqueue(home, &task->runnable);
    count_in(L, home, task);
}

static wgl_coroutine *current_scope(lua_State *L, wgl_home *home) {
    wgl_coroutine *running = wgl_running(L, home);
    return running ? running->scope : NULL;
}

static void check_callable(lua_State *L, int arg) {
    if (lua_isfunction(L, arg))
        return;
    if (luaL_getmetafield(L, arg, "__call") == LUA_TNIL)
        wgl_argerror(L, 1, arg, lua_pushfstring(L, "function expected, got %s", wgl_push_type_name(L, arg)));
    lua_pop(L, 1);
}

static int anchor(lua_State *L) {
    wgl_coroutine_push_all(L);
    lua_insert(L, 1);
    take_slot(L, wgl_home_of(L), 1);
    return 0;
}

/* The task on top has been taken by the group at 1. */
static int started(lua_State *L) {
    wgl_tell_follower(L, true);
    return 1;
}

/* The task at 2 of the group at 1 has waited for its slot. */
static int finish_go(lua_State *L, int status, lua_KContext how) {
    wgl_home *home = wgl_home_of(L);
    wgl_coroutine *task = task_at(L, 2);
    if (wgl_woken(L, status, how) != WGL_READY)
        return wgl_push_ended(L, wgl_running_context(L));
    wg_status outcome = home->slot;
    if (outcome == WG_OK) {
        lua_pushcfunction(L, anchor);
        lua_pushvalue(L, 2);
        if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
            wg_errgroup_give_slot(((wgl_errgroup *)task->owner->object)->group);
            return lua_error(L);
        }
        outcome = wgl_enter_slot(task->owner);
    }
    if (outcome == WG_OK) {
        enter_scope(task, current_scope(L, home));
        launch(L, home, task);
        return started(L);
    }
    if (task->slot)
        give_slot(L, home, task);
    return wgl_push_refusal(L, outcome, 1);
}

/* Whether the group has room for one more task ahead of its slots, and takes coroutines there. */
static bool has_room_ahead(const wgl_handle *handle) {
    const wgl_errgroup *group = (wgl_errgroup *)handle->object;
    if (group->backlog == 0)
        return false;
    int beyond = wg_count(wg_errgroup_tasks(group->group)) - wg_errgroup_limit(group->group);
    return (int)handle->ahead + (beyond > 0 ? beyond : 0) < group->backlog;
}

/* The task on top, which has its slot in the table, stands ahead of the slots of its group. May raise. */
static void stand_ahead(lua_State *L, wgl_home *home, wgl_coroutine *task) {
    const wgl_wish wish = {.event = WGL_AT_SLOT, .subject = task->owner, .deadline = WG_FOREVER};
    if (!wgl_task_stand(home, task, &wish)) {
        give_slot(L, home, task);
        luaL_error(L, "not enough memory");
    }
    task->ahead = true;
    task->owner->ahead++;
    enter_scope(task, current_scope(L, home));
    count_in(L, home, task);
}

/* If there is a place, or none of those ahead is left to leave one, or none will ever be, the first that waits for a place
 * goes on, and sees to the next. */
static void hand_on_place(wgl_home *home, wgl_handle *handle) {
    if (handle->places && (has_room_ahead(handle) || handle->ahead == 0 || wgl_has_ended(handle)))
        wgl_wake_first(home, &handle->places);
}

static int wait_for_place(lua_State *L, wgl_handle *handle);

/* enter(task at 2): start it, or stand ahead, if there is room; else false, and why is home->slot. May raise. */
static int come_in(lua_State *L) {
    wgl_home *home = wgl_home_of(L);
    wgl_coroutine *task = task_at(L, 2);
    wgl_coroutine_push_all(L);
    lua_pushvalue(L, 2);
    take_slot(L, home, 3);
    home->slot = wgl_enter(task->owner);
    if (home->slot == WG_OK) {
        enter_scope(task, current_scope(L, home));
        launch(L, home, task);
    } else if (home->slot == WG_LIMIT && has_room_ahead(task->owner)) {
        home->slot = WG_OK;
        stand_ahead(L, home, task);
    } else
        give_slot(L, home, task);
    return 0;
}

/* The task at 2 of the group at 1 has waited for a place ahead of the slots. */
static int finish_place(lua_State *L, int status, lua_KContext how) {
    wgl_home *home = wgl_home_of(L);
    wgl_handle *handle = lua_touserdata(L, 1);
    if (wgl_woken(L, status, how) != WGL_READY)
        return wgl_push_ended(L, wgl_running_context(L));
    lua_pushcfunction(L, come_in);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    bool failed = lua_pcall(L, 2, 0, 0) != LUA_OK;
    wg_status outcome = home->slot;
    hand_on_place(home, handle);
    if (failed)
        return lua_error(L);
    if (outcome == WG_LIMIT)
        return wait_for_place(L, handle);
    return outcome == WG_OK ? started(L) : wgl_push_refusal(L, outcome, 1);
}

/* Those ahead of the slots leave a place when they come to one. */
static int wait_for_place(lua_State *L, wgl_handle *handle) {
    if (handle->ahead == 0)
        return wgl_wait_for_slot(L, finish_go);
    return wgl_wait(
        L,
        &(wgl_wish){
            .event = WGL_AT_PLACE, .subject = handle, .list = &handle->places, .own = true, .deadline = WG_FOREVER},
        finish_place);
}

/* `name`: of the task, or NULL. Errors are at `level`. */
static int go(lua_State *L, bool wait, const char *name, int level) {
    wgl_home *home = wgl_home_in(L, lua_touserdata(L, UP_HOME));
    if (!wgl_is_open(L, 1, UP_OWNER_TYPE))
        wgl_check_handle(L, 1, WGL_ERRGROUP, level);
    check_callable(L, 2);
    wgl_coroutine *task = prepare(L, home, WGL_OF_GROUP, 1, 0, 2);
    if (name)
        set_name(L, name);
    take_slot(L, home, UP_TASKS);
    wg_status status = wgl_enter(task->owner);
    if (status == WG_OK) {
        enter_scope(task, current_scope(L, home));
        launch(L, home, task);
        return started(L);
    }
    if (status == WG_LIMIT && wait && !task->owner->places && has_room_ahead(task->owner)) {
        stand_ahead(L, home, task);
        return started(L);
    }
    give_slot(L, home, task);
    if (status != WG_LIMIT || !wait)
        return wgl_push_refusal(L, status, level);
    wgl_handle *handle = task->owner;
    lua_replace(L, 2); /* the task has the function and its arguments */
    lua_settop(L, 2);
    return wait_for_place(L, handle);
}

static int group_go(lua_State *L) { return go(L, true, NULL, 1); }
static int group_try_go(lua_State *L) { return go(L, false, NULL, 1); }

/* start_go(group, name, whether to wait, function, arguments...): errors are those of the Lua function that called. */
static int start_go(lua_State *L) {
    bool wait = lua_toboolean(L, 3);
    return go(L, wait, wgl_take_name(L, UP_HOME), 2);
}

/* wg:go(fn, ...): its task has the context of whatever starts it. */
static int waitgroup_go(lua_State *L) {
    wgl_home *home = wgl_home_in(L, lua_touserdata(L, UP_HOME));
    wgl_handle *handle = wgl_check_handle(L, 1, WGL_WAITGROUP, 1);
    check_callable(L, 2);
    wgl_push_context(L);
    lua_insert(L, 2);
    wgl_coroutine *task = prepare(L, home, WGL_OF_WAITGROUP, 1, 2, 3);
    take_slot(L, home, UP_TASKS);
    wg_status status = wg_add(((wgl_waitgroup *)handle->object)->wg, 1);
    if (status != WG_OK) {
        give_slot(L, home, task);
        return wgl_waitgroup_refuse(L, (wgl_waitgroup *)handle->object, 1, "go", status, 1);
    }
    handle->tasks++;
    enter_scope(task, current_scope(L, home));
    launch(L, home, task);
    return 0;
}

/* --- ending --- */

void wgl_scope_leave(lua_State *L, wgl_home *home, wgl_coroutine *scope) {
    if (--scope->members > 0)
        return;
    wgl_wake_list(home, &scope->results, WGL_READY);
    if (!scope->stale)
        give_slot(L, home, scope);
}

/* --- the timeline; none of this can raise --- */

/* The task at `self` has run since `since`. */
static void trace_part(lua_State *L, int self, int64_t since) {
    char name[LUA_IDSIZE + 12];
    lua_pushvalue(L, self);
    wgl_coroutine_name(L, name, sizeof name);
    wg_trace_part(name, since);
}

static wg_how how_of(const wgl_coroutine *task) {
    return task->state == WGL_TASK_OK       ? WG_SUCCEEDED
           : task->state == WGL_TASK_FAILED ? WG_TASK_FAILED
                                            : WG_TASK_STOPPED;
}

/* The task at `self`, which is traced, has ended; its error is at `error`, or that is 0. */
static void trace_end(lua_State *L, int self, int error) {
    const wgl_coroutine *task = lua_touserdata(L, self);
    char name[LUA_IDSIZE + 12];
    const char *text =
        error && lua_type(L, error) == LUA_TSTRING ? lua_tostring(L, error) : "an error that is no string";
    wg_error *told = error ? wg_errorf("%s", text) : NULL;
    lua_pushvalue(L, self);
    wgl_coroutine_name(L, name, sizeof name);
    wg_trace_task(task->of == WGL_OF_GROUP ? ((wgl_errgroup *)task->owner->object)->group : NULL, name, task->taken,
                  task->started, how_of(task), told);
    wg_error_release(told);
}

/* It ends, and nothing follows it: as_completed cannot find it any more. */
static void count_missed(wgl_coroutine *task) { task->owner->missed += !task->owner->followed; }

static void leave_owner(wgl_coroutine *task) {
    if (task->of == WGL_OF_GROUP) {
        count_missed(task);
        wgl_leave(task->owner, NULL);
    } else if (task->of == WGL_OF_WAITGROUP) {
        task->owner->tasks--;
        wg_done(((wgl_waitgroup *)task->owner->object)->wg);
    }
}

/* It has its outcome, and has left its owner. The task is on some stack, or it would be gone. Needs no memory. `tasks`: the
 * index of their table, not relative to the top. */
static void end_in(lua_State *L, wgl_home *home, wgl_coroutine *task, int tasks) {
    home->alive--;
    if (home->current == task)
        home->current = NULL;
    if (task->foreign)
        wgl_foreign_leave(L, home, task);
    task->stale = task->parked && !wgl_coroutine_sleeps(task);
    if (wgl_coroutine_sleeps(task)) /* something else has resumed its coroutine */
        wgl_waiter_leave(home, task->waiter);
    wgl_task_waiter_drop(home, task);
    if (task->of != WGL_OF_RUN) {
        wgl_wake_list(home, &task->results, WGL_READY);
        if (!task->stale)
            give_slot_in(L, home, task, tasks);
    }
    if (task->scope)
        wgl_scope_leave(L, home, task->scope);
    if (home->alive == 0)
        wgl_wake_list(home, &home->all_ended, WGL_READY);
    if (!home->runner)
        wgl_foreign_rearm(home);
}

static void end(lua_State *L, wgl_home *home, wgl_coroutine *task) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &tasks_key);
    end_in(L, home, task, lua_gettop(L));
    lua_pop(L, 1);
}

/* The results are from `first` to the top. May raise before anything is changed. */
static void succeed(lua_State *L, wgl_home *home, wgl_coroutine *task, int first) {
    int count = lua_gettop(L) - first + 1;
    if (count > 1) {
        lua_createtable(L, count, 0);
        lua_insert(L, first);
        for (int i = count; i > 0; i--)
            lua_rawseti(L, first, i);
    } else if (count == 0 && task->kept)
        lua_pushnil(L);
    if (count > 0 || task->kept)
        lua_setiuservalue(L, TASK, VALUE);
    task->count = count;
    task->state = WGL_TASK_OK;
    if (task->taken)
        trace_end(L, TASK, 0);
    leave_owner(task);
    end_in(L, home, task, UP_BODY_TASKS);
}

/* The task at `self` failed with the error at `value`; its traceback is at `traceback`, or that is 0. */
static void fail(lua_State *L, wgl_home *home, int self, int value, int traceback) {
    wgl_coroutine *task = lua_touserdata(L, self);
    task->state = WGL_TASK_FAILED;
    if (task->of == WGL_OF_GROUP)
        count_missed(task);
    if (task->of == WGL_OF_GROUP && wgl_fail(L, task->owner, value, traceback))
        task->state = WGL_TASK_STOPPED;
    else if (task->of != WGL_OF_GROUP)
        leave_owner(task);
    wgl_name_no_error(L, value);
    lua_pushvalue(L, value);
    lua_setiuservalue(L, self, VALUE);
    if (task->state == WGL_TASK_FAILED) {
        if (traceback)
            lua_pushvalue(L, traceback);
        else
            lua_pushnil(L);
        lua_setiuservalue(L, self, OWNER);
    }
    if (task->taken && task->started)
        trace_end(L, self, value);
    end(L, home, task);
    if (task->of == WGL_OF_WAITGROUP)
        wgl_report(L, value, traceback);
}

/* --- running --- */

/* The level of `body` on L, the outermost. */
static void find_body(lua_State *L, lua_Debug *ar) {
    int low = 0, high = 1;
    while (lua_getstack(L, high, ar))
        low = high, high *= 2;
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        *(lua_getstack(L, middle, ar) ? &low : &high) = middle;
    }
    lua_getstack(L, low, ar);
}

/* Called where an error is raised in the coroutine of a task: leaves a traceback with `body`. The error stays what it is. */
static int on_error(lua_State *L) {
    lua_Debug ar;
    luaL_traceback(L, L, NULL, 1);
    size_t length;
    const char *text = lua_tolstring(L, -1, &length), *last = strrchr(text, '\n');
    lua_pushlstring(L, text, last ? (size_t)(last - text) : length); /* without the line of `body` */
    find_body(L, &ar);
    lua_setlocal(L, &ar, TRACEBACK);
    lua_settop(L, 1);
    return 1;
}

static int finish_body(lua_State *L, int status, lua_KContext unused) {
    (void)unused;
    wgl_home *home = lua_touserdata(L, UP_BODY_HOME);
    if (status == LUA_OK || status == LUA_YIELD) {
        succeed(L, home, task_at(L, TASK), FUNCTION);
        return 0;
    }
    bool misused = task_at(L, TASK)->parked; /* other code has resumed it, and gets the error too */
    fail(L, home, TASK, lua_gettop(L), lua_isstring(L, TRACEBACK) ? TRACEBACK : 0);
    return misused ? lua_error(L) : 0;
}

static int body(lua_State *L) {
    return finish_body(L, lua_pcallk(L, lua_gettop(L) - FUNCTION, LUA_MULTRET, HANDLER, 0, finish_body), 0);
}

/* Push the coroutine of the task at `self`, made with all that `body` is called with. May raise. */
static lua_State *push_coroutine(lua_State *L, wgl_home *home, wgl_coroutine *task, int self) {
    int count = task->count;
    lua_State *co = lua_newthread(L);
    if (count + FUNCTION + 4 > LUA_MINSTACK) { /* else both have room */
        luaL_checkstack(L, count + 8, NULL);
        if (!lua_checkstack(co, count + FUNCTION + 1))
            luaL_error(L, "not enough memory");
    }
    if (lua_gethookmask(home->driver)) /* as it would be in a coroutine made there */
        lua_sethook(co, lua_gethook(home->driver), lua_gethookmask(home->driver), lua_gethookcount(home->driver));
    lua_pushvalue(L, WGL_BODY);
    lua_pushvalue(L, self);
    lua_pushnil(L);
    lua_pushcfunction(L, on_error);
    lua_getiuservalue(L, self, FN);
    for (int i = 0; i < count; i++) {
        lua_getiuservalue(L, self, first_argument(task) + i);
        lua_pushnil(L);
        lua_setiuservalue(L, self, first_argument(task) + i);
    }
    lua_xmove(L, co, FUNCTION + 1 + count);
    return co;
}

/* It is not ahead of the slots any more. */
static void leave_place(wgl_home *home, wgl_coroutine *task) {
    task->ahead = false;
    task->owner->ahead--;
    hand_on_place(home, task->owner);
}

static void never_start(lua_State *L, wgl_home *home, wgl_coroutine *task) {
    task->state = WGL_TASK_STOPPED;
    if (task->ahead) {
        count_missed(task);
        leave_place(home, task);
        task->owner->dropped++;
    } else
        leave_owner(task);
    end(L, home, task);
}

/* A task that stood ahead of the slots has been woken: it has a slot, or its group has ended. */
static bool come_to_slot(wgl_home *home, wgl_coroutine *task) {
    wgl_waiter_take(home, task->waiter);
    wgl_task_waiter_drop(home, task);
    if (home->slot != WG_OK || wgl_enter_slot(task->owner) != WG_OK)
        return false;
    leave_place(home, task);
    return true;
}

/* The coroutine of the task at `self` cannot go on: its error is on top of it, or it was closed. */
static void fail_broken(lua_State *L, wgl_home *home, wgl_coroutine *task, int self, bool closed) {
    if (closed)
        lua_pushliteral(L, "somebody else closed the coroutine of this task");
    else
        lua_xmove(task->co, L, 1);
    fail(L, home, self, lua_gettop(L), 0);
}

/* From here on the thread runs code of the task. */
static void enter_task(lua_State *L, wg_scope *scope, wgl_coroutine *task) {
    wg_waiting_task self = {.arg = task, .context = wgl_task_context(L, task)};
    if (task->of == WGL_OF_GROUP)
        self.group = ((wgl_errgroup *)task->owner->object)->group;
    else if (task->of == WGL_OF_WAITGROUP)
        self.wg = ((wgl_waitgroup *)task->owner->object)->wg;
    wg_scope_enter_task(scope, &self);
}

/* The coroutine of the task at `self`, above it, has yielded: it is needed again. */
static void keep_coroutine(lua_State *L, wgl_coroutine *task, int self) {
    lua_pushvalue(L, self + 1);
    lua_setiuservalue(L, self, VALUE);
    task->kept = true;
}

/* A task that starts has its coroutine above it, at `self`. */
static void resume(lua_State *L, wgl_home *home, wgl_coroutine *task, int self, int arguments) {
    int results;
    wg_scope scope; /* for code of other languages that the task calls */
    wgl_take_place(home, task->co);
    task->parked = false;
    task->woken = true;
    home->current = task;
    home->scope = &scope;
    enter_task(L, &scope, task);
    int64_t since = task->taken ? wg_now() : 0;
    int status = lua_resume(task->co, L, arguments, &results);
    wg_scope_leave(&scope);
    home->scope = NULL;
    home->current = NULL;
    if (status == LUA_YIELD && !task->kept)
        keep_coroutine(L, task, self);
    if (since)
        trace_part(L, self, since);
    if (status == LUA_YIELD && !task->parked)
        wgl_foreign_yield(L, home, task, self, results);
    else if (status != LUA_OK && status != LUA_YIELD && task->state <= WGL_RUNNING)
        fail_broken(L, home, task, self, false);
}

bool wgl_coroutine_never_starts(const wgl_coroutine *task) {
    return !task->co && task->state == WGL_WAITING && task->of == WGL_OF_GROUP && wgl_has_ended(task->owner);
}

void wgl_coroutine_skip(lua_State *L, wgl_home *home, wgl_coroutine *task) {
    wgl_coroutine_push(L, task); /* so that it stays */
    never_start(L, home, task);
    lua_pop(L, 1);
}

void wgl_coroutine_run(lua_State *L, wgl_home *home, wgl_coroutine *task) {
    lua_rawgeti(L, WGL_TASKS, task->slot);
    int self = lua_gettop(L), arguments = 0;
    if (task->state > WGL_RUNNING) { /* it ended while it stood in the queue */
        task->stale = false;
        if (task->members == 0)
            give_slot(L, home, task);
        return;
    }
    if (!task->co) {
        if (wgl_coroutine_never_starts(task) || (task->ahead && !come_to_slot(home, task))) {
            never_start(L, home, task);
            return;
        }
        home->starting = task;
        task->co = push_coroutine(L, home, task, self);
        home->starting = NULL;
        arguments = FUNCTION + task->count;
        task->state = WGL_RUNNING;
        if (task->taken || (task->of == WGL_OF_GROUP && ((wgl_errgroup *)task->owner->object)->grace > 0))
            task->started = wg_now();
    } else if (lua_status(task->co) != LUA_YIELD) {
        fail_broken(L, home, task, self, true);
        return;
    } else
        arguments = task->count;
    task->count = 0;
    resume(L, home, task, self, arguments);
}

/* The error is on top, above nothing. */
static void end_with_error(lua_State *L, wgl_home *home, const wgl_coroutine *task) {
    wgl_coroutine_push(L, task);
    fail(L, home, 2, 1, 0);
}

void wgl_coroutine_not_started(lua_State *L, wgl_home *home) {
    const wgl_coroutine *task = home->starting;
    home->starting = NULL;
    if (task)
        end_with_error(L, home, task);
}

static int close_coroutine(lua_State *co, lua_State *from) {
#if LUA_VERSION_RELEASE_NUM >= 50406
    return lua_closethread(co, from);
#elif LUA_VERSION_RELEASE_NUM == 50405
    return lua_resetthread(co, from);
#else
    (void)from;
    return lua_resetthread(co);
#endif
}

void wgl_coroutine_give_up(lua_State *L, wgl_home *home, wgl_coroutine *task) {
    task->parked = false;
    if (task->state > WGL_RUNNING)
        return;
    if (task->ahead && !come_to_slot(home, task)) {
        lua_settop(L, 0);
        wgl_coroutine_skip(L, home, task);
        return;
    }
    if (task->co)
        close_coroutine(task->co, L);
    end_with_error(L, home, task);
}

/* End the task at `self`, which sleeps. */
static void kill_sleeper(lua_State *L, wgl_home *home, int self) {
    wgl_coroutine *task = task_at(L, self);
    wgl_waiter_leave(home, task->waiter);
    wgl_task_waiter_drop(home, task);
    task->parked = false;
    luaL_traceback(L, task->co, NULL, 0);
    if (close_coroutine(task->co, L) == LUA_OK)
        lua_pushliteral(L, "this task can never run again");
    else
        lua_xmove(task->co, L, 1);
    fail(L, home, self, lua_gettop(L), lua_gettop(L) - 1);
}

void wgl_coroutines_kill_sleepers(lua_State *L, wgl_home *home) {
    wgl_coroutine_push_all(L);
    int tasks = lua_gettop(L);
    for (int i = 1; i <= home->slots; i++) {
        if (lua_rawgeti(L, tasks, i) == LUA_TUSERDATA) {
            wgl_coroutine *task = task_at(L, -1);
            if (wgl_coroutine_sleeps(task))
                kill_sleeper(L, home, tasks + 1);
        }
        lua_settop(L, tasks);
    }
}

/* --- waiting --- */

bool wgl_coroutine_can_yield(lua_State *L, const wgl_coroutine *task) { return task->co == L && lua_isyieldable(L); }

bool wgl_coroutine_sleeps(const wgl_coroutine *task) {
    return task->parked && task->waiter && task->waiter->reason == WGL_ASLEEP;
}

static int park(lua_State *L, wgl_home *home, wgl_coroutine *task, lua_KFunction k) {
    if (task->foreign)
        wgl_foreign_leave(L, home, task);
    task->parked = true;
    task->woken = false;
    if (!home->runner) /* another event loop has resumed it */
        wgl_foreign_rearm(home);
    return lua_yieldk(L, 0, 0, k);
}

int wgl_coroutine_suspend(lua_State *L, wgl_home *home, wgl_coroutine *task, const wgl_wish *wish, lua_KFunction k) {
    wgl_join(L, home, NULL, wish, task);
    return park(L, home, task, k);
}

int wgl_coroutine_pause(lua_State *L, wgl_home *home, wgl_coroutine *task, lua_KFunction k) {
    wgl_enqueue(home, &task->runnable);
    return park(L, home, task, k);
}

/* Others may hold the coroutine of a task, and resume it. */
wgl_reason wgl_coroutine_woken(lua_State *L) {
    wgl_home *home = wgl_home_of(L);
    wgl_coroutine *task = home->current;
    if (!task || task->co != L || !task->woken)
        luaL_error(L, "this coroutine is that of a suspended waitgroup task: only what the task waits for resumes it");
    wgl_reason reason = task->waiter ? wgl_waiter_take(home, task->waiter) : WGL_READY;
    wgl_task_waiter_drop(home, task);
    return reason;
}

void wgl_push_deadlock(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &deadlock_key); }
void wgl_set_deadlock(lua_State *L) { lua_rawsetp(L, LUA_REGISTRYINDEX, &deadlock_key); }

/* How a sleep ends. */
static int end_sleep(lua_State *L) {
    wg_context *ctx = wgl_running_context(L);
    if (wg_context_check(ctx) != WG_OK)
        return wgl_push_ended(L, ctx);
    lua_pushboolean(L, true);
    return 1;
}

static int finish_sleep(lua_State *L, int status, lua_KContext how) {
    wgl_woken(L, status, how);
    lua_settop(L, 0);
    return end_sleep(L);
}

/* yield(): lets others run. True, or nil and why: the context of the running task has ended. */
static int let_others_run(lua_State *L) { return wgl_yield(L, finish_sleep); }

/* sleep(seconds): true, or nil and why. */
static int sleep_for(lua_State *L) {
    int64_t deadline = wgl_deadline(L, 1, 1, 1);
    lua_settop(L, 0);
    if (wg_context_check(wgl_running_context(L)) != WG_OK)
        return end_sleep(L);
    if (deadline == WG_POLL)
        return wgl_yield(L, finish_sleep);
    return wgl_wait(L, &(wgl_wish){.deadline = deadline, .own = true}, finish_sleep);
}

/* --- looking at one --- */

/* Push the result of the task at `self`: true, results; or nil, error, traceback. */
static int push_result(lua_State *L, int self) {
    wgl_coroutine *task = task_at(L, self);
    if (task->state == WGL_TASK_STOPPED)
        return wgl_push_ended(L, ((wgl_errgroup *)task->owner->object)->context->ctx);
    if (task->state == WGL_TASK_FAILED) {
        lua_pushnil(L);
        lua_getiuservalue(L, self, VALUE);
        lua_getiuservalue(L, self, OWNER);
        return 3;
    }
    lua_pushboolean(L, true);
    if (task->count == 0)
        return 1;
    lua_getiuservalue(L, self, VALUE);
    if (task->count == 1)
        return 2;
    luaL_checkstack(L, task->count, "too many results");
    int results = lua_gettop(L);
    for (int i = 1; i <= task->count; i++)
        lua_rawgeti(L, results, i);
    lua_remove(L, results);
    return 1 + task->count;
}

static wgl_coroutine *check(lua_State *L) {
    wgl_coroutine *task = luaL_testudata(L, 1, "waitgroup.CoroutineTask");
    if (!task)
        luaL_typeerror(L, 1, wgl_type_name(WGL_TASK));
    return task;
}

static int finish_result(lua_State *L, int status, lua_KContext how) {
    wgl_reason reason = wgl_woken(L, status, how);
    if (task_at(L, 1)->state > WGL_RUNNING)
        return push_result(L, 1);
    return reason == WGL_ENDED ? wgl_push_ended(L, wgl_running_context(L)) : wgl_push_timeout(L);
}

/* task:result([timeout]) -> true, results; or nil and why */
static int task_result(lua_State *L) {
    wgl_coroutine *task = check(L);
    int64_t deadline = wgl_deadline(L, 2, 2, 1);
    if (wgl_running(L, wgl_home_of(L)) == task)
        return luaL_error(L, "deadlock: a task waits for its own result");
    if (task->state > WGL_RUNNING)
        return push_result(L, 1);
    lua_settop(L, 1);
    return wgl_wait(L, &(wgl_wish){.event = WGL_AT_RESULT, .list = &task->results, .own = true, .deadline = deadline},
                    finish_result);
}

static int finish_run(lua_State *L, int status, lua_KContext how) {
    wgl_woken(L, status, how);
    return push_result(L, lua_gettop(L));
}

/* run(fn, ...): run `fn` as a task and wait until it and all that it started have ended; then its result. */
static int run(lua_State *L) {
    wgl_home *home = wgl_home_in(L, lua_touserdata(L, UP_HOME));
    if (lua_gettop(L) == 0)
        lua_settop(L, 1);
    check_callable(L, 1);
    wgl_push_context(L);
    lua_insert(L, 1);
    wgl_coroutine *task = prepare(L, home, WGL_OF_RUN, 0, 1, 2);
    take_slot(L, home, UP_TASKS);
    enter_scope(task, task);
    launch(L, home, task);
    return wgl_wait(L, &(wgl_wish){.event = WGL_AT_SCOPE, .list = &task->results}, finish_run);
}

void wgl_coroutine_name(lua_State *L, char *name, size_t size) {
    lua_Debug ar = {.short_src = "?"};
    if (task_at(L, -1)->named) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &names_key);
        lua_insert(L, -2);
        lua_rawget(L, -2);
        snprintf(name, size, "%s", lua_tostring(L, -1));
        lua_pop(L, 2);
        return;
    }
    if (lua_getiuservalue(L, -1, FN) == LUA_TFUNCTION)
        lua_getinfo(L, ">S", &ar);
    else
        lua_pop(L, 1);
    lua_pop(L, 1);
    snprintf(name, size, ar.linedefined > 0 ? "%s:%d" : "%s", ar.short_src, ar.linedefined);
}

const char *wgl_coroutine_push_name(lua_State *L, int self) {
    char name[WGL_NAME_SIZE];
    lua_pushvalue(L, self);
    wgl_coroutine_name(L, name, sizeof name);
    return lua_pushstring(L, name);
}

static int task_name(lua_State *L) {
    check(L);
    wgl_coroutine_push_name(L, 1);
    return 1;
}

static int task_done(lua_State *L) {
    lua_pushboolean(L, check(L)->state > WGL_RUNNING);
    return 1;
}

static int task_cancelled(lua_State *L) {
    lua_pushboolean(L, check(L)->state == WGL_TASK_STOPPED);
    return 1;
}

static int task_tostring(lua_State *L) {
    static const char *const states[] = {"waiting", "running", "ended", "failed", "cancelled"};
    const wgl_coroutine *task = check(L);
    wgl_coroutine_push_name(L, 1);
    lua_pushfstring(L, "waitgroup.Task %s (%s)", lua_tostring(L, -1), states[task->state]);
    return 1;
}

/* Add "NAME (for N s)" of each unfinished task of the group to the list on top. */
void wgl_coroutines_add_running(lua_State *L, const wgl_handle *group) {
    int list = lua_gettop(L);
    wgl_coroutine_push_all(L);
    int slots = wgl_home_of(L)->slots;
    for (int i = 1; i <= slots; i++) {
        if (lua_rawgeti(L, list + 1, i) == LUA_TUSERDATA) {
            const wgl_coroutine *task = task_at(L, -1);
            if (task->owner == group && task->state == WGL_RUNNING) {
                wgl_coroutine_push_name(L, -1);
                wgl_add_running(L, list, wg_now() - task->started);
            }
        }
        lua_settop(L, list + 1);
    }
    lua_settop(L, list);
}

void wgl_coroutines_add_unfinished(lua_State *L, const wgl_handle *group) {
    int list = lua_gettop(L);
    wgl_home *home = wgl_home_of(L);
    wgl_coroutine_push_all(L);
    for (int i = 1; i <= home->slots; i++) {
        const wgl_coroutine *task = lua_rawgeti(L, list + 1, i) == LUA_TUSERDATA ? task_at(L, -1) : NULL;
        if (task && task->owner == group && task->state <= WGL_RUNNING)
            lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
        lua_settop(L, list + 1);
    }
    lua_settop(L, list);
}

static int alive(lua_State *L) {
    lua_pushinteger(L, wgl_home_of(L)->alive);
    return 1;
}

static int asleep(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)wgl_home_of(L)->asleep);
    return 1;
}

static int current_context(lua_State *L) {
    wgl_push_context(L);
    return 1;
}

static const luaL_Reg methods[] = {
    {"result", task_result}, {"name", task_name}, {"done", task_done}, {"cancelled", task_cancelled}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"sleep", sleep_for},
                                     {"yield", let_others_run},
                                     {"alive", alive},
                                     {"asleep", asleep},
                                     {"current_context", current_context},
                                     {NULL, NULL}};

static void push_upvalues(lua_State *L, const char *owner_type) {
    wgl_push_home(L);
    luaL_getmetatable(L, "waitgroup.CoroutineTask");
    wgl_coroutine_push_all(L);
    luaL_getmetatable(L, owner_type);
}

static void set_methods(lua_State *L, const char *type, const luaL_Reg *list) {
    luaL_getmetatable(L, type);
    lua_getfield(L, -1, "__index");
    push_upvalues(L, type);
    luaL_setfuncs(L, list, 4);
    lua_pop(L, 2);
}

static void set_function(lua_State *L, int core, const char *name, lua_CFunction function) {
    push_upvalues(L, wgl_type_name(WGL_ERRGROUP));
    lua_pushcclosure(L, function, 4);
    lua_setfield(L, core, name);
}

void wgl_open_coroutines(lua_State *L) {
    static const luaL_Reg group_methods[] = {{"go", group_go}, {"try_go", group_try_go}, {NULL, NULL}};
    static const luaL_Reg waitgroup_methods[] = {{"go", waitgroup_go}, {NULL, NULL}};
    int core = lua_gettop(L);
    if (luaL_newmetatable(L, "waitgroup.CoroutineTask")) {
        lua_newtable(L);
        lua_pushlightuserdata(L, wgl_home_of(L));
        lua_pushvalue(L, -2);
        lua_pushcclosure(L, body, 2);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &body_key);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &tasks_key);
        wgl_push_weak_table(L, "k");
        lua_rawsetp(L, LUA_REGISTRYINDEX, &names_key);
        lua_pushstring(L, wgl_type_name(WGL_TASK));
        lua_setfield(L, -2, "__name");
        lua_pushcfunction(L, task_tostring);
        lua_setfield(L, -2, "__tostring");
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
    }
    lua_setfield(L, core, "CoroutineTask");
    luaL_setfuncs(L, functions, 0);
    set_function(L, core, "run", run);
    set_function(L, core, "start_go", start_go);
    set_methods(L, wgl_type_name(WGL_ERRGROUP), group_methods);
    set_methods(L, wgl_type_name(WGL_WAITGROUP), waitgroup_methods);
}
