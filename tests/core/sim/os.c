/* os.c - park.h and os.h over the scheduler: sleep, time, threads, descriptors, and forks. */
#include "engine.h"

#include <string.h>
#include <unistd.h>

#include "fork.h"

const char wg_park_name[] = "simulated";

wg_parked wg_park(wg_a32 *word, uint32_t expected, int64_t deadline, bool interruptible) {
    void *where = __builtin_return_address(0);
    struct sim_thread *me = engine->current;
    step("sleep", word, where, false);
    touch(word, sizeof *word, READ | ATOMIC, where);
    if (*word != expected)
        return WG_PARK_WOKEN;
    if (deadline == 0)
        deadline = INT64_MAX;
    if (deadline <= engine->now)
        return WG_PARK_TIMEOUT;
    me->state = PARKED;
    me->word = word;
    me->deadline = deadline;
    me->interruptible = interruptible;
    if (engine->search == PCT) {
        me->impatient = random_below(4) == 0;
        me->nervous = random_below(16) == 0;
    }
    block();
    return me->parked;
}

static void unpark(const wg_a32 *word, bool all) {
    struct sim_thread *sleepers[MAX_THREADS];
    unsigned n = 0;
    for (unsigned i = 0; i < engine->thread_count; i++)
        if (engine->threads[i].state == PARKED && engine->threads[i].word == word)
            sleepers[n++] = &engine->threads[i];
    if (n == 0)
        return;
    if (!all) {
        sleepers[0] = sleepers[sim_pick(n)];
        n = 1;
    }
    for (unsigned i = 0; i < n; i++)
        wake(sleepers[i], WG_PARK_WOKEN);
}

void wg_unpark_one(const wg_a32 *word) {
    step("wake one", word, __builtin_return_address(0), false);
    unpark(word, false);
}

void wg_unpark_all(const wg_a32 *word) {
    step("wake all", word, __builtin_return_address(0), false);
    unpark(word, true);
}

void sim_sleep_on(wg_a32 *word, uint32_t expected) { wg_park(word, expected, 0, false); }
void sim_wake_all(const wg_a32 *word) { wg_unpark_all(word); }

int64_t wg_now(void) { return engine->now; }
int32_t wg_thread_clock(void) { return WG_PROCESS_CLOCK; }
int64_t wg_cpu_time(int32_t clock) { return clock == WG_PROCESS_CLOCK ? engine->now * engine->cpu_rate / 2 : 0; }
unsigned wg_cores(void) { return engine->scenario->cores; }
void wg_pause(void) { step("pause", NULL, __builtin_return_address(0), true); }
unsigned wg_back_off(unsigned last) {
    step("pause", NULL, __builtin_return_address(0), true);
    return last;
}
struct wg_thread *wg_thread(void) {
    return &engine->current->self;
}

struct wg_thread_id wg_thread_id(void) {
    return (struct wg_thread_id){(int32_t)(engine->current - engine->threads) + 1,
                                 (uint64_t)(uintptr_t)engine->current};
}

bool wg_on_stack(const void *p) {
    const char *lowest = engine->current->stack;
    return (const char *)p >= lowest && (const char *)p < lowest + STACK_SIZE;
}

size_t wg_smallest_stack(void) { return 0; }
void wg_keep_loaded(void (*code)(void)) { (void)code; }
void wg_keep_self_loaded(void) {}

bool wg_start_thread(const char *name, size_t stack, void (*fn)(void *arg), void *arg) {
    (void)name, (void)stack;
    if (engine->starts == SIM_NEVER || (engine->starts == SIM_PERHAPS && sim_pick(2) == 1))
        return false;
    sim_go(LIBRARY, fn, arg);
    return true;
}

/* The end of a thread: each wg_finish on its stack, from the inside out, has its work finished. */
struct unfinished {
    void (*go_on)(void *state);
    void *state;
    jmp_buf at;
    struct unfinished *outer;
};

