/* src/ir/infer_shape.c: inference of operators that move, cut and make tensors without computing on
 * them. */
#include "ir/internal.h"

/* Bounds at or beyond which exporters write "to the end" of an axis. */
#define FAR_END ((int64_t)INT32_MAX)

static bool is_const(const struct om_inf *c, om_dim a, int64_t *v)
{
    return om_dim_is_const(c->d, a, v);
}

/* A list that gives a shape has to be 1-D. 1: contents known, 0: only its length, negative: error.
 */
static int shape_list(struct om_inf *c, uint32_t i, const om_dim **content, uint32_t *length)
{
    const struct om_value *v = om_inf_in(c, i);
    const int rc = om_inf_vector(c, i, content, length);

    if (rc >= 0 && v->rank != 1)
        return om_fail(c->err, OM_E_FORMAT, "input %" PRIu32 " is a scalar, not a list", i);
    if (rc >= 0 && *length == UINT32_MAX)
        return om_fail(c->err, OM_E_UNSUPPORTED,
                       "the rank of the result depends on the length of input %" PRIu32, i);
    if (rc >= 0 && *length > OM_RANK_MAX)
        return om_fail(c->err, OM_E_UNSUPPORTED, "rank %" PRIu32 " is above %d", *length,
                       OM_RANK_MAX);
    return rc;
}

static struct om_shape fresh_shape(const struct om_inf *c, uint32_t rank)
{
    struct om_shape s = { .rank = rank };

    for (uint32_t i = 0; i < rank && i < OM_RANK_MAX; i++)
        s.dims[i] = om_dim_fresh(c->d);
    return s;
}

/* Contents go through operators that only change the shape. */
static int keep_content(struct om_inf *c, const struct om_value *x)
{
    return x->content ? om_inf_content(c, 0, x->content, x->n_content) : 0;
}

/* ---- Reshape and its kin ---- */

static bool has_division(const struct om_inf *c, om_dim a)
{
    const struct om_dim_term *t;
    const size_t n = om_dim_terms(c->d, a, &t);

    for (size_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < t[i].n_atoms; j++)
            if (om_dim_atom_at(c->d, t[i].atoms[j])->is_div)
                return true;
    return false;
}

/* Whether a and b may be equal for some values of the symbols that a model is run with. Divisions
 * get the benefit of the doubt: 2*floor(s/2) is s where s is even. */
static bool may_equal(const struct om_inf *c, om_dim a, om_dim b)
{
    return a == 0 || b == 0 || a == b || om_dim_is_unknown(c->d, a) || om_dim_is_unknown(c->d, b) ||
           has_division(c, a) || has_division(c, b);
}

static int reshape_fail(struct om_inf *c, const struct om_value *x, const om_dim *want, uint32_t n)
{
    return om_fail(c->err, OM_E_FORMAT, "%s cannot be reshaped to %s",
                   om_inf_shape_text(c, x->dims, x->rank), om_inf_shape_text(c, want, n));
}

/* The target shape with zeros replaced and the position of -1 in *open (or n). */
static int reshape_target(struct om_inf *c, const struct om_value *x, const om_dim *want,
                          struct om_shape *s, uint32_t *open)
{
    const bool allow_zero = om_node_int(c->n, "allowzero", 0) != 0;
    int64_t v;

    *open = s->rank;
    for (uint32_t i = 0; i < s->rank; i++) {
        s->dims[i] = want[i];
        if (!is_const(c, want[i], &v) || v > 0)
            continue;
        if (v == 0 && !allow_zero && i >= x->rank)
            return reshape_fail(c, x, want, s->rank);
        if (v == 0 && !allow_zero)
            s->dims[i] = x->dims[i];
        if (v == -1 && *open == s->rank)
            *open = i;
        else if (v < 0)
            return reshape_fail(c, x, want, s->rank);
    }
    return 0;
}

