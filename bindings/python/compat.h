/* compat.h - what changed in CPython's API between 3.11 and now, under its newest names. */
#ifndef CWAITGROUP_COMPAT_H
#define CWAITGROUP_COMPAT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_getattr_np */
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
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

#if PY_VERSION_HEX < 0x030C0000
/* Does `address` lie on the stack of this thread? */
static inline bool on_this_stack(const void *address) {
    static _Thread_local char *low, *high;
    if (!high) {
        pthread_attr_t attributes;
        void *start;
        size_t size;
        if (pthread_getattr_np(pthread_self(), &attributes) != 0)
            return false;
        if (pthread_attr_getstack(&attributes, &start, &size) == 0) {
            low = start;
            high = low + size;
        }
        pthread_attr_destroy(&attributes);
    }
    return (const char *)address >= low && (const char *)address < high;
}
#endif

/* The thread state with which this thread is attached to an interpreter; NULL if it is not. PyGILState knows only one
 * state of a thread, and hosts with several interpreters have more.
 *
 * Python 3.11 cannot be asked: it knows which state has its one GIL, and not which thread that is. It is this thread if
 * that state is one that this thread has `let_go` of, or PyGILState knows it; or else if the frames that run are on this
 * thread's stack, or the state was made in this thread. */
static inline PyThreadState *thread_state_here(PyThreadState *let_go) {
    PyThreadState *state = PyThreadState_GetUnchecked();
#if PY_VERSION_HEX < 0x030C0000
    if (!state || state == let_go || state == PyGILState_GetThisThreadState())
        return state;
    if (let_go || !(on_this_stack(state->cframe) || state->thread_id == PyThread_get_thread_ident()))
        return NULL;
#endif
    (void)let_go;
    return state;
}

/* A lock for fields that the GIL guards where there is one. Held for a few instructions that call nobody and take no
 * other guard: see guard.c. */
typedef char guard;
#ifdef Py_GIL_DISABLED
void guard_take(guard *g);
void guard_give(guard *g);
#else
#define guard_take(g) ((void)(g))
#define guard_give(g) ((void)(g))
#endif
/* Around a fork. */
void guards_take_all(void);
void guards_give_all(void);

#endif
