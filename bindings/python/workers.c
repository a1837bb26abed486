/* workers.c - the threads of the pool: ordinary threading.Threads that run the core's worker loop.
 *
 * A worker takes tasks while attached, and lets go of the interpreter only to sleep, or when others have waited for it
 * for a switch interval. So a task costs no hand-over, and no thread state. */
#include "binding.h"

#include <semaphore.h>
#include <stdlib.h>

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
    enum { EXPECTED, RUNS, GIVEN_UP } stage; /* the first thread to change it decides; under the GIL or `lock` */
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

static void before_sleep(void *Py_UNUSED(data)) {
    if (worker_is_attached())
        let_go();
}

/* Until this thread is attached, the module's state may be gone. */
static void after_sleep(void *Py_UNUSED(data)) {
    thread_self *mine = self_thread();
    if (!mine->detached.state || mine->guest->attaches)
        return; /* Python has ended this thread */
    take_again(mine->guest, (let_gone){NULL, NULL});
    Worker *worker = mine->worker;
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
    take_again(self_thread()->guest, let_go());
    worker->attached = wg_now();
}

void worker_rename(Worker *worker, PyObject *group_name) {
    if (worker->shown == group_name || !worker->thread)
        return;
    Py_XSETREF(worker->shown, Py_XNewRef(group_name));
    PyObject *name = group_name ? PyUnicode_FromFormat("%U-%u", group_name, worker->number)
                                : PyUnicode_FromFormat("cwaitgroup-%u", worker->number);
    if (!name || PyObject_SetAttr(worker->thread, worker->st->name_attribute, name) < 0)
        PyErr_WriteUnraisable(worker->thread);
    Py_XDECREF(name);
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

/* --- the thread --- */

/* A thread that was started, or so it seemed, will not work. */
static void work_failed(Worker *self) {
    home_unexpect(self->st->home);
    wg_pool_work_failed(self->pool);
}

/* To a timeline: the first name of the Thread, for the later ones are those of whatever group it works for. */
static void tell_name(const Worker *self) {
    char name[32];
    snprintf(name, sizeof name, "cwaitgroup-%u", self->number);
    wg_trace_name_thread(name);
}

static void work(Worker *self) {
    thread_self *mine = self_thread();
    guest *me = home_guest(self->st->home);
    if (!me) {
        work_failed(self);
        return;
    }
    home_arrive(me);
    mine->worker = self;
    mine->worker_of = self->st;
    mine->state = PyThreadState_Get();
    mine->guest = me;
    self->attached = wg_now();
    tell_name(self);
    wg_pool_work(self->pool);
    mine->worker = NULL;
    mine->worker_of = NULL;
}

static PyObject *worker_call(Worker *self, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs)) {
    if (set_stage(self, RUNS))
        work(self);
    return Py_NewRef(Py_None);
}

static PyObject *make_thread(state *st, Worker *worker) {
    PyObject *args = PyTuple_New(0), *thread = NULL;
    PyObject *name = PyUnicode_FromFormat("cwaitgroup-%u", worker->number);
    PyObject *kwargs =
        name ? Py_BuildValue("{sOsOsO}", "target", worker, "name", name, "daemon", st->daemons ? Py_True : Py_False)
             : NULL;
    if (args && kwargs)
        thread = PyObject_Call(st->thread_type, args, kwargs);
    Py_XDECREF(args);
    Py_XDECREF(name);
    Py_XDECREF(kwargs);
    return thread;
}

/* Start a threading.Thread for `worker`. This runs Python code, and whatever comes between: signal handlers, if this is
 * the main thread, finalizers, what has replaced Thread.start. */
static bool start_thread(Worker *worker) {
    PyObject *started = NULL;
    if ((worker->thread = make_thread(worker->st, worker)))
        started = PyObject_CallMethod(worker->thread, "start", NULL);
    bool works = started || !set_stage(worker, GIVEN_UP); /* the thread may run although start() has raised */
    if (!started)
        PyErr_Clear(); /* the caller reports that there is no thread */
    Py_XDECREF(started);
    return works;
}

/* --- threads without threading --- */

/* What a thread of the system, started here, does once it is attached. */
typedef struct {
    bool (*run)(Worker *worker);
    Worker *worker; /* alive until `run` has returned */
    home *home;     /* where the thread is expected */
    PyInterpreterState *interpreter;
    bool well;
    sem_t *over; /* or NULL: nobody waits, and the thread frees this */
} errand;

/* Attach this thread, with a state of its own. NULL: no memory. */
static PyThreadState *come_in(home *h, PyInterpreterState *interpreter) {
    guest *me = home_guest(h);
    PyThreadState *mine = me ? PyThreadState_New(interpreter) : NULL;
    if (!mine)
        return NULL;
    home_line_up(me);
    PyEval_RestoreThread(mine);
    home_move_up(me);
    return mine;
}

static void come_out(PyThreadState *mine) {
    PyThreadState_Clear(mine);
    PyThreadState_DeleteCurrent();
}

