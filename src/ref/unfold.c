/* src/ref/unfold.c: images put together again, boxes and distinct elements: Col2Im, MaxUnpool,
 * CenterCropPad, NonMaxSuppression, Unique. */
#include <math.h>
#include <stdlib.h>

#include "ref/kernel.h"

/* Entry i of a list of the node, or the default. */
static int64_t entry(const struct ref_call *c, const char *name, uint32_t i, int64_t otherwise)
{
    const struct om_attr *a = om_node_attr(c->node, name);

    return a && a->kind == OM_ATTR_INTS && i < a->n ? a->ints[i] : otherwise;
}

/* ---- Col2Im ---- */

struct fold {
    struct ref_ints image, block;
    int64_t stride[OM_RANK_MAX], dilation[OM_RANK_MAX], before[OM_RANK_MAX],
        blocks[OM_RANK_MAX]; /* along an axis */
    int64_t in_block, n_blocks, channels;
};

static int fold_axis(const struct ref_call *c, struct fold *f, uint32_t i)
{
    const int64_t before = entry(c, "pads", i, 0), after = entry(c, "pads", f->image.n + i, 0);
    int64_t reach, room;

    f->stride[i] = entry(c, "strides", i, 1);
    f->dilation[i] = entry(c, "dilations", i, 1);
    f->before[i] = before;
    if (f->image.v[i] < 0 || f->block.v[i] < 1 || f->stride[i] < 1 || f->dilation[i] < 1 ||
        before < 0 || after < 0 || before > INT32_MAX || after > INT32_MAX ||
        f->stride[i] > INT32_MAX || !om_mul_i64(f->block.v[i] - 1, f->dilation[i], &reach) ||
        !om_add_i64(f->image.v[i], before + after - 1 - reach, &room) || room < 0)
        return om_fail(c->err, OM_E_FORMAT, "blocks do not fit axis %" PRIu32 " of the image", i);
    f->blocks[i] = room / f->stride[i] + 1;
    return 0;
}

static int fold_read(const struct ref_call *c, struct fold *f)
{
    const struct ref_tensor *x = om_ref_in(c, 0);

    OM_TRY(om_ref_ints(c, 1, "image_shape", &f->image));
    OM_TRY(om_ref_ints(c, 2, "block_shape", &f->block));
    if (x->rank != 3 || f->image.n != f->block.n || f->image.n < 1 ||
        f->image.n + 2 > OM_RANK_MAX || (x->dtype != OM_F32 && x->dtype != OM_F64))
        return om_fail(c->err, OM_E_FORMAT, "the columns, the image and the blocks do not fit");
    for (uint32_t i = 0; i < f->image.n; i++)
        OM_TRY(fold_axis(c, f, i));
    if (!om_count(f->block.v, f->block.n, &f->in_block) ||
        !om_count(f->blocks, f->image.n, &f->n_blocks) || x->dims[1] % f->in_block != 0 ||
        x->dims[2] != f->n_blocks)
        return om_fail(c->err, OM_E_FORMAT, "the columns do not fit the blocks");
    f->channels = x->dims[1] / f->in_block;
    return 0;
}

/* Where element k of block b lies in an image; -1: in the padding. */
static int64_t fold_place(const struct fold *f, int64_t k, int64_t b)
{
    int64_t at = 0, step = 1;

    for (uint32_t i = f->image.n; i-- > 0;) {
        const int64_t p =
            b % f->blocks[i] * f->stride[i] - f->before[i] + k % f->block.v[i] * f->dilation[i];

        if (p < 0 || p >= f->image.v[i])
            return -1;
        at += p * step;
        step *= f->image.v[i];
        k /= f->block.v[i];
        b /= f->blocks[i];
    }
    return at;
}

int om_ref_Col2Im(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    int64_t dims[OM_RANK_MAX], size;
    struct ref_tensor *out;
    struct fold f;

    OM_TRY(fold_read(c, &f));
    dims[0] = x->dims[0];
    dims[1] = f.channels;
    memcpy(dims + 2, f.image.v, f.image.n * sizeof(*dims));
    out = &c->out[0];
    OM_TRY(om_ref_new(c->pool, out, x->dtype, dims, f.image.n + 2, c->err));
    memset(out->data, 0, (size_t)out->count * om_dtype_size(out->dtype));
    size = om_ref_product(dims, 2, f.image.n + 2);
    for (int64_t i = 0; i < x->count; i++) {
        const int64_t row = i / f.n_blocks;
        const int64_t at = fold_place(&f, row % f.in_block, i % f.n_blocks);
        double v;

        if (at < 0)
            continue;
        v = om_ref_f64_at(out, row / f.in_block * size + at) + om_ref_f64_at(x, i);
        om_ref_row_store(out, row / f.in_block * size + at, 1, &v, 1);
    }
    return 0;
}

