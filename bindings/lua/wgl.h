/* wgl.h - what the files of the Lua binding share. The data model comes first, then what each file offers.
 *
 * Three things live longer than a Lua state, are made by malloc and counted:
 *   an object   what a handle refers to: a wait group, an error group, a context, or a task of a thread
 *   a message   Lua values as bytes, on their way to another state
 *   a home      what other threads may touch of a Lua state: never the state itself
 * A handle is a userdata with one pointer to its object. */
#ifndef WGL_H
#define WGL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>

#include <waitgroup.h>

#if LUA_VERSION_NUM != 504 && LUA_VERSION_NUM != 505
#error "the waitgroup module is written for Lua 5.4 and 5.5"
#endif

typedef struct wgl_home wgl_home;

/* --- locks that a fork does not leave behind: lock.c --- */

typedef enum wgl_lock_name { WGL_LOCK_HOST, WGL_LOCK_HOMES, WGL_LOCKS } wgl_lock_name;
void wgl_lock(wgl_lock_name name);
void wgl_unlock(wgl_lock_name name);

/* --- objects and handles: object.c --- */

typedef enum wgl_kind { WGL_WAITGROUP, WGL_ERRGROUP, WGL_CONTEXT, WGL_TASK, WGL_CHANNEL, WGL_KINDS } wgl_kind;

typedef struct wgl_object {
    atomic_int refs;
    wgl_kind kind;
    atomic_bool shared; /* another state or language may know it: its id was asked for, or a handle to it was sent */
    bool listed;        /* see identity.c, whose lock guards this and the next */
    struct wgl_object *next_known;
    void (*destroy)(struct wgl_object *object);
} wgl_object;

typedef struct wgl_waitgroup {
    wgl_object object;
    wg_waitgroup *wg;
    wg_shared *shared; /* in which that is, with a reference; or NULL */
    const char *what;  /* of one that stands for something else, which is waited for; or NULL */
} wgl_waitgroup;

typedef struct wgl_context {
    wgl_object object;
    wg_context *ctx;
    struct wgl_context *parent; /* with a reference, or NULL */
} wgl_context;

typedef struct wgl_errgroup {
    wgl_object object;
    atomic_int handles; /* in all states */
    atomic_uint hoped;  /* see hope.c: loops hope for it as long as it has more unfinished tasks than that */
    char apart[64];     /* of what changes with every task, and what its thread reads */
    wg_errgroup *group;
    wgl_context *context; /* its context as an object, with a reference */
    wgl_home *home;       /* of the state that made it, or attached to it first, with a reference */
    bool foreign;         /* another language made it */
    int64_t grace;        /* nanoseconds, 0 for none */
    int interrupt;        /* thread tasks look for cancellation every so many instructions; 0: never */
    int backlog;          /* how many tasks may be queued ahead of the slots */
    char name[];
} wgl_errgroup;

typedef struct wgl_handle {
    wgl_object *object;
    wg_watch *watch; /* made by the first pollfd of a wait group or an error group in a process */
    struct wgl_subscription *subscriptions; /* what this state waits for of the object */
    unsigned tasks;   /* coroutine tasks of this state in the error group or wait group, and what has entered it */
    unsigned entered; /* of them: those that `enter` has counted */
    unsigned ahead;   /* of an error group: coroutine tasks of this state that are queued ahead of its slots */
    unsigned dropped; /* of an error group: how many of those never started */
    unsigned missed;  /* of an error group: tasks of this state that as_completed cannot tell of any more */
    bool followed;    /* of an error group: as_completed is told of each task that starts; see WGL_FOLLOWER */
    struct wgl_link *places; /* of an error group: what waits for a place ahead of its slots; see loop.h */
    unsigned callbacks;      /* of a context: how many are in the user value */
    bool closed;             /* no more calls by the user; the loop may still end its tasks */
    bool collected;          /* it was finalized */
} wgl_handle;

