/* os_posix.c - os.h on POSIX systems. */
#define _GNU_SOURCE /* sched_getaffinity and dladdr, where there are such */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>
#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif
#ifdef __APPLE__
#include <mach/mach.h>
#endif

#include "atomics.h"
#include "fork.h"
#include "os.h"
#include "park.h"

/* Where frames are described by DWARF, whose description of a frame can name a function of ours. */
#if defined(__GCC_HAVE_DWARF2_CFI_ASM) && defined(__ELF__) && !defined(__arm__)
#define CAN_BAR_EXCEPTIONS
#endif

static int64_t nanoseconds(clockid_t clock) {
    struct timespec t = {0, 0}; /* of a clock that is gone: no time */
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * WG_SECOND + t.tv_nsec;
}

int64_t wg_now(void) { return nanoseconds(CLOCK_MONOTONIC); }

#ifdef __APPLE__ /* a thread's clock is its port */
int32_t wg_thread_clock(void) { return (int32_t)pthread_mach_thread_np(pthread_self()); }

static int64_t of_thread(int32_t clock) {
    thread_basic_info_data_t info;
    mach_msg_type_number_t size = THREAD_BASIC_INFO_COUNT;
    if (thread_info((thread_act_t)clock, THREAD_BASIC_INFO, (thread_info_t)&info, &size) != KERN_SUCCESS)
        return 0;
    return (info.user_time.seconds + info.system_time.seconds) * WG_SECOND +
           (info.user_time.microseconds + info.system_time.microseconds) * INT64_C(1000);
}
#else
int32_t wg_thread_clock(void) {
    clockid_t clock;
    return pthread_getcpuclockid(pthread_self(), &clock) == 0 ? (int32_t)clock : WG_PROCESS_CLOCK;
}

static int64_t of_thread(int32_t clock) { return nanoseconds((clockid_t)clock); }
#endif

int64_t wg_cpu_time(int32_t clock) {
    return clock == WG_PROCESS_CLOCK ? nanoseconds(CLOCK_PROCESS_CPUTIME_ID) : of_thread(clock);
}

static unsigned count_cores(void) {
#ifdef __linux__ /* a container or taskset may allow fewer than are online */
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        return (unsigned)CPU_COUNT(&allowed);
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}

unsigned wg_cores(void) {
    static wg_a32 known;
    uint32_t cores = wg_load_relaxed32(&known);
    if (!cores)
        wg_store_relaxed32(&known, cores = count_cores());
    return cores;
}

static int32_t thread_number(void) {
#ifdef __linux__
    return (int32_t)syscall(SYS_gettid);
#elif defined(__APPLE__)
    uint64_t number;
    return pthread_threadid_np(NULL, &number) == 0 && number <= INT32_MAX ? (int32_t)number : 0;
#else
    return 0;
#endif
}

/* Asked for once: in the child of a fork the thread has another number. */
struct wg_thread_id wg_thread_id(void) {
    static _Thread_local struct wg_thread_id id;
    static _Thread_local uint32_t epoch;
    if (!id.handle || epoch != wg_fork_epoch())
        id = (struct wg_thread_id){thread_number(), (uint64_t)(uintptr_t)pthread_self()};
    epoch = wg_fork_epoch();
    return id;
}

/* The locks of the core may need to sleep and to wake: so that stops last, and goes on first. */
static void before_fork(void) {
    wg_before_fork();
    wg_park_before_fork();
}

static void after_fork_in_parent(void) {
    wg_park_after_fork(false);
    wg_after_fork_in_parent();
}

/* The signals that were blocked in the thread of the program's that had this one started, if that is so. */
static _Thread_local struct {
    bool known;
    sigset_t mask;
} of_maker;

static void after_fork_in_child(void) {
    wg_park_after_fork(true);
    wg_after_fork_in_child();
    if (of_maker.known)
        pthread_sigmask(SIG_SETMASK, &of_maker.mask, NULL);
    of_maker.known = false;
}

