/* tests/unit/t_arch.c: how an architecture and a task become files: parts, ports in order, the
 * cache, the merged decoder. The architectures are made up: one layer, no norms, every kind of
 * input. */
#include "arch/arch.h"
#include "fixture.h"

enum { HEADS = 2, HEAD_DIM = 2, HIDDEN = HEADS * HEAD_DIM };

static const struct fixture_tensor tensors[] = {
    { .name = "embed.weight", .rank = 2, .dims = { 9, HIDDEN } },
    { .name = "lm_head.weight", .rank = 2, .dims = { 9, HIDDEN } },
    { .name = "classifier.weight", .rank = 2, .dims = { 3, HIDDEN } },
    { .name = "classifier.bias", .rank = 1, .dims = { 3 } },
};

static const char config[] = "{\"model_type\": \"toy\", \"num_labels\": 3}";

static void toy_kv(const void *cfg, struct om_kv *kv)
{
    (void)cfg;
    *kv = (struct om_kv){ .layers = 1, .heads = HEADS, .head_dim = HEAD_DIM, .hidden = HIDDEN };
}

static om_val cached(om_scope s, om_val x, enum om_kv_slot slot)
{
    om_val v = om_split_heads(s, x, HEADS, HEAD_DIM);

    if (s.b->past)
        v = om_concat(s, om_input(s, om_builder_cache_name(s.b, "past_key_values", 0, slot)), v, 2);
    om_builder_set_present(s.b, 0, slot, v);
    return v;
}

static om_val self_attention(om_scope s, om_val x)
{
    const struct om_attend at = { .q = om_split_heads(s, x, HEADS, HEAD_DIM),
                                  .k = cached(s, x, OM_KV_KEY),
                                  .v = cached(s, x, OM_KV_VALUE) };

    return om_merge_heads(s, om_attend(s, &at));
}

static void toy_build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    const om_val mask = om_input(root, "attention_mask");
    om_val x = om_embed(om_sub(root, "embed"), om_input(root, "input_ids"));

    (void)cfg;
    (void)head;
    if (om_has_input(root, "position_ids"))
        x = om_add(root, x, om_embed(om_sub(root, "embed"), om_input(root, "position_ids")));
    x = self_attention(root, x);
    body->hidden =
        om_add(root, x, om_mean(root, om_unsqueeze(root, om_cast(root, mask, OM_F32), 2), 1, true));
}

static om_val toy_encode(om_scope root, const void *cfg, om_val ids, om_val mask)
{
    (void)cfg;
    return om_mul(root, om_embed(om_sub(root, "embed"), ids),
                  om_unsqueeze(root, om_cast(root, mask, OM_F32), 2));
}

static void toy_decode(om_scope root, const void *cfg, om_val ids, om_val encoded, om_val mask,
                       struct om_body *body)
{
    const om_val x = self_attention(root, om_embed(om_sub(root, "embed"), ids));
    struct om_attend at = { .q = om_split_heads(root, x, HEADS, HEAD_DIM),
                            .mask = om_mask_padding(root, mask) };

    (void)cfg;
    if (!om_cache_cross_get(root, 0, &at.k, &at.v)) {
        at.k = at.v = om_split_heads(root, encoded, HEADS, HEAD_DIM);
        om_cache_cross_set(root, 0, &at.k, &at.v);
    }
    body->hidden = om_merge_heads(root, om_attend(root, &at));
}

static void toy_lm(om_scope root, const void *cfg, const struct om_body *body)
{
    (void)cfg;
    om_output(root, "logits", om_linear_nobias(om_sub(root, "lm_head"), body->hidden));
}

static const struct om_arch toy_decoder = {
    .kind = OM_ARCH_DECODER,
    .inputs = (const char *const[]){ "input_ids", "past_key_values", "attention_mask",
                                     "position_ids", NULL },
    .kv = toy_kv,
    .build = toy_build,
    .heads = { [OM_HEAD_HIDDEN] = om_head_hidden,
               [OM_HEAD_CAUSAL_LM] = toy_lm,
               [OM_HEAD_TOKEN] = om_head_token },
};

