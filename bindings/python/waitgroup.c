/* waitgroup.c - cwaitgroup.WaitGroup. */
#include "binding.h"

typedef struct {
    PyObject_HEAD
    PyObject *weakrefs;
    state *st;
    wg_shared *shared;
    wg_waitgroup *wg; /* in that */
} WaitGroup;

wg_waitgroup *waitgroup_core(PyObject *self) { return ((WaitGroup *)self)->wg; }

/* `object` as a step of the count. A step too large for any count is one the core refuses. */
static bool step_from_object(PyObject *object, const char *call, int64_t *n) {
    int overflow;
    if (!PyLong_Check(object) && !PyIndex_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s: a count must be an int, not %.200s", call, Py_TYPE(object)->tp_name);
        return false;
    }
    *n = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (*n == -1 && PyErr_Occurred())
        return false;
    if (overflow)
        *n = overflow < 0 ? INT64_MIN : INT64_MAX;
    return true;
}

/* What a step of the count raises that the core has refused. `call` names it with its number. Returns NULL. */
static PyObject *raise_of_step(state *st, wg_status status, const char *call, int count) {
    if (status != WG_NEGATIVE && status != WG_OVERFLOW)
        return raise_status(st, status, call);
    if (count < 0)
        return PyErr_Format(class_of_status(st, status), "%s: a count is 0 to %d", call, WG_COUNT_MAX);
    return PyErr_Format(class_of_status(st, status), "%s: the count is %d, and %s", call, count,
                        status == WG_NEGATIVE ? "would fall below zero: more done() than add(); it is unchanged"
                                              : "would pass 2147483647; it is unchanged");
}

/* Takes over the reference to `shared`, also when it fails. */
static PyObject *wrap(state *st, wg_shared *shared) {
    WaitGroup *self = (WaitGroup *)st->waitgroup_type->tp_alloc(st->waitgroup_type, 0);
    if (!self) {
        wg_shared_release(shared);
        return NULL;
    }
    self->st = st;
    self->shared = shared;
    self->wg = wg_shared_waitgroup(shared);
    return (PyObject *)self;
}

PyObject *waitgroup_wrap(state *st, wg_shared *core) {
    PyObject *self = wrap(st, core);
    if (self && make_known(st, core, self) < 0)
        Py_CLEAR(self);
    return self;
}

static PyObject *waitgroup_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"n", NULL};
    PyObject *object = NULL;
    int64_t n = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:WaitGroup", names, &object))
        return NULL;
    if (object && !step_from_object(object, "WaitGroup()", &n))
        return NULL;
    state *st = state_of_type(type);
    wg_shared *shared;
    if (wg_shared_new(&shared) != WG_OK)
        return PyErr_NoMemory();
    WaitGroup *self = (WaitGroup *)wrap(st, shared);
    if (!self)
        return NULL;
    wg_status status = wg_add(self->wg, n);
    if (status != WG_OK) {
        char call[48];
        Py_DECREF(self);
        snprintf(call, sizeof call, "WaitGroup(%lld)", (long long)n);
        return raise_of_step(st, status, call, -1);
    }
    return (PyObject *)self;
}

static void waitgroup_dealloc(WaitGroup *self) {
    PyTypeObject *type = Py_TYPE(self);
    if (self->weakrefs)
        PyObject_ClearWeakRefs((PyObject *)self);
    forget_known(self->st, self->shared);
    wg_shared_release(self->shared);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *waitgroup_repr(WaitGroup *self) {
    return PyUnicode_FromFormat("<cwaitgroup.WaitGroup count=%d>", (int)wg_count(self->wg));
}

static PyObject *waitgroup_add(WaitGroup *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int64_t n = 1;
    if (kwnames && PyTuple_GET_SIZE(kwnames)) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, 0);
        if (nargs || PyTuple_GET_SIZE(kwnames) > 1 || PyUnicode_CompareWithASCIIString(name, "n") != 0)
            return PyErr_Format(PyExc_TypeError, "WaitGroup.add() takes one argument, n");
    } else if (nargs > 1) {
        return PyErr_Format(PyExc_TypeError, "WaitGroup.add() takes one argument, n, but %zd were given", nargs);
    } else if (!nargs) {
        args = NULL;
    }
    if (args && !step_from_object(args[0], "WaitGroup.add()", &n))
        return NULL;
    wg_status status = wg_add(self->wg, n);
    if (status == WG_OK)
        return Py_NewRef(Py_None);
    char call[48];
    snprintf(call, sizeof call, "WaitGroup.add(%lld)", (long long)n);
    return raise_of_step(self->st, status, call, wg_count(self->wg));
}

