/* src/export/genai.c: a decoder as onnxruntime-genai loads it: genai_config.json beside the model,
 * whose attention takes past and present keys in one buffer. */
#include <string.h>

#include "export/job.h"
#include "gen/gen.h"

#define CONFIG_NAME "genai_config.json"
#define CONTEXT_DEFAULT 2048
#define HEAD_MULTIPLE 8

/* What onnxruntime-genai 0.18 calls the decoders that it runs. (Its gpt2 has keys and values in one
 * tensor, which GroupQueryAttention has not.) */
static const struct {
    const char *model_type, *name;
} types[] = {
    { "gemma", "gemma" },        { "gemma2", "gemma2" },
    { "gemma3", "gemma3_text" }, { "gemma3_text", "gemma3_text" },
    { "granite", "granite" },    { "llama", "llama" },
    { "mistral", "mistral" },    { "nemotron", "nemotron" },
    { "olmo", "olmo" },          { "phi", "phi" },
    { "phi3", "phi3" },          { "qwen2", "qwen2" },
    { "qwen3", "qwen3" },        { "smollm3", "smollm3" },
};

static const char *find_type(const char *model_type)
{
    for (size_t i = 0; i < OM_COUNT(types); i++)
        if (strcmp(types[i].model_type, model_type) == 0)
            return types[i].name;
    return NULL;
}

/* ---- before: what cannot be ---- */

int om_job_genai_opts(const struct om_export_opts *o, struct om_error *err)
{
    if (o->triton || o->transformersjs)
        return om_fail(
            err, OM_E_USAGE,
            "--genai, --triton and --transformersjs write different layouts: choose one");
    if (o->no_dynamic_axes)
        return om_fail(err, OM_E_USAGE,
                       "--genai and --no-dynamic-axes exclude each other: the cache grows");
    if (o->dtype == OM_BF16)
        return om_fail(err, OM_E_USAGE,
                       "--genai is for ONNX Runtime's CPU kernels, which lack bfloat16: choose "
                       "fp32 or fp16");
    return 0;
}

int om_job_genai_check(struct om_job *job, struct om_error *err)
{
    if (!find_type(job->config.model_type))
        return om_fail(
            err, OM_E_UNSUPPORTED,
            "\"%s\" is none of the decoders that --genai knows, those that onnxruntime-genai "
            "runs: gemma, gemma2, gemma3, granite, llama, mistral, nemotron, olmo, phi, phi3, "
            "qwen2, qwen3, smollm3",
            job->config.model_type);
    if (job->sentence || job->arch.task->head != OM_HEAD_CAUSAL_LM ||
        job->arch.arch->kind != OM_ARCH_DECODER || !job->arch.past)
        return om_fail(err, OM_E_USAGE,
                       "--genai is for decoders with a cache: choose --task "
                       "text-generation-with-past");
    /* int8 activations: three times as many tokens a second as with float32 ones. */
    if (job->quantize && job->quantize->method == OM_QUANT_WEIGHT_ONLY &&
        job->quantize->accuracy_level == 0) {
        job->genai_quantize = *job->quantize;
        job->genai_quantize.accuracy_level = 4;
        job->quantize = &job->genai_quantize;
    }
    return 0;
}

/* ---- the graph ---- */

static bool is_past(const struct om_graph *g, om_val v)
{
    for (size_t i = 0; i < g->n_inputs; i++)
        if (g->inputs[i].val.id == v.id)
            return om_sv_starts(g->inputs[i].name, OM_SVL("past_key_values."));
    return false;
}

/* ---- genai_config.json ---- */

/* What genai_config.json says of the graph. */
struct shape {
    int64_t layers, heads, kv_heads, head_size, hidden, vocab, context;
};

static int64_t extent(const struct om_graph *g, om_val v, uint32_t from_end)
{
    const struct om_value *value = om_graph_value(g, v);
    int64_t n = 0;

    if (value->rank >= from_end)
        om_dim_is_const(g->dims, value->dims[value->rank - from_end], &n);
    return n;
}

static om_val find_input(const struct om_graph *g, const char *name)
{
    for (size_t i = 0; i < g->n_inputs; i++)
        if (om_sv_is(g->inputs[i].name, name))
            return g->inputs[i].val;
    return (om_val){ 0 };
}

