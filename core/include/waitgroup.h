/* waitgroup.h - the whole library in one include. Each object has a header of its own beside this one. */
#ifndef WAITGROUP_H
#define WAITGROUP_H

#include "waitgroup/status.h"
#include "waitgroup/until.h"
#include "waitgroup/error.h"
#include "waitgroup/observer.h"
#include "waitgroup/waitgroup.h"
#include "waitgroup/waiting.h"
#include "waitgroup/context.h"
#include "waitgroup/task.h"
#include "waitgroup/pool.h"
#include "waitgroup/errgroup.h"
#include "waitgroup/event.h"
#include "waitgroup/fork.h"
#include "waitgroup/watch.h"
#include "waitgroup/shared.h"
#include "waitgroup/registry.h"
#include "waitgroup/inspect.h"
#include "waitgroup/trace.h"

#endif
