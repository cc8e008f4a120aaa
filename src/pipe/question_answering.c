/* src/pipe/question_answering.c: spans of a context that answer a question. */
#include "pipe/pipe.h"

#include <math.h>
#include <stdlib.h>

#include "tok/unicode.h"

enum { TOP_K_MAX = 1 << 20, SEQ_LEN = 384, STRIDE = 128 };
#define MASKED (-10000.0F)

struct params {
    struct pipe_coding coding; /* of it, only the padding */
    int64_t top_k, max_answer_len, max_seq_len, doc_stride;
    enum om_choice handle_impossible_answer, align_to_words;
    int64_t max_question_len;
};

static const struct params defaults = {
    .top_k = 1, .max_answer_len = 15, .doc_stride = -1, .align_to_words = OM_YES
};

/* max_question_len is taken and ignored, as by the original with fast tokenizers. */
static const struct pipe_param params_table[] = {
    PIPE_PARAM(INT, struct params, top_k, "top_k", .min = 1),
    PIPE_PARAM(INT, struct params, top_k, "topk", .min = 1),
    PIPE_PARAM(INT, struct params, max_answer_len, "max_answer_len", .min = 1),
    PIPE_PARAM(INT, struct params, max_seq_len, "max_seq_len", .min = 1),
    PIPE_PARAM(INT, struct params, doc_stride, "doc_stride", .min = 0),
    PIPE_PARAM(INT, struct params, max_question_len, "max_question_len"),
    PIPE_PARAM(CHOICE, struct params, handle_impossible_answer, "handle_impossible_answer"),
    PIPE_PARAM(CHOICE, struct params, align_to_words, "align_to_words"),
    { .key = "padding", .kind = PIPE_PARAM_OTHER, .read = pipe_read_padding },
    { .key = NULL },
};

static int open_task(struct om_pipeline *p, struct om_error *err)
{
    OM_TRY(pipe_need_output(p, 0, "start_logits", err));
    OM_TRY(pipe_need_output(p, 1, "end_logits", err));
    p->per_token = true;
    return 0;
}

/* ---- inputs ---- */

static int check_question(const struct om_question *q, struct om_error *err)
{
    if (q->question.len == 0 || !q->question.ptr)
        return om_fail(err, OM_E_USAGE, "the question is empty");
    if (q->context.len == 0 || !q->context.ptr)
        return om_fail(err, OM_E_USAGE, "the context is empty");
    return 0;
}

static int read_one(const struct om_json *v, struct om_question *out, struct om_error *err)
{
    if (om_json_kind(v) != OM_JSON_OBJECT)
        return om_fail(err, OM_E_USAGE, "expected an object with \"question\" and \"context\"");
    OM_TRY(pipe_read_text(om_json_get(v, "question"), "key \"question\": ", &out->question, err));
    return pipe_read_text(om_json_get(v, "context"), "key \"context\": ", &out->context, err);
}

/* Lists of questions, with a list of contexts or one for all. */
static int read_lists(struct pipe_call *c, const struct om_json *questions,
                      const struct om_json *contexts, struct om_error *err)
{
    const bool many = om_json_kind(contexts) == OM_JSON_ARRAY;
    const size_t n = om_json_len(questions);
    struct om_question *q;

    if (many && om_json_len(contexts) != n)
        return om_fail(err, OM_E_USAGE, "%zu questions, but %zu contexts", n,
                       om_json_len(contexts));
    q = pipe_call_items(c, n);
    if (!q)
        return pipe_no_memory(err);
    for (size_t i = 0; i < n; i++) {
        OM_TRY(pipe_read_text(om_json_at(questions, i), "question: ", &q[i].question, err));
        OM_TRY(pipe_read_text(many ? om_json_at(contexts, i) : contexts, "context: ", &q[i].context,
                              err));
    }
    return 0;
}

