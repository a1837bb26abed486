/* home.c - see home.h. */
#include "home.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "binding.h"

/* With one, the GIL would be idle from each hand-over until the next thread has woken. */
#define ASKERS 2

/* How long the end of an interpreter waits for threads that ask for its GIL already. Python turns them away by itself
 * within a switch interval, or has them sleep for ever. */
#define TURNED_AWAY (100 * WG_MILLISECOND)

/* How long a thread waits for another errand. */
#define IDLES (100 * WG_MILLISECOND)

struct home {
    pthread_mutex_t lock;      /* guards all below */
    unsigned long main_thread; /* constant; see home_new */
    unsigned refs;
    enum { HOME_OPEN, HOME_CLOSING, HOME_GONE } stage;
    pthread_t ender; /* once it is not open */
    unsigned due, askers;
    pthread_cond_t changed; /* `due` or `askers` has fallen, an errand has come, or it is not open any more */
    bool idles;             /* a thread waits for an errand, or is about to; */
    void *errand;           /* here it is, until that thread takes it */
    guest *first, *last;    /* the line */
    guest *guests, *ended;  /* `ended`: with a thread state to be deleted */
    home *next, **link;     /* among all homes; guarded by homes_lock, which is taken before the lock of a home */
};

static pthread_mutex_t homes_lock = PTHREAD_MUTEX_INITIALIZER;
static home *homes;
static pthread_key_t ends; /* its destructor is told of a thread's end */
static _Thread_local guest *mine;

/* --- guests --- */

static void guest_link(guest *g, guest **list) {
    g->next = *list;
    g->link = list;
    if (g->next)
        g->next->link = &g->next;
    *list = g;
}

static void guest_unlink(guest *g) {
    *g->link = g->next;
    if (g->next)
        g->next->link = g->link;
}

static void guest_free(guest *g) {
    pthread_cond_destroy(&g->turn);
    free(g);
}

/* With the lock held. */
static void count_off(home *h, unsigned n) {
    h->due -= n;
    pthread_cond_broadcast(&h->changed);
}

/* With the lock held: one asker less, or the next in its place. */
static void pass_on(home *h) {
    guest *next = h->first;
    if (!next) {
        h->askers--;
        pthread_cond_broadcast(&h->changed);
        return;
    }
    h->first = next->behind;
    next->may_ask = true;
    pthread_cond_signal(&next->turn);
}

/* Its thread ends, perhaps because Python has ended it while it asked for the GIL. */
static void guest_ends(guest *g) {
    home *h = g->home;
    pthread_mutex_lock(&h->lock);
    if (g->asks)
        pass_on(h);
    guest_unlink(g);
    bool keep = g->state && h->stage != HOME_GONE;
    if (keep)
        guest_link(g, &h->ended);
    count_off(h, g->due);
    pthread_mutex_unlock(&h->lock);
    if (!keep) {
        guest_free(g);
        home_release(h);
    }
}

static void thread_ends(void *Py_UNUSED(unused)) {
    while (mine) {
        guest *g = mine;
        mine = g->of_thread;
        guest_ends(g);
    }
}

static guest *guest_new(home *h) {
    guest *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    if (pthread_setspecific(ends, &ends) != 0) {
        free(g);
        return NULL;
    }
    pthread_cond_init(&g->turn, NULL);
    g->home = home_retain(h);
    g->handles_signals = PyThread_get_thread_native_id() == h->main_thread;
    g->of_thread = mine;
    mine = g;
    pthread_mutex_lock(&h->lock);
    guest_link(g, &h->guests);
    pthread_mutex_unlock(&h->lock);
    return g;
}

guest *home_guest(home *h) {
    for (guest *g = mine; g; g = g->of_thread)
        if (g->home == h)
            return g;
    return guest_new(h);
}

/* --- threads that are due --- */

bool home_expect(home *h) {
    pthread_mutex_lock(&h->lock);
    bool open = h->stage == HOME_OPEN;
    if (open)
        h->due++;
    pthread_mutex_unlock(&h->lock);
    return open;
}

void home_unexpect(home *h) {
    pthread_mutex_lock(&h->lock);
    count_off(h, 1);
    pthread_mutex_unlock(&h->lock);
}

void home_arrive(guest *me) {
    pthread_mutex_lock(&me->home->lock);
    me->due++;
    pthread_mutex_unlock(&me->home->lock);
}

