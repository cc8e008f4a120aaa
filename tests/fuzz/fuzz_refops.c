/* tests/fuzz/fuzz_refops.c: any bytes are refused with a message, or run within the memory and the
 * steps that were allowed. The models of the corpus have their inputs as initializers. */
#include "fuzz.h"
#include "ref/model.h"

static int run(struct om_doc *doc, struct om_arena *a, struct om_error *err)
{
    const struct om_ref_model_opts opts = { .max_bytes = 4u << 20, .max_work = 4u << 20 };
    struct om_ref_model *model;
    struct om_tensor *out;
    size_t n;
    int rc = om_ref_model_new(doc, &model, err);

    if (rc == 0)
        rc = om_ref_model_run(model, NULL, 0, &opts, a, &out, &n, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        uint64_t bytes;

        FUZZ_CHECK(om_tensor_bytes(&out[i], &bytes));
        fuzz_touch(out[i].data, bytes, 0, bytes);
    }
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    const struct om_file file = { .fd = -1, .data = copy, .size = size };
    struct om_arena a = OM_ARENA_INIT(64u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_doc *doc;
    int rc = om_doc_parse(&a, &file, NULL, &doc, &err);

    if (rc == 0) {
        rc = run(doc, &a, &err);
        om_doc_close(doc);
    }
    if (rc < 0) {
        FUZZ_CHECK(om_error_text(&err)[0] != '\0');
        FUZZ_CHECK(rc != OM_E_INTERNAL);
    }
    om_error_release(&err);
    om_arena_release(&a);
    free(copy);
    return 0;
}
