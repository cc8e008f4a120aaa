/* tests/unit/t_graph.c: building, finishing, dumping and verifying graphs. */
#include "ir/graph.h"
#include "test.h"

struct fixture {
    struct om_arena arena;
    struct om_graph *g;
};

static void setup(struct test *t, struct fixture *f)
{
    *f = (struct fixture){ .arena = OM_ARENA_INIT(64u << 20) };
    CHECK(t, om_graph_new(&f->arena, NULL, OM_SVL("test"), &f->g, NULL) == 0);
}

static void teardown(struct fixture *f)
{
    om_graph_free(f->g);
    om_arena_release(&f->arena);
}

static om_val input(struct fixture *f, const char *name, const char *a, const char *b)
{
    const om_dim dims[] = { om_dim_parse(f->g->dims, om_sv_str(a)),
                            om_dim_parse(f->g->dims, om_sv_str(b)) };

    return om_graph_input(f->g, om_sv_str(name), OM_F32, dims, 2);
}

static const float zeros[64];

static om_val weight(struct fixture *f, const char *name, int64_t rows, int64_t cols)
{
    const int64_t dims[] = { rows, cols };
    const struct om_weight w = { .name = om_sv_str(name),
                                 .dtype = OM_F32,
                                 .rank = 2,
                                 .dims = dims,
                                 .data = zeros,
                                 .bytes = (uint64_t)(rows * cols) * 4 };

    return om_graph_weight(f->g, &w);
}

static om_val emit(struct fixture *f, enum om_op op, const char *scope, om_val a, om_val b)
{
    return om_graph_emit(f->g, op, om_sv_str(scope), (om_val[]){ a, b }, b.id ? 2 : 1, NULL, 0);
}

static const om_val none = { 0 };

static char *dump(struct fixture *f)
{
    struct om_buf b = OM_BUF_INIT(1u << 20);
    char *text;

    om_graph_dump(f->g, &b);
    text = om_arena_str(&f->arena, om_buf_sv(&b));
    om_buf_release(&b);
    return text;
}

/* Finish and verify; gives the dump. */
static char *finished(struct test *t, struct fixture *f)
{
    struct om_error err = OM_ERROR_INIT;

    CHECK_OK(t, om_graph_finish(f->g, &err), &err);
    CHECK_OK(t, om_graph_verify(f->g, &err), &err);
    om_error_release(&err);
    return dump(f);
}

static void simple(struct test *t)
{
    struct fixture f;
    om_val x, h, two;
    const float factor = 2;

    setup(t, &f);
    x = input(&f, "x", "batch_size", "8");
    emit(&f, OM_OP_Relu, "unused", x, none); /* no output needs it */
    weight(&f, "unused.weight", 2, 2);
    h = emit(&f, OM_OP_MatMul, "layer.0/dense", x, weight(&f, "layer.0.dense.weight", 8, 4));
    two = om_graph_const(f.g, OM_F32, NULL, 0, &factor);
    h = emit(&f, OM_OP_Mul, "layer.0/dense", h, two);
    h = emit(&f, OM_OP_Mul, "layer.0/dense", h, two);
    om_graph_output(f.g, OM_SVL("y"), h, NULL);
    CHECK_STR(t, finished(t, &f),
              "graph test\n"
              "input x: float32[batch_size, 8]\n"
              "output y: float32[batch_size, 4]\n"
              "constant layer.0.dense.weight: float32[8, 4]\n"
              "constant constant_0: float32[] = 2\n"
              "/layer.0/dense/MatMul_output_0: float32[batch_size, 4] = "
              "MatMul(x, layer.0.dense.weight)\n"
              "/layer.0/dense/Mul_output_0: float32[batch_size, 4] = "
              "Mul(/layer.0/dense/MatMul_output_0, constant_0)\n"
              "y: float32[batch_size, 4] = Mul(/layer.0/dense/Mul_output_0, constant_0)\n");
    CHECK_INT(t, f.g->n_nodes, 3);
    CHECK_INT(t, f.g->n_weights, 2);
    CHECK(t, om_sv_is(f.g->nodes[2].name, "/layer.0/dense/Mul_1"));
    teardown(&f);
}

