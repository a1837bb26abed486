/* workers.c - the threads of the pool: ordinary threading.Threads that run the core's worker loop.
 *
 * A worker takes tasks while attached, and lets go of the interpreter only to sleep, or when others have waited for it
 * for a switch interval. So a task costs no hand-over, and no thread state. */
#include "binding.h"

/* As sys.getswitchinterval() is by default. Functions written in C run without the interpreter's own checks. */
#define SWITCH_INTERVAL (5 * WG_MILLISECOND)
/* Looking at the clock costs as much as a small task. */
#define TASKS_PER_LOOK 64

/* The target of a worker's Thread. */
struct Worker {
    PyObject_HEAD
    state *st;
    wg_pool *pool;
    PyObject *thread;
    PyObject *shown; /* the name of the group that the thread's name tells, borrowed from nobody; or NULL */
    unsigned number;
    unsigned streak;                         /* tasks since the last look */
    int64_t attached;                        /* since when */
    enum { EXPECTED, RUNS, GIVEN_UP } stage; /* whoever changes it first decides; under the GIL or `lock` */
    guard lock;
};

static bool set_stage(Worker *self, int stage) {
    guard_take(&self->lock);
    bool first = self->stage == EXPECTED;
    if (first)
        self->stage = stage;
    guard_give(&self->lock);
    return first;
}

static void before_sleep(void *data) {
    state *st = data;
    wg_add(&st->returning, 1);
    let_go();
}

static void after_sleep(void *data) {
    state *st = data;
    take_again();
    wg_done(&st->returning);
    Worker *worker = self_thread()->worker;
    worker->attached = wg_now();
    worker->streak = 0;
}

void worker_yield(Worker *worker) {
    if (++worker->streak < TASKS_PER_LOOK)
        return;
    worker->streak = 0;
    int64_t now = wg_now();
    if (now - worker->attached < SWITCH_INTERVAL)
        return;
    let_go();
    take_again();
    worker->attached = wg_now();
}

void worker_rename(Worker *worker, PyObject *group_name) {
    if (worker->shown == group_name)
        return;
    Py_XSETREF(worker->shown, Py_XNewRef(group_name));
    PyObject *name = group_name ? PyUnicode_FromFormat("%U-%u", group_name, worker->number)
                                : PyUnicode_FromFormat("cwaitgroup-%u", worker->number);
    if (!name || PyObject_SetAttr(worker->thread, worker->st->name_attribute, name) < 0)
        PyErr_WriteUnraisable(worker->thread);
    Py_XDECREF(name);
}

/* Raise in the main thread, at its next instruction, what a signal handler raised while a thread was being started. */
static int raise_later(void *exception) {
    PyErr_SetRaisedException(exception);
    return -1;
}

/* `self` has not become a thread that works. */
static void start_failed(Worker *self) {
    PyObject *exception = PyErr_GetRaisedException();
    if (PyErr_GivenExceptionMatches(exception, PyExc_Exception) ||
        PyThread_get_thread_ident() != self->st->main_thread) {
        Py_DECREF(exception); /* the caller hears that there is no thread */
    } else if (Py_AddPendingCall(raise_later, exception) < 0) {
        PyErr_SetRaisedException(exception);
        PyErr_WriteUnraisable((PyObject *)self);
    }
}

static Worker *worker_new(state *st, wg_pool *pool) {
    Worker *self = PyObject_GC_New(Worker, st->worker_type);
    if (!self)
        return NULL;
    self->st = st;
    self->pool = pool;
    self->thread = self->shown = NULL;
    self->number = atomic_fetch_add(&st->workers, 1) + 1;
    self->streak = 0;
    self->attached = 0;
    self->stage = EXPECTED;
    self->lock = (guard){0};
    PyObject_GC_Track(self);
    return self;
}

static PyObject *make_thread(state *st, Worker *worker) {
    PyObject *args = PyTuple_New(0), *thread = NULL;
    PyObject *kwargs =
        Py_BuildValue("{sOsNsO}", "target", worker, "name", PyUnicode_FromFormat("cwaitgroup-%u", worker->number),
                      "daemon", st->daemons ? Py_True : Py_False);
    if (args && kwargs)
        thread = PyObject_Call(st->thread_type, args, kwargs);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    return thread;
}

static bool host_start(void *data, wg_pool *pool) {
    state *st = data;
    attachment a;
    if (!attach(st, &a))
        return false;
    /* At exit, who starts a thread is waited for: until a new thread is under way, the interpreter must not go. */
    wg_add(&st->returning, 1);
    if (atomic_load(&st->closing)) {
        wg_done(&st->returning);
        detach(st, &a);
        return false;
    }
    PyObject *raised = PyErr_GetRaisedException();
    Worker *worker = worker_new(st, pool);
    PyObject *started = NULL;
    if (worker && (worker->thread = make_thread(st, worker)))
        started = PyObject_CallMethod(worker->thread, "start", NULL);
    bool works = started != NULL;
    if (!started) {
        if (worker)
            works = !set_stage(worker, GIVEN_UP); /* the thread may run although start() has raised */
        start_failed(worker);
    }
    Py_XDECREF(started);
    Py_XDECREF((PyObject *)worker);
    if (raised)
        PyErr_SetRaisedException(raised);
    wg_done(&st->returning);
    detach(st, &a);
    return works;
}

static PyObject *worker_call(Worker *self, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs)) {
    if (!set_stage(self, RUNS))
        return Py_NewRef(Py_None);
    thread_self *mine = self_thread();
    mine->worker = self;
    self->attached = wg_now();
    wg_pool_work(self->pool);
    mine->worker = NULL;
    return Py_NewRef(Py_None);
}

static int worker_traverse(Worker *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->thread);
    return 0;
}

static int worker_clear(Worker *self) {
    Py_CLEAR(self->thread);
    return 0;
}

static void worker_dealloc(Worker *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (set_stage(self, GIVEN_UP))
        wg_pool_work_failed(self->pool); /* the thread died before it could work */
    Py_XDECREF(self->thread);
    Py_XDECREF(self->shown);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyType_Slot worker_slots[] = {
    {Py_tp_dealloc, worker_dealloc},
    {Py_tp_traverse, worker_traverse},
    {Py_tp_clear, worker_clear},
    {Py_tp_call, worker_call},
    {0, NULL},
};

PyType_Spec worker_spec = {
    .name = "cwaitgroup._core.Worker",
    .basicsize = sizeof(Worker),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = worker_slots,
};

int workers_start(state *st) {
    wg_pool_host host = {
        .start = host_start,
        .before_sleep = before_sleep,
        .after_sleep = after_sleep,
        .data = st,
#ifndef Py_GIL_DISABLED
        .cores = 1,
#endif
    };
    wg_status status = wg_pool_new(&st->pool, &host);
    if (status == WG_OK)
        return 0;
    raise_status(st, status, "import cwaitgroup");
    return -1;
}
