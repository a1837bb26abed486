/* task.c - cwaitgroup.Task: a function that runs in a worker, and what became of it.
 *
 * Before its function has run, a task is rooted by the core and needs no collector; from its end on, if it keeps
 * anything the collector should know of, it is tracked. */
#include "binding.h"

bool runs_task_of(const PyObject *owner) {
    Task *task = self_thread()->task;
    return task && task->owner == owner;
}

static void set_status(Task *task, task_status status) {
    atomic_store_explicit(&task->status, (char)status, memory_order_release);
}

static state *task_state(Task *self) { return state_of_type(Py_TYPE(self)); }

Task *task_new(state *st, const char *call, PyObject *owner, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames) {
    if (nargs < 1) {
        PyErr_Format(PyExc_TypeError, "%s takes a callable and its arguments", call);
        return NULL;
    }
    if (!check_callable(st, call, args[0]))
        return NULL;
    Py_ssize_t n = nargs - 1 + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    Task *task = PyObject_GC_NewVar(Task, st->task_type, n + 1);
    if (!task)
        return NULL;
    task->weakrefs = NULL;
    task->next = NULL;
    task->unended = (wg_waitgroup)WG_INIT;
    task->lock = (guard){0};
    atomic_init(&task->status, QUEUED);
    wg_add(&task->unended, 1);
    task->owner = Py_NewRef(owner);
    task->fn = Py_NewRef(args[0]);
    task->kwnames = Py_XNewRef(kwnames);
    task->arguments[0] = NULL;
    for (Py_ssize_t i = 1; i <= n; i++)
        task->arguments[i] = Py_NewRef(args[i]);
    task->variables = PyContext_CopyCurrent();
    Py_INCREF(task); /* the core's */
    if (!task->variables) {
        task_discard(task);
        return NULL;
    }
    PyObject_GC_UnTrack(task->variables); /* until let go of: nobody else sees it, and queues may be long */
    return task;
}

static void let_go_of_variables(PyObject *variables) {
    if (!variables)
        return;
    PyObject_GC_Track(variables);
    Py_DECREF(variables);
}

/* Put what the task became in the place of what it was to do. Takes over the references. */
static void settle(Task *task, task_status status, PyObject *value, PyObject *traceback) {
    PyObject *fn = task->fn, *name = name_of_callable(task_state(task), fn);
    if (!name)
        PyErr_Clear();
    guard_take(&task->lock);
    task->name = name;
    task->value = value;
    task->traceback = traceback;
    set_status(task, status);
    guard_give(&task->lock);
    Py_ssize_t n = Py_SIZE(task);
    for (Py_ssize_t i = 1; i < n; i++)
        Py_CLEAR(task->arguments[i]);
    Py_DECREF(fn);
}

/* The same for a task that never ran. */
static void settle_unstarted(Task *task, PyObject *value) {
    PyObject *kwnames = task->kwnames, *variables = task->variables;
    settle(task, NEVER_STARTED, value, NULL);
    Py_XDECREF(kwnames);
    let_go_of_variables(variables);
}

void task_discard(Task *task) {
    settle_unstarted(task, NULL);
    Py_CLEAR(task->owner);
    Py_DECREF(task);
    Py_DECREF(task);
}

/* Run the function of a task, of `group` if it is not NULL, in its context of variables. NULL with an exception set. */
static PyObject *call_function(Task *task, Group *group) {
    thread_self *self = self_thread();
    Task *outer = self->task;
    PyObject *kwnames = task->kwnames, *variables = task->variables, *result = NULL;
    size_t kwargs = kwnames ? (size_t)PyTuple_GET_SIZE(kwnames) : 0;
    size_t nargs = (size_t)Py_SIZE(task) - 1 - kwargs;
    if (self->worker) {
        worker_yield(self->worker);
        worker_rename(self->worker, group ? group->name : NULL);
    }
    self->task = task;
    set_status(task, RUNNING);
    if (group)
        group_task_starts(group, task);
    if (PyContext_Enter(variables) == 0) {
        result = PyObject_Vectorcall(task->fn, task->arguments + 1, nargs | PY_VECTORCALL_ARGUMENTS_OFFSET, kwnames);
        if (PyContext_Exit(variables) < 0)
            Py_CLEAR(result);
    }
    if (group)
        group_task_stops(group, task);
    self->task = outer;
    Py_XDECREF(kwnames);
    let_go_of_variables(variables);
    return result;
}

