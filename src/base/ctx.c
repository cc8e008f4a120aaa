/* src/base/ctx.c: the context of a call: logger, progress and the cancel flag. */
#include <optimum/ctx.h>
#include <optimum/version.h>

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"

struct om_ctx {
    om_log_fn *log;
    void *log_user;
    enum om_level level;
    om_progress_fn *progress;
    void *progress_user;
    void *plugins;
    void (*free_plugins)(void *plugins);
    atomic_bool cancelled; /* set by signal handlers and other threads, so it must be lock-free */
};
#if ATOMIC_BOOL_LOCK_FREE != 2
#error "om_ctx_cancel() needs a lock-free atomic_bool"
#endif

struct om_ctx *om_ctx_new(void)
{
    struct om_ctx *ctx = calloc(1, sizeof(*ctx));

    if (ctx)
        atomic_init(&ctx->cancelled, false);
    return ctx;
}

void om_ctx_free(struct om_ctx *ctx)
{
    if (ctx && ctx->free_plugins)
        ctx->free_plugins(ctx->plugins);
    free(ctx);
}

void om_ctx_set_plugins(struct om_ctx *ctx, void *plugins, void (*free_plugins)(void *plugins))
{
    ctx->plugins = plugins;
    ctx->free_plugins = free_plugins;
}

void *om_ctx_plugins(const struct om_ctx *ctx)
{
    return ctx ? ctx->plugins : NULL;
}

void om_ctx_set_log(struct om_ctx *ctx, om_log_fn *fn, void *user, enum om_level level)
{
    ctx->log = fn;
    ctx->log_user = user;
    ctx->level = level;
}

void om_ctx_set_progress(struct om_ctx *ctx, om_progress_fn *fn, void *user)
{
    ctx->progress = fn;
    ctx->progress_user = user;
}

void om_ctx_cancel(struct om_ctx *ctx)
{
    atomic_store(&ctx->cancelled, true);
}

int om_ctx_check(struct om_ctx *ctx, struct om_error *err)
{
    if (!ctx || !atomic_load(&ctx->cancelled))
        return 0;
    return om_fail(err, OM_E_CANCELLED, "cancelled");
}

void om_log(struct om_ctx *ctx, enum om_level level, const char *fmt, ...)
{
    char small[512];
    char *line = small;
    va_list ap, again;

    if (!ctx || !ctx->log || level > ctx->level)
        return;
    va_start(ap, fmt);
    va_copy(again, ap);
    const int len = vsnprintf(small, sizeof(small), fmt, ap);
    if (len >= (int)sizeof(small)) {
        line = malloc((size_t)len + 1);
        if (line)
            vsnprintf(line, (size_t)len + 1, fmt, again);
        else
            line = small; /* a cut line is better than none */
    }
    va_end(again);
    va_end(ap);
    if (len >= 0)
        ctx->log(ctx->log_user, level, line);
    if (line != small)
        free(line);
}

void om_progress(struct om_ctx *ctx, const char *what, uint64_t done, uint64_t total)
{
    if (ctx && ctx->progress)
        ctx->progress(ctx->progress_user, what, done, total);
}

const char *om_version(void)
{
    return OM_VERSION;
}
