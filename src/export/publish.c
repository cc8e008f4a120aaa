/* src/export/publish.c: the files of an export, from hidden names to final ones.
 *
 * Order matters: the models that will be replaced go first, then weights and configuration get
 * their names, the models last. Whenever the program stops, no model lies beside weights that are
 * not its own. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "export/job.h"
#include "quant/quant.h"
#include "tok/convert.h"

#include <optimum/version.h>

#define SMALL_FILE_MAX ((size_t)256 << 20)

static int oom(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

static struct om_job_aside *add_aside(struct om_job *job)
{
    struct om_job_aside *aside;

    if (!om_grow(&job->asides, &job->cap_asides, job->n_asides + 1, sizeof(struct om_job_aside *)))
        return NULL;
    aside = calloc(1, sizeof(*aside)); /* not of the arena, which is rewound now and then */
    if (!aside)
        return NULL;
    aside->out = (struct om_out)OM_OUT_INIT;
    job->asides[job->n_asides++] = aside;
    return aside;
}

/* ---- weights ---- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

/* The file beside the models must lie there itself: ONNX Runtime reads no external data through a
 * link that leaves the model's directory, which is how the Hub's cache stores a checkpoint. */
static int check_in_place(const struct om_job *job, const char *target, struct om_error *err)
{
    char *file = realpath(target, NULL), *dir = realpath(job->opts->out_dir, NULL);
    const size_t len = dir != NULL ? strlen(dir) : 0;
    int rc = 0;

    if (file == NULL || dir == NULL)
        rc = om_fail(err, OM_E_IO, "%s: %s", target, strerror(errno));
    else if (strncmp(file, dir, len) != 0 || file[len] != '/')
        rc = om_fail(
            err, OM_E_UNSUPPORTED,
            "%s is a link to %s, outside of the output directory, where ONNX Runtime would not "
            "read it: choose another OUTPUT, or --weights embedded",
            target, file);
    free(file);
    free(dir);
    return rc;
}

/* The checkpoint's file beside the models: already there, a reflink, or a copy. */
static int stage_weights_file(struct om_job *job, const struct om_file *file, struct om_error *err)
{
    const char *name = base_name(file->path);
    const char *target = om_path_join(&job->arena, job->opts->out_dir, name);
    struct om_job_aside *aside;

    if (target == NULL)
        return oom(err);
    OM_TRY(om_onnx_data_alias(job->data, file, name, err));
    if (om_file_same(file->path, target))
        return check_in_place(job, target, err);
    aside = add_aside(job);
    if (aside == NULL)
        return oom(err);
    aside->weights = true;
    OM_TRY(om_out_open(&aside->out, job->opts->out_dir, name, job->ctx, err));
    return om_out_clone(&aside->out, file, err);
}

static int stage_data(struct om_job *job, struct om_error *err)
{
    if (job->weights == OM_WEIGHTS_EMBEDDED || job->variants)
        return 0;
    OM_TRY(om_out_open(&job->data_out, job->opts->out_dir, job->data_name, job->ctx, err));
    OM_TRY(om_onnx_data_new(&job->arena, &job->data_out, job->data_name, &job->data, err));
    /* Of other formats nothing can be read in place: all weights go to the data file. */
    if (job->weights != OM_WEIGHTS_SAFETENSORS || job->ckpt->format != OM_CKPT_SAFETENSORS)
        return 0;
    for (size_t i = 0; i < job->ckpt->file_count; i++)
        OM_TRY(stage_weights_file(job, &job->ckpt->files[i], err));
    return 0;
}

/* Files are written by way of a document. */
static bool is_changed(const struct om_job *job)
{
    return job->quantize != NULL || job->opts->optimize != NULL;
}

static int stage_model(struct om_job *job, struct om_job_file *f, struct om_error *err)
{
    const struct om_onnx_opts opts = {
        .opset = job->opset,
        .producer_version = OM_VERSION,
        .graph_name = "main_graph",
        .mode = job->weights,
        .ctx = job->ctx,
    };
    const char *name = om_part_file(f->part);

    OM_TRY(om_out_open(&f->out, job->opts->out_dir, name, job->ctx, err));
    if (job->variants && job->weights == OM_WEIGHTS_EXTERNAL) {
        OM_TRY(om_job_stage_split(job, f, &opts, err));
    } else if (is_changed(job)) {
        const struct om_quant_output o = {
            .name = name,
            .dir = job->opts->out_dir,
            .out = &f->out,
            .data = job->weights == OM_WEIGHTS_EMBEDDED ? NULL : &job->data_out,
            .location = job->data_name,
            .packed = job->packed,
            .report = job->report,
        };

        const struct om_quant_how how = { .optimize = job->optimize,
                                          .offline = job->opts->offline,
                                          .quantize = job->quantize };

        OM_TRY(om_quant_graph(job->ctx, &how, f->lowered, &opts, &o, err));
    } else {
        OM_TRY(om_onnx_write(f->lowered, &opts, &f->out, job->data, err));
    }
    return om_out_flush(&f->out, err);
}

