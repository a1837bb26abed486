/* context_scenarios.c - contexts: cancellation, children, observers, deadlines. */
#include "sim.h"

#include "waitgroup.h"

static wg_context *ctx, *child;

static void cancel(void *cause) {
    wg_status status = wg_context_cancel(ctx, cause);
    SIM_CHECK(status == WG_OK || status == WG_CANCELLED || status == WG_DEADLINE_EXCEEDED);
}

static wg_context *new_context(wg_context *parent, int64_t deadline) {
    wg_context *made;
    SIM_EQUAL(wg_context_new(&made, parent, deadline), WG_OK);
    return made;
}

/* The first of two cancels wins, with its cause; the observers are called once. */

static wg_a32 wins, calls;
static wg_error *causes[2];
static int seen; /* by the observer; plain memory */

static void cancel_and_count(void *cause) {
    if (wg_context_cancel(ctx, cause) == WG_OK) {
        wg_add_relaxed32(&wins, 1);
        SIM_CHECK(wg_context_cause(ctx) == cause);
    } else
        SIM_EQUAL(wg_context_status(ctx), WG_CANCELLED);
}

static void count_call(void *unused) {
    (void)unused;
    wg_add_relaxed32(&calls, 1);
}

static void first_cancel_wins(void) {
    wg_observer observer;
    ctx = new_context(NULL, WG_FOREVER);
    for (int i = 0; i < 2; i++)
        causes[i] = wg_error_new(WG_ERROR_FAILURE, NULL, NULL);
    SIM_EQUAL(wg_event_observe(wg_ended(ctx), &observer, count_call, NULL), WG_OK);
    struct sim_thread *a = sim_go("cancel", cancel_and_count, causes[0]);
    struct sim_thread *b = sim_go("cancel", cancel_and_count, causes[1]);
    SIM_EQUAL(wg_context_wait(ctx, NULL), WG_OK);
    wg_error *cause = wg_context_cause(ctx);
    SIM_CHECK(cause == causes[0] || cause == causes[1]);
    sim_join(a);
    sim_join(b);
    SIM_CHECK(wg_context_cause(ctx) == cause);
    SIM_EQUAL(wg_load_relaxed32(&wins), 1);
    SIM_EQUAL(wg_load_relaxed32(&calls), 1);
    wg_context_release(ctx);
    for (int i = 0; i < 2; i++)
        wg_error_release(causes[i]);
}

/* Cancel against the removal of an observer. */

struct watched {
    wg_observer observer;
    int seen;
};
static struct watched *watched;

static void look_twice(void *raw) {
    struct watched *w = raw;
    SIM_EQUAL(w->seen, 0);
    w->seen++;
    sim_yield();
    w->seen++;
}

static struct sim_thread *observe_and_cancel(void) {
    ctx = new_context(NULL, WG_FOREVER);
    watched = malloc(sizeof *watched);
    *watched = (struct watched){.seen = 0};
    SIM_EQUAL(wg_event_observe(wg_ended(ctx), &watched->observer, look_twice, watched), WG_OK);
    return sim_go("cancel", cancel, NULL);
}

static void removed_or_called(void) {
    struct sim_thread *canceller = observe_and_cancel();
    bool prevented = wg_event_unobserve(wg_ended(ctx), &watched->observer);
    if (prevented)
        free(watched); /* a call now would touch it */
    sim_join(canceller);
    if (!prevented) {
        SIM_EQUAL(watched->seen, 2);
        free(watched);
    }
    wg_context_release(ctx);
}

static void removed_in_sync(void) {
    struct sim_thread *canceller = observe_and_cancel();
    if (!wg_event_unobserve_sync(wg_ended(ctx), &watched->observer))
        SIM_EQUAL(watched->seen, 2); /* the call is over */
    free(watched);
    sim_join(canceller);
    wg_context_release(ctx);
}

/* Two observers, one removed by the other's call, and by another thread at the same time. */
static wg_observer first, second;
static wg_a32 prevented;

static void remove_second(void *unused) {
    (void)unused;
    if (wg_event_unobserve(wg_ended(ctx), &second))
        wg_add_relaxed32(&prevented, 1);
}

