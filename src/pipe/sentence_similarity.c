/* src/pipe/sentence_similarity.c: a vector for each sentence, and how much sentences are alike by
 * them.
 *
 * What SentenceTransformer.encode() and similarity() do, over an export that has the pooling in it;
 * the vectors of any other model are averaged over the tokens. */
#include "pipe/pipe.h"

#include <math.h>
#include <stdlib.h>

#include "base/file.h"

static const struct pipe_embed_params defaults = { .coding = { .truncation =
                                                                   PIPE_TRUNCATE_LONGEST } };

static const struct pipe_param params_table[] = {
    PIPE_PARAM(CHOICE, struct pipe_embed_params, normalize, "normalize_embeddings"),
    { .key = "truncation", .kind = PIPE_PARAM_OTHER, .read = pipe_read_truncation },
    PIPE_PARAM(INT, struct pipe_coding, max_length, "max_length", .min = 1),
    { .key = NULL },
};

/* ---- the model ---- */

typedef float similarity(const float *a, const float *b, size_t n);

static float dot(const float *a, const float *b, size_t n)
{
    double sum = 0.0;

    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * b[i];
    return (float)sum;
}

static float cosine(const float *a, const float *b, size_t n)
{
    const double size = sqrt((double)dot(a, a, n)) * sqrt((double)dot(b, b, n));

    return size > 0.0 ? (float)(dot(a, b, n) / size) : 0.0F;
}

static float euclidean(const float *a, const float *b, size_t n)
{
    double sum = 0.0;

    for (size_t i = 0; i < n; i++)
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return (float)-sqrt(sum);
}

static float manhattan(const float *a, const float *b, size_t n)
{
    double sum = 0.0;

    for (size_t i = 0; i < n; i++)
        sum += fabs((double)a[i] - b[i]);
    return (float)-sum;
}

static const struct {
    const char *name;
    similarity *fn;
} similarities[] = {
    { "cosine", cosine },
    { "dot", dot },
    { "euclidean", euclidean },
    { "manhattan", manhattan },
};

struct state {
    similarity *like;
};

/* A file beside config.json; *doc stays NULL where there is none. */
static int read_beside(const struct om_pipeline *p, const char *name, struct om_json **doc,
                       struct om_error *err)
{
    struct om_arena a = OM_ARENA_INIT(1 << 16);
    const char *const path = om_path_join(&a, om_model_get_info(p->model)->dir, name);
    int rc = path ? 0 : pipe_no_memory(err);

    if (path && om_file_exists(path))
        rc = om_json_read(path, OM_JSON_LAST_WINS, doc, err);
    om_arena_release(&a);
    return rc;
}

static int read_function(const struct om_pipeline *p, struct state *s, struct om_error *err)
{
    struct om_json *doc = NULL;
    om_sv name;
    int rc;

    s->like = cosine;
    OM_TRY(read_beside(p, "config_sentence_transformers.json", &doc, err));
    if (om_json_str(om_json_get(doc, "similarity_fn_name"), &name)) {
        rc = OM_E_UNSUPPORTED;
        for (size_t i = 0; i < OM_COUNT(similarities) && rc < 0; i++) {
            if (!om_sv_is(name, similarities[i].name))
                continue;
            s->like = similarities[i].fn;
            rc = 0;
        }
        if (rc < 0)
            om_fail(err, rc, "similarity_fn_name \"%.*s\" is not known", OM_SV(name));
    } else {
        rc = 0;
    }
    om_json_free(doc);
    return rc;
}

static int read_max_length(const struct om_pipeline *p, struct om_error *err)
{
    struct pipe_embed_params *const params = p->params;
    struct om_json *doc = NULL;
    int64_t n;

    OM_TRY(read_beside(p, "sentence_bert_config.json", &doc, err));
    if (om_json_i64(om_json_get(doc, "max_seq_length"), &n) && n > 0)
        params->coding.max_length = (int64_t)OM_MIN((uint64_t)n, p->t.max_length);
    om_json_free(doc);
    return 0;
}

static int open_task(struct om_pipeline *p, struct om_error *err)
{
    static const char *const tokens[] = { "token_embeddings", "last_hidden_state" };
    struct state *const s = om_arena_alloc(&p->arena, sizeof(*s));

    if (!s)
        return pipe_no_memory(err);
    p->state = s;
    OM_TRY(read_function(p, s, err));
    OM_TRY(read_max_length(p, err));
    if (pipe_has_output(p, "sentence_embedding"))
        return pipe_need_output(p, 0, "sentence_embedding", err);
    p->per_token = true;
    return pipe_need_output(p, 0, tokens[!pipe_has_output(p, tokens[0])], err);
}

/* ---- vectors ---- */

static int prepare(const struct pipe_call *c, struct pipe_item *item, struct om_error *err)
{
    const struct pipe_embed_params *const p = c->params;

    return pipe_encode(c->p, item, item->input, NULL, &p->coding, false, err);
}

/* The mean over tokens that are not padding. */
static void average(const struct om_encoding *e, const struct pipe_rows *rows, float *out)
{
    size_t n = 0;

    memset(out, 0, rows->width * sizeof(*out));
    for (size_t i = 0; i < rows->rows; i++) {
        if (!e->attention_mask[i])
            continue;
        for (size_t k = 0; k < rows->width; k++)
            out[k] += rows->data[0][i * rows->width + k];
        n++;
    }
    for (size_t k = 0; k < rows->width && n; k++)
        out[k] /= (float)n;
}

static void normalize(float *x, size_t n)
{
    const float size = sqrtf(dot(x, x, n));

    for (size_t i = 0; i < n && size > 0.0F; i++)
        x[i] /= size;
}

