/* src/gen/decoder.c: the steps of a model: what its graph takes as inputs, and the cache that goes
 * from the outputs of one step to the inputs of the next.
 *
 * Layouts are those of the graph: names and axes of its inputs say what is a cache, where its
 * sequences and where its tokens are. On the CPU a cache entry is read where ONNX Runtime wrote it;
 * only when beams change places are rows copied.
 *
 * Where one buffer holds past and present (GroupQueryAttention), it stays where it is and has room for what
 * comes; padding then stands at the end of rows. */
#include "gen/decoder.h"

#include <stdlib.h>

#include "base/half.h"

#define PAST "past_key_values"
#define PRESENT "present"
#define CROSS ".encoder."

/* A tensor that goes from step to step: an entry of the cache, or the states of the encoder. */
struct entry {
    const char *in, *out; /* names; out NULL: no step gives it */
    bool cross; /* keys and values of the encoder's states: only the first step gives them */
    enum om_dtype dtype;
    int64_t dims[8];
    uint32_t rank;
    const void *data;
    uint32_t tokens; /* the axis of tokens */
    void *own;       /* memory for data that is no output's */
    size_t own_size;
};

/* A session as it is used for a kind of step: which entries its inputs take and its outputs give.
 */
struct feed {
    struct om_session *session;
    size_t *of_input;     /* by input; n_entries: no entry */
    const char **outputs; /* the logits first */
    size_t *of_output;    /* by output; not of the logits */
    size_t n_outputs;
};

struct om_model_decoder {
    const struct om_model *m;
    struct om_decoder_input in;
    struct om_arena arena;
    struct feed first, later; /* for the first step and those behind it */
    bool caches;
    bool grouped;    /* attention is GroupQueryAttention: the mask says how many keys there are */
    size_t capacity; /* of the buffers, in tokens; 0: there are none */
    size_t *last_token, last_token_cap; /* by row: where its last new id stands in the step */
    struct om_tensor *into;             /* by output of a step: the buffer that it goes to */
    struct entry *entries;
    size_t n_entries;
    struct entry states;      /* of the encoder; rank 0: there are none */
    size_t rows, done;        /* sequences, and how many of their ids are cached */
    int64_t *mask;            /* [rows, in.length] */
    struct om_results *last;  /* owns entries that are no cross ones */
    struct om_results *cross; /* of the first step: owns cross entries */
    struct om_results *encoded;
    /* the step: inputs, made anew each time */
    struct om_tensor *inputs;
    size_t n_inputs;
    int64_t *columns; /* ids, mask and positions */
    size_t columns_cap;
    float *logits; /* when the graph's are not float32 */
    size_t logits_cap;
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory for a step of the model");
}

static bool starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool has_output(const struct om_session *s, const char *name)
{
    for (size_t i = 0; i < om_session_output_count(s); i++)
        if (strcmp(om_session_output(s, i)->name, name) == 0)
            return true;
    return false;
}

static bool has_input(const struct om_session *s, const char *name)
{
    for (size_t i = 0; i < om_session_input_count(s); i++)
        if (strcmp(om_session_input(s, i)->name, name) == 0)
            return true;
    return false;
}

/* ---- the cache ---- */

/* Heads that an axis "batch_size x num_heads" of older exports multiplies the sequences by. */
static int64_t folded_heads(const struct om_model *m, const char *axis)
{
    int64_t heads = 1;

    if (strstr(axis, "num_heads") && !om_model_config_int(m, "num_attention_heads", &heads))
        (void)om_model_config_int(m, "n_head", &heads);
    return heads;
}

/* The shape of a cache of no tokens. */
static int empty_dims(const struct om_model_decoder *d, const struct om_session_port *p,
                      struct entry *e, struct om_error *err)
{
    if (p->rank < 3 || p->rank > OM_COUNT(e->dims))
        return om_fail(err, OM_E_UNSUPPORTED, "input \"%s\": a cache of rank %u is not supported",
                       p->name, p->rank);
    e->rank = p->rank;
    e->dtype = p->dtype;
    for (uint32_t i = 0; i < p->rank; i++) {
        const char *name = p->dim_names[i];

        if (i == 0)
            e->dims[i] = (int64_t)d->rows * folded_heads(d->m, name);
        else if (p->dims[i] >= 0)
            e->dims[i] = p->dims[i];
        else if (strstr(name, "sequence") || strstr(name, "past") || i == p->rank - 2) {
            e->dims[i] = 0;
            e->tokens = i;
        } else
            return om_fail(err, OM_E_UNSUPPORTED,
                           "input \"%s\": axis %u (%s) of the cache has no fixed size", p->name, i,
                           name);
    }
    e->data = "";
    return 0;
}

