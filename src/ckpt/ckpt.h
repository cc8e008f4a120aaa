/* src/ckpt/ckpt.h: a checkpoint directory as named tensors, whatever its format on disk.
 *
 * A checkpoint maps its files and holds views into them; no weight byte is copied. It is immutable
 * after om_ckpt_open() and may be read by several threads. */
#ifndef OM_CKPT_H
#define OM_CKPT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/map.h"

/* One tensor: little-endian elements of a mapped file, seen through dims and strides (base/view.h).
 * The reader has checked that every element lies within the source's own range of the file. The
 * name is followed by a NUL that its length does not count. */
struct om_ckpt_tensor {
    om_sv name;
    enum om_dtype dtype;
    uint32_t rank;
    const int64_t *dims;
    const int64_t *strides; /* in elements; NULL: contiguous and row-major */
    const struct om_file *file;
    uint64_t offset; /* of the first element, in bytes */
    uint64_t bytes;  /* of all elements of the view: product of dims times element size */
    bool packed;     /* of a layer that is held quantized: [out, in], whatever its module's class */
};

enum om_ckpt_format { OM_CKPT_SAFETENSORS, OM_CKPT_PYTORCH, OM_CKPT_TENSORFLOW };
const char *om_ckpt_format_text(enum om_ckpt_format format); /* "safetensors" */

/* Contents that cannot be mapped where they lie: a compressed member of an archive, as an unlinked
 * temporary file. */
struct om_ckpt_temp {
    struct om_file file;
    struct om_ckpt_temp *next;
};

struct om_ckpt {
    struct om_file *files; /* model.safetensors, or the shards sorted by name */
    size_t file_count;
    struct om_ckpt_temp *temps;
    enum om_ckpt_format format;     /* of all files; other than safetensors when one of them is */
    struct om_ckpt_tensor *tensors; /* in file order, shard after shard */
    size_t len;
    struct om_map by_name; /* tensor name -> index into tensors */
};

/* Open the weights in directory dir. The names that Transformers loads come first, in its order:
 * model.safetensors, model.safetensors.index.json with its shards, pytorch_model.bin,
 * pytorch_model.bin.index.json, tf_model.h5, tf_model.h5.index.json; then a single other
 * *.safetensors file (adapters excepted). Other *.bin files are optimizer states, arguments and the
 * like: they are never taken for weights. The arena owns the descriptions.
 *
 * Of a sharded checkpoint the index decides: a tensor it does not name, or names in another shard,
 * is left out; one that its shard does not have is an error. Without weights the error is
 * OM_E_MISSING, or OM_E_UNSUPPORTED when only formats that are not read are there; it says what was
 * looked for and what was found. */
int om_ckpt_open(struct om_arena *a, const char *dir, struct om_ckpt **out, struct om_error *err);
/* One file, safetensors, PyTorch or TensorFlow (HDF5); the contents decide which. */
int om_ckpt_open_file(struct om_arena *a, const char *path, struct om_ckpt **out,
                      struct om_error *err);
void om_ckpt_close(struct om_ckpt *ck); /* unmap; accepts NULL */

const struct om_ckpt_tensor *om_ckpt_find(const struct om_ckpt *ck,
                                          om_sv name); /* NULL when absent */
/* The first element in the mapping, at any alignment. */
const void *om_ckpt_data(const struct om_ckpt_tensor *t);
bool om_ckpt_has_prefix(const struct om_ckpt *ck,
                        om_sv prefix); /* some tensor starts with prefix */

/* Parse the bytes of one safetensors file (format: 8-byte length, JSON header, data). Every bound
 * is checked: header within the file and at most 100 MB, known dtypes, no overflow, shape x dtype
 * equal to the byte range, and ranges that cover the data from its first byte to its last without
 * gaps or overlaps. Duplicate names are refused. Of __metadata__ one thing counts: with the format
 * "tf" the file is that of a TensorFlow model, and names and axes become those of PyTorch. Tensors
 * come in the order of their data. file is recorded in each tensor and not read. Exposed for the
 * fuzzer. */
int om_safetensors_parse(struct om_arena *a, const struct om_file *file,
                         struct om_ckpt_tensor **tensors, size_t *len, struct om_error *err);

/* Parse a file of torch.save: a zip archive, or the sequence of pickles that came before
 * version 1.6. The pickle is run by a machine that can execute nothing (ckpt/pickle.h). The tensors
 * are those of the dict it holds, or of the one dict with tensors within that ("state_dict" before
 * "model_state_dict" and "model"); other entries are skipped. Views, strides and shared storages
 * stay what they are: nothing is copied except deflated members, which are added to *temps for the
 * caller to unmap (also after a failure). Big-endian files, TorchScript, complex and quantized
 * tensors are refused by name. Exposed for the fuzzer. */
int om_torch_parse(struct om_arena *a, const struct om_file *file, struct om_ckpt_temp **temps,
                   struct om_ckpt_tensor **tensors, size_t *len, struct om_error *err);

/* Append what precedes the data of a safetensors file, a multiple of 8 bytes, for tensors whose
 * data may be NULL. order (n entries) receives the sequence in which the data must follow, without
 * gaps: larger elements first, otherwise as given, which keeps every tensor aligned. metadata is
 * the JSON text of __metadata__, or NULL. */
int om_safetensors_header(struct om_buf *b, const struct om_tensor *tensors, size_t n,
                          const char *metadata, size_t *order, struct om_error *err);

/* Write named tensors (any om_dtype) as one safetensors file, published atomically. */
int om_safetensors_write(const char *path, const struct om_tensor *tensors, size_t n,
                         struct om_error *err);

#endif
