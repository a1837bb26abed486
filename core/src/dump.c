/* dump.c - the state of a program that hangs, as text for people. */
#include "waitgroup/inspect.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deadline.h"
#include "dropped.h"
#include "inspect.h"
#include "os.h"
#include "pool.h"
#include "text.h"

/* Where the lines go. */
struct sink {
    void (*write)(void *arg, const char *line, size_t length);
    void *arg;
    const struct wg_snapshot *seen;
};

/* A line, which grows until it is sent; a byte more is for the newline. */
enum { LONGEST = 600 };
#define LINE                                                                                                           \
    { (char[LONGEST + 1]){0}, LONGEST, 0 }

static void send(const struct sink *to, struct wg_text *line) {
    size_t length = wg_text_written(line);
    line->buffer[length] = '\n';
    to->write(to->arg, line->buffer, length + 1);
    line->length = 0;
}

static const char *s_of(size_t n) { return n == 1 ? "" : "s"; }

static void append_group(struct wg_text *line, const struct wg_seen_group *g) {
    wg_text_add(line, "error group");
    if (g->name[0])
        wg_text_add(line, " '%s'", g->name);
    else
        wg_text_add(line, " at %p", (const void *)g->tasks);
}

static void append_thread(struct wg_text *line, struct wg_thread_id thread) {
    wg_text_add(line, "thread");
    if (thread.number)
        wg_text_add(line, " %" PRId32, thread.number);
    wg_text_add(line, " (0x%" PRIx64 ")", thread.handle);
}

static void append_context(struct wg_text *line, const struct wg_seen_context *context) {
    wg_text_add(line, "context");
    if (context->name[0])
        wg_text_add(line, " '%s'", context->name);
    wg_text_add(line, " at %p (%s", context->context, context->language);
    if (context->where[0])
        wg_text_add(line, ", made at %s", context->where);
}

static void append_end_of_context(struct wg_text *line, const struct sink *to, const void *address) {
    const struct wg_seen_context *context = wg_seen_context_at(to->seen, address);
    wg_text_add(line, "the end of the ");
    if (!context) {
        wg_text_add(line, "context at %p", address);
        return;
    }
    append_context(line, context);
    wg_text_add(line, ")");
}

static void append_subject(struct wg_text *line, const struct sink *to, const struct wg_seen_wait *wait) {
    static const char *const waits[] = {"the tasks", "a task", "a slot"};
    const struct wg_wish *wish = &wait->wish;
    const struct wg_seen_group *g = wg_seen_group_of(to->seen, wish->subject);
    if (wish->text)
        wg_text_add(line, "%s", wish->text);
    else if (wish->what == WG_FOR_CONTEXT)
        append_end_of_context(line, to, wish->subject);
    else if (g) {
        wg_text_add(line, "%s of ", waits[wish->what]);
        append_group(line, g);
    } else
        wg_text_add(line, "%s of the wait group at %p", wish->what == WG_FOR_ZERO ? "zero" : waits[wish->what],
                    wish->subject);
}

static void append_wait(struct wg_text *line, const struct sink *to, const struct wg_seen_wait *wait) {
    wg_text_add(line, "waits for ");
    append_subject(line, to, wait);
    wg_text_add(line, ", for %.1f s", wg_seconds(to->seen->now - wait->since));
    if (wg_point(wait->deadline) != INT64_MAX)
        wg_text_add(line, ", at most %.1f s more", wg_seconds(wait->deadline - to->seen->now));
    if (wait->file[0])
        wg_text_add(line, ", at %s:%d", wait->file, wait->line);
}

static void dump_task(const struct sink *to, const struct wg_seen_task *task) {
    struct wg_text line = LINE;
    const struct wg_seen_wait *wait = wg_seen_wait_in(to->seen, task->frame);
    wg_text_add(&line, "    task '%s' ", task->name);
    if (wait) {
        append_wait(&line, to, wait);
        wg_text_add(&line, "; it began %.1f s ago in ", wg_seconds(to->seen->now - task->since));
    } else
        wg_text_add(&line, "runs, for %.1f s, in ", wg_seconds(to->seen->now - task->since));
    append_thread(&line, task->thread);
    send(to, &line);
}

static void append_end(struct wg_text *line, const struct sink *to, const struct wg_seen_group *g) {
    if (g->finished)
        wg_text_add(line, ", waited for");
    else if (g->status != WG_OK)
        wg_text_add(line, ", %s", wg_strstatus(g->status));
    if (!g->finished && g->status == WG_OK && wg_point(g->deadline) != INT64_MAX)
        wg_text_add(line, ", deadline in %.1f s", wg_seconds(g->deadline - to->seen->now));
}

