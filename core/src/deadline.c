/* deadline.c - deadlines. */
#include "deadline.h"

int64_t wg_after(int64_t duration) {
    if (duration <= 0)
        return WG_POLL;
    int64_t now = wg_now();
    return duration > INT64_MAX - now ? WG_FOREVER : now + duration;
}
