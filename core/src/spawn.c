/* spawn.c - see spawn.h. */
#include "spawn.h"

#include "os.h"
#include "waitqueue.h"

/* Try again for all pools that are starved. */
static void retry(void) {
    for (wg_pool *pool = wg_pool_or_default(NULL); pool; pool = wg_pool_after(pool)) {
        wg_mutex_lock(&pool->lock);
        if (!pool->ring.next)
            wg_not_starved(pool); /* what it lacked a thread for is gone */
        wg_update_needs_worker(pool);
        struct wg_action action = pool->starved ? wg_ensure_searcher(pool) : (struct wg_action){.what = WG_NOTHING};
        wg_mutex_unlock(&pool->lock);
        wg_perform(pool, action);
    }
}

/* Undo the reservation of a worker whose thread could not be started; it is still expected, unless that was before a fork.
 * Returns true if queued work is now left without any thread: the caller must then call wg_waiters_kick(), after it has
 * released the lock. */
static bool spawn_failed(wg_pool *pool) {
    bool news = !pool->starved && pool->ring.next && !pool->stopped;
    if (pool->expected > 0)
        pool->expected--;
    if (news) {
        wg_shortage_begins(retry);
        pool->starved = true;
    }
    if (pool->spawning)
        pool->spawning = pool->searching = false;
    wg_update_needs_worker(pool);
    return news;
}

static void work_natively(void *pool) { wg_pool_work(pool); }

struct asked {
    wg_pool *pool;
    bool started;
};

static void ask_host(void *raw) {
    struct asked *asked = raw;
    asked->started = asked->pool->host.start(asked->pool->host.data, asked->pool);
}

static bool start_thread(wg_pool *pool) {
    struct asked asked = {.pool = pool};
    if (!pool->host.start)
        return wg_start_thread(pool->name, pool->host.stack_size, work_natively, pool);
    int cancel = wg_cancel_forbid();
    wg_call_out(ask_host, &asked);
    wg_cancel_allow(cancel);
    return asked.started;
}

/* False if there is no thread to be had. If `start` forks, the child expects nobody: the thread may have been started before
 * or after, and if it comes it is counted then. Nothing failed there: what the thread was wanted for stays in the parent. */
static bool spawn(wg_pool *pool) {
    uint32_t epoch = wg_fork_epoch();
    bool news = false;
    wg_keep_self_loaded();
    wg_pool_retain(pool); /* for the new thread */
    wg_pool_retain(pool); /* for what follows: it may have come and gone by then */
    bool spawned = start_thread(pool);
    wg_mutex_lock(&pool->lock);
    bool overtaken = epoch != wg_fork_epoch();
    if (!overtaken) {
        pool->starting--;
        news = !spawned && spawn_failed(pool);
        wg_update_needs_worker(pool);
    }
    wg_mutex_unlock(&pool->lock);
    if (news)
        wg_waiters_kick();
    if (!spawned)
        wg_pool_release(pool);
    wg_pool_release(pool);
    return spawned || overtaken;
}

void wg_pool_work_failed(wg_pool *pool) {
    if (!pool)
        return;
    wg_mutex_lock(&pool->lock);
    bool news = spawn_failed(pool);
    wg_mutex_unlock(&pool->lock);
    if (news)
        wg_waiters_kick();
    wg_pool_release(pool);
}

bool wg_wake_or_spawn(wg_pool *pool, struct wg_action action) {
    if (action.epoch != wg_fork_epoch())
        return true;
    if (action.what == WG_SPAWN)
        return spawn(pool);
    wg_unpark_one(action.word);
    return true;
}
