/* home.h - the interpreter as its threads know it.
 *
 * A thread of ours may wake when its interpreter has ended, and the host may have started another one meanwhile. So what
 * a thread looks at before it attaches must not lie in the interpreter's memory: it is a *home*, to which the module's
 * state and all *guests* refer. A guest is what a home knows of one thread: a worker, a thread that has blocked in a call
 * of ours, or a thread from outside that calls into Python. It goes when its thread ends.
 *
 *     HOME_OPEN      threads attach freely
 *     HOME_CLOSING   the interpreter exits: threads from outside are refused
 *     HOME_GONE      the interpreter's memory is going: a thread that is still on its way sleeps for ever instead
 *
 * `due` counts the threads that will still touch the interpreter: each worker from before it is started until its system
 * thread has ended, and each thread from outside while it is inside. An exit waits for `due` to reach zero.
 *
 * The line. A thread that asks for the GIL wakes every switch interval to ask again; when thousands do, nothing else
 * runs. So at most ASKERS guests ask at a time. The others stand in a line, in the order of coming, and each guest that
 * has got the GIL lets the next one ask. The thread that handles signals, and the one that ends the interpreter, pass
 * by the line. Without a GIL there is no line.
 *
 * The lock of a home is held for a few instructions, and under it nobody is called and no thread attaches. A fork holds
 * the locks of all homes; in the child the forking thread is the only guest. */
#ifndef CWAITGROUP_HOME_H
#define CWAITGROUP_HOME_H

#include "compat.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct home home;

typedef struct guest {
    home *home;              /* a reference */
    bool handles_signals;    /* it is Python's main thread, which does not stand in line */
    PyThreadState *state;    /* of a thread from outside, kept for its next call; or NULL */
    bool attaches;           /* it stands in line, or asks for the GIL */
    struct guest *of_thread; /* the next guest of the same thread, in another home */
    /* Guarded by the home's lock: */
    struct guest *next, **link; /* among the guests of the home whose threads live, or among those whose have ended */
    unsigned due;               /* its part of the home's `due` */
    bool asks;                  /* it is one of the home's askers */
    bool may_ask;               /* its turn has come */
    struct guest *behind;       /* in the line */
    pthread_cond_t turn;
} guest;

/* A home for the interpreter of this thread, with one reference. `main_thread`: the number that the system has for
 * Python's main thread. NULL: no memory. */
home *home_new(unsigned long main_thread);
home *home_retain(home *h);
void home_release(home *h);

/* The guest of this thread, made when first asked for. NULL: no memory. */
guest *home_guest(home *h);

/* home_expect: a thread that is still to come is due from now on; false if the home is closing. home_unexpect: it has
 * gone, or will not come. */
bool home_expect(home *h);
void home_unexpect(home *h);
/* The thread that was expected is this one; it is due until it ends. */
void home_arrive(guest *me);
/* A thread from outside comes in (false if the home is closing), and leaves. */
bool home_enter(guest *me);
void home_leave(guest *me);

/* Wait, detached, for leave to ask for the GIL. If the interpreter is gone, this does not return. */
void home_line_up(guest *me);
/* Attached again: let the next one ask. */
void home_move_up(guest *me);

/* This thread will wait for something to do that another thread hands over; false if another thread waits already, or the
 * home is closing. */
bool home_offer(home *h);
/* Wait for it, detached, a short while; NULL if nothing comes, or the home closes. */
void *home_next_errand(home *h);
/* Hand `errand` to the thread that waits; false if none does. */
bool home_hand_errand(home *h, void *errand);

/* This thread ends the interpreter. */
void home_close(home *h);
bool home_is_closing(home *h);
/* Wait, detached, until no other thread is due; at most `patience` nanoseconds, for ever if it is 0. */
void home_wait_until_alone(home *h, int64_t patience);
/* Attached: delete the thread states of guests whose threads have ended. */
void home_delete_states(home *h);
/* The interpreter's memory is going. */
void home_is_gone(home *h);

#endif
