/* src/gen/config.c: settings as objects: made from files and JSON, copied, completed. */
#include <stdlib.h>

#include "base/file.h"
#include "gen/fields.h"
#include "gen/gen.h"

#define ARENA_MAX ((size_t)64 << 20)
#define FILE_MAX ((size_t)16 << 20)
#define FILE_NAME "generation_config.json"

/* What the public pointer points into. */
struct owned {
    struct om_generation_config config; /* first */
    struct om_arena arena;              /* owns its lists */
};

static const struct om_generation_config defaults = OM_GENERATION_CONFIG_INIT;

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

static void *member(struct om_generation_config *c, size_t at)
{
    return (char *)c + at;
}

static const void *cmember(const struct om_generation_config *c, size_t at)
{
    return (const char *)c + at;
}

static size_t size_of(enum om_gen_kind kind)
{
    switch (kind) {
    case OM_GEN_INT:
    case OM_GEN_DECAY:
        return sizeof(int64_t);
    case OM_GEN_REAL:
        return sizeof(double);
    case OM_GEN_BOOL:
        return sizeof(bool);
    case OM_GEN_EARLY:
        return sizeof(enum om_early_stopping);
    case OM_GEN_IDS:
        return sizeof(struct om_token_ids);
    case OM_GEN_WORDS:
    case OM_GEN_BIASES:
    case OM_GEN_STRINGS:
        return sizeof(void *);
    }
    return 0;
}

void om_gen_copy(const struct om_gen_field *f, struct om_generation_config *to,
                 const struct om_generation_config *from)
{
    memcpy(member(to, f->at), cmember(from, f->at), size_of(f->kind));
    if (f->kind == OM_GEN_DECAY)
        memcpy(member(to, f->at_len), cmember(from, f->at_len), sizeof(double));
    else if (f->at_len)
        memcpy(member(to, f->at_len), cmember(from, f->at_len), sizeof(size_t));
    if (f->at == offsetof(struct om_generation_config, max_length))
        to->max_length_given = from->max_length_given;
}

bool om_gen_is_default(const struct om_gen_field *f, const struct om_generation_config *c)
{
    if (f->kind == OM_GEN_IDS)
        return ((const struct om_token_ids *)cmember(c, f->at))->len == 0;
    if (f->kind != OM_GEN_DECAY && f->at_len)
        return *(const size_t *)cmember(c, f->at_len) == 0;
    return memcmp(cmember(c, f->at), cmember(&defaults, f->at), size_of(f->kind)) == 0;
}

void om_generation_config_fill(struct om_generation_config *c,
                               const struct om_generation_config *from)
{
    for (size_t i = 0; i < om_gen_n_fields; i++)
        if (om_gen_is_default(&om_gen_fields[i], c))
            om_gen_copy(&om_gen_fields[i], c, from);
}

/* A caller compiled against an older header has a shorter struct: what it lacks keeps its default.
 */
int om_gen_settings(const struct om_generation_config *from, struct om_generation_config *to,
                    struct om_error *err)
{
    *to = defaults;
    if (!from)
        return 0;
    if (from->struct_size < sizeof(from->struct_size))
        return om_fail(err, OM_E_USAGE,
                       "the settings were not set up with OM_GENERATION_CONFIG_INIT");
    memcpy(to, from, OM_MIN(from->struct_size, sizeof(*to)));
    to->struct_size = sizeof(*to);
    return 0;
}

/* ---- copies that stand alone ---- */

static int copy_ids(struct om_arena *a, struct om_token_ids *ids, struct om_error *err)
{
    if (ids->len == 0)
        return 0;
    ids->ids = om_arena_copy(a, ids->ids, ids->len * sizeof(*ids->ids));
    return ids->ids ? 0 : no_memory(err);
}

static int copy_words(struct om_arena *a, struct om_generation_config *c, struct om_error *err)
{
    struct om_token_ids *words;

    if (c->n_bad_words == 0)
        return 0;
    words = om_arena_copy(a, c->bad_words, c->n_bad_words * sizeof(*words));
    if (!words)
        return no_memory(err);
    for (size_t i = 0; i < c->n_bad_words; i++)
        OM_TRY(copy_ids(a, &words[i], err));
    c->bad_words = words;
    return 0;
}

