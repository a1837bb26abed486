/* group_state.c - GroupState: what the tasks of an ErrGroup refer to while they run, and the user's handle as well. */
#include "binding.h"

static GroupState *new_state(state *st, const group_options *options, bool goes_on) {
    PyObject *name = options->name ? PyUnicode_FromObject(options->name) : NULL; /* a subclass may have any repr() */
    GroupState *self = name || !options->name ? PyObject_GC_New(GroupState, st->group_type) : NULL;
    if (!self) {
        Py_XDECREF(name);
        return NULL;
    }
    self->st = st;
    self->core = NULL;
    self->context = NULL;
    self->name = name;
    self->grace = options->grace;
    self->all_errors = options->all_errors;
    self->goes_on = goes_on;
    self->attached = false;
    atomic_init(&self->shared, false);
    atomic_init(&self->inside, 0);
    atomic_init(&self->noted, false);
    atomic_init(&self->left_behind, false);
    atomic_init(&self->abandoned, false);
    atomic_init(&self->outcome_given_by, NULL);
    self->lock = (guard){0};
    self->running = NULL;
    PyObject_GC_Track(self);
    return self;
}

GroupState *group_new(state *st, const group_options *options, wg_errgroup_options *core) {
    GroupState *self = new_state(st, options, core->continue_on_error);
    if (!self)
        return NULL;
    core->parent = context_core_or_base(st, options->parent);
    core->grace = options->grace;
    PyObject *name = self->name ? PyUnicode_AsEncodedString(self->name, "utf-8", "backslashreplace") : NULL;
    if (self->name && !name) {
        Py_DECREF(self);
        return NULL;
    }
    char place[80];
    place_of_caller(place, sizeof place);
    core->name = name ? PyBytes_AS_STRING(name) : NULL;
    core->where = place;
    core->language = "Python";
    core->track = true;
    wg_status status = wg_errgroup_new(&self->core, core);
    Py_XDECREF(name);
    if (status != WG_OK)
        raise_status(st, status, "ErrGroup()");
    else
        self->context = context_wrap(st, wg_context_retain(wg_errgroup_context(self->core)), options->parent);
    if (!self->context)
        Py_CLEAR(self);
    return self;
}

/* The interpreter ends, and with it the tasks that run here: then the group cannot come to its end as it should. */
static void leave_at_exit(void *raw) {
    GroupState *self = raw;
    if (atomic_load(&self->inside) == 0)
        return;
    wg_error *cause = wg_errorf("the Python interpreter ended while tasks of the group ran in it");
    wg_errgroup_cancel(self->core, cause);
    wg_error_release(cause);
}

GroupState *group_attach(state *st, wg_errgroup *core) {
    const char *text = wg_errgroup_name(core);
    group_options options = {.grace = wg_errgroup_grace(core)};
    if (*text && !(options.name = PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace"))) {
        wg_errgroup_release(core);
        return NULL;
    }
    GroupState *self = new_state(st, &options, wg_errgroup_continues(core));
    Py_XDECREF(options.name);
    if (!self) {
        wg_errgroup_release(core);
        return NULL;
    }
    self->core = core;
    atomic_store(&self->shared, true);
    self->context = context_for(st, wg_errgroup_context(core));
    if (!self->context)
        Py_CLEAR(self);
    else if (wg_event_observe(wg_ended(st->base), &self->at_exit, leave_at_exit, self) == WG_OK)
        self->attached = true;
    return self;
}

static int group_traverse(GroupState *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->context);
    return 0;
}

static void group_dealloc(GroupState *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->name);
    if (self->attached)
        wg_event_unobserve_sync(wg_ended(self->st->base), &self->at_exit);
    wg_errgroup_release(self->core);
    Py_XDECREF((PyObject *)self->context);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyType_Slot group_slots[] = {
    {Py_tp_dealloc, group_dealloc},
    {Py_tp_traverse, group_traverse},
    {0, NULL},
};

PyType_Spec group_spec = {
    .name = "cwaitgroup._core.GroupState",
    .basicsize = sizeof(GroupState),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = group_slots,
};

