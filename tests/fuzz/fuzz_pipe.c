/* tests/fuzz/fuzz_pipe.c: any bytes as a request of any pipeline, any numbers as the model's
 * outputs: a result or a message.
 *
 * The first byte chooses the task, the second the outputs; the rest is the request. There is no
 * model: batches are what fuzz_outputs() makes. */
#include "fuzz.h"
#include "model/internal.h"
#include "pipe/pipe.h"
#include "tok/tok.h"

#include <math.h>
#include <stdlib.h>

enum { WIDTH = 17, TOKENS_MAX = 4096 };

#define SPECIAL(id, text)                                                              \
    "{\"id\":" #id ",\"content\":\"" text "\",\"special\":true,\"single_word\":false," \
    "\"lstrip\":false,\"rstrip\":false,\"normalized\":false}"
static const char tokenizer_json[] =
    "{\"added_tokens\":[" SPECIAL(0, "[PAD]") "," SPECIAL(1, "[CLS]") "," SPECIAL(
        2,
        "[SEP]") "," SPECIAL(3,
                             "[MASK]") "," SPECIAL(4,
                                                   "[UNK]") "],"
                                                            "\"normalizer\":{\"type\":"
                                                            "\"Lowercase\"},\"pre_tokenizer\":{"
                                                            "\"type\":\"BertPreTokenizer\"},"
                                                            "\"decoder\":{\"type\":\"WordPiece\","
                                                            "\"prefix\":\"##\",\"cleanup\":true},"
                                                            "\"post_processor\":{\"type\":"
                                                            "\"BertProcessing\",\"sep\":[\"[SEP]\","
                                                            "2],\"cls\":[\"[CLS]\",1]},"
                                                            "\"model\":{\"type\":\"WordPiece\","
                                                            "\"unk_token\":\"[UNK]\",\"continuing_"
                                                            "subword_prefix\":\"##\","
                                                            "\"max_input_chars_per_word\":20,"
                                                            "\"vocab\":{\"[PAD]\":0,\"[CLS]\":1,\"["
                                                            "SEP]\":2,\"[MASK]\":3,"
                                                            "\"[UNK]\":4,\"a\":5,\"##a\":6,\"b\":7,"
                                                            "\"##b\":8,\"in\":9,\".\":10,\"e\":11,"
                                                            "\"##e\":12,"
                                                            "\"\xC3\xA9\":13,\"t\":14,\"##t\":15,"
                                                            "\"o\":16}}}";

/* Those that run in windows. The order is that of the corpus. */
static const struct pipe_task *const tasks[] = {
    &pipe_feature_extraction,       &pipe_fill_mask,           &pipe_question_answering,
    &pipe_sentence_similarity,      &pipe_text_classification, &pipe_token_classification,
    &pipe_zero_shot_classification,
};

static const char *const labels[WIDTH] = { "O",  "B-PER", "I-PER", "B-LOC",      "I-LOC", "MISC",
                                           "B-", "I-",    "",      "entailment", "a-b-c", "x",
                                           "y",  "z",     "w",     "v",          NULL };

/* ---- a pipeline of nothing ---- */

static struct om_tokenizer *tokenizer(void)
{
    static struct om_tokenizer *tok;
    struct om_error err = OM_ERROR_INIT;

    if (!tok)
        FUZZ_CHECK(tok_open_text(om_sv_str(tokenizer_json), &tok, &err) == 0);
    return tok;
}

static void pipeline_init(struct om_pipeline *p, struct om_model *m, const struct pipe_task *task,
                          uint8_t choice)
{
    m->info = (struct om_model_info){ .dir = "M", .num_labels = WIDTH, .labels = labels };
    *p = (struct om_pipeline){
        .arena = OM_ARENA_INIT(1 << 20),
        .task = task,
        .model = m,
        .t = { .tok = tokenizer(),
               .max_length = choice & 1 ? 24 : UINT64_MAX,
               .padding_side = choice & 2 ? OM_SIDE_LEFT : OM_SIDE_RIGHT,
               .gives_type_ids = true,
               .mask_token = "[MASK]",
               .pad = { true, 0 },
               .cls = { true, 1 },
               .mask = { true, 3 },
               .unk = { true, 4 } },
        .batch_size = 2,
        .threads = 1,
        .per_token = task != &pipe_text_classification && task != &pipe_zero_shot_classification,
    };
    p->params = om_arena_copy(&p->arena, task->defaults, task->params_size);
    FUZZ_CHECK(p->params);
}

/* ---- a model of nothing ---- */

static float number(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    switch (*seed >> 27) {
    case 0:
        return NAN;
    case 1:
        return INFINITY;
    case 2:
        return -INFINITY;
    default:
        return (float)(int32_t)*seed / 1e8F;
    }
}

