/* tests/unit/t_refops.c: the reference executor on files that others made.
 *
 * tests/data/refops.safetensors holds models of one or a few operators with inputs and outputs:
 * NAME|model (the file's bytes), NAME|i|INPUT, NAME|o|OUTPUT. Those under onnx/ are the cases that
 * the onnx package makes for its operators, those under ort/ were recorded with ONNX Runtime, those
 * under torch/, of operators that it runs on GPUs alone, with PyTorch. Those under refused/ once
 * went wrong. */
#include <math.h>

#include "base/half.h"
#include "ckpt/ckpt.h"
#include "onnx/pb.h"
#include "onnx/schema.h"
#include "ref/model.h"
#include "test.h"

/* ---- recorded cases ---- */

enum { INPUTS_MAX = 32 };

struct recorded {
    om_sv name;
    struct om_file model;
    struct om_tensor in[INPUTS_MAX];
    size_t n_in;
    const struct om_ckpt_tensor *want[INPUTS_MAX];
    const char *want_name[INPUTS_MAX];
    size_t n_want;
};

static double number(const void *data, enum om_dtype dtype, int64_t i)
{
    double v = 0;

    om_convert(&v, OM_F64, (const char *)data + (size_t)i * om_dtype_size(dtype), dtype, 1);
    return v;
}

/* How far results may be from those recorded, relative to 1 + the value. */
static double tolerance(enum om_dtype dtype)
{
    switch (dtype) {
    case OM_BF16:
        return 1e-2;
    case OM_F16:
        return 4e-3;
    case OM_F32:
    case OM_F64:
        return 1e-3;
    default:
        return 0;
    }
}

static bool close_to(double got, double want, double tol)
{
    if (isnan(want) || isinf(want))
        return isnan(want) ? isnan(got) != 0 : got == want;
    return fabs(got - want) <= tol * (1 + fabs(want));
}

static void compare(struct test *t, const struct om_tensor *got, const struct om_ckpt_tensor *want)
{
    const void *data = om_ckpt_data(want);
    int64_t n = 1, off = 0;

    CHECK_STR(t, om_dtype_text(got->dtype), om_dtype_text(want->dtype));
    CHECK_INT(t, got->rank, want->rank);
    for (uint32_t i = 0; i < want->rank && got->rank == want->rank; i++) {
        CHECK_INT(t, got->dims[i], want->dims[i]);
        n *= want->dims[i];
    }
    if (test_failed(t))
        return;
    for (int64_t i = 0; i < n; i++) {
        const double g = number(got->data, got->dtype, i), w = number(data, want->dtype, i);
        const bool tie = (want->dtype == OM_U8 || want->dtype == OM_I8) && fabs(g - w) == 1;

        off += tie; /* a quantized number between two may go to either */
        test_check(t, tie || close_to(g, w, tolerance(want->dtype)), __FILE__, __LINE__,
                   "%s[%" PRId64 "]: got %g, expected %g", got->name, i, g, w);
        if (test_failed(t))
            return;
    }
    CHECK(t, off * 20 <= n);
}

static void check_outputs(struct test *t, const struct recorded *r, const struct om_tensor *out,
                          size_t n)
{
    CHECK_INT(t, n, r->n_want);
    for (size_t i = 0; i < r->n_want; i++) {
        size_t k = 0;

        while (k < n && strcmp(out[k].name, r->want_name[i]) != 0)
            k++;
        test_check(t, k < n, __FILE__, __LINE__, "output %s is missing", r->want_name[i]);
        if (k < n)
            compare(t, &out[k], r->want[i]);
    }
}

