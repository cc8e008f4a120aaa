/* tests/unit/t_infer.c: what inference makes of every operator: types, symbolic shapes, contents,
 * and messages.
 *
 * Operands are written as text: "f32[B, 4]" is a tensor, "i64{1, -1}" a constant list, "i64(3)" a
 * constant scalar, "dims{B, S}" a list whose contents are dims, "dim(S)" such a scalar, "-" an
 * input that is left out. Results read "f32[B, 4]", with " = {...}" where the contents are known.
 */
#include "ir/graph.h"
#include "test.h"

#include <stdio.h>

struct fixture {
    struct om_arena arena;
    struct om_graph *g;
    unsigned n_inputs;
};

static const struct {
    const char *name;
    enum om_dtype dtype;
} dtypes[] = {
    { "f32", OM_F32 }, { "f16", OM_F16 },   { "i64", OM_I64 },
    { "i32", OM_I32 }, { "bool", OM_BOOL }, { "u8", OM_U8 },
};

static enum om_dtype dtype_of(om_sv name)
{
    for (size_t i = 0; i < OM_COUNT(dtypes); i++)
        if (om_sv_is(name, dtypes[i].name))
            return dtypes[i].dtype;
    return OM_DTYPE_NONE;
}

static const char *dtype_name(enum om_dtype dtype)
{
    for (size_t i = 0; i < OM_COUNT(dtypes); i++)
        if (dtypes[i].dtype == dtype)
            return dtypes[i].name;
    return "?";
}

static uint32_t parse_dims(struct fixture *f, om_sv list, om_dim *dims)
{
    uint32_t n = 0;
    om_sv part;

    while (om_sv_trim(list).len > 0 && om_sv_split(&list, ',', &part))
        dims[n++] = om_dim_parse(f->g->dims, om_sv_trim(part));
    return n;
}

static om_val dims_value(struct fixture *f, om_sv list)
{
    om_dim *dims = om_arena_array(&f->arena, 16, sizeof(*dims));
    const struct om_attr a = {
        .name = "dims", .kind = OM_ATTR_DIMS, .dims = dims, .n = parse_dims(f, list, dims)
    };

    return om_graph_emit(f->g, OM_OP_Dims, OM_SVL(""), NULL, 0, &a, 1);
}

static om_val constant(struct fixture *f, enum om_dtype dtype, om_sv list, bool scalar)
{
    om_dim dims[OM_RANK_MAX * 8];
    const int64_t n = parse_dims(f, list, dims);
    uint8_t bytes[OM_RANK_MAX * 8 * 8] = { 0 };
    const size_t size = om_dtype_size(dtype);

    for (int64_t i = 0; i < n; i++) {
        int64_t v = 0;
        om_dim_is_const(f->g->dims, dims[i], &v);
        memcpy(bytes + (size_t)i * size, &v, size); /* little-endian */
    }
    return om_graph_const(f->g, dtype, &n, !scalar, bytes);
}

static om_val operand(struct fixture *f, om_sv text)
{
    const char *open = text.len ? strpbrk(text.ptr, "[{(") : NULL;
    const om_sv head = { text.ptr, open ? (size_t)(open - text.ptr) : 0 };
    om_sv list = { open ? open + 1 : NULL, open ? text.len - head.len - 2 : 0 };
    om_dim dims[16];
    om_val zero, v;
    const char *name;

    if (om_sv_is(text, "-"))
        return (om_val){ 0 };
    if (om_sv_is(head, "dims"))
        return dims_value(f, list);
    if (om_sv_is(head, "dim")) {
        v = dims_value(f, list);
        zero = constant(f, OM_I64, OM_SVL("0"), true);
        return om_graph_emit(f->g, OM_OP_Gather, OM_SVL(""), (om_val[]){ v, zero }, 2, NULL, 0);
    }
    if (*open != '[')
        return constant(f, dtype_of(head), list, *open == '(');
    name = om_arena_printf(&f->arena, "in%u", f->n_inputs++);
    return om_graph_input(f->g, om_sv_str(name), dtype_of(head), dims, parse_dims(f, list, dims));
}

/* "axis=1 perm=1,0": a comma makes a list; value=N is a tensor with one int64. */
static uint32_t attributes(struct fixture *f, om_sv text, struct om_attr *attrs)
{
    uint32_t n = 0;
    om_sv part;

    while (text.len > 0 && om_sv_split(&text, ' ', &part)) {
        om_sv key;
        struct om_attr *a = &attrs[n++];
        om_dim dims[16];
        int64_t *ints = om_arena_array(&f->arena, 16, sizeof(*ints));
        om_sv_split(&part, '=', &key);
        *a = (struct om_attr){ .name = om_arena_str(&f->arena, key), .ints = ints };
        a->kind = memchr(part.ptr, ',', part.len) ? OM_ATTR_INTS : OM_ATTR_INT;
        a->n = parse_dims(f, part, dims);
        for (uint32_t i = 0; i < a->n; i++)
            om_dim_is_const(f->g->dims, dims[i], &ints[i]);
        a->i = ints[0];
        if (om_sv_is(key, "value")) {
            struct om_weight *w = om_arena_alloc(&f->arena, sizeof(*w));
            *w = (struct om_weight){
                .dtype = OM_I64, .src_dtype = OM_I64, .data = ints, .bytes = 8
            };
            a->kind = OM_ATTR_TENSOR;
            a->tensor = w;
        }
    }
    return n;
}

static void write_list(struct fixture *f, struct om_buf *b, const om_dim *dims, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        om_buf_adds(b, i ? ", " : "");
        om_dim_write(f->g->dims, dims[i], b);
    }
}

static void write_value(struct fixture *f, struct om_buf *b, om_val val)
{
    const struct om_value *v = om_graph_value(f->g, val);

    om_buf_printf(b, "%s[", dtype_name(v->dtype));
    write_list(f, b, v->dims, v->rank);
    om_buf_adds(b, "]");
    if (!v->content)
        return;
    om_buf_adds(b, " = {");
    write_list(f, b, v->content, v->n_content);
    om_buf_adds(b, "}");
}

