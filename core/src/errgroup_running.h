/* errgroup_running.h - the list of the tasks of an error group that run, for people; kept if the group `lists` them.
 *
 * An entry is on the stack of the thread that runs the task. In the child of a fork the list begins afresh: the entries of
 * the parent are on stacks of threads that do not exist. */
#ifndef WG_ERRGROUP_RUNNING_H
#define WG_ERRGROUP_RUNNING_H

#include "errgroup_state.h"
#include "frame.h"
#include "os.h"

struct wg_running_task {
    struct wg_link link;
    int64_t since; /* 0: it was never listed */
    const char *name;
    const struct wg_frame *frame;
    struct wg_thread_id thread;
    uint32_t epoch; /* the process in which it was listed */
};

/* This thread runs a task; the name may be NULL. It does no more; nothing if it was never listed. */
void wg_group_list(wg_errgroup *g, struct wg_running_task *entry, const char *name, const struct wg_frame *frame);
void wg_group_unlist(wg_errgroup *g, struct wg_running_task *entry);

/* The head of the list, whose members are linked by `link`. Under the lock. */
struct wg_link *wg_group_running(wg_errgroup *g);

#endif
