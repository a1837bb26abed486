/* errgroup.c - cwaitgroup.ErrGroup, the user's handle, and Group, what its tasks refer to while they run. */
#include "binding.h"

typedef struct {
    PyObject_HEAD
    PyObject *weakrefs;
    Group *group;
    bool entered;
} ErrGroup;

/* --- Group --- */

void group_task_starts(Group *group, Task *task) {
    task->started = group->grace ? wg_now() : 0;
    task->previous = NULL;
    guard_take(&group->lock);
    task->next = group->running;
    if (task->next)
        task->next->previous = task;
    group->running = task;
    guard_give(&group->lock);
}

void group_task_stops(Group *group, Task *task) {
    guard_take(&group->lock);
    if (task->previous)
        task->previous->next = task->next;
    else
        group->running = task->next;
    if (task->next)
        task->next->previous = task->previous;
    task->next = NULL;
    guard_give(&group->lock);
}

/* Whoever waits for the next change looks again. Under the lock. */
static void tell_news(Group *group) {
    if (wg_count(&group->news) > 0)
        wg_done(&group->news);
}

void group_task_ended(Group *group, Task *task) {
    guard_take(&group->lock);
    if (group->ended)
        group->ended_last->next = task;
    else
        group->ended = task;
    group->ended_last = task;
    group->unended--;
    tell_news(group);
    guard_give(&group->lock);
}

/* The next task for as_completed(), or NULL; then *more tells whether there will be one. */
static Task *take_ended(Group *group, bool *more) {
    guard_take(&group->lock);
    Task *task = group->ended;
    if (task) {
        group->ended = task->next;
        task->next = NULL;
    } else if (group->unended > 0 && wg_count(&group->news) == 0) {
        wg_add(&group->news, 1);
    }
    *more = group->unended > 0;
    guard_give(&group->lock);
    return task;
}

static int group_traverse(Group *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->context);
    for (Task *task = self->ended; task; task = task->next)
        Py_VISIT(task);
    return 0;
}

static int group_clear(Group *self) {
    Task *task;
    bool more;
    while ((task = take_ended(self, &more)))
        Py_DECREF(task);
    return 0;
}

