/* errgroup_scenarios.c - the error group: first error, limit, room, grace, deadlocks. */
#include "sim.h"

#include "waitgroup.h"

static wg_errgroup *g;

static void new_group(wg_errgroup_options options) { SIM_EQUAL(wg_errgroup_new(&g, &options), WG_OK); }

/* Waits for the outcome and gives the group up at once, as the contract allows. */
static void expect(wg_status outcome) {
    SIM_EQUAL(wg_errgroup_wait(g, NULL, NULL), outcome);
    wg_errgroup_release(g);
}

/* Two tasks fail, a third stops because of it: the first error in time decides, and is there before the cancel. */
static wg_error *failures[2];
static int ended[4]; /* by each task: plain memory */

static wg_error *fail(void *raw, wg_context *ctx) {
    wg_error **failure = raw;
    (void)ctx;
    return *failure = wg_error_new(WG_ERROR_FAILURE, failure, NULL);
}

/* A task ended: whoever is told finds a slot, a count and the outcome, in every schedule. */
struct told_end {
    wg_waitgroup word; /* what waits for the task waits for this */
    wg_how how;        /* plain memory */
};

static wg_error *succeed(void *unused, wg_context *ctx) {
    (void)unused, (void)ctx;
    return NULL;
}

static void store_how(void *raw, wg_how how) { ((struct told_end *)raw)->how = how; }

static void tell_end(void *raw) { SIM_EQUAL(wg_done(&((struct told_end *)raw)->word), WG_OK); }

static void end_seen_means_slot_given_back(void) {
    struct told_end told = {.word = WG_INIT, .how = WG_NEVER_STARTED};
    wg_task task = {.fn = succeed, .arg = &told, .settled = store_how, .ended = tell_end};
    new_group((wg_errgroup_options){.limit = 1});
    for (unsigned long i = 1; i <= 2; i++) {
        SIM_EQUAL(wg_add(&told.word, 1), WG_OK);
        SIM_EQUAL(wg_errgroup_try_start(g, &task), WG_OK); /* refused if the task before it still had the slot */
        SIM_EQUAL(wg_wait(&told.word, NULL), WG_OK);
        SIM_EQUAL(told.how, WG_SUCCEEDED);
        SIM_EQUAL(wg_errgroup_get_counts(g).completed, i);
    }
    told.how = WG_NEVER_STARTED;
    SIM_EQUAL(wg_add(&told.word, 1), WG_OK);
    SIM_EQUAL(wg_errgroup_try_start(g, &task), WG_OK);
    expect(WG_OK);
    SIM_EQUAL(told.how, WG_SUCCEEDED); /* stored before the wait of the group returns */
    SIM_EQUAL(wg_wait(&told.word, NULL), WG_OK);
}

/* A task blocked in a wait of ours ends with its group, and says that its own context ended. */
static wg_waitgroup never;

static wg_error *wait_for_never(void *unused, wg_context *ctx) {
    (void)unused;
    SIM_EQUAL(wg_wait(&never, NULL), WG_CONTEXT_ENDED);
    return wg_context_error(ctx);
}

static void wait_in_task_ends_with_its_group(void) {
    SIM_EQUAL(wg_add(&never, 1), WG_OK);
    new_group((wg_errgroup_options){0});
    SIM_EQUAL(wg_errgroup_go(g, wait_for_never, NULL, NULL, NULL), WG_OK);
    SIM_EQUAL(wg_errgroup_cancel(g, NULL), WG_OK);
    expect(WG_OK);
}

/* Whoever looks at the counts never sees more running than the limit allows. */
static void look_at_counts(void *unused) {
    (void)unused;
    for (int i = 0; i < 3; i++)
        SIM_CHECK(wg_errgroup_get_counts(g).running <= 1);
}

static void running_within_the_limit(void) {
    new_group((wg_errgroup_options){.limit = 1});
    struct sim_thread *looker = sim_go("look", look_at_counts, NULL);
    for (int i = 0; i < 3; i++)
        SIM_EQUAL(wg_errgroup_go(g, succeed, NULL, NULL, NULL), WG_OK);
    sim_join(looker);
    expect(WG_OK);
}

static void destroyed(void *raw) { ended[(wg_error **)raw - failures]++; }

static wg_error *stop_when_told(void *unused, wg_context *ctx) {
    (void)unused;
    SIM_EQUAL(wg_context_wait(ctx, NULL), WG_OK);
    SIM_EQUAL(wg_errgroup_errors(g, NULL, 0) > 0, 1); /* the error was recorded before the cancel */
    SIM_CHECK(wg_context_cause(ctx) != NULL);
    ended[2]++;
    return wg_context_error(ctx);
}

