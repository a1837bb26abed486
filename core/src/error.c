/* error.c - errors: a reference count around a value whose type its language knows. */
#include "waitgroup/error.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "os.h"
#include "ref.h"

struct wg_error {
    wg_a32 refs;
    wg_error_kind kind;
    const wg_error_type *type; /* NULL: of wg_error_new */
    void *value;
    void (*destroy)(void *value);
};

/* Those that no reference count keeps; their value is their text. */
static const char *text_of_string(void *value) { return value; }

static const wg_error_type immortal = {.language = "C", .text = text_of_string};
static const wg_error_type string = {.language = "C", .text = text_of_string};

static wg_error no_memory = {.kind = WG_ERROR_FAILURE, .type = &immortal, .value = "out of memory"};
static wg_error cancelled = {.kind = WG_ERROR_STOP, .type = &immortal, .value = "cancelled"};
static wg_error deadline = {.kind = WG_ERROR_STOP, .type = &immortal, .value = "deadline exceeded"};
static wg_error thread_ended = {.kind = WG_ERROR_FAILURE, .type = &immortal, .value = "the task ended its thread"};

wg_error *wg_error_no_memory(void) { return &no_memory; }
wg_error *wg_error_cancelled(void) { return &cancelled; }
wg_error *wg_error_deadline(void) { return &deadline; }
wg_error *wg_error_thread_ended(void) { return &thread_ended; }

static wg_error *make(wg_error_kind kind, const wg_error_type *type, void *value, void (*destroy)(void *value)) {
    wg_error *error = malloc(sizeof *error);
    if (!error) {
        if (destroy)
            wg_call_out(destroy, value);
        return &no_memory;
    }
    *error = (wg_error){.refs = 1, .kind = kind, .type = type, .value = value, .destroy = destroy};
    return error;
}

wg_error *wg_error_new(wg_error_kind kind, void *value, void (*destroy)(void *value)) {
    return make(kind, NULL, value, destroy);
}

wg_error *wg_error_of_type(const wg_error_type *type, wg_error_kind kind, void *value) {
    return make(kind, type, value, type ? type->destroy : NULL);
}

/* The text follows the error. */
wg_error *wg_errorf(const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    size_t size = length < 0 ? 1 : (size_t)length + 1;
    wg_error *error = malloc(sizeof *error + size);
    if (error) {
        char *text = (char *)(error + 1);
        *error = (wg_error){.refs = 1, .kind = WG_ERROR_FAILURE, .type = &string, .value = text};
        if (vsnprintf(text, size, format, again) < 0)
            *text = 0;
    }
    va_end(again);
    va_end(args);
    return error ? error : &no_memory;
}

wg_error *wg_error_retain(wg_error *error) {
    if (error && error->type != &immortal)
        wg_ref_take(&error->refs);
    return error;
}

/* The value goes last: its destructor may end the thread. */
void wg_error_release(wg_error *error) {
    if (!error || error->type == &immortal || !wg_ref_drop(&error->refs))
        return;
    void (*destroy)(void *value) = error->destroy;
    void *value = error->value;
    free(error);
    if (destroy)
        wg_call_out(destroy, value);
}

void *wg_error_value(const wg_error *error) { return error && error->type != &immortal ? error->value : NULL; }

wg_error_kind wg_error_get_kind(const wg_error *error) { return error ? error->kind : WG_ERROR_FAILURE; }

const wg_error_type *wg_error_get_type(const wg_error *error) {
    bool own = error && error->type && error->type != &immortal && error->type != &string;
    return own ? error->type : NULL;
}

const char *wg_error_language(const wg_error *error) {
    return error && error->type && error->type->language ? error->type->language : "C";
}

/* What a type says of a value. */
struct question {
    const char *(*text)(void *value);
    const wg_plain *(*plain)(void *value, size_t *count);
    void *value;
    const void *answer;
    size_t count;
};

static void put_to_type(void *raw) {
    struct question *question = raw;
    if (question->text)
        question->answer = question->text(question->value);
    else
        question->answer = question->plain(question->value, &question->count);
}

static const char *text_of(const wg_error *error, const char *(*text)(void *value)) {
    struct question question = {.text = text, .value = error->value};
    if (text)
        wg_call_out(put_to_type, &question);
    return question.answer;
}

const char *wg_error_text(const wg_error *error) {
    if (!error)
        return "no error";
    const char *text = error->type ? text_of(error, error->type->text) : NULL;
    return text ? text : "an error without a text";
}

const char *wg_error_traceback(const wg_error *error) {
    return error && error->type ? text_of(error, error->type->traceback) : NULL;
}

const wg_plain *wg_error_plain(const wg_error *error, size_t *count) {
    struct question question = {.answer = NULL};
    if (error && error->type && error->type->plain) {
        question.plain = error->type->plain;
        question.value = error->value;
        wg_call_out(put_to_type, &question);
    }
    if (count)
        *count = question.answer ? question.count : 0;
    return question.answer;
}