static void group_dealloc(Group *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    group_clear(self);
    Py_XDECREF(self->name);
    wg_errgroup_release(self->core);
    Py_XDECREF((PyObject *)self->context);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyType_Slot group_slots[] = {
    {Py_tp_dealloc, group_dealloc},
    {Py_tp_traverse, group_traverse},
    {Py_tp_clear, group_clear},
    {0, NULL},
};

PyType_Spec group_spec = {
    .name = "cwaitgroup._core.Group",
    .basicsize = sizeof(Group),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = group_slots,
};

/* DeadlockError of a call made from a task of the group, or from what its end sets off, a __del__ for example. Returns
 * NULL. */
static PyObject *raise_deadlock(Group *group, const char *call, const char *why) {
    Task *task = self_thread()->task;
    if (!task)
        return PyErr_Format(group->st->deadlock_error, "%s: called at the end of one of the group's own tasks, %s",
                            call, why);
    PyObject *name = task_get_name(task, NULL);
    if (name)
        PyErr_Format(group->st->deadlock_error, "%s: called from the group's own task %R, %s", call, name, why);
    Py_XDECREF(name);
    return NULL;
}

#define WAITS_FOR_ITSELF "which would wait for itself; wait outside of the group's tasks"

/* --- as_completed() --- */

typedef struct {
    PyObject_HEAD
    Group *group;
} Completed;

static PyObject *completed_new(Group *group) {
    Completed *self = PyObject_GC_New(Completed, group->st->completed_type);
    if (!self)
        return NULL;
    self->group = (Group *)Py_NewRef((PyObject *)group);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static wg_status call_wait(void *wg, const wg_until *until) { return wg_wait(wg, until); }

static PyObject *completed_next(Completed *self) {
    Group *group = self->group;
    for (;;) {
        bool more;
        Task *task = take_ended(group, &more);
        if (task || !more)
            return (PyObject *)task;
        if (runs_task_of((PyObject *)group))
            return raise_deadlock(group, "ErrGroup.as_completed()", WAITS_FOR_ITSELF);
        /* Tasks left behind in the parent of a fork will bring no news. */
        wg_until poll = {.deadline = WG_POLL};
        int status = wg_wait(wg_errgroup_tasks(group->core), &poll);
        if (status != WG_FORKED)
            status = block(group->st, call_wait, &group->news, WG_FOREVER, NULL);
        if (status == RAISED)
            return NULL;
        if (status != WG_OK)
            return raise_status(group->st, status, "ErrGroup.as_completed()");
    }
}

static int completed_traverse(Completed *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->group);
    return 0;
}

static void completed_dealloc(Completed *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_DECREF((PyObject *)self->group);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyType_Slot completed_slots[] = {
    {Py_tp_dealloc, completed_dealloc},
    {Py_tp_traverse, completed_traverse},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, completed_next},
    {0, NULL},
};

PyType_Spec completed_spec = {
    .name = "cwaitgroup._core.Completed",
    .basicsize = sizeof(Completed),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = completed_slots,
};

/* --- Making --- */

/* A limit: an int above zero, or None for none, which is WG_NO_LIMIT. */
static bool limit_from_object(PyObject *object, int *limit) {
    *limit = WG_NO_LIMIT;
    if (!object || object == Py_None)
        return true;
    if (!PyIndex_Check(object)) {
        PyErr_Format(PyExc_TypeError, "limit must be an int, or None for no limit, not %.200s",
                     Py_TYPE(object)->tp_name);
        return false;
    }
    int overflow;
    long long n = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (n == -1 && PyErr_Occurred())
        return false;
    if (overflow < 0 || (!overflow && n < 1)) {
        PyErr_Format(PyExc_ValueError, "limit must be at least 1, or None for no limit; got %R", object);
        return false;
    }
    if (!overflow && n < WG_NO_LIMIT)
        *limit = (int)n;
    return true;
}

static bool errors_from_object(PyObject *object, bool *all) {
    *all = false;
    if (!object || (PyUnicode_Check(object) && PyUnicode_CompareWithASCIIString(object, "first") == 0))
        return true;
    *all = PyUnicode_Check(object) && PyUnicode_CompareWithASCIIString(object, "all") == 0;
    if (!*all)
        PyErr_Format(PyExc_ValueError, "errors must be 'first' or 'all', not %R", object);
    return *all;
}

/* The object of the core and its Context. */
static int group_make(Group *group, Context *parent, const wg_errgroup_options *options) {
    state *st = group->st;
    wg_status status = wg_errgroup_new(&group->core, options);
    if (status != WG_OK) {
        raise_status(st, status, "ErrGroup()");
        return -1;
    }
    group->context = context_wrap(st, wg_context_retain(wg_errgroup_context(group->core)), parent);
    return group->context ? 0 : -1;
}

static PyObject *errgroup_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"limit", "timeout", "grace", "context", "errors", "name", NULL};
    state *st = state_of_type(type);
    PyObject *limit = NULL, *timeout = NULL, *grace = NULL, *parent = Py_None, *errors = NULL, *name = Py_None;
    wg_errgroup_options options = {.pool = st->pool};
    int64_t grace_ns;
    bool all;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$OOOOO:ErrGroup", names, &limit, &timeout, &grace, &parent,
                                     &errors, &name) ||
        !limit_from_object(limit, &options.limit) || !deadline_from_timeout(timeout, "timeout", &options.deadline) ||
        !nanoseconds_from_timeout(grace, "grace", &grace_ns) || !errors_from_object(errors, &all))
        return NULL;
    if (parent != Py_None && Py_TYPE(parent) != st->context_type)
        return PyErr_Format(PyExc_TypeError, "context must be a Context or None, not %.200s", Py_TYPE(parent)->tp_name);
    if (name != Py_None && !PyUnicode_Check(name))
        return PyErr_Format(PyExc_TypeError, "name must be a str or None, not %.200s", Py_TYPE(name)->tp_name);
    Context *context = parent == Py_None ? context_of_this_task(st) : (Context *)parent;
    options.parent = context_core_or_base(st, context);
    options.grace = grace_ns == INT64_MAX ? 0 : grace_ns > 0 ? grace_ns : 1;

    Group *group = PyObject_GC_New(Group, st->group_type);
    if (!group)
        return NULL;
    group->st = st;
    group->core = NULL;
    group->context = NULL;
    group->name = name == Py_None ? NULL : Py_NewRef(name);
    group->grace = options.grace;
    group->all_errors = all;
    group->noted = group->left_behind = false;
    group->lock = (guard){0};
    group->running = group->ended = group->ended_last = NULL;
    group->unended = 0;
    group->news = (wg_waitgroup)WG_INIT;
    PyObject_GC_Track(group);
    ErrGroup *self = NULL;
    if (group_make(group, context, &options) == 0)
        self = (ErrGroup *)type->tp_alloc(type, 0);
    if (!self) {
        Py_DECREF((PyObject *)group);
        return NULL;
    }
    self->group = group;
    return (PyObject *)self;
}

static int errgroup_traverse(ErrGroup *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->group);
    return 0;
}

static void errgroup_finalize(ErrGroup *self) {
    PyObject *raised = PyErr_GetRaisedException();
    Py_ssize_t unended = self->group->unended;
    if (unended > 0 && !self->group->left_behind && !atomic_load(&self->group->st->closing) &&
        PyErr_ResourceWarning((PyObject *)self, 1,
                              "%R was dropped with %zd unfinished tasks: wait for it, or use it in a with statement",
                              self, unended) < 0)
        PyErr_WriteUnraisable((PyObject *)self);
    if (raised)
        PyErr_SetRaisedException(raised);
}

