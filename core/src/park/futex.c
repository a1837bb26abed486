/* futex.c - sleeping by Linux futex: private, so that a wake at an address that is gone has no effect at all, and with
 * absolute monotonic deadlines. */
#define _GNU_SOURCE /* syscall */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/types.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../deadline.h"
#include "../park.h"

const char wg_park_name[] = "futex";

/* On 32-bit systems there are two calls, one for each size of time. Which size the C library's time_t has says nothing of
 * what a call reads, so the times are declared here. */
#ifdef SYS_futex_time64
struct time64 {
    int64_t seconds, nanoseconds;
};
#ifndef SYS_futex /* where times never had 32 bits */
#define SYS_futex SYS_futex_time64
#endif
#endif
struct old_time {
    __kernel_long_t seconds, nanoseconds;
};

/* Sleep until `deadline`, of the monotonic clock and not negative; INT64_MAX: no deadline. */
static long wait_until(wg_a32 *word, uint32_t expected, int64_t deadline) {
    int64_t seconds = deadline / WG_SECOND, nanoseconds = deadline % WG_SECOND;
    bool timed = deadline != INT64_MAX;
#ifdef SYS_futex_time64
    struct time64 at = {seconds, nanoseconds};
    long r = syscall(SYS_futex_time64, word, FUTEX_WAIT_BITSET_PRIVATE, expected, timed ? &at : NULL, NULL,
                     FUTEX_BITSET_MATCH_ANY);
    if (r == 0 || errno != ENOSYS) /* of a kernel before 5.1 */
        return r;
#endif
    struct old_time old = {(__kernel_long_t)(seconds < LONG_MAX ? seconds : LONG_MAX), (__kernel_long_t)nanoseconds};
    return syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected, timed ? &old : NULL, NULL,
                   FUTEX_BITSET_MATCH_ANY);
}

wg_parked wg_park(wg_a32 *word, uint32_t expected, int64_t deadline, bool interruptible) {
    deadline = deadline < 0 ? 0 : wg_point(deadline); /* the kernel refuses negative times */
    if (interruptible && deadline == INT64_MAX)
        deadline--; /* without a time, the kernel goes on sleeping after a handler with SA_RESTART */
    int saved = errno;
    long r = wait_until(word, expected, deadline);
    int why = errno;
    errno = saved;
    if (r == 0 || why == EAGAIN)
        return WG_PARK_WOKEN;
    if (why == ETIMEDOUT)
        return WG_PARK_TIMEOUT;
    return interruptible ? WG_PARK_INTERRUPTED : WG_PARK_WOKEN;
}

static void wake(const wg_a32 *word, int how_many) {
    int saved = errno;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, how_many);
    errno = saved;
}

/* The kernel knows who sleeps in which process. */
void wg_park_before_fork(void) {}
void wg_park_after_fork(bool in_child) { (void)in_child; }

void wg_unpark_one(const wg_a32 *word) { wake(word, 1); }
void wg_unpark_all(const wg_a32 *word) { wake(word, INT_MAX); }
