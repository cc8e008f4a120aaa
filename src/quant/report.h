/* src/quant/report.h: what a quantization changed, as lines of a log. */
#ifndef OM_QUANT_REPORT_H
#define OM_QUANT_REPORT_H

#include "quant/internal.h"

struct om_quant_op {
    om_sv op; /* "com.microsoft.MatMulNBits" */
    uint64_t before, after;
};

struct om_quant_weight {
    const char *name, *form;
    uint64_t before, after;
    bool measured;
    double max, relative; /* of the error; relative: root of the sums of squares' quotient */
};

/* An output of the model, before and after. */
struct om_quant_difference {
    const char *name;
    bool compared;
    double max, largest; /* difference; magnitude */
    double error, total; /* sums of squares */
};

struct om_quant_file {
    struct om_arena arena;
    const char *name, *target;
    uint64_t size_before, size_after;
    struct om_quant_op *ops; /* sorted by name */
    size_t n_ops, cap_ops;
    struct om_quant_weight *weights; /* in the order in which they were met */
    size_t n_weights;
    struct om_quant_difference *differences; /* none: not compared */
    size_t n_differences;
    size_t converted;
    bool optimized; /* not quantized: patterns were fused */
};

struct om_quant_report {
    struct om_quant_file **files;
    size_t n, cap;
};

int om_quant_report_add(struct om_quant_report *r, const char *name, const char *target,
                        struct om_quant_file **out, struct om_error *err);
int om_quant_count_operators(struct om_quant_file *f, struct om_doc *d, bool after,
                             struct om_error *err);
/* After the file was written: its weights with their errors. */
int om_quant_report_layers(struct om_quant_file *f, const struct om_quant_job *j,
                           struct om_error *err);
/* The newest file. */
void om_quant_report_log(struct om_ctx *ctx, const struct om_quant_report *r);
/* Run both files on made-up inputs, the same ones each time. */
int om_quant_compare(struct om_quant_file *f, const char *was, const char *now,
                     struct om_error *err);
void om_quant_log_differences(struct om_ctx *ctx, const struct om_quant_file *f);
/* The report as an HTML page. */
void om_quant_report_page(const struct om_quant_report *r, struct om_buf *b);
void om_quant_report_release(struct om_quant_report *r);

#endif