static void dump_head(const struct sink *to, const struct wg_seen_group *g) {
    struct wg_text line = LINE;
    append_group(&line, g);
    wg_text_add(&line, " (%s", g->language);
    if (g->where[0])
        wg_text_add(&line, ", made at %s", g->where);
    wg_text_add(&line, ", %.1f s ago): %lu running, %lu pending, %lu completed", wg_seconds(to->seen->now - g->made),
                g->counts.running, g->counts.pending, g->counts.completed);
    if (g->limit)
        wg_text_add(&line, ", limit %d", g->limit);
    if (g->backlog)
        wg_text_add(&line, ", backlog %d", g->backlog);
    if (g->failures)
        wg_text_add(&line, ", %zu failed", g->failures);
    append_end(&line, to, g);
    send(to, &line);
}

static bool task_is_listed(const struct wg_snapshot *seen, const struct wg_frame *frame) {
    for (size_t i = 0; frame && i < seen->task_count; i++)
        if (seen->tasks[i].frame == frame)
            return true;
    return false;
}

/* Does a task wait here that no thread runs? */
static bool is_loose(const struct wg_seen_wait *wait) { return wait->frame && !wait->has_thread; }

static void append_loose_task(struct wg_text *line, const struct sink *to, const struct wg_seen_wait *wait) {
    wg_text_add(line, wait->name[0] ? "task '%s'" : "a task%s", wait->name);
    if (wait->language)
        wg_text_add(line, " (%s)", wait->language);
    wg_text_add(line, " ");
    append_wait(line, to, wait);
}

/* Returns how many. */
static unsigned long dump_loose_tasks(const struct sink *to, const struct wg_seen_group *g) {
    unsigned long n = 0;
    for (size_t i = 0; i < to->seen->wait_count; i++) {
        const struct wg_seen_wait *wait = &to->seen->waits[i];
        struct wg_text line = LINE;
        if (!is_loose(wait) || wait->group != g->tasks || task_is_listed(to->seen, wait->frame))
            continue;
        wg_text_add(&line, "    ");
        append_loose_task(&line, to, wait);
        send(to, &line);
        n++;
    }
    return n;
}

static void dump_tasks(const struct sink *to, const struct wg_seen_group *g) {
    struct wg_text line = LINE;
    unsigned long named = dump_loose_tasks(to, g);
    for (int asleep = 1; asleep >= 0; asleep--)
        for (size_t i = 0; i < to->seen->task_count; i++) {
            const struct wg_seen_task *task = &to->seen->tasks[i];
            if (task->group != g->tasks || (wg_seen_wait_in(to->seen, task->frame) != NULL) != asleep)
                continue;
            dump_task(to, task);
            named++;
        }
    if (g->counts.running > named)
        wg_text_add(&line, "    %lu running task%s %s", g->counts.running - named, s_of(g->counts.running - named),
                    g->lists ? "that no thread of the library runs, such as coroutines"
                             : "of which only the number is known");
    if (line.length)
        send(to, &line);
    if (g->counts.pending)
        wg_text_add(&line, "    %lu task%s not started", g->counts.pending, g->counts.pending == 1 ? " has" : "s have");
    if (line.length)
        send(to, &line);
}

static bool is_idle(const struct wg_seen_group *g) {
    return g->counts.running + g->counts.pending == 0 && g->asleep_since == INT64_MAX;
}

/* Threads that sleep outside of the tasks which were shown. */
static void dump_sleepers(const struct sink *to) {
    struct wg_text line = LINE;
    for (size_t i = 0; i < to->seen->wait_count; i++) {
        const struct wg_seen_wait *wait = &to->seen->waits[i];
        const struct wg_seen_group *g = wg_seen_group_of(to->seen, wait->group);
        if (task_is_listed(to->seen, wait->frame) || (is_loose(wait) && g))
            continue;
        if (is_loose(wait)) {
            append_loose_task(&line, to, wait);
            send(to, &line);
            continue;
        }
        append_thread(&line, wait->thread);
        wg_text_add(&line, " ");
        append_wait(&line, to, wait);
        if (g) {
            wg_text_add(&line, ", in a task of ");
            append_group(&line, g);
        } else if (wait->group)
            wg_text_add(&line, ", in a task of the wait group at %p", wait->group);
        send(to, &line);
    }
}

