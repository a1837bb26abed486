/* per_task.c - what a task costs beyond its queue, by the full API of CPython and by the limited API of 3.11: a copy of
 * the context variables, a call of a function of one argument inside it, and the exception state looked at.
 *
 * Built twice by run.py, with FULL or with Py_LIMITED_API defined. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifdef FULL
#define MODULE PyInit_full
#define NAME "full"

static PyObject *run_task(PyObject *Py_UNUSED(copy_context), PyObject *fn, PyObject *argument) {
    PyObject *variables = PyContext_CopyCurrent(), *arguments[] = {NULL, argument};
    if (!variables || PyContext_Enter(variables) < 0)
        return NULL;
    PyObject *result = PyObject_Vectorcall(fn, arguments + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    if (PyContext_Exit(variables) < 0)
        return NULL;
    Py_DECREF(variables);
    return result;
}
#else
#define MODULE PyInit_limited
#define NAME "limited"

static PyObject *run_task(PyObject *copy_context, PyObject *fn, PyObject *argument) {
    PyObject *variables = PyObject_CallObject(copy_context, NULL);
    PyObject *run = variables ? PyObject_GetAttrString(variables, "run") : NULL;
    PyObject *result = run ? PyObject_CallFunctionObjArgs(run, fn, argument, NULL) : NULL;
    Py_XDECREF(run);
    Py_XDECREF(variables);
    return result;
}
#endif

/* run(n, copy_context, fn, argument): n tasks. */
static PyObject *run(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_ssize_t n;
    PyObject *copy_context, *fn, *argument;
    if (!PyArg_ParseTuple(args, "nOOO", &n, &copy_context, &fn, &argument))
        return NULL;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *result = run_task(copy_context, fn, argument);
        if (!result)
            return NULL;
        Py_DECREF(result);
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"run", run, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, NAME, NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC MODULE(void) { return PyModuleDef_Init(&definition); }
