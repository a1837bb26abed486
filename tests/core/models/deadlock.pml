/* deadlock.pml - waits that are published and looked at: no deadlock is missed, and none is invented.
 *
 * As in core/src/deadlock.h: a wait is linked to what it waits for, then published, and looked at together with those that
 * it depends on, under one lock; it sleeps on its word, and is withdrawn, under the lock, before its task goes on. The end of
 * a task sets the words of the waits that are linked to it, without that lock, at any moment of a look.
 *
 * Each task is the only one of its group, so the waits that one depends on are a path. A task waits twice, each time for any
 * other task or for none, and ends. One wait is ended by a cancellation, at any moment. A deadlock that is missed is one of the
 * model, which Spin sees. */

#define TASKS 3
#define NOBODY 255

bool held; /* the lock */
bool ended[TASKS], linked[TASKS], published[TASKS], word[TASKS];
byte target[TASKS];
bool late[TASKS]; /* its wake came while another task looked, which may have read the word before */
bool looking;

inline lock() {
#ifndef BUG_NO_LOCK
    atomic { !held -> held = true }
#else
    skip
#endif
}

inline unlock() {
    held = false
}

/* Follow the path from `me`, one read after the other. */
inline look() {
    looking = true;
    at = me;
    steps = 0;
    stuck = true;
    do
    :: steps < TASKS && stuck ->
        stuck = published[at];
#ifndef BUG_WORD_NOT_LOOKED_AT
        if
        :: stuck && word[at] -> stuck = false
        :: else
        fi;
#endif
        at = target[at];
        steps++;
        if
        :: at == me -> break
        :: else
        fi
    :: else -> break
    od;
    stuck = (stuck && at == me)
}

inline end_look() {
    d_step {
        looking = false;
        for (at : 0 .. TASKS - 1) {
            late[at] = false
        }
        at = 0
    }
}

/* An alarm: all waits of the ring are there, and when the look began, none had had its wake. */
inline check_ring() {
    d_step {
        at = me;
        steps = 0;
        do
        :: assert(linked[at] && (!word[at] || late[at]) && !ended[target[at]]);
           at = target[at];
           steps++;
           if
           :: at == me || steps == TASKS -> break
           :: else
           fi
        od;
        assert(at == me);
        at = 0;
        steps = 0
    }
}

inline publish() {
    published[me] = true
}

inline withdraw() {
    published[me] = false
}

inline wait_for_target() {
    lock();
#ifdef BUG_LOOK_BEFORE_PUBLISHING
    published[me] = true;
    look();
    published[me] = false;
    unlock();
    lock();
    published[me] = true;
#else
    publish();
    look();
#endif
    if
    :: stuck ->
        check_ring();
        end_look();
        withdraw();
        linked[me] = false;
        unlock()
    :: else ->
        end_look();
        unlock();
        word[me]; /* sleeps */
        lock();
        withdraw();
        unlock();
        linked[me] = false
    fi
}

/* The end of a task is seen at once; the words are set one after the other. */
inline end() {
    ended[me] = true;
    at = 0;
    do
    :: at < TASKS ->
        d_step {
            if
            :: linked[at] && target[at] == me -> word[at] = true
            :: else
            fi;
            at++
        }
    :: else -> break
    od;
    at = 0
}

proctype task(byte me) {
    byte waits, at, steps, other;
    bool stuck;
    do
    :: waits < 2 ->
        waits++;
        select(other : 0 .. TASKS - 1);
        if
        :: other == me -> skip /* it waits for nobody */
        :: else ->
            atomic { /* under the lock of the bucket */
                if
                :: ended[other]
                :: else ->
                    word[me] = false;
                    target[me] = other;
                    linked[me] = true
                fi
            };
            if
            :: linked[me] -> wait_for_target()
            :: else
            fi
        fi
    :: else -> break
    od;
    end()
}

/* It comes after the wait of any one task has begun, or not at all. */
proctype cancel() {
    byte one;
    select(one : 0 .. TASKS - 1);
    if
    :: atomic { linked[one] -> word[one] = true; late[one] = looking }
    :: skip
    fi
}

init {
    atomic {
        run cancel();
        run task(0);
        run task(1);
        run task(2)
    }
}
