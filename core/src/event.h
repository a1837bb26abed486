/* event.h - what a wg_event holds. */
#ifndef WG_EVENT_H
#define WG_EVENT_H

#include "waitgroup/event.h"

enum wg_event_kind { WG_EVENT_ZERO, WG_EVENT_ENDED, WG_EVENT_SLOT, WG_EVENT_OUTCOME };

#endif
