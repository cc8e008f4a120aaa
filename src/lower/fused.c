/* src/lower/fused.c: attention of decoders as GroupQueryAttention of com.microsoft.
 *
 * The operator takes heads side by side ([batch, sequence, heads * size]), the past, and how many
 * keys there are, and gives the present: the new keys stand behind the past's, in the past's own
 * buffer when the caller says so. Then the length of that buffer is its capacity, so how many keys
 * there are comes from attention_mask alone: padding, if any, stands at its end. It hides later
 * keys and those outside of a window itself, and turns queries and keys by their positions where
 * the rotary tables hold all positions.
 *
 * Files with Optimum's inputs keep the parts: ONNX Runtime 1.32's kernel refuses batches that bring
 * several tokens behind cached ones, which they allow, and takes padding at the end only. With
 * their cache, which is copied, the operator gained 1 to 2 % on a Llama of 0.5B in float32 (one
 * thread, prompts of 128 and 512 tokens, a token behind 1000). */
#include "lower/internal.h"

enum {
    HEAD_MULTIPLE = 8, /* of ONNX Runtime's kernel: head sizes; those it turns; turned pairs */
    ROTARY_HEAD_MULTIPLE = 16,
    PAIRS_MULTIPLE = 8
};

static const int64_t swap_heads[] = { 0, 2, 1, 3 };

static const struct om_node *producer(const struct lower *l, om_val v)
{
    const uint32_t node = lo_old(l, v)->node;

    return node == OM_NO_NODE ? NULL : &l->g->nodes[node];
}

static bool is_port(const struct lower *l, om_val v)
{
    const struct om_value *value = lo_old(l, v);

    return value->node == OM_NO_NODE && value->weight == OM_NO_WEIGHT;
}

static om_val find_input(const struct lower *l, const char *name)
{
    for (size_t i = 0; i < l->h->n_inputs; i++)
        if (om_sv_is(l->h->inputs[i].name, name))
            return l->h->inputs[i].val;
    return (om_val){ 0 };
}

/* Keys or values: those of an input, then new ones. */
static const struct om_node *extended(const struct lower *l, om_val v)
{
    const struct om_node *n = producer(l, v);

    return n && n->op == OM_OP_Concat && n->n_in == 2 && om_node_int(n, "axis", 0) == 2 &&
                   is_port(l, n->in[0])
               ? n
               : NULL;
}

bool lo_fits_grouped(const struct lower *l, const struct om_node *n)
{
    const struct om_value *q = lo_old(l, n->in[0]), *k = lo_old(l, n->in[1]),
                          *v = lo_old(l, n->in[2]);
    int64_t heads, kv_heads, size;

    return l->target == OM_LOWER_GROUPED && om_node_attr(n, "causal_window") && !lo_has(n, 4) &&
           n->n_out == 1 && find_input(l, "attention_mask").id != 0 && extended(l, n->in[1]) &&
           extended(l, n->in[2]) && lo_const_dim(l, q->dims[1], &heads) &&
           lo_const_dim(l, k->dims[1], &kv_heads) && lo_const_dim(l, q->dims[3], &size) &&
           v->dims[3] == q->dims[3] && size % HEAD_MULTIPLE == 0;
}

/* x [batch, heads, rows, size] as [batch, rows, heads * size]: what it was before its heads were
 * split, if that is where it comes from. */
static om_val side_by_side(struct lower *l, om_val x)
{
    const struct om_value *value = lo_old(l, x);
    const struct om_node *from = producer(l, x);
    const struct om_attr *perm = from ? om_node_attr(from, "perm") : NULL;
    const om_dim dims[] = { value->dims[0], value->dims[2],
                            om_dim_mul(l->d, value->dims[1], value->dims[3]) };
    om_val rows;

    if (from && from->op == OM_OP_Transpose && perm && perm->n == 4 &&
        memcmp(perm->ints, swap_heads, sizeof(swap_heads)) == 0) {
        const struct lo_twin *t = &l->twins[from->in[0].id];

        rows = t->source.id ? t->source : t->flat.id ? t->flat : lo_nd(l, from->in[0]);
    } else {
        rows = lo_transpose(l, lo_nd(l, x), swap_heads, 4);
    }
    return lo_reshape(l, rows, dims, 3);
}

/* ---- positions ---- */

/* Query and key before they are turned, where the operator can do that. */
struct turned {
    om_val q, k;                /* of the old graph */
    const struct om_node *with; /* the RotaryEmbedding of q; NULL: they are turned already */
};

static bool is_turned(const struct lower *l, const struct om_node *n)
{
    const struct om_value *x = n ? lo_old(l, n->in[0]) : NULL;
    int64_t size, pairs;

    return n && n->op == OM_OP_RotaryEmbedding && lo_has(n, 3) &&
           lo_const_dim(l, x->dims[3], &size) && size % ROTARY_HEAD_MULTIPLE == 0 &&
           lo_const_dim(l, lo_old(l, n->in[1])->dims[1], &pairs) && pairs % PAIRS_MULTIPLE == 0;
}

