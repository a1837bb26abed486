/* trace.c - events as JSON.
 *
 * A line is an event, or two that belong together, and begins with the comma that parts it from the line before. Times are
 * microseconds with three digits behind the point, by the monotonic clock. */
#include "trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "text.h"
#include "trace_file.h"

#include "waitgroup/trace.h"

#define LONGEST_TEXT 600 /* in the file, of a name or of a text of an error */

wg_a32 wg_trace_state;

static wg_a32 files;   /* how many there have been */
static wg_a64 numbers; /* how many tasks have been traced */
static wg_a32 process; /* its number; a thread may still be writing to the timeline before when it is set */

static int32_t process_id(void) { return (int32_t)wg_load_relaxed32(&process); }

struct line {
    struct wg_text text;
    bool has_args;
};

#define LINE                                                                                                           \
    { {(char[WG_TRACE_LONGEST]){0}, WG_TRACE_LONGEST, 0}, false }

/* --- writing --- */

/* How many bytes the character at `s` has, which must be well-formed UTF-8; 0 if it is not. */
static unsigned utf8_length(const unsigned char *s) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc0 ? 2 : 0;
    if (n <= 1)
        return n;
    uint32_t c = s[0] & (0x7fu >> n);
    for (unsigned i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    return c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : n;
}

static void add_character(struct line *line, const char *s, unsigned length) {
    if (length == 0)
        wg_text_add(&line->text, "\\ufffd");
    else if (*s == '"' || *s == '\\')
        wg_text_add(&line->text, "\\%c", *s);
    else if ((unsigned char)*s < 0x20 || *s == 0x7f)
        wg_text_add(&line->text, "\\u%04x", (unsigned)*s);
    else
        wg_text_add(&line->text, "%.*s", (int)length, s);
}

/* A string, of which no more is written than a line has space for. */
static void add_string(struct line *line, const char *s) {
    size_t end = line->text.length + LONGEST_TEXT;
    wg_text_add(&line->text, "\"");
    for (unsigned length; *s; s += length ? length : 1) {
        if (line->text.length > end) {
            wg_text_add(&line->text, "...");
            break;
        }
        length = utf8_length((const unsigned char *)s);
        add_character(line, s, length);
    }
    wg_text_add(&line->text, "\"");
}

static void add_time(struct line *line, const char *key, int64_t nanoseconds) {
    wg_text_add(&line->text, ",\"%s\":%" PRId64 ".%03d", key, nanoseconds / 1000, (int)(nanoseconds % 1000));
}

/* `phase`: see the format; what is open ends with finish(). */
static void begin(struct line *line, const char *phase, const char *category, const char *name, int32_t thread,
                  int64_t at) {
    wg_text_add(&line->text, ",\n{\"ph\":\"%s\",\"cat\":\"%s\",\"pid\":%" PRId32 ",\"tid\":%" PRId32, phase, category,
                process_id(), thread);
    add_time(line, "ts", at);
    wg_text_add(&line->text, ",\"name\":");
    add_string(line, name);
    line->has_args = false;
}

static void begin_arg(struct line *line, const char *key) {
    wg_text_add(&line->text, "%s\"%s\":", line->has_args ? "," : ",\"args\":{", key);
    line->has_args = true;
}

static void add_arg(struct line *line, const char *key, const char *value) {
    if (!value || !*value)
        return;
    begin_arg(line, key);
    add_string(line, value);
}

static void add_time_arg(struct line *line, const char *key, int64_t nanoseconds) {
    begin_arg(line, key);
    wg_text_add(&line->text, "%" PRId64 ".%03d", nanoseconds / 1000, (int)(nanoseconds % 1000));
}

static void finish(struct line *line) { wg_text_add(&line->text, line->has_args ? "}}" : "}"); }

static int32_t number_of(struct wg_thread_id thread) {
    return thread.number ? thread.number : (int32_t)(thread.handle >> 4 & 0x7fffffff);
}

static void add_thread_name(struct line *line, int32_t thread, const char *name) {
    wg_text_add(&line->text, ",\n{\"ph\":\"M\",\"pid\":%" PRId32 ",\"tid\":%" PRId32 ",\"name\":\"thread_name\"",
                process_id(), thread);
    line->has_args = false;
    add_arg(line, "name", name);
    finish(line);
}

void wg_trace_name(int32_t number, const char *name) {
    struct line line = LINE;
    if (!name || !wg_trace_is_on())
        return;
    wg_trace_file_flush(); /* the name that the thread gave itself comes before: the last one counts */
    add_thread_name(&line, number, name);
    wg_trace_file_put(line.text.buffer, wg_text_written(&line.text));
}

/* The name of this thread goes before the first of its lines in a file. */
static void put_name(int32_t thread) {
    struct line line = LINE;
    char name[32];
    if (wg_thread()->name[0])
        snprintf(name, sizeof name, "%s", wg_thread()->name);
    else if (thread == process_id())
        snprintf(name, sizeof name, "main");
    else
        wg_thread_name(name, sizeof name);
    add_thread_name(&line, thread, name);
    wg_trace_file_put(line.text.buffer, wg_text_written(&line.text));
}

