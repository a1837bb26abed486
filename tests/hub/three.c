/* three.c - a C host with CPython and two Lua states on threads of their own, and one group for the tasks of all.
 *
 * usage: three SCENARIO [ARGUMENT] */
#include "host.h"

#include <sched.h>
#include <stdatomic.h>

#define LONG 1000 /* seconds: what sleeps so long is woken, or the test hangs */

typedef struct host {
    PyThreadState *python;
    lua_thread a, b;
    wg_errgroup *group; /* "g" in all languages */
    wg_shared *shared;  /* "shared" in all languages */
} host;

int luaopen_hub(lua_State *L);

static void begin(host *h, int limit) {
    CHECK(wg_errgroup_new(&h->group, &(wg_errgroup_options){.name = "jobs", .limit = limit}) == WG_OK);
    CHECK(wg_shared_new(&h->shared) == WG_OK);
    h->python = python_start();
    lua_start(&h->a, luaopen_hub);
    lua_start(&h->b, luaopen_hub);
    python_knows(h->group, h->shared);
    lua_knows(&h->a, h->group, h->shared);
    lua_knows(&h->b, h->group, h->shared);
}

static void end(host *h) {
    python_end(h->python);
    lua_end(&h->a);
    lua_end(&h->b);
    wg_errgroup_release(h->group);
    wg_shared_release(h->shared);
}

static void add(host *h, int n) { CHECK(wg_add(wg_shared_waitgroup(h->shared), n) == WG_OK); }
static void done(host *h) { CHECK(wg_done(wg_shared_waitgroup(h->shared)) == WG_OK); }
static void wait_for_shared(host *h) { CHECK(wg_wait(wg_shared_waitgroup(h->shared), NULL) == WG_OK); }

/* --- one limit --- */

static atomic_int inside, most, entered;

/* Tasks of all languages call the two around what they do. */
void hub_enter(void);
void hub_leave(void);

void hub_enter(void) {
    int n = atomic_fetch_add(&inside, 1) + 1, seen = atomic_load(&most);
    while (n > seen && !atomic_compare_exchange_weak(&most, &seen, n)) {}
    atomic_fetch_add(&entered, 1);
}

void hub_leave(void) { atomic_fetch_sub(&inside, 1); }

static int lua_enter(lua_State *L) { return (void)L, hub_enter(), 0; }
static int lua_leave(lua_State *L) { return (void)L, hub_leave(), 0; }