/* The user values of handles. */
enum {
    WGL_ANCHOR = 1,    /* of a context: the handle of its parent; of an error group: that of its context */
    WGL_CALLBACKS = 2, /* of a context: a list of functions, false where one was called or stopped */
    WGL_FOLLOWER = 2,  /* of an error group that is followed: the function that is called with each new task */
    WGL_PARENT = 3     /* of an error group: the handle of its parent context */
};

void wgl_object_init(wgl_object *object, wgl_kind kind, void (*destroy)(wgl_object *));
wgl_object *wgl_retain(wgl_object *object);
void wgl_release(wgl_object *object);
void wgl_share(wgl_object *object);

/* Push the one handle of this state to `object`. Takes no reference of the caller's. */
void wgl_push(lua_State *L, wgl_object *object);

/* Reserve a handle first, so that no memory error can come between an object and the handle that frees it. */
wgl_handle *wgl_push_empty(lua_State *L, wgl_kind kind);
void wgl_fill(lua_State *L, wgl_handle *handle, wgl_object *object);
/* The same with an object that this state may know: then its handle takes the place of the empty one on top, and the
 * reference is given up. */
void wgl_adopt(lua_State *L, wgl_handle *handle, wgl_object *object);

/* The object at `index`, or NULL if it is none of ours. Never raises. */
wgl_object *wgl_test(lua_State *L, int index);

/* The object at argument `arg`, open and of `kind`; else an error at `level` (1: the caller of the C function; 2: the
 * caller of the Lua function that called it). */
wgl_object *wgl_check(lua_State *L, int arg, wgl_kind kind, int level);
wgl_handle *wgl_check_handle(lua_State *L, int arg, wgl_kind kind, int level);
wgl_handle *wgl_check_closable(lua_State *L, int arg, wgl_kind kind, int level); /* the same, also if it is closed */

/* Whether an open handle with the metatable at `type` is at `index`. Cheaper than wgl_check_handle, which also says why
 * not. */
bool wgl_is_open(lua_State *L, int index, int type);

/* The integer at argument `arg`, which may be a float or a string that stands for one; `none` if it is nil or missing. */
lua_Integer wgl_opt_integer(lua_State *L, int arg, lua_Integer none, int level);

/* Push the value at `index` as messages show it: a text in quotes, a number, or the name of its type. */
const char *wgl_push_shown(lua_State *L, int index);
/* The name of the type of the value at `index`, as it calls itself. */
const char *wgl_push_type_name(lua_State *L, int index);

/* Like luaL_argerror and luaL_error, at `level`. */
int wgl_argerror(lua_State *L, int level, int arg, const char *message);
int wgl_error(lua_State *L, int level, const char *format, ...);

/* Close the to-be-closed value at `index`, then set the top to it, without it. lua_settop alone may not: that of Lua 5.4.3
 * and 5.4.4 goes on with the old stack if the call of __close has moved that. */
void wgl_close_down_to(lua_State *L, int index);

/* Create the metatable of `kind`, with the methods that all kinds share; leaves its methods on the stack. */
void wgl_new_type(lua_State *L, wgl_kind kind, const luaL_Reg *methods, lua_CFunction tostring);
const char *wgl_type_name(wgl_kind kind);
void wgl_push_weak_table(lua_State *L, const char *mode);
int wgl_attach(lua_State *L);

/* --- the same object in all states and languages: identity.c --- */

