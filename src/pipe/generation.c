/* src/pipe/generation.c: see generation.h. */
#include "pipe/generation.h"

#include <stdlib.h>

#include "base/file.h"
#include "gen/fields.h"
#include "tok/unicode.h"

enum { MAX_NEW_TOKENS = 256, DEFAULT_MAX_LENGTH = 20, BEAMS = 4 };
#define CONFIG_FILE_MAX ((size_t)16 << 20)
#define BATCH_BYTES_MAX ((size_t)8 << 30)

bool pipe_generation_takes(om_sv key)
{
    return om_gen_takes(key);
}

/* ---- opening ---- */

/* Settings of a Transformers before 4.50 say nothing but the tokens to calls that have their own.
 */
static bool is_old(om_sv version)
{
    om_sv major, minor;
    int64_t a = 0, b = 0;

    if (!om_sv_split(&version, '.', &major) || !om_sv_split(&version, '.', &minor) ||
        !om_sv_i64(major, &a) || !om_sv_i64(minor, &b))
        return false;
    return a < 4 || (a == 4 && b < 50);
}

static int read_version(struct om_pipeline *p, struct pipe_generation *g, struct om_error *err)
{
    const char *const path =
        om_path_join(&p->arena, om_model_get_info(p->model)->dir, "generation_config.json");
    struct om_json *doc = NULL;
    om_sv text, version;

    if (!path)
        return pipe_no_memory(err);
    if (!om_file_exists(path))
        return 0;
    OM_TRY(om_file_read(&p->arena, path, CONFIG_FILE_MAX, &text, err));
    OM_TRY(om_wrap(err, om_json_parse(text, OM_JSON_LAST_WINS, &doc, err), "%s", path));
    if (om_json_str(om_json_get(doc, "transformers_version"), &version))
        g->tokens_only = is_old(version);
    om_json_free(doc);
    return 0;
}

/* The task's part of task_specific_params; NULL: none. */
static const struct om_json *task_params(const struct om_pipeline *p)
{
    return om_json_get(om_json_get(p->config, "task_specific_params"), p->name);
}

static void read_prefix(const struct om_pipeline *p, struct pipe_generation *g)
{
    const struct om_json *const own = om_json_get(task_params(p), "prefix");
    om_sv prefix;

    if (om_json_str(own ? own : om_json_get(p->config, "prefix"), &prefix))
        g->prefix = (struct om_text){ prefix.ptr, prefix.len };
}

int pipe_generation_open(struct om_pipeline *p, struct om_error *err)
{
    struct pipe_generation *const g = om_arena_alloc(&p->arena, sizeof(*g));

    if (!g)
        return pipe_no_memory(err);
    if ((om_model_encoder(p->model) != NULL) != (p->task->model_class == OM_MODEL_SEQ2SEQ_LM))
        return om_fail(err, OM_E_USAGE, "%s is for %s, the model is none", p->task->name,
                       p->task->model_class == OM_MODEL_SEQ2SEQ_LM ? "encoder-decoders"
                                                                   : "decoders alone");
    p->state = g;
    OM_TRY(om_generation_config_open(p->ctx, p->model, &g->model, err));
    read_prefix(p, g);
    return read_version(p, g, err);
}

void pipe_generation_close(struct om_pipeline *p)
{
    const struct pipe_generation *const g = p->state;

    if (g)
        om_generation_config_free(g->model);
}

/* ---- settings ---- */

static int read_settings(const struct pipe_reader *r, const struct om_json *object,
                         struct om_generation_config *c)
{
    if (om_json_kind(object) != OM_JSON_OBJECT)
        return 0;
    OM_TRY(om_gen_refuse(object, r->err));
    OM_TRY(om_gen_read(r->arena, object, true, c, r->err));
    if (om_json_kind(om_json_get(object, "max_length")) != OM_JSON_NULL)
        c->max_length_given = true;
    return 0;
}

int pipe_generation_read_always(const struct pipe_reader *r, const struct om_json *v, void *params)
{
    struct om_json_iter it = { 0 };

    if (om_json_kind(v) == OM_JSON_NULL)
        return 0;
    if (om_json_kind(v) != OM_JSON_OBJECT)
        return om_fail(r->err, OM_E_USAGE, "expected an object, found %s", om_json_kind_text(v));
    while (om_json_next(v, &it))
        if (!om_gen_takes(it.key))
            return om_fail(r->err, OM_E_USAGE, "generate() has no setting \"%.*s\"", OM_SV(it.key));
    *(const struct om_json **)params = v;
    return 0;
}

