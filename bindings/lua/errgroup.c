/* errgroup.c - the error group as Lua sees it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "task.h"

static wgl_errgroup *check(lua_State *L, int level) { return (wgl_errgroup *)wgl_check(L, 1, WGL_ERRGROUP, level); }

/* --- what users call --- */

static int running(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)wg_errgroup_get_counts(check(L, 1)->group).running);
    return 1;
}

/* With the coroutine tasks of this state that are, or were, queued ahead of the slots, of which the core does not know. */
static wg_errgroup_counts counts_of(const wgl_handle *handle) {
    wg_errgroup_counts counts = wg_errgroup_get_counts(((wgl_errgroup *)handle->object)->group);
    counts.pending += handle->ahead;
    counts.completed += handle->dropped;
    return counts;
}

static int pending(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)counts_of(wgl_check_handle(L, 1, WGL_ERRGROUP, 1)).pending);
    return 1;
}

static int completed(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)counts_of(wgl_check_handle(L, 1, WGL_ERRGROUP, 1)).completed);
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

void wgl_push_group_context(lua_State *L, int group) {
    if (lua_getiuservalue(L, group, WGL_ANCHOR) == LUA_TUSERDATA)
        return;
    lua_pop(L, 1);
    wgl_push(L, &((wgl_errgroup *)wgl_test(L, group))->context->object);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, group, WGL_ANCHOR);
}

static int context(lua_State *L) {
    check(L, 1);
    wgl_push_group_context(L, 1);
    return 1;
}

static int limit(lua_State *L) {
    int n = wg_errgroup_limit(check(L, 1)->group);
    if (n == 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, n);
    return 1;
}

static int set_limit(lua_State *L) {
    wg_errgroup *g = check(L, 1)->group;
    lua_Integer n = wgl_opt_integer(L, 2, WG_NO_LIMIT, 1);
    if (n <= 0 || n > WG_NO_LIMIT)
        return wgl_argerror(L, 1, 2,
                            lua_pushfstring(L, "a limit is a positive integer or nil, got %I", (LUAI_UACINT)n));
    wg_errgroup_set_limit(g, (int)n);
    return 0;
}

static int backlog(lua_State *L) {
    lua_pushinteger(L, check(L, 1)->backlog);
    return 1;
}

static int name(lua_State *L) {
    lua_pushstring(L, check(L, 1)->name);
    return 1;
}

/* --- waiting --- */

void wgl_add_running(lua_State *L, int list, int64_t nanoseconds) {
    char seconds[32];
    snprintf(seconds, sizeof seconds, "%.3g", (double)nanoseconds / (double)WG_SECOND);
    lua_pushfstring(L, "%s (for %s s)", lua_tostring(L, -1), seconds);
    lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
    lua_pop(L, 1);
}

/* Tasks on threads that run, as the core tells them. */
typedef struct running_list {
    size_t count, capacity;
    struct running_task {
        char name[WGL_NAME_SIZE];
        int64_t duration;
    } tasks[];
} running_list;

static void note_running(void *arg, const char *name, int64_t duration) {
    running_list *list = arg;
    if (list->count == list->capacity)
        return;
    struct running_task *task = &list->tasks[list->count++];
    snprintf(task->name, sizeof task->name, "%s", name);
    task->duration = duration;
}

/* The unfinished tasks of the group at 1, in the list on top. */
static void add_all_running(lua_State *L) {
    int list = lua_gettop(L);
    wg_errgroup *group = ((wgl_errgroup *)wgl_test(L, 1))->group;
    wgl_coroutines_add_running(L, lua_touserdata(L, 1));
    size_t capacity = wg_errgroup_running(group, NULL, NULL);
    running_list *running = lua_newuserdatauv(L, sizeof *running + capacity * sizeof running->tasks[0], 0);
    *running = (running_list){.count = 0, .capacity = capacity};
    wg_errgroup_running(group, note_running, running);
    for (size_t i = 0; i < running->count; i++) {
        lua_pushstring(L, running->tasks[i].name);
        wgl_add_running(L, list, running->tasks[i].duration);
    }
    lua_pop(L, 1);
}