static int add_entry(struct om_model_decoder *d, const struct om_session_port *p,
                     struct om_error *err)
{
    struct entry *e = &d->entries[d->n_entries];
    const char *out = om_arena_printf(&d->arena, "%s%s", PRESENT, p->name + strlen(PAST));

    *e = (struct entry){ .in = p->name, .cross = strstr(p->name, CROSS) != NULL };
    if (!out)
        return no_memory(err);
    e->out = out;
    d->n_entries++;
    return empty_dims(d, p, e, err);
}

static int find_entries(struct om_model_decoder *d, struct om_error *err)
{
    const struct om_session *s = d->later.session;
    const size_t n = om_session_input_count(s);

    d->entries = om_arena_array(&d->arena, n + 1, sizeof(*d->entries));
    if (!d->entries)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const struct om_session_port *p = om_session_input(s, i);

        if (starts(p->name, PAST))
            OM_TRY(add_entry(d, p, err));
    }
    return 0;
}

static size_t entry_of(const struct om_model_decoder *d, const char *input)
{
    size_t i = 0;

    while (i < d->n_entries && strcmp(d->entries[i].in, input) != 0)
        i++;
    return i;
}

/* Which outputs are wanted: the logits, and what is new of the cache. Entries of the encoder's
 * states are in the first step only. */
static int wire_outputs(struct om_model_decoder *d, struct feed *f, bool first,
                        struct om_error *err)
{
    f->outputs[f->n_outputs++] = "logits";
    for (size_t i = 0; i < d->n_entries && d->caches; i++) {
        const struct entry *e = &d->entries[i];

        if (e->cross && !first)
            continue;
        if (!has_output(f->session, e->out))
            return om_fail(err, OM_E_UNSUPPORTED, "input \"%s\": no output %s gives this cache",
                           e->in, e->out);
        f->of_output[f->n_outputs] = i;
        f->outputs[f->n_outputs++] = e->out;
    }
    return 0;
}

static int wire(struct om_model_decoder *d, struct feed *f, bool first, struct om_error *err)
{
    const size_t n = om_session_input_count(f->session);

    f->of_input = om_arena_array(&d->arena, n + 1, sizeof(*f->of_input));
    f->of_output = om_arena_array(&d->arena, d->n_entries + 1, sizeof(*f->of_output));
    f->outputs = om_arena_array(&d->arena, d->n_entries + 1, sizeof(*f->outputs));
    if (!f->of_input || !f->of_output || !f->outputs)
        return no_memory(err);
    for (size_t i = 0; i < n; i++)
        f->of_input[i] = entry_of(d, om_session_input(f->session, i)->name);
    return wire_outputs(d, f, first, err);
}

static int take(struct entry *e, const struct om_tensor *t, struct om_error *err)
{
    if (t->rank > OM_COUNT(e->dims))
        return om_fail(err, OM_E_UNSUPPORTED, "output \"%s\": rank %u is not supported", t->name,
                       t->rank);
    e->rank = t->rank;
    e->dtype = t->dtype;
    memcpy(e->dims, t->dims, t->rank * sizeof(*e->dims));
    e->data = t->data;
    return 0;
}

/* The outputs of a step become the cache; r owns them. */
static int take_cache(struct om_model_decoder *d, const struct feed *f, const struct om_results *r,
                      struct om_error *err)
{
    for (size_t i = 1; i < f->n_outputs; i++)
        OM_TRY(take(&d->entries[f->of_output[i]], om_results_at(r, i), err));
    return 0;
}

/* ---- buffers that hold past and present ---- */

/* The first buffer has room for so many tokens, later ones twice as many as that before. */
#define BUFFER_MIN ((size_t)256)

static size_t next_capacity(const struct om_model_decoder *d, size_t need)
{
    const size_t room = OM_MAX(OM_MAX(need, BUFFER_MIN), 2 * d->capacity);

    return d->in.max_length >= need ? OM_MIN(room, d->in.max_length) : room;
}

