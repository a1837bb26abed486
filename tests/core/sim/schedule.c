/* schedule.c - the simulated threads, and which of them takes the next step. */
#include "engine.h"

#include "fork.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum how { RUN, TIME_OUT, WAKE_IDLY };

struct option {
    struct sim_thread *thread;
    enum how how;
};

static uint64_t random_next(void) { /* splitmix64 */
    uint64_t z = engine->random += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

uint64_t random_below(uint64_t n) { return random_next() % n; }

static bool one_in(unsigned n) { return n > 0 && random_below(n) == 0; }

/* One of n; in an exhaustive search each in its turn. What `costs` is, but for 0, a preemption. */
unsigned choose(unsigned n, bool costs) {
    if (engine->search != EXHAUSTIVE)
        return (unsigned)random_below(n);
    if (n == 1)
        return 0;
    if (engine->depth == MAX_DECISIONS)
        sim_fail("too many decisions in one run");
    struct decision *d = &engine->path[engine->depth];
    if (engine->depth++ == engine->known) {
        *d = (struct decision){0, (uint16_t)n};
        engine->known++;
    }
    if (d->of != n && d->of != 0) /* of a path given by hand only the choice is known */
        sim_fail("the same choices did not lead to the same state: the scenario is not deterministic");
    d->of = (uint16_t)n;
    if (costs && d->chosen > 0)
        engine->preemptions++;
    return d->chosen;
}

unsigned sim_pick(unsigned n) { return n > 1 ? choose(n, false) : 0; }

void schedule_begin(void) {
    static const unsigned switches[] = {1, 2, 2, 4, 8, 32}, timeouts[] = {0, 0, 16, 64}, wakes[] = {0, 0, 32, 128};
    engine->random = engine->seed;
    engine->thread_count = 0;
    engine->steps = 0;
    engine->depth = engine->preemptions = 0;
    engine->now = 1000 * WG_SECOND;
    engine->cpu_rate = 0;
    engine->starts = SIM_ALWAYS;
    engine->needed_time = false;
    engine->signal_count = 0;
    engine->file.open = false;
    engine->forking = engine->is_child = false;
    engine->failed = false;
    engine->traced = 0;
    if (engine->search != EXHAUSTIVE) {
        engine->switches = switches[random_below(6)];
        engine->timeouts = timeouts[random_below(4)];
        engine->wakes = wakes[random_below(4)];
        engine->cpu_rate = (int64_t)random_below(3);
        engine->lowest = UINT64_C(1) << 32;
        uint64_t length = UINT64_C(1) << (5 + random_below(6));
        for (int i = 0; i < 4; i++)
            engine->changes[i] = 1 + random_below(length);
    }
}

/* Threads. */

static void resume(struct sim_thread *t) {
    engine->current = t;
    if (t->started)
        _longjmp(t->at, 1);
    t->started = true;
    setcontext(&t->entry);
}

__attribute__((noinline)) static void switch_to(struct sim_thread *t) {
    struct sim_thread *me = engine->current;
    if (t == me)
        return;
    me->sp = __builtin_frame_address(0);
    if (_setjmp(me->at) == 0)
        resume(t);
}

/* Where a new thread begins. */
static void thread_main(void) {
    struct sim_thread *me = engine->current;
    me->fn(me->arg);
    thread_end();
}

void thread_end(void) {
    struct sim_thread *me = engine->current;
    me->state = ENDED;
    me->clock[me->id]++;
    for (unsigned i = 0; i < engine->thread_count; i++) {
        struct sim_thread *t = &engine->threads[i];
        if (t->state == JOINING && t->joins == me)
            t->state = RUNNABLE;
    }
    block();
    abort(); /* it is never chosen again */
}

struct sim_thread *thread_new(const char *name, void (*fn)(void *arg), void *arg) {
    if (engine->thread_count == MAX_THREADS)
        sim_fail("more than %d threads", MAX_THREADS);
    struct sim_thread *t = &engine->threads[engine->thread_count];
    *t = (struct sim_thread){.id = engine->thread_count, .fn = fn, .arg = arg};
    snprintf(t->name, sizeof t->name, "%s", name);
    if (t->id > 0)
        clock_join(t->clock, engine->current->clock);
    t->clock[t->id] = 1;
    t->stack = stack_of(t->id);
    getcontext(&t->entry);
    t->entry.uc_stack.ss_sp = t->stack;
    t->entry.uc_stack.ss_size = STACK_SIZE;
    t->entry.uc_link = NULL;
    makecontext(&t->entry, thread_main, 0);
    if (engine->search == PCT)
        t->priority = engine->lowest + 1 + random_below(1000000);
    engine->thread_count++;
    return t;
}

struct sim_thread *sim_go(const char *name, void (*fn)(void *arg), void *arg) {
    struct sim_thread *t = thread_new(name, fn, arg);
    engine->current->clock[engine->current->id]++;
    step("start", t->name, __builtin_return_address(0), false);
    return t;
}

void sim_join(struct sim_thread *thread) {
    struct sim_thread *me = engine->current;
    step("join", thread->name, __builtin_return_address(0), false);
    if (thread->state == GONE)
        sim_fail("%s is joined, which stayed in the parent process", thread->name);
    if (thread->state != ENDED) {
        me->state = JOINING;
        me->joins = thread;
        block();
    }
    clock_join(me->clock, thread->clock);
}

void sim_join_library(void) {
    for (unsigned i = 0; i < engine->thread_count; i++)
        if (strcmp(engine->threads[i].name, LIBRARY) == 0 && engine->threads[i].state != GONE)
            sim_join(&engine->threads[i]);
}

unsigned sim_self_id(void) { return engine->current->id; }

bool sim_needed_time(void) { return engine->needed_time; }

bool sim_asleep(const struct sim_thread *thread) { return thread->state == PARKED; }

void sim_yield(void) { step("yield", NULL, __builtin_return_address(0), false); }

void sim_threads_start(enum sim_starts starts) { engine->starts = starts; }

/* What is only in the parent process: all other threads, and the right to make descriptors readable. Of a thread that has
 * ended before, all is visible. */
static void leave_behind(void) {
    for (unsigned i = 0; i < engine->thread_count; i++) {
        struct sim_thread *t = &engine->threads[i];
        if (t->state == ENDED)
            clock_join(engine->current->clock, t->clock);
        else if (t != engine->current)
            t->state = GONE;
    }
    for (unsigned i = 0; i < engine->signal_count; i++)
        if (engine->signals[i] != 0)
            engine->signals[i] = SHARED;
    engine->is_child = true;
}

bool sim_fork(void) {
    step("fork", NULL, __builtin_return_address(0), false);
    wg_before_fork();
    bool child = sim_pick(2) == 1;
    if (child) {
        leave_behind();
        engine->forking = true; /* the stacks of the others still are what they were */
        wg_after_fork_in_child();
        engine->forking = false;
    } else {
        wg_after_fork_in_parent();
    }
    return child;
}

/* Who is next. */

static bool has_deadline(const struct sim_thread *t) { return t->state == PARKED && t->deadline != INT64_MAX; }

static struct option earliest(void) {
    struct option best = {NULL, TIME_OUT};
    for (unsigned i = 0; i < engine->thread_count; i++) {
        struct sim_thread *t = &engine->threads[i];
        if (has_deadline(t) && (!best.thread || t->deadline < best.thread->deadline))
            best.thread = t;
    }
    return best;
}

/* All threads that satisfy `wanted`, as options. */
static unsigned list(struct option *options, unsigned n, bool (*wanted)(const struct sim_thread *), enum how how) {
    for (unsigned i = 0; i < engine->thread_count; i++)
        if (wanted(&engine->threads[i]))
            options[n++] = (struct option){&engine->threads[i], how};
    return n;
}

static bool runnable(const struct sim_thread *t) { return t->state == RUNNABLE; }
static bool runnable_other(const struct sim_thread *t) { return t->state == RUNNABLE && t != engine->current; }
static bool parked(const struct sim_thread *t) { return t->state == PARKED; }

/* `may_stay`: the running thread could take another step. `pause`: but would rather not. */
static struct option next_random(bool may_stay, bool pause) {
    struct option options[3 * MAX_THREADS];
    unsigned n = 0;
    if (one_in(engine->timeouts))
        n = list(options, 0, has_deadline, TIME_OUT);
    else if (one_in(engine->wakes))
        n = list(options, 0, parked, WAKE_IDLY);
    if (n == 0 && may_stay && !pause && !one_in(engine->switches))
        return (struct option){engine->current, RUN};
    if (n == 0)
        n = list(options, 0, may_stay && pause ? runnable_other : runnable, RUN);
    if (n == 0 && may_stay)
        return (struct option){engine->current, RUN};
    if (n == 0)
        n = list(options, 0, has_deadline, TIME_OUT);
    if (n == 0)
        return (struct option){NULL, RUN};
    return options[random_below(n)];
}

/* Probabilistic concurrency testing: each thread has a priority, the highest runs; at a few random steps the running
 * thread falls to the lowest. */
static struct option next_by_priority(bool may_stay, bool pause) {
    for (unsigned i = 0; i < 4 && may_stay; i++)
        if (engine->steps == engine->changes[i])
            engine->current->priority = --engine->lowest;
    if (may_stay && pause)
        engine->current->priority = --engine->lowest;
    struct option best = {NULL, RUN};
    for (unsigned i = 0; i < engine->thread_count; i++) {
        struct sim_thread *t = &engine->threads[i];
        if (best.thread && t->priority < best.thread->priority)
            continue;
        if (t->state == RUNNABLE)
            best = (struct option){t, RUN};
        else if (has_deadline(t) && t->impatient)
            best = (struct option){t, TIME_OUT};
        else if (t->state == PARKED && t->nervous)
            best = (struct option){t, WAKE_IDLY};
    }
    return best.thread ? best : earliest();
}

/* The next one that can run after the running one, in turn; itself if there is no other. */
static struct sim_thread *next_in_turn(void) {
    unsigned id = engine->current->id;
    do
        id = (id + 1) % engine->thread_count;
    while (engine->threads[id].state != RUNNABLE);
    return &engine->threads[id];
}

/* First of all go on with the running thread, or, if it is in a busy loop, with the next in turn; what else could happen
 * instead costs a preemption. */
static struct option next_in_search(bool may_stay, bool pause) {
    struct option options[3 * MAX_THREADS];
    unsigned n = 0;
    bool can_preempt = engine->preemptions < engine->scenario->exhaustive;
    if (may_stay)
        options[n++] = (struct option){pause ? next_in_turn() : engine->current, RUN};
    if (!may_stay || (can_preempt && !pause))
        n = list(options, n, runnable_other, RUN);
    unsigned free_choices = may_stay ? 1 : n;
    if (n == 0)
        return earliest();
    if (can_preempt) {
        n = list(options, n, has_deadline, TIME_OUT);
        if (engine->scenario->spurious)
            n = list(options, n, parked, WAKE_IDLY);
    }
    unsigned chosen = choose(n, false);
    if (chosen >= free_choices)
        engine->preemptions++;
    return options[chosen];
}

static void trace(const struct sim_thread *t, const char *what, const void *address, void *where) {
    engine->trace[engine->traced++ % TRACE] = (struct trace){t->id, what, address, where, 0};
}

void wake(struct sim_thread *t, wg_parked parked) {
    t->state = RUNNABLE;
    t->parked = parked;
    t->nervous = t->impatient = false;
}

/* Let the next thread take its step; returns when it is the caller's turn. */
static void dispatch(bool may_stay, bool pause) {
    struct option next = engine->search == RANDOM ? next_random(may_stay, pause)
                         : engine->search == PCT  ? next_by_priority(may_stay, pause)
                                                  : next_in_search(may_stay, pause);
    if (!next.thread) {
        for (unsigned i = 0; i < engine->thread_count; i++)
            if (engine->threads[i].state != ENDED && engine->threads[i].state != GONE)
                sim_fail("deadlock: every thread sleeps, and nothing will wake one");
        _longjmp(engine->driver, 1); /* the end of the run */
    }
    if (next.how == TIME_OUT) {
        if (list((struct option[MAX_THREADS]){0}, 0, runnable, RUN) == 0)
            engine->needed_time = true;
        if (engine->now < next.thread->deadline)
            engine->now = next.thread->deadline;
        trace(next.thread, "time out", next.thread->word, NULL);
        wake(next.thread, WG_PARK_TIMEOUT);
    } else if (next.how == WAKE_IDLY) {
        bool signal = next.thread->interruptible && sim_pick(2) == 1;
        trace(next.thread, signal ? "signal" : "wakes", next.thread->word, NULL);
        wake(next.thread, signal ? WG_PARK_INTERRUPTED : WG_PARK_WOKEN);
    }
    switch_to(next.thread);
}

/* A busy loop lets others run at each pause; but some run through at once, as if the others stood still: so that what
 * comes after a vain loop is tried too. */
static bool keeps_spinning(const char *what, bool pause) {
    struct sim_thread *me = engine->current;
    bool can_preempt = engine->preemptions < engine->scenario->exhaustive;
    if (!pause && strcmp(what, "load") != 0)
        me->spins = NOT;
    else if (pause && me->spins == NOT) {
        me->spins = LETS_RUN;
        if (engine->search != EXHAUSTIVE ? one_in(4) : can_preempt && choose(2, true) == 1)
            me->spins = RUNS_THROUGH;
    }
    return me->spins == RUNS_THROUGH;
}

void step(const char *what, const void *address, void *where, bool pause) {
    if (++engine->steps > MAX_STEPS)
        sim_fail("no end after %u steps: threads keep each other busy without getting anywhere", MAX_STEPS);
    if (!keeps_spinning(what, pause))
        dispatch(true, pause);
    trace(engine->current, what, address, where);
}

void block(void) { dispatch(false, false); }

void trace_value(uint64_t value) { engine->trace[(engine->traced - 1) % TRACE].value = value; }

/* Failures. */

void sim_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(engine->failure, sizeof engine->failure, format, arguments);
    va_end(arguments);
    engine->failed = true;
    engine->current->sp = __builtin_frame_address(0);
    _longjmp(engine->driver, 1);
}

void sim_equal(long long left, long long right, const char *file, int line, const char *text) {
    if (left != right)
        sim_fail("%s:%d: not true: %s: %lld, %lld", file, line, text, left, right);
}
