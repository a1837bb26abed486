/* inspect.c - looking into a program that hangs, and at what a test leaves behind. */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wgl.h"

void wgl_place_of_caller(lua_State *L, int level, char *place, size_t size) {
    lua_Debug ar;
    place[0] = '\0';
    if (lua_getstack(L, level, &ar) && lua_getinfo(L, "Sl", &ar) && ar.currentline > 0)
        snprintf(place, size, "%s:%d", ar.short_src, ar.currentline);
}

static int push_string(lua_State *L) {
    lua_pushstring(L, lua_touserdata(L, 1));
    return 1;
}

/* A text of the core's, which is freed here also if Lua has no memory for a copy. */
static int push_text(lua_State *L, char *text) {
    if (!text)
        return luaL_error(L, "not enough memory");
    lua_pushcfunction(L, push_string);
    lua_pushlightuserdata(L, text);
    int status = lua_pcall(L, 1, 1, 0);
    free(text);
    return status == LUA_OK ? 1 : lua_error(L);
}

/* dump_text() */
static int dump_text(lua_State *L) { return push_text(L, wg_dump_text()); }

/* leaks_text(since, from now()) */
static int leaks_text(lua_State *L) { return push_text(L, wg_leaks_text(luaL_checkinteger(L, 1))); }

static int now(lua_State *L) {
    lua_pushinteger(L, wg_now());
    return 1;
}

/* true; or nil and why not. `file`: its name, or "". */
static int true_or_why(lua_State *L, wg_status status, const char *file) {
    if (status == WG_OK) {
        lua_pushboolean(L, true);
        return 1;
    }
    lua_pushnil(L);
    lua_pushfstring(L, "%s%s%s: %s", file, *file ? ": " : "", wg_strstatus(status), wg_status_remedy(status));
    return 2;
}

/* trace_start(path): true; or nil and why not. Raises if there is a timeline already. */
static int trace_start(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    wg_status status = wg_trace_start(path);
    if (status == WG_TRACING)
        return wgl_error(L, 2, "%s: %s", wg_strstatus(status), wg_status_remedy(status));
    return true_or_why(L, status, path);
}

/* trace_stop(): true, also if there is none; or nil and why it is not whole. */
static int trace_stop(lua_State *L) {
    wg_status status = wg_trace_stop();
    return true_or_why(L, status == WG_INVALID ? WG_OK : status, "");
}

static int signal_named(const char *name) {
    if (strncmp(name, "SIG", 3) == 0)
        name += 3;
    return strcmp(name, "USR1") == 0   ? SIGUSR1
           : strcmp(name, "USR2") == 0 ? SIGUSR2
           : strcmp(name, "QUIT") == 0 ? SIGQUIT
                                       : 0;
}

/* dump_on_signal(number, or the name USR1, USR2 or QUIT) */
static int dump_on_signal(lua_State *L) {
    lua_Integer signum = lua_type(L, 1) == LUA_TSTRING ? signal_named(lua_tostring(L, 1)) : lua_tointeger(L, 1);
    wg_status status = signum > 0 && signum <= INT_MAX ? wg_dump_on_signal((int)signum, 2) : WG_INVALID;
    if (status == WG_INVALID)
        return wgl_argerror(
            L, 1, 1,
            lua_pushfstring(L, "the number of a signal that can be caught, 'USR1', 'USR2' or 'QUIT' expected, got %s",
                            wgl_push_shown(L, 1)));
    if (status != WG_OK)
        return wgl_error(L, 1, "cannot dump on a signal: %s", wg_strstatus(status));
    return 0;
}

const luaL_Reg wgl_inspect_functions[] = {
    {"dump_text", dump_text},   {"leaks_text", leaks_text},         {"now", now}, {"trace_start", trace_start},
    {"trace_stop", trace_stop}, {"dump_on_signal", dump_on_signal}, {NULL, NULL}};
