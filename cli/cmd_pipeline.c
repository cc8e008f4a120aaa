/* cli/cmd_pipeline.c: optimum-cli pipeline: Transformers' pipelines on texts of the command line,
 * and as a filter of JSON lines. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/thread.h"
#include "cli/filter.h"
#include "cli/generation.h"

enum {
    LINES_PER_BATCH = 4
}; /* lines of a call are sorted by length, so more than a batch of them */

/* ---- parameters of the calls, as options ---- */

enum param_kind { PARAM_INT, PARAM_FLAG, PARAM_OFF, PARAM_TEXT, PARAM_LIST, PARAM_JSON };

/* One of each kind's members is set. */
struct param {
    const char *key;
    enum param_kind kind;
    int64_t number; /* UNSET: not given */
    bool flag;
    const char *text;
};
enum { UNSET = -1 };

/* Empty parts do not count, as where Transformers splits a text. */
static void put_list(struct om_buf *b, const char *text)
{
    om_sv rest = om_sv_str(text), part;
    bool more = false;

    om_buf_addc(b, '[');
    while (om_sv_split(&rest, ',', &part)) {
        part = om_sv_trim(part);
        if (part.len == 0)
            continue;
        om_buf_adds(b, more ? "," : "");
        om_buf_json_string(b, part);
        more = true;
    }
    om_buf_addc(b, ']');
}

/* The value as JSON; false: not given. */
static bool put_value(struct om_buf *b, const struct param *p)
{
    switch (p->kind) {
    case PARAM_INT:
        if (p->number != UNSET)
            om_buf_printf(b, "%" PRId64, p->number);
        return p->number != UNSET;
    case PARAM_FLAG:
        om_buf_adds(b, p->flag ? "true" : "");
        return p->flag;
    case PARAM_OFF: /* a flag that says false */
        om_buf_adds(b, p->flag ? "false" : "");
        return p->flag;
    case PARAM_JSON:
        om_buf_adds(b, p->text ? p->text : "");
        return p->text != NULL;
    case PARAM_TEXT:
        if (p->text)
            om_buf_json_string(b, om_sv_str(p->text));
        return p->text != NULL;
    case PARAM_LIST:
        if (p->text)
            put_list(b, p->text);
        return p->text != NULL;
    }
    return false;
}

enum { PARAMS_MAX = 24 };

/* --init with the options in it. */
static int make_init(const char *init, const struct param *params, size_t n, struct om_buf *out,
                     struct om_error *err)
{
    struct om_json_patch patches[PARAMS_MAX];
    struct om_arena a = OM_ARENA_INIT((size_t)1 << 30);
    size_t len = 0;
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        struct om_buf value = OM_BUF_INIT((size_t)1 << 28);
        if (put_value(&value, &params[i])) {
            patches[len].key = params[i].key;
            patches[len].value = om_arena_str(&a, om_buf_sv(&value));
            rc =
                value.failed || !patches[len].value ? om_fail(err, OM_E_NOMEM, "out of memory") : 0;
            len++;
        }
        om_buf_release(&value);
    }
    if (rc == 0)
        rc = om_wrap(err, om_json_patch(om_sv_str(init ? init : "{}"), patches, len, out, err),
                     "--init");
    if (rc == OM_E_FORMAT) /* of an option, not of a file */
        rc = err->code = OM_E_USAGE;
    om_arena_release(&a);
    return rc;
}

/* ---- requests of the command line ---- */

struct words {
    struct opt_args texts;
    const char *question, *context, *pair, *source;
};

static void put_member(struct om_buf *b, const char *key, const char *text)
{
    om_buf_json_string(b, om_sv_str(key));
    om_buf_addc(b, ':');
    om_buf_json_string(b, om_sv_str(text));
}

static void put_question(struct om_buf *b, const char *question, const char *context)
{
    om_buf_adds(b, "{\"inputs\":{");
    put_member(b, "question", question);
    om_buf_addc(b, ',');
    put_member(b, "context", context);
    om_buf_adds(b, "}}");
}

