/* src/pipe/token_classification.c: labels of tokens, and the entities that labelled tokens make. */
#include "pipe/pipe.h"

#include <math.h>
#include <stdlib.h>

#include "tok/tok.h"
#include "tok/unicode.h"

struct params {
    int aggregation; /* enum om_aggregation */
    struct pipe_texts ignore_labels;
    int64_t stride; /* negative: none */
    enum om_choice split, grouped, ignore_subwords;
    struct om_text delimiter;
};

static const struct om_text outside = { "O", 1 };
static const struct params defaults = { .ignore_labels = { &outside, 1 },
                                        .stride = -1,
                                        .delimiter = { " ", 1 } };

static const char *const aggregations[] = { "none", "simple", "first", "average", "max", NULL };

static const struct pipe_param params_table[] = {
    PIPE_PARAM(ENUM, struct params, aggregation, "aggregation_strategy", .names = aggregations),
    PIPE_PARAM(TEXTS, struct params, ignore_labels, "ignore_labels"),
    PIPE_PARAM(INT, struct params, stride, "stride", .min = 0),
    PIPE_PARAM(CHOICE, struct params, split, "is_split_into_words"),
    PIPE_PARAM(TEXT, struct params, delimiter, "delimiter"),
    PIPE_PARAM(CHOICE, struct params, grouped, "grouped_entities"),
    PIPE_PARAM(CHOICE, struct params, ignore_subwords, "ignore_subwords"),
    { .key = NULL },
};

static int open_task(struct om_pipeline *p, struct om_error *err)
{
    p->per_token = true;
    return pipe_need_output(p, 0, "logits", err);
}

static int check(const struct pipe_reader *r, void *params)
{
    struct params *const p = params;

    if (p->grouped != OM_UNSET || p->ignore_subwords != OM_UNSET) { /* older names */
        p->aggregation = p->grouped != OM_YES           ? OM_AGGREGATE_NONE
                         : p->ignore_subwords == OM_YES ? OM_AGGREGATE_FIRST
                                                        : OM_AGGREGATE_SIMPLE;
        p->grouped = p->ignore_subwords = OM_UNSET;
    }
    if (p->stride >= 0 && (uint64_t)p->stride >= r->p->t.max_length)
        return om_fail(r->err, OM_E_USAGE,
                       "stride %" PRId64 ", expected less than the tokenizer's %" PRIu64 " tokens",
                       p->stride, r->p->t.max_length);
    if (p->stride >= 0 && p->aggregation == OM_AGGREGATE_NONE)
        return om_fail(r->err, OM_E_USAGE, "stride needs an aggregation_strategy other than none");
    return 0;
}

/* ---- inputs ---- */

/* A text, or the words of one: then text is what they make with the delimiter. */
struct input {
    struct om_text text;
    const struct om_text *words;
    const size_t *starts; /* of the words, in code points */
    size_t n_words;
};

static int read_words(struct pipe_call *c, const struct om_json *v, struct input *out,
                      struct om_error *err)
{
    const size_t n = om_json_len(v);
    struct om_text *const words = om_arena_array(&c->arena, n + 1, sizeof(*words));

    if (om_json_kind(v) != OM_JSON_ARRAY)
        return om_fail(err, OM_E_USAGE, "expected a list of words, found %s", om_json_kind_text(v));
    if (!words)
        return pipe_no_memory(err);
    for (size_t i = 0; i < n; i++)
        OM_TRY(pipe_read_text(om_json_at(v, i), "", &words[i], err));
    out->words = words;
    out->n_words = n;
    return 0;
}

static size_t count_chars(om_sv text)
{
    size_t n = 0, len;

    for (size_t i = 0; i < text.len; i += len, n++)
        tok_utf8_lossy(text.ptr + i, text.len - i, &len);
    return n;
}

