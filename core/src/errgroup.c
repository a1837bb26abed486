/* errgroup.c - the error group.
 *
 * The wait group `tasks` counts unfinished tasks, and an unfinished task is what takes up a slot of the limit: so one
 * word says both, and a slot is never given back before or after the task counts as done. See count.h for the word;
 * who waits for a slot gates it, and the next task to end hands its slot over, under the stripe's lock, instead of
 * counting down.
 *
 * References: the caller's, and one for all unfinished tasks together, taken by the step from zero to one and given up
 * by the step back. A group thus outlives its stragglers.
 *
 * By who may change it and when:
 *   tasks             see count.h
 *   limit, failed, failures, room, own_blocked, outcome   under the stripe's lock of `tasks`; limit is also read
 *                     without: the count is compared with it again under the lock before anybody sleeps
 *   finished          set last, under the same lock, with release: whoever reads it may read outcome
 *   started, ended, never_started   anybody, atomically; they are for people to look at
 *   lane              see pool.h
 *   others            grows only, under the same lock; its entries do not change
 *   looks             anybody, a guess
 *   context, pool, grace, continues, name   never after its making
 *
 * At the end of a task, in this order: record the error, cancel the context, tell the task's owner how it ended
 * (`settled`), give back the slot, which counts the task as done, and tell the owner that this is so (`ended`). So no
 * sibling's "cancelled" can come before the error; whatever a wait returns to finds the outcome stored; and nobody can
 * see that a task has ended before there is a slot. */
#include "waitgroup/errgroup.h"

#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "count.h"
#include "deadline.h"
#include "fork.h"
#include "frame.h"
#include "pool.h"
#include "wait.h"

/* How often to look for a slot before a sleep, at most. That takes about as long as to sleep and be woken on another
 * core, so it costs at most as much again; a sleep would also let the workers fall asleep, who then have to be woken. */
#define MOST_LOOKS 2000

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

/* Where the tasks of the group queue that run in another pool than the group's own. */
struct other_pool {
    wg_pool *pool; /* with a reference */
    struct wg_lane lane;
    struct other_pool *next;
};

/* A thread in wg_errgroup_go that sleeps for a slot. */
struct goer {
    struct wg_waiter waiter; /* its subject is &group->limit, in the stripe of `tasks` */
    unsigned held;           /* how many slots of this group tasks on its own stack hold */
};

struct wg_errgroup {
    wg_waitgroup tasks;
    wg_a32 refs;
    wg_a32 limit;
    wg_a32 finished;
    wg_status outcome;
    wg_context *context;
    wg_pool *pool;
    int64_t grace;
    wg_a64 grace_end;    /* set once, by the first wait that finds the group cancelled; 0 before */
    wg_a32 looks;        /* how often the next goer looks for a slot: halved when that was in vain */
    struct wg_lane lane; /* its far end, and what follows, is for workers: apart from what `go` touches */
    struct other_pool *others;
    wg_a64 started, ended, never_started;
    struct task *failed, **last_failed;
    struct task last_resort; /* the entry of a first error without memory */
    size_t failures;
    bool continues;       /* a failed task does not cancel the others */
    unsigned own_blocked; /* slots held by tasks that sleep as goers */
    struct wg_link room;
    bool room_ends; /* `on_end` is observing the context */
    wg_observer on_end;
    char name[];
};

static struct wg_stripe *stripe_of(wg_errgroup *g) { return wg_stripe_of(&g->tasks); }

static int32_t limit_of(const wg_errgroup *g) { return (int32_t)wg_load_relaxed32(&g->limit); }

/* Slots of `g` held by the tasks that this thread runs, one inside the wait of another. */
static unsigned slots_held(const wg_errgroup *g) { return wg_tasks_run_of(&g->tasks); }

/* Making and unmaking. */

