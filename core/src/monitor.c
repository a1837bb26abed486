/* monitor.c - see monitor.h. */
#include "monitor.h"

/* Or a quarter of the workers there are, so that as many as are missing come in few bursts, however many. */
#define LARGEST_BURST 64
/* Ticks without any task taken, cores busy, after which one worker is added all the same. */
#define STALE_TICKS 20

/* What `cores` cores give in a time, less half a core: the use of a clock is not that exact. */
static int64_t given(int64_t elapsed, unsigned cores) { return elapsed * cores - elapsed / 2; }

static void remember(struct wg_monitor *monitor, const struct wg_load *load) {
    monitor->seen_time = load->now;
    monitor->seen_cpu = load->process_cpu;
    monitor->seen_taken = load->taken;
}

void wg_monitor_begin(struct wg_monitor *monitor, const struct wg_load *load) {
    *monitor = (struct wg_monitor){.tick = WG_SHORTEST_TICK, .burst = 1};
    remember(monitor, load);
}

static unsigned next_burst(struct wg_monitor *monitor, const struct wg_load *load) {
    unsigned n = monitor->burst < load->queued ? monitor->burst : (unsigned)load->queued;
    if (monitor->burst < LARGEST_BURST || monitor->burst < load->workers / 4)
        monitor->burst *= 2;
    return n;
}

unsigned wg_monitor_missing(struct wg_monitor *monitor, const struct wg_load *load, unsigned all_cores, bool *spare) {
    int64_t elapsed = load->now - monitor->seen_time, by_process = load->process_cpu - monitor->seen_cpu;
    uint64_t taken = load->taken - monitor->seen_taken;
    int64_t all = given(elapsed, load->cores);
    /* Other threads, such as one that submits, may have the cores: then it is no fault if the queue moves. */
    bool blocked = load->workers_cpu < all && (by_process < all || taken <= load->workers);
    bool stale = taken == 0 && ++monitor->stale >= STALE_TICKS;
    *spare = by_process <= given(elapsed, all_cores);
    remember(monitor, load);
    if (taken > 0 || stale)
        monitor->stale = 0;
    if (blocked) {
        monitor->tick = WG_SHORTEST_TICK;
        return next_burst(monitor, load);
    }
    monitor->burst = 1;
    monitor->tick = monitor->tick * 2 < WG_LONGEST_TICK ? monitor->tick * 2 : WG_LONGEST_TICK;
    return stale ? 1 : 0;
}
