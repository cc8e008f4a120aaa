/* tests/unit/t_nn.c: scopes, weights and what is missing, ports, and blocks on small values. */
#include "fixture.h"
#include "ref/ref.h"

#include <math.h>

static const char config[] = "{\"model_type\": \"bert\", \"architectures\": [\"BertForMaskedLM\"]}";

static const struct fixture_tensor tensors[] = {
    { .name = "bert.table.weight", .rank = 2, .dims = { 9, 4 } },
    { .name = "bert.small.weight", .rank = 2, .dims = { 5, 4 } },
    { .name = "bert.layer.0.norm.gamma", .rank = 1, .dims = { 4 } },
    { .name = "bert.layer.0.norm.beta", .rank = 1, .dims = { 4 } },
    { .name = "bert.layer.0.dense.weight", .rank = 2, .dims = { 3, 4 } },
    { .name = "bert.layer.0.dense.bias", .rank = 1, .dims = { 3 } },
};

static const char *const text_axes[] = { "batch_size", "sequence_length", NULL };

static void scopes(struct test *t)
{
    struct fixture f;
    om_scope root, s;

    if (!fixture_open(t, &f, tensors, OM_COUNT(tensors), config))
        return;
    root = fixture_begin(t, &f);
    CHECK_STR(t, root.weights, "");
    CHECK_STR(t, root.path, "");
    s = om_sub(root, "encoder.layer.%d", 12);
    CHECK_STR(t, s.weights, "encoder.layer.12.");
    CHECK_STR(t, s.path, "encoder/layer.12");
    s = om_sub(s, "attention.self");
    CHECK_STR(t, s.weights, "encoder.layer.12.attention.self.");
    CHECK_STR(t, s.path, "encoder/layer.12/attention/self");
    s = om_named(s, "rotary");
    CHECK_STR(t, s.weights, "encoder.layer.12.attention.self.");
    CHECK_STR(t, s.path, "encoder/layer.12/attention/self/rotary");
    CHECK_STR(t, om_sub_optional(root, "bert").weights, "bert.");
    CHECK_STR(t, om_sub_optional(root, "ber").weights, "");
    CHECK(t, om_has_weight(om_sub(root, "bert.layer.0.norm"), "weight"));
    CHECK(t, om_has_weight(om_sub(root, "bert.layer.0.norm"), "bias"));
    CHECK(t, !om_has_weight(om_sub(root, "bert.layer.1.norm"), "bias"));
    CHECK(t, !om_valid(om_weight_optional(root, "nothing")));
    CHECK_INT(t, f.b.n_missing, 0);
    fixture_close(&f);
}

/* The whole list in one error, whatever hangs on it. */
static void missing(struct test *t)
{
    struct fixture f;
    om_scope root;
    om_val x;

    if (!fixture_open(t, &f, tensors, OM_COUNT(tensors), config))
        return;
    root = fixture_begin(t, &f);
    x = om_embed(om_sub(root, "bert.table"),
                 om_builder_input(&f.b, "input_ids", OM_I64, text_axes));
    CHECK(t, om_valid(x));
    x = om_linear(om_sub(root, "qa_outputs"), x);
    CHECK(t, !om_valid(x));
    x = om_layer_norm(om_sub(root, "bert.layer.0.norm"), om_add(root, x, x), 1e-5);
    x = om_merge_heads(root, om_split_heads(root, om_concat(root, x, x, -1), 2, 3));
    CHECK(t, !om_valid(om_linear(om_sub(root, "qa_outputs"), x))); /* asked for twice, named once */
    om_output(root, "logits", x);
    CHECK_INT(t, om_builder_finish(&f.b, &f.err), OM_E_MISSING);
    CHECK_HAS(
        t, om_error_text(&f.err),
        "/model.safetensors: 2 tensors are missing: \"qa_outputs.bias\", \"qa_outputs.weight\""
        " (the checkpoint was saved from a BertForMaskedLM)");
    fixture_close(&f);
}

