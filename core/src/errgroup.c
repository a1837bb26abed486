/* errgroup.c - the error group as an object: its making, its references, and what it was made with. The parts it consists of,
 * and which file does what with them, are in errgroup_state.h. */
#include "errgroup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "count.h"
#include "dropped.h"
#include "errgroup_queue.h"
#include "errgroup_state.h"
#include "inspect.h"
#include "pool.h"
#include "ref.h"
#include "registry.h"

/* From now on wg_errgroup_look may be called. */
static void enrol(wg_errgroup *g) {
    struct wg_bucket *bucket = wg_group_bucket(g);
    wg_mutex_lock(&bucket->lock);
    wg_list_append(&bucket->groups, &g->link);
    wg_mutex_unlock(&bucket->lock);
}

static void strike_off(wg_errgroup *g) {
    struct wg_bucket *bucket = wg_group_bucket(g);
    wg_mutex_lock(&bucket->lock);
    wg_list_remove(&g->link);
    wg_mutex_unlock(&bucket->lock);
}

wg_status wg_errgroup_new(wg_errgroup **out, const wg_errgroup_options *options) {
    static const wg_errgroup_options nothing_special = {0};
    if (!options)
        options = &nothing_special;
    if (!out || options->limit < 0 || options->backlog < 0 || options->grace < 0)
        return WG_INVALID;
    const char *name = options->name ? options->name : "", *where = options->where ? options->where : "";
    wg_errgroup *g = malloc(sizeof *g + strlen(name) + strlen(where) + 2);
    if (!g)
        return WG_NO_MEMORY;
    *g = (wg_errgroup){
        .refs = 1,
        .grace = options->grace,
        .continues = options->continue_on_error,
        .lists = options->track || options->grace > 0 || wg_dump_is_asked_for(),
        .made = wg_now(),
        .language = options->language ? options->language : "C",
        .pool = wg_pool_retain(wg_pool_or_default(options->pool)),
    };
    g->last_failed = &g->failed;
    g->where = strcpy(g->name, name) + strlen(name) + 1;
    strcpy(g->name + strlen(name) + 1, where);
    wg_status status = wg_context_of_group(&g->context, options->parent, options->deadline, wg_group_label(g));
    if (status != WG_OK) {
        wg_pool_release(g->pool);
        free(g);
        return status;
    }
    wg_slots_init(&g->slots, options->limit ? options->limit : WG_NO_LIMIT, options->backlog, g->pool, g->context);
    enrol(g);
    *out = g;
    return WG_OK;
}

wg_errgroup *wg_errgroup_retain(wg_errgroup *g) {
    if (g)
        wg_ref_take(&g->refs);
    return g;
}

/* If it had tasks, and nobody has waited for them, tell that. */
static void note_if_dropped(const wg_errgroup *g) {
    if (wg_load_relaxed32(&g->slots.closed) ||
        wg_load_relaxed64(&g->started) + wg_load_relaxed64(&g->never_started) == 0)
        return;
    struct wg_dropped dropped = {.language = g->language, .made = g->made, .failures = g->failures};
    snprintf(dropped.name, sizeof dropped.name, "%s", g->name);
    snprintf(dropped.where, sizeof dropped.where, "%s", g->where);
    wg_dropped_add(&dropped);
}

/* Nobody finds it any more, and nothing will be called for it. */
static void retire(wg_errgroup *g) {
    wg_registry_end(&g->id);
    strike_off(g);
    if (g->end_watched)
        wg_context_unobserve(g->context, &g->at_end, true);
    if (g->cancel_watched)
        wg_context_unobserve(g->context, &g->at_cancel, true);
    if (g->zero_watched)
        wg_unobserve_zero(&g->slots.tasks, &g->at_zero, true);
    if (g->grace_timer)
        wg_context_unobserve(g->grace_timer, &g->at_grace_end, true);
    wg_context_release(g->grace_timer);
}

/* To destroy an error may end the thread. */
static void drop_failures(wg_errgroup *g) {
    for (struct wg_group_task *task; (task = g->failed);) {
        wg_error *error = task->as.failed.error;
        g->failed = task->as.failed.next;
        if (task != &g->last_resort)
            wg_work_free(&task->work);
        wg_error_release(error);
    }
}

/* What is left of a group that nobody refers to. */
struct remains {
    wg_errgroup *group;
    wg_context *context;
};

/* See wg_finish. */
static void bury(void *raw) {
    struct remains *remains = raw;
    wg_errgroup *g = remains->group;
    if (g) {
        drop_failures(g);
        wg_group_queues_end(g);
        wg_pool_release(g->pool);
        free(g);
        remains->group = NULL;
    }
    wg_context *context = remains->context;
    remains->context = NULL;
    wg_context_release(context);
}

void wg_errgroup_release(wg_errgroup *g) {
    if (!g || !wg_ref_drop(&g->refs))
        return;
    note_if_dropped(g);
    retire(g);
    struct remains remains = {g, g->context};
    wg_finish(bury, &remains);
}

static bool try_retain(void *group) { return wg_ref_try_take(&((wg_errgroup *)group)->refs); }

int64_t wg_errgroup_id(wg_errgroup *g) { return g ? wg_registry_id(&g->id, WG_KIND_ERRGROUP, g, try_retain) : 0; }

const char *wg_errgroup_name(const wg_errgroup *g) { return g ? g->name : ""; }

int64_t wg_errgroup_grace(const wg_errgroup *g) { return g ? g->grace : 0; }

bool wg_errgroup_continues(const wg_errgroup *g) { return g && g->continues; }

int wg_errgroup_backlog(const wg_errgroup *g) { return g ? g->slots.ahead : 0; }

wg_context *wg_errgroup_context(wg_errgroup *g) { return g ? g->context : NULL; }

struct wg_slots *wg_errgroup_slots(wg_errgroup *g) {
    return &g->slots;
}

wg_waitgroup *wg_errgroup_tasks(wg_errgroup *g) { return g ? &g->slots.tasks : NULL; }

wg_status wg_errgroup_cancel(wg_errgroup *g, wg_error *cause) {
    return g ? wg_context_cancel(g->context, cause) : WG_INVALID;
}
