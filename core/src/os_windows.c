/* os_windows.c - os.h on Windows 10 and newer.
 *
 * What there is not: fork, so that the epoch stays 0; signals; descriptors (signal_none.c); the end of a thread inside a call:
 * a task that calls ExitThread leaves its group unfinished for good. */
#define _WIN32_WINNT 0x0A00
#include <windows.h>

#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <process.h>
#include <share.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#if defined(__x86_64__) || defined(__i386__)
#include <x86intrin.h>
#define HAS_CYCLES
#endif

#include "atomics.h"
#include "os.h"
#include "thread.h"

/* Older headers of MinGW do not have them. */
WINBASEAPI HRESULT WINAPI SetThreadDescription(HANDLE thread, PCWSTR name);
WINBASEAPI HRESULT WINAPI GetThreadDescription(HANDLE thread, PWSTR *name);

/* Time. */

int64_t wg_now(void) {
    static wg_a64 rate;
    int64_t per_second = (int64_t)wg_load_relaxed64(&rate);
    LARGE_INTEGER count;
    if (per_second == 0) {
        QueryPerformanceFrequency(&count);
        per_second = count.QuadPart;
        wg_store_relaxed64(&rate, (uint64_t)per_second);
    }
    QueryPerformanceCounter(&count);
    return count.QuadPart / per_second * WG_SECOND + count.QuadPart % per_second * WG_SECOND / per_second;
}

static int64_t of_times(FILETIME kernel, FILETIME user) {
    ULARGE_INTEGER k = {.LowPart = kernel.dwLowDateTime, .HighPart = kernel.dwHighDateTime};
    ULARGE_INTEGER u = {.LowPart = user.dwLowDateTime, .HighPart = user.dwHighDateTime};
    return (int64_t)(k.QuadPart + u.QuadPart) * 100;
}

/* The times of a thread or a process go by steps of 15 ms, too coarse for the ticks of the monitor. Its cycles are those of
 * the time-stamp counter, whose rate is measured from the first call on. Where they are not to be had: -1. */
static int64_t of_cycles(bool counted, ULONG64 cycles) {
#ifdef HAS_CYCLES
    static wg_a64 first_cycles, first_time;
    uint64_t none = 0;
    if (wg_load_acquire64(&first_time) == 0 && wg_cas_relaxed64(&first_cycles, &none, __rdtsc()))
        wg_cas_acq_rel64(&first_time, &none, (uint64_t)wg_now());
    uint64_t begun = wg_load_acquire64(&first_time);
    int64_t passed = wg_now() - (int64_t)begun;
    uint64_t counter = __rdtsc() - wg_load_relaxed64(&first_cycles);
    if (counted && begun && passed > 0 && counter > 0)
        return (int64_t)((double)cycles * ((double)passed / (double)counter));
#endif
    (void)counted, (void)cycles;
    return -1;
}

/* A thread's clock is its number. */
int32_t wg_thread_clock(void) {
    of_cycles(false, 0);
    return (int32_t)GetCurrentThreadId();
}

static int64_t of_process(void) {
    FILETIME made, ended, kernel, user;
    ULONG64 cycles = 0;
    int64_t time = of_cycles(QueryProcessCycleTime(GetCurrentProcess(), &cycles) && cycles > 0, cycles);
    if (time < 0 && GetProcessTimes(GetCurrentProcess(), &made, &ended, &kernel, &user))
        time = of_times(kernel, user);
    return time < 0 ? 0 : time;
}

static int64_t of_thread(HANDLE thread) {
    FILETIME made, ended, kernel, user;
    ULONG64 cycles = 0;
    int64_t time = of_cycles(QueryThreadCycleTime(thread, &cycles) && cycles > 0, cycles);
    if (time < 0 && GetThreadTimes(thread, &made, &ended, &kernel, &user))
        time = of_times(kernel, user);
    return time < 0 ? 0 : time;
}

int64_t wg_cpu_time(int32_t clock) {
    if (clock == WG_PROCESS_CLOCK)
        return of_process();
    HANDLE thread = OpenThread(THREAD_QUERY_LIMITED_INFORMATION, FALSE, (DWORD)clock);
    if (!thread) /* it is gone */
        return 0;
    int64_t time = of_thread(thread);
    CloseHandle(thread);
    return time;
}

unsigned wg_cores(void) {
    DWORD_PTR ours = 0, all;
    unsigned n = 0;
    if (GetProcessAffinityMask(GetCurrentProcess(), &ours, &all))
        for (; ours; ours &= ours - 1)
            n++;
    return n ? n : GetActiveProcessorCount(ALL_PROCESSOR_GROUPS); /* of a process in several groups there is no mask */
}