static void run_recorded(struct test *t, const struct recorded *r)
{
    struct om_arena a = OM_ARENA_INIT(64u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_ref_model *model;
    struct om_tensor *out = NULL;
    struct om_doc *doc;
    size_t n = 0;
    int rc = om_doc_parse(&a, &r->model, NULL, &doc, &err);

    test_case(t, "%.*s", OM_SV(r->name));
    CHECK_OK(t, rc, &err);
    if (rc == 0) {
        rc = om_ref_model_new(doc, &model, &err);
        if (rc == 0)
            rc = om_ref_model_run(model, r->in, r->n_in, NULL, &a, &out, &n, &err);
        if (om_sv_starts(r->name, OM_SVL("refused/")))
            CHECK(t, rc < 0 && rc != OM_E_INTERNAL);
        else
            CHECK_OK(t, rc, &err);
        if (rc == 0)
            check_outputs(t, r, out, n);
        om_doc_close(doc);
    }
    om_error_release(&err);
    om_arena_release(&a);
}

/* The part of a name behind the second bar; what is between them goes to kind. */
static const char *split_name(om_sv name, om_sv *base, char *kind)
{
    const char *bar = memchr(name.ptr, '|', name.len);

    *base = (om_sv){ name.ptr, (size_t)(bar - name.ptr) };
    *kind = bar[1];
    return bar + 3;
}

static struct recorded *find_case(struct recorded *all, size_t *n, om_sv name)
{
    for (size_t i = *n; i-- > 0;)
        if (om_sv_eq(all[i].name, name))
            return &all[i];
    all[*n] = (struct recorded){ .name = name, .model = { .fd = -1 } };
    return &all[(*n)++];
}

static void add_tensor(struct recorded *all, size_t *n, const struct om_ckpt_tensor *x)
{
    struct recorded *r;
    om_sv base;
    char kind;
    const char *port = split_name(x->name, &base, &kind);

    r = find_case(all, n, base);
    if (kind == 'm') {
        r->model.data = om_ckpt_data(x);
        r->model.size = x->bytes;
    } else if (kind == 'i' && r->n_in < INPUTS_MAX) {
        r->in[r->n_in++] = (struct om_tensor){ .name = port,
                                               .dtype = x->dtype,
                                               .rank = x->rank,
                                               .dims = x->dims,
                                               .data = om_ckpt_data(x) };
    } else if (kind == 'o' && r->n_want < INPUTS_MAX) {
        r->want_name[r->n_want] = port;
        r->want[r->n_want++] = x;
    }
}

static void recorded_cases(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(256u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_ckpt *ck = NULL;
    struct recorded *all = NULL;
    size_t n = 0;
    const int rc = om_ckpt_open_file(&a, test_data(t, "refops.safetensors"), &ck, &err);

    CHECK_OK(t, rc, &err);
    if (rc == 0)
        all = om_arena_array(&a, ck->len, sizeof(*all));
    for (size_t i = 0; all && i < ck->len; i++)
        add_tensor(all, &n, &ck->tensors[i]);
    CHECK(t, n > 800);
    for (size_t i = 0; i < n; i++)
        run_recorded(t, &all[i]);
    om_ckpt_close(ck);
    om_error_release(&err);
    om_arena_release(&a);
}

/* ---- refusals ---- */

/* A model of one node, without inputs: op with the attributes that put() adds. */
struct tiny {
    const char *op, *domain, *in; /* NULL: none */
    int64_t opset;
    const char *want; /* part of the message */
};

static void write_tiny(struct om_buf *b, const struct tiny *m)
{
    size_t graph, node, opset;

    om_wire_put_int(b, PB_MODEL_IR_VERSION, 9);
    graph = om_wire_begin(b, PB_MODEL_GRAPH);
    node = om_wire_begin(b, PB_GRAPH_NODE);
    if (m->in)
        om_wire_put_bytes(b, PB_NODE_INPUT, om_sv_str(m->in));
    om_wire_put_bytes(b, PB_NODE_OUTPUT, OM_SVL("y"));
    om_wire_put_bytes(b, PB_NODE_NAME, OM_SVL("here"));
    om_wire_put_bytes(b, PB_NODE_OP_TYPE, om_sv_str(m->op));
    om_wire_put_bytes(b, PB_NODE_DOMAIN, om_sv_str(m->domain));
    om_wire_end(b, node);
    node = om_wire_begin(b, PB_GRAPH_OUTPUT);
    om_wire_put_bytes(b, PB_VALUE_NAME, OM_SVL("y"));
    om_wire_end(b, node);
    om_wire_end(b, graph);
    opset = om_wire_begin(b, PB_MODEL_OPSET_IMPORT);
    om_wire_put_int(b, PB_OPSET_VERSION, m->opset);
    om_wire_end(b, opset);
}

static void refusals(struct test *t)
{
    static const struct tiny cases[] = {
        { "RandomNormal", "", NULL, 17, "RandomNormal \"here\": the reference executor does not" },
        { "Abs", "com.example", "x", 17, "does not have the operator of com.example" },
        { "Abs", "", "x", 17, "value \"x\" is not made by an earlier node" },
        { "Abs", "", "y", 17, "value \"y\" is not made by an earlier node" },
        { "Abs", "", NULL, 17, "0 inputs and 1 outputs do not fit the operator" },
        { "Abs", "", NULL, 6, "imports operator set 6, 7 to 28 can be run" },
        { "Abs", "", NULL, 99, "imports operator set 99" },
        { "Constant", "", NULL, 17, "only tensors, integers and floats can be constants" },
        { "Loop", "", NULL, 17, "attribute \"body\" holds no graph" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_buf b = OM_BUF_INIT(1u << 20);
        struct om_arena a = OM_ARENA_INIT(1u << 20);
        struct om_error err = OM_ERROR_INIT;
        struct om_ref_model *model;
        struct om_tensor *out;
        struct om_doc *doc;
        size_t n;
        int rc;

        write_tiny(&b, &cases[i]);
        const struct om_file file = { .fd = -1, .data = (const uint8_t *)b.ptr, .size = b.len };

        test_case(t, "%s, opset %" PRId64, cases[i].op, cases[i].opset);
        rc = om_doc_parse(&a, &file, NULL, &doc, &err);
        CHECK_OK(t, rc, &err);
        if (rc == 0) {
            rc = om_ref_model_new(doc, &model, &err);
            if (rc == 0)
                rc = om_ref_model_run(model, NULL, 0, NULL, &a, &out, &n, &err);
            CHECK(t, rc < 0);
            CHECK_HAS(t, om_error_text(&err), cases[i].want);
            om_doc_close(doc);
        }
        om_error_release(&err);
        om_arena_release(&a);
        om_buf_release(&b);
    }
}

const struct test_entry t_refops[] = { { "recorded", recorded_cases },
                                       { "refusals", refusals },
                                       TEST_END };
