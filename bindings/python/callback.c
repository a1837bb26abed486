/* callback.c - a Python call that the core makes once, when an event comes.
 *
 * While it is registered, the core's pointer counts as a reference. Of a Context's callbacks that reference is the
 * Context's list, which the collector sees: whoever takes a callback from the list, under the lock, deals with the
 * reference. */
#include "binding.h"

struct Callback {
    PyObject_HEAD
    state *st;
    wg_observer observer;
    wg_event event;
    wg_errgroup *slots; /* inside `subject`, if the event is a slot of that group; else NULL */
    PyObject *fn;       /* NULL once called or given up */
    Context *context;   /* borrowed, while in its list */
    wg_context *core;   /* of the context, a reference; or NULL: then the event is of an object inside `subject` */
    PyObject *subject;  /* or NULL */
    Callback *next, **link;
    /* Of a slot, guarded by `lock`: WG_LIMIT until it has come; WG_OK: it is held for whoever takes it; WG_FINISHED: it has
     * been taken or given back; else why there will be none. */
    wg_status slot;
    bool unwanted; /* it is to be given back when it comes */
};

static guard lock;

static void list_add(Context *context, Callback *self) {
    guard_take(&lock);
    self->context = context;
    self->next = context->callbacks;
    self->link = &context->callbacks;
    if (self->next)
        self->next->link = &self->next;
    context->callbacks = self;
    guard_give(&lock);
}

/* With the lock held. */
static void list_remove(Callback *self) {
    if (!self->link)
        return;
    *self->link = self->next;
    if (self->next)
        self->next->link = self->link;
    self->link = NULL;
    self->context = NULL;
}

/* A slot has come, or there will be none. */
static void keep_slot(Callback *self) {
    wg_status status = wg_slot_status(&self->observer);
    guard_take(&lock);
    bool unwanted = self->unwanted && status == WG_OK;
    self->slot = unwanted ? WG_FINISHED : status;
    guard_give(&lock);
    if (unwanted)
        wg_errgroup_give_slot(self->slots);
}

wg_status callback_take_slot(Callback *self) {
    guard_take(&lock);
    wg_status status = self->slot;
    if (status == WG_OK)
        self->slot = WG_FINISHED;
    guard_give(&lock);
    return status;
}

static void give_slot(Callback *self) {
    guard_take(&lock);
    self->unwanted = true;
    guard_give(&lock);
    if (self->slots && callback_take_slot(self) == WG_OK)
        wg_errgroup_give_slot(self->slots);
}

void report_of_callback(const state *st, PyObject *fn) {
    guest *me = home_guest(st->home);
    if (me && me->handles_signals && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyErr_Clear();
        PyErr_SetInterrupt();
    } else {
        PyErr_WriteUnraisable(fn);
    }
}

static void fire(void *arg) {
    Callback *self = arg;
    state *st = self->st;
    attachment a;
    if (!attach(st, &a))
        return; /* the interpreter is going away, and all its objects with it */
    PyObject *raised = PyErr_GetRaisedException();
    if (self->slots)
        keep_slot(self);
    guard_take(&lock);
    list_remove(self);
    PyObject *fn = self->fn;
    self->fn = NULL;
    guard_give(&lock);
    if (fn) {
        PyObject *result = PyObject_CallNoArgs(fn);
        if (!result)
            report_of_callback(st, fn);
        Py_XDECREF(result);
        Py_DECREF(fn);
    }
    Py_DECREF(self);
    if (raised)
        PyErr_SetRaisedException(raised);
    detach(st, &a);
}

/* Prevent the call; false if it is too late. */
static bool give_up(Callback *self) {
    if (!wg_event_unobserve(self->event, &self->observer))
        return false;
    guard_take(&lock);
    list_remove(self);
    PyObject *fn = self->fn;
    self->fn = NULL;
    guard_give(&lock);
    Py_XDECREF(fn);
    Py_DECREF(self);
    return true;
}

