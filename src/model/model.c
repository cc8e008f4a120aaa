/* src/model/model.c: opening a model, what it knows, running it. */
#include "model/internal.h"
#include "onnx/summary.h"

#include <stdlib.h>

#include "base/file.h"

#define MODEL_ARENA_MAX ((size_t)1 << 30)
#define RUN_ARENA_MAX ((size_t)16 << 30)

/* ---- labels ---- */

/* A label that is no string is written as JSON, as str() in Python nearly does. */
static int label_text(struct om_arena *a, const struct om_json *v, const char **out,
                      struct om_error *err)
{
    struct om_buf text = OM_BUF_INIT(1 << 20);
    om_sv s;

    if (!om_json_str(v, &s)) {
        om_json_write(&text, v, 0);
        s = om_buf_sv(&text);
    }
    *out = text.failed ? NULL : om_arena_str(a, s);
    om_buf_release(&text);
    return *out ? 0 : om_fail(err, OM_E_NOMEM, "out of memory for the labels");
}

static int read_labels(struct om_model *m, struct om_error *err)
{
    const struct om_json *id2label = om_json_get(m->config.doc, "id2label");
    const int64_t n = m->config.num_labels;
    const char **labels = n >= 0 ? om_arena_array(&m->arena, (size_t)n + 1, sizeof(*labels)) : NULL;
    struct om_json_iter it = { 0 };
    int64_t id;

    if (!labels)
        return om_fail(err, OM_E_NOMEM, "out of memory for %" PRId64 " labels", n);
    m->info.num_labels = n;
    m->info.labels = labels;
    if (om_json_kind(id2label) != OM_JSON_OBJECT) {
        for (id = 0; id < n; id++) {
            labels[id] = om_arena_printf(&m->arena, "LABEL_%" PRId64, id);
            if (!labels[id])
                return om_fail(err, OM_E_NOMEM, "out of memory for the labels");
        }
        return 0;
    }
    while (om_json_next(id2label, &it))
        if (om_sv_i64(it.key, &id) && id >= 0 && id < n)
            OM_TRY(label_text(&m->arena, it.value, &labels[id], err));
    return 0;
}

/* ---- opening ---- */

static int check_opts(const struct om_model_opts *o, struct om_error *err)
{
    if (!o->model || !o->model[0])
        return om_fail(err, OM_E_USAGE, "no model was given");
    if (o->model_class < OM_MODEL_CUSTOM || o->model_class > OM_MODEL_SEQ2SEQ_LM)
        return om_fail(err, OM_E_USAGE, "unknown class of models %d", (int)o->model_class);
    if (o->task && o->model_class != OM_MODEL_CUSTOM)
        return om_fail(err, OM_E_USAGE,
                       "task \"%s\": the class of the model decides its task; only "
                       "OM_MODEL_CUSTOM takes one",
                       o->task);
    if (o->file_name && o->model_class == OM_MODEL_SEQ2SEQ_LM)
        return om_fail(err, OM_E_USAGE,
                       "file name %s: an encoder-decoder has several files, whose names are "
                       "encoder_file_name, decoder_file_name and decoder_with_past_file_name",
                       o->file_name);
    return 0;
}

/* A caller compiled against an older header has a shorter struct: what it lacks keeps its default.
 */
static int copy_opts(struct om_model_opts *to, const struct om_model_opts *from,
                     struct om_error *err)
{
    *to = (struct om_model_opts)OM_MODEL_OPTS_INIT;
    if (from->struct_size < sizeof(from->struct_size))
        return om_fail(err, OM_E_USAGE, "the options were not set up with OM_MODEL_OPTS_INIT");
    memcpy(to, from, OM_MIN(from->struct_size, sizeof(*to)));
    return check_opts(to, err);
}

static int open_sessions(struct om_ctx *ctx, struct om_model *m, const struct om_model_opts *o,
                         const struct om_onnx_choice *files, struct om_error *err)
{
    if (files->encoder)
        OM_TRY(om_session_open(ctx, files->encoder, o->session, &m->encoder, err));
    OM_TRY(om_session_open(ctx, files->file, o->session, &m->session, err));
    if (files->with_past)
        OM_TRY(om_session_open(ctx, files->with_past, o->session, &m->with_past, err));
    return 0;
}

