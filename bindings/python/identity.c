/* identity.c - ids of objects, and one Python object for what an id stands for.
 *
 * The core has the ids. `known` of the state leads from objects of the core to weak references to the Python objects for
 * them: of those whose id was asked for, and of those that came by an id. */
#include "binding.h"

/* The key of `core` in `known`. */
static PyObject *key_of(const void *core) { return PyLong_FromVoidPtr((void *)(uintptr_t)core); }

static PyObject *find(state *st, PyObject *key) {
    PyObject *reference = st->known ? PyDict_GetItemWithError(st->known, key) : NULL;
    PyObject *object = reference ? PyObject_CallNoArgs(reference) : NULL;
    if (object == Py_None)
        Py_CLEAR(object);
    return object;
}

PyObject *known_object(state *st, const void *core) {
    PyObject *key = key_of(core), *object = key ? find(st, key) : NULL;
    Py_XDECREF(key);
    return object;
}

int make_known(state *st, const void *core, PyObject *object) {
    PyObject *key = key_of(core), *reference = PyWeakref_NewRef(object, NULL);
    int result = -1;
    if (key && reference && (st->known || (st->known = PyDict_New())))
        result = PyDict_SetItem(st->known, key, reference);
    Py_XDECREF(reference);
    Py_XDECREF(key);
    return result;
}

void forget_known(state *st, const void *core) {
    if (!st->known)
        return;
    PyObject *raised = PyErr_GetRaisedException(), *key = key_of(core), *other = key ? find(st, key) : NULL;
    if (key && !other && !PyErr_Occurred() && PyDict_DelItem(st->known, key) < 0)
        PyErr_Clear();
    Py_XDECREF(other);
    Py_XDECREF(key);
    PyErr_Clear();
    if (raised)
        PyErr_SetRaisedException(raised);
}

PyObject *id_of(state *st, int64_t id, const void *core, PyObject *object) {
    if (id == 0)
        return PyErr_NoMemory();
    errors_seal(st); /* from now on others may ask what they say */
    if (make_known(st, core, object) < 0)
        return NULL;
    return PyLong_FromLongLong(id);
}

Context *context_for(state *st, wg_context *core) {
    if (core == st->base)
        return (Context *)Py_NewRef((PyObject *)st->root);
    Context *known = (Context *)known_object(st, core);
    if (known || PyErr_Occurred())
        return known;
    Context *self = context_wrap(st, wg_context_retain(core), NULL);
    if (self && make_known(st, core, (PyObject *)self) < 0)
        Py_CLEAR(self);
    return self;
}

/* What `core`, of `kind`, is here; takes over its reference. */
static PyObject *object_for(state *st, wg_kind kind, void *core) {
    PyObject *object;
    switch (kind) {
    case WG_KIND_CONTEXT:
        object = (PyObject *)context_for(st, core);
        wg_context_release(core);
        return object;
    case WG_KIND_ERRGROUP:
        object = known_object(st, core);
        if (!object && !PyErr_Occurred())
            return errgroup_wrap(st, core);
        wg_errgroup_release(core);
        return object;
    default:
        object = known_object(st, core);
        if (!object && !PyErr_Occurred())
            return waitgroup_wrap(st, core);
        wg_shared_release(core);
        return object;
    }
}

static PyObject *raise_no_object(wg_status status, PyObject *id) {
    const char *why = wg_strstatus(status), *remedy = wg_status_remedy(status);
    if (status == WG_FORKED) {
        why = "the object with this id is of the process from which this one was forked";
        remedy = "ask the object for its id here";
    }
    return PyErr_Format(PyExc_LookupError, "attach(%R): %s: %s", id, why, remedy); /* of an exact int */
}

PyObject *attach_object(PyObject *module, PyObject *argument) {
    state *st = PyModule_GetState(module);
    int overflow;
    if (!PyLong_CheckExact(argument))
        return PyErr_Format(PyExc_TypeError, "attach(): an id is an int, not %.200s", Py_TYPE(argument)->tp_name);
    long long id = PyLong_AsLongLongAndOverflow(argument, &overflow);
    if (id == -1 && PyErr_Occurred())
        return NULL;
    if (overflow)
        id = 0; /* which is none */
    wg_kind kind;
    void *core;
    wg_status status = wg_kind_of_id(id, &kind);
    if (status == WG_OK && kind == WG_KIND_OTHER)
        return PyErr_Format(PyExc_LookupError,
                            "attach(%R): the object with this id is one that only the language which made it knows",
                            argument);
    if (status == WG_OK)
        status = wg_attach(id, kind, &core);
    if (status != WG_OK)
        return raise_no_object(status, argument);
    errors_seal(st);
    return object_for(st, kind, core);
}