/* ---- MaxUnpool ---- */

static int unpool_dims(const struct ref_call *c, const struct ref_tensor *x, int64_t *dims)
{
    const struct om_attr *kernel = om_node_attr(c->node, "kernel_shape");

    if (x->rank < 3 || !kernel || kernel->kind != OM_ATTR_INTS || kernel->n != x->rank - 2)
        return om_fail(c->err, OM_E_FORMAT, "kernel_shape does not fit rank %" PRIu32, x->rank);
    for (uint32_t i = 0; i < x->rank; i++) {
        const uint32_t k = i - 2;
        int64_t n = x->dims[i];

        if (i >= 2 &&
            (!om_mul_i64(n - 1, entry(c, "strides", k, 1), &n) ||
             !om_add_i64(n, kernel->ints[k], &n) || !om_add_i64(n, -entry(c, "pads", k, 0), &n) ||
             !om_add_i64(n, -entry(c, "pads", kernel->n + k, 0), &n)))
            return om_fail(c->err, OM_E_LIMIT, "the result is too large");
        dims[i] = n;
    }
    return 0;
}

/* An index into the shape that the pool came from, in the shape that was asked for; -1: outside. */
static int64_t unpool_place(int64_t at, const int64_t *from, const int64_t *to, uint32_t rank)
{
    int64_t place = 0, step = 1;

    for (uint32_t i = rank; i-- > 0; at /= from[i]) {
        if (from[i] == 0 || at % from[i] >= to[i])
            return -1;
        place += at % from[i] * step;
        step *= to[i];
    }
    return at == 0 ? place : -1;
}

int om_ref_MaxUnpool(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0), *at = om_ref_in(c, 1);
    const size_t size = om_dtype_size(x->dtype);
    int64_t pooled[OM_RANK_MAX], dims[OM_RANK_MAX], count;
    struct ref_ints shape;

    OM_TRY(om_ref_ints(c, 2, "output_shape", &shape));
    OM_TRY(unpool_dims(c, x, pooled));
    if (!om_count(pooled, x->rank, &count))
        return om_fail(c->err, OM_E_FORMAT, "the result has no possible shape");
    memcpy(dims, pooled, sizeof(dims));
    if (shape.n > 0 && shape.n != x->rank)
        return om_fail(c->err, OM_E_FORMAT, "output_shape does not fit rank %" PRIu32, x->rank);
    if (shape.n > 0)
        memcpy(dims, shape.v, shape.n * sizeof(*dims));
    if (at->dtype != OM_I64 || at->count != x->count)
        return om_fail(c->err, OM_E_FORMAT, "the indices do not fit the pooled elements");
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, dims, x->rank, c->err));
    memset(c->out[0].data, 0, (size_t)c->out[0].count * size);
    for (int64_t i = 0; i < x->count; i++) {
        const int64_t index = ((const int64_t *)at->data)[i];
        const int64_t to =
            index < 0 || index >= count ? -1 : unpool_place(index, pooled, dims, x->rank);

        if (to < 0)
            return om_fail(c->err, OM_E_FORMAT, "index %" PRId64 " is outside %" PRId64 " elements",
                           index, count);
        memcpy((unsigned char *)c->out[0].data + (size_t)to * size,
               (const unsigned char *)x->data + (size_t)i * size, size);
    }
    return 0;
}

/* ---- CenterCropPad ---- */

