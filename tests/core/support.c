/* support.c - see support.h. */
#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "waitqueue.h"

static const char *current;
static int threads_of_others;

static void bark(int signal) {
    (void)signal;
    static const char text[] = " did not end in time\n";
    if (write(2, current, strlen(current)) < 0 || write(2, text, sizeof text - 1) < 0)
        _exit(1);
    abort();
}

static int64_t begun;
static bool leaves;

void leaves_tasks(void) { leaves = true; }

static int begin(void **state) {
    current = ((const struct CMUnitTest *)*state)->name;
    *state = NULL;
    begun = wg_now();
    leaves = false;
    alarm(WATCHDOG_SECONDS);
    return 0;
}

/* What is about to end gets two seconds for that. */
static unsigned leaks(void) {
    int64_t late = wg_now() + 2 * WG_SECOND;
    while (wg_leaks(-1, begun) > 0 && wg_now() < late)
        nap();
    return wg_leaks(-1, begun) > 0 ? wg_leaks(2, begun) : 0;
}

static int end(void **state) {
    (void)state;
    alarm(0);
    return leaves || leaks() == 0 ? 0 : -1;
}

static void *nothing(void *unused) { return unused; }

/* ThreadSanitizer starts a thread of its own with the first one. */
static void count_threads_of_others(void) {
    struct thread t;
    thread_start(&t, nothing, NULL);
    thread_join(&t);
    for (int i = 0; i < 20; i++)
        nap(); /* until it is gone from the system's list too */
    threads_of_others = threads_now() - 1;
}

static int list(const struct CMUnitTest *tests, size_t n) {
    for (size_t i = 0; i < n; i++)
        puts(tests[i].name);
    return 0;
}

int run_group(const char *group, struct CMUnitTest *tests, size_t n) {
    if (getenv("WG_TEST_LIST"))
        return list(tests, n);
    const char *only = getenv("WG_TEST");
    if (only)
        cmocka_set_test_filter(only);
    signal(SIGALRM, bark);
    if (THREAD_SANITIZER)
        count_threads_of_others();
    for (size_t i = 0; i < n; i++) {
        tests[i].initial_state = &tests[i];
        tests[i].setup_func = begin;
        tests[i].teardown_func = end;
    }
    return _cmocka_run_group_tests(group, tests, n, NULL, NULL);
}

void require_failed(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: not true: %s\n", file, line, condition);
    abort();
}

void nap(void) { nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL); }

int effort(int n) {
    const char *factor = getenv("WG_TEST_EFFORT");
    double f = factor ? atof(factor) : 1;
    return f * n < 1 ? 1 : (int)(f * n);
}

void thread_start(struct thread *t, void *(*fn)(void *arg), void *arg) {
    REQUIRE(pthread_create(&t->id, NULL, fn, arg) == 0);
}

void thread_join(struct thread *t) { REQUIRE(pthread_join(t->id, NULL) == 0); }

void thread_ends_in(void *(*fn)(void *arg), void *arg) {
    struct thread t;
    void *result;
    thread_start(&t, fn, arg);
    assert_int_equal(pthread_join(t.id, &result), 0);
    assert_null(result);
}

static int sleepers_on(const void *subject) {
    struct wg_bucket *bucket = wg_bucket_of(subject);
    int n = 0;
    wg_mutex_lock(&bucket->lock);
    for (struct wg_wait_entry *s = wg_wait_entry_first(bucket, subject); s; s = wg_wait_entry_after(bucket, s, subject))
        n++;
    wg_mutex_unlock(&bucket->lock);
    return n;
}

void let_sleep_on(const void *subject, int n) { EVENTUALLY(sleepers_on(subject) >= n); }

static int entries(const char *path) {
    DIR *d = opendir(path);
    int n = 0;
    REQUIRE(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2; /* . and .. */
}

int threads_now(void) { return entries("/proc/self/task") - threads_of_others; }

int fds_now(void) {
    int n = 0;
    for (int fd = 0; fd < 500; fd++) /* above are those of valgrind */
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

#ifdef WG_TEST_COVERAGE
void __gcov_dump(void);
#endif

void end_child(int status) {
    char command[20];
    snprintf(command, sizeof command, "exit %d", status);
    if (getenv("WG_TEST_VALGRIND")) /* it would count that as leaks */
        execlp("sh", "sh", "-c", command, (char *)NULL);
    _exit(status);
}

int exit_status_of_child(void (*fn)(void)) {
    fflush(NULL);
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        signal(SIGALRM, bark);
        alarm(WATCHDOG_SECONDS / 2);
        fn();
#ifdef WG_TEST_COVERAGE
        __gcov_dump();
#endif
        end_child(0);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0) {}
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool in_child(void (*fn)(void)) { return exit_status_of_child(fn) == 0; }

bool readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}
