/* deadlock_scenarios.c - tasks that wait for each other, in all small shapes: no deadlock is missed, for then all threads
 * would sleep, and none is invented, for each task notes for whom it waits. */
#include "sim.h"

#include <stdlib.h>

#include "waitgroup.h"

enum { MOST = 3 };
enum kind { FOR_NOBODY, FOR_OUTCOME, FOR_TASK, FOR_SLOT, KINDS };

/* Task i is the first of group i, whose only slot it holds. */
static struct job {
    enum kind kind;
    unsigned target;
    wg_errgroup *group;
    wg_waitgroup ended;
    wg_a32 waits_for; /* 1 more than the number of the task; 0: it does not wait */
    bool looks;       /* its waits look for interruptions; such a look */
    wg_a32 looking;   /* is under way since then: 0: none is; */
    uint32_t asleep;  /* and the task may have been asleep from then on */
    bool loose;       /* the task has no thread of its own: it is a coroutine, which waits by an observer */
    wg_observer observer;
    wg_waitgroup told;
} jobs[MOST];
static unsigned count;
static wg_a32 alarms;
static wg_waitgroup gate; /* one until all tasks have been started */

static wg_error *succeed(void *unused, wg_context *ctx) {
    (void)unused, (void)ctx;
    return NULL;
}

static wg_a32 times; /* counts what is marked as above */

static uint32_t mark(void) { return wg_add_relaxed32(&times, 1) + 1; }

/* Was it in one and the same look from when `job` may have fallen asleep until now? Then it was not asleep meanwhile. */
static bool only_looked(const struct job *at, const struct job *job) {
    uint32_t since = wg_load_relaxed32(&at->looking);
    return since != 0 && since < job->asleep;
}

/* From `job`, who waits for whom leads back to it. */
static bool in_a_ring(const struct job *job) {
    const struct job *at = job;
    for (unsigned i = 0; i < count; i++) {
        uint32_t next = wg_load_relaxed32(&at->waits_for);
        if (next == 0 || only_looked(at, job))
            return false;
        at = &jobs[next - 1];
        if (at == job)
            return true;
    }
    return false;
}

static bool look(void *raw) {
    struct job *job = raw;
    wg_store_relaxed32(&job->looking, mark());
    sim_yield();
    wg_store_relaxed32(&job->looking, 0);
    job->asleep = mark();
    return true;
}

static wg_status block(struct job *job) {
    struct job *target = &jobs[job->target];
    job->asleep = mark();
    wg_until looking = {.interruptible = true, .look = look, .look_arg = job}, *until = job->looks ? &looking : NULL;
    switch (job->kind) {
    case FOR_OUTCOME: return wg_errgroup_wait(target->group, until, NULL);
    case FOR_TASK: return wg_errgroup_wait_task(target->group, target, &target->ended, until);
    case FOR_SLOT: return wg_errgroup_go(target->group, succeed, NULL, NULL, until);
    default: return WG_OK;
    }
}

static wg_event event_of(const struct job *job) {
    struct job *target = &jobs[job->target];
    switch (job->kind) {
    case FOR_OUTCOME: return wg_outcome(target->group);
    case FOR_TASK: return wg_zero(&target->ended);
    default: return wg_slot(target->group);
    }
}

static void hear(void *raw) { SIM_EQUAL(wg_done(&((struct job *)raw)->told), WG_OK); }

/* What came of a wait for a slot, which is given back. */
static wg_status use_slot(const struct job *job, bool prevented) {
    wg_status status = prevented ? WG_OK : wg_slot_status(&job->observer);
    if (!prevented && status == WG_OK)
        SIM_EQUAL(wg_errgroup_give_slot(jobs[job->target].group), WG_OK);
    return status;
}

