/* encode.c - from Lua values to a message, whose format is in message.h. */
#include "message.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 200 /* as deep as Lua lets C calls nest */

void wgl_message_clear(wgl_message *message) {
    for (uint32_t i = 0; i < message->objects_count; i++)
        wgl_release(message->objects[i]);
    free(message->objects);
    if (message->allocated)
        free(message->data);
    *message = (wgl_message){0};
}

/* --- encoding. Nothing here raises: what can fail returns false. --- */

/* Where in the arguments the value is that is being copied: for the refusal. */
typedef struct place {
    const struct place *outer;
    enum { ARGUMENT, KEY_OF, VALUE_OF, UPVALUE, METATABLE, COPY } kind;
    int key; /* VALUE_OF: the stack index of the key, or 0: then number */
    lua_Integer number;
    const char *name; /* of the argument or the upvalue */
    int depth;
} place;

/* Which table, function or variable was met where. */
typedef struct seen {
    const void *what;
    uint32_t offset;
    uint8_t upvalue; /* or BEING_COPIED */
} seen;

enum { BEING_COPIED = 255 }; /* its __copy has been called: what that gave must not contain it */

#define MEMO_FEW 16

typedef struct encoder {
    lua_State *L;
    wgl_message *message;
    size_t capacity;
    size_t objects_capacity;
    seen *memo; /* open addressing; capacity a power of two; at first it is `few`, and NULL until anything is met */
    size_t memo_capacity, memo_count;
    seen *few;
    const wgl_blob *blob;
    const void *blob_function; /* whose code it is: the first value, at offset 0 */
    int made;         /* stack index of the list of what __copy gave, which must stay until all is copied; or 0 */
    bool wants_calls; /* a __copy was met, which may raise: once more, in a protected call */
    bool loaders;
    bool lenient; /* what cannot be kept of a table's metatable is left behind */
    wgl_refusal *refusal;
} encoder;

static bool no_memory(encoder *e) {
    strcpy(e->refusal->text, "not enough memory");
    return false;
}

/* Append `what` to the refusal, cut at its end. */
static void say(encoder *e, const char *what) {
    size_t used = strlen(e->refusal->text);
    strncat(e->refusal->text, what, sizeof e->refusal->text - used - 1);
}

static void say_number(encoder *e, lua_Integer number) {
    char digits[32];
    lua_Unsigned rest = number < 0 ? 0 - (lua_Unsigned)number : (lua_Unsigned)number;
    char *at = digits + sizeof digits;
    *--at = '\0';
    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0)
        *--at = '-';
    say(e, at);
}

static void say_place(encoder *e, const place *p) {
    if (p->outer)
        say_place(e, p->outer);
    lua_State *L = e->L;
    switch (p->kind) {
    case ARGUMENT:
        say(e, p->name);
        if (p->number > 0) {
            say(e, " ");
            say_number(e, p->number);
        }
        break;
    case KEY_OF: say(e, ", a key"); break;
    case VALUE_OF:
        if (p->key && lua_type(L, p->key) == LUA_TSTRING) {
            say(e, ", field '");
            say(e, lua_tostring(L, p->key));
            say(e, "'");
        } else if (!p->key || lua_isinteger(L, p->key)) {
            say(e, ", element ");
            say_number(e, p->key ? lua_tointeger(L, p->key) : p->number);
        } else
            say(e, ", a field");
        break;
    case UPVALUE:
        say(e, ", upvalue '");
        say(e, p->name);
        say(e, "'");
        break;
    case METATABLE: say(e, ", its metatable"); break;
    case COPY:
        say(e, ", value ");
        say_number(e, p->number);
        say(e, " of its __copy");
        break;
    }
}

static bool refuse(encoder *e, const place *p, const char *article, const char *what, const char *why) {
    e->refusal->text[0] = '\0';
    say_place(e, p);
    say(e, ": ");
    say(e, article);
    say(e, what);
    say(e, why);
    return false;
}