/* Room for capacity tokens; those that are there move along. */
static int grow_entry(struct entry *e, size_t old, size_t capacity, struct om_error *err)
{
    struct om_tensor t = { e->in, e->dtype, e->rank, e->dims, NULL };
    size_t row = om_dtype_size(e->dtype), outer = 1;
    uint64_t bytes;
    char *own;

    e->dims[e->tokens] = (int64_t)capacity;
    if (!om_tensor_bytes(&t, &bytes) || bytes > SIZE_MAX)
        return no_memory(err);
    own = calloc(bytes ? (size_t)bytes : 1, 1);
    if (!own)
        return no_memory(err);
    for (uint32_t i = 0; i < e->rank; i++)
        if (i < e->tokens)
            outer *= (size_t)e->dims[i];
        else if (i > e->tokens)
            row *= (size_t)e->dims[i];
    for (size_t i = 0; i < outer && old > 0; i++)
        memcpy(own + i * capacity * row, (char *)e->own + i * old * row, old * row);
    free(e->own);
    e->own = own;
    e->data = own;
    return 0;
}

static int reserve(struct om_model_decoder *d, size_t need, struct om_error *err)
{
    const size_t capacity = next_capacity(d, need);

    if (!d->grouped || !d->caches || need <= d->capacity)
        return 0;
    for (size_t i = 0; i < d->n_entries; i++)
        OM_TRY(grow_entry(&d->entries[i], d->capacity, capacity, err));
    d->capacity = capacity;
    return 0;
}

/* Outputs go where the inputs of the same entry lie. */
static int run_session(struct om_model_decoder *d, const struct feed *f, struct om_results **r,
                       struct om_error *err)
{
    if (d->capacity == 0)
        return om_session_run_outputs(f->session, d->inputs, d->n_inputs, f->outputs, f->n_outputs,
                                      r, err);
    d->into[0] = (struct om_tensor){ .name = f->outputs[0] };
    for (size_t i = 1; i < f->n_outputs; i++) {
        const struct entry *e = &d->entries[f->of_output[i]];

        d->into[i] = (struct om_tensor){ e->out, e->dtype, e->rank, e->dims, e->data };
    }
    return om_session_run_into(f->session, d->inputs, d->n_inputs, d->into, f->n_outputs, r, err);
}

/* ---- rows ---- */

/* Rows of an entry in a new order. */
static int reorder(struct entry *e, size_t old_rows, const uint32_t *from, size_t n,
                   struct om_error *err)
{
    const struct om_tensor t = { e->in, e->dtype, e->rank, e->dims, e->data };
    uint64_t bytes;
    size_t row, total;
    char *to;

    if (e->rank == 0)
        return 0;
    if (!om_tensor_bytes(&t, &bytes) || !om_mul_size((size_t)bytes / old_rows, n, &total))
        return no_memory(err);
    row = (size_t)bytes / old_rows;
    to = malloc(total ? total : 1);
    if (!to)
        return no_memory(err);
    for (size_t i = 0; i < n && row; i++)
        memcpy(to + i * row, (const char *)e->data + from[i] * row, row);
    free(e->own);
    e->own = to;
    e->data = to;
    e->dims[0] = e->dims[0] / (int64_t)old_rows * (int64_t)n;
    return 0;
}

static int reorder_mask(struct om_model_decoder *d, const uint32_t *from, size_t n,
                        struct om_error *err)
{
    const size_t len = d->in.length;
    int64_t *mask = malloc(n * len * sizeof(*mask) + 1);

    if (!mask)
        return no_memory(err);
    for (size_t i = 0; i < n && len; i++)
        memcpy(mask + i * len, d->mask + from[i] * len, len * sizeof(*mask));
    free(d->mask);
    d->mask = mask;
    return 0;
}

/* Beams of one text share what comes from its encoder, so that only new rows need copies of it. */
static int select_rows(void *user, const uint32_t *from, size_t n, struct om_error *err)
{
    struct om_model_decoder *d = user;
    const bool more = n != d->rows;
    bool same = !more;

    for (size_t i = 0; i < n && same; i++)
        same = from[i] == i;
    if (same)
        return 0;
    for (size_t i = 0; i < d->n_entries; i++)
        if (d->done && (more || !d->entries[i].cross))
            OM_TRY(reorder(&d->entries[i], d->rows, from, n, err));
    for (size_t i = 0; i < d->n_entries && !d->done; i++)
        d->entries[i].dims[0] = d->entries[i].dims[0] / (int64_t)d->rows * (int64_t)n;
    if (more)
        OM_TRY(reorder(&d->states, d->rows, from, n, err));
    OM_TRY(reorder_mask(d, from, n, err));
    d->rows = n;
    return 0;
}

