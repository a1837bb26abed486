/* system.cpp - what the machine itself gives: atomic steps, raw threads and a bare futex. */
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <waitgroup.h>

#include "bench.h"

namespace {

std::atomic<uint64_t> word;

void atomic_add(benchmark::State &state) {
    for (auto _ : state) {
        word.fetch_add(1);
        word.fetch_sub(1);
    }
}
BENCHMARK(atomic_add)->Name("add_done/bare atomic add")->UseRealTime();
BENCHMARK(atomic_add)->Name("add_done_two/bare atomic add")->Threads(2)->UseRealTime();

/* The least that can refuse a step without changing anything. */
void step(uint64_t by) {
    for (uint64_t now = word.load(std::memory_order_relaxed); !word.compare_exchange_weak(now, now + by);) {}
}

void atomic_cas(benchmark::State &state) {
    for (auto _ : state) {
        step(1);
        step(uint64_t(0) - 1);
    }
}
BENCHMARK(atomic_cas)->Name("add_done/bare CAS")->UseRealTime();
BENCHMARK(atomic_cas)->Name("add_done_two/bare CAS")->Threads(2)->UseRealTime();

/* The same meeting as the tasks' have, so that only the threads differ. */
void *meet(void *all) {
    wg_done(static_cast<wg_waitgroup *>(all));
    wg_wait(static_cast<wg_waitgroup *>(all), nullptr);
    return nullptr;
}

void meeting(benchmark::State &state) {
    static pthread_t threads[bench::thousand];
    for (auto _ : state) {
        wg_waitgroup all = WG_INIT;
        wg_add(&all, bench::thousand);
        for (auto &thread : threads)
            if (pthread_create(&thread, nullptr, meet, &all) != 0) {
                fprintf(stderr, "pthread: the system gives fewer than %d threads\n", bench::thousand);
                abort();
            }
        for (auto thread : threads)
            pthread_join(thread, nullptr);
    }
}
BENCHMARK(meeting)->Name("meeting/pthread")->Apply(bench::once);

struct flag {
    std::atomic<uint32_t> word{0};
    void set() {
        word.store(1, std::memory_order_release);
        syscall(SYS_futex, &word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, nullptr, nullptr, 0);
    }
    void await() {
        while (word.load(std::memory_order_acquire) == 0)
            syscall(SYS_futex, &word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, nullptr, nullptr, 0);
        word.store(0, std::memory_order_relaxed);
    }
};

struct futexes {
    flag called, answered;
    bool last = false;
    void call() {
        called.set();
        answered.await();
    }
    bool answer() {
        called.await();
        if (last)
            return false;
        answered.set();
        return true;
    }
    void last_call() {
        last = true;
        called.set();
    }
};
BENCHMARK(bench::ping_pong<futexes>)->Name("wake_same_core/futex")->Arg(0)->UseRealTime();
BENCHMARK(bench::ping_pong<futexes>)->Name("wake_other_core/futex")->Arg(1)->UseRealTime();

} // namespace
