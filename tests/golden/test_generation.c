/* tests/golden/test_generation.c: recorded calls of generate(), token by token.
 *
 *   test_generation [NAME[=EXPORTED]]...
 *
 * EXPORTED is a directory that is run in place of exports made here.
 *
 * Directories of tests/data/generation, and of OM_SHARED/goldens/pipelines those whose calls
 * generate. A directory has cases.jsonl and a model by formula, or names one of tests/data/goldens
 * in model.txt. A line has the keyword arguments of
 * generate() ("settings"), input_ids, output_ids, and where they are not the default attention_mask
 * and decoder_input_ids; or it is a call of a pipeline ("pipeline", "init", "kwargs"), whose
 * settings are put together here as the pipelines do. */
#include <optimum/export.h>
#include <optimum/generation.h>

#include "arch/arch.h"
#include "base/file.h"
#include "base/json.h"
#include "ckpt/ckpt.h"
#include "config/config.h"
#include "gen/gen.h"
#include "tools/mkckpt_lib.h"

#include <ftw.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { SHOWN = 4 };    /* differences per directory */
#define TOLERANCE 2e-4 /* of recorded numbers, relative to the larger of 1 and the value */

struct run {
    const char *name;
    struct om_model *m;
    const struct om_json *config; /* config.json */
    struct om_arena *arena;
    size_t line, lines, failed;
    bool differs; /* this line */
};

static void differ(struct run *r, const char *fmt, ...) OM_PRINTF(2, 3);

static void differ(struct run *r, const char *fmt, ...)
{
    va_list ap;

    if (!r->differs && r->failed < SHOWN) {
        printf("%s/cases.jsonl:%zu: ", r->name, r->line);
        va_start(ap, fmt);
        vprintf(fmt, ap);
        va_end(ap);
        putchar('\n');
    }
    r->differs = true;
}

/* ---- recorded values ---- */

static bool text_of(const struct om_json *v, om_sv *out)
{
    return om_json_str(v, out);
}

/* A list of rows; shorter ones are filled with fill. */
static int64_t *read_rows(struct run *r, const struct om_json *v, size_t begin, size_t end,
                          int64_t fill, size_t *len)
{
    int64_t *ids;

    *len = 0;
    for (size_t i = begin; i < end; i++)
        *len = OM_MAX(*len, om_json_len(om_json_at(v, i)));
    ids = om_arena_array(r->arena, (end - begin) * *len + 1, sizeof(*ids));
    for (size_t i = begin; ids && i < end; i++)
        for (size_t k = 0; k < *len; k++) {
            ids[(i - begin) * *len + k] = fill;
            om_json_i64(om_json_at(om_json_at(v, i), k), &ids[(i - begin) * *len + k]);
        }
    return ids;
}

static bool close_to(double got, double want)
{
    return fabs(got - want) <= TOLERANCE * fmax(1, fabs(want));
}

/* ---- a call ---- */

/* What one generate() gives beside rows [begin, end) of the output. */
static void compare_ids(struct run *r, const struct om_generated *g, const struct om_json *want,
                        size_t begin)
{
    for (size_t i = 0; i < g->rows && !r->differs; i++) {
        const struct om_json *row = om_json_at(want, begin + i);
        const size_t len = om_json_len(row);

        if (!row)
            differ(r, "row %zu is not recorded", begin + i);
        else if (len != g->length)
            differ(r, "row %zu: %zu ids in place of %zu", begin + i, g->length, len);
        for (size_t k = 0; k < len && !r->differs; k++) {
            int64_t id = -1;

            om_json_i64(om_json_at(row, k), &id);
            if (g->ids[i * g->length + k] != id)
                differ(r, "row %zu: id %zu is %" PRId64 " in place of %" PRId64, begin + i, k,
                       g->ids[i * g->length + k], id);
        }
    }
}