int om_ref_CenterCropPad(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const struct om_attr *axes = om_node_attr(c->node, "axes");
    const size_t size = om_dtype_size(x->dtype);
    int64_t dims[OM_RANK_MAX], steps[OM_RANK_MAX];
    struct ref_ints shape;
    uint32_t axis = 0;

    OM_TRY(om_ref_ints(c, 1, "shape", &shape));
    memcpy(dims, x->dims, x->rank * sizeof(*dims));
    if (shape.n != (axes ? axes->n : x->rank))
        return om_fail(c->err, OM_E_FORMAT, "shape has %" PRIu32 " numbers", shape.n);
    for (uint32_t i = 0; i < shape.n; i++) {
        OM_TRY(
            om_ref_axis(c, axes && axes->kind == OM_ATTR_INTS ? axes->ints[i] : i, x->rank, &axis));
        dims[axis] = shape.v[i];
    }
    OM_TRY(om_ref_new(c->pool, &c->out[0], x->dtype, dims, x->rank, c->err));
    om_ref_steps(x->dims, x->rank, steps);
    for (int64_t o = 0; o < c->out[0].count; o++) {
        unsigned char *const to = (unsigned char *)c->out[0].data + (size_t)o * size;
        int64_t rest = o, from = 0;
        bool inside = true;

        for (uint32_t i = x->rank; i-- > 0; rest /= dims[i]) {
            const int64_t spare = x->dims[i] - dims[i];
            const int64_t p = rest % dims[i] + (spare < 0 ? -(-spare / 2) : spare / 2);

            inside = inside && p >= 0 && p < x->dims[i];
            from += p * steps[i];
        }
        if (inside)
            memcpy(to, (const unsigned char *)x->data + (size_t)from * size, size);
        else
            memset(to, 0, size);
    }
    return 0;
}

/* ---- NonMaxSuppression ---- */

struct candidate {
    double score;
    int64_t box;
};

static int by_score(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->box < y->box ? -1 : x->box > y->box;
}

struct boxes {
    const struct ref_tensor *boxes, *scores;
    int64_t most;
    double overlap, least; /* least: of a score */
    bool centered;
    struct candidate *row; /* the candidates of a class, the chosen ones first */
    int64_t *chosen;       /* batch, class and box of each */
    size_t n, cap;
};

/* The corners of a box, the lower ones first. */
static void corners(const struct boxes *b, int64_t at, double *box)
{
    double v[4];

    for (int i = 0; i < 4; i++)
        v[i] = om_ref_f64_at(b->boxes, at * 4 + i);
    for (int i = 0; i < 2; i++) {
        const double p = b->centered ? v[i] - v[i + 2] / 2 : v[i],
                     q = b->centered ? v[i] + v[i + 2] / 2 : v[i + 2];

        box[i] = fmin(p, q);
        box[i + 2] = fmax(p, q);
    }
}

/* Shared area over joint area. */
static double overlap(const struct boxes *b, int64_t first, int64_t second)
{
    double p[4], q[4], both = 1, areas[2] = { 1, 1 };

    corners(b, first, p);
    corners(b, second, q);
    for (int i = 0; i < 2; i++) {
        both *= fmax(fmin(p[i + 2], q[i + 2]) - fmax(p[i], q[i]), 0);
        areas[0] *= p[i + 2] - p[i];
        areas[1] *= q[i + 2] - q[i];
    }
    return both > 0 ? both / (areas[0] + areas[1] - both) : 0;
}

/* The candidates of a class, best first. */
static int64_t rank_boxes(const struct boxes *b, int64_t row)
{
    const int64_t n = b->boxes->dims[1];
    int64_t found = 0;

    for (int64_t i = 0; i < n; i++) {
        const double score = om_ref_f64_at(b->scores, row * n + i);

        if (score > b->least)
            b->row[found++] = (struct candidate){ score, i };
    }
    qsort(b->row, (size_t)found, sizeof(*b->row), by_score);
    return found;
}

static int choose(const struct ref_call *c, struct boxes *b, int64_t batch, int64_t class)
{
    const int64_t found = rank_boxes(b, batch * b->scores->dims[1] + class);
    int64_t kept = 0;

    for (int64_t i = 0; i < found && kept < b->most; i++) {
        const int64_t base = batch * b->boxes->dims[1];
        bool keep = true;

        OM_TRY(om_ref_work(c->pool, kept, 8, c->err));
        for (int64_t k = 0; k < kept && keep; k++)
            keep = !(overlap(b, base + b->row[i].box, base + b->row[k].box) > b->overlap);
        if (!keep)
            continue;
        b->row[kept++] = b->row[i];
        if (!om_grow(&b->chosen, &b->cap, (b->n + 1) * 3, sizeof(*b->chosen)))
            return om_fail(c->err, OM_E_NOMEM, "out of memory");
        b->chosen[b->n * 3] = batch;
        b->chosen[b->n * 3 + 1] = class;
        b->chosen[b->n++ * 3 + 2] = b->row[kept - 1].box;
    }
    return 0;
}