static void keep_line(void *user, enum om_level level, const char *line)
{
    if (level == OM_LOG_DEBUG)
        om_buf_printf(user, "%s\n", line);
}

/* What the graph does not use is named, and no mistake. */
static void surplus(struct test *t)
{
    struct om_buf log = OM_BUF_INIT(10000);
    struct om_ctx *ctx = om_ctx_new();
    struct fixture f;
    om_scope root;
    om_val x;

    if (!fixture_open(t, &f, tensors, OM_COUNT(tensors), config))
        return;
    om_ctx_set_log(ctx, keep_line, &log, OM_LOG_DEBUG);
    root = fixture_begin(t, &f);
    f.b.ctx = ctx;
    x = om_embed(om_sub(root, "bert.table"),
                 om_builder_input(&f.b, "input_ids", OM_I64, text_axes));
    om_output(root, "y", om_linear(om_sub(root, "bert.layer.0.dense"), x));
    CHECK_OK(t, fixture_finish(&f), &f.err);
    CHECK_STR(t, log.ptr,
              "model.onnx: tensor \"bert.small.weight\" is not used\n"
              "model.onnx: tensor \"bert.layer.0.norm.gamma\" is not used\n"
              "model.onnx: tensor \"bert.layer.0.norm.beta\" is not used\n");
    om_ctx_free(ctx);
    om_buf_release(&log);
    fixture_close(&f);
}

/* A number of layers that no checkpoint has ends early. */
static void missing_without_end(struct test *t)
{
    struct fixture f;
    om_scope root;
    int64_t i;

    if (!fixture_open(t, &f, tensors, OM_COUNT(tensors), config))
        return;
    root = fixture_begin(t, &f);
    for (i = 0; i < INT32_MAX && om_ok(root); i++)
        om_linear(om_sub(root, "layer.%" PRId64, i), (om_val){ 0 });
    CHECK(t, i < 10000);
    CHECK_INT(t, om_builder_finish(&f.b, &f.err), OM_E_MISSING);
    CHECK_HAS(t, om_error_text(&f.err), "such as \"layer.0.weight\"");
    fixture_close(&f);
}

static void limits(struct test *t)
{
    struct fixture f;
    om_scope root;
    om_val ids, other, x;

    if (!fixture_open(t, &f, tensors, OM_COUNT(tensors), config))
        return;
    root = fixture_begin(t, &f);
    ids = om_builder_input(&f.b, "input_ids", OM_I64, text_axes);
    other = om_builder_input(&f.b, "other", OM_I64, text_axes);
    x = om_embed(om_sub(root, "bert.table"), ids);
    CHECK_INT(t, f.g->inputs[0].limit, 9);
    x = om_add(root, x, om_embed(om_sub(root, "bert.small"), ids));
    x = om_add(root, x, om_embed(om_sub(root, "bert.table"), om_add(root, other, om_i64(root, 1))));
    CHECK_INT(t, f.g->inputs[0].limit, 5);
    CHECK_INT(t, f.g->inputs[1].limit, 0);
    om_output(root, "y", x);
    CHECK_OK(t, fixture_finish(&f), &f.err);
    CHECK_OK(t, om_graph_verify(f.g, &f.err), &f.err);
    fixture_close(&f);
}

