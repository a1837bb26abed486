/* engine.h - what the files of the scheduler share.
 *
 * Before each run the data of the whole program is put back to what it was at the start of main, so that the core's
 * static state and the scenarios' is fresh. What must survive a run is in `struct engine`, outside of that data. */
#ifndef SIM_ENGINE_H
#define SIM_ENGINE_H

#include <setjmp.h>
#include <stdio.h>
#include <ucontext.h>

#include "sim.h"

#include "os.h"
#include "park.h"

#define MAX_THREADS 32
#define STACK_SIZE ((size_t)1 << 16)
#define MAX_STEPS 200000u
#define LIBRARY "library" /* the name of the threads that the library starts */

typedef uint32_t sim_clock[MAX_THREADS]; /* how much each thread had done, as far as the owner knows */

struct sim_thread {
    unsigned id;
    char name[24];
    enum { RUNNABLE, PARKED, JOINING, ENDED, GONE } state; /* GONE: it is in the parent process */
    bool started;
    ucontext_t entry;
    jmp_buf at;
    char *stack, *sp; /* the lowest address of its stack; where it stands while it does not run */
    sim_clock clock;
    const void *word; /* while PARKED */
    int64_t deadline; /* while PARKED; INT64_MAX: none */
    wg_parked parked;
    bool interruptible;
    bool impatient;                             /* in a PCT run: its timeout comes as if it were runnable */
    bool nervous;                               /* in a PCT run: it wakes without reason */
    enum { NOT, LETS_RUN, RUNS_THROUGH } spins; /* how it goes through a busy loop */
    struct sim_thread *joins;
    struct unfinished *unfinished; /* the innermost wg_finish; see os.c */
    uint64_t priority;             /* in a PCT run */
    void (*fn)(void *arg);
    void *arg;
    struct wg_thread self;
};

enum search { RANDOM, PCT, EXHAUSTIVE };

struct decision {
    uint16_t chosen, of;
};
#define MAX_DECISIONS 100000u

struct trace {
    unsigned thread;
    const char *what;
    const void *address;
    void *where;
    uint64_t value;
};
#define TRACE 60
#define SHARED 3

struct sim_file {
    bool open;
    size_t length;
    char text[20000];
};

struct engine {
    const struct sim_scenario *scenario;
    enum search search;
    uint64_t seed, random;
    jmp_buf driver;
    char failure[1024];
    bool failed;
    uint64_t steps;
    /* Of a random run: one chance in so many. */
    unsigned switches, timeouts, wakes;
    /* Of a PCT run. */
    uint64_t changes[4], lowest;
    /* Of an exhaustive search. */
    struct decision path[MAX_DECISIONS];
    unsigned depth, known;
    unsigned preemptions;

    struct sim_thread threads[MAX_THREADS];
    unsigned thread_count;
    struct sim_thread *current;
    int64_t now, cpu_rate; /* of each two nanoseconds, how many times that one core works */
    enum sim_starts starts;
    bool needed_time;
    struct sim_file file;
    unsigned signals[64], signal_count; /* 0 closed, 1 open, 2 readable, SHARED with the parent process */
    bool forking, is_child;             /* while the handlers run; after a fork, this is the child */
    struct trace trace[TRACE];          /* the last steps */
    unsigned traced;
};
extern struct engine *engine;

/* schedule.c */
void schedule_begin(void);
struct sim_thread *thread_new(const char *name, void (*fn)(void *arg), void *arg);
/* One step of the running thread; another thread may run first. `pause`: others are to run, if there are any. */
void step(const char *what, const void *address, void *where, bool pause);
/* The running thread ends. */
_Noreturn void thread_end(void);
/* The running thread has left RUNNABLE; returns when it is back. */
void block(void);
/* A PARKED thread returns from its sleep with `parked`, when its turn comes. */
void wake(struct sim_thread *t, wg_parked parked);
unsigned choose(unsigned n, bool costs);
uint64_t random_below(uint64_t n);
void trace_value(uint64_t value);

/* describe.c: the failure, who is where, and the last steps. */
void describe(FILE *out);

/* memory.c */
enum access { READ = 0, WRITE = 1, ATOMIC = 2 };
void memory_init(void);
void memory_begin(void);
void memory_end(void);
char *stack_of(unsigned thread);
void touch(const void *p, size_t size, enum access access, void *where);
void clock_join(uint32_t *into, const uint32_t *from);

#endif
