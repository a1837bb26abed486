/* plain.c - plain values of other languages as Python objects: None, bool, int, float, str or bytes, list, dict. */
#include "binding.h"

typedef struct reader {
    const wg_plain *pieces;
    size_t at;         /* the next one */
    PyObject **tables; /* what was made of those before it; borrowed from the value, NULL of what is no table */
} reader;

static PyObject *read_value(reader *r);

static PyObject *string_or_bytes(const char *bytes, size_t size) {
    PyObject *text = PyUnicode_DecodeUTF8(bytes, (Py_ssize_t)size, NULL);
    if (text || !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        return text;
    PyErr_Clear();
    return PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size);
}

static bool read_items(reader *r, PyObject *list, size_t items) {
    for (size_t i = 0; i < items; i++) {
        PyObject *item = read_value(r);
        if (!item || PyList_Append(list, item) < 0) {
            Py_XDECREF(item);
            return false;
        }
        Py_DECREF(item);
    }
    return true;
}

/* Takes over both references. Keys that are one key in Python, as 1 and true, make the value one that Python cannot have. */
static bool put_pair(PyObject *dict, PyObject *key, PyObject *value) {
    int known = key && value ? PyDict_Contains(dict, key) : -1;
    if (known > 0)
        PyErr_SetString(PyExc_KeyError, "two keys are one");
    bool put = known == 0 && PyDict_SetItem(dict, key, value) == 0;
    Py_XDECREF(key);
    Py_XDECREF(value);
    return put;
}

static bool read_pairs(reader *r, PyObject *dict, size_t items, size_t pairs) {
    for (size_t i = 1; i <= items; i++) {
        PyObject *value = read_value(r);
        if (!put_pair(dict, value ? PyLong_FromSize_t(i) : NULL, value))
            return false;
    }
    for (size_t i = 0; i < pairs; i++) {
        PyObject *key = read_value(r), *value = key ? read_value(r) : NULL;
        if (!put_pair(dict, key, value))
            return false;
    }
    return true;
}

/* A table of items only is a list, any other a dict. It is known before what is in it, which may refer to it. */
static PyObject *read_table(reader *r, size_t items, size_t pairs) {
    bool is_list = items > 0 && pairs == 0;
    PyObject *table = is_list ? PyList_New(0) : PyDict_New();
    r->tables[r->at - 1] = table;
    if (table && !(is_list ? read_items(r, table, items) : read_pairs(r, table, items, pairs)))
        Py_CLEAR(table);
    return table;
}

static PyObject *read_value(reader *r) {
    const wg_plain *piece = &r->pieces[r->at++];
    switch (piece->kind) {
    case WG_PLAIN_BOOLEAN: return PyBool_FromLong(piece->as.boolean);
    case WG_PLAIN_INTEGER: return PyLong_FromLongLong(piece->as.integer);
    case WG_PLAIN_NUMBER: return PyFloat_FromDouble(piece->as.number);
    case WG_PLAIN_STRING: return string_or_bytes(piece->as.string.bytes, piece->as.string.size);
    case WG_PLAIN_SAME: return Py_NewRef(r->tables[piece->as.same]);
    case WG_PLAIN_TABLE: break;
    case WG_PLAIN_NIL: Py_RETURN_NONE;
    }
    if (Py_EnterRecursiveCall(" while an error of another language is converted"))
        return NULL;
    PyObject *table = read_table(r, piece->as.table.items, piece->as.table.pairs);
    Py_LeaveRecursiveCall();
    return table;
}

PyObject *plain_value_of(const wg_error *error) {
    size_t count;
    const wg_plain *pieces = wg_error_plain(error, &count);
    if (!pieces)
        Py_RETURN_NONE;
    reader r = {.pieces = pieces, .tables = PyMem_Calloc(count, sizeof(PyObject *))};
    PyObject *value = r.tables ? read_value(&r) : PyErr_NoMemory();
    PyMem_Free(r.tables);
    if (value || PyErr_ExceptionMatches(PyExc_MemoryError))
        return value;
    PyErr_Clear(); /* a key that Python cannot have, or too deep: not plain for Python */
    Py_RETURN_NONE;
}
