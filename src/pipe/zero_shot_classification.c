/* src/pipe/zero_shot_classification.c: labels that nobody trained for, by whether a text entails a
 * sentence about them. */
#include "pipe/pipe.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>

struct params {
    struct pipe_texts labels;
    struct om_text hypothesis_template;
    enum om_choice multi_label;
    const struct om_text *hypotheses; /* one for each label, by check() */
};

#define TEMPLATE "This example is {}."
static const struct params defaults = { .hypothesis_template = { TEMPLATE, sizeof(TEMPLATE) - 1 } };

/* A list, or a text with commas. */
static int read_labels(const struct pipe_reader *r, const struct om_json *v, void *params)
{
    struct params *const p = params;
    const bool list = om_json_kind(v) == OM_JSON_ARRAY;
    om_sv rest = { "", 0 }, part;
    struct om_text *at;
    size_t n = 0;

    if (!list && !om_json_str(v, &rest))
        return om_fail(r->err, OM_E_USAGE, "expected texts, found %s", om_json_kind_text(v));
    at = om_arena_array(r->arena, (list ? om_json_len(v) : rest.len) + 2, sizeof(*at));
    if (!at)
        return pipe_no_memory(r->err);
    for (; list && n < om_json_len(v); n++)
        OM_TRY(pipe_read_text(om_json_at(v, n), "", &at[n], r->err));
    while (!list && om_sv_split(&rest, ',', &part)) {
        part = om_sv_trim(part);
        if (part.len)
            at[n++] = (struct om_text){ part.ptr, part.len };
    }
    p->labels = (struct pipe_texts){ at, n };
    return 0;
}

static const struct pipe_param params_table[] = {
    { .key = "candidate_labels", .kind = PIPE_PARAM_OTHER, .read = read_labels },
    PIPE_PARAM(TEXT, struct params, hypothesis_template, "hypothesis_template"),
    PIPE_PARAM(CHOICE, struct params, multi_label, "multi_label"),
    PIPE_PARAM(CHOICE, struct params, multi_label, "multi_class"),
    { .key = NULL },
};

/* ---- the model ---- */

/* The columns of the logits; -1: the last one, as an index of Python. */
struct state {
    int64_t entailment, contradiction;
};

static bool entails(om_sv label)
{
    static const char word[] = "entail";

    if (label.len < sizeof(word) - 1)
        return false;
    for (size_t i = 0; i < sizeof(word) - 1; i++)
        if (tolower((unsigned char)label.ptr[i]) != word[i])
            return false;
    return true;
}

/* The first of label2id that begins so; where a configuration has none, of id2label. */
static int64_t entailment_id(const struct om_pipeline *p)
{
    const struct om_model_info *const info = om_model_get_info(p->model);
    const struct om_json *const label2id = om_json_get(p->config, "label2id");
    struct om_json_iter it = { 0 };
    int64_t id;

    while (om_json_next(label2id, &it))
        if (entails(it.key) && om_json_i64(it.value, &id))
            return id;
    for (id = 0; !label2id && id < info->num_labels; id++)
        if (info->labels[id] && entails(om_sv_str(info->labels[id])))
            return id;
    return -1;
}

static int open_task(struct om_pipeline *p, struct om_error *err)
{
    struct state *const s = om_arena_alloc(&p->arena, sizeof(*s));

    if (!s)
        return pipe_no_memory(err);
    s->entailment = entailment_id(p);
    s->contradiction = s->entailment == 0 ? -1 : 0;
    p->state = s;
    return pipe_need_output(p, 0, "logits", err);
}

/* ---- hypotheses ---- */

/* Python's str.format() with one argument: {} or {0}, and doubled braces. used: it was there. */
static int format(struct om_buf *b, om_sv template, struct om_text label, bool *used,
                  struct om_error *err)
{
    size_t fields = 0;

    for (size_t i = 0; i < template.len; i++) {
        const om_sv rest = { template.ptr + i, template.len - i };
        const bool numbered = om_sv_starts(rest, OM_SVL("{0}"));

        if (om_sv_starts(rest, OM_SVL("{{")) || om_sv_starts(rest, OM_SVL("}}"))) {
            om_buf_addc(b, rest.ptr[0]);
            i++;
        } else if (numbered || om_sv_starts(rest, OM_SVL("{}"))) {
            if (!numbered && fields++ > 0)
                return om_fail(err, OM_E_USAGE, "hypothesis_template has more than one {}");
            om_buf_add(b, label.ptr, label.len);
            *used = true;
            i += numbered ? 2 : 1;
        } else if (rest.ptr[0] == '{' || rest.ptr[0] == '}') {
            return om_fail(err, OM_E_USAGE,
                           "hypothesis_template: the only field is {}; a brace is written twice");
        } else {
            om_buf_addc(b, rest.ptr[0]);
        }
    }
    return om_buf_check(b, err);
}

