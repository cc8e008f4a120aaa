/* include/optimum/tensor.h: element types and named tensors, the currency of sessions and checkpoints. */
#ifndef OPTIMUM_TENSOR_H
#define OPTIMUM_TENSOR_H

#include <stdbool.h>
#include <stdint.h>

#include <optimum/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* OM_DTYPE(enum suffix, bytes, safetensors name, ONNX TensorProto.DataType, text in messages) */
#define OM_DTYPES(OM_DTYPE)                        \
    OM_DTYPE(F32, 4, "F32", 1, "float32")          \
    OM_DTYPE(U8, 1, "U8", 2, "uint8")              \
    OM_DTYPE(I8, 1, "I8", 3, "int8")               \
    OM_DTYPE(U16, 2, "U16", 4, "uint16")           \
    OM_DTYPE(I16, 2, "I16", 5, "int16")            \
    OM_DTYPE(I32, 4, "I32", 6, "int32")            \
    OM_DTYPE(I64, 8, "I64", 7, "int64")            \
    OM_DTYPE(BOOL, 1, "BOOL", 9, "bool")           \
    OM_DTYPE(F16, 2, "F16", 10, "float16")         \
    OM_DTYPE(F64, 8, "F64", 11, "float64")         \
    OM_DTYPE(U32, 4, "U32", 12, "uint32")          \
    OM_DTYPE(U64, 8, "U64", 13, "uint64")          \
    OM_DTYPE(BF16, 2, "BF16", 16, "bfloat16")

enum om_dtype {
    OM_DTYPE_NONE,
#define OM_DTYPE_ENUM(name, bytes, st, onnx, text) OM_##name,
    OM_DTYPES(OM_DTYPE_ENUM)
#undef OM_DTYPE_ENUM
    OM_DTYPE_COUNT
};

/* Bytes of one element; 0 for OM_DTYPE_NONE. */
OM_API size_t om_dtype_size(enum om_dtype dtype);
OM_API const char *om_dtype_text(enum om_dtype dtype);

/* A tensor in C (row-major) order. Who owns the parts is said by the function that returns it. */
struct om_tensor {
    const char *name;
    enum om_dtype dtype;
    uint32_t rank;
    const int64_t *dims; /* rank entries, none negative; NULL when rank is 0 */
    const void *data;    /* om_tensor_bytes() bytes, in the byte order of the machine */
};

/* Bytes of the elements; false when the product overflows or a dim is negative. */
OM_API bool om_tensor_bytes(const struct om_tensor *t, uint64_t *bytes);

#ifdef __cplusplus
}
#endif

#endif
