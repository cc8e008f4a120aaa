/* tests/unit/t_ref.c: every kernel of the reference executor, the binding of inputs, lifetimes and
 * limits.
 *
 * Tensors are written as text: "f32[2,3] 1 2 3 4 5 6". "=" before it makes a constant of the graph,
 * "~" an input whose extents inference does not know; "-" is an operand that is left out. */
#include "ref/ref.h"
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/half.h"

enum { MAX_TENSORS = 8 };

/* A graph, what goes in and what comes out. */
struct bench {
    struct om_arena a;
    struct om_graph *g;
    struct om_tensor inputs[MAX_TENSORS];
    size_t n_inputs;
    struct om_tensor *outputs;
    size_t n_outputs;
    void *blocks[4 * MAX_TENSORS]; /* the data of tensors, each as large as its elements: ASan
                                      sees a kernel that reads further */
    size_t n_blocks;
    struct om_error err;
};

static void bench_start(struct test *t, struct bench *b)
{
    *b = (struct bench){ .a = OM_ARENA_INIT((size_t)256 << 20), .err = OM_ERROR_INIT };
    CHECK_OK(t, om_graph_new(&b->a, NULL, OM_SVL("test"), &b->g, &b->err), &b->err);
}

static void bench_end(struct bench *b)
{
    om_graph_free(b->g);
    om_error_release(&b->err);
    for (size_t i = 0; i < b->n_blocks; i++)
        free(b->blocks[i]);
    om_arena_release(&b->a);
}

static int bench_run(struct bench *b, const struct om_ref_opts *opts)
{
    return om_ref_run(b->g, b->inputs, b->n_inputs, opts, &b->a, &b->outputs, &b->n_outputs,
                      &b->err);
}

/* ---- tensors as text ---- */

static enum om_dtype parse_dtype(om_sv s)
{
    static const struct {
        const char *text;
        enum om_dtype dtype;
    } names[] = {
        { "f32", OM_F32 },   { "f64", OM_F64 }, { "f16", OM_F16 }, { "bf16", OM_BF16 },
        { "i64", OM_I64 },   { "i32", OM_I32 }, { "u8", OM_U8 },   { "i8", OM_I8 },
        { "bool", OM_BOOL }, { "u64", OM_U64 },
    };

    for (size_t i = 0; i < OM_COUNT(names); i++)
        if (om_sv_is(s, names[i].text))
            return names[i].dtype;
    return OM_DTYPE_NONE;
}

static void put_number(void *to, enum om_dtype dtype, om_sv s)
{
    char text[64];
    int64_t i;
    double f;

    snprintf(text, sizeof(text), "%.*s", OM_SV(s));
    f = strtod(text, NULL); /* knows inf and nan, too */
    if (om_sv_i64(s, &i))
        om_convert(to, dtype, &i, OM_I64, 1);
    else
        om_convert(to, dtype, &f, OM_F64, 1);
}

static bool parse_shape(struct om_arena *a, om_sv s, struct om_tensor *out)
{
    int64_t *dims = om_arena_array(a, OM_RANK_MAX, sizeof(*dims));
    om_sv part;

    out->dims = dims;
    while (dims && s.len > 0 && om_sv_split(&s, ',', &part))
        if (out->rank == OM_RANK_MAX || !om_sv_i64(part, &dims[out->rank++]))
            return false;
    return dims != NULL;
}

static bool parse_tensor(struct bench *b, om_sv text, struct om_tensor *out)
{
    om_sv rest = om_sv_trim(text), head, dtype, part;
    unsigned char *data;
    int64_t n;
    size_t size;

    *out = (struct om_tensor){ .rank = 0 };
    if (!om_sv_split(&rest, ']', &head) || !om_sv_split(&head, '[', &dtype) ||
        !parse_shape(&b->a, head, out) || !om_count(out->dims, out->rank, &n))
        return false;
    out->dtype = parse_dtype(dtype);
    size = om_dtype_size(out->dtype);
    data = size && b->n_blocks < OM_COUNT(b->blocks) ? malloc(OM_MAX((size_t)n * size, 1)) : NULL;
    if (!data)
        return false;
    out->data = b->blocks[b->n_blocks++] = data;
    rest = om_sv_trim(rest);
    for (; n > 0 && rest.len > 0 && om_sv_split(&rest, ' ', &part); n--, data += size)
        put_number(data, out->dtype, part);
    return n == 0 && rest.len == 0;
}

static double element(const struct om_tensor *t, int64_t i)
{
    double v;

    om_convert(&v, OM_F64, (const char *)t->data + (size_t)i * om_dtype_size(t->dtype), t->dtype,
               1);
    return v;
}

static bool is_close(enum om_dtype dtype, double got, double want)
{
    const double tolerance = dtype == OM_F16 ? 1e-3 : dtype == OM_BF16 ? 1e-2 : 2e-6;

    if (isnan(want) || isinf(want))
        return isnan(want) ? isnan(got) : got == want;
    return fabs(got - want) <= tolerance * fabs(want) + 1e-12;
}

static void check_tensor(struct test *t, const struct om_tensor *got, const struct om_tensor *want)
{
    const size_t size = om_dtype_size(want->dtype);
    const bool real = want->dtype == OM_F32 || want->dtype == OM_F64 || want->dtype == OM_F16 ||
                      want->dtype == OM_BF16;
    int64_t n = 0;

    CHECK_STR(t, om_dtype_text(got->dtype), om_dtype_text(want->dtype));
    CHECK_INT(t, got->rank, want->rank);
    if (got->dtype != want->dtype || got->rank != want->rank)
        return;
    for (uint32_t i = 0; i < want->rank; i++)
        CHECK_INT(t, got->dims[i], want->dims[i]);
    CHECK(t, om_count(want->dims, want->rank, &n));
    for (int64_t i = 0; i < n && !test_failed(t); i++) {
        const char *g = (const char *)got->data + (size_t)i * size;
        const char *w = (const char *)want->data + (size_t)i * size;
        const double x = element(got, i), y = element(want, i);

        test_check(t, real ? is_close(want->dtype, x, y) : memcmp(g, w, size) == 0, __FILE__,
                   __LINE__, "%s: element %" PRId64 " is %.9g, expected %.9g", got->name, i, x, y);
    }
}

/* ---- attributes as text ---- */

static bool parse_ints(struct om_arena *a, om_sv s, struct om_attr *out)
{
    int64_t *ints = om_arena_array(a, OM_RANK_MAX, sizeof(*ints));
    om_sv part;

    out->kind = OM_ATTR_INTS;
    out->ints = ints;
    while (ints && om_sv_split(&s, ',', &part))
        if (out->n == OM_RANK_MAX || !om_sv_i64(part, &ints[out->n++]))
            return false;
    return ints != NULL;
}

/* "i64:7": a tensor of one element. */
static bool parse_value(struct bench *b, om_sv s, struct om_attr *out)
{
    struct om_weight *w = om_arena_alloc(&b->a, sizeof(*w));
    int64_t *one = om_arena_alloc(&b->a, sizeof(*one));
    void *data = om_arena_alloc(&b->a, 8);
    om_sv dtype;

    if (!w || !one || !data || !om_sv_split(&s, ':', &dtype))
        return false;
    *one = 1;
    *w = (struct om_weight){ .dtype = parse_dtype(dtype), .rank = 1, .dims = one, .data = data };
    w->bytes = om_dtype_size(w->dtype);
    put_number(data, w->dtype, s);
    out->kind = OM_ATTR_TENSOR;
    out->tensor = w;
    return true;
}

/* "axis=1", "alpha=0.5", "perm=1,0", "approximate=tanh", "value=i64:7" */
static bool parse_attr(struct bench *b, om_sv s, struct om_attr *out)
{
    om_sv name;

    *out = (struct om_attr){ .kind = OM_ATTR_STRING };
    if (!om_sv_split(&s, '=', &name) || s.len == 0)
        return false;
    out->name = om_arena_str(&b->a, name);
    if (memchr(s.ptr, ':', s.len))
        return parse_value(b, s, out);
    if (memchr(s.ptr, ',', s.len))
        return parse_ints(&b->a, s, out);
    out->s = s;
    if (om_sv_i64(s, &out->i))
        out->kind = OM_ATTR_INT;
    else if (om_sv_f64(s, &out->f))
        out->kind = OM_ATTR_FLOAT;
    return out->name != NULL;
}

static uint32_t parse_attrs(struct test *t, struct bench *b, const char *text, struct om_attr **out)
{
    struct om_attr *attrs = om_arena_array(&b->a, MAX_TENSORS, sizeof(*attrs));
    om_sv rest = om_sv_str(text), part;
    uint32_t n = 0;

    *out = attrs;
    while (attrs && n < MAX_TENSORS && rest.len > 0 && om_sv_split(&rest, ' ', &part))
        CHECK(t, parse_attr(b, part, &attrs[n++]));
    return n;
}

/* ---- one operator at a time ---- */