/* As a coroutine that waits; the thread which sleeps here in its place is no part of it. */
static wg_status block_loosely(struct job *job) {
    wg_waiting *waiting;
    char *report;
    wg_context *ctx = wg_errgroup_context(job->group);
    wg_waiting_task task = {.group = job->group, .arg = job, .context = ctx};
    wg_waiting_for what = {.task = &task, .event = event_of(job), .observer = &job->observer, .context = ctx};
    if (job->kind == FOR_NOBODY)
        return WG_OK;
    if (job->kind == FOR_TASK) {
        what.group = jobs[job->target].group;
        what.arg = &jobs[job->target];
    }
    SIM_EQUAL(wg_add(&job->told, 1), WG_OK);
    SIM_EQUAL(wg_event_observe(what.event, &job->observer, hear, job), WG_OK);
    wg_status status = wg_waiting_begin(&waiting, &what, &report);
    bool prevented = false;
    if (status == WG_OK) {
        SIM_EQUAL(wg_wait(&job->told, NULL), WG_OK);
        report = wg_waiting_end(waiting);
    } else
        prevented = wg_event_unobserve_sync(what.event, &job->observer);
    if (prevented)
        SIM_EQUAL(wg_done(&job->told), WG_OK);
    free(report);
    wg_status slot = job->kind == FOR_SLOT ? use_slot(job, prevented) : WG_OK;
    return status == WG_OK ? slot : status;
}

static wg_error *wait_for_target(void *raw, wg_context *ctx) {
    struct job *job = raw;
    (void)ctx;
    SIM_EQUAL(wg_wait(&gate, NULL), WG_OK);
    if (job->kind != FOR_NOBODY)
        wg_store_relaxed32(&job->waits_for, job->target + 1);
    wg_status status = job->loose ? block_loosely(job) : block(job);
    if (status == WG_DEADLOCK) {
        SIM_CHECK(in_a_ring(job));
        wg_add_relaxed32(&alarms, 1);
    } else {
        bool over = status == WG_FINISHED || status == WG_CANCELLED; /* by the group's own end */
        SIM_CHECK(status == WG_OK || (over && job->kind == FOR_SLOT));
    }
    wg_store_relaxed32(&job->waits_for, 0);
    return NULL;
}

static void tell(void *raw) { SIM_EQUAL(wg_done(&((struct job *)raw)->ended), WG_OK); }

static void run_loosely(void *raw) {
    struct job *job = raw;
    wait_for_target(job, NULL);
    SIM_EQUAL(wg_errgroup_leave(job->group, NULL), WG_OK);
    tell(job);
}

static struct sim_thread *start(struct job *job) {
    wg_task task = {.fn = wait_for_target, .arg = job, .ended = tell};
    SIM_EQUAL(wg_add(&job->ended, 1), WG_OK);
    wg_status status = job->loose ? wg_errgroup_enter(job->group) : wg_errgroup_try_start(job->group, &task);
    SIM_EQUAL(status, WG_OK);
    return job->loose ? sim_go("coroutine", run_loosely, job) : NULL;
}

static void run_jobs(void) {
    struct sim_thread *threads[MOST];
    for (unsigned i = 0; i < count; i++)
        threads[i] = start(&jobs[i]);
    SIM_EQUAL(wg_done(&gate), WG_OK);
    for (unsigned i = 0; i < count; i++) {
        SIM_EQUAL(wg_wait(&jobs[i].ended, NULL), WG_OK);
        SIM_EQUAL(wg_errgroup_wait(jobs[i].group, NULL, NULL), WG_OK);
        if (threads[i])
            sim_join(threads[i]);
    }
    for (unsigned i = 0; i < count; i++)
        wg_errgroup_release(jobs[i].group);
}

static void make_jobs(unsigned n) {
    count = n;
    SIM_EQUAL(wg_add(&gate, 1), WG_OK);
    for (unsigned i = 0; i < count; i++)
        SIM_EQUAL(wg_errgroup_new(&jobs[i].group, &(wg_errgroup_options){.limit = 1}), WG_OK);
}

