/* convert.c - Python's numbers, functions and exceptions from and to the core's. */
#include "binding.h"

#include <math.h>

/* `object` as seconds, infinite if no float is large enough; -1 with an exception set. */
static double seconds(PyObject *object, const char *what) {
    double s = PyFloat_AsDouble(object);
    if (s != -1.0 || !PyErr_Occurred())
        return s;
    if (PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Format(PyExc_TypeError, "%s must be a number of seconds or None, not %.200s", what,
                     Py_TYPE(object)->tp_name);
    } else if (PyErr_ExceptionMatches(PyExc_OverflowError) && PyLong_Check(object)) {
        int overflow;
        PyErr_Clear();
        PyLong_AsLongAndOverflow(object, &overflow);
        return overflow * INFINITY;
    }
    return -1.0;
}

bool nanoseconds_from_timeout(PyObject *object, const char *what, int64_t *duration) {
    if (!object || object == Py_None) {
        *duration = INT64_MAX;
        return true;
    }
    double s = seconds(object, what);
    if (s == -1.0 && PyErr_Occurred())
        return false;
    if (!(s >= 0)) {
        PyErr_Format(PyExc_ValueError, "%s must be zero or more seconds, or None for no limit; got %R", what, object);
        return false;
    }
    double ns = ceil(s * 1e9);
    *duration = ns < 9.2e18 ? (int64_t)ns : INT64_MAX;
    return true;
}

bool deadline_from_timeout(PyObject *object, const char *what, int64_t *deadline) {
    int64_t duration;
    if (!nanoseconds_from_timeout(object, what, &duration))
        return false;
    *deadline = duration == INT64_MAX ? WG_FOREVER : wg_after(duration);
    return true;
}

bool deadline_from_moment(PyObject *object, const char *what, int64_t *deadline) {
    *deadline = WG_FOREVER;
    if (!object || object == Py_None)
        return true;
    double s = seconds(object, what);
    if (s == -1.0 && PyErr_Occurred())
        return false;
    if (isnan(s)) {
        PyErr_Format(PyExc_ValueError, "%s must be a moment on the clock of time.monotonic(), or None; got %R", what,
                     object);
        return false;
    }
    int64_t moment = wg_nanoseconds(s);
    if (moment != INT64_MAX)
        *deadline = moment > 0 ? moment : WG_POLL;
    return true;
}

bool parse_wait(state *st, const char *call, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                int64_t *deadline, PyObject **context) {
    PyObject *timeout = NULL;
    if (context)
        *context = NULL;
    if (nargs > 1) {
        PyErr_Format(PyExc_TypeError, "%s takes at most one positional argument, timeout, but %zd were given", call,
                     nargs);
        return false;
    }
    if (nargs == 1)
        timeout = args[0];
    for (Py_ssize_t i = 0; kwnames && i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i), *value = args[nargs + i];
        if (!timeout && PyUnicode_CompareWithASCIIString(name, "timeout") == 0) {
            timeout = value;
        } else if (context && PyUnicode_CompareWithASCIIString(name, "context") == 0) {
            if (value != Py_None && Py_TYPE(value) != st->context_type) {
                PyErr_Format(PyExc_TypeError, "context must be a Context or None, not %.200s", Py_TYPE(value)->tp_name);
                return false;
            }
            *context = value == Py_None ? NULL : value;
        } else {
            PyErr_Format(PyExc_TypeError, "%s got an unexpected argument %R", call, name);
            return false;
        }
    }
    return deadline_from_timeout(timeout, "timeout", deadline);
}

