/* signal_none.c - no descriptors: on Windows, where an int stands for none that all loops can wait for. What needs one is
 * refused with WG_NO_FD. */
#include "os.h"

bool wg_signal_open(struct wg_signal *s) {
    (void)s;
    return false;
}

/* Of what was never opened. */
void wg_signal_raise(const struct wg_signal *s) { (void)s; }
void wg_signal_clear(const struct wg_signal *s) { (void)s; }
void wg_signal_wait(const struct wg_signal *s) { (void)s; }
void wg_signal_close(const struct wg_signal *s) { (void)s; }