static void errgroup_dealloc(ErrGroup *self) {
    if (PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0)
        return;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs)
        PyObject_ClearWeakRefs((PyObject *)self);
    Py_XDECREF((PyObject *)self->group);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *errgroup_repr(ErrGroup *self) {
    int inside = Py_ReprEnter((PyObject *)self); /* of an error that refers to its group */
    if (inside)
        return inside > 0 ? PyUnicode_FromString("<cwaitgroup.ErrGroup ...>") : NULL;
    Group *group = self->group;
    wg_errgroup_counts counts = wg_errgroup_get_counts(group->core);
    int limit = wg_errgroup_limit(group->core);
    char limited[32] = "";
    if (limit)
        snprintf(limited, sizeof limited, " limit=%d", limit);
    PyObject *end = PyUnicode_FromString(""), *repr = NULL;
    wg_error *first;
    if (wg_errgroup_errors(group->core, &first, 1) > 0 && wg_error_value(first))
        Py_SETREF(end, PyUnicode_FromFormat(" error=%R", ((Task *)wg_error_value(first))->value));
    else if (wg_context_status(group->context->core) != WG_OK)
        Py_SETREF(end, PyUnicode_FromString(" ended"));
    if (end)
        repr = PyUnicode_FromFormat("<cwaitgroup.ErrGroup%s%V pending=%lu running=%lu completed=%lu%s%U>",
                                    group->name ? " " : "", group->name, "", counts.pending, counts.running,
                                    counts.completed, limited, end);
    Py_XDECREF(end);
    Py_ReprLeave((PyObject *)self);
    return repr;
}

/* --- Starting tasks --- */

struct go_call {
    Group *group;
    Task *task;
};

static wg_status call_go(void *arg, const wg_until *until) {
    struct go_call *call = arg;
    if (until->deadline == WG_POLL)
        return wg_errgroup_try_go(call->group->core, task_run_in_group, call->task, task_destroy);
    return wg_errgroup_go(call->group->core, task_run_in_group, call->task, task_destroy, until);
}

static void count_task(Group *group, int step) {
    guard_take(&group->lock);
    group->unended += step;
    if (step < 0)
        tell_news(group);
    guard_give(&group->lock);
}

/* go() with WG_FOREVER, try_go() with WG_POLL. */
static PyObject *start_task(ErrGroup *self, const char *call, int64_t deadline, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames) {
    Group *group = self->group;
    Task *task = task_new(group->st, call, (PyObject *)group, args, nargs, kwnames);
    if (!task)
        return NULL;
    count_task(group, 1);
    struct go_call go = {group, task};
    int status = block(group->st, call_go, &go, deadline, NULL);
    if (status == WG_OK)
        return (PyObject *)task;
    count_task(group, -1);
    task_discard(task);
    switch (status) {
    case RAISED: return NULL;
    case WG_LIMIT: return Py_NewRef(Py_None);
    case WG_CANCELLED:
    case WG_DEADLINE_EXCEEDED: return raise_ended(group->context, "group");
    case WG_DEADLOCK:
        return raise_deadlock(group, call,
                              "and every task that the limit allows waits there for room; raise the limit, or use "
                              "try_go() inside tasks");
    default: return raise_status(group->st, status, call);
    }
}

static PyObject *errgroup_go(ErrGroup *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    return start_task(self, "ErrGroup.go()", WG_FOREVER, args, nargs, kwnames);
}

static PyObject *errgroup_try_go(ErrGroup *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    return start_task(self, "ErrGroup.try_go()", WG_POLL, args, nargs, kwnames);
}

static PyObject *errgroup_map(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs < 2)
        return PyErr_Format(PyExc_TypeError, "ErrGroup.map() takes a callable and at least one iterable");
    PyObject *tuple = PyTuple_New(nargs - 2 + 1), *result = NULL;
    if (tuple) {
        for (Py_ssize_t i = 1; i < nargs; i++)
            PyTuple_SET_ITEM(tuple, i - 1, Py_NewRef(args[i]));
        result = call_python("cwaitgroup._map", "map_in_group", (PyObject *[]){self, args[0], tuple}, 3);
        Py_DECREF(tuple);
    }
    return result;
}

/* --- Ending --- */

#define NAMED 20

/* "fetch, store (for 3.2 s)": the tasks that run, as many of them as one wants to read. NULL with an exception set. */
static PyObject *names_of_running(Group *group) {
    Task *tasks[NAMED];
    int64_t started[NAMED];
    int n = 0;
    guard_take(&group->lock);
    Task *task = group->running;
    for (; task && n < NAMED; task = task->next) {
        started[n] = task->started;
        tasks[n++] = (Task *)Py_NewRef((PyObject *)task);
    }
    bool more = task != NULL;
    guard_give(&group->lock);
    PyObject *text = PyUnicode_FromString(n ? "" : "none");
    for (int i = 0; i < n; i++) {
        PyObject *name = text ? task_get_name(tasks[i], NULL) : NULL;
        const char *comma = i ? ", " : "";
        long tenths = (long)((wg_now() - started[i]) / (WG_SECOND / 10));
        if (!name)
            Py_CLEAR(text);
        else if (started[i])
            Py_SETREF(text,
                      PyUnicode_FromFormat("%U%s%U (for %ld.%ld s)", text, comma, name, tenths / 10, tenths % 10));
        else
            Py_SETREF(text, PyUnicode_FromFormat("%U%s%U", text, comma, name));
        Py_XDECREF(name);
        Py_DECREF((PyObject *)tasks[i]);
    }
    if (text && more)
        Py_SETREF(text, PyUnicode_FromFormat("%U, ...", text));
    return text;
}

