/* sandbox.c - what keeps the tasks that one worker state runs from seeing each other's changes.
 *
 * The globals of a task are an empty table in front of the real one; it is in the registry, so that code loaded by
 * `require` and `load` sees it too. The libraries are empty tables in front of the real ones as well. What cannot stand
 * behind another table (package and its parts, the metatable of strings) is compared with a copy and put right.
 *
 * Most tasks change nothing, and then nothing has to be put right. So every way to change something sets a flag. A write
 * to a global or to a library passes through __newindex. The few functions and tables that could go round that (rawset,
 * require, debug and others) are hidden: an __index function gives them out, and sets the flag for what they
 * can change. */
#include "wgl.h"

#include <string.h>

#include <lualib.h>

#include "waitgroup_lua.h"

static const char base_key;      /* registry: the real globals */
static const char front_key;     /* registry: the metatable of a task's globals */
static const char libraries_key; /* registry: the list of tables in front of libraries */
static const char modules_key;   /* registry: what package.loaded has at the start of a task */
static const char union_key;     /* in the metatable of a table: where what is hidden behind it leads to in all */
const char wgl_hidden;

static const char *const libraries[] = {LUA_STRLIBNAME, LUA_TABLIBNAME,  LUA_MATHLIBNAME, LUA_IOLIBNAME, LUA_OSLIBNAME,
                                        LUA_COLIBNAME,  LUA_UTF8LIBNAME, LUA_DBLIBNAME,   NULL};

/* With rawset a task changes its globals and libraries unseen. */
static const struct {
    const char *table, *name;
    unsigned leads_to;
} hidden[] = {{LUA_GNAME, LUA_LOADLIBNAME, WGL_LEFT_MODULES},
              {LUA_GNAME, "require", WGL_LEFT_MODULES},
              {LUA_GNAME, "getmetatable", WGL_LEFT_METATABLES},
              {LUA_GNAME, "rawset", WGL_LEFT_FIELDS},
              {LUA_GNAME, "collectgarbage", WGL_LEFT_SETTINGS},
              {LUA_GNAME, "warn", WGL_LEFT_SETTINGS},
              {LUA_MATHLIBNAME, "randomseed", WGL_LEFT_SETTINGS},
              {LUA_IOLIBNAME, "input", WGL_LEFT_METATABLES},
              {LUA_IOLIBNAME, "output", WGL_LEFT_METATABLES},
              {LUA_DBLIBNAME, "getmetatable", WGL_LEFT_METATABLES},
              {LUA_DBLIBNAME, "setmetatable", WGL_LEFT_METATABLES | WGL_LEFT_FINALIZERS},
              {LUA_DBLIBNAME, "getregistry", WGL_LEFT_ANYTHING},
              {LUA_DBLIBNAME, "getupvalue", WGL_LEFT_ANYTHING},
              {LUA_DBLIBNAME, "setupvalue", WGL_LEFT_ANYTHING},
              {LUA_DBLIBNAME, "upvaluejoin", WGL_LEFT_ANYTHING},
              {LUA_DBLIBNAME, "setuservalue", WGL_LEFT_ANYTHING},
              {LUA_DBLIBNAME, "setcstacklimit", WGL_LEFT_ANYTHING}};
enum { HIDDEN = sizeof hidden / sizeof *hidden };

static void note(lua_State *L, unsigned traces) { wgl_home_of(L)->left |= traces; }

/* pairs(t) of a table in front of another walks over both, and over what is hidden. */
static int front_pairs(lua_State *L) {
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));        /* 2 */
    lua_rawgetp(L, LUA_REGISTRYINDEX, &base_key); /* 3 */
    lua_newtable(L);                              /* 4 */
    if (lua_getmetatable(L, 2) && lua_rawgetp(L, -1, &wgl_hidden) == LUA_TTABLE) {
        int values = lua_gettop(L);
        lua_rawgetp(L, values - 1, &union_key);
        note(L, (unsigned)lua_tointeger(L, -1));
        lua_pushvalue(L, 4);
        wgl_copy_fields(L, values);
    }
    lua_settop(L, 4);
    wgl_copy_fields(L, 2);
    wgl_copy_fields(L, 1);
    lua_getfield(L, 3, "next");
    lua_insert(L, -2);
    lua_pushnil(L);
    return 3;
}

