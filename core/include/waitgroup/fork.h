/* fork.h - which process this is.
 *
 * In the child of a fork only the thread that forked exists. Idle objects work there as in the parent, and the pools start
 * their threads afresh. What was in flight stays in the parent: to wait for it is WG_FORKED, not a hang. A context ends at
 * its deadline and calls its observers, except those whose memory has gone; see context.h and observer.h. A program may
 * fork anywhere, in a task, an observer or a host's hook too, except in a signal handler. Handlers of pthread_atfork may call the
 * library if they were set after it was loaded; in a static program, those of constructors too. */
#ifndef WAITGROUP_FORK_H
#define WAITGROUP_FORK_H

#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 0 in a process in which nobody has forked since it loaded the library; in the child of a fork one more than in the
 * parent, modulo 2^31. Whoever keeps something that is good for one process only, such as a descriptor, notes the number
 * beside it, and compares. As fast as a load; any thread, and in a signal handler too. */
WG_API uint32_t wg_fork_epoch(void);

#ifdef __cplusplus
}
#endif
#endif