struct infer_case {
    const char *op, *inputs, *attrs;
    const char *want; /* outputs, or "!" and a part of the message */
    uint32_t n_out;   /* 0: one */
};

static void run_case(struct test *t, const struct infer_case *k)
{
    struct fixture f = { .arena = OM_ARENA_INIT(64u << 20) };
    struct om_buf got = OM_BUF_INIT(1u << 16);
    struct om_error err = OM_ERROR_INIT;
    const uint32_t n_out = k->n_out ? k->n_out : 1;
    struct om_attr attrs[8];
    om_sv rest = om_sv_str(k->inputs), part;
    om_val in[8], out[8];
    uint32_t n_in = 0;

    test_case(t, "%s(%s) %s", k->op, k->inputs, k->attrs);
    if (om_graph_new(&f.arena, NULL, OM_SVL("g"), &f.g, NULL) < 0) {
        CHECK(t, f.g != NULL);
        return;
    }
    while (rest.len > 0 && om_sv_split(&rest, ';', &part))
        in[n_in++] = operand(&f, om_sv_trim(part));
    om_graph_emit_n(f.g, om_op_parse(om_sv_str(k->op)), OM_SVL("a/b.0"), in, n_in, attrs,
                    attributes(&f, om_sv_str(k->attrs), attrs), out, n_out);
    if (om_graph_check(f.g, &err) < 0)
        om_buf_printf(&got, "!%s", om_error_text(&err));
    for (uint32_t i = 0; i < n_out && f.g->rc == 0; i++) {
        om_buf_adds(&got, i ? "; " : "");
        write_value(&f, &got, out[i]);
    }
    om_buf_addc(&got, '\0');
    if (k->want[0] == '!') {
        char *prefix = om_arena_printf(&f.arena, "!/a/b.0/%s: ", k->op);
        CHECK_HAS(t, got.ptr, prefix);
        CHECK_HAS(t, got.ptr, k->want + 1);
    } else {
        CHECK_STR(t, got.ptr, k->want);
    }
    om_error_release(&err);
    om_buf_release(&got);
    om_graph_free(f.g);
    om_arena_release(&f.arena);
}

static void run_cases(struct test *t, const struct infer_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++)
        run_case(t, &cases[i]);
}

static void elementwise(struct test *t)
{
    static const char *const floats[] = { "Ceil",  "Cos",       "Erf", "Exp",      "Floor",
                                          "Gelu",  "LeakyRelu", "Log", "Mish",     "Reciprocal",
                                          "Round", "Sigmoid",   "Sin", "Softplus", "Sqrt",
                                          "Swish", "Tanh" };
    static const struct infer_case cases[] = {
        { "Abs", "i64[B]", "", "i64[B]", 0 },
        { "Abs", "bool[B]", "", "!input 0 is bool, not numeric", 0 },
        { "Neg", "i32[B]", "", "i32[B]", 0 },
        { "Sign", "f16[]", "", "f16[]", 0 },
        { "Relu", "f32[B, S]", "", "f32[B, S]", 0 },
        { "Not", "bool[B]", "", "bool[B]", 0 },
        { "Not", "f32[B]", "", "!input 0 is float32, not bool", 0 },
        { "Identity", "dims{B, 2}", "", "i64[2] = {B, 2}", 0 },
        { "Identity", "bool[B]", "", "bool[B]", 0 },
        { "Add", "f32[B, S, 4]; f32[4]", "", "f32[B, S, 4]", 0 },
        { "Add", "f32[B, 1]; f32[1, S]", "", "f32[B, S]", 0 },
        { "Add", "f32[B]; f32[S]", "", "!shapes [B] and [S] do not broadcast: B against S", 0 },
        { "Add", "f32[2, 3]; f32[2, 4]", "", "!do not broadcast: 3 against 4", 0 },
        { "Add", "f32[P + S]; f32[S + P]", "", "f32[P + S]", 0 },
        { "Add", "f32[unk__0]; f32[S]", "", "f32[S]", 0 },
        { "Add", "f32[unk__0, S]; f32[1]", "", "f32[unk__0, S]", 0 },
        { "Add", "f32[B]; f16[B]", "", "!inputs 0 and 1 are float32 and float16", 0 },
        { "Add", "bool[B]; bool[B]", "", "!not numeric", 0 },
        { "Add", "dims{B, S}; i64(1)", "", "i64[2] = {B + 1, S + 1}", 0 },
        { "Sub", "dim(P + S); dim(S)", "", "i64[] = {P}", 0 },
        { "Mul", "dims{B, S}; i64{2, 3}", "", "i64[2] = {2*B, 3*S}", 0 },
        { "Div", "dim(2*S); i64(2)", "", "i64[] = {S}", 0 },
        { "Div", "i64(-7); i64(2)", "", "i64[] = {-3}", 0 },
        { "Div", "i64(7); i64(0)", "", "i64[]", 0 },
        { "Mod", "i64[B]; i64[]", "", "i64[B]", 0 },
        { "Max", "dim(S); i64(1)", "", "i64[]", 0 },
        { "Max", "i64(3); i64(5)", "", "i64[] = {5}", 0 },
        { "Min", "dim(S); dim(S)", "", "i64[] = {S}", 0 },
        { "Pow", "f32[B]; i64[]", "", "f32[B]", 0 },
        { "Greater", "f32[B]; f32[]", "", "bool[B]", 0 },
        { "GreaterOrEqual", "i64[B, 1]; i64[S]", "", "bool[B, S]", 0 },
        { "Less", "i64[B]; i64[B]", "", "bool[B]", 0 },
        { "LessOrEqual", "i64[B]; f32[B]", "", "!inputs 0 and 1 are int64 and float32", 0 },
        { "Equal", "dims{B, -1, 4}; i64(-1)", "", "bool[3] = {0, 1, 0}", 0 },
        { "Equal", "dims{B, S}; i64(4)", "", "bool[2]", 0 }, /* B may be 4 */
        { "And", "bool[B, 1]; bool[S]", "", "bool[B, S]", 0 },
        { "Or", "bool[B]; i64[B]", "", "!inputs 0 and 1 are bool and int64", 0 },
        { "Where", "bool[B, 1]; f32[S]; f32[]", "", "f32[B, S]", 0 },
        { "Where", "f32[B]; f32[B]; f32[B]", "", "!input 0 is float32, not bool", 0 },
        { "Where", "bool[B]; f32[B]; i64[B]", "", "!inputs 1 and 2", 0 },
        { "Where", "bool{1, 0}; i64{1, 1}; dims{B, S}", "", "i64[2] = {1, S}", 0 },
        { "Cast", "i64[B]", "to=1", "f32[B]", 0 },
        { "Cast", "dims{B, S}", "to=6", "i32[2] = {B, S}", 0 },
        { "Cast", "dims{B, S}", "to=9", "bool[2]", 0 },
        { "Cast", "i64[B]", "to=99", "!element type 99 is not supported", 0 },
        { "Cast", "i64[B]", "", "!element type 0", 0 },
        { "Clip", "f32[B]; f32[]; f32[]", "", "f32[B]", 0 },
        { "Clip", "f32[B]; -; f32[]", "", "f32[B]", 0 },
        { "Clip", "f32[B]; f32[B]", "", "!input 1 of shape [B] is not a scalar", 0 },
        { "Clip", "f32[B]; i64[]", "", "!inputs 0 and 1", 0 },
    };

    for (size_t i = 0; i < OM_COUNT(floats); i++) {
        run_case(t, &(struct infer_case){ floats[i], "f32[B, S]", "", "f32[B, S]", 0 });
        run_case(t, &(struct infer_case){ floats[i], "i64[B, S]", "", "!not floating point", 0 });
    }
    run_cases(t, cases, OM_COUNT(cases));
}