static bool grow(encoder *e, size_t more) {
    wgl_message *m = e->message;
    size_t wanted = m->length + more, capacity = e->capacity ? e->capacity * 2 : 128;
    while (capacity < wanted)
        capacity *= 2;
    unsigned char *data = capacity <= UINT32_MAX ? realloc(m->allocated ? m->data : NULL, capacity) : NULL;
    if (!data)
        return no_memory(e);
    if (!m->allocated && m->length > 0)
        memcpy(data, m->data, m->length);
    m->data = data;
    m->allocated = true;
    e->capacity = capacity;
    return true;
}

static inline bool put(encoder *e, const void *bytes, size_t length) {
    wgl_message *m = e->message;
    if (e->capacity - m->length < length && !grow(e, length))
        return false;
    memcpy(m->data + m->length, bytes, length);
    m->length += (uint32_t)length;
    return true;
}

static inline bool put_byte(encoder *e, unsigned byte) {
    unsigned char b = (unsigned char)byte;
    return put(e, &b, 1);
}

static bool put_u32(encoder *e, size_t number) {
    uint32_t n = (uint32_t)number;
    return put(e, &n, sizeof n);
}

static inline bool put_tagged(encoder *e, enum wgl_tag tag, const void *bytes, size_t length) {
    return put_byte(e, tag) && put(e, bytes, length);
}

static bool put_string(encoder *e, int index) {
    size_t length;
    const char *text = lua_tolstring(e->L, index, &length);
    return length <= UINT32_MAX ? put_byte(e, STRING) && put_u32(e, length) && put(e, text, length) : no_memory(e);
}

static bool put_text(encoder *e, const char *text) {
    size_t length = strlen(text);
    return put_byte(e, STRING) && put_u32(e, length) && put(e, text, length);
}

