/* src/arch/sentence.c: sentence-transformers models: modules.json lists what follows the
 * transformer; all of it becomes part of the graph. Inputs are input_ids and attention_mask alone,
 * as in the original. */
#include "arch/internal.h"

#include "base/file.h"
#include "ckpt/ckpt.h"

#include <math.h>

/* The order in which the switches of old configurations are concatenated. */
enum pooling {
    POOL_CLS,
    POOL_MAX,
    POOL_MEAN,
    POOL_MEAN_SQRT,
    POOL_WEIGHTED,
    POOL_LAST,
    POOL_COUNT
};

static const struct {
    const char *name, *old_switch;
} poolings[POOL_COUNT] = {
    [POOL_CLS] = { "cls", "pooling_mode_cls_token" },
    [POOL_MAX] = { "max", "pooling_mode_max_tokens" },
    [POOL_MEAN] = { "mean", "pooling_mode_mean_tokens" },
    [POOL_MEAN_SQRT] = { "mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens" },
    [POOL_WEIGHTED] = { "weightedmean", "pooling_mode_weightedmean_tokens" },
    [POOL_LAST] = { "lasttoken", "pooling_mode_lasttoken" },
};

enum kind { TRANSFORMER, POOLING, DENSE, NORMALIZE, LAYER_NORM, DROPOUT, KIND_COUNT };

/* The class is the last part of a path that changed with every release of the library. */
static const char *const kind_names[KIND_COUNT] = {
    [TRANSFORMER] = "Transformer", [POOLING] = "Pooling",      [DENSE] = "Dense",
    [NORMALIZE] = "Normalize",     [LAYER_NORM] = "LayerNorm", [DROPOUT] = "Dropout",
};

struct module {
    enum kind kind;
    const char *path; /* in the directory; "" is the directory itself */
    const char *dir;
    struct om_ckpt *ckpt; /* DENSE and LAYER_NORM */
    enum pooling *modes;  /* POOLING, in output order */
    size_t n_modes;
    bool bias; /* DENSE */
    enum om_act act;
    bool in_tokens, out_tokens; /* token embeddings instead of the sentence's */
};

struct om_sentence {
    struct module *modules;
    size_t len;
};

/* ---- reading ---- */

struct reader {
    struct om_arena *arena;
    const char *dir;
    struct om_error *err;
};

static int wrong(const struct reader *r, const char *key, const char *want,
                 const struct om_json *found)
{
    return om_fail(r->err, OM_E_CONFIG, "key \"%s\": expected %s, found %s", key, want,
                   found ? om_json_kind_text(found) : "nothing");
}

static int no_memory(const struct reader *r)
{
    return om_fail(r->err, OM_E_NOMEM, "out of memory");
}

static int pooling_named(const struct reader *r, const struct om_json *v, enum pooling *out)
{
    om_sv name;

    if (!om_json_str(v, &name))
        return wrong(r, "pooling_mode", "a string", v);
    for (int i = 0; i < POOL_COUNT; i++)
        if (om_sv_is(name, poolings[i].name)) {
            *out = i;
            return 0;
        }
    return om_fail(r->err, OM_E_UNSUPPORTED,
                   "key \"pooling_mode\": \"%.*s\" is none of cls, max, mean, "
                   "mean_sqrt_len_tokens, weightedmean, lasttoken",
                   OM_SV(name));
}

/* "pooling_mode": one name or a list of names. */
static int read_pooling_list(const struct reader *r, const struct om_json *v, struct module *m)
{
    const bool list = om_json_kind(v) == OM_JSON_ARRAY;
    const size_t n = list ? om_json_len(v) : 1;

    if (n == 0 || n > 64)
        return wrong(r, "pooling_mode", "1 to 64 names", v);
    m->modes = om_arena_array(r->arena, n, sizeof(*m->modes));
    if (!m->modes)
        return no_memory(r);
    for (size_t i = 0; i < n; i++)
        OM_TRY(pooling_named(r, list ? om_json_at(v, i) : v, &m->modes[i]));
    m->n_modes = n;
    return 0;
}