static void first_error_decides(void) {
    new_group((wg_errgroup_options){0});
    SIM_EQUAL(wg_errgroup_go(g, stop_when_told, NULL, NULL, NULL), WG_OK);
    for (int i = 0; i < 2; i++) {
        wg_status status = wg_errgroup_go(g, fail, &failures[i], destroyed, NULL);
        SIM_CHECK(status == WG_OK || (i == 1 && status == WG_CANCELLED));
        if (status != WG_OK)
            ended[i]++;
    }
    wg_error *first = NULL, *errors[3];
    SIM_EQUAL(wg_errgroup_wait(g, NULL, &first), WG_FAILED);
    size_t n = wg_errgroup_errors(g, errors, 3);
    SIM_CHECK(n == 1 || n == 2);
    SIM_CHECK(errors[0] == first && wg_context_cause(wg_errgroup_context(g)) == first);
    SIM_EQUAL(ended[0], 1); /* the arguments are gone before the task counts as done */
    SIM_EQUAL(ended[1], 1);
    SIM_CHECK(ended[2] <= 1); /* it may have been cancelled before its start */
    wg_errgroup_release(g);
}

/* The limit. Whoever counts finds at most so many, whatever cancels, resizes, or gives up waiting. */

static wg_a32 inside, ran, accepted;

static wg_error *count_inside(void *limit, wg_context *ctx) {
    (void)ctx;
    uint32_t now = wg_add_relaxed32(&inside, 1) + 1;
    SIM_CHECK(now <= (uint32_t)(uintptr_t)limit);
    SIM_CHECK(wg_count(wg_errgroup_tasks(g)) <= (int32_t)(uintptr_t)limit); /* those not started yet take slots too */
    wg_add_relaxed32(&ran, 1);
    sim_yield();
    wg_sub_acq_rel32(&inside, 1);
    return NULL;
}

static void go_twice(void *limit) {
    for (int i = 0; i < 2; i++) {
        wg_status status = wg_errgroup_go(g, count_inside, limit, NULL, NULL);
        SIM_CHECK(status == WG_OK || status == WG_CANCELLED);
        if (status == WG_OK)
            wg_add_relaxed32(&accepted, 1);
    }
}

static void slot_handed_over(void) {
    new_group((wg_errgroup_options){.limit = 1});
    struct sim_thread *a = sim_go("go", go_twice, (void *)1), *b = sim_go("go", go_twice, (void *)1);
    sim_join(a);
    sim_join(b);
    expect(WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&ran), 4);
}

static void cancel_group(void *unused) {
    (void)unused;
    SIM_EQUAL(wg_errgroup_cancel(g, NULL), WG_OK);
}

/* A `go` that sleeps for a slot hears of the cancel; a slot handed to it at that moment is not lost. */
static void slot_against_cancel(void) {
    new_group((wg_errgroup_options){.limit = 1});
    struct sim_thread *a = sim_go("go", go_twice, (void *)1), *b = sim_go("go", go_twice, (void *)1);
    struct sim_thread *canceller = sim_go("cancel", cancel_group, NULL);
    sim_join(a);
    sim_join(b);
    sim_join(canceller);
    expect(WG_OK);
    SIM_CHECK(wg_load_relaxed32(&ran) <= wg_load_relaxed32(&accepted));
}

static void resize(void *unused) {
    (void)unused;
    SIM_EQUAL(wg_errgroup_set_limit(g, 2), WG_OK);
    SIM_EQUAL(wg_errgroup_set_limit(g, 1), WG_OK);
}

static void slot_against_resize(void) {
    new_group((wg_errgroup_options){.limit = 1});
    struct sim_thread *a = sim_go("go", go_twice, (void *)2), *b = sim_go("go", go_twice, (void *)2);
    struct sim_thread *resizer = sim_go("resize", resize, NULL);
    sim_join(a);
    sim_join(b);
    sim_join(resizer);
    expect(WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&ran), 4);
}

/* A task that has not started when the group is cancelled never starts; it is destroyed and counts as done. */
static wg_a32 gone;

static wg_error *must_not_start_late(void *unused, wg_context *ctx) {
    (void)unused, (void)ctx;
    wg_add_relaxed32(&ran, 1);
    return NULL;
}

static void count_destroyed(void *unused) {
    (void)unused;
    wg_add_relaxed32(&gone, 1);
}

static void no_start_after_cancel(void) {
    new_group((wg_errgroup_options){0});
    SIM_EQUAL(wg_errgroup_go(g, must_not_start_late, NULL, count_destroyed, NULL), WG_OK);
    cancel_group(NULL);
    bool queued = wg_pool_queued(NULL) > 0;
    SIM_EQUAL(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&gone), 1);
    if (queued)
        SIM_EQUAL(wg_load_relaxed32(&ran), 0);
    wg_errgroup_release(g);
}

/* Tasks that wait until the limit has been raised, with a `go` that sleeps meanwhile: it must be let in. */
static wg_waitgroup third;

static wg_error *wait_for_third(void *unused, wg_context *ctx) {
    (void)unused, (void)ctx;
    SIM_EQUAL(wg_wait(&third, NULL), WG_OK);
    return NULL;
}

static wg_error *be_third(void *unused, wg_context *ctx) {
    (void)unused, (void)ctx;
    SIM_EQUAL(wg_done(&third), WG_OK);
    return NULL;
}

static void raise_limit(void *unused) {
    (void)unused;
    SIM_EQUAL(wg_errgroup_set_limit(g, 3), WG_OK);
}

