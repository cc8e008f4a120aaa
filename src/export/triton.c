/* src/export/triton.c: the model's directory of a Triton repository: NAME/1/ has the export,
 * NAME/config.pbtxt says what goes in and out (model_config.proto of Triton's "common"). */
#include <stdlib.h>
#include <string.h>

#include "export/job.h"

#define VERSION_DIR "1"
#define BATCH_MAX 32 /* requests of equal lengths are joined up to so many */

static const char *const types[OM_DTYPE_COUNT] = {
    [OM_F64] = "TYPE_FP64",  [OM_F32] = "TYPE_FP32",  [OM_F16] = "TYPE_FP16",
    [OM_BF16] = "TYPE_BF16", [OM_I64] = "TYPE_INT64", [OM_I32] = "TYPE_INT32",
    [OM_I16] = "TYPE_INT16", [OM_I8] = "TYPE_INT8",   [OM_U8] = "TYPE_UINT8",
    [OM_BOOL] = "TYPE_BOOL",
};

static const om_dim *dims_of(const struct om_graph *g, const struct om_port *p)
{
    return p->dims ? p->dims : g->values[p->val.id].dims;
}

/* Is the first axis one of varying length? Triton takes it for the batch then. */
static bool is_batched(const struct om_graph *g, const struct om_port *p)
{
    const om_dim *const dims = dims_of(g, p);

    return g->values[p->val.id].rank > 0 &&
           strcmp(om_dim_text(g->dims, dims[0]), "batch_size") == 0;
}

static bool all_batched(const struct om_graph *g)
{
    const struct om_block *const b = &g->blocks[0];
    bool all = true;

    for (size_t i = 0; i < g->n_inputs; i++)
        all = all && is_batched(g, &g->inputs[i]);
    for (size_t i = 0; i < b->n_outputs; i++)
        all = all && is_batched(g, &b->outputs[i]);
    return all;
}

static void put_quoted(struct om_buf *b, om_sv s)
{
    om_buf_addc(b, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '"' || s.ptr[i] == '\\')
            om_buf_addc(b, '\\');
        om_buf_addc(b, s.ptr[i]);
    }
    om_buf_addc(b, '"');
}

static int put_port(struct om_buf *b, const struct om_graph *g, const struct om_port *p,
                    bool batched, struct om_error *err)
{
    const struct om_value *const v = &g->values[p->val.id];
    const om_dim *const dims = dims_of(g, p);
    const char *const type = types[v->dtype];

    if (!type)
        return om_fail(err, OM_E_UNSUPPORTED, "\"%.*s\" is %s, which Triton does not know",
                       OM_SV(p->name), om_dtype_text(v->dtype));
    om_buf_adds(b, "  {\n    name: ");
    put_quoted(b, p->name);
    om_buf_printf(b, "\n    data_type: %s\n    dims: [", type);
    for (uint32_t i = batched ? 1 : 0; i < v->rank; i++) {
        int64_t n = -1;

        if (!om_dim_is_const(g->dims, dims[i], &n))
            n = -1;
        om_buf_printf(b, "%s %" PRId64, i > (batched ? 1u : 0u) ? "," : "", n);
    }
    if (v->rank == (batched ? 1u : 0u)) /* a number: Triton wants an axis */
        om_buf_adds(b, " 1 ]\n    reshape: { shape: [");
    om_buf_adds(b, v->rank == (batched ? 1u : 0u) ? " ] }\n  }" : " ]\n  }");
    return 0;
}

static int put_ports(struct om_buf *b, const char *key, const struct om_graph *g,
                     const struct om_port *ports, size_t n, bool batched, struct om_error *err)
{
    om_buf_printf(b, "%s [\n", key);
    for (size_t i = 0; i < n; i++) {
        OM_TRY(put_port(b, g, &ports[i], batched, err));
        om_buf_adds(b, i + 1 < n ? ",\n" : "\n");
    }
    om_buf_adds(b, "]\n");
    return 0;
}

/* The last component of the directory, which is what Triton calls the model. */
static int put_name(struct om_buf *b, const char *dir, struct om_error *err)
{
    char *const path = realpath(dir, NULL);

    if (!path)
        return om_fail(err, OM_E_IO, "%s: it is not there any more", dir);
    om_buf_adds(b, "name: ");
    put_quoted(b, om_sv_str(strrchr(path, '/') + 1));
    om_buf_addc(b, '\n');
    free(path);
    return 0;
}

static int put_config(const struct om_job *job, struct om_buf *b, struct om_error *err)
{
    const struct om_graph *const g = job->files[0].lowered;
    const bool batched = all_batched(g);

    OM_TRY(put_name(b, job->repository, err));
    om_buf_adds(b, "backend: \"onnxruntime\"\n");
    om_buf_printf(b, "default_model_filename: \"%s\"\n", om_part_file(job->files[0].part));
    om_buf_printf(b, "max_batch_size: %d\n", batched ? BATCH_MAX : 0);
    OM_TRY(put_ports(b, "input", g, g->inputs, g->n_inputs, batched, err));
    OM_TRY(put_ports(b, "output", g, g->blocks[0].outputs, g->blocks[0].n_outputs, batched, err));
    if (batched)
        om_buf_adds(b, "dynamic_batching { }\n");
    return om_buf_check(b, err);
}

int om_job_triton_open(struct om_job *job, struct om_export_opts *opts, struct om_error *err)
{
    job->repository = opts->out_dir;
    opts->out_dir = om_path_join(&job->arena, opts->out_dir, VERSION_DIR);
    return opts->out_dir ? 0 : om_fail(err, OM_E_NOMEM, "out of memory");
}

int om_job_triton_check(const struct om_job *job, struct om_error *err)
{
    if (job->n_files == 1)
        return 0;
    return om_fail(err, OM_E_UNSUPPORTED,
                   "--triton is for models of one file: this export has %zu; --monolith makes one, "
                   "without a cache",
                   job->n_files);
}

int om_job_triton_write(struct om_job *job, struct om_error *err)
{
    struct om_buf text = OM_BUF_INIT(1u << 24);
    struct om_out out = OM_OUT_INIT;
    int rc = put_config(job, &text, err);

    if (rc == 0)
        rc = om_out_open(&out, job->repository, "config.pbtxt", job->ctx, err);
    if (rc == 0)
        rc = om_out_write(&out, text.ptr, text.len, err);
    if (rc == 0)
        rc = om_out_commit(&out, job->opts->durable, err);
    om_out_abort(&out);
    om_buf_release(&text);
    return rc;
}