/* The value of one operand, see the top of the file. */
static om_val add_operand(struct test *t, struct bench *b, om_sv text)
{
    struct om_tensor *in = &b->inputs[b->n_inputs];
    om_dim dims[OM_RANK_MAX];
    char kind;

    text = om_sv_trim(text);
    kind = text.len > 0 ? text.ptr[0] : '-';
    if (kind == '-')
        return (om_val){ 0 };
    if (kind == '=' || kind == '~')
        text = (om_sv){ text.ptr + 1, text.len - 1 };
    CHECK(t, parse_tensor(b, text, in));
    if (kind == '=')
        return om_graph_const(b->g, in->dtype, in->dims, in->rank, in->data);
    in->name = om_arena_printf(&b->a, "x%zu", b->n_inputs);
    b->n_inputs++;
    for (uint32_t i = 0; i < in->rank; i++)
        dims[i] = kind == '~' ? om_dim_fresh(b->g->dims) : om_dim_const(b->g->dims, in->dims[i]);
    return om_graph_input(b->g, om_sv_str(in->name), in->dtype, dims, in->rank);
}

static uint32_t count_parts(const char *text)
{
    uint32_t n = 1;

    for (; *text; text++)
        n += *text == ';';
    return n;
}

/* A graph of the one operator. */
static int build_op(struct test *t, struct bench *b, const char *op, const char *in,
                    const char *attr_text, uint32_t n_out)
{
    const enum om_op code = om_op_parse(om_sv_str(op));
    om_sv rest = om_sv_str(in), part;
    om_val ins[MAX_TENSORS], outs[MAX_TENSORS] = { { 0 } };
    struct om_attr *attrs;
    uint32_t n = 0, n_attrs;

    CHECK(t, code != OM_OP_NONE);
    while (n < MAX_TENSORS && om_sv_split(&rest, ';', &part))
        ins[n++] = add_operand(t, b, part);
    n_attrs = parse_attrs(t, b, attr_text, &attrs);
    om_graph_emit_n(b->g, code, OM_SVL("test"), ins, n, attrs, n_attrs, outs, n_out);
    for (uint32_t i = 0; i < n_out; i++)
        om_graph_output(b->g, om_sv_str(om_arena_printf(&b->a, "y%" PRIu32, i)), outs[i], NULL);
    OM_TRY(om_graph_finish(b->g, &b->err));
    return om_graph_verify(b->g, &b->err);
}

struct op_case {
    const char *op, *in, *attrs, *want;
};

/* The expected values are those of the operators' definitions (onnx.reference), but for wrapping
 * and dividing integers and converting what does not fit, which they leave open. */