int om_job_genai_graph(const struct om_job *job, const struct om_graph *g, struct om_error *err)
{
    const int64_t size = extent(g, find_input(g, "past_key_values.0.key"), 1);

    if (size % HEAD_MULTIPLE != 0)
        return om_fail(
            err, OM_E_UNSUPPORTED,
            "--genai: ONNX Runtime's GroupQueryAttention takes heads of a multiple of %d, "
            "those of this model have %" PRId64,
            HEAD_MULTIPLE, size);
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct om_node *n = &g->nodes[i];

        for (uint32_t k = 0; k < n->n_in && n->op != OM_OP_GroupQueryAttention; k++)
            if (is_past(g, n->in[k]))
                return om_fail(err, OM_E_UNSUPPORTED,
                               "--genai: node \"%.*s\" of this %s model attends in a way that "
                               "ONNX Runtime's GroupQueryAttention does not",
                               OM_SV(n->name), job->config.model_type);
    }
    return 0;
}

/* The longest text: as many positions as a table has, or as the configuration says. */
static int64_t context_length(const struct om_graph *built, const struct om_json *config)
{
    static const char *const keys[] = { "max_position_embeddings", "n_positions" };
    int64_t n = 0;

    for (size_t i = 0; i < OM_COUNT(keys) && n <= 0; i++)
        om_json_i64(om_json_get(config, keys[i]), &n);
    for (size_t i = 0; i < built->n_nodes && n <= 0; i++)
        if (built->nodes[i].op == OM_OP_RotaryEmbedding && built->nodes[i].n_in > 3)
            n = extent(built, built->nodes[i].in[1], 2);
    return n > 0 ? n : CONTEXT_DEFAULT;
}

static struct shape shape_of(const struct om_graph *g)
{
    const om_val ids = find_input(g, "input_ids"), past = find_input(g, "past_key_values.0.key");
    struct shape s = { .kv_heads = extent(g, past, 3),
                       .head_size = extent(g, past, 1),
                       .vocab = extent(g, g->blocks[0].outputs[0].val, 1) };

    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct om_node *n = &g->nodes[i];

        if (n->op == OM_OP_GroupQueryAttention) {
            s.heads = om_node_int(n, "num_heads", 0);
            s.layers++;
        } else if (n->op == OM_OP_Gather && n->in[1].id == ids.id) {
            s.hidden = extent(g, n->out[0], 1);
        }
    }
    return s;
}

static void put_ids(struct om_buf *b, const char *key, const struct om_token_ids *ids)
{
    om_buf_printf(b, "    \"%s\": %s", key, ids->len == 1 ? "" : "[");
    for (size_t i = 0; i < ids->len; i++)
        om_buf_printf(b, "%s%" PRId64, i > 0 ? ", " : "", ids->ids[i]);
    om_buf_printf(b, "%s,\n", ids->len == 1 ? "" : "]");
}

/* onnxruntime-genai wants all three: what a model has none of is what stands in for it there. */
static void put_tokens(struct om_buf *b, const struct om_generation_config *c)
{
    const int64_t end = c->eos_token_id.len > 0 ? c->eos_token_id.ids[0] : 0;

    om_buf_printf(b, "    \"bos_token_id\": %" PRId64 ",\n",
                  c->bos_token_id >= 0 ? c->bos_token_id : end);
    if (c->eos_token_id.len > 0)
        put_ids(b, "eos_token_id", &c->eos_token_id);
    om_buf_printf(b, "    \"pad_token_id\": %" PRId64 ",\n",
                  c->pad_token_id >= 0 ? c->pad_token_id : end);
}