static int read_objects(struct pipe_call *c, const struct om_json *inputs, struct om_error *err)
{
    const bool many = om_json_kind(inputs) == OM_JSON_ARRAY;
    const size_t n = many ? om_json_len(inputs) : 1;
    struct om_question *const q = pipe_call_items(c, n);

    if (!q)
        return pipe_no_memory(err);
    for (size_t i = 0; i < n; i++)
        OM_TRY(read_one(many ? om_json_at(inputs, i) : inputs, &q[i], err));
    return 0;
}

static int read(struct pipe_call *c, const struct om_json *inputs, struct om_error *err)
{
    const struct om_json *const questions = om_json_get(inputs, "question");

    if (om_json_kind(questions) == OM_JSON_ARRAY)
        OM_TRY(read_lists(c, questions, om_json_get(inputs, "context"), err));
    else
        OM_TRY(read_objects(c, inputs, err));
    c->list = c->n != 1;
    return 0;
}

/* ---- windows ---- */

static bool question_first(const struct om_pipeline *p)
{
    return p->t.padding_side == OM_SIDE_RIGHT;
}

static int coding_of(const struct pipe_call *c, struct pipe_coding *out, struct om_error *err)
{
    const struct params *const p = c->params;
    const uint64_t model_max = c->p->t.max_length;

    *out = p->coding;
    out->truncation = question_first(c->p) ? PIPE_TRUNCATE_SECOND : PIPE_TRUNCATE_FIRST;
    out->max_length = p->max_seq_len > 0 ? p->max_seq_len : (int64_t)OM_MIN(model_max, SEQ_LEN);
    out->stride = p->doc_stride >= 0 ? p->doc_stride : OM_MIN(out->max_length / 2, STRIDE);
    if (out->stride > out->max_length)
        return om_fail(err, OM_E_USAGE,
                       "doc_stride %" PRId64 " is larger than max_seq_len %" PRId64, out->stride,
                       out->max_length);
    return 0;
}

static int prepare(const struct pipe_call *c, struct pipe_item *item, struct om_error *err)
{
    const struct om_question *const q = item->input;
    struct pipe_coding coding;

    OM_TRY(check_question(q, err));
    OM_TRY(coding_of(c, &coding, err));
    if (question_first(c->p))
        return pipe_encode(c->p, item, &q->question, &q->context, &coding, true, err);
    return pipe_encode(c->p, item, &q->context, &q->question, &coding, true, err);
}

/* ---- spans ---- */

/* What is kept of a window: its best spans, best first. */
struct spans {
    float null_score;
    size_t len;
    struct pipe_best at[];
};

/* May an answer touch the token? The context and the class token may; with padding on the left the
 * original allows everything. */
static bool allowed(const struct om_pipeline *p, const struct om_encoding *e, size_t i)
{
    if (!e->attention_mask[i])
        return false;
    if (!question_first(p) || e->sequence_ids[i] == 1)
        return true;
    return p->t.cls.known && e->ids[i] == p->t.cls.id;
}

/* Probabilities of the allowed tokens; others are masked, and are 0 but where nothing is allowed.
 */
static void softmax(const float *logits, const bool *ok, size_t n, float *out)
{
    float max = -INFINITY, sum = 0.0F;

    for (size_t i = 0; i < n; i++) {
        out[i] = ok[i] ? logits[i] : MASKED;
        max = fmaxf(max, out[i]);
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = expf(out[i] - max);
        sum += out[i];
    }
    for (size_t i = 0; i < n; i++)
        out[i] /= sum;
}

/* Spans of at most max_len tokens whose probability is not 0. */
static void find_spans(const float *start, const float *end, size_t n, size_t max_len,
                       struct pipe_top *top)
{
    for (size_t s = 0; s < n; s++) {
        const size_t last = max_len < n - s ? s + max_len : n;

        if (!(start[s] > 0.0F))
            continue;
        for (size_t e = s; e < last; e++) {
            const float score = start[s] * end[e];

            if (score > 0.0F && pipe_top_wants(top, score))
                pipe_top_add(top, score, (uint32_t)s, (uint32_t)e);
        }
    }
    pipe_top_sort(top);
}

