/* inspect.c - see inspect.h. */
#include "inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "waitqueue.h"

static void copy(char text[WG_SEEN_TEXT], const char *from) {
    if (from)
        snprintf(text, WG_SEEN_TEXT, "%s", from);
}

static void look_at_place(const wg_place *place, struct wg_seen_wait *seen) {
    if (!place)
        return;
    copy(seen->name, place->task);
    copy(seen->file, place->file);
    seen->language = place->language;
    seen->line = place->line;
}

static void look_at_wait(const struct wg_wait_record *record, struct wg_snapshot *s) {
    if (s->wait_count++ >= s->wait_room)
        return;
    const struct wg_frame *frame = wg_task_frame(record->frames);
    struct wg_seen_wait *seen = &s->waits[s->wait_count - 1];
    *seen = (struct wg_seen_wait){
        .wish = record->wish,
        .group = frame ? frame->tasks : NULL,
        .frame = frame,
        .since = record->since,
        .deadline = record->deadline,
        .thread = record->thread,
        .has_thread = record->has_thread,
    };
    look_at_place(record->until->place, seen);
}

static void look_at_context(struct wg_link *link, struct wg_snapshot *s) {
    if (s->context_count++ < s->context_room)
        s->contexts[s->context_count - 1] = wg_context_look(link);
}

static void look_at_bucket(struct wg_bucket *bucket, struct wg_snapshot *s) {
    struct wg_link *link;
    wg_mutex_lock(&bucket->lock);
    for (link = wg_list_first(&bucket->groups); link; link = wg_list_after(&bucket->groups, link))
        wg_errgroup_look(link, s);
    for (link = wg_list_first(&bucket->waits); link; link = wg_list_after(&bucket->waits, link))
        look_at_wait(WG_MEMBER(link, struct wg_wait_record, link), s);
    for (link = wg_list_first(&bucket->contexts); link; link = wg_list_after(&bucket->contexts, link))
        look_at_context(link, s);
    wg_mutex_unlock(&bucket->lock);
}

static void look(struct wg_snapshot *s) {
    s->group_count = s->task_count = s->wait_count = s->context_count = 0;
    for (struct wg_bucket *bucket = wg_bucket_after(NULL); bucket; bucket = wg_bucket_after(bucket))
        look_at_bucket(bucket, s);
}

/* More room than was needed; there may be more by then. */
static bool grow(void **array, size_t *room, size_t needed, size_t size) {
    if (needed <= *room)
        return true;
    void *more = malloc(2 * needed * size);
    if (!more)
        return false;
    if (*room > 0)
        memcpy(more, *array, *room * size);
    free(*array);
    *array = more;
    *room = 2 * needed;
    return true;
}

static bool all_fit(struct wg_snapshot *s) {
    return s->group_count <= s->group_room && s->task_count <= s->task_room && s->wait_count <= s->wait_room &&
           s->context_count <= s->context_room;
}

static bool grow_all(struct wg_snapshot *s) {
    return grow((void **)&s->groups, &s->group_room, s->group_count, sizeof *s->groups) &&
           grow((void **)&s->tasks, &s->task_room, s->task_count, sizeof *s->tasks) &&
           grow((void **)&s->waits, &s->wait_room, s->wait_count, sizeof *s->waits) &&
           grow((void **)&s->contexts, &s->context_room, s->context_count, sizeof *s->contexts);
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static void note_asleep(struct wg_snapshot *s, const void *group, int64_t since) {
    for (size_t i = 0; i < s->group_count; i++)
        if (s->groups[i].tasks == group && since < s->groups[i].asleep_since)
            s->groups[i].asleep_since = since;
}

static int unfinished(const struct wg_seen_group *g) { return g->counts.running + g->counts.pending > 0; }

/* For qsort: the longest asleep first, then those with unfinished tasks, then the oldest. */
static int compare(const void *raw_a, const void *raw_b) {
    const struct wg_seen_group *a = raw_a, *b = raw_b;
    if (a->asleep_since != b->asleep_since)
        return a->asleep_since < b->asleep_since ? -1 : 1;
    if (unfinished(a) != unfinished(b))
        return unfinished(b) - unfinished(a);
    return a->made < b->made ? -1 : a->made > b->made;
}

bool wg_snapshot_take(struct wg_snapshot *s) {
    *s = (struct wg_snapshot){.now = 0};
    look(s);
    bool fits = all_fit(s);
    while (!fits && grow_all(s)) {
        look(s);
        fits = all_fit(s);
    }
    s->now = wg_now();
    s->group_count = least(s->group_count, s->group_room);
    s->task_count = least(s->task_count, s->task_room);
    s->wait_count = least(s->wait_count, s->wait_room);
    s->context_count = least(s->context_count, s->context_room);
    for (size_t i = 0; i < s->wait_count; i++) {
        note_asleep(s, s->waits[i].group, s->waits[i].since);
        note_asleep(s, s->waits[i].wish.subject, s->waits[i].since);
    }
    if (s->group_count > 0)
        qsort(s->groups, s->group_count, sizeof *s->groups, compare);
    return fits;
}

void wg_snapshot_free(struct wg_snapshot *s) {
    free(s->groups);
    free(s->tasks);
    free(s->waits);
    free(s->contexts);
}

const char *wg_seen_label(const struct wg_seen_group *group) {
    return group->name[0] ? group->name : group->where[0] ? group->where : "error group";
}

const struct wg_seen_group *wg_seen_group_of(const struct wg_snapshot *s, const void *tasks) {
    for (size_t i = 0; i < s->group_count; i++)
        if (s->groups[i].tasks == tasks)
            return &s->groups[i];
    return NULL;
}

const struct wg_seen_context *wg_seen_context_at(const struct wg_snapshot *s, const void *context) {
    for (size_t i = 0; i < s->context_count; i++)
        if (s->contexts[i].context == context)
            return &s->contexts[i];
    return NULL;
}

const struct wg_seen_wait *wg_seen_wait_in(const struct wg_snapshot *s, const struct wg_frame *frame) {
    for (size_t i = 0; frame && i < s->wait_count; i++)
        if (s->waits[i].frame == frame)
            return &s->waits[i];
    return NULL;
}
