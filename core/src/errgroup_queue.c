/* errgroup_queue.c - see errgroup_queue.h. */
#include "errgroup_queue.h"

#include <stdlib.h>

#include "errgroup.h"

struct wg_other_pool {
    wg_pool *pool; /* with a reference */
    struct wg_queue queue;
    struct wg_other_pool *next;
};

/* Under the lock: the queue in `pool`, or NULL. */
static struct wg_queue *queue_in(wg_errgroup *g, const wg_pool *pool) {
    struct wg_other_pool *other = g->others;
    while (other && other->pool != pool)
        other = other->next;
    return other ? &other->queue : NULL;
}

/* Add a queue in `pool`, unless another thread has done it. False without memory. */
static bool add_pool(wg_errgroup *g, wg_pool *pool) {
    struct wg_bucket *bucket = wg_group_bucket(g);
    struct wg_other_pool *other = malloc(sizeof *other);
    if (!other)
        return false;
    wg_mutex_lock(&bucket->lock);
    bool known = queue_in(g, pool);
    if (!known) {
        *other = (struct wg_other_pool){.pool = wg_pool_retain(pool), .next = g->others};
        g->others = other;
    }
    wg_mutex_unlock(&bucket->lock);
    if (known)
        free(other);
    return true;
}

struct wg_queue *wg_group_other_queue(wg_errgroup *g, wg_pool *pool) {
    struct wg_bucket *bucket = wg_group_bucket(g);
    struct wg_queue *queue;
    do {
        wg_mutex_lock(&bucket->lock);
        queue = queue_in(g, pool);
        wg_mutex_unlock(&bucket->lock);
    } while (!queue && add_pool(g, pool));
    return queue;
}

void wg_group_queues_end(wg_errgroup *g) {
    for (struct wg_other_pool *other = g->others, *next; other; other = next) {
        next = other->next;
        wg_queue_end(&other->queue);
        wg_pool_release(other->pool);
        free(other);
    }
    wg_queue_end(&g->queue);
}

bool wg_errgroup_has_stored(wg_errgroup *g, const void *arg) {
    struct wg_bucket *bucket = wg_group_bucket(g);
    bool has = false;
    wg_mutex_lock(&bucket->lock);
    struct wg_link *head = &g->slots.stored;
    for (struct wg_link *link = wg_list_first(head); link && !has; link = wg_list_after(head, link))
        has = WG_MEMBER(link, struct wg_stored_task, link)->task.named.task.as.call.arg == arg;
    wg_mutex_unlock(&bucket->lock);
    return has;
}
