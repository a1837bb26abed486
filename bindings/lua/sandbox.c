/* sandbox.c - what keeps the tasks that one worker state runs from seeing each other's changes.
 *
 * The globals of a task are an empty table in front of the real one; it is in the registry, so that code loaded by
 * `require` and `load` sees it too. The libraries are empty tables in front of the real ones as well. What cannot stand
 * behind another table (package and its parts, the metatable of strings) is compared with a copy and put right.
 *
 * Most tasks change nothing, and then nothing is to be done: what a task may have left behind is noted at the moment. A
 * new field goes through __newindex; and the few functions and tables that lead to anything else are not where one finds
 * them, but hidden behind a function that gives them out and takes a note. */
#include "wgl.h"

#include <string.h>

#include <lualib.h>

#include "waitgroup_lua.h"

static const char base_key;      /* registry: the real globals */
static const char front_key;     /* registry: the metatable of a task's globals */
static const char libraries_key; /* registry: the list of tables in front of libraries */
static const char copies_key;    /* registry: a list of table, copy, table, copy... */
static const char files_key;     /* registry: the default input and output of the io library */
const char wgl_hidden;

static const char *const libraries[] = {LUA_STRLIBNAME, LUA_TABLIBNAME,  LUA_MATHLIBNAME, LUA_IOLIBNAME, LUA_OSLIBNAME,
                                        LUA_COLIBNAME,  LUA_UTF8LIBNAME, LUA_DBLIBNAME,   NULL};
static const char *const default_files[] = {"_IO_input", "_IO_output"};

/* With rawset a task changes its globals and libraries unseen; a finalizer that it leaves to the collector may still set
 * its globals when the next task runs. */
static const struct {
    const char *table, *name;
    wgl_trace leads_to;
} hidden[] = {{LUA_GNAME, LUA_LOADLIBNAME, WGL_LEFT_MORE},  {LUA_GNAME, "require", WGL_LEFT_MORE},
              {LUA_GNAME, "getmetatable", WGL_LEFT_MORE},   {LUA_GNAME, LUA_DBLIBNAME, WGL_LEFT_MORE},
              {LUA_GNAME, "setmetatable", WGL_LEFT_FIELDS}, {LUA_GNAME, "rawset", WGL_LEFT_FIELDS},
              {LUA_IOLIBNAME, "input", WGL_LEFT_MORE},      {LUA_IOLIBNAME, "output", WGL_LEFT_MORE}};

static void note(lua_State *L, unsigned traces) { wgl_home_of(L)->left |= traces; }

/* Copy all fields of the table at `from` into the one on top. */
static void copy_fields(lua_State *L, int from) {
    lua_pushnil(L);
    while (lua_next(L, from)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
}

/* pairs(t) of a table in front of another walks over both, and over what is hidden. */
static int front_pairs(lua_State *L) {
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));        /* 2 */
    lua_rawgetp(L, LUA_REGISTRYINDEX, &base_key); /* 3 */
    lua_newtable(L);                              /* 4 */
    if (lua_getmetatable(L, 2) && lua_rawgetp(L, -1, &wgl_hidden) == LUA_TTABLE) {
        note(L, WGL_LEFT_FIELDS | WGL_LEFT_MORE);
        int values = lua_gettop(L);
        lua_pushvalue(L, 4);
        copy_fields(L, values);
    }
    lua_settop(L, 4);
    copy_fields(L, 2);
    copy_fields(L, 1);
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

/* The table on top will be put right after each task. Pops it. */
static void keep(lua_State *L) {
    int table = lua_gettop(L);
    lua_newtable(L);
    copy_fields(L, table);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &copies_key);
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    lua_pushvalue(L, table);
    lua_rawseti(L, -2, n + 1);
    lua_pushvalue(L, table + 1);
    lua_rawseti(L, -2, n + 2);
    lua_settop(L, table - 1);
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
    lua_createtable(L, 0, 2); /* its metatable */
    lua_newtable(L);          /* the values */
    lua_pushvalue(L, -1);
    lua_rawsetp(L, -3, &wgl_hidden);
    lua_newtable(L); /* where they lead to */
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (strcmp(hidden[i].table, library) == 0) {
            lua_getfield(L, table, hidden[i].name);
            lua_setfield(L, table + 2, hidden[i].name);
            lua_pushnil(L);
            lua_setfield(L, table, hidden[i].name);
            lua_pushinteger(L, hidden[i].leads_to);
            lua_setfield(L, table + 3, hidden[i].name);
        }
    lua_pushcclosure(L, find_hidden, 2);
    lua_setfield(L, table + 1, "__index");
    lua_setmetatable(L, table);
}

static void get_loaded(lua_State *L, const char *name) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

/* require "waitgroup" in a task: our Lua files are loaded with the real globals, for they serve all tasks to come. */
int wgl_load_self(lua_State *L) {
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
    return status == LUA_OK ? 1 : lua_error(L);
}

/* Globals for the tasks to come, as long as they leave them empty. */
static void new_globals(lua_State *L) {
    int globals = lua_gettop(L) + 1;
    lua_newtable(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &front_key);
    lua_setmetatable(L, globals);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &base_key);
    lua_pushvalue(L, globals);
    lua_setfield(L, -2, LUA_GNAME);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, globals);
    lua_setfield(L, -2, LUA_GNAME);
    lua_settop(L, globals);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
}