/* --- Which tasks run --- */

void group_task_starts(GroupState *group, running_task *running) {
    running->started = wg_now();
    running->previous = NULL;
    guard_take(&group->lock);
    running->next = group->running;
    if (running->next)
        running->next->previous = running;
    group->running = running;
    guard_give(&group->lock);
}

void group_task_stops(GroupState *group, running_task *running) {
    guard_take(&group->lock);
    if (running->previous)
        running->previous->next = running->next;
    else
        group->running = running->next;
    if (running->next)
        running->next->previous = running->previous;
    guard_give(&group->lock);
}

/* More than that nobody wants to read. */
#define NAMED 20

struct running_since {
    Task *task;
    int64_t started;
};

/* The first of the tasks that run, with references; *more tells whether there are others. Returns how many. */
static int snapshot(GroupState *group, struct running_since *tasks, bool *more) {
    int n = 0;
    guard_take(&group->lock);
    running_task *running = group->running;
    for (; running && n < NAMED; running = running->next)
        tasks[n++] = (struct running_since){(Task *)Py_NewRef((PyObject *)running->task), running->started};
    *more = running != NULL;
    guard_give(&group->lock);
    return n;
}

/* "fetch (for 3.2 s)". */
static PyObject *describe(const struct running_since *running) {
    PyObject *name = task_get_name(running->task, NULL);
    long tenths = (long)((wg_now() - running->started) / (WG_SECOND / 10));
    if (name)
        Py_SETREF(name, PyUnicode_FromFormat("%U (for %ld.%ld s)", name, tenths / 10, tenths % 10));
    return name;
}

PyObject *group_names_of_running(GroupState *group) {
    struct running_since tasks[NAMED];
    bool more;
    int n = snapshot(group, tasks, &more);
    PyObject *text = PyUnicode_FromString(n ? "" : "none");
    for (int i = 0; i < n; i++) {
        PyObject *one = text ? describe(&tasks[i]) : NULL;
        if (one)
            Py_SETREF(text, PyUnicode_FromFormat("%U%s%U", text, i ? ", " : "", one));
        else
            Py_CLEAR(text);
        Py_XDECREF(one);
        Py_DECREF((PyObject *)tasks[i].task);
    }
    if (text && more)
        Py_SETREF(text, PyUnicode_FromFormat("%U, ...", text));
    return text;
}

unsigned long group_unfinished(GroupState *group) { return (unsigned long)wg_count(wg_errgroup_tasks(group->core)); }

/* --- What its calls raise --- */

/* Set an exception of `call`, which names the group if it has a name. Takes over the reference to `text`. */
static PyObject *raise_for_call(GroupState *group, PyObject *class, const char *call, PyObject *text) {
    if (text && group->name)
        PyErr_Format(class, "%s of group %R: %U", call, group->name, text);
    else if (text)
        PyErr_Format(class, "%s: %U", call, text);
    Py_XDECREF(text);
    return NULL;
}

PyObject *group_raise_status(GroupState *group, wg_status status, const char *call) {
    state *st = group->st;
    switch (status) {
    case WG_CANCELLED:
    case WG_DEADLINE_EXCEEDED: return raise_ended(group->context, call, "group", group->name);
    case WG_CONTEXT_ENDED: return raise_wait_ended(st, call, NULL);
    case WG_DEADLOCK: return raise_for_call(group, st->deadlock_error, call, why_deadlocked());
    case WG_FINISHED: {
        const char *by = atomic_load(&group->outcome_given_by);
        return raise_for_call(
            group, PyExc_RuntimeError, call,
            PyUnicode_FromFormat("the group is finished, its outcome has been given by %s; make a new "
                                 "ErrGroup",
                                 by ? by : "ErrGroup.wait()"));
    }
    case WG_NO_MEMORY: return PyErr_NoMemory();
    default:
        return raise_for_call(group, class_of_status(st, status), call, PyUnicode_FromString(text_of_status(status)));
    }
}
