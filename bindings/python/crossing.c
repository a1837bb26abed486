/* crossing.c - Python's errors as errors of the core, and those of other languages as exceptions.
 *
 * An error of the core points to a *carried* object: a Task whose exception it is, or the cause of a cancellation. The
 * Context in which it came up holds a reference to the object, so that the collector sees it. By `stage`, which only changes
 * under `lock`:
 *
 *     HELD      the object is the Context's; the error of the core exists
 *     DROPPED   the core has let go of the error: the Context frees this when it goes, or earlier
 *     OWNED     the Context has gone first, since another language refers to the error: the reference is the error's now
 *     SEALED    there is no object any more: only its text is left
 *
 * Texts are made while the object is there, and not before another language can ask for them: from the moment that any id
 * was asked for in the process, at once; and then for all that came up before. They do not change. While a timeline is
 * written they are made at once too.
 *
 * What the collector frees in a cycle, while another language refers to the error, is sealed. */
#include "binding.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef enum { HELD, DROPPED, OWNED, SEALED } stage;

struct carried {
    stage stage;
    bool lost;    /* the collector is freeing the object: it will not be owned */
    bool sealing; /* somebody makes the texts */
    PyObject *object;
    state *st;
    home *home;            /* with a reference: whose error it is, also when the interpreter has gone */
    carried *next;         /* of the same Context */
    carried *later, **all; /* among all of the process */
    char *text, *traceback;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static carried *everything; /* linked by `later` */

static void take(void) { pthread_mutex_lock(&lock); }
static void give(void) { pthread_mutex_unlock(&lock); }
static void at_fork(void) { pthread_atfork(take, give, give); }

static void list(carried *c) {
    c->later = everything;
    c->all = &everything;
    if (c->later)
        c->later->all = &c->later;
    everything = c;
}

static void unlist(carried *c) {
    *c->all = c->later;
    if (c->later)
        c->later->all = c->all;
}

/* It is in no list any more. */
static void free_carried(carried *c) {
    home_release(c->home);
    free(c->text);
    free(c->traceback);
    free(c);
}

/* --- Words --- */

/* `text`, a str, as UTF-8; takes over the reference. NULL without memory, or with an exception set, which is cleared. */
static char *utf8_of(PyObject *text) {
    PyObject *bytes = text ? PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace") : NULL;
    char *copy = bytes ? malloc((size_t)PyBytes_GET_SIZE(bytes) + 1) : NULL;
    if (copy)
        memcpy(copy, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes) + 1);
    Py_XDECREF(bytes);
    Py_XDECREF(text);
    PyErr_Clear();
    return copy;
}

/* "ValueError: three". */
static PyObject *words_of(PyObject *exception) {
    const char *name = Py_TYPE(exception)->tp_name;
    PyObject *text = PyObject_Str(exception);
    if (!text)
        PyErr_Clear();
    PyObject *words = text && PyUnicode_GET_LENGTH(text) > 0 ? PyUnicode_FromFormat("%s: %U", name, text)
                                                             : PyUnicode_FromString(name);
    Py_XDECREF(text);
    return words;
}

/* What traceback.print_exception() prints. */
static PyObject *lines_of(PyObject *exception) {
    PyObject *lines = call_python("traceback", "format_exception", &exception, 1);
    PyObject *nothing = PyUnicode_FromString(""), *text = NULL;
    if (lines && nothing)
        text = PyUnicode_Join(nothing, lines);
    Py_XDECREF(nothing);
    Py_XDECREF(lines);
    return text;
}

/* Without the end of its last line. */
static char *trimmed(char *text) {
    size_t length = text ? strlen(text) : 0;
    while (length > 0 && text[length - 1] == '\n')
        text[--length] = 0;
    return text;
}

/* The exception of a carried object, or the str that a cause may be; borrowed. */
static PyObject *value_of(const state *st, PyObject *object) {
    return Py_TYPE(object) == st->task_type ? ((Task *)object)->outcome.value : object;
}

/* Make the texts, unless they are there or being made. The caller refers to the object. */
static void seal(carried *c) {
    take();
    bool first = !c->sealing;
    c->sealing = true;
    give();
    if (!first)
        return;
    PyObject *raised = PyErr_GetRaisedException(), *value = value_of(c->st, c->object);
    char *text, *traceback = NULL;
    if (PyUnicode_Check(value)) {
        text = utf8_of(Py_NewRef(value));
    } else {
        text = utf8_of(words_of(value));
        traceback = trimmed(utf8_of(lines_of(value)));
    }
    take();
    c->text = text;
    c->traceback = traceback;
    give();
    if (raised)
        PyErr_SetRaisedException(raised);
}

