/* src/pipe/run.c: the windows of many calls through the model, in batches of about one length. */
#include "pipe/pipe.h"

#include <stdlib.h>

#include "base/half.h"
#include "base/thread.h"

#define BATCH_BYTES_MAX ((size_t)8 << 30)

/* A run of neighbours in the order of lengths. */
struct batch {
    size_t begin, len;
};

struct schedule {
    const struct om_pipeline *p;
    struct pipe_item **items;
    size_t n_items;
    struct pipe_window **windows; /* longest first */
    size_t n_windows;
    struct batch *batches;
    size_t n_batches;
};

static bool failed(const struct pipe_window *w)
{
    return w->item->err.code < 0 || w->item->call->err.code < 0;
}

/* ---- inputs ---- */

/* input_ids, attention_mask and token_type_ids of a batch, one after the other. */
struct inputs {
    int64_t dims[2];
    int64_t *data;
    struct om_tensor tensors[3];
    size_t n;
};

static void fill_row(const struct om_pipeline *p, const struct om_encoding *e, int64_t *ids,
                     int64_t *mask, int64_t *types, size_t length)
{
    for (size_t i = 0; i < e->len; i++) {
        ids[i] = e->ids[i];
        mask[i] = e->attention_mask[i];
        types[i] = e->type_ids[i];
    }
    for (size_t i = e->len; i < length; i++) {
        ids[i] = p->t.pad.known ? p->t.pad.id : 0;
        mask[i] = types[i] = 0;
    }
}

/* Rows are padded on the right whatever the tokenizer's side: positions, and with them results,
 * are then those of a row alone. */
static int inputs_init(struct inputs *in, const struct om_pipeline *p, struct pipe_window **w,
                       size_t n, struct om_error *err)
{
    size_t length = 0, count, bytes;

    for (size_t i = 0; i < n; i++)
        length = OM_MAX(length, w[i]->enc->len);
    if (!om_mul_size(n, length, &count) || !om_mul_size(count, 3 * sizeof(*in->data), &bytes) ||
        bytes > BATCH_BYTES_MAX)
        return om_fail(err, OM_E_LIMIT, "a batch of %zu texts with %zu tokens is too large", n,
                       length);
    in->data = malloc(OM_MAX(bytes, 1));
    if (!in->data)
        return pipe_no_memory(err);
    for (size_t i = 0; i < n; i++)
        fill_row(p, w[i]->enc, in->data + i * length, in->data + count + i * length,
                 in->data + 2 * count + i * length, length);
    in->dims[0] = (int64_t)n;
    in->dims[1] = (int64_t)length;
    in->n = p->t.gives_type_ids ? 3 : 2;
    for (size_t i = 0; i < in->n; i++) {
        static const char *const names[] = { "input_ids", "attention_mask", "token_type_ids" };

        in->tensors[i] = (struct om_tensor){ names[i], OM_I64, 2, in->dims, in->data + i * count };
    }
    return 0;
}

/* ---- outputs ---- */

struct outputs {
    const float *data[PIPE_OUTPUTS];
    float *converted[PIPE_OUTPUTS];
    size_t stride, width; /* numbers of a window, of a row */
};

static int wrong_shape(const struct om_pipeline *p, const struct om_tensor *t, struct om_error *err)
{
    return om_fail(err, OM_E_RUNTIME, "output \"%s\" does not have the shape that %s expects",
                   t->name, p->task->name);
}

/* [batch, tokens] or [batch, tokens, width]; [batch, width] where a window has one row. */
static int check_shape(const struct om_pipeline *p, const struct om_tensor *t,
                       const struct inputs *in, struct outputs *out, struct om_error *err)
{
    const uint32_t rows = p->per_token ? 2 : 1;
    int64_t width = 1;

    if (t->rank < rows || t->rank > rows + 1 || t->dims[0] != in->dims[0] ||
        (p->per_token && t->dims[1] != in->dims[1]))
        return wrong_shape(p, t, err);
    if (t->rank == rows + 1)
        width = t->dims[rows];
    if (width < 1 || (out->width && out->width != (size_t)width))
        return wrong_shape(p, t, err);
    out->width = (size_t)width;
    out->stride = out->width * (p->per_token ? (size_t)in->dims[1] : 1);
    return 0;
}

static int as_floats(const struct om_tensor *t, struct outputs *out, size_t i, struct om_error *err)
{
    int64_t count = 0;

    out->data[i] = t->data;
    if (t->dtype == OM_F32)
        return 0;
    if (t->dtype != OM_F16 && t->dtype != OM_BF16 && t->dtype != OM_F64)
        return om_fail(err, OM_E_RUNTIME, "output \"%s\": expected numbers, found %s", t->name,
                       om_dtype_text(t->dtype));
    om_count(t->dims, t->rank, &count);
    out->converted[i] = malloc((size_t)count * sizeof(float) + 1);
    if (!out->converted[i])
        return pipe_no_memory(err);
    om_convert(out->converted[i], OM_F32, t->data, t->dtype, (size_t)count);
    out->data[i] = out->converted[i];
    return 0;
}

