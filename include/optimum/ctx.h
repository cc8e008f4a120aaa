/* include/optimum/ctx.h: what a caller may hand to every long call: a logger, progress, a cancel flag.
 *
 * A context serves one call at a time; calls on different contexts may run in parallel. Every function
 * that takes a context accepts NULL: nothing is logged then and the call cannot be cancelled. */
#ifndef OPTIMUM_CTX_H
#define OPTIMUM_CTX_H

#include <stdint.h>

#include <optimum/error.h>

#ifdef __cplusplus
extern "C" {
#endif

enum om_level { OM_LOG_ERROR, OM_LOG_WARNING, OM_LOG_INFO, OM_LOG_DEBUG };

/* One finished line without its newline. */
typedef void om_log_fn(void *user, enum om_level level, const char *line);

/* Called while a file is written: done and total are bytes; the last call has done == total. */
typedef void om_progress_fn(void *user, const char *what, uint64_t done, uint64_t total);

struct om_ctx;

/* A new context that logs nothing; NULL when out of memory. */
OM_API struct om_ctx *om_ctx_new(void);
OM_API void om_ctx_free(struct om_ctx *ctx); /* accepts NULL */

/* Lines up to and including level go to fn. */
OM_API void om_ctx_set_log(struct om_ctx *ctx, om_log_fn *fn, void *user, enum om_level level);
OM_API void om_ctx_set_progress(struct om_ctx *ctx, om_progress_fn *fn, void *user);

/* Ask the running call to stop with OM_E_CANCELLED. Safe from a signal handler and other threads. */
OM_API void om_ctx_cancel(struct om_ctx *ctx);

#ifdef __cplusplus
}
#endif

#endif