/* ---- the inputs of a step ---- */

/* The parts of columns: each has its rows one after the other. */
struct columns {
    int64_t *ids, *mask, *positions;
    size_t len;   /* of ids and positions: those that are not cached */
    size_t total; /* of the mask */
};

/* A column of the prompt's mask; tokens that were generated are all seen. */
static int64_t mask_at(const struct om_model_decoder *d, size_t row, size_t column)
{
    return column < d->in.length ? d->mask[row * d->in.length + column] : 1;
}

/* Ids of a row before column end that are no padding. */
static size_t count_seen(const struct om_model_decoder *d, size_t row, size_t end)
{
    size_t n = end;

    for (size_t i = 0; i < d->in.length && i < end; i++)
        n -= mask_at(d, row, i) == 0;
    return n;
}

/* A row without its padding, which comes behind it. */
static void fill_row(const struct om_model_decoder *d, const int64_t *ids, size_t row, size_t len,
                     const struct columns *c)
{
    const size_t seen = count_seen(d, row, len);
    const size_t cached = count_seen(d, row, d->caches ? d->done : 0);
    size_t at = 0;

    for (size_t i = 0; i < c->total; i++)
        c->mask[row * c->total + i] = i < seen;
    for (size_t i = 0; i < c->len; i++) {
        c->ids[row * c->len + i] = 0;
        c->positions[row * c->len + i] = 0;
    }
    for (size_t i = 0; i < len; i++) {
        if (mask_at(d, row, i) == 0 || at++ < cached)
            continue;
        c->ids[row * c->len + at - 1 - cached] = ids[i];
        c->positions[row * c->len + at - 1 - cached] = (int64_t)at - 1;
    }
    d->last_token[row] = seen - cached - 1;
}

/* How many columns the longest row needs without padding. */
static int measure_rows(struct om_model_decoder *d, const struct om_seqs *q, struct columns *c,
                        struct om_error *err)
{
    *c = (struct columns){ .len = 0 };
    for (size_t r = 0; r < d->rows; r++) {
        const size_t seen = count_seen(d, r, q->len);
        const size_t cached = count_seen(d, r, d->caches ? d->done : 0);

        if (seen <= cached)
            return om_fail(err, OM_E_USAGE, "text %zu of the batch has padding only", r);
        c->total = OM_MAX(c->total, seen);
        c->len = OM_MAX(c->len, seen - cached);
    }
    return 0;
}

static void fill_columns(const struct om_model_decoder *d, const struct om_seqs *q,
                         const struct columns *c)
{
    const size_t done = c->total - c->len;

    for (size_t r = 0; r < d->rows && d->grouped; r++)
        fill_row(d, om_seqs_row(q, r), r, q->len, c);
    for (size_t r = 0; r < d->rows && !d->grouped; r++) {
        int64_t seen = 0;

        memcpy(c->ids + r * c->len, om_seqs_row(q, r) + done, c->len * sizeof(*c->ids));
        for (size_t i = 0; i < c->total; i++) {
            const int64_t m = mask_at(d, r, i);

            seen += m;
            c->mask[r * c->total + i] = m;
            if (i >= done)
                c->positions[r * c->len + i - done] = m ? seen - 1 : 1;
        }
    }
}

static int make_columns(struct om_model_decoder *d, const struct om_seqs *q, struct columns *c,
                        struct om_error *err)
{
    const size_t cached = d->caches ? d->done : 0;
    size_t row, need;

    *c = (struct columns){ .len = q->len - cached, .total = q->len };
    if (d->grouped)
        OM_TRY(measure_rows(d, q, c, err));
    if (!om_mul_size(c->len, 2, &row) || !om_add_size(row, c->total, &row) ||
        !om_mul_size(row, d->rows, &need) ||
        !om_grow(&d->columns, &d->columns_cap, need, sizeof(*d->columns)))
        return no_memory(err);
    if (d->grouped && !om_grow(&d->last_token, &d->last_token_cap, d->rows, sizeof(*d->last_token)))
        return no_memory(err);
    c->ids = d->columns;
    c->positions = c->ids + d->rows * c->len;
    c->mask = c->positions + d->rows * c->len;
    fill_columns(d, q, c);
    return 0;
}