static void compare_scores(struct run *r, const struct om_generated *g, const struct om_json *want)
{
    if (!want)
        return;
    if (!g->sequence_scores || om_json_len(want) != g->rows) {
        differ(r, "%zu scores in place of %zu", g->sequence_scores ? g->rows : 0,
               om_json_len(want));
        return;
    }
    for (size_t i = 0; i < g->rows; i++) {
        double score = 0;

        om_json_f64(om_json_at(want, i), &score);
        if (!close_to(g->sequence_scores[i], score))
            differ(r, "score %zu is %g in place of %g", i, (double)g->sequence_scores[i], score);
    }
}

/* [[[id, logit], ...] by step] by row. */
static void compare_top(struct run *r, const struct om_generated *g, const struct om_json *want,
                        size_t begin)
{
    for (size_t i = 0; want && i < g->rows; i++)
        for (size_t s = 0; s < g->steps; s++) {
            const struct om_json *top = om_json_at(om_json_at(om_json_at(want, begin + i), s), 0);
            const float *logits = g->logits + (s * g->score_rows + i) * g->vocab;
            int64_t id = -1;
            double logit = 0;

            if (!om_json_i64(om_json_at(top, 0), &id) || !om_json_f64(om_json_at(top, 1), &logit))
                continue;
            if (id < 0 || (size_t)id >= g->vocab || !close_to(logits[id], logit))
                differ(r, "row %zu, step %zu: logit of %" PRId64 " is not %g", begin + i, s, id,
                       logit);
        }
}

struct group {
    const struct om_generation_config *config;
    const struct om_tokenizer *tok;
    const struct om_json *mask, *decoder; /* recorded; NULL: none */
    int64_t pad;
    bool left; /* the prompt's padding */
};

static int64_t *padding_mask(struct run *r, const int64_t *ids, size_t rows, size_t len,
                             const struct group *g)
{
    int64_t *mask = om_arena_array(r->arena, rows * len + 1, sizeof(*mask));

    for (size_t i = 0; mask && i < rows; i++) {
        size_t k = 0;

        for (size_t j = 0; j < len; j++)
            mask[i * len + j] = 1;
        while (k < len && ids[i * len + (g->left ? k : len - 1 - k)] == g->pad) {
            mask[i * len + (g->left ? k : len - 1 - k)] = 0;
            k++;
        }
    }
    return mask;
}

/* Rows [begin, end) of the inputs in one call; gives how many rows came out. */
static size_t generate(struct run *r, const struct om_json *line, const struct group *g,
                       size_t begin, size_t end, size_t out_begin)
{
    const struct om_json *inputs = om_json_get(line, "input_ids");
    struct om_generate_inputs in = OM_GENERATE_INPUTS_INIT;
    struct om_generate_opts o = OM_GENERATE_OPTS_INIT;
    struct om_generated *out = NULL;
    struct om_error err = OM_ERROR_INIT;
    size_t rows = 0, ignored;

    in.batch = OM_MAX(end - begin, (size_t)1);
    in.ids = read_rows(r, inputs, begin, end, 0, &in.length);
    if (g->mask)
        in.mask = read_rows(r, g->mask, begin, end, 0, &ignored);
    else if (g->pad >= 0)
        in.mask = padding_mask(r, in.ids, end - begin, in.length, g);
    if (g->decoder)
        in.decoder_ids = read_rows(r, g->decoder, begin, end, 0, &in.decoder_length);
    o.config = g->config;
    o.tokenizer = g->tok;
    o.keep_logits = om_json_get(line, "logits_top5") != NULL;
    if (om_generate(NULL, r->m, &in, &o, &out, &err) < 0) {
        differ(r, "%s", om_error_text(&err));
    } else {
        compare_ids(r, out, om_json_get(line, "output_ids"), out_begin);
        compare_scores(r, out, om_json_get(line, "sequence_scores"));
        compare_top(r, out, om_json_get(line, "logits_top5"), out_begin);
        rows = out->rows;
    }
    om_generated_free(out);
    om_error_release(&err);
    return rows;
}

/* ---- settings ---- */

