/* plain.c - an error value in pieces that every language understands, from its message, whose format is in message.h. */
#include "message.h"

#include <stdlib.h>
#include <string.h>

/* The pieces made so far, and where in the message each began, which SAME refers to. */
typedef struct pieces {
    const unsigned char *at;
    size_t count, capacity;
    wg_plain *plain;
    uint32_t *offsets;
} pieces;

static bool has_room(pieces *p) {
    if (p->count < p->capacity)
        return true;
    size_t capacity = p->capacity ? 2 * p->capacity : 8;
    wg_plain *plain = realloc(p->plain, capacity * sizeof *plain);
    if (plain)
        p->plain = plain;
    uint32_t *offsets = realloc(p->offsets, capacity * sizeof *offsets);
    if (offsets)
        p->offsets = offsets;
    if (!plain || !offsets)
        return false;
    p->capacity = capacity;
    return true;
}

static void take(pieces *p, void *to, size_t size) {
    memcpy(to, p->at, size);
    p->at += size;
}

static uint32_t take_u32(pieces *p) {
    uint32_t n;
    take(p, &n, sizeof n);
    return n;
}

static bool take_integer(pieces *p, wg_plain *piece) {
    lua_Integer n;
    take(p, &n, sizeof n);
    *piece = (wg_plain){.kind = WG_PLAIN_INTEGER, .as.integer = n};
    return true;
}

static bool take_number(pieces *p, wg_plain *piece) {
    lua_Number n;
    take(p, &n, sizeof n);
    *piece = (wg_plain){.kind = WG_PLAIN_NUMBER, .as.number = (double)n};
    return true;
}

static bool take_string(pieces *p, wg_plain *piece) {
    uint32_t size = take_u32(p);
    *piece = (wg_plain){.kind = WG_PLAIN_STRING, .as.string = {(const char *)p->at, size}};
    p->at += size;
    return true;
}

static bool take_table(pieces *p, wg_plain *piece, size_t *left) {
    uint32_t items = take_u32(p), pairs = take_u32(p);
    *piece = (wg_plain){.kind = WG_PLAIN_TABLE, .as.table = {items, pairs}};
    *left += items + 2 * (size_t)pairs;
    return true;
}

/* The table that began at an offset. Offsets only grow. */
static bool take_same(pieces *p, wg_plain *piece) {
    uint32_t offset = take_u32(p);
    size_t low = 0, high = p->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (p->offsets[middle] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    *piece = (wg_plain){.kind = WG_PLAIN_SAME, .as.same = low};
    return low < p->count && p->offsets[low] == offset;
}

/* The next piece; *left is how many are still to come after it. False: it is not plain. */
static bool take_piece(pieces *p, wg_plain *piece, size_t *left) {
    switch (*p->at++ & ~(unsigned)SHARED) {
    case NIL: *piece = (wg_plain){.kind = WG_PLAIN_NIL}; return true;
    case FALSE: *piece = (wg_plain){.kind = WG_PLAIN_BOOLEAN}; return true;
    case TRUE: *piece = (wg_plain){.kind = WG_PLAIN_BOOLEAN, .as.boolean = true}; return true;
    case SMALL: *piece = (wg_plain){.kind = WG_PLAIN_INTEGER, .as.integer = *p->at++}; return true;
    case INTEGER: return take_integer(p, piece);
    case FLOAT: return take_number(p, piece);
    case STRING: return take_string(p, piece);
    case TABLE: return take_table(p, piece, left);
    case SAME: return take_same(p, piece);
    default: return false;
    }
}

wg_plain *wgl_plain(const wgl_message *message, size_t *count) {
    pieces p = {.at = message->data};
    bool ok = message->count == 1;
    for (size_t left = 1; ok && left > 0; p.count++) {
        left--;
        ok = has_room(&p);
        if (ok) {
            p.offsets[p.count] = (uint32_t)(p.at - message->data);
            ok = take_piece(&p, &p.plain[p.count], &left);
        }
    }
    free(p.offsets);
    if (!ok) {
        free(p.plain);
        return NULL;
    }
    *count = p.count;
    return p.plain;
}