static int make_hypothesis(const struct pipe_reader *r, const struct params *p,
                           struct om_text label, struct om_text *out)
{
    struct om_buf b = OM_BUF_INIT(PIPE_TEXT_MAX);
    const om_sv template = { p->hypothesis_template.ptr, p->hypothesis_template.len };
    bool used = false;
    int rc = format(&b, template, label, &used, r->err);

    if (rc == 0 && (!used || om_sv_eq(om_buf_sv(&b), template)))
        rc =
            om_fail(r->err, OM_E_USAGE,
                    "hypothesis_template \"%.*s\" has no {} where the label goes", OM_SV(template));
    if (rc == 0) {
        *out = (struct om_text){ om_arena_str(r->arena, om_buf_sv(&b)), b.len };
        rc = out->ptr ? 0 : pipe_no_memory(r->err);
    }
    om_buf_release(&b);
    return rc;
}

static int check(const struct pipe_reader *r, void *params)
{
    struct params *const p = params;
    struct om_text *const all = om_arena_array(r->arena, p->labels.len + 1, sizeof(*all));

    if (!all)
        return pipe_no_memory(r->err);
    for (size_t i = 0; i < p->labels.len; i++)
        OM_TRY(make_hypothesis(r, p, p->labels.at[i], &all[i]));
    p->hypotheses = all;
    return 0;
}

/* ---- windows ---- */

/* A text that is shorter than what would have to go is left whole: the original tries again so. */
static int encode_pair(const struct pipe_call *c, struct pipe_item *item,
                       const struct om_text *hypothesis, struct om_error *err)
{
    struct pipe_coding coding = { .truncation = PIPE_TRUNCATE_FIRST };
    const int rc = pipe_encode(c->p, item, item->input, hypothesis, &coding, false, NULL);

    if (rc != OM_E_USAGE)
        return rc < 0 ? om_fail(err, rc, "the text cannot be encoded") : 0;
    coding.truncation = PIPE_TRUNCATE_NO;
    return pipe_encode(c->p, item, item->input, hypothesis, &coding, false, err);
}

static int prepare(const struct pipe_call *c, struct pipe_item *item, struct om_error *err)
{
    const struct params *const p = c->params;
    const struct om_text *const text = item->input;

    if (p->labels.len == 0 || text->len == 0)
        return om_fail(err, OM_E_USAGE, "a text and at least one of candidate_labels are needed");
    for (size_t i = 0; i < p->labels.len; i++)
        OM_TRY(encode_pair(c, item, &p->hypotheses[i], err));
    return 0;
}

/* ---- scores ---- */

struct pair {
    float entailment, contradiction;
};

static int reduce(const struct pipe_window *w, const struct pipe_rows *rows, void **kept,
                  struct om_error *err)
{
    const struct state *const s = w->item->call->p->state;
    const size_t last = rows->width - 1;
    const size_t e = s->entailment < 0 ? last : (size_t)s->entailment;
    const size_t k = s->contradiction < 0 ? last : (size_t)s->contradiction;
    struct pair *const pair = malloc(sizeof(*pair));

    *kept = pair;
    if (!pair)
        return pipe_no_memory(err);
    if (e > last || k > last)
        return om_fail(err, OM_E_CONFIG, "label %zu means entailment, but there are %zu logits", e,
                       rows->width);
    *pair = (struct pair){ rows->data[0][e], rows->data[0][k] };
    return 0;
}

/* Entailment against contradiction for each label alone, or the labels' entailments against each
 * other; as in the original, exponentials of the logits as they are. */
static void score(const struct pipe_item *item, bool alone, float *out)
{
    float sum = 0.0F;

    for (size_t i = 0; i < item->n_windows; i++) {
        const struct pair *const pair = item->windows[i].kept;

        out[i] = expf(pair->entailment);
        sum += out[i];
        if (alone)
            out[i] /= expf(pair->contradiction) + out[i];
    }
    for (size_t i = 0; i < item->n_windows && !alone; i++)
        out[i] /= sum;
}

