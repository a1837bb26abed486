/* failure.c - a Lua value as an error of the core: found again as it was thrown in its own state, copied to others.
 *
 * The value itself stays in a table of its state; the error carries a reference to it and a copy. The last reference to
 * an error may go in any thread: then the error is put into a list of the home, and the state lets go of the value at its
 * next call. */
#include "wgl.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct wgl_failure {
    wgl_home *home; /* with a reference; NULL: no value is kept */
    int ref;        /* in the table of values of that state */
    wgl_message copy;
    char *text;                /* of a table with __tostring: what that gave; or NULL */
    char *shown;               /* what other languages say of it; NULL without memory */
    bool whole;                /* the copy is of the value itself, and not of its text */
    bool is_nil;               /* the value was nil, and the copy is of a text in its place */
    _Atomic(wg_plain *) plain; /* the copy in pieces, once another language has asked; or NULL */
    wgl_failure *next;         /* among the dead of the home */
    char *traceback;           /* may be NULL */
    size_t traceback_length;
};

static const char values_key; /* registry key of the values that errors refer to */

static void free_failure(wgl_failure *failure) {
    wgl_message_clear(&failure->copy);
    free(atomic_load(&failure->plain));
    free(failure->text);
    free(failure->shown);
    free(failure->traceback);
    free(failure);
}

static void let_go(void *value) {
    wgl_failure *failure = value;
    wgl_home *home = failure->home;
    if (!home) {
        free_failure(failure);
        return;
    }
    wgl_lock(WGL_LOCK_HOMES);
    bool closed = home->closed;
    if (!closed) {
        failure->next = home->dead;
        home->dead = failure;
    }
    wgl_unlock(WGL_LOCK_HOMES);
    if (closed)
        free_failure(failure);
    wgl_home_release(home);
}

static wgl_failure *take_dead(wgl_home *home, bool close) {
    wgl_lock(WGL_LOCK_HOMES);
    wgl_failure *dead = atomic_exchange(&home->dead, NULL);
    home->closed = close;
    wgl_unlock(WGL_LOCK_HOMES);
    return dead;
}

void wgl_failures_collect(lua_State *L, wgl_home *home) {
    if (!atomic_load(&home->dead))
        return;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &values_key);
    for (wgl_failure *failure = take_dead(home, false), *next; failure; failure = next) {
        next = failure->next;
        luaL_unref(L, -1, failure->ref);
        free_failure(failure);
    }
    lua_pop(L, 1);
}

void wgl_failures_close(wgl_home *home) {
    for (wgl_failure *failure = take_dead(home, true), *next; failure; failure = next) {
        next = failure->next;
        free_failure(failure);
    }
}

/* NULL without memory. */
static char *copy_of(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

/* --- for other languages --- */

static const char *text_of(void *value) { return ((wgl_failure *)value)->shown; }
static const char *traceback_of(void *value) { return ((wgl_failure *)value)->traceback; }

static const wg_plain nil = {.kind = WG_PLAIN_NIL};

/* Of two threads that make the pieces at once, one keeps what the other has made, which is the same. */
static const wg_plain *plain_of(void *value, size_t *count) {
    wgl_failure *failure = value;
    size_t n = 1;
    wg_plain *known = NULL, *made = NULL;
    if (failure->is_nil) {
        *count = 1;
        return &nil;
    }
    if (!failure->whole || !(made = wgl_plain(&failure->copy, &n)))
        return NULL;
    *count = n;
    if (atomic_compare_exchange_strong(&failure->plain, &known, made))
        return made;
    free(made);
    return known;
}

static const wg_error_type lua_error_type = {
    .language = "Lua", .destroy = let_go, .text = text_of, .traceback = traceback_of, .plain = plain_of};

/* The value of an error that came from Lua, or NULL. */
static wgl_failure *failure_of(const wg_error *error) {
    return wg_error_get_type(error) == &lua_error_type ? wg_error_value(error) : NULL;
}

/* --- from Lua values --- */

static int to_text(lua_State *L) {
    luaL_tolstring(L, 1, NULL);
    return 1;
}

/* Push the text of the value at `index`, whatever its __tostring does. */
static void push_text(lua_State *L, int index) {
    lua_pushcfunction(L, to_text);
    lua_pushvalue(L, index);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK && lua_type(L, -1) != LUA_TSTRING) {
        lua_pop(L, 1);
        lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, index));
    }
}

