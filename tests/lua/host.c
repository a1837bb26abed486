/* host.c - a C program that embeds Lua and the module, to see what no Lua program can. usage: host SCENARIO
 * With HOST_WAITS in the environment it stays until all its threads have ended, for those who look for leaks.
 *
 * Each state has an allocator of its own that may be used from the state's thread only, counts, and can be told to fail.
 * With -DLINKED the module is linked into the program, else it is loaded by `require` and unloaded by lua_close. */
#define _GNU_SOURCE
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef LINKED
#include "faults.h"
#include "waitgroup_lua.h"
#endif

#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, #condition))

static _Noreturn void fail(int line, const char *what) {
    fprintf(stderr, "host.c:%d: %s\n", line, what);
    _exit(1);
}

/* --- states with an allocator of their own --- */

typedef struct heap {
    pthread_t owner;
    size_t bytes;
    long until_failure; /* allocations that still succeed; negative: all do */
    long calls;
} heap;

static void *allocate(void *data, void *block, size_t old_size, size_t new_size) {
    heap *h = data;
    CHECK(pthread_equal(h->owner, pthread_self()));
    if (!block)
        old_size = 0;
    if (new_size > old_size) {
        h->calls++;
        if (h->until_failure == 0)
            return NULL;
        if (h->until_failure > 0)
            h->until_failure--;
    }
    h->bytes += new_size - old_size;
    if (new_size == 0) {
        free(block);
        return NULL;
    }
    return reallocarray(block, 1, new_size); /* which is not among what faults.h lets fail: that is the module's */
}

static lua_State *new_state(lua_Alloc f, void *data) {
#if LUA_VERSION_NUM >= 505
    return lua_newstate(f, data, luaL_makeseed(NULL));
#else
    return lua_newstate(f, data);
#endif
}

static lua_State *open_state(heap *h) {
    *h = (heap){.owner = pthread_self(), .until_failure = -1};
    lua_State *L = new_state(allocate, h);
    CHECK(L);
    luaL_openlibs(L);
#ifdef LINKED
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, luaopen_waitgroup_core);
    lua_setfield(L, -2, "waitgroup.core");
    lua_settop(L, 0);
#endif
    return L;
}

static void close_state(lua_State *L, heap *h) {
    lua_close(L);
    CHECK(h->bytes == 0);
}

static void run(lua_State *L, const char *code) {
    if (luaL_dostring(L, code) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        _exit(1);
    }
}

