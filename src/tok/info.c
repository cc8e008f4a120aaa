/* src/tok/info.c: tokenizer_config.json and special_tokens_map.json, read as Transformers reads
 * them. */
#include <stdlib.h>

#include "base/file.h"
#include "tok/convert.h"
#include "tok/tok.h"

/* A token is a text, or an object with its content; null and absent: none. */
static int read_token(struct tok_loader *l, const struct om_json *j, const char *key,
                      const char **out)
{
    const struct om_json *v = om_json_get(j, key);
    om_sv text;

    if (om_json_kind(v) == OM_JSON_NULL)
        return 0;
    if (om_json_kind(v) == OM_JSON_OBJECT)
        v = om_json_get(v, "content");
    if (!om_json_str(v, &text))
        return om_fail(l->err, OM_E_CONFIG, "key \"%s\": expected a token, found %s", key,
                       om_json_kind_text(v));
    *out = om_arena_str(l->arena, text);
    return *out ? 0 : tok_loader_no_memory(l);
}

static int read_tokens(struct tok_loader *l, const struct om_json *j,
                       struct om_tokenizer_info *info)
{
    const struct {
        const char *key;
        const char **out;
    } tokens[] = {
        { "bos_token", &info->bos_token },   { "eos_token", &info->eos_token },
        { "unk_token", &info->unk_token },   { "sep_token", &info->sep_token },
        { "pad_token", &info->pad_token },   { "cls_token", &info->cls_token },
        { "mask_token", &info->mask_token },
    };

    for (size_t i = 0; i < OM_COUNT(tokens); i++)
        OM_TRY(read_token(l, j, tokens[i].key, tokens[i].out));
    return 0;
}

static void read_side(const struct om_json *j, const char *key, enum om_side *out)
{
    om_sv side;

    if (om_json_str(om_json_get(j, key), &side))
        *out = om_sv_is(side, "left") ? OM_SIDE_LEFT : OM_SIDE_RIGHT;
}

/* "No limit" is written as 1e30. */
static void read_max_length(const struct om_json *j, struct om_tokenizer_info *info)
{
    double length;

    if (om_json_f64(om_json_get(j, "model_max_length"), &length) && length >= 0.0)
        info->model_max_length = length < 9e18 ? (uint64_t)length : UINT64_MAX;
}

/* Classes whose model_input_names lack token_type_ids although their post-processors give some. */
static const char *const untyped_classes[] = { "DistilBertTokenizer", "DPRReaderTokenizer" };

static bool class_gives_type_ids(om_sv class_name)
{
    if (om_sv_ends(class_name, OM_SVL("Fast")))
        class_name.len -= sizeof("Fast") - 1;
    for (size_t i = 0; i < OM_COUNT(untyped_classes); i++)
        if (om_sv_is(class_name, untyped_classes[i]))
            return false;
    return true;
}

static void read_input_names(const struct om_json *j, struct om_tokenizer_info *info)
{
    const struct om_json *const names = om_json_get(j, "model_input_names");
    om_sv text;

    if (om_json_kind(names) != OM_JSON_ARRAY) {
        if (om_json_str(om_json_get(j, "tokenizer_class"), &text))
            info->gives_type_ids = class_gives_type_ids(text);
        return;
    }
    info->gives_type_ids = false;
    for (size_t i = 0; i < om_json_len(names); i++)
        if (om_json_str(om_json_at(names, i), &text) && om_sv_is(text, "token_type_ids"))
            info->gives_type_ids = true;
}

static int read_config(struct tok_loader *l, const struct om_json *j,
                       struct om_tokenizer_info *info)
{
    om_sv class_name;

    OM_TRY(read_tokens(l, j, info));
    read_side(j, "padding_side", &info->padding_side);
    read_side(j, "truncation_side", &info->truncation_side);
    read_max_length(j, info);
    om_json_bool(om_json_get(j, "clean_up_tokenization_spaces"),
                 &info->clean_up_tokenization_spaces);
    om_json_bool(om_json_get(j, "add_prefix_space"), &info->add_prefix_space);
    read_input_names(j, info);
    if (om_json_str(om_json_get(j, "tokenizer_class"), &class_name)) {
        info->tokenizer_class = om_arena_str(l->arena, class_name);
        if (!info->tokenizer_class)
            return tok_loader_no_memory(l);
    }
    return 0;
}

/* dir/name as JSON; *doc stays NULL when there is no such file. *path is for messages. */
static int read_file(struct tok_builder *b, const char *dir, const char *name, const char **path,
                     struct om_json **doc)
{
    *path = om_path_join(&b->tok->arena, dir, name);
    if (!*path)
        return tok_loader_no_memory(&b->loader);
    return om_file_exists(*path) ? om_json_read(*path, OM_JSON_LAST_WINS, doc, b->loader.err) : 0;
}

