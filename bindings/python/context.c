/* context.c - cwaitgroup.Context, and the exceptions that tell of one that has ended. */
#include "binding.h"

Context *context_wrap(state *st, wg_context *core, Context *parent) {
    Context *self = PyObject_GC_New(Context, st->context_type);
    if (!self) {
        wg_context_release(core);
        return NULL;
    }
    self->weakrefs = NULL;
    self->st = st;
    self->core = core;
    self->parent = (Context *)Py_XNewRef((PyObject *)parent);
    self->carried = NULL;
    self->foreign = NULL;
    self->callbacks = NULL;
    PyObject_GC_Track(self);
    return self;
}

Context *context_of_this_task(state *st) {
    thread_self *self = self_thread();
    wg_context *core = wg_context_current();
    if (self->context && self->context->core == core && self->context->st == st)
        return (Context *)Py_NewRef((PyObject *)self->context);
    GroupState *group = group_of_this_task(st);
    Context *context = group ? group->context : NULL;
    if (context && (!core || core == context->core))
        return (Context *)Py_NewRef((PyObject *)context);
    return core ? context_for(st, core) : NULL; /* of a task of another language */
}

wg_context *context_core_or_base(state *st, const Context *parent) { return parent ? parent->core : st->base; }

bool check_cause(const char *call, PyObject *object, PyObject **cause) {
    *cause = NULL;
    if (!object || object == Py_None)
        return true;
    if (!PyExceptionInstance_Check(object) && !PyUnicode_Check(object)) {
        raise_showing(PyExc_TypeError, object, "", "%s: the cause must be an exception, a str or None, not ", call);
        return false;
    }
    *cause = object;
    return true;
}

int context_cancel_with(Context *self, PyObject *cause) {
    wg_error *error = NULL;
    if (cause) {
        error = foreign_error_of(self->st, cause);
        if (!error)
            error = context_carry(self, cause, WG_ERROR_FAILURE);
        if (error == wg_error_no_memory()) {
            PyErr_NoMemory();
            return -1;
        }
    }
    wg_status status = wg_context_cancel(self->core, error);
    wg_error_release(error);
    if (cause && status != WG_OK)
        context_drop_carried(self);
    return 0;
}

/* What was given to cancel(), or None. */
static PyObject *given_cause(Context *self) {
    wg_error *error = wg_context_cause(self->core);
    if (!error || error == wg_error_deadline() || error == wg_error_cancelled())
        return Py_NewRef(Py_None);
    return value_of_error(self, error);
}

bool context_ended_with(const Context *self, const Context *ancestor) {
    if (wg_context_status(ancestor->core) != wg_context_status(self->core) ||
        wg_context_cause(ancestor->core) != wg_context_cause(self->core))
        return false; /* it ended for a reason of its own */
    while (self && self->core != ancestor->core)
        self = self->parent;
    return self != NULL;
}

/* "ErrGroup.go(): group 'fetch' cancelled"; `call` and `name` may be NULL. */
static PyObject *text_of_end(const Context *self, const char *call, const char *subject, PyObject *name) {
    const char *what = wg_context_status(self->core) == WG_DEADLINE_EXCEEDED ? "deadline exceeded" : "cancelled";
    const char *colon = call ? ": " : "";
    return name ? PyUnicode_FromFormat("%s%s%s %R %s", call ? call : "", colon, subject, name, what)
                : PyUnicode_FromFormat("%s%s%s %s", call ? call : "", colon, subject, what);
}

/* Takes over the reference to `text`, and adds why. */
static PyObject *add_cause(PyObject *text, PyObject *cause) {
    if (text && PyUnicode_Check(cause))
        Py_SETREF(text, PyUnicode_FromFormat("%U: %U", text, cause));
    else if (text && cause != Py_None)
        Py_SETREF(text, PyUnicode_FromFormat("%U because of %s", text, Py_TYPE(cause)->tp_name));
    return text;
}

/* The exception that tells of the end of `self`. */
static PyObject *ended_exception(Context *self, const char *call, const char *subject, PyObject *name) {
    state *st = self->st;
    bool late = wg_context_status(self->core) == WG_DEADLINE_EXCEEDED;
    PyObject *exception = NULL, *cause = given_cause(self);
    if (!cause)
        return NULL;
    PyObject *message = add_cause(text_of_end(self, call, subject, name), cause);
    if (message)
        exception = PyObject_CallOneArg(late ? st->deadline_error : st->cancelled_error, message);
    Py_XDECREF(message);
    if (exception && PyObject_SetAttr(exception, st->context_attribute, (PyObject *)self) < 0)
        Py_CLEAR(exception);
    if (exception && PyExceptionInstance_Check(cause))
        PyException_SetCause(exception, Py_NewRef(cause));
    Py_DECREF(cause);
    return exception;
}