/* The id of an object in this process; 0 without memory. */
lua_Integer wgl_id_of(wgl_object *object);
/* The object with that id, with a reference. `home`: of this state. Or why not. */
wg_status wgl_find(wgl_home *home, lua_Integer id, wgl_object **object);
/* The object for a context of the core, with a reference; NULL without memory. */
wgl_object *wgl_context_for(wg_context *ctx);
/* Its last reference has gone: it is not found any more. */
void wgl_identity_end(wgl_object *object);
/* New objects around what came by an id, whose reference passes to them; NULL without memory: then it is given up. */
wgl_object *wgl_waitgroup_wrap(wg_shared *shared);
wgl_object *wgl_errgroup_wrap(wgl_home *home, wg_errgroup *group);
/* The id of a channel, 0 for none; and the same, made if need be. */
lua_Integer wgl_channel_id(const wgl_object *channel);
lua_Integer wgl_channel_make_id(wgl_object *channel, bool (*try_retain)(void *object));

void wgl_let_go_of_kept(lua_State *L); /* the objects of handles that were finalized while tasks might need them */
int wgl_set_closed(lua_State *L);
int wgl_is_closed(lua_State *L);

/* --- the home of a state: home.c --- */

typedef struct wgl_task wgl_task;
typedef struct wgl_failure wgl_failure;
typedef struct wgl_paths wgl_paths;
typedef struct wgl_runnable wgl_runnable;
typedef struct wgl_runner wgl_runner;
typedef struct wgl_coroutine wgl_coroutine;
typedef struct wgl_orphan wgl_orphan;

/* What a task may leave behind that the next one in its state would see. */
typedef enum wgl_trace {
    WGL_LEFT_FIELDS = 1,      /* in its globals or in libraries */
    WGL_LEFT_MODULES = 2,     /* in package and its parts, and in modules */
    WGL_LEFT_TASKS = 4,       /* coroutine tasks, and what they wait for */
    WGL_LEFT_METATABLES = 8,  /* in metatables that all tasks have, and default files */
    WGL_LEFT_SETTINGS = 16,   /* of the collector, of warnings, of random numbers */
    WGL_LEFT_FINALIZERS = 32, /* objects whose finalizers may run when the next task does */
    WGL_LEFT_ANYTHING = 64    /* it could change anything in the state */
} wgl_trace;

/* Addresses met in a walk, with open addressing: a power of two, or none yet. */
typedef struct wgl_met {
    uintptr_t *addresses;
    size_t capacity, count;
} wgl_met;

