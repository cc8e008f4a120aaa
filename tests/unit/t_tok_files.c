/* tests/unit/t_tok_files.c: tokenizers by name, saved and opened again; what classes know; words.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "test.h"

#include <optimum/tokenizer.h>

static char *path_of(struct om_arena *a, struct test *t, const char *name)
{
    return om_path_join(a, test_tmpdir(t), name);
}

static void put_file(struct test *t, const char *dir, const char *name, const char *text)
{
    struct om_arena a = OM_ARENA_INIT(1u << 16);
    const char *const in = path_of(&a, t, dir);
    FILE *f;

    CHECK_INT(t, om_dir_make(in, NULL), 0);
    f = fopen(om_path_join(&a, in, name), "wb");
    CHECK(t, f && fputs(text, f) >= 0 && fclose(f) == 0);
    om_arena_release(&a);
}

static bool file_is_same(const char *dir_a, const char *dir_b, const char *name)
{
    struct om_arena a = OM_ARENA_INIT(1u << 26);
    om_sv x, y;
    const bool same = om_file_read(&a, om_path_join(&a, dir_a, name), 1u << 25, &x, NULL) == 0 &&
                      om_file_read(&a, om_path_join(&a, dir_b, name), 1u << 25, &y, NULL) == 0 &&
                      om_sv_eq(x, y);

    om_arena_release(&a);
    return same;
}

static void check_ids(struct test *t, const struct om_tokenizer *tok, const char *text,
                      const char *want)
{
    const struct om_text in = { text, strlen(text) };
    struct om_buf got = OM_BUF_INIT(1u << 16);
    struct om_encoding *e = NULL;

    CHECK_INT(t, om_tokenizer_encode(tok, &in, NULL, NULL, &e, NULL), 0);
    for (size_t i = 0; e && i < e->len; i++)
        om_buf_printf(&got, "%s%" PRIu32, i ? " " : "", e->ids[i]);
    CHECK_STR(t, om_buf_sv(&got).ptr, want);
    om_buf_release(&got);
    om_encoding_free(e);
}

static struct om_tokenizer *open_dir(struct test *t, const char *dir)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tok = NULL;

    CHECK_OK(t, om_tokenizer_open(dir, &tok, &err), &err);
    om_error_release(&err);
    return tok;
}

#define VOCAB "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nab\n##c\n"

static void saves_copies(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 16);
    const char *const from = test_data(t, "tokenizers/bert-multi-cased");
    const char *const to = path_of(&a, t, "deep/er");
    struct om_tokenizer *tok = open_dir(t, from);

    CHECK_INT(t, om_tokenizer_save(NULL, tok, to, NULL), 0);
    CHECK(t, file_is_same(from, to, "tokenizer.json"));
    CHECK(t, om_file_exists(om_path_join(&a, to, "tokenizer_config.json")));
    CHECK(t, om_file_exists(om_path_join(&a, to, "special_tokens_map.json")));
    om_tokenizer_free(tok);
    tok = open_dir(t, to);
    CHECK_INT(t, om_tokenizer_save(NULL, tok, to, NULL), 0); /* into its own directory */
    CHECK(t, file_is_same(from, to, "tokenizer.json"));
    om_tokenizer_free(tok);
    om_arena_release(&a);
}

static void saves_a_vocabulary(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 16);
    const char *const to = path_of(&a, t, "to");
    struct om_tokenizer *tok;

    put_file(t, "old", "vocab.txt", VOCAB);
    put_file(t, "old", "config.json", "{\"model_type\":\"bert\"}");
    tok = open_dir(t, path_of(&a, t, "old"));
    CHECK_INT(t, om_tokenizer_save(NULL, tok, to, NULL), 0);
    om_tokenizer_free(tok);
    CHECK_INT(t, unlink(om_path_join(&a, to, "vocab.txt")), 0);
    tok = open_dir(t, to); /* of tokenizer.json now, with the tokens that the class knew */
    check_ids(t, tok, "ABc x [MASK]", "2 5 6 1 4 3");
    CHECK_STR(t, om_tokenizer_get_info(tok)->mask_token, "[MASK]");
    CHECK_STR(t, om_tokenizer_get_info(tok)->pad_token, "[PAD]");
    om_tokenizer_free(tok);
    om_arena_release(&a);
}

static void refuses_to_save(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1u << 16);
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tok;

    put_file(t, "old", "vocab.txt", VOCAB);
    put_file(t, "old", "config.json", "{\"model_type\":\"bert\"}");
    put_file(t, "old", "file", "");
    tok = open_dir(t, path_of(&a, t, "old"));
    CHECK_INT(t, om_tokenizer_save(NULL, tok, "", &err), OM_E_USAGE);
    om_error_release(&err);
    CHECK_INT(t, om_tokenizer_save(NULL, tok, path_of(&a, t, "old/file"), &err), OM_E_IO);
    om_error_release(&err);
    CHECK_INT(t, unlink(path_of(&a, t, "old/vocab.txt")), 0);
    CHECK_INT(t, om_tokenizer_save(NULL, tok, path_of(&a, t, "to"), &err), OM_E_MISSING);
    CHECK_HAS(t, om_error_text(&err), "vocab.txt");
    om_error_release(&err);
    om_tokenizer_free(tok);
    om_arena_release(&a);
}