static void put_decoder(struct om_buf *b, const struct om_graph *g, const struct shape *s)
{
    om_buf_printf(b,
                  "    \"decoder\": {\n"
                  "      \"session_options\": {\n"
                  "        \"log_id\": \"onnxruntime-genai\",\n"
                  "        \"provider_options\": []\n"
                  "      },\n"
                  "      \"filename\": \"%s\",\n"
                  "      \"head_size\": %" PRId64 ",\n"
                  "      \"hidden_size\": %" PRId64 ",\n"
                  "      \"inputs\": {\n"
                  "        \"input_ids\": \"input_ids\",\n"
                  "        \"attention_mask\": \"attention_mask\",\n",
                  om_part_file(OM_PART_MODEL), s->head_size, s->hidden);
    if (find_input(g, "position_ids").id != 0)
        om_buf_adds(b, "        \"position_ids\": \"position_ids\",\n");
    om_buf_printf(b,
                  "        \"past_key_names\": \"past_key_values.%%d.key\",\n"
                  "        \"past_value_names\": \"past_key_values.%%d.value\"\n"
                  "      },\n"
                  "      \"outputs\": {\n"
                  "        \"logits\": \"logits\",\n"
                  "        \"present_key_names\": \"present.%%d.key\",\n"
                  "        \"present_value_names\": \"present.%%d.value\"\n"
                  "      },\n"
                  "      \"num_attention_heads\": %" PRId64 ",\n"
                  "      \"num_hidden_layers\": %" PRId64 ",\n"
                  "      \"num_key_value_heads\": %" PRId64 "\n"
                  "    },\n",
                  s->heads, s->layers, s->kv_heads);
}

static void put_real(struct om_buf *b, const char *key, double v)
{
    om_buf_printf(b, "    \"%s\": ", key);
    om_buf_real(b, v);
    om_buf_adds(b, ",\n");
}

static void put_int(struct om_buf *b, const char *key, int64_t v)
{
    om_buf_printf(b, "    \"%s\": %" PRId64 ",\n", key, v);
}

static void put_search(struct om_buf *b, const struct om_generation_config *c, int64_t context)
{
    om_buf_adds(b, "  \"search\": {\n");
    om_buf_printf(b, "    \"do_sample\": %s,\n", c->do_sample ? "true" : "false");
    om_buf_adds(b, "    \"early_stopping\": true,\n");
    put_real(b, "length_penalty", c->length_penalty);
    put_int(b, "max_length", context);
    put_int(b, "min_length", c->min_length);
    put_int(b, "no_repeat_ngram_size", c->no_repeat_ngram_size);
    put_int(b, "num_beams", c->num_beams);
    put_int(b, "num_return_sequences", c->num_return_sequences);
    om_buf_adds(b, "    \"past_present_share_buffer\": true,\n");
    put_real(b, "repetition_penalty", c->repetition_penalty);
    put_real(b, "temperature", c->temperature);
    put_int(b, "top_k", c->top_k);
    om_buf_adds(b, "    \"top_p\": ");
    om_buf_real(b, c->top_p);
    om_buf_adds(b, "\n  }\n");
}

void om_genai_config(struct om_buf *b, const char *model_type, const struct om_graph *g,
                     int64_t context, const struct om_generation_config *c)
{
    const struct shape s = shape_of(g);

    om_buf_adds(b, "{\n  \"model\": {\n");
    put_int(b, "context_length", context);
    put_decoder(b, g, &s);
    put_tokens(b, c);
    om_buf_printf(b, "    \"type\": \"%s\",\n", find_type(model_type));
    om_buf_printf(b, "    \"vocab_size\": %" PRId64 "\n  },\n", s.vocab);
    put_search(b, c, context);
    om_buf_adds(b, "}\n");
}

int om_job_genai_stage(struct om_job *job, struct om_error *err)
{
    const struct om_job_file *f = &job->files[0];
    const struct om_model_info info = { .dir = job->dir,
                                        .model_type = job->config.model_type,
                                        .config = om_arena_str(&job->arena, job->config.text) };
    struct om_buf text = OM_BUF_INIT(1u << 20);
    struct om_generation_config *c = NULL;
    struct om_job_aside *out = NULL;
    int rc;

    if (!info.config)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    /* Without the context: the export has warned already about what moves. */
    OM_TRY(om_generation_config_of(NULL, &info, &c, err));
    if (c->eos_token_id.len == 0)
        om_log(
            job->ctx, OM_LOG_WARNING,
            "The model names no token that ends a text: onnxruntime-genai stops at the token 0.");
    om_genai_config(&text, job->config.model_type, f->lowered,
                    context_length(f->built, job->config.doc), c);
    rc = om_buf_check(&text, err);
    if (rc == 0)
        rc = om_job_add_aside(job, job->companion_dir, CONFIG_NAME, &out, err);
    if (rc == 0)
        rc = om_out_write(&out->out, text.ptr, text.len, err);
    om_generation_config_free(c);
    om_buf_release(&text);
    return rc;
}
