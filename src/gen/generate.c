/* src/gen/generate.c: generate(): inputs and settings settled, a model and a search put together.
 */
#include <stdlib.h>

#include "gen/decoder.h"
#include "gen/fields.h"

/* One call. */
struct call {
    struct om_ctx *ctx;
    const struct om_model *m;
    struct om_generate_inputs in;
    struct om_generate_opts o;
    struct om_arena arena;
    struct om_generation_config *own; /* the model's settings, when the caller has none */
    struct om_plan plan;
    const int64_t *ids, *mask; /* [batch, length], settled */
    size_t length;
    const int64_t *prompt; /* what the search begins with, [batch, plan.prompt] */
    int64_t max_positions;
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

/* ---- arguments ---- */

static int copy_inputs(struct call *c, const struct om_generate_inputs *in, struct om_error *err)
{
    size_t n;

    c->in = (struct om_generate_inputs)OM_GENERATE_INPUTS_INIT;
    if (!in || in->struct_size < sizeof(in->struct_size))
        return om_fail(err, OM_E_USAGE, "the inputs were not set up with OM_GENERATE_INPUTS_INIT");
    memcpy(&c->in, in, OM_MIN(in->struct_size, sizeof(c->in)));
    if (c->in.batch == 0 || c->in.batch > INT32_MAX || c->in.length > INT32_MAX ||
        c->in.decoder_length > INT32_MAX || !om_mul_size(c->in.batch, c->in.length, &n))
        return om_fail(err, OM_E_USAGE, "a batch of %zu with %zu tokens each", c->in.batch,
                       c->in.length);
    if (c->in.length && !c->in.ids)
        return om_fail(err, OM_E_USAGE, "%zu tokens, but no ids", c->in.length);
    if (c->in.decoder_ids && c->in.decoder_length == 0)
        return om_fail(err, OM_E_USAGE, "ids for the decoder, but their number is 0");
    for (size_t i = 0; c->in.mask && i < n; i++)
        if (c->in.mask[i] != 0 && c->in.mask[i] != 1)
            return om_fail(err, OM_E_USAGE, "mask: expected 0 and 1, found %" PRId64,
                           c->in.mask[i]);
    return 0;
}

static int copy_opts(struct call *c, const struct om_generate_opts *o, struct om_error *err)
{
    c->o = (struct om_generate_opts)OM_GENERATE_OPTS_INIT;
    if (!o)
        return 0;
    if (o->struct_size < sizeof(o->struct_size))
        return om_fail(err, OM_E_USAGE, "the options were not set up with OM_GENERATE_OPTS_INIT");
    memcpy(&c->o, o, OM_MIN(o->struct_size, sizeof(c->o)));
    return 0;
}

/* ---- the prompt ---- */

static int64_t *filled(struct call *c, size_t columns, int64_t value)
{
    int64_t *x = om_arena_array(&c->arena, c->in.batch * columns + 1, sizeof(*x));

    for (size_t i = 0; x && i < c->in.batch * columns; i++)
        x[i] = value;
    return x;
}

static bool contains(const int64_t *ids, size_t n, int64_t id)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* Padding can be told from text where its token is there and ends no sequence. */
static int infer_mask(struct call *c, struct om_error *err)
{
    const struct om_token_ids *eos = &c->plan.c.eos_token_id;
    const size_t n = c->in.batch * c->length;
    int64_t *mask = filled(c, c->length, 1);

    if (!mask)
        return no_memory(err);
    c->mask = mask;
    if (c->plan.pad < 0 || contains(eos->ids, eos->len, c->plan.pad))
        return 0;
    for (size_t i = 0; i < n; i++)
        mask[i] = c->ids[i] != c->plan.pad;
    return 0;
}

/* The ids that the model is given: the caller's, or a token that begins a text. */
static int settle_ids(struct call *c, struct om_error *err)
{
    c->ids = c->in.ids;
    c->length = c->in.length;
    c->mask = c->in.mask;
    if (c->length == 0) {
        c->length = 1;
        c->ids = filled(c, 1, c->plan.c.bos_token_id);
        c->mask = NULL;
        if (!c->ids)
            return no_memory(err);
    }
    c->plan.source = c->ids;
    c->plan.source_len = c->length;
    return c->mask ? 0 : infer_mask(c, err);
}

/* The decoder begins with its start token, also where the caller gives more. */
static int settle_decoder_ids(struct call *c, size_t *len, struct om_error *err)
{
    const size_t given = c->in.decoder_ids ? c->in.decoder_length : 0;
    const int64_t start = c->plan.decoder_start;
    int64_t *prompt;
    bool begun = false;

    for (size_t r = 0; r < c->in.batch && given; r++)
        begun |= c->in.decoder_ids[r * given] == start;
    *len = given + !begun;
    prompt = filled(c, *len, start);
    if (!prompt)
        return no_memory(err);
    for (size_t r = 0; r < c->in.batch && given; r++)
        memcpy(prompt + r * *len + !begun, c->in.decoder_ids + r * given, given * sizeof(*prompt));
    c->prompt = prompt;
    return 0;
}

static int settle(struct call *c, struct om_error *err)
{
    const struct om_model_info *info = om_model_get_info(c->m);
    struct om_plan_input in = { .seq2seq = om_model_encoder(c->m) != NULL,
                                .has_mask = c->in.mask != NULL,
                                .batch = c->in.batch,
                                .length = c->in.length,
                                .ids = c->in.ids,
                                .decoder_length = c->in.decoder_length };
    struct om_generation_config settings;
    size_t prompt;

    if (!in.seq2seq && info->is_encoder_decoder)
        return om_fail(err, OM_E_USAGE,
                       "%s: an encoder-decoder has to be opened as OM_MODEL_SEQ2SEQ_LM", info->dir);
    if (!c->o.config)
        OM_TRY(om_generation_config_open(c->ctx, c->m, &c->own, err));
    OM_TRY(om_gen_settings(c->own ? c->own : c->o.config, &settings, err));
    OM_TRY(om_plan_make(c->ctx, &settings, &in, &c->plan, err));
    OM_TRY(settle_ids(c, err));
    c->prompt = c->ids;
    prompt = c->length;
    if (in.seq2seq)
        OM_TRY(settle_decoder_ids(c, &prompt, err));
    c->max_positions = -1;
    (void)om_model_config_int(c->m, "max_position_embeddings", &c->max_positions);
    return om_plan_lengths(c->ctx, &c->plan, prompt, c->max_positions, err);
}

/* ---- the search ---- */

/* What was kept goes to the result. */
static void give_kept(struct om_search *s, struct om_generated *out)
{
    out->prompt = s->plan->prompt;
    out->steps = s->steps;
    out->vocab = s->vocab;
    out->scores = s->kept.scores;
    out->logits = s->kept.logits;
    s->kept = (struct om_kept){ 0 };
}

static int search(struct call *c, const struct om_decoder *decoder, struct om_generated *out,
                  struct om_error *err)
{
    struct om_search s = { .ctx = c->ctx,
                           .plan = &c->plan,
                           .decoder = decoder,
                           .prompt = c->prompt,
                           .seed = c->o.seed,
                           .keep_scores = c->o.keep_scores,
                           .keep_logits = c->o.keep_logits };
    int rc = om_stop_new(&c->plan, c->o.tokenizer, &s.stop, err);

