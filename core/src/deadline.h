/* deadline.h - how the core itself reads deadlines: WG_FOREVER compares as the end of time. */
#ifndef WG_DEADLINE_H
#define WG_DEADLINE_H

#include "waitgroup/until.h"

/* The deadline as a point on the time line. */
static inline int64_t wg_point(int64_t deadline) { return deadline == WG_FOREVER ? INT64_MAX : deadline; }

/* The earlier of two deadlines. */
static inline int64_t wg_earlier(int64_t a, int64_t b) { return wg_point(a) < wg_point(b) ? a : b; }

static inline bool wg_passed(int64_t deadline) {
    int64_t point = wg_point(deadline);
    return point < 0 || (point != INT64_MAX && point <= wg_now());
}

#endif
