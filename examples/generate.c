/* examples/generate.c: go on with a text, printing tokens as they come.
 *
 * usage: generate MODEL TEXT [MAX_NEW_TOKENS]
 *
 * What AutoTokenizer, ORTModelForCausalLM.generate() and a TextStreamer are in Python. MODEL is a
 * checkpoint or an exported directory, with its tokenizer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <optimum/generation.h>
#include <optimum/model.h>
#include <optimum/tokenizer.h>

static void on_log(void *user, enum om_level level, const char *line)
{
    (void)user;
    (void)level;
    fprintf(stderr, "%s\n", line);
}

/* Text comes as soon as later tokens cannot change it. */
static bool on_piece(void *user, const struct om_stream_piece *piece)
{
    (void)user;
    fwrite(piece->text, 1, piece->text_len, stdout);
    return fflush(stdout) == 0;
}

static int open_model(struct om_ctx *ctx, const char *path, struct om_model **out,
                      struct om_error *err)
{
    struct om_model_opts opts = OM_MODEL_OPTS_INIT;

    opts.model = path;
    opts.model_class = OM_MODEL_CAUSAL_LM;
    return om_model_open(ctx, &opts, out, err);
}

static int generate(struct om_ctx *ctx, const struct om_model *model,
                    const struct om_tokenizer *tok, const int64_t *ids, size_t length,
                    int64_t max_new_tokens, struct om_error *err)
{
    struct om_generate_inputs inputs = OM_GENERATE_INPUTS_INIT;
    struct om_generate_opts opts = OM_GENERATE_OPTS_INIT;
    struct om_generation_config *config = NULL;
    struct om_generated *out = NULL;
    int rc = om_generation_config_open(ctx, model, &config, err); /* generation_config.json */

    if (rc == 0) {
        config->max_new_tokens = max_new_tokens;
        config->do_sample = false;
        inputs.ids = ids;
        inputs.length = length;
        opts.config = config;
        opts.tokenizer = tok;
        opts.stream = on_piece;
        rc = om_generate(ctx, model, &inputs, &opts, &out, err);
    }
    om_generated_free(out);
    om_generation_config_free(config);
    return rc;
}

static int go_on(struct om_ctx *ctx, const struct om_model *model, const struct om_tokenizer *tok,
                 const char *text, int64_t max_new_tokens, struct om_error *err)
{
    const struct om_text given = { text, strlen(text) };
    struct om_encoding *enc = NULL;
    int64_t *ids;
    int rc = om_tokenizer_encode(tok, &given, NULL, NULL, &enc, err);

    if (rc < 0)
        return rc;
    ids = calloc(enc->len + 1, sizeof(*ids));
    for (size_t i = 0; ids && i < enc->len; i++)
        ids[i] = enc->ids[i];
    fputs(text, stdout);
    rc = ids ? generate(ctx, model, tok, ids, enc->len, max_new_tokens, err) : OM_E_NOMEM;
    putchar('\n');
    free(ids);
    om_encoding_free(enc);
    return rc;
}

int main(int argc, char **argv)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_ctx *const ctx = om_ctx_new();
    struct om_tokenizer *tok = NULL;
    struct om_model *model = NULL;
    int rc;

    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: %s MODEL TEXT [MAX_NEW_TOKENS]\n", argv[0]);
        return 2;
    }
    om_ctx_set_log(ctx, on_log, NULL, OM_LOG_WARNING);
    rc = open_model(ctx, argv[1], &model, &err);
    if (rc == 0)
        rc = om_tokenizer_open(om_model_get_info(model)->dir, &tok, &err);
    if (rc == 0)
        rc = go_on(ctx, model, tok, argv[2], argc > 3 ? atoll(argv[3]) : 40, &err);
    if (rc < 0)
        fprintf(stderr, "%s (%s)\n", om_error_text(&err), om_code_name(rc));
    om_error_release(&err);
    om_tokenizer_free(tok);
    om_model_free(model);
    om_ctx_free(ctx);
    return rc < 0;
}
