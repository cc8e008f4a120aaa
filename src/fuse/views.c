/* src/fuse/views.c: operators that move, repeat or reinterpret elements, where they change nothing
 * or where two of them do the work of one. */
#include "fuse/internal.h"

#define CHAIN_MAX 16 /* views of views; in a broken file they may go in circles */

/* Only the shape changes; elements and their order stay. */
static const char *const view_ops[] = { "Reshape", "Squeeze", "Unsqueeze", "Flatten" };

static bool is_view(const struct om_doc_node *n)
{
    for (size_t i = 0; n && n->n_in > 0 && n->n_out == 1 && i < OM_COUNT(view_ops); i++)
        if (fz_is(n, "", view_ops[i]))
            return true;
    return false;
}

static const struct om_doc_node *view_by(const struct fuse *f, om_sv name)
{
    for (size_t i = 0; i < OM_COUNT(view_ops); i++) {
        const struct om_doc_node *const n = fz_made_by(f, name, view_ops[i]);

        if (n && n->n_out == 1)
            return n;
    }
    return NULL;
}

/* ---- nothing changes ---- */

static bool perm_of(const struct fuse *f, const struct om_doc_node *n, int64_t *perm, size_t *len)
{
    const struct om_value *const x = fz_shape(f, n->in[0]);

    if (om_doc_attr_ints(n, "perm", perm, OM_RANK_MAX, len, NULL) < 0 || *len > OM_RANK_MAX)
        return false;
    if (*len == 0 && x) /* reversed */
        for (*len = 0; *len < x->rank; (*len)++)
            perm[*len] = (int64_t)(x->rank - 1 - *len);
    return *len > 0;
}

static bool is_identity(const int64_t *perm, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (perm[i] != (int64_t)i)
            return false;
    return true;
}

static bool keeps_order(const struct fuse *f, const struct om_doc_node *n)
{
    int64_t perm[OM_RANK_MAX];
    size_t len;

    return fz_is(n, "", "Transpose") && n->n_in == 1 && perm_of(f, n, perm, &len) &&
           is_identity(perm, len);
}

static bool all_ints(const struct fuse *f, const struct om_doc_node *n, uint32_t i, int64_t want)
{
    int64_t v[OM_RANK_MAX];
    size_t len;

    if (i >= n->n_in || n->in[i].len == 0)
        return true;
    if (!fz_ints(f, n->in[i], v, OM_COUNT(v), &len))
        return false;
    while (len > 0)
        if (v[--len] != want)
            return false;
    return true;
}

/* Every start is the first element: 0, or as far from the end as the axis is long. */
static bool starts_in_front(const struct fuse *f, const struct om_doc_node *n)
{
    const struct om_value *const x = fz_shape(f, n->in[0]), *const starts = fz_shape(f, n->in[1]);
    struct om_dims *const dims = f->shapes->dims;
    int64_t axes[OM_RANK_MAX], v;
    size_t len;

    if (!x || !starts || !starts->content || starts->n_content > OM_RANK_MAX)
        return false;
    for (uint32_t i = 0; i < starts->n_content; i++)
        axes[i] = i;
    if (n->n_in > 3 && n->in[3].len > 0 &&
        (!fz_ints(f, n->in[3], axes, OM_COUNT(axes), &len) || len != starts->n_content))
        return false;
    for (uint32_t i = 0; i < starts->n_content; i++) {
        const int64_t axis = axes[i] < 0 ? axes[i] + (int64_t)x->rank : axes[i];

        if (axis < 0 || axis >= (int64_t)x->rank)
            return false;
        if (om_dim_is_const(dims, starts->content[i], &v) && v == 0)
            continue;
        if (!om_dim_is_const(dims, om_dim_add(dims, starts->content[i], x->dims[axis]), &v) ||
            v != 0)
            return false;
    }
    return true;
}

/* From the first element on, one by one: as many elements are all of them. */
static bool cuts_nothing(const struct fuse *f, const struct om_doc_node *n)
{
    return fz_is(n, "", "Slice") && n->n_in >= 3 && starts_in_front(f, n) && all_ints(f, n, 4, 1) &&
           fz_same_shape(f, n->in[0], n->out[0]);
}

static bool repeats_nothing(const struct fuse *f, const struct om_doc_node *n)
{
    return (fz_is(n, "", "Expand") || fz_is(n, "", "Tile")) && n->n_in == 2 &&
           fz_same_shape(f, n->in[0], n->out[0]);
}

static bool joins_nothing(const struct om_doc_node *n)
{
    return (fz_is(n, "", "Concat") || fz_is(n, "", "Sum") || fz_is(n, "", "Max") ||
            fz_is(n, "", "Min")) &&
           n->n_in == 1;
}