/* The storage dtype stays in the file; tables are looked up before they are converted. */
static void storage(struct test *t)
{
    struct fixture f;
    om_scope root;
    om_val x;

    if (!fixture_open(t, &f, tensors, OM_COUNT(tensors), config))
        return;
    root = fixture_begin(t, &f);
    f.b.storage = OM_F16;
    x = om_embed(om_sub(root, "bert.table"),
                 om_builder_input(&f.b, "input_ids", OM_I64, text_axes));
    x = om_linear(om_sub(root, "bert.layer.0.dense"), x);
    om_output(root, "y", x);
    CHECK_OK(t, fixture_finish(&f), &f.err);
    CHECK_INT(t, f.g->n_weights, 3);
    for (size_t i = 0; i < f.g->n_weights; i++) {
        test_case(t, "%.*s", OM_SV(f.g->weights[i].name));
        CHECK_INT(t, f.g->weights[i].dtype, OM_F16);
        CHECK_INT(t, f.g->weights[i].src_dtype, OM_F32);
    }
    test_case(t, "nodes");
    CHECK_INT(t, f.g->nodes[0].op, OM_OP_Gather);
    CHECK_INT(t, f.g->nodes[1].op, OM_OP_Cast);
    CHECK_INT(t, om_graph_value(f.g, f.g->blocks[0].outputs[0].val)->dtype, OM_F32);
    fixture_close(&f);
}

/* A linear layer takes a matrix of [in, out] as it lies; elsewhere the view stays a view. */
static void transposed(struct test *t)
{
    static const struct {
        int64_t strides[2];
        int64_t trans; /* of the operator */
        int64_t dims[2];
    } cases[] = {
        { { 1, 3 }, 0, { 4, 3 } },
        { { 4, 1 }, 1, { 3, 4 } },
        { { 1, 2 }, 1, { 3, 4 } }, /* overlapping rows are no matrix */
        { { 0, 1 }, 1, { 3, 4 } },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_ckpt_tensor *w;
        struct fixture f;
        om_scope root;
        om_val x;
        uint32_t at = 0;

        test_case(t, "strides %" PRId64 ", %" PRId64, cases[i].strides[0], cases[i].strides[1]);
        if (!fixture_open(t, &f, tensors, OM_COUNT(tensors), config))
            return;
        CHECK(t, om_map_get(&f.ckpt->by_name, OM_SVL("bert.layer.0.dense.weight"), &at));
        w = &f.ckpt->tensors[at];
        w->strides = cases[i].strides;
        root = fixture_begin(t, &f);
        x = om_embed(om_sub(root, "bert.table"),
                     om_builder_input(&f.b, "input_ids", OM_I64, text_axes));
        om_output(root, "y", om_linear(om_sub(root, "bert.layer.0.dense"), x));
        CHECK_OK(t, fixture_finish(&f), &f.err);
        for (size_t n = 0; n < f.g->n_nodes; n++)
            if (f.g->nodes[n].op == OM_OP_Linear)
                CHECK_INT(t, om_node_int(&f.g->nodes[n], "transB", 0), cases[i].trans);
        for (size_t k = 0; k < f.g->n_weights; k++)
            if (om_sv_eq(f.g->weights[k].name, w->name)) {
                CHECK_INT(t, f.g->weights[k].dims[0], cases[i].dims[0]);
                CHECK_INT(t, f.g->weights[k].dims[1], cases[i].dims[1]);
                CHECK_INT(t, f.g->weights[k].strides == NULL, i < 2);
            }
        fixture_close(&f);
    }
}

static void fixed_axes(struct test *t)
{
    static const struct om_axis_fix fixes[] = { { "sequence_length", 16 }, { "batch_size", 2 } };
    static const struct {
        const char *axis, *free, *fixed;
    } cases[] = {
        { "batch_size", "batch_size", "2" },
        { "past_sequence_length + sequence_length", "past_sequence_length + sequence_length",
          "past_sequence_length + 16" },
        { "2*batch_size*sequence_length", "2*batch_size*sequence_length", "64" },
        { "7", "7", "7" },
    };
    struct fixture f;

    if (!fixture_open(t, &f, tensors, OM_COUNT(tensors), config))
        return;
    fixture_begin(t, &f);
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "%s", cases[i].axis);
        f.b.n_fixes = 0;
        CHECK(t, om_builder_axis(&f.b, cases[i].axis) ==
                     om_dim_parse(f.g->dims, om_sv_str(cases[i].free)));
        f.b.fixes = fixes;
        f.b.n_fixes = OM_COUNT(fixes);
        CHECK(t, om_builder_axis(&f.b, cases[i].axis) ==
                     om_dim_parse(f.g->dims, om_sv_str(cases[i].fixed)));
    }
    fixture_close(&f);
}

