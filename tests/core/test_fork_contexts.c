/* In the child of a fork a context is what it was in the parent: its deadline ends it, with observers and descriptor; an end
 * that another thread had begun goes on; a wait that the forking thread is inside of goes on. Nothing on the stacks of
 * threads that the child does not have is touched. */
#include "held_timer.h"
#include "tasks.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIP_UNDER_THREAD_SANITIZER                                                                                    \
    if (THREAD_SANITIZER)                                                                                              \
    skip()

static wg_context *new_context(wg_context *parent, int64_t deadline) {
    wg_context *ctx;
    REQUIRE(wg_context_new(&ctx, parent, deadline) == WG_OK);
    return ctx;
}

static void tell(void *times) { atomic_fetch_add((atomic_int *)times, 1); }

/* A deadline that was set before. The child does one thing only. */
static struct {
    wg_context *ctx, *child, *none;
    wg_observer before;
    atomic_int told;
    wg_waitgroup wg;
    int64_t deadline;
} late;

static void only_observe(void) {
    wg_observer observer;
    atomic_int told = 0;
    REQUIRE(wg_event_observe(wg_ended(late.child), &observer, tell, &told) == WG_OK);
    EVENTUALLY(atomic_load(&told) == 1);
    REQUIRE(wg_now() >= late.deadline);
    EVENTUALLY(atomic_load(&late.told) == 1); /* made in the parent, called here */
    REQUIRE(wg_context_status(late.ctx) == WG_DEADLINE_EXCEEDED);
    REQUIRE(wg_context_cause(late.child) == wg_error_deadline());
    REQUIRE(wg_context_inherited(late.child) && !wg_context_inherited(late.ctx));
}

static void only_poll(void) {
    int fd;
    REQUIRE(wg_context_fd(late.ctx, &fd) == WG_OK);
    REQUIRE(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, -1) == 1);
    REQUIRE(wg_now() >= late.deadline);
}

static void only_observe_something_else(void) {
    wg_observer observer;
    atomic_int told = 0;
    REQUIRE(wg_event_observe(wg_ended(late.none), &observer, tell, &told) == WG_OK);
    EVENTUALLY(wg_context_status(late.child) != WG_OK);
    EVENTUALLY(atomic_load(&late.told) == 1);
    REQUIRE(atomic_load(&told) == 0);
}

static void only_wait_for_what_an_observer_does(void) {
    REQUIRE(wg_wait(&late.wg, NULL) == WG_FORKED); /* an error, and not a hang; but it looked */
    EVENTUALLY(atomic_load(&late.told) == 1);
}

static void only_work(void) {
    wg_errgroup *g;
    wg_errgroup_new(&g, &(wg_errgroup_options){.parent = late.ctx});
    wg_status gone = wg_errgroup_go(g, until_cancelled, NULL, NULL, NULL);
    REQUIRE(gone == WG_OK || gone == WG_DEADLINE_EXCEEDED);
    REQUIRE(wg_errgroup_wait(g, NULL, NULL) == WG_DEADLINE_EXCEEDED);
    wg_errgroup_release(g);
}

static void only_make_another(void) {
    wg_context *ctx = new_context(wg_context_root(), wg_after(HANG));
    EVENTUALLY(wg_context_status(late.child) != WG_OK);
    wg_context_release(ctx);
}

static void only_fork_again(void) { REQUIRE(in_child(only_observe)); }

