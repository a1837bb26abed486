/* slab.h - memory for small things that are made one after the other and end in any order, in any thread: tasks.
 *
 * To allocate each and free it in another thread costs as much as all else that is done for a small task. A slab is one
 * allocation for several things; it goes when the last of them has ended. A source makes slabs of one thing, two, four
 * and so on, so that few things take no more memory than they need.
 *
 * Invariant: `live` counts the things of the slab that have not ended, including those that have not been made yet. So
 * making one writes nothing that other threads read. The step of `live` to zero frees the slab: it is made by the end of
 * the last thing, or by the end of the source, which subtracts the things that it never made. */
#ifndef WG_SLAB_H
#define WG_SLAB_H

#include <stddef.h>
#include <stdint.h>

/* Every thing lies at a multiple of this. Stated beside each type that is kept in slabs, so that a type which needs more,
 * or is so large that its place has no number, does not compile. */
#define WG_SLAB_ALIGN 8
#define WG_SLAB_LARGEST 4096
#define WG_KEPT_IN_SLABS(type)                                                                                         \
    _Static_assert(_Alignof(type) <= WG_SLAB_ALIGN && sizeof(type) <= WG_SLAB_LARGEST, #type " is kept in slabs")

/* Where things come from, at most WG_SLAB_LARGEST large; those of one slab are all of one size. Zeroed at first. The owner's
 * lock guards it. */
struct wg_slabs {
    struct wg_slab *slab; /* gone, perhaps, once it is used up */
    uint16_t things, used;
    uint16_t step; /* from one thing of the slab to the next */
};

/* A thing, and its place, which goes with it; NULL without memory. */
void *wg_slabs_take(struct wg_slabs *slabs, size_t size, uint16_t *place);

/* The thing at `place` has ended. From any thread, without a lock. */
void wg_slab_give(void *thing, uint16_t place);

/* The source ends; its things may end later. */
void wg_slabs_end(struct wg_slabs *slabs);

#endif