static void sleep_ms(int ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

/* --- threads --- */

static int threads_at_start;

static void *do_nothing(void *arg) { return arg; }

static int count_threads(void) {
    int threads = 0;
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    CHECK(status);
    while (fgets(line, sizeof line, status))
        sscanf(line, "Threads: %d", &threads);
    fclose(status);
    return threads;
}

/* Idle threads end by themselves, and close their states: then nothing may be left. */
static void wait_until_alone(void) {
    for (int i = 0; i < 600; i++) {
        if (count_threads() <= threads_at_start)
            return;
        sleep_ms(100);
    }
    fail(__LINE__, "threads did not end");
}

/* --- two states in two threads share a group and a wait group --- */

static lua_Integer group_id, wg_id, failing_id, channel_id;

static void *second_state(void *arg) {
    heap h;
    lua_State *L = open_state(&h);
    lua_pushinteger(L, group_id);
    lua_setglobal(L, "group_id");
    lua_pushinteger(L, wg_id);
    lua_setglobal(L, "wg_id");
    lua_pushinteger(L, failing_id);
    lua_setglobal(L, "failing_id");
    lua_pushinteger(L, channel_id);
    lua_setglobal(L, "channel_id");
    run(L, "local w = require 'waitgroup'\n"
           "local g, wg = w.attach(group_id, 'errgroup'), w.attach(wg_id)\n"
           "local mine = w.new(100)\n"
           "for i = 1, 100 do\n"
           "  assert(g:go(function() w.sleep(i / 100000) mine:done() end))\n"
           "  assert(g:thread(function(n) return { n } end, i))\n"
           "end\n"
           "assert(mine:wait(60))\n"
           "w.attach(failing_id):go(error, { 'of a state that is gone' })\n" /* refused, if the other was faster */
           "w.yield()\n"
           "local ch = w.attach(channel_id, 'channel')\n"
           "for i = 1, 200 do assert(w.select { { ch, { i } } }) end\n"
           "for i = 1, 50 do wg:done() end");
    close_state(L, &h);
    return arg;
}

static void two_states(void) {
    heap h;
    lua_State *L = open_state(&h);
    run(L, "w = require 'waitgroup' g, wg, failing = w.errgroup{ limit = 8 }, w.new(100), w.errgroup()\n"
           "ch = w.channel(3)\n"
           "return g:id(), wg:id(), failing:id(), ch:id()");
    group_id = lua_tointeger(L, -4);
    wg_id = lua_tointeger(L, -3);
    failing_id = lua_tointeger(L, -2);
    channel_id = lua_tointeger(L, -1);
    lua_settop(L, 0);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, second_state, NULL);
    run(L, "w.run(function()\n"
           "  local sum = 0\n"
           "  for _ = 1, 400 do sum = sum + assert(ch:receive(60))[1] end\n"
           "  assert(sum == 2 * 200 * 201 // 2 and ch:count() == 0)\n"
           "  assert(wg:wait(60))\n"
           "end) assert(g:wait(60)) assert(g:completed() == 400)");
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    run(L, "local ok, err = failing:wait(60) assert(not ok and err[1] == 'of a state that is gone')");
    close_state(L, &h);
}

/* --- a state is closed while its tasks run --- */

static void closing(void) {
    for (int i = 0; i < 20; i++) {
        heap h;
        lua_State *L = open_state(&h);
        run(L,
            "local w = require 'waitgroup'\n"
            "g = w.errgroup{ limit = 4 }\n"
            "local started = w.new(2)\n"
            "for _, group in ipairs { g, w.errgroup() } do\n" /* with and without a coroutine that fails by the end */
            "  group:thread(function(wg)\n"
            "    local w = require 'waitgroup'\n"
            "    wg:done()\n"
            "    local context = w.current_context()\n"
            "    while not context:cancelled() do end\n"
            "    error { 'late' }\n"
            "  end, started)\n"
            "end\n"
            "g:go(function() w.sleep(60) end)\n"
            "g:context():on_cancel(function() error 'never' end)\n"
            "w.context():on_cancel(print)\n"
            "started:wait()\n");
        if (i % 2 == 1) /* then one group has lost its handle long before */
            run(L, "collectgarbage() collectgarbage()");
        close_state(L, &h);
    }
    heap h;
    lua_State *L = open_state(&h);
    run(L, "local w = require 'waitgroup'\n" /* groups that were given up, some of whose tasks have ended */
           "for i = 1, 30 do\n"
           "  w.errgroup():thread(function(i) require('waitgroup').sleep(i % 3 == 0 and 60 or 0.001) end, i)\n"
           "  collectgarbage()\n"
           "end\n");
    close_state(L, &h);
    wait_until_alone(); /* the tasks are told to end, in a library that was unloaded if it could be */
}

/* --- memory runs out at every possible place --- */

