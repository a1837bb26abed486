/* errgroup.c - the error group.
 *
 * The slots of the group (slots.h) count its unfinished tasks: a task holds its slot, or its place ahead of the slots, from
 * the moment it is taken until it counts as ended.
 *
 * References: the caller's, and one for all unfinished tasks together, taken by the step from zero to one and given up
 * by the step back. A group thus outlives its stragglers.
 *
 * Which thread may change which field, and when:
 *   slots             see slots.h
 *   failed, failures, outcome   under the lock of the slots
 *   slots.closed      set last, under the same lock, with release: whoever reads it may read outcome
 *   started, ended, never_started   any thread, atomically; they are only shown to users
 *   queue             see pool.h
 *   others            grows only, under the same lock; its entries do not change
 *   context, pool, grace, continues, name   never after its making
 *
 * At the end of a task, in this order: record the error, cancel the context, tell the task's owner how it ended
 * (`settled`), give back the slot, which counts the task as done, and tell the owner that this is so (`ended`). So no
 * sibling's "cancelled" can come before the error; whatever a wait returns to finds the outcome stored; and nobody can
 * see that a task has ended before there is a slot. */
#include "waitgroup/errgroup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "count.h"
#include "deadline.h"
#include "deadlock.h"
#include "dropped.h"
#include "errgroup.h"
#include "fork.h"
#include "frame.h"
#include "inspect.h"
#include "pool.h"
#include "ref.h"
#include "registry.h"
#include "slots.h"
#include "trace.h"
#include "wait.h"

/* What is to be done for a task. */
struct call {
    wg_task_fn fn;
    void *arg;
    void (*settled)(void *arg, wg_how how);
    void (*last)(
        void *arg); /* `ended` of a wg_task; `destroy` of the simple form, which is called in the place of settled */
};

struct task {
    struct wg_work work;
    wg_errgroup *group;
    union {
        struct call call; /* until its function has returned */
        struct {          /* then, if it failed: an entry in the group's list of those */
            wg_error *error;
            struct task *next;
        } failed;
    } as;
};
_Static_assert(sizeof(struct task) <= 64, "a queued task is small");
WG_KEPT_IN_SLABS(struct task);

/* What is queued in a group that lists its running tasks. */
struct named_task {
    struct task task;
    const char *name;
};
WG_KEPT_IN_SLABS(struct named_task);

/* What is queued while a timeline is written. */
struct traced_task {
    struct named_task named;
    struct wg_traced traced;
};
WG_KEPT_IN_SLABS(struct traced_task);

/* Where the tasks of the group queue that run in another pool than the group's own. */
struct other_pool {
    wg_pool *pool; /* with a reference */
    struct wg_queue queue;
    struct other_pool *next;
};

/* A task that is queued ahead of the slots. */
struct stored_task {
    struct wg_link link;
    wg_pool *pool; /* borrowed: of the group, or with a reference in `others` */
    struct traced_task task;
};

/* A task that runs, in the list of those; on the stack of its thread. */
struct listed {
    struct wg_link link;
    int64_t since;
    const char *name;
    const struct wg_frame *frame;
    struct wg_thread_id thread;
    uint32_t epoch; /* the process in which it was listed */
};

struct wg_errgroup {
    struct wg_slots slots;
    wg_a32 refs;
    wg_status outcome;
    wg_context *context;
    wg_pool *pool;
    int64_t grace;
    wg_a64 grace_end;      /* set once, by the first wait that finds the group cancelled; 0 before */
    struct wg_queue queue; /* its far end, and what follows, is for workers: apart from what `go` touches */
    struct other_pool *others;
    wg_a64 started, ended, never_started;
    struct task *failed, **last_failed;
    struct task last_resort; /* the entry of a first error without memory */
    size_t failures;
    struct wg_link outcome_observers;
    wg_observer at_zero, at_grace_end; /* they tell those */
    wg_context *grace_timer;           /* ends when the grace period does; made when somebody observes the outcome */
    bool zero_watched, grace_watched;
    struct wg_link running; /* those that run, if `lists`; under the lock of the slots */
    uint32_t running_epoch; /* the process whose tasks these are: see open_list */
    bool lists;             /* a running task is listed */
    bool continues;         /* a failed task does not cancel the others */
    bool end_watched;       /* `on_end` is observing the context */
    wg_observer on_end;
    wg_a64 id;           /* see registry.h */
    struct wg_link link; /* in the list of its bucket: from its making until its last reference goes */
    int64_t made;
    const char *language, *where; /* the latter behind the name */
    char name[];
};

static struct wg_bucket *bucket_of(wg_errgroup *g) { return wg_bucket_of(&g->slots.tasks); }

/* Making and unmaking. */

/* What it is called where people look. */
static const char *label(const wg_errgroup *g) { return g->name[0] ? g->name : g->where[0] ? g->where : "error group"; }

/* From now on wg_errgroup_look may be called. */
static void enrol(wg_errgroup *g) {
    struct wg_bucket *bucket = bucket_of(g);
    wg_mutex_lock(&bucket->lock);
    wg_list_append(&bucket->groups, &g->link);
    wg_mutex_unlock(&bucket->lock);
}

static void strike_off(wg_errgroup *g) {
    struct wg_bucket *bucket = bucket_of(g);
    wg_mutex_lock(&bucket->lock);
    wg_list_remove(&g->link);
    wg_mutex_unlock(&bucket->lock);
}

wg_status wg_errgroup_new(wg_errgroup **out, const wg_errgroup_options *options) {
    static const wg_errgroup_options nothing_special = {0};
    if (!options)
        options = &nothing_special;
    if (!out || options->limit < 0 || options->backlog < 0 || options->grace < 0)
        return WG_INVALID;
    const char *name = options->name ? options->name : "", *where = options->where ? options->where : "";
    wg_errgroup *g = malloc(sizeof *g + strlen(name) + strlen(where) + 2);
    if (!g)
        return WG_NO_MEMORY;
    *g = (wg_errgroup){
        .refs = 1,
        .grace = options->grace,
        .continues = options->continue_on_error,
        .lists = options->track || options->grace > 0 || wg_dump_is_asked_for(),
        .made = wg_now(),
        .language = options->language ? options->language : "C",
        .pool = wg_pool_retain(wg_pool_or_default(options->pool)),
    };
    g->last_failed = &g->failed;
    g->where = strcpy(g->name, name) + strlen(name) + 1;
    strcpy(g->name + strlen(name) + 1, where);
    wg_status status = wg_context_of_group(&g->context, options->parent, options->deadline, label(g));
    if (status != WG_OK) {
        wg_pool_release(g->pool);
        free(g);
        return status;
    }
    wg_slots_init(&g->slots, options->limit ? options->limit : WG_NO_LIMIT, options->backlog, g->pool, g->context);
    enrol(g);
    *out = g;
    return WG_OK;
}