/* Attached, or `mine` is NULL. True: this thread has offered to do another errand. */
static bool run_errand(errand *e, const PyThreadState *mine) {
    bool well = mine && e->run(e->worker);
    if (e->over) {
        bool more = well && home_offer(e->home);
        e->well = well;
        sem_post(e->over); /* the thread that waits for it has the errand on its stack */
        return more;
    }
    if (!well)
        work_failed(e->worker); /* no memory; the reference to it cannot be given up here */
    free(e);
    return false;
}

/* Of a thread that has done an errand: wait, detached, for another one. */
static errand *next_errand(home *h) {
    let_gone outer = let_go();
    errand *next = home_next_errand(h);
    take_again(home_guest(h), outer);
    return next;
}

static void go_on_errand(void *arg) {
    errand *e = arg;
    home *h = home_retain(e->home);
    PyThreadState *mine = come_in(h, e->interpreter);
    while (e && run_errand(e, mine))
        e = next_errand(h);
    if (mine)
        come_out(mine);
    home_unexpect(h);
    home_release(h);
}

/* Have a thread do the errand: one that has just done another, or a new one. */
static bool send_on_errand(errand *e) {
    if (e->over && home_hand_errand(e->home, e))
        return true;
    if (!home_expect(e->home))
        return false;
    if (PyThread_start_new_thread(go_on_errand, e) != PYTHREAD_INVALID_THREAD_ID)
        return true;
    home_unexpect(e->home);
    return false;
}

/* The thread is started by another thread, where no signal handler runs: so what a handler raises comes out of the call
 * that the handler has interrupted, and does not get lost in ours. That thread stays for the next worker, if there is one
 * soon: a thread that has made objects and ended costs a free-threaded Python a search at the start of each later one. */
static bool start_by_another(Worker *worker) {
    state *st = worker->st;
    guest *me = home_guest(st->home);
    sem_t over;
    errand e = {start_thread, worker, st->home, st->interpreter, false, &over};
    if (!me)
        return false;
    sem_init(&over, 0, 0);
    bool gone = send_on_errand(&e);
    if (gone) {
        let_gone outer = let_go();
        while (sem_wait(&over) != 0)
            continue;
        take_again(me, outer);
    }
    sem_destroy(&over);
    return gone && e.well;
}

/* Let this thread be traced and profiled as threading would have it. */
static void take_over_hooks(state *st) {
    static const char *const names[][2] = {{"gettrace", "settrace"}, {"getprofile", "setprofile"}};
    for (int i = 0; i < 2; i++) {
        PyObject *hook = PyObject_CallMethod(st->threading, names[i][0], NULL);
        PyObject *setter = PySys_GetObject(names[i][1]), *set = NULL;
        if (hook && setter && hook != Py_None)
            set = PyObject_CallOneArg(setter, hook);
        Py_XDECREF(hook);
        Py_XDECREF(set);
        PyErr_Clear();
    }
}

static bool work_barely(Worker *worker) {
    take_over_hooks(worker->st);
    if (set_stage(worker, RUNS))
        work(worker);
    Py_DECREF((PyObject *)worker);
    return true;
}

/* For where threading has been patched and starts green threads. */
static bool start_barely(Worker *worker) {
    state *st = worker->st;
    errand *e = malloc(sizeof *e);
    if (!e)
        return false;
    *e = (errand){work_barely, (Worker *)Py_NewRef((PyObject *)worker), st->home, st->interpreter, false, NULL};
    if (send_on_errand(e))
        return true;
    Py_DECREF((PyObject *)worker);
    free(e);
    return false;
}

/* gevent and eventlet replace the function of the interpreter by one of theirs, at any time. */
static bool threads_are_patched(state *st) {
    PyObject *start = PyObject_GetAttrString(st->threading, "_start_joinable_thread");
    if (!start) {
        PyErr_Clear();
        start = PyObject_GetAttrString(st->threading, "_start_new_thread");
    }
    if (!start)
        PyErr_Clear();
    bool patched = start && !PyCFunction_Check(start);
    Py_XDECREF(start);
    return patched;
}

static bool start(state *st, Worker *worker) {
    if (threads_are_patched(st))
        return start_barely(worker);
    return self_thread()->worker ? start_thread(worker) : start_by_another(worker);
}

static bool host_start(void *data, wg_pool *pool) {
    state *st = data;
    attachment a;
    if (!attach(st, &a))
        return false;
    PyObject *raised = PyErr_GetRaisedException();
    bool open = home_expect(st->home);
    Worker *worker = open ? worker_new(st, pool) : NULL;
    bool works = worker && start(st, worker);
    if (worker && !works)
        set_stage(worker, GIVEN_UP);
    if (open && !works)
        home_unexpect(st->home);
    PyErr_Clear();
    Py_XDECREF((PyObject *)worker);
    if (raised)
        PyErr_SetRaisedException(raised);
    detach(st, &a);
    return works;
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
        work_failed(self); /* the thread died before it could work */
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
        .name = "cwaitgroup",
        .own_tasks_only = true,
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
