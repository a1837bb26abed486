/* Many threads on error groups and pools at once: limits, cancels and resizes against each other, pools that come and
 * go, workers that leave while tasks come. Every task taken runs or is skipped, and is destroyed, exactly once. */
#include "tasks.h"

static unsigned new_seed(void) {
    unsigned seed = (unsigned)wg_now();
    print_message("seed %u\n", seed);
    return seed;
}

/* One group at a time, in the hands of several threads. */
static struct {
    wg_errgroup *g;
    atomic_int accepted, refused, ran, destroyed;
    atomic_bool stop;
} s;

static void destroy(void *memory) {
    free(memory);
    atomic_fetch_add(&s.destroyed, 1);
}

static wg_error *task(void *memory, wg_context *ctx) {
    unsigned seed = *(unsigned *)memory;
    atomic_fetch_add(&s.ran, 1);
    switch (rand_r(&seed) % 50) {
    case 0: return wg_error_new(WG_ERROR_FAILURE, malloc(8), free);
    case 1: nap(); break;
    case 2: wg_context_wait(ctx, AFTER(10000)); return wg_context_error(ctx);
    }
    return NULL;
}

static void *submit(void *raw) {
    unsigned seed = (unsigned)(uintptr_t)raw;
    for (int i = 0; i < 40; i++) {
        unsigned *memory = malloc(sizeof *memory);
        REQUIRE(memory);
        *memory = (unsigned)rand_r(&seed);
        wg_until until = {.deadline = rand_r(&seed) % 3 ? WG_FOREVER : wg_after(rand_r(&seed) % 50000)};
        wg_status status = rand_r(&seed) % 4 ? wg_errgroup_go(s.g, task, memory, destroy, &until)
                                             : wg_errgroup_try_go(s.g, task, memory, destroy);
        if (status == WG_OK) {
            atomic_fetch_add(&s.accepted, 1);
            continue;
        }
        REQUIRE(status == WG_TIMEOUT || status == WG_LIMIT || status == WG_CANCELLED ||
                status == WG_DEADLINE_EXCEEDED || status == WG_FINISHED);
        atomic_fetch_add(&s.refused, 1);
        free(memory);
    }
    return NULL;
}

static void *resize(void *raw) {
    unsigned seed = (unsigned)(uintptr_t)raw;
    while (!atomic_load(&s.stop)) {
        REQUIRE(wg_errgroup_set_limit(s.g, rand_r(&seed) % 5 ? 1 + rand_r(&seed) % 4 : WG_NO_LIMIT) == WG_OK);
        for (volatile int i = rand_r(&seed) % 5000; i > 0; i--) {}
    }
    return NULL;
}

static void a_group_in_many_hands(void **state, int64_t grace) {
    (void)state;
    unsigned seed = new_seed();
    int outcomes[WG_STOPPED + 1] = {0};
    for (int i = 0; i < effort(60); i++) {
        struct thread t[4];
        atomic_store(&s.accepted, 0);
        atomic_store(&s.refused, 0);
        atomic_store(&s.ran, 0);
        atomic_store(&s.destroyed, 0);
        atomic_store(&s.stop, false);
        s.g = new_group((wg_errgroup_options){
            .limit = 1 + rand_r(&seed) % 3,
            .grace = grace,
            .deadline = rand_r(&seed) % 4 ? WG_FOREVER : wg_after(rand_r(&seed) % (4 * WG_MILLISECOND))});
        for (int j = 0; j < 3; j++)
            thread_start(&t[j], submit, (void *)(uintptr_t)(unsigned)rand_r(&seed));
        thread_start(&t[3], resize, (void *)(uintptr_t)(unsigned)rand_r(&seed));
        for (int j = rand_r(&seed) % 10; j > 0; j--)
            nap();
        if (rand_r(&seed) % 2)
            wg_errgroup_cancel(s.g, NULL);
        wg_error *first = NULL;
        wg_status outcome = wg_errgroup_wait(s.g, NULL, &first);
        outcomes[outcome]++;
        assert_int_equal(outcome == WG_FAILED || outcome == WG_DEADLINE_EXCEEDED, first != NULL);
        atomic_store(&s.stop, true);
        for (int j = 0; j < 4; j++)
            thread_join(&t[j]);
        assert_int_equal(atomic_load(&s.accepted) + atomic_load(&s.refused), 120);
        EVENTUALLY(wg_errgroup_get_counts(s.g).completed == (unsigned)atomic_load(&s.accepted));
        EVENTUALLY(atomic_load(&s.destroyed) == atomic_load(&s.accepted));
        assert_true(atomic_load(&s.ran) <= atomic_load(&s.accepted));
        assert_int_equal(wg_errgroup_wait(s.g, NULL, NULL), outcome);
        wg_errgroup_release(s.g);
    }
    for (int i = 0; i <= WG_STOPPED; i++)
        if (outcomes[i])
            print_message("%d times %s\n", outcomes[i], wg_strstatus((wg_status)i));
}

static void go_against_cancel_against_resize(void **state) { a_group_in_many_hands(state, 0); }
static void the_same_with_a_grace_period(void **state) { a_group_in_many_hands(state, 100000); }

