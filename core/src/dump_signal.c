/* dump_signal.c - a dump whenever a signal comes.
 *
 * The handler of the signal writes to a descriptor, and nothing else. A thread of ours sleeps on that and dumps: it needs no
 * lock that the program could hold for long, and no interpreter. In the child of a fork a dump is due until the thread has been
 * started there; see helper.h. */
#include <errno.h>

#include "waitgroup/inspect.h"

#include "helper.h"
#include "inspect.h"

wg_a32 wg_dump_signals; /* how many calls have asked for a signal */

static wg_a32 output; /* the descriptor to dump to */

static void dump(void) { (void)wg_dump((int)wg_load_relaxed32(&output)); }

static struct wg_helper dumper = {.name = "wg-dump", .serve = dump, .resumes = true};

static void on_signal(int signum) {
    int saved = errno;
    (void)signum;
    wg_helper_call(&dumper);
    errno = saved;
}

wg_status wg_dump_on_signal(int signum, int fd) {
    if (fd < 0 || !wg_signal_can_be_caught(signum))
        return WG_INVALID;
    wg_store_relaxed32(&output, (uint32_t)fd);
    wg_status status = wg_helper_prepare(&dumper);
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