int om_inf_reshape(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0);
    const om_dim total = om_inf_product(c, x->dims, x->rank);
    const om_dim *want;
    struct om_shape s;
    uint32_t open;
    om_dim rest, back;
    const int rc = shape_list(c, 1, &want, &s.rank);

    if (rc < 0)
        return rc;
    if (rc == 0) {
        s = fresh_shape(c, s.rank);
        if (s.rank == 1 && total != 0)
            s.dims[0] = total;
        return om_inf_set(c, 0, x->dtype, &s);
    }
    OM_TRY(reshape_target(c, x, want, &s, &open));
    if (open < s.rank)
        s.dims[open] = om_dim_const(c->d, 1);
    rest = back = om_inf_product(c, s.dims, s.rank);
    if (open < s.rank) {
        s.dims[open] = om_dim_div(c->d, total, rest);
        if (s.dims[open] == 0)
            return reshape_fail(c, x, want, s.rank);
        back = om_dim_mul(c->d, s.dims[open], rest);
    }
    if (!may_equal(c, total, back))
        return reshape_fail(c, x, want, s.rank);
    OM_TRY(om_inf_set(c, 0, x->dtype, &s));
    return keep_content(c, x);
}

int om_inf_expand(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0);
    struct om_shape s = om_inf_shape(x);
    const om_dim *want;
    uint32_t n;
    const int rc = shape_list(c, 1, &want, &n);

    if (rc < 0)
        return rc;
    if (rc == 0)
        s = fresh_shape(c, OM_MAX(s.rank, n));
    else
        OM_TRY(om_inf_broadcast(c, &s, &(struct om_value){ .rank = n, .dims = want }));
    return om_inf_set(c, 0, x->dtype, &s);
}

int om_inf_tile(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0);
    struct om_shape s = om_inf_shape(x);
    const om_dim *repeats;
    uint32_t n;
    const int rc = shape_list(c, 1, &repeats, &n);

    if (rc < 0)
        return rc;
    if (n != s.rank)
        return om_fail(c->err, OM_E_FORMAT, "%" PRIu32 " repeats for rank %" PRIu32, n, s.rank);
    if (rc == 0)
        s = fresh_shape(c, s.rank);
    for (uint32_t i = 0; rc > 0 && i < n; i++)
        s.dims[i] = om_dim_mul(c->d, s.dims[i], repeats[i]);
    return om_inf_set(c, 0, x->dtype, &s);
}

static int64_t clamp(int64_t v, int64_t lo, int64_t hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

int om_inf_shape_op(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0);
    const int64_t rank = x->rank;
    int64_t begin = om_node_int(c->n, "start", 0), end = om_node_int(c->n, "end", rank);
    struct om_shape s = { .rank = 1 };

    begin = clamp(begin < 0 ? begin + rank : begin, 0, rank);
    end = clamp(end < 0 ? end + rank : end, begin, rank);
    s.dims[0] = om_dim_const(c->d, end - begin);
    OM_TRY(om_inf_set(c, 0, OM_I64, &s));
    return om_inf_content(c, 0, x->dims + begin, (size_t)(end - begin));
}

int om_inf_dims(struct om_inf *c)
{
    const struct om_attr *a = om_node_attr(c->n, "dims");
    struct om_shape s = { .rank = 1 };

    if (!a || a->kind != OM_ATTR_DIMS)
        return om_fail(c->err, OM_E_INTERNAL, "attribute dims is missing");
    s.dims[0] = om_dim_const(c->d, a->n);
    for (uint32_t i = 0; i < a->n; i++)
        if (a->dims[i] == 0)
            return om_fail(c->err, OM_E_LIMIT, "dim %" PRIu32 " is too large", i);
    OM_TRY(om_inf_set(c, 0, OM_I64, &s));
    return om_inf_content(c, 0, a->dims, a->n);
}

/* ---- joining and cutting ---- */

static int concat_content(struct om_inf *c)
{
    om_dim all[OM_CONTENT_MAX];
    size_t n = 0;

    for (uint32_t i = 0; i < c->n->n_in; i++) {
        const struct om_value *v = om_inf_in(c, i);
        if (!v->content || v->n_content > OM_CONTENT_MAX - n)
            return 0;
        memcpy(all + n, v->content, v->n_content * sizeof(*all));
        n += v->n_content;
    }
    return om_inf_content(c, 0, all, n);
}

