/* src/quant/samples.c: inputs for the calibration of static quantization. */
#include "quant/samples.h"

#include <optimum/tokenizer.h>

#include <stdio.h>

#include "base/half.h"
#include "base/json.h"
#include "base/map.h"

#define DEFAULT_SAMPLES 100
#define DUMMY_SAMPLES 8
#define DUMMY_LENGTH 16
#define TEXT_TOKENS 512
#define PASSES_MAX 4 /* from an input to the table that it indexes */
#define TEXTS_MAX ((size_t)256 << 20)

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

/* ---- texts ---- */

static int parse_line(struct om_samples *s, om_sv line, size_t number, struct om_error *err)
{
    struct om_json *doc = NULL;
    om_sv text;
    int rc = om_json_parse(line, OM_JSON_LAST_WINS, &doc, err);

    if (rc == 0 && !om_json_str(doc, &text) && !om_json_str(om_json_get(doc, "text"), &text))
        rc = om_fail(err, OM_E_FORMAT, "expected a string or {\"text\": string}");
    if (rc == 0) {
        s->texts[s->n] = (om_sv){ om_arena_str(&s->arena, text), text.len };
        rc = s->texts[s->n].ptr ? 0 : no_memory(err);
        s->n++;
    }
    om_json_free(doc);
    return om_wrap(err, rc, "line %zu", number);
}

static int read_texts(struct om_samples *s, const char *path, size_t most, struct om_error *err)
{
    om_sv rest, line;
    size_t number = 0;

    OM_TRY(om_file_read(&s->arena, path, TEXTS_MAX, &rest, err));
    s->texts = om_arena_array(&s->arena, most, sizeof(*s->texts));
    if (!s->texts)
        return no_memory(err);
    while (s->n < most && om_sv_split(&rest, '\n', &line)) {
        number++;
        if (om_sv_trim(line).len > 0)
            OM_TRY(om_wrap(err, parse_line(s, line, number, err), "%s", path));
    }
    return s->n > 0 ? 0 : om_fail(err, OM_E_MISSING, "%s: there is no text", path);
}

/* ---- tensors ---- */

static bool has_sample(const struct om_ckpt *ck, size_t i)
{
    char ending[32];

    snprintf(ending, sizeof(ending), ".%zu", i);
    for (size_t k = 0; k < ck->len; k++)
        if (om_sv_ends(ck->tensors[k].name, om_sv_str(ending)))
            return true;
    return false;
}

static int open_tensors(struct om_samples *s, const char *path, size_t most, struct om_error *err)
{
    OM_TRY(om_ckpt_open_file(&s->arena, path, &s->tensors, err));
    while (s->n < most && has_sample(s->tensors, s->n))
        s->n++;
    s->n = OM_MAX(s->n, 1);
    return 0;
}

int om_samples_open(struct om_samples *s, struct om_ctx *ctx, const struct om_quantize_opts *opts,
                    const char *dir, struct om_error *err)
{
    const size_t most =
        opts->calibration_samples > 0 ? (size_t)opts->calibration_samples : DEFAULT_SAMPLES;

    *s = (struct om_samples){ .n = 0 };
    om_arena_init(&s->arena, (size_t)4 << 30);
    if (opts->calibration_texts && opts->calibration_tensors)
        return om_fail(err, OM_E_USAGE, "the calibration takes texts or tensors, not both");
    if (opts->calibration_texts) {
        OM_TRY(om_tokenizer_open(dir, &s->tokenizer, err));
        return read_texts(s, opts->calibration_texts, most, err);
    }
    if (opts->calibration_tensors)
        return open_tensors(s, opts->calibration_tensors, most, err);
    s->dummy = true;
    s->n = opts->calibration_samples > 0 ? most : DUMMY_SAMPLES;
    om_log(ctx, OM_LOG_WARNING,
           "The calibration runs on made-up inputs, whose ranges need not be those of real ones: "
           "give it texts or tensors.");
    return 0;
}

void om_samples_close(struct om_samples *s)
{
    om_tokenizer_free(s->tokenizer);
    om_ckpt_close(s->tensors);
    om_arena_release(&s->arena);
}

