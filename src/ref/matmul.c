/* src/ref/matmul.c: matrix products. Floats go through CBLAS where there is one, with the operands
 * in place. */
#include "ref/kernel.h"

#include "base/thread.h"

#include <limits.h>

#ifdef OM_HAVE_CBLAS
#include <cblas.h>
#include <dlfcn.h>
#include <pthread.h>
#endif

/* ---- one product ---- */

/* C = beta * C, for products over no elements. A beta of 0 also replaces NaN. */
static void scale_result(const struct ref_gemm *g)
{
    for (int64_t i = 0; i < g->m * g->n; i++) {
        if (g->dtype == OM_F32)
            ((float *)g->c)[i] = g->beta == 0 ? 0 : (float)(g->beta * (double)((float *)g->c)[i]);
        else if (g->dtype == OM_F64)
            ((double *)g->c)[i] = g->beta == 0 ? 0 : g->beta * ((double *)g->c)[i];
        else
            ((int64_t *)g->c)[i] = 0;
    }
}

/* Integers wrap; they are rare and small. */
static void gemm_i64(const struct ref_gemm *g)
{
    const uint64_t *a = g->a, *b = g->b;
    uint64_t *c = g->c;

    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            uint64_t sum = 0;

            for (int64_t k = 0; k < g->k; k++)
                sum += a[i * g->k + k] * b[k * g->n + j];
            c[i * g->n + j] = sum;
        }
}

#ifdef OM_HAVE_CBLAS

/* A BLAS starts its threads when it is loaded, which costs as much as half an export of a small
 * model. So it is loaded by the first product, and not at all where nothing is computed. */
static const char *const blas_names[] = { "libopenblas.so.0", "libcblas.so.3", "libblas.so.3" };

static pthread_once_t blas_once = PTHREAD_ONCE_INIT;
static struct {
    __typeof__(cblas_sgemm) *sgemm; /* NULL: there is none */
    __typeof__(cblas_dgemm) *dgemm;
} blas;

static void load_blas(void)
{
    for (size_t i = 0; i < OM_COUNT(blas_names) && !blas.sgemm; i++) {
        void *const lib = dlopen(blas_names[i], RTLD_NOW | RTLD_LOCAL);
        void *const s = lib ? dlsym(lib, "cblas_sgemm") : NULL;
        void *const d = lib ? dlsym(lib, "cblas_dgemm") : NULL;

        if (s && d) { /* copied, as C has no conversion from objects to functions */
            memcpy(&blas.sgemm, &s, sizeof(s));
            memcpy(&blas.dgemm, &d, sizeof(d));
        } else if (lib) {
            dlclose(lib);
        }
    }
}

/* False: there is no library, or the sizes do not fit its integers. */
static bool gemm_by_blas(const struct ref_gemm *g)
{
    const int m = (int)g->m, n = (int)g->n, k = (int)g->k;
    const int lda = g->ta ? m : k, ldb = g->tb ? k : n;
    const enum CBLAS_TRANSPOSE ta = g->ta ? CblasTrans : CblasNoTrans,
                               tb = g->tb ? CblasTrans : CblasNoTrans;

    pthread_once(&blas_once, load_blas);
    if (!blas.sgemm || g->m > INT_MAX || g->n > INT_MAX || g->k > INT_MAX)
        return false;
    if (g->dtype == OM_F32)
        blas.sgemm(CblasRowMajor, ta, tb, m, n, k, (float)g->alpha, g->a, lda, g->b, ldb,
                   (float)g->beta, g->c, n);
    else
        blas.dgemm(CblasRowMajor, ta, tb, m, n, k, g->alpha, g->a, lda, g->b, ldb, g->beta, g->c,
                   n);
    return true;
}

#else

static bool gemm_by_blas(const struct ref_gemm *g)
{
    (void)g;
    return false;
}

#endif

enum { BLOCK = 64 }; /* columns whose sums are kept at once */

