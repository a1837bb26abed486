/* thread.h - what the core remembers of a thread.
 *
 * Each field belongs to the thread: no other thread reads it. What runs tasks in a thread says so by `worker` and `blocks`, so
 * that a wait tells it without knowing pools. */
#ifndef WG_THREAD_H
#define WG_THREAD_H

#include <stdbool.h>
#include <stdint.h>

struct wg_thread {
    struct wg_frame *frame;   /* the innermost task that this thread runs, or NULL; see frame.h */
    struct wg_worker *worker; /* if it is a worker of a pool; see worker.c */
    void (*blocks)(
        bool begins);   /* told by a wait of the library, with no lock held, before this thread sleeps and when it
                                    has woken: its core is free meanwhile. NULL: nobody wants to know */
    unsigned helping;   /* how deep tasks run inside waits on this stack */
    bool keeps_time;    /* it is the thread that keeps deadlines; see timer.c */
    uint32_t traced;    /* the timeline in which its name is; see trace.h */
    char name[32];      /* under which a timeline shows it; "": as the system does */
    uintptr_t stack[2]; /* its lowest address and what comes after its highest, once wg_on_stack has asked */
};
struct wg_thread *wg_thread(void);

static inline void wg_thread_blocks(bool begins) {
    void (*tell)(bool begins) = wg_thread()->blocks;
    if (tell)
        tell(begins);
}

#endif
