/* src/lower/layout.c: which values are matrices of rows, and the Reshapes between the two forms.
 *
 * Gemm wants [rows, features]. Operators that treat every row alike (norms, activations, residual
 * sums) work on that form as well, so the form is kept from Linear to Linear and a Reshape is made
 * only for a consumer that needs the axes: heads, and outputs. A Reshape of the old graph is not
 * made either until somebody wants its result, and then reads whichever form of its operand there
 * is. */
#include "lower/internal.h"

/* How an operator treats rows. */
enum layout {
    LAYOUT_ND,    /* needs the axes */
    LAYOUT_ROWS,  /* elementwise; operands have the shape of the result, or one axis at most */
    LAYOUT_NORM,  /* the same when the attribute axis (-1 where it is left out) is the last one */
    LAYOUT_SPLIT, /* the same with 0 for a left out axis; results differ along that axis */
    LAYOUT_CONCAT /* the same; operands differ along that axis */
};

static const uint8_t layouts[OM_OP_COUNT] = {
    [OM_OP_Abs] = LAYOUT_ROWS,       [OM_OP_Add] = LAYOUT_ROWS,
    [OM_OP_Cast] = LAYOUT_ROWS,      [OM_OP_Clip] = LAYOUT_ROWS,
    [OM_OP_Concat] = LAYOUT_CONCAT,  [OM_OP_Div] = LAYOUT_ROWS,
    [OM_OP_Erf] = LAYOUT_ROWS,       [OM_OP_Exp] = LAYOUT_ROWS,
    [OM_OP_Gelu] = LAYOUT_ROWS,      [OM_OP_LayerNormalization] = LAYOUT_NORM,
    [OM_OP_LeakyRelu] = LAYOUT_ROWS, [OM_OP_Max] = LAYOUT_ROWS,
    [OM_OP_Min] = LAYOUT_ROWS,       [OM_OP_Mish] = LAYOUT_ROWS,
    [OM_OP_Mul] = LAYOUT_ROWS,       [OM_OP_Neg] = LAYOUT_ROWS,
    [OM_OP_Pow] = LAYOUT_ROWS,       [OM_OP_RMSNormalization] = LAYOUT_NORM,
    [OM_OP_Relu] = LAYOUT_ROWS,      [OM_OP_Sigmoid] = LAYOUT_ROWS,
    [OM_OP_Softmax] = LAYOUT_NORM,   [OM_OP_Softplus] = LAYOUT_ROWS,
    [OM_OP_Split] = LAYOUT_SPLIT,    [OM_OP_Sqrt] = LAYOUT_ROWS,
    [OM_OP_Sub] = LAYOUT_ROWS,       [OM_OP_Swish] = LAYOUT_ROWS,
    [OM_OP_Tanh] = LAYOUT_ROWS,
};

/* A matrix of rows exists and differs from the value: three axes or more, the last one known. */
static bool has_rows(const struct lower *l, om_val v)
{
    const struct om_value *value = lo_old(l, v);
    int64_t last;

    return value->rank > 2 && lo_const_dim(l, value->dims[value->rank - 1], &last) && last > 0;
}

static bool same_leading(const struct om_value *a, const struct om_value *b)
{
    return a->rank == b->rank && memcmp(a->dims, b->dims, (a->rank - 1) * sizeof(*a->dims)) == 0;
}

static bool axis_is_last(const struct om_node *n, int64_t rank, int64_t def)
{
    const int64_t axis = om_node_int(n, "axis", def);

    return axis == -1 || axis == rank - 1;
}

/* Operand i has all axes of the result (true), or is a row or scalar that every row meets. */
static bool is_full(const struct lower *l, const struct om_node *n, uint32_t i)
{
    return lo_old(l, n->in[i])->rank > 1;
}

/* Elementwise operands: of the result's shape, or of one axis at most. */
static bool operands_fit(const struct lower *l, const struct om_node *n, bool last_differs)
{
    const struct om_value *y = lo_old(l, n->out[0]);
    uint32_t full = 0;

    for (uint32_t i = 0; i < n->n_in; i++) {
        const struct om_value *x = lo_old(l, n->in[i]);
        if (!lo_has(n, i) || !is_full(l, n, i))
            continue;
        if (!same_leading(x, y) || !has_rows(l, n->in[i]) ||
            (!last_differs && x->dims[x->rank - 1] != y->dims[y->rank - 1]))
            return false;
        full++;
    }
    return full > 0;
}

/* Whether n can be computed on rows. */
static bool on_rows(const struct lower *l, const struct om_node *n)
{
    const uint32_t rank = lo_old(l, n->out[0])->rank;

    if (l->linear == OM_LINEAR_MATMUL || !has_rows(l, n->out[0]))
        return false;
    switch ((enum layout)layouts[n->op]) {
    case LAYOUT_ND:
        return false;
    case LAYOUT_ROWS:
        return operands_fit(l, n, false);
    case LAYOUT_NORM:
        return axis_is_last(n, rank, -1) && operands_fit(l, n, false);
    case LAYOUT_SPLIT:
        return axis_is_last(n, rank, 0) && has_rows(l, n->in[0]);
    case LAYOUT_CONCAT:
        return axis_is_last(n, rank, 0) && operands_fit(l, n, true);
    }
    return false;
}

