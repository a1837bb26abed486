/* timer.c - deadlines into cancellations. */
#include "timer.h"

#include <stddef.h>

#include "context.h"
#include "deadline.h"
#include "mutex.h"
#include "os.h"

#define IDLE_TIME (5 * WG_SECOND)

static wg_mutex lock;
/* Guarded by the lock. */
static struct wg_timer *first; /* the root of the heap: the earliest deadline */
static bool thread_runs;
/* Counts the changes of `first` for which the thread must wake; changed under the lock, slept on without it. */
static wg_a32 changes;

static struct wg_timer *merge(struct wg_timer *a, struct wg_timer *b) {
    if (!a || !b)
        return a ? a : b;
    if (b->deadline < a->deadline) {
        struct wg_timer *t = a;
        a = b;
        b = t;
    }
    b->prev = a;
    b->next = a->child;
    if (b->next)
        b->next->prev = b;
    a->child = b;
    return a;
}

/* The children of one parent into one heap: by pairs from the left, then all together from the right. */
static struct wg_timer *merge_all(struct wg_timer *list) {
    struct wg_timer *pairs = NULL, *heap = NULL;
    while (list) {
        struct wg_timer *a = list, *b = a->next;
        list = b ? b->next : NULL;
        a->next = NULL;
        if (b)
            b->next = NULL;
        a = merge(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        struct wg_timer *a = pairs;
        pairs = a->next;
        a->next = NULL;
        heap = merge(heap, a);
    }
    if (heap)
        heap->prev = NULL;
    return heap;
}

static void heap_remove(struct wg_timer *t) {
    struct wg_timer *rest = merge_all(t->child);
    if (t == first) {
        first = rest;
    } else {
        if (t->prev->child == t)
            t->prev->child = t->next;
        else
            t->prev->next = t->next;
        if (t->next)
            t->next->prev = t->prev;
        first = merge(first, rest);
    }
    t->child = t->next = t->prev = NULL;
    t->queued = false;
}

/* The thread. */
struct keeper {
    bool begun;
    struct wg_timer *due; /* what it is ending, with a reference to its context; or NULL */
};

/* With the lock held, let go meanwhile. */
static void end_one(struct keeper *keeper) {
    wg_context *ctx = keeper->due->ctx;
    wg_mutex_unlock(&lock);
    wg_context_check(ctx);
    wg_mutex_lock(&lock);
}

/* With the lock held, let go meanwhile: what is left to be done for `due`. */
static void ended_one(struct keeper *keeper) {
    wg_context *ctx = keeper->due->ctx;
    if (keeper->due->queued)
        heap_remove(keeper->due); /* another thread ends it */
    keeper->due = NULL;
    wg_mutex_unlock(&lock);
    wg_context_release(ctx);
    wg_mutex_lock(&lock);
}

/* Called and returns with the lock held; lets go of it to end what is due. Until a context has ended it stays in the heap,
 * for the child of a fork. */
static void end_due(struct keeper *keeper) {
    while (first && first->deadline <= wg_now()) {
        if (!wg_context_try_retain(first->ctx)) {
            heap_remove(first); /* its last reference has just gone */
            continue;
        }
        keeper->due = first;
        end_one(keeper);
        ended_one(keeper);
    }
}

/* With the lock held, until there has been no deadline for a while. */
static void keep_deadlines(struct keeper *keeper) {
    for (;;) {
        end_due(keeper);
        uint32_t seen = wg_load_relaxed32(&changes);
        bool idle = first == NULL;
        /* Not beyond the idle time: the removal of the first deadline does not wake this thread. */
        int64_t until = wg_earlier(idle ? WG_FOREVER : first->deadline, wg_after(IDLE_TIME));
        wg_mutex_unlock(&lock);
        wg_parked parked = wg_park(&changes, seen, until, false);
        wg_mutex_lock(&lock);
        if (idle && !first && parked == WG_PARK_TIMEOUT)
            return;
    }
}

static bool have_thread(void);

/* See wg_finish: an observer may end the thread. Then another one goes on. */
static void keep(void *raw) {
    struct keeper *keeper = raw;
    bool thread_ended = keeper->begun;
    keeper->begun = true;
    wg_thread()->keeps_time = !thread_ended;
    wg_mutex_lock(&lock);
    if (!thread_ended)
        keep_deadlines(keeper);
    else if (keeper->due)
        ended_one(keeper);
    thread_runs = wg_thread()->keeps_time = false;
    if (thread_ended && first)
        have_thread();
    wg_mutex_unlock(&lock);
}

static void thread_main(void *unused) {
    struct keeper keeper = {.begun = false};
    (void)unused;
    wg_finish(keep, &keeper);
}

/* With the lock held: is there a thread, now? */
static bool have_thread(void) {
    if (!thread_runs)
        thread_runs = wg_start_thread("wg-timer", 0, thread_main, NULL);
    return thread_runs;
}

bool wg_timer_add(struct wg_timer *timer, wg_context *ctx, int64_t deadline) {
    wg_keep_self_loaded();
    wg_mutex_lock(&lock);
    *timer = (struct wg_timer){.ctx = ctx, .deadline = deadline, .queued = true};
    first = merge(first, timer);
    bool earliest = first == timer;
    bool kept = have_thread();
    if (!kept)
        heap_remove(timer);
    else if (earliest)
        wg_add_relaxed32(&changes, 1);
    wg_mutex_unlock(&lock);
    if (kept && earliest)
        wg_unpark_one(&changes);
    return kept;
}

void wg_timer_remove(struct wg_timer *timer) {
    wg_mutex_lock(&lock);
    if (timer->queued)
        heap_remove(timer);
    wg_mutex_unlock(&lock);
}

void wg_timer_lock(void) { wg_mutex_lock(&lock); }
void wg_timer_unlock(void) { wg_mutex_unlock(&lock); }

/* The thread itself may have forked, in an observer, and goes on. */
bool wg_timer_reset(void) {
    thread_runs = wg_thread()->keeps_time;
    return first && !thread_runs;
}

bool wg_timer_resume(void) {
    wg_mutex_lock(&lock);
    bool kept = !first || have_thread();
    wg_mutex_unlock(&lock);
    return kept;
}
