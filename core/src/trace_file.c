/* trace_file.c - see trace_file.h. */
#include "trace_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mutex.h"
#include "os.h"

#ifdef WG_TRACE_BUFFERS /* of a test that has little memory */
#define BUFFERS WG_TRACE_BUFFERS
#define SIZE ((size_t)WG_TRACE_LONGEST + END)
#else
#define BUFFERS 32
#define SIZE ((size_t)32 << 10)
#endif
#define OLDEST WG_SECOND

static const char head[] = "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n";
static const char tail[] = "\n]}\n";
#define TAIL (sizeof tail - 1)
#define END                                                                                                            \
    (WG_TRACE_LAST +                                                                                                   \
     TAIL) /* spaces, in which there is room for the last line of a file that cannot grow, and the tail */

static struct buffer {
    _Alignas(64) wg_mutex lock;
    char *text;     /* SIZE bytes, the last of which are for the end; NULL: no memory yet */
    bool open;      /* lines are taken */
    size_t length;  /* of what is not written yet */
    int64_t oldest; /* when the first of that came */
    unsigned long lines;
} buffers[BUFFERS];

static wg_mutex file_lock;
static int file = WG_FILE_NONE;
static int64_t end; /* where the spaces and the tail begin */
static unsigned long missing;

static void set_end(char *text) {
    memset(text, ' ', WG_TRACE_LAST);
    memcpy(text + WG_TRACE_LAST, tail, TAIL);
}

/* Write the first `length` bytes of `text`, which has space for the end behind them. If that fails, the file is as before:
 * what has been written of them has taken the place of the end. */
static bool write_with_end(char *text, size_t length) {
    char before[END];
    set_end(text + length);
    bool written = wg_file_write(file, text, length + END, end);
    if (written) {
        end += (int64_t)length;
    } else if (end > 0) {
        set_end(before);
        (void)wg_file_write(file, before, END, end);
        wg_file_cut(file, end + (int64_t)END);
    }
    return written;
}

/* In the place of the end. It takes no space that the file does not have. */
static void write_last(const char *line, size_t length) {
    char text[END];
    memcpy(text, line, length);
    memcpy(text + length, tail, TAIL);
    if (wg_file_write(file, text, length + TAIL, end))
        wg_file_cut(file, end + (int64_t)(length + TAIL));
}

/* With the lock of the buffer held. */
static void flush(struct buffer *b) {
    wg_mutex_lock(&file_lock);
    if (b->length > 0 && !write_with_end(b->text, b->length))
        missing += b->lines;
    wg_mutex_unlock(&file_lock);
    b->length = 0;
    b->lines = 0;
}

static void append(struct buffer *b, const char *line, size_t length) {
    if (length > SIZE - END - b->length)
        flush(b);
    if (b->length == 0)
        b->oldest = wg_now();
    memcpy(b->text + b->length, line, length);
    b->length += length;
    b->lines++;
    if (wg_now() - b->oldest > OLDEST)
        flush(b);
}

void wg_trace_file_put(const char *line, size_t length) {
    struct buffer *b = &buffers[(uint32_t)wg_thread_id().number % BUFFERS];
    wg_mutex_lock(&b->lock);
    if (b->open)
        append(b, line, length);
    wg_mutex_unlock(&b->lock);
}

static bool open_buffer(struct buffer *b) {
    char *text = b->text ? b->text : malloc(SIZE); /* nobody else opens one at this time */
    if (!text)
        return false;
    wg_mutex_lock(&b->lock);
    b->text = text;
    b->open = true;
    wg_mutex_unlock(&b->lock);
    return true;
}

static void close_buffer(struct buffer *b) {
    wg_mutex_lock(&b->lock);
    if (b->open)
        flush(b);
    b->open = false;
    char *text = b->text;
    b->text = NULL;
    wg_mutex_unlock(&b->lock);
    free(text);
}

static bool open_buffers(void) {
    bool opened = true;
    for (int i = 0; i < BUFFERS && opened; i++)
        opened = open_buffer(&buffers[i]);
    return opened;
}

static void close_buffers(void) {
    for (int i = 0; i < BUFFERS; i++)
        close_buffer(&buffers[i]);
}

static int open_or_beside(const char *path) {
    int opened = wg_file_open(path);
    if (opened != WG_FILE_TAKEN)
        return opened;
    size_t size = strlen(path) + 16;
    char *beside = malloc(size);
    if (!beside)
        return WG_FILE_NONE;
    snprintf(beside, size, "%s.%ld", path, (long)wg_process_id());
    opened = wg_file_open(beside);
    free(beside);
    return opened;
}

static wg_status open_file(const char *path) {
    int cancel = wg_cancel_forbid();
    int opened = open_or_beside(path);
    wg_cancel_allow(cancel);
    wg_mutex_lock(&file_lock);
    file = opened;
    end = 0;
    missing = 0;
    wg_mutex_unlock(&file_lock);
    return opened >= 0 ? WG_OK : WG_NO_FILE;
}

static void close_file(const char *line, size_t length) {
    int cancel = wg_cancel_forbid();
    wg_mutex_lock(&file_lock);
    if (file >= 0 && end > 0)
        write_last(line, length);
    if (file >= 0)
        wg_file_close(file);
    file = WG_FILE_NONE;
    wg_mutex_unlock(&file_lock);
    wg_cancel_allow(cancel);
}

static wg_status begin(const char *first, size_t length) {
    char text[WG_TRACE_LONGEST + sizeof head + END];
    memcpy(text, head, sizeof head - 1);
    memcpy(text + sizeof head - 1, first, length);
    wg_mutex_lock(&file_lock);
    bool written = write_with_end(text, sizeof head - 1 + length);
    wg_mutex_unlock(&file_lock);
    return written ? WG_OK : WG_NO_FILE;
}

wg_status wg_trace_file_open(const char *path, const char *first, size_t length) {
    wg_status status = open_file(path);
    if (status == WG_OK)
        status = begin(first, length);
    if (status == WG_OK && !open_buffers())
        status = WG_NO_MEMORY;
    if (status != WG_OK) {
        close_buffers();
        close_file("", 0);
    }
    return status;
}

void wg_trace_file_flush(void) {
    for (int i = 0; i < BUFFERS; i++) {
        wg_mutex_lock(&buffers[i].lock);
        if (buffers[i].open)
            flush(&buffers[i]);
        wg_mutex_unlock(&buffers[i].lock);
    }
}

unsigned long wg_trace_file_finish(void) {
    close_buffers();
    wg_mutex_lock(&file_lock);
    unsigned long n = missing;
    wg_mutex_unlock(&file_lock);
    return n;
}

void wg_trace_file_close(const char *line, size_t length) { close_file(line, length); }

void wg_trace_file_lock(void) {
    for (int i = 0; i < BUFFERS; i++)
        wg_mutex_lock(&buffers[i].lock);
    wg_mutex_lock(&file_lock);
}

void wg_trace_file_unlock(void) {
    wg_mutex_unlock(&file_lock);
    for (int i = 0; i < BUFFERS; i++)
        wg_mutex_unlock(&buffers[i].lock);
}

/* The memory of the buffers stays: a handler of fork frees none. */
void wg_trace_file_reset(void) {
    for (int i = 0; i < BUFFERS; i++) {
        buffers[i].open = false;
        buffers[i].length = 0;
        buffers[i].lines = 0;
    }
    if (file >= 0)
        wg_file_close(file);
    file = WG_FILE_NONE;
}
