/* memory.c - what memory is alive, and who has touched it when.
 *
 * Every access, plain or atomic, comes through touch(). It fails on memory that is not alive, and keeps, for each eight
 * bytes, the last accesses by thread and time. Two accesses conflict when they overlap, one of them writes and they are
 * not both atomic; conflicting ones must be ordered, which is read off vector clocks: a release leaves the thread's
 * clock at the atomic word, an acquire joins what it finds there. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#undef malloc
#undef free

/* Fixed addresses, because the core hashes addresses: so a schedule repeats from process to process. */
#define ARENA ((char *)0x200000000000)
#define ARENA_SIZE ((size_t)1 << 20)
#define STACKS (ARENA + ((size_t)1 << 24))
#define MAX_BLOCKS 4096
#define GRANULE 16

struct block {
    char *start;
    size_t size;
    bool live;
    void *where;
    sim_clock freed; /* when */
};

/* One access among the last ones to eight bytes. */
struct entry {
    uint32_t time;
    uint32_t where; /* code is below 4 GiB: see -no-pie */
    uint8_t thread, bytes, access;
};
#define ENTRIES 8
struct cell {
    uint64_t run;
    uint8_t count, next;
    struct entry entries[ENTRIES];
};

/* What was released at an atomic word, and is still to be acquired. */
struct word {
    uint64_t run;
    const void *address;
    sim_clock clock;
};
#define WORDS 8192

static struct memory {
    uint64_t run;
    struct block blocks[MAX_BLOCKS];
    unsigned block_count;
    size_t used;
    bool reuse, collide; /* this run's allocator: use freed blocks again; let all blocks share a bucket */
    unsigned char granules[ARENA_SIZE / GRANULE]; /* 0 never allocated, 1 live, 2 freed */
    struct cell arena_cells[ARENA_SIZE / 8], stack_cells[MAX_THREADS * STACK_SIZE / 8], data_cells[1 << 16];
    struct word words[WORDS];
} * memory;

extern char __data_start[], _end[];

void clock_join(uint32_t *into, const uint32_t *from) {
    for (unsigned i = 0; i < MAX_THREADS; i++)
        if (into[i] < from[i])
            into[i] = from[i];
}

static void *map(void *at, size_t size) {
    void *p = mmap(at, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED_NOREPLACE : 0), -1, 0);
    if (p == MAP_FAILED || (at && p != at)) {
        perror("mmap");
        exit(2);
    }
    return p;
}

void memory_init(void) {
    memory = map(NULL, sizeof *memory);
    map(ARENA, ARENA_SIZE);
    map(STACKS, MAX_THREADS * STACK_SIZE);
    if ((size_t)(_end - __data_start) > sizeof memory->data_cells / sizeof memory->data_cells[0] * 8) {
        fputs("data_cells is too small\n", stderr);
        exit(2);
    }
}

char *stack_of(unsigned thread) { return STACKS + thread * STACK_SIZE; }

void memory_begin(void) {
    memory->run++;
    memory->block_count = 0;
    memset(memory->granules, 0, (memory->used + GRANULE - 1) / GRANULE);
    memory->used = 0;
    memory->reuse = engine->search == EXHAUSTIVE || random_below(2);
    memory->collide = engine->search != EXHAUSTIVE && random_below(4) == 0;
}

void memory_end(void) {
    if (engine->is_child)
        return; /* what the threads of the parent had is theirs */
    for (unsigned i = 0; i < memory->block_count; i++)
        if (memory->blocks[i].live)
            sim_fail("leak: %zu bytes at %p, allocated at [%p]", memory->blocks[i].size,
                     (void *)memory->blocks[i].start, memory->blocks[i].where);
}

/* The cells of memory that is watched, or NULL. Fails if it is not alive. */
static struct cell *cell_of(const char *p, void *where) {
    if (p >= ARENA && p < ARENA + ARENA_SIZE) {
        size_t offset = (size_t)(p - ARENA);
        switch (memory->granules[offset / GRANULE]) {
        case 0: sim_fail("touch of memory that was never allocated: %p at [%p]", (const void *)p, where);
        case 2: sim_fail("touch of freed memory: %p at [%p]", (const void *)p, where);
        default: return &memory->arena_cells[offset / 8];
        }
    }
    if (p >= STACKS && p < STACKS + MAX_THREADS * STACK_SIZE) {
        size_t offset = (size_t)(p - STACKS);
        struct sim_thread *owner = &engine->threads[offset / STACK_SIZE];
        if (owner->state == GONE && !engine->forking)
            sim_fail("touch of the stack of %s, which stayed in the parent process: %p at [%p]", owner->name,
                     (const void *)p, where);
        if (owner != engine->current && (owner->state == ENDED || !owner->started || p < owner->sp))
            sim_fail("touch of a stack frame of %s that has returned: %p at [%p]", owner->name, (const void *)p, where);
        return &memory->stack_cells[offset / 8];
    }
    if (p >= __data_start && p < _end)
        return &memory->data_cells[(size_t)(p - __data_start) / 8];
    return NULL;
}

