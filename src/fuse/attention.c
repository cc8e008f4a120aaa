/* src/fuse/attention.c: attention becomes one operator of ONNX Runtime.
 *
 * Attention where queries, keys and values are products of one tensor with three weights, which are
 * put side by side; MultiHeadAttention otherwise, with past keys and values where there are any.
 * What both compute was compared with ONNX Runtime 1.32's CPU provider: masks are added to the
 * scores, so that a text without any token gets equal weights, as in plain operators. */
#include "fuse/attention.h"

#include <float.h>
#include <math.h>

#include "base/half.h"
#include "fuse/mask.h"
#include "fuse/packed.h"

#define MS "com.microsoft"

/* What becomes of the masks. */
struct masks {
    om_sv tokens; /* int32 [batch, keys]; empty: none */
    double fill;
    om_sv bias; /* [1 or batch, 1 or heads, queries, keys]; empty: none */
    om_sv rows; /* [1 or batch, queries, 1]; empty: none */
};

/* ---- small constants and nodes, each made once ---- */

static om_sv no_name(void)
{
    return (om_sv){ "", 0 };
}

/* An initializer of one number; an empty name: memory is short. */
static om_sv number(struct fuse *f, enum om_dtype dtype, double v)
{
    const om_sv key = om_doc_text(f->d, "number %s %a", om_dtype_text(dtype), v);
    om_sv name = fz_noted(f, key);
    uint8_t data[8];

    if (name.len > 0)
        return name;
    name = fz_name(f, om_sv_str("fused"), "number");
    om_convert(data, dtype, &v, OM_F64, 1);
    if (name.len == 0 || !om_doc_add_const(f->d, f->g, name, om_dtype_onnx(dtype), NULL, 0, data) ||
        fz_note(f, key, name) < 0)
        return no_name();
    return name;
}

static om_sv axes_of(struct fuse *f, int64_t axis)
{
    om_sv name;

    return fz_add_ints(f, &axis, 1, &name) == 0 ? name : no_name();
}

/* op(in) under a name of its own; the same for the same operands. attr: an integer, or NULL. */
static om_sv shared(struct fuse *f, const char *op, const om_sv *in, uint32_t n_in,
                    const char *attr, int64_t value)
{
    struct om_doc_node *n;
    om_sv key = om_doc_text(f->d, "%s %" PRId64, op, value), name;

    for (uint32_t i = 0; i < n_in; i++)
        key = om_doc_text(f->d, "%.*s %zu:%.*s", OM_SV(key), in[i].len, OM_SV(in[i]));
    name = fz_noted(f, key);
    if (name.len > 0)
        return name;
    name = fz_name(f, in[0], op);
    n = fz_add(f, "", op, in, n_in, name);
    if (!n || (attr && !om_doc_put_int(f->d, n, attr, value)) || fz_note(f, key, name) < 0)
        return no_name();
    return name;
}

static om_sv cast(struct fuse *f, om_sv x, enum om_dtype dtype)
{
    return shared(f, "Cast", &x, 1, "to", om_dtype_onnx(dtype));
}

static om_sv squeeze_heads(struct fuse *f, om_sv x)
{
    return shared(f, "Squeeze", (const om_sv[]){ x, axes_of(f, 1) }, 2, NULL, 0);
}

/* The largest along the last axis, which stays. */
static om_sv largest(struct fuse *f, om_sv x)
{
    const om_sv key = om_doc_text(f->d, "largest %.*s", OM_SV(x));
    const bool by_input = f->opset >= 18;
    om_sv name = fz_noted(f, key), in[2] = { x };
    struct om_doc_node *n;

    if (name.len > 0)
        return name;
    if (by_input)
        in[1] = axes_of(f, -1);
    name = fz_name(f, x, "ReduceMax");
    n = fz_add(f, "", "ReduceMax", in, by_input ? 2 : 1, name);
    if (!n || !om_doc_put_int(f->d, n, "keepdims", 1) ||
        (!by_input && !om_doc_put_ints(f->d, n, "axes", &(int64_t){ -1 }, 1)) ||
        fz_note(f, key, name) < 0)
        return no_name();
    return name;
}

/* ---- masks ---- */

static bool is_dim(const struct fuse *f, om_dim d, om_dim want, bool or_one)
{
    int64_t v;

    return d == want || (or_one && om_dim_is_const(f->shapes->dims, d, &v) && v == 1);
}

