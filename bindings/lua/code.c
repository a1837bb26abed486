/* code.c - the code of functions that tasks run: dumped once, and shared by all states. */
#include "wgl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
int wgl_blob_upvalues(const wgl_blob *blob) { return blob->upvalues; }
lua_Integer wgl_blob_id(const wgl_blob *blob) { return (lua_Integer)blob->id; }

const char *wgl_blob_code(const wgl_blob *blob, size_t *length) {
    *length = blob->length;
    return blob->code;
}

void wgl_blob_release(wgl_blob *blob) {
    if (blob && atomic_fetch_sub(&blob->refs, 1) == 1)
        free(blob);
}

static const char blob_of_function; /* registry key of a table with weak keys: function -> blob */
static const char blob_of_code;     /* registry key of a table with weak values: binary chunk -> blob */

static int blob_gc(lua_State *L) {
    wgl_blob **box = lua_touserdata(L, 1);
    wgl_blob_release(*box);
    *box = NULL;
    return 0;
}

/* The bytes of a chunk so far; NULL: they are only counted. */
typedef struct chunk {
    char *bytes;
    size_t length;
} chunk;

static int append(lua_State *L, const void *bytes, size_t length, void *data) {
    (void)L;
    chunk *c = data;
    if (c->bytes && length > 0)
        memcpy(c->bytes + c->length, bytes, length);
    c->length += length;
    return 0;
}

/* Push the binary chunk of the function at `index`. It is dumped twice, as its length has to be known first: what the
 * writer leaves on the stack is not kept in all versions of Lua. */
static void push_chunk(lua_State *L, int index) {
    chunk c = {NULL, 0};
    lua_pushvalue(L, index);
    lua_dump(L, append, &c, 0);
    char *bytes = lua_newuserdatauv(L, c.length, 0);
    lua_insert(L, -2);
    c = (chunk){bytes, 0};
    lua_dump(L, append, &c, 0);
    lua_pop(L, 1);
    lua_pushlstring(L, bytes, c.length);
    lua_remove(L, -2);
}

int wgl_count_upvalues(lua_State *L, int index) {
    int count = 0;
    while (lua_getupvalue(L, index, count + 1)) {
        lua_pop(L, 1);
        count++;
    }
    return count;
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
    blob->upvalues = wgl_count_upvalues(L, index);
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

/* --- our own files: compiled once in a process, for all states of workers --- */

#define FILES_MAX 64
typedef struct file {
    struct file *next; /* made before this one */
    int number;
    size_t length;
    const char *code; /* behind path */
    char path[];
} file;

static _Atomic(file *) files; /* pushed by any thread, and never taken off */

static const file *find_file(const char *path) {
    const file *f = atomic_load(&files);
    while (f && strcmp(f->path, path) != 0)
        f = f->next;
    return f;
}

/* Without memory, or if there are too many, it is not kept. */
static void add_file(const char *path, const char *code, size_t length) {
    size_t size = strlen(path) + 1;
    file *f = malloc(sizeof *f + size + length);
    if (!f)
        return;
    memcpy(f->path, path, size);
    memcpy(f->path + size, code, length);
    f->code = f->path + size;
    f->length = length;
    f->next = atomic_load(&files);
    do
        f->number = f->next ? f->next->number + 1 : 1;
    while (f->number <= FILES_MAX && !atomic_compare_exchange_weak(&files, &f->next, f));
    if (f->number > FILES_MAX)
        free(f);
}

/* The function on top is all that is in the file. */
static void share_file(lua_State *L, const char *path) {
    size_t length;
    push_chunk(L, lua_gettop(L));
    const char *code = lua_tolstring(L, -1, &length);
    add_file(path, code, length);
    lua_pop(L, 1);
}

int wgl_load_file(lua_State *L, const char *path) {
    const file *f = find_file(path);
    if (f)
        return luaL_loadbufferx(L, f->code, f->length, path, "b");
    int status = luaL_loadfile(L, path);
    if (status == LUA_OK)
        share_file(L, path);
    return status;
}

void wgl_share_caller(lua_State *L) {
    lua_Debug ar;
    if (!lua_getstack(L, 1, &ar) || !lua_getinfo(L, "Sf", &ar))
        return;
    if (strcmp(ar.what, "main") == 0 && ar.source[0] == '@' && !find_file(ar.source + 1))
        share_file(L, ar.source + 1);
    lua_pop(L, 1);
}
