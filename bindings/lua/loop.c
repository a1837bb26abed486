/* loop.c - waiters, timers, the queue of what can run, and code outside of tasks that drives all this. See loop.h. */
#include <stdlib.h>

#include "loop.h"
#include "task.h"

/* --- lists of waiters --- */

static void link_last(wgl_link **list, wgl_link *link) {
    if (!*list) {
        link->next = link->prev = link;
        *list = link;
        return;
    }
    link->next = *list;
    link->prev = (*list)->prev;
    link->prev->next = link->next->prev = link;
}

static void unlink_from(wgl_link **list, wgl_link *link) {
    if (link->next == link)
        *list = NULL;
    else if (*list == link)
        *list = link->next;
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = link->prev = NULL;
}

static wgl_waiter *waiter_of_subject(wgl_link *link) {
    return (wgl_waiter *)(void *)((char *)link - offsetof(wgl_waiter, subject));
}

static wgl_waiter *waiter_of_context(wgl_link *link) {
    return (wgl_waiter *)(void *)((char *)link - offsetof(wgl_waiter, context));
}

static bool by_subscription(const wgl_waiter *waiter) {
    return waiter->event >= WGL_AT_ZERO && waiter->event <= WGL_AT_TASK_END;
}

static wgl_subscription *subscription_of_waiters(wgl_link **list) {
    return (wgl_subscription *)(void *)((char *)list - offsetof(wgl_subscription, waiters));
}

static const wgl_handle *handle_of_places(wgl_link **list) {
    return (const wgl_handle *)(const void *)((const char *)list - offsetof(wgl_handle, places));
}

static wgl_subscription *subscription_of_dependants(wgl_link **list) {
    return (wgl_subscription *)(void *)((char *)list - offsetof(wgl_subscription, dependants));
}

/* --- timers: a binary heap by deadline, from 1 on; each waiter knows its place --- */

static void put_timer(wgl_home *home, wgl_waiter *waiter, uint32_t place) {
    home->timers[place] = waiter;
    waiter->timer = place;
}

static void sift_up(wgl_home *home, wgl_waiter *waiter, uint32_t place) {
    for (; place > 1 && home->timers[place / 2]->deadline > waiter->deadline; place /= 2)
        put_timer(home, home->timers[place / 2], place);
    put_timer(home, waiter, place);
}

static void sift_down(wgl_home *home, wgl_waiter *waiter, uint32_t place) {
    for (uint32_t child; (child = 2 * place) <= home->timers_count; place = child) {
        if (child < home->timers_count && home->timers[child + 1]->deadline < home->timers[child]->deadline)
            child++;
        if (home->timers[child]->deadline >= waiter->deadline)
            break;
        put_timer(home, home->timers[child], place);
    }
    put_timer(home, waiter, place);
}

static bool start_timer(wgl_home *home, wgl_waiter *waiter, int64_t deadline) {
    if (home->timers_count + 1 >= home->timers_capacity) {
        uint32_t capacity = home->timers_capacity ? 2 * home->timers_capacity : 16;
        wgl_waiter **timers = realloc(home->timers, capacity * sizeof(wgl_waiter *));
        if (!timers)
            return false;
        home->timers = timers;
        home->timers_capacity = capacity;
    }
    waiter->deadline = deadline;
    sift_up(home, waiter, ++home->timers_count);
    return true;
}

static void stop_timer(wgl_home *home, wgl_waiter *waiter) {
    wgl_waiter *last = home->timers[home->timers_count--];
    uint32_t place = waiter->timer;
    waiter->timer = 0;
    if (last == waiter)
        return;
    sift_up(home, last, place);
    sift_down(home, last, last->timer);
}

int64_t wgl_next_deadline(const wgl_home *home) {
    return home->timers_count > 0 ? home->timers[1]->deadline : WG_FOREVER;
}

/* --- waiters --- */

/* Outside of a batch: another event loop may have resumed the task that brought this about. */
static void wake_loop(wgl_home *home) {
    if (atomic_load_explicit(&home->listening, memory_order_relaxed))
        wgl_home_wake(home);
}