static const struct op_case op_cases[] = {
    /* elementwise, one operand */
    { "Abs", "f32[3] -1.5 0 2", "", "f32[3] 1.5 0 2" },
    { "Abs", "i32[2] -7 7", "", "i32[2] 7 7" },
    { "Ceil", "f32[3] -1.5 0.2 2", "", "f32[3] -1 1 2" },
    { "Cos", "f64[2] 0 1", "", "f64[2] 1 0.5403023" },
    { "Erf", "f32[3] -0.5 0 2", "", "f32[3] -0.5204999 0 0.9953223" },
    { "Exp", "f32[2] 0 1", "", "f32[2] 1 2.718282" },
    { "Floor", "f16[3] -1.5 0.2 2", "", "f16[3] -2 0 2" },
    { "Gelu", "f32[3] -1 0 2", "", "f32[3] -0.1586553 0 1.9545" },
    { "Gelu", "f32[3] -1 0 2", "approximate=tanh", "f32[3] -0.158808 0 1.954598" },
    { "Gelu", "bf16[2] -1 2", "approximate=none", "bf16[2] -0.1582031 1.953125" },
    { "LeakyRelu", "f32[2] -2 3", "", "f32[2] -0.02 3" },
    { "LeakyRelu", "f32[2] -2 3", "alpha=0.5", "f32[2] -1 3" },
    { "Log", "f32[2] 1 10", "", "f32[2] 0 2.302585" },
    { "Mish", "f32[3] -1 0 30", "", "f32[3] -0.3034015 0 30" },
    { "Neg", "f32[2] -1 2", "", "f32[2] 1 -2" },
    { "Neg", "i64[2] -1 9223372036854775807", "", "i64[2] 1 -9223372036854775807" },
    { "Not", "bool[2] 0 1", "", "bool[2] 1 0" },
    { "Reciprocal", "f32[2] 4 -0.5", "", "f32[2] 0.25 -2" },
    { "Relu", "f32[3] -1 0 2.5", "", "f32[3] 0 0 2.5" },
    { "Relu", "i32[2] -3 3", "", "i32[2] 0 3" },
    { "Round", "f32[7] -2.5 -1.5 -0.5 0.5 1.5 2.5 2.6", "", "f32[7] -2 -2 -0 0 2 2 3" },
    { "Sigmoid", "f32[3] -100 0 2", "", "f32[3] 3.783506e-44 0.5 0.880797" },
    { "Sign", "f32[3] -3 0 0.1", "", "f32[3] -1 0 1" },
    { "Sign", "i64[3] -3 0 9", "", "i64[3] -1 0 1" },
    { "Sin", "f32[2] 0 1", "", "f32[2] 0 0.841471" },
    { "Softplus", "f32[3] -2 0 100", "", "f32[3] 0.126928 0.6931472 100" },
    { "Sqrt", "f32[2] 4 2", "", "f32[2] 2 1.414214" },
    { "Swish", "f32[2] -1 2", "", "f32[2] -0.2689414 1.761594" },
    { "Swish", "f32[2] -1 2", "alpha=1.5", "f32[2] -0.1824255 1.905148" },
    { "Tanh", "f32[3] -1 0 20", "", "f32[3] -0.7615942 0 1" },
    { "Identity", "bool[2] 0 1", "", "bool[2] 0 1" },
    /* elementwise, two operands and broadcasting */
    { "Add", "f32[2,3] 1 2 3 4 5 6; f32[3] 10 20 30", "", "f32[2,3] 11 22 33 14 25 36" },
    { "Add", "f32[2,1] 1 2; f32[3] 10 20 30", "", "f32[2,3] 11 21 31 12 22 32" },
    { "Add", "f32[3] 10 20 30; f32[2,1,1] 1 2", "", "f32[2,1,3] 11 21 31 12 22 32" },
    { "Add", "f32[] 1; f32[2] 1 2", "", "f32[2] 2 3" },
    { "Add", "f32[0,3] ; f32[3] 1 2 3", "", "f32[0,3]" },
    { "Add", "f32[2,1,2] 1 2 3 4; f32[1,2,1] 10 20", "", "f32[2,2,2] 11 12 21 22 13 14 23 24" },
    { "Add", "f16[2] 1 2; f16[1] 0.5", "", "f16[2] 1.5 2.5" },
    { "Add", "i32[2] 2147483647 1; i32[2] 1 1", "", "i32[2] -2147483648 2" },
    { "Add", "u8[2] 200 1; u8[2] 100 1", "", "u8[2] 44 2" },
    { "Sub", "i64[2] 5 6; i64[1] 7", "", "i64[2] -2 -1" },
    { "Mul", "f32[2] 1.5 -2; f32[2] 2 2", "", "f32[2] 3 -4" },
    { "Div", "f32[2] 1 -6; f32[2] 4 3", "", "f32[2] 0.25 -2" },
    { "Div", "i64[4] 7 -7 7 -7; i64[4] 2 2 -2 -2", "", "i64[4] 3 -3 -3 3" },
    { "Div", "i64[2] 7 -9223372036854775808; i64[2] 0 -1", "", "i64[2] 0 -9223372036854775808" },
    { "Mod", "i64[4] 7 -7 7 -7; i64[4] 3 3 -3 -3", "", "i64[4] 1 2 -2 -1" },
    { "Mod", "i64[4] 7 -7 7 -7; i64[4] 3 3 -3 -3", "fmod=1", "i64[4] 1 -1 1 -1" },
    { "Mod", "f32[2] 5.5 -5.5; f32[1] 2", "fmod=1", "f32[2] 1.5 -1.5" },
    { "Max", "f32[3] 1 5 nan; f32[1] 3", "", "f32[3] 3 5 nan" },
    { "Min", "i32[3] 1 5 3; i32[1] 3", "", "i32[3] 1 3 3" },
    { "Pow", "f32[3] 2 3 4; f32[3] 3 2 0.5", "", "f32[3] 8 9 2" },
    { "Pow", "f32[2] 2 3; i64[1] 3", "", "f32[2] 8 27" },
    { "Pow", "i64[3] 2 -3 -1; i64[3] 10 3 5", "", "i64[3] 1024 -27 -1" },
    { "Pow", "i32[2] 2 3; f32[1] 2", "", "i32[2] 4 9" },
    { "Equal", "i64[3] 1 2 3; i64[1] 2", "", "bool[3] 0 1 0" },
    { "Equal", "bool[2] 0 1; bool[2] 1 1", "", "bool[2] 0 1" },
    { "Greater", "f32[3] 1 2 3; f32[] 2", "", "bool[3] 0 0 1" },
    { "GreaterOrEqual", "f32[3] 1 2 3; f32[] 2", "", "bool[3] 0 1 1" },
    { "Less", "i32[3] 1 2 3; i32[1] 2", "", "bool[3] 1 0 0" },
    { "LessOrEqual", "f32[3] 1 2 3; f32[] 2", "", "bool[3] 1 1 0" },
    { "And", "bool[4] 0 0 1 1; bool[4] 0 1 0 1", "", "bool[4] 0 0 0 1" },
    { "Or", "bool[4] 0 0 1 1; bool[4] 0 1 0 1", "", "bool[4] 0 1 1 1" },
    { "Where", "bool[2,1] 1 0; f32[2] 1 2; f32[] -9", "", "f32[2,2] 1 2 -9 -9" },
    { "Where", "bool[3] 1 0 1; i64[3] 1 2 3; i64[3] 4 5 6", "", "i64[3] 1 5 3" },
    { "Clip", "f32[4] -3 0 0.5 9; f32[] -1; f32[] 1", "", "f32[4] -1 0 0.5 1" },
    { "Clip", "f32[2] -3 9; -; f32[] 1", "", "f32[2] -3 1" },
    { "Clip", "i64[2] -3 9; i64[] 0", "", "i64[2] 0 9" },
    { "Clip", "f32[2] 1 2", "", "f32[2] 1 2" },
    /* conversions and shapes */
    { "Cast", "f32[4] -1.7 1.7 0 3", "to=7", "i64[4] -1 1 0 3" },
    { "Cast", "f32[3] 0 0.5 nan", "to=9", "bool[3] 0 1 1" },
    { "Cast", "i64[2] 3 -1", "to=1", "f32[2] 3 -1" },
    { "Cast", "f32[2] 1e10 nan", "to=6", "i32[2] 2147483647 0" },
    { "Cast", "bool[2] 0 1", "to=1", "f32[2] 0 1" },
    { "Shape", "f32[2,0,3]", "", "i64[3] 2 0 3" },
    { "Shape", "f32[2,0,3]", "start=-2", "i64[2] 0 3" },
    { "Shape", "f32[2,0,3]", "start=1 end=2", "i64[1] 0" },
    { "Reshape", "f32[2,3] 1 2 3 4 5 6; =i64[2] 3 -1", "", "f32[3,2] 1 2 3 4 5 6" },
    { "Reshape", "f32[2,3] 1 2 3 4 5 6; =i64[3] 0 1 3", "", "f32[2,1,3] 1 2 3 4 5 6" },
    { "Reshape", "f32[0,3] ; =i64[2] 3 0", "allowzero=1", "f32[3,0]" },
    { "Squeeze", "f32[1,2,1] 1 2", "", "f32[2] 1 2" },
    { "Squeeze", "f32[1,2,1] 1 2; =i64[1] -1", "", "f32[1,2] 1 2" },
    { "Unsqueeze", "f32[2] 1 2; =i64[2] 0 -1", "", "f32[1,2,1] 1 2" },
    { "ConstantOfShape", "=i64[2] 2 2", "", "f32[2,2] 0 0 0 0" },
    { "ConstantOfShape", "=i64[1] 3", "value=i64:7", "i64[3] 7 7 7" },
    { "ConstantOfShape", "=i64[0]", "value=f32:2", "f32[] 2" },
    { "Range", "i64[] 2; i64[] 9; i64[] 3", "", "i64[3] 2 5 8" },
    { "Range", "i64[] 5; i64[] 0; i64[] -2", "", "i64[3] 5 3 1" },
    { "Range", "f32[] 0; f32[] 1; f32[] 0.25", "", "f32[4] 0 0.25 0.5 0.75" },
    { "Range", "i64[] 5; i64[] 5; i64[] 1", "", "i64[0]" },
    /* moving elements */
    { "Transpose", "f32[2,3] 1 2 3 4 5 6", "", "f32[3,2] 1 4 2 5 3 6" },
    { "Transpose", "i64[2,1,3] 1 2 3 4 5 6", "perm=1,2,0", "i64[1,3,2] 1 4 2 5 3 6" },
    { "Transpose", "bool[2,2] 1 0 1 1", "perm=1,0", "bool[2,2] 1 1 0 1" },
    { "Slice", "f32[5] 0 1 2 3 4; =i64[1] 1; =i64[1] -1", "", "f32[3] 1 2 3" },
    { "Slice", "f32[5] 0 1 2 3 4; =i64[1] -1; =i64[1] -9223372036854775808; =i64[1] 0; =i64[1] -2",
      "", "f32[3] 4 2 0" },
    { "Slice",
      "i64[2,4] 0 1 2 3 4 5 6 7; =i64[1] 1; =i64[1] 9223372036854775807; =i64[1] -1"
      "; =i64[1] 2",
      "", "i64[2,2] 1 3 5 7" },
    { "Slice", "f32[3] 1 2 3; =i64[1] 2; =i64[1] 1", "", "f32[0]" },
    { "Slice", "f32[2,3] 1 2 3 4 5 6; =i64[2] 0 1; =i64[2] 1 3; =i64[2] 0 1", "", "f32[1,2] 2 3" },
    { "Split", "f32[5] 0 1 2 3 4", "num_outputs=2", "f32[3] 0 1 2; f32[2] 3 4" },
    { "Split", "f32[2,4] 0 1 2 3 4 5 6 7; =i64[2] 1 3", "axis=-1",
      "f32[2,1] 0 4; f32[2,3] 1 2 3 5 6 7" },
    { "Concat", "f32[1,2] 1 2; f32[2,2] 3 4 5 6", "axis=0", "f32[3,2] 1 2 3 4 5 6" },
    { "Concat", "f32[2,1] 1 2; f32[2,0] ; f32[2,2] 3 4 5 6", "axis=-1", "f32[2,3] 1 3 4 2 5 6" },
    { "Expand", "f32[2,1] 1 2; =i64[3] 2 1 3", "", "f32[2,2,3] 1 1 1 2 2 2 1 1 1 2 2 2" },
    { "Expand", "f32[3] 1 2 3; =i64[1] 1", "", "f32[3] 1 2 3" },
    { "Tile", "f32[1,2] 1 2; =i64[2] 2 3", "", "f32[2,6] 1 2 1 2 1 2 1 2 1 2 1 2" },
    { "Tile", "i64[2] 1 2; =i64[1] 0", "", "i64[0]" },
    { "Trilu", "f32[2,3] 1 2 3 4 5 6", "", "f32[2,3] 1 2 3 0 5 6" },
    { "Trilu", "f32[3,2] 1 2 3 4 5 6", "upper=0", "f32[3,2] 1 0 3 4 5 6" },
    { "Trilu", "i64[3,3] 1 2 3 4 5 6 7 8 9; =i64[] 1", "upper=1", "i64[3,3] 0 2 3 0 0 6 0 0 0" },
    { "Trilu", "i64[3,3] 1 2 3 4 5 6 7 8 9; =i64[] -1", "upper=0", "i64[3,3] 0 0 0 4 0 0 7 8 0" },
    { "Gather", "f32[3,2] 1 2 3 4 5 6; i64[2] 2 -3", "", "f32[2,2] 5 6 1 2" },
    { "Gather", "f32[2,3] 1 2 3 4 5 6; i64[] 1", "axis=1", "f32[2] 2 5" },
    { "Gather", "f16[2,3] 1 2 3 4 5 6; i32[1,2] 0 2", "axis=-1", "f16[2,1,2] 1 3 4 6" },
    { "GatherElements", "f32[2,3] 1 2 3 4 5 6; i64[2,2] 0 2 -1 0", "axis=1", "f32[2,2] 1 3 6 4" },
    { "GatherND", "f32[2,2] 1 2 3 4; i64[2,2] 0 0 1 1", "", "f32[2] 1 4" },
    { "GatherND", "f32[2,2,2] 1 2 3 4 5 6 7 8; i64[2,1] 1 0", "batch_dims=1", "f32[2,2] 3 4 5 6" },
    { "GatherND", "f32[2,2] 1 2 3 4; i64[2,1] 1 -2", "", "f32[2,2] 3 4 1 2" },
    /* reductions */
    { "ReduceSum", "f32[2,3] 1 2 3 4 5 6; =i64[1] 1", "keepdims=0", "f32[2] 6 15" },
    { "ReduceSum", "f32[2,3] 1 2 3 4 5 6", "", "f32[1,1] 21" },
    { "ReduceSum", "i32[2,3] 1 2 3 4 5 6; =i64[1] -2", "", "i32[1,3] 5 7 9" },
    { "ReduceSum", "f32[2] 1 2; =i64[0]", "noop_with_empty_axes=1", "f32[2] 1 2" },
    { "ReduceSum", "f32[2,0] ; =i64[1] 1", "", "f32[2,1] 0 0" },
    { "ReduceSum", "f32[2,2,2] 1 2 3 4 5 6 7 8; =i64[2] 0 2", "keepdims=0", "f32[2] 14 22" },
    { "ReduceMean", "f32[2,3] 1 2 3 4 5 6; =i64[1] 0", "", "f32[1,3] 2.5 3.5 4.5" },
    { "ReduceMean", "bf16[4] 1 2 3 5", "keepdims=0", "bf16[] 2.75" },
    { "ReduceMax", "f32[2,2] -1 -2 3 nan; =i64[1] 1", "", "f32[2,1] -1 nan" },
    { "ReduceMax", "i64[3] -1 7 3", "keepdims=0", "i64[] 7" },
    { "ReduceMin", "f32[2,2] -1 -2 3 4; =i64[1] 0", "", "f32[1,2] -1 -2" },
    { "ReduceL2", "f32[2,2] 3 4 6 8; =i64[1] -1", "keepdims=0", "f32[2] 5 10" },
    { "ArgMax", "f32[2,3] 1 3 3 9 2 1", "axis=1", "i64[2,1] 1 0" },
    { "ArgMax", "f32[2,3] 1 3 3 9 2 1", "axis=-1 keepdims=0 select_last_index=1", "i64[2] 2 0" },
    { "ArgMax", "i64[2,2] 1 3 5 2", "axis=0 keepdims=0", "i64[2] 1 0" },
    { "CumSum", "f32[4] 1 2 3 4; =i64[] 0", "", "f32[4] 1 3 6 10" },
    { "CumSum", "f32[4] 1 2 3 4; =i64[] 0", "exclusive=1", "f32[4] 0 1 3 6" },
    { "CumSum", "i64[2,3] 1 2 3 4 5 6; =i64[] -1", "reverse=1", "i64[2,3] 6 5 3 15 11 6" },
    { "CumSum", "i32[2,3] 1 2 3 4 5 6; =i32[] 0", "reverse=1 exclusive=1", "i32[2,3] 4 5 6 0 0 0" },
    /* matrix products */
    { "MatMul", "f32[2,3] 1 2 3 4 5 6; f32[3,2] 1 0 0 1 1 1", "", "f32[2,2] 4 5 10 11" },
    { "MatMul", "f32[2,1,2] 1 2 3 4; f32[2,2] 1 2 3 4", "", "f32[2,1,2] 7 10 15 22" },
    { "MatMul", "f32[2,1,1,2] 1 2 3 4; f32[1,2,2,1] 1 2 3 4", "", "f32[2,2,1,1] 5 11 11 25" },
    { "MatMul", "f64[3] 1 2 3; f64[3,2] 1 0 0 1 1 1", "", "f64[2] 4 5" },
    { "MatMul", "f32[2,2] 1 2 3 4; f32[2] 1 1", "", "f32[2] 3 7" },
    { "MatMul", "i64[2,2] 1 2 3 4; i64[2,2] 5 6 7 8", "", "i64[2,2] 19 22 43 50" },
    { "MatMul", "f16[1,2] 1 2; f16[2,1] 3 4", "", "f16[1,1] 11" },
    { "MatMul", "f32[2,0] ; f32[0,2]", "", "f32[2,2] 0 0 0 0" },
    { "Gemm", "f32[2,2] 1 2 3 4; f32[2,2] 5 6 7 8; f32[2] 1 -1", "alpha=0.5 beta=2.0",
      "f32[2,2] 11.5 9 23.5 23" },
    { "Gemm", "f32[2,3] 1 2 3 4 5 6; f32[2,2] 1 2 3 4", "transA=1", "f32[3,2] 13 18 17 24 21 30" },
    { "Gemm", "f32[1,2] 1 2; f32[3,2] 1 2 3 4 5 6; f32[1,3] 1 1 1", "transB=1",
      "f32[1,3] 6 12 18" },
    /* normalization */
    { "Softmax", "f32[2,2] 0 1 1000 1000", "", "f32[2,2] 0.2689414 0.7310586 0.5 0.5" },
    { "Softmax", "f32[2,2] 0 1 2 0", "axis=0", "f32[2,2] 0.1192029 0.7310586 0.880797 0.2689414" },
    { "Softmax", "f16[3] 1 2 3", "axis=-1", "f16[3] 0.09008789 0.244751 0.6655273" },
    { "LayerNormalization", "f32[2,3] 1 2 3 2 4 9; f32[3] 1 2 1; f32[3] 0 0 1", "",
      "f32[2,3] -1.224736 0 2.224736 -1.019049 -0.6793658 2.358732" },
    { "LayerNormalization", "f32[2,2] 1 3 5 9; f32[2,2] 1 1 1 1", "axis=0 epsilon=0.1",
      "f32[2,2] -1.176512 -0.5042195 0.1680732 1.512658" },
    { "LayerNormalization", "f16[1,2] 1 3; f16[2] 1 1", "epsilon=0.00001", "f16[1,2] -1 1" },
    { "RMSNormalization", "f32[2,2] 3 4 6 8; f32[2] 1 2", "epsilon=0.000001",
      "f32[2,2] 0.8485281 2.262742 0.8485281 2.262742" },
    /* attention */
    { "Attention", "f32[1,1,2,2] 1 0 0 1; f32[1,1,2,2] 1 0 0 1; f32[1,1,2,1] 1 2", "",
      "f32[1,1,2,1] 1.330238 1.669761" },
    { "Attention", "f32[1,1,2,2] 1 0 0 1; f32[1,1,2,2] 1 0 0 1; f32[1,1,2,1] 1 2", "is_causal=1",
      "f32[1,1,2,1] 1 1.669761" },
    { "Attention", "f32[1,2,1,1] 1 2; f32[1,1,2,1] 1 3; f32[1,1,2,2] 1 2 3 4", "scale=0.5",
      "f32[1,2,1,2] 2.462117 3.462117 2.761594 3.761594" },
    { "Attention", "f32[1,2,1,1] 1 2; f32[1,1,2,1] 1 3; f32[1,1,2,2] 1 2 3 4",
      "scale=0.5 softcap=1.0", "f32[1,2,1,2] 2.217962 3.217962 2.116203 3.116203" },
    { "Attention",
      "f32[1,1,2,1] 1 2; f32[1,1,3,1] 1 2 3; f32[1,1,3,1] 1 2 4; bool[2,3] 1 1 0 0 0 0", "",
      "f32[1,1,2,1] 1.731059 0" },
    { "Attention",
      "f32[1,1,2,1] 1 2; f32[1,1,3,1] 1 2 3; f32[1,1,3,1] 1 2 4; f32[1,1,1,3] 0 -1 -inf", "",
      "f32[1,1,2,1] 1.5 1.731059" },
    { "Attention",
      "f32[1,1,2,1] 1 2; f32[1,1,2,1] 3 4; f32[1,1,2,1] 5 7; -; f32[1,1,1,1] 1"
      "; f32[1,1,1,1] 2",
      "is_causal=1", "f32[1,1,2,1] 4.642391 6.751221; f32[1,1,3,1] 1 3 4; f32[1,1,3,1] 2 5 7" },
    { "Attention", "f32[1,1,1,1] 1; f32[1,1,1,1] 3; f32[1,1,1,1] 5; -; f32[1,1,0,1] ; f32[1,1,0,1]",
      "", "f32[1,1,1,1] 5; f32[1,1,1,1] 3; f32[1,1,1,1] 5" },
    { "Attention", "f16[1,1,1,2] 1 2; f16[1,1,2,2] 1 1 0 1; f16[1,1,2,1] 1 3", "",
      "f16[1,1,1,1] 1.661133" },
    { "GroupQueryAttention",
      "f32[1,1,1] 1; f32[1,1,1] 3; f32[1,1,1] 5; f32[1,1,1,1] 1; f32[1,1,1,1] 2; i32[1] 1; i32[] 2",
      "num_heads=1 kv_num_heads=1", "f32[1,1,1] 4.642391; f32[1,1,2,1] 1 3; f32[1,1,2,1] 2 5" },
    { "MultiHeadAttention",
      "f32[1,1,1] 1; f32[1,1,1] 3; f32[1,1,1] 5; -; -; -; f32[1,1,1,1] 1; f32[1,1,1,1] 2",
      "num_heads=1", "f32[1,1,1] 4.642391; f32[1,1,2,1] 1 3; f32[1,1,2,1] 2 5" },
    { "MultiHeadAttention",
      "f32[1,1,1] 1; f32[1,1,2,1] 1 3; f32[1,1,2,1] 2 5; -; i32[1,2] 0 1; f32[1,1,1,2] 0 7",
      "num_heads=1", "f32[1,1,1] 5" },
    { "PackedAttention", "f32[1,2,1] 1 2; f32[1,3] 1 1 1; f32[3] 0 0 1", "num_heads=1",
      "f32[1,2,1] 2.731059 2.880797" },
    { "PackedAttention", "f32[1,2,1] 1 2; f32[1,3] 1 1 1; -; i32[1,2] 0 1",
      "num_heads=1 mask_filter_value=-1000000.0", "f32[1,2,1] 2 2" },
    { "PackedAttention", "f32[1,2,1] 1 2; f32[1,3] 1 1 1; -; i32[1,2] 0 0",
      "num_heads=1 mask_filter_value=-3.4028234663852886e38", "f32[1,2,1] 1.5 1.5" },
    { "RotaryEmbedding",
      "f32[1,1,2,4] 1 2 3 4 5 6 7 8; f32[1,2,2] 1 1 0.5 0.25; f32[1,2,2] 0 0 0.5 0.75", "",
      "f32[1,1,2,4] 1 2 3 4 -1 -4.5 6 6.5" },
    { "RotaryEmbedding",
      "f32[1,1,2,4] 1 2 3 4 5 6 7 8; f32[1,2,2] 1 1 0.5 0.25; f32[1,2,2] 0 0 0.5 0.75",
      "interleaved=1", "f32[1,1,2,4] 1 2 3 4 -0.5 5.5 -4.25 7.25" },
    { "RotaryEmbedding",
      "f32[1,2,1,4] 1 2 3 4 5 6 7 8; f32[3,1] 1 0.5 0.25; f32[3,1] 0 0.5 0.75; i64[1,1] 2",
      "rotary_embedding_dim=2", "f32[1,2,1,4] -1.25 1.25 3 4 -3.25 5.25 7 8" },
    { "RotaryEmbedding", "f32[1,2,4] 1 2 3 4 5 6 7 8; f32[1,2,1] 1 0.5; f32[1,2,1] 0 0.5",
      "num_heads=2", "f32[1,2,4] 1 2 3 4 -0.5 5.5 -0.5 7.5" },
    { "Linear", "f32[1,2] 1 2; f32[3,2] 1 2 3 4 5 6; f32[3] 1 1 1", "transB=1",
      "f32[1,3] 6 12 18" },
    { "Linear", "f32[2,1,2] 1 2 3 4; f32[2,1] 1 2", "", "f32[2,1,1] 5 11" },
    { "Linear", "f32[1,0] ; f32[0,2] ; f32[2] 1 2", "", "f32[1,2] 1 2" },
    { "Linear", "f32[0,2] ; f32[2,3] 1 2 3 4 5 6; f32[3] 1 2 3", "", "f32[0,3]" },
    { "Linear", "f16[1,2] 1 2; f16[2,1] 1 2", "alpha=0.5", "f16[1,1] 2.5" },
    { "Linear", "f64[1,2] 1 2; f64[2,1] 1 2; f64[1] 3", "", "f64[1,1] 8" },
};

