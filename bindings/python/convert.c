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
        return overflow < 0 ? -HUGE_VAL : HUGE_VAL;
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
        raise_showing(PyExc_ValueError, object, "", "%s must be zero or more seconds, or None for no limit; got ",
                      what);
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
        raise_showing(PyExc_ValueError, object, "",
                      "%s must be a moment on the clock of time.monotonic(), or None; got ", what);
        return false;
    }
    int64_t moment = wg_nanoseconds(s);
    if (moment != INT64_MAX)
        *deadline = moment > 0 ? moment : WG_POLL;
    return true;
}

bool check_context(state *st, const char *call, PyObject *object, Context **context) {
    if (object != Py_None && Py_TYPE(object) != st->context_type) {
        PyErr_Format(PyExc_TypeError, "%s: context must be a Context or None, not %.200s", call,
                     Py_TYPE(object)->tp_name);
        return false;
    }
    *context = object == Py_None ? NULL : (Context *)object;
    return true;
}

bool parse_wait(state *st, const char *call, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                int64_t *deadline, Context **context) {
    PyObject *timeout = NULL;
    char what[64];
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
        } else if (PyUnicode_CompareWithASCIIString(name, "context") == 0) {
            if (!check_context(st, call, value, context))
                return false;
        } else {
            PyErr_Format(PyExc_TypeError, "%s got an unexpected argument %R", call, name);
            return false;
        }
    }
    snprintf(what, sizeof what, "%s: timeout", call);
    return deadline_from_timeout(timeout, what, deadline);
}

PyObject *end_of_wait(PyObject *module, PyObject *args) {
    PyObject *timeout, *object;
    const char *call;
    int64_t deadline;
    Context *context;
    char what[64];
    if (!PyArg_ParseTuple(args, "sOO:_end_of_wait", &call, &timeout, &object) ||
        !check_context(PyModule_GetState(module), call, object, &context))
        return NULL;
    snprintf(what, sizeof what, "%s: timeout", call);
    if (!deadline_from_timeout(timeout, what, &deadline))
        return NULL;
    return deadline == WG_FOREVER ? Py_NewRef(Py_None) : PyFloat_FromDouble(wg_seconds(deadline));
}

PyObject *class_of_status(state *st, wg_status status) {
    switch (status) {
    case WG_NEGATIVE: return st->negative_error;
    case WG_OVERFLOW: return PyExc_OverflowError;
    case WG_DEADLOCK: return st->deadlock_error;
    case WG_NO_FD:
    case WG_NO_FILE:
    case WG_NOT_WRITTEN: return PyExc_OSError;
    case WG_NO_MEMORY: return PyExc_MemoryError;
    case WG_FORKED:
    case WG_FINISHED:
    case WG_STOPPED:
    case WG_TRACING:
    case WG_NO_THREADS: return PyExc_RuntimeError;
    default: return PyExc_SystemError;
    }
}

const char *text_of_status(wg_status status) {
    switch (status) {
    case WG_NEGATIVE: return "the count would fall below zero, which means more done() than add(); it is unchanged";
    case WG_OVERFLOW: return "the count would pass 2147483647; it is unchanged";
    case WG_DEADLOCK: return "this could never return, because it would wait for a task that waits here";
    case WG_FORKED:
        return "the tasks to wait for were left behind in the parent process by fork; make a new object in the child";
    case WG_FINISHED: return "the group is finished, its outcome has been given; make a new ErrGroup";
    case WG_STOPPED: return "the interpreter is shutting down and starts no more tasks";
    case WG_NO_THREADS: return "no thread could be started";
    case WG_NO_FD: return "the system gave no file descriptor";
    default: return wg_strstatus(status);
    }
}

PyObject *raise_deadlock(state *st, const char *call) {
    PyObject *why = why_deadlocked();
    if (why)
        PyErr_Format(st->deadlock_error, "%s: %U", call, why);
    Py_XDECREF(why);
    return NULL;
}