static void task_defaults(const struct om_pipeline *p, struct om_generation_config *c)
{
    *c = (struct om_generation_config)OM_GENERATION_CONFIG_INIT;
    c->max_new_tokens = MAX_NEW_TOKENS;
    if (p->task->model_class == OM_MODEL_CAUSAL_LM) {
        c->do_sample = true;
        c->temperature = 0.7;
    } else {
        c->num_beams = BEAMS;
    }
}

/* What the model says where c has defaults. */
static void from_model(const struct pipe_generation *g, struct om_generation_config *c)
{
    om_generation_config_fill(c, g->model);
    if (c->temperature == 0.0)
        c->do_sample = false;
}

static void tokens_from_model(const struct pipe_generation *g, struct om_generation_config *c)
{
    const struct om_generation_config *const m = g->model;

    if (c->bos_token_id < 0)
        c->bos_token_id = m->bos_token_id;
    if (c->eos_token_id.len == 0)
        c->eos_token_id = m->eos_token_id;
    if (c->pad_token_id < 0)
        c->pad_token_id = m->pad_token_id;
    if (c->decoder_start_token_id < 0)
        c->decoder_start_token_id = m->decoder_start_token_id;
}

/* A max_length of the call alone makes a length that was given beside it one that was meant. */
static int settle_init(const struct pipe_reader *r, const struct pipe_generation *g,
                       struct om_generation_config *c)
{
    task_defaults(r->p, c);
    from_model(g, c);
    OM_TRY(read_settings(r, r->object, c));
    if (c->max_new_tokens == MAX_NEW_TOKENS && c->max_length != DEFAULT_MAX_LENGTH)
        c->max_new_tokens = -1;
    OM_TRY(om_wrap(r->err, read_settings(r, task_params(r->p), c),
                   "config.json: task_specific_params of %s", r->p->name));
    c->max_length_given = false;
    if (c->pad_token_id < 0 && r->p->t.pad.known)
        c->pad_token_id = r->p->t.pad.id;
    return 0;
}

static bool has(const struct pipe_reader *r, const char *key)
{
    return om_json_kind(om_json_get(r->object, key)) != OM_JSON_NULL;
}

/* A prefix is not counted in lengths that the caller gives. */
static void add_prefix_length(const struct pipe_reader *r, struct pipe_generation_params *g)
{
    if (g->prefix_length == 0)
        return;
    if (!has(r, "max_new_tokens")) {
        g->config.max_length += g->prefix_length;
        g->config.max_length_given = true;
    }
    if (!has(r, "min_new_tokens") && has(r, "min_length"))
        g->config.min_length += g->prefix_length;
}

static int encode_ids(const struct pipe_reader *r, const struct om_text *text, bool special,
                      struct om_token_ids *out)
{
    struct om_encode_opts o = OM_ENCODE_OPTS_INIT;
    struct om_encoding *enc;
    int64_t *ids;

    o.no_special_tokens = !special;
    OM_TRY(om_tokenizer_encode(r->p->t.tok, text, NULL, &o, &enc, r->err));
    ids = om_arena_array(r->arena, enc->len + 1, sizeof(*ids));
    for (size_t i = 0; ids && i < enc->len; i++)
        ids[i] = enc->ids[i];
    *out = (struct om_token_ids){ ids, enc->len };
    om_encoding_free(enc);
    return ids ? 0 : pipe_no_memory(r->err);
}

/* Every token of the sequence ends text-generation, the first one the others. */
static int stop_ids(const struct pipe_reader *r, struct pipe_generation_params *g)
{
    if (!g->stop_sequence.ptr)
        return 0;
    OM_TRY(encode_ids(r, &g->stop_sequence, false, &g->stop));
    g->stop_sequence.ptr = NULL;
    if (g->stop.len == 0)
        return om_fail(r->err, OM_E_USAGE, "stop_sequence: the text has no tokens");
    if (r->p->task->model_class == OM_MODEL_CAUSAL_LM)
        return 0;
    if (g->stop.len > 1)
        om_log(g->ctx, OM_LOG_WARNING,
               "Stopping on a multiple token sequence is not yet supported on transformers. The "
               "first token of the stop sequence will be used as the stop sequence string in the "
               "interim.");
    g->stop.len = 1;
    return 0;
}