int luaopen_hub(lua_State *L) {
    static const luaL_Reg functions[] = {{"enter", lua_enter}, {"leave", lua_leave}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}

static wg_error *short_task(void *unused, wg_context *ctx) {
    (void)unused;
    hub_enter();
    wg_context_wait(ctx, &(wg_until){.deadline = wg_after(WG_MILLISECOND)});
    hub_leave();
    return NULL;
}

static void *feed_python(void *unused) {
    (void)unused;
    python("import ctypes, time\n"
           "host = ctypes.PyDLL(None)\n"
           "def task():\n"
           "    host.hub_enter()\n"
           "    time.sleep(0.001)\n"
           "    host.hub_leave()\n"
           "for _ in range(50):\n"
           "    g.go(task)\n");
    return NULL;
}

/* Four feeders, each in a thread of its own, and never more than three tasks at once. */
static void limit(void) {
    host h;
    pthread_t feeder;
    begin(&h, 3);
    lua_begin(&h.a, "local hub = require 'hub'\n"
                    "w.run(function()\n"
                    "  for _ = 1, 50 do g:go(function() hub.enter() w.sleep(0.001) hub.leave() end) end\n"
                    "end)");
    lua_begin(&h.b, "for _ = 1, 50 do\n"
                    "  g:thread(function()\n"
                    "    local hub = require 'hub'\n"
                    "    hub.enter() require('waitgroup').sleep(0.001) hub.leave()\n"
                    "  end)\n"
                    "end");
    CHECK(pthread_create(&feeder, NULL, feed_python, NULL) == 0);
    for (int i = 0; i < 50; i++)
        CHECK(wg_errgroup_go(h.group, short_task, NULL, NULL, NULL) == WG_OK);
    CHECK(pthread_join(feeder, NULL) == 0);
    lua_finish(&h.a);
    lua_finish(&h.b);
    CHECK(wg_errgroup_wait(h.group, NULL, NULL) == WG_OK);
    CHECK(wg_errgroup_get_counts(h.group).completed == 200);
    CHECK(entered == 200 && most <= 3);
    end(&h);
}

static wg_error *meet(void *raw, wg_context *ctx) {
    (void)ctx;
    done(raw);
    wait_for_shared(raw);
    return NULL;
}

/* Three tasks, each of another language, wait for each other; meanwhile there is no room for a fourth of any. */
static void full(void) {
    host h;
    begin(&h, 3);
    add(&h, 4);
    CHECK(wg_errgroup_go(h.group, meet, &h, NULL, NULL) == WG_OK);
    python("def meet():\n"
           "    shared.done()\n"
           "    shared.wait()\n"
           "g.go(meet)\n");
    lua_run(&h.a, "task = g:go(function() shared:done() shared:wait() end) w.yield()");
    while (wg_count(wg_shared_waitgroup(h.shared)) > 1) /* until all three run */
        sched_yield();
    lua_run(&h.b,
            "assert(select(2, g:try_thread(function() end)) == 'limit' and select(2, g:try_go(print)) == 'limit')");
    lua_run(&h.a, "assert(select(2, g:try_go(print)) == 'limit')");
    python("assert g.try_go(print) is None and g.running == 3, g\n");
    CHECK(wg_errgroup_try_go(h.group, meet, &h, NULL) == WG_LIMIT);
    done(&h);
    lua_run(&h.a, "assert(task:result()) assert(g:try_thread(function() end))");
    CHECK(wg_errgroup_wait(h.group, NULL, NULL) == WG_OK && wg_errgroup_get_counts(h.group).completed == 4);
    end(&h);
}

/* --- a failure ends the waits of all --- */

static wg_error *sleep_long(void *raw, wg_context *ctx) {
    done(raw);
    CHECK(wg_context_wait(ctx, &(wg_until){.deadline = wg_after(LONG * WG_SECOND)}) == WG_OK);
    CHECK(wg_context_current() == ctx);
    done(raw);
    return wg_context_error(ctx);
}

static wg_error *fail_in_c(void *raw, wg_context *ctx) {
    (void)ctx;
    wait_for_shared(raw);
    add(raw, 5);
    return wg_errorf("from %s", "C");
}

static const char waits_in_python[] =
    "import select, socket\n"
    "silent, received = socket.socketpair(), socket.socketpair()\n"
    "def select_one():\n"
    "    ctx = current_context()\n"
    "    shared.done()\n"
    "    readable, _, _ = select.select([silent[0], ctx], [], [], %d)\n"
    "    assert readable == [ctx], readable\n"
    "    shared.done()\n"
    "    ctx.check()\n"
    "def receive():\n"
    "    current_context().add_callback(lambda: received[0].shutdown(socket.SHUT_RDWR))\n"
    "    shared.done()\n"
    "    assert received[0].recv(1) == b''\n"
    "    shared.done()\n"
    "g.go(select_one)\n"
    "g.go(receive)\n";

static void fail_in(host *h, const char *language) {
    if (strcmp(language, "C") == 0)
        CHECK(wg_errgroup_go(h->group, fail_in_c, h, NULL, NULL) == WG_OK);
    else if (strcmp(language, "Python") == 0)
        python("def fail_in_python():\n"
               "    shared.wait()\n"
               "    shared.add(5)\n"
               "    raise KeyError('from Python')\n"
               "g.go(fail_in_python)\n");
    else if (strcmp(language, "thread") == 0)
        lua_run(&h->b, "g:thread(function(wg)\n"
                       "  wg:wait() wg:add(5)\n"
                       "  error('from a thread of Lua', 0)\n"
                       "end, shared)");
    else
        lua_run(&h->b, "g:go(function() shared:wait() shared:add(5) error('from a coroutine of Lua', 0) end)");
}

static void check_only_error(wg_errgroup *g) {
    wg_error *errors[8];
    size_t n = wg_errgroup_errors(g, errors, 8);
    for (size_t i = 1; i < n; i++)
        fprintf(stderr, "%s: %s\n", wg_error_language(errors[i]), wg_error_text(errors[i]));
    CHECK(n == 1);
}

static void failure(const char *language) {
    static const char *const texts[] = {"from C", "KeyError: 'from Python'", "from a thread of Lua",
                                        "from a coroutine of Lua"};
    static const char *const languages[] = {"C", "Python", "thread", "coroutine"};
    host h;
    begin(&h, 6);
    add(&h, 5);
    CHECK(wg_errgroup_go(h.group, sleep_long, &h, NULL, NULL) == WG_OK);
    python(waits_in_python, LONG);
    lua_begin(&h.a,
              "w.run(function()\n"
              "  g:go(function() shared:done() assert(select(2, w.sleep(%d)) == 'cancelled') shared:done() end)\n"
              "  g:thread(function(wg)\n"
              "    wg:done() assert(select(2, require('waitgroup').sleep(%d)) == 'cancelled') wg:done()\n"
              "  end, shared)\n"
              "end)",
              LONG, LONG);
    fail_in(&h, language);
    lua_begin(&h.b, "w.run(function() g:wait() end)");
    wg_error *first = NULL;
    CHECK(wg_errgroup_wait(h.group, NULL, &first) == WG_FAILED);
    int i = 0;
    while (strcmp(languages[i], language) != 0)
        i++;
    CHECK(strcmp(wg_error_text(first), texts[i]) == 0);
    check_only_error(h.group);
    wait_for_shared(&h);
    end(&h);
}

/* --- a language steers the tasks of the others --- */

static wg_error *hold(void *raw, wg_context *ctx) {
    done(raw);
    wg_context_wait(ctx, &(wg_until){.deadline = wg_after(LONG * WG_SECOND)});
    return wg_context_error(ctx);
}

static void *feed_c(void *raw) {
    const host *h = raw;
    CHECK(wg_errgroup_go(h->group, hold, raw, NULL, NULL) == WG_OK);
    return NULL;
}

static void *feed_python_once(void *unused) {
    (void)unused;
    python("def hold():\n"
           "    shared.done()\n"
           "    current_context().wait()\n"
           "    current_context().check()\n"
           "g.go(hold)\n");
    return NULL;
}

/* `call` of the group, a method with its arguments, in this language. */
static void steer(host *h, const char *language, const char *call) {
    if (strcmp(language, "Python") == 0)
        python("g.%s\n", call);
    else if (strcmp(language, "thread") == 0)
        lua_run(&h->b, "w.errgroup():thread(function(g) g:%s end, g):get()", call);
    else
        lua_run(&h->b, "w.errgroup():go(function() g:%s end):get()", call);
}

static void set_limit(host *h, const char *language, int limit) {
    char call[40];
    bool attribute = strcmp(language, "Python") == 0;
    snprintf(call, sizeof call, attribute ? "limit = %d" : "set_limit(%d)", limit);
    if (strcmp(language, "C") == 0)
        CHECK(wg_errgroup_set_limit(h->group, limit) == WG_OK);
    else
        steer(h, language, call);
}

static void cancel(host *h, const char *language) {
    if (strcmp(language, "C") != 0) {
        steer(h, language, "cancel('enough')");
        return;
    }
    wg_error *cause = wg_errorf("enough");
    CHECK(wg_errgroup_cancel(h->group, cause) == WG_OK);
    wg_error_release(cause);
}

static void check_limit(host *h, int limit) {
    CHECK(wg_errgroup_limit(h->group) == limit);
    python("assert g.limit == %d\n", limit);
    lua_run(&h->b, "assert(g:limit() == %d)", limit);
}

/* C has the only slot, and C, Python and Lua wait for one; `language` lets them in, and stops all. */
static void steering(const char *language) {
    host h;
    pthread_t feeders[2];
    begin(&h, 1);
    add(&h, 1);
    CHECK(wg_errgroup_go(h.group, hold, &h, NULL, NULL) == WG_OK);
    wait_for_shared(&h);
    add(&h, 3);
    CHECK(pthread_create(&feeders[0], NULL, feed_c, &h) == 0);
    CHECK(pthread_create(&feeders[1], NULL, feed_python_once, NULL) == 0);
    lua_begin(&h.a,
              "w.run(function()\n"
              "  assert(g:go(function() shared:done() assert(select(3, w.sleep(%d)) == 'enough') end))\n"
              "end)",
              LONG);
    CHECK(wg_errgroup_get_counts(h.group).running == 1);
    set_limit(&h, language, 4);
    wait_for_shared(&h);
    set_limit(&h, language, 2);
    check_limit(&h, 2);
    CHECK(wg_errgroup_get_counts(h.group).running == 4 && wg_errgroup_try_go(h.group, hold, &h, NULL) == WG_LIMIT);
    cancel(&h, language);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(feeders[i], NULL) == 0);
    wg_error *cause = NULL;
    CHECK(wg_errgroup_wait(h.group, NULL, &cause) == WG_CANCELLED && strcmp(wg_error_text(cause), "enough") == 0);
    CHECK(wg_errgroup_errors(h.group, NULL, 0) == 0);
    python("try:\n"
           "    g.wait()\n"
           "except Cancelled as stop:\n"
           "    assert 'enough' in str(stop.__cause__ or stop), stop\n"
           "else:\n"
           "    raise AssertionError\n");
    lua_finish(&h.a);
    lua_run(&h.b,
            "local ok, why, cause = g:wait() assert(ok == nil and why == 'cancelled' and cause == 'enough', cause)");
    end(&h);
}