static int outputs_init(struct outputs *out, const struct om_pipeline *p, const struct inputs *in,
                        const struct om_results *r, struct om_error *err)
{
    for (size_t i = 0; i < PIPE_OUTPUTS && p->outputs[i]; i++) {
        const struct om_tensor *const t = om_results_find(r, p->outputs[i]);

        if (!t)
            return om_fail(err, OM_E_RUNTIME, "the model gave no output \"%s\"", p->outputs[i]);
        OM_TRY(check_shape(p, t, in, out, err));
        OM_TRY(as_floats(t, out, i, err));
    }
    return 0;
}

static void outputs_release(struct outputs *out)
{
    for (size_t i = 0; i < PIPE_OUTPUTS; i++)
        free(out->converted[i]);
}

/* ---- a batch ---- */

static int reduce(const struct om_pipeline *p, const struct outputs *out, struct pipe_window **w,
                  size_t n, struct om_error *err)
{
    for (size_t i = 0; i < n; i++) {
        struct pipe_rows rows = { .rows = p->per_token ? w[i]->enc->len : 1, .width = out->width };

        for (size_t k = 0; k < PIPE_OUTPUTS && p->outputs[k]; k++)
            rows.data[k] = out->data[k] + i * out->stride;
        OM_TRY(p->task->reduce(w[i], &rows, &w[i]->kept, err));
    }
    return 0;
}

static int run(const struct om_pipeline *p, struct pipe_window **w, size_t n, struct om_error *err)
{
    struct inputs in = { .data = NULL };
    struct outputs out = { .width = 0 };
    struct om_results *r = NULL;
    int rc = inputs_init(&in, p, w, n, err);

    if (rc == 0)
        rc = om_model_run(p->model, in.tensors, in.n, &r, err);
    if (rc == 0)
        rc = outputs_init(&out, p, &in, r, err);
    if (rc == 0)
        rc = reduce(p, &out, w, n, err);
    outputs_release(&out);
    om_results_free(r);
    free(in.data);
    return rc;
}

/* Another thread may have other windows of the item, so that the failure stays with the window. */
static void run_alone(const struct om_pipeline *p, struct pipe_window *w)
{
    struct om_error err = OM_ERROR_INIT;
    const int rc = run(p, &w, 1, &err);

    if (rc < 0) {
        w->failure = malloc(sizeof(*w->failure));
        if (w->failure)
            *w->failure = err;
        else
            om_error_release(&err);
        w->rc = rc;
    }
}

/* A batch that fails is run window by window, so that one text does not take others with it. */
static void run_batch(void *user, size_t i)
{
    const struct schedule *const s = user;
    struct pipe_window **const w = s->windows + s->batches[i].begin;
    const size_t n = s->batches[i].len;

    if (n > 1 && run(s->p, w, n, NULL) == 0)
        return;
    for (size_t k = 0; k < n; k++) {
        free(w[k]->kept);
        w[k]->kept = NULL;
        run_alone(s->p, w[k]);
    }
}

/* ---- tasks that run the model in their own way ---- */

/* What fails is said by the batch's first item, which no other thread has. */
static void run_items(void *user, size_t i)
{
    const struct schedule *const s = user;
    struct pipe_item *const first = s->items[s->batches[i].begin];

    s->p->task->run(first->call, first, s->batches[i].len, &first->err);
}

/* Neighbours of one call, in its order. A call with one input that is no list has no batches. */
static bool cut_items(struct schedule *s)
{
    s->batches = calloc(s->n_items + 1, sizeof(*s->batches));
    if (!s->batches)
        return false;
    for (size_t i = 0; i < s->n_items; i++) {
        const struct pipe_call *const c = s->items[i]->call;
        struct batch *const last = s->n_batches ? &s->batches[s->n_batches - 1] : NULL;

        if (c->err.code < 0)
            continue;
        if (last && s->items[last->begin]->call == c && last->len < c->batch_size)
            last->len++;
        else
            s->batches[s->n_batches++] = (struct batch){ i, 1 };
    }
    return true;
}

/* ---- batches ---- */

static int longer(const void *a, const void *b)
{
    const struct pipe_window *const x = *(struct pipe_window *const *)a;
    const struct pipe_window *const y = *(struct pipe_window *const *)b;

    return (x->enc->len < y->enc->len) - (x->enc->len > y->enc->len);
}

