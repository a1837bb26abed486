/* binding.h - what the files of this extension share.
 *
 * The extension converts, holds references and lets go of the interpreter; it decides nothing that the core decides.
 *
 * What keeps what alive. Each object of the core that Python can name belongs to one Python object:
 *
 *     ErrGroup ---> GroupState ---> Context ---> parent Context
 *                     ^            |
 *     Task -----------+            +------> `carried`: what the core's errors point to (tasks, causes)
 *
 * A Task refers to its Group until it has ended, so a Group outlives its tasks, while its ErrGroup, the user's handle,
 * may go earlier. Errors of the core borrow the Python object they carry; the Context in which an error came up holds
 * it. All code that can reach an error through the core can reach that Context through Python, so the collector sees
 * every reference.
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

typedef struct Context Context;
typedef struct carried carried;

/* One per interpreter (strictly, per module object). Lives as long as any object of the module's types. */
typedef struct state {
    PyObject *module; /* borrowed */
    PyTypeObject *waitgroup_type, *errgroup_type, *group_type, *task_type, *context_type, *callback_type, *worker_type;
    PyObject *cancelled_error, *deadline_error, *negative_error, *deadlock_error, *timeout_error, *foreign_error;
    Context *root;                     /* around `base`: that of code outside of any task */
    PyObject *thread_type, *threading; /* threading.Thread; the module */
    PyTypeObject *partial_type;        /* functools.partial */
    PyObject *context_attribute;       /* "_context": the attribute of a Cancelled with the Context that has ended */
    PyObject *name_attribute, *qualname_attribute, *func_attribute, *call_attribute;
    PyInterpreterState *interpreter;
    PyObject *known; /* a dict, made when first needed: see identity.c */
    wg_pool *pool;
    wg_context *base; /* the ancestor of all contexts of this interpreter; ends when it exits */
    home *home;
    atomic_bool closing; /* the interpreter exits */
    atomic_uint workers; /* how many workers were ever made, for their names */
    bool daemons;        /* workers are daemon threads: in the main interpreter */
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
    Task *task;             /* the innermost task that runs in this thread, borrowed; */
    Context *context;       /* or the context of what runs here for another process, borrowed */
    Worker *worker;         /* if this thread is a worker, */
    const state *worker_of; /* of which module, */
    PyThreadState *state;   /* its thread state, */
    guest *guest;           /* and its guest */
    char report[3000];      /* of the last call that blocked and ended with WG_DEADLOCK: why; or "" */
} thread_self;
thread_self *self_thread(void);

/* That report, to go on from the name of the call: a str. NULL with an exception set. */
PyObject *why_deadlocked(void);
/* Of a wait in an event loop; NULL: there is none. */
void keep_report(const char *report);

/* Of a worker: false if it has let go, or Python has ended it, see attach(). */
bool worker_is_attached(void);

/* Detach. Returns what an outer call of ours has let go of, if a host has attached this thread since then; take_again()
 * needs it. */
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

/* For a call of the core that shall not block. */
wg_until poll_once(wg_context *context);

/* Make a call of the core that may block: first without letting go of the interpreter, then with, as often as signals
 * interrupt it. `call(arg, until)` returns WG_TIMEOUT or WG_LIMIT where it would block. `context` ends it; NULL: that of the
 * task which this thread runs. Returns its status, or RAISED with an exception set. */
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

/* `object` as an argument `context` of `call`: a Context, borrowed, or NULL for None. False with an exception set. */
bool check_context(state *st, const char *call, PyObject *object, Context **context);
/* The arguments `timeout=None, *, context=None` of `call`. */
bool parse_wait(state *st, const char *call, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                int64_t *deadline, Context **context);

/* _end_of_wait(call, timeout, context): the moment when a call that is written in Python gives up, or None; refuses what is
 * no timeout or no context. */
PyObject *end_of_wait(PyObject *module, PyObject *args);

/* Set the exception that `status` stands for. `call` names the call, such as "WaitGroup.done()". Returns NULL. */
PyObject *raise_status(state *st, wg_status status, const char *call);
/* DeadlockError of `call`, which has blocked in this thread. Returns NULL. */
PyObject *raise_deadlock(state *st, const char *call);
/* The class of that exception, borrowed, and what it says. */
PyObject *class_of_status(state *st, wg_status status);
const char *text_of_status(wg_status status);