void wgl_enqueue(wgl_home *home, wgl_runnable *runnable) {
    runnable->next = NULL;
    *home->last_ready = runnable;
    home->last_ready = &runnable->next;
    home->ready_count++;
    wake_loop(home);
}

static bool join_subject(wgl_home *home, wgl_waiter *waiter, const wgl_wish *wish) {
    wgl_link **list = wish->list;
    waiter->event = (uint8_t)wish->event;
    if (by_subscription(waiter)) {
        wgl_subscription *s = wgl_subscribe(home, wish->subject, wish->event);
        if (!s)
            return false;
        list = &s->waiters;
    }
    if (list) {
        waiter->subject_list = list;
        link_last(list, &waiter->subject);
    }
    return true;
}

static bool join_context(wgl_home *home, wgl_waiter *waiter, wgl_handle *context) {
    wgl_subscription *s = context ? wgl_subscribe(home, context, WGL_AT_END) : NULL;
    if (s) {
        waiter->context_list = &s->dependants;
        link_last(&s->dependants, &waiter->context);
    }
    return s || !context;
}

bool wgl_waiter_join(wgl_home *home, wgl_waiter *waiter, const wgl_wish *wish) {
    waiter->reason = WGL_ASLEEP;
    waiter->published = NULL;
    home->asleep++;
    if (join_subject(home, waiter, wish) && join_context(home, waiter, wish->context) &&
        (wish->deadline == WG_FOREVER || start_timer(home, waiter, wish->deadline)))
        return true;
    wgl_waiter_leave(home, waiter);
    return false;
}

wg_observer *wgl_waiter_observer(wgl_waiter *waiter) {
    return by_subscription(waiter) ? &subscription_of_waiters(waiter->subject_list)->observer : NULL;
}

void wgl_waiter_leave(wgl_home *home, wgl_waiter *waiter) {
    home->asleep--;
    if (waiter->published)
        wgl_withdraw(home, waiter);
    if (waiter->timer)
        stop_timer(home, waiter);
    if (waiter->subject.next) {
        unlink_from(waiter->subject_list, &waiter->subject);
        if (by_subscription(waiter))
            wgl_subscription_settle(subscription_of_waiters(waiter->subject_list));
    }
    if (waiter->context.next) {
        unlink_from(waiter->context_list, &waiter->context);
        wgl_subscription_settle(subscription_of_dependants(waiter->context_list));
    }
}

void wgl_waiter_wake(wgl_home *home, wgl_waiter *waiter, wgl_reason reason) {
    wgl_waiter_leave(home, waiter);
    waiter->reason = (uint8_t)reason;
    if (waiter->kind == WGL_TASK_WAITER)
        wgl_enqueue(home, &waiter->task->runnable);
    else if (waiter->kind == WGL_STACK_WAITER)
        wgl_enqueue(home, &waiter->runnable);
    else if (waiter->kind == WGL_FOREIGN_WAITER) {
        home->foreign_woken++;
        wake_loop(home);
    }
}

void wgl_waiter_give_slot(wgl_home *home, wgl_link *link, wg_errgroup *group, wg_status status) {
    wgl_waiter *waiter = waiter_of_subject(link);
    wgl_waiter_wake(home, waiter, WGL_READY);
    waiter->slot = (uint8_t)status;
    waiter->has_slot = status == WG_OK;
    waiter->slot_of = group;
}

wgl_reason wgl_waiter_take(wgl_home *home, wgl_waiter *waiter) {
    home->slot = (wg_status)waiter->slot;
    waiter->has_slot = false;
    return (wgl_reason)waiter->reason;
}

void wgl_waiter_drop(wgl_waiter *waiter) {
    if (waiter->has_slot)
        wg_errgroup_give_slot(waiter->slot_of);
    waiter->has_slot = false;
}

/* They are in a list, since a state may be closed while they sleep. */
static wgl_waiter *waiter_of_home(wgl_link *link) {
    return (wgl_waiter *)(void *)((char *)link - offsetof(wgl_waiter, of_home));
}

