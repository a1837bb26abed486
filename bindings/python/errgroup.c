/* errgroup.c - cwaitgroup.ErrGroup, the user's handle of a GroupState. */
#include "binding.h"

#include "errgroup_doc.h"

typedef struct {
    PyObject_HEAD
    PyObject *weakrefs;
    GroupState *group;
    PyObject *executor; /* that runs its tasks, or NULL: threads do */
    PyObject *sender;   /* of cwaitgroup._executor, once a task was sent to an executor; or NULL */
    PyObject *body;     /* of an `async with`, for cwaitgroup._async; or NULL */
    enum { NOT_ENTERED, BY_WITH, BY_ASYNC_WITH } entered;
} ErrGroup;

wg_errgroup *errgroup_core(PyObject *self) { return ((ErrGroup *)self)->group->core; }

/* --- Making --- */

/* An int of at least `least`; *n is at most `most`. */
static bool int_from_object(PyObject *object, const char *call, const char *name, int least, int most, int *n) {
    if (!PyIndex_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s: %s must be an int, not %.200s", call, name, Py_TYPE(object)->tp_name);
        return false;
    }
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (value == -1 && PyErr_Occurred())
        return false;
    if (overflow < 0 || (!overflow && value < least)) {
        raise_showing(PyExc_ValueError, object, "", "%s: %s must be at least %d; got ", call, name, least);
        return false;
    }
    *n = overflow || value > most ? most : (int)value;
    return true;
}

/* None is WG_NO_LIMIT. */
static bool limit_from_object(PyObject *object, const char *call, int *limit) {
    *limit = WG_NO_LIMIT;
    return !object || object == Py_None || int_from_object(object, call, "limit", 1, WG_NO_LIMIT, limit);
}

static bool backlog_from_object(PyObject *object, const char *call, int *backlog) {
    *backlog = 0;
    return !object || int_from_object(object, call, "backlog", 0, INT_MAX / 2, backlog);
}

/* One of two words: *second tells whether `object` is words[1]; it is not if `object` is NULL. */
static bool word_from_object(PyObject *object, const char *call, const char *name, const char *const words[2],
                             bool *second) {
    *second = object && PyUnicode_Check(object) && PyUnicode_CompareWithASCIIString(object, words[1]) == 0;
    if (!object || *second || (PyUnicode_Check(object) && PyUnicode_CompareWithASCIIString(object, words[0]) == 0))
        return true;
    raise_showing(PyExc_ValueError, object, "", "%s: %s must be '%s' or '%s', not ", call, name, words[0], words[1]);
    return false;
}

/* A str, borrowed, or NULL for None. */
static bool name_from_object(PyObject *object, const char *call, PyObject **name) {
    *name = !object || object == Py_None ? NULL : object;
    if (!*name || PyUnicode_Check(*name))
        return true;
    PyErr_Format(PyExc_TypeError, "%s: name must be a str or None, not %.200s", call, Py_TYPE(object)->tp_name);
    return false;
}

/* The parent of a group: the Context given, or, for None, that of this thread's task; a new reference. */
static bool parent_from_object(state *st, PyObject *object, const char *call, Context **parent) {
    if (object && object != Py_None && Py_TYPE(object) != st->context_type) {
        PyErr_Format(PyExc_TypeError, "%s: context must be a Context or None, not %.200s", call,
                     Py_TYPE(object)->tp_name);
        return false;
    }
    *parent = !object || object == Py_None ? context_of_this_task(st) : (Context *)Py_NewRef(object);
    return !PyErr_Occurred();
}

/* An executor, borrowed, or NULL for None. */
static bool executor_from_object(PyObject *object, const char *call, PyObject **executor) {
    *executor = !object || object == Py_None ? NULL : object;
    if (!*executor)
        return true;
    PyObject *submit = PyType_Check(object) ? NULL : PyObject_GetAttrString(object, "submit");
    bool callable = submit && PyCallable_Check(submit);
    Py_XDECREF(submit);
    PyErr_Clear();
    if (!callable)
        raise_showing(PyExc_TypeError, object, "", "%s: executor must be a concurrent.futures.Executor or None, not ",
                      call);
    return callable;
}

/* The arguments of ErrGroup(). False with an exception set. */
static bool parse_options(state *st, PyObject *args, PyObject *kwargs, group_options *options,
                          wg_errgroup_options *core, PyObject **executor) {
    static char *names[] = {"limit", "timeout",  "grace",   "context",  "errors",
                            "name",  "on_error", "backlog", "executor", NULL};
    PyObject *limit = NULL, *timeout = NULL, *grace = NULL, *parent = NULL, *errors = NULL, *name = NULL,
             *on_error = NULL, *backlog = NULL, *runs = NULL;
    static const char *const on_errors[] = {"cancel", "continue"}, *const which[] = {"first", "all"};
    static const char call[] = "ErrGroup()";
    int64_t grace_ns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$OOOOOOOO:ErrGroup", names, &limit, &timeout, &grace, &parent,
                                     &errors, &name, &on_error, &backlog, &runs) ||
        !limit_from_object(limit, call, &core->limit) ||
        !deadline_from_timeout(timeout, "ErrGroup(): timeout", &core->deadline) ||
        !nanoseconds_from_timeout(grace, "ErrGroup(): grace", &grace_ns) ||
        !word_from_object(errors, call, "errors", which, &options->all_errors) ||
        !name_from_object(name, call, &options->name) || !parent_from_object(st, parent, call, &options->parent) ||
        !word_from_object(on_error, call, "on_error", on_errors, &core->continue_on_error) ||
        !backlog_from_object(backlog, call, &core->backlog) || !executor_from_object(runs, call, executor))
        return false;
    options->grace = grace_ns == INT64_MAX ? 0 : grace_ns > 0 ? grace_ns : 1;
    return true;
}