static carried *next_unsealed(const state *st) {
    carried *c = everything;
    while (c && (c->st != st || c->home != st->home || c->sealing || c->stage == SEALED || c->stage == DROPPED))
        c = c->later;
    return c;
}

void errors_seal(state *st) {
    for (;;) {
        take();
        carried *c = next_unsealed(st);
        PyObject *object = c ? Py_NewRef(c->object) : NULL;
        give();
        if (!c)
            return;
        seal(c); /* the thread that frees it holds the interpreter, as this one does; its object lives meanwhile */
        Py_DECREF(object);
    }
}

/* --- What the core calls --- */

/* The last reference to an object that outlived its Context; in any thread. */
static void drop_object(carried *c) {
    attachment a;
    guest *me = home_guest(c->home);
    if (!me || !home_enter(me)) /* the interpreter goes, with all its objects */
        return;
    if (attach(c->st, &a)) {
        PyObject *raised = PyErr_GetRaisedException();
        Py_DECREF(c->object);
        if (raised)
            PyErr_SetRaisedException(raised);
        detach(c->st, &a);
    }
    home_leave(me);
}

static void destroy(void *value) {
    carried *c = value;
    take();
    stage was = c->stage;
    if (was == HELD)
        c->stage = DROPPED;
    else
        unlist(c);
    give();
    if (was == OWNED)
        drop_object(c);
    if (was != HELD)
        free_carried(c);
}

static const char *text_of(void *value) {
    take();
    const char *text = ((carried *)value)->text;
    give();
    return text;
}

static const char *traceback_of(void *value) {
    take();
    const char *traceback = ((carried *)value)->traceback;
    give();
    return traceback;
}

static const wg_error_type python_error = {
    .language = "Python", .destroy = destroy, .text = text_of, .traceback = traceback_of};

/* --- What a Context holds --- */

wg_error *context_carry(Context *self, PyObject *object, wg_error_kind kind) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, at_fork);
    carried *c = calloc(1, sizeof *c);
    if (!c)
        return wg_error_no_memory();
    c->object = Py_NewRef(object);
    c->st = self->st;
    c->home = home_retain(self->st->home);
    take();
    list(c);
    give();
    Py_BEGIN_CRITICAL_SECTION(self);
    c->next = self->carried;
    self->carried = c;
    Py_END_CRITICAL_SECTION();
    if (wg_ids_in_use() || wg_trace_on())
        seal(c);
    return wg_error_of_type(&python_error, kind, c);
}

/* Under the critical section: take out those that the core has let go of. */
static carried *take_dropped(Context *self) {
    carried *dropped = NULL, **link = &self->carried, *c;
    take();
    while ((c = *link)) {
        if (c->stage != DROPPED) {
            link = &c->next;
            continue;
        }
        *link = c->next;
        c->next = dropped;
        dropped = c;
        unlist(c);
    }
    give();
    return dropped;
}

static void free_all(carried *c) {
    for (carried *next; c; c = next) {
        next = c->next;
        Py_DECREF(c->object);
        free_carried(c);
    }
}

void context_drop_carried(Context *self) {
    carried *dropped;
    Py_BEGIN_CRITICAL_SECTION(self);
    dropped = take_dropped(self);
    Py_END_CRITICAL_SECTION();
    free_all(dropped);
}

/* The Context goes: the references that are left to the error own the object now, if it is whole and another language may
 * ask. */
static void hand_over(carried *c) {
    bool keep = wg_ids_in_use() && !c->lost;
    PyObject *object = keep ? NULL : c->object;
    if (keep)
        seal(c);
    take();
    bool dropped = c->stage == DROPPED;
    if (dropped)
        unlist(c);
    else
        c->stage = keep ? OWNED : SEALED;
    give();
    if (dropped) {
        c->next = NULL;
        free_all(c);
    } else {
        Py_XDECREF(object);
    }
}

void context_hand_over_carried(Context *self) {
    free_all(take_dropped(self));
    for (carried *c = self->carried, *next; c; c = next) {
        next = c->next;
        hand_over(c);
    }
    self->carried = NULL;
}