/* The text that words make, and where each begins in it. */
static int join_words(struct pipe_call *c, struct input *in, struct om_error *err)
{
    const struct params *const p = c->params;
    const om_sv delimiter = { p->delimiter.ptr, p->delimiter.len };
    size_t *const starts = om_arena_array(&c->arena, in->n_words + 1, sizeof(*starts));
    struct om_buf b = OM_BUF_INIT(PIPE_TEXT_MAX);
    size_t at = 0;
    int rc;

    if (!starts)
        return pipe_no_memory(err);
    for (size_t i = 0; i < in->n_words; i++) {
        const om_sv word = { in->words[i].ptr, in->words[i].len };

        if (i)
            om_buf_add(&b, delimiter.ptr, delimiter.len);
        starts[i] = at;
        om_buf_add(&b, word.ptr, word.len);
        at += count_chars(word) + count_chars(delimiter);
    }
    rc = om_buf_check(&b, err);
    in->starts = starts;
    in->text = pipe_keep_text(c, om_buf_sv(&b));
    om_buf_release(&b);
    return rc < 0 || in->text.ptr ? rc : pipe_no_memory(err);
}

static int read_split(struct pipe_call *c, const struct om_json *inputs, struct om_error *err)
{
    const size_t n = om_json_len(inputs);
    bool lists = om_json_kind(inputs) == OM_JSON_ARRAY;
    struct input *in;

    for (size_t i = 0; i < n && lists; i++)
        lists = om_json_kind(om_json_at(inputs, i)) == OM_JSON_ARRAY;
    in = pipe_call_items(c, lists ? n : 1);
    if (!in)
        return pipe_no_memory(err);
    c->list = true; /* the words of one text alone, too */
    for (size_t i = 0; i < c->n; i++) {
        OM_TRY(read_words(c, lists ? om_json_at(inputs, i) : inputs, &in[i], err));
        OM_TRY(join_words(c, &in[i], err));
    }
    return 0;
}

static int read(struct pipe_call *c, const struct om_json *inputs, struct om_error *err)
{
    const struct params *const p = c->params;
    const bool many = om_json_kind(inputs) == OM_JSON_ARRAY;
    const size_t n = many ? om_json_len(inputs) : 1;
    struct input *in;

    if (n == 0)
        return om_fail(err, OM_E_USAGE, "at least one input is required");
    if (p->split == OM_YES)
        return read_split(c, inputs, err);
    in = pipe_call_items(c, n);
    if (!in)
        return pipe_no_memory(err);
    c->list = many;
    for (size_t i = 0; i < n; i++)
        OM_TRY(om_wrap(err,
                       pipe_read_text(many ? om_json_at(inputs, i) : inputs, "", &in[i].text, err),
                       "input %zu", i));
    return 0;
}

/* ---- windows ---- */

/* Tokenizers that tell a word at the beginning from one inside of a text. */
static int check_prefix(const struct om_pipeline *p, struct om_error *err)
{
    static const char *const classes[] = { "RobertaTokenizer",    "GPT2Tokenizer",
                                           "BloomTokenizer",      "CodeGenTokenizer",
                                           "CohereTokenizer",     "DebertaTokenizer",
                                           "LongformerTokenizer", "BlenderbotTokenizer",
                                           "WhisperTokenizer" };
    const struct om_tokenizer_info *const info = om_tokenizer_get_info(p->t.tok);
    om_sv name = om_sv_str(info->tokenizer_class);

    if (om_sv_ends(name, OM_SVL("Fast")))
        name.len -= sizeof("Fast") - 1;
    for (size_t i = 0; i < OM_COUNT(classes) && !info->add_prefix_space; i++)
        if (om_sv_is(name, classes[i]))
            return om_fail(err, OM_E_USAGE,
                           "%s needs add_prefix_space for texts that are split into words",
                           classes[i]);
    return 0;
}

static int encode_words(const struct pipe_call *c, struct pipe_item *item, const struct input *in,
                        const struct pipe_coding *coding, struct om_error *err)
{
    const struct params *const p = c->params;
    struct om_encode_opts o = OM_ENCODE_OPTS_INIT;
    struct om_truncation truncation;
    struct om_encoding *enc;

    OM_TRY(check_prefix(c->p, err));
    if (pipe_resolve_truncation(&c->p->t, coding, &truncation))
        o.truncation = &truncation;
    OM_TRY(om_tokenizer_encode_words(c->p->t.tok, in->words, in->n_words, NULL, 0, &o, &enc, err));
    return pipe_item_add(item, enc, p->stride >= 0, err);
}

