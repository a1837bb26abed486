/* dropped.c - see dropped.h. */
#include "dropped.h"

#include "mutex.h"

static wg_mutex lock;
static struct wg_dropped kept[WG_DROPPED_KEPT];
static size_t count; /* how many there have been: the next one goes to this place, modulo their number */

void wg_dropped_add(const struct wg_dropped *group) {
    wg_mutex_lock(&lock);
    kept[count++ % WG_DROPPED_KEPT] = *group;
    wg_mutex_unlock(&lock);
}

size_t wg_dropped_since(int64_t since, struct wg_dropped *groups, size_t capacity) {
    size_t n = 0;
    wg_mutex_lock(&lock);
    for (size_t i = count > WG_DROPPED_KEPT ? count - WG_DROPPED_KEPT : 0; i < count; i++) {
        const struct wg_dropped *group = &kept[i % WG_DROPPED_KEPT];
        if (group->made >= since && n++ < capacity)
            groups[n - 1] = *group;
    }
    wg_mutex_unlock(&lock);
    return n;
}

void wg_dropped_lock(void) { wg_mutex_lock(&lock); }
void wg_dropped_unlock(void) { wg_mutex_unlock(&lock); }
