/* libuv.cpp - libuv's thread pool, with its default of four threads. */
#include <semaphore.h>
#include <uv.h>

#include <cstdlib>

#include "bench.h"

namespace {

void nothing(uv_work_t *) {}
void release(uv_work_t *work, int) { free(work); }

void queue(uv_loop_t *loop, long n, uv_work_cb fn) {
    for (long i = 0; i < n; i++) {
        auto *work = static_cast<uv_work_t *>(malloc(sizeof(uv_work_t)));
        if (!work || uv_queue_work(loop, work, fn, release) != 0)
            abort();
    }
}

void million_tasks(benchmark::State &state) {
    uv_loop_t loop;
    uv_loop_init(&loop);
    queue(&loop, bench::million, nothing);
    uv_run(&loop, UV_RUN_DEFAULT);
    for (auto _ : state) {
        queue(&loop, bench::million, nothing);
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    uv_loop_close(&loop);
}
BENCHMARK(million_tasks)->Name("million_tasks/libuv")->Apply(bench::once);

void one_task(benchmark::State &state) {
    uv_loop_t loop;
    uv_loop_init(&loop);
    for (auto _ : state) {
        queue(&loop, 1, nothing);
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    uv_loop_close(&loop);
}
BENCHMARK(one_task)->Name("one_task/libuv")->UseRealTime();

sem_t gate;
void pass_gate(uv_work_t *) { sem_wait(&gate); }

void queued_resident(benchmark::State &state) {
    constexpr long threads = 4;
    uv_loop_t loop;
    uv_loop_init(&loop);
    sem_init(&gate, 0, 0);
    for (auto _ : state) {
        queue(&loop, threads, pass_gate);
        double before = bench::resident();
        queue(&loop, bench::queued, nothing);
        state.counters["value"] = (bench::resident() - before) / bench::queued;
        for (long i = 0; i < threads; i++)
            sem_post(&gate);
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    uv_loop_close(&loop);
}
BENCHMARK(queued_resident)->Name("queued_resident/libuv")->Apply(bench::once);

} // namespace
