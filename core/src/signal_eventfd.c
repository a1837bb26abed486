/* signal_eventfd.c - a descriptor that can be made readable, by Linux eventfd. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "os.h"

bool wg_signal_open(struct wg_signal *s) {
    s->readable = s->writable = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return s->readable >= 0;
}

void wg_signal_raise(const struct wg_signal *s) {
    uint64_t one = 1;
    int saved = errno, cancel = wg_cancel_forbid();
    while (write(s->writable, &one, sizeof one) < 0 && errno == EINTR) {}
    wg_cancel_allow(cancel);
    errno = saved;
}

void wg_signal_clear(const struct wg_signal *s) {
    uint64_t count;
    int saved = errno, cancel = wg_cancel_forbid();
    while (read(s->readable, &count, sizeof count) < 0 && errno == EINTR) {}
    wg_cancel_allow(cancel);
    errno = saved;
}

void wg_signal_close(const struct wg_signal *s) {
    int cancel = wg_cancel_forbid();
    close(s->readable);
    wg_cancel_allow(cancel);
}
