/* decode.c - from a message, whose format is in message.h, to Lua values. May raise: the message stays whole. */
#include "message.h"

#include <string.h>

typedef struct decoder {
    lua_State *L;
    const wgl_message *message;
    const wgl_blob *blob;
    const unsigned char *at;
    int same; /* stack index of the table from offsets to tables and functions; 0 if nothing is shared */
} decoder;

static uint32_t get_u32(decoder *d) {
    uint32_t n;
    memcpy(&n, d->at, sizeof n);
    d->at += sizeof n;
    return n;
}

static uintptr_t get_pointer(decoder *d) {
    uintptr_t pointer;
    memcpy(&pointer, d->at, sizeof pointer);
    d->at += sizeof pointer;
    return pointer;
}

static void get_value(decoder *d);

/* The table or function on top of the stack begins at `offset`. */
static void note_shared(decoder *d, uint32_t offset, bool shared) {
    if (!shared)
        return;
    lua_pushvalue(d->L, -1);
    lua_rawseti(d->L, d->same, offset);
}

static void get_table(decoder *d, uint32_t offset, bool shared) {
    lua_State *L = d->L;
    uint32_t n = get_u32(d), m = get_u32(d);
    lua_createtable(L, (int)n, (int)m);
    note_shared(d, offset, shared);
    for (uint32_t i = 1; i <= n; i++) {
        get_value(d);
        lua_rawseti(L, -2, i);
    }
    for (uint32_t i = 0; i < m; i++) {
        get_value(d);
        get_value(d);
        lua_rawset(L, -3);
    }
}

static void get_upvalues(decoder *d, int function) {
    lua_State *L = d->L;
    int count = *d->at++;
    for (int i = 1; i <= count; i++)
        if (*d->at == ENVIRONMENT) {
            d->at++;
            lua_pushglobaltable(L);
            lua_setupvalue(L, function, i);
        } else if (*d->at == JOIN) {
            d->at++;
            lua_rawgeti(L, d->same, get_u32(d));
            lua_upvaluejoin(L, function, i, -1, *d->at++);
            lua_pop(L, 1);
        } else {
            get_value(d);
            lua_setupvalue(L, function, i);
        }
}

static void load_code(lua_State *L, const void *code, size_t length) {
    if (luaL_loadbufferx(L, code, length, "=task", "b") != LUA_OK)
        lua_error(L);
}

#define KEPT_FUNCTIONS 256
static const char functions_key; /* registry key of the functions of earlier tasks, by the id of their code */

/* Keep the function on top, by `id` in the table at `kept`, where 0 holds how many there are. A full one gives way. */
static void keep_function(lua_State *L, int kept, lua_Integer id) {
    lua_rawgeti(L, kept, 0);
    lua_Integer count = lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (count >= KEPT_FUNCTIONS) {
        count = 0;
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &functions_key);
        lua_replace(L, kept);
    }
    lua_pushinteger(L, count + 1);
    lua_rawseti(L, kept, 0);
    lua_pushvalue(L, -1);
    lua_rawseti(L, kept, id);
}

/* The function that a task runs is loaded once: its upvalues are set anew each time, and no task outlives the next. */
static void push_task_function(lua_State *L, const wgl_blob *blob) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &functions_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &functions_key);
    }
    if (lua_rawgeti(L, -1, wgl_blob_id(blob)) != LUA_TFUNCTION) {
        lua_pop(L, 1);
        size_t length;
        const char *code = wgl_blob_code(blob, &length);
        load_code(L, code, length);
        keep_function(L, lua_gettop(L) - 1, wgl_blob_id(blob));
    }
    lua_remove(L, -2);
}

static void get_function(decoder *d, uint32_t offset, bool shared, bool blob) {
    lua_State *L = d->L;
    if (blob)
        push_task_function(L, d->blob);
    else {
        uint32_t length = get_u32(d);
        load_code(L, d->at, length);
        d->at += length;
    }
    note_shared(d, offset, shared);
    get_upvalues(d, lua_gettop(L));
}

