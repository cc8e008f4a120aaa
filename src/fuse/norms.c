/* src/fuse/norms.c: LayerNormalization and RMS normalization from their parts, and with the
 * residual sum before them. */
#include "fuse/internal.h"

/* ---- the parts ---- */

/* x * x, however it is written. */
static bool is_square(const struct fuse *f, om_sv name, om_sv *x)
{
    const struct om_doc_node *n = fz_made_by(f, name, "Pow");

    if (n && n->n_in == 2 && fz_is_scalar(f, n->in[1], 2)) {
        *x = n->in[0];
        return true;
    }
    n = fz_made_by(f, name, "Mul");
    if (!n || n->n_in != 2 || !om_sv_eq(n->in[0], n->in[1]))
        return false;
    *x = n->in[0];
    return true;
}

static bool is_mean(const struct fuse *f, om_sv name, om_sv *x)
{
    const struct om_doc_node *const n = fz_made_by(f, name, "ReduceMean");

    if (!n || n->n_in == 0 || !fz_reduces_last(f, n))
        return false;
    *x = n->in[0];
    return true;
}

/* sqrt(mean(x^2) + epsilon) */
static bool is_deviation(const struct fuse *f, om_sv name, om_sv *x, double *epsilon)
{
    const struct om_doc_node *const root = fz_made_by(f, name, "Sqrt");
    const struct om_doc_node *const sum = root ? fz_made_by(f, root->in[0], "Add") : NULL;
    double tolerance;
    om_sv mean = { "", 0 }, square;

    for (uint32_t i = 0; sum && sum->n_in == 2 && i < 2; i++)
        if (fz_scalar(f, sum->in[i], epsilon, &tolerance))
            mean = sum->in[1 - i];
    return *epsilon >= 0 && is_mean(f, mean, &square) && is_square(f, square, x);
}

/* x / deviation(x): as a Div, or as a product with the reciprocal. */
static bool is_unit(const struct fuse *f, om_sv name, om_sv *x, double *epsilon)
{
    const struct om_doc_node *n = fz_made_by(f, name, "Div");
    om_sv of;

    if (n && n->n_in == 2) {
        *x = n->in[0];
        return is_deviation(f, n->in[1], &of, epsilon) && om_sv_eq(of, *x);
    }
    n = fz_made_by(f, name, "Mul");
    for (uint32_t i = 0; n && n->n_in == 2 && i < 2; i++) {
        const struct om_doc_node *const r = fz_made_by(f, n->in[i], "Reciprocal");
        const struct om_doc_node *const d = fz_made_by(f, n->in[i], "Div");
        om_sv inner = { "", 0 };

        if (r && r->n_in == 1)
            inner = r->in[0];
        else if (d && d->n_in == 2 && fz_is_scalar(f, d->in[0], 1))
            inner = d->in[1];
        *x = n->in[1 - i];
        if (is_deviation(f, inner, &of, epsilon) && om_sv_eq(of, *x))
            return true;
    }
    return false;
}

/* unit(x) * scale, with a scale for every element of the last axis. */
static bool is_scaled_unit(const struct fuse *f, const struct om_doc_node *n, om_sv *x,
                           om_sv *scale, double *epsilon)
{
    for (uint32_t i = 0; n && n->n_in == 2 && i < 2; i++) {
        *epsilon = -1;
        *scale = n->in[1 - i];
        if (is_unit(f, n->in[i], x, epsilon) && fz_is_row(f, *scale, *x))
            return true;
    }
    return false;
}

static int put_norm(struct fuse *f, struct om_doc_node *n, double epsilon)
{
    if (!om_doc_put_int(f->d, n, "axis", -1) ||
        !om_doc_put_float(f->d, n, "epsilon", (float)epsilon) ||
        !om_doc_put_int(f->d, n, "stash_type", 1))
        return fz_no_memory(f);
    return 0;
}

/* ---- LayerNormalization ---- */