/* --- errors cross --- */

static wg_error *pass_on(void *raw, wg_context *ctx) {
    (void)ctx;
    wg_errgroup *inner = raw;
    wg_error *first = NULL;
    CHECK(wg_errgroup_wait(inner, NULL, &first) == WG_FAILED);
    return wg_error_retain(first);
}

/* Python's exception in two Lua states and in C; a task of C waits for that group and fails with the error; and at home it is
 * the very exception. Then the same with a table of Lua. */
static void errors(void) {
    host h;
    wg_errgroup *outer;
    for (int lua_fails = 0; lua_fails < 2; lua_fails++) {
        begin(&h, 0);
        CHECK(wg_errgroup_new(&outer, NULL) == WG_OK);
        long long id = wg_errgroup_id(outer);
        python("outer = attach(%lld)\nvalue = ValueError('three')\ndef deep():\n    raise value\n", id);
        lua_run(&h.a, "outer = w.attach(%lld) value = { code = 3 }", id);
        lua_run(&h.b, "outer = w.attach(%lld)", id);
        if (lua_fails)
            lua_run(&h.a, "g:go(function() error(value) end) w.run(function() g:wait() end)");
        else
            python("g.go(deep)\n");
        CHECK(wg_errgroup_go(outer, pass_on, h.group, NULL, NULL) == WG_OK);
        CHECK(wg_errgroup_wait(outer, NULL, NULL) == WG_FAILED);
        lua_thread *states[] = {&h.a, &h.b};
        for (int i = 0; i < 4; i++)
            lua_run(states[i % 2],
                    "local ok, err, trace = %s:wait()\n"
                    "assert(ok == nil)\n"
                    "if %s then assert(%s and trace:find('stack traceback', 1, true), trace)\n"
                    "else assert(err == 'ValueError: three' and trace:find('in deep', 1, true), trace) end",
                    i / 2 ? "g" : "outer", lua_fails ? "true" : "false", i % 2 ? "err.code == 3" : "err == value");
        python("for group in g, outer:\n"
               "    try:\n"
               "        group.wait()\n"
               "    except %s as error:\n"
               "        %s\n"
               "        assert group.errors == (error,) and group.errors[0] is error\n"
               "    else:\n"
               "        raise AssertionError\n",
               lua_fails ? "ForeignError" : "ValueError",
               lua_fails ? "assert error.language == 'Lua' and error.value == {'code': 3}" : "assert error is value");
        end(&h);
        wg_errgroup_release(outer);
    }
}