static const char *const hungry = /* a little of everything */
    "local w = require 'waitgroup'\n"
    "w.on_error(function() end)\n"
    "local wg = w.new()\n"
    "local g = w.errgroup{ limit = 2, name = 'n', grace = 50 }\n"
    "for i = 1, 3 do\n"
    "  assert(g:go(function(a) w.sleep(0.0001) wg:add() wg:done() return a, a end, i))\n"
    "end\n"
    "local context = w.context{ timeout = 5 }\n"
    "local long = {}\n"
    "for i = 1, 20 do long[i] = { [i / 2] = { wg }, g, ('s'):rep(i), print, function() return long[i] end } end\n"
    "local task = assert(g:thread(function(t, ...) return t, #t, ... end, { 1, 2, { x = 'y' } }, long, context))\n"
    "context:on_cancel(function() end)\n"
    "w.context{ parent = w.root() }:pollfd()\n"
    "assert(wg:pollfd() and g:pollfd() and w.attach(wg:id()) == wg)\n"
    "assert(g:wait(60))\n"
    "assert(select(3, assert(task:result())) == 3)\n"
    "context:cancel { 'cause' }\n"
    "local f = w.errgroup()\n"
    "f:go(function() error { 'thrown' } end)\n"
    "assert(not f:wait(60))\n"
    "assert(f:errors()[1][1] == 'thrown')\n"
    "f = w.errgroup()\n"
    "f:thread(function() error(('long'):rep(100)) end)\n"
    "assert(not f:wait(60))\n"
    "w.run(function() return w.yield() end)\n"
    "local ch, made = w.channel(1), setmetatable({ 7 }, { __copy = function(t) return math.max, t[1], 0 end })\n"
    "f = w.errgroup()\n"
    "f:go(function() for i = 1, 3 do assert(ch:send { i, made }) end ch:close() end)\n"
    "f:thread(function(c) for t in c:each() do assert(t[2] == 7) end end, ch)\n"
    "f:go(function() w.select { ch, timeout = 0.0001 } end)\n"
    "assert(f:wait(60))\n"
    "f = w.errgroup()\n"
    "f:thread(function() error(setmetatable({}, { __tostring = function() return 'text' end })) end)\n"
    "assert(select(2, f:wait(60)) ~= nil)\n"
    "f = w.errgroup()\n"
    "assert(#assert(f:map(function(x) return x end, { 1, 2 })) == 2)\n";

static int run_hungry(lua_State *L) {
    luaL_loadstring(L, hungry);
    lua_call(L, 0, 0);
    return 0;
}

static void out_of_memory(void) {
    int failures = 0, successes = 0;
    for (long n = 0; successes < 2; n += 1 + n / 64) {
        heap h;
        lua_State *L = open_state(&h);
        h.until_failure = n;
        lua_pushcfunction(L, run_hungry);
        int status = lua_pcall(L, 0, 0, 0);
        bool ran_out = h.until_failure == 0;
        h.until_failure = -1;
        if (status == LUA_OK)
            successes++;
        else {
            failures++;
            CHECK(ran_out);
        }
        close_state(L, &h);
        CHECK(n < 1000000);
    }
    CHECK(failures > 20);
}

/* --- the allocator is at its cap: what frees needs no memory --- */

static void at_the_cap(void) {
    heap h;
    lua_State *L = open_state(&h);
    run(L, "w = require 'waitgroup'\n"
           "g, ctx, ran, closed = w.errgroup(), w.context(), 0, 0\n"
           "function fill() for i = 1, 100000 do g:go(function() ran = ran + 1 end) end end\n"
           "cancel, close, wait, errgroup = g.cancel, g.close, g.wait, nil\n"
           "ctx:on_cancel(function() closed = closed + 1 end)\n"
           "collectgarbage('stop')\n");
    h.until_failure = 50000;
    lua_getglobal(L, "fill");
    CHECK(lua_pcall(L, 0, 0, 0) == LUA_ERRMEM);
    CHECK(h.until_failure == 0);
    lua_settop(L, 0);
    const char *const calls[] = {"ctx", "close", "g", "cancel", "g", "close"};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i += 2) {
        lua_getglobal(L, calls[i]);
        lua_getfield(L, -1, calls[i + 1]);
        lua_insert(L, -2);
        CHECK(lua_pcall(L, 1, 0, 0) == LUA_OK);
    }
    h.until_failure = -1;
    run(L, "assert(ran == 0 and closed == 1 and g ~= nil)\n"
           "collectgarbage('restart') collectgarbage()\n"
           "local g = w.errgroup() local t = g:go(function() return 5 end)\n"
           "assert(g:wait(20) and select(2, t:result()) == 5)\n");
    close_state(L, &h);
}

