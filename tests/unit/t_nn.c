/* tests/unit/t_nn.c: scopes, weights and what is missing, ports, and blocks on small values. */
#include "fixture.h"

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
    CHECK_HAS(t, om_error_text(&f.err),
              "/model.safetensors: 2 tensors are missing: \"qa_outputs.bias\", \"qa_outputs.weight\""
              " (the checkpoint was saved from a BertForMaskedLM)");
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

const struct test_entry t_nn[] = { { "scopes", scopes },
                                   { "missing", missing },
                                   { "missing_without_end", missing_without_end },
                                   { "limits", limits },
                                   { "storage", storage },
                                   { "fixed_axes", fixed_axes },
                                   { "mistakes", mistakes },
                                   TEST_END };
