/* trace_file.h - where the lines of a timeline go: into buffers, and from there into its file.
 *
 * There are a fixed number of buffers. A thread always uses the same one, which it shares with few others or none; so a line
 * takes one lock that is free, and all that a timeline takes is bounded. A buffer that is full, or holds a line older than a
 * second, is written by the thread that finds it so.
 *
 * Each write ends with the end of the file's text, and the next write begins there. So the file is whole after each. Before
 * the end there are spaces, in whose place the last line goes, so that it can be written though the disk is full.
 *
 * Which thread may change what:
 *   all of a buffer      under the lock of the buffer; it is open exactly while a timeline is written
 *   file, end, missing   under the lock of the file
 * Lock order: a buffer's, then the file's. Fork.c takes all. */
#ifndef WG_TRACE_FILE_H
#define WG_TRACE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "waitgroup/status.h"

#define WG_TRACE_LONGEST 4000 /* the longest line */

/* Open the file, which begins with `first`, a line. WG_OK, WG_NO_FILE, WG_NO_MEMORY. The caller sees to it that there is one
 * file at a time. */
wg_status wg_trace_file_open(const char *path, const char *first, size_t length);

/* Add a line, which begins with a comma. Any thread, with no lock held. Without a file, nothing happens. */
void wg_trace_file_put(const char *line, size_t length);

/* Write all that there is. */
void wg_trace_file_flush(void);

/* The same, and take no more lines. Returns how many lines are missing because they could not be written. */
unsigned long wg_trace_file_finish(void);

/* Then: close the file, with a last line of at most WG_TRACE_LAST bytes, for which there is room in any case. */
#define WG_TRACE_LAST ((size_t)256)
void wg_trace_file_close(const char *line, size_t length);

/* For fork.c. In the child there is no file: what the buffers hold is the parent's. */
void wg_trace_file_lock(void);
void wg_trace_file_unlock(void);
void wg_trace_file_reset(void);

#endif
