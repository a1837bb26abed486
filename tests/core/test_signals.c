/* A storm of signals, handled without SA_RESTART, changes nothing in any blocking call; interruptible ones say so, and
 * can be resumed. The storm hits the thread of the test, every 100 microseconds. */
#include "tasks.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id /* glibc has no name for it */
#define sigev_notify_thread_id _sigev_un._tid
#endif

static atomic_int signals;

static void handle(int number) {
    (void)number;
    atomic_fetch_add(&signals, 1);
}

static timer_t storm;

static void storm_begins(int flags) {
    struct sigaction action = {.sa_handler = handle, .sa_flags = flags};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    event.sigev_notify_thread_id = (int)syscall(SYS_gettid);
    long interval = INSTRUMENTED ? 5000000 : 100000;
    struct itimerspec often = {{0, interval}, {0, interval}};
    REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
    REQUIRE(timer_create(CLOCK_MONOTONIC, &event, &storm) == 0);
    REQUIRE(timer_settime(storm, 0, &often, NULL) == 0);
}

static void storm_ends(void) { REQUIRE(timer_delete(storm) == 0); }

/* Brings about what the test waits for, once enough signals have come, or the wait was interrupted often enough. */
static struct {
    void (*event)(void);
    atomic_int interruptions;
    bool interruptible;
    struct thread thread;
} helper;

static void *bring_about(void *unused) {
    (void)unused;
    int before = atomic_load(&signals);
    if (helper.interruptible)
        EVENTUALLY(atomic_load(&helper.interruptions) >= 5);
    else
        EVENTUALLY(atomic_load(&signals) - before >= 30);
    helper.event();
    return NULL;
}

/* Make the call in the storm, again and again while it is interrupted. */
static void in_storm(wg_status (*call)(const wg_until *until), void (*event)(void), wg_until until,
                     wg_status expected) {
    helper.event = event;
    helper.interruptible = until.interruptible;
    atomic_store(&helper.interruptions, 0);
    errno = 12345;
    if (event)
        thread_start(&helper.thread, bring_about, NULL);
    storm_begins(0);
    wg_status status = call(&until);
    while (until.interruptible && status == WG_INTERRUPTED) {
        atomic_fetch_add(&helper.interruptions, 1);
        status = call(&until);
    }
    storm_ends();
    if (event)
        thread_join(&helper.thread);
    assert_status(status, expected);
    assert_int_equal(errno, 12345); /* no call sets it */
}

/* Each blocking call, and what ends it. */
static wg_waitgroup wg;
static wg_context *ctx;
static wg_errgroup *group;
static struct gate gate;

static atomic_int turns;

static wg_error *take_turn(void *turn, wg_context *task_ctx) {
    (void)task_ctx;
    atomic_store((atomic_int *)turn, atomic_fetch_add(&turns, 1) + 1);
    return NULL;
}

static wg_status wait_wg(const wg_until *until) { return wg_wait(&wg, until); }
static wg_status wait_ctx(const wg_until *until) { return wg_context_wait(ctx, until); }
static wg_status wait_group(const wg_until *until) { return wg_errgroup_wait(group, until, NULL); }
static wg_status go_group(const wg_until *until) { return wg_errgroup_go(group, succeed, NULL, NULL, until); }

static void done_wg(void) { REQUIRE(wg_done(&wg) == WG_OK); }
static void cancel_ctx(void) { REQUIRE(wg_context_cancel(ctx, NULL) == WG_OK); }
static void cancel_group(void) { REQUIRE(wg_errgroup_cancel(group, NULL) == WG_OK); }
static void open_gate(void) { gate_open(&gate); }

static void make_all(wg_errgroup_options options) {
    if (wg_count(&wg) == 0)
        assert_status(wg_add(&wg, 1), WG_OK);
    assert_status(wg_context_new(&ctx, NULL, WG_FOREVER), WG_OK);
    gate = (struct gate){0};
    group = new_group(options);
    go(group, pass_gate, &gate);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
}

static void end_all(void) {
    gate_open(&gate);
    (void)wg_errgroup_wait(group, NULL, NULL);
    wg_errgroup_release(group);
    wg_context_release(ctx);
}