    if (rc == 0)
        rc = om_stream_new(&c->plan, &c->o, &s.stream, err);
    if (rc == 0)
        rc = c->plan.c.num_beams > 1 ? om_search_beams(&s, out, err)
                                     : om_search_sample(&s, out, err);
    if (rc == 0)
        give_kept(&s, out);
    om_stream_free(s.stream);
    om_stop_free(s.stop);
    om_search_release(&s);
    return rc;
}

static int run(struct call *c, struct om_generated *out, struct om_error *err)
{
    struct om_model_decoder *model = NULL;
    struct om_decoder_input in;
    struct om_decoder decoder;
    int rc;

    OM_TRY(settle(c, err));
    in = (struct om_decoder_input){ .batch = c->in.batch,
                                    .length = c->length,
                                    .ids = c->plan.seq2seq ? c->ids : NULL,
                                    .mask = c->mask,
                                    .use_cache = c->plan.c.use_cache,
                                    .max_length = c->plan.max_length };
    OM_TRY(om_model_decoder_new(c->m, &in, &model, err));
    decoder = om_model_decoder_steps(model);
    rc = search(c, &decoder, out, err);
    om_model_decoder_free(model);
    return rc;
}

int om_generate(struct om_ctx *ctx, const struct om_model *m,
                const struct om_generate_inputs *inputs, const struct om_generate_opts *opts,
                struct om_generated **out, struct om_error *err)
{
    struct call c = { .ctx = ctx, .m = m, .arena = OM_ARENA_INIT(SIZE_MAX) };
    struct om_generated *g = calloc(1, sizeof(*g));
    int rc = g ? copy_inputs(&c, inputs, err) : no_memory(err);

    if (rc == 0)
        rc = copy_opts(&c, opts, err);
    if (rc == 0)
        rc = run(&c, g, err);
    if (rc == 0)
        *out = g;
    else
        om_generated_free(g);
    om_generation_config_free(c.own);
    om_arena_release(&c.arena);
    return rc;
}

void om_generated_free(struct om_generated *g)
{
    if (!g)
        return;
    free((void *)(uintptr_t)g->ids);
    free((void *)(uintptr_t)g->sequence_scores);
    free((void *)(uintptr_t)g->beam_indices);
    free((void *)(uintptr_t)g->scores);
    free((void *)(uintptr_t)g->logits);
    free(g);
}