wg_status wg_errgroup_new(wg_errgroup **out, const wg_errgroup_options *options) {
    static const wg_errgroup_options nothing_special = {0};
    if (!options)
        options = &nothing_special;
    if (!out || options->limit < 0 || options->grace < 0)
        return WG_INVALID;
    const char *name = options->name ? options->name : "";
    wg_errgroup *g = malloc(sizeof *g + strlen(name) + 1);
    if (!g)
        return WG_NO_MEMORY;
    *g = (wg_errgroup){
        .refs = 1,
        .limit = (uint32_t)(options->limit ? options->limit : WG_NO_LIMIT),
        .grace = options->grace,
        .continues = options->continue_on_error,
        .looks = MOST_LOOKS,
        .pool = wg_pool_retain(wg_pool_or_default(options->pool)),
    };
    g->last_failed = &g->failed;
    strcpy(g->name, name);
    wg_status status = wg_context_new(&g->context, options->parent, options->deadline);
    if (status != WG_OK) {
        wg_pool_release(g->pool);
        free(g);
        return status;
    }
    *out = g;
    return WG_OK;
}

wg_errgroup *wg_errgroup_retain(wg_errgroup *g) {
    if (g)
        wg_add_relaxed32(&g->refs, 1);
    return g;
}

void wg_errgroup_release(wg_errgroup *g) {
    if (!g || wg_sub_acq_rel32(&g->refs, 1) != 1)
        return;
    if (g->room_ends)
        wg_context_unobserve_sync(g->context, &g->on_end);
    for (struct task *task = g->failed, *next; task; task = next) {
        next = task->as.failed.next;
        wg_error_release(task->as.failed.error);
        if (task != &g->last_resort)
            wg_work_free(&task->work);
    }
    for (struct other_pool *other = g->others, *next; other; other = next) {
        next = other->next;
        wg_lane_end(&other->lane);
        wg_pool_release(other->pool);
        free(other);
    }
    wg_lane_end(&g->lane);
    wg_context_release(g->context);
    wg_pool_release(g->pool);
    free(g);
}

/* Slots. */

/* Under the lock: the next slot is wanted no more if nobody waits for one. */
static void ungate_if_unwanted(wg_errgroup *g, struct wg_stripe *stripe) {
    if (!wg_list_first(&g->room) && !wg_sleeper_first(stripe, &g->limit))
        wg_count_ungate(&g->tasks);
}

/* The goer whose sleeper this is. */
static struct goer *goer_of(struct wg_sleeper *sleeper) {
    return (struct goer *)((char *)sleeper - offsetof(struct goer, waiter.subject));
}

/* Under the lock: wake the goer whose sleeper this is, with `bit`. */
static void wake_goer(wg_errgroup *g, struct wg_sleeper *sleeper, uint32_t bit, struct wg_wakes *wakes) {
    g->own_blocked -= goer_of(sleeper)->held;
    wg_sleeper_wake(sleeper, bit, wakes);
}

/* Under the lock, with `left` slots in use: if all of them are held by sleeping goers, no slot will ever be given back.
 * Then the one that came last hears of it. */
static void break_deadlock(wg_errgroup *g, int32_t left, struct wg_wakes *wakes) {
    struct wg_sleeper *last = NULL;
    if (g->own_blocked == 0 || g->own_blocked != (unsigned)left)
        return;
    struct wg_stripe *stripe = stripe_of(g);
    for (struct wg_sleeper *s = wg_sleeper_first(stripe, &g->limit); s; s = wg_sleeper_after(stripe, s, &g->limit))
        if (goer_of(s)->held > 0)
            last = s;
    if (last)
        wake_goer(g, last, WG_ON_DEADLOCK, wakes);
}

/* The slot of a task that has ended, while somebody wants it: hand it over, or give it back and tell. */
static void give_slot_gated(wg_errgroup *g) {
    struct wg_stripe *stripe = stripe_of(g);
    wg_errgroup_retain(g); /* the step down may release the last reference but this one */
    bool last = false;
    struct wg_wakes wakes = {.count = 0};
    wg_lock_take(&stripe->lock);
    struct wg_sleeper *goer = wg_sleeper_first(stripe, &g->limit);
    if (goer && wg_count(&g->tasks) <= limit_of(g)) {
        wake_goer(g, goer, WG_ON_SUBJECT, &wakes);
        ungate_if_unwanted(g, stripe);
    } else {
        int32_t left = wg_count_leave_locked(&g->tasks, stripe, limit_of(g), &wakes);
        last = left == 0;
        break_deadlock(g, left, &wakes);
        if (left < limit_of(g))
            wg_observers_call(stripe, &g->room, g, &wakes);
        ungate_if_unwanted(g, stripe);
    }
    wg_stripe_give(stripe, &wakes);
    if (last)
        wg_errgroup_release(g);
    wg_errgroup_release(g);
}

