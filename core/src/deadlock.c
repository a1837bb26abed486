/* deadlock.c - see deadlock.h. */
#include "deadlock.h"

#include <stdio.h>
#include <string.h>

#include "context.h"
#include "deadline.h"
#include "errgroup.h"
#include "fork.h"
#include "slots.h"
#include "wait.h"

#define CHAINS 64

static wg_mutex lock;
static struct wg_link chains[CHAINS]; /* the frames of all published waits, by what counts their tasks */

static struct wg_link *chain_of(const wg_waitgroup *tasks) {
    uintptr_t bits = (uintptr_t)tasks;
    return &chains[(bits >> 4 ^ bits >> 10 ^ bits >> 16) % CHAINS];
}

bool wg_is_certain(const wg_until *until, const wg_context *other) {
    const struct wg_frame *frame = wg_self()->frame;
    while (frame && !frame->tasks)
        frame = frame->outer;
    if (!frame || wg_point(until->deadline) != INT64_MAX || wg_point(wg_context_deadline(other)) != INT64_MAX)
        return false;
    const wg_context *bound = wg_until_context(until);
    return !bound || (wg_point(wg_context_deadline(bound)) == INT64_MAX && wg_context_descends(frame->ctx, bound));
}

/* All that follows is called with the lock held, except the calls of the header. */

static struct wg_frame *frame_at(struct wg_link *link) { return WG_MEMBER(link, struct wg_frame, link); }

/* The first frame in a chain from `link` on whose task counts in `tasks`; NULL if there is none. */
static struct wg_frame *search(const wg_waitgroup *tasks, struct wg_link *link) {
    while (link && frame_at(link)->tasks != tasks)
        link = wg_list_after(chain_of(tasks), link);
    return frame_at(link);
}

static struct wg_frame *first_frame(const wg_waitgroup *tasks) { return search(tasks, wg_list_first(chain_of(tasks))); }

static struct wg_frame *next_frame(struct wg_frame *frame) {
    return search(frame->tasks, wg_list_after(chain_of(frame->tasks), &frame->link));
}

/* A stuck task of those that `b` waits for directly; NULL if there is none. For a slot, any task that holds one. */
static struct wg_frame *stuck_task(const struct wg_blocked *b) {
    struct wg_frame *frame = first_frame(b->subject);
    while (frame && !(frame->blocked->stuck && (b->what != WG_FOR_TASK || frame->arg == b->arg)))
        frame = next_frame(frame);
    return frame;
}

/* Are all slots in use held by stuck tasks? */
static bool all_held(struct wg_slots *slots) {
    unsigned stuck = 0;
    for (struct wg_frame *frame = first_frame(&slots->tasks); frame; frame = next_frame(frame))
        stuck += frame->blocked->stuck;
    return wg_slots_held_by(slots, stuck);
}

static bool is_stuck(const struct wg_blocked *b) {
    if (b->word && (wg_load_acquire32(b->word) & ~WG_KICKED))
        return false;
    switch (b->what) {
    case WG_FOR_ZERO: return stuck_task(b);
    case WG_FOR_SLOT: return all_held(b->slots);
    case WG_FOR_TASK:
        return stuck_task(b) || (b->group && all_held(b->slots) && wg_errgroup_has_stored(b->group, b->arg));
    }
    return false;
}

/* All waits on which it may depend whether `me` is stuck, as a list; for now all of them are taken to be stuck. */
static void collect(struct wg_blocked *me) {
    struct wg_blocked *last = me;
    me->found = me->stuck = true;
    me->next = NULL;
    for (struct wg_blocked *b = me; b; b = b->next)
        for (struct wg_frame *frame = first_frame(b->subject); frame; frame = next_frame(frame))
            if (!frame->blocked->found) {
                last = last->next = frame->blocked;
                last->found = last->stuck = true;
                last->next = NULL;
            }
}

/* One look at the list: those without a reason are no longer taken to be stuck. True if there was one. */
static bool some_are_free(struct wg_blocked *list) {
    bool some = false;
    for (struct wg_blocked *b = list; b; b = b->next) {
        bool was = b->stuck;
        b->stuck = was && is_stuck(b);
        some |= was != b->stuck;
    }
    return some;
}

/* The last look, which changes nothing, is the second one at those that remain. */
static bool look(struct wg_blocked *me) {
    collect(me);
    while (me->stuck && some_are_free(me)) {}
    return me->stuck;
}

static void forget(struct wg_blocked *list) {
    for (struct wg_blocked *b = list; b; b = b->next)
        b->found = b->stuck = false;
}

/* The message. */

struct text {
    char *buffer;
    size_t size, length;
};

#define APPEND(text, ...)                                                                                              \
    ((text)->length < (text)->size                                                                                     \
         ? (void)((text)->length +=                                                                                    \
                  (size_t)snprintf((text)->buffer + (text)->length, (text)->size - (text)->length, __VA_ARGS__))       \
         : (void)0)