/* Takes over the reference to `group`, which may be NULL with an exception set. */
static PyObject *handle_of(state *st, GroupState *group, PyObject *executor) {
    ErrGroup *self = group ? (ErrGroup *)st->errgroup_type->tp_alloc(st->errgroup_type, 0) : NULL;
    if (!self) {
        Py_XDECREF((PyObject *)group);
        return NULL;
    }
    self->group = group;
    self->executor = Py_XNewRef(executor);
    return (PyObject *)self;
}

static PyObject *errgroup_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    state *st = state_of_type(type);
    group_options options = {.parent = NULL};
    wg_errgroup_options core = {.pool = st->pool};
    PyObject *executor = NULL;
    GroupState *group = NULL;
    if (parse_options(st, args, kwargs, &options, &core, &executor))
        group = group_new(st, &options, &core);
    Py_XDECREF((PyObject *)options.parent);
    return handle_of(st, group, executor);
}

PyObject *errgroup_wrap(state *st, wg_errgroup *core) {
    PyObject *self = handle_of(st, group_attach(st, core), NULL);
    if (self && make_known(st, core, self) < 0)
        Py_CLEAR(self);
    return self;
}

static int errgroup_traverse(ErrGroup *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->group);
    Py_VISIT(self->executor);
    Py_VISIT(self->sender);
    Py_VISIT(self->body);
    return 0;
}

static void warn_of_unfinished(ErrGroup *self) {
    GroupState *group = self->group;
    unsigned long n = group_unfinished(group);
    if (n == 0 || atomic_load(&group->left_behind) || atomic_load(&group->st->closing))
        return;
    if (PyErr_ResourceWarning((PyObject *)self, 1,
                              "%R was dropped with %lu unfinished task%s: wait for %s, or use it in a with statement",
                              self, n, n == 1 ? "" : "s", n == 1 ? "it" : "them") < 0)
        PyErr_WriteUnraisable((PyObject *)self);
}

static void errgroup_finalize(ErrGroup *self) {
    if (!self->group || atomic_load(&self->group->shared)) /* then somebody else may wait for it */
        return;
    PyObject *raised = PyErr_GetRaisedException();
    warn_of_unfinished(self);
    group_report_lost(self->group, (PyObject *)self);
    if (raised)
        PyErr_SetRaisedException(raised);
}

static void errgroup_dealloc(ErrGroup *self) {
    if (PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0)
        return;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs)
        PyObject_ClearWeakRefs((PyObject *)self);
    if (self->group)
        forget_known(self->group->st, self->group->core);
    Py_XDECREF((PyObject *)self->group);
    Py_XDECREF(self->executor);
    Py_XDECREF(self->sender);
    Py_XDECREF(self->body);
    type->tp_free(self);
    Py_DECREF(type);
}

/* " error=ValueError('x')", " ended", or "". */
static PyObject *text_of_end(GroupState *group) {
    wg_error *first;
    if (wg_errgroup_errors(group->core, &first, 1) == 0)
        return PyUnicode_FromString(wg_context_status(group->context->core) != WG_OK ? " ended" : "");
    PyObject *exception = value_of_error(group->context, first), *text = exception ? safe_repr(exception) : NULL;
    Py_XDECREF(exception);
    if (text)
        Py_SETREF(text, PyUnicode_FromFormat(" error=%U", text));
    return text;
}

static PyObject *errgroup_repr(ErrGroup *self) {
    int inside = Py_ReprEnter((PyObject *)self); /* of an error that refers to its group */
    if (inside)
        return inside > 0 ? PyUnicode_FromString("<cwaitgroup.ErrGroup ...>") : NULL;
    GroupState *group = self->group;
    wg_errgroup_counts counts = wg_errgroup_get_counts(group->core);
    int limit = wg_errgroup_limit(group->core);
    char limited[32] = "";
    if (limit)
        snprintf(limited, sizeof limited, " limit=%d", limit);
    PyObject *end = text_of_end(group), *repr = NULL;
    if (end)
        repr = PyUnicode_FromFormat("<cwaitgroup.ErrGroup%s%V pending=%lu running=%lu completed=%lu%s%U>",
                                    group->name ? " " : "", group->name, "", counts.pending, counts.running,
                                    counts.completed, limited, end);
    Py_XDECREF(end);
    Py_ReprLeave((PyObject *)self);
    return repr;
}