wg_errgroup *wg_errgroup_retain(wg_errgroup *g) {
    if (g)
        wg_ref_take(&g->refs);
    return g;
}

/* It had tasks, and nobody has waited for them. */
static void note_dropped(const wg_errgroup *g) {
    struct wg_dropped dropped = {.language = g->language, .made = g->made, .failures = g->failures};
    snprintf(dropped.name, sizeof dropped.name, "%s", g->name);
    snprintf(dropped.where, sizeof dropped.where, "%s", g->where);
    wg_dropped_add(&dropped);
}

/* Nobody finds it any more, and nothing will be called for it. */
static void retire(wg_errgroup *g) {
    wg_registry_end(&g->id);
    strike_off(g);
    if (g->end_watched)
        wg_context_unobserve(g->context, &g->on_end, true);
    if (g->zero_watched)
        wg_unobserve_zero(&g->slots.tasks, &g->at_zero, true);
    if (g->grace_timer)
        wg_context_unobserve(g->grace_timer, &g->at_grace_end, true);
    wg_context_release(g->grace_timer);
}

/* To destroy an error may end the thread. */
static void drop_failures(wg_errgroup *g) {
    for (struct task *task; (task = g->failed);) {
        wg_error *error = task->as.failed.error;
        g->failed = task->as.failed.next;
        if (task != &g->last_resort)
            wg_work_free(&task->work);
        wg_error_release(error);
    }
}

static void free_group(wg_errgroup *g) {
    for (struct other_pool *other = g->others, *next; other; other = next) {
        next = other->next;
        wg_queue_end(&other->queue);
        wg_pool_release(other->pool);
        free(other);
    }
    wg_queue_end(&g->queue);
    wg_pool_release(g->pool);
    free(g);
}

/* What is left of a group that nobody refers to. */
struct remains {
    wg_errgroup *group;
    wg_context *context;
};

/* See wg_finish. */
static void bury(void *raw) {
    struct remains *remains = raw;
    if (remains->group) {
        drop_failures(remains->group);
        free_group(remains->group);
        remains->group = NULL;
    }
    wg_context *context = remains->context;
    remains->context = NULL;
    wg_context_release(context);
}

void wg_errgroup_release(wg_errgroup *g) {
    if (!g || !wg_ref_drop(&g->refs))
        return;
    if (!wg_load_relaxed32(&g->slots.closed) &&
        wg_load_relaxed64(&g->started) + wg_load_relaxed64(&g->never_started) > 0)
        note_dropped(g);
    retire(g);
    struct remains remains = {g, g->context};
    wg_finish(bury, &remains);
}

static bool try_retain(void *group) { return wg_ref_try_take(&((wg_errgroup *)group)->refs); }

int64_t wg_errgroup_id(wg_errgroup *g) { return g ? wg_registry_id(&g->id, WG_KIND_ERRGROUP, g, try_retain) : 0; }

/* Slots. */

static void start_ready(wg_errgroup *g, struct wg_link *ready);
static void watch_grace(wg_errgroup *g);

/* A change of the slots, and what follows from it: each is done although the thread may end in an observer. */
struct change {
    wg_errgroup *group;
    void (*make)(struct change *change); /* what is to be called next; NULL: nothing */
    struct wg_link ready;                /* stored tasks that may start now */
    bool gives;                          /* a slot has to be given back */
    bool last;                           /* the reference of the tasks has to be given up */
    bool spare, first;                   /* one was taken beforehand; it is needed, for it was the first task */
    unsigned kept;                       /* references that keep the group meanwhile */
    /* Of some changes. */
    int32_t limit;
    struct wg_link *stored;
    wg_observer *observer;
    void (*fn)(void *arg);
    void *arg;
    bool sync, prevented;
};

static void keep(struct change *change) {
    wg_errgroup_retain(change->group);
    change->kept++;
}

static void give_slot(wg_errgroup *g);

/* See wg_finish. */
static void make_change(void *raw) {
    struct change *change = raw;
    wg_errgroup *g = change->group;
    for (void (*make)(struct change *); (make = change->make);) {
        change->make = NULL;
        make(change);
    }
    start_ready(g, &change->ready);
    bool gives = change->gives, last = change->last || (change->spare && !change->first);
    change->gives = change->last = change->spare = false;
    if (gives)
        give_slot(g);
    if (last)
        wg_errgroup_release(g);
    while (change->kept > 0) {
        change->kept--;
        wg_errgroup_release(g);
    }
}

/* The end of a task: the last that is done for it. */
static void give(struct change *change) {
    wg_errgroup *g = change->group;
    if (wg_slots_give_quickly(&g->slots, &change->last))
        return;
    keep(change);
    wg_slots_give(&g->slots, &change->ready, &change->last);
}

static void give_slot(wg_errgroup *g) {
    struct change change = {.group = g, .make = give};
    wg_finish(make_change, &change);
}

/* Take a slot without sleeping for it. */
static wg_status try_take_slot(wg_errgroup *g) {
    bool first = false;
    wg_status status = wg_context_check(g->context);
    if (status == WG_OK || wg_load_acquire32(&g->slots.closed))
        status = wg_slots_try(&g->slots, &first);
    if (first)
        wg_errgroup_retain(g);
    return status;
}

/* A thread that comes to a slot: it waits for one, or has one. A step is counted before it is made; see wg_finish. */
struct coming {
    enum { WAIT, LOOK, GIVE, LET_GO, THERE } step;
    wg_errgroup *group; /* with a reference: giving up the last one meanwhile does no harm */
    const wg_until *until;
    bool ahead; /* a place ahead of the slots will do */
    bool gives; /* the slot cannot be used */
    wg_status status;
};

static void wait_in_queue(struct coming *coming) {
    bool first = false;
    coming->status = wg_slots_wait(&coming->group->slots, coming->until, coming->ahead, &first);
    if (first)
        wg_errgroup_retain(coming->group);
}

