/* src/quant/marks.c: which tensors take part, by operator, as ONNX Runtime's QDQ quantizer has it.
 */
#include "quant/marks.h"

#include <stdlib.h>

/* ---- marking ---- */

struct om_qdq_mark *om_marks_find(const struct om_marks *x, om_sv name)
{
    uint32_t at;

    return om_map_get(&x->by_name, name, &at) && !x->items[at].gone ? &x->items[at] : NULL;
}

static bool is_marked(const struct om_marks *x, om_sv name)
{
    return om_marks_find(x, name) || om_map_get(&x->bias_by_name, name, NULL);
}

const struct om_doc_tensor *om_marks_tensor(struct om_marks *x, om_sv name, struct om_marks **owner)
{
    uint32_t at;

    for (; x && name.len > 0; x = x->parent) {
        if (om_map_get(&x->tensors, name, &at)) {
            if (owner)
                *owner = x;
            return &x->g->tensors.items[at];
        }
        if (om_map_get(&x->makers, name, NULL))
            return NULL;
    }
    return NULL;
}

static const struct om_doc_tensor *tensor_of(const struct om_marks *x, om_sv name)
{
    return om_marks_tensor((struct om_marks *)(uintptr_t)x, name, NULL);
}

static bool is_float(const struct om_marks *x, om_sv name)
{
    return name.len > 0 && om_doc_types_find(x->j->types, x->g, name) == OM_Q_F32;
}

bool om_marks_output(const struct om_marks *x, om_sv name)
{
    for (size_t i = 0; i < x->g->outputs.len; i++)
        if (om_sv_eq(x->g->outputs.items[i].name, name))
            return true;
    return false;
}

static int mark(struct om_marks *x, om_sv name, enum om_mark_kind kind, int axis, om_sv from)
{
    struct om_qdq_mark m = { .name = name, .kind = kind, .axis = axis, .from = from };
    struct om_qdq_mark *const old = om_marks_find(x, name);
    struct om_marks *owner = x;

    if (!is_float(x, name))
        return 0;
    m.tensor = om_marks_tensor(x, name, &owner) != NULL;
    if (owner != x) /* its numbers are there, its nodes here */
        OM_TRY(mark(owner, name, kind, axis, from));
    if (old) {
        if (kind == OM_MARK_SHARED)
            old->kind = OM_MARK_SHARED, old->from = from;
        if (axis >= 0 && !old->table)
            old->axis = axis, old->kind = OM_MARK_WEIGHT;
        return 0;
    }
    if (!om_grow(&x->items, &x->cap, x->n + 1, sizeof(*x->items)) ||
        om_map_put(&x->by_name, name, (uint32_t)x->n) < 0)
        return om_quant_no_memory(x->j);
    x->items[x->n++] = m;
    return 0;
}

static const om_sv nobody = { "", 0 };

static int mark_activation(struct om_marks *x, om_sv name)
{
    return mark(x, name, OM_MARK_ACTIVATION, -1, nobody);
}

/* What is looked up has the table's parameters, which cannot be one per row or column. */
static int mark_table(struct om_marks *x, om_sv name)
{
    OM_TRY(mark_activation(x, name));
    for (; x; x = x->parent) {
        struct om_qdq_mark *const m = om_marks_find(x, name);

        if (m && m->tensor) {
            m->table = true;
            m->axis = -1;
        }
    }
    return 0;
}

static int mark_shared(struct om_marks *x, om_sv name, om_sv from)
{
    return mark(x, name, OM_MARK_SHARED, -1, from);
}

static int mark_weight(struct om_marks *x, om_sv name, int axis)
{
    const struct om_doc_tensor *const t = tensor_of(x, name);
    const bool per_channel =
        x->j->config->per_channel && t && axis >= 0 && (uint32_t)axis < t->rank;

    return mark(x, name, OM_MARK_WEIGHT, per_channel ? axis : -1, nobody);
}

/* A bias that is an initializer and nobody's yet becomes int32. */
static int mark_bias(struct om_marks *x, om_sv name, om_sv input, om_sv weight, float beta)
{
    const struct om_doc_tensor *const t = tensor_of(x, name);

    if (!t || t->type != OM_Q_F32 || om_map_get(&x->bias_by_name, name, NULL) ||
        om_marks_find(x, name))
        return 0;
    if (!om_grow(&x->biases, &x->cap_biases, x->n_biases + 1, sizeof(*x->biases)) ||
        om_map_put(&x->bias_by_name, name, (uint32_t)x->n_biases) < 0)
        return om_quant_no_memory(x->j);
    x->biases[x->n_biases++] =
        (struct om_qdq_bias){ .name = name, .input = input, .weight = weight, .beta = beta };
    return 0;
}

static om_sv input(const struct om_doc_node *n, uint32_t i)
{
    return i < n->n_in ? n->in[i] : nobody;
}

