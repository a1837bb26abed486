/* errgroup_look.c - what there is to see of an error group: its errors, its counts, and what a snapshot (inspect.h) and a
 * timeline (trace.h) copy. */
#include <stdio.h>

#include "context.h"
#include "count.h"
#include "errgroup_running.h"
#include "errgroup_state.h"
#include "inspect.h"

size_t wg_errgroup_errors(wg_errgroup *g, wg_error **errors, size_t capacity) {
    if (!g)
        return 0;
    struct wg_bucket *bucket = wg_group_bucket(g);
    wg_mutex_lock(&bucket->lock);
    struct wg_group_task *task = g->failed;
    for (size_t i = 0; errors && i < capacity && task; i++, task = task->as.failed.next)
        errors[i] = task->as.failed.error;
    size_t n = g->failures;
    wg_mutex_unlock(&bucket->lock);
    return n;
}

wg_errgroup_counts wg_errgroup_get_counts(wg_errgroup *g) {
    wg_errgroup_counts counts = {0, 0, 0};
    if (!g)
        return counts;
    /* `started` is read first, so tasks that end meanwhile make `running` too small, never too large. A thread that sees
     * the start of a task also sees the earlier end of the task that gave its slot to it. */
    uint64_t started = wg_load_acquire64(&g->started);
    uint64_t ended = wg_load_relaxed64(&g->ended);
    uint64_t unfinished = (uint64_t)wg_count(&g->slots.tasks);
    uint64_t running = started > ended ? started - ended : 0;
    counts.completed = (unsigned long)(ended + wg_load_relaxed64(&g->never_started));
    counts.running = (unsigned long)running;
    counts.pending = unfinished > running ? (unsigned long)(unfinished - running) : 0;
    return counts;
}

static void copy_name(char copy[WG_SEEN_TEXT], const char *name) {
    snprintf(copy, WG_SEEN_TEXT, "%s", name ? name : "");
}

bool wg_errgroup_label(const void *tasks, char text[WG_TRACE_LABEL]) {
    struct wg_bucket *bucket = wg_bucket_of(tasks);
    bool found = false;
    wg_mutex_lock(&bucket->lock);
    struct wg_link *head = &bucket->groups;
    for (struct wg_link *link = wg_list_first(head); link && !found; link = wg_list_after(head, link)) {
        const wg_errgroup *g = WG_MEMBER(link, wg_errgroup, link);
        found = &g->slots.tasks == tasks;
        if (found)
            snprintf(text, WG_TRACE_LABEL, "%s", wg_group_label(g));
    }
    wg_mutex_unlock(&bucket->lock);
    return found;
}

static void look_at_task(const wg_errgroup *g, const struct wg_running_task *entry, struct wg_snapshot *snapshot) {
    if (snapshot->task_count++ >= snapshot->task_room)
        return;
    struct wg_seen_task *task = &snapshot->tasks[snapshot->task_count - 1];
    *task = (struct wg_seen_task){
        .group = &g->slots.tasks, .since = entry->since, .frame = entry->frame, .thread = entry->thread};
    copy_name(task->name, entry->name);
}

static void look_at_group(wg_errgroup *g, struct wg_seen_group *seen) {
    *seen = (struct wg_seen_group){
        .tasks = &g->slots.tasks,
        .language = g->language,
        .made = g->made,
        .deadline = wg_context_deadline(g->context),
        .status = wg_context_status(g->context),
        .limit = wg_errgroup_limit(g),
        .backlog = g->slots.ahead,
        .counts = wg_errgroup_get_counts(g),
        .failures = g->failures,
        .finished = wg_load_relaxed32(&g->slots.closed),
        .lists = g->lists,
        .asleep_since = INT64_MAX,
    };
    copy_name(seen->name, g->name);
    copy_name(seen->where, g->where);
}

void wg_errgroup_look(struct wg_link *group, struct wg_snapshot *snapshot) {
    wg_errgroup *g = WG_MEMBER(group, wg_errgroup, link);
    struct wg_link *head = wg_group_running(g);
    if (snapshot->group_count++ < snapshot->group_room)
        look_at_group(g, &snapshot->groups[snapshot->group_count - 1]);
    for (struct wg_link *link = wg_list_first(head); link; link = wg_list_after(head, link))
        look_at_task(g, WG_MEMBER(link, struct wg_running_task, link), snapshot);
}