PyObject *raise_ended(Context *self, const char *call, const char *subject, PyObject *name) {
    PyObject *exception = ended_exception(self, call, subject, name);
    if (exception)
        PyErr_SetRaisedException(exception);
    return NULL;
}

PyObject *raise_wait_ended(state *st, const char *call, Context *given) {
    if (given)
        return raise_ended(given, call, "context", NULL);
    Context *own = context_of_this_task(st);
    if (own) {
        GroupState *group = group_of_this_task(st);
        raise_ended(own, call, "this task's group", group && group->context == own ? group->name : NULL);
        Py_DECREF((PyObject *)own);
        return NULL;
    }
    if (PyErr_Occurred())
        return NULL;
    return PyErr_Format(st->cancelled_error, "%s: this task's group cancelled", call); /* a task of another language */
}

PyObject *context_cause_object(Context *self) {
    if (wg_context_cause(self->core) == wg_error_deadline())
        return ended_exception(self, NULL, "context", NULL);
    return given_cause(self);
}

/* As an exception's own __reduce__, but without the Context, which belongs to this process. */
static PyObject *cancelled_reduce(PyObject *self, PyObject *Py_UNUSED(unused)) {
    PyObject *dict = NULL, *args = NULL, *attributes = NULL, *result = NULL;
    if ((dict = PyObject_GenericGetDict(self, NULL)) && (attributes = PyDict_Copy(dict)) &&
        (args = PyObject_GetAttrString(self, "args"))) {
        if (PyDict_DelItemString(attributes, "_context") < 0)
            PyErr_Clear(); /* it has none */
        result = Py_BuildValue("(OOO)", Py_TYPE(self), args, attributes);
    }
    Py_XDECREF(dict);
    Py_XDECREF(attributes);
    Py_XDECREF(args);
    return result;
}

PyMethodDef cancelled_reduce_method = {"__reduce__", cancelled_reduce, METH_NOARGS,
                                       "__reduce__($self, /)\n--\n\nFor pickle; without the Context."};

static PyObject *context_below(state *st, Context *parent, int64_t deadline) {
    wg_context *core;
    char place[80];
    place_of_caller(place, sizeof place);
    wg_context_options options = {
        .parent = context_core_or_base(st, parent), .deadline = deadline, .language = "Python", .where = place};
    wg_status status = wg_context_make(&core, &options);
    if (status != WG_OK)
        return raise_status(st, status, "Context()");
    return (PyObject *)context_wrap(st, core, parent);
}

static PyObject *context_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"parent", "timeout", "deadline", NULL};
    state *st = state_of_type(type);
    PyObject *parent = NULL, *timeout = NULL, *moment = NULL;
    int64_t deadline, at;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$OO:Context", names, &parent, &timeout, &moment) ||
        !deadline_from_timeout(timeout, "Context(): timeout", &deadline) ||
        !deadline_from_moment(moment, "Context(): deadline", &at))
        return NULL;
    if (at != WG_FOREVER && (deadline == WG_FOREVER || at < deadline))
        deadline = at;
    if (parent && parent != Py_None && Py_TYPE(parent) != st->context_type)
        return PyErr_Format(PyExc_TypeError, "Context(): parent must be a Context or None, not %.200s",
                            Py_TYPE(parent)->tp_name);
    if (!parent)
        parent = (PyObject *)context_of_this_task(st);
    else
        parent = parent == Py_None ? NULL : Py_NewRef(parent);
    if (PyErr_Occurred())
        return NULL;
    PyObject *self = context_below(st, (Context *)parent, deadline);
    Py_XDECREF(parent);
    return self;
}

/* There is no clear: the core points into `carried`, and may into the parent's. The exceptions, tasks and callbacks on the
 * way round a cycle can be cleared. */
static int context_traverse(Context *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->parent);
    Py_VISIT(self->foreign);
    int result = context_visit_carried(self, visit, arg);
    return result ? result : callbacks_visit(self, visit, arg);
}

/* Only the collector calls this. */
static void context_finalize(Context *self) { context_lose_carried(self); }