void wg_finish(void (*go_on)(void *state), void *state) {
    struct unfinished work = {.go_on = go_on, .state = state, .outer = engine->current->unfinished};
    engine->current->unfinished = &work;
    if (_setjmp(work.at) == 0) {
        go_on(state);
        engine->current->unfinished = work.outer;
        return;
    }
    engine->current->unfinished = work.outer;
    wg_finish(work.go_on, work.state);
    sim_exit_thread();
}

void sim_exit_thread(void) {
    if (engine->current->unfinished)
        _longjmp(engine->current->unfinished->at, 1);
    thread_end();
}

/* Nobody sends signals here. */
bool wg_signal_can_be_caught(int signum) { return signum > 0; }
bool wg_catch_signal(int signum, void (*handler)(int signum)) { return signum > 0 && handler; }
int wg_signal_number(const char *name) { return name[0] == '1'; }
const char *wg_environment(const char *name) {
    (void)name;
    return NULL;
}

void wg_at_exit(void (*fn)(void)) { (void)fn; }
int32_t wg_process_id(void) { return 1; }
void wg_process_name(char *name, size_t size) { snprintf(name, size, "sim"); }
void wg_thread_name(char *name, size_t size) { snprintf(name, size, "thread"); }

bool wg_descriptor_write(int fd, const char *bytes, size_t length) {
    return write(fd, bytes, length) == (ssize_t)length;
}

/* One file, in memory. */
int wg_file_open(const char *path) {
    (void)path;
    if (engine->file.open)
        return WG_FILE_TAKEN;
    engine->file = (struct sim_file){.open = true};
    return 0;
}

bool wg_file_write(int file, const char *bytes, size_t length, int64_t at) {
    step("write", NULL, __builtin_return_address(0), false);
    if (file != 0 || !engine->file.open)
        sim_fail("a file is written that is not open");
    if ((size_t)at + length > sizeof engine->file.text)
        return false;
    memcpy(engine->file.text + at, bytes, length);
    engine->file.length = (size_t)at + length;
    return true;
}

void wg_file_cut(int file, int64_t length) {
    (void)file;
    engine->file.length = (size_t)length;
    memset(engine->file.text + length, 0, sizeof engine->file.text - (size_t)length);
}

void wg_file_close(int file) {
    (void)file;
    engine->file.open = false;
}

const char *sim_file_text(void) { return engine->file.text; }

/* Only sim_exit_thread ends a thread. */
void wg_call_out(void (*fn)(void *arg), void *arg) { fn(arg); }
void wg_cancel_point(void) {}
int wg_cancel_forbid(void) { return 0; }
void wg_cancel_allow(int before) { (void)before; }

bool wg_signal_open(struct wg_signal *s) {
    if (engine->signal_count == sizeof engine->signals / sizeof engine->signals[0])
        return false;
    s->readable = s->writable = (int)engine->signal_count;
    engine->signals[engine->signal_count++] = 1;
    return true;
}

static unsigned *open_signal(int fd) {
    if (fd < 0 || (unsigned)fd >= engine->signal_count || engine->signals[fd] == 0)
        sim_fail("descriptor %d is used and is not open", fd);
    return &engine->signals[fd];
}

void wg_signal_raise(const struct wg_signal *s) {
    step("raise", NULL, __builtin_return_address(0), false);
    if (*open_signal(s->writable) == SHARED)
        sim_fail("descriptor %d is raised, which the parent process shares", s->writable);
    *open_signal(s->writable) = 2;
}

void wg_signal_clear(const struct wg_signal *s) {
    step("clear", NULL, __builtin_return_address(0), false);
    *open_signal(s->readable) = 1;
}

void wg_signal_wait(const struct wg_signal *s) {
    while (*open_signal(s->readable) != 2)
        step("poll", NULL, __builtin_return_address(0), true);
}

void wg_signal_close(const struct wg_signal *s) {
    step("close", NULL, __builtin_return_address(0), false);
    *open_signal(s->readable) = 0;
}

bool sim_readable(int fd) { return *open_signal(fd) == 2; }
