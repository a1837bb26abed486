/* signal_pipe.c - a descriptor that can be made readable, by pipe: for systems without eventfd. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "os.h"

static void prepare(int fd) {
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
}

bool wg_signal_open(struct wg_signal *s) {
    int ends[2];
    if (pipe(ends) != 0)
        return false;
    prepare(ends[0]);
    prepare(ends[1]);
    *s = (struct wg_signal){.readable = ends[0], .writable = ends[1]};
    return true;
}

void wg_signal_raise(const struct wg_signal *s) {
    int saved = errno, cancel = wg_cancel_forbid();
    while (write(s->writable, "", 1) < 0 && errno == EINTR) {}
    wg_cancel_allow(cancel);
    errno = saved;
}

void wg_signal_clear(const struct wg_signal *s) {
    char bytes[64];
    int saved = errno, cancel = wg_cancel_forbid();
    ssize_t n;
    do
        n = read(s->readable, bytes, sizeof bytes);
    while (n > 0 || (n < 0 && errno == EINTR));
    wg_cancel_allow(cancel);
    errno = saved;
}

void wg_signal_close(const struct wg_signal *s) {
    int cancel = wg_cancel_forbid();
    close(s->readable);
    close(s->writable);
    wg_cancel_allow(cancel);
}