static bool parse_over(struct run *r, struct om_generation_config **c, const struct om_json *v)
{
    struct om_buf text = OM_BUF_INIT(1 << 20);
    struct om_generation_config *next = NULL;
    struct om_error err = OM_ERROR_INIT;

    if (om_json_kind(v) != OM_JSON_OBJECT)
        return true;
    om_json_write(&text, v, 0);
    if (om_generation_config_parse(NULL, *c, text.ptr, text.len, &next, &err) < 0)
        differ(r, "%s", om_error_text(&err));
    om_buf_release(&text);
    om_error_release(&err);
    if (!next)
        return false;
    om_generation_config_free(*c);
    *c = next;
    return true;
}

/* The defaults of a pipeline, under the settings of the model, the construction, the task and the
 * call, in this order. */
static bool pipeline_settings(struct run *r, const struct om_json *line,
                              struct om_generation_config **c)
{
    struct om_generation_config own = OM_GENERATION_CONFIG_INIT;
    const struct om_json *tasks = om_json_get(r->config, "task_specific_params");
    const struct om_json *init = om_json_get(line, "init");
    om_sv task = { "", 0 };
    bool ok;

    text_of(om_json_get(line, "pipeline"), &task);
    own.max_new_tokens = 256;
    if (om_sv_is(task, "text-generation")) {
        own.do_sample = true;
        own.temperature = 0.7;
    } else {
        own.num_beams = 4;
    }
    om_generation_config_fill(&own, *c);
    ok = om_generation_config_parse(NULL, &own, "{}", 2, c, NULL) == 0;
    ok = ok && parse_over(r, c, init);
    if (ok && (*c)->max_length != 20 && (*c)->max_new_tokens == 256)
        (*c)->max_new_tokens = -1;
    ok = ok && parse_over(r, c, om_json_get(tasks, om_arena_str(r->arena, task)));
    return ok && parse_over(r, c, om_json_get(line, "kwargs"));
}

static bool settings(struct run *r, const struct om_json *line, struct om_generation_config **c)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_generation_config *model = NULL;
    bool ok = om_generation_config_open(NULL, r->m, &model, &err) == 0;

    if (!ok)
        differ(r, "%s", om_error_text(&err));
    om_error_release(&err);
    *c = model;
    if (!ok)
        return false;
    if (!om_json_get(line, "pipeline"))
        return parse_over(r, c, om_json_get(line, "settings"));
    ok = pipeline_settings(r, line, c);
    if (*c != model)
        om_generation_config_free(model);
    return ok;
}

/* ---- a line ---- */

static size_t batch_size(const struct om_json *line)
{
    const struct om_json *init = om_json_get(line, "init");
    int64_t n = 1;

    if (!om_json_get(line, "pipeline"))
        return SIZE_MAX;
    om_json_i64(om_json_get(init, "batch_size"), &n);
    return (size_t)n;
}

static size_t row_len(const struct om_json *inputs, size_t i)
{
    return om_json_len(om_json_at(inputs, i));
}

static void run_groups(struct run *r, const struct om_json *line, struct group *g)
{
    const struct om_json *inputs = om_json_get(line, "input_ids");
    const size_t n = om_json_len(inputs), size = batch_size(line);
    const bool padded = size > 1 && om_json_get(line, "pipeline");
    size_t begin = 0, out = 0;

    g->mask = om_json_get(line, "attention_mask");
    g->decoder = om_json_get(line, "decoder_input_ids");
    g->left = !om_model_get_info(r->m)->encoder_file;
    g->pad = !padded                        ? -1
             : g->config->pad_token_id >= 0 ? g->config->pad_token_id
             : g->config->eos_token_id.len  ? g->config->eos_token_id.ids[0]
                                            : -1;
    if (padded && g->left) /* the tokenizer's padding: rows begin with it */
        for (size_t i = 0; i < n; i++)
            if (i + 1 < n && row_len(inputs, i) == row_len(inputs, i + 1) &&
                om_json_at(om_json_at(inputs, i), 0))
                om_json_i64(om_json_get(r->config, "eos_token_id"), &g->pad);
    do {
        size_t end = begin;

        while (end < n && end - begin < size && row_len(inputs, end) == row_len(inputs, begin))
            end++;
        out += generate(r, line, g, begin, end, out);
        begin = end;
    } while (begin < n && !r->differs);
    if (!r->differs && out != om_json_len(om_json_get(line, "output_ids")))
        differ(r, "%zu rows in place of %zu", out, om_json_len(om_json_get(line, "output_ids")));
}