static bool keeps_outputs(const struct om_marks *x, const struct om_doc_node *n)
{
    return om_map_get(&x->float_outputs, n->op, NULL);
}

static int mark_output(struct om_marks *x, om_sv name)
{
    OM_TRY(mark_activation(x, name));
    if (om_marks_find(x, name))
        om_marks_find(x, name)->made = true;
    return 0;
}

static int mark_outputs(struct om_marks *x, const struct om_doc_node *n)
{
    for (uint32_t i = 0; i < n->n_out && !keeps_outputs(x, n); i++)
        OM_TRY(mark_output(x, n->out[i]));
    return 0;
}

static int do_all(struct om_marks *x, const struct om_doc_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        OM_TRY(mark_activation(x, n->in[i]));
    return mark_outputs(x, n);
}

static int do_matmul(struct om_marks *x, const struct om_doc_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        OM_TRY(tensor_of(x, n->in[i]) ? mark_weight(x, n->in[i], 1) : mark_activation(x, n->in[i]));
    return mark_outputs(x, n);
}

static int do_gemm(struct om_marks *x, const struct om_doc_node *n)
{
    int64_t transposed = 0;
    float beta = 1.0f;

    OM_TRY(om_doc_attr_int(n, "transB", &transposed, x->j->err));
    OM_TRY(om_doc_attr_float(n, "beta", &beta, x->j->err));
    OM_TRY(mark_activation(x, input(n, 0)));
    OM_TRY(mark_outputs(x, n));
    OM_TRY(mark_weight(x, input(n, 1), transposed ? 0 : 1));
    /* Another beta would have to go into the scale: such a bias stays. */
    return beta == 1.0f ? mark_bias(x, input(n, 2), input(n, 0), input(n, 1), beta) : 0;
}

static int do_conv(struct om_marks *x, const struct om_doc_node *n)
{
    OM_TRY(mark_activation(x, input(n, 0)));
    OM_TRY(mark_outputs(x, n));
    OM_TRY(mark_weight(x, input(n, 1), om_sv_is(n->op, "Conv") ? 0 : 1));
    return mark_bias(x, input(n, 2), input(n, 0), input(n, 1), 1.0f);
}

static int do_norm(struct om_marks *x, const struct om_doc_node *n)
{
    OM_TRY(mark_activation(x, input(n, 0)));
    OM_TRY(tensor_of(x, input(n, 1)) ? mark_weight(x, input(n, 1), 1)
                                     : mark_activation(x, input(n, 1)));
    OM_TRY(mark_bias(x, input(n, 2), input(n, 0), input(n, 1), 1.0f));
    return mark_outputs(x, n);
}

static int do_gather(struct om_marks *x, const struct om_doc_node *n)
{
    const struct om_doc_tensor *const t = tensor_of(x, input(n, 0));

    if (t && t->type == OM_Q_F32)
        OM_TRY(mark_table(x, n->in[0]));
    return is_marked(x, input(n, 0)) ? mark_shared(x, n->out[0], n->in[0]) : 0;
}

/* What only moves elements has the parameters of its input. */
static int do_move(struct om_marks *x, const struct om_doc_node *n)
{
    return om_marks_find(x, input(n, 0)) && !keeps_outputs(x, n)
               ? mark_shared(x, n->out[0], n->in[0])
               : 0;
}

static int do_split(struct om_marks *x, const struct om_doc_node *n)
{
    OM_TRY(mark_activation(x, input(n, 0)));
    for (uint32_t i = 0; i < n->n_out && !keeps_outputs(x, n); i++)
        OM_TRY(mark_shared(x, n->out[i], input(n, 0)));
    return 0;
}

/* One number of an initializer; false: it is none, or not one number. */
static bool scalar_of(const struct om_marks *x, om_sv name, float *value)
{
    const struct om_doc_tensor *const t = tensor_of(x, name);
    struct om_weight w;

    if (!t || t->type != OM_Q_F32 || t->bytes != sizeof(float) ||
        om_doc_weight(x->j->doc, t, &w, NULL) < 0)
        return false;
    om_affine_load(&w, 0, 1, value);
    return true;
}

/* What pads with zeros, or with what is there, has the parameters of its input. */
static int do_pad(struct om_marks *x, const struct om_doc_node *n)
{
    const struct om_doc_attr *const mode = om_doc_attr(n, "mode");
    float value = 0;

    for (uint32_t i = 0; i < n->n_in; i++)
        OM_TRY(mark_activation(x, n->in[i]));
    if (keeps_outputs(x, n))
        return 0;
    if ((mode && !om_doc_attr_is(mode, "constant")) || input(n, 2).len == 0 ||
        (scalar_of(x, n->in[2], &value) && value == 0))
        return mark_shared(x, n->out[0], input(n, 0));
    return mark_outputs(x, n);
}

static int do_where(struct om_marks *x, const struct om_doc_node *n)
{
    return is_marked(x, input(n, 1)) && is_marked(x, input(n, 2)) ? mark_outputs(x, n) : 0;
}

