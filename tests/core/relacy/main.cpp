/* main.cpp - the mutex and the counted reference of the core under Relacy, a stateless model checker: the real mutex.h,
 * mutex.c and ref.h, compiled as C++ on Relacy's atomics and its futex. Exit status 1 if it finds a fault. */
#include "atomics.h"

#include <cstdio>

extern "C++" {
#include "../../../core/src/park.h"
#include "../../../core/src/ref.h"
}

#define WG_OS_H /* of os.h the mutex uses only this */
static inline void wg_pause(void) { rl::yield(1, $); }

#define SPINS 1 /* so that it sleeps */
#include "../../../core/src/mutex.c"

wg_parked wg_park(wg_a32 *word, uint32_t expected, int64_t, bool) {
    futex(word, FUTEX_WAIT, (int)expected, NULL, NULL, 0);
    return WG_PARK_WOKEN;
}

void wg_unpark_one(const wg_a32 *word) {
    if (BROKEN != 5)
        futex(const_cast<wg_a32 *>(word), FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* What the lock guards is never touched by two threads at once, and each sees what the one before has done. */
struct lock_guards : rl::test_suite<lock_guards, 3> {
    wg_mutex lock;
    rl::var<int> guarded;

    void before() {
        lock.word($).store(0, rl::mo_relaxed);
        guarded($) = 0;
    }
    void thread(unsigned) {
        wg_mutex_lock(&lock);
        guarded($) = guarded($) + 1;
        wg_mutex_unlock(&lock);
    }
    void after() { RL_ASSERT(guarded($) == 3); }
};

/* One thread gives up the last reference, and sees what the others did to the object before they gave up theirs. */
struct last_reference : rl::test_suite<last_reference, 3> {
    wg_a32 refs;
    rl::var<int> parts[3], freed;

    void before() {
        refs($).store(3, rl::mo_relaxed);
        freed($) = 0;
        for (int i = 0; i < 3; i++)
            parts[i]($) = 0;
    }
    void thread(unsigned i) {
        parts[i]($) = 1;
        if (!wg_ref_drop(&refs))
            return;
        freed($) = freed($) + 1;
        for (int j = 0; j < 3; j++)
            RL_ASSERT(parts[j]($) == 1);
    }
    void after() { RL_ASSERT(freed($) == 1); }
};

/* A reference found in a table is taken, or the object is gone: never both. */
struct found_or_gone : rl::test_suite<found_or_gone, 2> {
    wg_a32 refs;
    rl::var<int> object;

    void before() {
        refs($).store(1, rl::mo_relaxed);
        object($) = 0;
    }
    void thread(unsigned i) {
        if (i == 1 && !wg_ref_try_take(&refs))
            return;
        if (wg_ref_drop(&refs))
            object($) = object($) + 1; /* freed: once */
    }
    void after() { RL_ASSERT(object($) == 1); }
};

template <typename suite> static bool holds(const char *name, rl::iteration_t iterations) {
    rl::test_params params;
    params.search_type = rl::random_scheduler_type;
    params.iteration_count = iterations;
    bool good = rl::simulate<suite>(params);
    std::printf("%s: %s\n", name, good ? "holds" : "a fault was found");
    return good;
}

int main() {
    bool good = holds<lock_guards>("lock_guards", 20000);
    good = holds<last_reference>("last_reference", 20000) && good;
    good = holds<found_or_gone>("found_or_gone", 20000) && good;
    return good ? 0 : 1;
}