/* TypeError unless `fn` can be run as a task. */
bool check_callable(state *st, const char *call, PyObject *fn);
/* TypeError unless `fn` can be called as a callback: `with` says with what. */
bool check_callback(state *st, const char *call, const char *with, PyObject *fn);
/* A new reference to the name of `fn`: its __qualname__, or the name of its type. NULL with an exception set. */
PyObject *name_of_callable(state *st, PyObject *fn);
/* TypeError if `result`, which a function has returned, has yet to be awaited. */
bool check_result(state *st, PyObject *fn, PyObject *result);
/* repr(object), or what can be said of one whose repr() raises. NULL with an exception set only without memory. */
PyObject *safe_repr(PyObject *object);
/* Set an exception of `class` that shows `object`: what `before` formats, as PyErr_Format does, its repr(), and `after`.
 * Returns NULL. */
PyObject *raise_showing(PyObject *class, PyObject *object, const char *after, const char *before, ...);

/* `__reduce__` of all types. */
PyObject *refuse_pickle(PyObject *self, PyObject *unused);

/* What `await object` iterates over: function `name` of cwaitgroup._async, called with `object`. */
PyObject *await_iterator(PyObject *object, const char *name);
/* Call function `name` of a module of the package. */
PyObject *call_python(const char *module, const char *name, PyObject *const *args, size_t nargs);

/* --- context.c --- */

typedef struct Callback Callback;
typedef struct GroupState GroupState;

struct Context {
    PyObject_HEAD
    PyObject *weakrefs;
    state *st;
    wg_context *core;
    Context *parent;     /* or NULL */
    carried *carried;    /* what errors of the core point to: see crossing.c */
    PyObject *foreign;   /* a dict, made when first needed: exceptions for errors of other languages */
    Callback *callbacks; /* those not called yet, guarded by `lock` of callback.c; each is a strong reference */
};

/* A new Context around `core`, whose reference it takes, also when it fails. */
Context *context_wrap(state *st, wg_context *core, Context *parent);
/* The Context to be a parent where none was given: that of the task of this thread, in whatever language it is; a new
 * reference. NULL for none, or with an exception set. */
Context *context_of_this_task(state *st);
/* The core's context to be a parent. */
wg_context *context_core_or_base(state *st, const Context *parent);
/* A cause as the user gave it: None, an exception or a str. On true: *cause is NULL or borrowed. */
bool check_cause(const char *call, PyObject *object, PyObject **cause);
/* Cancel; the first call wins. */
int context_cancel_with(Context *self, PyObject *cause);
/* What the context ended with, a new reference: an exception, a str, or None. */
PyObject *context_cause_object(Context *self);
/* True if `self` is `ancestor` or has ended with it, which has ended. */
bool context_ended_with(const Context *self, const Context *ancestor);
/* Raise Cancelled or DeadlineExceeded for `call`, because a context has ended. `subject`, such as "group", and `name`, a
 * str or NULL, say what ended with it. Returns NULL. */
PyObject *raise_ended(Context *self, const char *call, const char *subject, PyObject *name);
/* The same for a blocking call that WG_CONTEXT_ENDED has ended: of the context that it was given, or, if that is NULL,
 * of this thread's task. Returns NULL. */
PyObject *raise_wait_ended(state *st, const char *call, Context *given);

/* Of Cancelled. */
extern PyMethodDef cancelled_reduce_method;

/* --- crossing.c: errors, in Python and in other languages --- */

/* A new error of the core for `object`: a Task, whose exception it is, or the cause of a cancellation. The Context holds
 * it. Without memory it is wg_error_no_memory(). */