static bool is_heads(const struct fuse *f, om_dim d, int64_t heads)
{
    int64_t v;

    return om_dim_is_const(f->shapes->dims, d, &v) && (v == 1 || v == heads);
}

/* Of scores: [1 or batch, 1 or heads, queries, keys]. */
static bool fits_scores(const struct fuse *f, om_sv name, const struct fz_attention *a,
                        enum om_dtype dtype)
{
    const struct om_value *const v = fz_shape(f, name);

    return v && v->rank == 4 && v->dtype == dtype && is_dim(f, v->dims[0], a->batch, true) &&
           is_heads(f, v->dims[1], a->heads) && v->dims[2] == a->queries && v->dims[3] == a->keys;
}

/* A mask of tokens for these keys. */
static bool fits_tokens(const struct fuse *f, om_sv name, const struct fz_attention *a)
{
    const struct om_value *const v = fz_shape(f, name);

    return v && v->rank == 2 && v->dims[0] == a->batch && v->dims[1] == a->keys;
}

static int take_tokens(struct fuse *f, om_sv tokens, double fill, struct masks *m)
{
    const struct om_value *const v = fz_shape(f, tokens);

    m->fill = fill;
    m->tokens = v->dtype == OM_I32 ? tokens : cast(f, tokens, OM_I32);
    if (f->config->use_mask_index) {
        const om_sv in[] = { m->tokens, axes_of(f, 1) };

        m->tokens = shared(f, "ReduceSum", in, 2, "keepdims", 0);
    }
    return m->tokens.len > 0 ? 0 : fz_no_memory(f);
}

static int add_bias(struct fuse *f, om_sv name, struct masks *m)
{
    if (name.len > 0 && m->bias.len > 0)
        name = shared(f, "Add", (const om_sv[]){ m->bias, name }, 2, NULL, 0);
    m->bias = name;
    return name.len > 0 ? 0 : fz_no_memory(f);
}

/* 0 where a score counts, fill where it does not. */
static om_sv choose(struct fuse *f, om_sv cond, bool fills_if, enum om_dtype dtype, double fill)
{
    const om_sv zero = number(f, dtype, 0), full = number(f, dtype, fill);
    const om_sv in[] = { cond, fills_if ? full : zero, fills_if ? zero : full };

    if (zero.len == 0 || full.len == 0)
        return no_name();
    return shared(f, "Where", in, 3, NULL, 0);
}

static bool is_minus_infinity(const struct fuse *f, om_sv name)
{
    double v, tolerance;

    return fz_scalar(f, name, &v, &tolerance) && isinf(v) && v < 0;
}

/* The condition of a choice between 0 and minus infinity. */
static bool read_condition(const struct fuse *f, om_sv name, om_sv *cond, bool *fills_if)
{
    const struct om_doc_node *const n = fz_made_by(f, name, "Where");

    for (uint32_t i = 1; n && n->n_in == 3 && i < 3; i++) {
        if (!fz_is_scalar(f, n->in[3 - i], 0) || !is_minus_infinity(f, n->in[i]))
            continue;
        *cond = n->in[0];
        *fills_if = i == 1;
        return true;
    }
    return false;
}

/* A choice between two numbers: with such a mask no row of scores gives NaN. */
static bool is_finite_choice(const struct fuse *f, om_sv name)
{
    const struct om_doc_node *const n = fz_made_by(f, name, "Where");
    double a, b, tolerance;

    return n && n->n_in == 3 && fz_scalar(f, n->in[1], &a, &tolerance) &&
           fz_scalar(f, n->in[2], &b, &tolerance) && isfinite(a) && isfinite(b);
}

static bool needs_guard(const struct fuse *f, const struct fz_attention *a)
{
    return a->guarded && a->n_terms > 0 &&
           !(a->n_terms == 1 && !a->terms[0].chosen && is_finite_choice(f, a->terms[0].name));
}

