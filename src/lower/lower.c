/* src/lower/lower.c: the table of rules, and the walk that applies them. */
#include "lower/lower.h"

#include <stdlib.h>

#include "lower/internal.h"

/* What becomes of an operator. Rows of an operator stand together, newest opset first; the first
 * one whose opset and predicate fit is taken. An operator without a row is copied. */
struct rule {
    enum om_op op;
    int opset;        /* the first one that the rule is for */
    lo_fits_fn *fits; /* NULL: always */
    lo_rule_fn *lower;
};

/* Computed where it is needed. */
static void lo_nothing(struct lower *l, const struct om_node *n)
{
    (void)l;
    (void)n;
}

static void lo_identity(struct lower *l, const struct om_node *n)
{
    lo_set_alias(l, n, n->in[0]);
}

static bool lo_fits_no_cast(const struct lower *l, const struct om_node *n)
{
    return lo_old(l, n->in[0])->dtype == lo_old(l, n->out[0])->dtype;
}

/* What decided the rows of opset 23: microseconds in ONNX Runtime 1.32's CPU provider, one thread,
 * of the operator and of its parts. Where nothing else is said, the results were the same within
 * 1e-6.
 *  - Attention, 12 heads of 64: 13 and 14 for one token, 25 and 28 for 16, 578 and 599 for 128; no
 * difference for DistilBERT as a whole. With masks it stays parts: for a query all of whose keys
 * have the least finite number added it gives something else than their mean, and it does not
 * broadcast a mask over the queries. So it does with several heads per key head: for one query 107
 * and 70 with 32 on 8 heads and 256 keys, 86 and 51 with 14 on 2 and 512 keys.
 *  - RotaryEmbedding, 32 heads of 64: 8 and 11 for one token, 14 and 32 for 16, 75 and 190 for 128.
 * It does not broadcast the tables over the batch.
 *  - RMSNormalization: the same time (the parts are fused when the file is loaded). */
static const struct rule rules[] = {
    { OM_OP_Attention, 1, lo_fits_grouped, lo_grouped_attention },
    { OM_OP_Attention, 1, lo_fits_fused, lo_fused_attention },
    { OM_OP_Attention, 23, lo_fits_attention_23, lo_copy },
    { OM_OP_Attention, 1, NULL, lo_attention },
    { OM_OP_Cast, 1, lo_fits_no_cast, lo_identity },
    { OM_OP_Dims, 1, NULL, lo_nothing },
    { OM_OP_Gelu, 20, NULL, lo_copy },
    { OM_OP_Gelu, 1, lo_fits_gelu_tanh, lo_gelu_tanh },
    { OM_OP_Gelu, 1, NULL, lo_gelu_erf },
    { OM_OP_Identity, 1, NULL, lo_identity },
    { OM_OP_LayerNormalization, 17, NULL, lo_copy },
    { OM_OP_LayerNormalization, 1, NULL, lo_layer_norm },
    { OM_OP_Linear, 1, lo_fits_gemm, lo_linear_gemm },
    { OM_OP_Linear, 1, NULL, lo_linear_matmul },
    { OM_OP_Mish, 18, NULL, lo_copy },
    { OM_OP_Mish, 1, NULL, lo_mish },
    { OM_OP_RMSNormalization, 23, lo_fits_rms_norm_23, lo_copy },
    { OM_OP_RMSNormalization, 1, NULL, lo_rms_norm },
    { OM_OP_ReduceL2, 1, lo_fits_reduce_nothing, lo_reduce_nothing },
    { OM_OP_ReduceMax, 1, lo_fits_reduce_nothing, lo_reduce_nothing },
    { OM_OP_ReduceMean, 1, lo_fits_reduce_nothing, lo_reduce_nothing },
    { OM_OP_ReduceMin, 1, lo_fits_reduce_nothing, lo_reduce_nothing },
    { OM_OP_ReduceSum, 1, lo_fits_reduce_nothing, lo_reduce_nothing },
    { OM_OP_Reshape, 1, NULL, lo_reshape_rule },
    { OM_OP_RotaryEmbedding, 23, lo_fits_rotary_23, lo_copy },
    { OM_OP_RotaryEmbedding, 1, NULL, lo_rotary },
    { OM_OP_Shape, 15, NULL, lo_copy },
    { OM_OP_Shape, 1, NULL, lo_shape_14 },
    { OM_OP_Split, 1, NULL, lo_split },
    { OM_OP_Squeeze, 1, NULL, lo_axes_rule },
    { OM_OP_Swish, 1, NULL, lo_swish }, /* an operator since 24 */
    { OM_OP_Transpose, 1, lo_fits_merged, lo_merge_heads },
    { OM_OP_Unsqueeze, 1, NULL, lo_axes_rule },
};

