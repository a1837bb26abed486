/* foreign.c - other event loops: cqueues, copas, luv, or what the user has an adapter for.
 *
 * The Lua half of the module gives up to four functions of the loop in use:
 *   here()                whether the running coroutine is one of the loop
 *   wait(fd)              yields to the loop until `fd` is readable
 *   serve()               sees that there is a coroutine of the loop, its *agent*, in which our tasks run as long as there are
 *                         any
 *   forward(resume, ...)  yields the values `...` to the loop in a new coroutine of it, and calls `resume` with what the
 *                         loop resumes that with
 * A coroutine of the loop that waits for something of ours sleeps in `wait` on the descriptor of the state, as the agent does;
 * whichever wakes runs what is ready.
 *
 * A task that yields otherwise than by a wait of ours yields to the loop: by `forward`, or, if there is none, it is left to
 * whatever resumes its coroutine, as callbacks of luv do. Meanwhile it is *foreign*. */

#include <string.h>

#include "loop.h"
#include "task.h"

enum { HERE = 1, WAIT, SERVE, FORWARD };

static const char functions_key; /* registry: a table of the functions above */
static const char
    foreign_key; /* registry: from coroutines to their tasks that are foreign, or to errors to be raised */
static const char waiter_type[] = "waitgroup.foreign_waiter", agent_type[] = "waitgroup.agent";

static int push_function(lua_State *L, int which) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &functions_key);
    int type = lua_rawgeti(L, -1, which);
    lua_remove(L, -2);
    return type;
}

/* --- waits in coroutines of the loop --- */

typedef struct foreign_waiter {
    wgl_waiter waiter;
    bool joined;
    lua_KFunction k;
} foreign_waiter;

bool wgl_in_foreign_loop(lua_State *L, const wgl_home *home) {
    if (!home->foreign_in_use || !lua_isyieldable(L))
        return false;
    push_function(L, HERE);
    lua_call(L, 0, 1);
    bool here = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return here;
}

void wgl_foreign_rearm(wgl_home *home) {
    if (home->foreign_waiters == 0 && home->agents == 0)
        return;
    bool now = home->ready || home->due || home->foreign_woken > 0 || (home->agents > 0 && home->alive == 0);
    wgl_home_listen(home, wgl_next_deadline(home), now);
}

/* However the wait ends, it leaves nothing behind. */
static int leave(lua_State *L) {
    foreign_waiter *f = lua_touserdata(L, 1);
    wgl_home *home = wgl_home_or_null(L);
    if (!home || !f->joined)
        return 0;
    f->joined = false;
    home->foreign_waiters--;
    wgl_waiter_drop(&f->waiter);
    if (f->waiter.reason)
        home->foreign_woken--;
    else
        wgl_waiter_leave(home, &f->waiter);
    wgl_foreign_rearm(home);
    return 0;
}

static void run_in_loop(lua_State *L, wgl_home *home) {
    wgl_home_unlisten(home);
    home->in_loop = true;
    wgl_step(L, home);
    home->in_loop = false;
}

/* Push the descriptor to sleep on. */
static void push_descriptor(lua_State *L, wgl_home *home) {
    wgl_home_listen(home, WG_FOREVER, false);
    if (home->epoll_fd < 0)
        luaL_error(L, "cannot wait in an event loop: no file descriptor is left: close some, or raise their limit");
    wgl_foreign_rearm(home);
    lua_pushinteger(L, home->epoll_fd);
}

/* The waiter is above `top`. */
static int go_on(lua_State *L, int status, lua_KContext top) {
    (void)status;
    wgl_home *home = wgl_home_of(L);
    foreign_waiter *f = lua_touserdata(L, (int)top + 1);
    for (;;) {
        lua_settop(L, (int)top + 1);
        run_in_loop(L, home);
        if (f->waiter.reason)
            break;
        push_function(L, WAIT);
        push_descriptor(L, home);
        lua_callk(L, 1, 0, top, go_on);
    }
    lua_KFunction k = f->k;
    wgl_reason reason = wgl_waiter_take(home, &f->waiter);
    wg_status slot = home->slot;
    wgl_close_down_to(L, (int)top + 1);
    home->slot = slot;
    return k(L, LUA_OK, reason);
}

int wgl_wait_in_foreign_loop(lua_State *L, wgl_home *home, const wgl_wish *wish, lua_KFunction k) {
    int top = lua_gettop(L);
    luaL_checkstack(L, 8, NULL);
    foreign_waiter *f = lua_newuserdatauv(L, sizeof *f, 0);
    *f = (foreign_waiter){.waiter = {.kind = WGL_FOREIGN_WAITER}, .k = k};
    luaL_setmetatable(L, waiter_type);
    lua_toclose(L, top + 1);
    if (!wgl_waiter_join(home, &f->waiter, wish))
        luaL_error(L, "not enough memory");
    f->joined = true;
    home->foreign_waiters++;
    return go_on(L, LUA_OK, top);
}