/* The text that a table has by its __tostring, which does not cross. Without memory there is none. */
static void copy_text(lua_State *L, int index, wgl_failure *failure) {
    if (!lua_istable(L, index) || luaL_getmetafield(L, index, "__tostring") == LUA_TNIL)
        return;
    push_text(L, index);
    size_t size = strlen(lua_tostring(L, -1)) + 1;
    if ((failure->text = malloc(size)))
        memcpy(failure->text, lua_tostring(L, -1), size);
    lua_pop(L, 2);
}

/* A copy of the value at `index`; of its text, if the value itself cannot cross. False without memory. */
static bool copy_value(lua_State *L, int index, wgl_failure *failure) {
    if (wgl_encode_error(L, index, &failure->copy)) {
        failure->whole = true;
        copy_text(L, index, failure);
        return true;
    }
    push_text(L, index);
    bool copied = wgl_encode_error(L, lua_gettop(L), &failure->copy);
    lua_pop(L, 1);
    return copied;
}

/* What other languages will say of the value. */
static void show(lua_State *L, int index, wgl_failure *failure) {
    if (lua_istable(L, index) && !failure->text) {
        failure->shown = copy_of("(error object is a table value)");
        return;
    }
    push_text(L, index);
    failure->shown = copy_of(lua_tostring(L, -1));
    lua_pop(L, 1);
}

/* Whether `text` is `word`, or ends with it after a place in the code, which `assert` and `error` put before it. */
static bool says(const char *text, size_t length, const char *word) {
    size_t rest = strlen(word);
    if (length < rest || memcmp(text + length - rest, word, rest) != 0)
        return false;
    const char *at = text + length - rest;
    if (at == text)
        return true;
    if (at - text < 4 || at[-1] != ' ' || at[-2] != ':' || !isdigit((unsigned char)at[-3]))
        return false;
    for (at -= 3; at > text && isdigit((unsigned char)*at); at--) {}
    return *at == ':';
}

/* A task that ends with one of the words that our waits give stopped because it was told to. */
static wg_error_kind kind_of(lua_State *L, int index) {
    if (lua_type(L, index) != LUA_TSTRING)
        return WG_ERROR_FAILURE;
    size_t length;
    const char *text = lua_tolstring(L, index, &length);
    bool stop =
        says(text, length, wgl_end_word(WG_CANCELLED)) || says(text, length, wgl_end_word(WG_DEADLINE_EXCEEDED));
    return stop ? WG_ERROR_STOP : WG_ERROR_FAILURE;
}

void wgl_name_no_error(lua_State *L, int index) {
    if (!lua_isnil(L, index))
        return;
    lua_pushliteral(L, WGL_NO_ERROR_OBJECT);
    lua_replace(L, index);
}

wg_error *wgl_failure_new(lua_State *L, int index, int traceback, bool keep) {
    index = lua_absindex(L, index);
    wgl_home *home = NULL;
    int ref = LUA_NOREF;
    int type = lua_type(L, index);
    luaL_checkstack(L, 8, NULL);
    if (type == LUA_TNIL) {
        lua_pushliteral(L, WGL_NO_ERROR_OBJECT);
        wg_error *error = wgl_failure_new(L, -1, traceback, false);
        wgl_failure *failure = failure_of(error);
        if (failure)
            failure->is_nil = true;
        lua_pop(L, 1);
        return error;
    }
    if (keep && type != LUA_TBOOLEAN && type != LUA_TNUMBER && type != LUA_TSTRING) {
        home = wgl_home_of(L);
        lua_rawgetp(L, LUA_REGISTRYINDEX, &values_key);
        lua_pushvalue(L, index);
        ref = luaL_ref(L, -2);
        lua_pop(L, 1);
    }
    wgl_failure *failure = calloc(1, sizeof *failure);
    if (failure) {
        failure->home = home ? wgl_home_retain(home) : NULL;
        failure->ref = ref;
        bool copied = copy_value(L, index, failure);
        show(L, index, failure);
        const char *text = traceback ? lua_tolstring(L, traceback, &failure->traceback_length) : NULL;
        if (text && (failure->traceback = malloc(failure->traceback_length + 1)))
            memcpy(failure->traceback, text, failure->traceback_length + 1);
        if (copied)
            return wg_error_of_type(&lua_error_type, kind_of(L, index), failure);
        let_go(failure);
    }
    return wg_error_no_memory();
}