static int measure_prefix(const struct pipe_reader *r, struct pipe_generation_params *g)
{
    struct om_token_ids ids;

    if (!g->prefix.ptr || g->prefix.len == 0 || r->p->task->model_class != OM_MODEL_CAUSAL_LM)
        return 0;
    OM_TRY(encode_ids(r, &g->prefix, g->coding.add_special_tokens == OM_YES, &ids));
    g->prefix_length = (int64_t)ids.len;
    return 0;
}

static int settle_call(const struct pipe_reader *r, const struct pipe_generation *state,
                       struct pipe_generation_params *g)
{
    struct om_generation_config *const c = &g->config;
    const bool stops = g->stop_sequence.ptr != NULL;

    if (!g->config_given && state->tokens_only)
        tokens_from_model(state, c);
    else if (!g->config_given)
        from_model(state, c);
    if (g->stop.len)
        c->eos_token_id = g->stop;
    if (!g->config_given)
        OM_TRY(om_wrap(r->err, read_settings(r, g->always, c), "generate_kwargs"));
    OM_TRY(read_settings(r, r->object, c));
    if (has(r, "max_new_tokens"))
        g->hole_new_tokens = c->max_new_tokens;
    OM_TRY(stop_ids(r, g));
    if (stops)
        c->eos_token_id = g->stop;
    if (g->prefix.ptr != ((struct pipe_generation_params *)r->p->params)->prefix.ptr)
        OM_TRY(measure_prefix(r, g));
    add_prefix_length(r, g);
    return 0;
}

int pipe_generation_settle(const struct pipe_reader *r, struct pipe_generation_params *g)
{
    const struct pipe_generation *const state = r->p->state;

    if (g != r->p->params)
        return settle_call(r, state, g);
    OM_TRY(settle_init(r, state, &g->config));
    g->coding.max_length = 0; /* of generate() alone */
    OM_TRY(stop_ids(r, g));
    if (!g->prefix.ptr)
        g->prefix = state->prefix;
    return measure_prefix(r, g);
}

/* ---- inputs ---- */

int pipe_generation_read(struct pipe_call *c, const struct om_json *inputs, struct om_error *err)
{
    const size_t n = om_json_len(inputs);
    struct pipe_generation_input *in;

    c->list = om_json_kind(inputs) == OM_JSON_ARRAY;
    in = pipe_call_items(c, c->list ? n : 1);
    if (!in)
        return pipe_no_memory(err);
    if (!c->list)
        return pipe_read_text(inputs, "inputs: ", &in->text, err);
    for (size_t i = 0; i < n; i++)
        OM_TRY(om_wrap(err, pipe_read_text(om_json_at(inputs, i), "", &in[i].text, err),
                       "input %zu", i));
    return 0;
}

int pipe_generation_prepare(const struct pipe_call *c, struct pipe_item *item, om_sv prefix,
                            const struct pipe_coding *coding, struct om_error *err)
{
    const struct pipe_generation_input *const in = item->input;
    struct om_buf b = OM_BUF_INIT(PIPE_TEXT_MAX);
    struct om_text text;
    int rc;

    if (prefix.len == 0)
        return pipe_encode(c->p, item, &in->text, NULL, coding, false, err);
    om_buf_add(&b, prefix.ptr, prefix.len);
    om_buf_add(&b, in->text.ptr, in->text.len);
    text = (struct om_text){ b.ptr, b.len };
    rc = om_buf_check(&b, err);
    if (rc == 0)
        rc = pipe_encode(c->p, item, &text, NULL, coding, false, err);
    om_buf_release(&b);
    return rc;
}

int pipe_generation_arrange(struct pipe_call *c, struct om_error *err)
{
    if ((c->list || !c->json) && c->batch_size > 1 && !c->p->t.pad.known)
        return om_fail(err, OM_E_USAGE,
                       "batches need a padding token, and the tokenizer has none: give "
                       "tokenizer_kwargs a pad_token, or no batch_size");
    return 0;
}

int pipe_generation_keep(const struct pipe_call *c, const struct pipe_item *item, size_t *keep,
                         struct om_error *err)
{
    const struct pipe_generation_params *const g = c->params;
    const struct pipe_generation_params *const base = c->p->params;
    const size_t len = item->windows[0].enc->len;
    const uint64_t room = c->p->t.max_length;
    int64_t more = g->hole_new_tokens;

