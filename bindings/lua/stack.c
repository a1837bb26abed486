/* stack.c - see stack.h. A switch saves the registers that a call preserves on the stack that is left, and its stack
 * pointer in `state`. x86-64 and arm64 have a few lines of assembly; others use ucontext, where the C library has it:
 * musl does not. Under shadow stacks (CET) ucontext knows what to do as well. */
#define _GNU_SOURCE /* MAP_STACK */
#include "stack.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Enough for Lua's 200 nested C calls, each with a buffer of some kilobytes. Only what is used takes memory. */
#define STACK_SIZE (sizeof(void *) > 4 ? (size_t)1 << 20 : (size_t)1 << 18)

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#elif __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif

#ifdef WITH_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef WITH_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define WITH_VALGRIND 1
#endif
#endif

#if defined(__x86_64__) && !defined(__ILP32__) && !(defined(__CET__) && defined(__GLIBC__))
#define BY_ASSEMBLY 1
#elif defined(__aarch64__)
#define BY_ASSEMBLY 1
#elif defined(__GLIBC__)
#define BY_UCONTEXT 1
#endif

static void enter(void *stack);

#ifdef BY_ASSEMBLY

/* Save the registers and the stack pointer in *from; go on where `to` was saved. */
__attribute__((visibility("hidden"))) void wgl_stack_jump(void **from, void *to);
/* Where a new stack begins: calls a function with an argument, both in saved registers. */
__attribute__((visibility("hidden"))) void wgl_stack_start(void);

#if defined(__x86_64__)
__asm__(".text\n"
        ".p2align 4\n"
        ".globl wgl_stack_jump\n"
        ".hidden wgl_stack_jump\n"
        ".type wgl_stack_jump, @function\n"
        "wgl_stack_jump:\n"
        "  pushq %rbp\n"
        "  pushq %rbx\n"
        "  pushq %r12\n"
        "  pushq %r13\n"
        "  pushq %r14\n"
        "  pushq %r15\n"
        "  subq $8, %rsp\n"
        "  stmxcsr (%rsp)\n"
        "  fnstcw 4(%rsp)\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  ldmxcsr (%rsp)\n"
        "  fldcw 4(%rsp)\n"
        "  addq $8, %rsp\n"
        "  popq %r15\n"
        "  popq %r14\n"
        "  popq %r13\n"
        "  popq %r12\n"
        "  popq %rbx\n"
        "  popq %rbp\n"
        "  ret\n"
        ".size wgl_stack_jump, . - wgl_stack_jump\n"
        ".globl wgl_stack_start\n"
        ".hidden wgl_stack_start\n"
        ".type wgl_stack_start, @function\n"
        "wgl_stack_start:\n"
        "  .cfi_startproc\n"
        "  .cfi_undefined rip\n"
        "  movq %r13, %rdi\n"
        "  callq *%r12\n"
        "  ud2\n"
        "  .cfi_endproc\n"
        ".size wgl_stack_start, . - wgl_stack_start\n");

/* As wgl_stack_jump leaves it: control words, r15, r14, r13, r12, rbx, rbp, the return address; aligned as at a call. */
static void *prepare(char *top, wgl_stack *stack) {
    uint64_t *words = (uint64_t *)(void *)(top - 16) - 8;
    uint32_t *control = (uint32_t *)words;
    __asm__ volatile("stmxcsr %0" : "=m"(control[0]));
    control[1] = 0;
    __asm__ volatile("fnstcw %0" : "=m"(control[1]));
    words[3] = (uint64_t)(uintptr_t)stack;
    words[4] = (uint64_t)(uintptr_t)enter;
    words[7] = (uint64_t)(uintptr_t)wgl_stack_start;
    return words;
}

#else /* arm64 */
__asm__(".text\n"
        ".p2align 4\n"
        ".globl wgl_stack_jump\n"
        ".hidden wgl_stack_jump\n"
        ".type wgl_stack_jump, %function\n"
        "wgl_stack_jump:\n"
        "  sub sp, sp, #160\n"
        "  stp x19, x20, [sp]\n"
        "  stp x21, x22, [sp, #16]\n"
        "  stp x23, x24, [sp, #32]\n"
        "  stp x25, x26, [sp, #48]\n"
        "  stp x27, x28, [sp, #64]\n"
        "  stp x29, x30, [sp, #80]\n"
        "  stp d8, d9, [sp, #96]\n"
        "  stp d10, d11, [sp, #112]\n"
        "  stp d12, d13, [sp, #128]\n"
        "  stp d14, d15, [sp, #144]\n"
        "  mov x9, sp\n"
        "  str x9, [x0]\n"
        "  mov sp, x1\n"
        "  ldp x19, x20, [sp]\n"
        "  ldp x21, x22, [sp, #16]\n"
        "  ldp x23, x24, [sp, #32]\n"
        "  ldp x25, x26, [sp, #48]\n"
        "  ldp x27, x28, [sp, #64]\n"
        "  ldp x29, x30, [sp, #80]\n"
        "  ldp d8, d9, [sp, #96]\n"
        "  ldp d10, d11, [sp, #112]\n"
        "  ldp d12, d13, [sp, #128]\n"
        "  ldp d14, d15, [sp, #144]\n"
        "  add sp, sp, #160\n"
        "  ret\n"
        ".size wgl_stack_jump, . - wgl_stack_jump\n"
        ".globl wgl_stack_start\n"
        ".hidden wgl_stack_start\n"
        ".type wgl_stack_start, %function\n"
        "wgl_stack_start:\n"
        "  .cfi_startproc\n"
        "  .cfi_undefined x30\n"
        "  mov x0, x19\n"
        "  blr x20\n"
        "  brk #1\n"
        "  .cfi_endproc\n"
        ".size wgl_stack_start, . - wgl_stack_start\n");

