/* src/pipe/text_classification.c: labels of texts and of pairs of texts. */
#include "pipe/pipe.h"

#include <math.h>
#include <stdlib.h>

struct params {
    struct pipe_coding coding;
    int64_t top_k;  /* OM_TOP_K_ALL: all of them */
    bool has_top_k; /* somebody asked for a number, or for all: results are sorted lists then */
    bool call_has_top_k;              /* the call itself, not the construction */
    enum om_choice return_all_scores; /* an older name for a top_k of all or 1 */
    enum om_choice config_all_scores; /* the same of the configuration, for each call */
    int function;                     /* enum om_function */
};

static const struct params defaults = { .top_k = 1 };

/* A number, or null for all. */
static int read_top_k(const struct pipe_reader *r, const struct om_json *v, void *params)
{
    struct params *const p = params;
    int64_t n = OM_TOP_K_ALL;

    if (om_json_kind(v) != OM_JSON_NULL && !om_json_i64(v, &n))
        return om_fail(r->err, OM_E_USAGE, "expected an integer or null, found %s",
                       om_json_kind_text(v));
    p->top_k = n;
    p->has_top_k = p->call_has_top_k = true;
    return 0;
}

static const char *const functions[] = { "none", "sigmoid", "softmax", NULL };

static const struct pipe_param params_table[] = {
    { .key = "top_k", .kind = PIPE_PARAM_OTHER, .read = read_top_k },
    PIPE_PARAM(ENUM, struct params, function, "function_to_apply", .names = functions),
    PIPE_PARAM(CHOICE, struct params, return_all_scores, "return_all_scores"),
    { .key = "truncation", .kind = PIPE_PARAM_OTHER, .read = pipe_read_truncation },
    { .key = "padding", .kind = PIPE_PARAM_OTHER, .read = pipe_read_padding },
    PIPE_PARAM(INT, struct pipe_coding, max_length, "max_length", .min = 1),
    PIPE_PARAM(INT, struct pipe_coding, multiple_of, "pad_to_multiple_of", .min = 1),
    PIPE_PARAM(INT, struct pipe_coding, stride, "stride", .min = 0),
    PIPE_PARAM(CHOICE, struct pipe_coding, add_special_tokens, "add_special_tokens"),
    { .key = NULL },
};

static enum om_function function_of(const struct om_model_info *info)
{
    const char *const type = info->problem_type ? info->problem_type : "";

    if (strcmp(type, "regression") == 0)
        return OM_FUNCTION_NONE;
    if (strcmp(type, "multi_label_classification") == 0 || info->num_labels == 1)
        return OM_FUNCTION_SIGMOID;
    if (strcmp(type, "single_label_classification") == 0 || info->num_labels > 1)
        return OM_FUNCTION_SOFTMAX;
    return OM_FUNCTION_NONE;
}

static int open_task(struct om_pipeline *p, struct om_error *err)
{
    struct params *const params = p->params;
    bool all;

    /* A key of the configuration that older checkpoints have. */
    if (om_model_config_bool(p->model, "return_all_scores", &all))
        params->config_all_scores = params->return_all_scores = all ? OM_YES : OM_NO;
    return pipe_need_output(p, 0, "logits", err);
}

/* After the construction, what it said about top_k is not what a call says. */
static int check(const struct pipe_reader *r, void *params)
{
    struct params *const p = params;

    if (p->function == OM_FUNCTION_UNSET)
        p->function = (int)function_of(om_model_get_info(r->p->model));
    if (!p->call_has_top_k && p->return_all_scores != OM_UNSET)
        p->top_k = p->return_all_scores == OM_YES ? OM_TOP_K_ALL : 1;
    p->return_all_scores = p->config_all_scores;
    if (p == r->p->params)
        p->call_has_top_k = false;
    return 0;
}

/* ---- inputs ---- */