/* The group may have ended meanwhile. To look may call observers of that end. */
static void look_in_slot(struct coming *coming) {
    if (coming->status != WG_OK)
        return;
    coming->gives = true;
    coming->status = wg_context_check(coming->group->context);
    coming->gives = coming->status != WG_OK;
}

static void come(void *raw) {
    struct coming *coming = raw;
    while (coming->step < THERE)
        switch (coming->step++) {
        case WAIT: wait_in_queue(coming); break;
        case LOOK: look_in_slot(coming); break;
        case GIVE:
            if (coming->gives)
                give_slot(coming->group);
            break;
        case LET_GO: wg_errgroup_release(coming->group); break; /* in a slot the tasks' reference is there */
        case THERE: break;
        }
}

/* Wait for a slot, or for a place ahead of the slots. */
static wg_status wait_for_slot(wg_errgroup *g, const wg_until *until, bool ahead) {
    struct coming coming = {.group = wg_errgroup_retain(g), .until = until, .ahead = ahead, .status = WG_CONTEXT_ENDED};
    wg_finish(come, &coming);
    return coming.status;
}

/* In a slot that was taken for the caller. If it cannot be used, it is given back. */
static wg_status keep_slot(wg_errgroup *g, wg_status status) {
    struct coming coming = {.step = LOOK, .group = wg_errgroup_retain(g), .status = status, .gives = status != WG_OK};
    wg_finish(come, &coming);
    return coming.status;
}

int wg_errgroup_limit(const wg_errgroup *g) {
    int limit = g ? wg_slots_limit(&g->slots) : 0;
    return limit == WG_NO_LIMIT ? 0 : limit;
}

static void resize(struct change *change) { wg_slots_resize(&change->group->slots, change->limit, &change->ready); }

wg_status wg_errgroup_set_limit(wg_errgroup *g, int limit) {
    if (!g || limit <= 0)
        return WG_INVALID;
    struct change change = {.group = g, .make = resize, .limit = limit};
    keep(&change);
    wg_finish(make_change, &change);
    return WG_OK;
}

static void begin_grace(struct change *change) { watch_grace(change->group); }

static void end_waiting(struct change *change) {
    change->make = begin_grace;
    wg_slots_end(&change->group->slots, &change->ready);
}

/* The context has ended. An observer that is told may give up the last reference of others. If that is gone already, the
 * thread that gave it up waits for this call. */
static void end_slots(void *group) {
    struct change change = {.group = group, .make = end_waiting};
    change.kept = try_retain(group);
    wg_finish(make_change, &change);
}

wg_status wg_errgroup_wait_for_slot(wg_errgroup *g, const wg_until *until) {
    wg_status status = try_take_slot(g);
    return status == WG_LIMIT ? wait_for_slot(g, until, false) : status;
}

/* Register for the end of the context, once. */
static void watch_end(wg_errgroup *g) {
    struct wg_bucket *bucket = bucket_of(g);
    wg_mutex_lock(&bucket->lock);
    bool watched = g->end_watched;
    g->end_watched = true;
    wg_mutex_unlock(&bucket->lock);
    if (!watched)
        wg_context_observe(g->context, &g->on_end, end_slots, g);
}

static void observe(struct change *change) {
    wg_errgroup *g = change->group;
    change->spare = wg_errgroup_retain(g) != NULL;
    watch_end(g);
    wg_context_check(g->context);
    wg_slots_observe(&g->slots, change->observer, &change->first);
}

void wg_errgroup_observe_slot(wg_errgroup *g, wg_observer *observer) {
    struct change change = {.group = g, .make = observe, .observer = observer};
    keep(&change); /* what is called may give up the caller's */
    wg_finish(make_change, &change);
}

static void unobserve(struct change *change) {
    change->prevented = wg_slots_unobserve(&change->group->slots, change->observer, change->sync, &change->gives);
}

bool wg_errgroup_unobserve_slot(wg_errgroup *g, wg_observer *observer, bool sync) {
    struct change change = {.group = g, .make = unobserve, .observer = observer, .sync = sync};
    keep(&change); /* others may be told */
    wg_finish(make_change, &change);
    return change.prevented;
}

/* Tasks. */

/* Is it the error of a task that stopped because its group was cancelled? That is no failure. */
static bool is_echo(const wg_errgroup *g, const wg_error *error) {
    return wg_error_get_kind(error) == WG_ERROR_STOP && wg_context_check(g->context) != WG_OK;
}

/* A task from the moment that a thread takes it, on the stack of that thread, beneath all that the task calls. A step is
 * counted before it is made: if the thread ends inside one, wg_finish goes on with the next. */
struct life {
    enum { RUN, RECORD, CANCEL, TELL, LEAVE, RELEASE, TELL_LAST, OVER } step, end;
    bool skip;   /* it shall not start */
    bool simple; /* it is of the simple form */
    bool named;  /* it is in the list of those that run, once it runs */
    bool first;  /* its error is the group's first */
    bool last;   /* after the step LEAVE: the reference of the tasks is to be given up */
    wg_how how;  /* after the step RECORD */
    wg_errgroup *group;
    struct task *task;     /* its memory until the step RECORD; NULL if it has none */
    struct call call;      /* copied from there */
    wg_error *error;       /* from the step RECORD on the group's, or what is to be given up */
    struct wg_frame frame; /* from the first step until the task counts as ended: see begin() */
    bool framed;
    struct wg_traced traced;
    struct listed listed;
    struct wg_link *ready; /* where stored tasks go that become ready at the end of this one; NULL: they are started */
};

/* Under the lock. In the child of a fork the list begins afresh: its entries are on stacks of threads that do not exist. */
static struct wg_link *open_list(wg_errgroup *g) {
    if (g->running_epoch != wg_fork_epoch())
        g->running = (struct wg_link){NULL, NULL};
    g->running_epoch = wg_fork_epoch();
    return &g->running;
}

static void list(struct life *life) {
    wg_errgroup *g = life->group;
    struct wg_bucket *bucket = bucket_of(g);
    struct listed *entry = &life->listed;
    entry->name = ((struct named_task *)life->task)->name;
    entry->since = wg_now();
    entry->frame = &life->frame;
    entry->thread = wg_thread_id();
    entry->epoch = wg_fork_epoch();
    wg_mutex_lock(&bucket->lock);
    wg_list_append(open_list(g), &entry->link);
    wg_mutex_unlock(&bucket->lock);
}