/* Add `note` to the exception that is set; takes the reference, which may be NULL with an exception set instead. */
static void add_note(PyObject *exception, PyObject *note) {
    PyObject *result = note ? PyObject_CallMethod(exception, "add_note", "O", note) : NULL;
    if (!result)
        PyErr_Clear(); /* the error itself matters more */
    Py_XDECREF(result);
    Py_XDECREF(note);
}

/* All errors so far: a tuple. */
static PyObject *errors_of(Group *group) {
    size_t n = wg_errgroup_errors(group->core, NULL, 0);
    wg_error **errors = PyMem_Calloc(n ? n : 1, sizeof *errors);
    if (!errors)
        return PyErr_NoMemory();
    size_t there = wg_errgroup_errors(group->core, errors, n);
    if (there < n)
        n = there;
    PyObject *tuple = PyTuple_New((Py_ssize_t)n);
    for (size_t i = 0; tuple && i < n; i++) {
        Task *task = wg_error_value(errors[i]);
        PyObject *exception = task ? Py_NewRef(task->value) : PyObject_CallNoArgs(PyExc_MemoryError);
        if (!exception)
            Py_CLEAR(tuple);
        else
            PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, exception);
    }
    PyMem_Free(errors);
    return tuple;
}

/* Once, tell the error to be raised of the others. */
static void note_others(Group *group, PyObject *exception) {
    PyObject *errors = errors_of(group), *others = errors ? PyList_New(0) : NULL;
    if (!others) {
        PyErr_Clear();
        Py_XDECREF(errors);
        return;
    }
    Py_ssize_t n = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(errors); i++) {
        PyObject *other = PyTuple_GET_ITEM(errors, i);
        if (other == exception || n++ >= 5)
            continue;
        PyObject *text = PyObject_Repr(other);
        if (!text || PyList_Append(others, text) < 0)
            PyErr_Clear();
        Py_XDECREF(text);
    }
    if (n > 0) {
        PyObject *comma = PyUnicode_FromString(", ");
        PyObject *text = comma ? PyUnicode_Join(comma, others) : NULL;
        if (text)
            add_note(exception, PyUnicode_FromFormat("%zd other task%s of the group failed too: %U%s", n,
                                                     n == 1 ? "" : "s", text, n > 5 ? ", ..." : ""));
        else
            PyErr_Clear();
        Py_XDECREF(text);
        Py_XDECREF(comma);
    }
    Py_DECREF(others);
    Py_DECREF(errors);
}

/* Set the exception for all errors: an ExceptionGroup, or a BaseExceptionGroup if need be. */
static void raise_all(Group *group) {
    PyObject *errors = errors_of(group);
    if (!errors)
        return;
    Py_ssize_t n = PyTuple_GET_SIZE(errors);
    PyObject *message = PyUnicode_FromFormat("%zd task%s of the group failed", n, n == 1 ? "" : "s");
    PyObject *exception =
        message ? PyObject_CallFunctionObjArgs(PyExc_BaseExceptionGroup, message, errors, NULL) : NULL;
    if (exception)
        PyErr_SetRaisedException(exception);
    Py_XDECREF(message);
    Py_DECREF(errors);
}

static void raise_first(Task *task) {
    if (!task) {
        PyErr_NoMemory();
        return;
    }
    PyObject *exception = task->value;
    PyException_SetTraceback(exception, task->traceback ? task->traceback : Py_None);
    PyErr_SetRaisedException(Py_NewRef(exception));
}

/* Tell of the tasks that the grace period has left behind: by a note on the exception that is set, or by a warning. */
static int tell_stragglers(Group *group) {
    unsigned long running = wg_errgroup_get_counts(group->core).running;
    if (running == 0)
        return 0;
    group->left_behind = true;
    PyObject *raised = PyErr_GetRaisedException();
    PyObject *names = names_of_running(group);
    PyObject *note = names ? PyUnicode_FromFormat("%lu task%s of the group still run%s after the grace period: %U",
                                                  running, running == 1 ? "" : "s", running == 1 ? "s" : "", names)
                           : NULL;
    Py_XDECREF(names);
    int result = 0;
    if (raised) {
        add_note(raised, note);
        PyErr_SetRaisedException(raised);
    } else {
        result = note ? PyErr_WarnFormat(PyExc_ResourceWarning, 1, "%U", note) : -1;
        Py_XDECREF(note);
    }
    return result;
}

/* Raise the outcome. -1 with an exception set, or 0. */
static int raise_outcome(Group *group, wg_status status, wg_error *first) {
    switch (status) {
    case WG_OK: return tell_stragglers(group);
    case WG_FAILED:
        if (group->all_errors) {
            raise_all(group);
            break;
        }
        raise_first(wg_error_value(first));
        break;
    default: raise_ended(group->context, "group"); break;
    }
    PyObject *raised = PyErr_GetRaisedException();
    bool note = !group->noted;
    group->noted = true;
    if (note && !group->all_errors)
        note_others(group, raised);
    PyErr_SetRaisedException(raised);
    if (note)
        tell_stragglers(group);
    return -1;
}

struct wait_call {
    wg_errgroup *core;
    wg_error *first;
};

static wg_status call_group_wait(void *arg, const wg_until *until) {
    struct wait_call *call = arg;
    return wg_errgroup_wait(call->core, until, &call->first);
}