    *keep = len;
    if (!g->hole)
        return 0;
    if (more < 0)
        more = base->config.max_length - (int64_t)len;
    if (more < 0)
        return om_fail(err, OM_E_USAGE,
                       "handle_long_generation: the text has %zu tokens already, "
                       "max_length is %" PRId64 ": it does not say how many new ones are wanted",
                       len, base->config.max_length);
    if (len + (uint64_t)more <= room)
        return 0;
    if ((uint64_t)more >= room)
        return om_fail(err, OM_E_USAGE,
                       "handle_long_generation: %" PRId64 " new tokens leave no room for the text, "
                       "of %" PRIu64 " that there may be",
                       more, room);
    *keep = (size_t)(room - (uint64_t)more);
    return 0;
}

size_t pipe_generation_length(const struct pipe_call *c, const struct pipe_item *item)
{
    const struct pipe_generation_params *const g = c->params;
    size_t keep = 0;

    pipe_generation_keep(c, item, &keep, NULL);
    return keep + g->frame.n_before + g->frame.n_after;
}

/* ---- a batch ---- */

struct batch {
    struct pipe_call *c;
    struct pipe_item *items;
    size_t n, length;
    int64_t *ids, *mask; /* [n, length] */
    size_t first_row;    /* of all results of the call */
};

static void put(int64_t **ids, int64_t **mask, int64_t id, int64_t on)
{
    *(*ids)++ = id;
    *(*mask)++ = on;
}

static void fill_row(const struct batch *b, size_t i)
{
    const struct pipe_call *const c = b->c;
    const struct pipe_generation_params *const g = c->params;
    const struct om_encoding *const enc = b->items[i].windows[0].enc;
    const size_t len = pipe_generation_length(c, &b->items[i]), padding = b->length - len;
    const size_t own = len - g->frame.n_before - g->frame.n_after;
    int64_t *ids = b->ids + i * b->length, *mask = b->mask + i * b->length;

    for (size_t k = 0; k < padding && c->p->t.padding_side == OM_SIDE_LEFT; k++)
        put(&ids, &mask, c->p->t.pad.id, 0);
    for (size_t k = 0; k < g->frame.n_before; k++)
        put(&ids, &mask, g->frame.before[k], 1);
    for (size_t k = enc->len - own; k < enc->len; k++)
        put(&ids, &mask, enc->ids[k], enc->attention_mask[k]);
    for (size_t k = 0; k < g->frame.n_after; k++)
        put(&ids, &mask, g->frame.after[k], 1);
    for (size_t k = 0; k < padding && c->p->t.padding_side == OM_SIDE_RIGHT; k++)
        put(&ids, &mask, c->p->t.pad.id, 0);
}

static int batch_init(struct batch *b, struct om_error *err)
{
    size_t count, bytes;

    for (size_t i = 0; i < b->n; i++)
        b->length = OM_MAX(b->length, pipe_generation_length(b->c, &b->items[i]));
    if (!om_mul_size(b->n, b->length, &count) || !om_mul_size(count, 2 * sizeof(*b->ids), &bytes) ||
        bytes > BATCH_BYTES_MAX)
        return om_fail(err, OM_E_LIMIT, "a batch of %zu texts with %zu tokens is too large", b->n,
                       b->length);
    b->ids = malloc(OM_MAX(bytes, 1));
    if (!b->ids)
        return pipe_no_memory(err);
    b->mask = b->ids + count;
    for (size_t i = 0; i < b->n; i++)
        fill_row(b, i);
    return 0;
}

/* Rows of a batch are told by their places in the call. */
static bool stream(void *user, const struct om_stream_piece *piece)
{
    const struct batch *const b = user;
    const struct pipe_generation_params *const g = b->c->params;
    struct om_stream_piece moved = *piece;

    moved.row += b->first_row;
    return g->stream(g->stream_user, &moved);
}

static struct om_decode_opts decoding(const struct pipe_call *c)
{
    const struct pipe_generation_params *const g = c->params;
    const bool causal = c->p->task->model_class == OM_MODEL_CAUSAL_LM;
    struct om_decode_opts o = OM_DECODE_OPTS_INIT;

    o.skip_special_tokens = g->skip_special != OM_NO;
    o.clean_up_spaces = g->clean_up == OM_YES || (g->clean_up == OM_UNSET && causal);
    return o;
}

