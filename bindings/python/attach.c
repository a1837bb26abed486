/* attach.c - letting go of the interpreter, and taking it again. */
#include "binding.h"

/* A signal that comes in the few instructions before the sleep wakes nobody, and one that another thread received
 * interrupts nobody; so the main thread, which alone runs handlers, looks for signals this often. */
#define LOOK_FOR_SIGNALS (WG_SECOND / 2)

static _Thread_local thread_self self;

thread_self *self_thread(void) { return &self; }

void let_go(void) { self.detached = PyEval_SaveThread(); }

void take_again(void) {
    PyThreadState *mine = self.detached;
    self.detached = NULL;
    PyEval_RestoreThread(mine);
}

bool attach(state *st, attachment *a) {
    a->how = WAS_ATTACHED;
    if (self.detached) {
        a->how = WAS_DETACHED;
        take_again();
    } else if (!self.worker && !thread_is_attached()) {
        /* A thread of the core, or of a program around Python. */
        wg_add(&st->returning, 1);
        if (atomic_load(&st->closing)) {
            wg_done(&st->returning);
            return false;
        }
        if (st->interpreter == PyInterpreterState_Main()) {
            a->how = FROM_OUTSIDE;
            a->gil = PyGILState_Ensure();
        } else {
            PyThreadState *mine = PyThreadState_New(st->interpreter);
            if (!mine) {
                wg_done(&st->returning);
                return false;
            }
            a->how = FROM_OUTSIDE_SUB;
            PyEval_RestoreThread(mine);
        }
    }
    return true;
}

void detach(state *st, attachment *a) {
    switch (a->how) {
    case WAS_ATTACHED: return;
    case WAS_DETACHED: let_go(); return;
    case FROM_OUTSIDE: PyGILState_Release(a->gil); break;
    case FROM_OUTSIDE_SUB:
        PyThreadState_Clear(PyThreadState_Get());
        PyThreadState_DeleteCurrent();
        break;
    }
    wg_done(&st->returning);
}

static bool would_block(wg_status status) { return status == WG_TIMEOUT || status == WG_LIMIT; }

int block(state *st, wg_status (*call)(void *arg, const wg_until *until), void *arg, int64_t deadline,
          wg_context *context) {
    wg_until until = {.deadline = WG_POLL, .context = context ? context : wg_context_root()};
    wg_status status = call(arg, &until);
    if (!would_block(status) || deadline == WG_POLL)
        return status;
    bool slices = PyThread_get_thread_ident() == st->main_thread;
    until.interruptible = true;
    for (;;) {
        until.deadline = deadline;
        bool slice = false;
        if (slices) {
            int64_t look = wg_after(LOOK_FOR_SIGNALS);
            slice = deadline == WG_FOREVER || look < deadline;
            if (slice)
                until.deadline = look;
        }
        let_go();
        status = call(arg, &until);
        take_again();
        if (status != WG_INTERRUPTED && !(slice && would_block(status)))
            return status;
        if (PyErr_CheckSignals() < 0)
            return RAISED;
    }
}