static const char *name_of(unsigned access) {
    static const char *const names[] = {"read", "write", "atomic read", "atomic write"};
    return names[access & 3];
}

/* An access to the bytes in the mask `bytes` of a cell. */
static void touch_cell(struct cell *cell, const char *p, uint8_t bytes, enum access access, void *where) {
    struct sim_thread *me = engine->current;
    if (cell->run != memory->run) {
        cell->run = memory->run;
        cell->count = cell->next = 0;
    }
    struct entry *place = NULL;
    for (unsigned i = 0; i < cell->count; i++) {
        struct entry *e = &cell->entries[i];
        bool before = e->thread == me->id || e->time <= me->clock[e->thread];
        /* What a thread that is gone was doing when it vanished is all the same to one who writes over it. */
        if (engine->threads[e->thread].state == GONE && (access & WRITE) && !before) {
            if ((e->bytes & ~bytes) == 0)
                cell->entries[i--] = cell->entries[--cell->count];
            continue;
        }
        if ((e->bytes & bytes) && ((e->access | access) & WRITE) && !(e->access & access & ATOMIC) && !before)
            sim_fail("data race at %p: %s by %s at [%p], not ordered after %s by %s at [%p]", (const void *)p,
                     name_of(access), me->name, where, name_of(e->access), engine->threads[e->thread].name,
                     (void *)(uintptr_t)e->where);
        bool covered = access == WRITE || e->access == access || (access == (WRITE | ATOMIC) && (e->access & ATOMIC));
        if (before && covered && (e->bytes & ~bytes) == 0)
            place = e; /* whatever conflicts with it and is not ordered after it conflicts with the new one too */
    }
    if (!place && cell->count < ENTRIES)
        place = &cell->entries[cell->count++];
    if (!place)
        place = &cell->entries[cell->next++ % ENTRIES];
    *place = (struct entry){me->clock[me->id], (uint32_t)(uintptr_t)where, (uint8_t)me->id, bytes, (uint8_t)access};
}

void touch(const void *address, size_t size, enum access access, void *where) {
    const char *p = address;
    while (size > 0) {
        size_t offset = (uintptr_t)p % 8, n = 8 - offset < size ? 8 - offset : size;
        struct cell *cell = cell_of(p, where);
        if (cell)
            touch_cell(cell, p, (uint8_t)(((1u << n) - 1) << offset), access, where);
        p += n;
        size -= n;
    }
}

/* Allocation. */

static bool shares_the_bucket(const char *p) { /* see wg_bucket_of: the top seven bits */
    return !memory->collide || (uint64_t)(uintptr_t)p * UINT64_C(0x9E3779B97F4A7C15) >> 57 == 0;
}

static void forget(char *p, size_t size) {
    for (size_t i = 0; i < size; i += 8)
        memory->arena_cells[(size_t)(p + i - ARENA) / 8].run = 0;
    for (unsigned i = 0; i < WORDS; i++)
        if ((const char *)memory->words[i].address >= p && (const char *)memory->words[i].address < p + size)
            memset(memory->words[i].clock, 0, sizeof(sim_clock));
}

static struct block *block_again(size_t size) {
    for (unsigned i = memory->block_count; i-- > 0 && memory->reuse;)
        if (!memory->blocks[i].live && memory->blocks[i].size == size)
            return &memory->blocks[i];
    return NULL;
}

void *sim_malloc(size_t size) {
    size = (size + GRANULE - 1) / GRANULE * GRANULE;
    struct block *b = block_again(size);
    if (b) {
        clock_join(engine->current->clock, b->freed);
        forget(b->start, size);
    } else {
        size_t at = memory->used + GRANULE;
        while (!shares_the_bucket(ARENA + at))
            at += GRANULE;
        if (at + size > ARENA_SIZE || memory->block_count == MAX_BLOCKS)
            sim_fail("the arena is full");
        memory->used = at + size;
        b = &memory->blocks[memory->block_count++];
        b->start = ARENA + at;
        b->size = size;
    }
    b->live = true;
    b->where = __builtin_return_address(0);
    memset(&memory->granules[(size_t)(b->start - ARENA) / GRANULE], 1, size / GRANULE);
    memset(b->start, 0xA5, size);
    return b->start;
}

void sim_free(void *p) {
    void *where = __builtin_return_address(0);
    if (!p)
        return;
    for (unsigned i = 0; i < memory->block_count; i++) {
        struct block *b = &memory->blocks[i];
        if (b->start != p)
            continue;
        if (!b->live)
            sim_fail("double free of %p at [%p]", p, where);
        touch(p, b->size, WRITE, where); /* so that whatever went before must be ordered before */
        b->live = false;
        memcpy(b->freed, engine->current->clock, sizeof b->freed);
        engine->current->clock[engine->current->id]++;
        memset(&memory->granules[(size_t)(b->start - ARENA) / GRANULE], 2, b->size / GRANULE);
        return;
    }
    sim_fail("free of what was not allocated: %p at [%p]", p, where);
}