/* The number of this thread in its lines. */
static int32_t this_thread(void) {
    int32_t thread = number_of(wg_thread_id());
    uint32_t file = wg_load_relaxed32(&files);
    if (wg_thread()->traced != file) {
        wg_thread()->traced = file;
        put_name(thread);
    }
    return thread;
}

static void put(struct line *line) {
    finish(line);
    wg_trace_file_put(line->text.buffer, wg_text_written(&line->text));
}

/* --- tasks --- */

static const char *name_of(const char *name) { return name && *name ? name : "task"; }

static const char *word_of(wg_how how) {
    switch (how) {
    case WG_SUCCEEDED: return "succeeded";
    case WG_TASK_FAILED: return "failed";
    case WG_TASK_STOPPED: return "stopped";
    case WG_NEVER_STARTED: return "never started";
    }
    return "";
}

struct wg_traced wg_trace_taken(const char *name, const char *group) {
    if (!wg_trace_is_on())
        return (struct wg_traced){0, 0};
    struct wg_traced task = {wg_now(), wg_add_relaxed64(&numbers, 1) + 1};
    struct line line = LINE;
    char text[WG_TRACE_LABEL + 4];
    int32_t thread = this_thread();
    snprintf(text, sizeof text, "go %.*s", WG_TRACE_LABEL, name_of(name));
    begin(&line, "X", "go", text, thread, task.taken);
    wg_text_add(&line.text, ",\"dur\":0");
    add_arg(&line, "group", group);
    finish(&line);
    begin(&line, "s", "go", "go", thread, task.taken);
    wg_text_add(&line.text, ",\"id\":%" PRIu64, task.number);
    put(&line);
    return task;
}

static void add_outcome(struct line *line, wg_how how, const wg_error *error) {
    add_arg(line, "outcome", word_of(how));
    if (error)
        add_arg(line, "error", wg_error_text(error));
}

void wg_trace_ended(struct wg_traced task, const char *name, const char *group, int64_t began, wg_how how,
                    const wg_error *error) {
    if (!wg_trace_is_on())
        return;
    struct line line = LINE;
    int64_t now = wg_now();
    int32_t thread = this_thread();
    begin(&line, "X", "task", name_of(name), thread, began);
    add_time(&line, "dur", now - began);
    add_arg(&line, "group", group);
    add_time_arg(&line, "queued", began - task.taken);
    add_outcome(&line, how, error);
    finish(&line);
    begin(&line, "f", "go", "go", thread, began);
    wg_text_add(&line.text, ",\"bp\":\"e\",\"id\":%" PRIu64, task.number);
    put(&line);
}

/* Of this process only: a viewer shows it among its tracks. */
static void add_id(struct line *line, uint64_t id) {
    wg_text_add(&line->text, ",\"id2\":{\"local\":\"0x%" PRIx64 "\"}", id);
}

/* Two events: the begin and the end of what is bound to no thread. The first is left open for its arguments. */
static void begin_span(struct line *line, const char *category, const char *name, uint64_t id, int64_t since) {
    begin(line, "b", category, name, this_thread(), since);
    add_id(line, id);
}

static void end_span(struct line *line, const char *category, const char *name, uint64_t id) {
    finish(line);
    begin(line, "e", category, name, this_thread(), wg_now());
    add_id(line, id);
    put(line);
}

void wg_trace_task(wg_errgroup *g, const char *name, int64_t taken, int64_t began, wg_how how, const wg_error *error) {
    if (!wg_trace_is_on())
        return;
    struct line line = LINE;
    char group[WG_TRACE_LABEL] = "";
    uint64_t number = wg_add_relaxed64(&numbers, 1) + 1;
    if (g)
        wg_errgroup_label(wg_errgroup_tasks(g), group);
    begin_span(&line, "task", name_of(name), number, began);
    add_arg(&line, "group", group);
    add_time_arg(&line, "queued", began - taken);
    add_outcome(&line, how, error);
    end_span(&line, "task", name_of(name), number);
}

void wg_trace_part(const char *name, int64_t since) {
    if (!wg_trace_is_on())
        return;
    struct line line = LINE;
    begin(&line, "X", "part", name_of(name), this_thread(), since);
    add_time(&line, "dur", wg_now() - since);
    put(&line);
}

/* --- waits --- */

static void describe(char text[WG_TRACE_LABEL + 40], const struct wg_wish *wish) {
    char label[WG_TRACE_LABEL] = "";
    if (wish->text) {
        snprintf(text, WG_TRACE_LABEL + 40, "%s", wish->text);
        return;
    }
    bool of_group = wish->subject && wg_errgroup_label(wish->subject, label);
    const char *format = wish->what == WG_FOR_CONTEXT ? "the end of a context"
                         : !of_group                  ? "a wait group"
                         : wish->what == WG_FOR_SLOT  ? "a slot of '%s'"
                         : wish->what == WG_FOR_TASK  ? "a task of '%s'"
                                                      : "the tasks of '%s'";
    snprintf(text, WG_TRACE_LABEL + 40, format, label);
}

