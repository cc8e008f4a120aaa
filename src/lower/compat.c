/* src/lower/compat.c: operators that older opsets have in another form. */
#include "lower/internal.h"

/* Attributes that came after opset 14 and do not change what is computed here: Cast's are about
 * types we do not have, and where the others do, there is a rule for it. */
static bool attr_exists(const struct lower *l, const struct om_node *n, const char *name)
{
    static const struct {
        enum om_op op;
        const char *name;
        int opset;
    } later[] = {
        { OM_OP_Cast, "saturate", 19 },
        { OM_OP_Cast, "round_mode", 24 },
        { OM_OP_ReduceL2, "noop_with_empty_axes", 18 },
        { OM_OP_ReduceMax, "noop_with_empty_axes", 18 },
        { OM_OP_ReduceMean, "noop_with_empty_axes", 18 },
        { OM_OP_ReduceMin, "noop_with_empty_axes", 18 },
    };

    for (size_t i = 0; i < OM_COUNT(later); i++)
        if (later[i].op == n->op && strcmp(later[i].name, name) == 0)
            return l->opset >= later[i].opset;
    return true;
}

/* The attributes that the opset has, in the arena with room for two more; axis counts from the end
 * for rows. */
static struct om_attr *attrs_of(struct lower *l, const struct om_node *n, uint32_t *n_attrs)
{
    struct om_attr *attrs = om_arena_array(l->g->arena, (size_t)n->n_attrs + 2, sizeof(*attrs));

    *n_attrs = 0;
    if (!attrs) {
        om_graph_fail(l->h, OM_E_NOMEM, "out of memory for a graph");
        return NULL;
    }
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        struct om_attr *a = &attrs[*n_attrs];
        if (!attr_exists(l, n, n->attrs[i].name))
            continue;
        *a = n->attrs[i];
        if (l->flat && strcmp(a->name, "axis") == 0)
            a->i = -1;
        (*n_attrs)++;
    }
    return attrs;
}

static void drop_attr(struct om_attr *attrs, uint32_t *n_attrs, const char *name)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < *n_attrs; i++)
        if (strcmp(attrs[i].name, name) != 0)
            attrs[kept++] = attrs[i];
    *n_attrs = kept;
}

/* n's operator on in with attrs. */
static void emit_like(struct lower *l, const struct om_node *n, const om_val *in, uint32_t n_in,
                      const struct om_attr *attrs, uint32_t n_attrs)
{
    om_val *out = om_arena_array(l->g->arena, n->n_out, sizeof(*out));

    if (!out) {
        om_graph_fail(l->h, OM_E_NOMEM, "out of memory for a graph");
        return;
    }
    lo_emit_n(l, n->op, in, n_in, attrs, n_attrs, out, n->n_out);
    for (uint32_t i = 0; i < n->n_out; i++)
        lo_set(l, n, i, out[i]);
}

static om_val *inputs_of(struct lower *l, const struct om_node *n, uint32_t more)
{
    om_val *in = om_arena_array(l->g->arena, (size_t)n->n_in + more, sizeof(*in));

    if (!in)
        om_graph_fail(l->h, OM_E_NOMEM, "out of memory for a graph");
    for (uint32_t i = 0; in && i < n->n_in; i++)
        in[i] = lo_in(l, n, i);
    return in;
}

void lo_copy(struct lower *l, const struct om_node *n)
{
    const om_val *in = inputs_of(l, n, 0);
    uint32_t n_attrs;
    const struct om_attr *attrs = attrs_of(l, n, &n_attrs);

    if (in && attrs)
        emit_like(l, n, in, n->n_in, attrs, n_attrs);
}

/* ---- Shape: start and end since 15 ---- */

static int64_t clamp_axis(int64_t axis, int64_t rank)
{
    if (axis < 0)
        axis += rank;
    return axis < 0 ? 0 : axis > rank ? rank : axis;
}

void lo_shape_14(struct lower *l, const struct om_node *n)
{
    const int64_t rank = lo_old(l, n->in[0])->rank;
    const int64_t start = clamp_axis(om_node_int(n, "start", 0), rank);
    const int64_t end = clamp_axis(om_node_int(n, "end", rank), rank);
    const om_val shape = LO(l, Shape, lo_nd(l, n->in[0]));

    if (start == 0 && end == rank)
        lo_set(l, n, 0, shape);
    else
        lo_set(l, n, 0, LO(l, Slice, shape, lo_i64(l, start), lo_i64(l, end)));
}

/* ---- Split: num_outputs since 18, needed there where the sizes are left out ---- */

/* Sizes of the parts of an axis that is not a multiple of them: the last one is smaller. */
static om_val uneven_sizes(struct lower *l, int64_t extent, uint32_t parts)
{
    const int64_t size = (extent + parts - 1) / parts;
    int64_t *sizes = om_arena_array(l->g->arena, parts, sizeof(*sizes));

    if (!sizes)
        return om_graph_fail(l->h, OM_E_NOMEM, "out of memory for a graph");
    for (uint32_t i = 0; i < parts; i++)
        sizes[i] = OM_MIN(size, OM_MAX(extent - size * i, 0));
    return lo_i64s(l, sizes, parts);
}

void lo_split(struct lower *l, const struct om_node *n)
{
    const struct om_value *x = lo_old(l, n->in[0]);
    const int64_t axis = om_node_int(n, "axis", 0);
    om_val *in = inputs_of(l, n, 1);
    uint32_t n_attrs, n_in = n->n_in;
    struct om_attr *attrs = attrs_of(l, n, &n_attrs);
    int64_t extent;

    if (!in || !attrs)
        return;
    drop_attr(attrs, &n_attrs, "num_outputs");
    if (l->flat && !om_node_attr(n, "axis"))
        attrs[n_attrs++] = (struct om_attr)LO_INT("axis", -1);
    if (!lo_has(n, 1) && lo_const_dim(l, x->dims[axis < 0 ? axis + x->rank : axis], &extent) &&
        extent % n->n_out) {
        in[1] = uneven_sizes(l, extent, n->n_out);
        n_in = 2;
    } else if (!lo_has(n, 1) && l->opset >= 18) {
        attrs[n_attrs++] = (struct om_attr)LO_INT("num_outputs", n->n_out);
    }
    emit_like(l, n, in, n_in, attrs, n_attrs);
}

/* ---- ReduceX: noop_with_empty_axes since 18, of ReduceSum since 13 ---- */

/* Nothing is reduced: no axes, and the attribute says that this does not mean all of them. */
bool lo_fits_reduce_nothing(const struct lower *l, const struct om_node *n)
{
    int64_t axes[OM_RANK_MAX];
    uint32_t n_axes = 0;

    if (!om_node_int(n, "noop_with_empty_axes", 0))
        return false;
    return !lo_has(n, 1) || (lo_const_ints(l, n->in[1], axes, OM_RANK_MAX, &n_axes) && n_axes == 0);
}

void lo_reduce_nothing(struct lower *l, const struct om_node *n)
{
    if (n->op == OM_OP_ReduceL2)
        lo_set(l, n, 0, LO(l, Abs, lo_in(l, n, 0))); /* the length of a single number */
    else
        lo_set_alias(l, n, n->in[0]);
}
