/* slab.c - see slab.h. */
#include "slab.h"

#include <stdlib.h>

#include "atomics.h"

/* With more, one task that goes on for long would keep more memory of others that have ended. */
#define MOST_THINGS 64

/* The things follow it. */
struct wg_slab {
    _Alignas(WG_SLAB_ALIGN) wg_a32 live;
};
_Static_assert(sizeof(struct wg_slab) % WG_SLAB_ALIGN == 0, "the first thing is aligned");
_Static_assert(_Alignof(max_align_t) >= WG_SLAB_ALIGN, "malloc aligns a slab");
_Static_assert(MOST_THINGS *(WG_SLAB_LARGEST / WG_SLAB_ALIGN) < UINT16_MAX, "every place has a number");

static void count_off(struct wg_slab *slab, uint32_t n) {
    if (wg_sub_acq_rel32(&slab->live, n) == n)
        free(slab);
}

static bool refill(struct wg_slabs *slabs, uint16_t step) {
    uint16_t things = 1;
    if (slabs->things > 0)
        things = (uint16_t)(slabs->things * 2 < MOST_THINGS ? slabs->things * 2 : MOST_THINGS);
    struct wg_slab *slab = malloc(sizeof *slab + (size_t)things * step);
    if (!slab)
        return false;
    *slab = (struct wg_slab){things};
    slabs->slab = slab;
    slabs->things = things;
    slabs->used = 0;
    slabs->step = step;
    return true;
}

static uint16_t step_of(size_t size) { return (uint16_t)((size + WG_SLAB_ALIGN - 1) / WG_SLAB_ALIGN * WG_SLAB_ALIGN); }

/* No more things come from the slab. */
static void leave_slab(struct wg_slabs *slabs) {
    if (slabs->used < slabs->things)
        count_off(slabs->slab, (uint32_t)(slabs->things - slabs->used));
    slabs->used = slabs->things;
}

void *wg_slabs_take(struct wg_slabs *slabs, size_t size, uint16_t *place) {
    uint16_t step = step_of(size);
    if (slabs->step != step)
        leave_slab(slabs);
    if (slabs->used == slabs->things && !refill(slabs, step))
        return NULL;
    size_t offset = sizeof(struct wg_slab) + (size_t)slabs->used++ * step;
    *place = (uint16_t)(offset / WG_SLAB_ALIGN);
    return (char *)slabs->slab + offset;
}

void wg_slab_give(void *thing, uint16_t place) {
    count_off((struct wg_slab *)((char *)thing - (size_t)place * WG_SLAB_ALIGN), 1);
}

void wg_slabs_end(struct wg_slabs *slabs) { leave_slab(slabs); }