/* Rows [begin, end) of C, a block of columns at a time, summed in double. */
#define GEMM_ROWS(name, T)                                                                       \
    static void name(void *user, size_t begin, size_t end)                                       \
    {                                                                                            \
        const struct ref_gemm *g = user;                                                         \
        const T *a = g->a, *b = g->b;                                                            \
        const int64_t a_row = g->ta ? 1 : g->k, a_col = g->ta ? g->m : 1;                        \
        const int64_t b_row = g->tb ? 1 : g->n, b_col = g->tb ? g->k : 1;                        \
                                                                                                 \
        for (int64_t j0 = 0; j0 < g->n; j0 += BLOCK) {                                           \
            const int64_t cols = OM_MIN(g->n - j0, BLOCK);                                       \
                                                                                                 \
            for (int64_t i = (int64_t)begin; i < (int64_t)end; i++) {                            \
                T *c = (T *)g->c + i * g->n + j0;                                                \
                double sum[BLOCK] = { 0 };                                                       \
                                                                                                 \
                for (int64_t k = 0; k < g->k; k++) {                                             \
                    const double x = (double)a[i * a_row + k * a_col];                           \
                    const T *y = b + k * b_row + j0 * b_col;                                     \
                                                                                                 \
                    for (int64_t j = 0; j < cols; j++)                                           \
                        sum[j] += x * (double)y[j * b_col];                                      \
                }                                                                                \
                for (int64_t j = 0; j < cols; j++)                                               \
                    c[j] = (T)(g->alpha * sum[j] + (g->beta == 0 ? 0 : g->beta * (double)c[j])); \
            }                                                                                    \
        }                                                                                        \
    }

GEMM_ROWS(gemm_rows_f32, float)
GEMM_ROWS(gemm_rows_f64, double)

static void gemm_plain(const struct ref_gemm *g)
{
    struct ref_gemm job = *g;
    const size_t per_row = (size_t)(g->n * g->k);

    om_parallel((size_t)g->m, ((size_t)1 << 20) / OM_MAX(per_row, 1) + 1,
                g->dtype == OM_F32 ? gemm_rows_f32 : gemm_rows_f64, &job);
}

void om_ref_gemm(const struct ref_gemm *g)
{
    if (g->m == 0 || g->n == 0)
        return;
    if (g->k == 0)
        scale_result(g);
    else if (g->dtype == OM_I64)
        gemm_i64(g);
    else if (!gemm_by_blas(g))
        gemm_plain(g);
}

/* ---- Linear and Gemm ---- */

static int check_floats(const struct ref_call *c, const struct ref_tensor *const *in, uint32_t n)
{
    const enum om_dtype dtype = in[0]->dtype;

    if (dtype != OM_F32 && dtype != OM_F64)
        return om_ref_bad_dtype(c, dtype);
    for (uint32_t i = 1; i < n; i++)
        if (in[i] && in[i]->dtype != dtype)
            return om_fail(c->err, OM_E_FORMAT, "operands differ in dtype: %s and %s",
                           om_dtype_text(dtype), om_dtype_text(in[i]->dtype));
    return 0;
}

/* The result tensor, preset to what the product is added to. */
static int start_from(struct ref_call *c, const struct ref_tensor *addend, enum om_dtype dtype,
                      const int64_t *dims, uint32_t rank)
{
    struct ref_tensor shape = { .rank = rank };
    const struct ref_tensor *const both[2] = { &shape, addend };
    int64_t got[OM_RANK_MAX];
    char a[REF_DIMS_TEXT], b[REF_DIMS_TEXT];
    uint32_t got_rank;

    if (!addend)
        return om_ref_new(c->pool, &c->out[0], dtype, dims, rank, c->err);
    memcpy(shape.dims, dims, rank * sizeof(*dims));
    OM_TRY(om_ref_broadcast_dims(c, both, 2, got, &got_rank));
    if (got_rank != rank || memcmp(got, dims, rank * sizeof(*dims)) != 0)
        return om_fail(c->err, OM_E_FORMAT, "%s cannot be added to a product of shape %s",
                       om_ref_dims_text(a, sizeof(a), addend->dims, addend->rank),
                       om_ref_dims_text(b, sizeof(b), dims, rank));
    return om_ref_expand(c, &c->out[0], addend, dims, rank);
}