/* Every call, interruptible or not, ended by its event. */
static void calls_return_when_their_moment_comes(void **state) {
    (void)state;
    static const struct {
        wg_status (*call)(const wg_until *until);
        void (*event)(void);
        wg_status status;
        wg_errgroup_options options;
    } table[] = {
        {wait_wg, done_wg, WG_OK, {.limit = 1}},
        {wait_ctx, cancel_ctx, WG_OK, {.limit = 1}},
        {wait_group, open_gate, WG_OK, {.limit = 1}},
        {wait_group, open_gate, WG_OK, {.limit = 1, .grace = HANG}},
        {wait_group, cancel_group, WG_OK, {.limit = 1, .grace = SOON}},
        {go_group, open_gate, WG_OK, {.limit = 1}},
        {go_group, cancel_group, WG_CANCELLED, {.limit = 1}},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (int interruptible = 0; interruptible < 2; interruptible++)
            for (int bounded = 0; bounded < 2; bounded++) {
                make_all(table[i].options);
                in_storm(table[i].call, table[i].event,
                         (wg_until){.interruptible = interruptible, .deadline = bounded ? wg_after(HANG) : WG_FOREVER},
                         table[i].status);
                end_all();
            }
}

/* Every call, ended by its deadline or by its context: not earlier, and not never. */
static void calls_time_out_in_their_time(void **state) {
    (void)state;
    static wg_status (*const calls[])(const wg_until *until) = {wait_wg, wait_ctx, wait_group, go_group};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        for (int interruptible = 0; interruptible < 2; interruptible++) {
            make_all((wg_errgroup_options){.limit = 1});
            int64_t deadline = wg_after(SOON);
            in_storm(calls[i], NULL, (wg_until){.deadline = deadline, .interruptible = interruptible}, WG_TIMEOUT);
            assert_true(wg_now() >= deadline);
            end_all();
        }
}

static void contexts_end_calls_in_their_time(void **state) {
    (void)state;
    static wg_status (*const calls[])(const wg_until *until) = {wait_wg, wait_ctx, wait_group, go_group};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        wg_context *late;
        make_all((wg_errgroup_options){.limit = 1});
        int64_t deadline = wg_after(SOON);
        assert_status(wg_context_new(&late, NULL, deadline), WG_OK);
        in_storm(calls[i], NULL, (wg_until){.context = late}, WG_CONTEXT_ENDED);
        assert_true(wg_now() >= deadline);
        wg_context_release(late);
        end_all();
    }
}

/* A handler with SA_RESTART interrupts too. */
static void a_handler_that_restarts_calls_interrupts_all_the_same(void **state) {
    (void)state;
    make_all((wg_errgroup_options){0});
    storm_begins(SA_RESTART);
    assert_status(wg_wait(&wg, &(wg_until){.interruptible = true}), WG_INTERRUPTED);
    assert_status(wg_context_wait(ctx, &(wg_until){.interruptible = true, .deadline = wg_after(HANG)}), WG_INTERRUPTED);
    assert_status(wg_errgroup_wait(group, &(wg_until){.interruptible = true}, NULL), WG_INTERRUPTED);
    storm_ends();
    end_all();
}

/* An interrupted wait leaves nothing behind, and what comes to pass meanwhile is not lost. */
static void an_interrupted_call_changes_nothing(void **state) {
    (void)state;
    make_all((wg_errgroup_options){.limit = 1});
    storm_begins(0);
    for (int i = 0; i < effort(20); i++) {
        assert_status(wg_errgroup_go(group, succeed, NULL, NULL, &(wg_until){.interruptible = true}), WG_INTERRUPTED);
        assert_int_equal(wg_count(wg_errgroup_tasks(group)), 1);
    }
    gate_open(&gate);
    wg_status status;
    while ((status = wg_errgroup_go(group, succeed, NULL, NULL, &(wg_until){.interruptible = true})) ==
           WG_INTERRUPTED) {}
    assert_status(status, WG_OK);
    while ((status = wg_errgroup_wait(group, &(wg_until){.interruptible = true}, NULL)) == WG_INTERRUPTED) {}
    storm_ends();
    assert_status(status, WG_OK);
    assert_int_equal(wg_errgroup_get_counts(group).completed, 2);
    end_all();
}

/* A call that looks for interruptions by itself, in its place among those that wait. */
static atomic_int looks;
static atomic_bool stop_looking;