static void run_line(struct run *r, const struct om_json *line)
{
    struct om_generation_config *c = NULL;
    struct group g = { .config = NULL };

    if (!om_json_get(line, "output_ids"))
        return;
    r->lines++;
    if (settings(r, line, &c)) {
        g.config = c;
        run_groups(r, line, &g);
    }
    om_generation_config_free(c);
    r->failed += r->differs;
}

static int run_lines(struct run *r, const char *dir, struct om_error *err)
{
    const char *path = om_path_join(r->arena, dir, "cases.jsonl");
    om_sv rest, text;

    OM_TRY(om_file_read(r->arena, path, (size_t)64 << 20, &rest, err));
    while (om_sv_split(&rest, '\n', &text)) {
        struct om_json *line = NULL;

        r->line++;
        r->differs = false;
        if (text.len == 0)
            continue;
        OM_TRY(om_wrap(err, om_json_parse(text, OM_JSON_LAST_WINS, &line, err), "%s:%zu", path,
                       r->line));
        run_line(r, line);
        om_json_free(line);
    }
    return 0;
}

/* ---- a directory ---- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

/* Ways to export and to open a model. */
static const struct form {
    const char *name;
    bool seq2seq, decoder_only; /* for which kind */
    bool always;                /* not only where all forms are asked for */
    enum om_decoder_form decoder;
    bool no_past, no_merged;
    bool opened; /* the export is left to om_model_open() */
    bool genai;  /* of models that onnxruntime-genai knows */
} forms[] = {
    { "", true, true, true, OM_DECODER_ALL, false, false, true, false },
    { ", one decoder", true, false, true, OM_DECODER_SINGLE, false, false, false, false },
    { ", two decoders", true, false, false, OM_DECODER_ALL, false, true, false, false },
    { ", no cache", true, true, false, OM_DECODER_ALL, true, false, false, false },
    { ", past and present in one buffer", false, true, true, OM_DECODER_ALL, false, false, false,
      true },
};

