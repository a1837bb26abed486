/* pthread.c - sleeping by pthread mutex and condition, for systems without a futex: a table of buckets, each a mutex
 * and a list of the threads that sleep on some word of that bucket.
 *
 * A sleeper is a node on its own stack. The thread that wakes it unlinks and signals the node before it releases the
 * mutex of the bucket, so the node is not touched after its owner could have gone. */
#define _POSIX_C_SOURCE 200809L
#define _DARWIN_C_SOURCE /* pthread_cond_timedwait_relative_np */
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

static struct timespec as_timespec(int64_t time) {
    int64_t t = time < 0 ? 0 : time;
    return (struct timespec){(time_t)(t / WG_SECOND), (long)(t % WG_SECOND)};
}

#ifdef __APPLE__ /* its conditions know no clock other than that of the calendar, which may be set back: so by duration */
static void make_condition(pthread_cond_t *cond) { pthread_cond_init(cond, NULL); }

static int wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline) {
    struct timespec left = as_timespec(deadline - wg_now());
    return pthread_cond_timedwait_relative_np(cond, mutex, &left);
}
#else
static void make_condition(pthread_cond_t *cond) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

static int wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline) {
    struct timespec at = as_timespec(deadline);
    return pthread_cond_timedwait(cond, mutex, &at);
}
#endif

wg_parked wg_park(wg_a32 *word, uint32_t expected, int64_t deadline, bool interruptible) {
    bool bounded = deadline != WG_FOREVER && deadline != INT64_MAX;
    bool sliced = false;
    if (interruptible) {
        int64_t slice = wg_after(SLICE);
        sliced = !bounded || slice < deadline;
        if (sliced)
            deadline = slice;
    }
    struct sleeper me = {.word = word};
    make_condition(&me.cond);
    struct bucket *b = bucket_of(word);
    int err = 0, cancel = wg_cancel_forbid();
    pthread_mutex_lock(&b->mutex);
    if (wg_load_acquire32(word) == expected) {
        me.next = b->sleepers;
        b->sleepers = &me;
        while (!me.woken && err == 0)
            err =
                bounded || sliced ? wait_until(&me.cond, &b->mutex, deadline) : pthread_cond_wait(&me.cond, &b->mutex);
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

void wg_park_before_fork(void) {
    for (int i = 0; i < BUCKETS; i++)
        pthread_mutex_lock(&buckets[i].mutex);
}

void wg_park_after_fork(bool in_child) {
    for (int i = 0; i < BUCKETS; i++) {
        if (in_child)
            buckets[i].sleepers = NULL;
        pthread_mutex_unlock(&buckets[i].mutex);
    }
}