static void context_dealloc(Context *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, context_dealloc) /* ancestors may be many */
        if (self->weakrefs) PyObject_ClearWeakRefs((PyObject *)self);
    forget_known(self->st, self->core);
    callbacks_drop(self);
    wg_context_release(self->core);
    context_hand_over_carried(self);
    Py_XDECREF(self->foreign);
    Py_XDECREF((PyObject *)self->parent);
    PyObject_GC_Del(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static bool is_root(const Context *self) { return self == self->st->root; }

/* True unless this is the root; else with an exception set. */
static bool check_not_root(const Context *self, const char *call) {
    if (is_root(self))
        PyErr_Format(PyExc_RuntimeError,
                     "%s: this is the root, which is the context of all code outside of tasks and never ends; make a "
                     "Context() of your own to cancel",
                     call);
    return !is_root(self);
}

static PyObject *context_repr(Context *self) {
    wg_status status = wg_context_check(self->core);
    if (is_root(self))
        return PyUnicode_FromString("<cwaitgroup.Context root>");
    if (status == WG_OK)
        return PyUnicode_FromString("<cwaitgroup.Context active>");
    PyObject *cause = given_cause(self), *repr = NULL;
    if (!cause)
        return NULL;
    const char *what = status == WG_DEADLINE_EXCEEDED ? "deadline exceeded" : "cancelled";
    int inside = Py_ReprEnter((PyObject *)self); /* of a cause that refers to its context */
    if (inside > 0) {
        repr = PyUnicode_FromFormat("<cwaitgroup.Context %s ...>", what);
    } else if (inside == 0) {
        PyObject *shown = safe_repr(cause);
        if (cause == Py_None)
            repr = PyUnicode_FromFormat("<cwaitgroup.Context %s>", what);
        else if (shown)
            repr = PyUnicode_FromFormat("<cwaitgroup.Context %s cause=%U>", what, shown);
        Py_XDECREF(shown);
        Py_ReprLeave((PyObject *)self);
    }
    Py_DECREF(cause);
    return repr;
}

static PyObject *context_cancel(Context *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"cause", NULL};
    PyObject *cause = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:Context.cancel", names, &cause) ||
        !check_not_root(self, "Context.cancel()") || !check_cause("Context.cancel()", cause, &cause) ||
        context_cancel_with(self, cause) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

static PyObject *context_cancelled(Context *self, PyObject *Py_UNUSED(unused)) {
    return PyBool_FromLong(wg_context_status(self->core) != WG_OK);
}

static PyObject *context_check(Context *self, PyObject *Py_UNUSED(unused)) {
    if (wg_context_check(self->core) == WG_OK)
        return Py_NewRef(Py_None);
    return raise_ended(self, "Context.check()", "context", NULL);
}

static wg_status call_wait(void *core, const wg_until *until) { return wg_context_wait(core, until); }

static PyObject *context_wait(Context *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char call[] = "Context.wait()";
    int64_t deadline;
    Context *context;
    if (!parse_wait(self->st, call, args, nargs, kwnames, &deadline, &context))
        return NULL;
    int status = block(self->st, call_wait, self->core, deadline, context ? context->core : NULL);
    switch (status) {
    case WG_OK: return Py_NewRef(Py_True);
    case WG_TIMEOUT: return Py_NewRef(Py_False);
    case WG_CONTEXT_ENDED: return raise_wait_ended(self->st, call, context);
    case RAISED: return NULL;
    default: return raise_status(self->st, status, call);
    }
}

static PyObject *context_remaining(Context *self, PyObject *Py_UNUSED(unused)) {
    int64_t left = wg_context_remaining(self->core);
    return left == INT64_MAX ? Py_NewRef(Py_None) : PyFloat_FromDouble(wg_seconds(left));
}

/* The number that the context was made with: wg_now() and time.monotonic() read the same clock. */
static PyObject *context_get_deadline(Context *self, void *Py_UNUSED(unused)) {
    int64_t deadline = wg_context_deadline(self->core);
    if (deadline == WG_FOREVER)
        return Py_NewRef(Py_None);
    return PyFloat_FromDouble(deadline == WG_POLL ? 0.0 : wg_seconds(deadline));
}

static PyObject *context_get_id(Context *self, void *Py_UNUSED(unused)) {
    return id_of(self->st, wg_context_id(self->core), self->core, (PyObject *)self);
}

static PyObject *context_get_cause(Context *self, void *Py_UNUSED(unused)) { return context_cause_object(self); }

static PyObject *context_add_callback(Context *self, PyObject *fn) { return callback_for_context(self, fn); }

static PyObject *context_fileno(Context *self, PyObject *Py_UNUSED(unused)) {
    int fd;
    wg_status status = wg_context_fd(self->core, &fd);
    if (status != WG_OK)
        return raise_status(self->st, status, "Context.fileno()");
    return PyLong_FromLong(fd);
}

static PyObject *context_enter(Context *self, PyObject *Py_UNUSED(unused)) { return Py_NewRef((PyObject *)self); }

static PyObject *context_exit(Context *self, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs)) {
    if (!check_not_root(self, "Context.__exit__()") || context_cancel_with(self, NULL) < 0)
        return NULL;
    return Py_NewRef(Py_False);
}

