/* outcome.c - from the core's outcome of a group to exceptions. */
#include "binding.h"

/* --- The errors of the tasks --- */

/* The exception that an error of a task stands for, a new reference. */
static PyObject *exception_of(GroupState *group, wg_error *error) { return value_of_error(group->context, error); }

/* All errors of the core so far, borrowed from the group, in memory to be freed by PyMem_Free; NULL with an exception
 * set. Those that come meanwhile are left out. */
static wg_error **core_errors(GroupState *group, size_t *n) {
    *n = wg_errgroup_errors(group->core, NULL, 0);
    wg_error **errors = PyMem_Calloc(*n ? *n : 1, sizeof *errors);
    if (errors)
        wg_errgroup_errors(group->core, errors, *n);
    else
        PyErr_NoMemory();
    return errors;
}

PyObject *group_errors(GroupState *group) {
    size_t n;
    wg_error **errors = core_errors(group, &n);
    PyObject *tuple = errors ? PyTuple_New((Py_ssize_t)n) : NULL;
    for (size_t i = 0; tuple && i < n; i++) {
        PyObject *exception = exception_of(group, errors[i]);
        if (exception)
            PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, exception);
        else
            Py_CLEAR(tuple);
    }
    PyMem_Free(errors);
    return tuple;
}

/* The user is told of all errors so far. Returns how many of them nobody had been told of. */
static size_t mark_seen(GroupState *group) {
    size_t n, news = 0;
    wg_error **errors = core_errors(group, &n);
    if (!errors) {
        PyErr_Clear();
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        Task *task = task_of_error(group->st, errors[i]);
        news += task && !atomic_exchange(&task->seen, true);
        Py_XDECREF((PyObject *)task);
    }
    PyMem_Free(errors);
    return news;
}

PyObject *group_errors_seen(GroupState *group) {
    mark_seen(group);
    return group_errors(group);
}

/* --- Notes --- */

/* Add `note` to `exception`; takes the reference to the note, which may be NULL with an exception set instead. The
 * exception matters more than its note. */
static void add_note(PyObject *exception, PyObject *note) {
    PyObject *result = note ? PyObject_CallMethod(exception, "add_note", "O", note) : NULL;
    if (!result)
        PyErr_Clear();
    Py_XDECREF(result);
    Py_XDECREF(note);
}

/* More than that nobody wants to read. */
#define SHOWN 5

/* "Boom(), KeyError('b')": those of `errors` that are not `exception`; *n tells how many they are. */
static PyObject *text_of_others(PyObject *errors, PyObject *exception, Py_ssize_t *n) {
    PyObject *text = PyUnicode_FromString("");
    *n = 0;
    for (Py_ssize_t i = 0; text && i < PyTuple_GET_SIZE(errors); i++) {
        PyObject *other = PyTuple_GET_ITEM(errors, i);
        if (other == exception || (*n)++ >= SHOWN)
            continue;
        PyObject *shown = safe_repr(other);
        Py_SETREF(text, shown ? PyUnicode_FromFormat("%U%s%U", text, *n > 1 ? ", " : "", shown) : NULL);
        Py_XDECREF(shown);
    }
    return text;
}

/* Tell `exception` of the other errors of its group. */
static void note_others(GroupState *group, PyObject *exception) {
    Py_ssize_t n;
    PyObject *errors = group_errors(group);
    PyObject *text = errors ? text_of_others(errors, exception, &n) : NULL;
    if (!text)
        PyErr_Clear();
    else if (n > 0)
        add_note(exception, PyUnicode_FromFormat("%zd other task%s of the group failed too: %U%s", n, n == 1 ? "" : "s",
                                                 text, n > SHOWN ? ", ..." : ""));
    Py_XDECREF(text);
    Py_XDECREF(errors);
}

static PyObject *text_of_stragglers(GroupState *group, unsigned long n) {
    PyObject *names = group_names_of_running(group), *text = NULL;
    if (names)
        text = PyUnicode_FromFormat("%lu task%s of the group still run%s after the grace period: %U", n,
                                    n == 1 ? "" : "s", n == 1 ? "s" : "", names);
    Py_XDECREF(names);
    return text;
}