/* ---- what the class knows ---- */

static bool says_none(const struct om_json *config, const char *key)
{
    const struct om_json *const v = om_json_get(config, key);

    return v && om_json_kind(v) == OM_JSON_NULL;
}

/* Tokens of the class that no file names, when the vocabulary has them. */
static void add_class_tokens(struct om_tokenizer *tok, const struct tok_class *cls,
                             const struct om_json *config)
{
    struct om_tokenizer_info *const info = &tok->info;
    const struct {
        const char *key;
        const char **out;
    } tokens[TOK_ROLES] = {
        [TOK_BOS] = { "bos_token", &info->bos_token },
        [TOK_EOS] = { "eos_token", &info->eos_token },
        [TOK_UNK] = { "unk_token", &info->unk_token },
        [TOK_SEP] = { "sep_token", &info->sep_token },
        [TOK_PAD] = { "pad_token", &info->pad_token },
        [TOK_CLS] = { "cls_token", &info->cls_token },
        [TOK_MASK] = { "mask_token", &info->mask_token },
    };
    uint32_t id;

    for (size_t i = 0; i < TOK_ROLES; i++) {
        const char *const text = cls->tokens[i];
        if (text && !*tokens[i].out && !says_none(config, tokens[i].key) &&
            om_tokenizer_token_to_id(tok, text, strlen(text), &id))
            *tokens[i].out = text;
    }
}

static void add_class(struct om_tokenizer *tok, const struct om_json *config,
                      const struct om_json *model)
{
    const struct tok_class *cls;
    om_sv name = om_sv_str(tok->info.tokenizer_class);

    if (name.len == 0)
        om_json_str(om_json_get(model, "tokenizer_class"), &name);
    cls = tok_class_find(name, model);
    if (!cls)
        return;
    add_class_tokens(tok, cls, config);
    if (!om_json_get(config, "model_input_names"))
        tok->info.gives_type_ids = class_gives_type_ids(om_sv_str(cls->name));
    if (cls->pad_left && !om_json_get(config, "padding_side"))
        tok->info.padding_side = OM_SIDE_LEFT;
}

/* Transformers gives a tokenizer.json the special tokens that only the configuration names: they
 * are found whole in a text and left out of decoded ones. */
static int add_special(struct tok_builder *b)
{
    const struct om_tokenizer_info *const info = &b->tok->info;
    const char *const roles[TOK_ROLES] = { info->bos_token, info->eos_token, info->unk_token,
                                           info->sep_token, info->pad_token, info->cls_token,
                                           info->mask_token };
    const struct tok_added *const d = &b->tok->added;
    struct tok_added_token *const tokens = calloc(d->len + TOK_ROLES, sizeof(*tokens));
    size_t n = d->len;
    int rc = 0;

    if (!tokens)
        return tok_loader_no_memory(&b->loader);
    if (n)
        memcpy(tokens, d->tokens, n * sizeof(*tokens));
    for (size_t i = 0; i < TOK_ROLES; i++) {
        const om_sv text = om_sv_str(roles[i]);
        if (text.len && tok_vocab_find(&d->index, text) == TOK_NONE)
            tokens[n++] = (struct tok_added_token){ .content = text, .special = true };
    }
    if (n > d->len)
        rc = tok_builder_added(b, tokens, n);
    free(tokens);
    return rc;
}

/* What the configuration says counts more than the map, and both more than the class. */
int tok_info_read(struct tok_builder *b, const char *dir)
{
    struct om_json *map = NULL, *config = NULL, *model = NULL;
    const char *path;
    int rc = read_file(b, dir, "special_tokens_map.json", &path, &map);

    if (rc == 0)
        rc = om_wrap(b->loader.err, read_tokens(&b->loader, map, &b->tok->info), "%s", path);
    if (rc == 0)
        rc = read_file(b, dir, "tokenizer_config.json", &path, &config);
    if (rc == 0)
        rc = om_wrap(b->loader.err, read_config(&b->loader, config, &b->tok->info), "%s", path);
    if (rc == 0)
        rc = read_file(b, dir, "config.json", &path, &model);
    if (rc == 0)
        add_class(b->tok, config, model);
    if (rc == 0 && b->tok->file)
        rc = om_wrap(b->loader.err, add_special(b), "%s", dir);
    if (rc == 0)
        rc = om_wrap(b->loader.err, tok_chat_read(b, dir, config), "%s", dir);
    om_json_free(map);
    om_json_free(config);
    om_json_free(model);
    return rc;
}
