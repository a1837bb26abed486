/* module.c - the module cwaitgroup._core: its types, its state, its birth and its end. */
#define _GNU_SOURCE 1 /* dladdr */
#include "binding.h"

#include "fits.h"

/* How long an exit waits for workers, whose tasks it has cancelled, and for other threads that are inside, at most. An
 * interpreter that is not the main one cannot end before they have. */
#define EXIT_PATIENCE WG_SECOND

static state *state_of_module(PyObject *module) { return PyModule_GetState(module); }

state *state_of_type(PyTypeObject *type) { return PyType_GetModuleState(type); }

/* Make *slot the attribute `name` of a module. */
static int import(const char *module_name, const char *name, PyObject **slot) {
    PyObject *module = PyImport_ImportModule(module_name);
    *slot = module ? PyObject_GetAttrString(module, name) : NULL;
    Py_XDECREF(module);
    return *slot ? 0 : -1;
}

PyObject *call_python(const char *module, const char *name, PyObject *const *args, size_t nargs) {
    PyObject *function, *result = NULL;
    if (import(module, name, &function) == 0)
        result = PyObject_Vectorcall(function, args, nargs, NULL);
    Py_XDECREF(function);
    return result;
}

PyObject *await_iterator(PyObject *object, const char *name) {
    PyObject *coroutine = call_python("cwaitgroup._async", name, &object, 1), *iterator = NULL;
    if (coroutine)
        iterator = PyObject_CallMethod(coroutine, "__await__", NULL);
    Py_XDECREF(coroutine);
    return iterator;
}

static PyObject *current_context(PyObject *module, PyObject *Py_UNUSED(unused)) {
    state *st = state_of_module(module);
    Context *context = context_of_this_task(st);
    return context || PyErr_Occurred() ? (PyObject *)context : Py_NewRef((PyObject *)st->root);
}

PyDoc_STRVAR(current_context_doc,
             "current_context($module, /)\n"
             "--\n"
             "\n"
             "The Context of the ErrGroup whose task runs in this thread.\n"
             "\n"
             "Outside of any task it is the root, which never ends, so that functions work in both\n"
             "places. The root cannot be cancelled.\n"
             "\n"
             ">>> with ErrGroup() as g:\n"
             "...     g.go(current_context).result() is g.context\n"
             "True");

PyDoc_STRVAR(attach_doc, "attach($module, id, /)\n"
                         "--\n"
                         "\n"
                         "The WaitGroup, ErrGroup or Context with that id, made in any language of this process.\n"
                         "\n"
                         "`id` is what its attribute `id` gives in Python, its method `id()` in Lua, and\n"
                         "wg_errgroup_id() and its like in C. An id owns nothing: whoever gives it away keeps\n"
                         "the object until the other side has attached. The same object comes back each time.\n"
                         "\n"
                         ">>> group = ErrGroup()\n"
                         ">>> attach(group.id) is group\n"
                         "True\n"
                         "\n"
                         "Raises LookupError if no object has the id, or if its object is gone, is known to its\n"
                         "own language only, or is of a process from which this one was forked; TypeError if\n"
                         "`id` is no int. Any thread may call it.");

static PyObject *pool_counts(PyObject *module, PyObject *Py_UNUSED(unused)) {
    state *st = state_of_module(module);
    return Py_BuildValue("II", wg_pool_workers(st->pool), wg_pool_queued(st->pool));
}

/* End the contexts of the interpreter, with the reason. */
static void end_all_contexts(state *st) {
    PyObject *cause = PyUnicode_FromString("the Python interpreter is shutting down");
    if (context_cancel_with(st->root, cause) < 0)
        wg_context_cancel(st->base, NULL);
    Py_XDECREF(cause);
    PyErr_Clear();
}

/* The interpreter ends: cancel what still runs, start nothing any more, and wait for the workers that stop. */
static PyObject *at_exit(PyObject *module, PyObject *Py_UNUSED(unused)) {
    state *st = state_of_module(module);
    guest *me = home_guest(st->home);
    if (wg_ids_in_use())
        errors_seal(st);
    end_all_contexts(st);
    wg_pool_stop(st->pool);
    atomic_store(&st->closing, true);
    home_close(st->home);
    if (me) {
        let_gone outer = let_go();
        home_wait_until_alone(st->home, st->daemons ? EXIT_PATIENCE : 0);
        take_again(me, outer);
    }
    home_delete_states(st->home);
    return Py_NewRef(Py_None);
}

static PyObject *after_fork_in_child(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused)) {
    wg_context_check(wg_context_root()); /* the first call there: deadlines from before are kept from now on */
    return Py_NewRef(Py_None);
}