static void append_group(struct text *t, const wg_errgroup *g) {
    const char *name = g ? wg_errgroup_name(g) : "";
    APPEND(t, name[0] ? "group '%s'" : g ? "a group%s" : "a wait group%s", name);
}

static void append_subject(struct text *t, const struct wg_blocked *b, const wg_errgroup *g) {
    static const char *const waits[] = {"all tasks", "a task", "a slot"};
    APPEND(t, "%s of ", waits[b->what]);
    append_group(t, g);
    if (b->what == WG_FOR_SLOT)
        APPEND(t, ", all of which are held (limit %d)", (int)wg_slots_limit(b->slots));
    else if (b->what == WG_FOR_TASK && !stuck_task(b))
        APPEND(t, ", which can get no slot (limit %d)", (int)wg_slots_limit(b->slots));
}

/* `frame` is the task of the step, one of those on the stack of the thread that waits. */
static void append_step(struct text *t, const struct wg_blocked *b, const struct wg_frame *frame, const wg_errgroup *g,
                        bool first) {
    static const wg_place unknown = {0};
    const wg_place *place = b->until->place ? b->until->place : &unknown;
    bool innermost = frame == b->frames;
    APPEND(t, "\n  %s ", first ? "this call, in" : "in");
    APPEND(t, innermost && place->task ? "task '%s' of " : "a task%s of ", innermost && place->task ? place->task : "");
    append_group(t, frame->group);
    if (place->language)
        APPEND(t, " (%s)", place->language);
    if (first)
        APPEND(t, ", waits for ");
    else
        APPEND(t, ", has waited %.1f s for ", (double)(wg_now() - b->since) / (double)WG_SECOND);
    append_subject(t, b, g);
    if (place->file)
        APPEND(t, ", at %s:%d", place->file, place->line);
}

/* The stuck task that keeps `b` from ending. A stored task waits for those that hold the slots. */
static const struct wg_frame *reason(const struct wg_blocked *b) {
    const struct wg_frame *frame = stuck_task(b);
    if (frame || b->what != WG_FOR_TASK)
        return frame;
    struct wg_blocked slot = {.subject = b->subject, .slots = b->slots, .what = WG_FOR_SLOT};
    return stuck_task(&slot);
}

/* One step a line, until the waits repeat: those that were told of are no longer marked as found. */
void wg_blocked_describe(struct wg_blocked *me) {
    if (!me->until->report || me->until->report_size == 0)
        return;
    struct text t = {me->until->report, me->until->report_size, 0};
    APPEND(&t, "tasks wait for each other, and none can go on:");
    const struct wg_frame *frame = me->frames, *why;
    for (struct wg_blocked *b = me; b->found; b = why->blocked, frame = why) {
        b->found = false;
        why = reason(b);
        append_step(&t, b, frame, why ? why->group : NULL, b == me);
        if (!why)
            break;
    }
}

void wg_own_group_describe(const wg_errgroup *g, const wg_until *until) {
    if (!until->report || until->report_size == 0)
        return;
    struct text t = {until->report, until->report_size, 0};
    struct wg_blocked wait = {.what = WG_FOR_ZERO, .until = until, .frames = wg_self()->frame};
    const struct wg_frame *frame = wait.frames;
    while (frame && frame->group != g)
        frame = frame->outer;
    APPEND(&t, "a task waits for itself:");
    append_step(&t, &wait, frame, g, true);
}

/* Publishing. */

static void publish(struct wg_blocked *me) {
    me->published = true;
    for (struct wg_frame *frame = wg_self()->frame; frame; frame = frame->outer) {
        frame->blocked = me;
        wg_list_append(chain_of(frame->tasks), &frame->link);
    }
}

static void withdraw(struct wg_blocked *me) {
    me->published = false;
    for (struct wg_frame *frame = wg_self()->frame; frame; frame = frame->outer)
        wg_list_remove(&frame->link);
}

wg_status wg_blocked_begin(struct wg_blocked *me, const wg_a32 *word, const wg_until *until) {
    me->word = word;
    me->until = until;
    me->frames = wg_self()->frame;
    me->since = wg_now();
    me->epoch = wg_fork_epoch();
    wg_mutex_lock(&lock);
    publish(me);
    bool stuck = look(me);
    if (stuck) {
        wg_blocked_describe(me);
        withdraw(me);
    }
    forget(me);
    wg_mutex_unlock(&lock);
    return stuck ? WG_DEADLOCK : WG_OK;
}

void wg_blocked_end(struct wg_blocked *me) {
    wg_mutex_lock(&lock);
    if (me->epoch == wg_fork_epoch())
        withdraw(me);
    wg_mutex_unlock(&lock);
}

bool wg_deadlock_break(struct wg_slots *slots, void (*resolve)(struct wg_slots *slots)) {
    struct wg_blocked any = {.subject = &slots->tasks, .slots = slots, .what = WG_FOR_SLOT};
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