wg_error *context_carry(Context *self, PyObject *object, wg_error_kind kind);
/* Let go of what the core has let go of. */
void context_drop_carried(Context *self);
/* The Context goes, and has released its core: those that still refer to an error keep its object. */
void context_hand_over_carried(Context *self);
/* The collector frees the Context and its objects: those that still refer to an error keep its text. */
void context_lose_carried(Context *self);
int context_visit_carried(Context *self, visitproc visit, void *arg);
/* Put all errors of the interpreter into words, for other languages; and when its memory goes, leave it at that. */
void errors_seal(state *st);
void errors_outlive(const home *h);
/* What an error of this interpreter points to, or, of a task, the Task: a new reference. NULL of any other error. */
PyObject *object_of_error(const state *st, const wg_error *error);
Task *task_of_error(const state *st, const wg_error *error);
/* The exception for an error, a new reference, or a str, which a cause may be; a ForeignError for one of another language. */
PyObject *value_of_error(Context *of, wg_error *error);
/* The error of another language that `exception` stands for, with a reference; or NULL. */
wg_error *foreign_error_of(const state *st, PyObject *exception);

/* --- plain.c --- */

/* The value of an error if it is plain, a new reference, else None. NULL: no memory. */
PyObject *plain_value_of(const wg_error *error);

/* --- identity.c --- */

/* The Python object for an object of the core, a new reference; NULL, with or without an exception set. */
PyObject *known_object(state *st, const void *core);
int make_known(state *st, const void *core, PyObject *object);
/* Of one that goes. */
void forget_known(state *st, const void *core);
/* `id`, which the core has given to `core`, as an int; `object` is known from now on. */
PyObject *id_of(state *st, int64_t id, const void *core, PyObject *object);
/* The Context for a context of the core, a new reference. */
Context *context_for(state *st, wg_context *core);
/* attach(id). */
PyObject *attach_object(PyObject *module, PyObject *id);
/* New objects around what came by an id, whose reference passes to them, also when they fail. */
PyObject *errgroup_wrap(state *st, wg_errgroup *core);
PyObject *waitgroup_wrap(state *st, wg_shared *core);

/* --- callback.c: a call to be made when an event comes --- */

/* `fn`, which nobody has called who could be told, has raised the exception that is set: report it. But Ctrl-C in the main
 * thread comes out of what that does next. */
void report_of_callback(const state *st, PyObject *fn);

/* Call `fn` when `event` of an object inside `subject` comes. All three return the Callback, or NULL with an exception
 * set. */
PyObject *callback_for_event(state *st, wg_event event, PyObject *subject, PyObject *fn);
/* Call `fn` when `context` ends. */
PyObject *callback_for_context(Context *context, PyObject *fn);
/* Call `fn` when a slot of `group` has been taken for the caller, or there will be none. */
PyObject *callback_for_slot(GroupState *group, PyObject *fn);
/* WG_OK: the slot is the caller's now. WG_LIMIT: it has not come. WG_FINISHED: it has been taken, or there will be none
 * since the group is finished. Else why there will be none. */
wg_status callback_take_slot(Callback *self);
/* The Context goes away: none of its callbacks is called any more. */
void callbacks_drop(Context *context);
int callbacks_visit(Context *context, visitproc visit, void *arg);

/* --- waiting.c --- */

/* Of the types of Python: what they stand for in the core; the group that a task is in, a new reference, or NULL. */
wg_waitgroup *waitgroup_core(PyObject *self);
wg_errgroup *errgroup_core(PyObject *self);
GroupState *task_group(Task *self);
/* The group of the task that runs in this thread, borrowed; NULL for none, and of one that was ended meanwhile. */
GroupState *group_of_this_task(state *st);

PyObject *waiting_begin(PyObject *module, PyObject *args);
PyObject *waiting_end(PyObject *module, PyObject *waiting);

/* --- inspect.c --- */

/* Such as "fetch.py:12", in `size` bytes. */
void place_of_caller(char *place, size_t size);
PyObject *inspect_dump(PyObject *module, PyObject *unused);
PyObject *inspect_dump_on_signal(PyObject *module, PyObject *args);
PyObject *inspect_leaks(PyObject *module, PyObject *since);
PyObject *inspect_now(PyObject *module, PyObject *unused);
PyObject *inspect_trace_start(PyObject *module, PyObject *path);
PyObject *inspect_trace_stop(PyObject *module, PyObject *unused);
PyObject *inspect_trace_on(PyObject *module, PyObject *unused);
PyObject *inspect_trace_name(PyObject *module, PyObject *args);