static void operators(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(op_cases); i++) {
        const struct op_case *k = &op_cases[i];
        om_sv rest = om_sv_str(k->want), part;
        struct bench b;

        test_case(t, "%s %s %s", k->op, k->in, k->attrs);
        bench_start(t, &b);
        CHECK_OK(t, build_op(t, &b, k->op, k->in, k->attrs, count_parts(k->want)), &b.err);
        if (!test_failed(t))
            CHECK_OK(t, bench_run(&b, NULL), &b.err);
        for (size_t o = 0; o < b.n_outputs && om_sv_split(&rest, ';', &part); o++) {
            struct om_tensor want;

            CHECK(t, parse_tensor(&b, part, &want));
            check_tensor(t, &b.outputs[o], &want);
        }
        bench_end(&b);
        if (test_failed(t))
            return;
    }
}

/* ops.def grows: whoever adds an operator adds a case. */
static void every_operator_has_a_case(struct test *t)
{
    for (int op = OM_OP_NONE + 1; op < OM_OP_COUNT; op++) {
        bool found = op == OM_OP_If || op == OM_OP_Dims; /* tested below */

        for (size_t i = 0; i < OM_COUNT(op_cases) && !found; i++)
            found = strcmp(op_cases[i].op, om_op_name((enum om_op)op)) == 0;
        test_check(t, found, __FILE__, __LINE__, "%s is not tested", om_op_name((enum om_op)op));
    }
}