bool lo_layout_flat(const struct lower *l, const struct om_node *n)
{
    bool all = true;

    if (!on_rows(l, n))
        return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (l->twins[n->out[i].id].wants_flat)
            return true;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (lo_has(n, i) && is_full(l, n, i))
            all = all && l->twins[n->in[i].id].flat.id != 0;
    return all;
}

/* ---- demand ---- */

static void count_use(struct lower *l, om_val v)
{
    l->twins[v.id].uses++;
}

/* A consumer that works on rows wants its operands so. Consumers come before producers in this
 * walk. */
static void demand(struct lower *l, const struct om_node *n)
{
    bool wants = false;

    for (uint32_t i = 0; i < n->n_in; i++) {
        struct lo_twin *t = &l->twins[n->in[i].id];

        count_use(l, n->in[i]);
        if (n->op == OM_OP_Cast)
            t->looked_up |= l->twins[n->out[0].id].looked_up;
        else
            t->looked_up |= n->op != OM_OP_Linear || i != 1;
    }
    if (n->op == OM_OP_Linear && l->linear == OM_LINEAR_GEMM) {
        l->twins[n->in[0].id].wants_flat |= has_rows(l, n->in[0]);
        return;
    }
    for (uint32_t i = 0; i < n->n_out; i++)
        wants |= l->twins[n->out[i].id].wants_flat;
    for (uint32_t i = 0; wants && on_rows(l, n) && i < n->n_in; i++)
        if (lo_has(n, i) && is_full(l, n, i))
            l->twins[n->in[i].id].wants_flat = true;
}

static void demand_block(struct lower *l, uint32_t block)
{
    const struct om_block *b = &l->g->blocks[block];

    for (size_t i = 0; i < b->n_outputs; i++)
        count_use(l, b->outputs[i].val);
    for (size_t i = b->n_nodes; i-- > 0;) {
        const struct om_node *n = &l->g->nodes[b->nodes[i]];
        for (uint32_t k = 0; k < n->n_attrs; k++)
            if (n->attrs[k].kind == OM_ATTR_BLOCK)
                demand_block(l, (uint32_t)n->attrs[k].i);
        demand(l, n);
    }
}

int lo_layout_init(struct lower *l, struct om_error *err)
{
    l->twins = om_arena_array(l->g->arena, l->g->n_values, sizeof(*l->twins));
    if (!l->twins)
        return om_fail(err, OM_E_NOMEM, "out of memory for a graph");
    demand_block(l, 0);
    return 0;
}

/* ---- forms ---- */

/* The axes of one element that long has and brief lacks; false when the shapes differ otherwise. */
static bool missing_ones(const struct lower *l, const om_dim *brief, uint32_t n_brief,
                         const om_dim *full, uint32_t n_full, int64_t *axes, uint32_t *n_axes)
{
    uint32_t at = 0;
    int64_t v;

    *n_axes = 0;
    for (uint32_t i = 0; i < n_full; i++) {
        if (at < n_brief && brief[at] == full[i])
            at++;
        else if (lo_const_dim(l, full[i], &v) && v == 1)
            axes[(*n_axes)++] = i;
        else
            return false;
    }
    return at == n_brief;
}

om_val lo_reshape(struct lower *l, om_val x, const om_dim *dims, uint32_t rank)
{
    const struct om_value *value = lo_new(l, x);
    int64_t axes[OM_RANK_MAX];
    bool allow_zero;
    om_val target;
    uint32_t n;

    if (x.id == 0)
        return x;
    if (missing_ones(l, value->dims, value->rank, dims, rank, axes, &n))
        return n == 0 ? x : LO(l, Unsqueeze, x, lo_i64s(l, axes, n));
    if (missing_ones(l, dims, rank, value->dims, value->rank, axes, &n))
        return LO(l, Squeeze, x, lo_i64s(l, axes, n));
    target = lo_dims_reshape(l, value, dims, rank, &allow_zero);
    if (allow_zero)
        return LO1(l, Reshape, LO_INT("allowzero", 1), x, target);
    return LO(l, Reshape, x, target);
}

/* Any value of the new graph with v's elements in v's order. */
static om_val any_form(struct lower *l, om_val v)
{
    const struct lo_twin *t = &l->twins[v.id];
    const om_val nd = om_rewrite_use(&l->rw, v);

    if (nd.id != 0)
        return nd;
    return t->flat.id != 0 ? t->flat : t->source;
}

/* Forms are made beside the value they come from: visible wherever it is. */
struct place {
    uint32_t block;
    om_sv scope;
};

static struct place move_to(struct lower *l, om_val source, om_sv scope)
{
    const struct place here = { .block = l->h->block, .scope = l->scope };

