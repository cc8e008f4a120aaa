/* src/export/resolve.c: from the options to what is exported: directory, library, configuration,
 * architecture, task. */
#include "export/job.h"
#include "lower/lower.h"

static const char *const libraries[] = { "transformers", "sentence_transformers", "diffusers",
                                         "timm", NULL };

static bool has_file(struct om_job *job, const char *name)
{
    const char *path = om_path_join(&job->arena, job->model, name);

    return path != NULL && om_file_exists(path);
}

/* The library by the directory's files, in the order in which Optimum looks. */
static const char *infer_library(struct om_job *job)
{
    if (has_file(job, "model_index.json"))
        return "diffusers";
    if (om_sentence_detect(job->model))
        return "sentence_transformers";
    return "transformers";
}

/* ---- where the model is ---- */

static int find_local(struct om_job *job, struct om_error *err)
{
    const struct om_export_opts *o = job->opts;

    if (o->revision != NULL)
        return om_fail(err, OM_E_USAGE,
                       "--revision %s is for models from the Hub; %s is a local directory",
                       o->revision, o->model);
    job->model = o->model;
    if (o->subfolder != NULL && o->subfolder[0] != '\0')
        job->model = om_path_join(&job->arena, o->model, o->subfolder);
    if (job->model == NULL)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    if (!om_dir_exists(job->model))
        return om_fail(err, OM_E_MISSING, "%s: no such directory", job->model);
    return 0;
}

static int find_on_hub(struct om_job *job, struct om_error *err)
{
    const struct om_export_opts *o = job->opts;
    const struct om_hub_opts opts = {
        .id = o->model,
        .revision = o->revision,
        .subfolder = o->subfolder,
        .cache_dir = o->cache_dir,
        .token = o->token,
        .local_files_only = o->local_files_only,
        .force_download = o->force_download,
        .companions = om_companion_files,
        .ctx = job->ctx,
    };

    OM_TRY(om_hub_open(&opts, &job->hub, err));
    job->model = om_hub_dir(job->hub);
    return 0;
}

static bool is_path_like(const char *model)
{
    const om_sv s = om_sv_str(model);

    return model[0] == '/' || model[0] == '.' || model[0] == '~' || om_sv_ends(s, OM_SVL("/"));
}

static int find_model(struct om_job *job, struct om_error *err)
{
    const char *model = job->opts->model, *problem = om_hub_id_problem(model);

    if (om_hub_in_snapshot(job->opts->out_dir))
        return om_fail(err, OM_E_USAGE,
                       "%s lies in a snapshot of the Hub's cache, where nothing may be written: "
                       "choose another OUTPUT",
                       job->opts->out_dir);
    if (om_dir_exists(model))
        return find_local(job, err);
    if (om_file_exists(model))
        return om_fail(err, OM_E_MISSING, "%s: is a file; --model takes the checkpoint's directory",
                       model);
    if (is_path_like(model))
        return om_fail(err, OM_E_MISSING, "%s: no such directory", model);
    if (problem != NULL)
        return om_fail(err, OM_E_MISSING,
                       "%s: no such directory, and no id of a model on the Hub: %s", model,
                       problem);
    return find_on_hub(job, err);
}

static int resolve_library(struct om_job *job, struct om_error *err)
{
    const char *library = job->opts->library;
    const char *nearest;

    if (library == NULL)
        library = infer_library(job);
    if (strcmp(library, "transformers") == 0) {
        job->dir = job->model;
        return 0;
    }
    if (strcmp(library, "sentence_transformers") == 0) {
        if (!om_sentence_detect(job->model))
            return om_fail(err, OM_E_MISSING,
                           "%s: not a sentence-transformers model: it has no modules.json",
                           job->opts->model);
        OM_TRY(om_sentence_open(&job->arena, job->model, &job->sentence, err));
        job->dir = om_sentence_transformer_dir(job->sentence);
        return 0;
    }
    if (strcmp(library, "diffusers") == 0 || strcmp(library, "timm") == 0)
        return om_fail(err, OM_E_UNSUPPORTED, "%s: models of the library %s cannot be exported yet",
                       job->opts->model, library);
    nearest = om_sv_nearest(om_sv_str(library), libraries);
    return om_fail(err, OM_E_USAGE,
                   "unknown library \"%s\"%s%s%s (known: transformers, sentence_transformers)",
                   library, nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                   nearest ? "\"?" : "");
}

static int resolve_arch(struct om_job *job, struct om_error *err)
{
    const char *names[512];
    const char *type = job->config.model_type;
    const char *nearest;
    size_t n = 0;

    job->arch.arch = om_arch_find_in(job->ctx, type);
    if (job->arch.arch != NULL)
        return 0;
    for (; n < om_arch_count && n + 1 < OM_COUNT(names); n++)
        names[n] = om_archs[n].model_type;
    names[n] = NULL;
    nearest = om_sv_nearest(om_sv_str(type), names);
    return om_fail(
        err, OM_E_UNSUPPORTED,
        "%s: model type \"%s\" is not supported%s%s%s; `optimum-cli export onnx --list` shows "
        "those that are",
        job->config.path, type, nearest ? " (the nearest that is: \"" : "", nearest ? nearest : "",
        nearest ? "\")" : "");
}

