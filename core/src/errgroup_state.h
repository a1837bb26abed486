/* errgroup_state.h - what an error group consists of, for the files that make it up. Each stands on those above it:
 *
 *   errgroup.c           the object: its making, its references, what it was made with
 *   errgroup_queue.c     its tasks on their way to a worker
 *   errgroup_running.c   the list of those that run
 *   errgroup_task.c      how a task runs, and how it ends
 *   errgroup_slots.c     its slots, as its callers see them: to take, to wait for, to observe, to resize
 *   errgroup_start.c     how a task is started
 *   errgroup_outcome.c   how the group ends
 *   errgroup_look.c      what there is to see of it
 *
 * The slots of the group (slots.h) count its unfinished tasks: a task holds its slot, or its place ahead of the slots, from
 * the moment it is taken until it counts as ended.
 *
 * References: the caller's, and one for all unfinished tasks together, taken by the step from zero to one and given up
 * by the step back. A group thus outlives its stragglers.
 *
 * Which thread may change which field, and when; *the lock* is that of the bucket of the slots, wg_group_bucket():
 *   slots                       see slots.h
 *   failed, failures, outcome   under the lock
 *   slots.closed                set last, under the lock, with release: whoever reads it may read outcome
 *   started, ended, never_started   any thread, atomically; they are only shown to users
 *   grace_end                   any thread, once, atomically
 *   queue                       see queue.h
 *   others                      grows only, under the lock; its entries do not change
 *   running                     under the lock
 *   the observers of the group's own, and grace_timer: the thread that has set the flag of that observer, under the lock
 *   context, pool, grace, continues, lists, name   never after its making */
#ifndef WG_ERRGROUP_STATE_H
#define WG_ERRGROUP_STATE_H

#include "waitgroup/errgroup.h"

#include "queue.h"
#include "slots.h"
#include "trace.h"

/* What is to be done for a task. `last` is `ended` of a wg_task; of the simple form it is `destroy`, which is called in the
 * place of `settled`. */
struct wg_task_call {
    wg_task_fn fn;
    void *arg;
    void (*settled)(void *arg, wg_how how);
    void (*last)(void *arg);
};

struct wg_group_task {
    struct wg_work work;
    wg_errgroup *group;
    union {
        struct wg_task_call call; /* until its function has returned */
        struct {                  /* then, if it failed: an entry in the group's list of those */
            wg_error *error;
            struct wg_group_task *next;
        } failed;
    } as;
};
_Static_assert(sizeof(struct wg_group_task) <= 64, "a queued task is small");
WG_KEPT_IN_SLABS(struct wg_group_task);

/* What is queued in a group that lists its running tasks. */
struct wg_named_task {
    struct wg_group_task task;
    const char *name;
};
WG_KEPT_IN_SLABS(struct wg_named_task);

/* What is queued while a timeline is written. */
struct wg_traced_task {
    struct wg_named_task named;
    struct wg_traced traced;
};
WG_KEPT_IN_SLABS(struct wg_traced_task);

/* A task that is queued ahead of the slots. */
struct wg_stored_task {
    struct wg_link link; /* in slots.stored */
    wg_pool *pool;       /* borrowed: of the group, or with a reference in `others` */
    struct wg_traced_task task;
};

struct wg_errgroup {
    struct wg_slots slots;
    wg_a32 refs;
    wg_status outcome;
    wg_context *context;
    wg_pool *pool;
    int64_t grace;
    wg_a64 grace_end;             /* set by the first wait that finds the group cancelled; 0 before */
    struct wg_queue queue;        /* its far end, and what follows, is for workers: apart from what `go` touches */
    struct wg_other_pool *others; /* see errgroup_queue.c */
    wg_a64 started, ended, never_started;
    struct wg_group_task *failed, **last_failed;
    struct wg_group_task last_resort; /* the entry of a first error without memory */
    size_t failures;
    struct wg_link outcome_observers;
    wg_observer at_zero, at_cancel, at_grace_end; /* of the group's own: see errgroup_outcome.c */
    wg_context *grace_timer;                      /* ends when the grace period does; made when it is observed */
    bool zero_watched, cancel_watched, grace_watched;
    bool end_watched;   /* `at_end` observes the context */
    wg_observer at_end; /* of the group's own: see errgroup_slots.c */
    struct wg_link running;
    uint32_t running_epoch; /* the process whose tasks these are */
    bool lists;             /* a running task is listed */
    bool continues;         /* a failed task does not cancel the others */
    wg_a64 id;              /* see registry.h */
    struct wg_link link;    /* in the list of its bucket: from its making until its last reference goes */
    int64_t made;
    const char *language, *where; /* the latter behind the name */
    char name[];
};

static inline struct wg_bucket *wg_group_bucket(wg_errgroup *g) { return wg_bucket_of(&g->slots.tasks); }

/* What it is called where people look. */
static inline const char *wg_group_label(const wg_errgroup *g) {
    return g->name[0] ? g->name : g->where[0] ? g->where : "error group";
}

#endif