int fz_drop_moves(struct fuse *f, struct om_doc_node *n)
{
    if (n->n_out != 1 || n->n_in == 0 || n->in[0].len == 0)
        return 0;
    if (keeps_order(f, n) || cuts_nothing(f, n) || repeats_nothing(f, n) || joins_nothing(n) ||
        (is_view(n) && fz_same_shape(f, n->in[0], n->out[0])))
        return fz_drop(f, n, n->in[0]);
    return 0;
}

/* ---- an Expand that the next operator does as well ---- */

static const struct {
    const char *op;
    uint32_t matrix; /* axes at the end that are not broadcast */
} spreading[] = {
    { "Add", 0 },
    { "Sub", 0 },
    { "Mul", 0 },
    { "Div", 0 },
    { "Pow", 0 },
    { "Mod", 0 },
    { "And", 0 },
    { "Or", 0 },
    { "Xor", 0 },
    { "Equal", 0 },
    { "Greater", 0 },
    { "Less", 0 },
    { "GreaterOrEqual", 0 },
    { "LessOrEqual", 0 },
    { "Min", 0 },
    { "Max", 0 },
    { "Where", 0 },
    { "MatMul", 2 },
};

/* Another operand has this extent on the axis (from the end), so the result has it anyway. */
static bool others_have(const struct fuse *f, const struct om_doc_node *n, uint32_t i,
                        uint32_t axis, om_dim extent)
{
    for (uint32_t k = 0; k < n->n_in; k++) {
        const struct om_value *const v = k == i ? NULL : fz_shape(f, n->in[k]);

        if (v && axis <= v->rank && v->dims[v->rank - axis] == extent)
            return true;
    }
    return false;
}

static bool spreads_again(const struct fuse *f, const struct om_doc_node *n, uint32_t i,
                          const struct om_value *x, const struct om_value *wide, uint32_t matrix)
{
    if (x->rank < matrix || wide->rank < matrix)
        return false;
    for (uint32_t axis = 1; axis <= wide->rank; axis++) {
        const om_dim extent = wide->dims[wide->rank - axis];

        if (axis <= x->rank && x->dims[x->rank - axis] == extent)
            continue;
        if (axis <= matrix || !others_have(f, n, i, axis, extent))
            return false;
    }
    return true;
}

static int read_narrow(struct fuse *f, struct om_doc_node *n, uint32_t matrix)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        const struct om_doc_node *const e = fz_made_by(f, n->in[i], "Expand");
        const struct om_value *const x = e ? fz_shape(f, e->in[0]) : NULL;
        const struct om_value *const wide = e ? fz_shape(f, n->in[i]) : NULL;

        if (x && wide && spreads_again(f, n, i, x, wide, matrix))
            OM_TRY(fz_reread(f, n, i, e->in[0]));
    }
    return 0;
}

int fz_drop_spread(struct fuse *f, struct om_doc_node *n)
{
    for (size_t i = 0; i < OM_COUNT(spreading); i++)
        if (fz_is(n, "", spreading[i].op))
            return read_narrow(f, n, spreading[i].matrix);
    return 0;
}

/* ---- axes of one in front ---- */

/* y is x with axes of one before all others. */
static bool is_led(const struct fuse *f, const struct om_value *x, const struct om_value *y)
{
    const uint32_t more = x && y && y->rank > x->rank ? y->rank - x->rank : 0;
    int64_t one;

    for (uint32_t i = 0; i < more; i++)
        if (!om_dim_is_const(f->shapes->dims, y->dims[i], &one) || one != 1)
            return false;
    for (uint32_t i = 0; more > 0 && i < x->rank; i++)
        if (x->dims[i] != y->dims[more + i])
            return false;
    return more > 0;
}

static bool others_reach(const struct fuse *f, const struct om_doc_node *n, uint32_t i,
                         uint32_t rank)
{
    for (uint32_t k = 0; k < n->n_in; k++) {
        const struct om_value *const v = k == i ? NULL : fz_shape(f, n->in[k]);

        if (v && v->rank >= rank)
            return true;
    }
    return false;
}

/* Broadcasting adds them where another operand has as many axes. */
static int drop_led(struct fuse *f, struct om_doc_node *n, uint32_t matrix)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        const struct om_doc_node *const view = view_by(f, n->in[i]);
        const struct om_value *const x = view ? fz_shape(f, view->in[0]) : NULL;
        const struct om_value *const y = view ? fz_shape(f, n->in[i]) : NULL;

        if (is_led(f, x, y) && x->rank >= OM_MAX(matrix, 1u) && others_reach(f, n, i, y->rank))
            OM_TRY(fz_reread(f, n, i, view->in[0]));
    }
    return 0;
}

int fz_drop_led(struct fuse *f, struct om_doc_node *n)
{
    for (size_t i = 0; i < OM_COUNT(spreading); i++)
        if (fz_is(n, "", spreading[i].op))
            return drop_led(f, n, spreading[i].matrix);
    return 0;
}