/* Join the shape of v to s along axis. */
static int concat_one(struct om_inf *c, struct om_shape *s, const struct om_value *v, uint32_t axis)
{
    if (v->rank != s->rank)
        return om_fail(c->err, OM_E_FORMAT, "ranks differ: %" PRIu32 " and %" PRIu32, s->rank,
                       v->rank);
    for (uint32_t k = 0; k < s->rank; k++) {
        const om_dim both = k == axis ? om_dim_add(c->d, s->dims[k], v->dims[k])
                                      : om_inf_merge(c, s->dims[k], v->dims[k]);
        if (both == 0)
            return om_fail(c->err, OM_E_FORMAT, "axis %" PRIu32 " differs: %s and %s", k,
                           om_inf_text(c, s->dims[k]), om_inf_text(c, v->dims[k]));
        s->dims[k] = both;
    }
    return 0;
}

int om_inf_concat(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0);
    struct om_shape s = om_inf_shape(x);
    uint32_t axis;

    if (!om_node_attr(c->n, "axis"))
        return om_fail(c->err, OM_E_FORMAT, "attribute axis is missing");
    OM_TRY(om_inf_axis(c, om_node_int(c->n, "axis", 0), s.rank, &axis));
    for (uint32_t i = 1; i < c->n->n_in; i++) {
        OM_TRY(om_inf_same_dtype(c, 0, i));
        OM_TRY(concat_one(c, &s, om_inf_in(c, i), axis));
    }
    OM_TRY(om_inf_set(c, 0, x->dtype, &s));
    return s.rank == 1 ? concat_content(c) : 0;
}

/* The sizes of equal parts: the last is smaller where the extent is not a multiple. */
static int split_even(struct om_inf *c, om_dim whole, om_dim *sizes)
{
    const int64_t n = c->n->n_out;
    const om_dim part = om_dim_div(c->d, whole, om_dim_const(c->d, n));
    int64_t extent, chunk;

    for (int64_t i = 0; i < n; i++)
        sizes[i] = part;
    if (om_dim_mul(c->d, part, om_dim_const(c->d, n)) == whole)
        return 0;
    if (!is_const(c, whole, &extent)) {
        for (int64_t i = 0; i < n; i++)
            sizes[i] = om_dim_fresh(c->d);
        return 0;
    }
    chunk = extent / n + 1;
    if (!om_node_attr(c->n, "num_outputs") || chunk * (n - 1) > extent)
        return om_fail(c->err, OM_E_FORMAT,
                       "an extent of %" PRId64 " does not split into %" PRId64 " parts", extent, n);
    for (int64_t i = 0; i < n - 1; i++)
        sizes[i] = om_dim_const(c->d, chunk);
    sizes[n - 1] = om_dim_const(c->d, extent - chunk * (n - 1));
    return 0;
}

/* The sizes given by input 1. */
static int split_given(struct om_inf *c, om_dim whole, om_dim *sizes)
{
    const om_dim *given;
    om_dim sum = om_dim_const(c->d, 0);
    uint32_t n;
    const int rc = om_inf_vector(c, 1, &given, &n);

    if (rc < 0)
        return rc;
    if (n != c->n->n_out)
        return om_fail(c->err, OM_E_FORMAT, "%" PRIu32 " sizes for %" PRIu32 " outputs", n,
                       c->n->n_out);
    for (uint32_t i = 0; i < n; i++) {
        sizes[i] = rc ? given[i] : om_dim_fresh(c->d);
        sum = om_dim_add(c->d, sum, sizes[i]);
    }
    if (!may_equal(c, sum, whole))
        return om_fail(c->err, OM_E_FORMAT, "the parts sum to %s, the axis has %s",
                       om_inf_text(c, sum), om_inf_text(c, whole));
    return 0;
}

