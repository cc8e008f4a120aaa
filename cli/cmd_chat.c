/* cli/cmd_chat.c: optimum-cli chat: a conversation with a model, a line at a time. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/generation.h"

#define HISTORY_MAX ((size_t)256 << 20)

struct options {
    const char *model, *tokenizer, *system, *chat_template, *init, *provider, *revision, *subfolder,
        *cache_dir, *export_cache;
    struct generation generation;
    int64_t top_k;
    bool no_export_cache;
};

/* ---- the conversation ---- */

struct chat {
    struct cli *cli;
    const struct om_pipeline *pipeline;
    const struct options *o;
    struct om_generation_config *config;
    char *system;          /* NULL: none */
    struct om_buf history; /* messages as JSON, with commas between them */
    bool terminal;         /* somebody types */
    int64_t turn;
};

static void put_message(struct om_buf *b, const char *role, om_sv content)
{
    om_buf_printf(b, "%s{\"role\": \"%s\", \"content\": ", b->len ? ", " : "", role);
    om_buf_json_string(b, content);
    om_buf_addc(b, '}');
}

/* The list of all messages. */
static int put_messages(const struct chat *c, struct om_buf *b, struct om_error *err)
{
    struct om_buf system = OM_BUF_INIT(HISTORY_MAX);

    if (c->system)
        put_message(&system, "system", om_sv_str(c->system));
    om_buf_addc(b, '[');
    om_buf_add(b, system.ptr, system.len);
    om_buf_adds(b, system.len && c->history.len ? ", " : "");
    om_buf_add(b, c->history.ptr, c->history.len);
    om_buf_addc(b, ']');
    b->failed |= system.failed || c->history.failed;
    om_buf_release(&system);
    return om_buf_check(b, err);
}

static int generate(struct chat *c, const char *messages, struct om_error *err)
{
    struct om_generation_opts o = OM_GENERATION_OPTS_INIT;
    const struct om_generated_texts *out = NULL;
    int rc;

    o.config = c->config;
    o.seed = (uint64_t)OM_MAX(c->o->generation.seed, 0) + (uint64_t)c->turn++;
    o.ctx = c->cli->ctx;
    o.stream = c->config->num_beams == 1 ? generation_print : NULL;
    o.chat_template = c->o->chat_template;
    rc = om_pipeline_chat(c->pipeline, messages, &o, &out, err);
    if (rc == 0) {
        const struct om_text text = out->at[0].text;

        if (!o.stream)
            fwrite(text.ptr, 1, text.len, stdout);
        put_message(&c->history, "assistant", (om_sv){ text.ptr, text.len });
        rc = om_buf_check(&c->history, err);
    }
    putchar('\n');
    fflush(stdout);
    om_pipeline_release(out);
    return rc;
}

/* A message that could not be answered is taken back. */
static int answer(struct chat *c, om_sv line)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_buf messages = OM_BUF_INIT(HISTORY_MAX);
    const size_t before = c->history.len;
    int rc;

    put_message(&c->history, "user", line);
    rc = put_messages(c, &messages, &err);
    if (rc == 0)
        rc = generate(c, messages.ptr, &err);
    om_buf_release(&messages);
    if (rc == 0)
        return CLI_OK;
    c->history.len = before;
    return cli_report(c->cli, &err);
}

/* ---- commands ---- */

static int set_system(struct chat *c, om_sv text)
{
    struct om_error err = OM_ERROR_INIT;

    free(c->system);
    c->system = NULL;
    if (text.len == 0)
        return CLI_OK;
    c->system = strndup(text.ptr, text.len);
    if (c->system)
        return CLI_OK;
    om_fail(&err, OM_E_NOMEM, "out of memory");
    return cli_report(c->cli, &err);
}

static void help(void)
{
    puts("/reset          forget what was said\n"
         "/system [TEXT]  what the model is told before all else\n"
         "/exit           the end, as is the end of the input");
}

enum next { GO_ON, LEAVE };

static enum next run_command(struct chat *c, om_sv line, int *status)
{
    om_sv rest = line, name;

    om_sv_split(&rest, ' ', &name);
    if (om_sv_is(name, "/exit") || om_sv_is(name, "/quit"))
        return LEAVE;
    if (om_sv_is(name, "/reset"))
        c->history.len = 0;
    else if (om_sv_is(name, "/system"))
        *status = set_system(c, om_sv_trim(rest));
    else if (om_sv_is(name, "/help"))
        help();
    else
        fprintf(stderr, "optimum-cli chat: no command %.*s; /help shows them\n", OM_SV(name));
    return GO_ON;
}

/* An answer that failed ends a conversation that nobody types. */
static enum next take_line(struct chat *c, om_sv line, int *status)
{
    if (line.len == 0)
        return GO_ON;
    if (line.ptr[0] == '/')
        return run_command(c, line, status);
    *status = answer(c, line);
    if (*status == CLI_INTERRUPTED || ferror(stdout))
        return LEAVE;
    return *status == CLI_OK || c->terminal ? GO_ON : LEAVE;
}

static int talk(struct chat *c)
{
    char *text = NULL;
    size_t cap = 0;
    int status = CLI_OK;

    for (enum next next = GO_ON; next == GO_ON;) {
        ssize_t len;

        if (c->terminal) {
            fputs("> ", stdout);
            fflush(stdout);
        }
        len = getline(&text, &cap, stdin);
        if (len < 0)
            break;
        status = CLI_OK;
        next = take_line(c, om_sv_trim((om_sv){ text, (size_t)len }), &status);
    }
    free(text);
    return status;
}

