/* src/tok/save.c: save_pretrained: a tokenizer's files in another directory. */
#include "base/file.h"
#include "tok/convert.h"
#include "tok/tok.h"

const char *const tok_files[] = { "vocab.txt",
                                  "vocab.json",
                                  "target_vocab.json",
                                  "merges.txt",
                                  "spiece.model",
                                  "sentencepiece.bpe.model",
                                  "tokenizer.model",
                                  "sentencepiece.model",
                                  "spm.model",
                                  "source.spm",
                                  "target.spm",
                                  "added_tokens.json",
                                  "chat_template.jinja",
                                  "special_tokens_map.json",
                                  "tokenizer_config.json",
                                  "tokenizer.json",
                                  NULL };

struct save {
    struct om_ctx *ctx;
    const struct om_tokenizer *tok;
    struct om_arena arena;
    struct om_error *err;
    const char *to;
};

static int no_memory(struct save *s)
{
    return om_fail(s->err, OM_E_NOMEM, "out of memory for a tokenizer");
}

static int copy_file(struct save *s, const char *from, const char *name)
{
    const char *const target = om_path_join(&s->arena, s->to, name);
    struct om_file in = OM_FILE_INIT;
    struct om_out out = OM_OUT_INIT;

    if (!target)
        return no_memory(s);
    if (om_file_same(from, target))
        return 0;
    OM_TRY(om_file_map(&in, from, s->err));
    int rc = om_out_open(&out, s->to, name, s->ctx, s->err);
    if (rc == 0)
        rc = om_out_clone(&out, &in, s->err);
    if (rc == 0)
        rc = om_out_commit(&out, false, s->err);
    if (rc < 0)
        om_out_abort(&out);
    om_file_unmap(&in);
    return rc;
}

static int write_file(struct save *s, const char *name, const struct om_buf *text)
{
    struct om_out out = OM_OUT_INIT;

    OM_TRY(om_buf_check(text, s->err));
    int rc = om_out_open(&out, s->to, name, s->ctx, s->err);
    if (rc == 0)
        rc = om_out_write(&out, text->ptr, text->len, s->err);
    if (rc == 0)
        rc = om_out_commit(&out, false, s->err);
    if (rc < 0)
        om_out_abort(&out);
    return rc;
}

/* ---- files that were not there ---- */

static void put_key(struct om_buf *b, const char *key)
{
    om_buf_adds(b, b->len > 1 ? ",\n  " : "\n  ");
    om_buf_json_string(b, om_sv_str(key));
    om_buf_adds(b, ": ");
}

static void put_text(struct om_buf *b, const char *key, const char *text)
{
    if (!text)
        return;
    put_key(b, key);
    om_buf_json_string(b, om_sv_str(text));
}

static void put_tokens(struct om_buf *b, const struct om_tokenizer_info *info)
{
    put_text(b, "bos_token", info->bos_token);
    put_text(b, "cls_token", info->cls_token);
    put_text(b, "eos_token", info->eos_token);
    put_text(b, "mask_token", info->mask_token);
    put_text(b, "pad_token", info->pad_token);
    put_text(b, "sep_token", info->sep_token);
    put_text(b, "unk_token", info->unk_token);
}

static int write_map(struct save *s)
{
    struct om_buf b = OM_BUF_INIT(SIZE_MAX / 2);

    om_buf_addc(&b, '{');
    put_tokens(&b, &s->tok->info);
    om_buf_adds(&b, b.len > 1 ? "\n}\n" : "}\n");
    const int rc = write_file(s, "special_tokens_map.json", &b);
    om_buf_release(&b);
    return rc;
}

/* Transformers writes "no limit" as 1e30. */
static void put_max_length(struct om_buf *b, uint64_t length)
{
    put_key(b, "model_max_length");
    if (length == UINT64_MAX)
        om_buf_adds(b, "1000000000000000019884624838656");
    else
        om_buf_printf(b, "%" PRIu64, length);
}

