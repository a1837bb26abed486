/* faults.h - malloc and pthread_create that fail on demand. The program is linked with --wrap=malloc --wrap=calloc
 * --wrap=realloc --wrap=free --wrap=pthread_create, which redirects its own calls, but not those inside libc and other
 * shared libraries. */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdatomic.h>
#include <stdbool.h>

/* Of the calls from now on, the one of this number fails, counted from 1; 0: none. With `and_all_after`, so do those
 * that follow. */
struct fault {
    atomic_int fails, made;
    atomic_bool and_all_after;
};
extern struct fault malloc_fault, thread_fault;

void fault_set(struct fault *fault, int fails, bool and_all_after);

/* Stop failing. True if there were calls enough to reach the one that was to fail. */
bool fault_clear(struct fault *fault);

/* How many allocations are alive. */
int allocations(void);

#endif
