/* deadlock.c - see deadlock.h. */
#include "deadlock.h"

#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "deadline.h"
#include "errgroup.h"
#include "fork.h"
#include "slots.h"
#include "text.h"
#include "wait.h"

#define CHAINS 64
#define REPORT_SIZE 4000 /* of one that is allocated */

static wg_mutex lock;
static struct wg_link chains[CHAINS]; /* the frames of all published waits, by what counts their tasks */

static struct wg_link *chain_of(const void *tasks) {
    uintptr_t bits = (uintptr_t)tasks;
    return &chains[(bits >> 4 ^ bits >> 10 ^ bits >> 16) % CHAINS];
}

static bool has_deadline(const wg_context *ctx) { return wg_point(wg_context_deadline(ctx)) != INT64_MAX; }

bool wg_is_certain(struct wg_frame *frames, const wg_until *until, const wg_context *other) {
    const struct wg_frame *frame = wg_task_frame(frames);
    if (!frame || wg_point(until->deadline) != INT64_MAX || has_deadline(other))
        return false;
    const wg_context *bound = wg_until_context(until);
    return !bound || (!has_deadline(bound) && wg_context_descends(frame->ctx, bound));
}

/* All that follows is called with the lock held, except the calls of the header. */

static struct wg_frame *frame_at(struct wg_link *link) { return WG_MEMBER(link, struct wg_frame, link); }

/* The first frame in a chain from `link` on whose task counts in `tasks`; NULL if there is none. */
static struct wg_frame *search(const void *tasks, struct wg_link *link) {
    while (link && frame_at(link)->tasks != tasks)
        link = wg_list_after(chain_of(tasks), link);
    return frame_at(link);
}

static struct wg_frame *first_frame(const void *tasks) { return search(tasks, wg_list_first(chain_of(tasks))); }

static struct wg_frame *next_frame(struct wg_frame *frame) {
    return search(frame->tasks, wg_list_after(chain_of(frame->tasks), &frame->link));
}

/* A stuck task of those that are waited for directly; NULL if there is none. For a slot, any task that holds one. */
static struct wg_frame *stuck_task(const struct wg_wish *wish) {
    struct wg_frame *frame = first_frame(wish->subject);
    while (frame && !(frame->waits_in->stuck && (wish->what != WG_FOR_TASK || frame->arg == wish->arg)))
        frame = next_frame(frame);
    return frame;
}

/* Are all slots in use held by stuck tasks? */
static bool all_held(struct wg_slots *slots) {
    unsigned stuck = 0;
    for (struct wg_frame *frame = first_frame(&slots->tasks); frame; frame = next_frame(frame))
        stuck += frame->waits_in->stuck;
    return wg_slots_held_by(slots, stuck);
}

static bool never_comes(const struct wg_wish *wish) {
    switch (wish->what) {
    case WG_FOR_ZERO: return stuck_task(wish);
    case WG_FOR_SLOT: return all_held(wish->slots);
    case WG_FOR_TASK:
        return stuck_task(wish) ||
               (wish->slots && all_held(wish->slots) && wg_errgroup_has_stored(wish->group, wish->arg));
    case WG_FOR_CONTEXT: break;
    }
    return false;
}

/* See the header for why it takes the lock of what is waited for. */
static bool has_its_wake(const struct wg_wait_record *record) {
    for (int i = 0; i < 2; i++)
        if (record->ends[i] && wg_context_status(record->ends[i]) != WG_OK)
            return true;
    if (!record->word)
        return false;
    struct wg_bucket *bucket = wg_bucket_of(record->event);
    wg_mutex_lock(&bucket->lock);
    bool has = wg_load_acquire32(record->word) & ~WG_KICKED;
    wg_mutex_unlock(&bucket->lock);
    return has;
}

static bool is_stuck(const struct wg_wait_record *record) {
    if (record->hindered_by && record->hindered_by->stuck)
        return true;
    return never_comes(&record->wish) && !has_its_wake(record);
}

/* Behind `last`, unless it is in the list; returns the last then. */
static struct wg_wait_record *add(struct wg_wait_record *last, struct wg_wait_record *record) {
    if (record->found)
        return last;
    if (last)
        last->next = record;
    record->found = record->stuck = true;
    record->next = NULL;
    return record;
}

/* All waits on which it may depend whether `me` is stuck, as a list; for now all of them are taken to be stuck. */
static void collect(struct wg_wait_record *me) {
    struct wg_wait_record *last = add(NULL, me);
    for (struct wg_wait_record *record = me; record; record = record->next) {
        if (record->hindered_by)
            last = add(last, record->hindered_by);
        for (struct wg_frame *frame = first_frame(record->wish.subject); frame; frame = next_frame(frame))
            last = add(last, frame->waits_in);
    }
}

