/* dump_signal.c - a dump whenever a signal comes.
 *
 * The handler of the signal writes to a descriptor, and nothing else. A thread of ours sleeps on that and dumps: it needs no
 * lock that the program could hold for long, and no interpreter. A child of a fork has no such thread, and must not write
 * to a descriptor that it shares with its parent: the handler only notes that a dump is due, until wg_dump_resume has started
 * a thread there. */
#include <errno.h>

#include "waitgroup/inspect.h"

#include "fork.h"
#include "inspect.h"
#include "mutex.h"
#include "os.h"

wg_a32 wg_dump_signals; /* how many calls have asked for a signal */

static wg_mutex lock; /* over the start of the thread */
static struct wg_signal due;
static wg_a32 output; /* the descriptor to dump to */
static wg_a32
    prepared;         /* one more than the epoch of the process in which the thread and `due` are; 0: there are none */
static wg_a32 wanted; /* a signal came in a process without them */

static bool is_prepared(void) { return wg_load_acquire32(&prepared) == wg_fork_epoch() + 1; }

static void on_signal(int signum) {
    int saved = errno;
    (void)signum;
    if (is_prepared())
        wg_signal_raise(&due);
    else
        wg_store_relaxed32(&wanted, 1);
    errno = saved;
}

static void thread_main(void *unused) {
    (void)unused;
    for (;;) {
        wg_signal_wait(&due);
        wg_signal_clear(&due);
        (void)wg_dump((int)wg_load_relaxed32(&output));
    }
}

/* With the lock held. */
static wg_status prepare(void) {
    struct wg_signal fresh;
    if (is_prepared())
        return WG_OK;
    if (!wg_signal_open(&fresh))
        return WG_NO_FD;
    if (wg_load_relaxed32(&prepared))
        wg_signal_close(&due); /* the parent's */
    wg_store_relaxed32(&prepared, 0);
    due = fresh;
    if (!wg_start_thread("wg-dump", 0, thread_main, NULL)) {
        wg_signal_close(&fresh);
        return WG_NO_THREADS;
    }
    wg_store_release32(&prepared, wg_fork_epoch() + 1);
    if (wg_swap_acquire32(&wanted, 0))
        wg_signal_raise(&due);
    return WG_OK;
}

static wg_status prepare_alone(void) {
    wg_mutex_lock(&lock);
    wg_status status = prepare();
    wg_mutex_unlock(&lock);
    return status;
}

void wg_dump_lock(void) { wg_mutex_lock(&lock); }
void wg_dump_unlock(void) { wg_mutex_unlock(&lock); }

bool wg_dump_resume(void) { return !wg_dump_is_asked_for() || prepare_alone() == WG_OK; }

wg_status wg_dump_on_signal(int signum, int fd) {
    if (fd < 0 || !wg_signal_can_be_caught(signum))
        return WG_INVALID;
    wg_keep_self_loaded();
    wg_store_relaxed32(&output, (uint32_t)fd);
    wg_status status = prepare_alone();
    if (status != WG_OK)
        return status;
    if (!wg_catch_signal(signum, on_signal))
        return WG_INVALID;
    wg_add_relaxed32(&wg_dump_signals, 1);
    return WG_OK;
}

/* For programs that one cannot change. */
__attribute__((constructor)) static void read_environment(void) {
    const char *name = wg_environment("WAITGROUP_DUMP");
    if (name && name[0])
        (void)wg_dump_on_signal(wg_signal_number(name), 2);
}
