/* task.c - cwaitgroup.Task: a function that runs in a worker, and what became of it.
 *
 * Before its function has run, a task is rooted by the core and needs no collector; from its end on, if it keeps
 * anything the collector should know of, it is tracked. */
#include "binding.h"

static void set_status(Task *task, task_status status) {
    atomic_store_explicit(&task->status, (char)status, memory_order_release);
}

static task_status get_status(Task *task) { return (task_status)atomic_load(&task->status); }

static state *task_state(Task *self) { return state_of_type(Py_TYPE(self)); }

static bool is_in_group(Task *task) { return Py_TYPE(task->owner) == task_state(task)->group_type; }

/* For the thread that will run the task, which takes them over. False with an exception set. */
static bool copy_variables(Task *task) {
    task->call.variables = PyContext_CopyCurrent();
    if (task->call.variables)
        PyObject_GC_UnTrack(task->call.variables); /* until let go of: nobody else sees it, and queues may be long */
    return task->call.variables != NULL;
}

static Task *new_task(state *st, const char *call, PyObject *owner, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames, PyObject *name, bool is_elsewhere) {
    if (nargs < 1) {
        PyErr_Format(PyExc_TypeError, "%s takes a callable and its arguments", call);
        return NULL;
    }
    if (!check_callable(st, call, args[0]))
        return NULL;
    Py_ssize_t n = nargs - 1 + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    bool named = name != NULL;
    if (named && !(name = PyUnicode_FromObject(name))) /* a subclass may have any repr() */
        return NULL;
    Task *task = PyObject_GC_NewVar(Task, st->task_type, 1 + n + named + is_elsewhere);
    if (!task) {
        Py_XDECREF(name);
        return NULL;
    }
    task->is_elsewhere = is_elsewhere;
    if (is_elsewhere) /* that slot is no argument, and only a task that needs one has it */
        Py_SET_SIZE(task, Py_SIZE(task) - 1);
    task->weakrefs = NULL;
    task->callbacks = NULL;
    task->unended = (wg_waitgroup)WG_INIT;
    task->lock = (guard){0};
    task->ended = false;
    task->named = named;
    atomic_init(&task->seen, false);
    atomic_init(&task->status, QUEUED);
    wg_add(&task->unended, 1);
    task->owner = Py_NewRef(owner);
    task->call.fn = Py_NewRef(args[0]);
    task->call.kwnames = Py_XNewRef(kwnames);
    task->arguments[0] = named ? Py_NewRef(name) : name_of_callable(st, args[0]);
    if (!task->arguments[0])
        PyErr_Clear();
    for (Py_ssize_t i = 1; i <= n; i++)
        task->arguments[i] = Py_NewRef(args[i]);
    if (named)
        task->arguments[1 + n] = name;
    task->call.variables = NULL;
    Py_INCREF(task); /* the core's */
    if (!is_elsewhere && !copy_variables(task)) {
        task_discard(task);
        return NULL;
    }
    return task;
}

Task *task_new(state *st, const char *call, PyObject *owner, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
               PyObject *name) {
    return new_task(st, call, owner, args, nargs, kwnames, name, false);
}

Task *task_new_elsewhere(state *st, const char *call, PyObject *owner, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *name) {
    Task *task = new_task(st, call, owner, args, nargs < 1 ? nargs : 1, NULL, name, true);
    if (task && !elsewhere_expect(task)) {
        task_discard(task);
        return NULL;
    }
    return task;
}

static void let_go_of_variables(PyObject *variables) {
    if (!variables)
        return;
    PyObject_GC_Track(variables);
    Py_DECREF(variables);
}

/* --- From one phase to the next --- */

/* The name given to the task, borrowed, until it is settled; or NULL. */
static PyObject *given_name(Task *task) { return task->named ? task->arguments[Py_SIZE(task) - 1] : NULL; }

/* Put what the task became in the place of `fn`, which goes on in the spare slot. Takes over the references. */
static void keep_outcome(Task *task, PyObject *fn, PyObject *value, PyObject *traceback) {
    PyObject *name = task->arguments[0];
    task->arguments[0] = fn;
    guard_take(&task->lock);
    task->outcome.name = name;
    task->outcome.value = value;
    task->outcome.traceback = traceback;
    set_status(task, RETURNED);
    guard_give(&task->lock);
}