/* --- the agent --- */

void wgl_foreign_serve(lua_State *L, wgl_home *home) {
    if (home->alive == 0)
        return;
    push_function(L, SERVE);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK)
        lua_pop(L, 1);
}

/* agent() -> a value that the agent closes when it ends, or that goes with it */
static int new_agent(lua_State *L) {
    lua_newuserdatauv(L, 1, 0);
    luaL_setmetatable(L, agent_type);
    wgl_home_of(L)->agents++;
    return 1;
}

static int agent_ends(lua_State *L) {
    wgl_home *home = wgl_home_or_null(L);
    if (home && lua_touserdata(L, 1) && lua_getmetatable(L, 1)) {
        home->agents--;
        lua_pushnil(L); /* once */
        lua_setmetatable(L, 1);
    }
    return 0;
}

/* listen() -> the descriptor for the agent to sleep on */
static int listen(lua_State *L) {
    push_descriptor(L, wgl_home_of(L));
    return 1;
}

/* step() -> whether tasks are left: lets what is ready run */
static int step(lua_State *L) {
    wgl_home *home = wgl_home_of(L);
    run_in_loop(L, home);
    wgl_foreign_rearm(home);
    lua_pushboolean(L, home->alive > 0);
    return 1;
}

/* --- who has resumed a coroutine --- */

#define MOST_NESTED 200 /* coroutines within each other: as Lua allows */

/* The coroutine that `from` is just resuming by coroutine.resume or by a function of coroutine.wrap; NULL: it is in other
 * code. */
static lua_State *resumed_by(lua_State *from) {
    lua_Debug ar;
    if (!lua_checkstack(from, 4) || !lua_getstack(from, 0, &ar))
        return NULL;
    int top = lua_gettop(from);
    lua_getinfo(from, "f", &ar);
    bool c = lua_iscfunction(from, -1);
    if (!(c && lua_getupvalue(from, -1, 1) && lua_isthread(from, -1)) && !(c && lua_getlocal(from, &ar, 1)))
        lua_pushnil(from);
    lua_State *co = lua_tothread(from, -1);
    lua_settop(from, top);
    return co;
}

/* The coroutine that has resumed L, beginning with the main one; NULL: other code than coroutine.resume is between. */
static lua_State *resumer_of(lua_State *L) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    lua_State *from = lua_tothread(L, -1), *next;
    lua_pop(L, 1);
    for (int depth = 0; depth < MOST_NESTED; depth++, from = next)
        if (!(next = resumed_by(from)) || next == from || next == L)
            return next == L ? from : NULL;
    return NULL;
}

/* resumed_by(fn) -> whether code of the file that has `fn` has resumed the running coroutine; nil: it cannot be told. */
static int resumed_by_file(lua_State *L) {
    lua_Debug file, code;
    lua_State *from = resumer_of(L);
    if (!from || !lua_getstack(from, 1, &code))
        return 0;
    lua_getinfo(from, "S", &code);
    lua_settop(L, 1);
    lua_getinfo(L, ">S", &file);
    lua_pushboolean(L, strcmp(file.source, code.source) == 0);
    return 1;
}

/* --- tasks that yield to the loop --- */

wgl_coroutine *wgl_foreign_task(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &foreign_key);
    lua_pushthread(L);
    lua_rawget(L, -2);
    wgl_coroutine *task = lua_touserdata(L, -1);
    lua_pop(L, 2);
    return task;
}

/* Take the task out of the foreign ones. Needs no memory. */
void wgl_foreign_leave(lua_State *L, wgl_home *home, wgl_coroutine *task) {
    task->foreign = false;
    home->foreign_tasks--;
    luaL_checkstack(L, 4, NULL);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &foreign_key);
    lua_pushthread(task->co);
    if (task->co != L)
        lua_xmove(task->co, L, 1);
    lua_pushnil(L);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* resume(...): what the loop resumes the task with. Upvalues: the task, and which of its yields this is for. */
static int resume_task(lua_State *L) {
    wgl_home *home = wgl_home_of(L);
    wgl_coroutine *task = lua_touserdata(L, lua_upvalueindex(1));
    int count = lua_gettop(L);
    if (!task->foreign || task->turn != lua_tointeger(L, lua_upvalueindex(2)) || lua_status(task->co) != LUA_YIELD)
        return 0; /* something else has resumed it */
    if (!lua_checkstack(task->co, count))
        return luaL_error(L, "too many values to resume a task with");
    lua_xmove(L, task->co, count);
    task->count = count;
    wgl_foreign_leave(L, home, task);
    task->parked = true;
    wgl_enqueue(home, &task->runnable);
    wgl_foreign_rearm(home);
    return 0;
}