/* --- task.c --- */

/* WITHDRAWN: by Task.cancel(), before a worker took it. RETURNED: the core has yet to say what that means. */
typedef enum { QUEUED, WITHDRAWN, RUNNING, RETURNED, SUCCEEDED, FAILED, STOPPED, NEVER_STARTED } task_status;

/* A task goes through two phases, told apart by `status`: it is to be called, and it has an outcome. `lock` guards the
 * step from one to the other, `callbacks` and what elsewhere.c keeps. */
struct Task {
    PyObject_VAR_HEAD
    PyObject *weakrefs;
    PyObject *owner; /* its GroupState, or its WaitGroup; NULL once it has ended */
    union {
        struct {
            PyObject *fn, *kwnames, *variables; /* the thread that runs it has taken over the last two */
        } call;                                 /* up to RUNNING */
        struct {
            PyObject *name;      /* a str, or NULL without memory */
            PyObject *value;     /* the result, or the exception; of one that never started, the Context, or NULL */
            PyObject *traceback; /* of the exception, as it left the function */
        } outcome;               /* from RETURNED on */
    };
    PyObject *callbacks;  /* a list of what add_done_callback() was given, or NULL */
    wg_waitgroup unended; /* 1 until it has ended */
    guard lock;
    bool ended;          /* the callbacks have been taken for the last time */
    bool named;          /* the last of `arguments` is its name, a str, and not an argument */
    bool is_elsewhere;   /* an executor runs it: behind `arguments` is a slot for elsewhere.c */
    atomic_bool seen;    /* somebody has been told of its exception */
    _Atomic char status; /* a task_status */
    PyObject *arguments
        []; /* a slot that vectorcall may use, which holds the name, or NULL without memory, and from RETURNED on
                              `fn`; then the arguments; all NULL once settled. The core has the UTF-8 of the name until
                              the task has ended: by then the outcome has the name */
};

/* A new task of `owner`, of the arguments of `call`: a function and its arguments. It has one reference for the core
 * besides the caller's. `name` is a str, or NULL. NULL with an exception set. */
Task *task_new(state *st, const char *call, PyObject *owner, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
               PyObject *name);
/* Undo task_new for a task that the core did not take. */
void task_discard(Task *task);
/* For the core: how it runs a task of a GroupState, or of a WaitGroup. */
wg_task task_for_core(Task *task);
PyObject *task_get_name(Task *self, void *unused);

/* The steps of a task, in this order. From QUEUED to RUNNING, or, for Task.cancel(), to WITHDRAWN; the first one decides. */
bool task_leave_queue(Task *task, task_status status);
/* What `fn` has returned, whose reference passes to the task; or NULL, with an exception set, which it has raised. What to
 * tell the core. */
wg_error *task_keep_result(Task *task, GroupState *group, PyObject *fn, PyObject *result);
/* The core's word on it; its call is forgotten. */
void task_settle(Task *task, wg_how how);
/* Its slot has been given back: tell whoever waits. */
void task_end(Task *task);

/* --- elsewhere.c: tasks that an executor runs --- */

/* task_new for a task of a GroupState that is to be sent to an executor: it keeps the function, for its name, and no
 * arguments. */
Task *task_new_elsewhere(state *st, const char *call, PyObject *owner, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *name);
/* Make room for what is to be known of it. False with an exception set. */
bool elsewhere_expect(Task *task);
/* Forget what is known of it, if anything is. */
void elsewhere_clear(Task *task);
/* It has a slot of `group`. */
void elsewhere_begin(Task *task, GroupState *group);
/* It could not be sent: it ends as if it had never been. */
void elsewhere_withdraw(Task *task);
bool task_is_elsewhere(Task *task);
bool elsewhere_is_running(Task *task);
/* Ask the executor to drop it. */
void elsewhere_cancel(Task *task);
/* Methods of Task. */
PyObject *task_sent(Task *self, PyObject *future);
PyObject *task_run_here(Task *self, PyObject *const *args, Py_ssize_t nargs);
PyObject *task_finish(Task *self, PyObject *result);
PyObject *task_fail(Task *self, PyObject *exception);
PyObject *task_drop(Task *self, PyObject *unused);

