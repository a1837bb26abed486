/* home.c - where other threads leave word for a Lua state, and how the state sleeps until they do.
 *
 * A moment that the state waits for (a count at zero, a context's end, room in a group, a task's end) is watched by a
 * node: the core calls `fire` in whatever thread brings the moment about, which pushes the node on a list and, if the
 * state listens, makes its descriptor readable. Only the state's own thread takes nodes off the list, so a node that
 * lost the race against its removal is merely ignored when it comes. */
#define _GNU_SOURCE /* ppoll */
#include "wgl.h"

#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

typedef enum moment { AT_ZERO, AT_END, AT_ROOM, AT_TASK_END } moment;

struct wgl_watch_node {
    wg_observer observer;
    wgl_home *home;      /* borrowed: nodes end with the home's state */
    wgl_object *subject; /* with a reference */
    moment what;
    lua_Integer id;        /* 0: nobody wants to hear of it any more */
    wgl_watch_node *fired; /* the next on the list */
    wgl_watch_node *next, **link;
};

static const char home_key;

/* --- the home --- */

wgl_home *wgl_home_retain(wgl_home *home) {
    atomic_fetch_add(&home->refs, 1);
    return home;
}

static void close_fds(wgl_home *home) {
    if (home->epoll_fd >= 0)
        close(home->epoll_fd);
    if (home->timer_fd >= 0)
        close(home->timer_fd);
    if (home->event_fd >= 0)
        close(home->event_fd);
    home->event_fd = home->timer_fd = home->epoll_fd = -1;
}

void wgl_home_release(wgl_home *home) {
    if (atomic_fetch_sub(&home->refs, 1) != 1)
        return;
    close_fds(home);
    pthread_mutex_destroy(&home->lock);
    free(home);
}

wgl_home *wgl_home_in(lua_State *L, wgl_home *const *box) {
    if (!*box)
        luaL_error(L, "waitgroup cannot be used any more: this Lua state is being closed");
    return *box;
}

void wgl_push_home(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &home_key); }

wgl_home *wgl_home_of(lua_State *L) {
    wgl_push_home(L);
    wgl_home **box = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return wgl_home_in(L, box);
}

/* --- descriptors --- */

/* Descriptors are per process: after a fork the child makes its own. False if the system gives none. */
static bool open_fds(wgl_home *home, bool all) {
    pid_t pid = getpid();
    if (home->pid != pid) {
        close_fds(home);
        home->pid = pid;
    }
    if (home->event_fd < 0)
        home->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (all && home->event_fd >= 0 && home->epoll_fd < 0) {
        int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        int epoll = epoll_create1(EPOLL_CLOEXEC);
        struct epoll_event readable = {.events = EPOLLIN};
        if (timer < 0 || epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &readable) != 0 ||
            epoll_ctl(epoll, EPOLL_CTL_ADD, home->event_fd, &readable) != 0) {
            if (timer >= 0)
                close(timer);
            if (epoll >= 0)
                close(epoll);
            return false;
        }
        home->timer_fd = timer;
        home->epoll_fd = epoll;
    }
    return home->event_fd >= 0;
}

void wgl_home_wake(wgl_home *home) {
    uint64_t one = 1;
    ssize_t written = write(home->event_fd, &one, sizeof one);
    (void)written; /* it fails only when it is readable already */
}

static void clear(wgl_home *home) {
    uint64_t count;
    ssize_t got = read(home->event_fd, &count, sizeof count);
    (void)got; /* it fails only when it is not readable */
}

/* --- nodes --- */

static void fire(void *arg) {
    wgl_watch_node *node = arg;
    wgl_home *home = wgl_home_retain(node->home); /* the node may be gone as soon as it is on the list */
    node->fired = atomic_load(&home->fired);
    while (!atomic_compare_exchange_weak(&home->fired, &node->fired, node)) {}
    if (atomic_load(&home->listening))
        wgl_home_wake(home);
    wgl_home_release(home);
}

static void observe(wgl_watch_node *node) {
    wgl_object *subject = node->subject;
    switch (node->what) {
    case AT_ZERO:
        if (subject->kind == WGL_WAITGROUP)
            wg_observe(&((wgl_waitgroup *)subject)->wg, &node->observer, fire, node);
        else
            wg_observe(wg_errgroup_tasks(((wgl_errgroup *)subject)->group), &node->observer, fire, node);
        break;
    case AT_END: wg_context_observe(((wgl_context *)subject)->ctx, &node->observer, fire, node); break;
    case AT_ROOM: wg_errgroup_observe_room(((wgl_errgroup *)subject)->group, &node->observer, fire, node); break;
    case AT_TASK_END: wg_observe(&((wgl_task *)subject)->done, &node->observer, fire, node); break;
    }
}