int om_ref_Linear(struct ref_call *c)
{
    const struct ref_tensor *const in[3] = { om_ref_in(c, 0), om_ref_in(c, 1), om_ref_in(c, 2) };
    const struct ref_tensor *x = in[0], *w = in[1], *bias = in[2];
    const bool tb = om_node_int(c->node, "transB", 0) != 0;
    struct ref_gemm g = { .dtype = x->dtype,
                          .tb = tb,
                          .alpha = om_node_float(c->node, "alpha", 1) };
    int64_t dims[OM_RANK_MAX];
    char a[REF_DIMS_TEXT], b[REF_DIMS_TEXT];

    OM_TRY(check_floats(c, in, 3));
    if (x->rank == 0 || w->rank != 2 || w->dims[tb ? 1 : 0] != x->dims[x->rank - 1])
        return om_fail(c->err, OM_E_FORMAT, "input %s does not fit weight %s (transB %d)",
                       om_ref_dims_text(a, sizeof(a), x->dims, x->rank),
                       om_ref_dims_text(b, sizeof(b), w->dims, w->rank), tb);
    g.m = om_ref_product(x->dims, 0, x->rank - 1);
    g.k = x->dims[x->rank - 1];
    g.n = w->dims[tb ? 0 : 1];
    memcpy(dims, x->dims, x->rank * sizeof(*dims));
    dims[x->rank - 1] = g.n;
    OM_TRY(start_from(c, bias, x->dtype, dims, x->rank));
    g.beta = bias ? 1 : 0;
    g.a = x->data;
    g.b = w->data;
    g.c = c->out[0].data;
    om_ref_gemm(&g);
    return 0;
}

int om_ref_Gemm(struct ref_call *c)
{
    const struct ref_tensor *const in[3] = { om_ref_in(c, 0), om_ref_in(c, 1), om_ref_in(c, 2) };
    const struct ref_tensor *x = in[0], *y = in[1];
    struct ref_gemm g = { .dtype = x->dtype,
                          .ta = om_node_int(c->node, "transA", 0) != 0,
                          .tb = om_node_int(c->node, "transB", 0) != 0,
                          .alpha = om_node_float(c->node, "alpha", 1),
                          .beta = in[2] ? om_node_float(c->node, "beta", 1) : 0 };
    char a[REF_DIMS_TEXT], b[REF_DIMS_TEXT];
    int64_t dims[2];

    OM_TRY(check_floats(c, in, 3));
    if (x->rank != 2 || y->rank != 2 || x->dims[g.ta ? 0 : 1] != y->dims[g.tb ? 1 : 0])
        return om_fail(c->err, OM_E_FORMAT,
                       "%s (transA %d) and %s (transB %d) cannot be multiplied",
                       om_ref_dims_text(a, sizeof(a), x->dims, x->rank), g.ta,
                       om_ref_dims_text(b, sizeof(b), y->dims, y->rank), g.tb);
    dims[0] = g.m = x->dims[g.ta ? 1 : 0];
    dims[1] = g.n = y->dims[g.tb ? 0 : 1];
    g.k = x->dims[g.ta ? 0 : 1];
    OM_TRY(start_from(c, in[2], x->dtype, dims, 2));
    g.a = x->data;
    g.b = y->data;
    g.c = c->out[0].data;
    om_ref_gemm(&g);
    return 0;
}

/* ---- MatMul ---- */

struct batches {
    struct ref_gemm g;
    const unsigned char *a, *b;
    unsigned char *c;
    int64_t a_size, b_size, c_size; /* bytes of a matrix */
};

static void matmul_run(void *user, int64_t out, const int64_t *at, const int64_t *step, int64_t n)
{
    struct batches *m = user;

    for (int64_t i = 0; i < n; i++) {
        m->g.a = m->a + (at[0] + i * step[0]) * m->a_size;
        m->g.b = m->b + (at[1] + i * step[1]) * m->b_size;
        m->g.c = m->c + (out + i) * m->c_size;
        om_ref_gemm(&m->g);
    }
}