/* forward(task, coroutine, whether to forward, values...): the task becomes foreign. */
static int become_foreign(lua_State *L) {
    wgl_home *home = wgl_home_of(L);
    wgl_coroutine *task = lua_touserdata(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &foreign_key);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 1);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    task->foreign = true;
    task->turn++;
    home->foreign_tasks++;
    if (push_function(L, FORWARD) != LUA_TFUNCTION)
        return 0;
    lua_replace(L, 2);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, task->turn);
    lua_pushcclosure(L, resume_task, 2);
    lua_insert(L, 3);
    lua_call(L, lua_gettop(L) - 2, 0);
    return 0;
}

#define NOBODY                                                                                                         \
    "a task has yielded, but not to waitgroup, and no other event loop runs it: to let others run, call "              \
    "waitgroup.yield(); "                                                                                              \
    "to use cqueues, copas or luv in tasks, call waitgroup.use() and wait in a coroutine of that loop"

/* A hook: raises what was to be raised where the task has yielded. */
static void raise_in_task(lua_State *L, lua_Debug *ar) {
    (void)ar;
    lua_State *driver = wgl_home_of(L)->driver;
    lua_sethook(L, lua_gethook(driver), lua_gethookmask(driver), lua_gethookcount(driver));
    lua_rawgetp(L, LUA_REGISTRYINDEX, &foreign_key);
    lua_pushthread(L);
    bool other = lua_rawget(L, -2) != LUA_TNIL;
    if (other) {
        lua_pushthread(L);
        lua_pushnil(L);
        lua_rawset(L, -4);
        lua_error(L);
    }
    wgl_error(L, 0, NOBODY);
}

/* The error on top is to be raised in the task; nil: that nobody runs it. Pops it. */
static int keep_error(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &foreign_key);
    lua_insert(L, 1);
    lua_rawset(L, 1);
    return 0;
}

static void raise_later(lua_State *L, wgl_home *home, wgl_coroutine *task, int self) {
    if (!lua_isnil(L, -1)) { /* without memory, the usual text has to do */
        lua_pushcfunction(L, keep_error);
        lua_getiuservalue(L, self, 2);
        lua_pushvalue(L, -3);
        if (lua_pcall(L, 2, 0, 0) != LUA_OK)
            lua_pop(L, 1);
    }
    lua_pop(L, 1);
    lua_sethook(task->co, raise_in_task, LUA_MASKCOUNT, 1);
    task->parked = true;
    wgl_enqueue(home, &task->runnable);
}

void wgl_foreign_yield(lua_State *L, wgl_home *home, wgl_coroutine *task, int self, int results) {
    if (!home->in_loop || !lua_checkstack(L, results + 8)) {
        lua_pop(task->co, results);
        lua_pushnil(L);
        raise_later(L, home, task, self);
        return;
    }
    lua_pushcfunction(L, become_foreign);
    lua_pushvalue(L, self);
    lua_getiuservalue(L, self, 2); /* its coroutine */
    lua_xmove(task->co, L, results);
    if (lua_pcall(L, results + 2, 0, 0) == LUA_OK)
        return;
    if (task->foreign)
        wgl_foreign_leave(L, home, task);
    raise_later(L, home, task, self);
}

/* --- the loop in use --- */

static bool is_function(lua_State *L, int which) {
    bool is = push_function(L, which) == LUA_TFUNCTION;
    lua_pop(L, 1);
    return is;
}

/* use(here, wait, serve, forward): nil for those that the loop does not have; without `here` there is none in use. */
static int use(lua_State *L) {
    wgl_home *home = wgl_home_of(L);
    lua_settop(L, FORWARD);
    lua_createtable(L, FORWARD, 0);
    lua_insert(L, 1);
    for (int which = FORWARD; which >= HERE; which--)
        lua_rawseti(L, 1, which);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &functions_key);
    home->foreign_in_use = is_function(L, HERE);
    return 0;
}

void wgl_foreign_forget(lua_State *L, wgl_home *home) {
    if (!home->foreign_in_use)
        return;
    home->foreign_in_use = false;
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &functions_key);
}

const luaL_Reg wgl_foreign_functions[] = {
    {"use", use}, {"agent", new_agent}, {"listen", listen}, {"step", step}, {"resumed_by", resumed_by_file},
    {NULL, NULL}};

static void new_metatable(lua_State *L, const char *name, lua_CFunction end) {
    luaL_newmetatable(L, name);
    lua_pushcfunction(L, end);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, end);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
}

void wgl_open_foreign(lua_State *L) {
    new_metatable(L, waiter_type, leave);
    new_metatable(L, agent_type, agent_ends);
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &foreign_key);
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &functions_key);
}
