/* src/quant/report.h: what an optimization or quantization changed: as lines of a log, and as a
 * page. */
#ifndef OM_QUANT_REPORT_H
#define OM_QUANT_REPORT_H

#include <optimum/session.h>

#include "base/map.h"
#include "quant/internal.h"
#include "quant/quant.h"

struct om_quant_op {
    om_sv op; /* "com.microsoft.MatMulNBits" */
    uint64_t before, after;
};

struct om_quant_weight {
    const char *name, *form;
    uint64_t before, after;
    bool measured;
    double max, error, total; /* of the error: largest, and sums of squares: of it, of the weight */
    uint32_t part;            /* of the file */
};

/* A layer, or what else has weights: all tensors below one path. */
struct om_quant_part {
    const char *name;       /* "encoder.layer.3" */
    uint64_t before, after; /* bytes of its tensors */
    bool measured;          /* a weight of it was: */
    double max, error, total;
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
    struct om_quant_part *parts; /* likewise */
    size_t n_parts, cap_parts;
    struct om_map part_of; /* names of parts, and of tensors, to indices into parts */
    struct om_quant_difference *differences; /* none: not compared */
    size_t n_differences;
    size_t converted;
    bool optimized; /* not quantized: patterns were fused */
};

struct om_quant_report {
    struct om_quant_file **files;
    size_t n, cap;
};

/* Root of the sums' quotient: the error relative to the weight. */
double om_quant_relative(double error, double total);

int om_quant_report_add(struct om_quant_report *r, const char *name, const char *target,
                        struct om_quant_file **out, struct om_error *err);
/* Operators, bytes, and bytes by part: of the document as it is before, or after. */
int om_quant_count(struct om_quant_file *f, struct om_doc *d, bool after, struct om_error *err);
int om_quant_count_parts(struct om_quant_file *f, struct om_doc *d, bool after,
                         struct om_error *err);
/* The errors of f->weights, by part. */
int om_quant_spread_errors(struct om_quant_file *f, struct om_error *err);
/* After the file was written: its weights with their errors. */
int om_quant_report_layers(struct om_quant_file *f, const struct om_quant_job *j,
                           struct om_error *err);
void om_quant_report_log(struct om_ctx *ctx, const struct om_quant_file *f);
/* Run both files on made-up inputs, the same ones each time. */
int om_quant_compare(struct om_quant_file *f, const char *was, const char *now,
                     struct om_error *err);
/* One run of both: outputs that are not in was and now, or of other shapes, are not compared. */
int om_quant_note_outputs(struct om_quant_file *f, const struct om_tensor *was, size_t n,
                          const struct om_results *now, struct om_error *err);
void om_quant_log_differences(struct om_ctx *ctx, const struct om_quant_file *f);
/* The report as an HTML page. */
void om_quant_report_page(const struct om_quant_report *r, struct om_buf *b);

struct om_quant_files;
/* After files have their names: what was asked for of compare and page, NULL: none. */
int om_quant_report_finish(struct om_quant_report *r, struct om_quant_files *files, bool compare,
                           const char *page, struct om_error *err);
void om_quant_report_release(struct om_quant_report *r);

#endif