/* One look at the list: those without a reason are no longer taken to be stuck. True if there was one. */
static bool some_are_free(struct wg_wait_record *list) {
    bool some = false;
    for (struct wg_wait_record *record = list; record; record = record->next) {
        bool was = record->stuck;
        record->stuck = was && is_stuck(record);
        some |= was != record->stuck;
    }
    return some;
}

/* Those that remain are those of the last look, which changes nothing. */
static bool look(struct wg_wait_record *me) {
    collect(me);
    while (me->stuck && some_are_free(me)) {}
    return me->stuck;
}

static void forget(struct wg_wait_record *list) {
    for (struct wg_wait_record *record = list; record; record = record->next)
        record->found = record->stuck = false;
}

/* The message. */

static void append_group(struct wg_text *t, const wg_errgroup *g) {
    const char *name = g ? wg_errgroup_name(g) : "";
    wg_text_add(t, name[0] ? "group '%s'" : g ? "a group%s" : "a wait group%s", name);
}

static void append_wish(struct wg_text *t, const struct wg_wish *wish, const wg_errgroup *g) {
    static const char *const waits[] = {"all tasks of ", "a task of ", "a slot of "};
    wg_text_add(t, "%s", wish->text ? wish->text : waits[wish->what]);
    if (wish->text)
        return;
    append_group(t, wish->group ? wish->group : g);
    if (wish->what == WG_FOR_SLOT)
        wg_text_add(t, ", all of which are held (limit %d)", (int)wg_slots_limit(wish->slots));
    else if (wish->what == WG_FOR_TASK && !stuck_task(wish))
        wg_text_add(t, ", which can get no slot (limit %d)", (int)wg_slots_limit(wish->slots));
}

/* A step: a wait, and the task of it that the step before waits for. */
struct step {
    struct wg_wait_record *record;
    const struct wg_frame *frame;
};

static void append_task(struct wg_text *t, struct step step, const wg_place *place) {
    bool innermost = step.frame == wg_task_frame(step.record->frames);
    const char *name = innermost && place->task ? place->task : step.frame->name;
    wg_text_add(t, name && name[0] ? "task '%s'" : "a task%s", name ? name : "");
    if (step.frame->group)
        wg_text_add(t, " of ");
    if (step.frame->group)
        append_group(t, step.frame->group);
    wg_text_add(t, " (%s)", place->language ? place->language : "C");
}

static void append_step(struct wg_text *t, struct step step, const wg_errgroup *g, bool first) {
    static const wg_place unknown = {0};
    const wg_place *place = step.record->until->place ? step.record->until->place : &unknown;
    wg_text_add(t, "\n  %s ", first ? "this call, in" : "in");
    append_task(t, step, place);
    if (first)
        wg_text_add(t, ", waits for ");
    else
        wg_text_add(t, ", has waited %.1f s for ", wg_seconds(wg_now() - step.record->since));
    append_wish(t, &step.record->wish, g);
    if (place->file)
        wg_text_add(t, ", at %s:%d", place->file, place->line);
}

/* The stuck task that keeps the wish from coming true. A stored task waits for those that hold the slots. */
static const struct wg_frame *culprit(const struct wg_wish *wish) {
    const struct wg_frame *frame = stuck_task(wish);
    if (frame || wish->what != WG_FOR_TASK)
        return frame;
    struct wg_wish slot = *wish;
    slot.what = WG_FOR_SLOT;
    return stuck_task(&slot);
}

/* Why the wait of this step is stuck; without a record if there is no more to say. */
static struct step next_step(struct step step) {
    const struct wg_frame *frame = culprit(&step.record->wish);
    if (frame)
        return (struct step){frame->waits_in, frame};
    struct wg_wait_record *sleep = step.record->hindered_by;
    return (struct step){sleep, sleep ? wg_task_frame(sleep->frames) : NULL};
}

/* The frame of a task that counts in `tasks`, or NULL. */
static const struct wg_frame *frame_of(const struct wg_frame *frame, const void *tasks) {
    while (frame && frame->tasks != tasks)
        frame = frame->outer;
    return frame;
}

/* Where the call is that waits for a group, in whose task. */
static void append_own_task(struct wg_text *t, const struct wg_wait_record *me, const struct wg_frame *own) {
    const wg_place *place = me->until->place;
    bool innermost = own == wg_task_frame(me->frames);
    const char *name = innermost && place && place->task ? place->task : own->name;
    if (name && name[0])
        wg_text_add(t, "called from the group's own task '%s'", name);
    else
        wg_text_add(t, "called from a task of the group");
}

