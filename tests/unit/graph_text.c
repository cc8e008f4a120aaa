/* tests/unit/graph_text.c: see graph_text.h. */
#include "unit/graph_text.h"

#include <stdlib.h>

#include "base/half.h"

enum { MAX_NAMES = 128, MAX_DEPTH = 4, MAX_ARGS = 16 };

struct reader {
    struct test *t;
    struct om_arena *a;
    struct om_graph *g;
    om_sv scope;
    struct {
        om_sv name;
        om_val val;
    } names[MAX_NAMES];
    size_t n_names;
    int64_t blocks[MAX_DEPTH][2]; /* then, else */
    size_t depth;
    uint64_t seed;
};

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

static double next_unit(uint64_t *seed) /* in [-1, 1) */
{
    return (double)next_random(seed) / (double)(1u << 30) - 1.0;
}

static enum om_dtype dtype_of(om_sv s)
{
    static const struct {
        const char *name;
        enum om_dtype dtype;
    } dtypes[] = { { "f32", OM_F32 }, { "f16", OM_F16 }, { "bf16", OM_BF16 }, { "f64", OM_F64 },
                   { "i64", OM_I64 }, { "i32", OM_I32 }, { "bool", OM_BOOL } };

    for (size_t i = 0; i < OM_COUNT(dtypes); i++)
        if (om_sv_is(s, dtypes[i].name))
            return dtypes[i].dtype;
    return OM_DTYPE_NONE;
}

static om_sv word(om_sv *rest)
{
    om_sv part = { 0 };

    while (om_sv_split(rest, ' ', &part) && part.len == 0)
        continue;
    return part;
}

static void bad(struct reader *r, const char *what, om_sv s)
{
    test_check(r->t, false, __FILE__, __LINE__, "%s \"%.*s\"", what, OM_SV(s));
}

static void define(struct reader *r, om_sv name, om_val v)
{
    if (r->n_names == MAX_NAMES)
        bad(r, "too many names:", name);
    else
        r->names[r->n_names++].name = name;
    r->names[r->n_names - 1].val = v;
}

static om_val lookup(struct reader *r, om_sv name)
{
    for (size_t i = r->n_names; i-- > 0;)
        if (om_sv_eq(r->names[i].name, name))
            return r->names[i].val;
    if (!om_sv_is(name, "-"))
        bad(r, "no such value:", name);
    return (om_val){ 0 };
}

static uint32_t read_dims(struct reader *r, om_sv list, om_dim *dims)
{
    uint32_t n = 0;
    om_sv part;

    if (om_sv_is(list, "-"))
        return 0;
    while (om_sv_split(&list, ',', &part) && n < OM_RANK_MAX)
        dims[n++] = om_dim_parse(r->g->dims, part);
    return n;
}

static uint32_t read_ints(om_sv list, int64_t *out, uint32_t max)
{
    uint32_t n = 0;
    om_sv part;

    while (list.len > 0 && !om_sv_is(list, "-") && om_sv_split(&list, ',', &part) && n < max)
        if (om_sv_i64(part, &out[n]))
            n++;
    return n;
}

static void read_input(struct reader *r, om_sv rest)
{
    const om_sv name = word(&rest);
    const enum om_dtype dtype = dtype_of(word(&rest));
    om_dim dims[OM_RANK_MAX];
    const uint32_t rank = read_dims(r, word(&rest), dims);
    int64_t limit;

    define(r, name, om_graph_input(r->g, name, dtype, dims, rank));
    if (om_sv_i64(word(&rest), &limit))
        r->g->inputs[r->g->n_inputs - 1].limit = limit;
}

static void read_weight(struct reader *r, om_sv rest)
{
    const om_sv name = word(&rest);
    struct om_weight w = { .name = name, .dtype = dtype_of(word(&rest)) };
    int64_t dims[OM_RANK_MAX], count = 1;
    uint8_t *data;

    w.rank = read_ints(word(&rest), dims, OM_RANK_MAX);
    w.dims = dims;
    om_count(dims, w.rank, &count);
    w.bytes = (uint64_t)count * om_dtype_size(w.dtype);
    w.data = data = om_arena_alloc(r->a, w.bytes);
    for (int64_t i = 0; data && i < count; i++) {
        const double v = next_unit(&r->seed);
        om_convert(data + (size_t)i * om_dtype_size(w.dtype), w.dtype, &v, OM_F64, 1);
    }
    define(r, name, om_graph_weight(r->g, &w));
}

