/* describe.c - a failed run, for people: what went wrong, where each thread stands, and the last steps. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#undef malloc
#undef free

#define MAX_PLACES 256
#define FRAMES 8

/* Places in the code, looked up together by addr2line; without it they stay numbers. */
static struct {
    void *at;
    char text[160];
} places[MAX_PLACES];
static int place_count;

static void add_place(void *at) {
    for (int i = 0; i < place_count; i++)
        if (places[i].at == at)
            return;
    if (at && place_count < MAX_PLACES)
        places[place_count++].at = at;
}

static const char *place(void *at) {
    for (int i = 0; i < place_count; i++)
        if (places[i].at == at)
            return places[i].text;
    return "?";
}

static void look_up(void) {
    char self[500], command[600 + 20 * MAX_PLACES];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return;
    self[n] = '\0';
    int used = snprintf(command, sizeof command, "addr2line -f -p -s -i -e '%s'", self);
    for (int i = 0; i < place_count; i++) {
        snprintf(places[i].text, sizeof places[i].text, "%p", places[i].at);
        used += snprintf(command + used, sizeof command - (size_t)used, " %#lx", (unsigned long)places[i].at - 1);
    }
    FILE *lines = popen(command, "r");
    char line[160];
    bool found = false; /* a line for place i that is not of an inlined helper */
    for (int i = -1; lines && fgets(line, sizeof line, lines);) {
        static const char inlined[] = " (inlined by) ";
        bool goes_on = strncmp(line, inlined, sizeof inlined - 1) == 0;
        if (!goes_on && ++i == place_count)
            break;
        if (goes_on && found)
            continue;
        char *text = goes_on ? line + sizeof inlined - 1 : line;
        found = !strstr(text, " atomics.h:") && !strstr(text, " mutex.h:");
        text[strcspn(text, "\n(")] = '\0'; /* "(discriminator 2)" is for nobody */
        snprintf(places[i].text, sizeof places[i].text, "%s", text);
    }
    if (lines)
        pclose(lines);
}

/* The callers of the frame at which `t` stands. */
static int callers(const struct sim_thread *t, void **frames) {
    int n = 0;
    char *frame = t->sp;
    while (n < FRAMES && frame >= t->stack && frame + 16 <= t->stack + STACK_SIZE) {
        frames[n++] = *(void **)(frame + 8);
        frame = *(char **)frame;
    }
    return n;
}

void describe(FILE *out) {
    void *frames[FRAMES];
    place_count = 0;
    for (unsigned i = 0; i < engine->thread_count; i++) {
        int n = callers(&engine->threads[i], frames);
        for (int f = 0; f < n; f++)
            add_place(frames[f]);
    }
    unsigned first = engine->traced > TRACE ? engine->traced - TRACE : 0;
    for (unsigned i = first; i < engine->traced; i++)
        add_place(engine->trace[i % TRACE].where);
    for (const char *p = engine->failure; (p = strstr(p, "[0x")); p++)
        add_place((void *)strtoul(p + 1, NULL, 16));
    look_up();

    fprintf(out, "%s\n", engine->failure);
    for (const char *p = engine->failure; (p = strstr(p, "[0x")); p++) {
        void *at = (void *)strtoul(p + 1, NULL, 16);
        fprintf(out, "    [%p] %s\n", at, place(at));
    }
    fprintf(out, "  the last steps:\n");
    for (unsigned i = first; i < engine->traced; i++) {
        const struct trace *t = &engine->trace[i % TRACE];
        fprintf(out, "    %2u %-10s %-8s %-14p = %#-10llx %s\n", t->thread, engine->threads[t->thread].name, t->what,
                t->address, (unsigned long long)t->value, t->where ? place(t->where) : "");
    }
    fprintf(out, "  the threads, at %lld ns:\n", (long long)engine->now);
    for (unsigned i = 0; i < engine->thread_count; i++) {
        static const char *const states[] = {"can run", "sleeps", "joins", "has ended", "is in the parent"};
        const struct sim_thread *t = &engine->threads[i];
        fprintf(out, "    %2u %-10s %s", i, t->name, t == engine->current ? "runs" : states[t->state]);
        if (t->state == PARKED && t->deadline != INT64_MAX)
            fprintf(out, " on %p until %lld", t->word, (long long)t->deadline);
        else if (t->state == PARKED)
            fprintf(out, " on %p for ever", t->word);
        else if (t->state == JOINING)
            fprintf(out, " %s", t->joins->name);
        fprintf(out, "\n");
        int n = t->state == ENDED || t->state == GONE ? 0 : callers(t, frames);
        for (int f = 0; f < n; f++)
            fprintf(out, "         %s\n", place(frames[f]));
    }
}