static const struct om_arch toy_seq2seq = {
    .kind = OM_ARCH_SEQ2SEQ,
    .inputs = (const char *const[]){ "encoder_attention_mask", "input_ids", "encoder_hidden_states",
                                     "past_key_values", NULL },
    .kv = toy_kv,
    .encode = toy_encode,
    .decode = toy_decode,
    .heads = { [OM_HEAD_HIDDEN] = om_head_hidden, [OM_HEAD_SEQ2SEQ_LM] = toy_lm },
};

static struct om_arch_job make_job(const struct fixture *f, const struct om_arch *arch,
                                   const char *task)
{
    struct om_arch_job job = { .arch = arch, .config = &f->config, .ckpt = f->ckpt };

    job.task = om_task_parse(om_sv_str(task), &job.past);
    return job;
}

static void tasks(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    const char *const *list = om_arch_tasks(&a, &toy_decoder);
    struct om_buf text = OM_BUF_INIT(1000);

    for (; *list; list++)
        om_buf_printf(&text, "%s ", *list);
    CHECK_STR(t, text.ptr,
              "feature-extraction feature-extraction-with-past text-generation "
              "text-generation-with-past token-classification ");
    om_buf_release(&text);
    om_arena_release(&a);
}

static void parts(struct test *t)
{
    static const struct {
        const struct om_arch *arch;
        const char *task;
        struct om_arch_layout layout;
        const char *want;
    } cases[] = {
        { &toy_decoder, "text-generation", { 0 }, "model.onnx " },
        { &toy_decoder, "text-generation-with-past", { 0 }, "model.onnx " },
        { &toy_seq2seq, "feature-extraction", { 0 }, "model.onnx " },
        { &toy_seq2seq, "text2text-generation", { 0 }, "encoder_model.onnx decoder_model.onnx " },
        { &toy_seq2seq, "text2text-generation", { .monolith = true }, "model.onnx " },
        { &toy_seq2seq,
          "text2text-generation-with-past",
          { 0 },
          "encoder_model.onnx decoder_model.onnx decoder_with_past_model.onnx "
          "decoder_model_merged.onnx " },
        { &toy_seq2seq,
          "text2text-generation-with-past",
          { .decoder = OM_ARCH_DECODER_MERGED },
          "encoder_model.onnx decoder_model_merged.onnx " },
        { &toy_seq2seq,
          "text2text-generation-with-past",
          { .decoder = OM_ARCH_DECODER_SINGLE },
          "encoder_model.onnx decoder_model_merged.onnx " },
        { &toy_seq2seq,
          "feature-extraction-with-past",
          { .no_merged = true },
          "encoder_model.onnx decoder_model.onnx decoder_with_past_model.onnx " },
        { &toy_seq2seq, "text-classification", { 0 }, "model.onnx " },
    };
    const struct fixture f = { 0 };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const struct om_arch_job job = make_job(&f, cases[i].arch, cases[i].task);
        enum om_part list[OM_PART_COUNT];
        const size_t n = om_arch_parts(&job, &cases[i].layout, list);
        struct om_buf text = OM_BUF_INIT(1000);
        test_case(t, "%s, monolith %d, decoder %d", cases[i].task, cases[i].layout.monolith,
                  (int)cases[i].layout.decoder);
        for (size_t k = 0; k < n; k++)
            om_buf_printf(&text, "%s ", om_part_file(list[k]));
        CHECK_STR(t, text.ptr, cases[i].want);
        om_buf_release(&text);
    }
}

/* "name[axis, axis] name[...] " as the file will show it. */
static void write_ports(struct om_buf *out, struct om_graph *g, const struct om_port *ports,
                        size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct om_value *v = om_graph_value(g, ports[i].val);
        const om_dim *dims = ports[i].dims ? ports[i].dims : v->dims;
        om_buf_printf(out, "%.*s[", OM_SV(ports[i].name));
        for (uint32_t k = 0; k < v->rank; k++)
            om_buf_printf(out, "%s%s", k ? ", " : "",
                          ports[i].axes && ports[i].axes[k] ? ports[i].axes[k]
                                                            : om_dim_text(g->dims, dims[k]));
        om_buf_adds(out, "] ");
    }
}

