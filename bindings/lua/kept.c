/* kept.c - modules that stay loaded in a worker's state from task to task, as long as no task changes them.
 *
 * Between tasks they are not in package.loaded: there `require` finds none, asks the searchers, and one of those gives the
 * module that was kept and notes that this task has it.
 *
 * Whether a task has changed a module is told by a fingerprint: a number over all that the module leads to, by tables,
 * metatables, upvalues and user values, and over the plain values there. It stops at what the sandbox looks after itself:
 * the globals, the standard libraries, this module. It is taken when the outermost load of a module ends, and compared
 * after each task that had the module. If it differs, the whole state is given up, since other things may lead to what
 * was changed.
 *
 * Our own files are loaded from code that all workers share.
 *
 * Globals that a module sets while it is loaded are set again for each task that requires it. Not kept is what was loaded
 * while globals were set, for it may depend on them; nor what package.preload has, for that is the parent's. Such a module
 * is loaded anew by each task, as its own. */
#include "wgl.h"

#include <stdlib.h>
#include <string.h>

#include <lualib.h>

enum { VALUE = 1, GLOBALS, FOUND_AT, FINGERPRINT }; /* of an entry: GLOBALS is a table, or false */

static const char kept_key;  /* registry: name -> entry */
static const char used_key;  /* registry: name -> entry, of those that the running task has */
static const char found_key; /* registry: name -> where the module was found, as its loader was told */
static const char stops_key; /* registry: list of what fingerprints stop at */

/* --- the fingerprint --- */

typedef struct walk {
    lua_State *L;
    wgl_met *met;
    int list; /* stack index: what is to be looked at */
    lua_Integer length;
    uint64_t sum;
    bool failed;
} walk;