/* True: the call was prevented. Else the node is on the list, or with `sync` at the latest now. */
static bool unobserve(wgl_watch_node *node, bool sync) {
    bool (*from_wg)(wg_waitgroup *, wg_observer *) = sync ? wg_unobserve_sync : wg_unobserve;
    wgl_object *subject = node->subject;
    switch (node->what) {
    case AT_ZERO:
        if (subject->kind == WGL_WAITGROUP)
            return from_wg(&((wgl_waitgroup *)subject)->wg, &node->observer);
        return from_wg(wg_errgroup_tasks(((wgl_errgroup *)subject)->group), &node->observer);
    case AT_END:
        return (sync ? wg_context_unobserve_sync : wg_context_unobserve)(((wgl_context *)subject)->ctx,
                                                                         &node->observer);
    case AT_ROOM:
        return (sync ? wg_errgroup_unobserve_room_sync : wg_errgroup_unobserve_room)(((wgl_errgroup *)subject)->group,
                                                                                     &node->observer);
    case AT_TASK_END: return from_wg(&((wgl_task *)subject)->done, &node->observer);
    }
    return false; /* not reached: all moments are above */
}

static void free_node(wgl_watch_node *node) {
    *node->link = node->next;
    if (node->next)
        node->next->link = node->link;
    wgl_release(node->subject);
    free(node);
}

/* The nodes that fired, in the order in which they did. */
static wgl_watch_node *take_fired(wgl_home *home) {
    if (!atomic_load(&home->fired))
        return NULL;
    wgl_watch_node *node = atomic_exchange(&home->fired, NULL), *ordered = NULL;
    while (node) {
        wgl_watch_node *next = node->fired;
        node->fired = ordered;
        ordered = node;
        node = next;
    }
    return ordered;
}

static moment check_moment(lua_State *L, int arg) {
    static const char *const names[] = {"zero", "end", "room", "task", NULL};
    return (moment)luaL_checkoption(L, arg, NULL, names);
}

/* watch(handle, what, id) -> node: `id` will be among what drain gives when the moment has come. */
static int watch(lua_State *L) {
    moment what = check_moment(L, 2);
    wgl_object *subject = wgl_test(L, 1);
    luaL_argexpected(L, subject, 1, "a waitgroup object");
    wgl_watch_node *node = malloc(sizeof *node);
    if (!node)
        return luaL_error(L, "not enough memory");
    wgl_home *home = wgl_home_of(L);
    *node = (wgl_watch_node){.home = home, .subject = wgl_retain(subject), .what = what, .id = lua_tointeger(L, 3)};
    node->next = home->watching;
    node->link = &home->watching;
    if (node->next)
        node->next->link = &node->next;
    home->watching = node;
    observe(node);
    lua_pushlightuserdata(L, node);
    return 1;
}

/* unwatch(node): only for a node whose id has not been among what drain gave. */
static int unwatch(lua_State *L) {
    wgl_watch_node *node = lua_touserdata(L, 1);
    if (unobserve(node, false))
        free_node(node);
    else
        node->id = 0;
    return 0;
}

/* fired() -> id of a moment that has come, or nil: in the order in which they came. */
static int fired(lua_State *L) {
    wgl_home *home = wgl_home_of(L);
    wgl_failures_collect(L, home);
    for (;;) {
        wgl_watch_node *node = home->taken;
        if (!node && !(node = take_fired(home)))
            return 0;
        home->taken = node->fired;
        lua_Integer id = node->id;
        free_node(node);
        if (id != 0) {
            lua_pushinteger(L, id);
            return 1;
        }
    }
}

/* --- sleeping --- */

/* Block the thread, as the core does. */
static wg_status block_until(wgl_object *subject, moment what, const wg_until *until) {
    switch (what) {
    case AT_ZERO:
        if (subject->kind == WGL_WAITGROUP)
            return wg_wait(&((wgl_waitgroup *)subject)->wg, until);
        return wg_errgroup_wait(((wgl_errgroup *)subject)->group, until, NULL);
    case AT_END: return wg_context_wait(((wgl_context *)subject)->ctx, until);
    case AT_TASK_END: return wg_wait(&((wgl_task *)subject)->done, until);
    case AT_ROOM: break; /* not asked for: only who takes it waits for it in the core, see submit in task.c */
    }
    return WG_INVALID;
}

/* block(handle, what, context, deadline) -> what woke it, or nil: a signal has come. */
static int block(lua_State *L) {
    wg_until until = {.deadline = lua_tointeger(L, 4), .context = wgl_opt_context(L, 3, 1), .interruptible = true};
    wg_status status = block_until(wgl_test(L, 1), check_moment(L, 2), &until);
    if (status == WG_INTERRUPTED)
        return 0;
    wgl_reason reason = WGL_READY; /* also with an outcome of a group that is no success */
    if (status == WG_CONTEXT_ENDED)
        reason = WGL_ENDED;
    else if (status == WG_TIMEOUT)
        reason = WGL_TIMED_OUT;
    lua_pushinteger(L, reason);
    return 1;
}

