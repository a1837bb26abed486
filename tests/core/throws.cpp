// A C++ exception leaves a task: test_install.c runs this once for each place. Ends with status 42 if std::terminate was
// called, although a handler stands further out on the stack.
#include <waitgroup.h>

#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>

static void terminated() { std::_Exit(42); }

static wg_error *throws(void *, wg_context *) { throw std::runtime_error("out of a task"); }
static wg_error *nothing(void *, wg_context *) { return nullptr; }
static void throws_too(void *) { throw 1; }

int main(int argc, char **argv) {
    const std::string where = argc == 2 ? argv[1] : "";
    const wg_until a_minute = {wg_after(60 * WG_SECOND), nullptr, false, nullptr, nullptr, 0};
    wg_errgroup *g;
    std::set_terminate(terminated);
    if (wg_errgroup_new(&g, nullptr) != WG_OK)
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
        }
    } catch (...) {
        return 3;
    }
    return 4;
}