static lo_rule_fn *find_rule(const struct lower *l, const struct om_node *n)
{
    for (size_t i = 0; i < OM_COUNT(rules); i++)
        if (rules[i].op == n->op && l->opset >= rules[i].opset &&
            (!rules[i].fits || rules[i].fits(l, n)))
            return rules[i].lower;
    return lo_copy;
}

static void lower_node(struct om_rewrite *r, const struct om_node *n)
{
    struct lower *l = (struct lower *)r;

    l->scope = n->scope;
    l->flat = lo_layout_flat(l, n);
    find_rule(l, n)(l, n);
    l->flat = false;
    lo_dims_note(l, n);
}

/* An If has been made; its results get back the dtype that lower_use() took from the branches'. */
static void lower_made(struct om_rewrite *r, const struct om_node *n)
{
    struct lower *l = (struct lower *)r;

    for (uint32_t i = 0; i < n->n_out && l->h->rc == 0; i++)
        r->map[n->out[i].id] = lo_cast(l, r->map[n->out[i].id], lo_old(l, n->out[i])->dtype);
    lo_dims_note(l, n);
}

/* v as an output of the current block, or as what decides an If. */
static om_val lower_use(struct om_rewrite *r, om_val v)
{
    struct lower *l = (struct lower *)r;
    const om_val x = lo_nd(l, v);

    if (l->h->rc < 0 || l->h->block == 0 || lo_new(l, x)->dtype != OM_BF16)
        return x;
    return lo_knows_bf16(l, OM_OP_If) ? x : lo_cast(l, x, OM_F32);
}

/* Positions that only the operators of attention would need, which count for themselves. */
static void drop_unused_positions(struct om_graph *h)
{
    for (size_t i = 0; i < h->n_inputs; i++) {
        bool used = !om_sv_is(h->inputs[i].name, "position_ids");

        for (size_t k = 0; k < h->n_nodes && !used; k++)
            for (uint32_t j = 0; j < h->nodes[k].n_in; j++)
                used = used || h->nodes[k].in[j].id == h->inputs[i].val.id;
        if (used)
            continue;
        memmove(&h->inputs[i], &h->inputs[i + 1], (h->n_inputs - i - 1) * sizeof(*h->inputs));
        h->n_inputs--;
        return;
    }
}

static void lower_release(struct lower *l)
{
    free(l->sources);
    om_memo_release(&l->memo);
}

static int check_opts(const struct om_lower_opts *opts, struct om_error *err)
{
    if (opts->opset == 0 || (opts->opset >= OM_OPSET_MIN && opts->opset <= OM_OPSET_MAX))
        return 0;
    return om_fail(err, OM_E_USAGE, "opset %d is not supported: expected %d to %d", opts->opset,
                   OM_OPSET_MIN, OM_OPSET_MAX);
}

static bool attention_fuses(const struct lower *l)
{
    for (size_t i = 0; i < l->g->n_nodes && l->target == OM_LOWER_FUSED; i++)
        if (l->g->nodes[i].op == OM_OP_Attention && lo_fits_fused(l, &l->g->nodes[i]))
            return true;
    return false;
}

int om_lower(const struct om_graph *g, const struct om_lower_opts *opts, struct om_graph **out,
             struct om_error *err)
{
    struct lower l = { .g = g,
                       .d = g->dims,
                       .opset = opts->opset ? opts->opset : OM_OPSET_DEFAULT,
                       .linear = opts->linear,
                       .target = opts->target,
                       .multi_head = opts->multi_head,
                       .mask = opts->mask,
                       .memo = OM_MEMO_INIT };
    int rc;

    OM_TRY(check_opts(opts, err));
    rc = om_rewrite_init(&l.rw, g, err);
    if (rc < 0)
        return rc;
    l.h = l.rw.h;
    l.rw.node = lower_node;
    l.rw.made = lower_made;
    l.rw.use = lower_use;
    rc = lo_layout_init(&l, err);
    if (rc == 0 && opts->keep_axes && attention_fuses(&l)) {
        l.linear = OM_LINEAR_MATMUL;
        rc = lo_layout_init(&l, err);
    }
    if (rc == 0)
        rc = lo_dims_init(&l, err);
    if (rc == 0)
        rc = om_rewrite_run(&l.rw, out, err);
    else
        om_rewrite_abort(&l.rw);
    if (rc == 0 && l.target == OM_LOWER_GROUPED)
        drop_unused_positions(*out);
    lower_release(&l);
    return rc;
}