/* --- Starting tasks --- */

/* How a task is to be started. */
struct start {
    const char *call;
    enum { SLOT_NOW, SLOT_OR_BACKLOG_NOW, SLOT_TAKEN, MAY_BLOCK } wait;
    Context *context;   /* that ends the wait for a slot, or NULL */
    PyObject *name;     /* of the task, or NULL */
    Callback *slot;     /* of SLOT_TAKEN: it has been taken for this one */
    PyObject *executor; /* NULL: that of the group */
};

struct core_start {
    wg_errgroup *group;
    wg_task task;
};

static wg_status call_start(void *arg, const wg_until *until) {
    struct core_start *start = arg;
    return wg_errgroup_start(start->group, &start->task, until);
}

/* To block here would stop an event loop; in a plain with block that is what the user asked for. -1 with an exception set
 * if so, which says `why` and what to do instead. */
static int check_event_loop(ErrGroup *self, const char *call, const char *why) {
    if (self->entered == BY_WITH)
        return 0;
    PyObject *runs = call_python("cwaitgroup._async", "loop_is_running", NULL, 0);
    if (runs == Py_True)
        PyErr_Format(PyExc_RuntimeError, "%s: %s", call, why);
    Py_XDECREF(runs);
    return PyErr_Occurred() ? -1 : 0;
}

/* RAISED unless this call may wait for a slot here. */
static int check_wait_for_slot(ErrGroup *self, const char *call) {
    char why[200];
    snprintf(why, sizeof why,
             "no slot is free at the limit of %d, and to wait for one would stop the event loop that runs in this "
             "thread; write `await group.go_async(fn, ...)`, or use try_go()",
             wg_errgroup_limit(self->group->core));
    return check_event_loop(self, call, why) < 0 ? RAISED : WG_OK;
}

/* Start the task in the slot that `slot` waits for. WG_LIMIT: it has not come. */
static wg_status start_in_slot(const struct core_start *start, Callback *slot) {
    wg_status status = callback_take_slot(slot);
    return status == WG_OK ? wg_errgroup_start_slot(start->group, &start->task) : status;
}

/* The status of the core, or RAISED. */
static int submit(ErrGroup *self, Task *task, const struct start *how) {
    struct core_start start = {self->group->core, task_for_core(task)};
    if (how->wait == SLOT_NOW)
        return wg_errgroup_try_start(start.group, &start.task);
    if (how->wait == SLOT_TAKEN)
        return start_in_slot(&start, how->slot);
    wg_context *context = how->context ? how->context->core : NULL;
    wg_status status = call_start(&start, &(wg_until){.deadline = WG_POLL, .context = context});
    if (status != WG_TIMEOUT || how->wait != MAY_BLOCK)
        return status;
    if (check_wait_for_slot(self, how->call) == RAISED)
        return RAISED;
    return block(self->group->st, call_start, &start, WG_FOREVER, context);
}

/* The core has not taken the task. */
static PyObject *refuse(ErrGroup *self, Task *task, const struct start *how, int status) {
    GroupState *group = self->group;
    task_discard(task);
    switch (status) {
    case RAISED: return NULL;
    case WG_LIMIT:
    case WG_TIMEOUT: return Py_NewRef(Py_None);
    case WG_CONTEXT_ENDED: return raise_wait_ended(group->st, how->call, how->context);
    default: return group_raise_status(group, status, how->call);
    }
}

static wg_status call_wait_for_slot(void *group, const wg_until *until) { return wg_event_wait(wg_slot(group), until); }

/* Take a slot for a task that an executor runs, and enter it. The status of the core, or RAISED. */
static int enter_elsewhere(ErrGroup *self, const struct start *how) {
    wg_errgroup *core = self->group->core;
    int status;
    if (how->wait == SLOT_TAKEN) {
        status = (int)callback_take_slot(how->slot);
        return status == WG_OK ? (int)wg_errgroup_enter_slot(core) : status;
    }
    status = (int)wg_errgroup_enter(core);
    if (status != WG_LIMIT || how->wait != MAY_BLOCK)
        return status;
    if (check_wait_for_slot(self, how->call) == RAISED)
        return RAISED;
    wg_context *context = how->context ? how->context->core : NULL;
    status = block(self->group->st, call_wait_for_slot, core, WG_FOREVER, context);
    return status == WG_OK ? (int)wg_errgroup_enter_slot(core) : status;
}

/* The Sender of the group, a new reference; NULL with an exception set. */
static PyObject *get_sender(ErrGroup *self) {
    PyObject *context = (PyObject *)self->group->context, *sender;
    Py_BEGIN_CRITICAL_SECTION(self);
    sender = Py_XNewRef(self->sender);
    Py_END_CRITICAL_SECTION();
    if (sender || !(sender = call_python("cwaitgroup._executor", "Sender", &context, 1)))
        return sender;
    Py_BEGIN_CRITICAL_SECTION(self);
    if (!self->sender) /* of two that were made at once, both do their work */
        self->sender = Py_NewRef(sender);
    Py_END_CRITICAL_SECTION();
    return sender;
}