/* ---- views of views ---- */

/* A target that says every extent: no copy of an axis, no rest... or a rest alone. */
static bool says_all(const struct fuse *f, const struct om_doc_node *n)
{
    int64_t v[OM_RANK_MAX];
    size_t len;

    if (!fz_is(n, "", "Reshape") || n->n_in != 2 || !fz_ints(f, n->in[1], v, OM_COUNT(v), &len))
        return false;
    while (len > 0)
        if (v[--len] == 0)
            return false;
    return true;
}

/* A value further up has the wanted shape already, or serves the Reshape as well. */
int fz_merge_views(struct fuse *f, struct om_doc_node *n)
{
    const struct om_doc_node *up;
    int steps = 0;

    if (!is_view(n))
        return 0;
    for (up = view_by(f, n->in[0]); up && steps < CHAIN_MAX; up = view_by(f, up->in[0]), steps++)
        if (fz_same_shape(f, up->in[0], n->out[0]))
            return fz_drop(f, n, up->in[0]);
    up = view_by(f, n->in[0]);
    if (up && says_all(f, n))
        return fz_reread(f, n, 0, up->in[0]);
    return 0;
}

/* Where axes that are added to rank axes come to lie, as a set. */
static bool axis_set(const struct fuse *f, om_sv name, uint32_t rank, uint32_t *set)
{
    int64_t axes[OM_RANK_MAX];
    size_t len;

    *set = 0;
    if (!fz_ints(f, name, axes, OM_COUNT(axes), &len))
        return false;
    for (size_t i = 0; i < len; i++) {
        const int64_t axis = axes[i] < 0 ? axes[i] + (int64_t)rank : axes[i];

        if (axis < 0 || axis >= (int64_t)rank)
            return false;
        *set |= 1u << axis;
    }
    return true;
}

/* The axes of an Unsqueeze of an Unsqueeze, counted in its result. */
static bool joint_axes(const struct fuse *f, const struct om_doc_node *n,
                       const struct om_doc_node *up, int64_t *axes, size_t *len)
{
    const struct om_value *const y = fz_shape(f, n->out[0]), *const m = fz_shape(f, n->in[0]);
    uint32_t outer, inner, k = 0;

    if (!y || !m || !axis_set(f, n->in[1], y->rank, &outer) ||
        !axis_set(f, up->in[1], m->rank, &inner))
        return false;
    *len = 0;
    for (uint32_t i = 0; i < y->rank; i++) {
        const bool added = outer & 1u << i;

        if (added || inner & 1u << k)
            axes[(*len)++] = i;
        k += !added;
    }
    return true;
}

int fz_merge_unsqueezes(struct fuse *f, struct om_doc_node *n)
{
    const struct om_doc_node *const up =
        fz_is(n, "", "Unsqueeze") && n->n_in == 2 ? fz_made_by(f, n->in[0], "Unsqueeze") : NULL;
    int64_t axes[OM_RANK_MAX];
    size_t len;
    om_sv name;

    if (!up || up->n_in != 2 || n->n_out != 1 || !joint_axes(f, n, up, axes, &len))
        return 0;
    OM_TRY(fz_add_ints(f, axes, len, &name));
    OM_TRY(fz_reread(f, n, 1, name));
    return fz_reread(f, n, 0, up->in[0]);
}

int fz_merge_transposes(struct fuse *f, struct om_doc_node *n)
{
    const struct om_doc_node *const up =
        fz_is(n, "", "Transpose") && n->n_in == 1 ? fz_made_by(f, n->in[0], "Transpose") : NULL;
    int64_t first[OM_RANK_MAX], second[OM_RANK_MAX], both[OM_RANK_MAX];
    size_t len, other;

    if (!up || n->n_out != 1 || !perm_of(f, up, first, &other) || !perm_of(f, n, second, &len) ||
        len != other)
        return 0;
    for (size_t i = 0; i < len; i++) {
        if (second[i] < 0 || second[i] >= (int64_t)len)
            return 0;
        both[i] = first[second[i]];
    }
    if (is_identity(both, len))
        return fz_drop(f, n, up->in[0]);
    OM_TRY(fz_reread(f, n, 0, up->in[0]));
    return om_doc_put_ints(f->d, n, "perm", both, len) ? 0 : fz_no_memory(f);
}

