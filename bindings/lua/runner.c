/* runner.c - runners: each takes tasks that can run from the queue, and runs them on a C stack of its own.
 *
 * Each runner has a C stack and a Lua thread from which it resumes tasks. At any time the thread of the state is either on
 * the stack that it came with (the *base*: the program, a coroutine of another event loop), or on that of one runner:
 * `home->runner`. The base lets a runner run a batch, which then switches back. A task that must wait where it cannot yield
 * keeps its runner; another one goes on with the batch. When the task is woken it stands in the queue like any other, and
 * whatever runner takes it from there switches to the stack of the first and is idle itself.
 *
 *   base -> runner 1: task a, task b blocks -> runner 2: task c, batch done -> base
 *   base -> runner 2: task d, b was woken -> runner 1: b goes on and ends, batch done -> base */
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "task.h"

#define BATCH 100
#define IDLE_KEPT 4

struct wgl_runner {
    wgl_stack stack;
    wgl_home *home;
    lua_State *L;
    wgl_runner *next;     /* among the idle, or among those that are blocked */
    wgl_runner *previous; /* among those that are blocked */
    wgl_waiter *waiter;   /* what it is blocked for, or NULL */
    wgl_coroutine *task;  /* that has blocked it, or NULL: a callback has */
};

/* --- a runner's own stack --- */

static wgl_runnable *take_ready(wgl_home *home) {
    wgl_runnable *runnable = home->ready;
    if (!(home->ready = runnable->next))
        home->last_ready = &home->ready;
    home->ready_count--;
    home->batch--;
    return runnable;
}

static wgl_coroutine *task_of(wgl_runnable *runnable) { return (wgl_coroutine *)(void *)runnable; }

static void go_idle(wgl_home *home, wgl_runner *runner) {
    runner->next = home->idle;
    home->idle = runner;
    home->idle_count++;
}

static wgl_runner *take_idle(wgl_home *home) {
    wgl_runner *runner = home->idle;
    if (runner) {
        home->idle = runner->next;
        home->idle_count--;
    }
    return runner;
}

static wgl_runner *runner_of(const wgl_home *home, const wgl_runnable *blocked) {
    wgl_runner *runner = home->blocked;
    while (&runner->waiter->runnable != blocked)
        runner = runner->next;
    return runner;
}

/* Go on on the stack of `to`, NULL for the base. */
static void switch_to(wgl_home *home, wgl_runner *from, wgl_runner *to) {
    home->runner = to;
    wgl_stack_switch(&from->stack, to ? &to->stack : home->base);
}

/* A host may keep in the extra space of a coroutine what that runs for, as HAProxy does: what runs on a runner runs for the
 * coroutine that drives. That of a coroutine which has ended is not to be left there. */
void wgl_take_place(const wgl_home *home, lua_State *co) {
    memcpy(lua_getextraspace(co), lua_getextraspace(home->driver), LUA_EXTRASPACE);
}

static void go_on_with(wgl_home *home, wgl_runner *self, const wgl_runnable *blocked) {
    go_idle(home, self);
    switch_to(home, self, runner_of(home, blocked));
}

static bool has_more(const wgl_home *home) { return home->due || (home->ready && home->batch > 0); }

/* Under lua_pcall: memory may be missing. */
static int run_batch(lua_State *L) {
    wgl_runner *self = lua_touserdata(L, 1);
    wgl_home *home = self->home;
    wgl_take_place(home, L);
    wgl_coroutine_push_all(L);
    wgl_coroutine_push_body(L);
    while (has_more(home)) {
        wgl_callbacks_run(L, home);
        if (!has_more(home))
            break;
        wgl_runnable *runnable = take_ready(home);
        if (runnable->is_task)
            wgl_coroutine_run(L, home, task_of(runnable));
        else
            go_on_with(home, self, runnable);
        lua_settop(L, WGL_BODY);
    }
    return 0;
}

/* There is not even memory for a call: what comes next ends with the error on top, or is left out. */
static void run_out_of_memory(wgl_runner *self) {
    wgl_home *home = self->home;
    if (home->starting || !has_more(home))
        wgl_coroutine_not_started(self->L, home);
    else if (home->due)
        wgl_callbacks_drop(home);
    else if (home->ready->is_task)
        wgl_coroutine_give_up(self->L, home, task_of(take_ready(home)));
    else
        go_on_with(home, self, take_ready(home));
}

/* Tasks that will never start end here, which needs no memory. */
static void skip_ended(wgl_runner *self) {
    wgl_home *home = self->home;
    while (home->ready && home->batch > 0 && home->ready->is_task && wgl_coroutine_never_starts(task_of(home->ready)))
        wgl_coroutine_skip(self->L, home, task_of(take_ready(home)));
}