/* Tell of the tasks that the grace period has left behind: by a note on `exception`, or, if that is NULL, by a warning.
 * -1 with an exception set, or 0. */
static int tell_stragglers(GroupState *group, PyObject *exception) {
    unsigned long running = wg_errgroup_get_counts(group->core).running;
    if (running == 0)
        return 0;
    atomic_store(&group->left_behind, true);
    PyObject *text = text_of_stragglers(group, running);
    if (exception) {
        add_note(exception, text);
        return 0;
    }
    int result = text ? PyErr_WarnFormat(PyExc_ResourceWarning, 1, "%U", text) : -1;
    Py_XDECREF(text);
    return result;
}

/* True if `exception` only asks to leave, such as SystemExit, GeneratorExit and the CancelledError of an event loop: it is
 * not shown, and its notes with it. */
static bool is_not_shown(PyObject *exception) {
    return !PyErr_GivenExceptionMatches(exception, PyExc_Exception) &&
           !PyErr_GivenExceptionMatches(exception, PyExc_KeyboardInterrupt) &&
           !PyErr_GivenExceptionMatches(exception, PyExc_BaseExceptionGroup);
}

/* Report the first of the errors that is not `exception`, with which the block is left. */
static void report_beside(GroupState *group, PyObject *exception) {
    PyObject *errors = group_errors(group), *first = NULL;
    for (Py_ssize_t i = 0; errors && !first && i < PyTuple_GET_SIZE(errors); i++)
        if (PyTuple_GET_ITEM(errors, i) != exception)
            first = Py_NewRef(PyTuple_GET_ITEM(errors, i));
    Py_XDECREF(errors);
    if (!first) {
        PyErr_Clear();
        return;
    }
    note_others(group, first);
    PyObject *place = PyUnicode_FromFormat("an ErrGroup that was left by %s", Py_TYPE(exception)->tp_name);
    PyErr_SetRaisedException(first);
    PyErr_WriteUnraisable(place);
    Py_XDECREF(place);
}

/* Once for a group: tell the exception that leaves it of all that it does not show itself. */
static void note_all(GroupState *group, PyObject *exception, bool shows_errors) {
    size_t news = mark_seen(group);
    if (atomic_exchange(&group->noted, true))
        return;
    if (!shows_errors)
        note_others(group, exception);
    tell_stragglers(group, exception);
    if (news > 0 && is_not_shown(exception))
        report_beside(group, exception);
}

/* --- The outcome --- */

/* An ExceptionGroup of all errors, or a BaseExceptionGroup if need be. */
static PyObject *all_errors(GroupState *group) {
    PyObject *errors = group_errors(group), *exception = NULL;
    if (!errors)
        return NULL;
    Py_ssize_t n = PyTuple_GET_SIZE(errors);
    PyObject *message = PyUnicode_FromFormat("%zd task%s of the group failed", n, n == 1 ? "" : "s");
    if (message)
        exception = PyObject_CallFunctionObjArgs(PyExc_BaseExceptionGroup, message, errors, NULL);
    Py_XDECREF(message);
    Py_DECREF(errors);
    return exception;
}

/* The exception for an outcome that is not WG_OK, with the traceback that it had when it left its task. NULL with an
 * exception set. */
static PyObject *exception_of_outcome(GroupState *group, const char *call, wg_status status, wg_error *first) {
    if (status != WG_FAILED) {
        raise_ended(group->context, call, "group", group->name);
        return PyErr_GetRaisedException();
    }
    if (group->all_errors)
        return all_errors(group);
    PyObject *exception = exception_of(group, first);
    Task *task = task_of_error(group->st, first);
    if (exception && task)
        PyException_SetTraceback(exception, task->outcome.traceback ? task->outcome.traceback : Py_None);
    Py_XDECREF((PyObject *)task);
    return exception;
}

/* From now on nobody asks for the outcome any more: what fails late is reported. */
static void outcome_is_given(GroupState *group, const char *call) {
    const char *nobody = NULL;
    atomic_compare_exchange_strong(&group->outcome_given_by, &nobody, call);
    atomic_store(&group->abandoned, true);
}

