/* src/fuse/flat.c: linear layers that work on rows keep the axes of their texts.
 *
 * Exporters flatten [batch, length, width] to [batch * length, width] for a Gemm and what follows
 * it. The fused operators take three axes; so here the rows get their axes back, from where they
 * were taken away on, as far as operators can do without: a Gemm becomes a product and a sum. What
 * others read is flattened after the fact. */
#include <stdlib.h>

#include "base/view.h"
#include "fuse/internal.h"

enum kind {
    OTHER,
    SOURCE, /* takes the axes away */
    SPREAD, /* works on rows, whatever their axes are */
    SINK    /* gives the rows other axes */
};

struct rows {
    om_sv name, wide; /* with two axes, with three */
    uint32_t seen;    /* uses that can do with wide */
    int64_t width;
    om_dim lead[2]; /* the axes that were taken away */
};

struct flat {
    struct fuse *f;
    uint8_t *kinds; /* of nodes */
    struct om_map at;
    struct rows *rows;
    size_t n_rows, cap_rows;
};

static struct rows *find_rows(const struct flat *x, om_sv name)
{
    uint32_t at;

    return name.len > 0 && om_map_get(&x->at, name, &at) ? &x->rows[at] : NULL;
}

static bool is_width(const struct fuse *f, om_dim d, int64_t *v)
{
    return om_dim_is_const(f->shapes->dims, d, v) && *v > 0;
}

/* ---- what works on rows ---- */

/* Reshape: [a, b, width] or [a, b, heads, size] to [a * b, width] */
static bool is_source(const struct fuse *f, const struct om_doc_node *n)
{
    const struct om_value *const x = fz_shape(f, n->in[0]), *const y = fz_shape(f, n->out[0]);
    int64_t width, have = 1, v;

    if (!fz_is(n, "", "Reshape") || !x || !y || x->rank < 3 || y->rank != 2 ||
        !is_width(f, y->dims[1], &width))
        return false;
    for (uint32_t i = 2; i < x->rank; i++)
        if (!is_width(f, x->dims[i], &v) || v > width || (have *= v) > width)
            return false;
    return have == width;
}

static bool is_sink(const struct fuse *f, const struct om_doc_node *n)
{
    const struct om_value *const want = n->n_in == 2 ? fz_shape(f, n->in[1]) : NULL;
    int64_t v, allow;

    if (!fz_is(n, "", "Reshape") || !want || !want->content || !fz_int(n, "allowzero", 0, &allow))
        return false;
    for (uint32_t i = 0; i < want->n_content; i++)
        if (om_dim_is_const(f->shapes->dims, want->content[i], &v) && v == 0)
            return false;
    return true;
}

static const char *const pointwise[] = { "Abs",      "Cast",      "Elu",  "Erf",        "Exp",
                                         "Gelu",     "HardSwish", "Mish", "LeakyRelu",  "Neg",
                                         "Relu",     "Sigmoid",   "Silu", "Softplus",   "Softsign",
                                         "Sqrt",     "Tanh",      "Log",  "Reciprocal", "Identity",
                                         "FastGelu", "QuickGelu" };
static const char *const binary[] = { "Add", "Sub", "Mul", "Div", "Pow" };
/* along the last axis */
static const char *const norms[] = { "LayerNormalization", "SimplifiedLayerNormalization",
                                     "RMSNormalization", "Softmax", "Split" };

static const char *const reductions[] = { "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin" };

static bool is_one_of(const struct om_doc_node *n, const char *const *list, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (om_sv_is(n->op, list[i]))
            return n->domain.len == 0 || om_sv_is(n->domain, "com.microsoft");
    return false;
}

/* Another summand or factor: rows of the same axes, or one for all of them. */
static bool is_beside(const struct flat *x, om_sv name, const om_dim *lead)
{
    const struct om_value *const v = fz_shape(x->f, name);
    const struct rows *const r = find_rows(x, name);
    int64_t one;

    if (r)
        return r->lead[0] == lead[0] && r->lead[1] == lead[1];
    return v && (v->rank < 2 || (v->rank == 2 && is_width(x->f, v->dims[0], &one) && one == 1));
}

