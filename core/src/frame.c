/* frame.c - see frame.h. */
#include "frame.h"

/* A call as if in a task. See wg_finish: it may end the thread. */
struct call {
    bool called;
    void (*fn)(void *arg);
    void *arg;
    struct wg_frame frame;
};

static void call_and_return(void *raw) {
    struct call *call = raw;
    if (!call->called) {
        call->called = true;
        call->fn(call->arg);
    }
    wg_frame_pop(&call->frame);
}

void wg_call_in_frame(struct wg_frame frame, void (*fn)(void *arg), void *arg) {
    struct call call = {.fn = fn, .arg = arg, .frame = frame};
    wg_frame_push(&call.frame);
    wg_finish(call_and_return, &call);
}
