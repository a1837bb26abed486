/* http.c - see http.h. */
#define _POSIX_C_SOURCE 200809L
#include "http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in loopback(int port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        .sin_port = htons((uint16_t)port),
    };
}

bool http_open(http_service *service) {
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof address;
    service->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (service->listener < 0 || bind(service->listener, (struct sockaddr *)&address, length) != 0 ||
        listen(service->listener, 16) != 0 || getsockname(service->listener, (struct sockaddr *)&address, &length) != 0)
        return false;
    service->port = ntohs(address.sin_port);
    return true;
}

void http_close(http_service *service) { close(service->listener); }

/* Sleep until `fd` is readable: true; or until `ctx` ends: false. A context is a file descriptor like any other. */
static bool readable(int fd, wg_context *ctx) {
    int end;
    if (wg_context_fd(ctx, &end) != WG_OK)
        return false;
    struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = end, .events = POLLIN}};
    while (poll(fds, 2, -1) < 0) {}
    return !fds[1].revents;
}

wg_error *http_serve(void *arg, wg_context *ctx) {
    http_service *service = arg;
    char request[1024], answer[1024];
    snprintf(answer, sizeof answer, "HTTP/1.0 %s\r\nContent-Length: %zu\r\n\r\n%s", service->status,
             strlen(service->body), service->body);
    while (readable(service->listener, ctx)) {
        int client = accept(service->listener, NULL, NULL);
        if (client < 0)
            continue;
        if (readable(client, ctx) && recv(client, request, sizeof request, 0) > 0 &&
            wg_context_wait(ctx, &(wg_until){.deadline = wg_after(service->latency)}) == WG_TIMEOUT)
            send(client, answer, strlen(answer), MSG_NOSIGNAL);
        close(client);
    }
    return wg_context_error(ctx);
}

static wg_error *failure(const char *text) { return wg_error_new(WG_ERROR_FAILURE, (void *)text, NULL); }

wg_error *http_get(int port, char *body, size_t size, wg_context *ctx) {
    static const char request[] = "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n";
    char answer[1024];
    size_t got = 0;
    ssize_t n = -1;
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        return failure("no socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && send(fd, request, strlen(request), 0) > 0) {
        while (got < sizeof answer - 1 && readable(fd, ctx) &&
               (n = recv(fd, answer + got, sizeof answer - 1 - got, 0)) > 0)
            got += (size_t)n;
    }
    close(fd);
    if (wg_context_status(ctx) != WG_OK)
        return wg_context_error(ctx);
    answer[got] = '\0';
    char *blank = strstr(answer, "\r\n\r\n");
    if (n != 0 || !blank)
        return failure("no answer");
    if (strncmp(answer + 9, "200", 3) != 0)
        return failure(strncmp(answer + 9, "503", 3) == 0 ? "503 Service Unavailable" : "not 200 OK");
    snprintf(body, size, "%s", blank + 4);
    return NULL;
}
