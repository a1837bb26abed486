/* os_posix.c - os.h on POSIX systems. */
#define _GNU_SOURCE /* sched_getaffinity, where there is one */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "os.h"

static int64_t nanoseconds(clockid_t clock) {
    struct timespec t = {0, 0}; /* of a clock that is gone: no time */
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * WG_SECOND + t.tv_nsec;
}

int64_t wg_now(void) { return nanoseconds(CLOCK_MONOTONIC); }
int32_t wg_thread_clock(void) {
    clockid_t clock;
    return pthread_getcpuclockid(pthread_self(), &clock) == 0 ? (int32_t)clock : WG_PROCESS_CLOCK;
}

int64_t wg_cpu_time(int32_t clock) {
    return nanoseconds(clock == WG_PROCESS_CLOCK ? CLOCK_PROCESS_CPUTIME_ID : (clockid_t)clock);
}

unsigned wg_cores(void) {
#ifdef __linux__ /* a container or taskset may allow fewer than are online */
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        return (unsigned)CPU_COUNT(&allowed);
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}

void wg_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

struct wg_self *wg_self(void) {
    static _Thread_local struct wg_self self;
    return &self;
}

struct start {
    void (*fn)(void *arg);
    void *arg;
};

static void *run(void *raw) {
    struct start start = *(struct start *)raw;
    free(raw);
    start.fn(start.arg);
    return NULL;
}

bool wg_start_thread(void (*fn)(void *arg), void *arg) {
    struct start *start = malloc(sizeof *start);
    if (!start)
        return false;
    *start = (struct start){fn, arg};
    /* The new thread inherits the mask: signals are for the program's own threads, whose waits they interrupt. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    bool started = pthread_create(&thread, NULL, run, start) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started)
        pthread_detach(thread);
    else
        free(start);
    return started;
}
