/* A host starts the threads of its pool, hears when they sleep, and can lose them; idle ones leave; a stop ends it. */
#include "tasks.h"

#include <time.h>

/* A host that counts what is asked of it. */
struct host {
    atomic_int started, ended, failing; /* how many starts are to fail: -1 for all */
    atomic_int before, after, awake;
};

static void *work(void *raw) {
    void **args = raw;
    struct host *host = args[0];
    wg_pool *pool = args[1];
    free(args);
    wg_pool_work(pool);
    atomic_fetch_add(&host->ended, 1);
    return NULL;
}

static bool start(void *data, wg_pool *pool) {
    struct host *host = data;
    int failing = atomic_load(&host->failing);
    if (failing != 0) {
        if (failing > 0)
            atomic_fetch_sub(&host->failing, 1);
        return false;
    }
    void **args = malloc(2 * sizeof *args);
    REQUIRE(args);
    args[0] = host;
    args[1] = pool;
    atomic_fetch_add(&host->started, 1);
    pthread_t t;
    REQUIRE(pthread_create(&t, NULL, work, args) == 0);
    pthread_detach(t);
    return true;
}

static void before(void *data) { atomic_fetch_add(&((struct host *)data)->before, 1); }
static void after(void *data) { atomic_fetch_add(&((struct host *)data)->after, 1); }

static wg_pool *new_pool(struct host *host, int64_t idle_time) {
    wg_pool *pool;
    *host = (struct host){0};
    assert_status(wg_pool_new(&pool, &(wg_pool_host){.start = start,
                                                     .before_sleep = before,
                                                     .after_sleep = after,
                                                     .data = host,
                                                     .cores = 2,
                                                     .idle_time = idle_time}),
                  WG_OK);
    return pool;
}

static void its_threads_run_the_tasks_and_leave_when_idle(void **state) {
    (void)state;
    struct host host;
    wg_pool *pool = new_pool(&host, WG_MILLISECOND);
    for (int i = 0; i < effort(20); i++) {
        atomic_int ran = 0;
        wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool});
        for (int j = 0; j < 10; j++)
            go(g, count, &ran);
        assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
        assert_int_equal(atomic_load(&ran), 10);
        wg_errgroup_release(g);
        EVENTUALLY(wg_pool_workers(pool) == 0);
        assert_int_equal(wg_pool_queued(pool), 0);
    }
    EVENTUALLY(atomic_load(&host.ended) == atomic_load(&host.started));
    assert_in_range(atomic_load(&host.started), effort(20), 10 * effort(20));
    assert_int_equal(atomic_load(&host.before), atomic_load(&host.after)); /* each sleep has its waking */
    wg_pool_release(pool);
}

static void idle_threads_are_used_again(void **state) {
    (void)state;
    struct host host;
    wg_pool *pool = new_pool(&host, HANG);
    for (int i = 0; i < 200; i++) {
        atomic_int ran = 0;
        wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool});
        go(g, count, &ran);
        assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
        wg_errgroup_release(g);
        nap();
    }
    assert_in_range(atomic_load(&host.started), 1, 20);
    assert_true(atomic_load(&host.before) >= atomic_load(&host.after));
    wg_pool_stop(pool);
    EVENTUALLY(atomic_load(&host.ended) == atomic_load(&host.started));
    wg_pool_release(pool);
}

/* The native threads of the pool of the process vanish too, after five seconds. */
static void nothing(void *unused) { (void)unused; }

static void threads_of_the_process_are_gone_after_the_idle_time(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    wg_context *ctx;
    int before = threads_now(); /* one, except where an emulator has threads too */
    for (int i = 0; i < 50; i++)
        assert_status(wg_go(&wg, NULL, nothing, NULL, NULL), WG_OK);
    assert_status(wg_context_new(&ctx, NULL, wg_after(1)), WG_OK); /* the thread of the deadlines too */
    wg_context_release(ctx);
    assert_status(wg_wait(&wg, NULL), WG_OK);
    EVENTUALLY(wg_pool_workers(NULL) == 0);
    EVENTUALLY(threads_now() <= before);
}