/* x - mean(x) */
static bool is_centred(const struct fuse *f, om_sv name, om_sv *x)
{
    const struct om_doc_node *const n = fz_made_by(f, name, "Sub");
    om_sv of;

    if (!n || n->n_in != 2 || !is_mean(f, n->in[1], &of) || !om_sv_eq(of, n->in[0]))
        return false;
    *x = of;
    return true;
}

int fz_layer_norm(struct fuse *f, struct om_doc_node *n)
{
    if (f->config->disable_layer_norm || !fz_is(n, "", "Add"))
        return 0;
    for (uint32_t i = 0; n->n_in == 2 && i < 2; i++) {
        const struct om_doc_node *const m = fz_made_by(f, n->in[i], "Mul");
        om_sv centred, x, scale;
        double epsilon = 0;

        if (is_scaled_unit(f, m, &centred, &scale, &epsilon) && is_centred(f, centred, &x) &&
            fz_is_row(f, n->in[1 - i], x) && fz_is_float(f, x)) {
            const om_sv in[] = { x, scale, n->in[1 - i] };

            OM_TRY(fz_become(f, n, "", "LayerNormalization", in, 3));
            return put_norm(f, n, epsilon);
        }
    }
    return 0;
}

/* ---- RMS normalization ----
 *
 * Before opset 23 it has no operator of its own: ONNX Runtime's SimplifiedLayerNormalization lies
 * in the default domain, where no checker knows it. So it is fused where there is a residual sum
 * for SkipSimplifiedLayerNormalization, and else stays in its parts, which ONNX Runtime fuses when
 * it loads the file. */

static bool is_rms_norm(const struct fuse *f, const struct om_doc_node *n, om_sv *x, om_sv *scale,
                        double *epsilon)
{
    om_sv of;

    *epsilon = 0;
    return !f->config->disable_layer_norm && fz_is(n, "", "Mul") && n->n_out == 1 &&
           is_scaled_unit(f, n, x, scale, epsilon) && !is_centred(f, *x, &of) &&
           fz_is_float(f, *x) && fz_same_shape(f, *x, n->out[0]);
}

int fz_rms_norm(struct fuse *f, struct om_doc_node *n)
{
    om_sv in[2];
    double epsilon;

    if (f->opset < 23 || !is_rms_norm(f, n, &in[0], &in[1], &epsilon))
        return 0;
    OM_TRY(fz_become(f, n, "", "RMSNormalization", in, 2));
    return put_norm(f, n, epsilon);
}

/* ---- with the residual ---- */

struct skip {
    const char *op;
    om_sv x;     /* the sum that is normalized */
    om_sv in[5]; /* input, skip, scale, [shift], [bias] */
    uint32_t n_in;
    double epsilon;
};

static bool has_skip_form(const struct fuse *f, om_sv name)
{
    const struct om_value *const x = fz_shape(f, name);

    return x && (x->rank == 2 || x->rank == 3);
}

static bool is_last_axis(const struct fuse *f, const struct om_doc_node *n)
{
    const struct om_value *const x = fz_shape(f, n->in[0]);
    int64_t axis;

    return fz_int(n, "axis", -1, &axis) && x && (axis == -1 || axis == (int64_t)x->rank - 1);
}

/* The operator, or RMS normalization in its parts. */
static bool read_norm(const struct fuse *f, const struct om_doc_node *n, struct skip *s)
{
    const bool parts = is_rms_norm(f, n, &s->x, &s->in[2], &s->epsilon);
    const bool rms =
        parts || fz_is(n, "", "SimplifiedLayerNormalization") || fz_is(n, "", "RMSNormalization");

    if (!rms && !fz_is(n, "", "LayerNormalization"))
        return false;
    if (!parts) {
        if (n->n_out != 1 || n->n_in > (rms ? 2u : 3u) || !is_last_axis(f, n) ||
            !fz_float(n, "epsilon", 1e-5, &s->epsilon))
            return false;
        s->x = n->in[0];
        s->in[2] = n->in[1];
    }
    if (!has_skip_form(f, s->x) || !fz_is_row(f, s->in[2], s->x) || !fz_is_outer(f, s->in[2]))
        return false;
    s->op = rms ? "SkipSimplifiedLayerNormalization" : "SkipLayerNormalization";
    s->n_in = 3;
    if (!rms && n->n_in == 3 && n->in[2].len > 0) {
        if (!fz_is_outer(f, n->in[2]) || !fz_is_row(f, n->in[2], s->x))
            return false;
        s->in[s->n_in++] = n->in[2];
    }
    return true;
}

