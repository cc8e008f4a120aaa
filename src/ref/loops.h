/* src/ref/loops.h: how operators on elements are made: a loop for each dtype, by macros; private to
 * src/ref. */
#ifndef OM_REF_LOOPS_H
#define OM_REF_LOOPS_H

#include "ref/kernel.h"

/* Computes a run of elements; operands step by 1 or, where broadcast, by 0. */
typedef void ref_loop(void *out, const void *const *in, const int64_t *step, int64_t n,
                      double param);

/* The loops of an operator by dtype; NULL: not defined. */
struct ref_loops {
    ref_loop *f32, *f64, *i64, *u64, *boolean;
};

enum { GRAIN_CHEAP = 1 << 17, GRAIN_DEAR = 1 << 13 }; /* elements that are worth a thread */

ref_loop *om_ref_pick_loop(const struct ref_loops *l, enum om_dtype dtype);
/* Broadcast the n_in operands, make the output and fill it. */
int om_ref_elementwise(struct ref_call *c, const struct ref_tensor *const *in, unsigned n_in,
                       struct ref_tensor *out, enum om_dtype out_dtype, ref_loop *loop,
                       double param, size_t grain);
int om_ref_run_unary(struct ref_call *c, const struct ref_loops *l, double param, size_t grain);
int om_ref_run_binary(struct ref_call *c, const struct ref_loops *l, bool gives_bool);

/* ---- one operand ---- */

#define LOOP1(name, T, C, R, expr)                                                               \
    static void name(void *out, const void *const *in, const int64_t *step, int64_t n, double p) \
    {                                                                                            \
        R *o = out;                                                                              \
        const T *a = in[0];                                                                      \
                                                                                                 \
        (void)p;                                                                                 \
        for (int64_t i = 0; i < n; i++) {                                                        \
            const C x = (C)a[i * step[0]];                                                       \
                                                                                                 \
            o[i] = (R)(expr);                                                                    \
        }                                                                                        \
    }

#define FLOAT1(name, expr)                        \
    LOOP1(name##_f32, float, double, float, expr) \
    LOOP1(name##_f64, double, double, double, expr)

#define UNARY(Name, grain, ...)                            \
    int om_ref_##Name(struct ref_call *c)                  \
    {                                                      \
        static const struct ref_loops l = { __VA_ARGS__ }; \
                                                           \
        return om_ref_run_unary(c, &l, 0, grain);          \
    }

#define UNARY_FLOAT(Name, expr) \
    FLOAT1(Name, expr)          \
    UNARY(Name, GRAIN_DEAR, .f32 = Name##_f32, .f64 = Name##_f64)

#define UNARY_SIGNED(Name, expr, int_expr)                 \
    FLOAT1(Name, expr)                                     \
    LOOP1(Name##_i64, int64_t, int64_t, int64_t, int_expr) \
    UNARY(Name, GRAIN_CHEAP, .f32 = Name##_f32, .f64 = Name##_f64, .i64 = Name##_i64)

/* ---- two operands ---- */

/* The three loops let the compiler vectorize the common strides. */
#define LOOP2(name, T, R, expr)                                                                  \
    static void name(void *out, const void *const *in, const int64_t *step, int64_t n, double p) \
    {                                                                                            \
        R *o = out;                                                                              \
        const T *a = in[0], *b = in[1];                                                          \
                                                                                                 \
        (void)p;                                                                                 \
        if (step[0] == 1 && step[1] == 1) {                                                      \
            for (int64_t i = 0; i < n; i++) {                                                    \
                const T x = a[i], y = b[i];                                                      \
                                                                                                 \
                o[i] = (R)(expr);                                                                \
            }                                                                                    \
        } else if (step[0] == 1 && step[1] == 0) {                                               \
            const T y = b[0];                                                                    \
                                                                                                 \
            for (int64_t i = 0; i < n; i++) {                                                    \
                const T x = a[i];                                                                \
                                                                                                 \
                o[i] = (R)(expr);                                                                \
            }                                                                                    \
        } else {                                                                                 \
            for (int64_t i = 0; i < n; i++) {                                                    \
                const T x = a[i * step[0]], y = b[i * step[1]];                                  \
                                                                                                 \
                o[i] = (R)(expr);                                                                \
            }                                                                                    \
        }                                                                                        \
    }

/* ---- three operands ---- */

#define LOOP3(name, A, T, expr)                                                                  \
    static void name(void *out, const void *const *in, const int64_t *step, int64_t n, double p) \
    {                                                                                            \
        T *o = out;                                                                              \
        const A *a = in[0];                                                                      \
        const T *b = in[1], *d = in[2];                                                          \
                                                                                                 \
        (void)p;                                                                                 \
        for (int64_t i = 0; i < n; i++) {                                                        \
            const A x = a[i * step[0]];                                                          \
            const T y = b[i * step[1]], z = d[i * step[2]];                                      \
                                                                                                 \
            o[i] = (T)(expr);                                                                    \
        }                                                                                        \
    }

#endif