static Callback *make(state *st, wg_event event, PyObject *subject, PyObject *fn) {
    if (!check_callback(st, "Context.add_callback()", "without arguments", fn))
        return NULL;
    Callback *self = PyObject_GC_New(Callback, st->callback_type);
    if (!self)
        return NULL;
    self->st = st;
    self->event = event;
    self->slots = NULL;
    self->slot = WG_LIMIT;
    self->unwanted = false;
    self->fn = Py_NewRef(fn);
    self->context = NULL;
    self->core = NULL;
    self->subject = Py_XNewRef(subject);
    self->next = NULL;
    self->link = NULL;
    PyObject_GC_Track(self);
    Py_INCREF(self); /* for the core */
    return self;
}

PyObject *callback_for_event(state *st, wg_event event, PyObject *subject, PyObject *fn) {
    Callback *self = make(st, event, subject, fn);
    if (self)
        wg_event_observe(event, &self->observer, fire, self);
    return (PyObject *)self;
}

PyObject *callback_for_context(Context *context, PyObject *fn) {
    wg_event event = wg_ended(context->core);
    Callback *self = make(context->st, event, NULL, fn);
    if (!self)
        return NULL;
    self->core = wg_context_retain(context->core);
    list_add(context, self);
    wg_event_observe(event, &self->observer, fire, self);
    return (PyObject *)self;
}

PyObject *callback_for_slot(GroupState *group, PyObject *fn) {
    wg_event event = wg_slot(group->core);
    Callback *self = make(group->st, event, (PyObject *)group, fn);
    if (!self)
        return NULL;
    self->slots = group->core;
    wg_event_observe(event, &self->observer, fire, self);
    return (PyObject *)self;
}

void callbacks_drop(Context *context) {
    for (;;) {
        guard_take(&lock);
        Callback *self = context->callbacks;
        if (self) {
            list_remove(self);
            Py_INCREF(self);
        }
        guard_give(&lock);
        if (!self)
            return;
        give_up(self);
        Py_DECREF(self);
    }
}

int callbacks_visit(Context *context, visitproc visit, void *arg) {
    for (Callback *self = context->callbacks; self; self = self->next)
        Py_VISIT(self);
    return 0;
}

static PyObject *callback_call(Callback *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":stop", names))
        return NULL;
    return PyBool_FromLong(give_up(self));
}

static PyObject *callback_give_slot(Callback *self, PyObject *Py_UNUSED(unused)) {
    give_up(self);
    give_slot(self);
    return Py_NewRef(Py_None);
}

static int callback_traverse(Callback *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->fn);
    Py_VISIT(self->subject);
    return 0;
}

static int callback_clear(Callback *self) {
    guard_take(&lock);
    PyObject *fn = self->fn;
    self->fn = NULL;
    guard_give(&lock);
    Py_XDECREF(fn);
    return 0;
}

static void callback_dealloc(Callback *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    give_slot(self);
    Py_XDECREF(self->fn);
    wg_context_release(self->core);
    Py_XDECREF(self->subject);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(callback_doc, "What add_callback() returns: call it to take the callback back.\n"
                           "\n"
                           "Returns True if that prevented the call, False if it was made, is under way, or was\n"
                           "taken back before.");

static PyMethodDef callback_methods[] = {
    {"__reduce__", refuse_pickle, METH_NOARGS, "__reduce__($self, /)\n--\n\nRefuses: it cannot be copied."},
    {"_give_slot", (PyCFunction)callback_give_slot, METH_NOARGS,
     "_give_slot($self, /)\n--\n\nOf a slot: it is not wanted any more. It is given back if it has come and was not "
     "used."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot callback_slots[] = {
    {Py_tp_dealloc, callback_dealloc},
    {Py_tp_traverse, callback_traverse},
    {Py_tp_clear, callback_clear},
    {Py_tp_call, callback_call},
    {Py_tp_methods, callback_methods},
    {Py_tp_doc, (void *)callback_doc},
    {0, NULL},
};

PyType_Spec callback_spec = {
    .name = "cwaitgroup._core.Callback",
    .basicsize = sizeof(Callback),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = callback_slots,
};
