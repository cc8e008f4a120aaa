/* src/pipe/pipeline.c: opening a pipeline: task, model, tokenizer, and the parameters of its calls.
 */
#include "pipe/pipe.h"

#include <stdlib.h>

enum { BATCH_SIZE = 8, THREADS_MAX = 1024 };

static const struct pipe_task *const tasks[] = {
#define PIPE_TASK(name) &pipe_##name,
#include "pipe/tasks.def"
#undef PIPE_TASK
};

int pipe_no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory for a call of a pipeline");
}

/* ---- tasks ---- */

const char *om_pipeline_task_at(size_t i)
{
    return i < OM_COUNT(tasks) ? tasks[i]->name : NULL;
}

static const struct pipe_task *find_task(const char *name)
{
    for (size_t i = 0; name && i < OM_COUNT(tasks); i++) {
        if (strcmp(tasks[i]->name, name) == 0)
            return tasks[i];
        for (const char *const *alias = tasks[i]->aliases; *alias; alias++)
            if (strcmp(*alias, name) == 0)
                return tasks[i];
        if (tasks[i]->named && tasks[i]->named(name))
            return tasks[i];
    }
    return NULL;
}

const char *om_pipeline_task(const char *name)
{
    const struct pipe_task *const task = find_task(name);

    return task ? task->name : NULL;
}

static int unknown_task(const char *name, struct om_error *err)
{
    struct om_buf known = OM_BUF_INIT(1 << 16);
    int rc;

    for (size_t i = 0; i < OM_COUNT(tasks); i++)
        om_buf_printf(&known, "%s%s", i ? ", " : "", tasks[i]->name);
    rc = om_fail(err, OM_E_UNSUPPORTED, "there is no pipeline for task \"%s\", only for: %s",
                 name ? name : "", known.failed ? "..." : known.ptr);
    om_buf_release(&known);
    return rc;
}

/* ---- the tokenizer ---- */

static void set_id(struct pipe_tokenizer *t, const char *token, struct pipe_id *out)
{
    out->known = token && om_tokenizer_token_to_id(t->tok, token, strlen(token), &out->id);
}

static void tokenizer_init(struct pipe_tokenizer *t, const struct om_tokenizer *tok)
{
    const struct om_tokenizer_info *const info = om_tokenizer_get_info(tok);

    *t = (struct pipe_tokenizer){ .tok = tok,
                                  .max_length = info->model_max_length,
                                  .padding_side = info->padding_side,
                                  .truncation_side = info->truncation_side,
                                  .gives_type_ids = info->gives_type_ids,
                                  .mask_token = info->mask_token };
    set_id(t, info->pad_token, &t->pad);
    set_id(t, info->cls_token, &t->cls);
    set_id(t, info->mask_token, &t->mask);
    set_id(t, info->unk_token, &t->unk);
}

static int read_max_length(const struct pipe_reader *r, const struct om_json *v, void *params)
{
    struct pipe_tokenizer *const t = params;
    double length;

    if (!om_json_f64(v, &length) || !(length >= 0.0))
        return om_fail(r->err, OM_E_USAGE, "expected a number of tokens, found %s",
                       om_json_kind_text(v));
    t->max_length = length < 9e18 ? (uint64_t)length : UINT64_MAX;
    return 0;
}

static int read_side(const struct pipe_reader *r, const struct om_json *v, enum om_side *out)
{
    om_sv side = { "", 0 };

    om_json_str(v, &side);
    if (!om_sv_is(side, "left") && !om_sv_is(side, "right"))
        return om_fail(r->err, OM_E_USAGE, "expected \"left\" or \"right\"");
    *out = om_sv_is(side, "left") ? OM_SIDE_LEFT : OM_SIDE_RIGHT;
    return 0;
}

static int read_padding_side(const struct pipe_reader *r, const struct om_json *v, void *params)
{
    return read_side(r, v, &((struct pipe_tokenizer *)params)->padding_side);
}

static int read_truncation_side(const struct pipe_reader *r, const struct om_json *v, void *params)
{
    return read_side(r, v, &((struct pipe_tokenizer *)params)->truncation_side);
}