/* What only the values show, and shapes that inference was not told. want: part of the message. */
static const struct op_case refused[] = {
    { "Gather", "f32[3] 1 2 3; i64[1] 3", "", "index 3 is outside [-3, 3)" },
    { "Gather", "f32[3] 1 2 3; i64[1] -4", "", "index -4 is outside [-3, 3)" },
    { "Gather", "f32[0]; i64[1] 0", "", "index 0 is outside" },
    { "GatherElements", "f32[2] 1 2; i64[1] 2", "", "index 2 is outside" },
    { "GatherElements", "~f32[2,2] 1 2 3 4; ~i64[3,1] 0 0 0", "axis=1", "axis 0: 3 indices" },
    { "GatherND", "f32[2] 1 2; i64[1,1] 5", "", "index 5 is outside" },
    { "Add", "~f32[2] 1 2; ~f32[3] 1 2 3", "", "shapes [2] and [3] cannot be broadcast" },
    { "Where", "~bool[2] 0 1; ~f32[3] 1 2 3; f32[] 0", "", "cannot be broadcast" },
    { "Abs", "u64[1] 1", "", "no kernel for uint64" },
    { "Mod", "f32[1] 1; f32[1] 1", "", "no kernel for float32" },
    { "MatMul", "~f32[1,2] 1 2; ~f32[3,1] 1 2 3", "", "[1, 2] and float32 [3, 1] cannot" },
    { "Gemm", "~f32[1,2] 1 2; ~f32[3,1] 1 2 3", "", "cannot be multiplied" },
    { "Gemm", "~f32[1,1] 1; ~f32[1,2] 1 2; ~f32[3] 1 2 3", "", "" },
    { "Linear", "~f32[1,2] 1 2; ~f32[3,1] 1 2 3", "", "input [1, 2] does not fit weight [3, 1]" },
    { "Concat", "~f32[1,2] 1 2; ~f32[2,1] 1 2", "axis=0", "operand 1 is float32[2, 1]" },
    { "Reshape", "~f32[3] 1 2 3; =i64[2] 2 -1", "", "[3] cannot take the shape [2, -1]" },
    { "Reshape", "~f32[0]; =i64[2] 0 -1", "", "cannot take the shape" },
    { "Reshape", "f32[2] 1 2; i64[2] 2 2", "", "cannot take the shape" },
    { "Reshape", "f32[2] 1 2; i64[2] -1 -1", "", "cannot take the shape" },
    { "Squeeze", "~f32[2] 1 2; =i64[1] 0", "", "axis 0 has 2 elements, expected 1" },
    { "Split", "~f32[3] 1 2 3; i64[1] 2", "", "do not add up to the 3 elements" },
    { "Split", "~f32[3] 1 2 3; i64[1] -1", "", "a part of -1" },
    { "Range", "i64[] 0; i64[] 1; i64[] 0", "", "steps of 0" },
    { "Range", "f32[] 0; f32[] 1; f32[] 0", "", "no range from 0 to 1 by 0" },
    { "Range", "f32[] 0; f32[] nan; f32[] 1", "", "no range" },
    { "Range", "i64[] -9223372036854775807; i64[] 9223372036854775807; i64[] 1", "", "too long" },
    { "Range", "i64[] 0; i64[] 9223372036854775807; i64[] 1", "", "too large" },
    { "Range", "i64[] 0; i64[] 1000000000000; i64[] 1", "", "memory limit" },
    { "ConstantOfShape", "i64[2] 4611686018427387904 4", "", "[4611686018427387904, 4]" },
    { "ConstantOfShape", "i64[1] -1", "", "shape [-1] is not possible" },
    { "ConstantOfShape", "i64[2] 0 -1", "", "is not possible" },
    { "Expand", "f32[2] 1 2; i64[1] 3", "", "cannot be broadcast" },
    { "Expand", "f32[1] 1; i64[1] -3", "", "is not possible" },
    { "Tile", "f32[2] 1 2; i64[1] -1", "", "-1 repeats" },
    { "Tile", "f32[2] 1 2; i64[1] 9223372036854775807", "", "repeats are not possible" },
    { "ArgMax", "~f32[0]", "", "no maximum of no elements" },
    { "CumSum", "f32[2] 1 2; i64[] 1", "", "axis 1 is outside [-1, 1)" },
    { "ReduceSum", "f32[2] 1 2; =i64[2] 0 -1", "", "axis 0 is given twice" },
    { "LayerNormalization", "~f32[1,2] 1 2; ~f32[3] 1 1 1", "", "cannot be broadcast" },
    { "RotaryEmbedding", "f32[1,1,1,2] 1 2; f32[2,1] 1 1; f32[2,1] 0 0; i64[1,1] 2", "",
      "position 2 is outside [0, 2)" },
    { "RotaryEmbedding", "~f32[1,1,1,4] 1 2 3 4; ~f32[1,1,1] 1; ~f32[1,1,1] 0", "",
      "do not fit [1, 1, 1, 4] with 2 pairs" },
    { "Attention", "f32[1,1,1,2] 1 2; f32[1,1,1,2] 1 2; ~f32[1,2,1,1] 1 2", "",
      "query [1, 1, 1, 2], key [1, 1, 1, 2] and value [1, 2, 1, 1] do not fit" },
    { "Attention",
      "f32[1,1,1,1] 1; f32[1,1,1,1] 1; f32[1,1,1,1] 1; -; f32[1,1,1,1] 1; ~f32[1,1,2,1] 1 2", "",
      "do not fit key" },
    { "Attention", "f32[1,1,2,1] 1 1; f32[1,1,2,1] 1 1; f32[1,1,2,1] 1 1; ~f32[3,2] 0 0 0 0 0 0",
      "", "mask [3, 2] of float32 does not fit the scores [1, 1, 2, 2]" },
};