/* A go that is refused keeps neither its function nor its arguments. */
static void refused(void) {
    heap h;
    lua_State *L = open_state(&h);
    run(L, "local w = require 'waitgroup'\n"
           "local full, go_on = w.errgroup { limit = 1 }, w.new(1)\n"
           "full:go(function() go_on:wait() end)\n"
           "w.yield()\n"
           "local over = w.errgroup()\n"
           "over:cancel()\n"
           "local seen = setmetatable({}, { __mode = 'k' })\n"
           "for _, g in ipairs { full, over } do\n"
           "  local argument = {}\n"
           "  local fn = function() return argument end\n"
           "  seen[argument], seen[fn] = true, true\n"
           "  assert(not g:try_go(fn, argument))\n"
           "end\n"
           "collectgarbage() collectgarbage()\n"
           "assert(next(seen) == nil)\n"
           "go_on:done()\n"
           "assert(full:wait(20))\n");
    close_state(L, &h);
}

/* --- no file descriptor is left --- */

static void limit_descriptors(rlim_t limit) {
    struct rlimit both;
    CHECK(getrlimit(RLIMIT_NOFILE, &both) == 0);
    both.rlim_cur = limit;
    CHECK(setrlimit(RLIMIT_NOFILE, &both) == 0);
}

static void no_descriptors(void) {
    heap h;
    lua_State *L = open_state(&h);
    run(L, "w = require 'waitgroup'\n"
           "function refused(what, f, ...)\n"
           "  local ok, message = pcall(f, ...)\n"
           "  assert(not ok and message:find(what, 1, true), message)\n"
           "end\n"
           "function in_loop()\n" /* the end of a wait in a coroutine of an event loop that is always ready */
           "  w.use { here = function() return true end, wait = function() end }\n"
           "  local ok, err = coroutine.resume(coroutine.create(function() assert(w.new(1):wait(0.01)) end))\n"
           "  w.use(nil)\n"
           "  return ok, err\n"
           "end\n"
           "wg, g, ctx = w.new(1), w.errgroup(), w.context()\n");
    struct rlimit before;
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    int next = dup(2);
    CHECK(next >= 0 && close(next) == 0);
    limit_descriptors((rlim_t)next);
    run(L, "refused('\\'pollfd\\' of a wait group: no file descriptor is left: close some', wg.pollfd, wg)\n"
           "refused('\\'pollfd\\' of an error group: no file descriptor is left: close some', g.pollfd, g)\n"
           "refused('\\'pollfd\\' of a context: no file descriptor is left: close some', ctx.pollfd, ctx)\n"
           "refused('cannot sleep: no file descriptor is left', w.run, w.sleep, 0.01)\n"
           "refused('cannot wait in an event loop: no file descriptor is left', function() assert(in_loop()) end)\n");
    for (int more = 1; more <= 2; more++) { /* it takes three */
        limit_descriptors((rlim_t)(next + more));
        run(L,
            "refused('cannot wait in an event loop: no file descriptor is left', function() assert(in_loop()) end)\n");
    }
    limit_descriptors(before.rlim_cur);
    run(L, "local ok, why = in_loop()\n"
           "assert(not ok and why:find 'timeout')\n"
           "assert(w.sleep(0.001) and wg:pollfd() ~= g:pollfd())\n");
    close_state(L, &h);
}

/* --- the child of a fork --- */

#ifdef WG_TEST_COVERAGE
void __gcov_dump(void);
#endif

/* The end of a child whose checks have all passed. No exit, at which what the lost threads owned would count as a leak. */
static _Noreturn void child_is_well(void) {
#ifdef WG_TEST_COVERAGE
    __gcov_dump();
#endif
    execlp("true", "true", (char *)NULL);
    _exit(1);
}

