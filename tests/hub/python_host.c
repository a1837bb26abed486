/* python_host.c - a C program that embeds Python and owns its threads, as servers with modules do.
 *
 * usage: python_host SCENARIO [ROUNDS]
 *
 * Python finds cwaitgroup by PYTHONPATH. Exit status 0: all went well. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, #condition))

static _Noreturn void fail(int line, const char *what) {
    fprintf(stderr, "python_host.c:%d: %s\n", line, what);
    _exit(1);
}

static void run(const char *code) { CHECK(PyRun_SimpleString(code) == 0); }

static void in_thread(void *(*fn)(void *arg), void *arg) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, fn, arg) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* Everything that attaches by itself: tasks, a limit, a callback in the thread of the deadline, and in this one. */
static const char use[] = "import threading\n"
                          "from cwaitgroup import *\n"
                          "def use():\n"
                          "    with ErrGroup(limit=2) as g:\n"
                          "        assert g.map(pow, range(20), [2] * 20) == [n * n for n in range(20)]\n"
                          "    wg = WaitGroup()\n"
                          "    for n in range(10):\n"
                          "        wg.go(int)\n"
                          "    assert wg.wait(60)\n"
                          "    called = threading.Event()\n"
                          "    late = Context(timeout=0.001)\n"
                          "    late.add_callback(called.set)\n"
                          "    assert called.wait(60)\n"
                          "    own = []\n"
                          "    ctx = Context()\n"
                          "    ctx.add_callback(lambda: own.append(threading.get_ident()))\n"
                          "    ctx.cancel()\n"
                          "    assert own == [threading.get_ident()]\n"
                          "use()\n";

/* --- hosts that own their threads --- */

#ifdef Py_GIL_DISABLED
#define FREE_THREADED true
#else
#define FREE_THREADED false
#endif

static PyThreadState *new_interpreter(bool own_gil) {
#if PY_VERSION_HEX >= 0x030C0000
    PyThreadState *state = NULL;
    PyInterpreterConfig config = {
        .use_main_obmalloc = !own_gil,
        .allow_fork = 1,
        .allow_exec = 1,
        .allow_threads = 1,
        .allow_daemon_threads = !own_gil,
        .check_multi_interp_extensions = own_gil || FREE_THREADED,
        .gil = own_gil ? PyInterpreterConfig_OWN_GIL : PyInterpreterConfig_SHARED_GIL,
    };
    CHECK(!PyStatus_Exception(Py_NewInterpreterFromConfig(&state, &config)));
    return state;
#else
    CHECK(!own_gil);
    return Py_NewInterpreter();
#endif
}

/* Make an interpreter in a thread that the host has attached to the main one, as mod_wsgi does. Returns its state,
 * detached. */
static PyThreadState *make_beside_main(bool own_gil) {
    PyGILState_STATE gil = PyGILState_Ensure();
    PyThreadState *in_main = PyThreadState_Get(), *made = new_interpreter(own_gil);
    PyThreadState_Swap(in_main);
    PyGILState_Release(gil);
    return made;
}

static void run_in(PyThreadState *state, const char *code) {
    PyEval_AcquireThread(state);
    run(code);
    PyEval_ReleaseThread(state);
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

/* A request in the thread that has made the interpreter. */
static void *makes_and_uses(void *own_gil) {
    PyThreadState *state = make_beside_main(own_gil != NULL);
    run_in(state, use);
    end_interpreter(state);
    return NULL;
}

static PyInterpreterState *interpreter_of(PyThreadState *state) { return PyThreadState_GetInterpreter(state); }

/* A request in another thread, with a state that was made here, or that came from elsewhere. */
static void *uses(void *interpreter) {
    PyThreadState *state = PyThreadState_New(interpreter);
    for (int i = 0; i < 3; i++)
        run_in(state, use);
    PyEval_AcquireThread(state);
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
    return NULL;
}

static void *uses_what_others_made(void *state) {
    run_in(state, use);
    return NULL;
}

/* In one thread by turns: two interpreters and the main one. */
static void *uses_several(void *own_gil) {
    PyThreadState *first = make_beside_main(own_gil != NULL), *second = make_beside_main(own_gil != NULL);
    for (int i = 0; i < 3; i++) {
        run_in(first, use);
        PyGILState_STATE gil = PyGILState_Ensure();
        run(use);
        PyGILState_Release(gil);
        run_in(second, use);
    }
    end_interpreter(first);
    end_interpreter(second);
    return NULL;
}

static void own_threads(bool own_gil) {
    void *arg = own_gil ? &own_gil : NULL;
    PyThreadState *main_state = PyEval_SaveThread();
    in_thread(makes_and_uses, arg);
    in_thread(uses_several, arg);
    PyThreadState *made = make_beside_main(own_gil);
    in_thread(uses, interpreter_of(made));
    in_thread(uses_what_others_made, made);
    pthread_t several[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&several[i], NULL, uses, interpreter_of(made)) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(several[i], NULL) == 0);
    run_in(made, use);
    end_interpreter(made);
    PyEval_RestoreThread(main_state);
    run(use);
}

