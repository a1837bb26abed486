/* A timeline: what its file tells, that it is whole whatever becomes of the program, and that no other process spoils it. */
#include "tasks.h"

#include <ctype.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[64], text[32 << 20];

static pid_t owner;

static void remove_file(void) {
    if (getpid() == owner)
        unlink(path);
}

static const char *read_file(const char *name) {
    FILE *f = fopen(name, "r");
    REQUIRE(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    return text;
}

/* --- is it JSON? Returns what comes after the value at `s`, or NULL --- */

static const char *after_space(const char *s) {
    while (isspace((unsigned char)*s))
        s++;
    return s;
}

static const char *after_string(const char *s) {
    for (s++; *s != '"'; s++) {
        if ((unsigned char)*s < 0x20)
            return NULL;
        if (*s == '\\' && !strchr("\"\\u", *++s))
            return NULL;
    }
    return s + 1;
}

static const char *after_value(const char *s);

static const char *after_members(const char *s, bool named) {
    char end = named ? '}' : ']';
    for (s = after_space(s + 1); *s != end; s = after_space(s + 1)) {
        if (named && (*s != '"' || !(s = after_string(s)) || *(s = after_space(s)) != ':'))
            return NULL;
        if (!(s = after_value(after_space(named ? s + 1 : s))))
            return NULL;
        s = after_space(s);
        if (*s == end)
            break;
        if (*s != ',')
            return NULL;
    }
    return s + 1;
}

static const char *after_value(const char *s) {
    if (*s == '{' || *s == '[')
        return after_members(s, *s == '{');
    if (*s == '"')
        return after_string(s);
    size_t n = strspn(s, "-0123456789.");
    return n ? s + n : NULL;
}

static bool is_json(const char *s) {
    s = after_value(s);
    return s && *after_space(s) == '\0';
}

/* The file, which is whole. */
static const char *told(void) {
    read_file(path);
    if (!is_json(text))
        fprintf(stderr, "not JSON: %.300s ...\n", text);
    REQUIRE(is_json(text));
    return text;
}

#define assert_tells(what) assert_non_null(strstr(text, what))
#define assert_tells_not(what) assert_null(strstr(text, what))

static int count_of(const char *what) {
    int n = 0;
    for (const char *s = text; (s = strstr(s, what)); s += strlen(what))
        n++;
    return n;
}

static void start(void) { assert_status(wg_trace_start(path), WG_OK); }
static void stop(void) { assert_status(wg_trace_stop(), WG_OK); }

static void run(wg_errgroup *g, wg_task_fn fn, void *arg, const char *name) {
    assert_status(wg_errgroup_start(g, &(wg_task){.fn = fn, .arg = arg, .name = name}, NULL), WG_OK);
}

static wg_error *fail_saying(void *text_of_error, wg_context *ctx) {
    (void)ctx;
    return wg_errorf("%s", (const char *)text_of_error);
}

static void tasks_are_told_with_their_groups_and_outcomes(void **state) {
    (void)state;
    start();
    wg_errgroup *g = new_group((wg_errgroup_options){.name = "fetches", .where = "fetch.c:12", .language = "Klingon"});
    run(g, succeed, NULL, "fetch a");
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
    stop();
    told();
    assert_tells("\"ph\":\"X\",\"cat\":\"task\"");
    assert_tells("\"name\":\"fetch a\",\"dur\":");
    assert_tells("\"args\":{\"group\":\"fetches\",\"queued\":");
    assert_tells("\"outcome\":\"succeeded\"");
    assert_tells("\"name\":\"go fetch a\"");
    assert_int_equal(count_of("\"ph\":\"s\""), 1);
    assert_int_equal(count_of("\"ph\":\"f\""), 1);
    assert_tells("\"ph\":\"b\",\"cat\":\"group\"");
    assert_tells("\"language\":\"Klingon\",\"made at\":\"fetch.c:12\",\"outcome\":\"ok\"");
    assert_tells("\"name\":\"main\"");
    assert_tells_not("\"cat\":\"cancel\""); /* a group that ends is not cancelled */
}

static void errors_and_cancellations_are_told_with_their_texts(void **state) {
    (void)state;
    start();
    wg_errgroup *g = new_group((wg_errgroup_options){.name = "fetches"});
    run(g, until_cancelled, NULL, "fetch b");
    run(g, fail_saying, "no such host", "fetch a");
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_FAILED);
    wg_errgroup_release(g);
    wg_errgroup *late = new_group((wg_errgroup_options){.name = "late", .deadline = wg_after(SOON)});
    wg_status gone = wg_errgroup_go(late, until_cancelled, NULL, NULL, NULL);
    assert_true(gone == WG_OK || gone == WG_DEADLINE_EXCEEDED); /* the latter on a slow machine */
    assert_status(wg_errgroup_wait(late, NULL, NULL), WG_DEADLINE_EXCEEDED);
    wg_errgroup_release(late);
    stop();
    told();
    assert_tells("\"outcome\":\"failed\",\"error\":\"no such host\"");
    assert_tells(
        "\"name\":\"cancelled: fetches\",\"s\":\"p\",\"args\":{\"what\":\"fetches\",\"cause\":\"no such host\"}");
    assert_tells("\"name\":\"deadline exceeded: late\"");
    assert_tells("\"outcome\":\"stopped\"");
}