/* One of the two summands is itself a sum with a vector: that becomes the operator's bias. */
static void take_bias(const struct fuse *f, struct skip *s)
{
    const bool rms = om_sv_is(om_sv_str(s->op), "SkipSimplifiedLayerNormalization");

    for (uint32_t i = 0; i < 2 && !f->config->disable_bias_skip_layer_norm; i++) {
        const struct om_doc_node *const n = fz_made_by(f, s->in[i], "Add");

        for (uint32_t k = 0; n && n->n_in == 2 && fz_uses(f, n->out[0]) == 1 && k < 2; k++) {
            if (!fz_const(f, n->in[k]) || !fz_is_row(f, n->in[k], n->in[1 - k]) ||
                !fz_same_shape(f, n->in[1 - k], s->in[i]))
                continue;
            if (!rms && s->n_in == 3)
                s->in[s->n_in++] = (om_sv){ "", 0 };
            s->in[s->n_in++] = n->in[k];
            s->in[i] = n->in[1 - k];
            return;
        }
    }
}

/* The fused node takes the place of the sum, whose readers may come before the normalization's. */
static int replace_sum(struct fuse *f, struct om_doc_node *sum, struct om_doc_node *norm,
                       const struct skip *s)
{
    const bool shared = fz_uses(f, sum->out[0]) > 1; /* by parts of the norm, too: fz_trim() */
    om_sv *const out = om_arena_array(f->d->arena, 4, sizeof(*out));

    if (!out)
        return fz_no_memory(f);
    out[0] = norm->out[0];
    out[1] = out[2] = (om_sv){ "", 0 };
    out[3] = sum->out[0];
    OM_TRY(fz_become(f, sum, "com.microsoft", s->op, s->in, s->n_in));
    f->fused -= fz_is(norm, "", "RMSNormalization"); /* was counted */
    sum->out = out;
    sum->n_out = shared ? 4 : 1;
    if (om_map_put(&f->makers, out[0], (uint32_t)(sum - f->g->nodes.items)) < 0)
        return fz_no_memory(f);
    fz_kill(f, norm);
    return om_doc_put_float(f->d, sum, "epsilon", (float)s->epsilon) ? 0 : fz_no_memory(f);
}

int fz_skip_norm(struct fuse *f, struct om_doc_node *n)
{
    struct om_doc_node *sum;
    struct skip s = { .n_in = 0 };

    if (f->config->disable_skip_layer_norm || fz_is_dead(n) || n->n_in < 2 || !read_norm(f, n, &s))
        return 0;
    sum = fz_made_by(f, s.x, "Add");
    if (!sum || sum->n_in != 2 || !fz_is_float(f, s.x) ||
        !fz_same_shape(f, sum->in[0], sum->out[0]) || !fz_same_shape(f, sum->in[1], sum->out[0]))
        return 0;
    s.in[0] = sum->in[0];
    s.in[1] = sum->in[1];
    take_bias(f, &s);
    return replace_sum(f, sum, n, &s);
}

int fz_trim(struct fuse *f, struct om_doc_node *n)
{
    const bool skip = fz_is(n, "com.microsoft", "SkipLayerNormalization") ||
                      fz_is(n, "com.microsoft", "SkipSimplifiedLayerNormalization");

    if (skip && n->n_out == 4 && n->out[1].len == 0 && n->out[2].len == 0 &&
        fz_uses(f, n->out[3]) == 0)
        n->n_out = 1;
    return 0;
}