static void a_deadline_from_before_ends_it_in_the_child(void **state) {
    static void (*const children[])(void) = {only_observe,   only_poll,         only_observe_something_else,
                                             only_work,      only_make_another, only_wait_for_what_an_observer_does,
                                             only_fork_again};
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    for (size_t i = 0; i < sizeof children / sizeof *children; i++) {
        atomic_store(&late.told, 0);
        late.deadline = wg_after(3 * SOON);
        late.ctx = new_context(wg_context_root(), late.deadline);
        late.child = new_context(late.ctx, WG_FOREVER);
        late.none = new_context(wg_context_root(), WG_FOREVER);
        assert_status(wg_add(&late.wg, 1), WG_OK);
        assert_status(wg_event_observe(wg_ended(late.child), &late.before, tell, &late.told), WG_OK);
        assert_true(in_child(children[i]));
        assert_status(wg_context_wait(late.ctx, NULL), WG_OK);
        EVENTUALLY(atomic_load(&late.told) == 1);
        wg_event_unobserve_sync(wg_ended(late.child), &late.before);
        assert_status(wg_done(&late.wg), WG_OK);
        wg_context_release(late.child);
        wg_context_release(late.ctx);
        wg_context_release(late.none);
    }
}

/* The thread that keeps deadlines forks itself, in an observer, and goes on in the child. */
static pid_t forked;
static wg_context *second;
static wg_observer at_second;

static void leave_the_child(void *unused) {
    (void)unused;
    if (forked == 0)
        end_child(wg_now() >= wg_context_deadline(second) ? 42 : 1);
}

static void fork_here(void *unused) {
    (void)unused;
    fflush(NULL);
    forked = fork();
    REQUIRE(forked >= 0);
    if (forked == 0)
        alarm(WATCHDOG_SECONDS / 2);
}

static void expect_child(int code) {
    int status;
    assert_int_equal(waitpid(forked, &status, 0), forked);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == code);
}

static void fork_elsewhere(void *unused) {
    if (!pthread_equal(pthread_self(), tester))
        fork_here(unused);
}

static void the_thread_that_keeps_deadlines_may_fork(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    wg_observer observer;
    tester = pthread_self();
    forked = -1;
    for (int64_t duration = SOON; forked == -1; duration *= 2) { /* on a slow machine this thread finds it passed */
        wg_context *first = new_context(wg_context_root(), wg_after(duration));
        second = new_context(wg_context_root(), wg_after(4 * duration));
        assert_status(wg_event_observe(wg_ended(second), &at_second, leave_the_child, NULL), WG_OK);
        assert_status(wg_event_observe(wg_ended(first), &observer, fork_elsewhere, NULL), WG_OK);
        EVENTUALLY(wg_context_status(second) != WG_OK);
        wg_event_unobserve_sync(wg_ended(first), &observer);
        wg_event_unobserve_sync(wg_ended(second), &at_second);
        wg_context_release(first);
        if (forked != -1)
            expect_child(42);
        wg_context_release(second);
    }
}

/* The thread that forks is inside a wait, whose own time-out ends a context. Another thread sleeps on the same object. */
static wg_waitgroup shared;
static wg_waitgroup many[2048];

static void *sleep_on_shared(void *unused) {
    (void)unused;
    REQUIRE(wg_wait(&shared, NULL) == WG_OK);
    return NULL;
}

static void nap_in_a_task(void *unused) {
    (void)unused;
    nap();
}

static void use_every_bucket(void) {
    for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
        REQUIRE(wg_go(&many[i], NULL, nap_in_a_task, NULL, NULL) == WG_OK);
        REQUIRE(wg_wait(&many[i], NULL) == WG_OK);
    }
}

static void a_wait_may_fork(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    struct thread t;
    wg_observer observer;
    forked = -1;
    assert_status(wg_add(&shared, 1), WG_OK);
    thread_start(&t, sleep_on_shared, NULL);
    let_sleep_on(&shared, 1);
    hold_up_the_timer();
    wg_context *ctx = new_context(wg_context_root(), wg_after(SOON));
    assert_status(wg_event_observe(wg_ended(ctx), &observer, fork_here, NULL), WG_OK);
    assert_status(wg_wait(&shared, WITH(ctx)), WG_CONTEXT_ENDED);
    if (forked == 0) {
        REQUIRE(wg_wait(&shared, NULL) == WG_FORKED);
        use_every_bucket();
        end_child(42);
    }
    expect_child(42);
    let_the_timer_go();
    assert_status(wg_done(&shared), WG_OK);
    thread_join(&t);
    wg_context_release(ctx);
}