static PyObject *context_await(PyObject *self) { return await_iterator(self, "wait_for_context"); }

PyDoc_STRVAR(context_doc, "Context(parent=..., *, timeout=None, deadline=None)\n"
                          "--\n"
                          "\n"
                          "Says \"stop now\" to all that refer to it, with a reason, a deadline, and children.\n"
                          "\n"
                          "It ends once: by cancel(), or when its time is over. Its children end with it, for\n"
                          "the same cause. `parent` is, if not given, the context of the task that runs in\n"
                          "this thread; None makes a context that is nobody's child. `timeout` is in seconds\n"
                          "from now, `deadline` a moment on the clock of time.monotonic(), maybe past; the\n"
                          "earliest holds, the parent's included.\n"
                          "\n"
                          ">>> ctx = Context(timeout=60)\n"
                          ">>> ctx.cancelled()\n"
                          "False\n"
                          ">>> ctx.cancel('no longer needed')\n"
                          ">>> ctx.cancelled(), ctx.cause\n"
                          "(True, 'no longer needed')\n"
                          ">>> ctx.check()\n"
                          "Traceback (most recent call last):\n"
                          "cwaitgroup.Cancelled: context cancelled: no longer needed\n"
                          "\n"
                          "Leaving a with block cancels it. `await ctx` waits for its end in asyncio and trio,\n"
                          "and does not raise for it. Raises ValueError for a negative or NaN timeout,\n"
                          "RuntimeError if no thread can be had to keep the deadline. All its methods may be\n"
                          "called from any thread.");

PyDoc_STRVAR(context_cancel_doc, "cancel($self, /, cause=None)\n"
                                 "--\n"
                                 "\n"
                                 "End the context and its children; the first call wins, later ones do nothing.\n"
                                 "\n"
                                 "`cause` is an exception, a str or None. It wakes all waits and calls the callbacks\n"
                                 "before it returns, but does not wait for anybody to stop.\n"
                                 "\n"
                                 ">>> ctx = Context()\n"
                                 ">>> ctx.cancel(OSError('disk full'))\n"
                                 ">>> ctx.cause\n"
                                 "OSError('disk full')\n"
                                 "\n"
                                 "Raises TypeError for another cause, RuntimeError for the root, which is the context\n"
                                 "of all code outside of tasks.");

PyDoc_STRVAR(context_check_doc, "check($self, /)\n"
                                "--\n"
                                "\n"
                                "Raise Cancelled, or DeadlineExceeded, if the context has ended.\n"
                                "\n"
                                "The exception's __cause__ is the cause, if that is an exception.\n"
                                "\n"
                                ">>> Context().check()\n"
                                ">>> Context(timeout=0).check()\n"
                                "Traceback (most recent call last):\n"
                                "cwaitgroup.DeadlineExceeded: context deadline exceeded");

PyDoc_STRVAR(context_wait_doc, "wait($self, /, timeout=None, *, context=None)\n"
                               "--\n"
                               "\n"
                               "Sleep until the context ends: a sleep that cancellation interrupts.\n"
                               "\n"
                               "`timeout` is in seconds; None sleeps for ever and 0 only looks. Returns True if the\n"
                               "context has ended, False if the time was over first.\n"
                               "\n"
                               ">>> ctx = Context()\n"
                               ">>> ctx.wait(0.01)\n"
                               "False\n"
                               "\n"
                               "Raises Cancelled (or DeadlineExceeded) when another Context ends first: `context`,\n"
                               "by default that of the task that waits. Raises ValueError for a negative or NaN\n"
                               "timeout. Ctrl-C interrupts it at once.");