static void put_comparison(struct om_buf *b, const struct words *w)
{
    om_buf_adds(b, "{\"inputs\":{");
    put_member(b, "source_sentence", w->source);
    om_buf_adds(b, ",\"sentences\":[");
    for (size_t i = 0; i < w->texts.len; i++) {
        om_buf_adds(b, i ? "," : "");
        om_buf_json_string(b, om_sv_str(w->texts.items[i]));
    }
    om_buf_adds(b, "]}}");
}

static void put_text(struct om_buf *b, const char *text, const char *pair)
{
    om_buf_adds(b, "{\"inputs\":");
    if (pair) {
        om_buf_addc(b, '{');
        put_member(b, "text", text);
        om_buf_addc(b, ',');
        put_member(b, "text_pair", pair);
        om_buf_addc(b, '}');
    } else {
        om_buf_json_string(b, om_sv_str(text));
    }
    om_buf_addc(b, '}');
}

/* The i-th request: of one question and many contexts, of two sentences or more, or of a text. */
static void put_request(struct om_buf *b, const struct words *w, size_t i)
{
    const char *const text = i < w->texts.len ? w->texts.items[i] : "";

    if (w->question)
        put_question(b, w->question, w->context ? w->context : text);
    else if (w->context)
        put_question(b, text, w->context);
    else if (w->source)
        put_comparison(b, w);
    else
        put_text(b, text, w->pair);
}

static size_t count_requests(const struct words *w)
{
    if (w->source || (w->question && w->context))
        return 1;
    return w->texts.len;
}

/* What the task needs of the command line; NULL: all is there. */
static const char *missing(const char *task, const struct words *w)
{
    if (strcmp(task, "question-answering") == 0) {
        if (!w->question && !w->context)
            return "give --question and --context, or texts in place of one of them";
        if (w->question && w->context && w->texts.len)
            return "--question and --context leave nothing for more texts";
    } else if (w->question || w->context) {
        return "--question and --context are for question-answering";
    }
    if ((strcmp(task, "sentence-similarity") == 0) != (w->source != NULL))
        return w->source ? "--source-sentence is for sentence-similarity"
                         : "give --source-sentence and the sentences to compare it with";
    if (w->pair && strcmp(task, "text-classification") != 0)
        return "--text-pair is for text-classification";
    if (count_requests(w) == 0 || (w->source && w->texts.len == 0))
        return "give texts, or --input";
    return NULL;
}

/* ---- answers ---- */

struct show {
    struct cli *cli;
    const struct om_pipeline *pipeline;
    const struct words *words;
    bool json;
};

static void print_reply(const struct show *s, size_t i, size_t n,
                        const struct om_pipeline_reply *reply)
{
    if (!s->json && n > 1)
        printf("%s%s\n", i ? "\n" : "", s->words->texts.items[i]);
    fwrite(reply->text, 1, reply->len, stdout);
    putchar('\n');
}

static int print_replies(const struct show *s, struct om_pipeline_reply *replies, size_t n)
{
    int status = CLI_OK;

    for (size_t i = 0; i < n && status == CLI_OK; i++) {
        if (replies[i].text)
            print_reply(s, i, n, &replies[i]);
        else
            status = cli_report(s->cli, &replies[i].error);
    }
    return status;
}

static int answer_words(const struct show *s)
{
    const size_t n = count_requests(s->words);
    struct om_pipeline_reply *const replies = calloc(n, sizeof(*replies));
    struct om_text *const requests = calloc(n, sizeof(*requests));
    struct om_buf *const texts = calloc(n, sizeof(*texts));
    struct om_error err = OM_ERROR_INIT;
    int rc = replies && requests && texts ? 0 : om_fail(&err, OM_E_NOMEM, "out of memory"), status;

    for (size_t i = 0; i < n && rc == 0; i++) {
        texts[i].max = SIZE_MAX / 2;
        put_request(&texts[i], s->words, i);
        requests[i] = (struct om_text){ texts[i].ptr, texts[i].len };
        rc = om_buf_check(&texts[i], &err);
    }
    if (rc == 0)
        rc = om_pipeline_call(s->pipeline, requests, n,
                              s->json ? OM_PIPELINE_JSON : OM_PIPELINE_TEXT, replies, &err);
    status = rc < 0 ? cli_report(s->cli, &err) : print_replies(s, replies, n);
    if (rc == 0)
        om_pipeline_replies_release(replies, n);
    for (size_t i = 0; texts && i < n; i++)
        om_buf_release(&texts[i]);
    free(texts);
    free(requests);
    free(replies);
    return status;
}

