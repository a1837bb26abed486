/* waitgroup_scenarios.c - the wait group, its observers and its descriptor. */
#include "sim.h"

#include "waitgroup.h"

#define FOREVER NULL

/* On the heap, so that its end is noticed. */
static wg_waitgroup *new_waitgroup(int count) {
    wg_waitgroup *wg = malloc(sizeof *wg);
    *wg = (wg_waitgroup)WG_INIT;
    SIM_EQUAL(wg_add(wg, count), WG_OK);
    return wg;
}

static wg_waitgroup *wg;
static int written[4]; /* by each thread before its done: plain memory */
static const int numbers[4] = {0, 1, 2, 3};

static void write_and_done(void *number) {
    written[*(const int *)number]++;
    SIM_EQUAL(wg_done(wg), WG_OK);
}

static struct sim_thread *go_done(int number) {
    return sim_go("done", write_and_done, (void *)(uintptr_t)&numbers[number]);
}

/* The memory may go the moment the wait returns, while the last done is on its way out. */
static void last_done_frees(void) {
    wg = new_waitgroup(2);
    go_done(0);
    go_done(1);
    SIM_EQUAL(wg_wait(wg, FOREVER), WG_OK);
    SIM_EQUAL(written[0] + written[1], 2);
    free(wg);
}

static void wait_and_look(void *unused) {
    (void)unused;
    SIM_EQUAL(wg_wait(wg, FOREVER), WG_OK);
    SIM_EQUAL(written[0], 1);
}

/* Of several waiters all return, and then it may go. */
static void all_waiters_return(void) {
    wg = new_waitgroup(1);
    struct sim_thread *a = sim_go("waiter", wait_and_look, NULL), *b = sim_go("waiter", wait_and_look, NULL);
    go_done(0);
    sim_join(a);
    sim_join(b);
    free(wg);
}

static wg_context *ctx;

static void wait_until_cancelled(void *status) { *(wg_status *)status = wg_wait(wg, &(wg_until){.context = ctx}); }

static void wait_once(void *unused) {
    (void)unused;
    SIM_EQUAL(wg_wait(wg, FOREVER), WG_OK);
}

/* A waiter of the first round returns though the count has left zero again; one of the second waits for the second. */
static void reuse_before_slow_waiter(void) {
    wg = new_waitgroup(1);
    struct sim_thread *slow = sim_go("slow", wait_once, NULL);
    go_done(0);
    SIM_EQUAL(wg_wait(wg, FOREVER), WG_OK);
    SIM_EQUAL(written[0], 1);
    SIM_EQUAL(wg_add(wg, 1), WG_OK);
    struct sim_thread *second = go_done(1);
    SIM_EQUAL(wg_wait(wg, FOREVER), WG_OK);
    SIM_EQUAL(written[1], 1);
    sim_join(slow);
    sim_join(second);
    free(wg);
}

/* Waiters that sleep in the first round return though the second never ends. */
static void slow_waiter_of_a_past_round(void) {
    wg = new_waitgroup(1);
    SIM_EQUAL(wg_context_new(&ctx, NULL, WG_FOREVER), WG_OK);
    wg_status status;
    struct sim_thread *slow = sim_go("slow", wait_until_cancelled, &status);
    bool asleep = sim_asleep(slow); /* then it has joined the first round */
    SIM_EQUAL(wg_done(wg), WG_OK);
    SIM_EQUAL(wg_add(wg, 1), WG_OK);
    if (!asleep)
        SIM_EQUAL(wg_context_cancel(ctx, NULL), WG_OK);
    sim_join(slow);
    SIM_CHECK(status == WG_OK || (status == WG_CONTEXT_ENDED && !asleep));
    SIM_EQUAL(wg_done(wg), WG_OK);
    free(wg);
    wg_context_release(ctx);
}

/* Another object at the same address: the last done of the old one must not wake its waiters. */
static void reuse_of_the_address(void) {
    for (int round = 0; round < 2; round++) {
        wg = new_waitgroup(1);
        go_done(round);
        SIM_EQUAL(wg_wait(wg, FOREVER), WG_OK);
        SIM_EQUAL(written[round], 1);
        free(wg);
    }
}

static void cancel(void *unused) {
    (void)unused;
    wg_status status = wg_context_cancel(ctx, NULL);
    SIM_EQUAL(status, WG_OK);
}