static int read_pad_token(const struct pipe_reader *r, const struct om_json *v, void *params)
{
    struct pipe_tokenizer *const t = params;
    om_sv token;

    if (!om_json_str(v, &token))
        return om_fail(r->err, OM_E_USAGE, "expected a token, found %s", om_json_kind_text(v));
    t->pad.known = om_tokenizer_token_to_id(t->tok, token.ptr, token.len, &t->pad.id);
    if (!t->pad.known)
        return om_fail(r->err, OM_E_USAGE, "the vocabulary has no token \"%.*s\"", OM_SV(token));
    return 0;
}

static int read_input_names(const struct pipe_reader *r, const struct om_json *v, void *params)
{
    struct pipe_tokenizer *const t = params;
    om_sv name;

    if (om_json_kind(v) != OM_JSON_ARRAY)
        return om_fail(r->err, OM_E_USAGE, "expected a list of names, found %s",
                       om_json_kind_text(v));
    t->gives_type_ids = false;
    for (size_t i = 0; i < om_json_len(v); i++)
        if (om_json_str(om_json_at(v, i), &name) && om_sv_is(name, "token_type_ids"))
            t->gives_type_ids = true;
    return 0;
}

static const struct pipe_param tokenizer_params[] = {
    { .key = "model_max_length", .kind = PIPE_PARAM_OTHER, .read = read_max_length },
    { .key = "padding_side", .kind = PIPE_PARAM_OTHER, .read = read_padding_side },
    { .key = "truncation_side", .kind = PIPE_PARAM_OTHER, .read = read_truncation_side },
    { .key = "pad_token", .kind = PIPE_PARAM_OTHER, .read = read_pad_token },
    { .key = "model_input_names", .kind = PIPE_PARAM_OTHER, .read = read_input_names },
    { .key = NULL },
};

/* ---- construction parameters ---- */

/* Those of fill-mask's calls, which have the same name there. */
static const struct pipe_param calling_params[] = {
    { .key = "truncation", .kind = PIPE_PARAM_IGNORED },
    { .key = "padding", .kind = PIPE_PARAM_IGNORED },
    { .key = "max_length", .kind = PIPE_PARAM_IGNORED },
    { .key = "pad_to_multiple_of", .kind = PIPE_PARAM_IGNORED },
    { .key = "stride", .kind = PIPE_PARAM_IGNORED },
    { .key = "add_special_tokens", .kind = PIPE_PARAM_IGNORED },
    { .key = NULL },
};

static const struct pipe_param init_params[] = {
    { .key = "tokenizer_kwargs", .kind = PIPE_PARAM_IGNORED }, /* read before the others */
    { .key = NULL },
};

static int read_init(struct om_pipeline *p, const char *init, struct om_error *err)
{
    const struct pipe_param *const for_tokenizer[] = {
        tokenizer_params, p->task == &pipe_fill_mask ? calling_params : NULL, NULL
    };
    const struct pipe_reader r = { p, &p->arena, err, NULL };
    const struct pipe_param *const for_task[] = { p->task->params, init_params, NULL };
    const struct om_json *kwargs;

    OM_TRY(om_json_parse(om_sv_str(init), OM_JSON_LAST_WINS, &p->init, err));
    if (om_json_kind(p->init) != OM_JSON_OBJECT)
        return om_fail(err, OM_E_USAGE, "expected an object, found %s", om_json_kind_text(p->init));
    OM_TRY(pipe_read_batch_size(p->init, &p->init_batch_size, err));
    kwargs = om_json_get(p->init, "tokenizer_kwargs");
    if (kwargs)
        OM_TRY(om_wrap(err, pipe_params_read(&r, kwargs, for_tokenizer, NULL, &p->t),
                       "key \"tokenizer_kwargs\""));
    return pipe_params_read(&r, p->init, for_task, p->task->takes, p->params);
}

/* ---- what the tasks ask ---- */