static int read_pooling(const struct reader *r, const struct om_json *doc, struct module *m)
{
    const struct om_json *v = om_json_get(doc, "pooling_mode");

    if (v)
        return read_pooling_list(r, v, m);
    m->modes = om_arena_array(r->arena, POOL_COUNT, sizeof(*m->modes));
    if (!m->modes)
        return no_memory(r);
    for (int i = 0; i < POOL_COUNT; i++) {
        bool on = false;
        v = om_json_get(doc, poolings[i].old_switch);
        if (v && !om_json_bool(v, &on))
            return wrong(r, poolings[i].old_switch, "true or false", v);
        if (on)
            m->modes[m->n_modes++] = i;
    }
    if (m->n_modes == 0)
        m->modes[m->n_modes++] = POOL_MEAN;
    return 0;
}

/* torch.nn classes by their last name. */
static const struct {
    const char *name;
    enum om_act act;
} activations[] = {
    { "Identity", OM_ACT_LINEAR }, { "Tanh", OM_ACT_TANH },   { "ReLU", OM_ACT_RELU },
    { "GELU", OM_ACT_GELU },       { "SiLU", OM_ACT_SILU },   { "Sigmoid", OM_ACT_SIGMOID },
    { "Mish", OM_ACT_MISH },       { "ReLU6", OM_ACT_RELU6 }, { "LeakyReLU", OM_ACT_LEAKY_RELU },
};

static int read_activation(const struct reader *r, const struct om_json *v, enum om_act *out)
{
    om_sv path, name, rest;

    *out = OM_ACT_TANH;
    if (!v)
        return 0;
    if (!om_json_str(v, &path))
        return wrong(r, "activation_function", "the path of a class", v);
    rest = path;
    while (om_sv_split(&rest, '.', &name))
        ;
    for (size_t i = 0; i < OM_COUNT(activations); i++)
        if (om_sv_starts(path, OM_SVL("torch.nn.")) && om_sv_is(name, activations[i].name)) {
            *out = activations[i].act;
            return 0;
        }
    return om_fail(r->err, OM_E_UNSUPPORTED,
                   "key \"activation_function\": \"%.*s\" is not implemented", OM_SV(path));
}

/* Which embeddings a Dense module reads or writes. */
static int read_feature(const struct reader *r, const struct om_json *doc, const char *key,
                        bool *tokens)
{
    const struct om_json *v = om_json_get(doc, key);
    om_sv name;

    if (!v || om_json_kind(v) == OM_JSON_NULL)
        return 0;
    if (!om_json_str(v, &name))
        return wrong(r, key, "a string", v);
    *tokens = om_sv_is(name, "token_embeddings");
    if (*tokens || om_sv_is(name, "sentence_embedding"))
        return 0;
    return om_fail(r->err, OM_E_UNSUPPORTED, "key \"%s\": \"%.*s\" is not implemented", key,
                   OM_SV(name));
}

static int read_dense(const struct reader *r, const struct om_json *doc, struct module *m)
{
    const struct om_json *bias = om_json_get(doc, "bias");

    m->bias = true;
    if (bias && !om_json_bool(bias, &m->bias))
        return wrong(r, "bias", "true or false", bias);
    OM_TRY(read_activation(r, om_json_get(doc, "activation_function"), &m->act));
    OM_TRY(read_feature(r, doc, "module_input_name", &m->in_tokens));
    m->out_tokens = m->in_tokens;
    return read_feature(r, doc, "module_output_name", &m->out_tokens);
}

static int read_config(const struct reader *r, struct module *m)
{
    const char *path = om_path_join(r->arena, m->dir, "config.json");
    struct om_json *doc = NULL;
    int rc;

    if (!path)
        return no_memory(r);
    OM_TRY(om_json_read(path, OM_JSON_LAST_WINS, &doc, r->err));
    rc = m->kind == POOLING ? read_pooling(r, doc, m) : read_dense(r, doc, m);
    om_json_free(doc);
    return om_wrap(r->err, rc, "%s", path);
}

