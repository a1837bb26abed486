/* latch.cpp - std::latch. It counts down only, so it does half the work of add + done. */
#include <climits>
#include <latch>

#include "bench.h"

namespace {

void count_down(benchmark::State &state) {
    static std::latch *latch;
    if (state.thread_index() == 0)
        latch = new std::latch(INT_MAX);
    for (auto _ : state)
        latch->count_down();
    if (state.thread_index() == 0)
        delete latch;
}
BENCHMARK(count_down)->Name("add_done/std::latch")->UseRealTime();
BENCHMARK(count_down)->Name("add_done_two/std::latch")->Threads(2)->UseRealTime();

void wait_zero(benchmark::State &state) {
    std::latch latch(0);
    for (auto _ : state) {
        latch.wait();
        benchmark::ClobberMemory();
    }
}
BENCHMARK(wait_zero)->Name("wait_zero/std::latch")->UseRealTime();

void object_size(benchmark::State &state) {
    for (auto _ : state) {}
    state.counters["value"] = sizeof(std::latch);
}
BENCHMARK(object_size)->Name("object_size/std::latch")->Apply(bench::once);

} // namespace
