/* A plugin that carries the library along: test_install.c builds it, loads it, and unloads it. */
#include <waitgroup.h>

static void nothing(void *unused) { (void)unused; }

int work(void);

/* Leaves idle workers behind, of the process's pool and of one with a host of its own, and the thread of the deadlines. */
int work(void) {
    wg_waitgroup wg = WG_INIT;
    wg_context *ctx;
    wg_pool *pool;
    if (wg_pool_new(&pool, &(wg_pool_host){.leave = nothing, .idle_time = 100 * WG_MILLISECOND}) != WG_OK)
        return 1;
    if (wg_context_new(&ctx, NULL, wg_after(60 * WG_SECOND)) != WG_OK)
        return 2;
    wg_context_release(ctx);
    if (wg_go(&wg, NULL, nothing, NULL, NULL) != WG_OK || wg_go(&wg, pool, nothing, NULL, NULL) != WG_OK)
        return 3;
    wg_pool_release(pool);
    return wg_wait(&wg, NULL) == WG_OK ? 0 : 4;
}