static int read_one(const struct om_json *v, struct om_text_pair *out, struct om_error *err)
{
    const struct om_json *const pair = om_json_get(v, "text_pair");

    if (om_json_kind(v) == OM_JSON_OBJECT) {
        if (pair)
            OM_TRY(pipe_read_text(pair, "key \"text_pair\": ", &out->pair, err));
        return pipe_read_text(om_json_get(v, "text"), "key \"text\": ", &out->text, err);
    }
    if (om_json_kind(v) == OM_JSON_ARRAY) { /* [[text, pair]], as it was written once */
        const struct om_json *const two = om_json_at(v, 0);

        if (om_json_len(v) != 1 || om_json_kind(two) != OM_JSON_ARRAY || om_json_len(two) != 2)
            return om_fail(err, OM_E_USAGE,
                           "expected a text; a pair is an object with \"text\" and \"text_pair\"");
        OM_TRY(pipe_read_text(om_json_at(two, 0), "", &out->text, err));
        return pipe_read_text(om_json_at(two, 1), "", &out->pair, err);
    }
    return pipe_read_text(v, "", &out->text, err);
}

static int read(struct pipe_call *c, const struct om_json *inputs, struct om_error *err)
{
    const struct params *const p = c->params;
    const bool many = om_json_kind(inputs) == OM_JSON_ARRAY;
    const size_t n = many ? om_json_len(inputs) : 1;
    struct om_text_pair *const in = pipe_call_items(c, n);

    if (!in)
        return pipe_no_memory(err);
    c->list = many || (om_json_kind(inputs) == OM_JSON_STRING && !p->call_has_top_k);
    for (size_t i = 0; i < n; i++)
        OM_TRY(om_wrap(err, read_one(many ? om_json_at(inputs, i) : inputs, &in[i], err),
                       "input %zu", i));
    return 0;
}

static int prepare(const struct pipe_call *c, struct pipe_item *item, struct om_error *err)
{
    const struct params *const p = c->params;
    const struct om_text_pair *const in = item->input;

    return pipe_encode(c->p, item, &in->text, in->pair.ptr && in->pair.len ? &in->pair : NULL,
                       &p->coding, false, err);
}

/* ---- scores ---- */

struct logits {
    size_t len;
    float at[];
};

static int reduce(const struct pipe_window *w, const struct pipe_rows *rows, void **kept,
                  struct om_error *err)
{
    struct logits *const x = malloc(sizeof(*x) + rows->width * sizeof(x->at[0]));

    (void)w;
    if (!x)
        return pipe_no_memory(err);
    x->len = rows->width;
    memcpy(x->at, rows->data[0], rows->width * sizeof(x->at[0]));
    *kept = x;
    return 0;
}

static void apply(enum om_function f, float *x, size_t n)
{
    float max = -INFINITY, sum = 0.0F;

    for (size_t i = 0; i < n; i++)
        max = fmaxf(max, x[i]);
    for (size_t i = 0; i < n; i++) {
        if (f == OM_FUNCTION_SIGMOID)
            x[i] = 1.0F / (1.0F + expf(-x[i]));
        else if (f == OM_FUNCTION_SOFTMAX)
            sum += x[i] = expf(x[i] - max);
    }
    for (size_t i = 0; i < n && f == OM_FUNCTION_SOFTMAX; i++)
        x[i] /= sum;
}

/* Python's list[:top_k]. */
static size_t take(int64_t top_k, size_t n)
{
    if (top_k < 0)
        return (uint64_t)-top_k < n ? n - (size_t)-top_k : 0;
    return (uint64_t)top_k < n ? (size_t)top_k : n;
}

/* Labels by score; sorted is false for what return_all_scores gave. */
static int list_labels(struct pipe_call *c, const float *scores, size_t n, bool sorted,
                       struct om_labels *out, struct om_error *err)
{
    struct om_label *const at = om_arena_array(&c->arena, n + 1, sizeof(*at));
    struct pipe_best *const best = om_arena_array(&c->arena, n + 1, sizeof(*best));
    struct pipe_top top = { .at = best, .max = n };

