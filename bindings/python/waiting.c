/* waiting.c - waits in event loops, told to the core: for dumps, and so that the deadlocks that they are part of are found.
 * python/cwaitgroup/_async.py begins and ends them. */
#include "binding.h"

#include <stdlib.h>
#include <string.h>

static const char capsule_name[] = "cwaitgroup._core.waiting";

static void end(PyObject *capsule) { free(wg_waiting_end(PyCapsule_GetPointer(capsule, capsule_name))); }

/* The end of a task; that of a plain wait group is only shown. */
static void set_task(wg_waiting_for *what, Task *task, GroupState *group) {
    what->group = group ? group->core : NULL;
    what->arg = group ? task : NULL;
    what->doubtful |= !group;
    what->text = group ? NULL : "a task";
}

/* *group: a reference that keeps what is waited for, or NULL. */
static bool set_event(state *st, wg_waiting_for *what, PyObject *subject, const char *event, GroupState **group) {
    if (Py_IS_TYPE(subject, st->task_type)) {
        *group = task_group((Task *)subject);
        set_task(what, (Task *)subject, *group);
    } else if (PyObject_TypeCheck(subject, st->waitgroup_type)) {
        what->event = wg_zero(waitgroup_core(subject));
    } else if (PyObject_TypeCheck(subject, st->errgroup_type)) {
        wg_errgroup *core = errgroup_core(subject);
        what->event = strcmp(event, "slot") == 0 ? wg_slot(core) : wg_outcome(core);
    } else {
        PyErr_Format(PyExc_TypeError, "_waiting_begin() takes a group or a task, not %R", subject);
        return false;
    }
    return true;
}

static PyObject *keep(wg_waiting *waiting) {
    PyObject *capsule = waiting ? PyCapsule_New(waiting, capsule_name, end) : Py_NewRef(Py_None);
    if (!capsule)
        free(wg_waiting_end(waiting));
    return capsule;
}

/* _waiting_begin(subject, event, context or None, doubtful, file, line). `event`: of a task, what the call is named. */
PyObject *waiting_begin(PyObject *module, PyObject *args) {
    state *st = PyModule_GetState(module);
    PyObject *subject, *context;
    wg_place place = {.language = "Python"};
    wg_waiting_for what = {.place = &place};
    const char *event;
    int doubtful;
    if (!PyArg_ParseTuple(args, "OsOpsi:_waiting_begin", &subject, &event, &context, &doubtful, &place.file,
                          &place.line))
        return NULL;
    what.doubtful = doubtful;
    if (context != Py_None && Py_IS_TYPE(context, st->context_type))
        what.context = ((Context *)context)->core;
    PyObject *name = self_thread()->task ? task_get_name(self_thread()->task, NULL) : NULL;
    place.task = name ? PyUnicode_AsUTF8(name) : NULL;
    PyErr_Clear();
    wg_waiting *waiting = NULL;
    char *report = NULL;
    GroupState *group = NULL;
    keep_report(NULL);
    bool valid = set_event(st, &what, subject, event, &group);
    wg_status status = valid ? wg_waiting_begin(&waiting, &what, &report) : WG_INVALID;
    Py_XDECREF(
        (PyObject *)group); /* the caller keeps the task, and its group lives as long as the task is unfinished */
    Py_XDECREF(name);
    if (status == WG_DEADLOCK) {
        keep_report(report);
        raise_deadlock(st, what.arg ? event : "await");
    }
    free(report);
    return PyErr_Occurred() ? NULL : keep(waiting);
}

PyObject *waiting_end(PyObject *Py_UNUSED(module), PyObject *waiting) {
    wg_waiting *core = waiting == Py_None ? NULL : PyCapsule_GetPointer(waiting, capsule_name);
    if (core && PyCapsule_SetDestructor(waiting, NULL) == 0) {
        PyCapsule_SetName(waiting, "ended");
        char *report = wg_waiting_end(core);
        keep_report(report); /* for the call that asks what came of the wait for a slot */
        free(report);
    }
    PyErr_Clear();
    return Py_NewRef(Py_None);
}
