/* Many threads on wait groups and contexts at once, on the heap, freed as early as the contract allows. What goes wrong
 * here mostly shows under a sanitizer; what is asserted is that nothing is lost and everything ends. */
#include "support.h"

static void spin_for(unsigned *seed, int most) {
    for (volatile int i = rand_r(seed) % most; i > 0; i--) {}
}

static unsigned new_seed(void) {
    unsigned seed = (unsigned)wg_now();
    print_message("seed %u\n", seed);
    return seed;
}

/* Threads of the test, kept and driven in rounds by barriers: so a round costs microseconds. */
struct crew {
    pthread_barrier_t start, end;
    void (*job)(int number, unsigned *seed);
    bool over;
    int n;
    struct thread threads[4];
    struct member {
        struct crew *crew;
        int number;
        unsigned seed;
    } members[4];
};

static void *member_main(void *raw) {
    struct member *m = raw;
    for (;;) {
        pthread_barrier_wait(&m->crew->start);
        if (m->crew->over)
            return NULL;
        m->crew->job(m->number, &m->seed);
        pthread_barrier_wait(&m->crew->end);
    }
}

static void crew_hire(struct crew *crew, int n, unsigned seed, void (*job)(int number, unsigned *seed)) {
    *crew = (struct crew){.job = job, .n = n};
    pthread_barrier_init(&crew->start, NULL, (unsigned)n + 1);
    pthread_barrier_init(&crew->end, NULL, (unsigned)n + 1);
    for (int i = 0; i < n; i++) {
        crew->members[i] = (struct member){crew, i, seed + (unsigned)i};
        thread_start(&crew->threads[i], member_main, &crew->members[i]);
    }
}

static void crew_dismiss(struct crew *crew) {
    crew->over = true;
    pthread_barrier_wait(&crew->start);
    for (int i = 0; i < crew->n; i++)
        thread_join(&crew->threads[i]);
    pthread_barrier_destroy(&crew->start);
    pthread_barrier_destroy(&crew->end);
}

/* Last done against a waiter that frees. */
static struct heap_wg {
    wg_waitgroup wg;
    int written[3]; /* plain: whoever returns from the wait may read them */
} * h;

static void write_and_done(int number, unsigned *seed) {
    struct heap_wg *mine = h;
    spin_for(seed, 300);
    mine->written[number] = 1;
    REQUIRE(wg_done(&mine->wg) == WG_OK);
}

static void the_last_done_against_a_waiter_that_frees(void **state) {
    (void)state;
    struct crew crew;
    unsigned seed = new_seed();
    crew_hire(&crew, 3, seed, write_and_done);
    for (int i = 0; i < effort(5000); i++) {
        h = calloc(1, sizeof *h);
        REQUIRE(h && wg_add(&h->wg, 3) == WG_OK);
        pthread_barrier_wait(&crew.start);
        spin_for(&seed, 600);
        wg_status status = rand_r(&seed) % 2 ? wg_wait(&h->wg, NULL) : wg_wait(&h->wg, AFTER(HANG));
        assert_status(status, WG_OK);
        assert_int_equal(h->written[0] + h->written[1] + h->written[2], 3);
        memset(h, 0xff, sizeof *h);
        free(h);
        pthread_barrier_wait(&crew.end);
    }
    crew_dismiss(&crew);
}

/* Waiters that come and go with short deadlines and with contexts that end, while the count goes up and down. */
static wg_waitgroup busy;
static wg_context *busy_ctx;
static atomic_int outcomes[WG_STOPPED + 1], still_waiting;

static void wait_or_work(int number, unsigned *seed) {
    if (number == 0) {
        while (atomic_load(&still_waiting) > 0) {
            REQUIRE(wg_add(&busy, 1) == WG_OK);
            spin_for(seed, 300000);
            REQUIRE(wg_done(&busy) == WG_OK);
        }
        return;
    }
    if (number == 1) {
        spin_for(seed, 1000000);
        wg_context_cancel(busy_ctx, NULL);
        return;
    }
    for (int i = 0; i < 10; i++) {
        wg_until until = {.deadline = rand_r(seed) % 2 ? wg_after(rand_r(seed) % 20000) : WG_FOREVER,
                          .context = rand_r(seed) % 2 ? busy_ctx : NULL};
        wg_status status = wg_wait(&busy, &until);
        REQUIRE(status == WG_OK || status == WG_TIMEOUT || status == WG_CONTEXT_ENDED);
        atomic_fetch_add(&outcomes[status], 1);
    }
    atomic_fetch_sub(&still_waiting, 1);
}