/* Sort the list of texts on top: there are few. */
static void sort(lua_State *L) {
    int list = lua_gettop(L);
    lua_Integer count = (lua_Integer)lua_rawlen(L, list);
    for (lua_Integer i = 2; i <= count; i++)
        for (lua_Integer j = i; j > 1; j--) {
            lua_rawgeti(L, list, j - 1);
            lua_rawgeti(L, list, j);
            if (!lua_compare(L, -1, -2, LUA_OPLT)) {
                lua_settop(L, list);
                break;
            }
            lua_rawseti(L, list, j - 1);
            lua_rawseti(L, list, j);
        }
}

/* Push the tasks of the group at 1 that its grace period left behind, in words, or nil. */
static void push_left_behind(lua_State *L, const wgl_errgroup *g) {
    if (g->grace == 0 || wg_count(wg_errgroup_tasks(g->group)) == 0) {
        lua_pushnil(L);
        return;
    }
    char seconds[32];
    snprintf(seconds, sizeof seconds, "%g", g->grace > 1 ? (double)g->grace / (double)WG_SECOND : 0.0); /* 1 is for 0 */
    lua_newtable(L);
    int list = lua_gettop(L);
    add_all_running(L);
    sort(L);
    lua_pushfstring(L, "left behind after the grace period of %s s: ", seconds);
    for (lua_Integer i = 1; lua_rawgeti(L, list, i) == LUA_TSTRING; i++) {
        if (i > 1) {
            lua_pushliteral(L, ", ");
            lua_insert(L, -2);
        }
        lua_concat(L, i > 1 ? 3 : 2);
    }
    lua_pop(L, 1);
    lua_remove(L, list);
}

#define OWN_GROUP "a task waits for the error group that it belongs to"

/* Raises at `level` if `status` is none that a call returns. */
static void check_outcome(lua_State *L, wg_status status, int level) {
    switch (status) {
    case WG_OK:
    case WG_TIMEOUT:
    case WG_CONTEXT_ENDED:
    case WG_LIMIT:
    case WG_FINISHED:
    case WG_CANCELLED:
    case WG_DEADLINE_EXCEEDED:
    case WG_FAILED: return;
    case WG_DEADLOCK: wgl_error(L, level, "deadlock: %s", OWN_GROUP); break;
    case WG_FORKED:
        wgl_error(L, level, "this error group was left behind in the parent process by a fork: make a new one");
        break;
    default: wgl_error(L, level, "%s", wg_strstatus(status));
    }
}

int wgl_push_refusal(lua_State *L, wg_status status, int level) {
    if (status == WG_DEADLOCK)
        return wgl_raise_deadlock(L, wgl_why_stuck(L, wgl_test(L, 1)), level);
    check_outcome(L, status, level);
    if (status != WG_LIMIT && status != WG_FINISHED)
        return wgl_push_ended(L, ((wgl_errgroup *)wgl_test(L, 1))->context->ctx);
    lua_pushnil(L);
    lua_pushstring(L, status == WG_LIMIT ? "limit" : "finished");
    return 2;
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
    default: check_outcome(L, status, level);
    }
    if (has_note)
        lua_pushvalue(L, note);
    return lua_gettop(L) - note;
}

/* A wait in progress: what it has on the stack. */
enum { GROUP = 1, DEADLINE, CLOSES };

static int wait_on(lua_State *L, wgl_reason reason);

static int go_on_waiting(lua_State *L, int status, lua_KContext how) { return wait_on(L, wgl_woken(L, status, how)); }

/* Whether the context of the running task ends the wait: not when the block of a group is left, nor if the group has ended
 * with that context, as one that was made in the task. */
static bool is_bound(lua_State *L, const wgl_errgroup *g) {
    wg_context *ctx = g->context->ctx;
    return !lua_toboolean(L, CLOSES) && !(wg_context_check(ctx) != WG_OK && wg_context_inherited(ctx));
}

