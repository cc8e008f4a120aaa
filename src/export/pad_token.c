/* src/export/pad_token.c: the id of the padding token by the tokenizer's files, for a classifier
 * over a decoder whose config.json names none. */
#include <stdlib.h>

#include "base/file.h"
#include "export/job.h"

/* A token is a string, or an object that holds it as "content". */
static bool token_text(const struct om_json *v, om_sv *out)
{
    return om_json_str(v, out) || om_json_str(om_json_get(v, "content"), out);
}

static bool same_token(const struct om_json *v, om_sv token)
{
    om_sv text;

    return token_text(v, &text) && text.len == token.len &&
           memcmp(text.ptr, token.ptr, token.len) == 0;
}

/* "added_tokens_decoder" of tokenizer_config.json: {"50257": {"content": "[PAD]"}}. */
static bool in_decoder(const struct om_json *config, om_sv token, int64_t *id)
{
    const struct om_json *tokens = om_json_get(config, "added_tokens_decoder");
    struct om_json_iter it = { 0 };

    while (om_json_next(tokens, &it))
        if (it.key.len > 0 && it.key.len < 10 && same_token(it.value, token)) {
            char digits[10] = "";
            memcpy(digits, it.key.ptr, it.key.len);
            *id = strtoll(digits, NULL, 10);
            return true;
        }
    return false;
}

/* "added_tokens" of tokenizer.json: [{"id": 50257, "content": "[PAD]"}]. */
static bool in_added(const struct om_json *tokenizer, om_sv token, int64_t *id)
{
    const struct om_json *list = om_json_get(tokenizer, "added_tokens");

    for (size_t i = 0; i < om_json_len(list); i++)
        if (same_token(om_json_at(list, i), token))
            return om_json_i64(om_json_get(om_json_at(list, i), "id"), id);
    return false;
}

/* A vocabulary maps tokens to ids, that of a Unigram model lists tokens with their scores. */
static bool in_vocabulary(const struct om_json *vocab, om_sv token, int64_t *id)
{
    struct om_json_iter it = { 0 };

    for (size_t i = 0; om_json_kind(vocab) == OM_JSON_ARRAY && i < om_json_len(vocab); i++)
        if (same_token(om_json_at(om_json_at(vocab, i), 0), token)) {
            *id = (int64_t)i;
            return true;
        }
    while (om_json_kind(vocab) == OM_JSON_OBJECT && om_json_next(vocab, &it))
        if (it.key.len == token.len && memcmp(it.key.ptr, token.ptr, token.len) == 0)
            return om_json_i64(it.value, id);
    return false;
}

/* A file of the checkpoint; *out stays NULL where there is none. */
static int read_file(struct om_job *job, const char *name, struct om_json **out,
                     struct om_error *err)
{
    const char *path = om_path_join(&job->arena, job->dir, name);

    if (path == NULL)
        return om_fail(err, OM_E_NOMEM, "%s: out of memory for a path", name);
    return om_file_exists(path) ? om_json_read(path, OM_JSON_LAST_WINS, out, err) : 0;
}

int om_pad_token_find(struct om_job *job, int64_t *id, struct om_error *err)
{
    struct om_json *config = NULL, *map = NULL, *tokenizer = NULL, *vocab = NULL;
    om_sv token;
    bool named;
    int rc = read_file(job, "tokenizer_config.json", &config, err);

    *id = -1;
    if (rc == 0)
        rc = read_file(job, "special_tokens_map.json", &map, err);
    named = rc == 0 && (token_text(om_json_get(config, "pad_token"), &token) ||
                        token_text(om_json_get(map, "pad_token"), &token));
    if (named && !in_decoder(config, token, id))
        rc = read_file(job, "tokenizer.json", &tokenizer, err);
    if (rc == 0 && named && *id < 0 && !in_added(tokenizer, token, id) &&
        !in_vocabulary(om_json_get(om_json_get(tokenizer, "model"), "vocab"), token, id))
        rc = read_file(job, "vocab.json", &vocab, err);
    if (rc == 0 && named && *id < 0)
        in_vocabulary(vocab, token, id);
    om_json_free(config);
    om_json_free(map);
    om_json_free(tokenizer);
    om_json_free(vocab);
    return rc;
}