/* Threads. */

struct wg_thread_id wg_thread_id(void) {
    DWORD id = GetCurrentThreadId();
    return (struct wg_thread_id){(int32_t)id, id};
}

bool wg_on_stack(const void *p) {
    uintptr_t *stack = wg_thread()->stack, at = (uintptr_t)p;
    if (!stack[1]) {
        ULONG_PTR low, high;
        GetCurrentThreadStackLimits(&low, &high);
        stack[0] = low;
        stack[1] = high;
    }
    return at >= stack[0] && at < stack[1];
}

size_t wg_smallest_stack(void) { return (size_t)64 << 10; }

struct start {
    void (*fn)(void *arg);
    void *arg;
    wchar_t name[16];
};

static unsigned __stdcall run(void *raw) {
    struct start start = *(struct start *)raw;
    free(raw);
    (void)SetThreadDescription(GetCurrentThread(), start.name);
    start.fn(start.arg);
    return 0;
}

bool wg_start_thread(const char *name, size_t stack, void (*fn)(void *arg), void *arg) {
    struct start *start = malloc(sizeof *start);
    if (!start)
        return false;
    *start = (struct start){.fn = fn, .arg = arg};
    for (size_t i = 0; i < 15 && name[i]; i++)
        start->name[i] = (unsigned char)name[i];
    unsigned size = (unsigned)(stack ? stack : WG_STACK_SIZE);
    uintptr_t thread = _beginthreadex(NULL, size, run, start, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    if (!thread) {
        free(start);
        return false;
    }
    CloseHandle((HANDLE)thread);
    return true;
}

void wg_thread_name(char *name, size_t size) {
    wchar_t *wide = NULL;
    name[0] = '\0';
    if (FAILED(GetThreadDescription(GetCurrentThread(), &wide)))
        return;
    if (WideCharToMultiByte(CP_UTF8, 0, wide, -1, name, (int)size, NULL, NULL) == 0)
        name[0] = '\0';
    LocalFree(wide);
}

/* Nothing ends a thread inside a call that we could hear of. */
void wg_call_out(void (*fn)(void *arg), void *arg) { fn(arg); }

void wg_finish(void (*go_on)(void *state), void *state) { go_on(state); }
int wg_cancel_forbid(void) { return 0; }
void wg_cancel_allow(int before) { (void)before; }
void wg_cancel_point(void) {}

/* The process. */

void wg_keep_loaded(void (*code)(void)) {
    HMODULE module;
    GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, (LPCWSTR)(uintptr_t)code,
                       &module);
}

void wg_keep_self_loaded(void) { wg_keep_loaded(wg_keep_self_loaded); }

const char *wg_environment(const char *name) { return getenv(name); }

int32_t wg_process_id(void) { return (int32_t)GetCurrentProcessId(); }

void wg_process_name(char *name, size_t size) {
    char path[MAX_PATH] = "";
    GetModuleFileNameA(NULL, path, sizeof path - 1);
    const char *slash = strrchr(path, '\\');
    snprintf(name, size, "%s", slash ? slash + 1 : path);
}

bool wg_signal_can_be_caught(int signum) {
    (void)signum;
    return false;
}

bool wg_catch_signal(int signum, void (*handler)(int signum)) {
    (void)signum, (void)handler;
    return false;
}

int wg_signal_number(const char *name) {
    (void)name;
    return 0;
}

/* Files. */

int wg_file_open(const char *path) {
    int file = _sopen(path, _O_WRONLY | _O_CREAT | _O_BINARY | _O_NOINHERIT, _SH_DENYWR, _S_IREAD | _S_IWRITE);
    if (file < 0)
        return errno == EACCES ? WG_FILE_TAKEN : WG_FILE_NONE;
    wg_file_cut(file, 0);
    return file;
}

bool wg_descriptor_write(int fd, const char *bytes, size_t length) {
    while (length > 0) {
        int n = _write(fd, bytes, length < INT32_MAX ? (unsigned)length : INT32_MAX);
        if (n <= 0)
            return false;
        bytes += n;
        length -= (unsigned)n;
    }
    return true;
}

bool wg_file_write(int file, const char *bytes, size_t length, int64_t at) {
    return _lseeki64(file, at, SEEK_SET) == at && wg_descriptor_write(file, bytes, length);
}

void wg_file_cut(int file, int64_t length) { (void)_chsize_s(file, length); }

void wg_file_close(int file) { _close(file); }