static size_t spans_wanted(const struct params *p, size_t n)
{
    const size_t top_k = (size_t)OM_MIN(p->top_k, TOP_K_MAX);
    const size_t wanted = p->align_to_words == OM_YES ? top_k * 2 + 10 : top_k;

    return OM_MIN(wanted, n * OM_MIN(n, (size_t)p->max_answer_len));
}

static struct spans *pick(const struct pipe_window *w, const struct pipe_rows *rows, float *start,
                          float *end, bool *ok)
{
    const struct params *const params = w->item->call->params;
    const size_t n = rows->rows, max = spans_wanted(params, n);
    struct spans *const kept = malloc(sizeof(*kept) + max * sizeof(kept->at[0]));
    size_t len = 0;

    if (!kept)
        return NULL;
    for (size_t i = 0; i < n; i++)
        ok[i] = allowed(w->item->call->p, w->enc, i);
    softmax(rows->data[0], ok, n, start);
    softmax(rows->data[1], ok, n, end);
    kept->null_score = start[0] * end[0];
    start[0] = end[0] = 0.0F; /* after the normalization: it has taken its part */

    struct pipe_top top = { .at = kept->at, .max = max };
    find_spans(start, end, n, (size_t)params->max_answer_len, &top);
    for (size_t i = 0; i < top.len; i++)
        if (ok[kept->at[i].key] && ok[kept->at[i].other])
            kept->at[len++] = kept->at[i];
    kept->len = len;
    return kept;
}

static int reduce(const struct pipe_window *w, const struct pipe_rows *rows, void **kept,
                  struct om_error *err)
{
    const size_t n = rows->rows;
    float *const start = n ? malloc(n * (2 * sizeof(float) + sizeof(bool))) : NULL;

    if (n == 0)
        return om_fail(err, OM_E_USAGE, "the question and the context have no tokens");
    if (rows->width != 1)
        return om_fail(err, OM_E_RUNTIME, "expected one logit for each token, found %zu",
                       rows->width);
    if (start)
        *kept = pick(w, rows, start, start + n, (bool *)(start + 2 * n));
    free(start);
    return *kept ? 0 : pipe_no_memory(err);
}

/* ---- answers ---- */

/* Tokens of a sequence that belong to a word; false where there are none. */
static bool word_tokens(const struct om_encoding *e, int32_t sequence, int32_t word, size_t *first,
                        size_t *last)
{
    bool found = false;

    for (size_t i = 0; i < e->len; i++) {
        if (e->sequence_ids[i] != sequence || e->word_ids[i] != word)
            continue;
        *first = found ? *first : i;
        *last = i;
        found = true;
    }
    return found;
}

struct place {
    size_t start, end; /* code points */
};

/* From the beginning of the first token's word to the end of the last one's, where both have one.
 */
static struct place place_of(const struct om_encoding *e, size_t s, size_t t, int32_t sequence,
                             bool align)
{
    size_t first = s, last = t, ignored;

    if (align && e->word_ids[s] >= 0 && e->word_ids[t] >= 0 &&
        word_tokens(e, sequence, e->word_ids[s], &first, &ignored) &&
        word_tokens(e, sequence, e->word_ids[t], &ignored, &last))
        return (struct place){ e->offsets[first].begin, e->offsets[last].end };
    return (struct place){ e->offsets[s].begin, e->offsets[t].end };
}

struct candidate {
    double score;
    struct place place;
    om_sv lower; /* what equal answers share */
    size_t order;
};

struct answers {
    struct pipe_call *c;
    struct pipe_chars chars; /* of the context */
    struct candidate *at;
    size_t len, cap;
    struct om_error *err;
};

