/* errgroup.h - which tasks a thread runs. */
#ifndef WG_ERRGROUP_H
#define WG_ERRGROUP_H

#include "waitgroup/errgroup.h"

/* A task that runs on this thread's stack; the innermost is wg_self()->frame. */
struct wg_frame {
    wg_errgroup *group;
    wg_context *ctx;
    struct wg_frame *outer;
};

#endif
