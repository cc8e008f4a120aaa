/* src/ref/kernel.h: what the kernels of the reference executor share; private to src/ref.
 *
 * A kernel gets its inputs as tensors, makes its outputs with om_ref_new() or om_ref_share() and
 * fills them. It may be called with any shapes, whatever inference said: it checks what it relies
 * on and says what it found. */
#ifndef OM_REF_KERNEL_H
#define OM_REF_KERNEL_H

#include <stdalign.h>

#include "ref/ref.h"

/* Bytes that a run has allocated, and the most it may; the same of inner steps of its loops, where
 * a limit is set. */
struct ref_pool {
    uint64_t used, max;
    uint64_t work, max_work; /* max_work 0: no limit */
};

/* Reference-counted memory, so that Reshape and its like copy nothing. */
struct ref_mem {
    struct ref_pool *pool;
    uint32_t refs;
    uint64_t bytes;
    bool tensors; /* data are struct ref_tensor */
    alignas(64) unsigned char data[];
};

/* What a value of a document is. Kernels meet tensors alone, but those that say otherwise. */
enum ref_kind {
    REF_TENSOR,
    REF_SEQUENCE, /* data are count struct ref_tensor, which mem owns */
    REF_NOTHING,  /* an optional without a value; one with it is the value */
};

struct ref_tensor {
    enum om_dtype dtype;
    uint32_t rank;
    int64_t dims[OM_RANK_MAX];
    int64_t count; /* elements */
    int32_t small; /* TensorProto.DataType of elements without an enum om_dtype (ref/small.h), of
                      which each int8 or uint8 holds one; 0: dtype says what they are */
    enum ref_kind kind;
    void *data; /* aligned for dtype, never NULL; kernels write to their outputs only */
    struct ref_mem
        *mem; /* NULL: somebody else's memory that outlives the run (an input, a mapped weight) */
};

struct ref_run;
struct ref_step;
struct ref_frame;

/* One node being executed. */
struct ref_call {
    struct ref_run *run;         /* of a graph's node; NULL: of a document's */
    const struct ref_step *step; /* of a document's node, with the values that it sees */
    struct ref_frame *frame;
    struct ref_pool *pool;
    const struct om_graph *g;
    const struct om_node *node;
    int64_t opset; /* that the file imports of the operator's domain; a graph's is OM_REF_OPSET */
    const struct om_dim_env *env;       /* the symbols that the inputs have bound */
    const struct ref_tensor *const *in; /* node->n_in entries, NULL: left out */
    const enum om_dtype *dtypes;        /* of a document's node's inputs before they were widened */
    struct ref_tensor *out;             /* node->n_out entries, zeroed */
    struct om_error *err;
};

/* The operator set whose operators graphs hold, and the newest that documents may import. */
enum { OM_REF_OPSET = 24, OM_REF_OPSET_MIN = 7, OM_REF_OPSET_MAX = 28 };

typedef int ref_kernel(struct ref_call *c);

/* How the executor adapts the operands of an operator, so that its kernel needs only float32,
 * float64 and int64. */
enum ref_widen {
    REF_WIDEN_FLOAT = 1 << 0, /* float16 and bfloat16 arrive as float32, results go back */
    REF_WIDEN_INT =
        1 << 1, /* narrower integers arrive as int64, results go back modulo their width */
    REF_WIDEN_BOOL = 1 << 2, /* and so does bool */
    /* Of documents, where nothing but the operands tells the dtype of a result: */
    REF_KEEP_FIRST = 1 << 3, /* the first output has the dtype that the kernel gave it */
    REF_KEEP_REST = 1 << 4,  /* and so have the others */
    REF_TAKE_SMALL = 1 << 5, /* the kernel knows small reals */
    REF_MOVE = 1 << 6,       /* elements are moved as they are, also small ones */
    REF_TAKE_ANY = 1 << 7,   /* the kernel knows sequences and empty optionals too */
};

/* What an operand of dtype arrives as. */
enum om_dtype om_ref_widened(unsigned widen, enum om_dtype dtype);

struct ref_op {
    ref_kernel *run;
    uint8_t min_in, max_in, n_out; /* as in ops.def; UINT8_MAX: any number */
};
extern const struct ref_op om_ref_ops[OM_OP_COUNT]; /* [OM_OP_NONE] is empty */
extern const uint8_t om_ref_widen[OM_OP_COUNT];     /* enum ref_widen */

#define OM_OP(name, min_in, max_in, outputs) ref_kernel om_ref_##name;
#define OM_OP_MS(name, min_in, max_in, outputs) ref_kernel om_ref_ms_##name;
#define OM_OP_MS_AS(id, name, min_in, max_in, outputs) ref_kernel om_ref_ms_##name;
#include "ir/ops.def"
#undef OM_OP
#define OM_DEF(domain, name, kernel, min_in, max_in, n_out, widen) ref_kernel om_ref_##kernel;
#include "ref/model_ops.def"
#undef OM_DEF

/* ---- tensors (tensor.c) ---- */

int om_ref_new(struct ref_pool *pool, struct ref_tensor *t, enum om_dtype dtype,
               const int64_t *dims, uint32_t rank, struct om_error *err);
/* A sequence of n zeroed tensors, to be filled by om_ref_share(). */
int om_ref_new_sequence(struct ref_pool *pool, struct ref_tensor *t, int64_t n,
                        struct om_error *err);
/* The same elements under another shape; the counts must agree. */
int om_ref_share(struct ref_tensor *t, const struct ref_tensor *of, const int64_t *dims,
                 uint32_t rank, struct om_error *err);