static void *prepare(char *top, wgl_stack *stack) {
    uint64_t *words = (uint64_t *)(void *)top - 20;
    words[0] = (uint64_t)(uintptr_t)stack;
    words[1] = (uint64_t)(uintptr_t)enter;
    words[10] = 0; /* the frame pointer: the end of the chain */
    words[11] = (uint64_t)(uintptr_t)wgl_stack_start;
    return words;
}
#endif

static int open_way(wgl_stack *stack) {
    stack->state = prepare((char *)stack->memory + stack->size, stack);
    return 1;
}

static void close_way(wgl_stack *stack) { stack->state = NULL; }

static void jump(wgl_stack *from, wgl_stack *to) { wgl_stack_jump(&from->state, to->state); }

#elif defined(BY_UCONTEXT)
#include <ucontext.h>

/* makecontext passes integers only. */
static void enter_halves(unsigned high, unsigned low) { enter((void *)(uintptr_t)((uint64_t)high << 32 | low)); }

static int open_way(wgl_stack *stack) {
    ucontext_t *context = malloc(sizeof *context);
    if (!context || getcontext(context) != 0) {
        free(context);
        return 0;
    }
    context->uc_stack.ss_sp = stack->memory;
    context->uc_stack.ss_size = stack->size;
    context->uc_link = NULL;
    uint64_t address = (uint64_t)(uintptr_t)stack;
    makecontext(context, (void (*)(void))enter_halves, 2, (unsigned)(address >> 32), (unsigned)address);
    stack->state = context;
    return 1;
}

static void close_way(wgl_stack *stack) {
    free(stack->state);
    stack->state = NULL;
}

static void jump(wgl_stack *from, wgl_stack *to) {
    ucontext_t here; /* of the stack that the thread came with: valid as long as this call */
    if (!from->memory)
        from->state = &here;
    swapcontext(from->state, to->state);
}

#else /* no way */

static int open_way(wgl_stack *stack) {
    (void)stack;
    return 0;
}

static void close_way(wgl_stack *stack) { (void)stack; }

static void jump(wgl_stack *from, wgl_stack *to) {
    (void)from;
    (void)to;
}
#endif

/* --- sanitizers must know the stacks --- */

#ifdef WITH_ASAN
static _Thread_local wgl_stack *left; /* the stack that this thread has just left */

static void tell_left(wgl_stack *from, const wgl_stack *to, void **fake_stack) {
    left = from;
    __sanitizer_start_switch_fiber(fake_stack, to->memory ? to->memory : to->own, to->size);
}

/* Where the stack is that the thread came with, AddressSanitizer says when the thread has left it. */
static void tell_arrived(void *fake_stack) {
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(fake_stack, &bottom, &size);
    if (!left->memory) {
        left->own = bottom;
        left->size = size;
    }
}
#else
static void tell_left(wgl_stack *from, const wgl_stack *to, void **fake_stack) {
    *fake_stack = NULL;
#ifdef WITH_TSAN
    if (!from->memory)
        from->fiber = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to->fiber, 0);
#else
    (void)from;
    (void)to;
#endif
}

static void tell_arrived(void *fake_stack) { (void)fake_stack; }
#endif

static void enter(void *arg) {
    wgl_stack *stack = arg;
    tell_arrived(NULL);
    stack->run(stack->arg);
    abort(); /* `run` never returns */
}

void wgl_stack_switch(wgl_stack *from, wgl_stack *to) {
    void *fake_stack;
    tell_left(from, to, &fake_stack);
    jump(from, to);
    tell_arrived(fake_stack);
}

int wgl_stack_open(wgl_stack *stack, void (*run)(void *arg), void *arg) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *memory =
        mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED)
        return 0;
    *stack = (wgl_stack){.memory = memory, .size = STACK_SIZE, .run = run, .arg = arg};
    if (mprotect(memory, page, PROT_NONE) != 0 || !open_way(stack)) {
        munmap(memory, STACK_SIZE);
        stack->memory = NULL;
        return 0;
    }
#ifdef WITH_TSAN
    stack->fiber = __tsan_create_fiber(0);
#endif
#ifdef WITH_VALGRIND
    stack->valgrind_id = VALGRIND_STACK_REGISTER(memory, (char *)memory + STACK_SIZE);
#endif
    return 1;
}

void wgl_stack_close(wgl_stack *stack) {
    if (!stack->memory)
        return;
#ifdef WITH_TSAN
    __tsan_destroy_fiber(stack->fiber);
#endif
#ifdef WITH_VALGRIND
    VALGRIND_STACK_DEREGISTER(stack->valgrind_id);
#endif
    close_way(stack);
    munmap(stack->memory, stack->size);
    stack->memory = NULL;
}
