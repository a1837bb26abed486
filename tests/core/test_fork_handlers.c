/* Handlers of fork that a program has set, in a constructor of a static program too, may call the library: before a fork, and
 * after it in parent and child. */
#include "support.h"

static atomic_int calls; /* of the handlers */
static atomic_bool ready;

static wg_error *nothing(void *unused, wg_context *ctx) {
    (void)unused, (void)ctx;
    return NULL;
}

/* A call for each kind of lock. */
static void use_everything(void) {
    wg_waitgroup wg = WG_INIT;
    wg_errgroup *g;
    wg_context *ctx;
    REQUIRE(wg_add(&wg, 1) == WG_OK && wg_wait(&wg, POLL) == WG_TIMEOUT && wg_done(&wg) == WG_OK);
    REQUIRE(wg_context_new(&ctx, wg_context_root(), wg_after(HANG)) == WG_OK);
    REQUIRE(wg_context_id(ctx) != 0);
    wg_context_release(ctx);
    REQUIRE(wg_errgroup_new(&g, NULL) == WG_OK);
    REQUIRE(wg_errgroup_go(g, nothing, NULL, NULL, NULL) == WG_OK);
    REQUIRE(wg_errgroup_wait(g, AFTER(HANG), NULL) == WG_OK);
    wg_errgroup_release(g);
    free(wg_dump_text());
}

static void handler(void) {
    if (!atomic_load(&ready))
        return;
    use_everything();
    atomic_fetch_add(&calls, 1);
}

/* Before that of the library, if they were of one priority: a program comes first where it is linked. */
__attribute__((constructor)) static void set_handlers(void) { REQUIRE(pthread_atfork(handler, handler, handler) == 0); }

static void in_the_child(void) { REQUIRE(atomic_load(&calls) == 2); }

static void the_child_of_a_fork_whose_handlers_use_the_library(void **state) {
    (void)state;
    if (THREAD_SANITIZER)
        skip(); /* its own handler holds locks of its own meanwhile */
    atomic_store(&ready, true);
    assert_true(in_child(in_the_child));
    atomic_store(&ready, false);
    assert_int_equal(atomic_load(&calls), 2);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(the_child_of_a_fork_whose_handlers_use_the_library),
    };
    return RUN("fork handlers", tests);
}