/* ---- one sample ---- */

static bool has(const char *name, const char *part)
{
    return strstr(name, part) != NULL;
}

static bool is_batch(const char *axis)
{
    return has(axis, "batch") || has(axis, "num_choices");
}

/* The extent of an axis such as "past_sequence_length + sequence_length". */
static int64_t axis_size(om_sv text, int64_t length)
{
    int64_t sum = 0, number;
    om_sv part;

    while (om_sv_split(&text, '+', &part)) {
        char name[128];

        part = om_sv_trim(part);
        snprintf(name, sizeof(name), "%.*s", OM_SV(part));
        if (om_sv_i64(part, &number))
            sum += number;
        else if (!has(name, "past"))
            sum += is_batch(name) ? 1 : length;
    }
    return sum;
}

static int shape_of(const struct om_session_port *p, int64_t length, struct om_arena *a,
                    struct om_tensor *t, int64_t *count, struct om_error *err)
{
    int64_t *const dims = om_arena_array(a, OM_MAX(p->rank, 1), sizeof(*dims));

    if (!dims)
        return no_memory(err);
    for (uint32_t i = 0; i < p->rank; i++)
        dims[i] = p->dims[i] >= 0 ? p->dims[i] : axis_size(om_sv_str(p->dim_names[i]), length);
    t->name = p->name;
    t->dtype = p->dtype;
    t->rank = p->rank;
    t->dims = dims;
    if (!om_count(dims, p->rank, count) || *count > INT32_MAX)
        return om_fail(err, OM_E_LIMIT, "input \"%s\" would be too large", p->name);
    return 0;
}

/* Does the node give the elements of its first input in another shape or type? */
static bool passes_on(const struct om_doc_node *n)
{
    static const char *const ops[] = { "Cast",    "Flatten",   "Identity", "Reshape",
                                       "Squeeze", "Unsqueeze", "Transpose" };

    for (size_t i = 0; i < OM_COUNT(ops); i++)
        if (om_sv_is(n->op, ops[i]))
            return n->n_in > 0 && n->n_out > 0;
    return false;
}

/* Which inputs of operators are indices, and of which. */
static const struct {
    const char *op;
    uint32_t index, table;
} lookups[] = { { "Gather", 1, 0 },
                { "EmbedLayerNormalization", 0, 2 },
                { "EmbedLayerNormalization", 1, 4 } };

struct table {
    const struct om_doc *d;
    om_sv name; /* of the index */
    int depth;
    int64_t rows; /* of the smallest table; 0: not known */
};

static int64_t table_rows(const struct om_doc *d, om_sv name, int depth);

static void note_rows(struct table *x, int64_t rows)
{
    if (rows > 0 && (x->rows == 0 || rows < x->rows))
        x->rows = rows;
}

static int find_table(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct table *const x = user;

    (void)err;
    for (size_t i = 0; i < g->nodes.len * OM_COUNT(lookups); i++) {
        const struct om_doc_node *const n = &g->nodes.items[i / OM_COUNT(lookups)];
        const uint32_t index = lookups[i % OM_COUNT(lookups)].index;
        const uint32_t table = lookups[i % OM_COUNT(lookups)].table;
        const struct om_doc_tensor *t = NULL;

        if (!om_sv_is(n->op, lookups[i % OM_COUNT(lookups)].op) ||
            n->n_in <= OM_MAX(index, table) || !om_sv_eq(n->in[index], x->name))
            continue;
        for (const struct om_doc_graph *at = g; at && !t; at = at->parent)
            t = om_doc_find_tensor(at, n->in[table]);
        if (t && t->rank > 0)
            note_rows(x, t->dims[0]);
    }
    for (size_t i = 0; i < g->nodes.len; i++) {
        const struct om_doc_node *const n = &g->nodes.items[i];

        if (x->depth < PASSES_MAX && passes_on(n) && om_sv_eq(n->in[0], x->name))
            note_rows(x, table_rows(x->d, n->out[0], x->depth + 1));
    }
    return 0;
}