int om_inf_split(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0);
    struct om_shape s = om_inf_shape(x);
    const int64_t parts = om_node_int(c->n, "num_outputs", c->n->n_out);
    om_dim *sizes = om_arena_array(c->g->arena, c->n->n_out, sizeof(*sizes));
    uint32_t axis;

    if (!sizes)
        return om_fail(c->err, OM_E_NOMEM, "out of memory for shapes");
    OM_TRY(om_inf_axis(c, om_node_int(c->n, "axis", 0), s.rank, &axis));
    if (parts != c->n->n_out)
        return om_fail(c->err, OM_E_FORMAT, "num_outputs is %" PRId64 ", outputs are %" PRIu32,
                       parts, c->n->n_out);
    if (om_inf_in(c, 1))
        OM_TRY(split_given(c, s.dims[axis], sizes));
    else
        OM_TRY(split_even(c, s.dims[axis], sizes));
    for (uint32_t i = 0; i < c->n->n_out; i++) {
        s.dims[axis] = sizes[i];
        OM_TRY(om_inf_set(c, i, x->dtype, &s));
    }
    return 0;
}

/* ---- Slice ---- */

/* One axis of a Slice; begin is where it starts once known (-1 before). */
struct cut {
    om_dim start, end;
    int64_t step, begin;
};

/* A bound of a forward slice of an axis with extent d, counted from the front; 0 when it is not
 * known. A symbolic bound is taken to lie inside the axis: that is what it was computed for. */
static om_dim forward_bound(struct om_inf *c, om_dim bound, om_dim d, bool is_end)
{
    int64_t v, extent;
    const bool known = is_const(c, d, &extent);

    if (!is_const(c, bound, &v))
        return om_inf_negative(c, bound) ? om_dim_add(c->d, d, bound) : bound;
    if (known)
        return om_dim_const(c->d, v < 0 ? OM_MAX(v, -extent) + extent : OM_MIN(v, extent));
    if (v >= FAR_END)
        return d;
    if (v < 0)
        return v <= -FAR_END ? om_dim_const(c->d, 0) : om_dim_add(c->d, d, bound);
    return is_end && v > 1
               ? 0
               : bound; /* min(v, d) has no form; an axis is taken to have one element */
}

static om_dim slice_forward(struct om_inf *c, om_dim d, struct cut *cut)
{
    const om_dim lo = forward_bound(c, cut->start, d, false);
    const om_dim hi = forward_bound(c, cut->end, d, true);
    om_dim n = om_dim_sub(c->d, hi, lo);
    int64_t v;

    if (!is_const(c, lo, &cut->begin))
        cut->begin = -1;
    if (is_const(c, n, &v) && v < 0)
        return om_dim_const(c->d, 0);
    if (cut->step == 1)
        return n;
    n = om_dim_add(c->d, n, om_dim_const(c->d, cut->step - 1));
    return om_dim_div(c->d, n, om_dim_const(c->d, cut->step));
}

static om_dim slice_backward(struct om_inf *c, om_dim d, struct cut *cut)
{
    int64_t start, end, extent;

    if (!is_const(c, cut->start, &start) || !is_const(c, cut->end, &end))
        return 0;
    if (!is_const(c, d, &extent)) /* only the whole axis reversed is known */
        return cut->step == -1 && (start == -1 || start >= FAR_END) && end <= -FAR_END ? d : 0;
    start = clamp(start < 0 ? OM_MAX(start, -extent - 1) + extent : start, -1, extent - 1);
    end = clamp(end < 0 ? OM_MAX(end, -extent - 1) + extent : end, -1, extent - 1);
    cut->begin = start;
    if (start <= end || cut->step == INT64_MIN)
        return om_dim_const(c->d, start > end);
    return om_dim_const(c->d, (start - end - cut->step - 1) / -cut->step);
}

static om_dim slice_axis(struct om_inf *c, om_dim d, struct cut *cut)
{
    const om_dim n = cut->step > 0 ? slice_forward(c, d, cut) : slice_backward(c, d, cut);

    return n != 0 ? n : om_dim_fresh(c->d);
}

