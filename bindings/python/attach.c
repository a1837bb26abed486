/* attach.c - letting go of the interpreter, and taking it again. */
#include "binding.h"

#include <stdio.h>
#include <string.h>

/* A signal that comes in the few instructions before the sleep wakes nobody, and one that another thread received
 * interrupts nobody; so the main thread, which alone runs handlers, looks for signals this often, while its wait goes on. */
#define LOOK_FOR_SIGNALS (WG_SECOND / 2)

static _Thread_local thread_self self;

thread_self *self_thread(void) { return &self; }

static void attach_with(guest *me, PyThreadState *state) {
    me->attaches = true;
    home_line_up(me);
    PyEval_RestoreThread(state);
    home_move_up(me);
    me->attaches = false;
}

let_gone let_go(void) {
    let_gone outer = self.detached;
    PyThreadState *mine = PyEval_SaveThread();
    self.detached = (let_gone){mine, PyThreadState_GetInterpreter(mine)};
    return outer;
}

void take_again(guest *me, let_gone outer) {
    attach_with(me, self.detached.state);
    self.detached = outer;
}

static bool is_at(const state *st, PyThreadState *of) { return PyThreadState_GetInterpreter(of) == st->interpreter; }

/* The thread state for a thread from outside. NULL: no memory.
 *
 * If the host has made one for this thread, that is the one which PyGILState_Ensure, called by other extensions, would
 * take. Else one is made; and kept for the next call, since making and deleting states is slow and collides with forks
 * (CPython's gh-112275). But an interpreter that is not the main one cannot end while a state is left, and PyGILState
 * forgets a state only if its own thread deletes it: there it goes with the call. */
static PyThreadState *state_for(const state *st, guest *me, bool *passing) {
    PyThreadState *of_host = PyGILState_GetThisThreadState();
    if (of_host && is_at(st, of_host))
        return of_host;
    if ((*passing = st->interpreter != PyInterpreterState_Main()))
        return PyThreadState_New(st->interpreter);
    if (!me->state)
        me->state = PyThreadState_New(st->interpreter);
    return me->state;
}

/* Attach as a thread from outside. */
static bool enter(const state *st, bool *passing) {
    guest *me = home_guest(st->home);
    if (!me || !home_enter(me))
        return false;
    PyThreadState *mine = state_for(st, me, passing);
    if (!mine) {
        home_leave(me);
        return false;
    }
    attach_with(me, mine);
    home_delete_states(st->home);
    return true;
}

/* This thread let go in this interpreter, and comes back for a while. */
static bool come_back(const state *st) {
    guest *me = home_guest(st->home);
    if (!me || me->attaches)
        return false;
    take_again(me, (let_gone){NULL, NULL});
    return true;
}

bool worker_is_attached(void) { return PyThreadState_GetUnchecked() == self.state && !self.detached.state; }

/* This thread comes from outside, or from another interpreter. */
static bool come_over(const state *st, attachment *a) {
    if (a->elsewhere)
        PyEval_SaveThread();
    self.detached = (let_gone){NULL, NULL};
    if (enter(st, &a->passing))
        return true;
    self.detached = a->outer;
    if (a->elsewhere)
        PyEval_RestoreThread(a->elsewhere);
    return false;
}

/* Up to Python 3.13 a thread that asks for the GIL of an interpreter that ends is ended by pthread_exit; then the core
 * cleans up, and calls from here on. Such a thread is not attached, although it has not let go, or still attaches. */
bool attach(const state *st, attachment *a) {
    *a = (attachment){.how = WAS_ATTACHED};
    if (self.worker_of == st && worker_is_attached())
        return true;
    PyThreadState *here = thread_state_here(self.detached.state);
    if (here && is_at(st, here))
        return true;
    if (!here && self.detached.state && self.detached.interpreter == st->interpreter) {
        a->how = WAS_DETACHED;
        return come_back(st);
    }
    *a = (attachment){.how = FROM_OUTSIDE, .outer = self.detached, .elsewhere = here};
    return come_over(st, a);
}

void detach(const state *st, const attachment *a) {
    if (a->how == WAS_DETACHED)
        let_go();
    if (a->how != FROM_OUTSIDE)
        return;
    PyThreadState *mine = PyThreadState_Get();
    if (a->passing) {
        PyThreadState_Clear(mine);
        PyThreadState_DeleteCurrent();
    } else {
        PyEval_SaveThread();
    }
    home_leave(home_guest(st->home));
    self.detached = a->outer;
    if (a->elsewhere)
        PyEval_RestoreThread(a->elsewhere);
}

static bool would_block(wg_status status) { return status == WG_TIMEOUT || status == WG_LIMIT; }

void keep_report(const char *report) { snprintf(self.report, sizeof self.report, "%s", report ? report : ""); }