static void more_room_lets_in(void) {
    SIM_EQUAL(wg_add(&third, 1), WG_OK);
    new_group((wg_errgroup_options){.limit = 2});
    struct sim_thread *raiser = sim_go("raise", raise_limit, NULL);
    SIM_EQUAL(wg_errgroup_go(g, wait_for_third, NULL, NULL, NULL), WG_OK);
    SIM_EQUAL(wg_errgroup_go(g, wait_for_third, NULL, NULL, NULL), WG_OK);
    SIM_EQUAL(wg_errgroup_go(g, be_third, NULL, NULL, NULL), WG_OK);
    sim_join(raiser);
    expect(WG_OK);
}

/* A `go` that stops waiting keeps nothing: the slot handed to it just then is its own, or somebody else's. */
static void go_impatiently(void *unused) {
    (void)unused;
    wg_until until = {.deadline = wg_after(WG_SECOND), .interruptible = true};
    wg_status status = wg_errgroup_go(g, count_inside, (void *)1, NULL, &until);
    SIM_CHECK(status == WG_OK || status == WG_TIMEOUT || status == WG_INTERRUPTED);
    if (status == WG_OK)
        wg_add_relaxed32(&accepted, 1);
}

static void slot_against_timeout(void) {
    new_group((wg_errgroup_options){.limit = 1});
    struct sim_thread *a = sim_go("go", go_impatiently, NULL), *b = sim_go("go", go_impatiently, NULL);
    go_twice((void *)1);
    sim_join(a);
    sim_join(b);
    expect(WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&ran), wg_load_relaxed32(&accepted));
}

/* Threads and observers that wait for slots are served in the order of coming. */
struct seeker {
    wg_observer observer;
    wg_waitgroup told;
    wg_status status; /* plain memory */
};

static void hear(void *raw) {
    struct seeker *me = raw;
    me->status = wg_slot_status(&me->observer);
    SIM_EQUAL(wg_done(&me->told), WG_OK);
}

static void seek(struct seeker *me) {
    *me = (struct seeker){.told = WG_INIT};
    SIM_EQUAL(wg_add(&me->told, 1), WG_OK);
    SIM_EQUAL(wg_event_observe(wg_slot(g), &me->observer, hear, me), WG_OK);
}

static void go_after_observer(void *seeker) {
    SIM_EQUAL(wg_errgroup_go(g, succeed, NULL, NULL, NULL), WG_OK);
    SIM_EQUAL(wg_count(&((struct seeker *)seeker)->told), 0); /* it came first, and has been told */
}

static void slots_in_the_order_of_coming(void) {
    struct seeker first, last;
    new_group((wg_errgroup_options){.limit = 1});
    SIM_EQUAL(wg_errgroup_enter(g), WG_OK);
    seek(&first);
    struct sim_thread *thread = sim_go("go", go_after_observer, &first);
    SIM_EQUAL(wg_errgroup_leave(g, NULL), WG_OK);
    SIM_EQUAL(wg_wait(&first.told, NULL), WG_OK);
    SIM_EQUAL(first.status, WG_OK);
    SIM_CHECK(wg_errgroup_enter(g) == WG_LIMIT); /* nobody can take it in between */
    SIM_EQUAL(wg_errgroup_enter_slot(g), WG_OK);
    SIM_EQUAL(wg_errgroup_leave(g, NULL), WG_OK);
    sim_join(thread);
    seek(&last);
    SIM_EQUAL(wg_wait(&last.told, NULL), WG_OK);
    SIM_EQUAL(last.status, WG_OK);
    SIM_EQUAL(wg_errgroup_give_slot(g), WG_OK);
    expect(WG_OK);
}

/* An observer that goes away while a slot is being handed to it: the slot is the observer's, or is given back. */
static void leave_once(void *unused) {
    (void)unused;
    SIM_EQUAL(wg_errgroup_leave(g, NULL), WG_OK);
}

static void make_room_for_two(void *unused) {
    (void)unused;
    SIM_EQUAL(wg_errgroup_set_limit(g, 4), WG_OK);
}

static void slot_observer_leaves(void) {
    struct seeker a, b;
    new_group((wg_errgroup_options){.limit = 2});
    SIM_EQUAL(wg_errgroup_enter(g), WG_OK);
    SIM_EQUAL(wg_errgroup_enter(g), WG_OK);
    seek(&a);
    seek(&b);
    struct sim_thread *leaver = sim_go("leave", leave_once, NULL), *other = sim_go("resize", make_room_for_two, NULL);
    struct seeker *both[] = {&b, &a};
    for (int i = 0; i < 2; i++)
        if (!wg_event_unobserve_sync(wg_slot(g), &both[i]->observer))
            SIM_EQUAL(wg_errgroup_give_slot(g), WG_OK);
    sim_join(leaver);
    sim_join(other);
    SIM_EQUAL(wg_errgroup_leave(g, NULL), WG_OK);
    expect(WG_OK);
}