/* Rows without any key give zeros: then masks are finite, and such rows become zeros afterwards. */
static int take_guarded(struct fuse *f, const struct fz_attention *a, struct masks *m, bool *fits)
{
    const double lowest = a->dtype == OM_F16 ? -65504 : -(double)FLT_MAX;
    om_sv cond, tokens, seen;
    bool fills_if;
    double fill;

    *fits = false;
    if (a->n_terms != 1 || a->terms[0].chosen || a->rows.len > 0 ||
        !read_condition(f, a->terms[0].name, &cond, &fills_if))
        return 0;
    *fits = true;
    if (fz_token_mask(f, a->terms[0].name, &tokens, &fill) && fits_tokens(f, tokens, a) &&
        fz_shape(f, cond) && fz_shape(f, cond)->rank == 4 && !f->config->use_mask_index)
        OM_TRY(take_tokens(f, tokens, lowest, m));
    else if (fits_scores(f, cond, a, OM_BOOL))
        OM_TRY(add_bias(f, choose(f, cond, fills_if, a->dtype, lowest), m));
    else
        *fits = false;
    if (!*fits)
        return 0;
    seen = fills_if ? shared(f, "Not", &cond, 1, NULL, 0) : cond;
    seen = seen.len > 0 ? cast(f, seen, a->dtype) : seen;
    m->rows = seen.len > 0 ? largest(f, seen) : seen;
    m->rows = m->rows.len > 0 ? squeeze_heads(f, m->rows) : m->rows;
    return m->rows.len > 0 ? 0 : fz_no_memory(f);
}

static int take_term(struct fuse *f, const struct fz_attention *a, const struct fz_term *t,
                     struct masks *m, bool *fits)
{
    om_sv tokens;
    double fill;

    *fits = true;
    if (!t->chosen && m->tokens.len == 0 && fz_token_mask(f, t->name, &tokens, &fill) &&
        fits_tokens(f, tokens, a))
        return f->config->no_attention_mask ? 0 : take_tokens(f, tokens, fill, m);
    *fits = fits_scores(f, t->name, a, t->chosen ? OM_BOOL : a->dtype);
    if (!*fits)
        return 0;
    return add_bias(f, t->chosen ? choose(f, t->name, t->fills_if, a->dtype, t->fill) : t->name, m);
}

static int take_masks(struct fuse *f, const struct fz_attention *a, struct masks *m, bool *fits)
{
    *fits = true;
    if (needs_guard(f, a))
        return take_guarded(f, a, m, fits);
    for (size_t i = 0; i < a->n_terms && *fits; i++)
        OM_TRY(take_term(f, a, &a->terms[i], m, fits));
    if (*fits && a->rows.len > 0) {
        m->rows = squeeze_heads(f, a->rows);
        if (m->rows.len == 0)
            return fz_no_memory(f);
    }
    return 0;
}

/* ---- the result ---- */

/* n gives the result, or what is multiplied by the rows: then n becomes that product. */
static int finish(struct fuse *f, struct om_doc_node *n, const struct masks *m, const char *op,
                  const om_sv *in, uint32_t n_in, struct om_doc_node **out)
{
    om_sv inner;

    while (n_in > 0 && in[n_in - 1].len == 0)
        n_in--;
    if (m->rows.len == 0) {
        *out = n;
        return fz_become(f, n, MS, op, in, n_in);
    }
    inner = fz_name(f, n->out[0], op);
    *out = fz_add(f, MS, op, in, n_in, inner);
    if (!*out)
        return fz_no_memory(f);
    f->fused++;
    OM_TRY(fz_become(f, n, "", "Mul", (const om_sv[]){ inner, m->rows }, 2));
    f->fused--; /* it counted the product */
    return 0;
}

static int put_attrs(struct fuse *f, struct om_doc_node *n, const struct fz_attention *a,
                     const struct masks *m)
{
    const bool usual = fabs(a->scale * sqrt((double)a->size) - 1) < 1e-6;

    if (!om_doc_put_int(f->d, n, "num_heads", a->heads) ||
        (!usual && !om_doc_put_float(f->d, n, "scale", (float)a->scale)) ||
        (m->tokens.len > 0 &&
         !om_doc_put_float(f->d, n, "mask_filter_value",
                           (float)fmax(m->fill, a->dtype == OM_F16 ? -65504 : -FLT_MAX))))
        return fz_no_memory(f);
    return 0;
}

/* ---- Attention ---- */

/* x times a weight, and a bias. */
struct projection {
    om_sv x;
    const struct om_doc_tensor *weight, *bias; /* bias: NULL without */
    om_sv weight_name, bias_name, product;
};

static bool is_matrix(const struct fuse *f, const struct om_doc_tensor *t, enum om_dtype dtype)
{
    (void)f;
    return t && t->rank == 2 && t->dims[0] > 0 && t->dims[1] > 0 &&
           om_dtype_from_onnx(t->type) == dtype;
}