static PyObject *waitgroup_done(WaitGroup *self, PyObject *Py_UNUSED(unused)) {
    wg_status status = wg_done(self->wg);
    if (status != WG_OK)
        return raise_of_step(self->st, status, "WaitGroup.done()", 0);
    return Py_NewRef(Py_None);
}

static wg_status call_wait(void *wg, const wg_until *until) { return wg_wait(wg, until); }

static PyObject *waitgroup_wait_until(WaitGroup *self, const char *call, int64_t deadline, Context *context) {
    int status = block(self->st, call_wait, self->wg, deadline, context ? context->core : NULL);
    switch (status) {
    case WG_OK: return Py_NewRef(Py_True);
    case WG_TIMEOUT: return Py_NewRef(Py_False);
    case WG_CONTEXT_ENDED: return raise_wait_ended(self->st, call, context);
    case WG_DEADLOCK: return raise_deadlock(self->st, call);
    case RAISED: return NULL;
    default: return raise_status(self->st, status, call);
    }
}

static PyObject *waitgroup_wait(WaitGroup *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char call[] = "WaitGroup.wait()";
    static const wg_until poll = {.deadline = WG_POLL};
    int64_t deadline;
    Context *context;
    if (nargs == 0 && !kwnames && wg_wait(self->wg, &poll) == WG_OK)
        return Py_NewRef(Py_True); /* as cheap as a look at the count */
    if (!parse_wait(self->st, call, args, nargs, kwnames, &deadline, &context))
        return NULL;
    return waitgroup_wait_until(self, call, deadline, context);
}

/* Take `lock`, whatever signal handlers raise meanwhile: `raised`, which may be NULL, is set afterwards, or what came last
 * with it as its context. Takes over the reference. */
static void take_back(PyObject *lock, PyObject *raised) {
    PyObject *taken;
    for (int tries = 100; !(taken = PyObject_CallMethod(lock, "acquire", NULL)) && tries > 0; tries--) {
        PyObject *later = PyErr_GetRaisedException();
        PyException_SetContext(later, raised);
        raised = later;
    }
    Py_XDECREF(taken);
    if (taken && raised)
        PyErr_SetRaisedException(raised);
    else
        Py_XDECREF(raised);
}

/* For a condition variable: a wait in one step, between which and the lock no signal handler can raise. */
static PyObject *waitgroup_wait_without(WaitGroup *self, PyObject *args) {
    PyObject *lock, *timeout, *given, *released;
    const char *call;
    int64_t deadline;
    Context *context;
    if (!PyArg_ParseTuple(args, "OsOO:WaitGroup._wait_without", &lock, &call, &timeout, &given) ||
        !check_context(self->st, call, given, &context) || !deadline_from_timeout(timeout, call, &deadline) ||
        !(released = PyObject_CallMethod(lock, "release", NULL)))
        return NULL;
    Py_DECREF(released);
    PyObject *result = waitgroup_wait_until(self, call, deadline, context);
    take_back(lock, result ? NULL : PyErr_GetRaisedException());
    if (PyErr_Occurred())
        Py_CLEAR(result);
    return result;
}

static PyObject *waitgroup_go(WaitGroup *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char call[] = "WaitGroup.go()";
    state *st = self->st;
    Task *task = task_new(st, call, (PyObject *)self, args, nargs, kwnames, NULL);
    if (!task)
        return NULL;
    wg_task core = task_for_core(task);
    wg_status status = wg_start(self->wg, &core);
    if (status != WG_OK) {
        task_discard(task);
        return raise_status(st, status, call);
    }
    Py_DECREF(task);
    return Py_NewRef(Py_None);
}

