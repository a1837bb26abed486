/* nsync.cpp - nsync's counter and note. */
#include <nsync.h>

#include "bench.h"

using namespace nsync;

namespace {

void add_done(benchmark::State &state) {
    static nsync_counter counter = nsync_counter_new(0);
    for (auto _ : state) {
        nsync_counter_add(counter, 1);
        nsync_counter_add(counter, -1);
    }
}
BENCHMARK(add_done)->Name("add_done/nsync")->UseRealTime();
BENCHMARK(add_done)->Name("add_done_two/nsync")->Threads(2)->UseRealTime();

void wait_zero(benchmark::State &state) {
    nsync_counter counter = nsync_counter_new(0);
    for (auto _ : state)
        benchmark::DoNotOptimize(nsync_counter_wait(counter, nsync_time_no_deadline));
    nsync_counter_free(counter);
}
BENCHMARK(wait_zero)->Name("wait_zero/nsync")->UseRealTime();

void status(benchmark::State &state, bool cancelled) {
    nsync_note note = nsync_note_new(nullptr, nsync_time_no_deadline);
    if (cancelled)
        nsync_note_notify(note);
    for (auto _ : state)
        benchmark::DoNotOptimize(nsync_note_is_notified(note));
    nsync_note_free(note);
}
BENCHMARK_CAPTURE(status, live, false)->Name("status_live/nsync")->UseRealTime();
BENCHMARK_CAPTURE(status, cancelled, true)->Name("status_cancelled/nsync")->UseRealTime();

void child_context(benchmark::State &state) {
    nsync_note parent = nsync_note_new(nullptr, nsync_time_no_deadline);
    for (auto _ : state) {
        nsync_note child = nsync_note_new(parent, nsync_time_no_deadline);
        nsync_note_notify(child);
        nsync_note_free(child);
    }
    nsync_note_free(parent);
}
BENCHMARK(child_context)->Name("child_context/nsync")->UseRealTime();

} // namespace
