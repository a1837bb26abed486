/* waits.h - which threads sleep in the library, for what, and since when: for people who look into a program that hangs.
 *
 * A record lies on the stack of the thread that sleeps, in a list of the bucket of its own address. It is linked for exactly
 * as long as the thread sleeps, and does not change meanwhile: under the lock of the bucket it may be read, with the frames
 * of the tasks that the thread runs. A path that does not sleep never comes here. */
#ifndef WG_WAITS_H
#define WG_WAITS_H

#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "list.h"

enum wg_waits_for { WG_WAITS_FOR_ZERO, WG_WAITS_FOR_SLOT, WG_WAITS_FOR_CONTEXT };

struct wg_wait_record {
    struct wg_link link;
    enum wg_waits_for what;
    const void *subject; /* the wait group, which may be that of an error group's tasks, or the context */
    int64_t since;
    int64_t deadline;             /* when the wait ends in any case; WG_FOREVER if it may never */
    const struct wg_frame *frame; /* of the innermost task that the thread runs, or NULL */
    struct wg_thread_id thread;
};

/* `what` and `subject` are set. */
void wg_wait_publish(struct wg_wait_record *record, int64_t deadline);
void wg_wait_withdraw(struct wg_wait_record *record);

#endif
