/* support.h - what all test programs of the core share.
 *
 * Each program is one file, test_PROMISE.c, and tests one promise. cmocka's assertions leave a test by longjmp, so they
 * are for the thread that runs the test; everywhere else (threads, tasks, child processes) REQUIRE ends the program. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "waitgroup.h"

/* Run the tests of a program, or those whose name matches the environment variable WG_TEST; only print their names if
 * WG_TEST_LIST is set. One that does not end within
 * WATCHDOG_SECONDS is named, and ends the program. */
#define WATCHDOG_SECONDS 100
#define RUN(group, tests) run_group(group, tests, sizeof(tests) / sizeof *(tests))
int run_group(const char *group, struct CMUnitTest *tests, size_t n);

/* This test leaves tasks, groups or waits behind on purpose; any other fails then. */
void leaves_tasks(void);

#define REQUIRE(condition) ((condition) ? (void)0 : require_failed(__FILE__, __LINE__, #condition))
_Noreturn void require_failed(const char *file, int line, const char *condition);

#define assert_status(is, should) assert_string_equal(wg_strstatus(is), wg_strstatus(should))

/* Look again and again until it is true: the watchdog knows when it never will be. */
#define EVENTUALLY(condition)                                                                                          \
    do {                                                                                                               \
        while (!(condition))                                                                                           \
            nap();                                                                                                     \
    } while (0)
void nap(void);

/* What runs this: ThreadSanitizer; a sanitizer or valgrind (the environment variable WG_TEST_VALGRIND). For what they
 * cannot do: such a test is skipped, and counted as skipped. */
#if defined(__has_feature)
#define WITH_FEATURE(name) __has_feature(name)
#else
#define WITH_FEATURE(name) 0
#endif
#if defined(__SANITIZE_THREAD__) || WITH_FEATURE(thread_sanitizer)
#define THREAD_SANITIZER true
#else
#define THREAD_SANITIZER false
#endif
#if defined(__SANITIZE_ADDRESS__) || WITH_FEATURE(address_sanitizer)
#define INSTRUMENTED true
#else
#define INSTRUMENTED (THREAD_SANITIZER || getenv("WG_TEST_VALGRIND"))
#endif

/* AddressSanitizer before that of gcc 14 and clang 18: the child of a fork hangs in its allocator if another thread was in
 * there. A test that forks while others allocate is skipped. */
#if (defined(__SANITIZE_ADDRESS__) && __GNUC__ < 14) ||                                                                \
    (WITH_FEATURE(address_sanitizer) && defined(__clang_major__) && __clang_major__ < 18)
#define ALLOCATOR_HANGS_IN_CHILD true
#else
#define ALLOCATOR_HANGS_IN_CHILD false
#endif

/* How often to repeat something: `n` in a normal run; the environment variable WG_TEST_EFFORT multiplies it. */
int effort(int n);

/* A thread of the test's own. */
struct thread {
    pthread_t id;
};
void thread_start(struct thread *t, void *(*fn)(void *arg), void *arg);
void thread_join(struct thread *t);
/* Run it in a thread, which must not return from it. */
void thread_ends_in(void *(*fn)(void *arg), void *arg);

/* Wait until `n` threads sleep on `subject`, a wait group or a context. A wg_errgroup_go that waits for room sleeps on
 * the group's context too. */
void let_sleep_on(const void *subject, int n);

/* How many threads this process has, not counting those of a sanitizer. */
int threads_now(void);

/* How many descriptors are open. */
int fds_now(void);

/* Run `fn` in a child process. True if it returned; a REQUIRE that fails, a crash or a hang make it false. */
bool in_child(void (*fn)(void));

/* The same, and what the child ended with: 0 if `fn` returned; -1 if a signal killed it. */
int exit_status_of_child(void (*fn)(void));

/* The end of a child that a test has forked by itself. What stayed behind in the parent is no leak of the child's. */
_Noreturn void end_child(int status);

/* Is `fd` readable now? */
bool readable(int fd);

/* A deadline that only something that hangs will meet, and one that has a chance to pass while a test waits for it. */
#define HANG (60 * WG_SECOND)
#define SOON (20 * WG_MILLISECOND)

/* Waits of one line. */
static inline wg_until until_deadline(int64_t deadline) { return (wg_until){.deadline = deadline}; }
#define AFTER(duration) (&(wg_until){.deadline = wg_after(duration)})
#define POLL (&(wg_until){.deadline = WG_POLL})
#define WITH(ctx) (&(wg_until){.context = (ctx)})

#endif
