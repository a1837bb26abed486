/* Memory for tasks: things of any size lie where they may, do not overlap, and find their way back. */
#include "support.h"

#include "slab.h"

#define THINGS 200

/* `things` of `size` bytes each, all alive at once. */
static void things_of_size(size_t size) {
    struct wg_slabs slabs = {.slab = NULL};
    unsigned char *things[THINGS];
    uint16_t places[THINGS];
    for (int i = 0; i < THINGS; i++) {
        things[i] = wg_slabs_take(&slabs, size, &places[i]);
        assert_int_equal((uintptr_t)things[i] % WG_SLAB_ALIGN, 0);
        memset(things[i], i, size);
    }
    wg_slabs_end(&slabs);
    for (int i = 0; i < THINGS; i++) {
        for (size_t byte = 0; byte < size; byte++)
            assert_int_equal(things[i][byte], (unsigned char)i);
        memset(things[i], 255, size);
        wg_slab_give(things[i], places[i]);
    }
}

static void things_of_every_size_are_apart_and_aligned(void **state) {
    (void)state;
    for (size_t size = 1; size <= 80; size++)
        things_of_size(size);
    things_of_size(WG_SLAB_LARGEST - 1);
    things_of_size(WG_SLAB_LARGEST);
}

/* A source whose things change their size leaves its slab and begins another. */
static void things_of_changing_size_are_apart(void **state) {
    (void)state;
    struct wg_slabs slabs = {.slab = NULL};
    unsigned char *things[THINGS];
    uint16_t places[THINGS];
    for (int i = 0; i < THINGS; i++) {
        size_t size = i / 7 % 2 ? 88 : 64;
        things[i] = wg_slabs_take(&slabs, size, &places[i]);
        memset(things[i], i, size);
    }
    wg_slabs_end(&slabs);
    for (int i = 0; i < THINGS; i++) {
        for (size_t byte = 0; byte < (size_t)(i / 7 % 2 ? 88 : 64); byte++)
            assert_int_equal(things[i][byte], (unsigned char)i);
        wg_slab_give(things[i], places[i]);
    }
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(things_of_every_size_are_apart_and_aligned),
        cmocka_unit_test(things_of_changing_size_are_apart),
    };
    return RUN("slab", tests);
}