static int prepare(const struct pipe_call *c, struct pipe_item *item, struct om_error *err)
{
    const struct params *const p = c->params;
    const struct input *const in = item->input;
    const struct pipe_coding coding = {
        .truncation = c->p->t.max_length > 0 ? PIPE_TRUNCATE_LONGEST : PIPE_TRUNCATE_NO,
        .stride = OM_MAX(p->stride, 0),
    };

    if (in->words)
        return encode_words(c, item, in, &coding, err);
    return pipe_encode(c->p, item, &in->text, NULL, &coding, p->stride >= 0, err);
}

/* ---- scores ---- */

/* Probabilities of the labels of each token. */
struct scores {
    size_t tokens, labels;
    float at[];
};

static void softmax(const float *logits, size_t n, float *out)
{
    float max = -INFINITY, sum = 0.0F;

    for (size_t i = 0; i < n; i++)
        max = fmaxf(max, logits[i]);
    for (size_t i = 0; i < n; i++) {
        out[i] = expf(logits[i] - max);
        sum += out[i];
    }
    for (size_t i = 0; i < n; i++)
        out[i] /= sum;
}

static int reduce(const struct pipe_window *w, const struct pipe_rows *rows, void **kept,
                  struct om_error *err)
{
    struct scores *const s = malloc(sizeof(*s) + rows->rows * rows->width * sizeof(s->at[0]));

    (void)w;
    *kept = s;
    if (!s)
        return pipe_no_memory(err);
    s->tokens = rows->rows;
    s->labels = rows->width;
    for (size_t i = 0; i < s->tokens; i++)
        softmax(rows->data[0] + i * s->labels, s->labels, s->at + i * s->labels);
    return 0;
}

static size_t best(const float *scores, size_t n)
{
    size_t at = 0;

    for (size_t i = 1; i < n; i++)
        if (scores[i] > scores[at])
            at = i;
    return at;
}

/* ---- tokens ---- */

/* A token, a word, or a group of them, on its way to an entity. */
struct unit {
    om_sv label, word;
    float score;
    const float *scores; /* of a token */
    size_t index, start, end;
    size_t order; /* among all of the text */
    bool subword;
};

struct units {
    struct unit *at;
    size_t len, cap;
};

/* One text: windows add to all. */
struct job {
    struct pipe_call *c;
    const struct input *in;
    struct pipe_chars chars;
    struct units all;
    size_t labels;
    struct om_error *err;
};

static bool add_unit(struct job *j, struct units *u, const struct unit *unit)
{
    if (!om_grow(&u->at, &u->cap, u->len + 1, sizeof(*u->at))) {
        pipe_no_memory(j->err);
        return false;
    }
    u->at[u->len++] = *unit;
    return true;
}

/* Without tokens that say so by a prefix, a token goes on with a word where no space is before it.
 */
static bool is_subword(const struct job *j, const struct unit *u)
{
    if (j->c->p->t.tok->model.has_prefix)
        return count_chars(u->word) !=
               (u->end > u->start ? OM_MIN(u->end, j->chars.len) - OM_MIN(u->start, j->chars.len)
                                  : 0);
    if (u->start == 0)
        return false;
    const om_sv around = pipe_chars_slice(&j->chars, u->start - 1, u->start + 1);
    return !around.len || !memchr(around.ptr, ' ', around.len);
}

static int make_token(const struct job *j, const struct om_encoding *e, const struct scores *s,
                      size_t i, struct unit *out)
{
    const struct pipe_tokenizer *const t = &j->c->p->t;
    size_t shift = 0;

    if (j->in->words && e->word_ids[i] >= 0)
        shift = j->in->starts[e->word_ids[i]];
    *out = (struct unit){ .scores = s->at + i * s->labels,
                          .index = i,
                          .start = e->offsets[i].begin + shift,
                          .end = e->offsets[i].end + shift };
    if (!om_tokenizer_id_to_token(t->tok, e->ids[i], &out->word.ptr, &out->word.len))
        return om_fail(j->err, OM_E_INTERNAL, "token %u is not in the vocabulary", e->ids[i]);
    out->subword = is_subword(j, out);
    if (t->unk.known && e->ids[i] == t->unk.id) {
        out->word = pipe_chars_slice(&j->chars, out->start, out->end);
        out->subword = false;
    }
    return 0;
}