/* Report an exception of a task of a plain wait group, as threading does for a thread's; takes the reference. */
static void report(state *st, PyObject *exception) {
    PyObject *traceback = PyException_GetTraceback(exception), *result = NULL;
    PyObject *thread = PyObject_CallMethod(st->threading, "current_thread", NULL);
    PyObject *fields = Py_BuildValue("(OOOO)", Py_TYPE(exception), exception, traceback ? traceback : Py_None,
                                     thread ? thread : Py_None);
    PyObject *args = fields ? PyObject_CallMethod(st->threading, "ExceptHookArgs", "(O)", fields) : NULL;
    PyObject *hook = args ? PyObject_GetAttrString(st->threading, "excepthook") : NULL;
    if (hook)
        result = PyObject_CallOneArg(hook, args);
    if (!result)
        PyErr_WriteUnraisable(exception);
    Py_XDECREF(result);
    Py_XDECREF(hook);
    Py_XDECREF(args);
    Py_XDECREF(fields);
    Py_XDECREF(thread);
    Py_XDECREF(traceback);
    Py_DECREF(exception);
}

void task_run_loose(void *arg) {
    Task *task = arg;
    state *st = task_state(task);
    attachment a;
    if (!attach(st, &a))
        return;
    PyObject *result = call_function(task, NULL);
    PyObject *exception = result ? NULL : PyErr_GetRaisedException();
    settle(task, result ? SUCCEEDED : FAILED, NULL, NULL);
    Py_XDECREF(result);
    if (exception)
        report(st, exception);
    detach(st, &a);
}

/* The error of `exception` for the core, or NULL if it only echoes the group's own end. */
static wg_error *error_of_task(Task *task, Group *group, PyObject *exception) {
    state *st = group->st;
    bool stop = PyErr_GivenExceptionMatches(exception, st->cancelled_error);
    wg_error *error = wg_error_new(stop ? WG_ERROR_STOP : WG_ERROR_FAILURE, task, NULL);
    bool echo = wg_errgroup_is_echo(group->core, error);
    if (!echo && wg_error_value(error) && context_hold(group->context, (PyObject *)task) < 0) {
        PyErr_Clear();
        wg_error_release(error);
        error = wg_error_no_memory();
    }
    settle(task, echo ? STOPPED : FAILED, exception, PyException_GetTraceback(exception));
    PyObject_GC_Track(task);
    return error;
}

wg_error *task_run_in_group(void *arg, wg_context *Py_UNUSED(ctx)) {
    Task *task = arg;
    Group *group = (Group *)task->owner;
    state *st = group->st;
    attachment a;
    if (!attach(st, &a))
        return wg_error_cancelled();
    PyObject *result = call_function(task, group);
    wg_error *error = NULL;
    if (result) {
        bool track = PyObject_IS_GC(result);
        settle(task, SUCCEEDED, result, NULL);
        if (track)
            PyObject_GC_Track(task);
    } else {
        error = error_of_task(task, group, PyErr_GetRaisedException());
    }
    detach(st, &a);
    return error;
}

void task_destroy(void *arg) {
    Task *task = arg;
    state *st = task_state(task);
    attachment a;
    if (!attach(st, &a))
        return; /* the interpreter is going away, and all its objects with it */
    PyObject *raised = PyErr_GetRaisedException();
    PyObject *owner = task->owner;
    bool in_group = Py_TYPE(owner) == st->group_type;
    if (task->status == QUEUED) {
        settle_unstarted(task, in_group ? Py_NewRef((PyObject *)((Group *)owner)->context) : NULL);
        PyObject_GC_Track(task);
    }
    task->owner = NULL;
    wg_done(&task->unended);
    if (in_group) {
        group_task_ended((Group *)owner, task);
    } else {
        waitgroup_task_ended(owner);
        Py_DECREF(task);
    }
    Py_DECREF(owner);
    if (raised)
        PyErr_SetRaisedException(raised);
    detach(st, &a);
}

static int task_traverse(Task *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->owner);
    Py_VISIT(self->value);
    Py_VISIT(self->traceback);
    return 0;
}

/* Only an exception or a result can be part of a cycle: each has its own way of being cleared, but containers of
 * results, such as tuples, may not. */