/* The same for a task that never ran. */
static void keep_no_outcome(Task *task) {
    bool withdrawn = get_status(task) == WITHDRAWN;
    PyObject *fn = task->call.fn, *kwnames = task->call.kwnames, *variables = task->call.variables, *context = NULL;
    if (!withdrawn && is_in_group(task))
        context = Py_NewRef((PyObject *)((GroupState *)task->owner)->context);
    keep_outcome(task, fn, context, NULL);
    Py_XDECREF(kwnames);
    let_go_of_variables(variables);
}

/* Let go of the function and its arguments. */
static void forget_call(Task *task) {
    Py_ssize_t n = Py_SIZE(task);
    for (Py_ssize_t i = 0; i < n; i++)
        Py_CLEAR(task->arguments[i]);
}

/* The task has ended: its callbacks, to be called now, and its owner, to be let go of. */
static PyObject *take_callbacks(Task *task, PyObject **owner) {
    guard_take(&task->lock);
    PyObject *callbacks = task->callbacks;
    *owner = task->owner;
    task->callbacks = task->owner = NULL;
    task->ended = true;
    guard_give(&task->lock);
    return callbacks;
}

static void call_back(PyObject *callback, Task *task) {
    PyObject *result = PyObject_CallOneArg(callback, (PyObject *)task);
    if (!result)
        report_of_callback(task_state(task), callback);
    Py_XDECREF(result);
}

void task_end(Task *task) {
    PyObject *owner, *callbacks = take_callbacks(task, &owner);
    wg_done(&task->unended);
    for (Py_ssize_t i = 0; callbacks && i < PyList_GET_SIZE(callbacks); i++)
        call_back(PyList_GET_ITEM(callbacks, i), task);
    Py_XDECREF(callbacks);
    Py_XDECREF(owner);
}

void task_discard(Task *task) {
    elsewhere_clear(task);
    keep_no_outcome(task);
    set_status(task, NEVER_STARTED);
    forget_call(task);
    Py_CLEAR(task->owner);
    Py_DECREF(task);
    Py_DECREF(task);
}

/* --- What the core calls --- */

bool task_leave_queue(Task *task, task_status status) {
    guard_take(&task->lock);
    bool first = get_status(task) == QUEUED;
    if (first)
        set_status(task, status);
    guard_give(&task->lock);
    return first;
}

static PyObject *call_in(PyObject *variables, Task *task, PyObject *fn, PyObject *kwnames) {
    size_t kwargs = kwnames ? (size_t)PyTuple_GET_SIZE(kwnames) : 0;
    size_t nargs = (size_t)Py_SIZE(task) - 1 - kwargs - task->named;
    PyObject *result = NULL;
    if (PyContext_Enter(variables) == 0) {
        result = PyObject_Vectorcall(fn, task->arguments + 1, nargs | PY_VECTORCALL_ARGUMENTS_OFFSET, kwnames);
        if (PyContext_Exit(variables) < 0)
            Py_CLEAR(result);
    }
    if (result && !check_result(task_state(task), fn, result))
        Py_CLEAR(result);
    return result;
}

/* Run the function of a task that is RUNNING, of `group` if it is not NULL. NULL with an exception set. */
static PyObject *run_function(Task *task, GroupState *group, PyObject **fn) {
    thread_self *self = self_thread();
    Task *outer = self->task;
    Context *outer_context = self->context;
    PyObject *kwnames = task->call.kwnames, *variables = task->call.variables;
    *fn = task->call.fn;
    if (self->worker) {
        worker_yield(self->worker);
        worker_rename(self->worker, group ? group->name : NULL);
    }
    running_task running = {.task = task};
    self->task = task;
    self->context = NULL;
    if (group)
        group_task_starts(group, &running);
    PyObject *result = call_in(variables, task, *fn, kwnames);
    if (group)
        group_task_stops(group, &running);
    self->task = outer;
    self->context = outer_context;
    Py_XDECREF(kwnames);
    let_go_of_variables(variables);
    return result;
}

/* Name the item that failed, if it was given a name. */
static void note_name(Task *task, GroupState *group, PyObject *exception) {
    PyObject *name = given_name(task);
    if (!name)
        return;
    PyObject *note = group->name ? PyUnicode_FromFormat("in task %R of group %R", name, group->name)
                                 : PyUnicode_FromFormat("in task %R", name);
    PyObject *result = note ? PyObject_CallMethod(exception, "add_note", "O", note) : NULL;
    if (!result)
        PyErr_Clear();
    Py_XDECREF(result);
    Py_XDECREF(note);
}

