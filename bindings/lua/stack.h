/* stack.h - C stacks beside that of the thread, between which one thread switches.
 *
 * Lua code that is called by a C function which has no continuation (string.gsub, table.sort, coroutine.wrap in a task)
 * cannot be suspended by a yield: the C function's frames are in the way. Such a wait keeps its C stack as it is, and the
 * thread goes on on another one. */
#ifndef WGL_STACK_H
#define WGL_STACK_H

#include <stddef.h>

typedef struct wgl_stack {
    void *state;  /* what the way of switching keeps while the stack is left */
    void *memory; /* with a guard page at its low end; NULL: the stack that the thread came with */
    size_t size;
    const void *own;      /* where the stack is that the thread came with, for AddressSanitizer */
    void *fiber;          /* for ThreadSanitizer */
    unsigned valgrind_id; /* for valgrind */
    void (*run)(void *arg);
    void *arg;
} wgl_stack;

/* A new stack in `stack`, on which the first switch to it calls `run(arg)`, which never returns. False: no memory, or
 * this platform has no way to switch. */
int wgl_stack_open(wgl_stack *stack, void (*run)(void *arg), void *arg);

/* Give up a stack that no thread is on. What its frames own is lost. */
void wgl_stack_close(wgl_stack *stack);

/* Leave the stack `from`, on which the thread is, and go on with `to`. Returns when something switches back to `from`. */
void wgl_stack_switch(wgl_stack *from, wgl_stack *to);

#endif