/* Any shape: each waits for nobody, or in one of three ways for any task, itself included. */
static void run_any_shape(unsigned n) {
    make_jobs(n);
    for (unsigned i = 0; i < count; i++) {
        jobs[i].kind = (enum kind)sim_pick(KINDS);
        jobs[i].target = sim_pick(count);
    }
    run_jobs();
}

static void any_shape_of_two(void) { run_any_shape(2); }
static void any_shape_of_three(void) { run_any_shape(3); }

/* The same where waits may look for interruptions. */
static void run_any_looking_shape(unsigned n) {
    for (unsigned i = 0; i < n; i++)
        jobs[i].looks = sim_pick(4) > 0;
    run_any_shape(n);
}

static void any_shape_of_two_that_look(void) { run_any_looking_shape(2); }
static void any_shape_of_three_that_look(void) { run_any_looking_shape(3); }

/* The same where each task has a thread or has none. */
static void run_any_loose_shape(unsigned n) {
    for (unsigned i = 0; i < n; i++)
        jobs[i].loose = sim_pick(2) == 0;
    run_any_shape(n);
}

static void any_shape_of_two_with_coroutines(void) { run_any_loose_shape(2); }
static void any_shape_of_three_with_coroutines(void) { run_any_loose_shape(3); }

/* A coroutine waits for a count, which comes to zero and leaves it again, for a task that waits for that coroutine. It belongs to the first
 * round, so there is no deadlock, even before it is told. */
static void hear_nothing(void *unused) { (void)unused; }

static void done_once(void *raw) { SIM_EQUAL(wg_done(raw), WG_OK); }

static void another_round_is_no_deadlock(void) {
    wg_waitgroup *wg = &jobs[0].told;
    wg_waiting *first, *second;
    char *report;
    make_jobs(1);
    SIM_EQUAL(wg_add(wg, 1), WG_OK);
    SIM_EQUAL(wg_errgroup_enter(jobs[0].group), WG_OK);
    wg_waiting_task of_group = {.group = jobs[0].group, .arg = &jobs[0]}, of_wg = {.wg = wg, .arg = &jobs[1]};
    SIM_EQUAL(wg_event_observe(wg_zero(wg), &jobs[0].observer, hear_nothing, NULL), WG_OK);
    wg_waiting_for what = {.task = &of_group, .event = wg_zero(wg), .observer = &jobs[0].observer};
    SIM_EQUAL(wg_waiting_begin(&first, &what, &report), WG_OK);
    struct sim_thread *other = sim_go("done", done_once, wg);
    for (int i = 0; i < 100 && wg_count(wg) > 0; i++)
        sim_yield();
    if (wg_count(wg) == 0) {
        SIM_EQUAL(wg_add(wg, 1), WG_OK);
        what = (wg_waiting_for){.task = &of_wg, .event = wg_outcome(jobs[0].group)};
        SIM_EQUAL(wg_waiting_begin(&second, &what, &report), WG_OK);
        free(wg_waiting_end(second));
    }
    sim_join(other);
    free(wg_waiting_end(first));
    SIM_EQUAL(wg_errgroup_leave(jobs[0].group, NULL), WG_OK);
    SIM_EQUAL(wg_errgroup_wait(jobs[0].group, NULL, NULL), WG_OK);
    wg_errgroup_release(jobs[0].group);
}

/* A ring in which nobody can be missing: exactly one hears of it. */
static void run_ring(unsigned n) {
    make_jobs(n);
    for (unsigned i = 0; i < count; i++) {
        jobs[i].kind = (enum kind)(1 + sim_pick(KINDS - 1));
        jobs[i].target = (i + 1) % count;
    }
    run_jobs();
    SIM_CHECK(wg_load_relaxed32(&alarms) <= 1); /* none if one had ended before another began */
}

static void ring_of_two(void) { run_ring(2); }
static void ring_of_three(void) { run_ring(3); }