static int read_kind(const struct reader *r, const struct om_json *entry, enum kind *out)
{
    const struct om_json *v = om_json_get(entry, "type");
    om_sv type, name, rest;

    if (!om_json_str(v, &type))
        return wrong(r, "type", "a string", v);
    rest = type;
    while (om_sv_split(&rest, '.', &name))
        ;
    for (int i = 0; i < KIND_COUNT; i++)
        if (om_sv_starts(type, OM_SVL("sentence_transformers.")) && om_sv_is(name, kind_names[i])) {
            *out = i;
            return 0;
        }
    return om_fail(r->err, OM_E_UNSUPPORTED, "module \"%.*s\" is not implemented", OM_SV(type));
}

/* A module's path must stay inside the directory. */
static bool path_inside(om_sv path)
{
    om_sv part, rest = path;

    if (path.len > 0 && path.ptr[0] == '/')
        return false;
    while (om_sv_split(&rest, '/', &part))
        if (om_sv_is(part, ".."))
            return false;
    return memchr(path.ptr, '\0', path.len) == NULL;
}

static int read_module(const struct reader *r, const struct om_json *entry, struct module *m)
{
    const struct om_json *v = om_json_get(entry, "path");
    om_sv path = { "", 0 };

    OM_TRY(read_kind(r, entry, &m->kind));
    if (v && !om_json_str(v, &path))
        return wrong(r, "path", "a string", v);
    if (!path_inside(path))
        return om_fail(r->err, OM_E_FORMAT, "module path \"%.*s\" leaves the directory",
                       OM_SV(path));
    m->path = om_arena_str(r->arena, path);
    m->dir = path.len && m->path ? om_path_join(r->arena, r->dir, m->path) : r->dir;
    if (!m->path || !m->dir)
        return no_memory(r);
    if (m->kind == POOLING || m->kind == DENSE)
        OM_TRY(read_config(r, m));
    if (m->kind == DENSE || m->kind == LAYER_NORM)
        OM_TRY(om_ckpt_open(r->arena, m->dir, &m->ckpt, r->err));
    return 0;
}

static int read_modules(const struct reader *r, const struct om_json *doc, struct om_sentence *st)
{
    const size_t n = om_json_len(doc);

    if (om_json_kind(doc) != OM_JSON_ARRAY || n == 0 || n > 64)
        return om_fail(r->err, OM_E_FORMAT, "expected a list of 1 to 64 modules");
    st->modules = om_arena_array(r->arena, n, sizeof(*st->modules));
    if (!st->modules)
        return no_memory(r);
    for (size_t i = 0; i < n; i++) {
        st->len = i + 1; /* so that closing sees what was opened */
        OM_TRY(
            om_wrap(r->err, read_module(r, om_json_at(doc, i), &st->modules[i]), "module %zu", i));
        if ((st->modules[i].kind == TRANSFORMER) != (i == 0))
            return om_fail(r->err, OM_E_UNSUPPORTED,
                           "module %zu: the first module and no other must be a Transformer", i);
    }
    return 0;
}

bool om_sentence_detect(const char *dir)
{
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    const char *path = om_path_join(&a, dir, "modules.json");
    const bool found = path && om_file_exists(path);

    om_arena_release(&a);
    return found;
}

int om_sentence_open(struct om_arena *a, const char *dir, struct om_sentence **out,
                     struct om_error *err)
{
    const struct reader r = { .arena = a, .dir = om_arena_str(a, om_sv_str(dir)), .err = err };
    const char *path = om_path_join(a, dir, "modules.json");
    struct om_sentence *st = om_arena_alloc(a, sizeof(*st));
    struct om_json *doc = NULL;
    int rc;

    if (!r.dir || !path || !st)
        return no_memory(&r);
    OM_TRY(om_json_read(path, OM_JSON_LAST_WINS, &doc, err));
    rc = om_wrap(err, read_modules(&r, doc, st), "%s", path);
    om_json_free(doc);
    if (rc < 0)
        om_sentence_close(st);
    else
        *out = st;
    return rc;
}