static void shapes(struct test *t)
{
    static const struct infer_case cases[] = {
        { "Reshape", "f32[B, S, 8]; dims{B, S, 2, 4}", "", "f32[B, S, 2, 4]", 0 },
        { "Reshape", "f32[B, S, 8]; dims{B*S, 8}", "", "f32[B*S, 8]", 0 },
        { "Reshape", "f32[B, S, 8]; i64{-1, 8}", "", "f32[B*S, 8]", 0 },
        { "Reshape", "f32[B, S, 8]; i64{0, 0, 2, -1}", "", "f32[B, S, 2, 4]", 0 },
        { "Reshape", "f32[B, S, 8]; i64{0, -1}", "", "f32[B, 8*S]", 0 },
        { "Reshape", "f32[B, S, 8]; i64{-1, -1}", "", "!cannot be reshaped to [-1, -1]", 0 },
        { "Reshape", "f32[B, S, 8]; i64{-2, 8}", "", "!cannot be reshaped", 0 },
        { "Reshape", "f32[B, S, 8]; dims{B, S, -1, 3}", "",
          "![B, S, 8] cannot be reshaped to [B, S, -1, 3]", 0 },
        { "Reshape", "f32[B, S, 8]; dims{B, S, 9}", "", "!cannot be reshaped to [B, S, 9]", 0 },
        { "Reshape", "f32[B, S]; dims{B, T}", "", "!cannot be reshaped", 0 },
        { "Reshape", "f32[2, 3]; i64{4, -1}", "", "!cannot be reshaped", 0 },
        { "Reshape", "f32[2, 3]; i64{0, -1, 0}", "", "!cannot be reshaped", 0 },
        { "Reshape", "f32[S]; i64{-1, 2}", "", "f32[floor(S/2), 2]", 0 },
        { "Reshape", "f32[2, 0]; i64{0, 3}", "allowzero=1", "f32[0, 3]", 0 },
        { "Reshape", "f32[B, unk__3]; dims{B, 3, 4}", "", "f32[B, 3, 4]", 0 },
        { "Reshape", "f32[B, S]; i64[2]", "", "f32[unk__0, unk__1]", 0 },
        { "Reshape", "f32[B, S]; i64[1]", "", "f32[B*S]", 0 },
        { "Reshape", "f32[B, S]; i64[N]", "", "!rank of the result depends", 0 },
        { "Reshape", "f32[B, S]; i64(1)", "", "!scalar, not a list", 0 },
        { "Reshape", "f32[B, S]; f32[2]", "", "!is float32[2], not a list of integers", 0 },
        { "Reshape", "f32[B]; i64{1,1,1,1,1,1,1,1,-1}", "", "!rank 9 is above 8", 0 },
        { "Reshape", "dim(S); i64{1}", "", "i64[1] = {S}", 0 },
        { "Expand", "f32[B, 1, S]; dims{B, T, S}", "", "f32[B, T, S]", 0 },
        { "Expand", "f32[3]; i64{2, 1}", "", "f32[2, 3]", 0 },
        { "Expand", "f32[3]; i64{4}", "", "!do not broadcast", 0 },
        { "Expand", "f32[3]; i64[2]", "", "f32[unk__0, unk__1]", 0 },
        { "Tile", "f32[B, 3]; dims{2, S}", "", "f32[2*B, 3*S]", 0 },
        { "Tile", "f32[B, 3]; i64{2}", "", "!1 repeats for rank 2", 0 },
        { "Tile", "f32[B]; i64[1]", "", "f32[unk__0]", 0 },
        { "Shape", "f32[B, P + S, 8]", "", "i64[3] = {B, P + S, 8}", 0 },
        { "Shape", "f32[B, S, 8]", "start=1 end=-1", "i64[1] = {S}", 0 },
        { "Shape", "f32[B, S, 8]", "start=5", "i64[0] = {}", 0 },
        { "Shape", "f32[]", "", "i64[0] = {}", 0 },
        { "Concat", "f32[B, P, 8]; f32[B, S, 8]", "axis=1", "f32[B, P + S, 8]", 0 },
        { "Concat", "f32[B, P, 8]; f32[B, S, 9]", "axis=-2", "!axis 2 differs: 8 and 9", 0 },
        { "Concat", "f32[B, P]; f32[C, P]", "axis=1", "!axis 0 differs: B and C", 0 },
        { "Concat", "f32[unk__9, P]; f32[C, P]", "axis=1", "f32[C, 2*P]", 0 },
        { "Concat", "f32[B]; f32[B, S]", "axis=0", "!ranks differ: 1 and 2", 0 },
        { "Concat", "f32[B]; i64[B]", "axis=0", "!inputs 0 and 1", 0 },
        { "Concat", "f32[B]; f32[B]", "axis=1", "!axis 1 is outside rank 1", 0 },
        { "Concat", "f32[B]", "", "!attribute axis is missing", 0 },
        { "Concat", "dims{B}; i64{-1, 8}", "axis=0", "i64[3] = {B, -1, 8}", 0 },
        { "Concat", "dims{B}; i64[2]", "axis=0", "i64[3]", 0 },
        { "Split", "f32[B, 6]; i64{2, 4}", "axis=1", "f32[B, 2]; f32[B, 4]", 2 },
        { "Split", "f32[B, 6]", "axis=-1", "f32[B, 2]; f32[B, 2]; f32[B, 2]", 3 },
        { "Split", "f32[B, 7]", "axis=1 num_outputs=3", "f32[B, 3]; f32[B, 3]; f32[B, 1]", 3 },
        { "Split", "f32[B, 7]", "axis=1", "!an extent of 7 does not split into 3 parts", 3 },
        { "Split", "f32[2*S]", "", "f32[S]; f32[S]", 2 },
        { "Split", "f32[S]", "", "f32[unk__0]; f32[unk__1]", 2 },
        { "Split", "f32[B, 6]; i64{2, 3}", "axis=1", "!the parts sum to 5, the axis has 6", 2 },
        { "Split", "f32[B, 6]; i64{2, 3, 1}", "axis=1", "!3 sizes for 2 outputs", 2 },
        { "Split", "f32[B, 6]", "axis=1 num_outputs=3", "!num_outputs is 3, outputs are 2", 2 },
        { "Split", "f32[B, 6]", "axis=2", "!axis 2 is outside rank 2", 2 },
        { "Transpose", "f32[B, S, 8]", "perm=0,2,1", "f32[B, 8, S]", 0 },
        { "Transpose", "f32[B, S, 8]", "", "f32[8, S, B]", 0 },
        { "Transpose", "f32[B, S]", "perm=0,0", "!perm is not a permutation: entry 1 is 0", 0 },
        { "Transpose", "f32[B, S]", "perm=0,2", "!perm is not a permutation: entry 1 is 2", 0 },
        { "Transpose", "f32[B, S]", "perm=0,1,2", "!perm has 3 entries, the input rank 2", 0 },
        { "Squeeze", "f32[B, 1, S]; i64{1}", "", "f32[B, S]", 0 },
        { "Squeeze", "f32[B, 1, S, 1]", "", "f32[B, S]", 0 },
        { "Squeeze", "f32[B, S]; i64{-1}", "", "f32[B]", 0 },
        { "Squeeze", "f32[B, 2]; i64{1}", "", "!axis 1 has 2 elements, not 1", 0 },
        { "Squeeze", "f32[B, 1]; i64{1, -1}", "", "!axis 1 is given twice", 0 },
        { "Squeeze", "f32[B, 1]; i64[1]", "", "!list of at most 8 constants", 0 },
        { "Squeeze", "dims{S}; i64{0}", "", "i64[] = {S}", 0 },
        { "Unsqueeze", "f32[B, S]; i64{1, -1}", "", "f32[B, 1, S, 1]", 0 },
        { "Unsqueeze", "f32[B]; i64{2}", "", "!axis 2 is outside rank 2", 0 },
        { "Unsqueeze", "dim(S); i64{0}", "", "i64[1] = {S}", 0 },
        { "Trilu", "bool[S, T]; i64[]", "upper=0", "bool[S, T]", 0 },
        { "Trilu", "f32[S]", "", "!input of rank 1 is not a matrix", 0 },
        { "Trilu", "f32[S, S]; f32[]", "", "!k is float32[], not an int64 scalar", 0 },
        { "ConstantOfShape", "dims{B, S}", "", "f32[B, S]", 0 },
        { "ConstantOfShape", "i64{2}", "value=7", "i64[2] = {7, 7}", 0 },
        { "ConstantOfShape", "i64[2]", "value=7", "i64[unk__0, unk__1]", 0 },
        { "Range", "i64(0); dim(S); i64(1)", "", "i64[S]", 0 },
        { "Range", "dim(P); dim(P + S); i64(1)", "", "i64[S]", 0 },
        { "Range", "i64(0); i64(5); i64(2)", "", "i64[3] = {0, 2, 4}", 0 },
        { "Range", "i64(5); i64(0); i64(-2)", "", "i64[3] = {5, 3, 1}", 0 },
        { "Range", "i64(5); i64(0); i64(1)", "", "i64[0] = {}", 0 },
        { "Range", "i64(0); dim(S); i64(2)", "", "i64[floor((S + 1)/2)]", 0 },
        { "Range", "i64[]; i64[]; i64(1)", "", "i64[unk__0]", 0 },
        { "Range", "f32[]; f32[]; f32[]", "", "f32[unk__0]", 0 },
        { "Range", "i64(0); i64(1); i64(0)", "", "!the step is 0", 0 },
        { "Range", "i64(0); i64(1); i32[]", "", "!inputs 0 and 2", 0 },
    };

    run_cases(t, cases, OM_COUNT(cases));
}