/* True if `exception` says that its task stopped because it was told to: a Cancelled, or an ExceptionGroup of nothing
 * else. */
static bool is_stop(state *st, PyObject *exception) {
    if (PyErr_GivenExceptionMatches(exception, st->cancelled_error))
        return true;
    if (!PyErr_GivenExceptionMatches(exception, PyExc_BaseExceptionGroup))
        return false;
    PyObject *parts = PyObject_GetAttrString(exception, "exceptions");
    bool all = parts && PyTuple_Check(parts);
    for (Py_ssize_t i = 0; all && i < PyTuple_GET_SIZE(parts); i++)
        all = is_stop(st, PyTuple_GET_ITEM(parts, i));
    Py_XDECREF(parts);
    PyErr_Clear();
    return all;
}

/* The error of the core for an exception of `task`, whose outcome it is. The context holds the task, unless the core is
 * certain to let go of the error. */
static wg_error *error_of_task(Task *task, GroupState *group, PyObject *exception) {
    bool stop = is_stop(group->st, exception);
    if (stop && wg_context_status(group->context->core) != WG_OK)
        return wg_error_cancelled();
    wg_error *foreign = foreign_error_of(group->st, exception);
    if (foreign)
        return foreign;
    return context_carry(group->context, (PyObject *)task, stop ? WG_ERROR_STOP : WG_ERROR_FAILURE);
}

wg_error *task_keep_result(Task *task, GroupState *group, PyObject *fn, PyObject *result) {
    if (result) {
        keep_outcome(task, fn, result, NULL);
        forget_call(task);
        return NULL;
    }
    PyObject *exception = PyErr_GetRaisedException();
    note_name(task, group, exception);
    keep_outcome(task, fn, exception, PyException_GetTraceback(exception));
    wg_error *error = error_of_task(task, group, exception);
    forget_call(task);
    return error;
}

static wg_error *run_in_group(void *arg, wg_context *Py_UNUSED(ctx)) {
    Task *task = arg;
    GroupState *group = (GroupState *)task->owner;
    wg_error *error = NULL;
    attachment a;
    if (!attach(group->st, &a))
        return wg_error_cancelled();
    if (task_leave_queue(task, RUNNING)) {
        atomic_fetch_add(&group->inside, 1);
        PyObject *fn, *result = run_function(task, group, &fn);
        atomic_fetch_sub(&group->inside, 1);
        /* Here, where the core knows that a wait for the group would be for this task as well, it forgets its call. */
        error = task_keep_result(task, group, fn, result);
    }
    detach(group->st, &a);
    return error;
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

static wg_error *run_loose(void *arg, wg_context *Py_UNUSED(ctx)) {
    Task *task = arg;
    state *st = task_state(task);
    attachment a;
    if (!attach(st, &a))
        return NULL;
    if (task_leave_queue(task, RUNNING)) {
        PyObject *fn, *result = run_function(task, NULL, &fn);
        PyObject *exception = result ? NULL : PyErr_GetRaisedException();
        keep_outcome(task, fn, NULL, NULL); /* nobody asks for it */
        Py_XDECREF(result);
        if (exception)
            report(st, exception);
    }
    detach(st, &a);
    return NULL;
}

/* What the core's word means here. */
static task_status status_of(Task *task, wg_how how) {
    switch (get_status(task)) {
    case QUEUED:
    case WITHDRAWN: return NEVER_STARTED;
    default: return how == WG_SUCCEEDED ? SUCCEEDED : how == WG_TASK_FAILED ? FAILED : STOPPED;
    }
}

/* A Cancelled that result() raises outside tells of the end of the task's group, wherever the task had it from. */
static void adopt_cancelled(Task *task, GroupState *group) {
    PyObject *exception = task->outcome.value;
    if (PyErr_GivenExceptionMatches(exception, group->st->cancelled_error) &&
        PyObject_SetAttr(exception, group->st->context_attribute, (PyObject *)group->context) < 0)
        PyErr_Clear();
}

void task_settle(Task *task, wg_how how) {
    task_status status = status_of(task, how);
    GroupState *group = is_in_group(task) ? (GroupState *)task->owner : NULL;
    if (get_status(task) != RETURNED)
        keep_no_outcome(task);
    if (group && status == STOPPED)
        adopt_cancelled(task, group);
    set_status(task, status);
    PyObject *value = task->outcome.value;
    if (value && (status != SUCCEEDED || PyObject_IS_GC(value)))
        PyObject_GC_Track(task);
    forget_call(task);
    if (group && status == FAILED)
        group_report_late(group, task);
}

/* `action(task, how)` in this thread, whatever it was doing. */
static void settled(void *arg, wg_how how) {
    Task *task = arg;
    state *st = task_state(task);
    attachment a;
    if (!attach(st, &a))
        return; /* the interpreter is going away, and all its objects with it */
    PyObject *raised = PyErr_GetRaisedException();
    task_settle(task, how);
    if (raised)
        PyErr_SetRaisedException(raised);
    detach(st, &a);
}

static void ended(void *arg) {
    Task *task = arg;
    state *st = task_state(task);
    attachment a;
    if (!attach(st, &a))
        return;
    PyObject *raised = PyErr_GetRaisedException();
    task_end(task);
    Py_DECREF(task);
    if (raised)
        PyErr_SetRaisedException(raised);
    detach(st, &a);
}

wg_task task_for_core(Task *task) {
    const char *name = task->arguments[0] ? PyUnicode_AsUTF8(task->arguments[0]) : NULL;
    if (!name)
        PyErr_Clear();
    return (wg_task){
        .fn = is_in_group(task) ? run_in_group : run_loose,
        .arg = task,
        .settled = settled,
        .ended = ended,
        .pool = task_state(task)->pool,
        .name = name,
    };
}

static int task_traverse(Task *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->owner);
    Py_VISIT(self->callbacks);
    Py_VISIT(self->outcome.value); /* a task is tracked only once it has one */
    Py_VISIT(self->outcome.traceback);
    return 0;
}