static void refusals(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(refused); i++) {
        const struct op_case *k = &refused[i];
        struct bench b;

        test_case(t, "%s %s %s", k->op, k->in, k->attrs);
        bench_start(t, &b);
        if (build_op(t, &b, k->op, k->in, k->attrs, 1) == 0)
            CHECK(t, bench_run(&b, NULL) < 0);
        CHECK(t, b.err.code < 0);
        CHECK_HAS(t, om_error_text(&b.err), k->want);
        CHECK(t, b.n_outputs == 0);
        bench_end(&b);
    }
}

/* ---- Linear and weights ---- */

static const float matrix[6] = { 1, 2, 3, 4, 5, 6 };

/* x [batch, 3] -> Linear with weight w. */
static void build_linear(struct bench *b, const struct om_weight *w, bool trans)
{
    const om_dim dims[2] = { om_dim_symbol(b->g->dims, OM_SVL("batch")),
                             om_dim_const(b->g->dims, 3) };
    const float bias[2] = { 10, 20 };
    const om_val in[3] = { om_graph_input(b->g, OM_SVL("x"), OM_F32, dims, 2),
                           om_graph_weight(b->g, w),
                           om_graph_const(b->g, OM_F32, (const int64_t[]){ 2 }, 1, bias) };
    struct om_attr *attrs = om_arena_array(&b->a, 2, sizeof(*attrs));

    if (!attrs)
        return;
    attrs[0] = (struct om_attr){ .name = "transB", .kind = OM_ATTR_INT, .i = trans };
    attrs[1] = (struct om_attr){ .name = "alpha", .kind = OM_ATTR_FLOAT, .f = 2 };
    om_graph_output(b->g, OM_SVL("y"),
                    om_graph_emit(b->g, OM_OP_Linear, OM_SVL("l"), in, 3, attrs, 2), NULL);
}

static void linear_on_weights(struct test *t)
{
    static const int64_t out_in[2] = { 2, 3 }, in_out[2] = { 3, 2 }, turned[2] = { 1, 3 };
    unsigned char unaligned[sizeof(matrix) + 1];
    uint16_t half[6];
    const struct {
        const char *what;
        struct om_weight w;
        bool trans;
        const char *want; /* of x = (1, 1, 1), (1, 0, 0): 2 * x W + bias */
    } cases[] = {
        { "in place",
          { .name = OM_SVL("w"),
            .dtype = OM_F32,
            .rank = 2,
            .dims = out_in,
            .data = matrix,
            .bytes = 24 },
          true,
          "f32[2,2] 22 50 12 28" },
        { "stored [in, out]",
          { .name = OM_SVL("w"),
            .dtype = OM_F32,
            .rank = 2,
            .dims = in_out,
            .data = matrix,
            .bytes = 24 },
          false,
          "f32[2,2] 28 44 12 24" },
        { "unaligned",
          { .name = OM_SVL("w"),
            .dtype = OM_F32,
            .rank = 2,
            .dims = out_in,
            .data = unaligned + 1,
            .bytes = 24 },
          true,
          "f32[2,2] 22 50 12 28" },
        { "cast",
          { .name = OM_SVL("w"),
            .dtype = OM_F32,
            .src_dtype = OM_BF16,
            .rank = 2,
            .dims = out_in,
            .data = half,
            .bytes = 12 },
          true,
          "f32[2,2] 22 50 12 28" },
        { "transposed", /* the bytes are [2, 3], the graph sees [3, 2] */
          { .name = OM_SVL("w"),
            .dtype = OM_F32,
            .rank = 2,
            .dims = in_out,
            .data = matrix,
            .bytes = 24,
            .strides = turned },
          false,
          "f32[2,2] 22 50 12 28" },
        { "transposed and unaligned",
          { .name = OM_SVL("w"),
            .dtype = OM_F32,
            .rank = 2,
            .dims = in_out,
            .data = unaligned + 1,
            .bytes = 24,
            .strides = turned },
          false,
          "f32[2,2] 22 50 12 28" },
        { "cast and transposed",
          { .name = OM_SVL("w"),
            .dtype = OM_F32,
            .src_dtype = OM_BF16,
            .rank = 2,
            .dims = in_out,
            .data = half,
            .bytes = 12,
            .strides = turned },
          false,
          "f32[2,2] 22 50 12 28" },
    };

    memcpy(unaligned + 1, matrix, sizeof(matrix));
    om_convert(half, OM_BF16, matrix, OM_F32, 6);
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_tensor want;
        struct bench b;

        test_case(t, "%s", cases[i].what);
        bench_start(t, &b);
        build_linear(&b, &cases[i].w, cases[i].trans);
        CHECK_OK(t, om_graph_finish(b.g, &b.err), &b.err);
        CHECK(t, parse_tensor(&b, OM_SVL("f32[2,3] 1 1 1 1 0 0"), &b.inputs[0]));
        b.inputs[0].name = "x";
        b.n_inputs = 1;
        CHECK_OK(t, bench_run(&b, NULL), &b.err);
        CHECK(t, parse_tensor(&b, om_sv_str(cases[i].want), &want));
        if (b.n_outputs == 1)
            check_tensor(t, &b.outputs[0], &want);
        bench_end(&b);
    }
}

/* ---- binding ---- */

/* ids [batch, past - and - new], mask [batch, past + new], cache [batch, 2 * past]; the sum of the
 * mask and the three extents come out. */
static void build_ports(struct bench *b)
{
    struct om_dims *d = b->g->dims;
    const om_dim batch = om_dim_symbol(d, OM_SVL("batch_size")),
                 seq = om_dim_symbol(d, OM_SVL("sequence_length"));
    const om_dim past = om_dim_symbol(d, OM_SVL("past_sequence_length"));
    const om_dim ids[2] = { batch, seq }, mask[2] = { batch, om_dim_add(d, past, seq) };
    const om_dim cache[2] = { batch, om_dim_mul(d, om_dim_const(d, 2), past) };
    om_dim *all = om_arena_array(&b->a, 3, sizeof(*all));
    struct om_attr *attr = om_arena_alloc(&b->a, sizeof(*attr));
    om_val x;

    if (!all || !attr)
        return;
    all[0] = batch;
    all[1] = mask[1];
    all[2] = past;
    *attr = (struct om_attr){ .name = "dims", .kind = OM_ATTR_DIMS, .dims = all, .n = 3 };
    om_graph_input(b->g, OM_SVL("input_ids"), OM_I64, ids, 2);
    x = om_graph_input(b->g, OM_SVL("attention_mask"), OM_I64, mask, 2);
    om_graph_input(b->g, OM_SVL("cache"), OM_F32, cache, 2);
    x = om_graph_emit(b->g, OM_OP_ReduceSum, OM_SVL("s"), &x, 1, NULL, 0);
    om_graph_output(b->g, OM_SVL("sum"), x, NULL);
    om_graph_output(b->g, OM_SVL("dims"),
                    om_graph_emit(b->g, OM_OP_Dims, OM_SVL("d"), NULL, 0, attr, 1), NULL);
}

