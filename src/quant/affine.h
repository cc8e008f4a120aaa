/* src/quant/affine.h: r = scale * (q - zero_point): parameters from the range of a weight, and its
 * quantized bytes, by the formulas of ONNX Runtime's quantization tool (so that files agree bit for
 * bit). */
#ifndef OM_QUANT_AFFINE_H
#define OM_QUANT_AFFINE_H

#include "ir/graph.h"
#include "onnx/doc.h"

/* Numbers of TensorProto.DataType. */
enum { OM_Q_F32 = 1, OM_Q_U8 = 2, OM_Q_I8 = 3, OM_Q_I32 = 6, OM_Q_I64 = 7, OM_Q_F16 = 10 };

/* How an 8-bit type is used. */
struct om_affine_range {
    bool is_signed, symmetric, reduce;
};
/* Of a float32 (or float16, half) range; an empty one, lo > hi, counts as no data. */
void om_affine_params(float lo, float hi, struct om_affine_range r, bool half, float *scale,
                      int *zero);

/* Which elements share parameters: element (b, r, c) of the target has those at
 * b * batch + r * row + c * col. */
struct om_affine_steps {
    size_t batch, row, col;
    size_t n; /* parameters in all */
};

/* The differences that quantizing made. */
struct om_affine_error {
    double max;          /* |r - dequantized| */
    double error, total; /* sums of squares: of the difference, of r */
};

/* A weight to quantize. Its last two axes may be swapped against the source (strides); a source of
 * a lower rank has extents of 1. */
struct om_affine {
    struct om_doc_source source; /* first: what the document writes */
    struct om_weight weight;     /* float32, float16, bfloat16 or float64 in the source */
    size_t batch, rows, cols;    /* of the target */
    struct om_affine_steps steps;
    struct om_affine_range range;
    bool half;            /* the scale is float16, as the weight is */
    bool want_error;      /* fill error while writing */
    float *scale;         /* steps.n of them */
    int8_t *zero;         /* bytes of the zero points, of the type */
    uint16_t *half_scale; /* scale as float16 bits, where half */
    struct om_affine_error error;
    bool measured;
    bool bound; /* something was made with the scales: they do not change any more */
    bool lstm; /* named in messages only */
};

/* Set weight and extents; target dims are those of w. */
int om_affine_init(struct om_affine *a, const struct om_weight *w, struct om_error *err);
/* A scale for each index of an axis. Permuted axes are refused. */
int om_affine_by_axis(struct om_affine *a, uint32_t axis, struct om_error *err);
/* Fill scale and zero from the weight, once. Infinities and NaN are refused by the weight's name.
 */
int om_affine_measure(struct om_affine *a, struct om_error *err);
/* The om_doc_source of a: quantized bytes in target order. */
int om_affine_make(const struct om_doc_source *s, struct om_out *out, struct om_error *err);

/* n elements of the storage of w, from element at on, as float32: in place, or in buf. */
const float *om_affine_load(const struct om_weight *w, size_t at, size_t n, float *buf);

#endif