static int keep_rows(const struct batch *b, const struct om_generated *g, struct om_error *err)
{
    const size_t rows = g->rows / b->n, count = rows * g->length;
    const bool causal = b->c->p->task->model_class == OM_MODEL_CAUSAL_LM;

    for (size_t i = 0; i < b->n; i++) {
        struct pipe_generation_rows *const kept = malloc(sizeof(*kept) + count * sizeof(*g->ids));

        if (!kept)
            return pipe_no_memory(err);
        *kept = (struct pipe_generation_rows){ rows, g->length, causal ? b->length : 0 };
        memcpy(kept->ids, g->ids + i * count, count * sizeof(*g->ids));
        b->items[i].windows[0].kept = kept;
    }
    return 0;
}

static int generate(const struct batch *b, struct om_generated **out, struct om_error *err)
{
    const struct pipe_call *const c = b->c;
    const struct pipe_generation_params *const g = c->params;
    const struct om_decode_opts decode = decoding(c);
    struct om_generation_config config = g->config;
    struct om_generate_inputs in = OM_GENERATE_INPUTS_INIT;
    struct om_generate_opts o = OM_GENERATE_OPTS_INIT;

    if (g->forced_bos >= 0)
        config.forced_bos_token_id = g->forced_bos;
    in.batch = b->n;
    in.length = b->length;
    in.ids = b->ids;
    in.mask = b->mask;
    o.config = &config;
    o.tokenizer = c->p->t.tok;
    o.seed = (uint64_t)g->seed + (uint64_t)(b->items - c->items);
    o.stream = g->stream ? stream : NULL;
    o.stream_user = (void *)(uintptr_t)b;
    o.stream_decode = &decode;
    return om_generate(g->ctx, c->p->model, &in, &o, out, err);
}

int pipe_generation_run(struct pipe_call *c, struct pipe_item *items, size_t n,
                        struct om_error *err)
{
    const struct pipe_generation_params *const g = c->params;
    const size_t first = (size_t)(items - c->items);
    struct batch b = { .c = c,
                       .items = items,
                       .n = n,
                       .first_row = first * (size_t)OM_MAX(g->config.num_return_sequences, 1) };
    struct om_generated *out = NULL;
    int rc = batch_init(&b, err);

    if (rc == 0)
        rc = generate(&b, &out, err);
    if (rc == 0)
        rc = keep_rows(&b, out, err);
    om_generated_free(out);
    free(b.ids);
    return rc;
}

/* ---- results ---- */

int pipe_generation_decode(struct pipe_call *c, const int64_t *ids, size_t n, struct om_text *out,
                           struct om_error *err)
{
    const struct om_decode_opts o = decoding(c);
    uint32_t *const tokens = malloc((n + 1) * sizeof(*tokens));
    char *text = NULL;
    size_t len = 0;
    int rc;

    for (size_t i = 0; tokens && i < n; i++)
        tokens[i] = (uint32_t)ids[i];
    rc = tokens ? om_tokenizer_decode(c->p->t.tok, tokens, n, &o, &text, &len, err)
                : pipe_no_memory(err);
    if (rc == 0) {
        *out = pipe_keep_text(c, (om_sv){ text, len });
        rc = out->ptr ? 0 : pipe_no_memory(err);
    }
    free(tokens);
    free(text);
    return rc;
}

void pipe_generation_json_ids(struct om_buf *b, const char *name,
                              const struct om_generated_text *text)
{
    om_buf_printf(b, "{\"%s_token_ids\": [", name);
    for (size_t i = 0; i < text->len; i++)
        om_buf_printf(b, "%s%" PRId64, i ? ", " : "", text->ids[i]);
    om_buf_adds(b, "]}");
}

/* The texts as they are, a line after each but the last. */
void pipe_generation_text(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    const struct om_generated_texts *const r = result;

    (void)c;
    for (size_t i = 0; i < r->len; i++) {
        om_buf_adds(b, i ? "\n" : "");
        om_buf_add(b, r->at[i].text.ptr, r->at[i].text.len);
    }
}

/* ---- the typed door ---- */

const struct om_generation_config *om_pipeline_settings(const struct om_pipeline *p)
{
    const struct pipe_generation_params *const g = p->params;

    return p->task->run == NULL ? NULL : &g->config;
}

static void set_text(struct om_text *to, const char *from)
{
    if (from)
        *to = (struct om_text){ from, strlen(from) };
}