static wgl_waiter *new_task_waiter(wgl_home *home, wgl_coroutine *task) {
    wgl_waiter *waiter = malloc(sizeof *waiter);
    if (!waiter)
        return NULL;
    *waiter = (wgl_waiter){.kind = WGL_TASK_WAITER, .task = task};
    link_last(&home->waiters, &waiter->of_home);
    return waiter;
}

static void free_task_waiter(wgl_home *home, wgl_waiter *waiter) {
    wgl_waiter_drop(waiter);
    unlink_from(&home->waiters, &waiter->of_home);
    free(waiter);
}

bool wgl_task_stand(wgl_home *home, wgl_coroutine *task, const wgl_wish *wish) {
    task->waiter = new_task_waiter(home, task);
    if (task->waiter && wgl_waiter_join(home, task->waiter, wish))
        return true;
    wgl_task_waiter_drop(home, task);
    return false;
}

void wgl_task_waiter_drop(wgl_home *home, wgl_coroutine *task) {
    if (task->waiter)
        free_task_waiter(home, task->waiter);
    task->waiter = NULL;
}

void wgl_wake_list(wgl_home *home, wgl_link **list, wgl_reason reason) {
    while (*list)
        wgl_waiter_wake(home, waiter_of_subject(*list), reason);
}

void wgl_wake_first(wgl_home *home, wgl_link **list) { wgl_waiter_wake(home, waiter_of_subject(*list), WGL_READY); }

void wgl_wake_dependants(wgl_home *home, wgl_link **list) {
    while (*list)
        wgl_waiter_wake(home, waiter_of_context(*list), WGL_ENDED);
}

void wgl_collect(lua_State *L, wgl_home *home) {
    wgl_subscriptions_deliver(L, home);
    if (home->timers_count == 0)
        return;
    int64_t now = wg_now();
    while (home->timers_count > 0 && home->timers[1]->deadline <= now)
        wgl_waiter_wake(home, home->timers[1], WGL_TIMED_OUT);
}

void wgl_step(lua_State *L, wgl_home *home) {
    wgl_collect(L, home);
    wgl_run_ready(L, home);
    wgl_collect(L, home);
}

static bool something_is_ready(const wgl_home *home) { return home->ready_count > 0 || home->due; }

/* --- what is certain never to come --- */

/* In all that follows, *hope becomes true where something may come only because of tasks on other threads: see hope.c. */

/* Whether another thread may end the context or one above it. */
static bool ended_from_outside(const wgl_context *context, bool *hope) {
    if (context->ctx == wg_context_root())
        return false;
    if (wg_context_deadline(context->ctx) != WG_FOREVER)
        return true;
    for (const wgl_context *at = context; at; at = at->parent)
        if (atomic_load(&at->object.shared) || wgl_worker_is_for(at)) /* by the state that has started the task */
            return true;
    bool unfinished = wgl_thread_tasks_unfinished();
    *hope |= unfinished;
    return unfinished;
}

/* Whether the group has tasks except those `own` ones that are coroutines of this state, all of which sleep. */
static bool has_others(wgl_errgroup *g, unsigned own, bool *hope) {
    if (own > 0)
        wgl_hope_for(g, own); /* before the count is read */
    int unfinished = wg_count(wg_errgroup_tasks(g->group));
    bool others = (unsigned)unfinished > own;
    *hope |= others && own > 0;
    return others || unfinished == 0; /* none: the event is on its way */
}

/* Whether the event of the group may come without its `own` tasks: those of this state. What has entered it here is among them:
 * while the state waits outside of tasks, and all of these sleep, no code runs that could leave. */
static bool group_from_outside(wgl_errgroup *g, unsigned own, wgl_event event, bool *hope) {
    if (has_others(g, own, hope))
        return true;
    bool may_end = wg_context_check(g->context->ctx) != WG_OK || ended_from_outside(g->context, hope);
    if (event == WGL_AT_SLOT)
        return wg_count(wg_errgroup_tasks(g->group)) < wg_errgroup_limit(g->group) || may_end;
    return g->grace > 0 && may_end;
}

