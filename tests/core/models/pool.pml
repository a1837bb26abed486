/* pool.pml - the pool's rule of whom to wake or to start: no task is stranded.
 *
 * As in core/src/pool.c: a lane in which work comes in and from which it is taken, at most one worker looking, a stack of
 * idle workers, a looking worker that watches while all cores are taken. What the code does while it holds the pool's lock
 * is one atomic step here; what it does after letting go of it (to wake, to start a thread) is a step of its own.
 *
 * A task ends at once, or blocks until the last task has been taken; so in the worst case each needs a thread of its own:
 * a task that is left in the queue while nobody looks is a deadlock, and `checker` sees it. */

#define TASKS 3
#define SLOTS 5 /* for workers */
#define NOBODY 255

mtype = { NOTHING, WAKE, HIRE };

/* Chosen at the start. */
byte cores;
bool expiry; /* idle workers may leave */
bool seen;   /* tasks block in a wait of the library, which tells the pool */
bool clock;  /* the watcher's ticks end; if all blocking is seen, it must do without */

/* The lane: work that has come in, work to take, whether it is listed; and whether it is in the ring. */
byte in, first;
bool listed, ring;

/* The pool. */
bool looking, hiring;
byte watcher = NOBODY, computing, idle_count;
byte idle[SLOTS];

/* The workers. */
bool used[SLOTS], wake[SLOTS], asleep[SLOTS], is_looking[SLOTS];

byte taken, ran;

inline move_in() {
    first = in;
    in = 0;
    listed = (first > 0)
}

inline wake_idle() {
    idle_count--;
    who = idle[idle_count];
    idle[idle_count] = 0;
    wake[who] = true;
    order = WAKE
}

/* With the lock held. */
inline appoint() {
    order = NOTHING;
    if
    :: !ring -> skip
    :: ring && looking ->
#ifndef BUG_WATCHER_NOT_KICKED
        if
        :: watcher != NOBODY && computing < cores ->
            who = watcher;
            watcher = NOBODY;
            wake[who] = true;
            order = WAKE
        :: else -> skip
        fi
#else
        skip
#endif
    :: ring && !looking ->
        looking = true;
        if
        :: idle_count > 0 ->
            wake_idle();
            is_looking[who] = true
        :: else ->
            hiring = true;
            order = HIRE
        fi
    fi
}

/* Without the lock. */
inline carry_out() {
    if
    :: order == NOTHING -> skip
    :: order == WAKE ->
#ifndef BUG_WAKE_DROPPED
        asleep[who] = false
#else
        skip
#endif
    :: order == HIRE ->
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
    order = NOTHING;
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
    mtype order = NOTHING;
    byte who;
    bool must_list;
    do
    :: n > 0 ->
        atomic { /* under the lane's lock */
            in++;
            must_list = !listed;
            listed = true
        };
        if
        :: must_list ->
            atomic {
                move_in();
                ring = true;
                appoint()
            };
            carry_out()
        :: else -> skip
        fi;
        n--
    :: else -> break
    od
}

proctype worker(byte me) {
    mtype order = NOTHING;
    byte who, i;
    bool urged, last, spun;

    atomic {
        is_looking[me] = hiring;
        hiring = false
    };
    spun = (cores == 1);

next: /* with the lock held */
    atomic {
        if
        :: ring && (!is_looking[me] || urged || computing < cores) ->
            urged = false;
            first--;
            if
            :: first == 0 -> move_in(); ring = listed
            :: else -> skip
            fi;
            taken++;
            last = (taken == TASKS);
            computing++;
#ifndef BUG_LOOKING_NOT_CLEARED
            if
            :: is_looking[me] -> looking = false
            :: else -> skip
            fi;
#endif
            is_looking[me] = false;
#ifndef BUG_NOBODY_APPOINTED
            appoint();
#endif
            goto run_task
        :: ring && !(!is_looking[me] || urged || computing < cores) ->
            watcher = me;
            wake[me] = false;
            goto watch
        :: !ring && !spun && (is_looking[me] || !looking) ->
            looking = true;
            is_looking[me] = true;
            goto spin
        :: !ring && !(!spun && (is_looking[me] || !looking)) ->
            if
            :: is_looking[me] -> looking = false
            :: else -> skip
            fi;
            is_looking[me] = false;
            wake[me] = false;
            idle[idle_count] = me;
            idle_count++;
            goto sleep
        fi
    };

run_task:
    carry_out();
    if
    :: true -> skip
    :: !last && seen ->
        atomic {
            computing--;
            appoint();
            if
            :: order == NOTHING && first > 1 && computing < cores -> /* one more */
                if
                :: idle_count > 0 -> wake_idle(); is_looking[who] = false
                :: else -> order = HIRE
                fi
            :: else -> skip
            fi
        };
        carry_out();
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

watch:
    park();
end_watch: /* without a clock, when nothing is queued any more */
    if
    :: !asleep[me] -> skip
    :: asleep[me] && clock -> asleep[me] = false /* a tick has passed */
    fi;
    atomic {
        if
        :: watcher == me -> watcher = NOBODY
        :: else -> skip
        fi;
        if
        :: !wake[me] && ring -> urged = true /* no core did anything during the tick */
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

/* When nothing can happen any more, all must have happened; nobody looks but a watcher whose tick never ends. */
proctype checker() {
    timeout;
    assert(ran == TASKS && in == 0 && first == 0 && !ring && !hiring && computing == 0);
    assert(!looking || (!clock && watcher != NOBODY))
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