#define IDS "input_ids[batch_size, sequence_length] "
#define MASK "attention_mask[batch_size, sequence_length] "
#define POSITIONS "position_ids[batch_size, sequence_length] "
#define PAST_AND_NEW "past_sequence_length + sequence_length"
#define D_IDS "input_ids[batch_size, decoder_sequence_length] "
#define D_MASK "encoder_attention_mask[batch_size, encoder_sequence_length] "
#define D_HIDDEN "encoder_hidden_states[batch_size, encoder_sequence_length, 4] "
#define D_PAST(x, len) "past_key_values.0." x "[batch_size, 2, " len "_sequence_length, 2] "
#define D_PASTS                             \
    D_PAST("decoder.key", "past_decoder")   \
    D_PAST("decoder.value", "past_decoder") \
    D_PAST("encoder.key", "encoder") D_PAST("encoder.value", "encoder")
#define D_PASTS_SINGLE                                                            \
    D_PAST("decoder.key", "past_decoder")                                         \
    D_PAST("decoder.value", "past_decoder") D_PAST("encoder.key", "past_encoder") \
        D_PAST("encoder.value", "past_encoder")
#define D_PRESENT(x)       \
    "present.0.decoder." x \
    "[batch_size, 2, past_decoder_sequence_length + decoder_sequence_length, 2] "
#define D_CROSS(x) "present.0.encoder." x "[batch_size, 2, encoder_sequence_length, 2] "
#define D_PRESENTS D_PRESENT("key") D_PRESENT("value")
#define D_PRESENTS_CROSS D_PRESENTS D_CROSS("key") D_CROSS("value")

static const struct {
    const struct om_arch *arch;
    const char *task;
    enum om_part part;
    const char *inputs, *outputs;
} port_cases[] = {
    { &toy_decoder, "text-generation", OM_PART_MODEL, IDS MASK POSITIONS,
      "logits[batch_size, sequence_length, 9] " },
    { &toy_decoder, "text-generation-with-past", OM_PART_MODEL,
      IDS "past_key_values.0.key[batch_size, 2, past_sequence_length, 2] "
          "past_key_values.0.value[batch_size, 2, past_sequence_length, 2] "
          "attention_mask[batch_size, " PAST_AND_NEW "] " POSITIONS,
      "logits[batch_size, sequence_length, 9] "
      "present.0.key[batch_size, 2, " PAST_AND_NEW ", 2] "
      "present.0.value[batch_size, 2, " PAST_AND_NEW ", 2] " },
    { &toy_decoder, "feature-extraction-with-past", OM_PART_MODEL, IDS MASK POSITIONS,
      "last_hidden_state[batch_size, sequence_length, 4] "
      "present.0.key[batch_size, 2, " PAST_AND_NEW ", 2] "
      "present.0.value[batch_size, 2, " PAST_AND_NEW ", 2] " },
    { &toy_decoder, "token-classification", OM_PART_MODEL, IDS MASK,
      "logits[batch_size, sequence_length, 3] " },
    { &toy_seq2seq, "feature-extraction", OM_PART_MODEL,
      "input_ids[batch_size, encoder_sequence_length] "
      "attention_mask[batch_size, encoder_sequence_length] "
      "decoder_input_ids[batch_size, decoder_sequence_length] ",
      "last_hidden_state[batch_size, decoder_sequence_length, 4] " },
    { &toy_seq2seq, "text2text-generation", OM_PART_ENCODER,
      "input_ids[batch_size, encoder_sequence_length] "
      "attention_mask[batch_size, encoder_sequence_length] ",
      "last_hidden_state[batch_size, encoder_sequence_length, 4] " },
    { &toy_seq2seq, "text2text-generation", OM_PART_DECODER, D_MASK D_IDS D_HIDDEN,
      "logits[batch_size, decoder_sequence_length, 9] " },
    { &toy_seq2seq, "text2text-generation-with-past", OM_PART_DECODER, D_MASK D_IDS D_HIDDEN,
      "logits[batch_size, decoder_sequence_length, 9] " D_PRESENTS_CROSS },
    { &toy_seq2seq, "text2text-generation-with-past", OM_PART_DECODER_PAST, D_MASK D_IDS D_PASTS,
      "logits[batch_size, 1, 9] " D_PRESENTS },
    { &toy_seq2seq, "text2text-generation-with-past", OM_PART_DECODER_SINGLE,
      D_MASK D_IDS D_HIDDEN D_PASTS_SINGLE,
      "logits[batch_size, decoder_sequence_length, 9] " D_PRESENTS_CROSS },
    { &toy_seq2seq, "text2text-generation-with-past", OM_PART_DECODER_MERGED,
      D_MASK D_IDS D_HIDDEN D_PASTS "use_cache_branch[1] ",
      "logits[batch_size, decoder_sequence_length, 9] " D_PRESENTS_CROSS },
};