/* A wait that ends early says why and leaves nothing behind; the next one still works. */
static void wait_with_deadline_and_context(void) {
    wg = new_waitgroup(1);
    SIM_EQUAL(wg_context_new(&ctx, NULL, WG_FOREVER), WG_OK);
    struct sim_thread *done = go_done(0), *canceller = sim_go("cancel", cancel, NULL);
    int64_t deadline = wg_after(WG_SECOND);
    wg_status status = wg_wait(wg, &(wg_until){.deadline = deadline, .context = ctx, .interruptible = true});
    switch (status) {
    case WG_OK: SIM_EQUAL(written[0], 1); break;
    case WG_CONTEXT_ENDED: SIM_EQUAL(wg_context_status(ctx), WG_CANCELLED); break;
    case WG_TIMEOUT: SIM_CHECK(wg_now() >= deadline); break;
    default: SIM_EQUAL(status, WG_INTERRUPTED);
    }
    if (status != WG_OK) {
        SIM_EQUAL(wg_wait(wg, FOREVER), WG_OK);
        SIM_EQUAL(written[0], 1);
    }
    free(wg);
    sim_join(canceller);
    sim_join(done);
    wg_context_release(ctx);
}

/* A zero that came before the end of the context is what the wait returns. */
static void done_then_cancel(void *unused) {
    (void)unused;
    SIM_EQUAL(wg_done(wg), WG_OK);
    SIM_EQUAL(wg_context_cancel(ctx, NULL), WG_OK);
}

static void zero_comes_before_the_end(void) {
    wg = new_waitgroup(1);
    SIM_EQUAL(wg_context_new(&ctx, NULL, WG_FOREVER), WG_OK);
    struct sim_thread *both = sim_go("both", done_then_cancel, NULL);
    SIM_EQUAL(wg_wait(wg, &(wg_until){.context = ctx}), WG_OK);
    sim_join(both);
    free(wg);
    wg_context_release(ctx);
}

/* A task that waits for its own wait group hears of it, and ends. */
static void wait_for_own(void *unused) {
    (void)unused;
    SIM_EQUAL(wg_wait(wg, FOREVER), WG_DEADLOCK);
}

static void waits_for_own_wait_group(void) {
    wg = new_waitgroup(0);
    SIM_EQUAL(wg_go(wg, NULL, wait_for_own, NULL, NULL), WG_OK);
    SIM_EQUAL(wg_wait(wg, FOREVER), WG_OK);
    free(wg);
}

/* The deadline of the context that a wait looks at ends the wait too. */
static void wait_until_the_contexts_deadline(void) {
    wg = new_waitgroup(1);
    SIM_EQUAL(wg_context_new(&ctx, NULL, wg_after(WG_SECOND)), WG_OK);
    SIM_EQUAL(wg_wait(wg, &(wg_until){.context = ctx}), WG_CONTEXT_ENDED);
    wg_context_release(ctx);
    go_done(0);
    SIM_EQUAL(wg_wait(wg, FOREVER), WG_OK);
    free(wg);
}

/* Observers. What they find is on the heap, and freed as soon as the contract says so. */

struct watched {
    wg_observer observer;
    wg_a32 calls;
    int seen;
};
static struct watched *watched;

static void called(void *raw) {
    struct watched *w = raw;
    SIM_EQUAL(wg_sub_acq_rel32(&w->calls, 1), 1); /* once */
    w->seen = written[0];
    sim_yield();
    w->seen++;
}

static void observe(void) {
    watched = malloc(sizeof *watched);
    *watched = (struct watched){.calls = 1};
    SIM_EQUAL(wg_event_observe(wg_zero(wg), &watched->observer, called, watched), WG_OK);
}

static void observer_removed_or_called(void) {
    wg = new_waitgroup(1);
    observe();
    struct sim_thread *done = go_done(0);
    bool prevented = wg_event_unobserve(wg_zero(wg), &watched->observer);
    if (prevented)
        free(watched); /* a call now would touch it */
    sim_join(done);
    if (!prevented) {
        SIM_EQUAL(watched->seen, 2);
        free(watched);
    }
    free(wg);
}