/* The axes and steps of a Slice with n bounds; both have defaults. */
static int slice_axes(struct om_inf *c, uint32_t rank, uint32_t n, uint32_t *axes, int64_t *steps)
{
    int64_t given[OM_RANK_MAX];
    uint32_t n_axes = n, n_steps = n, seen = 0;

    for (uint32_t i = 0; i < n; i++) {
        given[i] = i;
        steps[i] = 1;
    }
    if (om_inf_in(c, 3))
        OM_TRY(om_inf_ints(c, 3, given, OM_RANK_MAX, &n_axes));
    if (om_inf_in(c, 4))
        OM_TRY(om_inf_ints(c, 4, steps, OM_RANK_MAX, &n_steps));
    if (n_axes != n || n_steps != n)
        return om_fail(c->err, OM_E_FORMAT,
                       "%" PRIu32 " starts, %" PRIu32 " axes and %" PRIu32 " steps", n, n_axes,
                       n_steps);
    for (uint32_t i = 0; i < n; i++) {
        OM_TRY(om_inf_axis(c, given[i], rank, &axes[i]));
        if (steps[i] == 0)
            return om_fail(c->err, OM_E_FORMAT, "step 0 on axis %" PRIu32, axes[i]);
        if (seen & 1u << axes[i])
            return om_fail(c->err, OM_E_FORMAT, "axis %" PRIu32 " is cut twice", axes[i]);
        seen |= 1u << axes[i];
    }
    return 0;
}

static int slice_content(struct om_inf *c, const struct om_value *x, const struct cut *cut,
                         om_dim extent)
{
    om_dim out[OM_CONTENT_MAX];
    int64_t n;

    if (!x->content || x->rank != 1 || cut->begin < 0 || !is_const(c, extent, &n))
        return 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = cut->begin + i * cut->step;
        if (at < 0 || at >= x->n_content)
            return 0;
        out[i] = x->content[at];
    }
    return om_inf_content(c, 0, out, (size_t)n);
}

int om_inf_slice(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0);
    struct om_shape s = om_inf_shape(x);
    struct cut cut = { .begin = -1, .step = 1 };
    const om_dim *starts, *ends;
    uint32_t axes[OM_RANK_MAX], n, n_ends;
    int64_t steps[OM_RANK_MAX];
    const int start_rc = om_inf_vector(c, 1, &starts, &n);
    const int end_rc = start_rc < 0 ? start_rc : om_inf_vector(c, 2, &ends, &n_ends);

    if (end_rc < 0)
        return end_rc;
    if (n != n_ends || n > s.rank)
        return om_fail(c->err, OM_E_FORMAT,
                       "%" PRIu32 " starts and %" PRIu32 " ends for rank %" PRIu32, n, n_ends,
                       s.rank);
    OM_TRY(slice_axes(c, s.rank, n, axes, steps));
    for (uint32_t i = 0; i < n; i++) {
        cut = (struct cut){ .step = steps[i], .begin = -1 };
        if (start_rc && end_rc) {
            cut.start = starts[i];
            cut.end = ends[i];
            s.dims[axes[i]] = slice_axis(c, s.dims[axes[i]], &cut);
        } else {
            s.dims[axes[i]] = om_dim_fresh(c->d);
        }
    }
    OM_TRY(om_inf_set(c, 0, x->dtype, &s));
    return n == 1 ? slice_content(c, x, &cut, s.dims[0]) : n == 0 ? keep_content(c, x) : 0;
}

/* ---- lookups ---- */

static int check_indices(struct om_inf *c, uint32_t i)
{
    const struct om_value *v = om_inf_in(c, i);

    if (v->dtype == OM_I64 || v->dtype == OM_I32)
        return 0;
    return om_fail(c->err, OM_E_FORMAT, "indices are %s, not int64 or int32",
                   om_dtype_text(v->dtype));
}