bool pipe_has_output(const struct om_pipeline *p, const char *name)
{
    const struct om_session *const s = om_model_session(p->model);

    for (size_t i = 0; i < om_session_output_count(s); i++)
        if (strcmp(om_session_output(s, i)->name, name) == 0)
            return true;
    return false;
}

int pipe_need_output(struct om_pipeline *p, size_t i, const char *name, struct om_error *err)
{
    const struct om_session *const s = om_model_session(p->model);

    if (!pipe_has_output(p, name))
        return om_fail(err, OM_E_USAGE, "%s: %s needs an output \"%s\", the model has \"%s\"%s",
                       om_model_get_info(p->model)->file, p->task->name, name,
                       om_session_output_count(s) ? om_session_output(s, 0)->name : "",
                       om_session_output_count(s) > 1 ? " and others" : "");
    p->outputs[i] = name;
    return 0;
}

const char *pipe_label(const struct om_pipeline *p, size_t id, struct om_error *err)
{
    const struct om_model_info *const info = om_model_get_info(p->model);

    if (id < (uint64_t)info->num_labels && info->labels[id])
        return info->labels[id];
    om_fail(err, OM_E_CONFIG, "%s/config.json: no label for class %zu in id2label", info->dir, id);
    return NULL;
}

/* ---- opening ---- */

int pipe_opts_copy(void *to, const void *from, size_t size, struct om_error *err)
{
    uint32_t given;

    if (!from)
        return 0;
    memcpy(&given, from, sizeof(given));
    if (given < sizeof(given))
        return om_fail(err, OM_E_USAGE, "the options were not set up with their INIT value");
    memcpy(to, from, OM_MIN(given, size));
    return 0;
}

static int copy_opts(const struct om_pipeline_opts *from, struct om_pipeline_opts *o,
                     struct om_error *err)
{
    *o = (struct om_pipeline_opts)OM_PIPELINE_OPTS_INIT;
    if (!from)
        return om_fail(err, OM_E_USAGE, "a pipeline needs options: at least its task");
    OM_TRY(pipe_opts_copy(o, from, sizeof(*o), err));
    if (o->batch_size > PIPE_BATCH_SIZE_MAX || o->threads > THREADS_MAX)
        return om_fail(err, OM_E_USAGE, "batch size %zu, %zu threads: at most %d and %d",
                       o->batch_size, o->threads, PIPE_BATCH_SIZE_MAX, THREADS_MAX);
    return 0;
}

static int check_init(struct om_pipeline *p, struct om_error *err)
{
    const struct pipe_reader r = { p, &p->arena, err, p->init };

    return p->task->check ? p->task->check(&r, p->params) : 0;
}

/* Model and tokenizer are there. */
static int set_up(struct om_pipeline *p, const struct om_pipeline_opts *o, struct om_error *err)
{
    const struct om_model_info *const info = om_model_get_info(p->model);

    OM_TRY(om_json_parse(om_sv_str(info->config), OM_JSON_LAST_WINS, &p->config, err));
    p->params = om_arena_copy(&p->arena, p->task->defaults, p->task->params_size);
    if (!p->params)
        return pipe_no_memory(err);
    p->threads = OM_MAX(o->threads, 1);
    if (p->task->open)
        OM_TRY(p->task->open(p, err));
    if (o->init)
        OM_TRY(om_wrap(err, read_init(p, o->init, err), "parameters of the pipeline"));
    p->batch_size = o->batch_size        ? o->batch_size
                    : p->init_batch_size ? p->init_batch_size
                                         : BATCH_SIZE;
    return check_init(p, err);
}

static int pipeline_new(const struct om_pipeline_opts *o, struct om_pipeline **out,
                        struct om_error *err)
{
    const struct pipe_task *const task = find_task(o->task);
    struct om_pipeline *p;

    if (!task)
        return unknown_task(o->task, err);
    p = calloc(1, sizeof(*p));
    if (!p)
        return pipe_no_memory(err);
    om_arena_init(&p->arena, PIPE_ARENA_MAX);
    p->task = task;
    p->name = om_arena_str(&p->arena, om_sv_str(o->task));
    if (!p->name) {
        om_pipeline_free(p);
        return pipe_no_memory(err);
    }
    *out = p;
    return 0;
}

