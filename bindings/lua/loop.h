/* loop.h - how the coroutines of a Lua state wait, and what runs them meanwhile.
 *
 * A *waiter* sleeps for an event, for the end of a context and for a deadline; the first of them wakes it. There are four
 * kinds, by what sleeps:
 *   WGL_TASK       a coroutine task that has yielded
 *   WGL_STACK      a coroutine task that cannot yield where it is: its C stack is left as it is
 *   WGL_FOREIGN    a coroutine of another event loop, which has yielded to that loop
 *   WGL_BASE       code outside of tasks: it drives the loop until it is woken
 * Events of the core (a count at zero, the end of a context, ...) come by *subscriptions*: one for each event of a handle,
 * with all its waiters; any thread may fire it, into the *mailbox* of the state. Other events (the end of a coroutine task)
 * happen in the state itself.
 *
 * Tasks that can run stand in a queue. A *runner* takes them from it, on a C stack of its own: so neither can the code that
 * drives the loop be held up by a task that blocks, nor a task by another. See runner.c.
 *
 * Everything here is of the state's own thread, except for the mailbox. */
#ifndef WGL_LOOP_H
#define WGL_LOOP_H

#include "stack.h"
#include "wgl.h"

typedef enum wgl_event {
    WGL_NOTHING, /* just a deadline or a context */
    /* by subscription */
    WGL_AT_ZERO,     /* of a wait group */
    WGL_AT_OUTCOME,  /* of an error group */
    WGL_AT_END,      /* of a context, or of the context of an error group */
    WGL_AT_SLOT,     /* of an error group: each waiter has a subscription of its own, and gets a slot */
    WGL_AT_TASK_END, /* of a thread task */
    /* in the state itself */
    WGL_AT_RESULT, /* the end of a coroutine task */
    WGL_AT_PLACE,  /* a place ahead of the slots of an error group */
    WGL_AT_SCOPE,  /* all that `run` started has ended */
    WGL_AT_ALL     /* no coroutine task of the state is left */
} wgl_event;

/* What woke a waiter: its event, its deadline, its context's end; or nothing ever could. */
typedef enum wgl_reason { WGL_ASLEEP, WGL_READY, WGL_TIMED_OUT, WGL_ENDED, WGL_STUCK } wgl_reason;

typedef enum wgl_waiter_kind { WGL_TASK_WAITER, WGL_STACK_WAITER, WGL_FOREIGN_WAITER, WGL_BASE_WAITER } wgl_waiter_kind;

/* In a circular list, whose head points at the first; NULL while in none. */
typedef struct wgl_link {
    struct wgl_link *next, *prev;
} wgl_link;

/* What stands in the queue of what can run: the first member of a coroutine task, and of a waiter that has blocked its C
 * stack. */
struct wgl_runnable {
    wgl_runnable *next;
    bool is_task;
};

typedef struct wgl_waiter {
    wgl_runnable runnable;     /* of a WGL_STACK_WAITER */
    wgl_coroutine *task;       /* of a WGL_TASK_WAITER: which sleeps, or goes on */
    wgl_link of_home;          /* of such a one: among all of them */
    wgl_link subject, context; /* in the lists of what it waits for and of the context that ends the wait */
    wgl_link **subject_list, **context_list;
    union {
        int64_t deadline;     /* of its timer, while it sleeps */
        wg_errgroup *slot_of; /* then: where a slot has been taken for it, if `has_slot` */
    };
    wg_waiting *published; /* while it sleeps: what the core knows of it, or NULL */
    uint32_t timer;        /* its place in the heap; 0: none */
    uint8_t kind;          /* a wgl_waiter_kind */
    uint8_t event;         /* a wgl_event */
    uint8_t reason;        /* a wgl_reason */
    uint8_t slot;          /* a wg_status: what came of a wait for a slot */
    bool has_slot;         /* one has been taken, and is neither used nor given back */
} wgl_waiter;

/* What a wait is for. */
typedef struct wgl_wish {
    wgl_event event;
    wgl_handle *subject; /* of an event by subscription; its value stays on the caller's stack */
    wgl_link **list;     /* of an event in the state */
    wgl_handle *context; /* whose end ends the wait, also a group for its context; or NULL */
    bool own;            /* NULL stands for the context of the running task, if there is one */
    int64_t deadline;
} wgl_wish;

/* --- subscriptions and the mailbox: subscription.c --- */

typedef struct wgl_subscription wgl_subscription;

