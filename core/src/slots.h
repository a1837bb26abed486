/* slots.h - the slots of an error group: a fair semaphore that can be resized, whose deadlocks deadlock.c notices.
 *
 * The count of the wait group `tasks` says how many tasks are in: each has a slot, or is *stored*, queued ahead of the slots.
 * One word thus says both how many slots are in use and whether any task is unfinished; see count.h for the word. As long
 * as nobody waits, to take and to give back a slot is one step on that word.
 *
 * Whoever waits for a slot stands in one queue, in the order of coming: threads (in wg_errgroup_go) and observers
 * (coroutines, main programs that may not block). A slot is handed over to the first of them: the task that ends does not
 * count down, and nobody can take the slot in between.
 *
 * Invariants, under the lock of the bucket of `tasks`:
 *   - count - stored is the number of slots in use. Tasks are stored only while no slot is free.
 *   - While anybody waits or a task is stored, the word is gated: nobody can pass by, and each step down comes here.
 *   - The first in the queue waits only while there is no room for what it wants: a slot for an observer, a slot or a
 *     place ahead of the slots for a thread.
 *   - When all slots in use are held by tasks that can never go on (deadlock.h), no slot will ever be given back: one of those
 *     that wait gets WG_DEADLOCK.
 * `limit` is also read without the lock: the count is compared with it again under the lock before anybody waits. */
#ifndef WG_SLOTS_H
#define WG_SLOTS_H

#include "waitgroup/pool.h"

#include "count.h"
#include "list.h"
#include "waits.h"

struct wg_slots {
    wg_waitgroup tasks;
    wg_a32 limit;
    wg_a32 closed;         /* the outcome has been given: no more tasks are taken */
    wg_a32 spins;          /* how often the next thread looks before it sleeps: halved when that was in vain */
    int32_t ahead;         /* how many tasks may be stored */
    const wg_pool *pool;   /* of most tasks, borrowed: is it any use to look again and again? */
    wg_context *context;   /* borrowed; its end ends every wait for a slot */
    struct wg_link queue;  /* what waits: observers. Without a function: a thread's, inside a struct slot_sleeper */
    struct wg_link handed; /* observers that have their answer and are about to be called */
    struct wg_link stored;
    int32_t stored_count;
};

void wg_slots_init(struct wg_slots *slots, int32_t limit, int32_t ahead, const wg_pool *pool, wg_context *context);

int32_t wg_slots_limit(const struct wg_slots *slots);

static inline struct wg_wish wg_wish_for_slot(struct wg_slots *slots) {
    return (struct wg_wish){.what = WG_FOR_SLOT, .subject = &slots->tasks, .slots = slots};
}

/* Take a slot if one is free and nobody waits. WG_OK: *first tells whether no task was in. WG_LIMIT, WG_FINISHED,
 * WG_FORKED, WG_OVERFLOW. */
wg_status wg_slots_try(struct wg_slots *slots, bool *first);

/* Wait for a slot, or, if `ahead`, for a place ahead of the slots: then wg_slots_place() says which it is. Besides the
 * above: WG_DEADLOCK, WG_TIMEOUT, WG_CONTEXT_ENDED, WG_INTERRUPTED, or the status of the context of the slots. With WG_OK
 * that may have ended as well. */
wg_status wg_slots_wait(struct wg_slots *slots, const wg_until *until, bool ahead, bool *first);

/* The calls below move stored tasks, whose turn has come, to the list `ready`: the caller starts them. */

/* A task that is in is stored; it is ready at once if a slot is free. */
void wg_slots_place(struct wg_slots *slots, struct wg_link *task, struct wg_link *ready);

/* Give a slot back when nobody wants it: *last tells whether it was the last task. False: nothing changed, use the next. */
bool wg_slots_give_quickly(struct wg_slots *slots, bool *last);
/* Give a slot back, or hand it over. *last, false before, tells whether it was the last task; it is told before observers are
 * called, which may end the thread. The slots must live on meanwhile. */
void wg_slots_give(struct wg_slots *slots, struct wg_link *ready, bool *last);

void wg_slots_resize(struct wg_slots *slots, int32_t limit, struct wg_link *ready);

/* The context has ended: all stored tasks become ready, to be dropped, and the observers in the queue are called. */
void wg_slots_end(struct wg_slots *slots, struct wg_link *ready);

/* Call the function of the observer once, when a slot has been taken for it, or there will be none: observer->status_ says
 * which. `*first` as above. */
void wg_slots_observe(struct wg_slots *slots, wg_observer *observer, bool *first);
/* See observer.h. *give: the call was prevented after a slot had been taken for it, which the caller gives back. */
bool wg_slots_unobserve(struct wg_slots *slots, wg_observer *observer, bool sync, bool *give);

/* For deadlock.c; not with the lock held. Is there no room, and are just `tasks` slots in use? */
bool wg_slots_held_by(struct wg_slots *slots, unsigned tasks);

#endif