static void no_task_is_lost_between_submit_and_idle_expiry(void **state) {
    (void)state;
    struct host host;
    wg_pool *pool = new_pool(&host, 30000);
    unsigned seed = (unsigned)wg_now();
    print_message("seed %u\n", seed);
    for (int i = 0; i < effort(1000); i++) {
        wg_waitgroup wg = WG_INIT;
        assert_status(wg_go(&wg, pool, nothing, NULL, NULL), WG_OK);
        if (rand_r(&seed) % 2)
            assert_status(wg_go(&wg, pool, nothing, NULL, NULL), WG_OK);
        assert_status(wg_wait(&wg, NULL), WG_OK);
        int64_t until = wg_now() + rand_r(&seed) % 60000; /* about when the worker leaves */
        while (wg_now() < until) {}
    }
    wg_pool_stop(pool);
    EVENTUALLY(atomic_load(&host.ended) == atomic_load(&host.started));
    wg_pool_release(pool);
}

/* Threads that cannot be had. */
static void without_any_thread_go_says_so_and_nothing_changes(void **state) {
    (void)state;
    struct host host;
    wg_pool *pool = new_pool(&host, HANG);
    wg_waitgroup wg = WG_INIT;
    atomic_int ran = 0;
    wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool});
    atomic_store(&host.failing, -1);
    for (int i = 0; i < 3; i++) {
        assert_status(wg_errgroup_go(g, count, &ran, nothing, NULL), WG_NO_THREADS);
        assert_status(wg_errgroup_try_go(g, count, &ran, nothing), WG_NO_THREADS);
        assert_status(wg_go(&wg, pool, nothing, NULL, NULL), WG_NO_THREADS);
    }
    assert_int_equal(wg_count(&wg), 0);
    assert_int_equal(wg_count(wg_errgroup_tasks(g)), 0);
    assert_int_equal(wg_pool_queued(pool), 0);
    assert_int_equal(wg_pool_workers(pool), 0);
    atomic_store(&host.failing, 0); /* and it works as soon as there are threads */
    go(g, count, &ran);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(atomic_load(&ran), 1);
    wg_errgroup_release(g);
    wg_pool_stop(pool);
    wg_pool_release(pool);
    EVENTUALLY(atomic_load(&host.ended) == atomic_load(&host.started));
}

static void work_goes_on_with_the_threads_there_are(void **state) {
    (void)state;
    struct host host;
    wg_pool *pool = new_pool(&host, HANG);
    struct gate gate = {0};
    atomic_int ran = 0;
    wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool});
    go(g, pass_gate, &gate);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
    atomic_store(&host.failing, -1);
    for (int i = 0; i < 100; i++)
        go(g, count, &ran);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(atomic_load(&ran), 100);
    assert_int_equal(atomic_load(&host.started), 1);
    wg_errgroup_release(g);
    wg_pool_stop(pool);
    EVENTUALLY(atomic_load(&host.ended) == 1);
    wg_pool_release(pool);
}

/* Two threads submit to a pool without workers, while none can be started: each is told. Neither is left with a task
 * that was accepted because the other's thread was being started. */
static struct {
    wg_pool *pool;
    atomic_int accepted, refused;
} contest;

static void *submit_and_wait(void *unused) {
    (void)unused;
    for (int i = 0; i < 300; i++) {
        wg_waitgroup wg = WG_INIT;
        wg_status status = wg_go(&wg, contest.pool, nothing, NULL, NULL);
        REQUIRE(status == WG_OK || status == WG_NO_THREADS);
        atomic_fetch_add(status == WG_OK ? &contest.accepted : &contest.refused, 1);
        REQUIRE(wg_wait(&wg, NULL) == WG_OK);
    }
    return NULL;
}

static bool start_never(void *unused, wg_pool *pool) {
    (void)unused;
    (void)pool;
    for (volatile int i = 0; i < 2000; i++) {}
    return false;
}

static void of_two_that_submit_at_once_none_is_left_without_an_answer(void **state) {
    (void)state;
    struct thread t[3];
    assert_status(wg_pool_new(&contest.pool, &(wg_pool_host){.start = start_never, .cores = 2}), WG_OK);
    for (int i = 0; i < 3; i++)
        thread_start(&t[i], submit_and_wait, NULL);
    for (int i = 0; i < 3; i++)
        thread_join(&t[i]);
    assert_int_equal(atomic_load(&contest.accepted), 0);
    assert_int_equal(atomic_load(&contest.refused), 900);
    wg_pool_release(contest.pool);
}