/* The same graph from two orders of emission. */
static void emission_order(struct test *t)
{
    char *texts[2];
    struct fixture f[2];

    for (int round = 0; round < 2; round++) {
        om_val a, b, x, w;
        setup(t, &f[round]);
        x = input(&f[round], "x", "b", "8");
        w = round ? weight(&f[round], "b.weight", 8, 8) : none;
        if (round) {
            b = emit(&f[round], OM_OP_MatMul, "b", x, w);
            b = emit(&f[round], OM_OP_Relu, "b", b, none);
            a = emit(&f[round], OM_OP_MatMul, "a", x, weight(&f[round], "a.weight", 8, 8));
            a = emit(&f[round], OM_OP_Relu, "a", a, none);
        } else {
            a = emit(&f[round], OM_OP_MatMul, "a", x, weight(&f[round], "a.weight", 8, 8));
            a = emit(&f[round], OM_OP_Relu, "a", a, none);
            b = emit(&f[round], OM_OP_MatMul, "b", x, weight(&f[round], "b.weight", 8, 8));
            b = emit(&f[round], OM_OP_Relu, "b", b, none);
        }
        om_graph_output(f[round].g, OM_SVL("y"), emit(&f[round], OM_OP_Add, "", a, b), NULL);
        texts[round] = finished(t, &f[round]);
    }
    CHECK_STR(t, texts[1], texts[0]);
    CHECK_HAS(t, texts[0], "\ny: float32[b, 8] = Add(/a/Relu_output_0, /b/Relu_output_0)\n");
    teardown(&f[0]);
    teardown(&f[1]);
}

/* An output that is an input, a weight or another output gets a node of its own. */
static void identities(struct test *t)
{
    struct fixture f;
    om_val x, y;
    const char *text;

    setup(t, &f);
    x = input(&f, "x", "b", "2");
    y = emit(&f, OM_OP_Relu, "", x, none);
    om_graph_output(f.g, OM_SVL("first"), y, NULL);
    om_graph_output(f.g, OM_SVL("second"), y, NULL);
    om_graph_output(f.g, OM_SVL("same"), x, NULL);
    om_graph_output(f.g, OM_SVL("table"), weight(&f, "w", 2, 2), NULL);
    text = finished(t, &f);
    CHECK_HAS(t, text, "first: float32[b, 2] = Relu(x)\n");
    CHECK_HAS(t, text, "second: float32[b, 2] = Identity(first)\n");
    CHECK_HAS(t, text, "same: float32[b, 2] = Identity(x)\n");
    CHECK_HAS(t, text, "table: float32[2, 2] = Identity(w)\n");
    CHECK_STR(t, finished(t, &f), text); /* finishing twice changes nothing */
    teardown(&f);
}

static om_val branch_node(struct fixture *f, om_val cond, uint32_t then_block, uint32_t else_block)
{
    const struct om_attr attrs[] = {
        { .name = "then_branch", .kind = OM_ATTR_BLOCK, .i = then_block },
        { .name = "else_branch", .kind = OM_ATTR_BLOCK, .i = else_block },
    };

    return om_graph_emit(f->g, OM_OP_If, OM_SVL(""), &cond, 1, attrs, 2);
}

static uint32_t branch(struct fixture *f, const char *name, om_val v, enum om_op op)
{
    const uint32_t b = om_graph_block_begin(f->g, om_sv_str(name));

    if (op != OM_OP_NONE)
        v = emit(f, op, "branch", v, none);
    om_graph_output(f->g, OM_SVL("out"), v, NULL);
    om_graph_block_end(f->g);
    return b;
}