/* Each mistake is one message with the scope, and what follows it is quiet. */
static void mistakes(struct test *t)
{
    static const char *const want[] = {
        "a/b: model.onnx has no input \"nothing\"",
        "a/b: axis 2 of a value of rank 2",
        "a/b: output \"y\" was not computed",
        "a/b: expected a tensor of floats, found int64",
    };

    for (size_t i = 0; i < OM_COUNT(want); i++) {
        struct fixture f;
        om_scope s;
        om_val ids;
        if (!fixture_open(t, &f, tensors, OM_COUNT(tensors), config))
            return;
        s = om_sub(fixture_begin(t, &f), "a.b");
        ids = om_builder_input(&f.b, "input_ids", OM_I64, text_axes);
        test_case(t, "%s", want[i]);
        if (i == 0)
            CHECK(t, !om_valid(om_input(s, "nothing")));
        else if (i == 1)
            CHECK_INT(t, om_axis(s, ids, 2), 0);
        else if (i == 2)
            om_output(s, "y", (om_val){ 0 });
        else
            CHECK(t, !om_valid(om_to_compute(s, ids)));
        CHECK(t, !om_ok(s));
        CHECK(t, !om_valid(om_add(s, ids, ids)));
        CHECK(t, om_builder_finish(&f.b, &f.err) < 0);
        CHECK_STR(t, om_error_text(&f.err), want[i]);
        fixture_close(&f);
    }
}

/* ---- values, through the reference executor ---- */

static const float points[] = { -20.0f, -4.5f, -1.25f, -0.5f, 0.0f, 0.25f, 1.0f, 3.75f, 12.0f };