static int copy_biases(struct om_arena *a, struct om_generation_config *c, struct om_error *err)
{
    struct om_token_bias *biases;

    if (c->n_sequence_bias == 0)
        return 0;
    biases = om_arena_copy(a, c->sequence_bias, c->n_sequence_bias * sizeof(*biases));
    if (!biases)
        return no_memory(err);
    for (size_t i = 0; i < c->n_sequence_bias; i++)
        OM_TRY(copy_ids(a, &biases[i].tokens, err));
    c->sequence_bias = biases;
    return 0;
}

static int copy_strings(struct om_arena *a, struct om_generation_config *c, struct om_error *err)
{
    const char **strings = om_arena_array(a, c->n_stop_strings + 1, sizeof(*strings));

    if (!strings)
        return no_memory(err);
    for (size_t i = 0; i < c->n_stop_strings; i++) {
        strings[i] = om_arena_str(a, om_sv_str(c->stop_strings[i]));
        if (!strings[i])
            return no_memory(err);
    }
    c->stop_strings = strings;
    return 0;
}

static int copy_lists(struct om_arena *a, struct om_generation_config *c, struct om_error *err)
{
    for (size_t i = 0; i < om_gen_n_fields; i++)
        if (om_gen_fields[i].kind == OM_GEN_IDS)
            OM_TRY(copy_ids(a, member(c, om_gen_fields[i].at), err));
    OM_TRY(copy_words(a, c, err));
    OM_TRY(copy_biases(a, c, err));
    return copy_strings(a, c, err);
}

/* ---- making one ---- */

static int owned_new(const struct om_generation_config *base, struct owned **out,
                     struct om_error *err)
{
    struct owned *o = calloc(1, sizeof(*o));
    int rc;

    if (!o)
        return no_memory(err);
    om_arena_init(&o->arena, ARENA_MAX);
    rc = om_gen_settings(base, &o->config, err);
    if (rc == 0)
        rc = copy_lists(&o->arena, &o->config, err);
    if (rc == 0)
        *out = o;
    else
        om_generation_config_free(&o->config);
    return rc;
}

void om_generation_config_free(struct om_generation_config *c)
{
    struct owned *o = (struct owned *)(void *)c; /* config is its first member */

    if (!o)
        return;
    om_arena_release(&o->arena);
    free(o);
}

/* The members of a JSON text on top of what *c has. */
static int read_text(struct om_arena *a, om_sv text, struct om_generation_config *c,
                     struct om_error *err)
{
    struct om_json *doc = NULL;
    int rc;

    OM_TRY(om_json_parse(text, OM_JSON_LAST_WINS, &doc, err));
    if (om_json_kind(doc) != OM_JSON_OBJECT)
        rc = om_fail(err, OM_E_CONFIG, "expected an object, found %s", om_json_kind_text(doc));
    else
        rc = om_gen_refuse(doc, err);
    if (rc == 0)
        rc = om_gen_read(a, doc, true, c, err);
    if (rc == 0 && om_json_kind(om_json_get(doc, "max_length")) != OM_JSON_NULL)
        c->max_length_given = true;
    om_json_free(doc);
    return rc;
}

int om_generation_config_parse(struct om_ctx *ctx, const struct om_generation_config *base,
                               const char *json, size_t len, struct om_generation_config **out,
                               struct om_error *err)
{
    struct owned *o = NULL;
    int rc;

    (void)ctx;
    OM_TRY(owned_new(base, &o, err));
    rc = read_text(&o->arena, (om_sv){ json, len }, &o->config, err);
    if (rc == 0)
        *out = &o->config;
    else
        om_generation_config_free(&o->config);
    return rc;
}

/* ---- that of a model ---- */

static const struct class_default {
    const char *model_type;
    int64_t bos, eos, pad, forced_eos;
} class_defaults[] = {
#define OM_GEN_DEFAULT(model_type, bos, eos, pad, forced_eos) \
    { model_type, bos, eos, pad, forced_eos },
#include "gen/defaults.def"
#undef OM_GEN_DEFAULT
};

static const struct class_default *find_defaults(const char *model_type)
{
    for (size_t i = 0; i < OM_COUNT(class_defaults); i++)
        if (strcmp(class_defaults[i].model_type, model_type) == 0)
            return &class_defaults[i];
    return NULL;
}

/* Tokens that the configuration does not mention; one that is null is none. */
static void default_tokens(const struct om_json *config, const char *model_type,
                           struct om_generation_config *c)
{
    const struct class_default *d = find_defaults(model_type);

