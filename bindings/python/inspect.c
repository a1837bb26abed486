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

struct text {
    char *bytes;
    size_t length, room;
};

static void append(void *raw, const char *line, size_t length) {
    struct text *text = raw;
    if (text->length + length > text->room) {
        size_t room = 2 * (text->length + length);
        char *more = realloc(text->bytes, room);
        if (!more)
            return;
        text->bytes = more;
        text->room = room;
    }
    memcpy(text->bytes + text->length, line, length);
    text->length += length;
}

static PyObject *to_str(struct text *text) {
    PyObject *str = PyUnicode_DecodeUTF8(text->bytes, (Py_ssize_t)text->length, "replace");
    free(text->bytes);
    return str;
}

PyObject *inspect_dump(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused)) {
    struct text text = {NULL, 0, 0};
    (void)wg_dump_lines(append, &text);
    return to_str(&text);
}

PyObject *inspect_dump_on_signal(PyObject *module, PyObject *args) {
    int signum, fd;
    if (!PyArg_ParseTuple(args, "ii:_dump_on_signal", &signum, &fd))
        return NULL;
    wg_status status = wg_dump_on_signal(signum, fd);
    if (status == WG_INVALID)
        return PyErr_Format(PyExc_ValueError, "dump_on_signal(): signal %d cannot be caught", signum);
    if (status != WG_OK)
        return raise_status(PyModule_GetState(module), status, "dump_on_signal()"), NULL;
    return Py_NewRef(Py_None);
}

PyObject *inspect_leaks(PyObject *Py_UNUSED(module), PyObject *since) {
    struct text text = {NULL, 0, 0};
    long long from = PyLong_AsLongLong(since);
    if (from == -1 && PyErr_Occurred())
        return NULL;
    (void)wg_leaks_lines(append, &text, (int64_t)from);
    return to_str(&text);
}

PyObject *inspect_now(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused)) { return PyLong_FromLongLong(wg_now()); }
