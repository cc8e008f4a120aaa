/* src/ref/window.c: strides, dilations and paddings as attributes give them, and the table of what
 * a sliding kernel sees. */
#include "ref/window.h"

enum { EXTENT_MAX = 1 << 30 }; /* of anything that is multiplied below */

/* An INTS attribute of n entries, each at least low; absent: all def. */
static int read_list(const struct ref_call *c, const char *name, uint32_t n, int64_t low,
                     int64_t def, int64_t *out)
{
    const struct om_attr *a = om_node_attr(c->node, name);

    if (a && (a->kind != OM_ATTR_INTS || a->n != n))
        return om_fail(c->err, OM_E_FORMAT, "%s: expected %" PRIu32 " numbers, found %" PRIu32,
                       name, n, a->n);
    for (uint32_t i = 0; i < n; i++) {
        out[i] = a ? a->ints[i] : def;
        if (out[i] < low || out[i] > EXTENT_MAX)
            return om_fail(c->err, OM_E_FORMAT, "%s: %" PRId64 " is not possible", name, out[i]);
    }
    return 0;
}

static int read_geometry(const struct ref_call *c, const int64_t *in, const int64_t *kernel,
                         uint32_t n, struct ref_window *w)
{
    int64_t pads[2 * OM_RANK_MAX];

    w->n = n;
    for (uint32_t i = 0; i < n; i++) {
        if (in[i] > EXTENT_MAX || kernel[i] < 1 || kernel[i] > EXTENT_MAX)
            return om_fail(c->err, OM_E_LIMIT, "a kernel of %" PRId64 " over %" PRId64 " elements",
                           kernel[i], in[i]);
        w->in[i] = in[i];
        w->kernel[i] = kernel[i];
    }
    OM_TRY(read_list(c, "strides", n, 1, 1, w->stride));
    OM_TRY(read_list(c, "dilations", n, 1, 1, w->dilation));
    OM_TRY(read_list(c, "pads", 2 * n, 0, 0, pads));
    for (uint32_t i = 0; i < n; i++) {
        w->before[i] = pads[i];
        w->after[i] = pads[n + i];
    }
    return 0;
}

static int64_t span(const struct ref_window *w, uint32_t i)
{
    return (w->kernel[i] - 1) * w->dilation[i] + 1;
}

/* SAME: as many windows as strides fit; what is missing is padded, the odd one after or before. */
static void pad_same(struct ref_window *w, uint32_t i, bool upper)
{
    const int64_t out = (w->in[i] + w->stride[i] - 1) / w->stride[i];
    const int64_t total = OM_MAX((out - 1) * w->stride[i] + span(w, i) - w->in[i], 0);

    w->before[i] = upper ? total / 2 : total - total / 2;
    w->after[i] = total - w->before[i];
}

static void pad_automatically(const struct ref_call *c, struct ref_window *w)
{
    const bool upper = om_ref_attr_is(c, "auto_pad", "SAME_UPPER");
    const bool lower = om_ref_attr_is(c, "auto_pad", "SAME_LOWER");
    const bool valid = om_ref_attr_is(c, "auto_pad", "VALID");

    for (uint32_t i = 0; i < w->n; i++) {
        if (upper || lower)
            pad_same(w, i, upper);
        else if (valid)
            w->before[i] = w->after[i] = 0;
    }
}

static int count_all(const struct ref_call *c, struct ref_window *w)
{
    int64_t places;

    if (!om_count(w->in, w->n, &w->in_count) || !om_count(w->out, w->n, &w->out_count) ||
        !om_count(w->kernel, w->n, &w->kernel_count) ||
        !om_mul_i64(w->kernel_count, w->out_count, &places))
        return om_fail(c->err, OM_E_LIMIT, "the windows are too many");
    return om_ref_work(c->pool, places, 1, c->err);
}

/* The index into the image of window o and kernel place k, both flat. */
static int64_t place(const struct ref_window *w, int64_t k, int64_t o)
{
    int64_t at = 0, step = 1;
    bool padding = false, beyond = false;

    for (uint32_t i = w->n; i-- > 0; k /= w->kernel[i], o /= w->out[i]) {
        const int64_t x =
            o % w->out[i] * w->stride[i] + k % w->kernel[i] * w->dilation[i] - w->before[i];

        padding = padding || x < 0 || x >= w->in[i];
        beyond = beyond || x >= w->in[i] + w->after[i];
        at += x * step;
        step *= w->in[i];
    }
    return beyond ? REF_BEYOND : padding ? REF_PADDING : at;
}

static int make_places(const struct ref_call *c, struct ref_window *w)
{
    int64_t *to;

    OM_TRY(count_all(c, w));
    OM_TRY(om_ref_new(c->pool, &w->places, OM_I64,
                      (const int64_t[]){ w->kernel_count, w->out_count }, 2, c->err));
    to = w->places.data;
    for (int64_t k = 0; k < w->kernel_count; k++)
        for (int64_t o = 0; o < w->out_count; o++)
            *to++ = place(w, k, o);
    return 0;
}

int om_ref_window(const struct ref_call *c, const int64_t *in, const int64_t *kernel, uint32_t n,
                  bool ceil, struct ref_window *w)
{
    *w = (struct ref_window){ .n = n };
    OM_TRY(read_geometry(c, in, kernel, n, w));
    pad_automatically(c, w);
    for (uint32_t i = 0; i < n; i++) {
        const int64_t room = w->in[i] + w->before[i] + w->after[i] - span(w, i);

        w->out[i] = room < 0 ? 0 : (room + (ceil ? w->stride[i] - 1 : 0)) / w->stride[i] + 1;
        /* a window that begins in the padding behind the image does not count */
        if (ceil && w->out[i] > 0 && (w->out[i] - 1) * w->stride[i] >= w->in[i] + w->before[i])
            w->out[i]--;
    }
    return make_places(c, w);
}

int om_ref_window_transposed(const struct ref_call *c, const int64_t *in, const int64_t *kernel,
                             uint32_t n, struct ref_window *w)
{
    const bool upper = om_ref_attr_is(c, "auto_pad", "SAME_UPPER");
    const bool lower = om_ref_attr_is(c, "auto_pad", "SAME_LOWER");
    const bool valid = om_ref_attr_is(c, "auto_pad", "VALID");
    const bool shaped = om_node_attr(c->node, "output_shape") != NULL;
    int64_t more[OM_RANK_MAX], want[OM_RANK_MAX];

    *w = (struct ref_window){ .n = n };
    OM_TRY(read_geometry(c, in, kernel, n, w));
    OM_TRY(read_list(c, "output_padding", n, 0, 0, more));
    OM_TRY(read_list(c, "output_shape", n, 0, 0, want));
    for (uint32_t i = 0; i < n; i++) {
        const int64_t full = w->stride[i] * (w->in[i] - 1) + span(w, i) + more[i];

        w->out[i] = w->in[i]; /* windows of the image that is made */
        if (valid)
            w->before[i] = w->after[i] = 0;
        if (shaped || upper || lower) {
            const int64_t image = shaped ? want[i] : w->in[i] * w->stride[i];
            const int64_t total = OM_MAX(full - image, 0);

            w->before[i] = upper ? total / 2 : total - total / 2;
            w->before[i] = shaped && !lower ? total / 2 : w->before[i];
            w->after[i] = total - w->before[i];
            w->in[i] = image;
        } else {
            w->in[i] = OM_MAX(full - w->before[i] - w->after[i], 0);
        }
    }
    return make_places(c, w);
}