/* Handlers that the program sets before this call would find the locks held: so this comes before the constructors of the
 * program that the library is part of. */
__attribute__((constructor(101))) static void hear_of_forks(void) {
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* Of the main thread's stack, musl tells only the part that has been touched so far. */
#if defined(__linux__) && !defined(__GLIBC__)
#define GROWS true
#else
#define GROWS false
#endif

static void find_stack(uintptr_t stack[2]) {
#if defined(__linux__)
    pthread_attr_t attributes;
    void *lowest;
    size_t size;
    int saved = errno, failed = pthread_getattr_np(pthread_self(), &attributes);
    errno = saved;
    if (failed)
        return;
    if (pthread_attr_getstack(&attributes, &lowest, &size) == 0) {
        stack[0] = (uintptr_t)lowest;
        stack[1] = stack[0] + size;
    }
    pthread_attr_destroy(&attributes);
#elif defined(__APPLE__)
    stack[1] = (uintptr_t)pthread_get_stackaddr_np(pthread_self());
    stack[0] = stack[1] - pthread_get_stacksize_np(pthread_self());
#else
    (void)stack;
#endif
}

bool wg_on_stack(const void *p) {
    uintptr_t *stack = wg_thread()->stack, at = (uintptr_t)p;
    if (at < (uintptr_t)__builtin_frame_address(0)) /* stacks grow downwards: most of the heap need not ask for more */
        return false;
    if (!stack[1] || (GROWS && at < stack[0]))
        find_stack(stack);
    return at >= stack[0] && at < stack[1];
}

/* Threads. */

struct start {
    void (*fn)(void *arg);
    void *arg;
    char name[16]; /* the longest that the system takes */
    sigset_t of_maker;
};

static void *run(void *raw) {
    struct start start = *(struct start *)raw;
    free(raw);
    of_maker.mask = start.of_maker;
    of_maker.known = true;
#ifdef __linux__
    prctl(PR_SET_NAME, start.name);
#elif defined(__APPLE__)
    pthread_setname_np(start.name);
#endif
    start.fn(start.arg);
    return NULL;
}

/* Block what can be sent from outside. The others tell of a fault in the thread itself: blocked, they would kill the
 * process without the handler that was to report them. */
static void block_signals(sigset_t *before) {
    static const int of_faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t set;
    sigfillset(&set);
    for (size_t i = 0; i < sizeof of_faults / sizeof *of_faults; i++)
        sigdelset(&set, of_faults[i]);
    pthread_sigmask(SIG_SETMASK, &set, before);
}

static bool create(size_t stack, struct start *start) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t before;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    bool created = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
                   pthread_attr_setstacksize(&attributes, stack) == 0;
    if (created) {
        block_signals(&before); /* the new thread inherits the mask */
        start->of_maker = of_maker.known ? of_maker.mask : before;
        created = pthread_create(&thread, &attributes, run, start) == 0;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_attr_destroy(&attributes);
    return created;
}

bool wg_start_thread(const char *name, size_t stack, void (*fn)(void *arg), void *arg) {
    struct start *start = malloc(sizeof *start);
    if (!start)
        return false;
    *start = (struct start){.fn = fn, .arg = arg};
    strncpy(start->name, name, sizeof start->name - 1);
    bool started = create(stack ? stack : WG_STACK_SIZE, start);
    if (!started)
        free(start);
    return started;
}

size_t wg_smallest_stack(void) {
    long size = sysconf(_SC_THREAD_STACK_MIN);
    return size > 0 ? (size_t)size : 0;
}

/* Unloading. */

/* A static program has no dynamic linker, and must not get one by our asking for it. A weak reference to dlopen would not
 * do: where something else of the C library brings it along, the static linker warns of it. */
#pragma weak dladdr
#pragma weak dlsym

void wg_keep_loaded(void (*code)(void)) {
    typedef void *open_fn(const char *file, int mode);
    Dl_info info;
    int saved = errno;
    if (dladdr && dlsym && dladdr((void *)(uintptr_t)code, &info) && info.dli_fname) {
        open_fn *open = (open_fn *)(uintptr_t)dlsym(RTLD_DEFAULT, "dlopen");
        if (open)
            open(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
    }
    errno = saved;
}

void wg_keep_self_loaded(void) {
    static wg_a32 kept;
    if (wg_load_relaxed32(&kept))
        return;
    wg_keep_loaded(wg_keep_self_loaded);
    wg_store_relaxed32(&kept, 1);
}

/* The end of a thread inside a call. */

/* What the unwinder asks about a frame that an exception would leave: the search for a handler ends here without one, and
 * so `throw` calls std::terminate. A thread that ends passes. */
#ifdef CAN_BAR_EXCEPTIONS
__attribute__((visibility("hidden"), used)) _Unwind_Reason_Code wg_bar_exceptions(int version, _Unwind_Action actions,
                                                                                  _Unwind_Exception_Class class,
                                                                                  struct _Unwind_Exception *exception,
                                                                                  struct _Unwind_Context *context);
_Unwind_Reason_Code wg_bar_exceptions(int version, _Unwind_Action actions, _Unwind_Exception_Class class,
                                      struct _Unwind_Exception *exception, struct _Unwind_Context *context) {
    (void)version, (void)class, (void)exception, (void)context;
    return actions & _UA_SEARCH_PHASE ? _URC_FATAL_PHASE1_ERROR : _URC_CONTINUE_UNWIND;
}
#endif

__attribute__((noinline)) void wg_call_out(void (*fn)(void *arg), void *arg) {
#ifdef CAN_BAR_EXCEPTIONS
    __asm__ volatile(".cfi_personality 0x1b, wg_bar_exceptions");
#endif
    fn(arg);
    __asm__ volatile("" ::: "memory"); /* it is no tail call: the frame must be there */
}

struct unfinished {
    void (*go_on)(void *state);
    void *state;
};

static void finish_after_all(void *raw) {
    const struct unfinished *work = raw;
    wg_finish(work->go_on, work->state);
}

void wg_finish(void (*go_on)(void *state), void *state) {
    struct unfinished work = {go_on, state};
    pthread_cleanup_push(finish_after_all, &work);
    wg_call_out(go_on, state);
    pthread_cleanup_pop(0);
}

int wg_cancel_forbid(void) {
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

void wg_cancel_allow(int before) { pthread_setcancelstate(before, &before); }

void wg_cancel_point(void) { pthread_testcancel(); }

/* Signals. */

bool wg_signal_can_be_caught(int signum) {
    struct sigaction now;
    return signum != SIGKILL && signum != SIGSTOP && sigaction(signum, NULL, &now) == 0;
}

bool wg_catch_signal(int signum, void (*handler)(int signum)) {
    struct sigaction action = {.sa_flags = SA_RESTART};
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    return sigaction(signum, &action, NULL) == 0;
}

int wg_signal_number(const char *name) {
    static const struct {
        const char *name;
        int signum;
    } known[] = {{"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"QUIT", SIGQUIT}, {"HUP", SIGHUP}, {"ALRM", SIGALRM}};
    if (strncmp(name, "SIG", 3) == 0)
        name += 3;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0)
            return known[i].signum;
    return atoi(name);
}

void wg_signal_wait(const struct wg_signal *s) {
    struct pollfd readable = {.fd = s->readable, .events = POLLIN};
    int saved = errno, cancel = wg_cancel_forbid();
    while (poll(&readable, 1, -1) < 0 && errno == EINTR) {}
    wg_cancel_allow(cancel);
    errno = saved;
}

const char *wg_environment(const char *name) {
#ifdef __GLIBC__
    return secure_getenv(name);
#else
    return getenv(name);
#endif
}

/* Writes. */

static const int of_writes[] = {SIGPIPE, SIGXFSZ};
enum { OF_WRITES = sizeof of_writes / sizeof *of_writes };

/* Where nobody reads any more, and where a file would become too large, a write also sends a signal to its thread, which would
 * end the program. Meanwhile they are blocked; those that came of the writes are taken. */
struct quiet {
    sigset_t before;
    bool was_pending[OF_WRITES];
    int cancel;
};

static void begin_quiet(struct quiet *quiet) {
    sigset_t signals, pending;
    quiet->cancel = wg_cancel_forbid();
    sigpending(&pending);
    sigemptyset(&signals);
    for (int i = 0; i < OF_WRITES; i++) {
        quiet->was_pending[i] = sigismember(&pending, of_writes[i]) == 1;
        sigaddset(&signals, of_writes[i]);
    }
    pthread_sigmask(SIG_BLOCK, &signals, &quiet->before);
}

static void take_signal(int signum) {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, signum);
#ifdef __APPLE__
    sigwait(&one, &signum);
#else
    while (sigtimedwait(&one, NULL, &(struct timespec){0, 0}) < 0 && errno == EINTR) {}
#endif
}

static void end_quiet(struct quiet *quiet) {
    sigset_t pending;
    int saved = errno;
    sigpending(&pending);
    for (int i = 0; i < OF_WRITES; i++)
        if (!quiet->was_pending[i] && sigismember(&pending, of_writes[i]) == 1)
            take_signal(of_writes[i]);
    pthread_sigmask(SIG_SETMASK, &quiet->before, NULL);
    wg_cancel_allow(quiet->cancel);
    errno = saved;
}

/* A descriptor that does not block takes nothing now: will it in a second? */
static bool takes_more(int fd) {
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    return poll(&writable, 1, 1000) > 0 && writable.revents & POLLOUT;
}

bool wg_descriptor_write(int fd, const char *bytes, size_t length) {
    struct quiet quiet;
    bool taken = true;
    begin_quiet(&quiet);
    while (length > 0 && taken) {
        ssize_t n = write(fd, bytes, length);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            taken = takes_more(fd);
        else
            taken = n > 0 || (n < 0 && errno == EINTR);
        bytes += n > 0 ? n : 0;
        length -= n > 0 ? (size_t)n : 0;
    }
    end_quiet(&quiet);
    return taken;
}

/* Files. */

/* O_NONBLOCK: a pipe in the place of the file is no file, and is not waited for until somebody reads it. */
int wg_file_open(const char *path) {
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
    if (file < 0)
        return WG_FILE_NONE;
    if (flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        close(file);
        return WG_FILE_TAKEN;
    }
    if (ftruncate(file, 0) == 0)
        return file;
    close(file);
    return WG_FILE_NONE;
}

bool wg_file_write(int file, const char *bytes, size_t length, int64_t at) {
    struct quiet quiet;
    bool taken = true;
    begin_quiet(&quiet);
    while (length > 0 && taken) {
        ssize_t n = pwrite(file, bytes, length, (off_t)at);
        taken = n > 0 || (n < 0 && errno == EINTR);
        size_t written = n > 0 ? (size_t)n : 0;
        bytes += written;
        at += (int64_t)written;
        length -= written;
    }
    end_quiet(&quiet);
    return taken;
}

void wg_file_cut(int file, int64_t length) { (void)!ftruncate(file, (off_t)length); }

void wg_file_close(int file) { close(file); }

/* Names. */

int32_t wg_process_id(void) { return (int32_t)getpid(); }

void wg_process_name(char *name, size_t size) {
#ifdef __linux__
    snprintf(name, size, "%s", program_invocation_short_name);
#else
    snprintf(name, size, "%s", getprogname());
#endif
}

void wg_thread_name(char *name, size_t size) {
    char own[16] = "";
#ifdef __linux__
    prctl(PR_GET_NAME, own);
#else
    (void)pthread_getname_np(pthread_self(), own, sizeof own);
#endif
    snprintf(name, size, "%s", own);
}