static void set_choice(enum om_choice *to, enum om_choice from)
{
    if (from != OM_UNSET)
        *to = from;
}

static int set(struct pipe_call *c, const struct om_generation_opts *opts, struct om_error *err)
{
    struct pipe_generation_params *const g = c->params;
    struct om_generation_opts o = OM_GENERATION_OPTS_INIT;

    OM_TRY(pipe_opts_copy(&o, opts, sizeof(o), err));
    if (o.max_length < 0)
        return om_fail(err, OM_E_USAGE, "max_length is negative");
    if (o.config)
        OM_TRY(om_gen_settings(o.config, &g->config, err));
    if (o.batch_size > PIPE_BATCH_SIZE_MAX)
        return om_fail(err, OM_E_USAGE, "batch size %zu: at most %d", o.batch_size,
                       PIPE_BATCH_SIZE_MAX);
    c->batch_size = o.batch_size ? o.batch_size : c->batch_size;
    g->config_given = o.config != NULL;
    g->seed = (int64_t)o.seed;
    g->ctx = o.ctx;
    g->stream = o.stream;
    g->stream_user = o.stream_user;
    set_choice(&g->return_full_text, o.return_full_text);
    set_choice(&g->clean_up, o.clean_up_spaces);
    set_choice(&g->skip_special, o.skip_special_tokens);
    set_choice(&g->continue_final, o.continue_final_message);
    pipe_coding_set(&g->coding, o.truncation, o.max_length);
    set_text(&g->prefix, o.prefix);
    set_text(&g->stop_sequence, o.stop_sequence);
    set_text(&g->source, o.src_lang);
    set_text(&g->target, o.tgt_lang);
    g->tools = o.tools ? o.tools : g->tools;
    g->documents = o.documents ? o.documents : g->documents;
    g->variables = o.variables ? o.variables : g->variables;
    g->chat_template = o.chat_template ? o.chat_template : g->chat_template;
    return 0;
}

static int begin(struct pipe_call *c, const struct om_pipeline *p, struct om_error *err)
{
    *c = (struct pipe_call){ .n = 0 };
    if (!p->task->run)
        return om_fail(err, OM_E_USAGE, "the pipeline is for %s, which generates no text",
                       p->task->name);
    return pipe_typed_begin(c, p, p->task, err);
}

static int put_texts(struct pipe_call *c, const struct om_text *texts, size_t n,
                     struct om_error *err)
{
    struct pipe_generation_input *const in = pipe_call_items(c, n);

    if (!in)
        return pipe_no_memory(err);
    for (size_t i = 0; i < n; i++)
        in[i].text = texts[i];
    return 0;
}

int om_pipeline_generate(const struct om_pipeline *p, const struct om_text *texts, size_t n,
                         const struct om_generation_opts *opts,
                         const struct om_generated_texts **out, struct om_error *err)
{
    struct pipe_call c;
    const void *results = NULL;
    int rc;

    OM_TRY(begin(&c, p, err));
    rc = put_texts(&c, texts, n, err);
    if (rc == 0)
        rc = set(&c, opts, err);
    rc = pipe_typed_end(&c, rc, &results, err);
    if (rc == 0)
        *out = results;
    return rc;
}

static int put_chat(struct pipe_call *c, const char *messages, struct om_error *err)
{
    if (c->p->task != &pipe_text_generation)
        return om_fail(err, OM_E_USAGE, "chats are for text-generation, not for %s",
                       c->p->task->name);
    OM_TRY(om_json_parse(om_sv_str(messages), OM_JSON_LAST_WINS, &c->doc, err));
    if (om_json_kind(om_json_at(c->doc, 0)) != OM_JSON_OBJECT)
        return om_fail(err, OM_E_USAGE, "messages: expected a list of objects");
    return c->p->task->read(c, c->doc, err);
}

int om_pipeline_chat(const struct om_pipeline *p, const char *messages,
                     const struct om_generation_opts *opts, const struct om_generated_texts **out,
                     struct om_error *err)
{
    struct pipe_call c;
    const void *results = NULL;
    int rc;

    OM_TRY(begin(&c, p, err));
    rc = put_chat(&c, messages, err);
    if (rc == 0)
        rc = set(&c, opts, err);
    rc = pipe_typed_end(&c, rc, &results, err);
    if (rc == 0)
        *out = results;
    return rc;
}
