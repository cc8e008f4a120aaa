/* tests/unit/t_cache.c: causal masks against their definition, positions, the cache's inputs and
 * outputs, and the head that reads the last token. */
#include "fixture.h"
#include "ref/ref.h"
#include "task/task.h"

#include <math.h>

static const struct fixture_tensor tensors[] = {
    { .name = "score.weight", .rank = 2, .dims = { 2, 3 } }
};

static bool begin(struct test *t, struct fixture *f, const char *config, om_scope *root)
{
    if (!fixture_open(t, f, tensors, OM_COUNT(tensors), config))
        return false;
    *root = fixture_begin(t, f);
    return true;
}

static const struct om_tensor *run(struct test *t, struct fixture *f, const struct om_tensor *in,
                                   size_t n_in)
{
    struct om_tensor *out = NULL;
    size_t n = 0;

    CHECK_OK(t, fixture_finish(f), &f->err);
    CHECK_OK(t, om_ref_run(f->g, in, n_in, NULL, &f->arena, &out, &n, &f->err), &f->err);
    return out;
}

/* ---- masks ---- */

enum { BATCH = 3 };

struct mask_case {
    int64_t query, past, window;
    bool padding, both_ways;
};

/* Row 0 is a whole text, row 1 is padded on the left, row 2 is all padding. */
static int64_t keeps(int64_t row, int64_t key)
{
    return row == 0 || (row == 1 && key >= 2);
}

static bool sees(const struct mask_case *c, int64_t row, int64_t i, int64_t key)
{
    const int64_t at = c->past + i;
    const int64_t last = !c->both_ways ? at : c->window ? at + c->window - 1 : c->past + c->query;

    return key <= last && (c->window == 0 || key > at - c->window) &&
           (!c->padding || keeps(row, key));
}

static void check_mask(struct test *t, struct fixture *f, const struct mask_case *c)
{
    static const char *const axes[] = { "batch_size", "past + sequence", NULL };
    const om_scope root = om_builder_root(&f->b);
    const int64_t total = c->past + c->query, ids_dims[] = { BATCH, c->query },
                  mask_dims[] = { BATCH, total };
    static const char *const ids_axes[] = { "batch_size", "sequence", NULL };
    int64_t mask[BATCH * 16], zeros[BATCH * 16] = { 0 };
    const struct om_tensor in[] = {
        { .name = "input_ids", .dtype = OM_I64, .rank = 2, .dims = ids_dims, .data = zeros },
        { .name = "attention_mask", .dtype = OM_I64, .rank = 2, .dims = mask_dims, .data = mask },
    };
    const om_val ids = om_builder_input(&f->b, "input_ids", OM_I64, ids_axes);
    const om_val am = om_builder_input(&f->b, "attention_mask", OM_I64, axes);
    const struct om_causal causal = { .attention_mask = c->padding ? am : (om_val){ 0 },
                                      .query = om_axis(root, ids, 1),
                                      .key = om_axis(root, am, 1),
                                      .window = c->window,
                                      .both_ways = c->both_ways };
    const struct om_tensor *out;

    for (int64_t i = 0; i < BATCH * total; i++)
        mask[i] = keeps(i / total, i % total);
    om_output(root, "mask", om_mask_causal(root, &causal));
    out = run(t, f, in, OM_COUNT(in));
    if (!out)
        return;
    CHECK_INT(t, out->dtype, OM_BOOL);
    CHECK_INT(t, out->rank, 4);
    CHECK_INT(t, out->dims[0], c->padding ? BATCH : 1);
    for (int64_t i = 0; i < out->dims[0] * c->query * total; i++)
        CHECK_INT(t, ((const uint8_t *)out->data)[i],
                  sees(c, i / total / c->query, i / total % c->query, i % total));
}

static void masks(struct test *t)
{
    static const struct mask_case cases[] = {
        { 1, 0, 0, false, false }, { 5, 0, 0, false, false }, { 5, 0, 0, true, false },
        { 1, 4, 0, true, false },  { 4, 3, 0, true, false },  { 5, 0, 2, true, false },
        { 1, 7, 3, true, false },  { 6, 2, 1, false, false }, { 5, 0, 0, true, true },
        { 5, 0, 2, false, true },  { 4, 3, 3, true, true },   { 3, 1, 1, true, true },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct fixture f;
        om_scope root;
        test_case(t, "%" PRId64 " after %" PRId64 ", window %" PRId64 "%s%s", cases[i].query,
                  cases[i].past, cases[i].window, cases[i].padding ? ", padding" : "",
                  cases[i].both_ways ? ", both ways" : "");
        if (!begin(t, &f, "{\"model_type\":\"gpt2\"}", &root))
            return;
        check_mask(t, &f, &cases[i]);
        fixture_close(&f);
    }
}