bool home_enter(guest *me) {
    if (!home_expect(me->home))
        return false;
    home_arrive(me);
    return true;
}

void home_leave(guest *me) {
    pthread_mutex_lock(&me->home->lock);
    me->due--;
    count_off(me->home, 1);
    pthread_mutex_unlock(&me->home->lock);
}

/* --- the line --- */

static _Noreturn void sleep_for_ever(void) {
    for (;;)
        pause();
}

/* With the lock held, in a thread that may have to stand in line. */
static void wait_for_turn(home *h, guest *me) {
    me->behind = NULL;
    me->may_ask = false;
    if (h->first)
        h->last->behind = me;
    else
        h->first = me;
    h->last = me;
    while (!me->may_ask)
        pthread_cond_wait(&me->turn, &h->lock);
}

static bool ends_it(const home *h) { return h->stage != HOME_OPEN && pthread_equal(h->ender, pthread_self()); }

void home_line_up(guest *me) {
    home *h = me->home;
    pthread_mutex_lock(&h->lock);
#ifndef Py_GIL_DISABLED
    if (!me->handles_signals && !ends_it(h)) {
        if (h->askers >= ASKERS)
            wait_for_turn(h, me);
        else
            h->askers++;
        me->asks = true;
    }
#else
    (void)wait_for_turn;
#endif
    bool gone = h->stage == HOME_GONE && !ends_it(h);
    pthread_mutex_unlock(&h->lock);
    if (gone)
        sleep_for_ever();
}

void home_move_up(guest *me) {
    if (!me->asks) /* which only this thread sets */
        return;
    pthread_mutex_lock(&me->home->lock);
    me->asks = false;
    pass_on(me->home);
    pthread_mutex_unlock(&me->home->lock);
}

/* --- the end --- */

void home_close(home *h) {
    pthread_mutex_lock(&h->lock);
    h->stage = HOME_CLOSING;
    h->ender = pthread_self();
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

bool home_is_closing(home *h) {
    pthread_mutex_lock(&h->lock);
    bool closing = h->stage != HOME_OPEN;
    pthread_mutex_unlock(&h->lock);
    return closing;
}

static struct timespec time_after(int64_t patience) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t nanoseconds = now.tv_nsec + patience;
    now.tv_sec += (time_t)(nanoseconds / WG_SECOND);
    now.tv_nsec = (long)(nanoseconds % WG_SECOND);
    return now;
}

/* With the lock held: wait until *count is at most `n`. */
static void wait_for_fall(home *h, const unsigned *count, unsigned n, int64_t patience) {
    struct timespec end = time_after(patience);
    int result = 0;
    while (*count > n && result != ETIMEDOUT)
        result =
            patience ? pthread_cond_timedwait(&h->changed, &h->lock, &end) : pthread_cond_wait(&h->changed, &h->lock);
}

/* --- errands --- */

bool home_offer(home *h) {
    pthread_mutex_lock(&h->lock);
    bool first = !h->idles && h->stage == HOME_OPEN;
    if (first)
        h->idles = true;
    pthread_mutex_unlock(&h->lock);
    return first;
}

void *home_next_errand(home *h) {
    struct timespec end = time_after(IDLES);
    int result = 0;
    pthread_mutex_lock(&h->lock);
    while (!h->errand && h->stage == HOME_OPEN && result != ETIMEDOUT)
        result = pthread_cond_timedwait(&h->changed, &h->lock, &end);
    void *errand = h->errand;
    h->errand = NULL;
    h->idles = false;
    pthread_mutex_unlock(&h->lock);
    return errand;
}

bool home_hand_errand(home *h, void *errand) {
    pthread_mutex_lock(&h->lock);
    bool waits = h->idles && !h->errand && h->stage == HOME_OPEN;
    if (waits) {
        h->errand = errand;
        pthread_cond_broadcast(&h->changed);
    }
    pthread_mutex_unlock(&h->lock);
    return waits;
}

void home_wait_until_alone(home *h, int64_t patience) {
    unsigned own = 0;
    for (guest *g = mine; g; g = g->of_thread)
        if (g->home == h)
            own = g->due;
    pthread_mutex_lock(&h->lock);
    wait_for_fall(h, &h->due, own, patience);
    pthread_mutex_unlock(&h->lock);
}

