/* ends.c - Python and Lua states end while tasks of theirs run in a group of the host; and begin again.
 *
 * usage: ends [ROUNDS] */
#include <Python.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <waitgroup.h>

#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, #condition))

static _Noreturn void fail(int line, const char *what) {
    fprintf(stderr, "ends.c:%d: %s\n", line, what);
    _exit(1);
}

static const char python_tasks[] = "from cwaitgroup import *\n"
                                   "g = attach(%lld)\n"
                                   "for _ in range(3):\n"
                                   "    g.go(lambda: current_context().wait())\n"
                                   "fails = %d\n"
                                   "if fails: g.go(int, 'x')\n"
                                   "while not g.errors if fails else g.running < 5:\n"
                                   "    pass\n";

static void start_python(wg_errgroup *g, int fails) {
    char code[512];
    Py_InitializeEx(0);
    snprintf(code, sizeof code, python_tasks, (long long)wg_errgroup_id(g), fails);
    CHECK(PyRun_SimpleString(code) == 0);
}

static lua_State *start_lua(wg_errgroup *g) {
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    lua_pushinteger(L, wg_errgroup_id(g));
    lua_setglobal(L, "id");
    if (luaL_dostring(L, "w = require 'waitgroup' g = w.attach(id)\n"
                         "for _ = 1, 2 do g:thread(function() require('waitgroup').current_context():wait() end) end"))
        fail(__LINE__, lua_tostring(L, -1));
    return L;
}

/* The first to end is Python, or Lua. */
static void round_of(bool python_first, int fails) {
    wg_errgroup *g;
    wg_error *first = NULL;
    CHECK(wg_errgroup_new(&g, NULL) == WG_OK);
    lua_State *L = start_lua(g);
    start_python(g, fails);
    if (!python_first)
        lua_close(L);
    CHECK(Py_FinalizeEx() == 0);
    wg_status status = wg_errgroup_wait(g, &(wg_until){.deadline = wg_after(100 * WG_SECOND)}, &first);
    CHECK(status == (fails ? WG_FAILED : WG_CANCELLED));
    if (fails)
        CHECK(strncmp(wg_error_text(first), "ValueError: invalid literal", 27) == 0 && wg_error_traceback(first));
    else
        CHECK(strstr(wg_error_text(first), "the Python interpreter ended"));
    if (python_first)
        lua_close(L);
    wg_errgroup_release(g);
}

int main(int argc, char **argv) {
    for (int i = argc > 1 ? atoi(argv[1]) : 1; i > 0; i--)
        for (int how = 0; how < 4; how++)
            round_of(how & 1, how >> 1);
    return 0;
}