static int set_field(lua_State *L) {
    note(L, WGL_LEFT_FIELDS);
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 0;
}

/* From the table on top to the metatable of tables in front of it. */
static void push_front(lua_State *L) {
    lua_createtable(L, 0, 4);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, set_field);
    lua_setfield(L, -2, "__newindex");
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, front_pairs, 1);
    lua_setfield(L, -2, "__pairs");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_remove(L, -2);
}

/* A field that the real table does not have. Upvalues: the hidden values, and where they lead to. */
static int find_hidden(lua_State *L) {
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) {
        lua_pushvalue(L, 2);
        lua_rawget(L, lua_upvalueindex(2));
        note(L, (unsigned)lua_tointeger(L, -1));
        lua_pop(L, 1);
    }
    return 1;
}

/* Move what is to be hidden out of the real table of `library`, which is on top. */
static void hide(lua_State *L, const char *library) {
    int table = lua_gettop(L);
    unsigned all = 0;
    lua_createtable(L, 0, 3); /* its metatable */
    lua_newtable(L);          /* the values */
    lua_pushvalue(L, -1);
    lua_rawsetp(L, -3, &wgl_hidden);
    lua_newtable(L); /* where they lead to */
    for (int i = 0; i < HIDDEN; i++)
        if (strcmp(hidden[i].table, library) == 0) {
            lua_getfield(L, table, hidden[i].name);
            lua_setfield(L, table + 2, hidden[i].name);
            lua_pushnil(L);
            lua_setfield(L, table, hidden[i].name);
            lua_pushinteger(L, hidden[i].leads_to);
            lua_setfield(L, table + 3, hidden[i].name);
            all |= hidden[i].leads_to;
        }
    lua_pushcclosure(L, find_hidden, 2);
    lua_setfield(L, table + 1, "__index");
    lua_pushinteger(L, all);
    lua_rawsetp(L, table + 1, &union_key);
    lua_setmetatable(L, table);
}

static bool hides(const char *library) {
    for (int i = 0; i < HIDDEN; i++)
        if (strcmp(hidden[i].table, library) == 0)
            return true;
    return false;
}

/* Like that of Lua. What has a finalizer may run it when the next task does. */
int wgl_setmetatable(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, lua_isnil(L, 2) || lua_istable(L, 2), 2, "nil or table");
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            note(L, WGL_LEFT_FINALIZERS);
        lua_settop(L, 2);
    }
    lua_setmetatable(L, 1);
    return 1;
}

/* A table that tasks reach by a metatable, and the methods in it. */
static void protect_type(lua_State *L, const char *name) {
    luaL_getmetatable(L, name);
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "__index");
        wgl_restore_later(L, WGL_LEFT_METATABLES);
    }
    wgl_restore_later(L, WGL_LEFT_METATABLES);
}

/* Our module, which is on top, has been loaded: it stays, as it is now. */
static void protect_self(lua_State *L) {
    int top = lua_gettop(L);
    lua_pushvalue(L, top);
    wgl_restore_later(L, WGL_LEFT_MODULES);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &modules_key);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushnil(L);
    while (lua_next(L, top + 2)) {
        if (lua_type(L, -2) == LUA_TSTRING && wgl_is_own_module(lua_tostring(L, -2)))
            lua_setfield(L, top + 1, lua_tostring(L, -2));
        else
            lua_pop(L, 1);
    }
    lua_pushvalue(L, top); /* `require` has yet to enter it */
    lua_setfield(L, top + 1, "waitgroup");
    for (int kind = 0; kind < WGL_KINDS; kind++)
        protect_type(L, wgl_type_name((wgl_kind)kind));
    protect_type(L, "waitgroup.CoroutineTask");
    lua_settop(L, top);
}

