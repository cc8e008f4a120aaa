/* src/fuse/embed.c: EmbedLayerNormalization: what tokens, positions and segments look up, summed
 * and normalized.
 *
 * The operator sums three lookups, whichever comes from where; it counts positions itself where it
 * is given none. It reads 32-bit ids. */
#include "fuse/internal.h"

#define TERMS_MAX 3

struct lookup {
    om_sv table, indices;
};

struct embed {
    struct lookup terms[TERMS_MAX]; /* [tokens, positions, segments] once they are sorted */
    uint32_t n;
    bool counted;                   /* positions are 0, 1, ... */
    const struct om_doc_node *view; /* between the sum and the norm; or NULL */
    const struct om_value *sum;
};

/* ---- reading ---- */

static bool read_lookup(const struct fuse *f, om_sv name, struct embed *e)
{
    const struct om_doc_node *const n = fz_made_by(f, name, "Gather");
    const struct om_value *const table = n ? fz_shape(f, n->in[0]) : NULL;
    int64_t axis, size;

    if (!table || n->n_in != 2 || table->rank != 2 || !fz_int(n, "axis", 0, &axis) || axis != 0 ||
        !fz_last_dim(f, n->in[0], &size) || !fz_is_outer(f, n->in[0]) ||
        !fz_is_float(f, n->in[0]) || e->n == TERMS_MAX)
        return false;
    e->terms[e->n++] = (struct lookup){ n->in[0], n->in[1] };
    return true;
}

/* The lookups of a sum, which nobody else reads. */
static bool read_sum(const struct fuse *f, om_sv name, int depth, struct embed *e)
{
    const struct om_doc_node *const n = fz_made_by(f, name, "Add");

    if (!n)
        return read_lookup(f, name, e);
    return depth > 0 && n->n_in == 2 && fz_uses(f, name) == 1 && !fz_is_output(f, name) &&
           read_sum(f, n->in[0], depth - 1, e) && read_sum(f, n->in[1], depth - 1, e);
}

static bool is_norm(const struct fuse *f, const struct om_doc_node *n)
{
    const struct om_value *const x = n->n_in == 3 ? fz_shape(f, n->in[0]) : NULL;
    int64_t axis;

    return fz_is(n, "", "LayerNormalization") && n->n_out == 1 && x &&
           fz_int(n, "axis", -1, &axis) && (axis == -1 || axis == (int64_t)x->rank - 1) &&
           fz_is_row(f, n->in[1], n->in[0]) && fz_is_row(f, n->in[2], n->in[0]) &&
           fz_is_outer(f, n->in[1]) && fz_is_outer(f, n->in[2]);
}

/* The sum has three axes; rows of it may be what is normalized. */
static bool read_embed(const struct fuse *f, const struct om_doc_node *n, struct embed *e)
{
    const struct om_doc_node *const r = fz_made_by(f, n->in[0], "Reshape");
    om_sv sum = n->in[0];

    if (r && r->n_in == 2 && fz_is_outer(f, r->in[1]) && fz_uses(f, n->in[0]) == 1) {
        e->view = r;
        sum = r->in[0];
    }
    e->sum = fz_shape(f, sum);
    return e->sum && e->sum->rank == 3 && read_sum(f, sum, 2, e) && e->n >= 2;
}

/* ---- which lookup is of positions ---- */

/* 0, 1, 2, ... */
static bool counts_up(const struct fuse *f, om_sv name)
{
    const struct om_doc_tensor *const t = fz_const(f, name);
    struct om_weight w;

    if (!t || t->type != FZ_I64 || t->source || om_doc_weight(f->d, t, &w, NULL) < 0 || !w.data ||
        w.strides)
        return false;
    for (uint64_t i = 0; i < w.bytes / sizeof(int64_t); i++) {
        int64_t v;

        memcpy(&v, (const uint8_t *)w.data + i * sizeof(v), sizeof(v));
        if (v != (int64_t)i)
            return false;
    }
    return true;
}

static bool is_number(const struct fuse *f, const struct om_doc_node *n, uint32_t i, int64_t want)
{
    int64_t v;
    size_t len;

    if (i >= n->n_in || n->in[i].len == 0)
        return i == 4; /* the step of a Slice */
    return fz_ints(f, n->in[i], &v, 1, &len) && len == 1 && v == want;
}

/* The indices are 0, 1, ... for every text. */
static bool is_counted(const struct fuse *f, om_sv name)
{
    const struct om_doc_node *n = fz_made_by(f, name, "Unsqueeze");

    if (n)
        name = n->in[0];
    n = fz_made_by(f, name, "Range");
    if (n)
        return n->n_in == 3 && is_number(f, n, 0, 0) && is_number(f, n, 2, 1);
    n = fz_made_by(f, name, "Slice");
    return n && n->n_in >= 3 && is_number(f, n, 1, 0) && is_number(f, n, 4, 1) &&
           counts_up(f, n->in[0]);
}

