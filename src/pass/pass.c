/* src/pass/pass.c: the table of passes. */
#include "pass/pass.h"

#include <assert.h>

#include "ir/rewrite.h"
#include "pass/internal.h"

/* In the order they run: what folding makes equal is shared. */
static const struct {
    unsigned flag; /* 0: always */
    const char *name;
    om_pass_fn *run;
} passes[] = {
    { 0, "dead code", om_pass_dead },
    { OM_PASS_FOLD, "constant folding", om_pass_fold },
    { OM_PASS_CSE, "common subexpressions", om_pass_cse },
};

/* Finishing a graph drops what no output needs. */
int om_pass_dead(const struct om_graph *g, struct om_graph **out, struct om_error *err)
{
    struct om_rewrite rw;

    OM_TRY(om_rewrite_init(&rw, g, err));
    return om_rewrite_run(&rw, out, err);
}

static int verify(const struct om_graph *g, struct om_error *err)
{
#ifndef NDEBUG
    return om_graph_verify(g, err);
#else
    (void)g;
    (void)err;
    return 0;
#endif
}

int om_pass_run(const struct om_graph *g, unsigned flags, struct om_graph **out,
                struct om_error *err)
{
    struct om_graph *last = NULL;

    for (size_t i = 0; i < OM_COUNT(passes); i++) {
        struct om_graph *next = NULL;
        int rc;
        if (passes[i].flag != 0 && !(flags & passes[i].flag))
            continue;
        rc = passes[i].run(last ? last : g, &next, err);
        om_graph_free(last);
        last = next;
        if (rc == 0)
            rc = verify(last, err);
        if (rc < 0) {
            om_graph_free(last);
            return om_wrap(err, rc, "%s", passes[i].name);
        }
    }
    *out = last;
    return 0;
}
