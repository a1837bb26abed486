/* subscription.c - the events of the core that a Lua state waits for, and its mailbox.
 *
 * A subscription observes one event of one object. When the event comes, the core calls `fire` in whatever thread brought it
 * about: that pushes the subscription into the mailbox of its home and, if the state listens, makes its descriptor readable.
 * Only the state's own thread takes subscriptions out of the mailbox, so one that lost the race against its removal is just
 * freed when it comes.
 *
 * A handle has a list of its subscriptions: all waiters for one event share one. The subscription for a context's end stays
 * until the handle goes, the others go with their last waiter. The callbacks of a context are a table in a user value of its
 * handle: so they are gone when nothing can reach the context any more. */
#include <stdlib.h>

#include "loop.h"

/* --- firing, in any thread --- */

static void fire(void *arg) {
    wgl_subscription *subscription = arg;
    wgl_home *home = wgl_home_retain(subscription->home); /* the subscription may be gone once it is in the mailbox */
    subscription->fired = atomic_load(&home->fired);
    while (!atomic_compare_exchange_weak(&home->fired, &subscription->fired, subscription)) {}
    if (atomic_load(&home->listening))
        wgl_home_wake(home);
    wgl_home_release(home);
}

wg_event wgl_event_of(wgl_object *subject, wgl_event event) {
    switch (event) {
    case WGL_AT_ZERO: return wg_zero(((wgl_waitgroup *)subject)->wg);
    case WGL_AT_OUTCOME: return wg_outcome(((wgl_errgroup *)subject)->group);
    case WGL_AT_END:
        return wg_ended(subject->kind == WGL_ERRGROUP ? ((wgl_errgroup *)subject)->context->ctx
                                                      : ((wgl_context *)subject)->ctx);
    case WGL_AT_SLOT: return wg_slot(((wgl_errgroup *)subject)->group);
    case WGL_AT_TASK_END: return wg_zero(&((wgl_task *)subject)->done);
    default: return (wg_event){.subject_ = NULL}; /* not of the core */
    }
}

static wg_event event_of(const wgl_subscription *s) { return wgl_event_of(s->subject, (wgl_event)s->event); }

static void observe(wgl_subscription *s) { (void)wg_event_observe(event_of(s), &s->observer, fire, s); }

/* --- making and giving up --- */

static wgl_subscription *new_subscription(wgl_home *home, wgl_object *subject, wgl_event event) {
    wgl_subscription *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->home = home;
    s->subject = wgl_retain(subject);
    s->event = (uint8_t)event;
    s->next = home->subscriptions;
    s->link = &home->subscriptions;
    if (s->next)
        s->next->link = &s->next;
    home->subscriptions = s;
    return s;
}

static void free_subscription(wgl_subscription *s) {
    *s->link = s->next;
    if (s->next)
        s->next->link = s->link;
    wgl_release(s->subject);
    free(s);
}

static void leave_handle(wgl_subscription *s) {
    if (!s->handle)
        return;
    wgl_subscription **at = &s->handle->subscriptions;
    while (*at != s)
        at = &(*at)->of_handle;
    *at = s->of_handle;
    s->handle = NULL;
}

wgl_subscription *wgl_subscribe(wgl_home *home, wgl_handle *handle, wgl_event event) {
    wgl_subscription *s = handle->subscriptions;
    while (s && (s->event != event || s->cancelled || event == WGL_AT_SLOT))
        s = s->of_handle;
    if (s || !(s = new_subscription(home, handle->object, event)))
        return s;
    s->handle = handle;
    s->of_handle = handle->subscriptions;
    handle->subscriptions = s;
    observe(s);
    return s;
}

static void give_up(wgl_subscription *s) {
    leave_handle(s);
    if (wg_event_unobserve(event_of(s), &s->observer))
        free_subscription(s);
    else
        s->cancelled = true;
}

void wgl_subscription_settle(wgl_subscription *s) {
    if (!s->waiters && !s->dependants && !s->cancelled && !(s->event == WGL_AT_END && s->handle))
        give_up(s);
}

bool wgl_subscribe_scope(wgl_home *home, wgl_handle *task, wgl_coroutine *scope) {
    wgl_subscription *s = new_subscription(home, task->object, WGL_AT_TASK_END);
    if (!s)
        return false;
    s->scope = scope;
    observe(s);
    return true;
}

