/* product.c - two HTTP services are asked at the same time and their answers merged; then one fails and the request to
 * the other is cancelled at once; then one is too slow and the deadline ends it; in the end nothing is left over. */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <stdio.h>
#include <time.h>

#include <waitgroup.h>

#include "http.h"

typedef struct request {
    const char *name;
    int port;
    char body[64];
} request;

static double ms_since(int64_t start) { return (double)(wg_now() - start) / WG_MILLISECOND; }

/* The task: one request. */
static wg_error *fetch(void *arg, wg_context *ctx) {
    request *r = arg;
    int64_t start = wg_now();
    wg_error *error = http_get(r->port, r->body, sizeof r->body, ctx);
    const char *outcome = r->body;
    if (error)
        outcome = wg_error_get_kind(error) == WG_ERROR_STOP ? "cancelled" : wg_error_value(error);
    printf("  %-14s%-26s%5.0f ms\n", r->name, outcome, ms_since(start));
    return error;
}

/* Fetch the product from both services, at most until `deadline`. */
static void product(const http_service *availability, const http_service *price, int64_t deadline) {
    int64_t start = wg_now();
    request requests[] = {{.name = "availability", .port = availability->port}, {.name = "price", .port = price->port}};
    wg_errgroup *g;
    wg_error *first;
    wg_errgroup_new(&g, &(wg_errgroup_options){.deadline = deadline});
    for (int i = 0; i < 2; i++)
        if (wg_errgroup_go(g, fetch, &requests[i], NULL, NULL) != WG_OK)
            break; /* it has ended: the wait says why */
    wg_status status = wg_errgroup_wait(g, NULL, &first);

    char merged[160];
    if (status == WG_OK)
        snprintf(merged, sizeof merged, "%s at %s", requests[0].body, requests[1].body);
    else
        snprintf(merged, sizeof merged, "%s",
                 status == WG_FAILED ? (char *)wg_error_value(first) : wg_strstatus(status));
    printf("  %-14s%-26s%5.0f ms\n", "product", merged, ms_since(start));
    wg_errgroup_release(g);
}

/* Start the services in a group of their own, fetch the product, stop the services. */
static void scene(const char *title, http_service availability, http_service price, int64_t time_allowed) {
    printf("%s\n", title);
    http_service *both[] = {&availability, &price};
    wg_errgroup *services;
    wg_errgroup_new(&services, NULL);
    for (int i = 0; i < 2; i++) {
        if (!http_open(both[i]))
            perror("product: cannot open a port");
        wg_status status = wg_errgroup_go(services, http_serve, both[i], NULL, NULL);
        if (status != WG_OK)
            fprintf(stderr, "product: cannot start a service: %s\n", wg_strstatus(status));
    }
    product(&availability, &price, wg_after(time_allowed));
    wg_errgroup_cancel(services, NULL);
    wg_errgroup_wait(services, NULL, NULL);
    wg_errgroup_release(services);
    for (int i = 0; i < 2; i++)
        http_close(both[i]);
}

static int entries(const char *path) {
    int n = 0;
    DIR *dir = opendir(path);
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n;
}

int main(void) {
    int threads = entries("/proc/self/task"), fds = entries("/proc/self/fd");

    http_service stock = {.status = "200 OK", .body = "7 in stock", .latency = 80 * WG_MILLISECOND};
    http_service price = {.status = "200 OK", .body = "19.99", .latency = 100 * WG_MILLISECOND};
    http_service broken = {.status = "503 Service Unavailable", .body = "", .latency = 20 * WG_MILLISECOND};
    http_service slow = {.status = "200 OK", .body = "7 in stock", .latency = 5 * WG_SECOND};
    scene("both services answer, after 80 and 100 ms", stock, price, 30 * WG_SECOND);
    scene("price fails after 20 ms, availability would take 5000 ms", slow, broken, 30 * WG_SECOND);
    scene("availability would take 5000 ms, the deadline is at 150 ms", slow, price, 150 * WG_MILLISECOND);

    printf("left over, once the idle threads are gone\n");
    int64_t give_up = wg_after(20 * WG_SECOND);
    while (entries("/proc/self/task") > threads && wg_now() < give_up)
        nanosleep(&(struct timespec){.tv_nsec = 50 * WG_MILLISECOND}, NULL);
    int more_threads = entries("/proc/self/task") - threads, more_fds = entries("/proc/self/fd") - fds;
    printf("  threads %d, file descriptors %d\n", more_threads, more_fds);
    return more_threads || more_fds;
}
