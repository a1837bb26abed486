/* clocks.c - see clocks.h. */
#include "clocks.h"

#include "os.h"

void wg_clock_begin(struct wg_clock *clock) {
    *clock = (struct wg_clock){.clock = wg_thread_clock()};
    clock->cpu = wg_cpu_time(clock->clock);
}

void wg_clock_end(struct wg_clocks *clocks, struct wg_clock *clock) {
    if (wg_list_remove(&clock->link))
        clocks->count--;
}

int64_t wg_clocks_look(struct wg_clocks *clocks) {
    int64_t used = 0;
    for (struct wg_link *link = wg_list_first(&clocks->read), *next; link; link = next) {
        struct wg_clock *clock = WG_MEMBER(link, struct wg_clock, link);
        int64_t cpu = wg_cpu_time(clock->clock);
        next = wg_list_after(&clocks->read, link);
        used += cpu - clock->cpu;
        clock->cpu = cpu;
        if (!clock->computing)
            wg_clock_end(clocks, clock);
    }
    return used;
}
