/* errgroup_running.c - see errgroup_running.h. */
#include "errgroup_running.h"

#include <stdio.h>
#include <stdlib.h>

#include "fork.h"

struct wg_link *wg_group_running(wg_errgroup *g) {
    if (g->running_epoch != wg_fork_epoch())
        g->running = (struct wg_link){NULL, NULL};
    g->running_epoch = wg_fork_epoch();
    return &g->running;
}

void wg_group_list(wg_errgroup *g, struct wg_running_task *entry, const char *name, const struct wg_frame *frame) {
    struct wg_bucket *bucket = wg_group_bucket(g);
    entry->name = name;
    entry->since = wg_now();
    entry->frame = frame;
    entry->thread = wg_thread_id();
    entry->epoch = wg_fork_epoch();
    wg_mutex_lock(&bucket->lock);
    wg_list_append(wg_group_running(g), &entry->link);
    wg_mutex_unlock(&bucket->lock);
}

void wg_group_unlist(wg_errgroup *g, struct wg_running_task *entry) {
    struct wg_bucket *bucket = wg_group_bucket(g);
    if (!entry->since)
        return;
    wg_mutex_lock(&bucket->lock);
    wg_group_running(g);
    if (entry->epoch == g->running_epoch)
        wg_list_remove(&entry->link);
    wg_mutex_unlock(&bucket->lock);
}

/* A copy of an entry: enough of its name for people. */
struct seen {
    char name[80];
    int64_t since;
};

/* At most `capacity` of them are copied; returns how many there are. */
static size_t copy_running(wg_errgroup *g, struct seen *seen, size_t capacity) {
    struct wg_bucket *bucket = wg_group_bucket(g);
    size_t n = 0;
    wg_mutex_lock(&bucket->lock);
    struct wg_link *head = wg_group_running(g);
    for (struct wg_link *link = wg_list_first(head); link; link = wg_list_after(head, link), n++) {
        const struct wg_running_task *entry = WG_MEMBER(link, struct wg_running_task, link);
        if (n < capacity) {
            snprintf(seen[n].name, sizeof seen[n].name, "%s", entry->name ? entry->name : "");
            seen[n].since = entry->since;
        }
    }
    wg_mutex_unlock(&bucket->lock);
    return n;
}

/* A call of wg_errgroup_running. */
struct look {
    void (*fn)(void *arg, const char *name, int64_t duration);
    void *arg;
    struct seen few[16], *seen;
    size_t capacity, n, next;
    int64_t now;
};

/* Again, with more memory, as long as there are more than fit. */
static void see_running(wg_errgroup *g, struct look *look) {
    look->seen = look->few;
    look->capacity = sizeof look->few / sizeof *look->few;
    look->n = copy_running(g, look->seen, look->capacity);
    while (look->n > look->capacity) {
        struct seen *more = realloc(look->seen == look->few ? NULL : look->seen, 2 * look->n * sizeof *more);
        if (!more)
            return;
        look->seen = more;
        look->capacity = 2 * look->n;
        look->n = copy_running(g, look->seen, look->capacity);
    }
}

/* See wg_finish: once `fn` has ended the thread it is called no more. */
static void tell_running(void *raw) {
    struct look *look = raw;
    while (look->fn && look->next < look->n && look->next < look->capacity) {
        const struct seen *seen = &look->seen[look->next++];
        void (*fn)(void *arg, const char *name, int64_t duration) = look->fn;
        look->fn = NULL;
        fn(look->arg, seen->name, look->now - seen->since);
        look->fn = fn;
    }
    if (look->seen != look->few)
        free(look->seen);
}

size_t wg_errgroup_running(wg_errgroup *g, void (*fn)(void *arg, const char *name, int64_t duration), void *arg) {
    struct look look = {.fn = fn, .arg = arg};
    if (!g)
        return 0;
    see_running(g, &look);
    look.now = wg_now();
    wg_finish(tell_running, &look);
    return look.n;
}
