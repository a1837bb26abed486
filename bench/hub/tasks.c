/* tasks.c - tasks of C for works.py, which calls this by ctypes: in C, so that the calls themselves cost what they cost there. */
#include <waitgroup.h>

double hub_tasks(wg_errgroup *g, int n);
double hub_tasks_by_id(int64_t id, int n);

static wg_error *nothing(void *unused, wg_context *ctx) {
    (void)unused;
    (void)ctx;
    return NULL;
}

/* Start n tasks in the group, NULL for a new one, and wait for them: seconds; or below 0, if they cannot be started. */
double hub_tasks(wg_errgroup *g, int n) {
    wg_errgroup *own = NULL;
    if (!g && wg_errgroup_new(&own, NULL) != WG_OK)
        return -1;
    wg_errgroup *group = g ? g : own;
    int64_t began = wg_now();
    wg_status status = WG_OK;
    for (int i = 0; i < n && status == WG_OK; i++)
        status = wg_errgroup_go(group, nothing, NULL, NULL, NULL);
    if (status == WG_OK)
        status = wg_errgroup_wait(group, NULL, NULL);
    double seconds = wg_seconds(wg_now() - began);
    wg_errgroup_release(own);
    return status == WG_OK ? seconds : -1;
}

/* The same in the group with that id. */
double hub_tasks_by_id(int64_t id, int n) {
    void *group;
    if (wg_attach(id, WG_KIND_ERRGROUP, &group) != WG_OK)
        return -1;
    double seconds = hub_tasks(group, n);
    wg_errgroup_release(group);
    return seconds;
}