/* Look, and wait if there is no outcome yet; `reason` is what has just woken it, WGL_ASLEEP at first. */
static int wait_on(lua_State *L, wgl_reason reason) {
    wgl_errgroup *g = (wgl_errgroup *)wgl_test(L, GROUP);
    int64_t deadline = lua_tointeger(L, DEADLINE);
    wg_error *first = NULL;
    wg_status status =
        wg_errgroup_wait(g->group, &(wg_until){.deadline = WG_POLL, .context = wg_context_root()}, &first);
    if (status != WG_TIMEOUT) {
        int count = push_outcome(L, g, status, first, 1);
        if (lua_toboolean(L, CLOSES))
            wgl_set_closed(L);
        return count;
    }
    if (reason == WGL_TIMED_OUT)
        return wgl_push_timeout(L);
    bool bound = is_bound(L, g);
    if (bound && wg_context_check(wgl_running_context(L)) != WG_OK)
        return wgl_push_ended(L, wgl_running_context(L));
    return wgl_wait(
        L,
        &(wgl_wish){.event = WGL_AT_OUTCOME, .subject = lua_touserdata(L, GROUP), .own = bound, .deadline = deadline},
        go_on_waiting);
}

static int start_waiting(lua_State *L, int64_t deadline, bool closes) {
    lua_settop(L, 1);
    lua_pushinteger(L, deadline);
    lua_pushboolean(L, closes);
    if (wgl_in_task_of(L, wgl_test(L, 1)))
        check_outcome(L, WG_DEADLOCK, 1);
    return wait_on(L, WGL_ASLEEP);
}

/* g:wait([timeout]) */
static int group_wait(lua_State *L) {
    check(L, 1);
    return start_waiting(L, wgl_deadline(L, 2, 2, 1), false);
}

/* --- cancelling and closing --- */

/* The error of the value at 2; nil is none. */
static wg_error *cause_at_2(lua_State *L) { return lua_isnoneornil(L, 2) ? NULL : wgl_failure_of(L, 2, 0); }

/* g:cancel([cause]): true if this call did it. Callbacks of this state run before it returns. */
static int cancel(lua_State *L) {
    lua_settop(L, 2);
    wg_errgroup *g = check(L, 1)->group;
    wg_error *cause = cause_at_2(L);
    bool did = wg_errgroup_cancel(g, cause) == WG_OK;
    wg_error_release(cause);
    wgl_run_callbacks_now(L);
    lua_pushboolean(L, did);
    return 1;
}

/* g:close([err]): cancel if there is an error, wait, and close the handle: the outcome of the wait. */
static int group_close(lua_State *L) {
    lua_settop(L, 2);
    if (wgl_check_closable(L, 1, WGL_ERRGROUP, 1)->closed) {
        lua_pushboolean(L, true);
        return 1;
    }
    if (!lua_isnil(L, 2))
        cancel(L);
    return start_waiting(L, WG_FOREVER, true);
}

/* --- coroutines of other loops --- */

static int entered(lua_State *L, wgl_handle *handle, wg_status status) {
    if (status != WG_OK)
        return wgl_push_refusal(L, status, 1);
    handle->entered++;
    lua_pushboolean(L, true);
    return 1;
}

static int go_on_entering(lua_State *L, int status, lua_KContext how) {
    wgl_handle *handle = lua_touserdata(L, 1);
    if (wgl_woken(L, status, how) != WGL_READY)
        return wgl_push_ended(L, wgl_running_context(L));
    wg_status slot = wgl_home_of(L)->slot;
    return entered(L, handle, slot == WG_OK ? wgl_enter_slot(handle) : slot);
}

static int try_to_enter(lua_State *L, bool wait) {
    wgl_handle *handle = wgl_check_handle(L, 1, WGL_ERRGROUP, 1);
    lua_settop(L, 1);
    wg_status status = wgl_enter(handle);
    return status == WG_LIMIT && wait ? wgl_wait_for_slot(L, go_on_entering) : entered(L, handle, status);
}

/* g:enter(): from now on the caller counts as a task of the group, until g:leave. At the limit it waits. */
static int enter(lua_State *L) { return try_to_enter(L, true); }
static int try_enter(lua_State *L) { return try_to_enter(L, false); }