/* Best first, of equal ones the later: a sorted list turned round. */
static int finish(struct pipe_call *c, const struct pipe_item *item, void *result,
                  struct om_error *err)
{
    const struct params *const p = c->params;
    const size_t n = item->n_windows;
    float *const scores = om_arena_array(&c->arena, n, sizeof(*scores));
    struct pipe_best *const best = om_arena_array(&c->arena, n, sizeof(*best));
    struct om_label *const at = om_arena_array(&c->arena, n, sizeof(*at));
    struct pipe_top top = { .at = best, .len = n, .max = n };

    if (!scores || !best || !at)
        return pipe_no_memory(err);
    score(item, p->multi_label == OM_YES || n == 1, scores);
    for (size_t i = 0; i < n; i++)
        best[i] = (struct pipe_best){ scores[i], (uint32_t)(n - 1 - i), (uint32_t)i };
    pipe_top_sort(&top);
    for (size_t i = 0; i < n; i++) {
        const struct om_text label = p->labels.at[best[i].other];

        at[i] = (struct om_label){ pipe_keep_text(c, (om_sv){ label.ptr, label.len }).ptr,
                                   best[i].other, best[i].score };
        if (!at[i].name)
            return pipe_no_memory(err);
    }
    *(struct om_labels *)result = (struct om_labels){ n, at };
    return 0;
}

/* ---- results ---- */

static void json(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    const struct params *const p = c->params;
    const struct om_labels *const r = result;
    const size_t item = (size_t)(r - (const struct om_labels *)c->results);

    om_buf_adds(b, "{\"sequence\": ");
    pipe_json_text(b, *(const struct om_text *)c->items[item].input);
    om_buf_adds(b, ", \"labels\": [");
    for (size_t i = 0; i < r->len; i++) {
        om_buf_adds(b, i ? ", " : "");
        pipe_json_text(b, p->labels.at[r->at[i].id]);
    }
    om_buf_adds(b, "], \"scores\": [");
    for (size_t i = 0; i < r->len; i++) {
        om_buf_adds(b, i ? ", " : "");
        pipe_json_score(b, r->at[i].score);
    }
    om_buf_adds(b, "]}");
}

static void text(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    const struct om_labels *const r = result;

    (void)c;
    for (size_t i = 0; i < r->len; i++)
        om_buf_printf(b, "%s%.4f  %s", i ? "\n" : "", (double)r->at[i].score, r->at[i].name);
}

const struct pipe_task pipe_zero_shot_classification = {
    .name = "zero-shot-classification",
    .aliases = (const char *const[]){ NULL },
    .model_class = OM_MODEL_SEQUENCE_CLASSIFICATION,
    .params = params_table,
    .params_size = sizeof(struct params),
    .input_size = sizeof(struct om_text),
    .result_size = sizeof(struct om_labels),
    .defaults = &defaults,
    .open = open_task,
    .check = check,
    .read = pipe_read_texts,
    .prepare = prepare,
    .reduce = reduce,
    .finish = finish,
    .json = json,
    .text = text,
};

/* ---- the typed door ---- */

static int set(struct pipe_call *c, const struct om_text *texts, size_t n,
               const struct om_zero_shot_opts *opts, struct om_error *err)
{
    struct om_zero_shot_opts o = OM_ZERO_SHOT_OPTS_INIT;
    struct params *const p = c->params;
    struct om_text *const in = pipe_call_items(c, n);

    if (!in)
        return pipe_no_memory(err);
    if (n)
        memcpy(in, texts, n * sizeof(*in));
    OM_TRY(pipe_opts_copy(&o, opts, sizeof(o), err));
    if (o.hypothesis_template)
        p->hypothesis_template =
            (struct om_text){ o.hypothesis_template, strlen(o.hypothesis_template) };
    if (o.multi_label != OM_UNSET)
        p->multi_label = o.multi_label;
    return 0;
}

int om_pipeline_zero_shot(const struct om_pipeline *p, const struct om_text *texts, size_t n,
                          const char *const *labels, size_t n_labels,
                          const struct om_zero_shot_opts *opts, const struct om_labels **out,
                          struct om_error *err)
{
    struct pipe_call c;
    const void *results = NULL;
    int rc;

    OM_TRY(pipe_typed_begin(&c, p, &pipe_zero_shot_classification, err));
    rc = set(&c, texts, n, opts, err);
    if (rc == 0)
        rc = pipe_call_names(&c, labels, n_labels, &((struct params *)c.params)->labels, err);
    rc = pipe_typed_end(&c, rc, &results, err);
    if (rc == 0)
        *out = results;
    return rc;
}
