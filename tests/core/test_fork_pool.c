/* A fork on a thread of a pool, wherever that thread is: in a hook of its host, in a task, in what a task leads to. In the
 * child that thread is the only worker, tasks are run, and the pool's numbers are right: they go back to zero. */
#include "tasks.h"

#include <sys/wait.h>
#include <unistd.h>

#define SKIP_UNDER_THREAD_SANITIZER                                                                                    \
    if (THREAD_SANITIZER)                                                                                              \
    skip()

enum place {
    BEFORE_THE_START,
    AFTER_THE_START,
    FAILED_START,
    BEFORE_SLEEP,
    AFTER_SLEEP,
    TASK,
    DESTROY,
    OBSERVER,
    WAIT
};

static struct {
    enum place place;
    atomic_int skip; /* how often that place is passed before the fork */
    atomic_bool done;
    wg_pool *pool;
    pid_t parent, child;
} fork_at;

static void nothing(void *unused) { (void)unused; }

static void wait_for_tasks_of_its_own(wg_pool *pool) {
    for (int i = 0; i < 20; i++) {
        wg_waitgroup wg = WG_INIT;
        for (int j = 0; j < 5; j++)
            REQUIRE(wg_go(&wg, pool, nothing, NULL, NULL) == WG_OK);
        REQUIRE(wg_wait(&wg, AFTER(HANG)) == WG_OK);
        REQUIRE(wg_pool_workers(pool) <= 20);
    }
}

/* The main program of the child, beside the worker that forked, which goes on. */
static void *be_the_child(void *pool) {
    wait_for_tasks_of_its_own(pool);
    EVENTUALLY(wg_pool_workers(pool) == 0);
    wait_for_tasks_of_its_own(pool);
    EVENTUALLY(wg_pool_workers(pool) == 0 && wg_pool_queued(pool) == 0);
    wg_pool_stop(pool);
    wg_waitgroup wg = WG_INIT;
    REQUIRE(wg_go(&wg, pool, nothing, NULL, NULL) == WG_STOPPED);
    end_child(42);
}

static void pass(enum place place) {
    if (place != fork_at.place || atomic_fetch_sub(&fork_at.skip, 1) > 0 || atomic_exchange(&fork_at.done, true))
        return;
    fflush(NULL);
    fork_at.child = fork();
    REQUIRE(fork_at.child >= 0);
    if (fork_at.child > 0)
        return;
    pthread_t t;
    alarm(WATCHDOG_SECONDS / 2);
    REQUIRE(pthread_create(&t, NULL, be_the_child, fork_at.pool) == 0);
}

static void *work(void *pool) {
    wg_pool_work(pool);
    return NULL;
}

static bool start(void *unused, wg_pool *pool) {
    pthread_t t;
    (void)unused;
    pass(BEFORE_THE_START);
    if (fork_at.place == FAILED_START && !atomic_load(&fork_at.done)) {
        pass(FAILED_START);
        return false;
    }
    if (pthread_create(&t, NULL, work, pool) != 0)
        return false;
    pthread_detach(t);
    pass(AFTER_THE_START);
    return true;
}

static void before_sleep(void *unused) {
    (void)unused;
    pass(BEFORE_SLEEP);
}

static void after_sleep(void *unused) {
    (void)unused;
    pass(AFTER_SLEEP);
}

static void observe(void *unused) {
    (void)unused;
    pass(OBSERVER);
}

static void fork_in_the_wait(void *unused) {
    (void)unused;
    pass(WAIT);
}

/* A context that ends while this thread waits for it, maybe by this thread. */
static void wait_for_a_deadline(void) {
    wg_context *ctx;
    wg_observer observer;
    wg_waitgroup wg = WG_INIT;
    REQUIRE(wg_context_new(&ctx, wg_context_root(), wg_after(WG_MILLISECOND)) == WG_OK);
    REQUIRE(wg_event_observe(wg_ended(ctx), &observer, fork_in_the_wait, NULL) == WG_OK);
    REQUIRE(wg_add(&wg, 1) == WG_OK);
    REQUIRE(wg_wait(&wg, WITH(ctx)) != WG_OK);
    wg_event_unobserve_sync(wg_ended(ctx), &observer);
    wg_context_release(ctx);
}