static void by_name(struct test *t)
{
    static const struct {
        const char *name, *revision;
        int rc;
        const char *want;
    } cases[] = {
        { NULL, NULL, OM_E_USAGE, "named" },
        { "", NULL, OM_E_USAGE, "named" },
        { "/nowhere/at/all", NULL, OM_E_MISSING, "/nowhere/at/all" },
        { "org/absent", NULL, OM_E_MISSING, "org/absent" },
        { "/", "main", OM_E_USAGE, "main" },
    };
    struct om_tokenizer_opts opts = OM_TOKENIZER_OPTS_INIT;
    struct om_arena a = OM_ARENA_INIT(1u << 16);
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tok = NULL;

    put_file(t, "model/sub", "vocab.txt", VOCAB);
    put_file(t, "model/sub", "config.json", "{\"model_type\":\"bert\"}");
    opts.tokenizer = path_of(&a, t, "model");
    opts.subfolder = "sub";
    CHECK_OK(t, om_tokenizer_from_pretrained(NULL, &opts, &tok, &err), &err);
    om_tokenizer_free(tok);
    opts = (struct om_tokenizer_opts)OM_TOKENIZER_OPTS_INIT;
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "case %zu", i);
        opts.tokenizer = cases[i].name;
        opts.revision = cases[i].revision;
        opts.local_files_only = true;
        opts.cache_dir = path_of(&a, t, "cache");
        CHECK_INT(t, om_tokenizer_from_pretrained(NULL, &opts, &tok, &err), cases[i].rc);
        CHECK_HAS(t, om_error_text(&err), cases[i].want);
        om_error_release(&err);
    }
    opts.struct_size = 1;
    CHECK_INT(t, om_tokenizer_from_pretrained(NULL, &opts, &tok, NULL), OM_E_USAGE);
    om_arena_release(&a);
}

/* What files leave open; an explicit null is an answer. */
static void class_defaults(struct test *t)
{
    static const struct {
        const char *config, *mask, *pad;
        enum om_side side;
    } cases[] = {
        { "{\"tokenizer_class\":\"BertTokenizer\"}", "[MASK]", "[PAD]", OM_SIDE_RIGHT },
        { "{\"tokenizer_class\":\"BertTokenizerFast\",\"mask_token\":null}", NULL, "[PAD]",
          OM_SIDE_RIGHT },
        { "{\"tokenizer_class\":\"BertTokenizer\",\"pad_token\":\"ab\",\"padding_side\":\"left\"}",
          "[MASK]", "ab", OM_SIDE_LEFT },
    };
    struct om_arena a = OM_ARENA_INIT(1u << 16);

    put_file(t, "old", "vocab.txt", VOCAB);
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "%s", cases[i].config);
        put_file(t, "old", "tokenizer_config.json", cases[i].config);
        struct om_tokenizer *const tok = open_dir(t, path_of(&a, t, "old"));
        const struct om_tokenizer_info *const info = om_tokenizer_get_info(tok);
        CHECK_STR(t, info->mask_token ? info->mask_token : "none",
                  cases[i].mask ? cases[i].mask : "none");
        CHECK_STR(t, info->pad_token, cases[i].pad);
        CHECK_INT(t, info->padding_side, cases[i].side);
        om_tokenizer_free(tok);
    }
    om_arena_release(&a);
}

static void words(struct test *t)
{
    static const struct om_text text[] = { { "ab", 2 }, { "abc x", 5 }, { "", 0 }, { "ab", 2 } };
    static const struct om_text pair[] = { { "abc", 3 } };
    static const struct {
        uint32_t id, begin, end;
        int32_t word, sequence;
    } want[] = { { 2, 0, 0, -1, -1 }, { 5, 0, 2, 0, 0 },  { 5, 0, 2, 1, 0 },   { 6, 2, 3, 1, 0 },
                 { 1, 4, 5, 1, 0 },   { 5, 0, 2, 3, 0 },  { 3, 0, 0, -1, -1 }, { 5, 0, 2, 0, 1 },
                 { 6, 2, 3, 0, 1 },   { 3, 0, 0, -1, -1 } };
    struct om_arena a = OM_ARENA_INIT(1u << 16);
    struct om_encoding *e = NULL;

    put_file(t, "old", "vocab.txt", VOCAB);
    put_file(t, "old", "config.json", "{\"model_type\":\"bert\"}");
    struct om_tokenizer *const tok = open_dir(t, path_of(&a, t, "old"));
    CHECK_INT(
        t,
        om_tokenizer_encode_words(tok, text, OM_COUNT(text), pair, OM_COUNT(pair), NULL, &e, NULL),
        0);
    CHECK_INT(t, e ? e->len : 0, OM_COUNT(want));
    for (size_t i = 0; e && i < e->len && i < OM_COUNT(want); i++) {
        test_case(t, "token %zu", i);
        CHECK_INT(t, e->ids[i], want[i].id);
        CHECK_INT(t, e->offsets[i].begin, want[i].begin);
        CHECK_INT(t, e->offsets[i].end, want[i].end);
        CHECK_INT(t, e->word_ids[i], want[i].word);
        CHECK_INT(t, e->sequence_ids[i], want[i].sequence);
    }
    om_encoding_free(e);
    CHECK_INT(t, om_tokenizer_encode_words(tok, NULL, 0, NULL, 0, NULL, &e, NULL), 0);
    CHECK_INT(t, e ? e->len : 0, 2);
    om_encoding_free(e);
    om_tokenizer_free(tok);
    om_arena_release(&a);
}

const struct test_entry t_tok_files[] = { { "saves_copies", saves_copies },
                                          { "saves_a_vocabulary", saves_a_vocabulary },
                                          { "refuses_to_save", refuses_to_save },
                                          { "by_name", by_name },
                                          { "class_defaults", class_defaults },
                                          { "words", words },
                                          TEST_END };