/* --- a ring of tasks through all languages --- */

enum { PYTHON, COROUTINE, THREAD, IN_C, KINDS };

static wg_error *wait_in_c(void *raw, wg_context *ctx) {
    char report[3000];
    wg_place here = {.language = "C", .task = "wait_in_c", .file = __FILE__, .line = __LINE__};
    wg_until until = {.place = &here, .report = report, .report_size = sizeof report};
    (void)ctx;
    return wg_errgroup_wait(raw, &until, NULL) == WG_DEADLOCK ? wg_errorf("%s", report) : NULL;
}

/* The one task of each group waits for the next group: Python for a coroutine of Lua, that for a thread of Lua, that for C, and that for
 * Python. */
static void start_ring(host *h, wg_errgroup **groups) {
    long long ids[KINDS];
    for (int i = 0; i < KINDS; i++)
        ids[i] = wg_errgroup_id(groups[i]);
    python("ring = [attach(id) for id in (%lld, %lld)]\n"
           "def wait_in_python(group):\n"
           "    shared.wait()\n"
           "    try:\n"
           "        group.wait()\n"
           "    except ForeignError:\n"
           "        pass\n"
           "ring[0].go(wait_in_python, ring[1])\n",
           ids[PYTHON], ids[COROUTINE]);
    lua_run(&h->a,
            "threads, c = w.attach(%lld), w.attach(%lld)\n"
            "threads:thread(function(wg, group) wg:wait() group:wait() end, shared, c)",
            ids[THREAD], ids[IN_C]);
    lua_begin(&h->b,
              "coroutines, threads = w.attach(%lld), w.attach(%lld)\n"
              "coroutines:go(function() shared:wait() threads:wait() end)\n"
              "w.run(function() coroutines:wait() end)",
              ids[COROUTINE], ids[THREAD]);
}