/* Known indices have to lie inside a known axis; contents are looked up. */
static int gather_known(struct om_inf *c, const struct om_value *x, const struct om_value *indices,
                        om_dim axis_extent)
{
    om_dim out[OM_CONTENT_MAX];
    int64_t extent;

    if (!indices->content || !is_const(c, axis_extent, &extent))
        return 0;
    for (uint32_t k = 0; k < indices->n_content; k++) {
        int64_t at;
        out[k] = 0;
        if (!is_const(c, indices->content[k], &at))
            continue;
        if (at < -extent || at >= extent)
            return om_fail(c->err, OM_E_FORMAT, "index %" PRId64 " is outside an axis of %" PRId64,
                           at, extent);
        if (x->content && x->rank == 1)
            out[k] = x->content[at < 0 ? at + extent : at];
    }
    return om_inf_content(c, 0, out, indices->n_content);
}

int om_inf_gather(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0), *indices = om_inf_in(c, 1);
    struct om_shape s = { .rank = 0 };
    uint32_t axis;

    OM_TRY(check_indices(c, 1));
    OM_TRY(om_inf_axis(c, om_node_int(c->n, "axis", 0), x->rank, &axis));
    if (x->rank + indices->rank - 1 > OM_RANK_MAX)
        return om_fail(c->err, OM_E_UNSUPPORTED, "rank %" PRIu32 " is above %d",
                       x->rank + indices->rank - 1, OM_RANK_MAX);
    for (uint32_t i = 0; i < axis; i++)
        s.dims[s.rank++] = x->dims[i];
    for (uint32_t i = 0; i < indices->rank; i++)
        s.dims[s.rank++] = indices->dims[i];
    for (uint32_t i = axis + 1; i < x->rank; i++)
        s.dims[s.rank++] = x->dims[i];
    OM_TRY(om_inf_set(c, 0, x->dtype, &s));
    return gather_known(c, x, indices, x->dims[axis]);
}

int om_inf_gather_elements(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0), *indices = om_inf_in(c, 1);
    const struct om_shape s = om_inf_shape(indices);
    uint32_t axis;

    OM_TRY(check_indices(c, 1));
    OM_TRY(om_inf_axis(c, om_node_int(c->n, "axis", 0), x->rank, &axis));
    if (indices->rank != x->rank)
        return om_fail(c->err, OM_E_FORMAT, "indices have rank %" PRIu32 ", data %" PRIu32,
                       indices->rank, x->rank);
    return om_inf_set(c, 0, x->dtype, &s);
}

int om_inf_gather_nd(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0), *indices = om_inf_in(c, 1);
    const int64_t batch = om_node_int(c->n, "batch_dims", 0);
    struct om_shape s = om_inf_shape(indices);
    int64_t depth;

    OM_TRY(check_indices(c, 1));
    if (indices->rank == 0 || !is_const(c, indices->dims[indices->rank - 1], &depth))
        return om_fail(c->err, OM_E_UNSUPPORTED, "the last axis of the indices %s has to be known",
                       om_inf_shape_text(c, indices->dims, indices->rank));
    if (batch < 0 || batch >= indices->rank || depth < 1 || depth > (int64_t)x->rank - batch)
        return om_fail(c->err, OM_E_FORMAT,
                       "%" PRId64 " indices after %" PRId64 " batch axes do not fit %s", depth,
                       batch, om_inf_shape_text(c, x->dims, x->rank));
    for (int64_t i = 0; i < batch; i++) {
        s.dims[i] = om_inf_merge(c, x->dims[i], indices->dims[i]);
        if (s.dims[i] == 0)
            return om_fail(c->err, OM_E_FORMAT, "batch axis %" PRId64 " differs: %s and %s", i,
                           om_inf_text(c, x->dims[i]), om_inf_text(c, indices->dims[i]));
    }
    s.rank--;
    for (uint32_t i = (uint32_t)(batch + depth); i < x->rank; i++) {
        if (s.rank == OM_RANK_MAX)
            return om_fail(c->err, OM_E_UNSUPPORTED, "the rank is above %d", OM_RANK_MAX);
        s.dims[s.rank++] = x->dims[i];
    }
    return om_inf_set(c, 0, x->dtype, &s);
}

