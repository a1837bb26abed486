/* monitor.h - how many workers a pool lacks, though as many compute as there are cores.
 *
 * A task may block in a way that the library does not see. The monitor, a worker that sleeps in ticks, compares the CPU time
 * that the workers have used during a tick with what the cores could have given. If they have used less, by half a core or
 * more, though work is queued, tasks are blocked: workers are added, in bursts that double. If the cores are busy and
 * nothing was taken for many ticks, one worker is added all the same: progress for everybody. If other threads have the
 * cores, it is no fault as long as the queue moves.
 *
 * Go's sysmon does as much for threads in system calls. What it watches is one thread at a time; here the sum is enough, since
 * any worker can take any task. */
#ifndef WG_MONITOR_H
#define WG_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

#include "waitgroup/until.h"

#define WG_SHORTEST_TICK (WG_MILLISECOND / 2)
#define WG_LONGEST_TICK (8 * WG_MILLISECOND)

/* Guarded by the pool's lock. Zeroed at first. */
struct wg_monitor {
    int64_t tick; /* how long the next one is to be */
    int64_t seen_time, seen_cpu;
    uint64_t seen_taken;
    unsigned burst; /* how many workers to add the next time */
    unsigned stale; /* ticks since any work was taken */
};

/* What the pool knows at the end of a tick. */
struct wg_load {
    int64_t now, process_cpu; /* the clock, and the CPU time of the process */
    int64_t workers_cpu;      /* the CPU time that the workers have used since the last tick */
    uint64_t taken;           /* works taken, ever */
    unsigned long queued;
    unsigned workers, cores;
};

/* Has nobody looked for so long that the next tick would be measured from nothing? */
static inline bool wg_monitor_is_old(const struct wg_monitor *monitor, int64_t now) {
    return now - monitor->seen_time > 2 * WG_LONGEST_TICK;
}

/* Begin afresh: *load is what the first tick is measured from. */
void wg_monitor_begin(struct wg_monitor *monitor, const struct wg_load *load);

/* How many workers are missing, and how long the next tick is to be. *spare, if `all_cores` cores of the machine were not all
 * in use, is set: tasks of a pool under an interpreter lock may then run beside those that compute without that lock. */
unsigned wg_monitor_missing(struct wg_monitor *monitor, const struct wg_load *load, unsigned all_cores, bool *spare);

#endif
