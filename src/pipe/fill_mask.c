/* src/pipe/fill_mask.c: words for the masks of a text. */
#include "pipe/pipe.h"

#include <math.h>
#include <stdlib.h>

enum { TOP_K = 5 };

struct params {
    struct pipe_coding coding;
    int64_t top_k;
    struct pipe_texts targets;
    const uint32_t *ids; /* of the targets, each once, ascending; by check() */
    size_t n_ids;
};

static const struct params defaults = { .top_k = TOP_K };

static const struct pipe_param params_table[] = {
    PIPE_PARAM(INT, struct params, top_k, "top_k", .min = 0),
    PIPE_PARAM(TEXTS, struct params, targets, "targets"),
    { .key = "tokenizer_kwargs", .kind = PIPE_PARAM_OTHER, .read = pipe_read_coding },
    { .key = NULL },
};

static int open_task(struct om_pipeline *p, struct om_error *err)
{
    if (!p->t.mask.known)
        return om_fail(err, OM_E_USAGE, "the tokenizer does not define a mask token");
    p->per_token = true;
    return pipe_need_output(p, 0, "logits", err);
}

/* ---- targets ---- */

/* A word of the vocabulary, else the piece that truncation to one token would leave of it. */
static int target_id(const struct pipe_reader *r, const struct om_text *word, uint32_t *id,
                     bool *found)
{
    struct om_encode_opts o = OM_ENCODE_OPTS_INIT;
    struct om_encoding *enc;

    *found = om_tokenizer_token_to_id(r->p->t.tok, word->ptr, word->len, id);
    if (*found)
        return 0;
    o.no_special_tokens = true;
    OM_TRY(om_tokenizer_encode(r->p->t.tok, word, NULL, &o, &enc, r->err));
    *found = enc->len > 0;
    if (*found)
        *id = enc->ids[r->p->t.truncation_side == OM_SIDE_LEFT ? enc->len - 1 : 0];
    om_encoding_free(enc);
    return 0;
}