/* A task that waits for another holds the only thread, and no second one can be had for a while. */
static wg_error *wait_for_another(void *raw, wg_context *ctx) {
    struct host *host = raw;
    (void)ctx;
    wg_waitgroup wg = WG_INIT;
    atomic_store(&host->failing, 3);
    REQUIRE(wg_go(&wg, contest.pool, nothing, NULL, NULL) == WG_OK);
    REQUIRE(wg_wait(&wg, NULL) == WG_OK);
    return NULL;
}

static void a_wait_whose_task_has_no_thread_gets_one_when_there_is_one_again(void **state) {
    (void)state;
    struct host host;
    contest.pool = new_pool(&host, HANG);
    wg_errgroup *g = new_group((wg_errgroup_options){.pool = contest.pool});
    go(g, wait_for_another, &host);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    wg_errgroup_release(g);
    wg_pool_stop(contest.pool);
    EVENTUALLY(atomic_load(&host.ended) == atomic_load(&host.started));
    wg_pool_release(contest.pool);
}

/* A thread that the host has started dies before it can work. */
static atomic_int to_die;

static void *die(void *pool) {
    wg_pool_work_failed(pool);
    return NULL;
}

static bool start_and_die(void *data, wg_pool *pool) {
    if (atomic_fetch_sub(&to_die, 1) <= 0)
        return start(data, pool);
    pthread_t t;
    REQUIRE(pthread_create(&t, NULL, die, pool) == 0);
    pthread_detach(t);
    return true;
}

static void a_thread_that_dies_before_it_works_is_replaced_at_the_next_call(void **state) {
    (void)state;
    for (int i = 0; i < effort(20); i++) {
        struct host host = {0};
        wg_pool *pool;
        atomic_int ran = 0;
        atomic_store(&to_die, 1);
        assert_status(wg_pool_new(&pool, &(wg_pool_host){.start = start_and_die, .data = &host, .cores = 2}), WG_OK);
        wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool});
        go(g, count, &ran);
        EVENTUALLY(wg_pool_workers(pool) == 0 || atomic_load(&ran) == 1);
        go(g, count, &ran);
        assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
        assert_int_equal(atomic_load(&ran), 2);
        wg_errgroup_release(g);
        wg_pool_stop(pool);
        EVENTUALLY(atomic_load(&host.ended) == atomic_load(&host.started));
        wg_pool_release(pool);
    }
}

/* The stop. */
static atomic_int destroyed;
static void destroy(void *unused) {
    (void)unused;
    atomic_fetch_add(&destroyed, 1);
}

static void a_stop_drops_what_has_not_started_and_lets_the_rest_end(void **state) {
    (void)state;
    struct host host;
    wg_pool *pool = new_pool(&host, HANG);
    struct gate gate = {0};
    atomic_int ran = 0;
    wg_waitgroup wg = WG_INIT;
    wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool});
    atomic_store(&destroyed, 0);
    go(g, pass_gate, &gate);
    EVENTUALLY(atomic_load(&gate.inside) == 1);
    atomic_store(&host.failing, -1); /* so that the others stay in the queue */
    for (int i = 0; i < 10; i++)
        assert_status(wg_errgroup_go(g, count, &ran, destroy, NULL), WG_OK);
    for (int i = 0; i < 10; i++)
        assert_status(wg_go(&wg, pool, nothing, NULL, destroy), WG_OK);
    wg_pool_stop(pool);
    assert_int_equal(atomic_load(&destroyed), 20); /* in the call */
    assert_status(wg_wait(&wg, POLL), WG_OK);
    assert_int_equal(wg_count(wg_errgroup_tasks(g)), 1);
    assert_status(wg_errgroup_go(g, count, &ran, destroy, NULL), WG_STOPPED);
    assert_status(wg_errgroup_try_go(g, count, &ran, destroy), WG_STOPPED);
    assert_status(wg_go(&wg, pool, nothing, NULL, destroy), WG_STOPPED);
    assert_int_equal(atomic_load(&destroyed), 20);
    assert_int_equal(wg_count(&wg), 0);
    gate_open(&gate);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(atomic_load(&ran), 0);
    EVENTUALLY(atomic_load(&host.ended) == 1);
    wg_pool_stop(pool); /* again: nothing */
    wg_errgroup_release(g);
    wg_pool_release(pool);
}

