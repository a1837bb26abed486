/* tbb.cpp - oneTBB's task_group. */
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include "bench.h"

namespace {

void run_empty(long n) {
    tbb::task_group group;
    for (long i = 0; i < n; i++)
        group.run([] {});
    group.wait();
}

void million_tasks(benchmark::State &state) {
    run_empty(bench::million);
    for (auto _ : state)
        run_empty(bench::million);
}
BENCHMARK(million_tasks)->Name("million_tasks/TBB")->Apply(bench::once);

void one_task(benchmark::State &state) {
    for (auto _ : state)
        run_empty(1);
}
BENCHMARK(one_task)->Name("one_task/TBB")->UseRealTime();

/* An arena without workers: its tasks stay queued until the wait. */
void queued_resident(benchmark::State &state) {
    tbb::task_arena alone(1);
    for (auto _ : state)
        alone.execute([&] {
            tbb::task_group group;
            double before = bench::resident();
            for (long i = 0; i < bench::queued; i++)
                group.run([] {});
            state.counters["value"] = (bench::resident() - before) / bench::queued;
            group.wait();
        });
}
BENCHMARK(queued_resident)->Name("queued_resident/TBB")->Apply(bench::once);

} // namespace
