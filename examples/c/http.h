/* http.h - as much HTTP as the product example needs, on loopback. */
#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include <waitgroup.h>

/* A service that answers each request with the same status line and body, after a time. */
typedef struct http_service {
    const char *status, *body;
    int64_t latency; /* nanoseconds */
    int port, listener;
} http_service;

/* Bind it to a free port of 127.0.0.1; false with errno set. http_close is its counterpart. */
bool http_open(http_service *service);
void http_close(http_service *service);

/* A task: answer requests, one after the other, until `ctx` ends. `arg` is the service. */
wg_error *http_serve(void *arg, wg_context *ctx);

/* GET / from `port` into `body`. NULL if the answer was 200 OK, else an error whose value is a static text, such as
 * "503 Service Unavailable"; when `ctx` ends it gives up at once, with wg_context_error(ctx). */
wg_error *http_get(int port, char *body, size_t size, wg_context *ctx);

#endif