static bool look(void *unused) {
    (void)unused;
    atomic_fetch_add(&looks, 1);
    return !atomic_load(&stop_looking);
}

static const wg_until looking = {.interruptible = true, .look = look, .look_every = WG_MILLISECOND};

static void calls_that_look_go_on_until_the_caller_says_no(void **state) {
    (void)state;
    static wg_status (*const calls[])(const wg_until *until) = {wait_wg, wait_ctx, wait_group, go_group};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        make_all((wg_errgroup_options){.limit = 1});
        atomic_store(&looks, 0);
        atomic_store(&stop_looking, false);
        wg_until until = looking;
        int before = 0;
        for (int64_t time = SOON; before == 0; time *= 2) { /* a thread that gets no processor looks late */
            assert_true(time < HANG);
            until.deadline = wg_after(time);
            assert_status(calls[i](&until), WG_TIMEOUT);
            assert_true(wg_now() >= until.deadline);
            before = atomic_load(&looks);
        }
        until = (wg_until){.interruptible = true, .look = look}; /* at signals only */
        storm_begins(0);
        atomic_store(&stop_looking, true);
        assert_status(calls[i](&until), WG_INTERRUPTED);
        storm_ends();
        assert_int_equal(atomic_load(&looks), before + 1);
        end_all();
    }
}

static void *go_and_look(void *turn) {
    REQUIRE(wg_errgroup_go(group, take_turn, turn, NULL, &looking) == WG_OK);
    return NULL;
}

static void *go_in_line(void *turn) {
    REQUIRE(wg_errgroup_go(group, take_turn, turn, NULL, NULL) == WG_OK);
    return NULL;
}

static void a_call_that_looks_keeps_its_place_in_the_queue(void **state) {
    (void)state;
    struct thread looks_on, in_line;
    atomic_int first = 0, second = 0;
    make_all((wg_errgroup_options){.limit = 1});
    atomic_store(&stop_looking, false);
    atomic_store(&turns, 0);
    thread_start(&looks_on, go_and_look, &first);
    let_sleep_on(wg_errgroup_context(group), 1);
    thread_start(&in_line, go_in_line, &second);
    let_sleep_on(wg_errgroup_context(group), 2);
    int before = atomic_load(&looks);
    EVENTUALLY(atomic_load(&looks) > before + 3);
    gate_open(&gate);
    thread_join(&looks_on);
    thread_join(&in_line);
    EVENTUALLY(wg_count(wg_errgroup_tasks(group)) == 0);
    assert_int_equal(atomic_load(&first), 1);
    assert_int_equal(atomic_load(&second), 2);
    end_all();
}

/* What a handled signal does to a call that cannot be interrupted: unobserve_sync, while the observer runs. */
static atomic_bool in_call, returned;

static void run_through_signals(void *unused) {
    (void)unused;
    atomic_store(&in_call, true);
    int before = atomic_load(&signals);
    EVENTUALLY(atomic_load(&signals) - before >= 30);
    atomic_store(&returned, true);
}

static void *done_in_thread(void *unused) {
    (void)unused;
    done_wg();
    return NULL;
}

static void removing_an_observer_waits_through_it(void **state) {
    (void)state;
    wg_observer observer;
    struct thread t;
    if (wg_count(&wg) == 0)
        assert_status(wg_add(&wg, 1), WG_OK);
    assert_status(wg_event_observe(wg_zero(&wg), &observer, run_through_signals, NULL), WG_OK);
    storm_begins(0);
    thread_start(&t, done_in_thread, NULL);
    EVENTUALLY(atomic_load(&in_call));
    assert_false(wg_event_unobserve_sync(wg_zero(&wg), &observer));
    assert_true(atomic_load(&returned));
    storm_ends();
    thread_join(&t);
}

