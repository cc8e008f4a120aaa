/* tests/fuzz/fuzz_zip.c: any bytes as a file of torch.save, in either container: members inside the
 * file and apart from each other, tensors inside their storages, or a message. */
#include "ckpt/zip.h"

#include "base/view.h"
#include "ckpt/ckpt.h"
#include "fuzz.h"

static void check_members(const struct om_zip *z)
{
    uint64_t end = 0;

    for (size_t i = 0; i < z->len; i++) {
        const struct om_zip_member *m = &z->members[i];

        FUZZ_CHECK(m->header >= end && m->offset > m->header);
        end = m->offset + m->packed;
        FUZZ_CHECK(end <= z->file->size && (m->deflated || m->size == m->packed));
        FUZZ_CHECK(om_zip_find(z, m->name) == m);
        fuzz_touch(m->name.ptr, m->name.len, 0, m->name.len);
    }
}

static void read_zip(const struct om_file *f)
{
    struct om_arena a = OM_ARENA_INIT(16u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_zip z;

    if (om_zip_open(&a, f, &z, &err) < 0)
        FUZZ_CHECK(om_error_text(&err)[0] != '\0');
    else
        check_members(&z);
    om_zip_release(&z);
    om_error_release(&err);
    om_arena_release(&a);
}

static void check_tensor(const struct om_ckpt_tensor *t)
{
    const struct om_tensor shape = { .dtype = t->dtype, .rank = t->rank, .dims = t->dims };
    uint64_t bytes;
    int64_t extent;

    FUZZ_CHECK(om_tensor_bytes(&shape, &bytes) && bytes == t->bytes);
    FUZZ_CHECK(om_view_extent(t->dims, t->strides, t->rank, &extent));
    FUZZ_CHECK(t->name.ptr[t->name.len] == '\0');
    bytes = (uint64_t)extent * om_dtype_size(t->dtype);
    fuzz_touch(t->file->data, t->file->size, t->offset, t->offset + bytes);
}

static void read_torch(const struct om_file *f)
{
    struct om_arena a = OM_ARENA_INIT(16u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_ckpt_temp *temps = NULL;
    struct om_ckpt_tensor *tensors = NULL;
    size_t n = 0;

    if (om_torch_parse(&a, f, &temps, &tensors, &n, &err) < 0) {
        FUZZ_CHECK(om_error_text(&err)[0] != '\0');
        FUZZ_CHECK(!strchr(om_error_text(&err), '\n'));
    }
    for (size_t i = 0; i < n; i++)
        check_tensor(&tensors[i]);
    for (; temps; temps = temps->next)
        om_file_unmap(&temps->file);
    om_error_release(&err);
    om_arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    const struct om_file f = { .fd = -1, .data = copy, .size = size };

    read_zip(&f);
    read_torch(&f);
    free(copy);
    return 0;
}