    if (!at || !best)
        return pipe_no_memory(err);
    for (size_t i = 0; i < n; i++)
        top.at[top.len++] = (struct pipe_best){ .score = scores[i], .key = (uint32_t)i };
    if (sorted)
        pipe_top_sort(&top);
    for (size_t i = 0; i < n; i++) {
        const char *const label = pipe_label(c->p, best[i].key, err);

        if (!label)
            return OM_E_CONFIG;
        at[i].name = pipe_keep_text(c, om_sv_str(label)).ptr;
        if (!at[i].name)
            return pipe_no_memory(err);
        at[i].id = best[i].key;
        at[i].score = best[i].score;
    }
    *out = (struct om_labels){ n, at };
    return 0;
}

/* The best label alone, which is no list. */
static bool single(const struct params *p)
{
    return !p->has_top_k && p->top_k == 1;
}

static int finish(struct pipe_call *c, const struct pipe_item *item, void *result,
                  struct om_error *err)
{
    const struct params *const p = c->params;
    struct om_labels *const out = result;
    struct logits *const x = item->windows[0].kept;

    apply((enum om_function)p->function, x->at, x->len);
    OM_TRY(list_labels(c, x->at, x->len, p->has_top_k || single(p), out, err));
    if (p->has_top_k || single(p))
        out->len = take(p->top_k, out->len);
    return 0;
}

/* ---- results ---- */

static void json_label(struct om_buf *b, const struct om_label *l)
{
    om_buf_adds(b, "{\"label\": ");
    om_buf_json_string(b, om_sv_str(l->name));
    om_buf_adds(b, ", \"score\": ");
    pipe_json_score(b, l->score);
    om_buf_addc(b, '}');
}

static void json(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    const struct params *const p = c->params;
    const struct om_labels *const r = result;

    if (single(p)) {
        json_label(b, r->at);
        return;
    }
    om_buf_addc(b, '[');
    for (size_t i = 0; i < r->len; i++) {
        om_buf_adds(b, i ? ", " : "");
        json_label(b, &r->at[i]);
    }
    om_buf_addc(b, ']');
}

static void text(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    const struct om_labels *const r = result;

    (void)c;
    for (size_t i = 0; i < r->len; i++)
        om_buf_printf(b, "%s%.4f  %s", i ? "\n" : "", (double)r->at[i].score, r->at[i].name);
}

const struct pipe_task pipe_text_classification = {
    .name = "text-classification",
    .aliases = (const char *const[]){ "sentiment-analysis", NULL },
    .model_class = OM_MODEL_SEQUENCE_CLASSIFICATION,
    .params = params_table,
    .params_size = sizeof(struct params),
    .input_size = sizeof(struct om_text_pair),
    .result_size = sizeof(struct om_labels),
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

static int set(struct pipe_call *c, const struct om_text_pair *texts, size_t n,
               const struct om_classify_opts *opts, struct om_error *err)
{
    struct om_classify_opts o = OM_CLASSIFY_OPTS_INIT;
    struct params *const p = c->params;
    struct om_text_pair *const in = pipe_call_items(c, n);

    if (!in)
        return pipe_no_memory(err);
    if (n)
        memcpy(in, texts, n * sizeof(*in));
    OM_TRY(pipe_opts_copy(&o, opts, sizeof(o), err));
    if (o.top_k < 0 || o.max_length < 0)
        return om_fail(err, OM_E_USAGE, "top_k or max_length is negative");
    if (o.top_k) {
        p->top_k = o.top_k;
        p->has_top_k = true;
    }
    if (o.function_to_apply != OM_FUNCTION_UNSET)
        p->function = (int)o.function_to_apply;
    pipe_coding_set(&p->coding, o.truncation, o.max_length);
    return 0;
}

int om_pipeline_classify(const struct om_pipeline *p, const struct om_text_pair *texts, size_t n,
                         const struct om_classify_opts *opts, const struct om_labels **out,
                         struct om_error *err)
{
    struct pipe_call c;
    const void *results = NULL;
    int rc;

    OM_TRY(pipe_typed_begin(&c, p, &pipe_text_classification, err));
    rc = pipe_typed_end(&c, set(&c, texts, n, opts, err), &results, err);
    if (rc == 0)
        *out = results;
    return rc;
}
