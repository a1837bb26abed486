/* The threads of the library: their stacks and names, which signals they handle, and what a host hears when one leaves. */
#include "tasks.h"

#include <dirent.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os.h"

/* What a task sees of the thread that runs it. */
struct seen {
    size_t stack;
    char name[16];
    sigset_t blocked;
};

static void look(void *raw) {
    struct seen *seen = raw;
    pthread_attr_t attributes;
    REQUIRE(pthread_getattr_np(pthread_self(), &attributes) == 0);
    REQUIRE(pthread_attr_getstacksize(&attributes, &seen->stack) == 0);
    pthread_attr_destroy(&attributes);
    REQUIRE(prctl(PR_GET_NAME, seen->name) == 0);
    REQUIRE(pthread_sigmask(SIG_SETMASK, NULL, &seen->blocked) == 0);
}

static wg_pool *new_pool(wg_pool_host host) {
    wg_pool *pool;
    assert_status(wg_pool_new(&pool, &host), WG_OK);
    return pool;
}

static struct seen in_a_worker_of(wg_pool *pool) {
    struct seen seen;
    wg_waitgroup wg = WG_INIT;
    assert_status(wg_go(&wg, pool, look, &seen, NULL), WG_OK);
    assert_status(wg_wait(&wg, NULL), WG_OK);
    return seen;
}

/* What musl adds to the stack that it was asked for, and counts as part of it. */
#define OF_THE_C_LIBRARY 0xffff

static void stacks_have_a_size_of_our_own_choosing(void **state) {
    (void)state;
    if (THREAD_SANITIZER)
        skip(); /* it gives threads larger ones */
    assert_in_range(in_a_worker_of(NULL).stack, 2 << 20, (2 << 20) + OF_THE_C_LIBRARY);
}

static void a_host_chooses_the_size_of_stacks(void **state) {
    (void)state;
    if (THREAD_SANITIZER)
        skip();
    wg_pool *pool = new_pool((wg_pool_host){.stack_size = 3 << 20, .idle_time = 1});
    assert_in_range(in_a_worker_of(pool).stack, 3 << 20, (3 << 20) + OF_THE_C_LIBRARY);
    wg_pool_release(pool);
}

static void a_stack_that_no_thread_can_have_is_refused(void **state) {
    (void)state;
    wg_pool *pool = NULL;
    assert_status(wg_pool_new(&pool, &(wg_pool_host){.stack_size = 100}), WG_INVALID);
    assert_null(pool);
}

/* Of the main thread's stack some systems tell only the part that has been used. */
static bool deep_down(unsigned depth) {
    volatile char page[4096];
    page[0] = 0;
    return depth == 0 ? wg_on_stack(__builtin_frame_address(0)) : deep_down(depth - 1) && page[0] == 0;
}

static void a_stack_that_has_grown_is_still_the_threads(void **state) {
    (void)state;
    void *elsewhere = malloc(1);
    assert_true(wg_on_stack(__builtin_frame_address(0))); /* AddressSanitizer may have put variables elsewhere */
    assert_true(deep_down(200));
    assert_false(wg_on_stack(elsewhere));
    free(elsewhere);
}

static void threads_have_names(void **state) {
    (void)state;
    assert_string_equal(in_a_worker_of(NULL).name, "waitgroup");
}

static void a_host_names_its_threads(void **state) {
    (void)state;
    char name[] = "renderers of the left eye";
    wg_pool *pool = new_pool((wg_pool_host){.name = name, .idle_time = 1});
    memset(name, 'x', sizeof name - 1); /* the pool has a copy */
    assert_string_equal(in_a_worker_of(pool).name, "renderers of th");
    wg_pool_release(pool);
}

static bool a_thread_is_called(const char *name) {
    char path[300], found[32] = "";
    DIR *d = opendir("/proc/self/task");
    struct dirent *entry;
    bool called = false;
    REQUIRE(d);
    while ((entry = readdir(d))) {
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *f = fopen(path, "r");
        if (f && fgets(found, sizeof found, f))
            called = called || strncmp(found, name, strlen(name)) == 0;
        if (f)
            fclose(f);
    }
    closedir(d);
    return called;
}

static void the_thread_that_keeps_deadlines_has_a_name(void **state) {
    (void)state;
    wg_context *ctx;
    assert_status(wg_context_new(&ctx, NULL, wg_after(HANG)), WG_OK);
    EVENTUALLY(a_thread_is_called("wg-timer"));
    wg_context_release(ctx);
}

/* Signals. */

static void what_can_be_sent_is_blocked_and_a_fault_is_not(void **state) {
    (void)state;
    static const int sent[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCHLD, SIGPIPE, SIGWINCH};
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    struct seen seen = in_a_worker_of(NULL);
    for (size_t i = 0; i < sizeof sent / sizeof *sent; i++)
        assert_int_equal(sigismember(&seen.blocked, sent[i]), 1);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        assert_int_equal(sigismember(&seen.blocked, faults[i]), 0);
}

/* The mask of a child that a task forks, or that a child's task forks: that of the thread which made them start. */

