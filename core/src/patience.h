/* patience.h - how often to look for something before a sleep, learned from what came of looking.
 *
 * To look pays while the other thread runs at the same time, on another core: what is looked for comes within a microsecond
 * or two, and a sleep and a wake cost many. It is in vain while the other thread waits for this core, and then it only keeps
 * that thread from running. Which of the two holds changes with the load of the machine, and holds for a while. So a look
 * that finds something brings back all patience; one in vain halves it; and once little is left, nobody looks for the next
 * WG_RESTS sleeps, and then there is a quarter of it again.
 *
 * A patience is one word, read and written without a lock: two threads may learn at the same time, and one of them is
 * forgotten. Either it is the number of looks, above zero; or it has the bit WG_RESTING, and the rest says how many more times
 * nobody looks. */
#ifndef WG_PATIENCE_H
#define WG_PATIENCE_H

#include "atomics.h"

#define WG_RESTING UINT32_C(0x80000000)
#define WG_RESTS 64

/* How often to look this time, at most `most` times, which is what a patience begins with. */
static inline uint32_t wg_patience_looks(wg_a32 *patience, uint32_t most) {
    uint32_t word = wg_load_relaxed32(patience), rests = word & ~WG_RESTING;
    if (!(word & WG_RESTING))
        return word;
    wg_store_relaxed32(patience, rests > 1 ? word - 1 : most / 4);
    return 0;
}

/* What came of `looks` looks. */
static inline void wg_patience_learn(wg_a32 *patience, uint32_t most, uint32_t looks, bool found) {
    uint32_t fewer = looks / 2 > most / 64 ? looks / 2 : WG_RESTING | WG_RESTS;
    if (looks > 0)
        wg_store_relaxed32(patience, found ? most : fewer);
}

#endif