/* A view of somebody else's memory. */
int om_ref_borrow(struct ref_tensor *t, enum om_dtype dtype, const int64_t *dims, uint32_t rank,
                  const void *data, struct om_error *err);
/* A weight as the graph sees it, its transform applied; it borrows the mapping where it can be read
 * in place. */
int om_ref_weight(struct ref_pool *pool, const struct om_weight *w, struct ref_tensor *t,
                  struct om_error *err);
int om_ref_convert(struct ref_pool *pool, struct ref_tensor *t, const struct ref_tensor *from,
                   enum om_dtype dtype, struct om_error *err);
void om_ref_drop(struct ref_tensor *t); /* accepts a zeroed tensor */
bool om_ref_aligned(const void *data, enum om_dtype dtype);
/* Account for n (times times) inner steps before they are made. */
int om_ref_work(struct ref_pool *pool, int64_t n, int64_t times, struct om_error *err);

/* One element as int64 or double, whatever the dtype. */
int64_t om_ref_i64_at(const struct ref_tensor *t, int64_t i);
double om_ref_f64_at(const struct ref_tensor *t, int64_t i);

/* ---- arguments (tensor.c) ---- */

const struct ref_tensor *om_ref_in(const struct ref_call *c, uint32_t i); /* NULL when left out */
bool om_ref_wants(const struct ref_call *c, uint32_t i); /* is output i used by the graph? */
bool om_ref_attr_is(const struct ref_call *c, const char *name, const char *text);

/* A short list of integers: axes, a shape. */
struct ref_ints {
    int64_t v[OM_RANK_MAX];
    uint32_t n;
};
/* Input i, an integer tensor of rank 0 or 1; what names it in messages. Left out: n is 0. */
int om_ref_ints(const struct ref_call *c, uint32_t i, const char *what, struct ref_ints *out);
int om_ref_scalar_i64(const struct ref_call *c, uint32_t i, const char *what, int64_t *out);
/* An axis in [-rank, rank) to one in [0, rank). */
int om_ref_axis(const struct ref_call *c, int64_t axis, uint32_t rank, uint32_t *out);
/* The same for a list, into a bit set; a repeated axis is an error. */
int om_ref_axis_set(const struct ref_call *c, const struct ref_ints *axes, uint32_t rank,
                    uint32_t *set);
/* An error for a dtype that the operator has no kernel for. */
int om_ref_bad_dtype(const struct ref_call *c, enum om_dtype dtype);
const char *om_ref_dims_text(char *buf, size_t size, const int64_t *dims,
                             uint32_t rank); /* "[2, 3]" */
#define REF_DIMS_TEXT 192                    /* bytes that hold any shape */

int64_t om_ref_product(const int64_t *dims, uint32_t begin, uint32_t end);

/* ---- iteration (view.c) ---- */

#define REF_OPERANDS 3

/* A walk over a dense output in order, with the positions of up to three operands. */
struct ref_view {
    uint32_t rank, n_operands;
    int64_t dims[2 * OM_RANK_MAX];
    int64_t steps[REF_OPERANDS]
                 [2 * OM_RANK_MAX]; /* in elements; 0: broadcast, negative: backwards */
};
/* Drop axes of one element and join neighbours that all operands walk as one. */
void om_ref_view_fold(struct ref_view *v);
/* Call fn for consecutive runs of the output elements [begin, end): out is the first, at[] and
 * step[] say where the operands' elements are. The view must be folded. */
typedef void ref_view_fn(void *user, int64_t out, const int64_t *at, const int64_t *step,
                         int64_t n);
void om_ref_view_each(const struct ref_view *v, int64_t begin, int64_t end, ref_view_fn *fn,
                      void *user);

/* Row-major steps of dims. */
void om_ref_steps(const int64_t *dims, uint32_t rank, int64_t *steps);
/* Steps of t seen as the broadcast shape dims (rank at least t's); t must be broadcastable to it.
 */
void om_ref_broadcast_steps(const struct ref_tensor *t, uint32_t rank, int64_t *steps);
/* The numpy broadcast of n shapes. */
int om_ref_broadcast_dims(const struct ref_call *c, const struct ref_tensor *const *in, unsigned n,
                          int64_t *dims, uint32_t *rank);
/* Fill dst densely with the elements of size bytes that the one operand of v visits from src. Folds
 * v. */
void om_ref_gather_copy(struct ref_view *v, void *dst, const void *src, size_t size);
/* t made to have the shape dims, to which it must broadcast. */
int om_ref_expand(const struct ref_call *c, struct ref_tensor *out, const struct ref_tensor *t,
                  const int64_t *dims, uint32_t rank);

/* ---- matrix products (matmul.c) ---- */

struct ref_gemm {
    enum om_dtype dtype; /* OM_F32, OM_F64, OM_I64 (no transpose, alpha 1, beta 0) */
    bool ta, tb;
    int64_t m, n, k;
    double alpha, beta;
    const void *a, *b;
    void *c;
};
/* C = alpha * op(A) op(B) + beta * C on dense row-major matrices. */
void om_ref_gemm(const struct ref_gemm *g);

/* ---- rows of float32 or float64 as double (norm.c) ---- */

void om_ref_row_load(double *row, const struct ref_tensor *t, int64_t at, int64_t step, int64_t n);
void om_ref_row_store(struct ref_tensor *t, int64_t at, int64_t step, const double *row, int64_t n);
/* In place. A row of nothing but -inf gives zeros when zero_if_masked, else NaN as the plain
 * formula does. */
void om_ref_softmax_row(double *row, int64_t n, bool zero_if_masked);

#endif
