/* errgroup_slots.c - see errgroup_slots.h. */
#include "errgroup_slots.h"

#include "errgroup.h"
#include "errgroup_task.h"

/* A change of the slots, and what follows from it: each is done although the thread may end in an observer. */
struct change {
    wg_errgroup *group;
    void (*make)(struct change *change); /* NULL once it is made */
    bool kept;                           /* with a reference that keeps the group meanwhile */
    /* What follows. */
    struct wg_link ready; /* stored tasks that may start now */
    bool gives;           /* a slot has to be given back */
    bool spare, first;    /* a reference was taken beforehand; it is needed, for it was the first task */
    /* Of some changes. */
    int32_t limit;
    struct wg_link *stored;
    wg_observer *observer;
    bool sync, prevented;
};

/* If two are given up, the first is not the last one that there is. */
static void release(struct change *change) {
    bool spare = change->spare && !change->first, kept = change->kept;
    change->spare = change->kept = false;
    if (spare)
        wg_errgroup_release(change->group);
    if (kept)
        wg_errgroup_release(change->group);
}

/* See wg_finish. */
static void go_on(void *raw) {
    struct change *change = raw;
    void (*make)(struct change *) = change->make;
    change->make = NULL;
    if (make)
        make(change);
    wg_group_start_ready(change->group, &change->ready);
    bool gives = change->gives;
    change->gives = false;
    if (gives)
        wg_group_give_slot(change->group);
    release(change);
}

/* The group is kept meanwhile: what is called may give up the caller's reference. */
static void make_change(struct change *change) {
    wg_errgroup_retain(change->group);
    change->kept = true;
    wg_finish(go_on, change);
}

/* The limit. */

int wg_errgroup_limit(const wg_errgroup *g) {
    int limit = g ? wg_slots_limit(&g->slots) : 0;
    return limit == WG_NO_LIMIT ? 0 : limit;
}

static void resize(struct change *change) { wg_slots_resize(&change->group->slots, change->limit, &change->ready); }

wg_status wg_errgroup_set_limit(wg_errgroup *g, int limit) {
    if (!g || limit <= 0)
        return WG_INVALID;
    make_change(&(struct change){.group = g, .make = resize, .limit = limit});
    return WG_OK;
}

/* The end of the context. */

static void end(struct change *change) { wg_slots_end(&change->group->slots, &change->ready); }

/* Nothing is kept: the release of the group waits for this call. If an observer that is told gives up the last reference itself,
 * there are no stored tasks, which hold the reference of the tasks until they are dropped, and nothing is left to be done. */
static void end_slots(void *group) {
    struct change change = {.group = group, .make = end};
    wg_finish(go_on, &change);
}

void wg_group_watch_end(wg_errgroup *g) {
    struct wg_bucket *bucket = wg_group_bucket(g);
    wg_mutex_lock(&bucket->lock);
    bool watched = g->end_watched;
    g->end_watched = true;
    wg_mutex_unlock(&bucket->lock);
    if (!watched)
        wg_context_observe(g->context, &g->at_end, end_slots, g);
}

/* Stored tasks. */

static void store(struct change *change) { wg_slots_place(&change->group->slots, change->stored, &change->ready); }

void wg_group_store(wg_errgroup *g, struct wg_stored_task *stored) {
    make_change(&(struct change){.group = g, .make = store, .stored = &stored->link});
}

/* Observers. */

static void observe(struct change *change) {
    wg_errgroup *g = change->group;
    change->spare = wg_errgroup_retain(g) != NULL;
    wg_group_watch_end(g);
    wg_context_check(g->context);
    wg_slots_observe(&g->slots, change->observer, &change->first);
}

void wg_errgroup_observe_slot(wg_errgroup *g, wg_observer *observer) {
    make_change(&(struct change){.group = g, .make = observe, .observer = observer});
}

static void unobserve(struct change *change) {
    change->prevented = wg_slots_unobserve(&change->group->slots, change->observer, change->sync, &change->gives);
}

bool wg_errgroup_unobserve_slot(wg_errgroup *g, wg_observer *observer, bool sync) {
    struct change change = {.group = g, .make = unobserve, .observer = observer, .sync = sync};
    make_change(&change); /* others may be told */
    return change.prevented;
}

/* Waiting. */

/* A thread that comes to a slot: it waits for one, or has one. A step is counted before it is made; see wg_finish. */
struct coming {
    enum { WAIT, LOOK, GIVE, LET_GO, THERE } step;
    wg_errgroup *group; /* with a reference: giving up the last one meanwhile does no harm */
    const wg_until *until;
    bool ahead; /* a place ahead of the slots will do */
    bool gives; /* the slot cannot be used */
    wg_status status;
};

static void wait_in_queue(struct coming *coming) {
    bool first = false;
    coming->status = wg_slots_wait(&coming->group->slots, coming->until, coming->ahead, &first);
    if (first)
        wg_errgroup_retain(coming->group);
}

/* The group may have ended meanwhile. To look may call observers of that end. */
static void look_in_slot(struct coming *coming) {
    if (coming->status != WG_OK)
        return;
    coming->gives = true;
    coming->status = wg_context_check(coming->group->context);
    coming->gives = coming->status != WG_OK;
}

static void come(void *raw) {
    struct coming *coming = raw;
    while (coming->step < THERE)
        switch (coming->step++) {
        case WAIT: wait_in_queue(coming); break;
        case LOOK: look_in_slot(coming); break;
        case GIVE:
            if (coming->gives)
                wg_group_give_slot(coming->group);
            break;
        case LET_GO: wg_errgroup_release(coming->group); break; /* in a slot the tasks' reference is there */
        case THERE: break;
        }
}

wg_status wg_group_wait_for_slot(wg_errgroup *g, const wg_until *until, bool ahead) {
    struct coming coming = {.group = wg_errgroup_retain(g), .until = until, .ahead = ahead, .status = WG_CONTEXT_ENDED};
    wg_finish(come, &coming);
    return coming.status;
}

wg_status wg_group_keep_slot(wg_errgroup *g, wg_status status) {
    struct coming coming = {.step = LOOK, .group = wg_errgroup_retain(g), .status = status, .gives = status != WG_OK};
    wg_finish(come, &coming);
    return coming.status;
}

wg_status wg_errgroup_wait_for_slot(wg_errgroup *g, const wg_until *until) {
    wg_status status = wg_group_take_slot(g);
    return status == WG_LIMIT ? wg_group_wait_for_slot(g, until, false) : status;
}
