/* error.c - errors: a reference count around the caller's value. */
#include "waitgroup/error.h"

#include <stddef.h>
#include <stdlib.h>

#include "atomics.h"

struct wg_error {
    wg_a32 refs; /* 0 of an immortal one */
    wg_error_kind kind;
    void *value;
    void (*destroy)(void *value);
};

static wg_error no_memory = {.kind = WG_ERROR_FAILURE};
static wg_error cancelled = {.kind = WG_ERROR_STOP};
static wg_error deadline = {.kind = WG_ERROR_STOP};

wg_error *wg_error_no_memory(void) { return &no_memory; }
wg_error *wg_error_cancelled(void) { return &cancelled; }
wg_error *wg_error_deadline(void) { return &deadline; }

static bool immortal(const wg_error *error) { return error == &no_memory || error == &cancelled || error == &deadline; }

wg_error *wg_error_new(wg_error_kind kind, void *value, void (*destroy)(void *value)) {
    wg_error *error = malloc(sizeof *error);
    if (!error) {
        if (destroy)
            destroy(value);
        return &no_memory;
    }
    *error = (wg_error){.refs = 1, .kind = kind, .value = value, .destroy = destroy};
    return error;
}

wg_error *wg_error_retain(wg_error *error) {
    if (error && !immortal(error))
        wg_add_relaxed32(&error->refs, 1);
    return error;
}

void wg_error_release(wg_error *error) {
    if (!error || immortal(error) || wg_sub_acq_rel32(&error->refs, 1) != 1)
        return;
    if (error->destroy)
        error->destroy(error->value);
    free(error);
}

void *wg_error_value(const wg_error *error) { return error ? error->value : NULL; }

wg_error_kind wg_error_get_kind(const wg_error *error) { return error ? error->kind : WG_ERROR_FAILURE; }
