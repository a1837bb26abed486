/* pool.pml - the pool's rule of whom to wake or to start: no task is stranded.
 *
 * As in core/src/searcher.h, worker.c and submit.c: a queue with an inbox and a far end, at most one searcher, a stack of
 * idle workers, the searcher as the monitor while all cores are taken. What the code does while it holds the pool's lock
 * is one atomic step here; what it does after letting go of it (to wake, to start a thread) is a step of its own.
 *
 * A task ends at once, or blocks until the last task has been taken; so in the worst case each needs a thread of its own:
 * a task that is left in the queue without a searcher is a deadlock, and `checker` sees it. */

#define TASKS 3
#define SLOTS 5 /* for workers */
#define NOBODY 255

mtype = { NONE, WAKE, SPAWN };

/* Chosen at the start. */
byte cores;
bool expiry; /* idle workers may leave */
bool seen;   /* tasks block in a wait of the library, which tells the pool */
bool clock;  /* the monitor's ticks end; if all blocking is seen, it must do without */

/* The queue: work in the inbox, work to take, whether it is listed; and whether it is in the ring. */
byte in, first;
bool listed, ring;

/* The pool. */
bool searching, spawning;
byte monitor = NOBODY, computing, idle_count;
byte idle[SLOTS];

/* The workers. */
bool used[SLOTS], wake[SLOTS], asleep[SLOTS], is_searching[SLOTS];

byte taken, ran;

inline refill() {
    first = in;
    in = 0;
    listed = (first > 0)
}

inline wake_idle() {
    idle_count--;
    who = idle[idle_count];
    idle[idle_count] = 0;
    wake[who] = true;
    action = WAKE
}

/* With the lock held. */
inline ensure_searcher() {
    action = NONE;
    if
    :: !ring -> skip
    :: ring && searching ->
#ifndef BUG_MONITOR_NOT_KICKED
        if
        :: monitor != NOBODY && computing < cores ->
            who = monitor;
            monitor = NOBODY;
            wake[who] = true;
            action = WAKE
        :: else -> skip
        fi
#else
        skip
#endif
    :: ring && !searching ->
        searching = true;
        if
        :: idle_count > 0 ->
            wake_idle();
            is_searching[who] = true
        :: else ->
            spawning = true;
            action = SPAWN
        fi
    fi
}

/* Without the lock. */
inline perform() {
    if
    :: action == NONE -> skip
    :: action == WAKE ->
#ifndef BUG_WAKE_DROPPED
        asleep[who] = false
#else
        skip
#endif
    :: action == SPAWN ->
        atomic {
            who = 0;
            do
            :: who < SLOTS && used[who] -> who++
            :: else -> break
            od;
            assert(who < SLOTS);
            used[who] = true;
            run worker(who)
        }
    fi;
    action = NONE;
    who = 0
}

/* Sleep, unless woken before. */
inline park() {
    atomic {
        if
        :: !wake[me] -> asleep[me] = true
        :: else -> skip
        fi
    }
}

proctype submitter(byte n) {
    mtype action = NONE;
    byte who;
    bool must_list;
    do
    :: n > 0 ->
        atomic { /* under the lock of the queue */
            in++;
            must_list = !listed;
            listed = true
        };
        if
        :: must_list ->
            atomic {
                refill();
                ring = true;
                ensure_searcher()
            };
            perform()
        :: else -> skip
        fi;
        n--
    :: else -> break
    od
}

proctype worker(byte me) {
    mtype action = NONE;
    byte who, i;
    bool overcommit, last, spun;

    atomic {
        is_searching[me] = spawning;
        spawning = false
    };
    spun = (cores == 1);

next: /* with the lock held */
    atomic {
        if
        :: ring && (!is_searching[me] || overcommit || computing < cores) ->
            overcommit = false;
            first--;
            if
            :: first == 0 -> refill(); ring = listed
            :: else -> skip
            fi;
            taken++;
            last = (taken == TASKS);
            computing++;
#ifndef BUG_SEARCHING_NOT_CLEARED
            if
            :: is_searching[me] -> searching = false
            :: else -> skip
            fi;
#endif
            is_searching[me] = false;
#ifndef BUG_NO_SEARCHER
            ensure_searcher();
#endif
            goto run_task
        :: ring && !(!is_searching[me] || overcommit || computing < cores) ->
            monitor = me;
            wake[me] = false;
            goto monitor_tick
        :: !ring && !spun && (is_searching[me] || !searching) ->
            searching = true;
            is_searching[me] = true;
            goto spin
        :: !ring && !(!spun && (is_searching[me] || !searching)) ->
            if
            :: is_searching[me] -> searching = false
            :: else -> skip
            fi;
            is_searching[me] = false;
            wake[me] = false;
            idle[idle_count] = me;
            idle_count++;
            goto sleep
        fi
    };

run_task:
    perform();
    if
    :: true -> skip
    :: !last && seen ->
        atomic {
            computing--;
            ensure_searcher();
            if
            :: action == NONE && first > 1 && computing < cores -> /* one more */
                if
                :: idle_count > 0 -> wake_idle(); is_searching[who] = false
                :: else -> action = SPAWN
                fi
            :: else -> skip
            fi
        };
        perform();
        taken == TASKS;
        computing++
    :: !last && !seen ->
        taken == TASKS
    fi;
    atomic {
        ran++;
        computing--;
        last = false;
        goto next
    };

monitor_tick:
    park();
end_monitor: /* without a clock, when nothing is queued any more */
    if
    :: !asleep[me] -> skip
    :: asleep[me] && clock -> asleep[me] = false /* a tick has passed */
    fi;
    atomic {
        if
        :: monitor == me -> monitor = NOBODY
        :: else -> skip
        fi;
        if
        :: !wake[me] && ring -> overcommit = true /* no core did anything during the tick */
        :: else -> skip
        fi;
        goto next
    };

spin:
    spun = true;
    goto next;

sleep:
    park();
end_idle: /* it may sleep for ever */
    if
    :: !asleep[me] -> skip
    :: asleep[me] && expiry -> asleep[me] = false
    fi;
    atomic {
        if
        :: wake[me] ->
            spun = (cores == 1);
            goto next
        :: else ->
#ifndef BUG_EXPIRED_STAYS_LISTED
            i = 0;
            do
            :: idle[i] != me -> i++
            :: else -> break
            od;
            do
            :: i + 1 < idle_count -> idle[i] = idle[i + 1]; i++
            :: else -> break
            od;
            idle_count--;
            idle[idle_count] = 0;
            i = 0;
#endif
            if
            :: ring ->
                spun = (cores == 1);
                goto next
            :: else -> skip
            fi
        fi
    };
    used[me] = false
}

/* When nothing can happen any more, all must have happened; there is no searcher, except a monitor whose tick never ends. */
proctype checker() {
    timeout;
    assert(ran == TASKS && in == 0 && first == 0 && !ring && !spawning && computing == 0);
    assert(!searching || (!clock && monitor != NOBODY))
}

init {
    atomic {
        if :: cores = 1 :: cores = 2 fi;
        if :: expiry = true :: expiry = false fi;
        if
        :: seen = true; clock = true
        :: seen = true; clock = false
#ifndef BUG_NO_TICKS
        :: seen = false; clock = true
#else
        :: seen = false; clock = false
#endif
        fi;
        run checker();
        run submitter(1);
        run submitter(TASKS - 1)
    }
}