static bool read_bias(const struct fuse *f, om_sv name, struct projection *p)
{
    const struct om_doc_node *const n = fz_made_by(f, name, "Add");

    p->product = name;
    for (uint32_t i = 0; n && n->n_in == 2 && i < 2; i++) {
        const struct om_doc_tensor *const b = fz_const(f, n->in[i]);

        if (!b || !fz_is_row(f, n->in[i], n->out[0]) || !fz_same_shape(f, n->in[1 - i], n->out[0]))
            continue;
        p->bias = b;
        p->bias_name = n->in[i];
        p->product = n->in[1 - i];
        return true;
    }
    return false;
}

static bool read_projection(const struct fuse *f, om_sv name, enum om_dtype dtype,
                            struct projection *p)
{
    const struct om_doc_node *n;

    *p = (struct projection){ .bias = NULL };
    read_bias(f, name, p);
    n = fz_made_by(f, p->product, "MatMul");
    if (!n || n->n_in != 2)
        return false;
    p->x = n->in[0];
    p->weight_name = n->in[1];
    p->weight = fz_const(f, n->in[1]);
    return is_matrix(f, p->weight, dtype);
}

/* The three are the parts of a Split along the last axis, in their order. */
static struct om_doc_node *read_split(const struct fuse *f, const om_sv flat[3])
{
    struct om_doc_node *const n = fz_maker(f, flat[0]);
    int64_t axis;

    if (!n || !fz_is(n, "", "Split") || n->n_out != 3 || !fz_int(n, "axis", 0, &axis) ||
        (axis != -1 && axis != 2))
        return NULL;
    for (uint32_t i = 0; i < 3; i++)
        if (!om_sv_eq(n->out[i], flat[i]))
            return NULL;
    return n;
}

static om_sv weights_of(const struct fz_attention *a, uint32_t i)
{
    return i == 0 ? a->q.flat : i == 1 ? a->k.flat : a->v.flat;
}

static int pack(struct fuse *f, const struct projection p[3], int64_t rows, om_sv base, om_sv *out)
{
    struct fz_part parts[3];
    bool any = false;

    for (uint32_t i = 0; i < 3; i++) {
        parts[i] = (struct fz_part){ .tensor = rows > 0 ? p[i].weight : p[i].bias,
                                     .cols = p[i].weight->dims[1],
                                     .type = p[i].weight->type };
        any |= parts[i].tensor != NULL;
    }
    *out = no_name();
    return any ? fz_pack(f, parts, rows, base, out) : 0;
}

static int put_widths(struct fuse *f, struct om_doc_node *n, const struct fz_attention *a,
                      const struct om_doc_tensor *weight)
{
    const int64_t width = a->heads * a->size;
    const int64_t widths[] = { width, width, a->heads * a->value_size };

    if (widths[2] == width && weight->dims[0] == width)
        return 0;
    return om_doc_put_ints(f->d, n, "qkv_hidden_sizes", widths, 3) ? 0 : fz_no_memory(f);
}

/* From weights that are side by side already; *done: it was possible. */
static int from_split(struct fuse *f, struct om_doc_node *n, const struct fz_attention *a,
                      const struct masks *m, bool *done)
{
    const om_sv flat[] = { a->q.flat, a->k.flat, a->v.flat };
    const struct om_doc_node *const split = read_split(f, flat);
    struct om_doc_node *made;
    struct projection p;

    if (!split || !read_projection(f, split->in[0], a->dtype, &p) ||
        p.weight->dims[1] != a->heads * (2 * a->size + a->value_size))
        return 0;
    *done = true;

    const om_sv in[] = { p.x, p.weight_name, p.bias_name, m->tokens, no_name(), m->bias };
    const struct om_doc_tensor weight = *p.weight;

    OM_TRY(finish(f, n, m, "Attention", in, 6, &made));
    OM_TRY(put_attrs(f, made, a, m));
    return put_widths(f, made, a, &weight);
}