static void binding(struct test *t)
{
    static const struct {
        const char *in, *names, *want; /* want: the message, or "" */
    } cases[] = {
        { "i64[1,2] 1 1; i64[1,5] 1 1 1 1 1; f32[1,6] 0 0 0 0 0 0",
          "input_ids attention_mask cache", "" },
        { "f32[1,6] 0 0 0 0 0 0; i64[1,5] 1 1 1 1 1; i64[1,2] 1 1",
          "cache attention_mask input_ids", "" },
        { "i64[1,2] 1 1; i64[1,5] 1 1 1 1 1", "input_ids attention_mask",
          "input \"cache\" is missing" },
        { "i64[1,2] 1 1; i64[1,5] 1 1 1 1 1; f32[1,6] 0 0 0 0 0 0; i64[] 1",
          "input_ids attention_mask cache token_type_ids",
          "input \"token_type_ids\" is not one of the graph's (input_ids, attention_mask, cache)" },
        { "i64[1,2] 1 1; i64[1,2] 1 1; i64[1,5] 1 1 1 1 1; f32[1,6] 0 0 0 0 0 0",
          "input_ids input_ids attention_mask cache", "input \"input_ids\" is given twice" },
        { "f32[1,2] 1 1; i64[1,5] 1 1 1 1 1; f32[1,6] 0 0 0 0 0 0",
          "input_ids attention_mask cache", "input \"input_ids\": expected int64, found float32" },
        { "i64[2] 1 1; i64[1,5] 1 1 1 1 1; f32[1,6] 0 0 0 0 0 0", "input_ids attention_mask cache",
          "input \"input_ids\": expected rank 2, found 1" },
        { "i64[1,2] 1 1; i64[2,5] 1 1 1 1 1 1 1 1 1 1; f32[1,6] 0 0 0 0 0 0",
          "input_ids attention_mask cache",
          "input \"attention_mask\": axis 0: expected batch_size = 1, found 2" },
        { "i64[1,2] 1 1; i64[1,4] 1 1 1 1; f32[1,6] 0 0 0 0 0 0", "input_ids attention_mask cache",
          "input \"cache\": axis 1: expected 2*past_sequence_length = 4 (past_sequence_length = "
          "2), found 6" },
        { "i64[1,2] 1 1; i64[1,1] 1; f32[1,6] 0 0 0 0 0 0", "input_ids attention_mask cache",
          "input \"attention_mask\": axis 1: expected past_sequence_length + sequence_length "
          "(sequence_length = 2), "
          "found 1" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        om_sv rest = om_sv_str(cases[i].in), names = om_sv_str(cases[i].names), part, name;
        struct om_tensor sum, dims;
        struct bench b;

        test_case(t, "%s", cases[i].in);
        bench_start(t, &b);
        build_ports(&b);
        CHECK_OK(t, om_graph_finish(b.g, &b.err), &b.err);
        while (om_sv_split(&rest, ';', &part) && om_sv_split(&names, ' ', &name)) {
            CHECK(t, parse_tensor(&b, part, &b.inputs[b.n_inputs]));
            b.inputs[b.n_inputs++].name = om_arena_str(&b.a, name);
        }
        CHECK_INT(t, bench_run(&b, NULL) == 0, cases[i].want[0] == '\0');
        CHECK_HAS(t, om_error_text(&b.err), cases[i].want);
        CHECK(t, parse_tensor(&b, OM_SVL("i64[1,1] 5"), &sum));
        CHECK(t, parse_tensor(&b, OM_SVL("i64[3] 1 5 3"), &dims));
        if (b.n_outputs == 2) {
            check_tensor(t, &b.outputs[0], &sum);
            check_tensor(t, &b.outputs[1], &dims);
        }
        bench_end(&b);
    }
}

/* ---- branches, observation, lifetimes ---- */

/* if flag: x + w, else: relu(x) * 2, then both + 1; w is transformed and used in one branch only.
 */
static void build_if(struct bench *b)
{
    static const int64_t shape[2] = { 1, 2 };
    static const uint16_t half[2] = { 0x4120, 0x41A0 }; /* 10 and 20 */
    const struct om_weight w = { .name = OM_SVL("w"),
                                 .dtype = OM_F32,
                                 .src_dtype = OM_BF16,
                                 .rank = 2,
                                 .dims = shape,
                                 .data = half,
                                 .bytes = 4 };
    const om_dim dims[2] = { om_dim_const(b->g->dims, 1), om_dim_const(b->g->dims, 2) };
    const om_val flag = om_graph_input(b->g, OM_SVL("flag"), OM_BOOL, NULL, 0);
    const om_val x = om_graph_input(b->g, OM_SVL("x"), OM_F32, dims, 2);
    struct om_attr *attrs = om_arena_array(&b->a, 2, sizeof(*attrs));
    const float two = 2, one = 1;
    om_val in[2] = { om_graph_emit(b->g, OM_OP_Neg, OM_SVL("outer"), &x, 1, NULL, 0),
                     om_graph_weight(b->g, &w) };
    uint32_t yes, no;

    if (!attrs)
        return;
    in[0] = om_graph_emit(b->g, OM_OP_Neg, OM_SVL("again"), in, 1, NULL, 0);
    yes = om_graph_block_begin(b->g, OM_SVL("yes"));
    om_graph_output(b->g, OM_SVL("y"),
                    om_graph_emit(b->g, OM_OP_Add, OM_SVL("yes"), in, 2, NULL, 0), NULL);
    om_graph_block_end(b->g);
    no = om_graph_block_begin(b->g, OM_SVL("no"));
    in[0] = om_graph_emit(b->g, OM_OP_Relu, OM_SVL("no"), in, 1, NULL, 0);
    in[1] = om_graph_const(b->g, OM_F32, NULL, 0, &two);
    om_graph_output(b->g, OM_SVL("y"), om_graph_emit(b->g, OM_OP_Mul, OM_SVL("no"), in, 2, NULL, 0),
                    NULL);
    om_graph_block_end(b->g);
    attrs[0] = (struct om_attr){ .name = "then_branch", .kind = OM_ATTR_BLOCK, .i = yes };
    attrs[1] = (struct om_attr){ .name = "else_branch", .kind = OM_ATTR_BLOCK, .i = no };
    in[0] = om_graph_emit(b->g, OM_OP_If, OM_SVL("choose"), &flag, 1, attrs, 2);
    in[1] = om_graph_const(b->g, OM_F32, NULL, 0, &one);
    om_graph_output(b->g, OM_SVL("y"),
                    om_graph_emit(b->g, OM_OP_Add, OM_SVL("end"), in, 2, NULL, 0), NULL);
}

struct seen {
    struct om_buf ops;
    struct om_ctx *cancel; /* after the first value */
};

static void note(void *user, const struct om_graph *g, om_val v, const struct om_tensor *t)
{
    struct seen *s = user;
    const struct om_value *value = om_graph_value(g, v);

    om_buf_printf(&s->ops, "%s:%g ", om_op_name(g->nodes[value->node].op), element(t, 0));
    if (!om_sv_is(value->name, t->name) || t->dtype != value->dtype || t->rank != value->rank)
        om_buf_adds(&s->ops, "! ");
    if (s->cancel)
        om_ctx_cancel(s->cancel);
}

static void branches(struct test *t)
{
    static const struct {
        const char *flag, *want, *seen;
    } cases[] = {
        { "bool[] 1", "f32[1,2] 8 24", "Neg:3 Neg:-3 Add:7 If:7 Add:8 " },
        { "bool[] 0", "f32[1,2] 1 7", "Neg:3 Neg:-3 Relu:0 Mul:0 If:0 Add:1 " },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct seen seen = { .ops = OM_BUF_INIT(1u << 16) };
        const struct om_ref_opts opts = { .observe = note, .user = &seen };
        struct om_tensor want;
        struct bench b;

        test_case(t, "%s", cases[i].flag);
        bench_start(t, &b);
        build_if(&b);
        CHECK_OK(t, om_graph_finish(b.g, &b.err), &b.err);
        CHECK(t, parse_tensor(&b, om_sv_str(cases[i].flag), &b.inputs[0]));
        CHECK(t, parse_tensor(&b, OM_SVL("f32[1,2] -3 3"), &b.inputs[1]));
        b.inputs[0].name = "flag";
        b.inputs[1].name = "x";
        b.n_inputs = 2;
        CHECK_OK(t, bench_run(&b, &opts), &b.err);
        CHECK(t, parse_tensor(&b, om_sv_str(cases[i].want), &want));
        if (b.n_outputs == 1)
            check_tensor(t, &b.outputs[0], &want);
        CHECK_STR(t, seen.ops.ptr, cases[i].seen);
        om_buf_release(&seen.ops);
        bench_end(&b);
    }
}

/* An If within a branch: a ? (b ? x + x : -x) : relu(x), all of which use x. */
static void build_nested_if(struct bench *b)
{
    const om_dim dims[1] = { om_dim_const(b->g->dims, 1) };
    const om_val outer = om_graph_input(b->g, OM_SVL("a"), OM_BOOL, NULL, 0);
    const om_val inner = om_graph_input(b->g, OM_SVL("b"), OM_BOOL, NULL, 0);
    const om_val in = om_graph_input(b->g, OM_SVL("x"), OM_F32, dims, 1);
    const om_val x = om_graph_emit(b->g, OM_OP_Abs, OM_SVL("x"), &in, 1, NULL, 0);
    struct om_attr *attrs = om_arena_array(&b->a, 4, sizeof(*attrs));
    om_val y;

    if (!attrs)
        return;
    for (unsigned i = 0; i < 4; i++)
        attrs[i] = (struct om_attr){ .name = i % 2 ? "else_branch" : "then_branch",
                                     .kind = OM_ATTR_BLOCK };
    attrs[0].i = om_graph_block_begin(b->g, OM_SVL("then"));
    attrs[2].i = om_graph_block_begin(b->g, OM_SVL("then"));
    y = om_graph_emit(b->g, OM_OP_Add, OM_SVL("add"), (const om_val[]){ x, x }, 2, NULL, 0);
    om_graph_output(b->g, OM_SVL("y"), y, NULL);
    om_graph_block_end(b->g);
    attrs[3].i = om_graph_block_begin(b->g, OM_SVL("else"));
    om_graph_output(b->g, OM_SVL("y"),
                    om_graph_emit(b->g, OM_OP_Neg, OM_SVL("neg"), &x, 1, NULL, 0), NULL);
    om_graph_block_end(b->g);
    y = om_graph_emit(b->g, OM_OP_If, OM_SVL("inner"), &inner, 1, attrs + 2, 2);
    om_graph_output(b->g, OM_SVL("y"), y, NULL);
    om_graph_block_end(b->g);
    attrs[1].i = om_graph_block_begin(b->g, OM_SVL("else"));
    om_graph_output(b->g, OM_SVL("y"),
                    om_graph_emit(b->g, OM_OP_Relu, OM_SVL("relu"), &x, 1, NULL, 0), NULL);
    om_graph_block_end(b->g);
    y = om_graph_emit(b->g, OM_OP_If, OM_SVL("outer"), &outer, 1, attrs, 2);
    om_graph_output(b->g, OM_SVL("y"), y, NULL);
}

static void nested_branches(struct test *t)
{
    static const struct {
        const char *a, *b, *want;
    } cases[] = {
        { "bool[] 1", "bool[] 1", "f32[1] 10" },
        { "bool[] 1", "bool[] 0", "f32[1] -5" },
        { "bool[] 0", "bool[] 1", "f32[1] 5" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_tensor want;
        struct bench b;

        test_case(t, "%s %s", cases[i].a, cases[i].b);
        bench_start(t, &b);
        build_nested_if(&b);
        CHECK_OK(t, om_graph_finish(b.g, &b.err), &b.err);
        CHECK(t, parse_tensor(&b, om_sv_str(cases[i].a), &b.inputs[0]));
        CHECK(t, parse_tensor(&b, om_sv_str(cases[i].b), &b.inputs[1]));
        CHECK(t, parse_tensor(&b, OM_SVL("f32[1] -5"), &b.inputs[2]));
        b.inputs[0].name = "a";
        b.inputs[1].name = "b";
        b.inputs[2].name = "x";
        b.n_inputs = 3;
        CHECK_OK(t, bench_run(&b, NULL), &b.err);
        CHECK(t, parse_tensor(&b, om_sv_str(cases[i].want), &want));
        if (b.n_outputs == 1)
            check_tensor(t, &b.outputs[0], &want);
        bench_end(&b);
    }
}

static void cancelled(struct test *t)
{
    struct seen seen = { .ops = OM_BUF_INIT(1u << 16), .cancel = om_ctx_new() };
    const struct om_ref_opts opts = { .ctx = seen.cancel, .observe = note, .user = &seen };
    struct bench b;

    bench_start(t, &b);
    build_if(&b);
    CHECK_OK(t, om_graph_finish(b.g, &b.err), &b.err);
    CHECK(t, parse_tensor(&b, OM_SVL("bool[] 1"), &b.inputs[0]));
    CHECK(t, parse_tensor(&b, OM_SVL("f32[1,2] -3 3"), &b.inputs[1]));
    b.inputs[0].name = "flag";
    b.inputs[1].name = "x";
    b.n_inputs = 2;
    CHECK_INT(t, bench_run(&b, &opts), OM_E_CANCELLED);
    CHECK_STR(t, seen.ops.ptr, "Neg:3 ");
    om_buf_release(&seen.ops);
    om_ctx_free(seen.cancel);
    bench_end(&b);
}

/* A chain of n negations of 1 MiB needs room for two of them, however long it is. */
static void memory_limit(struct test *t)
{
    const int64_t n = 1 << 18;

    for (unsigned room = 1; room <= 2; room++) {
        const struct om_ref_opts opts = { .max_bytes = room << 20 };
        struct om_tensor *in;
        struct bench b;
        om_dim dim;
        om_val x;

        test_case(t, "%u MiB", room);
        bench_start(t, &b);
        dim = om_dim_symbol(b.g->dims, OM_SVL("n"));
        x = om_graph_input(b.g, OM_SVL("x"), OM_F32, &dim, 1);
        for (unsigned i = 0; i < 9; i++)
            x = om_graph_emit(b.g, OM_OP_Neg, OM_SVL("neg"), &x, 1, NULL, 0);
        om_graph_output(b.g, OM_SVL("y"), x, NULL);
        CHECK_OK(t, om_graph_finish(b.g, &b.err), &b.err);
        in = &b.inputs[b.n_inputs++];
        *in = (struct om_tensor){ .name = "x",
                                  .dtype = OM_F32,
                                  .rank = 1,
                                  .dims = &n,
                                  .data = om_arena_alloc(&b.a, (size_t)n * sizeof(float)) };
        CHECK_INT(t, bench_run(&b, &opts), room == 2 ? 0 : OM_E_LIMIT);
        if (room == 1)
            CHECK_HAS(t, om_error_text(&b.err), "memory limit of 1048576 bytes");
        bench_end(&b);
    }
}

/* Every kernel lets go of its memory wherever it runs out of it (LeakSanitizer looks). */
static void memory_limit_everywhere(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(op_cases); i++) {
        const struct op_case *k = &op_cases[i];
        struct om_ref_opts opts = { .max_bytes = 1 };
        struct bench b;
        int rc;

        test_case(t, "%s %s %s", k->op, k->in, k->attrs);
        bench_start(t, &b);
        CHECK_OK(t, build_op(t, &b, k->op, k->in, k->attrs, count_parts(k->want)), &b.err);
        for (rc = OM_E_LIMIT; rc == OM_E_LIMIT && opts.max_bytes < 4096; opts.max_bytes++)
            rc = bench_run(&b, &opts);
        CHECK_INT(t, rc, 0);
        bench_end(&b);
    }
}

/* The bytes of an input may begin anywhere, as they do in a file. */
static void unaligned_input(struct test *t)
{
    unsigned char bytes[2 * sizeof(float) + 1];
    const float v[2] = { 1, -2 };
    struct om_tensor want;
    struct bench b;

    memcpy(bytes + 1, v, sizeof(v));
    bench_start(t, &b);
    CHECK_OK(t, build_op(t, &b, "Neg", "f32[2] 0 0", "", 1), &b.err);
    b.inputs[0].data = bytes + 1;
    CHECK_OK(t, bench_run(&b, NULL), &b.err);
    CHECK(t, parse_tensor(&b, OM_SVL("f32[2] -1 2"), &want));
    if (b.n_outputs == 1)
        check_tensor(t, &b.outputs[0], &want);
    bench_end(&b);
}

/* Large operands take the threaded ways. */
static void large_operands(struct test *t)
{
    const int64_t dims[2] = { 700, 1000 };
    struct om_tensor *in;
    struct bench b;
    om_dim d[2];
    om_val x;
    float *data;

    bench_start(t, &b);
    d[0] = om_dim_symbol(b.g->dims, OM_SVL("rows"));
    d[1] = om_dim_const(b.g->dims, dims[1]);
    x = om_graph_input(b.g, OM_SVL("x"), OM_F32, d, 2);
    x = om_graph_emit(b.g, OM_OP_Add, OM_SVL("a"), (const om_val[]){ x, x }, 2, NULL, 0);
    om_graph_output(b.g, OM_SVL("y"), om_graph_emit(b.g, OM_OP_Tanh, OM_SVL("t"), &x, 1, NULL, 0),
                    NULL);
    CHECK_OK(t, om_graph_finish(b.g, &b.err), &b.err);
    data = om_arena_array(&b.a, (size_t)(dims[0] * dims[1]), sizeof(*data));
    in = &b.inputs[b.n_inputs++];
    *in = (struct om_tensor){ .name = "x", .dtype = OM_F32, .rank = 2, .dims = dims, .data = data };
    for (int64_t i = 0; data && i < dims[0] * dims[1]; i++)
        data[i] = (float)(i % 7) / 8;
    CHECK_OK(t, bench_run(&b, NULL), &b.err);
    for (int64_t i = 0; b.n_outputs == 1 && i < dims[0] * dims[1] && !test_failed(t); i++)
        CHECK(t, ((const float *)b.outputs[0].data)[i] == (float)tanh((double)(i % 7) / 4));
    bench_end(&b);
}

const struct test_entry t_ref[] = {
    { "operators", operators },
    { "every_operator_has_a_case", every_operator_has_a_case },
    { "refusals", refusals },
    { "linear_on_weights", linear_on_weights },
    { "binding", binding },
    { "branches", branches },
    { "nested_branches", nested_branches },
    { "cancelled", cancelled },
    { "memory_limit", memory_limit },
    { "memory_limit_everywhere", memory_limit_everywhere },
    { "unaligned_input", unaligned_input },
    { "large_operands", large_operands },
    TEST_END,
};
