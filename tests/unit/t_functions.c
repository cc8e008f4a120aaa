/* tests/unit/t_functions.c: model-local functions of documents: inlined, run, refused. */
#include <stdio.h>

#include "base/buf.h"
#include "base/wire.h"
#include "onnx/doc.h"
#include "onnx/schema.h"
#include "ref/model.h"
#include "test.h"

/* ---- models from text ----
 *
 * A node is "op in,in > out,out", op may be "f:NAME" for a function, nodes are parted by ';'. */

static void put_names(struct om_buf *b, uint32_t number, om_sv names)
{
    om_sv name;

    while (names.len > 0 && om_sv_split(&names, ',', &name))
        om_wire_put_bytes(b, number, om_sv_is(name, "-") ? (om_sv){ "", 0 } : name);
}

static void put_attr(struct om_buf *b, om_sv text)
{
    const size_t attr = om_wire_begin(b, PB_NODE_ATTRIBUTE);
    om_sv name, value = text;

    om_sv_split(&value, '=', &name);
    om_wire_put_bytes(b, PB_ATTR_NAME, name);
    om_wire_put_int(b, PB_ATTR_TYPE, PB_TYPE_FLOAT);
    if (om_sv_starts(value, OM_SVL("$"))) {
        om_wire_put_bytes(b, PB_ATTR_REF, (om_sv){ value.ptr + 1, value.len - 1 });
    } else {
        double v = 0;

        om_sv_f64(value, &v);
        om_wire_put_float(b, PB_ATTR_F, (float)v);
    }
    om_wire_end(b, attr);
}

static void put_node(struct om_buf *b, uint32_t number, om_sv text)
{
    const size_t node = om_wire_begin(b, number);
    om_sv word, op;
    bool out = false;

    text = om_sv_trim(text);
    om_sv_split(&text, ' ', &op);
    if (om_sv_starts(op, OM_SVL("f:"))) {
        op = (om_sv){ op.ptr + 2, op.len - 2 };
        om_wire_put_bytes(b, PB_NODE_DOMAIN, OM_SVL("local"));
    }
    om_wire_put_bytes(b, PB_NODE_OP_TYPE, op);
    while (text.len > 0 && om_sv_split(&text, ' ', &word)) {
        if (om_sv_is(word, ">"))
            out = true;
        else if (memchr(word.ptr, '=', word.len))
            put_attr(b, word);
        else
            put_names(b, out ? PB_NODE_OUTPUT : PB_NODE_INPUT, word);
    }
    om_wire_end(b, node);
}

static void put_nodes(struct om_buf *b, uint32_t number, const char *text)
{
    om_sv rest = om_sv_str(text), node;

    while (rest.len > 0 && om_sv_split(&rest, ';', &node))
        put_node(b, number, node);
}

struct function {
    const char *name, *in, *out, *nodes;
    int64_t opset;
    const char *fallback; /* an attribute with a value, or NULL */
};

static void put_opset(struct om_buf *b, uint32_t number, int64_t version)
{
    const size_t opset = om_wire_begin(b, number);

    om_wire_put_int(b, PB_OPSET_VERSION, version);
    om_wire_end(b, opset);
}

static void put_function(struct om_buf *b, const struct function *f)
{
    const size_t at = om_wire_begin(b, PB_MODEL_FUNCTIONS);

    om_wire_put_bytes(b, PB_FUNCTION_NAME, om_sv_str(f->name));
    om_wire_put_bytes(b, PB_FUNCTION_DOMAIN, OM_SVL("local"));
    put_names(b, PB_FUNCTION_INPUT, om_sv_str(f->in));
    put_names(b, PB_FUNCTION_OUTPUT, om_sv_str(f->out));
    put_nodes(b, PB_FUNCTION_NODE, f->nodes);
    put_opset(b, PB_FUNCTION_OPSET_IMPORT, f->opset);
    if (f->fallback) {
        struct om_buf attr = OM_BUF_INIT(4096);
        om_sv message;

        put_attr(&attr, om_sv_str(f->fallback)); /* field 5 of a node, with tag and length */
        message = om_buf_sv(&attr);
        om_wire_put_bytes(b, PB_FUNCTION_DEFAULT, (om_sv){ message.ptr + 2, message.len - 2 });
        om_buf_release(&attr);
    }
    om_wire_end(b, at);
}

