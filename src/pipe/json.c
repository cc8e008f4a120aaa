/* src/pipe/json.c: calls as JSON, and their results as JSON or as lines for people. */
#include "pipe/pipe.h"

#include <math.h>
#include <stdlib.h>

/* ---- reading a request ---- */

static int read_kwargs(struct pipe_call *c, struct om_error *err)
{
    const struct pipe_reader r = { c->p, &c->arena, err, c->kwargs };
    const struct pipe_param *const tables[] = { c->p->task->params, NULL };

    OM_TRY(pipe_read_batch_size(c->kwargs, &c->batch_size, err));
    OM_TRY(pipe_params_read(&r, c->kwargs, tables, c->p->task->takes, c->params));
    return pipe_call_check(c, err);
}

static int read_request(struct pipe_call *c, const struct om_text *request, struct om_error *err)
{
    const struct om_json *inputs;

    c->json = true;
    OM_TRY(om_json_parse((om_sv){ request->ptr, request->len }, OM_JSON_LAST_WINS, &c->doc, err));
    inputs = om_json_get(c->doc, "inputs");
    if (inputs)
        c->kwargs = om_json_get(c->doc, "kwargs");
    else
        inputs = c->doc;
    OM_TRY(om_wrap(err, read_kwargs(c, err), "kwargs"));
    return c->p->task->read(c, inputs, err);
}

/* ---- writing results ---- */

void pipe_json_text(struct om_buf *b, struct om_text text)
{
    om_buf_json_string(b, (om_sv){ text.ptr ? text.ptr : "", text.len });
}

void pipe_json_score(struct om_buf *b, float score)
{
    if (isnan(score))
        om_buf_adds(b, "NaN");
    else if (isinf(score))
        om_buf_adds(b, score > 0 ? "Infinity" : "-Infinity");
    else
        om_buf_real32(b, score);
}

void pipe_json_floats(struct om_buf *b, const float *data, size_t n)
{
    om_buf_addc(b, '[');
    for (size_t i = 0; i < n; i++) {
        om_buf_adds(b, i ? ", " : "");
        pipe_json_score(b, data[i]);
    }
    om_buf_addc(b, ']');
}

void pipe_plain_text(struct om_buf *b, struct om_text text)
{
    for (size_t i = 0; i < text.len; i++)
        om_buf_addc(b, (unsigned char)text.ptr[i] < 0x20 ? ' ' : text.ptr[i]);
}

static void write_json(const struct pipe_call *c, struct om_buf *b)
{
    const char *const results = c->results;

    om_buf_adds(b, c->list ? "[" : "");
    for (size_t i = 0; i < c->n; i++) {
        om_buf_adds(b, i ? ", " : "");
        c->p->task->json(c, results + i * c->p->task->result_size, b);
    }
    om_buf_adds(b, c->list ? "]" : "");
}

/* Results of several inputs are numbered. */
static void write_text(const struct pipe_call *c, struct om_buf *b)
{
    const char *const results = c->results;

    for (size_t i = 0; i < c->n; i++) {
        om_buf_adds(b, i ? "\n" : "");
        if (c->n > 1)
            om_buf_printf(b, "%zu:\n", i + 1);
        c->p->task->text(c, results + i * c->p->task->result_size, b);
    }
}

static int write_results(struct pipe_call *c, enum om_pipeline_format format, struct om_buf *b,
                         struct om_error *err)
{
    if (c->whole)
        OM_TRY(c->p->task->whole(c, format, b, err));
    else if (format == OM_PIPELINE_JSON)
        write_json(c, b);
    else
        write_text(c, b);
    om_buf_adds(b, ""); /* there is a NUL even when nothing was written */
    return om_buf_check(b, err);
}

/* ---- requests ---- */

static void reply(struct pipe_call *c, enum om_pipeline_format format, struct om_pipeline_reply *r)
{
    struct om_buf b = OM_BUF_INIT(PIPE_TEXT_MAX);

    *r = (struct om_pipeline_reply){ .error = OM_ERROR_INIT };
    if (c->err.code == 0)
        write_results(c, format, &b, &c->err);
    if (c->err.code < 0) {
        r->error = c->err; /* moved */
        c->err = (struct om_error)OM_ERROR_INIT;
        om_buf_release(&b);
        return;
    }
    r->text = b.ptr;
    r->len = b.len;
}

int om_pipeline_call(const struct om_pipeline *p, const struct om_text *requests, size_t n,
                     enum om_pipeline_format format, struct om_pipeline_reply *replies,
                     struct om_error *err)
{
    struct pipe_call *const calls = calloc(n + 1, sizeof(*calls));

    if (!calls)
        return pipe_no_memory(err);
    for (size_t i = 0; i < n; i++)
        if (pipe_call_begin(&calls[i], p, &calls[i].err) == 0)
            read_request(&calls[i], &requests[i], &calls[i].err);
    pipe_calls_run(calls, n);
    for (size_t i = 0; i < n; i++) {
        reply(&calls[i], format, &replies[i]);
        pipe_call_end(&calls[i]);
    }
    free(calls);
    return 0;
}

void om_pipeline_replies_release(struct om_pipeline_reply *replies, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(replies[i].text);
        om_error_release(&replies[i].error);
        replies[i] = (struct om_pipeline_reply){ .error = OM_ERROR_INIT };
    }
}

int om_pipeline_call_json(const struct om_pipeline *p, const char *request, char **json,
                          struct om_error *err)
{
    const struct om_text text = { request, strlen(request) };
    struct om_pipeline_reply r;
    int rc;

    OM_TRY(om_pipeline_call(p, &text, 1, OM_PIPELINE_JSON, &r, err));
    rc = r.error.code;
    if (rc == 0) {
        *json = r.text;
        return 0;
    }
    om_fail(err, rc, "%s", om_error_text(&r.error));
    om_pipeline_replies_release(&r, 1);
    return rc;
}