static int task_clear(Task *self) {
    if (self->status == SUCCEEDED) {
        PyObject *result = self->value;
        self->value = Py_NewRef(Py_None);
        Py_XDECREF(result);
    }
    return 0;
}

static void task_dealloc(Task *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, task_dealloc) /* a result may be the last reference to another task, and so on */
        if (self->weakrefs) PyObject_ClearWeakRefs((PyObject *)self);
    Py_XDECREF(self->owner);
    Py_XDECREF(self->name);
    Py_XDECREF(self->value);
    Py_XDECREF(self->traceback);
    PyObject_GC_Del(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static bool has_ended(Task *self) { return wg_count(&self->unended) == 0; }

static wg_status call_wait(void *wg, const wg_until *until) { return wg_wait(wg, until); }

/* Wait for the end of the task. -1 with an exception set. */
static int wait_for_end(Task *self, int64_t deadline, const char *call) {
    state *st = task_state(self);
    if (has_ended(self) && wg_wait(&self->unended, &(wg_until){.deadline = WG_POLL}) == WG_OK)
        return 0;
    if (self_thread()->task == self) {
        PyErr_Format(st->deadlock_error, "%s: called from the task itself, which would wait for itself", call);
        return -1;
    }
    int status = block(st, call_wait, &self->unended, deadline, NULL);
    switch (status) {
    case WG_OK: return 0;
    case RAISED: return -1;
    case WG_TIMEOUT: PyErr_Format(PyExc_TimeoutError, "%s: %R has not ended in time", call, self); return -1;
    default: raise_status(st, status, call); return -1;
    }
}

/* Raise the exception of a task that has ended and failed or was stopped. */
static PyObject *raise_value(Task *self) {
    if (self->status == NEVER_STARTED)
        return raise_ended((Context *)self->value, "task");
    PyException_SetTraceback(self->value, self->traceback ? self->traceback : Py_None);
    PyErr_SetRaisedException(Py_NewRef(self->value));
    return NULL;
}

static PyObject *task_result(Task *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int64_t deadline;
    if (!parse_wait(task_state(self), "result()", args, nargs, kwnames, &deadline, NULL) ||
        wait_for_end(self, deadline, "Task.result()") < 0)
        return NULL;
    return self->status == SUCCEEDED ? Py_NewRef(self->value) : raise_value(self);
}

static PyObject *task_exception(Task *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int64_t deadline;
    if (!parse_wait(task_state(self), "exception()", args, nargs, kwnames, &deadline, NULL) ||
        wait_for_end(self, deadline, "Task.exception()") < 0)
        return NULL;
    switch ((task_status)self->status) {
    case SUCCEEDED: return Py_NewRef(Py_None);
    case FAILED: return Py_NewRef(self->value);
    default: return raise_value(self);
    }
}

static PyObject *task_done(Task *self, PyObject *Py_UNUSED(unused)) { return PyBool_FromLong(has_ended(self)); }

static PyObject *task_cancelled(Task *self, PyObject *Py_UNUSED(unused)) {
    return PyBool_FromLong(has_ended(self) && (self->status == STOPPED || self->status == NEVER_STARTED));
}

static PyObject *task_running(Task *self, PyObject *Py_UNUSED(unused)) {
    return PyBool_FromLong(!has_ended(self) && self->status != QUEUED);
}

PyObject *task_get_name(Task *self, void *Py_UNUSED(unused)) {
    guard_take(&self->lock);
    bool settled = self->status >= SUCCEEDED;
    PyObject *object = Py_XNewRef(settled ? self->name : self->fn);
    guard_give(&self->lock);
    if (settled)
        return object ? object : PyUnicode_FromString("?");
    PyObject *name = name_of_callable(task_state(self), object);
    Py_DECREF(object);
    return name;
}

static PyObject *task_repr(Task *self) {
    static const char *const words[] = {"queued", "running", "succeeded", "failed", "stopped", "never started"};
    PyObject *name = task_get_name(self, NULL), *repr = NULL;
    if (!name)
        return NULL;
    task_status status = (task_status)self->status;
    if (has_ended(self) && status == FAILED)
        repr = PyUnicode_FromFormat("<cwaitgroup.Task %R failed: %s>", name, Py_TYPE(self->value)->tp_name);
    else
        repr = PyUnicode_FromFormat("<cwaitgroup.Task %R %s>", name,
                                    words[has_ended(self) || status == QUEUED ? status : RUNNING]);
    Py_DECREF(name);
    return repr;
}

PyDoc_STRVAR(task_doc, "A function that an ErrGroup runs, and what became of it.\n"
                       "\n"
                       "Made by ErrGroup.go() and try_go(). Its type can be written Task[int].\n"
                       "\n"
                       ">>> with ErrGroup() as g:\n"
                       "...     task = g.go(pow, 2, 10)\n"
                       ">>> task.done(), task.result()\n"
                       "(True, 1024)\n"
                       "\n"
                       "All its methods may be called from any thread.");

PyDoc_STRVAR(task_result_doc, "result($self, /, timeout=None)\n"
                              "--\n"
                              "\n"
                              "Wait for the task to end, and return what its function returned.\n"
                              "\n"
                              "`timeout` is in seconds; None waits for ever and 0 only looks.\n"
                              "\n"
                              ">>> with ErrGroup() as g:\n"
                              "...     print(g.go(len, 'four').result(timeout=5))\n"
                              "4\n"
                              "\n"
                              "Raises the function's exception itself; Cancelled if the group was cancelled before\n"
                              "the task started; TimeoutError; DeadlockError if called from the task itself;\n"
                              "ValueError for a negative or NaN timeout; RuntimeError in the child of a fork.");

PyDoc_STRVAR(task_exception_doc, "exception($self, /, timeout=None)\n"
                                 "--\n"
                                 "\n"
                                 "Wait for the task to end, and return its exception, or None if it succeeded.\n"
                                 "\n"
                                 "`timeout` is in seconds; None waits for ever and 0 only looks.\n"
                                 "\n"
                                 ">>> g = ErrGroup()\n"
                                 ">>> g.go(int, 'x').exception(timeout=5)\n"
                                 "ValueError(\"invalid literal for int() with base 10: 'x'\")\n"
                                 "\n"
                                 "Raises Cancelled if the task was stopped by the group's end or never started, and\n"
                                 "otherwise what result() raises for a wait that fails.");

static PyMethodDef task_methods[] = {
    {"result", (PyCFunction)(void (*)(void))task_result, METH_FASTCALL | METH_KEYWORDS, task_result_doc},
    {"exception", (PyCFunction)(void (*)(void))task_exception, METH_FASTCALL | METH_KEYWORDS, task_exception_doc},
    {"done", (PyCFunction)task_done, METH_NOARGS,
     "done($self, /)\n--\n\n"
     "True once the task has ended, in whatever way.\n\n"
     ">>> with ErrGroup() as g:\n...     task = g.go(len, 'x')\n>>> task.done()\nTrue"},
    {"cancelled", (PyCFunction)task_cancelled, METH_NOARGS,
     "cancelled($self, /)\n--\n\n"
     "True if the group's cancellation kept it from starting, or ended it.\n\n"
     "It ended the task if the function raised Cancelled after the group was cancelled.\n\n"
     ">>> g = ErrGroup()\n>>> task = g.go(lambda: (g.context.wait(), g.context.check()))\n"
     ">>> g.cancel(); g.wait()\n>>> task.cancelled()\nTrue"},
    {"running", (PyCFunction)task_running, METH_NOARGS,
     "running($self, /)\n--\n\n"
     "True while its function runs.\n\n"
     ">>> with ErrGroup() as g:\n...     task = g.go(len, 'x')\n>>> task.running()\nFalse"},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "Task[int] is a Task whose result is an int."},
    {"__reduce__", refuse_pickle, METH_NOARGS, "__reduce__($self, /)\n--\n\nRefuses: it cannot be copied."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef task_getset[] = {
    {"name", (getter)task_get_name, NULL, "The name of its function, a str.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef task_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Task, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot task_slots[] = {
    {Py_tp_dealloc, task_dealloc}, {Py_tp_traverse, task_traverse}, {Py_tp_clear, task_clear},
    {Py_tp_repr, task_repr},       {Py_tp_doc, (void *)task_doc},   {Py_tp_methods, task_methods},
    {Py_tp_getset, task_getset},   {Py_tp_members, task_members},   {0, NULL},
};

PyType_Spec task_spec = {
    .name = "cwaitgroup.Task",
    .basicsize = offsetof(Task, arguments),
    .itemsize = sizeof(PyObject *),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = task_slots,
};