static const struct om_task *task_named(const char *name)
{
    bool past;

    return om_task_parse(om_sv_str(name), &past);
}

static int fail_unknown_task(struct om_job *job, struct om_error *err)
{
    const om_sv suffix = OM_SVL("-with-past"), name = om_sv_str(job->opts->task);
    const bool past = om_sv_ends(name, suffix);
    const om_sv plain = { name.ptr, past ? name.len - suffix.len : name.len };
    const char *nearest = om_task_nearest(name);

    if (nearest == NULL)
        return om_fail(err, OM_E_USAGE,
                       "unknown task \"%s\"; `optimum-cli export onnx --list` shows the tasks of "
                       "every model type",
                       name.ptr);
    if (past && om_sv_is(plain, nearest))
        return om_fail(
            err, OM_E_USAGE,
            "the task \"%s\" has no form \"%s\": nothing in it is generated step by step", nearest,
            name.ptr);
    return om_fail(err, OM_E_USAGE, "unknown task \"%s\"; did you mean \"%s%s\"?", name.ptr,
                   nearest, past && task_named(nearest)->cache ? suffix.ptr : "");
}

static int fail_task_not_offered(struct om_job *job, const char *name, struct om_error *err)
{
    const char *const *tasks = om_arch_tasks(&job->arena, job->arch.arch);
    struct om_buf list = OM_BUF_INIT(1 << 16);
    int rc;

    for (; tasks != NULL && *tasks != NULL; tasks++)
        om_buf_printf(&list, "%s%s", list.len > 0 ? ", " : "", *tasks);
    rc = om_fail(err, OM_E_UNSUPPORTED,
                 "%s models cannot be exported for the task \"%s\"%s; supported: %.*s",
                 job->config.model_type, name, job->detected ? " (auto-detected)" : "",
                 OM_SV(om_buf_sv(&list)));
    om_buf_release(&list);
    return rc;
}

/* The task that the Hub's entry names, when the architecture has it. */
static const struct om_task *task_of_hub(struct om_job *job)
{
    const struct om_task *task =
        job->hub != NULL ? task_named(om_hub_pipeline_tag(job->hub)) : NULL;

    return task != NULL && om_arch_has_task(job->arch.arch, task) ? task : NULL;
}

/* The decoder that Optimum would make up for a T5EncoderModel has random weights. */
static bool is_encoder_only(const struct om_job *job)
{
    const char *const *classes = job->config.architectures;

    return job->arch.arch->kind == OM_ARCH_SEQ2SEQ && job->sentence == NULL &&
           job->arch.task->head == OM_HEAD_HIDDEN && classes != NULL && classes[0] != NULL &&
           om_sv_ends(om_sv_str(classes[0]), OM_SVL("EncoderModel"));
}

/* The task of the Hub's entry, else of the class in config.json; the headless model when there is
 * none that this program exports. */
static void detect_task(struct om_job *job)
{
    const char *const *classes = job->config.architectures;

    job->detected = true;
    job->arch.task = job->sentence == NULL ? task_of_hub(job) : NULL;
    for (; job->sentence == NULL && classes != NULL && *classes != NULL && job->arch.task == NULL;
         classes++)
        job->arch.task = om_task_of_class(om_sv_str(*classes));
    /* "ForConditionalGeneration" of a model that is a decoder with something beside it */
    if (job->arch.task != NULL && job->arch.task->head == OM_HEAD_SEQ2SEQ_LM &&
        job->arch.arch->kind == OM_ARCH_DECODER)
        job->arch.task = om_task_by_head(OM_HEAD_CAUSAL_LM);
    if (job->arch.task == NULL || !om_arch_has_task(job->arch.arch, job->arch.task))
        job->arch.task = task_named("feature-extraction");
    job->arch.past = job->sentence == NULL && !job->opts->monolith && !is_encoder_only(job) &&
                     om_arch_has_past(job->arch.arch, job->arch.task);
}

static void log_detected(struct om_job *job)
{
    struct om_buf synonyms = OM_BUF_INIT(1 << 12);

    om_task_synonyms(job->arch.task, &synonyms);
    om_log(job->ctx, OM_LOG_INFO, "Automatic task detection to %s%s%s%.*s%s.", job->arch.task->name,
           job->arch.past ? "-with-past" : "", synonyms.len > 0 ? " (possible synonyms are: " : "",
           OM_SV(om_buf_sv(&synonyms)), synonyms.len > 0 ? ")" : "");
    om_buf_release(&synonyms);
}

/* --decoder needs a decoder that is a file of its own and has a cache. */
static int check_decoder_form(struct om_job *job, const char *task, struct om_error *err)
{
    const struct om_arch_job *a = &job->arch;

    if (job->opts->decoder == OM_DECODER_ALL ||
        (a->past && job->sentence == NULL && om_arch_two_sided(a)))
        return 0;
    return om_fail(err, OM_E_USAGE,
                   "--decoder is for encoder-decoders and their tasks that end in -with-past: the "
                   "task %s of %s has no decoder with a cache in a file of its own",
                   task, job->config.model_type);
}