static bool lower(struct om_arena *a, om_sv text, om_sv *out)
{
    struct om_buf b = OM_BUF_INIT(PIPE_TEXT_MAX);
    uint32_t folded[TOK_LOWER_MAX];
    size_t len;
    char *copy;

    for (size_t i = 0; i < text.len; i += len) {
        const size_t n = tok_lower(tok_utf8_lossy(text.ptr + i, text.len - i, &len), folded);

        for (size_t k = 0; k < n; k++) {
            char bytes[4];
            om_buf_add(&b, bytes, tok_utf8_encode(folded[k], bytes));
        }
    }
    copy = b.failed ? NULL : om_arena_str(a, om_buf_sv(&b));
    *out = (om_sv){ copy, b.len };
    om_buf_release(&b);
    return copy != NULL;
}

/* Equal texts, whatever their case, are one answer at the first place, with the sum of scores. */
static int add_answer(struct answers *a, struct place place, double score)
{
    om_sv key;

    if (!lower(&a->c->arena, pipe_chars_slice(&a->chars, place.start, place.end), &key))
        return pipe_no_memory(a->err);
    for (size_t i = 0; i < a->len; i++) {
        if (om_sv_eq(a->at[i].lower, key)) {
            a->at[i].score += score;
            return 0;
        }
    }
    if (!om_grow(&a->at, &a->cap, a->len + 1, sizeof(*a->at)))
        return pipe_no_memory(a->err);
    a->at[a->len] = (struct candidate){ score, place, key, a->len };
    a->len++;
    return 0;
}

static int add_window(struct answers *a, const struct pipe_window *w)
{
    const struct params *const p = a->c->params;
    const struct spans *const spans = w->kept;
    const int32_t sequence = question_first(a->c->p) ? 1 : 0;

    for (size_t i = 0; i < spans->len; i++)
        OM_TRY(add_answer(a,
                          place_of(w->enc, spans->at[i].key, spans->at[i].other, sequence,
                                   p->align_to_words == OM_YES),
                          spans->at[i].score));
    return 0;
}