static uint64_t mix(uint64_t a, uint64_t b, uint64_t c) {
    uint64_t x = a * UINT64_C(0x9e3779b97f4a7c15) ^ (b + UINT64_C(0x7f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 29 ^ c) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 32;
}

static uintptr_t *place_of(const wgl_met *met, uintptr_t address) {
    size_t mask = met->capacity - 1, i = (size_t)mix(address, 0, 0) & mask;
    while (met->addresses[i] && met->addresses[i] != address)
        i = (i + 1) & mask;
    return &met->addresses[i];
}

static bool grow(wgl_met *met) {
    wgl_met larger = {.capacity = met->capacity ? met->capacity * 2 : 1024, .count = met->count};
    if (!(larger.addresses = calloc(larger.capacity, sizeof *larger.addresses)))
        return false;
    for (size_t i = 0; i < met->capacity; i++)
        if (met->addresses[i])
            *place_of(&larger, met->addresses[i]) = met->addresses[i];
    free(met->addresses);
    *met = larger;
    return true;
}

/* Whether `address` is new. */
static bool meet(walk *w, const void *address) {
    if (w->met->count * 2 >= w->met->capacity && !grow(w->met)) {
        w->failed = true;
        return false;
    }
    uintptr_t *place = place_of(w->met, (uintptr_t)address);
    if (*place)
        return false;
    *place = (uintptr_t)address;
    w->met->count++;
    return true;
}

/* A number for the value at `index`. What it leads to is looked at later. */
static uint64_t note(walk *w, int index) {
    lua_State *L = w->L;
    int type = lua_type(L, index);
    uint64_t bits = 0;
    if (type == LUA_TBOOLEAN)
        bits = (uint64_t)lua_toboolean(L, index);
    else if (type == LUA_TNUMBER && lua_isinteger(L, index))
        bits = (uint64_t)lua_tointeger(L, index);
    else if (type == LUA_TNUMBER) {
        lua_Number n = lua_tonumber(L, index);
        memcpy(&bits, &n, sizeof bits < sizeof n ? sizeof bits : sizeof n);
    } else if (type != LUA_TNIL) {
        const void *address = lua_topointer(L, index);
        bits = (uint64_t)(uintptr_t)address;
        bool leads = type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA;
        if (leads && meet(w, address)) {
            lua_pushvalue(L, index);
            lua_rawseti(L, w->list, ++w->length);
        }
    }
    return mix(bits, (uint64_t)type, 0);
}

/* The order of pairs does not matter. What a weak table holds is a cache's. */
static void walk_table(walk *w, int table) {
    lua_State *L = w->L;
    uint64_t self = (uint64_t)(uintptr_t)lua_topointer(L, table);
    if (lua_getmetatable(L, table)) {
        w->sum += mix(self, note(w, table + 1), 1);
        lua_pushliteral(L, "__mode");
        bool weak = lua_rawget(L, table + 1) != LUA_TNIL;
        lua_settop(L, table);
        if (weak)
            return;
    }
    lua_pushnil(L);
    while (lua_next(L, table)) {
        w->sum += mix(self, note(w, table + 1), note(w, table + 2));
        lua_settop(L, table + 1);
    }
}

static void walk_function(walk *w, int function) {
    lua_State *L = w->L;
    uint64_t self = (uint64_t)(uintptr_t)lua_topointer(L, function);
    if (wgl_push_own_name(L, function)) {
        lua_pop(L, 1);
        return;
    }
    for (int i = 1; lua_getupvalue(L, function, i); i++) {
        w->sum += mix(self, (uint64_t)i, note(w, function + 1));
        lua_pop(L, 1);
    }
}

static void walk_userdata(walk *w, int userdata) {
    lua_State *L = w->L;
    uint64_t self = (uint64_t)(uintptr_t)lua_touserdata(L, userdata);
    if (wgl_test(L, userdata))
        return;
    if (lua_getmetatable(L, userdata)) {
        w->sum += mix(self, note(w, userdata + 1), 2);
        lua_pop(L, 1);
    }
    for (int i = 1; lua_getiuservalue(L, userdata, i) != LUA_TNONE; i++) {
        w->sum += mix(self, (uint64_t)i, note(w, userdata + 1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void walk_one(walk *w) {
    lua_State *L = w->L;
    int top = lua_gettop(L);
    lua_rawgeti(L, w->list, w->length);
    lua_pushnil(L);
    lua_rawseti(L, w->list, w->length--);
    switch (lua_type(L, top + 1)) {
    case LUA_TTABLE: walk_table(w, top + 1); break;
    case LUA_TFUNCTION: walk_function(w, top + 1); break;
    default: walk_userdata(w, top + 1);
    }
    lua_settop(L, top);
}

static void stop_at(walk *w, int list) {
    lua_State *L = w->L;
    for (lua_Integer i = (lua_Integer)lua_rawlen(L, list); i > 0; i--) {
        lua_rawgeti(L, list, i);
        meet(w, lua_topointer(L, -1));
        lua_pop(L, 1);
    }
}

/* Of the module of the entry on top; 0: it could not be taken. */
static uint64_t fingerprint(lua_State *L, wgl_met *met) {
    int top = lua_gettop(L);
    luaL_checkstack(L, 12, NULL);
    if (met->count > 0)
        memset(met->addresses, 0, met->capacity * sizeof *met->addresses);
    met->count = 0;
    lua_newtable(L);
    walk w = {.L = L, .met = met, .list = top + 1, .sum = 1};
    lua_rawgetp(L, LUA_REGISTRYINDEX, &stops_key);
    stop_at(&w, top + 2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    meet(&w, lua_topointer(L, -1));
    for (int i = VALUE; i <= GLOBALS; i++) {
        lua_rawgeti(L, top, i);
        w.sum += mix(note(&w, lua_gettop(L)), (uint64_t)i, 3);
    }
    while (w.length > 0)
        walk_one(&w);
    lua_settop(L, top);
    return w.failed ? 0 : w.sum;
}

/* Whether the module of the entry on top is as it was. */
static bool is_unchanged(lua_State *L, wgl_met *met) {
    lua_rawgeti(L, -1, FINGERPRINT);
    uint64_t then = (uint64_t)lua_tointeger(L, -1);
    lua_pop(L, 1);
    uint64_t now = fingerprint(L, met);
    return now == then && now != 0;
}

/* The module of the entry on top is as it should be. */
static void take_fingerprint(lua_State *L, wgl_met *met) {
    lua_pushinteger(L, (lua_Integer)fingerprint(L, met));
    lua_rawseti(L, -2, FINGERPRINT);
}

/* Whether all modules that this task has are as they were; or take it that they are as they should be. */
static bool look_at_used(lua_State *L, wgl_met *met, bool take) {
    int top = lua_gettop(L);
    bool unchanged = true;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &used_key);
    lua_pushnil(L);
    while (unchanged && lua_next(L, top + 1)) {
        if (take)
            take_fingerprint(L, met);
        else
            unchanged = is_unchanged(L, met);
        lua_settop(L, top + 2);
    }
    lua_settop(L, top);
    return unchanged;
}

/* --- loading --- */

/* Whether the table on top is empty; pops it. */
static bool is_empty(lua_State *L) {
    lua_pushnil(L);
    bool empty = !lua_next(L, -2);
    lua_settop(L, empty ? -2 : -4);
    return empty;
}

/* Push a table of the globals that modules have set which this task has. */
static void push_set_by_modules(lua_State *L) {
    int top = lua_gettop(L);
    lua_newtable(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &used_key);
    lua_pushnil(L);
    while (lua_next(L, top + 2)) {
        if (lua_rawgeti(L, top + 4, GLOBALS) == LUA_TTABLE) {
            lua_pushvalue(L, top + 1);
            wgl_copy_fields(L, top + 5);
        }
        lua_settop(L, top + 3);
    }
    lua_settop(L, top + 1);
}

/* Push a table of the globals that are not in the table at `known`, or false for none. */
static void push_other_globals(lua_State *L, int known) {
    int top = lua_gettop(L);
    lua_pushboolean(L, false);
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_pushnil(L);
    while (lua_next(L, top + 2)) {
        lua_pushvalue(L, top + 3);
        lua_rawget(L, known);
        if (!lua_rawequal(L, -1, top + 4)) {
            if (!lua_istable(L, top + 1)) {
                lua_newtable(L);
                lua_replace(L, top + 1);
            }
            lua_pushvalue(L, top + 3);
            lua_pushvalue(L, top + 4);
            lua_rawset(L, top + 1);
        }
        lua_settop(L, top + 3);
    }
    lua_settop(L, top + 1);
}

/* Push a copy of package.loaded. */
static void push_loaded_now(lua_State *L) {
    lua_newtable(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -5);
    }
    lua_pop(L, 1);
}

/* Whether package.preload has the string on top. */
static bool is_preloaded(lua_State *L) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushvalue(L, -2);
    bool there = lua_rawget(L, -2) != LUA_TNIL;
    lua_pop(L, 2);
    return there;
}

/* Keep the module on top as `name`, which this task has. `globals`: the index of those that were set. */
static void keep(lua_State *L, const char *name, int globals) {
    int module = lua_gettop(L);
    lua_createtable(L, 4, 0);
    lua_pushvalue(L, module);
    lua_rawseti(L, module + 1, VALUE);
    lua_pushvalue(L, globals);
    lua_rawseti(L, module + 1, GLOBALS);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &found_key);
    lua_getfield(L, -1, name);
    lua_rawseti(L, module + 1, FOUND_AT);
    const char *const keys[] = {&kept_key, &used_key};
    for (int i = 0; i < 2; i++) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, keys[i]);
        lua_pushvalue(L, module + 1);
        lua_setfield(L, -2, name);
    }
    lua_settop(L, module);
}

