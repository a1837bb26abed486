/* names.c - functions and modules by name: how another state finds the very same.
 *
 * A C function is one of three:
 *   standard   every state has it; known by its address, which a state that nobody has touched has told
 *   ours       of this module or a method of its objects; known by a name that we gave it when the module was loaded
 *   others     of a loaded module: by the names under which modules have it, and its address, so that the other state
 *              takes it for the same only if it is
 * A module, too, may be loaded under several names, of which the other state knows perhaps one. So all names cross, the
 * likeliest first. */
#define _GNU_SOURCE /* dladdr */
#include "wgl.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include <lualib.h>

/* --- standard functions --- */

#define STANDARD_MAX 256
static struct standard_list {
    int count;
    wgl_standard functions[STANDARD_MAX]; /* by address */
    const wgl_standard *setmetatable;     /* of which workers have their own */
} * _Atomic standard;

static int by_address(const void *a, const void *b) {
    uintptr_t x = (uintptr_t)((const wgl_standard *)a)->function, y = (uintptr_t)((const wgl_standard *)b)->function;
    return x < y ? -1 : x > y;
}

/* The C function on top is that of `field` in `module`. */
static void add_standard(lua_State *L, struct standard_list *list, const char *module, const char *field) {
    wgl_standard *s = &list->functions[list->count];
    if (list->count == STANDARD_MAX || strlen(module) >= sizeof s->module || strlen(field) >= sizeof s->field)
        return;
    strcpy(s->module, module);
    strcpy(s->field, field);
    s->function = lua_tocfunction(L, -1);
    s->closure = lua_getupvalue(L, -1, 1) != NULL;
    if (s->closure)
        lua_pop(L, 1);
    list->count++;
}

static const wgl_standard *find_standard(const struct standard_list *list, lua_CFunction function) {
    wgl_standard key = {.function = function};
    return bsearch(&key, list->functions, (size_t)list->count, sizeof list->functions[0], by_address);
}

/* list_standard(list): in a fresh state. */
static int list_standard(lua_State *L) {
    struct standard_list *list = lua_touserdata(L, 1);
    luaL_openlibs(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushnil(L);
    while (lua_next(L, 2)) {
        lua_pushnil(L);
        while (lua_next(L, 4)) {
            if (lua_iscfunction(L, 6) && lua_type(L, 5) == LUA_TSTRING)
                add_standard(L, list, lua_tostring(L, 3), lua_tostring(L, 5));
            lua_settop(L, 5);
        }
        lua_settop(L, 3);
    }
    qsort(list->functions, (size_t)list->count, sizeof list->functions[0], by_address);
    lua_getglobal(L, "setmetatable");
    list->setmetatable = find_standard(list, lua_tocfunction(L, -1));
    return 0;
}

/* Threads that come here at once all make a list, and one stays. */
static bool make_standard(void) {
    struct standard_list *list = calloc(1, sizeof *list), *none = NULL;
    lua_State *fresh = list ? luaL_newstate() : NULL;
    bool made = false;
    if (fresh) {
        lua_pushcfunction(fresh, list_standard);
        lua_pushlightuserdata(fresh, list);
        made = lua_pcall(fresh, 1, 0, 0) == LUA_OK;
        lua_close(fresh);
    }
    if (!made || !atomic_compare_exchange_strong(&standard, &none, list))
        free(list);
    return made;
}

const wgl_standard *wgl_standard_of(lua_CFunction function) {
    const struct standard_list *list = atomic_load(&standard);
    return function == wgl_setmetatable ? list->setmetatable : find_standard(list, function);
}

/* The user may have replaced the function in the library's table. A function that has nothing of its state in it is the
 * same in all states; a worker looks it up by name, so that the sandbox sets its flags. */
void wgl_push_standard(lua_State *L, const wgl_standard *s) {
    if (!s->closure && !wgl_home_of(L)->worker) {
        lua_pushcfunction(L, s->function);
        return;
    }
    int top = lua_gettop(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, top + 1, s->module) == LUA_TTABLE)
        lua_getfield(L, top + 2, s->field);
    if (!s->closure && wgl_standard_of(lua_tocfunction(L, -1)) != s)
        lua_pushcfunction(L, s->function);
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
}

/* --- ours --- */

static const char own_key;    /* registry: function -> name and name -> function */
enum { OWN_FUNCTIONS = 256 }; /* about how many entries it has: it need not grow */

/* Note the functions in the table on top as `prefix`NAME. Pops it. `own`: the index of the table above. */
static void note_fields(lua_State *L, int own, const char *prefix) {
    int table = lua_gettop(L);
    char name[80];
    size_t length = strlen(prefix);
    memcpy(name, prefix, length);
    lua_pushnil(L);
    while (lua_istable(L, table) && lua_next(L, table)) {
        if (lua_isfunction(L, -1) && lua_type(L, -2) == LUA_TSTRING) {
            name[length] = '\0';
            strncat(name, lua_tostring(L, -2), sizeof name - length - 1);
            lua_pushstring(L, name);
            lua_pushvalue(L, -1);
            lua_pushvalue(L, -3);
            lua_rawset(L, own);
            lua_rawset(L, own); /* function -> name */
        } else
            lua_pop(L, 1);
    }
    lua_settop(L, table - 1);
}

/* The same for the methods of a type. */
static void note_methods(lua_State *L, int own, const char *type) {
    lua_pushfstring(L, "%s.", type);
    luaL_getmetatable(L, type);
    lua_getfield(L, -1, "__index");
    note_fields(L, own, lua_tostring(L, own + 1));
    lua_settop(L, own);
}