void wgl_sandbox_open(lua_State *L) {
    luaL_requiref(L, "waitgroup.core", luaopen_waitgroup_core, 0);
    lua_pop(L, 1);
    wgl_home_of(L)->worker = true;
    lua_pushglobaltable(L);
    int base = lua_gettop(L);
    lua_pushvalue(L, base);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &base_key);
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &copies_key);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    int loaded = lua_gettop(L);
    lua_newtable(L);
    for (int i = 0; libraries[i]; i++)
        if (lua_getfield(L, loaded, libraries[i]) == LUA_TTABLE) {
            if (strcmp(libraries[i], LUA_IOLIBNAME) == 0)
                hide(L, LUA_IOLIBNAME);
            push_front(L);
            lua_newtable(L);
            lua_insert(L, -2);
            lua_setmetatable(L, -2);
            lua_pushvalue(L, -1);
            lua_setfield(L, loaded, libraries[i]);
            lua_pushvalue(L, -1);
            lua_setfield(L, base, libraries[i]);
            lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
        } else
            lua_pop(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &libraries_key);
    lua_pushliteral(L, "");
    if (lua_getmetatable(L, -1)) {
        lua_getfield(L, base, LUA_STRLIBNAME);
        lua_setfield(L, -2, "__index");
        keep(L);
    }
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, wgl_load_self);
    lua_setfield(L, -2, "waitgroup");
    keep(L);
    get_loaded(L, LUA_LOADLIBNAME);
    if (lua_istable(L, -1)) {
        if (lua_getfield(L, -1, "searchers") == LUA_TTABLE)
            keep(L);
        else
            lua_pop(L, 1);
        keep(L);
    }
    lua_pushvalue(L, loaded);
    keep(L);
    lua_newtable(L);
    for (int i = 0; i < 2; i++) {
        lua_getfield(L, LUA_REGISTRYINDEX, default_files[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, &files_key);
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

/* Our own modules stay once they are loaded. */
static bool is_ours(lua_State *L, int key) {
    return lua_type(L, key) == LUA_TSTRING && wgl_is_own_module(lua_tostring(L, key));
}

unsigned wgl_module_traces(const char *module) {
    if (wgl_is_own_module(module))
        return WGL_LEFT_TASKS;
    for (int i = 0; libraries[i]; i++)
        if (strcmp(libraries[i], module) == 0 && strcmp(module, LUA_DBLIBNAME) != 0)
            return 0;
    return strcmp(module, LUA_GNAME) == 0 ? 0 : WGL_LEFT_MORE;
}

/* Make the table at `table` equal to `copy`. */
static void put_right(lua_State *L, int table, int copy) {
    lua_pushnil(L);
    while (lua_next(L, table)) {
        int key = lua_gettop(L) - 1;
        lua_pushvalue(L, key);
        lua_rawget(L, copy);
        if (!lua_rawequal(L, -1, -2) && !is_ours(L, key)) {
            lua_pushvalue(L, key);
            lua_insert(L, -2);
            lua_rawset(L, table);
        }
        lua_settop(L, key);
    }
    lua_pushnil(L);
    while (lua_next(L, copy)) {
        int key = lua_gettop(L) - 1;
        lua_pushvalue(L, key);
        if (lua_rawget(L, table) == LUA_TNIL) {
            lua_pushvalue(L, key);
            lua_pushvalue(L, key + 1);
            lua_rawset(L, table);
        }
        lua_settop(L, key);
    }
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

/* debug.setmetatable can give one to every value of these types. */
static void drop_type_metatables(lua_State *L) {
    lua_pushnil(L);
    lua_pushboolean(L, 0);
    lua_pushinteger(L, 0);
    lua_pushlightuserdata(L, NULL);
    lua_pushcfunction(L, wgl_load_self);
    lua_pushthread(L);
    for (int i = 0; i < 6; i++) {
        lua_pushnil(L);
        lua_setmetatable(L, -2);
        lua_pop(L, 1);
    }
}

/* What the hidden functions and tables lead to. */
static void put_all_right(lua_State *L) {
    int copies = lua_gettop(L) + 1;
    drop_type_metatables(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &copies_key);
    for (lua_Integer i = (lua_Integer)lua_rawlen(L, copies); i > 0; i -= 2) {
        lua_rawgeti(L, copies, i - 1);
        lua_rawgeti(L, copies, i);
        put_right(L, copies + 1, copies + 2);
        lua_settop(L, copies);
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &files_key);
    for (int i = 0; i < 2; i++) {
        lua_rawgeti(L, copies + 1, i + 1);
        lua_setfield(L, LUA_REGISTRYINDEX, default_files[i]);
    }
    lua_settop(L, copies - 1);
}

/* A state that its host prepared may have functions that change globals and libraries unseen. */
void wgl_sandbox_leave(lua_State *L, wgl_home *home, bool hosted) {
    if (!lua_gc(L, LUA_GCISRUNNING))
        lua_gc(L, LUA_GCRESTART);
    if (home->left == 0 && !hosted)
        return;
    int top = lua_gettop(L);
    if (home->left & WGL_LEFT_MORE)
        put_all_right(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &libraries_key);
    for (lua_Integer i = (lua_Integer)lua_rawlen(L, top + 1); i > 0; i--) {
        lua_rawgeti(L, top + 1, i);
        empty(L, top + 2);
        lua_settop(L, top + 1);
    }
    lua_settop(L, top);
    new_globals(L);
    home->left = 0;
}
