/* src/pass/cse.c: equal nodes with equal inputs become one. */
#include "ir/memo.h"
#include "ir/rewrite.h"
#include "pass/internal.h"

struct cse {
    struct om_rewrite rw; /* the first member */
    struct om_memo memo;
};

static void share(struct om_rewrite *r, const struct om_node *n)
{
    struct cse *c = (struct cse *)r;
    om_val *in = om_arena_array(r->h->arena, n->n_in, sizeof(*in));
    om_val *out = om_arena_array(r->h->arena, n->n_out, sizeof(*out));

    if (!in || !out) {
        om_graph_fail(r->h, OM_E_NOMEM, "out of memory for a graph");
        return;
    }
    for (uint32_t i = 0; i < n->n_in; i++)
        in[i] = om_rewrite_use(r, n->in[i]);
    om_memo_emit_n(&c->memo, r->h, n->op, n->scope, in, n->n_in, n->attrs, n->n_attrs, out,
                   n->n_out);
    for (uint32_t i = 0; i < n->n_out; i++)
        r->map[n->out[i].id] = out[i];
}

int om_pass_cse(const struct om_graph *g, struct om_graph **out, struct om_error *err)
{
    struct cse c = { .memo = OM_MEMO_INIT };
    int rc = om_rewrite_init(&c.rw, g, err);

    c.rw.node = share;
    if (rc == 0)
        rc = om_rewrite_run(&c.rw, out, err);
    om_memo_release(&c.memo);
    return rc;
}
