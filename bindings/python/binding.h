/* binding.h - what the files of this extension share.
 *
 * The extension converts, holds references and lets go of the interpreter; it decides nothing that the core decides.
 *
 * Who keeps whom alive. Each object of the core that Python can name belongs to one Python object:
 *
 *     ErrGroup ---> Group ---> Context ---> parent Context
 *                     ^            |
 *     Task -----------+            +------> `held`: what the core's errors point to (tasks, causes)
 *
 * A Task refers to its Group until it has ended, so a Group outlives its tasks, while its ErrGroup, the user's handle,
 * may go earlier. Errors of the core borrow the Python object they carry; the Context in which an error came up holds
 * it. Whoever can see an error through the core can see that Context through Python, so the collector sees every
 * reference there is.
 *
 * A thread is attached (it may use Python) or detached. Every call of the core that may block is made detached, through
 * block(); every call back out of the core into Python goes through attach() and detach(), which know what the thread
 * was doing. */
#ifndef CWAITGROUP_BINDING_H
#define CWAITGROUP_BINDING_H

#include "compat.h"
#include "home.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "waitgroup.h"

/* One per interpreter (strictly, per module object). Lives as long as any object of the module's types. */
typedef struct state {
    PyObject *module; /* borrowed */
    PyTypeObject *waitgroup_type, *errgroup_type, *group_type, *task_type, *context_type, *callback_type,
        *completed_type, *worker_type;
    PyObject *cancelled_error, *deadline_error, *negative_error, *deadlock_error;
    PyObject *thread_type, *threading; /* threading.Thread; the module */
    PyTypeObject *partial_type;        /* functools.partial */
    PyObject *context_attribute;       /* "_context": where a Cancelled says whose it is */
    PyObject *name_attribute, *qualname_attribute, *func_attribute, *call_attribute;
    PyInterpreterState *interpreter;
    wg_pool *pool;
    wg_context *base;       /* the ancestor of all contexts of this interpreter; ends when it exits */
    wg_waitgroup loose;     /* tasks of plain wait groups */
    home *home;
    atomic_bool closing;    /* the interpreter exits */
    atomic_uint workers;    /* how many workers were ever made, for their names */
    bool daemons; /* workers are daemon threads: in the main interpreter */
} state;

state *state_of_type(PyTypeObject *type);

/* --- attach.c: letting go of the interpreter, and taking it again --- */

typedef struct Task Task;
typedef struct Worker Worker;

/* What a thread has let go of, while it is in a call of ours. */
typedef struct {
    PyThreadState *state; /* or NULL */
    PyInterpreterState *interpreter;
} let_gone;

/* What this extension remembers of a thread. */
typedef struct {
    let_gone detached;
    Task *task;             /* the innermost task that runs in this thread, borrowed */
    Worker *worker;         /* if this thread is a worker, */
    const state *worker_of; /* of which module, */
    guest *guest;           /* and its guest */
} thread_self;
thread_self *self_thread(void);

/* Returns what a call around this one has let go of, if a host has attached this thread since, for take_again(). */
let_gone let_go(void);
void take_again(guest *me, let_gone outer);

typedef struct {
    enum { WAS_ATTACHED, WAS_DETACHED, FROM_OUTSIDE } how;
    bool passing;             /* the thread state goes when this thread goes */
    let_gone outer;           /* what to go back to, */
    PyThreadState *elsewhere; /* or where: attached to another interpreter */
} attachment;

/* Attach this thread to the interpreter of `st`, whatever it was doing. False: the interpreter is going away, and must
 * not be touched. */
bool attach(const state *st, attachment *a);
void detach(const state *st, const attachment *a);

/* Make a call of the core that may block: first without letting go of the interpreter, then with, as often as signals
 * interrupt it. `call(arg, until)` returns WG_TIMEOUT or WG_LIMIT where it would block. Returns its status, or RAISED
 * with an exception set. */
#define RAISED (-1)
int block(const state *st, wg_status (*call)(void *arg, const wg_until *until), void *arg, int64_t deadline,
          wg_context *context);

/* --- convert.c: times, counts, statuses --- */

/* `object`, a number of seconds or None, into a deadline of the core. False with an exception set that names `what`. */
bool deadline_from_timeout(PyObject *object, const char *what, int64_t *deadline);
/* The same of a number of seconds, as nanoseconds: INT64_MAX for None and infinity. */
bool nanoseconds_from_timeout(PyObject *object, const char *what, int64_t *duration);
/* The same of a moment on the clock of time.monotonic(). */
bool deadline_from_moment(PyObject *object, const char *what, int64_t *deadline);

/* The arguments `timeout=None` of `call`, and, unless `context` is NULL, `*, context=None`: a Context, borrowed, or NULL. */
bool parse_wait(state *st, const char *call, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                int64_t *deadline, PyObject **context);

/* Set the exception that `status` stands for. `call` names the call, such as "WaitGroup.done()". Returns NULL. */
PyObject *raise_status(state *st, wg_status status, const char *call);

/* TypeError unless `fn` can be run as a task. */
bool check_callable(state *st, const char *call, PyObject *fn);
/* A new reference to the name of `fn`, never NULL: its __qualname__, or the name of its type. */
PyObject *name_of_callable(state *st, PyObject *fn);

/* `__reduce__` of all types. */
PyObject *refuse_pickle(PyObject *self, PyObject *unused);