static void look_at_a_child(void *raw) {
    sigset_t *blocked = raw;
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        REQUIRE(pthread_sigmask(SIG_SETMASK, NULL, blocked) == 0);
        _exit(write(ends[1], blocked, sizeof *blocked) == sizeof *blocked ? 0 : 1);
    }
    REQUIRE(read(ends[0], blocked, sizeof *blocked) == sizeof *blocked);
    REQUIRE(waitpid(pid, NULL, 0) == pid && close(ends[0]) == 0 && close(ends[1]) == 0);
}

/* By a worker that another worker has started. */
static wg_error *fork_further_in(void *blocked, wg_context *ctx) {
    wg_waitgroup wg = WG_INIT;
    wg_pool *pool;
    (void)ctx;
    REQUIRE(wg_pool_new(&pool, &(wg_pool_host){.idle_time = 1}) == WG_OK);
    REQUIRE(wg_go(&wg, pool, look_at_a_child, blocked, NULL) == WG_OK);
    REQUIRE(wg_wait(&wg, NULL) == WG_OK);
    wg_pool_release(pool);
    return NULL;
}

static void the_child_of_a_fork_in_a_task_hears_signals(void **state) {
    (void)state;
    sigset_t one, before, blocked;
    if (THREAD_SANITIZER)
        skip();
    wg_pool *pool = new_pool((wg_pool_host){.idle_time = 1});
    wg_errgroup *g = new_group((wg_errgroup_options){.pool = pool});
    sigemptyset(&one);
    sigaddset(&one, SIGUSR2);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &one, &before), 0);
    go(g, fork_further_in, &blocked);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    assert_status(wg_errgroup_wait(g, NULL, NULL), WG_OK);
    for (int signum = 1; signum < 32; signum++)
        assert_int_equal(sigismember(&blocked, signum), signum == SIGUSR2 || sigismember(&before, signum) == 1);
    wg_errgroup_release(g);
    wg_pool_release(pool);
}

#define REPORTED 42

static void report_fault(int number) {
    (void)number;
    _exit(REPORTED);
}

static void crash(void *unused) {
    (void)unused;
    volatile char *untouchable = mmap(NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *untouchable = 1;
}

static void crash_in_a_worker(void) {
    wg_waitgroup wg = WG_INIT;
    signal(SIGSEGV, report_fault);
    REQUIRE(wg_go(&wg, NULL, crash, NULL, NULL) == WG_OK);
    wg_wait(&wg, NULL);
}

/* A handler for crashes, such as that of a crash reporter, hears of one in a worker. */
static void a_crash_in_a_task_is_reported(void **state) {
    (void)state;
    if (INSTRUMENTED)
        skip(); /* sanitizers have a handler of their own */
    assert_int_equal(exit_status_of_child(crash_in_a_worker), REPORTED);
}

/* What a host hears. */

static _Thread_local bool known, asleep, gone;
static atomic_int workers, left;

/* Called first in whatever a worker does. */
static void meet(void) {
    REQUIRE(!gone);
    if (!known)
        atomic_fetch_add(&workers, 1);
    known = true;
}

static void before(void *unused) {
    (void)unused;
    meet();
    asleep = true;
}

static void after(void *unused) {
    (void)unused;
    meet();
    asleep = false;
}

static void leave(void *unused) {
    (void)unused;
    meet();
    REQUIRE(!asleep);
    gone = true;
    atomic_fetch_add(&left, 1);
}

static void run_here(void *unused) {
    (void)unused;
    meet();
    REQUIRE(!asleep);
}

static void a_host_hears_once_of_each_worker_that_leaves(void **state) {
    (void)state;
    wg_waitgroup wg = WG_INIT;
    wg_pool *pool = new_pool(
        (wg_pool_host){.before_sleep = before, .after_sleep = after, .leave = leave, .cores = 2, .idle_time = HANG});
    for (int i = 0; i < 10; i++) {
        assert_status(wg_go(&wg, pool, run_here, NULL, NULL), WG_OK);
        assert_status(wg_go(&wg, pool, run_here, NULL, NULL), WG_OK);
        assert_status(wg_wait(&wg, NULL), WG_OK);
    }
    assert_int_equal(atomic_load(&left), 0);
    wg_pool_stop(pool);
    EVENTUALLY(wg_pool_workers(pool) == 0 && atomic_load(&left) == atomic_load(&workers));
    assert_in_range(atomic_load(&left), 1, 20);
    wg_pool_release(pool);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(stacks_have_a_size_of_our_own_choosing),
        cmocka_unit_test(a_host_chooses_the_size_of_stacks),
        cmocka_unit_test(a_stack_that_no_thread_can_have_is_refused),
        cmocka_unit_test(a_stack_that_has_grown_is_still_the_threads),
        cmocka_unit_test(threads_have_names),
        cmocka_unit_test(a_host_names_its_threads),
        cmocka_unit_test(the_thread_that_keeps_deadlines_has_a_name),
        cmocka_unit_test(what_can_be_sent_is_blocked_and_a_fault_is_not),
        cmocka_unit_test(the_child_of_a_fork_in_a_task_hears_signals),
        cmocka_unit_test(a_crash_in_a_task_is_reported),
        cmocka_unit_test(a_host_hears_once_of_each_worker_that_leaves),
    };
    return RUN("threads", tests);
}