struct wgl_home {
    /* The loop of the state's coroutines; its own thread only. */
    wgl_runnable *ready, **last_ready; /* the queue of what can run */
    size_t ready_count, batch;         /* how many are in it; how many of them are still to run now */
    struct wgl_waiter **timers;        /* see loop.c */
    uint32_t timers_count, timers_capacity;
    struct wgl_subscription *subscriptions;   /* all of them */
    struct wgl_subscription *due, **last_due; /* contexts that have ended, whose callbacks are to run */
    struct wgl_link *waiters;                 /* those of tasks: see loop.c */
    size_t asleep;                            /* how many waiters are */
    size_t callbacks;                         /* of all contexts */
    lua_Integer alive;                        /* tasks that have not ended */
    struct wgl_link *all_ended;               /* waiters for all of them */
    int slots, free_slot;                     /* of the table of tasks; see coroutine.c */
    wgl_coroutine *current;                   /* the task that runs, or NULL */
    wg_scope *scope;                          /* of that task, on the stack that runs it, or NULL */
    wgl_coroutine *starting;                  /* the one that is being started, or NULL */
    wgl_runner *runner, *idle, *blocked;      /* whose C stack this is, NULL for the base; see runner.c */
    unsigned idle_count;
    wg_status slot;         /* what came of the wait for a slot that has just ended */
    char *report;           /* of the last deadlock, from malloc, or NULL */
    struct wgl_stack *base; /* what a runner goes back to at the end of its batch */
    lua_State *driver;      /* what had the last batch run */
    lua_State *maker;       /* a Lua thread that makes those of runners, and does nothing else */
    unsigned epoch;         /* of the process that the events come from */
    /* Other event loops; see foreign.c. */
    unsigned foreign_waiters, foreign_woken; /* coroutines of them that wait; how many are awake again */
    unsigned foreign_tasks;                  /* tasks that have yielded to them */
    bool foreign_in_use, in_loop;            /* there is one; it lets our tasks run just now */
    unsigned agents;                         /* coroutines of it that let them run also if nobody waits */
    /* Of a worker's state; see sandbox.c, kept.c and task.c. */
    struct wgl_item *receiving; /* what is just being copied from channels; see channel.c */
    unsigned left;              /* of a worker: what its task may have left behind, of wgl_trace; see sandbox.c */
    bool worker;                /* the state is a worker's; of such a one only, see kept.c: */
    bool changed;               /* a task has changed a module that was kept */
    int loading;                /* how many modules are just being loaded, one within the other */
    uint64_t fingerprint;       /* of the modules that are kept; 0: there are none */
    wgl_met met;
    wgl_paths *paths;         /* package.path and package.cpath at the last thread task; with a reference, or NULL */
    const char *path, *cpath; /* the very strings, which are user values of the box */
    /* What other threads may touch. */
    atomic_int refs;
    _Atomic(struct wgl_subscription *) fired; /* the mailbox: pushed by any thread, taken by the state */
    atomic_bool listening;                    /* the state sleeps on the descriptors below: write to wake it */
    atomic_bool roused;                       /* it is to look again whether it is stuck, before it sleeps */
    int event_fd, timer_fd, epoll_fd;         /* -1 until needed */
    unsigned fds_epoch;                       /* the process that opened them */
    /* Under the lock of homes: */
    bool closed;                 /* the state is gone */
    wgl_home *next_hopeful;      /* see hope.c */
    unsigned hope_depth;         /* how many thread tasks its thread runs, which are no hope for it */
    _Atomic(wgl_failure *) dead; /* failures whose values in the state can be let go */
    wgl_orphan *orphans;         /* groups without handles whose tasks end with the state at the latest */
    size_t orphans_count,
        orphans_kept; /* how many are listed; how many were left at the last look for those that ended */
};

/* The home is in a box, a userdata. A finalizer that runs after the end of the home finds the box empty, and wgl_home_in
 * raises. */
wgl_home *wgl_home_of(lua_State *L);
wgl_home *wgl_home_in(lua_State *L, wgl_home *const *box);
wgl_home *wgl_home_or_null(lua_State *L); /* raises nothing */
void wgl_push_home(lua_State *L);         /* the box */
wgl_home *wgl_home_retain(wgl_home *home);
void wgl_home_release(wgl_home *home);
void wgl_home_wake(wgl_home *home);  /* make the descriptor readable that it sleeps on */
void wgl_home_rouse(wgl_home *home); /* it does not sleep on, nor begins to, before it has looked again */
bool wgl_home_sleep(wgl_home *home, int64_t deadline);
void wgl_home_listen(wgl_home *home, int64_t deadline, bool now);
void wgl_home_unlisten(wgl_home *home);
void wgl_open_home(lua_State *L);
extern const luaL_Reg wgl_home_functions[];

/* --- tasks on other threads as the hope of loops: hope.c --- */

void wgl_thread_task_given(void);
/* A task of the group has ended, or was refused: the group does not count it any more. */
void wgl_thread_task_returned(wgl_errgroup *group);
/* Whether any in the process is unfinished, except those that this thread runs. */
bool wgl_thread_tasks_unfinished(void);
/* The loop of `home` is to be roused when no thread task is left, or when a group of those hoped for has no tasks except
 * the `own` ones of the state. To be called before the loop looks for the last time, and after it has slept. */
void wgl_hope_enter(wgl_home *home);
void wgl_hope_leave(wgl_home *home);
void wgl_hope_for(wgl_errgroup *group, unsigned own);
/* A task of the group has ended that is none of a loop that hopes for it. */
void wgl_hope_less(wgl_errgroup *group);
void wgl_hope_forked(void); /* in the child */

/* --- names of tasks: home.c --- */

