/* text.h - text that is written piece by piece into a buffer, always with an end. What does not fit is left out, and counted:
 * as snprintf does. */
#ifndef WG_TEXT_H
#define WG_TEXT_H

#include <stddef.h>

#include "waitgroup/status.h"

struct wg_text {
    char *buffer; /* of the caller; may be NULL if `size` is 0 */
    size_t size;
    size_t length; /* of all that was added, without its end; zeroed: nothing was */
};

void wg_text_add(struct wg_text *t, const char *format, ...) WG_PRINTF(2, 3);

/* How long the text in the buffer is, without its end. */
size_t wg_text_written(const struct wg_text *t);

#endif