/* sleep(deadline): until a node fires, the deadline passes, or a signal comes. */
static int home_sleep(lua_State *L) {
    wgl_home *home = wgl_home_of(L);
    int64_t deadline = luaL_checkinteger(L, 1);
    if (!open_fds(home, false))
        return luaL_error(L, "cannot sleep: no file descriptor is left: close some, or raise their limit");
    atomic_store(&home->listening, true);
    if (!atomic_load(&home->fired)) {
        struct pollfd fd = {.fd = home->event_fd, .events = POLLIN};
        int64_t left = deadline == WG_FOREVER ? -1 : deadline - wg_now();
        struct timespec timeout = {.tv_sec = left / WG_SECOND, .tv_nsec = left % WG_SECOND};
        if (deadline == WG_FOREVER || left > 0)
            ppoll(&fd, 1, deadline == WG_FOREVER ? NULL : &timeout, NULL);
    }
    atomic_store(&home->listening, false);
    clear(home);
    return 0;
}

/* listen(deadline, now) -> fd: a descriptor that becomes readable when a node fires or the deadline passes; at once if
 * `now`. For event loops. */
static int home_listen(lua_State *L) {
    wgl_home *home = wgl_home_of(L);
    int64_t deadline = luaL_checkinteger(L, 1);
    if (!open_fds(home, true))
        return luaL_error(L,
                          "cannot wait in an event loop: no file descriptor is left: close some, or raise their limit");
    int64_t left = deadline == WG_FOREVER ? 0 : deadline - wg_now();
    if (deadline != WG_FOREVER && left <= 0)
        left = 1;
    struct itimerspec timer = {.it_value = {.tv_sec = left / WG_SECOND, .tv_nsec = left % WG_SECOND}};
    timerfd_settime(home->timer_fd, 0, &timer, NULL);
    atomic_store(&home->listening, true);
    if (lua_toboolean(L, 2) || atomic_load(&home->fired))
        wgl_home_wake(home);
    lua_pushinteger(L, home->epoll_fd);
    return 1;
}

/* unlisten(): the descriptor is no longer readable, nor made so. */
static int home_unlisten(lua_State *L) {
    wgl_home *home = wgl_home_of(L);
    atomic_store(&home->listening, false);
    if (home->event_fd >= 0)
        clear(home);
    return 0;
}

static int readable(lua_State *L) {
    struct pollfd fd = {.fd = (int)luaL_checkinteger(L, 1), .events = POLLIN};
    lua_pushboolean(L, poll(&fd, 1, 0) > 0);
    return 1;
}

/* --- time --- */

static int now(lua_State *L) {
    lua_pushinteger(L, wg_now());
    return 1;
}

int64_t wgl_deadline(lua_State *L, int index, int arg, int level) {
    if (lua_isnoneornil(L, index))
        return WG_FOREVER;
    if (lua_type(L, index) != LUA_TNUMBER)
        return wgl_argerror(L, level, arg, lua_pushfstring(L, "seconds expected, got %s", luaL_typename(L, index)));
    lua_Number seconds = lua_tonumber(L, index);
    if (isnan(seconds) || seconds < 0)
        return wgl_argerror(L, level, arg, lua_pushfstring(L, "seconds must not be negative or NaN, got %f", seconds));
    return wg_after_seconds(seconds);
}

/* deadline(seconds, argument) -> nanoseconds: an error is one of `argument` of the Lua function that called. */
static int deadline(lua_State *L) {
    lua_pushinteger(L, wgl_deadline(L, 1, (int)luaL_checkinteger(L, 2), 2));
    return 1;
}

/* --- the state comes and goes --- */

static int home_gc(lua_State *L) {
    wgl_home **box = lua_touserdata(L, 1), *home = *box;
    if (!home)
        return 0;
    *box = NULL;
    for (wgl_watch_node *node = home->watching, *next; node; node = next) {
        next = node->next;
        unobserve(node, true);
        free_node(node);
    }
    atomic_store(&home->fired, NULL);
    wgl_failures_close(home);
    wgl_orphans_abandon(home);
    wgl_let_go_of_kept(L);
    wgl_paths_release(home->paths);
    home->paths = NULL;
    wgl_channel_forget(home);
    free(home->met.addresses);
    home->met = (wgl_met){0};
    wgl_home_release(home);
    return 0;
}

void wgl_open_home(lua_State *L) {
    wgl_home **box = lua_newuserdatauv(L, sizeof *box, 2);
    *box = NULL;
    lua_newtable(L);
    lua_pushcfunction(L, home_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    wgl_home *home = calloc(1, sizeof *home);
    if (!home)
        luaL_error(L, "not enough memory");
    *box = home;
    atomic_init(&home->refs, 1);
    pthread_mutex_init(&home->lock, NULL);
    home->event_fd = home->timer_fd = home->epoll_fd = -1;
    home->head = 1;
    lua_rawsetp(L, LUA_REGISTRYINDEX, &home_key);
}

const luaL_Reg wgl_home_functions[] = {{"watch", watch},
                                       {"unwatch", unwatch},
                                       {"fired", fired},
                                       {"sleep", home_sleep},
                                       {"block", block},
                                       {"listen", home_listen},
                                       {"unlisten", home_unlisten},
                                       {"readable", readable},
                                       {"now", now},
                                       {"deadline", deadline},
                                       {NULL, NULL}};
