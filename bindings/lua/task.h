/* task.h - tasks that are coroutines: what the loop knows of them. See coroutine.c. */
#ifndef WGL_TASK_H
#define WGL_TASK_H

#include "loop.h"

typedef enum wgl_task_state { WGL_WAITING, WGL_RUNNING, WGL_TASK_OK, WGL_TASK_FAILED, WGL_TASK_STOPPED } wgl_task_state;
typedef enum wgl_task_of { WGL_OF_GROUP, WGL_OF_WAITGROUP, WGL_OF_RUN } wgl_task_of;

/* A million of them may wait to start, so it is small: what only a suspended one needs is in its waiter. */
struct wgl_coroutine {
    wgl_runnable runnable;
    wgl_waiter *waiter;   /* of its wait, until it goes on; NULL: it waits for nothing */
    wgl_link *results;    /* waiters for its result; of a scope, for the scope */
    wgl_handle *owner;    /* its error group or wait group; NULL for none */
    lua_State *co;        /* NULL until it starts */
    wgl_coroutine *scope; /* the task of the `run` in whose scope it is, or NULL */
    int64_t started;      /* wg_now() when it began to run, in a group with a grace period, or if it is traced */
    int64_t taken;        /* wg_now() when it was made; 0: it is not traced, since no timeline was written then */
    int slot;             /* in the table of all tasks; 0: it is not there any more */
    int count;            /* of arguments; then of results */
    int members;          /* of its own scope: how many of its tasks have not ended */
    unsigned state : 3;   /* a wgl_task_state */
    unsigned of : 2;      /* a wgl_task_of */
    bool parked : 1;      /* it has yielded to wait, or to let others run */
    bool woken : 1;       /* it was resumed as it should be */
    bool stale : 1;       /* it has ended, and is still in the queue */
    bool foreign : 1;     /* it has yielded to another event loop, which is to resume it */
    bool named : 1;       /* a name was given: see coroutine.c */
    bool kept : 1;        /* its coroutine is in its user value: see coroutine.c */
    bool ahead : 1;       /* it is queued ahead of the slots of its group, and has a waiter for one */
    unsigned turn : 8;    /* counts its yields to other loops */
};

/* The task whose code runs on L, or NULL. */
wgl_coroutine *wgl_running(lua_State *L, wgl_home *home);
/* The context of the running task or of the thread's, borrowed; outside of tasks the root. */
wg_context *wgl_running_context(lua_State *L);
/* The handle that stands for the context of `task`. */
wgl_handle *wgl_coroutine_context(lua_State *L, wgl_coroutine *task);
/* That context, borrowed. */
wg_context *wgl_task_context(lua_State *L, wgl_coroutine *task);
/* The same for the thread's task, pushed, or nil: then NULL. */
wgl_handle *wgl_push_thread_context(lua_State *L);
/* What a handle of a context or a group stands for as a context; the root of NULL. */
wg_context *wgl_context_of(const wgl_handle *handle);

/* Whether L is the coroutine of the running task itself, and can yield. */
bool wgl_coroutine_can_yield(lua_State *L, const wgl_coroutine *task);
/* Yield until `wish` comes true; or let others run. */
int wgl_coroutine_suspend(lua_State *L, wgl_home *home, wgl_coroutine *task, const wgl_wish *wish, lua_KFunction k);
int wgl_coroutine_pause(lua_State *L, wgl_home *home, wgl_coroutine *task, lua_KFunction k);
wgl_reason wgl_coroutine_woken(lua_State *L);

/* Whether it sleeps: it has yielded, and nothing has woken it. */
bool wgl_coroutine_sleeps(const wgl_coroutine *task);

/* What the Lua thread of a runner has on its stack: the table of tasks, and what each coroutine begins with. */
enum { WGL_TASKS = 2, WGL_BODY };
void wgl_coroutine_push_body(lua_State *L);
/* Start or resume the task, on the thread of a runner, until it ends or yields. */
void wgl_coroutine_run(lua_State *L, wgl_home *home, wgl_coroutine *task);
/* The last one could not be started: it ends with the error on top. */
void wgl_coroutine_not_started(lua_State *L, wgl_home *home);
/* Whether a task that can run will not start, since its group has ended; and end it so. */
bool wgl_coroutine_never_starts(const wgl_coroutine *task);
void wgl_coroutine_skip(lua_State *L, wgl_home *home, wgl_coroutine *task);
/* The task cannot be run: it ends with the error on top. */
void wgl_coroutine_give_up(lua_State *L, wgl_home *home, wgl_coroutine *task);
/* End the tasks that sleep, since nothing can wake them. */
void wgl_coroutines_kill_sleepers(lua_State *L, wgl_home *home);

void wgl_coroutine_push(lua_State *L, const wgl_coroutine *task);
const char *wgl_coroutine_push_name(lua_State *L, int task);
void wgl_coroutine_name(lua_State *L, char *name, size_t size); /* of the task on top, which it pops */
void wgl_coroutine_push_all(lua_State *L);                      /* the table of all tasks, in slots */
wgl_coroutine *wgl_coroutine_of_results(wgl_link **list);

#endif