static int from_three(struct fuse *f, struct om_doc_node *n, const struct fz_attention *a,
                      const struct masks *m, bool *done)
{
    struct om_doc_node *made;
    struct projection p[3];
    om_sv weight, bias;
    int64_t rows, any = 0;

    for (uint32_t i = 0; i < 3; i++) {
        const int64_t size = i == 2 ? a->value_size : a->size;

        if (!read_projection(f, weights_of(a, i), a->dtype, &p[i]) || !om_sv_eq(p[i].x, p[0].x) ||
            p[i].weight->dims[1] != a->heads * size || p[i].weight->dims[0] != p[0].weight->dims[0])
            return 0;
        any |= p[i].bias != NULL;
    }
    rows = p[0].weight->dims[0];

    const struct om_doc_tensor first = *p[0].weight;
    const struct om_value *const x = fz_shape(f, p[0].x);

    if (!x || x->rank != 3)
        return 0;
    /* The biases first: adding a tensor moves the others. */
    OM_TRY(pack(f, p, 0, n->out[0], &bias));
    if (any && bias.len == 0)
        return 0;
    for (uint32_t i = 0; i < 3; i++)
        p[i].weight = fz_const(f, p[i].weight_name);
    OM_TRY(pack(f, p, rows, n->out[0], &weight));
    if (weight.len == 0)
        return 0;
    *done = true;

    const om_sv in[] = { p[0].x, weight, bias, m->tokens, no_name(), m->bias };

    OM_TRY(finish(f, n, m, "Attention", in, 6, &made));
    OM_TRY(put_attrs(f, made, a, m));
    return put_widths(f, made, a, &first);
}

/* ---- MultiHeadAttention ---- */

/* Keys and values that others read, too, are given by the operator: is there need? */
static bool is_shared(const struct fuse *f, const struct fz_heads *h)
{
    return h->split.len > 0 && fz_uses(f, h->split) > h->uses;
}

/* The rotation is made before the heads are split; others may read it afterwards. */
static int flatten_rotary(struct fuse *f, struct fz_heads *h, int64_t heads)
{
    const struct om_doc_node *const was = h->rotary;
    om_sv in[4];
    struct om_doc_node *n;

    if (!was)
        return 0;
    memcpy(in, was->in, sizeof(in));
    in[0] = h->flat;
    n = fz_add(f, MS, "RotaryEmbedding", in, 4, fz_name(f, was->out[0], "flat"));
    if (!n)
        return fz_no_memory(f);
    n->attrs = om_arena_copy(f->d->arena, was->attrs, was->n_attrs * sizeof(*n->attrs));
    if (!n->attrs && was->n_attrs > 0)
        return fz_no_memory(f);
    n->n_attrs = was->n_attrs;
    h->flat = n->out[0];
    return om_doc_put_int(f->d, n, "num_heads", heads) ? 0 : fz_no_memory(f);
}

static bool wants_present(const struct fuse *f, const struct fz_attention *a)
{
    return a->k.past.len > 0 || is_shared(f, &a->k) || is_shared(f, &a->v);
}

/* Whether keys and values can be given flat, with their past, and the present be taken from the
 * operator: nothing that it reads may come from there. */
static int can_be_flat(struct fuse *f, const struct fz_attention *a, const struct masks *m,
                       bool *yes)
{
    const om_sv reads[] = { a->q.flat, a->k.flat, a->v.flat, a->k.past,
                            a->v.past, m->bias,   m->tokens, m->rows };
    const om_sv gives[] = { a->k.split, a->v.split };
    bool depends = false;

    *yes = a->k.flat.len > 0 && a->v.flat.len > 0 && (a->k.past.len > 0) == (a->v.past.len > 0);
    if (!*yes || !wants_present(f, a))
        return 0;
    for (size_t i = 0; i < OM_COUNT(reads) && *yes; i++)
        for (size_t k = 0; k < OM_COUNT(gives) && *yes && reads[i].len > 0; k++) {
            if (gives[k].len == 0)
                continue;
            OM_TRY(fz_depends(f, reads[i], gives[k], &depends));
            *yes = !depends;
        }
    return 0;
}

/* The same parts, of the product alone; others may read those of the sum. */
static int split_product(struct fuse *f, struct fz_attention *a, const struct om_doc_node *split,
                         om_sv product)
{
    const om_sv in[] = { product, split->n_in > 1 ? split->in[1] : no_name() };
    struct om_doc_node *const n =
        fz_add(f, "", "Split", in, split->n_in, fz_name(f, product, "part"));
    om_sv *const flat[] = { &a->q.flat, &a->k.flat, &a->v.flat };

    if (!n)
        return fz_no_memory(f);
    n->attrs = split->attrs;
    n->n_attrs = split->n_attrs;
    for (uint32_t i = 0; i < 3; i++) {
        *flat[i] = i == 0 ? n->out[0] : fz_name(f, product, "part");
        if (flat[i]->len == 0)
            return fz_no_memory(f);
        if (i > 0)
            OM_TRY(fz_put_output(f, n, i, *flat[i]));
    }
    return 0;
}

