/* host.h - what the C hosts of these tests are made of: checks, Python, and Lua states that live on threads of their own.
 *
 * CPython finds cwaitgroup, and Lua waitgroup, by the environment. Code is made as by printf. */
#ifndef HOST_H
#define HOST_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <waitgroup.h>

#define CHECK(condition) ((condition) ? (void)0 : fail_at(__FILE__, __LINE__, #condition))
#define CODE_SIZE 4096

static inline _Noreturn void fail_at(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: %s\n", file, line, what);
    _exit(1);
}

static inline void format_code(char code[CODE_SIZE], const char *format, va_list args) {
    CHECK((size_t)vsnprintf(code, CODE_SIZE, format, args) < CODE_SIZE);
}

/* --- Python --- */

/* Start it, and let go of it: whichever thread calls python() takes it for that long. */
static inline PyThreadState *python_start(void) {
    Py_InitializeEx(0);
    return PyEval_SaveThread();
}

static inline void python_end(PyThreadState *state) {
    PyEval_RestoreThread(state);
    CHECK(Py_FinalizeEx() == 0);
}

/* Run code in this thread. */
static inline void python(const char *format, ...) {
    char code[CODE_SIZE];
    va_list args;
    va_start(args, format);
    format_code(code, format, args);
    va_end(args);
    PyGILState_STATE gil = PyGILState_Ensure();
    CHECK(PyRun_SimpleString(code) == 0);
    PyGILState_Release(gil);
}

/* An integer that the code before has left in the variable `name`. */
static inline long long python_integer(const char *name) {
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *value = PyObject_GetAttrString(PyImport_AddModule("__main__"), name);
    long long integer = value ? PyLong_AsLongLong(value) : -1;
    CHECK(value && !PyErr_Occurred());
    Py_DECREF(value);
    PyGILState_Release(gil);
    return integer;
}

/* --- Lua: a state, in which `w` is the module, and its thread --- */

typedef struct lua_thread {
    pthread_t thread;
    lua_CFunction hub;    /* the loader of the module "hub", or NULL */
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    char code[CODE_SIZE]; /* what the thread runs while it is busy */
    bool busy, ends;
} lua_thread;

static inline void lua_here(lua_State *L, const char *code) {
    if (luaL_dostring(L, code)) {
        fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
        _exit(1);
    }
}

static inline bool next_code(lua_thread *lua) {
    pthread_mutex_lock(&lua->lock);
    while (!lua->busy && !lua->ends)
        pthread_cond_wait(&lua->changed, &lua->lock);
    bool ends = lua->ends;
    pthread_mutex_unlock(&lua->lock);
    return !ends;
}

static inline void set_busy(lua_thread *lua, bool busy) {
    pthread_mutex_lock(&lua->lock);
    lua->busy = busy;
    pthread_cond_broadcast(&lua->changed);
    pthread_mutex_unlock(&lua->lock);
}

static inline void *live(void *raw) {
    lua_thread *lua = raw;
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    if (lua->hub) {
        lua_pushcfunction(L, lua->hub);
        lua_setfield(L, -2, "hub");
    }
    lua_settop(L, 0);
    for (lua_here(L, "w = require 'waitgroup'"); next_code(lua); set_busy(lua, false))
        lua_here(L, lua->code);
    lua_close(L);
    return NULL;
}

static inline void lua_start(lua_thread *lua, lua_CFunction hub) {
    *lua = (lua_thread){.hub = hub, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    CHECK(pthread_create(&lua->thread, NULL, live, lua) == 0);
}

/* Wait until the code of the last lua_begin has run. */
static inline void lua_finish(lua_thread *lua) {
    pthread_mutex_lock(&lua->lock);
    while (lua->busy)
        pthread_cond_wait(&lua->changed, &lua->lock);
    pthread_mutex_unlock(&lua->lock);
}

static inline void lua_begin(lua_thread *lua, const char *format, ...) {
    va_list args;
    lua_finish(lua);
    va_start(args, format);
    format_code(lua->code, format, args);
    va_end(args);
    set_busy(lua, true);
}

#define lua_run(lua, ...) (lua_begin(lua, __VA_ARGS__), lua_finish(lua))

/* Close the state, in its thread, and end that. */
static inline void lua_end(lua_thread *lua) {
    lua_finish(lua);
    pthread_mutex_lock(&lua->lock);
    lua->ends = true;
    pthread_cond_broadcast(&lua->changed);
    pthread_mutex_unlock(&lua->lock);
    CHECK(pthread_join(lua->thread, NULL) == 0);
}

/* --- both, by ids --- */

/* The wait group `shared` is "shared" there, and the group `g` is "g". */
static inline void python_knows(wg_errgroup *g, wg_shared *shared) {
    python("from cwaitgroup import *\ng, shared = attach(%lld), attach(%lld)\n", (long long)wg_errgroup_id(g),
           (long long)wg_shared_id(shared));
}

static inline void lua_knows(lua_thread *lua, wg_errgroup *g, wg_shared *shared) {
    lua_run(lua, "g, shared = w.attach(%lld), w.attach(%lld)", (long long)wg_errgroup_id(g),
            (long long)wg_shared_id(shared));
}

#endif
