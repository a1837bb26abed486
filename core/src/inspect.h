/* inspect.h - what there is to see of the error groups and of the threads that sleep, copied for people.
 *
 * The copies are taken under one lock at a time, with no reference taken and nobody else's code called: so a program that
 * hangs, in whatever, can be looked at. What lies in different buckets is not of one moment. */
#ifndef WG_INSPECT_H
#define WG_INSPECT_H

#include "waitgroup/errgroup.h"

#include "atomics.h"
#include "context.h"
#include "waits.h"

#define WG_SEEN_TEXT 80 /* so much of a name, with its end */

struct wg_seen_group {
    const void *tasks; /* its address: only compared */
    char name[WG_SEEN_TEXT], where[WG_SEEN_TEXT];
    const char *language;
    int64_t made, deadline;
    wg_status status; /* of its context */
    int limit, backlog;
    wg_errgroup_counts counts;
    size_t failures;
    bool finished; /* its outcome has been given */
    bool lists;    /* its running tasks are known */
    /* Worked out by wg_snapshot_take. */
    int64_t asleep_since; /* the oldest wait of one of its tasks, or for the group; INT64_MAX: none */
};

struct wg_seen_task {
    const void *group; /* the `tasks` of its group */
    char name[WG_SEEN_TEXT];
    int64_t since;
    const struct wg_frame *frame; /* only compared */
    struct wg_thread_id thread;
};

struct wg_seen_wait {
    struct wg_wish wish;          /* its pointers, and the next two, are only compared */
    const void *group;            /* what counts the innermost of the tasks that wait, or NULL */
    const struct wg_frame *frame; /* of that task */
    int64_t since, deadline;
    struct wg_thread_id thread;
    bool has_thread;
    char name[WG_SEEN_TEXT], file[WG_SEEN_TEXT];
    const char *language; /* NULL: not known */
    int line;
};

/* The arrays hold as many as fit; the numbers say how many there are. */
struct wg_snapshot {
    struct wg_seen_group *groups;
    struct wg_seen_task *tasks;
    struct wg_seen_wait *waits;
    struct wg_seen_context *contexts;
    size_t group_count, task_count, wait_count, context_count;
    size_t group_room, task_room, wait_room, context_room;
    int64_t now;
};

/* Look; the groups that are stuck come first, then those with the oldest tasks. False without memory for all: then what fits
 * is there. wg_snapshot_free in either case. */
bool wg_snapshot_take(struct wg_snapshot *snapshot);
void wg_snapshot_free(struct wg_snapshot *snapshot);

/* What a group is called: its name, or where it was made. */
const char *wg_seen_label(const struct wg_seen_group *group);

/* The context at this address, which is no group's, or NULL. */
const struct wg_seen_context *wg_seen_context_at(const struct wg_snapshot *snapshot, const void *context);

/* The group counted by `tasks`; the wait of the thread in `frame`; NULL if there is none. */
const struct wg_seen_group *wg_seen_group_of(const struct wg_snapshot *snapshot, const void *tasks);
const struct wg_seen_wait *wg_seen_wait_in(const struct wg_snapshot *snapshot, const struct wg_frame *frame);

/* Of dump_signal.c: may somebody ask for a dump, so that groups had better know their tasks? A relaxed load. */
extern wg_a32 wg_dump_signals;
static inline bool wg_dump_is_asked_for(void) { return wg_load_relaxed32(&wg_dump_signals) > 0; }

/* Of errgroup_look.c: copy the group with this link, and its running tasks. With the lock of its bucket held. */
void wg_errgroup_look(struct wg_link *link, struct wg_snapshot *snapshot);

#endif
