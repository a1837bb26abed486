/* runner.c - a job runner with plug-ins: each file of a directory is a job, in Python or in Lua, and all run in one group.
 *
 * usage: runner DIRECTORY [LIMIT [SECONDS]]
 *
 * One limit, one deadline, one first error: at the first job that fails, in whatever language, the others are told to
 * stop, and its traceback is shown. Docs/embedding.md takes this program apart. */
#include <Python.h>
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <waitgroup.h>

struct runner {
    const char *directory;
    wg_errgroup *group;
    long long id;         /* of the group, as the other languages know it */
    wg_waitgroup feeders; /* the threads that start jobs */
};

/* --- Python: its jobs run on its own workers, which it starts and attaches by itself --- */

static const char feed_python[] = "import glob, os, runpy\n"
                                  "from cwaitgroup import Cancelled, attach\n"
                                  "group = attach(group_id)\n"
                                  "try:\n"
                                  "    for path in sorted(glob.glob(os.path.join(directory, '*.py'))):\n"
                                  "        group.start(runpy.run_path, (path,), name=os.path.basename(path))\n"
                                  "except Cancelled:\n"
                                  "    pass\n";

static void *python_feeder(void *raw) {
    struct runner *runner = raw;
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *names = Py_BuildValue("{sssLsO}", "directory", runner->directory, "group_id", runner->id, "__builtins__",
                                    PyEval_GetBuiltins());
    PyObject *result = names ? PyRun_String(feed_python, Py_file_input, names, names) : NULL;
    if (!result)
        PyErr_Print();
    Py_XDECREF(result);
    Py_XDECREF(names);
    PyGILState_Release(gil);
    wg_done(&runner->feeders);
    return NULL;
}

/* --- Lua: a state of our own to start jobs from; each job runs in a state of the worker that runs it --- */

static const char feed_lua[] = "local waitgroup = require 'waitgroup'\n"
                               "local directory, id = ...\n"
                               "local group = waitgroup.attach(id, 'errgroup')\n"
                               "local list = io.popen(('ls %q/*.lua 2>&-'):format(directory))\n"
                               "for path in list:lines() do\n"
                               "  if not group:thread(function(job) dofile(job) end, path) then break end\n"
                               "end\n"
                               "list:close()\n";

static void *lua_feeder(void *raw) {
    struct runner *runner = raw;
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    int failed = luaL_loadstring(L, feed_lua);
    lua_pushstring(L, runner->directory);
    lua_pushinteger(L, runner->id);
    if (failed || lua_pcall(L, 2, 0, 0) != LUA_OK)
        fprintf(stderr, "runner: %s\n", lua_tostring(L, -1));
    lua_close(L); /* the jobs go on: they are the group's */
    wg_done(&runner->feeders);
    return NULL;
}

/* --- C: a job of our own among them --- */

/* It takes a moment: a sleep on the context, which the end of the group cuts short. */
static wg_error *own_job(void *unused, wg_context *ctx) {
    (void)unused;
    wg_context_wait(ctx, &(wg_until){.deadline = wg_after(300 * WG_MILLISECOND)});
    return wg_context_error(ctx);
}

/* --- the program --- */

static void show_progress(wg_errgroup *group) {
    wg_errgroup_counts counts = wg_errgroup_get_counts(group);
    printf("%lu running, %lu pending, %lu completed\n", counts.running, counts.pending, counts.completed);
    fflush(stdout);
}

static wg_until a_moment(void) { return (wg_until){.deadline = wg_after(200 * WG_MILLISECOND)}; }

static wg_status wait_for_all(struct runner *runner, wg_error **first) {
    wg_until until = a_moment();
    for (; wg_wait(&runner->feeders, &until) == WG_TIMEOUT; until = a_moment())
        show_progress(runner->group);
    wg_status status;
    until = a_moment();
    for (; (status = wg_errgroup_wait(runner->group, &until, first)) == WG_TIMEOUT; until = a_moment())
        show_progress(runner->group);
    return status;
}

static void show_outcome(struct runner *runner, wg_status status, const wg_error *first) {
    show_progress(runner->group);
    if (status == WG_FAILED)
        printf("failed, in %s: %s\n%s\n", wg_error_language(first), wg_error_text(first),
               wg_error_traceback(first) ? wg_error_traceback(first) : "");
    else
        printf("%s\n", wg_strstatus(status));
}

static wg_status run(struct runner *runner, wg_error **first) {
    pthread_t threads[2];
    if (wg_errgroup_go(runner->group, own_job, NULL, NULL, NULL) != WG_OK)
        return WG_NO_THREADS;
    wg_add(&runner->feeders, 2);
    pthread_create(&threads[0], NULL, python_feeder, runner);
    pthread_create(&threads[1], NULL, lua_feeder, runner);
    wg_status status = wait_for_all(runner, first);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    return status;
}

int main(int argc, char **argv) {
    struct runner runner = {.directory = argc > 1 ? argv[1] : "jobs", .feeders = WG_INIT};
    wg_errgroup_options options = {
        .name = "jobs",
        .limit = argc > 2 ? atoi(argv[2]) : 3,
        .deadline = wg_after_seconds(argc > 3 ? atof(argv[3]) : 60),
    };
    wg_error *first = NULL;
    if (wg_errgroup_new(&runner.group, &options) != WG_OK)
        return 2;
    runner.id = wg_errgroup_id(runner.group);
    Py_InitializeEx(0);
    PyThreadState *python = PyEval_SaveThread();
    wg_status status = run(&runner, &first);
    show_outcome(&runner, status, first);
    PyEval_RestoreThread(python);
    Py_FinalizeEx();
    if (first) /* Python has gone; the words of its errors have not */
        fprintf(stderr, "the first error was: %s\n", wg_error_text(first));
    wg_errgroup_release(runner.group);
    return status == WG_OK ? 0 : 1;
}