/* A task has ended: the last that is done for it. */
static void give_slot(wg_errgroup *g) {
    bool last;
    if (!wg_count_leave(&g->tasks, &last))
        give_slot_gated(g);
    else if (last)
        wg_errgroup_release(g); /* not gone yet: this is the reference of the tasks */
}

/* Take a slot without sleeping for it. */
static wg_status try_take_slot(wg_errgroup *g) {
    if (wg_load_acquire32(&g->finished))
        return WG_FINISHED;
    if (wg_context_check(g->context) != WG_OK)
        return wg_context_status(g->context);
    bool first = false;
    wg_status status = wg_count_enter(&g->tasks, limit_of(g), &first);
    if (first)
        wg_errgroup_retain(g);
    return status;
}

/* Link `goer` behind the others. WG_OK; WG_LIMIT: there is room, try again; WG_DEADLOCK: there never will be. */
static wg_status join_goers(wg_errgroup *g, struct goer *goer) {
    struct wg_stripe *stripe = stripe_of(g);
    wg_status status = WG_OK;
    goer->held = slots_held(g);
    wg_lock_take(&stripe->lock);
    if (!wg_count_gate(&g->tasks, limit_of(g)) && !wg_sleeper_first(stripe, &g->limit)) {
        ungate_if_unwanted(g, stripe);
        status = WG_LIMIT;
    } else if (goer->held > 0 && g->own_blocked + goer->held == (unsigned)wg_count(&g->tasks)) {
        ungate_if_unwanted(g, stripe);
        status = WG_DEADLOCK;
    } else {
        g->own_blocked += goer->held;
        goer->waiter.subject =
            (struct wg_sleeper){.subject = &g->limit, .word = &goer->waiter.word, .bit = WG_ON_SUBJECT};
        wg_sleeper_link(stripe, &goer->waiter.subject);
    }
    wg_lock_give(&stripe->lock);
    return status;
}

/* Unlink it, if nobody woke it. After this its word does not change. */
static void leave_goers(wg_errgroup *g, struct goer *goer) {
    struct wg_stripe *stripe = stripe_of(g);
    wg_lock_take(&stripe->lock);
    if (wg_sleeper_unlink(&goer->waiter.subject))
        g->own_blocked -= goer->held;
    ungate_if_unwanted(g, stripe);
    wg_lock_give(&stripe->lock);
}

/* Sleep until a slot is handed over, or `context` ends. WG_LIMIT: try again. */
static wg_status sleep_for_slot(wg_errgroup *g, const wg_until *until, wg_context *context) {
    struct goer goer = {.waiter = {.epoch = wg_fork_epoch()}};
    wg_status status = join_goers(g, &goer);
    if (status != WG_OK)
        return status;
    if (wg_waiter_context(&goer.waiter, g->context, WG_ON_GROUP) &&
        wg_waiter_context(&goer.waiter, context, WG_ON_CONTEXT))
        status = wg_waiter_sleep(&goer.waiter, until);
    wg_waiter_leave(&goer.waiter);
    leave_goers(g, &goer);
    uint32_t happened = wg_load_acquire32(&goer.waiter.word);
    if (wg_context_check(g->context) != WG_OK) {
        if (happened & WG_ON_SUBJECT)
            give_slot(g);
        return wg_context_status(g->context);
    }
    if (happened & WG_ON_SUBJECT)
        return WG_OK;
    if (happened & WG_ON_DEADLOCK)
        return WG_DEADLOCK;
    return wg_context_check(context) != WG_OK ? WG_CONTEXT_ENDED : status;
}

/* Look for a slot for a while. Small tasks give theirs back within microseconds. If looking has been in vain so often that
 * no patience is left, it begins afresh: tasks may have become small. */