static PyObject *waitgroup_observe(WaitGroup *self, PyObject *fn) {
    return callback_for_event(self->st, wg_zero(self->wg), (PyObject *)self, fn);
}

static PyObject *waitgroup_get_count(WaitGroup *self, void *Py_UNUSED(unused)) {
    return PyLong_FromLong(wg_count(self->wg));
}

static PyObject *waitgroup_get_id(WaitGroup *self, void *Py_UNUSED(unused)) {
    return id_of(self->st, wg_shared_id(self->shared), self->shared, (PyObject *)self);
}

static PyObject *waitgroup_enter(WaitGroup *self, PyObject *Py_UNUSED(unused)) { return Py_NewRef((PyObject *)self); }

static PyObject *waitgroup_exit(WaitGroup *self, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs)) {
    PyObject *waited = waitgroup_wait_until(self, "the end of a WaitGroup's block", WG_FOREVER, NULL);
    if (!waited)
        return NULL;
    Py_DECREF(waited);
    return Py_NewRef(Py_False);
}

static PyObject *waitgroup_await(PyObject *self) { return await_iterator(self, "wait_for_count"); }

PyDoc_STRVAR(waitgroup_doc, "WaitGroup(n=0)\n"
                            "--\n"
                            "\n"
                            "Wait until a number of things have happened.\n"
                            "\n"
                            "It counts: add() before something starts, done() when it has happened, wait()\n"
                            "until the count is zero. It may be used again and again, from any thread.\n"
                            "`n` is the count to begin with, 0 to 2147483647.\n"
                            "\n"
                            ">>> wg = WaitGroup()\n"
                            ">>> results = []\n"
                            ">>> for i in range(3):\n"
                            "...     wg.go(results.append, i)\n"
                            ">>> wg.wait()\n"
                            "True\n"
                            ">>> sorted(results)\n"
                            "[0, 1, 2]\n"
                            "\n"
                            "In a with statement, leaving the block waits. `await wg` waits in asyncio and\n"
                            "in trio.\n"
                            "\n"
                            "Raises NegativeCounterError or OverflowError if `n` is out of range.");

PyDoc_STRVAR(waitgroup_add_doc, "add($self, /, n=1)\n"
                                "--\n"
                                "\n"
                                "Add `n`, which may be negative, to the count.\n"
                                "\n"
                                "Add before starting what will call done(): an add() in the new thread may come\n"
                                "after the wait(). Adding while others still wake up from an earlier zero is fine.\n"
                                "\n"
                                ">>> wg = WaitGroup()\n"
                                ">>> wg.add(2)\n"
                                ">>> wg.count\n"
                                "2\n"
                                "\n"
                                "Raises NegativeCounterError if the count would fall below zero, OverflowError if\n"
                                "it would pass 2147483647; then the count is unchanged. Any thread may call it.");

PyDoc_STRVAR(waitgroup_done_doc, "done($self, /)\n"
                                 "--\n"
                                 "\n"
                                 "Subtract one from the count; at zero, every thread that waits wakes up.\n"
                                 "\n"
                                 "What a thread did before done() is visible to whoever returns from the wait()\n"
                                 "that it ended.\n"
                                 "\n"
                                 ">>> wg = WaitGroup(1)\n"
                                 ">>> wg.done()\n"
                                 ">>> wg.count\n"
                                 "0\n"
                                 "\n"
                                 "Raises NegativeCounterError, and changes nothing, if the count is zero. Any\n"
                                 "thread may call it.");

PyDoc_STRVAR(waitgroup_wait_doc,
             "wait($self, /, timeout=None, *, context=None)\n"
             "--\n"
             "\n"
             "Wait until the count is zero, or has been zero since the call.\n"
             "\n"
             "`timeout` is in seconds; None waits for ever and 0 only looks. Returns True if\n"
             "the count reached zero, False if the time was over first.\n"
             "\n"
             ">>> wg = WaitGroup(1)\n"
             ">>> wg.wait(timeout=0.01)\n"
             "False\n"
             ">>> wg.done()\n"
             ">>> wg.wait()\n"
             "True\n"
             "\n"
             "Raises Cancelled (or DeadlineExceeded) when `context`, a Context, ends first, by\n"
             "default that of the task that waits; ValueError for a negative or NaN timeout;\n"
             "DeadlockError when a task would wait for ever, as for itself;\n"
             "RuntimeError in the child of a fork, if the count is of tasks of the parent. Ctrl-C\n"
             "interrupts it at once. Any thread may call it; a wait that ends early leaves nothing\n"
             "behind.");