/* With the exception of an interrupted wait set: cancel the group for it and let the tasks unwind. A second interrupt
 * ends that too. Leaves an exception set. */
static void unwind(Group *group) {
    PyObject *interrupt = PyErr_GetRaisedException();
    struct wait_call call = {group->core, NULL};
    if (context_cancel_with(group->context, interrupt) < 0)
        PyErr_Clear();
    int status = block(group->st, call_group_wait, &call, WG_FOREVER, NULL);
    if (status == RAISED) {
        PyObject *second = PyErr_GetRaisedException();
        PyException_SetContext(second, interrupt);
        PyErr_SetRaisedException(second);
        return;
    }
    PyErr_SetRaisedException(interrupt);
    tell_stragglers(group);
}

/* Wait and raise the outcome. -1 with an exception set, or 0. */
static int wait_and_raise(Group *group, int64_t deadline) {
    struct wait_call call = {group->core, NULL};
    int status = block(group->st, call_group_wait, &call, deadline, NULL);
    switch (status) {
    case WG_OK:
    case WG_FAILED:
    case WG_CANCELLED:
    case WG_DEADLINE_EXCEEDED: return raise_outcome(group, status, call.first);
    case RAISED: unwind(group); return -1;
    case WG_TIMEOUT: {
        PyObject *names = names_of_running(group);
        if (names)
            PyErr_Format(PyExc_TimeoutError, "ErrGroup.wait(): %zd unfinished task%s; running: %U", group->unended,
                         group->unended == 1 ? "" : "s", names);
        Py_XDECREF(names);
        return -1;
    }
    case WG_DEADLOCK: raise_deadlock(group, "ErrGroup.wait()", WAITS_FOR_ITSELF); return -1;
    default: raise_status(group->st, status, "ErrGroup.wait()"); return -1;
    }
}

static PyObject *errgroup_wait(ErrGroup *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int64_t deadline;
    if (!parse_wait(self->group->st, "wait()", args, nargs, kwnames, &deadline, NULL) ||
        wait_and_raise(self->group, deadline) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

static PyObject *errgroup_cancel(ErrGroup *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"cause", NULL};
    PyObject *cause = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:cancel", names, &cause) ||
        !check_cause("ErrGroup.cancel()", cause, &cause) || context_cancel_with(self->group->context, cause) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

static PyObject *errgroup_enter(ErrGroup *self, PyObject *Py_UNUSED(unused)) {
    if (self->entered)
        return PyErr_Format(PyExc_RuntimeError, "an ErrGroup can be entered only once; make a new one");
    self->entered = true;
    return Py_NewRef((PyObject *)self);
}

/* True if `exception` is a Cancelled that this group's own end has raised: of its context, or of one that has ended
 * with it, such as that of a group inside of it. */
static bool is_own_end(Group *group, PyObject *exception) {
    if (!PyErr_GivenExceptionMatches(exception, group->st->cancelled_error))
        return false;
    PyObject *object = PyObject_GetAttr(exception, group->st->context_attribute);
    if (!object)
        PyErr_Clear();
    bool own = false;
    if (object && Py_TYPE(object) == group->st->context_type)
        own = context_ended_with((Context *)object, group->context);
    Py_XDECREF(object);
    return own;
}

/* The block has raised `exception`: it cancels the group, and wins; but if it only tells of the group's own end, it
 * gives way to the reason of that. */
static PyObject *errgroup_abort(ErrGroup *self, PyObject *exception) {
    Group *group = self->group;
    if (!PyExceptionInstance_Check(exception))
        return PyErr_Format(PyExc_TypeError, "ErrGroup._abort() takes an exception, not %R", exception);
    bool own = is_own_end(group, exception);
    if (!own && context_cancel_with(group->context, exception) < 0)
        return NULL;
    return PyBool_FromLong(own);
}

static PyObject *errgroup_exit(ErrGroup *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 3)
        return PyErr_Format(PyExc_TypeError, "ErrGroup.__exit__() takes 3 arguments, not %zd", nargs);
    PyObject *exception = args[1];
    bool wins = false;
    if (exception != Py_None) {
        PyObject *own = errgroup_abort(self, exception);
        if (!own)
            return NULL;
        wins = own == Py_False;
        Py_DECREF(own);
    }
    if (!wins) /* an exception that gives way, and there is none to give way to, was about a stop the user asked for */
        return wait_and_raise(self->group, WG_FOREVER) < 0 ? NULL : PyBool_FromLong(exception != Py_None);
    struct wait_call call = {self->group->core, NULL};
    int status = block(self->group->st, call_group_wait, &call, WG_FOREVER, NULL);
    if (status == RAISED) {
        if (!PyErr_GivenExceptionMatches(exception, PyExc_KeyboardInterrupt))
            unwind(self->group);
        return NULL;
    }
    if (!self->group->noted) { /* else the exception comes from wait() or map() */
        self->group->noted = true;
        note_others(self->group, exception);
        PyErr_SetRaisedException(Py_NewRef(exception));
        tell_stragglers(self->group);
        PyErr_Clear();
    }
    return Py_NewRef(Py_False);
}

static PyObject *errgroup_finished(ErrGroup *self, PyObject *Py_UNUSED(unused)) {
    Group *group = self->group;
    struct wait_call call = {group->core, NULL};
    wg_status status = call_group_wait(&call, &(wg_until){.deadline = WG_POLL});
    switch (status) {
    case WG_OK:
    case WG_FAILED:
    case WG_CANCELLED:
    case WG_DEADLINE_EXCEEDED: return Py_NewRef(Py_True);
    case WG_TIMEOUT: return Py_NewRef(Py_False);
    case WG_DEADLOCK: return raise_deadlock(group, "await", WAITS_FOR_ITSELF);
    default: return raise_status(group->st, status, "await");
    }
}

static PyObject *errgroup_as_completed(ErrGroup *self, PyObject *Py_UNUSED(unused)) {
    return completed_new(self->group);
}

static PyObject *errgroup_aexit(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 3)
        return PyErr_Format(PyExc_TypeError, "ErrGroup.__aexit__() takes 3 arguments, not %zd", nargs);
    return call_python("cwaitgroup._async", "leave_group", (PyObject *[]){self, args[0], args[1], args[2]}, 4);
}