static PyObject *current_task(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused)) {
    Task *task = self_thread()->task;
    return Py_NewRef(task ? (PyObject *)task : Py_None);
}

struct call_in {
    PyObject *fn, *args, *result;
};

static void make_call(void *raw) {
    struct call_in *call = raw;
    call->result = PyObject_Call(call->fn, call->args, NULL);
}

/* For what an executor runs for a group whose context is not in this process, or not of this thread. */
static PyObject *run_in_context(PyObject *module, PyObject *args) {
    state *st = state_of_module(module);
    Context *context;
    struct call_in call = {.result = NULL};
    if (!PyArg_ParseTuple(args, "O!OO!:_run_in_context", st->context_type, &context, &call.fn, &PyTuple_Type,
                          &call.args))
        return NULL;
    thread_self *self = self_thread();
    Context *outer = self->context;
    self->context = context;
    wg_context_run(context->core, make_call, &call);
    self->context = outer;
    return call.result;
}

static PyMethodDef functions[] = {
    {"current_context", current_context, METH_NOARGS, current_context_doc},
    {"attach", attach_object, METH_O, attach_doc},
    {"_current_task", current_task, METH_NOARGS,
     "_current_task($module, /)\n--\n\nThe Task that runs in this thread, or None."},
    {"_run_in_context", run_in_context, METH_VARARGS,
     "_run_in_context($module, context, fn, args, /)\n--\n\nfn(*args) in this thread, as if in a task of `context`."},
    {"_waiting_begin", waiting_begin, METH_VARARGS,
     "_waiting_begin($module, subject, event, context, doubtful, file, line, /)\n--\n\nThe tasks of this thread wait "
     "in an event "
     "loop; DeadlockError if for ever."},
    {"_waiting_end", waiting_end, METH_O, "_waiting_end($module, waiting, /)\n--\n\nThat wait is over."},
    {"_end_of_wait", end_of_wait, METH_VARARGS,
     "_end_of_wait($module, call, timeout, context, /)\n--\n\n"
     "When `call` gives up, on the clock of time.monotonic(), or None; refuses what is no timeout or no context."},
    {"_pool_counts", pool_counts, METH_NOARGS,
     "_pool_counts($module, /)\n--\n\nHow many worker threads there are, and how many tasks no worker has taken yet."},
    {"_at_exit", at_exit, METH_NOARGS, "_at_exit($module, /)\n--\n\nRuns when the interpreter exits."},
    {"_after_fork_in_child", after_fork_in_child, METH_NOARGS,
     "_after_fork_in_child($module, /)\n--\n\nRuns in the child of a fork."},
    {"_dump", inspect_dump, METH_NOARGS, "_dump($module, /)\n--\n\nWhat wg_dump tells."},
    {"_dump_on_signal", inspect_dump_on_signal, METH_VARARGS,
     "_dump_on_signal($module, signum, fd, /)\n--\n\nDump to `fd` whenever the signal comes."},
    {"_leaks", inspect_leaks, METH_O,
     "_leaks($module, since, /)\n--\n\nWhat wg_leaks tells of groups made at `since`, see _now(), or later."},
    {"_trace_start", inspect_trace_start, METH_O,
     "_trace_start($module, path, /)\n--\n\nBegin a timeline in the file with this path, as bytes."},
    {"_trace_stop", inspect_trace_stop, METH_NOARGS,
     "_trace_stop($module, /)\n--\n\nComplete the timeline, if there is one."},
    {"_trace_on", inspect_trace_on, METH_NOARGS, "_trace_on($module, /)\n--\n\nIs a timeline being written?"},
    {"_trace_name", inspect_trace_name, METH_VARARGS,
     "_trace_name($module, number, name, /)\n--\n\nWhat the timeline calls the thread with this native number."},
    {"_now", inspect_now, METH_NOARGS, "_now($module, /)\n--\n\nThe clock of the core, in nanoseconds."},
    {NULL, NULL, 0, NULL},
};

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **slot, bool public) {
    *slot = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    if (!*slot)
        return -1;
    return public ? PyModule_AddType(module, *slot) : 0;
}

static int add_types(PyObject *module, state *st) {
    return add_type(module, &waitgroup_spec, &st->waitgroup_type, true) < 0 ||
                   add_type(module, &errgroup_spec, &st->errgroup_type, true) < 0 ||
                   add_type(module, &task_spec, &st->task_type, true) < 0 ||
                   add_type(module, &context_spec, &st->context_type, true) < 0 ||
                   add_type(module, &group_spec, &st->group_type, false) < 0 ||
                   add_type(module, &callback_spec, &st->callback_type, false) < 0 ||
                   add_type(module, &worker_spec, &st->worker_type, false) < 0
               ? -1
               : 0;
}