static void branches(struct test *t)
{
    char *texts[2];
    struct fixture f[2];

    for (int round = 0; round < 2; round++) {
        om_val x, z, cond, outer, y;
        uint32_t a, b;
        setup(t, &f[round]);
        x = input(&f[round], "x", "b", "2");
        z = input(&f[round], "z", "c", "2");
        cond = om_graph_input(f[round].g, OM_SVL("use"), OM_BOOL, NULL, 0);
        outer = emit(&f[round], OM_OP_Tanh, "", z, none); /* used by a branch only */
        if (round) {
            b = branch(&f[round], "else", outer, OM_OP_NONE);
            a = branch(&f[round], "then", x, OM_OP_Relu);
        } else {
            a = branch(&f[round], "then", x, OM_OP_Relu);
            b = branch(&f[round], "else", outer, OM_OP_NONE);
        }
        y = branch_node(&f[round], cond, a, b);
        om_graph_output(f[round].g, OM_SVL("y"), y, NULL);
        texts[round] = finished(t, &f[round]);
    }
    CHECK_STR(t, texts[0],
              "graph test\n"
              "input x: float32[b, 2]\n"
              "input z: float32[c, 2]\n"
              "input use: bool[]\n"
              "output y: float32[unk__0, 2]\n"
              "/Tanh_output_0: float32[c, 2] = Tanh(z)\n"
              "y: float32[unk__0, 2] = If(use) else_branch=block 2 then_branch=block 1\n"
              "  block 1 (then_branch):\n"
              "    /branch/Relu_output_0: float32[b, 2] = Relu(x)\n"
              "    gives /branch/Relu_output_0\n"
              "  block 2 (else_branch):\n"
              "    /Identity_output_0: float32[c, 2] = Identity(/Tanh_output_0)\n"
              "    gives /Identity_output_0\n");
    CHECK_STR(t, texts[1], texts[0]);
    teardown(&f[0]);
    teardown(&f[1]);
}

/* A branch inside a branch that uses a value of the outermost block; a second If that nothing
 * needs. */
static void nested_branches(struct test *t)
{
    struct fixture f;
    om_val x, cond, deep, v;
    uint32_t outer, inner_a, inner_b, other;
    const char *text;

    setup(t, &f);
    x = input(&f, "x", "b", "2");
    cond = om_graph_input(f.g, OM_SVL("use"), OM_BOOL, NULL, 0);
    inner_a = branch(&f, "dead", x, OM_OP_Relu);
    inner_b = branch(&f, "dead", x, OM_OP_Relu);
    branch_node(&f, cond, inner_a, inner_b);
    deep = emit(&f, OM_OP_Exp, "", x, none);
    outer = om_graph_block_begin(f.g, OM_SVL("outer"));
    v = emit(&f, OM_OP_Tanh, "", x, none);
    inner_a = branch(&f, "a", deep, OM_OP_Neg);
    inner_b = branch(&f, "b", v, OM_OP_Neg);
    v = branch_node(&f, cond, inner_a, inner_b);
    om_graph_output(f.g, OM_SVL("v"), v, NULL);
    om_graph_block_end(f.g);
    other = branch(&f, "other", x, OM_OP_Abs);
    om_graph_output(f.g, OM_SVL("y"), branch_node(&f, cond, outer, other), NULL);
    text = finished(t, &f);
    CHECK_INT(t, f.g->n_blocks, 5); /* the dead If took its branches along */
    CHECK_HAS(t, text,
              "\n/Exp_output_0: float32[b, 2] = Exp(x)\n"
              "y: float32[b, 2] = If(use) else_branch=block 2 then_branch=block 1\n"
              "  block 1 (then_branch):\n"
              "    /Tanh_output_0: float32[b, 2] = Tanh(x)\n"
              "    /If_1_output_0: float32[b, 2] = If(use) else_branch=block 4 "
              "then_branch=block 3\n");
    teardown(&f);
}