/* Whether anything except the coroutines of this state may bring about the event of the subscription. */
static bool from_outside(const wgl_subscription *s, bool *hope) {
    wgl_object *subject = s->subject;
    if (!s->handle) /* it was finalized; or it is the end of a thread task */
        return true;
    if (s->event == WGL_AT_END)
        return ended_from_outside(
            subject->kind == WGL_ERRGROUP ? ((wgl_errgroup *)subject)->context : (wgl_context *)subject, hope);
    if (subject->kind == WGL_ERRGROUP)
        return group_from_outside((wgl_errgroup *)subject, s->handle->tasks, s->event, hope);
    return subject->kind == WGL_TASK || atomic_load(&subject->shared);
}

static bool nothing_can_come(const wgl_home *home, bool *hope) {
    if (home->timers_count > 0 || home->foreign_waiters > 0 || home->foreign_tasks > 0)
        return false;
    for (const wgl_subscription *s = home->subscriptions; s; s = s->next)
        if ((s->waiters || s->dependants || s->scope) && !s->cancelled && from_outside(s, hope))
            return false;
    return true;
}

/* --- the report of a deadlock --- */

/* Push what a waiter waits for, in words. */
static void push_subject(lua_State *L, const wgl_waiter *waiter) {
    if (by_subscription(waiter) && waiter->subject.next) {
        wgl_subscription *s = subscription_of_waiters(waiter->subject_list);
        if (s->event == WGL_AT_SLOT)
            lua_pushliteral(L, "room in ");
        if (s->subject->kind == WGL_TASK)
            wgl_task_push_text(L, (wgl_task *)s->subject);
        else {
            wgl_push(L, s->subject);
            luaL_tolstring(L, -1, NULL);
            lua_remove(L, -2);
        }
        if (s->event == WGL_AT_SLOT)
            lua_concat(L, 2);
    } else if (waiter->event == WGL_AT_RESULT && waiter->subject.next) {
        wgl_coroutine_push(L, wgl_coroutine_of_results(waiter->subject_list));
        luaL_tolstring(L, -1, NULL);
        lua_remove(L, -2);
    } else if (waiter->event == WGL_AT_PLACE && waiter->subject.next) {
        const wgl_handle *group = handle_of_places(waiter->subject_list);
        lua_pushliteral(L, "a place in the backlog of ");
        wgl_push(L, group->object);
        luaL_tolstring(L, -1, NULL);
        lua_remove(L, -2);
        lua_concat(L, 2);
    } else if (waiter->event == WGL_AT_SCOPE)
        lua_pushliteral(L, "all that `run` started");
    else if (waiter->event == WGL_AT_ALL)
        lua_pushliteral(L, "all tasks of this thread");
    else
        lua_pushliteral(L, "its context to end");
}

/* What the task sleeps for, or NULL. */
static const wgl_waiter *waiter_of(const wgl_home *home, const wgl_coroutine *task) {
    return wgl_coroutine_sleeps(task) ? task->waiter : wgl_runner_waiter_of(home, task);
}

/* Add the task at 4, if it sleeps, and where, to the text at 3. */
static void add_task(lua_State *L, const wgl_home *home) {
    wgl_coroutine *task = lua_touserdata(L, 4);
    const wgl_waiter *waiter = task ? waiter_of(home, task) : NULL;
    if (waiter) {
        lua_pushvalue(L, 3);
        lua_pushliteral(L, "\n  task ");
        wgl_coroutine_push_name(L, 4);
        lua_pushliteral(L, " waits for ");
        push_subject(L, waiter);
        luaL_traceback(L, task->co, "", 0);
        luaL_gsub(L, lua_tostring(L, -1), "\n", "\n    ");
        lua_remove(L, -2);
        lua_concat(L, 6);
        lua_replace(L, 3);
    }
    lua_settop(L, 3);
}

/* report(waiter that drives) -> text */
static int push_report(lua_State *L) {
    const wgl_waiter *base = lua_touserdata(L, 1);
    const wgl_home *home = wgl_home_of(L);
    luaL_checkstack(L, 20, NULL);
    wgl_coroutine_push_all(L);
    lua_pushliteral(L, "deadlock: nothing can ever run again\n  the caller waits for ");
    push_subject(L, base);
    lua_concat(L, 2);
    for (lua_Integer i = 1; i <= home->slots; i++) {
        lua_rawgeti(L, 2, i);
        add_task(L, home);
    }
    return 1;
}