static void *wait_for_group(void *g) {
    REQUIRE(wg_errgroup_wait(g, AFTER(HANG), NULL) == WG_OK);
    return NULL;
}

static void *wait_for_context(void *ctx) {
    REQUIRE(wg_context_wait(ctx, AFTER(HANG)) == WG_OK);
    return NULL;
}

static void waits_that_sleep_are_told_with_what_they_are_for(void **state) {
    (void)state;
    struct gate gate = {0};
    struct thread for_group, for_context;
    wg_context *ctx;
    wg_waitgroup wg = WG_INIT;
    start();
    wg_errgroup *g = new_group((wg_errgroup_options){.name = "held", .limit = 1});
    assert_status(wg_context_new(&ctx, NULL, WG_FOREVER), WG_OK);
    run(g, pass_gate, &gate, "holder");
    thread_start(&for_group, wait_for_group, g);
    thread_start(&for_context, wait_for_context, ctx);
    let_sleep_on(wg_errgroup_tasks(g), 1);
    let_sleep_on(ctx, 1);
    assert_status(wg_errgroup_start(g, &(wg_task){.fn = succeed}, AFTER(SOON)), WG_TIMEOUT);
    wg_add(&wg, 1);
    assert_status(wg_wait(&wg, AFTER(SOON)), WG_TIMEOUT);
    gate_open(&gate);
    wg_context_cancel(ctx, NULL);
    thread_join(&for_group);
    thread_join(&for_context);
    stop();
    wg_errgroup_release(g);
    wg_context_release(ctx);
    told();
    assert_tells("\"name\":\"wait for the tasks of 'held'\"");
    assert_tells("\"for\":\"a slot of 'held'\",\"outcome\":\"timeout\"");
    assert_tells("\"for\":\"a wait group\",\"outcome\":\"timeout\"");
    assert_tells("\"for\":\"the end of a context\",\"outcome\":\"ok\"");
}

static void add_to(void *n) { atomic_fetch_add((atomic_int *)n, 1); }

static void tasks_of_wait_groups_are_told(void **state) {
    (void)state;
    atomic_int n = 0;
    wg_waitgroup wg = WG_INIT;
    start();
    assert_status(wg_go(&wg, NULL, add_to, &n, NULL), WG_OK);
    assert_status(wg_start(&wg, &(wg_task){.fn = fail_saying, .arg = "lost", .name = "loose"}), WG_OK);
    assert_status(wg_wait(&wg, NULL), WG_OK);
    stop();
    told();
    assert_tells("\"name\":\"loose\",\"dur\":");
    assert_tells("\"error\":\"lost\"");
    assert_tells("\"name\":\"task\",\"dur\":");
}