static void unlist(struct life *life) {
    wg_errgroup *g = life->group;
    struct wg_bucket *bucket = bucket_of(g);
    wg_mutex_lock(&bucket->lock);
    open_list(g);
    if (life->listed.epoch == g->running_epoch)
        wg_list_remove(&life->listed.link);
    wg_mutex_unlock(&bucket->lock);
}

/* Until the task counts as ended, all that is called for it is part of the task: its function, the destructor of its
 * error, observers of the end that it brings about, `settled`. For none of them can the group come to zero. */
static void begin(struct life *life) {
    const struct wg_frame *outer = wg_thread()->frame;
    life->framed = true;
    life->frame.tasks = &life->group->slots.tasks;
    life->frame.ctx = outer ? outer->ctx : NULL;
    life->frame.group = life->group;
    life->frame.arg = life->call.arg;
    wg_frame_push(&life->frame);
}

static void end_frame(struct life *life) {
    if (life->framed)
        wg_frame_pop(&life->frame);
    life->framed = false;
}

/* With which error the task ends, unless its function returns, is known before. */
static void run_function(struct life *life) {
    wg_errgroup *g = life->group;
    life->how = WG_NEVER_STARTED;
    if (life->skip || wg_context_check(g->context) != WG_OK)
        return;
    wg_add_release64(&g->started, 1);
    life->how = WG_TASK_FAILED;
    life->error = wg_error_thread_ended();
    life->frame.ctx = g->context;
    life->frame.name = g->lists ? ((struct named_task *)life->task)->name : NULL;
    if (life->named)
        list(life);
    life->error = life->call.fn(life->call.arg, g->context);
}

/* `task` failed with `error`: it becomes the entry in the list. False if there is no memory for one. */
static bool add_failure(wg_errgroup *g, struct task *task, wg_error *error, bool *first) {
    struct wg_bucket *bucket = bucket_of(g);
    wg_mutex_lock(&bucket->lock);
    *first = g->failures == 0;
    if (!task && *first)
        task = &g->last_resort;
    if (task) {
        task->as.failed.error = error;
        task->as.failed.next = NULL;
        *g->last_failed = task;
        g->last_failed = &task->as.failed.next;
        g->failures++;
    }
    wg_mutex_unlock(&bucket->lock);
    return task != NULL;
}

/* From here on the group has the error of a task that failed; any other is to be given up. The memory of the task goes. */
static void record_error(struct life *life) {
    wg_errgroup *g = life->group;
    if (life->error && !is_echo(g, life->error)) {
        struct task *entry = life->task ? life->task : (struct task *)wg_work_new(sizeof *entry);
        if (life->how != WG_NEVER_STARTED)
            life->how = WG_TASK_FAILED;
        if (add_failure(g, entry, life->error, &life->first) && !life->first)
            life->error = NULL;
        return;
    }
    if (life->how != WG_NEVER_STARTED)
        life->how = life->error ? WG_TASK_STOPPED : WG_SUCCEEDED;
    if (life->task)
        wg_work_free(&life->task->work);
}

static void record(struct life *life) {
    const wg_error *error = life->error;
    const struct wg_frame *outer = life->frame.outer;
    life->frame.ctx = outer ? outer->ctx : NULL;
    if (life->listed.since)
        unlist(life);
    record_error(life);
    if (life->listed.since && life->traced.taken)
        wg_trace_ended(life->traced, life->listed.name, label(life->group), life->listed.since, life->how, error);
}

/* The first error cancels the group, unless it continues. */
static void cancel_or_drop(struct life *life) {
    if (!life->first)
        wg_error_release(life->error);
    else if (!life->group->continues)
        wg_context_cancel(life->group->context, life->error);
}

static void tell(const struct life *life) {
    const struct call *call = &life->call;
    if (!life->simple && call->settled)
        call->settled(call->arg, life->how);
    else if (life->simple && call->last)
        call->last(call->arg);
}

static void leave(struct life *life) {
    wg_errgroup *g = life->group;
    wg_add_relaxed64(life->how == WG_NEVER_STARTED ? &g->never_started : &g->ended, 1);
    if (!life->ready)
        give_slot(g);
    else
        wg_slots_give(&g->slots, life->ready, &life->last);
}

static void tell_last(const struct life *life) {
    if (!life->simple && life->call.last)
        life->call.last(life->call.arg);
}

static void live(void *raw) {
    struct life *life = raw;
    if (life->step <= RECORD && !life->framed)
        begin(life);
    while (life->step < life->end)
        switch (life->step++) {
        case RUN: run_function(life); break;
        case RECORD: record(life); break;
        case CANCEL: cancel_or_drop(life); break;
        case TELL: tell(life); break;
        case LEAVE:
            end_frame(life);
            leave(life);
            break;
        case RELEASE: wg_errgroup_release(life->last ? life->group : NULL); break;
        case TELL_LAST: tell_last(life); break;
        case OVER: break;
        }
    end_frame(life);
}

static void live_from_start(struct wg_work *work, bool skip, bool simple, bool traced) {
    struct task *task = (struct task *)work;
    struct life life = {.step = RUN, .end = OVER, .skip = skip, .simple = simple, .group = task->group, .task = task};
    life.call = task->as.call;
    life.named = traced || task->group->lists;
    if (traced)
        life.traced = ((struct traced_task *)task)->traced;
    wg_finish(live, &life);
}

static void run_task(struct wg_work *work, bool skip) { live_from_start(work, skip, false, false); }
static void run_simple_task(struct wg_work *work, bool skip) { live_from_start(work, skip, true, false); }
static void run_traced_task(struct wg_work *work, bool skip) { live_from_start(work, skip, false, true); }
static void run_simple_traced_task(struct wg_work *work, bool skip) { live_from_start(work, skip, true, true); }

static bool is_simple(const struct task *task) {
    return task->work.run == run_simple_task || task->work.run == run_simple_traced_task;
}

/* The task is taken: if a timeline is written, it is traced from here on. */
static void trace(wg_errgroup *g, struct traced_task *entry) {
    struct wg_work *work = &entry->named.task.work;
    entry->traced = wg_trace_taken(entry->named.name, label(g));
    if (entry->traced.taken)
        work->run = work->run == run_simple_task ? run_simple_traced_task : run_traced_task;
}

