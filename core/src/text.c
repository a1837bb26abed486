/* text.c - see text.h. */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>

void wg_text_add(struct wg_text *t, const char *format, ...) {
    size_t written = wg_text_written(t);
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(t->size ? t->buffer + written : NULL, t->size - written, format, arguments);
    va_end(arguments);
    t->length += n > 0 ? (size_t)n : 0;
}

size_t wg_text_written(const struct wg_text *t) { return t->length < t->size ? t->length : t->size - (t->size > 0); }