static int64_t *make_dims(struct om_arena *a, int64_t first, int64_t second)
{
    const int64_t dims[] = { first, second };

    return om_arena_copy(a, dims, sizeof(dims));
}

static int put(struct om_model_decoder *d, const struct om_session_port *p, enum om_dtype dtype,
               uint32_t rank, const int64_t *dims, const void *data, struct om_error *err)
{
    if (!dims)
        return no_memory(err);
    d->inputs[d->n_inputs++] = (struct om_tensor){ p->name, dtype, rank, dims, data };
    return 0;
}

/* Whole numbers, in the type that the graph wants. */
static int put_ints(struct om_model_decoder *d, struct om_arena *a, const struct om_session_port *p,
                    const int64_t *data, size_t len, struct om_error *err)
{
    const int64_t *dims = make_dims(a, (int64_t)d->rows, (int64_t)len);
    void *other;

    if (p->dtype == OM_I64)
        return put(d, p, OM_I64, 2, dims, data, err);
    other = om_arena_array(a, d->rows * len + 1, om_dtype_size(p->dtype));
    if (!other)
        return no_memory(err);
    om_convert(other, p->dtype, data, OM_I64, d->rows * len);
    return put(d, p, p->dtype, 2, dims, other, err);
}

static void put_entry(struct om_model_decoder *d, const struct entry *e)
{
    d->inputs[d->n_inputs++] = (struct om_tensor){ e->in, e->dtype, e->rank, e->dims, e->data };
}

static int put_input(struct om_model_decoder *d, struct om_arena *a,
                     const struct om_session_port *p, const struct columns *c, bool first,
                     struct om_error *err)
{
    static const int64_t one = 1;
    static const bool yes = true, no = false;
    const bool seq2seq = d->states.rank > 0;

    if (strcmp(p->name, "input_ids") == 0 || strcmp(p->name, "decoder_input_ids") == 0)
        return put_ints(d, a, p, c->ids, c->len, err);
    if (strcmp(p->name, "position_ids") == 0)
        return put_ints(d, a, p, c->positions, c->len, err);
    if (strcmp(p->name, "use_cache_branch") == 0)
        return put(d, p, OM_BOOL, 1, &one, first ? &no : &yes, err);
    if (strcmp(p->name, "encoder_hidden_states") == 0 && seq2seq)
        return put(d, p, d->states.dtype, d->states.rank, d->states.dims, d->states.data, err);
    if (strcmp(p->name, "encoder_attention_mask") == 0 && seq2seq)
        return put_ints(d, a, p, d->mask, d->in.length, err);
    if (strcmp(p->name, "attention_mask") == 0 && !seq2seq)
        return put_ints(d, a, p, c->mask, c->total, err);
    return om_fail(err, OM_E_UNSUPPORTED, "input \"%s\": generation has no value for it", p->name);
}

/* ---- a step ---- */

/* The last new token of every row stands in the last column. */
static bool ends_alike(const struct om_model_decoder *d, size_t columns)
{
    for (size_t i = 0; i < d->rows && d->grouped; i++)
        if (d->last_token[i] + 1 != columns)
            return false;
    return true;
}

static int read_logits(struct om_model_decoder *d, const struct om_tensor *t, struct om_logits *out,
                       struct om_error *err)
{
    size_t row, last;

    if (t->rank != 3 || t->dims[1] < 1 || t->dims[2] < 1)
        return om_fail(err, OM_E_UNSUPPORTED, "the model gives no logits [batch, tokens, ids]");
    row = (size_t)(t->dims[1] * t->dims[2]);
    last = (size_t)((t->dims[1] - 1) * t->dims[2]);
    *out = (struct om_logits){ .rows = (size_t)t->dims[0],
                               .vocab = (size_t)t->dims[2],
                               .stride = row };
    if (t->dtype == OM_F32 && ends_alike(d, (size_t)t->dims[1])) {
        out->data = (const float *)t->data + last;
        return 0;
    }
    out->stride = out->vocab;
    if (!om_grow(&d->logits, &d->logits_cap, out->rows * out->vocab, sizeof(*d->logits)))
        return no_memory(err);
    for (size_t i = 0; i < out->rows; i++) {
        const size_t at = i * row + (d->grouped ? d->last_token[i] * out->vocab : last);

        om_convert(d->logits + i * out->vocab, OM_F32,
                   (const char *)t->data + at * om_dtype_size(t->dtype), t->dtype, out->vocab);
    }
    out->data = d->logits;
    return 0;
}

