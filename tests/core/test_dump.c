/* A program that hangs can be looked into: what it says, from where, and what a test has left behind. */
#include "tasks.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char text[1 << 18];

static const char *dumped(void) {
    char *all = wg_dump_text();
    assert_non_null(all);
    assert_true(strlen(all) < sizeof text);
    strcpy(text, all);
    free(all);
    return text;
}

#define assert_says(what) assert_non_null(strstr(text, what))
#define assert_says_not(what) assert_null(strstr(text, what))

static wg_error *wait_for_other(void *other, wg_context *ctx) {
    (void)ctx;
    wg_until until = {.context = wg_context_root()};
    REQUIRE(wg_errgroup_wait(other, &until, NULL) == WG_OK);
    return NULL;
}

static void tasks_and_waits_are_told(void **state) {
    (void)state;
    struct gate gate = {0};
    wg_errgroup *inner = new_group((wg_errgroup_options){.track = true, .name = "inner", .limit = 2});
    wg_errgroup *outer = new_group((wg_errgroup_options){
        .track = true, .name = "outer", .language = "Klingon", .where = "ship.c:12", .parent = wg_context_root()});
    wg_task hold = {.fn = pass_gate, .arg = &gate, .name = "holder"};
    wg_task wait = {.fn = wait_for_other, .arg = inner, .name = "waiter"};
    assert_status(wg_errgroup_start(inner, &hold, NULL), WG_OK);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
    assert_status(wg_errgroup_start(outer, &wait, NULL), WG_OK);
    EVENTUALLY(strstr(dumped(), "task 'waiter' waits for the tasks of error group 'inner', for "));
    assert_says("error group 'outer' (Klingon, made at ship.c:12, ");
    assert_says("error group 'inner' (C, ");
    assert_says("1 running, 0 pending, 0 completed, limit 2");
    assert_says("task 'holder' runs, for ");
    assert_says("pool 'waitgroup': 2 threads, 1 in tasks");
    gate_open(&gate);
    assert_status(wg_errgroup_wait(outer, NULL, NULL), WG_OK);
    wg_errgroup_release(outer);
    wg_errgroup_release(inner);
    EVENTUALLY(!strstr(dumped(), "error group '")); /* a worker may give up the last reference a moment later */
    assert_says("0 error groups with tasks or waits, 0 without; 0 threads wait");
}

static void *wait_in_thread(void *g) {
    wg_until until = {.deadline = wg_after(WG_SECOND * 3600)};
    REQUIRE(wg_errgroup_wait(g, &until, NULL) == WG_OK);
    return NULL;
}

static void what_is_stuck_comes_first(void **state) {
    (void)state;
    struct gate gate = {0};
    pthread_t thread;
    wg_errgroup *idle = new_group((wg_errgroup_options){.name = "idle"});
    wg_errgroup *busy = new_group((wg_errgroup_options){.name = "busy"});
    wg_errgroup *stuck = new_group((wg_errgroup_options){.name = "stuck"});
    go(busy, pass_gate, &gate);
    go(stuck, pass_gate, &gate);
    EVENTUALLY(atomic_load(&gate.inside) == 2);
    pthread_create(&thread, NULL, wait_in_thread, stuck);
    EVENTUALLY(strstr(dumped(), "waits for the tasks of error group 'stuck'"));
    assert_true(strstr(text, "error group 'stuck' (") < strstr(text, "error group 'busy' ("));
    assert_true(strstr(text, "error group 'busy' (") < strstr(text, "error group 'idle' ("));
    assert_says("at most 3"); /* ... seconds more */
    assert_says("1 running task of which only the number is known");
    gate_open(&gate);
    pthread_join(thread, NULL);
    assert_status(wg_errgroup_wait(busy, NULL, NULL), WG_OK);
    wg_errgroup_release(idle);
    wg_errgroup_release(busy);
    wg_errgroup_release(stuck);
}

static void *go_at_limit(void *g) {
    go(g, succeed, NULL);
    return NULL;
}