/* require "waitgroup" in a task: our Lua files are loaded with the real globals, for they serve all tasks to come. The
 * collector rests meanwhile: what is loaded stays. */
int wgl_load_self(lua_State *L) {
    bool collects = lua_gc(L, LUA_GCISRUNNING);
    lua_gc(L, LUA_GCSTOP);
    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);       /* 1 */
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE); /* 2 */
    lua_rawgetp(L, LUA_REGISTRYINDEX, &base_key);              /* 3 */
    lua_pushvalue(L, 3);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &wgl_self_loader);
    lua_setfield(L, 2, "waitgroup");
    lua_getfield(L, 3, "require");
    lua_pushliteral(L, "waitgroup");
    int status = lua_pcall(L, 1, 1, 0);
    lua_pushcfunction(L, wgl_load_self);
    lua_setfield(L, 2, "waitgroup");
    lua_pushvalue(L, 1);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    if (collects)
        lua_gc(L, LUA_GCRESTART);
    if (status != LUA_OK)
        return lua_error(L);
    protect_self(L);
    return 1;
}

/* Globals for the tasks to come. */
static void new_globals(lua_State *L) {
    int globals = lua_gettop(L) + 1;
    lua_newtable(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &front_key);
    lua_setmetatable(L, globals);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &base_key);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &modules_key);
    for (int i = 1; i <= 3; i++) {
        lua_pushvalue(L, globals);
        lua_setfield(L, globals + i, LUA_GNAME);
    }
    lua_settop(L, globals);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
}

/* Put an empty table in front of `library`, the table on top, which it replaces there, in package.loaded and in the real
 * globals. */
static void put_front(lua_State *L, int loaded, int base, const char *library) {
    if (hides(library))
        hide(L, library);
    push_front(L);
    lua_newtable(L);
    lua_insert(L, -2);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_setfield(L, loaded, library);
    lua_pushvalue(L, -1);
    lua_setfield(L, base, library);
}

/* Push a list of the tables in front of libraries, and below it the real ones. How many in all. */
static int put_fronts(lua_State *L, int loaded, int base) {
    int first = lua_gettop(L) + 1;
    lua_newtable(L);
    for (int i = 0; libraries[i]; i++)
        if (lua_getfield(L, loaded, libraries[i]) == LUA_TTABLE) {
            lua_pushvalue(L, -1);
            put_front(L, loaded, base, libraries[i]);
            lua_rawseti(L, first, (lua_Integer)lua_rawlen(L, first) + 1);
        } else
            lua_pop(L, 1);
    lua_pushvalue(L, first);
    lua_remove(L, first);
    return lua_gettop(L) - first + 1;
}

/* What has nothing in front of it. */
static void protect_tables(lua_State *L, int loaded, int base) {
    int top = lua_gettop(L);
    lua_pushliteral(L, "");
    if (lua_getmetatable(L, -1)) {
        lua_getfield(L, base, LUA_STRLIBNAME);
        lua_setfield(L, -2, "__index");
        wgl_restore_later(L, WGL_LEFT_METATABLES);
    }
    protect_type(L, LUA_FILEHANDLE);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, wgl_load_self);
    lua_setfield(L, -2, "waitgroup");
    lua_pushcfunction(L, luaopen_waitgroup_core);
    lua_setfield(L, -2, "waitgroup.core");
    wgl_restore_later(L, WGL_LEFT_MODULES);
    if (lua_getfield(L, loaded, LUA_LOADLIBNAME) == LUA_TTABLE) {
        lua_getfield(L, -1, "searchers");
        wgl_restore_later(L, WGL_LEFT_MODULES);
        wgl_restore_later(L, WGL_LEFT_MODULES);
    }
    lua_settop(L, top);
    lua_pushvalue(L, loaded);
    lua_newtable(L);
    wgl_copy_fields(L, loaded);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &modules_key);
    wgl_restore_to(L, WGL_LEFT_MODULES);
}