PyObject *raise_status(state *st, wg_status status, const char *call) {
    switch (status) {
    case WG_NEGATIVE:
        return PyErr_Format(st->negative_error,
                            "%s: the count would fall below zero, which means more done() than add(); it is unchanged",
                            call);
    case WG_OVERFLOW:
        return PyErr_Format(PyExc_OverflowError, "%s: the count would pass %d; it is unchanged", call, WG_COUNT_MAX);
    case WG_DEADLOCK:
        return PyErr_Format(st->deadlock_error,
                            "%s: this could never return, because it would wait for a task that waits here", call);
    case WG_FORKED:
        return PyErr_Format(PyExc_RuntimeError,
                            "%s: the tasks to wait for were left behind in the parent process by fork; make a new "
                            "object in the child",
                            call);
    case WG_FINISHED:
        return PyErr_Format(PyExc_RuntimeError,
                            "%s: the group is finished, its outcome has been given by wait(); make a new ErrGroup",
                            call);
    case WG_STOPPED:
        return PyErr_Format(PyExc_RuntimeError, "%s: the interpreter is shutting down and starts no more tasks", call);
    case WG_NO_THREADS: return PyErr_Format(PyExc_RuntimeError, "%s: no thread could be started", call);
    case WG_NO_FD: return PyErr_Format(PyExc_OSError, "%s: the system gave no file descriptor", call);
    case WG_NO_MEMORY: return PyErr_NoMemory();
    default: return PyErr_Format(PyExc_SystemError, "%s: unexpected status \"%s\"", call, wg_strstatus(status));
    }
}

/* A def or a bound method of one; borrowed, or NULL. */
static PyObject *plain_function(PyObject *fn) {
    if (PyMethod_Check(fn))
        fn = PyMethod_GET_FUNCTION(fn);
    return PyFunction_Check(fn) ? fn : NULL;
}

static bool is_async(PyObject *fn) {
    PyObject *plain = plain_function(fn);
    return plain && ((PyCodeObject *)PyFunction_GET_CODE(plain))->co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR);
}

/* Of an object with an `async def __call__`, or a functools.partial of an async function. 1, 0, or -1. */
static int is_async_object(state *st, PyObject *fn) {
    if (Py_TYPE(fn) == st->partial_type) {
        PyObject *inner = PyObject_GetAttr(fn, st->func_attribute);
        if (!inner)
            return -1;
        int async = is_async(inner) ? 1 : is_async_object(st, inner);
        Py_DECREF(inner);
        return async;
    }
    if (PyCFunction_Check(fn) || PyType_Check(fn) || !PyType_HasFeature(Py_TYPE(fn), Py_TPFLAGS_HEAPTYPE))
        return 0;
    PyObject *call = PyObject_GetAttr((PyObject *)Py_TYPE(fn), st->call_attribute);
    if (!call)
        return -1;
    int async = is_async(call);
    Py_DECREF(call);
    return async;
}

bool check_callable(state *st, const char *call, PyObject *fn) {
    int async;
    if (PyCallable_Check(fn)) {
        async = plain_function(fn) ? is_async(fn) : is_async_object(st, fn);
        if (async == 0)
            return true;
        if (async < 0)
            return false;
        PyErr_Format(PyExc_TypeError,
                     "%s runs functions in threads, but %R is async: await it in your event loop, or pass asyncio.run "
                     "and a coroutine to give it a loop of its own",
                     call, fn);
    } else if (PyCoro_CheckExact(fn)) {
        PyErr_Format(PyExc_TypeError,
                     "%s takes a function to run in a thread, not a coroutine: await it in your event loop, or pass "
                     "asyncio.run and the coroutine to give it a loop of its own",
                     call);
    } else {
        PyErr_Format(PyExc_TypeError, "%s takes a callable and its arguments, not %R", call, fn);
    }
    return false;
}

PyObject *name_of_callable(state *st, PyObject *fn) {
    PyObject *plain = plain_function(fn);
    if (plain)
        return Py_NewRef(((PyFunctionObject *)plain)->func_qualname);
    PyObject *name = PyObject_GetAttr(fn, st->qualname_attribute);
    if (name && PyUnicode_Check(name))
        return name;
    Py_XDECREF(name);
    PyErr_Clear();
    if (Py_TYPE(fn) == st->partial_type) {
        PyObject *inner = PyObject_GetAttr(fn, st->func_attribute);
        if (inner) {
            name = name_of_callable(st, inner);
            Py_DECREF(inner);
            return name;
        }
        PyErr_Clear();
    }
    return PyType_GetName(Py_TYPE(fn));
}

PyObject *refuse_pickle(PyObject *self, PyObject *Py_UNUSED(unused)) {
    return PyErr_Format(PyExc_TypeError,
                        "cannot pickle '%.100s' object: it cannot be copied or sent to another process; share the "
                        "object itself between threads, or make a new one",
                        Py_TYPE(self)->tp_name);
}