static PyObject *errgroup_aenter(PyObject *self, PyObject *Py_UNUSED(unused)) {
    return call_python("cwaitgroup._async", "enter_group", &self, 1);
}

static PyObject *errgroup_await(PyObject *self) { return await_iterator(self, "wait_for_group"); }

static PyObject *errgroup_observe(ErrGroup *self, PyObject *fn) {
    Group *group = self->group;
    return callback_new(group->st, NULL, wg_errgroup_tasks(group->core), (PyObject *)group, fn);
}

/* --- Attributes --- */

static PyObject *errgroup_get_context(ErrGroup *self, void *Py_UNUSED(unused)) {
    return Py_NewRef((PyObject *)self->group->context);
}

static PyObject *errgroup_get_errors(ErrGroup *self, void *Py_UNUSED(unused)) { return errors_of(self->group); }

static PyObject *errgroup_get_name(ErrGroup *self, void *Py_UNUSED(unused)) {
    return Py_NewRef(self->group->name ? self->group->name : Py_None);
}

static PyObject *errgroup_get_limit(ErrGroup *self, void *Py_UNUSED(unused)) {
    int limit = wg_errgroup_limit(self->group->core);
    return limit ? PyLong_FromLong(limit) : Py_NewRef(Py_None);
}

static int errgroup_set_limit(ErrGroup *self, PyObject *object, void *Py_UNUSED(unused)) {
    int limit;
    if (!object) {
        PyErr_SetString(PyExc_TypeError, "limit cannot be deleted; set it to None for no limit");
        return -1;
    }
    if (!limit_from_object(object, &limit))
        return -1;
    wg_errgroup_set_limit(self->group->core, limit);
    return 0;
}

static PyObject *errgroup_get_grace(ErrGroup *self, void *Py_UNUSED(unused)) {
    int64_t grace = self->group->grace;
    return grace ? PyFloat_FromDouble((double)grace / 1e9) : Py_NewRef(Py_None);
}

static PyObject *errgroup_get_pending(ErrGroup *self, void *Py_UNUSED(unused)) {
    return PyLong_FromUnsignedLong(wg_errgroup_get_counts(self->group->core).pending);
}

static PyObject *errgroup_get_running(ErrGroup *self, void *Py_UNUSED(unused)) {
    return PyLong_FromUnsignedLong(wg_errgroup_get_counts(self->group->core).running);
}

static PyObject *errgroup_get_completed(ErrGroup *self, void *Py_UNUSED(unused)) {
    return PyLong_FromUnsignedLong(wg_errgroup_get_counts(self->group->core).completed);
}

PyDoc_STRVAR(errgroup_doc, "ErrGroup(limit=None, *, timeout=None, grace=None, context=None, errors='first',\n"
                           "         name=None)\n"
                           "--\n"
                           "\n"
                           "Run functions in threads together; the first error stops the rest.\n"
                           "\n"
                           ">>> with ErrGroup(limit=2) as g:\n"
                           "...     tasks = [g.go(pow, 2, n) for n in range(5)]\n"
                           ">>> [task.result() for task in tasks]\n"
                           "[1, 2, 4, 8, 16]\n"
                           "\n"
                           "Leaving the block waits for all tasks, and raises the first error itself. When a\n"
                           "task fails, the group's context is cancelled: tasks that have not started never\n"
                           "start, go() refuses more, and running ones should stop by themselves, for example\n"
                           "because they look at current_context().cancelled() or sleep in its wait(). If the\n"
                           "block itself fails, that cancels the group too, and the block's exception wins.\n"
                           "\n"
                           "limit    how many tasks may be unfinished at once; go() blocks when there is no room\n"
                           "timeout  seconds until the group is cancelled, with DeadlineExceeded\n"
                           "grace    seconds that tasks get to end once the group is cancelled; then wait()\n"
                           "         leaves them behind, and says which\n"
                           "context  a Context whose end cancels the group; by default that of the task which\n"
                           "         makes the group, if one does\n"
                           "errors   'first', or 'all' to raise all errors together as an ExceptionGroup\n"
                           "name     shown in repr() and in the names of threads that run its tasks\n"
                           "\n"
                           "`async with` and `await g` do the same in asyncio and trio without blocking the\n"
                           "loop; cancelling the awaiting task cancels the group. A group is for one use: once\n"
                           "wait() has given the outcome, it takes no more tasks. Finished tasks are kept for\n"
                           "as_completed(); for an endless stream of tasks use WaitGroup.go(), which keeps none.\n"
                           "\n"
                           "Raises ValueError for a limit below 1, a negative or NaN time, or an unknown\n"
                           "`errors`. All its methods may be called from any thread.");