static int ascending(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static size_t unique(uint32_t *ids, size_t n)
{
    size_t len = 0;

    if (n > 1)
        qsort(ids, n, sizeof(*ids), ascending);
    for (size_t i = 0; i < n; i++)
        if (len == 0 || ids[i] != ids[len - 1])
            ids[len++] = ids[i];
    return len;
}

static int check(const struct pipe_reader *r, void *params)
{
    struct params *const p = params;
    uint32_t *ids;
    size_t n = 0;
    bool found;

    if (!p->targets.at || (p->ids && p->targets.at == ((struct params *)r->p->params)->targets.at))
        return 0;
    ids = om_arena_array(r->arena, p->targets.len + 1, sizeof(*ids));
    if (!ids)
        return pipe_no_memory(r->err);
    for (size_t i = 0; i < p->targets.len; i++) {
        OM_TRY(target_id(r, &p->targets.at[i], &ids[n], &found));
        n += found;
    }
    p->n_ids = unique(ids, n);
    p->ids = ids;
    return n ? 0 : om_fail(r->err, OM_E_USAGE, "at least one target must be a word");
}

/* ---- windows ---- */

static size_t count_masks(const struct om_pipeline *p, const struct om_encoding *e)
{
    size_t n = 0;

    for (size_t i = 0; i < e->len; i++)
        n += e->ids[i] == p->t.mask.id;
    return n;
}

static int prepare(const struct pipe_call *c, struct pipe_item *item, struct om_error *err)
{
    const struct params *const p = c->params;

    OM_TRY(pipe_encode(c->p, item, item->input, NULL, &p->coding, false, err));
    if (count_masks(c->p, item->windows[0].enc) == 0)
        return om_fail(err, OM_E_USAGE, "No mask_token (%s) found on the input",
                       c->p->t.mask_token);
    return 0;
}

/* ---- scores ---- */

/* What is kept of a window: the best tokens of each mask, best first. */
struct fills {
    size_t masks, len;
    struct pipe_best at[];
};

/* The sum that turns exponentials of the logits, less their maximum, into probabilities. */
static float partition(const float *logits, size_t n, float *max)
{
    double sum = 0.0;

    *max = -INFINITY;
    for (size_t i = 0; i < n; i++)
        *max = fmaxf(*max, logits[i]);
    for (size_t i = 0; i < n; i++)
        sum += expf(logits[i] - *max);
    return (float)sum;
}

/* The best by their logits; probabilities are for those only. */
static void best_tokens(const struct params *p, const float *logits, size_t width,
                        struct pipe_top *top)
{
    float max;
    const float sum = partition(logits, width, &max);

    if (p->ids) {
        for (size_t i = 0; i < p->n_ids; i++)
            pipe_top_add(top, logits[p->ids[i]], p->ids[i], 0);
    } else {
        for (size_t i = 0; i < width; i++)
            if (pipe_top_wants(top, logits[i]))
                pipe_top_add(top, logits[i], (uint32_t)i, 0);
    }
    pipe_top_sort(top);
    for (size_t i = 0; i < top->len; i++)
        top->at[i].score = expf(top->at[i].score - max) / sum;
}

static int check_width(const struct params *p, size_t width, struct om_error *err)
{
    if (p->ids && p->ids[p->n_ids - 1] >= width)
        return om_fail(err, OM_E_USAGE, "target %u: the model has %zu tokens", p->ids[p->n_ids - 1],
                       width);
    if (!p->ids && (uint64_t)p->top_k > width)
        return om_fail(err, OM_E_USAGE, "top_k is %" PRId64 ", the model has %zu tokens", p->top_k,
                       width);
    return 0;
}

static int reduce(const struct pipe_window *w, const struct pipe_rows *rows, void **kept,
                  struct om_error *err)
{
    const struct pipe_call *const c = w->item->call;
    const struct params *const p = c->params;
    const size_t masks = count_masks(c->p, w->enc);
    struct fills *fills;
    size_t len, size, at = 0;

    OM_TRY(check_width(p, rows->width, err));
    len = p->ids ? OM_MIN((size_t)p->top_k, p->n_ids) : (size_t)p->top_k;
    if (!om_mul_size(masks, len * sizeof(fills->at[0]), &size))
        return pipe_no_memory(err);
    *kept = fills = malloc(sizeof(*fills) + size);
    if (!fills)
        return pipe_no_memory(err);
    fills->masks = masks;
    fills->len = len;
    for (size_t i = 0; i < rows->rows; i++) {
        struct pipe_top top = { .at = fills->at + at, .max = len };

        if (w->enc->ids[i] != c->p->t.mask.id)
            continue;
        best_tokens(p, rows->data[0] + i * rows->width, rows->width, &top);
        at += len;
    }
    return 0;
}

/* ---- results ---- */

struct sentence {
    struct pipe_call *c;
    const struct om_encoding *enc;
    uint32_t *ids; /* room for the text */
    bool single;
    struct om_error *err;
};

static int decode(const struct sentence *s, const uint32_t *ids, size_t n, bool skip_special,
                  struct om_text *out)
{
    struct om_decode_opts o = OM_DECODE_OPTS_INIT;
    const struct om_tokenizer *const tok = s->c->p->t.tok;
    char *text;
    size_t len;

    o.skip_special_tokens = skip_special;
    o.clean_up_spaces = om_tokenizer_get_info(tok)->clean_up_tokenization_spaces;
    OM_TRY(om_tokenizer_decode(tok, ids, n, &o, &text, &len, s->err));
    *out = pipe_keep_text(s->c, (om_sv){ text, len });
    free(text);
    return out->ptr ? 0 : pipe_no_memory(s->err);
}

/* The text with token at place, without padding. Other masks stay as they are: then so do special
 * tokens. */
static int fill_one(const struct sentence *s, size_t place, struct pipe_best best,
                    struct om_fill *out)
{
    const struct pipe_id pad = s->c->p->t.pad;
    size_t n = 0;

    for (size_t i = 0; i < s->enc->len; i++) {
        const uint32_t id = i == place ? best.key : s->enc->ids[i];

        if (!pad.known || id != pad.id)
            s->ids[n++] = id;
    }
    out->score = best.score;
    out->token = best.key;
    OM_TRY(decode(s, &best.key, 1, false, &out->token_text));
    return decode(s, s->ids, n, s->single, &out->sequence);
}

static int finish(struct pipe_call *c, const struct pipe_item *item, void *result,
                  struct om_error *err)
{
    const struct pipe_window *const w = &item->windows[0];
    const struct fills *const fills = w->kept;
    struct om_fill *const at =
        om_arena_array(&c->arena, fills->masks * fills->len + 1, sizeof(*at));
    struct sentence s = { c, w->enc, om_arena_array(&c->arena, w->enc->len, sizeof(uint32_t)),
                          fills->masks == 1, err };
    size_t n = 0;

    if (!at || !s.ids)
        return pipe_no_memory(err);
    for (size_t i = 0; i < w->enc->len; i++) {
        if (w->enc->ids[i] != c->p->t.mask.id)
            continue;
        for (size_t k = 0; k < fills->len; k++, n++)
            OM_TRY(fill_one(&s, i, fills->at[n], &at[n]));
    }
    *(struct om_fills *)result = (struct om_fills){ fills->masks, fills->len, at };
    return 0;
}

static int read(struct pipe_call *c, const struct om_json *inputs, struct om_error *err)
{
    OM_TRY(pipe_read_texts(c, inputs, err));
    c->list = c->list && c->n != 1;
    return 0;
}

static void json_fill(struct om_buf *b, const struct om_fill *f)
{
    om_buf_adds(b, "{\"score\": ");
    pipe_json_score(b, f->score);
    om_buf_printf(b, ", \"token\": %" PRIu32 ", \"token_str\": ", f->token);
    pipe_json_text(b, f->token_text);
    om_buf_adds(b, ", \"sequence\": ");
    pipe_json_text(b, f->sequence);
    om_buf_addc(b, '}');
}

static void json(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    const struct om_fills *const r = result;

    (void)c;
    om_buf_adds(b, r->masks > 1 ? "[" : "");
    for (size_t m = 0; m < r->masks; m++) {
        om_buf_adds(b, m ? ", [" : "[");
        for (size_t i = 0; i < r->len; i++) {
            om_buf_adds(b, i ? ", " : "");
            json_fill(b, &r->at[m * r->len + i]);
        }
        om_buf_addc(b, ']');
    }
    om_buf_adds(b, r->masks > 1 ? "]" : "");
}

static void text(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    const struct om_fills *const r = result;

    (void)c;
    for (size_t i = 0; i < r->masks * r->len; i++) {
        om_buf_printf(b, "%s%.4f  ", i ? "\n" : "", (double)r->at[i].score);
        pipe_plain_text(b, r->at[i].token_text);
        om_buf_adds(b, "  ");
        pipe_plain_text(b, r->at[i].sequence);
    }
}

const struct pipe_task pipe_fill_mask = {
    .name = "fill-mask",
    .aliases = (const char *const[]){ NULL },
    .model_class = OM_MODEL_MASKED_LM,
    .params = params_table,
    .params_size = sizeof(struct params),
    .input_size = sizeof(struct om_text),
    .result_size = sizeof(struct om_fills),
    .defaults = &defaults,
    .open = open_task,
    .check = check,
    .read = read,
    .prepare = prepare,
    .reduce = reduce,
    .finish = finish,
    .json = json,
    .text = text,
};

/* ---- the typed door ---- */

static int set(struct pipe_call *c, const struct om_text *texts, size_t n,
               const struct om_fill_opts *opts, struct om_error *err)
{
    struct om_fill_opts o = OM_FILL_OPTS_INIT;
    struct params *const p = c->params;
    struct om_text *const in = pipe_call_items(c, n);

    if (!in)
        return pipe_no_memory(err);
    if (n)
        memcpy(in, texts, n * sizeof(*in));
    OM_TRY(pipe_opts_copy(&o, opts, sizeof(o), err));
    if (o.top_k < 0 || o.max_length < 0)
        return om_fail(err, OM_E_USAGE, "top_k or max_length is negative");
    p->top_k = o.top_k ? o.top_k : p->top_k;
    pipe_coding_set(&p->coding, o.truncation, o.max_length);
    return o.targets ? pipe_call_names(c, o.targets, o.n_targets, &p->targets, err) : 0;
}

int om_pipeline_fill(const struct om_pipeline *p, const struct om_text *texts, size_t n,
                     const struct om_fill_opts *opts, const struct om_fills **out,
                     struct om_error *err)
{
    struct pipe_call c;
    const void *results = NULL;
    int rc;

    OM_TRY(pipe_typed_begin(&c, p, &pipe_fill_mask, err));
    rc = pipe_typed_end(&c, set(&c, texts, n, opts, err), &results, err);
    if (rc == 0)
        *out = results;
    return rc;
}
