/* src/fuse/fold.c: what is computed from constants alone becomes a constant, by the reference
 * executor.
 *
 * Only operators whose results are the same bits on every machine are taken: moves, integers,
 * comparisons, and the float operations that IEEE 754 rounds correctly. What is larger than a few
 * pages and than its inputs stays a node. */
#include <stdlib.h>

#include "fuse/internal.h"
#include "ref/model.h"

#define RESULT_MAX (64u << 10)
#define INPUTS_MAX (1u << 20)
#define SCRATCH_MAX ((size_t)64 << 20)

static const struct {
    const char *op;
    bool ints_only; /* of floats the order of steps, or a library, would decide */
} exact_ops[] = {
    { "Abs", false },
    { "Add", false },
    { "And", false },
    { "Cast", false },
    { "Ceil", false },
    { "Clip", false },
    { "Concat", false },
    { "ConstantOfShape", false },
    { "CumSum", true },
    { "Div", false },
    { "Equal", false },
    { "Expand", false },
    { "EyeLike", false },
    { "Flatten", false },
    { "Floor", false },
    { "Gather", false },
    { "GatherElements", false },
    { "GatherND", false },
    { "Greater", false },
    { "GreaterOrEqual", false },
    { "Less", false },
    { "LessOrEqual", false },
    { "Max", false },
    { "Min", false },
    { "Mod", false },
    { "Mul", false },
    { "Neg", false },
    { "Not", false },
    { "Or", false },
    { "Pow", true },
    { "Range", true },
    { "Reciprocal", false },
    { "ReduceMax", false },
    { "ReduceMin", false },
    { "ReduceProd", true },
    { "ReduceSum", true },
    { "Relu", false },
    { "Reshape", false },
    { "Round", false },
    { "ScatterElements", false },
    { "ScatterND", false },
    { "Sign", false },
    { "Slice", false },
    { "Split", false },
    { "Sqrt", false },
    { "Squeeze", false },
    { "Sub", false },
    { "Tile", false },
    { "Transpose", false },
    { "Trilu", false },
    { "Unsqueeze", false },
    { "Where", false },
    { "Xor", false },
};

static bool is_int(enum om_dtype t)
{
    return t == OM_BOOL || t == OM_U8 || t == OM_I8 || t == OM_U16 || t == OM_I16 || t == OM_U32 ||
           t == OM_I32 || t == OM_U64 || t == OM_I64;
}

static bool is_exact(const struct fuse *f, const struct om_doc_node *n)
{
    const struct om_value *const out = fz_shape(f, n->out[0]);

    for (size_t i = 0; i < OM_COUNT(exact_ops); i++)
        if (fz_is(n, "", exact_ops[i].op))
            return out && (!exact_ops[i].ints_only || is_int(out->dtype));
    return false;
}

/* The inputs as initializers of g. */
static bool take_inputs(const struct fuse *f, const struct om_doc_node *n, struct om_doc_graph *g,
                        uint64_t *bytes)
{
    *bytes = 0;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const struct om_doc_tensor *const t = n->in[i].len > 0 ? fz_const(f, n->in[i]) : NULL;

        if (n->in[i].len == 0 || om_doc_find_tensor(g, n->in[i]))
            continue;
        if (!t || t->source || t->bytes > INPUTS_MAX - *bytes)
            return false;
        *bytes += t->bytes;
        g->tensors.items[g->tensors.len++] = *t;
    }
    return true;
}

/* Every result has a known size, and not too large a one. */
static bool are_small(const struct fuse *f, const struct om_doc_node *n, uint64_t inputs)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < n->n_out; i++) {
        const struct om_value *const v = fz_shape(f, n->out[i]);
        int64_t extent;

        uint64_t bytes = v ? om_dtype_size(v->dtype) : UINT64_MAX;

        for (uint32_t k = 0; v && k < v->rank; k++)
            if (!om_dim_is_const(f->shapes->dims, v->dims[k], &extent) ||
                !om_mul_u64(bytes, (uint64_t)extent, &bytes))
                return false;
        if (bytes > OM_MAX(RESULT_MAX, inputs))
            return false;
        total += bytes;
    }
    return total <= OM_MAX(RESULT_MAX, inputs);
}

static int run(struct om_doc *d, struct om_arena *a, struct om_tensor **out, size_t *n_out)
{
    static const struct om_ref_model_opts opts = { .max_bytes = SCRATCH_MAX, .max_work = 1u << 24 };
    struct om_ref_model *m;

    OM_TRY(om_ref_model_new(d, &m, NULL));
    return om_ref_model_run(m, NULL, 0, &opts, a, out, n_out, NULL);
}

static int keep(struct fuse *f, struct om_doc_node *n, const struct om_tensor *out, size_t n_out)
{
    for (size_t i = 0; i < n_out; i++)
        if (!om_doc_add_const(f->d, f->g, n->out[i], om_dtype_onnx(out[i].dtype), out[i].dims,
                              out[i].rank, out[i].data))
            return fz_no_memory(f);
    fz_kill(f, n);
    f->changes++;
    return 0;
}

static bool gives_outputs(const struct fuse *f, const struct om_doc_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i].len == 0 || fz_is_output(f, n->out[i]))
            return true;
    return false;
}

static int fold(struct fuse *f, struct om_doc_node *n, struct om_doc_graph *g)
{
    struct om_arena scratch = OM_ARENA_INIT(SCRATCH_MAX);
    struct om_doc d = *f->d;
    struct om_tensor *out;
    size_t n_out;
    int rc;

    d.arena = &scratch;
    d.graph = g;
    rc = run(&d, &scratch, &out, &n_out);
    if (rc == 0 && n_out == n->n_out)
        rc = keep(f, n, out, n_out);
    else
        rc = rc == OM_E_NOMEM ? fz_no_memory(f) : 0; /* ONNX Runtime may say why */
    om_arena_release(&scratch);
    return rc;
}

int fz_fold(struct fuse *f, struct om_doc_node *n)
{
    struct om_doc_port ports[8] = { { .name = { "", 0 } } };
    struct om_doc_tensor tensors[8];
    struct om_doc_graph g = { .name = om_sv_str("constant"),
                              .nodes = { .items = n, .len = 1 },
                              .tensors = { .items = tensors },
                              .outputs = { .items = ports, .len = n->n_out },
                              .rest = { "", 0 } };
    uint64_t bytes;

    if (n->n_in > OM_COUNT(tensors) || n->n_in == 0 || n->n_out > OM_COUNT(ports) ||
        !is_exact(f, n) || gives_outputs(f, n) || !take_inputs(f, n, &g, &bytes) ||
        !are_small(f, n, bytes))
        return 0;
    for (uint32_t i = 0; i < n->n_out; i++)
        ports[i].name = n->out[i];
    return fold(f, n, &g);
}