#define WGL_NAME_SIZE 80 /* with the zero byte: of longer ones only that much is shown */

/* Take the name of a task, or nil, and the argument after it off the stack, at 2 and 3. The name, or NULL, is kept until
 * the next call. `box`: of the home. */
const char *wgl_take_name(lua_State *L, int box);

/* --- groups without handles: orphan.c --- */

void wgl_orphan_adopt(lua_State *L, wgl_errgroup *group); /* it has lost its last handle, in `L` */
void wgl_orphans_abandon(wgl_home *home);                 /* after the home is closed */

/* --- deadlines: home.c --- */

/* The deadline that `index` asks for: seconds from now; nil and infinity are for ever, and 0 looks once. An error is one
 * of the argument `arg`, at `level`. */
int64_t wgl_deadline(lua_State *L, int index, int arg, int level);

/* --- copies between states: encode.c and decode.c, in the format of message.h --- */

typedef struct wgl_message {
    unsigned char *data;
    uint32_t length;
    int count;      /* of values */
    bool shares;    /* tables or functions in it are referred to twice */
    bool allocated; /* `data` is its own */
    uint32_t objects_count;
    wgl_object **objects; /* with references */
} wgl_message;

typedef struct wgl_blob wgl_blob; /* the code of a function, shared by all tasks that run it */

/* Why a value cannot cross. */
typedef struct wgl_refusal {
    char text[300];
} wgl_refusal;

/* Copy the `count` values from `first` on. `what` and `number` name the first in a refusal: "argument", 2. `blob`: the
 * code of the first value, or NULL. The message is in `space`, whose `size` may be 0, as long as that is large enough.
 * Never raises. False: refused, or no memory; then the message is empty. */
bool wgl_encode(lua_State *L, int first, int count, const char *what, int number, const wgl_blob *blob,
                wgl_refusal *refusal, wgl_message *message, void *space, size_t size);
/* Functions in a preload table: C functions may cross too, which stay valid as long as their libraries do. */
bool wgl_encode_loaders(lua_State *L, int first, int count, wgl_refusal *refusal, wgl_message *message);
/* An error value: a table in it arrives without what cannot be kept of its metatable. */
bool wgl_encode_error(lua_State *L, int index, wgl_message *message);
bool wgl_message_text(wgl_message *message, const char *text); /* one string; false without memory */
/* The one value of a message in pieces, allocated; the strings are the message's. NULL: it is not plain, or there is no
 * memory. plain.c */
wg_plain *wgl_plain(const wgl_message *message, size_t *count);
/* Push the values; how many. `blob`: as it was for encoding. May raise. */
int wgl_decode(lua_State *L, const wgl_message *message, const wgl_blob *blob);
void wgl_message_clear(wgl_message *message);

/* --- the code of functions: code.c --- */

/* Push the code of the Lua function at `index` as a userdata and return it; `blobs` is the table of those that are known,
 * which the other pushes. Neither index is relative to the top. May raise. */
wgl_blob *wgl_push_blob(lua_State *L, int blobs, int index);
void wgl_push_blobs(lua_State *L);
wgl_blob *wgl_blob_retain(wgl_blob *blob);
void wgl_blob_release(wgl_blob *blob);
const char *wgl_blob_name(const wgl_blob *blob); /* file:line */
int wgl_blob_upvalues(const wgl_blob *blob);
lua_Integer wgl_blob_id(const wgl_blob *blob);
const char *wgl_blob_code(const wgl_blob *blob, size_t *length);
int wgl_count_upvalues(lua_State *L, int index); /* of the function there */
/* Like luaL_loadfile, of a file that is compiled once in the process. */
int wgl_load_file(lua_State *L, const char *path);
/* The caller of the running C function is a file that was loaded from its source: others need not compile it. */
void wgl_share_caller(lua_State *L);

/* --- functions and modules by name: names.c --- */

