/* tests/fuzz/fuzz_onnx.c: any bytes are refused with a message, or give a sound graph whose weights
 * lie inside of the file and which can be laid out again. */
#include "fuzz.h"
#include "onnx/onnx.h"
#include "onnx/summary.h"

static void check_graph(const struct om_graph *g, const uint8_t *bytes, size_t size)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_buf text = OM_BUF_INIT(64u << 20);
    const int rc = om_graph_verify(g, &err);

    if (rc < 0)
        fprintf(stderr, "%s\n", om_error_text(&err));
    FUZZ_CHECK(rc == 0);
    for (size_t i = 0; i < g->n_weights; i++) {
        const struct om_weight *const w = &g->weights[i];

        FUZZ_CHECK(w->bytes == om_weight_bytes(w));
        if (w->file)
            fuzz_touch(bytes, size, w->offset, w->offset + w->bytes);
        else
            fuzz_touch(w->data, w->bytes, 0, w->bytes);
    }
    om_graph_dump(g, &text);
    FUZZ_CHECK(!text.failed && text.len > 0);
    om_buf_release(&text);
    FUZZ_CHECK(om_onnx_embedded_size(g) > 0);
}

/* The summary reads any operators; what it names are views of the bytes. */
static void summarize(const struct om_file *model)
{
    struct om_arena a = OM_ARENA_INIT(64u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_onnx_summary s;

    if (om_onnx_summarize(&a, model, &s, &err) < 0)
        FUZZ_CHECK(om_error_text(&err)[0] != '\0');
    else
        for (size_t i = 0; i < s.weights.len; i++)
            fuzz_touch(s.weights.items[i].name.ptr, s.weights.items[i].name.len, 0,
                       s.weights.items[i].name.len);
    om_error_release(&err);
    om_arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    const struct om_file model = { .fd = -1, .data = copy, .size = size };
    struct om_arena a = OM_ARENA_INIT(64u << 20); /* stops unbounded growth */
    struct om_error err = OM_ERROR_INIT;
    struct om_onnx_file *file;
    struct om_graph *g;
    const int rc = om_onnx_parse(&a, &model, NULL, &file, &g, &err);

    if (rc < 0) {
        FUZZ_CHECK(om_error_text(&err)[0] != '\0');
        FUZZ_CHECK(rc != OM_E_INTERNAL);
    } else {
        check_graph(g, copy, size);
        om_graph_free(g);
        om_onnx_close(file);
    }
    summarize(&model);
    om_error_release(&err);
    om_arena_release(&a);
    free(copy);
    return 0;
}