/* Under the lock: the queue in `pool`, or NULL. */
static struct wg_queue *queue_in(wg_errgroup *g, const wg_pool *pool) {
    struct other_pool *other = g->others;
    while (other && other->pool != pool)
        other = other->next;
    return other ? &other->queue : NULL;
}

/* Add a queue in `pool`, unless another thread has done it. False without memory. */
static bool add_pool(wg_errgroup *g, wg_pool *pool) {
    struct wg_bucket *bucket = bucket_of(g);
    struct other_pool *other = malloc(sizeof *other);
    if (!other)
        return false;
    wg_mutex_lock(&bucket->lock);
    bool known = queue_in(g, pool);
    if (!known) {
        *other = (struct other_pool){.pool = wg_pool_retain(pool), .next = g->others};
        g->others = other;
    }
    wg_mutex_unlock(&bucket->lock);
    if (known)
        free(other);
    return true;
}

/* The queue of the group in `pool`; NULL without memory. */
static struct wg_queue *queue_of(wg_errgroup *g, wg_pool *pool) {
    if (pool == g->pool)
        return &g->queue;
    struct wg_bucket *bucket = bucket_of(g);
    struct wg_queue *queue;
    do {
        wg_mutex_lock(&bucket->lock);
        queue = queue_in(g, pool);
        wg_mutex_unlock(&bucket->lock);
    } while (!queue && add_pool(g, pool));
    return queue;
}

static wg_status submit(wg_errgroup *g, wg_pool *pool, const struct traced_task *task) {
    struct wg_queue *queue = queue_of(g, pool);
    size_t size = task->traced.taken ? sizeof *task : g->lists ? sizeof task->named : sizeof task->named.task;
    return queue ? wg_pool_submit(pool, queue, &task->named.task.work, size) : WG_NO_MEMORY;
}

/* Tasks queued ahead of the slots. */

/* End a task that was taken and cannot start. That may make others ready. */
static void drop(wg_errgroup *g, struct stored_task *stored, wg_status why, struct wg_link *ready) {
    struct life life = {.step = RECORD, .end = OVER, .group = g, .how = WG_NEVER_STARTED, .ready = ready};
    life.call = stored->task.named.task.as.call;
    life.simple = is_simple(&stored->task.named.task);
    free(stored);
    if (why != WG_OK && why != WG_STOPPED)
        life.error = wg_errorf("a task that was queued ahead of the slots could not start: %s", wg_strstatus(why));
    wg_finish(live, &life);
}

/* A slot is free for each of these. The caller refers to the group. A loop, not a recursion: there may be many. */
static void start_ready(wg_errgroup *g, struct wg_link *ready) {
    for (struct wg_link *link; (link = wg_list_first(ready));) {
        struct stored_task *stored = WG_MEMBER(link, struct stored_task, link);
        wg_list_remove(link);
        bool ended = wg_context_check(g->context) != WG_OK;
        wg_status status = ended ? WG_OK : submit(g, stored->pool, &stored->task);
        if (ended || status != WG_OK)
            drop(g, stored, status, ready);
        else
            free(stored);
    }
}

static void store(struct change *change) { wg_slots_place(&change->group->slots, change->stored, &change->ready); }

/* A task that has a place starts if a slot is free, and is stored otherwise. */
static wg_status place(wg_errgroup *g, wg_pool *pool, const struct traced_task *task) {
    struct stored_task *stored = queue_of(g, pool) ? malloc(sizeof *stored) : NULL;
    if (!stored)
        return WG_NO_MEMORY;
    *stored = (struct stored_task){.pool = pool, .task = *task};
    struct change change = {.group = g, .make = store, .stored = &stored->link};
    keep(&change);
    wg_finish(make_change, &change);
    return WG_OK;
}

bool wg_errgroup_has_stored(wg_errgroup *g, const void *arg) {
    struct wg_bucket *bucket = bucket_of(g);
    bool has = false;
    wg_mutex_lock(&bucket->lock);
    struct wg_link *head = &g->slots.stored;
    for (struct wg_link *link = wg_list_first(head); link && !has; link = wg_list_after(head, link))
        has = WG_MEMBER(link, struct stored_task, link)->task.named.task.as.call.arg == arg;
    wg_mutex_unlock(&bucket->lock);
    return has;
}

/* Without `until` it never blocks. */
static wg_status go(wg_errgroup *g, wg_pool *pool, struct traced_task *task, const wg_until *until) {
    if (!g || !task->named.task.as.call.fn)
        return WG_INVALID;
    pool = pool ? pool : wg_pool_for_all(g->pool);
    bool placed = false;
    wg_status status = try_take_slot(g);
    if (status == WG_LIMIT && until) {
        placed = g->slots.ahead > 0;
        if (placed)
            watch_end(g); /* the end of the context drops what is stored */
        status = wait_for_slot(g, until, placed);
    }
    if (status != WG_OK)
        return status;
    trace(g, task);
    status = placed ? place(g, pool, task) : submit(g, pool, task);
    if (status != WG_OK)
        give_slot(g);
    return status;
}

static const wg_until for_ever = {0};

static wg_status go_simply(wg_errgroup *g, struct call call, const wg_until *until) {
    struct traced_task task = {.named.task = {.work = {.run = run_simple_task}, .group = g, .as.call = call}};
    return go(g, NULL, &task, until);
}

wg_status wg_errgroup_go(wg_errgroup *g, wg_task_fn fn, void *arg, void (*destroy)(void *arg), const wg_until *until) {
    return go_simply(g, (struct call){fn, arg, NULL, destroy}, until ? until : &for_ever);
}

wg_status wg_errgroup_try_go(wg_errgroup *g, wg_task_fn fn, void *arg, void (*destroy)(void *arg)) {
    return go_simply(g, (struct call){fn, arg, NULL, destroy}, NULL);
}

static struct traced_task queue_entry(wg_errgroup *g, const wg_task *task) {
    struct call call = {task->fn, task->arg, task->settled, task->ended};
    struct named_task named = {{.work = {.run = run_task}, .group = g, .as.call = call}, task->name};
    return (struct traced_task){.named = named};
}

static wg_status start(wg_errgroup *g, const wg_task *task, const wg_until *until) {
    if (!task)
        return WG_INVALID;
    struct traced_task queued = queue_entry(g, task);
    return go(g, task->pool, &queued, until);
}

