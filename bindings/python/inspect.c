/* inspect.c - looking into a program that hangs, and at what a test leaves behind: what python/cwaitgroup/_inspect.py needs. */
#include "binding.h"

#include <stdio.h>
#include <stdlib.h>

/* The file and line that Python code runs in this thread, without its directory; "" if there is none. */
void place_of_caller(char *place, size_t size) {
    place[0] = '\0';
    PyFrameObject *frame = PyThreadState_GetFrame(PyThreadState_Get());
    if (!frame)
        return;
    PyCodeObject *code = PyFrame_GetCode(frame);
    const char *file = PyUnicode_AsUTF8(code->co_filename);
    if (file) {
        const char *slash = strrchr(file, '/');
        snprintf(place, size, "%.60s:%d", slash ? slash + 1 : file, PyFrame_GetLineNumber(frame));
    } else
        PyErr_Clear();
    Py_DECREF(code);
    Py_DECREF(frame);
}

/* A text of the core's. */
static PyObject *take_text(char *text) {
    PyObject *str = text ? PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace") : PyErr_NoMemory();
    free(text);
    return str;
}

PyObject *inspect_dump(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused)) { return take_text(wg_dump_text()); }

PyObject *inspect_dump_on_signal(PyObject *module, PyObject *args) {
    PyObject *number;
    int fd;
    if (!PyArg_ParseTuple(args, "Oi:_dump_on_signal", &number, &fd))
        return NULL;
    if (!PyIndex_Check(number))
        return PyErr_Format(PyExc_TypeError, "dump_on_signal(): signum must be an int, not %.200s",
                            Py_TYPE(number)->tp_name);
    int overflow;
    long signum_wide = PyLong_AsLongAndOverflow(number, &overflow);
    if (PyErr_Occurred())
        return NULL;
    int signum = overflow || signum_wide != (int)signum_wide ? -1 : (int)signum_wide;
    wg_status status = wg_dump_on_signal(signum, fd);
    if (status == WG_INVALID)
        return PyErr_Format(PyExc_ValueError, "dump_on_signal(): signal %d cannot be caught", signum);
    if (status != WG_OK)
        return raise_status(PyModule_GetState(module), status, "dump_on_signal()"), NULL;
    return Py_NewRef(Py_None);
}

PyObject *inspect_leaks(PyObject *Py_UNUSED(module), PyObject *since) {
    long long from = PyLong_AsLongLong(since);
    if (from == -1 && PyErr_Occurred())
        return NULL;
    return take_text(wg_leaks_text((int64_t)from));
}

/* None, or what `status` stands for, with the remedy. `file`: a name, or "". */
static PyObject *none_or_error(PyObject *module, wg_status status, const char *file) {
    if (status == WG_OK)
        return Py_NewRef(Py_None);
    if (status == WG_NO_MEMORY)
        return PyErr_NoMemory();
    return PyErr_Format(class_of_status(PyModule_GetState(module), status), "trace(): %s%s%s: %s", file,
                        *file ? ": " : "", wg_strstatus(status), wg_status_remedy(status));
}

PyObject *inspect_trace_start(PyObject *module, PyObject *path) {
    const char *bytes = PyBytes_AsString(path);
    if (!bytes)
        return NULL;
    wg_status status = wg_trace_start(bytes);
    return none_or_error(module, status, status == WG_TRACING ? "" : bytes);
}

/* Nothing to do is no error. */
PyObject *inspect_trace_stop(PyObject *module, PyObject *Py_UNUSED(unused)) {
    wg_status status = wg_trace_stop();
    return none_or_error(module, status == WG_INVALID ? WG_OK : status, "");
}

PyObject *inspect_trace_on(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused)) {
    return PyBool_FromLong(wg_trace_on());
}

PyObject *inspect_trace_name(PyObject *Py_UNUSED(module), PyObject *args) {
    int number;
    const char *name;
    if (!PyArg_ParseTuple(args, "is:_trace_name", &number, &name))
        return NULL;
    wg_trace_name(number, name);
    return Py_NewRef(Py_None);
}

PyObject *inspect_now(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused)) {
    return PyLong_FromLongLong(wg_now());
}
