/* clocks.h - the CPU time that the workers of a pool use.
 *
 * A worker that sleeps in a wait of this library, or idles, uses no CPU time: after one more look its clock is left alone
 * until it computes again. Of 10,000 workers that wait, a look reads none.
 *
 * All of this with the pool's lock held. */
#ifndef WG_CLOCKS_H
#define WG_CLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "list.h"

/* The clock of a worker. */
struct wg_clock {
    struct wg_link link; /* in `read` */
    int32_t clock;       /* see wg_cpu_time */
    int64_t cpu;         /* what it said when it was last read */
    bool computing;      /* the worker is in a task, and not in a wait of ours */
};

/* Those of a pool. */
struct wg_clocks {
    struct wg_link read; /* by the next look: those that have computed since the last */
    unsigned count;      /* how many these are */
};

/* That of this thread, from now on; it does not compute. */
void wg_clock_begin(struct wg_clock *clock);
/* The worker leaves. */
void wg_clock_end(struct wg_clocks *clocks, struct wg_clock *clock);

/* The worker begins, or ends, to compute. */
static inline void wg_clock_compute(struct wg_clocks *clocks, struct wg_clock *clock, bool computing) {
    clock->computing = computing;
    if (computing && !wg_is_linked(&clock->link)) {
        wg_list_append(&clocks->read, &clock->link);
        clocks->count++;
    }
}

/* The CPU time that the workers have used since the last look. One that has left meanwhile is not counted. */
int64_t wg_clocks_look(struct wg_clocks *clocks);

#endif