static void removed_by_an_observer(void) {
    ctx = new_context(NULL, WG_FOREVER);
    SIM_EQUAL(wg_event_observe(wg_ended(ctx), &first, remove_second, NULL), WG_OK);
    SIM_EQUAL(wg_event_observe(wg_ended(ctx), &second, count_call, NULL), WG_OK);
    struct sim_thread *canceller = sim_go("cancel", cancel, NULL), *remover = sim_go("remove", remove_second, NULL);
    sim_join(canceller);
    sim_join(remover);
    SIM_EQUAL(wg_load_relaxed32(&prevented) + wg_load_relaxed32(&calls), 1);
    wg_context_release(ctx);
}

/* An observer may take locks of its own: none of the library's is held during the call, not even of a neighbour. */
static void use_the_context(void *unused) {
    (void)unused;
    wg_context *made = new_context(ctx, WG_FOREVER);
    SIM_EQUAL(wg_context_status(made), WG_CANCELLED);
    SIM_CHECK(!wg_event_unobserve_sync(wg_ended(ctx), &first));
    wg_context_release(made);
    seen++;
}

static void observer_uses_the_context(void) {
    ctx = new_context(NULL, WG_FOREVER);
    SIM_EQUAL(wg_event_observe(wg_ended(ctx), &first, use_the_context, NULL), WG_OK);
    cancel(NULL);
    SIM_EQUAL(seen, 1);
    wg_context_release(ctx);
}

/* The tree. */

static void release_child(void *unused) {
    (void)unused;
    wg_context_release(child);
}

static void child_released_while_parent_ends(void) {
    ctx = new_context(NULL, WG_FOREVER);
    child = new_context(ctx, WG_FOREVER);
    wg_context *other = new_context(ctx, WG_FOREVER);
    struct sim_thread *releaser = sim_go("release", release_child, NULL);
    struct sim_thread *canceller = sim_go("cancel", cancel, NULL);
    SIM_EQUAL(wg_context_wait(other, NULL), WG_OK);
    SIM_CHECK(wg_context_inherited(other));
    wg_context_release(other);
    sim_join(canceller);
    wg_context_release(ctx);
    sim_join(releaser);
}

/* A child unlinks itself from a parent that lives on, also beside its siblings doing so. */
static void release_one(void *one) { wg_context_release(one); }

static void children_come_and_go(void) {
    ctx = new_context(NULL, WG_FOREVER);
    wg_context *a = new_context(ctx, WG_FOREVER), *b = new_context(ctx, WG_FOREVER), *c = new_context(ctx, WG_FOREVER);
    struct sim_thread *x = sim_go("release", release_one, b), *y = sim_go("release", release_one, c);
    sim_join(x);
    sim_join(y);
    wg_context *again = new_context(ctx, WG_FOREVER);
    wg_context_release(a);
    cancel(NULL);
    SIM_EQUAL(wg_context_status(again), WG_CANCELLED);
    wg_context_release(again);
    wg_context_release(ctx);
}

static void new_child(void *unused) {
    (void)unused;
    wg_context *made = new_context(ctx, WG_FOREVER), *below = new_context(made, WG_FOREVER);
    wg_context_release(made);
    SIM_EQUAL(wg_context_wait(below, NULL), WG_OK); /* it hears of the end, whenever it came */
    SIM_EQUAL(wg_context_status(below), WG_CANCELLED);
    wg_context_release(below);
}

static void child_made_while_parent_ends(void) {
    ctx = new_context(NULL, WG_FOREVER);
    struct sim_thread *maker = sim_go("maker", new_child, NULL);
    cancel(NULL);
    sim_join(maker);
    wg_context_release(ctx);
}

/* Parent and child cancelled at once: each ends once, and the child's cause is one of the two. */
static void cancel_child(void *cause) {
    wg_status status = wg_context_cancel(child, cause);
    SIM_EQUAL(status == WG_OK, wg_context_cause(child) == cause);
}