static bool is_matrix(const struct fuse *f, om_sv name)
{
    const struct om_doc_tensor *const t = fz_const(f, name);

    return t && t->rank == 2;
}

/* The last axis, counted from the end, which stays. */
static bool reduces_last(const struct fuse *f, const struct om_doc_node *n)
{
    int64_t axis[2];
    size_t len = 0;

    if (!fz_reduces_last(f, n))
        return false;
    if (n->n_in > 1)
        return fz_ints(f, n->in[1], axis, 2, &len) && len == 1 && axis[0] == -1;
    return om_doc_attr_ints(n, "axes", axis, 2, &len, NULL) == 0 && len == 1 && axis[0] == -1;
}

/* A weight, turned, would be there twice where somebody else reads it. */
static bool may_turn(const struct fuse *f, om_sv name)
{
    return fz_uses(f, name) == fz_turned_uses(f, name) || om_map_get(&f->turned, name, NULL);
}

static bool is_gemm(const struct flat *x, const struct om_doc_node *n)
{
    const struct fuse *const f = x->f;
    double alpha, beta;
    int64_t a, b;

    return fz_is(n, "", "Gemm") && n->n_in >= 2 && is_matrix(f, n->in[1]) &&
           fz_float(n, "alpha", 1, &alpha) && fz_float(n, "beta", 1, &beta) && alpha == 1 &&
           beta == 1 && fz_int(n, "transA", 0, &a) && a == 0 && fz_int(n, "transB", 0, &b) &&
           (b == 0 || may_turn(f, n->in[1])) &&
           (n->n_in < 3 || n->in[2].len == 0 || fz_is_row(f, n->in[2], n->out[0]));
}

/* The axes of the rows that n reads. */
static const om_dim *lead_of(const struct flat *x, const struct om_doc_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (find_rows(x, n->in[i]))
            return find_rows(x, n->in[i])->lead;
    return NULL;
}

static bool is_spread(const struct flat *x, const struct om_doc_node *n)
{
    const om_dim *const lead = lead_of(x, n);
    int64_t axis;

    if (is_one_of(n, pointwise, OM_COUNT(pointwise)))
        return n->n_in == 1 && n->n_out == 1;
    if (is_one_of(n, binary, OM_COUNT(binary)))
        return n->n_in == 2 && n->domain.len == 0 && is_beside(x, n->in[0], lead) &&
               is_beside(x, n->in[1], lead);
    if (is_one_of(n, norms, OM_COUNT(norms)))
        return fz_int(n, "axis", om_sv_is(n->op, "Split") ? 0 : -1, &axis) &&
               (axis == -1 || axis == 1);
    if (is_one_of(n, reductions, OM_COUNT(reductions)))
        return reduces_last(x->f, n);
    if (fz_is(n, "", "MatMul"))
        return n->n_in == 2 && find_rows(x, n->in[0]) && is_matrix(x->f, n->in[1]);
    return is_gemm(x, n);
}

/* ---- looking ---- */

static int add_rows(struct flat *x, om_sv name, const om_dim *lead)
{
    const struct om_value *const v = fz_shape(x->f, name);
    struct rows r = { .name = name, .wide = { "", 0 }, .lead = { lead[0], lead[1] } };

    if (name.len == 0 || !v || v->rank != 2 || !is_width(x->f, v->dims[1], &r.width))
        return 1;
    if (!om_grow(&x->rows, &x->cap_rows, x->n_rows + 1, sizeof(*x->rows)) ||
        om_map_put(&x->at, name, (uint32_t)x->n_rows) < 0)
        return fz_no_memory(x->f);
    x->rows[x->n_rows++] = r;
    return 0;
}

static bool gives_rows(const struct fuse *f, const struct om_doc_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++) {
        const struct om_value *const v = fz_shape(f, n->out[i]);
        int64_t width;

        if (!v || v->rank != 2 || !is_width(f, v->dims[1], &width))
            return false;
    }
    return n->n_out > 0;
}

