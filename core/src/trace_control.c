/* trace_control.c - the beginning and the end of a timeline.
 *
 * `wg_trace_state` is changed by the thread that takes it from OFF or ON to CHANGING: so one at a time begins or completes a
 * file. No lock is held meanwhile. */
#include "waitgroup/trace.h"

#include <stdio.h>
#include <string.h>

#include "inspect.h"
#include "trace.h"
#include "trace_file.h"

static wg_a32 completes_at_exit;

static bool change_from(uint32_t state) { return wg_cas_acquire32(&wg_trace_state, &state, WG_TRACE_CHANGING); }

static void complete(void) { (void)wg_trace_stop(); }

static void complete_at_exit(void) {
    uint32_t no = 0;
    if (wg_cas_relaxed32(&completes_at_exit, &no, 1))
        wg_at_exit(complete);
}

wg_status wg_trace_start(const char *path) {
    char first[WG_TRACE_LONGEST];
    if (!path)
        return WG_INVALID;
    if (!change_from(WG_TRACE_OFF))
        return WG_TRACING;
    complete_at_exit();
    size_t length = wg_trace_first(first, sizeof first);
    wg_status status = wg_trace_file_open(path, first, length);
    wg_store_release32(&wg_trace_state, status == WG_OK ? WG_TRACE_ON : WG_TRACE_OFF);
    return status;
}

static void put_unfinished_group(const struct wg_seen_group *g) {
    if (!g->finished)
        wg_trace_unfinished_group(g->tasks, wg_seen_label(g), g->where, g->language, g->made);
}

static void put_unfinished_task(const struct wg_snapshot *seen, const struct wg_seen_task *task) {
    const struct wg_seen_group *g = wg_seen_group_of(seen, task->group);
    wg_trace_unfinished_task(task->thread, task->name, g ? wg_seen_label(g) : "", task->since);
}

static void put_unfinished_wait(const struct wg_seen_wait *wait) {
    if (wait->has_thread)
        wg_trace_unfinished_wait(wait->thread, &wait->wish, wait->since);
    else
        wg_trace_unfinished_waiting(wait->name, &wait->wish, wait->since);
}

static void put_unfinished(void) {
    struct wg_snapshot seen;
    wg_snapshot_take(&seen);
    for (size_t i = 0; i < seen.group_count; i++)
        put_unfinished_group(&seen.groups[i]);
    for (size_t i = 0; i < seen.task_count; i++)
        put_unfinished_task(&seen, &seen.tasks[i]);
    for (size_t i = 0; i < seen.wait_count; i++)
        put_unfinished_wait(&seen.waits[i]);
    wg_snapshot_free(&seen);
}

wg_status wg_trace_stop(void) {
    if (!change_from(WG_TRACE_ON))
        return WG_INVALID;
    put_unfinished();
    char line[WG_TRACE_LAST];
    unsigned long missing = wg_trace_file_finish();
    wg_trace_file_close(line, missing ? wg_trace_missing(line, sizeof line, missing) : 0);
    wg_store_release32(&wg_trace_state, WG_TRACE_OFF);
    return missing ? WG_NOT_WRITTEN : WG_OK;
}

bool wg_trace_on(void) { return wg_trace_is_on(); }

void wg_trace_name_thread(const char *name) {
    struct wg_thread *self = wg_thread();
    snprintf(self->name, sizeof self->name, "%s", name ? name : "");
    self->traced = 0;
}

/* For programs that one cannot change. */
__attribute__((constructor)) static void read_environment(void) {
    const char *path = wg_environment("WAITGROUP_TRACE");
    if (!path || !*path)
        return;
    wg_keep_self_loaded(); /* the file is completed when the process exits */
    wg_status status = wg_trace_start(path);
    if (status != WG_OK)
        fprintf(stderr, "waitgroup: WAITGROUP_TRACE=%s: %s\n", path, wg_strstatus(status));
}

void wg_trace_reset(void) {
    wg_store_relaxed32(&wg_trace_state, WG_TRACE_OFF);
    wg_trace_file_reset();
}