void wgl_note_own(lua_State *L, int module) {
    module = lua_absindex(L, module);
    int own = lua_gettop(L) + 1;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &own_key) != LUA_TTABLE) {
        lua_createtable(L, 0, OWN_FUNCTIONS);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &own_key);
        lua_replace(L, own);
    }
    for (int kind = 0; kind < WGL_KINDS; kind++)
        note_methods(L, own, wgl_type_name((wgl_kind)kind));
    note_methods(L, own, "waitgroup.CoroutineTask");
    lua_pushvalue(L, module);
    note_fields(L, own, "waitgroup.");
    lua_settop(L, own - 1);
}

bool wgl_push_own_name(lua_State *L, int index) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &own_key) == LUA_TTABLE) {
        lua_pushvalue(L, index);
        if (lua_rawget(L, -2) == LUA_TSTRING) {
            lua_remove(L, -2);
            return true;
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return false;
}

void wgl_push_own(lua_State *L) {
    wgl_need_module(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &own_key);
    lua_insert(L, -2);
    lua_rawget(L, -2);
    lua_remove(L, -2);
}

/* --- of modules --- */

/* Whether the library that has the C function opens `module`: then it is the function's own. */
static bool opens(lua_CFunction function, const char *module) {
    Dl_info where;
    if (!dladdr((void *)(uintptr_t)function, &where) || !where.dli_fname)
        return false;
    void *library = dlopen(where.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (!library)
        return false;
    const char *hyphen = strchr(module, '-');
    char symbol[128] = "luaopen_";
    strncat(symbol, hyphen ? hyphen + 1 : module, sizeof symbol - strlen(symbol) - 1);
    for (char *at = symbol; *at; at++)
        if (*at == '.')
            *at = '_';
    bool found = dlsym(library, symbol) != NULL;
    dlclose(library);
    return found;
}

/* Put a name where it belongs; the last of too many is forgotten. */
static void add_name(wgl_names *names, const char *module, const char *field, bool likely) {
    int at = names->count < WGL_NAMES_MAX ? names->count++ : WGL_NAMES_MAX;
    for (; at > 0; at--) {
        const wgl_name *before = &names->list[at - 1];
        if (before->likely != likely ? before->likely : strcmp(before->module, module) <= 0)
            break;
        if (at < WGL_NAMES_MAX)
            names->list[at] = *before;
    }
    if (at < WGL_NAMES_MAX)
        names->list[at] = (wgl_name){module, field, likely};
}

/* The key of the C function at `index` in the table on top of the stack, or in what that stands for (a library of a
 * worker is an empty table in front of the real one, with some fields hidden behind that); or NULL. */
static const char *find_field(lua_State *L, int index) {
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        bool found = lua_type(L, -2) == LUA_TSTRING && lua_rawequal(L, -1, index);
        lua_pop(L, 1);
        if (found) {
            const char *key = lua_tostring(L, -1);
            lua_pop(L, 1);
            return key;
        }
    }
    int table = lua_gettop(L);
    if (!lua_getmetatable(L, table))
        return NULL;
    lua_pushstring(L, "__index");
    const char *key = lua_rawget(L, -2) == LUA_TTABLE && !lua_rawequal(L, -1, table) ? find_field(L, index) : NULL;
    if (!key && lua_rawgetp(L, table + 1, &wgl_hidden) == LUA_TTABLE)
        key = find_field(L, index);
    lua_settop(L, table);
    return key;
}

void wgl_find_names(lua_State *L, int index, wgl_names *names) {
    int top = lua_gettop(L), loaded = top + 1, name = top + 2, module = top + 3;
    lua_CFunction function = lua_tocfunction(L, index);
    names->count = 0;
    lua_pushstring(L, LUA_LOADED_TABLE);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_pushnil(L);
    while (lua_istable(L, loaded) && lua_next(L, loaded)) {
        const char *text = lua_type(L, name) == LUA_TSTRING ? lua_tostring(L, name) : NULL;
        if (text && !function && lua_rawequal(L, module, index))
            add_name(names, text, "", wgl_is_standard_module(text));
        const char *field = text && function && lua_istable(L, module) ? find_field(L, index) : NULL;
        if (field)
            add_name(names, text, field, opens(function, text));
        lua_settop(L, name);
    }
    lua_settop(L, top);
}

/* module name, field name -> the module and its field; "" for none. Raises. */
static int look_up(lua_State *L) {
    wgl_home_of(L)->left |= wgl_module_traces(lua_tostring(L, 1));
    if (wgl_is_own_module(lua_tostring(L, 1)))
        wgl_need_module(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, 3) == LUA_TNIL) {
        lua_getglobal(L, "require");
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
    }
    if (*lua_tostring(L, 2))
        lua_getfield(L, -1, lua_tostring(L, 2));
    return 1;
}

bool wgl_look_up(lua_State *L, int names, int count, lua_CFunction function) {
    for (int i = names; i < names + 2 * count; i += 2) {
        lua_pushcfunction(L, look_up);
        lua_pushvalue(L, i);
        lua_pushvalue(L, i + 1);
        bool found = lua_pcall(L, 2, 1, 0) == LUA_OK;
        if (found && (function ? lua_tocfunction(L, -1) == function : !lua_isnil(L, -1)))
            return true;
        if (found) {
            lua_pop(L, 1);
            lua_pushfstring(L, "module '%s' has no such field here, or another function in it", lua_tostring(L, i));
        }
        if (i + 2 < names + 2 * count)
            lua_pop(L, 1);
    }
    return false;
}

void wgl_open_names(lua_State *L) {
    static const char used_key;
    const char *const used[] = {"__copy", "__gc", "__index", "__name", "__tostring"};
    lua_newtable(L); /* so what copying looks for needs no memory later */
    for (int i = 0; i < 5; i++) {
        lua_pushstring(L, used[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, &used_key);
    if (!atomic_load(&standard) && !make_standard())
        luaL_error(L, "not enough memory");
}