/* Have the Sender submit the call, whose arguments are those of a vectorcall. -1 with an exception set, or 0. */
static int send(ErrGroup *self, Task *task, PyObject *executor, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames) {
    PyObject *tuple = PyTuple_New(nargs - 1), *dict = PyDict_New(), *sent = NULL;
    for (Py_ssize_t i = 1; tuple && i < nargs; i++)
        PyTuple_SET_ITEM(tuple, i - 1, Py_NewRef(args[i]));
    bool whole = tuple && dict;
    for (Py_ssize_t i = 0; whole && kwnames && i < PyTuple_GET_SIZE(kwnames); i++)
        whole = PyDict_SetItem(dict, PyTuple_GET_ITEM(kwnames, i), args[nargs + i]) == 0;
    PyObject *sender = whole ? get_sender(self) : NULL;
    if (sender)
        sent = PyObject_CallMethod(sender, "send", "OOOOO", task, executor, args[0], tuple, dict);
    Py_XDECREF(sender);
    Py_XDECREF(tuple);
    Py_XDECREF(dict);
    Py_XDECREF(sent);
    return sent ? 0 : -1;
}

/* The Sender ends the task if the executor refuses it. What the Sender raises is the caller's: an interrupt. */
static PyObject *start_elsewhere(ErrGroup *self, const struct start *how, PyObject *executor, PyObject *const *args,
                                 Py_ssize_t nargs, PyObject *kwnames) {
    GroupState *group = self->group;
    Task *task = task_new_elsewhere(group->st, how->call, (PyObject *)group, args, nargs, how->name);
    int status = task ? enter_elsewhere(self, how) : RAISED;
    if (status != WG_OK)
        return task ? refuse(self, task, how, status) : NULL;
    elsewhere_begin(task, group);
    if (send(self, task, executor, args, nargs, kwnames) == 0)
        return (PyObject *)task;
    PyObject *interrupt = PyErr_GetRaisedException();
    elsewhere_withdraw(task);
    Py_DECREF(task);
    PyErr_SetRaisedException(interrupt);
    return NULL;
}

static PyObject *start_task(ErrGroup *self, const struct start *how, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames) {
    PyObject *executor = how->executor ? how->executor : self->executor;
    if (executor)
        return start_elsewhere(self, how, executor, args, nargs, kwnames);
    Task *task = task_new(self->group->st, how->call, (PyObject *)self->group, args, nargs, kwnames, how->name);
    if (!task)
        return NULL;
    int status = submit(self, task, how);
    return status == WG_OK ? (PyObject *)task : refuse(self, task, how, status);
}

static PyObject *errgroup_go(ErrGroup *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const struct start how = {.call = "ErrGroup.go()", .wait = MAY_BLOCK};
    return start_task(self, &how, args, nargs, kwnames);
}

static PyObject *errgroup_try_go(ErrGroup *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const struct start how = {.call = "ErrGroup.try_go()"};
    return start_task(self, &how, args, nargs, kwnames);
}

/* For go_async() and start_async(): the name of the task, a str or None, comes first. */
static PyObject *errgroup_start_now(ErrGroup *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    struct start how = {.call = "ErrGroup.go_async()", .wait = SLOT_OR_BACKLOG_NOW};
    if (nargs < 1)
        return PyErr_Format(PyExc_TypeError, "ErrGroup._start_now() takes a name and a function");
    return name_from_object(args[0], how.call, &how.name) ? start_task(self, &how, args + 1, nargs - 1, kwnames) : NULL;
}

/* The same, after what _observe_slot() has returned. */
static PyObject *errgroup_start_in_slot(ErrGroup *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    struct start how = {.call = "ErrGroup.go_async()", .wait = SLOT_TAKEN};
    if (nargs < 2 || Py_TYPE(args[0]) != self->group->st->callback_type)
        return PyErr_Format(PyExc_TypeError, "ErrGroup._start_in_slot() takes a slot, a name and a function");
    how.slot = (Callback *)args[0];
    return name_from_object(args[1], how.call, &how.name) ? start_task(self, &how, args + 2, nargs - 2, kwnames) : NULL;
}

/* `args` of start() as a tuple, a new reference. */
static PyObject *tuple_of_args(PyObject *args) {
    if (!args)
        return PyTuple_New(0);
    if (PyTuple_Check(args) || PyList_Check(args))
        return PySequence_Tuple(args);
    return PyErr_Format(PyExc_TypeError, "ErrGroup.start(): args must be a tuple or a list, not %.200s",
                        Py_TYPE(args)->tp_name);
}

/* The names in `kwargs`, a dict, as a tuple; NULL with or without an exception set if there are none. */
static PyObject *names_of_kwargs(PyObject *kwargs) {
    if (!kwargs || PyDict_GET_SIZE(kwargs) == 0)
        return NULL;
    PyObject *keys = PyDict_Keys(kwargs), *names = keys ? PyList_AsTuple(keys) : NULL;
    Py_XDECREF(keys);
    for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); i++) {
        if (!PyUnicode_Check(PyTuple_GET_ITEM(names, i))) {
            raise_showing(PyExc_TypeError, PyTuple_GET_ITEM(names, i), "",
                          "ErrGroup.start(): the keys of kwargs must be strings, not ");
            Py_CLEAR(names);
        }
    }
    return names;
}