static int reduce_item(struct pipe_item *item, uint32_t seed, struct om_error *err)
{
    const struct om_pipeline *const p = item->call->p;
    const size_t width = p->task == &pipe_question_answering ? 1 : WIDTH;
    int rc = 0;

    for (size_t i = 0; i < item->n_windows && rc == 0; i++) {
        struct pipe_window *const w = &item->windows[i];
        const size_t n = p->per_token ? w->enc->len : 1;
        float *const data = malloc(OM_MAX(n, 1) * width * sizeof(*data));
        const struct pipe_rows rows = { .data = { data, data }, .rows = n, .width = width };

        FUZZ_CHECK(data);
        for (size_t k = 0; k < n * width; k++)
            data[k] = number(&seed);
        rc = p->task->reduce(w, &rows, &w->kept, err);
        free(data);
    }
    return rc;
}

static int run(struct pipe_call *c, uint32_t seed, struct om_error *err)
{
    const struct pipe_task *const task = c->p->task;
    size_t tokens = 0;

    for (size_t i = 0; i < c->n; i++) {
        OM_TRY(task->prepare(c, &c->items[i], err));
        for (size_t k = 0; k < c->items[i].n_windows; k++)
            tokens += c->items[i].windows[k].enc->len;
        if (tokens > TOKENS_MAX)
            return om_fail(err, OM_E_LIMIT, "enough");
    }
    if (task->arrange)
        OM_TRY(task->arrange(c, err));
    c->results = pipe_call_block(c, c->n, task->result_size);
    FUZZ_CHECK(c->results);
    for (size_t i = 0; i < c->n; i++) {
        OM_TRY(reduce_item(&c->items[i], seed + (uint32_t)i, err));
        OM_TRY(task->finish(c, &c->items[i], (char *)c->results + i * task->result_size, err));
    }
    return 0;
}

/* ---- results ---- */

/* What is written is JSON again, whatever the numbers were. */
static void check_results(const struct pipe_call *c)
{
    struct om_buf json = OM_BUF_INIT(1 << 24), text = OM_BUF_INIT(1 << 24);
    struct om_json *doc = NULL;

    for (size_t i = 0; i < c->n; i++) {
        const void *const result = (const char *)c->results + i * c->p->task->result_size;

        om_buf_clear(&json);
        c->p->task->json(c, result, &json);
        c->p->task->text(c, result, &text);
        if (json.failed)
            continue;
        FUZZ_CHECK(om_json_parse(om_buf_sv(&json), 0, &doc, NULL) == 0);
        om_json_free(doc);
    }
    om_buf_release(&json);
    om_buf_release(&text);
}

static int request(struct pipe_call *c, om_sv text, struct om_error *err)
{
    struct pipe_reader r = { .p = c->p, .arena = &c->arena, .err = err };
    const struct pipe_param *const tables[] = { c->p->task->params, NULL };
    const struct om_json *inputs;

    c->json = true;
    OM_TRY(om_json_parse(text, OM_JSON_LAST_WINS, &c->doc, err));
    inputs = om_json_get(c->doc, "inputs");
    c->kwargs = om_json_get(c->doc, "kwargs");
    OM_TRY(pipe_read_batch_size(c->kwargs, &c->batch_size, err));
    r.object = c->kwargs;
    OM_TRY(pipe_params_read(&r, c->kwargs, tables, NULL, c->params));
    OM_TRY(pipe_call_check(c, err));
    return c->p->task->read(c, inputs ? inputs : c->doc, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_model m = { .info = { .dir = "M" } };
    const struct {
        int64_t entailment, contradiction;
    } entailment = { 9, 0 };
    struct om_pipeline p;
    struct pipe_call c;
    uint8_t *copy;
    int rc;

    if (size < 2 || size > 4096)
        return 0;
    copy = fuzz_copy(data + 2, size - 2);
    pipeline_init(&p, &m, tasks[data[0] % OM_COUNT(tasks)], data[1]);
    if (p.task == &pipe_zero_shot_classification)
        p.state = &entailment;
    rc = pipe_call_begin(&c, &p, &err);
    if (rc == 0)
        rc = request(&c, (om_sv){ (const char *)copy, size - 2 }, &err);
    if (rc == 0)
        rc = run(&c, data[1], &err);
    if (rc < 0)
        FUZZ_CHECK(om_error_text(&err)[0] != '\0');
    else
        check_results(&c);
    pipe_call_end(&c);
    om_error_release(&err);
    om_arena_release(&p.arena);
    free(copy);
    return 0;
}
