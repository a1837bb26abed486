/* context.h - what the other files may do with a context. */
#ifndef WG_CONTEXT_H
#define WG_CONTEXT_H

#include "waitgroup/context.h"

#include "stripe.h"

/* Sleep until it ends; false if it has. The root never does. */
bool wg_context_link(wg_context *ctx, struct wg_sleeper *sleeper);
void wg_context_unlink(wg_context *ctx, struct wg_sleeper *sleeper);

/* End it if its deadline has passed. */
void wg_context_expire(wg_context *ctx);

/* Does `ctx` end when `ancestor` does, at the latest? */
bool wg_context_descends(const wg_context *ctx, const wg_context *ancestor);

/* A reference, unless the last one has gone already. */
bool wg_context_try_retain(wg_context *ctx);

#endif
