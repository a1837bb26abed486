/* os.h - what else the core asks of the operating system: time, threads, the thread's own data, descriptors. */
#ifndef WG_OS_H
#define WG_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "waitgroup/until.h" /* wg_now */

#include "thread.h"

/* By what the system knows this thread: its number, which tools such as top show (0: there is none), and its handle, by
 * which debuggers and interpreters know it. */
struct wg_thread_id {
    int32_t number;
    uint64_t handle;
};
struct wg_thread_id wg_thread_id(void);

/* Does `p` lie on the stack of this thread? Where the system does not tell, nothing does. */
bool wg_on_stack(const void *p);

/* CPU time in nanoseconds: of the whole process, and of one thread, which other threads may ask for while it runs. */
#define WG_PROCESS_CLOCK INT32_MIN
int32_t wg_thread_clock(void);
int64_t wg_cpu_time(int32_t clock);

/* How many threads can run at once; asked for once. */
unsigned wg_cores(void);

/* One step of a busy loop. */
void wg_pause(void);

/* Pause before a compare-and-swap that failed is tried again: 64 pauses, then twice as many each time, up to 256.
 * Meanwhile the cache line stays with the other thread for many steps; without the pause the line would move for each
 * step. Measured with two threads in a loop, a pair of steps: 100 ns without, 61 with 16 pauses, 33 with 64, 27 with 128;
 * two atomic adds: 58. `last`: what the last call returned, 0 at first. */
unsigned wg_back_off(unsigned last);

/* The stack of a thread of ours. The system's own choice differs too much: 8 MiB, or what `ulimit -s` says, or 128 KiB on
 * musl, in which a runaway recursion of Lua code crashes before Lua notices it. 2 MiB is four times what the deepest C
 * recursion that Lua allows needs, and few enough for a thousand threads in 32 bits of addresses. It is reserved, not
 * used: a thread takes memory for the part that it has touched. */
#define WG_STACK_SIZE ((size_t)2 << 20)

/* The smallest that the system allows. */
size_t wg_smallest_stack(void);

/* Start a detached thread that runs `fn(arg)`, with a stack of `stack` bytes (0: WG_STACK_SIZE), shown by the system under
 * the first 15 bytes of `name`. Signals that other threads or processes send are blocked in it: they are for the program's
 * own threads. In the child of a fork in such a thread they are blocked no more: there is no other. False if there is no such
 * thread to be had. */
bool wg_start_thread(const char *name, size_t stack, void (*fn)(void *arg), void *arg);

/* Never unload the program or library that `code` is part of; a static program has nothing to unload. Not with a lock
 * held: it waits for the dynamic linker, which may be running a constructor that calls us. */
void wg_keep_loaded(void (*code)(void));

/* The same for the code of the core itself; costs a load after the first time. Before the start of any thread of ours. */
void wg_keep_self_loaded(void);

/* Finish work that calls code which may end the thread (pthread_exit, pthread_cancel). Calls `go_on(state)`. If the
 * thread ends inside `go_on`, calls it again, in the same thread: the frames of what it had called are gone from the
 * stack, those of its caller are still there. Then the thread goes on to end. So `go_on` must count each step in `state`
 * before it makes the step, and begin with the first that is not counted. A C++ exception cannot leave it: that ends the
 * program, by std::terminate.
 *
 * Only code that is not ours ends a thread: no call of ours is a point at which one is cancelled. */
void wg_finish(void (*go_on)(void *state), void *state);

/* Call a function of the program's where no wg_finish is around it: an exception cannot leave it either. */
void wg_call_out(void (*fn)(void *arg), void *arg);

/* A thread that was cancelled ends here. */
void wg_cancel_point(void);

/* No cancellation of this thread (pthread_cancel) in between: around what may be a point of cancellation, where the thread
 * must not end. They nest. */
int wg_cancel_forbid(void);
void wg_cancel_allow(int before);

/* Signals: can this one be caught; replace its handler, for the process; its number by its name, with or without SIG, or by
 * its digits, 0 if there is none. */
bool wg_signal_can_be_caught(int signum);
bool wg_catch_signal(int signum, void (*handler)(int signum));
int wg_signal_number(const char *name);

/* Call `fn()` when the process exits by exit(), or when the code of the core is unloaded. */
void wg_at_exit(void (*fn)(void));

/* What the environment says; NULL too in a program that runs with more rights than whoever started it. */
const char *wg_environment(const char *name);

/* A file that this process writes and no other: created, or emptied. The descriptor; WG_FILE_TAKEN: another process has opened
 * it so, and it is as it was; WG_FILE_NONE: it cannot be written. */
#define WG_FILE_TAKEN (-2)
#define WG_FILE_NONE (-1)
int wg_file_open(const char *path);
/* Write at the offset `at`. False: not all could be written. */
bool wg_file_write(int file, const char *bytes, size_t length, int64_t at);
void wg_file_cut(int file, int64_t length);
void wg_file_close(int file);

/* The number of the process; its name, and that of this thread, as the system knows them, cut to `size`. */
int32_t wg_process_id(void);
void wg_process_name(char *name, size_t size);
void wg_thread_name(char *name, size_t size);

/* Write to a descriptor of the program's. One that does not block, and takes nothing for a second, takes no more. False: not
 * all could be written. No such write, nor one to a file, sends a signal to the thread. */
bool wg_descriptor_write(int fd, const char *bytes, size_t length);

/* A descriptor that can be made readable. On an eventfd both are the same number. */
struct wg_signal {
    int readable, writable;
};
bool wg_signal_open(struct wg_signal *s);
void wg_signal_raise(const struct wg_signal *s);
void wg_signal_clear(const struct wg_signal *s);
/* Sleep until it is readable. */
void wg_signal_wait(const struct wg_signal *s);
void wg_signal_close(const struct wg_signal *s);

#endif