/* Observers that want a slot at once, whatever ends the wait: a task's end, a larger limit, or the cancellation. */
static void enter_in_turn(void *unused) {
    struct seeker *me = malloc(sizeof *me);
    (void)unused;
    seek(me);
    SIM_EQUAL(wg_wait(&me->told, NULL), WG_OK);
    wg_status status = me->status;
    wg_event_unobserve_sync(wg_slot(g), &me->observer);
    free(me);
    if (status == WG_OK)
        status = wg_errgroup_enter_slot(g);
    if (status == WG_OK) {
        wg_add_relaxed32(&ran, 1);
        sim_yield();
        wg_errgroup_leave(g, NULL);
    } else
        SIM_EQUAL(status, WG_CANCELLED);
}

static void observers_get_slots(void) {
    new_group((wg_errgroup_options){.limit = 1});
    struct sim_thread *a = sim_go("enter", enter_in_turn, NULL), *b = sim_go("enter", enter_in_turn, NULL);
    enter_in_turn(NULL);
    sim_join(a);
    sim_join(b);
    expect(WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&ran), 3);
}

static void observers_get_slots_or_the_end(void) {
    new_group((wg_errgroup_options){.limit = 1});
    SIM_EQUAL(wg_errgroup_enter(g), WG_OK);
    struct sim_thread *a = sim_go("enter", enter_in_turn, NULL), *b = sim_go("enter", enter_in_turn, NULL);
    struct sim_thread *resizer = sim_go("resize", resize, NULL);
    cancel_group(NULL);
    sim_join(a);
    sim_join(b);
    sim_join(resizer);
    wg_errgroup_leave(g, NULL);
    expect(WG_OK);
}

/* Tasks ahead of the slots start when a slot is given back, at whatever moment. */
static void go_and_count(void *unused) {
    (void)unused;
    for (int i = 0; i < 2; i++)
        SIM_EQUAL(wg_errgroup_go(g, must_not_start_late, NULL, NULL, NULL), WG_OK);
}

static void backlog_starts(void) {
    new_group((wg_errgroup_options){.limit = 1, .backlog = 1});
    struct sim_thread *other = sim_go("go", go_and_count, NULL);
    go_and_count(NULL);
    sim_join(other);
    expect(WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&ran), 4);
}

static void backlog_against_cancel(void) {
    new_group((wg_errgroup_options){.limit = 1, .backlog = 2});
    SIM_EQUAL(wg_errgroup_enter(g), WG_OK);
    struct sim_thread *canceller = sim_go("cancel", cancel_group, NULL);
    for (int i = 0; i < 2; i++)
        if (wg_errgroup_go(g, must_not_start_late, NULL, count_destroyed, NULL) == WG_OK)
            wg_add_relaxed32(&accepted, 1);
    sim_join(canceller);
    SIM_EQUAL(wg_load_relaxed32(&gone), wg_load_relaxed32(&accepted)); /* dropped, though the slot is held */
    SIM_EQUAL(wg_errgroup_leave(g, NULL), WG_OK);
    expect(WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&ran), 0);
}

/* The outcome is told once it is there, all tasks ended or the grace period over. */
static void tell_outcome(void *word) { SIM_EQUAL(wg_done(word), WG_OK); }

static void outcome_is_told(void) {
    wg_observer observer;
    wg_waitgroup told = WG_INIT;
    new_group((wg_errgroup_options){0});
    SIM_EQUAL(wg_add(&told, 1), WG_OK);
    SIM_EQUAL(wg_errgroup_go(g, succeed, NULL, NULL, NULL), WG_OK);
    SIM_EQUAL(wg_event_observe(wg_outcome(g), &observer, tell_outcome, &told), WG_OK);
    SIM_EQUAL(wg_wait(&told, NULL), WG_OK);
    SIM_EQUAL(wg_errgroup_wait(g, &(wg_until){.deadline = WG_POLL}, NULL), WG_OK);
    wg_errgroup_release(g);
}

static void outcome_is_told_after_grace(void) {
    wg_observer observer;
    wg_waitgroup told = WG_INIT;
    SIM_EQUAL(wg_add(&told, 1), WG_OK);
    new_group((wg_errgroup_options){.grace = WG_SECOND});
    SIM_EQUAL(wg_errgroup_enter(g), WG_OK); /* a straggler */
    struct sim_thread *canceller = sim_go("cancel", cancel_group, NULL);
    SIM_EQUAL(wg_event_observe(wg_outcome(g), &observer, tell_outcome, &told), WG_OK);
    SIM_EQUAL(wg_wait(&told, NULL), WG_OK);
    SIM_EQUAL(wg_errgroup_wait(g, &(wg_until){.deadline = WG_POLL}, NULL), WG_OK);
    sim_join(canceller);
    SIM_EQUAL(wg_errgroup_leave(g, NULL), WG_OK);
    wg_errgroup_release(g);
}

/* An observer of zero finds a slot, also if somebody waited for one and has left. */
static void enter_at_zero(void *raw) {
    SIM_EQUAL(wg_errgroup_enter(g), WG_OK);
    SIM_EQUAL(wg_done(raw), WG_OK);
}