/* Threads of the library handle no signals: those are for the program's own. */
static wg_error *look_at_mask(void *blocked, wg_context *task_ctx) {
    sigset_t mask;
    (void)task_ctx;
    REQUIRE(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
    if (sigismember(&mask, SIGUSR1) && sigismember(&mask, SIGINT) && sigismember(&mask, SIGALRM))
        atomic_store((atomic_bool *)blocked, true);
    return NULL;
}

static void its_own_threads_handle_none(void **state) {
    (void)state;
    atomic_bool blocked = false;
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    go(g, look_at_mask, &blocked);
    assert_status(wg_errgroup_wait(g, AFTER(HANG), NULL), WG_OK); /* with a deadline: run by a worker */
    assert_true(atomic_load(&blocked));
    wg_errgroup_release(g);
}

/* A handler may make a step of a wait group, whatever the thread that it interrupts is about: here it takes the very lock
 * which the step to zero needs. */
static wg_waitgroup stepped;
static atomic_int to_make, refused;

static void step_in_handler(int number) {
    handle(number);
    while (atomic_load(&to_make) > 0) {
        atomic_fetch_sub(&to_make, 1);
        if (wg_done_in_handler(&stepped) != WG_OK)
            atomic_fetch_add(&refused, 1);
    }
}

static void ignore(void *unused) { (void)unused; }

/* Signals as fast as the thread can take them and get on. */
static atomic_bool enough;

static void *send_signals(void *target) {
    while (!atomic_load(&enough)) {
        pthread_kill(*(pthread_t *)target, SIGUSR1);
        for (volatile int i = 0; i < 2000; i++) {}
    }
    return NULL;
}

static void a_handler_may_make_a_step(void **state) {
    (void)state;
    struct thread sender;
    wg_observer observer;
    pthread_t me = pthread_self();
    assert_status(wg_handlers_prepare(), WG_OK);
    signal(SIGUSR1, step_in_handler);
    atomic_store(&enough, false);
    thread_start(&sender, send_signals, &me);
    for (int i = 0; i < effort(INSTRUMENTED ? 50 : 1000); i++) {
        int steps = 1 + i % 3;
        assert_status(wg_add(&stepped, steps), WG_OK);
        atomic_store(&to_make, steps);
        while (atomic_load(&to_make) > 0) /* under the lock half of the time */
            if (wg_event_observe(wg_zero(&stepped), &observer, ignore, NULL) == WG_OK)
                wg_event_unobserve_sync(wg_zero(&stepped), &observer);
        assert_status(wg_wait(&stepped, AFTER(HANG)), WG_OK);
    }
    atomic_store(&enough, true);
    thread_join(&sender);
    signal(SIGUSR1, handle);
    assert_int_equal(atomic_load(&refused), 0);
}

static void set_true(void *flag) { atomic_store((atomic_bool *)flag, true); }

static void a_step_in_a_handler_calls_observers_elsewhere(void **state) {
    (void)state;
    wg_observer observer;
    atomic_bool called = false;
    assert_status(wg_handlers_prepare(), WG_OK);
    assert_status(wg_add(&stepped, 1), WG_OK);
    assert_status(wg_event_observe(wg_zero(&stepped), &observer, set_true, &called), WG_OK);
    atomic_store(&to_make, 1);
    signal(SIGUSR1, step_in_handler);
    raise(SIGUSR1);
    EVENTUALLY(atomic_load(&called));
    assert_int_equal(wg_count(&stepped), 0);
}

static void a_step_too_many_in_a_handler_is_refused(void **state) {
    (void)state;
    assert_status(wg_done_in_handler(&stepped), WG_NEGATIVE);
    assert_int_equal(wg_count(&stepped), 0);
    assert_status(wg_done_in_handler(NULL), WG_INVALID);
}

/* The thread is the parent's: without one of its own, the child hears of it. */
static void step_in_child(void) {
    REQUIRE(wg_add(&stepped, 2) == WG_OK);
    REQUIRE(wg_done_in_handler(&stepped) == WG_OK); /* no thread is needed for this one */
    wg_observer observer;
    atomic_bool called = false;
    REQUIRE(wg_event_observe(wg_zero(&stepped), &observer, set_true, &called) == WG_OK);
    REQUIRE(wg_done_in_handler(&stepped) == WG_NO_THREADS);
    REQUIRE(wg_count(&stepped) == 1);
    REQUIRE(wg_handlers_prepare() == WG_OK);
    REQUIRE(wg_done_in_handler(&stepped) == WG_OK);
    EVENTUALLY(atomic_load(&called));
}

static void a_child_prepares_again(void **state) {
    (void)state;
    if (THREAD_SANITIZER)
        skip(); /* it allows no thread to be started in the child */
    assert_status(wg_handlers_prepare(), WG_OK);
    assert_true(in_child(step_in_child));
}

/* A step that the thread of the parent has not made stays there: the child may have used the memory for something else. */
static wg_waitgroup held, reused;
static struct gate held_up;

static void hold_up(void *unused) {
    (void)unused;
    pass_gate(&held_up, NULL);
}

static void use_the_memory_again(void) {
    reused = (wg_waitgroup)WG_INIT;
    REQUIRE(wg_add(&reused, 1) == WG_OK);
    step_in_child();
    REQUIRE(wg_count(&reused) == 1);
}

static void a_child_makes_no_step_of_its_parent(void **state) {
    (void)state;
    wg_observer holds, waits;
    if (THREAD_SANITIZER)
        skip();
    assert_status(wg_handlers_prepare(), WG_OK);
    assert_status(wg_add(&held, 1), WG_OK);
    assert_status(wg_add(&reused, 1), WG_OK);
    assert_status(wg_event_observe(wg_zero(&held), &holds, hold_up, NULL), WG_OK);
    assert_status(wg_event_observe(wg_zero(&reused), &waits, ignore, NULL), WG_OK);
    assert_status(wg_done_in_handler(&held), WG_OK);
    EVENTUALLY(atomic_load(&held_up.inside) == 1);
    assert_status(wg_done_in_handler(&reused), WG_OK);
    assert_true(in_child(use_the_memory_again));
    gate_open(&held_up);
    assert_status(wg_wait(&reused, AFTER(HANG)), WG_OK);
    assert_false(wg_event_unobserve_sync(wg_zero(&reused), &waits));
}

/* The thread that makes the steps is ended by an observer: another makes those that are left, on the same descriptor. */
static void end_the_thread(void *unused) {
    (void)unused;
    hold_up(NULL);
    pthread_exit(NULL);
}

static void an_observer_that_ends_the_thread_leaves_no_step(void **state) {
    (void)state;
    wg_observer ends, waits;
    assert_status(wg_handlers_prepare(), WG_OK);
    int fds = fds_now();
    for (int i = 0; i < 3; i++) {
        held_up = (struct gate){0};
        assert_status(wg_add(&held, 1), WG_OK);
        assert_status(wg_add(&stepped, 1), WG_OK);
        assert_status(wg_event_observe(wg_zero(&held), &ends, end_the_thread, NULL), WG_OK);
        assert_status(wg_event_observe(wg_zero(&stepped), &waits, ignore, NULL), WG_OK);
        assert_status(wg_done_in_handler(&held), WG_OK);
        EVENTUALLY(atomic_load(&held_up.inside) == 1);
        assert_status(wg_done_in_handler(&stepped), WG_OK);
        gate_open(&held_up);
        assert_status(wg_wait(&stepped, AFTER(HANG)), WG_OK);
        assert_false(wg_event_unobserve_sync(wg_zero(&stepped), &waits));
        assert_false(wg_event_unobserve_sync(wg_zero(&held), &ends));
        EVENTUALLY(wg_handlers_prepare() == WG_OK);
        assert_int_equal(fds_now(), fds);
    }
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_return_when_their_moment_comes),
        cmocka_unit_test(calls_time_out_in_their_time),
        cmocka_unit_test(contexts_end_calls_in_their_time),
        cmocka_unit_test(a_handler_that_restarts_calls_interrupts_all_the_same),
        cmocka_unit_test(an_interrupted_call_changes_nothing),
        cmocka_unit_test(calls_that_look_go_on_until_the_caller_says_no),
        cmocka_unit_test(a_call_that_looks_keeps_its_place_in_the_queue),
        cmocka_unit_test(removing_an_observer_waits_through_it),
        cmocka_unit_test(its_own_threads_handle_none),
        cmocka_unit_test(a_handler_may_make_a_step),
        cmocka_unit_test(a_step_in_a_handler_calls_observers_elsewhere),
        cmocka_unit_test(a_step_too_many_in_a_handler_is_refused),
        cmocka_unit_test(a_child_prepares_again),
        cmocka_unit_test(a_child_makes_no_step_of_its_parent),
        cmocka_unit_test(an_observer_that_ends_the_thread_leaves_no_step),
    };
    return RUN("signals", tests);
}
