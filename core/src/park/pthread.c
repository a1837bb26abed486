/* pthread.c - sleeping by pthread mutex and condition, for systems without a futex: a table of buckets, each a mutex
 * and a list of the threads that sleep on some word of that bucket.
 *
 * A sleeper is a node on its own stack. The thread that wakes it unlinks and signals the node before it releases the
 * mutex of the bucket, so the node is not touched after its owner could have gone. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stddef.h>
#include <time.h>

#include "waitgroup/until.h"

#include "../os.h"
#include "../park.h"

const char wg_park_name[] = "pthread";

struct sleeper {
    const wg_a32 *word;
    bool woken;
    pthread_cond_t cond;
    struct sleeper *next;
};

struct bucket {
    pthread_mutex_t mutex;
    struct sleeper *sleepers;
};

/* clang-format off */
#define B4 {PTHREAD_MUTEX_INITIALIZER, NULL}, {PTHREAD_MUTEX_INITIALIZER, NULL}, \
           {PTHREAD_MUTEX_INITIALIZER, NULL}, {PTHREAD_MUTEX_INITIALIZER, NULL}
/* clang-format on */
#define B16 B4, B4, B4, B4
#define BUCKETS 64
static struct bucket buckets[BUCKETS] = {B16, B16, B16, B16};

/* A condition is not told of signals, so an interruptible sleep comes up this often to say that there may be one. */
#define SLICE (50 * WG_MILLISECOND)

static struct bucket *bucket_of(const wg_a32 *word) {
    return &buckets[((uintptr_t)word >> 4 ^ (uintptr_t)word >> 12) % BUCKETS];
}

static void unlink_sleeper(struct bucket *b, struct sleeper *s) {
    struct sleeper **link = &b->sleepers;
    while (*link != s)
        link = &(*link)->next;
    *link = s->next;
}

wg_parked wg_park(wg_a32 *word, uint32_t expected, int64_t deadline, bool interruptible) {
    bool bounded = deadline != WG_FOREVER && deadline != INT64_MAX;
    bool sliced = false;
    if (interruptible) {
        int64_t slice = wg_after(SLICE);
        sliced = !bounded || slice < deadline;
        if (sliced)
            deadline = slice;
    }
    struct timespec at = {(time_t)(deadline / WG_SECOND), (long)(deadline % WG_SECOND)};
    if (deadline < 0)
        at = (struct timespec){0, 0};

    struct sleeper me = {.word = word};
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&me.cond, &attr);
    pthread_condattr_destroy(&attr);

    struct bucket *b = bucket_of(word);
    int err = 0, cancel = wg_cancel_forbid();
    pthread_mutex_lock(&b->mutex);
    if (wg_load_acquire32(word) == expected) {
        me.next = b->sleepers;
        b->sleepers = &me;
        while (!me.woken && err == 0)
            err = bounded || sliced ? pthread_cond_timedwait(&me.cond, &b->mutex, &at)
                                    : pthread_cond_wait(&me.cond, &b->mutex);
        if (!me.woken)
            unlink_sleeper(b, &me);
        else
            err = 0;
    }
    pthread_mutex_unlock(&b->mutex);
    wg_cancel_allow(cancel);
    pthread_cond_destroy(&me.cond);
    if (err == 0)
        return WG_PARK_WOKEN;
    return sliced ? WG_PARK_INTERRUPTED : WG_PARK_TIMEOUT;
}

static void wake(const wg_a32 *word, bool all) {
    struct bucket *b = bucket_of(word);
    pthread_mutex_lock(&b->mutex);
    for (struct sleeper **link = &b->sleepers; *link;) {
        struct sleeper *s = *link;
        if (s->word != word) {
            link = &s->next;
            continue;
        }
        *link = s->next;
        s->woken = true;
        pthread_cond_signal(&s->cond);
        if (!all)
            break;
    }
    pthread_mutex_unlock(&b->mutex);
}

void wg_unpark_one(const wg_a32 *word) { wake(word, false); }
void wg_unpark_all(const wg_a32 *word) { wake(word, true); }

/* At a fork, other threads may be in a bucket. Its lists are of threads that the child does not have. */

static void before_fork(void) {
    for (int i = 0; i < BUCKETS; i++)
        pthread_mutex_lock(&buckets[i].mutex);
}

static void after_fork_in_parent(void) {
    for (int i = 0; i < BUCKETS; i++)
        pthread_mutex_unlock(&buckets[i].mutex);
}

static void after_fork_in_child(void) {
    for (int i = 0; i < BUCKETS; i++)
        buckets[i].sleepers = NULL;
    after_fork_in_parent();
}

/* With this priority it is registered before the handlers of fork.c. So it is called after they have taken the locks of
 * the core, and before they give them back: both may need the buckets. */
__attribute__((constructor(101))) static void listen(void) {
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}
