/* compat.h - what changed in CPython's API between 3.11 and now, under its newest names. */
#ifndef CWAITGROUP_COMPAT_H
#define CWAITGROUP_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stddef.h>
#include <structmember.h>

#if PY_VERSION_HEX < 0x030C0000
static inline PyObject *PyErr_GetRaisedException(void) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (!type)
        return NULL;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback)
        PyException_SetTraceback(value, traceback);
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return value;
}

static inline void PyErr_SetRaisedException(PyObject *exception) {
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exception)), exception, PyException_GetTraceback(exception));
}
#endif

#if PY_VERSION_HEX < 0x030D0000
#define PyThreadState_GetUnchecked _PyThreadState_UncheckedGet
#define Py_BEGIN_CRITICAL_SECTION(op) {
#define Py_END_CRITICAL_SECTION() }
#endif

/* May this thread use Python? */
static inline bool thread_is_attached(void) {
#if PY_VERSION_HEX >= 0x030C0000
    return PyThreadState_GetUnchecked() != NULL;
#else
    return PyGILState_GetThisThreadState() && PyGILState_Check();
#endif
}

/* time.monotonic() in nanoseconds. */
static inline int64_t monotonic_now(void) {
#if PY_VERSION_HEX >= 0x030D0000
    PyTime_t now;
    return PyTime_MonotonicRaw(&now) == 0 ? now : 0;
#else
    return _PyTime_GetMonotonicClock();
#endif
}

/* A lock for fields that the GIL guards where there is one. Held for a few instructions that call nobody. */
#ifdef Py_GIL_DISABLED
typedef PyMutex guard;
#define guard_take(g) PyMutex_Lock(g)
#define guard_give(g) PyMutex_Unlock(g)
#else
typedef char guard;
#define guard_take(g) ((void)(g))
#define guard_give(g) ((void)(g))
#endif

#endif
