/* src/export/run.c: one .onnx file on the tensors of a safetensors file, with either executor. */
#include <optimum/export.h>
#include <optimum/session.h>

#include "ckpt/ckpt.h"
#include "ref/model.h"

/* The tensors of a file as inputs; data stay in the mapping. */
static int load_inputs(struct om_arena *a, const struct om_ckpt *ck, struct om_tensor **out,
                       struct om_error *err)
{
    struct om_tensor *t = om_arena_array(a, ck->len + 1, sizeof(*t));

    if (t == NULL)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    for (size_t i = 0; i < ck->len; i++) {
        const struct om_ckpt_tensor *c = &ck->tensors[i];

        if (c->strides != NULL)
            return om_fail(err, OM_E_UNSUPPORTED, "tensor \"%.*s\" is not contiguous", OM_SV(c->name));
        t[i] = (struct om_tensor){ .name = om_arena_str(a, c->name),
                                   .dtype = c->dtype,
                                   .rank = c->rank,
                                   .dims = c->dims,
                                   .data = om_ckpt_data(c) };
        if (t[i].name == NULL)
            return om_fail(err, OM_E_NOMEM, "out of memory");
    }
    *out = t;
    return 0;
}

static int run_reference(struct om_ctx *ctx, const char *model, const struct om_tensor *inputs,
                         size_t n, const char *output, struct om_arena *a, struct om_error *err)
{
    const struct om_ref_model_opts opts = { .ctx = ctx };
    struct om_ref_model *prepared;
    struct om_tensor *outputs;
    struct om_doc *doc;
    size_t n_outputs;
    int rc = om_doc_open(a, model, &doc, err);

    if (rc < 0)
        return rc;
    rc = om_ref_model_new(doc, &prepared, err);
    if (rc == 0)
        rc = om_ref_model_run(prepared, inputs, n, &opts, a, &outputs, &n_outputs, err);
    if (rc < 0)
        rc = om_wrap(err, rc, "%s", model);
    else
        rc = om_safetensors_write(output, outputs, n_outputs, err);
    om_doc_close(doc);
    return rc;
}

static int write_results(const struct om_results *r, const char *output, struct om_arena *a,
                         struct om_error *err)
{
    const size_t n = om_results_count(r);
    struct om_tensor *t = om_arena_array(a, n + 1, sizeof(*t));

    if (t == NULL)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        t[i] = *om_results_at(r, i);
    return om_safetensors_write(output, t, n, err);
}

static int run_onnxruntime(struct om_ctx *ctx, const char *model, const struct om_tensor *inputs,
                           size_t n, const char *output, struct om_arena *a, struct om_error *err)
{
    const struct om_session_opts opts = OM_SESSION_OPTS_INIT;
    struct om_session *session = NULL;
    struct om_results *results = NULL;
    int rc = om_session_open(ctx, model, &opts, &session, err);

    if (rc == 0)
        rc = om_session_run(session, inputs, n, &results, err);
    if (rc == 0)
        rc = write_results(results, output, a, err);
    om_results_free(results);
    om_session_free(session);
    return rc;
}

int om_run_file(struct om_ctx *ctx, const char *model, const char *inputs, const char *output,
                enum om_executor executor, struct om_error *err)
{
    struct om_arena a = OM_ARENA_INIT((size_t)16 << 30);
    struct om_ckpt *ck = NULL;
    struct om_tensor *tensors = NULL;
    int rc = om_ckpt_open_file(&a, inputs, &ck, err);

    if (rc == 0)
        rc = load_inputs(&a, ck, &tensors, err);
    if (rc == 0 && executor == OM_EXECUTOR_REFERENCE)
        rc = run_reference(ctx, model, tensors, ck->len, output, &a, err);
    else if (rc == 0)
        rc = run_onnxruntime(ctx, model, tensors, ck->len, output, &a, err);
    om_ckpt_close(ck);
    om_arena_release(&a);
    return rc;
}