static int set_label(const struct job *j, struct unit *u, size_t id, float score)
{
    const char *const label = pipe_label(j->c->p, id, j->err);

    if (!label)
        return OM_E_CONFIG;
    u->label = om_sv_str(label);
    u->score = score;
    return 0;
}

static int gather(struct job *j, const struct pipe_window *w, struct units *out)
{
    const struct scores *const s = w->kept;
    struct unit u;

    j->labels = s->labels;
    for (size_t i = 0; i < s->tokens; i++) {
        if (w->enc->special_tokens_mask[i])
            continue;
        OM_TRY(make_token(j, w->enc, s, i, &u));
        const size_t id = best(u.scores, s->labels);
        OM_TRY(set_label(j, &u, id, u.scores[id]));
        if (!add_unit(j, out, &u))
            return OM_E_NOMEM;
    }
    return 0;
}

/* ---- words and groups ---- */

/* The words of units as the tokenizer would write them. */
static int join(struct job *j, const struct unit *units, size_t n, om_sv *out)
{
    struct om_text *const texts = calloc(n, sizeof(*texts));
    char *text = NULL;
    size_t len = 0;
    int rc;

    if (!texts)
        return pipe_no_memory(j->err);
    for (size_t i = 0; i < n; i++)
        texts[i] = (struct om_text){ units[i].word.ptr, units[i].word.len };
    rc = om_tokenizer_join(j->c->p->t.tok, texts, n, &text, &len, j->err);
    free(texts);
    OM_TRY(rc);
    *out = (om_sv){ om_arena_str(&j->c->arena, (om_sv){ text, len }), len };
    free(text);
    return out->ptr ? 0 : pipe_no_memory(j->err);
}

static int label_of_average(struct job *j, const struct unit *units, size_t n, struct unit *out)
{
    size_t at = 0;
    float top = 0.0F;

    for (size_t k = 0; k < j->labels; k++) {
        float sum = 0.0F;

        for (size_t i = 0; i < n; i++)
            sum += units[i].scores[k];
        sum /= (float)n;
        if (k == 0 || sum > top) {
            top = sum;
            at = k;
        }
    }
    return set_label(j, out, at, top);
}

/* The label of a word that the units make. */
static int label_word(struct job *j, const struct unit *units, size_t n, struct unit *out)
{
    const struct params *const p = j->c->params;
    size_t surest = 0;

    if (p->aggregation == OM_AGGREGATE_AVERAGE)
        return label_of_average(j, units, n, out);
    for (size_t i = 1; i < n && p->aggregation == OM_AGGREGATE_MAX; i++)
        if (units[i].score > units[surest].score)
            surest = i;
    out->label = units[surest].label;
    out->score = units[surest].score;
    return 0;
}

static int make_word(struct job *j, const struct unit *units, size_t n, struct unit *out)
{
    *out = (struct unit){ .start = units[0].start, .end = units[n - 1].end };
    OM_TRY(label_word(j, units, n, out));
    return join(j, units, n, &out->word);
}

/* B-PER: the tag is PER, and something begins. */
static om_sv tag_of(om_sv label, bool *begins)
{
    *begins = om_sv_starts(label, OM_SVL("B-"));
    if (*begins || om_sv_starts(label, OM_SVL("I-")))
        return (om_sv){ label.ptr + 2, label.len - 2 };
    return label;
}

/* What is behind the first hyphen. */
static om_sv name_of(om_sv label)
{
    const char *const hyphen = memchr(label.ptr, '-', label.len);

    if (!hyphen)
        return label;
    return (om_sv){ hyphen + 1, label.len - (size_t)(hyphen + 1 - label.ptr) };
}