static void put_port(struct om_buf *b, uint32_t number, const char *name)
{
    const size_t port = om_wire_begin(b, number);

    om_wire_put_bytes(b, PB_VALUE_NAME, om_sv_str(name));
    om_wire_end(b, port);
}

enum { FUNCTIONS = 4 };

struct model {
    const char *what, *nodes; /* from x to y */
    struct function functions[FUNCTIONS];
    float want;          /* y of x = 2, or: */
    const char *refused; /* part of the message */
    bool kept;           /* the document cannot be written without its functions */
};

static void put_model(struct om_buf *b, const struct model *m)
{
    size_t graph;

    om_wire_put_int(b, PB_MODEL_IR_VERSION, 9);
    graph = om_wire_begin(b, PB_MODEL_GRAPH);
    put_nodes(b, PB_GRAPH_NODE, m->nodes);
    put_port(b, PB_GRAPH_INPUT, "x");
    put_port(b, PB_GRAPH_OUTPUT, "y");
    om_wire_end(b, graph);
    put_opset(b, PB_MODEL_OPSET_IMPORT, 18);
    for (size_t i = 0; i < FUNCTIONS && m->functions[i].name; i++)
        put_function(b, &m->functions[i]);
}

static const struct model models[] = {
    { "a call",
      "Add x,x > t;f:double t > y",
      { { "double", "x", "y", "Add x,x > t;Identity t > y", 18, NULL } },
      8,
      NULL,
      false },
    { "nested, twice",
      "f:four x > t;f:four t > y",
      { { "double", "a", "b", "Add a,a > b", 18, NULL },
        { "four", "x", "y", "f:double x > t;f:double t > y", 18, NULL } },
      32,
      NULL,
      false },
    { "attributes by reference, and what is said for none",
      "Neg x > n;f:f n alpha=0.5 > a;f:f n > b;Add a,b > y",
      { { "leaky", "x", "y", "LeakyRelu x alpha=$alpha > y", 18, "alpha=0.25" },
        { "f", "x", "y", "f:leaky x alpha=$alpha > y", 18, NULL } },
      -1.5f,
      NULL,
      false },
    { "an attribute that nobody gives is left out",
      "Neg x > n;f:leaky n > y",
      { { "leaky", "x", "y", "LeakyRelu x alpha=$alpha > y", 18, NULL } },
      -0.02f,
      NULL,
      false },
    { "an input left out",
      "f:clip x > y",
      { { "clip", "x,low,high", "y", "Clip x,low,high > y", 18, NULL } },
      2,
      NULL,
      false },
    { "an output that is an input, one twice, one not wanted",
      "f:f x > a,b,c;Add a,b > t;Add t,c > y",
      { { "f", "x", "x,z,z,w", "Add x,x > z;Add x,z > w", 18, NULL } },
      10,
      NULL,
      false },
    { "names like those that are made",
      "Add x,x > fn.0.f/t;f:f x > u;Add fn.0.f/t,u > y",
      { { "f", "x", "y", "Neg x > t;Identity t > y", 18, NULL } },
      2,
      NULL,
      false },
    { "another operator set",
      "f:f x > y",
      { { "f", "x", "y", "Add x,x > y", 20, NULL } },
      4,
      NULL,
      true },
    { "an operator set that is too new",
      "f:f x > y",
      { { "f", "x", "y", "Add x,x > y", 99, NULL } },
      0,
      "a function imports operator set 99",
      true },
    { "recursion",
      "f:f x > y",
      { { "f", "x", "y", "f:g x > y", 18, NULL }, { "g", "x", "y", "f:f x > y", 18, NULL } },
      0,
      "the function calls itself",
      true },
    { "more inputs than the function has",
      "f:f x,x > y",
      { { "f", "x", "y", "Neg x > y", 18, NULL } },
      0,
      "2 inputs and 1 outputs, the function has 1 and 1",
      true },
    { "an output that nothing makes",
      "f:f x > y",
      { { "f", "x", "y", "Neg x > z", 18, NULL } },
      0,
      "value \"y\" is not made",
      false },
    { "a reference outside of functions",
      "LeakyRelu x alpha=$alpha > t;f:f t > y",
      { { "f", "x", "y", "Neg x > y", 18, NULL } },
      0,
      "refers to a function's",
      true },
};