/* A view of t as a stack of matrices: a vector becomes one row (left) or one column (right). */
static struct ref_tensor as_matrices(const struct ref_tensor *t, bool left)
{
    struct ref_tensor m = *t;

    if (t->rank == 1) {
        m.rank = 2;
        m.dims[0] = left ? 1 : t->dims[0];
        m.dims[1] = left ? t->dims[0] : 1;
    }
    return m;
}

/* The stack itself: t without its two innermost axes. */
static struct ref_tensor stack_of(const struct ref_tensor *t)
{
    struct ref_tensor s = *t;

    s.rank -= 2;
    return s;
}

/* Where the right operand is a single matrix, all rows on the left go into one product. */
static void merge_rows(struct ref_tensor *x, const struct ref_tensor *y)
{
    if (y->rank > 2 || x->rank == 2)
        return;
    x->dims[0] = om_ref_product(x->dims, 0, x->rank - 1);
    x->dims[1] = x->dims[x->rank - 1];
    x->rank = 2;
}

static int multiply_all(struct ref_call *c, struct ref_tensor x, const struct ref_tensor *y)
{
    struct batches m = { .a = x.data, .b = y->data, .c = c->out[0].data };
    struct ref_tensor sx, sy;
    const struct ref_tensor *const stacks[2] = { &sx, &sy };
    struct ref_view v = { .n_operands = 2 };
    const int64_t size = (int64_t)om_dtype_size(x.dtype);
    int64_t n;

    merge_rows(&x, y);
    sx = stack_of(&x);
    sy = stack_of(y);
    OM_TRY(om_ref_broadcast_dims(c, stacks, 2, v.dims, &v.rank));
    om_ref_broadcast_steps(&sx, v.rank, v.steps[0]);
    om_ref_broadcast_steps(&sy, v.rank, v.steps[1]);
    m.g = (struct ref_gemm){ .dtype = x.dtype,
                             .m = x.dims[x.rank - 2],
                             .k = x.dims[x.rank - 1],
                             .n = y->dims[y->rank - 1],
                             .alpha = 1 };
    m.a_size = m.g.m * m.g.k * size;
    m.b_size = m.g.k * m.g.n * size;
    m.c_size = m.g.m * m.g.n * size;
    n = om_ref_product(v.dims, 0, v.rank);
    om_ref_view_fold(&v);
    om_ref_view_each(&v, 0, n, matmul_run, &m);
    return 0;
}

int om_ref_MatMul(struct ref_call *c)
{
    const struct ref_tensor *a = om_ref_in(c, 0), *b = om_ref_in(c, 1);
    const struct ref_tensor x = as_matrices(a, true), y = as_matrices(b, false);
    struct ref_tensor sx, sy;
    const struct ref_tensor *const stacks[2] = { &sx, &sy };
    char ta[REF_DIMS_TEXT], tb[REF_DIMS_TEXT];
    int64_t dims[OM_RANK_MAX];
    uint32_t rank = 0;

    if (a->dtype != OM_F32 && a->dtype != OM_F64 && a->dtype != OM_I64)
        return om_ref_bad_dtype(c, a->dtype);
    if (a->dtype != b->dtype || a->rank == 0 || b->rank == 0 ||
        x.dims[x.rank - 1] != y.dims[y.rank - 2])
        return om_fail(c->err, OM_E_FORMAT, "%s %s and %s %s cannot be multiplied",
                       om_dtype_text(a->dtype), om_ref_dims_text(ta, sizeof(ta), a->dims, a->rank),
                       om_dtype_text(b->dtype), om_ref_dims_text(tb, sizeof(tb), b->dims, b->rank));
    sx = stack_of(&x);
    sy = stack_of(&y);
    OM_TRY(om_ref_broadcast_dims(c, stacks, 2, dims, &rank));
    if (a->rank > 1)
        dims[rank++] = x.dims[x.rank - 2];
    if (b->rank > 1)
        dims[rank++] = y.dims[y.rank - 1];
    OM_TRY(om_ref_new(c->pool, &c->out[0], a->dtype, dims, rank, c->err));
    return c->out[0].count > 0 ? multiply_all(c, x, &y) : 0;
}
