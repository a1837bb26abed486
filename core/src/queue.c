/* queue.c - see queue.h. */
#include "queue.h"

#include <string.h>

#include "os.h"

static struct wg_work *make(struct wg_slabs *memory, size_t size) {
    uint16_t place;
    struct wg_work *work = wg_slabs_take(memory, size, &place);
    if (work)
        work->place = place;
    return work;
}

struct wg_work *wg_work_new(size_t size) {
    struct wg_slabs memory = {.slab = NULL}; /* whose first slab is for one thing */
    return make(&memory, size);
}

void wg_work_free(struct wg_work *work) { wg_slab_give(work, work->place); }

/* See wg_finish. */
static void drop(void *raw) {
    struct wg_work **works = raw;
    while (*works) {
        struct wg_work *work = *works;
        *works = work->next;
        work->run(work, true);
    }
}

void wg_works_drop(struct wg_work *works) { wg_finish(drop, &works); }

void wg_queue_end(struct wg_queue *queue) { wg_slabs_end(&queue->memory); }

struct wg_entry wg_enqueue(struct wg_queue *queue, const struct wg_work *original, size_t size) {
    struct wg_entry entry = {.work = NULL};
    wg_mutex_lock(&queue->lock);
    struct wg_work *work = make(&queue->memory, size);
    if (work) {
        uint16_t place = work->place;
        memcpy(work, original, size);
        work->next = NULL;
        work->place = place;
        work->ticket = ++queue->tickets & WG_TICKETS;
        entry = (struct wg_entry){work, work->ticket, !queue->on_ring};
        if (queue->first_in)
            queue->last_in->next = work;
        else
            queue->first_in = work;
        queue->last_in = work;
        queue->in++;
        queue->on_ring = true;
    }
    wg_mutex_unlock(&queue->lock);
    return entry;
}

struct wg_work *wg_empty_inbox(struct wg_queue *queue) {
    wg_mutex_lock(&queue->lock);
    struct wg_work *first = queue->first_in;
    queue->first_in = NULL;
    queue->in = 0;
    queue->on_ring = false;
    wg_mutex_unlock(&queue->lock);
    return first;
}

/* Move what the inbox holds to the far end, now empty; if there is nothing, the queue leaves the ring. */
static bool refill(struct wg_ring *ring, struct wg_queue *queue) {
    wg_mutex_lock(&queue->lock);
    queue->first = queue->first_in;
    queue->first_in = NULL;
    ring->queued += queue->in;
    queue->in = 0;
    queue->on_ring = queue->first != NULL;
    wg_mutex_unlock(&queue->lock);
    return queue->first != NULL;
}

void wg_ring_insert(struct wg_ring *ring, struct wg_queue *queue) {
    refill(ring, queue);
    if (!ring->next)
        ring->next = queue->next = queue->prev = queue;
    queue->next = ring->next; /* behind all others */
    queue->prev = ring->next->prev;
    queue->prev->next = queue->next->prev = queue;
    wg_store_relaxed32(&ring->queues, wg_load_relaxed32(&ring->queues) + 1);
}

static void ring_remove(struct wg_ring *ring, struct wg_queue *queue) {
    queue->prev->next = queue->next;
    queue->next->prev = queue->prev;
    if (ring->next == queue)
        ring->next = queue->next == queue ? NULL : queue->next;
    queue->next = queue->prev = NULL;
    wg_store_relaxed32(&ring->queues, wg_load_relaxed32(&ring->queues) - 1);
}

struct wg_work *wg_ring_pop(struct wg_ring *ring, struct wg_queue *queue) {
    struct wg_work *work = queue->first;
    queue->first = work->next;
    ring->queued--;
    if (!queue->first && !refill(ring, queue))
        ring_remove(ring, queue);
    else if (ring->next == queue)
        ring->next = queue->next;
    return work;
}

/* Take the work with `ticket` out of a list; *before: what was before it. */
static bool cut(struct wg_work **list, uint64_t ticket, struct wg_work **before) {
    *before = NULL;
    for (struct wg_work **link = list; *link; *before = *link, link = &(*link)->next) {
        if ((*link)->ticket == ticket) {
            *link = (*link)->next;
            return true;
        }
    }
    return false;
}

bool wg_ring_withdraw(struct wg_ring *ring, struct wg_queue *queue, uint64_t ticket) {
    struct wg_work *before;
    if (cut(&queue->first, ticket, &before)) {
        ring->queued--;
        if (!queue->first && !refill(ring, queue))
            ring_remove(ring, queue);
        return true;
    }
    wg_mutex_lock(&queue->lock);
    bool last = queue->first_in && queue->last_in->ticket == ticket;
    bool there = cut(&queue->first_in, ticket, &before);
    if (there)
        queue->in--;
    if (last)
        queue->last_in = before;
    wg_mutex_unlock(&queue->lock);
    return there;
}

unsigned long wg_ring_count(const struct wg_ring *ring) {
    unsigned long n = ring->queued;
    struct wg_queue *queue = ring->next;
    if (queue)
        do {
            wg_mutex_lock(&queue->lock);
            n += queue->in;
            wg_mutex_unlock(&queue->lock);
            queue = queue->next;
        } while (queue != ring->next);
    return n;
}

void wg_ring_forget(struct wg_ring *ring) {
    struct wg_queue *queue = ring->next;
    ring_remove(ring, queue);
    *queue = (struct wg_queue){.first = NULL};
}