void context_lose_carried(Context *self) {
    for (carried *c = self->carried; c; c = c->next) {
        if (wg_ids_in_use())
            seal(c);
        c->lost = true;
    }
}

int context_visit_carried(Context *self, visitproc visit, void *arg) {
    for (carried *c = self->carried; c; c = c->next)
        Py_VISIT(c->object);
    return 0;
}

void errors_outlive(const home *h) {
    take();
    for (carried *c = everything; c; c = c->later)
        if (c->home == h && c->stage == OWNED)
            c->stage = SEALED;
    give();
}

/* --- From errors of the core --- */

PyObject *object_of_error(const state *st, const wg_error *error) {
    if (wg_error_get_type(error) != &python_error)
        return NULL;
    carried *c = wg_error_value(error);
    take();
    bool here = c->home == st->home && (c->stage == HELD || c->stage == OWNED);
    PyObject *object = here ? Py_NewRef(c->object) : NULL;
    give();
    return object;
}

Task *task_of_error(const state *st, const wg_error *error) {
    PyObject *object = object_of_error(st, error);
    if (object && Py_TYPE(object) != st->task_type)
        Py_CLEAR(object);
    return (Task *)object;
}

static void release_error(PyObject *capsule) { wg_error_release(PyCapsule_GetPointer(capsule, NULL)); }

static PyObject *str_or_none(const char *text) {
    return text ? PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace") : Py_NewRef(Py_None);
}

/* Takes over the reference to `value`. */
static int set_attribute(PyObject *object, const char *name, PyObject *value) {
    int result = value ? PyObject_SetAttrString(object, name, value) : -1;
    Py_XDECREF(value);
    return result;
}

/* A ForeignError of `error`, which it refers to, so that it may go home. */
static PyObject *new_foreign(const state *st, wg_error *error) {
    const char *traceback = wg_error_traceback(error);
    PyObject *text = str_or_none(wg_error_text(error)), *exception = NULL, *capsule = NULL;
    if (text)
        exception = PyObject_CallOneArg(st->foreign_error, text);
    if (exception && (capsule = PyCapsule_New(wg_error_retain(error), NULL, release_error)) == NULL)
        wg_error_release(error);
    if (!capsule || PyObject_SetAttrString(exception, "_error", capsule) < 0 ||
        PyObject_SetAttrString(exception, "message", text) < 0 ||
        set_attribute(exception, "language", str_or_none(wg_error_language(error))) < 0 ||
        set_attribute(exception, "traceback", str_or_none(traceback)) < 0 ||
        set_attribute(exception, "value", plain_value_of(error)) < 0)
        Py_CLEAR(exception);
    Py_XDECREF(capsule);
    Py_XDECREF(text);
    if (exception && traceback) {
        PyObject *none = PyObject_CallMethod(exception, "add_note", "s", traceback);
        Py_XDECREF(none);
        PyErr_Clear();
    }
    return exception;
}

/* The same exception each time, for as long as the Context lives. */
static PyObject *foreign_exception(Context *of, wg_error *error) {
    PyObject *key = PyLong_FromVoidPtr(error), *exception = NULL;
    if (key && (of->foreign || (of->foreign = PyDict_New())))
        exception = Py_XNewRef(PyDict_GetItemWithError(of->foreign, key));
    if (key && of->foreign && !exception && !PyErr_Occurred()) {
        exception = new_foreign(of->st, error);
        if (exception && PyDict_SetItem(of->foreign, key, exception) < 0)
            Py_CLEAR(exception);
    }
    Py_XDECREF(key);
    return exception;
}

PyObject *value_of_error(Context *of, wg_error *error) {
    state *st = of->st;
    PyObject *object = object_of_error(st, error);
    if (object) {
        PyObject *value = Py_NewRef(value_of(st, object));
        Py_DECREF(object);
        return value;
    }
    if (error == wg_error_no_memory())
        return PyObject_CallNoArgs(PyExc_MemoryError);
    return foreign_exception(of, error);
}

wg_error *foreign_error_of(const state *st, PyObject *exception) {
    if ((PyObject *)Py_TYPE(exception) != st->foreign_error)
        return NULL;
    PyObject *capsule = PyObject_GetAttrString(exception, "_error");
    wg_error *error = capsule && PyCapsule_CheckExact(capsule) ? PyCapsule_GetPointer(capsule, NULL) : NULL;
    wg_error_retain(error);
    Py_XDECREF(capsule);
    PyErr_Clear();
    return error;
}
