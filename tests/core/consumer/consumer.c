/* A program outside the project, in the common part of C and C++: test_install.c builds it against an installed copy. */
#include <stdio.h>
#include <string.h>

#include <waitgroup.h>

static wg_error *add(void *arg, wg_context *ctx) {
    int *n = (int *)arg;
    if (wg_context_status(ctx) == WG_OK)
        ++*n;
    return NULL;
}

static void stop(void *arg) { *(int *)arg = 1; }

int main(void) {
    static wg_waitgroup wg = WG_INIT;
    /* Without an initializer in order: this is C++ as well, and later versions may have more fields. */
    static wg_until soon;
    wg_errgroup *g;
    wg_observer observer;
    int n[10] = {0}, sum = 0, zero = 0;
    if (strcmp(wg_version(), WG_VERSION) != 0 || wg_add(&wg, 1) != WG_OK || wg_errgroup_new(&g, NULL) != WG_OK)
        return 1;
    soon.deadline = wg_after(10 * WG_SECOND);
    for (int i = 0; i < 10; i++)
        if (wg_errgroup_go(g, add, &n[i], NULL, &soon) != WG_OK)
            return 2;
    if (wg_errgroup_wait(g, &soon, NULL) != WG_OK)
        return 3;
    wg_errgroup_release(g);
    for (int i = 0; i < 10; i++)
        sum += n[i];
    if (wg_event_observe(wg_zero(&wg), &observer, stop, &zero) != WG_OK || wg_done(&wg) != WG_OK ||
        wg_wait(&wg, &soon) != WG_OK)
        return 4;
    printf("%d %d %s\n", sum, zero, wg_strstatus(WG_OK));
    return sum == 10 && zero == 1 ? 0 : 5;
}
