/* windows.c - sleeping by WaitOnAddress of Windows 8 and newer, which looks addresses up and never dereferences them on a
 * wake. Its times are durations in milliseconds. */
#include <windows.h>

#include "../os.h"
#include "../park.h"

const char wg_park_name[] = "WaitOnAddress";

/* There are no signals; an interruptible sleep comes up this often, for callers who look for something of that kind. */
#define SLICE (50 * WG_MILLISECOND)

/* Rounded up, and at most a day, after which the caller looks at its word and sleeps again. */
static DWORD milliseconds_until(int64_t deadline) {
    static const int64_t day = 24 * 3600 * WG_SECOND;
    int64_t left = deadline - wg_now();
    left = left < 0 ? 0 : left > day ? day : left;
    return (DWORD)((left + WG_MILLISECOND - 1) / WG_MILLISECOND);
}

wg_parked wg_park(wg_a32 *word, uint32_t expected, int64_t deadline, bool interruptible) {
    bool bounded = deadline != WG_FOREVER && deadline != INT64_MAX;
    int64_t slice = interruptible ? wg_after(SLICE) : INT64_MAX;
    bool sliced = slice != INT64_MAX && (!bounded || slice < deadline);
    int64_t until = sliced ? slice : deadline;
    DWORD time = bounded || sliced ? milliseconds_until(until) : INFINITE;
    if (WaitOnAddress((volatile void *)word, &expected, sizeof expected, time))
        return WG_PARK_WOKEN;
    if (time == INFINITE || wg_now() < until)
        return WG_PARK_WOKEN;
    return sliced ? WG_PARK_INTERRUPTED : WG_PARK_TIMEOUT;
}

/* Only the address is used. */
void wg_unpark_one(const wg_a32 *word) { WakeByAddressSingle((void *)(uintptr_t)word); }
void wg_unpark_all(const wg_a32 *word) { WakeByAddressAll((void *)(uintptr_t)word); }

/* There is no fork. */
void wg_park_before_fork(void) {}
void wg_park_after_fork(bool in_child) { (void)in_child; }
