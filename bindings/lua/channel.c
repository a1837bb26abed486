/* channel.c - channels: values on their way from one coroutine, thread or state to another.
 *
 * A channel holds up to `capacity` items, in the order of sending, and two queues: of those that wait to send and of those
 * that wait to receive, in the order of coming. While it is open, one of these holds:
 *   no sender waits                                        the items may be any number up to the capacity
 *   senders wait, no receiver does                         there are as many items as the capacity
 *   receivers wait, no sender does                         there is no item
 * So whoever comes is served by the items, or by the first in the queue of the other side, or waits.
 *
 * What waits is a *ticket*: a wait group whose count goes to zero when it is served, so that it is waited for like any
 * other. It has a *place* in a queue for each channel; several if it is that of a select. Serving one takes all its places
 * out of their queues.
 *
 * One lock guards all channels, since a select is in several of them, and since it is held for a few steps only: values are
 * copied before and after. */
#include <stdlib.h>
#include <string.h>

#include "loop.h"

typedef struct wgl_item {
    struct wgl_item *next;
    wgl_message message;
    unsigned char space[64]; /* of the message, if it is small */
} item;

typedef struct ticket ticket;
typedef struct channel channel;

typedef struct place {
    struct place *next, *prev; /* in the queue */
    ticket *ticket;
    channel *channel; /* with a reference */
    bool sends, queued;
    item *item; /* what is sent, or what was received; its own */
} place;

typedef struct queue {
    place *first, *last;
} queue;

struct ticket {
    wgl_waitgroup waitgroup; /* at zero once it is served: its count is the next */
    wg_waitgroup unserved;
    int served;       /* which place; NONE */
    bool closed;      /* served by the end of that channel */
    unsigned epoch;   /* the process in which it began to wait */
    pthread_t thread; /* whose wait it is */
    int64_t deadline;
    int count;
    place places[];
};
enum { NONE = -1 };

struct channel {
    wgl_object object;
    wg_waitgroup dry; /* at zero while a receive would not wait: for pollfd */
    lua_Integer capacity, count;
    item *first, **last;
    queue senders, receivers;
    bool closed;
    bool of_ends;           /* what it carries are ends of tasks: for the words of a deadlock */
    _Atomic lua_Integer id; /* 0: not asked for */
    uint32_t epoch;         /* the process that asked for it */
};

static const char guard_type[] = "waitgroup.channel_wait";

typedef enum outcome { WOULD_WAIT, SERVED, CLOSED } outcome;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void take_lock(void) { pthread_mutex_lock(&lock); }
static void give_lock(void) { pthread_mutex_unlock(&lock); }

static pthread_t forker; /* in the child of a fork: the thread that forked, the only one whose waits go on there */

static void in_child(void) {
    forker = pthread_self();
    give_lock();
}

static void at_fork(void) { pthread_atfork(take_lock, give_lock, in_child); }

/* --- items --- */

static void free_item(item *i) {
    if (i)
        wgl_message_clear(&i->message);
    free(i);
}

/* The value at `index`; NULL, and why. */
static item *new_item(lua_State *L, int index, wgl_refusal *refusal) {
    item *i = malloc(sizeof *i);
    if (!i)
        strcpy(refusal->text, "not enough memory");
    else if (!wgl_encode(L, index, 1, "value", 0, NULL, refusal, &i->message, i->space, sizeof i->space)) {
        free(i);
        i = NULL;
    }
    return i;
}

/* Push the value of the item, and free that. Should this raise, the home does so. */
static void push_item(lua_State *L, item *i) {
    wgl_home *home = wgl_home_of(L);
    i->next = home->receiving;
    home->receiving = i;
    wgl_decode(L, &i->message, NULL);
    item **link = &home->receiving;
    while (*link != i)
        link = &(*link)->next;
    *link = i->next;
    free_item(i);
}

void wgl_channel_forget(wgl_home *home) {
    for (item *i = home->receiving, *next; i; i = next) {
        next = i->next;
        free_item(i);
    }
    home->receiving = NULL;
}

/* --- under the lock --- */