static int open_model(struct om_ctx *ctx, struct om_pipeline *p, const struct om_pipeline_opts *o,
                      struct om_error *err)
{
    struct om_model_opts m = OM_MODEL_OPTS_INIT;
    struct om_session_opts session = OM_SESSION_OPTS_INIT;

    OM_TRY(pipe_opts_copy(&m, o->model_opts, sizeof(m), err));
    m.struct_size = sizeof(m);
    m.model = o->model;
    m.model_class = p->task->model_class;
    m.task = NULL;
    if (m.export_cache == OM_EXPORT_CACHE_DEFAULT)
        m.export_cache = OM_EXPORT_CACHE_YES;
    if (!m.session && o->threads > 1) { /* batches share the CPUs as they are */
        session.intra_op_threads = 1;
        m.session = &session;
    }
    OM_TRY(om_model_open(ctx, &m, &p->own_model, err));
    p->model = p->own_model;
    return 0;
}

static int open_tokenizer(struct om_ctx *ctx, struct om_pipeline *p,
                          const struct om_pipeline_opts *o, struct om_error *err)
{
    struct om_tokenizer_opts t = OM_TOKENIZER_OPTS_INIT;

    if (!o->tokenizer)
        return om_tokenizer_open(om_model_get_info(p->model)->dir, &p->own_tokenizer, err);
    t.tokenizer = o->tokenizer;
    if (o->model_opts) {
        t.cache_dir = o->model_opts->cache_dir;
        t.token = o->model_opts->token;
        t.local_files_only = o->model_opts->local_files_only;
        t.force_download = o->model_opts->force_download;
    }
    return om_tokenizer_from_pretrained(ctx, &t, &p->own_tokenizer, err);
}

int om_pipeline_open(struct om_ctx *ctx, const struct om_pipeline_opts *opts,
                     struct om_pipeline **out, struct om_error *err)
{
    struct om_pipeline_opts o;
    struct om_pipeline *p = NULL;
    int rc;

    OM_TRY(copy_opts(opts, &o, err));
    OM_TRY(pipeline_new(&o, &p, err));
    p->ctx = ctx;
    rc = open_model(ctx, p, &o, err);
    if (rc == 0)
        rc = om_wrap(err, open_tokenizer(ctx, p, &o, err), "tokenizer");
    if (rc == 0) {
        tokenizer_init(&p->t, p->own_tokenizer);
        rc = set_up(p, &o, err);
    }
    p->ctx = NULL;
    if (rc == 0)
        *out = p;
    else
        om_pipeline_free(p);
    return rc;
}

int om_pipeline_wrap(const struct om_pipeline_opts *opts, const struct om_model *model,
                     const struct om_tokenizer *tokenizer, struct om_pipeline **out,
                     struct om_error *err)
{
    struct om_pipeline_opts o;
    struct om_pipeline *p = NULL;
    int rc;

    OM_TRY(copy_opts(opts, &o, err));
    if (!model || !tokenizer)
        return om_fail(err, OM_E_USAGE, "a pipeline needs a model and a tokenizer");
    OM_TRY(pipeline_new(&o, &p, err));
    p->model = model;
    tokenizer_init(&p->t, tokenizer);
    rc = set_up(p, &o, err);
    if (rc == 0)
        *out = p;
    else
        om_pipeline_free(p);
    return rc;
}

void om_pipeline_free(struct om_pipeline *p)
{
    if (!p)
        return;
    if (p->task->close)
        p->task->close(p);
    om_tokenizer_free(p->own_tokenizer);
    om_model_free(p->own_model);
    om_json_free(p->init);
    om_json_free(p->config);
    om_arena_release(&p->arena);
    free(p);
}

const char *om_pipeline_get_task(const struct om_pipeline *p)
{
    return p->task->name;
}

const struct om_model *om_pipeline_model(const struct om_pipeline *p)
{
    return p->model;
}

const struct om_tokenizer *om_pipeline_tokenizer(const struct om_pipeline *p)
{
    return p->t.tok;
}