void wgl_sandbox_open(lua_State *L) {
    wgl_open_state(L);
    wgl_home_of(L)->worker = true;
    wgl_restore_open(L);
    int base = lua_gettop(L) + 1, loaded = base + 1;
    lua_pushglobaltable(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, base);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &base_key);
    lua_pushcfunction(L, wgl_setmetatable);
    lua_setfield(L, base, "setmetatable");
    int stops = put_fronts(L, loaded, base);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &libraries_key);
    lua_pushvalue(L, base);
    wgl_kept_open(L, stops);
    protect_tables(L, loaded, base);
    lua_pushvalue(L, base);
    push_front(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &front_key);
    lua_settop(L, base);
    hide(L, LUA_GNAME);
    new_globals(L);
    lua_settop(L, base - 1);
}

bool wgl_is_own_module(const char *module) {
    size_t length = strlen("waitgroup");
    return strncmp(module, "waitgroup", length) == 0 && (module[length] == '\0' || module[length] == '.');
}

bool wgl_is_standard_module(const char *module) {
    for (int i = 0; libraries[i]; i++)
        if (strcmp(libraries[i], module) == 0)
            return true;
    return strcmp(module, LUA_GNAME) == 0 || strcmp(module, LUA_LOADLIBNAME) == 0;
}

unsigned wgl_module_traces(const char *module) {
    if (wgl_is_own_module(module))
        return WGL_LEFT_TASKS | WGL_LEFT_MODULES;
    if (strcmp(module, LUA_LOADLIBNAME) != 0 && wgl_is_standard_module(module))
        return 0;
    return WGL_LEFT_MODULES;
}

static void empty(lua_State *L, int table) {
    lua_pushnil(L);
    while (lua_next(L, table)) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, table);
    }
}

/* The task's globals, and what it put in front of the libraries. */
static void empty_fronts(lua_State *L) {
    int top = lua_gettop(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &libraries_key);
    lua_Integer count = (lua_Integer)lua_rawlen(L, top + 1);
    for (lua_Integer i = 0; i <= count; i++) {
        if (i > 0)
            lua_rawgeti(L, top + 1, i);
        else
            lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
        empty(L, top + 2);
        lua_settop(L, top + 1);
    }
    lua_settop(L, top);
}

/* Put right what the task has changed, except for modules. */
static void put_right(lua_State *L, const wgl_home *home, bool hosted) {
    wgl_restore(L, home->left);
    if (home->left & (WGL_LEFT_FIELDS | WGL_LEFT_FINALIZERS) || hosted)
        empty_fronts(L);
}

/* Nothing that the task had is reached any more. So its finalizers run now, and not when the next task would see what they
 * change. False: one of them has arranged to run again. */
static bool let_finalize(lua_State *L, wgl_home *home, bool hosted) {
    home->left &= ~(unsigned)WGL_LEFT_FINALIZERS;
    lua_gc(L, LUA_GCCOLLECT);
    put_right(L, home, hosted);
    return !(home->left & (WGL_LEFT_FINALIZERS | WGL_LEFT_ANYTHING));
}

/* A state that its host prepared may have functions that change globals and libraries unseen. */
bool wgl_sandbox_leave(lua_State *L, wgl_home *home, bool hosted) {
    if (home->left == 0 && !hosted)
        return true;
    if (home->left & WGL_LEFT_ANYTHING)
        return false;
    put_right(L, home, hosted);
    if (home->left & WGL_LEFT_FINALIZERS && !let_finalize(L, home, hosted))
        return false;
    if (home->left & (WGL_LEFT_MODULES | WGL_LEFT_METATABLES) && !wgl_kept_leave(L, home))
        return false;
    home->left = 0;
    return true;
}