static guest *take_ended(home *h) {
    pthread_mutex_lock(&h->lock);
    guest *g = h->ended;
    if (g)
        guest_unlink(g);
    pthread_mutex_unlock(&h->lock);
    return g;
}

void home_delete_states(home *h) {
    guest *g;
    while ((g = take_ended(h))) {
        PyThreadState_Clear(g->state);
        PyThreadState_Delete(g->state);
        guest_free(g);
        home_release(h);
    }
}

void home_is_gone(home *h) {
    pthread_mutex_lock(&h->lock);
    if (h->stage == HOME_OPEN)
        h->ender = pthread_self();
    h->stage = HOME_GONE;
    wait_for_fall(h, &h->askers, 0, TURNED_AWAY);
    guest *ended = h->ended; /* Python has their states */
    h->ended = NULL;
    pthread_mutex_unlock(&h->lock);
    for (guest *next; ended; ended = next) {
        next = ended->next;
        guest_free(ended);
        home_release(h);
    }
}

/* --- fork --- */

static void before_fork(void) {
    pthread_mutex_lock(&homes_lock);
    for (home *h = homes; h; h = h->next)
        pthread_mutex_lock(&h->lock);
    guards_take_all();
}

static void after_fork_in_parent(void) {
    guards_give_all();
    for (home *h = homes; h; h = h->next)
        pthread_mutex_unlock(&h->lock);
    pthread_mutex_unlock(&homes_lock);
}

static void init_changed(home *h) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&h->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

static bool is_mine(const guest *g) {
    for (guest *m = mine; m; m = m->of_thread)
        if (m == g)
            return true;
    return false;
}

/* Its condition variable may have waiters that the child does not have, and so cannot be destroyed. */
static void forget(home *h, guest *g) {
    guest_unlink(g);
    h->refs--;
    free(g);
}

/* Forget all guests except that of this thread, which is the main one now. */
static void reset(home *h) {
    h->main_thread = PyThread_get_thread_native_id();
    h->due = h->askers = 0;
    h->first = NULL;
    h->idles = false;
    h->errand = NULL;
    init_changed(h);
    for (guest *g = h->guests, *next; g; g = next) {
        next = g->next;
        if (is_mine(g)) {
            h->due += g->due;
            h->askers += g->asks;
        } else {
            forget(h, g);
        }
    }
    while (h->ended)
        forget(h, h->ended);
}

static void after_fork_in_child(void) {
    PyThreadState *current = PyThreadState_GetUnchecked(); /* as in every thread that os.fork() is called from */
    for (guest *g = mine; g; g = g->of_thread) {
        g->handles_signals = true;
        if (g->state != current)
            g->state = NULL; /* Python deletes all thread states except the current one */
    }
    for (home *h = homes; h; h = h->next)
        reset(h);
    after_fork_in_parent();
}

/* --- homes --- */

static int prepared; /* 0, or an errno */

static void prepare(void) {
    prepared = pthread_key_create(&ends, thread_ends);
    if (!prepared)
        prepared = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

home *home_new(unsigned long main_thread) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare);
    home *h = prepared ? NULL : calloc(1, sizeof *h);
    if (!h)
        return NULL;
    pthread_mutex_init(&h->lock, NULL);
    init_changed(h);
    h->main_thread = main_thread;
    h->refs = 1;
    pthread_mutex_lock(&homes_lock);
    h->next = homes;
    h->link = &homes;
    if (h->next)
        h->next->link = &h->next;
    homes = h;
    pthread_mutex_unlock(&homes_lock);
    return h;
}

home *home_retain(home *h) {
    pthread_mutex_lock(&h->lock);
    h->refs++;
    pthread_mutex_unlock(&h->lock);
    return h;
}

void home_release(home *h) {
    if (!h)
        return;
    pthread_mutex_lock(&homes_lock);
    pthread_mutex_lock(&h->lock);
    bool last = --h->refs == 0;
    pthread_mutex_unlock(&h->lock);
    if (last) {
        *h->link = h->next;
        if (h->next)
            h->next->link = h->link;
    }
    pthread_mutex_unlock(&homes_lock);
    if (!last)
        return;
    pthread_mutex_destroy(&h->lock);
    pthread_cond_destroy(&h->changed);
    free(h);
}
