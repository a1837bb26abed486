/* publish.c - the waits of a state, told to the core: so it shows them in dumps, and finds the deadlocks that they are part
 * of. The rules are in the core (deadlock.h); here is only who waits, for what, and where. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "task.h"

/* The innermost Lua function that L runs: its file and line. */
static void find_place(lua_State *L, wgl_place *place) {
    lua_Debug ar;
    place->place = (wg_place){.language = "Lua"};
    for (int level = 1; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline <= 0)
            continue;
        memcpy(place->file, ar.short_src, sizeof place->file);
        place->place.file = place->file;
        place->place.line = ar.currentline;
        return;
    }
}

static void find_task(lua_State *L, wgl_coroutine *task, wgl_place *place) {
    const void *scope = task->scope ? (const void *)task->scope : wgl_home_of(L);
    place->task = (wg_waiting_task){.also = scope, .arg = task, .context = wgl_task_context(L, task)};
    if (task->of == WGL_OF_GROUP)
        place->task.group = ((wgl_errgroup *)task->owner->object)->group;
    else if (task->of == WGL_OF_WAITGROUP)
        place->task.wg = ((wgl_waitgroup *)task->owner->object)->wg;
    wgl_coroutine_push(L, task);
    wgl_coroutine_name(L, place->name, sizeof place->name);
    place->task.name = place->name;
    place->is_task = true;
}

/* May raise, so it comes before anything is changed. */
void wgl_place_find(lua_State *L, wgl_coroutine *task, wgl_place *place) {
    luaL_checkstack(L, 8, NULL);
    *place = (wgl_place){.is_task = false};
    find_place(L, place);
    if (task)
        find_task(L, task, place);
    else if (wgl_worker_task())
        place->place.task = wgl_task_name(wgl_worker_task());
}

/* --- what it waits for --- */

static void set_end_of_coroutine(wg_waiting_for *what, wgl_coroutine *task) {
    what->arg = task;
    what->also = task;
    if (task->of == WGL_OF_GROUP)
        what->group = ((wgl_errgroup *)task->owner->object)->group;
    else if (task->of == WGL_OF_WAITGROUP)
        what->wg = ((wgl_waitgroup *)task->owner->object)->wg;
}

static void set_event(wg_waiting_for *what, const wgl_wish *wish) {
    wgl_object *subject = wish->subject->object;
    what->event = wgl_event_of(subject, wish->event);
    if (wish->event == WGL_AT_ZERO)
        what->text = ((wgl_waitgroup *)subject)->what;
    if (wish->event == WGL_AT_TASK_END) {
        what->group = ((wgl_task *)subject)->group->group;
        what->arg = subject;
    }
}

static void set_wish(wg_waiting_for *what, const wgl_wish *wish, const wgl_home *home) {
    switch (wish->event) {
    case WGL_NOTHING: break;
    case WGL_AT_RESULT: set_end_of_coroutine(what, wgl_coroutine_of_results(wish->list)); break;
    case WGL_AT_PLACE: /* which comes with a slot of another */
        what->event = wgl_event_of(wish->subject->object, WGL_AT_SLOT);
        break;
    case WGL_AT_SCOPE:
        what->also = wgl_coroutine_of_results(wish->list);
        what->text = "all that `run` started";
        break;
    case WGL_AT_ALL:
        what->also = home;
        what->text = "all tasks of its Lua state";
        break;
    default: set_event(what, wish);
    }
}

static void keep_report(wgl_home *home, char *report) {
    free(home->report);
    home->report = report;
}

bool wgl_publish(wgl_home *home, wgl_waiter *waiter, const wgl_wish *wish, const wgl_place *place) {
    if (wish->event == WGL_NOTHING)
        return true;
    wg_waiting_for what = {.task = place->is_task ? &place->task : NULL,
                           .observer = wgl_waiter_observer(waiter),
                           .context = wgl_context_of(wish->context),
                           .deadline = wish->deadline,
                           .place = &place->place};
    char *report;
    set_wish(&what, wish, home);
    bool ends = wg_waiting_begin(&waiter->published, &what, &report) != WG_DEADLOCK;
    if (!ends)
        keep_report(home, report);
    return ends;
}

void wgl_withdraw(wgl_home *home, wgl_waiter *waiter) {
    char *report = wg_waiting_end(waiter->published);
    waiter->published = NULL;
    if (report)
        keep_report(home, report);
}

/* --- the error --- */

int wgl_raise_deadlock(lua_State *L, const char *why, int level) {
    const char *report = wgl_home_of(L)->report;
    if (!report)
        return wgl_error(L, level, "deadlock: %s", why ? why : "tasks wait for each other, and none can go on");
    return wgl_error(L, level, why ? "deadlock: %s: %s" : "deadlock: %s%s", why ? why : "", report);
}

void wgl_block_begin(wgl_block *block, int64_t deadline, wg_context *context, const wgl_place *place) {
    block->until = (wg_until){.deadline = deadline,
                              .context = context,
                              .interruptible = true,
                              .place = &place->place,
                              .report = block->report,
                              .report_size = sizeof block->report};
    block->report[0] = '\0';
}

void wgl_block_report(wgl_home *home, const wgl_block *block) {
    size_t size = strlen(block->report) + 1;
    char *report = malloc(size);
    keep_report(home, report ? memcpy(report, block->report, size) : NULL);
}

int wgl_block_raise(lua_State *L, const wgl_block *block) {
    wgl_block_report(wgl_home_of(L), block);
    return wgl_raise_deadlock(L, NULL, 1);
}