static void check_child(pid_t child) {
    int status;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void forking(void) {
    heap h;
    lua_State *L = open_state(&h);
    run(L, "w, core = require 'waitgroup', require 'waitgroup.core'\n"
           "idle, wg, go_on = w.errgroup(), w.new(), w.new(1)\n"
           "busy, context = w.errgroup(), w.context()\n"
           "task = busy:thread(function(go_on) go_on:wait() return 5 end, go_on)\n"
           "fd, ctx_fd = wg:pollfd(), context:pollfd()\n"
           "ch = w.channel(1) wg_id, ch_id = wg:id(), ch:id()\n"
           "wanted, offered = w.channel(), w.channel()\n" /* in which threads of the parent wait */
           "feeders = w.errgroup()\n"
           "received = feeders:thread(function(c) return c:receive() end, wanted)\n"
           "feeders:thread(function(c) c:send('of the parent') end, offered)\n"
           "repeat w.sleep(0.001) until tostring(wanted):find 'waits' and tostring(offered):find 'waits'\n"
           "own = w.channel()\n" /* in which a coroutine waits that goes on in the child */
           "got = w.errgroup():go(function() return own:receive() end)\n"
           "waiting = {}\n" /* coroutines that wait for threads of the parent */
           "for i, wait in ipairs { function() return busy:wait() end, function() return task:result() end,\n"
           "                        function() return go_on:wait() end } do\n"
           "  w.new():go(function() waiting[i] = { pcall(wait) } end)\n"
           "end\n"
           "w.sleep(0.01)\n");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(30);
        h.owner = pthread_self();
        run(L, "repeat w.sleep(0.001) until waiting[1] and waiting[2] and waiting[3]\n" /* or the alarm */
               "for i = 1, 3 do\n"
               "  assert(not waiting[i][1], 'a wait has ended well')\n"
               "  assert(waiting[i][2]:find 'left behind in the parent process by a fork', waiting[i][2])\n"
               "end\n");
        run(L, "assert(select(2, wanted:send('of the child', 0)) == 'timeout')\n"
               "assert(select(2, offered:receive(0)) == 'timeout')\n"
               "assert(own:send('of the child', 0) and select(2, got:result(20)) == 'of the child')\n");
        run(L, "local alone = w.context()\n" /* the parent's thread tasks are no hope here */
               "local ok, err = pcall(w.run, function() alone:wait() end)\n"
               "assert(not ok and err:find 'deadlock: nothing can ever run again', err)\n"
               "alone:cancel()\n");
        run(L, "local ok, err = pcall(busy.wait, busy)\n"
               "assert(not ok and err:find 'left behind in the parent process by a fork', err)\n"
               "ok, err = pcall(task.result, task)\n"
               "assert(not ok and err:find 'left behind in the parent process by a fork', err)\n"
               "ok, err = pcall(go_on.wait, go_on)\n"
               "assert(not ok and err:find 'wait group .* left behind in the parent process by a fork: make a new "
               "one', err)\n"
               "ok, err = pcall(busy.pollfd, busy)\n"
               "assert(not ok and err:find 'error group .* left behind in the parent process', err)\n"
               "ok, err = pcall(context.pollfd, context)\n"
               "assert(not ok and err:find 'belongs to the parent process: make a context below it', err)\n"
               "ok, err = pcall(w.attach, wg_id)\n"
               "assert(not ok and err:find 'of the process from which this one was forked: ask the object', err)\n"
               "assert(not pcall(w.attach, ch_id))\n"
               "assert(w.attach(wg:id()) == wg and w.attach(ch:id()) == ch and ch:id() ~= ch_id)\n"
               "assert(w.context({ parent = context }):pollfd() ~= ctx_fd)\n"
               "local own = wg:pollfd()\n"
               "assert(own == wg:pollfd() and core.readable(own) and core.readable(idle:pollfd()))\n"
               "wg:go(function() w.sleep(0.01) end)\n"
               "assert(not core.readable(wg:pollfd()))\n"
               "assert(wg:wait(20) and core.readable(own))\n"
               "local t = idle:thread(function(a) return a + 1 end, 1)\n"
               "assert(idle:wait(20))\n"
               "assert(select(2, t:result()) == 2)\n"
               "context:cancel('x')\n"
               "assert(context:cancelled())\n");
        child_is_well();
    }
    check_child(child);
    run(L, "assert(fd == wg:pollfd() and core.readable(fd) and not core.readable(ctx_fd))\n"
           "assert(w.attach(wg_id) == wg and w.attach(ch_id) == ch)\n"
           "assert(wanted:send 'x' and offered:receive() == 'of the parent' and own:send 'y')\n"
           "assert(feeders:wait(20)) assert(select(2, received:result()) == 'x')\n"
           "go_on:done() assert(busy:wait(20)) assert(select(2, task:result()) == 5)");
    close_state(L, &h);
}

