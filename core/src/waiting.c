/* waiting.c - records of waits that take no thread. */
#include "waitgroup/waiting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deadline.h"
#include "deadlock.h"
#include "errgroup.h"
#include "event.h"
#include "slots.h"
#include "trace.h"
#include "waits.h"

#define TEXT_SIZE 80 /* of a name or a file, with its end: the rest is cut off */

struct wg_waiting {
    struct wg_wait_record record;
    struct wg_frame frames[2]; /* of its task; the second for `also` */
    wg_until until;
    wg_place place;
    char *report;
    char file[TEXT_SIZE], name[TEXT_SIZE];
};

static const char *copy(char text[TEXT_SIZE], const char *from) {
    if (from)
        snprintf(text, TEXT_SIZE, "%s", from);
    return from ? text : NULL;
}

static void set_place(struct wg_waiting *w, const wg_waiting_for *what) {
    if (what->place)
        w->place = *what->place;
    w->place.file = copy(w->file, w->place.file);
    w->place.task = copy(w->name, what->task ? what->task->name : w->place.task);
    w->until = (wg_until){
        .deadline = what->deadline, .context = what->context ? what->context : wg_context_root(), .place = &w->place};
}

wg_status wg_scope_enter_task(wg_scope *scope, const wg_waiting_task *task) {
    if (!scope || !task)
        return WG_INVALID;
    struct wg_frame frame = {.tasks = task->group ? wg_errgroup_tasks(task->group) : task->wg,
                             .ctx = task->context == wg_context_root() ? NULL : task->context,
                             .group = task->group,
                             .arg = task->arg,
                             .name = task->name};
    wg_scope_enter_frame(scope, frame);
    return WG_OK;
}

static void set_frames(struct wg_waiting *w, const wg_waiting_task *task) {
    if (!task) {
        w->record.frames = wg_thread()->frame;
        return;
    }
    const wg_waitgroup *wg = task->group ? wg_errgroup_tasks(task->group) : task->wg;
    w->frames[1] =
        (struct wg_frame){.tasks = task->also, .ctx = task->context, .arg = task->arg, .name = w->place.task};
    w->frames[0] = w->frames[1];
    w->frames[0].tasks = wg;
    w->frames[0].group = task->group;
    w->frames[0].outer = task->also ? &w->frames[1] : NULL;
    w->record.frames = wg ? &w->frames[0] : w->frames[0].outer;
}

static struct wg_wish wish_of_event(wg_event event) {
    wg_errgroup *g = event.subject_;
    switch ((enum wg_event_kind)event.kind_) {
    case WG_EVENT_OUTCOME: return (struct wg_wish){.what = WG_FOR_ZERO, .subject = wg_errgroup_tasks(g), .group = g};
    case WG_EVENT_SLOT: return wg_wish_for_slot(wg_errgroup_slots(g));
    case WG_EVENT_ENDED: return (struct wg_wish){.what = WG_FOR_CONTEXT, .subject = event.subject_};
    case WG_EVENT_ZERO: break;
    }
    return (struct wg_wish){.what = WG_FOR_ZERO, .subject = event.subject_};
}

static struct wg_wish wish_for_task(const wg_waiting_for *what) {
    struct wg_wish wish = {.what = WG_FOR_TASK, .group = what->group, .arg = what->arg};
    wish.subject = what->group ? wg_errgroup_tasks(what->group) : what->wg ? (const void *)what->wg : what->also;
    wish.slots = what->group ? wg_errgroup_slots(what->group) : NULL;
    return wish;
}

static void set_wish(struct wg_waiting *w, const wg_waiting_for *what) {
    struct wg_wish *wish = &w->record.wish;
    if (what->arg)
        *wish = wish_for_task(what);
    else if (what->event.subject_)
        *wish = wish_of_event(what->event);
    else
        *wish = (struct wg_wish){.what = WG_FOR_ZERO, .subject = what->also};
    wish->text = what->text;
    w->record.event = what->event.subject_ ? wish_of_event(what->event).subject : NULL;
    w->record.word = what->observer ? (const wg_a32 *)&what->observer->come_ : NULL;
}

/* The context of the group that is waited for, if its end ends the wait. */
static wg_context *end_of_group(wg_event event) {
    wg_errgroup *g = event.subject_;
    bool ends = event.kind_ == WG_EVENT_SLOT || (event.kind_ == WG_EVENT_OUTCOME && wg_errgroup_grace(g) > 0);
    return g && ends ? wg_errgroup_context(g) : NULL;
}

/* The root never ends, and has no deadline. */
static void set_ends(struct wg_waiting *w, const wg_waiting_for *what) {
    wg_context *other = end_of_group(what->event);
    struct wg_wait_record *record = &w->record;
    record->ends[0] = w->until.context;
    record->ends[1] = other;
    record->deadline = wg_earlier(what->deadline, wg_context_deadline(w->until.context));
    record->deadline = wg_earlier(record->deadline, wg_context_deadline(other));
    record->certain = !what->doubtful && record->wish.what != WG_FOR_CONTEXT && record->wish.subject &&
                      wg_is_certain(record->frames, &w->until, other);
}

wg_status wg_waiting_begin(wg_waiting **out, const wg_waiting_for *what, char **report) {
    if (!out || !what || !report)
        return WG_INVALID;
    *report = NULL;
    struct wg_waiting *w = *out = malloc(sizeof *w);
    if (!w)
        return WG_NO_MEMORY;
    *w = (struct wg_waiting){.report = NULL};
    set_place(w, what);
    set_frames(w, what->task);
    set_wish(w, what);
    set_ends(w, what);
    w->record.until = &w->until;
    w->record.report = &w->report;
    w->record.observer = what->event.subject_ && what->event.kind_ == WG_EVENT_SLOT ? what->observer : NULL;
    wg_status status = wg_wait_begin(&w->record);
    if (status == WG_OK)
        return status;
    *report = w->report;
    *out = NULL;
    free(w);
    return status;
}

char *wg_waiting_end(wg_waiting *w) {
    if (!w)
        return NULL;
    wg_wait_end(&w->record);
    wg_trace_waited(&w->record);
    char *report = w->report;
    free(w);
    return report;
}