static void run(void *arg) {
    wgl_runner *self = arg;
    for (;;) {
        lua_settop(self->L, 0);
        skip_ended(self);
        lua_pushcfunction(self->L, run_batch);
        lua_pushlightuserdata(self->L, self);
        if (lua_pcall(self->L, 1, 0, 0) != LUA_OK) {
            run_out_of_memory(self);
            if (has_more(self->home))
                continue;
        }
        go_idle(self->home, self);
        switch_to(self->home, self, NULL);
    }
}

/* --- from outside --- */

/* anchor(runner): its Lua thread, in the registry. */
static int anchor(lua_State *L) {
    wgl_runner *runner = lua_touserdata(L, 1);
    runner->L = lua_newthread(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, runner);
    return 0;
}

/* NULL: no memory. Up to 5.4.2 a Lua thread has only as many nested C calls left as its maker. So the maker is not what just
 * runs, deep in other calls, and maybe for a runner that was made in the same way. */
static wgl_runner *new_runner(wgl_home *home) {
    lua_State *L = home->maker;
    wgl_runner *runner = calloc(1, sizeof *runner);
    if (!runner)
        return NULL;
    lua_pushcfunction(L, anchor);
    lua_pushlightuserdata(L, runner);
    if (lua_pcall(L, 1, 0, 0) == LUA_OK && wgl_stack_open(&runner->stack, run, runner)) {
        runner->home = home;
        return runner;
    }
    lua_settop(L, 0); /* the error */
    if (runner->L) {
        lua_pushnil(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, runner);
    }
    free(runner);
    return NULL;
}

static void close_runner(lua_State *L, wgl_runner *runner) {
    if (L) {
        lua_pushnil(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, runner);
    }
    wgl_stack_close(&runner->stack);
    free(runner);
}

void wgl_runner_reserve(lua_State *L, wgl_home *home) {
    if (home->idle || home->runner)
        return;
    wgl_runner *runner = new_runner(home);
    if (!runner)
        luaL_error(L, "not enough memory for a C stack that tasks run on");
    go_idle(home, runner);
}

void wgl_run_ready(lua_State *L, wgl_home *home) {
    if (home->runner || !home->idle || !(home->ready || home->due))
        return;
    wgl_stack base = {.memory = NULL};
    wgl_coroutine *current = home->current;
    wg_scope *scope = home->scope;
    home->base = &base;
    home->driver = L;
    home->current = NULL;
    home->scope = NULL;
    home->batch = home->ready_count < BATCH ? home->ready_count : BATCH;
    home->runner = take_idle(home);
    wgl_stack_switch(&base, &home->runner->stack);
    home->current = current;
    home->scope = scope;
    while (home->idle_count > IDLE_KEPT)
        close_runner(L, take_idle(home));
}

bool wgl_runner_block(lua_State *L, wgl_home *home, wgl_waiter *waiter) {
    wgl_runner *self = home->runner, *next = take_idle(home);
    if (!next && !(next = new_runner(home)))
        return false;
    wgl_coroutine *current = home->current;
    wg_scope *scope = home->scope;
    self->waiter = waiter;
    self->task = current;
    self->previous = NULL;
    if ((self->next = home->blocked))
        home->blocked->previous = self;
    home->blocked = self;
    home->current = NULL;
    home->scope = NULL;
    wg_scope_leave(scope);
    switch_to(home, self, next);
    wg_scope_return(scope);
    wgl_take_place(home, L);
    if (current)
        wgl_take_place(home, current->co);
    if (self->next)
        self->next->previous = self->previous;
    *(self->previous ? &self->previous->next : &home->blocked) = self->next;
    self->waiter = NULL;
    home->current = current;
    home->scope = scope;
    return true;
}

wgl_waiter *wgl_runner_waiter_of(const wgl_home *home, const wgl_coroutine *task) {
    const wgl_runner *runner = home->blocked;
    while (runner && runner->task != task)
        runner = runner->next;
    return runner && runner->waiter->reason == WGL_ASLEEP ? runner->waiter : NULL;
}

wgl_waiter *wgl_runner_blocked(const wgl_home *home) {
    wgl_runner *runner = home->blocked;
    while (runner && runner->waiter->reason != WGL_ASLEEP)
        runner = runner->next;
    return runner ? runner->waiter : NULL;
}

/* A state may be closed from a task: then that stack stays. */
void wgl_runners_close(wgl_home *home) {
    for (wgl_runner *runner; (runner = take_idle(home));)
        close_runner(NULL, runner);
    for (wgl_runner *runner = home->blocked, *next; runner; runner = next) {
        next = runner->next;
        if (runner->waiter->published)
            wgl_withdraw(home, runner->waiter);
        close_runner(NULL, runner);
    }
    home->blocked = NULL;
}
