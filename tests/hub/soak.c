/* soak.c - very many groups, each shared by C, Python and two Lua states; at the end there are no more threads, descriptors
 * and memory than after the first of them.
 *
 * usage: soak GROUPS */
#include "host.h"

#include <dirent.h>
#include <malloc.h>

#define MOST_GROWTH (2 << 20) /* bytes: of 9,000 groups, a leak of 250 bytes each is more */

static lua_thread a, b;

static wg_error *in_c(void *unused, wg_context *ctx) {
    (void)unused;
    return wg_context_error(ctx);
}

static const char prepare_python[] = "from cwaitgroup import *\n"
                                     "import gc\n"
                                     "def wait(g, *errors):\n"
                                     "    try:\n"
                                     "        g.wait()\n"
                                     "    except (ValueError, ForeignError):\n"
                                     "        pass\n"
                                     "def take(number, fails):\n"
                                     "    global g\n"
                                     "    g = attach(number)\n"
                                     "    if g.try_go(int, 'x' if fails else '1') is None:\n"
                                     "        raise AssertionError\n";
static const char prepare_lua[] = "function take(id, how)\n"
                                  "  g = w.attach(id)\n"
                                  "  g:thread(function() end)\n"
                                  "  g:go(function() if how == 1 then error({ code = 3 }) end end)\n"
                                  "end\n"
                                  "function wait() w.run(function() g:wait() end) g = nil end\n";

/* Of three groups one succeeds, in one Python fails, and in one Lua. */
static void one_group(int i) {
    wg_errgroup *g;
    CHECK(wg_errgroup_new(&g, &(wg_errgroup_options){.name = "soak", .continue_on_error = true}) == WG_OK);
    long long id = wg_errgroup_id(g);
    lua_begin(&a, "take(%lld, %d)", id, i % 3);
    lua_begin(&b, "take(%lld, 0)", id);
    python("take(%lld, %d)", id, i % 3 == 2);
    CHECK(wg_errgroup_go(g, in_c, NULL, NULL, NULL) == WG_OK);
    lua_finish(&a);
    lua_finish(&b);
    lua_begin(&a, "wait()");
    lua_begin(&b, "wait()");
    python("wait(g)\ndel g\n");
    CHECK(wg_errgroup_wait(g, NULL, NULL) == (i % 3 ? WG_FAILED : WG_OK));
    lua_finish(&a);
    lua_finish(&b);
    CHECK(wg_errgroup_get_counts(g).completed == 6);
    wg_errgroup_release(g);
}

static int entries_of(const char *directory) {
    int n = 0;
    DIR *dir = opendir(directory);
    CHECK(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

struct use {
    int threads, descriptors;
    size_t memory;
};

static struct use measure(void) {
    lua_run(&a, "collectgarbage() collectgarbage()");
    lua_run(&b, "collectgarbage() collectgarbage()");
    python("gc.collect()\n");
    return (struct use){entries_of("/proc/self/task"), entries_of("/proc/self/fd"), mallinfo2().uordblks};
}

int main(int argc, char **argv) {
    int groups = argc > 1 ? atoi(argv[1]) : 1000;
    PyThreadState *python_state = python_start();
    lua_start(&a, NULL);
    lua_start(&b, NULL);
    python("%s", prepare_python);
    lua_run(&a, "%s", prepare_lua);
    lua_run(&b, "%s", prepare_lua);
    for (int i = 0; i < groups / 10; i++)
        one_group(i);
    struct use before = measure();
    for (int i = 0; i < groups; i++)
        one_group(i);
    struct use after = measure();
    printf("after %d groups: %d threads, %d descriptors, %zu bytes more\n", groups, after.threads - before.threads,
           after.descriptors - before.descriptors, after.memory > before.memory ? after.memory - before.memory : 0);
    CHECK(after.threads <= before.threads + 4); /* workers come and go */
    CHECK(after.descriptors <= before.descriptors);
    CHECK(after.memory <= before.memory + MOST_GROWTH);
    python_end(python_state);
    lua_end(&a);
    lua_end(&b);
    return 0;
}