/* Two tasks of a group, one of which is in what would be a ring: the other is waited for, or holds a slot. It ends. */
static wg_error *wait_for_group(void *group, wg_context *ctx) {
    (void)ctx;
    SIM_EQUAL(wg_errgroup_wait(group, NULL, NULL), WG_OK);
    return NULL;
}

static wg_error *end_at_gate(void *unused, wg_context *ctx) {
    (void)unused, (void)ctx;
    SIM_EQUAL(wg_wait(&gate, &(wg_until){.context = wg_context_root()}), WG_OK);
    return NULL;
}

static wg_error *block_as_job(void *raw, wg_context *ctx) {
    (void)ctx;
    wg_status status = block(raw);
    SIM_CHECK(status == WG_OK || status == WG_FINISHED || status == WG_CANCELLED); /* its end may come first */
    return NULL;
}

static void run_beside_the_ring(enum kind kind) {
    struct job *a = &jobs[0], *b = &jobs[1];
    count = 2;
    SIM_EQUAL(wg_add(&gate, 1), WG_OK);
    SIM_EQUAL(wg_errgroup_new(&a->group, &(wg_errgroup_options){.limit = 2}), WG_OK);
    SIM_EQUAL(wg_errgroup_new(&b->group, NULL), WG_OK);
    wg_task task = {.fn = end_at_gate, .arg = a, .ended = tell};
    b->kind = kind;
    SIM_EQUAL(wg_add(&a->ended, 1), WG_OK);
    SIM_EQUAL(wg_errgroup_try_start(a->group, &task), WG_OK);
    SIM_EQUAL(wg_errgroup_enter(b->group), WG_OK); /* so that it is waited for */
    SIM_EQUAL(wg_errgroup_try_go(a->group, wait_for_group, b->group, NULL), WG_OK);
    SIM_EQUAL(wg_errgroup_try_go(b->group, block_as_job, b, NULL), WG_OK);
    SIM_EQUAL(wg_errgroup_leave(b->group, NULL), WG_OK);
    SIM_EQUAL(wg_done(&gate), WG_OK);
    for (unsigned i = 0; i < 2; i++)
        SIM_EQUAL(wg_errgroup_wait(jobs[i].group, NULL, NULL), WG_OK);
    SIM_EQUAL(wg_wait(&a->ended, NULL), WG_OK);
    for (unsigned i = 0; i < 2; i++)
        wg_errgroup_release(jobs[i].group);
}

static void a_task_beside_the_ring(void) { run_beside_the_ring(FOR_TASK); }
static void a_slot_beside_the_ring(void) { run_beside_the_ring(FOR_SLOT); }

/* A cancel ends the wait that would close a ring, or comes too late: the tasks end in each case. */
static void cancel_first(void *unused) {
    (void)unused;
    wg_errgroup_cancel(jobs[0].group, NULL); /* too late if the outcome was given before */
}

static wg_error *wait_for_outcome(void *raw, wg_context *ctx) {
    struct job *job = raw, *target = &jobs[job->target];
    SIM_EQUAL(wg_wait(&gate, &(wg_until){.context = wg_context_root()}), WG_OK);
    wg_status status = wg_errgroup_wait(target->group, NULL, NULL);
    SIM_CHECK(status == WG_OK || status == WG_DEADLOCK || status == WG_CONTEXT_ENDED);
    return wg_context_error(ctx); /* the ring may be gone by now */
}

static void ring_against_cancel(void) {
    make_jobs(2);
    for (unsigned i = 0; i < 2; i++) {
        jobs[i].target = 1 - i;
        wg_status status = wg_errgroup_go(jobs[i].group, wait_for_outcome, &jobs[i], NULL, NULL);
        SIM_EQUAL(status, WG_OK);
    }
    SIM_EQUAL(wg_done(&gate), WG_OK);
    struct sim_thread *other = sim_go("cancel", cancel_first, NULL);
    for (unsigned i = 0; i < 2; i++)
        SIM_EQUAL(wg_errgroup_wait(jobs[i].group, NULL, NULL), WG_OK);
    sim_join(other);
    for (unsigned i = 0; i < 2; i++)
        wg_errgroup_release(jobs[i].group);
}

