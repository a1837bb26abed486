/* report.c - errors that nobody waits for: of tasks of plain wait groups, and of callbacks. */
#include <stdio.h>

#include "loop.h"

static const char on_error_key; /* registry: the function that the user has set, or nil */

/* report(value, traceback) */
static int report(lua_State *L) {
    lua_settop(L, 2);
    wgl_name_no_error(L, 1);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &on_error_key) != LUA_TNIL) {
        lua_pushvalue(L, 1);
        lua_pushvalue(L, 2);
        if (lua_pcall(L, 2, 0, 0) == LUA_OK)
            return 0;
    }
    lua_settop(L, 2);
    const char *text = luaL_tolstring(L, 1, NULL);
    fprintf(stderr, "waitgroup: %s\n%s\n", text, lua_isstring(L, 2) ? lua_tostring(L, 2) : "");
    return 0;
}

void wgl_report(lua_State *L, int value, int traceback) {
    lua_pushcfunction(L, report);
    lua_pushvalue(L, value);
    if (traceback)
        lua_pushvalue(L, traceback);
    else
        lua_pushnil(L);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK)
        lua_pop(L, 1);
}

static int call_with_report(lua_State *L);

/* Called where the error is raised: leaves a traceback in the first place of call_with_report. */
static int on_error(lua_State *L) {
    lua_Debug ar;
    luaL_traceback(L, L, NULL, 1);
    for (int level = 1; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "f", &ar);
        bool found = lua_tocfunction(L, -1) == call_with_report;
        lua_pop(L, 1);
        if (found) {
            lua_setlocal(L, &ar, 1);
            break;
        }
    }
    lua_settop(L, 1);
    return 1;
}

static int call_with_report(lua_State *L) {
    lua_settop(L, 1);
    lua_pushnil(L);
    lua_pushcfunction(L, on_error);
    lua_rotate(L, 1, 2);
    if (lua_pcall(L, 0, 0, 2) != LUA_OK)
        wgl_report(L, lua_gettop(L), 1);
    return 0;
}

void wgl_call_reporting(lua_State *L) {
    lua_pushcfunction(L, call_with_report);
    lua_insert(L, -2);
    lua_call(L, 1, 0);
}

/* on_error(fn) -> the function set before: nil for the default, which is the standard error stream. */
static int set_on_error(lua_State *L) {
    lua_settop(L, 1);
    if (!lua_isnil(L, 1) && !lua_isfunction(L, 1) && luaL_getmetafield(L, 1, "__call") == LUA_TNIL)
        return wgl_argerror(L, 1, 1, lua_pushfstring(L, "function expected, got %s", wgl_push_type_name(L, 1)));
    lua_settop(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &on_error_key);
    lua_insert(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &on_error_key);
    return 1;
}

void wgl_report_forget(lua_State *L) {
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &on_error_key);
}

const luaL_Reg wgl_report_functions[] = {{"on_error", set_on_error}, {NULL, NULL}};