/* start() with its arguments checked and taken apart. */
static PyObject *start_with(ErrGroup *self, const struct start *how, PyObject *fn, PyObject *args, PyObject *kwargs,
                            PyObject *names) {
    Py_ssize_t n = PyTuple_GET_SIZE(args), named = names ? PyTuple_GET_SIZE(names) : 0;
    PyObject **all = PyMem_Calloc((size_t)(1 + n + named), sizeof *all), *task = NULL;
    if (!all)
        return PyErr_NoMemory();
    all[0] = fn;
    for (Py_ssize_t i = 0; i < n; i++)
        all[1 + i] = PyTuple_GET_ITEM(args, i);
    bool whole = true;
    for (Py_ssize_t i = 0; i < named; i++)
        whole = (all[1 + n + i] = PyDict_GetItemWithError(kwargs, PyTuple_GET_ITEM(names, i))) && whole;
    if (whole)
        task = start_task(self, how, all, 1 + n, names);
    else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, "ErrGroup.start(): kwargs changed during the call");
    PyMem_Free(all);
    return task;
}

static PyObject *errgroup_start(ErrGroup *self, PyObject *arguments, PyObject *keywords) {
    static char *keys[] = {"fn", "args", "kwargs", "name", "block", "context", "executor", NULL};
    PyObject *fn, *args = NULL, *kwargs = Py_None, *name = NULL, *context = Py_None, *executor = NULL;
    int may_block = true;
    struct start how = {.call = "ErrGroup.start()"};
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|OO$OpOO:ErrGroup.start", keys, &fn, &args, &kwargs, &name,
                                     &may_block, &context, &executor) ||
        !executor_from_object(executor, how.call, &how.executor) || !name_from_object(name, how.call, &how.name) ||
        !check_context(self->group->st, how.call, context, &how.context))
        return NULL;
    if (kwargs != Py_None && !PyDict_Check(kwargs))
        return PyErr_Format(PyExc_TypeError, "ErrGroup.start(): kwargs must be a dict or None, not %.200s",
                            Py_TYPE(kwargs)->tp_name);
    how.wait = may_block ? MAY_BLOCK : SLOT_NOW;
    PyObject *named = kwargs == Py_None ? NULL : PyDict_Copy(kwargs); /* nobody changes it meanwhile */
    PyObject *names = names_of_kwargs(named), *tuple = PyErr_Occurred() ? NULL : tuple_of_args(args), *task = NULL;
    if (tuple)
        task = start_with(self, &how, fn, tuple, named, names);
    Py_XDECREF(tuple);
    Py_XDECREF(names);
    Py_XDECREF(named);
    return task;
}

static PyObject *iterator_of(PyObject *iterable, const char *call) {
    if (Py_TYPE(iterable)->tp_iter || PySequence_Check(iterable))
        return PyObject_GetIter(iterable);
    return PyErr_Format(PyExc_TypeError, "%s takes a callable and iterables, of which %.200s is none", call,
                        Py_TYPE(iterable)->tp_name);
}

/* The iterators of `n` iterables, a tuple; nothing else has happened if one of them is none. */
static PyObject *iterators_of(PyObject *const *iterables, Py_ssize_t n, const char *call) {
    PyObject *tuple = PyTuple_New(n);
    for (Py_ssize_t i = 0; tuple && i < n; i++) {
        PyObject *iterator = iterator_of(iterables[i], call);
        if (iterator)
            PyTuple_SET_ITEM(tuple, i, iterator);
        else
            Py_CLEAR(tuple);
    }
    return tuple;
}

/* map() and imap(): check the arguments, and leave the rest to a function of cwaitgroup._map. */
static PyObject *map_with(PyObject *self, const char *call, const char *function, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *option) {
    state *st = ((ErrGroup *)self)->group->st;
    if (nargs < 2)
        return PyErr_Format(PyExc_TypeError, "%s takes a callable and at least one iterable", call);
    if (!check_callable(st, call, args[0]))
        return NULL;
    if (check_event_loop((ErrGroup *)self, call,
                         "to wait for results would stop the event loop that runs in this thread; write `await "
                         "asyncio.to_thread(group.map, fn, ...)`, or `await group.go_async(fn, ...)` for each item") <
        0)
        return NULL;
    PyObject *iterators = iterators_of(args + 1, nargs - 1, call), *result = NULL;
    if (iterators)
        result =
            call_python("cwaitgroup._map", function, (PyObject *[]){self, args[0], iterators, option}, option ? 4 : 3);
    Py_XDECREF(iterators);
    return result;
}

static PyObject *errgroup_map(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    return map_with(self, "ErrGroup.map()", "map_in_group", args, nargs, NULL);
}