/* What the inputs of this step were in is not needed once it is done. */
static void keep_results(struct om_model_decoder *d, struct om_results *r, bool first)
{
    bool has_cross = false;

    for (size_t i = 0; i < d->n_entries; i++) {
        struct entry *e = &d->entries[i];

        has_cross |= e->cross;
        if (d->caches && e->data != e->own) {
            free(e->own);
            e->own = NULL;
        }
    }
    if (first && has_cross && d->caches) {
        om_results_free(d->cross);
        d->cross = r;
        return;
    }
    om_results_free(d->last);
    d->last = r;
}

static int put_inputs(struct om_model_decoder *d, struct om_arena *a, const struct feed *f,
                      const struct columns *c, bool first, struct om_error *err)
{
    d->n_inputs = 0;
    for (size_t i = 0; i < om_session_input_count(f->session); i++) {
        const struct om_session_port *p = om_session_input(f->session, i);

        if (f->of_input[i] < d->n_entries)
            put_entry(d, &d->entries[f->of_input[i]]);
        else
            OM_TRY(put_input(d, a, p, c, first, err));
    }
    return 0;
}

static int run_step(struct om_model_decoder *d, struct om_arena *a, const struct om_seqs *q,
                    struct om_logits *out, struct om_error *err)
{
    const bool first = !d->caches || d->done == 0;
    const struct feed *f = first ? &d->first : &d->later;
    struct om_results *r = NULL;
    struct columns c;
    int rc;

    OM_TRY(make_columns(d, q, &c, err));
    OM_TRY(reserve(d, c.total, err));
    OM_TRY(put_inputs(d, a, f, &c, first, err));
    OM_TRY(run_session(d, f, &r, err));
    rc = read_logits(d, om_results_at(r, 0), out, err);
    if (rc == 0 && d->capacity == 0)
        rc = take_cache(d, f, r, err);
    if (rc < 0) {
        om_results_free(r);
        return rc;
    }
    keep_results(d, r, first);
    d->done = q->len;
    return 0;
}

/* Frequencies that follow from the length of what is read at once: parts of a prompt would get
 * those of shorter ones. */
static bool depends_on_length(const struct om_model *m)
{
    static const char *const types[] = { "\"dynamic\"", "\"longrope\"", "\"su\"" };
    const char *config = om_model_get_info(m)->config;

    for (size_t i = 0; i < OM_COUNT(types); i++)
        if (strstr(config, types[i]))
            return true;
    return false;
}

/* How many ids of each row may be read at once. Graphs give the logits of all of them. */
static size_t most_at_once(const struct om_model_decoder *d)
{
    const size_t most = d->in.most_logits ? d->in.most_logits : OM_DECODER_LOGITS;
    const struct om_session *s = d->first.session;
    size_t row = sizeof(float);

    if ((d->grouped && d->rows > 1) || /* the operator takes one text's tokens behind cached ones */
        !d->caches || d->later.session != s || d->states.rank || has_input(s, "use_cache_branch") ||
        depends_on_length(d->m))
        return SIZE_MAX;
    for (size_t i = 0; i < om_session_output_count(s); i++) {
        const struct om_session_port *p = om_session_output(s, i);

        if (strcmp(p->name, "logits") == 0 && p->rank == 3 && p->dims[2] > 0)
            row *= (size_t)p->dims[2];
    }
    return OM_MAX(most / row / d->rows, (size_t)1);
}

static int run_parts(struct om_model_decoder *d, struct om_arena *a, const struct om_seqs *q,
                     struct om_logits *out, struct om_error *err)
{
    const size_t most = d->done ? SIZE_MAX : most_at_once(d);

    while (d->caches && q->len - d->done > most) {
        struct om_seqs part = *q;

        part.len = d->done + most;
        OM_TRY(run_step(d, a, &part, out, err));
    }
    return run_step(d, a, q, out, err);
}