static void branch_errors(struct test *t)
{
    static const struct {
        enum om_dtype cast_to;
        bool extra;
        const char *want;
    } cases[] = {
        { OM_I64, false, "/If: the branches give float32 and int64 for output 0" },
        { OM_F32, true, "/If: else_branch gives 2 values, 1 are expected" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_attr to = { .name = "to",
                              .kind = OM_ATTR_INT,
                              .i = om_dtype_onnx(cases[i].cast_to) };
        struct fixture f;
        om_val x, cond, v;
        uint32_t a, b;
        setup(t, &f);
        x = input(&f, "x", "b", "2");
        cond = om_graph_input(f.g, OM_SVL("use"), OM_BOOL, NULL, 0);
        a = branch(&f, "a", x, OM_OP_Relu);
        b = om_graph_block_begin(f.g, OM_SVL("b"));
        v = om_graph_emit(f.g, OM_OP_Cast, OM_SVL(""), &x, 1, &to, 1);
        om_graph_output(f.g, OM_SVL("v"), v, NULL);
        if (cases[i].extra)
            om_graph_output(f.g, OM_SVL("w"), v, NULL);
        om_graph_block_end(f.g);
        branch_node(&f, cond, a, b);
        CHECK_STR(t, om_error_text(&f.g->err), cases[i].want);
        teardown(&f);
    }
}

/* The first failure is kept with its place; everything after it does nothing. */
static void sticky(struct test *t)
{
    struct om_error err = OM_ERROR_INIT;
    struct fixture f;
    om_val x, y;

    setup(t, &f);
    x = input(&f, "x", "b", "8");
    y = emit(&f, OM_OP_MatMul, "encoder/layer.0/attention", x, weight(&f, "w", 4, 4));
    CHECK_INT(t, y.id, 0);
    y = emit(&f, OM_OP_Softmax, "later", y, none);
    CHECK_INT(t, y.id, 0);
    CHECK_INT(t, input(&f, "x", "b", "8").id, 0);
    om_graph_output(f.g, OM_SVL("y"), y, NULL);
    om_graph_block_end(f.g);
    om_graph_fail(f.g, OM_E_CONFIG, "another");
    CHECK_INT(t, om_graph_check(f.g, &err), OM_E_FORMAT);
    CHECK_STR(t, om_error_text(&err),
              "/encoder/layer.0/attention/MatMul: inner dimensions differ: 8 and 4");
    CHECK_INT(t, om_graph_finish(f.g, &err), OM_E_FORMAT);
    CHECK_INT(t, om_graph_verify(f.g, &err), OM_E_FORMAT);
    CHECK_STR(t, om_error_text(&err),
              "/encoder/layer.0/attention/MatMul: inner dimensions differ: 8 and 4");
    om_error_release(&err);
    teardown(&f);
}

/* Invalid values flow without a failure, up to the output that would have had one. */
static void invalid_flows(struct test *t)
{
    struct om_error err = OM_ERROR_INIT;
    struct fixture f;
    om_val x, y, cond, concat;
    uint32_t a, b;

    setup(t, &f);
    x = input(&f, "x", "b", "2");
    cond = om_graph_input(f.g, OM_SVL("use"), OM_BOOL, NULL, 0);
    y = om_graph_emit(f.g, OM_OP_Add, OM_SVL(""), (om_val[]){ x, none }, 2, NULL, 0);
    concat = om_graph_emit(f.g, OM_OP_Concat, OM_SVL(""), (om_val[]){ x, y }, 2, NULL, 0);
    CHECK(t, y.id == 0 && concat.id == 0 && f.g->rc == 0);
    a = branch(&f, "a", y, OM_OP_Relu);
    b = branch(&f, "b", x, OM_OP_Relu);
    y = branch_node(&f, cond, a, b);
    CHECK(t, y.id == 0 && f.g->rc == 0);
    CHECK_INT(t, om_graph_value(f.g, y)->rank, 0);
    om_graph_output(f.g, OM_SVL("y"), y, NULL);
    CHECK_INT(t, om_graph_check(f.g, &err), 0);
    CHECK(t, om_graph_finish(f.g, &err) < 0);
    CHECK_STR(t, om_error_text(&err), "output \"y\" has no value");
    om_error_release(&err);
    teardown(&f);
}

static void misuse_ports(struct fixture *f)
{
    input(f, "x", "b", "2");
    input(f, "x", "b", "2");
}

static void misuse_port_twice(struct fixture *f)
{
    const om_val y = emit(f, OM_OP_Relu, "", input(f, "x", "b", "2"), none);

    om_graph_output(f->g, OM_SVL("x"), y, NULL);
}

static void misuse_dim(struct fixture *f)
{
    input(f, "x", "b", "not a dim");
}

static void misuse_rank(struct fixture *f)
{
    const om_dim one = om_dim_const(f->g->dims, 1);
    const om_dim dims[9] = { one, one, one, one, one, one, one, one, one };

    om_graph_input(f->g, OM_SVL("x"), OM_F32, dims, 9);
}

static void misuse_weight_bytes(struct fixture *f)
{
    const int64_t dims[] = { 3 };
    const struct om_weight w = {
        .name = OM_SVL("w"), .dtype = OM_F32, .rank = 1, .dims = dims, .data = zeros, .bytes = 8
    };

    om_graph_weight(f->g, &w);
}

static void misuse_weight_huge(struct fixture *f)
{
    const int64_t dims[] = { INT64_MAX, 4 };
    const struct om_weight w = {
        .name = OM_SVL("w"), .dtype = OM_F32, .rank = 2, .dims = dims, .data = zeros, .bytes = 8
    };

    om_graph_weight(f->g, &w);
}

static void misuse_weight_forms(struct fixture *f)
{
    weight(f, "w", 2, 4);
    weight(f, "w", 4, 2);
}

static void misuse_handle(struct fixture *f)
{
    emit(f, OM_OP_Relu, "a", (om_val){ 4711 }, none);
}

static void misuse_sibling(struct fixture *f)
{
    const om_val x = input(f, "x", "b", "2");
    om_val hidden;

    om_graph_block_begin(f->g, OM_SVL("a"));
    hidden = emit(f, OM_OP_Relu, "", x, none);
    om_graph_block_end(f->g);
    emit(f, OM_OP_Relu, "", hidden, none);
}

static void misuse_open_branch(struct fixture *f)
{
    om_graph_block_begin(f->g, OM_SVL("a"));
}

static void misuse_end(struct fixture *f)
{
    om_graph_block_end(f->g);
}

static void misuse_shared_branch(struct fixture *f)
{
    const om_val x = input(f, "x", "b", "2");
    const om_val cond = om_graph_input(f->g, OM_SVL("use"), OM_BOOL, NULL, 0);
    const uint32_t a = branch(f, "a", x, OM_OP_Relu);

    om_graph_output(f->g, OM_SVL("y"), branch_node(f, cond, a, a), NULL);
}

static void misuse_cycle(struct fixture *f)
{
    const om_val x = input(f, "x", "b", "2");
    const om_val y = emit(f, OM_OP_Relu, "", x, none), z = emit(f, OM_OP_Tanh, "", y, none);

    f->g->nodes[0].in[0] = z; /* as a pass that rewires carelessly would */
    om_graph_output(f->g, OM_SVL("y"), z, NULL);
}

static void misuse(struct test *t)
{
    static const struct {
        void (*run)(struct fixture *f);
        const char *want;
    } cases[] = {
        { misuse_ports, "two inputs or outputs are named \"x\"" },
        { misuse_port_twice, "two inputs or outputs are named \"x\"" },
        { misuse_dim, "input \"x\": axis 1 has no extent" },
        { misuse_rank, "input \"x\": rank 9 is above 8" },
        { misuse_weight_bytes, "weight \"w\": shape needs 12 bytes, 8 are there" },
        { misuse_weight_huge, "weight \"w\": shape is too large" },
        { misuse_weight_forms, "weight \"w\" is asked for in two forms" },
        { misuse_handle, "/a/Relu: input 0 is not a value of this graph" },
        { misuse_sibling, "/Relu: input 0 belongs to another branch" },
        { misuse_open_branch, "a branch is not ended" },
        { misuse_end, "a branch is ended that was not begun" },
        { misuse_shared_branch, "a branch belongs to two nodes" },
        { misuse_cycle, "the graph has a cycle through" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_error err = OM_ERROR_INIT;
        struct fixture f;
        test_case(t, "%s", cases[i].want);
        setup(t, &f);
        cases[i].run(&f);
        CHECK(t, om_graph_finish(f.g, &err) < 0);
        CHECK_HAS(t, om_error_text(&err), cases[i].want);
        om_error_release(&err);
        teardown(&f);
    }
}

static void constants(struct test *t)
{
    static const int64_t shape[] = { 2 };
    static const int64_t a[] = { 1, -1 };
    static const int32_t b[] = { 1, 0 };
    struct fixture f;
    om_val v;
    int64_t n;

    setup(t, &f);
    v = om_graph_const(f.g, OM_I64, shape, 1, a);
    CHECK_INT(t, om_graph_const(f.g, OM_I64, shape, 1, a).id, v.id);
    CHECK(t, om_graph_const(f.g, OM_I32, shape, 1, b).id != v.id);
    CHECK(t, om_graph_const(f.g, OM_I64, NULL, 0, a).id != v.id);
    CHECK_INT(t, f.g->n_weights, 3);
    CHECK_INT(t, om_graph_value(f.g, v)->n_content, 2);
    CHECK(t, om_dim_is_const(f.g->dims, om_graph_value(f.g, v)->content[1], &n) && n == -1);
    CHECK_INT(t, weight(&f, "w", 2, 2).id, weight(&f, "w", 2, 2).id);
    teardown(&f);
}

/* Names that clash are made unique; ports keep theirs. */
static void names(struct test *t)
{
    struct fixture f;
    om_val x, y;
    const char *text;

    setup(t, &f);
    x = input(&f, "w", "b", "2");
    y = emit(&f, OM_OP_MatMul, "", x, weight(&f, "w", 2, 2));
    y = emit(&f, OM_OP_MatMul, "", y, weight(&f, "constant_0", 2, 2));
    y = emit(&f, OM_OP_Add, "", y, om_graph_const(f.g, OM_F32, NULL, 0, zeros));
    y = emit(&f, OM_OP_Relu, "", y, none);
    om_graph_output(f.g, OM_SVL("/MatMul_output_0"), y, NULL);
    text = finished(t, &f);
    CHECK_HAS(t, text, "/MatMul_output_0_1: float32[b, 2] = MatMul(w, w_1)\n");
    CHECK_HAS(t, text,
              "/MatMul_1_output_0: float32[b, 2] = MatMul(/MatMul_output_0_1, constant_0)\n");
    CHECK_HAS(t, text, "Add(/MatMul_1_output_0, constant_0_1)\n");
    CHECK_HAS(t, text, "\n/MatMul_output_0: float32[b, 2] = Relu(");
    teardown(&f);
}

static void dump_details(struct test *t)
{
    static const int64_t list[] = { 4, 2 };
    static const int64_t turned[] = { 1, 4 };
    static const struct om_file file = { .fd = -1, .size = 16 };
    const struct om_weight w = { .name = OM_SVL("w"),
                                 .dtype = OM_F32,
                                 .src_dtype = OM_BF16,
                                 .rank = 2,
                                 .dims = list,
                                 .file = &file,
                                 .bytes = 16,
                                 .strides = turned };
    const int64_t perm[] = { 1, 0 };
    const struct om_attr attrs[] = {
        { .name = "perm", .kind = OM_ATTR_INTS, .ints = perm, .n = 2 },
    };
    const struct om_attr gelu[] = {
        { .name = "approximate", .kind = OM_ATTR_STRING, .s = OM_SVL("tanh") },
        { .name = "alpha", .kind = OM_ATTR_FLOAT, .f = 0.5 },
    };
    struct fixture f;
    om_dim dims[2];
    om_val x, y;
    const char *text;

    setup(t, &f);
    dims[0] = om_dim_parse(f.g->dims, OM_SVL("p + s"));
    dims[1] = om_dim_const(f.g->dims, 4);
    x = om_graph_weight(f.g, &w);
    y = om_graph_emit(f.g, OM_OP_Transpose, OM_SVL("a"), &x, 1, attrs, 1);
    y = om_graph_emit(f.g, OM_OP_Gelu, OM_SVL("a"), &y, 1, gelu, 2);
    om_graph_output(f.g, OM_SVL("y"), y, dims);
    text = finished(t, &f);
    CHECK_HAS(t, text, "output y: float32[p + s, 4]\n"); /* as declared */
    CHECK_HAS(t, text, "weight w: float32[4, 2] cast from bfloat16 transposed\n");
    CHECK_HAS(t, text, "/a/Transpose_output_0: float32[2, 4] = Transpose(w) perm=[1, 0]\n");
    CHECK_HAS(t, text,
              "y: float32[2, 4] = Gelu(/a/Transpose_output_0) alpha=0.5 approximate=\"tanh\"\n");
    CHECK_STR(t, om_op_name(OM_OP_COUNT), "?");
    teardown(&f);
}

/* A long chain must not use the C stack. */
static void deep(struct test *t)
{
    struct om_error err = OM_ERROR_INIT;
    struct fixture f;
    om_val y;

    setup(t, &f);
    y = input(&f, "x", "b", "2");
    for (int i = 0; i < 50000; i++)
        y = emit(&f, OM_OP_Relu, "", y, none);
    om_graph_output(f.g, OM_SVL("y"), y, NULL);
    CHECK_OK(t, om_graph_finish(f.g, &err), &err);
    CHECK_OK(t, om_graph_verify(f.g, &err), &err);
    CHECK(t, om_sv_is(f.g->nodes[49999].name, "/Relu_49999"));
    om_error_release(&err);
    teardown(&f);
}

/* ---- corruptions that om_graph_verify() has to find ---- */

static void break_order(struct om_graph *g)
{
    const uint32_t n = g->blocks[0].nodes[0];

    g->blocks[0].nodes[0] = g->blocks[0].nodes[1];
    g->blocks[0].nodes[1] = n;
}

static void break_input(struct om_graph *g)
{
    g->nodes[1].in[0].id = 4711;
}

static void break_missing(struct om_graph *g)
{
    g->nodes[1].in[0].id = 0;
}

static void break_arity(struct om_graph *g)
{
    g->nodes[1].n_in = 1;
}

static void break_dtype(struct om_graph *g)
{
    g->values[g->nodes[1].out[0].id].dtype = OM_F16;
}

static void break_shape(struct om_graph *g)
{
    ((om_dim *)g->values[g->nodes[1].out[0].id].dims)[0] = om_dim_const(g->dims, 3);
}

static void break_rank(struct om_graph *g)
{
    g->values[g->nodes[1].out[0].id].rank = 1;
}

static void break_dim(struct om_graph *g)
{
    ((om_dim *)g->values[g->nodes[1].out[0].id].dims)[0] = 0;
}

static void break_value_name(struct om_graph *g)
{
    g->values[g->nodes[0].out[0].id].name = g->values[g->nodes[1].out[0].id].name;
}

static void break_no_name(struct om_graph *g)
{
    g->values[g->nodes[0].out[0].id].name = OM_SVL("");
}

static void break_node_name(struct om_graph *g)
{
    g->nodes[0].name = g->nodes[1].name;
}

static void break_owner(struct om_graph *g)
{
    g->nodes[0].out[0] = g->nodes[1].out[0];
}

static void break_producer(struct om_graph *g)
{
    g->values[g->nodes[0].out[0].id].node = 99;
}

static void break_weight(struct om_graph *g)
{
    g->weights[0].rank = 1;
}

static void break_output(struct om_graph *g)
{
    g->blocks[0].outputs[0].val = g->inputs[0].val;
}

static void break_output_name(struct om_graph *g)
{
    g->blocks[0].outputs[0].name = OM_SVL("other");
}

static void break_port(struct om_graph *g)
{
    g->inputs[0].val = g->nodes[0].out[0];
}

static void break_block(struct om_graph *g)
{
    g->nodes[0].block = 1;
}

static void break_branch(struct om_graph *g)
{
    for (size_t i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op == OM_OP_If)
            ((struct om_attr *)g->nodes[i].attrs)[0].i = g->nodes[i].attrs[1].i;
}

static void break_branch_range(struct om_graph *g)
{
    for (size_t i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op == OM_OP_If)
            ((struct om_attr *)g->nodes[i].attrs)[0].i = 99;
}

static void break_sibling(struct om_graph *g)
{
    const struct om_node *n = &g->nodes[g->blocks[2].nodes[0]];

    n->in[0] = g->nodes[g->blocks[1].nodes[0]].out[0];
}

static void verify_finds(struct test *t)
{
    static const struct {
        const char *name;
        void (*run)(struct om_graph *g);
        const char *want;
    } cases[] = {
        { "order", break_order, "used before it is computed" },
        { "input", break_input, "an input is out of range" },
        { "missing", break_missing, "an input is missing" },
        { "arity", break_arity, "takes 2 to 2 inputs, 1 are given" },
        { "dtype", break_dtype, "another type or shape" },
        { "shape", break_shape, "another type or shape" },
        { "rank", break_rank, "another type or shape" },
        { "dim", break_dim, "axis 0 has no extent" },
        { "value name", break_value_name, "two values are named" },
        { "no name", break_no_name, "has no name" },
        { "node name", break_node_name, "two nodes are named" },
        { "owner", break_owner, "an output is not its own" },
        { "producer", break_producer, "has no producer" },
        { "weight", break_weight, "weight \"w\" and its value differ" },
        { "output", break_output, "output \"y\" is not computed in its block" },
        { "output name", break_output_name, "output \"other\" has a value named \"y\"" },
        { "port", break_port, "input \"x\" is not an input" },
        { "block", break_block, "listed in another block" },
        { "branch", break_branch, "a branch belongs to two nodes" },
        { "branch range", break_branch_range, "a branch is out of range" },
        { "sibling", break_sibling, "an input belongs to another branch" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_error err = OM_ERROR_INIT;
        struct fixture f;
        om_val x, y, cond;
        uint32_t a, b;
        test_case(t, "%s", cases[i].name);
        setup(t, &f);
        x = input(&f, "x", "b", "2");
        cond = om_graph_input(f.g, OM_SVL("use"), OM_BOOL, NULL, 0);
        y = emit(&f, OM_OP_Relu, "", x, none);
        y = emit(&f, OM_OP_MatMul, "", y, weight(&f, "w", 2, 2));
        a = branch(&f, "a", y, OM_OP_Relu);
        b = branch(&f, "b", y, OM_OP_Tanh);
        om_graph_output(f.g, OM_SVL("y"), branch_node(&f, cond, a, b), NULL);
        finished(t, &f);
        cases[i].run(f.g);
        CHECK(t, om_graph_verify(f.g, &err) < 0);
        CHECK_HAS(t, om_error_text(&err), cases[i].want);
        om_error_release(&err);
        teardown(&f);
    }
}

/* With any limit on memory a build ends in a graph or in a message. */
static void short_memory(struct test *t)
{
    bool done = false;

    for (size_t max = 256; max < (1u << 20) && !done; max += 256) {
        struct fixture f = { .arena = OM_ARENA_INIT(max) };
        struct om_error err = OM_ERROR_INIT;
        int rc = om_graph_new(&f.arena, NULL, OM_SVL("test"), &f.g, &err);
        if (rc == 0) {
            const om_val x = input(&f, "x", "b", "2");
            const om_val cond = om_graph_input(f.g, OM_SVL("use"), OM_BOOL, NULL, 0);
            const om_val y = emit(&f, OM_OP_MatMul, "", x, weight(&f, "w", 2, 2));
            const uint32_t a = branch(&f, "a", y, OM_OP_Relu), b = branch(&f, "b", x, OM_OP_NONE);
            om_graph_output(f.g, OM_SVL("y"), branch_node(&f, cond, a, b), NULL);
            rc = om_graph_finish(f.g, &err);
            if (rc == 0)
                rc = om_graph_verify(f.g, &err);
        }
        done = rc == 0;
        CHECK(t, rc == 0 || om_error_text(&err)[0] != '\0');
        om_error_release(&err);
        teardown(&f);
    }
    CHECK(t, done);
}

const struct test_entry t_graph[] = { { "simple", simple },
                                      { "emission_order", emission_order },
                                      { "identities", identities },
                                      { "branches", branches },
                                      { "nested_branches", nested_branches },
                                      { "branch_errors", branch_errors },
                                      { "sticky", sticky },
                                      { "invalid_flows", invalid_flows },
                                      { "misuse", misuse },
                                      { "constants", constants },
                                      { "names", names },
                                      { "dump_details", dump_details },
                                      { "deep", deep },
                                      { "verify_finds", verify_finds },
                                      { "short_memory", short_memory },
                                      TEST_END };