/* Does a node of the file attend over buffers of past and present keys? */
static int find_grouped(struct om_model *m, const char *file, struct om_error *err)
{
    struct om_arena a = OM_ARENA_INIT(MODEL_ARENA_MAX);
    struct om_onnx_summary summary = { 0 };
    struct om_file map = OM_FILE_INIT;
    int rc = om_file_map(&map, file, err);

    if (rc == 0)
        rc = om_wrap(err, om_onnx_summarize(&a, &map, &summary, err), "%s", file);
    for (size_t i = 0; rc == 0 && i < summary.n_ops; i++)
        m->info.grouped_attention |= om_sv_is(summary.ops[i].op, "GroupQueryAttention") &&
                                     om_sv_is(summary.ops[i].domain, "com.microsoft");
    om_file_unmap(&map);
    om_arena_release(&a);
    return rc;
}

static int open_place(struct om_ctx *ctx, struct om_model *m, const struct om_model_opts *o,
                      const struct om_model_place *place, struct om_error *err)
{
    OM_TRY(om_config_open(&m->arena, place->dir, &m->config, err));
    OM_TRY(open_sessions(ctx, m, o, &place->files, err));
    m->info = (struct om_model_info){
        .file = place->files.file,
        .dir = place->dir,
        .model_type = m->config.model_type,
        .problem_type = m->config.problem_type,
        .pad_token_id = m->config.pad_token_id,
        .config = m->config.text.ptr,
        .encoder_file = place->files.encoder,
        .decoder_with_past_file = place->files.with_past,
        .is_encoder_decoder =
            o->model_class == OM_MODEL_CAUSAL_LM ? false : m->config.is_encoder_decoder,
    };
    if (o->model_class == OM_MODEL_CAUSAL_LM)
        OM_TRY(find_grouped(m, place->files.file, err));
    return om_wrap(err, read_labels(m, err), "%s", m->config.path);
}

int om_model_open(struct om_ctx *ctx, const struct om_model_opts *opts, struct om_model **out,
                  struct om_error *err)
{
    struct om_model_opts o;
    struct om_model_place place = { 0 };
    struct om_model *m;
    int rc;

    OM_TRY(copy_opts(&o, opts, err));
    m = calloc(1, sizeof(*m));
    if (!m)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    om_arena_init(&m->arena, MODEL_ARENA_MAX);
    m->cached = (struct om_cache_entry)OM_CACHE_ENTRY_INIT;
    rc = om_model_locate(ctx, m, &o, &place, err);
    if (rc == 0)
        rc = open_place(ctx, m, &o, &place, err);
    if (rc == 0)
        *out = m;
    else
        om_model_free(m);
    return rc;
}

void om_model_free(struct om_model *m)
{
    if (!m)
        return;
    om_session_free(m->encoder);
    om_session_free(m->session);
    om_session_free(m->with_past);
    om_config_close(&m->config);
    if (m->temporary)
        om_model_remove_dir(m->temporary);
    om_cache_close(&m->cached);
    om_arena_release(&m->arena);
    free(m);
}

/* ---- what it knows ---- */

const struct om_model_info *om_model_get_info(const struct om_model *m)
{
    return &m->info;
}

struct om_session *om_model_session(const struct om_model *m)
{
    return m->session;
}

struct om_session *om_model_encoder(const struct om_model *m)
{
    return m->encoder;
}

struct om_session *om_model_decoder_with_past(const struct om_model *m)
{
    return m->with_past;
}

bool om_model_config_int(const struct om_model *m, const char *key, int64_t *out)
{
    return om_json_i64(om_json_get(m->config.doc, key), out);
}

bool om_model_config_real(const struct om_model *m, const char *key, double *out)
{
    return om_json_f64(om_json_get(m->config.doc, key), out);
}

bool om_model_config_bool(const struct om_model *m, const char *key, bool *out)
{
    return om_json_bool(om_json_get(m->config.doc, key), out);
}

/* ---- running ---- */

int om_model_run(const struct om_model *m, const struct om_tensor *inputs, size_t n_inputs,
                 struct om_results **out, struct om_error *err)
{
    struct om_arena a = OM_ARENA_INIT(RUN_ARENA_MAX);
    struct om_tensor *all = NULL;
    size_t n = 0;
    int rc = om_model_inputs(&a, m->session, inputs, n_inputs, &all, &n, err);

    if (rc < 0)
        rc = om_wrap(err, rc, "%s", m->info.file);
    else
        rc = om_session_run(m->session, all, n, out, err);
    om_arena_release(&a);
    return rc;
}
