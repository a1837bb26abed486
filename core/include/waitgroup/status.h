/* status.h - what a call says of itself, and the version of the library.
 *
 * Every call that can fail returns a wg_status. A call that did not return WG_OK has changed nothing, unless its
 * contract says otherwise. No call prints or aborts, and none reports anything by errno, which it may change. */
#ifndef WAITGROUP_STATUS_H
#define WAITGROUP_STATUS_H

/* Each public call is declared with it. A build that puts the core into another module may define it empty, so that the
 * names are not exported. */
#ifndef WG_API
#if defined(__GNUC__)
#define WG_API __attribute__((visibility("default")))
#else
#define WG_API
#endif
#endif

/* A call whose status tells whether a task was taken: to ignore it would lose the task. */
#if defined(__GNUC__)
#define WG_MUST_USE __attribute__((warn_unused_result))
#else
#define WG_MUST_USE
#endif

/* For a call that takes a format as printf does: the numbers of the format and of the first argument among its parameters. */
#if defined(__MINGW32__)
#define WG_PRINTF(string, first) __attribute__((__format__(__gnu_printf__, string, first)))
#elif defined(__GNUC__)
#define WG_PRINTF(string, first) __attribute__((__format__(__printf__, string, first)))
#else
#define WG_PRINTF(string, first)
#endif

#define WG_VERSION "0.1.0"
/* The same for #if: 10000 times the first number, and 100 times the second, and the third. */
#define WG_VERSION_NUMBER 100

#ifdef __cplusplus
extern "C" {
#endif

typedef enum wg_status {
    WG_OK = 0,
    WG_TIMEOUT,           /* the deadline of this call passed first */
    WG_CONTEXT_ENDED,     /* the context that bounds this call ended first: see until.h */
    WG_CANCELLED,         /* what the call is about, a context or a group, is cancelled */
    WG_DEADLINE_EXCEEDED, /* what the call is about, a context or a group, has passed its deadline */
    WG_INTERRUPTED,       /* a signal was handled during an interruptible wait; call again to go on waiting */
    WG_FAILED,            /* a task of the group failed: see its first error */
    WG_LIMIT,             /* as many tasks run as the limit allows */
    WG_FINISHED,          /* the group has given its outcome and takes no more tasks */
    WG_DEADLOCK,          /* this call could never return: it would wait for itself */
    WG_FORKED,            /* the tasks waited for were left behind in the parent process by fork */
    WG_NEGATIVE,          /* the count would fall below zero: more done than add */
    WG_OVERFLOW,          /* the count would pass WG_COUNT_MAX */
    WG_INVALID,           /* an argument is NULL or out of range */
    WG_NO_MEMORY,         /* an allocation failed */
    WG_NO_THREADS,        /* the pool has no thread and none could be started */
    WG_NO_FD,             /* the system gave no file descriptor */
    WG_STOPPED,           /* the pool was stopped and takes no more tasks */
    WG_UNKNOWN_ID,        /* no object ever had this id */
    WG_ENDED_ID,          /* the object with this id is gone */
    WG_OTHER_KIND,        /* the object with this id is of another kind */
    WG_NO_FILE,           /* the file cannot be written */
    WG_TRACING,           /* a timeline is being written already */
    WG_NOT_WRITTEN        /* a part of the file could not be written */
} wg_status;

/* A short English text for `status`, such as "timeout"; "unknown status" for a value not listed above. Never NULL. */
WG_API const char *wg_strstatus(wg_status status);

/* What to do about it, such as "make a new group"; "" where there is nothing to do. Never NULL. */
WG_API const char *wg_status_remedy(wg_status status);

/* The version of the library that runs, which may differ from WG_VERSION and WG_VERSION_NUMBER of the header compiled
 * against. */
WG_API const char *wg_version(void);
WG_API int wg_version_number(void);

/* How threads sleep in the library that runs: "futex", or "pthread" where there is no futex. */
WG_API const char *wg_parking(void);

#ifdef __cplusplus
}
#endif
#endif