static void slices(struct test *t)
{
    static const struct infer_case cases[] = {
        { "Slice", "f32[B, 8]; i64{2}; i64{5}; i64{1}", "", "f32[B, 3]", 0 },
        { "Slice", "f32[B, 8]; i64{2}; i64{100}; i64{1}", "", "f32[B, 6]", 0 },
        { "Slice", "f32[B, 8]; i64{-3}; i64{9223372036854775807}; i64{-1}", "", "f32[B, 3]", 0 },
        { "Slice", "f32[B, 8]; i64{5}; i64{2}; i64{1}", "", "f32[B, 0]", 0 },
        { "Slice", "f32[B, 8]; i64{0}; i64{8}; i64{1}; i64{3}", "", "f32[B, 3]", 0 },
        { "Slice", "f32[B, 8]; i64{7}; i64{0}; i64{1}; i64{-2}", "", "f32[B, 4]", 0 },
        { "Slice", "f32[B, 8]; i64{-1}; i64{-9223372036854775807}; i64{1}; i64{-1}", "",
          "f32[B, 8]", 0 },
        { "Slice", "f32[S]; i64{-1}; i64{-9223372036854775807}; i64{0}; i64{-1}", "", "f32[S]", 0 },
        { "Slice", "f32[B, S]; i64{1}; i64{9223372036854775807}; i64{1}", "", "f32[B, S - 1]", 0 },
        { "Slice", "f32[B, S]; i64{-1}; i64{9223372036854775807}; i64{1}", "", "f32[B, 1]", 0 },
        { "Slice", "f32[B, S]; i64{0}; i64{-1}; i64{1}", "", "f32[B, S - 1]", 0 },
        { "Slice", "f32[B, S]; i64{0}; i64{1}; i64{1}", "", "f32[B, 1]", 0 },
        { "Slice", "f32[B, S]; i64{0}; i64{7}; i64{1}", "", "f32[B, unk__0]", 0 },
        { "Slice", "f32[512, 8]; i64{0}; dims{S}; i64{0}", "", "f32[S, 8]", 0 },
        { "Slice", "f32[T, 8]; dims{P}; dims{P + S}; i64{0}", "", "f32[S, 8]", 0 },
        { "Slice", "f32[P + S, 8]; dims{-S}; i64{2147483647}; i64{0}", "", "f32[S, 8]", 0 },
        { "Slice", "f32[S, 8]; i64{0}; i64{2147483647}; i64{0}; i64{2}", "",
          "f32[floor((S + 1)/2), 8]", 0 },
        { "Slice", "f32[S, 8]; i64[1]; i64[1]; i64{0}", "", "f32[unk__0, 8]", 0 },
        { "Slice", "f32[4, 8]; i64{1, 2}; i64{3, 4}", "", "f32[2, 2]", 0 },
        { "Slice", "dims{B, S, 8}; i64{1}; i64{3}; i64{0}", "", "i64[2] = {S, 8}", 0 },
        { "Slice", "dims{B, S, 8}; i64{-1}; i64{-9}; i64{0}; i64{-1}", "", "i64[3] = {8, S, B}",
          0 },
        { "Slice", "f32[B]; i64{0}; i64{1}; i64{1}", "", "!axis 1 is outside rank 1", 0 },
        { "Slice", "f32[B, 2]; i64{0, 0}; i64{1, 1}; i64{1, -1}", "", "!axis 1 is cut twice", 0 },
        { "Slice", "f32[B]; i64{0}; i64{1}; i64{0}; i64{0}", "", "!step 0 on axis 0", 0 },
        { "Slice", "f32[B]; i64{0}; i64{1, 2}; i64{0}", "", "!1 starts and 2 ends for rank 1", 0 },
        { "Slice", "f32[B, 2]; i64{0}; i64{1}; i64{0, 1}", "", "!1 starts, 2 axes and 1 steps", 0 },
        { "Slice", "f32[B]; i64{0}; i64{1}; i64[1]", "", "!list of at most 8 constants", 0 },
        { "Gather", "f32[100, 8]; i64[B, S]", "", "f32[B, S, 8]", 0 },
        { "Gather", "f32[B, S, 8]; i64(0)", "axis=1", "f32[B, 8]", 0 },
        { "Gather", "f32[B, S, 8]; i64(9)", "axis=-1", "!index 9 is outside an axis of 8", 0 },
        { "Gather", "f32[B]; f32[B]", "", "!indices are float32", 0 },
        { "Gather", "f32[B]; i64[B]", "axis=1", "!axis 1 is outside rank 1", 0 },
        { "Gather", "f32[]; i64[B]", "", "!axis 0 is outside rank 0", 0 },
        { "Gather", "dims{B, S, 8}; i64{1, -1}", "", "i64[2] = {S, 8}", 0 },
        { "Gather", "f32[1,1,1,1,1]; i64[1,1,1,1,1]", "", "!rank 9 is above 8", 0 },
        { "GatherElements", "f32[B, S]; i64[B, 1]", "axis=1", "f32[B, 1]", 0 },
        { "GatherElements", "f32[B, S]; i64[B]", "axis=1", "!indices have rank 1, data 2", 0 },
        { "GatherND", "f32[B, S, 8]; i64[B, 2]", "", "f32[B, 8]", 0 },
        { "GatherND", "f32[B, S, 8]; i64[B, 1]", "batch_dims=1", "f32[B, 8]", 0 },
        { "GatherND", "f32[B, S, 8]; i64[C, 1]", "batch_dims=1", "!batch axis 0 differs: B and C",
          0 },
        { "GatherND", "f32[B, S]; i64[B, 3]", "", "!do not fit [B, S]", 0 },
        { "GatherND", "f32[B, S]; i64[B, N]", "", "!last axis of the indices", 0 },
    };

    run_cases(t, cases, OM_COUNT(cases));
}

