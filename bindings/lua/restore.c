/* restore.c - what a worker's task can change where nothing stands in front of it: tables that are put right afterwards,
 * metatables of types, default files, and settings of the state. */
#include "wgl.h"

#include <lualib.h>

static const char copies_key;     /* registry: a list of table, copy, traces, table, copy, traces... */
static const char files_key;      /* registry: the default input and output of the io library */
static const char randomseed_key; /* registry: math.randomseed */
static const char settings_key;   /* registry: a struct settings */

static const char *const default_files[] = {"_IO_input", "_IO_output"};

void wgl_copy_fields(lua_State *L, int from) {
    lua_pushnil(L);
    while (lua_next(L, from)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
}

/* --- tables --- */

void wgl_restore_to(lua_State *L, unsigned traces) {
    int table = lua_gettop(L) - 1;
    lua_pushinteger(L, traces);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &copies_key);
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    for (int i = 0; i < 3; i++) {
        lua_pushvalue(L, table + i);
        lua_rawseti(L, -2, n + 1 + i);
    }
    lua_settop(L, table - 1);
}

void wgl_restore_later(lua_State *L, unsigned traces) {
    int table = lua_gettop(L);
    if (!lua_istable(L, table)) {
        lua_pop(L, 1);
        return;
    }
    lua_newtable(L);
    wgl_copy_fields(L, table);
    wgl_restore_to(L, traces);
}

/* Make the table at `table` equal to `copy`. */
static void put_right(lua_State *L, int table, int copy) {
    lua_pushnil(L);
    while (lua_next(L, table)) {
        int key = lua_gettop(L) - 1;
        lua_pushvalue(L, key);
        lua_rawget(L, copy);
        if (!lua_rawequal(L, -1, -2)) {
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

static void restore_tables(lua_State *L, unsigned traces) {
    int copies = lua_gettop(L) + 1;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &copies_key);
    for (lua_Integer i = (lua_Integer)lua_rawlen(L, copies); i > 0; i -= 3) {
        lua_rawgeti(L, copies, i);
        if ((unsigned)lua_tointeger(L, -1) & traces) {
            lua_rawgeti(L, copies, i - 2);
            lua_rawgeti(L, copies, i - 1);
            put_right(L, copies + 2, copies + 3);
        }
        lua_settop(L, copies);
    }
    lua_settop(L, copies - 1);
}

/* --- metatables of types, default files --- */

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

static void restore_files(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &files_key);
    for (int i = 0; i < 2; i++) {
        lua_rawgeti(L, -1, i + 1);
        lua_setfield(L, LUA_REGISTRYINDEX, default_files[i]);
    }
    lua_pop(L, 1);
}

static void note_files(lua_State *L) {
    lua_newtable(L);
    for (int i = 0; i < 2; i++) {
        lua_getfield(L, LUA_REGISTRYINDEX, default_files[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, &files_key);
}

/* --- settings. Whether warnings are on cannot be asked: they are off at the start of each task. --- */

#if LUA_VERSION_NUM >= 505

typedef struct settings {
    bool generational;
    int parameters[LUA_GCPN];
} settings;

static void note_collector(lua_State *L, settings *s) {
    for (int i = 0; i < LUA_GCPN; i++)
        s->parameters[i] = lua_gc(L, LUA_GCPARAM, i, -1);
    if ((s->generational = lua_gc(L, LUA_GCINC) == LUA_GCGEN))
        lua_gc(L, LUA_GCGEN);
}

static void restore_collector(lua_State *L, const settings *s) {
    lua_gc(L, s->generational ? LUA_GCGEN : LUA_GCINC);
    for (int i = 0; i < LUA_GCPN; i++)
        lua_gc(L, LUA_GCPARAM, i, s->parameters[i]);
}

#else

typedef struct settings {
    bool generational;
    int pause, step_multiplier;
} settings;

/* What cannot be asked: the defaults of the manual. */
enum { STEP_SIZE = 13, MINOR_MULTIPLIER = 20, MAJOR_MULTIPLIER = 100 };

static void note_collector(lua_State *L, settings *s) {
    s->generational = lua_gc(L, LUA_GCINC, 0, 0, 0) == LUA_GCGEN;
    s->pause = lua_gc(L, LUA_GCSETPAUSE, 200);
    s->step_multiplier = lua_gc(L, LUA_GCSETSTEPMUL, 100);
    lua_gc(L, LUA_GCINC, s->pause, s->step_multiplier, 0);
    if (s->generational)
        lua_gc(L, LUA_GCGEN, 0, 0);
}

static void restore_collector(lua_State *L, const settings *s) {
    int mode = lua_gc(L, LUA_GCINC, s->pause, s->step_multiplier, STEP_SIZE);
    if (mode == LUA_GCGEN || s->generational)
        lua_gc(L, LUA_GCGEN, MINOR_MULTIPLIER, MAJOR_MULTIPLIER);
    if (mode == LUA_GCGEN && !s->generational)
        lua_gc(L, LUA_GCINC, 0, 0, 0);
}

#endif

/* Without arguments, math.randomseed would give all tasks of a second the same numbers. */
static void reseed(lua_State *L) {
    static atomic_uint_least64_t count;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &randomseed_key) == LUA_TFUNCTION) {
        lua_pushinteger(L, wg_now());
        lua_pushinteger(L, (lua_Integer)(atomic_fetch_add(&count, 1) ^ (uint64_t)(uintptr_t)L));
        lua_call(L, 2, 0);
    } else
        lua_pop(L, 1);
}

static void restore_settings(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &settings_key);
    restore_collector(L, lua_touserdata(L, -1));
    lua_gc(L, LUA_GCRESTART);
    lua_warning(L, "@off", 0);
    reseed(L);
    lua_pop(L, 1);
}

/* --- all --- */

void wgl_restore_open(lua_State *L) {
    int top = lua_gettop(L);
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &copies_key);
    note_files(L);
    note_collector(L, lua_newuserdatauv(L, sizeof(settings), 0));
    lua_rawsetp(L, LUA_REGISTRYINDEX, &settings_key);
    if (lua_getglobal(L, LUA_MATHLIBNAME) == LUA_TTABLE) {
        lua_getfield(L, -1, "randomseed");
        lua_rawsetp(L, LUA_REGISTRYINDEX, &randomseed_key);
    }
    lua_settop(L, top);
}

void wgl_restore(lua_State *L, unsigned traces) {
    luaL_checkstack(L, 12, NULL);
    if (traces & WGL_LEFT_METATABLES) {
        drop_type_metatables(L);
        restore_files(L);
    }
    if (traces & WGL_LEFT_SETTINGS)
        restore_settings(L);
    if (traces & (WGL_LEFT_METATABLES | WGL_LEFT_MODULES))
        restore_tables(L, traces);
}