static PyObject *errgroup_imap(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    PyObject *ordered = Py_True;
    if (kwnames && PyTuple_GET_SIZE(kwnames)) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, 0);
        if (PyTuple_GET_SIZE(kwnames) > 1 || PyUnicode_CompareWithASCIIString(name, "ordered") != 0)
            return PyErr_Format(PyExc_TypeError, "ErrGroup.imap() takes one keyword argument, ordered");
        ordered = args[nargs];
    }
    return map_with(self, "ErrGroup.imap()", "imap_in_group", args, nargs, ordered);
}

static PyObject *start_in_loop(PyObject *self, const char *function, PyObject *args, PyObject *kwargs) {
    PyObject *named = kwargs ? Py_NewRef(kwargs) : PyDict_New(), *result = NULL;
    if (named)
        result = call_python("cwaitgroup._async", function, (PyObject *[]){self, args, named}, 3);
    Py_XDECREF(named);
    return result;
}

static PyObject *errgroup_as_executor(PyObject *self, PyObject *Py_UNUSED(unused)) {
    return call_python("cwaitgroup._executor", "GroupExecutor", &self, 1);
}

static PyObject *errgroup_go_async(PyObject *self, PyObject *args, PyObject *kwargs) {
    return start_in_loop(self, "go_in_loop", args, kwargs);
}

static PyObject *errgroup_start_async(PyObject *self, PyObject *args, PyObject *kwargs) {
    return start_in_loop(self, "start_in_loop", args, kwargs);
}

/* --- Ending --- */