static int step(void *user, const struct om_seqs *seqs, struct om_logits *out, struct om_error *err)
{
    struct om_model_decoder *d = user;
    struct om_arena a = OM_ARENA_INIT((size_t)1 << 40);
    int rc;

    if (seqs->rows != d->rows)
        return om_fail(err, OM_E_INTERNAL, "%zu sequences in place of %zu", seqs->rows, d->rows);
    rc = om_wrap(err, run_parts(d, &a, seqs, out, err), "%s", om_model_get_info(d->m)->file);
    om_arena_release(&a);
    return rc;
}

struct om_decoder om_model_decoder_steps(struct om_model_decoder *d)
{
    return (struct om_decoder){ .step = step, .select = select_rows, .user = d };
}

/* ---- making one ---- */

static int put_encoder_input(struct om_model_decoder *d, struct om_arena *a,
                             const struct om_session_port *p, struct om_error *err)
{
    if (strcmp(p->name, "input_ids") == 0)
        return put_ints(d, a, p, d->in.ids, d->in.length, err);
    if (strcmp(p->name, "attention_mask") == 0)
        return put_ints(d, a, p, d->in.mask, d->in.length, err);
    return om_fail(err, OM_E_UNSUPPORTED, "input \"%s\": generation has no value for it", p->name);
}

static int encode(struct om_model_decoder *d, struct om_session *encoder, struct om_error *err)
{
    static const char *const name = "last_hidden_state";
    struct om_arena a = OM_ARENA_INIT((size_t)1 << 40);
    int rc = 0;

    d->n_inputs = 0;
    for (size_t i = 0; rc == 0 && i < om_session_input_count(encoder); i++)
        rc = put_encoder_input(d, &a, om_session_input(encoder, i), err);
    if (rc == 0)
        rc = om_session_run_outputs(encoder, d->inputs, d->n_inputs, &name, 1, &d->encoded, err);
    if (rc == 0)
        rc = take(&d->states, om_results_at(d->encoded, 0), err);
    om_arena_release(&a);
    return om_wrap(err, rc, "%s", om_model_get_info(d->m)->encoder_file);
}

static bool has_past(const struct om_session *s)
{
    for (size_t i = 0; i < om_session_input_count(s); i++)
        if (starts(om_session_input(s, i)->name, PAST))
            return true;
    return false;
}

static int set_up(struct om_model_decoder *d, struct om_error *err)
{
    struct om_session *encoder = om_model_encoder(d->m);
    struct om_session *with_past = om_model_decoder_with_past(d->m);
    size_t inputs, len;

    d->first.session = om_model_session(d->m);
    d->later.session = with_past ? with_past : d->first.session;
    d->caches = d->in.use_cache && has_past(d->later.session);
    inputs = om_session_input_count(d->first.session) + om_session_input_count(d->later.session) +
             (encoder ? om_session_input_count(encoder) : 0);
    d->grouped = om_model_get_info(d->m)->grouped_attention;
    d->inputs = om_arena_array(&d->arena, inputs + 1, sizeof(*d->inputs));
    d->into = om_arena_array(&d->arena, inputs + 1, sizeof(*d->into));
    if (!d->inputs || !d->into || !om_mul_size(d->rows, d->in.length, &len))
        return no_memory(err);
    d->mask = malloc(len * sizeof(*d->mask) + 1);
    if (!d->mask)
        return no_memory(err);
    if (len)
        memcpy(d->mask, d->in.mask, len * sizeof(*d->mask));
    OM_TRY(find_entries(d, err));
    OM_TRY(wire(d, &d->first, true, err));
    OM_TRY(wire(d, &d->later, false, err));
    return encoder ? encode(d, encoder, err) : 0;
}

int om_model_decoder_new(const struct om_model *m, const struct om_decoder_input *in,
                         struct om_model_decoder **out, struct om_error *err)
{
    struct om_model_decoder *d = calloc(1, sizeof(*d));
    int rc;

    if (!d)
        return no_memory(err);
    om_arena_init(&d->arena, (size_t)1 << 30);
    d->m = m;
    d->in = *in;
    d->rows = in->batch;
    rc = set_up(d, err);
    if (rc == 0)
        *out = d;
    else
        om_model_decoder_free(d);
    return rc;
}

void om_model_decoder_free(struct om_model_decoder *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->n_entries; i++)
        free(d->entries[i].own);
    free(d->states.own);
    om_results_free(d->last);
    om_results_free(d->cross);
    om_results_free(d->encoded);
    free(d->mask);
    free(d->columns);
    free(d->last_token);
    free(d->logits);
    om_arena_release(&d->arena);
    free(d);
}