static void put_wait(int32_t thread, const char *what, int64_t since, const char *outcome) {
    struct line line = LINE;
    char name[WG_TRACE_LABEL + 60];
    snprintf(name, sizeof name, "wait for %s", what);
    begin(&line, "X", "wait", name, thread, since);
    add_time(&line, "dur", wg_now() - since);
    add_arg(&line, "for", what);
    add_arg(&line, "outcome", outcome);
    put(&line);
}

void wg_trace_slept(const struct wg_wait_record *record, wg_status status) {
    if (!wg_trace_is_on())
        return;
    char what[WG_TRACE_LABEL + 40];
    describe(what, &record->wish);
    put_wait(this_thread(), what, record->since, wg_strstatus(status));
}

static void put_threadless_wait(const char *task, const struct wg_wish *wish, int64_t since, const char *outcome) {
    struct line line = LINE;
    char what[WG_TRACE_LABEL + 40], name[WG_TRACE_LABEL + 60];
    uint64_t number = wg_add_relaxed64(&numbers, 1) + 1;
    describe(what, wish);
    snprintf(name, sizeof name, "wait for %s", what);
    begin_span(&line, "wait", name, number, since);
    add_arg(&line, "task", task);
    add_arg(&line, "for", what);
    add_arg(&line, "outcome", outcome);
    end_span(&line, "wait", name, number);
}

void wg_trace_waited(const struct wg_wait_record *record) {
    const wg_place *place = record->until ? record->until->place : NULL;
    if (wg_trace_is_on())
        put_threadless_wait(place ? place->task : NULL, &record->wish, record->since, NULL);
}

/* --- cancellations and groups --- */

void wg_trace_cancelled(const char *label, wg_status status, const wg_error *cause) {
    if (!wg_trace_is_on())
        return;
    struct line line = LINE;
    char name[WG_TRACE_LABEL + 40];
    snprintf(name, sizeof name, "%s%s%.*s", wg_strstatus(status), *label ? ": " : "", WG_TRACE_LABEL, label);
    begin(&line, "i", "cancel", name, this_thread(), wg_now());
    wg_text_add(&line.text, ",\"s\":\"p\"");
    add_arg(&line, "what", label);
    if (cause)
        add_arg(&line, "cause", wg_error_text(cause));
    put(&line);
}

static void put_group(const void *group, const char *label, const char *where, const char *language, int64_t made,
                      const char *outcome) {
    struct line line = LINE;
    uint64_t id = (uint64_t)(uintptr_t)group;
    begin_span(&line, "group", label, id, made);
    add_arg(&line, "language", language);
    add_arg(&line, "made at", where);
    add_arg(&line, "outcome", outcome);
    end_span(&line, "group", label, id);
}

void wg_trace_group(const void *group, const char *label, const char *where, const char *language, int64_t made,
                    wg_status outcome) {
    if (wg_trace_is_on())
        put_group(group, label, where, language, made, wg_strstatus(outcome));
}

/* --- the ends of a file --- */

void wg_trace_unfinished_task(struct wg_thread_id thread, const char *name, const char *group, int64_t began) {
    struct line line = LINE;
    begin(&line, "X", "task", name_of(name), number_of(thread), began);
    add_time(&line, "dur", wg_now() - began);
    add_arg(&line, "group", group);
    add_arg(&line, "outcome", "unfinished");
    put(&line);
}

void wg_trace_unfinished_wait(struct wg_thread_id thread, const struct wg_wish *wish, int64_t began) {
    char text[WG_TRACE_LABEL + 40];
    describe(text, wish);
    put_wait(number_of(thread), text, began, "unfinished");
}

void wg_trace_unfinished_waiting(const char *task, const struct wg_wish *wish, int64_t began) {
    put_threadless_wait(task, wish, began, "unfinished");
}

void wg_trace_unfinished_group(const void *group, const char *label, const char *where, const char *language,
                               int64_t made) {
    put_group(group, label, where, language, made, "unfinished");
}

size_t wg_trace_missing(char *text, size_t size, unsigned long lines) {
    struct line line = {{text, size, 0}, false};
    char name[80];
    snprintf(name, sizeof name, "%lu events are missing: they could not be written", lines);
    begin(&line, "i", "missing", name, number_of(wg_thread_id()), wg_now());
    wg_text_add(&line.text, ",\"s\":\"g\"");
    finish(&line);
    return wg_text_written(&line.text);
}

size_t wg_trace_first(char *text, size_t size) {
    struct line line = {{text, size, 0}, false};
    char name[64];
    wg_store_relaxed32(&process, (uint32_t)wg_process_id());
    wg_add_relaxed32(&files, 1);
    wg_process_name(name, sizeof name);
    wg_text_add(&line.text, "{\"ph\":\"M\",\"pid\":%" PRId32 ",\"tid\":0,\"name\":\"process_name\"", process_id());
    add_arg(&line, "name", name);
    finish(&line);
    return wg_text_written(&line.text);
}