static wg_status look_for_slot(wg_errgroup *g) {
    uint32_t looks = wg_load_relaxed32(&g->looks);
    wg_status status = WG_LIMIT;
    for (uint32_t i = 0; i < looks && status == WG_LIMIT && wg_worth_spinning(g->pool); i++) {
        wg_pause();
        status = try_take_slot(g);
    }
    wg_store_relaxed32(&g->looks, status != WG_LIMIT || looks == 0 ? MOST_LOOKS : looks / 2);
    return status;
}

/* Take a slot, sleeping for it if need be. */
static wg_status wait_for_slot(wg_errgroup *g, const wg_until *until) {
    wg_context *context = wg_until_context(until);
    for (;;) {
        bool ended = wg_context_check(context) != WG_OK; /* read first: the group's own end comes before */
        wg_status status = try_take_slot(g);
        if (status == WG_LIMIT && ended)
            return WG_CONTEXT_ENDED;
        if (status == WG_LIMIT && wg_passed(until->deadline))
            return WG_TIMEOUT;
        if (status == WG_LIMIT)
            status = look_for_slot(g);
        if (status == WG_LIMIT)
            status = sleep_for_slot(g, until, context);
        if (status != WG_LIMIT)
            return status;
    }
}

static wg_status take_slot(wg_errgroup *g, const wg_until *until) {
    wg_status status = try_take_slot(g);
    if (status == WG_LIMIT) {
        wg_errgroup_retain(g); /* giving up the last reference meanwhile does no harm */
        status = wait_for_slot(g, until);
        wg_errgroup_release(g); /* with a slot taken, the tasks' reference is there */
    }
    return status;
}

int wg_errgroup_limit(const wg_errgroup *g) {
    int limit = g ? limit_of(g) : 0;
    return limit == WG_NO_LIMIT ? 0 : limit;
}

wg_status wg_errgroup_set_limit(wg_errgroup *g, int limit) {
    if (!g || limit <= 0)
        return WG_INVALID;
    struct wg_stripe *stripe = stripe_of(g);
    struct wg_sleeper *goer;
    struct wg_wakes wakes = {.count = 0};
    wg_lock_take(&stripe->lock);
    wg_store_relaxed32(&g->limit, (uint32_t)limit);
    while ((goer = wg_sleeper_first(stripe, &g->limit)) && wg_count_admit(&g->tasks, limit))
        wake_goer(g, goer, WG_ON_SUBJECT, &wakes);
    if (wg_count(&g->tasks) < limit) { /* then nobody sleeps for it */
        wg_count_ungate(&g->tasks);
        wg_observers_call(stripe, &g->room, g, &wakes);
    }
    ungate_if_unwanted(g, stripe);
    wg_stripe_give(stripe, &wakes);
    return WG_OK;
}

static void tell_of_end(void *group) {
    wg_errgroup *g = group;
    struct wg_stripe *stripe = stripe_of(g);
    struct wg_wakes none = {.count = 0};
    wg_lock_take(&stripe->lock);
    wg_observers_call(stripe, &g->room, g, &none);
    wg_lock_give(&stripe->lock);
}

wg_status wg_errgroup_observe_room(wg_errgroup *g, wg_observer *observer, void (*fn)(void *arg), void *arg) {
    if (!g || !observer || !fn)
        return WG_INVALID;
    struct wg_stripe *stripe = stripe_of(g);
    wg_context_check(g->context);
    wg_lock_take(&stripe->lock);
    bool watch_end = !g->room_ends;
    g->room_ends = true;
    wg_lock_give(&stripe->lock);
    if (watch_end)
        wg_context_observe(g->context, &g->on_end, tell_of_end, g);

    wg_lock_take(&stripe->lock);
    bool full = wg_context_status(g->context) == WG_OK && wg_count_gate(&g->tasks, limit_of(g));
    wg_observer_settle(stripe, &g->room, !full, g, observer, fn, arg);
    return WG_OK;
}

bool wg_errgroup_unobserve_room(wg_errgroup *g, wg_observer *observer) {
    return g && observer && wg_observer_remove(stripe_of(g), observer, false);
}