/* A function of the standard libraries. */
typedef struct wgl_standard {
    lua_CFunction function;
    bool closure; /* it has something of its state in it */
    char module[12], field[20];
} wgl_standard;

const wgl_standard *wgl_standard_of(lua_CFunction function); /* or NULL */
void wgl_push_standard(lua_State *L, const wgl_standard *function);

/* What is a module, or in one, has names: of the module, and its own there, which of a module is empty. They are borrowed
 * from the state. The first is the likeliest to work elsewhere. */
enum { WGL_NAMES_MAX = 6 };
typedef struct wgl_name {
    const char *module, *field;
    bool likely;
} wgl_name;
typedef struct wgl_names {
    int count;
    wgl_name list[WGL_NAMES_MAX];
} wgl_names;

/* The names that the loaded modules have for the C function, or are themselves for the table, at the absolute `index`.
 * Needs 12 places on the stack. Never raises. */
void wgl_find_names(lua_State *L, int index, wgl_names *names);
/* Push what the first of the `count` pairs of strings from `names` on leads to that leads to `function`, or with NULL to
 * anything; false: none, and why is pushed. May raise. */
bool wgl_look_up(lua_State *L, int names, int count, lua_CFunction function);

/* Our own functions: those in the module at `module`, and the methods, get names; push the name of the function at
 * `index`, if it is one; and from the name on top to the function. */
void wgl_note_own(lua_State *L, int module);
bool wgl_push_own_name(lua_State *L, int index);
void wgl_push_own(lua_State *L);
void wgl_open_names(lua_State *L);

/* --- errors as values: failure.c --- */

/* What error(nil) is: the words of Lua 5.5. */
#define WGL_NO_ERROR_OBJECT "<no error object>"
void wgl_name_no_error(lua_State *L, int index); /* an error of nil there, which looks like none, becomes that text */

/* The value at `index` as an error with one reference. `traceback`: index of a string, or 0. `keep`: let this state
 * find the very value again. May raise. */
wg_error *wgl_failure_new(lua_State *L, int index, int traceback, bool keep);
/* The same, kept, but never raises: what goes wrong becomes the error. */
wg_error *wgl_failure_of(lua_State *L, int index, int traceback);
/* The same around a plain text, without a state. Never raises. */
wg_error *wgl_failure_text(const char *text);
/* Push the value of `error`, nil for NULL; and its traceback, or nil. */
void wgl_push_error(lua_State *L, const wg_error *error);
void wgl_push_traceback(lua_State *L, const wg_error *error);
/* Let go of the values in this state whose errors are gone. */
void wgl_failures_collect(lua_State *L, wgl_home *home);
void wgl_failures_close(wgl_home *home);
void wgl_open_failures(lua_State *L);

/* --- the three objects --- */

void wgl_open_waitgroup(lua_State *L);
void wgl_open_context(lua_State *L);
void wgl_open_errgroup(lua_State *L);
extern const luaL_Reg wgl_waitgroup_functions[];
extern const luaL_Reg wgl_context_functions[];
extern const luaL_Reg wgl_errgroup_functions[];

/* A new object around `ctx`, whose reference passes to it; NULL without memory: then the reference is given up. */
wgl_context *wgl_context_wrap(wg_context *ctx, wgl_context *parent);
/* The context at argument `arg` that ends a wait, the root for none. A closed one will do, for it has ended. */
wg_context *wgl_opt_context(lua_State *L, int arg, int level);
/* Push the context of the running task, or of the thread's, or nil. */
void wgl_push_context(lua_State *L);
/* Push the handle of the context of the group at `group`, an absolute index, which keeps it. */
void wgl_push_group_context(lua_State *L, int group);
/* Callbacks of contexts that have just ended run now. */
void wgl_run_callbacks_now(lua_State *L);
/* Push the outcome of waiting for `ctx`: nil, "cancelled" or "deadline exceeded", cause; and a cause, which is nil after a
 * deadline, since the word says it. */