/* Takes over the reference to `bases`. */
static int add_exception(PyObject *module, const char *name, const char *doc, PyObject *bases, PyObject **slot) {
    *slot = bases ? PyErr_NewExceptionWithDoc(name, doc, bases, NULL) : NULL;
    Py_XDECREF(bases);
    return *slot ? PyModule_AddObjectRef(module, strchr(name, '.') + 1, *slot) : -1;
}

static int add_method(PyObject *type, PyMethodDef *method) {
    PyObject *descriptor = PyDescr_NewMethod((PyTypeObject *)type, method);
    int result = descriptor ? PyObject_SetAttrString(type, method->ml_name, descriptor) : -1;
    Py_XDECREF(descriptor);
    return result;
}

static int add_exceptions(PyObject *module, state *st) {
    if (add_exception(module, "cwaitgroup.Cancelled",
                      "A context or a group has ended before the work was done; __cause__ is the cause, if it is an\n"
                      "exception.",
                      Py_NewRef(PyExc_Exception), &st->cancelled_error) < 0 ||
        add_method(st->cancelled_error, &cancelled_reduce_method) < 0 ||
        add_exception(module, "cwaitgroup.DeadlineExceeded",
                      "A context or a group has ended because its time was over.",
                      PyTuple_Pack(2, st->cancelled_error, PyExc_TimeoutError), &st->deadline_error) < 0 ||
        add_exception(module, "cwaitgroup.NegativeCounterError",
                      "A WaitGroup's count would have fallen below zero; it is unchanged.", Py_NewRef(PyExc_ValueError),
                      &st->negative_error) < 0 ||
        add_exception(module, "cwaitgroup.WaitTimeout",
                      "The `timeout` of a call has passed before what it waits for; no function of a task raises it.",
                      Py_NewRef(PyExc_TimeoutError), &st->timeout_error) < 0 ||
        add_exception(
            module, "cwaitgroup.ForeignError",
            "An error of a task of another language, or the cause of a cancellation there: its `message`, its\n"
            "`language`, its `traceback`, a str or None, and its `value`: what was thrown if that is None, a bool, a\n"
            "number, a string, or a list or dict of these, else None.",
            Py_NewRef(PyExc_Exception), &st->foreign_error) < 0)
        return -1;
    return add_exception(module, "cwaitgroup.DeadlockError",
                         "The call could never have returned, because it would have waited for itself.",
                         Py_NewRef(PyExc_RuntimeError), &st->deadlock_error);
}

static int import_all(state *st) {
    st->context_attribute = PyUnicode_InternFromString("_context");
    st->name_attribute = PyUnicode_InternFromString("name");
    st->qualname_attribute = PyUnicode_InternFromString("__qualname__");
    st->func_attribute = PyUnicode_InternFromString("func");
    st->call_attribute = PyUnicode_InternFromString("__call__");
    if (!st->context_attribute || !st->name_attribute || !st->qualname_attribute || !st->func_attribute ||
        !st->call_attribute)
        return -1;
    st->threading = PyImport_ImportModule("threading");
    if (!st->threading || import("threading", "Thread", &st->thread_type) < 0)
        return -1;
    return import("functools", "partial", (PyObject **)&st->partial_type);
}