static bool has_all_forms(const char *name)
{
    static const char *const names[] = { "sweep-gpt2", "sweep-t5", "sweep-bart-seq2seq" };

    for (size_t i = 0; i < OM_COUNT(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static int export_form(struct run *r, const struct form *f, const char *ckpt, const char *out,
                       bool seq2seq, struct om_error *err)
{
    struct om_export_opts e = OM_EXPORT_OPTS_INIT;
    const char *task = seq2seq ? "text2text-generation" : "text-generation";

    e.model = ckpt;
    e.out_dir = out;
    e.task = om_arena_printf(r->arena, "%s%s", task, f->no_past ? "" : "-with-past");
    e.decoder = f->decoder;
    e.validation = OM_VALIDATE_NEVER;
    e.genai = f->genai;
    return om_export_run(NULL, &e, err);
}

/* ckpt NULL: the export is there already. */
static int run_form(struct run *r, const struct form *f, const char *dir, const char *ckpt,
                    const char *exported, bool seq2seq, struct om_error *err)
{
    struct om_model_opts o = OM_MODEL_OPTS_INIT;
    const size_t failed = r->failed;
    int rc;

    o.model = f->opened && ckpt ? ckpt : exported;
    o.do_export = f->opened && ckpt;
    o.export_dir = o.do_export ? exported : NULL;
    o.model_class = seq2seq ? OM_MODEL_SEQ2SEQ_LM : OM_MODEL_CAUSAL_LM;
    o.no_merged = f->no_merged;
    o.no_cache = f->no_past;
    rc = om_model_open(NULL, &o, &r->m, err);
    r->line = 0;
    if (rc == 0)
        rc = run_lines(r, dir, err);
    om_model_free(r->m);
    if (r->failed > failed && f->name[0])
        printf("%s: the differences are%s\n", r->name, f->name + 1);
    return rc;
}

static int run_forms(struct run *r, const char *dir, const char *model, const char *tmp,
                     bool seq2seq, struct om_error *err)
{
    const struct mkckpt_opts make = { 0 };
    const char *ckpt = om_path_join(r->arena, tmp, "ckpt");

    OM_TRY(mkckpt_run(model, ckpt, &make, err));
    for (size_t i = 0; i < OM_COUNT(forms); i++) {
        const struct form *f = &forms[i];
        const char *out = om_arena_printf(r->arena, "%s/%zu", tmp, i);

        if (!(seq2seq ? f->seq2seq : f->decoder_only) || !(f->always || has_all_forms(r->name)))
            continue;
        if (!f->opened && export_form(r, f, ckpt, out, seq2seq, err) < 0) {
            if (f->genai && err->code == OM_E_UNSUPPORTED)
                continue;
            return err->code;
        }
        OM_TRY(run_form(r, f, dir, ckpt, out, seq2seq, err));
    }
    return 0;
}

static int run_model(struct run *r, const char *dir, const char *model, const char *exported,
                     bool seq2seq, struct om_error *err)
{
    char tmp[] = "/tmp/optimum-generation-XXXXXX";
    int rc;

    if (exported)
        return run_form(r, &forms[0], dir, NULL, exported, seq2seq, err);
    if (!mkdtemp(tmp))
        return om_fail(err, OM_E_IO, "no temporary directory");
    rc = run_forms(r, dir, model, tmp, seq2seq, err);
    nftw(tmp, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return rc;
}

/* Where the model's files are; NULL: nowhere. */
static const char *model_dir(struct om_arena *a, const char *dir)
{
    const char *path = om_path_join(a, dir, "model.txt"), *data = getenv("OM_TEST_DATA");
    om_sv name;

    if (!om_file_exists(path))
        return dir;
    if (om_file_read(a, path, 4096, &name, NULL) < 0)
        return NULL;
    name = om_sv_trim(name);
    return om_arena_printf(a, "%s/goldens/%.*s", data ? data : OM_TEST_DATA, OM_SV(name));
}

static bool known_type(const struct om_config *c)
{
    return om_arch_find(c->model_type) != NULL;
}

/* The task of a golden counts: encoder-decoders have decoders of their own as well. */
static bool is_seq2seq(const struct om_config *c, const char *model)
{
    return c->is_encoder_decoder && !strstr(model, "/text-generation");
}

/* False after a failure. */
static bool run_dir(const char *root, const char *name, const char *exported)
{
    struct om_arena a = OM_ARENA_INIT((size_t)2 << 30);
    struct om_error err = OM_ERROR_INIT;
    struct om_config config = { 0 };
    struct run r = { .name = name, .arena = &a };
    const char *dir = om_path_join(&a, root, name), *model = model_dir(&a, dir);
    bool ok = model && om_config_open(&a, model, &config, &err) == 0;

    r.config = config.doc;
    if (ok && !known_type(&config)) {
        printf("skipped: %s: model type %s\n", name, config.model_type);
    } else {
        ok = ok && run_model(&r, dir, model, exported, is_seq2seq(&config, model), &err) == 0;
        if (!ok)
            printf("%s: %s\n", name, om_error_text(&err));
        printf("%s %s: %zu of %zu calls\n", ok && !r.failed ? "ok  " : "FAIL", name,
               r.lines - r.failed, r.lines);
        ok = ok && r.failed == 0;
    }
    om_config_close(&config);
    om_error_release(&err);
    om_arena_release(&a);
    return ok;
}

/* ---- sampling: what processors make of logits ---- */

struct scores {
    struct run *r;
    const struct om_json *line;
    float *x;
    size_t vocab;
};

static bool load_logits(struct scores *s, const struct om_ckpt *file)
{
    om_sv name = { "", 0 };

    text_of(om_json_get(s->line, "logits"), &name);
    for (size_t i = 0; i < file->len; i++) {
        const struct om_ckpt_tensor *t = &file->tensors[i];

        if (!om_sv_eq(t->name, name) || t->dtype != OM_F32)
            continue;
        s->vocab = (size_t)t->bytes / sizeof(*s->x);
        s->x = om_arena_copy(s->r->arena, om_ckpt_data(t), (size_t)t->bytes);
        return s->x != NULL;
    }
    differ(s->r, "no logits %.*s", OM_SV(name));
    return false;
}

static void compare_number(struct scores *s, const char *key, double got)
{
    double want = 0;

    if (om_json_f64(om_json_get(s->line, key), &want) && !close_to(got, want))
        differ(s->r, "%s is %g in place of %g", key, got, want);
}

static void compare_kept(struct scores *s)
{
    const struct om_json *range = om_json_get(s->line, "kept_range");
    int64_t least = 0, most = 0, kept = 0;

    for (size_t i = 0; i < s->vocab; i++)
        kept += s->x[i] > -INFINITY;
    om_json_i64(om_json_at(range, 0), &least);
    om_json_i64(om_json_at(range, 1), &most);
    if (kept < least || kept > most)
        differ(s->r, "%" PRId64 " tokens are left in place of %" PRId64, kept, least);
}

static void compare_distribution(struct scores *s)
{
    const struct om_json *ids = om_json_get(s->line, "top_ids");
    const struct om_json *probs = om_json_get(s->line, "top_probs");
    double squares = 0, entropy = 0;

    compare_kept(s);
    om_log_softmax(s->x, s->vocab, s->x);
    for (size_t i = 0; i < s->vocab; i++)
        if (s->x[i] > -INFINITY) {
            squares += exp(2 * (double)s->x[i]);
            entropy -= (double)s->x[i] * exp((double)s->x[i]);
        }
    compare_number(s, "sum_sq", squares);
    compare_number(s, "entropy", entropy);
    for (size_t i = 0; i < om_json_len(ids); i++) {
        int64_t id = -1;
        double p = 0;

        om_json_i64(om_json_at(ids, i), &id);
        om_json_f64(om_json_at(probs, i), &p);
        if (id < 0 || (size_t)id >= s->vocab || !close_to(exp((double)s->x[id]), p))
            differ(s->r, "the probability of %" PRId64 " is not %g", id, p);
    }
}

static void run_scores(struct run *r, const struct om_json *line, const struct om_ckpt *file)
{
    static const int64_t eos = 50256;
    struct om_generation_config base = OM_GENERATION_CONFIG_INIT, *c = NULL;
    struct om_plan plan = { .batch = 1, .width = 1, .max_length = 1000 };
    struct scores s = { .r = r, .line = line };
    struct om_process *p = NULL;
    struct om_error err = OM_ERROR_INIT;
    const struct om_json *list = om_json_get(line, "input_ids");
    int64_t *ids;

    r->lines++;
    base.do_sample = true;
    base.top_k = 0;
    base.eos_token_id = (struct om_token_ids){ &eos, 1 };
    plan.prompt = om_json_len(list);
    ids = om_arena_array(r->arena, plan.prompt + 1, sizeof(*ids));
    for (size_t i = 0; ids && i < plan.prompt; i++)
        om_json_i64(om_json_at(list, i), &ids[i]);
    if (om_generation_config_parse(NULL, &base, "{}", 2, &c, &err) == 0 &&
        parse_over(r, &c, om_json_get(line, "settings")) && load_logits(&s, file)) {
        plan.c = *c;
        if (om_process_new(&plan, s.vocab, &p, &err) < 0)
            differ(r, "%s", om_error_text(&err));
        else
            om_process_run(p, 0, ids, plan.prompt, s.x);
        compare_distribution(&s);
    }
    om_process_free(p);
    om_generation_config_free(c);
    om_error_release(&err);
    r->failed += r->differs;
}

static bool run_sampling(const char *root, const char *name)
{
    struct om_arena a = OM_ARENA_INIT((size_t)2 << 30);
    struct run r = { .name = name, .arena = &a };
    struct om_error err = OM_ERROR_INIT;
    struct om_ckpt *file = NULL;
    const char *dir = om_path_join(&a, root, name);
    om_sv rest = { NULL, 0 }, text;
    bool ok = om_ckpt_open_file(&a, om_path_join(&a, dir, "logits.safetensors"), &file, &err) == 0;

    ok = ok && om_file_read(&a, om_path_join(&a, dir, "sampling.jsonl"), (size_t)64 << 20, &rest,
                            &err) == 0;
    while (ok && om_sv_split(&rest, '\n', &text)) {
        struct om_json *line = NULL;

        r.line++;
        r.differs = false;
        if (text.len && om_json_parse(text, OM_JSON_LAST_WINS, &line, &err) == 0)
            run_scores(&r, line, file);
        om_json_free(line);
    }
    if (!ok)
        printf("%s: %s\n", name, om_error_text(&err));
    printf("%s %s: %zu of %zu steps\n", ok && !r.failed ? "ok  " : "FAIL", name, r.lines - r.failed,
           r.lines);
    om_ckpt_close(file);
    om_error_release(&err);
    om_arena_release(&a);
    return ok && r.failed == 0;
}

/* *exported is what follows the name on the command line; NULL: nothing. */
static bool asked_for(const char *name, int argc, char **argv, const char **exported)
{
    const size_t len = strlen(name);

    *exported = NULL;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], name, len) != 0 || (argv[i][len] && argv[i][len] != '='))
            continue;
        *exported = argv[i][len] ? argv[i] + len + 1 : NULL;
        return true;
    }
    return argc < 2;
}

