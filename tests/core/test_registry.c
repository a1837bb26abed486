/* Ids: the object again, from its number; every way in which a number stands for none; and wait groups that are counted. */
#include "tasks.h"

static wg_shared *new_shared(void) {
    wg_shared *shared;
    assert_status(wg_shared_new(&shared), WG_OK);
    return shared;
}

static wg_context *new_context(void) {
    wg_context *ctx;
    assert_status(wg_context_new(&ctx, NULL, WG_FOREVER), WG_OK);
    return ctx;
}

/* One of each kind, and what is known of it. */
struct one {
    wg_kind kind;
    void *object;
    int64_t id;
};

static void make_each(struct one one[3]) {
    wg_shared *shared = new_shared();
    wg_errgroup *g = new_group((wg_errgroup_options){0});
    wg_context *ctx = new_context();
    one[0] = (struct one){WG_KIND_WAITGROUP, shared, wg_shared_id(shared)};
    one[1] = (struct one){WG_KIND_ERRGROUP, g, wg_errgroup_id(g)};
    one[2] = (struct one){WG_KIND_CONTEXT, ctx, wg_context_id(ctx)};
}

static void give_up(const struct one *one) {
    switch (one->kind) {
    case WG_KIND_WAITGROUP: wg_shared_release(one->object); break;
    case WG_KIND_ERRGROUP: wg_errgroup_release(one->object); break;
    default: wg_context_release(one->object);
    }
}

static void an_id_gives_the_object_with_a_reference(void **state) {
    (void)state;
    struct one each[3];
    make_each(each);
    for (int i = 0; i < 3; i++) {
        void *object = NULL;
        wg_kind kind = WG_KIND_ANY;
        assert_true(each[i].id > INT64_C(1) << 32);
        assert_true(each[i].id < INT64_C(1) << 53);
        assert_status(wg_kind_of_id(each[i].id, &kind), WG_OK);
        assert_int_equal(kind, each[i].kind);
        assert_status(wg_attach(each[i].id, kind, &object), WG_OK);
        assert_ptr_equal(object, each[i].object);
        give_up(&each[i]);
        object = NULL;
        assert_status(wg_attach(each[i].id, kind, &object), WG_OK); /* the other reference keeps it */
        give_up(&each[i]);
        give_up(&each[i]);
    }
}

static void an_id_stays_and_is_nobody_elses(void **state) {
    (void)state;
    enum { MANY = 1000 };
    static wg_context *contexts[MANY];
    static int64_t ids[MANY];
    for (int i = 0; i < MANY; i++) {
        contexts[i] = new_context();
        ids[i] = wg_context_id(contexts[i]);
        if (i % 3 == 0)
            wg_context_release(contexts[i]);
    }
    for (int i = 0; i < MANY; i++) {
        void *object = NULL;
        wg_status status = wg_attach(ids[i], WG_KIND_CONTEXT, &object);
        assert_status(status, i % 3 == 0 ? WG_ENDED_ID : WG_OK);
        if (status != WG_OK)
            continue;
        assert_ptr_equal(object, contexts[i]);
        assert_int_equal(wg_context_id(object), ids[i]);
        wg_context_release(object);
        wg_context_release(contexts[i]);
    }
    for (int i = 1; i < MANY; i++)
        assert_true(ids[i] > ids[i - 1]);
}

static void a_number_that_stands_for_nothing_says_why(void **state) {
    (void)state;
    struct one each[3];
    make_each(each);
    void *object = each;
    wg_kind kind = WG_KIND_OTHER;
    for (int i = 0; i < 3; i++) {
        for (int k = WG_KIND_WAITGROUP; k <= WG_KIND_OTHER; k++)
            if ((wg_kind)k != each[i].kind)
                assert_status(wg_attach(each[i].id, (wg_kind)k, &object), WG_OTHER_KIND);
        give_up(&each[i]);
        assert_status(wg_attach(each[i].id, each[i].kind, &object), WG_ENDED_ID);
        assert_status(wg_kind_of_id(each[i].id, &kind), WG_ENDED_ID);
        assert_status(wg_attach(each[i].id, WG_KIND_ANY, &object), WG_INVALID);
        assert_status(wg_attach(each[i].id, (wg_kind)77, &object), WG_INVALID);
        assert_status(wg_attach(each[i].id, each[i].kind, NULL), WG_INVALID);
    }
    const int64_t none[] = {0, 1, -1, INT64_MAX, INT64_MIN, each[2].id + 1000000, each[0].id - 1000000};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_status(wg_attach(none[i], WG_KIND_CONTEXT, &object), WG_UNKNOWN_ID);
        assert_status(wg_kind_of_id(none[i], &kind), WG_UNKNOWN_ID);
    }
    assert_status(wg_kind_of_id(each[0].id, NULL), WG_INVALID);
    assert_ptr_equal(object, each);
    assert_int_equal(kind, WG_KIND_OTHER);
    assert_int_equal(wg_shared_id(NULL), 0);
    assert_int_equal(wg_errgroup_id(NULL), 0);
    assert_int_equal(wg_context_id(NULL), 0);
    wg_id_end(0);
    wg_id_end(each[2].id + 1000000);
}

