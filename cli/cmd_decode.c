/* cli/cmd_decode.c: optimum-cli decode. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/filter.h"

#include <optimum/tokenizer.h>

struct ids {
    uint32_t *items;
    size_t len, cap;
};

static int add_id(struct ids *ids, int64_t id, struct om_error *err)
{
    if (id < 0 || id >= UINT32_MAX)
        return om_fail(err, OM_E_USAGE, "%" PRId64 " is no id", id);
    if (!om_grow(&ids->items, &ids->cap, ids->len + 1, sizeof(*ids->items)))
        return om_fail(err, OM_E_NOMEM, "out of memory for %zu ids", ids->len);
    ids->items[ids->len++] = (uint32_t)id;
    return 0;
}

/* Numbers between commas, spaces and brackets. */
static int add_text(struct ids *ids, const char *text, struct om_error *err)
{
    static const char between[] = ", \t\n[]";

    while (*(text += strspn(text, between)) != '\0') {
        const om_sv word = { text, strcspn(text, between) };
        int64_t id;
        if (!om_sv_i64(word, &id))
            return om_fail(err, OM_E_USAGE, "expected an id, found \"%.*s\"", OM_SV(word));
        OM_TRY(add_id(ids, id, err));
        text += word.len;
    }
    return 0;
}

/* ---- the filter ---- */

struct decoder {
    const struct om_tokenizer *tok;
    bool clean_up;
};

static int add_decoded(const struct decoder *d, const struct ids *ids, bool skip,
                       struct om_buf *out, struct om_error *err)
{
    struct om_decode_opts opts = OM_DECODE_OPTS_INIT;
    char *text;
    size_t len;

    opts.skip_special_tokens = skip;
    opts.clean_up_spaces = d->clean_up;
    OM_TRY(om_tokenizer_decode(d->tok, ids->items, ids->len, &opts, &text, &len, err));
    om_buf_adds(out, skip ? "{\"decoded\":" : ",\"decoded_raw\":");
    om_buf_json_string(out, (om_sv){ text, len });
    free(text);
    return 0;
}

static int answer_ids(const struct decoder *d, const struct om_json *list, struct ids *ids,
                      struct om_buf *out, struct om_error *err)
{
    int64_t id;

    for (size_t i = 0; i < om_json_len(list); i++) {
        if (!om_json_i64(om_json_at(list, i), &id))
            return om_fail(err, OM_E_FORMAT, "key \"ids\", element %zu: expected an id", i);
        OM_TRY(add_id(ids, id, err));
    }
    OM_TRY(add_decoded(d, ids, true, out, err));
    OM_TRY(add_decoded(d, ids, false, out, err));
    om_buf_addc(out, '}');
    return 0;
}

static int answer(void *user, const struct om_json *line, struct om_buf *out, struct om_error *err)
{
    const struct om_json *const list = om_json_get(line, "ids");
    struct ids ids = { NULL, 0, 0 };

    if (om_json_kind(list) != OM_JSON_ARRAY)
        return om_fail(err, OM_E_FORMAT, "key \"ids\": expected an array, found %s",
                       om_json_kind_text(list));
    const int rc = answer_ids(user, list, &ids, out, err);
    free(ids.items);
    return rc;
}

/* ---- the command ---- */

static int print_text(struct cli *cli, const struct decoder *d, const struct ids *ids, bool skip)
{
    struct om_decode_opts opts = OM_DECODE_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    char *text;
    size_t len;

    opts.skip_special_tokens = skip;
    opts.clean_up_spaces = d->clean_up;
    if (om_tokenizer_decode(d->tok, ids->items, ids->len, &opts, &text, &len, &err) < 0)
        return cli_report(cli, &err);
    fwrite(text, 1, len, stdout);
    putchar('\n');
    free(text);
    return CLI_OK;
}

static int decode_words(struct cli *cli, const struct decoder *d, const struct opt_args *words,
                        bool skip)
{
    struct om_error err = OM_ERROR_INIT;
    struct ids ids = { NULL, 0, 0 };
    int rc = 0;

    for (size_t i = 0; i < words->len && rc == 0; i++)
        rc = add_text(&ids, words->items[i], &err);
    const int status = rc < 0 ? cli_report(cli, &err) : print_text(cli, d, &ids, skip);
    free(ids.items);
    return status;
}

int cmd_decode(struct cli *cli, int argc, char **argv)
{
    const char *path = NULL;
    struct om_error err = OM_ERROR_INIT;
    struct om_tokenizer *tok;
    struct opt_args words = { NULL, 0 };
    struct decoder d = { .tok = NULL };
    struct filter lines = FILTER_INIT;
    bool skip = false, target = false;
    int status;
    const struct opt opts[] = {
        OPT_GROUP("arguments"),
        OPT_STR('t', "tokenizer", &path, "DIR", CLI_TOKENIZER_HELP, OPT_REQUIRED),
        OPT_ARGS("ID", &words, "ids, with spaces or commas between", 0),
        OPT_FLAG(0, "target", &target, CLI_TARGET_HELP),
        OPT_FLAG(0, "skip-special-tokens", &skip, "leave out tokens such as [CLS]"),
        OPT_FLAG(
            0, "clean-up", &d.clean_up,
            "no space before punctuation, as Transformers does when tokenizer_config.json says so"),
        FILTER_OPTIONS(&lines, "read JSON lines with \"ids\" from FILE, or from standard input for "
                               "-, and write one with \"decoded\" (without special tokens) and "
                               "\"decoded_raw\" for each"),
        OPT_END
    };

    if (!opt_parse(cli, "Turn ids back into text.", opts, argc, argv, &status))
        return status;
    if ((lines.input != NULL) == (words.len > 0))
        return cli_usage_error(cli, "give ids, or --input");
    if (cli_open_tokenizer(cli, path, target, &tok, &err) < 0)
        return cli_report(cli, &err);
    d.tok = tok;
    status =
        lines.input ? filter_lines(cli, &lines, answer, &d) : decode_words(cli, &d, &words, skip);
    om_tokenizer_free(tok);
    return status;
}