PyDoc_STRVAR(errgroup_go_doc, "go($self, fn, /, *args, **kwargs)\n"
                              "--\n"
                              "\n"
                              "Run fn(*args, **kwargs) in a worker thread; returns its Task.\n"
                              "\n"
                              "It runs in a copy of the caller's contextvars. At the limit go() blocks until there\n"
                              "is room or the group is cancelled. Whatever the function raises, also SystemExit\n"
                              "and KeyboardInterrupt, is the task's error; but a Cancelled that it raises once the\n"
                              "group is cancelled only says that it stopped.\n"
                              "\n"
                              ">>> g = ErrGroup()\n"
                              ">>> task = g.go(sorted, 'cab', reverse=True)\n"
                              ">>> g.wait()\n"
                              ">>> task.result()\n"
                              "['c', 'b', 'a']\n"
                              "\n"
                              "Raises Cancelled (or DeadlineExceeded), with the cause, if the group is cancelled;\n"
                              "TypeError if `fn` cannot be called or is async; DeadlockError if it could never\n"
                              "return, since every task that the limit allows waits in go() itself; RuntimeError if\n"
                              "the group is finished, no thread can be started, or the interpreter is shutting\n"
                              "down. Ctrl-C interrupts it at once.");

PyDoc_STRVAR(errgroup_try_go_doc, "try_go($self, fn, /, *args, **kwargs)\n"
                                  "--\n"
                                  "\n"
                                  "As go(), but never blocks: returns None if there is no room now.\n"
                                  "\n"
                                  ">>> with ErrGroup(limit=1) as g:\n"
                                  "...     first = g.go(g.context.wait)\n"
                                  "...     print(g.try_go(print, 'no room'))\n"
                                  "...     g.cancel()\n"
                                  "None\n"
                                  "\n"
                                  "Raises what go() raises.");

PyDoc_STRVAR(errgroup_map_doc, "map($self, fn, /, *iterables)\n"
                               "--\n"
                               "\n"
                               "Run fn for each item, as the built-in map(); wait; return the results in order.\n"
                               "\n"
                               "It stops with the shortest iterable, takes items only as fast as the limit lets\n"
                               "tasks start, and waits for its own tasks only, so the group can be used on.\n"
                               "\n"
                               ">>> with ErrGroup(limit=2) as g:\n"
                               "...     g.map(pow, [2, 3], [5, 2])\n"
                               "[32, 9]\n"
                               "\n"
                               "Raises the group's first error, Cancelled if the group is cancelled, and what go()\n"
                               "raises; if an iterable raises, that cancels the group. In a task of the group, where\n"
                               "the outcome is not known yet, an error raises Cancelled, whose cause it is.");

PyDoc_STRVAR(errgroup_wait_doc, "wait($self, /, timeout=None)\n"
                                "--\n"
                                "\n"
                                "Wait until every task has ended, and raise the first error, if there was one.\n"
                                "\n"
                                "`timeout` is in seconds; None waits for ever and 0 only looks. With the outcome the\n"
                                "group ends; later calls give the same outcome.\n"
                                "\n"
                                ">>> g = ErrGroup()\n"
                                ">>> task = g.go(int, 'x')\n"
                                ">>> g.wait()\n"
                                "Traceback (most recent call last):\n"
                                "ValueError: invalid literal for int() with base 10: 'x'\n"
                                "\n"
                                "Raises the first error itself (a note tells of others; see `errors`), or with\n"
                                "errors='all' an ExceptionGroup; Cancelled if the group was cancelled with a cause or\n"
                                "by its parent; DeadlineExceeded; TimeoutError if `timeout` passes, which is no\n"
                                "outcome; DeadlockError if called from a task of the group; ValueError for a negative\n"
                                "or NaN timeout; RuntimeError in the child of a fork. Ctrl-C cancels the group, lets\n"
                                "its tasks unwind, then raises KeyboardInterrupt; a second Ctrl-C raises at once.");

PyDoc_STRVAR(errgroup_cancel_doc,
             "cancel($self, /, cause=None)\n"
             "--\n"
             "\n"
             "Cancel the group's context: tasks not started never start, running ones are told.\n"
             "\n"
             "Without a cause it is a stop, not an error, and wait() returns normally. `cause`, an\n"
             "exception or a str, becomes the outcome unless a task fails before. The first call\n"
             "wins. It does not wait.\n"
             "\n"
             ">>> g = ErrGroup()\n"
             ">>> g.cancel('not today')\n"
             ">>> g.wait()\n"
             "Traceback (most recent call last):\n"
             "cwaitgroup.Cancelled: group cancelled: not today\n"
             "\n"
             "Raises TypeError for another cause.");

