/* Whose clocks the pool reads in the ticks of its monitor: its cost must not grow with the tasks that wait. */
#include "tasks.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WAITING = 200, COMPUTING = 60, TICKS = 20 };

static atomic_int ticks, waiting, reads_of_waiting;
static atomic_int clocks[WAITING]; /* those of the tasks that wait */

static bool is_of_a_task_that_waits(clockid_t clock) {
    for (int i = 0; i < WAITING; i++)
        if (atomic_load(&clocks[i]) == clock)
            return clock != 0;
    return false;
}

#if defined(SYS_clock_gettime64) && defined(_TIME_BITS) && _TIME_BITS == 64
#define READ_CLOCK SYS_clock_gettime64
#else
#define READ_CLOCK SYS_clock_gettime
#endif

/* In the place of the C library's, for all of this program. Of looks at the CPU time of the process there is one a tick. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    if (clock == CLOCK_PROCESS_CPUTIME_ID)
        atomic_fetch_add(&ticks, 1);
    else if (is_of_a_task_that_waits(clock))
        atomic_fetch_add(&reads_of_waiting, 1);
    return (int)syscall(READ_CLOCK, clock, now);
}

static wg_waitgroup arrived, leave;

static wg_error *arrive_and_wait(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    clockid_t clock;
    REQUIRE(pthread_getcpuclockid(pthread_self(), &clock) == 0);
    atomic_store(&clocks[atomic_fetch_add(&waiting, 1)], clock);
    REQUIRE(wg_done(&arrived) == WG_OK);
    REQUIRE(wg_wait(&leave, NULL) == WG_OK);
    return NULL;
}

static atomic_bool stop;

static void a_tick_reads_no_clock_of_a_task_that_waits(void **state) {
    (void)state;
    wg_pool *pool;
    assert_status(wg_pool_new(&pool, &(wg_pool_host){.cores = 1}), WG_OK);
    wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool});
    assert_status(wg_add(&arrived, WAITING), WG_OK);
    assert_status(wg_add(&leave, 1), WG_OK);
    for (int i = 0; i < WAITING; i++)
        go(g, arrive_and_wait, NULL);
    assert_status(wg_wait(&arrived, NULL), WG_OK);
    for (int i = 0; i < COMPUTING; i++) /* more than one core: the monitor ticks while some are queued */
        go(g, compute_until, &stop);
    int first = atomic_load(&ticks), before = atomic_load(&reads_of_waiting);
    EVENTUALLY(atomic_load(&ticks) >= first + TICKS || wg_pool_queued(pool) == 0);
    int read = atomic_load(&reads_of_waiting) - before;
    print_message("%d reads in %d ticks\n", read, atomic_load(&ticks) - first);
    atomic_store(&stop, true);
    assert_status(wg_done(&leave), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_in_range(read, 0, WAITING * 3 / 2); /* each once after it computed; bursts take six ticks or more */
    wg_errgroup_release(g);
    wg_pool_stop(pool);
    wg_pool_release(pool);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tick_reads_no_clock_of_a_task_that_waits),
    };
    return RUN("pool_clocks", tests);
}