static void task(void *unused) {
    wg_waitgroup wg = WG_INIT;
    wg_observer observer;
    (void)unused;
    pass(TASK);
    if (fork_at.place == OBSERVER) {
        REQUIRE(wg_add(&wg, 1) == WG_OK);
        REQUIRE(wg_event_observe(wg_zero(&wg), &observer, observe, NULL) == WG_OK);
        REQUIRE(wg_done(&wg) == WG_OK);
    } else if (fork_at.place == WAIT) {
        wait_for_a_deadline();
    }
}

static void destroy(void *unused) {
    (void)unused;
    pass(DESTROY);
}

static void submit_and_wait(void) {
    wg_waitgroup wg = WG_INIT;
    wg_status went[3], waited;
    for (int i = 0; i < 3; i++)
        went[i] = wg_go(&wg, fork_at.pool, task, NULL, destroy);
    waited = wg_wait(&wg, NULL);
    while (getpid() != fork_at.parent) /* it was this thread that forked: the child's other thread has all to do */
        pause();
    for (int i = 0; i < 3; i++)
        assert_true(went[i] == WG_OK || went[i] == WG_NO_THREADS);
    assert_status(waited, WG_OK);
}

static void forks(enum place place, int skip, unsigned cores) {
    int status;
    fork_at.parent = getpid();
    fork_at.place = place;
    atomic_store(&fork_at.skip, skip);
    atomic_store(&fork_at.done, false);
    assert_status(wg_pool_new(&fork_at.pool, &(wg_pool_host){.start = start,
                                                             .before_sleep = before_sleep,
                                                             .after_sleep = after_sleep,
                                                             .cores = cores,
                                                             .idle_time = WG_MILLISECOND}),
                  WG_OK);
    while (!atomic_load(&fork_at.done))
        submit_and_wait();
    EVENTUALLY(wg_pool_workers(fork_at.pool) == 0);
    assert_int_equal(waitpid(fork_at.child, &status, 0), fork_at.child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    wg_pool_release(fork_at.pool);
}

/* Some places come to different moments of the pool's, as often as they are passed. */
static void forks_everywhere(enum place place) {
    for (unsigned cores = 1; cores <= 2; cores++)
        for (int skip = 0; skip < 3; skip++)
            forks(place, skip, cores);
}

#define TEST(name, place)                                                                                              \
    static void name(void **state) {                                                                                   \
        (void)state;                                                                                                   \
        SKIP_UNDER_THREAD_SANITIZER;                                                                                   \
        forks_everywhere(place);                                                                                       \
    }
TEST(a_host_forks_before_it_starts_a_thread, BEFORE_THE_START)
TEST(a_host_forks_after_it_started_a_thread, AFTER_THE_START)
TEST(a_host_forks_and_starts_no_thread, FAILED_START)
TEST(a_host_forks_before_a_worker_sleeps, BEFORE_SLEEP)
TEST(a_host_forks_after_a_worker_slept, AFTER_SLEEP)
TEST(a_task_forks, TASK)
TEST(a_destroy_forks, DESTROY)
TEST(an_observer_forks_in_a_task, OBSERVER)
TEST(a_wait_forks_in_a_task, WAIT)

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_forks_before_it_starts_a_thread),
        cmocka_unit_test(a_host_forks_after_it_started_a_thread),
        cmocka_unit_test(a_host_forks_and_starts_no_thread),
        cmocka_unit_test(a_host_forks_before_a_worker_sleeps),
        cmocka_unit_test(a_host_forks_after_a_worker_slept),
        cmocka_unit_test(a_task_forks),
        cmocka_unit_test(a_destroy_forks),
        cmocka_unit_test(an_observer_forks_in_a_task),
        cmocka_unit_test(a_wait_forks_in_a_task),
    };
    return RUN("fork_pool", tests);
}