void wgl_handle_unsubscribe(wgl_home *home, wgl_handle *handle, bool keep) {
    home->callbacks -= handle->callbacks;
    handle->callbacks = 0;
    while (handle->subscriptions) {
        wgl_subscription *s = handle->subscriptions;
        leave_handle(s);
        if (!keep || (!s->waiters && !s->dependants))
            give_up(s);
    }
}

/* --- delivering --- */

/* The subscriptions in the mailbox, in the order in which they fired. */
static wgl_subscription *take_fired(wgl_home *home) {
    if (!atomic_load(&home->fired))
        return NULL;
    wgl_subscription *s = atomic_exchange(&home->fired, NULL), *ordered = NULL;
    while (s) {
        wgl_subscription *next = s->fired;
        s->fired = ordered;
        ordered = s;
        s = next;
    }
    return ordered;
}

/* The slot that has been taken goes to what waits for it, or back. */
static void hand_over(wgl_home *home, wgl_subscription *s) {
    wg_errgroup *group = ((wgl_errgroup *)s->subject)->group;
    wg_status status = wg_slot_status(&s->observer);
    if (s->waiters)
        wgl_waiter_give_slot(home, s->waiters, group, status);
    else if (status == WG_OK)
        wg_errgroup_give_slot(group);
}

/* Its event has come. */
static void deliver(lua_State *L, wgl_home *home, wgl_subscription *s) {
    s->cancelled = true; /* set already if nothing waits for it; from now on a waiter that leaves does not free it */
    if (s->event == WGL_AT_SLOT)
        hand_over(home, s);
    wgl_wake_list(home, &s->waiters, WGL_READY);
    wgl_wake_dependants(home, &s->dependants);
    if (s->scope)
        wgl_scope_leave(L, home, s->scope);
    if (s->event == WGL_AT_END && s->handle && s->handle->callbacks > 0) {
        s->fired = NULL;
        *home->last_due = s;
        home->last_due = &s->fired;
    } else {
        leave_handle(s);
        free_subscription(s);
    }
}

static wg_status state_of(const wgl_subscription *s) {
    const wg_until now = {.deadline = WG_POLL, .context = wg_context_root()};
    return wg_event_wait(event_of(s), &now);
}

static bool is_forked(const wgl_subscription *s) {
    return s->event != WGL_AT_END && s->event != WGL_AT_SLOT && state_of(s) == WG_FORKED;
}

/* In the child of a fork no thread of the parent brings its events any more: all that waits is woken, looks again, and
 * returns that the tasks are in the parent. */
static void deliver_forked(lua_State *L, wgl_home *home) {
    wgl_subscription *forked = NULL;
    for (wgl_subscription *s = home->subscriptions; s; s = s->next)
        if (!s->cancelled && is_forked(s) && wg_event_unobserve(event_of(s), &s->observer)) {
            s->fired = forked;
            forked = s;
        }
    while (forked) {
        wgl_subscription *s = forked;
        forked = s->fired;
        deliver(L, home, s);
    }
}

void wgl_subscriptions_deliver(lua_State *L, wgl_home *home) {
    wgl_failures_collect(L, home);
    if (home->epoch != wg_fork_epoch()) {
        home->epoch = wg_fork_epoch();
        deliver_forked(L, home);
    }
    for (wgl_subscription *s = take_fired(home), *next; s; s = next) {
        next = s->fired;
        deliver(L, home, s);
    }
}

/* A context shows its end before it tells its observers. */
void wgl_subscriptions_catch_up(lua_State *L, wgl_home *home) {
    for (wgl_subscription *s = home->subscriptions, *next; s; s = next) {
        next = s->next;
        if (s->event == WGL_AT_END && !s->cancelled && s->handle && s->handle->callbacks > 0 &&
            state_of(s) != WG_TIMEOUT && wg_event_unobserve_sync(event_of(s), &s->observer))
            deliver(L, home, s); /* else it is in the mailbox now */
    }
}

/* --- callbacks --- */

enum { UP_CALLBACKS = lua_upvalueindex(1), UP_PLACE = lua_upvalueindex(2), UP_CONTEXT = lua_upvalueindex(3) };