static double tanh_gelu(double x)
{
    return 0.5 * x * (1.0 + tanh(sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
}

static double activation(enum om_act act, double x)
{
    const double sigmoid = 1.0 / (1.0 + exp(-x)), gelu = 0.5 * x * (1.0 + erf(x / sqrt(2.0)));

    switch (act) {
    case OM_ACT_GELU:
        return gelu;
    case OM_ACT_GELU_10:
        return fmin(fmax(gelu, -10.0), 10.0);
    case OM_ACT_GELU_FAST:
        return 0.5 * x * (1.0 + tanh(x * 0.7978845608 * (1.0 + 0.044715 * x * x)));
    case OM_ACT_GELU_NEW:
    case OM_ACT_GELU_TANH:
    case OM_ACT_GELU_ACCURATE:
        return tanh_gelu(x);
    case OM_ACT_QUICK_GELU:
        return x / (1.0 + exp(-1.702 * x));
    case OM_ACT_LAPLACE:
        return 0.5 * (1.0 + erf((x - 0.707107) / (0.282095 * sqrt(2.0))));
    case OM_ACT_LEAKY_RELU:
        return x > 0 ? x : 0.01 * x;
    case OM_ACT_LINEAR:
        return x;
    case OM_ACT_MISH:
        return x * tanh(log1p(exp(x)));
    case OM_ACT_RELU:
        return fmax(x, 0.0);
    case OM_ACT_RELU2:
        return x > 0 ? x * x : 0.0;
    case OM_ACT_RELU6:
        return fmin(fmax(x, 0.0), 6.0);
    case OM_ACT_SIGMOID:
        return sigmoid;
    case OM_ACT_SILU:
        return x * sigmoid;
    case OM_ACT_TANH:
        return tanh(x);
    case OM_ACT_COUNT:
        break;
    }
    return NAN;
}

static void activations(struct test *t)
{
    static const char *const axes[] = { "n", NULL };
    const struct om_tensor in = { .name = "x",
                                  .dtype = OM_F32,
                                  .rank = 1,
                                  .dims = (const int64_t[]){ OM_COUNT(points) },
                                  .data = points };
    const struct om_ref_opts opts = { .ctx = NULL };
    struct om_tensor *out = NULL;
    struct fixture f;
    om_scope root;
    om_val x;
    size_t n = 0;

    if (!fixture_open(t, &f, tensors, OM_COUNT(tensors), config))
        return;
    root = fixture_begin(t, &f);
    x = om_builder_input(&f.b, "x", OM_F32, axes);
    for (int i = 0; i < OM_ACT_COUNT; i++)
        om_output(root, om_act_name(i), om_activate(root, i, x));
    CHECK_OK(t, fixture_finish(&f), &f.err);
    CHECK_OK(t, om_ref_run(f.g, &in, 1, &opts, &f.arena, &out, &n, &f.err), &f.err);
    CHECK_INT(t, n, OM_ACT_COUNT);
    for (int i = 0; i < (int)n; i++)
        for (size_t k = 0; k < OM_COUNT(points); k++) {
            const double want = activation(i, points[k]), got = ((const float *)out[i].data)[k];
            test_case(t, "%s of %g", om_act_name(i), (double)points[k]);
            test_check(t, fabs(got - want) <= 1e-6 * fmax(1.0, fabs(want)), __FILE__, __LINE__,
                       "got %g, want %g", got, want);
        }
    fixture_close(&f);
}

/* A query that sees no key weighs all of them equally, and nothing becomes NaN. */
static void hidden_keys(struct test *t)
{
    static const char *const mask_axes[] = { "batch_size", "keys", NULL };
    static const char *const axes[] = { "batch_size", "1", "keys", "1", NULL };
    static const int64_t seen[] = { 1, 1, 0, 0, 0, 0, 0, 0, 1 };
    static const float values[] = { 1, 2, 6, 1, 2, 6, 1, 2, 6 }, want[] = { 1.5f, 3.0f, 6.0f };
    const struct om_tensor in[] = {
        { .name = "mask",
          .dtype = OM_I64,
          .rank = 2,
          .dims = (const int64_t[]){ 3, 3 },
          .data = seen },
        { .name = "q",
          .dtype = OM_F32,
          .rank = 4,
          .dims = (const int64_t[]){ 3, 1, 3, 1 },
          .data = (const float[9]){ 0 } },
        { .name = "v",
          .dtype = OM_F32,
          .rank = 4,
          .dims = (const int64_t[]){ 3, 1, 3, 1 },
          .data = values },
    };
    const struct om_ref_opts opts = { .ctx = NULL };
    struct om_tensor *out = NULL;
    struct om_attend at = { 0 };
    struct fixture f;
    om_scope root;
    om_val mask;
    size_t n = 0;

    if (!fixture_open(t, &f, tensors, OM_COUNT(tensors), config))
        return;
    root = fixture_begin(t, &f);
    mask = om_builder_input(&f.b, "mask", OM_I64, mask_axes);
    at.q = at.k = om_builder_input(&f.b, "q", OM_F32, axes);
    at.v = om_builder_input(&f.b, "v", OM_F32, axes);
    at.mask = om_mask_padding(root, mask);
    om_output(root, "y", om_attend(root, &at));
    CHECK_OK(t, fixture_finish(&f), &f.err);
    CHECK_OK(t, om_ref_run(f.g, in, 3, &opts, &f.arena, &out, &n, &f.err), &f.err);
    for (int i = 0; i < 9 && n == 1; i++) {
        test_case(t, "query %d", i);
        CHECK(t, fabsf(((const float *)out[0].data)[i] - want[i / 3]) < 1e-6f);
    }
    fixture_close(&f);
}

/* The slopes of the paper: of 8 heads 1/2 .. 1/256; of 12 these and every second one of 16. */
static void alibi_slopes(struct test *t)
{
    static const struct {
        struct om_alibi a;
        float want[6];
    } cases[] = {
        { { .heads = 4, .most = 8 }, { 0.25f, 0.0625f, 0.015625f, 0.00390625f } },
        { { .heads = 6, .most = 8 }, { 0.25f, 0.0625f, 0.015625f, 0.00390625f, 0.5f, 0.125f } },
        { { .heads = 1, .most = 3 }, { 0.125f } },
        { { .heads = 3, .most = 5 }, { 0.1767767f, 0.03125f, 0.4204482f } },
        { { .heads = 3, .most = 5, .bfloat16 = true }, { 0.1767578f, 0.03125f, 0.4199219f } },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        float got[6];

        om_alibi_slopes(&cases[i].a, got);
        for (int64_t h = 0; h < cases[i].a.heads; h++) {
            test_case(t, "%" PRId64 " heads, head %" PRId64, cases[i].a.heads, h);
            CHECK(t, fabsf(got[h] - cases[i].want[h]) < 1e-7f);
        }
    }
}

/* Which columns of a fused layer become which head: 4 query heads, 2 key heads of size 1. */
static void fused_heads(struct test *t)
{
    static const struct {
        struct om_fused f;
        float want[3][4];
    } cases[] = {
        { { .groups = 1, .heads = 4, .kv_heads = 2 }, { { 0, 1, 2, 3 }, { 4, 5 }, { 6, 7 } } },
        { { .groups = 2, .heads = 4, .kv_heads = 2 }, { { 0, 1, 4, 5 }, { 2, 6 }, { 3, 7 } } },
        { { .groups = 2, .heads = 4, .kv_heads = 2, .value_first = true },
          { { 0, 1, 4, 5 }, { 3, 7 }, { 2, 6 } } },
    };
    static const char *const axes[] = { "1", "1", "8", NULL }, *const names[] = { "q", "k", "v" };
    static const float x[] = { 0, 1, 2, 3, 4, 5, 6, 7 };
    static const int64_t dims[] = { 1, 1, 8 };
    const struct om_tensor in = {
        .name = "x", .dtype = OM_F32, .rank = 3, .dims = dims, .data = x
    };
    const struct om_ref_opts opts = { .ctx = NULL };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_fused how = cases[i].f;
        struct om_attend at = { 0 };
        struct om_tensor *out;
        struct fixture f;
        om_scope root;
        size_t n = 0;

        if (!fixture_open(t, &f, tensors, OM_COUNT(tensors), config))
            return;
        root = fixture_begin(t, &f);
        how.head_dim = 1;
        om_split_fused(root, &how, om_builder_input(&f.b, "x", OM_F32, axes), &at);
        for (int k = 0; k < 3; k++)
            om_output(root, names[k], k == 0 ? at.q : k == 1 ? at.k : at.v);
        CHECK_OK(t, fixture_finish(&f), &f.err);
        CHECK_OK(t, om_ref_run(f.g, &in, 1, &opts, &f.arena, &out, &n, &f.err), &f.err);
        for (size_t k = 0; k < n; k++)
            for (int64_t h = 0; h < out[k].dims[1]; h++) {
                test_case(t, "case %zu, head %" PRId64 " of %s", i, h, names[k]);
                CHECK(t, ((const float *)out[k].data)[h] == cases[i].want[k][h]);
            }
        fixture_close(&f);
    }
}

const struct test_entry t_nn[] = {
    { "scopes", scopes },           { "missing", missing },
    { "surplus", surplus },         { "missing_without_end", missing_without_end },
    { "limits", limits },           { "storage", storage },
    { "transposed", transposed },   { "fixed_axes", fixed_axes },
    { "mistakes", mistakes },       { "activations", activations },
    { "hidden_keys", hidden_keys }, { "alibi_slopes", alibi_slopes },
    { "fused_heads", fused_heads }, TEST_END
};
