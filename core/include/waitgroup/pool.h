/* pool.h - threads that run tasks: kept for reuse, added only when needed, gone after a few idle seconds.
 *
 * Most programs never name a pool: NULL stands for the one of the process, which starts its own threads. A language
 * binding makes a pool of its own to host the threads itself: it says how to start one, and each one it starts runs
 * wg_pool_work. Any number of tasks may block on each other; the pool notices that cores are idle while tasks are queued,
 * and adds threads.
 *
 * Threads that end. A task may end its thread: by pthread_exit, or because it is cancelled (pthread_cancel). It has then
 * failed, with wg_error_thread_ended() as its error; `settled`, `ended` and `destroy` are called, and it counts as done.
 * The same holds for the tasks further out on the stack, which wait for it. A worker leaves the pool, and another is
 * started where one is needed. A thread of the program's own may run tasks inside wg_errgroup_wait: it ends too, without
 * returning from that call. `settled`, `ended`, `destroy`, destructors of errors and observers may end the thread as well:
 * what was still to be done for the task is done. The functions of a host must return.
 * No call of the library is a point of cancellation, nor is an observer called in one: a thread that was cancelled in a
 * wait ends after it. A cancelled worker ends after its task, at the latest.
 * Signals. In threads that the library starts those signals are blocked that other threads or processes can send: they come to
 * the program's own threads. A child that a task forks has the mask of the thread that had the first worker started. A program
 * that a task starts in another way, by posix_spawn say, is born with these signals blocked unless it is given a mask
 * (posix_spawnattr_setsigmask).
 * A C++ exception that leaves a task, or another function that the library calls, ends the program by std::terminate,
 * where it is thrown: it cannot pass through C. Nor may longjmp. */
#ifndef WAITGROUP_POOL_H
#define WAITGROUP_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wg_pool wg_pool;

/* How the threads of a pool are hosted. A zeroed field asks for nothing special. All functions are called without any lock
 * of the library, and must return. */
typedef struct wg_pool_host {
    /* Start a thread that calls wg_pool_work(pool) once; false if none can be had. Called from any thread that submits or
     * works, and from any that waits for whatever, to try again for a thread that could not be had. The pool lives until
     * wg_pool_work returns. NULL: the library starts its own. */
    bool (*start)(void *data, wg_pool *pool);
    /* Called by a worker before it sleeps for want of work or of a core, and before it works again or leaves; it may sleep
     * several times between the two. Where a binding lets go of its interpreter and takes it again. Either may be NULL. */
    void (*before_sleep)(void *data);
    void (*after_sleep)(void *data);
    /* Called once by each worker, awake, as the last thing that it does for the pool; also when its thread ends inside a
     * task. Where a binding gives up what it keeps for the thread. NULL: nothing. */
    void (*leave)(void *data);
    void *data;
    const char
        *name; /* of threads that the library starts, copied: the system shows its first 15 bytes; NULL: "waitgroup" */
    size_t
        stack_size; /* of threads that the library starts, in bytes; 0: 2 MiB, of which a thread uses what it touches */
    unsigned cores; /* how many tasks can compute at once; 0: the cores of the machine; 1 under an interpreter lock */
    int64_t idle_time;   /* nanoseconds after which an idle worker leaves; 0: five seconds */
    bool own_tasks_only; /* true: for tasks that name the pool, see task.h. A task that names none, of a group made with
                            this pool, runs in the pool of the process: so C functions do not run where a language is
                            attached to its interpreter */
    bool callers_help; /* true, as for the pool of the process: a thread in an unbounded wg_errgroup_wait may itself run
                           tasks of that group that have not started */
} wg_pool_host;

/* A new pool with one reference, the caller's; groups and workers refer to it too. `host` is copied; its `data` must
 * stay valid until the last wg_pool_work has returned, or the last `leave`. The code of the functions is never unloaded.
 * WG_OK; WG_NO_MEMORY; WG_INVALID: an argument is NULL, idle_time negative, or stack_size less than the system allows. */
WG_API wg_status wg_pool_new(wg_pool **out, const wg_pool_host *host);
WG_API wg_pool *wg_pool_retain(wg_pool *pool);
WG_API void wg_pool_release(wg_pool *pool);

/* Work in this thread until idle for the pool's idle time or until the pool is stopped. Only for a thread that the
 * host's `start` was asked for; if the thread dies before it can call this, the host calls wg_pool_work_failed. */
WG_API void wg_pool_work(wg_pool *pool);
WG_API void wg_pool_work_failed(wg_pool *pool);

/* Take no more tasks: tasks that have not started never will (they count as done, their arguments are destroyed in
 * this call), idle workers leave at once and others after the task they run. Does not wait for them. */
WG_API void wg_pool_stop(wg_pool *pool);

/* How many threads the pool has now, and how many tasks are queued that none has taken yet. NULL: the process's. */
WG_API unsigned wg_pool_workers(wg_pool *pool);
WG_API unsigned wg_pool_queued(wg_pool *pool);

#ifdef __cplusplus
}
#endif
#endif