/* --- group_state.c: what the tasks of an ErrGroup refer to --- */

struct GroupState {
    PyObject_HEAD
    state *st;
    wg_errgroup *core;
    Context *context;
    PyObject *name; /* a str, or NULL */
    int64_t grace;  /* nanoseconds, 0 for none */
    bool all_errors;
    bool goes_on;            /* a failed task does not cancel the others */
    atomic_bool shared;      /* another language may know it */
    atomic_uint inside;      /* how many of its tasks run in this interpreter */
    bool attached;           /* another language made it, or the program: then */
    wg_observer at_exit;     /* tells of the end of the interpreter */
    atomic_bool noted;       /* the raised error has been told of the others */
    atomic_bool left_behind; /* the user has been told of tasks that the grace period left behind */
    atomic_bool abandoned;   /* nobody will ask for the outcome any more: it was given, or the handle is gone */
    _Atomic(const char *) outcome_given_by; /* the call that gave the outcome, or NULL */
    /* Guarded by `lock`, or by the GIL. */
    guard lock;
    struct running_task *running;
};

typedef struct {
    bool all_errors;
    int64_t grace;
    PyObject *name;  /* a str, or NULL */
    Context *parent; /* or NULL */
} group_options;

/* The group around `core`, which another language made, or the program; takes over the reference, also when it fails. */
GroupState *group_attach(state *st, wg_errgroup *core);
/* A new group of `options`, and of those of the core. NULL with an exception set. */
GroupState *group_new(state *st, const group_options *options, wg_errgroup_options *core);
/* A task that runs: on the stack of its thread. */
typedef struct running_task {
    Task *task;
    int64_t started;
    struct running_task *previous, *next;
} running_task;

/* The task comes among the running ones, and leaves them. */
void group_task_starts(GroupState *group, running_task *running);
void group_task_stops(GroupState *group, running_task *running);
/* "fetch, store (for 3.2 s)": the tasks that run, as many of them as one wants to read. NULL with an exception set. */
PyObject *group_names_of_running(GroupState *group);
/* How many tasks have not ended. */
unsigned long group_unfinished(GroupState *group);
/* Set the exception of a call on the group that `status` stands for. Returns NULL. */
PyObject *group_raise_status(GroupState *group, wg_status status, const char *call);

/* --- outcome.c: from the core's outcome of a group to exceptions --- */

/* All errors so far: a tuple. */
PyObject *group_errors(GroupState *group);
/* The same for the user; marks them as seen, so they are not reported again. */
PyObject *group_errors_seen(GroupState *group);
/* Wait and raise the outcome, for `call`. -1 with an exception set, or 0. */
int group_wait(GroupState *group, const char *call, int64_t deadline, Context *context);
/* The same at the end of a block; only a signal ends this wait early. */
int group_leave(GroupState *group);
/* The same, where `exception` of the block wins over the outcome. */
int group_leave_with(GroupState *group, PyObject *exception);
/* WG_OK, WG_FAILED, WG_CANCELLED or WG_DEADLINE_EXCEEDED if there is an outcome; WG_TIMEOUT if not yet. */
wg_status group_poll(GroupState *group);
/* True if `exception`, which a block has raised, only tells of the end of its own group: it is a Cancelled of the group's
 * context, or the error of one of its own tasks. */
bool group_tells_of_own_end(GroupState *group, PyObject *exception);
/* The group's handle goes: report errors that nobody has been told of. */
void group_report_lost(GroupState *group, PyObject *handle);
/* `task` has failed with nobody left to ask for the outcome: report its error. */
void group_report_late(GroupState *group, Task *task);

/* --- workers.c: the threads of the pool --- */

int workers_start(state *st);
/* Called by a worker between tasks: let other threads have the interpreter if they have waited long enough. */
void worker_yield(Worker *worker);
/* Show in the thread's name whose task it runs. */
void worker_rename(Worker *worker, PyObject *group_name);

/* --- the types --- */

extern PyType_Spec waitgroup_spec, errgroup_spec, group_spec, task_spec, context_spec, callback_spec, worker_spec;

#endif