/* A query that sees no key gets zeros, as in PyTorch, never NaN. */
static void sees_nothing(struct test *t)
{
    static const char *const axes[] = { "1", "1", "2", "4", NULL }, *const row[] = { "1", "2",
                                                                                     NULL };
    const float x[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    const int64_t keep[] = { 0, 1 }, keep_dims[] = { 1, 2 }, dims[] = { 1, 1, 2, 4 };
    const struct om_tensor in[] = {
        { .name = "x", .dtype = OM_F32, .rank = 4, .dims = dims, .data = x },
        { .name = "attention_mask", .dtype = OM_I64, .rank = 2, .dims = keep_dims, .data = keep },
    };
    const struct om_tensor *out;
    struct fixture f;
    om_scope root;
    om_val v, mask;

    if (!begin(t, &f, "{\"model_type\":\"gpt2\"}", &root))
        return;
    v = om_builder_input(&f.b, "x", OM_F32, axes);
    mask = om_mask_causal(root, &(struct om_causal){ .attention_mask = om_builder_input(
                                                         &f.b, "attention_mask", OM_I64, row),
                                                     .query = om_int(root, 2),
                                                     .key = om_int(root, 2) });
    om_output(root, "y",
              om_attend(root, &(struct om_attend){ .q = v, .k = v, .v = v, .mask = mask }));
    out = run(t, &f, in, OM_COUNT(in));
    for (int i = 0; out && i < 8; i++)
        CHECK(t, ((const float *)out->data)[i] == (i < 4 ? 0.0f : x[i]));
    fixture_close(&f);
}

/* ---- the cache ---- */

static const char *const ids_axes[] = { "batch_size", "sequence", NULL };
static const char *const past_axes[] = { "batch_size", "2", "past", "4", NULL };
static const char *const kv_axes[] = { "batch_size", "2", "sequence", "4", NULL };

static const char *shape_text(struct fixture *f, om_val v)
{
    const struct om_value *value = om_graph_value(f->g, v);
    const char *text = "";

    for (uint32_t i = 0; i < value->rank; i++)
        text = om_arena_printf(&f->arena, "%s%s%s", text, i ? "," : "",
                               om_dim_text(f->g->dims, value->dims[i]));
    return text;
}

static void declare_past(struct fixture *f)
{
    for (int64_t i = 0; i < f->b.kv.layers; i++)
        for (size_t slot = 0; slot < om_builder_slots(&f->b); slot++)
            om_builder_input(
                &f->b, om_builder_cache_name(&f->b, "past_key_values", i, (enum om_kv_slot)slot),
                OM_F32, past_axes);
}

static void extend(struct test *t)
{
    for (int past = 0; past < 2; past++) {
        struct fixture f;
        om_scope root;
        om_val k, v;

        test_case(t, past ? "with past" : "without past");
        if (!begin(t, &f, "{\"model_type\":\"gpt2\"}", &root))
            return;
        f.b.past = past;
        f.b.present = true;
        om_builder_set_kv(&f.b, &(struct om_kv){ .layers = 2, .heads = 2, .head_dim = 4 });
        if (past)
            declare_past(&f);
        CHECK_INT(t, om_cache_past(root), past);
        CHECK_STR(t, om_dim_text(f.g->dims, om_cache_past_length(root)), past ? "past" : "0");
        k = om_builder_input(&f.b, "k", OM_F32, kv_axes);
        v = om_builder_input(&f.b, "v", OM_F32, kv_axes);
        om_cache_extend(root, 1, &k, &v);
        CHECK_STR(t, shape_text(&f, k),
                  past ? "batch_size,2,past + sequence,4" : "batch_size,2,sequence,4");
        CHECK_INT(t, f.b.presents[2].id, k.id);
        CHECK_INT(t, f.b.presents[3].id, v.id);
        CHECK_INT(t, f.b.presents[0].id, 0);
        fixture_close(&f);
    }
}

static void cross(struct test *t)
{
    struct fixture f;
    om_scope root;
    om_val k = { 0 }, v = { 0 };

    if (!begin(t, &f, "{\"model_type\":\"t5\"}", &root))
        return;
    f.b.present = f.b.cross = true;
    om_builder_set_kv(&f.b, &(struct om_kv){ .layers = 1, .heads = 2, .head_dim = 4 });
    CHECK(t, !om_cache_cross_get(root, 0, &k, &v));
    k = om_builder_input(&f.b, "k", OM_F32, kv_axes);
    v = k;
    om_cache_cross_set(root, 0, &k, &v);
    CHECK_INT(t, f.b.presents[OM_KV_CROSS_KEY].id, k.id);
    f.b.past = true;
    declare_past(&f);
    CHECK(t, om_cache_cross_get(root, 0, &k, &v));
    CHECK_INT(t, k.id, om_input(root, "past_key_values.0.encoder.key").id);
    CHECK_INT(t, v.id, om_input(root, "past_key_values.0.encoder.value").id);
    fixture_close(&f);
}

/* A layer that the file has no cache for is a failure, not a graph. */
static void no_such_layer(struct test *t)
{
    struct fixture f;
    om_scope root;
    om_val k, v;

    if (!begin(t, &f, "{\"model_type\":\"gpt2\"}", &root))
        return;
    f.b.past = true;
    om_builder_set_kv(&f.b, &(struct om_kv){ .layers = 1, .heads = 2, .head_dim = 4 });
    declare_past(&f);
    k = v = om_builder_input(&f.b, "k", OM_F32, kv_axes);
    om_cache_extend(root, 1, &k, &v);
    CHECK(t, !om_valid(k));
    CHECK(t, fixture_finish(&f) < 0);
    CHECK_HAS(t, om_error_text(&f.err), "past_key_values.1.key");
    fixture_close(&f);
}

static void positions(struct test *t)
{
    for (int given = 0; given < 2; given++) {
        const int64_t ids[3] = { 0 }, dims[] = { 1, 3 }, past_dims[] = { 1, 2, 5, 4 };
        const float zeros[40] = { 0 };
        const struct om_tensor in[] = {
            { .name = "input_ids", .dtype = OM_I64, .rank = 2, .dims = dims, .data = ids },
            { .name = "past_key_values.0.key",
              .dtype = OM_F32,
              .rank = 4,
              .dims = past_dims,
              .data = zeros },
            { .name = "past_key_values.0.value",
              .dtype = OM_F32,
              .rank = 4,
              .dims = past_dims,
              .data = zeros },
            { .name = "position_ids", .dtype = OM_I64, .rank = 2, .dims = dims, .data = ids },
        };
        const struct om_tensor *out;
        struct fixture f;
        om_scope root;
        om_val x;

        test_case(t, given ? "given" : "counted");
        if (!begin(t, &f, "{\"model_type\":\"gpt2\"}", &root))
            return;
        f.b.past = true;
        om_builder_set_kv(&f.b, &(struct om_kv){ .layers = 1, .heads = 2, .head_dim = 4 });
        x = om_builder_input(&f.b, "input_ids", OM_I64, ids_axes);
        declare_past(&f);
        if (given)
            om_builder_input(&f.b, "position_ids", OM_I64, ids_axes);
        om_output(root, "y", om_positions(root, x));
        out = run(t, &f, in, given ? 4 : 3);
        for (int i = 0; out && i < 3; i++)
            CHECK_INT(t, ((const int64_t *)out->data)[i], given ? 0 : 5 + i);
        fixture_close(&f);
    }
}

/* ---- the last token ---- */

static void last_token(struct test *t)
{
    static const char *const hidden_axes[] = { "batch_size", "sequence", "3", NULL };
    static const struct {
        const char *config;
        int64_t want[4]; /* of every row, the place of its last token */
    } cases[] = {
        { "{\"model_type\":\"gpt2\",\"pad_token_id\":0}", { 3, 1, 3, 0 } },
        { "{\"model_type\":\"gpt2\",\"pad_token_id\":7}", { 3, 3, 2, 3 } },
        { "{\"model_type\":\"gpt2\",\"pad_token_id\":-1}", { 3, 3, 3, 3 } },
    };
    const int64_t ids[] = { 5, 5, 5, 5, 5, 5, 0, 0, 0, 0, 5, 7, 0, 0, 0, 0 }, dims[] = { 4, 4 },
                  hidden_dims[] = { 4, 4, 3 };
    float hidden[48];
    const struct om_tensor in[] = {
        { .name = "input_ids", .dtype = OM_I64, .rank = 2, .dims = dims, .data = ids },
        { .name = "hidden", .dtype = OM_F32, .rank = 3, .dims = hidden_dims, .data = hidden },
    };

    for (int i = 0; i < 48; i++)
        hidden[i] = i % 3 == 1 ? (float)(i / 3) : 0.0f; /* scores (1/8, 4/8) times the place */
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const struct om_tensor *out;
        struct om_body body = { 0 };
        struct fixture f;
        om_scope root;

        test_case(t, "%s", cases[i].config);
        if (!begin(t, &f, cases[i].config, &root))
            return;
        om_builder_input(&f.b, "input_ids", OM_I64, ids_axes);
        body.hidden = om_builder_input(&f.b, "hidden", OM_F32, hidden_axes);
        om_head_last_token(root, NULL, &body);
        out = run(t, &f, in, OM_COUNT(in));
        for (int row = 0; out && row < 4; row++)
            CHECK(t, ((const float *)out->data)[2 * row] ==
                         (float)(4 * row + cases[i].want[row]) / 8.0f);
        fixture_close(&f);
    }
}

static void no_padding_id(struct test *t)
{
    static const char *const hidden_axes[] = { "batch_size", "sequence", "3", NULL };
    struct om_body body = { 0 };
    struct fixture f;
    om_scope root;

    if (!begin(t, &f, "{\"model_type\":\"gpt2\"}", &root))
        return;
    om_builder_input(&f.b, "input_ids", OM_I64, ids_axes);
    body.hidden = om_builder_input(&f.b, "hidden", OM_F32, hidden_axes);
    om_head_last_token(root, NULL, &body);
    CHECK_INT(t, fixture_finish(&f), OM_E_CONFIG);
    CHECK_HAS(t, om_error_text(&f.err), "\"pad_token_id\"");
    fixture_close(&f);
}

const struct test_entry t_cache[] = {
    { "masks", masks },           { "sees_nothing", sees_nothing },   { "extend", extend },
    { "cross", cross },           { "no_such_layer", no_such_layer }, { "positions", positions },
    { "last_token", last_token }, { "no_padding_id", no_padding_id }, TEST_END
};
