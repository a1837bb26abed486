/* context.pml - the end of a context against the removal of its observers, and against who sleeps until it: no call
 * after a prevented one, none running after a sync removal, no lost wake.
 *
 * As in core/src/context.c and core/src/waitqueue.c: one lock; an end sets the status, wakes who sleeps, then takes the
 * observers off their list and calls one after the other with the lock let go. Who removes an observer takes its memory
 * back as soon as the contract allows: `freed`. */

#define OBSERVERS 2
#define NONE 255

bool held; /* the lock */
bool ended;

/* Observers: on the context's list, on the list of the round of calls, or on none. */
mtype = { UNLISTED, LISTED, PENDING };
mtype place[OBSERVERS];
byte running = NONE;
byte calls[OBSERVERS];
bool returned[OBSERVERS], freed[OBSERVERS];

/* Who waits for a call to end sleeps on a word that counts the ends. */
byte calls_ended;
bool remover_asleep[OBSERVERS];

/* Who waits for the end of the context. */
bool linked, told, waiter_asleep;

inline take() { atomic { !held -> held = true } }
inline give() { held = false }

inline call(o) {
    assert(!freed[o]);
    calls[o]++;
    assert(calls[o] == 1);
    returned[o] = true
}

proctype canceller() {
    byte o;
    bool won;
    take();
    won = !ended;
    if
    :: won ->
        ended = true;
        if
        :: linked ->
            linked = false;
#ifndef BUG_WAKE_BEFORE_BIT
            told = true;
            waiter_asleep = false
#else
            waiter_asleep = false;
            told = true
#endif
        :: else -> skip
        fi
    :: else -> skip
    fi;
    give();
    if
    :: !won -> goto out
    :: else -> skip
    fi;

    take();
    o = 0;
    do
    :: o < OBSERVERS ->
        if
        :: place[o] == LISTED -> place[o] = PENDING
        :: else -> skip
        fi;
        o++
    :: else -> break
    od;
    o = 0;
    do
    :: o < OBSERVERS ->
        if
        :: place[o] == PENDING ->
#ifndef BUG_UNLISTED_AFTER_ITS_CALL
            place[o] = UNLISTED;
#endif
            running = o;
            give();
            call(o);
            take();
#ifdef BUG_UNLISTED_AFTER_ITS_CALL
            place[o] = UNLISTED;
#endif
            running = NONE;
            calls_ended++;
#ifndef BUG_END_OF_CALL_NOT_TOLD
            remover_asleep[0] = false;
            remover_asleep[1] = false
#endif
        :: else -> skip
        fi;
        o++
    :: else -> break
    od;
    give();
out:
    skip
}

/* Observe, then remove: 0 plainly, 1 in sync. */
proctype user(byte me) {
    bool prevented;
    byte seen;
    take();
    if
    :: !ended ->
        place[me] = LISTED;
        give()
    :: else ->
        give();
        call(me)
    fi;

    take();
    prevented = (place[me] != UNLISTED);
    if
    :: prevented -> place[me] = UNLISTED
    :: else ->
        do
#ifndef BUG_SYNC_DOES_NOT_WAIT
        :: me == 1 && running == me ->
            seen = calls_ended;
            give();
            atomic { /* sleep while the word is what was seen */
                if
                :: calls_ended == seen -> remover_asleep[me] = true
                :: else -> skip
                fi
            };
            !remover_asleep[me];
            take()
#endif
        :: else -> break
        od
    fi;
    give();
    if
    :: prevented ->
        freed[me] = true /* a call from now on fails its assertion */
    :: !prevented && me == 1 ->
        assert(returned[me]);
        freed[me] = true
    :: else -> skip
    fi
}

proctype waiter() {
    bool lives;
#ifdef BUG_LOOKS_BEFORE_THE_LOCK
    lives = !ended;
    take();
#else
    take();
    lives = !ended;
#endif
    linked = lives;
    give();
    do
    :: lives && !told ->
        atomic {
            if
            :: !told -> waiter_asleep = true
            :: else -> skip
            fi
        };
        !waiter_asleep
    :: else -> break
    od
}

init {
    atomic {
        place[0] = UNLISTED;
        place[1] = UNLISTED;
        run canceller();
        run canceller();
        run user(0);
        run user(1);
        run waiter()
    }
}