/* Directories with a model and calls that generate. */
static bool is_case(struct om_arena *a, const char *root, const char *name)
{
    static const char *const prefixes[] = { "textgen-", "text2text-", "summarization-",
                                            "translation-", "sweep-" };
    const char *dir = om_path_join(a, root, name);

    for (size_t i = 0; i < OM_COUNT(prefixes); i++)
        if (om_sv_starts(om_sv_str(name), om_sv_str(prefixes[i])))
            return om_file_exists(om_path_join(a, dir, "cases.jsonl"));
    return false;
}

struct counts {
    size_t passed, failed, skipped;
};

static void count(struct counts *n, bool fine)
{
    n->passed += fine;
    n->failed += !fine;
}

static void run_root(struct om_arena *a, const char *root, int argc, char **argv,
                     struct counts *counts)
{
    const char **names, *exported;
    size_t n = 0;

    if (!om_dir_exists(root) || om_dir_list(a, root, &names, &n, NULL) < 0)
        return;
    for (size_t i = 0; i < n; i++)
        if (is_case(a, root, names[i]) && asked_for(names[i], argc, argv, &exported))
            count(counts, run_dir(root, names[i], exported));
}

int main(int argc, char **argv)
{
    const char *shared = getenv("OM_SHARED"), *data = getenv("OM_TEST_DATA");
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    struct om_error err = OM_ERROR_INIT;
    struct counts n = { 0 };
    const char *exported;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (om_ort_version(NULL, NULL, &err) < 0) {
        printf("skipped: %s\n", om_error_text(&err));
        n.skipped++;
    } else {
        run_root(&a, om_path_join(&a, data ? data : OM_TEST_DATA, "generation"), argc, argv, &n);
        if (shared && *shared)
            run_root(&a, om_path_join(&a, shared, "goldens/pipelines"), argc, argv, &n);
    }
    if (shared && *shared && asked_for("sampling-gpt2", argc, argv, &exported))
        count(&n, run_sampling(om_path_join(&a, shared, "goldens/pipelines"), "sampling-gpt2"));
    printf("%zu passed, %zu failed, %zu skipped\n", n.passed, n.failed, n.skipped);
    om_error_release(&err);
    om_arena_release(&a);
    return n.failed == 0 && n.passed + n.skipped > 0 ? 0 : 1;
}