static void ports(struct test *t)
{
    struct fixture f;

    if (!fixture_open(t, &f, tensors, OM_COUNT(tensors), config))
        return;
    for (size_t i = 0; i < OM_COUNT(port_cases); i++) {
        const struct om_arch_job job = make_job(&f, port_cases[i].arch, port_cases[i].task);
        struct om_buf in = OM_BUF_INIT(10000), out = OM_BUF_INIT(10000);
        struct om_graph *g = NULL;
        test_case(t, "%s, %s", port_cases[i].task, om_part_file(port_cases[i].part));
        CHECK_OK(t, om_arch_build(&job, port_cases[i].part, &f.arena, &g, &f.err), &f.err);
        if (!g)
            break;
        CHECK_OK(t, om_graph_verify(g, &f.err), &f.err);
        write_ports(&in, g, g->inputs, g->n_inputs);
        write_ports(&out, g, g->blocks[0].outputs, g->blocks[0].n_outputs);
        CHECK_STR(t, in.ptr, port_cases[i].inputs);
        CHECK_STR(t, out.ptr, port_cases[i].outputs);
        om_buf_release(&in);
        om_buf_release(&out);
        om_graph_free(g);
    }
    fixture_close(&f);
}

/* Two branches with the same outputs; weights once, in the outer graph; empty tensors for the
 * cross-attention. */
static void merged(struct test *t)
{
    const struct om_block *with_past, *no_past;
    struct om_graph *g = NULL;
    struct om_arch_job job;
    struct fixture f;
    size_t from_file = 0;

    if (!fixture_open(t, &f, tensors, OM_COUNT(tensors), config))
        return;
    job = make_job(&f, &toy_seq2seq, "text2text-generation-with-past");
    CHECK_OK(t, om_arch_build(&job, OM_PART_DECODER_MERGED, &f.arena, &g, &f.err), &f.err);
    if (!g) {
        fixture_close(&f);
        return;
    }
    CHECK_INT(t, g->blocks[0].n_nodes, 1);
    CHECK_INT(t, g->nodes[g->blocks[0].nodes[0]].op, OM_OP_If);
    CHECK_INT(t, g->n_blocks, 3);
    with_past = &g->blocks[1];
    no_past = &g->blocks[2];
    CHECK(t, om_sv_is(with_past->name, "with_past") && om_sv_is(no_past->name, "no_past"));
    CHECK_INT(t, with_past->n_outputs, 5);
    CHECK_INT(t, no_past->n_outputs, 5);
    for (size_t i = 3; i < 5 && with_past->n_outputs == 5; i++) {
        const struct om_value *v = om_graph_value(g, with_past->outputs[i].val);
        CHECK_INT(t, v->rank, 4);
        CHECK_STR(t, om_dim_text(g->dims, v->dims[0]), "0");
        CHECK_STR(t, om_dim_text(g->dims, v->dims[1]), "2");
        CHECK_STR(t, om_dim_text(g->dims, v->dims[2]), "1");
    }
    for (size_t i = 0; i < g->n_weights; i++)
        from_file += g->weights[i].file != NULL;
    CHECK_INT(t, from_file, 2); /* embed and lm_head */
    om_graph_free(g);
    fixture_close(&f);
}

