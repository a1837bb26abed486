/* main.c - runs scenarios under many schedules; each scenario is a cmocka test. */
#include "engine.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

#undef malloc
#undef free

static const char usage[] =
    "usage: sim [--seeds N] [--limit N] [--replay SCHEDULE] [--list] [SCENARIO...]\n"
    "\n"
    "Runs each SCENARIO (default: all) under N random schedules and N by priorities (default 500), and, where it is "
    "small\n"
    "enough, under every schedule with few preemptions in which busy loops take turns, at most --limit of them "
    "(default\n"
    "2000; 0: all there are).\n"
    "--replay runs one schedule as a failure named it: random:SEED, pct:SEED or path:STEP=CHOICE,...\n";

struct engine *engine;

static struct settings {
    unsigned seeds, limit;
    const char *replay;
} settings = {500, 2000, NULL};

extern char __data_start[], _end[];
static char *fresh; /* what the data was at the start */

static void main_thread(void *scenario) { ((const struct sim_scenario *)scenario)->run(); }

/* One run. False if it failed. */
static bool run(void) {
    memcpy(__data_start, fresh, (size_t)(_end - __data_start));
    schedule_begin();
    memory_begin();
    if (_setjmp(engine->driver) == 0) {
        struct sim_thread *t = thread_new("main", main_thread, (void *)(uintptr_t)engine->scenario);
        engine->current = t;
        t->started = true;
        setcontext(&t->entry);
    }
    if (!engine->failed && _setjmp(engine->driver) == 0)
        memory_end();
    return !engine->failed;
}

static void print_schedule(FILE *out) {
    if (engine->search != EXHAUSTIVE) {
        fprintf(out, "%s:%llu", engine->search == RANDOM ? "random" : "pct", (unsigned long long)engine->seed);
        return;
    }
    const char *comma = "";
    fprintf(out, "path:");
    for (unsigned i = 0; i < engine->depth; i++)
        if (engine->path[i].chosen > 0) {
            fprintf(out, "%s%u=%u", comma, i, engine->path[i].chosen);
            comma = ",";
        }
}

static void report(void) {
    printf("\n%s fails. To see it again: --replay ", engine->scenario->name);
    print_schedule(stdout);
    printf(" %s\n", engine->scenario->name);
    describe(stdout);
    fflush(stdout);
}

/* The next path of an exhaustive search; false if that was the last. */
static bool next_path(void) {
    while (engine->depth > 0) {
        struct decision *d = &engine->path[engine->depth - 1];
        if (d->chosen + 1 < d->of) {
            d->chosen++;
            engine->known = engine->depth;
            return true;
        }
        engine->depth--;
    }
    return false;
}

static bool run_seeds(enum search search, unsigned seeds) {
    engine->search = search;
    for (unsigned i = 1; i <= seeds; i++) {
        engine->seed = i;
        if (!run())
            return false;
    }
    return true;
}

/* *schedules: how many there were. *complete: they were all. */
static bool run_all(unsigned limit, unsigned *schedules, bool *complete) {
    engine->search = EXHAUSTIVE;
    engine->seed = engine->known = 0;
    *schedules = 0;
    do {
        if (!run())
            return false;
        ++*schedules;
        *complete = !next_path();
    } while (!*complete && (limit == 0 || *schedules < limit));
    return true;
}

static bool replay(const char *schedule) {
    engine->seed = engine->known = 0;
    if (strncmp(schedule, "random:", 7) == 0 || strncmp(schedule, "pct:", 4) == 0) {
        engine->search = schedule[0] == 'r' ? RANDOM : PCT;
        engine->seed = strtoull(strchr(schedule, ':') + 1, NULL, 10);
        return run();
    }
    engine->search = EXHAUSTIVE;
    memset(engine->path, 0, sizeof engine->path);
    for (const char *p = strchr(schedule, ':'); p && p[1]; p = strchr(p + 1, ',')) {
        unsigned step_number, choice;
        if (sscanf(p + 1, "%u=%u", &step_number, &choice) == 2 && step_number < MAX_DECISIONS) {
            engine->path[step_number].chosen = (uint16_t)choice;
            engine->known = step_number + 1;
        }
    }
    return run();
}

/* A crash is a failure of the run like others, with a schedule to repeat it. */
static void crash(int signal_number) { sim_fail("crash: signal %d", signal_number); }

static void catch_crashes(void) {
    static char stack[1 << 16];
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    struct sigaction action = {.sa_handler = crash, .sa_flags = SA_ONSTACK | SA_NODEFER};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i], &action, NULL);
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void test(void **state) {
    engine->scenario = *state;
    catch_crashes(); /* here, because cmocka has its own way with them */
    double start = seconds();
    bool good, complete = false;
    unsigned schedules = 0, seeds = settings.seeds;
    if (settings.replay) {
        good = replay(settings.replay);
    } else {
        good = run_seeds(RANDOM, seeds) && run_seeds(PCT, seeds);
        if (good && engine->scenario->exhaustive)
            good = run_all(settings.limit, &schedules, &complete);
    }
    if (!good) {
        report();
        fail_msg("%s: %s", engine->scenario->name, engine->failure);
    }
    if (settings.replay)
        return;
    printf("%-28s %u random, %u by priority", engine->scenario->name, seeds, seeds);
    if (schedules)
        printf(", %u with at most %u preemptions%s", schedules, engine->scenario->exhaustive, complete ? ": all" : "");
    printf(", in %.1f s\n", seconds() - start);
    fflush(stdout);
}

static const struct sim_scenario *const lists[] = {waitgroup_scenarios, context_scenarios,  pool_scenarios,
                                                   errgroup_scenarios,  deadlock_scenarios, fork_scenarios,
                                                   trace_scenarios};

static bool wanted(const char *name, char **names, int count) {
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return count == 0;
}

int main(int argc, char **argv) {
    struct CMUnitTest tests[200];
    size_t count = 0;
    int i = 1;
    bool list = false;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--list") == 0)
            list = true;
        else if (i + 1 < argc && strcmp(argv[i], "--seeds") == 0)
            settings.seeds = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--limit") == 0)
            settings.limit = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--replay") == 0)
            settings.replay = argv[++i];
        else {
            fputs(usage, stderr);
            return 2;
        }
    }
    for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++)
        for (const struct sim_scenario *s = lists[l]; s->name; s++) {
            if (!wanted(s->name, argv + i, argc - i))
                continue;
            if (list)
                puts(s->name);
            tests[count++] = (struct CMUnitTest){s->name, test, NULL, NULL, (void *)(uintptr_t)s};
        }
    if (list)
        return 0;
    if (count < (size_t)(argc - i) || count == 0) {
        fputs("no such scenario; --list names them\n", stderr);
        return 2;
    }
    engine = mmap(NULL, sizeof *engine, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (engine == MAP_FAILED)
        return 2;
    memory_init();
    size_t size = (size_t)(_end - __data_start);
    fresh = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh == MAP_FAILED)
        return 2;
    memcpy(fresh, __data_start, size);
    return _cmocka_run_group_tests("sim", tests, count, NULL, NULL);
}