PyObject *why_deadlocked(void) {
    const char *why = self.report[0] ? self.report : text_of_status(WG_DEADLOCK);
    return PyUnicode_DecodeUTF8(why, (Py_ssize_t)strlen(why), "replace");
}

/* Where the task of this thread is in Python. */
struct here {
    wg_place place;
    PyCodeObject *code; /* a reference, which keeps the text of `place.file` */
    PyObject *name;     /* the same of `place.task` */
};

static void find_out(struct here *here) {
    PyFrameObject *frame = self.task ? PyEval_GetFrame() : NULL;
    *here = (struct here){.place = {.language = "Python"}};
    if (!frame)
        return;
    here->code = PyFrame_GetCode(frame);
    here->place.file = PyUnicode_AsUTF8(here->code->co_filename);
    here->place.line = PyFrame_GetLineNumber(frame);
    here->name = task_get_name(self.task, NULL);
    here->place.task = here->name ? PyUnicode_AsUTF8(here->name) : NULL;
    PyErr_Clear(); /* what has no text is not told */
}

static void forget(struct here *here) {
    Py_XDECREF(here->code);
    Py_XDECREF(here->name);
}

/* What the handlers of signals did, which ran in the middle of a wait. */
struct interruption {
    guest *me;
    PyObject *raised; /* an exception, or NULL */
};

/* For the core, in the thread that waits, detached: run the handlers of signals that have come. False: one has raised; or the
 * interpreter ends, and might end a thread that attaches in the middle of a wait. */
static bool run_handlers(void *raw) {
    struct interruption *in = raw;
    if (!in->me->handles_signals)
        return true;
    if (!home_enter(in->me))
        return false;
    take_again(in->me, (let_gone){NULL, NULL});
    if (PyErr_CheckSignals() < 0)
        in->raised = PyErr_GetRaisedException();
    let_go();
    home_leave(in->me);
    return !in->raised;
}

/* Raised by the main thread as soon as it runs Python code again, as if the signal had come then. */
static int raise_pending(void *exception) {
    PyErr_SetRaisedException(exception);
    return -1;
}

/* A handler has raised when what the call waits for had come already: a slot, say, with which the core has started a task. */
static void raise_later(PyObject *exception) {
    if (Py_AddPendingCall(raise_pending, exception) < 0) {
        PyErr_SetRaisedException(exception);
        PyErr_WriteUnraisable(NULL);
    }
}

/* One call, and the status of it. */
static int call_detached(wg_status (*call)(void *arg, const wg_until *until), void *arg, const wg_until *until,
                         struct interruption *in) {
    let_gone outer = let_go();
    wg_status status = call(arg, until);
    take_again(in->me, outer);
    PyObject *raised = in->raised;
    in->raised = NULL;
    if (status == WG_INTERRUPTED && raised)
        return PyErr_SetRaisedException(raised), RAISED;
    if (raised)
        raise_later(raised);
    return status == WG_INTERRUPTED && PyErr_CheckSignals() < 0 ? RAISED : (int)status;
}

static int block_detached(wg_status (*call)(void *arg, const wg_until *until), void *arg, int64_t deadline,
                          wg_context *context, guest *me) {
    struct here here;
    struct interruption in = {me, NULL};
    find_out(&here);
    wg_until until = {.deadline = deadline,
                      .context = context,
                      .interruptible = true,
                      .look = run_handlers,
                      .look_arg = &in,
                      .look_every = me->handles_signals ? LOOK_FOR_SIGNALS : 0,
                      .place = &here.place,
                      .report = self.report,
                      .report_size = sizeof self.report};
    int status;
    do
        status = call_detached(call, arg, &until, &in);
    while (status == WG_INTERRUPTED);
    forget(&here);
    return status;
}

wg_until poll_once(wg_context *context) {
    keep_report(NULL);
    return (wg_until){
        .deadline = WG_POLL, .context = context, .report = self.report, .report_size = sizeof self.report};
}

/* The same call, refused once more, with the name of its task. */
static wg_status refuse_by_name(wg_status (*call)(void *arg, const wg_until *until), void *arg, wg_until until) {
    struct here here;
    find_out(&here);
    until.place = &here.place;
    wg_status status = call(arg, &until);
    forget(&here);
    return status;
}

int block(const state *st, wg_status (*call)(void *arg, const wg_until *until), void *arg, int64_t deadline,
          wg_context *context) {
    wg_until until = poll_once(context);
    wg_status status = call(arg, &until);
    if (status == WG_DEADLOCK)
        return refuse_by_name(call, arg, until);
    if (!would_block(status) || deadline == WG_POLL)
        return status;
    guest *me = home_guest(st->home);
    if (!me)
        return WG_NO_MEMORY;
    return block_detached(call, arg, deadline, context, me);
}