static void sums(struct test *t)
{
    static const struct infer_case cases[] = {
        { "ReduceMean", "f32[B, S, 8]; i64{-1}", "", "f32[B, S, 1]", 0 },
        { "ReduceMean", "f32[B, S, 8]; i64{-1}", "keepdims=0", "f32[B, S]", 0 },
        { "ReduceMean", "i64[B]", "", "!not floating point", 0 },
        { "ReduceSum", "i64[B, S]; i64{1}", "keepdims=0", "i64[B]", 0 },
        { "ReduceSum", "f32[B, S]", "keepdims=0", "f32[]", 0 },
        { "ReduceSum", "f32[B, S]", "noop_with_empty_axes=1", "f32[B, S]", 0 },
        { "ReduceMax", "f32[B, S]; i64{2}", "", "!axis 2 is outside rank 2", 0 },
        { "ReduceMin", "bool[B]", "", "!not numeric", 0 },
        { "ReduceL2", "f32[B, 8]; i64{1}", "", "f32[B, 1]", 0 },
        { "ReduceMax", "i64[B, S]; i64[1]", "", "!constants", 0 },
        { "ArgMax", "f32[B, S]", "axis=-1 keepdims=0", "i64[B]", 0 },
        { "ArgMax", "f32[B, S]", "axis=2", "!axis 2 is outside rank 2", 0 },
        { "CumSum", "i64[B, S]; i64(1)", "", "i64[B, S]", 0 },
        { "CumSum", "i64[B, S]; i64(2)", "", "!axis 2 is outside rank 2", 0 },
        { "CumSum", "i64[B, S]; i64{0, 1}", "", "!not a scalar", 0 },
        { "Softmax", "f32[B, S]", "", "f32[B, S]", 0 },
        { "Softmax", "f32[B, S]", "axis=2", "!axis 2 is outside rank 2", 0 },
        { "Softmax", "i64[B, S]", "", "!not floating point", 0 },
        { "MatMul", "f32[B, h, S, 64]; f32[B, h, 64, T]", "", "f32[B, h, S, T]", 0 },
        { "MatMul", "f32[B, S, 64]; f32[64, 32]", "", "f32[B, S, 32]", 0 },
        { "MatMul", "f32[B, S, 64]; f32[32, 64]", "", "!inner dimensions differ: 64 and 32", 0 },
        { "MatMul", "f32[64]; f32[64, 3]", "", "f32[3]", 0 },
        { "MatMul", "f32[3, 64]; f32[64]", "", "f32[3]", 0 },
        { "MatMul", "f32[64]; f32[64]", "", "f32[]", 0 },
        { "MatMul", "f32[]; f32[64]", "", "!input 0 is a scalar", 0 },
        { "MatMul", "f32[B, 2, 3]; f32[C, 3, 4]", "", "!do not broadcast: B against C", 0 },
        { "MatMul", "f32[2, 3]; f16[3, 4]", "", "!inputs 0 and 1", 0 },
        { "Gemm", "f32[N, 64]; f32[32, 64]; f32[32]", "transB=1", "f32[N, 32]", 0 },
        { "Gemm", "f32[64, N]; f32[64, 32]", "transA=1", "f32[N, 32]", 0 },
        { "Gemm", "f32[N, 64]; f32[32, 64]", "", "!inner dimensions differ: 64 and 32", 0 },
        { "Gemm", "f32[N, 64]; f32[64, 32]; f32[31]", "",
          "!the bias of shape [31] does not broadcast to [N, 32]", 0 },
        { "Gemm", "f32[B, N, 64]; f32[64, 32]", "",
          "!input 0 of shape [B, N, 64] does not have rank 2", 0 },
        { "Linear", "f32[B, S, 64]; f32[32, 64]; f32[32]", "transB=1", "f32[B, S, 32]", 0 },
        { "Linear", "f32[B, S, 64]; f32[64, 32]", "", "f32[B, S, 32]", 0 },
        { "Linear", "f32[B, S, 64]; f32[64, 32]; -", "", "f32[B, S, 32]", 0 },
        { "Linear", "f32[B, S, 64]; f32[64, 32]", "transB=1", "!inner dimensions differ: 64 and 32",
          0 },
        { "Linear", "f32[B, 64]; f32[64, 32]; f32[64]", "",
          "!the bias has 64 elements, the weight 32 outputs", 0 },
        { "Linear", "f32[]; f32[64, 32]", "", "!input 0 is a scalar", 0 },
        { "LayerNormalization", "f32[B, S, 8]; f32[8]; f32[8]", "", "f32[B, S, 8]", 0 },
        { "LayerNormalization", "f32[B, S, 8]; f32[S, 8]", "axis=1", "f32[B, S, 8]", 0 },
        { "LayerNormalization", "f32[B, S, 8]; f32[4]", "",
          "!the scale of shape [4] does not broadcast to [8]", 0 },
        { "LayerNormalization", "f32[B, S, 8]; f32[8]; f32[4]", "", "!the bias of shape [4]", 0 },
        { "LayerNormalization", "f32[B, S, 8]; f32[8]", "axis=3", "!axis 3 is outside rank 3", 0 },
        { "RMSNormalization", "f32[B, S, 8]; f32[8]", "", "f32[B, S, 8]", 0 },
        { "RMSNormalization", "f32[B, S, 8]; f16[8]", "", "f16[B, S, 8]", 0 },
        { "RMSNormalization", "f32[B, S, 8]; i64[8]", "", "!input 1 is int64", 0 },
        { "LayerNormalization", "f32[B, S, 8]; f16[8]", "", "!inputs 0 and 1", 0 },
    };

    run_cases(t, cases, OM_COUNT(cases));
}