/* The products without their biases, which the operator adds. */
static int take_biases(struct fuse *f, struct fz_attention *a, om_sv base, om_sv *bias)
{
    const om_sv flat[] = { a->q.flat, a->k.flat, a->v.flat };
    struct om_doc_node *const split = read_split(f, flat);
    const int64_t widths[] = { a->heads * a->size, a->heads * a->size, a->heads * a->value_size };
    struct fz_part parts[3];
    struct projection p[3];
    bool any = false;

    *bias = no_name();
    if (a->q.rotary || a->k.rotary || a->value_size != a->size)
        return 0;
    if (split) {
        if (!read_bias(f, split->in[0], &p[0]) || p[0].bias->dims[0] != 3 * widths[0])
            return 0;
        *bias = p[0].bias_name;
        return split_product(f, a, split, p[0].product);
    }
    for (uint32_t i = 0; i < 3; i++) {
        p[i] = (struct projection){ .bias = NULL };
        read_bias(f, flat[i], &p[i]);
        parts[i] = (struct fz_part){ .tensor = p[i].bias,
                                     .cols = widths[i],
                                     .type = om_dtype_onnx(a->dtype) };
        any |= p[i].bias != NULL;
        if (p[i].bias && om_dtype_from_onnx(p[i].bias->type) != a->dtype)
            return 0;
    }
    if (!any)
        return 0;
    OM_TRY(fz_pack(f, parts, 0, base, bias));
    if (bias->len > 0) {
        a->q.flat = p[0].product;
        a->k.flat = p[1].product;
        a->v.flat = p[2].product;
    }
    return 0;
}

/* Output i of n is name, whose maker is no more. */
static int give(struct fuse *f, struct om_doc_node *n, uint32_t i, om_sv name)
{
    struct om_doc_node *const was = fz_maker(f, name);

    OM_TRY(fz_put_output(f, n, i, name));
    if (was)
        fz_kill(f, was);
    return 0;
}

static int multi_head(struct fuse *f, struct om_doc_node *n, struct fz_attention *a,
                      const struct masks *m)
{
    struct om_doc_node *made;
    om_sv bias = no_name();
    bool flat, present;

    OM_TRY(can_be_flat(f, a, m, &flat));
    present = flat && wants_present(f, a);
    if (!flat && (a->k.split.len == 0 || a->v.split.len == 0))
        return 0;
    OM_TRY(flatten_rotary(f, &a->q, a->heads));
    if (flat) {
        OM_TRY(flatten_rotary(f, &a->k, a->heads));
        OM_TRY(take_biases(f, a, n->out[0], &bias));
    }

    const om_sv in[] = {
        a->q.flat, flat ? a->k.flat : a->k.split, flat ? a->v.flat : a->v.split, bias, m->tokens,
        m->bias,   flat ? a->k.past : no_name(),  flat ? a->v.past : no_name()
    };

    OM_TRY(finish(f, n, m, "MultiHeadAttention", in, 8, &made));
    OM_TRY(put_attrs(f, made, a, m));
    if (present && a->k.split.len > 0)
        OM_TRY(give(f, made, 1, a->k.split));
    if (!present || a->v.split.len == 0 || om_sv_eq(a->v.split, a->k.split))
        return 0;
    return give(f, made, 2, a->v.split);
}

/* ---- the rule ---- */

static bool is_wanted(const struct fuse *f, const struct fz_attention *a)
{
    return a->dtype == OM_F32 || (a->dtype == OM_F16 && f->config->optimize_for_gpu);
}

int fz_attention(struct fuse *f, struct om_doc_node *n)
{
    struct masks m = { .tokens = { "", 0 }, .bias = { "", 0 }, .rows = { "", 0 } };
    struct fz_attention a;
    bool fits, done = false, plain;

    if (f->config->disable_attention || f->opset < 13 || !fz_read_attention(f, n, &a) ||
        !is_wanted(f, &a))
        return 0;
    OM_TRY(take_masks(f, &a, &m, &fits));
    if (!fits)
        return 0;
    plain = !f->config->use_multi_head_attention && !wants_present(f, &a) && !a.q.rotary &&
            !a.k.rotary && a.k.flat.len > 0 && a.v.flat.len > 0;
    if (plain)
        OM_TRY(from_split(f, n, &a, &m, &done));
    if (plain && !done)
        OM_TRY(from_three(f, n, &a, &m, &done));
    return done ? 0 : multi_head(f, n, &a, &m);
}
