/* tests/fuzz/fuzz_pickle.c: any bytes either are a pickle of allowed things or give a message,
 * within bounded memory. */
#include "ckpt/pickle.h"
#include "fuzz.h"

static void check_tensor(const struct pk_tensor *t, const struct pk_doc *doc)
{
    FUZZ_CHECK(t->storage && t->storage->index < doc->n_storages);
    FUZZ_CHECK(t->dtype != OM_DTYPE_NONE || t->dtype_text[0]);
    FUZZ_CHECK(t->offset >= 0 && t->rank <= PK_RANK_MAX);
    for (uint32_t i = 0; i < t->rank; i++)
        FUZZ_CHECK(t->dims[i] >= 0 && t->strides[i] >= 0);
}

/* What a value refers to is there; containers are entered once each, by a budget. */
static void visit(const struct pk_value *v, const struct pk_doc *doc, int depth)
{
    if (v->kind == PK_TEXT || v->kind == PK_LONG)
        fuzz_touch(v->text.ptr, v->text.len, 0, v->text.len);
    if (v->kind == PK_TENSOR)
        check_tensor(v->tensor, doc);
    FUZZ_CHECK(v->kind != PK_MARK);
    if (depth == 0 || (v->kind != PK_TUPLE && v->kind != PK_LIST && v->kind != PK_DICT))
        return;
    FUZZ_CHECK(v->kind != PK_DICT || v->seq->len % 2 == 0);
    for (size_t i = 0; i < v->seq->len && i < 64; i++)
        visit(&v->seq->items[i], doc, depth - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    struct om_arena a = OM_ARENA_INIT(16u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct pk_doc doc;

    if (om_pk_load(&a, (om_sv){ (const char *)copy, size }, &doc, &err) < 0) {
        FUZZ_CHECK(om_error_text(&err)[0] != '\0');
        FUZZ_CHECK(!strchr(om_error_text(&err), '\n'));
    } else {
        FUZZ_CHECK(doc.used <= size);
        visit(&doc.root, &doc, 3);
    }
    om_error_release(&err);
    om_arena_release(&a);
    free(copy);
    return 0;
}