/* Rows of the table that an integer input is an index of, 0: not known. */
static int64_t table_rows(const struct om_doc *d, om_sv name, int depth)
{
    struct table x = { .d = d, .name = name, .depth = depth };

    (void)om_doc_walk(d->graph, find_table, &x, NULL);
    return x.rows;
}

static uint64_t next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* About a normal distribution. */
static float normal(uint64_t *seed)
{
    double sum = 0;

    for (int i = 0; i < 12; i++)
        sum += (double)(next(seed) >> 11) / 9007199254740992.0;
    return (float)(sum - 6.0);
}

static int make_dummy(const struct om_session_port *p, const struct om_doc *d, size_t sample,
                      int64_t length, struct om_arena *a, struct om_tensor *t, struct om_error *err)
{
    uint64_t seed =
        om_sv_hash(om_sv_str(p->name)) ^ (sample * 2 + 1) * UINT64_C(0x9e3779b97f4a7c15);
    const int64_t rows = table_rows(d, om_sv_str(p->name), 0), limit = rows > 0 ? rows : 100;
    const size_t size = om_dtype_size(p->dtype);
    int64_t count;
    uint8_t *data;

    OM_TRY(shape_of(p, length, a, t, &count, err));
    data = om_arena_alloc(a, (size_t)count * size + 1);
    if (!data)
        return no_memory(err);
    t->data = data;
    for (int64_t i = 0; i < count; i++) {
        const bool real =
            p->dtype == OM_F32 || p->dtype == OM_F16 || p->dtype == OM_BF16 || p->dtype == OM_F64;
        float value = 0;

        if (real)
            value = normal(&seed);
        else if (has(p->name, "mask"))
            value = 1;
        else if (has(p->name, "position"))
            value = (float)i;
        else if (p->dtype != OM_BOOL)
            value = (float)(next(&seed) % (uint64_t)limit);
        om_convert(data + (size_t)i * size, p->dtype, &value, OM_F32, 1);
    }
    return 0;
}

static int from_encoding(const struct om_encoding *e, const struct om_session_port *p,
                         const struct om_doc *d, size_t sample, struct om_arena *a,
                         struct om_tensor *t, struct om_error *err)
{
    int64_t *const dims = om_arena_array(a, 2, sizeof(*dims)), *data;
    const bool ids = has(p->name, "ids") && !has(p->name, "type") && !has(p->name, "position");

    if (p->dtype != OM_I64 || p->rank != 2)
        return make_dummy(p, d, sample, (int64_t)e->len, a, t, err);
    data = om_arena_array(a, e->len + 1, sizeof(*data));
    if (!dims || !data)
        return no_memory(err);
    dims[0] = 1;
    dims[1] = (int64_t)e->len;
    for (size_t i = 0; i < e->len; i++)
        data[i] = ids                    ? (int64_t)e->ids[i]
                  : has(p->name, "mask") ? (int64_t)e->attention_mask[i]
                  : has(p->name, "type") ? (int64_t)e->type_ids[i]
                                         : (int64_t)i;
    *t = (struct om_tensor){
        .name = p->name, .dtype = OM_I64, .rank = 2, .dims = dims, .data = data
    };
    return 0;
}

static int from_tensors(const struct om_samples *s, const struct om_session_port *p, size_t sample,
                        struct om_arena *a, struct om_tensor *t, struct om_error *err)
{
    const char *const numbered = om_arena_printf(a, "%s.%zu", p->name, sample);
    const struct om_ckpt_tensor *c;

    if (!numbered)
        return no_memory(err);
    c = om_ckpt_find(s->tensors, om_sv_str(numbered));
    if (!c)
        c = om_ckpt_find(s->tensors, om_sv_str(p->name));
    if (!c || c->strides)
        return om_fail(err, OM_E_MISSING, "the calibration's tensors have no \"%s\" and no \"%s\"",
                       p->name, numbered);
    *t = (struct om_tensor){ .name = p->name,
                             .dtype = c->dtype,
                             .rank = c->rank,
                             .dims = c->dims,
                             .data = om_ckpt_data(c) };
    return 0;
}

static int encode(const struct om_samples *s, size_t sample, struct om_encoding **out,
                  struct om_error *err)
{
    const struct om_truncation cut = { .max_length = TEXT_TOKENS };
    const struct om_text text = { s->texts[sample].ptr, s->texts[sample].len };
    struct om_encode_opts o = OM_ENCODE_OPTS_INIT;