PyDoc_STRVAR(errgroup_as_completed_doc,
             "as_completed($self, /)\n"
             "--\n"
             "\n"
             "An iterator over the group's tasks, in the order in which they end.\n"
             "\n"
             "Each task comes once, from whichever iterator asks first; it is over when no task\n"
             "is left. The iteration blocks where no task has ended yet.\n"
             "\n"
             ">>> with ErrGroup() as g:\n"
             "...     for n in range(3):\n"
             "...         _ = g.go(abs, -n)\n"
             "...     print(sorted(task.result() for task in g.as_completed()))\n"
             "[0, 1, 2]\n"
             "\n"
             "The iteration raises DeadlockError in a task of the group, and RuntimeError in the\n"
             "child of a fork. Ctrl-C interrupts it at once.");

static PyMethodDef errgroup_methods[] = {
    {"go", (PyCFunction)(void (*)(void))errgroup_go, METH_FASTCALL | METH_KEYWORDS, errgroup_go_doc},
    {"try_go", (PyCFunction)(void (*)(void))errgroup_try_go, METH_FASTCALL | METH_KEYWORDS, errgroup_try_go_doc},
    {"map", (PyCFunction)(void (*)(void))errgroup_map, METH_FASTCALL, errgroup_map_doc},
    {"wait", (PyCFunction)(void (*)(void))errgroup_wait, METH_FASTCALL | METH_KEYWORDS, errgroup_wait_doc},
    {"cancel", (PyCFunction)(void (*)(void))errgroup_cancel, METH_VARARGS | METH_KEYWORDS, errgroup_cancel_doc},
    {"as_completed", (PyCFunction)errgroup_as_completed, METH_NOARGS, errgroup_as_completed_doc},
    {"_observe", (PyCFunction)errgroup_observe, METH_O,
     "_observe($self, fn, /)\n--\n\nCall `fn` once when no task is unfinished; returns stop(), as add_callback()."},
    {"_abort", (PyCFunction)errgroup_abort, METH_O,
     "_abort($self, exception, /)\n--\n\n"
     "Cancel the group because its block has raised `exception`. True if that only tells of the group's own end."},
    {"_finished", (PyCFunction)errgroup_finished, METH_NOARGS,
     "_finished($self, /)\n--\n\nEnd the group if its tasks have ended or its grace is over; True once there is an "
     "outcome."},
    {"__enter__", (PyCFunction)errgroup_enter, METH_NOARGS, "__enter__($self, /)\n--\n\nReturns the group; once."},
    {"__exit__", (PyCFunction)(void (*)(void))errgroup_exit, METH_FASTCALL,
     "__exit__($self, type, value, traceback, /)\n--\n\n"
     "Waits as wait() does, after cancelling the group if the block has failed."},
    {"__aenter__", (PyCFunction)errgroup_aenter, METH_NOARGS, "__aenter__($self, /)\n--\n\nReturns the group; once."},
    {"__aexit__", (PyCFunction)(void (*)(void))errgroup_aexit, METH_FASTCALL,
     "__aexit__($self, type, value, traceback, /)\n--\n\nAs __exit__(), without blocking the event loop."},
    {"__reduce__", refuse_pickle, METH_NOARGS, "__reduce__($self, /)\n--\n\nRefuses: it cannot be copied."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef errgroup_getset[] = {
    {"context", (getter)errgroup_get_context, NULL,
     "The group's Context, which ends with the group; in its tasks, current_context().", NULL},
    {"errors", (getter)errgroup_get_errors, NULL,
     "The exceptions of the tasks that have failed so far, a tuple in order of failing.", NULL},
    {"limit", (getter)errgroup_get_limit, (setter)errgroup_set_limit,
     "How many tasks may be unfinished at once, or None. May be set at any time: more\n"
     "room lets blocked go() calls in, less takes effect as tasks end.",
     NULL},
    {"name", (getter)errgroup_get_name, NULL, "The name given, or None.", NULL},
    {"pending", (getter)errgroup_get_pending, NULL, "How many tasks wait for a thread, just now.", NULL},
    {"running", (getter)errgroup_get_running, NULL, "How many tasks run, just now.", NULL},
    {"completed", (getter)errgroup_get_completed, NULL, "How many tasks have ended, in whatever way.", NULL},
    {"_grace", (getter)errgroup_get_grace, NULL, "The grace period in seconds, or None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef errgroup_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ErrGroup, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot errgroup_slots[] = {
    {Py_tp_new, errgroup_new},
    {Py_tp_dealloc, errgroup_dealloc},
    {Py_tp_finalize, errgroup_finalize},
    {Py_tp_traverse, errgroup_traverse},
    {Py_tp_repr, errgroup_repr},
    {Py_tp_doc, (void *)errgroup_doc},
    {Py_tp_methods, errgroup_methods},
    {Py_tp_getset, errgroup_getset},
    {Py_tp_members, errgroup_members},
    {Py_am_await, errgroup_await},
    {0, NULL},
};

PyType_Spec errgroup_spec = {
    .name = "cwaitgroup.ErrGroup",
    .basicsize = sizeof(ErrGroup),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = errgroup_slots,
};