/* Two slots, one of them held by a task that ends; the other task waits for what is queued behind it. */
static wg_error *start_and_wait(void *unused, wg_context *ctx) {
    struct job *job = &jobs[0];
    wg_task task = {.fn = succeed, .arg = job, .ended = tell};
    (void)unused, (void)ctx;
    SIM_EQUAL(wg_add(&job->ended, 1), WG_OK);
    wg_status status = wg_errgroup_start(job->group, &task, NULL);
    SIM_EQUAL(status, WG_OK);
    SIM_EQUAL(wg_errgroup_wait_task(job->group, job, &job->ended, NULL), job->target ? WG_DEADLOCK : WG_OK);
    return NULL;
}

static void run_queued(int limit) {
    jobs[0].target = limit == 1;
    wg_errgroup_options options = {.limit = limit, .backlog = 2};
    SIM_EQUAL(wg_errgroup_new(&jobs[0].group, &options), WG_OK);
    SIM_EQUAL(wg_errgroup_go(jobs[0].group, start_and_wait, NULL, NULL, NULL), WG_OK);
    if (limit > 1)
        SIM_EQUAL(wg_errgroup_go(jobs[0].group, succeed, NULL, NULL, NULL), WG_OK);
    SIM_EQUAL(wg_errgroup_wait(jobs[0].group, NULL, NULL), WG_OK);
    SIM_EQUAL(wg_wait(&jobs[0].ended, NULL), WG_OK);
    wg_errgroup_release(jobs[0].group);
}

static void queued_behind_the_one_that_waits(void) { run_queued(1); }
static void queued_behind_one_that_ends(void) { run_queued(2); }

const struct sim_scenario deadlock_scenarios[] = {
    {"any_shape_of_two", any_shape_of_two, .cores = 1, .exhaustive = 0, .spurious = false},
    {"any_shape_of_three", any_shape_of_three, .cores = 1, .exhaustive = 0, .spurious = false},
    {"any_shape_of_two_that_look", any_shape_of_two_that_look, .cores = 1, .exhaustive = 0, .spurious = false},
    {"any_shape_of_three_that_look", any_shape_of_three_that_look, .cores = 1, .exhaustive = 0, .spurious = false},
    {"any_shape_of_two_with_coroutines", any_shape_of_two_with_coroutines, .cores = 1, .exhaustive = 0,
     .spurious = false},
    {"any_shape_of_three_with_coroutines", any_shape_of_three_with_coroutines, .cores = 1, .exhaustive = 0,
     .spurious = false},
    {"another_round_is_no_deadlock", another_round_is_no_deadlock, .cores = 1, .exhaustive = 2, .spurious = false},
    {"a_task_beside_the_ring", a_task_beside_the_ring, .cores = 1, .exhaustive = 1, .spurious = false},
    {"a_slot_beside_the_ring", a_slot_beside_the_ring, .cores = 1, .exhaustive = 1, .spurious = false},
    {"ring_of_two", ring_of_two, .cores = 1, .exhaustive = 2, .spurious = false},
    {"ring_of_three", ring_of_three, .cores = 1, .exhaustive = 1, .spurious = false},
    {"ring_against_cancel", ring_against_cancel, .cores = 1, .exhaustive = 2, .spurious = false},
    {"queued_behind_the_one_that_waits", queued_behind_the_one_that_waits, .cores = 1, .exhaustive = 2,
     .spurious = false},
    {"queued_behind_one_that_ends", queued_behind_one_that_ends, .cores = 1, .exhaustive = 2, .spurious = false},
    {0},
};