static void read_const(struct reader *r, om_sv rest)
{
    const om_sv name = word(&rest);
    const enum om_dtype dtype = dtype_of(word(&rest));
    int64_t dims[OM_RANK_MAX];
    const uint32_t rank = read_ints(word(&rest), dims, OM_RANK_MAX);
    om_sv list = word(&rest), part;
    uint8_t data[64 * 8];
    size_t n = 0;

    while (list.len > 0 && om_sv_split(&list, ',', &part) && n < 64) {
        double v = 0;
        if (!om_sv_f64(part, &v))
            bad(r, "not a number:", part);
        om_convert(data + n++ * om_dtype_size(dtype), dtype, &v, OM_F64, 1);
    }
    define(r, name, om_graph_const(r->g, dtype, dims, rank, data));
}

static void read_dims_op(struct reader *r, om_sv rest)
{
    const om_sv name = word(&rest);
    om_dim *dims = om_arena_array(r->a, OM_RANK_MAX, sizeof(*dims));
    const struct om_attr attr = {
        .name = "dims", .kind = OM_ATTR_DIMS, .dims = dims, .n = read_dims(r, word(&rest), dims)
    };

    define(r, name, om_graph_emit(r->g, OM_OP_Dims, r->scope, NULL, 0, &attr, 1));
}

static struct om_attr read_attr(struct reader *r, om_sv text)
{
    struct om_attr a = { .kind = OM_ATTR_STRING };
    om_sv key = { 0 };
    int64_t *ints;

    om_sv_split(&text, '=', &key);
    a.name = om_arena_str(r->a, key);
    a.s = text;
    if (om_sv_i64(text, &a.i)) {
        a.kind = OM_ATTR_INT;
    } else if (om_sv_f64(text, &a.f)) {
        a.kind = OM_ATTR_FLOAT;
    } else if (om_sv_is(key, "to") || om_sv_is(key, "softmax_precision")) {
        a.kind = OM_ATTR_INT;
        a.i = om_dtype_onnx(dtype_of(text));
    } else if (text.len > 1 && text.ptr[0] == '[') {
        a.kind = OM_ATTR_INTS;
        a.ints = ints = om_arena_array(r->a, OM_RANK_MAX, sizeof(*ints));
        a.n = read_ints((om_sv){ text.ptr + 1, text.len - 2 }, ints, OM_RANK_MAX);
    }
    return a;
}

static uint32_t read_values(struct reader *r, om_sv list, om_val *out)
{
    uint32_t n = 0;
    om_sv part;

    while (list.len > 0 && om_sv_split(&list, ',', &part) && n < MAX_ARGS)
        out[n++] = lookup(r, part);
    return n;
}

static void emit(struct reader *r, enum om_op op, om_sv results, const om_val *in, uint32_t n_in,
                 const struct om_attr *attrs, uint32_t n_attrs)
{
    om_sv list = results, part;
    om_val out[MAX_ARGS];
    uint32_t n = 0;

    while (om_sv_split(&list, ',', &part))
        n++;
    om_graph_emit_n(r->g, op, r->scope, in, n_in, attrs, n_attrs, out, n);
    for (n = 0; om_sv_split(&results, ',', &part); n++)
        define(r, part, out[n]);
}

static void read_op(struct reader *r, om_sv rest)
{
    const om_sv results = word(&rest);
    const om_sv name = word(&rest);
    const enum om_op op = om_op_parse(name);
    om_val in[MAX_ARGS];
    const uint32_t n_in = read_values(r, word(&rest), in);
    struct om_attr attrs[MAX_ARGS];
    uint32_t n_attrs = 0;

    if (op == OM_OP_NONE)
        bad(r, "no such operator:", name);
    for (om_sv a = word(&rest); a.len > 0 && n_attrs < MAX_ARGS; a = word(&rest))
        attrs[n_attrs++] = read_attr(r, a);
    emit(r, op, results, in, n_in, attrs, n_attrs);
}

static void read_end(struct reader *r, om_sv rest)
{
    const om_sv results = word(&rest);
    const om_val cond = lookup(r, word(&rest));
    const struct om_attr attrs[] = {
        { .name = "then_branch", .kind = OM_ATTR_BLOCK, .i = r->blocks[r->depth - 1][0] },
        { .name = "else_branch", .kind = OM_ATTR_BLOCK, .i = r->blocks[r->depth - 1][1] },
    };

    om_graph_block_end(r->g);
    r->depth--;
    emit(r, OM_OP_If, results, &cond, 1, attrs, 2);
}

