/* src/fuse/rotary.c: rotary position embeddings become RotaryEmbedding.
 *
 * The operator takes cosines and sines from tables, row by row of position_ids. Here they are
 * computed for every token already: the tables are these rows, one after the other, and the rows
 * are counted through. That is done once for all layers. */
#include "fuse/attention.h"

struct rotary {
    om_sv x;        /* [batch, heads, length, size] */
    om_sv cos, sin; /* [batch, length, size], as they are multiplied */
    bool negated;   /* of the sines the first half is negative, else that of the halves of x */
    bool common;    /* to all texts */
    int64_t size;
};

/* ---- halves of the last axis ---- */

static bool is_last(const struct fuse *f, const struct om_doc_node *n, om_sv of)
{
    const struct om_value *const v = fz_shape(f, of);
    int64_t axis;

    return v && fz_int(n, "axis", 0, &axis) && (axis == -1 || axis == (int64_t)v->rank - 1);
}

static bool is_half_long(const struct fuse *f, om_sv name, int64_t size)
{
    int64_t last;

    return fz_last_dim(f, name, &last) && 2 * last == size;
}

/* Which half of x (0 or 1) name is; -1: none. */
static int half_of(const struct fuse *f, om_sv name, om_sv x, int64_t size)
{
    const struct om_doc_node *const n = fz_maker(f, name);
    const struct om_value *const v = fz_shape(f, x);
    int64_t start[2], axis[2];
    size_t len;

    if (!n || n->n_in == 0 || !v || !om_sv_eq(n->in[0], x) || !is_half_long(f, name, size))
        return -1;
    if (fz_is(n, "", "Split") && n->n_out == 2 && is_last(f, n, x))
        return om_sv_eq(n->out[1], name);
    if (!fz_is(n, "", "Slice") || n->n_in < 4 || !fz_ints(f, n->in[1], start, 2, &len) ||
        len != 1 || !fz_ints(f, n->in[3], axis, 2, &len) || len != 1 ||
        (axis[0] != -1 && axis[0] != (int64_t)v->rank - 1))
        return -1;
    if (n->n_in > 4 && (!fz_ints(f, n->in[4], axis, 2, &len) || len != 1 || axis[0] != 1))
        return -1;
    return start[0] == 0 ? 0 : 2 * start[0] == size || -2 * start[0] == size ? 1 : -1;
}

static const struct om_doc_node *joined(const struct fuse *f, om_sv name)
{
    const struct om_doc_node *const n = fz_made_by(f, name, "Concat");

    return n && n->n_in == 2 && is_last(f, n, name) ? n : NULL;
}

/* The halves of x, exchanged; *negated: the one that comes first now is negative. */
static bool is_exchanged(const struct fuse *f, om_sv name, om_sv x, int64_t size, bool *negated)
{
    const struct om_doc_node *const n = joined(f, name);
    const struct om_doc_node *const minus = n ? fz_made_by(f, n->in[0], "Neg") : NULL;

    *negated = minus != NULL;
    return n && half_of(f, minus ? minus->in[0] : n->in[0], x, size) == 1 &&
           half_of(f, n->in[1], x, size) == 0;
}

/* ---- tables ---- */

static bool is_one(const struct fuse *f, om_dim d)
{
    int64_t v;

    return om_dim_is_const(f->shapes->dims, d, &v) && v == 1;
}

/* [batch, length, size] with an axis for the heads, or [1, length, size] with one or without:
 * *common, as all texts have the same rows. */
static bool for_heads(const struct fuse *f, om_sv name, const struct om_value *x, om_sv *table,
                      bool *common)
{
    const struct om_doc_node *const n = fz_made_by(f, name, "Unsqueeze");
    const struct om_value *v;
    int64_t axis[2];
    size_t len;

    if (n && (n->n_in != 2 || !fz_ints(f, n->in[1], axis, 2, &len) || len != 1 ||
              (axis[0] != 1 && axis[0] != -3)))
        return false;
    *table = n ? n->in[0] : name;
    v = fz_shape(f, *table);
    if (!v || v->rank != 3 || v->dims[1] != x->dims[2] || v->dims[2] != x->dims[3] ||
        v->dtype != x->dtype)
        return false;
    *common = is_one(f, v->dims[0]);
    return *common || (n && v->dims[0] == x->dims[0]);
}

