/* tests/unit/archive.h: zip archives and pickles made byte by byte, as torch.save and its enemies
 * write them. */
#ifndef TEST_ARCHIVE_H
#define TEST_ARCHIVE_H

#include "base/buf.h"
#include "base/file.h"

/* ---- zip ---- */

#define ZIP_MADE_MAX 24

/* Where the headers of an archive lie, so that a test can spoil them. */
struct zip_made {
    struct om_buf bytes;
    size_t n;
    size_t local[ZIP_MADE_MAX], data[ZIP_MADE_MAX], central[ZIP_MADE_MAX];
    size_t directory, end64, end;
    /* what the central headers will say */
    char *name[ZIP_MADE_MAX];
    uint32_t packed[ZIP_MADE_MAX], size[ZIP_MADE_MAX], crc[ZIP_MADE_MAX];
    uint16_t flags[ZIP_MADE_MAX], method[ZIP_MADE_MAX];
};

enum zip_form {
    ZIP_STORED,
    ZIP_DESCRIPTOR, /* stored, the sizes only in the central directory, as torch.save writes them */
    ZIP_DEFLATED
};

void zip_begin(struct zip_made *z);
void zip_add(struct zip_made *z, const char *name, const void *data, size_t len,
             enum zip_form form);
void zip_end(struct zip_made *z,
             bool zip64); /* zip64: with its records before the old one, as torch.save does */
void zip_release(struct zip_made *z);

void put_le(struct om_buf *b, uint64_t v, size_t width);
void poke_le(struct om_buf *b, size_t at, uint64_t v, size_t width);

/* A file on the bytes, exactly as long as they are: AddressSanitizer sees what reads past them.
 * Free with file_free(). */
struct om_file file_of(const void *bytes, size_t len);
void file_free(struct om_file *f);

/* ---- pickle, protocol 2 ---- */

void pk_begin(struct om_buf *b);
void pk_global(struct om_buf *b, const char *module, const char *name);
void pk_text(struct om_buf *b, const char *s);
void pk_int(struct om_buf *b, int64_t v);
void pk_ints(struct om_buf *b, const int64_t *v, size_t n); /* a tuple */
void pk_end(struct om_buf *b);

struct pickled_tensor {
    const char *name;  /* NULL: the tensor alone, not as an item of a dict */
    const char *class; /* "FloatStorage" */
    const char *key;
    int64_t numel, offset;
    uint32_t rank;
    int64_t dims[4], strides[4];
};
/* The key and value of a dict's item, as _rebuild_tensor_v2 of a storage. */
void pk_tensor(struct om_buf *b, const struct pickled_tensor *t);

#endif