    if (!d)
        return;
    if (!om_json_get(config, "bos_token_id"))
        c->bos_token_id = d->bos;
    if (!om_json_get(config, "pad_token_id"))
        c->pad_token_id = d->pad;
    if (!om_json_get(config, "eos_token_id") && d->eos >= 0)
        c->eos_token_id = (struct om_token_ids){ &d->eos, 1 };
    if (!om_json_get(config, "forced_eos_token_id") && d->forced_eos >= 0)
        c->forced_eos_token_id = (struct om_token_ids){ &d->forced_eos, 1 };
}

/* Without generation_config.json: everything that config.json has, the configuration of a decoder
 * inside of it counts where the outer one is silent. */
static int from_config(struct om_arena *a, const struct om_json *config, const char *model_type,
                       struct om_generation_config *c, struct om_error *err)
{
    static const char *const inner[] = { "text_config", "decoder" };

    default_tokens(config, model_type, c);
    OM_TRY(om_gen_read(a, config, false, c, err));
    for (size_t i = 0; i < OM_COUNT(inner); i++) {
        const struct om_json *decoder = om_json_get(config, inner[i]);
        struct om_generation_config own = defaults;

        if (om_json_kind(decoder) != OM_JSON_OBJECT)
            continue;
        OM_TRY(om_gen_read(a, decoder, false, &own, err));
        om_generation_config_fill(c, &own);
    }
    return 0;
}

/* What older checkpoints have in config.json moves over, unless it is the default. */
static int move_legacy(struct om_ctx *ctx, struct om_arena *a, const struct om_json *config,
                       struct om_generation_config *c, struct om_error *err)
{
    struct om_generation_config own = defaults;
    struct om_buf moved = OM_BUF_INIT(1 << 16);

    OM_TRY(om_gen_read(a, config, false, &own, err));
    for (size_t i = 0; i < om_gen_n_fields; i++) {
        const struct om_gen_field *f = &om_gen_fields[i];

        if (!f->legacy || om_gen_is_default(f, &own))
            continue;
        om_gen_copy(f, c, &own);
        om_buf_printf(&moved, "%s%s", moved.len ? ", " : "", f->key);
    }
    if (moved.len)
        om_log(ctx, OM_LOG_WARNING,
               "Moving the following attributes in the config to the generation config: {%.*s}.",
               OM_SV(om_buf_sv(&moved)));
    om_buf_release(&moved);
    return 0;
}

static int read_config(struct om_ctx *ctx, struct owned *o, const struct om_json *config,
                       const char *model_type, bool has_own, struct om_error *err)
{
    if (!has_own)
        return from_config(&o->arena, config, model_type, &o->config, err);
    return move_legacy(ctx, &o->arena, config, &o->config, err);
}

static int open_files(struct om_ctx *ctx, const struct om_model_info *info, struct owned *o,
                      struct om_error *err)
{
    const char *path = om_path_join(&o->arena, info->dir, FILE_NAME);
    struct om_json *config = NULL;
    bool has_own;
    om_sv text;
    int rc;

    if (!path)
        return no_memory(err);
    has_own = om_file_exists(path);
    if (has_own) {
        OM_TRY(om_file_read(&o->arena, path, FILE_MAX, &text, err));
        OM_TRY(om_wrap(err, read_text(&o->arena, text, &o->config, err), "%s", path));
        o->config.max_length_given = false; /* a file's 20 is the default that it was saved with */
    }
    OM_TRY(om_json_parse(om_sv_str(info->config), OM_JSON_LAST_WINS, &config, err));
    rc = om_wrap(err, read_config(ctx, o, config, info->model_type, has_own, err), "%s/config.json",
                 info->dir);
    om_json_free(config);
    return rc;
}

int om_generation_config_of(struct om_ctx *ctx, const struct om_model_info *info,
                            struct om_generation_config **out, struct om_error *err)
{
    struct owned *o = NULL;
    int rc;

    OM_TRY(owned_new(NULL, &o, err));
    rc = open_files(ctx, info, o, err);
    if (rc == 0)
        *out = &o->config;
    else
        om_generation_config_free(&o->config);
    return rc;
}

int om_generation_config_open(struct om_ctx *ctx, const struct om_model *m,
                              struct om_generation_config **out, struct om_error *err)
{
    return om_generation_config_of(ctx, om_model_get_info(m), out, err);
}
