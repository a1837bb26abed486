/* sim.h - the deterministic scheduler, as a scenario sees it.
 *
 * A scenario is a function that uses the core as any program would, from simulated threads. The scheduler runs it over
 * and over, each time with another interleaving of the steps of its threads; a step is an atomic operation, a sleep or a
 * wake. Only one simulated thread runs at a time, so a schedule can be repeated from its name: `random:17`, `pct:3`, or
 * `path:...` of an exhaustive search.
 *
 * Of its own accord the scheduler fails a run in which
 *   - all threads sleep without a deadline, or there is no end after very many steps;
 *   - memory is touched that was freed, never allocated, or belongs to a stack frame that has returned;
 *   - two threads touch the same plain memory, one writing, and the memory orders of the atomic operations between do
 *     not put one before the other. Every plain access of the core and the scenarios is watched: they are compiled with
 *     -fsanitize=thread, whose calls end up in memory.c instead of that sanitizer's library;
 *   - memory is left allocated when all threads have ended;
 *   - the child of a fork touches what it cannot have: see sim_fork.
 *
 * Interleavings are of whole steps: a weak memory order shows up as a missing edge in the last-but-one check, not as an
 * old value read. */
#ifndef SIM_H
#define SIM_H

#include "atomics.h"

struct sim_thread;

/* Start a thread; wait until it has ended. What it did is then visible to the caller. */
struct sim_thread *sim_go(const char *name, void (*fn)(void *arg), void *arg);
void sim_join(struct sim_thread *thread);

/* Does it sleep on a word? */
bool sim_asleep(const struct sim_thread *thread);

/* A step that does nothing. */
void sim_yield(void);

/* One of 0..n-1, chosen as the schedule is. */
unsigned sim_pick(unsigned n);

/* Fork. What comes after happens in the parent or, if it returns true, in the child, as the schedule chooses. In the child
 * there is only the thread that called this; the others are wherever they were. To touch their stacks then fails the run,
 * and so does reading plain memory that they may have been writing. What they had allocated is no leak. */
bool sim_fork(void);

/* From now on the library's threads start or do not, as the schedule chooses, or never start. */
enum sim_starts { SIM_ALWAYS, SIM_PERHAPS, SIM_NEVER };
void sim_threads_start(enum sim_starts starts);

/* Wait until all threads that the library started have ended. */
void sim_join_library(void);

/* The number of this thread, below 64. */
unsigned sim_self_id(void);

/* End this thread from within whatever it is in, as pthread_exit does. */
_Noreturn void sim_exit_thread(void);

/* Sleeping that the library does not know of. */
void sim_sleep_on(wg_a32 *word, uint32_t expected);
void sim_wake_all(const wg_a32 *word);

/* Was there a moment in this run at which nothing could happen until some sleeper's time was up? */
bool sim_needed_time(void);

/* What is in the simulated file, of which there is one. */
const char *sim_file_text(void);

/* Is this simulated descriptor readable? */
bool sim_readable(int fd);

/* Fail the run. */
_Noreturn void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define SIM_CHECK(condition)                                                                                           \
    ((condition) ? (void)0 : sim_fail("%s:%d: %s: not true: %s", __FILE__, __LINE__, __func__, #condition))
#define SIM_EQUAL(left, right) sim_equal((long long)(left), (long long)(right), __FILE__, __LINE__, #left " == " #right)
void sim_equal(long long left, long long right, const char *file, int line, const char *text);

struct sim_scenario {
    const char *name;
    void (*run)(void);
    unsigned cores;      /* what wg_cores() says; with 1 the core does not spin */
    unsigned exhaustive; /* how many preemptions the exhaustive search tries; 0: no such search */
    bool spurious;       /* the exhaustive search tries wakes without reason too; the random ones always do */
};

/* The lists of the scenario files end with a zeroed one. */
extern const struct sim_scenario waitgroup_scenarios[], context_scenarios[], pool_scenarios[], errgroup_scenarios[],
    deadlock_scenarios[], fork_scenarios[], trace_scenarios[];

#endif
