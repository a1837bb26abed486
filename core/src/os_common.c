/* os_common.c - the part of os.h and thread.h that is the same on all systems. */
#include <stdlib.h>

#include "os.h"
#include "thread.h"

struct wg_thread *wg_thread(void) {
    static _Thread_local struct wg_thread self;
    return &self;
}

void wg_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

unsigned wg_back_off(unsigned last) {
    unsigned pauses = last == 0 ? 64 : last < 256 ? 2 * last : 256;
    for (unsigned i = 0; i < pauses; i++)
        wg_pause();
    return pauses;
}

void wg_at_exit(void (*fn)(void)) { (void)atexit(fn); }
