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
 *   started, ended    anybody, atomically; they are for people to look at
 *   lane              see pool.h
 *   looks             anybody, a guess
 *   context, pool, grace   never after its making
 *
 * At the end of a task, in this order: record the error, cancel the context, destroy the argument, and then the one
 * step that gives back the slot and counts the task as done. So no sibling's "cancelled" can come before the error, and
 * whoever waits finds everything in its place. */
#include "errgroup.h"

#include <stdlib.h>

#include "context.h"
#include "count.h"
#include "deadline.h"
#include "pool.h"
#include "wait.h"

/* How often to look for a slot before a sleep, at most. That takes about as long as to sleep and be woken on another
 * core, so it costs at most as much again; a sleep would also let the workers fall asleep, who then have to be woken. */
#define MOST_LOOKS 2000

struct task {
    struct wg_work work;
    wg_errgroup *group;
    wg_task_fn fn;
    union {
        void *arg;
        wg_error *error; /* of a task that failed: from then on it is an entry in the list `failed` */
    };
    union {
        void (*destroy)(void *arg);
        struct task *next_failed;
    };
};
_Static_assert(sizeof(struct task) <= 64, "a queued task is small");
WG_KEPT_IN_SLABS(struct task);

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
    wg_a64 started, ended;
    struct task *failed, **last_failed;
    struct task last_resort; /* the entry of a first error without memory */
    size_t failures;
    unsigned own_blocked; /* slots held by tasks that sleep as goers */
    wg_observer *room;
    bool room_ends; /* `on_end` is observing the context */
    wg_observer on_end;
};

static struct wg_stripe *stripe_of(wg_errgroup *g) { return wg_stripe_of(&g->tasks); }

static int32_t limit_of(const wg_errgroup *g) { return (int32_t)wg_load_relaxed32(&g->limit); }

/* Slots of `g` held by the tasks that this thread runs, one inside the wait of another. */
static unsigned slots_held(const wg_errgroup *g) {
    unsigned held = 0;
    for (struct wg_frame *frame = wg_self()->frame; frame; frame = frame->outer)
        held += frame->group == g;
    return held;
}

/* Making and unmaking. */

wg_status wg_errgroup_new(wg_errgroup **out, const wg_errgroup_options *options) {
    static const wg_errgroup_options nothing_special = {0};
    if (!options)
        options = &nothing_special;
    if (!out || options->limit < 0 || options->grace < 0)
        return WG_INVALID;
    wg_errgroup *g = malloc(sizeof *g);
    if (!g)
        return WG_NO_MEMORY;
    *g = (wg_errgroup){
        .refs = 1,
        .limit = (uint32_t)(options->limit ? options->limit : WG_NO_LIMIT),
        .grace = options->grace,
        .looks = MOST_LOOKS,
        .pool = wg_pool_retain(wg_pool_or_default(options->pool)),
    };
    g->last_failed = &g->failed;
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
        next = task->next_failed;
        wg_error_release(task->error);
        if (task != &g->last_resort)
            wg_work_free(&task->work);
    }
    wg_lane_end(&g->lane);
    wg_context_release(g->context);
    wg_pool_release(g->pool);
    free(g);
}

/* Slots. */

/* Under the lock: the next slot is wanted no more if nobody waits for one. */
static void ungate_if_unwanted(wg_errgroup *g, struct wg_stripe *stripe) {
    if (!g->room && !wg_sleeper_first(stripe, &g->limit))
        wg_count_ungate(&g->tasks);
}

/* The goer whose sleeper this is. */
static struct goer *goer_of(struct wg_sleeper *sleeper) {
    return (struct goer *)((char *)sleeper - offsetof(struct goer, waiter.subject));
}

/* Under the lock: wake the goer whose sleeper this is, with `bit`. */
static void wake_goer(wg_errgroup *g, struct wg_sleeper *sleeper, uint32_t bit, struct wg_wakes *wakes) {
    g->own_blocked -= goer_of(sleeper)->held;
    wg_sleeper_wake(stripe_of(g), sleeper, bit, wakes);
}

/* Under the lock, with `left` slots in use: if all of them are held by sleeping goers, no slot will ever be given back.
 * Then the one that came last hears of it. */
static void break_deadlock(wg_errgroup *g, int32_t left, struct wg_wakes *wakes) {
    struct wg_sleeper *last = NULL;
    if (g->own_blocked == 0 || g->own_blocked != (unsigned)left)
        return;
    for (struct wg_sleeper *s = stripe_of(g)->sleepers; s; s = s->next)
        if (s->subject == &g->limit && goer_of(s)->held > 0)
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
    if (wg_context_status(g->context) != WG_OK)
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
    if (wg_sleeper_unlink(stripe, &goer->waiter.subject))
        g->own_blocked -= goer->held;
    ungate_if_unwanted(g, stripe);
    wg_lock_give(&stripe->lock);
}