static void tasks_of_the_callers_making_have_tracks_of_their_own(void **state) {
    (void)state;
    wg_errgroup *g = new_group((wg_errgroup_options){.name = "loop"});
    wg_error *error = wg_errorf("torn");
    int64_t taken = wg_now();
    start();
    wg_trace_name_thread("looper");
    wg_trace_name(4711, "of another");
    wg_trace_task(g, "coroutine", taken, taken + 5000, WG_TASK_FAILED, error);
    wg_trace_part("coroutine", taken);
    wg_waiting *waiting;
    char *report;
    wg_waiting_for what = {
        .event = wg_outcome(g), .place = &(wg_place){.task = "coroutine"}, .context = wg_context_root()};
    assert_status(wg_waiting_begin(&waiting, &what, &report), WG_OK);
    assert_null(wg_waiting_end(waiting));
    stop();
    wg_trace_name_thread(NULL);
    wg_error_release(error);
    wg_errgroup_release(g);
    told();
    assert_tells("\"name\":\"looper\"");
    assert_tells("\"tid\":4711,\"name\":\"thread_name\",\"args\":{\"name\":\"of another\"}");
    assert_tells("\"ph\":\"b\",\"cat\":\"task\"");
    assert_tells("\"args\":{\"group\":\"loop\",\"queued\":5.000,\"outcome\":\"failed\",\"error\":\"torn\"}");
    assert_tells("\"cat\":\"part\"");
    assert_tells("\"ph\":\"b\",\"cat\":\"wait\"");
    assert_tells("\"args\":{\"task\":\"coroutine\",\"for\":\"the tasks of 'loop'\"}");
}

/* --- texts of any kind --- */

static void texts_of_any_bytes_make_a_whole_file(void **state) {
    (void)state;
    static const char *const names[] = {"\"quoted\" \\ back\n\t\x01\x7f",
                                        "caf\xc3\xa9 \xf0\x9f\x8c\x8d",
                                        "\xff\xfe\xc0\x80",
                                        "\xe2\x82",
                                        "\xed\xa0\x80",
                                        ""};
    char longest[5000];
    memset(longest, '\x02', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    start();
    wg_errgroup *g = new_group((wg_errgroup_options){.name = longest, .where = longest, .continue_on_error = true});
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        run(g, fail_saying, (void *)(uintptr_t)names[i], names[i]);
    run(g, fail_saying, longest, longest);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_FAILED);
    wg_errgroup_release(g);
    stop();
    told();
    assert_tells("\"\\\"quoted\\\" \\\\ back\\u000a\\u0009\\u0001\\u007f\"");
    assert_tells("caf\xc3\xa9 \xf0\x9f\x8c\x8d");
    assert_tells("\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
    assert_tells("\\u0002...\"");
}

/* --- begin and end --- */

static void tasks_and_waits_that_have_not_ended_are_told_as_unfinished(void **state) {
    (void)state;
    struct gate gate = {0};
    struct thread waiter;
    start();
    wg_errgroup *g = new_group((wg_errgroup_options){.name = "open"});
    run(g, pass_gate, &gate, "holder");
    EVENTUALLY(atomic_load(&gate.inside) == 1);
    thread_start(&waiter, wait_for_group, g);
    let_sleep_on(wg_errgroup_tasks(g), 1);
    stop();
    told();
    assert_tells("\"args\":{\"group\":\"open\",\"outcome\":\"unfinished\"}");
    assert_tells("\"for\":\"the tasks of 'open'\",\"outcome\":\"unfinished\"");
    assert_int_equal(count_of("\"ph\":\"b\",\"cat\":\"group\""), 1);
    gate_open(&gate);
    thread_join(&waiter);
    wg_errgroup_release(g);
    assert_int_equal(strlen(read_file(path)), strlen(text));
}

static void a_group_may_be_older_than_the_timeline_or_outlive_it(void **state) {
    (void)state;
    atomic_int n = 0;
    wg_errgroup *g = new_group((wg_errgroup_options){.name = "long", .limit = 1, .backlog = 3});
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10; i++)
            go(g, count, &n);
        start();
        for (int i = 0; i < 10; i++)
            go(g, count, &n);
        EVENTUALLY(atomic_load(&n) >= 20 * round + 11);
        stop();
        told();
        assert_in_range(count_of("\"ph\":\"s\""), 10, 10);
    }
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(atomic_load(&n), 60);
    wg_errgroup_release(g);
}

