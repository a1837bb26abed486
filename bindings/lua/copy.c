/* copy.c - Lua values as bytes: what threads give each other.
 *
 * A value is a tag and what follows it; all numbers are in the order of the machine, for nothing leaves the process.
 *
 *   NIL FALSE TRUE
 *   INTEGER   8 bytes                    FLOAT     8 bytes
 *   SMALL     1 byte: 0..255             STRING    u32 length, bytes
 *   TABLE     u32 n, u32 m, the values 1..n, then m pairs of key and value; without its metatable
 *   FUNCTION  u32 length, binary chunk, upvalues
 *   BLOB      upvalues: the function that a task runs, whose code is in the blob that goes with the message
 *   MODULE    a name: what `require` gives for it     FIELD   a name of a module, a name in it: a C function
 *   LOADER    8 bytes: a pointer to a C function
 *   OBJECT    u32 index among the message's objects
 *   SAME      u32 offset: the table or function whose tag is there; that tag has the bit SHARED
 *
 * Upvalues: u8 count, each one a value, or ENVIRONMENT: the globals of the receiver, or JOIN, u32 offset, u8 n: the same
 * variable as upvalue n of the function there. */
#include "wgl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum tag {
    NIL,
    FALSE,
    TRUE,
    INTEGER,
    SMALL,
    FLOAT,
    STRING,
    TABLE,
    FUNCTION,
    BLOB,
    MODULE,
    FIELD,
    LOADER,
    OBJECT,
    SAME,
    ENVIRONMENT,
    JOIN,
    SHARED = 0x80
};

#define DEPTH_MAX 200 /* as deep as Lua lets C calls nest */

struct wgl_blob {
    atomic_int refs;
    char apart[64]; /* `refs` changes with every task */
    uint64_t id;
    int upvalues;
    char name[LUA_IDSIZE + 16];
    size_t length;
    char code[];
};

const char *wgl_blob_name(const wgl_blob *blob) { return blob->name; }

void wgl_blob_release(wgl_blob *blob) {
    if (blob && atomic_fetch_sub(&blob->refs, 1) == 1)
        free(blob);
}

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
    enum { ARGUMENT, KEY_OF, VALUE_OF, UPVALUE } kind;
    int key; /* VALUE_OF: the stack index of the key, or 0: then number */
    lua_Integer number;
    const char *name; /* of the argument or the upvalue */
    int depth;
} place;

/* Which table, function or variable was met where. */
typedef struct seen {
    const void *what;
    uint32_t offset;
    uint8_t upvalue;
} seen;

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
    bool loaders;
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

static inline bool put_tagged(encoder *e, enum tag tag, const void *bytes, size_t length) {
    return put_byte(e, tag) && put(e, bytes, length);
}