struct wgl_subscription {
    wg_observer observer;
    wgl_home *home;                 /* borrowed: subscriptions end with the home's state */
    wgl_object *subject;            /* with a reference */
    wgl_handle *handle;             /* on whose list it is; NULL: on none */
    wgl_coroutine *scope;           /* of the thread task that it stands for, or NULL */
    wgl_link *waiters;              /* for the event */
    wgl_link *dependants;           /* waiters for something else, whose context this event ends */
    wgl_subscription *of_handle;    /* the next on the handle's list */
    wgl_subscription *fired;        /* the next in the mailbox, or among those whose callbacks are due */
    wgl_subscription *next, **link; /* among all of the state */
    uint8_t event;
    bool cancelled; /* nothing waits for it any more: it is freed when it comes out of the mailbox */
};

/* The subscription of `handle` for `event`, made if need be; a new one for a slot. NULL: no memory. */
wgl_subscription *wgl_subscribe(wgl_home *home, wgl_handle *handle, wgl_event event);
/* The event of the core. */
wg_event wgl_event_of(wgl_object *subject, wgl_event event);
/* Give it up, if nothing waits for it any more. */
void wgl_subscription_settle(wgl_subscription *subscription);
/* A thread task of a scope: tell when it ends. False: no memory. */
bool wgl_subscribe_scope(wgl_home *home, wgl_handle *task, wgl_coroutine *scope);
/* Wake what waits for events that have come. */
void wgl_subscriptions_deliver(lua_State *L, wgl_home *home);
/* Run the callbacks of contexts that have ended. They may raise nothing, and may wait. */
void wgl_callbacks_run(lua_State *L, wgl_home *home);
void wgl_callbacks_drop(wgl_home *home); /* without memory to run them */
/* on_cancel(fn) of the context at 1, fn at 2: pushes the function that prevents it. */
void wgl_callback_add(lua_State *L, wgl_home *home);
/* The handle goes: with `keep`, waiters of it are still to be woken. */
void wgl_handle_unsubscribe(wgl_home *home, wgl_handle *handle, bool keep);
/* What contexts with callbacks have told nobody yet, though they have ended, is delivered, or in the mailbox. */
void wgl_subscriptions_catch_up(lua_State *L, wgl_home *home);
void wgl_subscriptions_forget_callbacks(wgl_home *home);
void wgl_subscriptions_close(wgl_home *home);
/* One task less of the scope. */
void wgl_scope_leave(lua_State *L, wgl_home *home, wgl_coroutine *scope);

/* --- the loop: loop.c --- */

/* Wait for what `wish` says, then go on with `k`, which asks wgl_woken for the reason before it touches the stack, and
 * finds it then as it was. A coroutine task yields; where it cannot, its C stack is left; a coroutine of another event loop
 * yields to that; anything else drives the loop, or blocks the thread if there is nothing to drive. To be returned:
 * `return wgl_wait(...)`. */
int wgl_wait(lua_State *L, const wgl_wish *wish, lua_KFunction k);
wgl_reason wgl_woken(lua_State *L, int status, lua_KContext how);

/* Wait for a slot of the group at 1, as wgl_wait does. */
int wgl_wait_for_slot(lua_State *L, lua_KFunction k);

/* Let others run once, then go on with `k`, in the same way. */
int wgl_yield(lua_State *L, lua_KFunction k);

/* Put a waiter into the lists. False: no memory, and it is in none. */
bool wgl_waiter_join(wgl_home *home, wgl_waiter *waiter, const wgl_wish *wish);
void wgl_waiter_leave(wgl_home *home, wgl_waiter *waiter);
/* The same for `task`, or NULL for the code that drives the loop, and publish it; with NULL for the waiter, `task` gets one.
 * Raises if it would wait for ever. */
void wgl_join(lua_State *L, wgl_home *home, wgl_waiter *waiter, const wgl_wish *wish, wgl_coroutine *task);
void wgl_waiter_wake(wgl_home *home, wgl_waiter *waiter, wgl_reason reason);
/* What woke it, for the code that goes on: home->slot says what came of a wait for a slot, which is now its own. */
wgl_reason wgl_waiter_take(wgl_home *home, wgl_waiter *waiter);
void wgl_waiter_drop(wgl_waiter *waiter); /* the code does not go on: a slot is given back */
/* Wake the waiter whose link this is: it has waited for a slot of the group, and `status` is what came of that. */
void wgl_waiter_give_slot(wgl_home *home, wgl_link *link, wg_errgroup *group, wg_status status);
void wgl_wake_list(wgl_home *home, wgl_link **list, wgl_reason reason);
void wgl_wake_first(wgl_home *home, wgl_link **list); /* of a list that is not empty: it is ready */
void wgl_wake_dependants(wgl_home *home, wgl_link **list);
void wgl_enqueue(wgl_home *home, wgl_runnable *runnable);

/* A task that has not started gets a waiter, which puts it into the queue of what can run. False: no memory. */
bool wgl_task_stand(wgl_home *home, wgl_coroutine *task, const wgl_wish *wish);