/* Keep what package.loaded has and the table at `before` has not; the globals that it set are not those in `known`. */
static void keep_new(lua_State *L, int before, int known) {
    int top = lua_gettop(L), globals = top + 1, loaded = top + 2, name = top + 3, module = top + 4;
    push_other_globals(L, known);
    push_loaded_now(L);
    lua_pushnil(L);
    while (lua_next(L, loaded)) {
        lua_pushvalue(L, name);
        bool new = lua_type(L, -1) == LUA_TSTRING && !is_preloaded(L) && lua_rawget(L, before) == LUA_TNIL;
        lua_settop(L, module);
        if (new && !wgl_is_own_module(lua_tostring(L, name)))
            keep(L, lua_tostring(L, name), globals);
        lua_settop(L, name);
    }
    lua_settop(L, top);
}

/* Enter into package.loaded, as `require` is about to, the value on top, which the loader of the module returned. */
static void enter(lua_State *L, const char *name) {
    int value = lua_gettop(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_isnil(L, value) && lua_getfield(L, value + 1, name) == LUA_TNIL) {
        lua_pushboolean(L, true);
        lua_setfield(L, value + 1, name);
    } else if (!lua_isnil(L, value)) {
        lua_pushvalue(L, value);
        lua_setfield(L, value + 1, name);
    }
    lua_settop(L, value);
}

/* Whether what is loaded now may be kept. `known`: globals that do not matter. */
static bool may_keep(lua_State *L, wgl_home *home, int known) {
    if (home->loading > 0 || home->changed)
        return false;
    push_other_globals(L, known);
    bool others = lua_istable(L, -1);
    lua_pop(L, 1);
    if (others)
        return false;
    home->changed = !look_at_used(L, &home->met, false);
    return !home->changed;
}

static void note_found(lua_State *L, int name, int found) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &found_key);
    lua_pushvalue(L, name);
    lua_pushvalue(L, found);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* The loader that `require` calls instead of the one in its upvalue, with the name and where the module was found. One
 * that raises leaves `loading` as it is: what that task loads from then on is not kept. */