/* Rows of the outermost graph that a branch reads. */
static int add_outer(struct flat *x, const struct om_doc_node *n)
{
    const struct om_value *v;
    uint32_t at;
    int rc;

    for (uint32_t i = 0; x->f->g != x->f->d->graph && i < n->n_in; i++) {
        if (find_rows(x, n->in[i]) || !om_map_get(&x->f->wide_of, n->in[i], &at) ||
            !fz_is_outer(x->f, n->in[i]))
            continue;
        v = fz_shape(x->f, x->f->wide[at]);
        rc = v && v->rank == 3 ? add_rows(x, n->in[i], v->dims) : 1;
        if (rc < 0)
            return rc;
        if (rc == 0)
            x->rows[x->n_rows - 1].wide = x->f->wide[at];
    }
    return 0;
}

/* For the branches: what has three axes besides. */
static int keep_outer(struct flat *x)
{
    struct fuse *const f = x->f;

    for (size_t i = 0; f->g == f->d->graph && i < x->n_rows; i++) {
        if (x->rows[i].wide.len == 0 || om_sv_eq(x->rows[i].wide, x->rows[i].name))
            continue;
        if (!om_grow(&f->wide, &f->cap_wide, f->n_wide + 1, sizeof(*f->wide)) ||
            om_map_put(&f->wide_of, x->rows[i].name, (uint32_t)f->n_wide) < 0)
            return fz_no_memory(f);
        f->wide[f->n_wide++] = x->rows[i].wide;
    }
    return 0;
}