/* Combinations that have no meaning, in Optimum's order. */
static int check_task(struct om_job *job, struct om_error *err)
{
    const struct om_arch_job *a = &job->arch;
    const char *suffix = a->past ? "-with-past" : "";
    const char *name = om_arena_printf(&job->arena, "%s%s", a->task->name, suffix);

    if (name == NULL)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    if (a->past && job->opts->monolith)
        return om_fail(
            err, OM_E_USAGE,
            "the task %s is not compatible with --monolith: use `--task %s --monolith`, or "
            "`--task %s` without --monolith",
            name, a->task->name, name);
    if (a->arch->kind == OM_ARCH_SEQ2SEQ && a->task->head == OM_HEAD_CAUSAL_LM &&
        (job->config.is_encoder_decoder || !om_arch_has_task(a->arch, a->task)))
        return om_fail(err, OM_E_UNSUPPORTED,
                       "%s is an encoder-decoder, which is incompatible with the task %s; use "
                       "text2text-generation",
                       job->config.model_type, name);
    if (job->sentence != NULL && (a->past || a->task->head != OM_HEAD_HIDDEN))
        return om_fail(
            err, OM_E_UNSUPPORTED,
            "a sentence-transformers model is exported for feature-extraction, not for %s (use "
            "--library-name transformers to export the bare transformer)",
            name);
    if (a->encoder_only && a->past)
        return om_fail(err, OM_E_UNSUPPORTED,
                       "the task %s needs a decoder, and %s was saved from a %s; use %s", name,
                       job->config.path, job->config.architectures[0], a->task->name);
    if (!om_arch_has_task(a->arch, a->task) || (a->past && !om_arch_has_past(a->arch, a->task)))
        return fail_task_not_offered(job, name, err);
    return check_decoder_form(job, name, err);
}

/* The option's padding token, else the configuration's, else, where one is needed, the tokenizer's.
 */
static int resolve_pad_token(struct om_job *job, struct om_error *err)
{
    int64_t id = job->opts->pad_token_id;
    const int64_t *by_class = job->arch.arch->pad_token_id;
    bool needed = job->arch.arch->kind == OM_ARCH_DECODER &&
                  job->arch.task->head == OM_HEAD_SEQUENCE && job->config.pad_token_id < 0;

    if (id < 0 && needed && by_class && !om_json_get(job->config.doc, "pad_token_id")) {
        job->config.pad_token_id = *by_class;
        needed = false;
    }
    if (id < 0 && needed)
        OM_TRY(om_pad_token_find(job, &id, err));
    job->pad_given = id >= 0;
    if (job->pad_given)
        job->config.pad_token_id = id;
    else if (needed)
        return om_fail(
            err, OM_E_CONFIG,
            "%s: no pad_token_id, which text-classification with %s needs to find the last "
            "token, and none in the tokenizer's files; give it with --pad_token_id",
            job->config.path, job->config.model_type);
    return 0;
}

static int resolve_task(struct om_job *job, struct om_error *err)
{
    const char *task = job->opts->task;

    if (task == NULL || strcmp(task, "auto") == 0) {
        detect_task(job);
        log_detected(job);
    } else {
        job->arch.task = om_task_parse(om_sv_str(task), &job->arch.past);
        if (job->arch.task == NULL)
            return fail_unknown_task(job, err);
    }
    job->arch.encoder_only = is_encoder_only(job);
    OM_TRY(check_task(job, err));
    return resolve_pad_token(job, err);
}

int om_job_resolve(struct om_job *job, struct om_error *err)
{
    void *cfg;

    job->opset = job->opts->opset != 0 ? job->opts->opset : OM_OPSET_DEFAULT;
    OM_TRY(find_model(job, err));
    OM_TRY(resolve_library(job, err));
    OM_TRY(om_config_open(&job->arena, job->dir, &job->config, err));
    OM_TRY(resolve_arch(job, err));
    OM_TRY(resolve_task(job, err));
    OM_TRY(om_arch_config(&job->arena, job->arch.arch, &job->config, &cfg, err));
    OM_TRY(om_job_read_scheme(job, err));
    if (job->hub != NULL)
        OM_TRY(
            om_hub_weights(job->hub, err)); /* not before it is known that they can be exported */
    OM_TRY(om_ckpt_open(&job->arena, job->dir, &job->ckpt, err));
    OM_TRY(om_job_open_packed(job, err));
    job->arch.cfg = cfg;
    job->arch.config = &job->config;
    job->arch.ckpt = job->ckpt;
    job->arch.ctx = job->ctx;
    if (job->opset < OM_OPSET_DEFAULT)
        om_log(job->ctx, OM_LOG_WARNING,
               "Opset %d is lower than the recommended minimum opset (%d) to export %s.",
               job->opset, OM_OPSET_DEFAULT, job->config.model_type);
    return 0;
}