/* A coroutine of an event loop waits for a thread, and its descriptor is readable, when the process forks: what the loop does
 * in the child takes nothing from the parent. */
static void forking_in_a_loop(void) {
    heap h;
    lua_State *L = open_state(&h);
    run(L, "w, core = require 'waitgroup', require 'waitgroup.core'\n"
           "w.use { here = function() return coroutine.running() == waiter end,\n"
           "        wait = function(fd) loop_fd = fd coroutine.yield() end }\n"
           "g, go_on, outcome = w.errgroup(), w.new(1), nil\n"
           "waiter = coroutine.create(function() outcome = { pcall(g.wait, g) } end)\n"
           "g:thread(function(go_on) go_on:wait() end, go_on)\n"
           "assert(coroutine.resume(waiter))\n"
           "go_on:done()\n"
           "while not core.readable(loop_fd) do end\n");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(30);
        h.owner = pthread_self();
        run(L, "while not outcome do assert(coroutine.resume(waiter)) end\n"
               "w.run(function() w.sleep(0.001) end)\n");
        child_is_well();
    }
    check_child(child);
    run(L, "assert(core.readable(loop_fd), 'the child has eaten the wake-up')\n"
           "assert(coroutine.resume(waiter))\n"
           "assert(outcome[1] and outcome[2] == true)\n");
    close_state(L, &h);
}

/* --- what only a host that links the module can do --- */

#ifdef LINKED
static atomic_int made, prepared;

static lua_State *make_state(void *data) {
    atomic_fetch_add((atomic_int *)data, 1);
    return luaL_newstate();
}

static void prepare(lua_State *L, void *data) {
    (void)data;
    atomic_fetch_add(&prepared, 1);
    lua_pushliteral(L, "from the host");
    lua_setglobal(L, "greeting");
}

static lua_State *make_no_state(void *data) {
    (void)data;
    return NULL;
}

static void prepare_badly(lua_State *L, void *data) { luaL_error(L, "this %s cannot be", (const char *)data); }

/* Without what most states have. */
static void prepare_bare(lua_State *L, void *data) {
    (void)data;
    lua_pushliteral(L, "");
    lua_pushnil(L);
    lua_setmetatable(L, -2);
    lua_getglobal(L, "package");
    lua_pushnil(L);
    lua_setfield(L, -2, "searchers");
    lua_getfield(L, -1, "loaded");
    lua_pushnil(L);
    lua_setfield(L, -2, LUA_UTF8LIBNAME);
    lua_settop(L, 0);
}

/* Run `code` with states of this host, and then with others. */
static void host_with(const wg_lua_host *host, const char *code) {
    heap h;
    lua_State *L = open_state(&h);
    wg_lua_set_host(host);
    run(L, "w = require 'waitgroup'\n"
           "function try(f)\n"
           "  local g = w.errgroup()\n"
           "  local t = g:thread(f)\n"
           "  g:wait(20)\n"
           "  return t:result()\n"
           "end\n");
    run(L, code);
    wg_lua_set_host(NULL);
    run(L, "assert(try(function() end))");
    close_state(L, &h);
}