/* Does a range around 0 clamp as the node does? */
static bool clamps_around_zero(const struct om_marks *x, const struct om_doc_node *n)
{
    float lo = 0, hi = 0;

    if (om_sv_is(n->op, "Relu"))
        return true;
    return (input(n, 1).len == 0 || (scalar_of(x, n->in[1], &lo) && lo <= 0)) &&
           (input(n, 2).len == 0 || (scalar_of(x, n->in[2], &hi) && hi >= 0));
}

/* A Relu or Clip goes where the range of its output, which its input gets, does the same; the node
 * before gives its output then. */
static int do_clip(struct om_marks *x, const struct om_doc_node *n)
{
    if (!is_marked(x, input(n, 0)))
        return 0;
    if (!x->j->config->activations_symmetric && om_marks_find(x, n->in[0]) &&
        clamps_around_zero(x, n) && om_ranges_readers(x->ranges, x->g, n->in[0]) == 1 &&
        om_map_get(&x->makers, n->in[0], NULL)) {
        x->removed[n - x->g->nodes.items] = true;
        om_marks_find(x, n->in[0])->gone = true;
    }
    return mark_outputs(x, n);
}

struct rule {
    const char *op;
    int (*mark)(struct om_marks *x, const struct om_doc_node *n);
};

static const struct rule rules[] = {
    { "MatMul", do_matmul },
    { "Gemm", do_gemm },
    { "Conv", do_conv },
    { "ConvTranspose", do_conv },
    { "LayerNormalization", do_norm },
    { "InstanceNormalization", do_norm },
    { "BatchNormalization", do_norm },
    { "Gather", do_gather },
    { "GatherElements", do_gather },
    { "Reshape", do_move },
    { "Transpose", do_move },
    { "Squeeze", do_move },
    { "Unsqueeze", do_move },
    { "Flatten", do_move },
    { "Resize", do_move },
    { "MaxPool", do_move },
    { "AveragePool", do_move },
    { "Slice", do_move },
    { "TopK", do_move },
    { "Split", do_split },
    { "Pad", do_pad },
    { "Where", do_where },
    { "Clip", do_clip },
    { "Relu", do_clip },
};

bool om_marks_want(const struct om_marks *x, const struct om_doc_node *n)
{
    if (n->domain.len > 0 || n->n_out == 0 || !om_quant_wants(x->j, n->op, n->name))
        return false;
    return !x->j->config->constant_weights || !om_sv_is(n->op, "MatMul") ||
           tensor_of(x, input(n, 0)) || tensor_of(x, input(n, 1));
}

static int mark_node(struct om_marks *x, const struct om_doc_node *n)
{
    if (!om_marks_want(x, n))
        return 0;
    x->j->converted++;
    for (size_t i = 0; i < OM_COUNT(rules); i++)
        if (om_sv_is(n->op, rules[i].op))
            return rules[i].mark(x, n);
    return do_all(x, n);
}

int om_marks_nodes(struct om_marks *x)
{
    for (size_t i = 0; i < x->g->nodes.len; i++) {
        const struct om_doc_node *const n = &x->g->nodes.items[i];

        OM_TRY(om_wrap(x->j->err, mark_node(x, n), "node \"%.*s\"", OM_SV(n->name)));
        for (uint32_t k = 0; k < n->n_in && om_marks_want(x, n); k++)
            if (om_marks_find(x, n->in[k]))
                om_marks_find(x, n->in[k])->readers++;
    }
    return 0;
}

int om_marks_init(struct om_marks *x)
{
    struct om_doc_graph *const g = x->g;
    const char *const *const stay = x->j->config->float_output_operators;

    x->removed = om_arena_array(x->j->arena, g->nodes.len + 1, sizeof(*x->removed));
    if (!x->removed)
        return om_quant_no_memory(x->j);
    for (size_t i = 0; stay && stay[i]; i++)
        if (om_map_put(&x->float_outputs, om_sv_str(stay[i]), 0) < 0)
            return om_quant_no_memory(x->j);
    for (size_t i = 0; i < g->tensors.len; i++)
        if (om_map_put(&x->tensors, g->tensors.items[i].name, (uint32_t)i) < 0)
            return om_quant_no_memory(x->j);
    for (size_t i = 0; i < g->nodes.len; i++) {
        const struct om_doc_node *const n = &g->nodes.items[i];

        for (uint32_t k = 0; k < n->n_out; k++)
            if (om_map_put(&x->makers, n->out[k], (uint32_t)i) < 0)
                return om_quant_no_memory(x->j);
    }
    return 0;
}

void om_marks_release(struct om_marks *x)
{
    om_map_release(&x->tensors);
    om_map_release(&x->by_name);
    om_map_release(&x->bias_by_name);
    om_map_release(&x->makers);
    om_map_release(&x->float_outputs);
    free(x->items);
    free(x->biases);
}