static void attention(struct test *t)
{
#define QKV "f32[B, 4, S, 8]; f32[B, 2, T, 8]; f32[B, 2, T, 16]"
#define PAST "f32[B, 2, P, 8]; f32[B, 2, P, 16]"
#define ROPE "f32[B, 4, S, 8]; "
#define ROWS "f32[B, S, 32]; f32[B, T, 32]; f32[B, T, 32]"
#define GROUPED                                                                               \
    "f32[B, S, 32]; f32[B, S, 16]; f32[B, S, 16]; f32[B, 2, P, 8]; f32[B, 2, P, 8]; i32[B]; " \
    "i32[]"
    static const struct infer_case cases[] = {
        { "Attention", QKV, "", "f32[B, 4, S, 16]", 0 },
        { "Attention", QKV "; f32[B, 1, 1, T]", "", "f32[B, 4, S, 16]", 0 },
        { "Attention", QKV "; bool[S, T]", "is_causal=1", "f32[B, 4, S, 16]", 0 },
        { "Attention", QKV "; -; " PAST, "",
          "f32[B, 4, S, 16]; f32[B, 2, P + T, 8]; f32[B, 2, P + T, 16]", 3 },
        { "Attention", QKV "; bool[S, P + T]; " PAST, "", "f32[B, 4, S, 16]", 0 },
        { "Attention", QKV "; f32[B, 1, S, P]", "",
          "!the mask of shape [B, 1, S, P] does not broadcast to [B, 4, S, T]", 0 },
        { "Attention", QKV "; i64[S, T]", "", "!inputs 0 and 3 are float32 and int64", 0 },
        { "Attention", "f16[B, 4, S, 8]; f16[B, 4, T, 8]; f16[B, 4, T, 8]; f32[S, T]", "",
          "!inputs 0 and 3 are float16 and float32", 0 },
        { "Attention", "f16[B, 4, S, 8]; f16[B, 4, T, 8]; f16[B, 4, T, 8]; f32[S, T]",
          "softmax_precision=1", "f16[B, 4, S, 8]", 0 },
        { "Attention", "f32[B, 4, S, 8]; f32[B, 3, T, 8]; f32[B, 3, T, 8]", "",
          "!4 query heads are not a multiple of 3 key heads", 0 },
        { "Attention", "f32[B, 4, S, 8]; f32[B, 4, T, 4]; f32[B, 4, T, 8]", "",
          "!axis 3 of inputs 0 and 1 differs: 8 and 4", 0 },
        { "Attention", "f32[B, 4, S, 8]; f32[B, 4, T, 8]; f32[B, 4, U, 8]", "",
          "!axis 2 of inputs 1 and 2 differs: T and U", 0 },
        { "Attention", "f32[B, S, 32]; f32[B, S, 32]; f32[B, S, 32]", "", "!does not have rank 4",
          0 },
        { "Attention", QKV "; -; f32[B, 2, P, 8]", "", "!past key and past value go together", 0 },
        { "GroupQueryAttention", GROUPED, "num_heads=4 kv_num_heads=2",
          "f32[B, S, 32]; f32[B, 2, P + S, 8]; f32[B, 2, P + S, 8]", 3 },
        { "GroupQueryAttention", GROUPED, "num_heads=3 kv_num_heads=2",
          "!3 and 2 heads do not fit query [B, S, 32] and past [B, 2, P, 8]", 0 },
        { "GroupQueryAttention", GROUPED, "num_heads=8 kv_num_heads=2", "!8 and 2 heads do not fit",
          0 },
        { "GroupQueryAttention",
          "f32[B, S, 32]; f32[B, S, 16]; f32[B, T, 16]; f32[B, 2, P, 8]; f32[B, 2, P, 8]; i32[B]; "
          "i32[]",
          "num_heads=4 kv_num_heads=2", "!axis 1 of inputs 1 and 2 differs: S and T", 0 },
        { "PackedAttention", "f32[B, S, 8]; f32[8, 48]; f32[48]; i32[B, S]", "num_heads=4",
          "f32[B, S, 16]", 0 },
        { "PackedAttention", "f32[B, S, 8]; f32[8, 48]; -; -; -; f32[1, 4, S, S]", "num_heads=4",
          "f32[B, S, 16]", 0 },
        { "PackedAttention", "f32[B, S, 8]; f32[8, 48]; -; -; -; f32[B, 1, 1, S]", "num_heads=4",
          "!attention_bias of shape [B, 1, 1, S] does not fit", 0 },
        { "PackedAttention", "f32[B, S, 8]; f32[8, 48]", "", "!num_heads is missing", 0 },
        { "PackedAttention", "f32[B, S, 8]; f32[8, 48]", "num_heads=5", "!the weight of shape", 0 },
        { "PackedAttention", "f32[B, S, 8]; f32[9, 48]", "num_heads=4", "!the weight of shape", 0 },
        { "PackedAttention", "f32[B, S, 8]; f32[8, 48]; f32[47]", "num_heads=4",
          "!the bias of shape [47] does not fit", 0 },
        { "PackedAttention", "f32[B, S, 8]; f32[8, 48]; -; f32[B, S]", "num_heads=4",
          "!input 3 is float32", 0 },
        { "PackedAttention", "f32[B, S, 8]; f32[8, 48]; -; -; f32[2, B, 4, P, 4]", "num_heads=4",
          "!a past", 0 },
        { "MultiHeadAttention", ROWS, "num_heads=4", "f32[B, S, 32]", 0 },
        { "MultiHeadAttention", ROWS, "num_heads=4",
          "f32[B, S, 32]; f32[B, 4, T, 8]; f32[B, 4, T, 8]", 3 },
        { "MultiHeadAttention", ROWS "; f32[96]; i32[B, T]; f32[B, 1, S, T]", "num_heads=4",
          "f32[B, S, 32]", 0 },
        { "MultiHeadAttention",
          ROWS "; -; -; f32[1, 4, S, P + T]; f32[B, 4, P, 8]; f32[B, 4, P, 8]", "num_heads=4",
          "f32[B, S, 32]; f32[B, 4, P + T, 8]; f32[B, 4, P + T, 8]", 3 },
        { "MultiHeadAttention", "f32[B, S, 32]; f32[B, 4, T, 8]; f32[B, 4, T, 16]", "num_heads=4",
          "f32[B, S, 64]", 0 },
        { "MultiHeadAttention", ROWS "; f32[95]", "num_heads=4", "!the bias of shape [95]", 0 },
        { "MultiHeadAttention", ROWS "; -; -; f32[1, 4, S, T]; f32[B, 4, P, 8]; f32[B, 4, P, 8]",
          "num_heads=4", "!attention_bias of shape", 0 },
        { "MultiHeadAttention", ROWS "; -; -; -; f32[B, 4, P, 8]", "num_heads=4",
          "!past key and past value go together", 0 },
        { "MultiHeadAttention", ROWS "; -; -; -; f32[B, 3, P, 8]; f32[B, 3, P, 8]", "num_heads=4",
          "!the past of shape [B, 3, P, 8] does not fit", 0 },
        { "MultiHeadAttention", "f32[B, S, 32]; f32[B, T, 24]; f32[B, T, 32]", "num_heads=4",
          "!the key of shape [B, T, 24] does not fit", 0 },
        { "MultiHeadAttention", "f32[B, S, 32]; f32[B, T, 32]; f32[B, U, 32]", "num_heads=4",
          "!the value of shape [B, U, 32] does not fit", 0 },
        { "RotaryEmbedding", ROPE "f32[B, S, 4]; f32[B, S, 4]", "", "f32[B, 4, S, 8]", 0 },
        { "RotaryEmbedding", ROPE "f32[1, S, 4]; f32[1, S, 4]", "", "f32[B, 4, S, 8]", 0 },
        { "RotaryEmbedding", ROPE "f32[B, S, 2]; f32[B, S, 2]", "rotary_embedding_dim=4",
          "f32[B, 4, S, 8]", 0 },
        { "RotaryEmbedding", ROPE "f32[99, 4]; f32[99, 4]; i64[B, S]", "", "f32[B, 4, S, 8]", 0 },
        { "RotaryEmbedding", "f32[B, S, 32]; f32[B, S, 4]; f32[B, S, 4]", "num_heads=4",
          "f32[B, S, 32]", 0 },
        { "RotaryEmbedding", "f32[B, S, 32]; f32[B, S, 4]; f32[B, S, 4]", "num_heads=5",
          "!32 features do not make 5 heads", 0 },
        { "RotaryEmbedding", "f32[B, S, 32]; f32[B, S, 4]; f32[B, S, 4]", "",
          "!neither rank 4 nor rank 3", 0 },
        { "RotaryEmbedding", ROPE "f32[B, S, 8]; f32[B, S, 8]", "",
          "!the tables have 8 columns, half of the rotary dims is 4", 0 },
        { "RotaryEmbedding", ROPE "f32[B, S, 4]; f32[B, S, 3]", "",
          "!axis 2 of inputs 1 and 2 differs: 4 and 3", 0 },
        { "RotaryEmbedding", ROPE "f32[B, T, 4]; f32[B, T, 4]", "",
          "!the table of shape [B, T, 4] does not broadcast to [B, S, 4]", 0 },
        { "RotaryEmbedding", ROPE "f32[99, 4]; f32[99, 4]; i64[B, T]", "",
          "!position_ids of shape [B, T]", 0 },
        { "RotaryEmbedding", ROPE "f32[99, 4]; f32[99, 4]; i32[B, S]", "",
          "!position_ids are int32[B, S]", 0 },
        { "RotaryEmbedding", ROPE "f32[99, 4]; f32[99, 4]", "", "!does not have rank 3", 0 },
        { "RotaryEmbedding", ROPE "f32[B, S, 5]; f32[B, S, 5]", "rotary_embedding_dim=10",
          "!10 rotary dims do not fit heads of size 8", 0 },
        { "RotaryEmbedding", ROPE "f32[B, S, 1]; f32[B, S, 1]", "rotary_embedding_dim=3",
          "!3 rotary dims do not fit", 0 },
    };

    run_cases(t, cases, OM_COUNT(cases));
}