PyObject *raise_status(state *st, wg_status status, const char *call) {
    if (status == WG_NO_MEMORY)
        return PyErr_NoMemory();
    return PyErr_Format(class_of_status(st, status), "%s: %s", call, text_of_status(status));
}

PyObject *safe_repr(PyObject *object) {
    PyObject *text = PyObject_Repr(object);
    if (text)
        return text;
    PyErr_Clear();
    return PyUnicode_FromFormat("<%s whose repr() fails>", Py_TYPE(object)->tp_name);
}

PyObject *raise_showing(PyObject *class, PyObject *object, const char *after, const char *before, ...) {
    va_list args;
    va_start(args, before);
    PyObject *start = PyUnicode_FromFormatV(before, args), *shown = start ? safe_repr(object) : NULL;
    va_end(args);
    if (shown)
        PyErr_Format(class, "%U%U%s", start, shown, after);
    Py_XDECREF(start);
    Py_XDECREF(shown);
    return NULL;
}

/* True if somebody would have to await `result` for it to do anything. Our own objects can be awaited, and need not be. */
static bool is_awaitable(state *st, PyObject *result) {
    PyTypeObject *type = Py_TYPE(result);
    if (type == st->task_type || type == st->waitgroup_type || type == st->errgroup_type || type == st->context_type)
        return false;
    return (type->tp_as_async && type->tp_as_async->am_await) || PyAsyncGen_CheckExact(result);
}

bool check_result(state *st, PyObject *fn, PyObject *result) {
    if (!is_awaitable(st, result))
        return true;
    PyObject *name = name_of_callable(st, fn);
    if (PyCoro_CheckExact(result)) { /* else Python warns that it was never awaited, which we say better */
        PyObject *closed = PyObject_CallMethod(result, "close", NULL);
        Py_XDECREF(closed);
    }
    PyErr_Clear();
    PyErr_Format(
        PyExc_TypeError,
        "%V() has returned a %s, which nobody awaits, to a thread: await it in your event loop, or pass asyncio.run "
        "and the coroutine to give it a loop of its own",
        name, "the function", Py_TYPE(result)->tp_name);
    Py_XDECREF(name);
    return false;
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
        raise_showing(PyExc_TypeError, fn,
                      " is async: await it in your event loop, or pass asyncio.run and a coroutine to give it a loop "
                      "of its own",
                      "%s runs functions in threads, but ", call);
    } else if (PyCoro_CheckExact(fn)) {
        PyErr_Format(PyExc_TypeError,
                     "%s takes a function to run in a thread, not a coroutine: await it in your event loop, or pass "
                     "asyncio.run and the coroutine to give it a loop of its own",
                     call);
    } else {
        raise_showing(PyExc_TypeError, fn, "", "%s takes a callable and its arguments, not ", call);
    }
    return false;
}

bool check_callback(state *st, const char *call, const char *with, PyObject *fn) {
    if (!PyCallable_Check(fn)) {
        raise_showing(PyExc_TypeError, fn, " is not", "%s: a callback must be callable %s, which ", call, with);
        return false;
    }
    int async = plain_function(fn) ? is_async(fn) : is_async_object(st, fn);
    if (async > 0)
        raise_showing(PyExc_TypeError, fn,
                      " is async, and nobody would await it; pass a function, which may hand over to an event loop by "
                      "asyncio.run_coroutine_threadsafe()",
                      "%s: ", call);
    return async == 0;
}

PyObject *name_of_callable(state *st, PyObject *fn) {
    PyObject *plain = plain_function(fn);
    if (plain)
        return Py_NewRef(((PyFunctionObject *)plain)->func_qualname);
    PyObject *name = PyObject_GetAttr(fn, st->qualname_attribute);
    if (name && PyUnicode_Check(name)) {
        Py_SETREF(name, PyUnicode_FromObject(name)); /* a subclass may have any repr() */
        return name;
    }
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