/* --- waiting --- */

const char *wgl_why_stuck(lua_State *L, const wgl_object *group) {
    bool own = wgl_in_task_of(L, group) || wgl_worker_tasks_of(group) > 0;
    return own ? "every task of this error group waits for room in it" : NULL;
}

void wgl_join(lua_State *L, wgl_home *home, wgl_waiter *waiter, const wgl_wish *wish, wgl_coroutine *task) {
    wgl_place place;
    bool own = !waiter;
    if (wish->event != WGL_NOTHING)
        wgl_place_find(L, task, &place);
    if (own)
        waiter = task->waiter = new_task_waiter(home, task);
    if (waiter && wgl_waiter_join(home, waiter, wish)) {
        if (wgl_publish(home, waiter, wish, &place))
            return;
        wgl_waiter_leave(home, waiter);
        if (own)
            wgl_task_waiter_drop(home, task);
    } else {
        if (own)
            wgl_task_waiter_drop(home, task);
        luaL_error(L, "not enough memory");
    }
    bool for_room = wish->event == WGL_AT_SLOT || wish->event == WGL_AT_PLACE;
    wgl_raise_deadlock(L, for_room ? wgl_why_stuck(L, wish->subject->object) : NULL, 1);
}

/* --- driving --- */

static int do_nothing(lua_State *L) {
    (void)L;
    return 0;
}

/* What a signal handler has asked of Lua by a hook happens at the next call. False: that raised, and the error is on top. */
static bool let_hooks_run(lua_State *L) {
    if (lua_gethookmask(L) == 0)
        return true;
    lua_pushcfunction(L, do_nothing);
    return lua_pcall(L, 0, 0, 0) == LUA_OK;
}

void wgl_let_hooks_run(lua_State *L) {
    if (!let_hooks_run(L))
        lua_error(L);
}

/* Nothing can wake anything: wake a task that has blocked its C stack, with WGL_STUCK. True: there was one; else the
 * caller is stuck. */
static bool break_deadlock(lua_State *L, wgl_home *home, wgl_waiter *base) {
    lua_pushcfunction(L, push_report);
    lua_pushlightuserdata(L, base);
    lua_pcall(L, 1, 1, 0);
    wgl_waiter *blocked = wgl_runner_blocked(home);
    if (!blocked)
        return false;
    wgl_set_deadlock(L); /* what it raises; pops it */
    wgl_waiter_wake(home, blocked, WGL_STUCK);
    return true;
}

/* Sleep until the next event. In hope: unless the last look, at which an end of a task is not missed any more, shows that
 * nothing can come. False: no file descriptor is left. */
static bool sleep_until_event(wgl_home *home, bool hope) {
    if (!hope)
        return wgl_home_sleep(home, wgl_next_deadline(home));
    wgl_hope_enter(home);
    bool slept = nothing_can_come(home, &hope) || wgl_home_sleep(home, wgl_next_deadline(home));
    wgl_hope_leave(home);
    return slept;
}

/* Run tasks until `base` is woken: true. Else the error is on top, and the waiter may still be in its lists. */
static bool run_until_woken(lua_State *L, wgl_home *home, wgl_waiter *base) {
    while (!base->reason) {
        wgl_run_ready(L, home);
        wgl_collect(L, home);
        if (!let_hooks_run(L))
            return false;
        if (base->reason || something_is_ready(home))
            continue;
        bool hope = false, stuck = nothing_can_come(home, &hope);
        if (!stuck && !sleep_until_event(home, hope)) {
            lua_pushliteral(L, "cannot sleep: no file descriptor is left: close some, or raise their limit");
            return false;
        }
        wgl_collect(L, home); /* also if stuck: another thread may have woken something just before it was gone */
        if (!let_hooks_run(L) ||
            (stuck && !base->reason && !something_is_ready(home) && !break_deadlock(L, home, base)))
            return false;
    }
    return true;
}

