/* event.c - events: one switch over what can be waited for. */
#include "waitgroup/event.h"

#include "context.h"
#include "count.h"
#include "errgroup.h"

enum kind { ZERO, ENDED, SLOT, OUTCOME };

wg_event wg_zero(wg_waitgroup *wg) { return (wg_event){.subject_ = wg, .kind_ = ZERO}; }

wg_event wg_ended(wg_context *ctx) { return (wg_event){.subject_ = ctx, .kind_ = ENDED}; }

wg_event wg_slot(wg_errgroup *g) { return wg_slot_for(g, 0); }

wg_event wg_slot_for(wg_errgroup *g, unsigned held) { return (wg_event){.subject_ = g, .kind_ = SLOT, .held_ = held}; }

wg_event wg_outcome(wg_errgroup *g) { return (wg_event){.subject_ = g, .kind_ = OUTCOME}; }

static wg_status wait_for_outcome(wg_errgroup *g, const wg_until *until) {
    wg_status status = wg_errgroup_wait(g, until, NULL);
    bool given = status == WG_FAILED || status == WG_CANCELLED || status == WG_DEADLINE_EXCEEDED;
    return given ? WG_OK : status;
}

wg_status wg_event_wait(wg_event event, const wg_until *until) {
    static const wg_until for_ever = {0};
    if (!event.subject_)
        return WG_INVALID;
    switch ((enum kind)event.kind_) {
    case ZERO: return wg_wait(event.subject_, until);
    case ENDED: return wg_context_wait(event.subject_, until);
    case SLOT: return wg_errgroup_wait_for_slot(event.subject_, until ? until : &for_ever);
    case OUTCOME: return wait_for_outcome(event.subject_, until);
    }
    return WG_INVALID;
}

wg_status wg_event_observe(wg_event event, wg_observer *observer, void (*fn)(void *arg), void *arg) {
    if (!event.subject_ || !observer || !fn)
        return WG_INVALID;
    switch ((enum kind)event.kind_) {
    case ZERO: wg_observe_zero(event.subject_, observer, fn, arg); return WG_OK;
    case ENDED: wg_context_observe(event.subject_, observer, fn, arg); return WG_OK;
    case SLOT:
        *observer = (wg_observer){.fn_ = fn, .arg_ = arg, .held_ = event.held_};
        wg_errgroup_observe_slot(event.subject_, observer);
        return WG_OK;
    case OUTCOME: wg_errgroup_observe_outcome(event.subject_, observer, fn, arg); return WG_OK;
    }
    return WG_INVALID;
}

static bool unobserve(wg_event event, wg_observer *observer, bool sync) {
    if (!event.subject_ || !observer)
        return false;
    switch ((enum kind)event.kind_) {
    case ZERO: return wg_unobserve_zero(event.subject_, observer, sync);
    case ENDED: return wg_context_unobserve(event.subject_, observer, sync);
    case SLOT: return wg_errgroup_unobserve_slot(event.subject_, observer, sync);
    case OUTCOME: return wg_errgroup_unobserve_outcome(event.subject_, observer, sync);
    }
    return false;
}

bool wg_event_unobserve(wg_event event, wg_observer *observer) { return unobserve(event, observer, false); }

bool wg_event_unobserve_sync(wg_event event, wg_observer *observer) { return unobserve(event, observer, true); }

wg_status wg_slot_status(const wg_observer *observer) { return observer ? observer->status_ : WG_INVALID; }