/* A host's `start` forks, called by a wait that has nothing to do with its pool: it tries again for a thread that could not
 * be had. The wait must not go on to sleep for what is in the parent; a wait for a context goes on, which is in the child
 * too. */
static pthread_t waiting;
static wg_waitgroup held_up, tasks;
static bool fork_next;

static void *work(void *pool) {
    wg_pool_work(pool);
    return NULL;
}

static bool start_one_thread_and_fork_later(void *started, wg_pool *pool) {
    pthread_t t;
    if (fork_next && pthread_equal(pthread_self(), waiting)) {
        fork_next = false;
        fork_here(NULL);
    }
    if (atomic_fetch_add((atomic_int *)started, 1) > 0 || pthread_create(&t, NULL, work, pool) != 0)
        return false;
    pthread_detach(t);
    return true;
}

static void wait_for_release(void *unused) {
    (void)unused;
    REQUIRE(wg_wait(&held_up, NULL) == WG_OK);
}

/* Its only worker is held up, and more is queued, for which no thread can be had. */
static wg_pool *new_starving_pool(atomic_int *started) {
    wg_pool *pool;
    forked = -1;
    waiting = pthread_self();
    assert_status(wg_pool_new(&pool, &(wg_pool_host){.start = start_one_thread_and_fork_later, .data = started}),
                  WG_OK);
    assert_status(wg_add(&held_up, 1), WG_OK);
    assert_status(wg_go(&tasks, pool, wait_for_release, NULL, NULL), WG_OK);
    let_sleep_on(&held_up, 1);
    assert_status(wg_go(&tasks, pool, nap_in_a_task, NULL, NULL), WG_OK);
    fork_next = true;
    return pool;
}

static void stop_all(wg_pool *pool) {
    assert_status(wg_done(&held_up), WG_OK);
    assert_status(wg_wait(&tasks, NULL), WG_OK);
    wg_pool_stop(pool);
    EVENTUALLY(wg_pool_workers(pool) == 0);
    wg_pool_release(pool);
}

static void a_wait_that_a_fork_has_overtaken_says_so(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    wg_waitgroup wg = WG_INIT;
    atomic_int started = 0;
    wg_pool *pool = new_starving_pool(&started);
    assert_status(wg_add(&wg, 1), WG_OK);
    wg_status status = WG_TIMEOUT;
    while (forked == -1 && status == WG_TIMEOUT) /* on a slow machine it is later */
        status = wg_wait(&wg, AFTER(10 * SOON));
    if (forked == 0)
        end_child(status == WG_FORKED ? 42 : 1);
    assert_status(status, WG_TIMEOUT);
    expect_child(42);
    stop_all(pool);
}

static void a_wait_for_a_context_goes_on_in_the_child(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    atomic_int started = 0;
    wg_pool *pool = new_starving_pool(&started);
    for (int64_t duration = 5 * SOON; forked == -1; duration *= 2) { /* on a slow machine it is later */
        wg_context *ctx = new_context(wg_context_root(), wg_after(duration));
        wg_status status = wg_context_wait(ctx, NULL);
        if (forked == 0)
            end_child(status == WG_OK && wg_context_status(ctx) == WG_DEADLINE_EXCEEDED ? 42 : 1);
        assert_status(status, WG_OK);
        wg_context_release(ctx);
    }
    expect_child(42);
    stop_all(pool);
}

/* Observers on the stack of a thread that the child does not have. */
static wg_waitgroup gate;
static atomic_int observed;
static wg_context *long_lived;