static void hosting(void) {
    host_with(&(wg_lua_host){.new_state = make_state, .prepare = prepare, .data = &made},
              "local ok, found = try(function() local found = greeting greeting = 1 return found end)\n"
              "assert(ok and found == 'from the host')\n");
    CHECK(atomic_load(&made) == 1 && atomic_load(&prepared) == 1);
}

static void hosting_without_states(void) {
    host_with(&(wg_lua_host){.new_state = make_no_state},
              "local ok, err = try(function() end)\n"
              "assert(not ok and err == 'cannot open a Lua state for a thread: not enough memory', err)\n");
}

static void hosting_badly(void) {
    host_with(&(wg_lua_host){.prepare = prepare_badly, .data = "state"},
              "local ok, err = try(function() end)\n"
              "assert(not ok and err == 'this state cannot be', err)\n");
}

static void hosting_bare_states(void) {
    host_with(&(wg_lua_host){.prepare = prepare_bare},
              "local ok, found = try(function() return pcall(function() return ('x'):upper() end) end)\n"
              "assert(ok and not found)\n");
}

/* The states of workers run out of memory at every possible place: their tasks fail, no more. */

static heap worker_heaps[10000]; /* each state's own: it may live as long as the process */
static atomic_int worker_states;
static atomic_long worker_until_failure;

static lua_State *make_state_that_fails(void *data) {
    (void)data;
    int number = atomic_fetch_add(&worker_states, 1);
    CHECK((size_t)number < sizeof worker_heaps / sizeof *worker_heaps);
    heap *h = &worker_heaps[number];
    *h = (heap){.owner = pthread_self(), .until_failure = atomic_load(&worker_until_failure)};
    return new_state(allocate, h);
}

static void workers_out_of_memory(void) {
    heap h;
    lua_State *L = open_state(&h);
    wg_lua_set_host(&(wg_lua_host){.new_state = make_state_that_fails});
    run(L, "w, failures = require 'waitgroup', 0\n"
           "local wg = w.new()\n"
           "function try()\n"
           "  local g = w.errgroup()\n"
           "  local t = g:thread(function(t)\n"
           "    local w = require 'waitgroup'\n"
           "    w.errgroup():go(function() w.sleep(0.0001) end)\n"
           "    for _, v in ipairs(t) do t[v] = wg:count() .. v end\n"
           "    return t\n"
           "  end, { 'a', 'b' })\n"
           "  local ok, err = g:wait(60)\n"
           "  if not ok then\n"
           "    failures = failures + 1\n"
           "    assert(tostring(err):find 'memory', err)\n"
           "  end\n"
           "  return ok\n"
           "end\n");
    for (long n = 0; n < 2000; n += 1 + n / 64) {
        atomic_store(&worker_until_failure, n);
        run(L, "for _ = 1, 3 do try() end");
    }
    run(L, "assert(failures > 20)");
    atomic_store(&worker_until_failure, -1);
    run(L, "for _ = 1, 100 do if try() then return end end error 'no worker has recovered'");
    wg_lua_set_host(NULL);
    close_state(L, &h);
}

/* Each allocation of the module fails in turn, and with `and_all_after` all that follow. That is an error, and what comes
 * later works. */
static void fail_each_in_turn(bool and_all_after) {
    bool struck = true;
    int failures = 0;
    for (int n = 1; struck; n++) {
        heap h;
        lua_State *L = open_state(&h);
        fault_set(&malloc_fault, n, and_all_after);
        lua_pushcfunction(L, run_hungry);
        int status = lua_pcall(L, 0, 0, 0);
        struck = fault_clear(&malloc_fault);
        CHECK(status == LUA_OK || struck);
        failures += status != LUA_OK;
        run(L, hungry);
        close_state(L, &h);
    }
    CHECK(failures > 20);
}