/* Operators that may stand between the joining of the halves and the table. */
static const struct om_doc_node *is_between(const struct fuse *f, om_sv name)
{
    static const char *const ops[] = { "Cos", "Sin", "Cast" };
    const struct om_doc_node *n = fz_made_by(f, name, "Mul");
    double v, tolerance;

    if (n)
        return n->n_in == 2 && fz_scalar(f, n->in[1], &v, &tolerance) ? n : NULL;
    for (size_t i = 0; i < OM_COUNT(ops); i++)
        if ((n = fz_made_by(f, name, ops[i])))
            return n;
    return NULL;
}

/* Both halves of the table are equal, but for the sign of the first where it is negated. */
static bool has_halves(const struct fuse *f, om_sv name, bool negated)
{
    const struct om_doc_node *const n = joined(f, name), *between;
    const struct om_doc_node *const minus = n && negated ? fz_made_by(f, n->in[0], "Neg") : NULL;

    if (n)
        return om_sv_eq(minus ? minus->in[0] : n->in[0], n->in[1]) && negated == (minus != NULL);
    between = negated ? NULL : is_between(f, name);
    return between && has_halves(f, between->in[0], false);
}

/* The second half, computed by itself; an empty name: memory is short. */
static om_sv half_table(struct fuse *f, om_sv name)
{
    const struct om_doc_node *const n = joined(f, name), *between;
    const om_sv key = om_doc_text(f->d, "half %.*s", OM_SV(name));
    struct om_doc_node *made;
    om_sv in[2], half = fz_noted(f, key);
    int64_t to;

    if (n)
        return n->in[1];
    if (half.len > 0)
        return half;
    between = is_between(f, name);
    in[0] = half_table(f, between->in[0]);
    in[1] = between->n_in > 1 ? between->in[1] : (om_sv){ "", 0 };
    half = fz_name(f, name, "half");
    made = in[0].len > 0 ? fz_add(f, "", "", in, between->n_in, half) : NULL;
    if (!made || fz_note(f, key, half) < 0)
        return (om_sv){ "", 0 };
    made->op = between->op;
    if (fz_is(made, "", "Cast") &&
        (!fz_int(between, "to", 0, &to) || !om_doc_put_int(f->d, made, "to", to)))
        return (om_sv){ "", 0 };
    return half;
}

/* Its rows, one text after the other. */
static om_sv rows_of(struct fuse *f, om_sv table, int64_t width)
{
    const om_sv key = om_doc_text(f->d, "rows %.*s", OM_SV(table));
    const int64_t target[] = { -1, width };
    om_sv name = fz_noted(f, key), in[2] = { table };

    if (name.len > 0)
        return name;
    name = fz_name(f, table, "rows");
    if (fz_add_ints(f, target, 2, &in[1]) < 0 || !fz_add(f, "", "Reshape", in, 2, name) ||
        fz_note(f, key, name) < 0)
        return (om_sv){ "", 0 };
    return name;
}

/* ---- the number of every token's row ---- */

static om_sv integer(struct fuse *f, int64_t v)
{
    const om_sv key = om_doc_text(f->d, "integer %" PRId64, v);
    om_sv name = fz_noted(f, key);

    if (name.len > 0)
        return name;
    name = fz_name(f, om_sv_str("fused"), "integer");
    if (name.len == 0 || !om_doc_add_const(f->d, f->g, name, FZ_I64, NULL, 0, &v) ||
        fz_note(f, key, name) < 0)
        return (om_sv){ "", 0 };
    return name;
}