/* g:leave([err]): what has entered ends, by an error unless that is nil. */
static int leave(lua_State *L) {
    wgl_handle *handle = wgl_check_closable(L, 1, WGL_ERRGROUP, 1);
    lua_settop(L, 2);
    if (handle->entered == 0) {
        luaL_tolstring(L, 1, NULL);
        return luaL_error(L, "leave() without enter(): nothing of this Lua state that has entered %s has not left it",
                          lua_tostring(L, -1));
    }
    handle->entered--;
    if (lua_isnil(L, 2))
        wgl_leave(handle, NULL);
    else
        wgl_fail(L, handle, 2, 0);
    wgl_run_callbacks_now(L);
    return 0;
}

/* --- as_completed without a list --- */

void wgl_tell_follower(lua_State *L, bool kept) {
    wgl_handle *handle = lua_touserdata(L, 1);
    if (handle->followed) {
        lua_getiuservalue(L, 1, WGL_FOLLOWER);
        lua_pushvalue(L, -2);
        lua_call(L, 1, 1);
        handle->followed = lua_toboolean(L, -1);
        lua_pop(L, 1);
    }
    if (!handle->followed && !kept)
        handle->missed++;
}

/* follow(g, fn) -> a list of the unfinished coroutine tasks. From now on fn(task) is called for each task of this state that
 * starts in the group, as long as it returns true. Raises if tasks have been missed; errors are those of the caller of
 * as_completed, which calls what calls this. */
static int follow(lua_State *L) {
    wgl_handle *handle = wgl_check_handle(L, 1, WGL_ERRGROUP, 3);
    if (handle->missed > 0)
        return wgl_error(
            L, 3,
            "bad call of 'as_completed' (it has missed %d tasks, which ended or went to threads before: call it "
            "without a list before the first task, or give it the list of tasks)",
            (int)handle->missed);
    lua_settop(L, 2);
    lua_setiuservalue(L, 1, WGL_FOLLOWER);
    handle->followed = true;
    lua_newtable(L);
    wgl_coroutines_add_unfinished(L, handle);
    return 1;
}

/* --- other event loops, and people --- */