static bool never(void *object) {
    (void)object;
    return false;
}

static bool counted(void *count) {
    ++*(int *)count;
    return true;
}

static void a_language_has_ids_for_objects_of_its_own(void **state) {
    (void)state;
    int references = 1;
    void *object = NULL;
    int64_t id = wg_id_new(&references, counted), dead = wg_id_new(&references, never);
    assert_true(wg_ids_in_use());
    assert_status(wg_attach(id, WG_KIND_OTHER, &object), WG_OK);
    assert_ptr_equal(object, &references);
    assert_int_equal(references, 2);
    assert_status(wg_attach(id, WG_KIND_ERRGROUP, &object), WG_OTHER_KIND);
    assert_status(wg_attach(dead, WG_KIND_OTHER, &object), WG_ENDED_ID);
    wg_id_end(id);
    wg_id_end(dead);
    assert_status(wg_attach(id, WG_KIND_OTHER, &object), WG_ENDED_ID);
    assert_int_equal(wg_id_new(NULL, counted), 0);
    assert_int_equal(wg_id_new(&references, NULL), 0);
}

static void the_root_has_an_id_too(void **state) {
    (void)state;
    void *object = NULL;
    assert_status(wg_attach(wg_context_id(wg_context_root()), WG_KIND_CONTEXT, &object), WG_OK);
    assert_ptr_equal(object, wg_context_root());
    wg_context_release(object);
}

static void a_shared_wait_group_lives_as_long_as_somebody_refers_to_it(void **state) {
    (void)state;
    wg_shared *shared = new_shared();
    wg_waitgroup *wg = wg_shared_waitgroup(shared);
    assert_status(wg_add(wg, 1), WG_OK);
    assert_ptr_equal(wg_shared_retain(shared), shared);
    wg_shared_release(shared);
    assert_status(wg_done(wg), WG_OK);
    assert_status(wg_wait(wg, NULL), WG_OK);
    wg_shared_release(shared);
    assert_status(wg_shared_new(NULL), WG_INVALID);
    assert_null(wg_shared_retain(NULL));
    assert_null(wg_shared_waitgroup(NULL));
    wg_shared_release(NULL);
}

static struct one before_fork[3];

static void ids_are_of_the_process(void) {
    for (int i = 0; i < 3; i++) {
        void *object = NULL;
        wg_kind kind;
        REQUIRE(wg_attach(before_fork[i].id, before_fork[i].kind, &object) == WG_FORKED);
        REQUIRE(wg_kind_of_id(before_fork[i].id, &kind) == WG_FORKED && !object);
    }
    wg_shared *shared = before_fork[0].object;
    int64_t id = wg_shared_id(shared);
    void *object = NULL;
    REQUIRE(id != before_fork[0].id && wg_shared_id(shared) == id);
    REQUIRE(wg_attach(id, WG_KIND_WAITGROUP, &object) == WG_OK && object == shared);
    REQUIRE(wg_attach(before_fork[0].id, WG_KIND_WAITGROUP, &object) != WG_OK);
}

static void in_the_child_of_a_fork_an_id_is_of_the_parent(void **state) {
    (void)state;
    make_each(before_fork);
    assert_true(in_child(ids_are_of_the_process));
    for (int i = 0; i < 3; i++)
        give_up(&before_fork[i]);
}

/* Threads attach while others let go: each gets the object whole, or hears that it is gone. */
static _Atomic int64_t current;
static atomic_bool over;

static void *attach_again_and_again(void *unused) {
    (void)unused;
    while (!atomic_load(&over)) {
        void *object = NULL;
        wg_status status = wg_attach(atomic_load(&current), WG_KIND_ERRGROUP, &object);
        REQUIRE(status == WG_OK || status == WG_ENDED_ID || status == WG_UNKNOWN_ID);
        if (status == WG_OK) {
            REQUIRE(wg_errgroup_wait(object, POLL, NULL) != WG_INVALID);
            wg_errgroup_release(object);
        }
    }
    return NULL;
}

static void attaching_races_the_last_reference(void **state) {
    (void)state;
    struct thread threads[2];
    atomic_store(&over, false);
    for (int i = 0; i < 2; i++)
        thread_start(&threads[i], attach_again_and_again, NULL);
    for (int i = 0; i < effort(2000); i++) {
        wg_errgroup *g = new_group((wg_errgroup_options){0});
        atomic_store(&current, wg_errgroup_id(g));
        wg_errgroup_release(g);
    }
    atomic_store(&over, true);
    for (int i = 0; i < 2; i++)
        thread_join(&threads[i]);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_gives_the_object_with_a_reference),
        cmocka_unit_test(an_id_stays_and_is_nobody_elses),
        cmocka_unit_test(a_number_that_stands_for_nothing_says_why),
        cmocka_unit_test(a_language_has_ids_for_objects_of_its_own),
        cmocka_unit_test(the_root_has_an_id_too),
        cmocka_unit_test(a_shared_wait_group_lives_as_long_as_somebody_refers_to_it),
        cmocka_unit_test(in_the_child_of_a_fork_an_id_is_of_the_parent),
        cmocka_unit_test(attaching_races_the_last_reference),
    };
    return RUN("registry", tests);
}