static int reduce(const struct pipe_window *w, const struct pipe_rows *rows, void **kept,
                  struct om_error *err)
{
    const struct pipe_call *const c = w->item->call;
    const struct pipe_embed_params *const p = c->params;
    float *const mean = malloc(rows->width * sizeof(*mean));
    const struct pipe_rows one = { .data = { mean }, .rows = 1, .width = rows->width };
    int rc;

    if (!mean)
        return pipe_no_memory(err);
    if (c->p->per_token)
        average(w->enc, rows, mean);
    else
        memcpy(mean, rows->data[0], rows->width * sizeof(*mean));
    if (p->normalize == OM_YES)
        normalize(mean, rows->width);
    rc = pipe_keep_rows(w, &one, kept, err);
    free(mean);
    return rc;
}

/* ---- similarity ---- */

/* {"source_sentence", "sentences"}: the source is the first item. */
static int read_comparison(struct pipe_call *c, const struct om_json *inputs, struct om_error *err)
{
    const struct om_json *const list = om_json_get(inputs, "sentences");
    struct om_text *in;

    if (om_json_kind(list) != OM_JSON_ARRAY)
        return om_fail(err, OM_E_USAGE, "expected \"source_sentence\" and a list of \"sentences\"");
    in = pipe_call_items(c, om_json_len(list) + 1);
    if (!in)
        return pipe_no_memory(err);
    OM_TRY(pipe_read_text(om_json_get(inputs, "source_sentence"), "key \"source_sentence\": ", in,
                          err));
    for (size_t i = 0; i < om_json_len(list); i++)
        OM_TRY(om_wrap(err, pipe_read_text(om_json_at(list, i), "", &in[i + 1], err),
                       "sentence %zu", i));
    c->whole = true;
    return 0;
}

static int read(struct pipe_call *c, const struct om_json *inputs, struct om_error *err)
{
    if (om_json_kind(inputs) == OM_JSON_OBJECT)
        return read_comparison(c, inputs, err);
    return pipe_read_texts(c, inputs, err);
}

/* The vectors of a call against its first one; n - 1 of them. */
static int compare(struct pipe_call *c, const struct om_features *vectors, size_t n, float *out,
                   struct om_error *err)
{
    const struct state *const s = c->p->state;

    for (size_t i = 1; i < n; i++) {
        if (vectors[i].size != vectors[0].size)
            return om_fail(err, OM_E_RUNTIME, "the vectors have different sizes");
        out[i - 1] = s->like(vectors[0].data, vectors[i].data, vectors[0].size);
    }
    return 0;
}

static void json(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    const struct om_features *const r = result;

    (void)c;
    pipe_json_floats(b, r->data, r->size);
}

static void text(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    enum { SHOWN = 8 };
    const struct om_features *const r = result;

    (void)c;
    for (size_t k = 0; k < r->size && k < SHOWN; k++)
        om_buf_printf(b, "%s%8.4f", k ? " " : "", (double)r->data[k]);
    if (r->size > SHOWN)
        om_buf_printf(b, "  ... (%zu)", r->size);
}

static int scores(struct pipe_call *c, enum om_pipeline_format format, struct om_buf *b,
                  struct om_error *err)
{
    float *const out = om_arena_array(&c->arena, c->n, sizeof(*out));

    if (!out)
        return pipe_no_memory(err);
    OM_TRY(compare(c, c->results, c->n, out, err));
    if (format == OM_PIPELINE_JSON) {
        pipe_json_floats(b, out, c->n - 1);
        return 0;
    }
    for (size_t i = 1; i < c->n; i++) {
        om_buf_printf(b, "%s%.4f  ", i > 1 ? "\n" : "", (double)out[i - 1]);
        pipe_plain_text(b, *(const struct om_text *)c->items[i].input);
    }
    return 0;
}

const struct pipe_task pipe_sentence_similarity = {
    .name = "sentence-similarity",
    .aliases = (const char *const[]){ NULL },
    .model_class = OM_MODEL_CUSTOM,
    .params = params_table,
    .params_size = sizeof(struct pipe_embed_params),
    .input_size = sizeof(struct om_text),
    .result_size = sizeof(struct om_features),
    .defaults = &defaults,
    .open = open_task,
    .read = read,
    .prepare = prepare,
    .reduce = reduce,
    .finish = pipe_give_rows,
    .json = json,
    .text = text,
    .whole = scores,
};

/* ---- the typed door ---- */

static int set_comparison(struct pipe_call *c, const struct om_text *source,
                          const struct om_text *texts, size_t n, struct om_error *err)
{
    struct om_text *const in = pipe_call_items(c, n + 1);

    if (!in)
        return pipe_no_memory(err);
    in[0] = *source;
    if (n)
        memcpy(in + 1, texts, n * sizeof(*in));
    return 0;
}

int om_pipeline_similarity(const struct om_pipeline *p, const struct om_text *source,
                           const struct om_text *texts, size_t n, const float **out,
                           struct om_error *err)
{
    struct pipe_call c;
    int rc;

    OM_TRY(pipe_typed_begin(&c, p, &pipe_sentence_similarity, err));
    rc = pipe_typed_run(&c, set_comparison(&c, source, texts, n, err), err);
    if (rc == 0) {
        const struct om_features *const vectors = c.results;
        float *const like = pipe_call_block(&c, n, sizeof(*like));

        rc = like ? compare(&c, vectors, n + 1, like, err) : pipe_no_memory(err);
        if (rc == 0)
            *out = pipe_call_hand_out(&c, like);
    }
    pipe_call_end(&c);
    return rc;
}
