/* trace_scenarios.c - lines of a timeline, while it begins and ends, and at a fork. */
#include <stdio.h>
#include <string.h>

#include "sim.h"

#include "waitgroup.h"

#include "trace_file.h"

static const char first[] = "{}", line[] = ",\n{\"line\":1}";

static unsigned count(const char *what) {
    unsigned n = 0;
    for (const char *s = sim_file_text(); (s = strstr(s, what)); s += strlen(what))
        n++;
    return n;
}

static void check_whole(void) {
    const char *text = sim_file_text();
    size_t length = strlen(text);
    SIM_CHECK(strncmp(text, "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n{}", 45) == 0);
    SIM_CHECK(length > 4 && strcmp(text + length - 4, "\n]}\n") == 0);
    SIM_EQUAL(count("\n]}\n"), 1);
}

static void put_two(void *unused) {
    (void)unused;
    wg_trace_file_put(line, sizeof line - 1);
    wg_trace_file_put(line, sizeof line - 1);
}

/* What was put before the end is in the file, what comes later is nowhere. */
static void lines_against_the_end(void) {
    SIM_EQUAL(wg_trace_file_open("file", first, sizeof first - 1), WG_OK);
    wg_trace_file_put(line, sizeof line - 1);
    struct sim_thread *a = sim_go("a", put_two, NULL), *b = sim_go("b", put_two, NULL);
    wg_trace_file_flush();
    check_whole();
    SIM_EQUAL(wg_trace_file_finish(), 0);
    check_whole();
    wg_trace_file_close("", 0);
    check_whole();
    SIM_CHECK(count("line") >= 1 && count("line") <= 5);
    sim_join(a);
    sim_join(b);
}

/* At any step of the other thread. The child begins a timeline of its own. */
static void lines_against_a_fork(void) {
    SIM_EQUAL(wg_trace_start("file"), WG_OK);
    struct sim_thread *a = sim_go("a", put_two, NULL);
    if (sim_fork()) {
        SIM_CHECK(!wg_trace_on());
        wg_trace_file_put(line, sizeof line - 1);
        SIM_EQUAL(wg_trace_start("file of the child"), WG_OK);
        wg_trace_file_put(line, sizeof line - 1);
        SIM_EQUAL(wg_trace_stop(), WG_OK);
        SIM_EQUAL(count("line"), 1);
    } else {
        sim_join(a);
        SIM_EQUAL(wg_trace_stop(), WG_OK);
        SIM_EQUAL(count("line"), 2);
    }
}

static wg_error *succeed(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    return NULL;
}

/* A task is told exactly once, whether it ends before the file is completed, meanwhile, or later. */
static void tasks_against_the_end(void) {
    wg_errgroup *g;
    SIM_EQUAL(wg_errgroup_new(&g, NULL), WG_OK);
    SIM_EQUAL(wg_trace_start("file"), WG_OK);
    SIM_EQUAL(wg_errgroup_start(g, &(wg_task){.fn = succeed, .name = "one"}, NULL), WG_OK);
    bool waits = sim_pick(2) == 0;
    if (waits)
        SIM_EQUAL(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    SIM_EQUAL(wg_trace_stop(), WG_OK);
    if (waits)
        SIM_EQUAL(count("\"cat\":\"task\""), 1);
    SIM_CHECK(count("\"cat\":\"task\"") <= 1);
    SIM_EQUAL(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
    sim_join_library();
}

/* Of two threads that begin or end a timeline at once, one does. */
static wg_a32 begun, ended;

static void begin_and_end(void *unused) {
    (void)unused;
    if (wg_trace_start("file") == WG_OK)
        wg_add_relaxed32(&begun, 1);
    if (wg_trace_stop() == WG_OK)
        wg_add_relaxed32(&ended, 1);
}

static void beginnings_and_ends_against_each_other(void) {
    struct sim_thread *other = sim_go("other", begin_and_end, NULL);
    begin_and_end(NULL);
    sim_join(other);
    SIM_CHECK(begun >= 1 && begun >= ended);
    if (begun > ended)
        SIM_EQUAL(wg_trace_stop(), WG_OK);
    SIM_EQUAL(wg_trace_stop(), WG_INVALID);
}

const struct sim_scenario trace_scenarios[] = {
    {"lines_against_the_end", lines_against_the_end, .cores = 1, .exhaustive = 1, .spurious = false},
    {"lines_against_a_fork", lines_against_a_fork, .cores = 1, .exhaustive = 1, .spurious = false},
    {"tasks_against_the_end", tasks_against_the_end, .cores = 1, .exhaustive = 0, .spurious = false},
    {"beginnings_and_ends_against_each_other", beginnings_and_ends_against_each_other, .cores = 1, .exhaustive = 0,
     .spurious = false},
    {0},
};