/* A context that keeps nothing alive, and that nothing waits for, is only counted. */
static bool keeps_something(const struct wg_seen_context *context) {
    return context->children + context->callbacks > 0;
}

static void dump_context(const struct sink *to, const struct wg_seen_context *context) {
    struct wg_text line = LINE;
    append_context(&line, context);
    wg_text_add(&line, ", %.1f s ago): %zu living child%s, %zu callback%s", wg_seconds(to->seen->now - context->made),
                context->children, context->children == 1 ? "" : "ren", context->callbacks, s_of(context->callbacks));
    if (context->status != WG_OK)
        wg_text_add(&line, ", %s", wg_strstatus(context->status));
    else if (wg_point(context->deadline) != INT64_MAX)
        wg_text_add(&line, ", deadline in %.1f s", wg_seconds(context->deadline - to->seen->now));
    send(to, &line);
}

static void dump_contexts(const struct sink *to) {
    size_t others = 0;
    for (size_t i = 0; i < to->seen->context_count; i++)
        if (keeps_something(&to->seen->contexts[i]))
            dump_context(to, &to->seen->contexts[i]);
        else
            others++;
    if (others == 0)
        return;
    struct wg_text line = LINE;
    wg_text_add(&line, "%zu context%s without children and callbacks", others, s_of(others));
    send(to, &line);
}

static void dump_pool(void *raw, const struct wg_pool_load *pool) {
    const struct sink *to = raw;
    struct wg_text line = LINE;
    if (pool->workers == 0 && pool->queued == 0)
        return;
    wg_text_add(&line, "pool '%s': %u thread%s, %u in tasks and not in a wait, %lu task%s queued%s", pool->name,
                pool->workers, s_of(pool->workers), pool->computing, pool->queued, s_of(pool->queued),
                pool->starved ? "; it could not start the thread it needs" : "");
    send(to, &line);
}

static void dump_summary(const struct sink *to, size_t idle) {
    struct wg_text line = LINE;
    size_t busy = to->seen->group_count - idle, waits = to->seen->wait_count;
    wg_text_add(&line, "waitgroup: process %ld: %zu error group%s with tasks or waits, %zu without; %zu %s",
                (long)wg_process_id(), busy, s_of(busy), idle, waits, waits == 1 ? "thread waits" : "threads wait");
    send(to, &line);
}

static void dump(const struct sink *to) {
    const struct wg_snapshot *seen = to->seen;
    size_t idle = 0;
    for (size_t i = 0; i < seen->group_count; i++)
        idle += is_idle(&seen->groups[i]);
    dump_summary(to, idle);
    for (size_t i = 0; i < seen->group_count; i++)
        if (!is_idle(&seen->groups[i])) {
            dump_head(to, &seen->groups[i]);
            dump_tasks(to, &seen->groups[i]);
        }
    dump_sleepers(to);
    dump_contexts(to);
    wg_pools_look(dump_pool, (void *)to);
    for (size_t i = 0; i < seen->group_count; i++)
        if (is_idle(&seen->groups[i]))
            dump_head(to, &seen->groups[i]);
}

static wg_status dump_to(void (*write)(void *arg, const char *line, size_t length), void *arg) {
    struct wg_snapshot seen;
    bool all = wg_snapshot_take(&seen);
    dump(&(struct sink){write, arg, &seen});
    wg_snapshot_free(&seen);
    return all ? WG_OK : WG_NO_MEMORY;
}

struct file {
    int fd;
    bool failed;
};

static void write_to_file(void *raw, const char *line, size_t length) {
    struct file *file = raw;
    file->failed = file->failed || !wg_descriptor_write(file->fd, line, length);
}

wg_status wg_dump(int fd) {
    struct file file = {.fd = fd, .failed = fd < 0};
    wg_status status = file.failed ? WG_INVALID : dump_to(write_to_file, &file);
    return file.failed ? WG_INVALID : status;
}

/* A text that grows; NULL once there was no memory for it. */
struct text {
    char *bytes;
    size_t length, room;
};

static struct text new_text(void) {
    struct text text = {malloc(1000), 0, 1000};
    if (text.bytes)
        text.bytes[0] = '\0';
    return text;
}

static void write_to_text(void *raw, const char *line, size_t length) {
    struct text *text = raw;
    if (text->bytes && text->length + length >= text->room) {
        char *more = realloc(text->bytes, text->room = 2 * (text->length + length));
        if (!more)
            free(text->bytes);
        text->bytes = more;
    }
    if (!text->bytes)
        return;
    memcpy(text->bytes + text->length, line, length);
    text->length += length;
    text->bytes[text->length] = '\0';
}