/* A window joins longer ones as long as padding does not cost more than it saves. */
static bool joins(const struct pipe_window *first, const struct pipe_window *w)
{
    enum { SHORT = 32 };

    return first->enc->len <= SHORT || w->enc->len >= first->enc->len - first->enc->len / 4;
}

static void cut_batches(struct schedule *s)
{
    for (size_t i = 0; i < s->n_windows; i++) {
        struct batch *const last = s->n_batches ? &s->batches[s->n_batches - 1] : NULL;

        if (last && last->len < s->p->batch_size && joins(s->windows[last->begin], s->windows[i]))
            last->len++;
        else
            s->batches[s->n_batches++] = (struct batch){ i, 1 };
    }
}

static bool collect_windows(struct schedule *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n_items; i++)
        n += s->items[i]->n_windows;
    s->windows = calloc(n + 1, sizeof(struct pipe_window *));
    s->batches = calloc(n + 1, sizeof(*s->batches));
    if (!s->windows || !s->batches)
        return false;
    for (size_t i = 0; i < s->n_items; i++)
        for (size_t k = 0; k < s->items[i]->n_windows; k++)
            if (!failed(&s->items[i]->windows[k]))
                s->windows[s->n_windows++] = &s->items[i]->windows[k];
    if (s->n_windows > 1)
        qsort(s->windows, s->n_windows, sizeof(struct pipe_window *), longer);
    return true;
}

/* ---- calls ---- */

static void prepare_item(void *user, size_t i)
{
    const struct schedule *const s = user;
    struct pipe_item *const item = s->items[i];

    s->p->task->prepare(item->call, item, &item->err);
}

static bool collect_items(struct schedule *s, struct pipe_call *calls, size_t n)
{
    size_t total = 0;

    for (size_t i = 0; i < n; i++)
        total += calls[i].err.code < 0 ? 0 : calls[i].n;
    s->items = calloc(total + 1, sizeof(struct pipe_item *));
    if (!s->items)
        return false;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < calls[i].n && calls[i].err.code == 0; k++)
            s->items[s->n_items++] = &calls[i].items[k];
    return true;
}

/* The first failure of a call's items becomes the call's. A call of several says which. */
static void gather_failures(struct pipe_call *c)
{
    for (size_t i = 0; i < c->n && c->err.code == 0; i++) {
        const struct om_error *const e = &c->items[i].err;

        if (e->code < 0 && c->n > 1)
            om_fail(&c->err, e->code, "input %zu: %s", i, om_error_text(e));
        else if (e->code < 0)
            om_fail(&c->err, e->code, "%s", om_error_text(e));
    }
}

static void gather_window_failures(struct pipe_item *item)
{
    for (size_t i = 0; i < item->n_windows; i++) {
        const struct pipe_window *const w = &item->windows[i];

        if (w->rc < 0 && item->err.code == 0)
            om_fail(&item->err, w->rc, "%s",
                    w->failure ? om_error_text(w->failure) : "out of memory");
    }
}

static int finish_call(struct pipe_call *c)
{
    const struct pipe_task *const task = c->p->task;

    c->results = pipe_call_block(c, c->n, task->result_size);
    if (!c->results)
        return pipe_no_memory(&c->err);
    for (size_t i = 0; i < c->n; i++) {
        void *const result = (char *)c->results + i * task->result_size;

        if (task->finish(c, &c->items[i], result, &c->items[i].err) < 0)
            break;
    }
    gather_failures(c);
    return 0;
}

static void all_fail(struct pipe_call *calls, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (calls[i].err.code == 0)
            pipe_no_memory(&calls[i].err);
}

void pipe_calls_run(struct pipe_call *calls, size_t n)
{
    struct schedule s = { .p = n ? calls[0].p : NULL };
    bool fine = n > 0 && collect_items(&s, calls, n);

    if (fine) {
        om_workers(s.p->threads, s.n_items, prepare_item, &s);
        for (size_t i = 0; i < n; i++) {
            gather_failures(&calls[i]);
            if (calls[i].err.code == 0 && s.p->task->arrange)
                s.p->task->arrange(&calls[i], &calls[i].err);
        }
        fine = s.p->task->run ? cut_items(&s) : collect_windows(&s);
    }
    if (fine) {
        if (!s.p->task->run)
            cut_batches(&s);
        om_workers(s.p->threads, s.n_batches, s.p->task->run ? run_items : run_batch, &s);
        for (size_t i = 0; i < s.n_items; i++)
            gather_window_failures(s.items[i]);
        for (size_t i = 0; i < n; i++) {
            gather_failures(&calls[i]);
            if (calls[i].err.code == 0)
                finish_call(&calls[i]);
        }
    } else {
        all_fail(calls, n);
    }
    free(s.batches);
    free(s.windows);
    free(s.items);
}
