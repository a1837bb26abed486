/* orders.c - a C host, Python and two Lua states end in every order, with tasks of each running and queued in one group; and
 * begin again.
 *
 * usage: orders python|lua|host: by whom the group is made */
#include "host.h"

enum { PYTHON, LUA_A, LUA_B, HOST, PARTIES };
enum { RUN = 7, QUEUED = 3 };

static PyThreadState *python_state;
static lua_thread a, b;
static wg_errgroup *group; /* "g" in all languages */
static wg_shared *running; /* "shared": counts down as tasks begin to run */
static int tasks;

static wg_error *wait_in_c(void *unused, wg_context *ctx) {
    (void)unused;
    wg_done(wg_shared_waitgroup(running));
    wg_context_wait(ctx, NULL);
    return wg_context_error(ctx);
}

/* By whom the group is made, and found by its id. */
static void make_group(int maker) {
    void *found;
    long long id = 0;
    if (maker == HOST || maker == LUA_B) {
        CHECK(wg_errgroup_new(&group, &(wg_errgroup_options){.limit = RUN, .backlog = QUEUED}) == WG_OK);
        return;
    }
    if (maker == PYTHON) {
        python("from cwaitgroup import *\nmade = ErrGroup(limit=%d, backlog=%d)\nnumber = made.id\n", RUN, QUEUED);
        id = python_integer("number");
    } else {
        lua_run(&a, "made = w.errgroup { limit = %d } require('hub')(%zu, made:id())", RUN, (size_t)&id);
    }
    CHECK(wg_attach(id, WG_KIND_ERRGROUP, &found) == WG_OK);
    group = found;
}

/* hub(address, integer): write it there. */
static int write_integer(lua_State *L) {
    *(long long *)(size_t)luaL_checkinteger(L, 1) = luaL_checkinteger(L, 2);
    return 0;
}

static int open_hub(lua_State *L) {
    lua_pushcfunction(L, write_integer);
    return 1;
}

static void start(int maker) {
    python_state = python_start();
    lua_start(&a, open_hub);
    lua_start(&b, open_hub);
    make_group(maker);
    CHECK(wg_shared_new(&running) == WG_OK && wg_add(wg_shared_waitgroup(running), RUN) == WG_OK);
    python_knows(group, running);
    lua_knows(&a, group, running);
    lua_knows(&b, group, running);
}

/* Seven tasks run. */
static void fill(void) {
    CHECK(wg_errgroup_go(group, wait_in_c, NULL, NULL, NULL) == WG_OK);
    python("def wait():\n"
           "    shared.done()\n"
           "    current_context().wait()\n"
           "g.go(wait)\n"
           "g.go(wait)\n");
    lua_run(&a, "for _ = 1, 2 do g:go(function() shared:done() w.sleep(1000) end) end w.yield()");
    lua_run(&b, "for _ = 1, 2 do\n"
                "  g:thread(function(wg) wg:done() require('waitgroup').current_context():wait() end, shared)\n"
                "end");
    CHECK(wg_wait(wg_shared_waitgroup(running), NULL) == WG_OK);
}

/* Three, which never will, are queued behind them. */
static void queue(void) {
    CHECK(wg_errgroup_go(group, wait_in_c, NULL, NULL, NULL) == WG_OK);
    python("g.go(wait)\n");
    lua_run(&b, "g:thread(function() error 'it has started' end)");
}

static void end(int party) {
    switch (party) {
    case PYTHON: python_end(python_state); break;
    case LUA_A: lua_end(&a); break;
    case LUA_B: lua_end(&b); break;
    case HOST: wg_errgroup_cancel(group, NULL); break;
    }
}

/* What is left still gets answers. */
static void ask(int party) {
    switch (party) {
    case PYTHON:
        python("try:\n"
               "    assert g.try_go(int) is None\n"
               "except (Cancelled, RuntimeError):\n"
               "    pass\n"
               "assert g.completed + g.running + g.pending <= %d\n", /* in this order none is counted twice */
               tasks);
        break;
    case LUA_A: lua_run(&a, "assert(not g:try_thread(function() end) and not g:try_go(print))"); break;
    case LUA_B: lua_run(&b, "assert(not g:try_thread(function() end) and not g:try_go(print))"); break;
    case HOST: CHECK(wg_errgroup_try_go(group, wait_in_c, NULL, NULL) != WG_OK); break;
    }
}

static void in_order(const int order[PARTIES], int maker) {
    start(maker);
    fill();
    tasks = RUN;
    if (wg_errgroup_backlog(group) == QUEUED) {
        queue();
        tasks += QUEUED;
    }
    for (int i = 0; i < PARTIES; i++) {
        end(order[i]);
        for (int j = i + 1; j < PARTIES; j++)
            ask(order[j]);
    }
    wg_status status = wg_errgroup_wait(group, NULL, NULL);
    CHECK(status == WG_OK || status == WG_CANCELLED || status == WG_FAILED);
    wg_errgroup_counts counts = wg_errgroup_get_counts(group);
    CHECK(counts.running == 0 && counts.pending == 0 && counts.completed == (unsigned)tasks);
    wg_errgroup_release(group);
    wg_shared_release(running);
}

static void every_order(int maker) {
    for (int i = 0; i < PARTIES * PARTIES * PARTIES; i++) {
        int order[PARTIES] = {i % PARTIES, i / PARTIES % PARTIES, i / PARTIES / PARTIES};
        order[3] = 6 - order[0] - order[1] - order[2];
        if (order[0] != order[1] && order[0] != order[2] && order[1] != order[2])
            in_order(order, maker);
    }
}

int main(int argc, char **argv) {
    const char *maker = argc > 1 ? argv[1] : "";
    every_order(strcmp(maker, "python") == 0 ? PYTHON : strcmp(maker, "lua") == 0 ? LUA_A : HOST);
    return 0;
}