static void a_stop_sends_idle_workers_home(void **state) {
    (void)state;
    for (int i = 0; i < effort(30); i++) {
        struct host host;
        wg_pool *pool = new_pool(&host, HANG);
        wg_waitgroup wg = WG_INIT;
        for (int j = 0; j < 3; j++)
            assert_status(wg_go(&wg, pool, nothing, NULL, NULL), WG_OK);
        if (i % 2)
            assert_status(wg_wait(&wg, NULL), WG_OK);
        wg_pool_stop(pool);
        assert_status(wg_wait(&wg, NULL), WG_OK);
        EVENTUALLY(atomic_load(&host.ended) == atomic_load(&host.started));
        assert_int_equal(wg_pool_workers(pool), 0);
        wg_pool_release(pool);
    }
}

static void *stop_it(void *pool) {
    wg_pool_stop(pool);
    return NULL;
}

static void a_stop_against_submits_loses_no_task(void **state) {
    (void)state;
    for (int i = 0; i < effort(200); i++) {
        struct host host;
        struct thread t;
        wg_pool *pool = new_pool(&host, HANG);
        wg_waitgroup wg = WG_INIT;
        int accepted = 0;
        atomic_store(&destroyed, 0);
        thread_start(&t, stop_it, pool);
        for (int j = 0; j < 50; j++) {
            wg_status status = wg_go(&wg, pool, nothing, NULL, destroy);
            assert_true(status == WG_OK || status == WG_STOPPED);
            accepted += status == WG_OK;
        }
        assert_status(wg_wait(&wg, NULL), WG_OK);
        assert_int_equal(atomic_load(&destroyed), accepted);
        thread_join(&t);
        EVENTUALLY(atomic_load(&host.ended) == atomic_load(&host.started));
        wg_pool_release(pool);
    }
}

static wg_error *see_thread(void *raw, wg_context *ctx) {
    (void)ctx;
    *(pthread_t *)raw = pthread_self();
    return NULL;
}

/* The pool of a language: a group of its making takes tasks of C as well. */
static void a_task_that_names_no_pool_does_not_run_in_one_for_own_tasks_only(void **state) {
    (void)state;
    wg_pool *pool;
    pthread_t names_it, names_none, simple, queued;
    assert_status(wg_pool_new(&pool, &(wg_pool_host){.own_tasks_only = true, .name = "own"}), WG_OK);
    wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool, .limit = 1, .backlog = 4});
    assert_status(wg_errgroup_start(g, &(wg_task){.fn = see_thread, .arg = &names_it, .pool = pool}, NULL), WG_OK);
    assert_status(wg_errgroup_start(g, &(wg_task){.fn = see_thread, .arg = &names_none}, NULL), WG_OK);
    assert_status(wg_errgroup_go(g, see_thread, &simple, NULL, NULL), WG_OK);
    assert_status(wg_errgroup_go(g, see_thread, &queued, NULL, NULL), WG_OK);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    assert_int_equal(wg_pool_workers(pool), 1);
    assert_false(pthread_equal(names_it, names_none) || pthread_equal(names_it, simple) ||
                 pthread_equal(names_it, queued));
    wg_errgroup_release(g);
    wg_pool_release(pool);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(its_threads_run_the_tasks_and_leave_when_idle),
        cmocka_unit_test(idle_threads_are_used_again),
        cmocka_unit_test(no_task_is_lost_between_submit_and_idle_expiry),
        cmocka_unit_test(without_any_thread_go_says_so_and_nothing_changes),
        cmocka_unit_test(work_goes_on_with_the_threads_there_are),
        cmocka_unit_test(of_two_that_submit_at_once_none_is_left_without_an_answer),
        cmocka_unit_test(a_wait_whose_task_has_no_thread_gets_one_when_there_is_one_again),
        cmocka_unit_test(a_thread_that_dies_before_it_works_is_replaced_at_the_next_call),
        cmocka_unit_test(a_stop_drops_what_has_not_started_and_lets_the_rest_end),
        cmocka_unit_test(a_stop_sends_idle_workers_home),
        cmocka_unit_test(a_stop_against_submits_loses_no_task),
        cmocka_unit_test(a_task_that_names_no_pool_does_not_run_in_one_for_own_tasks_only),
        cmocka_unit_test(threads_of_the_process_are_gone_after_the_idle_time),
    };
    return RUN("pool_hosted", tests);
}