static int look_at_node(struct flat *x, size_t i)
{
    const struct om_doc_node *const n = &x->f->g->nodes.items[i];
    const om_dim *lead;
    om_dim axes[2];

    if (n->n_in == 0 || n->n_out == 0)
        return 0;
    OM_TRY(add_outer(x, n));
    lead = lead_of(x, n);
    if (lead && is_sink(x->f, n))
        x->kinds[i] = SINK;
    else if (lead && is_spread(x, n) && gives_rows(x->f, n))
        x->kinds[i] = SPREAD;
    else if (is_source(x->f, n))
        x->kinds[i] = SOURCE;
    if (x->kinds[i] == SOURCE)
        lead = fz_shape(x->f, n->in[0])->dims;
    if (lead) /* the rows move when some are added */
        memcpy(axes, lead, sizeof(axes));
    for (uint32_t k = 0; k < n->n_in && (x->kinds[i] == SINK || x->kinds[i] == SPREAD); k++) {
        struct rows *const r = find_rows(x, n->in[k]);

        if (r)
            r->seen++;
    }
    for (uint32_t k = 0; k < n->n_out && (x->kinds[i] == SOURCE || x->kinds[i] == SPREAD); k++) {
        const int rc = add_rows(x, n->out[k], axes);

        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- changing ---- */

/* The rows of wide, under their old name. */
static int flatten(struct flat *x, const struct rows *r)
{
    const int64_t target[] = { -1, r->width };
    om_sv in[2] = { r->wide };

    OM_TRY(fz_add_ints(x->f, target, 2, &in[1]));
    return fz_add(x->f, "", "Reshape", in, 2, r->name) ? 0 : fz_no_memory(x->f);
}

static bool is_read_flat(const struct flat *x, const struct rows *r)
{
    return fz_uses(x->f, r->name) > r->seen;
}

static int name_wide(struct flat *x, struct rows *r)
{
    r->wide = is_read_flat(x, r) ? fz_name(x->f, r->name, "wide") : r->name;
    return r->wide.len > 0 ? 0 : fz_no_memory(x->f);
}

/* Three axes are there already; of four, two become one. */
static int change_source(struct flat *x, struct om_doc_node *n)
{
    struct rows *const r = find_rows(x, n->out[0]);
    const int64_t target[] = { 0, 0, r->width };
    om_sv shape;

    if (fz_shape(x->f, n->in[0])->rank == 3) {
        r->wide = n->in[0];
        return 0;
    }
    OM_TRY(name_wide(x, r));
    OM_TRY(fz_add_ints(x->f, target, 3, &shape));
    OM_TRY(fz_reread(x->f, n, 1, shape));
    om_doc_drop_attr(n, "allowzero");
    if (om_sv_eq(r->wide, r->name))
        return 0;
    OM_TRY(fz_put_output(x->f, n, 0, r->wide));
    return flatten(x, r);
}

static int read_wide(struct flat *x, struct om_doc_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        const struct rows *const r = find_rows(x, n->in[i]);

        if (r && !om_sv_eq(r->wide, n->in[i]))
            OM_TRY(fz_reread(x->f, n, i, r->wide));
    }
    return 0;
}

/* A product, and a sum where there is a bias. */
static int change_gemm(struct flat *x, struct om_doc_node *n)
{
    struct fuse *const f = x->f;
    const om_sv bias = n->n_in == 3 ? n->in[2] : (om_sv){ "", 0 };
    const size_t fused = f->fused;
    om_sv product[] = { n->in[0], n->in[1] }, sum[] = { { "", 0 }, bias };
    int64_t turned;
    int rc;

    if (!fz_int(n, "transB", 0, &turned))
        return 0;
    if (turned != 0)
        OM_TRY(fz_turn(f, n->in[1], &product[1]));
    if (bias.len == 0) {
        rc = fz_become(f, n, "", "MatMul", product, 2);
    } else {
        sum[0] = fz_name(f, n->out[0], "MatMul");
        if (!fz_add(f, "", "MatMul", product, 2, sum[0]))
            return fz_no_memory(f);
        rc = fz_become(f, n, "", "Add", sum, 2);
    }
    f->fused = fused;
    return rc;
}

static int change_spread(struct flat *x, struct om_doc_node *n)
{
    om_sv *const out = om_arena_array(x->f->d->arena, n->n_out, sizeof(*out));

    if (!out)
        return fz_no_memory(x->f);
    OM_TRY(read_wide(x, n));
    if (fz_is(n, "", "Gemm"))
        OM_TRY(change_gemm(x, n));
    else if (is_one_of(n, norms, OM_COUNT(norms)) && !om_doc_put_int(x->f->d, n, "axis", -1))
        return fz_no_memory(x->f);
    for (uint32_t i = 0; i < n->n_out; i++) {
        struct rows *const r = find_rows(x, n->out[i]);

        OM_TRY(name_wide(x, r));
        out[i] = r->wide;
        if (!om_sv_eq(r->wide, r->name))
            OM_TRY(flatten(x, r));
    }
    n->out = out;
    return 0;
}

static int change_node(struct flat *x, size_t i)
{
    struct om_doc_node *const n = &x->f->g->nodes.items[i];

    switch ((enum kind)x->kinds[i]) {
    case OTHER:
        return 0;
    case SOURCE:
        return change_source(x, n);
    case SPREAD:
        return change_spread(x, n);
    case SINK:
        return read_wide(x, n);
    }
    return 0;
}

/* What the file says about shapes of rows is not so any more. */
static void drop_notes(struct flat *x)
{
    struct om_doc_ports *const values = &x->f->g->values;
    size_t kept = 0;

    for (size_t i = 0; i < values->len; i++)
        if (!find_rows(x, values->items[i].name))
            values->items[kept++] = values->items[i];
    values->len = kept;
}

static bool pays(const struct flat *x)
{
    for (size_t i = 0; i < x->f->g->nodes.len; i++)
        if (x->kinds[i] == SPREAD && x->f->g->nodes.items[i].n_in > 1)
            return true;
    return false;
}

static bool has_branches(const struct om_doc_graph *g)
{
    for (size_t i = 0; i < g->nodes.len; i++)
        for (uint32_t k = 0; k < g->nodes.items[i].n_attrs; k++)
            if (g->nodes.items[i].attrs[k].n_graphs > 0)
                return true;
    return false;
}

static int spread(struct flat *x)
{
    const size_t n = x->f->g->nodes.len;

    for (size_t i = 0; i < n; i++)
        OM_TRY(look_at_node(x, i));
    if (!pays(x) && !has_branches(x->f->g))
        return 0;
    for (size_t i = 0; i < n; i++)
        OM_TRY(change_node(x, i));
    drop_notes(x);
    return keep_outer(x);
}

int fz_spread_rows(struct fuse *f)
{
    struct flat x = { .f = f, .at = OM_MAP_INIT };
    int rc;

    x.kinds = calloc(OM_MAX(f->g->nodes.len, 1), 1);
    rc = x.kinds ? spread(&x) : fz_no_memory(f);
    om_map_release(&x.at);
    free(x.rows);
    free(x.kinds);
    return rc;
}

/* ---- weights, turned ---- */

static bool turn_weight(struct om_doc *d, const struct om_doc_tensor *t, struct om_weight *w)
{
    int64_t *const dims = om_arena_array(d->arena, 2, sizeof(*dims));
    int64_t *const strides = om_arena_array(d->arena, 2, sizeof(*strides));

    if (!dims || !strides || om_doc_weight(d, t, w, NULL) < 0 || w->rank != 2)
        return false;
    strides[0] = w->strides ? w->strides[1] : 1;
    strides[1] = w->strides ? w->strides[0] : w->dims[1];
    dims[0] = w->dims[1];
    dims[1] = w->dims[0];
    w->dims = dims;
    w->strides = om_view_dense(dims, strides, 2) ? NULL : strides;
    if (w->src_dtype == OM_DTYPE_NONE)
        w->src_dtype = w->dtype;
    return true;
}

int fz_turn(struct fuse *f, om_sv name, om_sv *out)
{
    const struct om_doc_tensor *const was = fz_const(f, name);
    struct om_doc_graph *const owner =
        om_doc_find_tensor(f->d->graph, name) == was ? f->d->graph : f->g;
    struct om_weight *const w = om_arena_alloc(f->d->arena, sizeof(*w));
    struct om_doc_tensor *t;
    uint32_t at;

    if (owner == f->d->graph && om_map_get(&f->turned, name, &at)) {
        *out = owner->tensors.items[at].name;
        return 0;
    }
    if (!w || !was || !turn_weight(f->d, was, w))
        return om_fail(f->err, OM_E_UNSUPPORTED, "tensor \"%.*s\" cannot be turned", OM_SV(name));
    *out = fz_name(f, name, "turned");
    at = (uint32_t)owner->tensors.len;
    t = om_doc_add_tensor(f->d, owner);
    if (!t || out->len == 0 || (owner == f->d->graph && om_map_put(&f->turned, name, at) < 0))
        return fz_no_memory(f);
    w->name = *out;
    *t = (struct om_doc_tensor){ .name = *out,
                                 .type = om_dtype_onnx(w->dtype),
                                 .rank = 2,
                                 .dims = w->dims,
                                 .bytes = om_weight_bytes(w),
                                 .weight = w };
    return 0;
}

/* ---- outputs ---- */

int fz_take_output(struct fuse *f, struct om_doc_node *n)
{
    struct om_doc_node *const maker = n->n_in > 0 ? fz_maker(f, n->in[0]) : NULL;
    om_sv name;

    if (!fz_is(n, "", "Reshape") || !fz_is_output(f, n->out[0]) || !maker ||
        fz_uses(f, n->in[0]) != 1 || !fz_same_shape(f, n->in[0], n->out[0]))
        return 0;
    name = n->out[0];
    for (uint32_t i = 0; i < maker->n_out; i++) {
        if (!om_sv_eq(maker->out[i], n->in[0]))
            continue;
        fz_kill(f, n);
        if (i < 4 && maker->n_out <= 4)
            return fz_put_output(f, maker, i, name);
    }
    return 0;
}