static queue *queue_of(const place *p) { return p->sends ? &p->channel->senders : &p->channel->receivers; }

static void enter(place *p) {
    queue *q = queue_of(p);
    p->queued = true;
    p->next = NULL;
    p->prev = q->last;
    *(q->last ? &q->last->next : &q->first) = p;
    q->last = p;
}

static void leave(place *p) {
    queue *q = queue_of(p);
    if (!p->queued)
        return;
    p->queued = false;
    *(p->prev ? &p->prev->next : &q->first) = p->next;
    *(p->next ? &p->next->prev : &q->last) = p->prev;
}

/* What waits there was left behind in the parent process. */
static bool is_lost(const ticket *t) { return t->epoch != wg_fork_epoch() && !pthread_equal(t->thread, forker); }

/* It waits in this thread of this process. */
static void sign(ticket *t) {
    t->epoch = wg_fork_epoch();
    t->thread = pthread_self();
}

static place *first_in(queue *q) {
    while (q->first && is_lost(q->first->ticket))
        leave(q->first);
    return q->first;
}

/* See that the descriptor says whether a receive would wait. */
static void update_dry(channel *c) {
    bool dry = c->count == 0 && !first_in(&c->senders) && !c->closed;
    if (dry != (wg_count(&c->dry) > 0))
        wg_add(&c->dry, dry ? 1 : -1);
}

static void leave_all(ticket *t) {
    for (int i = 0; i < t->count; i++) {
        leave(&t->places[i]);
        update_dry(t->places[i].channel);
    }
}

static void serve(place *p, bool closed) {
    ticket *t = p->ticket;
    t->served = (int)(p - t->places);
    t->closed = closed;
    leave_all(t);
    wg_done(&t->unserved);
}

static void put(channel *c, item *i) {
    i->next = NULL;
    *c->last = i;
    c->last = &i->next;
    c->count++;
}

static item *take(channel *c) {
    item *i = c->first;
    c->first = i->next;
    if (!c->first)
        c->last = &c->first;
    c->count--;
    return i;
}

/* The item of the first that waits to send. */
static item *take_from_sender(channel *c) {
    place *sender = first_in(&c->senders);
    item *i = sender->item;
    sender->item = NULL;
    serve(sender, false);
    return i;
}

/* SERVED: the item has gone. */
static outcome send_now(channel *c, item *i) {
    if (c->closed)
        return CLOSED;
    place *receiver = first_in(&c->receivers);
    if (receiver) {
        receiver->item = i;
        serve(receiver, false);
    } else if (c->count < c->capacity) {
        put(c, i);
        update_dry(c);
    } else
        return WOULD_WAIT;
    return SERVED;
}

static outcome receive_now(channel *c, item **i) {
    if (c->count > 0) {
        *i = take(c);
        if (first_in(&c->senders))
            put(c, take_from_sender(c));
    } else if (first_in(&c->senders))
        *i = take_from_sender(c);
    else
        return c->closed ? CLOSED : WOULD_WAIT;
    update_dry(c);
    return SERVED;
}

/* One case of a select, or the only one: what it came to. */
static outcome try_place(place *p) {
    if (!p->sends)
        return receive_now(p->channel, &p->item);
    outcome result = send_now(p->channel, p->item);
    if (result == SERVED)
        p->item = NULL;
    return result;
}

/* Try the places in turn: true if one was served. If all would wait, let them. */
static bool try_or_enter(ticket *t, bool wait) {
    take_lock();
    outcome result = WOULD_WAIT;
    for (int i = 0; i < t->count && result == WOULD_WAIT; i++)
        if ((result = try_place(&t->places[i])) != WOULD_WAIT) {
            t->served = i;
            t->closed = result == CLOSED;
        }
    sign(t);
    if (result == WOULD_WAIT && wait)
        for (int i = 0; i < t->count; i++) {
            enter(&t->places[i]);
            update_dry(t->places[i].channel);
        }
    give_lock();
    return result != WOULD_WAIT;
}

/* --- objects --- */

