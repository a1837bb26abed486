/* module.c - waitgroup.core: the C half of the module, for the use of its Lua half only. */
#define _GNU_SOURCE /* dladdr, sched_getaffinity */
#include "wgl.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fits.h"
#include "waitgroup_lua.h"

static const char opened_key; /* registry: true once the types are there */
static const char
    halves_key; /* registry: what the files of the Lua half give that are loaded once in a state, by name */

/* Threads of ours may outlive the state that loaded this library: it is never unloaded. */
static void stay_loaded(void) {
    Dl_info here;
    if (dladdr((const void *)&opened_key, &here) && here.dli_fname)
        dlopen(here.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
}

void wgl_need_module(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &halves_key);
    bool missing = lua_getfield(L, -1, "waitgroup") == LUA_TNIL;
    lua_pop(L, 2);
    if (!missing)
        return;
    lua_getglobal(L, "require");
    lua_pushliteral(L, "waitgroup");
    lua_call(L, 1, 0);
}

bool wgl_push_module(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &halves_key);
    if (lua_istable(L, -1))
        lua_getfield(L, -1, "waitgroup");
    return lua_istable(L, -1);
}

/* module(name) -> what an earlier load of that file made in this state, or nil; module(name, value) sets it, and gives it. */
static int module(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &halves_key);
    lua_insert(L, 1);
    lua_settop(L, 3);
    bool whole = strcmp(luaL_checkstring(L, 2), "waitgroup") == 0;
    if (!lua_isnil(L, 3)) {
        wgl_share_caller(L);
        lua_pushvalue(L, 2);
        lua_pushvalue(L, 3);
        lua_rawset(L, 1);
    }
    lua_pushvalue(L, 2);
    if (lua_rawget(L, 1) != LUA_TNIL && whole)
        wgl_note_own(L, -1); /* the second time, the functions of the C half are new ones */
    return 1;
}

/* argerror(argument, message): raises, as an error of the function that called the one which calls this. */
static int argerror(lua_State *L) { return wgl_argerror(L, 2, (int)luaL_checkinteger(L, 1), luaL_checkstring(L, 2)); }

/* check_callable(value, argument): like argerror, unless the value can be called. */
static int check_callable(lua_State *L) {
    if (lua_isfunction(L, 1) || luaL_getmetafield(L, 1, "__call") != LUA_TNIL)
        return 0;
    return wgl_argerror(L, 2, (int)luaL_checkinteger(L, 2),
                        lua_pushfstring(L, "function expected, got %s", wgl_push_type_name(L, 1)));
}

/* cores() -> how many the process may use */
static int cores(lua_State *L) {
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    lua_pushinteger(L, count > 0 ? count : 1);
    return 1;
}

static const luaL_Reg functions[] = {{"cores", cores},
                                     {"module", module},
                                     {"argerror", argerror},
                                     {"check_callable", check_callable},
                                     {"attach", wgl_attach},
                                     {"is_closed", wgl_is_closed},
                                     {NULL, NULL}};

static void open_type(lua_State *L, wgl_kind kind, void (*open)(lua_State *)) {
    open(L);
    lua_pop(L, 1);
    luaL_getmetatable(L, wgl_type_name(kind));
    lua_setfield(L, -2, wgl_type_name(kind) + sizeof "waitgroup." - 1);
}

static void check_library(lua_State *L) {
    char why[1024];
    if (!wg_fits(why, sizeof why))
        luaL_error(L, "waitgroup: %s", why);
}

void wgl_open_state(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &opened_key) == LUA_TNIL) {
        wgl_open_names(L);
        wgl_open_home(L);
        wgl_open_failures(L);
        wgl_open_foreign(L);
        lua_newtable(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &halves_key);
        lua_pushboolean(L, true);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &opened_key);
    }
    lua_pop(L, 1);
}

int luaopen_waitgroup_core(lua_State *L) {
    luaL_checkversion(L);
    check_library(L);
    stay_loaded();
    wgl_open_state(L);
    lua_newtable(L);
    const luaL_Reg *const all[] = {functions,
                                   wgl_home_functions,
                                   wgl_waitgroup_functions,
                                   wgl_context_functions,
                                   wgl_errgroup_functions,
                                   wgl_channel_functions,
                                   wgl_foreign_functions,
                                   wgl_report_functions,
                                   wgl_inspect_functions};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        luaL_setfuncs(L, all[i], 0);
    lua_pushstring(L, wg_version());
    lua_setfield(L, -2, "version");
    open_type(L, WGL_WAITGROUP, wgl_open_waitgroup);
    open_type(L, WGL_ERRGROUP, wgl_open_errgroup);
    open_type(L, WGL_CONTEXT, wgl_open_context);
    open_type(L, WGL_TASK, wgl_open_task);
    open_type(L, WGL_CHANNEL, wgl_open_channel);
    wgl_open_coroutines(L);
    return 1;
}