/* Raise the outcome. -1 with an exception set, or 0. */
static int raise_outcome(GroupState *group, const char *call, wg_status status, wg_error *first) {
    outcome_is_given(group, call);
    if (status == WG_OK)
        return tell_stragglers(group, NULL);
    PyObject *exception = exception_of_outcome(group, call, status, first);
    if (!exception)
        return -1;
    note_all(group, exception, status == WG_FAILED && group->all_errors);
    PyErr_SetRaisedException(exception);
    return -1;
}

static bool is_outcome(int status) {
    return status == WG_OK || status == WG_FAILED || status == WG_CANCELLED || status == WG_DEADLINE_EXCEEDED;
}

/* --- Waiting --- */

struct wait_call {
    wg_errgroup *core;
    wg_error *first;
};

static wg_status call_wait(void *arg, const wg_until *until) {
    struct wait_call *call = arg;
    return wg_errgroup_wait(call->core, until, &call->first);
}

wg_status group_poll(GroupState *group) {
    wg_until once = poll_once(wg_context_root());
    return wg_errgroup_wait(group->core, &once, NULL);
}

/* With the exception of an interrupted wait set: cancel the group for it and let the tasks unwind. A second interrupt
 * ends that too. Leaves an exception set. */
static void unwind(GroupState *group, const char *call) {
    PyObject *interrupt = PyErr_GetRaisedException();
    struct wait_call wait = {group->core, NULL};
    if (context_cancel_with(group->context, interrupt) < 0)
        PyErr_Clear();
    int status = block(group->st, call_wait, &wait, WG_FOREVER, wg_context_root());
    if (status == RAISED) {
        PyObject *second = PyErr_GetRaisedException();
        PyException_SetContext(second, interrupt);
        PyErr_SetRaisedException(second);
        return;
    }
    outcome_is_given(group, call);
    note_all(group, interrupt, false);
    PyErr_SetRaisedException(interrupt);
}

static void raise_timeout(GroupState *group, const char *call) {
    PyObject *names = group_names_of_running(group);
    unsigned long n = group_unfinished(group);
    const char *of = group->name ? " of group " : "";
    PyObject *name = group->name ? PyObject_Repr(group->name) : PyUnicode_FromString("");
    if (names && name)
        PyErr_Format(group->st->timeout_error, "%s%s%U: %lu unfinished task%s; running: %U", call, of, name, n,
                     n == 1 ? "" : "s", names);
    Py_XDECREF(name);
    Py_XDECREF(names);
}

/* What a wait that ended with `status` raises. -1 with an exception set, or 0. */
static int conclude(GroupState *group, const char *call, int status, wg_error *first) {
    if (is_outcome(status))
        return raise_outcome(group, call, status, first);
    if (status == RAISED)
        unwind(group, call);
    else if (status == WG_TIMEOUT)
        raise_timeout(group, call);
    else
        group_raise_status(group, status, call);
    return -1;
}

int group_wait(GroupState *group, const char *call, int64_t deadline, Context *context) {
    struct wait_call wait = {group->core, NULL};
    int status = block(group->st, call_wait, &wait, deadline, context ? context->core : NULL);
    if (status == WG_CONTEXT_ENDED) {
        raise_wait_ended(group->st, call, context);
        return -1;
    }
    return conclude(group, call, status, wait.first);
}

/* --- Leaving a block --- */

/* The call in messages, and what has given the outcome. */
#define BLOCK "with ErrGroup"

/* Wait for the tasks at the end of a block. The end of the context of this thread's task cancels the group, with *ended, an
 * exception, as the cause; then the tasks are waited for all the same. */
static int wait_to_leave(GroupState *group, struct wait_call *wait, PyObject **ended) {
    int status = block(group->st, call_wait, wait, WG_FOREVER, NULL);
    *ended = NULL;
    if (status != WG_CONTEXT_ENDED)
        return status;
    raise_wait_ended(group->st, BLOCK, NULL);
    *ended = PyErr_GetRaisedException();
    if (context_cancel_with(group->context, *ended) < 0)
        PyErr_Clear();
    return block(group->st, call_wait, wait, WG_FOREVER, wg_context_root());
}