static void arity(struct test *t)
{
    static const struct infer_case cases[] = {
        { "Add", "f32[B]", "", "!takes 2 to 2 inputs, 1 are given", 0 },
        { "Relu", "f32[B]; f32[B]", "", "!takes 1 to 1 inputs, 2 are given", 0 },
        { "Relu", "f32[B]", "", "!has at most 1 outputs, 2 are asked for", 2 },
        { "Dims", "", "", "!attribute dims is missing", 0 },
        { "If", "bool[]", "", "!attribute then_branch is not a branch", 0 },
        { "If", "f32[]", "", "!not bool", 0 },
        { "If", "bool[2]", "", "!is not one element", 0 },
    };

    run_cases(t, cases, OM_COUNT(cases));
}

/* Every operator of the list has a name, is found by it, and appears in a rule. */
static void every_operator(struct test *t)
{
    struct fixture f = { .arena = OM_ARENA_INIT(1u << 20) };

    CHECK(t, om_graph_new(&f.arena, NULL, OM_SVL("g"), &f.g, NULL) == 0);
    for (int op = OM_OP_NONE + 1; op < OM_OP_COUNT; op++) {
        const struct om_node n = { .op = (enum om_op)op };
        struct om_error err = OM_ERROR_INIT;
        test_case(t, "%s", om_op_name((enum om_op)op));
        CHECK_INT(t, om_op_parse(om_sv_str(om_op_name((enum om_op)op))), op);
        CHECK_INT(t,
                  om_op_find(om_sv_str(om_op_domain((enum om_op)op)),
                             om_sv_str(om_op_type((enum om_op)op))),
                  op);
        CHECK(t, om_infer(f.g, &n, &err) < 0 && !strstr(om_error_text(&err), "no inference"));
        om_error_release(&err);
    }
    CHECK_INT(t, om_op_parse(OM_SVL("NoSuchOperator")), OM_OP_NONE);
    om_graph_free(f.g);
    om_arena_release(&f.arena);
}

const struct test_entry t_infer[] = { { "elementwise", elementwise },
                                      { "shapes", shapes },
                                      { "slices", slices },
                                      { "sums", sums },
                                      { "attention", attention },
                                      { "arity", arity },
                                      { "every_operator", every_operator },
                                      TEST_END };