static int new_failure(lua_State *L) {
    lua_pushlightuserdata(L, wgl_failure_new(L, 1, lua_isnil(L, 2) ? 0 : 2, true));
    return 1;
}

wg_error *wgl_failure_of(lua_State *L, int index, int traceback) {
    if (!lua_checkstack(L, 4))
        return wg_error_no_memory();
    lua_pushcfunction(L, new_failure);
    lua_pushvalue(L, index);
    if (traceback)
        lua_pushvalue(L, traceback);
    else
        lua_pushnil(L);
    int status = lua_pcall(L, 2, 1, 0);
    wg_error *error;
    if (status == LUA_OK)
        error = lua_touserdata(L, -1);
    else if (status == LUA_ERRMEM || lua_type(L, -1) != LUA_TSTRING)
        error = wg_error_no_memory();
    else
        error = wgl_failure_text(lua_tostring(L, -1));
    lua_pop(L, 1);
    return error;
}

wg_error *wgl_failure_text(const char *text) {
    wgl_failure *failure = calloc(1, sizeof *failure);
    if (!failure)
        return wg_error_no_memory();
    failure->ref = LUA_NOREF;
    if (!wgl_message_text(&failure->copy, text)) {
        free(failure);
        return wg_error_no_memory();
    }
    failure->whole = true;
    failure->shown = copy_of(text);
    return wg_error_of_type(&lua_error_type, WG_ERROR_FAILURE, failure);
}

static int give_text(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    return 1;
}

/* The copy, with the text that it had where it was thrown, unless a __copy has made it what it was. */
static void push_copy(lua_State *L, const wgl_failure *failure) {
    wgl_decode(L, &failure->copy, NULL);
    if (!failure->text || !lua_istable(L, -1))
        return;
    if (lua_getmetatable(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    lua_createtable(L, 0, 1);
    lua_pushstring(L, failure->text);
    lua_pushcclosure(L, give_text, 1);
    lua_setfield(L, -2, "__tostring");
    lua_setmetatable(L, -2);
}

void wgl_push_error(lua_State *L, const wg_error *error) {
    wgl_failure *failure = failure_of(error);
    if (failure && failure->home && failure->home == wgl_home_of(L)) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &values_key);
        lua_rawgeti(L, -1, failure->ref);
        lua_remove(L, -2);
    } else if (failure)
        push_copy(L, failure);
    else if (error == wg_error_cancelled()) /* this and the next: of a task that is not ours, in a group of a C host */
        lua_pushstring(L, wgl_end_word(WG_CANCELLED));
    else if (error == wg_error_deadline())
        lua_pushstring(L, wgl_end_word(WG_DEADLINE_EXCEEDED));
    else if (error == wg_error_no_memory())
        lua_pushliteral(L, "not enough memory");
    else if (error) /* of another language */
        lua_pushstring(L, wg_error_text(error));
    else
        lua_pushnil(L);
}

void wgl_push_traceback(lua_State *L, const wg_error *error) {
    wgl_failure *failure = failure_of(error);
    if (failure && failure->traceback)
        lua_pushlstring(L, failure->traceback, failure->traceback_length);
    else if (failure || !wg_error_traceback(error))
        lua_pushnil(L);
    else
        lua_pushstring(L, wg_error_traceback(error));
}

void wgl_open_failures(lua_State *L) {
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &values_key);
}