static void misuse_changes_nothing(void **state) {
    (void)state;
    assert_status(wg_trace_start(NULL), WG_INVALID);
    assert_status(wg_trace_stop(), WG_INVALID);
    assert_false(wg_trace_on());
    assert_status(wg_trace_start("/no/such/directory/t.json"), WG_NO_FILE);
    assert_status(wg_trace_start("/tmp"), WG_NO_FILE);
    assert_false(wg_trace_on());
    start();
    assert_true(wg_trace_on());
    assert_status(wg_trace_start(path), WG_TRACING);
    stop();
    assert_false(wg_trace_on());
    assert_true(is_json(read_file(path)));
}

static void fill(int tasks) {
    wg_errgroup *g;
    REQUIRE(wg_errgroup_new(&g, NULL) == WG_OK);
    for (int i = 0; i < tasks; i++)
        REQUIRE(wg_errgroup_start(g, &(wg_task){.fn = succeed, .name = "filler"}, NULL) == WG_OK);
    REQUIRE(wg_errgroup_wait(g, NULL, NULL) == WG_OK);
    wg_errgroup_release(g);
}

static void memory_is_bounded_and_nothing_is_lost(void **state) {
    (void)state;
    start();
    fill(2000);
    stop();
    told();
    assert_int_equal(count_of("\"cat\":\"task\""), 2000);
    assert_tells_not("missing");
}

/* --- processes --- */

/* It cannot follow the threads of a child whose parent had threads. */
#define SKIP_UNDER_THREAD_SANITIZER                                                                                    \
    if (THREAD_SANITIZER)                                                                                              \
    skip()

static void end_by_exit(void) {
    struct gate *gate = calloc(1, sizeof *gate);
    wg_errgroup *g;
    REQUIRE(wg_trace_start(path) == WG_OK);
    fill(3);
    REQUIRE(wg_errgroup_new(&g, NULL) == WG_OK);
    REQUIRE(wg_errgroup_start(g, &(wg_task){.fn = pass_gate, .arg = gate, .name = "still there"}, NULL) == WG_OK);
    EVENTUALLY(atomic_load(&gate->inside) == 1);
    exit(7);
}

static void the_file_is_complete_after_exit(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    assert_int_equal(exit_status_of_child(end_by_exit), 7);
    told();
    assert_int_equal(count_of("\"name\":\"filler\",\"dur\":"), 3);
    assert_tells("\"name\":\"still there\",\"dur\":");
    assert_tells("unfinished");
}

static void be_killed(void) {
    REQUIRE(wg_trace_start(path) == WG_OK);
    fill(2000);
    kill(getpid(), SIGKILL);
}

static void the_file_is_whole_after_a_kill(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    assert_int_equal(exit_status_of_child(be_killed), -1);
    told();
    assert_true(count_of("\"name\":\"filler\"") > 100);
}