wg_status wg_errgroup_start(wg_errgroup *g, const wg_task *task, const wg_until *until) {
    return start(g, task, until ? until : &for_ever);
}

wg_status wg_errgroup_try_start(wg_errgroup *g, const wg_task *task) { return start(g, task, NULL); }

wg_status wg_errgroup_enter(wg_errgroup *g) {
    if (!g)
        return WG_INVALID;
    wg_status status = try_take_slot(g);
    if (status == WG_OK)
        wg_add_release64(&g->started, 1);
    return status;
}

wg_status wg_errgroup_enter_slot(wg_errgroup *g) {
    if (!g)
        return WG_INVALID;
    wg_status status = keep_slot(g, WG_OK);
    if (status == WG_OK)
        wg_add_release64(&g->started, 1);
    return status;
}

wg_status wg_errgroup_start_slot(wg_errgroup *g, const wg_task *task) {
    if (!g)
        return WG_INVALID;
    wg_status status = keep_slot(g, task && task->fn ? WG_OK : WG_INVALID);
    if (status != WG_OK)
        return status;
    struct traced_task queued = queue_entry(g, task);
    trace(g, &queued);
    status = submit(g, task->pool ? task->pool : wg_pool_for_all(g->pool), &queued);
    if (status != WG_OK)
        give_slot(g);
    return status;
}

wg_status wg_errgroup_give_slot(wg_errgroup *g) {
    if (!g)
        return WG_INVALID;
    if (wg_count(&g->slots.tasks) == 0)
        return WG_NEGATIVE;
    give_slot(g);
    return WG_OK;
}

wg_status wg_errgroup_settle(wg_errgroup *g, wg_error *error, wg_how *how) {
    if (!g)
        return WG_INVALID;
    if (wg_count(&g->slots.tasks) == 0)
        return WG_NEGATIVE;
    struct life life = {.step = RECORD, .end = TELL, .group = g, .error = error, .how = WG_SUCCEEDED};
    wg_finish(live, &life);
    if (how)
        *how = life.how;
    return WG_OK;
}

wg_status wg_errgroup_leave(wg_errgroup *g, wg_error *error) {
    if (!g)
        return WG_INVALID;
    if (wg_count(&g->slots.tasks) == 0)
        return WG_NEGATIVE;
    struct life life = {.step = RECORD, .end = OVER, .group = g, .error = error, .how = WG_SUCCEEDED};
    wg_finish(live, &life);
    return WG_OK;
}

wg_status wg_errgroup_run(wg_errgroup *g, const void *task, void (*fn)(void *arg), void *arg) {
    if (!g || !fn)
        return WG_INVALID;
    struct wg_frame frame = {.tasks = &g->slots.tasks, .ctx = g->context, .group = g, .arg = task};
    wg_call_in_frame(frame, fn, arg);
    return WG_OK;
}

/* The outcome. */

/* Under the lock, before the group's own end cancels the context. */
static wg_status judge(wg_errgroup *g) {
    if (g->failures > 0)
        return WG_FAILED;
    wg_status status = wg_context_status(g->context);
    return status != WG_OK && wg_context_stopped(g->context) ? WG_OK : status;
}

/* Give the outcome; false if tasks have been added meanwhile. */
static bool finish(wg_errgroup *g, bool leave_stragglers) {
    struct wg_bucket *bucket = bucket_of(g);
    wg_context_check(g->context);
    wg_mutex_lock(&bucket->lock);
    bool finished = wg_load_relaxed32(&g->slots.closed), first = false;
    if (!finished && (wg_count_close(&g->slots.tasks) || leave_stragglers)) {
        g->outcome = judge(g);
        wg_store_release32(&g->slots.closed, 1);
        finished = first = true;
    }
    wg_mutex_unlock(&bucket->lock);
    if (finished)
        wg_context_close(g->context, g->failed ? g->failed->as.failed.error : NULL);
    if (first)
        wg_trace_group(&g->slots.tasks, label(g), g->where, g->language, g->made, g->outcome);
    return finished;
}

/* When the grace period ends. Later waits, and those that go on after an interruption, do not prolong it. */
static int64_t end_of_grace(wg_errgroup *g) {
    uint64_t end = wg_load_relaxed64(&g->grace_end), fresh = (uint64_t)wg_after(g->grace);
    return (int64_t)(end == 0 && wg_cas_relaxed64(&g->grace_end, &end, fresh) ? fresh : end);
}

static wg_status wait_for_zero(wg_errgroup *g, const wg_until *until, wg_context *context) {
    struct wg_wish wish = {.what = WG_FOR_ZERO, .subject = &g->slots.tasks, .group = g};
    return wg_wait_zero(&g->slots.tasks, until, context, &wish);
}

wg_status wg_errgroup_wait_task(wg_errgroup *g, const void *arg, wg_waitgroup *ended, const wg_until *until) {
    if (!g || !ended)
        return WG_INVALID;
    struct wg_wish wish = {.what = WG_FOR_TASK, .subject = &g->slots.tasks, .group = g, .slots = &g->slots, .arg = arg};
    return wg_wait_zero(ended, until, NULL, &wish);
}

/* Wait for the tasks, or for the end of grace: then *grace_over. */
static wg_status wait_for_tasks(wg_errgroup *g, const wg_until *until, bool *grace_over) {
    if (g->grace == 0) {
        bool unbounded = wg_until_unbounded(until) && !until->interruptible;
        while (unbounded && wg_pool_help(g->pool, &g->queue)) {}
        return wait_for_zero(g, until, NULL);
    }
    if (wg_context_check(g->context) == WG_OK) {
        wg_status status = wait_for_zero(g, until, g->context);
        if (status != WG_CANCELLED)
            return status;
    }
    int64_t grace_end = end_of_grace(g);
    wg_until shorter = *until;
    shorter.deadline = wg_earlier(until->deadline, grace_end);
    wg_status status = wait_for_zero(g, &shorter, NULL);
    *grace_over = status == WG_TIMEOUT && wg_passed(grace_end);
    return *grace_over ? WG_OK : status;
}

/* Wait until the outcome is given. A task that waits for a group which ends with the task's own context is leaving the
 * block of that group: the group is cancelled with the context, and its tasks are waited for. */