/* ---- axes moved, added and taken away ---- */

int om_inf_transpose(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0);
    const struct om_attr *perm = om_node_attr(c->n, "perm");
    struct om_shape s = { .rank = x->rank };
    uint32_t seen = 0;

    if (perm && (perm->kind != OM_ATTR_INTS || perm->n != x->rank))
        return om_fail(c->err, OM_E_FORMAT, "perm has %" PRIu32 " entries, the input rank %" PRIu32,
                       perm->n, x->rank);
    for (uint32_t i = 0; i < x->rank; i++) {
        const int64_t from = perm ? perm->ints[i] : x->rank - 1 - i;
        if (from < 0 || from >= x->rank || (seen & 1u << from))
            return om_fail(c->err, OM_E_FORMAT,
                           "perm is not a permutation: entry %" PRIu32 " is %" PRId64, i, from);
        seen |= 1u << from;
        s.dims[i] = x->dims[from];
    }
    OM_TRY(om_inf_set(c, 0, x->dtype, &s));
    return x->rank < 2 ? keep_content(c, x) : 0;
}

/* The axes of input 1 within rank, as a set. */
static int axis_set(struct om_inf *c, uint32_t rank, uint32_t *set)
{
    int64_t axes[OM_RANK_MAX];
    uint32_t n, axis;

    *set = 0;
    OM_TRY(om_inf_ints(c, 1, axes, OM_RANK_MAX, &n));
    for (uint32_t i = 0; i < n; i++) {
        OM_TRY(om_inf_axis(c, axes[i], rank, &axis));
        if (*set & 1u << axis)
            return om_fail(c->err, OM_E_FORMAT, "axis %" PRIu32 " is given twice", axis);
        *set |= 1u << axis;
    }
    return 0;
}

int om_inf_squeeze(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0);
    struct om_shape s = { .rank = 0 };
    const bool all = !om_inf_in(c, 1);
    uint32_t set = 0;
    int64_t v;

    if (!all)
        OM_TRY(axis_set(c, x->rank, &set));
    for (uint32_t i = 0; i < x->rank; i++) {
        const bool known = is_const(c, x->dims[i], &v);
        if (all ? !known || v != 1 : !(set & 1u << i))
            s.dims[s.rank++] = x->dims[i];
        else if (known && v != 1)
            return om_fail(c->err, OM_E_FORMAT, "axis %" PRIu32 " has %" PRId64 " elements, not 1",
                           i, v);
    }
    OM_TRY(om_inf_set(c, 0, x->dtype, &s));
    return keep_content(c, x);
}

int om_inf_unsqueeze(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0);
    struct om_shape s = { .rank = x->rank };
    const om_dim *axes;
    uint32_t n, set, k = 0;
    const int rc = om_inf_vector(c, 1, &axes, &n);

    if (rc < 0)
        return rc;
    if (n > OM_RANK_MAX - x->rank)
        return om_fail(c->err, OM_E_UNSUPPORTED, "the rank is above %d", OM_RANK_MAX);
    s.rank += n;
    OM_TRY(axis_set(c, s.rank, &set));
    for (uint32_t i = 0; i < s.rank; i++)
        s.dims[i] = set & 1u << i ? om_dim_const(c->d, 1) : x->dims[k++];
    OM_TRY(om_inf_set(c, 0, x->dtype, &s));
    return keep_content(c, x);
}

int om_inf_trilu(struct om_inf *c)
{
    const struct om_value *x = om_inf_in(c, 0), *k = om_inf_in(c, 1);
    const struct om_shape s = om_inf_shape(x);

    if (x->rank < 2)
        return om_fail(c->err, OM_E_FORMAT, "input of rank %" PRIu32 " is not a matrix", x->rank);
    if (k && (k->dtype != OM_I64 || k->rank > 1))
        return om_fail(c->err, OM_E_FORMAT, "k is %s%s, not an int64 scalar",
                       om_dtype_text(k->dtype), om_inf_shape_text(c, k->dims, k->rank));
    return om_inf_set(c, 0, x->dtype, &s);
}