static PyObject *errgroup_wait(ErrGroup *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char call[] = "ErrGroup.wait()";
    int64_t deadline;
    Context *context;
    if (!parse_wait(self->group->st, call, args, nargs, kwnames, &deadline, &context) ||
        group_wait(self->group, call, deadline, context) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

static PyObject *errgroup_wait_for_map(ErrGroup *self, PyObject *Py_UNUSED(unused)) {
    return group_wait(self->group, "ErrGroup.map()", WG_FOREVER, NULL) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *errgroup_cancel(ErrGroup *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"cause", NULL};
    PyObject *cause = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:ErrGroup.cancel", names, &cause) ||
        !check_cause("ErrGroup.cancel()", cause, &cause) || context_cancel_with(self->group->context, cause) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

static PyObject *enter(ErrGroup *self, int how) {
    if (self->entered != NOT_ENTERED)
        return PyErr_Format(PyExc_RuntimeError, "an ErrGroup can be entered only once; make a new one");
    self->entered = how;
    return Py_NewRef((PyObject *)self);
}

static PyObject *errgroup_enter(ErrGroup *self, PyObject *Py_UNUSED(unused)) { return enter(self, BY_WITH); }

static PyObject *errgroup_enter_async(ErrGroup *self, PyObject *Py_UNUSED(unused)) {
    return enter(self, BY_ASYNC_WITH);
}

/* The block has raised `exception`: it cancels the group, and wins. But if it only tells of the group's own end, it gives
 * way to the outcome of that: then True. */
static PyObject *errgroup_abort(ErrGroup *self, PyObject *exception) {
    GroupState *group = self->group;
    if (!PyExceptionInstance_Check(exception))
        return PyErr_Format(PyExc_TypeError, "ErrGroup._abort() takes an exception, not %R", exception);
    bool own = group_tells_of_own_end(group, exception);
    if (!own && context_cancel_with(group->context, exception) < 0)
        return NULL;
    return PyBool_FromLong(own);
}

static PyObject *errgroup_exit(ErrGroup *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 3)
        return PyErr_Format(PyExc_TypeError, "ErrGroup.__exit__() takes 3 arguments, not %zd", nargs);
    PyObject *exception = args[1];
    bool wins = false;
    if (exception != Py_None) {
        PyObject *own = errgroup_abort(self, exception);
        if (!own)
            return NULL;
        wins = own == Py_False;
        Py_DECREF(own);
    }
    if (wins)
        return group_leave_with(self->group, exception) < 0 ? NULL : Py_NewRef(Py_False);
    /* An exception that gives way, and there is none to give way to, was about a stop the user asked for. */
    return group_leave(self->group) < 0 ? NULL : PyBool_FromLong(exception != Py_None);
}

static PyObject *errgroup_finished(ErrGroup *self, PyObject *Py_UNUSED(unused)) {
    wg_status status = group_poll(self->group);
    switch (status) {
    case WG_OK:
    case WG_FAILED:
    case WG_CANCELLED:
    case WG_DEADLINE_EXCEEDED: return Py_NewRef(Py_True);
    case WG_TIMEOUT: return Py_NewRef(Py_False);
    default: return group_raise_status(self->group, status, "await");
    }
}

static PyObject *errgroup_aexit(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 3)
        return PyErr_Format(PyExc_TypeError, "ErrGroup.__aexit__() takes 3 arguments, not %zd", nargs);
    return call_python("cwaitgroup._async", "leave_group", (PyObject *[]){self, args[0], args[1], args[2]}, 4);
}

static PyObject *errgroup_aenter(PyObject *self, PyObject *Py_UNUSED(unused)) {
    return call_python("cwaitgroup._async", "enter_group", &self, 1);
}

static PyObject *errgroup_await(PyObject *self) { return await_iterator(self, "wait_for_group"); }

static PyObject *errgroup_observe(ErrGroup *self, PyObject *fn) {
    GroupState *group = self->group;
    return callback_for_event(group->st, wg_outcome(group->core), (PyObject *)group, fn);
}

static PyObject *errgroup_observe_slot(ErrGroup *self, PyObject *fn) { return callback_for_slot(self->group, fn); }

/* --- Attributes --- */

static PyObject *errgroup_get_context(ErrGroup *self, void *Py_UNUSED(unused)) {
    return Py_NewRef((PyObject *)self->group->context);
}

static PyObject *errgroup_get_id(ErrGroup *self, void *Py_UNUSED(unused)) {
    GroupState *group = self->group;
    atomic_store(&group->shared, true);
    if (make_known(group->st, group->context->core, (PyObject *)group->context) < 0)
        return NULL;
    return id_of(group->st, wg_errgroup_id(group->core), group->core, (PyObject *)self);
}

static PyObject *errgroup_get_errors(ErrGroup *self, void *Py_UNUSED(unused)) { return group_errors_seen(self->group); }

static PyObject *errgroup_get_name(ErrGroup *self, void *Py_UNUSED(unused)) {
    return Py_NewRef(self->group->name ? self->group->name : Py_None);
}

static PyObject *errgroup_get_limit(ErrGroup *self, void *Py_UNUSED(unused)) {
    int limit = wg_errgroup_limit(self->group->core);
    return limit ? PyLong_FromLong(limit) : Py_NewRef(Py_None);
}

static int errgroup_set_limit(ErrGroup *self, PyObject *object, void *Py_UNUSED(unused)) {
    int limit;
    if (!object) {
        PyErr_SetString(PyExc_TypeError, "ErrGroup.limit cannot be deleted; set it to None for no limit");
        return -1;
    }
    if (!limit_from_object(object, "ErrGroup.limit", &limit))
        return -1;
    wg_errgroup_set_limit(self->group->core, limit);
    return 0;
}

static PyObject *errgroup_get_backlog(ErrGroup *self, void *Py_UNUSED(unused)) {
    return PyLong_FromLong(wg_errgroup_backlog(self->group->core));
}

static PyObject *errgroup_get_executor(ErrGroup *self, void *Py_UNUSED(unused)) {
    return Py_NewRef(self->executor ? self->executor : Py_None);
}

static PyObject *errgroup_get_on_error(ErrGroup *self, void *Py_UNUSED(unused)) {
    return PyUnicode_FromString(self->group->goes_on ? "continue" : "cancel");
}

static PyObject *errgroup_get_pending(ErrGroup *self, void *Py_UNUSED(unused)) {
    return PyLong_FromUnsignedLong(wg_errgroup_get_counts(self->group->core).pending);
}

static PyObject *errgroup_get_running(ErrGroup *self, void *Py_UNUSED(unused)) {
    return PyLong_FromUnsignedLong(wg_errgroup_get_counts(self->group->core).running);
}

static PyObject *errgroup_get_completed(ErrGroup *self, void *Py_UNUSED(unused)) {
    return PyLong_FromUnsignedLong(wg_errgroup_get_counts(self->group->core).completed);
}

static PyMethodDef errgroup_methods[] = {
    {"go", (PyCFunction)(void (*)(void))errgroup_go, METH_FASTCALL | METH_KEYWORDS, errgroup_go_doc},
    {"try_go", (PyCFunction)(void (*)(void))errgroup_try_go, METH_FASTCALL | METH_KEYWORDS, errgroup_try_go_doc},
    {"start", (PyCFunction)(void (*)(void))errgroup_start, METH_VARARGS | METH_KEYWORDS, errgroup_start_doc},
    {"map", (PyCFunction)(void (*)(void))errgroup_map, METH_FASTCALL, errgroup_map_doc},
    {"imap", (PyCFunction)(void (*)(void))errgroup_imap, METH_FASTCALL | METH_KEYWORDS, errgroup_imap_doc},
    {"as_executor", (PyCFunction)errgroup_as_executor, METH_NOARGS, errgroup_as_executor_doc},
    {"wait", (PyCFunction)(void (*)(void))errgroup_wait, METH_FASTCALL | METH_KEYWORDS, errgroup_wait_doc},
    {"cancel", (PyCFunction)(void (*)(void))errgroup_cancel, METH_VARARGS | METH_KEYWORDS, errgroup_cancel_doc},
    {"go_async", (PyCFunction)(void (*)(void))errgroup_go_async, METH_VARARGS | METH_KEYWORDS, errgroup_go_async_doc},
    {"start_async", (PyCFunction)(void (*)(void))errgroup_start_async, METH_VARARGS | METH_KEYWORDS,
     errgroup_start_async_doc},
    {"_observe", (PyCFunction)errgroup_observe, METH_O,
     "_observe($self, fn, /)\n--\n\nCall `fn` once when wait() would give an outcome; returns stop(), as "
     "add_callback()."},
    {"_observe_slot", (PyCFunction)errgroup_observe_slot, METH_O,
     "_observe_slot($self, fn, /)\n--\n\nCall `fn` once when a slot has been taken for _start_in_slot(), or there will "
     "be none; returns stop()."},
    {"_abort", (PyCFunction)errgroup_abort, METH_O,
     "_abort($self, exception, /)\n--\n\n"
     "Cancel the group because its block has raised `exception`. True if that only tells of the group's own end."},
    {"_finished", (PyCFunction)errgroup_finished, METH_NOARGS,
     "_finished($self, /)\n--\n\nEnd the group if its tasks have ended or its grace is over; True once there is an "
     "outcome."},
    {"_start_now", (PyCFunction)(void (*)(void))errgroup_start_now, METH_FASTCALL | METH_KEYWORDS,
     "_start_now($self, name, fn, /, *args, **kwargs)\n--\n\nAs go(), but None where that would block."},
    {"_start_in_slot", (PyCFunction)(void (*)(void))errgroup_start_in_slot, METH_FASTCALL | METH_KEYWORDS,
     "_start_in_slot($self, slot, name, fn, /, *args, **kwargs)\n--\n\n"
     "As go(), in the slot of _observe_slot(); None if it has not come."},
    {"_wait_for_map", (PyCFunction)errgroup_wait_for_map, METH_NOARGS,
     "_wait_for_map($self, /)\n--\n\nAs wait(), for a map() that has failed."},
    {"_enter_async", (PyCFunction)errgroup_enter_async, METH_NOARGS,
     "_enter_async($self, /)\n--\n\nAs __enter__(), for `async with`."},
    {"__enter__", (PyCFunction)errgroup_enter, METH_NOARGS, "__enter__($self, /)\n--\n\nReturns the group; once."},
    {"__exit__", (PyCFunction)(void (*)(void))errgroup_exit, METH_FASTCALL,
     "__exit__($self, type, value, traceback, /)\n--\n\n"
     "Waits as wait() does, after cancelling the group if the block has failed."},
    {"__aenter__", (PyCFunction)errgroup_aenter, METH_NOARGS, "__aenter__($self, /)\n--\n\nReturns the group; once."},
    {"__aexit__", (PyCFunction)(void (*)(void))errgroup_aexit, METH_FASTCALL,
     "__aexit__($self, type, value, traceback, /)\n--\n\nAs __exit__(), without blocking the event loop."},
    {"__reduce__", refuse_pickle, METH_NOARGS, "__reduce__($self, /)\n--\n\nRefuses: it cannot be copied."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef errgroup_getset[] = {
    {"context", (getter)errgroup_get_context, NULL,
     "The group's Context, which ends with the group; in its tasks, current_context().", NULL},
    {"errors", (getter)errgroup_get_errors, NULL,
     "The exceptions of the tasks that have failed so far, a tuple in order of failing.", NULL},
    {"limit", (getter)errgroup_get_limit, (setter)errgroup_set_limit,
     "How many tasks may run at once, or None. May be set at any time: more\n"
     "room lets blocked go() calls in, less takes effect as tasks end.",
     NULL},
    {"id", (getter)errgroup_get_id, NULL,
     "A number by which attach() finds the group in another language of this process. It\ndoes not keep the group.",
     NULL},
    {"name", (getter)errgroup_get_name, NULL, "The name given, or None.", NULL},
    {"backlog", (getter)errgroup_get_backlog, NULL, "How many tasks may be queued beyond the limit.", NULL},
    {"on_error", (getter)errgroup_get_on_error, NULL, "'cancel' or 'continue'.", NULL},
    {"executor", (getter)errgroup_get_executor, NULL, "The executor that runs its tasks, or None: threads do.", NULL},
    {"pending", (getter)errgroup_get_pending, NULL, "How many tasks wait for a thread, just now.", NULL},
    {"running", (getter)errgroup_get_running, NULL, "How many tasks run, just now.", NULL},
    {"completed", (getter)errgroup_get_completed, NULL, "How many tasks have ended, in whatever way.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef errgroup_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ErrGroup, weakrefs), READONLY, NULL},
    {"_body", T_OBJECT, offsetof(ErrGroup, body), 0, "What interrupts the body of an `async with`; or None."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot errgroup_slots[] = {
    {Py_tp_new, errgroup_new},
    {Py_tp_dealloc, errgroup_dealloc},
    {Py_tp_finalize, errgroup_finalize},
    {Py_tp_traverse, errgroup_traverse},
    {Py_tp_repr, errgroup_repr},
    {Py_tp_doc, (void *)errgroup_doc},
    {Py_tp_methods, errgroup_methods},
    {Py_tp_getset, errgroup_getset},
    {Py_tp_members, errgroup_members},
    {Py_am_await, errgroup_await},
    {0, NULL},
};

PyType_Spec errgroup_spec = {
    .name = "cwaitgroup.ErrGroup",
    .basicsize = sizeof(ErrGroup),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = errgroup_slots,
};
