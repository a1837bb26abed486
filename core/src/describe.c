/* describe.c - an error group in one line, for people. */
#include "waitgroup/errgroup.h"

#include "deadline.h"
#include "text.h"

struct list {
    struct wg_text *text;
    unsigned tasks;
};

static void append_task(void *raw, const char *name, int64_t duration) {
    struct list *list = raw;
    wg_text_add(list->text, "%s%s (%.1f s)", list->tasks++ ? ", " : "; running: ", name[0] ? name : "a task",
                wg_seconds(duration));
}

static void append_end(struct wg_text *t, wg_errgroup *g) {
    wg_context *ctx = wg_errgroup_context(g);
    int64_t deadline = wg_context_deadline(ctx);
    wg_status status = wg_context_status(ctx);
    if (status != WG_OK)
        wg_text_add(t, ", %s", wg_strstatus(status));
    else if (wg_point(deadline) != INT64_MAX)
        wg_text_add(t, ", deadline in %.1f s", wg_seconds(deadline - wg_now()));
}

size_t wg_errgroup_describe(wg_errgroup *g, char *buffer, size_t size) {
    struct wg_text t = {.buffer = buffer, .size = buffer ? size : 0};
    struct list list = {.text = &t};
    if (!g) {
        wg_text_add(&t, "no error group");
        return t.length;
    }
    wg_errgroup_counts counts = wg_errgroup_get_counts(g);
    size_t errors = wg_errgroup_errors(g, NULL, 0);
    wg_text_add(&t, "error group '%s': %lu running, %lu pending, %lu completed", wg_errgroup_name(g), counts.running,
                counts.pending, counts.completed);
    if (wg_errgroup_limit(g))
        wg_text_add(&t, ", limit %d", wg_errgroup_limit(g));
    if (wg_errgroup_backlog(g))
        wg_text_add(&t, ", backlog %d", wg_errgroup_backlog(g));
    if (errors)
        wg_text_add(&t, ", %zu failed", errors);
    append_end(&t, g);
    wg_errgroup_running(g, append_task, &list);
    return t.length;
}