static int make_group(struct job *j, const struct unit *units, size_t n, struct unit *out)
{
    double sum = 0.0;

    for (size_t i = 0; i < n; i++)
        sum += units[i].score;
    *out = (struct unit){ .label = name_of(units[0].label),
                          .score = (float)(sum / (double)n),
                          .start = units[0].start,
                          .end = units[n - 1].end };
    return join(j, units, n, &out->word);
}

static bool word_goes_on(const struct unit *before, const struct unit *u)
{
    (void)before;
    return u->subword;
}

static bool group_goes_on(const struct unit *before, const struct unit *u)
{
    bool begins, ignored;
    const om_sv tag = tag_of(u->label, &begins);

    return !begins && om_sv_eq(tag, tag_of(before->label, &ignored));
}

/* Neighbours that go on with each other become one. */
static int fold(struct job *j, struct units *u,
                bool (*goes_on)(const struct unit *, const struct unit *),
                int (*make)(struct job *, const struct unit *, size_t, struct unit *))
{
    size_t len = 0, end;

    for (size_t i = 0; i < u->len; i = end) {
        struct unit made;

        for (end = i + 1; end < u->len && goes_on(&u->at[end - 1], &u->at[end]); end++)
            ;
        OM_TRY(make(j, u->at + i, end - i, &made));
        u->at[len++] = made;
    }
    u->len = len;
    return 0;
}

static bool ignored(const struct params *p, om_sv label)
{
    for (size_t i = 0; i < p->ignore_labels.len; i++)
        if (om_sv_eq(label, (om_sv){ p->ignore_labels.at[i].ptr, p->ignore_labels.at[i].len }))
            return true;
    return false;
}

static int add_window(struct job *j, const struct pipe_window *w, struct units *u)
{
    const struct params *const p = j->c->params;

    u->len = 0;
    OM_TRY(gather(j, w, u));
    if (p->aggregation > OM_AGGREGATE_SIMPLE)
        OM_TRY(fold(j, u, word_goes_on, make_word));
    if (p->aggregation > OM_AGGREGATE_NONE)
        OM_TRY(fold(j, u, group_goes_on, make_group));
    for (size_t i = 0; i < u->len; i++)
        if (!ignored(p, u->at[i].label) && !add_unit(j, &j->all, &u->at[i]))
            return OM_E_NOMEM;
    return 0;
}

/* ---- windows that overlap ---- */