static seen *memo_slot(const encoder *e, const void *what) {
    size_t mask = e->memo_capacity - 1, i = ((uintptr_t)what >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20 & mask;
    while (e->memo[i].what && e->memo[i].what != what)
        i = (i + 1) & mask;
    return &e->memo[i];
}

/* The slot of `what`: a new one has no `what` in it yet. NULL without memory. */
static seen *remember(encoder *e, const void *what) {
    if (!e->memo) {
        e->memo = memset(e->few, 0, MEMO_FEW * sizeof(seen));
        e->memo_capacity = MEMO_FEW;
    }
    if (e->memo_count * 2 >= e->memo_capacity) {
        size_t old_capacity = e->memo_capacity;
        seen *old = e->memo;
        seen *memo = calloc(old_capacity * 2, sizeof *memo);
        if (!memo) {
            no_memory(e);
            return NULL;
        }
        e->memo = memo;
        e->memo_capacity = old_capacity * 2;
        for (size_t i = 0; i < old_capacity; i++)
            if (old[i].what)
                *memo_slot(e, old[i].what) = old[i];
        if (old != e->few)
            free(old);
    }
    return memo_slot(e, what);
}

static void mark_shared(encoder *e, uint32_t offset) {
    e->message->data[offset] |= SHARED;
    e->message->shares = true;
}

/* If the thing at `index` was met before, put a reference and set *done. Else note that it comes here. */
static bool put_if_seen(encoder *e, int index, const place *p, bool *done) {
    const void *what = lua_topointer(e->L, index);
    if (what == e->blob_function) {
        *done = true;
        mark_shared(e, 0);
        return put_byte(e, SAME) && put_u32(e, 0);
    }
    seen *slot = remember(e, what);
    if (!slot)
        return false;
    *done = slot->what != NULL;
    if (*done && slot->upvalue == BEING_COPIED)
        return refuse(e, p, "", "it contains itself", ", which its __copy cannot give");
    if (*done) {
        mark_shared(e, slot->offset);
        return put_byte(e, SAME) && put_u32(e, slot->offset);
    }
    *slot = (seen){what, (uint32_t)e->message->length, 0};
    e->memo_count++;
    return true;
}

static bool put_value(encoder *e, int index, const place *p);
static bool put_table(encoder *e, int index, const place *p);

/* The contents of the table at `index`, whose tag was put. */
static bool put_fields(encoder *e, int index, const place *p) {
    lua_State *L = e->L;
    size_t header = e->message->length;
    uint32_t sizes[2] = {0, 0};
    if (!put(e, sizes, sizeof sizes))
        return false;
    place at = {p, VALUE_OF, 0, 0, NULL, p->depth + 1};
    for (;;) {
        at.number = (lua_Integer)sizes[0] + 1;
        if (lua_rawgeti(L, index, at.number) == LUA_TNIL)
            break;
        if (!put_value(e, lua_gettop(L), &at))
            return false;
        sizes[0]++;
        lua_pop(L, 1);
    }
    while (lua_next(L, index)) {
        int value = lua_gettop(L), key = value - 1;
        bool in_sequence = lua_isinteger(L, key) && lua_tointeger(L, key) >= 1 && lua_tointeger(L, key) <= sizes[0];
        if (!in_sequence) {
            place of_key = {p, KEY_OF, 0, 0, NULL, p->depth + 1};
            at.key = key;
            if (!put_value(e, key, &of_key) || !put_value(e, value, &at))
                return false;
            sizes[1]++;
        }
        lua_pop(L, 1);
    }
    memcpy(e->message->data + header, sizes, sizeof sizes);
    return true;
}

/* One without a metatable, or whose metatable does not matter. */
static bool put_plain_table(encoder *e, int index, const place *p) {
    bool seen_before;
    return put_if_seen(e, index, p, &seen_before) && (seen_before || (put_byte(e, TABLE) && put_fields(e, index, p)));
}

static bool put_names(encoder *e, const wgl_names *names) {
    bool ok = put_byte(e, (unsigned)names->count);
    for (int i = 0; ok && i < names->count; i++)
        ok = put_text(e, names->list[i].module) && put_text(e, names->list[i].field);
    return ok;
}

/* If the table at `index` is a module that was loaded, put its names and set *done. */
static bool put_if_module(encoder *e, int index, bool *done) {
    wgl_names names;
    wgl_find_names(e->L, index, &names);
    *done = names.count > 0;
    return !*done || (put_byte(e, MODULE) && put_names(e, &names));
}

/* The results of a __copy, from `first` on; the slot of what was copied is found again, for the table of them may have
 * grown. */
static bool put_results(encoder *e, int index, int first, const place *p) {
    lua_State *L = e->L;
    int count = lua_gettop(L) - first + 1;
    if (count < 1 || !(lua_isfunction(L, first) || lua_type(L, first) == LUA_TSTRING))
        return refuse(e, p, "", "its __copy gave ",
                      count < 1 ? "nothing: a function or the name of a module, and arguments, expected"
                                : "no function or name of a module first");
    bool ok = put_byte(e, COPIED) && put_u32(e, (size_t)count);
    place at = {p, COPY, 0, 0, NULL, p->depth + 1};
    for (int i = 0; ok && i < count; i++) {
        lua_pushvalue(L, first + i);
        lua_rawseti(L, e->made, (lua_Integer)lua_rawlen(L, e->made) + 1);
        at.number = i + 1;
        ok = put_value(e, first + i, &at);
    }
    memo_slot(e, lua_topointer(L, index))->upvalue = 0;
    return ok;
}

/* The value at `index`, by the function on top, its __copy. */
static bool put_by_copy(encoder *e, int index, const place *p) {
    lua_State *L = e->L;
    if (!e->made) {
        e->wants_calls = true;
        return false;
    }
    bool seen_before;
    if (!put_if_seen(e, index, p, &seen_before))
        return false;
    if (seen_before)
        return true;
    memo_slot(e, lua_topointer(L, index))->upvalue = BEING_COPIED;
    int top = lua_gettop(L);
    lua_pushvalue(L, index);
    if (lua_pcall(L, 1, LUA_MULTRET, 0) != LUA_OK)
        return refuse(e, p, "its __copy failed: ", luaL_tolstring(L, -1, NULL), "");
    if (!lua_checkstack(L, 16))
        return no_memory(e);
    bool ok = put_results(e, index, top, p);
    lua_settop(L, top);
    return ok;
}

/* One with the metatable on top, which crosses too. */
static bool put_classed(encoder *e, int index, const place *p) {
    lua_State *L = e->L;
    bool seen_before, done;
    int metatable = lua_gettop(L);
    place of_metatable = {p, METATABLE, 0, 0, NULL, p->depth + 1};
    lua_pushstring(L, "__gc");
    if (lua_rawget(L, metatable) != LUA_TNIL)
        return refuse(e, p, "a ", "table with a finalizer (__gc)",
                      " cannot cross threads, as it would be finalized in both: give its metatable a __copy");
    lua_pop(L, 1);
    if (!put_if_seen(e, index, p, &seen_before))
        return false;
    if (seen_before)
        return true;
    return put_byte(e, CLASSED) && put_fields(e, index, p) && put_if_module(e, metatable, &done) &&
           (done || put_table(e, metatable, &of_metatable));
}

/* By what its metatable, which is on top, says: its type is known to whoever wrote the __copy in it. */
static bool put_with_metatable(encoder *e, int index, const place *p) {
    lua_State *L = e->L;
    lua_pushstring(L, "__copy");
    lua_rawget(L, -2);
    if (lua_isboolean(L, -1) && lua_toboolean(L, -1) && lua_istable(L, index))
        return put_plain_table(e, index, p);
    if (lua_isfunction(L, -1))
        return put_by_copy(e, index, p);
    if (!lua_isnil(L, -1))
        return refuse(e, p, "its __copy is a ", luaL_typename(L, -1), ", where a function, or true, is expected");
    lua_pop(L, 1);
    bool done;
    if (!put_if_module(e, index, &done))
        return false;
    if (done)
        return true;
    return e->lenient ? put_plain_table(e, index, p) : put_classed(e, index, p);
}

static bool put_table(encoder *e, int index, const place *p) {
    lua_State *L = e->L;
    int top = lua_gettop(L);
    if (!lua_getmetatable(L, index))
        return put_plain_table(e, index, p);
    bool ok = put_with_metatable(e, index, p);
    lua_settop(L, top);
    return ok;
}

/* A C function is known by where it belongs, see names.c. */
static bool put_c_function(encoder *e, int index, const place *p) {
    lua_State *L = e->L;
    lua_CFunction f = lua_tocfunction(L, index);
    if (e->loaders && !lua_getupvalue(L, index, 1))
        return put_tagged(e, LOADER, &f, sizeof f);
    const wgl_standard *known = wgl_standard_of(f);
    if (known)
        return put_tagged(e, STANDARD, &known, sizeof known);
    wgl_names names;
    wgl_find_names(L, index, &names);
    if (names.count == 0)
        return refuse(e, p, "", "a C function that is in no loaded module", " cannot cross threads");
    return put_tagged(e, FIELD, &f, sizeof f) && put_names(e, &names);
}

static int write_chunk(lua_State *L, const void *bytes, size_t length, void *data) {
    (void)L;
    return length == 0 || put(data, bytes, length) ? 0 : 1; /* 5.5 ends with no bytes at no address */
}

/* Upvalues of the function at `index`, whose tag is at `offset`. */
static bool put_upvalues(encoder *e, int index, int count, uint32_t offset, const place *p) {
    lua_State *L = e->L;
    if (!put_byte(e, (unsigned)count))
        return false;
    for (int i = 1; i <= count; i++) {
        const char *name = lua_getupvalue(L, index, i);
        int value = lua_gettop(L);
        lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
        bool globals = strcmp(name, "_ENV") == 0 || lua_rawequal(L, value, -1);
        lua_pop(L, 1);
        bool ok, done = false;
        if (globals)
            ok = put_byte(e, ENVIRONMENT);
        else {
            seen *slot = remember(e, lua_upvalueid(L, index, i));
            if (!slot)
                return false;
            if (slot->what) {
                mark_shared(e, slot->offset);
                ok = put_byte(e, JOIN) && put_u32(e, slot->offset) && put_byte(e, slot->upvalue);
            } else {
                *slot = (seen){lua_upvalueid(L, index, i), offset, (uint8_t)i};
                e->memo_count++;
                place at = {p, UPVALUE, 0, 0, name, p->depth + 1};
                ok = !lua_istable(L, value) || put_if_module(e, value, &done);
                ok = ok && (done || put_value(e, value, &at));
            }
        }
        if (!ok)
            return false;
        lua_pop(L, 1);
    }
    return true;
}

static bool put_function(encoder *e, int index, const place *p) {
    lua_State *L = e->L;
    if (!e->loaders && wgl_push_own_name(L, index)) {
        bool ok = put_byte(e, OWN) && put_string(e, lua_gettop(L));
        lua_pop(L, 1);
        return ok;
    }
    if (lua_iscfunction(L, index)) {
        int top = lua_gettop(L);
        bool ok = put_c_function(e, index, p);
        lua_settop(L, top);
        return ok;
    }
    bool seen_before;
    uint32_t offset = (uint32_t)e->message->length;
    if (!put_if_seen(e, index, p, &seen_before))
        return false;
    if (seen_before)
        return true;
    if (!put_byte(e, FUNCTION))
        return false;
    size_t header = e->message->length;
    if (!put_u32(e, 0))
        return false;
    lua_pushvalue(L, index);
    int failed = lua_dump(L, write_chunk, e, 0);
    lua_pop(L, 1);
    if (failed)
        return false;
    uint32_t length = (uint32_t)(e->message->length - header - sizeof length);
    memcpy(e->message->data + header, &length, sizeof length);
    return put_upvalues(e, index, wgl_count_upvalues(L, index), offset, p);
}

/* A userdata that is none of ours, by its __copy. */
static bool put_foreign(encoder *e, int index, const place *p) {
    lua_State *L = e->L;
    int top = lua_gettop(L);
    bool ok = false;
    if (luaL_getmetafield(L, index, "__copy") == LUA_TFUNCTION)
        ok = put_by_copy(e, index, p);
    else {
        lua_settop(L, top);
        const char *name = luaL_getmetafield(L, index, "__name") == LUA_TSTRING ? lua_tostring(L, -1) : "userdata";
        refuse(e, p, "a ", name, " cannot cross threads");
    }
    lua_settop(L, top);
    return ok;
}

static bool put_object(encoder *e, int index, const place *p) {
    wgl_object *object = wgl_test(e->L, index);
    if (!object || object->kind == WGL_TASK)
        return put_foreign(e, index, p);
    wgl_message *m = e->message;
    if (m->objects_count == e->objects_capacity) {
        size_t capacity = e->objects_capacity ? e->objects_capacity * 2 : 4;
        wgl_object **objects = realloc(m->objects, capacity * sizeof(wgl_object *));
        if (!objects)
            return no_memory(e);
        m->objects = objects;
        e->objects_capacity = capacity;
    }
    wgl_share(object);
    m->objects[m->objects_count++] = wgl_retain(object);
    return put_byte(e, OBJECT) && put_u32(e, m->objects_count - 1);
}

/* Put a value that is neither a reference nor refused: true if it is one and there was memory. */
static inline bool put_plain(encoder *e, int index, int type, bool *ok) {
    lua_State *L = e->L;
    switch (type) {
    case LUA_TNIL: *ok = put_byte(e, NIL); return true;
    case LUA_TBOOLEAN: *ok = put_byte(e, lua_toboolean(L, index) ? TRUE : FALSE); return true;
    case LUA_TNUMBER:
        if (lua_isinteger(L, index)) {
            lua_Integer n = lua_tointeger(L, index);
            *ok = n >= 0 && n <= 255 ? put_byte(e, SMALL) && put_byte(e, (unsigned)n)
                                     : put_tagged(e, INTEGER, &n, sizeof n);
        } else {
            lua_Number n = lua_tonumber(L, index);
            *ok = put_tagged(e, FLOAT, &n, sizeof n);
        }
        return true;
    case LUA_TSTRING: *ok = put_string(e, index); return true;
    case LUA_TLIGHTUSERDATA: {
        const void *pointer = lua_touserdata(L, index);
        *ok = put_tagged(e, LIGHT, &pointer, sizeof pointer);
        return true;
    }
    default: return false;
    }
}

static bool put_value(encoder *e, int index, const place *p) {
    lua_State *L = e->L;
    int type = lua_type(L, index);
    bool ok;
    if (put_plain(e, index, type, &ok))
        return ok;
    if (p->depth > DEPTH_MAX || !lua_checkstack(L, 16)) {
        e->refusal->text[0] = '\0';
        const place *outermost = p;
        while (outermost->outer)
            outermost = outermost->outer;
        return refuse(e, outermost, "", "it is nested too deep", " to cross threads (more than 200 levels)");
    }
    switch (type) {
    case LUA_TTABLE: return put_table(e, index, p);
    case LUA_TFUNCTION: return put_function(e, index, p);
    case LUA_TUSERDATA: return put_object(e, index, p);
    default: return refuse(e, p, "a ", "coroutine", " cannot cross threads");
    }
}

/* The values from `first` on, as many as the message says. */
static bool put_values(encoder *e, int first, const char *what, int number) {
    lua_State *L = e->L;
    bool ok = true;
    int i = 0;
    if (e->blob) {
        e->blob_function = lua_topointer(L, first);
        place p = {NULL, ARGUMENT, 0, number, what, 0};
        ok = put_byte(e, BLOB) && put_upvalues(e, first, wgl_blob_upvalues(e->blob), 0, &p);
        i = 1;
    }
    for (; ok && i < e->message->count; i++)
        if (!put_plain(e, first + i, lua_type(L, first + i), &ok)) {
            place p = {NULL, ARGUMENT, 0, number > 0 ? number + i : 0, what, 0};
            ok = put_value(e, first + i, &p);
        }
    return ok;
}

typedef struct protected_call {
    encoder *e;
    const char *what;
    int number;
    bool ok;
} protected_call;

/* protected_call, values... */
static int put_protected(lua_State *L) {
    protected_call *call = lua_touserdata(L, 1);
    lua_newtable(L);
    lua_replace(L, 1);
    call->e->made = 1;
    call->ok = put_values(call->e, 2, call->what, call->number);
    return 0;
}

/* Once more from the start, with calls of __copy. */
static bool put_with_calls(encoder *e, int first, const char *what, int number) {
    lua_State *L = e->L;
    int count = e->message->count;
    protected_call call = {e, what, number, false};
    if (!lua_checkstack(L, count + 4))
        return no_memory(e);
    lua_pushcfunction(L, put_protected);
    lua_pushlightuserdata(L, &call);
    for (int i = 0; i < count; i++)
        lua_pushvalue(L, first + i);
    if (lua_pcall(L, count + 1, 0, 0) == LUA_OK)
        return call.ok;
    e->refusal->text[0] = '\0';
    say(e, lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "a __copy failed");
    return false;
}

static bool encode(encoder *e, int first, int count, const char *what, int number) {
    seen few[MEMO_FEW];
    wgl_message *message = e->message;
    int top = lua_gettop(e->L);
    e->few = few;
    e->refusal->text[0] = '\0';
    message->count = count;
    bool ok = put_values(e, first, what, number);
    if (!ok && e->wants_calls) {
        for (uint32_t i = 0; i < message->objects_count; i++)
            wgl_release(message->objects[i]);
        message->objects_count = message->length = 0;
        message->shares = false;
        e->memo_count = 0;
        if (e->memo)
            memset(e->memo, 0, e->memo_capacity * sizeof *e->memo);
        lua_settop(e->L, top);
        ok = put_with_calls(e, first, what, number);
    }
    if (e->memo != few)
        free(e->memo);
    lua_settop(e->L, top);
    if (!ok)
        wgl_message_clear(message);
    return ok;
}

bool wgl_encode(lua_State *L, int first, int count, const char *what, int number, const wgl_blob *blob,
                wgl_refusal *refusal, wgl_message *message, void *space, size_t size) {
    *message = (wgl_message){.data = space};
    encoder e = {.L = L, .message = message, .capacity = size, .blob = blob, .refusal = refusal};
    return encode(&e, first, count, what, number);
}

bool wgl_encode_loaders(lua_State *L, int first, int count, wgl_refusal *refusal, wgl_message *message) {
    *message = (wgl_message){0};
    encoder e = {.L = L, .message = message, .loaders = true, .refusal = refusal};
    return encode(&e, first, count, "loader", 0);
}

bool wgl_encode_error(lua_State *L, int index, wgl_message *message) {
    wgl_refusal refusal;
    *message = (wgl_message){0};
    encoder e = {.L = L, .message = message, .lenient = true, .refusal = &refusal};
    return encode(&e, index, 1, "error value", 0);
}

bool wgl_message_text(wgl_message *message, const char *text) {
    wgl_refusal refusal;
    *message = (wgl_message){.count = 1};
    encoder e = {.refusal = &refusal, .message = message};
    if (put_text(&e, text))
        return true;
    wgl_message_clear(message);
    return false;
}
