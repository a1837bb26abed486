/* trace_file.c - see trace_file.h. */
#include "trace_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mutex.h"
#include "os.h"

#ifdef WG_TRACE_BUFFERS /* of a test that has little memory */
#define BUFFERS WG_TRACE_BUFFERS
#define SIZE ((size_t)WG_TRACE_LONGEST + TAIL)
#else
#define BUFFERS 32
#define SIZE ((size_t)32 << 10)
#endif
#define OLDEST WG_SECOND

static const char head[] = "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n";
static const char tail[] = "\n]}\n";
#define TAIL (sizeof tail - 1)

static struct buffer {
    _Alignas(64) wg_mutex lock;
    char *text;     /* SIZE bytes, the last of which are for the tail; NULL: no memory yet */
    bool open;      /* lines are taken */
    size_t length;  /* of what is not written yet */
    int64_t oldest; /* when the first of that came */
    unsigned long lines;
} buffers[BUFFERS];

static wg_mutex file_lock;
static int file = WG_FILE_NONE;
static int64_t end; /* where the tail begins */
static unsigned long missing;

/* Write the first `length` bytes of `text`, which has space for the tail behind them. If that fails, the file is as before:
 * what has been written of them has taken the place of the tail. */
static bool write_with_tail(char *text, size_t length) {
    memcpy(text + length, tail, TAIL);
    int cancel = wg_cancel_forbid();
    bool written = wg_file_write(file, text, length + TAIL, end);
    if (written) {
        end += (int64_t)length;
    } else if (end > 0) {
        (void)wg_file_write(file, tail, TAIL, end);
        wg_file_cut(file, end + (int64_t)TAIL);
    }
    wg_cancel_allow(cancel);
    return written;
}

/* With the lock of the buffer held. */
static void flush(struct buffer *b) {
    wg_mutex_lock(&file_lock);
    if (b->length > 0 && !write_with_tail(b->text, b->length))
        missing += b->lines;
    wg_mutex_unlock(&file_lock);
    b->length = 0;
    b->lines = 0;
}

static void append(struct buffer *b, const char *line, size_t length) {
    if (length > SIZE - TAIL - b->length)
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

static void close_file(void) {
    int cancel = wg_cancel_forbid();
    wg_mutex_lock(&file_lock);
    if (file >= 0)
        wg_file_close(file);
    file = WG_FILE_NONE;
    wg_mutex_unlock(&file_lock);
    wg_cancel_allow(cancel);
}

static wg_status begin(const char *first, size_t length) {
    char text[WG_TRACE_LONGEST + sizeof head + TAIL];
    memcpy(text, head, sizeof head - 1);
    memcpy(text + sizeof head - 1, first, length);
    wg_mutex_lock(&file_lock);
    bool written = write_with_tail(text, sizeof head - 1 + length);
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
        close_file();
    }
    return status;
}

unsigned long wg_trace_file_flush(void) {
    for (int i = 0; i < BUFFERS; i++) {
        wg_mutex_lock(&buffers[i].lock);
        if (buffers[i].open)
            flush(&buffers[i]);
        wg_mutex_unlock(&buffers[i].lock);
    }
    wg_mutex_lock(&file_lock);
    unsigned long n = missing;
    wg_mutex_unlock(&file_lock);
    return n;
}

unsigned long wg_trace_file_close(void) {
    close_buffers();
    close_file();
    return missing;
}

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