int group_leave(GroupState *group) {
    struct wait_call wait = {group->core, NULL};
    PyObject *ended;
    int status = wait_to_leave(group, &wait, &ended);
    int result = conclude(group, BLOCK, status, wait.first);
    if (ended && status != WG_FAILED && is_outcome(status)) {
        /* The context of the surrounding task has ended, and not that of the group: say so. */
        PyErr_SetRaisedException(ended);
        return -1;
    }
    Py_XDECREF(ended);
    return result;
}

int group_leave_with(GroupState *group, PyObject *exception) {
    struct wait_call wait = {group->core, NULL};
    PyObject *ended;
    int status = wait_to_leave(group, &wait, &ended);
    Py_XDECREF(ended);
    if (status == RAISED) {
        if (!PyErr_GivenExceptionMatches(exception, PyExc_KeyboardInterrupt))
            unwind(group, BLOCK);
        return -1;
    }
    outcome_is_given(group, BLOCK);
    note_all(group, exception, false);
    return 0;
}

/* True if `exception` is a Cancelled that the group's own end has raised: of its context, or of one that has ended with
 * it, such as that of a group inside of it. */
static bool is_own_cancelled(GroupState *group, PyObject *exception) {
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

/* True if `exception` is one of `errors`, a tuple. */
static bool is_among(PyObject *exception, PyObject *errors) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(errors); i++)
        if (PyTuple_GET_ITEM(errors, i) == exception)
            return true;
    return false;
}

/* True if `exception` is one of `errors`, or an ExceptionGroup of nothing else, as wait() raises it. */
static bool consists_of(PyObject *exception, PyObject *errors) {
    if (is_among(exception, errors))
        return true;
    PyObject *parts = NULL;
    if (PyErr_GivenExceptionMatches(exception, PyExc_BaseExceptionGroup))
        parts = PyObject_GetAttrString(exception, "exceptions");
    bool all = parts && PyTuple_CheckExact(parts);
    for (Py_ssize_t i = 0; all && i < PyTuple_GET_SIZE(parts); i++)
        all = is_among(PyTuple_GET_ITEM(parts, i), errors);
    Py_XDECREF(parts);
    PyErr_Clear();
    return all;
}

bool group_tells_of_own_end(GroupState *group, PyObject *exception) {
    if (is_own_cancelled(group, exception))
        return true;
    PyObject *errors = group_errors(group);
    bool own = errors && consists_of(exception, errors);
    if (!errors)
        PyErr_Clear();
    Py_XDECREF(errors);
    return own;
}

/* --- Errors that nobody asked for --- */

void group_report_lost(GroupState *group, PyObject *handle) {
    bool given = atomic_exchange(&group->abandoned, true);
    if (given || mark_seen(group) == 0)
        return;
    PyObject *exception = NULL;
    wg_error *first;
    if (wg_errgroup_errors(group->core, &first, 1) > 0)
        exception = exception_of_outcome(group, "ErrGroup", WG_FAILED, first);
    if (!exception) {
        PyErr_WriteUnraisable(handle);
        return;
    }
    note_all(group, exception, group->all_errors);
    PyErr_SetRaisedException(exception);
    PyErr_WriteUnraisable(handle);
    if (PyErr_ResourceWarning(handle, 1,
                              "%R was dropped after a task had failed, and nobody had waited for it: wait for it, or "
                              "use it in a with statement",
                              handle) < 0)
        PyErr_WriteUnraisable(handle);
}

void group_report_late(GroupState *group, Task *task) {
    if (!atomic_load(&group->abandoned) || atomic_exchange(&task->seen, true))
        return;
    PyErr_SetRaisedException(Py_NewRef(task->outcome.value));
    PyErr_WriteUnraisable((PyObject *)task);
    if (PyErr_ResourceWarning((PyObject *)task, 1,
                              "%R has failed after the outcome of its group had been given, or its group dropped",
                              task) < 0)
        PyErr_WriteUnraisable((PyObject *)task);
}