static void destroy_ticket(wgl_object *object) {
    ticket *t = (ticket *)object;
    take_lock();
    leave_all(t);
    give_lock();
    for (int i = 0; i < t->count; i++) {
        free_item(t->places[i].item);
        wgl_release(&t->places[i].channel->object);
    }
    free(t);
}

/* Push a ticket with room for `room` places. `what` is waited for. */
static ticket *push_ticket(lua_State *L, int room, const char *what) {
    wgl_handle *handle = wgl_push_empty(L, WGL_WAITGROUP);
    ticket *t = malloc(sizeof *t + (size_t)room * sizeof t->places[0]);
    if (!t)
        luaL_error(L, "not enough memory");
    t->served = NONE;
    t->closed = false;
    t->count = 0;
    t->unserved = (wg_waitgroup)WG_INIT;
    t->waitgroup.wg = &t->unserved;
    t->waitgroup.shared = NULL;
    t->waitgroup.what = what;
    wg_add(&t->unserved, 1);
    wgl_object_init(&t->waitgroup.object, WGL_WAITGROUP, destroy_ticket);
    wgl_fill(L, handle, &t->waitgroup.object);
    return t;
}

/* A channel that another state knows may be served from there. */
static void add_place(ticket *t, channel *c, item *i) {
    t->places[t->count++] = (place){.ticket = t, .channel = c, .sends = i != NULL, .item = i};
    wgl_retain(&c->object);
    if (atomic_load(&c->object.shared))
        atomic_store(&t->waitgroup.object.shared, true);
}

static void share_queue(const queue *q) {
    for (place *p = q->first; p; p = p->next)
        atomic_store(&p->ticket->waitgroup.object.shared, true);
}

void wgl_channel_share(wgl_object *object) {
    channel *c = (channel *)object;
    take_lock();
    share_queue(&c->senders);
    share_queue(&c->receivers);
    give_lock();
}

/* No ticket refers to it. */
static void destroy(wgl_object *object) {
    channel *c = (channel *)object;
    while (c->count > 0)
        free_item(take(c));
    wg_id_end(atomic_load(&c->id));
    free(c);
}

lua_Integer wgl_channel_id(const wgl_object *object) { return atomic_load(&((const channel *)object)->id); }

lua_Integer wgl_channel_make_id(wgl_object *object, bool (*try_retain)(void *object)) {
    channel *c = (channel *)object;
    take_lock();
    if (wgl_channel_id(object) == 0 || c->epoch != wg_fork_epoch()) {
        wg_id_end(wgl_channel_id(object));
        atomic_store(&c->id, wg_id_new(c, try_retain));
        c->epoch = wg_fork_epoch();
    }
    give_lock();
    return wgl_channel_id(object);
}

static channel *check(lua_State *L) { return (channel *)wgl_check(L, 1, WGL_CHANNEL, 1); }

/* channel([capacity]) */
static int new (lua_State *L) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, at_fork);
    lua_Integer capacity = wgl_opt_integer(L, 1, 0, 1);
    if (capacity < 0 || capacity > WG_COUNT_MAX)
        return wgl_argerror(L, 1, 1,
                            lua_pushfstring(L, "a capacity is 0 to %d, got %I", WG_COUNT_MAX, (LUAI_UACINT)capacity));
    wgl_handle *handle = wgl_push_empty(L, WGL_CHANNEL);
    channel *c = malloc(sizeof *c);
    if (!c)
        return luaL_error(L, "not enough memory");
    *c = (channel){.capacity = capacity, .dry = WG_INIT};
    c->last = &c->first;
    wg_add(&c->dry, 1);
    wgl_object_init(&c->object, WGL_CHANNEL, destroy);
    wgl_fill(L, handle, &c->object);
    return 1;
}

/* ends_channel(capacity): a channel by which the ends of tasks are told. */
static int new_of_ends(lua_State *L) {
    new (L);
    ((channel *)wgl_test(L, -1))->of_ends = true;
    return 1;
}

/* --- waiting. At 1 is the channel, or the table of a select; at 2 the context of the running task, or nil; at 3 the
 * ticket; at 4, while it waits, what ends the wait --- */

