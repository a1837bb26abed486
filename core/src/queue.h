/* queue.h - queued work: a queue for each group, and the ring of those that are not empty.
 *
 * The pool serves the queues of its ring in turn, so that a group with a million tasks does not hold up one with two. In a
 * queue it is first come, first run.
 *
 * A queue has two ends, apart in memory, so that the thread that submits and the worker do not pull one cache line back and
 * forth. Work is enqueued in the inbox. Whenever the far end has run empty, it is refilled with all that the inbox holds.
 *
 * Invariants. A queue is in the ring exactly while its far end is not empty. `on_ring` is set, under the lock of the queue, by
 * the thread that enqueues into a queue which is not: that thread has to put the queue into the ring, and no other does. It is
 * cleared when a refill finds the inbox empty. */
#ifndef WG_QUEUE_H
#define WG_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mutex.h"
#include "slab.h"

#define WG_TICKETS ((UINT64_C(1) << 48) - 1) /* the low 48 bits of a count */

/* Something to run once. `skip`: do not start it, only end it. `run` frees it, by wg_work_free. */
struct wg_work {
    struct wg_work *next;
    uint64_t ticket : 48; /* the low bits of its number in its queue */
    uint64_t place : 16;  /* in its slab */
    void (*run)(struct wg_work *work, bool skip);
};

/* The queued work of one group. */
struct wg_queue {
    /* Guarded by the queue's lock: the inbox. */
    wg_mutex lock;
    bool on_ring;
    struct wg_work *first_in, *last_in;
    unsigned long in; /* how many are between them */
    uint64_t tickets; /* how many have ever come in */
    struct wg_slabs memory;
    char apart[64];
    /* Guarded by the pool's lock: the far end. */
    struct wg_work *first;
    struct wg_queue *next, *prev; /* in the ring; else NULL */
};

/* Guarded by the pool's lock; `queues` is also read without. */
struct wg_ring {
    wg_a32 queues;         /* how many queues */
    unsigned long queued;  /* works at their far ends */
    struct wg_queue *next; /* to be served; NULL: the ring is empty */
};

/* The result of wg_enqueue. The work may have run before the caller looks, and other work may lie at its address by then:
 * `ticket` tells them apart. */
struct wg_entry {
    struct wg_work *work; /* NULL: there was no memory */
    uint64_t ticket;
    bool must_insert; /* the caller must insert the queue into the ring */
};

/* Memory for a work of `size` bytes that is of no queue; NULL: there is none. */
struct wg_work *wg_work_new(size_t size);
void wg_work_free(struct wg_work *work);

/* Put a copy of `original` into the inbox. Takes the lock of the queue. */
struct wg_entry wg_enqueue(struct wg_queue *queue, const struct wg_work *original, size_t size);

/* Take all out of the inbox of a queue that was never put into the ring; returns the first. Takes the lock of the queue. */
struct wg_work *wg_empty_inbox(struct wg_queue *queue);

/* Run the works of a list without starting them. */
void wg_works_drop(struct wg_work *works);

/* A queue that has come to its end makes no more works; those it made may still be about. */
void wg_queue_end(struct wg_queue *queue);

/* All of these with the pool's lock held. */

/* Refill the queue, and put it into the ring, behind all others. */
void wg_ring_insert(struct wg_ring *ring, struct wg_queue *queue);

/* The first work of a queue in the ring. Afterwards, if none is left, the queue is not touched again: its group may go. */
struct wg_work *wg_ring_pop(struct wg_ring *ring, struct wg_queue *queue);

/* Take the work with `ticket` out of its queue. False if it is there no more. */
bool wg_ring_withdraw(struct wg_ring *ring, struct wg_queue *queue, uint64_t ticket);

/* How many works there are, with those in the inboxes. */
unsigned long wg_ring_count(const struct wg_ring *ring);

/* In the child of a fork: take the first queue out of the ring. Its tasks stay behind in the parent, and their memory. */
void wg_ring_forget(struct wg_ring *ring);

/* Without the lock: is any work queued? A guess. */
static inline bool wg_ring_waits(const struct wg_ring *ring) { return wg_load_relaxed32(&ring->queues) > 0; }

#endif