void om_sentence_close(struct om_sentence *st)
{
    for (size_t i = 0; st && i < st->len; i++)
        om_ckpt_close(st->modules[i].ckpt);
}

const char *om_sentence_transformer_dir(const struct om_sentence *st)
{
    return st->modules[0].dir;
}

/* ---- building ---- */

struct sentence_build {
    const struct om_arch_job *job;
    const struct om_sentence *st;
};

/* What modules hand on. */
struct features {
    om_val tokens;   /* [B,S,H] */
    om_val mask;     /* int64 [B,S] */
    om_val sentence; /* [B,D], {0} before the pooling */
};

static om_val reduce(om_scope s, enum om_op op, om_val x, int64_t axis, bool keepdims)
{
    const om_val in[] = { x, om_i64s(s, &axis, 1) };
    const struct om_attr attr = { .name = "keepdims", .kind = OM_ATTR_INT, .i = keepdims };

    return om_emit(s, op, in, 2, &attr, 1);
}

/* sum(x * weights) over the tokens and the sum of the weights, not below 1e-9. */
static om_val weighted_sum(om_scope s, om_val tokens, om_val weights, om_val *total)
{
    const om_val sum = reduce(s, OM_OP_ReduceSum, weights, 1, false);

    *total = om_binary(s, OM_OP_Max, sum, om_like(s, sum, 1e-9));
    return reduce(s, OM_OP_ReduceSum, om_mul(s, tokens, weights), 1, false);
}

/* The row of the first or last token that the mask keeps: [B,H]. */
static om_val pick_token(om_scope s, const struct features *f, om_val tokens, bool last)
{
    const struct om_attr arg[] = {
        { .name = "axis", .kind = OM_ATTR_INT, .i = 1 },
        { .name = "keepdims", .kind = OM_ATTR_INT, .i = 1 },
        { .name = "select_last_index", .kind = OM_ATTR_INT, .i = last },
    };
    const struct om_attr batch = { .name = "batch_dims", .kind = OM_ATTR_INT, .i = 1 };
    /* ONNX Runtime finds the maximum of 32-bit integers only. */
    const om_val mask = om_cast(s, f->mask, OM_I32);
    const om_val in[] = { tokens, om_emit(s, OM_OP_ArgMax, &mask, 1, arg, 3) };

    return om_emit(s, OM_OP_GatherND, in, 2, &batch, 1);
}

/* Sums over a text are wide: float16 holds neither 1e-9 nor the sum of a long one. */
static om_val pool(om_scope s, const struct features *f, enum pooling mode)
{
    const om_val tokens = om_widen(s, f->tokens);
    const om_val weights = om_unsqueeze(s, om_cast_like(s, f->mask, tokens), 2); /* [B,S,1] */
    om_val total, sum, x;

    switch (mode) {
    case POOL_CLS:
        return pick_token(s, f, f->tokens, false);
    case POOL_LAST:
        return pick_token(s, f, om_mul(s, tokens, weights), true);
    case POOL_MAX:
        x = om_binary(s, OM_OP_Equal, om_unsqueeze(s, f->mask, 2), om_i64(s, 0));
        return reduce(s, OM_OP_ReduceMax, om_where(s, x, om_like(s, tokens, -INFINITY), tokens), 1,
                      false);
    case POOL_MEAN:
        sum = weighted_sum(s, tokens, weights, &total);
        return om_div(s, sum, total);
    case POOL_MEAN_SQRT:
        sum = weighted_sum(s, tokens, weights, &total);
        return om_div(s, sum, om_unary(s, OM_OP_Sqrt, total));
    case POOL_WEIGHTED: {
        const om_dim length = om_axis(s, tokens, 1);
        x = om_arange(s, om_int(s, 1), om_dim_add(s.b->g->dims, length, om_int(s, 1)));
        x = om_unsqueeze(s, om_cast_like(s, x, tokens), 1); /* [S,1] */
        sum = weighted_sum(s, tokens, om_mul(s, weights, x), &total);
        return om_div(s, sum, total);
    }
    case POOL_COUNT:
        break;
    }
    return (om_val){ 0 };
}

