/* faults.c - see faults.h. */
#include "faults.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>

struct fault malloc_fault, thread_fault;
static atomic_int alive;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void __real_free(void *p);
int __real_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void __wrap_free(void *p);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);

void fault_set(struct fault *fault, int fails, bool and_all_after) {
    atomic_store(&fault->fails, 0);
    atomic_store(&fault->made, 0);
    atomic_store(&fault->and_all_after, and_all_after);
    atomic_store(&fault->fails, fails);
}

bool fault_clear(struct fault *fault) { return atomic_load(&fault->made) >= atomic_exchange(&fault->fails, 0); }

static bool strikes(struct fault *fault) {
    int fails = atomic_load(&fault->fails);
    if (fails == 0)
        return false;
    int number = atomic_fetch_add(&fault->made, 1) + 1;
    return number == fails || (number > fails && atomic_load(&fault->and_all_after));
}

int allocations(void) { return atomic_load(&alive); }

static void *counted(void *p) {
    if (p)
        atomic_fetch_add(&alive, 1);
    return p;
}

void *__wrap_malloc(size_t size) { return strikes(&malloc_fault) ? NULL : counted(__real_malloc(size)); }

void *__wrap_calloc(size_t n, size_t size) { return strikes(&malloc_fault) ? NULL : counted(__real_calloc(n, size)); }

void *__wrap_realloc(void *p, size_t size) {
    if (strikes(&malloc_fault))
        return NULL;
    return p ? __real_realloc(p, size) : counted(__real_realloc(p, size));
}

void __wrap_free(void *p) {
    if (p)
        atomic_fetch_sub(&alive, 1);
    __real_free(p);
}

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg) {
    return strikes(&thread_fault) ? EAGAIN : __real_pthread_create(t, attr, fn, arg);
}