/* y of x = 2 */
static int run_doc(struct om_doc *doc, struct om_arena *a, float *y, struct om_error *err)
{
    const float two = 2;
    const struct om_tensor x = { .name = "x", .dtype = OM_F32, .data = &two };
    struct om_ref_model *model;
    struct om_tensor *out;
    size_t n;

    OM_TRY(om_ref_model_new(doc, &model, err));
    OM_TRY(om_ref_model_run(model, &x, 1, NULL, a, &out, &n, err));
    *y = *(const float *)out[0].data;
    return 0;
}

static void check_run(struct test *t, const struct model *m, struct om_doc *doc, struct om_arena *a)
{
    struct om_error err = OM_ERROR_INIT;
    float y = 0;
    const int rc = run_doc(doc, a, &y, &err);

    if (m->refused) {
        CHECK(t, rc < 0);
        CHECK_HAS(t, om_error_text(&err), m->refused);
    } else {
        CHECK_OK(t, rc, &err);
        CHECK_INT(t, (int64_t)(y * 100), (int64_t)(m->want * 100));
    }
    om_error_release(&err);
}

static void check_model(struct test *t, const struct model *m)
{
    struct om_buf b = OM_BUF_INIT(1u << 20);
    struct om_arena a = OM_ARENA_INIT(1u << 22);
    struct om_error err = OM_ERROR_INIT;
    struct om_doc *doc = NULL;
    bool done = false;

    put_model(&b, m);
    const struct om_file file = { .fd = -1, .data = (const uint8_t *)b.ptr, .size = b.len };

    test_case(t, "%s", m->what);
    CHECK_OK(t, om_doc_parse(&a, &file, NULL, &doc, &err), &err);
    if (doc) {
        check_run(t, m, doc, &a);
        CHECK_OK(t, om_doc_inline(doc, &done, &err), &err);
        CHECK_INT(t, done, !m->kept);
        CHECK_INT(t, doc->n_functions == 0, !m->kept);
        check_run(t, m, doc, &a);
        om_doc_close(doc);
    }
    om_error_release(&err);
    om_arena_release(&a);
    om_buf_release(&b);
}

static void functions(struct test *t)
{
    for (size_t i = 0; i < OM_COUNT(models); i++)
        check_model(t, &models[i]);
}

/* Each function calls the next ten times: 10^8 nodes from a few. */
static void explosion(struct test *t)
{
    enum { LEVELS = 8 };
    struct om_buf b = OM_BUF_INIT(1u << 20);
    struct om_arena a = OM_ARENA_INIT((size_t)1 << 30);
    struct om_error err = OM_ERROR_INIT;
    struct om_doc *doc = NULL;
    float y;

    put_model(&b, &(struct model){ .nodes = "f:f0 x > y" });
    for (int i = 0; i < LEVELS; i++) {
        char name[8], nodes[512] = "";

        snprintf(name, sizeof(name), "f%d", i);
        for (int k = 0; k < 10; k++)
            snprintf(nodes + strlen(nodes), sizeof(nodes) - strlen(nodes), "%sf:f%d %c > %c",
                     k ? ";" : "", i + 1, "xabcdefghi"[k], "abcdefghiy"[k]);
        put_function(&b, &(struct function){ name, "x", "y", nodes, 18, NULL });
    }
    put_function(&b, &(struct function){ "f8", "x", "y", "Neg x > y", 18, NULL });
    const struct om_file file = { .fd = -1, .data = (const uint8_t *)b.ptr, .size = b.len };

    CHECK_OK(t, om_doc_parse(&a, &file, NULL, &doc, &err), &err);
    if (doc) {
        CHECK_INT(t, run_doc(doc, &a, &y, &err), OM_E_LIMIT);
        CHECK_HAS(t, om_error_text(&err), "the functions have more than");
        om_doc_close(doc);
    }
    om_error_release(&err);
    om_arena_release(&a);
    om_buf_release(&b);
}

const struct test_entry t_functions[] = { { "functions", functions },
                                          { "explosion", explosion },
                                          TEST_END };