char *wg_dump_text(void) {
    struct text text = new_text();
    (void)dump_to(write_to_text, &text);
    return text.bytes;
}

/* Leaks. */

static bool leaks(const struct wg_seen_group *g, int64_t since) {
    bool used = g->counts.running + g->counts.pending + g->counts.completed > 0;
    return g->made >= since && used && (!g->finished || g->counts.running + g->counts.pending > 0);
}

static void report_group(const struct sink *to, const struct wg_seen_group *g) {
    struct wg_text line = LINE;
    wg_text_add(&line, "leak: ");
    append_group(&line, g);
    wg_text_add(&line, " (%s", g->language);
    if (g->where[0])
        wg_text_add(&line, ", made at %s", g->where);
    wg_text_add(&line, ")");
    size_t unfinished = g->counts.running + g->counts.pending;
    if (unfinished)
        wg_text_add(&line, ": %zu task%s not ended", unfinished, unfinished == 1 ? " has" : "s have");
    if (!g->finished)
        wg_text_add(&line, "%s it was never waited for", unfinished ? ", and" : ":");
    if (!g->finished && g->failures)
        wg_text_add(&line, ", and %zu of its tasks failed", g->failures);
    send(to, &line);
    dump_tasks(to, g);
}

static unsigned report_sleepers(const struct sink *to, int64_t since) {
    unsigned n = 0;
    for (size_t i = 0; i < to->seen->wait_count; i++) {
        const struct wg_seen_wait *wait = &to->seen->waits[i];
        if (wait->since < since || wg_seen_group_of(to->seen, wait->group))
            continue; /* that of a task is told with its group */
        struct wg_text line = LINE;
        wg_text_add(&line, "leak: ");
        append_thread(&line, wait->thread);
        wg_text_add(&line, " ");
        append_wait(&line, to, wait);
        send(to, &line);
        n++;
    }
    return n;
}

static unsigned report_dropped(const struct sink *to, int64_t since) {
    struct wg_dropped groups[WG_DROPPED_KEPT];
    size_t n = wg_dropped_since(since, groups, WG_DROPPED_KEPT);
    for (size_t i = 0; i < n; i++) {
        struct wg_text line = LINE;
        wg_text_add(&line, "leak: error group ");
        if (groups[i].name[0])
            wg_text_add(&line, "'%s' ", groups[i].name);
        wg_text_add(&line, "(%s", groups[i].language);
        if (groups[i].where[0])
            wg_text_add(&line, ", made at %s", groups[i].where);
        wg_text_add(&line, "): it was given up without a wait for its tasks");
        if (groups[i].failures)
            wg_text_add(&line, ", %zu of which failed", groups[i].failures);
        send(to, &line);
    }
    return (unsigned)n;
}

/* A callback that may still be called, of a context that lives. */
static unsigned report_contexts(const struct sink *to, int64_t since) {
    unsigned n = 0;
    for (size_t i = 0; i < to->seen->context_count; i++) {
        const struct wg_seen_context *context = &to->seen->contexts[i];
        if (context->made < since || context->callbacks == 0 || context->status != WG_OK)
            continue;
        struct wg_text line = LINE;
        wg_text_add(&line, "leak: ");
        append_context(&line, context);
        wg_text_add(&line, "): %zu callback%s still to be called", context->callbacks, s_of(context->callbacks));
        send(to, &line);
        n++;
    }
    return n;
}

static unsigned leaks_to(void (*write)(void *arg, const char *line, size_t length), void *arg, int64_t since) {
    struct wg_snapshot seen;
    wg_snapshot_take(&seen);
    struct sink to = {write, arg, &seen};
    unsigned n = 0;
    for (size_t i = 0; i < seen.group_count; i++)
        if (leaks(&seen.groups[i], since)) {
            report_group(&to, &seen.groups[i]);
            n++;
        }
    n += report_sleepers(&to, since);
    n += report_dropped(&to, since);
    n += report_contexts(&to, since);
    wg_snapshot_free(&seen);
    return n;
}

unsigned wg_leaks(int fd, int64_t since) {
    struct file file = {.fd = fd, .failed = fd < 0};
    return leaks_to(write_to_file, &file, since);
}

char *wg_leaks_text(int64_t since) {
    struct text text = new_text();
    (void)leaks_to(write_to_text, &text, since);
    return text.bytes;
}