/* Was anything written to model.onnx_data? */
static bool data_written(const struct om_job *job)
{
    if (is_changed(job))
        return job->weights != OM_WEIGHTS_EMBEDDED && job->data_out.pos > 0;
    return job->data != NULL && !om_onnx_data_empty(job->data);
}

/* ---- configuration and companions ---- */

int om_job_add_aside(struct om_job *job, const char *dir, const char *name,
                     struct om_job_aside **out, struct om_error *err)
{
    struct om_job_aside *aside = add_aside(job);

    if (aside == NULL)
        return oom(err);
    OM_TRY(om_out_open(&aside->out, dir, name, job->ctx, err));
    *out = aside;
    return 0;
}

static int stage_bytes(struct om_job *job, const char *name, om_sv bytes, struct om_error *err)
{
    struct om_job_aside *aside = NULL;

    OM_TRY(om_job_add_aside(job, job->companion_dir, name, &aside, err));
    return om_out_write(&aside->out, bytes.ptr, bytes.len, err);
}

/* The chat templates that have a directory of their own. */
static int stage_templates(struct om_job *job, struct om_error *err)
{
    const char *const dir = om_path_join(&job->arena, job->companion_dir, om_templates_dir);
    const char **names;
    size_t n;

    OM_TRY(om_templates_list(&job->arena, job->dir, &names, &n, err));
    if (n > 0)
        OM_TRY(dir ? om_dir_make(dir, err) : oom(err));
    for (size_t i = 0; i < n; i++) {
        const char *const path = om_path_join(&job->arena, job->dir, names[i]);
        struct om_job_aside *const aside = add_aside(job);
        om_sv bytes;

        if (path == NULL || aside == NULL)
            return oom(err);
        om_out_discard(dir, base_name(names[i]));
        OM_TRY(om_file_read(&job->arena, path, SMALL_FILE_MAX, &bytes, err));
        OM_TRY(om_out_open(&aside->out, dir, base_name(names[i]), job->ctx, err));
        OM_TRY(om_out_write(&aside->out, bytes.ptr, bytes.len, err));
    }
    return 0;
}

/* The dtype as config.json has it, by the key it has: a 16-bit checkpoint that is exported to
 * float32 is one no more, and Optimum writes what it loaded the model in. */
static size_t patch_dtype(const struct om_job *job, struct om_json_patch *patch)
{
    static const char *const texts[OM_DTYPE_COUNT] = {
        [OM_F32] = "\"float32\"", [OM_F16] = "\"float16\"", [OM_BF16] = "\"bfloat16\""
    };
    const char *text = texts[job->arch.compute];
    const bool old =
        !om_json_get(job->config.doc, "dtype") && om_json_get(job->config.doc, "torch_dtype");
    const char *key = old ? "torch_dtype" : "dtype";

    if (!om_json_get(job->config.doc, key) && job->arch.compute == OM_F32)
        return 0;
    *patch = (struct om_json_patch){ key, text };
    return 1;
}

/* config.json with the values that the export decides: the dtype, use_cache as Optimum sets it, a
 * given pad token, and null for what moved to generation_config.json. */
static int stage_config(struct om_job *job, const struct om_generation *g, struct om_error *err)
{
    struct om_json_patch patches[4 + OM_GENERATION_MAX];
    struct om_buf text = OM_BUF_INIT(SMALL_FILE_MAX);
    char pad[32];
    size_t n = 0;
    int rc;

    n += patch_dtype(job, &patches[n]);
    if (job->sentence == NULL && job->arch.arch->kind != OM_ARCH_ENCODER &&
        om_arch_has_past(job->arch.arch, job->arch.task))
        patches[n++] = (struct om_json_patch){ "use_cache", job->arch.past ? "true" : "false" };
    if (job->pad_given) {
        snprintf(pad, sizeof(pad), "%" PRId64, job->config.pad_token_id);
        patches[n++] = (struct om_json_patch){ "pad_token_id", pad };
    }
    if (job->variants) {
        const char *js = NULL;

        OM_TRY(om_job_variants_config(job, &js, err));
        if (js)
            patches[n++] = (struct om_json_patch){ "transformers.js_config", js };
    }
    for (size_t i = 0; i < g->n; i++)
        patches[n++] = (struct om_json_patch){ g->moved[i].key, "null" };
    rc = om_json_patch(job->config.text, patches, n, &text, err);
    if (rc == 0)
        rc = stage_bytes(job, "config.json", om_buf_sv(&text), err);
    else
        rc = om_wrap(err, rc, "%s", job->config.path);
    om_buf_release(&text);
    return rc;
}

