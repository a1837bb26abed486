/* support.c - see support.h. */
#include "support.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *current;
static int threads_of_others;

static void bark(int signal) {
    (void)signal;
    static const char text[] = " did not end in time\n";
    if (write(2, current, strlen(current)) < 0 || write(2, text, sizeof text - 1) < 0)
        _exit(1);
    abort();
}

static int begin(void **state) {
    current = ((const struct CMUnitTest *)*state)->name;
    *state = NULL;
    alarm(WATCHDOG_SECONDS);
    return 0;
}

static int end(void **state) {
    (void)state;
    alarm(0);
    return 0;
}

static void *nothing(void *unused) { return unused; }

/* A sanitizer starts a thread of its own with the first one. */
static void count_threads_of_others(void) {
    struct thread t;
    thread_start(&t, nothing, NULL);
    thread_join(&t);
    for (int i = 0; i < 20; i++)
        nap(); /* until it is gone from the system's list too */
    threads_of_others = threads_now() - 1;
}

int run_group(const char *group, struct CMUnitTest *tests, size_t n) {
    const char *only = getenv("WG_TEST");
    if (only)
        cmocka_set_test_filter(only);
    signal(SIGALRM, bark);
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

static void *run_thread(void *arg) {
    struct thread *t = arg;
    atomic_store(&t->tid, (int)syscall(SYS_gettid));
    return t->fn(t->arg);
}

void thread_start(struct thread *t, void *(*fn)(void *arg), void *arg) {
    *t = (struct thread){.fn = fn, .arg = arg};
    REQUIRE(pthread_create(&t->id, NULL, run_thread, t) == 0);
}

void thread_join(struct thread *t) { REQUIRE(pthread_join(t->id, NULL) == 0); }

static bool sleeps(int tid) {
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    FILE *f = fopen(path, "r");
    if (!f)
        return true; /* it has ended already */
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end && name_end[1] && name_end[2] == 'S';
}

void thread_let_sleep(struct thread *t) {
    EVENTUALLY(atomic_load(&t->tid) != 0);
    for (int in_a_row = 0; in_a_row < 3; in_a_row = sleeps(atomic_load(&t->tid)) ? in_a_row + 1 : 0)
        nap();
}

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

int fds_now(void) { return entries("/proc/self/fd") - 1; /* the one just used for looking */ }

bool in_child(void (*fn)(void)) {
    fflush(NULL);
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        signal(SIGALRM, bark);
        alarm(WATCHDOG_SECONDS / 2);
        fn();
        _exit(0);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0) {}
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}
