/* waitgroup_lua.h - for C programs that embed Lua and this module. */
#ifndef WAITGROUP_LUA_H
#define WAITGROUP_LUA_H

#include <lua.h>

#if defined(__GNUC__)
#define WG_LUA_API __attribute__((visibility("default")))
#else
#define WG_LUA_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The C half of the module, for luaL_requiref or package.preload["waitgroup.core"] where it is linked statically. */
WG_LUA_API int luaopen_waitgroup_core(lua_State *L);

/* How the states of worker threads are made. Both functions may be NULL; both are called in the worker's thread. */
typedef struct wg_lua_host {
    lua_State *(*new_state)(void *data);       /* instead of luaL_newstate; NULL if there is no memory */
    void (*prepare)(lua_State *L, void *data); /* after the standard libraries are open: what it loads and defines is
                                                      there for every task. It may raise: then the state is given up */
    void *data;                                /* valid as long as tasks may start */
} wg_lua_host;

/* For states made from now on; `host` is copied, NULL takes it back. Any thread. */
WG_LUA_API void wg_lua_set_host(const wg_lua_host *host);

#ifdef __cplusplus
}
#endif
#endif