/* No thread can be had, at first; then memory fails. */
static void faults(void) {
    heap h;
    lua_State *L = open_state(&h);
    fault_set(&thread_fault, 1, true);
    run(L, "w = require 'waitgroup'\n"
           "g = w.errgroup()\n"
           "local ok, err = pcall(g.thread, g, function() end)\n"
           "assert(not ok and err:find 'no thread', err)\n"
           "ok, err = pcall(w.context, { timeout = 5 })\n"
           "assert(not ok and err:find 'no thread', err)\n"
           "assert(g:go(function() w.sleep(0.001) end))\n");
    CHECK(fault_clear(&thread_fault));
    run(L, "assert(g:thread(function() end) and g:wait(60) and g:completed() == 2)");
    close_state(L, &h);
    fail_each_in_turn(false);
    fail_each_in_turn(true);
}
#endif

/* --- a host that keeps in the extra space of its coroutines what they run for --- */

static int runs_for(lua_State *L) {
    const char *const *space = lua_getextraspace(L);
    lua_pushstring(L, *space ? *space : "nothing");
    return 1;
}

/* Run a global function of Lua in a coroutine that runs for `what`. */
static void run_for(lua_State *L, const char *what, const char *function) {
    lua_State *co = lua_newthread(L);
    int results;
    *(const char **)lua_getextraspace(co) = what;
    lua_getglobal(co, function);
    if (lua_resume(co, L, 0, &results) != LUA_OK)
        fail(__LINE__, lua_tostring(co, -1));
    lua_pop(L, 1);
}

/* Tasks run for the coroutine that drives, also in their own coroutines, in callbacks, and if they have blocked a C stack. */
static void extra_space(void) {
    heap h = {0};
    lua_State *L = open_state(&h);
    lua_register(L, "runs_for", runs_for);
    run(L, "w = require 'waitgroup' g, released, seen = w.errgroup(), w.new(1), {}\n"
           "function see() seen[#seen + 1] = runs_for() end\n"
           "function start()\n"
           "  g:go(function()\n"
           "    see()\n"
           "    coroutine.wrap(function() released:wait() see() end)()\n"
           "    see()\n"
           "    w.sleep(0.001)\n"
           "    see()\n"
           "  end)\n"
           "  g:context():on_cancel(see)\n"
           "  g:wait(0)\n"
           "end\n"
           "function finish() released:done() g:wait() g:wait(0) w.new(1):wait(0.001) end");
    run_for(L, "one", "start");
    run_for(L, "two", "finish");
    run(L, "local all = table.concat(seen, ' ') assert(all == 'one two two two two', all)");
    close_state(L, &h);
}

static const struct {
    const char *name;
    void (*run)(void);
} scenarios[] = {{"two_states", two_states},
                 {"closing", closing},
                 {"out_of_memory", out_of_memory},
                 {"at_the_cap", at_the_cap},
                 {"refused", refused},
                 {"no_descriptors", no_descriptors},
                 {"forking", forking},
                 {"forking_in_a_loop", forking_in_a_loop},
                 {"extra_space", extra_space},
#ifdef LINKED
                 {"hosting", hosting},
                 {"hosting_without_states", hosting_without_states},
                 {"hosting_badly", hosting_badly},
                 {"hosting_bare_states", hosting_bare_states},
                 {"workers_out_of_memory", workers_out_of_memory},
                 {"faults", faults},
#endif
                 {NULL, NULL}};

int main(int argc, char **argv) {
    /* ThreadSanitizer starts a thread of its own with the first of ours. */
    pthread_t first;
    CHECK(pthread_create(&first, NULL, do_nothing, NULL) == 0 && pthread_join(first, NULL) == 0);
    threads_at_start = count_threads();
    for (int i = 0; scenarios[i].name; i++)
        if (argc == 2 && strcmp(argv[1], scenarios[i].name) == 0) {
            scenarios[i].run();
            if (getenv("HOST_WAITS"))
                wait_until_alone();
            printf("%s: passed\n", argv[1]);
            return 0;
        }
    fprintf(stderr, "usage: host SCENARIO\n");
    return 2;
}