static int choose_all(struct ref_call *c, struct boxes *b)
{
    for (int64_t i = 0; i < b->scores->dims[0] * b->scores->dims[1]; i++) {
        OM_TRY(om_ref_work(c->pool, b->boxes->dims[1], 8, c->err));
        OM_TRY(choose(c, b, i / b->scores->dims[1], i % b->scores->dims[1]));
    }
    OM_TRY(
        om_ref_new(c->pool, &c->out[0], OM_I64, (const int64_t[]){ (int64_t)b->n, 3 }, 2, c->err));
    if (b->n > 0)
        memcpy(c->out[0].data, b->chosen, b->n * 3 * sizeof(*b->chosen));
    return 0;
}

/* A number that is an input, or the default. */
static int one_number(const struct ref_call *c, uint32_t i, double *v)
{
    const struct ref_tensor *t = om_ref_in(c, i);

    if (!t)
        return 0;
    if (t->count != 1)
        return om_fail(c->err, OM_E_FORMAT, "input %" PRIu32 " must be one number", i);
    *v = om_ref_f64_at(t, 0);
    return 0;
}

int om_ref_NonMaxSuppression(struct ref_call *c)
{
    struct boxes b = { .boxes = om_ref_in(c, 0),
                       .scores = om_ref_in(c, 1),
                       .least = -(double)INFINITY,
                       .centered = om_node_int(c->node, "center_point_box", 0) != 0 };
    int rc;

    if (b.boxes->rank != 3 || b.scores->rank != 3 || b.boxes->dims[2] != 4 ||
        b.boxes->dims[0] != b.scores->dims[0] || b.boxes->dims[1] != b.scores->dims[2])
        return om_fail(c->err, OM_E_FORMAT, "boxes and scores do not fit");
    if (om_ref_in(c, 2))
        OM_TRY(om_ref_scalar_i64(c, 2, "max_output_boxes_per_class", &b.most));
    OM_TRY(one_number(c, 3, &b.overlap));
    OM_TRY(one_number(c, 4, &b.least));
    b.row = calloc((size_t)OM_MAX(b.boxes->dims[1], 1), sizeof(*b.row));
    rc = b.row ? choose_all(c, &b) : om_fail(c->err, OM_E_NOMEM, "out of memory");
    free(b.row);
    free(b.chosen);
    return rc;
}

/* ---- Unique ---- */

/* Parts of a tensor: its elements, or what lies along an axis. */
struct parts {
    const struct ref_tensor *x;
    int64_t n, outer, inner; /* parts; a part has outer runs of inner elements */
};

static int compare_elements(const struct ref_tensor *x, int64_t a, int64_t b)
{
    double p, q;

    if (x->dtype == OM_I64) {
        const int64_t i = ((const int64_t *)x->data)[a], k = ((const int64_t *)x->data)[b];

        return i < k ? -1 : i > k;
    }
    p = om_ref_f64_at(x, a);
    q = om_ref_f64_at(x, b);
    if (isnan(p) || isnan(q)) /* last, and all the same */
        return (int)(isnan(p) != 0) - (int)(isnan(q) != 0);
    return p < q ? -1 : p > q;
}

static int compare_parts(const struct parts *p, int64_t a, int64_t b)
{
    for (int64_t o = 0; o < p->outer; o++)
        for (int64_t i = 0; i < p->inner; i++) {
            const int rc = compare_elements(p->x, (o * p->n + a) * p->inner + i,
                                            (o * p->n + b) * p->inner + i);

            if (rc != 0)
                return rc;
        }
    return 0;
}

/* Merge sort: from[0, n) into order, by way of room. */
static void sort_parts(const struct parts *p, int64_t *from, int64_t *room)
{
    for (int64_t width = 1; width < p->n; width *= 2) {
        for (int64_t at = 0; at < p->n; at += 2 * width) {
            const int64_t middle = OM_MIN(at + width, p->n), end = OM_MIN(at + 2 * width, p->n);
            int64_t a = at, b = middle;

            for (int64_t k = at; k < end; k++)
                room[k] = b >= end || (a < middle && compare_parts(p, from[a], from[b]) <= 0)
                              ? from[a++]
                              : from[b++];
        }
        memcpy(from, room, (size_t)p->n * sizeof(*from));
    }
}