static bool put_string(encoder *e, int index) {
    size_t length;
    const char *text = lua_tolstring(e->L, index, &length);
    return length <= UINT32_MAX ? put_byte(e, STRING) && put_u32(e, length) && put(e, text, length) : no_memory(e);
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
static bool put_if_seen(encoder *e, int index, bool *done) {
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
    if (*done) {
        mark_shared(e, slot->offset);
        return put_byte(e, SAME) && put_u32(e, slot->offset);
    }
    *slot = (seen){what, (uint32_t)e->message->length, 0};
    e->memo_count++;
    return true;
}

static bool put_value(encoder *e, int index, const place *p);

static bool put_table(encoder *e, int index, const place *p) {
    lua_State *L = e->L;
    bool seen_before;
    if (!put_if_seen(e, index, &seen_before))
        return false;
    if (seen_before)
        return true;
    if (!put_byte(e, TABLE))
        return false;
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

/* The table of loaded modules, on the stack; its keys that are strings name modules. */
static void push_loaded(lua_State *L) {
    lua_pushstring(L, LUA_LOADED_TABLE);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

/* If the table at `index` is a module that was loaded, put its name and set *done. */
static bool put_if_module(encoder *e, int index, bool *done) {
    lua_State *L = e->L;
    int top = lua_gettop(L);
    bool ok = true;
    push_loaded(L);
    lua_pushnil(L);
    while (!*done && lua_istable(L, top + 1) && lua_next(L, top + 1)) {
        if (lua_type(L, -2) == LUA_TSTRING && lua_rawequal(L, -1, index)) {
            ok = put_byte(e, MODULE) && put_string(e, lua_gettop(L) - 1);
            *done = true;
        }
        lua_pop(L, 1);
    }
    lua_settop(L, top);
    return ok;
}

/* The key of the C function at `index` in the table on top of the stack, or in what that stands for (a library of a
 * worker is an empty table in front of the real one, with some fields hidden behind that): then the key is pushed. */
static bool find_field(lua_State *L, int index) {
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (lua_type(L, -2) == LUA_TSTRING && lua_rawequal(L, -1, index)) {
            lua_pop(L, 1);
            return true;
        }
        lua_pop(L, 1);
    }
    if (!lua_getmetatable(L, -1))
        return false;
    lua_pushstring(L, "__index");
    bool found = lua_rawget(L, -2) == LUA_TTABLE && !lua_rawequal(L, -1, -3) && find_field(L, index);
    if (!found) {
        lua_pop(L, 1);
        found = lua_rawgetp(L, -1, &wgl_hidden) == LUA_TTABLE && find_field(L, index);
    }
    if (found)
        lua_insert(L, -3);
    lua_pop(L, 2);
    return found;
}

/* A C function is known by the module it belongs to. */
static bool put_c_function(encoder *e, int index, const place *p) {
    lua_State *L = e->L;
    int top = lua_gettop(L), loaded = top + 1, module = top + 3, field = top + 4;
    if (e->loaders && !lua_getupvalue(L, index, 1)) {
        lua_CFunction f = lua_tocfunction(L, index);
        return put_tagged(e, LOADER, &f, sizeof f);
    }
    lua_settop(L, top);
    push_loaded(L);
    lua_pushnil(L);
    while (lua_istable(L, loaded) && lua_next(L, loaded)) {
        if (lua_type(L, module - 1) == LUA_TSTRING && lua_istable(L, module) && find_field(L, index)) {
            bool ok = put_byte(e, FIELD) && put_string(e, module - 1) && put_string(e, field);
            lua_settop(L, top);
            return ok;
        }
        lua_settop(L, module - 1);
    }
    lua_settop(L, top);
    return refuse(e, p, "", "a C function that is in no loaded module", " cannot cross threads");
}

static int write_chunk(lua_State *L, const void *bytes, size_t length, void *data) {
    (void)L;
    return put(data, bytes, length) ? 0 : 1;
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

static int count_upvalues(lua_State *L, int index) {
    int count = 0;
    while (lua_getupvalue(L, index, count + 1)) {
        lua_pop(L, 1);
        count++;
    }
    return count;
}

static bool put_function(encoder *e, int index, const place *p) {
    lua_State *L = e->L;
    if (lua_iscfunction(L, index))
        return put_c_function(e, index, p);
    bool seen_before;
    uint32_t offset = (uint32_t)e->message->length;
    if (!put_if_seen(e, index, &seen_before))
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
    return put_upvalues(e, index, count_upvalues(L, index), offset, p);
}

static bool put_object(encoder *e, int index, const place *p) {
    wgl_object *object = wgl_test(e->L, index);
    if (!object || object->kind == WGL_TASK) {
        const char *name =
            luaL_getmetafield(e->L, index, "__name") == LUA_TSTRING ? lua_tostring(e->L, -1) : "userdata";
        return refuse(e, p, "a ", name, " cannot cross threads");
    }
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
    default: return false;
    }
}

static bool put_value(encoder *e, int index, const place *p) {
    lua_State *L = e->L;
    int type = lua_type(L, index);
    bool ok;
    if (put_plain(e, index, type, &ok))
        return ok;
    if (p->depth > DEPTH_MAX || !lua_checkstack(L, 12)) {
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
    case LUA_TTHREAD: return refuse(e, p, "a ", "coroutine", " cannot cross threads");
    default: return refuse(e, p, "a ", "light userdata", " cannot cross threads");
    }
}

static bool encode(encoder *e, int first, int count, const char *what, int number) {
    lua_State *L = e->L;
    seen few[MEMO_FEW];
    int top = lua_gettop(L);
    e->few = few;
    e->refusal->text[0] = '\0';
    e->message->count = count;
    bool ok = true;
    int i = 0;
    if (e->blob) {
        e->blob_function = lua_topointer(L, first);
        place p = {NULL, ARGUMENT, 0, number, what, 0};
        ok = put_byte(e, BLOB) && put_upvalues(e, first, e->blob->upvalues, 0, &p);
        i = 1;
    }
    for (; ok && i < count; i++)
        if (!put_plain(e, first + i, lua_type(L, first + i), &ok)) {
            place p = {NULL, ARGUMENT, 0, number > 0 ? number + i : 0, what, 0};
            ok = put_value(e, first + i, &p);
        }
    if (e->memo != few)
        free(e->memo);
    lua_settop(L, top);
    if (!ok)
        wgl_message_clear(e->message);
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

bool wgl_message_text(wgl_message *message, const char *text) {
    wgl_refusal refusal;
    *message = (wgl_message){.count = 1};
    encoder e = {.refusal = &refusal, .message = message};
    size_t length = strlen(text);
    if (put_byte(&e, STRING) && put_u32(&e, length) && put(&e, text, length))
        return true;
    wgl_message_clear(message);
    return false;
}

/* --- decoding. May raise: the message stays whole. --- */

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
    if (lua_rawgeti(L, -1, (lua_Integer)blob->id) != LUA_TFUNCTION) {
        lua_pop(L, 1);
        load_code(L, blob->code, blob->length);
        keep_function(L, lua_gettop(L) - 1, (lua_Integer)blob->id);
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

static void get_module(lua_State *L) {
    wgl_home_of(L)->left |= wgl_module_traces(lua_tostring(L, -1));
    push_loaded(L);
    lua_pushvalue(L, -2);
    if (lua_rawget(L, -2) == LUA_TNIL) {
        lua_getglobal(L, "require");
        lua_pushvalue(L, -4);
        lua_call(L, 1, 1);
        lua_replace(L, -2);
    }
    lua_replace(L, -3);
    lua_pop(L, 1);
}

static void get_value(decoder *d) {
    lua_State *L = d->L;
    uint32_t offset = (uint32_t)(d->at - d->message->data);
    unsigned tag = *d->at++;
    bool shared = tag & SHARED;
    if (tag >= TABLE) /* the caller has room for one value */
        luaL_checkstack(L, 12, NULL);
    switch (tag & ~(unsigned)SHARED) {
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
    case TABLE: get_table(d, offset, shared); break;
    case FUNCTION: get_function(d, offset, shared, false); break;
    case BLOB: get_function(d, offset, shared, true); break;
    case MODULE:
        get_value(d);
        get_module(L);
        break;
    case FIELD:
        get_value(d);
        get_module(L);
        get_value(d);
        lua_gettable(L, -2);
        lua_remove(L, -2);
        break;
    case LOADER: {
        lua_CFunction f;
        memcpy(&f, d->at, sizeof f);
        d->at += sizeof f;
        lua_pushcfunction(L, f);
        break;
    }
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

/* --- code that many tasks run --- */

static const char blob_of_function; /* registry key of a table with weak keys: function -> blob */
static const char blob_of_code;     /* registry key of a table with weak values: binary chunk -> blob */

static int blob_gc(lua_State *L) {
    wgl_blob **box = lua_touserdata(L, 1);
    wgl_blob_release(*box);
    *box = NULL;
    return 0;
}

typedef struct chunk_buffer {
    bool begun;
    luaL_Buffer buffer;
} chunk_buffer;

/* The buffer begins here, above the function, for it must be on top of the stack whenever it grows. */
static int append(lua_State *L, const void *bytes, size_t length, void *data) {
    chunk_buffer *chunk = data;
    if (!chunk->begun) {
        chunk->begun = true;
        luaL_buffinit(L, &chunk->buffer);
    }
    luaL_addlstring(&chunk->buffer, bytes, length);
    return 0;
}

static void push_chunk(lua_State *L, int index) {
    chunk_buffer chunk = {.begun = false};
    lua_pushvalue(L, index);
    lua_dump(L, append, &chunk, 0);
    luaL_pushresult(&chunk.buffer);
    lua_remove(L, -2);
}

static void push_blobs(lua_State *L, const char *key, const char *mode) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_newtable(L);
    lua_pushstring(L, mode);
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

/* From the binary chunk of the function at `index`, on top of the stack, to a userdata around a blob of it. */
static void blob_from_code(lua_State *L, int index) {
    static atomic_uint_least64_t last_id;
    size_t length;
    const char *code = lua_tolstring(L, -1, &length);
    wgl_blob **box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = NULL;
    if (luaL_newmetatable(L, "waitgroup.Code")) {
        lua_pushcfunction(L, blob_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    wgl_blob *blob = malloc(sizeof *blob + length);
    if (!blob)
        luaL_error(L, "not enough memory");
    atomic_init(&blob->refs, 1);
    blob->id = atomic_fetch_add(&last_id, 1) + 1;
    blob->length = length;
    blob->upvalues = count_upvalues(L, index);
    lua_Debug ar;
    lua_pushvalue(L, index);
    lua_getinfo(L, ">S", &ar);
    snprintf(blob->name, sizeof blob->name, "%s:%d", ar.short_src, ar.linedefined);
    memcpy(blob->code, code, length);
    *box = blob;
}

wgl_blob *wgl_blob_retain(wgl_blob *blob) {
    atomic_fetch_add(&blob->refs, 1);
    return blob;
}

/* Push the blob of the function at `index`, made or found by its code. */
static void blob_of(lua_State *L, int index) {
    push_blobs(L, &blob_of_code, "v");
    push_chunk(L, index);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) == LUA_TNIL) {
        lua_pop(L, 1);
        blob_from_code(L, index);
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, -5);
    }
    lua_replace(L, -3);
    lua_pop(L, 1);
}

wgl_blob *wgl_push_blob(lua_State *L, int blobs, int index) {
    lua_pushvalue(L, index);
    if (lua_rawget(L, blobs) == LUA_TNIL) {
        lua_pop(L, 1);
        blob_of(L, index);
        lua_pushvalue(L, index);
        lua_pushvalue(L, -2);
        lua_rawset(L, blobs);
    }
    return *(wgl_blob **)lua_touserdata(L, -1);
}

void wgl_push_blobs(lua_State *L) { push_blobs(L, &blob_of_function, "k"); }