/* Atomic operations. */

static uint32_t *released_at(const void *address) {
    size_t i = ((uintptr_t)address >> 2) * 2654435761u % WORDS;
    while (memory->words[i].run == memory->run && memory->words[i].address != address)
        i = (i + 1) % WORDS;
    struct word *w = &memory->words[i];
    if (w->run != memory->run) {
        w->run = memory->run;
        w->address = address;
        memset(w->clock, 0, sizeof w->clock);
    }
    return w->clock;
}

static uint64_t get(const void *p, unsigned size) { return size == 4 ? *(const uint32_t *)p : *(const uint64_t *)p; }

static void put(void *p, unsigned size, uint64_t v) {
    if (size == 4)
        *(uint32_t *)p = (uint32_t)v;
    else
        *(uint64_t *)p = v;
}

static void acquire(const void *p, enum sim_order order) {
    if (order & SIM_ACQUIRE)
        clock_join(engine->current->clock, released_at(p));
}

static void release(const void *p, enum sim_order order) {
    struct sim_thread *me = engine->current;
    if (!(order & SIM_RELEASE))
        return;
    clock_join(released_at(p), me->clock);
    me->clock[me->id]++;
}

uint64_t sim_load(const void *p, unsigned size, enum sim_order order) {
    step("load", p, __builtin_return_address(0), false);
    touch(p, size, READ | ATOMIC, __builtin_return_address(0));
    acquire(p, order);
    trace_value(get(p, size));
    return get(p, size);
}

void sim_store(void *p, unsigned size, uint64_t v, enum sim_order order) {
    step("store", p, __builtin_return_address(0), false);
    touch(p, size, WRITE | ATOMIC, __builtin_return_address(0));
    memset(released_at(p), 0, sizeof(sim_clock)); /* a store ends what earlier releases began */
    release(p, order);
    put(p, size, v);
    trace_value(v);
}

uint64_t sim_rmw(void *p, unsigned size, enum sim_op op, uint64_t v, enum sim_order order) {
    static const char *const names[] = {"swap", "or", "add", "sub"};
    step(names[op], p, __builtin_return_address(0), false);
    touch(p, size, WRITE | ATOMIC, __builtin_return_address(0));
    uint64_t old = get(p, size);
    acquire(p, order);
    release(p, order);
    put(p, size, op == SIM_SWAP ? v : op == SIM_OR ? old | v : op == SIM_ADD ? old + v : old - v);
    trace_value(get(p, size));
    return old;
}

bool sim_cas(void *p, unsigned size, void *expected, uint64_t v, enum sim_order success, enum sim_order failure) {
    step("cas", p, __builtin_return_address(0), false);
    uint64_t old = get(p, size);
    bool equal = old == get(expected, size);
    touch(p, size, ATOMIC | (equal ? WRITE : READ), __builtin_return_address(0));
    acquire(p, equal ? success : failure);
    trace_value(equal ? v : old);
    if (equal) {
        release(p, success);
        put(p, size, v);
    } else
        put(expected, size, old);
    return equal;
}

/* What -fsanitize=thread calls at each plain access. */

#define HOOKS(n, name)                                                                                                 \
    void __tsan_read##name(void *p);                                                                                   \
    void __tsan_read##name(void *p) { touch(p, n, READ, __builtin_return_address(0)); }                                \
    void __tsan_write##name(void *p);                                                                                  \
    void __tsan_write##name(void *p) { touch(p, n, WRITE, __builtin_return_address(0)); }
HOOKS(1, 1)
HOOKS(2, 2)
HOOKS(4, 4)
HOOKS(8, 8)
HOOKS(16, 16)
#undef HOOKS
#define HOOKS(n)                                                                                                       \
    void __tsan_unaligned_read##n(void *p);                                                                            \
    void __tsan_unaligned_read##n(void *p) { touch(p, n, READ, __builtin_return_address(0)); }                         \
    void __tsan_unaligned_write##n(void *p);                                                                           \
    void __tsan_unaligned_write##n(void *p) { touch(p, n, WRITE, __builtin_return_address(0)); }
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)

void __tsan_read_range(void *p, size_t n);
void __tsan_read_range(void *p, size_t n) { touch(p, n, READ, __builtin_return_address(0)); }
void __tsan_write_range(void *p, size_t n);
void __tsan_write_range(void *p, size_t n) { touch(p, n, WRITE, __builtin_return_address(0)); }
void __tsan_init(void);
void __tsan_init(void) {}
void __tsan_func_entry(void *caller);
void __tsan_func_entry(void *caller) { (void)caller; }
void __tsan_func_exit(void);
void __tsan_func_exit(void) {}