static void slot_is_there_at_zero(void) {
    wg_waitgroup told = WG_INIT;
    wg_observer zero;
    struct seeker seeker;
    new_group((wg_errgroup_options){.limit = 1});
    SIM_EQUAL(wg_add(&told, 1), WG_OK);
    SIM_EQUAL(wg_errgroup_enter(g), WG_OK);
    SIM_EQUAL(wg_event_observe(wg_zero(wg_errgroup_tasks(g)), &zero, enter_at_zero, &told), WG_OK);
    seek(&seeker);
    struct sim_thread *leaver = sim_go("leave", leave_once, NULL);
    if (!wg_event_unobserve_sync(wg_slot(g), &seeker.observer))
        SIM_EQUAL(wg_errgroup_give_slot(g), WG_OK);
    SIM_EQUAL(wg_wait(&told, NULL), WG_OK);
    sim_join(leaver);
    SIM_EQUAL(wg_errgroup_leave(g, NULL), WG_OK);
    expect(WG_OK);
}

/* Tasks that hold all slots and want one more: the last to ask hears that it is a deadlock, and all end. */
static wg_a32 refused;

static wg_error *want_one_more(void *unused, wg_context *ctx) {
    (void)unused, (void)ctx;
    wg_status status = wg_errgroup_go(g, count_inside, (void *)2, NULL, NULL);
    SIM_CHECK(status == WG_OK || status == WG_DEADLOCK);
    if (status == WG_DEADLOCK)
        wg_add_relaxed32(&refused, 1);
    return NULL;
}

static void all_slots_want_one_more(void) {
    new_group((wg_errgroup_options){.limit = 2});
    SIM_EQUAL(wg_errgroup_go(g, want_one_more, NULL, NULL, NULL), WG_OK);
    SIM_EQUAL(wg_errgroup_go(g, want_one_more, NULL, NULL, NULL), WG_OK);
    wg_status status = wg_errgroup_go(g, count_inside, (void *)2, NULL, NULL); /* and one from outside */
    SIM_EQUAL(status, WG_OK);
    expect(WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&ran) + wg_load_relaxed32(&refused), 3);
}

/* A wait for the own group is refused, with a deadline too. */
static wg_error *wait_for_itself(void *unused, wg_context *ctx) {
    (void)unused, (void)ctx;
    SIM_EQUAL(wg_errgroup_wait(g, NULL, NULL), WG_DEADLOCK);
    SIM_EQUAL(wg_errgroup_wait(g, &(wg_until){.deadline = wg_after(1)}, NULL), WG_DEADLOCK);
    return NULL;
}

static void waits_for_itself(void) {
    new_group((wg_errgroup_options){0});
    SIM_EQUAL(wg_errgroup_go(g, wait_for_itself, NULL, NULL, NULL), WG_OK);
    expect(WG_OK);
}

/* Grace: after a cancel a straggler is left behind, and ends when it likes; the group's memory lasts until then. */
static wg_waitgroup let_go;

static wg_error *straggle(void *unused, wg_context *ctx) {
    (void)unused;
    SIM_EQUAL(wg_wait(&let_go, &(wg_until){.context = wg_context_root()}), WG_OK);
    return wg_context_error(ctx);
}

static void release_straggler(void *unused) {
    (void)unused;
    SIM_EQUAL(wg_done(&let_go), WG_OK);
}

static void straggler_left_behind(void) {
    SIM_EQUAL(wg_add(&let_go, 1), WG_OK);
    new_group((wg_errgroup_options){.grace = WG_SECOND});
    SIM_EQUAL(wg_errgroup_go(g, straggle, NULL, NULL, NULL), WG_OK);
    cancel_group(NULL);
    expect(WG_OK);
    release_straggler(NULL);
}

static void cancel_late(void *unused) {
    (void)unused;
    wg_errgroup_cancel(g, NULL); /* too late if the outcome was given before */
}

/* A `go` that waits for a slot returns at the cancel, though the task that holds the slot does not end. */
static void go_hears_of_cancel(void) {
    SIM_EQUAL(wg_add(&let_go, 1), WG_OK);
    new_group((wg_errgroup_options){.limit = 1});
    SIM_EQUAL(wg_errgroup_go(g, straggle, NULL, NULL, NULL), WG_OK);
    struct sim_thread *canceller = sim_go("cancel", cancel_late, NULL);
    wg_status status = wg_errgroup_go(g, straggle, NULL, NULL, NULL);
    SIM_CHECK(status == WG_CANCELLED || status == WG_OK); /* OK: the first one never started, and this one will not */
    release_straggler(NULL);
    sim_join(canceller);
    expect(WG_OK);
}