static void read_statement(struct reader *r, om_sv s)
{
    om_sv rest = s;
    const om_sv verb = word(&rest);

    if (om_sv_is(verb, "in"))
        read_input(r, rest);
    else if (om_sv_is(verb, "weight"))
        read_weight(r, rest);
    else if (om_sv_is(verb, "const"))
        read_const(r, rest);
    else if (om_sv_is(verb, "dims"))
        read_dims_op(r, rest);
    else if (om_sv_is(verb, "op"))
        read_op(r, rest);
    else if (om_sv_is(verb, "scope"))
        r->scope = word(&rest);
    else if (om_sv_is(verb, "then"))
        r->blocks[r->depth++][0] = om_graph_block_begin(r->g, OM_SVL("then_branch"));
    else if (om_sv_is(verb, "else")) {
        om_graph_block_end(r->g);
        r->blocks[r->depth - 1][1] = om_graph_block_begin(r->g, OM_SVL("else_branch"));
    } else if (om_sv_is(verb, "end"))
        read_end(r, rest);
    else if (om_sv_is(verb, "give") || om_sv_is(verb, "out")) {
        const om_sv name = word(&rest);
        om_graph_output(r->g, name, lookup(r, name), NULL);
    } else if (verb.len > 0)
        bad(r, "no such statement:", s);
}

struct om_graph *graph_text(struct test *t, struct om_arena *a, const char *text)
{
    struct reader r = { .t = t, .a = a, .scope = OM_SVL(""), .seed = 1 };
    struct om_error err = OM_ERROR_INIT;
    om_sv rest = om_sv_str(text), statement;
    int rc = om_graph_new(a, NULL, OM_SVL("main_graph"), &r.g, &err);

    CHECK_OK(t, rc, &err);
    if (rc < 0)
        return NULL;
    while (om_sv_split(&rest, ';', &statement))
        read_statement(&r, om_sv_trim(statement));
    rc = om_graph_check(r.g, &err);
    if (rc == 0)
        rc = om_graph_finish(r.g, &err);
    CHECK_OK(t, rc, &err);
    om_error_release(&err);
    if (rc == 0)
        return r.g;
    om_graph_free(r.g);
    return NULL;
}

/* ---- inputs ---- */

static void bind(struct om_dim_env *env, const char *symbols)
{
    om_sv rest = om_sv_str(symbols), part, name;
    int64_t value;

    while (om_sv_split(&rest, ',', &part))
        if (om_sv_split(&part, '=', &name) && om_sv_i64(part, &value))
            om_dim_bind(env, name, value);
}

static void fill(void *data, enum om_dtype dtype, int64_t count, int64_t limit, uint64_t *seed)
{
    const bool whole = dtype == OM_I64 || dtype == OM_I32 || dtype == OM_BOOL;

    for (int64_t i = 0; i < count; i++) {
        const double v =
            whole ? (double)(next_random(seed) % (uint64_t)(limit ? limit : 2)) : next_unit(seed);
        om_convert((uint8_t *)data + (size_t)i * om_dtype_size(dtype), dtype, &v, OM_F64, 1);
    }
}

struct om_tensor *graph_inputs(struct test *t, struct om_arena *a, const struct om_graph *g,
                               const char *symbols)
{
    struct om_tensor *in = om_arena_array(a, g->n_inputs + 1, sizeof(*in));
    struct om_dim_env env;
    uint64_t seed = 7;

    CHECK(t, in && om_dim_env_init(&env, a, g->dims) == 0);
    bind(&env, symbols);
    for (size_t i = 0; i < g->n_inputs; i++) {
        const struct om_value *v = om_graph_value(g, g->inputs[i].val);
        int64_t *dims = om_arena_array(a, v->rank, sizeof(*dims)), count = 0;
        void *data;
        for (uint32_t k = 0; k < v->rank; k++)
            CHECK(t, om_dim_eval(&env, v->dims[k], &dims[k]));
        CHECK(t, om_count(dims, v->rank, &count));
        data = om_arena_array(a, (size_t)count, om_dtype_size(v->dtype));
        fill(data, v->dtype, count, g->inputs[i].limit, &seed);
        in[i] = (struct om_tensor){ .name = om_arena_str(a, g->inputs[i].name),
                                    .dtype = v->dtype,
                                    .rank = v->rank,
                                    .dims = dims,
                                    .data = data };
    }
    return in;
}

size_t graph_count(const struct om_graph *g, enum om_op op)
{
    size_t n = 0;

    for (size_t i = 0; i < g->n_nodes; i++)
        n += op == OM_OP_NONE || g->nodes[i].op == op;
    return n;
}
