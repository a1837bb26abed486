/* futex.c - sleeping by Linux futex: private, so that a wake at an address that is gone has no effect at all, and with
 * absolute monotonic deadlines. */
#define _GNU_SOURCE /* syscall */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../park.h"

const char wg_park_name[] = "futex";

wg_parked wg_park(wg_a32 *word, uint32_t expected, int64_t deadline, bool interruptible) {
    struct timespec at, *until = NULL;
    if (interruptible && (deadline == 0 || deadline == INT64_MAX))
        deadline = INT64_MAX - 1; /* without a time, the kernel goes on sleeping after a handler with SA_RESTART */
    if (deadline != 0 && deadline != INT64_MAX) {
        if (deadline < 0)
            deadline = 0; /* the kernel refuses negative times */
        at.tv_sec = (time_t)(deadline / 1000000000);
        at.tv_nsec = (long)(deadline % 1000000000);
        until = &at;
    }
    int saved = errno;
    long r = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected, until, NULL, FUTEX_BITSET_MATCH_ANY);
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

void wg_unpark_one(const wg_a32 *word) { wake(word, 1); }
void wg_unpark_all(const wg_a32 *word) { wake(word, INT_MAX); }