/* Higher scores first, of equal ones the earlier. */
static int compare(const void *x, const void *y)
{
    const struct candidate *const a = x, *const b = y;

    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

static int write_answers(struct answers *a, struct om_answers *out)
{
    const struct params *const p = a->c->params;
    const size_t n = (size_t)OM_MIN(p->top_k, (int64_t)a->len);
    struct om_answer *const at = om_arena_array(&a->c->arena, n + 1, sizeof(*at));

    if (!at)
        return pipe_no_memory(a->err);
    if (a->len > 1)
        qsort(a->at, a->len, sizeof(*a->at), compare);
    for (size_t i = 0; i < n; i++) {
        const struct place place = a->at[i].place;

        at[i] = (struct om_answer){
            .score = (float)a->at[i].score,
            .start = place.start,
            .end = place.end,
            .byte_start = pipe_chars_byte(&a->chars, place.start),
            .byte_end = pipe_chars_byte(&a->chars, place.end),
            .text = pipe_keep_text(a->c, pipe_chars_slice(&a->chars, place.start, place.end)),
        };
        if (!at[i].text.ptr)
            return pipe_no_memory(a->err);
    }
    *out = (struct om_answers){ n, at };
    return 0;
}

/* No answer is the answer "", unless a text that is one has been found. */
static int add_null(struct answers *a, const struct pipe_item *item)
{
    double score = 1000000.0;

    for (size_t i = 0; i < item->n_windows; i++)
        score = fmin(score, ((const struct spans *)item->windows[i].kept)->null_score);
    if (!om_grow(&a->at, &a->cap, a->len + 1, sizeof(*a->at)))
        return pipe_no_memory(a->err);
    a->at[a->len] = (struct candidate){ .score = score, .order = a->len };
    a->len++;
    return 0;
}

static int finish(struct pipe_call *c, const struct pipe_item *item, void *result,
                  struct om_error *err)
{
    const struct om_question *const q = item->input;
    const struct params *const p = c->params;
    struct answers a = { .c = c, .err = err };
    int rc = pipe_chars_init(&a.chars, &c->arena, &q->context, err);

    for (size_t i = 0; i < item->n_windows && rc == 0; i++)
        rc = add_window(&a, &item->windows[i]);
    if (rc == 0 && p->handle_impossible_answer == OM_YES)
        rc = add_null(&a, item);
    if (rc == 0)
        rc = write_answers(&a, result);
    free(a.at);
    return rc;
}

/* ---- results ---- */

static void json_answer(struct om_buf *b, const struct om_answer *a)
{
    om_buf_adds(b, "{\"score\": ");
    pipe_json_score(b, a->score);
    om_buf_printf(b, ", \"start\": %zu, \"end\": %zu, \"answer\": ", a->start, a->end);
    pipe_json_text(b, a->text);
    om_buf_addc(b, '}');
}

static void json(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    const struct om_answers *const r = result;

    (void)c;
    om_buf_adds(b, r->len == 1 ? "" : "[");
    for (size_t i = 0; i < r->len; i++) {
        om_buf_adds(b, i ? ", " : "");
        json_answer(b, &r->at[i]);
    }
    om_buf_adds(b, r->len == 1 ? "" : "]");
}

static void text(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    const struct om_answers *const r = result;

    (void)c;
    for (size_t i = 0; i < r->len; i++) {
        const struct om_answer *const a = &r->at[i];

        om_buf_printf(b, "%s%.4f  ", i ? "\n" : "", (double)a->score);
        if (a->end > a->start)
            pipe_plain_text(b, a->text);
        else
            om_buf_adds(b, "(no answer)");
        om_buf_printf(b, "  [%zu, %zu)", a->start, a->end);
    }
}

const struct pipe_task pipe_question_answering = {
    .name = "question-answering",
    .aliases = (const char *const[]){ NULL },
    .model_class = OM_MODEL_QUESTION_ANSWERING,
    .params = params_table,
    .params_size = sizeof(struct params),
    .input_size = sizeof(struct om_question),
    .result_size = sizeof(struct om_answers),
    .defaults = &defaults,
    .open = open_task,
    .read = read,
    .prepare = prepare,
    .reduce = reduce,
    .finish = finish,
    .json = json,
    .text = text,
};

/* ---- the typed door ---- */

static int set(struct pipe_call *c, const struct om_question *questions, size_t n,
               const struct om_question_opts *opts, struct om_error *err)
{
    struct om_question_opts o = OM_QUESTION_OPTS_INIT;
    struct params *const p = c->params;
    struct om_question *const q = pipe_call_items(c, n);

    if (!q)
        return pipe_no_memory(err);
    if (n)
        memcpy(q, questions, n * sizeof(*q));
    OM_TRY(pipe_opts_copy(&o, opts, sizeof(o), err));
    if (o.top_k < 0 || o.max_answer_len < 0 || o.max_seq_len < 0)
        return om_fail(err, OM_E_USAGE, "top_k, max_answer_len or max_seq_len is negative");
    p->top_k = o.top_k ? o.top_k : p->top_k;
    p->max_answer_len = o.max_answer_len ? o.max_answer_len : p->max_answer_len;
    p->max_seq_len = o.max_seq_len ? o.max_seq_len : p->max_seq_len;
    p->doc_stride = o.doc_stride >= 0 ? o.doc_stride : p->doc_stride;
    if (o.handle_impossible_answer != OM_UNSET)
        p->handle_impossible_answer = o.handle_impossible_answer;
    if (o.align_to_words != OM_UNSET)
        p->align_to_words = o.align_to_words;
    return 0;
}

int om_pipeline_answer(const struct om_pipeline *p, const struct om_question *questions, size_t n,
                       const struct om_question_opts *opts, const struct om_answers **out,
                       struct om_error *err)
{
    struct pipe_call c;
    const void *results = NULL;
    int rc;

    OM_TRY(pipe_typed_begin(&c, p, &pipe_question_answering, err));
    rc = pipe_typed_end(&c, set(&c, questions, n, opts, err), &results, err);
    if (rc == 0)
        *out = results;
    return rc;
}