static wgl_reason drive(lua_State *L, wgl_home *home, const wgl_wish *wish) {
    wgl_waiter base = {.kind = WGL_BASE_WAITER};
    wgl_join(L, home, &base, wish, NULL);
    bool woken = run_until_woken(L, home, &base);
    if (!base.reason)
        wgl_waiter_leave(home, &base);
    wgl_foreign_rearm(home);
    if (!woken) {
        wgl_waiter_drop(&base);
        lua_error(L);
    }
    return wgl_waiter_take(home, &base);
}

/* --- blocking the whole thread, as the core does --- */

static wg_status block_until(const wgl_wish *wish, const wg_until *until) {
    wgl_object *subject = wish->subject->object;
    switch (subject->kind) {
    case WGL_WAITGROUP: return wg_wait(((wgl_waitgroup *)subject)->wg, until);
    case WGL_ERRGROUP: return wg_errgroup_wait(((wgl_errgroup *)subject)->group, until, NULL);
    case WGL_CONTEXT: return wg_context_wait(((wgl_context *)subject)->ctx, until);
    case WGL_TASK: {
        wgl_task *task = (wgl_task *)subject;
        return wg_errgroup_wait_task(task->group->group, task, &task->done, until);
    }
    case WGL_CHANNEL:
    case WGL_KINDS: break;
    }
    return WG_INVALID;
}

/* The thread may block in the core, unless that would hang for certain. Not for a slot: a slot that is waited for in the
 * core goes to the task which is started by that call. */
static bool may_block(const wgl_home *home, const wgl_wish *wish) {
    if (home->alive > 0 || home->asleep > 0 || home->callbacks > 0 || home->foreign_waiters > 0)
        return false;
    if (wish->event == WGL_NOTHING || wish->event == WGL_AT_SLOT || wish->event > WGL_AT_TASK_END)
        return false;
    wgl_subscription s = {.subject = wish->subject->object, .handle = wish->subject, .event = (uint8_t)wish->event};
    bool hope = false;
    return wish->deadline != WG_FOREVER || (from_outside(&s, &hope) && !hope);
}

bool wgl_nothing_to_drive(lua_State *L, wgl_home *home) {
    return !home->runner && home->alive == 0 && home->asleep == 0 && home->callbacks == 0 &&
           !wgl_in_foreign_loop(L, home);
}

static wgl_reason block(lua_State *L, const wgl_wish *wish) {
    wgl_place place;
    wgl_block block;
    wgl_place_find(L, NULL, &place);
    wgl_block_begin(&block, wish->deadline, wgl_context_of(wish->context), &place);
    wg_status status;
    while ((status = block_until(wish, &block.until)) == WG_INTERRUPTED)
        wgl_let_hooks_run(L);
    if (status == WG_DEADLOCK)
        wgl_block_raise(L, &block);
    if (status == WG_CONTEXT_ENDED)
        return WGL_ENDED;
    return status == WG_TIMEOUT ? WGL_TIMED_OUT : WGL_READY; /* ready, also with an outcome that is no success */
}

/* --- waiting here --- */

static wgl_reason block_stack(lua_State *L, wgl_home *home, const wgl_wish *wish) {
    wgl_waiter waiter = {.kind = WGL_STACK_WAITER};
    wgl_join(L, home, &waiter, wish, wgl_running(L, home));
    if (!wgl_runner_block(L, home, &waiter)) {
        wgl_waiter_leave(home, &waiter);
        luaL_error(
            L, "cannot wait here: a C function that cannot be suspended has called this code, and there is no memory "
               "for another C stack");
    }
    if (waiter.reason == WGL_STUCK) {
        wgl_push_deadlock(L);
        lua_error(L);
    }
    return wgl_waiter_take(home, &waiter);
}

/* A wait with the timeout 0: outside of tasks it lets tasks run once. */
static int look(lua_State *L, wgl_home *home, lua_KFunction k) {
    if (!home->runner && !wgl_running(L, home)) {
        wgl_step(L, home);
        wgl_foreign_rearm(home);
    }
    return k(L, LUA_OK, WGL_TIMED_OUT);
}

static int wait_outside(lua_State *L, wgl_home *home, const wgl_wish *wish, lua_KFunction k) {
    int top = lua_gettop(L);
    wgl_wish full = *wish;
    if (wish->own && !wish->context)
        full.context = wgl_push_thread_context(L);
    wgl_reason reason = may_block(home, &full) ? block(L, &full) : drive(L, home, &full);
    lua_settop(L, top);
    return k(L, LUA_OK, reason);
}