enum { CONTEXT = 2, TICKET, GUARD };

static int push_closed(lua_State *L) {
    lua_pushnil(L);
    lua_pushliteral(L, "closed");
    return 2;
}

/* What the served place has come to: true or the value; or nil, "closed". */
static int push_served(lua_State *L, ticket *t) {
    place *p = &t->places[t->served];
    if (t->closed)
        return push_closed(L);
    if (p->sends)
        lua_pushboolean(L, true);
    else {
        item *i = p->item;
        p->item = NULL;
        push_item(L, i);
    }
    return 1;
}

/* The same for a select: the index comes first. */
static int push_selected(lua_State *L, ticket *t) {
    lua_pushinteger(L, t->served + 1);
    return 1 + push_served(L, t);
}

static int finish(lua_State *L, wgl_reason reason) {
    ticket *t = (ticket *)wgl_test(L, TICKET);
    if (t->served != NONE)
        return lua_istable(L, 1) ? push_selected(L, t) : push_served(L, t);
    return reason == WGL_TIMED_OUT ? wgl_push_timeout(L) : wgl_push_ended(L, wgl_opt_context(L, CONTEXT, 1));
}

/* However the wait ends, it leaves nothing behind that could be served: by an error too, or since something has closed the
 * coroutine; then its task is woken, which finds that. */
static int end_wait(lua_State *L) {
    ticket *t = *(ticket **)lua_touserdata(L, 1);
    take_lock();
    leave_all(t);
    if (t->served == NONE && wg_count(&t->unserved) > 0)
        wg_done(&t->unserved);
    give_lock();
    return 0;
}

/* Its variable is above the ticket, which it needs. */
static void push_guard(lua_State *L, ticket *t) {
    ticket **guard = lua_newuserdatauv(L, sizeof(ticket *), 0);
    *guard = t;
    luaL_setmetatable(L, guard_type);
    lua_toclose(L, -1);
}

/* Woken without being served: by a fork, in the child, where the wait begins anew. False: it has been served. */
static bool begin_anew(ticket *t) {
    take_lock();
    bool unserved = t->served == NONE;
    if (unserved) {
        t->unserved = (wg_waitgroup)WG_INIT;
        wg_add(&t->unserved, 1);
        sign(t);
    }
    give_lock();
    return unserved;
}

static int wait_for(lua_State *L, ticket *t);

static int finish_wait(lua_State *L, int status, lua_KContext how) {
    wgl_reason reason = wgl_woken(L, status, how);
    ticket *t = (ticket *)wgl_test(L, TICKET);
    if (reason == WGL_READY && begin_anew(t))
        return wait_for(L, t);
    wgl_close_down_to(L, GUARD);
    return finish(L, reason);
}

static int wait_for(lua_State *L, ticket *t) {
    return wgl_wait(
        L,
        &(wgl_wish){.event = WGL_AT_ZERO, .subject = lua_touserdata(L, TICKET), .own = true, .deadline = t->deadline},
        finish_wait);
}

/* Go on with the ticket at 3. */
static int try_or_wait(lua_State *L, int64_t deadline) {
    ticket *t = (ticket *)wgl_test(L, TICKET);
    lua_settop(L, TICKET);
    push_guard(L, t);
    if (try_or_enter(t, deadline != WG_POLL) || deadline == WG_POLL) {
        wgl_close_down_to(L, GUARD);
        return finish(L, WGL_TIMED_OUT);
    }
    t->deadline = deadline;
    return wait_for(L, t);
}

/* Put the context of the running task at 2. True: it has ended. */
static bool has_ended(lua_State *L) {
    wgl_push_context(L);
    lua_insert(L, CONTEXT);
    return wg_context_status(wgl_opt_context(L, CONTEXT, 1)) != WG_OK;
}

static int refuse(lua_State *L, const char *call, const wgl_refusal *refusal) {
    return wgl_error(L, 1, "cannot %s: %s", call, refusal->text);
}

/* ch:send(value[, timeout]) */
static int send(lua_State *L) {
    channel *c = check(L);
    wgl_refusal refusal;
    int64_t deadline = wgl_deadline(L, 3, 3, 1);
    if (lua_isnoneornil(L, 2))
        return wgl_argerror(L, 1, 2, "nil cannot be sent, as it stands for no value where it is received");
    lua_settop(L, 2);
    if (has_ended(L))
        return wgl_push_ended(L, wgl_opt_context(L, CONTEXT, 1));
    item *i = new_item(L, 3, &refusal);
    if (!i)
        return refuse(L, "send to a channel", &refusal);
    take_lock();
    outcome result = send_now(c, i);
    give_lock();
    if (result == SERVED) {
        lua_pushboolean(L, true);
        return 1;
    }
    free_item(i);
    if (result == CLOSED)
        return push_closed(L);
    if (deadline == WG_POLL)
        return wgl_push_timeout(L);
    ticket *t = push_ticket(L, 1, "room in a channel");
    if (!(i = new_item(L, 3, &refusal)))
        return refuse(L, "send to a channel", &refusal);
    add_place(t, c, i);
    lua_replace(L, TICKET);
    return try_or_wait(L, deadline);
}

static int receive_until(lua_State *L, channel *c, int64_t deadline) {
    item *i;
    lua_settop(L, 1);
    if (has_ended(L))
        return wgl_push_ended(L, wgl_opt_context(L, CONTEXT, 1));
    take_lock();
    outcome result = receive_now(c, &i);
    give_lock();
    if (result == SERVED) {
        push_item(L, i);
        return 1;
    }
    if (result == CLOSED)
        return push_closed(L);
    if (deadline == WG_POLL)
        return wgl_push_timeout(L);
    add_place(push_ticket(L, 1, c->of_ends ? "the end of one of several tasks" : "a value from a channel"), c, NULL);
    return try_or_wait(L, deadline);
}

/* ch:receive([timeout]) */
static int receive(lua_State *L) {
    channel *c = check(L);
    return receive_until(L, c, wgl_deadline(L, 2, 2, 1));
}

/* for value in ch:each() */
static int next_value(lua_State *L) { return receive_until(L, check(L), WG_FOREVER); }

static int each(lua_State *L) {
    check(L);
    lua_settop(L, 1);
    lua_pushcfunction(L, next_value);
    lua_insert(L, 1);
    return 2;
}

/* The case at `index` of the table at 1 joins the ticket: a channel, from which it receives, or { channel, value }. */
static void add_case(lua_State *L, ticket *t, int index) {
    wgl_refusal refusal;
    int top = lua_gettop(L);
    bool sends = lua_rawgeti(L, 1, index) == LUA_TTABLE;
    if (sends && lua_rawlen(L, top + 1) > 2)
        wgl_argerror(L, 1, 1,
                     lua_pushfstring(L, "case %d has %I elements, not { channel, value }", index,
                                     (LUAI_UACINT)lua_rawlen(L, top + 1)));
    if (sends)
        lua_rawgeti(L, top + 1, 1);
    wgl_object *object = wgl_test(L, -1);
    if (!object || object->kind != WGL_CHANNEL)
        wgl_argerror(
            L, 1, 1,
            lua_pushfstring(L, "case %d is no channel to receive from, and no { channel, value } to send", index));
    item *i = NULL;
    if (sends) {
        if (lua_rawgeti(L, top + 1, 2) == LUA_TNIL)
            wgl_argerror(L, 1, 1, lua_pushfstring(L, "case %d has no value to send", index));
        if (!(i = new_item(L, lua_gettop(L), &refusal)))
            refuse(L, lua_pushfstring(L, "send in case %d of a select", index), &refusal);
    }
    add_place(t, (channel *)object, i);
    lua_settop(L, top);
}

/* The table at 1 has nothing except cases, from 1 to `count`, and a timeout. */
static void check_fields(lua_State *L, lua_Unsigned count) {
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        lua_pop(L, 1);
        bool is_case = lua_isinteger(L, -1) && (lua_Unsigned)lua_tointeger(L, -1) - 1 < count;
        bool is_timeout = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "timeout") == 0;
        if (!is_case && !is_timeout)
            wgl_argerror(
                L, 1, 1,
                lua_pushfstring(L, "unknown field %s: there are cases from 1 on, and timeout", wgl_push_shown(L, -1)));
    }
}

/* select { cases..., timeout = seconds } */
static int select_case(lua_State *L) {
    if (!lua_istable(L, 1))
        return wgl_argerror(L, 1, 1, lua_pushfstring(L, "a table of cases expected, got %s", wgl_push_type_name(L, 1)));
    lua_settop(L, 1);
    lua_getfield(L, 1, "timeout");
    int64_t deadline = wgl_deadline(L, 2, 1, 1);
    lua_settop(L, 1);
    lua_Unsigned count = lua_rawlen(L, 1);
    if (count == 0 || count > 1000)
        return wgl_argerror(L, 1, 1, lua_pushfstring(L, "1 to 1000 cases expected, got %I", (LUAI_UACINT)count));
    check_fields(L, count);
    if (has_ended(L))
        return wgl_push_ended(L, wgl_opt_context(L, CONTEXT, 1));
    ticket *t = push_ticket(L, (int)count, "one of several channels");
    for (int i = 1; i <= (int)count; i++)
        add_case(L, t, i);
    return try_or_wait(L, deadline);
}

/* --- the rest --- */

/* ch:close(): true if it was open. What it holds can still be received. */
static int close(lua_State *L) {
    channel *c = (channel *)wgl_check(L, 1, WGL_CHANNEL, 1);
    take_lock();
    bool open = !c->closed;
    c->closed = true;
    while (first_in(&c->receivers))
        serve(c->receivers.first, true);
    while (first_in(&c->senders))
        serve(c->senders.first, true);
    update_dry(c);
    give_lock();
    lua_pushboolean(L, open);
    return 1;
}

static int count(lua_State *L) {
    channel *c = check(L);
    take_lock();
    lua_pushinteger(L, c->count);
    give_lock();
    return 1;
}

static int closed(lua_State *L) {
    channel *c = check(L);
    take_lock();
    lua_pushboolean(L, c->closed);
    give_lock();
    return 1;
}

static int pollfd(lua_State *L) {
    wgl_handle *handle = wgl_check_handle(L, 1, WGL_CHANNEL, 1);
    return wgl_push_watch_fd(L, handle, &((channel *)handle->object)->dry, "a channel");
}

static int tostring(lua_State *L) {
    channel *c = (channel *)((wgl_handle *)luaL_checkudata(L, 1, wgl_type_name(WGL_CHANNEL)))->object;
    if (!c) {
        lua_pushliteral(L, "waitgroup.Channel (closed)");
        return 1;
    }
    take_lock();
    lua_Integer count = c->count;
    bool sender = first_in(&c->senders), receiver = first_in(&c->receivers), closed = c->closed;
    give_lock();
    lua_pushfstring(L, "waitgroup.Channel (%I of %I%s%s)", (LUAI_UACINT)count, (LUAI_UACINT)c->capacity,
                    sender     ? ", waits to be received from"
                    : receiver ? ", waits to be sent to"
                               : "",
                    closed ? ", closed" : "");
    return 1;
}

static const luaL_Reg methods[] = {{"send", send},     {"receive", receive}, {"each", each},
                                   {"close", close},   {"count", count},     {"closed", closed},
                                   {"pollfd", pollfd}, {"getfd", pollfd},    {NULL, NULL}};

void wgl_open_channel(lua_State *L) {
    luaL_newmetatable(L, guard_type);
    lua_pushcfunction(L, end_wait);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
    wgl_new_type(L, WGL_CHANNEL, methods, tostring);
    luaL_getmetatable(L, wgl_type_name(WGL_CHANNEL));
    lua_pushcfunction(L, close);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
}

const luaL_Reg wgl_channel_functions[] = {
    {"channel", new}, {"ends_channel", new_of_ends}, {"select", select_case}, {NULL, NULL}};
