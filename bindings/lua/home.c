/* home.c - what other threads may touch of a Lua state, which may outlive the state; and how the state sleeps until its
 * mailbox has something. */
#define _GNU_SOURCE /* ppoll */
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "loop.h"

static const char home_key;
static const char maker_key; /* registry: the Lua thread home->maker */

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
    free(home);
}

wgl_home *wgl_home_in(lua_State *L, wgl_home *const *box) {
    if (!*box)
        luaL_error(L, "waitgroup cannot be used any more: this Lua state is being closed");
    return *box;
}

wgl_home *wgl_home_or_null(lua_State *L) {
    wgl_push_home(L);
    wgl_home **box = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return box ? *box : NULL;
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
    if (home->fds_epoch != wg_fork_epoch()) {
        close_fds(home);
        home->fds_epoch = wg_fork_epoch();
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

void wgl_home_rouse(wgl_home *home) {
    atomic_store(&home->roused, true);
    if (atomic_load(&home->listening))
        wgl_home_wake(home);
}

static void clear(wgl_home *home) {
    uint64_t count;
    ssize_t got = read(home->event_fd, &count, sizeof count);
    (void)got; /* it fails only when it is not readable */
}

/* --- sleeping --- */

static struct timespec time_left(int64_t deadline) {
    int64_t left = deadline - wg_now();
    if (left < 1)
        left = 1;
    return (struct timespec){.tv_sec = left / WG_SECOND, .tv_nsec = left % WG_SECOND};
}

/* Until a subscription fires, something rouses it, the deadline passes, or a signal comes. False: no file descriptor is
 * left. */
bool wgl_home_sleep(wgl_home *home, int64_t deadline) {
    if (!open_fds(home, false))
        return false;
    atomic_store(&home->listening, true);
    if (!atomic_load(&home->fired) && !atomic_load(&home->roused)) {
        struct pollfd fd = {.fd = home->event_fd, .events = POLLIN};
        struct timespec timeout = time_left(deadline);
        ppoll(&fd, 1, deadline == WG_FOREVER ? NULL : &timeout, NULL);
    }
    atomic_store(&home->listening, false);
    atomic_store(&home->roused, false);
    clear(home);
    return true;
}

/* `epoll_fd` becomes readable when a subscription fires or the deadline passes; at once if `now`. For event loops. It is
 * -1 if no file descriptor is left. */
void wgl_home_listen(wgl_home *home, int64_t deadline, bool now) {
    if (!open_fds(home, true))
        return;
    struct itimerspec timer = {.it_value = {0}};
    if (deadline != WG_FOREVER)
        timer.it_value = time_left(deadline);
    timerfd_settime(home->timer_fd, 0, &timer, NULL);
    atomic_store(&home->listening, true);
    if (now || atomic_load(&home->fired))
        wgl_home_wake(home);
}

/* The descriptor is no longer readable, nor made so. That of a parent process is not touched. */
void wgl_home_unlisten(wgl_home *home) {
    atomic_store(&home->listening, false);
    if (home->event_fd >= 0 && home->fds_epoch == wg_fork_epoch())
        clear(home);
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
        return wgl_argerror(L, level, arg,
                            lua_pushfstring(L, "seconds expected, got %s", wgl_push_type_name(L, index)));
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

/* --- names of tasks --- */

const char *wgl_take_name(lua_State *L, int box) {
    const char *name = lua_isnil(L, 2) ? NULL : luaL_checkstring(L, 2);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, box, 3);
    lua_remove(L, 3);
    lua_remove(L, 2);
    return name;
}

/* --- the state comes and goes --- */

static int home_gc(lua_State *L) {
    wgl_home **box = lua_touserdata(L, 1), *home = *box;
    if (!home)
        return 0;
    *box = NULL;
    wgl_loop_close(home);
    wgl_failures_close(home);
    wgl_orphans_abandon(home);
    wgl_let_go_of_kept(L);
    wgl_paths_release(home->paths);
    home->paths = NULL;
    wgl_channel_forget(home);
    free(home->met.addresses);
    free(home->report);
    home->met = (wgl_met){0};
    wgl_home_release(home);
    return 0;
}

void wgl_open_home(lua_State *L) {
    wgl_home **box = lua_newuserdatauv(L, sizeof *box, 3);
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
    home->event_fd = home->timer_fd = home->epoll_fd = -1;
    home->last_ready = &home->ready;
    home->last_due = &home->due;
    home->epoch = home->fds_epoch = wg_fork_epoch();
    lua_rawsetp(L, LUA_REGISTRYINDEX, &home_key);
    home->maker = lua_newthread(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &maker_key);
}

const luaL_Reg wgl_home_functions[] = {{"readable", readable}, {"now", now}, {"deadline", deadline}, {NULL, NULL}};