/* ---- the command ---- */

/* The pipeline's settings with those of the command line. A model without padding gets a token for
 * it, of which nothing is seen: there is one text at a time. */
static int make_config(struct cli *cli, const struct om_pipeline *p, const struct options *o,
                       struct om_generation_config **out, struct om_error *err)
{
    struct om_buf b = OM_BUF_INIT((size_t)1 << 20);
    size_t n = 0;
    int rc;

    om_buf_addc(&b, '{');
    generation_put(&o->generation, &b, &n);
    if (o->top_k != GENERATION_UNSET)
        om_buf_printf(&b, "%s\"top_k\": %" PRId64, n ? ", " : "", o->top_k);
    om_buf_addc(&b, '}');
    rc = om_buf_check(&b, err);
    if (rc == 0)
        rc = om_generation_config_parse(cli->ctx, om_pipeline_settings(p), b.ptr, b.len, out, err);
    om_buf_release(&b);
    if (rc == 0 && (*out)->pad_token_id < 0 && (*out)->eos_token_id.len)
        (*out)->pad_token_id = (*out)->eos_token_id.ids[0];
    return rc;
}

static int open_pipeline(struct cli *cli, const struct options *o, struct om_pipeline **out,
                         struct om_error *err)
{
    struct om_pipeline_opts p = OM_PIPELINE_OPTS_INIT;
    struct om_session_opts session = OM_SESSION_OPTS_INIT;
    struct om_model_opts m = OM_MODEL_OPTS_INIT;

    session.provider = o->provider;
    m.session = &session;
    m.revision = o->revision;
    m.subfolder = o->subfolder;
    m.cache_dir = o->cache_dir;
    m.export_cache = o->no_export_cache ? OM_EXPORT_CACHE_NO : OM_EXPORT_CACHE_YES;
    m.export_cache_dir = o->export_cache;
    p.task = "text-generation";
    p.model = o->model;
    p.tokenizer = o->tokenizer;
    p.model_opts = &m;
    p.init = o->init;
    return om_pipeline_open(cli->ctx, &p, out, err);
}

static int run(struct cli *cli, const struct options *o)
{
    struct chat c = { .cli = cli,
                      .o = o,
                      .history = OM_BUF_INIT(HISTORY_MAX),
                      .terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) };
    struct om_pipeline *p = NULL;
    struct om_error err = OM_ERROR_INIT;
    int rc = open_pipeline(cli, o, &p, &err), status;

    if (rc == 0)
        rc = make_config(cli, p, o, &c.config, &err);
    c.pipeline = p;
    status = rc < 0 ? cli_report(cli, &err) : set_system(&c, om_sv_str(o->system));
    if (status == CLI_OK)
        status = talk(&c);
    free(c.system);
    om_buf_release(&c.history);
    om_generation_config_free(c.config);
    om_pipeline_free(p);
    return status;
}

int cmd_chat(struct cli *cli, int argc, char **argv)
{
    struct options o = { .generation = GENERATION_INIT, .top_k = GENERATION_UNSET };
    int status;
    const struct opt opts[] = {
        OPT_GROUP("options"),
        OPT_STR('m', "model", &o.model, "MODEL",
                "a checkpoint, an exported directory, or a model on the Hub; a checkpoint is "
                "exported first",
                OPT_REQUIRED),
        OPT_STR('t', "tokenizer", &o.tokenizer, "TOKENIZER",
                "a directory, a tokenizer.json, or a model on the Hub (default: the model's)", 0),
        OPT_STR(0, "system", &o.system, "TEXT", "what the model is told before all else", 0),
        OPT_STR(0, "chat-template", &o.chat_template, "NAME",
                "a template of the tokenizer's, or one as it stands (default: the tokenizer's)", 0),
        OPT_GROUP("how answers are written"),
        GENERATION_OPTIONS(&o.generation),
        OPT_INT(0, "top-k", &o.top_k, "N", 0, "of sampling: the N likeliest tokens; 0: all"),
        OPT_STR(0, "init", &o.init, "JSON",
                "parameters of the text-generation pipeline, as an object; those above win", 0),
        OPT_GROUP("how it runs"),
        OPT_STR(0, "provider", &o.provider, "NAME",
                "ONNX Runtime's execution provider (default: CPUExecutionProvider)", 0),
        OPT_STR(0, "export-cache", &o.export_cache, "DIR",
                "where exports of checkpoints are kept (default: OPTIMUM_EXPORT_CACHE, or "
                "optimum.c/exports in XDG_CACHE_HOME or ~/.cache)",
                0),
        OPT_FLAG(0, "no-export-cache", &o.no_export_cache, "export anew, and keep nothing"),
        OPT_STR(0, "revision", &o.revision, "REV",
                "branch, tag or commit of a model on the Hub (default: main)", 0),
        OPT_STR(0, "subfolder", &o.subfolder, "DIR", "where the model's files are", 0),
        OPT_STR(0, "cache_dir", &o.cache_dir, "DIR",
                "the cache of models from the Hub (default: as in Python)", 0),
        OPT_END
    };

    if (!opt_parse(cli,
                   "Talk with a model: each line of the input is a message, each answer is printed "
                   "as it comes. /help shows the commands of a conversation.",
                   opts, argc, argv, &status))
        return status;
    return run(cli, &o);
}