static void shared_gil(int rounds) {
    Py_InitializeEx(0);
    for (int i = 0; i < rounds; i++)
        own_threads(false);
    CHECK(Py_FinalizeEx() == 0);
}

static void own_gil(int rounds) {
    Py_InitializeEx(0);
    for (int i = 0; i < rounds; i++)
        own_threads(true);
    CHECK(Py_FinalizeEx() == 0);
}

/* --- Python ends, and begins again --- */

static const char leave_much_alive[] = "import threading, time\n"
                                       "from cwaitgroup import *\n"
                                       "keep = []\n"
                                       "def group(fn, *args, n=5, **options):\n"
                                       "    g = ErrGroup(**options)\n"
                                       "    keep.append((g, [g.go(fn, *args) for _ in range(n)]))\n"
                                       "    return g\n"
                                       "def patient():\n"
                                       "    ctx = current_context()\n"
                                       "    while not ctx.wait(0.001):\n"
                                       "        pass\n"
                                       "def fail_when_told():\n"
                                       "    current_context().wait()\n"
                                       "    raise ValueError('late')\n"
                                       "def nested():\n"
                                       "    with ErrGroup() as g:\n"
                                       "        g.go(patient)\n"
                                       "group(patient)\n"
                                       "group(fail_when_told)\n"
                                       "group(nested)\n"
                                       "group(time.sleep, 0.02)\n"
                                       "group(time.sleep, 0.2)\n"
                                       "group(int)\n"
                                       "stopped = group(patient)\n"
                                       "stopped.context.add_callback(lambda: time.sleep(0.001))\n"
                                       "limited = group(patient, n=2, limit=2, timeout=60)\n"
                                       "for i in range(50):\n"
                                       "    ctx = Context(timeout=i / 2000)\n"
                                       "    ctx.add_callback(lambda: time.sleep(0.0005))\n"
                                       "    keep.append(ctx)\n"
                                       "wg = WaitGroup()\n"
                                       "for i in range(20):\n"
                                       "    wg.go(time.sleep, 0.001)\n"
                                       "with ErrGroup() as g:\n"
                                       "    g.map(str, range(100))\n"
                                       "g = ErrGroup()\n"
                                       "cycle = [g, g.go(len, 'x'), g.context]\n"
                                       "cycle.append(cycle)\n";

static void restart(int rounds) {
    for (int i = 0; i < rounds; i++) {
        Py_InitializeEx(0);
        run(leave_much_alive);
        run("keep.append(threading.Thread(target=WaitGroup(1).wait, daemon=True))\n"
            "keep[-1].start()");
        CHECK(Py_FinalizeEx() == 0);
    }
}

/* A worker that is still in a wait when Python has ended, and wakes in the next Python. */
static const char wait_past_the_end[] = "import threading, time\n"
                                        "from cwaitgroup import *\n"
                                        "wg = WaitGroup(1)\n"
                                        "for _ in range(3):\n"
                                        "    WaitGroup().go(wg.wait, 1.2)\n"
                                        "    threading.Thread(target=wg.wait, args=(0.3,), daemon=True).start()\n"
                                        "time.sleep(0.02)\n";

static void late_wakers(int rounds) {
    for (int i = 0; i < rounds; i++) {
        Py_InitializeEx(0);
        run(wait_past_the_end);
        CHECK(Py_FinalizeEx() == 0);
        Py_InitializeEx(0);
        run("import time\ntime.sleep(0.6)");
        run(use);
        CHECK(Py_FinalizeEx() == 0);
    }
}

static void subinterpreters_restart(int rounds) {
    Py_InitializeEx(0);
    for (int i = 0; i < rounds; i++) {
        PyThreadState *main_state = PyEval_SaveThread(), *made = make_beside_main(false);
        run_in(made, leave_much_alive);
        end_interpreter(made);
        PyEval_RestoreThread(main_state);
    }
    run(use);
    CHECK(Py_FinalizeEx() == 0);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(int rounds);
    } scenarios[] = {
        {"shared_gil", shared_gil},
        {"own_gil", own_gil},
        {"restart", restart},
        {"late_wakers", late_wakers},
        {"subinterpreters_restart", subinterpreters_restart},
    };
    for (size_t i = 0; argc > 1 && i < sizeof scenarios / sizeof *scenarios; i++) {
        if (strcmp(argv[1], scenarios[i].name) == 0) {
            scenarios[i].run(argc > 2 ? atoi(argv[2]) : 1);
            return 0;
        }
    }
    fprintf(stderr, "usage: python_host SCENARIO [ROUNDS]\n");
    return 2;
}
