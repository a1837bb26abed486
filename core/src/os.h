/* os.h - what else the core asks of the operating system: time, threads, the thread's own data, descriptors. */
#ifndef WG_OS_H
#define WG_OS_H

#include <stdbool.h>
#include <stdint.h>

#include "waitgroup/until.h" /* wg_now */

/* What the core remembers of a thread. */
struct wg_self {
    struct wg_frame *frame;   /* the innermost task that this thread runs, or NULL; see errgroup.c */
    struct wg_worker *worker; /* if it is a worker of a pool; see pool.c */
    unsigned helping;         /* how deep tasks run inside waits on this stack */
};
struct wg_self *wg_self(void);

/* CPU time in nanoseconds: of the whole process, and of one thread, which other threads may ask for while it runs. */
#define WG_PROCESS_CLOCK INT32_MIN
int32_t wg_thread_clock(void);
int64_t wg_cpu_time(int32_t clock);

/* How many threads can run at once. */
unsigned wg_cores(void);

/* One step of a busy loop. */
void wg_pause(void);

/* Start a detached thread that handles no signals; false if none can be had. */
bool wg_start_thread(void (*fn)(void *arg), void *arg);

/* A descriptor that can be made readable. On an eventfd both are the same number. */
struct wg_signal {
    int readable, writable;
};
bool wg_signal_open(struct wg_signal *s);
void wg_signal_raise(const struct wg_signal *s);
void wg_signal_clear(const struct wg_signal *s);
void wg_signal_close(const struct wg_signal *s);

#endif