bool wg_errgroup_unobserve_room_sync(wg_errgroup *g, wg_observer *observer) {
    return g && observer && wg_observer_remove(stripe_of(g), observer, true);
}

/* Tasks. */

bool wg_errgroup_is_echo(const wg_errgroup *g, const wg_error *error) {
    return g && error && wg_error_get_kind(error) == WG_ERROR_STOP && wg_context_check(g->context) != WG_OK;
}

/* A task from the moment that a thread takes it, on the stack of that thread, beneath all that the task calls. A step is
 * counted before it is made: if the thread ends inside one, wg_finish goes on with the next. */
struct life {
    enum { RUN, RECORD, CANCEL, TELL, LEAVE, TELL_LAST, OVER } step, end;
    bool skip;   /* it shall not start */
    bool simple; /* it is of the simple form */
    bool first;  /* its error is the group's first */
    wg_how how;  /* after the step RECORD */
    wg_errgroup *group;
    struct task *task; /* its memory until the step RECORD; NULL if it has none */
    struct call call;  /* copied from there */
    wg_error *error;   /* from the step RECORD on the group's, or what is to be given up */
    struct wg_frame frame;
};

/* With which error the task ends, unless its function returns, is known before. */
static void run_function(struct life *life) {
    wg_errgroup *g = life->group;
    life->how = WG_NEVER_STARTED;
    if (life->skip || wg_context_check(g->context) != WG_OK)
        return;
    wg_add_release64(&g->started, 1);
    life->how = WG_TASK_FAILED;
    life->error = wg_error_thread_ended();
    wg_frame_push(&life->frame, &g->tasks, g->context);
    life->error = life->call.fn(life->call.arg, g->context);
}

/* `task` failed with `error`: it becomes the entry in the list. False if there is no memory for one. */
static bool add_failure(wg_errgroup *g, struct task *task, wg_error *error, bool *first) {
    struct wg_stripe *stripe = stripe_of(g);
    wg_lock_take(&stripe->lock);
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
    wg_lock_give(&stripe->lock);
    return task != NULL;
}