/* What `await object` iterates over: function `name` of cwaitgroup._async, called with `object`. */
PyObject *await_iterator(PyObject *object, const char *name);
/* Call function `name` of a module of the package. */
PyObject *call_python(const char *module, const char *name, PyObject *const *args, size_t nargs);

/* --- context.c --- */

typedef struct Callback Callback;

typedef struct Context {
    PyObject_HEAD
    PyObject *weakrefs;
    state *st;
    wg_context *core;
    struct Context *parent; /* or NULL */
    PyObject *held;         /* a list, made when first needed: what errors of the core point to */
    Callback *callbacks;    /* those not called yet, guarded by `lock` of callback.c; each is a strong reference */
} Context;

/* A new Context around `core`, whose reference it takes, also when it fails. */
Context *context_wrap(state *st, wg_context *core, Context *parent);
/* The Context to be a parent where none was given: that of the task of this thread; NULL for none. Borrowed. */
Context *context_of_this_task(state *st);
/* The core's context to be a parent. */
wg_context *context_core_or_base(state *st, const Context *parent);
/* Hold `object` for as long as `self` lives. */
int context_hold(Context *self, PyObject *object);
/* A cause as the user gave it: None, an exception or a str. On true: *cause is NULL or borrowed. */
bool check_cause(const char *call, PyObject *object, PyObject **cause);
/* Cancel; the first call wins. */
int context_cancel_with(Context *self, PyObject *cause);
/* What the context ended with, a new reference: an exception, a str, or None. */
PyObject *context_cause_object(Context *self);
/* True if `self` is `ancestor` or has ended with it, which has ended. */
bool context_ended_with(const Context *self, const Context *ancestor);
/* Raise Cancelled or DeadlineExceeded for a context that has ended. `subject` names it in the message. Returns NULL. */
PyObject *raise_ended(Context *self, const char *subject);

/* Of Cancelled. */
extern PyMethodDef cancelled_reduce_method;

/* --- callback.c: a call to be made when a moment of the core comes --- */

/* Call `fn` when `context` ends; or, if it is NULL, when the count of `wg`, inside `subject`, reaches zero. */
PyObject *callback_new(state *st, Context *context, wg_waitgroup *wg, PyObject *subject, PyObject *fn);
/* Of a Context that goes away: nobody is called any more. */
void callbacks_drop(Context *context);
int callbacks_visit(Context *context, visitproc visit, void *arg);

/* --- task.c --- */

typedef struct Group Group;

typedef enum { QUEUED, RUNNING, SUCCEEDED, FAILED, STOPPED, NEVER_STARTED } task_status;

struct Task {
    PyObject_VAR_HEAD
    PyObject *weakrefs;
    PyObject *owner; /* its Group, or its WaitGroup; NULL once it has ended */
    /* A task changes twice: when its function is called, and when that has returned. `lock` guards the changes. */
    union {
        PyObject *fn, *name;
    };
    union {
        PyObject *kwnames;
        Task *previous;
        PyObject *value;
    }; /* value: its result, its exception, or the Context
                                                                      of one that never started */
    union {
        PyObject *variables;
        int64_t started;
        PyObject *traceback;
    };
    Task *next;           /* while it runs: among the running ones; then: among those to be given by as_completed() */
    wg_waitgroup unended; /* 1 until it has ended */
    guard lock;
    _Atomic char status;   /* a task_status */
    PyObject *arguments[]; /* a spare slot for vectorcall, then the arguments */
};

/* A new task of `owner`, of the arguments of `call`: a function and its arguments. It has one reference for the core
 * besides the caller's. NULL with an exception set. */
Task *task_new(state *st, const char *call, PyObject *owner, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames);
/* Undo task_new for a task that the core did not take. */
void task_discard(Task *task);
/* For wg_errgroup_go, and for wg_go. */
wg_error *task_run_in_group(void *task, wg_context *ctx);
void task_run_loose(void *task);
void task_destroy(void *task);
PyObject *task_get_name(Task *self, void *unused);
/* True if this thread runs a task of `owner`. */
bool runs_task_of(const PyObject *owner);

/* --- waitgroup.c --- */

/* done(), for a task of its go(). */
void waitgroup_task_ended(PyObject *waitgroup);

/* --- errgroup.c --- */

struct Group {
    PyObject_HEAD
    state *st;
    wg_errgroup *core;
    Context *context;
    PyObject *name; /* a str, or NULL */
    int64_t grace;  /* nanoseconds, 0 for none */
    bool all_errors;
    bool noted;       /* the raised error has been told of the others */
    bool left_behind; /* the user has been told of tasks that the grace period left behind */
    /* Guarded by `lock`, or by the GIL. */
    guard lock;
    Task *running;            /* borrowed */
    Task *ended, *ended_last; /* strong */
    Py_ssize_t unended;
    wg_waitgroup news; /* 1 while somebody waits for the next change of the two above */
};

/* The task comes among the running ones, and leaves them. */
void group_task_starts(Group *group, Task *task);
void group_task_stops(Group *group, Task *task);
/* Takes over the caller's reference to `task`. */
void group_task_ended(Group *group, Task *task);

/* --- workers.c: the threads of the pool --- */

int workers_start(state *st);
/* Called by a worker between tasks: let other threads have the interpreter if they have waited long enough. */
void worker_yield(Worker *worker);
/* Show in the thread's name whose task it runs. */
void worker_rename(Worker *worker, PyObject *group_name);

/* --- the types --- */

extern PyType_Spec waitgroup_spec, errgroup_spec, group_spec, task_spec, context_spec, callback_spec, completed_spec,
    worker_spec;

#endif