/* The task goes on, or ends: give up the waiter that it has had since its wait, if there is one, and its slot. */
void wgl_task_waiter_drop(wgl_home *home, wgl_coroutine *task);

/* Wake what events, timers and other threads have made ready. Runs no Lua code. */
void wgl_collect(lua_State *L, wgl_home *home);
/* Let what is ready run once, without sleeping; outside of tasks only. */
void wgl_step(lua_State *L, wgl_home *home);
/* Let all coroutine tasks of this state end; those that never can are ended, and the error says so. */
void wgl_loop_close(wgl_home *home);
int64_t wgl_next_deadline(const wgl_home *home);
/* Whether the thread may just block, for there is nothing that it could run meanwhile. May raise. */
bool wgl_nothing_to_drive(lua_State *L, wgl_home *home);
/* After a signal: its handler may have asked for something by a hook. May raise. */
void wgl_let_hooks_run(lua_State *L);

/* The observer that tells the waiter, which sleeps, of its event; NULL: there is none. */
wg_observer *wgl_waiter_observer(wgl_waiter *waiter);

/* --- waits told to the core: publish.c --- */

/* Where in the program a wait is, and which task waits. */
typedef struct wgl_place {
    wg_place place;
    wg_waiting_task task;
    bool is_task; /* it is a coroutine task; else the tasks that the thread runs */
    char file[LUA_IDSIZE], name[WGL_NAME_SIZE];
} wgl_place;

/* `task`: the coroutine task that waits, or NULL. May raise. */
void wgl_place_find(lua_State *L, wgl_coroutine *task, wgl_place *place);
/* The waiter is in its lists. False: it would wait for ever. */
bool wgl_publish(wgl_home *home, wgl_waiter *waiter, const wgl_wish *wish, const wgl_place *place);
void wgl_withdraw(wgl_home *home, wgl_waiter *waiter);
/* The same for a thread that blocks in the core: until when, with room for a report. `place` stays. */
typedef struct wgl_block {
    wg_until until;
    char report[2000];
} wgl_block;
void wgl_block_begin(wgl_block *block, int64_t deadline, wg_context *context, const wgl_place *place);
/* It returned WG_DEADLOCK: keep the report for wgl_raise_deadlock; or raise that. */
void wgl_block_report(wgl_home *home, const wgl_block *block);
int wgl_block_raise(lua_State *L, const wgl_block *block);
/* Why a wait for a slot of the group is stuck, in short; NULL: it takes the steps to tell. */
const char *wgl_why_stuck(lua_State *L, const wgl_object *group);
/* Raise what the last deadlock of this state was. `why`: in short, or NULL. */
int wgl_raise_deadlock(lua_State *L, const char *why, int level);

/* --- runners: runner.c --- */

/* See that there is a runner, since a task is to be started. May raise. */
void wgl_runner_reserve(lua_State *L, wgl_home *home);
/* Run what is ready, not what becomes ready meanwhile, and only so much that timers and other threads get their turn. */
void wgl_run_ready(lua_State *L, wgl_home *home);
/* Leave this C stack until `waiter` is woken. False: there is no memory for another one. May raise. */
bool wgl_runner_block(lua_State *L, wgl_home *home, wgl_waiter *waiter);
/* What the task sleeps for on a C stack that it has blocked, or NULL. */
wgl_waiter *wgl_runner_waiter_of(const wgl_home *home, const wgl_coroutine *task);
/* The waiter that has blocked its C stack last and is still asleep, or NULL. */
wgl_waiter *wgl_runner_blocked(const wgl_home *home);
void wgl_runners_close(wgl_home *home);
/* Let `co`, about to go on, run for the coroutine that drives: it gets that one's extra space. */
void wgl_take_place(const wgl_home *home, lua_State *co);

/* --- other event loops: foreign.c --- */

/* Whether L is a coroutine of the event loop in use. May raise. */
bool wgl_in_foreign_loop(lua_State *L, const wgl_home *home);
int wgl_wait_in_foreign_loop(lua_State *L, wgl_home *home, const wgl_wish *wish, lua_KFunction k);
void wgl_foreign_rearm(wgl_home *home); /* what other loops sleep on becomes readable when there is something to do */
void wgl_foreign_serve(lua_State *L, wgl_home *home); /* tasks run in the other loop, also if nobody waits for them */
void wgl_foreign_forget(lua_State *L, wgl_home *home);
/* The task of the coroutine L, if it is foreign; out of these; and the task at `self` has yielded `results` values. */
wgl_coroutine *wgl_foreign_task(lua_State *L);
void wgl_foreign_leave(lua_State *L, wgl_home *home, wgl_coroutine *task);
void wgl_foreign_yield(lua_State *L, wgl_home *home, wgl_coroutine *task, int self, int results);

#endif