    o.truncation = &cut;
    return om_tokenizer_encode(s->tokenizer, &text, NULL, &o, out, err);
}

int om_samples_get(const struct om_samples *s, size_t sample, const struct om_session *session,
                   const struct om_doc *d, struct om_arena *a, struct om_tensor **inputs, size_t *n,
                   struct om_error *err)
{
    const size_t count = om_session_input_count(session);
    struct om_tensor *const t = om_arena_array(a, count + 1, sizeof(*t));
    struct om_encoding *e = NULL;
    int rc = t ? 0 : no_memory(err);

    if (rc == 0 && s->texts)
        rc = encode(s, sample, &e, err);
    for (size_t i = 0; i < count && rc == 0; i++) {
        const struct om_session_port *const p = om_session_input(session, i);

        if (s->texts)
            rc = from_encoding(e, p, d, sample, a, &t[i], err);
        else if (s->tensors)
            rc = from_tensors(s, p, sample, a, &t[i], err);
        else
            rc = make_dummy(p, d, sample, DUMMY_LENGTH, a, &t[i], err);
    }
    om_encoding_free(e);
    *inputs = t;
    *n = count;
    return rc;
}

/* ---- the next step of a decoder ---- */

#define PAST "past_key_values."

static const struct om_tensor *present_of(const struct om_results *results, const char *past)
{
    char name[256];

    snprintf(name, sizeof(name), "present.%s", past + strlen(PAST));
    for (size_t i = 0; i < om_results_count(results); i++)
        if (strcmp(om_results_at(results, i)->name, name) == 0)
            return om_results_at(results, i);
    return NULL;
}

static int row(struct om_arena *a, struct om_tensor *t, int64_t n, int64_t value,
               struct om_error *err)
{
    int64_t *const dims = om_arena_array(a, 2, sizeof(*dims));
    int64_t *const data = om_arena_array(a, (size_t)n, sizeof(*data));

    if (!dims || !data)
        return no_memory(err);
    dims[0] = 1;
    dims[1] = n;
    for (int64_t i = 0; i < n; i++)
        data[i] = value;
    t->dims = dims;
    t->data = data;
    return 0;
}

/* The input for one more token behind length others. */
static int advance(struct om_tensor *t, int64_t length, struct om_arena *a, struct om_error *err)
{
    static const bool yes = true;
    const bool is_row = t->dtype == OM_I64 && t->rank == 2 && t->dims[1] > 0;

    if (t->dtype == OM_BOOL && strcmp(t->name, "use_cache_branch") == 0)
        t->data = &yes;
    else if (is_row && has(t->name, "input_ids"))
        return row(a, t, 1, ((const int64_t *)t->data)[t->dims[1] - 1], err);
    else if (is_row && strcmp(t->name, "position_ids") == 0)
        return row(a, t, 1, length, err);
    else if (is_row && (strcmp(t->name, "attention_mask") == 0 ||
                        strcmp(t->name, "decoder_attention_mask") == 0))
        return row(a, t, length + 1, 1, err);
    return 0;
}

int om_samples_continue(const struct om_samples *s, const struct om_results *results,
                        struct om_arena *a, struct om_tensor *inputs, size_t n, bool *more,
                        struct om_error *err)
{
    int64_t length = -1;

    *more = false;
    for (size_t i = 0; i < n && !s->tensors; i++) {
        const struct om_tensor *present;

        if (strncmp(inputs[i].name, PAST, strlen(PAST)) != 0)
            continue;
        present = present_of(results, inputs[i].name);
        if (!present || present->dtype != inputs[i].dtype || present->rank != 4)
            continue;
        if (!has(inputs[i].name, ".encoder.")) /* [batch, heads, length, size] */
            length = present->dims[2];
        inputs[i].dims = present->dims;
        inputs[i].data = present->data;
    }
    for (size_t i = 0; i < n && length >= 0; i++)
        OM_TRY(advance(&inputs[i], length, a, err));
    *more = length >= 0;
    return 0;
}
