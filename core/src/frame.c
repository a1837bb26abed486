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

/* What is in a wg_scope, which only its thread looks at. `top` is the innermost frame that was pushed in the scope and not
 * popped: `frame` itself, or one on the same C stack, further in. */
struct scope {
    struct wg_frame frame, *top;
};

_Static_assert(sizeof(struct scope) <= sizeof(wg_scope), "a wg_scope has room for a scope");

void wg_scope_return(wg_scope *scope) {
    struct scope *in = (struct scope *)(void *)scope;
    if (!in)
        return;
    in->frame.outer = wg_thread()->frame;
    wg_thread()->frame = in->top;
}

void wg_scope_leave(wg_scope *scope) {
    struct scope *in = (struct scope *)(void *)scope;
    if (!in)
        return;
    in->top = wg_thread()->frame;
    wg_frame_pop(&in->frame);
}

void wg_scope_enter_frame(wg_scope *scope, struct wg_frame frame) {
    struct scope *in = (struct scope *)(void *)scope;
    *in = (struct scope){.frame = frame, .top = &in->frame};
    wg_scope_return(scope);
}
