/* registry.c - the one table of ids: from a number to an object.
 *
 * All below is guarded by `lock`, except `used`, which only ever becomes 1.
 *   next      the id that is given next; ids from `first` on to it were given. 0: none yet
 *   buckets   entries by their id: a power of two of them, or none yet
 *
 * The id of an object is written under the lock, and read without the lock by the thread that gives up the last
 * reference. An entry owns nothing: whoever finds one takes a reference by `try_retain`, which fails once the last one
 * has gone; and the object takes its entry out, under the lock, before its memory goes.
 *
 * After a fork the entries of the parent stay, and show by their epoch whose they are. Asked for its id there, an object
 * gets a new one. */
#include "registry.h"

#include <stddef.h>
#include <stdlib.h>

#include "fork.h"
#include "mutex.h"

struct entry {
    int64_t id;
    wg_kind kind;
    uint32_t epoch; /* the process that asked for the id */
    void *object;
    bool (*try_retain)(void *object);
    struct entry *next;
};

static struct {
    wg_mutex lock;
    wg_a32 used;
    int64_t first, next;
    size_t capacity, count;
    struct entry **buckets;
} registry;

void wg_registry_lock(void) { wg_mutex_lock(&registry.lock); }
void wg_registry_unlock(void) { wg_mutex_unlock(&registry.lock); }

bool wg_ids_in_use(void) { return wg_load_relaxed32(&registry.used) != 0; }

/* A small number must not be an id by accident, nor an id of an earlier run of the program one of this. */
static int64_t choose_first(void) {
    uint64_t x = (uint64_t)wg_now() ^ (uint64_t)(uintptr_t)&x;
    x = (x ^ x >> 31) * UINT64_C(0x9e3779b97f4a7c15);
    return (int64_t)(x >> 16) + INT64_C(4294967296);
}

static struct entry **bucket_of(int64_t id) { return &registry.buckets[(uint64_t)id & (registry.capacity - 1)]; }

/* The link that leads to the entry with that id, or to NULL. */
static struct entry **find(int64_t id) {
    static struct entry *none;
    if (registry.capacity == 0)
        return &none;
    struct entry **at = bucket_of(id);
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

static void insert(struct entry *entry) {
    struct entry **at = bucket_of(entry->id);
    entry->next = *at;
    *at = entry;
}

/* Make space for one more. False: there is none at all. */
static bool grow(void) {
    if (registry.count < registry.capacity)
        return true;
    struct entry **old = registry.buckets;
    size_t capacity = registry.capacity;
    size_t larger = capacity ? 2 * capacity : 64;
    struct entry **buckets = malloc(larger * sizeof(struct entry *));
    if (!buckets)
        return capacity > 0; /* it only becomes slower */
    for (size_t i = 0; i < larger; i++)
        buckets[i] = NULL;
    registry.buckets = buckets;
    registry.capacity = larger;
    for (size_t i = 0; i < capacity; i++)
        for (struct entry *entry = old[i], *next; entry; entry = next) {
            next = entry->next;
            insert(entry);
        }
    free(old);
    return true;
}

static struct entry *take_out(int64_t id) {
    struct entry **at = find(id), *entry = *at;
    if (entry) {
        *at = entry->next;
        registry.count--;
    }
    return entry;
}

/* Under the lock: an id for the object of `entry`. False without memory. */
static bool add(struct entry *entry) {
    if (!entry || !grow())
        return false;
    if (registry.next == 0)
        registry.first = registry.next = choose_first();
    entry->id = registry.next++;
    entry->epoch = wg_epoch_now();
    insert(entry);
    registry.count++;
    wg_store_relaxed32(&registry.used, 1);
    return true;
}

static struct entry *new_entry(wg_kind kind, void *object, bool (*try_retain)(void *object)) {
    struct entry *entry = malloc(sizeof *entry);
    if (entry)
        *entry = (struct entry){.kind = kind, .object = object, .try_retain = try_retain};
    return entry;
}

int64_t wg_registry_id(wg_a64 *id, wg_kind kind, void *object, bool (*try_retain)(void *object)) {
    struct entry *fresh = new_entry(kind, object, try_retain), *unused = fresh;
    wg_mutex_lock(&registry.lock);
    int64_t known = (int64_t)wg_load_relaxed64(id);
    struct entry *entry = *find(known);
    bool here = entry && entry->epoch == wg_epoch_now();
    if (!here && add(fresh)) {
        unused = entry ? take_out(known) : NULL; /* of the parent process */
        known = fresh->id;
        wg_store_relaxed64(id, (uint64_t)known);
        here = true;
    }
    wg_mutex_unlock(&registry.lock);
    free(unused);
    return here ? known : 0;
}

void wg_registry_end(const wg_a64 *id) { wg_id_end((int64_t)wg_load_relaxed64(id)); }

int64_t wg_id_new(void *object, bool (*try_retain)(void *object)) {
    wg_a64 id = 0;
    return object && try_retain ? wg_registry_id(&id, WG_KIND_OTHER, object, try_retain) : 0;
}

void wg_id_end(int64_t id) {
    if (id == 0)
        return;
    wg_mutex_lock(&registry.lock);
    struct entry *entry = take_out(id);
    wg_mutex_unlock(&registry.lock);
    free(entry);
}

/* Under the lock: what there is to say of `entry`, which was looked for by `id`. */
static wg_status look(const struct entry *entry, int64_t id) {
    if (!entry)
        return registry.next != 0 && id >= registry.first && id < registry.next ? WG_ENDED_ID : WG_UNKNOWN_ID;
    return entry->epoch == wg_epoch_now() ? WG_OK : WG_FORKED;
}

wg_status wg_kind_of_id(int64_t id, wg_kind *kind) {
    if (!kind)
        return WG_INVALID;
    wg_mutex_lock(&registry.lock);
    const struct entry *entry = *find(id);
    wg_status status = look(entry, id);
    if (status == WG_OK)
        *kind = entry->kind;
    wg_mutex_unlock(&registry.lock);
    return status;
}

wg_status wg_attach(int64_t id, wg_kind kind, void **object) {
    if (!object || kind < WG_KIND_WAITGROUP || kind > WG_KIND_OTHER)
        return WG_INVALID;
    wg_mutex_lock(&registry.lock);
    const struct entry *entry = *find(id);
    wg_status status = look(entry, id);
    if (status == WG_OK && entry->kind != kind)
        status = WG_OTHER_KIND;
    if (status == WG_OK && !entry->try_retain(entry->object))
        status = WG_ENDED_ID;
    if (status == WG_OK)
        *object = entry->object;
    wg_mutex_unlock(&registry.lock);
    return status;
}