/* From here on the group has the error of a task that failed; any other is to be given up. The memory of the task goes. */
static void record(struct life *life) {
    wg_errgroup *g = life->group;
    if (life->task && life->how != WG_NEVER_STARTED)
        wg_frame_pop(&life->frame);
    if (life->error && !wg_errgroup_is_echo(g, life->error)) {
        struct task *entry = life->task ? life->task : (struct task *)wg_work_new(sizeof *entry);
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

static void leave(const struct life *life) {
    wg_errgroup *g = life->group;
    wg_add_relaxed64(life->how == WG_NEVER_STARTED ? &g->never_started : &g->ended, 1);
    give_slot(g);
}

static void tell_last(const struct life *life) {
    if (!life->simple && life->call.last)
        life->call.last(life->call.arg);
}

static void live(void *raw) {
    struct life *life = raw;
    while (life->step < life->end)
        switch (life->step++) {
        case RUN: run_function(life); break;
        case RECORD: record(life); break;
        case CANCEL: cancel_or_drop(life); break;
        case TELL: tell(life); break;
        case LEAVE: leave(life); break;
        case TELL_LAST: tell_last(life); break;
        case OVER: break;
        }
}

static void live_from_start(struct wg_work *work, bool skip, bool simple) {
    struct task *task = (struct task *)work;
    struct life life = {.step = RUN, .end = OVER, .skip = skip, .simple = simple, .group = task->group, .task = task};
    life.call = task->as.call;
    wg_finish(live, &life);
}

static void run_task(struct wg_work *work, bool skip) { live_from_start(work, skip, false); }
static void run_simple_task(struct wg_work *work, bool skip) { live_from_start(work, skip, true); }

/* Under the lock: the queue in `pool`, or NULL. */
static struct wg_lane *lane_in(wg_errgroup *g, const wg_pool *pool) {
    struct other_pool *other = g->others;
    while (other && other->pool != pool)
        other = other->next;
    return other ? &other->lane : NULL;
}

/* Add a queue in `pool`, unless another thread has done it. False without memory. */
static bool add_pool(wg_errgroup *g, wg_pool *pool) {
    struct wg_stripe *stripe = stripe_of(g);
    struct other_pool *other = malloc(sizeof *other);
    if (!other)
        return false;
    wg_lock_take(&stripe->lock);
    bool known = lane_in(g, pool);
    if (!known) {
        *other = (struct other_pool){.pool = wg_pool_retain(pool), .next = g->others};
        g->others = other;
    }
    wg_lock_give(&stripe->lock);
    if (known)
        free(other);
    return true;
}

/* The queue of the group in `pool`; NULL without memory. */
static struct wg_lane *lane_of(wg_errgroup *g, wg_pool *pool) {
    if (pool == g->pool)
        return &g->lane;
    struct wg_stripe *stripe = stripe_of(g);
    struct wg_lane *lane;
    do {
        wg_lock_take(&stripe->lock);
        lane = lane_in(g, pool);
        wg_lock_give(&stripe->lock);
    } while (!lane && add_pool(g, pool));
    return lane;
}

static wg_status submit(wg_errgroup *g, wg_pool *pool, const struct task *task) {
    struct wg_lane *lane = lane_of(g, pool);
    return lane ? wg_pool_submit(pool, lane, &task->work, sizeof *task) : WG_NO_MEMORY;
}

/* Without `until` it never blocks. */
static wg_status go(wg_errgroup *g, wg_pool *pool, const struct task *task, const wg_until *until) {
    if (!g || !task->as.call.fn)
        return WG_INVALID;
    wg_status status = until ? take_slot(g, until) : try_take_slot(g);
    if (status != WG_OK)
        return status;
    status = submit(g, pool ? pool : g->pool, task);
    if (status != WG_OK)
        give_slot(g);
    return status;
}

static const wg_until for_ever = {0};

static wg_status go_simply(wg_errgroup *g, struct call call, const wg_until *until) {
    struct task task = {.work = {.run = run_simple_task}, .group = g, .as.call = call};
    return go(g, NULL, &task, until);
}

wg_status wg_errgroup_go(wg_errgroup *g, wg_task_fn fn, void *arg, void (*destroy)(void *arg), const wg_until *until) {
    return go_simply(g, (struct call){fn, arg, NULL, destroy}, until ? until : &for_ever);
}

wg_status wg_errgroup_try_go(wg_errgroup *g, wg_task_fn fn, void *arg, void (*destroy)(void *arg)) {
    return go_simply(g, (struct call){fn, arg, NULL, destroy}, NULL);
}

static wg_status start(wg_errgroup *g, const wg_task *task, const wg_until *until) {
    if (!task)
        return WG_INVALID;
    struct call call = {task->fn, task->arg, task->settled, task->ended};
    struct task queued = {.work = {.run = run_task}, .group = g, .as.call = call};
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

wg_status wg_errgroup_settle(wg_errgroup *g, wg_error *error, wg_how *how) {
    if (!g)
        return WG_INVALID;
    if (wg_count(&g->tasks) == 0)
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
    if (wg_count(&g->tasks) == 0)
        return WG_NEGATIVE;
    struct life life = {.step = RECORD, .end = OVER, .group = g, .error = error, .how = WG_SUCCEEDED};
    wg_finish(live, &life);
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
    struct wg_stripe *stripe = stripe_of(g);
    wg_context_check(g->context);
    wg_lock_take(&stripe->lock);
    bool finished = wg_load_relaxed32(&g->finished);
    if (!finished && (wg_count_close(&g->tasks) || leave_stragglers)) {
        g->outcome = judge(g);
        wg_store_release32(&g->finished, 1);
        finished = true;
    }
    wg_lock_give(&stripe->lock);
    if (finished)
        wg_context_cancel(g->context, g->failed ? g->failed->as.failed.error : NULL);
    return finished;
}

/* When the grace period ends. Later waits, and those that go on after an interruption, do not prolong it. */
static int64_t end_of_grace(wg_errgroup *g) {
    uint64_t end = wg_load_relaxed64(&g->grace_end), fresh = (uint64_t)wg_after(g->grace);
    return (int64_t)(end == 0 && wg_cas_relaxed64(&g->grace_end, &end, fresh) ? fresh : end);
}

/* Wait for the tasks, or for the end of grace: then *grace_over. */
static wg_status wait_for_tasks(wg_errgroup *g, const wg_until *until, bool *grace_over) {
    if (g->grace == 0) {
        bool unbounded = wg_until_unbounded(until) && !until->interruptible;
        while (unbounded && wg_pool_help(g->pool, &g->lane)) {}
        return wg_wait_zero(&g->tasks, until, NULL);
    }
    if (wg_context_check(g->context) == WG_OK) {
        wg_status status = wg_wait_zero(&g->tasks, until, g->context);
        if (status != WG_CANCELLED)
            return status;
    }
    int64_t grace_end = end_of_grace(g);
    wg_until shorter = *until;
    shorter.deadline = wg_earlier(until->deadline, grace_end);
    wg_status status = wg_wait_zero(&g->tasks, &shorter, NULL);
    *grace_over = status == WG_TIMEOUT && wg_passed(grace_end);
    return *grace_over ? WG_OK : status;
}

/* Wait until the outcome is given. A task that waits for a group which ends with the task's own context is leaving the
 * block of that group: the group is cancelled with the context, and its tasks are waited for. */
static wg_status wait_for_outcome(wg_errgroup *g, wg_until until) {
    if (wg_load_acquire32(&g->finished))
        return WG_OK;
    if (slots_held(g) > 0)
        return WG_DEADLOCK;
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
struct wait {
    wg_errgroup *group;
    wg_until until;
    wg_error **first;
    wg_status status;
    bool begun;
};

/* See wg_finish. */
static void wait_and_release(void *raw) {
    struct wait *wait = raw;
    wg_errgroup *g = wait->group;
    if (!wait->begun) {
        wait->begun = true;
        wait->status = wait_for_outcome(g, wait->until);
    }
    if (wait->status == WG_OK) {
        wg_context_cancel(g->context, NULL); /* the wait that gave the outcome may be on its way there */
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
    struct wait wait = {.group = wg_errgroup_retain(g), .until = until ? *until : for_ever, .first = first};
    wait.status = WG_TIMEOUT; /* no outcome, unless there is one */
    wg_finish(wait_and_release, &wait);
    return wait.status;
}

wg_status wg_errgroup_cancel(wg_errgroup *g, wg_error *cause) {
    return g ? wg_context_cancel(g->context, cause) : WG_INVALID;
}

/* To look at. */

const char *wg_errgroup_name(const wg_errgroup *g) { return g ? g->name : ""; }

int64_t wg_errgroup_grace(const wg_errgroup *g) { return g ? g->grace : 0; }

wg_context *wg_errgroup_context(wg_errgroup *g) { return g ? g->context : NULL; }

wg_waitgroup *wg_errgroup_tasks(wg_errgroup *g) { return g ? &g->tasks : NULL; }

size_t wg_errgroup_errors(wg_errgroup *g, wg_error **errors, size_t capacity) {
    if (!g)
        return 0;
    struct wg_stripe *stripe = stripe_of(g);
    wg_lock_take(&stripe->lock);
    struct task *task = g->failed;
    for (size_t i = 0; i < capacity && task; i++, task = task->as.failed.next)
        errors[i] = task->as.failed.error;
    size_t n = g->failures;
    wg_lock_give(&stripe->lock);
    return n;
}

wg_errgroup_counts wg_errgroup_get_counts(wg_errgroup *g) {
    wg_errgroup_counts counts = {0, 0, 0};
    if (!g)
        return counts;
    /* First those that started: so those that end meanwhile make `running` too small, never too large. Who sees a start sees
     * the end, before it, of the task whose slot was taken for it. */
    uint64_t started = wg_load_acquire64(&g->started);
    uint64_t ended = wg_load_relaxed64(&g->ended);
    uint64_t unfinished = (uint64_t)wg_count(&g->tasks);
    uint64_t running = started > ended ? started - ended : 0;
    counts.completed = (unsigned long)(ended + wg_load_relaxed64(&g->never_started));
    counts.running = (unsigned long)running;
    counts.pending = unfinished > running ? (unsigned long)(unfinished - running) : 0;
    return counts;
}