/* Only an exception or a result can be part of a cycle: each has its own way of being cleared, but containers of
 * results, such as tuples, may not. */
static int task_clear(Task *self) {
    if (get_status(self) == SUCCEEDED) {
        PyObject *result = self->outcome.value;
        self->outcome.value = Py_NewRef(Py_None);
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
    Py_XDECREF(self->outcome.name);
    elsewhere_clear(self);
    Py_XDECREF(self->callbacks);
    Py_XDECREF(self->outcome.value);
    Py_XDECREF(self->outcome.traceback);
    PyObject_GC_Del(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

/* --- What users ask --- */

/* True once `ended` was called; and already when its outcome is there and its group has no unfinished task, so that after
 * the group's wait() every task shows as ended. */
static bool has_ended(Task *self) {
    if (wg_count(&self->unended) == 0)
        return true;
    guard_take(&self->lock);
    bool over = self->ended;
    if (!over && get_status(self) >= SUCCEEDED && is_in_group(self))
        over = group_unfinished((GroupState *)self->owner) == 0;
    guard_give(&self->lock);
    return over;
}

struct wait_for_task {
    Task *task;
    GroupState *group; /* a reference, or NULL */
};

static wg_status call_wait(void *raw, const wg_until *until) {
    const struct wait_for_task *wait = raw;
    Task *task = wait->task;
    return wait->group ? wg_errgroup_wait_task(wait->group->core, task, &task->unended, until)
                       : wg_wait(&task->unended, until);
}

GroupState *task_group(Task *self) {
    guard_take(&self->lock);
    GroupState *group = self->owner && is_in_group(self) ? (GroupState *)Py_NewRef(self->owner) : NULL;
    guard_give(&self->lock);
    return group;
}

GroupState *group_of_this_task(state *st) {
    Task *task = self_thread()->task;
    PyObject *owner = task && task_state(task) == st ? task->owner : NULL;
    return owner && Py_TYPE(owner) == st->group_type ? (GroupState *)owner : NULL;
}

/* What a task is called in messages: "'fetch' of group 'pages'". */
static PyObject *label(Task *self) {
    PyObject *name = task_get_name(self, NULL), *label = NULL;
    if (!name)
        return NULL;
    GroupState *group = task_group(self);
    if (group && group->name)
        label = PyUnicode_FromFormat("%R of group %R", name, group->name);
    else
        label = PyObject_Repr(name);
    Py_XDECREF((PyObject *)group);
    Py_DECREF(name);
    return label;
}

/* Raise `class`, of a call that waits for the task. */
static void raise_of_wait(Task *self, PyObject *class, const char *call, const char *why) {
    PyObject *what = label(self);
    if (what)
        PyErr_Format(class, "%s: task %U %s", call, what, why);
    Py_XDECREF(what);
}

/* Wait for the end of the task. -1 with an exception set. */
static int wait_for_end(Task *self, int64_t deadline, Context *context, const char *call) {
    state *st = task_state(self);
    if (has_ended(self))
        return 0;
    if (self_thread()->task == self) {
        raise_of_wait(self, st->deadlock_error, call, "would wait for itself; another thread or task can wait for it");
        return -1;
    }
    struct wait_for_task wait = {self, task_group(self)};
    int status = block(st, call_wait, &wait, deadline, context ? context->core : NULL);
    Py_XDECREF((PyObject *)wait.group);
    switch (status) {
    case WG_OK: return 0;
    case RAISED: return -1;
    case WG_TIMEOUT:
        raise_of_wait(self, st->timeout_error, call,
                      get_status(self) < RUNNING && !task_is_elsewhere(self) ? "has not started in time"
                                                                             : "has not ended in time");
        return -1;
    case WG_DEADLOCK: raise_deadlock(st, call); return -1;
    case WG_CONTEXT_ENDED: raise_wait_ended(st, call, context); return -1;
    default: raise_status(st, status, call); return -1;
    }
}

/* Raise the exception of a task that has ended and failed or was stopped. */
static PyObject *raise_value(Task *self, const char *call) {
    PyObject *value = self->outcome.value, *traceback = self->outcome.traceback;
    if (get_status(self) != NEVER_STARTED) {
        PyException_SetTraceback(value, traceback ? traceback : Py_None);
        PyErr_SetRaisedException(Py_NewRef(value));
    } else if (value) {
        raise_ended((Context *)value, call, "task", self->outcome.name);
    } else {
        raise_of_wait(self, task_state(self)->cancelled_error, call, "cancelled by Task.cancel()");
    }
    return NULL;
}

static PyObject *task_result(Task *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char call[] = "Task.result()";
    int64_t deadline;
    Context *context;
    if (!parse_wait(task_state(self), call, args, nargs, kwnames, &deadline, &context) ||
        wait_for_end(self, deadline, context, call) < 0)
        return NULL;
    if (get_status(self) == SUCCEEDED)
        return Py_NewRef(self->outcome.value);
    atomic_store(&self->seen, true);
    return raise_value(self, call);
}

static PyObject *task_exception(Task *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char call[] = "Task.exception()";
    int64_t deadline;
    Context *context;
    if (!parse_wait(task_state(self), call, args, nargs, kwnames, &deadline, &context) ||
        wait_for_end(self, deadline, context, call) < 0)
        return NULL;
    switch (get_status(self)) {
    case SUCCEEDED: return Py_NewRef(Py_None);
    case FAILED: atomic_store(&self->seen, true); return Py_NewRef(self->outcome.value);
    default: return raise_value(self, call);
    }
}

static PyObject *task_succeeded(Task *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char call[] = "Task._succeeded()";
    int64_t deadline;
    Context *context;
    if (!parse_wait(task_state(self), call, args, nargs, kwnames, &deadline, &context) ||
        wait_for_end(self, deadline, context, call) < 0)
        return NULL;
    return PyBool_FromLong(get_status(self) == SUCCEEDED);
}

/* The exception of a task that has ended, for one that hands it on, and is told of it as little as this. */
static PyObject *task_failure(Task *self, PyObject *Py_UNUSED(unused)) {
    return Py_NewRef(has_ended(self) && get_status(self) == FAILED ? self->outcome.value : Py_None);
}

static PyObject *task_done(Task *self, PyObject *Py_UNUSED(unused)) { return PyBool_FromLong(has_ended(self)); }

static PyObject *task_cancelled(Task *self, PyObject *Py_UNUSED(unused)) {
    task_status status = get_status(self);
    return PyBool_FromLong((status == STOPPED || status == NEVER_STARTED) && has_ended(self));
}

static PyObject *task_running(Task *self, PyObject *Py_UNUSED(unused)) {
    return PyBool_FromLong((get_status(self) >= RUNNING || elsewhere_is_running(self)) && !has_ended(self));
}

static PyObject *task_cancel(Task *self, PyObject *Py_UNUSED(unused)) {
    if (task_is_elsewhere(self))
        elsewhere_cancel(self);
    else
        task_leave_queue(self, WITHDRAWN);
    return PyBool_FromLong(get_status(self) == WITHDRAWN || get_status(self) == NEVER_STARTED);
}

/* Have `fn` called at the end; false if that is over, or without memory with an exception set. */
static bool add_callback(Task *self, PyObject *fn) {
    PyObject *fresh = PyList_New(0);
    if (!fresh)
        return false;
    guard_take(&self->lock);
    bool added = !self->ended;
    if (added && !self->callbacks) {
        self->callbacks = fresh;
        fresh = NULL;
    }
    if (added)
        added = PyList_Append(self->callbacks, fn) == 0;
    guard_give(&self->lock);
    Py_XDECREF(fresh);
    return added;
}

static PyObject *task_add_done_callback(Task *self, PyObject *fn) {
    static const wg_until poll = {.deadline = WG_POLL};
    if (!check_callback(task_state(self), "Task.add_done_callback()", "with the task", fn))
        return NULL;
    if (wg_wait(&self->unended, &poll) == WG_FORKED)
        return raise_status(task_state(self), WG_FORKED, "Task.add_done_callback()");
    if (!add_callback(self, fn)) {
        if (PyErr_Occurred())
            return NULL;
        call_back(fn, self);
    }
    Py_RETURN_NONE;
}

static PyObject *task_remove_done_callback(Task *self, PyObject *fn) {
    bool removed = false;
    guard_take(&self->lock);
    for (Py_ssize_t i = self->callbacks ? PyList_GET_SIZE(self->callbacks) : 0; !removed && i > 0; i--)
        if (PyList_GET_ITEM(self->callbacks, i - 1) == fn) /* which the caller refers to, so nothing is destroyed */
            removed = PyList_SetSlice(self->callbacks, i - 1, i, NULL) == 0;
    guard_give(&self->lock);
    return PyBool_FromLong(removed);
}

PyObject *task_get_name(Task *self, void *Py_UNUSED(unused)) {
    guard_take(&self->lock);
    bool over = get_status(self) >= RETURNED;
    PyObject *name = Py_XNewRef(over ? self->outcome.name : given_name(self));
    PyObject *fn = name || over ? NULL : Py_NewRef(self->call.fn);
    guard_give(&self->lock);
    if (fn) {
        name = name_of_callable(task_state(self), fn);
        Py_DECREF(fn);
    } else if (!name) {
        name = PyUnicode_FromString("?");
    }
    return name;
}

static PyObject *task_repr(Task *self) {
    static const char *const words[] = {"queued",    "cancelled", "running", "running",
                                        "succeeded", "failed",    "stopped", "never started"};
    PyObject *what = label(self), *repr = NULL;
    if (!what)
        return NULL;
    task_status status = get_status(self);
    bool ended = has_ended(self);
    PyObject *value = self->outcome.value;
    if (ended && status == FAILED)
        repr = PyUnicode_FromFormat("<cwaitgroup.Task %U failed: %s>", what, Py_TYPE(value)->tp_name);
    else
        repr =
            PyUnicode_FromFormat("<cwaitgroup.Task %U %s>", what, words[ended || status < RUNNING ? status : RUNNING]);
    Py_DECREF(what);
    return repr;
}

static PyObject *task_await(PyObject *self) { return await_iterator(self, "wait_for_task"); }

PyDoc_STRVAR(task_doc, "A function that an ErrGroup runs, and what became of it.\n"
                       "\n"
                       "Made by ErrGroup.go(), try_go() and start(). Its type can be written Task[int].\n"
                       "`await task` waits for it in asyncio and trio, and is what result() returns.\n"
                       "\n"
                       ">>> with ErrGroup() as g:\n"
                       "...     task = g.go(pow, 2, 10)\n"
                       ">>> task.done(), task.result()\n"
                       "(True, 1024)\n"
                       "\n"
                       "All its methods may be called from any thread.");

PyDoc_STRVAR(task_result_doc,
             "result($self, /, timeout=None, *, context=None)\n"
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
             "the task started; WaitTimeout, a TimeoutError that no task raises, if `timeout` passes;\n"
             "Cancelled or DeadlineExceeded when `context` ends first, by default that of the task\n"
             "that calls; DeadlockError if it would never return; ValueError for a negative or\n"
             "NaN timeout; RuntimeError in the child of a fork.");

PyDoc_STRVAR(task_cancel_doc, "cancel($self, /)\n"
                              "--\n"
                              "\n"
                              "Keep the task from starting; its group and its other tasks go on.\n"
                              "\n"
                              "Returns True if the task will never run, False if it runs or has ended: nothing in\n"
                              "Python can stop a function, except that it looks at its context; see\n"
                              "ErrGroup.cancel(). A task kept from starting ends when its turn comes, and counts as\n"
                              "cancelled.\n"
                              "\n"
                              ">>> with ErrGroup() as g:\n"
                              "...     task = g.go(len, 'x')\n"
                              ">>> task.cancel()\n"
                              "False");

PyDoc_STRVAR(task_add_done_callback_doc,
             "add_done_callback($self, fn, /)\n"
             "--\n"
             "\n"
             "Call fn(task) once when the task has ended; at once if it has.\n"
             "\n"
             "It is called in the thread that ran the task, after its slot was given back, so\n"
             "that a wait for the group may have returned before; it should not block. An\n"
             "exception goes to sys.unraisablehook.\n"
             "\n"
             ">>> with ErrGroup() as g:\n"
             "...     g.go(abs, -3).add_done_callback(lambda task: print(task.result()))\n"
             "3\n"
             "\n"
             "Raises TypeError if `fn` cannot be called, RuntimeError in the child of a fork for a\n"
             "task of the parent.");

PyDoc_STRVAR(task_exception_doc, "exception($self, /, timeout=None, *, context=None)\n"
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
    {"cancel", (PyCFunction)task_cancel, METH_NOARGS, task_cancel_doc},
    {"add_done_callback", (PyCFunction)task_add_done_callback, METH_O, task_add_done_callback_doc},
    {"_succeeded", (PyCFunction)(void (*)(void))task_succeeded, METH_FASTCALL | METH_KEYWORDS,
     "_succeeded($self, /, timeout=None, *, context=None)\n--\n\nWait for the end; True if the function has returned."},
    {"_failure", (PyCFunction)task_failure, METH_NOARGS,
     "_failure($self, /)\n--\n\nThe exception of a task that has failed, or None; it still counts as unseen."},
    {"_remove_done_callback", (PyCFunction)task_remove_done_callback, METH_O,
     "_remove_done_callback($self, fn, /)\n--\n\nTake back one add_done_callback(fn), of this very object; True if it "
     "was there."},
    {"_run_here", (PyCFunction)(void (*)(void))task_run_here, METH_FASTCALL,
     "_run_here($self, fn, /, *args)\n--\n\nOf a task for an executor: fn(*args) in this thread, as the task."},
    {"_sent", (PyCFunction)task_sent, METH_O,
     "_sent($self, future, /)\n--\n\nOf a task for an executor: `future` is what it has returned."},
    {"_finish", (PyCFunction)task_finish, METH_O, "_finish($self, result, /)\n--\n\nThe executor has run it."},
    {"_fail", (PyCFunction)task_fail, METH_O,
     "_fail($self, exception, /)\n--\n\nIt has raised an exception in the executor, or the executor has failed."},
    {"_drop", (PyCFunction)task_drop, METH_NOARGS,
     "_drop($self, /)\n--\n\nThe executor has dropped it; False, and nothing else, if nobody had asked for that."},
    {"done", (PyCFunction)task_done, METH_NOARGS,
     "done($self, /)\n--\n\n"
     "True once the task has ended, in whatever way.\n\n"
     ">>> with ErrGroup() as g:\n...     task = g.go(len, 'x')\n>>> task.done()\nTrue"},
    {"cancelled", (PyCFunction)task_cancelled, METH_NOARGS,
     "cancelled($self, /)\n--\n\n"
     "True if the group's cancellation, or cancel(), kept it from starting, or ended it.\n\n"
     "Cancellation ended it if the function raised Cancelled after the group was cancelled.\n\n"
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
    {"name", (getter)task_get_name, NULL, "The name given to start(), or that of its function, a str.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef task_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Task, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot task_slots[] = {
    {Py_tp_dealloc, task_dealloc}, {Py_tp_traverse, task_traverse},
    {Py_tp_clear, task_clear},     {Py_tp_repr, task_repr},
    {Py_tp_doc, (void *)task_doc}, {Py_tp_methods, task_methods},
    {Py_tp_getset, task_getset},   {Py_tp_members, task_members},
    {Py_am_await, task_await},     {0, NULL},
};

PyType_Spec task_spec = {
    .name = "cwaitgroup.Task",
    .basicsize = offsetof(Task, arguments),
    .itemsize = sizeof(PyObject *),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = task_slots,
};