/* int64 [batch, length]: 0, 1, 2, ... */
static om_sv count_rows(struct fuse *f, om_sv table)
{
    const om_sv dims = fz_name(f, table, "extents"), total = fz_name(f, table, "total");
    const om_sv range = fz_name(f, table, "range"), name = fz_name(f, table, "numbers");
    struct om_doc_node *const shape = fz_add(f, "", "Shape", &table, 1, dims);
    struct om_doc_node *const product = fz_add(f, "", "ReduceProd", &dims, 1, total);
    const om_sv limits[] = { integer(f, 0), total, integer(f, 1) };

    if (!shape || !product || !om_doc_put_int(f->d, shape, "start", 0) ||
        !om_doc_put_int(f->d, shape, "end", 2) || !om_doc_put_int(f->d, product, "keepdims", 0) ||
        limits[0].len == 0 || limits[2].len == 0 || !fz_add(f, "", "Range", limits, 3, range) ||
        !fz_add(f, "", "Reshape", (const om_sv[]){ range, dims }, 2, name))
        return (om_sv){ "", 0 };
    return name;
}

static om_sv row_numbers(struct fuse *f, om_sv table, const struct om_value *x)
{
    const om_sv key =
        om_doc_text(f->d, "numbers %" PRIu32 " %" PRIu32, (uint32_t)x->dims[0], x->dims[2]);
    om_sv name = fz_noted(f, key);

    if (name.len > 0)
        return name;
    name = count_rows(f, table);
    return name.len > 0 && fz_note(f, key, name) == 0 ? name : (om_sv){ "", 0 };
}

/* ---- the rule ---- */

static bool read_products(const struct fuse *f, const struct om_doc_node *straight,
                          const struct om_doc_node *crossed, struct rotary *r)
{
    bool common;

    for (uint32_t i = 0; i < 2; i++)
        for (uint32_t k = 0; k < 2; k++) {
            const struct om_value *const x = fz_shape(f, straight->in[i]);

            r->x = straight->in[i];
            if (x && x->rank == 4 && fz_last_dim(f, r->x, &r->size) &&
                is_exchanged(f, crossed->in[k], r->x, r->size, &r->negated) &&
                for_heads(f, straight->in[1 - i], x, &r->cos, &r->common) &&
                for_heads(f, crossed->in[1 - k], x, &r->sin, &common) && r->common == common)
                return has_halves(f, r->cos, false) && has_halves(f, r->sin, !r->negated);
        }
    return false;
}

static bool read_rotary(const struct fuse *f, const struct om_doc_node *n, struct rotary *r)
{
    for (uint32_t i = 0; fz_is(n, "", "Add") && n->n_in == 2 && i < 2; i++) {
        const struct om_doc_node *const straight = fz_made_by(f, n->in[i], "Mul");
        const struct om_doc_node *const crossed = fz_made_by(f, n->in[1 - i], "Mul");

        if (straight && crossed && straight->n_in == 2 && crossed->n_in == 2 &&
            read_products(f, straight, crossed, r))
            return true;
    }
    return false;
}

int fz_rotary(struct fuse *f, struct om_doc_node *n)
{
    const struct om_value *x;
    struct rotary r;
    om_sv cos, sin, in[4];

    if (f->config->disable_rotary_embeddings || f->opset < 15 || !read_rotary(f, n, &r))
        return 0;
    x = fz_shape(f, r.x);
    if (x->dtype != OM_F32 && (x->dtype != OM_F16 || !f->config->optimize_for_gpu))
        return 0;
    cos = half_table(f, r.cos);
    sin = half_table(f, r.sin);
    if (cos.len == 0 || sin.len == 0)
        return fz_no_memory(f);
    in[0] = r.x;
    if (r.common) /* from the first row on */
        OM_TRY(fz_add_ints(f, &(int64_t){ 0 }, 1, &in[1]));
    else
        in[1] = row_numbers(f, cos, x);
    in[2] = rows_of(f, cos, r.size / 2);
    in[3] = rows_of(f, sin, r.size / 2);
    if (in[1].len == 0 || in[2].len == 0 || in[3].len == 0)
        return fz_no_memory(f);
    return fz_become(f, n, "com.microsoft", "RotaryEmbedding", in, 4);
}