/* ---- the filter ---- */

static void take_reply(struct jsonl_line *line, struct om_pipeline_reply *reply)
{
    if (reply->text)
        om_buf_add(line->out, reply->text, reply->len);
    else
        om_fail(&line->err, reply->error.code, "%s", om_error_text(&reply->error));
}

static void fail_all(struct jsonl_line *lines, size_t n, const struct om_error *err)
{
    for (size_t i = 0; i < n; i++)
        om_fail(&lines[i].err, err->code, "%s", om_error_text(err));
}

static int call(const struct om_pipeline *p, const struct jsonl_line *lines, size_t n,
                struct om_text *requests, struct om_pipeline_reply *replies, struct om_error *err)
{
    if (!requests || !replies)
        return om_fail(err, OM_E_NOMEM, "out of memory for %zu lines", n);
    for (size_t i = 0; i < n; i++)
        requests[i] = (struct om_text){ lines[i].text.ptr, lines[i].text.len };
    return om_pipeline_call(p, requests, n, OM_PIPELINE_JSON, replies, err);
}

static void answer_lines(void *user, struct jsonl_line *lines, size_t n)
{
    struct om_pipeline_reply *const replies = calloc(n, sizeof(*replies));
    struct om_text *const requests = calloc(n, sizeof(*requests));
    struct om_error err = OM_ERROR_INIT;

    if (call(user, lines, n, requests, replies, &err) < 0) {
        fail_all(lines, n, &err);
    } else {
        for (size_t i = 0; i < n; i++)
            take_reply(&lines[i], &replies[i]);
        om_pipeline_replies_release(replies, n);
    }
    om_error_release(&err);
    free(requests);
    free(replies);
}

static int answer_input(struct cli *cli, const struct om_pipeline *p, const struct filter *f)
{
    struct filter lines = *f;

    lines.threads = f->threads ? f->threads : 1;
    lines.batch_size = OM_MIN(f->batch_size * LINES_PER_BATCH, (int64_t)JSONL_BATCH_MAX);
    return filter_batches(cli, &lines, answer_lines, (void *)p);
}

/* ---- tasks that generate ---- */

static bool generates(const char *task)
{
    static const char *const tasks[] = { "text-generation", "text2text-generation", "summarization",
                                         "translation" };

    for (size_t i = 0; i < OM_COUNT(tasks); i++)
        if (strcmp(tasks[i], task) == 0)
            return true;
    return false;
}

/* Numbers that other tasks have under the same names. */
static void put_shared(struct om_buf *b, size_t *n, struct param *p)
{
    if (p->number == UNSET)
        return;
    om_buf_printf(b, "%s\"%s\": %" PRId64, (*n)++ ? ", " : "", p->key, p->number);
    p->number = UNSET;
}

/* Where one text is answered on a terminal, it is seen as it comes. */
static int stream_words(struct cli *cli, const struct om_pipeline *p, const struct words *w,
                        bool new_text)
{
    const struct om_text text = { w->texts.items[0], strlen(w->texts.items[0]) };
    struct om_generation_opts o = OM_GENERATION_OPTS_INIT;
    const struct om_generated_texts *out = NULL;
    struct om_error err = OM_ERROR_INIT;
    int rc;

    o.ctx = cli->ctx;
    o.stream = generation_print;
    if (!new_text && strcmp(om_pipeline_get_task(p), "text-generation") == 0)
        fwrite(text.ptr, 1, text.len, stdout);
    rc = om_pipeline_generate(p, &text, 1, &o, &out, &err);
    putchar('\n');
    om_pipeline_release(out);
    return rc < 0 ? cli_report(cli, &err) : CLI_OK;
}

/* ---- the command ---- */

struct options {
    const char *task, *model, *tokenizer, *init, *revision, *subfolder, *cache_dir, *provider,
        *export_cache;
    struct words words;
    struct filter filter;
    struct generation generation;
    bool json, no_export_cache, stream, no_stream;
};

enum place { TOP_K = 3, MAX_LENGTH = 14, RETURN_FULL_TEXT = 16, SEED = 19, GENERATE_KWARGS = 20 };