int wgl_push_ended(lua_State *L, wg_context *ctx);
void wgl_push_cause(lua_State *L, const wg_error *cause);
/* The words of the two ways to end. */
const char *wgl_end_word(wg_status status);

/* Raise at `level` that `n` more, for the method `call`, would leave the range of the count: `status`. */
int wgl_waitgroup_refuse(lua_State *L, wgl_waitgroup *wg, lua_Integer n, const char *call, wg_status status, int level);

/* Push the descriptor that tells when `wg`, of the object behind the handle, is at zero. `what` names it in errors. */
int wgl_push_watch_fd(lua_State *L, wgl_handle *handle, wg_waitgroup *wg, const char *what);

/* Coroutine tasks of an error group. They may leave after the user closed the handle. */
wg_status wgl_enter(wgl_handle *group);
wg_status wgl_enter_slot(wgl_handle *group); /* in the slot that was taken for it */
void wgl_leave(wgl_handle *group, wg_error *error);
bool wgl_has_ended(const wgl_handle *group);
/* Whether the running task of this state is one of `group`. */
bool wgl_in_task_of(lua_State *L, const wgl_object *group);
/* The task ends with the error at `value`; `traceback`: where it is, or 0. True if it merely stopped because the group was
 * cancelled. Never raises. */
bool wgl_fail(lua_State *L, wgl_handle *group, int value, int traceback);
/* The group at 1 took no task: push nil and why; raise if that is misuse. */
int wgl_push_refusal(lua_State *L, wg_status status, int level);
/* The task on top was started in the group at 1: tell as_completed, if it follows the group. May raise, though the task
 * runs. `kept`: a coroutine task, which can still be found as long as it has not ended. */
void wgl_tell_follower(lua_State *L, bool kept);
/* The name on top becomes "NAME (for N s)" in the list at `list`. */
void wgl_add_running(lua_State *L, int list, int64_t nanoseconds);

/* --- channels: channel.c --- */

void wgl_open_channel(lua_State *L);
void wgl_channel_share(wgl_object *channel); /* another state may send to it, or receive from it, from now on */
void wgl_channel_forget(wgl_home *home);     /* values that were not received for lack of memory */
extern const luaL_Reg wgl_channel_functions[];

/* --- tasks that are coroutines: coroutine.c; what the loop knows of them is in task.h --- */

int wgl_push_timeout(lua_State *L); /* nil, "timeout" */

void wgl_open_coroutines(lua_State *L); /* with the table of core functions on top */
void wgl_coroutines_add_running(lua_State *L, const wgl_handle *group);
void wgl_coroutines_add_unfinished(lua_State *L,
                                   const wgl_handle *group); /* the tasks themselves, to the list on top */
int wgl_drain(lua_State *L);                                 /* loop.c */
void wgl_push_deadlock(lua_State *L);
void wgl_set_deadlock(lua_State *L);

/* --- other event loops: foreign.c --- */

void wgl_open_foreign(lua_State *L);
extern const luaL_Reg wgl_foreign_functions[];

/* --- errors that nobody waits for: report.c --- */

/* Give the error at `value` to what the user has set. `traceback`: where it is, or 0. Raises nothing. */
void wgl_report(lua_State *L, int value, int traceback);
void wgl_call_reporting(lua_State *L); /* call the function on top; its error is reported */
void wgl_report_forget(lua_State *L);
extern const luaL_Reg wgl_report_functions[];

/* --- inspect.c --- */

/* Such as "fetch.lua:12": where the function at `level` of the stack is, in `size` bytes; "" if that is not known. */
void wgl_place_of_caller(lua_State *L, int level, char *place, size_t size);
extern const luaL_Reg wgl_inspect_functions[];

/* --- tasks on threads --- */