static void parent_and_child_cancelled(void) {
    ctx = new_context(NULL, WG_FOREVER);
    child = new_context(ctx, WG_FOREVER);
    wg_context *below = new_context(child, WG_FOREVER);
    wg_error *own = wg_error_new(WG_ERROR_FAILURE, NULL, NULL), *theirs = wg_error_new(WG_ERROR_FAILURE, NULL, NULL);
    struct sim_thread *a = sim_go("child", cancel_child, own), *b = sim_go("parent", cancel, theirs);
    SIM_EQUAL(wg_context_wait(below, NULL), WG_OK);
    wg_error *cause = wg_context_cause(below);
    SIM_CHECK(cause == own || cause == theirs);
    sim_join(a);
    sim_join(b);
    SIM_CHECK(wg_context_cause(child) == cause);
    SIM_EQUAL(wg_context_inherited(child), cause == theirs);
    wg_context_release(below);
    wg_context_release(child);
    wg_context_release(ctx);
    wg_error_release(own);
    wg_error_release(theirs);
}

/* What is waited for also ends the context that bounds the wait, but not before: the wait never says that its bound has
 * ended. */
static void waits_for_what_ends_its_bound(void) {
    ctx = new_context(NULL, WG_FOREVER);
    child = new_context(ctx, WG_FOREVER);
    struct sim_thread *canceller = sim_go("cancel", cancel, NULL);
    wg_status status = wg_context_wait(ctx, &(wg_until){.deadline = wg_after(1), .context = child});
    SIM_CHECK(status == WG_OK || status == WG_TIMEOUT);
    sim_join(canceller);
    wg_context_release(child);
    wg_context_release(ctx);
}

/* A wait that also looks at another context, and at the clock. */
static void wait_against_all(void) {
    ctx = new_context(NULL, WG_FOREVER);
    child = new_context(NULL, WG_FOREVER);
    struct sim_thread *a = sim_go("cancel", cancel, NULL), *b = sim_go("other", cancel_child, causes[0]);
    int64_t deadline = wg_after(WG_SECOND);
    wg_status status = wg_context_wait(ctx, &(wg_until){.deadline = deadline, .context = child});
    if (status == WG_TIMEOUT)
        SIM_CHECK(wg_now() >= deadline);
    else
        SIM_EQUAL(wg_context_status(status == WG_OK ? ctx : child), WG_CANCELLED);
    sim_join(a);
    sim_join(b);
    wg_context_release(ctx);
    wg_context_release(child);
}

/* The descriptor becomes readable whether it was made before the end or after. */
static void descriptor_while_it_ends(void) {
    int fd;
    ctx = new_context(NULL, WG_FOREVER);
    struct sim_thread *canceller = sim_go("cancel", cancel, NULL);
    SIM_EQUAL(wg_context_fd(ctx, &fd), WG_OK);
    sim_join(canceller);
    SIM_CHECK(sim_readable(fd));
    wg_context_release(ctx);
}

/* Deadlines. The observers tell what only the timer can bring about: nobody who keeps the deadline himself waits. */

static wg_waitgroup pending;

static void count_down(void *unused) {
    (void)unused;
    SIM_EQUAL(wg_done(&pending), WG_OK);
}

static void timer_against_cancel_and_release(void) {
    wg_observer observer;
    SIM_EQUAL(wg_add(&pending, 1), WG_OK);
    ctx = new_context(NULL, wg_after(WG_SECOND));
    SIM_EQUAL(wg_event_observe(wg_ended(ctx), &observer, count_down, NULL), WG_OK);
    struct sim_thread *canceller = sim_pick(2) ? sim_go("cancel", cancel, NULL) : NULL;
    SIM_EQUAL(wg_wait(&pending, NULL), WG_OK);
    SIM_CHECK(wg_context_status(ctx) == WG_DEADLINE_EXCEEDED || canceller);
    if (wg_context_status(ctx) == WG_DEADLINE_EXCEEDED)
        SIM_CHECK(wg_now() >= wg_context_deadline(ctx));
    if (canceller)
        sim_join(canceller);
    wg_context_release(ctx);
}

static void released_while_the_timer_ends_it(void) {
    ctx = new_context(NULL, wg_after(WG_SECOND));
    child = new_context(ctx, wg_after(WG_MILLISECOND));
    struct sim_thread *releaser = sim_go("release", release_child, NULL);
    wg_context_release(ctx);
    sim_join(releaser);
}