static void a_wait_for_a_slot_is_told(void **state) {
    (void)state;
    struct gate gate = {0};
    pthread_t thread;
    wg_errgroup *g = new_group((wg_errgroup_options){.name = "full", .limit = 1});
    go(g, pass_gate, &gate);
    pthread_create(&thread, NULL, go_at_limit, g);
    EVENTUALLY(strstr(dumped(), "waits for a slot of error group 'full', for "));
    gate_open(&gate);
    pthread_join(thread, NULL);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

static void many_groups_and_long_names_are_told(void **state) {
    (void)state;
    enum { GROUPS = 300 };
    wg_errgroup *groups[GROUPS];
    char name[500] = "";
    memset(name, 'x', sizeof name - 1);
    for (int i = 0; i < GROUPS; i++)
        groups[i] = new_group((wg_errgroup_options){.name = name, .where = name});
    dumped();
    int n = 0;
    for (const char *at = text; (at = strstr(at, "error group 'xxx")); at++)
        n++;
    assert_int_equal(n, GROUPS);
    for (int i = 0; i < GROUPS; i++)
        wg_errgroup_release(groups[i]);
}

static void bad_calls_are_refused(void **state) {
    (void)state;
    int fd = open("/dev/null", O_RDONLY);
    assert_status(wg_dump(-1), WG_INVALID);
    assert_status(wg_dump(fd), WG_INVALID);
    assert_status(wg_dump_on_signal(SIGKILL, 2), WG_INVALID);
    assert_status(wg_dump_on_signal(-1, 2), WG_INVALID);
    assert_status(wg_dump_on_signal(SIGUSR1, -1), WG_INVALID);
    close(fd);
}

/* Read from `fd` until it says `what`. */
static void read_until(int fd, const char *what) {
    size_t n = 0;
    do {
        ssize_t got = read(fd, text + n, sizeof text - 1 - n);
        REQUIRE(got > 0);
        n += (size_t)got;
        text[n] = '\0';
    } while (!strstr(text, what));
}

static void a_signal_asks_for_a_dump(void **state) {
    (void)state;
    int ends[2];
    struct gate gate = {0};
    assert_int_equal(pipe(ends), 0);
    assert_status(wg_dump_on_signal(SIGUSR1, ends[1]), WG_OK);
    wg_errgroup *g = new_group((wg_errgroup_options){.name = "asked"});
    wg_task task = {.fn = pass_gate, .arg = &gate, .name = "listed"};
    assert_status(wg_errgroup_start(g, &task, NULL), WG_OK);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
    raise(SIGUSR1);
    read_until(ends[0], "pool 'waitgroup'");
    assert_says("error group 'asked'");
    assert_says("task 'listed' runs");
    gate_open(&gate);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
}

static void a_child_answers_for_itself(void **state) {
    (void)state;
    int ends[2];
    if (THREAD_SANITIZER)
        skip(); /* it allows no thread to be started in the child */
    assert_int_equal(pipe(ends), 0);
    assert_status(wg_dump_on_signal(SIGUSR1, ends[1]), WG_OK);
    pid_t child = fork();
    if (child == 0) {
        raise(SIGUSR1); /* before the child has a thread for it */
        wg_errgroup *g = new_group((wg_errgroup_options){.name = "child's"});
        wg_until never = {0};
        go(g, succeed, NULL);
        REQUIRE(wg_errgroup_wait(g, &never, NULL) == WG_OK);
        wg_until shortly = {.deadline = wg_after(WG_SECOND * 3600)};
        (void)wg_context_wait(wg_context_root(), &shortly); /* until it is killed */
        _exit(0);
    }
    char head[64];
    snprintf(head, sizeof head, "waitgroup: process %ld:", (long)child);
    read_until(ends[0], "error group");
    assert_says(head);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void leaks_are_counted_and_named(void **state) {
    (void)state;
    struct gate gate = {0};
    int64_t before = wg_now();
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    wg_errgroup *unused = new_group((wg_errgroup_options){.name = "unused"});
    wg_errgroup *g = new_group((wg_errgroup_options){.name = "left", .where = "here.c:3", .track = true});
    assert_int_equal(wg_leaks(ends[1], before), 0);
    wg_task task = {.fn = pass_gate, .arg = &gate, .name = "straggler"};
    assert_status(wg_errgroup_start(g, &task, NULL), WG_OK);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
    assert_int_equal(wg_leaks(-1, wg_now()), 0);
    assert_int_equal(wg_leaks(ends[1], before), 1);
    read_until(ends[0], "straggler");
    assert_says("leak: error group 'left' (C, made at here.c:3): 1 task has not ended, and it was never waited for");
    gate_open(&gate);
    EVENTUALLY(wg_count(wg_errgroup_tasks(g)) == 0);
    assert_int_equal(wg_leaks(ends[1], before), 1);
    read_until(ends[0], "it was never waited for");
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(wg_leaks(ends[1], before), 0);
    wg_errgroup_release(g);
    wg_errgroup_release(unused);
    close(ends[0]);
    close(ends[1]);
}

static void do_nothing(void *unused) { (void)unused; }

static void contexts_that_keep_something_are_told(void **state) {
    (void)state;
    wg_context *parent, *child;
    wg_observer observer;
    wg_context_options options = {
        .name = "request", .language = "Klingon", .where = "ship.c:9", .deadline = wg_after(HANG)};
    assert_status(wg_context_make(&parent, &options), WG_OK);
    assert_status(wg_context_make(&child, &(wg_context_options){.parent = parent}), WG_OK);
    assert_status(wg_event_observe(wg_ended(parent), &observer, do_nothing, NULL), WG_OK);
    dumped();
    assert_says("context 'request' at ");
    assert_says(" (Klingon, made at ship.c:9, ");
    assert_says(": 1 living child, 1 callback, deadline in ");
    assert_says("1 context without children and callbacks");
    assert_true(wg_event_unobserve_sync(wg_ended(parent), &observer));
    wg_context_release(child);
    dumped();
    assert_says("1 context without children and callbacks");
    assert_says_not("context 'request'");
    wg_context_release(parent);
    dumped();
    assert_says_not("without children and callbacks");
    assert_status(wg_context_make(NULL, &options), WG_INVALID);
    assert_status(wg_context_make(&parent, NULL), WG_INVALID);
}

static const char *leaks_since(int64_t since) {
    char *told = wg_leaks_text(since);
    assert_non_null(told);
    snprintf(text, sizeof text, "%s", told);
    free(told);
    return text;
}

static void callbacks_that_are_still_to_come_are_leaks(void **state) {
    (void)state;
    int64_t before = wg_now();
    wg_context *ctx;
    wg_observer observer;
    assert_status(wg_context_make(&ctx, &(wg_context_options){.where = "here.c:7"}), WG_OK);
    assert_string_equal(leaks_since(before), "");
    assert_status(wg_event_observe(wg_ended(ctx), &observer, do_nothing, NULL), WG_OK);
    leaks_since(before);
    assert_says("leak: context at ");
    assert_says(" (C, made at here.c:7): 1 callback still to be called\n");
    assert_string_equal(leaks_since(wg_now()), "");
    wg_context_cancel(ctx, NULL);
    assert_string_equal(leaks_since(before), "");
    wg_context_release(ctx);
}

static void groups_that_were_given_up_without_a_wait_are_leaks(void **state) {
    (void)state;
    leaves_tasks();
    int64_t before = wg_now();
    wg_errgroup *g = new_group((wg_errgroup_options){.name = "lost", .where = "here.c:9"});
    go(g, fail_with, NULL);
    EVENTUALLY(wg_count(wg_errgroup_tasks(g)) == 0);
    wg_errgroup_release(g);
    /* The worker gives up the last reference a moment later; on the way the group is told of as both. */
    EVENTUALLY(strcmp(leaks_since(before),
                      "leak: error group 'lost' (C, made at here.c:9): it was given up without a wait for its tasks, "
                      "1 of which failed\n") == 0);
    int64_t later = wg_now();
    for (int i = 0; i < 40; i++) { /* more than are kept */
        g = new_group((wg_errgroup_options){.name = "other"});
        go(g, succeed, NULL);
        if (i % 2)
            assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
        else
            EVENTUALLY(wg_count(wg_errgroup_tasks(g)) == 0);
        wg_errgroup_release(g);
    }
    EVENTUALLY(wg_leaks(-1, later) == 20);
    wg_errgroup_release(new_group((wg_errgroup_options){.name = "without tasks"}));
    assert_int_equal(wg_leaks(-1, later), 20);
}

/* Descriptors that do not take everything. */

static void dump_where_nobody_reads(void) {
    int ends[2];
    sigset_t pending;
    REQUIRE(pipe(ends) == 0 && close(ends[0]) == 0);
    REQUIRE(wg_dump(ends[1]) == WG_INVALID);
    (void)wg_leaks(ends[1], 0);
    REQUIRE(sigpending(&pending) == 0 && !sigismember(&pending, SIGPIPE));
}

static void no_signal_comes_where_nobody_reads(void **state) {
    (void)state;
    assert_true(in_child(dump_where_nobody_reads));
}

static void *read_slowly(void *raw) {
    const int *fd = raw;
    size_t length = 0;
    ssize_t n;
    for (; (n = read(*fd, text + length, 1000)) > 0; nap())
        length += (size_t)n;
    text[length] = '\0';
    return NULL;
}

static void all_is_written_where_writes_do_not_block(void **state) {
    (void)state;
    enum { GROUPS = 200 };
    wg_errgroup *groups[GROUPS];
    struct thread reader;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    assert_true(fcntl(ends[1], F_SETPIPE_SZ, 4096) > 0);
    for (int i = 0; i < GROUPS; i++)
        groups[i] = new_group((wg_errgroup_options){.name = "one of many", .where = "somewhere in a long file"});
    thread_start(&reader, read_slowly, &ends[0]);
    assert_status(wg_dump(ends[1]), WG_OK);
    close(ends[1]);
    thread_join(&reader);
    close(ends[0]);
    int lines = 0;
    for (const char *at = text; (at = strstr(at, "error group 'one of many'")); at++)
        lines++;
    assert_int_equal(lines, GROUPS);
    for (int i = 0; i < GROUPS; i++)
        wg_errgroup_release(groups[i]);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(contexts_that_keep_something_are_told),
        cmocka_unit_test(callbacks_that_are_still_to_come_are_leaks),
        cmocka_unit_test(groups_that_were_given_up_without_a_wait_are_leaks),
        cmocka_unit_test(tasks_and_waits_are_told),
        cmocka_unit_test(what_is_stuck_comes_first),
        cmocka_unit_test(a_wait_for_a_slot_is_told),
        cmocka_unit_test(many_groups_and_long_names_are_told),
        cmocka_unit_test(bad_calls_are_refused),
        cmocka_unit_test(a_signal_asks_for_a_dump),
        cmocka_unit_test(a_child_answers_for_itself),
        cmocka_unit_test(leaks_are_counted_and_named),
        cmocka_unit_test(no_signal_comes_where_nobody_reads),
        cmocka_unit_test(all_is_written_where_writes_do_not_block),
    };
    return RUN("dump", tests);
}