/* Sleep until a slot is handed over. WG_LIMIT: try again. */
static wg_status sleep_for_slot(wg_errgroup *g, const wg_until *until) {
    struct goer goer = {.held = 0};
    wg_status status = join_goers(g, &goer);
    if (status != WG_OK)
        return status;
    if (wg_waiter_context(&goer.waiter, g->context, WG_ON_GROUP) &&
        wg_waiter_context(&goer.waiter, until->context, WG_ON_CONTEXT))
        status = wg_waiter_sleep(&goer.waiter, until);
    wg_waiter_leave(&goer.waiter);
    leave_goers(g, &goer);
    uint32_t happened = wg_load_acquire32(&goer.waiter.word);
    if (wg_context_status(g->context) != WG_OK) {
        if (happened & WG_ON_SUBJECT)
            give_slot(g);
        return wg_context_status(g->context);
    }
    if (happened & WG_ON_SUBJECT)
        return WG_OK;
    if (happened & WG_ON_DEADLOCK)
        return WG_DEADLOCK;
    return status != WG_OK ? status : WG_TIMEOUT;
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
    for (;;) {
        if (wg_passed(until->deadline) || wg_context_status(until->context) != WG_OK)
            return WG_TIMEOUT;
        wg_status status = look_for_slot(g);
        if (status == WG_LIMIT)
            status = sleep_for_slot(g, until);
        if (status == WG_LIMIT)
            status = try_take_slot(g);
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
    return g && error && wg_error_get_kind(error) == WG_ERROR_STOP && wg_context_status(g->context) != WG_OK;
}

/* `task` failed with `error`: it becomes the entry in the list. The first one cancels the group. */
static void record(wg_errgroup *g, struct task *task, wg_error *error) {
    struct wg_stripe *stripe = stripe_of(g);
    wg_lock_take(&stripe->lock);
    bool first = g->failures == 0;
    if (!task && first)
        task = &g->last_resort;
    if (task) {
        task->error = error;
        task->next_failed = NULL;
        *g->last_failed = task;
        g->last_failed = &task->next_failed;
        g->failures++;
    }
    wg_lock_give(&stripe->lock);
    if (first)
        wg_context_cancel(g->context, error);
    if (!task)
        wg_error_release(error);
}

/* A task has ended with `error` or NULL, whose reference passes on. `task`: its memory, its argument no longer in it;
 * NULL if it has none. */
static void settle(wg_errgroup *g, struct task *task, wg_error *error) {
    if (error && !wg_errgroup_is_echo(g, error)) {
        record(g, task ? task : (struct task *)wg_work_new(sizeof *task), error);
    } else {
        wg_error_release(error);
        if (task)
            wg_work_free(&task->work);
    }
}

static void run_task(struct wg_work *work, bool skip) {
    struct task *task = (struct task *)work;
    wg_errgroup *g = task->group;
    void *arg = task->arg;
    void (*destroy)(void *arg) = task->destroy;
    wg_error *error = NULL;
    wg_add_relaxed64(&g->started, 1);
    if (!skip && wg_context_status(g->context) == WG_OK) {
        struct wg_self *self = wg_self();
        struct wg_frame frame = {.group = g, .ctx = g->context, .outer = self->frame};
        self->frame = &frame;
        error = task->fn(arg, g->context);
        self->frame = frame.outer;
    }
    settle(g, task, error);
    if (destroy)
        destroy(arg);
    wg_add_relaxed64(&g->ended, 1);
    give_slot(g);
}

static wg_status go(wg_errgroup *g, wg_task_fn fn, void *arg, void (*destroy)(void *arg), const wg_until *until) {
    if (!g || !fn)
        return WG_INVALID;
    wg_status status = until ? take_slot(g, until) : try_take_slot(g);
    if (status != WG_OK)
        return status;
    struct task task = {.work = {.run = run_task}, .group = g, .fn = fn, .arg = arg, .destroy = destroy};
    status = wg_pool_submit(g->pool, &g->lane, &task.work, sizeof task);
    if (status != WG_OK)
        give_slot(g);
    return status;
}

wg_status wg_errgroup_go(wg_errgroup *g, wg_task_fn fn, void *arg, void (*destroy)(void *arg), const wg_until *until) {
    static const wg_until for_ever = {0};
    return go(g, fn, arg, destroy, until ? until : &for_ever);
}

wg_status wg_errgroup_try_go(wg_errgroup *g, wg_task_fn fn, void *arg, void (*destroy)(void *arg)) {
    return go(g, fn, arg, destroy, NULL);
}

wg_status wg_errgroup_enter(wg_errgroup *g) {
    if (!g)
        return WG_INVALID;
    wg_status status = try_take_slot(g);
    if (status == WG_OK)
        wg_add_relaxed64(&g->started, 1);
    return status;
}

wg_status wg_errgroup_leave(wg_errgroup *g, wg_error *error) {
    if (!g)
        return WG_INVALID;
    if (wg_count(&g->tasks) == 0)
        return WG_NEGATIVE;
    settle(g, NULL, error);
    wg_add_relaxed64(&g->ended, 1);
    give_slot(g);
    return WG_OK;
}

/* The outcome. */

/* Under the lock, before the group's own end cancels the context. */
static wg_status judge(wg_errgroup *g) {
    if (g->failures > 0)
        return WG_FAILED;
    wg_status status = wg_context_status(g->context);
    bool plain_stop = status == WG_CANCELLED && !wg_context_inherited(g->context) && !wg_context_cause(g->context);
    return plain_stop ? WG_OK : status;
}

/* Give the outcome; false if tasks have been added meanwhile. */
static bool finish(wg_errgroup *g, bool leave_stragglers) {
    struct wg_stripe *stripe = stripe_of(g);
    wg_lock_take(&stripe->lock);
    bool finished = wg_load_relaxed32(&g->finished);
    if (!finished && (wg_count_close(&g->tasks) || leave_stragglers)) {
        g->outcome = judge(g);
        wg_store_release32(&g->finished, 1);
        finished = true;
    }
    wg_lock_give(&stripe->lock);
    if (finished)
        wg_context_cancel(g->context, NULL);
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
        bool unbounded = wg_point(until->deadline) == INT64_MAX && !until->context && !until->interruptible;
        while (unbounded && wg_pool_help(g->pool, &g->lane)) {}
        return wg_wait_zero(&g->tasks, until, NULL);
    }
    wg_status status = WG_OK;
    if (wg_context_status(g->context) == WG_OK) {
        status = wg_wait_zero(&g->tasks, until, g->context);
        if (status == WG_OK || status == WG_INTERRUPTED || wg_context_status(g->context) == WG_OK)
            return status;
    }
    int64_t grace_end = end_of_grace(g);
    wg_until shorter = *until;
    shorter.deadline = wg_earlier(until->deadline, grace_end);
    status = wg_wait_zero(&g->tasks, &shorter, NULL);
    *grace_over = status == WG_TIMEOUT && wg_passed(grace_end);
    return *grace_over ? WG_OK : status;
}