/* The axes of the indices as those of the sum: of two axes, the first may be 1. */
static bool has_axes(const struct fuse *f, const struct embed *e, om_sv indices, bool one_text)
{
    const struct om_value *const v = fz_shape(f, indices);
    int64_t first;

    if (!v || (v->dtype != OM_I64 && v->dtype != OM_I32) || v->rank == 0 || v->rank > 2 ||
        v->dims[v->rank - 1] != e->sum->dims[1])
        return false;
    if (v->rank == 1)
        return one_text;
    return v->dims[0] == e->sum->dims[0] ||
           (one_text && om_dim_is_const(f->shapes->dims, v->dims[0], &first) && first == 1);
}

/* Positions: those that are counted; else those of one text, or the last. */
static uint32_t find_positions(const struct fuse *f, struct embed *e)
{
    for (uint32_t i = 0; i < e->n; i++)
        if (is_counted(f, e->terms[i].indices) && has_axes(f, e, e->terms[i].indices, true)) {
            e->counted = true;
            return i;
        }
    for (uint32_t i = 0; i < e->n; i++)
        if (!has_axes(f, e, e->terms[i].indices, false))
            return i;
    return e->n - 1;
}

static bool sort_terms(const struct fuse *f, struct embed *e)
{
    const uint32_t at = find_positions(f, e);
    const struct lookup positions = e->terms[at];
    const struct om_value *const v = fz_shape(f, positions.indices);

    if (!e->counted && (!v || v->rank != 2 || !has_axes(f, e, positions.indices, true)))
        return false;
    if (at == 0)
        e->terms[0] = e->terms[1];
    e->terms[at == 0 ? 1 : at] = e->terms[1];
    e->terms[1] = positions;
    for (uint32_t i = 0; i < e->n; i += 2)
        if (!has_axes(f, e, e->terms[i].indices, false))
            return false;
    return true;
}

/* ---- writing ---- */

static om_sv as_i32(struct fuse *f, om_sv ids)
{
    const struct om_value *const v = fz_shape(f, ids);
    const om_sv key =
        om_doc_text(f->d, "Cast %d %zu:%.*s", om_dtype_onnx(OM_I32), ids.len, OM_SV(ids));
    struct om_doc_node *n;
    om_sv name = fz_noted(f, key);

    if (v->dtype == OM_I32 || name.len > 0)
        return name.len > 0 ? name : ids;
    name = fz_name(f, ids, "Cast");
    n = fz_add(f, "", "Cast", &ids, 1, name);
    if (!n || !om_doc_put_int(f->d, n, "to", om_dtype_onnx(OM_I32)) || fz_note(f, key, name) < 0)
        return (om_sv){ "", 0 };
    return name;
}

/* The operator's inputs; 0: memory is short. */
static uint32_t write_inputs(struct fuse *f, const struct om_doc_node *n, const struct embed *e,
                             om_sv *in)
{
    const bool segments = e->n == 3;

    for (uint32_t i = 0; i < 9; i++)
        in[i] = (om_sv){ "", 0 };
    in[0] = as_i32(f, e->terms[0].indices);
    in[2] = e->terms[0].table;
    in[3] = e->terms[1].table;
    if (segments) {
        in[1] = as_i32(f, e->terms[2].indices);
        in[4] = e->terms[2].table;
    }
    in[5] = n->in[1];
    in[6] = n->in[2];
    if (!e->counted)
        in[8] = as_i32(f, e->terms[1].indices);
    if (in[0].len == 0 || (segments && in[1].len == 0) || (!e->counted && in[8].len == 0))
        return 0;
    return e->counted ? 7 : 9;
}

/* ONNX Runtime wants a second result, the numbers of tokens, to be named; nobody reads it. */
static int name_results(struct fuse *f, struct om_doc_node *n)
{
    om_sv *const out = om_arena_array(f->d->arena, 2, sizeof(*out));

    if (!out)
        return fz_no_memory(f);
    out[0] = n->out[0];
    out[1] = fz_name(f, n->out[0], "mask_index");
    n->out = out;
    n->n_out = 2;
    return out[1].len > 0 ? 0 : fz_no_memory(f);
}

static int write_embed(struct fuse *f, struct om_doc_node *n, const struct embed *e)
{
    struct om_doc_node *made = n;
    om_sv in[9], rows[2];
    double epsilon;
    uint32_t n_in;

    if (!fz_float(n, "epsilon", 1e-5, &epsilon))
        return 0;
    n_in = write_inputs(f, n, e, in);
    if (n_in == 0)
        return fz_no_memory(f);
    if (e->view) {
        rows[0] = fz_name(f, n->out[0], "EmbedLayerNormalization");
        rows[1] = e->view->in[1];
        made = fz_add(f, "com.microsoft", "EmbedLayerNormalization", in, n_in, rows[0]);
        if (!made)
            return fz_no_memory(f);
        OM_TRY(fz_become(f, n, "", "Reshape", rows, 2));
    } else {
        OM_TRY(fz_become(f, n, "com.microsoft", "EmbedLayerNormalization", in, n_in));
    }
    OM_TRY(name_results(f, made));
    return om_doc_put_float(f->d, made, "epsilon", (float)epsilon) ? 0 : fz_no_memory(f);
}

int fz_embed_layer_norm(struct fuse *f, struct om_doc_node *n)
{
    struct embed e = { .n = 0 };

    if (f->config->disable_embed_layer_norm || !is_norm(f, n) || !read_embed(f, n, &e) ||
        !sort_terms(f, &e))
        return 0;
    return write_embed(f, n, &e);
}
