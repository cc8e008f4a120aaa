/* tests/fuzz/fuzz_h5.c: any bytes either parse into tensors inside the file or give a message. */
#include "ckpt/keras.h"
#include "fuzz.h"

#include "base/view.h"

static void check_tensor(const struct om_ckpt_tensor *t, const struct om_file *f)
{
    const struct om_tensor shape = { .dtype = t->dtype, .rank = t->rank, .dims = t->dims };
    int64_t reach;
    uint64_t bytes;

    FUZZ_CHECK(om_tensor_bytes(&shape, &bytes) && bytes == t->bytes);
    FUZZ_CHECK(t->name.ptr[t->name.len] == '\0');
    FUZZ_CHECK(om_view_extent(t->dims, t->strides, t->rank, &reach));
    FUZZ_CHECK((uint64_t)reach * om_dtype_size(t->dtype) == t->bytes);
    fuzz_touch(f->data, f->size, t->offset, t->offset + t->bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    const struct om_file f = { .fd = -1, .data = copy, .size = size };
    struct om_arena a = OM_ARENA_INIT(64u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_ckpt_tensor *tensors = NULL;
    size_t n = 0;

    if (om_keras_parse(&a, &f, &tensors, &n, &err) < 0)
        FUZZ_CHECK(om_error_text(&err)[0] != '\0');
    for (size_t i = 0; i < n; i++)
        check_tensor(&tensors[i], &f);
    om_error_release(&err);
    om_arena_release(&a);
    free(copy);
    return 0;
}
