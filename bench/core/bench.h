/* bench.h - what the subjects share. A benchmark's name is "work/subject"; works.py lists the works. */
#ifndef BENCH_H
#define BENCH_H

#include <benchmark/benchmark.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <thread>

namespace bench {

constexpr long million = 1000000;
constexpr long limited = 100000; /* tasks under a limit */
constexpr int thousand = 1000;
constexpr long queued = 200000;

/* A benchmark that runs once in its process: it is long enough, or is to start cold. */
inline void once(benchmark::internal::Benchmark *b) { b->UseRealTime()->Iterations(1)->Unit(benchmark::kMillisecond); }

/* Bytes of this process that are in memory. */
inline double resident() {
    long pages = 0, ignored = 0;
    if (FILE *f = fopen("/proc/self/statm", "r")) {
        if (fscanf(f, "%ld %ld", &ignored, &pages) != 2)
            pages = 0;
        fclose(f);
    }
    return double(pages) * double(sysconf(_SC_PAGESIZE));
}

/* The `nth` of the cores that this process may use; -1 if it has no such core. */
inline int core(int nth) {
    cpu_set_t mine;
    if (sched_getaffinity(0, sizeof mine, &mine) == 0)
        for (int c = 0; c < CPU_SETSIZE; c++)
            if (CPU_ISSET(c, &mine) && nth-- == 0)
                return c;
    return -1;
}

inline void pin(int c) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(c, &set);
    sched_setaffinity(0, sizeof set, &set);
}

/* Two threads wake each other in turn; an iteration is a round trip. `P` has: call(), by this thread, which wakes the
 * other and sleeps until it answers; answer(), by the other, which sleeps until called and then wakes this one; and
 * last_call(), a call that expects no answer, after which answer() returns false. state.range(0): on which core, counted
 * among those of this process, the other thread runs; this one runs on the first. */
template <class P> void ping_pong(benchmark::State &state) {
    int here = core(0), there = core(int(state.range(0)));
    if (there < 0) {
        state.SkipWithError("this process has too few cores");
        return;
    }
    P pair;
    cpu_set_t before;
    sched_getaffinity(0, sizeof before, &before);
    pin(here);
    std::thread other([&] {
        pin(there);
        while (pair.answer()) {}
    });
    for (auto _ : state)
        pair.call();
    pair.last_call();
    other.join();
    sched_setaffinity(0, sizeof before, &before);
}

} // namespace bench
#endif
