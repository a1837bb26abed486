/* describe.c - an error group in one line, for people. */
#include <stdio.h>

#include "waitgroup/errgroup.h"

#include "deadline.h"

/* What has been written, and whether there was space for it: as snprintf counts. */
struct text {
    char *buffer;
    size_t size, length;
    unsigned tasks;
};

#define APPEND(text, ...) advance(text, snprintf(end_of(text), space_of(text), __VA_ARGS__))

static char *end_of(const struct text *t) { return t->length < t->size ? t->buffer + t->length : NULL; }

static size_t space_of(const struct text *t) { return t->length < t->size ? t->size - t->length : 0; }

static void advance(struct text *t, int n) { t->length += n > 0 ? (size_t)n : 0; }

static double seconds(int64_t duration) { return (double)duration / (double)WG_SECOND; }

static void append_task(void *raw, const char *name, int64_t duration) {
    struct text *t = raw;
    APPEND(t, "%s%s (%.1f s)", t->tasks++ ? ", " : "; running: ", name[0] ? name : "a task", seconds(duration));
}

static void append_end(struct text *t, wg_errgroup *g) {
    wg_context *ctx = wg_errgroup_context(g);
    int64_t deadline = wg_context_deadline(ctx);
    wg_status status = wg_context_status(ctx);
    if (status != WG_OK)
        APPEND(t, ", %s", wg_strstatus(status));
    else if (wg_point(deadline) != INT64_MAX)
        APPEND(t, ", deadline in %.1f s", seconds(deadline - wg_now()));
}

size_t wg_errgroup_describe(wg_errgroup *g, char *buffer, size_t size) {
    struct text t = {.buffer = buffer, .size = buffer ? size : 0};
    if (!g) {
        APPEND(&t, "no error group");
        return t.length;
    }
    wg_errgroup_counts counts = wg_errgroup_get_counts(g);
    size_t errors = wg_errgroup_errors(g, NULL, 0);
    APPEND(&t, "error group '%s': %lu running, %lu pending, %lu completed", wg_errgroup_name(g), counts.running,
           counts.pending, counts.completed);
    if (wg_errgroup_limit(g))
        APPEND(&t, ", limit %d", wg_errgroup_limit(g));
    if (wg_errgroup_backlog(g))
        APPEND(&t, ", backlog %d", wg_errgroup_backlog(g));
    if (errors)
        APPEND(&t, ", %zu failed", errors);
    append_end(&t, g);
    wg_errgroup_running(g, append_task, &t);
    return t.length;
}