static void fork_and_go_on(void) {
    wg_errgroup *g;
    REQUIRE(wg_trace_start(path) == WG_OK);
    fill(3);
    pid_t child = fork();
    REQUIRE(wg_trace_on() == (child != 0));
    fill(child ? 2 : 1000);
    if (child == 0) {
        REQUIRE(wg_trace_stop() == WG_INVALID);
        char own[80];
        snprintf(own, sizeof own, "%s.child", path);
        REQUIRE(wg_trace_start(own) == WG_OK);
        fill(4);
        REQUIRE(wg_trace_stop() == WG_OK);
        read_file(own);
        REQUIRE(is_json(text) && count_of("\"cat\":\"task\"") == 4);
        unlink(own);
        exit(0);
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
    REQUIRE(wg_errgroup_new(&g, NULL) == WG_OK);
    wg_errgroup_release(g);
    REQUIRE(wg_trace_stop() == WG_OK);
}

static void the_child_of_a_fork_writes_nothing_into_the_file(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    assert_true(in_child(fork_and_go_on));
    told();
    assert_int_equal(count_of("\"cat\":\"task\""), 5);
}

static void write_beside(void) {
    REQUIRE(wg_trace_start(path) == WG_OK);
    fill(6);
    REQUIRE(wg_trace_stop() == WG_OK);
    char beside[80];
    snprintf(beside, sizeof beside, "%s.%ld", path, (long)getpid());
    read_file(beside);
    unlink(beside);
    REQUIRE(is_json(text) && count_of("\"cat\":\"task\"") == 6);
}

static void two_processes_do_not_write_one_file(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    start();
    assert_true(in_child(write_beside));
    fill(3);
    stop();
    told();
    assert_int_equal(count_of("\"cat\":\"task\""), 3);
}

/* Wherever the space ends: the last lines are written one by one, so that any number of bytes is left. The signal that the
 * system sends for it does not end the program. */
static rlim_t space;

static void run_out_of_space(void) {
    struct rlimit limit = {space, space};
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    REQUIRE(wg_trace_start(path) == WG_OK);
    for (int i = 0; i < 40; i++) {
        fill(1);
        wg_trace_name(i, "a thread that is named writes all lines");
    }
    REQUIRE(wg_trace_stop() == WG_NOT_WRITTEN);
    REQUIRE(is_json(read_file(path)));
    REQUIRE(strstr(text, "events are missing: they could not be written"));
}

static void a_full_disk_is_told(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    for (space = 3000; space < 4000; space += 1000 / (rlim_t)effort(20))
        assert_true(in_child(run_out_of_space));
}

static void a_pipe_is_no_file(void **state) {
    (void)state;
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_status(wg_trace_start(path), WG_NO_FILE);
    unlink(path);
}

/* --- all at once --- */

static void *work_for_a_while(void *stopped) {
    while (!atomic_load((atomic_bool *)stopped)) {
        fill(20);
        nap();
    }
    return NULL;
}

static void timelines_begin_and_end_while_threads_work(void **state) {
    (void)state;
    atomic_bool stopped = false;
    struct thread threads[3];
    for (int i = 0; i < 3; i++)
        thread_start(&threads[i], work_for_a_while, &stopped);
    for (int i = 0; i < effort(20); i++) {
        start();
        fill(50);
        stop();
        told();
        assert_true(count_of("\"cat\":\"task\"") >= 50);
    }
    atomic_store(&stopped, true);
    for (int i = 0; i < 3; i++)
        thread_join(&threads[i]);
}

int main(void) {
    owner = getpid();
    snprintf(path, sizeof path, "/tmp/waitgroup-trace-%ld.json", (long)owner);
    atexit(remove_file);
    struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_are_told_with_their_groups_and_outcomes),
        cmocka_unit_test(errors_and_cancellations_are_told_with_their_texts),
        cmocka_unit_test(waits_that_sleep_are_told_with_what_they_are_for),
        cmocka_unit_test(tasks_of_wait_groups_are_told),
        cmocka_unit_test(tasks_of_the_callers_making_have_tracks_of_their_own),
        cmocka_unit_test(texts_of_any_bytes_make_a_whole_file),
        cmocka_unit_test(tasks_and_waits_that_have_not_ended_are_told_as_unfinished),
        cmocka_unit_test(a_group_may_be_older_than_the_timeline_or_outlive_it),
        cmocka_unit_test(misuse_changes_nothing),
        cmocka_unit_test(memory_is_bounded_and_nothing_is_lost),
        cmocka_unit_test(the_file_is_complete_after_exit),
        cmocka_unit_test(the_file_is_whole_after_a_kill),
        cmocka_unit_test(the_child_of_a_fork_writes_nothing_into_the_file),
        cmocka_unit_test(two_processes_do_not_write_one_file),
        cmocka_unit_test(a_full_disk_is_told),
        cmocka_unit_test(a_pipe_is_no_file),
        cmocka_unit_test(timelines_begin_and_end_while_threads_work),
    };
    return RUN("trace", tests);
}
