// A C++ exception leaves a task, or another function that the library calls: test_install.c runs this once for each place.
// Ends with status 42 if std::terminate was called, although a handler stands further out on the stack.
#include <waitgroup.h>

#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>

static void terminated() { std::_Exit(42); }

static wg_error *throws(void *, wg_context *) { throw std::runtime_error("out of a task"); }
static wg_error *nothing(void *, wg_context *) { return nullptr; }
static wg_error *until_cancelled(void *, wg_context *ctx) {
    wg_context_wait(ctx, nullptr);
    return nullptr;
}
static void throws_too(void *) { throw 1; }
static const char *throws_a_text(void *) { throw 1; }
static bool throws_a_thread(void *, wg_pool *) { throw 1; }
static void throws_a_look(void *, const char *, int64_t) { throw 1; }
static const wg_error_type bad_type = {"C++", throws_too, throws_a_text, throws_a_text, nullptr};

// In calls that the program's own thread makes.
static void in_a_call(const std::string &where, wg_errgroup *g) {
    wg_error *error = wg_error_of_type(&bad_type, WG_ERROR_FAILURE, nullptr);
    if (where == "release") {
        wg_error_release(error);
    } else if (where == "text") {
        wg_error_text(error);
    } else if (where == "traceback") {
        wg_error_traceback(error);
    } else if (where == "group") {
        if (wg_errgroup_enter(g) == WG_OK && wg_errgroup_leave(g, error) == WG_OK)
            wg_errgroup_release(g);
    } else if (where == "start") {
        wg_waitgroup wg = WG_INIT;
        wg_pool *pool;
        wg_pool_host host = {};
        host.start = throws_a_thread;
        if (wg_pool_new(&pool, &host) == WG_OK && wg_go(&wg, pool, throws_too, nullptr, nullptr) == WG_OK)
            wg_wait(&wg, nullptr);
    } else if (where == "running") {
        if (wg_errgroup_go(g, until_cancelled, nullptr, nullptr, nullptr) == WG_OK)
            while (wg_errgroup_running(g, throws_a_look, nullptr) == 0) {}
    }
}

int main(int argc, char **argv) {
    const std::string where = argc == 2 ? argv[1] : "";
    wg_until a_minute = {};
    a_minute.deadline = wg_after(60 * WG_SECOND);
    wg_errgroup *g;
    wg_errgroup_options options = {};
    options.track = true;
    std::set_terminate(terminated);
    if (wg_errgroup_new(&g, &options) != WG_OK)
        return 1;
    try {
        if (where == "worker") {
            if (wg_errgroup_go(g, throws, nullptr, nullptr, nullptr) == WG_OK)
                wg_errgroup_wait(g, &a_minute, nullptr);
        } else if (where == "helper") { // one of many is run by this thread
            for (int i = 0; i < 1000; i++)
                if (wg_errgroup_go(g, i == 999 ? throws : nothing, nullptr, nullptr, nullptr) != WG_OK)
                    return 2;
            wg_errgroup_wait(g, nullptr, nullptr);
        } else if (where == "destroy") {
            if (wg_errgroup_go(g, nothing, nullptr, throws_too, nullptr) == WG_OK)
                wg_errgroup_wait(g, nullptr, nullptr);
        } else if (where == "observer") {
            wg_waitgroup wg = WG_INIT;
            wg_observer observer;
            wg_add(&wg, 1);
            wg_event_observe(wg_zero(&wg), &observer, throws_too, nullptr);
            wg_done(&wg);
        } else {
            in_a_call(where, g);
        }
    } catch (...) {
        return 3;
    }
    return 4;
}