static void append_head(struct wg_text *t, const struct wg_wait_record *me) {
    const struct wg_wish *wish = &me->wish;
    const struct wg_frame *own = wish->what == WG_FOR_SLOT ? frame_of(me->frames, wish->subject) : NULL;
    if (!own) {
        wg_text_add(t, "tasks wait for each other, and none can go on:");
        return;
    }
    append_own_task(t, me, own);
    wg_text_add(t,
                ", and all tasks that the limit of %d allows wait for each other; raise the limit, or use try_go() "
                "inside tasks:",
                (int)wg_slots_limit(wish->slots));
}

/* One step a line, until the waits repeat: those that were told of are no longer marked as found. */
static void append_ring(struct wg_text *t, struct wg_wait_record *me) {
    struct step step = {me, wg_task_frame(me->frames)};
    append_head(t, me);
    for (bool first = true; step.record && step.record->found; first = false) {
        struct step next = next_step(step);
        step.record->found = false;
        append_step(t, step, next.frame ? next.frame->group : NULL, first);
        step = next;
    }
}

void wg_deadlock_describe(struct wg_wait_record *me) {
    struct wg_text t = {me->until->report, me->until->report_size, 0};
    if (me->report && !t.buffer)
        t = (struct wg_text){ *me->report = malloc(REPORT_SIZE), REPORT_SIZE, 0};
    if (t.buffer && t.size > 0)
        append_ring(&t, me);
}

void wg_own_group_describe(wg_errgroup *g, const wg_until *until) {
    if (!until->report || until->report_size == 0)
        return;
    struct wg_text t = {until->report, until->report_size, 0};
    struct wg_wait_record wait = {.until = until, .frames = wg_thread()->frame};
    append_own_task(&t, &wait, frame_of(wait.frames, wg_errgroup_tasks(g)));
    wg_text_add(&t, ", which would wait for itself; wait outside of the group's tasks");
}

/* Publishing. */

/* `outer`, which the tasks are in already, cannot go on before `me` is over. */
static void hinder(struct wg_wait_record *me, struct wg_wait_record *outer) {
    while (outer->hindered_by)
        outer = outer->hindered_by;
    outer->hindered_by = me;
    me->hinders = outer;
}

static void link_frames(struct wg_wait_record *me) {
    me->published = true;
    if (me->observer)
        me->observer->wait_ = me;
    for (struct wg_frame *frame = me->frames; frame; frame = frame->outer) {
        if (wg_is_linked(&frame->link)) {
            hinder(me, frame->waits_in);
            return;
        }
        frame->waits_in = me;
        wg_list_append(chain_of(frame->tasks), &frame->link);
    }
}

static void unlink_frames(struct wg_wait_record *me) {
    me->published = false;
    if (me->observer)
        me->observer->wait_ = NULL;
    for (struct wg_frame *frame = me->frames; frame && frame->waits_in == me; frame = frame->outer) {
        wg_list_remove(&frame->link);
        frame->waits_in = NULL;
    }
    if (me->hinders)
        me->hinders->hindered_by = NULL;
    me->hinders = NULL;
}

bool wg_deadlock_publish(struct wg_wait_record *me) {
    wg_mutex_lock(&lock);
    link_frames(me);
    bool stuck = look(me);
    if (stuck)
        wg_deadlock_describe(me);
    forget(me);
    if (stuck)
        unlink_frames(me);
    wg_mutex_unlock(&lock);
    return !stuck;
}

/* In the child of a fork: the chains are empty, and what the frames are linked to may be gone. */
static void forget_frames(struct wg_wait_record *me) {
    for (struct wg_frame *frame = me->frames; frame && frame->waits_in == me; frame = frame->outer) {
        frame->link = (struct wg_link){NULL, NULL};
        frame->waits_in = NULL;
    }
}

void wg_deadlock_withdraw(struct wg_wait_record *me) {
    wg_mutex_lock(&lock);
    if (me->epoch == wg_fork_epoch())
        unlink_frames(me);
    else
        forget_frames(me);
    wg_mutex_unlock(&lock);
}

bool wg_deadlock_break(struct wg_slots *slots, void (*resolve)(struct wg_slots *slots)) {
    struct wg_wait_record any = {.wish = {.what = WG_FOR_SLOT, .subject = &slots->tasks, .slots = slots}};
    wg_mutex_lock(&lock);
    bool stuck = look(&any);
    if (stuck)
        resolve(slots);
    forget(&any);
    wg_mutex_unlock(&lock);
    return stuck;
}

void wg_deadlock_lock(void) { wg_mutex_lock(&lock); }

void wg_deadlock_unlock(void) { wg_mutex_unlock(&lock); }

void wg_deadlock_reset(void) { memset(chains, 0, sizeof chains); }