static void check_ring(const char *report) {
    static const char *const steps[] = {"of group 'Python' (Python), ",
                                        "for all tasks of group 'coroutines', at <string>:",
                                        "of group 'coroutines' (Lua), ",
                                        "for all tasks of group 'threads', at [string ",
                                        "of group 'threads' (Lua), ",
                                        "for all tasks of group 'C', at [string ",
                                        "task 'wait_in_c' of group 'C' (C), ",
                                        "for all tasks of group 'Python', at ",
                                        "task 'wait_in_python' of",
                                        "three.c:"};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (!strstr(report, steps[i]))
            fprintf(stderr, "no \"%s\" in:\n%s\n", steps[i], report);
}

static void ring(void) {
    static const char *const names[] = {"Python", "coroutines", "threads", "C"};
    host h;
    wg_errgroup *groups[KINDS];
    int failures = 0;
    begin(&h, 0);
    for (int i = 0; i < KINDS; i++)
        CHECK(wg_errgroup_new(&groups[i], &(wg_errgroup_options){.name = names[i]}) == WG_OK);
    CHECK(wg_errgroup_enter(groups[COROUTINE]) == WG_OK); /* until the coroutine has been started */
    add(&h, 1);
    start_ring(&h, groups);
    CHECK(wg_errgroup_go(groups[IN_C], wait_in_c, groups[PYTHON], NULL, NULL) == WG_OK);
    while (wg_count(wg_errgroup_tasks(groups[COROUTINE])) < 2) {}
    CHECK(wg_errgroup_leave(groups[COROUTINE], NULL) == WG_OK);
    done(&h);
    for (int i = 0; i < KINDS; i++) {
        wg_error *first = NULL;
        if (wg_errgroup_wait(groups[i], NULL, &first) != WG_FAILED)
            continue;
        failures++;
        check_ring(wg_error_text(first));
    }
    CHECK(failures == 1);
    lua_finish(&h.b);
    end(&h);
    for (int i = 0; i < KINDS; i++)
        wg_errgroup_release(groups[i]);
}

/* Of a group whose Python has ended, Lua's calls say why they are refused; and its id, once Lua has let go of it. */
static void gone(void) {
    lua_thread lua;
    void *found = NULL;
    PyThreadState *state = python_start();
    lua_start(&lua, NULL);
    python("from cwaitgroup import *\ng = ErrGroup(name='of Python')\nnumber = g.id\n");
    long long id = python_integer("number");
    lua_run(&lua, "g = w.attach(%lld)", id);
    python_end(state);
    lua_run(&lua,
            "for _, call in ipairs { 'thread', 'try_thread', 'go', 'try_go' } do\n"
            "  local ok, why, cause = g[call](g, function() end)\n"
            "  assert(ok == nil and why == 'cancelled' and cause == 'the Python interpreter is shutting down', cause)\n"
            "end\n"
            "assert(select(2, g:wait()) == 'cancelled')\n"
            "g = nil collectgarbage() collectgarbage()\n"
            "local ok, text = pcall(w.attach, %lld)\n"
            "assert(not ok and text:find 'is gone: keep a reference', text)\n",
            id);
    CHECK(wg_attach(id, WG_KIND_ERRGROUP, &found) == WG_ENDED_ID && !found);
    lua_end(&lua);
}

int main(int argc, char **argv) {
    const char *scenario = argc > 1 ? argv[1] : "", *argument = argc > 2 ? argv[2] : "";
    if (strcmp(scenario, "limit") == 0)
        limit();
    else if (strcmp(scenario, "full") == 0)
        full();
    else if (strcmp(scenario, "failure") == 0)
        failure(argument);
    else if (strcmp(scenario, "steering") == 0)
        steering(argument);
    else if (strcmp(scenario, "errors") == 0)
        errors();
    else if (strcmp(scenario, "gone") == 0)
        gone();
    else if (strcmp(scenario, "ring") == 0)
        ring();
    else
        return fprintf(stderr, "usage: three limit|full|failure LANGUAGE|steering LANGUAGE|errors|gone|ring\n"), 2;
    return 0;
}