static void grace_against_late_finish(void) {
    SIM_EQUAL(wg_add(&let_go, 1), WG_OK);
    new_group((wg_errgroup_options){.grace = WG_SECOND});
    SIM_EQUAL(wg_errgroup_go(g, straggle, NULL, NULL, NULL), WG_OK);
    struct sim_thread *canceller = sim_go("cancel", cancel_late, NULL);
    struct sim_thread *releaser = sim_go("release", release_straggler, NULL);
    SIM_EQUAL(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    SIM_CHECK(wg_errgroup_go(g, straggle, NULL, NULL, NULL) != WG_OK); /* the outcome has been given */
    sim_join(canceller);
    sim_join(releaser);
    wg_errgroup_release(g);
}

/* Go against wait: a task is refused, or has ended when the wait gives the outcome. */
static wg_error *write_ended(void *unused, wg_context *ctx) {
    (void)unused, (void)ctx;
    ended[0]++;
    return NULL;
}

static void go_once(void *unused) {
    (void)unused;
    wg_status status = wg_errgroup_go(g, write_ended, NULL, NULL, NULL);
    SIM_CHECK(status == WG_OK || status == WG_FINISHED || status == WG_CANCELLED);
    if (status == WG_OK)
        wg_add_relaxed32(&accepted, 1);
}

static void go_against_wait(void) {
    new_group((wg_errgroup_options){0});
    struct sim_thread *other = sim_go("go", go_once, NULL);
    SIM_EQUAL(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    int seen = ended[0];
    sim_join(other);
    SIM_EQUAL(seen, wg_load_relaxed32(&accepted));
    SIM_EQUAL(wg_errgroup_go(g, write_ended, NULL, NULL, NULL), WG_FINISHED);
    wg_errgroup_release(g);
}

/* Groups inside tasks of groups, on one core. */
static wg_error *run_inner(void *unused, wg_context *ctx) {
    wg_errgroup *inner;
    (void)unused, (void)ctx;
    SIM_EQUAL(wg_errgroup_new(&inner, &(wg_errgroup_options){.limit = 1}), WG_OK);
    for (int i = 0; i < 2; i++)
        SIM_EQUAL(wg_errgroup_go(inner, write_ended, NULL, NULL, NULL), WG_OK);
    SIM_EQUAL(wg_errgroup_wait(inner, NULL, NULL), WG_OK);
    wg_errgroup_release(inner);
    return NULL;
}

static wg_error *run_middle(void *unused, wg_context *ctx) {
    wg_errgroup *middle;
    (void)ctx;
    SIM_EQUAL(wg_errgroup_new(&middle, NULL), WG_OK);
    SIM_EQUAL(wg_errgroup_go(middle, run_inner, unused, NULL, NULL), WG_OK);
    SIM_EQUAL(wg_errgroup_wait(middle, NULL, NULL), WG_OK);
    wg_errgroup_release(middle);
    return NULL;
}

static void nested_groups(void) {
    new_group((wg_errgroup_options){0});
    SIM_EQUAL(wg_errgroup_go(g, run_middle, NULL, NULL, NULL), WG_OK);
    expect(WG_OK);
    SIM_EQUAL(ended[0], 2);
}

/* A parent's end and the group's own deadline reach its tasks. */
static wg_error *stop_with_context(void *unused, wg_context *ctx) {
    (void)unused;
    SIM_EQUAL(wg_context_wait(ctx, NULL), WG_OK);
    return wg_context_error(ctx);
}

static wg_context *parent;

static void cancel_parent(void *cause) {
    SIM_EQUAL(wg_context_cancel(parent, cause), WG_OK);
    wg_error_release(cause);
}

static void parent_and_deadline_end_it(void) {
    SIM_EQUAL(wg_context_new(&parent, NULL, WG_FOREVER), WG_OK);
    new_group((wg_errgroup_options){.parent = parent, .deadline = wg_after(WG_SECOND), .limit = 1});
    wg_status gone = wg_errgroup_go(g, stop_with_context, NULL, NULL, NULL);
    SIM_CHECK(gone == WG_OK || gone == WG_DEADLINE_EXCEEDED);
    struct sim_thread *canceller = sim_go("cancel", cancel_parent, wg_error_new(WG_ERROR_FAILURE, NULL, NULL));
    gone = wg_errgroup_go(g, stop_with_context, NULL, NULL, NULL); /* sleeps for the slot until the end */
    wg_error *cause = NULL;
    wg_status outcome = wg_errgroup_wait(g, NULL, &cause);
    SIM_CHECK(outcome == WG_CANCELLED || outcome == WG_DEADLINE_EXCEEDED);
    SIM_CHECK(gone == outcome || gone == WG_OK); /* just before the end it may have been let in */
    SIM_CHECK(cause != NULL);
    SIM_EQUAL(cause == wg_error_deadline(), outcome == WG_DEADLINE_EXCEEDED);
    wg_errgroup_release(g);
    sim_join(canceller);
    wg_context_release(parent);
}

/* The caller gives up its only reference before the tasks have ended. */
static void given_up_at_once(void) {
    new_group((wg_errgroup_options){.limit = 1});
    for (int i = 0; i < 2; i++)
        SIM_EQUAL(wg_errgroup_go(g, count_inside, (void *)1, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

/* A task ends its thread, a worker or one that helps: it has failed, once, and the others go on. Who helps never comes back. */
static wg_error *end_thread(void *unused, wg_context *ctx) {
    (void)unused, (void)ctx;
    sim_exit_thread();
}

/* Of the thread in which the last task ends; the group is given up all the same. */
static void observe_and_end_thread(void *unused) {
    (void)unused;
    if (sim_self_id() != 0) /* not the one that looks on */
        sim_exit_thread();
}

static void wait_unbounded(void *group) { wg_errgroup_wait(group, NULL, NULL); }

static void tasks_end_their_threads(void) {
    new_group((wg_errgroup_options){.limit = 2, .continue_on_error = true});
    wg_observer observer;
    for (int i = 0; i < 3; i++)
        SIM_EQUAL(wg_errgroup_go(g, i == 1 ? count_inside : end_thread, (void *)2, NULL, NULL), WG_OK);
    SIM_EQUAL(wg_event_observe(wg_zero(wg_errgroup_tasks(g)), &observer, observe_and_end_thread, NULL), WG_OK);
    struct sim_thread *helper = sim_go("helper", wait_unbounded, g);
    wg_status status;
    while ((status = wg_errgroup_wait(g, &(wg_until){.deadline = wg_after(WG_SECOND)}, NULL)) == WG_TIMEOUT) {}
    SIM_EQUAL(status, WG_FAILED);
    SIM_EQUAL(wg_errgroup_errors(g, NULL, 0), 2);
    SIM_EQUAL(wg_errgroup_get_counts(g).completed, 3);
    sim_join(helper);
    wg_event_unobserve_sync(wg_zero(wg_errgroup_tasks(g)), &observer);
    wg_errgroup_release(g);
}

/* An observer ends the thread that raises the limit or ends the group: the stored task starts, or is dropped. */
static void raise_to_three(void *unused) {
    (void)unused;
    SIM_EQUAL(wg_errgroup_set_limit(g, 3), WG_OK);
}

static void observer_ends_thread(void (*change)(void *arg)) {
    wg_observer observer;
    new_group((wg_errgroup_options){.limit = 1, .backlog = 1});
    SIM_EQUAL(wg_errgroup_enter(g), WG_OK);
    SIM_EQUAL(wg_errgroup_go(g, must_not_start_late, NULL, count_destroyed, NULL), WG_OK);
    SIM_EQUAL(wg_event_observe(wg_slot(g), &observer, observe_and_end_thread, NULL), WG_OK);
    sim_join(sim_go("change", change, NULL));
    if (wg_slot_status(&observer) == WG_OK)
        SIM_EQUAL(wg_errgroup_give_slot(g), WG_OK);
    SIM_EQUAL(wg_errgroup_leave(g, NULL), WG_OK);
    expect(WG_OK);
    SIM_EQUAL(wg_load_relaxed32(&gone), 1);
}

static void limit_raised_by_a_thread_that_ends(void) { observer_ends_thread(raise_to_three); }

static void group_ended_by_a_thread_that_ends(void) { observer_ends_thread(cancel_group); }

/* An observer of a slot, told that there will be none, gives up all that is left of the group, which a task leaves meanwhile. */
static void hear_and_give_up(void *observer) {
    if (wg_slot_status(observer) == WG_OK)
        SIM_EQUAL(wg_errgroup_give_slot(g), WG_OK);
    wg_errgroup_release(g);
}

static void leave_group(void *unused) {
    (void)unused;
    SIM_EQUAL(wg_errgroup_leave(g, NULL), WG_OK);
}

static void slot_observer_gives_up_the_group(void) {
    wg_observer observer;
    new_group((wg_errgroup_options){.limit = 1});
    wg_context *ctx = wg_context_retain(wg_errgroup_context(g));
    SIM_EQUAL(wg_errgroup_enter(g), WG_OK);
    SIM_EQUAL(wg_event_observe(wg_slot(g), &observer, hear_and_give_up, &observer), WG_OK);
    struct sim_thread *leaver = sim_go("leave", leave_group, NULL);
    SIM_EQUAL(wg_context_cancel(ctx, NULL), WG_OK);
    sim_join(leaver);
    wg_context_release(ctx);
}

/* The same of an observer of the outcome, which is told by the thread that cancels: the grace period is over at once. */
static void give_up(void *unused) {
    (void)unused;
    wg_errgroup_release(g);
}

static void outcome_observer_gives_up_the_group(void) {
    wg_observer observer;
    new_group((wg_errgroup_options){.grace = 1});
    wg_context *ctx = wg_context_retain(wg_errgroup_context(g));
    SIM_EQUAL(wg_errgroup_enter(g), WG_OK);
    SIM_EQUAL(wg_event_observe(wg_outcome(g), &observer, give_up, NULL), WG_OK);
    struct sim_thread *leaver = sim_go("leave", leave_group, NULL);
    SIM_EQUAL(wg_context_cancel(ctx, NULL), WG_OK);
    sim_join(leaver);
    wg_context_release(ctx);
    sim_join_library();
}

/* Errors whose destructors end the thread, and another that gives up the group as well: nothing is left. */
static wg_a32 errors_destroyed;

static void destroy_and_end_thread(void *unused) {
    (void)unused;
    wg_add_relaxed32(&errors_destroyed, 1);
    if (sim_self_id() != 0)
        sim_exit_thread();
}

static void release_group(void *unused) {
    (void)unused;
    wg_errgroup_release(g);
}

static void errors_end_the_thread_that_gives_up_the_group(void) {
    wg_store_relaxed32(&errors_destroyed, 0);
    new_group((wg_errgroup_options){.continue_on_error = true});
    for (int i = 0; i < 2; i++) {
        SIM_EQUAL(wg_errgroup_enter(g), WG_OK);
        SIM_EQUAL(wg_errgroup_leave(g, wg_error_new(WG_ERROR_FAILURE, NULL, destroy_and_end_thread)), WG_OK);
    }
    wg_errgroup_retain(g);
    struct sim_thread *a = sim_go("a", release_group, NULL), *b = sim_go("b", release_group, NULL);
    sim_join(a);
    sim_join(b);
    SIM_EQUAL(wg_load_relaxed32(&errors_destroyed), 2);
}

const struct sim_scenario errgroup_scenarios[] = {
    {"limit_raised_by_a_thread_that_ends", limit_raised_by_a_thread_that_ends, .cores = 1, .exhaustive = 1,
     .spurious = false},
    {"group_ended_by_a_thread_that_ends", group_ended_by_a_thread_that_ends, .cores = 1, .exhaustive = 1,
     .spurious = false},
    {"first_error_decides", first_error_decides, .cores = 2, .exhaustive = 0, .spurious = false},
    {"end_seen_means_slot_given_back", end_seen_means_slot_given_back, .cores = 1, .exhaustive = 2, .spurious = false},
    {"wait_in_task_ends_with_its_group", wait_in_task_ends_with_its_group, .cores = 1, .exhaustive = 2,
     .spurious = false},
    {"running_within_the_limit", running_within_the_limit, .cores = 1, .exhaustive = 2, .spurious = false},
    {"slot_handed_over", slot_handed_over, .cores = 1, .exhaustive = 1, .spurious = false},
    {"slot_against_cancel", slot_against_cancel, .cores = 2, .exhaustive = 0, .spurious = false},
    {"slot_against_resize", slot_against_resize, .cores = 1, .exhaustive = 1, .spurious = false},
    {"no_start_after_cancel", no_start_after_cancel, .cores = 1, .exhaustive = 2, .spurious = false},
    {"more_room_lets_in", more_room_lets_in, .cores = 1, .exhaustive = 1, .spurious = false},
    {"slot_against_timeout", slot_against_timeout, .cores = 1, .exhaustive = 0, .spurious = false},
    {"observers_get_slots", observers_get_slots, .cores = 1, .exhaustive = 2, .spurious = false},
    {"observers_get_slots_or_the_end", observers_get_slots_or_the_end, .cores = 1, .exhaustive = 0, .spurious = false},
    {"slots_in_the_order_of_coming", slots_in_the_order_of_coming, .cores = 1, .exhaustive = 2, .spurious = false},
    {"slot_observer_leaves", slot_observer_leaves, .cores = 1, .exhaustive = 2, .spurious = false},
    {"backlog_starts", backlog_starts, .cores = 1, .exhaustive = 1, .spurious = false},
    {"backlog_against_cancel", backlog_against_cancel, .cores = 1, .exhaustive = 2, .spurious = false},
    {"slot_is_there_at_zero", slot_is_there_at_zero, .cores = 1, .exhaustive = 1, .spurious = false},
    {"outcome_is_told", outcome_is_told, .cores = 1, .exhaustive = 2, .spurious = false},
    {"outcome_observer_gives_up_the_group", outcome_observer_gives_up_the_group, .cores = 1, .exhaustive = 1,
     .spurious = false},
    {"outcome_is_told_after_grace", outcome_is_told_after_grace, .cores = 1, .exhaustive = 2, .spurious = false},
    {"all_slots_want_one_more", all_slots_want_one_more, .cores = 1, .exhaustive = 1, .spurious = false},
    {"waits_for_itself", waits_for_itself, .cores = 1, .exhaustive = 2, .spurious = false},
    {"straggler_left_behind", straggler_left_behind, .cores = 1, .exhaustive = 2, .spurious = false},
    {"go_hears_of_cancel", go_hears_of_cancel, .cores = 1, .exhaustive = 2, .spurious = false},
    {"grace_against_late_finish", grace_against_late_finish, .cores = 2, .exhaustive = 0, .spurious = false},
    {"go_against_wait", go_against_wait, .cores = 1, .exhaustive = 2, .spurious = false},
    {"nested_groups", nested_groups, .cores = 1, .exhaustive = 1, .spurious = false},
    {"parent_and_deadline_end_it", parent_and_deadline_end_it, .cores = 1, .exhaustive = 1, .spurious = false},
    {"tasks_end_their_threads", tasks_end_their_threads, .cores = 1, .exhaustive = 1, .spurious = false},
    {"given_up_at_once", given_up_at_once, .cores = 1, .exhaustive = 2, .spurious = false},
    {"slot_observer_gives_up_the_group", slot_observer_gives_up_the_group, .cores = 1, .exhaustive = 2,
     .spurious = false},
    {"errors_end_the_thread_that_gives_up_the_group", errors_end_the_thread_that_gives_up_the_group, .cores = 1,
     .exhaustive = 2, .spurious = false},
    {0},
};