/* ---- tensors made from numbers ---- */

/* The only element of input i as a dim; 0 when it is not known. */
static om_dim scalar_content(const struct om_inf *c, uint32_t i)
{
    const struct om_value *v = om_inf_in(c, i);

    return v->content && v->n_content == 1 ? v->content[0] : 0;
}

/* ceil((limit - start) / step), 0 when it is not known. */
static om_dim range_extent(struct om_inf *c, om_dim start, om_dim limit, int64_t step)
{
    om_dim n = step > 0 ? om_dim_sub(c->d, limit, start) : om_dim_sub(c->d, start, limit);
    const int64_t by = step > 0 ? step : -step;
    int64_t v;

    if (is_const(c, n, &v) && v < 0)
        return om_dim_const(c->d, 0);
    n = om_dim_add(c->d, n, om_dim_const(c->d, by - 1));
    return om_dim_div(c->d, n, om_dim_const(c->d, by));
}

int om_inf_range(struct om_inf *c)
{
    const om_dim start = scalar_content(c, 0);
    struct om_shape s = { .rank = 1 };
    om_dim out[OM_CONTENT_MAX];
    int64_t step = 0, n;

    OM_TRY(om_inf_class(c, 0, OM_CLASS_NUMBER));
    for (uint32_t i = 0; i < 3; i++) {
        OM_TRY(om_inf_same_dtype(c, 0, i));
        if (om_inf_in(c, i)->rank > 1)
            return om_fail(c->err, OM_E_FORMAT, "input %" PRIu32 " is not a scalar", i);
    }
    if (is_const(c, scalar_content(c, 2), &step) && (step == 0 || step == INT64_MIN))
        return om_fail(c->err, OM_E_FORMAT, "the step is %" PRId64, step);
    if (step != 0)
        s.dims[0] = range_extent(c, start, scalar_content(c, 1), step);
    if (s.dims[0] == 0)
        s.dims[0] = om_dim_fresh(c->d);
    OM_TRY(om_inf_set(c, 0, om_inf_in(c, 0)->dtype, &s));
    if (start == 0 || !is_const(c, s.dims[0], &n) || n > OM_CONTENT_MAX)
        return 0;
    for (int64_t i = 0; i < n; i++)
        out[i] = om_dim_add(c->d, start,
                            om_dim_mul(c->d, om_dim_const(c->d, i), om_dim_const(c->d, step)));
    return om_inf_content(c, 0, out, (size_t)n);
}

int om_inf_constant_of_shape(struct om_inf *c)
{
    const struct om_attr *a = om_node_attr(c->n, "value");
    const struct om_weight *w = a && a->kind == OM_ATTR_TENSOR ? a->tensor : NULL;
    const enum om_dtype dtype = w ? w->dtype : OM_F32;
    om_dim out[OM_CONTENT_MAX];
    struct om_shape s;
    const om_dim *want;
    int64_t n, fill;
    const int rc = shape_list(c, 0, &want, &s.rank);

    if (rc < 0)
        return rc;
    if (a && (!w || !w->data || om_weight_bytes(w) != om_dtype_size(dtype)))
        return om_fail(c->err, OM_E_FORMAT, "attribute value is not a tensor with one element");
    if (rc == 0)
        s = fresh_shape(c, s.rank);
    else if (s.rank > 0)
        memcpy(s.dims, want, s.rank * sizeof(*want));
    OM_TRY(om_inf_set(c, 0, dtype, &s));
    n = 1;
    if (!om_content_dtype(dtype) || s.rank > 1 || (s.rank == 1 && !is_const(c, s.dims[0], &n)) ||
        n > OM_CONTENT_MAX)
        return 0;
    fill = om_content_load(w->data, dtype, 0);
    for (int64_t i = 0; i < n; i++)
        out[i] = om_dim_const(c->d, fill);
    return om_inf_content(c, 0, out, (size_t)n);
}