static om_val pool_all(om_scope s, const struct module *m, const struct features *f)
{
    om_val x = om_to_compute(s, pool(s, f, m->modes[0]));

    for (size_t i = 1; i < m->n_modes; i++)
        x = om_concat(s, x, om_to_compute(s, pool(s, f, m->modes[i])), -1);
    return x;
}

/* x / max(|x|, 1e-12) along the last axis. */
static om_val normalize(om_scope s, om_val x)
{
    const om_val wide = om_widen(s, x);
    const om_val square = reduce(s, OM_OP_ReduceSum, om_mul(s, wide, wide), -1, true);
    const om_val norm = om_unary(s, OM_OP_Sqrt, square);
    const om_val least = om_like(s, norm, 1e-12);

    return om_to_compute(s, om_div(s, wide, om_binary(s, OM_OP_Max, norm, least)));
}

static void apply_dense(om_scope s, const struct module *m, struct features *f)
{
    const om_scope linear = om_sub(om_with_ckpt(s, m->ckpt), "linear");
    om_val x = m->in_tokens ? f->tokens : f->sentence;

    x = m->bias ? om_linear(linear, x) : om_linear_nobias(linear, x);
    x = om_activate(s, m->act, x);
    *(m->out_tokens ? &f->tokens : &f->sentence) = x;
}

static void apply(om_scope s, const struct module *m, struct features *f)
{
    const bool reads_tokens = m->kind == POOLING || (m->kind == DENSE && m->in_tokens);

    if (!reads_tokens && !om_valid(f->sentence) && s.b->n_missing == 0) {
        om_scope_fail(s, OM_E_UNSUPPORTED, "a %s module before the Pooling module",
                      kind_names[m->kind]);
        return;
    }
    switch (m->kind) {
    case POOLING:
        f->sentence = pool_all(s, m, f);
        break;
    case DENSE:
        apply_dense(s, m, f);
        break;
    case NORMALIZE:
        f->sentence = normalize(s, f->sentence);
        break;
    case LAYER_NORM:
        f->sentence = om_layer_norm(om_sub(om_with_ckpt(s, m->ckpt), "norm"), f->sentence, 1e-5);
        break;
    case TRANSFORMER:
    case DROPOUT: /* nothing at inference */
    case KIND_COUNT:
        break;
    }
}

static om_val transformer(om_scope root, const struct om_arch_job *job, om_val ids, om_val mask)
{
    struct om_body body = { 0 };

    if (job->arch->kind == OM_ARCH_SEQ2SEQ) /* its encoder alone */
        return job->arch->encode(root, job->cfg, ids, mask);
    job->arch->build(root, job->cfg, OM_HEAD_HIDDEN, &body);
    return body.hidden;
}

static void fill_sentence(struct om_builder *b, void *user)
{
    const struct sentence_build *sb = user;
    const om_scope root = om_builder_root(b);
    om_val ids = om_builder_input(b, "input_ids", OM_I64, om_port_axes(OM_PORTS_TEXT, "input_ids"));
    struct features f = { .mask = om_builder_input(b, "attention_mask", OM_I64,
                                                   om_port_axes(OM_PORTS_TEXT, "attention_mask")) };

    if (!om_ok(root))
        return;
    f.tokens = transformer(root, sb->job, ids, f.mask);
    for (size_t i = 1; i < sb->st->len && om_ok(root); i++)
        apply(om_named(root, sb->st->modules[i].path), &sb->st->modules[i], &f);
    om_output(root, "token_embeddings", f.tokens);
    om_output(root, "sentence_embedding", f.sentence);
}

int om_sentence_build(const struct om_arch_job *job, const struct om_sentence *st,
                      struct om_arena *a, struct om_graph **out, struct om_error *err)
{
    struct sentence_build sb = { .job = job, .st = st };

    return om_arch_graph(job, om_part_file(OM_PART_MODEL), a, fill_sentence, &sb, out, err);
}
