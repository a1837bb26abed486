/* elsewhere.c - tasks that a borrowed executor runs: in other processes, interpreters or threads.
 *
 * To the core such a task is one of the caller's own making: it has a slot from before it is sent until its future has
 * ended. cwaitgroup._executor sends it, and calls _finish(), _fail() or _drop() from the callback of the future, in any
 * thread. The first of those calls takes the task's struct elsewhere, under the task's lock, and so is the only one that counts. */
#include "binding.h"

struct elsewhere {
    running_task running;
    PyObject *future; /* NULL until it has been sent */
    bool asked;       /* Task.cancel() has asked the executor to drop it */
};

/* The slot behind the arguments of a task that is elsewhere: NULL once it has ended. */
static struct elsewhere **slot(Task *task) { return (struct elsewhere **)&task->arguments[Py_SIZE(task)]; }

static struct elsewhere *elsewhere_of(Task *task) { return task->is_elsewhere ? *slot(task) : NULL; }

bool elsewhere_expect(Task *task) {
    struct elsewhere *fresh = PyMem_Calloc(1, sizeof *fresh);
    *slot(task) = fresh;
    if (fresh)
        fresh->running.task = task;
    else
        PyErr_NoMemory();
    return fresh != NULL;
}

void elsewhere_begin(Task *task, GroupState *group) { group_task_starts(group, &elsewhere_of(task)->running); }

static void elsewhere_free(struct elsewhere *self) {
    Py_XDECREF(self->future);
    PyMem_Free(self);
}

void elsewhere_clear(Task *task) {
    struct elsewhere *known = elsewhere_of(task);
    if (!known)
        return;
    *slot(task) = NULL;
    elsewhere_free(known);
}

bool task_is_elsewhere(Task *task) {
    guard_take(&task->lock);
    bool is = elsewhere_of(task) != NULL;
    guard_give(&task->lock);
    return is;
}

/* The future of a task that has not ended, a new reference; or NULL. */
static PyObject *future_of(Task *task, bool ask) {
    PyObject *future = NULL;
    guard_take(&task->lock);
    struct elsewhere *known = elsewhere_of(task);
    if (known) {
        future = Py_XNewRef(known->future);
        known->asked |= ask;
    }
    guard_give(&task->lock);
    return future;
}

/* The answer of a method of the future; false if it cannot say, or there is no future any more. */
static bool ask_future(Task *task, const char *method, bool cancel) {
    PyObject *future = future_of(task, cancel);
    PyObject *answer = future ? PyObject_CallMethod(future, method, NULL) : NULL;
    int yes = answer ? PyObject_IsTrue(answer) : 0;
    if (PyErr_Occurred()) { /* as of Parsl, whose cancel() raises NotImplementedError */
        PyErr_Clear();
        yes = 0;
    }
    Py_XDECREF(answer);
    Py_XDECREF(future);
    return yes > 0;
}

bool elsewhere_is_running(Task *task) { return ask_future(task, "running", false); }

void elsewhere_cancel(Task *task) { ask_future(task, "cancel", true); }

/* --- The end --- */

/* From the task, for the one that ends it; NULL: it has ended. */
static struct elsewhere *take(Task *task) {
    guard_take(&task->lock);
    struct elsewhere *taken = elsewhere_of(task);
    if (taken)
        *slot(task) = NULL;
    guard_give(&task->lock);
    return taken;
}

/* When the executor began with it is not known. */
static void trace(const Task *task, const GroupState *group, int64_t sent, wg_how how, const wg_error *error) {
    if (!wg_trace_on())
        return;
    PyObject *first = task->arguments[0]; /* the name, until there is an outcome */
    PyObject *name = first && PyUnicode_Check(first) ? first : task->outcome.name;
    const char *text = name && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    wg_trace_task(group->core, text, sent, sent, how, error);
    PyErr_Clear();
}