int wgl_wait(lua_State *L, const wgl_wish *wish, lua_KFunction k) {
    wgl_home *home = wgl_home_of(L);
    if (wish->deadline == WG_POLL)
        return look(L, home, k);
    wgl_coroutine *task = wgl_running(L, home);
    wgl_wish full = *wish;
    if (task && wish->own && !wish->context)
        full.context = wgl_coroutine_context(L, task);
    if (task && wgl_coroutine_can_yield(L, task))
        return wgl_coroutine_suspend(L, home, task, &full, k);
    if (home->runner)
        return k(L, LUA_OK, block_stack(L, home, &full));
    if (wgl_in_foreign_loop(L, home))
        return wgl_wait_in_foreign_loop(L, home, &full, k);
    return wait_outside(L, home, &full, k);
}

int wgl_wait_for_slot(lua_State *L, lua_KFunction k) {
    return wgl_wait(L, &(wgl_wish){.event = WGL_AT_SLOT, .subject = lua_touserdata(L, 1), .own = true}, k);
}

wgl_reason wgl_woken(lua_State *L, int status, lua_KContext how) {
    return status == LUA_YIELD ? wgl_coroutine_woken(L) : (wgl_reason)how;
}

int wgl_yield(lua_State *L, lua_KFunction k) {
    wgl_home *home = wgl_home_of(L);
    wgl_coroutine *task = wgl_running(L, home);
    if (task && wgl_coroutine_can_yield(L, task))
        return wgl_coroutine_pause(L, home, task, k);
    if (!home->runner)
        return look(L, home, k);
    wgl_waiter waiter = {.kind = WGL_STACK_WAITER, .reason = WGL_READY};
    wgl_runner_reserve(L, home);
    wgl_enqueue(home, &waiter.runnable);
    wgl_runner_block(L, home, &waiter);
    return k(L, LUA_OK, WGL_READY);
}

/* --- the end --- */

static bool drive_to_the_end(lua_State *L, wgl_home *home) {
    wgl_waiter all = {.kind = WGL_BASE_WAITER};
    wgl_wish wish = {.event = WGL_AT_ALL, .list = &home->all_ended};
    wgl_place place;
    wgl_place_find(L, NULL, &place);
    wgl_waiter_join(home, &all, &wish);
    wgl_publish(home, &all, &wish, &place);
    bool woken = run_until_woken(L, home, &all);
    if (!all.reason)
        wgl_waiter_leave(home, &all);
    return woken;
}

/* Drive until no task is left; those that never can end are killed. Where the first error is, or `first_error`. */
static int end_all(lua_State *L, wgl_home *home, int first_error) {
    while (home->alive > 0) {
        if (drive_to_the_end(L, home))
            continue;
        if (first_error == 0)
            first_error = lua_gettop(L);
        wgl_coroutines_kill_sleepers(L, home);
        lua_settop(L, first_error);
    }
    return first_error;
}

int wgl_drain(lua_State *L) {
    wgl_home *home = wgl_home_of(L);
    int first_error = 0;
    luaL_checkstack(L, 20, NULL);
    do {
        first_error = end_all(L, home, first_error);
        wgl_subscriptions_catch_up(L, home);
        wgl_run_callbacks_now(L); /* of contexts that have ended while the task did not look; they may start tasks */
    } while (home->alive > 0);
    wgl_subscriptions_forget_callbacks(home);
    wgl_foreign_forget(L, home);
    wgl_report_forget(L);
    return first_error == 0 ? 0 : lua_error(L);
}

void wgl_loop_close(wgl_home *home) {
    wgl_subscriptions_close(home);
    wgl_runners_close(home);
    while (home->waiters) {
        wgl_waiter *waiter = waiter_of_home(home->waiters);
        if (waiter->published)
            wgl_withdraw(home, waiter);
        free_task_waiter(home, waiter);
    }
    free(home->timers);
    home->timers = NULL;
    home->timers_count = home->timers_capacity = 0;
}