__attribute__((noinline)) static void observe_from_a_stack(wg_context *ctx) {
    wg_waitgroup wg = WG_INIT;
    wg_observer observers[3];
    atomic_int told = 0;
    REQUIRE(wg_add(&wg, 1) == WG_OK);
    REQUIRE(wg_event_observe(wg_zero(&wg), &observers[0], tell, &told) == WG_OK);
    REQUIRE(wg_event_observe(wg_ended(ctx), &observers[1], tell, &told) == WG_OK);
    REQUIRE(wg_event_observe(wg_ended(long_lived), &observers[2], tell, &told) == WG_OK);
    atomic_fetch_add(&observed, 1);
    REQUIRE(wg_wait(&gate, NULL) == WG_OK);
    wg_event_unobserve_sync(wg_zero(&wg), &observers[0]);
    wg_event_unobserve_sync(wg_ended(ctx), &observers[1]);
    wg_event_unobserve_sync(wg_ended(long_lived), &observers[2]);
}

static void *watch(void *unused) {
    (void)unused;
    wg_context *ctx = new_context(wg_context_root(), wg_after(SOON));
    observe_from_a_stack(ctx);
    wg_context_release(ctx);
    return NULL;
}

static void *write_over_the_stack(void *unused) {
    char junk[100000];
    memset(junk, 0x5a, sizeof junk);
    __asm__ volatile("" ::"r"(junk) : "memory");
    return unused;
}

static void use_the_stacks_again(void) {
    wg_observer observer;
    atomic_int told = 0;
    struct thread t[8];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 8; i++)
            thread_start(&t[i], write_over_the_stack, NULL);
        for (int i = 0; i < 8; i++)
            thread_join(&t[i]);
    }
    REQUIRE(wg_event_observe(wg_ended(long_lived), &observer, tell, &told) ==
            WG_OK); /* and starts the timer's thread */
    for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
        wg_observer one;
        REQUIRE(wg_add(&many[i], 1) == WG_OK);
        REQUIRE(wg_event_observe(wg_zero(&many[i]), &one, tell, &told) == WG_OK);
        REQUIRE(wg_done(&many[i]) == WG_OK);
    }
    wg_context *later = new_context(wg_context_root(), wg_after(2 * SOON));
    REQUIRE(wg_context_wait(later, NULL) == WG_OK);
    REQUIRE(wg_context_cancel(long_lived, NULL) == WG_OK);
    REQUIRE(atomic_load(&told) == 1 + (int)(sizeof many / sizeof *many));
    wg_context_release(later);
}

static void what_lies_on_the_stacks_of_others_is_forgotten(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    struct thread t[4];
    assert_status(wg_add(&gate, 1), WG_OK);
    long_lived = new_context(wg_context_root(), WG_FOREVER);
    for (int i = 0; i < 4; i++)
        thread_start(&t[i], watch, NULL);
    EVENTUALLY(atomic_load(&observed) == 4);
    assert_true(in_child(use_the_stacks_again));
    assert_status(wg_done(&gate), WG_OK);
    for (int i = 0; i < 4; i++)
        thread_join(&t[i]);
    wg_context_release(long_lived);
}

/* Other threads end trees of contexts all the time: in the child no context below an ended one lives, and each observer is
 * called once, unless its call had begun. */
static struct {
    wg_context *top, *middle[3], *leaf[3];
    wg_observer observer[3];
    atomic_int told[3];
} tree;
static atomic_int phase; /* odd: the tree may be ended */
static atomic_bool no_more_trees;

static void *end_trees(void *unused) {
    (void)unused;
    int seen = 0;
    while (!atomic_load(&no_more_trees)) {
        int now = atomic_load(&phase);
        if (now != seen && now % 2)
            wg_context_cancel(tree.top, wg_error_no_memory());
        seen = now;
    }
    return NULL;
}