/* The outcome is kept in the task, or it never ran; `error` is for the core. */
static void conclude(Task *task, struct elsewhere *taken, wg_error *error) {
    GroupState *group = (GroupState *)Py_NewRef(task->owner);
    wg_how how = WG_SUCCEEDED;
    wg_error *told = wg_error_retain(error);
    wg_errgroup_settle(group->core, error, &how);
    trace(task, group, taken->running.started, how, told);
    wg_error_release(told);
    task_settle(task, how);
    group_task_stops(group, &taken->running);
    elsewhere_free(taken);
    wg_errgroup_leave(group->core, NULL);
    task_end(task);
    Py_DECREF(task); /* the core's */
    Py_DECREF(group);
}

/* It has returned `result`, or, if that is NULL, raised the exception that is set. */
static void end_with(Task *task, PyObject *result) {
    struct elsewhere *taken = take(task);
    if (!taken) {
        PyErr_Clear();
        return;
    }
    task_leave_queue(task, RUNNING);
    conclude(task, taken, task_keep_result(task, (GroupState *)task->owner, task->call.fn, result));
}

void elsewhere_withdraw(Task *task) {
    struct elsewhere *taken = take(task);
    if (!taken)
        return;
    task_leave_queue(task, WITHDRAWN);
    conclude(task, taken, NULL);
}

/* --- What cwaitgroup._executor calls --- */

struct run_here {
    PyObject *fn, *args, *result;
};

static void run_here(void *raw) {
    struct run_here *call = raw;
    call->result = PyObject_Call(call->fn, call->args, NULL);
}

/* The group lives on meanwhile, whatever becomes of the task. One that has ended was withdrawn while it was sent: then
 * nobody wants it to run. */
PyObject *task_run_here(Task *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs < 1)
        return PyErr_Format(PyExc_TypeError, "Task._run_here() takes a function");
    GroupState *group = task_group(self);
    if (!group)
        return Py_NewRef(Py_None);
    struct run_here call = {.fn = args[0], .args = PyTuple_New(nargs - 1)};
    for (Py_ssize_t i = 1; call.args && i < nargs; i++)
        PyTuple_SET_ITEM(call.args, i - 1, Py_NewRef(args[i]));
    thread_self *thread = self_thread();
    Task *outer = thread->task;
    Context *outer_context = thread->context;
    thread->task = self;
    thread->context = NULL;
    if (call.args)
        wg_errgroup_run(group->core, self, run_here, &call);
    thread->task = outer;
    thread->context = outer_context;
    Py_XDECREF(call.args);
    Py_DECREF(group);
    return call.result;
}

PyObject *task_sent(Task *self, PyObject *future) {
    guard_take(&self->lock);
    struct elsewhere *known = elsewhere_of(self);
    if (known && !known->future)
        known->future = Py_NewRef(future);
    guard_give(&self->lock);
    return Py_NewRef(Py_None);
}

PyObject *task_finish(Task *self, PyObject *result) {
    end_with(self, Py_NewRef(result));
    return Py_NewRef(Py_None);
}

PyObject *task_fail(Task *self, PyObject *exception) {
    if (!PyExceptionInstance_Check(exception))
        return PyErr_Format(PyExc_TypeError, "Task._fail() takes an exception, not %R", exception);
    PyErr_SetRaisedException(Py_NewRef(exception));
    end_with(self, NULL);
    return Py_NewRef(Py_None);
}

/* Did the group, or Task.cancel(), want the task dropped? */
static bool drop_is_wanted(Task *task, bool *asked) {
    guard_take(&task->lock);
    const struct elsewhere *known = elsewhere_of(task);
    GroupState *group = known ? (GroupState *)task->owner : NULL;
    *asked = known && known->asked;
    bool ended = group && wg_context_status(group->context->core) != WG_OK;
    guard_give(&task->lock);
    return !group || ended || *asked;
}

PyObject *task_drop(Task *self, PyObject *Py_UNUSED(unused)) {
    bool asked;
    if (!drop_is_wanted(self, &asked))
        return Py_NewRef(Py_False);
    struct elsewhere *taken = take(self);
    if (taken && asked)
        task_leave_queue(self, WITHDRAWN);
    if (taken)
        conclude(self, taken, NULL);
    return Py_NewRef(Py_True);
}