PyDoc_STRVAR(waitgroup_go_doc, "go($self, fn, /, *args, **kwargs)\n"
                               "--\n"
                               "\n"
                               "Run fn(*args, **kwargs) in a worker thread: add(), run, done() however it ends.\n"
                               "\n"
                               "It runs in a copy of the caller's contextvars. An exception goes to\n"
                               "threading.excepthook; use ErrGroup if you need it, or the result.\n"
                               "\n"
                               ">>> wg, said = WaitGroup(), []\n"
                               ">>> wg.go(said.append, 'hello')\n"
                               ">>> wg.wait(), said\n"
                               "(True, ['hello'])\n"
                               "\n"
                               "Raises TypeError if `fn` cannot be called or is async; RuntimeError if no thread\n"
                               "can be started or the interpreter is shutting down. Any thread may call it.");

PyDoc_STRVAR(waitgroup_observe_doc, "_observe($self, fn, /)\n"
                                    "--\n"
                                    "\n"
                                    "Call `fn` once when the count reaches zero; returns stop(), as add_callback().");

static PyMethodDef waitgroup_methods[] = {
    {"add", (PyCFunction)(void (*)(void))waitgroup_add, METH_FASTCALL | METH_KEYWORDS, waitgroup_add_doc},
    {"done", (PyCFunction)waitgroup_done, METH_NOARGS, waitgroup_done_doc},
    {"wait", (PyCFunction)(void (*)(void))waitgroup_wait, METH_FASTCALL | METH_KEYWORDS, waitgroup_wait_doc},
    {"go", (PyCFunction)(void (*)(void))waitgroup_go, METH_FASTCALL | METH_KEYWORDS, waitgroup_go_doc},
    {"_wait_without", (PyCFunction)waitgroup_wait_without, METH_VARARGS,
     "_wait_without($self, lock, call, timeout, context, /)\n--\n\n"
     "As wait(), for `call`, with a lock that the caller holds let go meanwhile; held again whatever this raises."},
    {"_observe", (PyCFunction)waitgroup_observe, METH_O, waitgroup_observe_doc},
    {"__enter__", (PyCFunction)waitgroup_enter, METH_NOARGS, "__enter__($self, /)\n--\n\nReturns the wait group."},
    {"__exit__", (PyCFunction)(void (*)(void))waitgroup_exit, METH_FASTCALL,
     "__exit__($self, type, value, traceback, /)\n--\n\nWaits, also if the block has failed."},
    {"__reduce__", refuse_pickle, METH_NOARGS, "__reduce__($self, /)\n--\n\nRefuses: it cannot be copied."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef waitgroup_getset[] = {
    {"count", (getter)waitgroup_get_count, NULL,
     "The count just now, an int; it may have changed by the time you look.", NULL},
    {"id", (getter)waitgroup_get_id, NULL,
     "A number by which attach() finds the wait group in another language of this process.\nIt does not keep the wait "
     "group.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef waitgroup_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(WaitGroup, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot waitgroup_slots[] = {
    {Py_tp_new, waitgroup_new},         {Py_tp_dealloc, waitgroup_dealloc}, {Py_tp_repr, waitgroup_repr},
    {Py_tp_doc, (void *)waitgroup_doc}, {Py_tp_methods, waitgroup_methods}, {Py_tp_getset, waitgroup_getset},
    {Py_tp_members, waitgroup_members}, {Py_am_await, waitgroup_await},     {0, NULL},
};

PyType_Spec waitgroup_spec = {
    .name = "cwaitgroup.WaitGroup",
    .basicsize = sizeof(WaitGroup),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = waitgroup_slots,
};