static bool streams(const struct options *o, const struct om_pipeline *p)
{
    const struct generation *const g = &o->generation;
    const int64_t beams =
        g->num_beams == GENERATION_UNSET ? om_pipeline_settings(p)->num_beams : g->num_beams;

    return !o->json && !o->no_stream && o->words.texts.len == 1 && beams == 1 &&
           g->num_return_sequences <= 1 && (o->stream || isatty(STDOUT_FILENO));
}

/* Settings of generate() become one parameter. */
static int put_settings(const struct options *o, struct param *params, struct om_buf *b,
                        struct om_error *err)
{
    const char *const task = om_pipeline_task(o->task);
    size_t n = 0;

    om_buf_addc(b, '{');
    generation_put(&o->generation, b, &n);
    if (n && !generates(task))
        return om_fail(err, OM_E_USAGE,
                       "%s generates no text: --max-new-tokens, --greedy and their "
                       "like have no meaning",
                       task);
    if (generates(task)) {
        put_shared(b, &n, &params[TOP_K]);
        put_shared(b, &n, &params[MAX_LENGTH]);
    }
    om_buf_addc(b, '}');
    OM_TRY(om_buf_check(b, err));
    params[GENERATE_KWARGS].text = n ? b->ptr : NULL;
    params[SEED].number = o->generation.seed;
    return 0;
}

static int open_pipeline(struct cli *cli, const struct options *o, const char *init,
                         struct om_pipeline **out, struct om_error *err)
{
    struct om_pipeline_opts p = OM_PIPELINE_OPTS_INIT;
    struct om_session_opts session = OM_SESSION_OPTS_INIT;
    struct om_model_opts m = OM_MODEL_OPTS_INIT;
    const int64_t threads = OM_MAX(o->filter.threads, 1);

    if (threads > 1) /* they share the CPUs */
        session.intra_op_threads = (int)OM_MAX((int64_t)om_cpu_count() / threads, 1);
    session.provider = o->provider;
    m.session = &session;
    m.revision = o->revision;
    m.subfolder = o->subfolder;
    m.cache_dir = o->cache_dir;
    m.export_cache = o->no_export_cache ? OM_EXPORT_CACHE_NO : OM_EXPORT_CACHE_YES;
    m.export_cache_dir = o->export_cache;
    p.task = o->task;
    p.model = o->model;
    p.tokenizer = o->tokenizer;
    p.model_opts = &m;
    p.batch_size = (size_t)o->filter.batch_size;
    p.threads = o->filter.input ? 1 : (size_t)threads;
    p.init = init;
    return om_pipeline_open(cli->ctx, &p, out, err);
}

static int run(struct cli *cli, const struct options *o, struct param *params, size_t n)
{
    struct om_buf init = OM_BUF_INIT((size_t)1 << 30), settings = OM_BUF_INIT((size_t)1 << 20);
    struct om_pipeline *p = NULL;
    struct om_error err = OM_ERROR_INIT;
    int rc = put_settings(o, params, &settings, &err), status;

    if (rc == 0)
        rc = make_init(o->init, params, n, &init, &err);
    if (rc == 0)
        rc = open_pipeline(cli, o, init.ptr, &p, &err);
    om_buf_release(&settings);
    om_buf_release(&init);
    if (rc < 0)
        return cli_report(cli, &err);
    if (o->filter.input)
        status = answer_input(cli, p, &o->filter);
    else if (om_pipeline_settings(p) && streams(o, p))
        status = stream_words(cli, p, &o->words, params[RETURN_FULL_TEXT].flag);
    else
        status = answer_words(&(struct show){ cli, p, &o->words, o->json });
    om_pipeline_free(p);
    return status;
}

static int check(struct cli *cli, const struct options *o)
{
    const char *const task = om_pipeline_task(o->task);
    const char *problem;

    if (!task)
        return cli_usage_error(cli, "there is no pipeline for task \"%s\"; --list shows the tasks",
                               o->task);
    if (o->filter.input && (o->words.texts.len || o->words.question || o->words.context ||
                            o->words.source || o->words.pair))
        return cli_usage_error(cli, "with --input, texts come from there");
    problem = o->filter.input ? NULL : missing(task, &o->words);
    return problem ? cli_usage_error(cli, "%s: %s", task, problem) : CLI_OK;
}