static wg_status wait_for_outcome(wg_errgroup *g, wg_until until) {
    if (wg_load_acquire32(&g->slots.closed))
        return WG_OK;
    if (wg_runs_task_of(&g->slots.tasks)) {
        wg_own_group_describe(g, &until);
        return WG_DEADLOCK;
    }
    wg_context *bound = until.context ? NULL : wg_context_current();
    if (bound && wg_context_descends(g->context, bound))
        until.context = wg_context_root();
    wg_status status;
    bool grace_over = false;
    do
        status = wait_for_tasks(g, &until, &grace_over);
    while (status == WG_OK && !finish(g, grace_over));
    return status;
}

/* A call of wg_errgroup_wait. The thread may end in it: in a task that it runs meanwhile, or in an observer. */
struct outcome_wait {
    wg_errgroup *group;
    wg_until until;
    wg_error **first;
    wg_status status;
    bool begun;
};

/* See wg_finish. */
static void wait_and_release(void *raw) {
    struct outcome_wait *wait = raw;
    wg_errgroup *g = wait->group;
    if (!wait->begun) {
        wait->begun = true;
        wait->status = wait_for_outcome(g, wait->until);
    }
    if (wait->status == WG_OK) {
        wg_context_close(g->context, NULL); /* the wait that gave the outcome may be on its way there */
        wait->status = g->outcome;
        if (wait->first)
            *wait->first = wait->status == WG_FAILED ? g->failed->as.failed.error
                           : wait->status == WG_OK   ? NULL
                                                     : wg_context_cause(g->context);
    }
    wg_errgroup_release(g);
}

wg_status wg_errgroup_wait(wg_errgroup *g, const wg_until *until, wg_error **first) {
    if (!g)
        return WG_INVALID;
    /* The reference is there so that giving up the last one during the wait does no harm. */
    struct outcome_wait wait = {.group = wg_errgroup_retain(g), .until = until ? *until : for_ever, .first = first};
    wait.status = WG_TIMEOUT; /* no outcome, unless there is one */
    wg_finish(wait_and_release, &wait);
    return wait.status;
}

/* Observers of the outcome are told when all tasks have ended, and when the grace period has. */

static void tell_outcome(void *group) {
    wg_errgroup *g = group;
    struct wg_bucket *bucket = bucket_of(g);
    struct wg_wake_q none = {.count = 0};
    wg_mutex_lock(&bucket->lock);
    wg_observers_call(bucket, &g->outcome_observers, g, &none);
    wg_bucket_unlock_and_wake(bucket, &none);
}

static void tell_zero(void *group) {
    wg_errgroup *g = group;
    struct wg_bucket *bucket = bucket_of(g);
    wg_mutex_lock(&bucket->lock);
    g->zero_watched = false;
    wg_mutex_unlock(&bucket->lock);
    tell_outcome(g);
}

/* Set one of the two flags; false if it is set already, or nobody observes the outcome. */
static bool begin_watch(wg_errgroup *g, bool *flag) {
    struct wg_bucket *bucket = bucket_of(g);
    wg_mutex_lock(&bucket->lock);
    bool begin = !*flag && wg_list_first(&g->outcome_observers);
    *flag |= begin;
    wg_mutex_unlock(&bucket->lock);
    return begin;
}

static void watch_zero(wg_errgroup *g) {
    if (begin_watch(g, &g->zero_watched))
        wg_observe_zero(&g->slots.tasks, &g->at_zero, tell_zero, g);
}

/* The context has ended: let the timer say when the grace period is over. If it cannot, it is over at once. */
static void watch_grace(wg_errgroup *g) {
    if (g->grace == 0 || !begin_watch(g, &g->grace_watched))
        return;
    int64_t end = end_of_grace(g);
    if (wg_context_of_group(&g->grace_timer, wg_context_root(), end, label(g)) == WG_OK) {
        wg_context_observe(g->grace_timer, &g->at_grace_end, tell_outcome, g);
    } else {
        uint64_t old = (uint64_t)end;
        wg_cas_relaxed64(&g->grace_end, &old, (uint64_t)wg_now());
        tell_outcome(g);
    }
}

static bool outcome_is_ready(wg_errgroup *g) {
    bool grace_over = g->grace > 0 && wg_context_status(g->context) != WG_OK && wg_passed(end_of_grace(g));
    return grace_over || wg_load_acquire32(&g->slots.closed) || wg_count(&g->slots.tasks) == 0;
}

static void watch_what_brings_it(struct change *change) {
    wg_errgroup *g = change->group;
    watch_zero(g);
    if (wg_context_status(g->context) != WG_OK)
        watch_grace(g);
}

static void observe_outcome(struct change *change) {
    wg_errgroup *g = change->group;
    struct wg_bucket *bucket = bucket_of(g);
    change->make = watch_what_brings_it;
    watch_end(g);
    wg_context_check(g->context);
    wg_mutex_lock(&bucket->lock);
    wg_observer_settle(bucket, &g->outcome_observers, outcome_is_ready(g), g, change->observer, change->fn,
                       change->arg);
}

void wg_errgroup_observe_outcome(wg_errgroup *g, wg_observer *observer, void (*fn)(void *arg), void *arg) {
    struct change change = {.group = g, .make = observe_outcome, .observer = observer, .fn = fn, .arg = arg};
    keep(&change); /* the observer may give up the caller's reference */
    wg_finish(make_change, &change);
}

bool wg_errgroup_unobserve_outcome(wg_errgroup *g, wg_observer *observer, bool sync) {
    return wg_observer_remove(bucket_of(g), observer, sync);
}

wg_status wg_errgroup_cancel(wg_errgroup *g, wg_error *cause) {
    return g ? wg_context_cancel(g->context, cause) : WG_INVALID;
}

/* To look at. */

const char *wg_errgroup_name(const wg_errgroup *g) { return g ? g->name : ""; }

int64_t wg_errgroup_grace(const wg_errgroup *g) { return g ? g->grace : 0; }

bool wg_errgroup_continues(const wg_errgroup *g) { return g && g->continues; }

int wg_errgroup_backlog(const wg_errgroup *g) { return g ? g->slots.ahead : 0; }

wg_context *wg_errgroup_context(wg_errgroup *g) { return g ? g->context : NULL; }

struct wg_slots *wg_errgroup_slots(wg_errgroup *g) {
    return &g->slots;
}

wg_waitgroup *wg_errgroup_tasks(wg_errgroup *g) { return g ? &g->slots.tasks : NULL; }