static int by_start(const void *a, const void *b)
{
    const struct unit *const x = a, *const y = b;

    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* Of groups that overlap the longer one stays, of equal ones the surer. */
static void merge(struct units *u)
{
    size_t len = 0;

    if (u->len == 0)
        return;
    for (size_t i = 0; i < u->len; i++)
        u->at[i].order = i;
    qsort(u->at, u->len, sizeof(*u->at), by_start);
    struct unit kept = u->at[0];
    for (size_t i = 0; i < u->len; i++) {
        const struct unit *const x = &u->at[i];
        const int64_t longer = (int64_t)(x->end - x->start) - (int64_t)(kept.end - kept.start);

        if (x->start >= kept.end) { /* starts are in order */
            u->at[len++] = kept;
            kept = *x;
        } else if (longer > 0 || (longer == 0 && x->score > kept.score)) {
            kept = *x;
        }
    }
    u->at[len++] = kept;
    u->len = len;
}

/* ---- results ---- */

static int write_entities(struct job *j, struct om_entities *out)
{
    const struct params *const p = j->c->params;
    struct om_entity *const at = om_arena_array(&j->c->arena, j->all.len + 1, sizeof(*at));

    if (!at)
        return pipe_no_memory(j->err);
    for (size_t i = 0; i < j->all.len; i++) {
        const struct unit *const u = &j->all.at[i];

        at[i] = (struct om_entity){
            .label = pipe_keep_text(j->c, u->label).ptr,
            .score = u->score,
            .index = p->aggregation > OM_AGGREGATE_NONE ? -1 : (int64_t)u->index,
            .word = pipe_keep_text(j->c, u->word),
            .start = u->start,
            .end = u->end,
            .byte_start = pipe_chars_byte(&j->chars, u->start),
            .byte_end = pipe_chars_byte(&j->chars, u->end),
        };
        if (!at[i].label || !at[i].word.ptr)
            return pipe_no_memory(j->err);
    }
    *out = (struct om_entities){ j->all.len, at };
    return 0;
}

static int finish(struct pipe_call *c, const struct pipe_item *item, void *result,
                  struct om_error *err)
{
    struct job j = { .c = c, .in = item->input, .err = err };
    struct units scratch = { .at = NULL };
    int rc = pipe_chars_init(&j.chars, &c->arena, &j.in->text, err);

    for (size_t i = 0; i < item->n_windows && rc == 0; i++)
        rc = add_window(&j, &item->windows[i], &scratch);
    if (rc == 0 && item->n_windows > 1)
        merge(&j.all);
    if (rc == 0)
        rc = write_entities(&j, result);
    free(scratch.at);
    free(j.all.at);
    return rc;
}

static void json_entity(struct om_buf *b, const struct om_entity *e)
{
    om_buf_adds(b, e->index < 0 ? "{\"entity_group\": " : "{\"entity\": ");
    om_buf_json_string(b, om_sv_str(e->label));
    om_buf_adds(b, ", \"score\": ");
    pipe_json_score(b, e->score);
    if (e->index >= 0)
        om_buf_printf(b, ", \"index\": %" PRId64, e->index);
    om_buf_adds(b, ", \"word\": ");
    pipe_json_text(b, e->word);
    om_buf_printf(b, ", \"start\": %zu, \"end\": %zu}", e->start, e->end);
}

static void json(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    const struct om_entities *const r = result;

    (void)c;
    om_buf_addc(b, '[');
    for (size_t i = 0; i < r->len; i++) {
        om_buf_adds(b, i ? ", " : "");
        json_entity(b, &r->at[i]);
    }
    om_buf_addc(b, ']');
}

static void text(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    const struct om_entities *const r = result;

    (void)c;
    for (size_t i = 0; i < r->len; i++) {
        const struct om_entity *const e = &r->at[i];

        om_buf_printf(b, "%s%.4f  %-8s  ", i ? "\n" : "", (double)e->score, e->label);
        pipe_plain_text(b, e->word);
        om_buf_printf(b, "  [%zu, %zu)", e->start, e->end);
    }
}

const struct pipe_task pipe_token_classification = {
    .name = "token-classification",
    .aliases = (const char *const[]){ "ner", NULL },
    .model_class = OM_MODEL_TOKEN_CLASSIFICATION,
    .params = params_table,
    .params_size = sizeof(struct params),
    .input_size = sizeof(struct input),
    .result_size = sizeof(struct om_entities),
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
               const struct om_token_opts *opts, struct om_error *err)
{
    struct om_token_opts o = OM_TOKEN_OPTS_INIT;
    struct params *const p = c->params;
    struct input *const in = pipe_call_items(c, n);

    if (!in)
        return pipe_no_memory(err);
    for (size_t i = 0; i < n; i++)
        in[i].text = texts[i];
    OM_TRY(pipe_opts_copy(&o, opts, sizeof(o), err));
    if (o.aggregation != OM_AGGREGATE_UNSET)
        p->aggregation = (int)o.aggregation;
    if (o.stride >= 0)
        p->stride = o.stride;
    return o.ignore_labels
               ? pipe_call_names(c, o.ignore_labels, o.n_ignore_labels, &p->ignore_labels, err)
               : 0;
}

int om_pipeline_find_entities(const struct om_pipeline *p, const struct om_text *texts, size_t n,
                              const struct om_token_opts *opts, const struct om_entities **out,
                              struct om_error *err)
{
    struct pipe_call c;
    const void *results = NULL;
    int rc;

    OM_TRY(pipe_typed_begin(&c, p, &pipe_token_classification, err));
    rc = pipe_typed_end(&c, set(&c, texts, n, opts, err), &results, err);
    if (rc == 0)
        *out = results;
    return rc;
}