static void observer_removed_in_sync(void) {
    wg = new_waitgroup(1);
    observe();
    struct sim_thread *done = go_done(0);
    if (!wg_event_unobserve_sync(wg_zero(wg), &watched->observer))
        SIM_EQUAL(watched->seen, 2); /* the call is over */
    free(watched);
    sim_join(done);
    free(wg);
}

/* Inside its call an observer is its owner's again: it may be observed anew, and its sync removal does not wait. */
static void call_and_observe_again(void *raw) {
    struct watched *w = raw;
    w->seen++;
    SIM_CHECK(!wg_event_unobserve_sync(wg_zero(wg), &w->observer));
    if (w->seen == 1)
        SIM_EQUAL(wg_event_observe(wg_zero(wg), &w->observer, call_and_observe_again, w), WG_OK);
}

static void observer_observes_again(void) {
    wg = new_waitgroup(1);
    watched = malloc(sizeof *watched);
    *watched = (struct watched){.seen = 0};
    SIM_EQUAL(wg_event_observe(wg_zero(wg), &watched->observer, call_and_observe_again, watched), WG_OK);
    struct sim_thread *done = go_done(0);
    SIM_EQUAL(wg_wait(wg, FOREVER), WG_OK);
    SIM_EQUAL(wg_add(wg, 1), WG_OK);
    SIM_EQUAL(wg_done(wg), WG_OK);
    sim_join(done);
    SIM_EQUAL(watched->seen, 2); /* at both zeros, or twice at the first one */
    free(watched);
    free(wg);
}

/* The descriptor is armed again on demand; whatever comes between, zero is not missed. */
static void watch_armed_again(void) {
    wg = new_waitgroup(1);
    wg_watch *watch;
    SIM_EQUAL(wg_watch_new(&watch, wg), WG_OK);
    struct sim_thread *done = go_done(0);
    int fd = wg_watch_fd(watch);
    sim_join(done);
    SIM_CHECK(sim_readable(fd));
    SIM_EQUAL(wg_watch_fd(watch), fd);
    SIM_CHECK(sim_readable(fd));
    SIM_EQUAL(wg_add(wg, 1), WG_OK);
    done = go_done(1);
    SIM_EQUAL(wg_watch_fd(watch), fd);
    sim_join(done);
    SIM_CHECK(sim_readable(fd));
    SIM_EQUAL(wg_add(wg, 1), WG_OK);
    SIM_EQUAL(wg_watch_fd(watch), fd);
    SIM_CHECK(!sim_readable(fd));
    done = go_done(2);
    wg_watch_free(watch);
    sim_join(done);
    free(wg);
}

const struct sim_scenario waitgroup_scenarios[] = {
    {"last_done_frees", last_done_frees, .cores = 1, .exhaustive = 3, .spurious = true},
    {"all_waiters_return", all_waiters_return, .cores = 2, .exhaustive = 0, .spurious = false},
    {"reuse_before_slow_waiter", reuse_before_slow_waiter, .cores = 1, .exhaustive = 2, .spurious = false},
    {"slow_waiter_of_a_past_round", slow_waiter_of_a_past_round, .cores = 1, .exhaustive = 2, .spurious = false},
    {"reuse_of_the_address", reuse_of_the_address, .cores = 1, .exhaustive = 2, .spurious = true},
    {"wait_with_deadline_and_context", wait_with_deadline_and_context, .cores = 1, .exhaustive = 2, .spurious = false},
    {"zero_comes_before_the_end", zero_comes_before_the_end, .cores = 1, .exhaustive = 2, .spurious = false},
    {"waits_for_own_wait_group", waits_for_own_wait_group, .cores = 1, .exhaustive = 2, .spurious = false},
    {"wait_until_the_contexts_deadline", wait_until_the_contexts_deadline, .cores = 2, .exhaustive = 0,
     .spurious = false},
    {"observer_removed_or_called", observer_removed_or_called, .cores = 1, .exhaustive = 3, .spurious = false},
    {"observer_removed_in_sync", observer_removed_in_sync, .cores = 1, .exhaustive = 3, .spurious = false},
    {"observer_observes_again", observer_observes_again, .cores = 1, .exhaustive = 2, .spurious = false},
    {"watch_armed_again", watch_armed_again, .cores = 1, .exhaustive = 2, .spurious = false},
    {0},
};