/* Register a function of the module: name it as `registry`.`method`(function), or (keyword=function). */
static int on_event(PyObject *module, const char *function, const char *registry, const char *method,
                    const char *keyword) {
    PyObject *callback = PyObject_GetAttrString(module, function), *result = NULL, *registrar;
    if (callback && import(registry, method, &registrar) == 0) {
        PyObject *args = keyword ? PyTuple_New(0) : PyTuple_Pack(1, callback);
        PyObject *kwargs = keyword ? Py_BuildValue("{sO}", keyword, callback) : NULL;
        if (args && (kwargs || !keyword))
            result = PyObject_Call(registrar, args, kwargs);
        Py_XDECREF(args);
        Py_XDECREF(kwargs);
        Py_DECREF(registrar);
    }
    Py_XDECREF(callback);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* Workers of the main interpreter are daemon threads, dismissed by atexit, so that threads which outlive the main one
 * can use groups until they end. Other interpreters end only when all their threads have ended, and may allow no
 * daemons: there the workers must go before the interpreter waits for its threads, for which Python has no public
 * event; without it, an idle worker delays the interpreter's end by its idle time. */
static int register_events(PyObject *module, state *st) {
    bool early = !st->daemons && PyObject_HasAttrString(st->threading, "_register_atexit");
    if (on_event(module, "_at_exit", early ? "threading" : "atexit", early ? "_register_atexit" : "register", NULL) < 0)
        return -1;
    PyObject *os = PyImport_ImportModule("os");
    if (!os)
        return -1;
    bool forks = PyObject_HasAttrString(os, "register_at_fork");
    Py_DECREF(os);
    return forks ? on_event(module, "_after_fork_in_child", "os", "register_at_fork", "after_in_child") : 0;
}

static void dict_goes(PyObject *capsule) {
    home *h = PyCapsule_GetPointer(capsule, NULL);
    errors_outlive(h);
    home_is_gone(h);
    home_release(h);
}

/* The interpreter's own dictionary goes with it, whatever else leaks. */
static int watch_the_end(state *st) {
    PyObject *dict = PyInterpreterState_GetDict(st->interpreter);
    PyObject *key = PyUnicode_FromFormat("cwaitgroup._core at %p", st->home);
    PyObject *capsule = PyCapsule_New(home_retain(st->home), NULL, dict_goes);
    int result = -1;
    if (!capsule)
        home_release(st->home);
    else if (dict && key)
        result = PyDict_SetItem(dict, key, capsule);
    Py_XDECREF(key);
    Py_XDECREF(capsule);
    return result;
}

static int make_home(state *st) {
    PyObject *thread = PyObject_CallMethod(st->threading, "main_thread", NULL);
    PyObject *id = thread ? PyObject_GetAttrString(thread, "native_id") : NULL;
    Py_XDECREF(thread);
    if (!id)
        return -1;
    st->home = home_new(PyLong_AsUnsignedLong(id));
    Py_DECREF(id);
    if (PyErr_Occurred())
        return -1;
    if (!st->home) {
        PyErr_NoMemory();
        return -1;
    }
    return watch_the_end(st);
}

static int check_library(void) {
    char why[1024];
    if (wg_fits(why, sizeof why))
        return 0;
    PyErr_Format(PyExc_ImportError, "cwaitgroup: %s", why);
    return -1;
}

static int execute(PyObject *module) {
    state *st = state_of_module(module);
    if (check_library() < 0)
        return -1;
    st->module = module;
    st->interpreter = PyInterpreterState_Get();
    st->daemons = st->interpreter == PyInterpreterState_Main();
    if (import_all(st) < 0 || add_exceptions(module, st) < 0 || add_types(module, st) < 0 || make_home(st) < 0)
        return -1;
    wg_status status = wg_context_new(&st->base, wg_context_root(), WG_FOREVER);
    if (status != WG_OK) {
        raise_status(st, status, "import cwaitgroup");
        return -1;
    }
    st->root = context_wrap(st, wg_context_retain(st->base), NULL);
    if (!st->root || workers_start(st) < 0 || register_events(module, st) < 0)
        return -1;
    return PyModule_AddStringConstant(module, "__version__", wg_version()) < 0 ||
                   PyModule_AddStringConstant(module, "_park", wg_parking()) < 0 ||
                   PyModule_AddObjectRef(module, "_root", (PyObject *)st->root) < 0
               ? -1
               : 0;
}

/* The objects of the state, for traverse and clear. */
/* clang-format off */
#define EACH_OBJECT(st, DO)                                                                                            \
    DO(st->waitgroup_type) DO(st->errgroup_type) DO(st->group_type) DO(st->task_type) DO(st->context_type)             \
    DO(st->callback_type) DO(st->worker_type) DO(st->root) DO(st->cancelled_error) DO(st->deadline_error)              \
    DO(st->negative_error) DO(st->deadlock_error) DO(st->timeout_error) DO(st->thread_type) DO(st->threading)          \
    DO(st->partial_type) DO(st->context_attribute) DO(st->name_attribute) DO(st->qualname_attribute)                   \
    DO(st->func_attribute) DO(st->call_attribute) DO(st->foreign_error) DO(st->known)
/* clang-format on */

static int traverse(PyObject *module, visitproc visit, void *arg) {
    state *st = state_of_module(module);
#define VISIT(object) Py_VISIT(object);
    EACH_OBJECT(st, VISIT)
#undef VISIT
    return 0;
}

static int clear(PyObject *module) {
    state *st = state_of_module(module);
#define CLEAR(object) Py_CLEAR(object);
    EACH_OBJECT(st, CLEAR)
#undef CLEAR
    return 0;
}

static void release(void *module) {
    state *st = state_of_module(module);
    if (!st->module)
        return; /* the import was refused, perhaps because the library lacks what is called here */
    clear(module);
    wg_pool_release(st->pool);
    wg_context_release(st->base);
    home_release(st->home);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030D0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "cwaitgroup._core",
    .m_doc = "The extension behind cwaitgroup; import that.",
    .m_size = sizeof(state),
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = release,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }
