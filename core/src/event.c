/* event.c - events: one switch over what can be waited for. */
#include "waitgroup/event.h"

#include "context.h"
#include "count.h"
#include "errgroup.h"
#include "event.h"

wg_event wg_zero(wg_waitgroup *wg) { return (wg_event){.subject_ = wg, .kind_ = WG_EVENT_ZERO}; }

wg_event wg_ended(wg_context *ctx) { return (wg_event){.subject_ = ctx, .kind_ = WG_EVENT_ENDED}; }

wg_event wg_slot(wg_errgroup *g) { return (wg_event){.subject_ = g, .kind_ = WG_EVENT_SLOT}; }

wg_event wg_outcome(wg_errgroup *g) { return (wg_event){.subject_ = g, .kind_ = WG_EVENT_OUTCOME}; }

static wg_status wait_for_outcome(wg_errgroup *g, const wg_until *until) {
    wg_status status = wg_errgroup_wait(g, until, NULL);
    bool given = status == WG_FAILED || status == WG_CANCELLED || status == WG_DEADLINE_EXCEEDED;
    return given ? WG_OK : status;
}

wg_status wg_event_wait(wg_event event, const wg_until *until) {
    static const wg_until for_ever = {0};
    if (!event.subject_)
        return WG_INVALID;
    switch ((enum wg_event_kind)event.kind_) {
    case WG_EVENT_ZERO: return wg_wait(event.subject_, until);
    case WG_EVENT_ENDED: return wg_context_wait(event.subject_, until);
    case WG_EVENT_SLOT: return wg_errgroup_wait_for_slot(event.subject_, until ? until : &for_ever);
    case WG_EVENT_OUTCOME: return wait_for_outcome(event.subject_, until);
    }
    return WG_INVALID;
}

wg_status wg_event_observe(wg_event event, wg_observer *observer, void (*fn)(void *arg), void *arg) {
    if (!event.subject_ || !observer || !fn)
        return WG_INVALID;
    switch ((enum wg_event_kind)event.kind_) {
    case WG_EVENT_ZERO: wg_observe_zero(event.subject_, observer, fn, arg); return WG_OK;
    case WG_EVENT_ENDED: wg_context_observe(event.subject_, observer, fn, arg); return WG_OK;
    case WG_EVENT_SLOT:
        *observer = (wg_observer){.fn_ = fn, .arg_ = arg};
        wg_errgroup_observe_slot(event.subject_, observer);
        return WG_OK;
    case WG_EVENT_OUTCOME: wg_errgroup_observe_outcome(event.subject_, observer, fn, arg); return WG_OK;
    }
    return WG_INVALID;
}

static bool unobserve(wg_event event, wg_observer *observer, bool sync) {
    if (!event.subject_ || !observer)
        return false;
    switch ((enum wg_event_kind)event.kind_) {
    case WG_EVENT_ZERO: return wg_unobserve_zero(event.subject_, observer, sync);
    case WG_EVENT_ENDED: return wg_context_unobserve(event.subject_, observer, sync);
    case WG_EVENT_SLOT: return wg_errgroup_unobserve_slot(event.subject_, observer, sync);
    case WG_EVENT_OUTCOME: return wg_errgroup_unobserve_outcome(event.subject_, observer, sync);
    }
    return false;
}

bool wg_event_unobserve(wg_event event, wg_observer *observer) { return unobserve(event, observer, false); }

bool wg_event_unobserve_sync(wg_event event, wg_observer *observer) { return unobserve(event, observer, true); }

wg_status wg_slot_status(const wg_observer *observer) { return observer ? observer->status_ : WG_INVALID; }