    l->h->block = om_rewrite_block(l->h, source);
    if (scope.len > 0)
        l->scope = scope;
    return here;
}

static void move_back(struct lower *l, struct place here)
{
    l->h->block = here.block;
    l->scope = here.scope;
}

static om_val dims_value(struct lower *l, om_val v)
{
    const struct om_value *value = lo_old(l, v);
    const struct om_node *n = value->node == OM_NO_NODE ? NULL : &l->g->nodes[value->node];
    const struct om_attr *a = n && n->op == OM_OP_Dims ? om_node_attr(n, "dims") : NULL;

    return a ? lo_dims(l, a->dims, a->n) : (om_val){ 0 };
}

om_val lo_nd(struct lower *l, om_val v)
{
    const struct om_value *value = lo_old(l, v);
    const struct lo_twin *t = &l->twins[v.id];
    om_val made = om_rewrite_use(&l->rw, v);
    om_val source;
    struct place here;

    if (v.id == 0 || made.id != 0)
        return made;
    source = any_form(l, v);
    if (source.id == 0)
        return dims_value(l, v); /* not kept: in a branch it may be of that branch */
    here = move_to(l, source, t->scope);
    if (t->target.id != 0)
        made = LO(l, Reshape, source, t->target);
    else
        made = lo_reshape(l, source, value->dims, value->rank);
    move_back(l, here);
    l->rw.map[v.id] = made;
    return made;
}

om_val lo_flat(struct lower *l, om_val v)
{
    const struct om_value *value = lo_old(l, v);
    struct lo_twin *t = &l->twins[v.id];
    om_dim dims[2];
    om_val source;
    struct place here;

    if (value->rank == 2)
        return lo_nd(l, v);
    if (t->flat.id != 0 || value->rank == 0)
        return t->flat;
    source = any_form(l, v);
    if (source.id == 0)
        return source;
    dims[0] = om_dim_const(l->d, 1);
    dims[1] = value->dims[value->rank - 1];
    for (uint32_t i = 0; i + 1 < value->rank; i++)
        dims[0] = om_dim_mul(l->d, dims[0], value->dims[i]);
    here = move_to(l, source, t->scope);
    t->flat = lo_reshape(l, source, dims, 2);
    move_back(l, here);
    return t->flat;
}

om_val lo_in(struct lower *l, const struct om_node *n, uint32_t i)
{
    if (!lo_has(n, i))
        return (om_val){ 0 };
    return l->flat && is_full(l, n, i) ? lo_flat(l, n->in[i]) : lo_nd(l, n->in[i]);
}

void lo_set(struct lower *l, const struct om_node *n, uint32_t i, om_val made)
{
    const om_val v = n->out[i];

    if (l->flat && lo_old(l, v)->rank != 2)
        l->twins[v.id].flat = made;
    else
        l->rw.map[v.id] = made;
}

void lo_set_reshaped(struct lower *l, const struct om_node *n, om_val x, om_val target)
{
    struct lo_twin *t = &l->twins[n->out[0].id];

    t->source = any_form(l, x);
    if (t->source.id == 0)
        t->source = lo_nd(l, x); /* of the operator Dims */
    t->target = target;
    t->scope = n->scope;
}

void lo_set_alias(struct lower *l, const struct om_node *n, om_val x)
{
    struct lo_twin *to = &l->twins[n->out[0].id];
    const struct lo_twin *from = &l->twins[x.id];

    l->rw.map[n->out[0].id] = any_form(l, x).id ? om_rewrite_use(&l->rw, x) : lo_nd(l, x);
    to->flat = from->flat;
    to->source = from->source;
    to->target = from->target;
    to->scope = from->scope;
}

/* ---- the rules of Reshape and its like ---- */

/* The shape is an input of constants, none of which stands for an axis of the operand. */
static bool target_is_plain(const struct lower *l, const struct om_node *n)
{
    int64_t dims[OM_RANK_MAX];
    uint32_t rank;

    if (!lo_const_ints(l, n->in[1], dims, OM_RANK_MAX, &rank))
        return false;
    for (uint32_t i = 0; i < rank; i++)
        if (dims[i] == 0)
            return false;
    return true;
}

void lo_reshape_rule(struct lower *l, const struct om_node *n)
{
    const struct om_value *shape = lo_old(l, n->in[1]);

    if (shape->node != OM_NO_NODE && l->g->nodes[shape->node].op == OM_OP_Dims)
        lo_set_reshaped(l, n, n->in[0], (om_val){ 0 });
    else if (target_is_plain(l, n))
        lo_set_reshaped(l, n, n->in[0], lo_nd(l, n->in[1]));
    else
        lo_copy(l, n);
}

/* Squeeze and Unsqueeze: the axes are known to inference. */
void lo_axes_rule(struct lower *l, const struct om_node *n)
{
    lo_set_reshaped(l, n, n->in[0], (om_val){ 0 });
}