static int load(lua_State *L) {
    enum { NAME = 1, FOUND, KNOWN, BEFORE };
    wgl_home *home = wgl_home_of(L);
    lua_settop(L, FOUND);
    note_found(L, NAME, FOUND);
    push_set_by_modules(L);
    bool keeps = !wgl_is_own_module(lua_tostring(L, NAME)) && may_keep(L, home, KNOWN);
    if (keeps)
        push_loaded_now(L);
    else
        lua_pushnil(L);
    home->loading++;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, NAME);
    lua_pushvalue(L, FOUND);
    lua_call(L, 2, 1);
    home->loading--;
    if (keeps) {
        enter(L, lua_tostring(L, NAME));
        keep_new(L, BEFORE, KNOWN);
        look_at_used(L, &home->met, true);
    }
    return 1;
}

/* Like a loader: gives the module of the entry in its upvalue, and sets its globals. */
static int give(lua_State *L) {
    lua_settop(L, 0);
    if (lua_rawgeti(L, lua_upvalueindex(1), GLOBALS) == LUA_TTABLE) {
        wgl_home_of(L)->left |= WGL_LEFT_FIELDS;
        lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
        wgl_copy_fields(L, 1);
    }
    lua_rawgeti(L, lua_upvalueindex(1), VALUE);
    return 1;
}

/* The module with the name at 1, if it is kept: its loader and where it was found. */
static bool push_kept(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_key);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, -2) != LUA_TTABLE) {
        lua_pop(L, 2);
        return false;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &used_key);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, give, 1);
    lua_rawgeti(L, -2, FOUND_AT);
    return true;
}

/* Our own file with the name at 1: its loader and its path. */
static bool push_own_file(lua_State *L) {
    if (!wgl_is_own_module(lua_tostring(L, 1)))
        return false;
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, -1, LUA_LOADLIBNAME) != LUA_TTABLE || lua_getfield(L, -1, "searchpath") != LUA_TFUNCTION)
        return false;
    lua_pushvalue(L, 1);
    lua_getfield(L, -3, "path");
    lua_call(L, 2, 1);
    if (lua_type(L, -1) != LUA_TSTRING || wgl_load_file(L, lua_tostring(L, -1)) != LUA_OK)
        return false;
    lua_insert(L, -2);
    return true;
}

/* In the place of the searcher in its upvalue, which is asked last. */
static int search(lua_State *L) {
    luaL_checkstring(L, 1);
    if (push_kept(L) || push_own_file(L))
        return 2;
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 2);
    if (lua_isfunction(L, 1)) {
        lua_pushvalue(L, 1);
        lua_pushcclosure(L, load, 1);
        lua_replace(L, 1);
    }
    return 2;
}

/* --- between tasks --- */

static void new_table(lua_State *L, const char *key) {
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

void wgl_kept_forget(lua_State *L) { new_table(L, &kept_key); }

static bool has_none(lua_State *L, const char *key) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, key);
    return is_empty(L);
}

bool wgl_kept_any(lua_State *L) { return !has_none(L, &kept_key); }

bool wgl_kept_leave(lua_State *L, wgl_home *home) {
    if (home->changed)
        return false;
    if (has_none(L, &used_key))
        return true;
    bool unchanged = look_at_used(L, &home->met, false);
    new_table(L, &used_key);
    return unchanged;
}

/* What fingerprints stop at are the values in package.loaded now, and the `more` values on top, which are popped. */
void wgl_kept_open(lua_State *L, int more) {
    int first = lua_gettop(L) - more + 1;
    lua_newtable(L);
    lua_insert(L, first);
    for (int i = more; i > 0; i--)
        lua_rawseti(L, first, i);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushnil(L);
    while (lua_next(L, first + 1))
        lua_rawseti(L, first, (lua_Integer)lua_rawlen(L, first) + 1);
    if (lua_getfield(L, first + 1, LUA_LOADLIBNAME) == LUA_TTABLE && lua_getfield(L, -1, "searchers") == LUA_TTABLE)
        for (int i = 2; i <= 4 && lua_rawgeti(L, first + 3, i) == LUA_TFUNCTION; i++) {
            lua_pushcclosure(L, search, 1);
            lua_rawseti(L, first + 3, i);
        }
    lua_settop(L, first);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &stops_key);
    new_table(L, &kept_key);
    new_table(L, &used_key);
    new_table(L, &found_key);
}
