/* queue.c - see queue.h. */
#include "queue.h"

#include <string.h>

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

void wg_lane_end(struct wg_lane *lane) { wg_slabs_end(&lane->memory); }

struct wg_entry wg_enqueue(struct wg_lane *lane, const struct wg_work *original, size_t size) {
    struct wg_entry entry = {.work = NULL};
    wg_mutex_lock(&lane->lock);
    struct wg_work *work = make(&lane->memory, size);
    if (work) {
        uint16_t place = work->place;
        memcpy(work, original, size);
        work->next = NULL;
        work->place = place;
        work->ticket = ++lane->tickets & WG_TICKETS;
        entry = (struct wg_entry){work, work->ticket, !lane->listed};
        if (lane->first_in)
            lane->last_in->next = work;
        else
            lane->first_in = work;
        lane->last_in = work;
        lane->in++;
        lane->listed = true;
    }
    wg_mutex_unlock(&lane->lock);
    return entry;
}

struct wg_work *wg_empty_inbox(struct wg_lane *lane) {
    wg_mutex_lock(&lane->lock);
    struct wg_work *first = lane->first_in;
    lane->first_in = NULL;
    lane->in = 0;
    lane->listed = false;
    wg_mutex_unlock(&lane->lock);
    return first;
}

/* Move what the inbox holds to the far end, now empty; if there is nothing, unlist the queue. */
static bool refill(struct wg_ring *ring, struct wg_lane *lane) {
    wg_mutex_lock(&lane->lock);
    lane->first = lane->first_in;
    lane->first_in = NULL;
    ring->queued += lane->in;
    lane->in = 0;
    lane->listed = lane->first != NULL;
    wg_mutex_unlock(&lane->lock);
    return lane->first != NULL;
}

void wg_ring_insert(struct wg_ring *ring, struct wg_lane *lane) {
    refill(ring, lane);
    if (!ring->next)
        ring->next = lane->next = lane->prev = lane;
    lane->next = ring->next; /* behind all others */
    lane->prev = ring->next->prev;
    lane->prev->next = lane->next->prev = lane;
    wg_store_relaxed32(&ring->lanes, wg_load_relaxed32(&ring->lanes) + 1);
}

static void ring_remove(struct wg_ring *ring, struct wg_lane *lane) {
    lane->prev->next = lane->next;
    lane->next->prev = lane->prev;
    if (ring->next == lane)
        ring->next = lane->next == lane ? NULL : lane->next;
    lane->next = lane->prev = NULL;
    wg_store_relaxed32(&ring->lanes, wg_load_relaxed32(&ring->lanes) - 1);
}

struct wg_work *wg_ring_pop(struct wg_ring *ring, struct wg_lane *lane) {
    struct wg_work *work = lane->first;
    lane->first = work->next;
    ring->queued--;
    if (!lane->first && !refill(ring, lane))
        ring_remove(ring, lane);
    else if (ring->next == lane)
        ring->next = lane->next;
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

bool wg_ring_withdraw(struct wg_ring *ring, struct wg_lane *lane, uint64_t ticket) {
    struct wg_work *before;
    if (cut(&lane->first, ticket, &before)) {
        ring->queued--;
        if (!lane->first && !refill(ring, lane))
            ring_remove(ring, lane);
        return true;
    }
    wg_mutex_lock(&lane->lock);
    bool last = lane->first_in && lane->last_in->ticket == ticket;
    bool there = cut(&lane->first_in, ticket, &before);
    if (there)
        lane->in--;
    if (last)
        lane->last_in = before;
    wg_mutex_unlock(&lane->lock);
    return there;
}

unsigned long wg_ring_count(const struct wg_ring *ring) {
    unsigned long n = ring->queued;
    struct wg_lane *lane = ring->next;
    if (lane)
        do {
            wg_mutex_lock(&lane->lock);
            n += lane->in;
            wg_mutex_unlock(&lane->lock);
            lane = lane->next;
        } while (lane != ring->next);
    return n;
}

void wg_ring_forget(struct wg_ring *ring) {
    struct wg_lane *lane = ring->next;
    ring_remove(ring, lane);
    *lane = (struct wg_lane){.first = NULL};
}