PyDoc_STRVAR(context_add_callback_doc,
             "add_callback($self, fn, /)\n"
             "--\n"
             "\n"
             "Call fn() once when the context ends; at once if it has.\n"
             "\n"
             "It is called in the thread that cancels, or in a housekeeping thread at the\n"
             "deadline, and should not block. An exception goes to sys.unraisablehook. Returns\n"
             "stop(), which takes the callback back: True if that prevented the call. A Context\n"
             "that nobody refers to any more calls nobody.\n"
             "\n"
             ">>> ctx = Context()\n"
             ">>> stop = ctx.add_callback(lambda: print('cancelled'))\n"
             ">>> ctx.cancel()\n"
             "cancelled\n"
             ">>> stop()\n"
             "False\n"
             "\n"
             "Raises TypeError if `fn` cannot be called.");

PyDoc_STRVAR(context_fileno_doc,
             "fileno($self, /)\n"
             "--\n"
             "\n"
             "A file descriptor that becomes, and stays, readable when the context ends.\n"
             "\n"
             "For select, selectors and event loops. It belongs to the context: never read or\n"
             "close it.\n"
             "\n"
             ">>> import select\n"
             ">>> ctx = Context()\n"
             ">>> ctx.cancel()\n"
             ">>> select.select([ctx], [], [], 0)[0] == [ctx]\n"
             "True\n"
             "\n"
             "Raises OSError if there is none to be had, RuntimeError in the child of a fork if it\n"
             "was made before.");

static PyMethodDef context_methods[] = {
    {"cancel", (PyCFunction)(void (*)(void))context_cancel, METH_VARARGS | METH_KEYWORDS, context_cancel_doc},
    {"cancelled", (PyCFunction)context_cancelled, METH_NOARGS,
     "cancelled($self, /)\n--\n\n"
     "True once the context has ended, also by its deadline. Cheap enough for a loop.\n\n"
     ">>> Context().cancelled()\nFalse"},
    {"check", (PyCFunction)context_check, METH_NOARGS, context_check_doc},
    {"wait", (PyCFunction)(void (*)(void))context_wait, METH_FASTCALL | METH_KEYWORDS, context_wait_doc},
    {"remaining", (PyCFunction)context_remaining, METH_NOARGS,
     "remaining($self, /)\n--\n\n"
     "Seconds left until the deadline, never below 0; None if there is none.\n\n"
     "For the timeout= of other libraries: when that is over, so is the context.\n\n"
     ">>> 59 < Context(timeout=60).remaining() <= 60\nTrue"},
    {"add_callback", (PyCFunction)context_add_callback, METH_O, context_add_callback_doc},
    {"fileno", (PyCFunction)context_fileno, METH_NOARGS, context_fileno_doc},
    {"__enter__", (PyCFunction)context_enter, METH_NOARGS, "__enter__($self, /)\n--\n\nReturns the context."},
    {"__exit__", (PyCFunction)(void (*)(void))context_exit, METH_FASTCALL,
     "__exit__($self, type, value, traceback, /)\n--\n\nCancels the context."},
    {"__reduce__", refuse_pickle, METH_NOARGS, "__reduce__($self, /)\n--\n\nRefuses: it cannot be copied."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef context_getset[] = {
    {"cause", (getter)context_get_cause, NULL,
     "What it was cancelled with, an exception or a str; a DeadlineExceeded after its\n"
     "deadline; None if it was cancelled with nothing, or lives.",
     NULL},
    {"id", (getter)context_get_id, NULL,
     "A number by which attach() finds the context in another language of this process. It\ndoes not keep the context.",
     NULL},
    {"deadline", (getter)context_get_deadline, NULL,
     "When its time is over, on the clock of time.monotonic(), in seconds; or None.\n"
     "Always the same number, which may be handed on as the deadline= of another.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef context_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Context, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot context_slots[] = {
    {Py_tp_new, context_new},
    {Py_tp_dealloc, context_dealloc},
    {Py_tp_traverse, context_traverse},
    {Py_tp_repr, context_repr},
    {Py_tp_doc, (void *)context_doc},
    {Py_tp_methods, context_methods},
    {Py_tp_getset, context_getset},
    {Py_tp_members, context_members},
    {Py_am_await, context_await},
    {Py_tp_finalize, context_finalize},
    {0, NULL},
};

PyType_Spec context_spec = {
    .name = "cwaitgroup.Context",
    .basicsize = sizeof(Context),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = context_slots,
};
