/* interpreters.c - several interpreters of Python, each on a thread of its own, and a Lua state feed one group.
 *
 * usage: interpreters own|shared: whether each has a GIL of its own */
#include "host.h"

#include <stdatomic.h>

enum { INTERPRETERS = 3, TASKS = 40, LIMIT = 4 };

static bool own_gil;
static wg_errgroup *group;
static wg_shared *shared; /* "shared": counts tasks that wait */
static lua_thread lua;

static PyThreadState *new_interpreter(void) {
    PyThreadState *state = NULL;
#if PY_VERSION_HEX >= 0x030C0000
    PyInterpreterConfig config = {
        .use_main_obmalloc = !own_gil,
        .allow_threads = 1,
        .allow_daemon_threads = !own_gil,
        .check_multi_interp_extensions = 1,
        .gil = own_gil ? PyInterpreterConfig_OWN_GIL : PyInterpreterConfig_SHARED_GIL,
    };
    CHECK(!PyStatus_Exception(Py_NewInterpreterFromConfig(&state, &config)));
#else
    CHECK(!own_gil && (state = Py_NewInterpreter()));
#endif
    return state;
}

/* Made beside the main one, in a thread that is attached to that. Returns detached. */
static PyThreadState *make_interpreter(void) {
    PyGILState_STATE gil = PyGILState_Ensure();
    PyThreadState *in_main = PyThreadState_Get(), *made = new_interpreter();
    PyThreadState_Swap(in_main);
    PyGILState_Release(gil);
    return made;
}

static void end_interpreter(PyThreadState *state) {
#if PY_VERSION_HEX >= 0x030C0000
    PyEval_AcquireThread(state);
    Py_EndInterpreter(state);
#else
    PyGILState_STATE gil = PyGILState_Ensure();
    PyThreadState *in_main = PyThreadState_Swap(state);
    Py_EndInterpreter(state);
    PyThreadState_Swap(in_main);
    PyGILState_Release(gil);
#endif
}

static void run_in(PyThreadState *state, const char *format, ...) {
    char code[CODE_SIZE];
    va_list args;
    va_start(args, format);
    format_code(code, format, args);
    va_end(args);
    PyEval_AcquireThread(state);
    CHECK(PyRun_SimpleString(code) == 0);
    PyEval_ReleaseThread(state);
}

static void know(PyThreadState *state) {
    run_in(state, "from cwaitgroup import *\ng, shared = attach(%lld), attach(%lld)\nassert attach(g.id) is g\n",
           (long long)wg_errgroup_id(group), (long long)wg_shared_id(shared));
}

static void *feed(void *state) {
    run_in(state,
           "import threading\n"
           "workers = set()\n"
           "tasks = [g.go(lambda n: (workers.add(threading.current_thread().name), n * n)[1], i) for i in range(%d)]\n"
           "assert [task.result() for task in tasks] == [n * n for n in range(%d)]\n"
           "assert all(name.startswith('cwaitgroup') for name in workers), workers\n",
           TASKS, TASKS);
    return NULL;
}

static void begin(void) {
    CHECK(wg_errgroup_new(&group, &(wg_errgroup_options){.limit = LIMIT}) == WG_OK && wg_shared_new(&shared) == WG_OK);
    lua_start(&lua, NULL);
    lua_knows(&lua, group, shared);
}

static void end(void) {
    lua_end(&lua);
    wg_errgroup_release(group);
    wg_shared_release(shared);
}

static void in_threads(void *(*fn)(void *), PyThreadState **states) {
    pthread_t threads[INTERPRETERS];
    for (int i = 0; i < INTERPRETERS; i++)
        CHECK(pthread_create(&threads[i], NULL, fn, states[i]) == 0);
    for (int i = 0; i < INTERPRETERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

/* All feed it at once. */
static void one_limit(PyThreadState **states) {
    begin();
    for (int i = 0; i < INTERPRETERS; i++)
        know(states[i]);
    lua_begin(&lua,
              "for i = 1, %d do\n"
              "  g:thread(function() end)\n"
              "  w.run(function() g:go(function() w.yield() end) end)\n"
              "end",
              TASKS);
    in_threads(feed, states);
    lua_finish(&lua);
    CHECK(wg_errgroup_wait(group, NULL, NULL) == WG_OK);
    CHECK(wg_errgroup_get_counts(group).completed == (INTERPRETERS + 2) * TASKS);
    end();
}

static const char fail[] = "error = ValueError('three')\n"
                           "def deep():\n"
                           "    shared.wait()\n"
                           "    raise error\n"
                           "g.go(deep)\n";
static const char wait_for_end[] = "def wait():\n"
                                   "    shared.done()\n"
                                   "    assert current_context() is g.context\n"
                                   "    assert g.context.wait(1000)\n"
                                   "g.go(wait)\n";
static const char see_own[] = "try:\n"
                              "    g.wait()\n"
                              "except ValueError as e:\n"
                              "    assert e is error\n"
                              "else:\n"
                              "    raise AssertionError\n";
static const char see_foreign[] = "try:\n"
                                  "    g.wait()\n"
                                  "except ForeignError as e:\n"
                                  "    assert (e.language, e.message) == ('Python', 'ValueError: three'), e\n"
                                  "    assert 'in deep' in e.traceback\n"
                                  "else:\n"
                                  "    raise AssertionError\n";

/* In one it is the exception itself; in the others a ForeignError, since no object crosses from one to another. */
static void errors(PyThreadState **states) {
    begin();
    wg_add(wg_shared_waitgroup(shared), INTERPRETERS - 1);
    for (int i = 0; i < INTERPRETERS; i++) {
        know(states[i]);
        run_in(states[i], "%s", i == 0 ? fail : wait_for_end);
    }
    for (int i = 0; i < INTERPRETERS; i++)
        run_in(states[i], "%s", i == 0 ? see_own : see_foreign);
    lua_run(&lua, "local ok, err, trace = g:wait() assert(err == 'ValueError: three' and trace:find 'in deep')");
    end();
}

/* One ends, with a task of its own running: then the group ends, and with it the tasks of the others. */
static void one_ends(PyThreadState **states, bool last) {
    begin();
    wg_error *first;
    wg_add(wg_shared_waitgroup(shared), INTERPRETERS);
    for (int i = 0; i < INTERPRETERS; i++) {
        know(states[i]);
        run_in(states[i], "%s", wait_for_end);
    }
    CHECK(wg_wait(wg_shared_waitgroup(shared), NULL) == WG_OK);
    end_interpreter(states[last ? INTERPRETERS - 1 : 0]);
    CHECK(wg_errgroup_wait(group, NULL, &first) == WG_CANCELLED);
    CHECK(strstr(wg_error_text(first), "interpreter ended"));
    for (int i = last ? 0 : 1; i < (last ? INTERPRETERS - 1 : INTERPRETERS); i++)
        run_in(states[i], "try:\n"
                          "    g.wait()\n"
                          "except Cancelled as e:\n"
                          "    assert 'interpreter ended' in str(e.__cause__), e.__cause__\n"
                          "del g, shared\n");
    end();
}

int main(int argc, char **argv) {
    own_gil = argc > 1 && strcmp(argv[1], "own") == 0;
    PyThreadState *in_main = python_start(), *states[INTERPRETERS];
    for (int i = 0; i < INTERPRETERS; i++)
        states[i] = make_interpreter();
    one_limit(states);
    errors(states);
    one_ends(states, false);
    states[0] = make_interpreter();
    one_ends(states, true);
    for (int i = 0; i < INTERPRETERS - 1; i++)
        end_interpreter(states[i]);
    python_end(in_main);
    return 0;
}