/* Views that make matrices of the last two axes, around a Transpose of these. */
static const struct om_doc_node *matrices_turned(const struct fuse *f, const struct om_doc_node *n)
{
    const struct om_doc_node *const turn = fz_made_by(f, n->in[0], "Transpose");
    const struct om_doc_node *const first = turn ? view_by(f, turn->in[0]) : NULL;
    const struct om_value *x, *between, *y;
    int64_t perm[OM_RANK_MAX];
    uint32_t r;
    size_t len;

    if (!first || !perm_of(f, turn, perm, &len) || len != 3 || perm[0] != 0 || perm[1] != 2)
        return NULL;
    x = fz_shape(f, first->in[0]);
    between = fz_shape(f, turn->in[0]);
    y = fz_shape(f, n->out[0]);
    if (!x || !between || !y || x->rank < 3 || y->rank != x->rank)
        return NULL;
    r = x->rank;
    for (uint32_t i = 0; i < r; i++)
        if (y->dims[i] != x->dims[i + 2 < r ? i : i + 1 == r ? r - 2 : r - 1])
            return NULL;
    return between->dims[1] == x->dims[r - 2] && between->dims[2] == x->dims[r - 1] ? first : NULL;
}

int fz_merge_turned(struct fuse *f, struct om_doc_node *n)
{
    const struct om_doc_node *const first = is_view(n) ? matrices_turned(f, n) : NULL;
    int64_t perm[OM_RANK_MAX];
    uint32_t rank;

    if (!first)
        return 0;
    rank = fz_shape(f, first->in[0])->rank;
    for (uint32_t i = 0; i < rank; i++)
        perm[i] = i + 2 < rank ? i : i + 1 == rank ? i - 1 : i + 1;
    OM_TRY(fz_become(f, n, "", "Transpose", &first->in[0], 1));
    f->changes++;
    return om_doc_put_ints(f->d, n, "perm", perm, rank) ? 0 : fz_no_memory(f);
}

/* ---- the target of a Reshape ---- */

/* The extents of out as a constant target: numbers, copied axes, and one rest where no other axis
 * can be empty (of an empty tensor a rest cannot be told). */
static bool constant_target(const struct fuse *f, const struct om_value *x,
                            const struct om_value *out, int64_t *target)
{
    uint32_t rests = 0, copies = 0;

    for (uint32_t i = 0; i < out->rank; i++) {
        if (om_dim_is_const(f->shapes->dims, out->dims[i], &target[i]) && target[i] > 0)
            continue;
        if (i < x->rank && out->dims[i] == x->dims[i]) {
            target[i] = 0;
            copies++;
        } else {
            target[i] = -1;
            rests++;
        }
    }
    return rests == 0 || (rests == 1 && copies == 0);
}

/* The axes of one that wide has and narrow does not, whose others are the same. */
static bool added_ones(const struct fuse *f, const struct om_value *narrow,
                       const struct om_value *wide, int64_t *axes, size_t *len)
{
    uint32_t k = 0;
    int64_t one;

    *len = 0;
    for (uint32_t i = 0; i < wide->rank; i++) {
        if (k < narrow->rank && wide->dims[i] == narrow->dims[k])
            k++;
        else if (om_dim_is_const(f->shapes->dims, wide->dims[i], &one) && one == 1)
            axes[(*len)++] = i;
        else
            return false;
    }
    return k == narrow->rank && *len > 0;
}

/* A Reshape to a computed target that only adds axes of one, or takes some away. */
static int add_axes(struct fuse *f, struct om_doc_node *n, const struct om_value *x,
                    const struct om_value *out)
{
    const bool adds = out->rank > x->rank;
    int64_t axes[OM_RANK_MAX];
    om_sv in[2] = { n->in[0], { "", 0 } };
    size_t len;

    if (!added_ones(f, adds ? x : out, adds ? out : x, axes, &len))
        return 0;
    OM_TRY(fz_add_ints(f, axes, len, &in[1]));
    f->changes++;
    return fz_become(f, n, "", adds ? "Unsqueeze" : "Squeeze", in, 2);
}

int fz_constant_target(struct fuse *f, struct om_doc_node *n)
{
    const struct om_value *x, *out;
    int64_t target[OM_RANK_MAX], allow_zero;
    om_sv name;

    if (!fz_is(n, "", "Reshape") || n->n_in != 2 || n->n_out != 1 ||
        !fz_int(n, "allowzero", 0, &allow_zero))
        return 0;
    if (allow_zero != 0 && says_all(f, n)) {
        f->changes++;
        return om_doc_drop_attr(n, "allowzero") ? 0 : fz_no_memory(f);
    }
    if (fz_const(f, n->in[1]))
        return 0;
    x = fz_shape(f, n->in[0]);
    out = fz_shape(f, n->out[0]);
    if (!x || !out)
        return 0;
    if (out->rank == 0 || !constant_target(f, x, out, target))
        return add_axes(f, n, x, out);
    OM_TRY(fz_add_ints(f, target, out->rank, &name));
    om_doc_drop_attr(n, "allowzero"); /* an empty axis is copied now */
    return fz_reread(f, n, 1, name);
}