size_t wg_errgroup_errors(wg_errgroup *g, wg_error **errors, size_t capacity) {
    if (!g)
        return 0;
    struct wg_bucket *bucket = bucket_of(g);
    wg_mutex_lock(&bucket->lock);
    struct task *task = g->failed;
    for (size_t i = 0; errors && i < capacity && task; i++, task = task->as.failed.next)
        errors[i] = task->as.failed.error;
    size_t n = g->failures;
    wg_mutex_unlock(&bucket->lock);
    return n;
}

wg_errgroup_counts wg_errgroup_get_counts(wg_errgroup *g) {
    wg_errgroup_counts counts = {0, 0, 0};
    if (!g)
        return counts;
    /* `started` is read first, so tasks that end meanwhile make `running` too small, never too large. A thread that sees
     * the start of a task also sees the earlier end of the task that gave its slot to it. */
    uint64_t started = wg_load_acquire64(&g->started);
    uint64_t ended = wg_load_relaxed64(&g->ended);
    uint64_t unfinished = (uint64_t)wg_count(&g->slots.tasks);
    uint64_t running = started > ended ? started - ended : 0;
    counts.completed = (unsigned long)(ended + wg_load_relaxed64(&g->never_started));
    counts.running = (unsigned long)running;
    counts.pending = unfinished > running ? (unsigned long)(unfinished - running) : 0;
    return counts;
}

static void copy_name(char copy[WG_SEEN_TEXT], const char *name) {
    snprintf(copy, WG_SEEN_TEXT, "%s", name ? name : "");
}

bool wg_errgroup_label(const void *tasks, char text[WG_TRACE_LABEL]) {
    struct wg_bucket *bucket = wg_bucket_of(tasks);
    bool found = false;
    wg_mutex_lock(&bucket->lock);
    struct wg_link *head = &bucket->groups;
    for (struct wg_link *link = wg_list_first(head); link && !found; link = wg_list_after(head, link)) {
        const wg_errgroup *g = WG_MEMBER(link, wg_errgroup, link);
        found = &g->slots.tasks == tasks;
        if (found)
            snprintf(text, WG_TRACE_LABEL, "%s", label(g));
    }
    wg_mutex_unlock(&bucket->lock);
    return found;
}

static void look_at_task(const wg_errgroup *g, const struct listed *entry, struct wg_snapshot *snapshot) {
    if (snapshot->task_count++ >= snapshot->task_room)
        return;
    struct wg_seen_task *task = &snapshot->tasks[snapshot->task_count - 1];
    *task = (struct wg_seen_task){
        .group = &g->slots.tasks, .since = entry->since, .frame = entry->frame, .thread = entry->thread};
    copy_name(task->name, entry->name);
}

static void look_at_group(wg_errgroup *g, struct wg_seen_group *seen) {
    *seen = (struct wg_seen_group){
        .tasks = &g->slots.tasks,
        .language = g->language,
        .made = g->made,
        .deadline = wg_context_deadline(g->context),
        .status = wg_context_status(g->context),
        .limit = wg_errgroup_limit(g),
        .backlog = g->slots.ahead,
        .counts = wg_errgroup_get_counts(g),
        .failures = g->failures,
        .finished = wg_load_relaxed32(&g->slots.closed),
        .lists = g->lists,
        .asleep_since = INT64_MAX,
    };
    copy_name(seen->name, g->name);
    copy_name(seen->where, g->where);
}

void wg_errgroup_look(struct wg_link *group, struct wg_snapshot *snapshot) {
    wg_errgroup *g = WG_MEMBER(group, wg_errgroup, link);
    struct wg_link *head = open_list(g);
    if (snapshot->group_count++ < snapshot->group_room)
        look_at_group(g, &snapshot->groups[snapshot->group_count - 1]);
    for (struct wg_link *link = wg_list_first(head); link; link = wg_list_after(head, link))
        look_at_task(g, WG_MEMBER(link, struct listed, link), snapshot);
}

/* A copy of an entry in the list of running tasks: enough of its name for people. */
struct seen {
    char name[80];
    int64_t since;
};

/* At most `capacity` of them are copied; returns how many there are. */
static size_t copy_running(wg_errgroup *g, struct seen *seen, size_t capacity) {
    struct wg_bucket *bucket = bucket_of(g);
    size_t n = 0;
    wg_mutex_lock(&bucket->lock);
    struct wg_link *head = open_list(g);
    for (struct wg_link *link = wg_list_first(head); link; link = wg_list_after(head, link), n++) {
        const struct listed *entry = WG_MEMBER(link, struct listed, link);
        if (n < capacity) {
            snprintf(seen[n].name, sizeof seen[n].name, "%s", entry->name ? entry->name : "");
            seen[n].since = entry->since;
        }
    }
    wg_mutex_unlock(&bucket->lock);
    return n;
}

/* A call of wg_errgroup_running. */
struct look {
    void (*fn)(void *arg, const char *name, int64_t duration);
    void *arg;
    struct seen few[16], *seen;
    size_t capacity, n, next;
    int64_t now;
};

/* Again, with more memory, as long as there are more than fit. */
static void see_running(wg_errgroup *g, struct look *look) {
    look->seen = look->few;
    look->capacity = sizeof look->few / sizeof *look->few;
    look->n = copy_running(g, look->seen, look->capacity);
    while (look->n > look->capacity) {
        struct seen *more = realloc(look->seen == look->few ? NULL : look->seen, 2 * look->n * sizeof *more);
        if (!more)
            return;
        look->seen = more;
        look->capacity = 2 * look->n;
        look->n = copy_running(g, look->seen, look->capacity);
    }
}

/* See wg_finish: once `fn` has ended the thread it is called no more. */
static void tell_running(void *raw) {
    struct look *look = raw;
    while (look->fn && look->next < look->n && look->next < look->capacity) {
        const struct seen *seen = &look->seen[look->next++];
        void (*fn)(void *arg, const char *name, int64_t duration) = look->fn;
        look->fn = NULL;
        fn(look->arg, seen->name, look->now - seen->since);
        look->fn = fn;
    }
    if (look->seen != look->few)
        free(look->seen);
}

size_t wg_errgroup_running(wg_errgroup *g, void (*fn)(void *arg, const char *name, int64_t duration), void *arg) {
    struct look look = {.fn = fn, .arg = arg};
    if (!g)
        return 0;
    see_running(g, &look);
    look.now = wg_now();
    wg_finish(tell_running, &look);
    return look.n;
}