/* stop(): true if it prevented the call. */
static int stop(lua_State *L) {
    wgl_handle *handle = lua_touserdata(L, UP_CONTEXT);
    bool there = lua_rawgeti(L, UP_CALLBACKS, lua_tointeger(L, UP_PLACE)) == LUA_TFUNCTION;
    if (there) {
        lua_pushboolean(L, false);
        lua_rawseti(L, UP_CALLBACKS, lua_tointeger(L, UP_PLACE));
        if (handle->callbacks > 0) { /* else the state is being closed */
            handle->callbacks--;
            wgl_home_of(L)->callbacks--;
        }
    }
    lua_pushboolean(L, there);
    return 1;
}

/* A callable value becomes a function, so that it is known as one. */
static int call_value(lua_State *L) {
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_call(L, 0, 0);
    return 0;
}

void wgl_callback_add(lua_State *L, wgl_home *home) {
    wgl_handle *handle = lua_touserdata(L, 1);
    if (!lua_isfunction(L, 2)) {
        lua_pushvalue(L, 2);
        lua_pushcclosure(L, call_value, 1);
        lua_replace(L, 2);
    }
    if (lua_getiuservalue(L, 1, WGL_CALLBACKS) != LUA_TTABLE) {
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, 1, WGL_CALLBACKS);
        lua_replace(L, -2);
    }
    lua_Integer place = (lua_Integer)lua_rawlen(L, -1) + 1;
    lua_pushvalue(L, -1);
    lua_pushinteger(L, place);
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, stop, 3);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -3, place);
    handle->callbacks++;
    home->callbacks++;
    if (!wgl_subscribe(home, handle, WGL_AT_END)) {
        lua_pushnil(L);
        lua_rawseti(L, -3, place);
        handle->callbacks--;
        home->callbacks--;
        luaL_error(L, "not enough memory");
    }
}

/* The callbacks of the context whose handle is on top. Pops it. */
static void call_back(lua_State *L, wgl_home *home) {
    wgl_handle *handle = lua_touserdata(L, -1);
    home->callbacks -= handle->callbacks;
    handle->callbacks = 0;
    lua_getiuservalue(L, -1, WGL_CALLBACKS);
    lua_pushnil(L);
    lua_setiuservalue(L, -3, WGL_CALLBACKS);
    int callbacks = lua_gettop(L);
    lua_Integer count = (lua_Integer)lua_rawlen(L, callbacks);
    for (lua_Integer i = 1; i <= count; i++) {
        if (lua_rawgeti(L, callbacks, i) == LUA_TFUNCTION) {
            lua_pushboolean(L, false);
            lua_rawseti(L, callbacks, i);
            wgl_call_reporting(L);
        }
        lua_settop(L, callbacks);
    }
    lua_settop(L, callbacks - 2);
}

static wgl_subscription *take_due(wgl_home *home) {
    wgl_subscription *s = home->due;
    if (!(home->due = s->fired))
        home->last_due = &home->due;
    return s;
}

void wgl_callbacks_drop(wgl_home *home) {
    wgl_subscription *s = take_due(home);
    if (s->handle) {
        home->callbacks -= s->handle->callbacks;
        s->handle->callbacks = 0;
    }
    leave_handle(s);
    free_subscription(s);
}

void wgl_callbacks_run(lua_State *L, wgl_home *home) {
    while (home->due) {
        wgl_subscription *s = take_due(home);
        bool reachable = s->handle != NULL;
        if (reachable)
            wgl_push(L, s->subject); /* it is in the cache */
        leave_handle(s);
        free_subscription(s);
        if (reachable)
            call_back(L, home);
    }
}

void wgl_subscriptions_forget_callbacks(wgl_home *home) {
    for (wgl_subscription *s = home->subscriptions, *next; s; s = next) {
        next = s->next;
        if (s->handle && s->handle->callbacks > 0 && s->event == WGL_AT_END) {
            home->callbacks -= s->handle->callbacks;
            s->handle->callbacks = 0;
            if (!s->cancelled)
                wgl_subscription_settle(s);
        }
    }
}

/* --- the end of the state --- */

void wgl_subscriptions_close(wgl_home *home) {
    for (wgl_subscription *s = home->subscriptions, *next; s; s = next) {
        next = s->next;
        if (!wg_event_unobserve_sync(event_of(s), &s->observer) && s->event == WGL_AT_SLOT &&
            wg_slot_status(&s->observer) == WG_OK)
            wg_errgroup_give_slot(((wgl_errgroup *)s->subject)->group);
        leave_handle(s);
        free_subscription(s);
    }
    atomic_store(&home->fired, NULL);
    home->due = NULL;
    home->last_due = &home->due;
}