/* Tasks that start tasks at the limit, to and beyond the certain deadlock. */
static wg_error *start_another(void *raw, wg_context *ctx) {
    intptr_t depth = (intptr_t)raw;
    (void)ctx;
    if (depth > 0) {
        wg_status status = wg_errgroup_go(s.g, start_another, (void *)(depth - 1), NULL, NULL);
        REQUIRE(status == WG_OK || status == WG_DEADLOCK || status == WG_CANCELLED);
    }
    return NULL;
}

static void tasks_that_start_tasks_at_the_limit(void **state) {
    (void)state;
    unsigned seed = new_seed();
    for (int i = 0; i < effort(300); i++) {
        int limit = 1 + rand_r(&seed) % 4;
        s.g = new_group((wg_errgroup_options){.limit = limit});
        for (int j = 0; j < 6; j++)
            go(s.g, start_another, (void *)(intptr_t)(rand_r(&seed) % 4));
        if (rand_r(&seed) % 4 == 0)
            assert_status(wg_errgroup_set_limit(s.g, 1 + rand_r(&seed) % 3), WG_OK);
        assert_status(wg_errgroup_wait(s.g, NULL, NULL), WG_OK);
        wg_errgroup_release(s.g);
    }
}

/* Pools that come and go, with workers that leave after microseconds. */
static atomic_int hosted;

static void *host_worker(void *pool) {
    wg_pool_work(pool);
    atomic_fetch_sub(&hosted, 1);
    return NULL;
}

static bool host_start(void *unused, wg_pool *pool) {
    pthread_t t;
    (void)unused;
    atomic_fetch_add(&hosted, 1);
    if (pthread_create(&t, NULL, host_worker, pool) != 0) {
        atomic_fetch_sub(&hosted, 1);
        return false;
    }
    pthread_detach(t);
    return true;
}

static void run(void *ran) { atomic_fetch_add((atomic_int *)ran, 1); }

struct submitter {
    wg_pool *pool;
    unsigned seed;
    atomic_int ran, accepted;
    struct thread thread;
};

static void *submit_to_pool(void *raw) {
    struct submitter *me = raw;
    for (int i = 0; i < 30; i++) {
        wg_waitgroup wg = WG_INIT;
        for (int n = rand_r(&me->seed) % 4; n >= 0; n--) {
            wg_status status = wg_go(&wg, me->pool, run, &me->ran, NULL);
            REQUIRE(status == WG_OK || status == WG_STOPPED);
            atomic_fetch_add(&me->accepted, status == WG_OK);
        }
        REQUIRE(wg_wait(&wg, NULL) == WG_OK);
        for (volatile int j = rand_r(&me->seed) % 20000; j > 0; j--) {}
    }
    return NULL;
}

static void pools_that_come_and_go(void **state) {
    (void)state;
    unsigned seed = new_seed();
    for (int i = 0; i < effort(60); i++) {
        struct submitter subs[3];
        wg_pool *pool;
        bool stop_early = rand_r(&seed) % 2;
        assert_status(wg_pool_new(&pool, &(wg_pool_host){.start = host_start,
                                                         .cores = 1 + (unsigned)rand_r(&seed) % 3,
                                                         .idle_time = 1 + rand_r(&seed) % 40000}),
                      WG_OK);
        for (int j = 0; j < 3; j++) {
            subs[j] = (struct submitter){.pool = pool, .seed = (unsigned)rand_r(&seed)};
            thread_start(&subs[j].thread, submit_to_pool, &subs[j]);
        }
        if (stop_early) {
            nap();
            wg_pool_stop(pool);
        }
        int accepted = 0, ran = 0;
        for (int j = 0; j < 3; j++) {
            thread_join(&subs[j].thread);
            accepted += atomic_load(&subs[j].accepted);
            ran += atomic_load(&subs[j].ran);
        }
        assert_true(stop_early ? ran <= accepted : ran == accepted);
        wg_pool_stop(pool);
        EVENTUALLY(wg_pool_workers(pool) == 0);
        wg_pool_release(pool);
    }
    EVENTUALLY(atomic_load(&hosted) == 0);
}

/* Groups given up while their tasks run, on the pool of the process. */
static void groups_given_up_in_the_middle(void **state) {
    (void)state;
    leaves_tasks();
    atomic_int ran = 0;
    int accepted = 0;
    for (int i = 0; i < effort(2000); i++) {
        wg_errgroup *g = new_group((wg_errgroup_options){.limit = 4});
        for (int j = 0; j < 3; j++) {
            go(g, count, &ran);
            accepted++;
        }
        wg_errgroup_release(g);
    }
    EVENTUALLY(atomic_load(&ran) == accepted);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(go_against_cancel_against_resize),    cmocka_unit_test(the_same_with_a_grace_period),
        cmocka_unit_test(tasks_that_start_tasks_at_the_limit), cmocka_unit_test(pools_that_come_and_go),
        cmocka_unit_test(groups_given_up_in_the_middle),
    };
    return RUN("stress_groups", tests);
}