wg_status wg_errgroup_wait(wg_errgroup *g, const wg_until *until, wg_error **first) {
    static const wg_until for_ever = {0};
    if (!g)
        return WG_INVALID;
    if (!until)
        until = &for_ever;
    wg_errgroup_retain(g); /* so that giving up the last reference during the wait does no harm */
    wg_status status = WG_OK;
    if (!wg_load_acquire32(&g->finished)) {
        if (slots_held(g) > 0)
            status = WG_DEADLOCK;
        bool grace_over = false;
        while (status == WG_OK) {
            status = wait_for_tasks(g, until, &grace_over);
            if (status == WG_CANCELLED || status == WG_DEADLINE_EXCEEDED)
                status = WG_TIMEOUT; /* it was until->context that ended */
            if (status == WG_OK && finish(g, grace_over))
                break;
        }
    }
    if (status == WG_OK) {
        status = g->outcome;
        if (first)
            *first = status == WG_FAILED ? g->failed->error : status == WG_OK ? NULL : wg_context_cause(g->context);
    }
    wg_errgroup_release(g);
    return status;
}

wg_status wg_errgroup_cancel(wg_errgroup *g, wg_error *cause) {
    return g ? wg_context_cancel(g->context, cause) : WG_INVALID;
}

/* To look at. */

wg_context *wg_errgroup_context(wg_errgroup *g) { return g ? g->context : NULL; }

wg_waitgroup *wg_errgroup_tasks(wg_errgroup *g) { return g ? &g->tasks : NULL; }

size_t wg_errgroup_errors(wg_errgroup *g, wg_error **errors, size_t capacity) {
    if (!g)
        return 0;
    struct wg_stripe *stripe = stripe_of(g);
    wg_lock_take(&stripe->lock);
    struct task *task = g->failed;
    for (size_t i = 0; i < capacity && task; i++, task = task->next_failed)
        errors[i] = task->error;
    size_t n = g->failures;
    wg_lock_give(&stripe->lock);
    return n;
}

wg_errgroup_counts wg_errgroup_get_counts(wg_errgroup *g) {
    wg_errgroup_counts counts = {0, 0, 0};
    if (!g)
        return counts;
    /* Three loads of three moments: no difference may be taken for granted. */
    uint64_t ended = wg_load_relaxed64(&g->ended);
    uint64_t started = wg_load_relaxed64(&g->started);
    uint64_t unfinished = (uint64_t)wg_count(&g->tasks);
    uint64_t running = started > ended ? started - ended : 0;
    counts.completed = (unsigned long)ended;
    counts.running = (unsigned long)running;
    counts.pending = unfinished > running ? (unsigned long)(unfinished - running) : 0;
    return counts;
}