static void find_a_whole_tree(void) {
    bool ended = wg_context_check(tree.top) != WG_OK;
    for (int i = 0; i < 3; i++) {
        if (!ended)
            continue;
        REQUIRE(wg_context_wait(tree.leaf[i], NULL) == WG_OK);
        REQUIRE(wg_context_status(tree.middle[i]) == WG_CANCELLED);
        REQUIRE(wg_context_status(tree.leaf[i]) == WG_CANCELLED);
        REQUIRE(wg_context_cause(tree.leaf[i]) == wg_error_no_memory());
        wg_event_unobserve_sync(wg_ended(tree.leaf[i]), &tree.observer[i]);
        REQUIRE(atomic_load(&tree.told[i]) <= 1);
    }
    wg_context_cancel(tree.top, NULL);
    for (int i = 0; i < 3; i++)
        REQUIRE(wg_context_status(tree.leaf[i]) == WG_CANCELLED);
}

static void an_end_under_way_goes_on_in_the_child(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    struct thread t;
    thread_start(&t, end_trees, NULL);
    for (int i = 0; i < effort(300); i++) {
        tree.top = new_context(wg_context_root(), WG_FOREVER);
        for (int j = 0; j < 3; j++) {
            tree.middle[j] = new_context(tree.top, WG_FOREVER);
            tree.leaf[j] = new_context(tree.middle[j], WG_FOREVER);
            atomic_store(&tree.told[j], 0);
            assert_status(wg_event_observe(wg_ended(tree.leaf[j]), &tree.observer[j], tell, &tree.told[j]), WG_OK);
        }
        atomic_fetch_add(&phase, 1);
        assert_true(in_child(find_a_whole_tree));
        assert_status(wg_context_wait(tree.top, NULL), WG_OK);
        atomic_fetch_add(&phase, 1);
        for (int j = 0; j < 3; j++) {
            EVENTUALLY(atomic_load(&tree.told[j]) == 1);
            wg_event_unobserve_sync(wg_ended(tree.leaf[j]), &tree.observer[j]);
            wg_context_release(tree.middle[j]);
            wg_context_release(tree.leaf[j]);
        }
        wg_context_release(tree.top);
    }
    atomic_store(&no_more_trees, true);
    thread_join(&t);
}

/* A task of the caller's making fails in the child, while another thread was in `go` of the same group. */
static wg_errgroup *fed;
static atomic_bool enough;

static void *feed(void *unused) {
    (void)unused;
    while (!atomic_load(&enough))
        REQUIRE(wg_errgroup_go(fed, succeed, NULL, NULL, NULL) == WG_OK);
    return NULL;
}

static void fail_in_the_child(void) {
    int why;
    REQUIRE(wg_errgroup_leave(fed, wg_error_new(WG_ERROR_FAILURE, &why, NULL)) == WG_OK);
    REQUIRE(wg_errgroup_errors(fed, NULL, 0) == 1);
}

static void leaving_with_an_error_takes_no_lock_of_the_parents(void **state) {
    (void)state;
    SKIP_UNDER_THREAD_SANITIZER;
    if (ALLOCATOR_HANGS_IN_CHILD)
        skip();
    struct thread t;
    fed = new_group((wg_errgroup_options){.limit = 0});
    thread_start(&t, feed, NULL);
    for (int i = 0; i < effort(300); i++) {
        assert_status(wg_errgroup_enter(fed), WG_OK);
        assert_true(in_child(fail_in_the_child));
        assert_status(wg_errgroup_leave(fed, NULL), WG_OK);
    }
    atomic_store(&enough, true);
    thread_join(&t);
    assert_status(wg_errgroup_wait(fed, NULL, NULL), WG_OK);
    wg_errgroup_release(fed);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deadline_from_before_ends_it_in_the_child),
        cmocka_unit_test(the_thread_that_keeps_deadlines_may_fork),
        cmocka_unit_test(a_wait_may_fork),
        cmocka_unit_test(a_wait_that_a_fork_has_overtaken_says_so),
        cmocka_unit_test(a_wait_for_a_context_goes_on_in_the_child),
        cmocka_unit_test(what_lies_on_the_stacks_of_others_is_forgotten),
        cmocka_unit_test(an_end_under_way_goes_on_in_the_child),
        cmocka_unit_test(leaving_with_an_error_takes_no_lock_of_the_parents),
    };
    return RUN("fork_contexts", tests);
}