/* A checkpoint without generation_config.json: what GenerationConfig.from_model_config takes out of
 * config.json. */
static void derive_generation_config(const struct om_job *job, struct om_buf *text)
{
    static const char *const keys[] = { "bos_token_id",        "decoder_start_token_id",
                                        "eos_token_id",        "forced_bos_token_id",
                                        "forced_eos_token_id", "pad_token_id" };

    om_buf_adds(text, "{\n  \"_from_model_config\": true");
    for (size_t i = 0; i < OM_COUNT(keys); i++) {
        const struct om_json *v = om_json_get(job->config.doc, keys[i]);

        if (om_json_kind(v) == OM_JSON_NULL)
            continue;
        om_buf_printf(text, ",\n  \"%s\": ", keys[i]);
        om_json_write(text, v, 0);
    }
    if (!job->arch.past)
        om_buf_adds(text, ",\n  \"use_cache\": false");
    om_buf_adds(text, "\n}\n");
}

/* The checkpoint's generation_config.json, or the one derived, with what moved there. */
static int stage_generation_config(struct om_job *job, const struct om_generation *g,
                                   struct om_error *err)
{
    static const char name[] = "generation_config.json";
    struct om_buf derived = OM_BUF_INIT(1 << 20), text = OM_BUF_INIT(SMALL_FILE_MAX);
    const char *path = om_path_join(&job->arena, job->dir, name);
    om_sv base;
    int rc;

    if (path == NULL)
        return oom(err);
    if (om_file_exists(path)) {
        rc = om_file_read(&job->arena, path, SMALL_FILE_MAX, &base, err);
    } else {
        derive_generation_config(job, &derived);
        rc = om_buf_check(&derived, err);
        base = om_buf_sv(&derived);
    }
    if (rc == 0 && g->n > 0) {
        rc = om_wrap(err, om_json_patch(base, g->moved, g->n, &text, err), "%s", path);
        base = om_buf_sv(&text);
    }
    if (rc == 0)
        rc = stage_bytes(job, name, base, err);
    om_buf_release(&derived);
    om_buf_release(&text);
    return rc;
}

static int stage_ort_config(struct om_job *job, struct om_error *err)
{
    struct om_buf text = OM_BUF_INIT(1u << 20);
    int rc;

    om_quant_config_write(job->quantize, job->optimize, job->weights == OM_WEIGHTS_EXTERNAL, &text);
    rc = om_buf_check(&text, err);
    if (rc == 0)
        rc = stage_bytes(job, "ort_config.json", om_buf_sv(&text), err);
    om_buf_release(&text);
    return rc;
}

static int stage_copy(struct om_job *job, const char *name, struct om_error *err)
{
    const char *path = om_path_join(&job->arena, job->dir, name);
    struct om_mark mark;
    om_sv bytes;
    int rc;

    if (path == NULL)
        return oom(err);
    if (!om_file_exists(path))
        return 0;
    mark = om_arena_mark(&job->arena);
    rc = om_file_read(&job->arena, path, SMALL_FILE_MAX, &bytes, err);
    if (rc == 0)
        rc = stage_bytes(job, name, bytes, err);
    om_arena_rewind(&job->arena, mark);
    return rc;
}

/* A checkpoint with older files only: tokenizer.json where these make one. */
static int stage_tokenizer(struct om_job *job, struct om_error *err)
{
    const char *path = om_path_join(&job->arena, job->dir, "tokenizer.json");
    struct om_arena a = OM_ARENA_INIT(SIZE_MAX / 2);
    struct om_buf json = OM_BUF_INIT(SIZE_MAX / 2);
    int rc = 0;

    if (path == NULL)
        return oom(err);
    if (!om_file_exists(path) && tok_can_convert(&a, job->dir)) {
        rc = tok_convert_dir(&a, job->dir, TOK_CONVERT_PORTABLE, &json, NULL);
        if (rc == 0)
            rc = stage_bytes(job, "tokenizer.json", om_buf_sv(&json), err);
        else /* the files are copied all the same */
            rc = rc == OM_E_NOMEM ? oom(err) : 0;
    }
    om_buf_release(&json);
    om_arena_release(&a);
    return rc;
}