static void list_tasks(void)
{
    for (size_t i = 0; om_pipeline_task_at(i); i++)
        puts(om_pipeline_task_at(i));
}

int cmd_pipeline(struct cli *cli, int argc, char **argv)
{
    struct options o = { .filter = { .batch_size = 8, .max_line = JSONL_LINE_MAX },
                         .generation = GENERATION_INIT };
    struct param params[] = {
        { .key = "candidate_labels", .kind = PARAM_LIST },
        { .key = "hypothesis_template", .kind = PARAM_TEXT },
        { .key = "multi_label", .kind = PARAM_FLAG },
        [TOP_K] = { .key = "top_k", .kind = PARAM_INT, .number = UNSET },
        { .key = "function_to_apply", .kind = PARAM_TEXT },
        { .key = "aggregation_strategy", .kind = PARAM_TEXT },
        { .key = "ignore_labels", .kind = PARAM_LIST },
        { .key = "targets", .kind = PARAM_LIST },
        { .key = "max_answer_len", .kind = PARAM_INT, .number = UNSET },
        { .key = "max_seq_len", .kind = PARAM_INT, .number = UNSET },
        { .key = "doc_stride", .kind = PARAM_INT, .number = UNSET },
        { .key = "handle_impossible_answer", .kind = PARAM_FLAG },
        { .key = "stride", .kind = PARAM_INT, .number = UNSET },
        { .key = "truncation", .kind = PARAM_FLAG },
        [MAX_LENGTH] = { .key = "max_length", .kind = PARAM_INT, .number = UNSET },
        { .key = "normalize_embeddings", .kind = PARAM_FLAG },
        [RETURN_FULL_TEXT] = { .key = "return_full_text", .kind = PARAM_OFF },
        { .key = "src_lang", .kind = PARAM_TEXT },
        { .key = "tgt_lang", .kind = PARAM_TEXT },
        [SEED] = { .key = "seed", .kind = PARAM_INT, .number = UNSET },
        [GENERATE_KWARGS] = { .key = "generate_kwargs", .kind = PARAM_JSON },
    };
    bool list = false;
    int status;
    const struct opt opts[] = {
        OPT_GROUP("arguments"),
        OPT_ARG("TASK", &o.task, "what the model does: see --list", OPT_REQUIRED),
        OPT_ARGS("TEXT", &o.words.texts, "the texts", 0),
        OPT_STR('m', "model", &o.model, "MODEL",
                "a checkpoint, an exported directory, or a model on the Hub; a checkpoint is "
                "exported first",
                OPT_REQUIRED),
        OPT_PLUGIN(cli),
        OPT_STR('t', "tokenizer", &o.tokenizer, "TOKENIZER",
                "a directory, a tokenizer.json, or a model on the Hub (default: the model's)", 0),
        OPT_FLAG(0, "json", &o.json,
                 "print what Transformers would return, one line for each text"),
        OPT_FLAG(0, "list", &list, "list the tasks"),
        OPT_GROUP("what is asked"),
        OPT_STR(0, "question", &o.words.question, "TEXT", "question-answering: the question", 0),
        OPT_STR(0, "context", &o.words.context, "TEXT",
                "question-answering: where the answer is; texts may stand in for either", 0),
        OPT_STR(0, "source-sentence", &o.words.source, "TEXT",
                "sentence-similarity: the sentence that the texts are compared with", 0),
        OPT_STR(0, "text-pair", &o.words.pair, "TEXT",
                "text-classification: a second text that goes with each", 0),
        OPT_STR(0, "candidate-labels", &params[0].text, "A,B,...",
                "zero-shot-classification: the labels to choose from", 0),
        OPT_GROUP("parameters of the task, as in Transformers"),
        OPT_STR(0, "hypothesis-template", &params[1].text, "TEXT",
                "zero-shot-classification: (default: This example is {}.)", 0),
        OPT_FLAG(0, "multi-label", &params[2].flag,
                 "zero-shot-classification: several labels may be true"),
        OPT_INT(0, "top-k", &params[3].number, "N", 0,
                "how many answers, labels or words; of sampling: the likeliest tokens"),
        OPT_STR(0, "function-to-apply", &params[4].text, "NAME",
                "text-classification: sigmoid, softmax or none", 0),
        OPT_STR(0, "aggregation-strategy", &params[5].text, "NAME",
                "token-classification: none, simple, first, average or max", 0),
        OPT_STR(0, "ignore-labels", &params[6].text, "A,B,...",
                "token-classification: labels to leave out (default: O)", 0),
        OPT_STR(0, "targets", &params[7].text, "A,B,...", "fill-mask: the words to choose from", 0),
        OPT_INT(0, "max-answer-len", &params[8].number, "N", 1,
                "question-answering: tokens of an answer (default: 15)"),
        OPT_INT(0, "max-seq-len", &params[9].number, "N", 1,
                "question-answering: tokens of a window (default: 384)"),
        OPT_INT(0, "doc-stride", &params[10].number, "N", 0,
                "question-answering: tokens that windows share (default: 128)"),
        OPT_FLAG(0, "handle-impossible-answer", &params[11].flag,
                 "question-answering: \"no answer\" is an answer"),
        OPT_INT(0, "stride", &params[12].number, "N", 0,
                "token-classification: cut long texts into windows that share N tokens"),
        OPT_FLAG(0, "truncation", &params[13].flag, "cut texts that are too long for the model"),
        OPT_INT(0, "max-length", &params[14].number, "N", 1,
                "to so many tokens; of generated text: prompt and answer together"),
        OPT_FLAG(0, "normalize-embeddings", &params[15].flag,
                 "sentence-similarity: vectors of length 1"),
        OPT_GROUP("text that is generated: text-generation, text2text-generation, summarization, "
                  "translation"),
        GENERATION_OPTIONS(&o.generation),
        OPT_INT(0, "min-new-tokens", &o.generation.min_new_tokens, "N", 0,
                "tokens that are added at least"),
        OPT_INT(0, "num-beams", &o.generation.num_beams, "N", 1,
                "search the likeliest text along N ways (default: the model's, else 4; 1 for "
                "text-generation)"),
        OPT_REAL(0, "length-penalty", &o.generation.length_penalty, "X",
                 "of beams: more is longer"),
        OPT_INT(0, "num-return-sequences", &o.generation.num_return_sequences, "N", 1,
                "several texts for each"),
        OPT_FLAG(0, "new-text", &params[16].flag,
                 "text-generation: without the text it goes on from"),
        OPT_STR(0, "src-lang", &params[17].text, "CODE",
                "translation: of the text, where the tokenizer knows several languages", 0),
        OPT_STR(0, "tgt-lang", &params[18].text, "CODE", "translation: of the answer", 0),
        OPT_FLAG(0, "stream", &o.stream, "print one text as it comes (default: on a terminal)"),
        OPT_FLAG(0, "no-stream", &o.no_stream, "print it when it is complete"),
        OPT_GROUP("more of them"),
        OPT_STR(0, "init", &o.init, "JSON",
                "more parameters, as an object; those above come before them", 0),
        OPT_GROUP("as a filter"),
        OPT_STR('i', "input", &o.filter.input, "FILE",
                "read JSON lines {\"inputs\": ..., \"kwargs\": {...}} from FILE, or from standard "
                "input for -, and write for each what Transformers would return",
                0),
        OPT_INT(0, "max-line", &o.filter.max_line, "BYTES", 1,
                "a longer line is an error (default: 67108864)"),
        OPT_GROUP("how it runs"),
        OPT_INT(0, "batch-size", &o.filter.batch_size, "N", 1,
                "most windows of one run of the model (default: 8)"),
        OPT_INT(0, "threads", &o.filter.threads, "N", 1,
                "batches that run at the same time, on shares of the CPUs (default: 1, on all)"),
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

    if (opt_given(argc, argv, "--list")) {
        list_tasks();
        return CLI_OK;
    }
    if (!opt_parse(cli, "Run a model on texts, with its tokenizer and what comes before and after.",
                   opts, argc, argv, &status))
        return status;
    status = check(cli, &o);
    return status == CLI_OK ? run(cli, &o, params, OM_COUNT(params)) : status;
}
