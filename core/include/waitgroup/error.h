/* error.h - a task's error: a value of the caller's, carried through untouched and shared by count. Its type knows how to
 * say it in words, so that an error can be shown where another language is spoken. */
#ifndef WAITGROUP_ERROR_H
#define WAITGROUP_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wg_error wg_error;

/* What an error is, as far as the library must know. */
typedef enum wg_error_kind {
    WG_ERROR_FAILURE, /* the task failed */
    WG_ERROR_STOP     /* the task says that it stopped because it was told to: see WG_TASK_STOPPED */
} wg_error_kind;

/* A plain value, as all languages have them, as an array of pieces: one piece; or that of a table, the values of its items
 * one after the other, and then its pairs, each a key and a value. A table that comes a second time, or within itself, is
 * WG_PLAIN_SAME. */
typedef enum wg_plain_kind {
    WG_PLAIN_NIL,
    WG_PLAIN_BOOLEAN,
    WG_PLAIN_INTEGER,
    WG_PLAIN_NUMBER,
    WG_PLAIN_STRING,
    WG_PLAIN_TABLE,
    WG_PLAIN_SAME
} wg_plain_kind;

typedef struct wg_plain {
    wg_plain_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct {
            const char *bytes; /* any, also zero; no zero at the end */
            size_t size;
        } string;
        struct {
            size_t items, pairs; /* the items have the keys 1, 2, 3, ... */
        } table;
        size_t same; /* the place of its piece in the array */
    } as;
} wg_plain;

/* What the language of an error can do with its value. Static, or at least for as long as any error of the type lives. The
 * functions are called from any thread, in no lock of the library; each except `language` may be NULL. Only `destroy` may end the
 * thread, the others must return. Texts are UTF-8; they
 * and the pieces belong to the value, and stay as they are for as long as it lives. */
typedef struct wg_error_type {
    const char *language;                  /* such as "C", "Python", "Lua" */
    void (*destroy)(void *value);          /* once, when the last reference is given up */
    const char *(*text)(void *value);      /* one line, such as "ValueError: three"; may return NULL */
    const char *(*traceback)(void *value); /* lines that say where; may return NULL: there is none */
    const wg_plain *(*plain)(void *value,
                             size_t *count); /* the value in `count` pieces; may return NULL: it is not plain */
} wg_error_type;

/* A new error of a type around `value`, with one reference, the caller's. Never NULL: without memory, `value` is destroyed
 * at once and wg_error_no_memory() comes back. `type` NULL: of no type. */
WG_API wg_error *wg_error_of_type(const wg_error_type *type, wg_error_kind kind, void *value);

/* A new failure with the text that printf would make; its language is "C". Never NULL, as above.
 *
 *     return wg_errorf("%s: line %d is too long", path, line); */
WG_API wg_error *wg_errorf(const char *format, ...) WG_PRINTF(1, 2);

/* A new error around `value` with one reference, the caller's. `destroy(value)` runs once, in whichever thread gives
 * up the last reference; it may be NULL. Never NULL: without memory, `value` is destroyed at once and the immortal
 * wg_error_no_memory() comes back, so an error is never lost. */
WG_API wg_error *wg_error_new(wg_error_kind kind, void *value, void (*destroy)(void *value));

/* Immortal errors without a value, for tasks that need no more than a status; retain and release are no-ops on them.
 * wg_error_cancelled() and wg_error_deadline() are of kind WG_ERROR_STOP. wg_error_thread_ended() is that of a task which
 * ended its thread, see pool.h. */
WG_API wg_error *wg_error_no_memory(void);
WG_API wg_error *wg_error_cancelled(void);
WG_API wg_error *wg_error_deadline(void);
WG_API wg_error *wg_error_thread_ended(void);

/* One more reference; returns `error`. Any thread. NULL is allowed. */
WG_API wg_error *wg_error_retain(wg_error *error);

/* One reference less; the last one destroys the value. Any thread. NULL is allowed. */
WG_API void wg_error_release(wg_error *error);

/* The value and the kind given to wg_error_new; NULL of an immortal error, and of NULL. */
WG_API void *wg_error_value(const wg_error *error);
WG_API wg_error_kind wg_error_get_kind(const wg_error *error);

/* The type given to wg_error_of_type, by which a language knows its own errors; NULL of any other error. */
WG_API const wg_error_type *wg_error_get_type(const wg_error *error);

/* An error in words, borrowed for as long as the caller refers to it. Any thread. Language and text are never NULL ("no
 * error" of NULL); the traceback is NULL if there is none. */
WG_API const char *wg_error_language(const wg_error *error);
WG_API const char *wg_error_text(const wg_error *error);
WG_API const char *wg_error_traceback(const wg_error *error);

/* The value that was thrown, if it is plain: borrowed in the same way, with the number of its pieces in *count. NULL: it is
 * not, or its language does not tell; then *count is 0. `count` may be NULL. */
WG_API const wg_plain *wg_error_plain(const wg_error *error, size_t *count);

#ifdef __cplusplus
}
#endif
#endif