static int by_number(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

/* What was found: the first of each kind, in order; of every part its kind. */
struct kinds {
    int64_t *order, *room, *first, *kind; /* n each */
    int64_t n;
};

/* order is sorted: equal parts are neighbours, the earliest first. */
static void find_kinds(const struct parts *p, struct kinds *k)
{
    k->n = 0;
    for (int64_t i = 0; i < p->n; i++) {
        if (i == 0 || compare_parts(p, k->order[i - 1], k->order[i]) != 0)
            k->first[k->n++] = k->order[i];
        k->kind[k->order[i]] = k->first[k->n - 1];
    }
}

/* kind[] names the first part so far; from now on its number among the kinds. */
static void number_kinds(const struct parts *p, struct kinds *k, bool sorted)
{
    if (!sorted && k->n > 0)
        qsort(k->first, (size_t)k->n, sizeof(*k->first), by_number);
    for (int64_t i = 0; i < k->n; i++)
        k->room[k->first[i]] = i;
    for (int64_t i = 0; i < p->n; i++)
        k->kind[i] = k->room[k->kind[i]];
}

static int give_numbers(struct ref_call *c, uint32_t i, const int64_t *numbers, int64_t n)
{
    if (!om_ref_wants(c, i))
        return 0;
    OM_TRY(om_ref_new(c->pool, &c->out[i], OM_I64, &n, 1, c->err));
    if (n > 0)
        memcpy(c->out[i].data, numbers, (size_t)n * sizeof(*numbers));
    return 0;
}

static int give_kinds(struct ref_call *c, const struct parts *p, struct kinds *k, uint32_t axis,
                      bool flat)
{
    const size_t run = (size_t)p->inner * om_dtype_size(p->x->dtype);
    int64_t dims[OM_RANK_MAX];

    memcpy(dims, p->x->dims, p->x->rank * sizeof(*dims));
    dims[flat ? 0 : axis] = k->n;
    OM_TRY(om_ref_new(c->pool, &c->out[0], p->x->dtype, dims, flat ? 1 : p->x->rank, c->err));
    for (int64_t o = 0; c->out[0].count > 0 && o < p->outer; o++)
        for (int64_t i = 0; i < k->n; i++)
            memcpy((unsigned char *)c->out[0].data + (size_t)(o * k->n + i) * run,
                   (const unsigned char *)p->x->data + (size_t)(o * p->n + k->first[i]) * run, run);
    OM_TRY(give_numbers(c, 1, k->first, k->n));
    OM_TRY(give_numbers(c, 2, k->kind, p->n));
    memset(k->room, 0, (size_t)p->n * sizeof(*k->room));
    for (int64_t i = 0; i < p->n; i++)
        k->room[k->kind[i]]++;
    return give_numbers(c, 3, k->room, k->n);
}

int om_ref_Unique(struct ref_call *c)
{
    const struct ref_tensor *x = om_ref_in(c, 0);
    const bool flat = !om_node_attr(c->node, "axis"), sorted = om_node_int(c->node, "sorted", 1);
    struct parts p = { x, x->count, 1, 1 };
    struct ref_tensor room = { .mem = NULL };
    struct kinds k = { .n = 0 };
    uint32_t axis = 0;
    int rc;

    if (!flat) {
        OM_TRY(om_ref_axis(c, om_node_int(c->node, "axis", 0), x->rank, &axis));
        p.n = x->dims[axis];
        p.outer = om_ref_product(x->dims, 0, axis);
        p.inner = om_ref_product(x->dims, axis + 1, x->rank);
    }
    OM_TRY(om_ref_work(c->pool, x->count, 32, c->err));
    OM_TRY(om_ref_new(c->pool, &room, OM_I64, (const int64_t[]){ 4, p.n }, 2, c->err));
    k.order = room.data;
    k.room = k.order + p.n;
    k.first = k.room + p.n;
    k.kind = k.first + p.n;
    for (int64_t i = 0; i < p.n; i++)
        k.order[i] = i;
    sort_parts(&p, k.order, k.room);
    find_kinds(&p, &k);
    number_kinds(&p, &k, sorted);
    rc = give_kinds(c, &p, &k, axis, flat);
    om_ref_drop(&room);
    return rc;
}
