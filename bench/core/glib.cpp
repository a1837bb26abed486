/* glib.cpp - GLib's GThreadPool, with a thread for each core. */
#include <glib.h>

#include <cstdlib>

#include "bench.h"

namespace {

void nothing(void *, void *) {}

/* Not exclusive: its threads come from GLib's store of idle ones, as ours do from the pool. Freed: all tasks have ended. */
void run_empty(long n) {
    static int task;
    GThreadPool *pool = g_thread_pool_new(nothing, nullptr, int(g_get_num_processors()), false, nullptr);
    for (long i = 0; i < n; i++)
        if (!g_thread_pool_push(pool, &task, nullptr))
            abort();
    g_thread_pool_free(pool, false, true);
}

void million_tasks(benchmark::State &state) {
    run_empty(bench::million);
    for (auto _ : state)
        run_empty(bench::million);
}
BENCHMARK(million_tasks)->Name("million_tasks/GThreadPool")->Apply(bench::once);

void one_task(benchmark::State &state) {
    for (auto _ : state)
        run_empty(1);
}
BENCHMARK(one_task)->Name("one_task/GThreadPool")->UseRealTime();

} // namespace