static int write_config(struct save *s)
{
    const struct om_tokenizer_info *const info = &s->tok->info;
    struct om_buf b = OM_BUF_INIT(SIZE_MAX / 2);

    om_buf_addc(&b, '{');
    put_tokens(&b, info);
    put_key(&b, "clean_up_tokenization_spaces");
    om_buf_adds(&b, info->clean_up_tokenization_spaces ? "true" : "false");
    put_max_length(&b, info->model_max_length);
    put_text(&b, "padding_side", info->padding_side == OM_SIDE_LEFT ? "left" : "right");
    put_text(&b, "truncation_side", info->truncation_side == OM_SIDE_LEFT ? "left" : "right");
    put_text(&b, "tokenizer_class",
             info->tokenizer_class ? info->tokenizer_class : "PreTrainedTokenizerFast");
    om_buf_adds(&b, "\n}\n");
    const int rc = write_file(s, "tokenizer_config.json", &b);
    om_buf_release(&b);
    return rc;
}

/* A vocabulary as tokenizer.json, unless the class has no such form. */
static int write_converted(struct save *s)
{
    struct om_buf b = OM_BUF_INIT(SIZE_MAX / 2);
    int rc = tok_convert_dir(&s->arena, s->tok->dir, TOK_CONVERT_PORTABLE, &b, s->err);

    if (rc == OM_E_UNSUPPORTED) {
        om_error_release(s->err);
        rc = 0;
    } else if (rc == 0) {
        rc = write_file(s, "tokenizer.json", &b);
    }
    om_buf_release(&b);
    return rc;
}

static const struct {
    const char *name;
    int (*write)(struct save *s);
} made[] = {
    { "special_tokens_map.json", write_map },
    { "tokenizer_config.json", write_config },
    { "tokenizer.json", write_converted },
};

static int save_file(struct save *s, const char *name)
{
    const bool own = s->tok->file && strcmp(name, "tokenizer.json") == 0; /* may have any name */
    const char *const from = own ? s->tok->file : om_path_join(&s->arena, s->tok->dir, name);

    if (!from)
        return no_memory(s);
    if (own || om_file_exists(from))
        return copy_file(s, from, name);
    for (size_t i = 0; i < OM_COUNT(made); i++)
        if (strcmp(made[i].name, name) == 0)
            return made[i].write(s);
    return 0;
}

/* The chat templates that have a directory of their own. */
static int save_templates(struct save *s)
{
    static const char below[] = "additional_chat_templates";
    const char *const from = om_path_join(&s->arena, s->tok->dir, below);
    const char *const to = om_path_join(&s->arena, s->to, below);
    const char **names;
    size_t n = 0;
    int rc = 0;

    if (!from || !to)
        rc = no_memory(s);
    else if (om_dir_exists(from) && !om_file_same(from, to))
        rc = om_dir_list(&s->arena, from, &names, &n, s->err);
    if (rc == 0 && n)
        rc = om_dir_make(to, s->err);
    s->to = to; /* the last files */
    for (size_t i = 0; i < n && rc == 0; i++)
        if (om_sv_ends(om_sv_str(names[i]), OM_SVL(".jinja"))) {
            const char *const file = om_path_join(&s->arena, from, names[i]);
            rc = file ? copy_file(s, file, names[i]) : no_memory(s);
        }
    return rc;
}

int om_tokenizer_save(struct om_ctx *ctx, const struct om_tokenizer *tok, const char *dir,
                      struct om_error *err)
{
    struct om_error own = OM_ERROR_INIT;
    struct save s = { .ctx = ctx,
                      .tok = tok,
                      .arena = OM_ARENA_INIT(SIZE_MAX / 2),
                      .err = err ? err : &own,
                      .to = dir };
    int rc;

    if (!dir || !dir[0])
        return om_fail(err, OM_E_USAGE, "no directory to save into was given");
    if (!tok->dir)
        return om_fail(err, OM_E_USAGE, "the tokenizer was not opened from a file");
    rc = om_dir_make(dir, s.err);
    for (const char *const *name = tok_files; *name && rc == 0; name++)
        rc = save_file(&s, *name);
    if (rc == 0)
        rc = save_templates(&s);
    om_arena_release(&s.arena);
    om_error_release(&own);
    return rc;
}