/* With every axis fixed nothing in the file has a name. */
static void fixed_axes(struct test *t)
{
    static const struct om_axis_fix fixes[] = { { "batch_size", 2 },
                                                { "sequence_length", 5 },
                                                { "past_sequence_length", 4 } };
    struct om_buf out = OM_BUF_INIT(10000);
    struct om_graph *g = NULL;
    struct om_arch_job job;
    struct fixture f;

    if (!fixture_open(t, &f, tensors, OM_COUNT(tensors), config))
        return;
    job = make_job(&f, &toy_decoder, "text-generation-with-past");
    job.fixes = fixes;
    job.n_fixes = OM_COUNT(fixes);
    CHECK_OK(t, om_arch_build(&job, OM_PART_MODEL, &f.arena, &g, &f.err), &f.err);
    if (g) {
        write_ports(&out, g, g->inputs, g->n_inputs);
        write_ports(&out, g, g->blocks[0].outputs, g->blocks[0].n_outputs);
        CHECK_STR(t, out.ptr,
                  "input_ids[2, 5] past_key_values.0.key[2, 2, 4, 2] "
                  "past_key_values.0.value[2, 2, 4, 2] attention_mask[2, 9] position_ids[2, 5] "
                  "logits[2, 5, 9] present.0.key[2, 2, 9, 2] present.0.value[2, 2, 9, 2] ");
    }
    om_buf_release(&out);
    om_graph_free(g);
    fixture_close(&f);
}

/* The classifier in the checkpoint has three classes. */
static void label_count(struct test *t)
{
    struct om_graph *g = NULL;
    struct om_arch_job job;
    struct fixture f;

    if (!fixture_open(t, &f, tensors, OM_COUNT(tensors),
                      "{\"model_type\": \"toy\", \"id2label\": {\"0\": \"a\"}}"))
        return;
    job = make_job(&f, &toy_decoder, "token-classification");
    CHECK_INT(t, om_arch_build(&job, OM_PART_MODEL, &f.arena, &g, &f.err), OM_E_CONFIG);
    CHECK_STR(t, om_error_text(&f.err),
              "the head's weights in the checkpoint give 3 values, expected 1 "
              "(num_labels or id2label in config.json)");
    fixture_close(&f);
}

/* Whatever piece of memory is refused, the build fails with that and leaves nothing behind. */
static void little_memory(struct test *t)
{
    struct om_arch_job job;
    struct fixture f;
    bool done = false;

    if (!fixture_open(t, &f, tensors, OM_COUNT(tensors), config))
        return;
    job = make_job(&f, &toy_seq2seq, "text2text-generation-with-past");
    for (size_t max = 64; !done && max < (1u << 22); max += 331) {
        struct om_arena a = OM_ARENA_INIT(max);
        struct om_graph *g = NULL;
        const int rc = om_arch_build(&job, OM_PART_DECODER_MERGED, &a, &g, &f.err);
        test_case(t, "%zu bytes: %s", max, om_error_text(&f.err));
        done = rc == 0;
        CHECK(t, done == (g != NULL));
        CHECK(t, done || rc == OM_E_NOMEM);
        om_graph_free(g);
        om_error_release(&f.err);
        om_arena_release(&a);
    }
    CHECK(t, done);
    fixture_close(&f);
}

const struct test_entry t_arch[] = { { "tasks", tasks },
                                     { "parts", parts },
                                     { "ports", ports },
                                     { "merged", merged },
                                     { "fixed_axes", fixed_axes },
                                     { "label_count", label_count },
                                     { "little_memory", little_memory },
                                     TEST_END };
