/* dropped.h - groups that were given up without a wait for them: a check for leaks tells of them, although they are gone.
 *
 * The last of them are kept, in memory of a fixed size, under a lock of their own, which fork.c takes with the others. */
#ifndef WG_DROPPED_H
#define WG_DROPPED_H

#include <stddef.h>
#include <stdint.h>

struct wg_dropped {
    char name[80], where[80];
    const char *language;
    int64_t made;
    size_t failures; /* how many of its tasks failed */
};

void wg_dropped_add(const struct wg_dropped *group);

/* Copy those that were made at `since` or later, at most `capacity`; returns how many there are. */
size_t wg_dropped_since(int64_t since, struct wg_dropped *groups, size_t capacity);

/* How many are kept. */
#define WG_DROPPED_KEPT 32

void wg_dropped_lock(void);
void wg_dropped_unlock(void);

#endif
