/* growth.cpp - one point of a curve. usage: growth WORK SUBJECT N; prints nanoseconds for each of N. curves.py lists the works. */
#include <glib.h>
#include <nsync.h>
#include <pthread.h>
#include <waitgroup.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

namespace {

void check(wg_status status) {
    if (status != WG_OK) {
        fprintf(stderr, "growth: %s\n", wg_strstatus(status));
        exit(1);
    }
}

double timed(const std::function<void()> &work) {
    int64_t start = wg_now();
    work();
    return double(wg_now() - start);
}

wg_errgroup *new_group() {
    wg_errgroup *g;
    check(wg_errgroup_new(&g, nullptr));
    return g;
}

void finish(wg_errgroup *g) {
    check(wg_errgroup_wait(g, nullptr, nullptr));
    wg_errgroup_release(g);
}

/* N tasks that do nothing. */

double tasks_ours(long n) {
    return timed([n] {
               wg_errgroup *g = new_group();
               for (long i = 0; i < n; i++)
                   check(wg_errgroup_go(
                       g, [](void *, wg_context *) -> wg_error * { return nullptr; }, nullptr, nullptr, nullptr));
               finish(g);
           }) /
           double(n);
}

double tasks_glib(long n) {
    return timed([n] {
               GThreadPool *pool =
                   g_thread_pool_new([](void *, void *) {}, nullptr, int(g_get_num_processors()), false, nullptr);
               for (long i = 0; i < n; i++)
                   g_thread_pool_push(pool, &pool, nullptr);
               g_thread_pool_free(pool, false, true);
           }) /
           double(n);
}

/* N that wait on one wait group, until they have all started. */

wg_waitgroup arrived = WG_INIT, gate = WG_INIT;

void arrive_and_wait() {
    check(wg_done(&arrived));
    check(wg_wait(&gate, nullptr));
}

double until_all_wait(long n, const std::function<void()> &start) {
    check(wg_add(&arrived, n));
    check(wg_add(&gate, 1));
    return timed([&] {
               start();
               check(wg_wait(&arrived, nullptr));
           }) /
           double(n);
}

double waiters_ours(long n) {
    wg_errgroup *g = new_group();
    auto wait = [](void *, wg_context *) -> wg_error * {
        arrive_and_wait();
        return nullptr;
    };
    double took = until_all_wait(n, [&] {
        for (long i = 0; i < n; i++)
            check(wg_errgroup_go(g, wait, nullptr, nullptr, nullptr));
    });
    check(wg_done(&gate));
    finish(g);
    return took;
}

double waiters_pthread(long n) {
    std::vector<std::thread> threads;
    double took = until_all_wait(n, [&] {
        for (long i = 0; i < n; i++)
            threads.emplace_back(arrive_and_wait);
    });
    check(wg_done(&gate));
    for (auto &thread : threads)
        thread.join();
    return took;
}

/* Groups in tasks of groups, N deep; and threads that start a thread. */

wg_error *nest_group(void *depth, wg_context *) {
    auto left = reinterpret_cast<intptr_t>(depth);
    if (left > 0) {
        wg_errgroup *g = new_group();
        check(wg_errgroup_go(g, nest_group, reinterpret_cast<void *>(left - 1), nullptr, nullptr));
        finish(g);
    }
    return nullptr;
}

void nest_thread(long left) {
    if (left > 0)
        std::thread(nest_thread, left - 1).join();
}

double nested_ours(long n) {
    return timed([n] { nest_group(reinterpret_cast<void *>(n), nullptr); }) / double(n);
}
double nested_pthread(long n) {
    return timed([n] { nest_thread(n); }) / double(n);
}

/* N children of one parent: made, cancelled by it, freed. */

double contexts_ours(long n) {
    std::vector<wg_context *> children(size_t(n), nullptr);
    return timed([&] {
               wg_context *parent;
               check(wg_context_new(&parent, nullptr, WG_FOREVER));
               for (auto &child : children)
                   check(wg_context_new(&child, parent, WG_FOREVER));
               check(wg_context_cancel(parent, nullptr));
               for (auto child : children)
                   wg_context_release(child);
               wg_context_release(parent);
           }) /
           double(n);
}

double contexts_nsync(long n) {
    std::vector<nsync::nsync_note> children(size_t(n), nullptr);
    return timed([&] {
               nsync::nsync_note parent = nsync::nsync_note_new(nullptr, nsync::nsync_time_no_deadline);
               for (auto &child : children)
                   child = nsync::nsync_note_new(parent, nsync::nsync_time_no_deadline);
               nsync::nsync_note_notify(parent);
               for (auto child : children)
                   nsync::nsync_note_free(child);
               nsync::nsync_note_free(parent);
           }) /
           double(n);
}

/* N threads that step one counter up and down. */

constexpr long steps = 400000; /* by all threads together */

double stepped(long n, const std::function<void()> &step) {
    return timed([&] {
               std::vector<std::thread> threads;
               for (long i = 0; i < n; i++)
                   threads.emplace_back([&] {
                       for (long j = 0; j < steps / n; j++)
                           step();
                   });
               for (auto &thread : threads)
                   thread.join();
           }) /
           steps;
}

double threads_ours(long n) {
    wg_waitgroup wg = WG_INIT;
    return stepped(n, [&wg] {
        wg_add(&wg, 1);
        wg_done(&wg);
    });
}

double threads_atomic(long n) {
    std::atomic<uint64_t> word{0};
    return stepped(n, [&word] {
        word.fetch_add(1);
        word.fetch_sub(1);
    });
}

const struct {
    const char *work, *subject;
    double (*measure)(long n);
} points[] = {
    {"tasks", "waitgroup", tasks_ours},       {"tasks", "GThreadPool", tasks_glib},
    {"waiters", "waitgroup", waiters_ours},   {"waiters", "threads", waiters_pthread},
    {"nested", "waitgroup", nested_ours},     {"nested", "threads", nested_pthread},
    {"contexts", "waitgroup", contexts_ours}, {"contexts", "nsync", contexts_nsync},
    {"threads", "waitgroup", threads_ours},   {"threads", "bare atomic add", threads_atomic},
};

} // namespace

int main(int argc, char **argv) {
    for (auto &point : points)
        if (argc == 4 && strcmp(argv[1], point.work) == 0 && strcmp(argv[2], point.subject) == 0) {
            printf("%g\n", point.measure(atol(argv[3])));
            return 0;
        }
    fprintf(stderr, "usage: growth WORK SUBJECT N\n");
    return 2;
}