static struct turned unturned(const struct lower *l, om_val q, om_val k)
{
    const struct om_node *a = producer(l, q), *b = producer(l, k);

    if (is_turned(l, a) && is_turned(l, b) && a->in[1].id == b->in[1].id &&
        a->in[2].id == b->in[2].id && a->in[3].id == b->in[3].id &&
        om_node_int(a, "interleaved", 0) == om_node_int(b, "interleaved", 0))
        return (struct turned){ a->in[0], b->in[0], a };
    return (struct turned){ q, k, NULL };
}

/* ---- lengths, the same for all layers ---- */

/* How many keys of each row there are, less one. */
static om_val last_keys(struct lower *l, om_val mask)
{
    const struct om_attr drop = LO_INT("keepdims", 0);
    const om_val in[] = { mask, lo_i64(l, 1) };
    const om_val sum = lo_emit(l, OM_OP_ReduceSum, in, 2, &drop, 1);

    return lo_cast(l, LO(l, Sub, sum, lo_scalar(l, OM_I64, 1)), OM_I32);
}

static om_val all_keys(struct lower *l, om_val mask)
{
    const om_val shape = LO(l, Shape, mask);

    return lo_cast(l, LO(l, Gather, shape, lo_scalar(l, OM_I64, 1)), OM_I32);
}

/* ---- the operator ---- */

static uint32_t attributes(const struct lower *l, const struct om_node *n,
                           const struct turned *turned, struct om_attr *attrs)
{
    const double scale = om_node_float(n, "scale", 0), softcap = om_node_float(n, "softcap", 0);
    const int64_t window = om_node_int(n, "causal_window", 0);
    int64_t heads = 0, kv_heads = 0;
    uint32_t k = 0;

    lo_const_dim(l, lo_old(l, n->in[0])->dims[1], &heads);
    lo_const_dim(l, lo_old(l, n->in[1])->dims[1], &kv_heads);
    attrs[k++] = (struct om_attr)LO_INT("num_heads", heads);
    attrs[k++] = (struct om_attr)LO_INT("kv_num_heads", kv_heads);
    if (scale != 0)
        attrs[k++] = (struct om_attr)LO_FLOAT("scale", scale);
    if (softcap != 0)
        attrs[k++] = (struct om_attr)LO_FLOAT("softcap", softcap);
    if (window > 0)
        attrs[k++] = (struct om_attr)LO_INT("local_window_size", window);
    if (turned->with) {
        attrs[k++] = (struct om_attr)LO_INT("do_rotary", 1);
        attrs[k++] = (struct om_attr)LO_INT("rotary_interleaved",
                                            om_node_int(turned->with, "interleaved", 0));
    }
    return k;
}

void lo_set_merged(struct lower *l, const struct om_node *n, om_val y)
{
    const struct om_value *value = lo_old(l, n->out[0]);
    const om_dim dims[] = { value->dims[0], value->dims[2], value->dims[1], value->dims[3] };

    l->twins[n->out[0].id].merged = y;
    lo_set(l, n, 0, lo_transpose(l, lo_reshape(l, y, dims, 4), swap_heads, 4));
}

void lo_grouped_attention(struct lower *l, const struct om_node *n)
{
    const struct om_node *keys = extended(l, n->in[1]), *values = extended(l, n->in[2]);
    const struct turned turned = unturned(l, n->in[0], keys->in[1]);
    const om_val mask = find_input(l, "attention_mask");
    om_val in[9] = {
        side_by_side(l, turned.q), side_by_side(l, turned.k), side_by_side(l, values->in[1]),
        lo_nd(l, keys->in[0]),     lo_nd(l, values->in[0]),   last_keys(l, mask),
        all_keys(l, mask)
    };
    struct om_attr attrs[8];
    const uint32_t n_attrs = attributes(l, n, &turned, attrs);
    om_val out[3];

    if (turned.with) {
        in[7] = lo_nd(l, turned.with->in[1]);
        in[8] = lo_nd(l, turned.with->in[2]);
    }
    lo_emit_n(l, OM_OP_GroupQueryAttention, in, turned.with ? 9 : 7, attrs, n_attrs, out, 3);
    lo_set_merged(l, n, out[0]);
    l->rw.map[n->in[1].id] = out[1];
    l->rw.map[n->in[2].id] = out[2];
}

/* Heads side by side again: they were never apart. */
bool lo_fits_merged(const struct lower *l, const struct om_node *n)
{
    const struct om_attr *perm = om_node_attr(n, "perm");

    return l->twins[n->in[0].id].merged.id != 0 && perm && perm->n == 4 &&
           memcmp(perm->ints, swap_heads, sizeof(swap_heads)) == 0;
}

void lo_merge_heads(struct lower *l, const struct om_node *n)
{
    struct lo_twin *t = &l->twins[n->out[0].id];

    t->source = l->twins[n->in[0].id].merged;
    t->target = (om_val){ 0 };
    t->scope = n->scope;
}