static bool generates(const struct om_task *task)
{
    return task->head == OM_HEAD_CAUSAL_LM || task->head == OM_HEAD_SEQ2SEQ_LM;
}

static int stage_companions(struct om_job *job, struct om_error *err)
{
    struct om_generation g = { .n = 0 };

    if (job->in_place)
        return 0;
    if (generates(job->arch.task)) {
        OM_TRY(om_generation_find(job, &g, err));
        OM_TRY(stage_generation_config(job, &g, err));
    } else {
        OM_TRY(stage_copy(job, "generation_config.json", err));
    }
    OM_TRY(stage_config(job, &g, err));
    for (const char *const *name = om_companion_files; *name != NULL; name++)
        OM_TRY(stage_copy(job, *name, err));
    OM_TRY(stage_templates(job, err));
    return stage_tokenizer(job, err);
}

/* What a killed export left, also one of other parts or with its weights elsewhere. */
static void discard_leftovers(const struct om_job *job)
{
    const char *dir = job->opts->out_dir;

    for (int part = 0; part < OM_PART_COUNT; part++)
        om_out_discard(dir, om_part_file((enum om_part)part));
    om_out_discard(dir, OM_DATA_NAME);
    om_out_discard(dir, OM_GENAI_DATA_NAME);
    om_out_discard(dir, OM_DIVERGE_NAME);
    om_out_discard(job->companion_dir, "config.json");
    om_out_discard(job->companion_dir, "generation_config.json");
    om_out_discard(job->companion_dir, "ort_config.json");
    om_out_discard(job->companion_dir, "genai_config.json");
    for (const char *const *name = om_companion_files; *name != NULL; name++)
        om_out_discard(job->companion_dir, *name);
    for (size_t i = 0; i < job->ckpt->file_count; i++)
        om_out_discard(dir, base_name(job->ckpt->files[i].path));
}

int om_job_stage(struct om_job *job, struct om_error *err)
{
    OM_TRY(om_dir_make(job->opts->out_dir, err));
    discard_leftovers(job);
    job->in_place = om_file_same(job->dir, job->companion_dir);
    OM_TRY(stage_data(job, err));
    if (is_changed(job))
        OM_TRY(stage_ort_config(job, err));
    for (size_t i = 0; i < job->n_files; i++)
        OM_TRY(stage_model(job, &job->files[i], err));
    if (job->variants)
        OM_TRY(om_job_stage_variants(job, err));
    if (job->opts->genai)
        OM_TRY(om_job_genai_stage(job, err));
    return stage_companions(job, err);
}

/* ---- publishing ---- */

static int remove_file(struct om_job *job, const char *name, struct om_error *err)
{
    const char *path = om_path_join(&job->arena, job->opts->out_dir, name);

    if (path == NULL)
        return oom(err);
    if (unlink(path) < 0 && errno != ENOENT)
        return om_fail(err, OM_E_IO, "%s: cannot be removed: %s", path, strerror(errno));
    return 0;
}

static bool writes_part(const struct om_job *job, enum om_part part)
{
    for (size_t i = 0; i < job->n_files; i++)
        if (job->files[i].part == part)
            return true;
    return false;
}

/* New weights make every model that may point into the old ones invalid, also one this export does
 * not write. */
static bool replaces_weights(const struct om_job *job)
{
    for (size_t i = 0; i < job->n_asides; i++)
        if (job->asides[i]->weights)
            return true;
    return data_written(job);
}

static int remove_old_models(struct om_job *job, struct om_error *err)
{
    const bool all = replaces_weights(job);

    for (int part = 0; part < OM_PART_COUNT; part++)
        if (all || writes_part(job, (enum om_part)part))
            OM_TRY(remove_file(job, om_part_file((enum om_part)part), err));
    for (size_t i = 0; i < job->n_externals; i++)
        OM_TRY(remove_file(job, job->externals[i].name, err));
    return job->opts->genai ? 0 : remove_file(job, "genai_config.json", err);
}

int om_job_publish(struct om_job *job, struct om_error *err)
{
    const bool durable = job->opts->durable;

    OM_TRY(om_ctx_check(job->ctx, err));
    OM_TRY(remove_old_models(job, err));
    if (data_written(job))
        OM_TRY(om_out_commit(&job->data_out, durable, err));
    else
        om_out_abort(&job->data_out);
    for (int models = 0; models < 2; models++)
        for (size_t i = 0; i < job->n_asides; i++)
            if (job->asides[i]->model == (models == 1))
                OM_TRY(om_out_commit(&job->asides[i]->out, durable, err));
    for (size_t i = 0; i < job->n_files; i++)
        OM_TRY(om_out_commit(&job->files[i].out, durable, err));
    return 0;
}