/* Two threads work on it, and each cache line that both touch costs: so it is small, with what both need together. */
struct wgl_task {
    wgl_object object;
    wg_waitgroup done;   /* one until the task has ended */
    wgl_errgroup *group; /* with a reference */
    wgl_blob *blob;      /* the code of its function, with a reference; NULL if it is found by name */
    wgl_paths *paths;    /* with a reference, or NULL */
    /* The call: the function and its arguments, or module, function name and arguments. Then, of a task that has
     * succeeded, its results. */
    wgl_message message;
    wgl_message *preload; /* names and loaders of package.preload; may be NULL */
    wg_error *error;      /* with a reference, or NULL */
    atomic_bool started;  /* it runs, or has run */
    atomic_bool settled;  /* its outcome is known */
    bool stopped;         /* it never started, or it stopped because its group was cancelled */
    bool succeeded;
    bool named;              /* it has a name; else it has that of its blob */
    unsigned char space[52]; /* of the message, if it is small */
    char name[];
};

struct wgl_paths {
    atomic_int refs;
    const char *cpath; /* behind path */
    char path[];
};
wgl_paths *wgl_paths_retain(wgl_paths *paths);
void wgl_paths_release(wgl_paths *paths);

void wgl_open_task(lua_State *L);
void wgl_task_push_text(lua_State *L, wgl_task *task);

const char *wgl_task_name(const wgl_task *task);

/* worker.c: the pool, its threads and their states. */
wg_pool *wgl_pool(void);
wg_error *wgl_worker_run(void *task, wg_context *ctx); /* a wg_task_fn */
wgl_task *wgl_worker_task(void);                       /* the task that this thread runs, or NULL */
unsigned wgl_worker_tasks_of(const wgl_object *group); /* how many it runs of a group, one within the other */
unsigned wgl_worker_depth(void);                       /* how many it runs in all */
bool wgl_worker_is_for(const wgl_context *context);    /* whether that is the context of one of them */
int wgl_call_by_name(lua_State *L); /* module, function name or nil, arguments -> what the function gives for them */

/* sandbox.c: what keeps the tasks of one state from seeing each other. */
void wgl_sandbox_open(lua_State *L);
bool wgl_sandbox_leave(lua_State *L, wgl_home *home, bool hosted); /* false: the state has to be given up */
int wgl_setmetatable(lua_State *L);                                /* that of workers: it takes note of finalizers */
bool wgl_is_own_module(const char *module);
bool wgl_is_standard_module(const char *module);
unsigned wgl_module_traces(const char *module); /* what a task may leave behind that has it without asking for it */
extern const char
    wgl_hidden; /* key in the metatable of a table: of the table of its fields that are hidden behind it */
int wgl_load_self(lua_State *L);   /* the loader of this module in a worker */
extern const char wgl_self_loader; /* registry key of the parent's loader for it, if it was preloaded there */

/* restore.c: what cannot stand behind another table is put right. */
void wgl_restore_open(lua_State *L);
/* The table on top is put right after tasks that left one of `traces`: as it is now, or as the copy above it says then.
 * Pops them. */
void wgl_restore_later(lua_State *L, unsigned traces);
void wgl_restore_to(lua_State *L, unsigned traces);
void wgl_restore(lua_State *L, unsigned traces);
void wgl_copy_fields(lua_State *L, int from); /* of the table there into the one on top */

/* kept.c: modules that stay loaded. */
void wgl_kept_open(lua_State *L, int more); /* as long as no module is loaded */
bool wgl_kept_any(lua_State *L);
bool wgl_kept_leave(lua_State *L, wgl_home *home); /* after a task; false: it has changed one */
void wgl_kept_forget(lua_State *L);

/* module.c: what a state needs in which tasks of ours run, once; and, for handles, the whole module. */
void wgl_open_state(lua_State *L);
void wgl_need_module(lua_State *L);
/* Push the table that `require "waitgroup"` has given in this state. False: it was not required, and something else is on top. */
bool wgl_push_module(lua_State *L);

#endif