/* From the moment its deadline has passed a context is over, whether or not the timer's thread has come to it. */
static void the_clock_decides(void) {
    ctx = new_context(NULL, wg_after(WG_SECOND));
    child = new_context(ctx, WG_FOREVER);
    wg_context *other = new_context(NULL, WG_FOREVER);
    SIM_EQUAL(wg_context_wait(other, &(wg_until){.deadline = wg_context_deadline(child)}), WG_TIMEOUT);
    switch (sim_pick(4)) {
    case 0: SIM_EQUAL(wg_context_check(child), WG_DEADLINE_EXCEEDED); break;
    case 1: SIM_CHECK(wg_context_cause(child) == wg_error_deadline()); break;
    case 2: SIM_EQUAL(wg_context_remaining(child), 0); break;
    case 3: SIM_EQUAL(wg_context_cancel(child, NULL), WG_DEADLINE_EXCEEDED); break;
    }
    SIM_EQUAL(wg_context_status(child), WG_DEADLINE_EXCEEDED);
    SIM_EQUAL(wg_context_status(ctx), WG_DEADLINE_EXCEEDED);
    SIM_CHECK(wg_context_inherited(child) && !wg_context_inherited(ctx));
    wg_context_release(other);
    wg_context_release(child);
    wg_context_release(ctx);
}

/* Of several deadlines each is kept, whatever is removed before, and after the timer's thread has left. */
static void timer_keeps_all(void) {
    wg_observer observers[3];
    wg_context *made[5];
    for (int round = 0; round < 2; round++) {
        SIM_EQUAL(wg_add(&pending, 3), WG_OK);
        for (int i = 0; i < 5; i++)
            made[i] = new_context(NULL, wg_after((1 + (int64_t)sim_pick(4)) * WG_SECOND));
        for (int i = 0; i < 3; i++)
            SIM_EQUAL(wg_event_observe(wg_ended(made[i]), &observers[i], count_down, NULL), WG_OK);
        struct sim_thread *a = sim_go("release", release_one, made[3]), *b = sim_go("release", release_one, made[4]);
        SIM_EQUAL(wg_wait(&pending, NULL), WG_OK);
        for (int i = 0; i < 3; i++) {
            SIM_EQUAL(wg_context_status(made[i]), WG_DEADLINE_EXCEEDED);
            SIM_CHECK(wg_now() >= wg_context_deadline(made[i]));
            wg_context_release(made[i]);
        }
        sim_join(a);
        sim_join(b);
    }
}

/* A deadline is refused if there is no thread to keep it, or it is kept. */
static void no_thread_for_the_deadline(void) {
    wg_observer observer;
    sim_threads_start(SIM_PERHAPS);
    SIM_EQUAL(wg_add(&pending, 1), WG_OK);
    wg_status status = wg_context_new(&ctx, NULL, wg_after(WG_SECOND));
    if (status == WG_NO_THREADS)
        return;
    SIM_EQUAL(status, WG_OK);
    SIM_EQUAL(wg_event_observe(wg_ended(ctx), &observer, count_down, NULL), WG_OK);
    SIM_EQUAL(wg_wait(&pending, NULL), WG_OK);
    wg_context_release(ctx);
}

/* An observer ends the thread that cancels, or that of the timer: all others are called, or removed before,
 * and nothing is left locked. */
static wg_a32 called;

static void call_and_end_thread(void *unused) {
    (void)unused;
    wg_add_relaxed32(&called, 1);
    if (sim_self_id() != 0) /* not the one that looks on */
        sim_exit_thread();
}

static void cancel_until_the_end(void *ctx) { wg_context_cancel(ctx, NULL); }

static void observers_end_their_threads(void) {
    wg_context *parent, *child;
    wg_observer observers[3];
    SIM_EQUAL(wg_context_new(&parent, wg_context_root(), sim_pick(2) ? wg_after(1) : WG_FOREVER), WG_OK);
    SIM_EQUAL(wg_context_new(&child, parent, WG_FOREVER), WG_OK);
    for (int i = 0; i < 3; i++)
        SIM_EQUAL(wg_event_observe(wg_ended(i < 2 ? parent : child), &observers[i], call_and_end_thread, NULL), WG_OK);
    struct sim_thread *canceller = sim_go("cancel", cancel_until_the_end, parent);
    sim_join(canceller);
    uint32_t prevented = 0;
    for (int i = 0; i < 3; i++)
        prevented += wg_event_unobserve_sync(wg_ended(i < 2 ? parent : child), &observers[i]);
    SIM_EQUAL(wg_load_relaxed32(&called) + prevented, 3);
    SIM_EQUAL(wg_context_wait(child, NULL), WG_OK);
    wg_context_release(parent);
    wg_context_release(child);
}

