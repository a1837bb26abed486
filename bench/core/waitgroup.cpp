/* waitgroup.cpp - this library. */
#include <dirent.h>
#include <malloc.h>
#include <waitgroup.h>

#include "bench.h"

namespace {

void check(wg_status status) {
    if (status != WG_OK) {
        fprintf(stderr, "waitgroup: %s\n", wg_strstatus(status));
        abort();
    }
}

wg_error *nothing(void *, wg_context *) { return nullptr; }

wg_errgroup *new_group(wg_pool *pool = nullptr, int limit = 0) {
    wg_errgroup_options options{};
    options.pool = pool;
    options.limit = limit;
    wg_errgroup *g;
    check(wg_errgroup_new(&g, &options));
    return g;
}

void finish(wg_errgroup *g) {
    check(wg_errgroup_wait(g, nullptr, nullptr));
    wg_errgroup_release(g);
}

void add_done(benchmark::State &state) {
    static wg_waitgroup wg = WG_INIT;
    for (auto _ : state) {
        wg_add(&wg, 1);
        wg_done(&wg);
    }
}
BENCHMARK(add_done)->Name("add_done/waitgroup")->UseRealTime();
BENCHMARK(add_done)->Name("add_done_two/waitgroup")->Threads(2)->UseRealTime();

void wait_zero(benchmark::State &state) {
    wg_waitgroup wg = WG_INIT;
    for (auto _ : state)
        benchmark::DoNotOptimize(wg_wait(&wg, nullptr));
}
BENCHMARK(wait_zero)->Name("wait_zero/waitgroup")->UseRealTime();

void status(benchmark::State &state, bool cancelled) {
    wg_context *ctx;
    check(wg_context_new(&ctx, nullptr, WG_FOREVER));
    if (cancelled)
        check(wg_context_cancel(ctx, nullptr));
    for (auto _ : state)
        benchmark::DoNotOptimize(wg_context_status(ctx));
    wg_context_release(ctx);
}
BENCHMARK_CAPTURE(status, live, false)->Name("status_live/waitgroup")->UseRealTime();
BENCHMARK_CAPTURE(status, cancelled, true)->Name("status_cancelled/waitgroup")->UseRealTime();

void child_context(benchmark::State &state) {
    wg_context *parent;
    check(wg_context_new(&parent, nullptr, WG_FOREVER));
    for (auto _ : state) {
        wg_context *child;
        wg_context_new(&child, parent, WG_FOREVER);
        wg_context_cancel(child, nullptr);
        wg_context_release(child);
    }
    wg_context_release(parent);
}
BENCHMARK(child_context)->Name("child_context/waitgroup")->UseRealTime();

void run_empty(long n, int limit = 0) {
    wg_errgroup *g = new_group(nullptr, limit);
    for (long i = 0; i < n; i++)
        check(wg_errgroup_go(g, nothing, nullptr, nullptr, nullptr));
    finish(g);
}

void million_tasks(benchmark::State &state) {
    run_empty(bench::million);
    for (auto _ : state)
        run_empty(bench::million);
}
BENCHMARK(million_tasks)->Name("million_tasks/waitgroup")->Apply(bench::once);

void limited_tasks(benchmark::State &state) {
    run_empty(bench::limited, 2);
    for (auto _ : state)
        run_empty(bench::limited, 2);
}
BENCHMARK(limited_tasks)->Name("limited_tasks/waitgroup")->Apply(bench::once);

void one_task(benchmark::State &state) {
    for (auto _ : state)
        run_empty(1);
}
BENCHMARK(one_task)->Name("one_task/waitgroup")->UseRealTime();

wg_error *meet(void *all, wg_context *) {
    wg_done(static_cast<wg_waitgroup *>(all));
    wg_wait(static_cast<wg_waitgroup *>(all), nullptr);
    return nullptr;
}

void run_meeting() {
    wg_waitgroup all = WG_INIT;
    wg_add(&all, bench::thousand);
    wg_errgroup *g = new_group();
    for (int i = 0; i < bench::thousand; i++)
        check(wg_errgroup_go(g, meet, &all, nullptr, nullptr));
    finish(g);
}

void meeting(benchmark::State &state) {
    for (auto _ : state)
        run_meeting();
}
BENCHMARK(meeting)->Name("meeting/waitgroup")->Apply(bench::once);

struct wait_groups {
    wg_waitgroup called = WG_INIT, answered = WG_INIT;
    bool last = false;
    wait_groups() { wg_add(&called, 1); }
    void call() {
        wg_add(&answered, 1);
        wg_done(&called);
        wg_wait(&answered, nullptr);
    }
    bool answer() {
        wg_wait(&called, nullptr);
        if (last)
            return false;
        wg_add(&called, 1);
        wg_done(&answered);
        return true;
    }
    void last_call() {
        last = true;
        wg_done(&called);
    }
};
BENCHMARK(bench::ping_pong<wait_groups>)->Name("wake_same_core/waitgroup")->Arg(0)->UseRealTime();
BENCHMARK(bench::ping_pong<wait_groups>)->Name("wake_other_core/waitgroup")->Arg(1)->UseRealTime();

void object_size(benchmark::State &state) {
    for (auto _ : state) {}
    state.counters["value"] = sizeof(wg_waitgroup);
}
BENCHMARK(object_size)->Name("object_size/waitgroup")->Apply(bench::once);

/* A pool whose threads never come, so that tasks stay queued. */
std::atomic<int> promised;
bool promise(void *, wg_pool *) {
    promised++;
    return true;
}

template <class F> void queue_tasks(benchmark::State &state, F bytes) {
    for (auto _ : state) {
        wg_pool_host host{};
        host.start = promise;
        wg_pool *pool;
        check(wg_pool_new(&pool, &host));
        wg_errgroup *g = new_group(pool);
        double before = bytes();
        for (long i = 0; i < bench::queued; i++)
            check(wg_errgroup_go(g, nothing, nullptr, nullptr, nullptr));
        state.counters["value"] = (bytes() - before) / bench::queued;
        wg_pool_stop(pool);
        for (; promised > 0; promised--)
            wg_pool_work_failed(pool);
        wg_errgroup_wait(g, nullptr, nullptr);
        wg_errgroup_release(g);
        wg_pool_release(pool);
    }
}

double allocated() {
    struct mallinfo2 m = mallinfo2();
    return double(m.uordblks) + double(m.hblkhd);
}

void queued_malloc(benchmark::State &state) { queue_tasks(state, allocated); }
void queued_resident(benchmark::State &state) { queue_tasks(state, bench::resident); }
BENCHMARK(queued_malloc)->Name("queued_malloc/waitgroup")->Apply(bench::once);
BENCHMARK(queued_resident)->Name("queued_resident/waitgroup")->Apply(bench::once);

int threads() {
    int n = 0;
    if (DIR *tasks = opendir("/proc/self/task")) {
        while (struct dirent *entry = readdir(tasks))
            n += entry->d_name[0] != '.';
        closedir(tasks);
    }
    return n;
}

/* The threads of this process after a thousand tasks and twice the idle time of five seconds, or before that once only
 * this one is left. */
void threads_left(benchmark::State &state) {
    for (auto _ : state) {
        run_meeting();
        for (int64_t end = wg_after(10 * WG_SECOND); wg_now() < end && threads() > 1;)
            usleep(50000);
    }
    state.counters["value"] = threads();
}
BENCHMARK(threads_left)->Name("threads_left/waitgroup")->Apply(bench::once);

} // namespace
