/* deadline.c - deadlines. */
#include "deadline.h"

/* The least number of seconds that is no int64_t of nanoseconds: 2^63 of them. A double holds every smaller one. */
#define TOO_LONG 9223372036.854775808

int64_t wg_after(int64_t duration) {
    if (duration <= 0)
        return WG_POLL;
    int64_t now = wg_now();
    return duration > INT64_MAX - now ? WG_FOREVER : now + duration;
}

int64_t wg_after_seconds(double seconds) {
    if (!(seconds > 0))
        return WG_POLL;
    if (seconds >= TOO_LONG)
        return WG_FOREVER;
    double nanoseconds = seconds * (double)WG_SECOND;
    int64_t whole = nanoseconds < 0x1p63 ? (int64_t)nanoseconds : INT64_MAX;
    return wg_after(whole < INT64_MAX && (double)whole < nanoseconds ? whole + 1 : whole);
}

/* Whole seconds and the rest apart: the whole ones are exact, and what is lost of the rest is far below a nanosecond. */

double wg_seconds(int64_t nanoseconds) {
    return (double)(nanoseconds / WG_SECOND) + (double)(nanoseconds % WG_SECOND) / (double)WG_SECOND;
}

int64_t wg_nanoseconds(double seconds) {
    if (!(seconds > -TOO_LONG))
        return seconds != seconds ? 0 : INT64_MIN;
    if (seconds >= TOO_LONG)
        return INT64_MAX;
    int64_t whole = (int64_t)seconds;
    double rest = (seconds - (double)whole) * (double)WG_SECOND;
    return whole * WG_SECOND + (int64_t)(rest < 0 ? rest - 0.5 : rest + 0.5);
}