static int pollfd(lua_State *L) {
    wgl_handle *handle = wgl_check_handle(L, 1, WGL_ERRGROUP, 1);
    wg_waitgroup *tasks = wg_errgroup_tasks(((wgl_errgroup *)handle->object)->group);
    wgl_foreign_serve(L, wgl_home_of(L));
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
    wg_errgroup_counts counts = counts_of(handle);
    wg_status status = wg_context_check(g->context->ctx);
    char limit[20] = "";
    if (wg_errgroup_limit(g->group))
        snprintf(limit, sizeof limit, " of %d", wg_errgroup_limit(g->group));
    lua_pushfstring(L, "waitgroup.ErrGroup%s%s (%d%s running, %d pending, %d completed%s%s)", space, g->name,
                    (int)counts.running, limit, (int)counts.pending, (int)counts.completed, status == WG_OK ? "" : ", ",
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

wgl_object *wgl_errgroup_wrap(wgl_home *home, wg_errgroup *group) {
    const char *text = wg_errgroup_name(group);
    wgl_errgroup *g = malloc(sizeof *g + strlen(text) + 1);
    wgl_object *context = g ? wgl_context_for(wg_errgroup_context(group)) : NULL;
    if (!context) {
        free(g);
        wg_errgroup_release(group);
        return NULL;
    }
    g->group = group;
    g->context = (wgl_context *)context;
    g->home = wgl_home_retain(home);
    g->foreign = true;
    atomic_init(&g->handles, 0);
    atomic_init(&g->hoped, 0);
    g->grace = wg_errgroup_grace(group);
    g->backlog = wg_errgroup_backlog(group);
    g->interrupt = 0;
    strcpy(g->name, text);
    wgl_object_init(&g->object, WGL_ERRGROUP, destroy);
    return &g->object;
}

/* errgroup(parent, deadline, grace, limit, name, interrupt, continue_on_error, backlog): nil stands for none; grace in
 * nanoseconds. */
static int new (lua_State *L) {
    wg_errgroup_options options = {.deadline = luaL_checkinteger(L, 2),
                                   .grace = luaL_optinteger(L, 3, 0),
                                   .limit = (int)luaL_optinteger(L, 4, 0),
                                   .continue_on_error = lua_toboolean(L, 7),
                                   .backlog = (int)luaL_optinteger(L, 8, 0),
                                   .pool = wgl_pool()};
    wgl_context *parent = lua_isnil(L, 1) ? NULL : (wgl_context *)wgl_check(L, 1, WGL_CONTEXT, 2);
    if (parent)
        options.parent = parent->ctx;
    const char *text = luaL_optstring(L, 5, "");
    char place[80];
    wgl_place_of_caller(L, 2, place, sizeof place);
    options.name = text;
    options.language = "Lua";
    options.where = place;
    options.track = true;
    wgl_home *home = wgl_home_of(L);
    wgl_handle *handle = wgl_push_empty(L, WGL_ERRGROUP);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, WGL_PARENT);
    options.name = text;
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
    g->foreign = false;
    atomic_init(&g->handles, 0);
    atomic_init(&g->hoped, 0);
    g->grace = options.grace;
    g->backlog = options.backlog;
    g->interrupt = (int)luaL_optinteger(L, 6, 0);
    strcpy(g->name, text);
    wgl_object_init(&g->object, WGL_ERRGROUP, destroy);
    wgl_fill(L, handle, &g->object);
    return 1;
}

/* errgroup_open(g): raises unless it is an open error group. */
static int is_open(lua_State *L) {
    check(L, 2);
    return 0;
}

/* --- tasks that are coroutines; their group may be closed --- */

static wg_status count_entered(wgl_handle *group, wg_status status) {
    if (status == WG_OK)
        group->tasks++;
    return status;
}

wg_status wgl_enter(wgl_handle *group) {
    return count_entered(group, wg_errgroup_enter(((wgl_errgroup *)group->object)->group));
}

wg_status wgl_enter_slot(wgl_handle *group) {
    return count_entered(group, wg_errgroup_enter_slot(((wgl_errgroup *)group->object)->group));
}

void wgl_leave(wgl_handle *group, wg_error *error) {
    group->tasks--;
    if (group->collected) /* it has left all tasks */
        wg_error_release(error);
    else {
        wg_errgroup_leave(((wgl_errgroup *)group->object)->group, error);
        wgl_hope_less((wgl_errgroup *)group->object);
    }
}

bool wgl_has_ended(const wgl_handle *group) {
    return wg_context_check(((wgl_errgroup *)group->object)->context->ctx) != WG_OK;
}

bool wgl_fail(lua_State *L, wgl_handle *group, int value, int traceback) {
    wg_error *error = wgl_failure_of(L, value, traceback);
    wg_how how = WG_TASK_FAILED;
    if (group->collected || wg_errgroup_settle(((wgl_errgroup *)group->object)->group, error, &how) != WG_OK)
        wg_error_release(error);
    wgl_leave(group, NULL);
    return how == WG_TASK_STOPPED;
}

static const luaL_Reg methods[] = {{"running", running}, {"pending", pending},     {"completed", completed},
                                   {"errors", errors},   {"context", context},     {"limit", limit},
                                   {"backlog", backlog}, {"name", name},           {"set_limit", set_limit},
                                   {"wait", group_wait}, {"cancel", cancel},       {"close", group_close},
                                   {"enter", enter},     {"try_enter", try_enter}, {"leave", leave},
                                   {"pollfd", pollfd},   {"getfd", pollfd},        {NULL, NULL}};

void wgl_open_errgroup(lua_State *L) {
    wgl_new_type(L, WGL_ERRGROUP, methods, tostring);
    luaL_getmetatable(L, wgl_type_name(WGL_ERRGROUP));
    lua_pushcfunction(L, group_close);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
}

const luaL_Reg wgl_errgroup_functions[] = {
    {"errgroup", new}, {"errgroup_open", is_open}, {"follow", follow}, {NULL, NULL}};
