/* src/base/base.h: the small things every module uses: string views, checked sizes, growing arrays. */
#ifndef OM_BASE_H
#define OM_BASE_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <optimum/ctx.h>
#include <optimum/error.h>
#include <optimum/tensor.h>

#define OM_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define OM_MIN(a, b) ((a) < (b) ? (a) : (b))
#define OM_MAX(a, b) ((a) > (b) ? (a) : (b))

/* Return from the calling function when expr is negative. */
#define OM_TRY(expr)                \
    do {                            \
        const int try_rc_ = (expr); \
        if (try_rc_ < 0)            \
            return try_rc_;         \
    } while (0)

/* A view of bytes that somebody else owns; not NUL-terminated. */
typedef struct {
    const char *ptr;
    size_t len;
} om_sv;

#define OM_SV(s) (int)(s).len, (s).ptr             /* arguments of "%.*s" */
#define OM_SVL(literal) ((om_sv){ literal, sizeof(literal) - 1 })

om_sv om_sv_str(const char *s);                    /* NULL gives the empty view */
bool om_sv_eq(om_sv a, om_sv b);
bool om_sv_is(om_sv a, const char *s);
bool om_sv_starts(om_sv s, om_sv prefix);
bool om_sv_ends(om_sv s, om_sv suffix);
int om_sv_cmp(om_sv a, om_sv b);                   /* as memcmp, then shorter first */
om_sv om_sv_trim(om_sv s);                         /* without ASCII white space at both ends */
bool om_sv_split(om_sv *rest, char sep, om_sv *part); /* next part; false at the end */
bool om_sv_i64(om_sv s, int64_t *out);             /* the whole view as a decimal number */
bool om_sv_f64(om_sv s, double *out);
uint64_t om_sv_hash(om_sv s);                      /* FNV-1a, 64 bit */
bool om_utf8_valid(om_sv s);                       /* strict: no surrogates, no overlong forms */

/* Levenshtein distance for did-you-mean; stops counting above limit and returns limit + 1. */
size_t om_sv_distance(om_sv a, om_sv b, size_t limit);
/* The entry of the NULL-terminated list nearest to s, or NULL when none is near. */
const char *om_sv_nearest(om_sv s, const char *const *list);

/* Checked arithmetic: false (and *out untouched) on overflow. */
bool om_mul_size(size_t a, size_t b, size_t *out);
bool om_add_size(size_t a, size_t b, size_t *out);
bool om_mul_u64(uint64_t a, uint64_t b, uint64_t *out);
bool om_add_u64(uint64_t a, uint64_t b, uint64_t *out);
bool om_mul_i64(int64_t a, int64_t b, int64_t *out);
bool om_add_i64(int64_t a, int64_t b, int64_t *out);
/* Elements of a shape; false when it overflows int64 or a dim is negative. Rank 0 has one element. */
bool om_count(const int64_t *dims, size_t rank, int64_t *out);

/* Little-endian loads and stores at any alignment. */
uint16_t om_le16(const void *p);
uint32_t om_le32(const void *p);
uint64_t om_le64(const void *p);

enum om_dtype om_dtype_from_onnx(int32_t data_type);    /* OM_DTYPE_NONE when not supported */
int32_t om_dtype_onnx(enum om_dtype dtype);
enum om_dtype om_dtype_from_safetensors(om_sv name);    /* OM_DTYPE_NONE when not supported */
const char *om_dtype_safetensors(enum om_dtype dtype);

/* Log a line through ctx (which may be NULL); levels above the context's are not formatted. */
void om_log(struct om_ctx *ctx, enum om_level level, const char *fmt, ...) OM_PRINTF(3, 4);
void om_progress(struct om_ctx *ctx, const char *what, uint64_t done, uint64_t total);
/* OM_E_CANCELLED with a message when om_ctx_cancel() was called, else 0. */
int om_ctx_check(struct om_ctx *ctx, struct om_error *err);

/* What arch/plugin.c keeps in a context, freed with it. */
void om_ctx_set_plugins(struct om_ctx *ctx, void *plugins, void (*free_plugins)(void *plugins));
void *om_ctx_plugins(const struct om_ctx *ctx); /* NULL: none */

/* Make room for need elements in a malloc'ed array: *items and *cap change only on success.
 * Use: om_grow(&v->items, &v->cap, v->len + 1, sizeof(*v->items)). */
bool om_grow(void *items, size_t *cap, size_t need, size_t elem_size);

#endif