/* The first of its names that leads to it: to `function`, or if that is NULL to any value. */
static void get_by_names(decoder *d, lua_CFunction function) {
    lua_State *L = d->L;
    int count = *d->at++, top = lua_gettop(L);
    luaL_checkstack(L, 2 * count + 12, NULL);
    for (int i = 0; i < 2 * count; i++)
        get_value(d);
    if (!wgl_look_up(L, top + 1, count, function)) {
        const char *field = lua_tostring(L, top + 2);
        luaL_error(L, "this Lua state cannot find %s'%s%s%s', which another gave it: %s", *field ? "" : "the module ",
                   lua_tostring(L, top + 1), *field ? "." : "", field, luaL_tolstring(L, -1, NULL));
    }
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
}

/* What a __copy gave: a function and its arguments, or as of g:thread with a module. */
static void get_copied(decoder *d, uint32_t offset, bool shared) {
    lua_State *L = d->L;
    int first = lua_gettop(L) + 1, count = (int)get_u32(d);
    luaL_checkstack(L, count + 12, "too many values of a __copy");
    for (int i = 0; i < count; i++)
        get_value(d);
    bool by_name = lua_type(L, first) == LUA_TSTRING;
    if (by_name) {
        lua_pushcfunction(L, wgl_call_by_name);
        lua_insert(L, first);
    }
    lua_call(L, by_name ? count : count - 1, 1);
    note_shared(d, offset, shared);
}

/* Like setmetatable; a worker's state takes note of it. */
static void get_metatable(decoder *d) {
    get_value(d);
    lua_setmetatable(d->L, -2);
}

static void get_value(decoder *d) {
    lua_State *L = d->L;
    uint32_t offset = (uint32_t)(d->at - d->message->data);
    unsigned tag = *d->at++;
    bool shared = tag & SHARED;
    tag &= ~(unsigned)SHARED;
    if (tag >= TABLE) /* the caller has room for one value */
        luaL_checkstack(L, 12, NULL);
    switch (tag) {
    case NIL: lua_pushnil(L); break;
    case FALSE:
    case TRUE: lua_pushboolean(L, tag == TRUE); break;
    case SMALL: lua_pushinteger(L, *d->at++); break;
    case INTEGER: {
        lua_Integer n;
        memcpy(&n, d->at, sizeof n);
        d->at += sizeof n;
        lua_pushinteger(L, n);
        break;
    }
    case FLOAT: {
        lua_Number n;
        memcpy(&n, d->at, sizeof n);
        d->at += sizeof n;
        lua_pushnumber(L, n);
        break;
    }
    case STRING: {
        uint32_t length = get_u32(d);
        lua_pushlstring(L, (const char *)d->at, length);
        d->at += length;
        break;
    }
    case LIGHT: lua_pushlightuserdata(L, (void *)get_pointer(d)); break;
    case TABLE: get_table(d, offset, shared); break;
    case CLASSED:
        get_table(d, offset, shared);
        get_metatable(d);
        break;
    case COPIED: get_copied(d, offset, shared); break;
    case FUNCTION: get_function(d, offset, shared, false); break;
    case BLOB: get_function(d, offset, shared, true); break;
    case MODULE: get_by_names(d, NULL); break;
    case FIELD: get_by_names(d, (lua_CFunction)get_pointer(d)); break;
    case LOADER: lua_pushcfunction(L, (lua_CFunction)get_pointer(d)); break;
    case STANDARD: wgl_push_standard(L, (const wgl_standard *)get_pointer(d)); break;
    case OWN:
        get_value(d);
        wgl_home_of(L)->left |= WGL_LEFT_TASKS;
        wgl_push_own(L);
        break;
    case OBJECT:
        wgl_need_module(L);
        wgl_home_of(L)->left |= WGL_LEFT_TASKS;
        wgl_push(L, d->message->objects[get_u32(d)]);
        break;
    case SAME: lua_rawgeti(L, d->same, get_u32(d)); break;
    }
}

int wgl_decode(lua_State *L, const wgl_message *message, const wgl_blob *blob) {
    decoder d = {.L = L, .message = message, .blob = blob, .at = message->data};
    luaL_checkstack(L, message->count + 12, "too many values");
    if (message->shares) {
        lua_newtable(L);
        d.same = lua_gettop(L);
    }
    for (int i = 0; i < message->count; i++)
        get_value(&d);
    if (d.same)
        lua_remove(L, d.same);
    return message->count;
}