/* A thread that has seen the end of a context, and cancels one far below for that, gives it no cause of its own. */

static void cancel_top(void *cause) { SIM_EQUAL(wg_context_cancel(ctx, cause), WG_OK); }

static void cancel_bottom_when_top_has_ended(void *cause) {
    if (wg_context_status(ctx) == WG_OK)
        return;
    SIM_EQUAL(wg_context_cancel(child, cause), WG_CANCELLED);
    SIM_CHECK(wg_context_cause(child) == causes[0]);
}

static void seen_end_is_the_cause_below(void) {
    for (int i = 0; i < 2; i++)
        causes[i] = wg_error_new(WG_ERROR_FAILURE, NULL, NULL);
    ctx = new_context(NULL, WG_FOREVER);
    wg_context *between = new_context(ctx, WG_FOREVER);
    child = new_context(between, WG_FOREVER);
    struct sim_thread *a = sim_go("cancel", cancel_top, causes[0]);
    struct sim_thread *b = sim_go("cancel", cancel_bottom_when_top_has_ended, causes[1]);
    sim_join(a);
    sim_join(b);
    SIM_CHECK(wg_context_cause(child) == causes[0]);
    wg_context_release(ctx);
    wg_context_release(between);
    wg_context_release(child);
    for (int i = 0; i < 2; i++)
        wg_error_release(causes[i]);
}

const struct sim_scenario context_scenarios[] = {
    {"seen_end_is_the_cause_below", seen_end_is_the_cause_below, .cores = 1, .exhaustive = 2, .spurious = false},
    {"observers_end_their_threads", observers_end_their_threads, .cores = 1, .exhaustive = 1, .spurious = false},
    {"waits_for_what_ends_its_bound", waits_for_what_ends_its_bound, .cores = 1, .exhaustive = 2, .spurious = true},
    {"first_cancel_wins", first_cancel_wins, .cores = 1, .exhaustive = 2, .spurious = true},
    {"removed_or_called", removed_or_called, .cores = 1, .exhaustive = 3, .spurious = false},
    {"removed_in_sync", removed_in_sync, .cores = 1, .exhaustive = 3, .spurious = true},
    {"removed_by_an_observer", removed_by_an_observer, .cores = 1, .exhaustive = 2, .spurious = false},
    {"observer_uses_the_context", observer_uses_the_context, .cores = 1, .exhaustive = 0, .spurious = false},
    {"child_released_while_parent_ends", child_released_while_parent_ends, .cores = 1, .exhaustive = 2,
     .spurious = false},
    {"children_come_and_go", children_come_and_go, .cores = 1, .exhaustive = 2, .spurious = false},
    {"child_made_while_parent_ends", child_made_while_parent_ends, .cores = 1, .exhaustive = 3, .spurious = false},
    {"parent_and_child_cancelled", parent_and_child_cancelled, .cores = 1, .exhaustive = 2, .spurious = false},
    {"wait_against_all", wait_against_all, .cores = 1, .exhaustive = 2, .spurious = false},
    {"descriptor_while_it_ends", descriptor_while_it_ends, .cores = 1, .exhaustive = 3, .spurious = false},
    {"timer_against_cancel_and_release", timer_against_cancel_and_release, .cores = 1, .exhaustive = 2,
     .spurious = false},
    {"released_while_the_timer_ends_it", released_while_the_timer_ends_it, .cores = 1, .exhaustive = 2,
     .spurious = false},
    {"the_clock_decides", the_clock_decides, .cores = 1, .exhaustive = 2, .spurious = false},
    {"timer_keeps_all", timer_keeps_all, .cores = 2, .exhaustive = 0, .spurious = false},
    {"no_thread_for_the_deadline", no_thread_for_the_deadline, .cores = 1, .exhaustive = 2, .spurious = false},
    {0},
};