static void waits_with_deadline_and_context_against_done_and_cancel(void **state) {
    (void)state;
    struct crew crew;
    crew_hire(&crew, 4, new_seed(), wait_or_work);
    for (int i = 0; i < effort(150); i++) {
        assert_status(wg_context_new(&busy_ctx, NULL, WG_FOREVER), WG_OK);
        atomic_store(&still_waiting, 2);
        pthread_barrier_wait(&crew.start);
        pthread_barrier_wait(&crew.end);
        assert_int_equal(wg_count(&busy), 0);
        wg_context_release(busy_ctx);
    }
    crew_dismiss(&crew);
    print_message("%d ok, %d timeouts, %d cancelled\n", outcomes[WG_OK], outcomes[WG_TIMEOUT],
                  outcomes[WG_CONTEXT_ENDED]);
}

/* Cancel against removing an observer, and against children that come and go. */
static struct watched {
    wg_observer observer;
    atomic_int calls;
} * watched[2];
static wg_context *root_of_all;
static bool removed[2];

static void count_call(void *raw) { atomic_fetch_add(&((struct watched *)raw)->calls, 1); }

static void cancel_remove_or_breed(int number, unsigned *seed) {
    spin_for(seed, 1000);
    if (number == 0)
        wg_context_cancel(root_of_all, NULL);
    else if (number <= 2)
        removed[number - 1] = wg_event_unobserve_sync(wg_ended(root_of_all), &watched[number - 1]->observer);
    else
        for (int i = 0; i < 10; i++) {
            wg_context *child, *grandchild;
            REQUIRE(wg_context_new(&child, root_of_all, rand_r(seed) % 4 ? WG_FOREVER : wg_after(1000)) == WG_OK);
            REQUIRE(wg_context_new(&grandchild, child, WG_FOREVER) == WG_OK);
            wg_context_release(child);
            if (rand_r(seed) % 2)
                wg_context_cancel(grandchild, NULL);
            wg_context_release(grandchild);
        }
}

static void a_cancel_against_removal_and_against_children(void **state) {
    (void)state;
    struct crew crew;
    int prevented = 0;
    crew_hire(&crew, 4, new_seed(), cancel_remove_or_breed);
    for (int i = 0; i < effort(2000); i++) {
        assert_status(wg_context_new(&root_of_all, NULL, WG_FOREVER), WG_OK);
        for (int j = 0; j < 2; j++) {
            watched[j] = calloc(1, sizeof *watched[j]);
            REQUIRE(watched[j]);
            assert_status(wg_event_observe(wg_ended(root_of_all), &watched[j]->observer, count_call, watched[j]),
                          WG_OK);
        }
        pthread_barrier_wait(&crew.start);
        pthread_barrier_wait(&crew.end);
        for (int j = 0; j < 2; j++) {
            assert_int_equal(atomic_load(&watched[j]->calls), !removed[j]);
            prevented += removed[j];
            free(watched[j]);
        }
        wg_context_release(root_of_all);
    }
    crew_dismiss(&crew);
    print_message("%d of %d calls prevented\n", prevented, 2 * effort(2000));
}

/* Deadlines that pass while their contexts are cancelled, waited for and released. */
static wg_context *timed;

static void meddle_with_timed(int number, unsigned *seed) {
    spin_for(seed, 2000);
    if (number == 0)
        wg_context_cancel(timed, NULL);
    else
        REQUIRE(wg_context_wait(timed, NULL) == WG_OK);
    wg_context_release(timed);
}

static void deadlines_against_cancel_and_release(void **state) {
    (void)state;
    struct crew crew;
    unsigned seed = new_seed();
    crew_hire(&crew, 2, seed, meddle_with_timed);
    for (int i = 0; i < effort(2000); i++) {
        assert_status(wg_context_new(&timed, NULL, wg_after(rand_r(&seed) % 50000)), WG_OK);
        wg_context_retain(timed); /* one for each */
        pthread_barrier_wait(&crew.start);
        pthread_barrier_wait(&crew.end);
    }
    crew_dismiss(&crew);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_done_against_a_waiter_that_frees),
        cmocka_unit_test(waits_with_deadline_and_context_against_done_and_cancel),
        cmocka_unit_test(a_cancel_against_removal_and_against_children),
        cmocka_unit_test(deadlines_against_cancel_and_release),
    };
    return RUN("stress_objects", tests);
}
