/* helper.c - see helper.h. */
#include "helper.h"

#include "fork.h"
#include "mutex.h"

static wg_mutex lock; /* over the start of all helpers */
static struct wg_helper *helpers;

#define CALLED UINT64_C(1)

/* What stands for this process. */
static uint32_t here(void) { return wg_fork_epoch() + 1; }

bool wg_helper_is_prepared(struct wg_helper *helper) { return wg_load_acquire64(&helper->state) >> 1 == here(); }

/* Clear some bits of the state and set others; returns what it was. */
static uint64_t change(struct wg_helper *helper, uint64_t clear, uint64_t set) {
    uint64_t state = wg_load_relaxed64(&helper->state);
    while (!wg_cas_acq_rel64(&helper->state, &state, (state & ~clear) | set)) {}
    return state;
}

void wg_helper_call(struct wg_helper *helper) {
    if (change(helper, 0, CALLED) >> 1 == here())
        wg_signal_raise(&helper->due);
}

/* The thread of a helper; on its stack. */
struct server {
    struct wg_helper *helper;
    bool begun;
    uint32_t epoch;
};

/* See wg_finish: what it serves may end the thread, and leave some of what is due. Or it forks: then the child starts a thread
 * when one is wanted, as for any fork. */
static void serve(void *raw) {
    struct server *server = raw;
    struct wg_helper *helper = server->helper;
    if (server->begun) {
        change(helper, ~CALLED, CALLED);
        (void)wg_helper_prepare(helper);
        return;
    }
    server->begun = true;
    while (server->epoch == wg_fork_epoch()) {
        wg_signal_wait(&helper->due);
        wg_signal_clear(&helper->due);
        change(helper, CALLED, 0);
        helper->serve();
    }
}

static void thread_main(void *helper) {
    struct server server = {.helper = helper, .epoch = wg_fork_epoch()};
    wg_finish(serve, &server);
}

/* The next three with the lock held. */

/* The descriptor of a parent is left alone: there it may be in use. */
static bool have_signal(struct wg_helper *helper) {
    struct wg_signal fresh;
    if (helper->made == here())
        return true;
    if (!wg_signal_open(&fresh))
        return false;
    if (helper->made)
        wg_signal_close(&helper->due);
    helper->due = fresh;
    helper->made = here();
    return true;
}

static void enlist(struct wg_helper *helper) {
    struct wg_helper *known = helpers;
    while (known && known != helper)
        known = known->next;
    if (known)
        return;
    helper->next = helpers;
    helpers = helper;
}

static wg_status prepare(struct wg_helper *helper) {
    if (wg_helper_is_prepared(helper))
        return WG_OK;
    if (!have_signal(helper))
        return WG_NO_FD;
    if (!wg_start_thread(helper->name, 0, thread_main, helper))
        return WG_NO_THREADS;
    enlist(helper);
    if (change(helper, ~CALLED, (uint64_t)here() << 1) & CALLED)
        wg_signal_raise(&helper->due);
    return WG_OK;
}

wg_status wg_helper_prepare(struct wg_helper *helper) {
    wg_keep_self_loaded();
    wg_mutex_lock(&lock);
    wg_status status = prepare(helper);
    wg_mutex_unlock(&lock);
    return status;
}

/* Fork. */

static bool lacks(struct wg_helper *helper) { return helper->resumes && !wg_helper_is_prepared(helper); }

bool wg_helpers_lack(void) {
    bool lack = false;
    for (struct wg_helper *helper = helpers; helper; helper = helper->next)
        lack |= lacks(helper);
    return lack;
}

bool wg_helpers_resume(void) {
    bool resumed = true;
    wg_mutex_lock(&lock);
    for (struct wg_helper *helper = helpers; helper; helper = helper->next)
        if (lacks(helper))
            resumed &= prepare(helper) == WG_OK;
    wg_mutex_unlock(&lock);
    return resumed;
}

void wg_helpers_lock(void) { wg_mutex_lock(&lock); }
void wg_helpers_unlock(void) { wg_mutex_unlock(&lock); }
